"""The lockstep engine: one prefill of the prompt for all lanes, then one batched step per token for all of them.

Shapes: R rows of a step (lanes, then padding), B rows of one policy, V vocabulary, H hidden.

    1. encode the request and read the prompt once
    2. every policy decides for its rows: a temperature, perhaps a mask or a grid choice
    3. temperature, then the filters; entropy before and after
    4. each lane draws one float64 uniform from its own stream and inverts the CDF
    5. each live lane emits its TokenStep; a lane ends at the end token, a stop string or the length
    6. feed the drawn tokens to the model and go on while a lane lives

A lane that has ended keeps its row, so the shape of a step never changes and no lane's figures depend on another's end.
Lanes that need another lane's temperatures (`shuffled:of=N`) run in a second pass, after it. Closing the generator stops
the work within one step.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from playground.decoding.policies.base import Decision, Policy, Resources, Row, State, checked
from playground.decoding.policies.spec import Spec
from playground.decoding.sampling import FILTER_OFF, FILTER_ORDER, entropy, filtered, invert_cdf, tempered, uniform
from playground.decoding.text import TextPieces
from playground.decoding.trace import (
    Alternative,
    Event,
    Finished,
    LaneStep,
    Request,
    Started,
    Stop,
    TokenStep,
    Trace,
    float32_digits,
    nine_digits,
)
from playground.errors import PlaygroundError

ALTERNATIVES = 5


class ModelOutput(Protocol):
    @property
    def logits(self) -> Tensor: ...

    @property
    def hidden(self) -> Tensor: ...


class Model(Protocol):
    """What the engine needs of a language model; outputs are float32 on the CPU."""

    name: str
    revision: str
    precision: str
    context_length: int
    end_ids: frozenset[int]

    def rows_for(self, lanes: int) -> int: ...
    def encode_chat(self, prompt: str, system: str | None, prefill: str) -> list[int]: ...
    def encode_text(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...
    def token_text(self, token: int) -> str: ...
    def prefill(self, ids: Sequence[int]) -> tuple[ModelOutput, Any]: ...
    def expand(self, cache: Any, rows: int) -> Any: ...
    def step(self, tokens: Tensor, cache: Any) -> ModelOutput: ...


@dataclass
class _Lane:
    """One lane while it runs."""

    index: int
    row: Row
    pieces: TextPieces
    stops: tuple[str, ...]
    noise: torch.Generator
    steps: list[TokenStep] = field(default_factory=list)
    tail: str = ""
    stop: Stop | None = None

    def emit(self, step: TokenStep, end: bool, last: bool) -> TokenStep:
        """Complete the step's text, keep it, and note whether the lane ends here."""
        if end:
            self._give_back(self.pieces.flush())
            self.stop = "end"
        else:
            text = self.pieces.push(step.token_id)
            self.tail = (self.tail + text)[-sum(map(len, self.stops)) - len(text) :] if self.stops else ""
            if any(stop in self.tail for stop in self.stops):
                self.stop = "stop_string"
            elif last:
                self.stop = "length"
            step = replace(step, text=text + (self.pieces.flush() if self.stop else ""))
        self.steps.append(step)
        return step

    def _give_back(self, held: str) -> None:
        """A reply that ends inside a character: what was held back belongs to the token that began it."""
        if held and self.steps:
            self.steps[-1] = replace(self.steps[-1], text=self.steps[-1].text + held)


def rows_of(request: Request, specs: Sequence[Spec], first_replicas: Sequence[int] | None = None) -> tuple[Row, ...]:
    """One row a lane; equal specs are numbered as replicas in lane order (or as `first_replicas` says)."""
    seen: dict[str, int] = {}
    rows = []
    for lane, spec in enumerate(specs):
        replica = seen.get(str(spec), 0)
        seen[str(spec)] = replica + 1
        rows.append(Row(spec, first_replicas[lane] if first_replicas else replica, request.seed, request.noise))
    return tuple(rows)


def checked_request(request: Request) -> Request:
    """The request itself; PlaygroundError in one sentence where it cannot be decoded."""
    if not request.prompt.strip():
        raise PlaygroundError("`prompt` must not be empty; write what the model should answer.")
    for name, text in (("prompt", request.prompt), ("system", request.system or ""), ("prefill", request.prefill)):
        odd = next(
            (c for c in text if (ord(c) < 32 and c not in "\t\n\r") or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000), None
        )
        if odd is not None:
            raise PlaygroundError(
                f"`{name}` must be plain text without control characters, but contains U+{ord(odd):04X}; remove it."
            )
    if not 0 <= request.seed < 2**63:
        raise PlaygroundError(f"`seed` must be a whole number from 0 to 2**63 − 1, got {request.seed}.")
    if request.max_tokens < 1:
        raise PlaygroundError(f"`max_tokens` must be at least 1, got {request.max_tokens}.")
    if any(not stop for stop in request.stop):
        raise PlaygroundError("`stop` must not be an empty string.")
    return request


