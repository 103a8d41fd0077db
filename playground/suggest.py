"""`suggest-t`: decode the prompts of a task at many fixed temperatures at once and find the entropy turning point (TURN)."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from models import strict_json
from playground.analysis.suggest_temperature import FEWEST, TEMPERATURES, Suggestion, suggest
from playground.config import add_common_flags, settings_from
from playground.decoding.counts import several
from playground.decoding.trace import Finished, Request, Started, Waiting
from playground.errors import PlaygroundError
from playground.parts import Parts, load_parts

AT_ONCE = 2
MOST_SAMPLES = 64
HOTTEST = 5.0


@dataclass(frozen=True)
class Progress:
    """How far a sweep is: batches of replies and tokens of the present batch, and the curve so far."""

    batch: int
    batches: int
    token: int
    tokens: int
    curve: Mapping[float, float]


class Sweep:
    """Replies to some requests at every temperature, `samples` of each; the k-th sample of a spec is its k-th replica.

    `entropies` holds, by temperature, the mean token entropy [nats] of the distribution drawn from, one number a reply.
    Raises PlaygroundError in one sentence for temperatures or counts that cannot be swept.
    """

    def __init__(
        self,
        parts: Parts,
        requests: Sequence[Request],
        temperatures: Sequence[float] = TEMPERATURES,
        samples: int = 2,
    ) -> None:
        self.parts, self.requests = parts, tuple(requests)
        self.temperatures = _checked(temperatures)
        if not 1 <= samples <= MOST_SAMPLES:
            raise PlaygroundError(f"`samples` must be a whole number from 1 to {MOST_SAMPLES}, got {samples}.")
        if not self.requests:
            raise PlaygroundError("At least one prompt is needed.")
        self.samples = samples
        self.entropies: dict[float, list[float]] = {t: [] for t in self.temperatures}

    def run(self) -> Iterator[Progress]:
        """Decode; yields after every step. Closing it stops the work within one step and keeps the finished batches."""
        chunks = [range(k, min(k + AT_ONCE, self.samples)) for k in range(0, self.samples, AT_ONCE)]
        batches = [(request, chunk) for request in self.requests for chunk in chunks]
        for number, (request, chunk) in enumerate(batches):
            lanes = [(t, replica) for t in self.temperatures for replica in chunk]
            specs = [f"fixed:temperature={t}" for t, _ in lanes]
            drawn: list[list[float]] = [[] for _ in lanes]
            with closing(self.parts.stream(request, specs, [replica for _, replica in lanes])) as events:  # type: ignore[type-var]
                for event in events:
                    if isinstance(event, Started | Finished):
                        continue
                    for step in () if isinstance(event, Waiting) else event:
                        drawn[step.lane].append(step.step.entropy_after)
                    token = max(map(len, drawn))
                    yield Progress(number, len(batches), token, request.max_tokens, self._curve(lanes, drawn))
            for (t, _), values in zip(lanes, drawn, strict=True):
                self.entropies[t].append(fmean(values))

    def suggestion(self) -> Suggestion:
        """What the finished batches say. Raises PlaygroundError where they say too little."""
        return suggest(self.entropies)

    def _curve(self, lanes: Sequence[tuple[float, int]], drawn: Sequence[Sequence[float]]) -> dict[float, float]:
        now = {t: list(values) for t, values in self.entropies.items()}
        for (t, _), values in zip(lanes, drawn, strict=True):
            now[t] += [fmean(values)] if values else []
        return {t: fmean(values) for t, values in now.items() if values}


def _checked(temperatures: Sequence[float]) -> tuple[float, ...]:
    listed = tuple(sorted(set(temperatures)))
    fits = all(math.isfinite(t) and 0 < t <= HOTTEST for t in listed)
    if len(listed) != len(temperatures) or len(listed) < FEWEST or not fits:
        raise PlaygroundError(
            f"`temperatures` must be {FEWEST} or more different numbers above 0 and up to {HOTTEST:g}, such as "
            f"{','.join(f'{t:g}' for t in TEMPERATURES[::2])}."
        )
    return listed


def read_prompts(path: Path, request: Request) -> list[Request]:
    """The requests of a JSON list of records with `prompt` and, if wanted, `system`, `prefill` and `source`.

    Raises PlaygroundError in one sentence for a file that is not one.
    """
    try:
        records = strict_json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(records, list):
            raise TypeError
        return [
            replace(
                request,
                prompt=str(record["prompt"]),
                system=record.get("system"),
                prefill=record.get("prefill", ""),
                source=record.get("source"),
            )
            for record in records
        ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PlaygroundError(
            f"`prompts` must be a JSON list of objects with the key prompt, which {path} is not."
        ) from error


def add_command(commands: Any) -> None:
    """Adds the sub-parser of `suggest-t`."""
    command = commands.add_parser(
        "suggest-t", help="the temperature for several samples, from the entropy turning point"
    )
    add = command.add_argument
    add(
        "--prompt",
        action="append",
        default=[],
        metavar="TEXT",
        help="a prompt of the task; give several, eight or more",
    )
    add("--prompts", type=Path, metavar="FILE", help="JSON list of prompts of the task")
    add("--limit", type=int, metavar="N", help="at most this many prompts of the file")
    add("--samples", type=int, default=4, metavar="N", help="replies for every prompt and temperature (default 4)")
    add("--temperatures", metavar="T,T,…", help="the sweep (default 0.1 to 1.4 in steps of 0.1)")
    add("--max-tokens", type=int, default=96, metavar="N")
    add("--seed", type=int, default=0, metavar="N")
    add("--json", action="store_true", help="print one suggest-t/1 object on stdout, and nothing else there")
    add_common_flags(command)
    command.set_defaults(run=run)


def run(flags: argparse.Namespace, environment: Mapping[str, str]) -> None:
    blank = Request("", seed=flags.seed, max_tokens=flags.max_tokens)
    requests = [replace(blank, prompt=prompt) for prompt in flags.prompt]
    if flags.prompts is not None:
        requests += read_prompts(flags.prompts, blank)[: flags.limit]
    if not requests:
        raise PlaygroundError("Give --prompt TEXT, or --prompts FILE.")
    temperatures = TEMPERATURES if flags.temperatures is None else _numbers(flags.temperatures)
    _checked(temperatures)
    sweep = Sweep(load_parts(settings_from(vars(flags), environment)), requests, temperatures, flags.samples)
    for progress in sweep.run():
        if sys.stderr.isatty():
            print(f"\r{said(progress)}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    found = sweep.suggestion()
    print(json.dumps(found.to_record(), allow_nan=False) if flags.json else _text(found))


def said(progress: Progress) -> str:
    """The progress of a sweep in words."""
    batch = f"Batch {progress.batch + 1} of {progress.batches}, token" if progress.batches > 1 else "Token"
    return f"{batch} {progress.token} of at most {progress.tokens} at {several(len(progress.curve), 'temperature')}."


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        return []


def _text(found: Suggestion) -> str:
    """The curve as rows of blocks, on a logarithmic scale, and the sentence."""
    logs = [math.log(entropy) for entropy in found.entropies]
    low, span = min(logs), max(logs) - min(logs) or 1.0
    rows = [
        f"T {t:<5g} {entropy:8.4f} nats  {'█' * (1 + round(39 * (log - low) / span))}"
        for t, entropy, log in zip(found.temperatures, found.entropies, logs, strict=True)
    ]
    return "\n".join([*rows, found.sentence])
