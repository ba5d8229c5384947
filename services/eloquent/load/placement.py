"""Which host has how many users of which scheme, however many there are.

Rules of this file: the users are a row, of which the first so many are there. The hosts take turns in it, and each user takes a
scheme that the fewest have, of those the one that the fewest on his host have. So at every stage of a shape schemes have as many
users as each other, and hosts too, but for one; and who leaves is whoever came last.
"""

from collections.abc import Sequence

Counts = dict[str, dict[str, int]]
"""Users by host and scheme."""


class Placement:
    """The row of users.

    Args:
        hosts: Names of the hosts.
        schemes: Names of the schemes.
    """

    def __init__(self, hosts: Sequence[str], schemes: Sequence[str]) -> None:
        self._hosts, self._schemes = list(hosts), list(schemes)
        self._counts: list[Counts] = [{host: dict.fromkeys(schemes, 0) for host in hosts}]

    def first(self, number: int) -> Counts:
        """Return where the first so many users are."""
        while len(self._counts) <= number:
            self._counts.append(self._with_one_more(self._counts[-1], len(self._counts) - 1))
        return self._counts[number]

    def _with_one_more(self, counts: Counts, number: int) -> Counts:
        place = number % len(self._hosts)
        mine, turn = counts[self._hosts[place]], place + number // len(self._hosts)
        in_turn = [self._schemes[(turn + step) % len(self._schemes)] for step in range(len(self._schemes))]
        scheme = min(in_turn, key=lambda name: (sum(one[name] for one in counts.values()), mine[name]))
        return counts | {self._hosts[place]: mine | {scheme: mine[scheme] + 1}}
