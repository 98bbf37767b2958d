import numpy as np
import polars as pl
import pytest

from engine import load_bundle
from engine.words import effect_words, value_words
from tests import fitted


@pytest.fixture(scope="module")
def odd_users(users):
    """Users with every kind of value: missing ones, categories that the model does not know."""
    row = pl.int_range(pl.len())
    return users.head(3_000).with_columns(
        country=pl.when(row % 3 == 0).then(pl.lit("Atlantis")).otherwise("country"),
        device_type=pl.when(row % 4 == 1).then(None).otherwise("device_type"),
    )


@pytest.fixture(scope="module")
def scores(odd_users, scorer):
    return scorer.score(odd_users, reasons=3)


def test_reasons_are_the_drivers_in_the_words_of_one_value(odd_users, scorer, scores):
    features = {feature.name: feature for feature in scorer.manifest.schema.features}
    for n in (1, 2, 3):
        names, impacts, reasons = scores.select(
            f"driver_{n}", f"driver_{n}_impact", f"reason_{n}"
        ).get_columns()
        for row in range(0, scores.height, 7):
            feature = features[names[row]]
            value = odd_users[feature.name][row]
            is_text = feature.kind == "categorical" and value is not None
            unseen = is_text and value not in scorer.manifest.categories[feature.name]
            said = value_words(feature, value, unseen=unseen)
            assert reasons[row] == f"{said}: {effect_words(impacts[row])}"


def test_unseen_and_missing_categories_are_told_apart(scorer, users):
    """Among all drivers, so that categories, which seldom come first, are there too."""
    from engine.model import reasons
    from engine.rows.chunk import Chunk
    from engine.rows.prepare import prepare_chunk

    rows = users.head(4).with_columns(country=pl.Series(["Atlantis", None, "DE", "FR"]))
    prepared = prepare_chunk(Chunk(rows, "frame", 0, 0), scorer.manifest)
    country = [f.name for f in scorer.manifest.schema.model_features].index("country")
    predictions = scorer.session.run(prepared.features)
    only_country = predictions.driver_index * 0 + country
    predictions = reasons.Predictions(
        *(predictions.margin, predictions.probability, predictions.impacts),
        *(only_country, np.zeros_like(predictions.driver_impact), predictions.segment),
    )
    found = reasons.reason_columns(
        prepared.valid, prepared.features, predictions, scorer.manifest, 1
    )
    feature = scorer.manifest.schema.model_features[country]
    words = [value_words(feature, value) for value in (None, "DE", "FR")]
    words.insert(0, value_words(feature, "Atlantis", unseen=True))
    assert found["reason_1"].to_list() == [f"{each}: hardly matters" for each in words]
    assert len(set(words)) == 4
    assert np.isnan(prepared.features[:2, country]).all()


def test_the_reasons_of_a_model_with_two_features_end_with_null():
    tiny = fitted.tiny()
    found = load_bundle(tiny.bundle).score(pl.read_parquet(tiny.users).head(50), reasons=3)
    assert found["reason_3"].dtype == pl.String
    assert found.select(pl.col("^reason_.*$").null_count()).row(0) == (0, 0, 50)
    assert found["driver_3"].null_count() == 50


def test_no_rows_have_no_reasons(users, scorer):
    found = scorer.score(users.clear(), reasons=2)
    assert (found.height, found["reason_2"].dtype) == (0, pl.String)
