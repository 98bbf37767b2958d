import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from engine import ScoreOptions
from engine import score as score_files
from engine.bundle.open import CORE, open_bundle, write_bundle
from engine.connectors.distributed import shipped
from engine.connectors.spark import score
from engine.connectors.spark_local import check_installed, local_session
from engine.connectors.worker import open_scorer, whole_ids
from engine.errors import BundleError, InputError, UnavailableError, UsageError
from engine.model.conformance import differences, read_vectors, refuse_differences
from engine.options import OutputOptions
from engine.rows.chunk import Chunk
from tests.helpers import BUNDLE, ROOT, read_table, write_table

SCALING = ROOT / "docs" / "scaling.md"
OLD_JAVA = "#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n"


@pytest.fixture(scope="session")
def spark():
    try:
        session = local_session(cores=2)
    except UnavailableError as error:
        pytest.skip(str(error))
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="module")
def spoiled(users):
    """Users of whom some cannot be scored, and some are there twice or three times."""
    spoiled = users.with_columns(
        user_id=pl.when(pl.int_range(pl.len()) % 500 == 3).then(None).otherwise("user_id"),
        bounce_rate=pl.when(pl.int_range(pl.len()) % 400 == 0).then(7.0).otherwise("bounce_rate"),
        orders_last_90d=pl.when(pl.int_range(pl.len()) % 700 == 0)
        .then(float("inf"))
        .otherwise(pl.col("orders_last_90d").cast(pl.Float64)),
    )
    again = spoiled[::50].with_columns(sessions_last_7d=pl.col("sessions_last_7d") + 1)
    return pl.concat([spoiled, again, spoiled[::150]])


def to_spark(spark, frame, partitions):
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return spark.createDataFrame(table).repartition(partitions)


def to_polars(df):
    return pl.DataFrame(df.toArrow())


def in_one_order(frame):
    return frame.sort(frame.columns)


@pytest.mark.parametrize(
    ("partitions", "batch_rows", "duplicates"),
    [(1, 10_000, "check"), (3, 777, "check"), (1, 64, "checked"), (5, 1_000, "checked")],
)
def test_scores_are_those_of_the_engine_however_the_rows_are_cut(
    spark, users, scorer, partitions, batch_rows, duplicates
):
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", batch_rows)
    scores, quarantined = score(to_spark(spark, users, partitions), BUNDLE, duplicates=duplicates)
    expected = scorer.score(users)
    found = to_polars(scores)
    assert found.schema == expected.schema
    assert in_one_order(found).equals(in_one_order(expected))
    assert quarantined.isEmpty()


def test_conformance_rows_come_out_as_they_must(spark, scorer):
    bundle = open_bundle(BUNDLE)
    vectors = read_vectors(bundle)
    schema = bundle.manifest.schema
    numbers = pl.int_range(vectors.rows, eager=True).cast(pl.String).str.zfill(6)
    rows = vectors.inputs.with_columns(numbers.alias(schema.id))
    scored = score(to_spark(spark, rows, 2), BUNDLE, duplicates="checked", impacts=True)
    found = to_polars(scored.scores).sort(schema.id)
    # Values beyond the schema's bounds are conformance rows too: they are set aside, as by the engine.
    alone = scorer.score_chunk(Chunk(rows, "rows", 0, 0), OutputOptions())
    assert found[schema.id].equals(alone.scores[schema.id].sort())
    assert found.height + scored.quarantined.count() == vectors.rows
    assert found.height > vectors.rows / 2
    kept = found[schema.id].cast(pl.Int64).to_numpy()
    expected = {name: values[kept] for name, values in vectors.outputs.items()}
    names = [feature.name for feature in schema.model_features]
    drivers = [found[f"driver_{n}"].to_list() for n in (1, 2, 3)]
    outputs = {
        "probability": found["purchase_probability"].to_numpy()[:, np.newaxis],
        "impacts": found.select(f"impact_{name}" for name in names).to_numpy(),
        "driver_index": np.array([[names.index(d) for d in column] for column in drivers]).T,
        "driver_impact": found.select(f"driver_{n}_impact" for n in (1, 2, 3)).to_numpy(),
        "segment": found["segment_id"].to_numpy().astype(np.int64),
    }
    worst = differences(replace(vectors, inputs=vectors.inputs[kept], outputs=expected), outputs)
    refuse_differences(worst, found.height, "Spark")
    assert worst.keys() == outputs.keys()
    assert (outputs["driver_index"] == expected["driver_index"]).all()


def test_impacts_and_reasons_come_where_asked_for(spark, users, scorer):
    wanted = {"drivers": 1, "impacts": True, "reasons": 2}
    scored = score(to_spark(spark, users[:300], 2), BUNDLE, **wanted)
    expected = scorer.score(users[:300], **wanted)
    found = to_polars(scored.scores)
    assert found.schema == expected.schema
    assert in_one_order(found).equals(in_one_order(expected))


