"""Names and sentences of segments, made from what sets their users apart and the schema's words.

Takes the traits of segments, gives texts. Where the schema has words for who has much or little of
a feature, names are made of these; otherwise of labels.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from engine.bundle import Segment
from engine.schema import Feature
from training.report.words import listed, percent, plain

NOTABLE = 0.08
"""From this effect on, a trait may stand in a name."""

MIN_KNOWN = 0.5
"""A trait that is known of a smaller share of a segment's users says little about the segment."""

DISTINCT = 0.1
"""From this distinction on, a second trait stands in a name that is unique without it."""

FURTHER_FACT = 0.12
"""From this effect on, a trait that the name does not state stands in the sentence."""

FACTS = 3
HARDLY_ANY = 0.15
SHOWN_VALUE = 40
SHOWN_LABEL = 80
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
    segments: Sequence[Segment],
    traits: Mapping[int, Sequence[Trait]],
    kept: Mapping[int, Segment],
    taken: Iterable[str] = (),
) -> dict[int, Name]:
    """A name for every segment, no two the same.

    A segment that continues one before keeps its name unless that states what is no longer true.
    Each other is named by the one or two traits that set it apart most, the largest segment first;
    a trait that others have as well counts for less.

    Args:
        segments: Ids and shares.
        traits: What `profiles.segment_traits` gives.
        kept: Segments before, by the id that they hand on.
        taken: Names of other segments before, which would mislead.
    """
    names = {
        number: Name(segment.name, list(segment.profile.get("name_features", ())))
        for number, segment in kept.items()
        if _still_true(segment, traits[number])
    }
    used = {*taken, *(segment.name for segment in kept.values())}
    weights = _distinctions(traits)
    noun = _common_noun(traits)
    for segment in sorted(segments, key=lambda s: (-s.share, s.id)):
        if segment.id not in names:
            candidates = _candidates(traits[segment.id], weights[segment.id])
            names[segment.id] = _first_free(candidates, noun, used)
            used.add(names[segment.id].text)
    return names


def segment_sentence(name: Name, traits: Sequence[Trait]) -> str:
    """Who they are, with figures: the traits in the name first, then what else sets them apart."""
    stated = [(reason["feature"], reason["value"]) for reason in name.reasons]
    chosen = [trait for key in stated for trait in traits if trait.key == key][:FACTS]
    worded = [trait for trait in traits if trait.worded]
    for trait in sorted(worded or traits, key=lambda t: (-abs(t.effect), t.key)):
        groups = {t.feature.group or t.feature.name for t in chosen}
        fresh = (trait.feature.group or trait.feature.name) not in groups
        clear = trait.known >= MIN_KNOWN and abs(trait.effect) >= FURTHER_FACT
        if len(chosen) < FACTS and fresh and clear:
            chosen.append(trait)
    facts = [fact(trait) for trait in chosen]
    return f"{name.text}: {listed(facts)}." if facts else f"{name.text}: like all users."


def fact(trait: Trait) -> str:
    """A trait with its figure: `4.2 orders in the last 90 days`, `1 in 2 e-mails opened`."""
    label, unit = _in_running_text(trait.feature.title), clean(trait.feature.unit)
    if trait.nominal:
        return f"{label} {clean(trait.value)} for {_of_many(trait.mean)}"
    if trait.value:
        none = trait.value.casefold() == "none"
        return f"mostly no {label}" if none else f"{label} mostly {clean(trait.value)}"
    if unit == "share" and 0 <= trait.mean <= 1:
        what = label.removeprefix("share of ")
        return (
            f"{_of_many(trait.mean)} {what}"
            if what != label
            else f"{label} {percent(trait.mean, 0)}"
        )
    number = _short_number(trait.mean)
    head, between, tail = label.partition(" in the last ")
    if unit and f" {unit.casefold()} " in f" {label.partition(' in ')[0].casefold()} ":
        return f"{number or 'hardly any'} {label}"
    if between:
        return f"{head} of {number} {unit}{between}{tail}" if number else f"hardly any {label}"
    unit = unit if number and unit.casefold() not in label.casefold() else ""
    return f"{label} {number or 'near 0'} {unit}".rstrip()


def against_all(trait: Trait) -> str:
    """A trait beside that of all users: `Orders in the last 90 days: 4.2, all users 1.3`."""
    label = clean(trait.feature.title, SHOWN_LABEL)
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
    label, value = clean(trait.feature.title, SHOWN_LABEL), clean(trait.value)
    return f"{label}: {value} for {percent(trait.mean, 0)}, all users {percent(trait.overall, 0)}"


