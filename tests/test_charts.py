"""Charts hold the numbers of the steps, follow the overlay, name their tokens, and are smoothed where they are long."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from playground.decoding.policies.spec import KEPT, Spec
from playground.decoding.trace import TokenStep
from playground.ui.charts import SMOOTH_FROM, WINDOW, chart, charts, moving_mean, spelled
from playground.ui.figure import Figure
from playground.ui.heading import Heading
from playground.ui.scales import channel_scales, scales
from playground.ui.suggest import curve_chart
from playground.ui.training_charts import accuracy_chart, drawn_chart, loss_chart, predicted_chart
from tests.scripted import MEASURED, channels, measured_catalogue, step

CATALOGUE = measured_catalogue()
BASIC = {scale.name: scale for scale in scales()}
OWN = {scale.name: scale for scale in channel_scales([MEASURED.channels])}


def heads(*specs: str) -> list[Heading]:
    return [Heading(CATALOGUE.parse(spec)) for spec in specs]


def kept(lane: int, *pairs: tuple[float, float]) -> list[TokenStep]:
    """Steps of a lane that kept so many tokens and so much mass."""
    return [step(i, "x", lane, None, {"kept_tokens": n, "kept_mass": mass}) for i, (n, mass) in enumerate(pairs)]


def titles(figures: Sequence[Figure]) -> list[str]:
    return [figure.layout.title.text.removesuffix(" by position") for figure in figures]


def test_each_lane_is_one_line_of_its_own_numbers_and_tokens() -> None:
    lanes = [[step(i, " x", lane) for i in range(5)] for lane in range(3)]
    for name in ("temperature", "entropy"):
        figure = chart(lanes, heads("edt", "edt", "edt"), BASIC[name])
        assert [line.type for line in figure.data] == ["scatter"] * 3
        assert [list(line.y) for line in figure.data] == [[getattr(s, name) for s in steps] for steps in lanes]
        assert [list(line.text) for line in figure.data] == [["␣x"] * 5] * 3
        assert [line.meta for line in figure.data] == [0, 1, 2]
        assert len({(line.line.color, line.line.dash) for line in figure.data}) == 3
    surprisal = chart(lanes, heads("edt", "edt", "edt"), BASIC["surprisal"])
    assert list(surprisal.data[1].y) == [-s.logprob for s in lanes[1]]


def test_an_empty_lane_is_drawn_as_nothing() -> None:
    assert list(chart([[]], heads("edt"), BASIC["temperature"]).data[0].x) == []


def test_a_token_the_model_ruled_out_is_a_gap_not_infinity() -> None:
    lanes = [[replace(step(0, "x"), logprob=-float("inf")), step(1, "y")]]
    assert list(chart(lanes, heads("edt"), BASIC["surprisal"]).data[0].x) == [2]  # the second token


def test_a_channel_is_drawn_for_the_lanes_and_steps_that_have_it() -> None:
    lanes = [[step(i, "x", 0) for i in range(5)], [step(i, "x", 1, None, channels("measured", i)) for i in range(5)]]
    (line,) = chart(lanes, heads("edt", "edt"), OWN["amount"]).data
    assert (line.name, list(line.x), list(line.y)) == ("Lane 2", [2, 3, 4, 5], [0.25, 0.5, 0.75, 1.0])
    assert line.line.dash == "dash"  # the mark of its lane
    figure = chart(lanes, heads("edt", "edt"), OWN["author"])
    assert list(figure.data[0].y) == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert list(figure.layout.yaxis.ticktext) == ["small model", "large model"]


def test_a_target_is_a_level_line_in_its_lanes_colour() -> None:
    lanes = [[step(i, "x", 1, None, channels("measured", i)) for i in range(5)] for _ in range(2)]
    figure = chart(lanes, heads("edt", "measured:aim_bits=2.5"), OWN["amount"])
    (line,) = figure.layout.shapes
    assert (line.y0, line.y1, line.line.color) == (2.5, 2.5, figure.data[1].line.color)


def test_the_first_chart_is_that_of_the_overlay_or_of_what_the_lanes_show() -> None:
    lanes = [kept(lane, *((3.0 + i, 0.9 - i / 10) for i in range(5))) for lane in (0, 1)]
    plain, cut = heads("edt", "edt"), heads("edt", "min-p")
    assert titles(charts(lanes, plain)) == ["Temperature", "Entropy"]
    assert titles(charts(lanes, plain, "entropy")) == ["Entropy", "Temperature"]
    assert titles(charts(lanes, plain, "surprisal")) == ["Surprisal", "Temperature"]
    assert titles(charts(lanes, cut))[:2] == ["Temperature", "Candidates"]
    assert titles(charts(lanes, heads("min-p", "min-p")))[0] == "Candidates"
    assert titles(charts(lanes, cut, "kept_mass"))[0] == "Kept mass"
    for unknown in ("", "none", "own", "amount", "<b>"):
        assert titles(charts(lanes, plain, unknown)) == ["Temperature", "Entropy"]


@pytest.mark.parametrize(
    ("spec", "shows"),
    [
        ("edt", "temperature"),
        ("fixed:temperature=0.7", "temperature"),
        ("min-p", "kept_tokens"),
        ("fixed:top_p=0.9", "kept_tokens"),
        ("fixed:top_k=40", "kept_mass"),
        ("edt:min_p=0.1", "temperature"),
        ("mirostat-v2", "surprise_bits"),
        ("best-of-n", "agreement"),
        ("long-horizon", "ess"),
        ("kl-guided", "temperature"),
    ],
)
def test_a_lane_shows_first_where_its_policy_does_something(spec: str, shows: str) -> None:
    parsed: Spec = CATALOGUE.parse(spec)
    assert Heading(parsed).to_record()["shows"] == parsed.shows == shows


def test_every_policy_shows_the_temperature_or_a_channel_it_has() -> None:
    for kind in CATALOGUE.kinds:
        assert kind.shows in ("", *(channel.name for channel in kind.channels), "kept_tokens"), kind.name


def test_a_long_line_is_smoothed_says_so_and_stays_faint_behind() -> None:
    for count, lines in ((SMOOTH_FROM - 1, 1), (SMOOTH_FROM, 2)):
        steps = [step(i, "x", 0) for i in range(count)]
        figure = chart([steps], heads("edt"), BASIC["entropy"])
        assert len(figure.data) == lines
        assert (f"mean of {WINDOW} tokens" in figure.layout.title.text) == (lines == 2)
    raw, smooth = figure.data
    assert list(raw.y) == [s.entropy for s in steps]
    assert raw.opacity < 0.5
    assert list(smooth.y) == moving_mean([s.entropy for s in steps])
    assert smooth.meta is None  # only the tokens' own points point at tokens


def test_a_moving_mean_is_centred_and_narrower_at_the_ends() -> None:
    assert moving_mean([1, 2, 3, 4, 5], 3) == [1.5, 2.0, 3.0, 4.0, 4.5]
    assert moving_mean([7.0] * 9, 5) == [7.0] * 9
    assert moving_mean([], 5) == []


@pytest.mark.parametrize(
    "text", ["<a href='//evil'>x</a>", "<b>", "&lt;", "\u202eevil\u202c", "%{x}", "\x1b[31m", "x" * 900]
)
def test_a_hover_label_holds_no_markup_and_nothing_that_turns_it(text: str) -> None:
    shown = spelled(text)
    assert "<" not in shown
    assert ">" not in shown
    assert not set("\u202e\u202c\x1b") & set(shown)
    assert len(shown) < 250


def test_no_chart_of_the_page_brings_plotlys_buttons() -> None:
    epochs = [{"epoch": 1, "loss": 0.5, "held_out_loss": 0.6, "held_out_accuracy": 0.7}]
    drawn = (
        loss_chart(epochs), accuracy_chart(epochs), drawn_chart([(0.5, 1, 2)], "tokens"), predicted_chart(),
        predicted_chart([0.1], [1.0], [1.0]), curve_chart({0.5: 1.0}), chart([[step(0, "x")]], heads("edt"), BASIC["entropy"]),
    )  # fmt: skip
    for figure in drawn:
        told = json.loads(figure.to_json())
        assert told["config"]["displayModeBar"] is False
        assert told["layout"]["dragmode"] is False


def test_without_a_value_there_is_no_chart() -> None:
    assert charts([[], []], heads("edt", "min-p")) == []
    assert charts([[], []], heads("edt", "min-p"), "entropy") == []
    steps = [step(i, "x") for i in range(5)]
    for overlay in ("", "kept_tokens"):
        assert titles(charts([steps, []], heads("edt", "min-p"), overlay)) == ["Temperature", "Entropy"]
    for figure in charts([steps, []], heads("edt", "edt")):
        assert [len(line.x) for line in figure.data] == [5, 0]


@pytest.mark.parametrize("preset", ["easy", "normal", "hard"])
def test_a_probe_that_was_not_asked_has_no_channels(preset: str) -> None:
    (by_hand,), (asked,) = heads(f"difficulty-router:preset={preset}"), heads("difficulty-router:preset=auto")
    assert [channel.name for channel in by_hand.channels] == []
    assert [channel.name for channel in asked.channels] == ["easy", "normal", "hard"]
    assert [channel.name for channel in heads(f"difficulty-router:preset={preset},top_k=5")[0].channels] == [
        "kept_mass",
        "kept_tokens",
    ]


def test_a_channel_that_never_varied_is_drawn_only_where_it_is_asked_for() -> None:
    flat, other = kept(0, *[(5.0, 0.5)] * 5), kept(0, *((5.0, 0.5 + i / 10) for i in range(5)))
    assert titles(charts([flat], heads("min-p"))) == ["Entropy", "Temperature"]
    assert titles(charts([flat], heads("min-p"), "kept_tokens")) == ["Candidates", "Temperature"]
    assert titles(charts([other], heads("min-p"))) == ["Kept mass", "Temperature", "Entropy"]


def test_charts_count_tokens_from_one_as_cards_do() -> None:
    figure = chart([[step(i, "x") for i in range(30)]], heads("edt"), BASIC["entropy"])
    assert list(figure.data[0].x) == list(range(1, 31))
    assert figure.layout.xaxis.title.text == "token"


def test_a_single_token_is_a_point_that_can_be_seen() -> None:
    figure = chart([[step(0, "x")], [step(i, "x") for i in range(5)]], heads("edt", "edt"), BASIC["entropy"])
    assert [line.mode for line in figure.data] == ["lines+markers", "lines"]
    assert figure.layout.xaxis.dtick == 1


def test_a_hover_label_says_a_value_as_the_card_does() -> None:
    steps = [step(i, "x", 0, None, channels("measured", i)) for i in range(4)]
    assert list(chart([steps], heads("measured"), OWN["author"]).data[0].customdata) == [
        "large model", "small model", "small model", "large model",
    ]  # fmt: skip
    assert list(chart([steps], heads("measured"), OWN["running"]).data[0].customdata) == [
        "−1.00",
        "0.00",
        "1.00",
        "2.00",
    ]
    own = {scale.name: scale for scale in channel_scales([KEPT])}
    line = chart([kept(0, (1, 1.0), (9458, 0.00123), (250, 0.5))], heads("min-p"), own["kept_tokens"]).data[0]
    assert list(line.customdata) == ["1", "9,458", "250"]
    line = chart([kept(0, (1, 1.0), (9458, 0.00123), (250, 0.5))], heads("min-p"), own["kept_mass"]).data[0]
    assert list(line.customdata) == ["1.00", "0.0012", "0.50"]
    assert "%{y" not in line.hovertemplate


def test_candidates_are_drawn_by_decades_and_kept_mass_not_from_zero() -> None:
    own, lanes = {scale.name: scale for scale in channel_scales([KEPT])}, [kept(0, (1, 0.99), (9458, 1.0))]
    assert chart(lanes, heads("min-p"), own["kept_tokens"]).layout.yaxis.type == "log"
    assert chart(lanes, heads("min-p"), own["kept_mass"]).layout.yaxis.rangemode is None
    assert chart(lanes, heads("min-p"), BASIC["entropy"]).layout.yaxis.rangemode == "tozero"
