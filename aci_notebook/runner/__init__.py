"""What travels into the container: start.sh, runner.py and runner.sh, read as data through importlib.resources."""
