"""A name for every segment: short, accurate and unique.

Names use the schema's words for users who have much or little of a feature; without such words, they
state typical values and frequent categories (`traits`). Whatever a name says is true of most of its
users.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations, count

from engine.bundle.manifest import Segment
from training.segments.phrases import MIN_KNOWN, FeatureEffect, Key, Name, clean
from training.segments.traits import spoken_label, stated, still_stated, trait

NOTABLE = 0.08
"""The smallest effect that may appear in a name."""

NAMING_EFFECTS = 24
"""At most so many effects are combined: 24 give 2,024 triples, 500 would give 20 million."""

DISTINCT = 0.1
"""The smallest distinction for which a second effect joins a name that is already unique."""

LONGEST = 40
"""Longer names are used only if there is no shorter one."""

Claim = tuple[str, str, str]


def named(
    segments: Sequence[Segment],
    effects: Mapping[int, Sequence[FeatureEffect]],
    kept: Mapping[int, Name],
    taken: Iterable[str] = (),
    alike: Collection[frozenset[Key]] = frozenset(),
) -> dict[int, Name]:
    """A name for every segment, no two the same.

    A segment that continues a previous one keeps its name while it is accurate. Others are named by
    the one or two effects that distinguish them most and hold for most of their users, the largest
    segment first; an effect that other segments share counts for less.

    Args:
        segments: Ids and shares.
        effects: What `profiles.segment_effects` returns.
        kept: Names of previous segments, by the id that continues.
        taken: Names of all previous segments; reusing one for other users would mislead.
        alike: Pairs of effects that say nearly the same, which no name states together.
    """
    names = {number: name for number, name in kept.items() if _still_true(name, effects[number])}
    used = {*taken, *(name.text for name in kept.values())}
    weights = _distinctions(effects)
    noun, shared = _common_noun(effects), _shared_values(effects)
    numbers = {t.feature.name for found in effects.values() for t in found if not t.nominal}
    for segment in sorted(segments, key=lambda s: (-s.share, s.id)):
        if segment.id not in names:
            candidates = _candidates(effects[segment.id], weights[segment.id], alike)
            found = [_name(candidate, noun, shared) for candidate in candidates]
            claimed = [_claims(name, numbers) for name in names.values()]
            found.sort(
                key=lambda name: (_overlaps(name, claimed, numbers), len(name.text) > LONGEST)
            )
            free = (name for name in chain(found, _plain_names()) if name.text not in used)
            names[segment.id] = next(free)
            used.add(names[segment.id].text)
    return names


def could_name(effect: FeatureEffect) -> bool:
    """Whether a name may state an effect: it is large, and true of most of the segment's users."""
    return (
        abs(effect.effect) >= NOTABLE and effect.holds and (effect.effect > 0 or not effect.nominal)
    )


def _still_true(name: Name, effects: Sequence[FeatureEffect]) -> bool:
    """Whether every effect in a name still holds; a feature that is gone contradicts nothing."""
    known = {effect.feature.name for effect in effects}
    return all(
        any(
            effect.states(reason)
            and effect.side == reason["side"]
            and effect.holds
            and (effect.worded or still_stated(effect, reason["value"]))
            for effect in effects
        )
        for reason in name.reasons
        if reason["feature"] in known
    )


def _distinctions(
    effects: Mapping[int, Sequence[FeatureEffect]],
) -> dict[int, dict[Key, float]]:
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
    effects: Sequence[FeatureEffect],
    weights: Mapping[Key, float],
    alike: Collection[frozenset[Key]],
) -> list[tuple[FeatureEffect, ...]]:
    """Sets of effects that may form a name, the best first.

    Pairs of distinct effects, then single ones, then any pairs, then triples.
    """
    notable = [t for t in effects if t.key in weights and could_name(t)]
    worded = [t for t in notable if t.worded]
    # Where a name has no words, a trait of all counts for more than one of the majority.
    rank = {t.key: weights[t.key] * (1.0 if t.worded else t.agreeing) for t in worded or notable}
    pool = sorted(worded or notable, key=lambda t: (-rank[t.key], t.key))[:NAMING_EFFECTS]
    distinct = [t for t in pool if weights[t.key] >= DISTINCT]
    found: list[tuple[FeatureEffect, ...]] = []
    for size, eligible in ((2, distinct), (1, pool), (2, pool), (3, pool)):
        sets = [s for s in combinations(eligible, size) if _say_different_things(s, alike)]
        found += sorted(sets, key=lambda s: -round(sum(rank[t.key] for t in s), 9))
    return found


def _say_different_things(
    effects: Sequence[FeatureEffect], alike: Collection[frozenset[Key]]
) -> bool:
    groups = [effect.feature.group or effect.feature.name for effect in effects]
    if len(set(groups)) < len(groups):
        return False
    pairs = combinations([effect for effect in effects if not effect.worded], 2)
    return not any(
        frozenset((a.key, b.key)) in alike or _first_word(a) == _first_word(b) for a, b in pairs
    )


def _first_word(effect: FeatureEffect) -> str:
    """`education` and `education num` say nearly the same, and read badly together."""
    return spoken_label(effect).partition(" ")[0]


def _name(effects: Sequence[FeatureEffect], noun: str, shared: frozenset[str]) -> Name:
    # Who they are comes before how much they have: `Married, age around 45`.
    ordered = sorted(effects, key=lambda t: not (t.nominal or t.worded))
    text = _composed([effect.worded or trait(effect, shared) for effect in ordered], noun)
    return Name(text, [{"feature": t.key[0], "value": stated(t), "side": t.side} for t in ordered])


def _overlaps(name: Name, claimed: Sequence[set[Claim]], numbers: Collection[str]) -> bool:
    """Whether a name says no more, or no less, than another one: `Tenure around 6` and `around 9`.

    The schema's words may do so: it is they who say what matters.
    """
    if not any(reason["value"] for reason in name.reasons):
        return False
    claims = _claims(name, numbers)
    return any(claims <= other or other <= claims for other in claimed if other)


def _claims(name: Name, numbers: Collection[str]) -> set[Claim]:
    """What a name states, but for the size of a number."""
    return {
        (r["feature"], r["side"], "" if r["feature"] in numbers else r["value"])
        for r in name.reasons
    }


def _plain_names() -> Iterator[Name]:
    for number in count(1):
        yield Name("Average users" + (f" {number}" if number > 1 else ""), [])


def _shared_values(effects: Mapping[int, Sequence[FeatureEffect]]) -> frozenset[str]:
    """Categories of more than one feature, in lower case."""
    found = {(t.value.casefold(), t.feature.name) for ts in effects.values() for t in ts if t.value}
    counts = Counter(value for value, _ in found)
    return frozenset(value for value, features in counts.items() if features > 1)


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
