"""The threads of a pass: fewer while other programs are busy, all of them otherwise, and the same bits with any number."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from models import machine
from models.language_model import LanguageModel
from models.llama.model import LlamaModel, threads_keep_bits
from models.loading import load_language_model
from models.threads import PERIOD, RECENT, Threads, at_most
from playground.config import Settings
from playground.parts import Request, load_parts


class Machine:
    """Counters of a machine on which this process and others keep so many cores busy."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, cores: int = 4, threads: int = 4, quota: float = math.inf
    ) -> None:
        monkeypatch.setattr(machine, "cores", lambda: tuple(range(cores)))
        monkeypatch.setattr(machine, "quota", lambda: quota)
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        self.seconds = self.busy = self.own = 0.0
        self.looks = 0
        self.threads = Threads(self._busy, lambda: self.own, lambda: self.seconds)

    def _busy(self) -> float:
        self.looks += 1
        return self.busy

    def run(self, others: float, own: float = 1.0, seconds: float = PERIOD) -> int:
        """So long of it; how many threads the next pass takes."""
        self.seconds += seconds
        self.busy += seconds * (others + own)
        self.own += seconds * own
        self.threads._settled()
        return self.threads.count


def test_an_idle_machine_keeps_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = Machine(monkeypatch)
    assert [idle.run(others, own=3.9) for others in (0.0, 0.05, 0.2, 0.29, 0.0)] == [4] * 5


def test_a_thread_is_given_up_for_every_core_that_others_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for others, left in ((0.5, 3), (1.0, 3), (1.29, 3), (1.6, 2), (3.0, 1), (4.0, 1), (40.0, 1)):
        assert Machine(monkeypatch).run(others) == left
    assert Machine(monkeypatch, cores=2, threads=2).run(0.5) == 1  # half of what a busy program would like to have


def test_it_is_given_up_at_once_and_taken_again_after_some_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Machine(monkeypatch, cores=2, threads=2)
    assert shared.run(1.0) == 1
    assert [shared.run(0.0) for _ in range(RECENT)] == [1] * (RECENT - 1) + [2]
    assert [shared.run(others) for others in (0.0, 0.6, 0.0, 0.0)] == [2, 1, 1, 1]


def test_the_machine_is_looked_at_four_times_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Machine(monkeypatch)
    looks = shared.looks
    for _ in range(1000):
        shared.run(0.0, seconds=PERIOD / 100)
    assert shared.looks - looks <= 10


def test_one_thread_needs_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    single = Machine(monkeypatch, threads=1)
    looks = single.looks
    assert [single.run(others) for others in (0.0, 3.0)] == [1, 1]
    assert single.looks == looks


def test_a_container_takes_what_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Machine(monkeypatch, cores=64, threads=64, quota=2.0).run(0.0) == 2
    assert Machine(monkeypatch, cores=64, threads=64, quota=0.5).run(0.0) == 1
    assert Machine(monkeypatch, cores=4, threads=4, quota=1.5).run(3.9) == 1


