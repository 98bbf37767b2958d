"""The figures of a bundle as words, tables and pictures, in the order in which they are asked for.

Every function takes the subject and gives the blocks of one section, none where there is nothing
to say. Figures that were not measured are left out or shown as a dash.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.bundle import BANDS, PLAYBOOK, Bundle, Manifest
from training.evidence import Difference
from training.report import charts
from training.report.blocks import (
    Block,
    Bullets,
    Card,
    Cards,
    Cell,
    Fact,
    Facts,
    Figure,
    Section,
    Text,
    table,
)
from training.report.words import (
    BAND_WORDS,
    UNKNOWN,
    count,
    decimal,
    interval,
    listed,
    percent,
    plain,
    points,
    sentence,
    shown,
    times,
    whole_percent,
)

Figures = Mapping[str, Any]

SHOWN_INDEX = 4
SHOWN_DRIVERS = 12
SHOWN_TRIALS = 30
SHOWN_SLICES = 60
SHOWN_DRIFT = 20


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about: the bundle, what was measured on which users, the playbook."""

    manifest: Manifest
    evaluation: Figures
    playbook: Figures = field(default_factory=dict)

    @property
    def metrics(self) -> Figures:
        """The figures of the purchase model."""
        return self.evaluation.get("metrics") or {}

    @property
    def drivers(self) -> Figures:
        """What moves the scores, on the users that were measured; else on the test part."""
        return self.evaluation.get("drivers") or self.manifest.drivers

    @property
    def comparison(self) -> Figures:
        """The score against the segments, on the users that were measured; else the test part."""
        return self.evaluation.get("comparison") or self.manifest.comparison

    @property
    def quality(self) -> Figures:
        """The quality band and whether the bundle may be used."""
        found = self.evaluation.get("quality") or self.manifest.quality
        unusable = self.manifest.unusable
        if unusable or not found:
            return {
                "band": "unusable" if unusable else "not judged",
                "may_be_used": not unusable,
                "sentence": found.get("sentence")
                or ("It must not be used." if unusable else "Its quality has not been judged."),
                "reasons": list(found.get("reasons") or unusable),
            }
        return found

    @property
    def titles(self) -> dict[str, str]:
        """The label of every feature, by name."""
        return {feature.name: feature.title for feature in self.manifest.schema.features}

    @property
    def segment_names(self) -> dict[int, str]:
        """The name of every segment, by id."""
        return {segment.id: segment.name for segment in self.manifest.segments}

    @property
    def event(self) -> str:
        """What the model predicts, in words."""
        days = self.manifest.schema.horizon_days
        return f"a purchase within {days} days" if days else "a purchase"


def subject_of(manifest: Manifest, playbook: Figures | None = None) -> Subject:
    """A bundle as measured on its own test part."""
    record = manifest.training
    evaluation = {
        "bundle_id": manifest.bundle_id,
        "data": {
            "rows": manifest.metrics.get("rows"),
            "snapshots": record.get("snapshots", []),
            "what": "the test part: users set aside before fitting, looked at once",
        },
        "metrics": manifest.metrics,
        "segments": {"silhouette": manifest.clustering.get("silhouette")},
        "drivers": manifest.drivers,
        "quality": manifest.quality,
    }
    return Subject(manifest, evaluation, playbook or {})


def measured_subject(bundle: Bundle, evaluation: Figures) -> Subject:
    """A bundle as measured on other users, with its own playbook where it has one."""
    content = bundle.contents.get(PLAYBOOK)
    return Subject(bundle.manifest, evaluation, json.loads(content) if content else {})


def report_sections(subject: Subject) -> list[Section]:
    """All sections that have something to say, in order."""
    sections = (
        Section("figures", "Key figures", key_figures(subject)),
        Section("drivers", "What moves the score", drivers(subject)),
        Section("gains", "How much a short list finds", gains(subject)),
        Section("reliability", "Whether the probabilities are true", reliability(subject)),
        Section("audience", "How many users to contact", operating_points(subject)),
        Section("segments", "The segments", segments(subject)),
        Section("actions", "Segment by band: who buys, what to do", cells(subject)),
        Section("comparison", "Score or segments: which answers what", comparison(subject)),
        Section("trials", "What else was tried", trials(subject)),
        Section("slices", "How it does for parts of the users", slices(subject)),
        Section("leakage", "Whether a feature tells too much", leakage(subject)),
        Section("drift", "Whether the users have changed", drift(subject)),
        Section("limits", "What not to conclude", limits(subject)),
        Section("verify", "How to verify", verify(subject)),
    )
    return [section for section in sections if section.blocks]


