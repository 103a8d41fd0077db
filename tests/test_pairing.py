"""Pairs of candidates: who meets whom, and why others do not."""

from collections import Counter
from random import Random

import pytest

from playground.training.labels.pairing import Candidate, pairs_of, preference


def candidates(*scores, temperatures=None):
    heats = temperatures or range(len(scores))
    return [Candidate((), float(score), heat) for score, heat in zip(scores, heats, strict=True)]


def met(found, pairing, pairs, seed=0):
    counts = Counter()
    made = list(pairs_of(found, pairing, pairs, Random(seed), counts))
    return [(winner.score, loser.score) for winner, loser in made], counts


def test_ranked_meets_the_best_with_the_worst():
    assert met(candidates(3, 1, 4, 2), "ranked", 2)[0] == [(4, 1), (3, 2)]


def test_every_meets_all_that_differ_in_score_and_temperature_the_better_first():
    scores, counts = met(candidates(1, 2, 2, 3), "every", 99)
    assert sorted(scores) == [(2, 1), (2, 1), (3, 1), (3, 2), (3, 2)]
    assert counts == {"pairs": 5, "dropped: equal reward": 1}


def test_no_more_pairs_than_wanted_and_the_rest_is_counted():
    scores, counts = met(candidates(1, 2, 3, 4), "every", 2)
    assert len(scores) == 2
    assert counts == {"pairs": 2, "dropped: more than wanted": 4}


def test_meetings_are_drawn_before_the_scores_are_seen_so_one_lucky_reply_teaches_little():
    lucky, even = candidates(1, *[0] * 19), candidates(*[i % 2 for i in range(20)])
    made = [sum(met(found, "every", 19, seed)[1]["pairs"] for seed in range(100)) for found in (lucky, even)]
    expected = [100 * 19 * 19 / 190, 100 * 19 * 100 / 190]  # the share of all 190 meetings that decide something
    assert made == pytest.approx(expected, rel=0.2)


def test_equal_temperatures_are_dropped_and_counted_but_not_where_every_token_drew_its_own():
    assert met(candidates(1, 2, temperatures=[0.4, 0.4]), "every", 9) == ([], {"dropped: equal temperature": 1})
    assert met(candidates(1, 2, temperatures=[None, None]), "ranked", 1)[0] == [(2, 1)]


def test_a_further_reason_is_counted_by_its_name():
    counts = Counter()
    assert not list(pairs_of(candidates(1, 2), "every", 9, Random(0), counts, lambda winner, loser: "too long"))
    assert counts == {"dropped: too long": 1}


@pytest.mark.parametrize("pairing", ["ranked", "every"])
def test_who_meets_is_drawn_by_the_seed_alone(pairing):
    found = candidates(*[i % 2 for i in range(14)])

    def temperatures(seed):
        return [(a.temperature, b.temperature) for a, b in pairs_of(found, pairing, 3, Random(seed), Counter())]

    assert temperatures(1) == temperatures(1)
    assert len({tuple(temperatures(seed)) for seed in range(9)}) > 1


def test_equal_scores_favour_no_temperature():
    """Of fourteen replies, right or wrong alike at every temperature, each temperature wins about equally often."""
    found = candidates(*[i % 2 for i in range(14)], temperatures=[i // 2 for i in range(14)])
    wins = Counter(
        w.temperature for seed in range(700) for w, _ in pairs_of(found, "ranked", 1, Random(seed), Counter())
    )
    assert min(wins.values()) > 55
    assert len(wins) == 7


def test_the_record_names_the_winner_first():
    vote = preference("x", "Prompt?", "fact", Candidate(("w",), 1.0), Candidate(("l",), 0.0))
    assert (vote.chosen, vote.rejected, vote.source, vote.family) == (("w",), ("l",), "verifier", "fact")
