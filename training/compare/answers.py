"""Which questions the score answers and which the segments, derived from the measured figures.

Takes the document of `figures.comparison` and returns sentences. Nothing is assumed about the
figures: a score that ranks by chance, or segments that carry no information, are called that. A
difference counts when it is more than 1.96 standard errors from 0.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from engine.format import shown_name
from engine.pages.format import THIN, decimal, listed, percent, whole_percent
from training.compare.evidence import Evidence
from training.compare.strategies import MODEL, SEGMENT_FEATURE, SEGMENT_RATE, TOGETHER

TOP = "0.1"
WORTH_HAVING = 0.01
"""A further component is worth having if it adds this share of the model's own gain in log-loss."""

NAMED_DRIVERS = 3

THE_MODEL = "the purchase model"
THE_SEGMENTS = "the segments"
EITHER = "either"
NEITHER = "neither"
GAIN = "brings a gain worth having"


def plain_answers(
    document: Mapping[str, Any],
    quality: Mapping[str, Any],
    names: Mapping[int, str],
    titles: Mapping[str, str],
) -> dict[str, Any]:
    """`answer`: question, tool and why; `neither`; `would_change`; all in plain English.

    Args:
        document: `rows`, `base_rate`, `scores`, `segments`, `variance` and `stability`.
        quality: `may_be_used` and `reasons`.
        names: Of segments, by id.
        titles: Of features, by name.
    """
    shown_titles = {name: shown_name(title) for name, title in titles.items()}
    evidence = Evidence(document, quality, names, shown_titles)
    answers = {question: answer(evidence) for question, answer in QUESTIONS.items()}
    return {
        "answer": [
            {"question": question, "tool": tool, "why": why}
            for question, (tool, why) in answers.items()
        ],
        "neither": list(neither(evidence)),
        "would_change": list(would_change(evidence)),
    }


def whom(evidence: Evidence) -> tuple[str, str]:
    """Which of the two ranks users better."""
    gap = evidence.gap(SEGMENT_RATE, "roc_auc")
    figures = (
        f"ROC-AUC {evidence.model['roc_auc']:.3f} by the model and {evidence.rate['roc_auc']:.3f} "
        f"by the segments’ purchase rates (segments against model: {gap.words(3)})"
    )
    if not evidence.usable:
        why = f"the model must not be used: {evidence.quality['reasons'][0]}; "
        if evidence.segments_rank:
            return THE_SEGMENTS, f"{why}the segments still rank: {figures}"
        return NEITHER, f"{why}and the segments rank no better than chance"
    if gap.sign > 0:
        return THE_SEGMENTS, f"their purchase rates rank better: {figures}"
    if gap.sign == 0:
        return EITHER, f"these users show no difference beyond chance: {figures}"
    chance = "" if evidence.segments_rank else "; the segments rank no better than chance"
    return THE_MODEL, f"{figures}{_tops(evidence)}{chance}"


def how_many(evidence: Evidence) -> tuple[str, str]:
    """Whose probabilities are closer to the outcomes."""
    gap = evidence.gap(SEGMENT_RATE, "log_loss")
    figures = (
        f"log-loss {evidence.model['log_loss']:.4f} by the model and "
        f"{evidence.rate['log_loss']:.4f} by the segments’ rates (segments against model: "
        f"{gap.words(4)}), {evidence.base_loss:.4f} if everyone gets the mean rate"
    )
    if not evidence.usable or gap.sign < 0:
        if evidence.rates_predict:
            return THE_SEGMENTS, f"their rates are closer to the outcomes: {figures}"
        return NEITHER, f"the mean rate of all users is as good: {figures}"
    if gap.sign == 0:
        return EITHER, f"these users show no difference beyond chance: {figures}"
    return THE_MODEL, f"its probabilities are closer to the outcomes: {figures}"


