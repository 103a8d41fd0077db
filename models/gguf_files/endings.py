"""The tokens that end a reply by a GGUF file, by llama.cpp's rule (special_eog_ids in src/llama-vocab.cpp)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NAMED = ("eos_token_id", "eot_token_id", "eom_token_id")
SPELLED = frozenset(
    [
        "<|eot_id|>",
        "<|im_end|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<|flush|>",
        "<|calls|>",
        "<end_of_turn>",
        "<|endoftext|>",
        "</s>",
        "<|eom_id|>",
        "<EOT>",
        "_<EOT>",
        "[EOT]",
        "[EOS]",
        "<|end_of_text|>",
        "<end_of_utterance>",
        "<eos>",
        "<turn|>",
        "<|tool_response>",
        "<｜end▁of▁sentence｜>",
        "[e~[",
    ]
)
FILES = {  # marks of code models that end a file, each by its key or else by its first spelling in the vocabulary
    "fim_pad_token_id": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep_token_id": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep_token_id": ("<|file_sep|>",),
}


def end_ids_of(metadata: Mapping[str, Any], tokens: Sequence[str]) -> frozenset[int]:
    """The ids among `tokens` that llama.cpp stops at."""
    ids = {token: number for number, token in enumerate(tokens)}
    ends = {ids[spelled] for spelled in SPELLED if spelled in ids}
    ends |= {number for key in NAMED if (number := _id(metadata, key, len(tokens))) is not None}
    for key, spellings in FILES.items():
        number = _id(metadata, key, len(tokens))
        found = [number] if number is not None else [ids[spelled] for spelled in spellings if spelled in ids]
        ends |= set(found)
    there = {tokens[number] for number in ends}
    if "<|end|>" in there and (
        {"<|return|>", "<|call|>"} <= there or ("<|flush|>" in there and there & {"<|call|>", "<|calls|>"})
    ):
        ends.discard(ids["<|end|>"])  # the end of a part of the reply, where there are others for the whole
    if "<|tool_response>" in there:
        ends.discard(ids.get("</s>", -1))
    return frozenset(ends)


def _id(metadata: Mapping[str, Any], key: str, count: int) -> int | None:
    number = metadata.get(key)
    return number if type(number) is int and 0 <= number < count else None
