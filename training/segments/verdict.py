"""Whether segments are groups of users: a verdict of their own, apart from that of the scores.

The fit judges them once, and the manifest keeps the verdict.
"""

from collections.abc import Mapping
from typing import Any

from engine.bundle.manifest import CHANCE, NONE, SOUND, WEAK
from engine.pages.format import decimal
from training.segments.counts import beyond_chance


def segment_verdict(clustering: Mapping[str, Any]) -> str:
    """The verdict on segments, measured on users whom the fit did not see.

    Args:
        clustering: `FitRecord.clustering`.

    Returns:
        One of `engine.bundle.manifest.SEGMENT_VERDICTS`.
    """
    found = clustering["silhouette"]
    if found is None:
        return NONE
    if not beyond_chance(found, clustering["silhouette_permuted"]):
        return CHANCE
    return WEAK if clustering["reasons"] else SOUND


def verdict_sentence(verdict: str, clustering: Mapping[str, Any]) -> str:
    """A verdict in words.

    Args:
        verdict: As the manifest has it.
        clustering: `FitRecord.clustering`.
    """
    if verdict == NONE:
        return "The users form no segments: use the bands of the score alone."
    if verdict == WEAK:
        return "These segments are weak: use them with care."
    found, null = (clustering.get(name) for name in ("silhouette", "silhouette_permuted"))
    other = "none" if null is None else decimal(null, 2)
    figures = f"silhouette {decimal(found, 2)}, {other} for features that are unrelated"
    if verdict == CHANCE:
        return (
            f"These segments are no better than chance: {figures}. Do not act on them: use the bands of "
            "the score alone."
        )
    return f"These segments are sound: {figures}."
