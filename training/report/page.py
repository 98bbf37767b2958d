"""The sections of a report as one HTML page: no script, no request, every text escaped."""

from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from engine.bundle.manifest import Manifest
from engine.errors import pluralize
from engine.format import without_head
from training.format import people, shown
from training.report.blocks import Section
from training.report.place import GENERATOR
from training.report.sections.actions import cells
from training.report.sections.audience import gains, operating_points
from training.report.sections.checks import drift, leakage
from training.report.sections.comparison import comparison
from training.report.sections.drivers import drivers
from training.report.sections.figures import key_figures
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


def report_html(subject: Subject) -> str:
    """One self-contained HTML page; equal subjects give equal texts."""
    template = environment(visible).get_template("report.html.j2")
    quality = subject.quality
    return template.render(
        generator=GENERATOR,
        manifest=subject.manifest,
        quality=quality,
        judgement=judgement(quality),
        badge=badge(quality),
        about=about(subject),
        sections=report_sections(subject),
    )


def report_sections(subject: Subject) -> list[Section]:
    """All sections that have something to say, in order."""
    sections = (
        Section("figures", "Key figures", key_figures(subject)),
        Section("drivers", "What moves the score", drivers(subject)),
        Section("gains", "How much a short list finds", gains(subject)),
        Section("reliability", "Whether the probabilities are true", reliability(subject)),
        Section("audience", "How many users to contact", operating_points(subject)),
        Section("segments", "The segments", segments(subject)),
        Section("actions", "Segment by band: who buys, what to do", cells(subject)),
        Section("comparison", "Score or segments: which answers what", comparison(subject)),
        Section("trials", "What else was tried", trials(subject)),
        Section("slices", "How it does for parts of the users", slices(subject)),
        Section("leakage", "Whether a feature tells too much", leakage(subject)),
        Section("drift", "Whether the users have changed", drift(subject)),
        Section("limits", "What not to conclude", limits(subject)),
        Section("verify", "How to verify", verify(subject)),
    )
    return [section for section in sections if section.blocks]


def environment(finalize: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - jinja2 is loaded late
    """Where templates are found; every value goes through `finalize`, then is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("training.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["svg"] = Markup
    return made


def visible(value: Any) -> Any:  # noqa: ANN401
    """Texts without characters that cannot be seen; anything else as it is."""
    return shown(value) if type(value) is str else value


def badge(quality: Any) -> str:  # noqa: ANN401
    """Whether the bundle may be used, in a few words."""
    if not quality["may_be_used"]:
        return BADGES["unusable"]
    return BADGES.get(quality["band"], "Not judged")


def judgement(quality: Any) -> str:  # noqa: ANN401
    """What the model does, where its quality band stands beside it."""
    return without_head(quality["sentence"], quality["band"].capitalize())


def about(subject: Subject) -> list[tuple[str, str]]:
    """What the model is and what it was measured on, as terms and words."""
    manifest: Manifest = subject.manifest
    record, data = subject.fit.training, subject.evaluation.data
    fitted = record.get("snapshots") or []
    dates = data.get("snapshots") or []
    features = pluralize(len(manifest.schema.model_features), "feature")
    lines = [
        ("Predicts", f"for each user, the probability of {subject.event}"),
        ("Reads", f"{features} of each user"),
        ("Sorts into", pluralize(len(manifest.segments), "segment")),
        ("Made from", " ".join([people(record.get("users"), record.get("rows")), *_days(fitted)])),
    ]
    if data.get("rows") is not None:
        what = f" – {data['what']}" if data.get("what") else ""
        lines.append(("Measured on", " ".join([subject.measured, *_days(dates)]) + what))
    return lines


def _days(dates: list[str]) -> list[str]:
    if not dates:
        return []
    return [f"as of {dates[0]}"] if len(dates) == 1 else [f"from {dates[0]} to {dates[-1]}"]
