import json
import threading
from contextlib import chdir
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from engine import ScoreOptions, score
from engine.activate.audience import make_audience
from engine.activate.options import AudienceOptions
from engine.bundle.schema import load_schema
from engine.connectors.lakehouse.scores import LakehouseScores
from engine.errors import AccessError, InputError, NoInputError, UnavailableError, UsageError
from engine.inputs.lakehouse import lakehouse_table
from tests.foreign import members
from tests.helpers import BUNDLE
from tests.training.backtest.score_files import scores_of
from training.cli import backtest, main

moto_server = pytest.importorskip("moto.server", reason="moto's server is not installed")
import boto3  # noqa: E402

ROWS = 300
REPLACE = ScoreOptions(if_exists="replace")
KEY = "secret-key-of-the-store"


@pytest.fixture(scope="module")
def server():
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def environment(monkeypatch):
    def use(endpoint):
        values = {
            "AWS_ACCESS_KEY_ID": "shop",
            "AWS_SECRET_ACCESS_KEY": KEY,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return use


@pytest.fixture
def put(server, environment, tmp_path):
    environment(server)
    client = boto3.client("s3", endpoint_url=server, region_name="us-east-1")
    client.create_bucket(Bucket="shop")

    def put(content, key):
        """Store a table, or a file as it is."""
        path = content if isinstance(content, Path) else tmp_path / "object.parquet"
        if content is not path:
            content.write_parquet(path)
        client.upload_file(str(path), "shop", key)

    yield put
    for found in client.list_objects_v2(Bucket="shop").get("Contents", []):
        client.delete_object(Bucket="shop", Key=found["Key"])


@pytest.mark.parametrize("text", ["s3://shop/night/*.parquet", "s3://shop/night/"])
def test_objects_are_scored_as_files_are(text, put, users, tmp_path):
    put(users[:ROWS], "night/0.parquet")
    put(users[ROWS : 2 * ROWS], "night/1.parquet")
    put(users[:1], "night/_temporary.parquet" if text.endswith("/") else "other/0.parquet")
    users[: 2 * ROWS].write_parquet(tmp_path / "users.parquet")
    by_file = score([str(tmp_path / "users.parquet")], BUNDLE, tmp_path / "by_file.parquet")
    by_object = score([text], BUNDLE, tmp_path / "by_object.parquet")
    assert by_object.outputs["scores"]["sha256"] == by_file.outputs["scores"]["sha256"]
    assert by_object.inputs == (text,)


def test_a_list_made_from_objects_is_measured_with_them(put, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scores = scores_of(600)
    put(scores, "scores.parquet")
    arms = {"mail": 0.5, "offer": 0.5}
    options = AudienceOptions(campaign="spring", arms=arms, include_control=True)
    make_audience(["s3://shop/scores.parquet"], tmp_path / "list.csv", options)
    bought = (pl.int_range(pl.len()) % 3 == 0).cast(pl.Int8)
    outcomes = scores.select("customer", "day", bought=bought)
    outcomes.write_parquet("outcomes.parquet")
    (tmp_path / "schema.toml").write_text(
        'name = "tiny"\nid = "customer"\nlabel = "bought"\nsnapshot = "day"\nhorizon_days = 7\n'
        '[[feature]]\nname = "visits"\nkind = "numeric"\n'
    )
    inputs = [
        "s3://shop/scores.parquet",
        "--outcomes",
        "outcomes.parquet",
        "--contacted",
        "list.csv",
    ]
    options = ["--schema", "schema.toml", "--report", "page.html", "--json"]
    done = CliRunner().invoke(backtest, [*inputs, *options], catch_exceptions=False)
    (campaign,) = json.loads(done.stdout)["campaigns"]
    assert (campaign["arms"], campaign["users"]) == (["mail", "offer"], 600)


def test_a_schema_is_drafted_from_objects(put, tmp_path):
    put(members(600), "members/0.parquet")
    out = tmp_path / "schema.toml"
    with pytest.raises(SystemExit) as stop:
        main(["schema", "s3://shop/members/", "--out", str(out)])
    assert not stop.value.code
    assert load_schema(out).id == "member"


def test_partitions_of_objects(put, users, tmp_path):
    users = users.head(ROWS)
    put(users.drop("snapshot_date"), "users/snapshot_date=2026-11-22/0.parquet")
    score(["s3://shop/users/"], BUNDLE, tmp_path / "scores.parquet")
    days = pl.read_parquet(tmp_path / "scores.parquet", columns=["snapshot_date"]).to_series()
    assert [str(day) for day in days.unique()] == ["2026-11-22"]


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("_delta_log/00000000000000000000.json", "Delta Lake"),
        ("metadata/00000-abc.metadata.json", "Iceberg"),
        (".hoodie/hoodie.properties", "Hudi"),
    ],
)
@pytest.mark.parametrize(
    "text", ["table/", "table/*.parquet", "table/0.parquet", "table/country=DE/"]
)
def test_objects_that_only_a_log_knows_are_refused(put, users, tmp_path, log, kind, text):
    for key in ("table/0.parquet", "table/country=DE/0.parquet", "plain/0.parquet", f"table/{log}"):
        put(users.head(ROWS), key)
    with pytest.raises(InputError, match=f"s3://shop/table is a table of {kind}"):
        score([f"s3://shop/{text}"], BUNDLE, tmp_path / "scores.parquet")
    assert score(["s3://shop/plain/"], BUNDLE, tmp_path / "scores.parquet").rows_scored == ROWS


