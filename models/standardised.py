"""What every head that reads hidden states does first: standardise each coordinate by the states it was trained on.

A state has a few coordinates some hundred times larger than the rest, and a first layer would see little else.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StandardisedHead(nn.Module):
    """Holds the mean and spread [H] of the training states as the buffers `center` and `scale`."""

    center: Tensor
    scale: Tensor

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(hidden_size))
        self.register_buffer("scale", torch.ones(hidden_size))

    def standardised(self, hidden: Tensor) -> Tensor:
        """States [..., H] with mean 0 and spread 1 over the training states, in the precision of the buffers."""
        return (hidden.to(self.center.dtype) - self.center) / self.scale

    @torch.no_grad()
    def standardise(self, hidden: Tensor) -> None:
        """Sets `center` and `scale` from the states [N, H] of the training data."""
        self.center.copy_(hidden.mean(0))
        self.scale.copy_(hidden.std(0).clamp_min(1e-3))
