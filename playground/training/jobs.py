"""A training in a process of its own: one at a time, watched by its lines, stopped within seconds, ended with its parent.

Why a process: fitting and teacher-forced passes hold the interpreter for long stretches; in a thread they would slow the
one thread that decodes for all visitors, and the page. The child therefore loads the language model itself, and only
where a state is not cached yet. It is nice'd, and uses half of the cores.

    parent → child   one line of JSON, the plan; then, if ever, the line "stop"; the end of the stream says that the
                     parent is gone, and the child exits
    child → parent   one JSON object a line: {"event": NAME, …}; the last one is "done", "stopped" or "error"
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.errors import ModelError
from playground.errors import PlaygroundError

ROOT = Path(__file__).resolve().parents[2]
GRACE = 6.0  # seconds in which a child may end by itself after "stop"
KEEPING = 60.0  # … where it has told of an epoch, and so has something to write
NICE = 10
STOP = b"stop\n"
ENDS = ("done", "stopped", "error")
Event = dict[str, Any]
Emit = Callable[[Event], None]
Work = Callable[[Mapping[str, Any], Emit, Callable[[], bool]], Event | None]


class Job:
    """A child that runs. `events` grows, each with its `event`; the last one of a finished job is one of ENDS.

    `light` says that nothing is lost where the next job ends this one.
    """

    def __init__(
        self,
        command: Sequence[str],
        plan: Mapping[str, Any],
        log: Path,
        ended: Callable[[Job], None] | None = None,
        light: bool = False,
    ) -> None:
        self.plan, self.log, self._ended, self.light = plan, log, ended, light
        self.events: list[Event] = []
        self.stopping = False
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)  # a pipe of that name would be waited for
        with log.open("xb") as errors:
            self._child = subprocess.Popen(
                list(command), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        self._say(json.dumps({**plan, "at": os.getcwd()}).encode() + b"\n")
        self._reader = threading.Thread(target=self._read, name="training", daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        return not self.events or self.events[-1]["event"] not in ENDS

    def stop(self) -> None:
        """Ends the job: by itself where it can, by force after GRACE or KEEPING seconds. Returns at once."""
        if not self.running or self.stopping:
            return
        self.stopping = True
        self._say(STOP)
        keeps = any(event["event"] == "epoch" for event in self.events)
        timer = threading.Timer(KEEPING if keeps else GRACE, self._child.kill)
        timer.daemon = True
        timer.start()

    def drop(self) -> None:
        """Ends the job by force, and returns once it is gone."""
        self.stopping = True
        self._child.kill()
        self._reader.join()

    def wait(self, seconds: float | None = None) -> Event:
        """The last event. Raises TimeoutError where the job still runs after so many seconds."""
        self._reader.join(seconds)
        if self.running:
            raise TimeoutError
        return self.events[-1]

    def _say(self, line: bytes) -> None:
        try:
            stream: Any = self._child.stdin
            stream.write(line)
            stream.flush()
        except OSError:
            return  # it has ended; `_read` says how

    def _read(self) -> None:
        stream: Any = self._child.stdout
        last: Event | None = None
        for line in stream:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if event["event"] in ENDS:
                last = event
            else:
                self.events.append(event)
        code = self._child.wait()
        stream.close()
        with contextlib.suppress(OSError):  # a plan that the child never read
            self._child.stdin.close()  # type: ignore[union-attr]
        try:
            if self._ended is not None:
                self._ended(self)
        finally:
            self.events.append(last or self._unexpected(code))  # once the process is gone: the next one may start

    def _unexpected(self, code: int) -> Event:
        if self.stopping:
            return {"event": "stopped"}
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return {
            "event": "error",
            "sentence": f"The training ended before it was done ({how}); start it again, or read {self.log}.",
        }


class Jobs:
    """At most one job at a time. `latest` is the one that runs or ran last."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)
        self._lock = threading.Lock()
        self.latest: Job | None = None
        self.started = 0

    def start(
        self,
        plan: Mapping[str, Any],
        log: Path,
        ended: Callable[[Job], None] | None = None,
        light: bool = False,
    ) -> Job:
        """Starts a child with this plan; `ended` is called when the process is gone, before the last event is there.

        A light job that runs is ended first. Raises PlaygroundError while another one runs, or where it cannot be started.
        """
        with self._lock:
            if self.latest is not None and self.latest.running:
                if not self.latest.light:
                    raise PlaygroundError("A training is running; stop it first, or wait until it is done.")
                self.latest.drop()
            try:
                self.latest = Job(self._command, plan, log, ended, light)
            except OSError as error:
                raise PlaygroundError(f"The training could not be started ({error.strerror}).") from error
            self.started += 1
            return self.latest

    def stop(self) -> None:
        """Ends what runs, if anything does."""
        if self.latest is not None:
            self.latest.stop()


def serve(work: Work, nice: int = NICE) -> int:
    """The child's side: reads the plan from stdin, does `work(plan, emit, stopped)`, and prints what it says; exit code.

    `work` returns the fields of "done", or None where it was stopped; a PlaygroundError or ModelError becomes "error"
    with its sentence. A "stop" before it first asked `stopped()` ends the process at once: nothing would be lost.
    """
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    sys.stdout = sys.stderr  # whatever prints must not break the lines
    if hasattr(os, "nice"):
        os.nice(nice)  # the page goes first
    stream = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)  # a lock on a buffer would outlive the work
    plan = json.loads(stream.readline())
    os.chdir(plan.pop("at"))  # its modules are found where it began; relative paths mean what they mean to the page
    halt, asked = threading.Event(), threading.Event()
    threading.Thread(target=_listen, args=(stream, halt, asked), daemon=True).start()

    def stopped() -> bool:
        asked.set()
        return halt.is_set()

    def emit(event: Event) -> None:
        out.write(json.dumps(event, allow_nan=False).encode() + b"\n")
        out.flush()

    try:
        done = work(plan, emit, stopped)
        emit({"event": "stopped"} if done is None else {"event": "done", **done})
    except (PlaygroundError, ModelError) as error:
        emit({"event": "stopped"} if halt.is_set() else {"event": "error", "sentence": error.page})
    return 0


def _listen(stream: io.FileIO, halt: threading.Event, asked: threading.Event) -> None:
    for line in stream:
        if line == STOP:
            halt.set()
            if not asked.is_set():
                os._exit(0)
    os._exit(1)  # the parent is gone, and nobody waits for what this would say
