"""`training report` as a user runs it, and what it says of a model that knows nothing."""

import re
import shutil
from html import unescape

import polars as pl
import pytest

from engine.bundle.evaluation import read_evaluation
from engine.bundle.open import ANALYST_REPORT, MODEL_CARD, REPORT, open_bundle
from engine.cli.main import main as engine_main
from tests.fitted import LEAST, shop, shuffled
from tests.fitting import number, schema_of
from tests.helpers import run, write_table
from training.cli import main
from training.evaluate import evaluation as measure
from training.pipeline import FitOptions, fit


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Users of many kinds, and a bundle fitted to the ordinary ones."""
    made = tmp_path_factory.mktemp("shop")
    shared = shop()
    users = pl.read_parquet(shared.users)
    write_table(users, made / "users.parquet")
    write_table(users.filter(pl.col("bought") == 1), made / "buyers.parquet")
    write_table(users.head(19), made / "few.parquet")
    write_table(users.head(300), made / "some.parquet")
    write_table(users.drop("visits", "city"), made / "narrow.parquet")
    write_table(users.drop("bought"), made / "unlabelled.parquet")
    shutil.copytree(shared.bundle, made / "bundle")
    (made / "diary.html").write_text("<!doctype html>")
    (made / "taken.analyst.html").write_text("<!doctype html>")
    (made / "link.html").symlink_to("nowhere.html")
    (made / "folder").mkdir()
    (made / "broken").mkdir()
    (made / "broken" / "manifest.json").write_text("{")
    return made


def call(program, *arguments):
    """The exit code of a command line run in this process."""
    with pytest.raises(SystemExit) as stop:
        program([str(argument) for argument in arguments])
    return stop.value.code or 0


def test_a_report_is_written_and_told(folder, tmp_path, capsys):
    out = tmp_path / "report.html"
    bundle, users = folder / "bundle", folder / "users.parquet"
    out.write_bytes((bundle / REPORT).read_bytes())
    assert call(main, "report", bundle, users, "--out", out) == 0
    said = capsys.readouterr()
    assert said.out == ""
    analyst = tmp_path / "report.analyst.html"
    assert re.fullmatch(rf"report on tiny/\S+ in {out}, every figure in {analyst}\n", said.err)
    assert 'href="report.analyst.html"' in out.read_text()
    page = analyst.read_text()
    assert "3,000 users – users.parquet" in page
    assert '<section id="drift"' in page
    assert "was fitted to: the models have seen most of them" in page
    assert out.stat().st_mode == (bundle / REPORT).stat().st_mode
    assert sorted(tmp_path.iterdir()) == [analyst, out]


def test_a_report_has_the_same_bytes_in_any_process(folder, tmp_path, monkeypatch):
    (tmp_path / "no-fonts.conf").write_text("<fontconfig></fontconfig>")
    elsewhere = {"PYTHONHASHSEED": "2", "TZ": "America/Lima", "LANG": "C", "COLUMNS": "40"}
    elsewhere |= {"FONTCONFIG_FILE": str(tmp_path / "no-fonts.conf"), "HOME": str(tmp_path)}
    report = ("report", folder / "bundle", "some.parquet", "--out")
    monkeypatch.chdir(folder)
    assert call(main, *report, tmp_path / "here.html") == 0
    found = run("training", *report, tmp_path / "there.html", env=elsewhere, cwd=folder)
    assert found.returncode == 0, found.stderr
    for page in ("html", "analyst.html"):
        here, there = ((tmp_path / f"{place}.{page}").read_text() for place in ("here", "there"))
        assert here == there.replace("there.", "here.")


@pytest.mark.parametrize(
    ("bundle", "data", "out", "code", "words"),
    [
        ("bundle", "buyers.parquet", "new.html", 65, "is 1 in all"),
        ("bundle", "few.parquet", "new.html", 65, "19 users"),
        ("bundle", "narrow.parquet", "new.html", 65, "'visits'"),
        ("bundle", "unlabelled.parquet", "new.html", 65, "'bought'"),
        ("bundle", "absent.parquet", "new.html", 66, "absent.parquet"),
        ("bundle", "users.parquet", "absent/new.html", 73, "absent"),
        ("bundle", "users.parquet", "folder", 73, "folder"),
        ("bundle", "users.parquet", "diary.html", 73, "exists and is not a report"),
        ("bundle", "users.parquet", "link.html", 73, "exists and is not a report"),
        ("bundle", "users.parquet", "taken.html", 73, "taken.analyst.html: exists and is not"),
        ("bundle", "users.parquet", "new.pdf", 73, "ends with .html"),
        ("bundle", "users.parquet", "-", 73, "ends with .html"),
        ("bundle", "users.parquet", "users.parquet", 2, "is an input and an output"),
        ("bundle", "users.parquet", "bundle/report.html", 2, "a bundle or a folder of bundles"),
        ("absent", "users.parquet", "new.html", 78, "absent"),
        ("broken", "users.parquet", "new.html", 78, "manifest"),
        ("users.parquet", "users.parquet", "new.html", 78, "users.parquet"),
    ],
)
def test_what_cannot_be_reported_is_said_in_words(
    folder, monkeypatch, capsys, bundle, data, out, code, words
):
    monkeypatch.chdir(folder)
    before = (folder / "bundle" / REPORT).read_bytes()
    assert call(main, "report", bundle, data, "--out", out) == code
    said = capsys.readouterr()
    assert words in said.err
    assert "Traceback" not in said.err
    assert said.err.count("\n") <= 4
    assert not (folder / "new.html").exists()
    assert not (folder / "new.pdf").exists()
    assert (folder / "diary.html").read_text() == "<!doctype html>"
    assert (folder / "bundle" / REPORT).read_bytes() == before


def test_a_file_that_appears_while_users_are_measured_is_left(folder, tmp_path, monkeypatch):
    out, evaluated = tmp_path / "report.html", measure.evaluate_users

    def found_late(*arguments):
        out.write_text("a diary")
        return evaluated(*arguments)

    monkeypatch.setattr(measure, "evaluate_users", found_late)
    assert call(main, "report", folder / "bundle", folder / "users.parquet", "--out", out) == 73
    assert out.read_text() == "a diary"


def test_few_users_are_measured_without_small_groups(folder, tmp_path):
    out = tmp_path / "report.html"
    # As `mktemp` makes it.
    out.touch()
    assert call(main, "report", folder / "bundle", folder / "some.parquet", "--out", out) == 0
    page = out.with_name("report.analyst.html").read_text()
    assert "300 users – some.parquet" in page
    cells = re.search('<section id="actions".*?</section>', page, re.DOTALL).group()
    counts = [int(text) for text in re.findall(r"(\d+) users<", cells)]
    assert min(counts) >= 20
    assert re.search(r"(?:above|below|bands): \d+ users<", cells)
    assert "–</span>" not in cells


def test_a_table_without_ids_has_a_report(folder, tmp_path):
    schema = schema_of(number("visits"), number("spend"))
    bundle, out = tmp_path / "bundle", tmp_path / "report.html"
    fit([str(folder / "users.parquet")], FitOptions(schema, effort=LEAST), bundle)
    assert call(main, "report", bundle, folder / "users.parquet", "--out", out) == 0
    assert "2 features of each user" in out.with_name("report.analyst.html").read_text()


def test_a_model_of_shuffled_labels_is_called_unusable_everywhere(tmp_path, capsys):
    shared = shuffled()
    bundle, out = shared.bundle, tmp_path / "again.html"
    quality = read_evaluation(open_bundle(bundle)).quality
    assert quality["band"] == "unusable"
    assert call(main, "report", bundle, shared.users, "--out", out) == 0
    assert call(engine_main, "inspect", bundle) == 0
    inspected = capsys.readouterr().out
    places = [bundle / REPORT, bundle / ANALYST_REPORT, bundle / MODEL_CARD]
    texts = [place.read_text() for place in (*places, out, out.with_name("again.analyst.html"))]
    for text in texts:
        assert "Must not be used" in text
        assert "May be used" not in text
    assert inspected.splitlines()[1] == "MUST NOT BE USED"
    for text in [*texts, inspected]:
        assert quality["sentence"].startswith("Unusable: ")
        assert quality["reasons"][0] in unescape(text)
        assert "o not use these scores" in text
