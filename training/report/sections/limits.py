"""The limits of the figures, and how to verify them."""

from collections.abc import Mapping

from engine.pages.blocks import Block, Bullets, table
from training.report.subject import Figures, Subject


def limits(subject: Subject) -> list[Block]:
    """The limits of the figures."""
    return [Bullets(not_to_conclude(subject))]


def not_to_conclude(subject: Subject) -> tuple[str, ...]:
    """What the figures do not show, in sentences; the most important first."""
    dates = subject.evaluation.data.get("snapshots") or []
    when = f" of {dates[0]}" + (f" to {dates[-1]}" if len(dates) > 1 else "") if dates else ""
    items = [
        "A high score does not mean that a contact helps: many of these users would buy anyway. "
        "Only a control group shows what an action adds.",
        "Drivers are associations that the model uses, not causes.",
        "A segment that buys more need not respond more to an offer.",
        f"The figures hold for users like those measured ({subject.measured}{when}) and decay as "
        "users, prices and campaigns change. Refit regularly and watch the drift.",
        "Campaigns that act on the score change later data: leave the control group out and record "
        "who was contacted.",
    ]
    if "share_of_best_auc" in subject.metrics:
        items.insert(
            1,
            "The measured users are simulated: the figures check the method and forecast nothing.",
        )
    if not subject.quality["may_be_used"]:
        items.insert(0, "This bundle is unusable: do not base decisions on its scores.")
    return tuple(items)


def verify(subject: Subject) -> list[Block]:
    """The commands and facts that verify the report."""
    manifest = subject.manifest
    record = subject.fit.training
    rows = [
        ("Bundle", manifest.bundle_id),
        ("Data fingerprint", str(record.get("data_fingerprint", "–"))),
        ("Schema fingerprint", manifest.schema.fingerprint),
        ("Seed", str(record.get("seed", "–"))),
        *((f"Parity: {name.replace('_', ' ')}", text) for name, text in _flat(subject.fit.parity)),
        *((f"Package: {name}", found) for name, found in sorted(subject.fit.packages.items())),
    ]
    return [
        Bullets(
            (
                "engine inspect --full BUNDLE prints these figures and the SHA-256 of every file, all of "
                "them checked before anything is scored.",
                "training evaluate BUNDLE DATA measures the bundle on other labelled users.",
                _same_bundle(subject.fit.search),
            )
        ),
        table(
            "What this bundle was made from, and how far ONNX and native models differ",
            ("What", "Value"),
            rows,
            words=(0, 1),
        ),
    ]


def _same_bundle(search: Figures) -> str:
    """How to reproduce the bundle."""
    tried = len(search.get("trials") or ())
    trials = f", with --trials {tried}: otherwise the time limit may end the search elsewhere"
    return (
        "The same data, schema, options and package versions give the same bundle, byte for byte"
        f"{trials if tried else ''}."
    )


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
