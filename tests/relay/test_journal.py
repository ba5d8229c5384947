"""The journal of an origin relay: what it says of each answer, and what it never says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from eloquent.errors import ConfigurationError
from eloquent.relay.journal import Journal

CHAT = "/v1/chat/completions"
SECRET = b"nobody else is to know"
EVENTS = [b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % SECRET] * 5
DONE = b"data: [DONE]\n\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(file: Path) -> Iterator[Journal]:
    made = Journal(file)
    yield made
    made.close()


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_an_answer_is_a_line_without_a_word_of_it(relaying: Any, journal: Journal, file: Path) -> None:
    async def main() -> None:
        handler = relaying.event_stream(*EVENTS, DONE, gap=0.05)
        async with relaying.pair(handler, observer=journal) as pair:
            async with pair.client.post(f"{pair.url}{CHAT}?key=hidden", data=SECRET) as response:
                assert await response.read() == b"".join([*EVENTS, DONE])
            await relaying.until(lambda: lines(file))

    relaying.run(main())
    (line,) = lines(file)
    fixed = {key: line[key] for key in ("from", "method", "path", "status", "outcome", "events", "bytes", "streams")}
    size = len(b"".join([*EVENTS, DONE]))
    assert fixed == {
        "from": "edge",
        "method": "POST",
        "path": CHAT,
        "status": 200,
        "outcome": "complete",
        "events": 6,
        "bytes": size,
        "streams": 1,
    }
    assert 0 < line["first_s"] < line["last_s"] - 0.2
    assert line["longest_gap_s"] >= 0.05
    assert line["wire_bytes"] > 6 * 28
    assert SECRET.decode() not in file.read_text()
    assert "hidden" not in file.read_text()


def test_an_answer_that_is_cut_and_one_that_is_left_are_told_apart(relaying: Any, journal: Journal, file: Path) -> None:
    async def main() -> None:
        async with relaying.pair(relaying.event_stream(*EVENTS, gap=0.01), observer=journal) as pair:
            async with pair.client.post(pair.url + CHAT) as response:  # its end is not said
                assert b"stream_broken" in await response.content.readuntil(b"stream_broken")
            await relaying.until(lambda: lines(file))
        async with relaying.pair(relaying.event_stream(*EVENTS, gap=5.0), observer=journal) as pair:
            async with pair.client.post(pair.url + CHAT) as response:
                await response.content.readuntil(b"\n\n")
                response.close()
            await relaying.until(lambda: len(lines(file)) == 2)

    relaying.run(main())
    assert [line["outcome"] for line in lines(file)] == ["broken", "left"]


def test_what_an_answer_that_is_cut_at_the_end_has_cost_is_told(relaying: Any, journal: Journal, file: Path) -> None:
    async def main() -> None:
        handler = relaying.event_stream(*EVENTS, gap=5.0)
        async with (
            relaying.pair(handler, observer=journal) as pair,
            pair.client.post(pair.url + CHAT) as response,
        ):
            await response.content.readuntil(b"\n\n")
            await pair.origin.drain(0.0)
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()

    relaying.run(main())
    (line,) = lines(file)
    assert (line["streams"], line["wire_bytes"] > 100) == (1, True)


def test_a_file_that_was_moved_away_is_begun_anew(relaying: Any, journal: Journal, file: Path) -> None:
    before = file.with_suffix(".1")

    async def main() -> None:
        async with relaying.pair(relaying.event_stream(DONE), observer=journal) as pair:
            for then in (lambda: file.rename(before), lambda: None):
                async with pair.client.post(pair.url + CHAT) as response:
                    await response.read()
                await relaying.until(lambda: file.exists() and lines(file))
                then()

    relaying.run(main())
    assert [len(lines(one)) for one in (before, file)] == [1, 1]


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot write"):
        Journal(tmp_path / "nowhere" / "journal")
