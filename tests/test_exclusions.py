"""Which votes a loss learns from: every kind of arm, on real traces, and every reason counted."""

import re
from dataclasses import replace

import pytest

from playground.errors import PlaygroundError
from playground.training.exclusions import count, counting, grid_of, unusable
from playground.training.labels.lanes import GRID
from playground.training.lpo import LATENT, LOSSES
from tests.graded import decoded, sampled, vote, votes

TOKEN, SEQUENCE = sampled("token"), sampled("sequence")


def of(tiny, first, second):
    """A vote between one reply of each spec."""
    a, b = decoded(tiny, "Hello", [first, second])
    return vote([a], [b])


@pytest.mark.parametrize(
    ("first", "second", "level", "reason"),
    [
        (TOKEN, TOKEN, "token", None),
        (TOKEN, "random:per=token", "token", None),
        (TOKEN, "random:per=reply", "token", "temperatures not sampled per token"),
        (TOKEN, "fixed:temperature=0.4", "token", "no temperature from a grid"),
        (TOKEN, TOKEN + ",min_p=0.1", "token", "different filters"),
        (TOKEN + ",min_p=0.1", TOKEN + ",min_p=0.1", "token", None),
        (SEQUENCE, SEQUENCE, "sequence", None),
        ("fixed:temperature=0.4", "fixed:temperature=0.8", "sequence", None),
        ("fixed:temperature=0.4", "fixed:temperature=0.7", "sequence", "no temperature from a grid"),
        ("fixed:temperature=0.4", "fixed:temperature=0.4", "sequence", "equal temperature"),
        ("fixed:temperature=0.4", "edt", "sequence", "no temperature from a grid"),
    ],
)
def test_equation_10_takes_arms_whose_temperature_was_drawn_from_the_grid(tiny, first, second, level, reason):
    assert unusable(of(tiny, first, second), level) == reason
    assert unusable(of(tiny, first, second), level, "joint") == reason


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("fixed:temperature=0.4", "fixed:temperature=0.7", None),
        ("edt", TOKEN, None),
        ("fixed", "min-p:p=0.1", "cut by a filter"),
        ("fixed", "mirostat-v2", "cut by a filter"),
        ("fixed", "entropy-switch", "not drawn token by token (entropy-switch)"),
        ("fixed", "long-horizon", "not drawn token by token (long-horizon)"),
        ("fixed", "best-of-n", "not drawn token by token (best-of-n)"),
        ("fixed", "power-sampling", "not drawn token by token (power-sampling)"),
    ],
)
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("loss", ["latent-token", "latent-sequence"])
def test_equation_11_takes_all_text_drawn_token_by_token(tiny, first, second, reason, level, loss):
    own = second in ("entropy-switch", "long-horizon", "best-of-n", "power-sampling")
    made = of(tiny, first, "fixed:temperature=0.5" if own else second)
    if own:
        made = replace(made, b=(replace(made.b[0], policy=second),))
    assert unusable(made, level, loss) == reason


def test_a_set_is_one_candidate_with_one_temperature_and_one_prompt(tiny):
    cold, hot = (decoded(tiny, "Hello", [f"fixed:temperature={t}"] * 3) for t in (0.4, 0.8))
    assert unusable(vote(cold, hot), "sequence") is None
    assert unusable(vote(cold, [*hot[:2], cold[0]]), "sequence") == "a set of several temperatures or prompts"
    other = decoded(tiny, "Hello there", ["fixed:temperature=0.8"])
    assert unusable(vote(cold, [*hot[:2], *other]), "sequence") == "a set of several temperatures or prompts"
    assert unusable(vote(cold, [*hot[:2], *other]), "sequence", "latent-sequence") == "a set of several prompts"


def test_what_nobody_won_is_empty_or_unknown_says_so(tiny):
    made = of(tiny, TOKEN, TOKEN)
    assert unusable(replace(made, outcome="tie"), "token") == "undecided"
    assert unusable(replace(made, a=(replace(made.a[0], steps=()),)), "token") == "empty reply"
    assert unusable(replace(made, a=(replace(made.a[0], policy="novel:x=1"),)), "token") == "unknown policy"
    assert unusable(replace(made, b=made.a), "token", "latent-token") == "identical replies"


def test_exclusions_are_counted_by_reason(tiny):
    made = votes(tiny, "token", 3)
    data = [*made, replace(made[0], outcome="tie"), of(tiny, "fixed", "fixed:temperature=0.7")]
    assert count(data, "token") == (3, {"no temperature from a grid": 1, "undecided": 1})
    assert count(data, "token", "latent-token") == (4, {"undecided": 1})


def test_the_grid_is_the_arms_own_and_data_without_a_usable_vote_is_refused_with_the_counts(tiny):
    made = votes(tiny, "token", 2)
    assert grid_of(made, "token") == GRID
    assert grid_of(made, "token", "latent-token", wanted=(0.0, 1.0)) == (0.0, 1.0)
    with pytest.raises(PlaygroundError, match="one grid"):
        grid_of(made, "token", wanted=(0.0, 1.0))
    with pytest.raises(PlaygroundError, match="undecided: 2"):
        grid_of([replace(vote, outcome="both_bad") for vote in made], "token")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_the_lanes_that_are_said_to_count_do_and_others_do_not(tiny, level, loss):
    """The sentence names specs: votes on each of them are usable, on two of another policy they are not."""
    told = counting(level, loss)
    named = re.findall(r"(?:adaptive|random)\S*[:=]\w+", told)
    if loss not in LATENT:
        assert named == [f"adaptive-{level}:select=sample", f"random:per={'token' if level == 'token' else 'reply'}"]
    for spec in [name for name in named if name.startswith("random")] or ["edt", "fixed:temperature=0.7"]:
        assert unusable(of(tiny, spec, spec), level, loss) in (None, "equal temperature")
    other = "edt" if named else "fixed:top_p=0.5"
    assert unusable(of(tiny, other, other), level, loss)
