"""Features beside each other and beside the label: constants, copies, leaks and windows in windows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
from polars.selectors import by_name

from engine.bundle.schema import Feature, FeatureSchema
from engine.errors import quoted
from engine.rows.typed import to_features, to_typed
from training.evaluate.leakage import SUSPICIOUS_AUC, Parts, single_features
from training.metrics.disclosure import MIN_USERS
from training.model.categories import fit_categories
from training.schema.features import Guess
from training.schema.survey import SEED

DOUBTFUL_AUC = 0.85
"""Honest features of shops reach 0.81; the mean value of a session's own order reaches 0.87."""

MODEL_AUC = 1.0
"""There is no model yet; beside a perfect one, only a feature's own ROC-AUC makes it suspicious."""

_WINDOW = re.compile(r"(.*\D)(\d{1,4})(d|w|m|y|days|weeks|months|years)")


def check_features(
    guesses: Sequence[Guess], sample: pl.DataFrame, label: str | None, id: str | None
) -> tuple[Guess, ...]:
    """Find what only several columns show.

    Args:
        guesses: The features, each guessed on its own.
        sample: Raw rows.
        label: The column of the outcome, if there is one.
        id: The column of the user, if there is one.
    """
    if not guesses:
        return ()
    schema = FeatureSchema("draft", tuple(guess.feature for guess in guesses), id=id, label=label)
    typed = to_typed(sample, schema).frame
    found = _without_copies(_without_constants(guesses, typed), typed)
    if label is not None:
        found = _without_leaks(found, typed, _labels(sample, label), schema)
    shorter = _shorter_windows(found)
    return tuple(_with_window(guess, shorter, typed) for guess in found)


def _labels(sample: pl.DataFrame, label: str) -> np.ndarray:
    """The outcome as float32 [rows], NaN where it is missing."""
    table = FeatureSchema("label", (Feature(label, "numeric"),))
    return to_typed(sample.select(by_name(label)), table).frame[label].fill_null(np.nan).to_numpy()


def _without_constants(guesses: Sequence[Guess], typed: pl.DataFrame) -> list[Guess]:
    constant = "Constant: the same in every row."
    return [
        guess.wrong(constant) if typed[guess.feature.name].n_unique() == 1 else guess
        for guess in guesses
    ]


def _without_copies(guesses: Sequence[Guess], typed: pl.DataFrame) -> list[Guess]:
    first: dict[bytes, str] = {}
    found = []
    for guess in guesses:
        name = guess.feature.name
        column = typed[name]
        original = first.setdefault(
            str(column.dtype).encode() + column.hash(SEED).to_numpy().tobytes(), name
        )
        is_copy = guess.feature.use and original != name
        found.append(
            guess.wrong(f"Holds the same values as {quoted([original])}.") if is_copy else guess
        )
    return found


def _without_leaks(
    guesses: Sequence[Guess], typed: pl.DataFrame, label: np.ndarray, schema: FeatureSchema
) -> list[Guess]:
    known = np.flatnonzero(np.isin(label, (0, 1)))
    half = np.random.default_rng(SEED).random(len(known)) < 0.5
    parts = known[half], known[~half]
    if any(
        min(np.bincount(label[rows].astype(np.int64), minlength=2)) < MIN_USERS for rows in parts
    ):
        return list(guesses)
    train, test = parts
    outcome = np.nan_to_num(label).astype(np.int8)
    categories = fit_categories(typed[train], outcome[train], schema)
    tensor = to_features(typed, schema.features, categories)
    users = Parts(tensor, outcome, train, test, outcome[test], None)
    names = tuple(feature.name for feature in schema.features)
    auc = {
        found["feature"]: found["roc_auc"]
        for found in single_features(users, train, names, MODEL_AUC)
    }
    return [_with_leak(guess, auc[guess.feature.name]) for guess in guesses]


def _with_leak(guess: Guess, auc: float) -> Guess:
    if auc >= SUSPICIOUS_AUC:
        return guess.wrong(
            f"Alone it predicts the label with a ROC-AUC of {auc:.2f}: it may be the outcome under "
            "another name. Use it only if it is known before the outcome."
        )
    if auc >= DOUBTFUL_AUC and guess.feature.use:
        doubt = (
            f"Alone it predicts the label with a ROC-AUC of {auc:.2f}. Unless it is known before the "
            "outcome, set use to false."
        )
        return replace(guess, faults=(*guess.faults, doubt))
    return guess


def _shorter_windows(guesses: Sequence[Guess]) -> dict[str, str]:
    """For each number over a window of days, the same one over the next shorter window."""
    windows: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for guess in guesses:
        name = guess.feature.name
        found = _WINDOW.fullmatch(name) if guess.feature.kind == "numeric" else None
        if found:
            windows.setdefault((found[1], found[3]), []).append((int(found[2]), name))
    pairs = (pair for family in windows.values() for pair in pairwise(sorted(family)))
    return {longer[1]: shorter[1] for shorter, longer in pairs}


def _with_window(guess: Guess, shorter: Mapping[str, str], typed: pl.DataFrame) -> Guess:
    """The feature with `at_least`, if no row has less over the longer window."""
    name = guess.feature.name
    least = shorter.get(name)
    if least is None or (typed[name] < typed[least]).any():
        return guess
    return replace(guess, feature=replace(guess.feature, at_least=least))
