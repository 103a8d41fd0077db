"""When the large model writes and when the small one, and what that cost: the rule of `entropy-switch`, and its figures.

    H̄_t = mean of the last `window` entropies in bits, each of the model that wrote its token
    next author = large if H̄_t >= threshold else small, once the author has written `stay` tokens

(Simonds 2025, arXiv 2502.06833). Plain numbers; no tensors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

from playground.decoding.trace import TokenStep


@dataclass
class SwitchRule:
    """Who writes the next token (`large`). The start counts as a switch, so the first author stays as well."""

    threshold: float
    window: int
    stay: int
    large: bool
    _recent: deque[float] = field(init=False)
    _written: int = 0

    def __post_init__(self) -> None:
        self._recent = deque(maxlen=self.window)

    def observe(self, bits: float) -> float:
        """Takes in the entropy at the next token and returns the mean of the last ones: fewer than `window` at the start."""
        self._recent.append(bits)
        return fmean(self._recent)

    def settle(self, mean: float) -> None:
        """After the token that `mean` belongs to: decides who writes the one after it."""
        self._written += 1
        wanted = mean >= self.threshold
        if wanted != self.large and self._written >= self.stay:
            self.large, self._written = wanted, 0


@dataclass(frozen=True)
class Switching:
    """Figures of a reply by two models.

    large_share   tokens written by the large model, of all tokens
    switches      how often the author changed
    read          parameters read, relative to the large model alone. One forward pass reads a model once, however many
                  tokens it is fed; this is what a single stream on an accelerator waits for, and the paper's cost
    computed      parameters times tokens fed, relative to the large model alone, with every missed token that a switch
                  feeds. Both models read most tokens in the end, so this may exceed 1 while `read` is far below
    """

    tokens: int
    large_share: float
    switches: int
    read: float
    computed: float


def switching(steps: Sequence[TokenStep]) -> Switching | None:
    """The figures of these steps, from their channels alone; None where they are not of `entropy-switch`.

    The large model's pass over the prompt is left out, as it is of the large model alone; the small model's is counted.
    """
    if not steps or any("large" not in step.channel for step in steps):
        return None
    authors = [step.channel["large"] for step in steps]
    costs = [step.channel["cost"] for step in steps]
    return Switching(
        tokens=len(steps),
        large_share=fmean(authors),
        switches=sum(a != b for a, b in pairwise(authors)),
        read=fmean(costs),
        computed=fmean(cost * step.channel["fed"] for cost, step in zip(costs, steps, strict=True)),
    )
