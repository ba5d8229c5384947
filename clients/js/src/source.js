// `EloquentSource`: shaped like EventSource, for answers of chat models.
//
// Rules of this file
// - An answer is asked for once. What EventSource does after a loss, to ask again, would ask the model again.
// - An answer that is not whole ends with an error event, a whole one with an end event; nothing follows either.

import { fromHex } from "./bytes.js";
import { EventStreamReader } from "./event_stream.js";
import { absolute, ask, goOn } from "./exchange.js";
import { Playout } from "./playout.js";
import { watchReader } from "./reader.js";
import { forget, recall, remember } from "./way.js";

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 2;
const MOST_OF_AN_ERROR = 64 * 1024; // bytes of the content of an answer that is no event stream

/** The event `error`. */
export class EloquentErrorEvent extends Event {
  constructor(message, { status = 0, body = "" } = {}) {
    super("error");
    this.message = message;
    this.status = status;
    this.body = body;
  }
}

/** Whether an answer that was asked for with this `resume` (and, if that is true, at this url) was not whole when the page was left. */
export function isResumable(resume, url) {
  return recall(entryOf(resume, url)) !== null;
}

export class EloquentSource extends EventTarget {
  static CONNECTING = CONNECTING;
  static OPEN = OPEN;
  static CLOSED = CLOSED;
  url;
  readyState = CONNECTING;
  lastEventId = "";
  /** @type {"webtransport" | "sse" | null} */
  carrier = null;
  onopen = null;
  onmessage = null;
  onerror = null;
  onend = null;
  #options;
  #entry; // of the tab's storage, or null
  #exchange = null;
  #controller = new AbortController();

  constructor(url, options = {}) {
    super();
    this.url = absolute(url);
    this.#options = options;
    this.#entry = options.resume ? entryOf(options.resume, url) : null;
    for (const type of ["open", "message", "error", "end"]) {
      this.addEventListener(type, (event) => this[`on${type}`]?.call(this, event));
    }
    options.signal?.addEventListener("abort", () => this.close(), { once: true });
    if (options.signal?.aborted) this.close();
    else this.#run();
  }

  /** Datagrams and bytes of payload that came, and how often the answer was resumed. */
  get statistics() {
    return this.#exchange?.statistics ?? { datagrams: 0, bytes: 0, resumptions: 0 };
  }

  /** Want nothing more; no event follows. */
  close() {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.#controller.abort();
    this.#exchange?.cancel();
    if (this.#entry) forget(this.#entry);
  }

  async #run() {
    try {
      this.#exchange = await this.#begin();
      this.carrier = this.#exchange.carrier;
      if (this.#exchange.status !== 200 || !this.#exchange.isEventStream) throw await refusalOf(this.#exchange);
      if (this.readyState === CLOSED) return;
      this.readyState = OPEN;
      this.dispatchEvent(new Event("open"));
      await this.#read();
      this.#end(new Event("end"));
    } catch (error) {
      this.#end(error instanceof EloquentErrorEvent ? error : new EloquentErrorEvent(String(error?.message ?? error)));
    }
  }

  async #begin() {
    const { signal } = this.#controller;
    const begun = this.#entry && JSON.parse(recall(this.#entry) ?? "null");
    if (begun) {
      const position = this.#options.replay ? 0 : begun.position;
      return await goOn(this.url, this.#options, fromHex(begun.id), position, signal);
    }
    const { method, headers, body, credentials } = this.#options;
    const fields = new Headers(headers);
    if (!fields.has("accept")) fields.set("accept", "text/event-stream");
    const request = new Request(this.url, { method, headers: fields, body, credentials, signal, cache: "no-store" });
    return await ask(request, this.#options);
  }

  async #read() {
    const exchange = this.#exchange;
    const { playout } = this.#options;
    const paced = playout ? new Playout(exchange, playout) : exchange;
    const reader = watchReader(exchange, () => paced.bufferedS ?? 0);
    const events = new EventStreamReader();
    let { position } = exchange;
    try {
      this.#note(position);
      for (let token; this.readyState === OPEN && (token = await paced.next()) !== null; ) {
        if (playout) reader.tell();
        for (const event of events.read(token)) this.#show(event);
        position += 1;
        this.#note(position);
      }
    } finally {
      reader.stop();
    }
  }

  /** Remember what is needed to go on after a reload. */
  #note(position) {
    const { answerId } = this.#exchange;
    if (this.#entry && answerId && this.readyState === OPEN) remember(this.#entry, JSON.stringify({ id: answerId, position }));
  }

  #show({ type, data, lastEventId }) {
    if (this.readyState !== OPEN) return;
    this.lastEventId = lastEventId;
    this.dispatchEvent(new MessageEvent(type, { data, lastEventId, origin: new URL(this.url).origin }));
  }

  #end(event) {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    if (this.#entry) forget(this.#entry);
    this.dispatchEvent(event);
  }
}

function entryOf(resume, url) {
  return `eloquent:answer:${resume === true ? absolute(url) : resume}`;
}

async function refusalOf(exchange) {
  const { status } = exchange;
  const pieces = [];
  let size = 0;
  for (let piece; size < MOST_OF_AN_ERROR && (piece = await exchange.next()) !== null; size += piece.length) {
    pieces.push(new TextDecoder().decode(piece));
  }
  exchange.cancel();
  const what = status === 200 ? "the answer is no event stream" : `the server answered with status ${status}`;
  return new EloquentErrorEvent(what, { status, body: pieces.join("") });
}
