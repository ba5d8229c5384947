"""Answers that outlive the sessions which carry them."""

from typing import Any

import pytest

CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"%d"},"finish_reason":null}]}\n\n'
DONE = b"data: [DONE]\n\n"
CHAT = "/v1/chat/completions"


@pytest.mark.parametrize("scheme", ["eloquent-packed", "eloquent", "retransmit"])
def test_an_answer_goes_on_after_the_edge_has_moved(relaying: Any, scheme: str) -> None:
    """A NAT that forgets the edge ends its session; the answer is asked for again, and nothing of it is lost or doubled."""
    events = [CHUNK % i for i in range(120)] + [DONE]

    async def main() -> None:
        handler = relaying.event_stream(*events, gap=0.05)
        async with relaying.pair(handler, scheme=scheme) as pair, pair.client.post(pair.url + CHAT) as response:
            await response.content.readuntil(b"\n\n")
            await pair.path.rebind()
            assert CHUNK % 0 + await response.read() == b"".join(events)

    relaying.run(main())


def test_comments_while_an_answer_is_lost_do_not_keep_it_from_being_found_again(relaying: Any) -> None:
    """The silence between two comments is shorter than the pause before an answer is asked for again."""
    events = [CHUNK % i for i in range(80)] + [DONE]

    async def main() -> None:
        handler = relaying.event_stream(*events, gap=0.05)
        async with relaying.pair(handler, keep_alive=0.1) as pair, pair.client.post(pair.url + CHAT) as response:
            await response.content.readuntil(b"\n\n")
            await pair.path.rebind()
            rest = (await response.read()).replace(b": keep-alive\n\n", b"")
            assert CHUNK % 0 + rest == b"".join(events)

    relaying.run(main())


def test_an_answer_that_nobody_comes_back_for_is_ended(relaying: Any) -> None:
    async def main() -> None:
        running: list[Any] = []

        async def forever(request: Any) -> Any:
            running.append(request)
            try:
                return await relaying.event_stream(*[CHUNK % 1] * 10_000, gap=0.05)(request)
            finally:
                running.remove(request)

        async with relaying.pair(forever, keep=0.5) as pair, pair.client.post(pair.url + CHAT) as response:
            await response.content.readuntil(b"\n\n")
            assert running
            pair.path.is_down = True
            for session in pair.origin.server.endpoint.sessions:
                pair.origin.server.close_session(session)
            for key in list(pair.origin._readers):
                pair.origin._detach(*key)
            await relaying.until(lambda: not running, 5.0)

    relaying.run(main())
