import json

import pytest

from tests.helpers import invoke, read_table, run, write_table


@pytest.fixture
def source(users, scorer, tmp_path):
    return write_table(scorer.score(users), tmp_path / "scores.parquet")


def test_a_list_is_made_and_described(source, tmp_path):
    out = tmp_path / "list.csv"
    arms = ("--campaign", "spring", "--arms", "offer=0.5,reminder=0.5")
    done = run("engine", "audience", source, "--out", out, "--top", 1000, "--cost", 0.02, *arms)
    assert done.returncode == 0
    assert done.stdout == ""
    campaign = json.loads((tmp_path / "list.csv.campaign.json").read_text())
    offer, reminder = campaign["users_by_arm"].values()
    first, second, buyers, cost, left_out, last = done.stderr.splitlines()
    assert first == (
        f"1,000 users to contact of campaign spring: offer {offer:,}, reminder {reminder:,}"
    )
    assert second == f"{campaign['control_users']} control users to compare them with"
    assert buyers.startswith(f"expected buyers: {campaign['expected_buyers']:.0f}, contacted or")
    assert cost == "cost of contacts: 20.00"
    assert left_out.startswith("left out: ")
    assert last == f"list: {out}"
    assert read_table(out).height == 1_000


def test_json_is_the_campaign_file(source, tmp_path):
    out = tmp_path / "list.csv"
    options = ("--band", "high", "--band", "very_high", "--rename", "id=external_id,arm=variant")
    done = invoke("audience", source, "-o", out, "--json", *options)
    assert done.exit_code == 0
    assert done.stdout == (tmp_path / "list.csv.campaign.json").read_text()
    assert read_table(out).columns[0] == "external_id"
    kept = invoke("audience", source, "-o", out, "--json", "--if-exists", "skip")
    assert (kept.exit_code, kept.stdout) == (0, "")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--arms", "offer"), 2, "expected different names, as in offer=0.5,reminder=0.5"),
        (("--arms", "a=0.5,a=0.5"), 2, "expected different names"),
        (("--arms", "a=half"), 2, "a share is not a number"),
        (("--arms", "a=0.5,b=0.5"), 2, "needs --campaign"),
        (("--top", "5", "--budget", "1", "--cost", "1"), 2, "--top and --budget"),
        (("--band", "highest"), 2, "The bands are"),
        (("--segment", "Nobody"), 65, "There are Cart"),
        (("--min-probability", "1"), 65, "nobody to contact"),
        (("--by", "profit"), 2, "Add --bundle"),
        (("--by", "profit", "--bundle", "onnx_models/shopnow"), 78, "[economics]"),
        (("--suppress", "absent.csv"), 66, "absent.csv"),
        (("--template", "braze"), 2, "braze takes '.csv'"),
        (("--table", "lists"), 2, "Name either --out"),
        (("--out", ""), 73, "is a directory. Name a file."),
    ],
)
def test_what_is_wrong_has_its_exit_code(source, tmp_path, options, code, message):
    done = invoke("audience", source, "-o", tmp_path / "list.parquet", *options)
    assert done.exit_code == code
    assert message in done.output
    assert not (tmp_path / "list.parquet").exists()


def test_standard_output_is_no_list(source):
    done = invoke("audience", source, "--out", "-")
    assert (done.exit_code, "published as a whole file" in done.output) == (2, True)
