// Datagrams of a session, as a client says and hears them (docs/protocol.md §2, §5).
//
// Rules of this file
// - Encoded is only what clients say, decoded only what servers say.

import { ByteReader, MalformedPacket, concat, crc32, encodeVarint, uint32 } from "./bytes.js";

const VERSION = 2;
const CONNECTION_ID_SIZE = 8; // bytes
export const ADDRESS_TOKEN_SIZE = 22; // bytes
const CHECKSUM_SIZE = 4; // bytes
const MAX_REASON = 256; // bytes of UTF-8
export const MAX_ASKED = 256; // streams that one ping asks about
export const MAX_DATAGRAM = 1150; // bytes: what one QUIC DATAGRAM frame takes on every usual path
export const FRAME = 1 + CONNECTION_ID_SIZE + 8 + 8 + CHECKSUM_SIZE; // bytes around a payload, at most

/** Kinds of a client. */
export const OPEN = 1;
export const REQUEST = 2;
export const ANSWER_ACK = 3;
export const CANCEL = 4;
export const PING = 5;
export const LEAVE = 6;
/** Kinds of a server. */
export const RETRY = 8;
export const REQUEST_ACK = 9;
export const ANSWER = 10;
export const CANCELLED = 11;
export const PONG = 12;
export const CLOSE = 13;

const utf8 = new TextEncoder();

/** @param {Uint8Array[]} body */
export function encodeDatagram(connectionId, number, kind, ...body) {
  const content = concat([Uint8Array.of((VERSION << 4) | kind), connectionId, encodeVarint(number), ...body]);
  return concat([content, uint32(crc32(content))]);
}

export const open = (token, streamId, payload) => [OPEN, token, encodeVarint(streamId), payload];
export const request = (streamId, payload) => [REQUEST, encodeVarint(streamId), payload];
export const answerAck = (streamId, payload) => [ANSWER_ACK, encodeVarint(streamId), payload];
export const cancel = (streamId) => [CANCEL, encodeVarint(streamId)];
export const ping = (streams) => [PING, ...streams.map((id, at) => encodeVarint(at ? id - streams[at - 1] - 1 : id))];
export const leave = (reason) => [LEAVE, utf8.encode(reason)];

/**
 * Decode what a server says.
 *
 * @param {Uint8Array} data
 * @returns `{connectionId, number, kind}` and the fields of the kind
 * @throws {MalformedPacket} it is damaged, of another version, or nothing that a server says
 */
export function decodeDatagram(data) {
  if (data.length <= 1 + CONNECTION_ID_SIZE + CHECKSUM_SIZE) throw new MalformedPacket("a datagram is too short");
  const content = data.subarray(0, -CHECKSUM_SIZE);
  if (new ByteReader(data.subarray(-CHECKSUM_SIZE)).uint32() !== crc32(content)) {
    throw new MalformedPacket("the checksum does not agree");
  }
  const decode = DECODERS[content[0] & 0x0f];
  if (content[0] >> 4 !== VERSION || decode === undefined) throw new MalformedPacket("a server says nothing like it");
  const reader = new ByteReader(content.subarray(1));
  const datagram = { connectionId: reader.take(CONNECTION_ID_SIZE), number: reader.varint(), kind: content[0] & 0x0f };
  Object.assign(datagram, decode(reader));
  if (!reader.atEnd) throw new MalformedPacket("something follows the end of the packet");
  return datagram;
}

function ofStream(reader) {
  return { streamId: reader.varint(), payload: reader.rest() };
}

function decodeReason(reader) {
  const text = reader.rest();
  if (text.length > MAX_REASON) throw new MalformedPacket("a reason is too long");
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(text);
  } catch {
    throw new MalformedPacket("a reason is not text");
  }
}

function decodeClose(reader) {
  const answered = reader.varint();
  const renew = reader.varint();
  if (renew > 1) throw new MalformedPacket("a session is renewed or not");
  return { answered, renew: Boolean(renew), reason: decodeReason(reader) };
}

const DECODERS = {
  [RETRY]: (reader) => ({ answered: reader.varint(), token: reader.take(ADDRESS_TOKEN_SIZE) }),
  [REQUEST_ACK]: ofStream,
  [ANSWER]: ofStream,
  [CANCELLED]: (reader) => ({ streamId: reader.varint(), reason: decodeReason(reader) }),
  [PONG]: (reader) => ({ answered: reader.varint() }),
  [CLOSE]: decodeClose,
};
