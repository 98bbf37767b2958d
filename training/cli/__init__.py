"""The command line of training: each command parses, makes one call, and prints."""

from functools import partial
from typing import Any

import click

from engine.cli.console import Program
from engine.interruption import in_background
from training.cli.backtest import backtest
from training.cli.evaluate import evaluate
from training.cli.export import export
from training.cli.fit import fit
from training.cli.promotion import promote, rollback
from training.cli.report import report
from training.cli.schema import schema
from training.cli.sign import sign
from training.cli.simulate import simulate


class _Training(Program):
    """Runs commands on a thread of their own, because libraries that fit models ignore signals."""

    def run(self, *args: Any, **extra: Any) -> object:  # noqa: ANN401
        """Run the command line; a signal ends it without waiting."""
        return in_background(partial(super().run, *args, **extra))


@click.group(name="training", cls=_Training)
def main() -> None:
    """Fit, measure and promote ONNX bundles for the engine.

    Every option can be set from the environment: TRAINING_FIT_SEED=8 sets --seed of fit.
    """


for command in (simulate, schema, fit, evaluate, report, export, sign, promote, rollback, backtest):
    main.add_command(command)