def clean(text: str, length: int = SHOWN_VALUE) -> str:
    """A text on one line, without characters that cannot be seen or that turn others round."""
    seen = "".join(c if c.isprintable() else " " for c in text)
    safe = " ".join(seen.split()).lstrip(NEVER_FIRST).strip()
    return safe if len(safe) <= length else f"{safe[: length - 1]}…"


def _still_true(segment: Segment, traits: Sequence[Trait]) -> bool:
    sides = {trait.key: trait.side for trait in traits}
    return all(
        sides.get((reason["feature"], reason["value"]), reason["side"]) == reason["side"]
        for reason in segment.profile.get("name_features", ())
    )


def _distinctions(
    traits: Mapping[int, Sequence[Trait]],
) -> dict[int, dict[tuple[str, str], float]]:
    """How much each trait tells a segment from the others, by segment id.

    It is the effect, divided by the number of segments that have it at least as much, this one
    included: who has most of something is called by it first. Traits that are known of too few of
    its users are left out.
    """
    effects = {
        number: {trait.key: trait.effect for trait in found if trait.known >= MIN_KNOWN}
        for number, found in traits.items()
    }
    return {
        number: {
            key: abs(effect)
            / sum(other.get(key, 0.0) * effect >= effect * effect for other in effects.values())
            for key, effect in found.items()
        }
        for number, found in effects.items()
    }


def _candidates(
    traits: Sequence[Trait], weights: Mapping[tuple[str, str], float]
) -> list[tuple[Trait, ...]]:
    """Sets of traits that may make a name, the best first.

    Pairs of distinct traits, then single traits, then any pairs, then threes.
    """
    notable = [t for t in traits if t.key in weights and abs(t.effect) >= NOTABLE]
    notable = [t for t in notable if not t.nominal or t.effect > 0]
    worded = [t for t in notable if t.worded]
    pool = sorted(worded or notable, key=lambda t: (-weights[t.key], t.key))
    distinct = [t for t in pool if weights[t.key] >= DISTINCT]
    found: list[tuple[Trait, ...]] = []
    for size, eligible in ((2, distinct), (1, pool), (2, pool), (3, pool)):
        sets = [s for s in combinations(eligible, size) if _from_different_groups(s)]
        found += sorted(sets, key=lambda s: -round(sum(weights[t.key] for t in s), 9))
    return found


def _from_different_groups(traits: Sequence[Trait]) -> bool:
    groups = [trait.feature.group or trait.feature.name for trait in traits]
    return len(set(groups)) == len(groups)


def _first_free(candidates: Sequence[tuple[Trait, ...]], noun: str, used: set[str]) -> Name:
    for traits in candidates:
        text = _composed([_phrase(trait) for trait in traits], noun)
        if text not in used:
            reasons = [{"feature": t.key[0], "value": t.key[1], "side": t.side} for t in traits]
            return Name(text, reasons)
    number = 1
    while (text := "Average users" + (f" {number}" if number > 1 else "")) in used:
        number += 1
    return Name(text, [])


def _phrase(trait: Trait) -> str:
    label = _in_running_text(trait.feature.title)
    if trait.nominal:
        return f"{label} {clean(trait.value)}"
    return trait.worded or f"{trait.side} {label}"


def _common_noun(traits: Mapping[int, Sequence[Trait]]) -> str:
    """What the schema's words call users most often, "" where it has no words."""
    features = {t.feature for found in traits.values() for t in found}
    words = [clean(word) for f in features for word in (f.high, f.low) if " " in clean(word)]
    counts = Counter(word.rpartition(" ")[2] for word in words)
    return max(sorted(counts), key=counts.__getitem__, default="")


def _composed(phrases: Sequence[str], noun: str) -> str:
    """Phrases as one name: `loyal shoppers` and `big spenders` are `Loyal big spenders`.

    What stands before the common noun may stand before any other, short words first.
    """
    modifiers = [p.removesuffix(f" {noun}") for p in phrases if noun and p.endswith(f" {noun}")]
    others = [p for p in phrases if not (noun and p.endswith(f" {noun}"))]
    head = others[0] if len(others) == 1 else noun
    if len(others) > 1 or not modifiers:
        text = ", ".join([*sorted(modifiers, key=len), *others])
    else:
        text = " ".join([*sorted(modifiers, key=len), head])
    return text[:1].upper() + text[1:]


def _in_running_text(label: str) -> str:
    """A label inside a sentence: its first letter small, unless a second capital follows."""
    text = clean(label.replace("_", " "), SHOWN_LABEL)
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
    """A mean in a sentence, with one decimal under 10; "" where it is hardly above 0."""
    if 0 <= number < HARDLY_ANY:
        return ""
    return f"{number:,.0f}" if abs(number) >= 10 else f"{round(number, 1):g}"
