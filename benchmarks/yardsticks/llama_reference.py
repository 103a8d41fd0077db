"""llama.cpp in a process of its own, as the reference of every GGUF file: log-probabilities over the whole vocabulary, ids, ends.

Needs the package xllamacpp (`pip install xllamacpp`), which the app does not. The process reads one JSON object a line, with
"file", "context" and one of "asks", "texts" and "stops", and answers with {"answer"}, {"refused"} or {"missing"}. Keys and
values are kept in float32. A file is served until another is asked for.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.yardsticks.llama_cpp import MISSING, UnavailableError

SPOKEN = 60  # the token that the server is made to say, since it keeps the figures of half a character to itself
F32, NO_FLASH = 0, 0
CONTEXT = 256  # tokens, that of the small models


class LlamaReference:
    """Asked about one file after the other. Raises UnavailableError with the reason for one that llama.cpp does not read, even
    where it ends the process; the next file is then read anew."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def logprobs(
        self, file: Path, asks: Sequence[tuple[Sequence[int], Sequence[int] | int]], context: int = CONTEXT
    ) -> list[Tensor]:
        """[T, V] of every (prompt, reply), or (prompt, number of greedy tokens)."""
        asked = [
            {"prompt": list(prompt), "reply": None, "tokens": reply}
            if isinstance(reply, int)
            else {"prompt": list(prompt), "reply": list(reply), "tokens": len(reply)}
            for prompt, reply in asks
        ]
        return [torch.tensor(rows) for rows in self._answer(file, context, asks=asked)]

    def ids(self, file: Path, texts: Sequence[str], special: bool = True) -> list[list[int]]:
        """The tokens of each text; `special` adds what the model begins with."""
        found: list[list[int]] = self._answer(file, texts=list(texts), special=special)
        return found

    def ends(self, file: Path, tokens: Sequence[int]) -> set[int]:
        """Those of the tokens that it ends a reply at."""
        return set(self._answer(file, stops=list(tokens)))

    def close(self) -> None:
        if self._process is not None:
            with self._process as process:
                process.terminate()
            self._process = None

    def _answer(self, file: Path, context: int = CONTEXT, **question: Any) -> Any:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __spec__.name],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"file": str(file), "context": context, **question}) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith('{"'):
                told = json.loads(line)
                if "missing" in told:
                    raise UnavailableError(MISSING)
                if "refused" in told:
                    raise UnavailableError(f"llama.cpp refuses the file: {told['refused']}")
                return told["answer"]
        self.close()
        raise UnavailableError("llama.cpp ended while it read the file.")


def _serve() -> None:
    try:
        import xllamacpp
    except ImportError:
        print(json.dumps({"missing": "xllamacpp"}), flush=True)
        return
    server, served = None, ("", 0)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if (asked["file"], asked["context"]) != served:
                server, served = None, ("", 0)  # its memory, before the next file
                server, served = _server(xllamacpp, asked["file"], asked["context"]), (asked["file"], asked["context"])
            told: dict[str, Any] = {"answer": next(of(server, asked) for key, of in ANSWERS.items() if key in asked)}
        except RuntimeError as error:
            told = {"refused": " ".join(str(error).split())}
        print(json.dumps(told), flush=True)


def _server(xllamacpp: Any, file: str, context: int) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel = file, context, 1
    params.cache_type_k = params.cache_type_v = F32
    params.flash_attn_type = NO_FLASH
    params.warmup = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.verbosity = -1
    return xllamacpp.Server(params)


def _followed(server: Any, asked: dict[str, Any]) -> list[list[list[float]]]:
    """For every ask, the log-probabilities of each token after its prompt."""
    found = []
    for ask in asked["asks"]:
        rows: list[list[float]] = []
        ids, reply = list(ask["prompt"]), ask["reply"]
        for place in range(ask["tokens"]):
            rows.append(_next(server, ids))
            ids.append(max(range(len(rows[-1])), key=rows[-1].__getitem__) if reply is None else reply[place])
        found.append(rows)
    return found


def _next(server: Any, ids: list[int]) -> list[float]:
    asked = {"prompt": ids, "n_predict": 1, "temperature": 0, "n_probs": 1 << 20, "logit_bias": [[SPOKEN, 1e6]]}
    answer = server.handle_completions(asked)
    if "choices" not in answer:
        raise RuntimeError(str(answer)[:200])
    found = {entry["id"]: entry["logprob"] for entry in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]}
    return [found[token] for token in range(len(found))]


def _ids(server: Any, asked: dict[str, Any]) -> list[list[int]]:
    found = []
    for text in asked["texts"]:
        body = json.dumps({"content": text, "add_special": asked["special"], "parse_special": True}).encode()
        request = urllib.request.Request(
            f"{server.listening_address}/tokenize", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            found.append(json.load(answer)["tokens"])
    return found


def _ends(server: Any, asked: dict[str, Any]) -> list[int]:
    """Every token is chosen in its turn, and the reply then either has ended or has not."""
    question = {"prompt": [3, 4, 5], "n_predict": 2, "temperature": 0.0}
    biased = [(token, question | {"logit_bias": [[token, 1000]]}) for token in asked["stops"]]
    replies = [(token, server.handle_completions(one)) for token, one in biased]
    return [token for token, reply in replies if reply["choices"][0]["finish_reason"] == "stop"]


ANSWERS = {"asks": _followed, "texts": _ids, "stops": _ends}

if __name__ == "__main__":
    _serve()
