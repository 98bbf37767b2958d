"""What drives the score: features by their mean impact, with direction and dependence."""

from collections.abc import Mapping, Sequence
from functools import partial

from engine.pages.blocks import Block, Cell, Panels, Text, table
from engine.pages.format import decimal, listed, shown, whole_percent
from training.report.charts.dependence import dependence_chart
from training.report.subject import Figures, Subject

SHOWN_DRIVERS = 12


def drivers(subject: Subject) -> list[Block]:
    """The features by their mean impact, with direction and dependence."""
    found = subject.drivers.get("features") or []
    largest = [f for f in found[:SHOWN_DRIVERS] if f["mean_absolute_impact"] > 0]
    if not largest:
        return []
    titles = subject.titles
    top = largest[0]["mean_absolute_impact"]
    names = [shown(titles.get(f["name"], f["name"])) for f in largest[:3]]
    blocks: list[Block] = [
        Text(f"The strongest drivers of the score are {listed(names)}.", strong=True),
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
    blocks += _dependence_figures([f for f in largest if f.get("dependence")], titles)
    groups = subject.drivers.get("groups") or {}
    if len(groups) > 1:
        total = sum(groups.values()) or 1
        parts = sorted(groups.items(), key=lambda part: (-part[1], part[0]))
        words = listed([f"{shown(name)} {whole_percent(value / total)}" for name, value in parts])
        blocks.append(Text(f"Share of all impact by group of features: {words}."))
    blocks.append(
        Text(
            "Impacts are exact SHAP values in log-odds: they show what "
            "the model uses, not what causes a purchase. Changing a feature need not change the outcome."
        )
    )
    return blocks


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


def _dependence_figures(features: Sequence[Figures], titles: Mapping[str, str]) -> list[Panels]:
    if not features:
        return []
    draws = tuple(
        partial(dependence_chart, f, titles, f"dependence-{n}")
        for n, f in enumerate(features, start=1)
    )
    return [
        Panels(
            draws,
            "The strongest first, row by row. Bars up raise the odds of a purchase, bars down lower "
            "them, grey bars are users without a value. Numbers run from low to high in equally many users, categories by impact. Every "
            "panel has its own scale, given in its second line.",
        )
    ]
