"""A value and its impact in words: `2 checkouts started in the last 30 days: raises the odds by half`.

The score file and `engine explain` take their words from here. The what-if page has a twin in
JavaScript, `words.js`, which gets the phrases of each feature and the effects as data.
"""

import numpy as np

from engine.bundle.schema import VALUE, Feature, Phrases
from engine.format import NO_UNITS, shown_name, spoken_name

EFFECTS: tuple[tuple[float, str], ...] = (
    (1 / 20, "cuts the odds by more than nine tenths"),
    (1 / 10, "cuts the odds by nine tenths"),
    (1 / 5, "cuts the odds by four fifths"),
    (1 / 3, "cuts the odds by two thirds"),
    (1 / 2, "cuts the odds by half"),
    (2 / 3, "cuts the odds by a third"),
    (3 / 4, "cuts the odds by a quarter"),
    (9 / 10, "cuts the odds a little"),
    (1, "hardly matters"),
    (1.1, "raises the odds a little"),
    (1.25, "raises the odds by a quarter"),
    (1.5, "raises the odds by half"),
    (2, "doubles the odds"),
    (3, "triples the odds"),
    (5, "makes the odds five times as high"),
    (10, "makes the odds ten times as high"),
    (20, "makes the odds more than ten times as high"),
)
"""Factors on the odds, rising, and their words. An impact gets the words of the nearest factor on the
scale of log-odds. So a change of the odds by less than 5 % `hardly matters`, from 1.37 to 1.73 times they
rise `by half`, from 1.73 to 2.45 times they double, and from 14.1 times it is `more than ten times`."""

_LOG_FACTORS = np.log([factor for factor, _ in EFFECTS])
EFFECT_BOUNDS = ((_LOG_FACTORS[:-1] + _LOG_FACTORS[1:]) / 2).astype(np.float32)
"""The impacts from which the words of the next effect hold, float32 [effects - 1]."""

EXACT_BELOW = 10_000
"""Numbers are said with three significant digits; below this size with all digits before the point."""

UNDER_1, OVER_99 = 0.5, 99.5
"""Percentages between 0 and 1, and between 99 and 100, that are not said exactly."""


def effect_codes(impacts: np.ndarray) -> np.ndarray:
    """The position of each impact's words in `EFFECTS`, int64, of the same shape.

    Args:
        impacts: SHAP values in log-odds, float32.
    """
    return np.searchsorted(EFFECT_BOUNDS, impacts, side="right")


def effect_words(impact: float) -> str:
    """What an impact in log-odds does to the odds: `raises the odds by half`."""
    code = int(effect_codes(np.array([impact], np.float32))[0])
    return EFFECTS[code][1]


def value_words(feature: Feature, value: float | str | None, *, unseen: bool = False) -> str:
    """A value with what it is: `9 sessions in the last 7 days`, `Country (FR)`.

    Args:
        feature: The feature.
        value: A number, a category, or None if it is missing.
        unseen: Whether it is a category that the model does not know.
    """
    if unseen:
        return unseen_words(feature)
    phrases = phrases_of(feature)
    if isinstance(value, str) or value is None:
        return category_words(phrases, value)
    percent, whole = number_formats((feature,))
    number = spoken_numbers(np.array([value], np.float32).astype(np.float64), percent, whole)[0]
    return number_words(feature, phrases, float(number))


