"""All gates in order, and their report."""

from dataclasses import asdict
from typing import Any

from engine.bundle.evaluation import Evaluation
from training.metrics.metrics import rounded
from training.promote.drivers import driver_gates
from training.promote.gain import level_gate
from training.promote.gate import Gate
from training.promote.holdout import Contest
from training.promote.running import (
    conformance_gate,
    parity_gate,
    recorded_parity,
    size_gate,
    speed_gate,
)
from training.promote.scores import quality_gate, score_gates
from training.promote.segments import segment_gates, silhouette_gate
from training.promote.slices import slice_gate


def run_gates(contest: Contest) -> list[Gate]:
    """Measure a candidate at every gate; without a champion, at those for one bundle."""
    champion = contest.champion
    if champion is None:
        return [
            quality_gate(contest),
            contest.rows,
            level_gate(contest.evaluation.metrics, contest.accepted_gain),
            parity_gate(contest),
            conformance_gate(contest),
        ]
    return [
        quality_gate(contest),
        contest.rows,
        *score_gates(contest, champion),
        slice_gate(contest, champion),
        silhouette_gate(contest, champion),
        *segment_gates(contest, champion),
        *driver_gates(contest, champion),
        parity_gate(contest),
        conformance_gate(contest),
        speed_gate(contest, champion),
        size_gate(contest, champion),
    ]


def run_recorded_gates(evaluation: Evaluation, accepted_gain: str) -> list[Gate]:
    """Judge a first bundle by what its fit has measured, where there are no other users."""
    return [level_gate(evaluation.metrics, accepted_gain), recorded_parity(evaluation.fit)]


def gates_report(contest: Contest, gates: list[Gate]) -> dict[str, Any]:
    """The bundles, the users, every gate and the verdict; plain JSON values."""
    champion = contest.champion
    return {
        "candidate": contest.candidate.manifest.bundle_id,
        "champion": None if champion is None else champion.manifest.bundle_id,
        "data": contest.evaluation.data,
        "cautions": list(contest.cautions),
        "accepted_gain": contest.accepted_gain,
        "gates": [rounded(asdict(gate)) for gate in gates],
        "accepted": all(gate.passed for gate in gates),
        "reasons": [f"{gate.name}: {gate.words}" for gate in gates if not gate.passed],
    }
