"""From a candidate to the current bundle, and back again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.bundle.evaluation import read_evaluation
from engine.bundle.open import MANIFEST, Bundle, file_digests, open_bundle, write_current
from engine.bundle.signature import check_listed, read_signature, signature_path
from engine.errors import BundleError, CannotCreateError, UsageError, pluralize
from engine.storage import SHARED_MODE, locked, storage_errors, write_atomic
from training.promote.gate import Gate, RefusedError
from training.promote.gates import gates_report, run_gates, run_recorded_gates
from training.promote.holdout import open_contest
from training.promote.publish import publish_copy
from training.promote.versions import (
    accepted_before,
    check_new,
    check_root,
    current_bundle,
    current_version,
    make_current,
    version_before,
    version_of,
    write_record,
)


@dataclass(frozen=True, slots=True)
class Promotion:
    """A bundle that has become the current one.

    Attributes:
        folder: Its folder.
        report: What was measured at every gate; empty if it was the current one already.
    """

    folder: Path
    report: dict[str, Any]


def promote(
    candidate: Path, root: Path, data: Sequence[str] = (), accepted_gain: str = ""
) -> Promotion:
    """Measure a candidate beside the champion, copy it into the folder, and switch to it.

    A signature goes with it, unchanged; whose it is, whoever scores must check. An interrupted promotion can be repeated. If the candidate is already the current bundle, nothing
    is measured or changed.

    Args:
        candidate: A bundle.
        root: The folder of bundles; created if it does not exist.
        data: Labelled users, later than those of both bundles; may be empty only if there is no
            current bundle.
        accepted_gain: Why figures that look too good to be true are true; kept in the folder.

    Raises:
        RefusedError: The candidate must not be used, or does not pass every gate.
        UsageError: There is a current bundle but no `data`, or the folder of bundles is a bundle
            itself or lies in one.
        InputError: The users are not later than those that the bundles were fitted to.
        BundleError: The candidate or the current bundle is missing, altered or invalid, or `CURRENT`
            is missing in a folder of bundles.
        LockedError: Another promotion is under way.
    """
    check_root(root)
    bundle = open_bundle(candidate)
    if bundle.manifest.unusable:
        raise RefusedError(
            f"{candidate}: must not be used: {'; '.join(bundle.manifest.unusable)}. "
            "Train again on other data."
        )
    signature = read_signature(bundle.path)
    if signature is not None:
        check_listed(bundle.path, signature, file_digests(bundle))
    champion = current_bundle(root)
    if champion is not None and champion.manifest == bundle.manifest:
        return Promotion(champion.path, {})
    if champion is None:
        check_new(root, version_of(bundle))
    report = _measured(bundle, champion, root, data, accepted_gain)
    with storage_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        with locked(root, root):
            _check_unchanged(root, champion)
            version = version_of(bundle)
            _copy(bundle, root / version)
            if signature is not None:
                write_atomic(signature_path(root / version), signature, SHARED_MODE)
            before = None if champion is None else version_of(champion)
            reason = accepted_gain or accepted_before(root, version)
            write_record(
                root, version, {"before": before, "accepted_gain": reason, "report": report}
            )
            make_current(root, version, before)
    return Promotion(root / version, report)


def rollback(root: Path, version: str | None = None) -> Path:
    """Make an earlier bundle the current one again.

    Args:
        root: The folder of bundles.
        version: Which; by default the one before the current one.

    Returns:
        The folder of the bundle that is now current.

    Raises:
        BundleError: There is no current bundle, no earlier one is known, or it is missing, altered
            or invalid.
        LockedError: A promotion is under way.
    """
    if not root.is_dir():
        raise BundleError(f"{root}: no such folder of bundles. Check the path.")
    with storage_errors(root), locked(root, root):
        # A damaged current bundle is a reason to go back, not a hindrance.
        target = version if version is not None else version_before(root, current_version(root))
        if not target or Path(target).name != target or target == "..":
            raise BundleError(f"{root}: {target!r} is no version. Give the name of a folder in it.")
        named = version_of(open_bundle(root / target))
        if named != target:
            raise BundleError(
                f"{root / target}: is bundle {named}, which was not promoted under this name. Promote it: "
                f"training promote {root / target} --to {root} --data LATER_HOLDOUT"
            )
        write_current(root, target)
    return root / target


def _measured(
    bundle: Bundle,
    champion: Bundle | None,
    root: Path,
    data: Sequence[str],
    accepted_gain: str,
) -> dict[str, Any]:
    if data:
        contest = open_contest(bundle, champion, data)
        gates = run_gates(contest, accepted_gain)
        before = None if champion is None else champion.manifest.bundle_id
        report = gates_report(contest.evaluation, gates, accepted_gain, before, contest.cautions)
    elif champion is not None:
        raise UsageError(
            f"{root}: {champion.manifest.bundle_id} is the current bundle. To compare the candidate with "
            "it, give users later than those of both with --data."
        )
    else:
        fitted = read_evaluation(bundle)
        gates = run_recorded_gates(fitted, accepted_gain)
        report = gates_report(fitted, gates, accepted_gain)
    _refuse_failures(bundle, gates, report)
    return report


def _refuse_failures(bundle: Bundle, gates: Sequence[Gate], report: dict[str, Any]) -> None:
    refused = [gate for gate in gates if gate.refused]
    if refused:
        reasons = "; ".join(f"{gate.name}: {gate.words}" for gate in refused)
        next_steps = " ".join(dict.fromkeys(gate.next_step for gate in refused))
        raise RefusedError(
            f"{bundle.path}: refused at {pluralize(len(refused), 'gate')} of {len(gates)}: {reasons}. "
            f"Nothing was changed. {next_steps}",
            report,
        )


def _check_unchanged(root: Path, champion: Bundle | None) -> None:
    """A candidate that was measured beside one bundle must not replace another."""
    # `champion` is what was opened then; the folder may have been replaced since.
    now, then = (b and b.manifest for b in (current_bundle(root), champion))
    if now != then:
        raise RefusedError(
            f"{root}: another bundle has become the current one meanwhile. Promote again, so that the "
            "candidate is measured beside it."
        )


def _copy(bundle: Bundle, target: Path) -> None:
    """Publish what was checked; a folder of the same version must be the same bundle."""
    if not target.exists():
        publish_copy(target, bundle)
    elif _digest(target) != _digest(bundle.path):
        raise CannotCreateError(
            f"{target}: exists and is another bundle of the same version. Remove one of them."
        )
    else:
        open_bundle(target)


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
