"""The messages of our own token service (proto/eloquent/api/v1), as gRPC carries them."""

from collections.abc import Iterable, Iterator
from itertools import count
from random import Random

from eloquent.api.v1.token_service_pb2 import GenerateResponse
from eloquent.content.book import passage

_UPTIME = 10_000_000_000_000_000  # nanoseconds, longest that the clock of a server has run: four months
_GAP, _JITTER = 20_000_000, 1_000_000  # nanoseconds between tokens: 50 a second


def counting() -> Iterator[str]:
    """Yield the tokens of an answer that counts, for ever: "1", ",", " 2", "," and so on (Eloquent §2.2)."""
    yield "1"
    for number in count(2):
        yield ","
        yield f" {number}"


def counted(instants_ns: Iterable[int]) -> Iterator[bytes]:
    """Yield the messages of an answer that counts, one for each instant at which a server made a token, in nanoseconds."""
    for index, (text, now) in enumerate(zip(counting(), instants_ns, strict=False)):
        yield GenerateResponse(index=index, text=text, generated_at_ns=now).SerializeToString()


def generated(rng: Random) -> Iterator[bytes]:
    """Yield a message for each token, with the instant of a model that produces 50 a second, whatever the stream's pace is."""
    now = rng.randrange(_UPTIME)
    for index, text in enumerate(passage(rng)):
        yield GenerateResponse(index=index, text=text, generated_at_ns=now).SerializeToString()
        now += _GAP + rng.randrange(-_JITTER, _JITTER)
