"""`eloquent top`: what the board shows, for a terminal."""

import asyncio
import contextlib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from eloquent.commands.extras import needs
from eloquent.errors import ConfigurationError
from eloquent.terminal import Output

console = Output()
REFRESH = 2.0  # seconds: Prometheus knows nothing newer


@needs("testbed")
def top(
    *,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end, for pipes and scripts.")] = False,
) -> None:
    """Watch schemes, clients, alerts and the load of the testbed that is up, until Ctrl-C."""
    from eloquent.emulation.testbed import Testbed

    status = Testbed().status()
    if status is None:
        raise ConfigurationError("no testbed is up: bring one up with make up")
    if "urls" not in status:
        raise ConfigurationError("the testbed is still being built: try again in a moment")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch(status, once=once))


async def _watch(status: dict[str, Any], *, once: bool) -> None:
    from eloquent.watch.facts import flaws_of
    from eloquent.watch.prometheus import Prometheus, PrometheusError
    from eloquent.watch.top import read_frame, render

    prometheus = Prometheus(status["urls"]["Prometheus"])

    async def draw() -> RenderableType:
        where = f"{status['scenario'].partition(' ')[0].removeprefix('name=')} on {status['carrier']} links"
        title = f"{datetime.now().astimezone():%H:%M:%S}  {where}, {len(status['clients'])} clients; the last minute"
        return render(await read_frame(prometheus), title=title, flaws=flaws_of(Path(status["run"])))

    try:
        if once:
            console.print(await draw())
            return
        with Live(await draw(), console=console, screen=console.is_terminal, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(REFRESH)
                try:
                    live.update(await draw(), refresh=True)
                except PrometheusError as error:  # the testbed may be busy, or gone: the reader decides
                    live.update(Text(f"{error}\nCtrl-C ends", style="bold red"), refresh=True)
    finally:
        await prometheus.close()
