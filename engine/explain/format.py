"""An explanation and a drift report as lines for people."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.explain.drift import findings
from engine.explain.explanation import Explanation, FeatureImpact
from engine.format import shown_name, table, visible

LEVELS = {"none": "", "warn": "warning", "alarm": "ALARM"}
WHOLE = ("score", "segments")
FEW = "few"
# Impacts are shown with three decimals.
SHOWN_UNITS = 1_000


def explanation_lines(explanation: Explanation) -> Iterator[str]:
    """Why a user has this score; the numbers shown add up to the last digit.

    The first column is in log-odds: the base value, every impact, and their sum.
    """
    snapshot = f" on {explanation.snapshot}" if explanation.snapshot else ""
    base, margin = (round(v * SHOWN_UNITS) for v in (explanation.base_value, explanation.margin))
    impacts = rounded_to_sum(
        [feature.impact * SHOWN_UNITS for feature in explanation.features], margin - base
    )
    yield f"user {shown_name(explanation.user)}{snapshot}, scored by {explanation.bundle_id}"
    yield (
        f"probability {_percent(explanation.probability)}, decile {explanation.decile} of 10, "
        f"band {explanation.band}"
        + (f", segment {shown_name(explanation.segment)}" if explanation.segment else "")
    )
    yield f"action: {visible(explanation.action)}{_control(explanation)}"
    yield _compared(explanation)
    yield ""
    yield "impact of each feature on the log-odds (SHAP value)"
    yield _line(
        base,
        f"base value: the average log-odds, {_percent(_sigmoid(explanation.base_value))} as a probability",
    )
    for impact, feature in zip(impacts, explanation.features, strict=True):
        yield _line(impact, f"{feature.words}, {_rank(feature)}: {feature.effect}")
    yield _line(
        margin,
        f"log-odds = {_signed(base)} and impacts of {_signed(margin - base)}: "
        f"probability {_percent(explanation.probability)}",
    )


def drift_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """How far users are from the training users.

    Args:
        report: The report of `pipeline.input_drift`.
    """
    yield (
        f"{report['rows_read']:,} users read, {report['rows_scored']:,} can be scored; "
        f"{report['rows']:,} compared with the training users of {report['bundle_id']}"
    )
    alarms, warnings = findings(report, "alarm"), findings(report, "warn")
    yield from (f"ALARM: {finding}" for finding in alarms)
    yield from (f"warning: {finding}" for finding in warnings)
    if not alarms and not warnings:
        yield "nothing has moved"
    yield ""
    features = sorted(report["features"], key=lambda entry: -entry["psi"])
    whole = [(LEVELS[report[n]["level"]], n, _psi(report[n]), "", "") for n in WHOLE]
    rows = [*whole, *map(_drift_row, features)]
    yield from table(rows, ("", "", "PSI", "missing", "in training"))
    if any(FEW in row for row in rows):
        yield f"{FEW}: too few training users to show a share"


def _drift_row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    then = entry["missing_reference"]
    shares = f"{entry['missing']:.1%}", FEW if then is None else f"{then:.1%}"
    return LEVELS[entry["level"]], shown_name(entry["name"]), _psi(entry), *shares


def _psi(entry: Mapping[str, Any]) -> str:
    return f"{entry['psi']:.3f}"


def rounded_to_sum(values: Sequence[float], total: int) -> list[int]:
    """Round values to whole numbers that add up to a given total near their sum.

    As few as possible are rounded the other way.
    """
    rounded = [round(value) for value in values]
    excess = sum(rounded) - total
    step = 1 if excess > 0 else -1
    # Adjust those that were rounded furthest in the wrong direction.
    order = sorted(range(len(values)), key=lambda n: step * (values[n] - rounded[n]))
    for n in order[: abs(excess)]:
        rounded[n] -= step
    return rounded


def _line(units: int, text: str) -> str:
    return f"{_signed(units):>8}  {text}"


def _signed(units: int) -> str:
    return f"{units / SHOWN_UNITS:+.3f}"


def _control(explanation: Explanation) -> str:
    if not explanation.in_control_group:
        return ""
    return "; not for this user, who is in the control group"


def _compared(explanation: Explanation) -> str:
    read, compared = explanation.users_read, explanation.users_compared
    if read == compared:
        return f"compared with all {read:,} users of the input"
    return f"compared with those {compared:,} of the {read:,} users that can be scored"


def _rank(feature: FeatureImpact) -> str:
    share = _users(feature.share_equal)
    if feature.value is None:
        return f"as for {share}"
    if feature.unseen:
        return f"'{shown_name(str(feature.value))}' for {share}"
    if feature.share_below:
        return f"more than {_users(feature.share_below)}"
    if feature.share_below is None or feature.share_equal == 1:
        return f"shared by {share}"
    return f"the lowest value, shared by {share}"


def _users(share: float) -> str:
    """A share of users, never rounded up: more than 94 % must be true."""
    if share == 1:
        return "all users"
    percent = 100 * share
    decimals = 0 if percent >= 1 else -math.floor(math.log10(percent))
    # Tolerance for shares that floating point puts just below a whole percentage.
    lower = math.floor(percent * 10**decimals + 1e-6) / 10**decimals
    return f"{lower:.{decimals}f} % of users"


def _percent(probability: float) -> str:
    """A percentage with one decimal; near 0 and 100 with two significant digits."""
    percent = 100 * probability
    end = min(percent, 100 - percent)
    decimals = 1 if end >= 1 or end <= 0 else 1 - math.floor(math.log10(end))
    return f"{percent:.{decimals}f} %"


def _sigmoid(log_odds: float) -> float:
    return 0.5 * (1 + math.tanh(0.5 * log_odds))
