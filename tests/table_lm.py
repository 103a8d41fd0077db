"""TableLM: a model that is a table. The logits of the next token are a function of the reply so far.

It satisfies the decoders' Model protocol with one row of padding in every step, so that joint distributions of whole
replies can be written down exactly, or captured logits played back.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from playground.decoding import engine
from playground.decoding.policies.base import Head, Resources, Row
from playground.decoding.policies.spec import PolicyKind, Spec, Value, parse
from playground.decoding.trace import Finished, LaneStep, Request, Trace

Reply = tuple[int, ...]
Cache = list[Reply]


@dataclass(frozen=True)
class TableOutput:
    logits: Tensor
    hidden: Tensor


class TableLM:
    name, revision, precision = "table", "0", "float64"
    context_length, parameters, position_bytes, joins, merges = 4096, 1, 1, False, False

    def __init__(
        self, logits: Callable[[Reply], Tensor], vocabulary: int, end_ids: frozenset[int] = frozenset()
    ) -> None:
        self.next_logits = functools.cache(logits)
        self.vocab_size, self.end_ids = vocabulary, end_ids
        self.forwards = self.rows = 0

    def rows_for(self, lanes: int) -> int:
        return lanes + 1

    def encode_chat(self, prompt: str, system: str | None = None, prefill: str = "") -> list[int]:
        return [0]

    def encode_text(self, text: str) -> list[int]:
        return [ord(c) - ord("a") for c in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(ord("a") + i % 26) for i in ids if i not in self.end_ids)

    def token_text(self, token: int) -> str:
        return self.decode([token])

    def begin(self, ids: Sequence[int]) -> tuple[Cache, list[Tensor]]:
        return [()], [torch.empty(1, 0, dtype=torch.long)]  # the prompt is no part of the reply

    def forward(self, asks: Sequence[tuple[Tensor, Cache]]) -> list[TableOutput]:
        return [self._fed(tokens, cache) for tokens, cache in asks]

    def _fed(self, tokens: Tensor, cache: Cache) -> TableOutput:
        if tokens.shape[1]:
            self.forwards, self.rows = self.forwards + 1, self.rows + len(tokens)
        cache[:] = [(*reply, *more) for reply, more in zip(cache, tokens.tolist(), strict=True)]
        return self._output(cache)

    def prefill(self, ids: Sequence[int]) -> tuple[TableOutput, Cache]:
        cache, (piece,) = self.begin(ids)
        return self._fed(piece, cache), cache

    def fork(self, cache: Cache) -> Cache:
        return list(cache)

    def expand(self, cache: Cache, rows: int) -> Cache:
        cache[:] = cache * rows
        return cache

    def join(self, caches: Sequence[Cache], counts: Sequence[int]) -> Cache:
        return [cache[0] for cache, n in zip(caches, counts, strict=True) for _ in range(n)]

    def select(self, cache: Cache, rows: Sequence[int]) -> Cache:
        cache[:] = [cache[row] for row in rows]
        return cache

    def step(self, tokens: Tensor, cache: Cache) -> TableOutput:
        return self._fed(tokens[:, None], cache)

    def score(self, prompt_ids: Sequence[int], reply_ids: Sequence[int]) -> Tensor:
        return torch.stack([self.next_logits(tuple(reply_ids[:t])) for t in range(len(reply_ids))])

    def _output(self, replies: Sequence[Reply]) -> TableOutput:
        return TableOutput(torch.stack([self.next_logits(reply) for reply in replies]), torch.zeros(len(replies), 1))


A, B, END = 0, 1, 2
MYOPIC = {  # after `a`, the likelier first token, nothing is likely; after `b` almost everything is sure
    None: (0.60, 0.38, 0.02),
    A: (0.36, 0.34, 0.30),
    B: (0.04, 0.90, 0.06),
}


def markov() -> TableLM:
    """Three symbols, one of which ends the reply; the next depends on the last alone."""
    return TableLM(
        lambda reply: torch.tensor(
            MYOPIC.get(reply[-1] if reply else None, (1.0, 1.0, 1.0)), dtype=torch.float64
        ).log(),
        3,
        frozenset({END}),
    )


def table_of(captured: np.ndarray) -> TableLM:
    """Captured logits [24, V] played back: which of them comes next hangs on the place and on the last token."""
    rows = torch.from_numpy(captured)
    return TableLM(lambda reply: rows[(len(reply) + 5 * sum(reply[-1:])) % len(rows)], rows.shape[-1])


def joint(length: int, temperature: float) -> dict[Reply, float]:
    """p(x)^(1/T) / Z over all replies of at most `length` tokens of the chain, enumerated."""
    mass: dict[Reply, float] = {}
    for size in range(1, length + 1):
        for reply in itertools.product((A, B, END), repeat=size):
            if END in reply[:-1] or (size < length and reply[-1] != END):
                continue
            p = math.prod(MYOPIC[before][now] for before, now in zip((None, *reply), reply, strict=False))
            mass[reply] = p ** (1 / temperature)
    total = sum(mass.values())
    return {reply: m / total for reply, m in mass.items()}


def chi_square(counts: Mapping[Reply, int], expected: Mapping[Reply, float]) -> float:
    """Pearson's p-value of the counts under `expected`; cells below five expected are pooled."""
    assert set(counts) <= set(expected)
    total = sum(counts.values())
    cells = [(counts.get(reply, 0), total * share) for reply, share in expected.items()]
    large = [cell for cell in cells if cell[1] >= 5]
    small = [cell for cell in cells if cell[1] < 5]
    if sum(e for _, e in small) > 0:
        large.append((sum(c for c, _ in small), sum(e for _, e in small)))
    statistic = sum((c - e) ** 2 / e for c, e in large)
    freedom = torch.tensor((len(large) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, torch.tensor(statistic / 2, dtype=torch.float64)))


