"""The evaluation as a whole on TinyLM and an invented suite, and group figures on tables whose answers are known."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from models.adaptive_decoder import AdaptiveDecoder
from models.checkpoints import get, save
from models.meta import Base, Meta
from playground.__main__ import main
from playground.errors import PlaygroundError
from playground.records import Preference
from playground.training.evaluation import evaluate, scores
from playground.training.evaluation.checkable import checkable, majority
from playground.training.evaluation.figures import group_figures, label, verdict
from playground.training.evaluation.folds import folds_of
from playground.training.evaluation.opponents import Item
from playground.training.evaluation.plan import Plan, Stratum, setting
from playground.training.labels.lanes import replies
from playground.training.labels.tasks import Task
from playground.training.train import recipe_for
from tests.graded import decoded, sampled, vote, write

FACT = Stratum("fact", "fact", "contains-answer", "extraction", 2, 2, crossed=True)
ANY = Stratum("any", "any", "distinct-valid", "writing", 1, 1)
PLAN = Plan("invented", (FACT, ANY), {"both": ("fact", "any")}, grid=(0.0, 0.6, 1.2))


def task(name: str, stratum: Stratum, cluster: str, split: str) -> Task:
    several = stratum is ANY
    ask = f"Name a {name}." if several else f"Name the {name}."
    count = 4 if several else 1
    letters = (*"abcdefghijklmnop", *(f"{cluster}, number {i}" for i in range(40)))  # no class has most of another's
    return Task(
        name, "invented", stratum.family, cluster, ask, 5, stratum.metric, split, replies=count, answers=letters
    )


TASKS = [
    *(task(f"f{i}", FACT, f"article {i // 2}", "train") for i in range(8)),
    *(task(f"a{i}", ANY, f"class {i // 2}", "train" if i < 4 else "test") for i in range(10)),
]


def known(cold_fact: float = 0.8, warm_any: float = 0.6) -> list[Item]:
    """Facts are best at T = 0, variety at T = 1.2; a tenth of spread between clusters, the same for every setting."""
    items = []
    for number, t in enumerate(TASKS):
        stratum = FACT if t.family == "fact" else ANY
        low, high = (cold_fact, 0.0) if stratum is FACT else (0.0, warm_any)
        spread = 0.1 * (number // 2 % 2)
        table = {name: [low + (high - low) * heat(name) / 1.2 + spread] for name in PLAN.settings}
        items.append(Item(t, stratum, table))
    return items


def heat(name: str) -> float:
    return float(name.removeprefix("fixed:temperature=").split(",")[0])


def says(right: bool) -> tuple[dict[str, tuple[float, ...]], ...]:
    """Three seeds of a head that always finds the best temperature, or always the worst."""
    sure = {True: (0.0, -3.0, -3.0), False: (-3.0, -3.0, 0.0)}
    return ({t.id: sure[(t.family == "fact") == right] for t in TASKS},) * 3


def figures(head, items=None):
    items = items or known()
    folds = folds_of(PLAN, TASKS, 2)
    heads = {"head": head, "linear head": says(True), "untrained head": says(False)}
    found = group_figures(PLAN, items, folds, heads, ("fact", "any"), beta=1.0)
    return found, {row["name"]: row for row in found["policies"]}


def test_a_head_that_knows_the_kind_of_prompt_beats_all_that_do_not():
    found, rows = figures(says(True))
    assert rows["head"]["score"]["mean"] == pytest.approx(rows["per-family oracle"]["score"]["mean"])
    assert rows["keyword router"]["head_minus"]["mean"] == pytest.approx(0)
    assert rows["T 0"]["head_minus"]["mean"] == pytest.approx(0.3)  # loses 0.6 of variety on one stratum of two
    assert rows["T 0"]["head_minus"]["half"] == pytest.approx(0)  # the spread is common to both: pairing removes it
    assert rows["T 0"]["score"]["half"] > 0.01
    assert rows["T 1.2"]["head_minus"]["mean"] == pytest.approx(0.4)
    assert rows["shuffled prompts"]["head_minus"]["mean"] == pytest.approx(0.35)  # half cold, half warm
    assert rows["random T"]["head_minus"]["mean"] == pytest.approx(0.35)
    assert rows["untrained head"]["head_minus"]["mean"] == pytest.approx(0.7)
    assert rows["T 0"]["head_wins"]["mean"] == pytest.approx(0.75)  # ties on facts, wins on variety
    said = verdict(found, PLAN)
    assert said["beats_every_fixed"]
    assert said["beats_shuffled"]
    assert said["best_fixed"] == "T 0"
    assert (said["better_than_router"], said["not_worse_than_router"]) == (False, True)  # it does the same
    assert said["scores_higher_than_the_head"] == []
    assert found["histograms"]["head"] == {"fact": [1, 0, 0], "any": [0, 0, 1]}


def test_the_difference_on_clusters_that_no_choice_has_seen_stands_beside():
    found, rows = figures(says(True))
    assert "head_minus_untouched" not in rows["T 0"]  # no fact is of the test split: nothing of the group is untouched
    strata = replace(FACT, untouched="dev"), ANY
    plan = replace(PLAN, strata=strata)
    seen = [replace(t, split="dev" if t.id in ("f0", "f1", "f2", "f3") else t.split) for t in TASKS]
    items = [
        replace(
            item, task=t, stratum=strata[t.family == "any"], scores=better(item) if t.split == "dev" else item.scores
        )
        for item, t in zip(known(), seen, strict=True)
    ]
    heads = {"head": says(True), "linear head": says(True), "untrained head": says(False)}
    found = group_figures(plan, items, folds_of(plan, seen, 2), heads, ("fact", "any"), beta=1.0)
    assert found["strata"]["fact"]["untouched"] == 2
    assert found["strata"]["any"]["untouched"] == found["strata"]["any"]["clusters"] == 3
    rows = {row["name"]: row for row in found["policies"]}
    assert rows["T 1.2"]["head_minus_untouched"]["mean"] == pytest.approx(0.5)  # 1.0 on these facts, .8 on the others
    assert rows["T 1.2"]["head_minus"]["mean"] == pytest.approx(0.45)
    assert rows["T 0"]["head_minus_untouched"]["mean"] == pytest.approx(0.3)
    assert verdict(found, plan)["not_beaten_on_untouched"] == []


def better(item: Item) -> dict[str, list[float]]:
    return {name: [value + 0.2 * (heat(name) == 0) for value in values] for name, values in item.scores.items()}


def test_a_head_that_is_always_wrong_loses_to_its_own_shuffled_prompts():
    found, rows = figures(says(False))
    assert rows["shuffled prompts"]["head_minus"]["mean"] == pytest.approx(-0.35)
    assert not any(
        verdict(found, PLAN)[key] for key in ("beats_shuffled", "beats_every_fixed", "not_worse_than_router")
    )
    assert "keyword router" in verdict(found, PLAN)["scores_higher_than_the_head"]


def test_a_constant_head_ties_with_its_temperature_and_with_its_shuffled_prompts():
    constant = ({t.id: (-1.0, 0.0, -1.0) for t in TASKS},)
    found, rows = figures(constant)
    for name in ("T 0.6", "shuffled prompts"):
        assert rows[name]["head_minus"]["mean"] == pytest.approx(0)
    assert not verdict(found, PLAN)["beats_shuffled"]


def test_an_interval_that_holds_0_is_no_win():
    items = known()
    spoilt = []
    for number, item in enumerate(items):  # in half of the classes variety is better cold
        flip = item.stratum is ANY and number // 2 % 2
        table = {
            name: item.scores[
                setting(1.2 - heat(name), *filters(name))
                if flip and heat(name) in (0, 1.2) and not filters(name)
                else name
            ]
            for name in item.scores
        }
        spoilt.append(Item(item.task, item.stratum, table))
    found, rows = figures(says(True), spoilt)
    assert rows["T 0"]["head_minus"]["half"] > abs(rows["T 0"]["head_minus"]["mean"])
    assert not verdict(found, PLAN)["beats_every_fixed"]


def filters(name: str) -> list[tuple[str, float]]:
    return [(key, float(value)) for key, _, value in (part.partition("=") for part in name.split(",")[1:])]


def test_what_is_chosen_on_dev_never_sees_the_fold_that_it_scores():
    items = known()
    honest = figures(says(True), items)[1]
    assert honest["best T on dev"]["score"] == honest["T 0"]["score"]
    # the training side says T = 1.2, the held-out side T = 0: what is chosen on dev must be wrong
    folds = folds_of(PLAN, TASKS, 2)
    test_classes = {t.cluster for t in TASKS if t.family == "any" and t.split == "test"}
    turned = [
        item
        if item.task.cluster in test_classes or item.stratum is FACT
        else Item(item.task, item.stratum, {name: [10 * values[0]] for name, values in item.scores.items()})
        for item in items
    ]
    heads = {"head": says(True)}
    rows = {r["name"]: r for r in group_figures(PLAN, turned, folds, heads, ("fact", "any"), 1.0)["policies"]}
    assert rows["best T on dev"]["score"] == rows["T 1.2"]["score"]
    assert rows["best T on dev"]["score"]["mean"] < rows["T 0"]["score"]["mean"]


def test_seeds_are_pooled():
    found, rows = figures((*says(True)[:1], *says(False)[:1]))
    assert rows["head"]["score"]["mean"] == pytest.approx(sum(found["seeds"]) / 2)
    assert found["seeds"][0] > found["seeds"][1]


def test_filtered_heads_are_labelled_and_looked_up_at_their_own_temperature():
    _, rows = figures(says(True))
    assert {"head, min-p 0.1", "head, top-p 0.9", "T 0.6, min-p 0.05", "best T and filter on test"} <= set(rows)
    assert rows["head, min-p 0.1"]["score"] == rows["head"]["score"]  # in this table filters change nothing
    assert label("fixed:temperature=0.6,min_p=0.1") == "T 0.6, min-p 0.1"


def test_a_sure_head_that_is_right_sits_in_the_highest_bin():
    bins = figures(says(True))[0]["reliability"]
    assert [b["pairs"] for b in bins[:-1]][1:] == [0, 0, 0]
    assert bins[-1]["right"] == 1.0
    assert bins[-1]["predicted"] == pytest.approx(float(torch.sigmoid(torch.tensor(3.0))))


def test_majority_and_pass_of_replies():
    assert majority(["Rome.", "Paris!", "paris"]) == "Paris!"
    assert majority(["Rome", "Paris"]) == "Rome"
    asked = Task("q", "invented", "fact", "c", "?", 4, "contains-answer", "test", answers=("paris",))
    item = Item(asked, FACT, {"s": [0.0, 1.0, 1.0]})
    other = Item(Task(**{**asked.to_record(), "id": "r", "cluster": "d"}), FACT, {"s": [0.0, 0.0, 1.0]})
    texts = {"q": {"s": [["Rome."], ["Paris!"], ["paris"]]}, "r": {"s": [["Rome"], ["rome"], ["Paris"]]}}
    row = checkable([item, other], texts, ["s"])["fact"]["s"]
    assert (row["n"], row["pass"]["mean"], row["maj"]["mean"]) == (3, 1.0, 0.5)
    assert row["accuracy"]["mean"] == pytest.approx(0.5)


@pytest.fixture
def invented(monkeypatch):
    """The invented suite in the place of the real ones."""
    for module, name, value in (
        (evaluate, "plan_of", lambda suite: PLAN),
        (evaluate, "SUITES", ("minimal-pairs",)),  # a suite that needs no folder
        (evaluate, "commit", lambda: "abc"),
        (evaluate, "tasks_of", lambda suite, data=None: tuple(TASKS)),
        (evaluate, "recipe_for", lambda level: evaluate.Recipe(beta=1.0, learning_rate=1e-2, epochs=3)),
    ):
        monkeypatch.setattr(module, name, value)


def labels(model, path, tasks):
    """Two votes a task between fixed temperatures: facts prefer cold, variety warm."""
    lines = []
    for t in tasks:
        for seed in range(2):
            cold, warm = replies(model, t.request(seed), [setting(0.0), setting(1.2)], {})
            arms = {"a": (cold,), "b": (warm,)}
            values = {"source": "verifier", "blind": True, "mode": "collect", "left": "a", "propensity": None}
            outcome = "a" if t.family == "fact" else "b"
            name = f"{t.id}-{seed}"
            made = Preference(name, name, outcome=outcome, prompt=t.prompt, family=t.family, **values, **arms)
            lines.append(json.dumps(made.to_record()) + "\n")
    path.write_text("".join(lines))
    return path


def test_from_labels_to_a_report_a_card_and_the_same_figures_again(tiny, tmp_path, invented):
    path = labels(tiny, tmp_path / "labels.jsonl", [t for t in TASKS if t.split == "train"])
    out, features = tmp_path / "out", tmp_path / "features"
    arguments = {"suite": "invented", "data": None, "labels": [path], "out": out, "features": features}
    result = evaluate.run(tiny, **arguments, seeds=2, folds=2, command="evaluate …")
    assert json.loads((out / "invented.json").read_text()) == result
    assert len(scores.read(out / "invented.scores.jsonl")[0]) == len(PLAN.measured(TASKS))
    page = (out / "invented.html").read_text()
    assert "Plotly.newPlot" in page
    assert "https://" not in page.replace(_plotly(), "")
    assert evaluate.in_words(result).startswith("both: head ")
    again = evaluate.run(tiny, **arguments, seeds=2, folds=2, command="evaluate …")
    assert again == result

    table = out / "invented.scores.jsonl"
    half = table.read_text().splitlines(keepends=True)[
        : len(PLAN.measured(TASKS)) - 1
    ]  # one task lacks all, all lack filters
    table.write_text("".join(half))
    part = evaluate.run(tiny, **arguments, seeds=2, folds=2, unfinished=True)
    assert sum(s["tasks"] for s in part["groups"]["both"]["strata"].values()) >= 10
    names = {row["name"] for row in part["groups"]["both"]["policies"]}
    assert "T 0.6" in names
    assert not any("min-p" in name or "filter" in name for name in names)
    assert evaluate.run(tiny, **arguments, seeds=2, folds=2, command="evaluate …") == result  # decoded to its end again

    base = Base(tiny.name, tiny.revision, tiny.hidden_size, tiny.vocab_size)
    meta = Meta(
        "adaptive-sequence", base, PLAN.grid, 256, "separate", None, "0" * 64, {}, (1 / 3,) * 3, "train …", "abc"
    )
    evaluate.record(save(tmp_path, "head", AdaptiveDecoder(tiny.hidden_size, 3), meta, ""), result)
    card = get([tmp_path], "head", base).card
    for row in result["groups"]["both"]["policies"]:
        assert row["name"] in card
        assert f"{row['score']['mean']:.3f}" in card
    assert "detects the type of prompt" in card


def test_a_table_without_tasks_of_a_kind_is_refused_and_so_are_bad_labels_before_anything_is_decoded(
    tiny, tmp_path, invented
):
    path = labels(tiny, tmp_path / "labels.jsonl", [t for t in TASKS if t.split == "train"])
    out, features = tmp_path / "out", tmp_path / "features"
    arguments = {"suite": "invented", "data": None, "out": out, "features": features}
    with pytest.raises(PlaygroundError, match="has none of fact, any yet"):
        evaluate.run(tiny, **arguments, labels=[path], unfinished=True)
    with pytest.raises(PlaygroundError, match=r"missing\.jsonl"):
        evaluate.run(tiny, **arguments, labels=[tmp_path / "missing.jsonl"])
    assert not (out / "invented.scores.jsonl").exists()


def test_figures_go_to_cards_of_heads_of_the_same_recipe_alone(tiny, tmp_path):
    base = Base(tiny.name, tiny.revision, tiny.hidden_size, tiny.vocab_size)
    recipe = asdict(recipe_for("sequence"))

    def head(kind: str, **changes):
        metrics = {"training": {"recipe": {**recipe, **changes}}}
        meta = Meta(kind, base, (0.0, 0.6, 1.2), 256, "separate", None, "0" * 64, metrics, (1 / 3,) * 3, "", "abc")
        return save(tmp_path, "head", AdaptiveDecoder(tiny.hidden_size, 3), meta, "")

    evaluate.check_head(head("adaptive-sequence", seed=5))
    for other in (head("adaptive-token"), head("adaptive-sequence", beta=0.5), head("adaptive-sequence", pool="none")):
        with pytest.raises(PlaygroundError, match="default recipe"):
            evaluate.check_head(other)


@pytest.mark.parametrize(
    ("suite", "flag"), [("minimal-pairs", "limit"), ("minimal-pairs", "policy"), ("repetition", "folds")]
)
def test_a_flag_that_the_suite_does_not_read_is_refused(suite, flag, tmp_path, capsys):
    assert main(["evaluate", "--suite", suite, f"--{flag}", "3", "--out", str(tmp_path)]) == 2
    assert f"`--{flag}` goes with" in capsys.readouterr().err


def test_labels_of_strange_prompts_are_counted_and_nothing_else_is_refused(tiny, tmp_path, invented):
    strange = Task("s", "other", "fact", "c", "Strange?", 4, "contains-answer", "train", answers=("a",))
    mixed = labels(tiny, tmp_path / "mixed.jsonl", [strange, TASKS[0]])
    found = evaluate.labels_of(tiny, [mixed], None, tmp_path / "features", PLAN.grid)
    assert found.dropped["a prompt of no suite"] == 2
    with pytest.raises(PlaygroundError, match="prompts of the suites"):
        evaluate.labels_of(
            tiny, [labels(tiny, tmp_path / "s.jsonl", [strange])], None, tmp_path / "features", PLAN.grid
        )


def test_labels_that_were_drawn_from_another_grid_are_refused(tiny, tmp_path, invented):
    arms = decoded(tiny, TASKS[0].prompt, [sampled("sequence")] * 2)  # of seven temperatures; the plan has three
    data = write(tmp_path / "votes.jsonl", [vote(arms[:1], arms[1:])])
    with pytest.raises(PlaygroundError, match="one grid"):
        evaluate.labels_of(tiny, [data], None, tmp_path / "features", PLAN.grid)


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()
