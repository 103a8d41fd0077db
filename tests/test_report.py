"""The report: one file that needs no network, whose text cannot become markup, and whose tables hold the figures."""

import json
import re

from playground.training.evaluation import report_charts as charts
from playground.training.evaluation.report import Page, interval, table


def figure(mean: float, half: float | None = 0.1) -> dict:
    return {"mean": mean, "half": half, "count": 9}


def row(name: str, kind: str, mean: float, gain: dict | None = None) -> dict:
    found = {"name": name, "kind": kind, "score": figure(mean), "strata": {"x": figure(mean), "y": figure(mean / 2)}}
    return found if gain is None else {**found, "head_minus": gain, "head_wins": figure(0.5 + gain["mean"])}


HEAD = row("head", "head", 0.5)
SURE, UNSURE = row("T 0", "fixed", 0.2, figure(0.3)), row("T 1", "fixed", 0.45, figure(0.05))


def test_a_page_is_one_file_whose_text_is_never_markup(tmp_path):
    page = Page("A <b> title")
    page.add("p", "</script><script>alert(1)</script>")
    page.chart("Chart", {"data": [{"name": "</script><script>alert(2)</script>"}], "layout": {}})
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in text
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=", text)
    assert "<h1>A &lt;b&gt; title</h1>" in text
    held = re.search(r'<script type="application/json" id="charts">(.*?)</script>', text, re.DOTALL)
    assert held is not None
    assert json.loads(held[1])[0]["data"][0]["name"] == "</script><script>alert(2)</script>"


def test_only_a_difference_whose_interval_lies_above_0_stands_out():
    lines = table([HEAD, SURE, UNSURE], ["x", "y"]).split("<tr")
    assert [("won" in line) for line in lines[2:]] == [False, True, False]
    assert "+0.300 ± 0.100" in lines[3]
    assert interval(figure(-0.5, None)) == "-0.500 ± ∞"


def test_the_points_of_a_difference_are_the_figures_and_coloured_by_their_interval():
    chart = charts.differences({"policies": [HEAD, SURE, UNSURE]}, ["T 0", "T 1"])
    (points,) = chart["data"]
    assert points["x"] == [0.3, 0.05]
    assert points["marker"]["color"] == [charts.HEAD, charts.INK]


def test_a_difference_of_one_cluster_has_no_interval_and_wins_nothing():
    alone, equal = row("T 0", "fixed", 0.2, figure(0.3, None)), row("T 1", "fixed", 0.45, figure(0.05, 0.0))
    (points,) = charts.differences({"policies": [HEAD, alone, equal]}, ["T 0", "T 1"])["data"]
    assert points["marker"]["color"] == [charts.INK, charts.HEAD]
    assert points["marker"]["symbol"] == ["circle-open", "circle"]
    assert ["won" in line for line in table([alone, equal], ["x", "y"]).split("<tr")[2:]] == [False, True]


def test_win_bars_start_at_one_half():
    (bars,) = charts.wins({"policies": [HEAD, SURE]}, ["T 0"])["data"]
    assert bars["base"] == 0.5
    assert bars["x"] == [0.30000000000000004]  # 0.8 − 0.5


def test_a_band_goes_up_one_side_and_down_the_other():
    rows = {f"T {t:g}": {"n": 4, **dict.fromkeys(("accuracy", "pass", "maj"), figure(0.5 - t / 4))} for t in (0.0, 1.0)}
    area, line = charts.accuracies(rows)["data"][:2]
    assert area["x"] == [0, 1, 1, 0]
    assert area["y"] == [0.6, 0.35, 0.15, 0.4]
    assert line["y"] == [0.5, 0.25]
    assert line["name"] == "pass@4"


def test_there_is_no_frontier_of_three_strata():
    assert charts.frontier({"strata": {"a": 1, "b": 1, "c": 1}, "policies": []}, (0.0,)) is None
