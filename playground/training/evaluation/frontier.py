"""The frontier of two costs: what fixed settings reach, and on which side of it a policy lies.

Every setting is a point (x, y) of two costs, less is better: the share of repeated 4-grams and a measure of incoherence.
Choosing between two settings at random reaches every point of the segment between theirs, and to be worse is always
possible, so what fixed settings reach is

    C = conv{p_1 … p_n} + [0, ∞)²                      its lower-left boundary is the frontier

    d(q) = dist(q, C)                for q outside C:  positive, better than every mixture of settings
    d(q) = −dist(q, boundary of C)   for q inside C:   negative, some mixture is better in both costs

The costs have units of their own, so each is divided by what it changes by between the temperatures without a filter
("spans"): a distance of 1 is the way from the best to the worst fixed temperature along one axis.

Intervals: a distance is a smooth function of means over clusters except where the nearest edge changes, so its error is
estimated by leaving out one cluster at a time (jackknife) and the interval is Student's t with one degree of freedom less
than there are clusters. A percentile bootstrap would be too narrow with few clusters. The vertices are minima of noisy
means, so the frontier is drawn a little too low and the distance of a policy that is no vertex is, if anything, too small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

from playground.training.evaluation.statistics import Estimate, quantile

Point = tuple[float, float]
T = TypeVar("T")


def hull(points: Sequence[Point]) -> list[Point]:
    """The vertices of the frontier from the left (least x) to the right (least y); one vertex where one point is best in both.

    Raises ValueError without points.
    """
    if not points:
        raise ValueError("A frontier needs at least one point.")
    vertices: list[Point] = []
    for point in sorted(set(points)):
        if vertices and point[1] >= vertices[-1][1]:
            continue  # not to the left and not lower: worse in both costs than the last vertex, or equal in one
        while len(vertices) > 1 and _turn(vertices[-2], vertices[-1], point) <= 0:
            vertices.pop()
        vertices.append(point)
    return vertices


def distance(vertices: Sequence[Point], q: Point) -> float:
    """d(q), positive where `q` is beyond the frontier `vertices`, in the units of the points."""
    normals = [(1.0, 0.0, vertices[0][0]), (0.0, 1.0, vertices[-1][1])]
    for a, b in pairwise(vertices):
        length = math.hypot(a[1] - b[1], b[0] - a[0])
        u, v = (a[1] - b[1]) / length, (b[0] - a[0]) / length
        normals.append((u, v, u * a[0] + v * a[1]))
    depth = max(offset - u * q[0] - v * q[1] for u, v, offset in normals)
    return depth if depth <= 0 else min(math.dist(q, near) for near in _nearest(vertices, q))


def height(vertices: Sequence[Point], x: float) -> float | None:
    """The frontier's y at this x: what mixtures reach with no more of the first cost; None left of all points."""
    if x < vertices[0][0]:
        return None
    for a, b in pairwise(vertices):
        if x <= b[0]:
            return a[1] + (b[1] - a[1]) * (x - a[0]) / (b[0] - a[0])
    return vertices[-1][1]


def jackknife(clusters: Sequence[T], value: Callable[[Sequence[T]], float]) -> Estimate:
    """`value` of all clusters with its 95 % interval from `value` without each of them."""
    return interval(value(clusters), [value([*clusters[:i], *clusters[i + 1 :]]) for i in range(len(clusters))])


def interval(whole: float, left: Sequence[float]) -> Estimate:
    """`whole` with the half-width t(n − 1) · √((n − 1)/n Σ (v_(i) − mean)²), v_(i) the n values without cluster i.

    For a mean this is the usual t interval. The half-width is infinite for a single cluster.
    """
    n = len(left)
    if n < 2:
        return Estimate(whole, math.inf, n)
    mean = math.fsum(left) / n
    spread = math.sqrt((n - 1) / n * math.fsum((v - mean) ** 2 for v in left))
    return Estimate(whole, quantile(n - 1) * spread, n)


def spans(points: Mapping[str, Point], plain: Sequence[str]) -> Point:
    """How far each cost goes over the settings `plain`; 1 for a cost that does not change."""
    columns = zip(*(points[name] for name in plain), strict=True)
    width, height = (max(column) - min(column) or 1.0 for column in columns)
    return width, height


def scaled(point: Point, by: Point) -> Point:
    return point[0] / by[0], point[1] / by[1]


def _turn(a: Point, b: Point, c: Point) -> float:
    """Above 0 where the way a, b, c turns left at b."""
    return (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])


def _nearest(vertices: Sequence[Point], q: Point) -> list[Point]:
    """The nearest point to `q` on every edge of the frontier and on its two rays, upwards and to the right."""
    first, last = vertices[0], vertices[-1]
    found = [(first[0], max(first[1], q[1])), (max(last[0], q[0]), last[1])]
    for a, b in pairwise(vertices):
        along = (b[0] - a[0], b[1] - a[1])
        share = ((q[0] - a[0]) * along[0] + (q[1] - a[1]) * along[1]) / (along[0] ** 2 + along[1] ** 2)
        share = min(1.0, max(0.0, share))
        found.append((a[0] + share * along[0], a[1] + share * along[1]))
    return found
