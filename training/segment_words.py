"""Names and sentences of segments, made from what sets their users apart and the schema's words.

Takes the traits of segments, gives texts. Where the schema has words for who has much or little of
a feature, names are made of these; otherwise of labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from engine.bundle import Segment
from engine.schema import Feature
from training.report.words import listed, percent, plain

NOTABLE = 0.08
"""From this effect on, a trait may stand in a name."""

MIN_KNOWN = 0.5
"""A trait that is known of a smaller share of a segment's users says little about the segment."""

COMMON_PENALTY = 0.7
FACTS = 3
SHOWN_VALUE = 40
NEVER_FIRST = "=+-@|"
"""A spreadsheet would take a text that begins so for a formula."""

Reason = dict[str, str]


@dataclass(frozen=True, slots=True)
class Trait:
    """How much a segment has of a number, of an ordered category, or of one value of another.

    Attributes:
        feature: What is told.
        effect: From -0.5, all users have less, to 0.5, all have more.
        mean: Of the segment's users; of codes for an ordered category, a share for another.
        overall: The same of all users.
        known: The share of the segment's users about whom it is known.
        value: The category in the middle, or the one whose share is told; "" for a number.
        overall_value: The category in the middle of all users.
    """

    feature: Feature
    effect: float
    mean: float
    overall: float
    known: float
    value: str = ""
    overall_value: str = ""

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
        """The schema's words for users like these, "" where it has none."""
        return clean(self.feature.high if self.effect >= 0 else self.feature.low)

    @property
    def key(self) -> tuple[str, str]:
        """What is told: the same for every segment."""
        return self.feature.name, self.value if self.nominal else ""


@dataclass(frozen=True, slots=True)
class Name:
    """A segment's name and the traits that it states.

    Attributes:
        text: For people.
        reasons: `feature`, `value` and `side` of each trait, plain JSON values.
    """

    text: str
    reasons: list[Reason]


def named(
    segments: Sequence[Segment], traits: Mapping[int, Sequence[Trait]], kept: Mapping[int, Segment]
) -> dict[int, Name]:
    """A name for every segment, no two the same.

    A segment that continues one before keeps its name unless that states what is no longer true.
    Each other is named by the one or two traits that set it apart most, the largest segment first;
    a trait that others have as well counts for less.

    Args:
        segments: Ids and shares.
        traits: What `profiles.segment_traits` gives.
        kept: Segments before, by the id that they hand on.
    """
    names = {
        number: Name(segment.name, list(segment.profile.get("name_features", ())))
        for number, segment in kept.items()
        if _still_true(segment, traits[number])
    }
    used = {segment.name for segment in kept.values()}
    weights = _distinctions(segments, traits)
    for segment in sorted(segments, key=lambda s: (-s.share, s.id)):
        if segment.id not in names:
            names[segment.id] = _first_free(
                _candidates(traits[segment.id], weights[segment.id]), used
            )
            used.add(names[segment.id].text)
    return names


def segment_sentence(name: Name, traits: Sequence[Trait]) -> str:
    """Who they are, with figures: the traits in the name first, then what else sets them apart."""
    told = [t for t in traits if t.known >= MIN_KNOWN and abs(t.effect) >= NOTABLE]
    stated = [(reason["feature"], reason["value"]) for reason in name.reasons]
    first = [t for key in stated for t in traits if t.key == key]
    others = sorted((t for t in told if t not in first), key=_telling)
    chosen = first[:FACTS]
    for trait in others:
        groups = [t.feature.group for t in chosen]
        if len(chosen) < FACTS and (not trait.feature.group or trait.feature.group not in groups):
            chosen.append(trait)
    facts = [fact(trait) for trait in chosen]
    return f"{name.text}: {listed(facts)}." if facts else f"{name.text}: like all users."


def fact(trait: Trait) -> str:
    """A trait with its figure: `4.2 orders in the last 90 days`, `1 in 2 e-mails opened`."""
    label, unit = _in_running_text(clean(trait.feature.title)), clean(trait.feature.unit)
    if trait.nominal:
        return f"{label} {clean(trait.value)} for {_of_many(trait.mean)}"
    if trait.value:
        return f"{label} typically {clean(trait.value)}"
    if unit == "share" and 0 <= trait.mean <= 1:
        what = label.removeprefix("share of ")
        return (
            f"{_of_many(trait.mean)} {what}"
            if what != label
            else f"{label} {percent(trait.mean, 0)}"
        )
    number = _short_number(trait.mean)
    head, between, tail = label.partition(" in the last ")
    if unit and f" {unit.casefold()} " in f" {label.casefold()} ":
        return f"{number} {label}"
    if between:
        return f"{head} of {number} {unit}{between}{tail}"
    return f"{label} {number} {unit}".rstrip()


def against_all(trait: Trait) -> str:
    """A trait beside that of all users: `Orders in the last 90 days: 4.2, all users 1.3`."""
    label = clean(trait.feature.title)
    if trait.value:
        return f"{label}: typically {clean(trait.value)}, all users {clean(trait.overall_value)}"
    share = trait.feature.unit == "share"
    mean, overall = (percent(v, 0) if share else plain(v) for v in (trait.mean, trait.overall))
    unit = "" if share or not trait.feature.unit else f" {clean(trait.feature.unit)}"
    if unit.strip().casefold() in label.casefold():
        unit = ""
    return f"{label}: {mean}{unit}, all users {overall}"


