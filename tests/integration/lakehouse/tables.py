"""Tables of Delta Lake and Iceberg, written by the formats' own libraries."""

import base64
import json
import struct
import time
import warnings
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine import ScoreOptions, score
from engine.connectors.lakehouse.scores import LakehouseScores
from engine.inputs.lakehouse import lakehouse_table, open_lakehouse
from tests.helpers import BUNDLE

FORMATS = ("delta", "iceberg")
ROWS = 600
REPLACE = ScoreOptions(if_exists="replace")
DAY = date(2026, 11, 22)
_B85 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_Z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


@dataclass(frozen=True)
class Lakehouse:
    """A folder with tables of one format."""

    format: str
    folder: Path

    @property
    def env(self):
        return {
            "PYICEBERG_CATALOG__LAKE__URI": f"sqlite:///{self.folder}/catalog.db",
            "PYICEBERG_CATALOG__LAKE__WAREHOUSE": f"file://{self.folder}/warehouse",
        }

    def named(self, name):
        """How a table is named on the command line."""
        return (
            f"delta:{self.folder / name}" if self.format == "delta" else f"iceberg:lake.shop.{name}"
        )

    def target(self, name="scores"):
        return LakehouseScores(lakehouse_table(self.named(name)))

    def read(self, text):
        """The rows as the library of the format has them, in the order that scoring reads them."""
        opened = open_lakehouse(lakehouse_table(text))
        return opened.name, opened.frame.collect()

    def own(self, name):
        """The table, opened by its own library."""
        if self.format == "delta":
            from deltalake import DeltaTable

            return DeltaTable(str(self.folder / name))
        from pyiceberg.catalog import load_catalog

        return load_catalog("lake").load_table(f"shop.{name}")

    def rows(self, name):
        """All rows, read by the format's own library."""
        if self.format == "delta":
            return pl.DataFrame(self.own(name).scan())
        return pl.DataFrame(self.own(name).scan().to_arrow())

    def write(self, name, frame, *, mode="append", partition_by=()):
        if self.format == "delta":
            from deltalake import write_deltalake

            by = list(partition_by) or None
            folder = self.folder / name
            write_deltalake(folder, frame, mode=mode, partition_by=by, schema_mode="merge")
            return
        from pyiceberg.catalog import load_catalog

        catalog, arrow = load_catalog("lake"), frame.to_arrow()
        if not catalog.table_exists(f"shop.{name}"):
            table = catalog.create_table(f"shop.{name}", schema=arrow.schema)
            with table.update_spec() as spec:
                for column in partition_by:
                    spec.add_identity(column)
        table = catalog.load_table(f"shop.{name}")
        with table.update_schema() as schema:
            schema.union_by_name(arrow.schema)
        (table.append if mode == "append" else table.overwrite)(arrow)

    def delete(self, name, condition):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.own(name).delete(condition)


def lakehouse(format, folder, monkeypatch):
    """An empty lakehouse, of which this process knows the catalogue."""
    found = Lakehouse(format, folder)
    folder.mkdir()
    pytest.importorskip({"delta": "deltalake", "iceberg": "pyiceberg"}[format])
    if format == "iceberg":
        import pyiceberg.catalog
        from pyiceberg.utils.config import Config

        for name, value in found.env.items():
            monkeypatch.setenv(name, value)
        # It is read once, when the package is imported.
        monkeypatch.setattr(pyiceberg.catalog, "_ENV_CONFIG", Config())
        pyiceberg.catalog.load_catalog("lake").create_namespace("shop")
    return found


def delete_by_position(table, deleted, monkeypatch):
    """Commit a file of positional deletes for an Iceberg table of one file; PyIceberg writes none."""
    import pyarrow as pa
    from pyarrow import parquet
    from pyiceberg import manifest
    from pyiceberg.typedef import Record

    (task,) = table.scan().plan_files()
    fields = [("file_path", pa.string(), b"2147483546"), ("pos", pa.int64(), b"2147483545")]
    schema = pa.schema(
        [
            pa.field(n, kind, nullable=False, metadata={b"PARQUET:field_id": i})
            for n, kind, i in fields
        ]
    )
    path = Path(f"{table.location().removeprefix('file://')}/data/deletes.parquet")
    rows = {"file_path": [task.file.file_path] * len(deleted), "pos": deleted}
    parquet.write_table(pa.table(rows, schema=schema), path)
    file = manifest.DataFile.from_args(
        content=manifest.DataFileContent.POSITION_DELETES,
        file_path=f"file://{path}",
        file_format=manifest.FileFormat.PARQUET,
        partition=Record(),
        record_count=len(deleted),
        file_size_in_bytes=path.stat().st_size,
    )
    file.spec_id = 0
    writer, content = manifest.ManifestWriterV2, manifest.ManifestContent.DELETES
    meta = writer._meta.fget
    with monkeypatch.context() as patched:
        patched.setattr(writer, "content", lambda _: content)
        patched.setattr(
            writer, "_meta", property(lambda self: {**meta(self), "content": "deletes"})
        )
        with (
            table.transaction() as transaction,
            transaction.update_snapshot().fast_append() as append,
        ):
            append.append_data_file(file)


def delete_by_vector(folder, path, rows, deleted):
    """Commit a deletion vector for a file of a Delta table, as Spark does; delta-rs writes none.

    The vector stands in the log: a magic number, then a 64-bit roaring bitmap of one container.
    """
    bitmap = struct.pack(f"<IIHHI{len(deleted)}H", 12346, 1, 0, len(deleted) - 1, 16, *deleted)
    content = struct.pack("<IQI", 1681511377, 1, 0) + bitmap
    padded = content + bytes(-len(content) % 4)
    inline = base64.b85encode(padded).translate(bytes.maketrans(_B85, _Z85)).decode()
    log = folder / "_delta_log"
    file = {
        "path": path,
        "partitionValues": {},
        "size": (folder / path).stat().st_size,
        "modificationTime": int(time.time() * 1000),
        "dataChange": True,
        "stats": json.dumps({"numRecords": rows}),
    }
    vector = {
        "storageType": "i",
        "pathOrInlineDv": inline,
        "sizeInBytes": len(content),
        "cardinality": len(deleted),
    }
    feature = ["deletionVectors"]
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7}
    removed = {"path": path, "deletionTimestamp": file["modificationTime"], "dataChange": True}
    actions = [
        {"protocol": protocol | {"readerFeatures": feature, "writerFeatures": feature}},
        {"remove": removed},
        {"add": file | {"deletionVector": vector}},
    ]
    (log / f"{len(list(log.iterdir())):020}.json").write_text("\n".join(map(json.dumps, actions)))


def scored(frame, folder):
    """The scores of the same rows, from Parquet to Parquet."""
    frame.write_parquet(folder / "plain.parquet")
    score([str(folder / "plain.parquet")], BUNDLE, folder / "plain_scores.parquet", REPLACE)
    return pl.read_parquet(folder / "plain_scores.parquet")


def score_into(lake, *inputs, options=REPLACE):
    return score(list(inputs), BUNDLE, lake.target(), options)


def same_bits(found, expected):
    """Whether rows are the same to the last bit, in any order; Iceberg has no small integers."""
    typed = found.select(pl.col(name).cast(dtype) for name, dtype in expected.schema.items())
    keys = ["user_id", "snapshot_date"]
    return typed.sort(keys).equals(expected.sort(keys))


def files_of(lake):
    """Data files of the table of scores, whether a version holds them or not."""
    return sorted((lake.folder).rglob("part-*.parquet"))
