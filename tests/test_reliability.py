"""Reliability bins hold every pair once and say what was predicted and what came true."""

import pytest
import torch

from playground.training.reliability import calibration_error, reliability


def test_calibration_is_zero_for_a_head_that_is_as_sure_as_it_is_right():
    assert calibration_error(torch.tensor([0.75, 0.75, 0.75, 0.25])) == pytest.approx(0)
    assert calibration_error(torch.tensor([1.0, 0.0])) == pytest.approx(0.5)
    assert calibration_error(torch.full((6,), 0.5)) == 0  # the uniform head


def test_a_pair_counts_in_the_bin_of_its_predicted_winner():
    table = reliability(torch.tensor([0.95, 0.05, 0.72, 1.0, 0.5]))
    assert [row["pairs"] for row in table] == [1, 0, 1, 0, 3]
    assert table[4]["right"] == pytest.approx(2 / 3)  # .05 predicts the rejected one
    assert table[4]["predicted"] == pytest.approx((0.95 + 0.95 + 1) / 3)
    assert table[0]["right"] == 0.5  # no preference is half right
    assert table[1]["right"] is None
    assert [row["low"] for row in table] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])
    assert table[-1]["high"] == 1
