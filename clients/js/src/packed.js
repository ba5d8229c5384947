// Packed data: fragments compressed against what their receiver has (docs/protocol.md §3a).
//
// Rules of this file
// - Whoever has every fragment below the base can unpack the packet, and needs no other.
// - What comes out has a bound that is known before it is unpacked. What follows the end of the compressed content is ignored.

import { inflateSync } from "fflate";
import { ByteReader, MalformedPacket, concat } from "./bytes.js";
import { MAX_FRAGMENTS, decodeEnd } from "./frames.js";

const MAX_UNPACKED = 64 * 1024; // bytes of middles in one packet
const MAX_FRAGMENT = 1200; // bytes
const PACKED = 0x0a;
const WITH_END = 1; // added to the type
const AS_THEY_ARE = 2;
const WIDE = 4;
const JUMP = 1;
const CHANGED = 2;
const MORE = 4;

export function isPacked(payload) {
  return payload.length > 0 && payload[0] >= PACKED && payload[0] <= PACKED + WITH_END + AS_THEY_ARE + WIDE;
}

/**
 * Decode packed data, but for what is compressed.
 *
 * @param {Uint8Array} payload
 * @throws {MalformedPacket} it is not the encoding of any
 */
export function decodePacked(payload) {
  const kind = payload[0] - PACKED;
  const reader = new ByteReader(payload.subarray(1));
  const end = kind & WITH_END ? decodeEnd(reader) : null;
  const base = reader.varint();
  const count = reader.varint();
  if (count > MAX_FRAGMENTS || (!count && !end)) {
    throw new MalformedPacket(`${count} fragments are too many, or none without an end`);
  }
  const rest = reader.rest();
  const heads = new HeadReader(rest, kind & WIDE ? 2 : 1);
  const items = [];
  let index = base;
  let total = 0;
  for (let left = count; left; left--) {
    const item = heads.next(index);
    index = item.index + 1;
    total += item.length;
    if (!Number.isSafeInteger(index) || total > MAX_UNPACKED) {
      throw new MalformedPacket("an index of packed data is out of range, or there is more in it than may be");
    }
    items.push(item);
  }
  return { base, items, total, content: rest.subarray(heads.stop()), compressed: !(kind & AS_THEY_ARE), end };
}

/** Heads are hexadecimal digits, two a byte. */
class HeadReader {
  #data;
  #width;
  #position = 0; // digits

  constructor(data, width) {
    this.#data = data;
    this.#width = width;
  }

  next(index) {
    const long = this.#width === 1 ? 0xe : 0xfe;
    const length = this.#digits(this.#width);
    if (length < long) return { index, length, more: false, shape: null, follows: true };
    if (length > long) throw new MalformedPacket("a head of packed data begins with what there is not");
    const head = this.#varint();
    const jump = head & JUMP ? this.#varint() : 0;
    const shape = head & CHANGED ? { prefix: this.#varint(), suffix: this.#varint() } : null;
    const item = { index: index + jump, length: Math.floor(head / 8), shape };
    return { ...item, more: Boolean(head & MORE), follows: !(head & JUMP) };
  }

  /** @returns {number} where the heads end, in bytes */
  stop() {
    if (this.#position % 2 && this.#digits(1)) {
      throw new MalformedPacket("the heads of packed data are not padded with zero");
    }
    return this.#position / 2;
  }

  #digits(count) {
    let value = 0;
    for (; count; count--, this.#position++) {
      if (this.#position >= 2 * this.#data.length) throw new MalformedPacket("the heads of packed data are cut off");
      const byte = this.#data[this.#position >> 1];
      value = value * 16 + (this.#position % 2 ? byte & 0x0f : byte >> 4);
    }
    return value;
  }

  #varint() {
    const bytes = [this.#digits(2)];
    for (let left = (1 << (bytes[0] >> 6)) - 1; left; left--) bytes.push(this.#digits(2));
    return new ByteReader(Uint8Array.from(bytes)).varint();
  }
}

/**
 * Return the fragments of a packet that are not there yet.
 *
 * @param packed what `decodePacked` returned; the fragment below its base is in the history
 * @param {import("./history.js").History} history of what was released
 * @param {Map<number, import("./frames.js").Fragment>} waiting what arrived beyond a gap
 * @throws {MalformedPacket} the content is not what the heads say
 */
export function unpack(packed, history, waiting) {
  const content = packed.compressed ? decompress(packed, history.dictionary(packed.base)) : packed.content;
  if (content.length !== packed.total) throw new MalformedPacket("packed content is not as long as its heads say");
  const found = new Map();
  let shape = history.shape(packed.base - 1);
  let stop = 0;
  for (const item of packed.items) {
    const start = stop;
    stop += item.length;
    shape = item.shape ?? shape;
    if (item.index < history.next || waiting.has(item.index)) continue;
    const below = (item.follows ? item.index : packed.base) - 1;
    const reference = (found.get(below) ?? waiting.get(below))?.data ?? history.data(below);
    const { prefix, suffix } = shape;
    if (prefix + suffix > reference.length) throw new MalformedPacket("a fragment shares more than there is");
    const size = prefix + item.length + suffix;
    if (size > MAX_FRAGMENT || (item.more && !size)) {
      throw new MalformedPacket("a fragment is longer than any, or is empty and goes on");
    }
    const tail = reference.subarray(reference.length - suffix);
    const data = concat([reference.subarray(0, prefix), content.subarray(start, stop), tail]);
    found.set(item.index, { index: item.index, data, more: item.more });
  }
  return [...found.values()];
}

function decompress({ content, total }, dictionary) {
  try {
    return inflateSync(content, { dictionary, out: new Uint8Array(total + 1) }); // one more, to see what is too long
  } catch (error) {
    throw new MalformedPacket("the content of packed data cannot be decompressed", { cause: error });
  }
}
