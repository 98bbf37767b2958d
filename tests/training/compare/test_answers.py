import copy

import pytest

from training.compare.answers import EITHER, NEITHER, THE_MODEL, THE_SEGMENTS, plain_answers
from training.compare.evidence import Difference
from training.compare.strategies import MODEL, SEGMENT_FEATURE, SEGMENT_RATE, TOGETHER

GOOD = {"may_be_used": True, "reasons": []}
BAD = {"may_be_used": False, "reasons": ["ROC-AUC 0.50 is chance"]}
NAMES = {1: "Regulars", 2: "Guests"}
TITLES = {"visits": "Visits", "age": "Age"}


BASE_LOSS = 0.4714


def strategy(
    key, auc, loss, gap=None, error=0.002, loss_gap=None, loss_error=0.0002, top=0.3,
    base_error=0.002,
):  # fmt: skip
    changed = None if gap is None else {"roc_auc": gap, "log_loss": loss_gap}
    spread = None if gap is None else {"roc_auc": error, "log_loss": loss_error}
    return {
        "key": key, "roc_auc": auc, "log_loss": loss, "roc_auc_interval": [auc - 0.01, auc + 0.01],
        "gains": {"0.05": top / 2, "0.1": top, "0.2": 0.5, "0.3": 0.6},
        "difference": changed, "standard_error": spread,
        "over_base_rate": {"log_loss": loss - BASE_LOSS, "standard_error": base_error},
    }  # fmt: skip


def document(**parts):
    """A model that ranks well, segments that rank a little, and no gain from both."""
    base = {
        "rows": 9_000,
        "base_rate": 0.18,
        "scores": [
            strategy(MODEL, 0.83, 0.36),
            strategy(SEGMENT_RATE, 0.71, 0.42, -0.12, 0.004, 0.06, 0.002, top=0.19),
            strategy(SEGMENT_FEATURE, 0.83, 0.36, 0.0001, 0.0002, -0.00001, 0.0001),
            strategy(TOGETHER, 0.83, 0.36, 0.0, 0.0002, 0.00002, 0.0001),
        ],
        "segments": [inside(1, 0.75), inside(2, 0.70)],
        "variance": {
            "probability": 0.4,
            "drivers": [
                {"name": "visits", "mean_absolute_impact": 0.5, "explained": 0.6},
                {"name": "age", "mean_absolute_impact": 0.2, "explained": 0.02},
            ],
        },
        "stability": {"words": "These users have one date."},
    }
    return copy.deepcopy(base) | parts


def inside(number, auc, low=0.04):
    interval = None if auc is None else [auc - low, auc + low]
    return {
        "segment_id": number, "roc_auc": auc, "roc_auc_interval": interval,
        "top_decile_lift": None if auc is None else 2.5,
    }  # fmt: skip


def with_strategy(key, **figures):
    found = document()
    found["scores"] = [w for w in found["scores"] if w["key"] != key] + [strategy(key, **figures)]
    return found


def answers_of(found, quality=GOOD, names=NAMES):
    answers = plain_answers(found, quality, names, TITLES)
    kinds = ("whom", "how_many", "inside", "say", "both")
    return dict(zip(kinds, answers["answer"], strict=True)), answers


def test_a_good_model_ranks_and_segments_describe():
    answers, rest = answers_of(document())
    assert [answers[kind]["tool"] for kind in answers] == [
        *(THE_MODEL, THE_MODEL, THE_MODEL, THE_SEGMENTS, "no, the model alone"),
    ]
    why = answers["whom"]["why"].replace("\u202f", " ")
    assert "0.830 by the model and 0.710" in why
    assert "(segments against model: −0.120 ± 0.008)" in why
    assert "its top tenth holds 30 % of the buyers, that of the segments 19 %" in why
    assert "they explain part of how users differ" in answers["say"]["why"]
    said = "(Visits 60\u202f%, Age 2\u202f%), and 40\u202f% of how their probabilities differ;"
    assert said in answers["say"]["why"]
    assert "ROC-AUC falls by 0.120 from" in rest["would_change"][0]
    assert "control group" in rest["neither"][0]
    assert any("54\u202f% buy and 46\u202f% do not" in text for text in rest["neither"])


