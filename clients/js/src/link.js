// One WebTransport session: datagrams down and up, any number of streams (docs/protocol.md §2, draft-ietf-webtrans-http3).
//
// Rules of this file
// - A datagram is built when the browser takes it, and the next one when that is done: no queue of ours, and at most one in the
//   browser's, so that acknowledgements never wait behind older ones.
// - The link is over when the browser says so, or when its owner gives it up. All its streams fail then.

import { FRAME, MAX_DATAGRAM, decodeDatagram } from "./datagram.js";
import { ClientSession } from "./session.js";

const OUTGOING_MAX_AGE = 300; // milliseconds after which the browser drops a datagram that it could not send
const INCOMING_PLACES = 1024; // datagrams that wait while the page is busy
const LONGEST_TIMER = 60; // seconds
const IDLE_LIMIT = 30; // seconds without a stream after which the link is closed

export const seconds = () => performance.now() / 1e3;

export class Link {
  /** Resolved when questions can be asked; rejected if that never comes. */
  ready;
  /** Whether it is over. */
  closed = false;
  onclosed = () => {};
  /** Seconds of the epoch, from which on nothing more may be asked. */
  goodUntil = Infinity;
  #transport;
  #sessions = []; // the last one takes new streams; those before have only to say that they left
  #timer = null;
  #writing = false;
  #writer = null;
  #openedAt = seconds();

  /** @param transport a `WebTransport` that has begun */
  constructor(transport) {
    this.#transport = transport;
    this.ready = this.#begin();
    this.ready.catch((error) => this.close(reasonOf(error)));
    this.#transport.closed.then(
      () => this.close("the server closed the session"),
      (error) => this.close(reasonOf(error)),
    );
  }

  /** Streams that are open. */
  get streams() {
    return this.#sessions.flatMap((session) => [...session.streams.values()]);
  }

  /** Seconds for which something has been awaited and nothing was heard; 0 while nothing is awaited. */
  get silence() {
    const waiting = this.#sessions.filter((session) => session.streams.size);
    return waiting.length ? seconds() - Math.max(...waiting.map((session) => session.heardAt)) : 0;
  }

  /** Ask; the answer comes by the stream (`ClientStream`). */
  open(body, scheme) {
    let session = this.#sessions.at(-1);
    if (!session || session.closed) {
      const id = crypto.getRandomValues(new Uint8Array(8));
      const size = Math.min(MAX_DATAGRAM, this.#transport.datagrams.maxDatagramSize || MAX_DATAGRAM);
      session = new ClientSession(id, { now: seconds(), payload: size - FRAME });
      this.#sessions.push(session);
    }
    const stream = session.openStream(body, scheme, seconds());
    this.#pump();
    return stream;
  }

  cancel(stream) {
    stream.session.cancel(stream, seconds());
    this.#pump();
  }

  report(stream, state) {
    stream.session.report(stream, state, seconds());
    this.#pump();
  }

  /** @returns the oldest event of a stream that was not yet taken, or null; a token is read by that */
  take(stream) {
    const event = stream.nextEvent();
    stream.session.noteRead(stream);
    if (stream.answer.hasAck) this.#pump();
    return event;
  }

  /** Give it up; every stream fails for this reason. */
  close(reason) {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.#timer);
    try {
      this.#transport.close();
    } catch {
      // it never began
    }
    for (const session of this.#sessions) session.lose(reason);
    this.onclosed();
  }

  async #begin() {
    await this.#transport.ready;
    const { datagrams } = this.#transport;
    datagrams.outgoingMaxAge = OUTGOING_MAX_AGE;
    datagrams.incomingHighWaterMark = INCOMING_PLACES;
    this.#writer = (datagrams.createWritable?.() ?? datagrams.writable).getWriter();
    this.#writer.closed.catch(() => {}); // the session's own end tells why
    this.#read(datagrams.readable.getReader());
    this.#pump();
  }

  async #read(reader) {
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        this.#take(value);
      }
    } catch (error) {
      this.close(reasonOf(error));
    }
  }

  #take(data) {
    try {
      const datagram = decodeDatagram(data);
      const session = this.#sessions.find(({ connectionId }) => isSame(connectionId, datagram.connectionId));
      session?.receive(datagram, seconds());
    } catch {
      return; // not ours, damaged, or against the protocol: as if it had been lost
    }
    this.#pump();
  }

  /** Do what is due, and say what is to be said. */
  #pump() {
    if (this.closed) return;
    for (const session of this.#sessions) session.handleTimer(seconds());
    if (this.#writing || !this.#writer) this.#arm();
    else this.#write();
  }

  #arm() {
    if (this.closed) return;
    const idle = this.streams.length ? Infinity : this.#idleSince + IDLE_LIMIT;
    const due = Math.min(idle, ...this.#sessions.map((session) => session.getTimer()));
    clearTimeout(this.#timer);
    const wait = Math.min(Math.max(due - seconds(), 0), LONGEST_TIMER);
    this.#timer = setTimeout(() => (seconds() >= idle ? this.close("idle") : this.#pump()), Math.ceil(wait * 1e3));
  }

  get #idleSince() {
    return Math.max(this.#openedAt, ...this.#sessions.map((session) => session.heardAt));
  }

  async #write() {
    this.#writing = true;
    try {
      for (let data; (data = this.#next()); ) await this.#writer.write(data);
    } catch (error) {
      this.close(reasonOf(error));
    } finally {
      this.#writing = false;
    }
    this.#arm();
  }

  #next() {
    for (const session of this.#sessions) {
      const data = session.nextDatagram(seconds());
      if (data) return data;
    }
    this.#sessions = this.#sessions.filter((session) => !session.isSpent);
    return null;
  }
}

function isSame(one, other) {
  return one.every((byte, at) => byte === other[at]);
}

function reasonOf(error) {
  return String(error?.message || error || "the session was lost");
}
