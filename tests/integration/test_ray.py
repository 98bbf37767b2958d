import gc
import os
import re
import warnings
from dataclasses import replace

import polars as pl
import pytest

from engine import ScoreOptions
from engine import score as score_files
from engine.bundle.open import open_bundle, write_bundle
from engine.connectors.ray import score
from engine.errors import InputError, UsageError
from tests.helpers import BUNDLE, ROOT, read_table, write_table

ray = pytest.importorskip("ray", reason="needs Ray: make .venv/ray.stamp")
pytestmark = pytest.mark.filterwarnings("ignore")


def start():
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=200_000_000,
        logging_level="error",
        log_to_driver=False,
        # By default Ray ends what is idle for a second, and every shuffle starts its processes anew.
        _system_config={
            "idle_worker_killing_time_threshold_ms": 600_000,
            "num_workers_soft_limit": 16,
        },
    )


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two worker processes on this machine; Ray sends no statistics of its use."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        start()
    # Ray gives up after 30 seconds, which a busy machine may need.
    except Exception:  # noqa: BLE001 - it has no kind of its own
        ray.shutdown()
        start()
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    yield
    # Ray does not wait for its own processes, of which Python warns when they are collected.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.shutdown()
        gc.collect()


@pytest.fixture(scope="module")
def spoiled(users):
    """Users of whom some cannot be scored, and some are there twice or three times."""
    spoiled = users.with_columns(
        user_id=pl.when(pl.int_range(pl.len()) % 500 == 3).then(None).otherwise("user_id"),
        bounce_rate=pl.when(pl.int_range(pl.len()) % 400 == 0).then(7.0).otherwise("bounce_rate"),
    )
    again = spoiled[::50].with_columns(sessions_last_7d=pl.col("sessions_last_7d") + 1)
    return pl.concat([spoiled, again, spoiled[::150]])


def to_ray(frame, blocks=2):
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return ray.data.from_arrow(table).repartition(blocks)


def to_polars(dataset):
    frames = [pl.DataFrame(table) for table in ray.get(dataset.to_arrow_refs())]
    return pl.concat(frame for frame in frames if frame.height)


def in_one_order(frame):
    return frame.sort(frame.columns)


@pytest.fixture(scope="module")
def scored_spoiled(spoiled):
    """Scored once: a shuffle is the dearest thing here."""
    return score(to_ray(spoiled, 2), BUNDLE)


@pytest.mark.parametrize("blocks", [1, 3])
def test_scores_are_those_of_the_engine_however_the_rows_are_cut(users, scorer, blocks):
    wanted = {"impacts": True, "reasons": 1}
    scored = score(to_ray(users, blocks), BUNDLE, duplicates="checked", **wanted)
    expected = scorer.score(users, **wanted)
    found = to_polars(scored.scores)
    assert found.schema == expected.schema
    assert in_one_order(found).equals(in_one_order(expected))
    assert scored.check().rows_quarantined == scored.quarantined.count() == 0


def test_files_and_ray_set_aside_the_same_rows_for_the_same_reasons(spoiled, users, tmp_path):
    source = write_table(spoiled[: users.height], tmp_path / "users.parquet")
    out = tmp_path / "scores.parquet"
    score_files([str(source)], BUNDLE, out, ScoreOptions(max_reject_share=0.1))
    # Without a shuffle, which starts processes of its own: no key is there twice.
    scores, quarantined = score(ray.data.read_parquet(str(source)), BUNDLE, duplicates="checked")
    wanted = read_table(tmp_path / "scores.parquet.quarantine.parquet").drop(
        "source_file", "source_row"
    )
    found = to_polars(quarantined)
    assert found.schema == wanted.schema
    assert in_one_order(found).equals(in_one_order(wanted))
    expected = read_table(out).cast(dict(to_polars(scores).schema))
    assert in_one_order(to_polars(scores)).equals(in_one_order(expected))


def test_one_row_of_each_key_is_scored(spoiled, scored_spoiled):
    scores, quarantined = map(to_polars, scored_spoiled)
    assert scores["user_id"].is_unique().all()
    assert quarantined.filter(reasons="user_id|duplicate").height > 100
    assert scores.height + quarantined.height == spoiled.height


def test_too_many_rows_set_aside_are_refused_when_asked(spoiled, scored_spoiled):
    with pytest.raises(InputError, match=r"max_reject_share 1\.0%; caught by: user_id\|duplicate"):
        scored_spoiled.check()
    totals = scored_spoiled.check(max_reject_share=0.1)
    assert totals.rows_read == spoiled.height
    assert totals.rows_quarantined == scored_spoiled.quarantined.count()
    assert totals.reasons["bounce_rate|above_max"] == spoiled["bounce_rate"].eq(7).sum()


def test_what_cannot_be_scored_is_refused_before_anything_runs(users, tmp_path):
    few = users[:10]
    bundle = open_bundle(BUNDLE)
    nameless = replace(bundle.manifest, files={}, schema=replace(bundle.manifest.schema, id=None))
    write_bundle(tmp_path / "nameless", nameless, bundle.contents)
    with pytest.raises(InputError, match="names no id, and rows of a Dataset have no number"):
        score(to_ray(few), tmp_path / "nameless")
    with pytest.raises(UsageError, match='expected "check" or "checked"'):
        score(to_ray(few), BUNDLE, duplicates="none")
    with pytest.raises(InputError, match="'bounce_rate' expected a number"):
        score(to_ray(few.with_columns(bounce_rate=pl.concat_list("bounce_rate"))), BUNDLE)
    with pytest.raises(InputError, match="no rows"):
        score(ray.data.from_items([]), BUNDLE)


def test_what_the_document_shows_scores_the_same_rows_in_another_order(
    spoiled, scored_spoiled, tmp_path
):
    text = (ROOT / "docs" / "scaling.md").read_text()
    (code,) = re.findall(r"## Inside Ray\n\n```python\n(.*?)```", text, re.DOTALL)
    for name in ("users", "scores", "quarantine"):
        code = code.replace(f'"{name}"', repr(str(tmp_path / name)))
    (tmp_path / "users").mkdir()
    write_table(spoiled.reverse(), tmp_path / "users" / "part.parquet")
    code = code.replace("max_reject_share=0.01", "max_reject_share=0.1")
    exec(code.replace('"onnx_models/shopnow"', repr(str(BUNDLE))))
    for name, expected in zip(("scores", "quarantine"), scored_spoiled, strict=True):
        found = pl.read_parquet(tmp_path / name / "*.parquet")
        assert in_one_order(found).equals(in_one_order(to_polars(expected)))
