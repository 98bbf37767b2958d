"""A trait of a segment in plain words, where the schema has none: `never-married`, `age around 26`.

A trait states a value that most of the segment's users have or lie around, never just `high` or `low`:
a number on its own is understood by anyone who knows the column, a comparison only with the others.
"""

import math
import re

import numpy as np

from engine.format import spoken_name
from engine.pages.format import says, unit_beside
from training.segments.phrases import MOST, FeatureEffect, clean, in_running_text, of_many

CLEAR_SHARE = 0.8
"""From here on a trait stands alone; a smaller majority is called `mostly`."""

YES = frozenset({"yes", "true", "y"})
NO = frozenset({"no", "false", "n"})
SIZES = frozenset({"low", "medium", "high", "small", "large"})
VAGUE = frozenset(
    {
        *("other", "unknown", "none", "missing", "nonexistent", "failure", "success", "average"),
        *("normal", "good", "bad", "new", "old", "active", "inactive", "basic", "may"),
    }
)
"""Values that say nothing without the name of their column."""


def trait(effect: FeatureEffect, shared: frozenset[str] = frozenset()) -> str:
    """An effect as part of a name.

    Args:
        effect: One that holds.
        shared: Values that several features have, in lower case; they need the feature's label.
    """
    label = spoken_label(effect)
    if effect.flag:
        words = _has(label) if effect.side == "high" else _has_not(label)
    elif effect.nominal or (effect.value and effect.lump > MOST):
        words = _value(label, effect.value, shared)
    elif effect.value:
        return f"{label} {clean(effect.value)} or {'higher' if effect.effect >= 0 else 'lower'}"
    else:
        return _number(effect, label)
    share = effect.lump if effect.value else effect.agreeing
    return words if share >= CLEAR_SHARE else f"mostly {words}"


def figure(effect: FeatureEffect) -> str:
    """An effect with its figure in a sentence, a number beside that of all users.

    `age 26 (all users 37)`, `tech support for 4 in 5`, `city rome for 1 in 2`.
    """
    label = spoken_label(effect)
    if effect.flag:
        words = _has(label) if effect.side == "high" else _has_not(label)
        return f"{words} for {of_many(effect.mean if effect.side == 'high' else 1 - effect.mean)}"
    if effect.nominal:
        yes_or_no = effect.value.casefold() in YES | NO
        value = clean(effect.value)
        words = _value(label, value, frozenset()) if yes_or_no else f"{label} {value}"
        return f"{words} for {of_many(effect.mean)}"
    if effect.value:
        return f"{label} typically {clean(effect.value)}"
    if effect.typical == effect.average:
        return f"{_number(effect, label)} for {of_many(effect.agreeing)}"
    number, overall = (_rounded(effect, typical) for typical in (effect.typical, effect.average))
    return f"{_amount(effect, label, number)} (all users {overall})"


def spoken_label(effect: FeatureEffect) -> str:
    """The label of a feature, or the words that its name is made of: `TotalCharges` as `total charges`."""
    feature = effect.feature
    text = in_running_text(feature.label) if feature.label else spoken_name(clean(feature.name, 80))
    unit = clean(feature.unit)
    return text.removesuffix(f"({_own_unit(text)})").removesuffix(f" in {unit}").strip() or text


def stated(effect: FeatureEffect) -> str:
    """The category or number that a name states; "" for words of the schema."""
    if effect.nominal or (effect.value and not effect.worded):
        return effect.value
    return "" if effect.worded else f"{_nearby(effect, effect.typical):g}"


def still_stated(effect: FeatureEffect, value: str) -> bool:
    """Whether a name may go on saying this: the typical value is the same, or has hardly moved.

    Hardly is a quarter of its distance from all users.
    """
    if not value or effect.value:
        return value in ("", effect.value)
    before = float(value)
    return abs(effect.typical - before) <= abs(before - effect.average) / 4


def _own_unit(text: str) -> str:
    """A unit that a name ends with: `months` in `recency (months)`."""
    found = re.search(r"\(([^()]+)\)$", text)
    return found[1] if found else ""


def _has(label: str) -> str:
    return re.sub(r"^(is|has) ", "", label)


def _has_not(label: str) -> str:
    return f"not {label[3:]}" if label.startswith("is ") else f"no {_has(label)}"


def _value(label: str, value: str, shared: frozenset[str]) -> str:
    """A category, alone where it explains itself."""
    text = clean(value.replace("_", " "))
    plain = text.casefold()
    if plain in YES | NO:
        return _has(label) if plain in YES else _has_not(label)
    if plain in SIZES:
        return f"{plain} {label}"
    explains = re.search(r"[^\W\d_]{3}", text) and not re.search(r"\d", text)
    if (explains and plain not in VAGUE and plain not in shared) or says(
        label, text.partition(" ")[0]
    ):
        return text
    return f"{label} {text}"


def _number(effect: FeatureEffect, label: str) -> str:
    exact = effect.lump > MOST
    if exact and effect.typical == 0 and effect.side == "low":
        return f"no {_things(label) or label}"
    number = _rounded(effect, effect.typical)
    if effect.typical == effect.average and effect.lump < effect.agreeing:
        bound = "at least" if effect.side == "high" else "at most"
        return _amount(effect, label, f"{bound} {number}")
    return _amount(effect, label, number if exact else f"around {number}")


def _amount(effect: FeatureEffect, label: str, number: str) -> str:
    """A number with its label and unit."""
    unit = clean(effect.feature.unit)
    if unit == "share":
        return f"{label.removeprefix('share of ')} {number}"
    if unit and says(label.partition(" in ")[0], unit):
        return f"{number} {label}"
    things = _things(label)
    if things and not re.search(r"\b1$", number):
        return f"{number} {things}"
    own = _own_unit(in_running_text(effect.feature.title))
    beside = unit_beside(label, unit or own)
    head, between, tail = label.partition(" in the last ")
    return f"{f'{head} {number} {beside}'.rstrip()}{between}{tail}"


def _things(label: str) -> str:
    """What a label counts: `children` in `number of children`; "" if it does not say so."""
    found = re.fullmatch("(?:(?:number|num|no) of (.+)|(?:number|num) (.+s))", label)
    return found[1] or found[2] if found else ""


def _rounded(effect: FeatureEffect, value: float) -> str:
    """A typical value with the digits that tell it from that of all users."""
    # The shortest text of the float32 that it is: 93.994, not 93.994003.
    number = float(str(np.float32(_nearby(effect, value))))
    if effect.feature.unit == "share" and 0 <= number <= 1:
        # An ordinary space: names are compared and typed in other programs.
        return f"{100 * number:.0f} %"
    if abs(number) >= 1e15 or 0 < abs(number) < 1e-6:
        return f"{number:.2g}".replace("-", "−")
    decimals = 0 if number == int(number) else 6
    year = decimals == 0 and all(1900 <= v <= 2100 for v in (number, effect.average))
    text = f"{number:.0f}" if year else f"{number:,.{decimals}f}"
    return (text.rstrip("0").rstrip(".") if decimals else text).replace("-", "−")


def _nearby(effect: FeatureEffect, value: float) -> float:
    """A value rounded to two digits, or to more if that moves it by a tenth of the difference.

    A value that most users share, or that is a bound, is not rounded.
    """
    gap = abs(effect.typical - effect.average)
    if not gap or (value == effect.typical and effect.lump > MOST):
        return value
    for digits in range(2, 9):
        size = math.floor(math.log10(abs(value))) if value else 0
        found = round(value, digits - 1 - size)
        if abs(found - value) <= gap / 10:
            return found
    return value
