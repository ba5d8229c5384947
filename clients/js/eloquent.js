// src/bytes.js
var MalformedPacket = class extends Error {
};
function concat(parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let position = 0;
  for (const part of parts) {
    whole.set(part, position);
    position += part.length;
  }
  return whole;
}
function varintSize(value) {
  return value < 64 ? 1 : value < 16384 ? 2 : value < 2 ** 30 ? 4 : 8;
}
function encodeVarint(value) {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} does not fit a variable-length integer`);
  const size = varintSize(value);
  const encoded = new Uint8Array(size);
  for (let at = size - 1, rest = value; at >= 0; at--, rest = Math.floor(rest / 256)) encoded[at] = rest % 256;
  encoded[0] |= Math.log2(size) << 6;
  return encoded;
}
var ByteReader = class {
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
    let value = first & 63;
    for (const byte of this.take(size - 1)) value = value * 256 + byte;
    if (varintSize(value) !== size) throw new MalformedPacket("an integer is not in its shortest form");
    if (value > Number.MAX_SAFE_INTEGER) throw new MalformedPacket("an integer is higher than any that is used");
    return value;
  }
  uint32() {
    return this.take(4).reduce((value, byte) => value * 256 + byte, 0);
  }
};
function uint32(value) {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}
var CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let entry = byte;
  for (let bit = 0; bit < 8; bit++) entry = entry & 1 ? entry >>> 1 ^ 3988292384 : entry >>> 1;
  return entry;
});
function crc32(data, crc = 0) {
  let state = ~crc;
  for (let at = 0; at < data.length; at++) state = state >>> 8 ^ CRC_TABLE[(state ^ data[at]) & 255];
  return ~state >>> 0;
}
function extendChecksum(checksum, token) {
  return crc32(token, crc32(encodeVarint(token.length), checksum));
}
function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
function fromHex(text2) {
  if (!/^(?:[0-9a-f]{2})*$/i.test(text2)) throw new TypeError(`'${text2}' is not hexadecimal`);
  return Uint8Array.from(text2.match(/../g) ?? [], (digits) => parseInt(digits, 16));
}

// src/messages.js
var ANSWER_ID_SIZE = 16;
var COMPLETE = 1;
var BROKEN = 2;
var GONE = 3;
var REFUSED = 4;
var INVALID = 5;
var UNSUPPORTED = 6;
var STOPPING = 7;
var VARINT = 0;
var FIXED64 = 1;
var BYTES = 2;
var FIXED32 = 5;
var utf8 = new TextEncoder();
var text = new TextDecoder();
function encodeBegin(answerId, { method, target, fields, body }, isResumable2) {
  const headers = fields.map(([name, value]) => field(3, [field(1, utf8.encode(name)), field(2, latin1(value))]));
  const http = [field(1, utf8.encode(method)), field(2, utf8.encode(target)), ...headers, field(4, body)];
  return concat([field(1, answerId), field(2, http), isResumable2 ? number(4, 1) : concat([])]);
}
function encodeResume(answerId, following) {
  return concat([field(1, answerId), field(3, [number(1, following)])]);
}
function decodeHead(token) {
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
function decodeOutcome(trailer) {
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
function varint(reader) {
  let value = 0;
  for (let factor = 1; factor < 2 ** 49; factor *= 128) {
    const [byte] = reader.take(1);
    value += (byte & 127) * factor;
    if (byte < 128) return value;
  }
  throw new MalformedPacket("an integer is higher than any that is used");
}
function encodeVarint2(value) {
  const bytes = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push(value % 128 | 128);
  return Uint8Array.of(...bytes, value);
}
function field(key, content) {
  const bytes = Array.isArray(content) ? concat(content) : content;
  if (!bytes.length && !Array.isArray(content)) return bytes;
  return concat([Uint8Array.of(key << 3 | BYTES), encodeVarint2(bytes.length), bytes]);
}
function number(key, value) {
  return value ? concat([Uint8Array.of(key << 3 | VARINT), encodeVarint2(value)]) : concat([]);
}
function latin1(value) {
  return Uint8Array.from(value, (character) => character.charCodeAt(0));
}

// src/answer.js
var RESUME_TIMEOUT = 8;
var PAUSE = 0.5;
var Answer = class {
  /** Index of the next token. */
  position;
  resumptions = 0;
  #before = { datagrams: 0, bytes: 0 };
  // that came by streams that were lost
  #way;
  #id;
  #request;
  // to be sent again; null once the origin has it
  #scheme;
  #link = null;
  #stream = null;
  #news = () => {
  };
  #lostAt = null;
  // milliseconds; since when there is no token of it; null while all is well
  #loss = "";
  #state = null;
  // of the reader
  #cancelled = new AbortController();
  /**
   * @param way where links come from
   * @param link the one by which it is asked
   * @param {{id: Uint8Array, request: Uint8Array | null, position: number, scheme: string}} question request is null to go on
   *   with an answer that was begun before
   */
  constructor(way2, link, { id, request: request2, position, scheme }) {
    this.#way = way2;
    this.#id = id;
    this.#request = request2;
    this.position = position;
    this.#scheme = scheme;
    this.#open(link);
  }
  /** @returns {Promise<Uint8Array | {kind: number, message: string}>} the next token, or how the answer ended */
  async next() {
    for (; ; ) {
      if (!this.#stream && !await this.#resume()) {
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
    for (; ; ) {
      if (this.#cancelled.signal.aborted) return { type: "failed", reason: "cancelled", request: "taken" };
      const event = this.#link.take(this.#stream);
      if (event) return event;
      await new Promise((resolve) => this.#news = resolve);
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
};

// src/datagram.js
var VERSION = 2;
var CONNECTION_ID_SIZE = 8;
var ADDRESS_TOKEN_SIZE = 22;
var CHECKSUM_SIZE = 4;
var MAX_REASON = 256;
var MAX_ASKED = 256;
var MAX_DATAGRAM = 1150;
var FRAME = 1 + CONNECTION_ID_SIZE + 8 + 8 + CHECKSUM_SIZE;
var OPEN = 1;
var REQUEST = 2;
var ANSWER_ACK = 3;
var CANCEL = 4;
var PING = 5;
var LEAVE = 6;
var RETRY = 8;
var REQUEST_ACK = 9;
var ANSWER = 10;
var CANCELLED = 11;
var PONG = 12;
var CLOSE = 13;
var utf82 = new TextEncoder();
function encodeDatagram(connectionId, number2, kind, ...body) {
  const content = concat([Uint8Array.of(VERSION << 4 | kind), connectionId, encodeVarint(number2), ...body]);
  return concat([content, uint32(crc32(content))]);
}
var open = (token, streamId, payload) => [OPEN, token, encodeVarint(streamId), payload];
var request = (streamId, payload) => [REQUEST, encodeVarint(streamId), payload];
var answerAck = (streamId, payload) => [ANSWER_ACK, encodeVarint(streamId), payload];
var cancel = (streamId) => [CANCEL, encodeVarint(streamId)];
var ping = (streams) => [PING, ...streams.map((id, at) => encodeVarint(at ? id - streams[at - 1] - 1 : id))];
var leave = (reason) => [LEAVE, utf82.encode(reason)];
function decodeDatagram(data) {
  if (data.length <= 1 + CONNECTION_ID_SIZE + CHECKSUM_SIZE) throw new MalformedPacket("a datagram is too short");
  const content = data.subarray(0, -CHECKSUM_SIZE);
  if (new ByteReader(data.subarray(-CHECKSUM_SIZE)).uint32() !== crc32(content)) {
    throw new MalformedPacket("the checksum does not agree");
  }
  const decode = DECODERS[content[0] & 15];
  if (content[0] >> 4 !== VERSION || decode === void 0) throw new MalformedPacket("a server says nothing like it");
  const reader = new ByteReader(content.subarray(1));
  const datagram = { connectionId: reader.take(CONNECTION_ID_SIZE), number: reader.varint(), kind: content[0] & 15 };
  Object.assign(datagram, decode(reader));
  if (!reader.atEnd) throw new MalformedPacket("something follows the end of the packet");
  return datagram;
}
function ofStream(reader) {
  return { streamId: reader.varint(), payload: reader.rest() };
}
function decodeReason(reader) {
  const text2 = reader.rest();
  if (text2.length > MAX_REASON) throw new MalformedPacket("a reason is too long");
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(text2);
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
var DECODERS = {
  [RETRY]: (reader) => ({ answered: reader.varint(), token: reader.take(ADDRESS_TOKEN_SIZE) }),
  [REQUEST_ACK]: ofStream,
  [ANSWER]: ofStream,
  [CANCELLED]: (reader) => ({ streamId: reader.varint(), reason: decodeReason(reader) }),
  [PONG]: (reader) => ({ answered: reader.varint() }),
  [CLOSE]: decodeClose
};

// src/frames.js
var WINDOW = 2048;
var MAX_FRAGMENTS = 512;
var MAX_RANGES = 32;
var MAX_TOKEN = 1 << 20;
var MAX_BUFFERED = 3600;
var FRAGMENT_OVERHEAD = 13;
var MAX_TRAILER = 512;
var DATA = 0;
var DATA_WITH_END = 1;
var ACK = 2;
var END_SEEN = 1;
var WITH_READER = 2;
var WITH_CREDIT = 4;
var JUMP = 1;
var MORE = 2;
function encodeAck({ next, ranges, endSeen, reader, credit }) {
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
function decodeAck(data) {
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
function decodeData(data) {
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
    if (more && !content.length || index >= Number.MAX_SAFE_INTEGER || fragments.length === MAX_FRAGMENTS) {
      throw new MalformedPacket("a fragment is empty and goes on, is too high, or is one too many");
    }
    fragments.push({ index, data: content, more });
    index += 1;
  }
  return { fragments, end };
}
function decodeEnd(reader) {
  const count = reader.varint();
  const checksum = reader.uint32();
  const size = reader.varint();
  if (size > MAX_TRAILER) throw new MalformedPacket(`a trailer of ${size} bytes is too long`);
  return { count, checksum, trailer: reader.take(size) };
}
var DataBuilder = class {
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
    this.#encoded.push(encodeVarint(head), ...jump ? [encodeVarint(fragment.index)] : [], fragment.data);
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
};

// src/static_dictionary.js
var STATIC_DICTIONARY = new TextEncoder().encode(
  [
    '{"type":"response.output_text.delta","sequence_number":1,"item_id":"msg_","output_index":0,"content_index":0,"delta":"',
    'event: response.output_text.delta\ndata: {"id":"cmpl-","object":"text_completion","created":17,"model":"","choices":',
    '[{"index":0,"text":"","logprobs":null,"finish_reason":null}]}\n\n',
    '"tool_calls":[{"index":0,"id":"call_","type":"function","function":{"name":"","arguments":""}}],"reasoning_content":"',
    " which would there their about could other these first should people through because something between against",
    " system number example following information important different function value return import class string print",
    " one two can you not but all are with they have from this that was were been will when what your more also such",
    " into than then them some only out over its it's there is a in of to and the for as on at by an be or if it he she we",
    ' The This It In A I You For To If When However, **\n\n1. \n- ```python\n"usage":{"prompt_tokens":,"completion_tokens":',
    '"finish_reason":"stop"}],"usage":null}data: [DONE]\n\n',
    'data: {"id":"chatcmpl-","object":"chat.completion.chunk","created":17,"model":"gpt-4o-2024-08-06","service_tier":',
    '"default","system_fingerprint":"fp_","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},',
    '"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"'
  ].join("")
);

