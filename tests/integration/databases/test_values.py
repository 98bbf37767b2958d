"""Every value of a database arrives as it is stored, or its column is refused by name."""

import re
import sqlite3
from contextlib import chdir, closing, suppress
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from engine.connectors.databases.queries import Query
from engine.errors import InputError
from engine.inputs.chunks import check_tables, read_users
from engine.inputs.open import open_inputs
from engine.rows.prepare import prepare_chunk
from tests.integration.databases.server import store
from tests.integration.databases.shops import ROWS, all_users, filled, make, score_users

USERS = 500
REFUSED, REJECTED = "refused", "every row"
# Types of a fraction, and those of a whole number, that the driver or SQL may change.
FRACTIONS = {
    "postgresql": {
        **dict.fromkeys(["float8", "numeric", "numeric(38,25)", "text", "varchar(40)"], "same"),
        **dict.fromkeys(["char(40)", "citext", "name", "json", "jsonb", "fraction"], "same"),
        **dict.fromkeys(["float4", "bytea"], "same"),
        **dict.fromkeys(["float8[]", "numeric[]", "interval", "money"], REFUSED),
    },
    "duckdb": {
        **dict.fromkeys(["DOUBLE", "VARCHAR", "DECIMAL(38,25)", "JSON", "FLOAT", "BLOB"], "same"),
        **dict.fromkeys(["DOUBLE[]", "DOUBLE[1]", "INTERVAL", "UNION(v DOUBLE)"], REFUSED),
    },
}
WHOLE = {
    "postgresql": {
        **dict.fromkeys(["int2", "int4", "int8", "numeric", "float4", "float8", "text"], "same"),
        **dict.fromkeys(["oid", "char(9)", "citext", "jsonb"], "same"),
        **dict.fromkeys(["money", "int4[]"], REFUSED),
        # Bytes that are no text of a number.
        **dict.fromkeys(["bit(32)", "xid", "regclass"], REJECTED),
    },
    "duckdb": {
        **dict.fromkeys(["TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"], "same"),
        **dict.fromkeys(["UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "VARCHAR"], "same"),
        **dict.fromkeys(["DECIMAL(38,0)", "DECIMAL(9,2)", "DOUBLE", "FLOAT"], "same"),
        **dict.fromkeys(["UHUGEINT", "INTEGER[]", "BIGNUM"], REFUSED),
        "BIT": REJECTED,
    },
}
CASTS = {
    # Types that have no cast from text, or another meaning for it.
    "interval": "make_interval(secs => {0}::float8)",
    "float8[]": "ARRAY[{0}::float8]",
    "numeric[]": "ARRAY[{0}::numeric]",
    "int4[]": "ARRAY[{0}::int4]",
    "bytea": "{0}::bytea",
    "money": "{0}::numeric::money",
    "bit(32)": "{0}::int4::bit(32)",
    "INTERVAL": "INTERVAL 1 DAY",
    "DOUBLE[]": "[{0}::DOUBLE]",
    "DOUBLE[1]": "[{0}::DOUBLE]::DOUBLE[1]",
    "INTEGER[]": "[{0}::INTEGER]",
    "BIT": "{0}::INTEGER::BIT",
    "regclass": "{0}::int4::oid::regclass",
    "UNION(v DOUBLE)": "union_value(v := {0}::DOUBLE)",
    "BIGNUM": "{0}::BIGNUM",
}


@pytest.fixture(scope="module")
def people(users):
    """Users whose fractions need all 53 bits."""
    fractions = np.random.default_rng(5).random(USERS)
    return users.head(USERS).with_columns(bounce_rate=pl.Series(fractions))


def prepared(source, scorer):
    """The bits that the models get, the ids, and how many rows are set aside."""
    manifest = scorer.manifest
    with open_inputs([source], scorer.columns) as tables:
        check_tables(manifest, tables)
        (chunk,) = read_users(tables, scorer.columns, USERS + 100, manifest.schema)
    rows = prepare_chunk(chunk, manifest)
    return rows.features.tobytes(), rows.valid["user_id"].to_list(), rows.rejected.height


def of_file(frame, scorer, folder):
    frame.write_parquet(folder / "people.parquet")
    return prepared(str(folder / "people.parquet"), scorer)


def filled_with(frame, kind, request, folder):
    uri = f"duckdb:///{folder}/people.db"
    if kind == "postgresql":
        uri = request.getfixturevalue("postgres_uri")
    shop = store(uri)
    shop.fill("people", frame, folder)
    return shop


def selecting(shop, columns, name, sql):
    chosen = (f'{sql} AS "{c}"' if c == name else f'"{c}"' for c in columns)
    return Query(f"SELECT {', '.join(chosen)} FROM people", shop.database)


@pytest.mark.parametrize("kind", ["postgresql", "duckdb"])
@pytest.mark.parametrize("column", ["bounce_rate", "sessions_last_7d"])
def test_a_number_in_every_type_q01(
    kind, column, people, scorer, request, tmp_path, record_property
):
    as_text = people.with_columns(pl.col(column).cast(pl.String))
    shop = filled_with(as_text, kind, request, tmp_path)
    if kind == "postgresql":
        make(shop, "CREATE EXTENSION IF NOT EXISTS citext")
        make(shop, "DROP DOMAIN IF EXISTS fraction")
        make(shop, "CREATE DOMAIN fraction AS float8 CHECK (VALUE < 2)")
    expected = of_file(people, scorer, tmp_path)
    narrow = of_file(people.with_columns(pl.col(column).cast(pl.Float32)), scorer, tmp_path)
    forms = (FRACTIONS if column == "bounce_rate" else WHOLE)[kind]
    for dtype, outcome in forms.items():
        sql = CASTS.get(dtype, f"CAST({{0}} AS {dtype})").format(f'"{column}"')
        query = selecting(shop, people.columns, column, sql)
        if outcome == REFUSED:
            with pytest.raises(InputError, match=column):
                prepared(query, scorer)
        elif outcome == REJECTED:
            # The bits that fill up a byte may or may not be text.
            with suppress(InputError):
                assert prepared(query, scorer)[2] == USERS
        else:
            found = prepared(query, scorer)
            assert found == (narrow if dtype in ("float4", "FLOAT") else expected), dtype
    record_property("types of a column", len(forms))


ID_FORMS = {
    "postgresql": {
        "'00' || n::text": [f"00{n}" for n in range(USERS)],
        "('00' || n::text)::char(12)": [f"00{n}" for n in range(USERS)],
        "('U' || n::text)::citext": [f"U{n}" for n in range(USERS)],
        "('550e8400-e29b-41d4-a716-' || lpad(n::text, 12, '0'))::uuid": [
            f"550e8400-e29b-41d4-a716-{n:012}" for n in range(USERS)
        ],
        "9007199254740993 + n::int8": [2**53 + 1 + n for n in range(USERS)],
        "(4294966000 + n::int8)::oid": [4_294_966_000 + n for n in range(USERS)],
        "(123456789012345678901 + n::int)::numeric": [
            str(123456789012345678901 + n) for n in range(USERS)
        ],
    },
    "duckdb": {
        "'00' || n": [f"00{n}" for n in range(USERS)],
        "('550e8400-e29b-41d4-a716-' || lpad(n, 12, '0'))::UUID": [
            f"550e8400-e29b-41d4-a716-{n:012}" for n in range(USERS)
        ],
        "9007199254740993 + n::BIGINT": [2**53 + 1 + n for n in range(USERS)],
        "(18446744073709551000 + n::INT)::UBIGINT": [
            18446744073709551000 + n for n in range(USERS)
        ],
    },
}


@pytest.mark.parametrize("kind", ["postgresql", "duckdb"])
def test_an_id_in_every_type_q02(kind, people, scorer, request, tmp_path):
    numbered = people.with_columns(user_id=pl.int_range(USERS).cast(pl.String))
    shop = filled_with(numbered, kind, request, tmp_path)
    if kind == "postgresql":
        make(shop, "CREATE EXTENSION IF NOT EXISTS citext")
    for sql, ids in ID_FORMS[kind].items():
        sql = (
            sql.replace("|| n", '|| "user_id"')
            .replace("+ n", '+ "user_id"')
            .replace("(n", '("user_id"')
        )
        assert prepared(selecting(shop, people.columns, "user_id", sql), scorer)[1:] == (ids, 0), (
            sql
        )


def test_padded_categories_are_those_without_padding_q03(postgres, people, scorer, tmp_path):
    postgres.fill("people", people, tmp_path)
    query = selecting(postgres, people.columns, "loyalty_tier", '"loyalty_tier"::char(20)')
    assert prepared(query, scorer) == of_file(people, scorer, tmp_path)


def sqlite_shop(frame, folder, declared):
    """A database whose columns are declared as given, else without a type, so that they hold any value."""
    path = folder / "people.sqlite"
    path.unlink(missing_ok=True)
    columns = ", ".join(f'"{name}" {declared.get(name, "")}' for name in frame.columns)
    frame = frame.with_columns(pl.col("snapshot_date").cast(pl.String))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE people ({columns})")
        marks = ", ".join("?" * frame.width)
        connection.executemany(f"INSERT INTO people VALUES ({marks})", frame.rows())
        connection.commit()
    return store(f"sqlite:///{path}")


def change(shop, sql, *values):
    with closing(sqlite3.connect(shop.database.file)) as connection:
        connection.execute(sql, values)
        connection.commit()


PEOPLE = "SELECT * FROM people ORDER BY rowid"
# What stands in one row of the column, by what the column is declared as.
ODD_VALUES = ["", "text", 7, 2**62, -0.0, 1e300, "0.1", None]


@pytest.mark.parametrize("declared", ["REAL", "NUMERIC", "INTEGER", "TEXT", "", "DECIMAL(9,2)"])
@pytest.mark.parametrize("row", [1, USERS])
def test_an_odd_value_in_a_column_of_sqlite_changes_no_other_q04(
    declared, row, people, scorer, tmp_path, monkeypatch
):
    monkeypatch.setattr("engine.connectors.databases.queries.BATCH_ROWS", 200)
    texts = (
        people.with_columns(pl.col("bounce_rate").cast(pl.String)) if declared == "TEXT" else people
    )
    others = pl.col("n") != row - 1
    rest = people.with_row_index("n").filter(others).drop("n")
    expected = of_file(rest, scorer, tmp_path)
    for odd in ODD_VALUES:
        shop = sqlite_shop(texts, tmp_path, {"bounce_rate": declared})
        change(shop, "UPDATE people SET bounce_rate = ? WHERE rowid = ?", odd, row)
        found = prepared(Query(f"SELECT * FROM people WHERE rowid <> {row}", shop.database), scorer)
        assert found == expected
        features, ids, _ = prepared(Query(PEOPLE, shop.database), scorer)
        width = len(expected[0]) // (USERS - 1)
        kept = [features[i * width : (i + 1) * width] for i in range(len(ids))]
        kept = b"".join(f for f, i in zip(kept, ids, strict=True) if i in set(expected[1]))
        assert (kept, [i for i in ids if i in set(expected[1])]) == expected[:2], odd


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_the_type_of_a_column_is_decided_over_all_rows_q05(batch_rows, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.connectors.databases.queries.BATCH_ROWS", batch_rows)
    columns = {
        "ints": ([1, None, 2**53, 3], pl.Int64, None),
        "halves": ([1, 0.5, None, -0.0], pl.Float64, [1.0, 0.5, None, -0.0]),
        "beyond": (
            [2**53 + 1, 0.5, 7, 1e300],
            pl.String,
            ["9007199254740993", "0.5", "7", "1e+300"],
        ),
        "mixed": ([1, 0.1, "00123", 3.0], pl.String, ["1", "0.1", "00123", "3"]),
        "late": ([None, None, None, "x"], pl.String, None),
        "never": ([None] * 4, pl.Null, None),
        "blobs": ([b"\xff", None, b"", b"x"], pl.Binary, None),
        "with_blob": ([1, "a", 0.5, b"x"], pl.Binary, [b"1", b"a", b"0.5", b"x"]),
        "nul": (["a\0b", "", "ä", None], pl.String, None),
    }
    path = tmp_path / "odd.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE odd ({', '.join(columns)})")
        rows = zip(*(values for values, _, _ in columns.values()), strict=True)
        connection.executemany(f"INSERT INTO odd VALUES ({', '.join('?' * len(columns))})", rows)
        connection.commit()
    found = store(f"sqlite:///{path}").read("SELECT * FROM odd ORDER BY rowid", tmp_path)
    for name, (values, dtype, expected) in columns.items():
        assert (found[name].dtype, found[name].to_list()) == (dtype, expected or values), name
    assert str(found["halves"][3]) == "-0.0"
    assert not list(tmp_path.glob("read.arrow.*"))


def test_a_text_of_sqlite_that_is_not_utf8_is_named_q06(people, scorer, tmp_path):
    shop = sqlite_shop(people, tmp_path, {})
    change(shop, "UPDATE people SET country = CAST(x'ff' AS TEXT) WHERE rowid = 9")
    with pytest.raises(InputError, match="'country' holds text that is not UTF-8"):
        prepared(Query(PEOPLE, shop.database), scorer)


def test_a_blob_among_numbers_is_set_aside_and_changes_no_other_q06(people, scorer, tmp_path):
    shop = sqlite_shop(people, tmp_path, {})
    change(shop, "UPDATE people SET bounce_rate = x'00' WHERE rowid = 9")
    others = people.filter(pl.int_range(pl.len()) != 8)
    bits, ids, _ = of_file(others, scorer, tmp_path)
    assert prepared(Query(PEOPLE, shop.database), scorer) == (bits, ids, 1)


@pytest.mark.parametrize(
    ("kind", "column", "named"),
    [
        ("postgresql", "INTERVAL '1 day'", "INTERVAL"),
        ("postgresql", "12.34::money", "MONEY"),
        ("duckdb", "INTERVAL 1 DAY", "INTERVAL"),
        ("duckdb", "[INTERVAL 1 DAY]", "INTERVAL"),
        ("duckdb", "union_value(k := 1)", "UNION"),
        ("duckdb", "5::UHUGEINT", "UHUGEINT"),
    ],
)
def test_a_column_that_cannot_be_read_is_left_out_if_it_is_not_needed_q07(
    kind, column, named, request, users, tmp_path, capfd
):
    uri = f"duckdb:///{tmp_path}/shop.db"
    if kind == "postgresql":
        uri = request.getfixturevalue("postgres_uri")
    shop = filled(uri, users, tmp_path)
    with chdir(tmp_path / "work"):
        done = score_users(shop, query=f"SELECT *, {column} AS odd FROM users")
    assert (done.rows_scored, done.rows_quarantined) == (ROWS, 0)
    query = f"SELECT *, {column} AS needed FROM users"
    with pytest.raises(InputError, match=rf"\({named}\): 'needed'"):
        Query(query, shop.database).fetch(tmp_path / "x.arrow", ["needed"])
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("query", "wanted", "refused"),
    [
        ("CALL duckdb_settings()", ["name"], None),
        ("EXPLAIN SELECT 1", ["explain_value"], None),
        ("SET threads = 1; SELECT 5::HUGEINT AS n, 6 AS x", ["x"], None),
        ("SET threads = 1; SELECT 5::HUGEINT AS n, 6 AS x", ["n"], "(HUGEINT or UHUGEINT): 'n'"),
        ("SELECT 1 AS a; SELECT 5 AS x", ["x"], None),
        ("EXECUTE nothing", [], "the statement is refused"),
    ],
)
def test_a_statement_of_duckdb_that_cannot_be_described_is_read_q07(
    query, wanted, refused, users, tmp_path
):
    shop = filled(f"duckdb:///{tmp_path}/shop.db", users, tmp_path)
    path = tmp_path / "x.arrow"
    if refused is None:
        Query(query, shop.database).fetch(path, wanted)
        assert set(wanted) <= set(pl.read_ipc(path).columns)
    else:
        with pytest.raises(InputError, match=re.escape(refused)):
            Query(query, shop.database).fetch(path, wanted)


def test_a_record_is_refused_wherever_it_stands_q07(postgres, tmp_path):
    query = Query("SELECT 1 AS a, row(1, 2) AS odd", postgres.database)
    with pytest.raises(InputError, match=r"\(RECORD\): 'odd'"):
        query.fetch(tmp_path / "x.arrow", ["a"])


@pytest.mark.parametrize("digits", [38, 39])
def test_whole_numbers_of_duckdb_are_exact_or_refused_q08(digits, tmp_path):
    shop = store(f"duckdb:///{tmp_path}/shop.db")
    make(shop, "CREATE TABLE t (x INTEGER)")
    sql = f"SELECT 1{'0' * (digits - 1)}::HUGEINT + 1 AS x"
    if digits == 38:
        assert shop.read(sql, tmp_path).item() == Decimal(10**37 + 1)
    else:
        with pytest.raises(InputError, match="column 'x' holds values that do not fit"):
            shop.read(sql, tmp_path)


def test_texts_of_a_database_in_another_encoding_q09(postgres, users, tmp_path):
    create = "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    outside_a_transaction(postgres, "DROP DATABASE IF EXISTS latin", create)
    latin = store(f"{postgres.database.uri.rpartition('/')[0]}/latin")
    names = users.head(3).with_columns(user_id=pl.Series(["ä", "ß", "é"]))
    latin.fill("users", names, tmp_path)
    assert latin.read('SELECT "user_id" FROM users', tmp_path)["user_id"].to_list() == [
        "ä",
        "ß",
        "é",
    ]
    found = latin.read(
        'SELECT ascii(max("user_id"))::int AS n FROM users WHERE "user_id" = \'ä\'', tmp_path
    )
    assert found.item() == ord("ä")
    with chdir(tmp_path / "work"):
        assert score_users(latin, query=all_users(latin).sql).rows_scored == 3


def outside_a_transaction(shop, *statements):
    import adbc_driver_manager
    import adbc_driver_postgresql

    options = {"driver": adbc_driver_postgresql._driver_path(), "uri": shop.database.uri}
    with (
        adbc_driver_manager.AdbcDatabase(**options) as handle,
        adbc_driver_manager.AdbcConnection(handle) as connection,
    ):
        for sql in statements:
            with adbc_driver_manager.AdbcStatement(connection) as statement:
                statement.set_sql_query(sql)
                statement.execute_update()
