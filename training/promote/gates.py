"""All gates in order, and their report."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from engine.bundle.evaluation import Evaluation
from training.metrics.metrics import rounded
from training.promote.drivers import driver_gates
from training.promote.gain import level_gate
from training.promote.gate import UNDECIDED, Gate
from training.promote.holdout import Contest
from training.promote.rows import rows_gate
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


def run_gates(contest: Contest, accepted_gain: str = "") -> list[Gate]:
    """Measure a candidate at every gate; without a champion, at those for one bundle.

    Args:
        contest: The candidate and the champion on the same users.
        accepted_gain: Why figures that look too good are true; "" if nobody has said.
    """
    champion, rows = contest.champion, rows_gate(*contest.left_out)
    if champion is None:
        return [
            quality_gate(contest),
            rows,
            level_gate(contest.evaluation.metrics, accepted_gain),
            parity_gate(contest),
            conformance_gate(contest),
        ]
    return [
        quality_gate(contest),
        rows,
        *score_gates(contest, champion, accepted_gain),
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


def gates_report(
    evaluation: Evaluation,
    gates: Sequence[Gate],
    accepted_gain: str,
    champion: str | None = None,
    cautions: Sequence[str] = (),
) -> dict[str, Any]:
    """The bundles, the users, every gate and the verdict; plain JSON values.

    Args:
        evaluation: The candidate, as it was measured.
        gates: Its gates.
        accepted_gain: Why figures that look too good are true.
        champion: The id of the bundle beside it; None if there was none.
        cautions: What limits the comparison, in sentences.
    """
    return {
        "candidate": evaluation.bundle_id,
        "champion": champion,
        "data": evaluation.data,
        "cautions": list(cautions),
        "accepted_gain": accepted_gain,
        "gates": [rounded(asdict(gate)) for gate in gates],
        "accepted": not any(gate.refused for gate in gates),
        "undecided": [gate.name for gate in gates if gate.verdict == UNDECIDED],
        "reasons": [f"{gate.name}: {gate.words}" for gate in gates if gate.refused],
    }
