"""Contacted users against the control group of their campaign, from contact logs to the next policy."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from engine.activate.arms import CONTROL
from engine.bundle.schema import FeatureSchema
from training.backtest.campaigns import campaign_figures
from training.backtest.contacts import outcome_rows, read_contacts
from training.backtest.money import Money
from training.backtest.recommendation import policy_figures
from training.backtest.tables import Tables
from training.backtest.units import names_of, units_of
from training.metrics.disclosure import disclosed


def campaigns_document(
    logs: Sequence[str],
    scores: Sequence[str],
    tables: Tables,
    schema: FeatureSchema,
    money: Money,
) -> dict[str, Any]:
    """What contacts changed, and the policy that they speak for; plain JSON values.

    Args:
        logs: Contact logs.
        scores: The score files.
        tables: What scores and outcomes hold.
        schema: The names of id and snapshot, and the horizon of the outcomes.
        money: What purchases are worth and contacts cost.

    Returns:
        `contacts`, `campaigns`, `campaigns_left_out` and `policy`, which is None if the arms of every
        campaign mismatch. A count of fewer than 20 is None.

    Raises:
        EngineError: A log cannot be used, or measures too few users, or a cost is that of no arm.
    """
    contacts = read_contacts(logs, scores, tables, schema)
    money.check_arms(names_of(contacts.frame).arms[1:])
    rows = outcome_rows(contacts, tables, schema.horizon_days)
    figures = campaign_figures(contacts, rows)
    sound = [
        (pl.col("campaign") == found["campaign"]) & pl.col("arm").is_in([CONTROL, *found["arms"]])
        for found in figures["campaigns"]
        if not found["ratio"]["alarm"]
    ]
    trusted = rows.filter(pl.any_horizontal(sound)) if sound else rows.clear()
    return {
        "contacts": {
            "rows": contacts.rows,
            "caught": {what: disclosed(number) for what, number in contacts.caught.items()},
        },
        **figures,
        "policy": policy_figures(units_of(trusted, names_of(trusted)), money) if sound else None,
    }
