"""What a purchase model must beat: rules and a straight line, judged in the same folds as the trees.

The base rate knows nobody; recency alone and the RFM score are what a marketing team computes by
hand; logistic regression is the model of first resort. Nothing here goes into a bundle.
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

Rule = Callable[[Sample, np.ndarray], np.ndarray]
"""From those who teach, and the features of those who are judged, to log-odds, float64 [rows]."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A rule, and what it says of each fold's judges: log-odds, float64 [rows]."""

    name: str
    scores: tuple[np.ndarray, ...]


def fit_baselines(pool: Pool, schema: FeatureSchema) -> tuple[Baseline, ...]:
    """Every rule that the table allows, taught and asked in each fold.

    Args:
        pool: Whom the trees are chosen by.
        schema: Which features there are, and which of them tell recency, frequency and money.
    """
    names = [feature.name for feature in schema.model_features]
    rules: dict[str, Rule] = {"base rate": base_rate}
    if schema.rfm is not None and schema.rfm.recency in names:
        recency = names.index(schema.rfm.recency)
        rules["recency alone"] = lambda taught, asked: rates_as_scores(
            taught.features[:, recency], taught.label, asked[:, recency]
        )
        columns = [schema.rfm.recency, schema.rfm.frequency, schema.rfm.monetary]
        if set(columns) <= set(names):
            places = [names.index(name) for name in columns]
            rules["RFM score"] = lambda taught, asked: rates_as_scores(
                rfm_scores(taught.features[:, places], taught.features[:, places]),
                taught.label,
                rfm_scores(taught.features[:, places], asked[:, places]),
            )
    numeric = [n for n, f in enumerate(schema.model_features) if f.kind == "numeric"]
    rules["logistic regression"] = lambda taught, asked: regression(taught, asked, numeric)
    return tuple(
        Baseline(
            name,
            tuple(rule(fold.teachers, fold.judges.features) for fold in pool.folds),
        )
        for name, rule in rules.items()
    )


def base_rate(taught: Sample, asked: np.ndarray) -> np.ndarray:
    """Everybody's log-odds are those of the average user."""
    return np.full(len(asked), logit(taught.label.mean()))


def rates_as_scores(known: np.ndarray, label: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The log-odds of `rate_by_value`, float64 [rows]."""
    return np.asarray(logit(rate_by_value(known, label, asked)), dtype=np.float64)


def rate_by_value(known: np.ndarray, label: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The purchase rate of known users with like values, drawn to the mean by 20 average users.

    Args:
        known: Values, float [users], NaN where missing.
        label: int8 [users], of both kinds.
        asked: Values to be rated, float [rows].

    Returns:
        float64 [rows], above 0 and below 1.
    """
    present = known[~np.isnan(known)]
    shares = np.linspace(0, 1, MAX_BINS + 1)
    edges = np.unique(np.quantile(present, shares, method="higher")) if len(present) else present
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
        asked: As `known`. A missing value is the worst: nothing was bought.

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


def regression(taught: Sample, asked: np.ndarray, numeric: list[int]) -> np.ndarray:
    """Log-odds by logistic regression, given what trees do not need, float64 [rows].

    Numbers become normal scores, so that skewed ones do not rule; a missing number is the median
    and a column of its own; every category is a column.
    """
    with threadpool_limits(1):
        # In double precision: sums of large float32 values overflow.
        features = taught.features.astype(np.float64)
        model = _regression(numeric, features.shape).fit(features, taught.label)
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
    return make_pipeline(columns, LogisticRegression(max_iter=1_000))
