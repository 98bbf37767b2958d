"""The model card of a bundle: use, misuse, figures and limits as Markdown.

The sections follow Mitchell et al., "Model Cards for Model Reporting" (2019).
"""

import re
from typing import Any

from markupsafe import Markup, escape

from engine.pages.blocks import Section, without_pictures
from engine.pages.format import percent, shown
from engine.pages.html import environment
from training.report.sections.actions import cells
from training.report.sections.audience import gains, money, operating_points
from training.report.sections.checks import leakage
from training.report.sections.comparison import comparison
from training.report.sections.drivers import drivers
from training.report.sections.figures import all_figures, key_figures
from training.report.sections.limits import limits, verify
from training.report.sections.reliability import reliability
from training.report.sections.segments import segments
from training.report.sections.slices import slices
from training.report.sections.trials import trials
from training.report.subject import Subject
from training.report.summary import about, badge, judgement

_MARKS = re.compile(r"[\\`*|\[\]]")


def model_card(subject: Subject) -> str:
    """The card; equal subjects give equal texts."""
    quality = subject.quality
    schema = subject.manifest.schema
    sections = (
        ("figures", "Metrics", [*key_figures(subject), *all_figures(subject)]),
        ("audience", "Audiences", [*gains(subject), *operating_points(subject), *money(subject)]),
        ("slices", "Metrics by group of users", slices(subject)),
        ("calibration", "Calibration", reliability(subject)),
        ("drivers", "Drivers", drivers(subject)),
        ("segments", "Segments", [*segments(subject), *cells(subject)]),
        ("comparison", "Score or segments", comparison(subject)),
        ("trials", "Alternatives", [*trials(subject), *leakage(subject)]),
        ("limits", "Limits", limits(subject)),
        ("verify", "How to verify", verify(subject)),
    )
    return (
        environment("training.report", in_markdown)
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
            sections=[
                Section(name, title, without_pictures(blocks))
                for name, title, blocks in sections
                if blocks
            ],
        )
    )


def in_markdown(value: Any) -> Any:  # noqa: ANN401
    """A text that Markdown shows literally: HTML and Markdown marks are escaped."""
    if type(value) is not str:
        return value
    text = str(escape(shown(value))).replace("&#39;", "'").replace("&#34;", '"')
    # HTML is escaped in the line above, Markdown marks here.
    return Markup(_MARKS.sub(lambda found: f"&#{ord(found.group())};", text))  # noqa: S704
