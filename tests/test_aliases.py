"""Aliases: another name for `fixed` with one filter, never another policy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from playground.decoding.distribution import Distribution
from playground.decoding.filters import Filters
from playground.decoding.policies import aliases
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.policies.fixed import KIND as FIXED
from playground.decoding.policies.spec import FILTER_KEYS
from playground.decoding.sampling import FILTER_OFF
from playground.errors import PlaygroundError

POLICIES = catalogue({})
OWN = {"min-p": ("p", "min_p"), "top-n-sigma": ("n", "top_n_sigma"), "typical": ("p", "typical_p"),
       "eta": ("cutoff", "eta_cutoff")}  # fmt: skip


def refusal(text: str) -> str:
    with pytest.raises(PlaygroundError) as caught:
        POLICIES.parse(text)
    return str(caught.value)


def test_all_aliases_are_in_the_catalogue_as_the_methods_of_their_papers() -> None:
    assert {kind.name for kind in aliases.KINDS} == set(OWN)
    for kind in aliases.KINDS:
        assert kind in POLICIES.kinds
        assert kind.stands_for is not None
        assert kind.stands_for[0] is FIXED
        assert kind.group == FIXED.group
        assert "arXiv" in kind.source
        assert kind.module == "playground.decoding.policies.fixed"


@pytest.mark.parametrize(
    ("alias", "plain"),
    [
        ("min-p:p=0.1", "fixed:min_p=0.1"),
        ("min-p", "fixed:min_p=0.1"),
        ("top-n-sigma:n=1.0", "fixed:top_n_sigma=1"),
        ("top-n-sigma", "fixed:top_n_sigma=1"),
        ("typical:p=0.95", "fixed:typical_p=0.95"),
        ("typical", "fixed:typical_p=0.95"),
        ("eta:cutoff=0.0003", "fixed:eta_cutoff=0.0003"),
        ("eta", "fixed:eta_cutoff=0.0003"),
        ("min-p:p=0.05,temperature=1.5,top_k=40", "fixed:top_k=40,min_p=0.05,temperature=1.5"),
        ("eta:temperature=0,typical_p=0.9", "fixed:eta_cutoff=0.0003,temperature=0,typical_p=0.9"),
    ],
)
def test_an_alias_and_what_it_stands_for_are_one_stored_policy(alias: str, plain: str) -> None:
    spec = POLICIES.parse(alias)
    assert str(spec) == str(POLICIES.parse(plain))
    assert spec.values == POLICIES.parse(plain).values
    assert spec.kind is FIXED
    assert str(POLICIES.parse(spec.short)) == str(POLICIES.parse(str(spec))) == str(spec)


def test_the_canonical_form_names_the_filter() -> None:
    assert str(POLICIES.parse("min-p:p=0.1")) == (
        "fixed:eta_cutoff=0.0,min_p=0.1,temperature=1.0,top_k=0,top_n_sigma=0.0,top_p=1.0,typical_p=1.0"
    )


@pytest.mark.parametrize("name", OWN)
def test_its_keys_are_its_own_then_the_temperature_and_the_other_filters(name: str) -> None:
    kind = next(kind for kind in aliases.KINDS if kind.name == name)
    own, stands_for = OWN[name]
    others = [key.name for key in FILTER_KEYS if key.name != stands_for]
    assert [key.name for key in kind.all_keys] == [own, "temperature", *others]
    sentence = refusal(f"{name}:zzz=1")
    assert sentence == f"{name!r} has no key 'zzz'; its keys are {', '.join(sorted([own, 'temperature', *others]))}."
    assert f"{name!r} has no key {stands_for!r}" in refusal(f"{name}:{stands_for}=0.5"), "one spelling of one filter"


@pytest.mark.parametrize("name", OWN)
def test_its_range_leaves_out_what_switches_the_filter_off(name: str) -> None:
    own, stands_for = OWN[name]
    off = FILTER_OFF[stands_for]
    assert f"`{own}` must be a number above 0 to" in refusal(f"{name}:{own}={off}")
    assert POLICIES.parse(f"fixed:{stands_for}={off}").filters[stands_for] == off


@pytest.mark.parametrize("misspelt", [f"{name[:-1]}" for name in OWN if len(name) > 3])
def test_a_misspelt_alias_is_answered_with_it(misspelt: str) -> None:
    assert "did you mean" in refusal(misspelt)


@pytest.mark.parametrize("temperature", [0.7, 1.5])
@pytest.mark.parametrize("name", OWN)
def test_the_formula_of_each_on_the_embedded_models_logits(
    captured_logits: np.ndarray, name: str, temperature: float
) -> None:
    """What is left of the distribution at that temperature, from each paper's definition."""
    spec = POLICIES.parse(f"{name}:temperature={temperature}")
    heat = torch.full((24,), temperature, dtype=torch.float64)
    logits = torch.tensor(captured_logits)
    found = Filters([spec.filters] * 24)(Distribution(logits).tempered(heat)).probs.numpy()
    for row, probs in zip(captured_logits, found, strict=True):
        p = np.exp((row - row.max()) / temperature)
        p /= p.sum()
        kept = np.zeros(len(p), dtype=bool)
        if name == "min-p":
            kept = p >= 0.1 * p.max()
        elif name == "top-n-sigma":
            kept = row >= row.max() - row.std()
        elif name == "eta":
            spread = -(p[p > 0] * np.log(p[p > 0])).sum()
            kept = p >= min(3e-4, np.sqrt(3e-4) * np.exp(-spread))
        else:
            spread = -(p[p > 0] * np.log(p[p > 0])).sum()
            order = np.argsort(np.abs(-np.log(np.maximum(p, 1e-300)) - spread), kind="stable")
            kept[order[: int(np.searchsorted(p[order].cumsum(), 0.95)) + 1]] = True
        expected = np.where(kept, p, 0) / p[kept].sum()
        assert probs == pytest.approx(expected, abs=1e-9)
        assert kept.sum() < len(p)
