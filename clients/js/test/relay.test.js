// The whole client against a real origin relay and a real token server, over a path that loses datagrams.

import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { EloquentSource, eloquentFetch, isResumable, makeFetch } from "../src/index.js";
import { startLab } from "./lab.js";
import { udpTransport } from "./udp_transport.js";

globalThis.crypto ??= webcrypto; // Node.js 18
const PATIENCE = { timeout: 60_000 };

let lab;
let seed = 0;

before(async () => (lab = await startLab()));
after(() => lab.stop());
beforeEach(() => {
  globalThis.sessionStorage = new (class {
    getItem = (key) => this[`_${key}`] ?? null;
    setItem = (key, value) => (this[`_${key}`] = value);
    removeItem = (key) => delete this[`_${key}`];
  })();
});

/** Options of a client that has a session of its own. */
function options(more = {}) {
  const WebTransport = udpTransport({ loss: 0.1, seed: ++seed, ...more.path });
  return { webTransport: `${lab.webTransport}?test=${seed}`, WebTransport, ...more };
}

function question(content, more = {}) {
  const body = { model: "eloquent", stream: true, messages: [{ role: "user", content }], eloquent: { token_gap_s: 0.02 }, ...more };
  return { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}

const counted = (last) => Array.from({ length: last }, (_, at) => at + 1).join(", ");

/** The events of a stream, without what differs from answer to answer. */
function eventsOf(text) {
  return text.split("\n\n").map((event) => event.replace(/"(id|created|generated_at_ns)": ?("[^"]*"|\d+)/g, ""));
}

/** Collect a source's text up to its end; resolves to the text and the last event. */
function collect(source) {
  return new Promise((resolve) => {
    let text = "";
    source.onmessage = ({ data }) => {
      if (data !== "[DONE]") text += JSON.parse(data).choices[0]?.delta.content ?? "";
      source.onprogress?.(text);
    };
    source.onend = source.onerror = (event) => resolve({ text, event });
  });
}

function until(holds) {
  return new Promise((resolve) => {
    const timer = setInterval(() => holds() && (clearInterval(timer), resolve()), 10);
  });
}

test("fetch gets what fetch gets", PATIENCE, async () => {
  const init = question("Count to 60");
  const response = await makeFetch(options())(lab.url, init);
  const plain = await fetch(lab.url, init);
  assert.ok(response instanceof Response);
  assert.equal(response.carrier, "webtransport");
  assert.equal(response.status, plain.status);
  const kind = "content-type";
  assert.equal(response.headers.get(kind), plain.headers.get(kind));
  const text = await response.text();
  assert.deepEqual(eventsOf(text), eventsOf(await plain.text()));
  assert.ok(text.endsWith("data: [DONE]\n\n"));
});

test("an answer that is not streamed, and a refused question", PATIENCE, async () => {
  const ask = makeFetch(options());
  const whole = await (await ask(lab.url, question("Count to 5", { stream: false }))).json();
  assert.equal(whole.choices[0].message.content, counted(5));
  const [refused, plain] = await Promise.all([ask, fetch].map((ask) => ask(lab.url, question("Count to 5", { n: 2 }))));
  assert.deepEqual([refused.status, await refused.json()], [400, await plain.json()]);
});

test("a long question, and many at once, on one session", PATIENCE, async () => {
  const settings = options();
  const ask = makeFetch(settings);
  const long = question("Count to 7", { user: "x".repeat(400_000) });
  const texts = [long, ...Array.from({ length: 20 }, (_, at) => question(`Count to ${at + 1}`))].map(async (init) => {
    const source = new EloquentSource(lab.url, { ...settings, ...init });
    return (await collect(source)).text;
  });
  assert.deepEqual(await Promise.all(texts), [counted(7), ...Array.from({ length: 20 }, (_, at) => counted(at + 1))]);
  assert.equal(settings.WebTransport.all.length, 1);
  assert.equal((await ask(lab.url, question("Count to 2"))).carrier, "webtransport");
});

test("other requests go by fetch", PATIENCE, async () => {
  const settings = options();
  const models = await (await makeFetch(settings)(lab.url.replace("chat/completions", "models"))).json();
  assert.equal(models.data[0].id, "eloquent");
  assert.equal(settings.WebTransport.all.length, 0);
});

test("who aborts gets an AbortError, and the answer is cancelled", PATIENCE, async () => {
  const settings = options();
  const controller = new AbortController();
  const response = await makeFetch(settings)(lab.url, { ...question("Count to 9999"), signal: controller.signal });
  const reader = response.body.getReader();
  await reader.read();
  controller.abort();
  await assert.rejects(reader.read(), { name: "AbortError" });
  const [transport] = settings.WebTransport.all;
  // an answer that goes on brings dozens a second, for ever
  for (let received = -1; received !== transport.received; ) {
    received = transport.received;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  await assert.rejects(makeFetch(settings)(lab.url, { ...question("Count to 3"), signal: AbortSignal.abort() }), { name: "AbortError" });
});

test("a session that dies in the middle of an answer is followed by another", PATIENCE, async () => {
  const settings = options();
  const source = new EloquentSource(lab.url, { ...settings, ...question("Count to 150") });
  const answer = collect(source);
  await new Promise((resolve) => (source.onprogress = (text) => text.includes("20") && resolve()));
  settings.WebTransport.all[0].cut();
  const { text, event } = await answer;
  assert.deepEqual([event.type, text], ["end", counted(150)]);
  assert.equal(settings.WebTransport.all.length, 2);
  assert.equal(source.statistics.resumptions, 1);
});

test("a reader who looks away gets fewer datagrams", PATIENCE, async () => {
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  globalThis.document = document;
  const source = new EloquentSource(lab.url, { ...options({ path: { loss: 0 } }), ...question("Count to 9999") });
  const rate = async () => {
    const from = source.statistics.datagrams;
    await new Promise((resolve) => setTimeout(resolve, 2000));
    return (source.statistics.datagrams - from) / 2;
  };
  await new Promise((resolve) => (source.onmessage = resolve));
  const looking = await rate();
  document.visibilityState = "hidden";
  document.dispatchEvent(new Event("visibilitychange"));
  const away = await rate();
  document.visibilityState = "visible";
  document.dispatchEvent(new Event("visibilitychange"));
  const again = await rate();
  source.close();
  delete globalThis.document;
  assert.ok(away < 0.6 * Math.min(looking, again), `${looking}, ${away}, ${again} datagrams a second`);
});

test("a slow reader slows the model down and loses nothing", PATIENCE, async () => {
  const settings = options();
  const init = question("Count to 3000", { eloquent: { token_gap_s: 0 } });
  const reader = (await makeFetch(settings)(lab.url, init)).body.getReader();
  await reader.read();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  let text = "";
  for (let step; !(step = await reader.read()).done; ) text += new TextDecoder().decode(step.value);
  assert.ok(text.includes('"content":" 3000"') || text.includes('"content": " 3000"'));
  assert.ok(text.endsWith("data: [DONE]\n\n"));
});

test("what is held back by a playout buffer comes whole", PATIENCE, async () => {
  const playout = { lead: 0.3 };
  const source = new EloquentSource(lab.url, { ...options(), ...question("Count to 40"), playout });
  const { text, event } = await collect(source);
  assert.deepEqual([event.type, text], ["end", counted(40)]);
  const response = await makeFetch(options({ playout }))(lab.url, question("Count to 40"));
  assert.ok((await response.text()).endsWith("data: [DONE]\n\n"));
});

test("without a session in time the question goes by fetch, the next one at once, and a late session is used", PATIENCE, async () => {
  let stand;
  class Late extends udpTransport() {
    constructor(url) {
      super(url);
      this.ready = new Promise((resolve) => (stand = resolve));
    }
  }
  const settings = { webTransport: `${lab.webTransport}?late`, WebTransport: Late, fallbackAfter: 0.3 };
  const ask = makeFetch(settings);
  const began = performance.now();
  assert.equal((await ask(lab.url, question("Count to 3"))).carrier, "sse");
  assert.ok(performance.now() - began >= 300);
  const source = new EloquentSource(lab.url, { ...settings, ...question("Count to 5") });
  const { text, event } = await collect(source);
  assert.deepEqual([source.carrier, event.type, text], ["sse", "end", counted(5)]);
  assert.equal(Late.all.length, 1);
  stand();
  await until(() => Object.keys(sessionStorage).every((key) => !key.startsWith("_eloquent:failed")));
  assert.equal((await ask(lab.url, question("Count to 3"))).carrier, "webtransport");
});

test("a session is good for as long as its token; what runs goes on", PATIENCE, async () => {
  const settings = options();
  settings.token = () => {
    const claims = { exp: Date.now() / 1e3 + (settings.WebTransport.all.length ? 60 : 1) };
    return `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.signature`;
  };
  const long = collect(new EloquentSource(lab.url, { ...settings, ...question("Count to 100") }));
  await new Promise((resolve) => setTimeout(resolve, 1200));
  for (const last of [2, 3]) {
    assert.equal((await collect(new EloquentSource(lab.url, { ...settings, ...question(`Count to ${last}`) }))).text, counted(last));
  }
  assert.equal((await long).text, counted(100));
  assert.equal(settings.WebTransport.all.length, 2);
});

test("a browser without WebTransport", PATIENCE, async () => {
  assert.equal((await eloquentFetch(lab.url, question("Count to 3"))).carrier, "sse");
});

test("errors of an EloquentSource", PATIENCE, async () => {
  const refused = new EloquentSource(lab.url, { ...options(), ...question("Count to 3", { n: 2 }) });
  const { event } = await collect(refused);
  assert.deepEqual([event.type, event.status, refused.readyState], ["error", 400, EloquentSource.CLOSED]);
  assert.match(event.body, /"n"/);
});

test("an origin that restarts in the middle: an error, and no cut answer that looks whole", PATIENCE, async () => {
  const settings = options({ resume: "chat" });
  const source = new EloquentSource(lab.url, { ...settings, ...question("Count to 9999") });
  const answer = collect(source);
  const response = await makeFetch(settings)(lab.url, question("Count to 9999"));
  const reader = response.body.getReader();
  await new Promise((resolve) => (source.onprogress = (text) => text.includes("20") && resolve()));
  assert.ok(isResumable("chat"));
  await lab.origin.kill();
  await lab.origin.restart();
  const { event } = await answer;
  assert.equal(event.type, "error");
  assert.match(event.message, /does not have this answer any more/);
  assert.ok(!isResumable("chat"));
  let text = "";
  await assert.rejects(async () => {
    for (let step; !(step = await reader.read()).done; ) text += new TextDecoder().decode(step.value);
  }, TypeError);
  assert.match(text, /stream_broken/);
  assert.ok(!text.includes("[DONE]"));
});
