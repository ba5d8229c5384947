"""Eloquent in the client's own process: the blocking driver speaks to the origin relay, and no edge relay stands between.

As in the edge relay, the sessions share one connection id, made when first needed and again when it was lost. An answer that is
lost has failed: this client does not ask for its rest, as an edge relay would.
"""

import secrets
import threading
from collections.abc import Generator

from google.protobuf.message import DecodeError

from eloquent import schemes
from eloquent.addresses import Address, reason_of
from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse
from eloquent.calls import names
from eloquent.calls.answer import AnswerFailed, AnswerToken
from eloquent.drivers.blocking import BlockingUdpClient, Stream, StreamLost
from eloquent.errors import LocalProtocolError
from eloquent.load.clients.base import CancellationToken, Deadline, LoadRequest, in_order
from eloquent.protocol.session import StreamToken
from eloquent.relay.exchange import ANSWER_ID_SIZE, decode_outcome, encode_begin
from eloquent.relay.grpc_call import make_call, status_of


class LibraryClient:
    """Asks the origin relay itself.

    Args:
        address: Host and port of the origin relay.
        scheme: Name of the scheme.
    """

    def __init__(self, address: Address, scheme: str) -> None:
        self._address = address
        self._scheme = scheme
        self._lock = threading.Lock()
        self._udp: BlockingUdpClient | None = None

    def ask(
        self, request: LoadRequest, *, client: str, session: str, cancellation: CancellationToken
    ) -> Generator[AnswerToken, None, None]:
        """See `LoadClient`."""
        metadata = names.owner_metadata(client=client, scheme=self._scheme, session=session)
        return in_order(self._tokens(request, dict(metadata), cancellation))

    def close(self) -> None:
        """See `LoadClient`."""
        with self._lock:
            if self._udp is not None:
                self._udp.close()

    def _tokens(
        self, request: LoadRequest, metadata: dict[str, str], cancellation: CancellationToken
    ) -> Generator[AnswerToken, None, None]:
        deadline = Deadline(request.timeout_s)
        stream = self._open(request, metadata)
        try:
            with cancellation.on_cancel(stream.close):
                while isinstance(event := stream.next_event(deadline.left()), StreamToken):
                    token = GenerateResponse.FromString(event.data)
                    yield AnswerToken(token.index, token.text, token.generated_at_ns / 1e9)
            code, message = status_of(decode_outcome(event.trailer))
        except StopIteration:
            raise AnswerFailed("cancelled", "its reader has left") from None
        except TimeoutError as error:
            raise deadline.passed() from error
        except DecodeError as error:
            raise AnswerFailed("data_loss", "a token cannot be decoded") from error
        except StreamLost as error:
            raise AnswerFailed("unavailable", f"the path to the origin relay was lost: {error}") from error
        finally:
            stream.close()
        if code.value[0]:
            raise AnswerFailed(code.name.lower(), message)

    def _open(self, request: LoadRequest, metadata: dict[str, str]) -> Stream:
        body = GenerateRequest(prompt=request.prompt, max_tokens=request.max_tokens)
        body.token_gap.FromNanoseconds(round(request.token_gap_s * 1e9))
        call = make_call(names.GENERATE, body.SerializeToString(), metadata, timeout=request.timeout_s)
        message = encode_begin(secrets.token_bytes(ANSWER_ID_SIZE), call)
        try:
            with self._lock:
                return self._session().open(message, scheme=self._scheme)
        except LocalProtocolError as error:
            raise AnswerFailed("resource_exhausted", str(error)) from error
        except OSError as error:
            raise AnswerFailed("unavailable", f"no way to the origin relay: {reason_of(error)}") from error

    def _session(self) -> BlockingUdpClient:
        """Return the session, a new one if there is none or it was lost."""
        if self._udp is None or not self._udp.alive:
            self._udp = BlockingUdpClient(self._address, schemes.get)
            threading.Thread(target=self._udp.run, daemon=True).start()
        return self._udp
