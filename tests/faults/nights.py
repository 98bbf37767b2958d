"""A folder with the scores of yesterday, runs that go wrong in it, and what must hold afterwards."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine import ScoreOptions, score
from tests.helpers import BUNDLE, read_summary

DOCUMENTED = {0, 1, 2, 65, 66, 69, 70, 73, 74, 75, 76, 77, 78, 79, 129, 130, 143}
OUTPUTS = ("scores.parquet", "scores.parquet.quarantine.parquet")
SUMMARY = "scores.parquet.summary.json"
LOCK = "scores.parquet.lock"
ENGINE = str(Path(sys.executable).parent / "engine")
FAULTY_RUN = str(Path(__file__).with_name("faulty_run.py"))
OPTIONS = ScoreOptions(if_exists="replace", max_reject_share=0.5, chunk_rows=100)
ARGUMENTS = (
    *("score", "users.parquet", "--out", "scores.parquet", "--bundle", str(BUNDLE)),
    *("--if-exists", "replace", "--max-reject-share", "0.5", "--chunk-rows", "100"),
)


@dataclass(frozen=True, slots=True)
class Night:
    """One night: the folder, the earlier outputs, and what an undisturbed run publishes."""

    folder: Path
    before: dict[str, bytes]
    undisturbed: dict[str, bytes]

    @property
    def out(self) -> Path:
        return self.folder / "scores.parquet"

    def outputs(self) -> dict[str, bytes]:
        return {name: (self.folder / name).read_bytes() for name in OUTPUTS}

    def is_published(self) -> bool:
        return self.out.read_bytes() == self.undisturbed["scores.parquet"]


def engine(night, *more, timeout=300, **process):
    """Run today's scoring as a process."""
    return subprocess.run(
        [ENGINE, *ARGUMENTS, *more], cwd=night.folder, **captured(process), timeout=timeout
    )


def start_engine(night, *more, **process):
    """Begin today's scoring as a process."""
    return subprocess.Popen([ENGINE, *ARGUMENTS, *more], cwd=night.folder, **captured(process))


def faulty_engine(night, step, action, *more):
    """Run today's scoring with a fault at one step."""
    command = [sys.executable, FAULTY_RUN, str(step), str(action), *ARGUMENTS, *more]
    return subprocess.run(command, cwd=night.folder, **captured({}), timeout=300)


def unprivileged_engine(night, *more):
    """Run today's scoring as a user who is bound by the modes of files, as root is not."""
    command = [ENGINE, *ARGUMENTS, *more]
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("setpriv is not here to take root's rights away")
        command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *command]
    return subprocess.run(command, cwd=night.folder, **captured({}), timeout=300)


def waiting_engine(night, *command, more=()):
    """A run that has its bundle and staging, and waits for the rest of its standard input."""
    arguments = ["-" if word == "users.parquet" else word for word in ARGUMENTS]
    spool = night.folder.parent / "spool"
    spool.mkdir()
    process = subprocess.Popen(
        [*command, *arguments, *more],
        cwd=night.folder,
        stdin=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(spool)},
        **captured({}),
    )
    process.stdin.write("user_id")
    process.stdin.flush()
    while not list(spool.glob("engine-*/*")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    return process


def captured(process):
    return {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **process}


def score_again(night, bundle=BUNDLE, **options):
    """Score today in this process."""
    named = {**{name: getattr(OPTIONS, name) for name in ScoreOptions.__slots__}, **options}
    # The quarantine names the input as it was named to the run.
    with chdir(night.folder):
        score(["users.parquet"], bundle, "scores.parquet", ScoreOptions(**named))


def check_refused(night, done, code):
    """The run ended as documented; everything stands as it stood, and the summary says so."""
    assert done.returncode == code, done.stderr
    check_words(done.stderr)
    assert night.outputs() == night.before
    check_summary(night, code)


def check_all_or_nothing(night, done):
    """Scores are the old or the new ones; what the summary says is true.

    A run that fails between two renames leaves the new quarantine beside the old scores.
    """
    assert done.returncode in DOCUMENTED, done.stderr
    check_words(done.stderr)
    if night.is_published():
        assert night.outputs() == night.undisturbed
        assert read_summary(night.out)["published"] is True
    else:
        assert done.returncode != 0
        scores, quarantine = night.outputs().values()
        assert scores == night.before[OUTPUTS[0]]
        assert quarantine in (night.before[OUTPUTS[1]], night.undisturbed[OUTPUTS[1]])
    check_summary(night, done.returncode)


def check_words(words):
    assert "Traceback" not in words
    assert "panicked" not in words


def check_summary(night, code):
    """A summary that claims scores has their hash; one that claims none says why."""
    summary = read_summary(night.out)
    if summary["published"]:
        for entry, name in zip(summary["outputs"].values(), OUTPUTS, strict=False):
            content = (night.folder / name).read_bytes()
            assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    else:
        assert (summary["exit_code"], summary["stands"]) == (code, "earlier run")
        assert summary["status"] in ("failed", "interrupted")


def check_torn_by_a_kill(night):
    """Of a killed run: scores old or new; a summary that is not of these scores shows it."""
    content = night.out.read_bytes()
    assert content in (night.before["scores.parquet"], night.undisturbed["scores.parquet"])
    summary = json.loads((night.folder / SUMMARY).read_text())
    claimed = summary["outputs"]["scores"]["sha256"]
    known = {hashlib.sha256(c).hexdigest() for c in (content, night.undisturbed["scores.parquet"])}
    assert claimed in known


def check_next_run(night):
    """The next run succeeds without help, with the bytes of an undisturbed run; nothing is left."""
    score_again(night)
    assert night.outputs() == night.undisturbed
    assert read_summary(night.out)["published"] is True
    expected = {*OUTPUTS, SUMMARY, LOCK, "users.parquet"}
    assert {path.name for path in night.folder.iterdir()} == expected


def some_of(count):
    """So many numbers from 0: about a tenth in the ordinary run, all with `make test-slow`."""
    return [
        pytest.param(n, marks=() if n % 10 == 0 else pytest.mark.slow, id=f"{n}")
        for n in range(count)
    ]
