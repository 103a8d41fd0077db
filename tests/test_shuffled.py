"""The shuffled control: the same temperatures, in other places."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from playground.decoding.distribution import Distribution
from playground.decoding.policies.base import Donor, Head, Resources, Row, State
from playground.decoding.policies.shuffled import Shuffled, kind
from playground.decoding.policies.spec import parse
from playground.errors import PlaygroundError

DONOR = [0.1 * i for i in range(20)]
HISTOGRAM = (0.5, 0.25, 0.25, 0.0)


def run(text: str, tokens: int, seed: int = 0, level: str = "token") -> list[float]:
    """The temperatures of one lane over `tokens` positions; lane 1 used DONOR."""

    def head(name: str) -> Head:
        return Head(name, level, (0.0, 0.5, 1.0, 1.5), torch.log_softmax, HISTOGRAM)  # type: ignore[arg-type]

    rows = (Row(parse(f"shuffled:{text}", [kind("h")]), seed=seed),)
    policy, state = Shuffled(rows, Resources(head, donors={1: Donor(DONOR)})), State(rows)
    heats = []
    for position in range(tokens):
        state.position = position
        heats.append(float(policy.decide(Distribution(torch.zeros(1, 3)), torch.zeros(1, 1), state).temperature))
    return heats


def test_a_lane_that_outlasts_its_donor_goes_on_with_further_permutations() -> None:
    heats = run("of=1", 50)
    assert sorted(heats[:20]) == sorted(heats[20:40]) == DONOR
    assert heats[:20] not in (DONOR, heats[20:40])
    assert len(set(heats[40:])) == 10


def test_the_permutation_is_the_seeds() -> None:
    assert run("of=1", 20, seed=3) == run("of=1", 20, seed=3) != run("of=1", 20, seed=4)


def test_permutations_favour_no_place() -> None:
    firsts = Counter(run("of=1", 1, seed=seed)[0] for seed in range(1000))
    assert len(firsts) == 20
    assert max(firsts.values()) < 90  # 50 expected


def test_a_sequence_heads_card_gives_one_temperature_a_reply_as_often_as_it_says() -> None:
    replies = [run("of=0", 3, seed, "sequence") for seed in range(600)]
    assert all(len(set(heats)) == 1 for heats in replies)
    drawn = Counter(heats[0] for heats in replies)
    assert [drawn[t] / 600 for t in (0.0, 0.5, 1.0, 1.5)] == pytest.approx(HISTOGRAM, abs=0.06)


def test_a_lane_that_has_not_run_is_refused() -> None:
    with pytest.raises(PlaygroundError, match="lane 2 is none"):
        run("of=2", 1)
