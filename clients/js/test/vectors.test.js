// The codec and the session against what the Python implementation says: the golden vectors of vectors.json.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ByteReader, MalformedPacket, encodeVarint, extendChecksum, fromHex, toHex } from "../src/bytes.js";
import * as wire from "../src/datagram.js";
import { DataBuilder, decodeAck, decodeData, encodeAck } from "../src/frames.js";
import { decodeHead, decodeOutcome, encodeBegin, encodeResume } from "../src/messages.js";
import { Receiver } from "../src/receiver.js";
import { ClientSession } from "../src/session.js";
import { STATIC_DICTIONARY } from "../src/static_dictionary.js";

const vectors = JSON.parse(readFileSync(new URL("../vectors.json", import.meta.url)));

/** Bytes as hexadecimal, in any structure. */
function plain(value) {
  if (value instanceof Uint8Array) return toHex(value);
  if (Array.isArray(value)) return value.map(plain);
  return value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)])) : value;
}

/** Each end cut off, and each byte damaged. */
function* damaged(hex) {
  const whole = fromHex(hex);
  for (let size = 0; size < whole.length; size++) yield whole.slice(0, size);
  for (let at = 0; at < whole.length; at++) yield whole.map((byte, position) => (position === at ? byte ^ 0x21 : byte));
}

test("integers of variable length", () => {
  for (const { value, hex } of vectors.varints.good) {
    assert.equal(toHex(encodeVarint(value)), hex);
    assert.equal(new ByteReader(fromHex(hex)).varint(), value);
  }
  for (const hex of vectors.varints.malformed) assert.throws(() => new ByteReader(fromHex(hex)).varint(), /integer|early/);
  for (const value of [-1, 0.5, 2 ** 53]) assert.throws(() => encodeVarint(value), RangeError);
});

test("checksums", () => {
  let checksum = 0;
  for (const step of vectors.checksums.steps) {
    checksum = extendChecksum(checksum, fromHex(step.token));
    assert.equal(checksum, step.checksum);
  }
  assert.equal(extendChecksum(0, STATIC_DICTIONARY), vectors.checksums.static_dictionary);
});

test("datagrams of a client", () => {
  for (const { kind, fields, number, hex } of vectors.client_datagrams) {
    const words = kind === "leave" ? fields : fields.map((field) => (typeof field === "string" ? fromHex(field) : field));
    assert.equal(toHex(wire.encodeDatagram(fromHex("0001020304050607"), number, ...wire[kind](...words))), hex);
  }
});

test("datagrams of a server, and whatever is none", () => {
  for (const { fields, number, hex } of vectors.server_datagrams.good) {
    const { connectionId, kind, ...found } = plain(wire.decodeDatagram(fromHex(hex)));
    assert.deepEqual([connectionId, found], ["0001020304050607", { number, ...fields }]);
    assert.ok(kind >= wire.RETRY);
    for (const bad of damaged(hex)) assert.throws(() => wire.decodeDatagram(bad), MalformedPacket);
  }
  for (const hex of vectors.server_datagrams.malformed) assert.throws(() => wire.decodeDatagram(fromHex(hex)));
});

test("data", () => {
  for (const { hex, fragments, end } of vectors.data.good) {
    const found = decodeData(fromHex(hex));
    assert.deepEqual(plain(found), { fragments, end });
    const builder = new DataBuilder(10_000);
    for (const fragment of found.fragments) assert.ok(builder.add(fragment));
    if (found.end) assert.ok(builder.addEnd(found.end));
    assert.equal(toHex(builder.build()), hex);
  }
  for (const hex of vectors.data.malformed) assert.throws(() => decodeData(fromHex(hex)), undefined, hex);
});

test("acknowledgements", () => {
  for (const { hex, ...ack } of vectors.acks.good) {
    assert.equal(toHex(encodeAck(ack)), hex);
    assert.deepEqual(decodeAck(fromHex(hex)), { ...ack, reader: null });
  }
  for (const hex of vectors.acks.malformed) assert.throws(() => decodeAck(fromHex(hex)), undefined, hex);
});

for (const [number, { scheme, tokens, trailer, steps }] of vectors.answers.entries()) {
  test(`an answer by ${scheme} on a path that loses three of ten (${number})`, () => {
    const receiver = new Receiver();
    const received = [];
    for (const { payload, ack, released } of steps) {
      receiver.receive(fromHex(payload));
      assert.equal(toHex(receiver.nextDatagram(0)), ack);
      const events = [];
      for (let event; (event = receiver.nextEvent()); ) events.push(event);
      assert.equal(events.length, released);
      received.push(...events);
    }
    assert.equal(toHex(received.pop().trailer), trailer);
    assert.deepEqual(received.map(({ data }) => toHex(data)), tokens);
    assert.ok(receiver.finished);
  });
}

test("packed data that is the encoding of nothing", () => {
  for (const hex of vectors.malformed_packed) assert.throws(() => new Receiver().receive(fromHex(hex)), undefined, hex);
});

test("questions, heads and outcomes", () => {
  const { begin, resume, head, malformed_head, outcome } = vectors.messages;
  for (const { hex, id, isResumable, body, ...request } of begin) {
    assert.equal(toHex(encodeBegin(fromHex(id), { ...request, body: fromHex(body) }, isResumable)), hex);
  }
  for (const { hex, id, next } of resume) assert.equal(toHex(encodeResume(fromHex(id), next)), hex);
  for (const { hex, ...found } of head) assert.deepEqual(decodeHead(fromHex(hex)), found);
  for (const hex of malformed_head) assert.throws(() => decodeHead(fromHex(hex)), undefined, hex);
  for (const { hex, ...found } of outcome) assert.deepEqual(decodeOutcome(fromHex(hex)), found);
});

test("a session with losses says what the Python client says, when it says it", () => {
  const { connection, payload, steps, answers } = vectors.transcript;
  const session = new ClientSession(fromHex(connection), { now: steps[0].at, payload });
  const streams = [];
  const received = answers.map(() => []);
  for (const [number, step] of steps.entries()) {
    const now = step.at;
    if (step.open) streams.push(session.openStream(fromHex(step.open.body), step.open.scheme, now));
    else if (step.report) session.report(streams[step.report.stream], step.report, now);
    else if (step.in) session.receive(wire.decodeDatagram(fromHex(step.in)), now);
    else session.handleTimer(now);
    for (const stream of streams) {
      for (let event; (event = stream.nextEvent()); session.noteRead(stream)) {
        received[stream.id].push(event.type === "token" ? toHex(event.data) : `${event.type} ${toHex(event.trailer)}`);
      }
    }
    const said = [];
    for (let data; (data = session.nextDatagram(now)); ) said.push(toHex(data));
    assert.deepEqual(said, step.out, `step ${number} at ${now} s`);
    assert.ok(session.getTimer() >= (steps[number + 1]?.at ?? Infinity), "what is due is a step of its own");
  }
  assert.deepEqual(received, answers);
  assert.ok(session.closed);
});
