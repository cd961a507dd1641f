// Microsoft's SDK for JavaScript: create, watch, read, change, delete. Prints one line of JSON.
const { ContainerInstanceManagementClient } = require("@azure/arm-containerinstance");
const { ClientSecretCredential } = require("@azure/identity");

async function main([tenant, client, subscription, name]) {
  const credential = new ClientSecretCredential(tenant, client, "secret");
  const aci = new ContainerInstanceManagementClient(credential, subscription);
  const told = {};
  const group = {
    location: "westeurope",
    osType: "Linux",
    restartPolicy: "Never",
    tags: { by: "js" },
    containers: [{
      name: "main",
      image: "python:3",
      command: ["python3", "-c", "import os; print('from', os.environ['WHO'], open('/in/a.txt').read()); raise SystemExit(4)"],
      environmentVariables: [{ name: "WHO", secureValue: "js" }],
      resources: { requests: { cpu: 1, memoryInGB: 1 } },
      volumeMounts: [{ name: "inputs", mountPath: "/in" }],
    }],
    volumes: [{ name: "inputs", secret: { "a.txt": Buffer.from("a secret file").toString("base64") } }],
  };
  const begun = Date.now();
  const created = await aci.containerGroups.beginCreateOrUpdateAndWait("rg", name, group);
  told.created_s = (Date.now() - begun) / 1000;
  told.provisioning = created.provisioningState;
  told.variable = created.containers[0].environmentVariables[0];
  let seen = await aci.containerGroups.get("rg", name);
  while (seen.instanceView.state !== "Failed") seen = await aci.containerGroups.get("rg", name);
  told.current = seen.containers[0].instanceView.currentState;
  told.logs = (await aci.containers.listLogs("rg", name, "main", { tail: 10 })).content;
  told.names = [];
  for await (const one of aci.containerGroups.listByResourceGroup("rg")) told.names.push(one.name);
  told.tags = (await aci.containerGroups.update("rg", name, { tags: { now: "other" } })).tags;
  told.usages = [];
  for await (const usage of aci.location.listUsage("westeurope")) told.usages.push(usage.name.value);
  await aci.containerGroups.beginStartAndWait("rg", name);
  await aci.containerGroups.beginDeleteAndWait("rg", name);
  try {
    await aci.containerGroups.get("rg", name);
  } catch (error) {
    told.after = [error.statusCode, error.code];
  }
  try {
    group.containers[0].image = "nosuch:1";
    await aci.containerGroups.beginCreateOrUpdateAndWait("rg", name, group);
  } catch (error) {
    told.refused = [error.statusCode, error.code];
  }
  console.log(JSON.stringify(told));
}

main(process.argv.slice(2)).catch((error) => { console.error(error); process.exit(1); });
