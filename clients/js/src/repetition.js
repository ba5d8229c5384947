// Something that is said again until it has been heard, at doubled intervals. All in seconds.

export class Repetition {
  constructor(due, interval, longest) {
    this.due = due;
    this.interval = interval;
    this.longest = longest;
  }

  repeat(now) {
    this.due = now + this.interval;
    this.interval = Math.min(2 * this.interval, this.longest);
  }
}
