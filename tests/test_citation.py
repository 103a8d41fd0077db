"""CITATION.cff: what citation tools require, and every paper that a policy names, once."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from playground.decoding.policies.catalogue import catalogue

ROOT = Path(__file__).resolve().parent.parent
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
IDS = [reference["identifiers"][0]["value"].removeprefix("arXiv:") for reference in CITATION["references"]]


def test_the_software_has_what_the_format_requires() -> None:
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] == "software"
    assert {"message", "title", "version", "license"} <= set(CITATION)
    assert CITATION["authors"] == [{"name": "The adaptive decoding playground authors"}]
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert CITATION["version"] == version[1]
    assert CITATION["license"] in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_every_reference_is_a_paper_with_people_and_one_identifier() -> None:
    assert len(IDS) == len(set(IDS)) > 15
    for reference, name in zip(CITATION["references"], IDS, strict=True):
        assert {"type", "title", "authors", "year"} <= set(reference)
        assert re.fullmatch(r"\d{4}\.\d{5}", name)
        assert reference["url"] == f"https://arxiv.org/abs/{name}"
        assert all(set(author) in ({"family-names", "given-names"}, {"name"}) for author in reference["authors"])


def test_every_paper_that_a_policy_names_is_cited_and_no_other_that_the_code_does_not_name() -> None:
    named = {name for kind in catalogue({}).kinds for name in re.findall(r"arXiv (\d{4}\.\d{5})", kind.source)}
    assert len(named) > 10
    assert named <= set(IDS)
    code = "".join(
        path.read_text(encoding="utf-8") for top in ("models", "playground") for path in (ROOT / top).rglob("*.py")
    )
    assert all(name in code for name in IDS)