def test_segments_as_good_as_the_model_are_said_to_be():
    found = with_strategy(SEGMENT_RATE, auc=0.829, loss=0.3601, gap=-0.001, loss_gap=0.0001)
    answers, rest = answers_of(found)
    assert answers["whom"]["tool"] == answers["how_many"]["tool"] == EITHER
    assert "no difference beyond chance" in answers["whom"]["why"]
    assert rest["would_change"][0].startswith("More labelled users: 9,000 rows")


def test_segments_better_than_the_model_are_said_to_be():
    found = with_strategy(SEGMENT_RATE, auc=0.9, loss=0.3, gap=0.07, loss_gap=-0.06)
    answers, _ = answers_of(found)
    assert answers["whom"]["tool"] == answers["how_many"]["tool"] == THE_SEGMENTS
    assert "rank better" in answers["whom"]["why"]


def test_useless_segments_are_called_useless():
    found = with_strategy(SEGMENT_RATE, auc=0.505, loss=0.4715, gap=-0.325, loss_gap=0.11)
    for driver in found["variance"]["drivers"]:
        driver["explained"] = 0.004
    answers, rest = answers_of(found)
    assert answers["whom"]["tool"] == THE_MODEL
    assert "the segments rank no better than chance" in answers["whom"]["why"]
    assert answers["say"]["tool"] == NEITHER
    assert "at most 0.4\u202f%" in answers["say"]["why"]
    assert any(text.startswith("Segments of other features") for text in rest["would_change"])


def test_what_explains_a_driver_of_no_weight_does_not_count():
    found = document()
    found["variance"]["drivers"] = [
        {"name": "visits", "mean_absolute_impact": 0.5, "explained": 0.01},
        {"name": "age", "mean_absolute_impact": 0.001, "explained": 0.9},
    ]
    assert answers_of(found)[0]["say"]["tool"] == NEITHER


def test_one_segment_for_all_says_nothing():
    answers, _ = answers_of(document(segments=[inside(1, 0.83)]), names={1: "All"})
    assert answers["say"]["tool"] == NEITHER
    assert "one segment for all" in answers["say"]["why"]


def test_an_unusable_model_leaves_the_segments():
    answers, rest = answers_of(document(), BAD)
    assert answers["whom"]["tool"] == answers["how_many"]["tool"] == THE_SEGMENTS
    assert "must not be used: ROC-AUC 0.50 is chance" in answers["whom"]["why"]
    assert answers["inside"]["tool"] == answers["both"]["tool"] == NEITHER
    assert not any("highest scores" in text for text in rest["neither"])


def test_an_unusable_model_and_useless_segments_leave_nothing():
    found = with_strategy(SEGMENT_RATE, auc=0.505, loss=0.4715, gap=0.0, loss_gap=0.0)
    answers, rest = answers_of(found, BAD)
    assert {answers[kind]["tool"] for kind in ("whom", "how_many", "inside")} == {NEITHER}
    assert any(text.startswith("Who buys at all") for text in rest["neither"])


@pytest.mark.parametrize(("base_error", "tool"), [(0.001, THE_SEGMENTS), (0.01, NEITHER)])
def test_rates_of_segments_are_planned_with_only_beyond_chance(base_error, tool):
    found = with_strategy(
        SEGMENT_RATE, auc=0.6, loss=0.465, gap=-0.1, loss_gap=-0.01, base_error=base_error
    )
    assert answers_of(found)[0]["how_many"]["tool"] == tool


def test_a_title_of_any_length_is_cut():
    answers = plain_answers(document(), GOOD, NAMES, {"visits": "v" * 1_000_000, "age": "Age"})
    assert len(answers["answer"][3]["why"]) < 400


