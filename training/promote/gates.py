"""Every gate in order, and the report of them."""

from collections.abc import Iterator
from typing import Any

from training.promote.drivers import driver_gates
from training.promote.gate import Gate
from training.promote.holdout import Contest
from training.promote.running import conformance_gate, parity_gate, size_gate, speed_gate
from training.promote.scores import quality_gate, score_gates
from training.promote.segments import segment_gates, silhouette_gate
from training.promote.slices import slice_gate


def run_gates(contest: Contest) -> list[Gate]:
    """Measure a candidate at every gate; without a champion, at those for one bundle."""
    return list(_gates(contest))


def _gates(contest: Contest) -> Iterator[Gate]:
    champion = contest.champion
    yield quality_gate(contest)
    if champion is not None:
        yield from score_gates(contest, champion)
        yield slice_gate(contest, champion)
        yield silhouette_gate(contest, champion)
        yield from segment_gates(contest, champion)
        yield from driver_gates(contest, champion)
    yield parity_gate(contest)
    yield conformance_gate(contest)
    if champion is not None:
        yield speed_gate(contest, champion)
        yield size_gate(contest, champion)


def gates_report(contest: Contest, gates: list[Gate]) -> dict[str, Any]:
    """The bundles, the users, every gate and the verdict; plain JSON values."""
    champion = contest.champion
    return {
        "candidate": contest.candidate.manifest.bundle_id,
        "champion": None if champion is None else champion.manifest.bundle_id,
        "data": contest.evaluation.data,
        "gates": [gate.to_json() for gate in gates],
        "accepted": all(gate.passed for gate in gates),
        "reasons": [f"{gate.name}: {gate.words}" for gate in gates if not gate.passed],
    }
