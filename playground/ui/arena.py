"""Arena: two drawn policies answer blind; names and colours come after the vote.

Until the vote is accepted the browser gets battle id, run, seq, text and done, nothing else. The battle id is the signed
token of the store, so the database alone decides what may be voted on and by whom.
"""

from __future__ import annotations

import random
import secrets
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from playground.errors import PlaygroundError
from playground.parts import Parts
from playground.records import Battle, Outcome
from playground.ui import arms, faults, notice
from playground.ui.components import board, component
from playground.ui.decode import grow, head, read_request, token_names
from playground.ui.kept import Kept
from playground.ui.places import Places
from playground.ui.prompt_box import family_of, prompt_box
from playground.ui.runs import Run, Runs
from playground.ui.wire import Message, blind, encoded, queue_sentence, snapshot

LENGTH = 160
WAY_OUT = "leaving the page gives the place up"
CHOICES = (("left", "1 · A is better"), ("right", "2 · B is better"), ("tie", "3 · Tie"), ("both_bad", "4 · Both bad"))


class Arena:
    """The handlers of the tab. `chance` draws arms and seeds. A visitor's page has one battle at a time."""

    def __init__(self, parts: Parts, runs: Runs, places: Places, chance: random.Random | None = None) -> None:
        self.parts, self.runs, self.places = parts, runs, places
        self.chance = chance or random.SystemRandom()

    def battle(
        self, prompt: str, system: str, prefill: str, stops: str, source: str, voter: str | None, visitor: gr.Request
    ) -> Iterator[Message]:
        """Stream one battle as blind messages; `done` opens the vote. It is stored before it starts and when it ends."""
        opened: Battle | None = None
        run: Run | None = None
        try:
            request = read_request(prompt, system, prefill, stops, source, self.chance.randrange(2**31), LENGTH)
            if not voter or not self.parts.store.agreed(voter, notice.VERSION):
                raise PlaygroundError("Agree to the notice first; nothing is stored before.")
            drawn = arms.draw(self.parts.arena, self.chance)
            specs = [str(self.parts.catalogue.parse(arm)) for arm in drawn.arms]
            opened = Battle(
                uuid.uuid4().hex, drawn.mode, True, request, family_of(prompt), (specs[0], specs[1]), drawn.left,
                drawn.propensity, voter, notice.VERSION, datetime.now(UTC),
            )  # fmt: skip
            token = self.parts.store.open_battle(opened)
            sealed = Run(request, 2, sealed=True)
            run = self.runs.add(sealed, f"arena/{visitor.session_hash}")
            with self.places.seat() as seat:
                for ahead in seat.wait(lambda: sealed.stopped):
                    yield {"waiting": queue_sentence(ahead, WAY_OUT)}
                yield from self._stream(run, opened, token)
        except Exception as error:
            yield {"error": faults.sentence(error)}
        finally:
            if opened is not None and not _whole(run):
                self._give_up(opened.id)

    def _stream(self, run: Run, battle: Battle, token: str) -> Iterator[Message]:
        sides = battle.arms if battle.left == "a" else battle.arms[::-1]
        seq, due = 0, time.monotonic()
        for _ in grow(self.parts, run, sides) if not run.stopped else ():
            if not run.heads and run.ahead is not None:
                yield {"waiting": queue_sentence(run.ahead, WAY_OUT)}
            elif not run.stopped and time.monotonic() >= due:
                due = time.monotonic() + self.places.interval
                yield blind(run, token, seq)
                seq += 1
        if not _whole(run):
            return  # another battle of the same page has begun
        left, right = run.traces
        self.parts.store.finish_battle(battle.id, (left, right) if battle.left == "a" else (right, left))
        yield blind(run, token, seq)

    def _give_up(self, battle_id: str) -> None:
        try:
            self.parts.store.fail_battle(battle_id, "not finished")
        except PlaygroundError as error:
            faults.record(error)

    def vote(self, choice: str, shown: Any, voter: str | None) -> tuple[str, Message | None]:
        """Commit the vote, then reveal; (sentence, the revealed board or None)."""
        try:
            token = shown.get("battle") if isinstance(shown, dict) else None
            if not isinstance(token, str) or not voter:
                raise PlaygroundError("There is no finished battle to vote on; start one.")
            self.parts.store.vote(token, voter, _outcome(choice, self._left(token)))
        except Exception as error:
            return faults.sentence(error), None
        try:
            return "**Saved.** Here is who answered.", self._revealed(token, voter)
        except Exception as error:
            return f"**Saved.** Who answered cannot be shown now: {faults.sentence(error)}", None

    def _left(self, token: str) -> str:
        return self.parts.store.battle(token.split(".")[0]).left

    def _revealed(self, token: str, voter: str) -> Message:
        """A new, open run from what the database holds; the sealed one stays sealed."""
        revealed = self.parts.store.reveal(token, voter)
        order = (0, 1) if revealed.battle.left == "a" else (1, 0)
        traces = [revealed.traces[i] for i in order]
        request = revealed.battle.request
        run = Run(request, 2)
        run.start(
            traces,
            [head(self.parts, t.policy, request.begun, name) for t, name in zip(traces, ("A", "B"), strict=True)],
            token_names(self.parts),
        )
        run.finish(traces)
        return snapshot(self.runs.add(run), seq=1)

    def agree(self, voter: str | None) -> str:
        """The voter's id, new where the browser has none, with the agreement stored."""
        voter = voter or secrets.token_urlsafe(16)
        self.parts.store.agree(voter, notice.VERSION)
        return voter


