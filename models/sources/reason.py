"""What another library says of files that it cannot load, in words that name no class of its."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 160
KINDS: Final = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false"}
DAMAGED, MISFIT = "a file of weights is damaged or cut short", "its tensors and its configuration do not fit together"
KNOWN: Final = (
    (r"Field '(\w+)' with value (.{0,60}?) doesn't match", r"\1 in its configuration cannot be \2"),
    (
        r"Field '(\w+)' expected (\w+), got \w+ \(value: (.{0,60}?)\)?$",
        r"\1 in its configuration is \3, which is not {\2}",
    ),
    (r"Class validation error for validator '\w+': \w+: (.*)", r"\1"),
    (r"module 'torch' has no attribute '(\w+)'", r"dtype in its configuration cannot be \1"),
    (r"model type `(.{0,40})` but Transformers does not", r"transformers knows no model type \1"),
    (r"should have a `model_type` key", "config.json names no model_type"),
    (r"Unrecognized configuration class <class '[\w.]*?(\w+)Config'>", r"\1 is no model that writes text"),
    (r"custom code which must be executed", "it needs code of its own, which is never run"),
    (
        r"the backend tokenizer from|sentencepiece or tiktoken|slow tokenizer",
        "it has no tokenizer.json that can be read",
    ),
    (r"no file named .{0,80}found in", "there are no weights in it under a name that transformers reads"),
    (
        r"deserializing header|incomplete metadata|InvalidHeader|header too|PytorchStreamReader|pickle|weights_only",
        DAMAGED,
    ),
    (
        r"ignore_mismatched_sizes|size mismatch|mat1 and mat2|size of tensor|shape '|Expected input|expected input|must match",
        MISFIT,
    ),
    (
        r"can't allocate memory|not enough memory|out of memory|Unable to allocate|Cannot allocate",
        "it is larger than the memory of this machine",
    ),
    (r"index out of range|out of bounds", "its tokenizer and its weights do not fit together"),
    (r"couldn't connect|Connection|offline|Max retries|timed out", "the Hub could not be reached"),
    (
        r"is not a local folder and is not a valid model identifier|404|Repository Not Found",
        "there is no such model on the Hub",
    ),
)
OF_CODE: Final = re.compile(
    r"object (has no attribute|is not)|NoneType|unhashable|unsupported operand|not supported between|takes \d|argument"
    r"|indices must be|not subscriptable|to unpack|'dict'|'list'|'int'|'str'|'float'|literal for|\w\(\)|\bself\b|__\w+__"
)
WRONG_KIND: Final = "a value in its configuration or its tokenizer's files is of a kind that cannot be there"


def reason_of(error: Exception, where: str = "") -> str:
    """The reason in a few words; `where` the files lie is not told again."""
    said = " ".join(str(error).split())
    for pattern, words in KNOWN:
        found = re.search(pattern, said, re.IGNORECASE)
        if found:
            return _named(found.expand(words))
    if isinstance(error, KeyError):
        looked_for = str(error.args[0]) if error.args else ""
        if " " in looked_for:  # a sentence of its own
            return _named(" ".join(looked_for.split()))
        return f"{looked_for[:60]} is missing in it, or is a value that transformers does not know"
    if not said or OF_CODE.search(said):
        return WRONG_KIND
    return _named(said.replace(f"{where}/", "") if where else said)


def _named(said: str) -> str:
    """The first sentence, in plain words and not too long."""
    said = re.sub(r"\{(\w+)\}", lambda found: KINDS.get(found[1], f"of the kind {found[1]}"), said)
    said = re.sub(r"<class '[\w.]*?(\w+)'>", r"\1", said)
    said = re.sub(r"\b\w*(Error|Exception|Warning)\b:? ?", "", said)
    first = re.split(r"(?<=[a-z\d\)])[.!?] ", said, maxsplit=1)[0].strip(" .:!")
    return first if len(first) <= LONGEST else f"{first[:LONGEST].rsplit(' ', 1)[0]} …"
