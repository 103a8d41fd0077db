"""What stands above a lane: its policy, the channels it records, the given beginning of the reply, and what it waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from playground.methods import named

if TYPE_CHECKING:
    from playground.decoding.policies.spec import Channel, Spec


@dataclass(frozen=True)
class Heading:
    """One lane's heading; `label` replaces "Lane N"."""

    spec: Spec
    prefill: str = ""
    label: str | None = None

    @property
    def channels(self) -> tuple[Channel, ...]:
        return self.spec.channels

    @property
    def shows(self) -> str:
        """The overlay that colours the lane until its visitor chooses one: that in which its policy does something."""
        return self.spec.shows

    def target(self, channel: str) -> float | None:
        """The value that the lane's channel of this name is steered to, where there is one."""
        aims = [self.spec.values.get(own.target) for own in self.channels if own.name == channel]
        return float(aims[0]) if aims and aims[0] is not None else None

    def to_record(self) -> dict[str, Any]:
        """As board.js reads it; `waits` is said until the first token, `channels` orders the values on the wire."""
        donor = int(self.spec.values.get("of", 0))
        title, short = named(self.spec)
        record = {
            "title": title,
            "spec": str(self.spec),
            "short": short,
            "prefill": self.prefill,
            "waits": f"waits for lane {donor}" if donor else "no token is certain yet",
            "channels": [channel.name for channel in self.channels],
            "shows": self.shows,
        }
        return {**record, "label": self.label} if self.label else record
