"""What the lanes of one request share: the model, the prompt, read once, and the learned predictors."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from playground.decoding.forward import Decoding, read
from playground.decoding.lane import Lane
from playground.decoding.model import Model, ModelOutput
from playground.decoding.policies.base import Resources, Row
from playground.decoding.policies.spec import Value
from playground.decoding.request import checked_request, with_source
from playground.decoding.sampling import FILTER_OFF, FILTER_ORDER
from playground.decoding.text import TextPieces
from playground.decoding.trace import Request, Trace


class Decoder:
    """Decodes its lanes: a coroutine of steps and forward passes (see playground.decoding.forward).

    Whoever builds one has completed the lanes' headers, but for what `prepare` finds out.
    """

    @staticmethod
    def rows(session: Session, values: Mapping[str, Value]) -> int:
        """Rows that a step of one lane has, for a spec with these values."""
        return session.model.rows_for(1)

    def prepare(self) -> Decoding[None]:
        """What must be read before the lanes' headers are complete; yields no steps."""
        yield from ()

    def run(self) -> Decoding[None]:
        """Yields steps as they become certain and the forward passes it needs, until all its lanes have a `stop`.

        Closing it stops the work.
        """
        raise NotImplementedError


class OwnDecoder(Protocol):
    """How a policy names the decoder of a lane of its own: the class, which is built for one lane."""

    def __call__(self, session: Session, lane: Lane) -> Decoder: ...
    def rows(self, session: Session, values: Mapping[str, Value]) -> int: ...


@dataclass
class Session:
    """One request being decoded. Raises PlaygroundError for one that cannot be.

    `free_ids` are the prompt's tokens without the source document, where there is one.
    """

    model: Model
    request: Request
    resources: Resources
    prompt_ids: list[int] = field(init=False)
    source_ids: tuple[int, ...] | None = field(init=False)
    prefill_seconds: float = 0.0
    _read: tuple[ModelOutput, Any] | None = None

    def __post_init__(self) -> None:
        asked = checked_request(self.request)
        turn = with_source(asked.prompt, asked.source)
        self.prompt_ids = self.model.encode_chat(turn, asked.system, asked.begun)
        self.source_ids = None if asked.source is None else tuple(self.model.encode_text(asked.source))

    @property
    def length(self) -> int:
        """Tokens a reply may have."""
        return min(self.request.max_tokens, self.model.context_length - len(self.prompt_ids))

    def free_ids(self) -> list[int]:
        """The request's tokens as if there were no source document."""
        return self.model.encode_chat(self.request.prompt, self.request.system, self.request.begun)

    def read(self) -> Decoding[tuple[ModelOutput, Any]]:
        """Reads the prompt, once however often it is called (not by two decoders at the same time)."""
        if self._read is None:
            began = time.perf_counter()
            self._read = yield from read(self.model, self.prompt_ids)
            self.prefill_seconds = time.perf_counter() - began
        return self._read

    def begin(self) -> Decoding[tuple[ModelOutput, Any]]:
        """The output at the prompt's last token and a cache of one row to go on with."""
        output, cache = yield from self.read()
        return output, self.model.fork(cache)

    def pieces(self) -> TextPieces:
        """The incremental decoder of one reply."""
        return TextPieces(self.model.decode, self.prompt_ids if self.request.begun else ())

    def lane(self, index: int, row: Row) -> Lane:
        header = Trace(
            policy=str(row.spec),
            model=self.model.name,
            revision=self.model.revision,
            checkpoint=None,
            precision=self.model.precision,
            seed=self.request.seed,
            noise=self.request.noise,
            replica=row.replica,
            prompt=self.request.prompt,
            prompt_ids=tuple(self.prompt_ids),
            source_ids=self.source_ids,
            text="",
            stop="cancelled",
            order=("temperature", *(f for f in FILTER_ORDER if row.spec.filters[f] != FILTER_OFF[f])),
            grid=None,
            steps=(),
        )
        return Lane(
            index,
            row,
            header,
            self.pieces(),
            self.request.stop,
            self.model.end_ids,
            self.length,
            row.stream("token"),
        )

    def lanes(self, rows: Sequence[Row]) -> list[Lane]:
        return [self.lane(index, row) for index, row in enumerate(rows)]
