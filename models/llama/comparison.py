"""Our own network beside transformers' over a dozen tokens of a fixed text: is it the same function, as near as its precision?

Every layer is given what transformers' layer before it gave, so that no difference is carried on, and what it adds to the
residual stream is compared with what transformers' adds:

    difference = mean over tokens of ‖ours − theirs‖ / ‖theirs‖
    allowed    = BOUND · max(GRAIN, what theirs differs by when its input is changed by GRAIN)

GRAIN is what the precision rounds to; the second term lets a layer differ that enlarges any rounding. The rotary embedding
is compared at positions up to the context's end, which a dozen tokens would not show. Theirs has float32 weights, but one
layer's at a time.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from models.llama.blocks import Blocks
from models.llama.kernels import Weight
from models.llama.network import Network, counted

TEXT: Final = "On 12 March the harbour was quiet; seven ships lay there, and nobody knew why they had come."
TOKENS: Final = 12
PIECE: Final = 8  # tokens that our layer reads first, so that the others read its cache
GRAIN: Final = {"float16": 2**-11, "bfloat16": 2**-9, "gguf": 2**-9, "int8": 0.01}
BOUND: Final = 8.0  # LOG.md has what was measured with right networks and with wrong ones
TURNED: Final = (1e-3, 2**-22)  # what a turn may differ by, and more for every position, whose angle is rounded too
ROWS: Final = 2048  # of the unembedding that are compared


@dataclass(frozen=True)
class Part:
    """A part of the network: how far it is from transformers', and how far its precision lets it be."""

    name: str
    difference: float
    allowed: float

    @property
    def same(self) -> bool:
        return self.difference <= self.allowed  # not where it is no number


def reference_of(config: Any) -> Any:
    """transformers' module of this configuration, without weights: its tensors have names and shapes only."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def bytes_needed(weights: Mapping[str, Weight]) -> int:
    """The memory that a comparison takes: one layer's weights in float32, while they are made, and some rows of a table."""
    sizes: dict[str, int] = {}
    for name, weight in weights.items():
        rows, *columns = (weight.levels if isinstance(weight, Blocks) else weight).shape
        layer = name.startswith("model.layers.")
        part = ".".join(name.split(".")[:3]) if layer else name
        sizes[part] = sizes.get(part, 0) + (rows if layer else min(rows, ROWS)) * math.prod(columns)
    return 3 * 4 * max(sizes.values())


