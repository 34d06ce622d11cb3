// Joining a run: to the end, in part, from the middle, and again after each connection is cut by the server.

import { Client } from "@langchain/langgraph-sdk";
import { all, client, given, say, url } from "./lib.mjs";

const { thread_id: thread } = await client.threads.create();
const run = await client.runs.create(thread, given.graph, {
  input: given.input,
  streamMode: ["values", "custom"],
  streamResumable: true,
});
const everything = await all(client.runs.joinStream(thread, run.run_id));
say(everything);

const middle = everything[Math.floor(everything.length / 2)].id;
say(await all(client.runs.joinStream(thread, run.run_id, { lastEventId: middle })));
say(await all(client.runs.joinStream(thread, run.run_id, { streamMode: "custom" })));
say(await client.runs.join(thread, run.run_id));

// The client's own reconnecting: each answer is cut after a few of its bytes.
let cuts = 0;
const cutting = new Client({ apiUrl: url, apiKey: null, callerOptions: { fetch: cut } });
say(await all(cutting.runs.joinStream(thread, run.run_id)));
say({ cuts });

async function cut(target, init) {
  const answer = await fetch(target, init);
  if (cuts >= given.cuts || !answer.headers.get("content-type").startsWith("text/event-stream")) return answer;
  cuts += 1;
  let left = 400;
  const short = new TransformStream({
    transform(chunk, controller) {
      controller.enqueue(chunk.subarray(0, left));
      left -= chunk.length;
      if (left <= 0) controller.error(new TypeError("terminated"));
    },
  });
  return new Response(answer.body.pipeThrough(short), answer);
}
