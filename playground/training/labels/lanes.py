"""Decoding for training and evaluation: many lanes of one prompt in one batch, with heads that need no disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models import strict_json
from models.adaptive_decoder import uniform_head
from models.checkpoints import Checkpoint, load_head
from playground.decoding.engine import Model, rows_of, stream, turns
from playground.decoding.forward import answers
from playground.decoding.policies.base import Head, Resources
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.session import Session
from playground.decoding.trace import Finished, Request, Trace
from playground.errors import PlaygroundError

GRID = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
UNIFORM = "uniform"
ROWS = 64  # of one batch; more gain little
SPLITS = ("train", "dev", "test")


def uniform(level: str, hidden_size: int, grid: tuple[float, ...] = GRID) -> Head:
    """The untrained head, which gives every temperature of the grid the same probability."""
    shares = (1 / len(grid),) * len(grid)
    return Head(UNIFORM, _level(level), grid, uniform_head(hidden_size, len(grid)), shares)


def trained(checkpoint: Checkpoint) -> Head:
    """A head from disk as a policy uses it."""
    level = checkpoint.meta.kind.removeprefix("adaptive-")
    meta = checkpoint.meta
    matched = meta.metrics.get("matched_entropy_temperature")
    return Head(checkpoint.id, _level(level), meta.grid, load_head(checkpoint), meta.temperature_histogram, matched)


def replies(model: Model, request: Request, specs: Sequence[str], heads: Mapping[str, Head]) -> tuple[Trace, ...]:
    """One finished trace a spec, all decoded in one batch. `heads` are the checkpoints that the specs may name."""

    def head(name: str) -> Head:
        if name not in heads:
            raise PlaygroundError(
                f"There is no checkpoint {name!r} here; name one of {', '.join(sorted(heads)) or 'none'}."
            )
        return heads[name]

    policies = catalogue({})
    rows = rows_of(request, [policies.parse(spec) for spec in specs])
    for event in stream(model, request, rows, Resources(head)):
        if isinstance(event, Finished):
            return event.traces
    raise AssertionError("a generation that is not closed ends with Finished")


def in_batches(model: Model, request: Request, specs: Sequence[str], rows: int) -> Iterator[Trace]:
    """One finished trace a spec, in their order, decoded in batches of at most `rows`; the prompt is read once.

    The specs may name no checkpoint.
    """
    policies = catalogue({})
    lanes = rows_of(request, [policies.parse(spec) for spec in specs])
    session = Session(
        model, request, Resources(_no_heads)
    )  # a session reads its prompt once, however often it is decoded
    for start in range(0, len(lanes), rows):
        running = turns(session, lanes[start : start + rows])
        turn = next(running)
        while not isinstance(turn.event, Finished):
            turn = running.send(answers(turn.forwards))
        yield from turn.event.traces


def _no_heads(name: str) -> Head:
    raise PlaygroundError(f"Only settings without a checkpoint are decoded here, got checkpoint {name!r}.")


def prompt_records(path: Path, split: str, limit: int | None = None) -> list[dict[str, Any]]:
    """The prompts of one split, thinned evenly to at most `limit`. Raises PlaygroundError for a file that holds none."""
    try:
        everything = strict_json.loads(path.read_text(encoding="utf-8"))
        records = [r for r in everything if r["split"] == split and r["id"] and r["prompt"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PlaygroundError(
            f"`prompts` must be a JSON list of objects with id, split and prompt; {path} is not."
        ) from error
    _check_records(records, [r["id"] for r in everything if r.get("id")], path)
    if not records:
        raise PlaygroundError(f"`split` must be one that {path} has prompts of ({', '.join(SPLITS)}), got {split!r}.")
    if limit is None or limit >= len(records):
        return records
    return [records[i * len(records) // limit] for i in range(limit)]


def _check_records(records: Sequence[Mapping[str, Any]], names: Sequence[Any], path: Path) -> None:
    """Raises PlaygroundError for ids that come twice, and for what is asked where it is no text."""
    if {type(name) for name in names} not in (set(), {str}, {int}):
        raise PlaygroundError(f"`id` must be a text, or a whole number, for every prompt alike; in {path} it is not.")
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise PlaygroundError(f"`id` must be another for every prompt; {path} has {twice!r} twice.")
    for record in records:
        for key in ("prompt", "prefill", "system", "source"):
            value = record.get(key, "")
            if not isinstance(value, str) and not (value is None and key in ("system", "source")):
                raise PlaygroundError(f"`{key}` must be a text; {path} has another for the prompt {record['id']!r}.")


def request_for(record: Mapping[str, Any], seed: int, max_tokens: int) -> Request:
    return Request(record["prompt"], record.get("system"), record.get("prefill", ""), seed=seed, max_tokens=max_tokens)


def _level(level: str) -> Any:
    if level not in ("token", "sequence"):
        raise PlaygroundError(f"`level` must be token or sequence, got {level!r}.")
    return level
