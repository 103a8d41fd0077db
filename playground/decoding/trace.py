"""The values that leave the decoder: what was asked, what every step decided, and the finished trace (trace/1).

Plain values; this module imports neither torch nor anything of ours. Entropies and log-probabilities are in nats.
Statistics are float32 values carried as the Python float with the same nine significant digits (`nine_digits`), so a
trace in memory, on disk and on the wire is one and the same value.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

FORMAT = "trace/1"
Noise = Literal["own", "shared"]
Stop = Literal["end", "length", "stop_string", "cancelled", "error"]


def nine_digits(value: float) -> float:
    """`value` rounded to nine significant digits; what is recorded is then exactly what was used."""
    return float(f"{value:.9g}")


def float32_digits(value: float) -> float:
    """`value` as a float32, written with the nine significant digits that identify it."""
    if math.isinf(value) or math.isnan(value):
        return value
    return nine_digits(struct.unpack("f", struct.pack("f", value))[0])


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of every lane alike.

    `source` is a document put before the prompt in the user's turn; `kl-guided` compares with and without it.
    `prefill` begins the reply ("assistant prefill") and is part of the prompt, not of the reply. A reply ends after the
    token that completes one of the `stop` strings; that text stays in the reply. `seed` is any integer in [0, 2**63).
    """

    prompt: str
    system: str | None = None
    prefill: str = ""
    stop: tuple[str, ...] = ()
    seed: int = 0
    max_tokens: int = 128
    noise: Noise = "own"
    source: str | None = None

    @property
    def begun(self) -> str:
        """What the model reads of `prefill`: blanks at its end belong to the token of the next word, which the reply has."""
        return self.prefill.rstrip(" ")


@dataclass(frozen=True, slots=True)
class Alternative:
    """One of the most probable tokens at T = 1: its probability there and in the distribution drawn from."""

    id: int
    text: str
    prob: float
    prob_after: float


@dataclass(frozen=True, slots=True)
class TokenStep:
    """One decoded token.

    position         index in the reply, from 0
    text             the characters this token completed; "" for the end token and inside a multi-byte character
    temperature      the T that divided the logits; 0 is greedy
    grid_*           the index, log-probability and distribution of a policy that chooses from a grid, else None
    entropy          nats, of softmax(logits) at T = 1 over the full vocabulary
    entropy_after    nats, of the distribution drawn from (after temperature and filters)
    logprob          ln p(token) at T = 1; its negative is the surprisal
    logprob_drawn    ln p(token) in the distribution drawn from
    channel          a policy's own per-step numbers, by name
    """

    position: int
    token_id: int
    text: str
    temperature: float
    grid_index: int | None
    grid_logprob: float | None
    grid_probs: tuple[float, ...] | None
    entropy: float
    entropy_after: float
    logprob: float
    logprob_drawn: float
    alternatives: tuple[Alternative, ...]
    channel: Mapping[str, float] = field(default_factory=dict)

    def with_text(self, text: str) -> TokenStep:
        """This step with its characters, known once it is certain where the reply ends."""
        return TokenStep(
            self.position,
            self.token_id,
            text,
            self.temperature,
            self.grid_index,
            self.grid_logprob,
            self.grid_probs,
            self.entropy,
            self.entropy_after,
            self.logprob,
            self.logprob_drawn,
            self.alternatives,
            self.channel,
        )


