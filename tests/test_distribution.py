"""The distribution: its figures are the plain formulas', a row's bits are its own, and what is drawn follows it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from playground.decoding.distribution import BLOCK, Distribution, row_sums

V = 49_152


def logits_of(seed: int, rows: int = 6, size: int = V, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rows from nearly flat to all but certain, as a model's: a few large values over a wide bulk."""
    noise = torch.Generator().manual_seed(seed)
    bulk = torch.randn(rows, size, dtype=torch.float64, generator=noise) * 2.5
    best = torch.randint(size, (rows, 8), generator=noise)
    bulk.scatter_add_(-1, best, torch.logspace(0, 1.6, rows, dtype=torch.float64)[:, None].expand(-1, 8).contiguous())
    return bulk.to(dtype)


def uniforms(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [3, 255, 256, 257, V])
@pytest.mark.parametrize("heat", [0.05, 0.7, 1.0, 1.8])
def test_figures_are_those_of_the_plain_formulas_in_float64(size: int, heat: float) -> None:
    logits = logits_of(size, size=size)
    now = Distribution(logits).tempered(torch.full((6,), heat, dtype=torch.float64))
    logprobs = torch.log_softmax(logits.double() / heat, -1)
    probs = logprobs.exp()
    torch.testing.assert_close(now.probs, probs, rtol=5e-6, atol=1e-12)
    torch.testing.assert_close(now.entropy, torch.special.entr(probs).sum(-1), rtol=2e-6, atol=1e-14)
    surprise = -logprobs.clamp(min=-700)
    spread = (probs * (surprise - (probs * surprise).sum(-1, keepdim=True)).square()).sum(-1)
    torch.testing.assert_close(now.varentropy, spread, rtol=1e-4, atol=1e-6)
    tokens = now.draw(uniforms(6))
    torch.testing.assert_close(now.logprob(tokens), logprobs.gather(-1, tokens[:, None])[:, 0], rtol=1e-6, atol=2e-6)
    ids, values = now.largest(5)
    wanted = logits.topk(min(5, size))
    assert torch.equal(logits.gather(-1, ids), wanted.values)
    assert torch.equal(values, wanted.values)
    torch.testing.assert_close(now.prob(ids), probs.gather(-1, ids), rtol=5e-6, atol=1e-12)


def test_float64_logits_give_float64_figures() -> None:
    logits = logits_of(1, dtype=torch.float64)
    now = Distribution(logits)
    probs = torch.softmax(logits, -1)
    torch.testing.assert_close(now.probs, probs, rtol=1e-12, atol=1e-18)
    torch.testing.assert_close(now.entropy, torch.special.entr(probs).sum(-1), rtol=1e-12, atol=0)


def test_entropy_keeps_its_digits_where_the_model_is_all_but_certain() -> None:
    for gap in (10.0, 20.0, 40.0, 80.0):
        p = math.exp(-gap)
        exact = math.log1p(p) + gap * p / (1 + p)
        found = float(Distribution(torch.tensor([[0.0, -gap]])).entropy)
        assert found == pytest.approx(exact, rel=1e-5)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def everything(logits: Tensor, heat: Tensor, u: Tensor) -> list[Tensor]:
    """All that the engine takes from a distribution, row by row."""
    before = Distribution(logits)
    after = before.tempered(heat).keeping(before.at_least(before.top - 6.0))
    ids, values = before.largest(5)
    tokens = after.draw(u)
    figures = [x for now in (before, after) for x in (now.entropy, now.log_total, now.varentropy, now.logprob(tokens))]
    return [
        *figures,
        before.top,
        before.best,
        ids,
        values,
        before.prob(ids),
        after.prob(ids),
        tokens,
        row_sums(logits),
    ]


def test_a_row_has_the_same_bits_in_any_company_and_on_any_number_of_threads(threads: None) -> None:
    rows = 16
    logits, heat, u = logits_of(2, rows), torch.linspace(0.0, 1.5, rows, dtype=torch.float64), uniforms(rows)
    torch.set_num_threads(2)
    together = everything(logits, heat, u)
    for count in (1, 2):
        torch.set_num_threads(count)
        for start, stop in [(b, b + 1) for b in range(rows)] + [(0, 2), (3, 6), (5, 12), (0, 15)]:
            alone = everything(logits[start:stop], heat[start:stop], u[start:stop])
            for ours, whole in zip(alone, together, strict=True):
                assert torch.equal(ours, whole[start:stop])


