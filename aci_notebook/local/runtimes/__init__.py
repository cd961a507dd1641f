"""What executes a container for the local ACI: one protocol, several worlds behind it."""
