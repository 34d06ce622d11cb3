// A run's events in the given stream modes, as they come.

import { client, given, say } from "./lib.mjs";

const { graph, thread, ...payload } = given;
let created = null;
const events = client.runs.stream(thread ?? null, graph, { ...payload, onRunCreated: (run) => (created = run) });
for await (const event of events) say(event);
say({ created });
