"""Opponents on a table whose answers are known by hand: facts are best at T = 0, variety at T = 1."""

import pytest

from playground.training.evaluation import opponents
from playground.training.evaluation.opponents import Item, balanced, route, same
from playground.training.evaluation.plan import Plan, Stratum, setting
from playground.training.labels.tasks import Task

COLD, WARM, FILTERED = setting(0), setting(1), setting(1, ("min_p", 0.1))
FACT = Stratum("fact", "fact", "contains-answer", "extraction", 1, 1)
ANY = Stratum("any", "any", "distinct-valid", "writing", 1, 1)
PLAN = Plan("invented", (FACT, ANY), {"both": ("fact", "any")}, grid=(0.0, 1.0))


def item(name: str, stratum: Stratum, cold: float, warm: float, cluster: str = "c", prompt: str = "") -> Item:
    made = Task(name, "invented", stratum.family, cluster, prompt, 4, stratum.metric, "test")
    scores = {COLD: [cold], WARM: [warm, warm], FILTERED: [(cold + warm) / 2], setting(0.7): [warm]}
    return Item(made, stratum, scores)


ITEMS = [
    item("f0", FACT, 1.0, 0.0, "x", "Name the planet closest to the Sun."),
    item("f1", FACT, 0.5, 0.0, "y", "Name the largest planet."),
    item("a0", ANY, 0.1, 0.9, "z", "Name a planet."),
    item("a1", ANY, 0.1, 0.5, "z", "Name any animal."),
    item("a2", ANY, 0.0, 0.2, "w", "Name a tree."),
]


def mean(policy) -> float:
    return balanced(ITEMS, lambda i: i.value(policy[i.task.id]))


def test_strata_and_clusters_weigh_the_same():
    assert mean(same(ITEMS, COLD)) == pytest.approx((0.75 + (0.1 + 0.0) / 2) / 2)
    assert mean(same(ITEMS, WARM)) == pytest.approx((0.0 + ((0.9 + 0.5) / 2 + 0.2) / 2) / 2)


def test_the_oracle_beats_every_fixed_setting_and_a_shuffled_oracle_loses_to_the_best():
    best = opponents.oracle(ITEMS, PLAN.plain)
    assert {i.task.id: next(iter(best[i.task.id])) for i in ITEMS} == {
        **{"f0": COLD, "f1": COLD},
        **{"a0": WARM, "a1": WARM, "a2": WARM},
    }
    fixed = [mean(same(ITEMS, name)) for name in PLAN.plain]
    assert mean(best) == pytest.approx((0.75 + 0.45) / 2)
    assert mean(best) > max(fixed)
    assert mean(opponents.shuffled(ITEMS, best)) == pytest.approx(
        sum(fixed) / 2
    )  # half cold, half warm, whatever the prompt


def test_shuffling_a_constant_changes_nothing():
    constant = same(ITEMS, WARM)
    assert mean(opponents.shuffled(ITEMS, constant)) == pytest.approx(mean(constant))


def test_a_histogram_weighs_strata_not_tasks():
    assert opponents.histogram(ITEMS, opponents.oracle(ITEMS, PLAN.plain)) == {COLD: 0.5, WARM: 0.5}


def test_the_router_takes_words_and_the_best_setting_of_its_kind_on_dev():
    policy = opponents.router(ITEMS, ITEMS, PLAN.plain)
    assert mean(policy) == pytest.approx(mean(opponents.oracle(ITEMS, PLAN.plain)))
    reversed_dev = [
        item("d0", FACT, 0.0, 1.0, prompt="Name the moon."),
        item("d1", ANY, 1.0, 0.0, prompt="Name a moon."),
    ]
    assert mean(opponents.router(ITEMS, reversed_dev, PLAN.plain)) < mean(same(ITEMS, WARM))
    lacking = opponents.router(ITEMS, reversed_dev[:1], PLAN.plain)
    assert all(weights == {WARM: 1.0} for weights in lacking.values())


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("Name a planet.", "varied"),
        ("Name the planet closest to the Sun.", "precise"),
        ("Name a random animal.", "varied"),
        ("Pick any of the months.", "varied"),
        ("Which planet is the largest?", "precise"),
        ("Can you think of a planet?", "precise"),
        ("Say something.", "precise"),
        ("any random word " * 20, "precise"),
    ],
)
def test_routes(prompt, kind):
    assert route(prompt) == kind


def test_the_hand_table_has_its_own_temperature():
    assert opponents.hand(ITEMS)["a0"] == {setting(0.7): 1.0}
    assert opponents.hand(ITEMS)["f0"] == {COLD: 1.0}


def test_a_win_is_a_higher_candidate_and_the_same_setting_ties():
    assert ITEMS[0].wins({COLD: 1.0}, {WARM: 1.0}) == 1
    assert ITEMS[0].wins({WARM: 1.0}, {COLD: 1.0}) == 0
    assert ITEMS[0].wins({WARM: 1.0}, {WARM: 1.0}) == 0.5
    assert ITEMS[0].wins({COLD: 0.5, WARM: 0.5}, {COLD: 0.5, WARM: 0.5}) == 0.5
    uneven = Item(ITEMS[0].task, FACT, {COLD: [0.5], WARM: [0.0, 0.5, 1.0]})
    assert uneven.wins({WARM: 1.0}, {COLD: 1.0}) == pytest.approx(0.5)


def test_random_temperature_is_the_mean_of_the_fixed_ones():
    assert mean(opponents.random_temperature(ITEMS, PLAN)) == pytest.approx(
        sum(mean(same(ITEMS, name)) for name in PLAN.plain) / 2
    )
