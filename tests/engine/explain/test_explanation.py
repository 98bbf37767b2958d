import dataclasses
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from engine.cli.main import main
from engine.errors import InputError, UsageError
from engine.explain.explanation import Explanation, FeatureImpact, explain
from engine.explain.format import explanation_lines, rounded_to_sum
from engine.inputs.open import open_inputs
from tests.helpers import write_table

USER = "U00000003"
RARE_VALUES = {"avg_order_value": None, "country": "Atlantis", "sessions_last_7d": 3}


@pytest.fixture
def explained(scorer, tmp_path):
    """Explain a user of frames, each in a file of its own."""

    def explained(*frames, user=USER, suffix=".parquet"):
        files = [write_table(f, tmp_path / f"{n}{suffix}") for n, f in enumerate(frames)]
        with open_inputs([str(file) for file in files]) as tables:
            return explain(tables, scorer, user)

    return explained


def with_values(users, values, user=USER):
    is_user = pl.col("user_id") == user
    return users.with_columns(
        pl.when(is_user).then(pl.lit(value, users.schema[name])).otherwise(name).alias(name)
        for name, value in values.items()
    )


def by_name(explanation):
    return {feature.name: feature for feature in explanation.features}


def feature(**changes):
    plain = FeatureImpact(
        *("x", "x", 2.0, "", "x (2)", 0.5, "raises the odds by half", 0.5, 0.1), unseen=False
    )
    return replace(plain, **changes)


def explanation(*features, base_value=-2.0, **changes):
    margin = base_value + sum(f.impact for f in features)
    plain = Explanation(
        user="7",
        snapshot=None,
        bundle_id="b/1",
        users_read=10,
        users_compared=10,
        probability=1 / (1 + math.exp(-margin)),
        margin=margin,
        base_value=base_value,
        decile=9,
        band="high",
        segment="Regulars",
        action="Remind",
        in_control_group=False,
        features=features,
    )
    return replace(plain, **changes)


def words_of(**changes):
    line = list(explanation_lines(explanation(feature(**changes))))[-2]
    return line[10:]


def test_the_score_is_that_of_the_score_file(users, scorer, explained):
    found = explained(users)
    row = scorer.score(users).row(by_predicate=pl.col("user_id") == USER, named=True)
    assert np.float32(found.probability) == np.float32(row["purchase_probability"])
    assert found.decile == row["propensity_decile"]
    assert found.band == row["propensity_band"]
    assert found.segment == row["segment_name"]
    assert found.snapshot == row["snapshot_date"]


def test_base_value_and_impacts_add_up_to_the_score(users, scorer, explained):
    found = explained(users)
    assert {f.name for f in found.features} == {f.name for f in scorer.manifest.schema.features}
    assert found.base_value + sum(f.impact for f in found.features) == pytest.approx(found.margin)
    assert 1 / (1 + math.exp(-found.margin)) == pytest.approx(found.probability, abs=1e-6)
    sizes = [abs(f.impact) for f in found.features]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".csv.gz", ".arrow", ".ndjson"])
def test_ranks_are_exact_in_every_format(users, scorer, explained, suffix):
    users = with_values(users, RARE_VALUES)
    found = by_name(explained(users, suffix=suffix))
    for name, feature in found.items():
        column = users[name]
        value = column.filter(users["user_id"] == USER).item()
        assert feature.share_equal == column.eq_missing(value).mean(), name
        if column.dtype == pl.String or value is None:
            assert feature.share_below is None
        else:
            assert feature.share_below == (column < value).sum() / users.height, name


def test_several_files_are_one_input(users, explained, monkeypatch):
    whole = explained(users)
    monkeypatch.setattr("engine.explain.explanation.CHUNK_ROWS", 700)
    assert explained(users[:2], users[2:3000], users[3000:]) == whole


