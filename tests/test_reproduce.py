"""What ships can be made again: the texts to the byte, the heads by commands that exist, and the comparison says how near."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.checkpoints import SHIPPED, load, read, save
from models.meta import Meta
from playground.__main__ import main, parser
from playground.errors import PlaygroundError
from playground.training.predictors import corpus, reference_texts
from playground.training.predictors.recipes import RECIPES, Command, Recipe
from playground.training.predictors.reproduce import compared, run, verdict

NAME = "difficulty-probe.smollm2-135m"
RECIPE = Recipe("difficulty-probe", (Command("first {data} --out {out}/a b"), Command("second", quick="--small")))


def data(folder: Path) -> Path:
    """Invented items in the form of the three data sets."""
    folder.mkdir()
    instructions = [
        {"id": "task_0", "instruction": "Name it.", "instances": [{"input": "a sound", "output": "a word"}]},
        {"id": "task_1", "instruction": "Say no.", "instances": [{"input": "", "output": "no"}]},
        {"id": "task_2", "instruction": "Greet.", "instances": [{"input": "", "output": "Grüße 好"}]},
    ]
    problems = [
        {"id": f"p{i}", "question": f"{i} and 1?", "answer": f"It is <<{i}+1={i + 1}>>{i + 1}.\n#### {i + 1}"}
        for i in range(200)
    ]
    questions = [
        {
            "article": f"An_article_{i}",
            "passage": f"Passage {i}.",
            "question": f"Which {k}?",
            "answers": [f"answer {k}", "no"],
        }
        for i in range(60)
        for k in range(4)
    ]
    for name, records in (
        ("self_instruct_user_oriented", instructions),
        ("gsm8k_train_1000", problems),
        ("xquad_en_train", questions),
    ):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return folder


def test_the_texts_are_those_kinds_in_those_numbers_and_the_same_every_time(tmp_path: Path) -> None:
    digest = reference_texts.write(data(tmp_path / "data"), tmp_path / "texts.jsonl")
    records = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text().splitlines()]
    assert len(records) == 2 + 150 + 60 + 150
    by_prompt = {record["prompt"]: (record["reply"], record["cluster"]) for record in records}
    assert by_prompt["Name it.\n\na sound"] == ("a word", "task_0")
    assert by_prompt["Greet."] == ("Grüße 好", "task_2")
    assert "Say no." not in by_prompt
    assert by_prompt["3 and 1?"] == ("It is 4.\nThe answer is 4", "p3")
    assert by_prompt["Write a paragraph for an encyclopedia article about An article 2."] == (
        "Passage 2.",
        "An_article_2",
    )
    assert by_prompt["Passage 2.\n\nWhich 1?"] == ("answer 1", "An_article_2")
    assert reference_texts.write(tmp_path / "data", tmp_path / "again.jsonl") == digest
    assert corpus.read(tmp_path / "texts.jsonl")[1] == digest


def test_a_folder_without_the_data_sets_is_told_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["texts", "--data", str(tmp_path), "--out", str(tmp_path / "t")], {}) == 2
    assert "gsm8k_train_1000.jsonl" in capsys.readouterr().err
    assert main(["reproduce", "--data", str(tmp_path / "none"), "--out", str(tmp_path)], {}) == 2
    assert main(["reproduce", "--data", str(tmp_path), "--out", str(tmp_path), "--only", "nothing"], {}) == 2
    assert "tempnet, auto-deco" in capsys.readouterr().err


def test_every_head_that_ships_has_a_recipe_of_commands_that_parse() -> None:
    assert {recipe.head for recipe in RECIPES} == {path.stem for path in SHIPPED.glob("*.safetensors")}
    for recipe in RECIPES:
        lines = [
            command.arguments(Path("data"), Path("out"), quick)
            for command in recipe.commands
            for quick in (False, True)
        ]
        for arguments in lines:
            assert parser().parse_args(arguments).run
        assert any(recipe.head in arguments for arguments in lines)
        for arguments in lines:
            assert not [part for part in arguments if "{" in part]


def test_commands_run_in_order_once_and_go_on_after_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []

    def call(arguments: list[str]) -> int:
        asked.append(arguments)
        return int(arguments[0] == "second" and len(asked) == 2)

    with pytest.raises(PlaygroundError, match="`python -m playground second` ended with status 1; see above"):
        run(tmp_path, tmp_path / "out", recipes=[RECIPE], call=call)
    run(tmp_path, tmp_path / "out", recipes=[RECIPE], call=call)
    out = str(tmp_path / "out")
    assert asked == [["first", str(tmp_path), "--out", f"{out}/a", "b"], ["second"], ["second"]]
    assert "done before: python -m playground first" in capsys.readouterr().err
    run(tmp_path, tmp_path / "out", quick=True, recipes=[RECIPE], call=call)
    assert asked[-1] == ["second", "--small"]
    record = json.loads((tmp_path / "out" / "reproduce.json").read_text())
    assert "not compared, since" in record["heads"][0]["verdict"]


def made(folder: Path, change: float = 0.0, **metrics: object) -> None:
    """The shipped probe in `folder`, one weight moved by `change` of its tensor's largest, some figures replaced."""
    head = read(SHIPPED, NAME)
    module = load(head)
    with torch.no_grad():
        weight = next(p for p in module.parameters() if p.ndim == 2)
        place = weight.abs().argmin()
        weight.view(-1)[place] += change * float(weight.abs().max())
    meta: Meta = replace(head.meta, metrics={**head.meta.metrics, **metrics}, command="another")
    save(folder / "heads", NAME, module, meta, "card")


def test_the_same_head_is_called_the_same_to_the_last_bit(tmp_path: Path) -> None:
    made(tmp_path)
    outcome = compared(RECIPE, tmp_path)
    assert outcome.same_bits
    assert outcome.figures == ()
    assert verdict(outcome).startswith(
        f"{NAME}: the same weights to the last bit; {outcome.compared} of {outcome.compared} figures"
    )


def test_what_differs_is_said_with_both_values(tmp_path: Path) -> None:
    accuracy = read(SHIPPED, NAME).meta.metrics["accuracy"]
    made(tmp_path, 0.01, accuracy=accuracy + 0.1, nats=read(SHIPPED, NAME).meta.metrics["nats"] * 1.001)
    outcome = compared(RECIPE, tmp_path)
    assert outcome.weights == pytest.approx(0.01, rel=1e-3)
    assert outcome.figures == (("accuracy", accuracy + 0.1, accuracy),)
    assert "differ by at most 0.01 of their tensor's largest" in verdict(outcome)
    assert "only that the commands run" in verdict(outcome, quick=True)


def test_reports_are_compared_too(tmp_path: Path) -> None:
    made(tmp_path)
    for name, value in (("ours", 1.0), ("theirs", 2.0)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"table": [{"mean": value, "count": 3}], "command": name}))
    outcome = compared(replace(RECIPE, reports=(("ours.json", "theirs.json"),)), tmp_path, root=tmp_path)
    assert outcome.figures == (("table[0].mean", 1.0, 2.0),)
