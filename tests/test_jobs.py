"""A training in a process of its own: one at a time, stopped, killed, orphaned; how it ends is always said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from playground.errors import PlaygroundError
from playground.training import jobs
from playground.training.jobs import Job, Jobs

CHILD = (sys.executable, "-m", "tests.training_child", "scripted")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[str], Job]]:
    """Starts a scripted child; whatever still runs is ended."""
    all_jobs = Jobs(CHILD)

    def start(do: str, **more: Any) -> Job:
        return all_jobs.start({"do": do}, tmp_path / "log.txt", **more)

    yield start
    if all_jobs.latest:
        all_jobs.latest._child.kill()
        all_jobs.latest.wait(30)


def first(job: Job) -> dict[str, Any]:
    """The first event, once it is there."""
    until(lambda: bool(job.events))
    return job.events[0]


def until(true: Callable[[], bool]) -> None:
    for _ in range(1200):
        if true():
            return
        time.sleep(0.05)
    raise TimeoutError


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def test_a_job_ends_with_what_its_work_returned_and_printing_breaks_no_line(started: Any, tmp_path: Path) -> None:
    seen: list[bool] = []
    job = started("print", ended=lambda job: seen.append(job.running))
    assert job.wait(60) == {"event": "done", "answer": 42}
    assert not job.running
    assert seen == [True], "told once, before anyone sees the last event"
    assert "a library that prints" in (tmp_path / "log.txt").read_text()
    assert job.events[0]["nice"] >= os.nice(0) + jobs.NICE or job.events[0]["nice"] == 19


def test_relative_paths_mean_the_same_in_the_child(started: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    job = started("print")
    assert job.wait(60) == {"event": "done", "answer": 42}
    assert Path(job.events[0]["at"]) == tmp_path


def test_a_refusal_is_its_sentence_and_a_crash_is_one_too(started: Any) -> None:
    assert started("refuse").wait(60) == {"event": "error", "sentence": "`data` must hold votes."}
    sentence = started("crash").wait(60)["sentence"]
    assert "exit code 3" in sentence
    assert "\n" not in sentence


def test_one_at_a_time_and_the_next_begins_after_it(started: Any) -> None:
    job = started("wait")
    with pytest.raises(PlaygroundError, match="A training is running"):
        started("print")
    job.stop()
    assert job.wait(60) == {"event": "stopped"}
    assert started("print").wait(60)["event"] == "done"


def test_a_child_that_does_not_listen_is_ended_by_force(started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "GRACE", 0.2)
    job = started("deaf")
    pid = first(job)["pid"]
    job.stop()
    job.stop()
    assert job.wait(30) == {"event": "stopped"}
    assert not alive(pid)


def test_a_child_that_told_of_an_epoch_may_write_what_it_has(started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "GRACE", 0.2)
    job = started("keep")
    until(lambda: len(job.events) > 1)
    job.stop()
    assert job.wait(60) == {"event": "done", "answer": 42}


def test_a_light_job_is_replaced_by_the_next_and_another_is_not(started: Any) -> None:
    ended: list[Job] = []
    light = started("deaf", light=True, ended=ended.append)
    pid = first(light)["pid"]
    job = started("wait")
    assert light.wait(0) == {"event": "stopped"}
    assert ended == [light]
    assert not alive(pid), "gone before the next begins"
    for weight in (True, False):
        with pytest.raises(PlaygroundError, match="A training is running"):
            started("print", light=weight)
    job.stop()
    assert job.wait(60) == {"event": "stopped"}


def test_a_child_that_has_not_come_to_what_can_be_lost_ends_at_once(
    started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "GRACE", 3600.0)
    job = started("hang")
    first(job)
    job.stop()
    assert job.wait(30) == {"event": "stopped"}


def test_a_killed_child_is_an_error_in_one_sentence(started: Any) -> None:
    job = started("hang")
    os.kill(first(job)["pid"], signal.SIGKILL)
    assert "signal 9" in job.wait(30)["sentence"]


def test_the_death_of_the_parent_ends_the_child(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from playground.training.jobs import Jobs\n"
        f"job = Jobs({CHILD!r}).start({{'do': 'hang'}}, Path({str(tmp_path / 'log')!r}))\n"
        "while not job.events: time.sleep(0.05)\n"
        "print(job.events[0]['pid'], flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait(30)
    parent.stdout.close()
    until(lambda: not alive(pid))