def test_a_delta_table_is_read_at_its_current_version(put, users, tmp_path):
    deltalake = pytest.importorskip("deltalake", reason="deltalake is not installed")
    table = tmp_path / "table"
    deltalake.write_deltalake(table, users.tail(9))
    by = ["country"]
    overwrite = {"mode": "overwrite", "schema_mode": "overwrite", "partition_by": by}
    deltalake.write_deltalake(table, users.head(ROWS), **overwrite)
    for file in (path for path in table.rglob("*") if path.is_file()):
        put(file, f"table/{file.relative_to(table)}")
    users.head(ROWS).write_parquet(tmp_path / "users.parquet")
    score([str(tmp_path / "users.parquet")], BUNDLE, tmp_path / "by_file.parquet")
    done = score(["delta:s3://shop/table"], BUNDLE, tmp_path / "scores.parquet")
    assert done.inputs == ("delta:s3://shop/table@v1",)
    by_file, scores = (
        pl.read_parquet(tmp_path / name).sort("user_id")
        for name in ("by_file.parquet", "scores.parquet")
    )
    assert scores.equals(by_file)
    with pytest.raises(NoInputError, match="no such (table|object)"):
        score(["delta:s3://nothing-here/table"], BUNDLE, tmp_path / "scores.parquet", REPLACE)
    with pytest.raises(UsageError, match="is in an object store"):
        LakehouseScores(lakehouse_table("delta:s3://shop/scores"))


def test_a_column_of_names_and_objects(put, users, tmp_path):
    put(users.head(ROWS), "users/snapshot_date=2026-11-22/0.parquet")
    with pytest.raises(InputError, match="1 column both in the objects and in their names"):
        score(["s3://shop/users/"], BUNDLE, tmp_path / "scores.parquet")


@pytest.mark.parametrize("text", ["s3://shop/no.parquet", "s3://shop/no/*", "s3://nothing-here/0"])
def test_objects_that_are_not_there(text, put, tmp_path):
    with pytest.raises(NoInputError, match="no such object"):
        score([text], BUNDLE, tmp_path / "scores.parquet")


def test_an_object_that_is_no_parquet(server, put, users, tmp_path):
    client = boto3.client("s3", endpoint_url=server, region_name="us-east-1")
    client.put_object(Bucket="shop", Key="users.parquet", Body=b"user_id\n" * 1000)
    with pytest.raises(InputError, match=r"s3://shop/users\.parquet: cannot be read as Parquet"):
        score(["s3://shop/users.parquet"], BUNDLE, tmp_path / "scores.parquet")


@pytest.mark.parametrize(
    ("status", "error", "message", "least_requests"),
    [(403, AccessError, "access denied", 1), (503, UnavailableError, "does not answer", 3)],
)
def test_a_store_that_refuses(status, error, message, least_requests, environment, tmp_path):
    requests = []

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(status)
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815 - the name is the library's

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as store, chdir(tmp_path):
        threading.Thread(target=store.serve_forever, daemon=True).start()
        environment(f"http://127.0.0.1:{store.server_port}")
        with pytest.raises(error, match=message) as caught:
            score(["s3://shop/users.parquet"], BUNDLE, "scores.parquet")
        store.shutdown()
    assert least_requests <= len(requests) <= 20
    assert KEY not in str(caught.value)
