// What eloquent.d.ts promises, as a page uses it; only compiled.

import { EloquentErrorEvent, EloquentSource, eloquentFetch, isResumable, makeFetch, preconnect } from "../../eloquent.js";

const asFetch: typeof fetch = eloquentFetch;
const withToken: typeof fetch = makeFetch({ token: async () => "token", playout: { lead: 1 }, isFor: ({ method }) => method === "POST" });
preconnect("/v1/chat/completions", { certificateHashes: ["ab".repeat(32), new Uint8Array(32)] });
const source = new EloquentSource("/v1/chat/completions", { method: "POST", body: "{}", resume: "chat", signal: AbortSignal.timeout(1) });
source.onmessage = ({ data }) => console.log(data.length);
source.addEventListener("error", (event) => console.log(event.message, event.status, event instanceof EloquentErrorEvent));
source.addEventListener("response.output_text.delta", ({ data, lastEventId }) => console.log(data, lastEventId));
console.log(source.carrier === "webtransport", source.statistics.datagrams, isResumable("chat"), asFetch, withToken);
// @ts-expect-error: a scheme has a name
preconnect("/", { scheme: 1 });
