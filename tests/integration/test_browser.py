"""scorer.onnx as WebAssembly in a real browser."""

import pytest

from tests.helpers import ROOT
from tests.integration.browser import needs_chromium, open_page
from tests.integration.javascript import EXAMPLES, bundle_folder, install, needs_npm
from tests.integration.served import served

pytestmark = [needs_npm, needs_chromium]


@pytest.fixture(scope="module")
def address():
    """The project, served to this machine."""
    install(EXAMPLES / "browser")
    with served(ROOT) as address:
        yield address


def checked(browser, address, bundle):
    """The page once it has a verdict, the verdict and its lines."""
    found = open_page(browser, f"{address}/examples/browser/index.html?bundle={bundle}", 800)
    verdict = found.page.locator("#verdict", has_not_text="running")
    words, lines = verdict.inner_text(), found.page.locator("#lines").inner_text()
    found.page.context.close()
    return found, words, lines.splitlines()


def test_every_conformance_row_is_reproduced(browser, address):
    bundle = bundle_folder().relative_to(ROOT)
    found, verdict, lines = checked(browser, address, f"/{bundle}/")
    assert (verdict, found.words) == ("passed", [])
    assert all(url.startswith((address, "data:")) for url in found.requests)
    assert [line for line in (*lines[2:-3], lines[-1]) if not line.endswith(": ok")] == []
    assert len(lines) == 12
    assert lines[-3:-1] == ["rows with different drivers: 0", "rows with different segments: 0"]


def test_a_bundle_that_is_not_there_is_told(browser, address):
    _, verdict, lines = checked(browser, address, "/no/bundle/")
    assert verdict == "failed"
    assert lines == [f"Error: {address}/no/bundle/scorer.onnx: 404"]
