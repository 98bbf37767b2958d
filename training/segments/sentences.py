"""A segment in one sentence with figures: the effects in its name, then other strong ones."""

from collections.abc import Sequence

from engine.pages.format import listed
from training.segments.phrases import MIN_KNOWN, FeatureEffect, Name, fact
from training.segments.traits import figure

FURTHER_FACT = 0.12
"""The smallest effect that the sentence adds to those in the name."""

FACTS = 3


def segment_sentence(name: Name, effects: Sequence[FeatureEffect]) -> str:
    """The segment described with figures: the effects in the name first, then other strong ones."""
    chosen = [t for reason in name.reasons for t in effects if t.states(reason)][:FACTS]
    worded = [t for t in effects if t.worded]
    further = worded or [t for t in effects if t.holds]
    for effect in sorted(further, key=lambda t: (-abs(t.effect), t.key)):
        groups = {t.feature.group or t.feature.name for t in chosen}
        fresh = (effect.feature.group or effect.feature.name) not in groups
        clear = effect.known >= MIN_KNOWN and abs(effect.effect) >= FURTHER_FACT
        if len(chosen) < FACTS and fresh and clear:
            chosen.append(effect)
    facts = [fact(t) if t.worded else figure(t) for t in chosen]
    return f"{name.text}: {listed(facts)}." if facts else f"{name.text}: like all users."
