"""Score against segments on the same users, in figures; plain JSON values throughout.

Measures each strategy of `strategies` on labelled users that no model has seen and returns
`Manifest.comparison`: how well each ranks and predicts, how far it is from the model alone, how well
the score ranks inside each segment, what segments explain, and what lasts over weeks. No figure is
about fewer than `MIN_USERS` users. `answers` puts the conclusions into words.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.bundle.manifest import Manifest
from engine.model.session import Predictions
from training.compare.answers import plain_answers
from training.compare.paired import score_figures
from training.compare.stability import stability_figures
from training.compare.strategies import Compared, SegmentFigures, figures_to_json
from training.metrics.audiences import top_users
from training.metrics.disclosure import MIN_USERS, enough
from training.metrics.intervals import auc_interval
from training.metrics.metrics import Outcomes, buyers_in_top, rank, rounded, segment_places
from training.segments.counts import explained_shares

TOP_DECILE = 0.10


def comparison(
    manifest: Manifest,
    compared: Compared,
    figures: Sequence[SegmentFigures],
    quality: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole document; without figures if fewer than `MIN_USERS` users are compared.

    Args:
        manifest: Segments, cut-points and features.
        compared: The users.
        figures: Of every segment, from training; kept so that other users can be compared later.
        quality: What `quality.quality_band` returns for the model on these users.
    """
    kept = {"fitted": figures_to_json(figures)}
    if not enough(compared.users):
        return kept
    outcomes = Outcomes(compared.scored.probability, compared.label, compared.users)
    ids = [segment.id for segment in manifest.segments]
    place = segment_places(ids, compared.scored.segment)
    document = rounded(
        {
            "rows": len(compared.label),
            "base_rate": float(compared.label.mean()),
            "scores": score_figures(compared),
            "segments": [
                {"segment_id": number, **inside_figures(outcomes[place == n])}
                for n, number in enumerate(ids)
            ],
            "variance": variance_figures(manifest, compared.scored, place),
            "stability": stability_figures(compared, manifest.band_cuts),
        }
    )
    names = {segment.id: segment.name for segment in manifest.segments}
    titles = {feature.name: feature.title for feature in manifest.schema.model_features}
    return kept | document | plain_answers(document, quality, names, titles)


def inside_figures(outcomes: Outcomes) -> dict[str, Any]:
    """How well the score ranks the users of one segment; null if they are too few.

    ROC-AUC and lift are null where fewer than `MIN_USERS` rows bought, or fewer did not; the lift
    also where the top tenth has fewer than `MIN_USERS` users.
    """
    p, label = outcomes.probability.astype(np.float64), outcomes.label
    names = ("probability_p10", "probability_p50", "probability_p90")
    found: dict[str, Any] = {
        "rows": None if len(label) and not enough(outcomes.users) else len(label),
        **dict.fromkeys(
            ("purchase_rate", "mean_probability", "roc_auc", "roc_auc_interval", "top_decile_lift")
        ),
        **dict.fromkeys(names),
    }
    if not enough(outcomes.users):
        return found
    bought, rate = int(label.sum()), float(label.mean())
    ranked = rank(p, label)
    found |= {"purchase_rate": rate, "mean_probability": float(p.mean())}
    found |= dict(zip(names, np.quantile(p, [0.1, 0.5, 0.9]).tolist(), strict=True))
    if min(bought, len(label) - bought) < MIN_USERS:
        return found
    found["roc_auc"], found["roc_auc_interval"] = auc_interval(outcomes)
    top = round(TOP_DECILE * len(p))
    if enough(top_users(ranked, outcomes.users, top)):
        found["top_decile_lift"] = buyers_in_top(ranked, top) / top / rate
    return found


def variance_figures(manifest: Manifest, scored: Predictions, place: np.ndarray) -> dict[str, Any]:
    """How much of the variance of the probability and of each impact the segments explain.

    Args:
        manifest: The features, and how much each moves the score.
        scored: Engine predictions for the users.
        place: The segment of each row, from 0, int64 [rows].
    """
    sizes = np.abs(scored.impacts).mean(axis=0, dtype=np.float64)
    features = manifest.schema.model_features
    probability, *impacts = explained_shares(
        np.column_stack([scored.probability, scored.impacts]), place
    ).tolist()
    return {
        "probability": _known(probability),
        "drivers": [
            {
                "name": features[n].name,
                "mean_absolute_impact": float(sizes[n]),
                "explained": _known(impacts[n]),
            }
            for n in np.argsort(-sizes, kind="stable")
            if sizes[n] > 0
        ],
    }


def _known(share: float) -> float | None:
    return None if np.isnan(share) else share
