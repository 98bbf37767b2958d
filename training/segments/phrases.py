"""Effects of features on segments in words, from the schema's labels and units."""

from dataclasses import dataclass

from engine.bundle.schema import Feature
from engine.format import NO_UNITS
from engine.pages.format import percent, plain, says, unit_beside

MIN_KNOWN = 0.5
"""An effect that is known for a smaller share of a segment's users says little about the segment."""

MOST = 0.5
"""A larger share is most of the users."""

HARDLY_ANY = 0.15
SHOWN_VALUE = 40
SHOWN_LABEL = 80
NEVER_FIRST = "=+-@|"
"""A spreadsheet reads text that begins with these as a formula."""

Reason = dict[str, str]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class FeatureEffect:
    """How a segment differs from all users in a number, an ordered category, or one value of a category.

    Attributes:
        feature: The feature.
        effect: From -0.5, all users have less, to 0.5, all have more.
        mean: Of the segment's users; of codes for an ordered category, a share for another.
        overall: The same of all users.
        known: The share of the segment's users for whom it is known.
        value: The median category, or the one whose share is given; "" for a number.
        overall_value: The median category of all users.
        typical: The median of the segment's users; of codes for an ordered category.
        average: The same of all users.
        lump: The share of the segment's users with exactly the typical value.
        agreeing: The share of the segment's users, where known, of whom it is true: they have the
            category, or lie on the segment's side of the median of all users. 0 if the segment's
            median does not.
        flag: Whether all users have 0 or 1.
    """

    feature: Feature
    effect: float
    mean: float
    overall: float
    known: float
    value: str = ""
    overall_value: str = ""
    typical: float = 0.0
    average: float = 0.0
    lump: float = 0.0
    agreeing: float = 0.0
    flag: bool = False

    @property
    def holds(self) -> bool:
        """Whether it is true of most of the segment's users, so that a name may state it."""
        return self.agreeing > MOST and self.known >= MIN_KNOWN

    @property
    def nominal(self) -> bool:
        """Whether this is the share of one value of a category without order."""
        return bool(self.value) and not self.feature.ordered

    @property
    def side(self) -> str:
        """Whether the segment has more of it than others, or less."""
        return "high" if self.effect >= 0 else "low"

    @property
    def worded(self) -> str:
        """The schema's words for users like these, "" if it has none."""
        return clean(self.feature.high if self.effect >= 0 else self.feature.low)

    def states(self, reason: Reason) -> bool:
        """Whether a reason of a name is about this feature, and about this value of a category."""
        value = reason["value"] if self.nominal else ""
        return self.key == (reason["feature"], value)

    @property
    def key(self) -> Key:
        """Feature and value, the same for every segment."""
        return self.feature.name, self.value if self.nominal else ""


@dataclass(frozen=True, slots=True)
class Name:
    """A segment's name and the effects that it states.

    Attributes:
        text: The name.
        reasons: `feature`, `value` and `side` of each effect, plain JSON values. The value is the
            category or the number that the name states.
    """

    text: str
    reasons: list[Reason]


def fact(effect: FeatureEffect) -> str:
    """An effect with its figure: `4.2 orders in the last 90 days`, `1 in 2 e-mails opened`."""
    label, unit = in_running_text(effect.feature.title), clean(effect.feature.unit)
    if effect.nominal:
        return f"{label} {clean(effect.value)} for {of_many(effect.mean)}"
    if effect.value:
        none = effect.value.casefold() == "none"
        return f"typically no {label}" if none else f"{label} typically {clean(effect.value)}"
    if unit == "share" and 0 <= effect.mean <= 1:
        what = label.removeprefix("share of ")
        if what == label:
            return f"{label} {percent(effect.mean, 0)}"
        return f"{of_many(effect.mean)} {what}"
    number = _short_number(effect.mean)
    head, between, tail = label.partition(" in the last ")
    if unit not in NO_UNITS and says(label.partition(" in ")[0], unit):
        return f"{number or 'hardly any'} {label}"
    amount = f"{number or 'near 0'} {unit_beside(label, unit) if number else ''}".rstrip()
    if between:
        return f"{head} of {amount}{between}{tail}" if number else f"hardly any {label}"
    return f"{label} {amount}"


def against_all(effect: FeatureEffect) -> str:
    """An effect against all users: `Orders in the last 90 days: 4.2, all users 1.3`."""
    label = clean(effect.feature.title, SHOWN_LABEL)
    if effect.value:
        return f"{label}: typically {clean(effect.value)}, all users {clean(effect.overall_value)}"
    share = effect.feature.unit == "share"
    mean, overall = (percent(v, 0) if share else plain(v) for v in (effect.mean, effect.overall))
    unit = unit_beside(label, clean(effect.feature.unit))
    return f"{label}: {f'{mean} {unit}'.rstrip()}, all users {overall}"


def value_against_all(effect: FeatureEffect) -> str:
    """A frequent category: `Main device: ios_app for 42 %, all users 20 %`."""
    label, value = clean(effect.feature.title, SHOWN_LABEL), clean(effect.value)
    return f"{label}: {value} for {percent(effect.mean, 0)}, all users {percent(effect.overall, 0)}"


def clean(text: str, length: int = SHOWN_VALUE) -> str:
    """A text on one line, without invisible or direction-changing characters."""
    seen = "".join(c if c.isprintable() else " " for c in text)
    safe = " ".join(seen.split()).lstrip(NEVER_FIRST).strip()
    return safe if len(safe) <= length else f"{safe[: length - 1]}…"


def in_running_text(label: str) -> str:
    """A label inside a sentence: its first letter small, unless a second capital follows."""
    text = clean(label.replace("_", " "), SHOWN_LABEL)
    return text[:1].lower() + text[1:] if text[1:2] == text[1:2].lower() else text


def of_many(share: float) -> str:
    """A share in plain words: `1 in 3`."""
    if share >= 0.95:
        return "nearly all"
    if share < 0.02:
        return "hardly any"
    if share < 0.29:
        return f"1 in {round(1 / share)}"
    whole = min((2, 3, 4, 5, 10), key=lambda n: (round(abs(share - round(share * n) / n), 2), n))
    return f"{round(share * whole)} in {whole}"


def _short_number(number: float) -> str:
    """A mean in a sentence, with one decimal under 10; "" if it is hardly above 0."""
    if 0 <= number < HARDLY_ANY:
        return ""
    text = f"{number:,.0f}" if abs(number) >= 10 else f"{round(number, 1) + 0.0:g}"
    return text.replace("-", "−")
