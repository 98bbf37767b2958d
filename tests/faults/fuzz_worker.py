"""Score with damaged files, many in one process: `python fuzz_worker.py FOLDER NAME SEED COUNT [documents]`.

FOLDER has `bundle` and one file of users of each format; NAME is the file in it that is damaged, of
which every hash is made right again. Damaged users are scored after sound ones, so that rows that get
lost without a word are missed. With `documents`, NAME is JSON that says something else, and every command
that opens a bundle is run. Prints the exit code of each run, or what it broke. A crash inside a
library ends this process and not that of the tests.
"""

import hashlib
import io
import json
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import polars as pl

from engine.bundle.open import MANIFEST, MANIFEST_HASH
from engine.cli.main import main as engine
from tests.bundles import replace_file
from tests.faults.mutations import corpus, documents

YESTERDAY = b"yesterday"


def damage(folder, name, content):
    """Put a damaged file in its place; a file of a bundle is listed as it is now."""
    head, _, inner = name.partition("/")
    if not inner:
        (folder / name).write_bytes(content)
    elif inner == MANIFEST:
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        (folder / head / MANIFEST_HASH).write_text(f"{digest}  {MANIFEST}\n")
    else:
        replace_file(folder / head, inner, content)


def attempt(folder, *users, rows=None):
    """Score over the scores of yesterday; gives the exit code, or what is wrong.

    Args:
        folder: Where the bundle is.
        users: The inputs.
        rows: How many there are, where that is known.
    """
    out = folder / ".out" / "s.parquet"
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(YESTERDAY)
    words = io.StringIO()
    places = ("--out", str(out), "--bundle", str(folder / "bundle"))
    with redirect_stderr(words):
        try:
            engine(
                [
                    "score",
                    *map(str, users),
                    *places,
                    "--if-exists",
                    "replace",
                    "--max-reject-share",
                    "1",
                ]
            )
        except SystemExit as end:
            code = end.code
    summary = json.loads(out.with_name("s.parquet.summary.json").read_text())
    if "Traceback" in words.getvalue() or code == 1:
        return words.getvalue()
    if code and out.read_bytes() != YESTERDAY:
        return f"{code}, and yesterday's scores are gone"
    if (summary["published"], summary["exit_code"]) != (code == 0, code):
        return f"{code}, and the summary says {summary['exit_code']}"
    read, told = summary["rows_read"], summary["rows_scored"] + summary["rows_quarantined"]
    if code == 0 and (read != told or rows not in (read, None)):
        return f"{read} rows read of {rows}, {told} scored and set aside"
    return code


def answer(folder, *command):
    """Run a command that only shows something; gives the exit code, or what is wrong."""
    words = io.StringIO()
    shown = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with redirect_stderr(words), redirect_stdout(shown):
        try:
            engine([str(word) for word in command])
        except SystemExit as end:
            code = end.code
    return words.getvalue() if "Traceback" in words.getvalue() or code == 1 else code


def answers(folder):
    """Run every command on the bundle; gives their exit codes, or what is wrong."""
    bundle, users = folder / "bundle", folder / "users.parquet"
    yield attempt(folder, users)
    with_users = ("drift", users), ("validate", users), ("explain", users, "--user", "1")
    for command in with_users:
        yield answer(folder, *command, "--bundle", bundle)
    for options in ((), ("--full",), ("--json",)):
        yield answer(folder, "inspect", bundle, *options)
    yield answer(folder, "verify", bundle)


def main():
    folder, name, seed, count, *kind = Path(sys.argv[1]), *sys.argv[2:]
    sound = (folder / name).read_bytes()
    users, rows = [folder / "users.parquet"], None
    if "/" not in name:
        users = [Path(shutil.copy(folder / name, folder / f"sound_{name}")), folder / name]
        # Where lines are rows, damage may make more of them or fewer.
        is_told = name.endswith((".parquet", ".arrow"))
        rows = 2 * pl.read_parquet(folder / "users.parquet").height if is_told else None
    draw = documents if kind else corpus
    for content in draw(sound, int(seed), int(count)):
        damage(folder, name, content)
        ends = answers(folder) if kind else [attempt(folder, *users, rows=rows)]
        sys.stdout.write(f"{' '.join(map(str, ends))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
