// A fetch for other people's clients: `node SCRIPT BASE_URL through_eloquent.js`. Their questions go through an origin relay.

import { webcrypto } from "node:crypto";
import { makeFetch } from "../eloquent.js";
import { startOrigin } from "./lab.js";
import { udpTransport } from "./udp_transport.js";

globalThis.crypto ??= webcrypto; // Node.js 18

const { webTransport, kill } = await startOrigin(new URL(process.argv[2]).origin);
const WebTransport = udpTransport({ loss: 0.1 });
const ask = makeFetch({ webTransport, WebTransport });
let asked = 0;

/** Ask, and fail if the question went another way. */
export async function fetch(url, init) {
  const response = await ask(url, init);
  if (response.carrier !== "webtransport" && init?.method === "POST") throw new Error("asked by fetch");
  asked += 1;
  return response;
}

process.on("exit", () => {
  kill();
  if (!asked) process.exitCode = 1;
});
