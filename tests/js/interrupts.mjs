// Questions and their answers: one, several by their ids, and a static stop.

import { all, client, say } from "./lib.mjs";

const input = { text: "hi" };

const { thread_id: one } = await client.threads.create();
const asked = await client.runs.wait(one, "approval", { input });
say(asked.__interrupt__.map((each) => each.value));
say((await client.threads.get(one)).status);
say(await client.runs.wait(one, "approval", { command: { resume: "yes" } }));

const { thread_id: two } = await client.threads.create();
const events = await all(client.runs.stream(two, "pair", { input, streamMode: "values" }));
const questions = events.flatMap((event) => event.data.__interrupt__ ?? []);
say(questions.map((each) => each.value).sort());
const answers = Object.fromEntries(questions.map((each) => [each.id, `to ${each.value}`]));
say((await client.runs.wait(two, "pair", { command: { resume: answers } })).steps.sort());

const { thread_id: three } = await client.threads.create();
await client.runs.wait(three, "steps", { input, interruptBefore: ["second"] });
say((await client.threads.getState(three)).next);
say((await client.runs.wait(three, "steps", { input: null })).steps);
say((await client.runs.wait(three, "steps", { command: { goto: "second", update: { text: "sent" } } })).text);
