// Bytes: integers of variable length as in RFC 9000 §16, a reader that never reads past the end, CRC-32.
//
// Rules of this file
// - Only the shortest form of an integer is accepted, as by every Eloquent implementation (docs/protocol.md §1).
// - Numbers of JavaScript are exact below 2^53. Nothing of an honest peer comes near; what is above is malformed here.

/** A packet that is not the encoding of anything. */
export class MalformedPacket extends Error {}

/** @returns {Uint8Array} the parts, one after the other */
export function concat(parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let position = 0;
  for (const part of parts) {
    whole.set(part, position);
    position += part.length;
  }
  return whole;
}

export function varintSize(value) {
  return value < 0x40 ? 1 : value < 0x4000 ? 2 : value < 2 ** 30 ? 4 : 8;
}

/** @param {number} value 0 to 2^53 - 1 */
export function encodeVarint(value) {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} does not fit a variable-length integer`);
  const size = varintSize(value);
  const encoded = new Uint8Array(size);
  for (let at = size - 1, rest = value; at >= 0; at--, rest = Math.floor(rest / 256)) encoded[at] = rest % 256;
  encoded[0] |= Math.log2(size) << 6;
  return encoded;
}

export class ByteReader {
  #data;
  #position = 0;

  /** @param {Uint8Array} data */
  constructor(data) {
    this.#data = data;
  }

  get atEnd() {
    return this.#position === this.#data.length;
  }

  take(size) {
    const stop = this.#position + size;
    if (stop > this.#data.length) throw new MalformedPacket("the packet ends too early");
    const chunk = this.#data.subarray(this.#position, stop);
    this.#position = stop;
    return chunk;
  }

  rest() {
    return this.take(this.#data.length - this.#position);
  }

  varint() {
    const [first] = this.take(1);
    const size = 1 << (first >> 6);
    let value = first & 0x3f;
    for (const byte of this.take(size - 1)) value = value * 256 + byte;
    if (varintSize(value) !== size) throw new MalformedPacket("an integer is not in its shortest form");
    if (value > Number.MAX_SAFE_INTEGER) throw new MalformedPacket("an integer is higher than any that is used");
    return value;
  }

  uint32() {
    return this.take(4).reduce((value, byte) => value * 256 + byte, 0);
  }
}

export function uint32(value) {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let entry = byte;
  for (let bit = 0; bit < 8; bit++) entry = entry & 1 ? (entry >>> 1) ^ 0xedb88320 : entry >>> 1;
  return entry;
});

/** @returns {number} the CRC-32 (that of zlib) of content that goes on with `data`, where that of what was before is `crc` */
export function crc32(data, crc = 0) {
  let state = ~crc;
  for (let at = 0; at < data.length; at++) state = (state >>> 8) ^ CRC_TABLE[(state ^ data[at]) & 0xff];
  return ~state >>> 0;
}

/** @returns {number} the checksum of a content that goes on with `token` (docs/protocol.md §3) */
export function extendChecksum(checksum, token) {
  return crc32(token, crc32(encodeVarint(token.length), checksum));
}

export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function fromHex(text) {
  if (!/^(?:[0-9a-f]{2})*$/i.test(text)) throw new TypeError(`'${text}' is not hexadecimal`);
  return Uint8Array.from(text.match(/../g) ?? [], (digits) => parseInt(digits, 16));
}
