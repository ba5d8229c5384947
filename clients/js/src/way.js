// The way to one origin: the link that is in use, and the next one where that has died.
//
// Rules of this file
// - All questions of a page to one origin share one WebTransport session.
// - A link that is silent while something is awaited may have died without a word (the origin restarted, the network changed):
//   after some seconds another one is tried, and if it stands while the old one is still silent, the old one is given up.
// - A session is good for as long as the token that it was begun with. After that a question takes another one, and what runs goes on.
// - An origin that could not be reached in time is not waited for again for a while. The trial goes on, and if it succeeds later,
//   the next question goes that way.

import { Link } from "./link.js";

const PROBE_AFTER = 3; // seconds of silence
const LOOK_INTERVAL = 1; // seconds
const RETRY_PAUSE = 0.5; // seconds between two trials
const FAILURE_MEMORY = 300; // seconds

/** @type {Map<string, Way>} */
const ways = new Map();

/**
 * @param {string} key names the origin and what is shown to it
 * @param {() => Promise<{transport: any, goodUntil: number}>} makeTransport makes a `WebTransport`, good until a time of the epoch
 */
export function wayTo(key, makeTransport) {
  if (!ways.has(key)) ways.set(key, new Way(key));
  const way = ways.get(key);
  way.makeTransport = makeTransport;
  return way;
}

class Way {
  makeTransport;
  #memory;
  /** @type {Link | null} */
  #link = null; // stands
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
    for (;;) {
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
    this.#trial ??= this.#begin().finally(() => (this.#trial = null));
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
      this.#try().catch(() => {}); // and again at the next look
    }
  }
}

function sleep(duration, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, duration * 1e3, null);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve(null)), { once: true });
  });
}

/** The tab's storage, where there is one; a page may be denied it. */
export function recall(key) {
  try {
    return globalThis.sessionStorage?.getItem(key) ?? null;
  } catch {
    return null;
  }
}

export function remember(key, value) {
  try {
    globalThis.sessionStorage?.setItem(key, value);
  } catch {
    // full, or denied: then it is not remembered
  }
}

export function forget(key) {
  try {
    globalThis.sessionStorage?.removeItem(key);
  } catch {
    // denied
  }
}
