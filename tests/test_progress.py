"""A bar for people who watch, one line for logs."""

import io

import pytest
from rich.console import Console

from mentionprobe.progress import progress


def console(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> Console:
    made = Console(file=io.StringIO(), force_terminal=terminal, record=True, width=120)
    monkeypatch.setattr("mentionprobe.progress._console", made)
    return made


def test_elsewhere_one_line_says_at_the_end_what_was_done(monkeypatch):
    shown = console(monkeypatch, terminal=False)
    with progress("reading", total=3000, unit="tokens") as advance:
        advance(1000)
        advance(2000)
        assert shown.export_text(clear=False) == ""
    text = shown.export_text()
    assert text.startswith("reading: 3,000 tokens in 0 s (")
    assert text.endswith("/s)\n")
    assert text.count("\n") == 1


def test_elsewhere_long_work_says_now_and_then_how_far_it_is(monkeypatch):
    shown = console(monkeypatch, terminal=False)
    monkeypatch.setattr("mentionprobe.progress.SECONDS_BETWEEN_LINES", 0.0)
    with progress("reading", total=3000, unit="tokens") as advance:
        advance(1000)
    assert shown.export_text().startswith("reading: 1,000 of 3,000 tokens in 0 s (")


def test_a_long_label_stays_on_one_line(monkeypatch):
    shown = console(monkeypatch, terminal=False)
    with progress("reads " * 40, total=1, unit="tokens") as advance:
        advance(1)
    assert shown.export_text().count("\n") == 1


def test_a_terminal_shows_a_bar_that_fills(monkeypatch):
    shown = console(monkeypatch, terminal=True)
    with progress("reading", total=3000, unit="tokens") as advance:
        advance(1500)
        advance(1500)
    last = shown.export_text().splitlines()[-1]
    assert last.startswith("reading ━━━")
    assert "3,000 tokens, " in last
    assert "/s" in last


@pytest.mark.parametrize("terminal", [True, False])
def test_work_that_fails_is_not_reported_as_done(monkeypatch, terminal):
    shown = console(monkeypatch, terminal=terminal)

    def fail() -> None:
        with progress("reading", total=9, unit="tokens") as advance:
            advance(4)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "9 tokens" not in shown.export_text()


def test_progress_goes_to_stderr(capsys):
    with progress("reading", total=2, unit="tokens") as advance:
        advance(2)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("reading: 2 tokens in 0 s")
