"""The member that a reply mentions first: whole words, any case, plurals, other names."""

import pytest

from playground.training.labels.mentions import distinct_mentioned, first_mentioned

ANIMALS = ("cat", "sea lion", "lion", "fox", "pony", "mouse|mice", "polar bear", "bear")


@pytest.mark.parametrize(
    ("text", "member"),
    [
        (" a Cat.", "cat"),
        (" the lion, not the cat", "lion"),
        (" SEA LIONS!", "sea lion"),
        (" foxes", "fox"),
        (" ponies", "pony"),
        (" three mice", "mouse|mice"),
        (" a polar bear", "polar bear"),
        (" concatenated", None),
        (" lionel", None),
        ("", None),
    ],
)
def test_the_first_member_counts_in_any_case_and_number_and_the_longest_name_wins(text, member):
    assert first_mentioned(text, ANIMALS) == member


def test_a_plural_in_the_list_is_found_in_the_singular_and_accents_do_not_matter():
    assert first_mentioned("A lemon bar", ("lemon bars",)) == "lemon bars"
    assert first_mentioned("Crème Brûlée", ("creme brulee",)) == "creme brulee"
    assert first_mentioned("Los Ángeles's", ("los angeles",)) == "los angeles"


def test_a_word_that_ends_in_ss_keeps_it():
    assert first_mentioned("bas", ("bass",)) is None


def test_distinct_counts_members_not_words():
    assert distinct_mentioned(["a cat", "Cats", "mice", "one mouse", "nothing", ""], ANIMALS) == 2
