"""Whether segments are groups of users, in words: a verdict of their own, apart from that of the scores."""

from collections.abc import Mapping
from typing import Any

from training.format import decimal
from training.segments.counts import MIN_EXCESS

SOUND, WEAK, CHANCE, NONE = "sound", "weak", "no better than chance", "none"


def segment_verdict(clustering: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict of a fit on its segments, measured on users that it did not see.

    KMeans divides any cloud of points. So the silhouette must exceed that of the same columns,
    shuffled apart, which have no groups.

    Args:
        clustering: `FitRecord.clustering`.

    Returns:
        `verdict`; `usable`, whether actions may differ by segment; `sentence`.
    """
    found, null = clustering.get("silhouette"), clustering.get("silhouette_permuted")
    if found is None:
        verdict, sentence = NONE, "The users form no segments: use the bands of the score alone."
    elif null is None or found - null < MIN_EXCESS:
        other = "none" if null is None else decimal(null, 2)
        verdict = CHANCE
        sentence = (
            f"These segments are no better than chance: silhouette {decimal(found, 2)}, {other} for features "
            "that are unrelated. Do not act on them: use the bands of the score alone."
        )
    elif clustering.get("reasons"):
        verdict, sentence = WEAK, "These segments are weak: use them with care."
    else:
        verdict = SOUND
        sentence = (
            f"These segments are sound: silhouette {decimal(found, 2)}, {decimal(null, 2)} for features "
            "that are unrelated."
        )
    return {"verdict": verdict, "usable": verdict in (SOUND, WEAK), "sentence": sentence}
