"""Parts with a scripted decoder: the page's own seams without a model. The catalogue, the store and the traces are real."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from playground.config import Settings
from playground.decoding.policies.catalogue import Catalogue, catalogue
from playground.decoding.policies.fixed import Fixed
from playground.decoding.policies.spec import Channel, Key, PolicyKind
from playground.decoding.trace import Alternative, Event, Finished, LaneStep, Request, Started, TokenStep, Trace
from playground.feedback.store import Store

END = 0
GRID = (0.0, 0.4, 0.8, 1.2)
WORDS = (
    "Once",
    " upon",
    " a",
    " time",
    ",",
    " the",
    " lamp",
    " was",
    " lit",
    ".",
    "\n\n",
    " Then",
    " ☀",
    "",
    " rain",
    ".",
)


MEASURED = PolicyKind(
    "measured", "Measured", "Records an amount and a kind.", "T = 0.7", "this test",
    (Key("aim_bits", "float", 3.0, "the amount aimed at", 0.0, 9.0),),
    build=Fixed,
    channels=(
        Channel("amount", "Amount", "bits", "an amount", 0.0, 4.0, target="aim_bits"),
        Channel("author", "Author", "", "who", 0.0, 1.0, words=("small model", "large model"), figure="by the large"),
        Channel("running", "Running", "", "a running number", -1.0, 3.0, centre=1.0, figure=""),
    ),
    note=lambda values, steps: f"{len(steps)} tokens aimed at {values['aim_bits']:g}." if steps else "",
)  # fmt: skip
BLOCKS = PolicyKind(
    "blocks", "Blocks", "Streams by block.", "T = 0.7", "this test", (), build=Fixed,
    channels=(Channel("size", "Size", "particles", "an effective size", 1.0, 4.0),),
)  # fmt: skip
BLOCK = 5


def channels(spec: str, position: int) -> dict[str, float]:
    """What the policy of `spec` records at a position; the first step of a measured lane has no amount yet.

    A policy of the real catalogue records the highest value of each of its channels.
    """
    if spec.startswith("measured"):
        amount = {"amount": 0.25 * (position % 20)} if position else {}
        return {**amount, "author": float(position % 3 == 0), "running": -1.0 + position % 5}
    if spec.startswith("blocks"):
        return {"size": 1.0 + position % 4}
    kinds = [kind for kind in catalogue({}).kinds if kind.name == spec.partition(":")[0]]
    return {channel.name: float(channel.high) for kind in kinds for channel in kind.channels}


def measured_catalogue() -> Catalogue:
    """The catalogue with two policies that record channels."""
    return Catalogue((*catalogue({"adaptive-token": "token-head"}).kinds, MEASURED, BLOCKS))


CARD = (
    "```\npython -m playground train --data one-long-name.jsonl another-long-name.jsonl --out a-head\n```\n\n"
    "| policy | a-long-heading | another-long-heading | yet-another-one |\n|---|---|---|---|\n| this head of the model | .1 | .2 | .3 |"
)


def step(
    position: int, text: str, lane: int = 0, token_id: int | None = None, channel: dict[str, float] | None = None
) -> TokenStep:
    """One step whose numbers depend on lane and position, so that a mix-up shows."""
    index = (position * 7 + lane) % 4
    temperature = GRID[index] if lane % 2 == 0 else 0.7
    entropy = 0.25 + (position * 5 + lane) % 9 / 2
    logprob = -0.5 - (position * 3 + lane) % 5
    grid_probs = tuple(0.4 if i == index else 0.2 for i in range(4)) if lane % 2 == 0 else None
    alternatives = tuple(Alternative(100 + i, f" alt{i}", 0.3 / (i + 1), 0.4 / (i + 1)) for i in range(4))
    return TokenStep(
        position, 10 + position if token_id is None else token_id, text, temperature,
        index if grid_probs else None, math.log(0.4) if grid_probs else None, grid_probs,
        entropy, entropy / 2, logprob, logprob / 2, alternatives, channel or {},
    )  # fmt: skip


def header(request: Request, spec: str, lane: int = 0) -> Trace:
    return Trace(
        spec, "scripted", "r0", None, "float32", request.seed, "own", 0, request.prompt, (1, 2), None, "", "cancelled",
        ("temperature",), GRID if lane % 2 == 0 else None, (),
    )  # fmt: skip


@dataclass
class ScriptedParts:
    """Streams `texts` a lane (the same for every lane unless two are given), then the end token.

    A pass in `hold` waits until its event is set. A lane of BLOCKS streams BLOCK steps at once and nothing in between; one that follows another starts after it.
    """

    settings: Settings
    texts: tuple[tuple[str, ...], ...] = (WORDS * 3, WORDS * 2)
    pause: float = 0.0
    hold: dict[int, threading.Event] = field(default_factory=dict)
    heads: tuple[Any, ...] = tuple(
        SimpleNamespace(
            name=f"{level}-head",
            id=f"{level}-head@0",
            meta=SimpleNamespace(kind=f"adaptive-{level}"),
            card=f"# {level}-head\n\n{CARD}",
        )
        for level in ("token", "sequence")
    )
    arena: tuple[str, ...] = ("adaptive-token", "adaptive-sequence")
    refused_heads: tuple[str, ...] = ("Checkpoint 'other' was trained on another model.",)
    closed: list[int] = field(default_factory=list)
    visitors: bool = True
    language_model: Any = field(
        default_factory=lambda: SimpleNamespace(
            name="scripted",
            revision="r0",
            precision="float32",
            precision_reason="Measured at start: as fast as the others.",
            device="cpu",
            end_ids=frozenset({END}),
            control_tokens={},
        )
    )
    catalogue: Catalogue = field(
        default_factory=lambda: catalogue({"adaptive-token": "token-head", "adaptive-sequence": "sequence-head"})
    )

    @cached_property
    def store(self) -> Store:
        return Store.open(self.settings.sqlalchemy_url, self.settings.data_folder)

    def stream(self, request: Request, specs: Sequence[str], replicas: Sequence[int] | None = None) -> Iterator[Event]:
        scripts = [self.texts[lane % len(self.texts)][: request.max_tokens] for lane in range(len(specs))]
        headers = tuple(header(request, spec, lane) for lane, spec in enumerate(specs))
        lanes: list[list[TokenStep]] = [
            [
                *(step(i, text, lane, channel=channels(spec, i)) for i, text in enumerate(script)),
                step(len(script), "", lane, END),
            ]
            for lane, (script, spec) in enumerate(zip(scripts, specs, strict=True))
        ]
        sent = 0
        try:
            yield Started(headers)
            for steps in _passes(lanes, specs):
                time.sleep(self.pause)
                if sent in self.hold:
                    self.hold[sent].wait(60)
                yield steps
                sent += 1
            traces = zip(headers, lanes, strict=True)
            yield Finished(tuple(h.with_steps(steps, "end", {"decode_seconds": 1.0}) for h, steps in traces))
        finally:
            self.closed.append(sent)


def _passes(lanes: Sequence[Sequence[TokenStep]], specs: Sequence[str]) -> Iterator[tuple[LaneStep, ...]]:
    """What each forward pass makes certain: first the lanes that decide by themselves, then the followers."""
    alone = [lane for lane, spec in enumerate(specs) if ",of=" not in spec or ",of=0" in spec]
    for group in (alone, [lane for lane in range(len(lanes)) if lane not in alone]):
        for position in range(max((len(lanes[lane]) for lane in group), default=0)):
            passed: list[LaneStep] = []
            for lane in group:
                block = BLOCK if specs[lane].startswith("blocks") else 1
                full = (position + 1) % block == 0 or position + 1 == len(lanes[lane])
                begin = position - position % block
                new = lanes[lane][begin : position + 1] if full and position < len(lanes[lane]) else ()
                passed += [LaneStep(lane, one, "end" if one is lanes[lane][-1] else None) for one in new]
            yield tuple(passed)
