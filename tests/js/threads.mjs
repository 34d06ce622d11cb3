// Threads and their states; each line is what one call brought.

import { client, refused, say } from "./lib.mjs";

const thread = await client.threads.create({ metadata: { who: "js" }, graphId: "steps" });
const id = thread.thread_id;
say(thread.metadata);
say((await client.threads.create({ threadId: id, ifExists: "do_nothing" })).thread_id === id);
say(await refused(client.threads.create({ threadId: id })));
say((await client.threads.update(id, { metadata: { more: 1 } })).metadata);

await client.runs.wait(id, "steps", { input: { text: "hi" } });
const state = await client.threads.getState(id);
say(state.values);
const history = await client.threads.getHistory(id);
say(history.map((each) => each.metadata.step));
say((await client.threads.getState(id, history.at(-1).checkpoint)).next);
say((await client.threads.getState(id, history.at(-1).checkpoint.checkpoint_id)).next);

const updated = await client.threads.updateState(id, { values: { text: "changed" }, asNode: "first" });
say((await client.threads.getState(id)).next);
// A fork: from before the update, with an input of its own.
say(await client.runs.wait(id, "steps", { input: null, checkpoint: updated.checkpoint }));

await client.threads.delete(id);
say(await refused(client.threads.get(id)));
