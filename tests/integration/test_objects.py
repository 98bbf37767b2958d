import base64
import json
import threading
from contextlib import ExitStack, chdir
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest
from click.testing import CliRunner

from engine import ScoreOptions, score
from engine.activate.audience import make_audience
from engine.activate.options import AudienceOptions
from engine.bundle.schema import load_schema
from engine.connectors.lakehouse.scores import LakehouseScores
from engine.errors import (
    AccessError,
    BundleError,
    InputError,
    NoInputError,
    UnavailableError,
    UsageError,
)
from engine.inputs.lakehouse import lakehouse_table
from tests.foreign import members
from tests.helpers import BUNDLE
from tests.integration.model_server import free_ports
from tests.integration.stores import KEY, STORES, variables
from tests.training.backtest.score_files import scores_of
from training.cli import backtest, main

ROWS = 300
REPLACE = ScoreOptions(if_exists="replace")


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Give the store of a scheme, which starts once."""
    with ExitStack() as stack:

        @cache
        def start(scheme):
            log = tmp_path_factory.mktemp("store") / "log"
            return stack.enter_context(STORES[scheme](log))

        yield start


@pytest.fixture(params=STORES)
def store(request, started, use):
    """A store with a bucket of its own: Polars keeps the client of a bucket, with its settings."""
    store = started(request.param).with_bucket(f"shop-{uuid4()}")
    use(store.variables)
    return store


@pytest.fixture
def use(monkeypatch):
    """Set variables of the environment; None unsets one."""

    def use(values):
        for name, value in values.items():
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)

    return use


@pytest.fixture
def put(store, tmp_path):
    def put(content, key):
        """Store a table, or a file as it is."""
        path = content if isinstance(content, Path) else tmp_path / "object.parquet"
        if content is not path:
            content.write_parquet(path)
        store.put(path, key)

    return put


@pytest.mark.parametrize("text", ["night/*.parquet", "night/"])
def test_objects_are_scored_as_files_are(text, store, put, users, tmp_path):
    put(users[:ROWS], "night/0.parquet")
    put(users[ROWS : 2 * ROWS], "night/1.parquet")
    put(users[:1], "night/_temporary.parquet" if text.endswith("/") else "other/0.parquet")
    users[: 2 * ROWS].write_parquet(tmp_path / "users.parquet")
    by_file = score([str(tmp_path / "users.parquet")], BUNDLE, tmp_path / "by_file.parquet")
    by_object = score([store.url(text)], BUNDLE, tmp_path / "by_object.parquet")
    assert by_object.outputs["scores"]["sha256"] == by_file.outputs["scores"]["sha256"]
    assert by_object.inputs == (store.url(text),)


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_list_made_from_objects_is_measured_with_them(store, put, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scores = scores_of(600)
    put(scores, "scores.parquet")
    arms = {"mail": 0.5, "offer": 0.5}
    options = AudienceOptions(campaign="spring", arms=arms, include_control=True)
    make_audience([store.url("scores.parquet")], tmp_path / "list.csv", options)
    bought = (pl.int_range(pl.len()) % 3 == 0).cast(pl.Int8)
    outcomes = scores.select("customer", "day", bought=bought)
    outcomes.write_parquet("outcomes.parquet")
    (tmp_path / "schema.toml").write_text(
        'name = "tiny"\nid = "customer"\nlabel = "bought"\nsnapshot = "day"\nhorizon_days = 7\n'
        '[[feature]]\nname = "visits"\nkind = "numeric"\n'
    )
    inputs = [
        store.url("scores.parquet"),
        "--outcomes",
        "outcomes.parquet",
        "--contacted",
        "list.csv",
    ]
    options = ["--schema", "schema.toml", "--report", "page.html", "--json"]
    done = CliRunner().invoke(backtest, [*inputs, *options], catch_exceptions=False)
    (campaign,) = json.loads(done.stdout)["campaigns"]
    assert (campaign["arms"], campaign["users"]) == (["mail", "offer"], 600)


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_schema_is_drafted_from_objects(store, put, tmp_path):
    put(members(600), "members/0.parquet")
    out = tmp_path / "schema.toml"
    with pytest.raises(SystemExit) as stop:
        main(["schema", store.url("members/"), "--out", str(out)])
    assert not stop.value.code
    assert load_schema(out).id == "member"


@pytest.mark.parametrize("text", ["", "snapshot_date=2026-11-22/country=*/*.parquet"])
def test_partitions_of_objects(text, store, put, users, tmp_path):
    users = users.head(ROWS).with_columns(country=pl.lit("United Kingdom"))
    folder = "users/snapshot_date=2026-11-22/country=United Kingdom"
    put(users.drop("snapshot_date", "country"), f"{folder}/0 ü+1.parquet")
    score([store.url(f"users/{text}")], BUNDLE, tmp_path / "scores.parquet")
    users.with_columns(snapshot_date=pl.date(2026, 11, 22)).write_parquet(
        tmp_path / "users.parquet"
    )
    score([str(tmp_path / "users.parquet")], BUNDLE, tmp_path / "by_file.parquet")
    assert (tmp_path / "scores.parquet").read_bytes() == (tmp_path / "by_file.parquet").read_bytes()


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("_delta_log/00000000000000000000.json", "Delta Lake"),
        ("metadata/00000-abc.metadata.json", "Iceberg"),
        (".hoodie/hoodie.properties", "Hudi"),
    ],
)
def test_objects_that_only_a_log_knows_are_refused(store, put, users, tmp_path, log, kind):
    for key in ("table/0.parquet", "table/country=DE/0.parquet", "plain/0.parquet", f"table/{log}"):
        put(users.head(ROWS), key)
    for text in ("table/", "table/*.parquet", "table/0.parquet", "table/country=DE/"):
        with pytest.raises(InputError, match=f"{store.url('table')} is a table of {kind}"):
            score([store.url(text)], BUNDLE, tmp_path / "scores.parquet")
    assert score([store.url("plain/")], BUNDLE, tmp_path / "scores.parquet").rows_scored == ROWS


def test_a_delta_table_is_read_at_its_current_version(store, put, users, tmp_path):
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
    done = score([f"delta:{store.url('table')}"], BUNDLE, tmp_path / "scores.parquet")
    assert done.inputs == (f"delta:{store.url('table')}@v1",)
    by_file, scores = (
        pl.read_parquet(tmp_path / name).sort("user_id")
        for name in ("by_file.parquet", "scores.parquet")
    )
    assert scores.equals(by_file)
    with pytest.raises(NoInputError, match="no such (table|object)"):
        score(
            [f"delta:{store.url('nothing')}"],
            BUNDLE,
            tmp_path / "scores.parquet",
            REPLACE,
        )
    with pytest.raises(UsageError, match="is in an object store"):
        LakehouseScores(lakehouse_table(f"delta:{store.url('scores')}"))


def test_a_column_of_names_and_objects(store, put, users, tmp_path):
    put(users.head(ROWS), "users/snapshot_date=2026-11-22/0.parquet")
    with pytest.raises(InputError, match="1 column both in the objects and in their names"):
        score([store.url("users/")], BUNDLE, tmp_path / "scores.parquet")


# The reason for a refusal is not taken from names.
@pytest.mark.parametrize("key", ["no.parquet", "no/*", "no/", "403/credentials.parquet"])
def test_objects_that_are_not_there(key, store, tmp_path):
    with pytest.raises(NoInputError, match="no such object"):
        score([store.url(key)], BUNDLE, tmp_path / "scores.parquet")


# Without Google's, of which the emulator answers 500 to a list of a bucket that is not there.
@pytest.mark.parametrize("store", ["s3", "az"], indirect=True)
@pytest.mark.parametrize("form", ["", "delta:"])
def test_a_bucket_that_is_not_there(form, store, tmp_path):
    if form:
        pytest.importorskip("deltalake", reason="deltalake is not installed")
    with pytest.raises(NoInputError, match="no such (table|object)"):
        score([f"{form}{store.scheme}://nothing-here/0"], BUNDLE, tmp_path / "scores.parquet")


def test_an_object_that_is_no_parquet(store, put, tmp_path):
    text = tmp_path / "users.csv"
    text.write_bytes(b"user_id\n" * 1000)
    put(text, "users.parquet")
    message = f"{store.url('users.parquet')}: cannot be read as Parquet"
    with pytest.raises(InputError, match=message):
        score([store.url("users.parquet")], BUNDLE, tmp_path / "scores.parquet")


@pytest.mark.parametrize("store", ["az"], indirect=True)
@pytest.mark.parametrize("key", ["0.parquet", ""])
def test_a_key_that_is_not_that_of_the_account(key, store, use, tmp_path):
    wrong = base64.b64encode(KEY.encode()).decode()
    use({"AZURE_STORAGE_ACCOUNT_KEY": wrong})
    with pytest.raises(AccessError, match="access denied") as caught:
        score([store.url(key)], BUNDLE, tmp_path / "scores.parquet")
    assert wrong not in str(caught.value)


# A store that is out of order is asked for ten seconds; so are those below that do not answer.
@pytest.mark.parametrize(
    ("scheme", "status", "error", "message", "least_requests"),
    [
        *((scheme, 400, BundleError, "settings of the store", 1) for scheme in STORES),
        *((scheme, 403, AccessError, "access denied", 1) for scheme in STORES),
        ("s3", 503, UnavailableError, "does not answer", 3),
    ],
)
def test_a_store_that_refuses(scheme, status, error, message, least_requests, use, tmp_path):
    requests = []

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(KEY.encode())

        def do_HEAD(self):
            requests.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as store, chdir(tmp_path):
        threading.Thread(target=store.serve_forever, daemon=True).start()
        use(variables(scheme, f"http://127.0.0.1:{store.server_port}"))
        with pytest.raises(error, match=message) as caught:
            score([f"{scheme}://refusing-{status}/users.parquet"], BUNDLE, "scores.parquet")
        store.shutdown()
    assert least_requests <= len(requests) <= 20
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "changed", "message"),
    [
        ("az://down/0", {}, "does not answer after several attempts"),
        (
            "az://no-credentials/0",
            {"AZURE_STORAGE_ACCOUNT_KEY": None, "AZURE_MSI_ENDPOINT": "{address}"},
            "no credentials in the environment",
        ),
        (
            "s3://no-credentials/0",
            {
                "AWS_ACCESS_KEY_ID": None,
                "AWS_SECRET_ACCESS_KEY": None,
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_METADATA_ENDPOINT": "{address}",
            },
            "no credentials in the environment",
        ),
    ],
)
def test_a_store_or_its_credentials_that_do_not_answer(text, changed, message, use, tmp_path):
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    changed = {name: value and value.format(address=address) for name, value in changed.items()}
    use(variables(text.partition("://")[0], address) | changed)
    with pytest.raises(UnavailableError, match=message):
        score([text], BUNDLE, tmp_path / "scores.parquet")


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("s3://no-address/0", {"AWS_ENDPOINT_URL": "nowhere"}),
        ("s3://no-profile/0", {"AWS_PROFILE": "nobody"}),
        (
            "gs://no-file/0",
            {
                "GOOGLE_SERVICE_ACCOUNT_KEY": None,
                "GOOGLE_APPLICATION_CREDENTIALS": "nowhere.json",
            },
        ),
        ("gs://no-json/0", {"GOOGLE_SERVICE_ACCOUNT_KEY": f'{{"private_key": "{KEY}"'}),
        ("az://no-account/0", {"AZURE_STORAGE_ACCOUNT_NAME": None}),
        ("az://no-key/0", {"AZURE_STORAGE_ACCOUNT_KEY": KEY}),
        ("az://no-address/0", {"AZURE_STORAGE_ENDPOINT": "nowhere"}),
        ("delta:az://no-http/table", {"AZURE_ALLOW_HTTP": None}),
    ],
)
def test_settings_with_which_no_store_is_found(text, changed, use, tmp_path):
    scheme = text.partition("://")[0].removeprefix("delta:")
    use(variables(scheme, "http://127.0.0.1:9") | changed)
    with pytest.raises(BundleError, match="settings of the store") as caught:
        score([text], BUNDLE, tmp_path / "scores.parquet")
    assert KEY not in str(caught.value)
