"""What several commands share: an option, and checks before they begin."""

from importlib.util import find_spec
from pathlib import Path

import click

from engine.cli.options import PLACE
from engine.errors import UsageError, quoted

MAX_SEED = 2**32 - 1
"""The largest that scikit-learn takes."""

DEFAULT_SEED = 7
FIT_PACKAGES = ("lightgbm", "onnx", "scipy", "skl2onnx", "sklearn", "threadpoolctl")
REPORT_PACKAGES = ("altair", "jinja2", "vl_convert")

schema_option = click.option(
    "--schema", type=PLACE, help="A schema.toml that describes the table.  [default: ShopNow's own]"
)


def check_packages(packages: tuple[str, ...]) -> None:
    """Refuse to begin where the lean engine alone is installed.

    Raises:
        UsageError: A package that the command needs is absent.
    """
    absent = [name for name in packages if find_spec(name) is None]
    if absent:
        raise UsageError(
            f"{quoted(absent)} not installed: this command needs the training packages. "
            "Run: pip install 'shopnow-scoring[training]', or in a clone: pip install '.[training]'"
        )


def check_output(out: Path, bundle: Path, data: tuple[str, ...]) -> None:
    """Refuse a place for results that is an input, or within a bundle.

    Raises:
        UsageError: It is; the message says which.
        CannotCreateError: Its links lead in a circle.
        NoInputError: An input is not there.
    """
    from engine.inputs.open import input_paths
    from engine.outputs.paths import check_apart, check_links, check_outside_bundles

    check_links(out)
    check_apart([out], data, input_paths(data))
    check_outside_bundles(out, bundle)