@dataclass(frozen=True, slots=True)
class Trace:
    """A finished lane, enough to draw it, vote on it, train on it and decode it again.

    policy      canonical spec; model, revision, checkpoint, precision say what produced it
    replica     0 for the first lane with this spec, 1 for the next equal one, …; keys the random stream with the seed
    prompt_ids  all tokens before the reply: template, system prompt, source, prompt, prefill
    source_ids  the tokens of the source document, where there is one
    order       the transformations of the logits, in the order applied
    grid        the temperatures a grid policy chose from, else None
    timings     seconds and rates; not part of the identity
    """

    policy: str
    model: str
    revision: str
    checkpoint: str | None
    precision: str
    seed: int
    noise: Noise
    replica: int
    prompt: str
    prompt_ids: tuple[int, ...]
    source_ids: tuple[int, ...] | None
    text: str
    stop: Stop
    order: tuple[str, ...]
    grid: tuple[float, ...] | None
    steps: tuple[TokenStep, ...]
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """sha256 of the canonical JSON without `id` and `timings`."""
        record = self._record()
        del record["timings"]
        return hashlib.sha256(canonical_json(record).encode()).hexdigest()

    @property
    def token_ids(self) -> tuple[int, ...]:
        return tuple(step.token_id for step in self.steps)

    @property
    def shown_steps(self) -> tuple[TokenStep, ...]:
        """The steps that are drawn on the page: all but the end token."""
        return self.steps[:-1] if self.stop == "end" else self.steps

    def with_steps(self, steps: Iterable[TokenStep], stop: Stop, timings: Mapping[str, float] | None = None) -> Trace:
        """This trace with these steps; its text is theirs joined."""
        steps = tuple(steps)
        text = "".join(step.text for step in steps)
        return replace(self, steps=steps, text=text, stop=stop, timings=dict(timings or {}))

    def _record(self) -> dict[str, Any]:
        record: dict[str, Any] = {"format": FORMAT}
        for f in fields(self):
            record[f.name] = getattr(self, f.name)
        record["prompt_ids"] = list(self.prompt_ids)
        record["source_ids"] = None if self.source_ids is None else list(self.source_ids)
        record["order"] = list(self.order)
        record["grid"] = None if self.grid is None else list(self.grid)
        record["steps"] = [_step_record(step) for step in self.steps]
        record["timings"] = dict(self.timings)
        return record

    def to_record(self) -> dict[str, Any]:
        """The trace/1 object, as printed, stored and exported."""
        record = self._record()
        return {"format": record.pop("format"), "id": self.id, **record}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Trace:
        """The inverse of `to_record`. Raises ValueError if it is not trace/1 or its id does not match its content."""
        if record.get("format") != FORMAT:
            raise ValueError(f"`format` must be {FORMAT!r}, got {record.get('format')!r}.")
        values = {f.name: record[f.name] for f in fields(cls)}
        for name in ("prompt_ids", "order"):
            values[name] = tuple(values[name])
        for name in ("source_ids", "grid"):
            values[name] = None if values[name] is None else tuple(values[name])
        values["steps"] = tuple(_step_from(step) for step in values["steps"])
        trace = cls(**values)
        if "id" in record and record["id"] != trace.id:
            raise ValueError(f"trace {record['id']} does not match its content (sha256 {trace.id}).")
        return trace


@dataclass(frozen=True, slots=True)
class LaneStep:
    """One step of one lane, counted from 0, as it streams; `stop` is why the lane ends with it, None where it goes on."""

    lane: int
    step: TokenStep
    stop: Stop | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """While many others decode: how many requests are served before this one, 0 if it is the next. Comes before Started,
    also twice with the same number."""

    ahead: int


@dataclass(frozen=True, slots=True)
class Started:
    """First event of a generation that decodes: one trace a lane, complete but for its steps (stop is "cancelled" until it ends).

    A consumer that stops early has all it needs: `trace.with_steps(steps, "cancelled")`.
    """

    traces: tuple[Trace, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """Last event of a generation that was not closed: the finished traces in lane order."""

    traces: tuple[Trace, ...]


Event = Waiting | Started | tuple[LaneStep, ...] | Finished


def canonical_json(value: Any) -> str:
    """Keys sorted, no blanks, UTF-8, no NaN: one value has one text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _nullable(value: float) -> float | None:
    return None if value == -math.inf else value


def _infinite(value: float | None) -> float:
    return -math.inf if value is None else value


def _step_record(step: TokenStep) -> dict[str, Any]:
    return {
        "position": step.position,
        "token_id": step.token_id,
        "text": step.text,
        "temperature": step.temperature,
        "grid_index": step.grid_index,
        "grid_logprob": None if step.grid_logprob is None else _nullable(step.grid_logprob),
        "grid_probs": None if step.grid_probs is None else list(step.grid_probs),
        "entropy": step.entropy,
        "entropy_after": step.entropy_after,
        "logprob": _nullable(step.logprob),
        "logprob_drawn": _nullable(step.logprob_drawn),
        "alternatives": [
            {"id": a.id, "text": a.text, "prob": a.prob, "prob_after": a.prob_after} for a in step.alternatives
        ],
        "channel": dict(step.channel),
    }


def _step_from(record: Mapping[str, Any]) -> TokenStep:
    values = dict(record)
    values["grid_probs"] = None if values["grid_probs"] is None else tuple(values["grid_probs"])
    if values["grid_index"] is not None:
        values["grid_logprob"] = _infinite(values["grid_logprob"])
    values["logprob"] = _infinite(values["logprob"])
    values["logprob_drawn"] = _infinite(values["logprob_drawn"])
    values["alternatives"] = tuple(Alternative(**a) for a in values["alternatives"])
    return TokenStep(**values)
