// The fragments of a stream, each told by what it does not share with the one before it (docs/protocol.md §3a).
//
// Rules of this file
// - The sender computes the same from the same fragments (services/eloquent/protocol/history.py): the shape is the one before's as
//   long as it holds, and is found anew where it does not hold or where much more is shared.

import { STATIC_DICTIONARY } from "./static_dictionary.js";

const DICTIONARY_SIZE = 4096; // bytes: the window of the compression
const LEAST_SHARED = 16; // bytes; less is not worth telling
const MORE_SHARED = 8; // bytes shared beyond the prefix, for which the shape is found anew

/** @typedef {{prefix: number, suffix: number}} Shape */

const NOTHING_SHARED = { prefix: 0, suffix: 0 };

export class History {
  next = 0; // index of the fragment that comes next
  #entries = new Map([[-1, { data: new Uint8Array(0), shape: NOTHING_SHARED, stop: 0 }]]);
  #first = -1; // index of the oldest entry
  #middles = new Uint8Array(4 * DICTIONARY_SIZE);
  #size = STATIC_DICTIONARY.length; // bytes of #middles that are used
  #start = -STATIC_DICTIONARY.length; // of the first byte kept, among all middles of the stream

  constructor() {
    this.#middles.set(STATIC_DICTIONARY);
  }

  has(index) {
    return this.#first <= index && index < this.next;
  }

  data(index) {
    return this.#entries.get(index).data;
  }

  /** @returns {Shape} of a fragment as it is told by the one before it */
  shape(index) {
    return this.#entries.get(index).shape;
  }

  /** Add the next fragment. */
  append(data) {
    const before = this.#entries.get(this.next - 1);
    const shape = continued(before, data);
    const middle = data.subarray(shape.prefix, data.length - shape.suffix);
    this.#keep(middle);
    this.#entries.set(this.next, { data, shape, stop: before.stop + middle.length });
    this.next += 1;
  }

  /** @returns {Uint8Array} the end of all middles before a fragment */
  dictionary(base) {
    const stop = this.#entries.get(base - 1).stop - this.#start;
    return this.#middles.subarray(Math.max(stop - DICTIONARY_SIZE, 0), stop);
  }

  /** Forget the fragments before the one before this index, and the middles of which no dictionary is made any more. */
  forgetBelow(index) {
    while (this.#first < index - 1) {
      this.#entries.delete(this.#first);
      this.#first += 1;
    }
    const useless = this.#entries.get(this.#first).stop - DICTIONARY_SIZE - this.#start;
    if (useless > DICTIONARY_SIZE) {
      this.#middles.copyWithin(0, useless, this.#size);
      this.#size -= useless;
      this.#start += useless;
    }
  }

  #keep(middle) {
    if (this.#size + middle.length > this.#middles.length) {
      const larger = new Uint8Array(2 * (this.#size + middle.length));
      larger.set(this.#middles.subarray(0, this.#size));
      this.#middles = larger;
    }
    this.#middles.set(middle, this.#size);
    this.#size += middle.length;
  }
}

/** @returns {Shape} of a fragment as told by the one before it */
function continued({ data: reference, shape }, data) {
  const { prefix, suffix } = shape;
  const shared = prefix + suffix;
  if (!shared || shared > Math.min(data.length, reference.length)) return difference(reference, data);
  const tail = data.length - suffix;
  const holds = same(data, 0, reference, 0, prefix) && same(data, tail, reference, reference.length - suffix, suffix);
  if (!holds) return difference(reference, data);
  const more = prefix + MORE_SHARED <= reference.length && same(data, prefix, reference, prefix, MORE_SHARED);
  return tail - prefix >= MORE_SHARED && more ? difference(reference, data) : shape;
}

function difference(reference, data) {
  const longest = Math.min(reference.length, data.length);
  let prefix = 0;
  while (prefix < longest && reference[prefix] === data[prefix]) prefix += 1;
  let suffix = 0;
  while (
    suffix < longest - prefix &&
    reference[reference.length - 1 - suffix] === data[data.length - 1 - suffix]
  ) {
    suffix += 1;
  }
  return prefix + suffix < LEAST_SHARED ? NOTHING_SHARED : { prefix, suffix };
}

function same(one, at, other, otherAt, size) {
  for (let offset = 0; offset < size; offset++) {
    if (one[at + offset] !== other[otherAt + offset]) return false;
  }
  return true;
}
