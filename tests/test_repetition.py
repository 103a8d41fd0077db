"""Repetition against coherence: the table is continued, controls follow their policy, places by hand, report and card."""

import json
import math
from argparse import Namespace
from dataclasses import replace

import pytest

from models.adaptive_decoder import AdaptiveDecoder
from models.checkpoints import get, save
from models.meta import Base, Meta
from playground.errors import PlaygroundError
from playground.training.evaluation import repetition, repetition_card
from playground.training.evaluation.repetition import FIXED, PLAIN, RIVALS, controls, read, run
from playground.training.evaluation.repetition_commands import chosen, resolved, spec_of
from playground.training.evaluation.repetition_figures import figures
from playground.training.evaluation.repetition_report import in_words, short, side, write_report
from playground.training.evaluation.scores import manifest_file
from playground.training.labels.lanes import GRID, trained
from playground.training.labels.suites.repetition import tasks
from playground.training.labels.tasks import Task

POLICY = "adaptive-token:checkpoint=head.tiny"
SHUFFLED, MATCHED = controls(POLICY)


def task(number, family="stories"):
    return Task(f"{family}-{number}", "repetition", family, f"c{number}", f"Prompt {number}?", 5, "few-flaws", "test")


def save_head(tiny, folder, favourite=3):
    base = Base(tiny.name, tiny.revision, tiny.hidden_size, tiny.vocab_size)
    decoder = AdaptiveDecoder(tiny.hidden_size, len(GRID))
    decoder.last.bias.data[favourite] = 2.0
    meta = Meta("adaptive-token", base, GRID, 256, "separate", None, "0" * 64, {}, (1 / 7,) * 7, "train …", "abc")
    save(folder, "head.tiny", decoder, meta, "")
    return base


@pytest.fixture
def base(tiny, tmp_path):
    return save_head(tiny, tmp_path)


@pytest.fixture
def few(monkeypatch):
    """Fewer settings, so that a run takes little time; what is measured is chosen by these names alone."""
    monkeypatch.setattr(repetition, "RIVALS", ("edt:t0=1,theta=1",))
    monkeypatch.setattr(repetition, "FIXED", PLAIN[:3])


def test_all_fixed_settings_and_rivals_of_the_plan_are_there():
    assert len(FIXED) == 7 + 6 * 4
    assert {spec.partition(":")[0] for spec in RIVALS} == {"edt", "target-entropy"}


