"""Charts hold the numbers of the steps, as plain lines."""

from __future__ import annotations

from playground.ui.charts import channel_chart, entropy_chart, temperature_chart
from playground.ui.heading import Heading
from tests.scripted import MEASURED, channels, measured_catalogue, step


def test_each_lane_is_one_plain_line_of_its_own_numbers() -> None:
    lanes = [[step(i, "x", lane) for i in range(5)] for lane in range(3)]
    for chart, name in ((temperature_chart, "temperature"), (entropy_chart, "entropy")):
        figure = chart(lanes, ["Lane 1", "Lane 2", "Lane 3"])
        assert [trace.type for trace in figure.data] == ["scatter"] * 3
        assert [list(trace.y) for trace in figure.data] == [[getattr(s, name) for s in steps] for steps in lanes]
        assert len({(trace.line.color, trace.line.dash) for trace in figure.data}) == 3


def test_an_empty_lane_is_drawn_as_nothing() -> None:
    assert list(temperature_chart([[]], ["Lane 1"]).data[0].x) == []


def test_a_channel_is_drawn_for_the_lanes_and_steps_that_have_it() -> None:
    lanes = [[step(i, "x", 0) for i in range(5)], [step(i, "x", 1, None, channels("measured", i)) for i in range(5)]]
    amount, author, _ = MEASURED.channels
    (line,) = channel_chart(lanes, ["Lane 1", "Lane 2"], amount).data
    assert (line.name, list(line.x), list(line.y)) == ("Lane 2", [1, 2, 3, 4], [0.25, 0.5, 0.75, 1.0])
    assert line.line.dash == "dash"  # the mark of its lane
    chart = channel_chart(lanes, ["Lane 1", "Lane 2"], author)
    assert list(chart.data[0].y) == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert list(chart.layout.yaxis.ticktext) == ["small model", "large model"]


def test_a_target_is_a_level_line_in_its_lanes_colour() -> None:
    lanes = [[step(i, "x", 1, None, channels("measured", i)) for i in range(5)] for _ in range(2)]
    headings = [Heading(measured_catalogue().parse(spec)) for spec in ("fixed", "measured:aim_bits=2.5")]
    amount = MEASURED.channels[0]
    chart = channel_chart(lanes, ["Lane 1", "Lane 2"], amount, [heading.target(amount) for heading in headings])
    (line,) = chart.layout.shapes
    assert (line.y0, line.y1, line.line.color) == (2.5, 2.5, chart.data[1].line.color)
