// Runs in the background, waited for, listed, cancelled and removed; each line is what one call brought.

import { client, refused, say } from "./lib.mjs";

const input = { text: "hi" };
const { thread_id: thread } = await client.threads.create();

let created;
say(await client.runs.wait(thread, "steps", { input, onRunCreated: (run) => (created = run) }));
say((await client.runs.get(thread, created.run_id)).status);
say(await client.runs.wait(null, "steps", { input }));

const background = await client.runs.create(thread, "steps", { input, metadata: { mine: 1 } });
say(await client.runs.join(thread, background.run_id));
say((await client.runs.list(thread, { status: "success" })).map((run) => run.metadata.mine ?? null));

let failure = null;
await client.runs.wait(thread, "failing", { input }).catch((error) => (failure = error.message));
say(failure);
say((await client.runs.wait(thread, "failing", { input, raiseError: false })).__error__);

const slow = await client.runs.create(thread, "slow", { input: { delay: 60 } });
await client.runs.cancel(thread, slow.run_id, true);
say((await client.runs.get(thread, slow.run_id)).status);
await client.runs.delete(thread, slow.run_id);
say(await refused(client.runs.get(thread, slow.run_id)));
