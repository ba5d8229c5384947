// One question and its answer, by whichever carrier: what `eloquentFetch` and `EloquentSource` are made of.
//
// Rules of this file
// - Nothing is asked before the carrier is chosen, so nothing is asked twice.
// - An answer that is not whole never ends cleanly: `next` throws.
// - What an origin relay does not answer gets the answer that an edge relay gives for it (services/eloquent/relay/fronts/http.py).

import { Answer } from "./answer.js";
import { fromHex, toHex } from "./bytes.js";
import * as messages from "./messages.js";
import { wayTo } from "./way.js";

const FALLBACK_AFTER = 2; // seconds
const RESUME_LIMIT = 8; // seconds for which an answer that was begun before is tried to be reached
const NOT_PASSED_ON = new Set(["host", "content-length", "expect", "accept-encoding", "connection", "transfer-encoding"]);
const RETRY_STATUS = { [messages.REFUSED]: 503, [messages.STOPPING]: 503, [messages.GONE]: 502 };
const FINAL_STATUS = { [messages.INVALID]: 400, [messages.UNSUPPORTED]: 501 };

/** An answer that is not whole. */
export class BrokenAnswer extends TypeError {
  name = "BrokenAnswer";
}

/**
 * Ask.
 *
 * @param {Request} request
 * @param {object} options as in eloquent.d.ts
 * @returns an exchange: `carrier`, `status`, `statusText`, `headers`, `isEventStream`, `next()`, `report()`, `cancel()`
 */
export async function ask(request, options) {
  const link = canUse(request, options) ? await reach(request, options) : null;
  request.signal.throwIfAborted();
  if (!link) return new FetchExchange(await fetch(request));
  const body = new Uint8Array(await request.arrayBuffer());
  const { pathname, search } = new URL(request.url);
  const fields = [...request.headers].filter(([name]) => !NOT_PASSED_ON.has(name));
  if (!request.headers.has("accept")) fields.push(["accept", "*/*"]);
  const id = crypto.getRandomValues(new Uint8Array(messages.ANSWER_ID_SIZE));
  const http = { method: request.method, target: pathname + search, fields, body };
  const encoded = messages.encodeBegin(id, http, Boolean(options.resume));
  const question = { id, request: encoded, position: 0, scheme: schemeOf(options) };
  return await begin(new Answer(way(request.url, options), link, question), request.signal, id);
}

/** Go on with an answer that was begun before, by a page that is gone. */
export async function goOn(url, options, id, position, signal) {
  const link = await way(url, options).link(RESUME_LIMIT, { isPatient: true, signal });
  signal.throwIfAborted();
  if (!link) throw new BrokenAnswer("the server is out of reach, so the answer cannot be gone on with");
  const question = { id, request: null, position, scheme: schemeOf(options) };
  return await begin(new Answer(way(url, options), link, question), signal, id);
}

/** Begin the WebTransport session, so that the first question need not. */
export function preconnect(url, options = {}) {
  if (hasWebTransport(options)) way(absolute(url), options).link(FALLBACK_AFTER).catch(() => {});
}

export function absolute(url) {
  return new URL(url, globalThis.location?.href).href;
}

async function begin(answer, signal, id) {
  const stop = () => answer.cancel();
  signal.addEventListener("abort", stop, { once: true });
  const resumed = answer.position > 0;
  const first = resumed ? null : await answer.next();
  signal.throwIfAborted();
  if (first !== null && !(first instanceof Uint8Array)) return new Refusal(first);
  try {
    return new DatagramExchange(answer, first, id);
  } catch (error) {
    answer.cancel();
    throw new BrokenAnswer(`the answer does not begin with a head: ${error.message}`);
  }
}

function canUse(request, options) {
  return hasWebTransport(options) && new URL(request.url).protocol.startsWith("http");
}

function hasWebTransport(options) {
  return Boolean(options.WebTransport ?? globalThis.WebTransport);
}

async function reach(request, options) {
  const found = way(request.url, options);
  if (found.hasFailed) return null;
  const link = await found.link(options.fallbackAfter ?? FALLBACK_AFTER, { signal: request.signal });
  if (!link && !request.signal.aborted) found.noteFailure();
  return link;
}