def stream(model: Model, request: Request, rows: Sequence[Row], resources: Resources) -> Iterator[Event]:
    """Decode `request` once for every row, in lockstep.

    Yields Started, then a tuple of LaneSteps per batched step, then Finished. Raises PlaygroundError for a request or
    policy that cannot run, before anything is decoded where that can be known.
    """
    checked_request(request)
    if not rows:
        raise PlaygroundError("At least one policy is needed.")
    prompt_ids = model.encode_chat(request.prompt, request.system, request.prefill)
    context = model.encode_text(request.prefill) if request.prefill else []
    lanes = [
        _Lane(i, row, TextPieces(model.decode, context), request.stop, row.stream("token"))
        for i, row in enumerate(rows)
    ]
    passes = _passes(lanes)
    run = _Run(model, request, prompt_ids)
    first = _policies(passes[0], resources)
    yield Started(tuple(run.header(lane, first) for lane in lanes))
    began = time.perf_counter()
    output, cache = model.prefill(prompt_ids)
    run.prefill_seconds = time.perf_counter() - began
    traces: dict[int, Trace] = {}
    for number, group in enumerate(passes):
        donors = {i + 1: [step.temperature for step in trace.steps] for i, trace in traces.items()}
        policies = first if number == 0 else _policies(group, replace(resources, donors=donors))
        if number:
            output, cache = model.prefill(prompt_ids)
        began = time.perf_counter()
        yield from _decode(run, group, policies, output, cache)
        seconds = time.perf_counter() - began
        for lane in group:
            traces[lane.index] = run.finished(lane, policies, seconds)
    yield Finished(tuple(traces[lane.index] for lane in lanes))


def _passes(lanes: Sequence[_Lane]) -> list[list[_Lane]]:
    """The lanes that decide by themselves, then those that follow one of them."""

    def follows(lane: _Lane) -> int:
        return int(lane.row.spec.values.get("of", 0))

    for lane in lanes:
        wanted = follows(lane)
        if wanted and (wanted > len(lanes) or follows(lanes[wanted - 1])):
            free = ", ".join(str(other.index + 1) for other in lanes if not follows(other)) or "none here"
            raise PlaygroundError(f"`of` must name another lane that decides by itself ({free}), got {wanted}.")
    groups = [[lane for lane in lanes if not follows(lane)], [lane for lane in lanes if follows(lane)]]
    return [group for group in groups if group]


Policies = list[tuple[list[int], Policy, State]]


def _policies(lanes: Sequence[_Lane], resources: Resources) -> Policies:
    """One policy for all lanes of one kind and checkpoint: the places of its lanes in `lanes`, the policy, its state."""
    groups: dict[tuple[str, object], list[int]] = {}
    for place, lane in enumerate(lanes):
        groups.setdefault((lane.row.spec.name, lane.row.spec.values.get("checkpoint")), []).append(place)
    policies: Policies = []
    for places in groups.values():
        rows = tuple(lanes[place].row for place in places)
        policies.append((places, rows[0].spec.kind.build(rows, resources), State(rows)))
    return policies


@dataclass
class _Run:
    """What the lanes of one request share."""

    model: Model
    request: Request
    prompt_ids: list[int]
    prefill_seconds: float = 0.0

    @property
    def length(self) -> int:
        return min(self.request.max_tokens, self.model.context_length - len(self.prompt_ids))

    def header(self, lane: _Lane, policies: Policies) -> Trace:
        """The lane's trace before its first step."""
        spec = lane.row.spec
        policy = next((p for _, p, state in policies if any(row is lane.row for row in state.rows)), None)
        order = ("temperature", *(name for name in FILTER_ORDER if spec.values[name] != FILTER_OFF[name]))
        return Trace(
            policy=str(spec),
            model=self.model.name,
            revision=self.model.revision,
            checkpoint=policy.checkpoint if policy else None,
            precision=self.model.precision,
            seed=self.request.seed,
            noise=self.request.noise,
            replica=lane.row.replica,
            prompt=self.request.prompt,
            prompt_ids=tuple(self.prompt_ids),
            source_ids=None,
            text="",
            stop="cancelled",
            order=order,
            grid=policy.grid if policy else None,
            steps=(),
        )

    def finished(self, lane: _Lane, policies: Policies, seconds: float) -> Trace:
        assert lane.stop is not None
        timings = {
            "prefill_seconds": self.prefill_seconds,
            "decode_seconds": seconds,
            "tokens_per_second": len(lane.steps) / max(seconds, 1e-9),
        }
        return self.header(lane, policies).with_steps(lane.steps, lane.stop, timings)


