"""The card says what its meta says: who labelled, which loss, what a suite found."""

from dataclasses import replace

from models.checkpoints import SHIPPED, read
from models.meta import Base, Meta
from playground.training.evaluation import afterwards, card


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


def test_untouched_clusters_have_a_column_and_a_sentence():
    group = RESULT["groups"]["both"]
    rows = [
        *group["policies"],
        {**policy("T 1", "fixed", 0.25, 0.25), "head_minus_untouched": {"mean": 0.1, "half": 0.2}},
    ]
    strata = {"x": {**group["strata"]["x"], "untouched": 1}}
    verdict = {**group["verdict"], "not_beaten_on_untouched": ["T 1"]}
    result = {**RESULT, "groups": {"both": {**group, "policies": rows, "strata": strata, "verdict": verdict}}}
    text = card.text("head", meta({"suites": {"invented": card.suite_summary(result)}}))
    assert "| T 1 | 0.250 ± 0.010 | 0.250 | +0.250 ± ∞ | +0.100 ± 0.200 |" in text
    assert "| oracle | 0.625 ± 0.010 | 0.625 | -0.125 ± ∞ |  |" in text
    assert "1 of 2 x" in text
    assert "includes 0 against T 1" in text


def test_ln_2_is_named_only_where_it_is_the_loss_of_the_uniform_head():
    def of(**recipe) -> str:
        found = training({"verifier": 10})
        found["training"]["recipe"] |= recipe
        return card.text("head", meta(found))

    assert "ln 2" in of()
    assert "ln 2" in of(loss="latent-token")
    assert "(epoch 2;" in of()  # counted from 1, as everywhere else
    for other in (
        {"loss": "nll"},
        {"strength": "margin"},
        {"strength": "weight"},
        {"loss": "latent-token", "reference": "length"},
    ):
        assert "ln 2" not in of(**other), other


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


def test_what_was_found_afterwards_stands_on_the_card_of_that_head_alone() -> None:
    shipped = {kind: read(SHIPPED, f"{kind}.smollm2-135m") for kind in ("adaptive-sequence", "difficulty-probe")}
    for words in ("−.018 ± .079", "+.051 ± .032", "did not replicate", "begun reply"):
        assert words in shipped["adaptive-sequence"].card
    assert "450 of 474" in shipped["difficulty-probe"].card
    for head in shipped.values():
        assert afterwards.lines(head.meta)
        other = replace(head.meta.base, revision="another")
        assert afterwards.lines(replace(head.meta, base=other)) == []
        assert afterwards.lines(replace(head.meta, data_sha256="0" * 64)) == []
    learned_anew = replace(shipped["adaptive-sequence"].meta, data_sha256="0" * 64)
    assert "Found afterwards" not in card.text("head", learned_anew)


def test_the_shipped_cards_of_the_heads_are_their_metas() -> None:
    for kind in ("adaptive-sequence", "adaptive-token"):
        head = read(SHIPPED, f"{kind}.smollm2-135m")
        assert card.text(head.name, head.meta) == head.card
