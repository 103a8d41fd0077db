"""What a benchmark is asked: the settings of the app, and how long it may take."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

from playground.config import Settings


@dataclass(frozen=True)
class Asked:
    """`quick` asks for a size that ends within about a minute and still measures something true."""

    settings: Settings = field(default_factory=Settings)
    quick: bool = False
    began: float = field(default_factory=time.perf_counter)

    def size(self, full: int, quick: int) -> int:
        """A number of rounds, tokens or rows: `quick` where a quick run was asked for."""
        return quick if self.quick else full

    def progress(self, text: str) -> None:
        """One line on stderr, with the seconds since the start; stdout holds results only."""
        print(f"{time.perf_counter() - self.began:6.1f} s  {text}", file=sys.stderr, flush=True)