def value_against_all(trait: Trait) -> str:
    """A frequent category: `Main device: ios_app for 42 %, all users 20 %`."""
    label, value = clean(trait.feature.title), clean(trait.value)
    return f"{label}: {value} for {percent(trait.mean, 0)}, all users {percent(trait.overall, 0)}"


def clean(text: str) -> str:
    """A text on one line, without characters that cannot be seen or that turn others round."""
    seen = "".join(c if c.isprintable() else " " for c in text)
    plain_text = " ".join(seen.split()).lstrip(NEVER_FIRST).strip()
    return plain_text if len(plain_text) <= SHOWN_VALUE else f"{plain_text[: SHOWN_VALUE - 1]}…"


def _still_true(segment: Segment, traits: Sequence[Trait]) -> bool:
    sides = {trait.key: trait.side for trait in traits}
    return all(
        sides.get((reason["feature"], reason["value"]), reason["side"]) == reason["side"]
        for reason in segment.profile.get("name_features", ())
    )


def _distinctions(
    segments: Sequence[Segment], traits: Mapping[int, Sequence[Trait]]
) -> dict[int, dict[tuple[str, str], float]]:
    """How much each trait tells a segment from the others: its effect, less where others share it."""
    effects = {n: {trait.key: trait.effect for trait in found} for n, found in traits.items()}
    share = {segment.id: segment.share for segment in segments}

    def common(number: int, key: tuple[str, str], effect: float) -> float:
        like = (
            share[other]
            for other, found in effects.items()
            if other != number and found.get(key, 0.0) * effect >= effect * effect * 0.8
        )
        return sum(like) / max(1 - share[number], 1e-9)

    return {
        number: {
            key: abs(effect) * (1 - COMMON_PENALTY * common(number, key, effect))
            for key, effect in found.items()
        }
        for number, found in effects.items()
    }


def _candidates(
    traits: Sequence[Trait], weights: Mapping[tuple[str, str], float]
) -> list[tuple[Trait, ...]]:
    """Sets of traits that may make a name, the best first: pairs, then single ones, then threes."""
    notable = [t for t in traits if t.known >= MIN_KNOWN and abs(t.effect) >= NOTABLE]
    notable = [t for t in notable if not t.nominal or t.effect > 0]
    worded = [t for t in notable if t.worded]
    pool = sorted(worded or notable, key=lambda t: (-weights[t.key], t.key))
    found: list[tuple[Trait, ...]] = []
    for size in (2, 1, 3):
        sets = [s for s in combinations(pool, size) if _from_different_groups(s)]
        found += sorted(sets, key=lambda s: -round(sum(weights[t.key] for t in s), 9))
    return found


def _from_different_groups(traits: Sequence[Trait]) -> bool:
    groups = [trait.feature.group or trait.feature.name for trait in traits]
    return len(set(groups)) == len(groups)


def _first_free(candidates: Sequence[tuple[Trait, ...]], used: set[str]) -> Name:
    for traits in candidates:
        text = _composed([_phrase(trait) for trait in traits])
        if text not in used:
            reasons = [{"feature": t.key[0], "value": t.key[1], "side": t.side} for t in traits]
            return Name(text, reasons)
    number = 1
    while (text := "Average users" + (f" {number}" if number > 1 else "")) in used:
        number += 1
    return Name(text, [])


def _phrase(trait: Trait) -> str:
    label = _in_running_text(clean(trait.feature.title))
    if trait.nominal:
        return f"{label} {clean(trait.value)}"
    return trait.worded or f"{trait.side} {label}"


def _composed(phrases: Sequence[str]) -> str:
    """Phrases as one name; modifiers of the same noun stand before it together."""
    modifiers, nouns = zip(
        *((p.rpartition(" ")[0], p.rpartition(" ")[2]) for p in phrases), strict=True
    )
    same = len(set(nouns)) == 1 and all(modifiers)
    text = f"{' '.join(modifiers)} {nouns[0]}" if same else ", ".join(phrases)
    return text[:1].upper() + text[1:]


def _telling(trait: Trait) -> tuple[bool, float, tuple[str, str]]:
    """Sorts what the schema has words for first, then by size."""
    return not trait.worded, -abs(trait.effect), trait.key


def _in_running_text(label: str) -> str:
    """A label inside a sentence: its first letter small, unless a second capital follows."""
    text = label.replace("_", " ")
    return text[:1].lower() + text[1:] if text[1:2] == text[1:2].lower() else text


def _of_many(share: float) -> str:
    """A share as people say it: `1 in 3`."""
    if share >= 0.95:
        return "nearly all"
    if share < 0.02:
        return "hardly any"
    if share < 0.29:
        return f"1 in {round(1 / share)}"
    whole = min((2, 3, 4, 5, 10), key=lambda n: (round(abs(share - round(share * n) / n), 2), n))
    return f"{round(share * whole)} in {whole}"


def _short_number(number: float) -> str:
    if 0 <= number < 0.05:
        return "hardly any"
    return plain(round(number, 0 if abs(number) >= 10 else 1))