def test_rows_that_cannot_be_scored_are_not_compared_with(users, explained):
    bad = with_values(users, {"sessions_last_7d": -1}, user="U00000001")
    found = explained(bad)
    assert (found.users_read, found.users_compared) == (5_000, 4_999)
    assert by_name(found) == by_name(explained(users.filter(pl.col("user_id") != "U00000001")))
    words = "compared with those 4,999 of the 5,000 users that can be scored"
    assert words in explanation_lines(found)


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_missing_value_is_compared_with_missing_values(users, explained, nothing):
    users = with_values(users, {"avg_order_value": nothing})
    feature = by_name(explained(users))["avg_order_value"]
    missing = users["avg_order_value"].fill_nan(None).null_count()
    assert (feature.value, feature.share_below) == (None, None)
    assert feature.share_equal == missing / users.height


def test_an_unseen_category_keeps_its_text_and_counts_as_missing(users, explained):
    unseen = by_name(explained(with_values(users, {"country": "Atlantis"})))["country"]
    missing = by_name(explained(with_values(users, {"country": None})))["country"]
    assert (unseen.value, unseen.unseen, unseen.share_equal) == ("Atlantis", True, 1 / 5_000)
    assert (missing.value, missing.unseen) == (None, False)
    assert unseen.impact == missing.impact


def test_the_words_are_those_of_the_score_file(users, scorer, explained):
    users = with_values(users, RARE_VALUES)
    scored = scorer.score(users, reasons=3).filter(user_id=USER)
    found = [f"{f.words}: {f.effect}" for f in explained(users).features[:3]]
    assert found == [*scored.select("reason_1", "reason_2", "reason_3").row(0)]


def test_the_last_snapshot_is_explained(users, explained):
    earlier = users.with_columns(pl.col("snapshot_date").dt.offset_by("-7d"), sessions_last_7d=1)
    found = explained(users, earlier.cast({"sessions_last_7d": pl.Int32}))
    assert found.snapshot == users["snapshot_date"].max()
    assert found.users_compared == 10_000
    assert found.probability == explained(users).probability


def test_ids_are_compared_as_text(users, explained):
    numbered = users.with_columns(user_id=pl.int_range(users.height))
    assert explained(numbered, user="2").probability == explained(users).probability
    with pytest.raises(InputError, match="user '02': not among the 5,000 users read"):
        explained(numbered, user="02")


def test_a_user_who_is_not_there_is_refused(users, explained):
    with pytest.raises(
        InputError, match=r"user 'Nobody': not among the 5,000 users read.*'user_id'"
    ):
        explained(users, user="Nobody")


def test_a_row_that_cannot_be_scored_is_refused_with_its_reasons(users, explained):
    users = with_values(users, {"sessions_last_7d": -1, "bounce_rate": float("inf")})
    reasons = r"row 3 of .*0.parquet cannot be scored; .*7d\|below_min, bounce_rate\|not_finite"
    with pytest.raises(InputError, match=reasons):
        explained(users)


def test_a_user_who_is_there_twice_is_refused(users, explained):
    with pytest.raises(InputError, match=r"2 rows of 2026-11-22, .*row 3 of .*0.*row 1 of .*1"):
        explained(users, users[2:3])


def test_a_schema_without_an_id_is_refused(scorer):
    manifest = replace(scorer.manifest, schema=replace(scorer.manifest.schema, id=None))
    with pytest.raises(UsageError, match="its schema names no id"):
        explain((), SimpleNamespace(manifest=manifest), USER)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "x (2), more than 50 % of users: raises the odds by half"),
        ({"share_below": 0.9499}, "x (2), more than 94 % of users: raises the odds by half"),
        ({"share_below": 0.0029}, "x (2), more than 0.2 % of users: raises the odds by half"),
        (
            {"share_below": 0.0},
            "x (2), the lowest value, shared by 10 % of users: raises the odds by half",
        ),
        (
            {"share_below": 0.0, "share_equal": 1.0},
            "x (2), shared by all users: raises the odds by half",
        ),
        (
            {"value": None, "words": "x (not known)", "share_below": None, "share_equal": 0.29},
            "x (not known), as for 29 % of users: raises the odds by half",
        ),
        (
            {"value": "gold", "words": "Tier (gold)", "share_below": None, "share_equal": 0.08},
            "Tier (gold), shared by 8 % of users: raises the odds by half",
        ),
        (
            {"value": "\x1b[2J" + "y" * 90, "share_below": None, "unseen": True},
            rf"x (2), '\x1b[2J{'y' * 72}…' for 10 % of users: raises the odds by half",
        ),
    ],
)
def test_a_feature_in_plain_words(changes, words):
    assert words_of(**changes) == words


