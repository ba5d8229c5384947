// The client's side of a session: it opens streams, and is told their tokens and how they ended (docs/protocol.md §6).
//
// Rules of this file
// - No clock, no socket: the time is an argument in seconds, the timer is pulled, and so is each datagram: it is built when the
//   path takes it, so that none waits that a newer one replaces.
// - The way has validated the address (QUIC has), so a session begins with the address token of zeros; where the server wants
//   another one, its Retry tells it.
// - The datagrams of a request are of kind Open until the server has spoken about a stream, and of kind Request after that.
// - A stream that is cancelled says nothing more to its owner; Cancel is repeated until the server agrees.
// - While anything is awaited and the server is silent, it is asked for a sign of life, and after 40 s given up. Streams of which
//   nothing has been heard are asked about.

import { concat } from "./bytes.js";
import * as wire from "./datagram.js";
import { Receiver } from "./receiver.js";
import { Repetition } from "./repetition.js";
import { RttEstimator } from "./rtt.js";
import { RequestSender } from "./sender.js";

export const SILENCE_LIMIT = 40; // seconds
const MAX_GONE = 1024; // streams remembered when they are over
const PING_INTERVALS = [1.0, 0.7, 0.9, 0.6, 0.8]; // seconds of silence between signs of life, in turn
const ASK_INTERVAL = 5; // seconds of silence of one stream after which the server is asked whether it still has it
const CANCEL_TIMEOUT = 0.2; // seconds to the first repetition of Cancel, doubled at each
const CANCEL_MAX_TIMEOUT = 2; // seconds
const REOPEN_INTERVAL = 1; // seconds between two requests that are sent anew at once because a token was refused
const IDLE_LIMIT = 30; // seconds without a stream after which a client leaves
const REQUEST_PART = 64 * 1024; // bytes of a request that make a token
const PARTS_AHEAD = 256; // unacknowledged fragments of a request up to which the next part is given to its sender

const utf8 = new TextEncoder();

/** A request and its answer. Its owner takes events with `nextEvent`; `onnews` tells that there may be some. */
export class ClientStream {
  answer = new Receiver();
  onnews = () => {};
  /** @type {RequestSender | null} */
  request = null; // null once the server has it
  received = { datagrams: 0, bytes: 0 };
  #failure = null;
  #given; // bytes of the request that its sender has
  #makeSender;

  constructor(session, id, scheme, body, makeSender, now) {
    this.session = session;
    this.id = id;
    this.scheme = scheme;
    this.body = body;
    this.heardAt = now;
    this.#makeSender = makeSender;
    this.sendRequest();
  }

  /** Send the request, all of it anew if it was sent before. */
  sendRequest() {
    this.request = this.#makeSender();
    this.request.sendToken(utf8.encode(this.scheme));
    this.#given = 0;
  }