// src/history.js
var DICTIONARY_SIZE = 4096;
var LEAST_SHARED = 16;
var MORE_SHARED = 8;
var NOTHING_SHARED = { prefix: 0, suffix: 0 };
var History = class {
  next = 0;
  // index of the fragment that comes next
  #entries = /* @__PURE__ */ new Map([[-1, { data: new Uint8Array(0), shape: NOTHING_SHARED, stop: 0 }]]);
  #first = -1;
  // index of the oldest entry
  #middles = new Uint8Array(4 * DICTIONARY_SIZE);
  #size = STATIC_DICTIONARY.length;
  // bytes of #middles that are used
  #start = -STATIC_DICTIONARY.length;
  // of the first byte kept, among all middles of the stream
  constructor() {
    this.#middles.set(STATIC_DICTIONARY);
  }
  has(index) {
    return this.#first <= index && index < this.next;
  }
  data(index) {
    return this.#entries.get(index).data;
  }
  /** @returns {Shape} of a fragment as it is told by the one before it */
  shape(index) {
    return this.#entries.get(index).shape;
  }
  /** Add the next fragment. */
  append(data) {
    const before = this.#entries.get(this.next - 1);
    const shape = continued(before, data);
    const middle = data.subarray(shape.prefix, data.length - shape.suffix);
    this.#keep(middle);
    this.#entries.set(this.next, { data, shape, stop: before.stop + middle.length });
    this.next += 1;
  }
  /** @returns {Uint8Array} the end of all middles before a fragment */
  dictionary(base) {
    const stop = this.#entries.get(base - 1).stop - this.#start;
    return this.#middles.subarray(Math.max(stop - DICTIONARY_SIZE, 0), stop);
  }
  /** Forget the fragments before the one before this index, and the middles of which no dictionary is made any more. */
  forgetBelow(index) {
    while (this.#first < index - 1) {
      this.#entries.delete(this.#first);
      this.#first += 1;
    }
    const useless = this.#entries.get(this.#first).stop - DICTIONARY_SIZE - this.#start;
    if (useless > DICTIONARY_SIZE) {
      this.#middles.copyWithin(0, useless, this.#size);
      this.#size -= useless;
      this.#start += useless;
    }
  }
  #keep(middle) {
    if (this.#size + middle.length > this.#middles.length) {
      const larger = new Uint8Array(2 * (this.#size + middle.length));
      larger.set(this.#middles.subarray(0, this.#size));
      this.#middles = larger;
    }
    this.#middles.set(middle, this.#size);
    this.#size += middle.length;
  }
};
function continued({ data: reference, shape }, data) {
  const { prefix, suffix } = shape;
  const shared = prefix + suffix;
  if (!shared || shared > Math.min(data.length, reference.length)) return difference(reference, data);
  const tail = data.length - suffix;
  const holds = same(data, 0, reference, 0, prefix) && same(data, tail, reference, reference.length - suffix, suffix);
  if (!holds) return difference(reference, data);
  const more = prefix + MORE_SHARED <= reference.length && same(data, prefix, reference, prefix, MORE_SHARED);
  return tail - prefix >= MORE_SHARED && more ? difference(reference, data) : shape;
}
function difference(reference, data) {
  const longest = Math.min(reference.length, data.length);
  let prefix = 0;
  while (prefix < longest && reference[prefix] === data[prefix]) prefix += 1;
  let suffix = 0;
  while (suffix < longest - prefix && reference[reference.length - 1 - suffix] === data[data.length - 1 - suffix]) {
    suffix += 1;
  }
  return prefix + suffix < LEAST_SHARED ? NOTHING_SHARED : { prefix, suffix };
}
function same(one, at, other, otherAt, size) {
  for (let offset = 0; offset < size; offset++) {
    if (one[at + offset] !== other[otherAt + offset]) return false;
  }
  return true;
}

// node_modules/fflate/esm/browser.js
var u8 = Uint8Array;
var u16 = Uint16Array;
var i32 = Int32Array;
var fleb = new u8([
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  1,
  1,
  1,
  1,
  2,
  2,
  2,
  2,
  3,
  3,
  3,
  3,
  4,
  4,
  4,
  4,
  5,
  5,
  5,
  5,
  0,
  /* unused */
  0,
  0,
  /* impossible */
  0
]);
var fdeb = new u8([
  0,
  0,
  0,
  0,
  1,
  1,
  2,
  2,
  3,
  3,
  4,
  4,
  5,
  5,
  6,
  6,
  7,
  7,
  8,
  8,
  9,
  9,
  10,
  10,
  11,
  11,
  12,
  12,
  13,
  13,
  /* unused */
  0,
  0
]);
var clim = new u8([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]);
var freb = function(eb, start) {
  var b = new u16(31);
  for (var i2 = 0; i2 < 31; ++i2) {
    b[i2] = start += 1 << eb[i2 - 1];
  }
  var r = new i32(b[30]);
  for (var i2 = 1; i2 < 30; ++i2) {
    for (var j = b[i2]; j < b[i2 + 1]; ++j) {
      r[j] = j - b[i2] << 5 | i2;
    }
  }
  return { b, r };
};
var _a = freb(fleb, 2);
var fl = _a.b;
var revfl = _a.r;
fl[28] = 258, revfl[258] = 28;
var _b = freb(fdeb, 0);
var fd = _b.b;
var revfd = _b.r;
var rev = new u16(32768);
for (i = 0; i < 32768; ++i) {
  x = (i & 43690) >> 1 | (i & 21845) << 1;
  x = (x & 52428) >> 2 | (x & 13107) << 2;
  x = (x & 61680) >> 4 | (x & 3855) << 4;
  rev[i] = ((x & 65280) >> 8 | (x & 255) << 8) >> 1;
}
var x;
var i;
var hMap = (function(cd, mb, r) {
  var s = cd.length;
  var i2 = 0;
  var l = new u16(mb);
  for (; i2 < s; ++i2) {
    if (cd[i2])
      ++l[cd[i2] - 1];
  }
  var le = new u16(mb);
  for (i2 = 1; i2 < mb; ++i2) {
    le[i2] = le[i2 - 1] + l[i2 - 1] << 1;
  }
  var co;
  if (r) {
    co = new u16(1 << mb);
    var rvb = 15 - mb;
    for (i2 = 0; i2 < s; ++i2) {
      if (cd[i2]) {
        var sv = i2 << 4 | cd[i2];
        var r_1 = mb - cd[i2];
        var v = le[cd[i2] - 1]++ << r_1;
        for (var m = v | (1 << r_1) - 1; v <= m; ++v) {
          co[rev[v] >> rvb] = sv;
        }
      }
    }
  } else {
    co = new u16(s);
    for (i2 = 0; i2 < s; ++i2) {
      if (cd[i2]) {
        co[i2] = rev[le[cd[i2] - 1]++] >> 15 - cd[i2];
      }
    }
  }
  return co;
});
var flt = new u8(288);
for (i = 0; i < 144; ++i)
  flt[i] = 8;
var i;
for (i = 144; i < 256; ++i)
  flt[i] = 9;
var i;
for (i = 256; i < 280; ++i)
  flt[i] = 7;
var i;
for (i = 280; i < 288; ++i)
  flt[i] = 8;
var i;
var fdt = new u8(32);
for (i = 0; i < 32; ++i)
  fdt[i] = 5;
var i;
var flrm = /* @__PURE__ */ hMap(flt, 9, 1);
var fdrm = /* @__PURE__ */ hMap(fdt, 5, 1);
var max = function(a) {
  var m = a[0];
  for (var i2 = 1; i2 < a.length; ++i2) {
    if (a[i2] > m)
      m = a[i2];
  }
  return m;
};
var bits = function(d, p, m) {
  var o = p / 8 | 0;
  return (d[o] | d[o + 1] << 8) >> (p & 7) & m;
};
var bits16 = function(d, p) {
  var o = p / 8 | 0;
  return (d[o] | d[o + 1] << 8 | d[o + 2] << 16) >> (p & 7);
};
var shft = function(p) {
  return (p + 7) / 8 | 0;
};
var slc = function(v, s, e) {
  if (s == null || s < 0)
    s = 0;
  if (e == null || e > v.length)
    e = v.length;
  return new u8(v.subarray(s, e));
};
var ec = [
  "unexpected EOF",
  "invalid block type",
  "invalid length/literal",
  "invalid distance",
  "stream finished",
  "no stream handler",
  ,
  // determined by compression function
  "no callback",
  "invalid UTF-8 data",
  "extra field too long",
  "date not in range 1980-2099",
  "filename too long",
  "stream finishing",
  "invalid zip data"
  // determined by unknown compression method
];
var err = function(ind, msg, nt) {
  var e = new Error(msg || ec[ind]);
  e.code = ind;
  if (Error.captureStackTrace)
    Error.captureStackTrace(e, err);
  if (!nt)
    throw e;
  return e;
};
var inflt = function(dat, st, buf, dict) {
  var sl = dat.length, dl = dict ? dict.length : 0;
  if (!sl || st.f && !st.l)
    return buf || new u8(0);
  var noBuf = !buf;
  var resize = noBuf || st.i != 2;
  var noSt = st.i;
  if (noBuf)
    buf = new u8(sl * 3);
  var cbuf = function(l2) {
    var bl = buf.length;
    if (l2 > bl) {
      var nbuf = new u8(Math.max(bl * 2, l2));
      nbuf.set(buf);
      buf = nbuf;
    }
  };
  var final = st.f || 0, pos = st.p || 0, bt = st.b || 0, lm = st.l, dm = st.d, lbt = st.m, dbt = st.n;
  var tbts = sl * 8;
  do {
    if (!lm) {
      final = bits(dat, pos, 1);
      var type = bits(dat, pos + 1, 3);
      pos += 3;
      if (!type) {
        var s = shft(pos) + 4, l = dat[s - 4] | dat[s - 3] << 8, t = s + l;
        if (t > sl) {
          if (noSt)
            err(0);
          break;
        }
        if (resize)
          cbuf(bt + l);
        buf.set(dat.subarray(s, t), bt);
        st.b = bt += l, st.p = pos = t * 8, st.f = final;
        continue;
      } else if (type == 1)
        lm = flrm, dm = fdrm, lbt = 9, dbt = 5;
      else if (type == 2) {
        var hLit = bits(dat, pos, 31) + 257, hcLen = bits(dat, pos + 10, 15) + 4;
        var tl = hLit + bits(dat, pos + 5, 31) + 1;
        pos += 14;
        var ldt = new u8(tl);
        var clt = new u8(19);
        for (var i2 = 0; i2 < hcLen; ++i2) {
          clt[clim[i2]] = bits(dat, pos + i2 * 3, 7);
        }
        pos += hcLen * 3;
        var clb = max(clt), clbmsk = (1 << clb) - 1;
        var clm = hMap(clt, clb, 1);
        for (var i2 = 0; i2 < tl; ) {
          var r = clm[bits(dat, pos, clbmsk)];
          pos += r & 15;
          var s = r >> 4;
          if (s < 16) {
            ldt[i2++] = s;
          } else {
            var c = 0, n = 0;
            if (s == 16)
              n = 3 + bits(dat, pos, 3), pos += 2, c = ldt[i2 - 1];
            else if (s == 17)
              n = 3 + bits(dat, pos, 7), pos += 3;
            else if (s == 18)
              n = 11 + bits(dat, pos, 127), pos += 7;
            while (n--)
              ldt[i2++] = c;
          }
        }
        var lt = ldt.subarray(0, hLit), dt = ldt.subarray(hLit);
        lbt = max(lt);
        dbt = max(dt);
        lm = hMap(lt, lbt, 1);
        dm = hMap(dt, dbt, 1);
      } else
        err(1);
      if (pos > tbts) {
        if (noSt)
          err(0);
        break;
      }
    }
    if (resize)
      cbuf(bt + 131072);
    var lms = (1 << lbt) - 1, dms = (1 << dbt) - 1;
    var lpos = pos;
    for (; ; lpos = pos) {
      var c = lm[bits16(dat, pos) & lms], sym = c >> 4;
      pos += c & 15;
      if (pos > tbts) {
        if (noSt)
          err(0);
        break;
      }
      if (!c)
        err(2);
      if (sym < 256)
        buf[bt++] = sym;
      else if (sym == 256) {
        lpos = pos, lm = null;
        break;
      } else {
        var add = sym - 254;
        if (sym > 264) {
          var i2 = sym - 257, b = fleb[i2];
          add = bits(dat, pos, (1 << b) - 1) + fl[i2];
          pos += b;
        }
        var d = dm[bits16(dat, pos) & dms], dsym = d >> 4;
        if (!d)
          err(3);
        pos += d & 15;
        var dt = fd[dsym];
        if (dsym > 3) {
          var b = fdeb[dsym];
          dt += bits16(dat, pos) & (1 << b) - 1, pos += b;
        }
        if (pos > tbts) {
          if (noSt)
            err(0);
          break;
        }
        if (resize)
          cbuf(bt + 131072);
        var end = bt + add;
        if (bt < dt) {
          var shift = dl - dt, dend = Math.min(dt, end);
          if (shift + bt < 0)
            err(3);
          for (; bt < dend; ++bt)
            buf[bt] = dict[shift + bt];
        }
        for (; bt < end; ++bt)
          buf[bt] = buf[bt - dt];
      }
    }
    st.l = lm, st.p = lpos, st.b = bt, st.f = final;
    if (lm)
      final = 1, st.m = lbt, st.d = dm, st.n = dbt;
  } while (!final);
  return bt != buf.length && noBuf ? slc(buf, 0, bt) : buf.subarray(0, bt);
};
var et = /* @__PURE__ */ new u8(0);
function inflateSync(data, opts) {
  return inflt(data, { i: 2 }, opts && opts.out, opts && opts.dictionary);
}
var td = typeof TextDecoder != "undefined" && /* @__PURE__ */ new TextDecoder();
var tds = 0;
try {
  td.decode(et, { stream: true });
  tds = 1;
} catch (e) {
}

// src/packed.js
var MAX_UNPACKED = 64 * 1024;
var MAX_FRAGMENT = 1200;
var PACKED = 10;
var WITH_END = 1;
var AS_THEY_ARE = 2;
var WIDE = 4;
var JUMP2 = 1;
var CHANGED = 2;
var MORE2 = 4;
function isPacked(payload) {
  return payload.length > 0 && payload[0] >= PACKED && payload[0] <= PACKED + WITH_END + AS_THEY_ARE + WIDE;
}
function decodePacked(payload) {
  const kind = payload[0] - PACKED;
  const reader = new ByteReader(payload.subarray(1));
  const end = kind & WITH_END ? decodeEnd(reader) : null;
  const base = reader.varint();
  const count = reader.varint();
  if (count > MAX_FRAGMENTS || !count && !end) {
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
var HeadReader = class {
  #data;
  #width;
  #position = 0;
  // digits
  constructor(data, width) {
    this.#data = data;
    this.#width = width;
  }
  next(index) {
    const long = this.#width === 1 ? 14 : 254;
    const length = this.#digits(this.#width);
    if (length < long) return { index, length, more: false, shape: null, follows: true };
    if (length > long) throw new MalformedPacket("a head of packed data begins with what there is not");
    const head = this.#varint();
    const jump = head & JUMP2 ? this.#varint() : 0;
    const shape = head & CHANGED ? { prefix: this.#varint(), suffix: this.#varint() } : null;
    const item = { index: index + jump, length: Math.floor(head / 8), shape };
    return { ...item, more: Boolean(head & MORE2), follows: !(head & JUMP2) };
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
      value = value * 16 + (this.#position % 2 ? byte & 15 : byte >> 4);
    }
    return value;
  }
  #varint() {
    const bytes = [this.#digits(2)];
    for (let left = (1 << (bytes[0] >> 6)) - 1; left; left--) bytes.push(this.#digits(2));
    return new ByteReader(Uint8Array.from(bytes)).varint();
  }
};
function unpack(packed, history, waiting) {
  const content = packed.compressed ? decompress(packed, history.dictionary(packed.base)) : packed.content;
  if (content.length !== packed.total) throw new MalformedPacket("packed content is not as long as its heads say");
  const found = /* @__PURE__ */ new Map();
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
    if (size > MAX_FRAGMENT || item.more && !size) {
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
    return inflateSync(content, { dictionary, out: new Uint8Array(total + 1) });
  } catch (error) {
    throw new MalformedPacket("the content of packed data cannot be decompressed", { cause: error });
  }
}

// src/ranges.js
var RangeSet = class {
  /** @type {[number, number][]} */
  ranges = [];
  add(start, stop) {
    if (start >= stop) return;
    const first = this.ranges.findIndex((range) => range[1] >= start);
    if (first < 0) {
      this.ranges.push([start, stop]);
      return;
    }
    let last = first;
    while (last < this.ranges.length && this.ranges[last][0] <= stop) last += 1;
    if (last > first) {
      start = Math.min(start, this.ranges[first][0]);
      stop = Math.max(stop, this.ranges[last - 1][1]);
    }
    this.ranges.splice(first, last - first, [start, stop]);
  }
  discardBelow(bound) {
    while (this.ranges.length && this.ranges[0][1] <= bound) this.ranges.shift();
    if (this.ranges.length && this.ranges[0][0] < bound) this.ranges[0][0] = bound;
  }
  /** The integer after the highest one in the set, 0 for an empty set. */
  get stop() {
    return this.ranges.at(-1)?.[1] ?? 0;
  }
};

// src/repetition.js
var Repetition = class {
  constructor(due, interval, longest) {
    this.due = due;
    this.interval = interval;
    this.longest = longest;
  }
  repeat(now) {
    this.due = now + this.interval;
    this.interval = Math.min(2 * this.interval, this.longest);
  }
};

// src/receiver.js
var REMEMBERED = 1024;
var MAX_WAITING_BYTES = 512 * 1024;
var READ_BEHIND = WINDOW / 4;
var READ_BEHIND_BYTES = 256 * 1024;
var LITTLE_CREDIT = WINDOW / 4;
var MAX_UNREAD = 2 * WINDOW;
var MAX_UNREAD_BYTES = 4 * MAX_TOKEN;
var ROOM_AGAIN_TIMEOUT = 0.2;
var ROOM_AGAIN_MAX_TIMEOUT = 2;
var PLACE_COST = 64;
var Receiver = class {
  finished = false;
  broken = false;
  #next = 0;
  // index of the first fragment that was not released
  #waiting = /* @__PURE__ */ new Map();
  // arrived beyond a gap
  #waitingCost = 0;
  // bytes, of their data and their places
  #ranges = new RangeSet();
  // their indices
  #history = new History();
  #partial = [];
  // the token that is being joined
  #partialSize = 0;
  // bytes
  #checksum = 0;
  #end = null;
  #ackDue = false;
  #heard = false;
  #reader = null;
  #reportedAt = 0;
  // seconds
  #events = [];
  #unreadFragments = 0;
  #unreadBytes = 0;
  #senderMayWait = false;
  // it was told of little room, and nothing new has come since
  #roomAgain = null;
  // repetition of the news that there is room again
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
};
function sameEnd(one, other) {
  const isSame2 = one.count === other.count && one.checksum === other.checksum;
  return isSame2 && one.trailer.length === other.trailer.length && one.trailer.every((byte, at) => byte === other.trailer[at]);
}

// src/rtt.js
var INITIAL_TIMEOUT = 1;
var MIN_VARIANCE_TERM = 0.2;
var MAX_TIMEOUT = 60;
var RttEstimator = class {
  /** @type {number | null} */
  smoothed = null;
  #variance = 0;
  #timeout = INITIAL_TIMEOUT;
  /** @param {number} rtt from sending to the acknowledgement of something that was sent once (Karn, RFC 6298 §3) */
  sample(rtt) {
    if (this.smoothed === null) {
      this.smoothed = rtt;
      this.#variance = rtt / 2;
    } else {
      this.#variance += (Math.abs(this.smoothed - rtt) - this.#variance) / 4;
      this.smoothed += (rtt - this.smoothed) / 8;
    }
    this.#timeout = this.smoothed + Math.max(MIN_VARIANCE_TERM, 4 * this.#variance);
  }
  timeout(retransmissions) {
    return Math.min(this.#timeout * 2 ** Math.min(retransmissions, 16), MAX_TIMEOUT);
  }
};

// src/sender.js
var LATER_ACKS = 3;
var MAX_TIMEOUT2 = 2;
var QUIET_AFTER = 5;
var GIVE_UP_AFTER = 40;
var FLIGHT_LIMIT = 64 * 1024;
var RequestSender = class {
  acknowledged = false;
  lost = false;
  // nothing came from the peer for too long
  #budget;
  #rtt;
  #fresh = [];
  #unacked = /* @__PURE__ */ new Map();
  // by index, ascending
  #given = 0;
  // fragments
  #sent = 0;
  // fragments
  #limit = WINDOW;
  // fragments below it may be sent
  #flight = 0;
  // bytes
  #checksum = 0;
  #end = null;
  #endSent = false;
  #endAcked = false;
  #silentSince = 0;
  // seconds; meaningful while something is outstanding
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
    if (highest > this.#sent || ack.endSeen && !this.#endSent) throw new RangeError("acknowledged, but never sent");
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
    const lost = this.#packets.find((packet2) => packet2.lost);
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
    const waiting = this.#packets.filter((packet) => !packet.lost);
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
    return !this.#isOver && (this.#unacked.size > 0 || this.#endSent && !this.#endAcked);
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
    return Math.min(this.#rtt.timeout(packet.transmissions - 1), MAX_TIMEOUT2);
  }
  /** Forget the fragments that an acknowledgement is the first to cover, and return their indices. */
  #newly(ack) {
    const newly = /* @__PURE__ */ new Set();
    for (const [index, fragment] of this.#unacked) {
      if (index >= ack.next && !ack.ranges.some(([start, stop]) => start <= index && index < stop)) continue;
      this.#unacked.delete(index);
      this.#flight -= fragment.data.length;
      newly.add(index);
    }
    return newly;
  }
  #learn(newly, end, now) {
    const told = this.#packets.filter((packet) => packet.indices.some((index) => newly.has(index)) || end && packet.hasEnd);
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
};

// src/session.js
var SILENCE_LIMIT = 40;
var MAX_GONE = 1024;
var PING_INTERVALS = [1, 0.7, 0.9, 0.6, 0.8];
var ASK_INTERVAL = 5;
var CANCEL_TIMEOUT = 0.2;
var CANCEL_MAX_TIMEOUT = 2;
var REOPEN_INTERVAL = 1;
var IDLE_LIMIT = 30;
var REQUEST_PART = 64 * 1024;
var PARTS_AHEAD = 256;
var utf83 = new TextEncoder();
var ClientStream = class {
  answer = new Receiver();
  onnews = () => {
  };
  /** @type {RequestSender | null} */
  request = null;
  // null once the server has it
  received = { datagrams: 0, bytes: 0 };
  #failure = null;
  #given;
  // bytes of the request that its sender has
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
    this.request.sendToken(utf83.encode(this.scheme));
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
  fail(reason, request2) {
    this.#failure = { type: "failed", reason, request: this.request === null ? "taken" : request2 };
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
};
var ClientSession = class {
  closed = false;
  heardAt = -Infinity;
  // seconds; when the server last spoke, or something began to be awaited
  streams = /* @__PURE__ */ new Map();
  #id;
  #token = new Uint8Array(ADDRESS_TOKEN_SIZE);
  #budget;
  #rtt = new RttEstimator();
  #number = 0;
  // of the next datagram
  #nextStream = 0;
  #control = [];
  // bodies of what is to be said of no stream that is open
  #touched = /* @__PURE__ */ new Set();
  // streams that may have something to send
  #gone = /* @__PURE__ */ new Map();
  // by stream id: the last acknowledgement, if it ended well
  #cancelling = /* @__PURE__ */ new Map();
  // by stream id: repetitions
  #opened = false;
  // the server may have the session
  #established = false;
  // the server has spoken about a stream
  #reopenedAt = -Infinity;
  // seconds
  #askedAt = 0;
  // seconds; of the last question for silent streams
  #pings = 0;
  #lastSign = 0;
  // seconds; of life or of our asking for it
  #idleSince;
  // seconds, or null while something is awaited
  /**
   * @param {Uint8Array} connectionId 8 random bytes, never used again
   * @param {{now: number, payload?: number}} options seconds; bytes that the payload of a stream takes in one datagram
   */
  constructor(connectionId, { now, payload = MAX_DATAGRAM - FRAME }) {
    this.#id = connectionId;
    this.#budget = payload - ADDRESS_TOKEN_SIZE;
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
    if (this.#opened) this.#control.push(leave(reason));
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
      this.#control.push(cancel(streamId));
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
      silent = silent.map((stream) => stream.id).sort((one, other) => one - other).slice(0, MAX_ASKED);
    }
    if (silent.length || this.#pingDue <= now) {
      this.#pings += 1;
      this.#control.push(ping(silent));
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
      return this.#established ? request(stream.id, payload) : open(this.#token, stream.id, payload);
    }
    const ack = stream.answer.nextDatagram(now);
    return ack && answerAck(stream.id, ack);
  }
  #frame(body) {
    return encodeDatagram(this.#id, this.#number++, ...body);
  }
  #handle(datagram, now) {
    const { kind, streamId } = datagram;
    if (!this.#opened && kind !== CLOSE) throw new RangeError("a server answered what it was not asked");
    if (kind === RETRY) {
      if (datagram.answered < this.#number) this.#takeToken(datagram.token, now);
    } else if (kind === REQUEST_ACK) {
      this.#takeRequestAck(datagram, now);
    } else if (kind === ANSWER) {
      this.#takeAnswer(datagram, now);
    } else if (kind === CANCELLED) {
      this.#cancelling.delete(streamId);
      const stream = this.streams.get(streamId);
      if (stream) this.#end(stream, { failure: datagram.reason || "the server dropped the stream", request: "refused" });
      this.#noteIdle(now);
    } else if (kind === CLOSE && datagram.answered < this.#number) {
      this.lose(datagram.reason);
    }
  }
  #takeToken(token, now) {
    this.#token = concat([token]);
    if (this.#established || now < this.#reopenedAt + REOPEN_INTERVAL) return;
    this.#reopenedAt = now;
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
      if (lastAck) this.#control.push(answerAck(streamId, lastAck));
      else if (!this.#cancelling.has(streamId)) this.#control.push(cancel(streamId));
      return;
    }
    stream.answer.receive(payload);
    stream.received.datagrams += 1;
    stream.received.bytes += payload.length;
    stream.noteTaken();
    stream.heardAt = now;
    this.#established = true;
    if (stream.answer.broken) {
      this.#drop(stream, now);
    } else if (stream.answer.finished) {
      const lastAck = stream.answer.nextDatagram(now);
      this.#control.push(answerAck(streamId, lastAck));
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
      this.#control.push(cancel(stream.id));
      this.#cancelling.set(stream.id, new Repetition(now + CANCEL_TIMEOUT, 2 * CANCEL_TIMEOUT, CANCEL_MAX_TIMEOUT));
    }
    this.#noteIdle(now);
  }
  #end(stream, { lastAck = null, failure, request: request2 = "unfinished" }) {
    this.streams.delete(stream.id);
    this.#touched.delete(stream);
    if (failure !== void 0) stream.fail(failure, request2);
    this.#gone.set(stream.id, lastAck);
    if (this.#gone.size > MAX_GONE) this.#gone.delete(this.#gone.keys().next().value);
    stream.onnews();
  }
  #noteIdle(now) {
    if (this.isIdle) this.#idleSince ??= now;
  }
};

// src/link.js
var OUTGOING_MAX_AGE = 300;
var INCOMING_PLACES = 1024;
var LONGEST_TIMER = 60;
var IDLE_LIMIT2 = 30;
var seconds = () => performance.now() / 1e3;
var Link = class {
  /** Resolved when questions can be asked; rejected if that never comes. */
  ready;
  /** Whether it is over. */
  closed = false;
  onclosed = () => {
  };
  /** Seconds of the epoch, from which on nothing more may be asked. */
  goodUntil = Infinity;
  #transport;
  #sessions = [];
  // the last one takes new streams; those before have only to say that they left
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
      (error) => this.close(reasonOf(error))
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
    this.#writer.closed.catch(() => {
    });
    this.#read(datagrams.readable.getReader());
    this.#pump();
  }
  async #read(reader) {
    try {
      for (; ; ) {
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
      return;
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
    const idle = this.streams.length ? Infinity : this.#idleSince + IDLE_LIMIT2;
    const due = Math.min(idle, ...this.#sessions.map((session) => session.getTimer()));
    clearTimeout(this.#timer);
    const wait = Math.min(Math.max(due - seconds(), 0), LONGEST_TIMER);
    this.#timer = setTimeout(() => seconds() >= idle ? this.close("idle") : this.#pump(), Math.ceil(wait * 1e3));
  }
  get #idleSince() {
    return Math.max(this.#openedAt, ...this.#sessions.map((session) => session.heardAt));
  }
  async #write() {
    this.#writing = true;
    try {
      for (let data; data = this.#next(); ) await this.#writer.write(data);
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
};
function isSame(one, other) {
  return one.every((byte, at) => byte === other[at]);
}
function reasonOf(error) {
  return String(error?.message || error || "the session was lost");
}

// src/way.js
var PROBE_AFTER = 3;
var LOOK_INTERVAL = 1;
var RETRY_PAUSE = 0.5;
var FAILURE_MEMORY = 300;
var ways = /* @__PURE__ */ new Map();
function wayTo(key, makeTransport) {
  if (!ways.has(key)) ways.set(key, new Way(key));
  const way2 = ways.get(key);
  way2.makeTransport = makeTransport;
  return way2;
}
var Way = class {
  makeTransport;
  #memory;
  /** @type {Link | null} */
  #link = null;
  // stands
  /** @type {Promise<Link> | null} */
  #trial = null;
  #looking = null;
  constructor(key) {
    this.#memory = `eloquent:failed:${key}`;
  }
  /** Whether it failed lately, so that nobody should wait for it. */
  get hasFailed() {
    if (this.#link) return false;
    const at = Number(recall(this.#memory) ?? -Infinity);
    return Date.now() / 1e3 - at < FAILURE_MEMORY;
  }
  /**
   * @param {number} limit seconds
   * @param {{isPatient?: boolean, signal?: AbortSignal}} options whether what fails is tried again within the limit
   * @returns {Promise<Link | null>} a link that stands, or null if there is none in time
   */
  async link(limit, { isPatient = false, signal } = {}) {
    if (this.#link && Date.now() / 1e3 > this.#link.goodUntil) this.#link = null;
    if (this.#link) return this.#link;
    const deadline = performance.now() + limit * 1e3;
    for (; ; ) {
      const left = deadline - performance.now();
      if (left <= 0 || signal?.aborted) return null;
      const link = await Promise.race([this.#try().catch(() => null), sleep(left / 1e3, signal)]);
      if (link && !link.closed) return link;
      if (!isPatient) return null;
      await sleep(Math.min(RETRY_PAUSE, Math.max(deadline - performance.now(), 0) / 1e3), signal);
    }
  }
  /** Note that it was waited for in vain. */
  noteFailure() {
    remember(this.#memory, String(Date.now() / 1e3));
  }
  /** Begin a link, if none stands or is being tried. */
  #try() {
    this.#trial ??= this.#begin().finally(() => this.#trial = null);
    return this.#trial;
  }
  async #begin() {
    const { transport, goodUntil } = await this.makeTransport();
    const link = new Link(transport);
    link.goodUntil = goodUntil;
    link.onclosed = () => {
      if (this.#link === link) this.#link = null;
    };
    await link.ready;
    this.#replace(link);
    return link;
  }
  #replace(link) {
    const old = this.#link;
    if (link.closed) return;
    if (old && old.silence < PROBE_AFTER) {
      link.close("not needed");
      return;
    }
    this.#link = link;
    forget(this.#memory);
    old?.close("the way to the server has died");
    this.#looking ??= setInterval(() => this.#look(), LOOK_INTERVAL * 1e3);
  }
  #look() {
    if (!this.#link) {
      clearInterval(this.#looking);
      this.#looking = null;
    } else if (this.#link.silence >= PROBE_AFTER) {
      this.#try().catch(() => {
      });
    }
  }
};
function sleep(duration, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, duration * 1e3, null);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve(null)), { once: true });
  });
}
function recall(key) {
  try {
    return globalThis.sessionStorage?.getItem(key) ?? null;
  } catch {
    return null;
  }
}
function remember(key, value) {
  try {
    globalThis.sessionStorage?.setItem(key, value);
  } catch {
  }
}
function forget(key) {
  try {
    globalThis.sessionStorage?.removeItem(key);
  } catch {
  }
}

// src/exchange.js
var FALLBACK_AFTER = 2;
var RESUME_LIMIT = 8;
var NOT_PASSED_ON = /* @__PURE__ */ new Set(["host", "content-length", "expect", "accept-encoding", "connection", "transfer-encoding"]);
var RETRY_STATUS = { [REFUSED]: 503, [STOPPING]: 503, [GONE]: 502 };
var FINAL_STATUS = { [INVALID]: 400, [UNSUPPORTED]: 501 };
var BrokenAnswer = class extends TypeError {
  name = "BrokenAnswer";
};
async function ask(request2, options) {
  const link = canUse(request2, options) ? await reach(request2, options) : null;
  request2.signal.throwIfAborted();
  if (!link) return new FetchExchange(await fetch(request2));
  const body = new Uint8Array(await request2.arrayBuffer());
  const { pathname, search } = new URL(request2.url);
  const fields = [...request2.headers].filter(([name]) => !NOT_PASSED_ON.has(name));
  if (!request2.headers.has("accept")) fields.push(["accept", "*/*"]);
  const id = crypto.getRandomValues(new Uint8Array(ANSWER_ID_SIZE));
  const http = { method: request2.method, target: pathname + search, fields, body };
  const encoded = encodeBegin(id, http, Boolean(options.resume));
  const question = { id, request: encoded, position: 0, scheme: schemeOf(options) };
  return await begin(new Answer(way(request2.url, options), link, question), request2.signal, id);
}
async function goOn(url, options, id, position, signal) {
  const link = await way(url, options).link(RESUME_LIMIT, { isPatient: true, signal });
  signal.throwIfAborted();
  if (!link) throw new BrokenAnswer("the server is out of reach, so the answer cannot be gone on with");
  const question = { id, request: null, position, scheme: schemeOf(options) };
  return await begin(new Answer(way(url, options), link, question), signal, id);
}
function preconnect(url, options = {}) {
  if (hasWebTransport(options)) way(absolute(url), options).link(FALLBACK_AFTER).catch(() => {
  });
}
function absolute(url) {
  return new URL(url, globalThis.location?.href).href;
}
async function begin(answer, signal, id) {
  const stop = () => answer.cancel();
  signal.addEventListener("abort", stop, { once: true });
  const resumed = answer.position > 0;
  const first = resumed ? null : await answer.next();
  signal.throwIfAborted();
  if (first !== null && !(first instanceof Uint8Array)) return new Refusal(first);
  try {
    return new DatagramExchange(answer, first, id);
  } catch (error) {
    answer.cancel();
    throw new BrokenAnswer(`the answer does not begin with a head: ${error.message}`);
  }
}
function canUse(request2, options) {
  return hasWebTransport(options) && new URL(request2.url).protocol.startsWith("http");
}
function hasWebTransport(options) {
  return Boolean(options.WebTransport ?? globalThis.WebTransport);
}
async function reach(request2, options) {
  const found = way(request2.url, options);
  if (found.hasFailed) return null;
  const link = await found.link(options.fallbackAfter ?? FALLBACK_AFTER, { signal: request2.signal });
  if (!link && !request2.signal.aborted) found.noteFailure();
  return link;
}
function schemeOf(options) {
  return options.scheme ?? "eloquent-packed";
}
function way(url, { webTransport, certificateHashes, token, WebTransport = globalThis.WebTransport }) {
  const target = new URL(webTransport ?? `https://${new URL(url).host}/eloquent`, url);
  return wayTo(target.href, async () => {
    const shown = new URL(target);
    const given = typeof token === "function" ? await token() : token;
    if (given) shown.searchParams.set("token", given);
    const settings = { congestionControl: "low-latency", requireUnreliable: true };
    if (certificateHashes) settings.serverCertificateHashes = certificateHashes.map(hash);
    return { transport: new WebTransport(shown.href, settings), goodUntil: given ? endOf(given) : Infinity };
  });
}
function endOf(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).exp ?? Infinity;
  } catch {
    return Infinity;
  }
}
function hash(value) {
  const bytes = typeof value === "string" ? fromHex(value.trim().replaceAll(":", "")) : value;
  return { algorithm: "sha-256", value: bytes };
}
var DatagramExchange = class {
  carrier = "webtransport";
  #answer;
  constructor(answer, first, id) {
    this.#answer = answer;
    this.answerId = toHex(id);
    this.position = answer.position;
    const eventStream = [["content-type", "text/event-stream; charset=utf-8"]];
    const head = first ? decodeHead(first) : { status: 200, reason: "", fields: eventStream, isEventStream: true };
    this.status = head.status;
    this.statusText = head.reason;
    this.headers = new Headers(head.fields);
    this.isEventStream = head.isEventStream;
  }
  get statistics() {
    return { ...this.#answer.statistics, resumptions: this.#answer.resumptions };
  }
  /** @returns {Promise<Uint8Array | null>} a piece of the content: of an event stream, whole events; null at the end */
  async next() {
    const token = await this.#answer.next();
    if (token instanceof Uint8Array) return token;
    if (token.kind === COMPLETE) return null;
    throw new BrokenAnswer(token.message || "the answer is not whole");
  }
  report(state) {
    this.#answer.report(state);
  }
  cancel() {
    this.#answer.cancel();
  }
};
var Refusal = class {
  carrier = "webtransport";
  statusText = "";
  isEventStream = false;
  statistics = { datagrams: 0, bytes: 0, resumptions: 0 };
  #content;
  constructor({ kind, message }) {
    const retry = kind in RETRY_STATUS;
    this.status = RETRY_STATUS[kind] ?? FINAL_STATUS[kind] ?? 502;
    this.headers = new Headers({ "content-type": "application/json; charset=utf-8", "x-should-retry": String(retry) });
    if (this.status === 503) this.headers.set("retry-after", "1");
    const text2 = message || "the origin relay ended the answer before it began";
    const error = { message: text2, type: "relay_error", param: null, code: "relay_error" };
    this.#content = new TextEncoder().encode(JSON.stringify({ error }));
  }
  async next() {
    const content = this.#content;
    this.#content = null;
    return content;
  }
  report() {
  }
  cancel() {
  }
};
var FetchExchange = class {
  carrier = "sse";
  statistics = { datagrams: 0, bytes: 0, resumptions: 0 };
  #reader;
  constructor(response) {
    this.response = response;
    this.status = response.status;
    this.statusText = response.statusText;
    this.headers = response.headers;
    this.isEventStream = (response.headers.get("content-type") ?? "").startsWith("text/event-stream");
  }
  async next() {
    this.#reader ??= this.response.body?.getReader();
    const { value, done } = await this.#reader?.read() ?? { done: true };
    return done ? null : value;
  }
  report() {
  }
  cancel() {
    (this.#reader ?? this.response.body)?.cancel().catch(() => {
    });
  }
};

// src/playout.js
var LONGEST_TOKEN_TIME = 0.5;
var MOST_HELD = 512;
var CLOCK = {
  now: () => performance.now() / 1e3,
  sleep: (duration) => new Promise((resolve) => setTimeout(resolve, duration * 1e3))
};
var Playout = class {
  #exchange;
  #lead;
  #rate;
  #clock;
  #held = [];
  // tokens
  #ended = null;
  // how: a function that returns or throws
  #arrived = 0;
  // tokens
  #firstAt = 0;
  // seconds
  #lastAt = 0;
  // seconds
  #shownAt = null;
  // seconds; when the last token was shown
  #news = () => {
  };
  #room = () => {
  };
  /**
   * @param exchange what `ask` returned
   * @param {{lead: number, rate?: number}} playout seconds; tokens a second, without which the model's own pace is followed
   */
  constructor(exchange, { lead, rate }, clock = CLOCK) {
    this.#exchange = exchange;
    this.#lead = lead;
    this.#rate = rate;
    this.#clock = clock;
    this.#fill();
  }
  /** Seconds for which what has arrived can still be shown. */
  get bufferedS() {
    const waits = this.#shownAt === null && this.#arrived ? Math.max(this.#firstAt + this.#lead - this.#clock.now(), 0) : 0;
    return waits + this.#held.length * this.#tokenTime;
  }
  async next() {
    if (!this.#held.length && !this.#ended) await new Promise((resolve) => this.#news = resolve);
    if (!this.#held.length) return this.#ended();
    const due = this.#shownAt === null ? this.#firstAt + this.#lead : this.#shownAt + this.#tokenTime * this.#haste;
    const wait = due - this.#clock.now();
    if (wait > 0) await this.#clock.sleep(wait);
    this.#shownAt = Math.max(due, this.#clock.now() - this.#tokenTime);
    this.#room();
    return this.#held.shift();
  }
  get #tokenTime() {
    if (this.#rate) return 1 / this.#rate;
    const mean = this.#arrived > 1 ? (this.#lastAt - this.#firstAt) / (this.#arrived - 1) : LONGEST_TOKEN_TIME;
    return Math.min(mean, LONGEST_TOKEN_TIME);
  }
  get #haste() {
    if (this.#rate) return 1;
    const depth = this.#held.length * this.#tokenTime;
    if (depth > 1.5 * this.#lead) return 0.75;
    return depth < 0.5 * this.#lead && !this.#ended ? 1.25 : 1;
  }
  async #fill() {
    try {
      for (let token; (token = await this.#exchange.next()) !== null; ) {
        this.#lastAt = this.#clock.now();
        this.#firstAt ||= this.#lastAt;
        this.#arrived += 1;
        this.#held.push(token);
        this.#news();
        if (this.#held.length >= MOST_HELD) await new Promise((resolve) => this.#room = resolve);
      }
      this.#ended = () => null;
    } catch (error) {
      this.#ended = () => {
        throw error;
      };
    }
    this.#news();
  }
};

// src/reader.js
function watchReader(exchange, bufferedS = () => 0) {
  const { document } = globalThis;
  const isLooking = () => document?.visibilityState !== "hidden";
  const tell = () => exchange.report({ bufferedS: bufferedS(), looking: isLooking() });
  if (!isLooking()) tell();
  document?.addEventListener("visibilitychange", tell);
  return { tell, stop: () => document?.removeEventListener("visibilitychange", tell) };
}

// src/fetch.js
var STREAMED = /\/(?:chat\/completions|completions|responses)$/;
var WITHOUT_BODY = /* @__PURE__ */ new Set([101, 204, 205, 304]);
function makeFetch(options = {}) {
  const isFor = options.isFor ?? ((request2) => request2.method === "POST" && STREAMED.test(new URL(request2.url).pathname));
  return async function eloquentFetch2(input, init) {
    const request2 = new Request(input, init);
    if (!isFor(request2)) return await fetch(request2);
    const exchange = await ask(request2, options);
    return responseOf(exchange, options, request2.signal);
  };
}
var eloquentFetch = makeFetch();
function responseOf(exchange, { playout }, signal) {
  const { status, statusText, headers, carrier } = exchange;
  if (exchange.response && !playout) return Object.assign(exchange.response, { carrier });
  const paced = playout && exchange.isEventStream ? new Playout(exchange, playout) : exchange;
  const body = WITHOUT_BODY.has(status) ? null : bodyOf(exchange, paced, signal);
  return Object.assign(new Response(body, { status, statusText, headers }), { carrier });
}
function bodyOf(exchange, paced, signal) {
  const reader = watchReader(exchange, () => paced.bufferedS ?? 0);
  let failure = null;
  const stop = () => controller.error(signal.reason);
  const end = () => {
    reader.stop();
    signal.removeEventListener("abort", stop);
  };
  let controller;
  return new ReadableStream(
    {
      start(given) {
        controller = given;
        signal.addEventListener("abort", stop, { once: true });
      },
      async pull() {
        try {
          if (failure) throw failure;
          const piece = await paced.next();
          if (signal.aborted) return;
          if (piece === null) {
            end();
            controller.close();
          } else {
            if (paced !== exchange) reader.tell();
            controller.enqueue(piece);
          }
        } catch (error) {
          if (signal.aborted) return;
          if (exchange.isEventStream && exchange.carrier === "webtransport" && !failure) {
            failure = error;
            controller.enqueue(errorEvent(error));
            return;
          }
          end();
          controller.error(error);
        }
      },
      cancel() {
        end();
        exchange.cancel();
      }
    },
    { highWaterMark: 0 }
  );
}
function errorEvent({ message }) {
  const error = { message, type: "relay_error", param: null, code: "stream_broken" };
  return new TextEncoder().encode(`data: ${JSON.stringify({ error })}

`);
}

// src/event_stream.js
var MAX_LINE = 8 * 1024 * 1024;
var EventStreamReader = class {
  lastEventId = "";
  #decoder = new TextDecoder();
  #text = "";
  #type = "";
  #data = [];
  #size = 0;
  #id = "";
  /**
   * @param {Uint8Array} chunk
   * @returns {{type: string, data: string, lastEventId: string}[]} the events that it completes
   */
  read(chunk) {
    this.#text += this.#decoder.decode(chunk, { stream: true });
    const events = [];
    const lines = /([^\r\n]*)(\r\n|\n|\r(?!$))/y;
    let stop = 0;
    for (let match; match = lines.exec(this.#text); stop = lines.lastIndex) {
      const event = this.#line(match[1]);
      if (event) events.push(event);
    }
    this.#text = this.#text.slice(stop);
    if (this.#text.length + this.#size > MAX_LINE) throw new TypeError("an event of the stream is too long");
    return events;
  }
  #line(line) {
    if (!line) return this.#dispatch();
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (name === "event") this.#type = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "data") {
      this.#data.push(value);
      this.#size += value.length;
    }
    return null;
  }
  #dispatch() {
    const event = { type: this.#type || "message", data: this.#data.join("\n"), lastEventId: this.#id };
    const isEmpty = !this.#data.length;
    this.lastEventId = this.#id;
    this.#type = "";
    this.#data = [];
    this.#size = 0;
    return isEmpty ? null : event;
  }
};

// src/source.js
var CONNECTING = 0;
var OPEN2 = 1;
var CLOSED = 2;
var MOST_OF_AN_ERROR = 64 * 1024;
var EloquentErrorEvent = class extends Event {
  constructor(message, { status = 0, body = "" } = {}) {
    super("error");
    this.message = message;
    this.status = status;
    this.body = body;
  }
};
function isResumable(resume, url) {
  return recall(entryOf(resume, url)) !== null;
}
var EloquentSource = class extends EventTarget {
  static CONNECTING = CONNECTING;
  static OPEN = OPEN2;
  static CLOSED = CLOSED;
  url;
  readyState = CONNECTING;
  lastEventId = "";
  /** @type {"webtransport" | "sse" | null} */
  carrier = null;
  onopen = null;
  onmessage = null;
  onerror = null;
  onend = null;
  #options;
  #entry;
  // of the tab's storage, or null
  #exchange = null;
  #controller = new AbortController();
  constructor(url, options = {}) {
    super();
    this.url = absolute(url);
    this.#options = options;
    this.#entry = options.resume ? entryOf(options.resume, url) : null;
    for (const type of ["open", "message", "error", "end"]) {
      this.addEventListener(type, (event) => this[`on${type}`]?.call(this, event));
    }
    options.signal?.addEventListener("abort", () => this.close(), { once: true });
    if (options.signal?.aborted) this.close();
    else this.#run();
  }
  /** Datagrams and bytes of payload that came, and how often the answer was resumed. */
  get statistics() {
    return this.#exchange?.statistics ?? { datagrams: 0, bytes: 0, resumptions: 0 };
  }
  /** Want nothing more; no event follows. */
  close() {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.#controller.abort();
    this.#exchange?.cancel();
    if (this.#entry) forget(this.#entry);
  }
  async #run() {
    try {
      this.#exchange = await this.#begin();
      this.carrier = this.#exchange.carrier;
      if (this.#exchange.status !== 200 || !this.#exchange.isEventStream) throw await refusalOf(this.#exchange);
      if (this.readyState === CLOSED) return;
      this.readyState = OPEN2;
      this.dispatchEvent(new Event("open"));
      await this.#read();
      this.#end(new Event("end"));
    } catch (error) {
      this.#end(error instanceof EloquentErrorEvent ? error : new EloquentErrorEvent(String(error?.message ?? error)));
    }
  }
  async #begin() {
    const { signal } = this.#controller;
    const begun = this.#entry && JSON.parse(recall(this.#entry) ?? "null");
    if (begun) {
      const position = this.#options.replay ? 0 : begun.position;
      return await goOn(this.url, this.#options, fromHex(begun.id), position, signal);
    }
    const { method, headers, body, credentials } = this.#options;
    const fields = new Headers(headers);
    if (!fields.has("accept")) fields.set("accept", "text/event-stream");
    const request2 = new Request(this.url, { method, headers: fields, body, credentials, signal, cache: "no-store" });
    return await ask(request2, this.#options);
  }
  async #read() {
    const exchange = this.#exchange;
    const { playout } = this.#options;
    const paced = playout ? new Playout(exchange, playout) : exchange;
    const reader = watchReader(exchange, () => paced.bufferedS ?? 0);
    const events = new EventStreamReader();
    let { position } = exchange;
    try {
      this.#note(position);
      for (let token; this.readyState === OPEN2 && (token = await paced.next()) !== null; ) {
        if (playout) reader.tell();
        for (const event of events.read(token)) this.#show(event);
        position += 1;
        this.#note(position);
      }
    } finally {
      reader.stop();
    }
  }
  /** Remember what is needed to go on after a reload. */
  #note(position) {
    const { answerId } = this.#exchange;
    if (this.#entry && answerId && this.readyState === OPEN2) remember(this.#entry, JSON.stringify({ id: answerId, position }));
  }
  #show({ type, data, lastEventId }) {
    if (this.readyState !== OPEN2) return;
    this.lastEventId = lastEventId;
    this.dispatchEvent(new MessageEvent(type, { data, lastEventId, origin: new URL(this.url).origin }));
  }
  #end(event) {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    if (this.#entry) forget(this.#entry);
    this.dispatchEvent(event);
  }
};
function entryOf(resume, url) {
  return `eloquent:answer:${resume === true ? absolute(url) : resume}`;
}
async function refusalOf(exchange) {
  const { status } = exchange;
  const pieces = [];
  let size = 0;
  for (let piece; size < MOST_OF_AN_ERROR && (piece = await exchange.next()) !== null; size += piece.length) {
    pieces.push(new TextDecoder().decode(piece));
  }
  exchange.cancel();
  const what = status === 200 ? "the answer is no event stream" : `the server answered with status ${status}`;
  return new EloquentErrorEvent(what, { status, body: pieces.join("") });
}

// src/index.js
/*!
 * Eloquent's client for browsers: docs/browser.md. License: Apache-2.0.
 * Built by `npm run build` from src/, together with the inflate of fflate (https://github.com/101arrowz/fflate):
 *
 * MIT License
 *
 * Copyright (c) 2026 Arjun Barrett
 *
 * Permission is hereby granted, free of charge, to any person obtaining a copy
 * of this software and associated documentation files (the "Software"), to deal
 * in the Software without restriction, including without limitation the rights
 * to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
 * copies of the Software, and to permit persons to whom the Software is
 * furnished to do so, subject to the following conditions:
 *
 * The above copyright notice and this permission notice shall be included in all
 * copies or substantial portions of the Software.
 *
 * THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
 * IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
 * FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
 * AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
 * LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
 * OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
 * SOFTWARE.
 */
export {
  EloquentErrorEvent,
  EloquentSource,
  eloquentFetch,
  isResumable,
  makeFetch,
  preconnect
};
