"""Simulated voters: the arms they see, the replies they judge, the noise they add."""

from __future__ import annotations

import pytest
import torch

from playground.training.simulation.voters import (
    Human,
    World,
    agreement,
    cast,
    exact,
    gaps,
    hidden_best,
    indifferent,
    longer_wins,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_two_arms_differ_and_every_pair_is_equally_likely() -> None:
    votes = cast(World(), hidden_best(100, 7, seeded()), 1000, indifferent, seeded(1))
    counts = votes.wins(7)[:, 0].sum(0)
    assert counts.diagonal().sum() == 0
    off = counts[~torch.eye(7, dtype=torch.bool)]
    assert off.sum() == 100_000
    assert (off / off.mean() - 1).abs().max() < 0.1


def test_quality_peaks_at_the_best_temperature_and_spreads_where_it_is_hot() -> None:
    world = World()
    assert world.utility(torch.arange(7)).argmax(-1).tolist() == list(range(7))
    assert world.spread().diff().min() > 0
    assert float(world.spread()[world.grid.index(1.0)]) == pytest.approx(1)


def test_hot_replies_are_among_the_best_and_the_worst() -> None:
    first, _, quality, _ = gaps(World(height=0.0), torch.zeros(1, dtype=torch.long), 100_000, seeded())
    extreme = quality.abs() > quality.abs().quantile(0.95)
    assert first[extreme].float().mean() > first.float().mean() + 0.3


def test_longer_replies_are_hotter_and_no_better() -> None:
    first, second, _, length = (
        x.flatten().float() for x in gaps(World(), hidden_best(1000, 7, seeded()), 100, seeded())
    )
    hotter = first - second
    assert float(torch.corrcoef(torch.stack([hotter, length]))[0, 1]) == pytest.approx(0.3, abs=0.03)
    assert agreement(longer_wins, World(), seeded()).better == pytest.approx(0.5, abs=0.01)


def test_an_exact_voter_never_errs_and_agrees_with_itself() -> None:
    seen = agreement(exact, World(), seeded())
    assert (seen.ties, seen.share, seen.better) == (0, 1, 1)


def test_a_flip_is_a_flip_and_a_tie_trains_nothing() -> None:
    seen = agreement(Human(flip=0.2), World(), seeded())
    assert seen.better == pytest.approx(0.8, abs=0.01)
    assert seen.share == pytest.approx(0.8**2 + 0.2**2, abs=0.01)
    votes = cast(World(), hidden_best(50, 7, seeded()), 200, Human(tie=0.5), seeded(1))
    assert 0.2 < float((~votes.decided).float().mean()) < 0.6
    assert votes.wins(7).sum() == votes.decided.sum()


def test_bradley_terry_errs_more_the_closer_the_replies() -> None:
    close, far = torch.full((1, 50_000), 0.1), torch.full((1, 50_000), 2.0)
    voter = Human(temperature=0.5)
    shares = [float((voter(gap, gap, seeded()) > 0).float().mean()) for gap in (close, far)]
    expected = [float(torch.sigmoid(torch.tensor(x))) for x in (0.2, 4.0)]
    assert shares == pytest.approx(expected, abs=0.01)


def test_votes_are_sorted_by_prompt() -> None:
    votes = cast(World(), hidden_best(3, 7, seeded()), 40, exact, seeded())
    prompt = torch.randint(4, votes.chosen.shape, generator=seeded())
    sorted_wins = votes.wins(7, prompt, 4)
    assert sorted_wins.shape == (3, 4, 7, 7)
    torch.testing.assert_close(sorted_wins.sum(1), votes.wins(7)[:, 0])
    assert sorted_wins.sum((-2, -1)).tolist() == [[float((row == p).sum()) for p in range(4)] for row in prompt]
