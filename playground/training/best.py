"""Early stopping: the weights of the epoch with the lowest validation loss."""

from __future__ import annotations

import copy
import math
from typing import Any

from torch import nn


class Best:
    """Keeps the state of `module` at its lowest loss; `loss` and `epoch` say what is known before the first epoch."""

    def __init__(self, module: nn.Module, loss: float = math.inf, epoch: int = 0) -> None:
        self._module, self.loss, self.epoch = module, loss, epoch
        self._state = copy.deepcopy(module.state_dict())

    def waited(self, epoch: int, loss: float) -> int:
        """Note the loss of an epoch that has ended; how many epochs ago the lowest one was."""
        if loss < self.loss:
            self.loss, self.epoch = loss, epoch
            self._state = copy.deepcopy(self._module.state_dict())
        return epoch - self.epoch

    @property
    def kept(self) -> dict[str, Any]:
        """The kept state."""
        return self._state

    def resume(self, state: dict[str, Any], loss: float, epoch: int) -> None:
        """Go on from what was kept before."""
        self._state, self.loss, self.epoch = dict(state), loss, epoch

    def restore(self) -> None:
        """Give the module the kept state."""
        self._module.load_state_dict(self._state)
