"""The commands that make the heads that ship, in order; a new head is a new entry. `reproduce` runs them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

MODEL = "smollm2-135m"


@dataclass(frozen=True)
class Command:
    """One command line after `python -m playground`; `quick` is added where only the way is tried, not the result.

    full_only   whether that leaves the command out
    """

    line: str
    quick: str = ""
    full_only: bool = False

    def arguments(self, data: Path, out: Path, quick: bool) -> list[str]:
        line = f"{self.line} {self.quick}" if quick else self.line
        return [part.format(data=data, out=out) for part in shlex.split(line)]


@dataclass(frozen=True)
class Recipe:
    """How one head was made: `name` as --only takes it, which also begins the name of the checkpoint.

    `reports` are JSON files of figures that the commands write, as (below OUT, below the repository).
    """

    name: str
    commands: tuple[Command, ...]
    reports: tuple[tuple[str, str], ...] = ()

    @property
    def head(self) -> str:
        return f"{self.name}.{MODEL}"


MADE = "--model embedded --cache-folder {out}/cache"  # nothing that an earlier run left elsewhere is used
HEADS = f"--folder {{out}}/heads {MADE}"
TEXTS = Command("texts --data {data} --out {out}/texts.jsonl")
READ = f"--texts {{out}}/texts.jsonl --precision float32 {HEADS}"
FAST = f"--precision bfloat16 {MADE}"


def _labels(name: str, suite: str, sizes: str) -> Command:
    return Command(
        f"sample --suite {suite} {sizes} --data {{data}} {FAST} --out {{out}}/labels/{name}.jsonl",
        quick="--limit 8",
    )


def _files(*names: str) -> str:
    return " ".join(f"{{out}}/labels/{name}.jsonl" for name in names)


GROUNDED, VARIED = "grounded-or-varied --family grounded", "grounded-or-varied --family varied"
LABELS = (
    _labels("grounded", GROUNDED, "--split all --per-cluster 5 --seed 11"),
    _labels("varied-train", VARIED, "--split train --per-cluster 1 --sets 3 --seed 13"),
    _labels("varied-dev", VARIED, "--split dev --per-cluster 1 --sets 3 --seed 13"),
    _labels("minimal-train", "minimal-pairs", "--split train --each 8 --sets 3 --seed 12"),
    _labels("minimal-dev", "minimal-pairs", "--split dev --each 8 --sets 3 --seed 12"),
)
REPEATS = _labels(
    "repetition-train", "repetition", "--split train --limit 48 --each 2 --pairs 6 --pairing ranked --seed 14"
)
FACTS = Command(
    f"sample --prompts playground/prompts/facts.json --reward contains-answer --level sequence --n 28 --pairs 64 --pairing every "
    f"--max-tokens 24 --seed 15 {FAST} --out {{out}}/labels/facts-train.jsonl",
    quick="--limit 8 --n 8",
)
SUITE_LABELS = _files("grounded", "varied-train", "varied-dev", "minimal-train", "minimal-dev", "repetition-train")
TOKEN = (
    f"train --data {_files('repetition-train')} --level token --loss latent-token --beta 0.1 --epochs 25 --patience 5 "
    f"--out adaptive-token.{MODEL} --folder {{out}}/heads {FAST}"
)


def _calibrated(head: str) -> Command:
    """The constant temperature of the same mean entropy, which `matched` reads."""
    return Command(f"calibrate --head {head}.{MODEL} --folder {{out}}/heads {MADE}", quick="--limit 4")


def _evaluated(suite: str, head: str, more: str = "") -> Command:
    """The figures of a card; `quick` has no labels that could fill its folds, so there it is left out."""
    line = f"evaluate --suite {suite} --data {{data}} {more} --head {head}.{MODEL} --folder {{out}}/heads {FAST} --out {{out}}/{suite}"
    return Command(line, full_only=True)


RECIPES = (
    Recipe(
        "tempnet",
        (TEXTS, Command(f"tempnet {READ} --target-nats 2 --out tempnet.{MODEL}", quick="--tokens 6000 --epochs 2")),
    ),
    Recipe(
        "auto-deco",
        (TEXTS, Command(f"auto-deco {READ} --out auto-deco.{MODEL}", quick="--tokens 6000")),
    ),
    Recipe(
        "tuned-lens",
        (
            TEXTS,
            Command(
                f"tuned-lens {READ} --layers 20 --tokens 58000 --epochs 15 --out tuned-lens.{MODEL}",
                quick="--tokens 6000 --epochs 1",
            ),
        ),
    ),
    Recipe(
        "difficulty-probe",
        (
            Command(
                f"difficulty --prompts playground/prompts/facts.json --precision float32 {HEADS} "
                f"--out difficulty-probe.{MODEL}",
                quick="--limit 8",
            ),
        ),
    ),
    Recipe(
        "adaptive-sequence",
        (
            *LABELS,
            REPEATS,
            FACTS,
            Command(
                f"train --data {SUITE_LABELS} {_files('facts-train')} --level sequence --out adaptive-sequence.{MODEL} --folder {{out}}/heads {FAST}",
                quick="--epochs 2",
            ),
            *(
                _evaluated(suite, "adaptive-sequence", f"--folds 5 --labels {SUITE_LABELS}")
                for suite in ("grounded-or-varied", "minimal-pairs")
            ),
            _calibrated("adaptive-sequence"),
        ),
    ),
    Recipe(
        "adaptive-token",
        (
            REPEATS,
            Command(TOKEN, quick="--epochs 2"),
            _evaluated(
                "repetition",
                "adaptive-token",
                f"--limit 12 --policy adaptive-token:checkpoint=adaptive-token.{MODEL},min_p=0.1",
            ),
            _calibrated("adaptive-token"),
        ),
    ),
)
