"""The page that checks a bundle in a browser: what it says, on standard output.

Usage: python -m benchmarks.browser BUNDLE
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.contenders import ROOT
from tests.integration.browser import open_page, running_browser
from tests.integration.served import served


def main(bundle: Path) -> bool:
    """Open the page in Chromium and print its lines; gives whether every row is reproduced."""
    with TemporaryDirectory() as folder, running_browser() as browser:
        (Path(folder) / "examples").symlink_to(ROOT / "examples")
        (Path(folder) / "bundle").symlink_to(bundle.resolve())
        with served(Path(folder)) as address:
            page = open_page(
                browser, f"{address}/examples/browser/index.html?bundle=/bundle/", 800
            ).page
            verdict = page.locator("#verdict", has_not_text="running").inner_text()
            print(page.locator("#lines").inner_text())
            page.context.close()
    return verdict == "passed"


if __name__ == "__main__":
    sys.exit(not main(Path(sys.argv[1])))