def whom_inside(evidence: Evidence) -> tuple[str, str]:
    """Whether the score still ranks users within one segment."""
    segments = evidence.document["segments"]
    known = [s for s in segments if s["roc_auc"] is not None]
    if not evidence.usable:
        return NEITHER, "the model must not be used"
    if not known:
        return NEITHER, "no segment has enough buyers to tell"
    ranked = [s for s in known if s["roc_auc_interval"][0] > 0.5]
    if not ranked:
        return NEITHER, "the score ranks no better than chance inside any segment"
    some = f"{len(ranked)} of {len(segments)}" if len(ranked) < len(segments) else "the"
    why = f"ROC-AUC inside {some} segments is {_range(ranked, 'roc_auc', decimal)}"
    lifts = [s for s in ranked if s["top_decile_lift"] is not None]
    if lifts:
        lift = _range(lifts, "top_decile_lift", partial(decimal, decimals=1))
        why += f", and a segment’s top tenth buys {lift} times as often as the segment"
    # Why segments are missing from the range.
    missing = {
        "it ranks no better than chance": len(known) - len(ranked),
        "there are too few buyers or non-buyers to tell": len(segments) - len(known),
    }
    why += "".join(f"; in {number} {reason}" for reason, number in missing.items() if number)
    return THE_MODEL, why


def what_to_say(evidence: Evidence) -> tuple[str, str]:
    """Whether segments differ in what drives their users' scores."""
    if len(evidence.names) < 2:
        return NEITHER, "there is one segment for all users"
    explained = evidence.explained_drivers[:NAMED_DRIVERS]
    if not evidence.segments_describe:
        most = f"at most {percent(explained[0]['explained'])}" if explained else "nothing"
        return NEITHER, (
            f"the segments explain {most} of the differences between users in any driver of the "
            "score: users of one segment have no more in common than others"
        )
    drivers = ", ".join(
        f"{evidence.titles.get(d['name'], d['name'])} {whole_percent(d['explained'])}"
        for d in explained
    )
    share = evidence.document["variance"]["probability"]
    whole = (
        f", and {whole_percent(share)} of how their probabilities differ"
        if share is not None
        else ""
    )
    return THE_SEGMENTS, (
        f"they explain part of how users differ in the drivers of the score ({drivers}){whole}; found "
        "without a label, they also work where nobody has bought yet"
    )


def both_in_one(evidence: Evidence) -> tuple[str, str]:
    """Whether the score gets better when it knows the segment."""
    words = {
        SEGMENT_FEATURE: "as a further feature",
        TOGETHER: "as a calibration inside each segment",
    }
    tried = {key: how for key, how in words.items() if key in evidence.strategies}
    verdicts = {key: _verdict(evidence, key) for key in tried}
    why = "; ".join(
        f"{how} it {verdicts[key]} (log-loss against the model: "
        f"{evidence.gap(key, 'log_loss').words(5)})"
        for key, how in tried.items()
    )
    gained = [how for key, how in tried.items() if verdicts[key] == GAIN]
    if not evidence.usable:
        return NEITHER, f"the model must not be used; {why}"
    return f"yes, {gained[0]}" if gained else "no, the model alone", why


QUESTIONS = {
    "Whom to contact first?": whom,
    "How many purchases to plan with?": how_many,
    "Whom to pick inside a segment?": whom_inside,
    "What to say, and through which channel?": what_to_say,
    "Does the score get better if it knows the segment?": both_in_one,
}
"""Each question with the function that answers it: which tool, and why."""


def neither(evidence: Evidence) -> Iterator[str]:
    """Questions that neither the score nor the segments answer for these users."""
    yield (
        "Whom a contact persuades: both predict who buys, contacted or not; only a control group shows "
        "the effect"
    )
    top = evidence.model["gains"].get("0.05")
    if evidence.usable and top is not None:
        rate = top * evidence.document["base_rate"] / 0.05
        yield (
            f"Who is certain to buy: of the 5{THIN}% of users with the highest scores, "
            f"{whole_percent(rate)} buy and {whole_percent(1 - rate)} do not"
        )
    flat, few = [], []
    for segment in evidence.document["segments"]:
        name = evidence.names[segment["segment_id"]]
        if segment["roc_auc"] is None:
            few.append(name)
        elif segment["roc_auc_interval"][0] <= 0.5:
            flat.append(name)
    if evidence.usable and flat:
        yield f"Whom to pick inside {listed(flat)}: there the score ranks no better than chance"
    if few:
        yield f"Whom to pick inside {listed(few)}: too few buyers or non-buyers to tell"
    if not evidence.usable and not evidence.segments_rank:
        yield "Who buys at all: neither the score nor the segments rank these users better than chance"


