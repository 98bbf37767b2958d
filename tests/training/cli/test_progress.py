import io
import re
from types import SimpleNamespace

import pytest

from training.cli.progress import FitProgress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that shows what is set."""
    clock = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr("training.cli.progress.time.monotonic", lambda: clock.seconds)
    return clock


def shown_trials(monkeypatch, clock, trials, minutes):
    """The lines of a terminal during three trials of 10 seconds each."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with FitProgress(trials, minutes) as progress:
        progress.stage("fitting")
        for number, best in enumerate((None, 0.4, 0.35), start=1):
            progress.trial(number, best)
            clock.seconds += 10
        progress.stage("exporting")
    first, *bars, last = re.split(
        r"[\r\n]+", re.sub(r"\x1b\[\?25[lh]", "", terminal.getvalue().rstrip())
    )
    assert (first, last) == ("   0.0 s  fitting", "  30.0 s  exporting")
    return [bar.rstrip() for bar in bars]


def test_a_terminal_shows_the_trials_of_a_fit(monkeypatch, clock):
    assert shown_trials(monkeypatch, clock, trials=4, minutes=3.0) == [
        "trial 1 of 4  ░░░░░░░░░░░░░░░░░░░░    0%",
        "trial 2 of 4  █████░░░░░░░░░░░░░░░   25%  best log-loss 0.4000, 0:30 left",
        "trial 3 of 4  ██████████░░░░░░░░░░   50%  best log-loss 0.3500, 0:20 left",
    ]


def test_where_the_clock_ends_the_trials_it_tells_the_time_left(monkeypatch, clock):
    assert shown_trials(monkeypatch, clock, trials=None, minutes=0.5)[2] == (
        "trial 3  █████████████░░░░░░░   66%  best log-loss 0.3500, 0:10 left"
    )


def test_a_log_has_the_stages_of_a_fit_only(capsys, clock):
    with FitProgress(4, None) as progress:
        progress.stage("fitting")
        progress.trial(1, None)
    assert capsys.readouterr().err == "   0.0 s  fitting\n"
