// The store behind the hooks of version 2, over server-sent events or a websocket (`given.transport`): a chat of two
// turns, a question, and the same thread as another page finds it.

import { StreamController } from "@langchain/langgraph-sdk/stream";
import { client, given, say } from "./lib.mjs";

const { transport } = given;

async function opened(options, use) {
  const controller = new StreamController({ client, transport, ...options });
  const leave = controller.activate();
  try {
    await controller.hydrate(options.threadId);
    return await use(controller, () => controller.rootStore.getSnapshot());
  } finally {
    await controller.dispose();
    leave?.();
  }
}

const texts = (snapshot) => snapshot.messages.map((message) => message.text);

/** Wait until the page would show it. */
async function shown(controller, holds) {
  const { rootStore } = controller;
  while (!holds(rootStore.getSnapshot())) {
    await new Promise((resolve) => {
      const stop = rootStore.subscribe(() => (stop(), resolve()));
    });
  }
  return rootStore.getSnapshot();
}

let chat;
await opened({ assistantId: "talking", onThreadId: (id) => (chat = id) }, async (controller, now) => {
  await controller.submit({ messages: [{ type: "human", content: "hi" }] });
  // The end of a run may come on another connection than what it said.
  say(texts(await shown(controller, (snapshot) => snapshot.messages.length >= 4)));
  say(now().toolCalls.map((call) => [call.name, call.input]));
  await controller.submit({ messages: [{ type: "human", content: "again" }] });
  say(texts(await shown(controller, (snapshot) => snapshot.messages.length >= 8)).length);
  say({ loading: now().isLoading, error: now().error ?? null });
});

await opened({ assistantId: "talking", threadId: chat }, async (controller, now) => {
  say(texts(now()).length);
});

await opened({ assistantId: "approval" }, async (controller, now) => {
  await controller.submit({ text: "a" });
  const asked = await shown(controller, (snapshot) => snapshot.interrupts.length > 0);
  say(asked.interrupts.map((interrupt) => interrupt.value));
  await controller.respond("yes");
  const answered = await shown(controller, ({ values }) => values.steps?.includes("after"));
  say(answered.values);
  say(now().interrupts);
});
process.exit(0);
