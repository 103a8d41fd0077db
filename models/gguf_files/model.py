"""A GGUF file as a model: its configuration, and its weights under transformers' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.errors import ModelError
from models.gguf_files.architectures import architecture_of
from models.gguf_files.common import Architecture
from models.gguf_files.metadata import Metadata, shown
from models.gguf_files.reader import Stored
from models.gguf_files.splits import joined
from models.gguf_files.tensors import KEPT, dense_of, weights_of
from models.llama.blocks import Blocks

LONGEST_VECTOR = 1 << 16
FOUR_BIT = ("Q4_0", "Q4_1")
MAPS = (("attn_q", "attn_k", "attn_v"), ("attn_output",), ("ffn_gate", "ffn_up"), ("ffn_down",))


class GgufModel:
    """The model of one GGUF file, or of its parts. What takes long to unpack is kept in `cache` under `revision`.

    Raises ModelError with one sentence for a file that is damaged, or that says something that is not read here.
    """

    def __init__(self, path: Path, cache: Path, revision: str) -> None:
        self.name, self._kept = path.name, cache / KEPT / f"{revision}.safetensors"
        contents = joined(path)
        self.tensors: Mapping[str, Stored] = contents.tensors
        self.metadata = Metadata(path.name, contents.metadata, contents.tensors)
        if (part := contents.metadata.get("general.type", "model")) != "model":
            raise ModelError(
                f"{path.name} is no language model but says that it is of the type {shown(part)}, such as an adapter or a "
                f"projector of images; name the file of the model itself."
            )

    @cached_property
    def architecture(self) -> Architecture:
        known = architecture_of(self.metadata)
        if known is None:
            raise ModelError(
                f"{self.name} is of the architecture {shown(self.metadata.architecture)}, whose GGUF files are not read exactly "
                f"here; use the model's safetensors folder."
            )
        return known

    @cached_property
    def config(self) -> Any:
        """transformers' configuration."""
        from transformers import AutoConfig

        said = self.architecture.configuration(self.metadata, self._vector)
        embedding = self.tensors.get("token_embd.weight")
        if embedding is None or embedding.shape[1:] != (said["hidden_size"],):
            raise ModelError(
                f"{self.name} holds no token_embd.weight of {said['hidden_size']} columns; convert it again."
            )
        if said["num_hidden_layers"] > len(self.tensors):
            raise self.metadata.refused(
                "block_count", f"is {said['num_hidden_layers']}, for {len(self.tensors)} tensors"
            )
        said["vocab_size"] = embedding.shape[0]
        self.metadata.own("vocab_size")  # the tensor says it
        if unread := self.metadata.unread():
            raise self.metadata.refused(unread[0], "changes the model in a way that is not read here")
        return AutoConfig.for_model(self.architecture.kind, **said)

    def _vector(self, name: str) -> list[float]:
        stored = self.tensors[name]
        if len(stored.shape) != 1 or stored.shape[0] > LONGEST_VECTOR:
            raise ModelError(f"{self.name} holds {name} in an unexpected shape; convert it again.")
        values: list[float] = dense_of(stored).tolist()
        return values

    def _named(self, name: str) -> str:
        """transformers' name of a tensor. Raises ModelError for one that would be dropped."""
        *before, part, kind = name.split(".") if "." in name else ("", name, "")
        known = self.architecture
        if before[:1] == ["blk"] and len(before) == 2 and part in known.layer:
            return f"{known.prefix}{before[1]}.{known.layer[part]}.{kind}"
        if not before and part in known.outside:
            return f"{known.outside[part]}.{kind}"
        raise ModelError(f"{self.name} holds {name}, which is not read here; use the model's safetensors folder.")

    def blocks(self) -> dict[str, Tensor | Blocks]:
        """The weights in the file's own precision, rows of queries and keys in the file's order."""
        named = {self._named(name): stored for name, stored in self._read_here().items()}
        return weights_of(named, self._kept)

    def dense(self, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """The weights as transformers has them, unpacked in float32 and rounded to `dtype`."""
        known, weights = self.architecture, {}
        for name, stored in self._read_here().items():
            part = name.split(".")[-2] if "." in name else name
            weight = dense_of(stored)
            if known.interleaved and part in ("attn_q", "attn_k"):
                weight = self._apart(weight)
            alter = known.alter.get(part) or known.alter.get(".".join(name.split(".")[-2:]))
            altered = alter(weight, self.metadata) if alter else weight
            weights[self._named(name)] = altered.to(dtype)
        return _experts_joined(weights)

    def in_blocks(self) -> tuple[int, int]:
        """How many linear maps run as the file's 4-bit blocks, and how many there are."""
        found = [
            *self._layer_maps_in_blocks(),
            self._four_bit(["output" if self.metadata.has("output.weight") else "token_embd"]),
        ]
        return sum(found), len(found)

    def layers_in_blocks(self) -> bool:
        """Whether all maps of the layers do, so that a layer of blocks is what is timed."""
        return all(self._layer_maps_in_blocks())

    def _layer_maps_in_blocks(self) -> list[bool]:
        """For each map; queries, keys and values are one, as are gate and up."""
        layers = range(self.config.num_hidden_layers)
        return [self._four_bit([f"blk.{layer}.{part}" for part in parts]) for layer in layers for parts in MAPS]

    def _four_bit(self, names: Sequence[str]) -> bool:
        stored = [self.tensors.get(f"{name}.weight") for name in names]
        return all(one is not None and one.format in FOUR_BIT for one in stored)

    def blocks_said(self) -> str:
        """A sentence about the maps that do not run as blocks; empty where all do."""
        some, every = self.in_blocks()
        return (
            f" Of its linear maps, {some} of {every} run as 4-bit blocks, the others as float16."
            if some < every
            else ""
        )

    def _read_here(self) -> dict[str, Stored]:
        return {name: stored for name, stored in self.tensors.items() if name not in self.architecture.turns}

    def _apart(self, weight: Tensor) -> Tensor:
        """Rows of queries or keys with what RoPE turns together half a head apart."""
        size = self.config.head_dim
        if weight.shape[0] % size:
            return weight  # its shape is refused later on
        order = torch.arange(weight.shape[0]).view(-1, size // 2, 2).transpose(1, 2).flatten()
        return weight[order]


def _experts_joined(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights with gate and up of all experts of a layer as one, as transformers keeps them [E, 2 F, H]."""
    found = {}
    for name, weight in weights.items():
        before, stem, part = name.partition(".experts.")
        if stem and part == "gate_proj.weight" and f"{before}{stem}up_proj.weight" in weights:
            found[f"{before}{stem}gate_up_proj"] = torch.cat([weight, weights[f"{before}{stem}up_proj.weight"]], dim=1)
        elif stem and part == "down_proj.weight":
            found[f"{before}{stem}down_proj"] = weight
        elif not (stem and part == "up_proj.weight" and f"{before}{stem}gate_proj.weight" in weights):
            found[name] = weight
    return found
