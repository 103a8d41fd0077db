"""Eight visitors with two lanes each in one batch, beside one visitor alone: speed, fairness, delay, and the same tokens.

All go through the app's scheduler, every visitor from a thread of its own. A round decodes all requests at once and some
of them alone; the ratio compares tokens over seconds from the first request to the last token. A visitor's share counts
its tokens when the first visitor ends. The newcomer comes when another has decoded a quarter; its delay is what that
one decodes from the request to the newcomer's first token, less the pieces in which its prompt is read.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from benchmarks.measure.asked import Asked
from benchmarks.measure.lanes import FIXED, endless, prompt_of
from benchmarks.measure.machine import conditions
from benchmarks.measure.result import Result, Table, Value, target
from benchmarks.measure.rounds import LEAST, Spread
from models.errors import ModelError
from models.llama.prefixes import PIECE
from playground.decoding.trace import Finished, Request, Started, Waiting
from playground.parts import Parts, load_parts

TITLE = "eight visitors with two lanes each in one batch, beside one visitor alone"
VISITORS, SPECS = 8, (FIXED, "edt")
PRECISIONS = {"default": 1.4, "bfloat16": 3.0}  # what the ratio to one visitor must reach
LEAST_SHARE, MOST_STEPS = 0.5, 3.0


@dataclass
class Visit:
    """One request as its visitor saw it: when it asked, when each of its steps came, and its lanes' tokens."""

    request: Request
    began: float = 0.0
    steps: list[float] = field(default_factory=list)
    tokens: tuple[tuple[int, ...], ...] = ()
    error: Exception | None = None

    def go(self, parts: Parts, each: Callable[[int], object] = lambda _: None) -> None:
        """Reads the whole stream; `each` is called with the number of steps so far."""
        self.began = time.perf_counter()
        try:
            for event in parts.stream(self.request, SPECS):
                if isinstance(event, Finished):
                    self.tokens = tuple(trace.token_ids for trace in event.traces)
                elif not isinstance(event, Started | Waiting) and event:
                    self.steps.append(time.perf_counter())
                    each(len(self.steps))
        except Exception as error:  # told to whoever waits for the thread
            self.error = error

    @property
    def seconds(self) -> float:
        return self.steps[-1] - self.began


@dataclass(frozen=True)
class Round:
    """What one round found: tokens a second alone and together, tokens a second of processor time together over alone,
    the shares, the newcomer's delay, lanes that changed."""

    alone: float
    together: float
    by_work: float
    shares: list[float]
    delay: float
    changed: int


def run(asked: Asked) -> Result:
    tokens, alone = asked.size(64, 16), asked.size(VISITORS, 2)
    rows, notes = [], []
    model = None
    for name, least in PRECISIONS.items():
        settings = asked.settings if name == "default" else replace(asked.settings, precision=name)
        try:
            parts = endless(load_parts(settings, visitors=True))
        except ModelError as error:
            notes.append(str(error))
            continue
        model = model or parts.language_model
        _round(parts, tokens, alone, LEAST)  # starts the thread, warms the kernels
        rounds = []
        for number in range(LEAST):
            rounds.append(_round(parts, tokens, alone, number))
            asked.progress(f"{parts.language_model.precision}: round {number + 1} of {LEAST}")
        rows.append(_row(parts, rounds, least))
    columns = {"precision": "", "one tokens/s": ".0f", "eight tokens/s": ".0f", "eight ÷ one": ".2f"}
    columns |= {"by processor time": ".2f", "target": "", "met": "", "lowest share": ".2f", "share met": ""}
    columns |= {"newcomer's steps": ".0f", "steps met": "", "lanes changed": "d"}
    how = conditions(
        model=model, rounds=LEAST, visitors=VISITORS, lanes_each=len(SPECS), tokens_a_lane=tokens, also_alone=alone
    )
    notes.append(
        f"Asked for: no share below {LEAST_SHARE:g} of the fair one, at most {MOST_STEPS:g} steps, no lane changed."
    )
    return Result("visitors", how, [Table("Eight visitors beside one", columns, rows)], notes)


