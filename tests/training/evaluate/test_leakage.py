from dataclasses import replace

import numpy as np
import pytest

from engine.bundle.schema import Feature
from training.evaluate.leakage import Parts, copied_users, leakage_checks, shuffled_labels

ROWS = 6_000


def parts_of(columns, label, p, train=None, test=None):
    features = np.column_stack(columns).astype(np.float32)
    train = np.arange(4_000) if train is None else train
    test = np.arange(4_000, len(label)) if test is None else test
    return Parts(features, label, train, test, p[test], np.arange(len(label)))


@pytest.fixture
def honest():
    """Six features, one of which tells something of the label; the true probability as model."""
    rng = np.random.default_rng(0)
    columns = list(rng.normal(size=(6, ROWS)))
    p = 1 / (1 + np.exp(1.5 - 1.2 * columns[0] - 0.9 * columns[1]))
    return columns, (rng.random(ROWS) < p).astype(np.int8), p


def checked(columns, label, p, **parts):
    features = tuple(Feature(f"f{n}", "numeric") for n in range(len(columns)))
    return leakage_checks(parts_of(columns, label, p, **parts), features, seed=1)


def test_honest_data_gives_no_reason(honest):
    found = checked(*honest)
    assert (found["reasons"], found["broken"]) == ([], [])
    assert found["single_features"][0]["feature"] == "f0"
    assert found["shuffled_labels"]["roc_auc"] < found["shuffled_labels"]["bound"]
    assert found["copied_users"]["rows"] == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_copy_of_the_label_is_found(honest, sign):
    columns, label, p = honest
    found = checked([*columns, sign * label], label, p)
    assert found["single_features"][0] == {"feature": "f6", "roc_auc": 1.0, "suspicious": True}
    assert "f6 is the label under another name" in found["broken"][0]
    assert "f6 alone reaches" in found["reasons"][0]


def test_a_label_that_hides_in_what_is_missing_is_found(honest):
    columns, label, p = honest
    found = checked([*columns, np.where(label == 1, np.nan, columns[2])], label, p)
    assert found["single_features"][0]["roc_auc"] == 1


def test_a_feature_nearly_as_good_as_the_model_is_suspicious(honest):
    columns, label, p = honest
    found = checked([*columns, p], label, p)
    assert [f["feature"] for f in found["single_features"] if f["suspicious"]] == ["f6"]
    assert found["reasons"]
    assert not found["broken"]


def test_a_single_feature_may_be_as_good_as_the_model(honest):
    _, label, p = honest
    assert checked([p], label, p)["reasons"] == []


def test_rows_in_two_parts_are_found_by_shuffled_labels(honest):
    columns, label, p = honest
    parts = parts_of(columns, label, p, test=np.arange(3_000, 6_000))
    found = shuffled_labels(parts, parts.train, parts.test, seed=1)
    assert found["roc_auc"] > found["bound"]
    reasons = checked(columns, label, p, test=np.arange(3_000, 6_000))["broken"]
    assert "rows leak between the parts" in reasons[0]


def test_copies_of_users_are_found(honest):
    columns, label, p = honest
    double = [np.concatenate([c, c[:600]]) for c in columns]
    label, p = np.concatenate([label, label[:600]]), np.concatenate([p, p[:600]])
    found = checked(double, label, p)
    assert found["copied_users"]["rows"] == 600
    assert "are copies of training users" in found["broken"][0]


def test_users_who_happen_to_look_alike_are_no_copies(honest):
    columns, _, _ = honest
    levels = columns[0].round()
    p = 1 / (1 + np.exp(1.5 - levels))
    label = (np.random.default_rng(5).random(ROWS) < p).astype(np.int8)
    parts = parts_of([levels], label, p)
    assert copied_users(parts)["share"] > 0.99
    assert checked([levels], label, p)["broken"] == []


@pytest.mark.parametrize("named", [True, False], ids=["ids", "no ids"])
def test_users_who_come_again_as_they_were_are_no_copies(honest, named):
    columns, label, p = honest
    again = [np.concatenate([c[:4_000], c[:2_000]]) for c in columns]
    label, p = (
        np.concatenate([label[:4_000], label[:2_000]]),
        np.concatenate([p[:4_000], p[:2_000]]),
    )
    parts = parts_of(again, label, p)
    assert copied_users(parts)["share"] == 1
    users = np.concatenate([np.arange(4_000), np.arange(2_000)]) if named else None
    assert copied_users(replace(parts, users=users))["share"] == 0


def test_a_part_of_one_label_measures_nothing_when_shuffled(honest):
    columns, label, p = honest
    parts = parts_of(columns, label, p)
    found = shuffled_labels(parts, parts.train, parts.test[:1], seed=1)
    assert (found["roc_auc"], found["bound"]) == (None, None)
