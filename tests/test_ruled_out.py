"""Tokens that a model rules out count for nothing, however they are marked: every policy, filter and statistic is what it
is over the other tokens alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from models.tempnet import TempNet
from playground.decoding.distribution import Distribution
from playground.decoding.filters import Filters
from playground.decoding.policies.base import Donor, Drawn, Resources, Row, State
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.policies.matched import constant_temperature
from playground.decoding.sampling import FILTER_OFF
from playground.training.predictors import ranked, robust
from tests.table_lm import no_head

MARKS = {
    "-inf": -math.inf,
    "smallest float32": torch.finfo(torch.float32).min,
    "smallest bfloat16": torch.finfo(torch.bfloat16).min,
    "smallest float16": torch.finfo(torch.float16).min,
    "-1e9": -1e9,
    "-1e4": -1e4,
}
OPEN, VOCABULARY, ROWS = 300, 2000, 6
POLICIES = (
    "edt",
    "aldr",
    "aldr:a=1.0,l0=1.5",
    "target-entropy",
    "target-entropy:high=5.0,nats=6.0",
    "forking",
    "quadrants",
    "quadrants:kept=0,varentropy_bits2=0.5",
    "kl-guided",
    "mirostat-v1:tau_bits=2.0",
    "mirostat-v1:tau_bits=4.0",
    "mirostat-v2:tau_bits=2.0",
)
SETTINGS = (
    {"top_k": 5},
    {"top_k": 290},
    {"top_k": 1000},
    {"top_p": 0.5},
    {"top_p": 0.999},
    {"min_p": 0.05},
    {"typical_p": 0.2},
    {"typical_p": 0.95},
    {"eta_cutoff": 0.01},
    {"top_n_sigma": 0.5},
    {"top_n_sigma": 1.0},
    {"top_n_sigma": 3.0},
)
each_mark = pytest.mark.parametrize("mark", MARKS.values(), ids=MARKS.keys())
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def logits_of(seed: int, dtype: torch.dtype, rows: int = ROWS) -> Tensor:
    """Rows [B, OPEN] from nearly flat to peaked."""
    noise = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-0.5, 0.8, rows, dtype=dtype)[:, None]
    return torch.randn(rows, OPEN, dtype=dtype, generator=noise) * scale


def places(seed: int = 0) -> Tensor:
    """Where the possible tokens stand in the whole vocabulary."""
    return torch.randperm(VOCABULARY, generator=torch.Generator().manual_seed(seed))[:OPEN].sort().values


def widened(logits: Tensor, mark: float) -> Tensor:
    """The same rows in a vocabulary of VOCABULARY tokens, of which the others are ruled out."""
    wide = torch.full((len(logits), VOCABULARY), mark, dtype=torch.float64)
    wide[:, places()] = logits.double()
    return wide.to(logits.dtype)


@each_mark
@each_dtype
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_a_filter_keeps_the_same_tokens(setting: dict[str, float], dtype: torch.dtype, mark: float) -> None:
    narrow = logits_of(1, dtype)
    filters = Filters([{**FILTER_OFF, **setting}] * ROWS)
    for heat in (0.6, 1.0, 1.8):
        heats = torch.full((ROWS,), heat, dtype=torch.float64)
        few, many = (filters(Distribution(x).tempered(heats)) for x in (narrow, widened(narrow, mark)))
        torch.testing.assert_close(many.probs[:, places()], few.probs, atol=1e-6, rtol=1e-4)
        assert torch.equal(many.probs[:, places()] > 0, few.probs > 0)
        assert float(many.probs.sum()) == pytest.approx(ROWS)
        torch.testing.assert_close(many.entropy, few.entropy, atol=1e-5, rtol=1e-5)
        for (mass, count), (other, number) in zip(many.kept(range(ROWS)), few.kept(range(ROWS)), strict=True):
            assert (mass, count) == (pytest.approx(other, abs=1e-5), number)


@each_mark
@each_dtype
def test_the_statistics_are_the_same(dtype: torch.dtype, mark: float) -> None:
    narrow = logits_of(2, dtype)
    few, many = Distribution(narrow), Distribution(widened(narrow, mark))
    assert many.possible == few.possible == [OPEN] * ROWS
    for heat in (None, 0.3, 2.5):
        if heat is not None:
            few, many = (x.tempered(torch.full((ROWS,), heat, dtype=torch.float64)) for x in (few, many))
        torch.testing.assert_close(many.entropy, few.entropy, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(many.varentropy, few.varentropy, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(many.log_total, few.log_total, atol=1e-6, rtol=1e-6)
        ids, _ = few.largest(5)
        assert torch.equal(many.largest(5)[0], places()[ids])
        torch.testing.assert_close(many.prob(places()[ids]), few.prob(ids), atol=1e-6, rtol=1e-4)
        u = torch.linspace(0.01, 0.99, ROWS, dtype=torch.float64)
        assert torch.equal(many.draw(u), places()[few.draw(u)])
        few, many = Distribution(narrow), Distribution(widened(narrow, mark))


@each_mark
@each_dtype
@pytest.mark.parametrize("spec", POLICIES)
def test_a_policy_decides_the_same(spec: str, dtype: torch.dtype, mark: float) -> None:
    parsed = catalogue({}).parse(spec)
    build = parsed.kind.build
    assert build is not None
    rows = tuple(Row(parsed, replica) for replica in range(ROWS))
    pair = [(build(rows, Resources(no_head)), State(rows)) for _ in range(2)]
    for position in range(6):
        narrow, free = logits_of(10 + position, dtype), logits_of(50 + position, dtype)
        seen = []
        for (policy, state), (x, other) in zip(
            pair, ((narrow, free), (widened(narrow, mark), widened(free, mark))), strict=True
        ):
            state.position = position
            state.source_free = Distribution(other)
            now = Distribution(x)
            decision = policy.decide(now, torch.zeros(ROWS, 1), state)
            after = now.tempered(decision.temperature)
            after = after if decision.keep is None else after.keeping(decision.keep)
            drawn = Drawn.by(torch.linspace(0.05, 0.95, ROWS, dtype=torch.float64), now, after)
            channel = {**decision.channel, **policy.observe(drawn, state)}
            seen.append((decision.temperature, after, channel, drawn))
        (heat, few, said, drew), (other_heat, many, also, also_drew) = seen
        torch.testing.assert_close(other_heat, heat, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(many.probs[:, places()], few.probs, atol=1e-4, rtol=1e-3)
        assert torch.equal(also_drew.tokens, places()[drew.tokens])
        for name, values in said.items():
            torch.testing.assert_close(also[name].double(), values.double(), atol=1e-3, rtol=1e-3)


@each_mark
def test_tempnet_reads_the_other_tokens_alone(mark: float) -> None:
    torch.manual_seed(0)
    wide = TempNet(VOCABULARY, full=True, width=8).double().eval()
    narrow = TempNet(OPEN, full=True, width=8).double().eval()
    narrow.load_state_dict({**wide.state_dict(), "first.weight": wide.first.weight[:, places()]})
    logits = logits_of(3, torch.float32)
    hidden = torch.zeros(ROWS, 4)
    found = wide(widened(logits, mark), hidden)
    torch.testing.assert_close(found, narrow(logits, hidden), atol=1e-5, rtol=1e-5)
    assert len(set(found.tolist())) == ROWS
    folded = TempNet(4, full=False, width=8).double().eval()
    states = torch.randn(ROWS, 4)
    torch.testing.assert_close(folded(widened(logits, mark), states), folded(logits, states), atol=1e-5, rtol=1e-5)


@each_mark
def test_a_constant_is_matched_over_the_other_tokens(mark: float) -> None:
    logits = logits_of(4, torch.float32)
    donor = Donor((1.0,) * ROWS, (2.5,) * ROWS, lambda: logits)
    assert donor.logits is not None
    assert constant_temperature([widened(logits, mark).double()], 2.5) == pytest.approx(
        constant_temperature([donor.logits().double()], 2.5), abs=1e-6
    )


@each_mark
def test_what_the_predictors_learn_from_is_the_same(mark: float) -> None:
    logits, labels = logits_of(5, torch.float32), [3, 50, 120, 200, 250, 299]
    wide, placed = widened(logits, mark), places()[labels]
    few = robust.curves(logits, torch.tensor(labels), 0.1, 2.0)
    many = robust.curves(wide, placed, 0.1, 2.0)
    for name in ("value", "slope", "miss", "length"):
        torch.testing.assert_close(getattr(many, name), getattr(few, name), atol=1e-4, rtol=1e-4)
    packed, also = ranked._packed(logits, labels), ranked._packed(wide, placed.tolist())
    for name, values in packed.items():
        torch.testing.assert_close(also[name], values, atol=1e-4, rtol=1e-4)


@each_mark
@pytest.mark.parametrize("spec", ["mirostat-v1:tau_bits=3.0", "mirostat-v2:tau_bits=3.0"])
def test_mirostat_does_not_wind_up_beyond_what_is_possible_nor_fall_where_little_is(spec: str, mark: float) -> None:
    parsed = catalogue({}).parse(spec)
    assert parsed.kind.build
    rows = (Row(parsed),)
    policy, state = parsed.kind.build(rows, Resources(no_head)), State(rows)
    sure = torch.full((1, OPEN), -60.0)
    sure[0, 0] = 0.0
    forced = torch.full((1, VOCABULARY), mark)
    forced[0, 7] = 1.0
    for logits, low, high in ((forced, 6.0, 6.0), *[(widened(sure, mark), 6.0, math.log2(OPEN))] * 40):
        now = Distribution(logits)
        decision = policy.decide(now, torch.zeros(1, 1), state)
        assert low - 1e-9 <= float(decision.channel["mu"]) <= high + 1e-9
        after = now if decision.keep is None else now.keeping(decision.keep)
        policy.observe(Drawn.by(torch.tensor([0.5], dtype=torch.float64), now, after), state)
        state.position += 1
    assert float(decision.channel["mu"]) == pytest.approx(math.log2(OPEN))


def test_a_row_without_such_tokens_has_the_same_bits_beside_one_with_them() -> None:
    narrow = torch.randn(3, VOCABULARY, generator=torch.Generator().manual_seed(0))
    mixed = torch.cat([narrow, widened(logits_of(6, torch.float32, 1), -math.inf)])
    settings: Sequence[dict[str, float]] = [{**FILTER_OFF, "top_n_sigma": 1.0}] * 4
    alone, beside = Filters(settings[:3])(Distribution(narrow)), Filters(settings)(Distribution(mixed))
    assert torch.equal(alone.probs, beside.probs[:3])


@each_mark
@pytest.mark.parametrize("full", [True, False])
def test_tempnet_is_finite_where_one_token_is_left(mark: float, full: bool) -> None:
    net = TempNet(VOCABULARY if full else 4, full=full, width=8).double().eval()
    only = torch.full((2, VOCABULARY), mark)
    only[:, 5] = torch.tensor([3.0, -2.0])
    assert torch.isfinite(net(only, torch.randn(2, 4))).all()
