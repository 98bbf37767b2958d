"""Leakage: four checks that the model does not know the outcome.

A single feature that does nearly all the work may be the label under another name; many features
together may know parts of it, or be as good as that; shuffled labels must not be predictable; test
users must not be copies of training users.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

from engine.bundle.schema import Feature
from training.data.seen import row_hashes
from training.metrics.metrics import rank, roc_auc, rounded
from training.model.baselines import rate_by_value

SUSPICIOUS_AUC = 0.95
LABEL_AUC = 0.99
NEAR_MODEL_AUC = 0.80
NEAR_MODEL_SHARE = 0.95
"""A feature is suspicious from `SUSPICIOUS_AUC` on, or from `NEAR_MODEL_AUC` on if its excess over 0.5
is this share of the model's. From `LABEL_AUC` on it is the label under another name. A model is
suspicious from `SUSPICIOUS_AUC` on too."""

MODEL_FEATURES = 3
"""With fewer features, one that does nearly all the work is no surprise."""

CHECKED_ROWS = 40_000
TREES = 20
STANDARD_ERRORS = 4.0
COPIED_SHARE = 0.01
SHUFFLED = {
    "objective": "binary",
    "num_leaves": 63,
    "min_data_in_leaf": 2,
    "learning_rate": 0.3,
    "max_bin": 63,
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": 1,
    "verbose": -1,
}
"""Trees that memorise their training users."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Users that a model was fitted to, and users on whom it is measured.

    Attributes:
        features: Of all users, float32 [rows, features], NaN where missing.
        label: int8 [rows].
        train: Row numbers of the train part, int64.
        test: Row numbers of the test part, int64.
        probability: The scores of the test part, float [rows of test].
        users: A number for each user, int64 [rows]; None if users may have several rows but no id.
    """

    features: np.ndarray
    label: np.ndarray
    train: np.ndarray
    test: np.ndarray
    probability: np.ndarray
    users: np.ndarray | None


def leakage_checks(parts: Parts, features: tuple[Feature, ...], seed: int) -> dict[str, Any]:
    """All checks, with their findings in words; plain JSON values.

    Args:
        parts: Users, in their parts.
        features: The model's features, in order.
        seed: Of the checked sample and of the shuffled labels.
    """
    kept = np.random.default_rng(seed).random(len(parts.label)) < CHECKED_ROWS / len(parts.label)
    train, test = parts.train[kept[parts.train]], parts.test
    label = parts.label[test]
    model = roc_auc(rank(parts.probability, label), np.ones(len(label)))
    single = single_features(parts, train, tuple(feature.name for feature in features), model)
    shuffled = shuffled_labels(parts, train, test[kept[test]], seed)
    copies = copied_users(parts)
    together = joint_features(single, model)
    broken = _broken(shuffled, copies)
    suspicious = [
        f"{found['feature']} alone reaches a ROC-AUC of {found['roc_auc']:.3f}: it may know the outcome"
        for found in single
        if found["suspicious"]
    ]
    labels = [
        f"{found['feature']} is the label under another name: alone it reaches a ROC-AUC of "
        f"{found['roc_auc']:.3f}"
        for found in single
        if found["roc_auc"] >= LABEL_AUC
    ]
    return rounded(
        {
            "single_features": single,
            "joint_features": together,
            "shuffled_labels": shuffled,
            "copied_users": copies,
            "reasons": [*suspicious, *broken],
            "broken": [*labels, *broken],
            "cautions": _cautions(together, single),
        }
    )


def single_features(
    parts: Parts, train: np.ndarray, names: tuple[str, ...], model_auc: float
) -> list[dict[str, Any]]:
    """How well each feature alone ranks the test users, the strongest first.

    Users are scored by the purchase rate of training users with similar values, so that neither
    direction nor shape matters, and missing is a value like any other.

    Args:
        parts: Users, in their parts.
        train: The training users to use, int64.
        names: Of the features, in order.
        model_auc: The ROC-AUC of the model on the test users.
    """
    label = parts.label[parts.test]
    found = []
    for column, name in enumerate(names):
        values = parts.features[:, column]
        scores = rate_by_value(values[train], parts.label[train], values[parts.test])
        auc = roc_auc(rank(scores, label), np.ones(len(label)))
        near = auc >= NEAR_MODEL_AUC and auc - 0.5 >= NEAR_MODEL_SHARE * (model_auc - 0.5)
        suspicious = auc >= SUSPICIOUS_AUC or (near and len(names) >= MODEL_FEATURES)
        found.append({"feature": name, "roc_auc": auc, "suspicious": suspicious})
    return sorted(found, key=lambda one: -one["roc_auc"])


def joint_features(single: Sequence[Mapping[str, Any]], model_auc: float) -> dict[str, Any]:
    """How well the model ranks the test users, and whether that is rarely true.

    A single feature that is suspicious explains it, and is named by itself.

    Args:
        single: As `single_features` returns them.
        model_auc: The ROC-AUC of the model on the test users.
    """
    suspicious = model_auc >= SUSPICIOUS_AUC and not any(found["suspicious"] for found in single)
    return {"roc_auc": model_auc, "suspicious": suspicious and len(single) >= MODEL_FEATURES}


def shuffled_labels(parts: Parts, train: np.ndarray, test: np.ndarray, seed: int) -> dict[str, Any]:
    """The ROC-AUC of trees that memorise their users, fitted to labels shuffled over all rows.

    An AUC further above 0.5 than chance allows shows that rows of the train part are also in the
    test part (a permutation test: Ojala & Garriga 2010). Copies of a row get labels of their own;
    `copied_users` finds those.

    Args:
        parts: Users, in their parts.
        train: Row numbers the trees are fitted to, int64.
        test: Row numbers they are measured on, int64.
        seed: Of the shuffled labels.
    """
    label = np.random.default_rng([seed, 1]).permutation(parts.label)
    buyers, rows = int(label[test].sum()), len(test)
    if not (0 < buyers < rows and 0 < label[train].sum() < len(train)):
        return {"rows": rows, "roc_auc": None, "bound": None}
    data = lgb.Dataset(parts.features[train], label[train], params=SHUFFLED)
    booster = lgb.train({**SHUFFLED, "seed": seed}, data, TREES)
    scores = np.asarray(booster.predict(parts.features[test], raw_score=True, num_threads=1))
    # The standard error of the Mann-Whitney statistic if nothing can be predicted.
    error = float(np.sqrt((rows + 1) / (12 * buyers * (rows - buyers))))
    return {
        "rows": rows,
        "roc_auc": roc_auc(rank(scores, label[test]), np.ones(rows)),
        "bound": 0.5 + STANDARD_ERRORS * error,
    }


def copied_users(parts: Parts) -> dict[str, Any]:
    """Test users whose every feature is that of a training user, and whether their labels agree.

    Different users with equal features agree as often as their probabilities say; copies always do.
    `excess` is the difference in standard errors. The same user on a later date is no copy.

    Args:
        parts: Users, in their parts.
    """
    if parts.users is None:
        return {"rows": 0, "share": 0.0, "excess": 0.0}
    _, group = np.unique(row_hashes(parts.features), return_inverse=True)
    first = np.full(int(group.max()) + 1, -1, np.int64)
    # The first row of each group in the train part: the last one written stays.
    first[group[parts.train[::-1]]] = parts.train[::-1]
    twin = first[group[parts.test]]
    found = (twin >= 0) & (parts.users[twin] != parts.users[parts.test])
    p = parts.probability[found].astype(np.float64)
    expected = p**2 + (1 - p) ** 2
    agreed = parts.label[twin[found]] == parts.label[parts.test[found]]
    error = float(np.sqrt((expected * (1 - expected)).sum()))
    excess = float((agreed - expected).sum()) / error if error else 0.0
    return {"rows": int(found.sum()), "share": float(found.mean()), "excess": excess}


def _cautions(together: Mapping[str, Any], single: Sequence[Mapping[str, Any]]) -> list[str]:
    """What may be true, and should be looked into all the same: it costs no quality band."""
    if not together["suspicious"]:
        return []
    return [
        f"All features together reach a ROC-AUC of {together['roc_auc']:.3f}, none of them alone more than "
        f"{single[0]['roc_auc']:.3f}: several may know a part of the outcome. Check when each is known."
    ]


def _broken(shuffled: dict[str, Any], copies: dict[str, Any]) -> list[str]:
    """What makes every figure of the test users worthless."""
    reasons = []
    if shuffled["roc_auc"] is not None and shuffled["roc_auc"] > shuffled["bound"]:
        reasons.append(
            f"rows leak between the parts: shuffled labels are predicted with a ROC-AUC of "
            f"{shuffled['roc_auc']:.3f}, by chance at most {shuffled['bound']:.3f}"
        )
    if copies["share"] > COPIED_SHARE and copies["excess"] > STANDARD_ERRORS:
        reasons.append(
            f"{copies['share']:.1%} of the test users are copies of training users, labels included"
        )
    return reasons
