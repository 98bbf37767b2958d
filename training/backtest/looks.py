"""A campaign that is looked at again and again: claims that hold at every look.

Evidence is judged by a mixture sequential probability ratio test, whose chance of ever being wrong is
5 % however often one looks (Robbins 1970; Johari, Pekelis & Walsh, Always Valid Inference, 2022). Its
normal mixture is tuned to the first look (Waudby-Smith et al., Time-uniform central limit theory, 2024).
"""

import math

import numpy as np
from scipy.stats import norm  # type: ignore[import-untyped]

from training.playbook.power import SIGNIFICANCE

_LOG = -2 * math.log(SIGNIFICANCE)
MIXTURE = _LOG + math.log(_LOG + 1)
"""Variance of the mixture over that of the first look, at which the first interval is the shortest."""


def always_valid_quantile(growth: float) -> float:
    """How many standard errors a 95 % interval reaches that holds at all looks together.

    Args:
        growth: Information of this look over that of the first.
    """
    ratio = MIXTURE * growth
    return math.sqrt((1 + 1 / ratio) * (_LOG + math.log1p(ratio)))


def always_valid_p(p_value: np.ndarray, growth: float) -> np.ndarray:
    """P-values that hold at all looks together, in the same shape.

    Args:
        p_value: Of this look alone, two-sided.
        growth: Information of this look over that of the first.
    """
    ratio = MIXTURE * growth
    z = norm.isf(np.maximum(p_value, 1e-300) / 2)
    found: np.ndarray = np.exp(0.5 * math.log1p(ratio) - 0.5 * z**2 * ratio / (1 + ratio))
    return np.minimum(1, found)
