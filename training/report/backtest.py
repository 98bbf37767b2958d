"""The page of a backtest: the sections that the terminal shows."""

from collections.abc import Sequence

from engine.pages.blocks import Section
from engine.pages.html import OWN, environment, source, visible

GENERATOR = "training backtest"
"""The generator named in the page; it identifies earlier ones, which may be replaced."""


def backtest_html(sections: Sequence[Section], bundles: Sequence[str]) -> str:
    """One self-contained HTML page; equal sections give equal texts.

    Args:
        sections: What was measured.
        bundles: Whose scores were compared with outcomes.
    """
    template = environment("training.report", visible).get_template("backtest.html.j2")
    return template.render(
        generator=GENERATOR,
        style=source(OWN, "page.css"),
        bundles=list(bundles),
        sections=[section for section in sections if section.blocks],
    )
