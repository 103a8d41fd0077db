"""Streams and the inverse of a CDF: what is drawn follows the distribution it is drawn from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from playground.decoding.sampling import (
    AHEAD,
    Uniforms,
    entropy,
    invert_cdf,
    random_stream,
    stream_key,
    uniform,
)

V = 300


def logits_of(seed: int, rows: int = 12) -> Tensor:
    """Rows from nearly flat to very peaked."""
    noise = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-1, 1, rows, dtype=torch.float64)[:, None]
    return torch.randn(rows, V, dtype=torch.float64, generator=noise) * scale


def test_the_inverse_is_the_first_token_whose_cumulative_mass_exceeds_u() -> None:
    probs = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]], dtype=torch.float64)
    for u, token in [(0.0, 1), (0.2499, 1), (0.25, 3), (0.7499, 3), (0.75, 4), (1 - 2**-53, 4)]:
        assert int(invert_cdf(probs, torch.tensor([u], dtype=torch.float64))) == token, u
    for seed in range(50):
        row = torch.softmax(logits_of(seed, rows=1)[0], -1)
        u = uniform(random_stream(seed))
        token, total = 0, float(row[0])
        while total <= float(u):
            token += 1
            total += float(row[token])
        assert int(invert_cdf(row[None], u)) == token


def test_no_token_of_probability_zero_is_ever_drawn() -> None:
    draw = torch.Generator().manual_seed(1)
    edge = torch.tensor([0.0, 2**-53, 0.5, 1 - 2**-53, 1.0], dtype=torch.float64)
    for _ in range(200):
        probs = torch.rand(1, 50, dtype=torch.float64, generator=draw)
        probs[torch.rand(1, 50, generator=draw) < 0.8] = 0
        probs[0, int(torch.randint(50, (), generator=draw))] = 1e-12
        probs = (probs / probs.sum()).expand(len(edge), -1)
        tokens = invert_cdf(probs, edge)
        assert (probs.gather(-1, tokens[:, None]) > 0).all()


def test_tokens_are_drawn_as_often_as_their_probabilities_say() -> None:
    probs = torch.tensor([0.5, 0.3, 0.0, 0.15, 0.04, 0.01], dtype=torch.float64)
    count = 20_000
    tokens = invert_cdf(probs.expand(count, -1), uniform(random_stream("frequency"), count))
    seen = torch.bincount(tokens, minlength=6).double()
    assert seen[2] == 0
    wanted = probs * count
    chi_square = float(((seen - wanted) ** 2 / wanted)[probs > 0].sum())
    assert chi_square < 18.5  # 4 degrees of freedom, p = 0.001


def test_the_entropy_of_uniform_is_the_log_of_its_size_and_of_one_hot_zero() -> None:
    flat = torch.full((2, V), -math.log(V), dtype=torch.float64)
    assert entropy(flat).tolist() == pytest.approx([math.log(V)] * 2)
    one_hot = torch.full((V,), -math.inf, dtype=torch.float64)
    one_hot[7] = 0.0
    assert float(entropy(one_hot)) == 0.0


def test_streams_are_keyed_by_text_and_stay_what_they_were() -> None:
    """A golden value: were it to change, every stored seed would mean other tokens."""
    assert stream_key(7, "fixed:temperature=1.0", 0) == GOLDEN_KEY
    assert stream_key(0, "ab") != stream_key(0, "a", "b")
    assert float(uniform(random_stream(7, "fixed:temperature=1.0", 0))) == GOLDEN_UNIFORM
    assert torch.equal(uniform(random_stream(3), 5), uniform(random_stream("3"), 5))


def test_numbers_drawn_ahead_are_those_drawn_one_by_one() -> None:
    ahead = Uniforms([random_stream(1), random_stream(2)])
    streams = [random_stream(1), random_stream(2)]
    for _ in range(2 * AHEAD + 3):
        assert torch.equal(ahead.next(), torch.cat([uniform(stream) for stream in streams]))


GOLDEN_KEY = 7389474047227530305
GOLDEN_UNIFORM = 0.21034471046738545
