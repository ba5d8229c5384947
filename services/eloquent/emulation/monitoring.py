"""Prometheus in the lab's management network, and the door through which the user's browser reaches it.

Prometheus listens on the loopback of the lab's own namespace. The socket that the user connects to was opened outside, on the
machine's 127.0.0.1, before the lab existed, and handed in: nothing of the machine's network is changed, and the door falls shut
with the lab.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from eloquent.emulation.options import REPOSITORY
from eloquent.emulation.processes import LabProcess

LISTEN_PORT = 9090  # inside the lab's namespace, where nobody else is
SCRAPE_INTERVAL = "2s"  # a stall is to be seen within 5 s; more often costs the load its time
RULES = REPOSITORY / "dashboards" / "prometheus" / "rules"
RETENTION = "7d"
CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Target:
    """A page of metrics.

    Attributes:
        role: What serves it; becomes the label `role`.
        host: Which host it runs on; becomes the label `host`.
        address: HOST:PORT on the management network.
    """

    role: str
    host: str
    address: str


def make_prometheus(folder: Path, targets: Iterable[Target], *, logs: Path) -> LabProcess:
    """Write Prometheus's configuration and give its process, not yet started.

    Args:
        folder: Where configuration and data go.
        targets: What to scrape.
        logs: Folder of the log files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    discovered = [
        {"targets": [target.address], "labels": {"role": target.role, "host": target.host}} for target in targets
    ]
    (folder / "targets.json").write_text(json.dumps(discovered, indent=1), encoding="utf-8")
    configuration = {
        "global": {"scrape_interval": SCRAPE_INTERVAL, "evaluation_interval": SCRAPE_INTERVAL},
        "rule_files": [str(RULES / "*.yml")],
        "scrape_configs": [{"job_name": "eloquent", "file_sd_configs": [{"files": [str(folder / "targets.json")]}]}],
    }
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
    return LabProcess(
        "prometheus",
        [
            "prometheus",
            f"--config.file={path}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--storage.tsdb.retention.time={RETENTION}",
            f"--web.listen-address=127.0.0.1:{LISTEN_PORT}",
            "--log.level=warn",
        ],
        log=logs / "prometheus.log",
    )


async def open_door(outside: socket.socket) -> asyncio.Server:
    """Carry each connection to `outside` on to Prometheus.

    Args:
        outside: A listening socket of the machine's own network namespace.
    """
    return await asyncio.start_server(_carry, sock=outside)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer):
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", LISTEN_PORT)
        except OSError:
            return  # Prometheus is not up yet, or gone: the caller sees its connection closed
        with contextlib.closing(inner_writer):
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
