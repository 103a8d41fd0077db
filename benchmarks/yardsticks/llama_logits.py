"""llama.cpp's own log-probabilities over the whole vocabulary, in a process of its own: the reference of every GGUF file.

Needs the package xllamacpp (`pip install xllamacpp`), which the app does not. The process reads one JSON object a line,
{"file", "asks": [{"prompt": [ids], "reply": [ids] or null, "tokens"}]}, and answers with {"logprobs": [[[V] a token] an ask]}:
over a given reply, or over the likeliest tokens. Keys and values are kept in float32.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.yardsticks.llama_cpp import MISSING, UnavailableError

SPOKEN = 60  # the token that the server is made to say, since it keeps the figures of half a character to itself
F32 = 0
CONTEXT = 256


class LlamaLogits:
    """Reads GGUF files one after the other; a file that ends the process is an UnavailableError, and the next is read anew."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def logprobs(self, file: Path, asks: Sequence[tuple[Sequence[int], Sequence[int] | int]]) -> list[Tensor]:
        """[T, V] of every (prompt, reply), or (prompt, number of greedy tokens). Raises UnavailableError with the reason."""
        asked = [
            {"prompt": list(prompt), "reply": None, "tokens": reply}
            if isinstance(reply, int)
            else {"prompt": list(prompt), "reply": list(reply), "tokens": len(reply)}
            for prompt, reply in asks
        ]
        answer = self._answer({"file": str(file), "asks": asked})
        if "missing" in answer:
            raise UnavailableError(MISSING)
        if "refused" in answer:
            raise UnavailableError(f"llama.cpp refuses the file: {answer['refused']}")
        return [torch.tensor(rows) for rows in answer["logprobs"]]

    def close(self) -> None:
        if self._process is not None:
            with self._process as process:
                process.terminate()
            self._process = None

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
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
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith('{"'):
                answer: dict[str, Any] = json.loads(line)
                return answer
        self.close()
        raise UnavailableError("llama.cpp ended while it read the file.")


def _serve() -> None:
    try:
        import xllamacpp
    except ImportError:
        print(json.dumps({"missing": "xllamacpp"}), flush=True)
        return
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            server = _server(xllamacpp, asked["file"])
            answer: dict[str, Any] = {"logprobs": [_followed(server, **ask) for ask in asked["asks"]]}
        except RuntimeError as error:
            answer = {"refused": " ".join(str(error).split())}
        server = None  # its memory, before the next file
        print(json.dumps(answer), flush=True)


def _server(xllamacpp: Any, file: str) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel = file, CONTEXT, 1
    params.cache_type_k = params.cache_type_v = F32
    params.flash_attn_type = 0
    params.warmup = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.verbosity = -1
    return xllamacpp.Server(params)


def _followed(server: Any, prompt: list[int], reply: list[int] | None, tokens: int) -> list[list[float]]:
    rows: list[list[float]] = []
    ids = list(prompt)
    for place in range(tokens):
        rows.append(_next(server, ids))
        likeliest = max(range(len(rows[-1])), key=rows[-1].__getitem__)
        ids.append(likeliest if reply is None else reply[place])
    return rows


def _next(server: Any, ids: list[int]) -> list[float]:
    asked = {"prompt": ids, "n_predict": 1, "temperature": 0, "n_probs": 1 << 20, "logit_bias": [[SPOKEN, 1e6]]}
    answer = server.handle_completions(asked)
    if "choices" not in answer:
        raise RuntimeError(str(answer)[:200])
    found = {entry["id"]: entry["logprob"] for entry in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]}
    return [found[token] for token in range(len(found))]


if __name__ == "__main__":
    _serve()
