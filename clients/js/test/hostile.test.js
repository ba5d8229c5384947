// What a hostile server says: nothing but what is malformed is complained of, and nothing grows without a bound.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { MalformedPacket, concat, encodeVarint, fromHex, uint32 } from "../src/bytes.js";
import { encodeDatagram, decodeDatagram } from "../src/datagram.js";
import { decodeHead, decodeOutcome } from "../src/messages.js";
import { Receiver } from "../src/receiver.js";
import { ClientSession } from "../src/session.js";

const { answers, messages } = JSON.parse(readFileSync(new URL("../vectors.json", import.meta.url)));
const ROUNDS = 4000; // some seconds on a slow machine

/** Numbers below a limit, the same each time (xorshift32). */
function draws(seed) {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

/** Cut, lengthen or damage some bytes. */
function mutate(bytes, draw) {
  const data = Array.from(bytes);
  for (let times = 1 + draw(4); times; times--) {
    const at = draw(data.length + 1);
    const what = draw(4);
    if (what === 0) data.splice(at, 1 + draw(8));
    else if (what === 1) data.splice(at, 0, draw(256));
    else data[Math.min(at, data.length - 1)] = what === 2 ? draw(256) : [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff][draw(8)];
  }
  return Uint8Array.from(data.filter((byte) => byte !== undefined));
}

/** @throws what is no complaint of a malformed packet */
function survive(action) {
  try {
    action();
  } catch (error) {
    if (!(error instanceof MalformedPacket)) throw error;
  }
}

test("damaged payloads of an answer", () => {
  const draw = draws(1);
  const payloads = answers.flatMap(({ steps }) => steps.map(({ payload }) => fromHex(payload)));
  let receiver = new Receiver();
  for (let round = 0; round < ROUNDS; round++) {
    if (round % 50 === 0) receiver = new Receiver();
    const payload = payloads[draw(payloads.length)];
    survive(() => receiver.receive(draw(3) ? mutate(payload, draw) : payload));
    const ack = receiver.nextDatagram(0);
    assert.ok(ack === null || ack.length < 600);
    while (receiver.nextEvent());
  }
});

test("damaged heads and outcomes", () => {
  const draw = draws(2);
  const known = [...messages.head, ...messages.outcome].map(({ hex }) => fromHex(hex)).filter(({ length }) => length);
  for (let round = 0; round < ROUNDS; round++) {
    const data = mutate(known[draw(known.length)], draw);
    survive(() => decodeHead(data));
    decodeOutcome(data);
  }
});

test("any datagram at any time", () => {
  const draw = draws(3);
  const id = new Uint8Array(8);
  const payloads = answers.flatMap(({ steps }) => steps.flatMap(({ payload, ack }) => [fromHex(payload), fromHex(ack)]));
  for (let seed = 0; seed < 20; seed++) {
    const session = new ClientSession(id, { now: 0 });
    for (let step = 0; step < 200; step++) {
      const now = step / 10;
      if (!session.closed && draw(20) === 0) session.openStream(new Uint8Array(draw(3000)), "eloquent-packed", now);
      const body = concat([encodeVarint(draw(12)), mutate(payloads[draw(payloads.length)], draw)]);
      try {
        session.receive(decodeDatagram(encodeDatagram(id, step, 8 + draw(5), body)), now);
      } catch (error) {
        assert.ok(error instanceof MalformedPacket || error instanceof RangeError, error.stack);
      }
      if (session.getTimer() <= now) session.handleTimer(now);
      let said = 0;
      while (session.nextDatagram(now)) assert.ok(++said < 100);
    }
  }
});

test("a server that minds no credit: what is unread has a bound", () => {
  const receiver = new Receiver();
  const token = new Uint8Array(1000);
  const head = encodeVarint(4 * token.length + 1);
  for (let index = 1; index < 20_000; index++) receiver.receive(concat([Uint8Array.of(0), head, encodeVarint(index), token]));
  receiver.receive(concat([Uint8Array.of(0), encodeVarint(4 * token.length), token]));
  let events = 0;
  while (receiver.nextEvent()) events += 1;
  assert.ok(events > 0 && events * (token.length + 64) < 600_000, String(events));
  const flooded = new Receiver();
  for (let index = 0; index < 20_000; index++) {
    flooded.receive(concat([Uint8Array.of(0), ...(index ? [head, encodeVarint(index)] : [encodeVarint(4 * token.length)]), token]));
  }
  for (events = 0; flooded.nextEvent(); ) events += 1;
  assert.ok(events > 0 && events <= 4096 + 1, String(events));
});

test("a checksum that does not agree is a failure and no end", () => {
  const receiver = new Receiver();
  receiver.receive(concat([Uint8Array.of(1, 1), uint32(1), Uint8Array.of(0, 8), fromHex("6869")]));
  assert.deepEqual([receiver.nextEvent().type, receiver.nextEvent().type], ["token", "failed"]);
  assert.equal(receiver.nextDatagram(0), null);
});
