"""What several commands share: options, and checks before they begin."""

from pathlib import Path

import click

from engine.cli.options import INPUT, PLACE
from engine.cli.options import check_packages as check_extra

MAX_SEED = 2**32 - 1
"""The largest that scikit-learn takes."""

FIT_PACKAGES = ("lightgbm", "onnx", "scipy", "skl2onnx", "sklearn", "threadpoolctl")
REPORT_PACKAGES = ("jinja2", "vl_convert")

schema_option = click.option(
    "--schema", type=PLACE, help="A schema.toml that describes the table.  [default: ShopNow's own]"
)

data_argument = click.argument("data", nargs=-1, required=True, metavar="DATA...", type=INPUT)
seed_option = click.option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    metavar="N",
    default=7,
    help="The seed of every random draw.",
)


def check_packages(packages: tuple[str, ...]) -> None:
    """Check that the packages of training are installed.

    Raises:
        UsageError: One is missing.
    """
    check_extra(packages, "training")


def check_output(out: Path, bundle: Path | None, data: tuple[str, ...]) -> None:
    """Check that an output is not an input and does not lie in a bundle.

    Raises:
        UsageError: It is or does; the message says which.
        CannotCreateError: Its links lead in a circle.
        NoInputError: An input does not exist.
    """
    from engine.inputs.objects import is_object
    from engine.inputs.open import input_paths
    from engine.outputs.paths import check_apart, check_links, check_outside_bundles

    check_links(out)
    check_apart([out], data, input_paths([text for text in data if not is_object(text)]))
    check_outside_bundles(out, bundle)
