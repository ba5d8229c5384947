"""Capture packets with tcpdump while sessions run.

Rules of this file: what cannot be captured is said in one sentence, and the sessions run all the same. tcpdump is ended by
its own process id; in immediate mode, or the last second would stay in the kernel. Only the first bytes of each packet
are kept: headers, not what was said.
"""

import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SNAPLEN = 128  # bytes kept of a packet: Ethernet, IPv6 and TCP with all its options
_START_TIME = 5.0  # seconds for tcpdump to say that it listens
_LINGER = 0.5  # seconds for the last acknowledgements, and for the kernel to hand over what it buffered


@dataclass(slots=True)
class Capturing:
    """A capture under way.

    Attributes:
        path: The file; None where nothing is captured.
        refusal: Why nothing is captured; None where something is.
    """

    path: Path | None
    refusal: str | None


def probe() -> str | None:
    """Return why this machine cannot capture, or None."""
    return None if shutil.which("tcpdump") else "tcpdump is not installed (apt install tcpdump)"


@contextmanager
def capturing(path: Path, *, port: int, interface: str = "any") -> Iterator[Capturing]:
    """Capture the TCP packets of a port while the block runs.

    Args:
        path: The file to write.
        port: Port of the server.
        interface: Name of the interface.
    """
    refusal = probe()
    if refusal is not None:
        yield Capturing(None, refusal)
        return
    words = [
        "tcpdump",
        "-i",
        interface,
        "-n",
        "-U",
        "--immediate-mode",
        "-s",
        str(SNAPLEN),
        "-w",
        str(path),
        f"tcp port {port}",
    ]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    with process.stderr:
        said = _until_listening(process)
        if "listening on" not in said:
            process.kill()
            process.wait()
            yield Capturing(None, f"tcpdump cannot capture: {' '.join(said.split()) or 'it does not answer'}")
            return
        try:
            yield Capturing(path, None)
        finally:
            time.sleep(_LINGER)
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_START_TIME)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until_listening(process: subprocess.Popen[bytes]) -> str:
    """Return what tcpdump says up to the line that it listens, or up to its end."""
    assert process.stderr is not None
    said = b""
    deadline = time.monotonic() + _START_TIME
    while b"listening on" not in said and time.monotonic() < deadline:
        if not select.select([process.stderr], [], [], deadline - time.monotonic())[0]:
            break
        chunk = process.stderr.read1(4096)  # type: ignore[attr-defined]  # a BufferedReader
        if not chunk:
            break
        said += chunk
    return said.decode(errors="replace")
