"""The layers of a Llama-like model (Touvron et al. 2023, arXiv 2302.13971; grouped-query attention, RoPE, SwiGLU).

Shapes: M tokens of a pass, all rows one after the other; B rows and T new positions of one cache; L its length after
the pass; H hidden, D head size, G query heads a key head. The residual stream, norms, rotary embedding and attention
are float32; the linear maps are what models.llama.kernels makes of the weights.

Queries and keys keep the two numbers that RoPE turns together side by side (ggml's order; transformers keeps them D/2
apart, so rows of its weights are reordered once): the rotation is then one complex product.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

from models.llama.blocks import Blocks, joined
from models.llama.kernels import Kernel, Weight, activations, fitting, kernel
from models.llama.keyvalues import KeyValues


def rotary_of(config: Any) -> Rotary:
    """The rotary embedding of a configuration, its frequencies scaled as transformers scales them."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    embedding = LlamaRotaryEmbedding(config)
    return Rotary(embedding.inv_freq.float(), float(embedding.attention_scaling))


@dataclass(frozen=True)
class Rotary:
    """The angle a position turns each pair of a head by [D/2], and what the turned numbers are scaled by."""

    frequencies: Tensor
    scale: float

    def turns(self, start: int, count: int) -> Tensor:
        """The turns of `count` positions from `start` as complex numbers [count, 1, D/2]."""
        angles = torch.outer(torch.arange(start, start + count, dtype=torch.float32), self.frequencies)
        return torch.polar(torch.full_like(angles, self.scale), angles)[:, None]


@dataclass(frozen=True)
class Layer:
    """One layer's maps and norms. The bias and the norm of queries and keys are None where the model has none."""

    attention_norm: Norm
    qkv: Kernel
    qkv_bias: Tensor | None
    head_norm: Norm | None
    output: Kernel
    feed_norm: Norm
    gate_up: Kernel
    down: Kernel


