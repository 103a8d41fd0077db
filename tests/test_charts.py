"""Charts hold the numbers of the steps, as plain lines."""

from __future__ import annotations

from playground.ui.charts import entropy_chart, temperature_chart
from tests.scripted import step


def test_each_lane_is_one_plain_line_of_its_own_numbers() -> None:
    lanes = [[step(i, "x", lane) for i in range(5)] for lane in range(3)]
    for chart, name in ((temperature_chart, "temperature"), (entropy_chart, "entropy")):
        figure = chart(lanes, ["Lane 1", "Lane 2", "Lane 3"])
        assert [trace.type for trace in figure.data] == ["scatter"] * 3
        assert [list(trace.y) for trace in figure.data] == [[getattr(s, name) for s in steps] for steps in lanes]
        assert len({(trace.line.color, trace.line.dash) for trace in figure.data}) == 3


def test_an_empty_lane_is_drawn_as_nothing() -> None:
    assert list(temperature_chart([[]], ["Lane 1"]).data[0].x) == []
