"""The command line: every command is a function in `commands/`, and the Makefile's words call them."""

from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from eloquent.commands import doctor, fleet, load, measure, relay, report, simulation, testbed, watch
from eloquent.errors import EloquentError
from eloquent.terminal import Output

errors = Output(stderr=True)


class _Commands(TyperGroup):
    """Commands, and groups of them, whose errors get one sentence each."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; turn an error that is meant for the user into one sentence and exit status 1."""
        try:
            return super().invoke(ctx)
        except EloquentError as error:
            errors.print("[bold red]error:[/]", escape(str(error)), soft_wrap=True, highlight=False)
            raise typer.Exit(1) from None


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(testbed.up)
app.command()(testbed.status)
app.command()(testbed.down)
app.command("exec")(testbed.execute)
app.command("check-host")(testbed.check_host)
app.command()(fleet.fleet)
app.command()(load.load)
app.command()(load.load_capacity)
app.command()(watch.top)
app.command()(report.summary)
app.command()(report.report)
app.command()(report.compare)
app.command()(simulation.simulate)
app.command()(simulation.reproduce)
app.command()(simulation.agreement)
app.command()(relay.origin)
app.command()(relay.edge)
app.command()(relay.key)
app.command()(relay.page_token)
app.command()(doctor.doctor)
app.add_typer(measure.app, name="measure")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
