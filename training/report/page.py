"""A report as one HTML page: no script, no request, every text escaped."""

from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from training.format import shown
from training.report.place import GENERATOR
from training.report.subject import Subject
from training.report.summary import about, badge, judgement, report_sections


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


def environment(finalize: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - jinja2 is loaded late
    """The template environment; every value goes through `finalize`, then is escaped."""
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
    """Texts without invisible characters; anything else as it is."""
    return shown(value) if type(value) is str else value
