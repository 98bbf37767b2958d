import polars as pl

from engine.activate.columns import load_template, repeated_headers
from engine.activate.options import AudienceOptions
from tests.engine.activate.lists import make
from tests.helpers import write_table

ARMS = {"offer": 0.5, "reminder": 0.5}


def test_columns_of_few_texts_are_dictionaries_under_any_name(scores, tmp_path):
    reasons = scores.with_columns(reason_1=pl.lit("2 checkouts"))
    source = write_table(reasons, tmp_path / "scores.parquet")
    columns = ("id", "propensity_band", "segment_name", "reason_1")
    renames = {"id": "action", "propensity_band": "Level", "reason_1": "Why"}
    make(source, out=tmp_path / "list.arrow", top=5, columns=columns, renames=renames)
    types = pl.read_ipc_schema(tmp_path / "list.arrow")
    assert {name for name, kind in types.items() if kind == pl.Categorical} == {
        *("Level", "segment_name", "Why")
    }
    braze = load_template("braze")
    assert {braze.columns[name] for name in repeated_headers(AudienceOptions(), braze)} >= {
        *("propensity_band", "segment_name")
    }


def test_columns_are_chosen_and_renamed(scores, tmp_path):
    joined = scores.with_columns(email=pl.col("user_id").str.to_lowercase() + "@example.com")
    source = write_table(joined, tmp_path / "scores.parquet")
    found, _ = make(
        source,
        top=5,
        columns=("id", "email", "arm"),
        renames={"id": "external_id", "arm": "variant"},
    )
    assert found.columns == ["external_id", "email", "variant"]
    assert (found["external_id"].str.to_lowercase() + "@example.com").equals(
        found["email"], check_names=False
    )
    headers = {
        "braze": ["external_id", "purchase_probability", "propensity_band"],
        "klaviyo": ["Email", "user_id", "purchase_probability"],
        "google-ads": ["Email"],
    }
    for template, first in headers.items():
        found, _ = make(source, out=tmp_path / f"{template}.csv", top=5, template=template)
        assert found.columns[:3] == first
        assert found.null_count().select(first).sum_horizontal().item() == 0


def test_a_list_that_is_too_large_for_its_sender_is_named(scores, tmp_path, caplog):
    large = scores.with_columns(action=pl.lit("offer " * 2_000), email=pl.lit("a@example.com"))
    source = write_table(large, tmp_path / "scores.parquet")
    make(source, out=tmp_path / "list.csv", template="klaviyo")
    (warning,) = caplog.messages
    assert warning.endswith(
        "MB, and the sender takes at most 50 MB. Split the file before uploading it."
    )


def test_reasons_take_the_place_of_drivers(scores, tmp_path):
    reasons = scores.with_columns(reason_1=pl.lit("2 checkouts"), reason_2=pl.lit("9 visits"))
    found, _ = make(write_table(reasons, tmp_path / "scores.parquet"), top=5)
    assert [name for name in found.columns if "_1" in name or "_2" in name] == [
        *("reason_1", "reason_2")
    ]


def test_formulas_are_made_harmless_for_spreadsheets(scores, tmp_path):
    ids = pl.concat([pl.Series(["=1+1"]), scores["user_id"][1:]])
    free = scores.with_columns(user_id=ids, in_control_group=pl.lit(value=False))
    source = write_table(free, tmp_path / "scores.parquet")
    out = tmp_path / "list.csv"
    make(source, out=out, csv_for_spreadsheets=True)
    assert out.read_text().splitlines()[1].startswith("'=1+1,")


def test_arrow_lists_hold_repeated_texts_as_dictionaries(source, tmp_path):
    found, _ = make(source, out=tmp_path / "list.arrow", top=20, campaign="c", arms=ARMS)
    assert {found.schema[name].base_type() for name in ("arm", "action", "propensity_band")} == {
        pl.Categorical
    }