class Comparison:
    """One network beside the module `theirs` without weights, whose tensors `weights` gives by their names."""

    def __init__(self, network: Network, theirs: Any, weights: Mapping[str, Weight], precision: str) -> None:
        self._network, self._theirs, self._weights = network, theirs, weights
        self._grain = GRAIN[precision]
        self._random = torch.Generator().manual_seed(0)
        self._parts: list[Part] = []

    @torch.inference_mode()
    def parts(self, ids: Sequence[int]) -> list[Part]:
        """Every part in order, over these tokens."""
        inner, tokens = self._theirs.model, torch.tensor(list(ids))
        inner.rotary_emb = type(inner.rotary_emb)(inner.config)
        self._judge_rotary(inner)
        embedded = self._rows("model.embed_tokens.weight", tokens)
        self._judge("embedding", self._network.embed(tokens), embedded)
        hooks = []
        for index, layer in enumerate(inner.layers):
            hooks.append(layer.register_forward_pre_hook(self._filler(index)))
            hooks.append(layer.register_forward_hook(self._judge_layer(index), with_kwargs=True))
        inner.norm.load_state_dict({"weight": self._dense("model.norm.weight")}, assign=True)
        streams: list[Tensor] = []
        hooks.append(inner.norm.register_forward_pre_hook(lambda module, inputs: streams.append(inputs[0])))
        states = inner(inputs_embeds=embedded[None], use_cache=False).last_hidden_state[0]
        for hook in hooks:
            hook.remove()
        self._judge_logits(streams[0][0], states)
        return self._parts

    def _judge(self, name: str, ours: Tensor, theirs: Tensor, noise: float = 0.0) -> None:
        self._parts.append(Part(name, _relative(ours, theirs), BOUND * max(self._grain, noise)))

    def _judge_rotary(self, inner: Any) -> None:
        last = int(inner.config.max_position_embeddings) - 1
        places = sorted({min(last, 2**power) for power in range(last.bit_length() + 1)})
        cosines, sines = inner.rotary_emb(torch.zeros(1), torch.tensor([places]))
        theirs = torch.complex(*(x[0, :, : self._network.size // 2].contiguous() for x in (cosines, sines)))
        ours = torch.cat([self._network.rotary.turns(place, 1)[0] for place in places])
        allowed, rounded = TURNED
        beyond = (ours - theirs).abs().amax(-1) - rounded * torch.tensor(places)
        self._parts.append(Part("rotary embedding", max(0.0, float(beyond.max())), allowed))

    def _filler(self, index: int) -> Any:
        at = f"model.layers.{index}."

        def fill(layer: Any, inputs: Any) -> None:
            layer.load_state_dict({name: self._dense(at + name) for name in layer.state_dict()}, assign=True)

        return fill

    def _judge_layer(self, index: int) -> Any:
        def judge(layer: Any, inputs: Any, options: Any, out: Any) -> None:
            before, after = inputs[0][0], (out if isinstance(out, Tensor) else out[0])[0]
            ours = self._layer(index, before) - before
            theirs, noise = after - before, 0.0
            if not _relative(ours, theirs) <= BOUND * self._grain:
                shaken = before * (1 + self._grain * torch.randn(before.shape, generator=self._random))
                moved = layer.forward(shaken[None], **options)
                noise = _relative((moved if isinstance(moved, Tensor) else moved[0])[0] - shaken, theirs)
            self._judge(f"layer {index + 1}", ours, theirs, noise)
            layer.to("meta")

        return judge

    def _layer(self, index: int, stream: Tensor) -> Tensor:
        """The residual stream [T, H] after our layer, read in two pieces, out of the stream before it."""
        alone = copy.copy(self._network)
        alone.layers = self._network.layers[index : index + 1]
        cache, pieces = alone.empty(len(stream)), []
        for piece in stream.split(PIECE):
            alone.embed = _giving(piece)
            feeds = [(torch.zeros(1, len(piece), dtype=torch.long), cache)]
            pieces.append(alone.states(feeds))
            counted(feeds)
        return torch.cat(pieces)

    def _judge_logits(self, stream: Tensor, states: Tensor) -> None:
        network = self._network
        rows = torch.arange(0, network.vocab_size, max(1, network.vocab_size // ROWS))
        head = "lm_head.weight" if "lm_head.weight" in self._weights else "model.embed_tokens.weight"
        theirs = states @ self._rows(head, rows).T
        ours = network.unembed(network.norm(stream)).float()[:, rows]
        self._judge("logits", ours - ours.mean(-1, keepdim=True), theirs - theirs.mean(-1, keepdim=True))

    def _rows(self, name: str, rows: Tensor) -> Tensor:
        weight = self._weights[name]
        return weight.rows(rows).dense() if isinstance(weight, Blocks) else weight[rows].float()

    def _dense(self, name: str) -> Tensor:
        """A tensor in float32 with its rows as transformers orders them."""
        weight = self._weights[name]
        dense = weight.dense() if isinstance(weight, Blocks) else weight.float()
        turned = self._network.interleaved and name.split(".")[-2] in ("q_proj", "k_proj")
        return dense.unflatten(0, (-1, self._network.size // 2, 2)).transpose(1, 2).flatten(0, 2) if turned else dense


def _giving(stream: Tensor) -> Callable[[Tensor], Tensor]:
    """An embedding that gives this stream for any tokens."""
    return lambda ids: stream.clone()


def _relative(ours: Tensor, theirs: Tensor) -> float:
    """How far [T, N] is from another, relative to that, in the mean over T."""
    length = torch.linalg.vector_norm(theirs, dim=-1).clamp(min=1e-30)
    return float((torch.linalg.vector_norm(ours - theirs, dim=-1) / length).mean())
