// The playout buffer, in virtual time.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Playout } from "../src/playout.js";

/** Time that passes when everybody sleeps. */
class Clock {
  #now = 1000;
  #sleepers = [];

  now = () => this.#now;

  sleep = (duration) =>
    new Promise((wake) => {
      this.#sleepers.push({ at: this.#now + duration, wake });
      this.#sleepers.sort((one, other) => one.at - other.at);
    });

  async run(until) {
    let done = false;
    until.finally(() => (done = true));
    for (;;) {
      for (let turn = 0; turn < 20; turn++) await null; // whoever can go on does
      if (done) return await until;
      const { at, wake } = this.#sleepers.shift();
      this.#now = Math.max(this.#now, at);
      wake();
    }
  }
}

/** Play what arrives at these instants; give when each was shown, from the first arrival on, and what the origin would be told. */
async function play(arrivals, playout) {
  const clock = new Clock();
  const start = clock.now();
  let at = 0;
  const exchange = {
    async next() {
      if (at === arrivals.length) return null;
      await clock.sleep(Math.max(start + arrivals[at] - clock.now(), 0));
      return at++;
    },
  };
  const shown = [];
  const buffered = [];
  const reading = async () => {
    const paced = new Playout(exchange, playout, clock);
    for (let token; (token = await paced.next()) !== null; buffered.push(paced.bufferedS)) {
      assert.equal(token, shown.length);
      shown.push(clock.now() - start - arrivals[0]);
    }
  };
  await clock.run(reading());
  return { shown, buffered, gaps: shown.slice(1).map((time, index) => time - shown[index]) };
}

const steady = (count, gap) => Array.from({ length: count }, (_, at) => at * gap);

test("an answer at a steady pace is shown at that pace, later by the lead", async () => {
  const { shown, gaps, buffered } = await play(steady(200, 0.05), { lead: 1 });
  assert.ok(Math.abs(shown[0] - 1) < 1e-9);
  assert.ok(Math.max(...gaps) <= 0.0626 && Math.min(...gaps) >= 0.037);
  assert.ok(shown.at(-1) < 199 * 0.05 + 1.6);
  assert.ok(Math.max(...buffered) < 1.6);
});

test("an outage that is shorter than the lead is not seen", async () => {
  const arrivals = steady(200, 0.05).map((time) => (time > 4 && time < 4.8 ? 4.8 : time));
  const { gaps } = await play(arrivals, { lead: 1 });
  assert.ok(Math.max(...gaps) < 0.08, String(Math.max(...gaps)));
});

test("bursts of a few tokens are shown one by one, and nothing is lost after an outage longer than the lead", async () => {
  const arrivals = steady(210, 0.02).map((time) => Math.ceil(time / 0.06) * 0.06 + (time > 2 ? 3 : 0));
  const { shown, gaps } = await play(arrivals, { lead: 0.3 });
  assert.equal(shown.length, 210);
  assert.equal(gaps.filter((gap) => gap > 0.2).length, 1);
  assert.ok(shown.at(-1) < 209 * 0.02 + 3 + 1.5, String(shown.at(-1)));
});

test("a reading speed that is asked for is kept", async () => {
  const { gaps, buffered } = await play(steady(100, 0.01), { lead: 0, rate: 20 });
  assert.ok(gaps.every((gap) => Math.abs(gap - 0.05) < 1e-9));
  assert.ok(Math.max(...buffered) > 3.5);
});
