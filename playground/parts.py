r"""Settings → parts: the composition root of app.py and `python -m playground`.

From Python or a notebook:

    from playground.parts import Request, load_parts
    traces = load_parts().generate(Request("Tell me a story."), ["adaptive-token", "fixed:temperature=0.7"])
    print(*(trace.text for trace in traces), sep="\n\n")
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models import checkpoints
from models.errors import ModelError
from models.language_model import LanguageModel
from models.loading import load_language_model
from models.meta import Base
from playground.compiling import compile_loops
from playground.config import Settings
from playground.decoding import engine
from playground.decoding.policies.base import Resources
from playground.decoding.policies.catalogue import Catalogue, catalogue
from playground.decoding.policies.spec import NO_CHECKPOINT
from playground.decoding.scheduler import Scheduler, room_for
from playground.decoding.trace import Event, Finished, Request, Trace
from playground.errors import PlaygroundError
from playground.predictors import Predictors
from playground.shelf import Shelf
from playground.zero_gpu import on_gpu, present

if TYPE_CHECKING:
    from playground.feedback.store import Store

__all__ = ["Parts", "Request", "load_parts"]

Decode = Callable[[Request, tuple[str, ...], tuple[int, ...] | None], Iterator[Event]]


@dataclass(frozen=True)
class Parts:
    """The loaded model, its heads, the policies that can run with them, and the vote store (opened when first used)."""

    settings: Settings
    language_model: LanguageModel
    shelf: Shelf
    _decode: Decode
    visitors: bool = False  # whether many may stream at once
    _opened: Store | None = None

    @property
    def catalogue(self) -> Catalogue:
        """The policies, each with the head that it takes when none is named."""
        return self.shelf.now.catalogue

    @property
    def heads(self) -> tuple[checkpoints.Checkpoint, ...]:
        """The heads that fit the model; one that was trained since the start is among them."""
        return self.shelf.now.heads

    @property
    def refused_heads(self) -> tuple[str, ...]:
        """A sentence for every head that cannot be used."""
        return self.shelf.now.refused

    @property
    def arena(self) -> tuple[str, ...]:
        """Specs of the learned policies that may meet in the Arena."""
        return self.shelf.now.arena

    @functools.cached_property
    def store(self) -> Store:
        """The vote store of the settings. Raises PlaygroundError where it cannot be opened."""
        return self._opened or open_store(self.settings)

    def stream(self, request: Request, specs: Sequence[str], replicas: Sequence[int] | None = None) -> Iterator[Event]:
        """Decode in lockstep, one lane a spec: Started, then a tuple of LaneSteps per step, then Finished.

        Where the parts were loaded for many visitors, any thread may call this, and Waiting comes first while all places
        are taken; otherwise one stream is read at a time.

        `replicas` overrides the numbering of equal specs, to decode one lane of a stored trace again. Closing the
        iterator stops the work within one step. Raises PlaygroundError with one sentence.
        """
        return self._decode(request, tuple(specs), tuple(replicas) if replicas is not None else None)

    def generate(
        self, request: Request, specs: Sequence[str], replicas: Sequence[int] | None = None
    ) -> tuple[Trace, ...]:
        """The finished traces, in the order of `specs`."""
        for event in self.stream(request, specs, replicas):
            if isinstance(event, Finished):
                return event.traces
        raise AssertionError("a stream ends with Finished")


def load_parts(settings: Settings | None = None, *, visitors: bool = False, store: Store | None = None) -> Parts:
    """Everything the settings ask for. Raises ModelError or PlaygroundError with one sentence.

    A place of heads that is none is refused before the model is loaded. `store`: the vote store, where it is open already.
    `visitors`: many may stream at once, in one batch that one thread decodes (decoding/scheduler.py). On ZeroGPU that is
    off, since every request decodes in a process of its own.
    """
    settings = settings or Settings()
    folders = _folders(settings)
    model = load_language_model(
        settings.model,
        settings.revision,
        settings.precision,
        settings.device,
        settings.cache_folder,
        settings.threads,
    )
    base = Base.of(model)
    shelf = Shelf(folders, base)
    compile_loops()
    predictors = Predictors(model, folders, base, settings)
    resources = Resources(predictors.head, predictors.predictor, predictors.small_model)

    stream = Scheduler(room_for(model), shown=(ModelError,)).stream if visitors and not present() else engine.stream

    def decode(request: Request, specs: tuple[str, ...], replicas: tuple[int, ...] | None) -> Iterator[Event]:
        rows = engine.rows_of(request, [shelf.now.catalogue.parse(spec) for spec in specs], replicas)
        try:
            yield from stream(model, request, rows, resources)
        except ModelError as error:  # whoever streams need not know models/
            raise PlaygroundError(str(error), error.page) from error

    return Parts(settings, model, shelf, on_gpu(decode), visitors and not present(), store)


def _folders(settings: Settings) -> list[Path]:
    """Where heads lie: one's own first, then those of the Hub, then those that ship."""
    folders = [settings.trained_heads, checkpoints.SHIPPED]
    if settings.hub_heads is not None:
        from models import hub

        folders.insert(1, hub.folder(settings.hub_heads))
    elif settings.checkpoints is not None and not settings.checkpoints.is_dir():
        raise PlaygroundError(
            f"`checkpoints` must be an existing folder or a Hub repository org/name, got {settings.checkpoints}."
        )
    return folders


def check_specs(settings: Settings, specs: Sequence[str]) -> None:
    """Raises PlaygroundError or ModelError for a policy that no model could run, before one is loaded: an unknown name, key or
    value, or a head that lies nowhere."""
    folders, policies = _folders(settings), catalogue({})
    for spec in specs:
        name = str(policies.parse(spec).values.get("checkpoint", NO_CHECKPOINT))
        if name != NO_CHECKPOINT:
            checkpoints.require(folders, name)


def open_store(settings: Settings) -> Store:
    """The vote store of the settings. Raises PlaygroundError where it cannot be opened."""
    from playground.feedback.store import Store

    return Store.open(settings.sqlalchemy_url, settings.data_folder)
