"""What the driver of a relay's endpoint counts by itself, brought to the metrics page."""

from collections import Counter

from eloquent import telemetry
from eloquent.drivers.udp import UdpClient, UdpServer
from eloquent.relay.quic.client import QuicClient
from eloquent.relay.quic.server import QuicServer
from eloquent.relay.sealed.client import SealedClient
from eloquent.relay.sealed.server import SealedServer


class DriverCounts:
    """What a driver has counted, up to the latest look.

    Args:
        driver: The driver; its endpoint may be sealed or not.
        metrics: Where it is shown, perhaps with that of other drivers.
    """

    def __init__(self, driver: UdpClient | UdpServer, metrics: telemetry.SessionMetrics) -> None:
        self._driver = driver
        self._metrics = metrics
        self._before: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    def look(self) -> None:
        """Bring the metrics up to date."""
        driver, metrics = self._driver, self._metrics
        metrics.malformed_datagrams.inc(self._more("malformed", driver.malformed))
        metrics.datagram_bytes.labels("in").inc(self._more("in", driver.bytes_in))
        metrics.datagram_bytes.labels("out").inc(self._more("out", driver.bytes_out))
        endpoint = driver.endpoint
        if isinstance(endpoint, SealedClient | SealedServer | QuicClient | QuicServer):
            account = endpoint.account
            metrics.path_packets.inc(self._more("expected", account.expected))
            metrics.path_lost_packets.inc(self._more("lost", account.expected - account.opened))
            for reason, count in (account.dropped - self._dropped).items():
                metrics.dropped_datagrams.labels(reason).inc(count)
            self._dropped = account.dropped.copy()

    def _more(self, name: str, count: int) -> int:
        """Return by how much a count has grown; what shrinks, as losses do by a datagram that is late, waits until it grows."""
        more = max(count - self._before[name], 0)
        self._before[name] += more
        return more
