"""The truth under contact: how the arms of a campaign change the probability of an order.

Like `truth`, it depends on the columns of a row only, so every user has a true effect of every arm. An
arm shifts the log-odds. Users who hardly ever buy, and those who buy anyway, respond little; users who
buy now and then respond most. Some contacts put users off.

The shifts are guesses that fix the shape of the problem, not measurements: effects of a few percentage
points that differ more between kinds of users than between arms.
"""

import numpy as np
import polars as pl

from engine.activate.arms import CONTACT
from training.simulate.people import FloatArray, log_odds, sigmoid
from training.simulate.truth import Columns, above, due_now, known

ARM_SHIFTS = {
    CONTACT: {  # the one arm of a list without arms
        "anyone": 0.10,
        "cart_left": 0.15,
        "tired": -0.12,
        "just_bought": -0.10,
    },
    "offer": {
        "anyone": 0.05,
        "bargain_hunter": 0.45,
        "cart_left": 0.10,
        "lapsed": 0.30,
        "tired": -0.12,
        "just_bought": -0.10,
    },
    "reminder": {
        "anyone": 0.05,
        "bargain_hunter": -0.10,  # a message without a discount
        "cart_left": 0.40,
        "due": 0.25,
        "tired": -0.12,
        "just_bought": -0.20,
    },
}
"""For each arm, the shift of the log-odds of a user who has a trait in full; see `_traits`."""

PEAK_LOG_ODDS = -1.1  # a probability of 25 %
PEAK_WIDTH = 1.3


def contacted_probability(frame: pl.DataFrame, uncontacted: FloatArray, arm: str) -> FloatArray:
    """The probability of an order within 7 days of a contact, float64 [rows].

    Args:
        frame: Users, with all features.
        uncontacted: Their probability without contact, float64 [rows].
        arm: A name in `ARM_SHIFTS`.
    """
    traits = _traits(frame, uncontacted)
    shift = sum(weight * traits[trait] for trait, weight in ARM_SHIFTS[arm].items())
    return np.round(sigmoid(log_odds(uncontacted) + shift), 9)


def _traits(frame: pl.DataFrame, uncontacted: FloatArray) -> dict[str, FloatArray]:
    """How much each user has of each trait, 0 to 1, float64 [rows] each.

    `tired` users open few e-mails or refuse to be tracked; they and those who `just_bought` are put off
    however likely they are to order. The other traits count as far as a user can be persuaded.
    """
    x = Columns(frame)
    bought = x["days_since_last_purchase"]
    left = x["sessions_last_30d"] * x["cart_add_rate"] * x["cart_abandonment_rate"]
    persuadable = np.exp(-0.5 * ((log_odds(uncontacted) - PEAK_LOG_ODDS) / PEAK_WIDTH) ** 2)
    return {
        "anyone": persuadable,
        "bargain_hunter": persuadable
        * known(above(x["discounted_order_share"], 0.45, 0.06), missing=0.0),
        "cart_left": persuadable * known(np.tanh(left), missing=0.0),
        "due": persuadable * known(due_now(x["purchase_cadence_ratio"]), missing=0.0),
        "lapsed": persuadable * known(above(bought, 75.0, 10.0), missing=0.0),
        "tired": known(1.0 - above(x["email_open_rate"], 0.12, 0.03), missing=1.0),
        "just_bought": known(np.exp(-bought / 10.0), missing=0.0),
    }
