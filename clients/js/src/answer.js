// An answer on its way: one sequence of tokens, whatever becomes of the sessions that carry it.
//
// Rules of this file
// - A stream that is lost is asked for again from the next token on, by whatever link there is within some seconds.
// - The model is never asked twice: what was begun is resumed, or the answer fails. A request that the origin has not said to have
//   is sent again under the same id, by which the origin knows what it has begun.

import { BROKEN, REFUSED, decodeOutcome, encodeResume } from "./messages.js";

const RESUME_TIMEOUT = 8; // seconds since an answer was lost, without a token, for which it is asked for again
const PAUSE = 0.5; // seconds between two trials

export class Answer {
  /** Index of the next token. */
  position;
  resumptions = 0;
  #before = { datagrams: 0, bytes: 0 }; // that came by streams that were lost
  #way;
  #id;
  #request; // to be sent again; null once the origin has it
  #scheme;
  #link = null;
  #stream = null;
  #news = () => {};
  #lostAt = null; // milliseconds; since when there is no token of it; null while all is well
  #loss = "";
  #state = null; // of the reader
  #cancelled = new AbortController();

  /**
   * @param way where links come from
   * @param link the one by which it is asked
   * @param {{id: Uint8Array, request: Uint8Array | null, position: number, scheme: string}} question request is null to go on
   *   with an answer that was begun before
   */
  constructor(way, link, { id, request, position, scheme }) {
    this.#way = way;
    this.#id = id;
    this.#request = request;
    this.position = position;
    this.#scheme = scheme;
    this.#open(link);
  }

  /** @returns {Promise<Uint8Array | {kind: number, message: string}>} the next token, or how the answer ended */
  async next() {
    for (;;) {
      if (!this.#stream && !(await this.#resume())) {
        const why = this.#cancelled.signal.aborted ? "cancelled" : `the server is out of reach: ${this.#loss}`;
        return { kind: BROKEN, message: why };
      }
      const event = await this.#event();
      if (event.type === "token") {
        this.#request = this.#lostAt = null;
        this.position += 1;
        return event.data;
      }
      if (event.type === "end") return decodeOutcome(event.trailer);
      if (event.request === "refused") return { kind: REFUSED, message: `the server refuses the request: ${event.reason}` };
      if (event.request === "taken") this.#request = null;
      this.#lose(event.reason);
    }
  }

  /** Tell the origin how the reader fares. */
  report(state) {
    this.#state = state;
    if (this.#stream) this.#link.report(this.#stream, state);
  }

  /** Tell the origin that nobody wants the rest; does nothing after the end. */
  cancel() {
    if (this.#stream) this.#link.cancel(this.#stream);
    this.#cancelled.abort();
    this.#news();
  }

  async #event() {
    for (;;) {
      if (this.#cancelled.signal.aborted) return { type: "failed", reason: "cancelled", request: "taken" };
      const event = this.#link.take(this.#stream);
      if (event) return event;
      await new Promise((resolve) => (this.#news = resolve));
    }
  }

  #lose(reason) {
    this.#before = this.statistics;
    this.#stream = null;
    this.#loss = reason;
  }

  async #resume() {
    const isFirst = this.#lostAt === null;
    this.#lostAt ??= performance.now();
    if (!isFirst) await new Promise((resolve) => setTimeout(resolve, PAUSE * 1e3));
    const left = RESUME_TIMEOUT - (performance.now() - this.#lostAt) / 1e3;
    const { signal } = this.#cancelled;
    const link = signal.aborted ? null : await this.#way.link(left, { isPatient: true, signal });
    if (!link || signal.aborted) return false;
    this.resumptions += 1;
    this.#open(link);
    return true;
  }

  #open(link) {
    this.#link = link;
    this.#stream = link.open(this.#request ?? encodeResume(this.#id, this.position), this.#scheme);
    this.#stream.onnews = () => this.#news();
    if (this.#state) link.report(this.#stream, this.#state);
  }

  /** Datagrams and bytes of payload that came for it. */
  get statistics() {
    const { datagrams, bytes } = this.#stream?.received ?? { datagrams: 0, bytes: 0 };
    return { datagrams: this.#before.datagrams + datagrams, bytes: this.#before.bytes + bytes };
  }
}
