import dataclasses

import numpy as np
import polars as pl

from tests.fitting import SHOP, category, schema_of, shop_users
from training.export.bundle import with_values
from training.metrics.disclosure import MIN_USERS
from training.model.categories import fit_categories, order_by_train_rates
from training.model.trees import Sample
from training.model.validation import roc_auc


def test_values_are_ordered_by_smoothed_rate_and_ties_by_name():
    typed = pl.DataFrame({"c": ["b"] * 40 + ["a"] * 40 + ["d"] * 40 + ["e"]})
    label = np.array([1] * 30 + [0] * 10 + [0] * 40 + [1] * 30 + [0] * 10 + [1], np.int8)
    schema = schema_of(category("c", values=["d", "e", "unseen", "b", "a"]))
    # One buyer among one user says nothing: 'e' stands at the average, where 'unseen' is.
    assert fit_categories(typed, label, schema)["c"] == ("a", "e", "unseen", "b", "d")


def test_ordered_features_keep_their_order():
    users = shop_users(500, 1)
    found = fit_categories(users, users["bought"].to_numpy(), SHOP)
    assert found["tier"] == ("low", "mid", "high")
    assert set(found) == {"city", "tier", "shop"}


def test_values_that_are_not_listed_are_learned_unless_rare():
    typed = pl.DataFrame({"c": ["often"] * MIN_USERS + ["rare"] * (MIN_USERS - 1) + [None]})
    label = np.arange(typed.height, dtype=np.int8) % 2
    assert fit_categories(typed, label, schema_of(category("c")))["c"] == ("often",)


def test_a_value_of_few_users_is_not_learned_from_their_many_rows():
    schema = schema_of(category("c"), id="customer")
    values, users = ["many"] * 40 + ["few"] * 40, [*range(40), *(n % 19 for n in range(40))]
    typed = pl.DataFrame({"customer": users, "c": values})
    label = np.arange(typed.height, dtype=np.int8) % 2
    assert fit_categories(typed, label, schema)["c"] == ("many",)


def test_values_that_cannot_be_exported_have_no_code():
    typed = pl.DataFrame({"c": ["a\0", "b"]})
    schema = schema_of(category("c", values=["a\0", "b", "a\0a"]))
    found = fit_categories(typed, np.array([0, 1], np.int8), schema)
    assert set(found["c"]) == {"b", "a\0a"}


def test_folds_order_a_category_without_the_validation_labels():
    rng = np.random.default_rng(5)
    rows, values = 20_000, tuple(f"v{n:03}" for n in range(500))
    noise = pl.DataFrame({"c": np.array(values)[rng.integers(0, 500, rows)]})
    label = (rng.random(rows) < 0.2).astype(np.int8)
    learned = fit_categories(noise, label, schema_of(category("c", values=list(values))))["c"]
    codes = noise["c"].cast(pl.Enum(learned)).to_physical().to_numpy().astype(np.float32)
    both = Sample(np.column_stack([codes, np.full(rows, np.nan)]), label)
    train, validation = both.subset(np.arange(0, rows, 2)), both.subset(np.arange(1, rows, 2))
    assert roc_auc([validation.features[:, 0]], [validation]) > 0.55
    new_train, new_validation = order_by_train_rates(
        train, np.arange(rows // 2), validation, {0: learned}
    )
    assert roc_auc([new_validation.features[:, 0]], [new_validation]) < 0.52
    assert roc_auc([new_train.features[:, 0]], [new_train]) > 0.55
    # Every value keeps a code of its own, the same on both sides.
    pairs = np.concatenate(
        [
            np.column_stack([old.features[:, 0], new.features[:, 0]])
            for old, new in ((train, new_train), (validation, new_validation))
        ]
    )
    assert len(np.unique(pairs, axis=0)) == len(np.unique(pairs[:, 0])) == 500


def test_the_schema_of_a_bundle_lists_learned_values():
    schema = schema_of(category("c"), category("d", values=["y", "x"]), category("e", use=False))
    found = with_values(schema, {"c": ("z", "a"), "d": ("x", "y")})
    assert [f.values for f in found.features] == [("a", "z"), ("y", "x"), ()]
    assert dataclasses.replace(found, features=schema.features) == schema