def would_change(evidence: Evidence) -> Iterator[str]:
    """What would change the answers, and how far off it is."""
    gap = evidence.gap(SEGMENT_RATE, "roc_auc")
    if evidence.usable and gap.sign < 0:
        yield (
            f"A model whose ROC-AUC falls by {-gap.value:.3f} from "
            f"{evidence.model['roc_auc']:.3f}: the segments’ purchase rates would then rank as well"
        )
    elif evidence.usable and gap.sign == 0:
        yield (
            f"More labelled users: {evidence.document['rows']:,} rows cannot show a difference in ROC-AUC "
            f"of less than {gap.reach:.3f}"
        )
    elif not evidence.usable:
        yield f"A usable model; of this one: {evidence.quality['reasons'][0]}"
    if not evidence.segments_describe:
        yield "Segments of other features: these do not separate users"
    further = [key for key in (SEGMENT_FEATURE, TOGETHER) if key in evidence.strategies]
    if all(_verdict(evidence, key) != GAIN for key in further):
        yield (
            "Segments based on something the model’s features lack, such as survey answers: the score "
            "could then gain from them"
        )
    yield from _over_time(evidence.document["stability"])
    yield "A control group whose effects by segment and band rank differently from purchases"


def _over_time(stability: Mapping[str, Any]) -> Iterator[str]:
    """How stable the figures are from date to date."""
    if stability["words"]:
        yield stability["words"]
    weeks = [w for w in stability.get("weeks", ()) if w["roc_auc"][MODEL] is not None]
    if len(weeks) > 1:
        first, last = weeks[0], weeks[-1]
        yield (
            f"Time: from {first['snapshot']} to {last['snapshot']} the model’s ROC-AUC went from "
            f"{first['roc_auc'][MODEL]:.3f} to {last['roc_auc'][MODEL]:.3f}, that of the segments’ "
            f"rates from {first['roc_auc'][SEGMENT_RATE]:.3f} to "
            f"{last['roc_auc'][SEGMENT_RATE]:.3f}"
        )
    moved = stability.get("changes", ())
    if moved:
        yield (
            "Users who move: from one date to the next "
            f"{_range(moved, 'segment_changed', whole_percent)} of them change their segment and "
            f"{_range(moved, 'band_changed', whole_percent)} their band"
        )


def _verdict(evidence: Evidence, key: str) -> str:
    """What a strategy gains over the model alone, by log-loss."""
    gap = evidence.gap(key, "log_loss")
    if gap.is_none:
        return "changes no score: the data show no difference between segments beyond chance"
    if gap.sign > 0:
        return "makes it worse"
    if gap.sign == 0:
        return "gains nothing beyond chance"
    own = evidence.base_loss - evidence.model["log_loss"]
    if own > 0 and -gap.value < WORTH_HAVING * own:
        return f"adds {percent(-gap.value / own)} to the gain of the model itself, too little to matter"
    return GAIN


def _tops(evidence: Evidence) -> str:
    model, rate = (way["gains"].get(TOP) for way in (evidence.model, evidence.rate))
    if model is None or rate is None:
        return ""
    return (
        f"; its top tenth holds {whole_percent(model)} of the buyers, that of the segments "
        f"{whole_percent(rate)}"
    )


def _range(parts: Sequence[Mapping[str, Any]], name: str, shown: Callable[[float], str]) -> str:
    ends = [shown(end(part[name] for part in parts)) for end in (min, max)]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
