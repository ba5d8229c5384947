// What an answer felt like: the measures of docs/measures.md, taken where it is rendered.

export const STALL = 0.2; // seconds without a token; a longer gap is a stall

export class Meter {
  tokens = 0;
  stalls = 0;
  stalled = 0; // seconds in stalls
  longest = 0; // seconds of the longest
  first = null; // when the first token was rendered, in seconds since the question
  last = null;

  // Count a token that was rendered so many seconds after the question; give the length of the stall before it, 0 for none. Who
  // knows that length more exactly says so.
  add(at, known) {
    this.first ??= at;
    const gap = Math.round((at - (this.last ?? at)) * 1e6) / 1e6; // no clock of a page is finer
    this.last = at;
    this.tokens += 1;
    const stall = known ?? (gap > STALL ? gap : 0);
    if (stall > 0) this.stalls += 1;
    this.stalled += stall;
    this.longest = Math.max(this.longest, stall);
    return stall;
  }

  numbers() {
    const stream = this.last - this.first;
    return { stall_ratio: stream > 0 ? this.stalled / stream : null, longest_stall_s: this.longest, stalls: this.stalls, first_token_s: this.first, tokens: this.tokens };
  }
}
