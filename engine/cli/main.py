"""The command line of the engine: each command parses, makes one call, and prints."""

import click

from engine.cli.audience import audience
from engine.cli.console import Program
from engine.cli.drift import drift
from engine.cli.explain import explain
from engine.cli.inspect import inspect
from engine.cli.report import report
from engine.cli.score import score
from engine.cli.validate import validate
from engine.cli.verify import verify
from engine.versions import running_versions


def _print_versions(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(" ".join(f"{name} {version}" for name, version in running_versions().items()))
        context.exit()


@click.group(name="engine", cls=Program)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_versions,
    help="Show the versions that decide the bytes of an output.",
)
def main() -> None:
    """Score users with an ONNX bundle.

    Every option can be set from the environment: ENGINE_SCORE_THREADS=2 sets --threads of score,
    ENGINE_BUNDLE the bundle of every command.
    """


for command in (score, audience, validate, inspect, verify, explain, drift, report):
    main.add_command(command)
