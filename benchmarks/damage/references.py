"""What a model's reference implementation gives: transformers for a folder, llama.cpp for a GGUF file.

Both are asked about the product's own tokens: how far each lies behind the reference's first choice after the same
tokens. So two near ties in a row do not count as a difference, and a token that the reference would not choose does.
"""

from __future__ import annotations

import json
import math
import re
import struct
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.damage.attempt import COUNT, PROMPT, Given

BEHIND_ALL = 99.0  # a token that llama.cpp does not name
EVERY = 1 << 20  # more tokens than a vocabulary has
F32, NO_FLASH = 0, 0  # so that keys and values are not rounded to float16, which overflows
TEMPLATE = re.compile(rb"tokenizer\.chat_template\x08\0\0\0(?!\0{8})")  # a text that is not empty
SAME = 0.5  # nats: see judge.py
MESSAGES = [{"role": "user", "content": PROMPT}]
NO_NUMBERS = "logits that are no numbers"


@dataclass(frozen=True)
class Answer:
    """`refused` says why the reference gives nothing, `behind` how far (nats) the given tokens are behind its own choice at
    worst, `prompts` the ids it makes of the prompt (none where it was not asked)."""

    refused: str = ""
    behind: float = 0.0
    prompts: tuple[tuple[int, ...], ...] = ()


def transformers_answer(path: str, given: Given, **more: str) -> Answer:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, **more)
        model, info = AutoModelForCausalLM.from_pretrained(
            path, trust_remote_code=False, dtype=torch.float32, output_loading_info=True, **more
        )
        wanting = [*info["missing_keys"], *info["mismatched_keys"], *info["error_msgs"]]
        if wanting:
            return Answer(refused=f"not in the files: {wanting[0]}")
        prompt = _prompt(tokenizer)
        with torch.inference_mode():
            logits = model.eval()(torch.tensor([[*given.prompt, *given.tokens[:-1]]])).logits[0, -COUNT:].double()
    except Exception as error:
        return Answer(refused=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    if not torch.isfinite(logits).all():
        return Answer(refused=NO_NUMBERS)
    chosen = logits.gather(1, torch.tensor(given.tokens)[:, None])[:, 0]
    return Answer("", float((logits.amax(1) - chosen).max()), (tuple(prompt),))


def _prompt(tokenizer: Any) -> list[int]:
    if not tokenizer.chat_template:
        ids: list[int] = tokenizer(PROMPT)["input_ids"]
        return ids
    contents: tuple[Any, ...] = (PROMPT, [{"type": "text", "text": PROMPT}])
    for content in contents:  # some templates take a message in parts only
        messages = [{"role": "user", "content": content}]
        made = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)
        if ids := list(made["input_ids"]) if hasattr(made, "keys") else list(made):
            break
    return ids


def llama_cpp_answer(path: str, given: Given) -> Answer:
    """Token by token after the product's own, since llama.cpp names the likeliest of the next token only."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_parallel, params.n_ctx, params.verbosity, params.warmup = 1, 256, -1, False
    params.cache_type_k = params.cache_type_v = F32
    params.flash_attn_type = NO_FLASH
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    try:
        written = _as_written(path)
        server = _served(xllamacpp, params, written)
        behind = 0.0
        for place, token in enumerate(given.tokens):
            asked = {"prompt": [*given.prompt, *given.tokens[:place]], "n_predict": 1, "temperature": 0.0}
            behind = max(behind, _behind(_asked(server, "/completion", {**asked, "n_probs": EVERY}), token))
        prompts = tuple(_ids(server, text) for text in _prompts(server, written))
    except Exception as error:
        return Answer(refused=f"llama.cpp: {' '.join(str(error).split())[:200]}")
    return Answer("", behind, prompts)


def _served(xllamacpp: Any, params: Any, written: list[str]) -> Any:
    """llama.cpp with the file; its own engine fails at some templates that transformers renders, and serves without them."""
    try:
        return xllamacpp.Server(params)
    except RuntimeError:
        if not written:
            raise
        params.chat_template = "chatml"
        return xllamacpp.Server(params)


def _prompts(server: Any, written: list[str]) -> list[str]:
    """The prompt as llama.cpp renders it, and as transformers does."""
    return [_asked(server, "/apply-template", {"messages": MESSAGES})["prompt"], *written]


def _ids(server: Any, text: str) -> tuple[int, ...]:
    ids, around = (
        _asked(server, "/tokenize", {"content": said, "add_special": True, "parse_special": True})["tokens"]
        for said in (text, "")
    )
    if around and around[-1] == ids[-1] != ids[0]:
        ids = ids[:-1]  # an end of text behind a prompt, which no reply could go on from
    return tuple(ids)


def _over_same_numbers(path: str, given: Given) -> float:
    """How far the tokens are behind llama.cpp's own over the same weights unpacked to float32."""
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder) / "unpacked.gguf"
        unpacked.write_bytes(_unpacked(path))
        return llama_cpp_answer(str(unpacked), given).behind


