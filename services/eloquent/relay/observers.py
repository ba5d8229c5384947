"""Who is told what becomes of an origin relay's answers."""

from eloquent.relay.origin_streams import OriginAnswer, OriginStream, StreamEnd


class OriginObserver:
    """Is told what becomes of answers; this one does not listen."""

    def on_begin(self, stream: OriginStream) -> None:
        """Take note that a stream has begun to carry an answer."""

    def on_token(self, answer: OriginAnswer, token: bytes) -> None:
        """Take note of a token that came from the model server; over HTTP, the first is the head."""

    def on_end(self, stream: OriginStream, event: StreamEnd | None) -> None:
        """Take note that a stream is over.

        Args:
            stream: The stream.
            event: How it ended for its session; None if it is this relay that has given it up.
        """

    def on_over(self, answer: OriginAnswer) -> None:
        """Take note that an answer is over, after the last of its streams."""


class Observers(OriginObserver):
    """Tells several.

    Args:
        observers: Whom, in this order.
    """

    def __init__(self, *observers: OriginObserver) -> None:
        self._observers = observers

    def on_begin(self, stream: OriginStream) -> None:
        """See `OriginObserver`."""
        for observer in self._observers:
            observer.on_begin(stream)

    def on_token(self, answer: OriginAnswer, token: bytes) -> None:
        """See `OriginObserver`."""
        for observer in self._observers:
            observer.on_token(answer, token)

    def on_end(self, stream: OriginStream, event: StreamEnd | None) -> None:
        """See `OriginObserver`."""
        for observer in self._observers:
            observer.on_end(stream, event)

    def on_over(self, answer: OriginAnswer) -> None:
        """See `OriginObserver`."""
        for observer in self._observers:
            observer.on_over(answer)