def test_files_and_spark_set_aside_the_same_rows_for_the_same_reasons(
    spark, spoiled, users, tmp_path
):
    source = write_table(spoiled[: users.height], tmp_path / "users.parquet")
    out = tmp_path / "scores.parquet"
    score_files([str(source)], BUNDLE, out, ScoreOptions(max_reject_share=0.1))
    scores, quarantined = score(spark.read.parquet(str(source)).repartition(3), BUNDLE)
    wanted = read_table(tmp_path / "scores.parquet.quarantine.parquet").drop(
        "source_file", "source_row"
    )
    found = to_polars(quarantined)
    assert found.schema == wanted.schema
    assert in_one_order(found).equals(in_one_order(wanted))
    assert wanted["reasons"].str.contains(";").any()
    expected = read_table(out).cast(dict(to_polars(scores).schema))
    assert in_one_order(to_polars(scores)).equals(in_one_order(expected))


def test_one_row_of_each_key_is_scored_and_always_the_same(spark, spoiled):
    first, second = (
        tuple(in_one_order(to_polars(part)) for part in score(to_spark(spark, rows, cut), BUNDLE))
        for rows, cut in ((spoiled, 2), (spoiled.reverse(), 5))
    )
    assert all(a.equals(b) for a, b in zip(first, second, strict=True))
    scores, quarantined = first
    repeated = quarantined.filter(reasons="user_id|duplicate")
    unfit = quarantined.filter(pl.col("reasons").str.contains("bounce_rate"))
    assert scores["user_id"].is_unique().all()
    assert repeated.height > 100
    assert set(repeated["user_id"]) <= set(scores["user_id"])
    assert not unfit["user_id"].is_unique().all()
    assert not unfit["reasons"].str.contains("duplicate").any()
    assert scores.height + quarantined.height == spoiled.height


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 100])
def test_all_rows_of_an_id_come_in_one_frame(batch_rows):
    rows = pl.DataFrame({"id": [None, None, "a", "b", "b", "b", "b", "c", "d", "d"]})
    rows = rows.with_row_index("row")
    frames = list(whole_ids(rows.iter_slices(batch_rows), "id"))
    assert pl.concat(frames).equals(rows)
    ids = pl.concat(frame["id"].drop_nulls().unique() for frame in frames)
    assert sorted(ids) == ["a", "b", "c", "d"]


def test_a_key_is_id_and_snapshot(spark, users):
    week_later = users[:50].with_columns(pl.col("snapshot_date").dt.offset_by("7d"))
    both = pl.concat([users[:50], week_later]).with_columns(pl.col("snapshot_date").cast(str))
    scored = score(to_spark(spark, both, 3), BUNDLE)
    assert scored.check().rows_quarantined == 0
    assert scored.scores.schema["snapshot_date"].dataType.typeName() == "date"


def test_both_frames_come_from_one_pass(spark, spoiled):
    rows = spark.sparkContext.accumulator(0)

    def counted(batches):
        for batch in batches:
            rows.add(batch.num_rows)
            yield batch

    df = to_spark(spark, spoiled, 3)
    scored = score(df.mapInArrow(counted, df.schema), BUNDLE, duplicates="checked")
    scored.check(max_reject_share=1)
    assert scored.scores.count() + scored.quarantined.count() == spoiled.height == rows.value
    assert scored.outcomes.is_cached
    scored.release()
    assert not scored.outcomes.is_cached


def test_a_worker_has_one_session_and_its_task_one_thread(spark, users):
    def probe(batches):
        import os

        import polars

        from engine.connectors.worker import open_scorer

        for _ in batches:
            opened = open_scorer.cache_info()
            state = {
                "pid": [os.getpid()],
                "threads": [polars.thread_pool_size()],
                "opened": [opened.misses],
                "used": [opened.hits],
            }
            yield pa.RecordBatch.from_pydict(state)

    df = to_spark(spark, users, 8)
    score(df, BUNDLE, duplicates="checked").check()
    workers = to_polars(df.mapInArrow(probe, "pid long, threads long, opened long, used long"))
    workers = workers.unique("pid", keep="last")
    assert workers["threads"].to_list() == [1] * workers.height
    assert workers["opened"].to_list() == [1] * workers.height
    assert workers["used"].sum() >= 8 - workers.height


def test_types_that_spark_has_are_read_as_the_engine_reads_them(spark, users, scorer):
    odd = users[:500].with_columns(
        pl.col("avg_order_value").cast(pl.Decimal(12, 4)),
        pl.col("orders_last_365d").cast(pl.String),
        pl.col("sessions_last_30d").cast(pl.Int64),
        pl.lit(None).alias("country"),
        pl.lit(value=True).alias("device_type"),
        pl.int_range(pl.len()).alias("preferred_language"),
        pl.int_range(pl.len(), dtype=pl.Int32).alias("user_id"),
        pl.col("snapshot_date").cast(pl.String),
    )
    scores, quarantined = score(to_spark(spark, odd, 2), BUNDLE)
    expected = scorer.score(odd)
    found = to_polars(scores)
    assert found.schema == expected.schema
    assert in_one_order(found).equals(in_one_order(expected))
    assert quarantined.schema["country"].dataType.typeName() == "string"


