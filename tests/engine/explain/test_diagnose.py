import json
from collections import Counter
from dataclasses import replace

import polars as pl
import pytest

from engine.bundle.open import REFERENCE, open_bundle
from engine.bundle.reference import reference_from_json
from engine.errors import InputError
from engine.explain.diagnose import RowCounts, check_rejects, diagnose
from engine.inputs.open import open_inputs
from tests.helpers import BUNDLE, write_table

SESSIONS = "sessions_last_7d"


@pytest.fixture
def check(users, tmp_path):
    """Checks given rejects of the files a and b; in b a column is empty."""
    bundle = open_bundle(BUNDLE)
    reference = reference_from_json(bundle.contents[REFERENCE], bundle.manifest)
    tables = {"a": users[:50], "b": users[50:90].with_columns(pl.lit(None).alias(SESSIONS))}
    paths = {
        name: str(write_table(table, tmp_path / f"{name}.parquet"))
        for name, table in tables.items()
    }

    def call(rows_read, by_file, by_rule, max_reject_share):
        rejected = Counter({paths[name]: n for name, n in by_file.items()})
        counts = RowCounts(rows_read, rejected, Counter(by_rule))
        with open_inputs(list(paths.values())) as opened:
            check_rejects(counts, max_reject_share, opened, bundle.manifest, reference)

    return call


def test_an_input_is_refused_above_the_share_and_not_at_it(check):
    by_rule = {"user_id|duplicate": 2}
    check(100, {}, {}, 0.0)
    check(100, {"a": 1}, by_rule, 0.01)
    with pytest.raises(InputError, match=r"2 of 100 rows \(2\.0%\) cannot be scored.*duplicate 2"):
        check(100, {"a": 1, "b": 1}, by_rule, 0.01)


@pytest.mark.parametrize(("a", "b", "named"), [(1, 2, True), (2, 1, False)])
def test_the_cause_is_looked_for_in_the_file_with_most_rejected_rows(check, a, b, named):
    with pytest.raises(InputError) as caught:
        check(9, {"a": a, "b": b}, {f"{SESSIONS}|missing": 3}, 0.1)
    cause = f"b.parquet: '{SESSIONS}' has no value in any of the first 40 rows"
    assert (cause in str(caught.value)) == named
    assert "Nothing was published" in str(caught.value)


def test_an_input_without_rows_is_refused_by_name(check):
    with pytest.raises(InputError, match=r"a\.parquet, .*b\.parquet: no rows"):
        check(0, {}, {}, 1.0)


@pytest.mark.parametrize("mark", ["NULL", "NA", "n/a", "\\N", "-", "#N/A", "?"])
def test_a_mark_of_missing_values_is_named_with_how_to_declare_it(users, mark):
    bundle = open_bundle(BUNDLE)
    reference = reference_from_json(bundle.contents[REFERENCE], bundle.manifest)
    some = pl.int_range(pl.len()) % 3 == 0
    texts = pl.when(some).then(pl.lit(mark)).otherwise(pl.col(SESSIONS).cast(pl.String))
    sample = users.with_columns(texts.alias(SESSIONS))
    (sentence,) = diagnose(sample, {f"{SESSIONS}|not_a_number": 9}, bundle.manifest, reference)
    assert f"{SESSIONS!r} holds {mark!r} in 33% of the rows" in sentence
    assert f"missing_texts = [{json.dumps(mark)}]" in sentence


@pytest.mark.parametrize(("marks", "found"), [(("--",), True), ((), False)])
@pytest.mark.parametrize("column", [SESSIONS, "user_id"])
def test_a_column_of_declared_marks_has_no_value(users, marks, found, column):
    bundle = open_bundle(BUNDLE)
    reference = reference_from_json(bundle.contents[REFERENCE], bundle.manifest)
    manifest = replace(bundle.manifest, schema=replace(bundle.manifest.schema, missing_texts=marks))
    sample = users[:50].with_columns(pl.lit("--").alias(column))
    sentences = diagnose(sample, {f"{column}|missing": 50}, manifest, reference)
    assert any("has no value in any" in sentence for sentence in sentences) == found
