"""The head: uniform before training, the same figures for any company, and no number from what is no number."""

import math

import pytest
import torch

from models.adaptive_decoder import AdaptiveDecoder, Head, uniform_head
from models.errors import ModelError


def trained_like(seed: int = 0, hidden: int = 12, temperatures: int = 5) -> AdaptiveDecoder:
    torch.manual_seed(seed)
    decoder = AdaptiveDecoder(hidden, temperatures)
    torch.nn.init.normal_(decoder.last.weight)
    return decoder


def test_the_untrained_head_is_exactly_uniform():
    logprobs = uniform_head(16, 7)(torch.randn(3, 16) * 100)
    assert logprobs.shape == (3, 7)
    assert logprobs.dtype == torch.float64
    torch.testing.assert_close(logprobs, torch.full((3, 7), -math.log(7), dtype=torch.float64))


def test_it_is_a_three_layer_silu_network_of_the_standardised_state():
    decoder = trained_like().double()
    decoder.standardise(torch.randn(50, 12, dtype=torch.float64) * 3 + 1)
    x = torch.randn(2, 12, dtype=torch.float64)
    y = (x - decoder.center) / decoder.scale
    for layer in (decoder.first, decoder.second):
        y = y @ layer.weight.T + layer.bias
        y = y * torch.sigmoid(y)
    y = y @ decoder.last.weight.T + decoder.last.bias
    torch.testing.assert_close(decoder(x), y - y.exp().sum(-1, keepdim=True).log())


def test_a_row_has_the_same_bits_alone_and_in_company():
    head = Head(trained_like())
    states = torch.randn(9, 12)
    together = head(states)
    for count in (1, 2, 5):
        assert torch.equal(head(states[:count]), together[:count])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_state_that_is_no_number_is_refused(bad):
    states = torch.zeros(2, 12)
    states[1, 3] = bad
    with pytest.raises(ModelError, match="NaN or infinity"):
        Head(trained_like())(states)


def test_a_result_that_is_no_number_is_refused():
    decoder = trained_like()
    decoder.last.bias.data[0] = float("nan")
    with pytest.raises(ModelError, match="predicted NaN"):
        Head(decoder, "broken")(torch.zeros(1, 12))


def test_a_state_of_another_size_is_refused():
    with pytest.raises(ModelError, match=r"size 12, but the loaded model gives 8"):
        Head(trained_like())(torch.zeros(1, 8))