def test_the_head_names_user_score_and_segment():
    lines = list(explanation_lines(explanation(feature(impact=2.0))))
    assert lines == [
        "user 7, scored by b/1",
        "probability 50.0 %, decile 9 of 10, band high, segment Regulars",
        "action: Remind",
        "compared with all 10 users of the input",
        "",
        "impact of each feature on the log-odds (SHAP value)",
        "  -2.000  base value: the average log-odds, 11.9 % as a probability",
        "  +2.000  x (2), more than 50 % of users: raises the odds by half",
        "  +0.000  log-odds = -2.000 and impacts of +2.000: probability 50.0 %",
    ]


def test_the_probability_of_the_base_value_is_not_that_of_its_rounded_form():
    value = -2.13752
    shown = list(explanation_lines(dataclasses.replace(explanation(feature()), base_value=value)))[
        6
    ]
    assert (shown[:8], "10.6 %" in shown) == ("  -2.138", True)


def test_an_action_is_told_whole():
    action = "Reminder with a small offer, " * 9
    lines = list(explanation_lines(dataclasses.replace(explanation(feature()), action=action)))
    assert lines[2] == f"action: {action}"


def test_a_small_probability_is_not_shown_as_none():
    lines = list(explanation_lines(explanation(feature(), base_value=-9.0)))
    assert lines[1].startswith("probability 0.020 %, ")


def test_a_user_of_the_control_group_is_told_as_one():
    chosen = dataclasses.replace(explanation(feature(impact=2.0)), in_control_group=True)
    assert list(explanation_lines(chosen))[2] == (
        "action: Remind; not for this user, who is in the control group"
    )


def test_the_numbers_shown_add_up(users, explained):
    *numbers, total = [
        round(1_000 * float(line.split()[0]))
        for line in list(explanation_lines(explained(users)))[6:]
    ]
    assert sum(numbers) == total


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=50), st.floats(-1e4, 1e4))
def test_rounded_values_add_up_and_stay_near(values, base):
    total = round(base + math.fsum(values)) - round(base)
    rounded = rounded_to_sum(values, total)
    assert sum(rounded) == total
    assert all(abs(value - number) <= 1.5 for value, number in zip(values, rounded, strict=True))


def invoke(*args):
    return CliRunner().invoke(main, ["explain", *map(str, args)])


def test_the_command_gives_words_on_standard_output(users_file, explained, users):
    result = invoke(users_file, "--user", USER)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == list(explanation_lines(explained(users)))


def test_the_command_gives_the_same_as_json(users_file, explained, users):
    document = json.loads(invoke(users_file, "--user", USER, "--json").stdout)
    found = explained(users)
    features = document.pop("features")
    assert document == {
        "user": USER,
        "snapshot": "2026-11-22",
        "bundle_id": found.bundle_id,
        "users_read": 5_000,
        "users_compared": 5_000,
        "probability": found.probability,
        "margin": found.margin,
        "base_value": found.base_value,
        "decile": found.decile,
        "band": found.band,
        "action": found.action,
        "in_control_group": found.in_control_group,
        "segment": found.segment,
    }
    assert [FeatureImpact(**_without(f, "odds_factor")) for f in features] == [*found.features]
    assert all(f["odds_factor"] == pytest.approx(math.exp(abs(f["impact"]))) for f in features)


def _without(document, name):
    return {key: value for key, value in document.items() if key != name}


@pytest.mark.parametrize(
    ("args", "code"), [(("--user", "Nobody"), 65), ((), 2), (("--user", USER, "--bundle", "b"), 78)]
)
def test_refusals_have_their_exit_codes(users_file, args, code):
    result = invoke(users_file, *args)
    assert (result.exit_code, result.stdout) == (code, "")


def test_standard_input_is_read(users, users_file):
    found = CliRunner().invoke(
        main, ["explain", "-", "--user", USER], input=users_file.read_bytes()
    )
    assert found.stdout == invoke(users_file, "--user", USER).stdout