def test_rows_of_a_distribution_are_that_of_the_rows() -> None:
    logits = logits_of(3)
    part, alone = Distribution(logits).rows(2, 4), Distribution(logits[2:4].clone())
    heat = torch.tensor([0.5, 1.5], dtype=torch.float64)
    assert torch.equal(part.entropy, alone.entropy)
    assert torch.equal(part.tempered(heat).probs, alone.tempered(heat).probs)
    assert torch.equal(part.exponents(), alone.exponents())


def test_one_leaves_the_distribution_unchanged_and_rows_keep_their_own_temperature() -> None:
    logits = logits_of(6, rows=3, dtype=torch.float64)
    now = Distribution(logits)
    assert now.tempered(torch.ones(3, dtype=torch.float64)) is now
    probs = now.tempered(torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64)).probs
    torch.testing.assert_close(probs[0], torch.softmax(logits[0], -1))
    assert probs[1].tolist() == torch.nn.functional.one_hot(logits[1].argmax(), V).double().tolist()
    torch.testing.assert_close(probs[2], torch.softmax(2 * logits[2], -1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("heat", [1e-2, 1e-30, 1e-300, 1e-310, 5e-324, 0.0])
def test_the_smallest_temperatures_are_greedy_and_never_nan(heat: float, dtype: torch.dtype) -> None:
    logits = torch.randn(1, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(7)) * 40
    logits = torch.cat([logits, logits - 200]).to(dtype)
    now = Distribution(logits).tempered(torch.full((2,), heat, dtype=torch.float64))
    assert not now.probs.isnan().any()
    assert torch.equal(now.probs.argmax(-1), logits.argmax(-1))
    assert (now.probs.max(-1).values > 0.99).all()
    assert torch.equal(now.draw(uniforms(2)), logits.argmax(-1))
    assert (now.entropy >= 0).all()
    assert (now.entropy < 0.1).all()


def test_greedy_takes_the_first_of_equal_logits() -> None:
    logits = torch.zeros(2, 700)
    logits[:, [300, 310, 690]] = 4.0
    now = Distribution(logits).tempered(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert now.best.tolist() == [300, 300]
    assert now.probs[0].nonzero().tolist() == [[300]]
    assert len(set(now.probs[1, [300, 310, 690]].tolist())) == 1


def test_the_drawn_token_is_the_first_whose_cumulative_mass_exceeds_u() -> None:
    for seed, size in enumerate((5, 256, 700, 5000)):
        now = Distribution(logits_of(seed, rows=1, size=size, dtype=torch.float64))
        cumulative = now.probs[0].cumsum(-1)
        for u in uniforms(40, seed):
            token = int(now.draw(u[None]))
            assert float(cumulative[token]) > float(u) - 1e-12
            assert token == 0 or float(cumulative[token - 1]) <= float(u) + 1e-12


def test_a_number_beyond_what_rounding_left_of_the_sum_draws_the_last_token() -> None:
    """One block holds 1, the others 2^-53 each: added one by one they are lost, added among themselves they are not."""
    blocks = 2048
    logits = torch.full((1, blocks * BLOCK), -math.inf, dtype=torch.float64)
    logits[0, 17] = 0.0
    logits[0, BLOCK::BLOCK] = -53 * math.log(2)
    for u in (1 - 2**-53, 1 - 2**-45):
        token = int(Distribution(logits).draw(torch.tensor([u], dtype=torch.float64)))
        assert token >= BLOCK
        assert token % BLOCK == 0


def test_no_token_outside_the_mask_is_ever_drawn() -> None:
    edge = torch.tensor([0.0, 2**-53, 0.5, 1 - 2**-53, 1.0], dtype=torch.float64)
    draw = torch.Generator().manual_seed(1)
    for seed in range(40):
        logits = logits_of(seed, rows=1, size=900).expand(5, -1)
        mask = (torch.rand(1, 900, generator=draw) < 0.02).expand(5, -1)
        now = Distribution(logits).tempered(torch.full((5,), 0.8, dtype=torch.float64)).keeping(mask)
        tokens = now.draw(edge)
        assert mask.gather(-1, tokens[:, None]).all() or not mask.any()
        assert (now.prob(tokens[:, None]) > 0).all()


@pytest.mark.parametrize("size", [300, 2048])
def test_tokens_are_drawn_as_often_as_their_probabilities_say(size: int) -> None:
    """Also from tokens that lie in different blocks, with the best one ruled out."""
    logits, places = torch.full((1, size), -math.inf), [7, 8, 290, 291, 299, 0]
    shares = torch.tensor([0.5, 0.3, 0.15, 0.04, 0.01])
    logits[0, places] = torch.cat([shares.log(), torch.tensor([3.0])])
    mask = torch.ones(1, size)
    mask[0, 0] = 0
    count = 20_000
    now = Distribution(logits.expand(count, -1)).keeping(mask.expand(count, -1))
    seen = torch.bincount(now.draw(uniforms(count)), minlength=size)[places].double()
    assert seen[5] == 0
    chi_square = float(((seen[:5] - shares * count) ** 2 / (shares * count)).sum())
    assert chi_square < 18.5  # 4 degrees of freedom, p = 0.001


def test_a_mask_that_takes_the_best_leaves_the_rest_as_they_were_to_each_other() -> None:
    logits = torch.tensor([[20.0, 1.0, 0.5, -2.0], [0.0, 1.0, 0.5, -2.0]])
    mask = torch.tensor([[0.0, 1, 1, 1], [1, 1, 0, 1]])
    now = Distribution(logits).tempered(torch.tensor([0.7, 1.3], dtype=torch.float64)).keeping(mask)
    expected = torch.softmax((logits.double() / torch.tensor([[0.7], [1.3]])).masked_fill(mask == 0, -math.inf), -1)
    torch.testing.assert_close(now.probs, expected, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(now.entropy, torch.special.entr(expected).sum(-1), rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(now.logprobs, expected.log(), rtol=1e-5, atol=1e-6)
    tokens = torch.tensor([2, 3])
    torch.testing.assert_close(now.logprob(tokens), expected.log()[[0, 1], tokens], rtol=1e-5, atol=1e-6)
    assert now.best.tolist() == [1, 1]


@pytest.mark.parametrize(("dtype", "gap"), [(torch.float32, 60.0), (torch.float64, 600.0)])
def test_masks_that_take_the_best_one_after_the_other_leave_numbers(dtype: torch.dtype, gap: float) -> None:
    """The second closes what the first left: the closed tokens' weights, unasked for, are then beyond the largest number."""
    logits = torch.full((1, 300), -20 * gap, dtype=dtype)
    places = [gap * share for share in (0, 1, 1.482, 1.487)]
    logits[0, : len(places)] = -torch.tensor(places, dtype=dtype)
    now = Distribution(logits)
    for closed in (0, 1):
        mask = torch.ones_like(logits)
        mask[0, closed] = 0
        now = now.keeping(mask)
    expected = torch.softmax(logits.double()[0, 2:4], -1)
    torch.testing.assert_close(now.probs[0, 2:4], expected, rtol=1e-5, atol=1e-9)
    assert float(now.probs[0, :2].sum()) == 0
    assert torch.isfinite(now.varentropy).all()
    torch.testing.assert_close(now.entropy, torch.special.entr(expected).sum()[None], rtol=1e-5, atol=1e-9)
    assert now.draw(torch.tensor([0.0], dtype=torch.float64)).tolist() == [2]


def test_a_mask_that_takes_all_leaves_the_best() -> None:
    now = Distribution(logits_of(4)).keeping(torch.zeros(6, V))
    assert torch.equal(now.probs.argmax(-1), Distribution(logits_of(4)).best)
    assert now.probs.sum(-1).tolist() == [1.0] * 6
    assert now.entropy.tolist() == [0.0] * 6


@pytest.mark.parametrize("k", [1, 5, 100, 256, 257, 3000, V])
def test_the_kth_is_the_kth(k: int) -> None:
    logits = logits_of(5, rows=3)
    now = Distribution(logits)
    kept = now.at_least(now.kth(torch.tensor([k, 1, max(k - 1, 1)])))
    assert kept.sum(-1).tolist() == [k, 1, max(k - 1, 1)]
    least = torch.where(kept > 0, logits, math.inf).amin(-1)
    assert torch.equal(least[0], logits[0].sort(descending=True).values[k - 1])


def test_tokens_that_a_model_rules_out_are_never_among_the_alternatives_before_others() -> None:
    logits = torch.full((1, 300), -math.inf)
    logits[0, 290:294] = torch.tensor([1.0, 3.0, 2.0, 0.0])
    ids, _ = Distribution(logits).largest(5)
    assert ids[0, :4].tolist() == [291, 292, 290, 293]
    assert 0 <= int(ids[0, 4]) < 300
    assert float(Distribution(logits).prob(ids)[0, 4]) == 0.0


def test_nan_shows_in_the_largest_logit() -> None:
    logits = logits_of(6)
    logits[3, 17] = math.nan
    assert Distribution(logits).top.isnan().tolist() == [False, False, False, True, False, False]


def test_sums_of_rows_are_sums() -> None:
    for size in (1, BLOCK - 1, BLOCK, 3 * BLOCK + 5):
        values = torch.randn(3, size, dtype=torch.float64)
        torch.testing.assert_close(row_sums(values), values.sum(-1))
