"""What the product makes of a model: its greedy tokens, one sentence, or whatever else comes out of it."""

from __future__ import annotations

import io
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from models.errors import ModelError
from models.loading import load_language_model
from playground.__main__ import main
from playground.errors import PlaygroundError

PROMPT: Final = "Write a short story about a town."
COUNT: Final = 12
NO_NUMBERS: Final = (
    "The model's logits are no numbers, which every decoder refuses."  # see playground/decoding/steps.py
)


@dataclass(frozen=True)
class Given:
    """What came of one try: tokens after a prompt, or a sentence, or neither (`fault` says what then)."""

    prompt: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    precision: str = ""
    sentence: str = ""
    fault: str = ""


def attempt(path: str, precision: str, cache: Path) -> Given:
    """Loads the model at `path` and lets it write COUNT greedy tokens."""
    try:
        model = load_language_model(path, precision=precision, device="cpu", cache=cache, threads=1)
        prompt = model.encode_chat(PROMPT)
        output, kept = model.prefill(prompt)
        tokens: list[int] = []
        for _ in range(COUNT):
            if not torch.isfinite(output.logits).all():
                return Given(sentence=NO_NUMBERS)
            tokens.append(int(output.logits[0].argmax()))
            output = model.step(torch.tensor(tokens[-1:]), kept)
        model.decode(tokens)
        for token in tokens:
            model.token_text(token)
        return Given(tuple(prompt), tuple(tokens), model.precision)
    except (ModelError, PlaygroundError) as error:
        return Given(sentence=str(error))
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        ours = [
            f
            for f in traceback.extract_tb(error.__traceback__)
            if "/models/" in f.filename and "site-pack" not in f.filename
        ]
        at = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} " if ours else ""
        return Given(
            fault=f"{type(error).__name__} at {at}{Path(last.filename).name}:{last.lineno}: {str(error)[:200]}"
        )


def command(path: str, data: Path) -> Given:
    """What a user of the command line sees: exit 0 with nothing that looks like a traceback, or 2 with one line on stderr."""
    arguments = [
        "generate",
        "--model",
        path,
        "--prompt",
        PROMPT,
        "--policy",
        "fixed:temperature=0",
        "--max-tokens",
        str(COUNT),
    ]
    arguments += [
        "--json",
        "--threads",
        "1",
        "--device",
        "cpu",
        "--data-folder",
        str(data),
        "--cache-folder",
        str(data / "cache"),
    ]
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main(arguments, {})
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Given(
            fault=f"the command line: {type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error)[:200]}"
        )
    said = err.getvalue().strip()
    if code == 0 and not said and out.getvalue().startswith('{"'):
        return Given(precision="generate")
    if code == 2 and said and not out.getvalue():
        return Given(sentence=said)
    return Given(fault=f"the command line: exit {code}, stderr {said[:200]!r}")
