// The receiving side of an answer: Algorithm 2 of the Eloquent paper, for ordinary and packed data (docs/protocol.md §3, §4).
//
// Rules of this file
// - A fragment is kept the first time it comes and ignored after. Those that follow the last released one without a gap are
//   joined to tokens and released in order, each exactly once.
// - Each datagram is answered with an acknowledgement of everything that has arrived; datagrams that come before the next
//   `nextDatagram` share one, so that the newest is the only one that waits.
// - A token is read when its event is taken. Who reads slowly gives the sender less credit, and in the end none; what comes beyond
//   the room is dropped, so that the memory of a page has a bound whatever its peer does.
// - A packet whose base lies beyond what was released, or before what is remembered, is acknowledged and not taken.
// - The stream is finished only when all of it was released and the checksum agrees. Otherwise it is broken, and silent.

import { concat, extendChecksum } from "./bytes.js";
import { MAX_BUFFERED, MAX_RANGES, MAX_TOKEN, WINDOW, decodeData, encodeAck } from "./frames.js";
import { History } from "./history.js";
import { decodePacked, isPacked, unpack } from "./packed.js";
import { RangeSet } from "./ranges.js";
import { Repetition } from "./repetition.js";

const REMEMBERED = 1024; // fragments below the next one, which packed data may refer to
const MAX_WAITING_BYTES = 512 * 1024; // beyond a gap
const READ_BEHIND = WINDOW / 4; // unread fragments from which the sender is told how much room is left
const READ_BEHIND_BYTES = 256 * 1024; // of unread tokens, at which there is no room
const LITTLE_CREDIT = WINDOW / 4; // fragments; a sender that was left with less may have stopped
const MAX_UNREAD = 2 * WINDOW; // fragments; no sender that minds the credit comes near it
const MAX_UNREAD_BYTES = 4 * MAX_TOKEN; // likewise
const ROOM_AGAIN_TIMEOUT = 0.2; // seconds to the first repetition, doubled at each
const ROOM_AGAIN_MAX_TIMEOUT = 2; // seconds
const PLACE_COST = 64; // bytes that a fragment takes beside its data

export class Receiver {
  finished = false;
  broken = false;
  #next = 0; // index of the first fragment that was not released
  #waiting = new Map(); // arrived beyond a gap
  #waitingCost = 0; // bytes, of their data and their places
  #ranges = new RangeSet(); // their indices
  #history = new History();
  #partial = []; // the token that is being joined
  #partialSize = 0; // bytes
  #checksum = 0;
  #end = null;
  #ackDue = false;
  #heard = false;
  #reader = null;
  #reportedAt = 0; // seconds
  #events = [];
  #unreadFragments = 0;
  #unreadBytes = 0;
  #senderMayWait = false; // it was told of little room, and nothing new has come since
  #roomAgain = null; // repetition of the news that there is room again

  /**
   * Take a packet of tokens.
   *
   * @throws {MalformedPacket} it is none; nothing has changed
   */
  receive(payload) {
    if (!isPacked(payload)) {
      const { fragments, end } = decodeData(payload);
      this.#take(fragments, end);
      return;
    }
    const packed = decodePacked(payload);
    if (this.#history.has(packed.base - 1) && !this.broken) {
      this.#take(unpack(packed, this.#history, this.#waiting), packed.end);
    } else {
      this.#take([], null);
    }
  }

  /**
   * Tell the sender how the reader fares, with every acknowledgement from now on.
   *
   * @param {import("./frames.js").ReaderState} state as of now
   * @param {number} now seconds
   */
  report(state, now) {
    const wasLooking = this.#reader === null || this.#reader.looking;
    this.#ackDue ||= this.#heard && state.looking !== wasLooking;
    this.#reader = { looking: state.looking, bufferedS: Math.min(Math.max(state.bufferedS, 0), MAX_BUFFERED) };
    this.#reportedAt = now;
  }