function schemeOf(options) {
  return options.scheme ?? "eloquent-packed";
}

function way(url, { webTransport, certificateHashes, token, WebTransport = globalThis.WebTransport }) {
  const target = new URL(webTransport ?? `https://${new URL(url).host}/eloquent`, url);
  return wayTo(target.href, async () => {
    const shown = new URL(target);
    const given = typeof token === "function" ? await token() : token;
    if (given) shown.searchParams.set("token", given);
    const settings = { congestionControl: "low-latency", requireUnreliable: true };
    if (certificateHashes) settings.serverCertificateHashes = certificateHashes.map(hash);
    return { transport: new WebTransport(shown.href, settings), goodUntil: given ? endOf(given) : Infinity };
  });
}

/** @returns {number} when a JSON Web Token ends (RFC 7519 §4.1.4), in seconds of the epoch; the relay knows, where this cannot be read */
function endOf(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).exp ?? Infinity;
  } catch {
    return Infinity;
  }
}

/** @param {string | BufferSource} value the SHA-256 of a certificate; as text hexadecimal, with or without colons */
function hash(value) {
  const bytes = typeof value === "string" ? fromHex(value.trim().replaceAll(":", "")) : value;
  return { algorithm: "sha-256", value: bytes };
}

/** An answer that comes by datagrams. */
class DatagramExchange {
  carrier = "webtransport";
  #answer;

  constructor(answer, first, id) {
    this.#answer = answer;
    this.answerId = toHex(id);
    /** Index of the token that `next` gives first. */
    this.position = answer.position;
    const eventStream = [["content-type", "text/event-stream; charset=utf-8"]];
    const head = first ? messages.decodeHead(first) : { status: 200, reason: "", fields: eventStream, isEventStream: true };
    this.status = head.status;
    this.statusText = head.reason;
    this.headers = new Headers(head.fields);
    this.isEventStream = head.isEventStream;
  }

  get statistics() {
    return { ...this.#answer.statistics, resumptions: this.#answer.resumptions };
  }

  /** @returns {Promise<Uint8Array | null>} a piece of the content: of an event stream, whole events; null at the end */
  async next() {
    const token = await this.#answer.next();
    if (token instanceof Uint8Array) return token;
    if (token.kind === messages.COMPLETE) return null;
    throw new BrokenAnswer(token.message || "the answer is not whole");
  }

  report(state) {
    this.#answer.report(state);
  }

  cancel() {
    this.#answer.cancel();
  }
}

/** The answer to a request that the origin relay did not answer. */
class Refusal {
  carrier = "webtransport";
  statusText = "";
  isEventStream = false;
  statistics = { datagrams: 0, bytes: 0, resumptions: 0 };
  #content;

  constructor({ kind, message }) {
    const retry = kind in RETRY_STATUS;
    this.status = RETRY_STATUS[kind] ?? FINAL_STATUS[kind] ?? 502;
    this.headers = new Headers({ "content-type": "application/json; charset=utf-8", "x-should-retry": String(retry) });
    if (this.status === 503) this.headers.set("retry-after", "1");
    const text = message || "the origin relay ended the answer before it began";
    const error = { message: text, type: "relay_error", param: null, code: "relay_error" };
    this.#content = new TextEncoder().encode(JSON.stringify({ error }));
  }

  async next() {
    const content = this.#content;
    this.#content = null;
    return content;
  }

  report() {}

  cancel() {}
}

/** An answer that comes by the browser's own fetch. */
class FetchExchange {
  carrier = "sse";
  statistics = { datagrams: 0, bytes: 0, resumptions: 0 };
  #reader;

  constructor(response) {
    this.response = response;
    this.status = response.status;
    this.statusText = response.statusText;
    this.headers = response.headers;
    this.isEventStream = (response.headers.get("content-type") ?? "").startsWith("text/event-stream");
  }

  async next() {
    this.#reader ??= this.response.body?.getReader();
    const { value, done } = (await this.#reader?.read()) ?? { done: true };
    return done ? null : value;
  }

  report() {}

  cancel() {
    (this.#reader ?? this.response.body)?.cancel().catch(() => {});
  }
}
