"""What leaves the server between Battle and the accepted vote, byte by byte, over HTTP."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from playground.config import Settings
from playground.ui import notice
from tests.scripted import WORDS, ScriptedParts
from tests.serving import Served, served

VOTER = "a-voter"
LEAKS = re.compile(
    rb"adaptive|fixed|edt|shuffled|tempnet|deco|temperature|entropy|logprob|seed|propensity|collect|evaluate|0\.7\b"
    rb"|channel|clipped|gap|top_p|scale|heads|figures|notes|ended"
)
IDS = re.compile(rb'"(battle|run|event_id)": ?"[^"]*"')  # random, so any short word may stand in them


def component(page: Served, elem_id: str) -> int:
    return next(number for number, block in page.page.blocks.items() if getattr(block, "elem_id", None) == elem_id)


def masked(message: dict[str, Any]) -> str:
    """The message with every id, sequence number and duration blanked."""
    text = json.dumps(message, sort_keys=True)
    return re.sub(r'"(battle|run|event_id|seq|[a-z_]*duration|avg_time)": ?("[^"]*"|[\d.e-]+)', r'"\1": 0', text)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning")  # Gradio leaves its event loop open
def test_fifty_battles_leak_nothing_and_refuse_inspection_until_the_vote(settings: Settings) -> None:
    parts = ScriptedParts(settings, texts=(WORDS, WORDS))
    with served(parts) as page:
        parts.store.agree(VOTER, notice.VERSION)
        board = component(page, "arena-board")
        ends, battles = set(), []
        for number in range(50):
            stream = page.event(page.function("battle"), ["Tell me.", "", "", "", "", VOTER], f"session{number}")
            assert not LEAKS.search(IDS.sub(b"", stream)), LEAKS.search(IDS.sub(b"", stream))
            messages = [json.loads(line[6:]) for line in stream.decode().splitlines() if line.startswith("data: ")]
            assert messages[-1]["msg"] in ("close_stream", "process_completed")
            (end,) = (message for message in messages if message["msg"] == "process_completed")
            ends.add(masked(end))
            token = re.search(rb'"battle": ?"([\w.-]+)"', stream)
            assert token
            battles.append(token[1].decode().split(".")[0])
            run = re.search(rb'"run": ?"([\w-]+)"', stream)
            assert run
            for name in ("resync", "inspect"):
                answer = page.post(
                    "component_server",
                    {
                        "session_hash": f"session{number}",
                        "component_id": board,
                        "fn_name": name,
                        "data": {"run": run[1].decode(), "lane": 0, "position": 0},
                    },
                )
                assert list(answer) == ["error"], answer
        assert len(ends) == 1, "two battles of equal texts differ in more than their ids"
        drawn = {parts.store.battle(battle).arms for battle in battles}
        names = {arm.partition(":")[0] for arms in drawn for arm in arms}
        assert any(parts.catalogue.parse(name).kind.channels for name in names), "no arm had a channel to leak"
        assert len(drawn) > 5, "the battles drew too few pairs of arms to tell"
