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
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from models.llama.blocks import Blocks, joined
from models.llama.kernels import Kernel, Weight, kernel
from models.llama.keyvalues import KeyValues

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")
ROPE_TYPES = ("default", "linear", "llama3", "yarn")


def unsupported(config: Any) -> str:
    """Why this module cannot run a model of this configuration; empty where it can."""
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    windowed = getattr(config, "use_sliding_window", getattr(config, "sliding_window", None) is not None)
    if config.model_type not in MODEL_TYPES:
        return f"{config.model_type} is not one of {', '.join(MODEL_TYPES)}"
    if windowed and getattr(config, "sliding_window", None) is not None:
        return "it attends through a window"
    if rope not in ROPE_TYPES:
        return f"its rotary embedding is {rope}"
    return "" if config.hidden_act == "silu" else f"its activation is {config.hidden_act}"


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
    """One layer's maps and norms. Biases and the norms of queries and keys are None where the model has none."""

    attention_norm: Tensor
    qkv: Kernel
    qkv_bias: Tensor | None
    query_norm: Tensor | None
    key_norm: Tensor | None
    output: Kernel
    feed_norm: Tensor
    gate_up: Kernel
    down: Kernel


class Network:
    """Embedding, layers, last norm and unembedding of a model, from its tensors by their transformers names.

    `interleaved` says that query and key rows are in ggml's order already.
    """

    def __init__(
        self, config: Any, weights: Mapping[str, Weight], precision: str, rotary: Rotary, interleaved: bool = False
    ) -> None:
        self.hidden_size, self.epsilon = int(config.hidden_size), float(config.rms_norm_eps)
        self.heads, self.key_heads = int(config.num_attention_heads), int(config.num_key_value_heads)
        self.size = int(getattr(config, "head_dim", None) or self.hidden_size // self.heads)
        self.feed = int(config.intermediate_size)
        self._precision, self._interleaved = precision, interleaved
        self.rotary, self.parameters = rotary, sum(_count(weight) for weight in weights.values())
        embedding = weights["model.embed_tokens.weight"]
        self.embed = _embedding(embedding, precision)
        head = embedding if config.tie_word_embeddings else weights["lm_head.weight"]
        self.unembed = kernel(head, precision)
        self.vocab_size = (head.levels if isinstance(head, Blocks) else head).shape[0]
        self.norm: Callable[[Tensor], Tensor] = self._normed_by(_vector(weights, "model.norm.weight"))
        self.layers = [self._layer(weights, f"model.layers.{i}.") for i in range(config.num_hidden_layers)]
        self.layer_parameters = sum(_count(weights[name]) for name in weights if name.startswith("model.layers.0."))

    def _layer(self, weights: Mapping[str, Weight], at: str) -> Layer:
        attention, feed = at + "self_attn.", at + "mlp."
        return Layer(
            attention_norm=_vector(weights, at + "input_layernorm.weight"),
            qkv=self._kernel(
                self._turned(weights[attention + "q_proj.weight"]),
                self._turned(weights[attention + "k_proj.weight"]),
                weights[attention + "v_proj.weight"],
            ),
            qkv_bias=self._bias(weights, attention),
            query_norm=self._head_norm(weights, attention + "q_norm.weight"),
            key_norm=self._head_norm(weights, attention + "k_norm.weight"),
            output=self._kernel(weights[attention + "o_proj.weight"]),
            feed_norm=_vector(weights, at + "post_attention_layernorm.weight"),
            gate_up=self._kernel(weights[feed + "gate_proj.weight"], weights[feed + "up_proj.weight"]),
            down=self._kernel(weights[feed + "down_proj.weight"]),
        )

    def _kernel(self, *weights: Weight) -> Kernel:
        return kernel(joined(weights), self._precision)

    def _turned(self, weight: Weight) -> Weight:
        """Rows of a query or key weight, or bias, in the order of this module."""
        if self._interleaved:
            return weight
        rows = (weight.levels if isinstance(weight, Blocks) else weight).shape[0]
        order = torch.arange(rows).view(-1, 2, self.size // 2).transpose(1, 2).flatten()
        return weight.rows(order) if isinstance(weight, Blocks) else weight[order]

    def _bias(self, weights: Mapping[str, Weight], at: str) -> Tensor | None:
        if at + "q_proj.bias" not in weights:
            return None
        q, k = (self._turned(_vector(weights, f"{at}{name}_proj.bias")) for name in "qk")
        return torch.cat([q, k, _vector(weights, at + "v_proj.bias")])  # type: ignore[list-item]

    def _head_norm(self, weights: Mapping[str, Weight], name: str) -> Tensor | None:
        return self._turned(_vector(weights, name)) if name in weights else None  # type: ignore[return-value]

    def _normed_by(self, weight: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda x: rms_norm(x, (self.hidden_size,), weight, self.epsilon)

    def empty(self, capacity: int) -> KeyValues:
        """A cache of one row."""
        return KeyValues.empty(len(self.layers), self.key_heads, self.size, capacity)

    def first(self, layers: int, last: Callable[[Tensor], Tensor], parameters: int = 0) -> Network:
        """The first layers of this network with `last`, of so many `parameters` more, in place of its norm."""
        cut = copy.copy(self)
        cut.layers, cut.norm = self.layers[:layers], last
        cut.parameters += parameters - (len(self.layers) - layers) * self.layer_parameters
        return cut

    def states(self, feeds: Sequence[tuple[Tensor, KeyValues]]) -> Tensor:
        """The residual stream [M, H] after the last layer over tokens [B, T] of each cache; the caches grow by T."""
        spans, turns, start = [], [], 0
        for tokens, cache in feeds:
            cache.reserve(tokens.shape[1])
            turns.append(self.rotary.turns(cache.length, tokens.shape[1]).repeat(tokens.shape[0], 1, 1))
            spans.append((start, start + tokens.numel(), tokens.shape[1], cache))
            start += tokens.numel()
        x = self.embed(torch.cat([tokens.flatten() for tokens, _ in feeds]))
        turn = torch.cat(turns)
        masks = [_mask(count, cache.length, self.heads // self.key_heads) for _, _, count, cache in spans]
        for index, layer in enumerate(self.layers):
            self._attend(layer, index, x, turn, spans, masks)
            gate_up = layer.gate_up(rms_norm(x, (self.hidden_size,), layer.feed_norm, self.epsilon))
            x += layer.down((silu(gate_up[:, : self.feed]) * gate_up[:, self.feed :]).float())
        for tokens, cache in feeds:
            cache.length += tokens.shape[1]
        return x

    def _attend(
        self, layer: Layer, index: int, x: Tensor, turn: Tensor, spans: Sequence[Any], masks: Sequence[Tensor | None]
    ) -> None:
        """Adds a layer's attention to the residual stream x [M, H] in place and its keys and values to the caches."""
        heads, keys, size = self.heads, self.key_heads, self.size
        qkv = layer.qkv(rms_norm(x, (self.hidden_size,), layer.attention_norm, self.epsilon)).float()
        if layer.qkv_bias is not None:
            qkv = qkv + layer.qkv_bias
        qkv = qkv.view(-1, heads + 2 * keys, size)
        if layer.query_norm is not None and layer.key_norm is not None:
            qkv[:, :heads] = rms_norm(qkv[:, :heads], (size,), layer.query_norm, self.epsilon)
            qkv[:, heads : heads + keys] = rms_norm(qkv[:, heads : heads + keys], (size,), layer.key_norm, self.epsilon)
        torch.view_as_complex(qkv[:, : heads + keys].unflatten(-1, (-1, 2))).mul_(turn)
        seen = [
            _attention(qkv[start:end], count, cache, index, heads, mask)
            for (start, end, count, cache), mask in zip(spans, masks, strict=True)
        ]
        x += layer.output(seen[0] if len(seen) == 1 else torch.cat(seen))


def _attention(qkv: Tensor, count: int, cache: KeyValues, index: int, heads: int, mask: Tensor | None) -> Tensor:
    """What the rows of one cache see, [B·T, heads·D]; writes their keys and values.

    The G query heads of a key head stand where attention expects queries of one head, so no key is repeated.
    """
    held, start = cache.layers[index], cache.length
    rows, keys, end = held.shape[0], held.shape[1] // 2, start + count
    size = held.shape[3]
    group = heads // keys
    if count == 1:
        held[:, :, start] = qkv[:, heads:]
        query = _beside(qkv, keys, group)
        seen = scaled_dot_product_attention(query, held[:, :keys, :end], held[:, keys:, :end])
        return seen[:, :, :group].reshape(rows, heads * size)
    each = qkv.view(rows, count, heads + 2 * keys, size)
    held[:, :, start:end] = each[:, :, heads:].transpose(1, 2)
    query = each[:, :, :heads].view(rows, count, keys, group, size).permute(0, 2, 3, 1, 4).flatten(2, 3)
    seen = scaled_dot_product_attention(query, held[:, :keys, :end], held[:, keys:, :end], attn_mask=mask)
    return seen.view(rows, keys, group, count, size).permute(0, 3, 1, 2, 4).reshape(rows * count, heads * size)


def _beside(qkv: Tensor, keys: int, group: int) -> Tensor:
    """The queries of each key head [B, keys, G, D] out of qkv [B, heads + 2·keys, D], without a copy.

    Three are read as four, the last being whatever stands next and not looked at afterwards: a product of four rows is
    faster than one of three.
    """
    rows, _, size = qkv.shape
    return qkv.as_strided((rows, keys, 4 if group == 3 else group, size), (qkv.stride(0), group * size, size, 1))


def _mask(count: int, start: int, group: int) -> Tensor | None:
    """Which of start + count positions each of `count` new ones may see, once for every query head of a key head."""
    if count == 1:
        return None
    return torch.ones(count, start + count, dtype=torch.bool).tril(start).repeat(group, 1)


def _count(weight: Weight) -> int:
    return (weight.levels if isinstance(weight, Blocks) else weight).numel()


def _vector(weights: Mapping[str, Weight], name: str) -> Tensor:
    weight = weights[name]
    return weight.dense() if isinstance(weight, Blocks) else weight.float()


def _embedding(weight: Weight, precision: str) -> Callable[[Tensor], Tensor]:
    """Token ids [M] → [M, H] float32, from the table as the precision keeps it."""
    if isinstance(weight, Blocks):
        return lambda ids: weight.rows(ids).dense()
    table = weight.to(torch.bfloat16 if precision == "bfloat16" else torch.float16)
    return lambda ids: table[ids].float()
