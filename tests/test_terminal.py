"""Traces in a terminal: the text is all there, and model text can never command the terminal."""

from __future__ import annotations

import io
import json
import re

import pytest

from playground import terminal
from playground.decoding.trace import TokenStep
from tests.samples import make_trace

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def written(*texts: str, colour: bool) -> str:
    trace = make_trace(1, len(texts))
    steps: list[TokenStep] = []
    for step, text in zip(trace.steps, texts, strict=True):
        object.__setattr__(step, "text", text)
        steps.append(step)
    out = io.StringIO()
    terminal.write([trace.with_steps(steps, "length", {"tokens_per_second": 12.34})], out, colour)
    return out.getvalue()


def test_the_coloured_text_without_colours_is_the_text() -> None:
    plain = ESCAPE.sub("", written("Once", " upon\n\n", "a 東京 🙂", " time", colour=True))
    assert "Once upon\n\na 東京 🙂 time" in plain
    assert "temperature  0.0" in plain


def test_without_colour_there_is_no_escape() -> None:
    out = written("Once", " upon", colour=False)
    assert "\x1b" not in out
    assert "Once upon" in out
    assert "12.3 tokens/s" in out
    assert "mean 0.70" in out


def test_control_characters_of_the_model_never_reach_the_terminal() -> None:
    for colour in (True, False):
        out = ESCAPE.sub("", written("a\x1b]0;title\x07", "\x9b31m", "\rb\x08", colour=colour))
        assert not [c for c in out if c != "\n" and not c.isprintable()]


def test_hot_is_red_cold_is_blue_and_every_line_ends_plain() -> None:
    def background(temperature: float) -> list[int]:
        found = re.search(r"48;2;(\d+);(\d+);(\d+)m", terminal.painted("x", temperature))
        assert found
        return [int(part) for part in found.groups()]

    assert background(0.0)[2] > background(0.0)[0]
    assert background(1.4)[0] > background(1.4)[2]
    assert background(99.0) == background(1.4)
    assert all(not line or line.endswith(terminal.RESET) for line in terminal.painted("a\n\nb\n", 0.7).split("\n"))


def test_a_lane_without_tokens_is_written_too() -> None:
    out = io.StringIO()
    terminal.write([make_trace(1, 0, stop="cancelled")], out, colour=False)
    assert "no tokens, ended by cancelled" in out.getvalue()


def test_direction_and_width_controls_never_reach_the_terminal_and_joiners_do() -> None:
    for colour in (True, False):
        out = written("a\u202eb", "\u2067c\u200b", "👩\u200d👩\u200d👧", colour=colour)
        assert not set(out) & set("\u202e\u2067\u200b")
        assert "👩\u200d👩\u200d👧" in out


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "ascii", "latin-1", "cp437"])
def test_a_line_of_json_is_the_same_value_in_every_encoding(encoding: str) -> None:
    record = {"text": 'naïve 東京 🙂 “x” \u202eevil\u202c \u200b\x9b31m \x7f \\ " \n'}
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    line = terminal.json_line(record, out)
    assert json.loads(line) == record
    assert line.encode(encoding).decode(encoding) == line
    assert not set(line) & set("\u202e\u202c\u200b\x9b\x7f\n")
    assert ("東京" in line) == encoding.startswith("utf")


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # the latter is a C locale's
@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", "na?ve ??"), ("latin-1", "naïve ??"), ("utf-8", "naïve 東京")]
)
def test_a_stream_prints_what_it_can(encoding: str, shown: str, errors: str) -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding, errors=errors)
    terminal.lenient(out, io.StringIO())
    print("naïve 東京", file=out, flush=True)
    assert raw.getvalue().decode(encoding).strip() == shown
    told = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="xmlcharrefreplace")
    terminal.lenient(told)
    assert told.errors == "xmlcharrefreplace"