class Network:
    """Embedding, layers, last norm and unembedding of a model, from its tensors by their transformers names.

    `interleaved` says that query and key rows are in ggml's order already; `otherwise` counts the maps that run in
    float32, since their numbers do not fit the precision.
    """

    def __init__(
        self, config: Any, weights: Mapping[str, Weight], precision: str, rotary: Rotary, interleaved: bool = False
    ) -> None:
        self.hidden_size, self.epsilon = int(config.hidden_size), float(config.rms_norm_eps)
        self.heads, self.key_heads = int(config.num_attention_heads), int(config.num_key_value_heads)
        self.size = int(getattr(config, "head_dim", None) or self.hidden_size // self.heads)
        self.feed = int(config.intermediate_size)
        self._precision, self.interleaved, self._activations = precision, interleaved, activations(precision)
        self.otherwise = 0
        self.rotary, self.parameters = rotary, sum(_count(weight) for weight in weights.values())
        embedding = weights["model.embed_tokens.weight"]
        self.embed = _embedding(embedding, precision)
        head = weights.get("lm_head.weight", embedding) if config.tie_word_embeddings else weights["lm_head.weight"]
        self.unembed = self._kernel(head)
        self.vocab_size = (head.levels if isinstance(head, Blocks) else head).shape[0]
        last = self._norm(weights, "model.norm.weight")
        self.norm: Callable[[Tensor], Tensor] = lambda x: last(x, torch.empty_like(x))
        self.layers = [self._layer(weights, f"model.layers.{i}.") for i in range(config.num_hidden_layers)]
        self.layer_parameters = sum(_count(weights[name]) for name in weights if name.startswith("model.layers.0."))

    def _layer(self, weights: Mapping[str, Weight], at: str) -> Layer:
        attention, feed = at + "self_attn.", at + "mlp."
        return Layer(
            attention_norm=self._norm(weights, at + "input_layernorm.weight"),
            qkv=self._kernel(
                self._turned(weights[attention + "q_proj.weight"]),
                self._turned(weights[attention + "k_proj.weight"]),
                weights[attention + "v_proj.weight"],
            ),
            qkv_bias=self._bias(weights, attention),
            head_norm=self._head_norm(weights, attention),
            output=self._kernel(weights[attention + "o_proj.weight"]),
            feed_norm=self._norm(weights, at + "post_attention_layernorm.weight"),
            gate_up=self._kernel(weights[feed + "gate_proj.weight"], weights[feed + "up_proj.weight"]),
            down=self._kernel(weights[feed + "down_proj.weight"]),
        )

    def _kernel(self, *weights: Weight) -> Kernel:
        """One map of these weights under one another, in the precision, or in float32 where one of them does not fit it."""
        fits = all(fitting(weight, self._precision) for weight in weights)
        self.otherwise += not fits
        weight = weights[0] if len(weights) == 1 else joined(weights)
        return kernel(weight, self._precision if fits else "float32")

    def _turned(self, weight: Weight) -> Weight:
        """Rows of a query or key weight, or bias, in the order of this module."""
        if self.interleaved:
            return weight
        rows = (weight.levels if isinstance(weight, Blocks) else weight).shape[0]
        order = torch.arange(rows).view(-1, 2, self.size // 2).transpose(1, 2).flatten()
        return weight.rows(order) if isinstance(weight, Blocks) else weight[order]

    def _bias(self, weights: Mapping[str, Weight], at: str) -> Tensor | None:
        if at + "q_proj.bias" not in weights:
            return None
        q, k = (self._turned(_vector(weights, f"{at}{name}_proj.bias")) for name in "qk")
        return torch.cat([q, k, _vector(weights, at + "v_proj.bias")])  # type: ignore[list-item]

    def _norm(self, weights: Mapping[str, Weight], name: str) -> Norm:
        return Norm(_vector(weights, name), self.epsilon)

    def _head_norm(self, weights: Mapping[str, Weight], at: str) -> Norm | None:
        """The norm of queries and keys as one, a weight a head [heads + keys, D]."""
        if at + "q_norm.weight" not in weights:
            return None
        q, k = (self._turned(_vector(weights, f"{at}{name}_norm.weight")) for name in "qk")
        assert isinstance(q, Tensor)
        assert isinstance(k, Tensor)
        return Norm(torch.cat([q.expand(self.heads, -1), k.expand(self.key_heads, -1)]), self.epsilon)

    def exceptions(self) -> str:
        """A sentence about maps that run in another precision than was asked for; empty where all do."""
        if not self.otherwise:
            return ""
        return f" Of its linear maps, {self.otherwise} run in float32, since float16 cannot hold their weights."

    def empty(self, capacity: int) -> KeyValues:
        """A cache of one row."""
        return KeyValues.empty(len(self.layers), self.key_heads, self.size, capacity)

    def first(self, layers: int, last: Callable[[Tensor], Tensor], parameters: int = 0) -> Network:
        """The first layers of this network with `last`, of so many `parameters` more, in place of its norm."""
        cut = copy.copy(self)
        cut.layers, cut.norm = self.layers[:layers], last
        cut.parameters += parameters - (len(self.layers) - layers) * self.layer_parameters
        return cut

    def _turns(self, start: int, count: int) -> Tensor:
        """What queries and keys of `count` positions are multiplied by [count, heads + keys, D/2]: queries come out scaled."""
        turns = self.rotary.turns(start, count)
        scaled = (turns / self.size**0.5).expand(-1, self.heads, -1)
        return torch.cat([scaled, turns.expand(-1, self.key_heads, -1)], dim=1)

    def states(self, feeds: Sequence[tuple[Tensor, KeyValues]]) -> Tensor:
        """The residual stream [M, H] after the last layer over tokens [B, T] of each cache.

        The caches hold the new positions but do not count them yet, so that a pass which fails later on has changed nothing:
        `counted` does.

        Everything that does not change from layer to layer, views included, is made once a pass: at a few rows a pass is
        as much about the number of calls as about arithmetic.
        """
        x = self.embed(torch.cat([tokens.flatten() for tokens, _ in feeds]))
        heads, keys, size = self.heads, self.key_heads, self.size
        qkv = x.new_empty(len(x), heads + 2 * keys, size)
        seen = x.new_empty(len(x), heads * size, dtype=self._activations)
        normed = x.new_empty(x.shape, dtype=self._activations)
        spans, turns, start = [], [], 0
        for tokens, cache in feeds:
            rows = slice(start, start + tokens.numel())
            spans.append(Span(cache, tokens.shape[1], qkv[rows], seen[rows], heads))
            turns.append(self._turns(cache.length, tokens.shape[1]).repeat(tokens.shape[0], 1, 1))
            start = rows.stop
        flat, turn, turning = qkv.flatten(1), torch.cat(turns), qkv[:, : heads + keys]
        turned = torch.view_as_complex(turning.unflatten(-1, (-1, 2)))
        for index, layer in enumerate(self.layers):
            flat.copy_(layer.qkv(layer.attention_norm(x, normed)))
            if layer.qkv_bias is not None:
                flat.add_(layer.qkv_bias)
            if layer.head_norm is not None:
                turning.copy_(layer.head_norm(turning, torch.empty_like(turning)))
            turned.mul_(turn)
            for span in spans:
                span.attend(index)
            x.add_(layer.output(seen))
            gate, up = layer.gate_up(layer.feed_norm(x, normed)).chunk(2, dim=-1)
            x.add_(layer.down(silu(gate).mul_(up)))
        return x


def counted(feeds: Sequence[tuple[Tensor, KeyValues]]) -> None:
    """The caches [B, …] grow by the positions T that a pass over these tokens [B, T] has filled."""
    for tokens, cache in feeds:
        cache.length += tokens.shape[1]


class Norm:
    """RMSNorm (Zhang & Sennrich 2019, arXiv 1910.07467) over the last dimension, as few operations.

    x·g / sqrt(mean(x²) + ε) = x·g·sqrt(n) / hypot(‖x‖, sqrt(n·ε)) for n numbers
    """

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        count = weight.shape[-1]
        self._weight, self._floor = weight * count**0.5, torch.tensor((count * epsilon) ** 0.5)

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return torch.div(x * self._weight, torch.hypot(length, self._floor), out=out)


class Span:
    """The rows of one cache within a pass: where their queries are, where their keys and values go, what they see.

    The G query heads of a key head stand where attention expects queries of one head, so no key is repeated. `qkv`
    [B·T, heads + 2·keys, D] and `seen` [B·T, heads·D] are the rows' parts of the pass's buffers; the queries come scaled.
    """

    def __init__(self, cache: KeyValues, count: int, qkv: Tensor, seen: Tensor, heads: int) -> None:
        cache.reserve(count)
        self.cache, self.count = cache, count
        rows, keys, size = cache.rows, cache.values.shape[3], cache.values.shape[5]
        group, end = heads // keys, cache.length + count
        self._held = cache.values[..., cache.length : end, :].unbind(0)
        self._new = qkv[:, heads:].unflatten(1, (2, keys)).unflatten(0, (rows, count)).permute(2, 0, 3, 1, 4)
        known = cache.values[..., :end, :].flatten(2, 3)
        self._keys, self._values = known[:, 0].transpose(-1, -2).unbind(0), known[:, 1].unbind(0)
        # three queries are read as four, the last being whatever stands next: a product of four rows is faster than of three
        read = 4 if group == 3 and count == 1 else group
        strides = (count * qkv.stride(0), group * size, size, qkv.stride(0), 1)
        self._queries = qkv.as_strided((rows, keys, read, count, size), strides)
        self._scores = qkv.new_empty(rows * keys, read * count, end)
        self._found = qkv.new_empty(rows * keys, read * count, size)
        self._kept = self._found.view(rows, keys, read, count, size)[:, :, :group]
        self._seen = seen.view(rows, count, keys, group, size).permute(0, 2, 3, 1, 4)
        self._hidden = None if count == 1 else _hidden(count, cache.length, group)

    def attend(self, index: int) -> None:
        """Keeps a layer's keys and values and writes what its queries see."""
        self._held[index].copy_(self._new)
        torch.bmm(self._queries.reshape(self._found.shape), self._keys[index], out=self._scores)
        if self._hidden is not None:
            self._scores.masked_fill_(self._hidden, -torch.inf)
        torch.bmm(torch.softmax(self._scores, -1), self._values[index], out=self._found)
        self._seen.copy_(self._kept)


def _hidden(count: int, start: int, group: int) -> Tensor:
    """Which of start + count positions `count` new ones may not see, once for every query head of a key head."""
    return torch.ones(count, start + count, dtype=torch.bool).triu(start + 1).repeat(group, 1)


def _count(weight: Weight) -> int:
    return (weight.levels if isinstance(weight, Blocks) else weight).numel()


def _vector(weights: Mapping[str, Weight], name: str) -> Tensor:
    weight = weights[name]
    return weight.dense() if isinstance(weight, Blocks) else weight.float()


def _embedding(weight: Weight, precision: str) -> Callable[[Tensor], Tensor]:
    """Token ids [M] → [M, H] float32, from the table as the precision keeps it."""
    if isinstance(weight, Blocks):
        return lambda ids: weight.rows(ids).dense()
    halves = torch.float16 if fitting(weight, "float16") else torch.float32
    table = weight.to(torch.bfloat16 if precision == "bfloat16" else halves)
    return lambda ids: table[ids].float()
