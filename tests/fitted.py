"""Bundles that many tests share.

Each is fitted once for a state of the code, by the test worker that asks for it first; the others
wait for it. They stay in build/ until the code changes. A test that alters one alters a copy.
"""

import fcntl
import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

import training.pipeline
from engine.bundle.evaluation import Evaluation
from engine.bundle.open import open_bundle
from engine.bundle.schema import FeatureSchema
from tests.fitting import SHOP, category, number, schema_of, shop_users
from tests.helpers import ROOT, write_table
from tests.weekly import LEAKING, TABLE, leak, users_of
from training.effort import Effort
from training.export.bundle import code_fingerprint, package_versions
from training.pipeline import FitOptions, Progress, fit
from training.report.subject import measured_subject
from training.report.text import evaluation_lines

SMALL = Effort(trials=2, kmeans_starts=2, refits=2, fits=2)
"""Enough to go every way of a fit; what the default effort gives is measured on the committed bundle."""

LEAST = Effort(trials=1, kmeans_starts=1, refits=1, fits=1)
"""For what neither the choice of trees nor that of segments decides."""

SHELF = ROOT / "build" / "test-bundles"
KEPT_SECONDS = 86_400
DATA = tuple(Path(__file__).with_name(f"{name}.py") for name in ("fitted", "fitting", "weekly"))


@dataclass(frozen=True, slots=True)
class Fitted:
    """A folder with a bundle and the users that it was fitted to. Nobody writes into it."""

    folder: Path

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle"

    @property
    def users(self) -> Path:
        return self.folder / "users.parquet"


def shop() -> Fitted:
    """Customers of `SHOP`, and a bundle that may be used."""
    return fitted("shop", lambda: shop_users(3_000, 1), FitOptions(SHOP, seed=3, effort=SMALL))


def tiny() -> Fitted:
    """Customers of `SHOP`, and a bundle of two of their features."""
    schema = schema_of(number("visits"), category("tier"), id="customer")
    return fitted("tiny", lambda: shop_users(1_500, 1), FitOptions(schema, effort=SMALL))


def shuffled() -> Fitted:
    """Customers whose purchases are dealt out anew, and a bundle that must not be used."""
    users = pl.col("bought").shuffle(seed=1)
    return fitted(
        "shuffled",
        lambda: shop_users(3_000, 1).with_columns(users),
        FitOptions(SHOP, effort=SMALL),
    )


def champion() -> Fitted:
    """The first week."""
    return fitted("champion", lambda: users_of(0, 4_000), FitOptions(TABLE, effort=SMALL))


def challenger() -> Fitted:
    """The second week, which carries the segments of the first on."""
    options = FitOptions(TABLE, effort=SMALL, previous=champion().bundle)
    return fitted("challenger", lambda: users_of(1, 4_000), options)


def leaking() -> Fitted:
    """The second week, with a feature that mostly knows the outcome."""
    options = FitOptions(LEAKING, effort=SMALL, previous=champion().bundle)
    return fitted("leaking", lambda: users_of(1, 4_000, paid=leak(0.025)), options)


def fit_small(
    table: Path,
    out: Path,
    schema: FeatureSchema = SHOP,
    progress: Progress = lambda _: None,
    **options: Any,
) -> training.pipeline.Fitted:
    """A bundle of one test alone."""
    return fit([str(table)], FitOptions(schema, effort=SMALL, **options), out, progress)


def printed(bundle: Path, report: Evaluation) -> list[str]:
    """What `training evaluate` prints."""
    return list(evaluation_lines(measured_subject(open_bundle(bundle), report)))


def fitted(name: str, users: Callable[[], pl.DataFrame], options: FitOptions) -> Fitted:
    """The bundle of that name, fitted now unless it is there already."""
    found = Fitted(_shelf() / name)
    found.folder.mkdir(exist_ok=True)
    with (found.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.bundle.exists():
            write_table(users(), found.users)
            fit([str(found.users)], options, found.bundle)
    return found


@cache
def _shelf() -> Path:
    """The folder of this state of the code; those of others go once they are a day old."""
    versions = sorted(package_versions().items())
    key = [code_fingerprint(), versions, [path.read_text() for path in DATA]]
    shelf = SHELF / hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    shelf.mkdir(parents=True, exist_ok=True)
    for other in SHELF.iterdir():
        if other != shelf and time.time() - other.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(other, ignore_errors=True)
    return shelf
