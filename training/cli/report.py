"""`training report`."""

import os
from pathlib import Path

import click

from engine.cli.console import say
from engine.cli.options import PLACE, command
from training.cli.checks import (
    FIT_PACKAGES,
    REPORT_PACKAGES,
    check_output,
    check_packages,
    data_argument,
)


@command("training report candidate holdout.parquet --out report.html --what-if what_if")
@click.argument("bundle", type=PLACE)
@data_argument
@click.option("-o", "--out", type=PLACE, required=True, help="The page to write, an .html file.")
@click.option(
    "--what-if",
    type=PLACE,
    help="Also write a second page to this folder, where the model scores values that you set.",
)
def report(bundle: Path, data: tuple[str, ...], out: Path, what_if: Path | None) -> None:
    """Measure a bundle on labelled users and write an HTML report.

    The first page is for marketing: whom to contact, how many, with what and why. A second one
    beside it, report.analyst.html, has every figure. The pages hold aggregates only and load
    nothing from elsewhere. An earlier report is replaced; any other existing file is an error.
    """
    check_packages((*FIT_PACKAGES, *REPORT_PACKAGES))
    from engine.bundle.open import open_bundle
    from engine.outputs.paths import real_path
    from engine.pages.place import check_place
    from engine.storage import SHARED_MODE, storage_errors, write_atomic
    from training.data.dataset import load_dataset
    from training.data.scored import score_users
    from training.evaluate.evaluation import evaluate_users
    from training.report.page import GENERATOR, analyst_name, report_pages
    from training.report.subject import measured_subject
    from training.report.what_if.folder import check_folder, write_folder
    from training.report.what_if.page import PAGE, what_if_files
    from training.report.what_if.typical import usual_users

    places = (out, out.with_name(analyst_name(out.name)))
    for place in places:
        check_output(place, bundle, data)
        with storage_errors(place):
            check_place(place, GENERATOR)
    if what_if is not None:
        check_output(what_if / PAGE, bundle, data)
        with storage_errors(what_if):
            check_folder(what_if)
    opened = open_bundle(bundle)
    users = score_users(opened, load_dataset(data, opened.manifest.schema))
    subject = measured_subject(opened, evaluate_users(opened, users, data))
    beside = (
        None
        if what_if is None
        else os.path.relpath(real_path(what_if / PAGE), real_path(out.parent))
    )
    pages = report_pages(subject, out.name, beside)
    contents = (
        {}
        if what_if is None
        else what_if_files(opened, subject, usual_users(opened.manifest, users))
    )
    # The first page last: what it links to is there.
    for place in reversed(places):
        with storage_errors(place):
            # Measuring takes minutes.
            check_place(place, GENERATOR)
            write_atomic(place, pages[place.name], SHARED_MODE)
    say([f"report on {subject.manifest.bundle_id} in {out}, every figure in {places[1]}"])
    if what_if is not None:
        write_folder(what_if, contents)
        say([f"what-if page in {what_if / PAGE}"])
