"""How far votes get: simulated voters with a hidden best temperature per kind of prompt, and what a learner recovers.

Measured: the share of kinds whose chosen temperature lies within one grid step of the best, exactly on it, and the loss of
quality (in standard deviations of a reply at T = 1). Chance for seven temperatures is 19/49 within one step; the best
constant, any temperature but the two outer ones, has 3/7. The world, the voters and the learners are described where
they are defined (playground/training/simulation/voters.py, recovery.py, recovery_heads.py); no language model runs.

The plain table is the yardstick: the world's difficulty was chosen so that it comes to the known tabular figures. The
human-like voters are `Human`s whose ties and agreement of two votes on the same battle are those of public labels: three
labels each of PandaLM's 999 pairs (ties .109, agreement of decided labels .947, longer reply wins .675) and, far noisier,
the agreement of .81 that Zheng et al. 2023 (arXiv 2306.05685) report between people on MT-bench.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.measure.asked import Asked
from benchmarks.measure.machine import conditions
from benchmarks.measure.result import Result, Table, Value, target
from playground.training.simulation.agreement import flip_rate
from playground.training.simulation.recovery import Learner, Recovered, chance, informed, score, tabular, win_rate
from playground.training.simulation.recovery_heads import HeadLearner, States, Voted, distilled, vote, voted
from playground.training.simulation.voters import (
    Human,
    Voter,
    World,
    agreement,
    cast,
    exact,
    hidden_best,
    indifferent,
    longer_wins,
)

TITLE = "how far votes get: a hidden best temperature per kind of prompt, recovered from simulated votes"
COUNTS = (30, 100, 300, 1000)
# the known tabular figures, lower ends; the upper ends at 100 and 300 are .79 and .93
KNOWN = {30: 0.60, 100: 0.67, 300: 0.82}
KINDS = 6  # of one replication
PLAIN, SMOOTH = Learner(pull=0, smooth=0), Learner()
PANDALM = Human(flip=0.027, tie=0.166)
MT_BENCH = Human(temperature=0.33, flip=0.027, tie=0.166)
VOTERS: dict[str, Voter] = {
    "exact": exact,
    "human-like, PandaLM": PANDALM,
    "human-like, MT-bench": MT_BENCH,
    "longer reply wins": longer_wins,
    "coin": indifferent,
}
TABLES: dict[str, Callable[[Tensor, World], Tensor]] = {
    "table, win rate": lambda wins, _: win_rate(wins),
    "table, plain": lambda wins, _: tabular(wins, PLAIN),
    "table, smooth": lambda wins, _: tabular(wins, SMOOTH),
    "knows the world": informed,
}
DISTILLED = HeadLearner(learning_rate=3e-3)
ON_TABLES = "head on tables, smooth"
HEADS: dict[str, Callable[[Voted, int], Tensor]] = {
    "head on votes, smooth": lambda votes, seed: voted(votes, SMOOTH, HeadLearner(), seed),
    ON_TABLES: lambda votes, seed: distilled(votes, SMOOTH, DISTILLED, seed),
}
COLUMNS = {
    "votes a kind": "d",
    "learner": "",
    "within one step": ".3f",
    "±": ".3f",
    "exact": ".3f",
    "regret": ".3f",
    "chance": ".3f",
    "target": "",
    "met": "",
}


def run(asked: Asked) -> Result:
    world, temperatures = World(), len(World().grid)
    replications, with_heads = asked.size(500, 60), asked.size(200, 10)
    tables = []
    for name, voter in VOTERS.items():
        rows = list(_tables(world, name, voter, replications))
        asked.progress(f"{name}: tables")
        rows += _heads(asked, world, name, voter, with_heads)
        tables.append(Table(f"Voter: {name}", COLUMNS, rows))
    tables += [_voters(world), _difficulty(replications)]
    how = conditions(
        replications=replications, replications_with_heads=with_heads, kinds=KINDS, temperatures=temperatures
    )
    return Result("recovery", how, tables, _notes(temperatures))


def _tables(world: World, name: str, voter: Voter, replications: int) -> Iterator[dict[str, Value]]:
    """One row for every number of votes and learner of a table; the reference learners for exact voters only."""
    for count in COUNTS:
        generator = torch.Generator().manual_seed(count)
        best = hidden_best(replications * KINDS, len(world.grid), generator)
        wins = cast(world, best, count, voter, generator).wins(len(world.grid))[:, 0]
        for learner, fitted in TABLES.items():
            if voter is exact or learner in ("table, plain", "table, smooth"):
                yield _row(world, name, count, learner, score(fitted(wins, world), best, world.utility(best)))


def _heads(asked: Asked, world: World, name: str, voter: Voter, replications: int) -> Iterator[dict[str, Value]]:
    """The same with heads; those of the noisier human only as the recommended recipe, those of other voters not at all."""
    learners = {"exact": list(HEADS), "human-like, MT-bench": [ON_TABLES]}.get(name, [])
    for count in COUNTS if learners else ():
        generator = torch.Generator().manual_seed(count)
        best = hidden_best(replications * KINDS, len(world.grid), generator).view(replications, KINDS)
        votes = vote(world, best, count, voter, States(), generator)
        for learner in learners:
            fitted = HEADS[learner]
            yield _row(world, name, count, learner, votes.scored(fitted(votes, count), world))
        asked.progress(f"{name}: heads, {count} votes a kind")


def _row(world: World, voter: str, count: int, learner: str, found: Recovered) -> dict[str, Value]:
    row: dict[str, Value] = {
        "votes a kind": count,
        "learner": learner,
        "within one step": found.within_one,
        "±": found.half,
        "exact": found.exact,
        "regret": found.regret,
        "chance": chance(len(world.grid)),
    }
    asked_for = voter == "exact" and count in KNOWN and learner in ("table, smooth", ON_TABLES)
    return row | (target(found.within_one, least=KNOWN[count]) if asked_for else {})


def _voters(world: World) -> Table:
    """What a voter's votes look like from outside, and the flip rate that repeated votes would measure."""
    rows: list[dict[str, Value]] = []
    for name, voter in VOTERS.items():
        seen = agreement(voter, world, torch.Generator().manual_seed(0))
        rows.append(
            {
                "voter": name,
                "ties": seen.ties,
                "two votes agree": seen.share,
                "flip rate": flip_rate(seen.share),
                "names the better reply": seen.better,
            }
        )
    columns = {
        "voter": "",
        "ties": ".3f",
        "two votes agree": ".3f",
        "flip rate": ".3f",
        "names the better reply": ".3f",
    }
    return Table("The voters", columns, rows)


def _difficulty(replications: int) -> Table:
    """Exact votes in easier and harder worlds: the gap between the best and the worst temperature is what decides."""
    rows: list[dict[str, Value]] = []
    shown = list(COLUMNS)[:7]  # the targets hold for one difficulty
    for height in (0.3, 0.6, 1.0, 1.5):
        world = World(height=height)
        for row in _tables(world, "exact", exact, replications):
            if row["learner"] in ("table, plain", "table, smooth"):
                rows.append({"height": height, **{name: row[name] for name in shown}})
    return Table("Difficulty", {"height": "g", **{name: COLUMNS[name] for name in shown}}, rows)


def _notes(temperatures: int) -> tuple[str, ...]:
    return (
        f"Chance is {chance(temperatures):.3f} within one step and {chance(temperatures, 0):.3f} exactly; the best constant "
        f"has {3 / temperatures:.3f} and the hottest temperature {2 / temperatures:.3f} within one step.",
        "± is the half-width of the 95 % interval over kinds.",
    )
