// The store; each line is what one call brought.

import { client, say } from "./lib.mjs";

const place = ["js", crypto.randomUUID()];
await client.store.putItem(place, "one", { colour: "red", size: 1 });
await client.store.putItem(place, "two", { colour: "blue", size: 2 });
say((await client.store.getItem(place, "one")).value);
say((await client.store.searchItems(place, { filter: { colour: "blue" } })).items.map((item) => item.key));
say((await client.store.listNamespaces({ prefix: place })).namespaces.length);
await client.store.deleteItem(place, "one");
say((await client.store.searchItems(place)).items.map((item) => item.key));
