"""The report and the model card of a bundle."""

from engine.bundle.open import MODEL_CARD, REPORT
from training.report.card import model_card
from training.report.page import report_html
from training.report.subject import Subject


def report_contents(subject: Subject) -> dict[str, bytes]:
    """The bytes of the report and of the model card, by file name."""
    return {REPORT: report_html(subject).encode(), MODEL_CARD: model_card(subject).encode()}
