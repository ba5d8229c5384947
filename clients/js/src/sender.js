// The sending side of a request: retransmission (docs/protocol.md §7, services/eloquent/protocol/senders/retransmit.py).
//
// Rules of this file
// - The tokens of one instant share one packet, up to the byte budget; a packet stays together for life.
// - A packet is lost when its timeout has passed (doubled at each retransmission), or when three packets that were sent after it,
//   each only once, have been acknowledged. A lost packet is sent again with what of it is unacknowledged.
// - At most 64 KiB are under way, and no fragment beyond the receiver's credit. Congestion is the browser's affair: it paces
//   datagrams, and takes the next one when it has sent the one before.
// - A peer that is silent gets nothing new after 5 s, and is given up after 40 s.

import { extendChecksum } from "./bytes.js";
import { DataBuilder, FRAGMENT_OVERHEAD, WINDOW, decodeAck } from "./frames.js";

const LATER_ACKS = 3; // packets sent later and acknowledged that prove a loss (RFC 5681 §3.2)
const MAX_TIMEOUT = 2; // seconds between repetitions: a person waits for the answer
const QUIET_AFTER = 5; // seconds of silence after which new tokens wait
const GIVE_UP_AFTER = 40; // seconds
const FLIGHT_LIMIT = 64 * 1024; // bytes sent and not acknowledged

export class RequestSender {
  acknowledged = false;
  lost = false; // nothing came from the peer for too long
  #budget;
  #rtt;
  #fresh = [];
  #unacked = new Map(); // by index, ascending
  #given = 0; // fragments
  #sent = 0; // fragments
  #limit = WINDOW; // fragments below it may be sent
  #flight = 0; // bytes
  #checksum = 0;
  #end = null;
  #endSent = false;
  #endAcked = false;
  #silentSince = 0; // seconds; meaningful while something is outstanding
  #packets = [];
  #transmissions = 0;

  /**
   * @param {number} budget bytes that the payload of one datagram may take
   * @param {import("./rtt.js").RttEstimator} rtt of the path
   */
  constructor(budget, rtt) {
    this.#budget = budget;
    this.#rtt = rtt;
  }

  /** Fragments that the peer has not acknowledged, sent or not. */
  get backlog() {
    return this.#fresh.length + this.#unacked.size;
  }

  /** @param {Uint8Array} token */
  sendToken(token) {
    const room = this.#budget - FRAGMENT_OVERHEAD;
    let start = 0;
    do {
      const data = token.subarray(start, start + room);
      start += room;
      this.#fresh.push({ index: this.#given++, data, more: start < token.length });
    } while (start < token.length);
    this.#checksum = extendChecksum(this.#checksum, token);
  }

  finish() {
    this.#end = { count: this.#given, checksum: this.#checksum, trailer: new Uint8Array(0) };
  }

