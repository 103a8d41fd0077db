"""The grammar of policies: one canonical spelling, and one sentence for everything it does not spell."""

from __future__ import annotations

import random
import string

import pytest

from playground.decoding.policies.catalogue import catalogue
from playground.decoding.policies.spec import CHECKPOINT_NAME, FILTER_KEYS
from playground.errors import PlaygroundError

POLICIES = catalogue({"adaptive-token": "tok", "adaptive-sequence": "seq"})
NAMES = [kind.name for kind in POLICIES.kinds]
DEFAULT = "fixed:eta_cutoff=0.0,min_p=0.0,temperature=1.0,top_k=0,top_n_sigma=0.0,top_p=1.0,typical_p=1.0"


def refusal(text: str) -> str:
    with pytest.raises(PlaygroundError) as caught:
        POLICIES.parse(text)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def test_the_canonical_form_sorts_keys_and_fills_defaults() -> None:
    assert str(POLICIES.parse("fixed")) == DEFAULT
    given = str(POLICIES.parse(" fixed : top_p = 0.95 , temperature = 0.70 ".replace(" :", ":")))
    assert given == DEFAULT.replace("temperature=1.0", "temperature=0.7").replace("top_p=1.0", "top_p=0.95")


@pytest.mark.parametrize("name", NAMES)
def test_the_canonical_form_and_the_short_one_spell_the_same_policy(name: str) -> None:
    draw = random.Random(name)
    kind = next(kind for kind in POLICIES.kinds if kind.name == name)
    for _ in range(50):
        keys = draw.sample(kind.all_keys, draw.randrange(len(kind.all_keys)))
        keys = [key for key in keys if not key.only_with]  # they need another key's value: a test of their own
        words = []
        for key in keys:
            if key.choices:
                words.append(f"{key.name}={draw.choice(key.choices)}")
            elif key.kind == "checkpoint":
                words.append(f"{key.name}={draw.choice(['a', 'head-2.x_y'])}")
            else:
                number = draw.uniform(float(key.low or 0), float(key.high or 1))
                words.append(f"{key.name}={round(number) if key.kind == 'int' else max(number, 1e-6)}")
        spec = POLICIES.parse(f"{name}:{','.join(words)}" if words else name)
        for spelling in (str(spec), spec.short):
            again = POLICIES.parse(spelling)
            assert (str(again), again.values) == (str(spec), spec.values)


def test_spellings_of_one_number_are_one_policy() -> None:
    for spelling in ("0.5", ".5", "5e-1", "+0.50"):
        assert str(POLICIES.parse(f"fixed:temperature={spelling}")) == DEFAULT.replace("ture=1.0", "ture=0.5")
    for zero in ("0", "-0", "-0.0", "0e5"):
        assert str(POLICIES.parse(f"fixed:temperature={zero}")) == DEFAULT.replace("ture=1.0", "ture=0.0")


def test_the_short_form_says_only_what_differs() -> None:
    assert POLICIES.parse(DEFAULT).short == "fixed"
    assert POLICIES.parse("edt:theta=0.5,t0=1,top_k=0").short == "edt:theta=0.5"
    assert POLICIES.parse("adaptive-token:checkpoint=tok,select=sample").short == "adaptive-token:select=sample"


def test_a_key_that_means_nothing_without_another_is_left_out_of_the_spec() -> None:
    plain = str(POLICIES.parse("adaptive-token:select=sample"))
    assert "quantile" not in plain
    assert "only with select=quantile" in refusal("adaptive-token:quantile=0.3,select=sample")
    assert "quantile=0.3,select=quantile" in str(POLICIES.parse("adaptive-token:select=quantile,quantile=0.3"))
    assert POLICIES.parse("adaptive-token:select=quantile").short == "adaptive-token:select=quantile"
    assert "a number above 0 to 1" in refusal("adaptive-token:quantile=0")