def test_columns_that_scoring_does_not_read_may_be_of_any_type(spark, users):
    df = to_spark(spark, users[:100], 2).selectExpr(
        "*", "map('a', 1) AS extra", "interval 1 day AS span"
    )
    assert score(df, BUNDLE).check().rows_read == 100


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("timestamp '2026-11-22 00:00:00' AS snapshot_date", "'snapshot_date' expected a date"),
        ("array(1) AS bounce_rate", r"'bounce_rate' expected a number, found List\(Int32\)"),
        ("make_interval(1) AS bounce_rate", "'bounce_rate' expected a number, found Object"),
        ("1 AS Bounce_rate", "Did you mean 'Bounce_rate' for 'bounce_rate'"),
    ],
)
def test_wrong_columns_are_refused_before_anything_runs(spark, users, expression, message):
    df = to_spark(spark, users[:10], 1).drop(expression.split()[-1].lower())
    with pytest.raises(InputError, match=message):
        score(df.selectExpr("*", expression), BUNDLE)


def test_too_many_rows_set_aside_are_refused_when_asked(spark, spoiled):
    scored = score(to_spark(spark, spoiled, 2), BUNDLE)
    with pytest.raises(InputError, match=r"max_reject_share 1\.0%; caught by: user_id\|duplicate"):
        scored.check()
    totals = scored.check(max_reject_share=0.1)
    assert totals.rows_read == spoiled.height
    assert totals.rows_quarantined == scored.quarantined.count()
    assert totals.reasons["bounce_rate|above_max"] == spoiled["bounce_rate"].eq(7).sum()


def test_no_rows_are_refused(spark, users):
    with pytest.raises(InputError, match="no rows"):
        score(to_spark(spark, users, 1).limit(0), BUNDLE).check()


def test_a_bundle_without_an_id_is_refused(spark, users, tmp_path):
    bundle = open_bundle(BUNDLE)
    nameless = replace(bundle.manifest, files={}, schema=replace(bundle.manifest.schema, id=None))
    write_bundle(tmp_path / "nameless", nameless, bundle.contents)
    with pytest.raises(InputError, match="names no id"):
        score(to_spark(spark, users[:10], 1), tmp_path / "nameless")


def test_an_unknown_word_for_duplicates_is_refused(spark, users):
    with pytest.raises(UsageError, match='expected "check" or "checked"'):
        score(to_spark(spark, users[:10], 1), BUNDLE, duplicates="none")


def test_workers_check_the_bytes_they_get():
    sent = shipped(open_bundle(BUNDLE))
    broken = {**sent.contents, CORE: sent.contents[CORE] + b" "}
    open_scorer.cache_clear()
    with pytest.raises(BundleError, match="core.onnx: altered on the way"):
        open_scorer(replace(sent, contents=broken))
    with pytest.raises(BundleError, match="manifest.json: altered on the way"):
        open_scorer(replace(sent, manifest=sent.manifest + b" "))
    assert open_scorer(sent).manifest == open_bundle(BUNDLE).manifest


def test_polars_waits_for_the_number_of_its_threads():
    code = "import sys, engine.connectors.worker; print('polars' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


def test_a_missing_pyspark_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(UnavailableError, match=r"pip install 'shopnow-scoring\[spark\]'"):
        check_installed()


@pytest.mark.parametrize(
    ("home", "content", "message"),
    [
        (False, None, "no Java on the PATH; Spark needs Java 17 or later. Install it"),
        (True, None, "no Java in JAVA_HOME .*; Spark needs Java 17 or later"),
        (True, OLD_JAVA, r'is not Java 17 or later; it says: .*version "11\.0\.2"'),
    ],
)
def test_a_missing_or_old_java_is_said(monkeypatch, tmp_path, home, content, message):
    pytest.importorskip("pyspark")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    if home:
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    if content:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "java").write_text(content)
        (tmp_path / "bin" / "java").chmod(0o755)
    with pytest.raises(UnavailableError, match=message):
        check_installed()


def test_what_the_document_shows_runs(spark, users, tmp_path):
    (code,) = re.findall(r"## Inside Spark\n\n```python\n(.*?)```", SCALING.read_text(), re.DOTALL)
    for name in ("users", "scores", "quarantine"):
        code = code.replace(f'"{name}"', repr(str(tmp_path / name)))
    (tmp_path / "users").mkdir()
    write_table(users, tmp_path / "users" / "part.parquet")
    exec(code.replace('"onnx_models/shopnow"', repr(str(BUNDLE))), {"spark": spark})
    assert pl.read_parquet(tmp_path / "scores" / "*.parquet").height == users.height
    assert pl.read_parquet(tmp_path / "quarantine" / "*.parquet").height == 0