  /** @returns {Uint8Array | null} the acknowledgement, if one is due */
  nextDatagram(now) {
    if (!this.#ackDue || this.broken) return null;
    this.#ackDue = false;
    this.#roomAgain?.repeat(now);
    let reader = this.#reader;
    if (reader) reader = { ...reader, bufferedS: Math.max(reader.bufferedS - (now - this.#reportedAt), 0) };
    const credit = this.#credit();
    this.#senderMayWait ||= credit < LITTLE_CREDIT;
    const ranges = this.#ranges.ranges.slice(0, MAX_RANGES);
    return encodeAck({ next: this.#next, ranges, endSeen: this.#end !== null, reader, credit });
  }

  get hasAck() {
    return this.#ackDue && !this.broken;
  }

  /** @returns {number} the instant at which `handleTimer` wants to be called, or infinity */
  getTimer() {
    return this.#roomAgain === null || this.broken || this.#ackDue ? Infinity : this.#roomAgain.due;
  }

  handleTimer(now) {
    if (this.#roomAgain !== null && now >= this.#roomAgain.due) this.#ackDue = true;
  }

  /** @returns the oldest event that was not yet taken, or null; a token is read by that */
  nextEvent() {
    const event = this.#events.shift() ?? null;
    if (event?.type === "token") {
      this.#unreadFragments -= event.fragments;
      this.#unreadBytes -= event.data.length + PLACE_COST;
      const waits = this.#senderMayWait && this.#roomAgain === null && !this.finished;
      if (waits && this.#credit() === WINDOW) {
        this.#ackDue = true;
        this.#roomAgain = new Repetition(0, ROOM_AGAIN_TIMEOUT, ROOM_AGAIN_MAX_TIMEOUT);
      }
    }
    return event;
  }

  #take(fragments, end) {
    if (this.broken) return;
    this.#ackDue = this.#heard = true;
    if (this.finished) return;
    if (this.#unreadFragments < MAX_UNREAD && this.#unreadBytes < MAX_UNREAD_BYTES) {
      const first = this.#next;
      for (const fragment of fragments) {
        const { index, data } = fragment;
        const cost = data.length + PLACE_COST;
        const hasRoom = index === first || this.#waitingCost + cost <= MAX_WAITING_BYTES;
        if (index < first || index >= first + WINDOW || this.#waiting.has(index) || !hasRoom) continue;
        this.#waiting.set(index, fragment);
        this.#waitingCost += cost;
        this.#ranges.add(index, index + 1);
        this.#roomAgain = null;
        this.#senderMayWait = false;
      }
    }
    if (end !== null) this.#takeEnd(end);
    this.#release();
  }

  #takeEnd(end) {
    if (this.#end === null) {
      this.#end = end;
    } else if (!sameEnd(end, this.#end)) {
      this.#break("two ends of one stream contradict each other");
    }
  }

  #release() {
    while (!this.broken && this.#waiting.has(this.#next)) {
      const { data, more } = this.#waiting.get(this.#next);
      this.#waiting.delete(this.#next);
      this.#next += 1;
      this.#history.append(data);
      this.#history.forgetBelow(this.#history.next - REMEMBERED);
      this.#waitingCost -= data.length + PLACE_COST;
      this.#partial.push(data);
      this.#partialSize += data.length;
      if (this.#partialSize > MAX_TOKEN) this.#break(`a token is longer than ${MAX_TOKEN} bytes`);
      else if (!more) this.#releaseToken();
    }
    this.#ranges.discardBelow(this.#next);
    if (this.#end !== null && !this.broken) this.#checkEnd(this.#end);
  }

  #releaseToken() {
    const token = concat(this.#partial);
    const fragments = this.#partial.length;
    this.#unreadFragments += fragments;
    this.#unreadBytes += token.length + PLACE_COST;
    this.#partial = [];
    this.#partialSize = 0;
    this.#checksum = extendChecksum(this.#checksum, token);
    this.#events.push({ type: "token", data: token, fragments });
  }

  #checkEnd(end) {
    if (this.#next > end.count || this.#ranges.stop > end.count) {
      this.#break("there are tokens beyond the end of the stream");
    } else if (this.#next === end.count) {
      if (this.#partial.length) this.#break("the stream ends within a token");
      else if (this.#checksum !== end.checksum) this.#break("the checksum of the content does not agree");
      else {
        this.finished = true;
        this.#roomAgain = null;
        this.#events.push({ type: "end", trailer: end.trailer });
      }
    }
  }

  #break(reason) {
    this.broken = true;
    this.#waiting.clear();
    this.#waitingCost = 0;
    this.#partial = [];
    this.#events.push({ type: "failed", reason, request: "taken" });
  }

  #credit() {
    if (this.#unreadBytes >= READ_BEHIND_BYTES) return 0;
    return this.#unreadFragments < READ_BEHIND ? WINDOW : Math.max(WINDOW - this.#unreadFragments, 0);
  }
}

function sameEnd(one, other) {
  const isSame = one.count === other.count && one.checksum === other.checksum;
  return isSame && one.trailer.length === other.trailer.length && one.trailer.every((byte, at) => byte === other.trailer[at]);
}
