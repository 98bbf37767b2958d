"""The report of a night as one HTML page without a script."""

from engine.pages.html import OWN, environment, source, source_hash, visible
from engine.report.night import Night
from engine.report.sections import about, night_sections, verdict

GENERATOR = "engine report"
"""The generator named in the page; it identifies earlier reports, which may be replaced."""


def night_html(now: Night, before: Night | None = None) -> str:
    """One self-contained page; equal nights give equal texts.

    Args:
        now: The scores of this run.
        before: Those of the last run, if they are compared.
    """
    style = source(OWN, "page.css") + source("engine.report", "night.css")
    template = environment("engine.report", visible).get_template("night.html.j2")
    page: str = template.render(
        generator=GENERATOR,
        style=style,
        style_hash=source_hash(style),
        verdict=verdict(now),
        about=about(now, before),
        sections=night_sections(now, before),
    )
    return page
