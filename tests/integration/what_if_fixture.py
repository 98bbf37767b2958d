"""What-if pages in a browser, and what the Python engine says of the same values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from playwright.sync_api import Browser, Page

from engine import load_bundle
from tests.integration.browser import Opened, open_page

ANSWER = "#answer[aria-busy=false]"
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class WhatIf:
    """An opened page."""

    opened: Opened

    @property
    def page(self) -> Page:
        return self.opened.page

    @property
    def facts(self) -> dict:
        return json.loads(self.page.locator("#facts").text_content())

    def start(self, number: int) -> dict:
        """Begin with a typical user, 0 for that of all users, and give the values."""
        start = self.facts["starts"][number]
        self.page.get_by_role("button", name=start["title"], exact=True).click()
        return start["values"]

    def label(self, name: str) -> str:
        return next(f["label"] for f in self.facts["features"] if f["name"] == name)

    def field(self, name: str):
        number = [f["name"] for f in self.facts["features"]].index(name)
        return self.page.locator(f"#feature-{number}")

    def slider(self, name: str):
        return self.page.get_by_role("slider", name=self.label(name), exact=True)

    def paste(self, text: str) -> None:
        """Paste a row from outside."""
        if not self.page.locator("#row-text").is_visible():
            self.page.locator("#row summary").click()
        self.page.locator("#row-text").fill(text)
        self.page.get_by_role("button", name="Use this row").click()

    def unknown(self, name: str):
        return self.page.get_by_role("checkbox", name=f"{self.label(name)}: unknown")


def open_what_if(
    browser: Browser, page: Path | str, width: int = 1280, **context: object
) -> WhatIf:
    """A page from the disk or at an address, once the model has spoken."""
    address = page if isinstance(page, str) else page.resolve().as_uri()
    opened = open_page(browser, address, width, **context)
    opened.page.locator(ANSWER).wait_for(state="attached")
    return WhatIf(opened)


def expect_engine(what_if: WhatIf, bundle: Path, values: Mapping[str, object]) -> None:
    """Check that the page says what the engine says of one user, once its last change is scored."""
    expected = engine_scores(bundle, [values]).row(0, named=True)
    wanted = expected["purchase_probability"]
    what_if.page.wait_for_function(
        "([wanted, allowed]) => "
        "Math.abs(document.querySelector('#answer').dataset.probability - wanted) <= allowed",
        arg=[wanted, TOLERANCE],
        timeout=5_000,
    )
    answer = what_if.page.locator("#answer")
    drivers = answer.get_attribute("data-drivers").split(" ")
    assert drivers == [expected[f"driver_{n}"] for n in (1, 2, 3)]
    for n, name in enumerate(drivers, start=1):
        row = what_if.page.locator(f"#drivers li[data-feature='{name}']")
        impact = expected[f"driver_{n}_impact"]
        assert abs(float(row.get_attribute("data-impact")) - impact) <= TOLERANCE
        assert row.get_attribute("class") == ("lowers" if impact < 0 else "raises")
    assert what_if.page.locator("#segment-name").inner_text() == expected["segment_name"]
    assert what_if.page.locator("#action").inner_text() == expected["action"]
    assert f"{expected['propensity_band'].replace('_', ' ')} band, decile " in (
        what_if.page.locator("#meaning").inner_text()
    )
    assert f"decile {expected['propensity_decile']} of 10" in (
        what_if.page.locator("#meaning").inner_text()
    )


def engine_scores(bundle: Path, users: list[Mapping[str, object]]) -> pl.DataFrame:
    """What the engine says of users without ids."""
    scorer = load_bundle(bundle)
    schema = scorer.manifest.schema
    frame = pl.DataFrame(
        users,
        schema={
            feature.name: pl.Float64 if feature.kind == "numeric" else pl.String
            for feature in schema.model_features
        },
    )
    if schema.id is not None:
        frame = frame.with_columns(pl.Series(schema.id, [f"u{n}" for n in range(frame.height)]))
    return scorer.score(frame)
