"""Damage to what turns text into tokens: the tokenizer's files, the chat template, the generation configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.damage import words
from benchmarks.damage.kind import ALL, EITHER, Kind

TEXTS: Final = (b"", b"{", b"[]", b"null", b"3", b"\xff\xfe\x00\x01", b"<html>404</html>", b"{}", b'"x"')
TEMPLATES: Final = (
    "",
    "{{ messages",
    "{% for m in messages %}{{ m.content }}",
    "{{ nobody(messages) }}",
    "{{ raise_exception('No system role') }}",
    "{{ 1 / 0 }}",
    "nothing of it",
    "{{ messages[0].content }}{{ messages[0].content }}",
    "{{ messages[0].content | upper }}",
    "{{ messages[0].content[0].text }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ messages[0].content }}",
    "{% include 'x' %}",
    "{{ messages[5].content }}",
    "{{ messages | tojson }}",
    "{{ messages[0].content }}{{ tools[0].name }}",
    "{{ messages[0].content }}{{ strftime_now('%d') }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}{{ messages[0].content }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}{{ messages[0].content }}",
    "{{ 'x' * 3000000000 }}{{ messages[0].content }}",
    "{{ messages[0].content * 5000 }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}{{ messages[0].content }}",
    "{{ messages[0].content | trim }}{{ eos_token }}{{ nobody }}",
    "{% if messages[0].content is string %}<|im_start|>{{ messages[0].content }}{% endif %}",
    "{% set ns = namespace(x='') %}{% for m in messages %}{% set ns.x = ns.x + m.content %}{% endfor %}{{ ns.x }}",
    "{% if 'short' in messages[0].content %}A{{ messages[0].content }}{% else %}B{{ messages[0].content }}{% endif %}",
    "{{ messages[0]['content'] | replace('town', 'village') }}",
    "\ud800{{ messages[0].content }}",
    "\x00{{ messages[0].content }}",
    "{{ bos_token }}{{ bos_token }}{{ messages[0].content }}",
    "{{ messages[0].content }}{% generation %}{% endgeneration %}",
)
NOT_TEMPLATES: Final = (
    None,
    3,
    [],
    {},
    [{"name": "default", "template": words.CHATML}],
    {"default": words.CHATML},
    [{"name": "tool_use", "template": "x"}],
    True,
)


def _json(name: str, change: Callable[[dict[str, Any], Random], str]) -> Callable[[Path, Random], str]:
    def damage(folder: Path, rng: Random) -> str:
        values = json.loads((folder / name).read_text())
        told = change(values, rng)
        (folder / name).write_text(json.dumps(values))
        return f"{name}: {told}"

    return damage


def _text(name: str) -> Callable[[Path, Random], str]:
    def damage(folder: Path, rng: Random) -> str:
        raw = (folder / name).read_bytes() if (folder / name).exists() else b"{}"
        new = rng.choice([*TEXTS, raw[: len(raw) // 2]])
        (folder / name).write_bytes(new)
        return f"{name} is {new[:40]!r}"

    return damage


def _gone(name: str) -> Callable[[Path, Random], str]:
    def damage(folder: Path, rng: Random) -> str:
        (folder / name).unlink(missing_ok=True)
        return f"{name} removed"

    return damage


def another(folder: Path, rng: Random) -> str:
    """The tokenizer of another model: of other pieces, or of more than the model has."""
    tokenizer = words.pieces() if rng.random() < 0.5 else words.byte_level()
    more = rng.choice([0, 1, 5, 300])
    tokenizer.add_tokens([f"<more{number}>" for number in range(more)])
    tokenizer.save_pretrained(folder)
    return f"another tokenizer of {len(tokenizer)} pieces"


def more_in_template(folder: Path, rng: Random) -> str:
    """A control token that the model has no row for, in the template: no prompt can be read."""
    tokenizer = words.byte_level()
    tokenizer.add_tokens(["<|beyond|>"], special_tokens=True)
    tokenizer.chat_template = "<|beyond|>{{ messages[0].content }}"
    tokenizer.save_pretrained(folder)
    return f"a template with the token {len(tokenizer) - 1}"


def added_id(values: dict[str, Any], rng: Random) -> str:
    token = rng.choice(values["added_tokens"])
    token["id"] = rng.choice([10**6, -1, 0, 2**40, "1", None, 419, 420])
    return f"{token['content']} has the id {token['id']!r}"


def vocabulary(values: dict[str, Any], rng: Random) -> str:
    told = values["model"]["vocab"]
    name = rng.choice(sorted(told))
    how = rng.choice(["dropped", "twice an id", "far", "negative", "text"])
    if how == "dropped":
        del told[name]
    else:
        told[name] = {"twice an id": 5, "far": 10**9, "negative": -1, "text": "x"}[how]
    return f"piece {name!r} {how}"


def merges(values: dict[str, Any], rng: Random) -> str:
    how = rng.choice(["none", "unknown", "reversed", "shape"])
    model = values["model"]
    model["merges"] = {
        "none": [],
        "unknown": [*model["merges"], ["qq", "zz"]],
        "reversed": model["merges"][::-1],
        "shape": ["a b c"],
    }[how]
    return f"merges {how}"


def part(values: dict[str, Any], rng: Random) -> str:
    name = rng.choice(
        [
            "pre_tokenizer",
            "decoder",
            "normalizer",
            "post_processor",
            "model",
            "version",
            "truncation",
            "padding",
            "added_tokens",
        ]
    )
    values[name] = rng.choice(
        [
            None,
            {"type": "Nobody"},
            3,
            [],
            {"type": "Lowercase"},
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        ]
    )
    return f"{name} = {values[name]!r}"


def cutting(values: dict[str, Any], rng: Random) -> str:
    """What the tokenizer would cut and pad by itself."""
    values["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    if rng.random() < 0.5:
        values["padding"] = {
            "strategy": {"Fixed": 64},
            "direction": "Left",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "<unk>",
        }
    return f"truncation {values['truncation']}, padding {values['padding']}"


def settings(values: dict[str, Any], rng: Random) -> str:
    name = rng.choice(
        [
            "tokenizer_class",
            "eos_token",
            "bos_token",
            "unk_token",
            "pad_token",
            "model_max_length",
            "added_tokens_decoder",
            "extra_special_tokens",
            "additional_special_tokens",
            "add_bos_token",
            "clean_up_tokenization_spaces",
            "backend",
            "padding_side",
            "legacy",
            "add_prefix_space",
        ]
    )
    values[name] = rng.choice(
        [
            None,
            3,
            [],
            {},
            "x",
            "LlamaTokenizer",
            "Nobody",
            True,
            -1,
            10**30,
            {"content": "<|im_end|>"},
            "<|nobody|>",
            ["<|a|>"],
            {"5": {"content": "a"}},
        ]
    )
    return f"{name} = {values[name]!r}"


def template(folder: Path, rng: Random) -> str:
    """In the file of its own or in the configuration, as old and new folders have it."""
    text = rng.choice(TEMPLATES)
    if rng.random() < 0.5:
        (folder / "chat_template.jinja").write_bytes(text.encode("utf-8", "surrogatepass"))
        return f"chat_template.jinja = {text!r}"
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    return _json("tokenizer_config.json", lambda values, _: _set(values, "chat_template", text))(folder, rng)


def no_template(folder: Path, rng: Random) -> str:
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    value = rng.choice(NOT_TEMPLATES)
    return _json("tokenizer_config.json", lambda values, _: _set(values, "chat_template", value))(folder, rng)


def _set(values: dict[str, Any], name: str, value: Any) -> str:
    values[name] = value
    return f"{name} = {value!r}"


def generation(folder: Path, rng: Random) -> str:
    values = json.loads((folder / "generation_config.json").read_text())
    name = rng.choice(
        [
            "eos_token_id",
            "eos_token_id",
            "bos_token_id",
            "pad_token_id",
            "temperature",
            "max_length",
            "do_sample",
            "stop_strings",
            "cache_implementation",
            "transformers_version",
            "num_beams",
            "suppress_tokens",
        ]
    )
    values[name] = rng.choice(
        ["x", -1, 10**9, None, [], [[1]], {}, [1, "2"], 2.5, True, [2, 10**9], 0, float("nan"), "dynamic"]
    )
    (folder / "generation_config.json").write_text(json.dumps(values))
    return f"generation_config: {name} = {values[name]!r}"


KINDS = (
    Kind("tokenizer: another", another),
    Kind("tokenizer: token beyond the model", more_in_template),
    Kind("tokenizer: no JSON", _text("tokenizer.json")),
    Kind("tokenizer: removed", _gone("tokenizer.json")),
    Kind("tokenizer: ids of added tokens", _json("tokenizer.json", added_id)),
    Kind("tokenizer: vocabulary", _json("tokenizer.json", vocabulary)),
    Kind("tokenizer: merges", _json("tokenizer.json", merges)),
    Kind("tokenizer: a part", _json("tokenizer.json", part)),
    Kind("tokenizer: truncation, padding", _json("tokenizer.json", cutting)),
    Kind("tokenizer configuration: no JSON", _text("tokenizer_config.json")),
    Kind("tokenizer configuration: removed", _gone("tokenizer_config.json")),
    Kind("tokenizer configuration: a field", _json("tokenizer_config.json", settings)),
    Kind("special tokens map: no JSON", _text("special_tokens_map.json")),
    Kind("template", template),
    Kind("template: no text", no_template),
    Kind("template: removed", _gone("chat_template.jinja")),
    Kind("generation configuration: a field", generation),
    Kind("generation configuration: no JSON", _text("generation_config.json")),
    Kind("generation configuration: removed", _gone("generation_config.json"), EITHER, ALL),
)
