// What is asked and how an answer begins and ends, as protobuf messages (proto/eloquent/api/v1/exchange.proto).
//
// Rules of this file
// - Written is what a page asks, read what an origin relay answers. Fields that are not known are skipped.

import { ByteReader, MalformedPacket, concat } from "./bytes.js";

export const ANSWER_ID_SIZE = 16; // bytes

/** Kinds of an outcome. */
export const COMPLETE = 1;
export const BROKEN = 2;
export const GONE = 3;
export const REFUSED = 4;
export const INVALID = 5;
export const UNSUPPORTED = 6;
export const STOPPING = 7;

const VARINT = 0; // wire types
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

const utf8 = new TextEncoder();
const text = new TextDecoder();

/**
 * @param {Uint8Array} answerId names the answer from then on
 * @param {{method: string, target: string, fields: [string, string][], body: Uint8Array}} request
 * @param {boolean} isResumable whether the reader may come back for the rest by another session of another page
 */
export function encodeBegin(answerId, { method, target, fields, body }, isResumable) {
  const headers = fields.map(([name, value]) => field(3, [field(1, utf8.encode(name)), field(2, latin1(value))]));
  const http = [field(1, utf8.encode(method)), field(2, utf8.encode(target)), ...headers, field(4, body)];
  return concat([field(1, answerId), field(2, http), isResumable ? number(4, 1) : concat([])]);
}

/**
 * @param {Uint8Array} answerId
 * @param {number} following index of the first token that is wanted
 */
export function encodeResume(answerId, following) {
  return concat([field(1, answerId), field(3, [number(1, following)])]);
}

/**
 * Read the first token of an answer.
 *
 * @param {Uint8Array} token
 * @throws {MalformedPacket} it is no head
 */
export function decodeHead(token) {
  const head = { status: 0, reason: "", fields: [], isEventStream: false };
  for (const [key, value] of fieldsOf(token, { 1: VARINT, 2: BYTES, 3: BYTES, 4: VARINT })) {
    if (key === 1) head.status = value;
    else if (key === 2) head.reason = text.decode(value);
    else if (key === 3) head.fields.push(decodeField(value));
    else if (key === 4) head.isEventStream = value === 1;
  }
  if (head.status < 200 || head.status > 599) throw new MalformedPacket(`the answer begins with the status ${head.status}`);
  return head;
}

/**
 * Read a trailer; one that cannot be read is of kind 0.
 *
 * @param {Uint8Array} trailer
 */
export function decodeOutcome(trailer) {
  const outcome = { kind: 0, message: "" };
  try {
    for (const [key, value] of fieldsOf(trailer, { 1: VARINT, 2: BYTES })) {
      if (key === 1) outcome.kind = value;
      else if (key === 2) outcome.message = text.decode(value);
    }
  } catch {
    return { kind: 0, message: "" };
  }
  return outcome;
}

function decodeField(data) {
  let name = "";
  let value = "";
  for (const [key, content] of fieldsOf(data, { 1: BYTES, 2: BYTES })) {
    if (key === 1) name = text.decode(content);
    else if (key === 2) value = Array.from(content, (byte) => String.fromCharCode(byte)).join("");
  }
  return [name, value];
}

/**
 * @param {Uint8Array} data a message
 * @param {Record<number, number>} types wire types of the fields that are wanted, by key; whatever else there is, is skipped
 * @returns {[number, number | Uint8Array][]} keys and values, in order
 */
function fieldsOf(data, types) {
  const reader = new ByteReader(data);
  const fields = [];
  while (!reader.atEnd) {
    const tag = varint(reader);
    const key = Math.floor(tag / 8);
    const value = valueOf(reader, tag % 8);
    if (types[key] === tag % 8) fields.push([key, value]);
  }
  return fields;
}

function valueOf(reader, type) {
  if (type === VARINT) return varint(reader);
  if (type === BYTES) return reader.take(varint(reader));
  if (type === FIXED64 || type === FIXED32) return reader.take(type === FIXED64 ? 8 : 4);
  throw new MalformedPacket(`there is no wire type ${type}`);
}

/** Integers of protobuf: seven bits a byte, the lowest first. */
function varint(reader) {
  let value = 0;
  for (let factor = 1; factor < 2 ** 49; factor *= 128) {
    const [byte] = reader.take(1);
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) return value;
  }
  throw new MalformedPacket("an integer is higher than any that is used");
}

function encodeVarint(value) {
  const bytes = [];
  for (; value >= 0x80; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80);
  return Uint8Array.of(...bytes, value);
}

/** Encode a field of bytes, or of a message given as its fields; empty bytes are left out, as proto3 does. */
function field(key, content) {
  const bytes = Array.isArray(content) ? concat(content) : content;
  if (!bytes.length && !Array.isArray(content)) return bytes;
  return concat([Uint8Array.of((key << 3) | BYTES), encodeVarint(bytes.length), bytes]);
}

function number(key, value) {
  return value ? concat([Uint8Array.of((key << 3) | VARINT), encodeVarint(value)]) : concat([]);
}

/** Field values are bytes (RFC 9110 §5.5), which strings of `Headers` hold one a character. */
function latin1(value) {
  return Uint8Array.from(value, (character) => character.charCodeAt(0));
}
