// The hook `useStream` in a component that is really rendered: what it sends, and what the component shows of it.

import { FetchStreamTransport, useStream } from "@langchain/langgraph-sdk/react";
import { createElement, useEffect } from "react";
import { create } from "react-test-renderer";
import { client, say, url } from "./lib.mjs";

// The hook looks for a window before it keeps the run that it may come back to.
globalThis.window = {};

// What the page last rendered, the runs that the hook has begun, and who waits for a change in either.
let shown;
const runs = [];
let changed = () => {};

const options = {
  apiUrl: url,
  fetchStateHistory: true,
  onCreated: (run) => changed(runs.push(run)),
  onError: (error) => say({ failed: String(error) }),
};

function Page(given) {
  const stream = useStream({ ...options, ...given });
  useEffect(() => {
    shown = stream;
    changed();
  });
  const text = stream.messages.map((message) => message.content).join("|");
  return createElement("p", null, text);
}

async function until(holds) {
  while (!holds()) await new Promise((resolve) => (changed = resolve));
}

async function open(given) {
  shown = undefined;
  const page = create(createElement(Page, given));
  await until(() => shown && !shown.isThreadLoading);
  return page;
}

/** Submit, and wait until the page shows the end of the run. */
async function submit(...given) {
  await shown.submit(...given);
  await until(() => !shown.isLoading);
}

const text = (page) => page.root.findByType("p").children.join("");

async function ended({ thread_id, run_id }) {
  await client.runs.join(thread_id, run_id);
  return (await client.runs.get(thread_id, run_id)).status;
}

{
  const threads = [];
  const page = await open({ assistantId: "chat", onThreadId: (id) => threads.push(id) });
  await submit({ messages: [{ type: "human", content: "hi" }] });
  await submit({ messages: [{ type: "human", content: "again" }] });
  say({ text: text(page), threads: threads.length, runs: runs.length, history: shown.history.length });
  page.unmount();
}
{
  const page = await open({ assistantId: "approval" });
  await submit({ text: "hi" });
  say({ asked: shown.interrupt?.value });
  await submit(undefined, { command: { resume: "yes" } });
  say({ values: shown.values, asked: shown.interrupt ?? null });
  page.unmount();
}
{
  // Stopped by its user: the run ends with its client.
  const page = await open({ assistantId: "slow" });
  const known = runs.length;
  const submitted = shown.submit({ delay: 60 });
  await until(() => runs.length > known && shown.values.steps?.length === 1);
  await shown.stop();
  await submitted;
  say({ stopped: await ended(runs.at(-1)) });
  page.unmount();
}
{
  // Another page on the same thread goes on with the run that the first one began.
  const kept = new Map();
  const reconnectOnMount = () => ({
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  });
  const first = await open({ assistantId: "slow", reconnectOnMount });
  const submitted = shown.submit({ delay: 1 });
  await until(() => kept.size === 1);
  const { thread_id: threadId } = runs.at(-1);
  first.unmount();
  const second = await open({ assistantId: "slow", threadId, reconnectOnMount });
  const rejoined = shown.isLoading;
  await until(() => !shown.isLoading && shown.values.steps?.length === 3);
  say({ rejoined, steps: shown.values.steps });
  second.unmount();
  await submitted;
}
{
  // The hook's other transport: it posts to one address and reads what comes.
  const transport = new FetchStreamTransport({
    apiUrl: `${url}/runs/stream`,
    onRequest: (_, init) => {
      const more = { assistant_id: "chat", stream_mode: ["values", "messages-tuple"] };
      return { ...init, body: JSON.stringify({ ...JSON.parse(init.body), ...more }) };
    },
  });
  const page = await open({ transport });
  await submit({ messages: [{ type: "human", content: "hi" }] });
  say({ text: text(page) });
  page.unmount();
}
