"""llama.cpp's own server over small GGUF files, in a process of its own, as the reference: probabilities and ids of texts."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class LlamaCpp:
    """One process; a file is served until another is asked for."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def greedy(
        self, path: Path, prompt: Sequence[int], tokens: int, forced: int, context: int = 512
    ) -> list[dict[int, float]]:
        """The log-probabilities {id: number} of each of the likeliest tokens after `prompt`, one after the other.

        `forced` is any token that is a whole character: the server says nothing of a reply that ends within one.
        """
        answer = self._asked(path=str(path), prompt=list(prompt), tokens=tokens, forced=forced, context=context)
        return [{int(token): number for token, number in step.items()} for step in answer]

    def ids(self, path: Path, texts: Sequence[str], special: bool = True) -> list[list[int]]:
        """The tokens of each text; `special` adds what the model begins with."""
        found: list[list[int]] = self._asked(path=str(path), texts=list(texts), special=special)
        return found

    def ends(self, path: Path, tokens: Sequence[int]) -> set[int]:
        """Those of the tokens that it ends a reply at."""
        return set(self._asked(path=str(path), stops=list(tokens)))

    def close(self) -> None:
        with self._process as process:
            process.terminate()

    def _asked(self, **question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith('{"'):
                return json.loads(line)["answer"]
        raise RuntimeError(f"llama.cpp ended with {self._process.wait()} on {question.get('path')}")


def _serve() -> None:
    import xllamacpp

    server, served = None, ("", 0)
    for line in sys.stdin:
        asked = json.loads(line)
        if (asked["path"], asked.get("context", 512)) != served:
            server, served = None, (asked["path"], asked.get("context", 512))
            params = xllamacpp.CommonParams()
            params.model.path = asked["path"]
            params.n_parallel, params.n_ctx, params.verbosity, params.warmup = 1, served[1], -1, False
            params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
            params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
            params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
            server = xllamacpp.Server(params)
        answer = next(answer for key, answer in ANSWERS.items() if key in asked)
        print(json.dumps({"answer": answer(server, asked)}), flush=True)


def _greedy(server: Any, asked: dict[str, Any]) -> list[dict[int, float]]:
    """A request for each token, whose probabilities are those before `forced` is chosen in its place."""
    prompt, steps = asked["prompt"], []
    for _ in range(asked["tokens"]):
        question = {"prompt": prompt, "n_predict": 1, "n_probs": 5000, "logit_bias": [[asked["forced"], 1000]]}
        reply = server.handle_completions(question | {"temperature": 0.0})
        top = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        steps.append({one["id"]: one["logprob"] for one in top})
        prompt = [*prompt, max(steps[-1], key=steps[-1].__getitem__)]
    return steps


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


ANSWERS = {"texts": _ids, "stops": _ends, "prompt": _greedy}

if __name__ == "__main__":
    _serve()
