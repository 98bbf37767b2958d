"""A name for every segment: short, true of its users, and no other segment's.

Takes the traits of segments, gives names. Where the schema has words for who has much or little of
a feature, names are made of these; otherwise of labels.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from engine.bundle.manifest import Segment
from training.segments.phrases import MIN_KNOWN, Name, Trait, clean, in_running_text

NOTABLE = 0.08
"""From this effect on, a trait may stand in a name."""

NAMING_TRAITS = 24
"""Sets of three of so many are 2,024; of a table's 500 features they would be 20 million."""

DISTINCT = 0.1
"""From this distinction on, a second trait stands in a name that is unique without it."""


def named(
    segments: Sequence[Segment],
    traits: Mapping[int, Sequence[Trait]],
    kept: Mapping[int, Name],
    taken: Iterable[str] = (),
) -> dict[int, Name]:
    """A name for every segment, no two the same.

    A segment that continues one before keeps its name unless that states what is no longer true.
    Each other is named by the one or two traits that set it apart most, the largest segment first;
    a trait that others have as well counts for less.

    Args:
        segments: Ids and shares.
        traits: What `profiles.segment_traits` gives.
        kept: Names of segments before, by the id that they hand on.
        taken: Names of other segments before, which would mislead.
    """
    names = {number: name for number, name in kept.items() if _still_true(name, traits[number])}
    used = {*taken, *(name.text for name in kept.values())}
    weights = _distinctions(traits)
    noun = _common_noun(traits)
    for segment in sorted(segments, key=lambda s: (-s.share, s.id)):
        if segment.id not in names:
            candidates = _candidates(traits[segment.id], weights[segment.id])
            names[segment.id] = _first_free(candidates, noun, used)
            used.add(names[segment.id].text)
    return names


def _still_true(name: Name, traits: Sequence[Trait]) -> bool:
    sides = {trait.key: trait.side for trait in traits}
    return all(
        sides.get((reason["feature"], reason["value"]), reason["side"]) == reason["side"]
        for reason in name.reasons
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
    pool = sorted(worded or notable, key=lambda t: (-weights[t.key], t.key))[:NAMING_TRAITS]
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
    label = in_running_text(trait.feature.title)
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