def key_figures(subject: Subject) -> list[Block]:
    """The figures that decide, each with what it means in words."""
    m = subject.metrics
    if not m:
        return [Text("The purchase model has not been measured.")]
    known = m.get("intervals") or {}
    facts = [
        Fact(
            percent(m["base_rate"]),
            "of users buy",
            f"Of {count(m['rows'])} measured users. Every figure below is to be read against this.",
        )
    ]
    top = _gain_at(m, 0.1)
    if top:
        facts.append(
            Fact(
                whole_percent(top["share_of_buyers"]),
                "of buyers in the top 10\u202f%",
                f"The top 10\u202f% of users hold {whole_percent(top['share_of_buyers'])} of the "
                f"buyers: {times(top['lift'])} as many as a random tenth.",
            )
        )
    facts.append(
        Fact(
            decimal(m["roc_auc"]),
            "ROC-AUC",
            f"Of a buyer and another user picked at random, the buyer has the higher score "
            f"{100 * m['roc_auc']:.0f} times in 100.{_known(known, 'roc_auc')}",
        )
    )
    facts.append(
        Fact(
            f"{100 * m['calibration_error']:.1f}",
            "points off, on average",
            "The mean gap in percentage points between predicted and actual purchase rate."
            f"{_known(known, 'calibration_error', 1, 100)}",
        )
    )
    facts.append(
        Fact(
            decimal(m["f1"]),
            "F1 at the threshold",
            f"At a probability of {percent(m['threshold'])} or more, {100 * m['precision']:.0f} of "
            f"100 users named do buy, and {100 * m['recall']:.0f} of 100 buyers are named."
            f"{_known(known, 'f1')}",
        )
    )
    if "share_of_best_auc" in m:
        facts.append(
            Fact(
                percent(m["share_of_best_auc"], 1),
                "of the best possible AUC",
                f"These users are simulated, so the best that any model can reach is known: "
                f"{decimal(m.get('best_possible_auc'))}.",
            )
        )
    return [Facts(tuple(facts))]


def drivers(subject: Subject) -> list[Block]:
    """The features by their mean impact, with direction and shape."""
    found = subject.drivers.get("features") or []
    largest = [f for f in found[:SHOWN_DRIVERS] if f["mean_absolute_impact"] > 0]
    if not largest:
        return []
    titles = subject.titles
    top = largest[0]["mean_absolute_impact"]
    names = [shown(titles.get(f["name"], f["name"])) for f in largest[:3]]
    blocks: list[Block] = [
        Text(f"The score is moved most by {listed(names)}.", strong=True),
        table(
            f"The {len(largest)} features with the largest mean impact, of {len(found)}"
            if len(largest) < len(found)
            else "All features, by mean impact",
            ("Feature", "Mean impact", "Direction"),
            [
                (
                    Cell(titles.get(f["name"], f["name"])),
                    Cell(decimal(f["mean_absolute_impact"]), bar=f["mean_absolute_impact"] / top),
                    Cell(_direction(f)),
                )
                for f in largest
            ],
            words=(0, 2),
        ),
    ]
    blocks += _shape_figures([f for f in largest if f.get("shape")], titles)
    groups = subject.drivers.get("groups") or {}
    if len(groups) > 1:
        total = sum(groups.values()) or 1
        parts = sorted(groups.items(), key=lambda part: (-part[1], part[0]))
        words = listed([f"{shown(name)} {whole_percent(value / total)}" for name, value in parts])
        blocks.append(Text(f"Share of all impact by group of features: {words}."))
    blocks.append(
        Text(
            "Impacts are exact Shapley values in log-odds. They say what the model uses, not what "
            "causes a purchase: changing a feature need not change the outcome."
        )
    )
    return blocks


