"""The suite minimal-pairs: two prompts of one form that ask for variety and for a fact."""

from playground.training.labels.suites.grounded_or_varied import varied
from playground.training.labels.suites.minimal_pairs import PREFILL, with_article
from playground.training.labels.tasks import tasks_of

TASKS = tasks_of("minimal-pairs")
BY_PAIR = {cluster: {t.family: t for t in TASKS if t.cluster == cluster} for cluster in {t.cluster for t in TASKS}}


def test_at_least_sixty_classes_have_both_halves_in_one_format():
    assert len(BY_PAIR) >= 60
    for pair in BY_PAIR.values():
        open_, fact = pair["any"], pair["fact"]
        assert open_.prompt.startswith("Name a")
        assert fact.prompt.startswith("Name the ")
        for task in (open_, fact):
            assert task.prompt.endswith(".")
            assert task.prefill == PREFILL
        assert (open_.stop, open_.max_tokens, open_.split) == (fact.stop, fact.max_tokens, fact.split)
        assert (open_.metric, open_.replies) == ("distinct-valid", 8)
        assert (fact.metric, fact.replies) == ("contains-answer", 1)


def test_no_fact_gives_its_answer_away():
    for task in TASKS:
        if task.metric == "contains-answer":
            assert task.score([task.prompt]) == 0, task.prompt


def test_classes_are_in_one_split_and_the_same_one_as_in_the_other_suite():
    other = {task.cluster: task.split for task in varied()}
    assert all(other[task.cluster] == task.split for task in TASKS)
    assert sum(pair["any"].split == "test" for pair in BY_PAIR.values()) >= 20
    assert sum(pair["any"].split == "train" for pair in BY_PAIR.values()) >= 20


def test_the_unseen_format_is_test_only_half_open_and_shares_no_prompt_or_prefill():
    unseen = [task for task in TASKS if task.family == "unseen"]
    seen = [task for task in TASKS if task.family != "unseen"]
    assert len(unseen) >= 40
    assert {task.split for task in unseen} == {"test"}
    assert sum(task.replies == 8 for task in unseen) * 2 == len(unseen)
    assert {task.prefill for task in unseen}.isdisjoint({task.prefill for task in seen})
    assert len({task.prefill for task in unseen}) == 1
    assert all(task.prompt.startswith("Which ") and task.prompt.endswith("?") for task in unseen)
    assert len({task.prompt for task in TASKS}) == len({task.id for task in TASKS}) == len(TASKS)


def test_the_article_follows_the_sound():
    assert [with_article(noun) for noun in ("animal", "planet", "US state", "unit of measurement")] == [
        "an animal",
        "a planet",
        "a US state",
        "a unit of measurement",
    ]
