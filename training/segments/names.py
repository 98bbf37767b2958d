"""A name for every segment: short, accurate and unique.

Names use the schema's words for users who have much or little of a feature; without such words, they
use feature labels.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, count

from engine.bundle.manifest import Segment
from training.segments.phrases import MIN_KNOWN, FeatureEffect, Name, clean, in_running_text

NOTABLE = 0.08
"""The smallest effect that may appear in a name."""

NAMING_EFFECTS = 24
"""At most so many effects are combined: 24 give 2,024 triples, 500 would give 20 million."""

DISTINCT = 0.1
"""The smallest distinction for which a second effect joins a name that is already unique."""


def named(
    segments: Sequence[Segment],
    effects: Mapping[int, Sequence[FeatureEffect]],
    kept: Mapping[int, Name],
    taken: Iterable[str] = (),
) -> dict[int, Name]:
    """A name for every segment, no two the same.

    A segment that continues a previous one keeps its name while it is accurate. Others are named by
    the one or two effects that distinguish them most, the largest segment first; an effect that other
    segments share counts for less.

    Args:
        segments: Ids and shares.
        effects: What `profiles.segment_effects` returns.
        kept: Names of previous segments, by the id that continues.
        taken: Names of all previous segments; reusing one for other users would mislead.
    """
    names = {number: name for number, name in kept.items() if _still_true(name, effects[number])}
    used = {*taken, *(name.text for name in kept.values())}
    weights = _distinctions(effects)
    noun = _common_noun(effects)
    for segment in sorted(segments, key=lambda s: (-s.share, s.id)):
        if segment.id not in names:
            candidates = _candidates(effects[segment.id], weights[segment.id])
            names[segment.id] = _first_free(candidates, noun, used)
            used.add(names[segment.id].text)
    return names


def _still_true(name: Name, effects: Sequence[FeatureEffect]) -> bool:
    sides = {effect.key: effect.side for effect in effects}
    return all(
        sides.get((reason["feature"], reason["value"]), reason["side"]) == reason["side"]
        for reason in name.reasons
    )


def _distinctions(
    effects: Mapping[int, Sequence[FeatureEffect]],
) -> dict[int, dict[tuple[str, str], float]]:
    """How much each effect distinguishes a segment from the others, by segment id.

    The effect divided by the number of segments in which it is at least as large, this one included.
    Effects that are known for too few users are left out.
    """
    sizes = {
        number: {effect.key: effect.effect for effect in found if effect.known >= MIN_KNOWN}
        for number, found in effects.items()
    }
    return {
        number: {
            key: abs(size)
            / sum(other.get(key, 0.0) * size >= size * size for other in sizes.values())
            for key, size in found.items()
        }
        for number, found in sizes.items()
    }


def _candidates(
    effects: Sequence[FeatureEffect], weights: Mapping[tuple[str, str], float]
) -> list[tuple[FeatureEffect, ...]]:
    """Sets of effects that may form a name, the best first.

    Pairs of distinct effects, then single ones, then any pairs, then triples.
    """
    notable = [t for t in effects if t.key in weights and abs(t.effect) >= NOTABLE]
    notable = [t for t in notable if not t.nominal or t.effect > 0]
    worded = [t for t in notable if t.worded]
    pool = sorted(worded or notable, key=lambda t: (-weights[t.key], t.key))[:NAMING_EFFECTS]
    distinct = [t for t in pool if weights[t.key] >= DISTINCT]
    found: list[tuple[FeatureEffect, ...]] = []
    for size, eligible in ((2, distinct), (1, pool), (2, pool), (3, pool)):
        sets = [s for s in combinations(eligible, size) if _from_different_groups(s)]
        found += sorted(sets, key=lambda s: -round(sum(weights[t.key] for t in s), 9))
    return found


def _from_different_groups(effects: Sequence[FeatureEffect]) -> bool:
    groups = [effect.feature.group or effect.feature.name for effect in effects]
    return len(set(groups)) == len(groups)


def _first_free(candidates: Sequence[tuple[FeatureEffect, ...]], noun: str, used: set[str]) -> Name:
    for effects in candidates:
        text = _composed([_phrase(effect) for effect in effects], noun)
        if text not in used:
            reasons = [{"feature": t.key[0], "value": t.key[1], "side": t.side} for t in effects]
            return Name(text, reasons)
    plain = ("Average users" + (f" {number}" if number > 1 else "") for number in count(1))
    return Name(next(text for text in plain if text not in used), [])


def _phrase(effect: FeatureEffect) -> str:
    label = in_running_text(effect.feature.title)
    if effect.nominal:
        return f"{label} {clean(effect.value)}"
    return effect.worded or f"{effect.side} {label}"


def _common_noun(effects: Mapping[int, Sequence[FeatureEffect]]) -> str:
    """The most frequent noun for users in the schema's words, "" without any."""
    features = {t.feature for found in effects.values() for t in found}
    words = [clean(word) for f in features for word in (f.high, f.low) if " " in clean(word)]
    counts = Counter(word.rpartition(" ")[2] for word in words)
    return max(sorted(counts), key=counts.__getitem__, default="")


def _composed(phrases: Sequence[str], noun: str) -> str:
    """Phrases as one name: `loyal shoppers` and `big spenders` are `Loyal big spenders`.

    Modifiers of the common noun may precede any other noun, short words first.
    """
    common = [p for p in phrases if noun and p.endswith(f" {noun}")]
    modifiers = sorted((p.removesuffix(f" {noun}") for p in common), key=len)
    others = [p for p in phrases if p not in common]
    if len(others) > 1 or not modifiers:
        text = ", ".join([*modifiers, *others])
    else:
        text = " ".join([*modifiers, *(others or [noun])])
    return text[:1].upper() + text[1:]