  /**
   * Take an acknowledgement.
   *
   * @throws {MalformedPacket} it is none
   */
  receive(payload, now) {
    const ack = decodeAck(payload);
    const highest = ack.ranges.at(-1)?.[1] ?? ack.next;
    if (highest > this.#sent || (ack.endSeen && !this.#endSent)) throw new RangeError("acknowledged, but never sent");
    if (this.#isOver) return;
    this.#silentSince = now;
    this.#limit = Math.max(this.#limit, ack.next + ack.credit);
    const newly = this.#newly(ack);
    const endNewly = ack.endSeen && !this.#endAcked;
    this.#endAcked ||= ack.endSeen;
    this.acknowledged = this.#endAcked && !this.#fresh.length && !this.#unacked.size;
    if (!this.acknowledged && (newly.size || endNewly)) this.#learn(newly, endNewly, now);
  }

  /** @returns {Uint8Array | null} what is to be sent now */
  nextDatagram(now) {
    if (this.#isOver) return null;
    const lost = this.#packets.find((packet) => packet.lost);
    if (lost) {
      lost.transmissions += 1;
      this.#note(lost, now);
      return this.#payload(lost);
    }
    if (!this.#maySendNew(now)) return null;
    if (!this.#outstanding) this.#silentSince = now;
    const packet = { indices: [], hasEnd: false, order: 0, sentAt: now, transmissions: 1, laterAcks: 0, lost: false };
    this.#fill(packet);
    this.#note(packet, now);
    this.#packets.push(packet);
    return this.#payload(packet);
  }

  /** @returns {number} the instant at which `handleTimer` wants to be called, or infinity */
  getTimer() {
    if (!this.#outstanding) return Infinity;
    const waiting = this.#packets.filter((packet) => !packet.lost); // a lost one goes as soon as the path takes it
    const due = waiting.map((packet) => packet.sentAt + this.#wait(packet));
    return Math.min(this.#silentSince + GIVE_UP_AFTER, ...due);
  }

  handleTimer(now) {
    if (!this.#outstanding) return;
    this.lost = now >= this.#silentSince + GIVE_UP_AFTER;
    for (const packet of this.#packets) packet.lost ||= now >= packet.sentAt + this.#wait(packet);
  }

  get #isOver() {
    return this.acknowledged || this.lost;
  }

  get #outstanding() {
    return !this.#isOver && (this.#unacked.size > 0 || (this.#endSent && !this.#endAcked));
  }

  get #windowIsOpen() {
    const oldest = this.#unacked.keys().next().value ?? this.#sent;
    return this.#sent < Math.min(oldest + WINDOW, this.#limit) && this.#flight < FLIGHT_LIMIT;
  }

  #maySendNew(now) {
    const has = this.#fresh.length ? this.#windowIsOpen : this.#end !== null && !this.#endSent;
    return has && !(this.#outstanding && now - this.#silentSince > QUIET_AFTER);
  }

  #fill(packet) {
    const builder = new DataBuilder(this.#budget);
    while (this.#fresh.length && this.#windowIsOpen && builder.add(this.#fresh[0])) {
      const fragment = this.#fresh.shift();
      this.#unacked.set(fragment.index, fragment);
      this.#sent += 1;
      this.#flight += fragment.data.length;
      packet.indices.push(fragment.index);
    }
    if (this.#end && !this.#endSent && !this.#fresh.length) packet.hasEnd = this.#endSent = builder.addEnd(this.#end);
  }

  #payload(packet) {
    const builder = new DataBuilder(this.#budget);
    for (const index of packet.indices) builder.add(this.#unacked.get(index));
    if (packet.hasEnd) builder.addEnd(this.#end);
    return builder.build();
  }

  #note(packet, now) {
    packet.order = ++this.#transmissions;
    packet.sentAt = now;
    packet.laterAcks = 0;
    packet.lost = false;
  }

  #wait(packet) {
    return Math.min(this.#rtt.timeout(packet.transmissions - 1), MAX_TIMEOUT);
  }

  /** Forget the fragments that an acknowledgement is the first to cover, and return their indices. */
  #newly(ack) {
    const newly = new Set();
    for (const [index, fragment] of this.#unacked) {
      if (index >= ack.next && !ack.ranges.some(([start, stop]) => start <= index && index < stop)) continue;
      this.#unacked.delete(index);
      this.#flight -= fragment.data.length;
      newly.add(index);
    }
    return newly;
  }

  #learn(newly, end, now) {
    const told = this.#packets.filter((packet) => packet.indices.some((index) => newly.has(index)) || (end && packet.hasEnd));
    for (const packet of told) {
      packet.indices = packet.indices.filter((index) => !newly.has(index));
      packet.hasEnd &&= !end;
    }
    this.#packets = this.#packets.filter((packet) => packet.indices.length || packet.hasEnd);
    const once = told.filter((packet) => packet.transmissions === 1);
    if (once.length) this.#rtt.sample(now - Math.max(...once.map((packet) => packet.sentAt)));
    for (const packet of this.#packets) {
      packet.laterAcks += once.filter((other) => other.order > packet.order).length;
      packet.lost ||= packet.laterAcks >= LATER_ACKS;
    }
  }
}
