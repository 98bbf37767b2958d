"""A summary as metrics in a Prometheus text file: counts and shares, no user's data."""

from collections.abc import Mapping
from datetime import UTC, datetime

from engine.outputs.alarms import ALARMS
from engine.outputs.summary import Summary


def to_prometheus(summary: Summary) -> bytes:
    """The metrics of one run in Prometheus' text format, version 0.0.4.

    They contain no timestamp; collectors add the file's modification time.
    """
    labels = {"bundle_id": summary.bundle_id or "", "status": summary.status}
    rows = {
        "read": summary.rows_read,
        "scored": summary.rows_scored,
        "quarantined": summary.rows_quarantined,
    }
    alarms: dict[str, float] = {
        name: sum(alarm.name == name for alarm in summary.alarms) for name in ALARMS
    }
    files = {name: file["size_bytes"] for name, file in summary.outputs.items()}
    versions = {name: summary.versions.get(name, "") for name in ("shopnow-scoring", "onnxruntime")}
    labels |= {name.replace("-", "_"): version for name, version in versions.items()}
    blocks = [
        _gauge("info", "The bundle and the versions of the last run.", [(labels, 1)]),
        _plain("exit_code", "Status of the last run.", summary.exit_code),
        _plain("published", "1 if the last run published its scores.", int(summary.published)),
        _plain("seconds", "How long the last run took.", summary.seconds),
        _plain("peak_memory_bytes", "Peak memory of the last run.", summary.peak_memory_bytes),
        _by("rows", "Rows by outcome.", "result", rows),
        _by("quarantined_rows", "Rows that break each rule.", "rule", summary.reasons),
        _by("unseen_values", "Values unknown to the bundle.", "feature", summary.unseen_categories),
        _plain("will_purchase_rows", "Rows at or above the threshold.", summary.will_purchase_rows),
        _by("band_rows", "Rows by propensity band.", "band", summary.bands),
        _by("segment_rows", "Rows by segment.", "segment", summary.segments),
        _by("output_bytes", "Size of each published file.", "file", files),
        _by("alarms", "Alarms by name.", "alarm", alarms),
    ]
    if newest := summary.snapshots.get("newest"):
        seconds = datetime.fromisoformat(newest).replace(tzinfo=UTC).timestamp()
        blocks.append(
            _plain("newest_snapshot_seconds", "Unix time of the newest snapshot.", seconds)
        )
    if summary.mean_probability is not None:
        blocks.append(
            _plain("mean_probability", "Mean of the probabilities.", summary.mean_probability)
        )
    return "".join(blocks).encode()


def _plain(name: str, description: str, value: float) -> str:
    return _gauge(name, description, [({}, value)])


def _by(name: str, description: str, label: str, values: Mapping[str, float]) -> str:
    return _gauge(name, description, [({label: key}, value) for key, value in values.items()])


def _gauge(name: str, description: str, samples: list[tuple[dict[str, str], float]]) -> str:
    full = f"engine_score_{name}"
    lines = [f"# HELP {full} {description}", f"# TYPE {full} gauge"]
    lines += [f"{full}{_label_text(labels)} {value!r}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _label_text(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
