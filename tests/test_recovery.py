"""Recovery from votes: chance is what counting says, votes help, nothing is found where nothing is to be found."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks import recovery as bench
from benchmarks.measure.asked import Asked
from playground.training.lpo import margins, pull_to_uniform, separate_loss, step_scores
from playground.training.simulation.recovery import Learner, Recovered, chance, informed, loss, score, tabular, win_rate
from playground.training.simulation.recovery_heads import HeadLearner, States, distilled, vote, voted
from playground.training.simulation.voters import Voter, World, cast, exact, hidden_best, indifferent

WORLD = World()
PLAIN = Learner(pull=0, smooth=0)
KINDS = 1200


def battle_counts(count: int, voter: Voter = exact, seed: int = 0, kinds: int = KINDS) -> tuple[Tensor, Tensor, Tensor]:
    """Counts, best temperatures and utilities."""
    generator = torch.Generator().manual_seed(seed)
    best = hidden_best(kinds, 7, generator)
    return cast(WORLD, best, count, voter, generator).wins(7)[:, 0], best, WORLD.utility(best)


def recovered(count: int, learner: Learner, voter: Voter = exact, seed: int = 0) -> Recovered:
    wins, best, utility = battle_counts(count, voter, seed)
    return score(tabular(wins, learner), best, utility)


def test_chance_is_the_share_of_neighbours_among_all_pairs() -> None:
    assert chance(7) == 19 / 49
    assert chance(7, 0) == 1 / 7
    guess, best = (torch.randint(7, (100_000,), generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    assert float(((guess - best).abs() <= 1).float().mean()) == pytest.approx(chance(7), abs=0.01)


def test_a_score_by_hand() -> None:
    logprobs = torch.eye(7)[torch.tensor([[0, 1], [4, 6]])]  # two kinds, two prompts: picks 0, 1 and 4, 6
    best = torch.tensor([0, 4])
    found = score(logprobs, best, WORLD.utility(best))
    assert (found.within_one, found.exact, found.count) == (0.75, 0.5, 2)
    lost = 0.6 * (2 - float(torch.exp(torch.tensor(-0.5 * 0.4**2))) - float(torch.exp(torch.tensor(-0.5 * 0.8**2))))
    assert found.regret == pytest.approx(lost / 4, abs=1e-6)


def test_the_counted_loss_is_equation_10_vote_by_vote() -> None:
    votes = cast(WORLD, torch.tensor([2]), 50, exact, torch.Generator().manual_seed(0))
    logprobs = torch.randn(1, 7, generator=torch.Generator().manual_seed(1)).log_softmax(-1)
    rows = logprobs.expand(100, -1)
    index = torch.cat([votes.chosen[0], votes.rejected[0]])
    pair, sign = torch.arange(50).repeat(2), torch.tensor([1.0, -1.0]).repeat_interleave(50)
    by_vote = separate_loss(margins(step_scores(rows, index), pair, sign, 50), 0.5) + 0.1 * pull_to_uniform(logprobs)
    by_count = loss(logprobs[:, None], votes.wins(7), Learner(beta=0.5, pull=0.1, smooth=0))
    torch.testing.assert_close(by_count[0], by_vote)


def test_more_exact_votes_recover_more_and_reach_the_tabular_figures() -> None:
    found = [recovered(count, Learner()).within_one for count in (30, 100, 300, 1000)]
    assert found == sorted(found)
    assert found[0] > chance(7) + 0.15
    assert all(value >= known for value, known in zip(found, (0.60, 0.67, 0.82, 0.93), strict=True))


def test_neighbours_lend_each_other_votes() -> None:
    for count in (30, 100, 300):
        assert recovered(count, Learner()).within_one > recovered(count, PLAIN).within_one + 0.02


def test_a_voter_that_ignores_temperature_leads_to_chance() -> None:
    assert recovered(100, PLAIN, indifferent).within_one == pytest.approx(chance(7), abs=0.05)
    assert recovered(100, PLAIN, indifferent).exact == pytest.approx(chance(7, 0), abs=0.04)
    assert recovered(100, Learner(), indifferent).within_one < 3 / 7 + 0.04


def test_the_win_rate_and_bradley_terry_agree_and_the_informed_learner_leads() -> None:
    wins, best, utility = battle_counts(100)
    plain = score(tabular(wins, PLAIN), best, utility).within_one
    assert score(win_rate(wins), best, utility).within_one == pytest.approx(plain, abs=0.03)
    assert score(informed(wins, WORLD), best, utility).within_one > plain + 0.1


def test_replications_share_nothing() -> None:
    wins, _, _ = battle_counts(50, kinds=4)
    torch.testing.assert_close(tabular(wins, Learner())[1:2], tabular(wins[1:2], Learner()), atol=1e-4, rtol=1e-4)


def test_a_head_recovers_on_prompts_without_votes_and_tables_of_the_kinds_help() -> None:
    generator = torch.Generator().manual_seed(0)
    best = hidden_best(60, 7, generator).view(10, 6)
    votes = vote(WORLD, best, 300, exact, States(prompts=12, fresh=4), generator)
    on_votes = votes.scored(voted(votes, Learner(), HeadLearner(), 0), WORLD).within_one
    on_tables = votes.scored(distilled(votes, Learner(), HeadLearner(learning_rate=3e-3), 0), WORLD).within_one
    assert chance(7) + 0.1 < on_votes < on_tables


def test_heads_are_deterministic_by_seed() -> None:
    generator = torch.Generator().manual_seed(0)
    votes = vote(WORLD, hidden_best(4, 7, generator).view(2, 2), 30, exact, States(prompts=5, fresh=2), generator)
    how = HeadLearner(steps=8)
    assert torch.equal(voted(votes, Learner(), how, 3), voted(votes, Learner(), how, 3))
    assert not torch.equal(voted(votes, Learner(), how, 3), voted(votes, Learner(), how, 4))


def test_the_benchmark_prints_chance_beside_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "COUNTS", (30,))
    monkeypatch.setattr(Asked, "size", lambda *_: 4)
    monkeypatch.setattr(bench, "DISTILLED", HeadLearner(steps=4))
    result = bench.run(Asked(quick=True))
    recovered_tables = result.tables[: len(bench.VOTERS)]
    assert all(row["chance"] == chance(7) for table in recovered_tables for row in table.rows)
    assert {row["learner"] for row in recovered_tables[0].rows} == {*bench.TABLES, *bench.HEADS}
    assert [row["target"] for row in recovered_tables[0].rows if "target" in row] == ["≥ 0.6", "≥ 0.6"]
