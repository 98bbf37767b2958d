"""Gates on the segments: well separated, and each id keeps its users."""

from collections.abc import Iterator

import numpy as np
from sklearn.metrics import adjusted_rand_score

from engine.bundle.manifest import CHANCE, NONE, Manifest
from engine.pages.format import decimal
from training.evaluate.evaluation import segment_figures
from training.metrics.disclosure import MIN_USERS
from training.promote.gate import CONTINUE, FIT_AGAIN, Gate, verdict_of
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

UNNAMED = "the champion's scores name no segments"


def silhouette_gate(contest: Contest, champion: Contender) -> Gate:
    """How well the segments are separated, on the holdout, in their own space.

    A champion whose scores name no segments sets no bound.
    """
    mine, theirs = contest.evaluation.segments["silhouette"], _silhouette(champion)
    null = contest.candidate.fit.clustering["silhouette_permuted"]
    compared = champion.manifest.segments_usable
    lost = compared and not contest.candidate.manifest.segments_usable
    bound = None
    if compared and theirs is not None:
        bound = max(SILHOUETTE_TARGET, (null or 0.0) + MIN_EXCESS)
        bound = min(bound, theirs - SILHOUETTE_LOSS)
    return Gate(
        name="silhouette",
        verdict=verdict_of(
            passed=not lost and (bound is None or (mine is not None and mine >= bound))
        ),
        measured={"candidate": mine, "champion": theirs, "columns_permuted": null},
        bound={"at_least": bound},
        words=(_lost(contest.candidate.manifest) if lost else "")
        + f"silhouette {_or_none(mine)}, champion {_or_none(theirs)}; "
        + (f"at least {_or_none(bound)}" if compared else UNNAMED),
        next_step=FIT_AGAIN,
    )


def segment_gates(contest: Contest, champion: Contender) -> Iterator[Gate]:
    """Whether both bundles divide the holdout alike, and whether ids keep their users.

    Where the champion's scores name no segments, only reused and lost ids count.
    """
    here, there = contest.candidate.scored.segment, champion.scored.segment
    compared = champion.manifest.segments_usable
    agreement = float(adjusted_rand_score(there, here))
    yield Gate(
        name="segment_agreement",
        verdict=verdict_of(passed=not compared or agreement >= MIN_AGREEMENT),
        measured={"adjusted_rand_index": agreement},
        bound={"at_least": MIN_AGREEMENT if compared else None},
        words=f"segments agree with the champion's to {agreement:.2f} (adjusted Rand index); "
        + (f"at least {MIN_AGREEMENT:.2f}" if compared else UNNAMED),
        next_step=CONTINUE,
    )
    shared = _same_users(here, there, contest.candidate.manifest, champion.manifest)
    problems = [
        f"segment {number}, {name}: of the users of both bundles {overlap:.0%} are the same"
        for number, name, overlap in shared
        if compared and overlap < MIN_SAME_USERS
    ]
    problems += list(_reused_ids(contest.candidate.manifest, champion.manifest))
    yield Gate(
        name="segment_ids",
        verdict=verdict_of(passed=not problems),
        measured={"jaccard": {str(number): overlap for number, _, overlap in shared}},
        bound={"at_least": MIN_SAME_USERS if compared else None},
        words="; ".join(problems)
        or (
            f"{len(shared)} segment ids mean the same users as before; at least {MIN_SAME_USERS:.0%} of "
            "them"
            if compared
            else f"no retired id is used, none is lost; {UNNAMED}"
        ),
        next_step=CONTINUE,
    )


def _silhouette(side: Contender) -> float | None:
    users = side.users.dataset.users
    found = segment_figures(side.manifest, side.fit, side.features, side.scored.segment, users)
    return found["silhouette"]


def _lost(mine: Manifest) -> str:
    found = {CHANCE: "no better than chance", NONE: "none"}[mine.segments_verdict]
    return f"the candidate's segments are {found}, so scores would name none; those of the champion do; "


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
