"""A report as two HTML pages that load nothing: marketing's, and the analyst's with every figure."""

from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import quote

from engine.pages.format import count, percent, whole_percent
from engine.pages.html import OWN, environment, inline_json, source, source_hash, visible
from training.report.marketing.audience import audience, bars, reached
from training.report.marketing.plan import (
    calibration_sentence,
    driver_sentences,
    plan_header,
    plan_rows,
    segment_cards,
)
from training.report.sections.limits import not_to_conclude
from training.report.subject import Subject
from training.report.summary import about, badge, judgement, report_sections

GENERATOR = "training report"
"""The generator named in a report; it identifies earlier reports, which may be replaced."""

PICTURE = (800, 200)
"""Width and height of the histogram, in its own units."""

SHOWN_LIMITS = 4
"""Limits on marketing's page; the analyst's has all."""

_OWN = "training.report"


@dataclass(frozen=True, slots=True)
class Links:
    """Where the pages of a report are, relative to each other."""

    report: str
    analyst: str
    what_if: str | None = None


def analyst_name(name: str) -> str:
    """The file name of the analyst's page: `report.analyst.html` beside `report.html`."""
    path = PurePath(name)
    return f"{path.stem}.analyst{path.suffix}"


def report_pages(subject: Subject, name: str, what_if: str | None = None) -> dict[str, bytes]:
    """Both pages by file name; equal subjects give equal bytes.

    Args:
        subject: What the report is about.
        name: The file name of marketing's page.
        what_if: The what-if page as a path relative to it, if there is one.
    """
    links = Links(quote(name), quote(analyst_name(name)), what_if and quote(what_if))
    return {
        name: marketing_html(subject, links).encode(),
        analyst_name(name): analyst_html(subject, links).encode(),
    }


def marketing_html(subject: Subject, links: Links) -> str:
    """Whom to contact, how many, with what, why, and how far to trust it, on two screens."""
    found = audience(subject)
    script = source(_OWN, "audience.js")
    style = source(OWN, "page.css") + source(_OWN, "marketing.css")
    made = environment(_OWN, visible)
    made.filters |= {"count": count, "percent": percent, "whole_percent": whole_percent}
    return made.get_template("marketing.html.j2").render(
        generator=GENERATOR,
        style=style,
        script=script,
        style_hash=source_hash(style),
        script_hash=source_hash(script),
        links=links,
        manifest=subject.manifest,
        quality=subject.quality,
        badge=badge(subject.quality),
        judgement=judgement(subject.quality),
        event=subject.event,
        measured=subject.measured,
        audience=found,
        start=None if found is None else reached(found, 0, found.start),
        facts=None if found is None else inline_json(found.to_json()),
        picture=PICTURE,
        bars=None if found is None else bars(found.choices[0].users, *PICTURE),
        cards=segment_cards(subject),
        plan_header=plan_header(subject.manifest.band_cuts),
        plan=plan_rows(subject),
        drivers=driver_sentences(subject),
        calibration=calibration_sentence(subject),
        limits=not_to_conclude(subject)[:SHOWN_LIMITS],
    )


def analyst_html(subject: Subject, links: Links) -> str:
    """Every figure of a bundle, without a script."""
    quality = subject.quality
    return (
        environment(_OWN, visible)
        .get_template("analyst.html.j2")
        .render(
            generator=GENERATOR,
            style=source(OWN, "page.css"),
            links=links,
            manifest=subject.manifest,
            quality=quality,
            judgement=judgement(quality),
            badge=badge(quality),
            about=about(subject),
            sections=report_sections(subject),
        )
    )
