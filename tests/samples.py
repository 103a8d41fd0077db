"""Traces and battles with the shape of real ones, from a seed: peaked distributions over a vocabulary, float32 digits."""

from __future__ import annotations

import math
import random
import uuid
from datetime import UTC, datetime

from playground.decoding.trace import Alternative, Request, TokenStep, Trace, float32_digits, nine_digits
from playground.records import Battle

VOCABULARY = 49_152
SHOWN = 5  # alternatives a step
GRID = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
FIXED = "fixed:temperature=0.7"
ADAPTIVE = "adaptive-token:checkpoint=adaptive-token,select=sample"
NOTICE = "2026-11"


def make_trace(
    seed: int = 0, tokens: int = 12, spec: str = FIXED, prompt: str = "Name a city.", stop: str = "end"
) -> Trace:
    """A trace of `tokens` steps; a spec that begins with "adaptive" has a grid, others a constant temperature of 0.7."""
    draw = random.Random(f"{seed} {spec}")
    adaptive = spec.startswith("adaptive")
    empty = Trace(
        policy=spec,
        model="embedded",
        revision="1",
        checkpoint="adaptive-token" if adaptive else None,
        precision="float32",
        seed=seed,
        noise="own",
        replica=0,
        prompt=prompt,
        prompt_ids=tuple(draw.randrange(VOCABULARY) for _ in range(20)),
        source_ids=None,
        text="",
        stop="cancelled",
        order=("temperature",),
        grid=GRID if adaptive else None,
        steps=(),
    )
    steps = [_step(draw, position, adaptive) for position in range(tokens)]
    return empty.with_steps(steps, stop, {"seconds": 1.25, "tokens_per_second": tokens / 1.25})  # type: ignore[arg-type]


def make_battle(voter: str = "voter-1", blind: bool = True, **values: object) -> Battle:
    """A battle of the fixed against the adaptive arm on the prompt of `make_trace`."""
    defaults: dict[str, object] = {
        "id": str(uuid.uuid4()),
        "mode": "collect",
        "request": Request("Name a city.", seed=7, stop=("\n\n",)),
        "family": "facts",
        "arms": (FIXED, ADAPTIVE),
        "left": "b",
        "propensity": 0.25 if blind else None,
        "notice": NOTICE,
        "created": datetime(2026, 11, 21, 12, 0, 0, 5, tzinfo=UTC),
    }
    return Battle(voter=voter, blind=blind, **{**defaults, **values})  # type: ignore[arg-type]


def make_traces(seed: int = 0, tokens: int = 12) -> tuple[Trace, Trace]:
    """The finished replies of `make_battle`."""
    return make_trace(seed, tokens, FIXED), make_trace(seed + 1, tokens, ADAPTIVE)


def _step(draw: random.Random, position: int, adaptive: bool) -> TokenStep:
    scale = draw.choice((1.5, 3.0, 5.0))  # how peaked the model is here
    logits = sorted((draw.gauss(0, scale) for _ in range(64)), reverse=True)
    index, weights = _grid_choice(draw) if adaptive else (None, None)
    temperature = GRID[index] if index is not None else 0.7
    before, after = _softmax(logits, 1.0), _softmax(logits, temperature)
    rank = draw.choices(range(64), after)[0]
    ids = [int(VOCABULARY ** draw.random()) for _ in range(SHOWN)]  # frequent tokens have small ids
    token = ids[rank] if rank < SHOWN else int(VOCABULARY ** draw.random())
    shown = zip(ids, before, after, strict=False)
    return TokenStep(
        position=position,
        token_id=token,
        text=_text(token),
        temperature=nine_digits(temperature),
        grid_index=index,
        grid_logprob=float32_digits(math.log(weights[index])) if weights and index is not None else None,
        grid_probs=tuple(map(float32_digits, weights)) if weights else None,
        entropy=float32_digits(_entropy(before)),
        entropy_after=float32_digits(_entropy(after)),
        logprob=float32_digits(math.log(before[rank])),
        logprob_drawn=float32_digits(math.log(after[rank])),
        alternatives=tuple(Alternative(i, _text(i), float32_digits(p), float32_digits(q)) for i, p, q in shown),
    )


def _grid_choice(draw: random.Random) -> tuple[int, list[float]]:
    weights = _softmax([draw.gauss(0, 1) for _ in GRID], 1.0)
    return draw.choices(range(len(GRID)), weights)[0], weights


def _softmax(logits: list[float], temperature: float) -> list[float]:
    if temperature == 0:
        return [1.0 if i == 0 else 0.0 for i in range(len(logits))]
    top = max(logits)
    weights = [math.exp((logit - top) / temperature) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def _entropy(probabilities: list[float]) -> float:
    return -sum(p * math.log(p) for p in probabilities if p > 0)


def _text(token: int) -> str:
    """Words and pieces as a tokenizer has them: spaces, quotes, newlines, letters beyond ASCII."""
    pieces = ("ing", " the", "é", ' "', "\n", " 東京", "ly", "=", " of", "🙂")
    return pieces[token % 10] + (format(token, "x") if token % 3 else "")