def gains(subject: Subject) -> list[Block]:
    """Share of buyers by share of users, and purchase rates by decile."""
    m = subject.metrics
    parts = m.get("deciles") or []
    blocks: list[Block] = []
    points_found = m.get("gains") or []
    if points_found:
        first = points_found[min(1, len(points_found) - 1)]
        blocks.append(
            Text(
                f"The top {whole_percent(first['share'])} of users hold "
                f"{whole_percent(first['share_of_buyers'])} of the buyers.",
                strong=True,
            )
        )
    if parts:
        blocks += [
            Figure(
                charts.gains_chart(parts, "gains-chart"),
                "Share of all buyers reached when the likeliest users are contacted first.",
            ),
            Figure(
                charts.deciles_chart(parts, m["base_rate"], "deciles-chart"),
                "Share of users who bought, by decile of the score.",
            ),
        ]
    if points_found:
        blocks.append(
            table(
                "What the likeliest users hold",
                ("Users contacted", "Share of buyers", "Purchase rate", "Lift"),
                [
                    (
                        f"top {whole_percent(p['share'])}",
                        Cell(percent(p["share_of_buyers"]), bar=p["share_of_buyers"]),
                        percent(p["purchase_rate"]),
                        times(p["lift"]),
                    )
                    for p in points_found
                ],
            )
        )
    return blocks


def reliability(subject: Subject) -> list[Block]:
    """Predicted probability against purchase rate."""
    m = subject.metrics
    bins = m.get("reliability") or []
    if not bins:
        return []
    error = m.get("calibration_error")
    return [
        Text(
            f"Of users given a probability of 30\u202f%, about 30 in 100 should buy. On average "
            f"the model is {100 * (error or 0):.1f} percentage points off.",
            strong=True,
        ),
        Figure(
            charts.reliability_chart(bins, error, "reliability-chart"),
            f"Each point is one of {len(bins)} groups of equally many users; the upright line is "
            "its 95\u202f% interval. Points on the dashed line are exactly right.",
        ),
    ]


def reliability_table(subject: Subject) -> list[Block]:
    """Predicted probability against purchase rate, as a table."""
    bins = subject.metrics.get("reliability") or []
    if not bins:
        return []
    return [
        table(
            f"Purchase rate by predicted probability, {len(bins)} groups of equally many users",
            ("Predicted", "Users", "Bought", "95\u202f% interval"),
            [
                (
                    percent(b["mean_probability"]),
                    count(b["rows"]),
                    percent(b["purchase_rate"]),
                    interval((b.get("low"), b.get("high"))),
                )
                for b in bins
            ],
        )
    ]


def operating_points(subject: Subject) -> list[Block]:
    """Audience sizes and what each of them reaches."""
    parts = subject.metrics.get("operating_points") or []
    if not parts:
        return []
    rows = [
        (
            Cell(whole_percent(p["audience_share"]), "the threshold" if p.get("name") else ""),
            count(p["users"]),
            percent(p["probability_from"]),
            count(p["buyers_reached"]),
            Cell(percent(p["share_of_buyers"]), bar=p["share_of_buyers"]),
            count(p["contacts_wasted"]),
            percent(p["precision"]),
        )
        for p in parts
    ]
    return [
        Text(
            "A wider audience reaches more buyers and wastes more contacts. “Wasted” counts users "
            "who did not buy; whether a contact would have changed that is not known."
        ),
        table(
            "What each audience size reaches, the likeliest users first",
            (
                *("Audience", "Users", "From probability", "Buyers reached"),
                *("Share of buyers", "Contacts wasted", "Purchase rate"),
            ),
            rows,
            marked=[n for n, p in enumerate(parts) if p.get("name")],
        ),
    ]