  nextRequest(now) {
    while (this.request && this.#given <= this.body.length && this.request.backlog < PARTS_AHEAD) {
      this.request.sendToken(this.body.subarray(this.#given, this.#given + REQUEST_PART));
      this.#given += REQUEST_PART;
      if (this.#given >= this.body.length) {
        this.request.finish();
        this.#given = Infinity;
      }
    }
    return this.request?.nextDatagram(now) ?? null;
  }

  noteTaken() {
    this.request = null;
    this.body = new Uint8Array(0);
  }

  fail(reason, request) {
    this.#failure = { type: "failed", reason, request: this.request === null ? "taken" : request };
  }

  /** @returns a token, the end or the failure, or null; nothing follows the end or the failure */
  nextEvent() {
    const event = this.answer.nextEvent() ?? this.#failure;
    if (event?.type === "failed") this.#failure = null;
    return event;
  }

  getTimer() {
    return Math.min(this.request?.getTimer() ?? Infinity, this.answer.getTimer());
  }

  handleTimer(now) {
    this.request?.handleTimer(now);
    this.answer.handleTimer(now);
  }
}

export class ClientSession {
  closed = false;
  heardAt = -Infinity; // seconds; when the server last spoke, or something began to be awaited
  streams = new Map();
  #id;
  #token = new Uint8Array(wire.ADDRESS_TOKEN_SIZE);
  #budget;
  #rtt = new RttEstimator();
  #number = 0; // of the next datagram
  #nextStream = 0;
  #control = []; // bodies of what is to be said of no stream that is open
  #touched = new Set(); // streams that may have something to send
  #gone = new Map(); // by stream id: the last acknowledgement, if it ended well
  #cancelling = new Map(); // by stream id: repetitions
  #opened = false; // the server may have the session
  #established = false; // the server has spoken about a stream
  #reopenedAt = -Infinity; // seconds
  #askedAt = 0; // seconds; of the last question for silent streams
  #pings = 0;
  #lastSign = 0; // seconds; of life or of our asking for it
  #idleSince; // seconds, or null while something is awaited

  /**
   * @param {Uint8Array} connectionId 8 random bytes, never used again
   * @param {{now: number, payload?: number}} options seconds; bytes that the payload of a stream takes in one datagram
   */
  constructor(connectionId, { now, payload = wire.MAX_DATAGRAM - wire.FRAME }) {
    this.#id = connectionId;
    this.#budget = payload - wire.ADDRESS_TOKEN_SIZE; // the room in Open
    this.#idleSince = now;
  }

  get connectionId() {
    return this.#id;
  }

  /** Seconds, or null before something was acknowledged. */
  get rtt() {
    return this.#rtt.smoothed;
  }

  get isIdle() {
    return !this.streams.size && !this.#cancelling.size;
  }

  /** Whether the session is closed and has nothing left to say. */
  get isSpent() {
    return this.closed && !this.#control.length;
  }

  /** Send a request of any length; its answer comes by the stream. */
  openStream(body, scheme, now) {
    this.#awaitServer(now);
    this.#idleSince = null;
    const makeSender = () => new RequestSender(this.#budget, this.#rtt);
    const stream = new ClientStream(this, this.#nextStream++, scheme, body, makeSender, now);
    this.streams.set(stream.id, stream);
    this.#touched.add(stream);
    return stream;
  }

  /** Give up a stream; nothing happens if it is already over. */
  cancel(stream, now) {
    if (this.streams.has(stream.id)) this.#drop(stream, now);
  }

  /** Tell the server how the reader of a stream fares. */
  report(stream, state, now) {
    if (!this.streams.has(stream.id)) return;
    stream.answer.report(state, now);
    this.#touched.add(stream);
  }

  /** Note that an event of a stream was taken, by which its sender may have room again. */
  noteRead(stream) {
    if (stream.answer.hasAck && this.streams.has(stream.id)) this.#touched.add(stream);
  }

  /** Give up all streams, because the server cannot be reached any more. */
  lose(reason) {
    if (this.closed) return;
    for (const stream of [...this.streams.values()]) this.#end(stream, { failure: reason });
    this.closed = true;
    this.#cancelling.clear();
  }

  /** Give up all streams and tell the server. */
  leave(reason) {
    if (this.closed) return;
    for (const stream of [...this.streams.values()]) this.#end(stream, { failure: reason });
    this.closed = true;
    this.#cancelling.clear();
    if (this.#opened) this.#control.push(wire.leave(reason));
  }

  /**
   * Take what a server said.
   *
   * @param datagram as `decodeDatagram` returned it
   * @throws {MalformedPacket | RangeError} it breaks the protocol; drop it and go on
   */
  receive(datagram, now) {
    if (this.closed) return;
    this.#handle(datagram, now);
    this.heardAt = this.#lastSign = now;
  }

  /** @returns {Uint8Array | null} what is to be sent now */
  nextDatagram(now) {
    if (this.#control.length) return this.#frame(this.#control.shift());
    for (const stream of this.#touched) {
      const body = this.#bodyOf(stream, now);
      if (body) return this.#frame(body);
      this.#touched.delete(stream);
    }
    return null;
  }

  /** @returns {number} the instant at which `handleTimer` wants to be called, or infinity */
  getTimer() {
    if (this.closed) return Infinity;
    if (this.#idleSince !== null) return this.#idleSince + IDLE_LIMIT;
    let timer = Math.min(this.heardAt + SILENCE_LIMIT, this.#established ? this.#pingDue : Infinity);
    for (const stream of this.streams.values()) timer = Math.min(timer, stream.getTimer());
    for (const { due } of this.#cancelling.values()) timer = Math.min(timer, due);
    return timer;
  }

  /** Repeat requests and cancellations, ask for a sign of life, or give up. */
  handleTimer(now) {
    if (now < this.getTimer() || this.closed) return;
    if (this.#idleSince !== null) {
      this.leave("idle");
    } else if (now >= this.heardAt + SILENCE_LIMIT) {
      this.lose(`nothing came from the server for ${SILENCE_LIMIT} seconds`);
    } else {
      this.#handleStreamTimers(now);
      this.#repeatCancels(now);
      if (this.#established && this.#pingDue <= now) this.#ping(now);
    }
  }

  #handleStreamTimers(now) {
    for (const stream of [...this.streams.values()]) {
      if (stream.getTimer() > now) continue;
      stream.handleTimer(now);
      this.#touched.add(stream);
      if (stream.request?.lost) this.#drop(stream, now, "nothing came from the server");
    }
  }

  #repeatCancels(now) {
    for (const [streamId, repetition] of this.#cancelling) {
      if (repetition.due > now) continue;
      this.#control.push(wire.cancel(streamId));
      repetition.repeat(now);
    }
  }

  get #pingDue() {
    return Math.min(this.#lastSign + PING_INTERVALS[this.#pings % PING_INTERVALS.length], this.#askedAt + ASK_INTERVAL);
  }

  /** Ask for a sign of life if there was none, and about the streams of which none was. */
  #ping(now) {
    let silent = [];
    if (this.#askedAt + ASK_INTERVAL <= now) {
      this.#askedAt = now;
      silent = [...this.streams.values()].filter((stream) => !stream.request && stream.heardAt + ASK_INTERVAL <= now);
      silent = silent.map((stream) => stream.id).sort((one, other) => one - other).slice(0, wire.MAX_ASKED);
    }
    if (silent.length || this.#pingDue <= now) {
      this.#pings += 1;
      this.#control.push(wire.ping(silent));
      this.#lastSign = now;
    }
  }

  /** Count the server's silence from now on, if nothing was awaited before. */
  #awaitServer(now) {
    if (this.isIdle) this.heardAt = this.#lastSign = this.#askedAt = now;
  }

  #bodyOf(stream, now) {
    const payload = stream.nextRequest(now);
    if (payload) {
      this.#opened = true;
      return this.#established ? wire.request(stream.id, payload) : wire.open(this.#token, stream.id, payload);
    }
    const ack = stream.answer.nextDatagram(now);
    return ack && wire.answerAck(stream.id, ack);
  }

  #frame(body) {
    return wire.encodeDatagram(this.#id, this.#number++, ...body);
  }

  #handle(datagram, now) {
    const { kind, streamId } = datagram;
    if (!this.#opened && kind !== wire.CLOSE) throw new RangeError("a server answered what it was not asked");
    if (kind === wire.RETRY) {
      if (datagram.answered < this.#number) this.#takeToken(datagram.token, now);
    } else if (kind === wire.REQUEST_ACK) {
      this.#takeRequestAck(datagram, now);
    } else if (kind === wire.ANSWER) {
      this.#takeAnswer(datagram, now);
    } else if (kind === wire.CANCELLED) {
      this.#cancelling.delete(streamId);
      const stream = this.streams.get(streamId);
      if (stream) this.#end(stream, { failure: datagram.reason || "the server dropped the stream", request: "refused" });
      this.#noteIdle(now);
    } else if (kind === wire.CLOSE && datagram.answered < this.#number) {
      this.lose(datagram.reason);
    }
  }

  #takeToken(token, now) {
    this.#token = concat([token]);
    if (this.#established || now < this.#reopenedAt + REOPEN_INTERVAL) return;
    this.#reopenedAt = now; // whatever was sent of the requests was refused with the token: all of it is sent anew
    for (const stream of [...this.streams.values()]) {
      if (now >= stream.heardAt + SILENCE_LIMIT) {
        this.#drop(stream, now, "the server refuses each address token that it has given");
        continue;
      }
      stream.sendRequest();
      this.#touched.add(stream);
    }
    this.#noteIdle(now);
  }

  #takeRequestAck({ streamId, payload }, now) {
    const stream = this.streams.get(streamId);
    if (!stream?.request) return;
    stream.request.receive(payload, now);
    this.#established = true;
    stream.heardAt = now;
    if (stream.request.acknowledged) stream.noteTaken();
    this.#touched.add(stream);
  }

  #takeAnswer({ streamId, payload }, now) {
    const stream = this.streams.get(streamId);
    if (!stream) {
      const lastAck = this.#gone.get(streamId);
      if (lastAck) this.#control.push(wire.answerAck(streamId, lastAck));
      else if (!this.#cancelling.has(streamId)) this.#control.push(wire.cancel(streamId));
      return;
    }
    stream.answer.receive(payload);
    stream.received.datagrams += 1;
    stream.received.bytes += payload.length;
    stream.noteTaken(); // who answers has the request
    stream.heardAt = now;
    this.#established = true;
    if (stream.answer.broken) {
      this.#drop(stream, now);
    } else if (stream.answer.finished) {
      const lastAck = stream.answer.nextDatagram(now);
      this.#control.push(wire.answerAck(streamId, lastAck));
      this.#end(stream, { lastAck });
      this.#noteIdle(now);
    } else {
      this.#touched.add(stream);
      stream.onnews();
    }
  }

  /** Forget a stream that the server may still be sending, and tell it so until it agrees. */
  #drop(stream, now, failure) {
    this.#end(stream, { failure });
    if (this.#opened) {
      this.#control.push(wire.cancel(stream.id));
      this.#cancelling.set(stream.id, new Repetition(now + CANCEL_TIMEOUT, 2 * CANCEL_TIMEOUT, CANCEL_MAX_TIMEOUT));
    }
    this.#noteIdle(now);
  }

  #end(stream, { lastAck = null, failure, request = "unfinished" }) {
    this.streams.delete(stream.id);
    this.#touched.delete(stream);
    if (failure !== undefined) stream.fail(failure, request);
    this.#gone.set(stream.id, lastAck);
    if (this.#gone.size > MAX_GONE) this.#gone.delete(this.#gone.keys().next().value);
    stream.onnews();
  }

  #noteIdle(now) {
    if (this.isIdle) this.#idleSince ??= now;
  }
}
