"""What the summary beside a score file says of the run that wrote it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.bundle.documents import parse_json
from engine.bundle.structure import is_count, structure_problem
from engine.inputs.errors import reading
from engine.outputs.alarms import file_sha256

_SUMMARY = {
    "published": bool,
    "bundle_id": (None, str),
    "rows_read": is_count,
    "rows_quarantined": is_count,
    "reasons": {str: is_count},
    "unseen_categories": {str: is_count},
    "unusable": [str],
    "alarms": [{"name": str, "message": str}],
    "drift": {"warnings": [str]},
    "snapshots": {str: str},
    "outputs": {"scores?": {"sha256": str}},
}
"""What is read of a summary, as in `engine.bundle.structure`."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of `engine score`.

    Attributes:
        rows_read: All rows of its input.
        rows_quarantined: Those that were not scored.
        reasons: Rows that break each rule; a row may break several.
        unseen_categories: Values that the bundle does not know, by feature.
        unusable: Why the scores must not be used; empty if they may be.
        alarms: What is likely to be wrong with the input.
        warnings: Moderate shifts from the training users.
        snapshots: The oldest and the newest date; empty without dates.
    """

    rows_read: int
    rows_quarantined: int
    reasons: Mapping[str, int]
    unseen_categories: Mapping[str, int]
    unusable: tuple[str, ...]
    alarms: tuple[str, ...]
    warnings: tuple[str, ...]
    snapshots: tuple[str, ...]


def read_run(scores: Path, bundles: Sequence[str]) -> Run | str:
    """The run that wrote a score file, or in words why it is not known.

    A summary belongs to the scores if it holds their SHA-256 and names their bundle.

    Args:
        scores: The file.
        bundles: The bundles that scored its rows.

    Raises:
        EngineError: The scores cannot be read.
    """
    if not scores.is_file():
        return "Only a single file of scores has a summary beside it."
    path = scores.with_name(f"{scores.name}.summary.json")
    # NOTE: opening a pipe would wait for its writer.
    if not path.is_file():
        return f"There is no {path.name} beside the scores."
    try:
        document = parse_json(path.read_bytes())
        problem = structure_problem(document, _SUMMARY, "it")
    except (OSError, ValueError) as error:
        problem = str(error)
    if problem:
        return f"{path.name} is not the summary of a run: {problem}."
    with reading(str(scores)):
        found = file_sha256(scores)
    if document["outputs"].get("scores", {}).get("sha256") != found:
        return f"{path.name} is the summary of another run: it does not have the SHA-256 of the scores."
    if (document["bundle_id"],) != tuple(bundles):
        return (
            f"{path.name} is the summary of another run: it does not name the bundle of the scores."
        )
    return _run(document)


def _run(document: Mapping[str, Any]) -> Run:
    return Run(
        document["rows_read"],
        document["rows_quarantined"],
        document["reasons"],
        document["unseen_categories"],
        tuple(document["unusable"]),
        tuple(f"{alarm['name']}: {alarm['message']}" for alarm in document["alarms"]),
        tuple(document["drift"]["warnings"]),
        tuple(dict.fromkeys(document["snapshots"].values())),
    )
