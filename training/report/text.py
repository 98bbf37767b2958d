"""The evaluation of a bundle as lines of text for a terminal."""

from collections.abc import Iterator

from engine.pages.format import shown
from engine.pages.text import section_lines
from training.report.subject import Subject
from training.report.summary import about, badge, report_sections

EVALUATED = (
    *("figures", "metrics", "gains", "audience", "reliability", "slices"),
    *("drivers", "actions", "comparison", "drift"),
)
"""The sections about the measured users; the others are about the fit."""


def evaluation_lines(subject: Subject) -> Iterator[str]:
    """The evaluation of a bundle on labelled users, for people."""
    quality = subject.quality
    yield f"Bundle {subject.manifest.bundle_id}: {badge(quality)}"
    yield quality["sentence"]
    yield from (f"- {reason}" for reason in quality["reasons"])
    yield subject.segments_sentence
    yield from (f"{name}: {shown(words)}" for name, words in about(subject))
    sections = {section.id: section for section in report_sections(subject)}
    yield from section_lines(sections[name] for name in EVALUATED if name in sections)
