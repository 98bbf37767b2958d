"""The command line of training: each command parses, makes one call, and prints."""

import click

from engine.cli.console import Program
from training.cli.backtest import backtest
from training.cli.evaluate import evaluate
from training.cli.fit import fit
from training.cli.promotion import promote, rollback
from training.cli.report import report
from training.cli.simulate import simulate


@click.group(name="training", cls=Program)
def main() -> None:
    """Fit, measure and promote ONNX bundles for the engine.

    Every option can be set from the environment: TRAINING_FIT_SEED=8 sets --seed of fit.
    """


for command in (simulate, fit, evaluate, report, promote, rollback, backtest):
    main.add_command(command)