def segments(subject: Subject) -> list[Block]:
    """One card per segment, and how firm the segments are."""
    manifest = subject.manifest
    if not manifest.segments:
        return []
    blocks: list[Block] = []
    if len(manifest.segments) == 1:
        blocks.append(Text("The users do not fall into segments: there is one for all."))
    blocks.append(Cards(tuple(_segment_card(s, subject) for s in manifest.segments)))
    clustering = manifest.clustering
    silhouette = subject.evaluation.get("segments", {}).get("silhouette")
    silhouette = clustering.get("silhouette") if silhouette is None else silhouette
    if silhouette is not None:
        null = clustering.get("silhouette_permuted")
        against = f", against {decimal(null, 2)} for users without any structure" if null else ""
        blocks.append(
            Text(
                f"Silhouette on users not used for fitting: {decimal(silhouette, 2)}{against}. "
                "It runs from −1 to 1; segments of people overlap, so values of 0.2 to 0.4 are usual."
            )
        )
    blocks += _bullets("Changes against the bundle before", clustering.get("changes"))
    blocks += _bullets("To be used with care", clustering.get("reasons"))
    blocks += _choice_table(clustering)
    return blocks


def cells(subject: Subject) -> list[Block]:
    """Purchase rate by segment and band, and the action of the playbook."""
    found = {(c["segment_id"], c["band"]): c for c in subject.metrics.get("cells") or []}
    actions = {
        (row["segment_id"], row["band"]): row.get("action") or ""
        for row in _playbook_rows(subject.playbook)
    }
    if not found and not actions:
        return []
    rates = [c["purchase_rate"] for c in found.values() if c.get("purchase_rate") is not None]
    top = max(rates, default=0) or 1
    rows = [
        (
            Cell(segment.name),
            *(
                _cell(found.get((segment.id, band), {}), actions.get((segment.id, band), ""), top)
                for band in BANDS
            ),
        )
        for segment in subject.manifest.segments
    ]
    cuts = subject.manifest.band_cuts
    bounds = (f"under {percent(cuts[0])}", *(f"from {percent(cut)}" for cut in cuts))
    header = [f"{BAND_WORDS[band]} ({bound})" for band, bound in zip(BANDS, bounds, strict=True)]
    blocks: list[Block] = [
        Text(
            "The segment says what to talk about and where; the band says whether, when and how "
            "much to spend."
        ),
        table(
            "Share of users who buy, number of users measured"
            + (", and the playbook’s action" if actions else ""),
            ("Segment", *header),
            rows,
            words=range(len(BANDS) + 1),
        ),
        Text("A dash stands for fewer than 20 users: too few to say, and too few to show."),
    ]
    if actions:
        blocks.append(
            Text(
                "Actions are starting hypotheses with a control group each, not proven effects. "
                "Users with a high score often buy without being contacted."
            )
        )
    return blocks


def comparison(subject: Subject) -> list[Block]:
    """Supervised against unsupervised, with the plain answers."""
    found = subject.comparison
    if not found.get("scores"):
        return []
    blocks: list[Block] = []
    if found.get("answer"):
        blocks.append(
            table(
                "Which tool answers which question",
                ("Question", "Tool", "Why"),
                [(a["question"], a["tool"], sentence(a["why"])) for a in found["answer"]],
                words=(0, 1, 2),
            )
        )
    if found.get("scores"):
        blocks.append(
            table(
                f"{len(found['scores'])} ways to rank the same {count(found.get('rows'))} users",
                (
                    *("Ranking by", "ROC-AUC", "Against the model", "Log-loss"),
                    *(f"Top {_share_words(s)}" for s in _GAINS),
                ),
                [
                    (
                        Cell(s["name"], s.get("words", "")),
                        Cell(decimal(s.get("roc_auc")), interval(s.get("roc_auc_interval"))),
                        _against_model(s),
                        decimal(s.get("log_loss"), 4),
                        *(whole_percent((s.get("gains") or {}).get(g)) for g in _GAINS),
                    )
                    for s in found["scores"]
                ],
            )
        )
        blocks.append(
            Text(
                "“Against the model” is the difference in ROC-AUC from the purchase model alone, ± "
                "half its 95\u202f% interval, on the same users: a difference smaller than that may "
                "be chance. The last columns give the share of all buyers in the top of each list."
            )
        )
    if any(s.get("probability_p50") is not None for s in found.get("segments") or []):
        blocks.append(
            Figure(
                charts.spread_chart(found["segments"], subject.segment_names, "spread-chart"),
                "The middle 80\u202f% of the users of each segment, with the median as a point. "
                "Where the bars overlap, the segment alone does not tell who buys.",
            )
        )
    blocks += _inside(found.get("segments") or [], subject.segment_names)
    blocks += _variance(found.get("variance") or {}, subject.titles)
    blocks += _weeks(found)
    blocks += _bullets("Where neither helps", found.get("neither"))
    blocks += _bullets("What would change these answers", found.get("would_change"))
    return blocks


