// Assistants of one's own; each line is what one call brought.

import { client, refused, say } from "./lib.mjs";

const made = await client.assistants.create({ graphId: "steps", name: "mine", metadata: { js: 1 } });
const id = made.assistant_id;
say([made.graph_id, made.name, made.version]);
say((await client.assistants.update(id, { name: "renamed", metadata: { more: 2 } })).name);
say((await client.assistants.search({ metadata: { js: 1 }, graphId: "steps" })).some((each) => each.assistant_id === id));
say((await client.assistants.getVersions(id)).map((each) => each.version));
say((await client.assistants.setLatest(id, 1)).name);
say((await client.assistants.getGraph(id)).nodes.map((node) => node.id));
say(Object.keys((await client.assistants.getSchemas(id)).input_schema.properties));
say((await client.runs.wait(null, id, { input: { text: "a" } })).text);
await client.assistants.delete(id);
say(await refused(client.assistants.get(id)));
