// A playout buffer: an answer is held back a little and shown smoothly (Eloquent §5.3, §5.4; Andes, arXiv:2404.16283).
//
// Rules of this file
// - Nothing is shown before `lead` seconds after the first token came, and then one token each token time: that of the rate that is
//   asked for, else the mean of how they came so far, a little less while the buffer is long, a little more while it is short.
// - Where the buffer runs dry, the next token is shown when it comes. The buffer grows again by and by.
// - The origin is told how long the buffer lasts, so that it repeats less while nothing is urgent.

const LONGEST_TOKEN_TIME = 0.5; // seconds
const MOST_HELD = 512; // tokens, from which the model is slowed down

/** Seconds of a clock, and waiting by it; tests have another one. */
const CLOCK = {
  now: () => performance.now() / 1e3,
  sleep: (duration) => new Promise((resolve) => setTimeout(resolve, duration * 1e3)),
};

/** Paces the tokens of an exchange; itself one. */
export class Playout {
  #exchange;
  #lead;
  #rate;
  #clock;
  #held = []; // tokens
  #ended = null; // how: a function that returns or throws
  #arrived = 0; // tokens
  #firstAt = 0; // seconds
  #lastAt = 0; // seconds
  #shownAt = null; // seconds; when the last token was shown
  #news = () => {};
  #room = () => {};

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
    if (!this.#held.length && !this.#ended) await new Promise((resolve) => (this.#news = resolve));
    if (!this.#held.length) return this.#ended();
    const due = this.#shownAt === null ? this.#firstAt + this.#lead : this.#shownAt + this.#tokenTime * this.#haste;
    const wait = due - this.#clock.now();
    if (wait > 0) await this.#clock.sleep(wait);
    this.#shownAt = Math.max(due, this.#clock.now() - this.#tokenTime); // who was woken late catches up by one
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
        if (this.#held.length >= MOST_HELD) await new Promise((resolve) => (this.#room = resolve));
      }
      this.#ended = () => null;
    } catch (error) {
      this.#ended = () => {
        throw error;
      };
    }
    this.#news();
  }
}
