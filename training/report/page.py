"""A report as one HTML page: no script, no request, every text escaped."""

from engine.pages.html import OWN, environment, source, visible
from training.report.subject import Subject
from training.report.summary import about, badge, judgement, report_sections

GENERATOR = "training report"
"""The generator named in a report; it identifies earlier reports, which may be replaced."""


def report_html(subject: Subject) -> str:
    """One self-contained HTML page; equal subjects give equal texts."""
    template = environment("training.report", visible).get_template("report.html.j2")
    quality = subject.quality
    return template.render(
        generator=GENERATOR,
        style=source(OWN, "page.css"),
        manifest=subject.manifest,
        quality=quality,
        judgement=judgement(quality),
        badge=badge(quality),
        about=about(subject),
        sections=report_sections(subject),
    )
