"""Baselines that a purchase model must beat, validated in the same folds as the trees.

The base rate, recency alone, the RFM score that marketing teams compute by hand, and logistic
regression. None of them goes into a bundle.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import logit  # type: ignore[import-untyped]
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from engine.bundle.schema import FeatureSchema
from training.model.categories import PRIOR_ROWS
from training.model.search import Pool
from training.model.trees import Sample

MAX_BINS = 64
QUINTILES = (0.2, 0.4, 0.6, 0.8)
QUANTILES = 100
LOWEST = -float(np.finfo(np.float32).max)

Scorer = Callable[[Sample, np.ndarray], np.ndarray]
"""From the train rows and the features of other rows to log-odds, float64 [rows]."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A simple scorer and its log-odds for the validation rows of each fold, float64 [rows]."""

    name: str
    scores: tuple[np.ndarray, ...]


def fit_baselines(pool: Pool, schema: FeatureSchema) -> tuple[Baseline, ...]:
    """Every baseline that the table allows, trained and validated in each fold.

    Args:
        pool: The folds in which trees are chosen.
        schema: The features, and which of them hold recency, frequency and monetary value.
    """
    names = [feature.name for feature in schema.model_features]
    rules: dict[str, Scorer] = {"base rate": base_rate}
    if schema.rfm is not None and schema.rfm.recency in names:
        recency = names.index(schema.rfm.recency)
        rules["recency alone"] = lambda train, asked: rates_as_scores(
            train.features[:, recency], train.label, asked[:, recency]
        )
        columns = [schema.rfm.recency, schema.rfm.frequency, schema.rfm.monetary]
        if set(columns) <= set(names):
            places = [names.index(name) for name in columns]
            rules["RFM score"] = lambda train, asked: rates_as_scores(
                rfm_scores(train.features[:, places], train.features[:, places]),
                train.label,
                rfm_scores(train.features[:, places], asked[:, places]),
            )
    numeric = [n for n, f in enumerate(schema.model_features) if f.kind == "numeric"]
    rules["logistic regression"] = lambda train, asked: regression(train, asked, numeric)
    return tuple(
        Baseline(name, tuple(rule(fold.train, fold.validation.features) for fold in pool.folds))
        for name, rule in rules.items()
    )


def base_rate(train: Sample, asked: np.ndarray) -> np.ndarray:
    """The log-odds of the average user for everyone."""
    return np.full(len(asked), logit(train.label.mean()))


def rates_as_scores(known: np.ndarray, label: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The log-odds of `rate_by_value`, float64 [rows]."""
    return np.asarray(logit(rate_by_value(known, label, asked)), dtype=np.float64)


def rate_by_value(known: np.ndarray, label: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The smoothed purchase rate of known users with similar values.

    Users are binned by quantiles. A value that fills several bins is a bin of its own: otherwise the few
    users above a frequent 0 would share its bin.

    Args:
        known: Values, float [users], NaN where missing.
        label: int8 [users], of both kinds.
        asked: Values to rate, float [rows].

    Returns:
        float64 [rows], above 0 and below 1.
    """
    present = known[~np.isnan(known)]
    shares = np.linspace(0, 1, MAX_BINS + 1)
    cuts = np.quantile(present, shares, method="higher") if len(present) else present
    # As float64, in which even the largest float32 has a next number.
    repeated = cuts[1:][cuts[1:] == cuts[:-1]].astype(np.float64)
    edges = np.unique(np.concatenate([cuts, np.nextafter(repeated, np.inf)]))
    bins = [np.searchsorted(edges, v, side="right") for v in (known, asked)]
    for part, values in zip(bins, (known, asked), strict=True):
        part[np.isnan(values)] = len(edges) + 1
    rows = np.bincount(bins[0], minlength=len(edges) + 2)
    bought = np.bincount(bins[0], label, minlength=len(edges) + 2)
    return ((bought + PRIOR_ROWS * label.mean()) / (rows + PRIOR_ROWS))[bins[1]]


def rfm_scores(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The sum of three scores from 1 to 5, by quintile of the known users (Hughes 1994).

    Args:
        known: Recency, frequency and money, float32 [users, 3]; the smaller the recency the better.
        asked: As `known`. A missing value gets the lowest score, as if nothing was bought.

    Returns:
        3 to 15, float64 [rows].
    """
    total = np.zeros(len(asked))
    for column, sign in enumerate((-1, 1, 1)):
        values, wanted = (
            np.where(np.isnan(v[:, column]), LOWEST, sign * v[:, column]) for v in (known, asked)
        )
        cuts = np.quantile(values, QUINTILES, method="higher")
        total += 1 + np.searchsorted(cuts, wanted, side="right")
    return total


def regression(train: Sample, asked: np.ndarray, numeric: list[int]) -> np.ndarray:
    """Log-odds by logistic regression with the preprocessing that it needs, float64 [rows].

    Numbers become normal scores, so that skewed ones do not dominate. Missing numbers are imputed by
    the median and flagged; categories are one-hot encoded.
    """
    with threadpool_limits(1):
        # In double precision: sums of large float32 values overflow.
        features = train.features.astype(np.float64)
        model = _regression(numeric, features.shape).fit(features, train.label)
        found = model.decision_function(asked.astype(np.float64))
        return np.asarray(found, dtype=np.float64)


def _regression(numeric: list[int], shape: tuple[int, ...]) -> Pipeline:
    categorical = [column for column in range(shape[1]) if column not in numeric]
    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        QuantileTransformer(
            n_quantiles=min(QUANTILES, shape[0]), output_distribution="normal", random_state=0
        ),
    )
    codes = OneHotEncoder(handle_unknown="ignore")
    kinds = [(numbers, numeric), (codes, categorical)]
    columns = make_column_transformer(*(kind for kind in kinds if kind[1]))
    return make_pipeline(columns, LogisticRegression(solver="newton-cholesky"))
