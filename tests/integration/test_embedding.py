"""The examples of docs/embedding.md, run as they stand there, say what the engine says."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest

from engine.bundle.open import open_bundle
from engine.model.session import Session
from engine.rows.typed import to_features
from tests.helpers import BUNDLE, ROOT
from tests.integration.browser import needs_chromium, open_page, running_browser
from tests.integration.javascript import EXAMPLES, bundle_folder, install, needs_npm, run
from tests.integration.served import served

TEXT = (ROOT / "docs" / "embedding.md").read_text()
USER = {
    "sessions_last_7d": 4,
    "orders_last_90d": 2,
    "days_since_last_session": 1,
    "country": "DE",
}


def example(language):
    return re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[1]


@pytest.fixture(scope="module")
def expected():
    """The line that every example prints, from the engine."""
    bundle = open_bundle(BUNDLE)
    features = bundle.manifest.schema.model_features
    columns = {f.name: pl.Float32 if f.kind == "numeric" else pl.String for f in features}
    user = pl.DataFrame([{name: USER.get(name) for name in columns}], schema=columns)
    said = Session(bundle).run(to_features(user, features, bundle.manifest.categories))
    drivers = [features[n].name for n in said.driver_index[0]]
    return f"{said.probability[0]:.6f} {drivers} {said.segment[0]}"


@pytest.fixture
def folder(tmp_path):
    """What an example finds beside it."""
    shutil.copy(bundle_folder() / "scorer.onnx", tmp_path)
    return tmp_path


def printed(*command, folder):
    said = run(*command, folder=folder)
    assert said.returncode == 0, said.stderr
    return said.stdout.removesuffix("\n")


def test_python(folder, expected):
    (folder / "example.py").write_text(example("python"))
    assert printed(sys.executable, "example.py", folder=folder) == expected


@needs_npm
def test_node(folder, expected):
    install(EXAMPLES / "node")
    (folder / "example.mjs").write_text(example("javascript"))
    (folder / "node_modules").symlink_to(EXAMPLES / "node" / "node_modules")
    assert printed("node", "example.mjs", folder=folder) == expected


@needs_npm
@needs_chromium
def test_browser(folder, expected):
    install(EXAMPLES / "browser")
    (folder / "index.html").write_text(example("html"))
    (folder / "node_modules").symlink_to(EXAMPLES / "browser" / "node_modules")
    with served(folder) as address, running_browser() as browser:
        opened = open_page(browser, f"{address}/index.html", 800)
        line = opened.page.locator("pre", has_text="]")
        assert line.inner_text() == expected
        assert opened.words == []
        opened.page.context.close()


@needs_npm
def test_every_check_that_is_shown_runs(monkeypatch):
    programs = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    lines = example("sh").replace("VERSION", bundle_folder().name).splitlines()
    assert len(lines) == 3
    for line in lines:
        said = run(*shlex.split(line))
        assert said.returncode == 0, said.stderr
