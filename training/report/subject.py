"""What a report is about: a bundle, and what was measured on which users."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.bundle import PLAYBOOK, Bundle, Manifest

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about: the bundle, what was measured on which users, the playbook."""

    manifest: Manifest
    evaluation: Figures
    playbook: Figures = field(default_factory=dict)

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
            "snapshots": _test_dates(record),
            "what": "the test part: users set aside before fitting, looked at once",
        },
        "metrics": manifest.metrics,
        "segments": {"silhouette": manifest.clustering.get("silhouette")},
        "drivers": manifest.drivers,
        "quality": manifest.quality,
    }
    return Subject(manifest, evaluation, playbook or {})


def _test_dates(record: Figures) -> list[str]:
    """The dates of the test part: the last ones where the parts were divided by time."""
    first = (record.get("split") or {}).get("first_test_date", "")
    return [date for date in record.get("snapshots", []) if date >= first]


def measured_subject(bundle: Bundle, evaluation: Figures) -> Subject:
    """A bundle as measured on other users, with its own playbook where it has one."""
    content = bundle.contents.get(PLAYBOOK)
    return Subject(bundle.manifest, evaluation, json.loads(content) if content else {})