def test_a_model_whose_threads_are_fixed_takes_no_more_than_a_container_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(machine, "quota", lambda: 0.7)
    try:
        assert load_language_model(precision="float32", cache=Settings().cache_folder).precision == "float32"
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_counters_that_stand_still_or_run_backwards_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Machine(monkeypatch)
    odd.busy = -100.0
    odd.seconds += PERIOD
    odd.threads._settled()
    assert odd.threads.count == 4
    odd.seconds -= 50
    odd.threads._settled()
    assert odd.threads.count == 4


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "200000 100000\n"}, 2.0),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({"cpu.max": "100000 0\n"}, math.inf),
        ({"cpu.max": "nonsense"}, math.inf),
        ({}, math.inf),
    ],
)
def test_a_container_s_quota_is_read(files: dict[str, str], cores: float, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine.quota(tmp_path) == cores


def test_the_system_s_counter_counts_what_others_do() -> None:
    cores = machine.cores()
    before, own, began = machine.busy_seconds(cores), time.process_time(), time.monotonic()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < .4: pass"], check=True)
    others = machine.busy_seconds(cores) - before - (time.process_time() - own)
    assert 0.3 < others <= len(cores) * (time.monotonic() - began) + 0.1


def test_what_is_set_for_a_pass_is_undone_after_it() -> None:
    before = torch.get_num_threads()
    with at_most(1):
        assert torch.get_num_threads() == 1
        with at_most(2):
            assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), at_most(1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


@pytest.fixture(scope="module")
def blocks() -> LanguageModel:
    return load_language_model(precision="gguf", cache=Settings().cache_folder)


def test_a_pass_runs_with_as_many_threads_as_are_left(blocks: LlamaModel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert blocks.threads is not None, "the bits do not depend on the threads"
    seen = []
    states = blocks.network.states
    monkeypatch.setattr(
        blocks.network, "states", lambda feeds: (seen.append(torch.get_num_threads()), states(feeds))[1]
    )
    for allowed in (1, 2):
        monkeypatch.setattr(blocks, "threads", _always(allowed, monkeypatch))
        blocks.prefill(blocks.encode_chat("Say something."))
        blocks.score([1, 2, 3], [4, 5])
        assert set(seen) == {min(allowed, torch.get_num_threads())}
        seen.clear()
        assert torch.get_num_threads() == 2


def _always(count: int, monkeypatch: pytest.MonkeyPatch) -> Threads:
    threads = Threads()
    monkeypatch.setattr(threads, "_settled", lambda: count)
    return threads


def test_every_policy_s_figures_are_the_same_with_one_thread_and_with_all(
    blocks: LlamaModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the number may change in the middle of a reply."""
    parts = load_parts(Settings(precision="gguf", data_folder=tmp_path))
    specs = ["fixed:temperature=0.8", "adaptive-token", "adaptive-sequence", "edt", "tempnet", "auto-deco"]
    specs += ["mirostat-v2", "target-entropy", "long-horizon", "entropy-switch"]
    found = []
    for count in (1, 2, 3):
        parts.language_model.threads = _always(count, monkeypatch)  # type: ignore[attr-defined]
        with_count = []
        for spec in specs:
            (trace,) = parts.generate(Request("Tell me of the sea.", seed=7, max_tokens=12), [spec])
            with_count.append([(step.token_id, step.temperature, step.entropy, step.logprob) for step in trace.steps])
        found.append(with_count)
    assert found[0] == found[1] == found[2]


def test_a_network_whose_bits_depend_on_the_threads_keeps_its_threads(
    blocks: LlamaModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = blocks.network
    assert threads_keep_bits(network, 2)
    norm = network.norm
    monkeypatch.setattr(network, "norm", lambda x: norm(x) * (1 + 1e-6 * torch.get_num_threads()))
    assert not threads_keep_bits(network, 2)
    monkeypatch.setattr("models.loading.threads_keep_bits", lambda network, most: False)
    assert load_language_model(precision="gguf", cache=Settings().cache_folder).threads is None  # type: ignore[attr-defined]


def test_threads_that_were_asked_for_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        model = load_language_model(precision="gguf", cache=Settings().cache_folder, threads=1)
        assert torch.get_num_threads() == 1
        assert model.threads is None  # type: ignore[attr-defined]
    finally:
        torch.set_num_threads(before)


def test_a_model_s_first_layers_share_its_threads(blocks: LlamaModel) -> None:
    cut = blocks.first_layers(2, lambda x: x, 0, "small", "r")
    assert cut.threads is blocks.threads


def test_a_pass_on_another_python_thread_leaves_this_one_s_number(
    blocks: LlamaModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "threads", _always(1, monkeypatch))
    worker = threading.Thread(target=blocks.score, args=([1, 2, 3], [4, 5]))
    worker.start()
    worker.join()
    assert torch.get_num_threads() == 2


def test_the_entries_ask_for_brief_waits_before_torch_is_imported() -> None:
    code = """
import os, sys
class Watch:
    def find_spec(self, name, *rest):
        if name == "torch":
            print(os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Watch())
import {entry}
"""
    root = Path(__file__).resolve().parent.parent
    cases = (({}, "10000 None"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE"), ({"GOMP_SPINCOUNT": "7"}, "7 None"))
    for entry in ("app", "playground.__main__"):
        for environment, expected in cases:
            command = [sys.executable, "-c", code.format(entry=entry)]
            done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
            assert done.stdout.strip() == expected, (entry, environment, done.stderr)
