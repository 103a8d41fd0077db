"""`entropy-switch`: a small model writes where it is sure, a large one where it is not (Entropy Adaptive Decoding,
Simonds 2025, arXiv 2502.06833).

    1. the author's logits for the next token: its forward pass is fed every token it has not read yet
    2. H = entropy of softmax(logits) at T = 1 in bits, H̄ = mean of the last `window`
    3. temperature, then the filters; one uniform number inverts the CDF
    4. large writes next if H̄ >= threshold_bits, else small; whoever begins writes at least `stay` tokens

Nothing that the small model wrote is verified. Each model has a cache of its own, of one row, so a lane's bits do not
depend on other lanes. After a switch step 1 is one forward pass over the tokens missed (and, the small model's first
time, the prompt).

Departures from the paper
1. Where there is one model only, the small one is its first layers with a tuned lens (models/tuned_lens.py). It shares
   weights with the large one, not its cache: the figures count both as two models.
2. The entropies are those recorded in the trace (float32), so the rule can be recomputed from it.
3. Where the models' logits differ in length beyond a shared vocabulary, the surplus is cut off.

Shapes: V vocabulary; every tensor has one row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from playground.decoding.counts import several
from playground.decoding.distribution import Distribution
from playground.decoding.filters import Filters
from playground.decoding.forward import Decoding, feed, read
from playground.decoding.lane import Lane
from playground.decoding.model import Model
from playground.decoding.policies.base import Drawn
from playground.decoding.policies.spec import Channel, Key, PolicyKind, Value
from playground.decoding.sampling import FILTER_OFF, FILTER_ORDER, uniform
from playground.decoding.session import Decoder, Session
from playground.decoding.steps import refuse_nan, token_steps
from playground.decoding.switching import SwitchRule, switching
from playground.decoding.trace import TokenStep, float32_digits
from playground.errors import PlaygroundError


@dataclass
class _Reader:
    """One model, its cache and how many tokens it has read. `logits` [1, V] follow the last of them."""

    model: Model
    cache: Any = None
    logits: Tensor | None = None
    read: int = 0

    def catch_up(self, ids: Sequence[int]) -> Decoding[int]:
        """Reads the tokens of `ids` it has not read, in one forward pass behind the prompt; how many they were."""
        missed = list(ids[self.read :])
        if not missed:
            return 0
        if self.cache is None:
            output, self.cache = yield from read(self.model, missed)
        else:
            output = yield from feed(self.model, torch.tensor([missed]), self.cache)
        self.logits, self.read = output.logits, len(ids)
        return len(missed)


class EntropySwitch(Decoder):
    order = ("temperature",)

    def __init__(self, session: Session, lane: Lane) -> None:
        values = lane.row.spec.values
        self.session, self.lane = session, lane
        self.small: Model = session.resources.small_model(str(values["checkpoint"]))
        self.temperature = torch.tensor([float(values["temperature"])], dtype=torch.float64)
        self.rule = SwitchRule(
            float(values["threshold_bits"]), int(values["window"]), int(values["stay"]), values["start"] == "large"
        )
        room = self.small.context_length - len(session.prompt_ids)
        if room < 1:
            long = (
                f"The prompt has {several(len(session.prompt_ids), 'token')}, but the small model {self.small.name} reads at "
                f"most {self.small.context_length - 1}; shorten the prompt"
            )
            raise PlaygroundError(f"{long} or name another --small-model.", f"{long} or choose another policy.")
        lane.length = min(lane.length, room)
        lane.end_ids |= self.small.end_ids
        self.filters = Filters([lane.row.spec.filters])
        used = tuple(name for name in FILTER_ORDER if values[name] != FILTER_OFF[name])
        lane.header = replace(
            lane.header, checkpoint=f"{self.small.name}@{self.small.revision}", order=(*self.order, *used)
        )

    @staticmethod
    def rows(session: Session, values: Mapping[str, Value]) -> int:
        return 2  # one of either model

    def run(self) -> Decoding[None]:
        session, lane, rule = self.session, self.lane, self.rule
        ids = list(session.prompt_ids)
        output, cache = yield from session.begin()
        large = _Reader(session.model, cache, output.logits, len(ids))
        small = _Reader(self.small)
        for position in range(lane.length):
            author = large if rule.large else small
            fed = yield from author.catch_up(ids)
            step = self._step(position, author, max(fed, 1))
            yield (lane.emit(step),)
            if lane.stop is not None:
                return
            ids.append(step.token_id)
            rule.settle(step.channel["mean_entropy_bits"])

    def _step(self, position: int, author: _Reader, fed: int) -> TokenStep:
        """The token that `author` writes; `fed` tokens were read for it (the first one's pass is the prompt's)."""
        assert author.logits is not None
        shared = min(self.session.model.vocab_size, self.small.vocab_size)
        before = Distribution(author.logits[:, :shared])
        refuse_nan(before.tops, author.model.name, position)
        after = self.filters(before.tempered(self.temperature))
        drawn = Drawn.by(uniform(self.lane.noise), before, after)
        recorded = float32_digits(float(before.entropy))
        channel = {
            "large": float(self.rule.large),
            "mean_entropy_bits": self.rule.observe(recorded / math.log(2)),
            "cost": author.model.parameters / self.session.model.parameters,
            "fed": float(fed),
        }
        model, heat, cutting = self.session.model, self.temperature, (0,) if self.lane.row.spec.cuts else ()
        (step,) = token_steps(model, position, drawn, heat, before, after, (), [channel], cutting)
        return step


def note(values: Mapping[str, Value], steps: Sequence[TokenStep]) -> str:
    """The shares and costs of a reply in one sentence."""
    found = switching(steps)
    if found is None:
        return ""
    times = {0: "never switched", 1: "switched once"}.get(found.switches, f"switched {found.switches} times")
    return (
        f"The large model wrote {found.large_share:.0%} of {several(found.tokens, 'token')} ({times}); parameters read: "
        f"{found.read:.2f} of the large model alone, {found.computed:.2f} with every token that a switch feeds counted by itself."
    )


def kind(default_checkpoint: str) -> PolicyKind:
    """The policy kind, with the tuned lens it uses when none is named."""
    return PolicyKind(
        name="entropy-switch",
        title="Two models by entropy",
        summary=(
            "A small model writes while the mean entropy is low, the large one while it is high. Unless --small-model names "
            "another, the small model is the first layers of the large one (20 of the embedded model's 30) and a trained "
            "linear map to its final state."
        ),
        formula="large writes if mean(H_{t−window+1} … H_t) >= threshold_bits, else small",
        source="Simonds 2025, arXiv 2502.06833, rolling-entropy rule; tuned lens: Belrose et al. 2023, arXiv 2303.08112",
        departure=(
            "with one model at hand the small one is its first layers with a tuned lens; the rule takes effect with the next "
            "token and the start counts as a switch; surplus logits beyond a shared vocabulary are cut off."
        ),
        keys=(
            Key("threshold_bits", "float", 3.0, "mean entropy from which the large model writes; 0: always", 0.0, 20.0),
            Key("window", "int", 5, "how many entropies are averaged", 1, 1000),
            Key("stay", "int", 10, "tokens a model writes at least before the other may", 1, 1000),
            Key("temperature", "float", 1.0, "divides the logits of either model; 0 is greedy", 0.0, 5.0),
            Key("start", "choice", "large", "which model writes first", choices=("large", "small")),
            Key("checkpoint", "checkpoint", default_checkpoint, "the tuned lens of the small model"),
        ),
        decoder=EntropySwitch,
        shows="large",
        learned="tuned-lens",
        group="Rules from entropy",
        note=note,
        channels=(
            Channel(
                "large",
                "Author",
                "",
                "which model wrote the token; the small one is the first layers of the large one with a tuned lens, unless "
                "--small-model names another",
                0,
                1,
                words=("small model", "large model"),
                figure="tokens by the large model",
            ),
            Channel(
                "mean_entropy_bits",
                "Window entropy",
                "bits",
                "mean of the last `window` tokens; the rule compares it",
                0,
                6,
                figure="",
            ),
            Channel(
                "cost",
                "Parameters read",
                "× large",
                "by the forward pass of this token, relative to the large model's; a pass reads a model once, however many "
                "tokens it is fed",
                0,
                1,
                figure="parameters read per token",
            ),
            Channel(
                "fed",
                "Tokens fed",
                "tokens",
                "that the forward pass of this token was fed: 1, or after a switch all that its model had missed",
                1,
                64,
                figure="",
            ),
        ),
    )
