"""Which two policies meet in a battle, and with what probability. Pure: the draw takes its randomness.

`collect` battles gather pairs that train a head, so its arms sample their temperatures, and two draws of one head may
meet (at sequence level the engine draws them without replacement). `evaluate` battles compare policies as they would be
used: heads by argmax, against fixed temperatures, two rules that go opposite ways (EDT is cold where the model is sure,
target entropy is hot there) and the shuffled control.

The pool is kept small, since every arm thins the votes of all pairs. Left out are rules near one that is in, truncation,
whatever needs a source, and whatever decodes more slowly or in blocks: its pace would give it away.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from playground.records import Arm, Mode

MODES: tuple[tuple[Mode, float], ...] = (("collect", 0.5), ("evaluate", 0.5))
ADAPTIVE = ("adaptive-token", "adaptive-sequence")
LEARNED = (*ADAPTIVE, "tempnet", "auto-deco")  # kinds of head; a spec may name one: adaptive-token:checkpoint=NAME
RULES = ("edt", "target-entropy")
FIXED = ("fixed:temperature=0.0", "fixed:temperature=0.7", "fixed:temperature=1.0")


@dataclass(frozen=True, slots=True)
class Draw:
    """Candidates a and b as specs, the one that stands on the left, and the probability of this ordered pair in its mode."""

    mode: Mode
    arms: tuple[str, str]
    left: Arm
    propensity: float


def pairs(mode: Mode, learned: Sequence[str]) -> list[tuple[tuple[str, str], float]]:
    """Every ordered pair of a mode with its probability; `learned` are specs of the policies that have a head.

    Without an AdaptiveDecoder head, both modes compare policies as they would be used.
    """
    sampling = [sampled(spec) for spec in learned if spec.partition(":")[0] in ADAPTIVE]
    if mode == "collect" and sampling:
        pool = sampling
        listed = [(first, second) for first in pool for second in pool]
    else:
        pool = [*learned, *FIXED, *RULES, *(["shuffled"] if "adaptive-token" in learned else [])]
        listed = [(first, second) for first in pool for second in pool if first != second]
    return [(pair, 1 / len(listed)) for pair in listed]


def sampled(spec: str) -> str:
    """The same head, drawing its temperatures."""
    return f"{spec}{',' if ':' in spec else ':'}select=sample"


def draw(learned: Sequence[str], chance: random.Random) -> Draw:
    """A mode, an ordered pair of its arms by their probabilities, and a fair coin for the side."""
    mode = chance.choices([name for name, _ in MODES], [weight for _, weight in MODES])[0]
    listed = pairs(mode, learned)
    arms, propensity = chance.choices(listed, [probability for _, probability in listed])[0]
    return Draw(mode, arms, chance.choice(("a", "b")), propensity)
