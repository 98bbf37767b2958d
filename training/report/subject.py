"""What a report is about: a bundle, and what was measured on which users."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.bundle.manifest import Manifest
from engine.bundle.open import PLAYBOOK, Bundle
from training.format import people

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about.

    Attributes:
        manifest: Of the bundle.
        evaluation: What was measured, and on which users.
        playbook: What to do in which segment and band.
        segment_figures: Of each segment by its id, of the users that were measured: `share`,
            `purchase_rate` and `mean_probability`, None where it is of too few users.
        elsewhere: Whether the measured users are others than the test part of the fit.
    """

    manifest: Manifest
    evaluation: Figures
    playbook: Figures = field(default_factory=dict)
    segment_figures: Mapping[int, Figures] = field(default_factory=dict)
    elsewhere: bool = False

    @property
    def metrics(self) -> Figures:
        """The figures of the purchase model."""
        return self.evaluation.get("metrics") or {}

    @property
    def drivers(self) -> Figures:
        """What moves the scores, on the users that were measured; else on the test part."""
        return self.evaluation.get("drivers") or self.manifest.drivers

    @property
    def comparison(self) -> Figures:
        """The score against the segments, on the users that were measured; else the test part."""
        return self.evaluation.get("comparison") or self.manifest.comparison

    @property
    def quality(self) -> Figures:
        """The quality band and whether the bundle may be used."""
        found = self.evaluation.get("quality") or self.manifest.quality
        unusable = self.manifest.unusable
        if unusable or not found:
            return {
                "band": "unusable" if unusable else "not judged",
                "may_be_used": not unusable,
                "sentence": found.get("sentence")
                or ("It must not be used." if unusable else "Its quality has not been judged."),
                "reasons": list(found.get("reasons") or unusable),
            }
        return found

    @property
    def measured(self) -> str:
        """How many users were measured, and how many rows where a user has several."""
        data = self.evaluation.get("data") or {}
        return people(data.get("users"), data.get("rows"))

    @property
    def counts(self) -> str:
        """What the counts of the figures count: users, or rows where a user may have several."""
        data = self.evaluation.get("data") or {}
        return "users" if data.get("users") == data.get("rows") else "rows"

    @property
    def titles(self) -> dict[str, str]:
        """The label of every feature, by name."""
        return {feature.name: feature.title for feature in self.manifest.schema.features}

    @property
    def segment_names(self) -> dict[int, str]:
        """The name of every segment, by id."""
        return {segment.id: segment.name for segment in self.manifest.segments}

    @property
    def event(self) -> str:
        """What the model predicts, in words."""
        days = self.manifest.schema.horizon_days
        return f"a purchase within {days} days" if days else "a purchase"


def subject_of(manifest: Manifest, playbook: Figures | None = None) -> Subject:
    """A bundle as measured on its own test part."""
    record = manifest.training
    evaluation = {
        "bundle_id": manifest.bundle_id,
        "data": {
            "rows": manifest.metrics.get("rows"),
            "users": manifest.metrics.get("users"),
            "snapshots": _test_dates(record),
            "what": f"the test part: {_set_aside(record)} set aside before fitting, looked at once",
        },
        "metrics": manifest.metrics,
        "segments": {"silhouette": manifest.clustering.get("silhouette")},
        "drivers": manifest.drivers,
        "quality": manifest.quality,
    }
    figures = {
        segment.id: {
            "share": segment.share,
            "purchase_rate": segment.profile.get("purchase_rate"),
            "mean_probability": segment.profile.get("mean_probability"),
        }
        for segment in manifest.segments
    }
    return Subject(manifest, evaluation, playbook or {}, figures)


def _set_aside(record: Figures) -> str:
    by_time = (record.get("split") or {}).get("kind") == "time"
    return "the last dates," if by_time else "users"


def _test_dates(record: Figures) -> list[str]:
    """The dates of the test part: the last ones where the parts were divided by time."""
    first = (record.get("split") or {}).get("first_test_date", "")
    return [date for date in record.get("snapshots", []) if date >= first]


def measured_subject(bundle: Bundle, evaluation: Figures) -> Subject:
    """A bundle as measured on other users, with its own playbook where it has one."""
    content = bundle.contents.get(PLAYBOOK)
    playbook = json.loads(content) if content else {}
    figures = _measured_segments(evaluation)
    return Subject(bundle.manifest, evaluation, playbook, figures, elsewhere=True)


def _measured_segments(evaluation: Figures) -> dict[int, Figures]:
    """The figures of each segment on the measured users; no share where the rate is withheld."""
    shares = evaluation["segments"]["shares"]
    return {
        found["segment_id"]: {
            "share": None if found["purchase_rate"] is None else shares[str(found["segment_id"])],
            "purchase_rate": found["purchase_rate"],
            "mean_probability": found.get("mean_probability"),
        }
        for found in evaluation["comparison"].get("segments") or []
    }
