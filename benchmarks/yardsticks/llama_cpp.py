"""llama.cpp's own server, in a process of its own: the same GGUF file, as many slots as replies at once.

Needs the package xllamacpp (`pip install xllamacpp`), which the app does not. The process reads one JSON object a line
and answers each with one: {"slots", "prompt": [ids], "tokens", "temperature", "seed"} → {"tokens", "seconds",
"decode_seconds", "processor_seconds"}. Sampling is by temperature alone over the whole vocabulary, and the end token is
ignored.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CONTEXT = 2048  # positions a slot
MISSING = "llama.cpp was not measured: the package xllamacpp is not installed here; `pip install xllamacpp` adds the yardstick."


class UnavailableError(Exception):
    """Why the yardstick cannot be measured, in one sentence."""


class LlamaCpp:
    """Servers with these numbers of slots over one GGUF file, `threads` threads each; they work one at a time.

    Raises UnavailableError where the package is missing or the file cannot be served.
    """

    def __init__(self, gguf: Path, slots: Sequence[int], threads: int) -> None:
        command = [sys.executable, __file__, str(gguf), ",".join(map(str, slots)), str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            self.build = str(self._answer()["build"])  # what it says once it is ready
        except UnavailableError:
            self.close()
            raise

    def replies(self, slots: int, prompt: Sequence[int], tokens: int, temperature: float, seed: int) -> dict[str, Any]:
        """One reply a slot, all asked for at once, timed in the server's process."""
        assert self._process.stdin is not None
        asked = {"slots": slots, "prompt": list(prompt), "tokens": tokens, "temperature": temperature, "seed": seed}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        with self._process as process:  # closes the pipes and waits
            process.terminate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith('{"'):
                answer: dict[str, Any] = json.loads(line)
                if "missing" in answer:
                    raise UnavailableError(MISSING)
                return answer
        raise UnavailableError(f"llama.cpp was not measured: its process ended with {self._process.wait()}.")


def _serve(gguf: str, slots: Sequence[int], threads: int) -> None:
    try:
        import xllamacpp
    except ImportError:
        print(json.dumps({"missing": "xllamacpp"}), flush=True)
        return
    servers = {count: _server(xllamacpp, gguf, count, threads) for count in slots}
    version, system = xllamacpp.__version__, " ".join(xllamacpp.get_system_info().split())
    print(json.dumps({"build": f"xllamacpp {version}, {system}"}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(_timed(servers[asked["slots"]], asked)), flush=True)


def _server(xllamacpp: Any, gguf: str, slots: int, threads: int) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = gguf
    params.n_parallel, params.n_ctx = slots, CONTEXT * slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.verbosity = -1
    return xllamacpp.Server(params)


def _timed(server: Any, asked: dict[str, Any]) -> dict[str, Any]:
    requests = [
        {
            "prompt": asked["prompt"],
            "n_predict": asked["tokens"],
            "temperature": asked["temperature"],
            "samplers": ["temperature"],
            "seed": asked["seed"] + place,
            "ignore_eos": True,
        }
        for place in range(asked["slots"])
    ]
    with ThreadPoolExecutor(len(requests)) as pool:
        began, worked = time.perf_counter(), time.process_time()
        replies = list(pool.map(server.handle_completions, requests))
        seconds, work = time.perf_counter() - began, time.process_time() - worked
    return {
        "tokens": sum(reply["usage"]["completion_tokens"] for reply in replies),
        "seconds": seconds,
        "decode_seconds": max(reply["timings"]["predicted_ms"] for reply in replies) / 1000,
        "processor_seconds": work,
    }


if __name__ == "__main__":
    _serve(sys.argv[1], [int(count) for count in sys.argv[2].split(",")], int(sys.argv[3]))