def distance(counts: Mapping[Reply, int], expected: Mapping[Reply, float]) -> float:
    """Total variation between the shares of the counts and `expected`."""
    total = sum(counts.values())
    return sum(abs(counts.get(reply, 0) / total - share) for reply, share in expected.items()) / 2


def no_head(name: str) -> Head:
    raise AssertionError("nothing here is learned")


def events(model: object, specs: Sequence[Spec], request: Request) -> Iterator[object]:
    """The events of a generation on any model of the protocol."""
    rows = engine.rows_of(request, specs)
    return engine.stream(model, request, rows, Resources(no_head))  # type: ignore[arg-type]


def run(model: object, specs: Sequence[Spec], request: Request) -> tuple[Trace, ...]:
    """The finished traces; what streamed is what they hold, the same text shared out by token."""
    seen = list(events(model, specs, request))
    assert isinstance(seen[-1], Finished)
    for lane, trace in enumerate(seen[-1].traces):
        steps = [s.step for event in seen[1:-1] for s in event if isinstance(s, LaneStep) and s.lane == lane]  # type: ignore[attr-defined]
        assert [step.with_text("") for step in steps] == [step.with_text("") for step in trace.steps]
        assert "\ufffd" in trace.text or [step.text for step in steps] == [step.text for step in trace.steps]
        streamed = "".join(step.text for step in steps)
        assert trace.text == streamed or (trace.stop == "end" and trace.text.startswith(streamed))
    return seen[-1].traces


def spec(kind: PolicyKind, text: str = "", **values: Value) -> Spec:
    """A spec, and values put past what the grammar allows (more particles than the page would)."""
    read = parse(f"{kind.name}:{text}", [kind])
    return Spec(kind, {**read.values, **values})


def row_alone(spec: Spec, request: Request) -> Row:
    """The one row of a lane on its own, for its random streams."""
    return engine.rows_of(request, [spec])[0]


def replies(model: TableLM, spec: Spec, length: int, seeds: int) -> dict[Reply, int]:
    """How often each reply came out over this many seeds."""
    counts: dict[Reply, int] = {}
    for seed in range(seeds):
        (trace,) = run(model, [spec], Request("x", seed=seed, max_tokens=length))
        counts[trace.token_ids] = counts.get(trace.token_ids, 0) + 1
    return counts
