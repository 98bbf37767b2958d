"""The contents of a report for every renderer: whether to use the bundle, and all sections."""

from typing import Any

from engine.bundle.manifest import Manifest
from engine.errors import pluralize, rule_counts
from engine.format import shown_name, without_head
from engine.pages.blocks import Section
from engine.pages.format import people
from training.report.sections.actions import cells
from training.report.sections.audience import gains, money, operating_points
from training.report.sections.checks import drift, leakage
from training.report.sections.comparison import comparison
from training.report.sections.drivers import drivers
from training.report.sections.figures import all_figures, key_figures
from training.report.sections.limits import limits, verify
from training.report.sections.reliability import reliability
from training.report.sections.segments import segments
from training.report.sections.slices import slices
from training.report.sections.trials import trials
from training.report.subject import Subject

BADGES = {
    "unusable": "Must not be used",
    "poor": "Use with care",
    "fair": "May be used",
    "good": "May be used",
    "excellent": "May be used",
}


def report_sections(subject: Subject) -> list[Section]:
    """All sections that have something to say, in order."""
    sections = (
        Section("figures", "Key figures", key_figures(subject)),
        Section("drivers", "What drives the score", drivers(subject)),
        Section("gains", "How many buyers a short list holds", gains(subject)),
        Section(
            "reliability", "Calibration: do predicted and actual rates agree?", reliability(subject)
        ),
        Section(
            "audience",
            "How many users to contact",
            [*operating_points(subject), *money(subject)],
        ),
        Section("segments", "Segments", segments(subject)),
        Section("actions", "Segment by band: who buys and what to do", cells(subject)),
        Section("comparison", "Score or segments: which answers what?", comparison(subject)),
        Section("trials", "What else was tried", trials(subject)),
        Section("slices", "Performance by group of users", slices(subject)),
        Section("metrics", "All figures", all_figures(subject)),
        Section("leakage", "Leakage: does a feature know too much?", leakage(subject)),
        Section("drift", "Drift: have the users changed?", drift(subject)),
        Section("limits", "What not to conclude", limits(subject)),
        Section("verify", "How to verify", verify(subject)),
    )
    return [section for section in sections if section.blocks]


def badge(quality: Any) -> str:  # noqa: ANN401
    """Whether the bundle may be used, in a few words."""
    if not quality["may_be_used"]:
        return BADGES["unusable"]
    return BADGES.get(quality["band"], "Not judged")


def judgement(quality: Any) -> str:  # noqa: ANN401
    """The sentence on the quality, without its quality band."""
    return without_head(quality["sentence"], quality["band"].capitalize())


def about(subject: Subject) -> list[tuple[str, str]]:
    """What the model is and what it was measured on, as terms and words."""
    manifest = subject.manifest
    record, data = subject.fit.training, subject.evaluation.data
    fitted = record.get("snapshots") or []
    dates = data.get("snapshots") or []
    features = pluralize(len(manifest.schema.model_features), "feature")
    lines = [
        ("Predicts", f"for each user, the probability of {subject.event}"),
        ("Reads", f"{features} of each user"),
        *_segments(manifest),
        ("Fitted to", " ".join([people(record.get("users"), record.get("rows")), *_days(fitted)])),
    ]
    if data.get("rows") is not None:
        what = f" – {shown_name(data['what'])}" if data.get("what") else ""
        lines.append(("Measured on", " ".join([subject.measured, *_days(dates)]) + what))
    if data.get("rows_left_out"):
        lines.append(
            ("Left out", f"rows that cannot be used: {rule_counts(data['rows_left_out'])}")
        )
    return lines


def _days(dates: list[str]) -> list[str]:
    if not dates:
        return []
    return [f"as of {dates[0]}"] if len(dates) == 1 else [f"from {dates[0]} to {dates[-1]}"]


def _segments(manifest: Manifest) -> list[tuple[str, str]]:
    """How many segments users are assigned to; empty if scores name none."""
    named = manifest.named_segments
    return [("Assigns to", pluralize(len(named), "segment"))] if named else []
