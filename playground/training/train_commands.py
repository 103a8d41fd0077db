"""The command `train` of `python -m playground`: a flag for every figure and name of training/recipe.py."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from playground.config import add_common_flags, number, settings_from, whole
from playground.decoding.counts import several
from playground.errors import PlaygroundError
from playground.training.lpo import LOSSES, REFERENCES, STRENGTHS
from playground.training.recipe import CALIBRATIONS, POOLS, TOKEN_WEIGHTS

RECIPE_FLAGS = (
    *(
        "seed",
        "beta",
        "weight_decay",
        "learning_rate",
        "epochs",
        "loss",
        "reference",
        "strength",
        "degree",
        "smoothing",
    ),
    *(
        "pull",
        "token_weights",
        "samples",
        "dropout",
        "batch",
        "accumulate",
        "held_out",
        "patience",
        "calibrate",
        "pool",
        "smooth",
    ),
)


def add_train_command(subparsers: Any) -> None:
    """Adds the sub-parser of `train`."""
    train = subparsers.add_parser("train", help="a temperature head from preference files")
    add = train.add_argument
    add("--data", type=Path, required=True, nargs="+", metavar="FILE", help="preference/1 files")
    add("--level", choices=("token", "sequence"), required=True)
    add("--out", required=True, metavar="NAME", help="name of the checkpoint")
    add("--folder", type=Path, metavar="DIR", help="where the checkpoint is written (default: one's own)")
    add("--parent", metavar="NAME", help="go on from this head instead of a uniform one")
    add("--loss", choices=LOSSES, help="eq. 10, eq. 11 per token or per reply, eq. 9, or NLL (default: separate)")
    add(
        "--reference",
        choices=REFERENCES,
        help="the uniform head, for every token (default), or means over tokens: latent losses then have no reference, "
        "and joint is refused",
    )
    add("--strength", choices=STRENGTHS, help="what slight and much do to a vote (default: none)")
    add("--degree", type=number(0, 100), help="weight of the preference-degree loss (default: 0)")
    add("--smoothing", type=number(0, 0.499), help="measured rate of wrong votes (default: 0)")
    add("--pull", type=number(0, 100), help="weight of the KL to the uniform head")
    add("--token-weights", choices=TOKEN_WEIGHTS, help="spans where given, none, or times a learned mask")
    add("--samples", type=whole(1), help="dropout masks the loss is averaged over (default: 1)")
    add("--calibrate", choices=CALIBRATIONS, help="scale the logits to fit the held-out pairs (default: none)")
    add("--pool", choices=POOLS, help="whether a family's votes count together (default: family at sequence level)")
    add(
        "--smooth",
        type=number(0, 100),
        help="lends temperatures their neighbours' votes where votes are pooled (default: 0)",
    )
    add("--seed", type=whole(0), help="of the held-out prompts, the start and the order (default: 0)")
    add("--beta", type=number(0), help="strength of the loss")
    add("--weight-decay", type=number(0, 100))
    add("--learning-rate", type=number(0))
    add("--dropout", type=number(0, 0.95))
    add("--epochs", type=whole(1), help="at most this many")
    add("--patience", type=whole(1), help="epochs without a lower held-out loss before it ends")
    add("--batch", type=whole(1), help="pairs of one forward pass of the head")
    add("--accumulate", type=whole(1), help="batches of one update (default: 1)")
    add("--held-out", type=number(0.01, 0.99), help="share of prompts that only say when to stop (default: 0.2)")
    add_common_flags(train)
    train.set_defaults(run=_train)


def _train(arguments: argparse.Namespace, environment: dict[str, str]) -> None:
    from models.checkpoints import SHIPPED, get
    from models.meta import Base
    from playground.training import ahead, exclusions, train
    from playground.training.commands import command_line, heads_of, load_model

    settings = settings_from(vars(arguments), environment)
    given = {name: getattr(arguments, name) for name in RECIPE_FLAGS if getattr(arguments, name) is not None}
    if arguments.folder is None and (SHIPPED / f"{arguments.out}.safetensors").exists():
        raise PlaygroundError(f"`--out` must be a new name: a head {arguments.out!r} ships.")
    recipe = train.recipe_for(arguments.level, **given)
    ahead.place_of_head(arguments.folder or settings.trained_heads, arguments.out)
    ahead.named_heads(heads_of(arguments, settings), [arguments.parent] if arguments.parent else [])
    votes = train.read_preferences(arguments.data)  # refused before the model is loaded
    exclusions.grid_of(votes[0], arguments.level, recipe.loss)
    model = load_model(settings)
    base = Base.of(model)
    parent = get(heads_of(arguments, settings), arguments.parent, base) if arguments.parent else None
    made = train.run(
        model,
        data=arguments.data,
        level=arguments.level,
        name=arguments.out,
        folder=arguments.folder or settings.trained_heads,
        features_folder=settings.cache_folder / "features",
        recipe=recipe,
        command=command_line(),
        parent=parent,
        votes=votes,
    )
    print(summary(made), file=sys.stderr)


def summary(checkpoint: Any) -> str:
    """One line about a trained head."""
    figures = checkpoint.meta.metrics["training"]
    left = ", ".join(f"{reason}: {count}" for reason, count in figures["dropped"].items())
    return (
        f"{checkpoint.id}: {several(figures['train_pairs'], 'pair')} trained on, {figures['held_out_pairs']} held out, accuracy "
        f"{figures['held_out_accuracy']:.3f}, loss {figures['held_out_loss']:.4f} after epoch {figures['epoch'] + 1}"
        + (f"; left out: {left}" if left else "")
    )
