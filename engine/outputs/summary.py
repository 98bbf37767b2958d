"""The summary of a run: counted chunk by chunk, written as JSON and as a few lines of text."""

import json
import resource
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Literal

import polars as pl

from engine.bundle.manifest import BANDS
from engine.bundle.reference import Users
from engine.errors import (
    EngineError,
    InterruptedRunError,
    ResourceError,
    bug_text,
    pluralize,
    system_error_kind,
)
from engine.explain.diagnose import RowCounts
from engine.explain.drift import UserSample, findings
from engine.model.columns import ScoredChunk
from engine.outputs.alarms import Alarm, Inputs
from engine.outputs.writer import Written

Status = Literal["published", "skipped", "dry_run", "failed", "interrupted"]
Standing = Literal["this run", "earlier run", "none", "unknown"]


@dataclass(frozen=True, slots=True)
class Drift:
    """The shift of a run's users from the training users, measured on a sample.

    Attributes:
        rows: Users in the sample.
        alarms: Large shifts, in words.
        warnings: Moderate shifts, in words.
        psi: The population stability index of the score, the segments and every feature.
    """

    rows: int = 0
    alarms: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    psi: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> "Drift":
        """Build it from a drift report."""
        whole = {name: report[name]["psi"] for name in ("score", "segments")}
        return cls(
            rows=report["rows"],
            alarms=tuple(findings(report, "alarm")),
            warnings=tuple(findings(report, "warn")),
            psi=whole | {feature["name"]: feature["psi"] for feature in report["features"]},
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary of one run of `engine score`.

    Attributes:
        published: Whether this run's scores are at the output.
        signed_by: The fingerprint of the key whose signature of the bundle was checked; None if none was.
        reasons: The number of rows that break each rule; a row may break several.
        unseen_categories: The number of values that the bundle does not know, by feature.
        outputs: Path, rows, size in bytes and SHA-256 of each file.
        unusable: Why the bundle's scores must not be used; empty if they may be.
        drift: The shift from the training users.
        alarms: What is likely to be wrong with the input; see docs/operations.md.
        input_sha256: SHA-256 of the bytes of all inputs, in order.
        snapshots: The oldest and the newest date of the scored rows; empty without dates.
        before: `rows_read`, `input_sha256`, `snapshots` and `scores_sha256` of the previous published run,
            with its own `before`; None if there is no summary of one, so that nothing was compared.
        stands: Which scores are at the output now: this run's, an earlier run's, or none; unknown
            if a database does not answer.
        peak_memory_bytes: The peak memory of the process.

    A summary describes the scores beside it only if their SHA-256 is the one in its `outputs`. After
    a run that was killed between two renames, a new summary may be beside old scores.
    """

    status: Status
    published: bool
    out: str
    bundle_id: str | None = None
    signed_by: str | None = None
    rows_read: int = 0
    rows_scored: int = 0
    rows_quarantined: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    unseen_categories: dict[str, int] = field(default_factory=dict)
    will_purchase_rows: int = 0
    mean_probability: float | None = None
    deciles: dict[str, int] = field(default_factory=dict)
    bands: dict[str, int] = field(default_factory=dict)
    segments: dict[str, int] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    stands: Standing = "none"
    seconds: float = 0.0
    threads: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    unusable: tuple[str, ...] = ()
    drift: Drift = Drift()
    alarms: tuple[Alarm, ...] = ()
    input_sha256: str | None = None
    snapshots: dict[str, str] = field(default_factory=dict)
    before: dict[str, Any] | None = None
    peak_memory_bytes: int = 0
    error: str | None = None
    exit_code: int = 0

    def to_json(self) -> bytes:
        """The summary as UTF-8 JSON, one key per line."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"
        # NOTE: a path that is not UTF-8 has surrogates, which JSON writes as \udcff.
        return text.encode("utf-8", "backslashreplace")

    def to_lines(self) -> list[str]:
        """The summary as lines for people."""
        if self.status == "skipped":
            return [f"{self.out} exists already: nothing was done."]
        days = self.snapshots.values()
        rate = self.rows_read / self.seconds if self.seconds else 0.0
        lines = [
            f"{self.rows_read:,} users read, {self.rows_scored:,} scored, "
            f"{self.rows_quarantined:,} quarantined in {self.seconds:.1f} s ({rate:,.0f} a second)",
            *([f"snapshot: {' to '.join(dict.fromkeys(days))}"] if days else []),
            f"will purchase: {self.will_purchase_rows:,} "
            f"({_share(self.will_purchase_rows, self.rows_scored)}), "
            f"mean probability {self.mean_probability or 0.0:.3f}",
            _shares("bands", self.bands, self.rows_scored),
            *([_shares("segments", self.segments, self.rows_scored)] if self.segments else []),
        ]
        lines += [
            f"quarantined: {pluralize(rows, 'row')} by {rule}"
            for rule, rows in self.reasons.items()
        ]
        lines += [
            f"unseen values scored as missing: {count:,} in {name}"
            for name, count in self.unseen_categories.items()
        ]
        if self.status == "dry_run":
            lines += [
                f"dry run, nothing was written: would publish {self.out}"
                + (", replacing an earlier file" if self.stands == "earlier run" else ""),
                f"memory needed: {self.peak_memory_bytes / 2**20:,.0f} MiB and some for writing",
            ]
        if self.before is None:
            lines.append("no summary of an earlier run: rows and dates were not compared")
        return lines + [f"{name}: {file['path']}" for name, file in self.outputs.items()]

    def to_warnings(self) -> list[str]:
        """What nobody should miss, as lines for people."""
        lines = [f"MUST NOT BE USED: {reason}" for reason in self.unusable]
        lines += [f"ALARM {alarm.name}: {alarm.message}" for alarm in self.alarms]
        if self.drift.warnings:
            shifts = pluralize(len(self.drift.warnings), "moderate shift")
            lines.append(f"warning: {shifts} from the training users; see engine drift")
        return lines


COUNTED_COLUMNS = ("will_purchase", "propensity_decile", "propensity_band", "segment_name")


class Tally:
    """Adds up chunks in input order.

    Attributes:
        rows: The rows read and rejected.
        scored: The rows scored.
        sample: The users that drift is measured on.
        drift: The shift from the training users, once all rows are counted.
        alarms: The alarms, once all rows are counted.
        sha256: SHA-256 of the input, once it is known.
        before: The input of the previous run, if it is known.
    """

    def __init__(self) -> None:
        self.rows = RowCounts()
        self.scored = 0
        self.sample = UserSample()
        self.drift = Drift()
        self.alarms: tuple[Alarm, ...] = ()
        self.sha256: str | None = None
        self.before: Inputs | None = None
        self._days: list[date] = []
        self._probability_sum = 0.0
        self._values: dict[str, Counter[Any]] = {name: Counter() for name in COUNTED_COLUMNS}

    def add(self, chunk: ScoredChunk) -> None:
        """Count one chunk."""
        scores = chunk.scores
        self.rows.add(chunk)
        self.scored += scores.height
        probability = scores["purchase_probability"].to_numpy()
        # The snapshot, whatever its name is, is the only date of a score file.
        for name in (name for name, dtype in scores.schema.items() if dtype == pl.Date):
            days = [scores[name].min(), scores[name].max(), *self._days]
            found = [day for day in days if isinstance(day, date)]
            self._days = [min(found), max(found)] if found else []
        self.sample.add(Users(chunk.features, probability, chunk.segments))
        self._probability_sum += float(scores["purchase_probability"].cast(pl.Float64).sum())
        for name, counts in self._values.items():
            counts.update(dict(scores[name].value_counts().iter_rows()))
            # NOTE: dropping them before counting takes longer than counting.
            counts.pop(None, None)

    @property
    def inputs(self) -> Inputs:
        """What identifies the input, as far as it has been read."""
        oldest, newest = map(str, self._days) if self._days else (None, None)
        return Inputs(self.rows.read, self.sha256, oldest, newest)

    def for_summary(self) -> dict[str, Any]:
        """The counts under the names that `Summary` gives them."""
        purchases, deciles, bands, segments = (self._values[name] for name in COUNTED_COLUMNS)
        return {
            "rows_read": self.rows.read,
            "rows_scored": self.scored,
            "rows_quarantined": self.rows.rejected.total(),
            "reasons": dict(sorted(self.rows.reasons.items())),
            "unseen_categories": dict(sorted(self.rows.unseen.items())),
            "will_purchase_rows": purchases[True],
            "mean_probability": self._probability_sum / self.scored if self.scored else None,
            "deciles": {str(d): deciles[d] for d in range(1, 11)},
            "bands": {band: bands[band] for band in BANDS},
            "segments": dict(sorted(segments.items())),
            "drift": self.drift,
            "alarms": self.alarms,
            "input_sha256": self.sha256,
            "snapshots": self.inputs.snapshots,
            "before": self.before and self.before.to_json(),
        }


def failed_summary(
    error: BaseException, out: str, stands: Standing, seconds: float, tally: Tally
) -> Summary:
    """The summary of a failed or interrupted run.

    Args:
        error: The error. The text of a bug is omitted, because it may quote a value of the input.
        out: The name of the scores' destination in messages.
        stands: Which scores are there.
        seconds: The duration of the run.
        tally: The counts so far.
    """
    if isinstance(error, KeyboardInterrupt):
        error = InterruptedRunError(signal.SIGINT)
    error = ResourceError.of(error) or error if not isinstance(error, EngineError) else error
    known = isinstance(error, EngineError)
    # The command line gives other errors the same exit codes.
    other = system_error_kind(error) if isinstance(error, OSError) else EngineError
    return Summary(
        status="interrupted" if isinstance(error, InterruptedRunError) else "failed",
        published=False,
        out=out,
        stands=stands,
        seconds=round(seconds, 3),
        error=str(error) if known else bug_text(error),
        exit_code=getattr(error, "exit_code", other.exit_code),
        peak_memory_bytes=peak_memory_bytes(),
        **tally.for_summary(),
    )


def file_entry(name: str, path: str, written: Written | None) -> dict[str, dict[str, Any]]:
    """The entry of one output file in the summary; empty if it was not written."""
    return {name: {"path": path, **asdict(written)}} if written else {}


def peak_memory_bytes() -> int:
    """The peak memory of this process, as the operating system reports it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "0.0%"


def _shares(title: str, counts: dict[str, int], whole: int) -> str:
    parts = ", ".join(f"{name} {_share(count, whole)}" for name, count in counts.items())
    return f"{title}: {parts}"
