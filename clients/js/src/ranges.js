// A set of integers that are mostly consecutive, as sorted, disjoint, non-adjacent half-open ranges.

export class RangeSet {
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
}