def trials(subject: Subject) -> list[Block]:
    """The models that were tried and the baselines beside them."""
    record = subject.manifest.training.get("classifier") or {}
    blocks: list[Block] = []
    chosen = [{"name": "this model", **subject.metrics}] if subject.metrics else []
    baselines = record.get("baselines") or []
    if baselines:
        blocks.append(
            table(
                "Simple rules beside this model",
                ("Model", "Log-loss", "ROC-AUC"),
                [
                    (b["name"], decimal(b.get("log_loss"), 4), decimal(b.get("roc_auc")))
                    for b in [*baselines, *chosen]
                ],
                marked=[len(baselines)] if chosen else [],
            )
        )
    tried = record.get("trials") or []
    best = sorted(tried, key=lambda t: (not t.get("chosen"), _sortable(t.get("log_loss"))))
    best = best[:SHOWN_TRIALS]
    if best:
        blocks.append(
            table(
                f"The {len(best)} best of {len(tried)} models tried, on validation users",
                ("Model", "Trees", "Log-loss", "Behind the best", "ROC-AUC"),
                [
                    (
                        Cell(str(t.get("name") or t.get("number")), _parameters(t)),
                        count(t.get("trees") or t.get("rounds")),
                        decimal(t.get("log_loss"), 5),
                        decimal(t.get("difference"), 5),
                        decimal(t.get("roc_auc"), 4),
                    )
                    for t in best
                ],
                marked=[n for n, t in enumerate(best) if t.get("chosen")],
            )
        )
    return blocks


def slices(subject: Subject) -> list[Block]:
    """The figures of parts of the users, with intervals."""
    found = [s for s in subject.metrics.get("slices") or [] if s.get("base_rate") is not None]
    if not found:
        return []
    worst = max(found, key=lambda s: abs(s.get("calibration_gap") or 0))
    overall = subject.metrics.get("roc_auc")
    return [
        Text(
            f"The largest gap between predicted and actual purchase rate is "
            f"{points(worst.get('calibration_gap'))} points, for {shown(worst['label'])}: "
            f"{shown(str(worst['value']))}.",
            strong=True,
        ),
        table(
            f"By part of the users; over all of them the ROC-AUC is {decimal(overall)}",
            ("Part", "Users", "Bought", "Predicted", "Gap, points", "ROC-AUC"),
            [
                (
                    Cell(f"{s['label']}: {s['value']}"),
                    count(s["rows"]),
                    percent(s["base_rate"]),
                    percent(s.get("mean_probability")),
                    points(s.get("calibration_gap")),
                    Cell(decimal(s.get("roc_auc")), interval(s.get("roc_auc_interval"))),
                )
                for s in found[:SHOWN_SLICES]
            ],
        ),
        Text("Parts of fewer than 20 users are left out. Small print: 95\u202f% intervals."),
    ]


def leakage(subject: Subject) -> list[Block]:
    """Single features that tell suspiciously much, and the test with shuffled labels."""
    found = subject.metrics.get("leakage") or {}
    if not found:
        return []
    reasons = [sentence(reason) for reason in found.get("reasons") or []]
    blocks: list[Block] = (
        [Bullets(tuple(reasons))] if reasons else [Text("No sign of leakage was found.")]
    )
    strongest = sorted(
        found.get("single_features") or [],
        key=lambda f: (-(f.get("roc_auc") or 0), f["feature"]),
    )[:3]
    if strongest:
        named = listed(
            [
                f"{shown(subject.titles.get(f['feature'], f['feature']))} "
                f"({decimal(f.get('roc_auc'), 2)})"
                for f in strongest
            ]
        )
        blocks.append(Text(f"Highest ROC-AUC of a single feature: {named}."))
    shuffled = (found.get("shuffled_labels") or {}).get("roc_auc")
    if shuffled is not None:
        blocks.append(
            Text(
                f"Fitted to shuffled labels, the same procedure reaches {decimal(shuffled, 2)}; "
                "0.50 is what it should reach."
            )
        )
    return blocks


