"""Which packet numbers have come already (RFC 6479): a ring of words of bits, in which moving on clears whole words.

Rules of this file
- A number is taken once. Numbers that are `WINDOW` or more below the highest one are taken for old, whether they came or not.
- Nothing changes before `mark`: whoever asks has not yet found out whether the packet is genuine.
"""

WINDOW = 1024  # numbers below the highest one that may still come: more than are ever under way
_WORD = 64  # bits
_WORDS = WINDOW // _WORD + 1  # one more than the window has, so that a word can be cleared while it is entered


class ReplayWindow:
    """The packet numbers of one direction.

    Attributes:
        highest: The highest number that came, or -1.
    """

    __slots__ = ("_words", "highest")

    def __init__(self) -> None:
        self.highest = -1
        self._words = [0] * _WORDS

    def is_new(self, number: int) -> bool:
        """Return whether a number has not come yet, as far as is remembered.

        Args:
            number: At least 0.
        """
        if number > self.highest:
            return True
        if number <= self.highest - WINDOW:
            return False
        return not self._words[number // _WORD % _WORDS] >> number % _WORD & 1

    def mark(self, number: int) -> None:
        """Note that a number, which is new, has come."""
        word = number // _WORD
        if number > self.highest:
            entered = word - max(self.highest, 0) // _WORD
            for step in range(min(entered, _WORDS)):
                self._words[(word - step) % _WORDS] = 0
            self.highest = number
        self._words[word % _WORDS] |= 1 << number % _WORD

    def came_below(self, number: int, count: int) -> int:
        """Return which numbers below one have come, as far as is remembered: bit i is of `number - 1 - i`.

        Args:
            number: At most the highest one.
            count: How many of them.
        """
        return sum(1 << i for i in range(min(count, number)) if not self.is_new(number - 1 - i))
