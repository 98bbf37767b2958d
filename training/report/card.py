"""The model card of a bundle: use, misuse, figures and limits as Markdown.

The sections follow Mitchell et al., "Model Cards for Model Reporting" (2019).
"""

import re
from typing import Any

from markupsafe import Markup, escape

from training.format import percent, shown
from training.report.blocks import Block, Section, Table
from training.report.page import about, badge, environment, judgement
from training.report.sections.actions import cells
from training.report.sections.audience import gains, operating_points
from training.report.sections.checks import leakage
from training.report.sections.comparison import comparison
from training.report.sections.drivers import drivers
from training.report.sections.figures import key_figures
from training.report.sections.limits import limits, verify
from training.report.sections.reliability import reliability_table
from training.report.sections.segments import segments
from training.report.sections.slices import slices
from training.report.sections.trials import trials
from training.report.subject import Subject

_MARKS = re.compile(r"[\\`*|\[\]]")


def model_card(subject: Subject) -> str:
    """The card; equal subjects give equal texts."""
    quality = subject.quality
    schema = subject.manifest.schema
    sections = (
        Section("figures", "Metrics", [*key_figures(subject), *gains_tables(subject)]),
        Section("slices", "Metrics by slice", slices(subject)),
        Section("calibration", "Calibration", reliability_table(subject)),
        Section("drivers", "Drivers", _without_pictures(drivers(subject))),
        Section("segments", "Segments", [*segments(subject), *cells(subject)]),
        Section("comparison", "Score or segments", _without_pictures(comparison(subject))),
        Section("trials", "Alternatives", [*trials(subject), *leakage(subject)]),
        Section("limits", "Limits", limits(subject)),
        Section("verify", "How to verify", verify(subject)),
    )
    return (
        environment(in_markdown)
        .get_template("MODEL_CARD.md.j2")
        .render(
            manifest=subject.manifest,
            quality=quality,
            judgement=judgement(quality),
            badge=badge(quality),
            about=about(subject),
            label=schema.label or "–",
            horizon=schema.horizon_days,
            threshold=percent(subject.manifest.threshold),
            left_out=[f.title for f in schema.features if not f.use],
            groups=sorted({f.group for f in schema.model_features if f.group}),
            sections=[section for section in sections if section.blocks],
        )
    )


def gains_tables(subject: Subject) -> list[Block]:
    """What lists of several lengths hold, without the pictures."""
    return _without_pictures([*gains(subject), *operating_points(subject)])


def in_markdown(value: Any) -> Any:  # noqa: ANN401
    """A text that Markdown shows as it is: neither HTML nor marks in names come through."""
    if type(value) is not str:
        return value
    text = str(escape(shown(value))).replace("&#39;", "'").replace("&#34;", '"')
    # Escaped in the line above, and here of what Markdown itself would read.
    return Markup(_MARKS.sub(lambda found: f"&#{ord(found.group())};", text))  # noqa: S704


def _without_pictures(blocks: list[Block]) -> list[Block]:
    tables = [block for block in blocks if block.kind not in ("figure", "panels")]
    return tables if any(isinstance(block, Table) for block in tables) else []