def drift(subject: Subject) -> list[Block]:
    """How far the measured users are from those of training."""
    found = subject.evaluation.get("drift") or {}
    if not found:
        return []
    parts = sorted(found.get("features") or [], key=lambda f: (-(f.get("psi") or 0), f["name"]))
    alarms = [f for f in parts if f.get("level") in ("warn", "alarm")]
    finding = (
        f"{len(alarms)} of {len(parts)} features have moved away from training."
        if alarms
        else "The users look like those of training."
    )
    whole = [
        (Cell(title), decimal((found.get(key) or {}).get("psi")), _level(found.get(key) or {}), "")
        for key, title in (("score", "The score"), ("segments", "The segments"))
    ]
    features = [
        (
            Cell(subject.titles.get(f["name"], f["name"])),
            decimal(f.get("psi")),
            _level(f),
            _missing(f),
        )
        for f in parts[:SHOWN_DRIFT]
    ]
    return [
        Text(finding, strong=True),
        table(
            "Population stability index against training, largest first",
            ("What", "Index", "Level", "Missing, then and now"),
            [*whole, *features],
            words=(0, 2, 3),
        ),
    ]


def limits(subject: Subject) -> list[Block]:
    """What the figures do not say."""
    quality = subject.quality
    items = [
        "A high score does not mean that a contact helps: many of these users would buy anyway. "
        "Only a control group shows what an action adds.",
        "Drivers are associations the model uses, not causes.",
        "A segment that buys more need not respond more to an offer.",
        f"The figures hold for users like those measured ({_measured(subject)}); they fade as "
        "users, prices and campaigns change. Fit again regularly and watch the drift.",
        "Campaigns that act on the score change what later data show: keep the control group out "
        "of them and record who was contacted.",
    ]
    if not quality["may_be_used"]:
        items.insert(0, "This bundle is unusable: no decision may rest on its scores.")
    if "share_of_best_auc" in subject.metrics:
        items.append(
            "The measured users are simulated: the figures check the method and forecast nothing."
        )
    return [Bullets(tuple(items))]


def verify(subject: Subject) -> list[Block]:
    """What to run to check what is said here."""
    manifest = subject.manifest
    record = manifest.training
    rows = [
        ("Bundle", manifest.bundle_id),
        ("Data fingerprint", str(record.get("data_fingerprint", "–"))),
        ("Schema fingerprint", manifest.schema.fingerprint),
        ("Seed", str(record.get("seed", "–"))),
        *((f"Parity: {name.replace('_', ' ')}", value) for name, value in _flat(manifest.parity)),
        *((f"Package: {name}", found) for name, found in sorted(manifest.packages.items())),
    ]
    return [
        Bullets(
            (
                "engine inspect BUNDLE prints these figures and the SHA-256 of every file, all of "
                "them checked before anything is scored.",
                "training evaluate BUNDLE DATA measures the bundle on other labelled users.",
                "The same data, schema, options and package versions give the same bundle, byte "
                "for byte.",
            )
        ),
        table(
            "What this bundle was made from, and how far ONNX and native models differ",
            ("What", "Value"),
            rows,
            words=(0, 1),
        ),
    ]


_GAINS = ("0.05", "0.1", "0.2", "0.3")


def _share_words(share: str) -> str:
    return whole_percent(float(share))


def _gain_at(metrics: Figures, share: float) -> Figures | None:
    return next((g for g in metrics.get("gains") or [] if abs(g["share"] - share) < 1e-9), None)


