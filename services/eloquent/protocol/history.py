"""The fragments of a stream, each told by what it does not share with the one before it.

An event of a chat server repeats nearly all of the one before: identifiers, field names, punctuation. What is left, the middle
between a common prefix and a common suffix, is mostly the token's text.

Rules of this file
- Both sides compute the same from the same fragments: the shape (how many bytes of prefix and suffix are shared) is the one
  before's as long as it holds, so that it need not be told; it is found anew where it does not hold, or where much more is shared.
- The dictionary of a fragment is the end of all middles before it, beginning with some text that every stream knows.
- What is forgotten is never asked for again: a sender forgets what its receiver has, but for the last of it and its dictionary; a
  receiver, what no packet on its way can refer to.
"""

from typing import NamedTuple

DICTIONARY_SIZE = 4096  # bytes: the window of the compression
LEAST_SHARED = 16  # bytes; less is not worth telling
MORE_SHARED = 8  # bytes shared beyond the prefix, for which the shape is found anew

# What streams begin with, so that the first packet is small as well; the most likely stands last. Version 1: a change of one byte
# is another wire format.
STATIC_DICTIONARY = (
    b'{"type":"response.output_text.delta","sequence_number":1,"item_id":"msg_","output_index":0,"content_index":0,"delta":"'
    b'event: response.output_text.delta\ndata: {"id":"cmpl-","object":"text_completion","created":17,"model":"","choices":'
    b'[{"index":0,"text":"","logprobs":null,"finish_reason":null}]}\n\n'
    b'"tool_calls":[{"index":0,"id":"call_","type":"function","function":{"name":"","arguments":""}}],"reasoning_content":"'
    b" which would there their about could other these first should people through because something between against"
    b" system number example following information important different function value return import class string print"
    b" one two can you not but all are with they have from this that was were been will when what your more also such"
    b" into than then them some only out over its it's there is a in of to and the for as on at by an be or if it he she we"
    b' The This It In A I You For To If When However, **\n\n1. \n- ```python\n"usage":{"prompt_tokens":,"completion_tokens":'
    b'"finish_reason":"stop"}],"usage":null}data: [DONE]\n\n'
    b'data: {"id":"chatcmpl-","object":"chat.completion.chunk","created":17,"model":"gpt-4o-2024-08-06","service_tier":'
    b'"default","system_fingerprint":"fp_","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},'
    b'"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"'
)


class Shape(NamedTuple):
    """What a fragment shares with its reference.

    Attributes:
        prefix: Bytes at the beginning.
        suffix: Bytes at the end; together at most as long as either of the two.
    """

    prefix: int
    suffix: int


class Delta(NamedTuple):
    """A fragment, told by its reference.

    Attributes:
        shape: What it shares.
        middle: What stands between.
    """

    shape: Shape
    middle: bytes


NOTHING_SHARED = Shape(0, 0)


class _Entry(NamedTuple):
    data: bytes
    delta: Delta
    stop: int  # where its middle ends, among all middles of the stream


class History:
    """The latest fragments of one stream, in order."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {-1: _Entry(b"", Delta(NOTHING_SHARED, b""), 0)}
        self._first = -1  # index of the oldest entry
        self._next = 0
        self._middles = bytearray(STATIC_DICTIONARY)
        self._start = -len(STATIC_DICTIONARY)  # of the first byte kept, among all middles of the stream

    @property
    def next_index(self) -> int:
        """Index of the fragment that comes next."""
        return self._next

    def __contains__(self, index: int) -> bool:
        return self._first <= index < self._next

    def append(self, data: bytes) -> Delta:
        """Add the next fragment, and return it as it is told by the one before it."""
        before = self._entries[self._next - 1]
        delta = _continue(before, data)
        self._middles += delta.middle
        self._entries[self._next] = _Entry(data, delta, before.stop + len(delta.middle))
        self._next += 1
        return delta

    def data(self, index: int) -> bytes:
        """Return a fragment; that before the first one is empty."""
        return self._entries[index].data

    def delta(self, index: int) -> Delta:
        """Return a fragment as it is told by the one before it."""
        return self._entries[index].delta

    def dictionary(self, base: int) -> bytes:
        """Return the end of all middles before a fragment, at most 4 KiB."""
        stop = self._entries[base - 1].stop - self._start
        return bytes(self._middles[max(stop - DICTIONARY_SIZE, 0) : stop])

    def forget_below(self, index: int) -> None:
        """Forget the fragments before the one before this index, and the middles of which no dictionary is made any more."""
        while self._first < index - 1:
            del self._entries[self._first]
            self._first += 1
        useless = self._entries[self._first].stop - DICTIONARY_SIZE - self._start
        if useless > DICTIONARY_SIZE:  # now and then, not each time
            del self._middles[:useless]
            self._start += useless


def difference(reference: bytes, data: bytes) -> Delta:
    """Return a fragment as told by any reference."""
    prefix = _common_prefix(reference, data)
    suffix = _common_prefix(
        reference[: prefix - 1 if prefix else None : -1], data[: prefix - 1 if prefix else None : -1]
    )
    if prefix + suffix < LEAST_SHARED:
        return Delta(NOTHING_SHARED, data)
    return Delta(Shape(prefix, suffix), data[prefix : len(data) - suffix])


def restore(reference: bytes, shape: Shape, middle: bytes) -> bytes:
    """Return the fragment that is told by its reference."""
    return reference[: shape.prefix] + middle + reference[len(reference) - shape.suffix :]


def _continue(before: _Entry, data: bytes) -> Delta:
    reference, shape = before.data, before.delta.shape
    prefix, suffix = shape
    shared, size, before_size = prefix + suffix, len(data), len(reference)
    if not shared or shared > size or shared > before_size:
        return difference(reference, data)
    tail = size - suffix
    if data[:prefix] != reference[:prefix] or data[tail:] != reference[before_size - suffix :]:
        return difference(reference, data)
    if tail - prefix >= MORE_SHARED and data[prefix : prefix + MORE_SHARED] == reference[prefix : prefix + MORE_SHARED]:
        return difference(reference, data)
    return Delta(shape, data[prefix:tail])


def _common_prefix(one: bytes, other: bytes) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
