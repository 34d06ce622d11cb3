// The event streaming protocol as the client speaks it, over server-sent events or a websocket (`given.transport`).

import { Client } from "@langchain/langgraph-sdk";
import { client, given, say, url } from "./lib.mjs";

const { transport } = given;
const human = { messages: [{ role: "user", content: "hi", id: "h-1" }] };

async function opened(assistantId, use, threadId) {
  const options = { assistantId, transport };
  const thread = threadId ? client.threads.stream(threadId, options) : client.threads.stream(options);
  try {
    return await use(thread);
  } finally {
    await thread.close();
  }
}

// Messages, token by token, tool calls and values, and the state in the end.
await opened("talking", async (thread) => {
  const messages = (async () => {
    const said = [];
    for await (const message of thread.messages) said.push(await message.text);
    return said;
  })();
  const tools = (async () => {
    const called = new Map(); // a call comes when it begins, and again when it ends
    for await (const call of thread.toolCalls) called.set(call.id, [call.name, call.input, await call.output]);
    return [...called.values()];
  })();
  const { run_id: run } = await thread.run.start({ input: human });
  const output = await thread.output;
  say({ run: typeof run, output: output.messages.at(-1).content[0].text });
  say({ messages: await messages, tools: await tools });
});

// A question, and its answer.
await opened("approval", async (thread) => {
  const asked = await thread.subscribe({ channels: ["input", "lifecycle"] });
  await thread.run.start({ input: { text: "a" } });
  for await (const event of asked) if (event.method === "input.requested") break;
  const [{ interruptId, payload, namespace }] = thread.interrupts;
  say({ payload });
  await thread.input.respond({ interrupt_id: interruptId, namespace, response: "yes" });
  const [run] = await client.runs.list(thread.threadId);
  say(await client.runs.join(thread.threadId, run.run_id));
  say(await thread.state.get({ namespace: [], keys: ["text"] }).then((state) => state.values));
});

// Subgraphs and channels of the graph's own.
await opened("delegating", async (thread) => {
  const found = (async () => {
    for await (const sub of thread.subgraphs) return sub.name;
  })();
  await thread.run.start({ input: human });
  say({ subgraph: await found });
});
await opened("extended", async (thread) => {
  const steps = thread.extensions.steps;
  await thread.run.start({ input: human });
  say({ steps: await steps });
});

// What goes wrong.
await opened("failing", async (thread) => {
  const events = await thread.subscribe({ channels: ["lifecycle"] });
  await thread.run.start({ input: { text: "a" } });
  for await (const event of events) {
    const { event: phase, error } = event.params.data;
    if (phase === "failed") {
      say({ error });
      break;
    }
  }
  say(await thread.input.inject({ namespace: [], message: { role: "user", content: "x" } }).catch((e) => e.code));
});

// The stream is cut again and again; the client comes back, and tells each event once.
if (transport === "sse") {
  let cuts = 0;
  const cutting = new Client({ apiUrl: url, apiKey: null, callerOptions: { maxRetries: 0 } });
  const thread = cutting.threads.stream({ assistantId: "emitting", fetch: cut, reconnectDelayMs: () => 1 });
  const events = await thread.subscribe({ channels: ["custom", "lifecycle"] });
  await thread.run.start({ input: { count: 60, gap: 0.002 } });
  const numbers = [];
  for await (const event of events) {
    if (event.method === "custom") numbers.push(event.params.data.payload.n);
    if (event.method === "lifecycle" && event.params.data.event === "completed") break;
  }
  await thread.close();
  say({ cuts, numbers });

  async function cut(target, init) {
    const answer = await fetch(target, init);
    if (cuts >= 3 || !answer.headers.get("content-type").startsWith("text/event-stream")) return answer;
    cuts += 1;
    let left = 3000 * cuts;
    const short = new TransformStream({
      transform(chunk, controller) {
        controller.enqueue(chunk.subarray(0, left));
        left -= chunk.length;
        if (left <= 0) controller.error(new TypeError("terminated"));
      },
    });
    return new Response(answer.body.pipeThrough(short), answer);
  }
}
process.exit(0);
