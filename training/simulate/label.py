"""From features to a row of the output: id, date, label, and the truth behind the label."""

from datetime import date

import polars as pl

from training.simulate.campaign import ARMS, UNLISTED, ContactLists
from training.simulate.people import FloatArray, IntArray
from training.simulate.truth import true_probability
from training.simulate.uplift import ARM_SHIFTS, contacted_probability


def labelled(
    features: pl.DataFrame, account: IntArray, day: date, luck: FloatArray, campaign: ContactLists
) -> pl.DataFrame:
    """Users at a date with all columns that a simulation may write, and `listed`.

    A user orders if their luck is below the probability, so a campaign changes no label of a user
    whom it does not contact.

    Args:
        features: The 38 features.
        account: The numbers of the users' accounts, int64 [rows].
        day: The snapshot date.
        luck: From 0 to 1, float64 [rows].
        campaign: Who is contacted; `listed` are all users in it, those of the control arm included.
    """
    uncontacted = true_probability(features)
    arm = campaign.arms(day, account)
    probability = uncontacted.copy()
    for name in ARM_SHIFTS:
        rows = arm == ARMS.index(name)
        if rows.any():
            probability[rows] = contacted_probability(
                features.filter(rows), uncontacted[rows], name
            )
    return features.select(
        pl.format("U{}", pl.Series(account).cast(pl.String).str.zfill(8)).alias("user_id"),
        pl.lit(day).alias("snapshot_date"),
        pl.all(),
        pl.Series("purchased_next_7d", luck < probability).cast(pl.Int8),
        pl.Series("true_probability", probability),
        pl.Series("true_effect", (probability - uncontacted).round(9)),
        pl.Series("listed", arm != UNLISTED),
    )
