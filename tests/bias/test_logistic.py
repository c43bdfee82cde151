"""The regression against an independent solver."""

import numpy as np
import pytest
from scipy.optimize import minimize

from pipeline.bias.logistic import fit, inverse, scale_of, sigma, squash


def drawn(features: int, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(features, rows)), rng.random(rows), rng.random(rows) * 2


@pytest.mark.parametrize(("features", "rows"), [(1, 5), (3, 40), (6, 200)])
def test_the_fit_is_the_minimum_that_a_general_solver_finds(features: int, rows: int) -> None:
    design, outcome, weight = drawn(features, rows, features)

    def loss(b: np.ndarray) -> float:
        z = b @ design
        return float((weight * (np.logaddexp(0, z) - outcome * z)).sum() + b @ b / 2)

    expected = minimize(loss, np.zeros(features), method="BFGS", options={"gtol": 1e-9}).x
    found = fit(design, outcome, weight)

    assert found.coefficients == pytest.approx(expected, abs=1e-6)
    p = sigma(found.coefficients @ design)
    curvature = (design * weight * p * (1 - p)) @ design.T + np.eye(features)
    assert found.covariance == pytest.approx(np.linalg.inv(curvature), abs=1e-9)
    assert found.deviations == pytest.approx(np.sqrt(np.diag(found.covariance)))


def test_swapping_the_sides_of_some_rows_changes_nothing() -> None:
    design, outcome, _ = drawn(4, 100, 0)
    turned = np.where(np.arange(100) % 3 == 0, -1.0, 1.0)

    one, other = fit(design, outcome), fit(design * turned, np.where(turned < 0, 1 - outcome, outcome))

    assert one.coefficients == pytest.approx(other.coefficients, abs=1e-9)


def test_votes_that_all_go_one_way_have_a_finite_coefficient() -> None:
    found = fit(np.ones((1, 10_000)), np.ones(10_000))

    assert 4 < found.coefficients[0] < 10


def test_no_rows_leave_the_prior() -> None:
    found = fit(np.empty((2, 0)), np.empty(0))

    assert found.coefficients.tolist() == [0.0, 0.0]
    assert found.covariance.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_tanh_at_one_deviation_is_that_of_the_methods_reference() -> None:
    gap = np.array([3.0, -3.0])

    assert scale_of(gap) == 3.0
    assert squash(gap, scale_of(gap)) == pytest.approx([0.761594, -0.761594], abs=1e-6)
    assert scale_of(np.zeros(4)) == scale_of(np.empty(0)) == 1.0


def test_the_inverse_of_a_positive_definite_matrix() -> None:
    base = np.random.default_rng(1).normal(size=(7, 9))
    matrix = base @ base.T

    assert inverse(matrix) @ matrix == pytest.approx(np.eye(7), abs=1e-9)
