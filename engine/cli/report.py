"""`engine report`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.console import say
from engine.cli.options import INPUT, PLACE, check_packages, command, limit_options

if TYPE_CHECKING:
    from engine.limits import InputLimits


@command("engine report scores.parquet --out tonight.html")
@click.argument("scores", type=INPUT)
@click.option("--previous", type=INPUT, help="The scores of the run before, to compare with.")
@click.option("-o", "--out", type=PLACE, required=True, help="The page to write, an .html file.")
@limit_options
def report(scores: str, previous: str | None, out: Path, limits: "InputLimits") -> None:
    """Show a night's scores on one HTML page.

    Sizes by segment and band, the histogram of scores, who moved since the run before, alarms, and
    rows set aside. SCORES is a file written by 'engine score'; the summary beside it is read too.
    The page holds aggregates only and loads nothing. An earlier report is replaced.
    """
    check_packages(("jinja2", "vl_convert"), "report")
    from engine.inputs.open import input_paths
    from engine.interruption import check_interrupted, in_background
    from engine.outputs.paths import check_apart, check_creatable, check_outside_bundles
    from engine.pages.place import check_place
    from engine.report.night import read_night
    from engine.report.page import GENERATOR, night_html
    from engine.storage import SHARED_MODE, storage_errors, write_atomic

    inputs = [scores] if previous is None else [scores, previous]
    check_creatable(out)
    check_apart([out], inputs, input_paths(inputs))
    check_outside_bundles(out)
    with storage_errors(out):
        check_place(out, GENERATOR)
    now = read_night(scores, limits)
    before = None if previous is None else read_night(previous, limits)
    page = in_background(lambda: night_html(now, before).encode())
    # A signal that came while the page was being made is not too late.
    check_interrupted()
    with storage_errors(out):
        # Reading may take minutes.
        check_place(out, GENERATOR)
        write_atomic(out, page, SHARED_MODE)
    say([f"report on {int(now.rows.sum()):,} scores in {out}"])