def test_a_table_that_was_cut_off_is_continued_to_the_same_table(tiny, base, few, tmp_path):
    heads = {"head.tiny": trained(get([tmp_path], "head.tiny", base))}
    wanted = [task(i) for i in range(3)]
    whole = run(tiny, wanted, [POLICY], heads, tmp_path / "a.jsonl", samples=2)
    assert set(whole) == {(t.id, s) for t in wanted for s in range(2)}
    assert all(set(row) == {POLICY, SHUFFLED, MATCHED, *PLAIN[:3], "edt:t0=1,theta=1"} for row in whole.values())
    content = (tmp_path / "a.jsonl").read_bytes()
    (tmp_path / "b.jsonl").write_bytes(content[: len(content) * 2 // 3])
    manifest_file(tmp_path / "b.jsonl").write_bytes(manifest_file(tmp_path / "a.jsonl").read_bytes())
    assert run(tiny, wanted, [POLICY], heads, tmp_path / "b.jsonl", samples=2) == whole
    assert (tmp_path / "b.jsonl").read_bytes() == content


def test_a_policy_that_is_added_later_gets_the_reply_it_would_have_had(tiny, base, few, tmp_path):
    heads = {"head.tiny": trained(get([tmp_path], "head.tiny", base))}
    together = run(tiny, [task(0)], [POLICY, "edt:t0=2,theta=1"], heads, tmp_path / "a.jsonl")
    run(tiny, [task(0)], ["edt:t0=2,theta=1"], heads, tmp_path / "b.jsonl")
    lines = (tmp_path / "b.jsonl").read_text()
    assert run(tiny, [task(0)], [POLICY, "edt:t0=2,theta=1"], heads, tmp_path / "b.jsonl") == together
    assert (tmp_path / "b.jsonl").read_text().startswith(lines)


def test_a_retrained_head_is_decoded_anew_and_nothing_else(tiny, base, few, tmp_path):
    heads = {"head.tiny": trained(get([tmp_path], "head.tiny", base))}
    run(tiny, [task(0)], [POLICY], heads, tmp_path / "a.jsonl")
    save_head(tiny, tmp_path, favourite=6)
    heads = {"head.tiny": trained(get([tmp_path], "head.tiny", base))}
    found = run(tiny, [task(0)], [POLICY], heads, tmp_path / "a.jsonl")
    assert found["stories-0", 0][POLICY]["temperature"] == pytest.approx(GRID[6])
    added = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[-1])
    assert set(added["replies"]) == {POLICY, SHUFFLED, MATCHED}
    assert read(tmp_path / "a.jsonl") == found


def test_a_constant_head_is_its_fixed_temperature_and_its_controls(tiny, base, few, tmp_path):
    """All lanes share their random numbers, so equal temperatures give equal replies."""
    save_head(tiny, tmp_path, favourite=2)
    heads = {"head.tiny": trained(get([tmp_path], "head.tiny", base))}
    row = run(tiny, [task(0)], [POLICY], heads, tmp_path / "a.jsonl")["stories-0", 0]
    assert row[POLICY]["text"] == row[PLAIN[2]]["text"] == row[SHUFFLED]["text"] == row[MATCHED]["text"]
    assert row[MATCHED]["temperature"] == pytest.approx(GRID[2], rel=1e-4)


def test_another_model_may_not_continue_a_table(tiny, few, tmp_path):
    (tmp_path / "a.jsonl.manifest.json").write_text(json.dumps({"model": "other"}))
    with pytest.raises(PlaygroundError, match="another model"):
        run(tiny, [task(0)], [], {}, tmp_path / "a.jsonl")


def test_other_prompts_under_the_same_ids_may_not_continue_a_table(tiny, few, tmp_path):
    run(tiny, [task(0)], [], {}, tmp_path / "a.jsonl")
    before = (tmp_path / "a.jsonl").read_bytes()
    with pytest.raises(PlaygroundError, match="another task under the id 'stories-0'"):
        run(tiny, [replace(task(0), max_tokens=4), task(1)], [], {}, tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == before
    run(tiny, [replace(task(0), cluster="regrouped"), task(1)], [], {}, tmp_path / "a.jsonl")
    assert {name for name, _ in read(tmp_path / "a.jsonl")} == {"stories-0", "stories-1"}


def test_a_control_is_no_policy_under_test(tiny, few, tmp_path):
    with pytest.raises(PlaygroundError, match="decide by itself"):
        run(tiny, [task(0)], ["shuffled:of=2"], {}, tmp_path / "a.jsonl")


SOUND = "The sun rose over the hill and the dog ran home to sleep on its old blue bed"
LOOP = "You can see the " * 4 + "old hill"  # 18 words, 15 4-grams, 4 + 2 of them new
WILD = "The florp grelbix over snarv and the quonk ran blen to sleep"

WORST = "florp grelbix snarv quonk " * 6


def table_of(texts, number=6):
    """One reply a label: that of `texts`, else a text with both flaws."""
    known = [POLICY, SHUFFLED, MATCHED, *RIVALS, *FIXED]

    def reply(label):
        text = texts.get(label, WORST)
        return {"text": text, "nll": 1.0, "tokens": 20, "temperature": 0.5, "checkpoint": None}

    return {(task(i).id, 0): {label: reply(label) for label in known} for i in range(number)}


def test_places_by_hand():
    """T 0 repeats, T 1.2 misspells; a sound policy lies beyond their hull, one with both flaws inside."""
    table = table_of({PLAIN[0]: LOOP, PLAIN[-1]: WILD, POLICY: SOUND})
    found = figures(table, [task(i) for i in range(6)], [POLICY], 1)["stories"]
    assert (found["prompts"], found["clusters"]) == (6, 6)
    assert found["means"][PLAIN[0]]["repetition"]["mean"] == pytest.approx(9 / 15)
    assert found["means"][PLAIN[-1]]["words"]["mean"] == pytest.approx(5 / 12)
    place = found["places"]["words"]
    assert set(place["vertices"]["all"]) == {PLAIN[0], PLAIN[-1]}
    rows = place["policies"]
    x, y = (9 / 15) / (17 / 21), 5 / 12  # where the edge meets the axes, in spans of the plain temperatures
    assert rows[POLICY]["distance"]["mean"] == pytest.approx(x * y / math.hypot(x, y))
    assert rows[POLICY]["distance"]["half"] == pytest.approx(0)
    assert rows[POLICY]["at_equal"]["mean"] == pytest.approx(5 / 12)  # as few repeats as T 1.2, and all words known
    assert rows[SHUFFLED]["distance"]["mean"] < 0
    gain = rows[POLICY]["minus"][SHUFFLED]["mean"]
    assert gain == pytest.approx(rows[POLICY]["distance"]["mean"] - rows[SHUFFLED]["distance"]["mean"])


def test_a_policy_equal_to_a_corner_is_on_the_frontier():
    table = table_of({PLAIN[0]: LOOP, PLAIN[-1]: WILD, POLICY: WILD})
    row = figures(table, [task(i) for i in range(4)], [POLICY], 1)["stories"]["places"]["words"]["policies"][POLICY]
    assert row["distance"] == {"mean": pytest.approx(0), "half": pytest.approx(0)}
    assert "not to be told" in side({"mean": 0.0, "half": 0.1})
    assert "beyond" in side({"mean": 0.2, "half": 0.1})
    assert "inside" in side({"mean": -0.2, "half": 0.1})
    assert "not to be told" in side({"mean": 0.2, "half": None})


def test_prompts_of_one_cluster_count_as_one():
    table = table_of({PLAIN[0]: LOOP})
    shared = [Task(**{**task(i).to_record(), "cluster": "one", "stop": (), "answers": ()}) for i in range(6)]
    found = figures(table, shared, [POLICY], 1)["stories"]
    assert found["clusters"] == 1
    assert found["places"]["words"]["policies"][POLICY]["distance"]["half"] is None


def test_the_report_and_the_card_hold_every_policy(tmp_path):
    table = table_of({PLAIN[0]: LOOP, PLAIN[-1]: WILD, POLICY: SOUND})
    made = {"command": "evaluate <b>", "commit": "abc", "model": "m", "revision": "r", "precision": "float32"}
    made |= {"split": "test", "samples": 1, "max_tokens": 96}
    families = figures(table, [task(i) for i in range(6)], [POLICY], 1)
    result = {"suite": "repetition", "made_by": made, "policies": [POLICY], "families": families}
    write_report(result, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "evaluate &lt;b&gt;" in text
    assert all(short(label) in text for label in (POLICY, SHUFFLED, MATCHED, *RIVALS))
    assert "head beyond the frontier of fixed settings" in in_words(result)
    card = "\n".join(repetition_card.lines(repetition_card.summary(result, POLICY)))
    assert all(f"| {spec} |" in card for spec in (*RIVALS, SHUFFLED, MATCHED))
    assert f"**{POLICY}**" in card
    assert repetition_card.lines({}) == []
    json.dumps(result, allow_nan=False)


def test_labels_in_the_report_name_the_head_and_its_filters():
    assert short("adaptive-token:checkpoint=near.smollm2-135m,min_p=0.1") == "near min_p=0.1"
    assert short(SHUFFLED) == "shuffled of head"
    assert short("edt:t0=1,theta=0.5") == "edt t0=1 theta=0.5"


def test_each_family_is_thinned_evenly_and_an_empty_split_is_refused():
    known = tasks(None)
    found = chosen(known, "test", 8)
    assert {family: sum(t.family == family for t in found) for family in ("stories", "continuation")} == {
        "stories": 8,
        "continuation": 8,
    }
    assert len(chosen(known, "dev", None)) == 28
    with pytest.raises(PlaygroundError, match="no prompts of the split"):
        chosen([t for t in known if t.split == "test"], "dev", None)


def test_a_policy_without_a_checkpoint_takes_the_default_head(base, tmp_path):
    policies, heads = resolved([], [tmp_path], base)
    assert policies == [POLICY]
    assert heads["head.tiny"].id.startswith("head.tiny@")
    assert resolved(["adaptive-token:min_p=0.1", POLICY, "edt:t0=2,theta=1"], [tmp_path], base)[0] == [
        "adaptive-token:min_p=0.1,checkpoint=head.tiny",
        POLICY,
        "edt:t0=2,theta=1",
    ]
    assert spec_of(get([tmp_path], "head.tiny", base)) == POLICY
    with pytest.raises(PlaygroundError, match="needs a trained head"):
        resolved([], [tmp_path / "empty"], base)


def test_the_command_writes_table_figures_report_and_card(tiny, base, tmp_path, monkeypatch):
    from playground.training import commands
    from playground.training.evaluation import repetition_commands

    monkeypatch.setattr(commands, "load_model", lambda settings: tiny)
    names = {"suite": "repetition", "data": None, "out": tmp_path / "out", "head": ["head.tiny"], "folder": tmp_path}
    flags = {"policy": [], "split": "test", "samples": 1, "limit": 2}
    monkeypatch.setattr("playground.training.labels.suites.repetition.MAX_TOKENS", 4)
    repetition_commands.run(Namespace(**names, **flags), {})
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "repetition.replies.jsonl",
        "repetition.replies.jsonl.manifest.json",
        "repetition.json",
        "repetition.html",
    }
    result = json.loads((tmp_path / "out" / "repetition.json").read_text())
    assert {name: family["prompts"] for name, family in result["families"].items()} == {"stories": 2, "continuation": 2}
    checkpoint = get([tmp_path], "head.tiny", base)
    assert checkpoint.meta.metrics["repetition"]["policy"] == POLICY
    assert "## Repetition against coherence" in checkpoint.card