def number_formats(features: tuple[Feature, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Whether the numbers of each feature are percentages, and whether they are whole: bool [features]."""
    formats = np.array([feature.number_format for feature in features])
    return formats == "percent", formats != "plain"


def spoken_numbers(values: np.ndarray, percent: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Numbers rounded as people say them: see `EXACT_BELOW`.

    Whole numbers that would round to 0 keep their decimals. Percentages that would round to 0 or 100,
    but are not, become `UNDER_1` and `OVER_99`.

    Args:
        values: float64 [n], NaN where missing.
        percent: Whether a value is a share, said as a percentage: bool [n]. Percentages are whole.
        whole: Whether a number is said without decimals, bool [n].

    Returns:
        float64 [n], in percent where `percent` holds.
    """
    numbers = np.where(percent, 100 * values, values)
    size = np.abs(numbers)
    decimals = 2 - np.floor(np.log10(np.where(size > 0, size, 1)))
    decimals = np.where(size < EXACT_BELOW, np.maximum(decimals, 0), decimals)
    decimals = np.where(whole & (size >= 0.5), np.minimum(decimals, 0), decimals)
    # Dividing by a power of ten gives the float nearest to the decimal number; multiplying does not.
    unit = 10.0 ** np.abs(decimals)
    fine = np.floor(numbers * unit + 0.5) / unit
    rounded = np.where(decimals > 0, fine, np.floor(numbers / unit + 0.5) * unit)
    rounded = np.where(percent & (numbers > 0) & (numbers < UNDER_1), UNDER_1, rounded)
    return np.where(percent & (numbers >= OVER_99) & (numbers < 100), OVER_99, rounded)


def number_words(feature: Feature, phrases: Phrases, number: float) -> str:
    """A number from `spoken_numbers` in a feature's phrase; NaN is a missing value."""
    if np.isnan(number):
        return phrases.missing
    if number == 1 and phrases.one:
        return phrases.one
    if number == 0 and phrases.zero:
        return phrases.zero
    return phrases.value.replace(VALUE, _number_text(feature, number))


def category_words(phrases: Phrases, value: str | None) -> str:
    """A category in a feature's phrase; None is a missing value."""
    if value is None:
        return phrases.missing
    return phrases.value.replace(VALUE, spoken_category(value))


def spoken_category(value: str) -> str:
    """A category as people say it: `ios_app` as `ios app`."""
    return shown_name(value.replace("_", " ").strip() or value)


def unseen_words(feature: Feature) -> str:
    """What is said of a category that the model does not know, and treats as missing."""
    return f"{_label(feature)} (new to the model)"


def phrases_of(feature: Feature) -> Phrases:
    """The phrases of the schema, and those that label and unit give where it has none.

    `one` and `zero` are "" where `value` serves for these numbers too.
    """
    given, made = feature.phrases or Phrases(), _made_phrases(feature)
    return Phrases(
        value=given.value or made.value,
        one=given.one or ("" if given.value else made.one),
        zero=given.zero,
        missing=given.missing or made.missing,
    )


def _made_phrases(feature: Feature) -> Phrases:
    label, unit = _label(feature), _without_mark(feature.unit)
    missing, plain = f"{label} (not known)", f"{label} ({VALUE})"
    # "Share of one-page sessions" is not "40 % of one-page sessions": only the schema can say it.
    if unit in NO_UNITS or feature.number_format == "percent":
        return Phrases(value=plain, missing=missing)
    spaced, spaced_unit = f"{label} ".casefold(), f"{unit} ".casefold()
    # Neither "1 sessions in ..." nor "40 percentage of ...".
    if spaced.startswith(spaced_unit) and not spaced.startswith(f"{spaced_unit}of "):
        value = f"{VALUE} {unit}{label[len(unit) :]}"
        return Phrases(value=value, one=f"{label} (1)", missing=missing)
    is_named = f" {spaced_unit}" in f" {spaced}"
    return Phrases(value=plain if is_named else f"{label} ({VALUE} {unit})", missing=missing)


def _label(feature: Feature) -> str:
    """The label, or the words that the name is made of."""
    return _without_mark(feature.label or spoken_name(feature.name) or feature.name)


def _without_mark(text: str) -> str:
    """A text to show, without the mark that stands for the value."""
    return shown_name(text).replace(VALUE, "{ }")


def _number_text(feature: Feature, number: float) -> str:
    text = f"{'minus ' if number < 0 else ''}{abs(number):,.15g}"
    if feature.number_format != "percent":
        return text
    return {UNDER_1: "less than 1 %", OVER_99: "over 99 %"}.get(number, f"{text} %")