def _whole(run: Run | None) -> bool:
    """Whether both replies have come to their own end."""
    stops = [trace.stop for trace in run.traces] if run is not None else []
    return len(stops) == 2 and not {"cancelled", "error"} & set(stops)


def _outcome(choice: str, left: str) -> Outcome:
    right: Outcome = "b" if left == "a" else "a"
    sides: dict[str, Outcome] = {
        "left": "a" if left == "a" else "b",
        "right": right,
        "tie": "tie",
        "both_bad": "both_bad",
    }
    return sides[choice]


def build(
    parts: Parts, runs: Runs, places: Places, voter: gr.BrowserState, page: gr.Blocks, kept: Kept
) -> None:  # fmt: skip
    """Lay out the tab and wire its events."""
    tab = Arena(parts, runs, places)
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    gr.Markdown(
        "Two policies answer without names. Read both, vote, and then see who they were and where they were bold."
    )
    with gr.Column(elem_id="arena-notice", elem_classes="pg-notice") as notice_card:
        gr.Markdown(f"**Before the first battle.** {notice.TEXT}")
        agree = gr.Button("Agree and continue", elem_id="arena-agree", variant="primary")
    with gr.Column(visible=False) as ground:
        box = prompt_box("arena")
        kept.add("arena", box.kept)
        with box.actions:
            start = gr.Button("Battle", variant="primary", elem_id="battle")
        with gr.Column(visible=False) as blind_part:
            shown = component("battle", None, before=("controls",), elem_id="arena-battle")
        with gr.Row(visible=False, elem_classes="pg-votes", elem_id="arena-votes") as row:
            buttons = [gr.Button(label, interactive=False, elem_id=f"arena-{c}", min_width=90) for c, label in CHOICES]
        said = gr.Markdown("", elem_id="arena-said", elem_classes="pg-said")
        with gr.Column(visible=False) as open_part:
            revealed = board(runs, "arena-board", "")
            renew = gr.Button("New battle", elem_id="arena-new")

    hide, show = gr.update(visible=False), gr.update(visible=True)
    shut = [gr.update(interactive=False)] * len(buttons)

    def prepare() -> list[Any]:
        return [None, show, show, "", None, hide, *shut]

    def open_vote(message: Any) -> list[Any]:
        done = isinstance(message, dict) and bool(message.get("done"))
        return [gr.update(visible=done), *[gr.update(interactive=done)] * len(buttons)]

    def cast(choice: str, message: Any, voter_id: str | None) -> list[Any]:
        sentence, board_now = tab.vote(choice, message, voter_id)
        if board_now is None:
            return [*[gr.skip()] * 2, sentence, *[gr.skip()] * 2]
        return [hide, hide, sentence, encoded(board_now), show]

    def opened(voter_id: str | None) -> list[Any]:
        known = bool(voter_id) and parts.store.agreed(str(voter_id), notice.VERSION)
        return [gr.update(visible=not known), gr.update(visible=known)]

    outputs = [shown, blind_part, row, said, revealed, open_part, *buttons]
    for button in (start, renew):
        # while a battle streams, its texts are the only output: Gradio builds every other one anew for each message
        prepared = button.click(prepare, None, outputs, **private)
        fought = prepared.then(tab.battle, [*box.inputs, voter], shown, **private, **places.event_options)
        fought.then(open_vote, shown, [row, *buttons], **private)
    for (choice, _), button in zip(CHOICES, buttons, strict=True):
        button.click(
            lambda message, voter_id, choice=choice: cast(choice, message, voter_id),
            [shown, voter], [blind_part, row, said, revealed, open_part], **private,
        )  # fmt: skip
    agree.click(tab.agree, voter, voter, **private).success(opened, voter, [notice_card, ground], **private)
    page.load(opened, voter, [notice_card, ground], **private)
