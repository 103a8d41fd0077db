"""`texts`: the reference texts of the predictors that learn without votes, put together from public data sets.

Self-instruct's user-oriented instructions with their answers, the first GSM8K training problems with their solutions, and
of XQuAD every training passage (as the reply to "Write a paragraph …") and questions about it with their gold answers. In
shuffled order, one JSON object {prompt, reply, cluster} a line: what `--texts` reads (training/predictors/corpus.py). From the same
three files it is the same file, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models import strict_json
from playground.errors import PlaygroundError

SELF_INSTRUCT = "self_instruct_user_oriented.jsonl"
GSM8K = "gsm8k_train_1000.jsonl"
XQUAD = "xquad_en_train.jsonl"
SHORTEST = 4  # characters of an instruction's answer; shorter ones are left out
PROBLEMS = 150  # of GSM8K
QUESTIONS = 150  # of XQuAD
CALCULATION = re.compile(r"<<.*?>>")

Record = dict[str, str]


def write(data: Path, out: Path) -> str:
    """Writes the texts made from the files in the folder `data`; returns their sha256. Raises PlaygroundError in a sentence."""
    records = [*_instructions(data), *_problems(data), *_encyclopedia(data)]
    random.Random(0).shuffle(records)
    content = "".join(json.dumps(record) + "\n" for record in records).encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _instructions(data: Path) -> Iterator[Record]:
    for record in _read(data, SELF_INSTRUCT, "id", "instruction", "instances"):
        for instance in record["instances"]:
            if len(instance["output"]) >= SHORTEST:
                given = f"\n\n{instance['input']}" if instance["input"] else ""
                yield _record(record["instruction"] + given, instance["output"], record["id"])


def _problems(data: Path) -> Iterator[Record]:
    """Solutions in words: without the marked calculations, the last line as a sentence."""
    for record in _read(data, GSM8K, "id", "question", "answer")[:PROBLEMS]:
        solution = CALCULATION.sub("", record["answer"]).replace("\n#### ", "\nThe answer is ")
        yield _record(record["question"], solution, record["id"])


def _encyclopedia(data: Path) -> Iterator[Record]:
    """Where a passage stands for the first time it is a paragraph; the next questions about it are questions."""
    seen: set[str] = set()
    questions = 0
    for record in _read(data, XQUAD, "article", "passage", "question", "answers"):
        article, passage = record["article"], record["passage"]
        if passage not in seen:
            seen.add(passage)
            title = article.replace("_", " ")
            yield _record(f"Write a paragraph for an encyclopedia article about {title}.", passage, article)
        elif questions < QUESTIONS:
            questions += 1
            yield _record(f"{passage}\n\n{record['question']}", record["answers"][0], article)


def _record(prompt: str, reply: str, cluster: str) -> Record:
    return {"prompt": prompt, "reply": reply, "cluster": cluster}


def _read(data: Path, name: str, *keys: str) -> list[dict[str, Any]]:
    path = data / name
    try:
        records = [strict_json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not all(key in record for record in records for key in keys):
            raise KeyError
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PlaygroundError(
            f"`data` must be a folder with {SELF_INSTRUCT}, {GSM8K} and {XQUAD}, each of JSON lines ({name}: "
            f"{', '.join(keys)}), {path} is not readable so."
        ) from error
    return records