def test_adding_keys_has_not_renamed_stored_policies() -> None:
    """A spec keys the random streams of its lanes, so what is stored must go on meaning the same draws."""
    filters = "top_k=0,top_n_sigma=0.0,top_p=1.0,typical_p=1.0"
    for level, select in (("token", "argmax"), ("sequence", "sample")):
        stored = f"adaptive-{level}:checkpoint=x,eta_cutoff=0.0,min_p=0.0,select={select},{filters}"
        assert str(POLICIES.parse(stored)) == stored


@pytest.mark.parametrize(
    ("text", "nearest"),
    [("fixd", "'fixed'"), ("adaptive_token", "'adaptive-token'"), ("fixed:temprature=1", "'temperature'"),
     ("edt:tetha=1", "'theta'"), ("fixed:topp=0.9", "'top_p'")],
)  # fmt: skip
def test_a_misspelling_is_refused_with_the_nearest_spelling(text: str, nearest: str) -> None:
    assert f"did you mean {nearest}?" in refusal(text)


def test_an_unknown_name_lists_all_policies_and_an_unknown_key_all_keys() -> None:
    assert all(name in refusal("zzz") for name in NAMES)
    (edt,) = (kind for kind in POLICIES.kinds if kind.name == "edt")
    assert all(key.name in refusal("edt:zzz=1") for key in (*edt.keys, *FILTER_KEYS))


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("fixed:temperature=-0.3", "`temperature` must be a number from 0 to 5, got '-0.3'."),
        ("fixed:temperature=5.01", "from 0 to 5"),
        ("fixed:temperature=nan", "from 0 to 5"),
        ("fixed:temperature=inf", "from 0 to 5"),
        ("fixed:temperature=warm", "a number from 0 to 5"),
        ("fixed:top_p=0", "a number above 0 to 1"),
        ("fixed:top_k=2.5", "a whole number from 0 to 1e+06"),
        ("fixed:top_k=-1", "a whole number"),
        (f"fixed:top_k={'9' * 5000}", "a whole number"),
        ("adaptive-token:select=best", "one of argmax, sample"),
        ("adaptive-token:checkpoint=Not A Name", "[a-z0-9._-]"),
        ("adaptive-token:checkpoint=../secret", "[a-z0-9._-]"),
        ("fixed:temperature=1,temperature=1", "given twice"),
        ("fixed:temperature", "is not key=value"),
        ("fixed:temperature=", "is not key=value"),
        ("fixed:,", "is not key=value"),
        ("fixed:=1", "no key ''"),
        ("", "no policy ''"),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_is(text: str, allowed: str) -> None:
    sentence = refusal(text)
    assert allowed in sentence
    assert len(sentence) < 400


def test_garbage_raises_nothing_but_the_showable_error() -> None:
    draw, refused, spelled = random.Random(0), 0, 0
    alphabet = string.printable + "=,:=,:é東\0\x1b" + "0123456789.eE-+_"
    for _ in range(3000):
        tail = "".join(draw.choice(alphabet) for _ in range(draw.randrange(30)))
        key = draw.choice(["temperature", "top_k", "of", "t0", "checkpoint", "select"])
        text = draw.choice([tail, f"fixed:{tail}", f"{draw.choice(NAMES)}:{key}={tail}"])
        try:
            spec = POLICIES.parse(text)
        except PlaygroundError as error:
            refused += "\n" not in str(error)
        else:
            spelled += str(POLICIES.parse(str(spec))) == str(spec)
    assert refused + spelled == 3000
    assert min(refused, spelled) > 0


@pytest.mark.parametrize(("name", "fits"), [("a", True), ("head-1.b_c", True), ("x" * 63, True), ("x" * 64, False),
                                            ("A", False), ("a/b", False), ("a b", False), ("", False), ("a\n", False)])  # fmt: skip
def test_a_checkpoints_name_has_small_letters_digits_dots_and_dashes(name: str, fits: bool) -> None:
    assert bool(CHECKPOINT_NAME.fullmatch(name)) == fits
