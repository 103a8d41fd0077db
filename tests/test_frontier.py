"""The frontier: its vertices, the sign and size of a distance by hand and against brute force, and intervals that cover."""

import math
import random

import pytest

from playground.training.evaluation.frontier import distance, height, hull, jackknife, scaled, spans
from playground.training.evaluation.statistics import estimate

SQUARE = [(0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.4, 0.9)]


def test_only_points_below_every_mixture_are_vertices():
    assert hull([*SQUARE, (0.2, 0.4), (0.5, 0.4)]) == [(0.0, 1.0), (0.2, 0.4), (1.0, 0.0)]
    assert hull([(0.3, 0.3), (0.5, 0.9), (0.9, 0.4)]) == [(0.3, 0.3)]
    assert hull([(0.0, 1.0), (0.0, 0.5), (1.0, 0.5), (2.0, 0.5)]) == [(0.0, 0.5)]
    assert hull([(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]) == [(0.0, 1.0), (1.0, 0.0)]
    with pytest.raises(ValueError, match="at least one point"):
        hull([])


def test_distances_by_hand():
    line = hull(SQUARE)
    assert distance(line, (0.5, 0.5)) == pytest.approx(0)
    assert distance(line, (0.0, 0.0)) == pytest.approx(math.sqrt(0.5))
    assert distance(line, (0.6, 0.6)) == pytest.approx(-0.1 * math.sqrt(2))
    assert distance(line, (0.05, 5.0)) == pytest.approx(-0.05)  # the vertical ray is nearest
    assert distance(line, (-0.1, 2.0)) == pytest.approx(0.1)  # fewer repeats than any setting
    assert distance(line, (3.0, -0.2)) == pytest.approx(0.2)
    assert distance([(0.3, 0.3)], (0.3 - 0.03, 0.3 - 0.04)) == pytest.approx(0.05)


def test_distances_equal_brute_force_over_directions():
    """d(q) = max over unit w ≥ 0 of min_p w·p − w·q, outside and inside."""
    noise = random.Random(0)
    directions = [(math.cos(a), math.sin(a)) for a in (math.pi / 2 * i / 20000 for i in range(20001))]
    for _ in range(4):
        points = [(noise.random(), noise.random()) for _ in range(12)]
        vertices = hull(points)
        for q in [(noise.uniform(-0.3, 1.2), noise.uniform(-0.3, 1.2)) for _ in range(5)]:
            brute = max(min(u * x + v * y for x, y in vertices) - u * q[0] - v * q[1] for u, v in directions)
            assert distance(vertices, q) == pytest.approx(brute, abs=2e-4)


def test_the_height_is_what_a_mixture_reaches():
    line = hull([(0.2, 1.0), (0.4, 0.5), (1.0, 0.2)])
    assert height(line, 0.1) is None
    assert height(line, 0.2) == 1.0
    assert height(line, 0.3) == pytest.approx(0.75)
    assert height(line, 0.7) == pytest.approx(0.35)
    assert height(line, 9.0) == 0.2


def test_the_jackknife_of_a_mean_is_the_t_interval():
    values = [1.0, 4.0, 2.0, 8.0, 5.0]
    found = jackknife(values, lambda left: sum(left) / len(left))
    wanted = estimate(values)
    assert (found.mean, found.half, found.count) == (pytest.approx(wanted.mean), pytest.approx(wanted.half), 5)
    assert jackknife([1.0], sum).half == math.inf


def test_spans_are_taken_over_the_plain_settings():
    points = {"a": (0.0, 3.0), "b": (0.5, 1.0), "c": (9.0, 9.0)}
    assert spans(points, ["a", "b"]) == (0.5, 2.0)
    assert spans(points, ["a"]) == (1.0, 1.0)
    assert scaled((1.0, 1.0), (0.5, 2.0)) == (2.0, 0.5)


def test_intervals_cover_the_distance_of_the_true_means_with_few_clusters():
    """12 clusters, 6 settings on a curve, a policy beyond it: 95 % intervals hold the true distance about so often."""
    noise = random.Random(1)
    true = [(0.1 * i, (1 - 0.1 * i) ** 2) for i in range(0, 11, 2)]
    policy = (0.3, 0.35)
    wanted = distance(hull(true), policy)
    replications, held = 400, 0
    for _ in range(replications):
        clusters = []
        for _ in range(12):
            shift = noise.gauss(0, 0.1)
            clusters.append(
                [(x + shift + noise.gauss(0, 0.05), y - shift + noise.gauss(0, 0.05)) for x, y in [*true, policy]]
            )

        def value(left):
            means = [tuple(sum(c[k][axis] for c in left) / len(left) for axis in (0, 1)) for k in range(len(true) + 1)]
            return distance(hull(means[:-1]), means[-1])

        found = jackknife(clusters, value)
        held += abs(found.mean - wanted) <= found.half
    assert 0.91 <= held / replications <= 0.99
