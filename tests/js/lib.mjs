// What every script here has: the public client on the API under test, and a way to tell what it saw.
//
// Scripts are started by tests/node.py as `node SCRIPT URL GIVEN`, with GIVEN a JSON object, and write JSON lines.

import { Client } from "@langchain/langgraph-sdk";

export const url = process.argv[2];
export const given = JSON.parse(process.argv[3] ?? "{}");
// One attempt a call: a retry would hide a server's error.
export const client = new Client({ apiUrl: url, apiKey: null, callerOptions: { maxRetries: 0 } });

/** One line for the test that started this. */
export function say(value) {
  process.stdout.write(JSON.stringify(value ?? null) + "\n");
}

/** Everything that an async iterator brings. */
export async function all(parts) {
  const found = [];
  for await (const part of parts) found.push(part);
  return found;
}

/** The status that a call fails with. */
export async function refused(call) {
  try {
    await call;
  } catch (error) {
    return error.status ?? String(error);
  }
  return "was not refused";
}
