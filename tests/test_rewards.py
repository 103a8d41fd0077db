"""Verifiable rewards: what they count, and which pairs they refuse to compare."""

import pytest

from playground.errors import PlaygroundError
from playground.training.labels.rewards import REWARDS, check_answers, reward_named


def test_fewer_repeats_prefers_the_text_that_repeats_less():
    reward = reward_named("fewer-repeats")
    assert reward.score({}, "one two three four five six") == 0
    assert reward.score({}, "the cat sat down " * 4) < reward.score({}, "the cat sat down. the cat sat down.") < 0


def test_a_winner_may_lose_at_most_two_percent_of_its_dictionary_words():
    comparable = reward_named("fewer-repeats").comparable
    plain = "the cat sat on the mat and slept " * 10
    assert comparable(plain + "blorptan", plain)  # 1 of 81 words
    assert not comparable(plain + "blorptan quxify zzyv", plain)  # 3 of 83
    assert comparable(plain, plain + "blorptan quxify zzyv")


def test_contains_answer_reads_the_accepted_answers():
    reward = reward_named("contains-answer")
    record = {"answers": ["four", "4"]}
    assert reward.score(record, "A dog has Four legs.") == 1
    assert reward.score(record, "A dog has fourteen legs.") == 0
    assert reward.comparable("anything", "else")


@pytest.mark.parametrize("record", [{}, {"answers": "four"}, {"answers": []}, {"answers": [4]}])
def test_a_prompt_without_accepted_answers_is_refused_where_they_are_read(record):
    known = {"id": "p0", "answers": ["four"]}
    with pytest.raises(PlaygroundError, match="the prompt 'p1' has none"):
        check_answers(reward_named("contains-answer"), [known, {"id": "p1", **record}])
    check_answers(reward_named("fewer-repeats"), [known, {"id": "p1", **record}])
    check_answers(reward_named("contains-answer"), [known])


def test_an_unknown_reward_is_answered_with_those_there_are():
    with pytest.raises(PlaygroundError, match=", ".join(reward.name for reward in REWARDS)):
        reward_named("best")
