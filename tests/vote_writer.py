"""A process that votes without end and says so only after the store did: `python vote_writer.py FOLDER NAME COUNT`.

Each acknowledged vote is one line "battle id, vote id" on stdout, written in one piece.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from playground.feedback.store import Store
from tests.samples import NOTICE, make_battle, make_traces


def main(folder: Path, name: str, count: int) -> None:
    store = Store.open(f"sqlite:///{folder / 'votes.sqlite3'}", folder)
    store.agree(name, NOTICE)
    traces = make_traces(tokens=4)
    os.write(1, b"ready\n")
    for _ in range(count):
        battle = make_battle(name)
        token = store.open_battle(battle)
        store.finish_battle(battle.id, traces)
        receipt = store.vote(token, name, "a")
        os.write(1, f"{battle.id} {receipt.vote_id}\n".encode())
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
