// What the two ends of one stream say to each other: data and acknowledgements (docs/protocol.md §3, §4).

import { ByteReader, MalformedPacket, concat, encodeVarint, uint32, varintSize } from "./bytes.js";

export const WINDOW = 2048; // fragments from the oldest unacknowledged one on that may be under way
export const MAX_FRAGMENTS = 512; // in one datagram
export const MAX_RANGES = 32; // in one acknowledgement
export const MAX_TOKEN = 1 << 20; // bytes
export const MAX_BUFFERED = 3600; // seconds that a reader can report
export const FRAGMENT_OVERHEAD = 13; // bytes, worst case: type, index, length with flags
const MAX_TRAILER = 512; // bytes

const DATA = 0;
const DATA_WITH_END = 1;
const ACK = 2;
const END_SEEN = 1; // added to ACK
const WITH_READER = 2;
const WITH_CREDIT = 4;
const JUMP = 1;
const MORE = 2;

/**
 * @typedef {{index: number, data: Uint8Array, more: boolean}} Fragment
 * @typedef {{count: number, checksum: number, trailer: Uint8Array}} End
 * @typedef {{bufferedS: number, looking: boolean}} ReaderState
 * @typedef {{next: number, ranges: [number, number][], endSeen: boolean, reader: ReaderState | null, credit: number}} Ack
 */

/** @param {Ack} ack */
export function encodeAck({ next, ranges, endSeen, reader, credit }) {
  const type = ACK + (endSeen ? END_SEEN : 0) + (reader ? WITH_READER : 0) + (credit < WINDOW ? WITH_CREDIT : 0);
  const parts = [Uint8Array.of(type)];
  if (reader) parts.push(encodeVarint(Math.round(reader.bufferedS * 1e3) * 2 + Number(reader.looking)));
  if (credit < WINDOW) parts.push(encodeVarint(credit));
  parts.push(encodeVarint(next));
  let previous = next;
  for (const [start, stop] of ranges) {
    parts.push(encodeVarint(start - previous), encodeVarint(stop - start));
    previous = stop;
  }
  return concat(parts);
}

/**
 * @param {Uint8Array} data
 * @returns {Ack}
 */
export function decodeAck(data) {
  const reader = new ByteReader(data);
  const flags = reader.take(1)[0] - ACK;
  if (flags < 0 || flags > END_SEEN + WITH_READER + WITH_CREDIT) throw new MalformedPacket("not an acknowledgement");
  if (flags & WITH_READER && Math.floor(reader.varint() / 2) > MAX_BUFFERED * 1e3) {
    throw new MalformedPacket("more is buffered than can be");
  }
  const credit = flags & WITH_CREDIT ? reader.varint() : WINDOW;
  if (flags & WITH_CREDIT && credit >= WINDOW) throw new MalformedPacket("a credit is told needlessly, or is too high");
  const next = reader.varint();
  const ranges = [];
  let previous = next;
  while (!reader.atEnd) {
    const start = previous + reader.varint();
    const stop = start + reader.varint();
    if (start === previous || stop === start || !Number.isSafeInteger(stop) || ranges.length === MAX_RANGES) {
      throw new MalformedPacket("the ranges of an acknowledgement are empty, too high or too many");
    }
    ranges.push([start, stop]);
    previous = stop;
  }
  return { next, ranges, endSeen: Boolean(flags & END_SEEN), reader: null, credit };
}

/**
 * @param {Uint8Array} data
 * @returns {{fragments: Fragment[], end: End | null}}
 */
export function decodeData(data) {
  const reader = new ByteReader(data);
  const [type] = reader.take(1);
  if (type !== DATA_WITH_END && (type !== DATA || reader.atEnd)) {
    throw new MalformedPacket(`there is no data of type ${type}, or it has neither a token nor an end`);
  }
  const end = type === DATA_WITH_END ? decodeEnd(reader) : null;
  const fragments = [];
  let index = 0;
  while (!reader.atEnd) {
    const head = reader.varint();
    if (head % 2 === JUMP) {
      const told = reader.varint();
      if (told === index) throw new MalformedPacket("a fragment's index is told needlessly");
      index = told;
    }
    const more = Math.floor(head / MORE) % 2 === 1;
    const content = reader.take(Math.floor(head / 4));
    if ((more && !content.length) || index >= Number.MAX_SAFE_INTEGER || fragments.length === MAX_FRAGMENTS) {
      throw new MalformedPacket("a fragment is empty and goes on, is too high, or is one too many");
    }
    fragments.push({ index, data: content, more });
    index += 1;
  }
  return { fragments, end };
}

/**
 * @param {ByteReader} reader
 * @returns {End}
 */
export function decodeEnd(reader) {
  const count = reader.varint();
  const checksum = reader.uint32();
  const size = reader.varint();
  if (size > MAX_TRAILER) throw new MalformedPacket(`a trailer of ${size} bytes is too long`);
  return { count, checksum, trailer: reader.take(size) };
}

/** Fill one packet up to its limits; whatever does not fit is refused and changes nothing. */
export class DataBuilder {
  /** @type {Fragment[]} */
  fragments = [];
  hasEnd = false;
  #left;
  #expected = 0;
  #end = new Uint8Array(0);
  #encoded = [];

  /** @param {number} budget bytes that the encoded payload may take */
  constructor(budget) {
    this.#left = budget - 1;
  }

  get isEmpty() {
    return !this.fragments.length && !this.hasEnd;
  }

  /** @param {Fragment} fragment */
  add(fragment) {
    if (this.fragments.length >= MAX_FRAGMENTS) return false;
    const jump = fragment.index !== this.#expected;
    const head = fragment.data.length * 4 + (fragment.more ? MORE : 0) + (jump ? JUMP : 0);
    const size = varintSize(head) + (jump ? varintSize(fragment.index) : 0) + fragment.data.length;
    if (size > this.#left) return false;
    this.#left -= size;
    this.#encoded.push(encodeVarint(head), ...(jump ? [encodeVarint(fragment.index)] : []), fragment.data);
    this.#expected = fragment.index + 1;
    this.fragments.push(fragment);
    return true;
  }

  /** @param {End} end */
  addEnd({ count, checksum, trailer }) {
    const encoded = concat([encodeVarint(count), uint32(checksum), encodeVarint(trailer.length), trailer]);
    if (encoded.length > this.#left) return false;
    this.#left -= encoded.length;
    this.#end = encoded;
    this.hasEnd = true;
    return true;
  }

  build() {
    return concat([Uint8Array.of(this.hasEnd ? DATA_WITH_END : DATA), this.#end, ...this.#encoded]);
  }
}
