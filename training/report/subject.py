"""What a report is about: a bundle, and what was measured on which users."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.bundle.evaluation import Evaluation, FitRecord
from engine.bundle.manifest import Manifest
from engine.bundle.open import Bundle
from engine.bundle.playbook import read_playbook
from engine.pages.format import people
from training.segments.verdict import verdict_sentence

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about.

    Attributes:
        manifest: Of the bundle.
        evaluation: What was measured, and on which users.
        playbook: What to do in which segment and band.
        elsewhere: Whether the measured users are others than the test part of the fit.
    """

    manifest: Manifest
    evaluation: Evaluation
    playbook: Figures = field(default_factory=dict)
    elsewhere: bool = False

    @property
    def metrics(self) -> Figures:
        """The figures of the purchase model."""
        return self.evaluation.metrics

    @property
    def drivers(self) -> Figures:
        """What moves the scores."""
        return self.evaluation.drivers

    @property
    def comparison(self) -> Figures:
        """The score against the segments."""
        return self.evaluation.comparison

    @property
    def fit(self) -> FitRecord:
        """What only the fit knows."""
        return self.evaluation.fit

    @property
    def segment_figures(self) -> dict[int, Figures]:
        """Share, purchase rate and prediction by segment id; no share if the rate is suppressed."""
        shares = self.evaluation.segments.get("shares") or {}
        return {
            found["segment_id"]: {
                "share": None
                if found["purchase_rate"] is None
                else shares.get(str(found["segment_id"])),
                "purchase_rate": found["purchase_rate"],
                "mean_probability": found.get("mean_probability"),
            }
            for found in self.comparison.get("segments") or []
        }

    @property
    def quality(self) -> Figures:
        """The quality band and whether the bundle may be used."""
        found = self.evaluation.quality
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
        """How many users were measured, and how many rows if a user has several."""
        data = self.evaluation.data
        return people(data.get("users"), data.get("rows"))

    @property
    def counts(self) -> str:
        """What the counts of the figures count: users, or rows if a user may have several."""
        data = self.evaluation.data
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
    def segments_sentence(self) -> str:
        """Whether the segments are groups of users."""
        return verdict_sentence(self.manifest.segments_verdict, self.fit.clustering)

    @property
    def event(self) -> str:
        """What the model predicts, in words."""
        days = self.manifest.schema.horizon_days
        return f"a purchase within {days} days" if days else "a purchase"


def measured_subject(bundle: Bundle, evaluation: Evaluation) -> Subject:
    """A bundle as measured on other users, with its own playbook."""
    return Subject(bundle.manifest, evaluation, read_playbook(bundle), elsewhere=True)
