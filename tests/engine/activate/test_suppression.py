import logging

import polars as pl
import pytest

from engine.errors import (
    InputError,
)
from tests.engine.activate.lists import contactable, make
from tests.helpers import write_table


def test_suppressed_users_are_left_out_and_counted(source, scores, tmp_path, caplog):
    ids = scores["user_id"]
    complaints = write_table(ids[:100].to_frame("anything"), tmp_path / "complaints.csv")
    opted_out = write_table(scores[50:200], tmp_path / "opted_out.ndjson")
    other = write_table(pl.DataFrame({"id": ["nobody", "nothing"]}), tmp_path / "other.csv")
    files = tuple(map(str, (complaints, opted_out, other)))
    with caplog.at_level(logging.WARNING):
        found, campaign = make(source, suppress=files)
    assert found["user_id"].equals(contactable(scores[200:])["user_id"])
    assert campaign.suppressed == 200
    assert campaign.control_users == scores[200:]["in_control_group"].sum()
    (warning,) = caplog.messages
    assert f"warning: {other}: none of its 3 values is in the scores" in warning


@pytest.mark.parametrize("lines", [3, 1])
def test_a_csv_of_ids_needs_no_header(source, scores, tmp_path, lines):
    ids = scores["user_id"][:lines].to_list()
    plain = tmp_path / "plain.csv"
    plain.write_text("".join(f"{each}\n" for each in ids))
    found, campaign = make(source, suppress=(str(plain),))
    assert campaign.suppressed == lines
    assert found["user_id"].equals(contactable(scores[lines:])["user_id"])


def test_ids_of_suppression_files_are_compared_as_text(scores, tmp_path):
    numbers = pl.Series("user_id", range(1, scores.height + 1), pl.Int64)
    source = write_table(scores.with_columns(numbers), tmp_path / "scores.parquet")
    files = [
        write_table(pl.DataFrame({"user_id": [1, 2, 3]}), tmp_path / "numbers.parquet"),
        write_table(pl.DataFrame({"user_id": ["4", "05"]}), tmp_path / "texts.csv"),
    ]
    _, campaign = make(source, suppress=tuple(map(str, files)))
    assert campaign.suppressed == 4


def test_suppressed_ids_of_a_type_that_no_id_has_are_named(source, tmp_path):
    ids = write_table(pl.DataFrame({"user_id": [1.0]}), tmp_path / "ids.parquet")
    with pytest.raises(InputError, match="'user_id' expected a text or a whole number, found Flo"):
        make(source, suppress=(str(ids),))
    write_table(pl.DataFrame({"user_id": [["a"]]}), ids)
    with pytest.raises(InputError, match="'user_id' expected a text or a whole number, found Lis"):
        make(source, suppress=(str(ids),))
    write_table(pl.DataFrame({"user_id": [None]}), ids)
    assert make(source, suppress=(str(ids),), top=5)[1].users == 5