def _unpacked(path: str) -> bytes:
    """The bytes of a GGUF file with the same metadata and every tensor in float32."""
    import gguf

    read, raw = gguf.GGUFReader(path), Path(path).read_bytes()
    head, data = raw[: min(tensor.field.offset for tensor in read.tensors)], b""
    for tensor in read.tensors:
        name, sides = tensor.name.encode(), [int(side) for side in tensor.shape]
        head += struct.pack("<Q", len(name)) + name + struct.pack(f"<I{len(sides)}Q", len(sides), *sides)
        head += struct.pack("<IQ", gguf.GGMLQuantizationType.F32, len(data))
        data += gguf.dequantize(tensor.data, tensor.tensor_type).astype("<f4").tobytes()
        data += bytes(-len(data) % read.alignment)
    return head + bytes(-len(head) % read.alignment) + data


def _as_written(path: str) -> list[str]:
    """The prompt as transformers renders the file's template, in a list; none where it cannot."""
    import gguf
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        fields = gguf.GGUFReader(path).fields
        template, tokens = (fields[f"tokenizer.{name}"].contents() for name in ("chat_template", "ggml.tokens"))
        special = {
            f"{name}_token": tokens[fields[f"tokenizer.ggml.{name}_token_id"].contents()]
            for name in ("bos", "eos")
            if f"tokenizer.ggml.{name}_token_id" in fields
        }
        rendered, _ = render_jinja_template([MESSAGES], chat_template=template, add_generation_prompt=True, **special)
    except Exception:  # of a damaged file, whatever it is
        return []
    return list(rendered)


def _asked(server: Any, where: str, what: dict[str, Any]) -> Any:
    request = urllib.request.Request(server.listening_address + where, json.dumps(what).encode())
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request) as reply:
            return json.loads(reply.read())
    except urllib.error.HTTPError as error:
        raise RuntimeError(error.read().decode(errors="replace")) from None


def _behind(reply: Any, token: int) -> float:
    """0 where the server tells no likelihoods, as after a token that is no whole character: the other tokens count then."""
    if "completion_probabilities" not in reply:
        return 0.0
    top = reply["completion_probabilities"][0]["top_logprobs"]
    found = {one["id"]: one["logprob"] for one in top}
    if not all(isinstance(value, float) and math.isfinite(value) for value in found.values()):
        raise ValueError(NO_NUMBERS)
    return max(found.values()) - found[token] if token in found else BEHIND_ALL


def answer(path: str, given: Given, undamaged: str) -> Answer:
    """The reference's, by what kind of model it is.

    llama.cpp reads fewer files than hold a model: one that says a size as another type of number, say. Where it gives
    nothing, the tokens must be those of the undamaged file. Where the rounding of its activations matters, which comes
    with weights of fewer bits, it is asked about the same numbers in float32; where it overflows, transformers is.
    """
    if Path(path).suffix.lower() != ".gguf":
        return transformers_answer(path, given)
    told = llama_cpp_answer(path, given)
    if not told.refused and not told.behind <= SAME:
        told = replace(told, behind=_over_same_numbers(path, given))
    if told.refused.endswith(NO_NUMBERS):
        other = transformers_answer(str(Path(path).parent), given, gguf_file=Path(path).name)
        return replace(other, prompts=(given.prompt,))
    if told.refused and Path(undamaged).is_file():
        other = llama_cpp_answer(undamaged, given)
        return other if not other.refused and other.behind <= SAME else told
    if not told.refused and not TEMPLATE.search(Path(path).read_bytes()):
        return replace(told, prompts=(given.prompt,))  # its server then takes a template of its own
    return told