def _decode(
    run: _Run, lanes: list[_Lane], policies: Policies, output: ModelOutput, cache: Any
) -> Iterator[tuple[LaneStep, ...]]:
    """Steps 2 to 6 of the module docstring, for the lanes of one pass."""
    count = len(lanes)
    padding = run.model.rows_for(count) - count
    cache = run.model.expand(cache, count + padding)
    logits, hidden = output.logits.expand(count, -1).double(), output.hidden.expand(count, -1)
    settings = [lane.row.spec.filters for lane in lanes]
    for position in range(run.length):
        if torch.isnan(logits).any():
            raise PlaygroundError(
                f"The model {run.model.name} produced NaN at token {position}; try --precision float32 or another model."
            )
        decisions = [
            (places, _decide(policy, places, logits, hidden, state, position)) for places, policy, state in policies
        ]
        temperature = torch.empty(count, dtype=torch.float64)
        open_logits = logits.clone()
        for places, decision in decisions:
            temperature[places] = decision.temperature
            if decision.keep is not None:
                open_logits[places] = open_logits[places].masked_fill(~decision.keep, float("-inf"))
        before = torch.log_softmax(logits, dim=-1)
        after = filtered(tempered(open_logits, temperature), logits, settings)
        tokens = invert_cdf(after.exp(), torch.cat([uniform(lane.noise) for lane in lanes]))
        steps = _steps(run, position, tokens, temperature, before, after, decisions)
        yield tuple(
            LaneStep(lane.index, lane.emit(step, step.token_id in run.model.end_ids, position == run.length - 1))
            for lane, step in zip(lanes, steps, strict=True)
            if lane.stop is None
        )
        if all(lane.stop for lane in lanes):
            return
        fed = torch.cat([tokens, tokens[:1].expand(padding)])
        result = run.model.step(fed, cache)
        logits, hidden = result.logits[:count].double(), result.hidden[:count]


def _decide(policy: Policy, places: list[int], logits: Tensor, hidden: Tensor, state: State, position: int) -> Decision:
    """The policy's decision for its rows, its temperatures rounded to the nine digits that are recorded."""
    state.position = position
    decision = checked(policy.decide(logits[places], hidden[places], state), state.rows, position)
    rounded = torch.tensor([nine_digits(t) for t in decision.temperature.tolist()], dtype=torch.float64)
    return replace(decision, temperature=rounded)


def _steps(
    run: _Run,
    position: int,
    tokens: Tensor,
    temperature: Tensor,
    before: Tensor,
    after: Tensor,
    decisions: Sequence[tuple[list[int], Decision]],
) -> list[TokenStep]:
    """One TokenStep a lane, its text still to come. All statistics are computed for all lanes at once."""
    top = before.topk(ALTERNATIVES, dim=-1)
    figures = torch.stack(
        [
            entropy(before),
            entropy(after),
            before.gather(-1, tokens[:, None])[:, 0],
            after.gather(-1, tokens[:, None])[:, 0],
        ]
    ).T.tolist()
    ids = top.indices.tolist()
    probs, probs_after = top.values.exp().tolist(), after.gather(-1, top.indices).exp().tolist()
    choices: dict[int, tuple[int | None, float | None, tuple[float, ...] | None, dict[str, float]]] = {}
    for places, decision in decisions:
        for b, place in enumerate(places):
            choices[place] = _choice(decision, b)
    steps = []
    for lane, token in enumerate(tokens.tolist()):
        h, h_after, logprob, drawn = (float32_digits(max(0.0, x) if i < 2 else x) for i, x in enumerate(figures[lane]))
        index, grid_logprob, grid_probs, channel = choices[lane]
        alternatives = tuple(
            Alternative(i, run.model.token_text(i), float32_digits(p), float32_digits(q))
            for i, p, q in zip(ids[lane], probs[lane], probs_after[lane], strict=True)
        )
        steps.append(
            TokenStep(
                position=position,
                token_id=token,
                text="",
                temperature=float(temperature[lane]),
                grid_index=index,
                grid_logprob=grid_logprob,
                grid_probs=grid_probs,
                entropy=h,
                entropy_after=h_after,
                logprob=logprob,
                logprob_drawn=drawn,
                alternatives=alternatives,
                channel=channel,
            )
        )
    return steps


def _choice(decision: Decision, b: int) -> tuple[int | None, float | None, tuple[float, ...] | None, dict[str, float]]:
    """Row b's grid index, its log-probability, the grid's distribution, and the policy's channel."""
    channel = {name: float32_digits(float(values[b])) for name, values in decision.channel.items()}
    if decision.grid_index is None or decision.grid_logprob is None or decision.grid_probs is None:
        return None, None, None, channel
    probs = tuple(float32_digits(p) for p in decision.grid_probs[b].tolist())
    return int(decision.grid_index[b]), float32_digits(float(decision.grid_logprob[b])), probs, channel
