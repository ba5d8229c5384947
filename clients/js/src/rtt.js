// Round-trip time and retransmission timeout, RFC 6298, with Linux's floor of 200 ms on the term of the variance. In seconds.

const INITIAL_TIMEOUT = 1;
const MIN_VARIANCE_TERM = 0.2;
const MAX_TIMEOUT = 60;

export class RttEstimator {
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
}