@pytest.mark.parametrize("key", [SEGMENT_FEATURE, TOGETHER])
@pytest.mark.parametrize(
    ("loss_gap", "tool", "words"),
    [
        (-0.02, "yes", "brings a gain worth having"),
        (-0.0006, "no", "too little to matter"),
        (0.0001, "no", "gains nothing beyond chance"),
        (0.02, "no", "makes it worse"),
    ],
)
def test_a_gain_from_both_is_judged_by_its_size_and_its_error(key, loss_gap, tool, words):
    found = with_strategy(key, auc=0.84, loss=0.35, gap=0.01, loss_gap=loss_gap)
    answers, rest = answers_of(found)
    assert answers["both"]["tool"].startswith(tool)
    assert words in answers["both"]["why"]
    told = any("such as survey answers" in text for text in rest["would_change"])
    assert told == (tool == "no")


def test_segments_in_which_the_score_is_chance_are_named():
    found = document(segments=[inside(1, 0.75), inside(2, 0.52)])
    answers, rest = answers_of(found)
    why = answers["inside"]["why"]
    assert "inside 1 of 2 segments is 0.750" in why
    assert why.endswith("; in 1 it ranks no better than chance")
    assert any("inside Guests: there the score" in text for text in rest["neither"])
    answers, _ = answers_of(document(segments=[inside(1, 0.51), inside(2, 0.52)]))
    assert answers["inside"]["tool"] == NEITHER


def test_segments_that_do_not_count_are_counted_and_told_why():
    found = document(segments=[inside(1, 0.75), inside(2, 0.52), inside(3, None)])
    answers, _ = answers_of(found, names={**NAMES, 3: "Newcomers"})
    why = answers["inside"]["why"]
    assert "inside 1 of 3 segments is 0.750" in why
    assert why.endswith(
        "; in 1 it ranks no better than chance; in 1 there are too few buyers or non-buyers to tell"
    )


def test_segments_too_small_to_say_are_named():
    found = document(segments=[inside(1, None), inside(2, None)])
    answers, rest = answers_of(found)
    assert answers["inside"]["tool"] == NEITHER
    assert any("inside Regulars and Guests: too few" in text for text in rest["neither"])


def test_strategies_that_were_not_measured_are_not_mentioned():
    found = document()
    found["scores"] = [w for w in found["scores"] if w["key"] != SEGMENT_FEATURE]
    assert "further feature" not in answers_of(found)[0]["both"]["why"]


def test_a_way_that_changes_no_score_is_said_to_change_none():
    found = with_strategy(
        TOGETHER, auc=0.83, loss=0.36, gap=0.0, error=0.0, loss_gap=-0.0, loss_error=0.0
    )
    why = answers_of(found)[0]["both"]["why"]
    assert "inside each segment it changes no score" in why
    assert "(log-loss against the model: no change)" in why


def test_weeks_are_told_where_there_are_several():
    def week(date, auc):
        return {"snapshot": date, "roc_auc": {MODEL: auc, SEGMENT_RATE: 0.7}}

    changes = [
        {"segment_changed": share, "band_changed": 0.3, "agreement": 0.8} for share in (0.1, 0.2)
    ]
    weeks = [week("2026-01-05", 0.83), week("2026-01-12", 0.79)]
    stability = {"words": "", "weeks": weeks, "changes": changes}
    texts = answers_of(document(stability=stability))[1]["would_change"]
    assert any("ROC-AUC went from 0.830 to 0.790" in text for text in texts)
    assert any("10\u202f% to 20\u202f% of them change their segment" in text for text in texts)
    assert "These users have one date." in answers_of(document())[1]["would_change"]


def test_a_difference_without_an_error_is_never_beyond_chance():
    assert Difference(0.5, None).sign == 0
    assert Difference(0.5, None).words(1) == "+0.5 ± unknown"
    assert [Difference(x, 2.0).words(1) for x in (0.01, -0.01)] == ["+0.0 ± 3.9"] * 2
    assert [Difference(x, 1.0).sign for x in (-2.0, -1.9, 0.0, 1.9, 2.0)] == [-1, 0, 0, 0, 1]
