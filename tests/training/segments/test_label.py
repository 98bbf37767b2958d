"""Segments know nothing of the label: not their space, nor their number, users, names or figures."""

import polars as pl
import pytest

from engine.bundle.evaluation import read_evaluation
from engine.bundle.open import open_bundle
from engine.model.session import Session
from engine.rows.typed import to_features
from tests.fitted import LEAST
from tests.fitting import category, number, schema_of, shop_users
from tests.helpers import write_table
from training.data.dataset import load_dataset
from training.data.scored import run_engine
from training.pipeline import FitOptions, fit

TABLE = schema_of(
    number("visits", min=0),
    number("spend", min=0),
    category("tier"),
    category("city", values=["rome", "oslo", "bern"]),
    category("shop"),
    id="customer",
)


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """Two bundles of the same users, the second with purchases dealt out anew."""
    folder, found = tmp_path_factory.mktemp("fits"), []
    users = shop_users(1_500, 1)
    for name, bought in (("one", pl.col("bought")), ("other", pl.col("bought").shuffle(seed=1))):
        path = write_table(users.with_columns(bought), folder / f"{name}.parquet")
        fit([str(path)], FitOptions(TABLE, effort=LEAST), folder / name)
        found.append(open_bundle(folder / name))
    return load_dataset([str(path)], TABLE).typed, found


def test_the_label_orders_the_codes_and_nothing_of_the_segments(fits):
    typed, bundles = fits
    assert bundles[0].manifest.categories != bundles[1].manifest.categories
    segments, clustering, profiles = [], [], []
    for bundle in bundles:
        manifest, record = bundle.manifest, read_evaluation(bundle).fit
        features = to_features(typed, manifest.schema.model_features, manifest.categories)
        segments.append((run_engine(Session(bundle), features).segment.tolist(), manifest.segments))
        transforms = record.clustering.pop("transforms")
        assert sum(transform.startswith("equals ") for transform in transforms) >= 2
        clustering.append(record.clustering)
        profiles.append(record.profiles)
    assert segments[0] == segments[1]
    assert clustering[0] == clustering[1]
    assert profiles[0] == profiles[1]
