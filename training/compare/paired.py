"""Several strategies measured on the same resamples of the same users: plain JSON values."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.compare.strategies import MODEL, SEGMENT_FEATURE, SEGMENT_RATE, TOGETHER, Compared
from training.metrics.audiences import GAIN_SHARES, gain_shares
from training.metrics.intervals import bootstrap, bounded_interval, mean_and_error
from training.metrics.metrics import Ranked, log_losses, rank, roc_auc

TITLES = {
    MODEL: ("Purchase model", "The probability of the score file."),
    SEGMENT_RATE: ("Segment purchase rate", "Of the segment's users in the train part."),
    SEGMENT_FEATURE: (
        "Model with the segment as a feature",
        "The same trees, trained again with one more column.",
    ),
    TOGETHER: (
        "Model and segments together",
        "The model recalibrated inside each segment; small segments stay close to the whole.",
    ),
}
"""Name and description of each strategy, in the order of the report."""


def score_figures(compared: Compared) -> list[dict[str, Any]]:
    """How well each strategy ranks and predicts, and its paired difference from the model alone.

    One bootstrap serves all strategies: each is measured on the same draws of users, so that what
    they have in common cancels.
    """
    ranked = {name: rank(p, compared.label) for name, p in compared.strategies.items()}
    one = np.ones(len(compared.label))
    found = {name: strategy_figures(order, one) for name, order in ranked.items()}
    drawn = _resampled(ranked, compared)
    published = [gain_shares(order, compared.users) for order in ranked.values()]
    shares = [share for share in GAIN_SHARES if all(share in found for found in published)]
    return [
        {
            "key": name,
            "name": TITLES[name][0],
            "words": TITLES[name][1],
            **_way(figures, shares),
            "roc_auc_interval": bounded_interval(float(figures[0]), drawn[name][:, 0])
            if len(drawn[name])
            else None,
            "difference": None if name == MODEL else _way(figures - found[MODEL], shares),
            "standard_error": None
            if name == MODEL
            else _way(_spread(drawn[name] - drawn[MODEL]), shares),
            "over_base_rate": _over_base_rate(compared, name),
        }
        for name, figures in found.items()
    ]


def _over_base_rate(compared: Compared, name: str) -> dict[str, float]:
    """The log-loss of a strategy minus that of the purchase rate for everyone, with its error."""
    label = compared.label
    base = log_losses(np.full(len(label), label.mean()), label)
    gap, error = mean_and_error(log_losses(compared.strategies[name], label) - base, compared.users)
    return {"log_loss": gap, "standard_error": error}


def strategy_figures(ranked: Ranked, weight: np.ndarray) -> np.ndarray:
    """ROC-AUC, log-loss, and the share of buyers in the top of each of `GAIN_SHARES`, float64 [6].

    If a cut divides equal probabilities, a gain is the mean over all ways to divide them, as in
    `metrics.buyers_in_top`.

    Args:
        ranked: Outcomes in order.
        weight: How often each row counts, float64 [rows] in the order before ranking; above 0 for both
            labels.
    """
    own = weight[ranked.order]
    bought = own * ranked.positive
    contacts = np.cumsum(np.add.reduceat(own, ranked.ties)[::-1])
    buyers = np.cumsum(np.add.reduceat(bought, ranked.ties)[::-1])
    wanted = np.round(np.array(GAIN_SHARES) * contacts[-1])
    gains = np.interp(wanted, np.append(0.0, contacts), np.append(0.0, buyers)) / buyers[-1]
    loss = float(own @ ranked.losses) / float(contacts[-1])
    return np.array([roc_auc(ranked, own), loss, *gains])


def _resampled(ranked: Mapping[str, Ranked], compared: Compared) -> dict[str, np.ndarray]:
    """The figures of each strategy on the same resamples, float64 [resamples with both labels, 6]."""

    def figures(weight: np.ndarray) -> np.ndarray:
        return np.array([strategy_figures(order, weight) for order in ranked.values()])

    drawn = bootstrap(figures, compared.label, compared.users)
    drawn = drawn.reshape(-1, len(ranked), 2 + len(GAIN_SHARES))
    return {name: drawn[:, n] for n, name in enumerate(ranked)}


def _spread(drawn: np.ndarray) -> np.ndarray:
    """The bootstrap's standard errors, float64 [6]; not a number with fewer than two resamples."""
    if len(drawn) < 2:
        return np.full(drawn.shape[1], np.nan)
    return drawn.std(axis=0, ddof=1)


def _way(figures: np.ndarray, shares: Sequence[float]) -> dict[str, Any]:
    """Figures by name, with the gains of the shares that may be published."""
    auc, loss, *gains = (float(x) if np.isfinite(x) else None for x in figures)
    return {
        "roc_auc": auc,
        "log_loss": loss,
        "gains": {
            str(share): gain
            for share, gain in zip(GAIN_SHARES, gains, strict=True)
            if share in shares
        },
    }
