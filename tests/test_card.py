"""The card says what its meta says: who labelled, which loss, what a suite found."""

from models.checkpoints import Base, Meta
from playground.training.evaluation import card


def meta(metrics: dict, **changes) -> Meta:
    values = {
        "kind": "adaptive-sequence",
        "base": Base("tiny", "r", 4, 9),
        "grid": (0.0, 1.0),
        "width": 8,
        "loss": "separate",
    }
    values |= {
        "parent": None,
        "data_sha256": "0" * 64,
        "temperature_histogram": (0.5, 0.5),
        "command": "train …",
        "commit": "c",
    }
    return Meta(metrics=metrics, **{**values, **changes})


def training(source: dict) -> dict:
    figures = {"train_pairs": 8, "held_out_pairs": 2, "epoch": 1, "held_out_loss": 0.5, "held_out_accuracy": 0.5}
    labels = {"source": source, "family": {"grounded": 6, "varied": 4}}
    return {
        "training": {**figures, "calibration_error": 0.1, "recipe": {"beta": 1.0, "loss": "separate"}, "labels": labels}
    }


def policy(name: str, kind: str, mean: float, gain: float | None = None) -> dict:
    found = {"name": name, "kind": kind, "score": {"mean": mean, "half": 0.01, "count": 3}}
    found["strata"] = {"x": {"mean": mean, "half": None, "count": 1}}
    return found if gain is None else {**found, "head_minus": {"mean": gain, "half": None, "count": 3}}


RESULT = {
    "suite": "invented",
    "plan": {"filters": ["min-p 0.1"]},
    "made_by": {
        **{"command": "evaluate …", "commit": "abc", "labels_sha256": "0", "label_pairs": 7, "seeds": 3, "folds": 8},
        "revision": "left out",
    },
    "groups": {
        "both": {
            "strata": {"x": {"tasks": 5, "clusters": 2, "metric": "contains-answer"}},
            "seeds": [0.25, 0.75],
            "verdict": {
                **{"beats_every_fixed": True, "beats_shuffled": False, "scores_higher_than_the_head": ["oracle"]},
                **{"better_than_router": False, "not_worse_than_router": True},
            },
            "policies": [policy("head", "head", 0.5), policy("oracle", "bound", 0.625, -0.125)],
            "histograms": {"head": {"x": [0.25, 0.75]}},
        }
    },
}


def test_votes_of_people_are_never_called_a_programs():
    people = card.text("head", meta(training({"human": 10})))
    assert "10 by people" in people
    assert "not from people" not in people
    programs = card.text("head", meta(training({"verifier": 10})))
    assert "10 by programs" in programs
    assert "not from people" in programs


def test_a_loss_is_named_with_its_equation():
    assert "equation 11" in card.text("head", meta({}, loss="latent-token"))
    assert "went on from `old@1`" in card.text("head", meta({}, parent="old@1"))


def test_a_suites_table_is_whole_and_says_what_a_win_means():
    text = card.text("head", meta({"suites": {"invented": card.suite_summary(RESULT)}}))
    assert "| **head** | 0.500 ± 0.010 | 0.500 |  |" in text
    assert "| oracle | 0.625 ± 0.010 | 0.625 | -0.125 ± ∞ |" in text
    assert "beats every fixed temperature of the grid, and does not beat its own" in text
    assert "Score higher: oracle." in text
    assert "detects the type of prompt" in text
    assert "x: 25%, 75%" in text
    assert "No held-out figures yet" not in text


def test_a_head_without_figures_says_how_to_get_them():
    assert "run `python -m playground evaluate --suite SUITE`" in card.text("head", meta({}))