def _round(parts: Parts, tokens: int, some: int, number: int) -> Round:
    """One round; the first `some` of the requests are also decoded alone."""
    requests = [
        Request(prompt_of(VISITORS * number + visitor), seed=visitor, max_tokens=tokens) for visitor in range(VISITORS)
    ]
    together, alone = [Visit(request) for request in requests], [Visit(request) for request in requests[:some]]
    sides = {"alone": partial(_one_by_one, parts, alone), "together": partial(_at_once, parts, together)}
    work = {}
    for side in sorted(sides, reverse=number % 2 == 0):  # the second finds its prompts read already, so they take turns
        worked = time.process_time()
        sides[side]()
        work[side] = time.process_time() - worked
    ended = min(visit.steps[-1] for visit in together)
    counts = [sum(at <= ended for at in visit.steps) for visit in together]
    made, made_alone = (sum(len(lane) for visit in visits for lane in visit.tokens) for visits in (together, alone))
    seconds = max(visit.steps[-1] for visit in together) - min(visit.began for visit in together)
    return Round(
        made_alone / sum(visit.seconds for visit in alone),
        made / seconds,
        made / work["together"] / (made_alone / work["alone"]),
        [count * VISITORS / sum(counts) for count in counts],
        _newcomer(parts, requests),
        sum(
            a != b
            for one, many in zip(alone, together[:some], strict=True)
            for a, b in zip(one.tokens, many.tokens, strict=True)
        ),
    )


def _one_by_one(parts: Parts, visits: list[Visit]) -> None:
    for visit in visits:
        visit.go(parts)
        _raised(visit)


def _at_once(parts: Parts, visits: list[Visit]) -> None:
    """All visitors at the same time, each on its own thread."""
    _ended(_started(parts, visits), visits)


def _newcomer(parts: Parts, requests: list[Request]) -> float:
    """Steps that an earlier visitor made before the newcomer's first, beyond the pieces of the newcomer's prompt."""
    *earlier, last = [Visit(request) for request in requests]
    last.request = replace(last.request, prompt=f"I came last. {last.request.prompt}")
    came = threading.Event()
    quarter = last.request.max_tokens // 4

    def watched(count: int) -> None:
        if count == quarter:
            came.set()

    threads = _started(parts, earlier, watched)
    came.wait(60)  # a visitor whose request failed says so below
    last.go(parts)
    _ended(threads, [*earlier, last])
    passed = sum(last.began < at <= last.steps[0] for at in earlier[0].steps)
    ids = parts.language_model.encode_chat(last.request.prompt)
    return passed - math.ceil(len(ids) / PIECE)


def _started(
    parts: Parts, visits: list[Visit], each: Callable[[int], object] = lambda _: None
) -> list[threading.Thread]:
    threads = [threading.Thread(target=visit.go, args=(parts, each)) for visit in visits]
    for thread in threads:
        thread.start()
    return threads


def _ended(threads: list[threading.Thread], visits: list[Visit]) -> None:
    for thread in threads:
        thread.join()
    for visit in visits:
        _raised(visit)


def _raised(visit: Visit) -> None:
    if visit.error is not None:
        raise visit.error


def _row(parts: Parts, rounds: list[Round], least: float) -> dict[str, Value]:
    ratio = Spread.of([found.together / found.alone for found in rounds])
    shares = Spread.of([min(found.shares) for found in rounds])
    delay = Spread.of([found.delay for found in rounds])
    return {
        "precision": parts.language_model.precision,
        "one tokens/s": Spread.of([found.alone for found in rounds]),
        "eight tokens/s": Spread.of([found.together for found in rounds]),
        "eight ÷ one": ratio,
        "by processor time": Spread.of([found.by_work for found in rounds]),
        **target(ratio, least=least),
        "lowest share": shares,
        "share met": shares.low >= LEAST_SHARE,
        "newcomer's steps": delay,
        "steps met": delay.high <= MOST_STEPS,
        "lanes changed": sum(found.changed for found in rounds),
    }
