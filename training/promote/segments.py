"""Gates on the segments: well separated, and each id keeps its users."""

from collections.abc import Iterator

import numpy as np
from sklearn.metrics import adjusted_rand_score

from engine.bundle.manifest import Manifest
from training.evaluate.evaluation import segment_figures
from training.format import decimal
from training.metrics.disclosure import MIN_USERS
from training.promote.gate import Gate
from training.promote.holdout import Contender, Contest
from training.segments.counts import MIN_EXCESS
from training.segments.lineage import jaccard
from training.segments.segments import SILHOUETTE_TARGET

SILHOUETTE_LOSS = 0.02
"""If the champion's segments miss the bounds of a fit too, the candidate's may miss them, but not be
worse. Silhouettes of two equally good segmentations differ by this much (docs/modelling.md)."""

MIN_AGREEMENT = 0.50
"""Adjusted Rand index of both segmentations: below, campaigns reach other people under the same
names. Weekly refits that continue the segments agree to 0.9 or more."""

MIN_SAME_USERS = 0.40
"""Jaccard index of the users under one id. A fit keeps an id from 0.5 on, measured on its own users;
on others it may be a little lower."""


def silhouette_gate(contest: Contest, champion: Contender) -> Gate:
    """How well the segments are separated, on the holdout, in their own space.

    A champion without a silhouette, as with one segment for all, sets no bound.
    """
    mine, theirs = contest.evaluation.segments["silhouette"], _silhouette(champion)
    null = contest.candidate.fit.clustering["silhouette_permuted"]
    bound = None
    if theirs is not None:
        bound = max(SILHOUETTE_TARGET, (null or 0.0) + MIN_EXCESS)
        bound = min(bound, theirs - SILHOUETTE_LOSS)
    return Gate(
        name="silhouette",
        passed=bound is None or (mine is not None and mine >= bound),
        measured={"candidate": mine, "champion": theirs, "columns_permuted": null},
        bound={"at_least": bound},
        words=f"silhouette {_or_none(mine)}, champion {_or_none(theirs)}; at least {_or_none(bound)}",
    )


def segment_gates(contest: Contest, champion: Contender) -> Iterator[Gate]:
    """Whether both bundles divide the holdout alike, and whether ids keep their users."""
    here, there = contest.candidate.scored.segment, champion.scored.segment
    agreement = float(adjusted_rand_score(there, here))
    yield Gate(
        name="segment_agreement",
        passed=agreement >= MIN_AGREEMENT,
        measured={"adjusted_rand_index": agreement},
        bound={"at_least": MIN_AGREEMENT},
        words=(
            f"segments agree with the champion's to {agreement:.2f} (adjusted Rand index); at "
            f"least {MIN_AGREEMENT:.2f}"
        ),
    )
    shared = _same_users(here, there, contest.candidate.manifest, champion.manifest)
    problems = [
        f"segment {number}, {name}: of the users of both bundles {overlap:.0%} are the same"
        for number, name, overlap in shared
        if overlap < MIN_SAME_USERS
    ]
    problems += list(_reused_ids(contest.candidate.manifest, champion.manifest))
    yield Gate(
        name="segment_ids",
        passed=not problems,
        measured={"jaccard": {str(number): overlap for number, _, overlap in shared}},
        bound={"at_least": MIN_SAME_USERS},
        words="; ".join([*problems, "fit with --previous and the current bundle"])
        if problems
        else f"{len(shared)} segment ids mean the same users as before; at least "
        f"{MIN_SAME_USERS:.0%} of them",
    )


def _silhouette(side: Contender) -> float | None:
    users = side.users.dataset.users
    found = segment_figures(side.manifest, side.fit, side.features, side.scored.segment, users)
    return found["silhouette"]


def _or_none(silhouette: float | None) -> str:
    return "none" if silhouette is None else decimal(silhouette)


def _same_users(
    here: np.ndarray, there: np.ndarray, mine: Manifest, theirs: Manifest
) -> list[tuple[int, str, float]]:
    """Id, name and Jaccard index of every id of both bundles that has users."""
    ids = [segment.id for segment in theirs.segments]
    names = {segment.id: segment.name for segment in mine.segments}
    common = [number for number in ids if number in names]
    position = np.select([here == number for number in common], range(len(common)), -1)
    overlaps = jaccard(position, len(common), there, ids) if common else np.empty((0, 0))
    return [
        (number, names[number], float(overlaps[n, ids.index(number)]))
        for n, number in enumerate(common)
        if int(((here == number) | (there == number)).sum()) >= MIN_USERS
    ]


def _reused_ids(mine: Manifest, theirs: Manifest) -> Iterator[str]:
    used = {segment.id for segment in mine.segments}
    for number in sorted(used & set(theirs.retired_segments)):
        yield f"segment {number} was retired and must not be used again"
    gone = {segment.id for segment in theirs.segments} | set(theirs.retired_segments)
    for number in sorted(gone - used - set(mine.retired_segments)):
        yield f"segment {number} is gone and not marked as retired"
