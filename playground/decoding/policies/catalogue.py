"""Every policy there is, as one literal list; the grammar, the page and the README read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from playground.decoding.decoders import best_of_n, difficulty_router, entropy_switch, long_horizon, power_sampling
from playground.decoding.policies import (
    adaptive,
    aldr,
    aliases,
    auto_deco,
    edt,
    fixed,
    forking,
    kl_guided,
    matched,
    mirostat,
    quadrants,
    random_temperature,
    schedule,
    shuffled,
    target_entropy,
    tempnet,
)
from playground.decoding.policies.spec import NO_CHECKPOINT, PolicyKind, Spec, parse


@dataclass(frozen=True)
class Catalogue:
    """The policies that can run with the loaded model and its heads."""

    kinds: tuple[PolicyKind, ...]

    def parse(self, text: str) -> Spec:
        """The spec that `text` spells; PlaygroundError in one sentence when it spells none."""
        return parse(text, self.kinds)


def catalogue(default_checkpoints: Mapping[str, str]) -> Catalogue:
    """All policies; `default_checkpoints` names, by kind of checkpoint, what is used when none is named."""

    def default(kind: str) -> str:
        return default_checkpoints.get(kind, NO_CHECKPOINT)

    return Catalogue(
        (
            fixed.KIND,
            *aliases.KINDS,
            edt.KIND,
            target_entropy.KIND,
            tempnet.kind(default("tempnet")),
            aldr.KIND,
            forking.KIND,
            quadrants.KIND,
            kl_guided.KIND,
            mirostat.V1,
            mirostat.V2,
            adaptive.kind("token", default("adaptive-token")),
            adaptive.kind("sequence", default("adaptive-sequence")),
            auto_deco.kind(default("auto-deco")),
            difficulty_router.kind(default("difficulty-probe")),
            long_horizon.KIND,
            best_of_n.KIND,
            power_sampling.KIND,
            entropy_switch.kind(default("tuned-lens")),
            shuffled.kind(default("adaptive-token")),
            matched.kind(default("adaptive-token")),
            random_temperature.KIND,
            schedule.KIND,
        )
    )