def _known(intervals: Figures, name: str, decimals: int = 3, scale: float = 1) -> str:
    words = interval(intervals.get(name), decimals, scale)
    return f" 95\u202f% interval: {words}." if words else ""


def _direction(feature: Figures) -> str:
    direction = feature.get("direction")
    if direction == "raises":
        return "higher values raise the chance"
    if direction == "lowers":
        return "higher values lower the chance"
    if direction == "by value":
        return (
            f"{shown(feature['raises_most'])} raises it most, "
            f"{shown(feature['lowers_most'])} lowers it most"
        )
    return "no single direction"


def _shape_figures(features: Sequence[Figures], titles: Mapping[str, str]) -> list[Figure]:
    parts = [features[n : n + charts.PANELS] for n in range(0, len(features), charts.PANELS)]
    words = (
        "Bars up raise the odds of a purchase, bars down lower them. Numbers run from low to high "
        "in equally many users, categories by impact.",
        "Every panel has a scale of its own, given in its second line.",
    )
    return [
        Figure(charts.shapes_chart(part, titles, f"shapes-{n + 1}"), words[n])
        for n, part in enumerate(parts)
    ]


def _segment_card(segment: Any, subject: Subject) -> Card:  # noqa: ANN401 - engine.bundle.Segment
    profile = segment.profile
    rfm = subject.manifest.schema.rfm
    facts = [("Share of users", percent(segment.share))]
    if profile.get("purchase_rate") is not None:
        facts.append(("Buy", percent(profile["purchase_rate"])))
    if profile.get("mean_probability") is not None:
        facts.append(("Predicted", percent(profile["mean_probability"])))
    if rfm is not None:
        facts += [
            (subject.titles.get(name, name), plain(profile[key]))
            for key, name in (
                ("spend", rfm.monetary),
                ("frequency", rfm.frequency),
                ("recency", rfm.recency),
            )
            if profile.get(key) is not None
        ]
    return Card(
        segment.name,
        segment.sentence,
        tuple(facts),
        tuple(_index_words(part) for part in (profile.get("over") or [])[:SHOWN_INDEX]),
        tuple(_index_words(part) for part in (profile.get("under") or [])[:SHOWN_INDEX]),
    )


def _index_words(part: Figures) -> str:
    return part.get("words") or (
        f"{part.get('label') or part.get('feature')}: {plain(part.get('mean'))}, "
        f"overall {plain(part.get('overall_mean'))}"
    )


def _choice_table(clustering: Figures) -> list[Block]:
    tried = clustering.get("counts_tried") or []
    if len(tried) < 2:
        return []
    columns = (
        ("silhouette", "Silhouette", 3),
        ("silhouette_permuted", "Without structure", 3),
        ("agreement", "Agreement of refits", 2),
        ("smallest_share", "Smallest segment", None),
    )
    present = [c for c in columns if any(isinstance(t.get(c[0]), float) for t in tried)]
    rows = [
        (
            str(t.get("segments", "–")),
            *(
                percent(t.get(key)) if decimals is None else decimal(t.get(key), decimals)
                for key, _, decimals in present
            ),
        )
        for t in tried
    ]
    chosen = [n for n, t in enumerate(tried) if t.get("chosen")]
    return [
        table(
            "Numbers of segments that were tried",
            ("Segments", *(title for _, title, _ in present)),
            rows,
            marked=chosen,
        )
    ]


def _cell(found: Figures, action: str, top: float) -> Cell:
    rate, rows = found.get("purchase_rate"), found.get("rows")
    users = "" if rows is None or rate is None else f"{count(rows)} users"
    return Cell(percent(rate), users, None if rate is None else rate / top, action)


def _playbook_rows(playbook: Figures) -> Sequence[Figures]:
    return next(
        (
            value
            for value in playbook.values()
            if isinstance(value, list) and value and isinstance(value[0], Mapping)
        ),
        [],
    )


def _against_model(way: Figures) -> str:
    if not way.get("difference"):
        return UNKNOWN
    return Difference(way["difference"]["roc_auc"], way["standard_error"]["roc_auc"]).words(4)


