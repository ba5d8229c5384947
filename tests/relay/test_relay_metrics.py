"""What both relays count while they carry answers for real: how those end, how the model fares, what paths do."""

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web

CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"%d"},"finish_reason":null}]}\n\n'
DONE = b"data: [DONE]\n\n"
CHAT = "/v1/chat/completions"
PAUSE = 0.6  # seconds, three times what makes a stall: a busy machine shortens one pause and lengthens another
LABELS = {"scheme": "eloquent-packed", "carrier": "udp"}


async def stream(request: web.BaseRequest) -> web.StreamResponse:
    """Answer as the path says: an error, a stream that breaks off, or one with a pause after the third event."""
    if "refuse" in request.path:
        return web.json_response({"error": "no"}, status=429)
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for number in range(6):
        await response.write(CHUNK % number)
        await asyncio.sleep(PAUSE if number == 2 else 0.02)
    if "break" not in request.path:
        await response.write(DONE)
    return response


def test_an_answer_is_counted_at_both_ends(relaying: Any) -> None:
    async def main() -> None:
        async with relaying.pair(stream, keep_alive=0.1) as pair:
            async with pair.client.post(pair.url + CHAT) as response:
                await response.read()
            await relaying.until(lambda: pair.count("eloquent_answers_total", side="origin", outcome="ok"))

            def edge(name: str, **labels: str) -> Any:
                return pair.count(f"eloquent_{name}", side="edge", **labels)

            def origin(name: str, **labels: str) -> Any:
                return pair.count(f"eloquent_{name}", side="origin", **labels)

            assert edge("answers_total", outcome="ok") == 1
            assert edge("stalls_total", **LABELS) >= 1
            assert edge("stall_seconds_total", **LABELS) >= PAUSE / 2
            assert edge("stream_seconds_total", **LABELS) >= edge("stall_seconds_total", **LABELS)
            assert edge("token_gap_seconds_count", **LABELS) == 6
            assert edge("time_to_first_token_seconds_count", **LABELS) == 1
            assert edge("keep_alive_comments_total") >= 2
            assert edge("active_streams") == 0
            assert origin("model_stalls_total") >= 1
            assert origin("model_stall_seconds_total") >= PAUSE / 2
            assert origin("model_gap_seconds_count") == 6
            assert origin("model_first_event_seconds_count") == 1
            assert origin("model_responses_total", status="200") == 1
            assert origin("original_bytes_total", client="", scheme="eloquent-packed") > 6 * len(CHUNK)
            assert origin("wire_bytes_total", client="", scheme="eloquent-packed") > 7 * 28
            await relaying.until(lambda: edge("path_rtt_seconds"))
            await relaying.until(lambda: edge("datagram_bytes_total", direction="in"))
            assert edge("datagram_bytes_total", direction="in") > 7 * 28
            await relaying.until(lambda: origin("session_rtt_seconds", which="slowest") > 0)

    relaying.run(main())


@pytest.mark.parametrize(
    ("path", "at_edge", "at_origin", "status"),
    [("/break/completions", "broken", "broken", "200"), ("/refuse", "ok", "ok", "429")],
)
def test_how_answers_end_is_counted(relaying: Any, path: str, at_edge: str, at_origin: str, status: str) -> None:
    async def main() -> None:
        async with relaying.pair(stream) as pair:
            async with pair.client.post(pair.url + path) as response:
                try:
                    await response.read()
                except aiohttp.ClientError:
                    assert at_edge == "broken"
            for side, outcome in (("edge", at_edge), ("origin", at_origin)):
                await relaying.until(
                    lambda side=side, outcome=outcome: pair.count("eloquent_answers_total", side=side, outcome=outcome)
                )
            assert pair.count("eloquent_model_responses_total", side="origin", status=status) == 1

    relaying.run(main())


def test_who_leaves_and_who_is_refused_is_counted(relaying: Any) -> None:
    async def main() -> None:
        async with relaying.pair(stream, max_answers=1) as pair:
            async with pair.client.post(pair.url + CHAT) as response:
                await response.content.readuntil(b"\n\n")
                async with pair.client.post(pair.url + CHAT) as refused:
                    assert refused.status == 503
            await relaying.until(lambda: pair.count("eloquent_refusals_total", side="origin", limit="answers") == 1)
            await relaying.until(lambda: pair.count("eloquent_answers_total", side="edge", outcome="left"))
            await relaying.until(lambda: pair.count("eloquent_answers_total", side="origin", outcome="left"))
            async with pair.client.post(pair.url + CHAT, headers={"last-event-id": f"{'0' * 32}.3"}) as gone:
                assert gone.status == 410
            assert pair.count("eloquent_answers_total", side="edge", outcome="refused") == 2
            await relaying.until(lambda: pair.count("eloquent_held_answers", side="origin", state="running") == 0)
            assert pair.count("eloquent_held_answers", side="origin", state="kept") == 0

    relaying.run(main())


def test_an_answer_that_is_resumed_is_counted_at_both_ends(relaying: Any) -> None:
    async def main() -> None:
        async with relaying.pair(stream) as pair:
            async with pair.client.post(pair.url + CHAT) as response:
                await response.content.readuntil(b"\n\n")
                await pair.path.rebind()
                await response.read()
            await relaying.until(lambda: pair.count("eloquent_resumed_answers_total", side="edge") == 1)
            assert pair.count("eloquent_resumed_answers_total", side="origin") == 1

    relaying.run(main())
