"""What the page draws: counted tokens, cards and figures, and scales that can be read."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from playground.decoding.policies.catalogue import catalogue
from playground.decoding.policies.spec import KEPT, Channel, PolicyKind
from playground.decoding.trace import Alternative, Request, TokenStep
from playground.ui.render import figures, inspection, note, wire_token
from playground.ui.scales import INK, channel_scales, contrast, luminance, scales
from tests.scripted import MEASURED, channels, header, measured_catalogue, step

REQUEST = Request("hello")


def test_numbers_cross_the_wire_as_they_are_recorded() -> None:
    one = replace(step(5, " x"), temperature=0.123456789, logprob=-math.inf)
    assert wire_token(one) == [" x", 0.123456789, one.entropy, None]
    two = replace(one, channel={"b": 0.987654321, "a": 2.0})
    assert wire_token(two, ("a", "b", "c"))[4:] == [2.0, 0.987654321, None]


def test_the_card_pairs_the_grid_with_its_probabilities_and_adds_the_drawn_token() -> None:
    one = step(1, " upon")
    card = inspection(one, header(REQUEST, "adaptive-token"))
    assert [row[:2] for row in card["grid"]] == [(0.0, 0.2), (0.4, 0.2), (0.8, 0.2), (1.2, 0.4)]
    assert [chosen for *_, chosen in card["grid"]] == [False, False, False, True]
    assert card["alternatives"][-1] == (" upon", math.exp(one.logprob), math.exp(one.logprob_drawn), True)
    assert card["prob"] == pytest.approx(math.exp(one.logprob))


def cut_step(temperature: float, *after: float) -> TokenStep:
    """Three candidates of p = .5, .25, .125 at T = 1; the first is drawn."""
    others = tuple(Alternative(i, str(i), p, q) for i, (p, q) in enumerate(zip((0.5, 0.25, 0.125), after, strict=True)))
    drawn = {"token_id": 0, "logprob": math.log(0.5), "logprob_drawn": math.log(after[0])}
    return replace(step(0, "0", lane=1), temperature=temperature, alternatives=others, **drawn)


@pytest.mark.parametrize(
    ("temperature", "after", "cut"),
    [
        (1.0, (0.8, 0.2, 0.0), 0.125),
        (1.0, (1.0, 0.0, 0.0), 0.375),
        (0.02, (1.0, 1e-15, 0.0), 0.125),  # 2^−100 would still be a float32
        (0.005, (1.0, 0.0, 0.0), 0.0),  # 2^−200 is not: nothing says that these were cut
        (0.0, (1.0, 0.0, 0.0), 0.0),  # greedy
        (1.0, (0.5, 0.25, 0.125), 0.0),
    ],
)
def test_what_a_mask_removed_is_told_from_what_a_low_temperature_left_nothing_of(
    temperature: float, after: tuple[float, ...], cut: float
) -> None:
    card = inspection(cut_step(temperature, *after), header(REQUEST, "fixed", lane=1))
    assert card["cut"] == cut
    assert sum(row[1] for row in card["alternatives"] if row[2] is None) == cut


def test_a_policy_without_a_grid_has_none_on_its_card() -> None:
    assert inspection(step(0, "a", lane=1), header(REQUEST, "fixed", lane=1))["grid"] is None


def test_figures_are_those_of_the_counted_steps() -> None:
    steps = [step(i, ["", "a", "b", "c", "d"][1 + i % 4] + " ") for i in range(8)]
    shown = dict(figures(steps, 2.0, "length"))
    temperatures = [s.temperature for s in steps]
    assert shown["tokens"] == "8"
    assert shown["mean temperature"] == f"{sum(temperatures) / 8:.2f}"
    assert shown["range"] == "0.00 – 1.20"
    assert shown["repeated 4-grams"] == "20.0 %"  # abcd bcda cdab dabc abcd: one of five repeats
    assert shown["tokens per second"] == "4.0"
    assert "precision" not in shown
    assert dict(figures(steps, 2.0, "length", precision="bfloat16"))["precision"] == "bfloat16"
    assert dict(figures([], None, "cancelled"))["tokens"] == "0"


def test_a_lanes_figures_name_the_means_of_its_policys_channels() -> None:
    steps = [step(i, "a ", channel=channels("measured", i)) for i in range(5)]
    spec = measured_catalogue().parse("measured:aim_bits=2.5")
    shown = dict(figures(steps, 1.0, "length", spec))
    assert shown["mean amount"] == "0.62 bits (0.43 nats), target 2.5"  # 2.5 bits over the four steps that have one
    assert shown["by the large"] == "40.0 %"
    assert not any("unning" in name for name in shown)  # its figure is "": a mean of a running number says nothing
    assert note(steps, spec) == "5 tokens aimed at 2.5."
    assert note([], spec) == ""


def test_of_more_than_two_kinds_each_has_its_share() -> None:
    quadrant = Channel("quadrant", "Quadrant", "", "", 0.0, 3.0, words=("a", "b", "c", "d"))
    kind = PolicyKind("k", "K", "", "", "", (), channels=(quadrant,))
    spec = replace(measured_catalogue().parse("measured"), kind=kind)
    steps = [step(i, "x", channel={"quadrant": float(kind)}) for i, kind in enumerate((0, 2, 2, 3))]
    assert dict(figures(steps, 1.0, "length", spec))["quadrant"] == "a 25 % · c 50 % · d 25 %"


@pytest.mark.parametrize(
    ("unit", "values", "said"),
    [
        ("tokens", (1.0, 1.0), "1 token"),
        ("tokens", (5.0, 5.0), "5 tokens"),
        ("tokens", (1.0, 2.0), "1.50 tokens"),
        ("tokens", (9458.0, 9459.0), "9,458 tokens"),
        ("times", (1.0,), "1 time"),
        ("particles", (1.0,), "1.00 particles"),
        ("", (1.0,), "1.00"),
        ("× large", (1.0,), "1.00 × large"),
        ("", (0.00123,), "0.0012"),
        ("bits", (1.0,), "1.00 bits (0.69 nats)"),
    ],
)
def test_a_count_is_whole_and_one_is_singular(unit: str, values: tuple[float, ...], said: str) -> None:
    channel = Channel("c", "Amount", unit, "", 0.0, 9.0)
    spec = replace(
        measured_catalogue().parse("measured"), kind=PolicyKind("k", "K", "", "", "", (), channels=(channel,))
    )
    steps = [step(i, "x", channel={"c": value}) for i, value in enumerate(values)]
    assert dict(figures(steps, 1.0, "length", spec))["mean amount"] == said


def test_candidates_lie_by_decades_and_kept_mass_by_nines() -> None:
    mass, tokens = channel_scales([KEPT])
    assert (tokens.spacing, tokens.ticks) == ("log", (1, 10, 100, 1000))
    assert (mass.spacing, mass.ticks) == ("nines", (0, 0.5, 0.9, 0.99, 1))


def test_a_negative_mean_has_a_minus_sign() -> None:
    gap = Channel("gap", "Gap", "nats", "", -2.0, 2.0, 0.0)
    spec = replace(measured_catalogue().parse("measured"), kind=PolicyKind("k", "K", "", "", "", (), channels=(gap,)))
    steps = [step(i, "x", channel={"gap": -0.5}) for i in range(3)]
    assert dict(figures(steps, 1.0, "length", spec))["mean gap"] == "−0.50 nats"


def test_no_channel_takes_the_name_of_an_overlay_that_every_lane_has() -> None:
    taken = {scale.name for scale in scales()} | {"none"}
    kinds: list[PolicyKind] = [*catalogue({}).kinds, MEASURED]
    for kind in kinds:
        names = [channel.name for channel in kind.channels]
        assert not taken & set(names)
        assert len(set(names)) == len(names)
        assert not {channel.name for channel in KEPT} & {*taken, *names}
        for channel in (*kind.channels, *KEPT):
            assert channel.low < channel.high
            assert len(channel.words) in (0, channel.high - channel.low + 1)
            assert channel.title
            assert channel.target in ("", *(key.name for key in kind.keys))


def test_a_channel_has_one_scale_whichever_lanes_have_it() -> None:
    amount, author, running = MEASURED.channels
    wider = replace(amount, low=-1.0, high=10.0, title="Another")
    (scale,) = channel_scales([(amount,), (), (wider,)])
    assert (scale.title, scale.low, scale.high) == ("Amount", -1.0, 10.0)
    assert [s.words for s in channel_scales([(author,)])] == [author.words]
    (diverging,) = channel_scales([(running,)])
    assert diverging.centre == 1.0
    assert diverging.light == scales()[0].light
    assert channel_scales([(), ()]) == ()


@pytest.mark.parametrize(
    ("low", "high", "centre", "ticks"),
    [
        (0.0, 5.0, None, (0, 1, 2, 3, 4, 5)),
        (0.0, 1.0, None, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (1.0, 4.0, None, (1, 2, 3, 4)),
        (1.0, 16.0, None, (1, 5, 10, 16)),
        (1.0, 8.0, None, (1, 2, 4, 6, 8)),
        (-1.0, 3.0, 1.0, (-1, 0, 1, 2, 3)),
        (0.0, 12.0, None, (0, 2.5, 5, 7.5, 10, 12)),
    ],
)
def test_ticks_are_round_and_hold_both_ends(low: float, high: float, centre: float | None, ticks: object) -> None:
    (scale,) = channel_scales([(Channel("c", "C", "", "", low, high, centre),)])
    assert scale.ticks == ticks


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_on_every_colour_and_lightness_alone_orders_a_sequential_scale(theme: str) -> None:
    for scale in scales():
        stops = getattr(scale, theme)
        assert min(contrast(stop, INK[theme]) for stop in stops) >= 4.5  # type: ignore[index]
        values = [luminance(stop) for stop in stops]
        if scale.name != "temperature":
            assert values == sorted(values, reverse=theme == "light")
        assert scale.ticks[0] == scale.low
        assert scale.ticks[-1] == scale.high


def test_temperature_is_neutral_at_the_usual_fixed_choice() -> None:
    scale = next(scale for scale in scales() if scale.name == "temperature")
    assert (scale.low + scale.high) / 2 == pytest.approx(0.7)
    middle = scale.light[len(scale.light) // 2]
    channels = [int(middle[i : i + 2], 16) for i in (1, 3, 5)]
    assert max(channels) - min(channels) <= 8


def test_tokens_that_stand_for_no_text_are_called_by_their_names() -> None:
    one = replace(step(0, ""), token_id=9, alternatives=(Alternative(7, "", 0.5, 0.5), Alternative(8, " a", 0.3, 0.3)))
    names = {7: "end of reply", 9: "<unk>"}
    card = inspection(one, header(REQUEST, "fixed", lane=1), names)
    assert card["name"] == "<unk>"
    assert card["names"] == ["end of reply", None, "<unk>"]
    assert len(card["names"]) == len(card["alternatives"])
    unnamed = inspection(one, header(REQUEST, "fixed", lane=1))
    assert (unnamed["name"], set(unnamed["names"])) == (None, {None})