def _inside(found: Sequence[Figures], names: Mapping[int, str]) -> list[Block]:
    """What the score still tells among the users of one segment."""
    if not any(s.get("purchase_rate") is not None for s in found):
        return []
    return [
        table(
            "What the score tells inside each segment",
            ("Segment", "Users", "Bought", "ROC-AUC inside", "Lift of its top tenth"),
            [
                (
                    Cell(names.get(s["segment_id"], str(s["segment_id"]))),
                    count(s["rows"]),
                    percent(s.get("purchase_rate")),
                    Cell(decimal(s.get("roc_auc")), interval(s.get("roc_auc_interval"))),
                    times(s.get("top_decile_lift")),
                )
                for s in found
            ],
        )
    ]


def _variance(variance: Figures, titles: Mapping[str, str]) -> list[Block]:
    """What segments explain of the differences between users (eta squared)."""
    if variance.get("probability") is None:
        return []
    words = (
        f"The segments explain {whole_percent(variance['probability'])} of the differences in "
        "purchase probability between users; the rest lies within segments."
    )
    blocks: list[Block] = [Text(words)]
    drivers = variance["drivers"][:SHOWN_DRIVERS]
    if drivers:
        blocks.append(
            table(
                "How much of what each driver does the segments explain",
                ("Driver", "Mean impact", "Explained by segments"),
                [
                    (
                        Cell(titles.get(d["name"], d["name"])),
                        decimal(d["mean_absolute_impact"]),
                        Cell(whole_percent(d["explained"]), bar=d["explained"]),
                    )
                    for d in drivers
                ],
            )
        )
    return blocks


def _weeks(found: Figures) -> list[Block]:
    """How each way does by date, and how many users change segment or band in between."""
    stability = found.get("stability") or {}
    blocks: list[Block] = []
    if stability.get("weeks"):
        names = {s["key"]: s["name"] for s in found["scores"]}
        blocks.append(
            table(
                "ROC-AUC by date",
                ("Date", "Users", "Bought", *names.values()),
                [
                    (
                        week["snapshot"],
                        count(week["rows"]),
                        percent(week["purchase_rate"]),
                        *(decimal(week["roc_auc"][key]) for key in names),
                    )
                    for week in stability["weeks"]
                ],
            )
        )
    changes = [c for c in stability.get("changes") or [] if c["agreement"] is not None]
    if changes:
        blocks.append(
            table(
                "Users who move from one date to the next",
                ("Dates", "Users", "Change segment", "Change band", "Agreement of segments"),
                [
                    (
                        f"{c['from']} to {c['to']}",
                        count(c["users"]),
                        percent(c["segment_changed"]),
                        percent(c["band_changed"]),
                        decimal(c["agreement"], 2),
                    )
                    for c in changes
                ],
            )
        )
        blocks.append(
            Text("Agreement is the adjusted Rand index: 1 is the same segments, 0 is chance.")
        )
    return blocks


def _bullets(title: str, items: Sequence[str] | None) -> list[Block]:
    if not items:
        return []
    return [Text(f"{title}:"), Bullets(tuple(sentence(shown(item)) for item in items))]


def _sortable(number: float | None) -> float:
    return float("inf") if number is None else number


def _parameters(trial: Figures) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in (trial.get("parameters") or {}).items()
    )


def _level(found: Figures) -> str:
    words = {"none": "steady", "warn": "has moved", "alarm": "has moved far"}
    return words.get(str(found.get("level")), "–")


def _missing(found: Figures) -> str:
    then, now = found.get("missing_reference"), found.get("missing")
    return "" if then is None or now is None else f"{percent(then)}, {percent(now)}"


def _measured(subject: Subject) -> str:
    data = subject.evaluation.get("data") or {}
    dates = data.get("snapshots") or []
    when = "" if not dates else f" of {dates[0]}" + (f" to {dates[-1]}" if len(dates) > 1 else "")
    return f"{count(data.get('rows'))} users{when}"


def _flat(values: Figures, prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name} ")
        elif isinstance(value, float):
            found.append((f"{prefix}{name}", f"{value:.3g}"))
        elif isinstance(value, str | int):
            found.append((f"{prefix}{name}", str(value)))
    return found
