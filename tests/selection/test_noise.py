"""Random numbers of ids."""

from hashlib import blake2b

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.selection.noise import gumbel, uniform
from tests.selection.rows import hashed, ids


def test_numbers_are_uniform_and_of_purposes_and_seeds_independent() -> None:
    names = ids(20_000)
    one = uniform(names, 0)
    assert one.mean() == pytest.approx(0.5, abs=0.01)
    assert np.histogram(one, bins=10, range=(0, 1))[0] == pytest.approx(2000, rel=0.1)
    for other in (uniform(names, 1), uniform(names, -1), uniform(names, 0, "draw")):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.03


@pytest.mark.parametrize("half", ["0" * 16, "f" * 16, "8000000000000000"])
def test_no_id_meets_an_end(half: str) -> None:
    names = pl.Series([half + hashed(n)[16:] for n in range(200)] + [hashed(n)[:16] + half for n in range(200)])
    numbers = uniform(names, 0)
    assert 0 < numbers.min() <= numbers.max() < 1
    assert np.isfinite(gumbel(names, 0)).all()


def test_the_step_of_numbers_keeps_clear_of_both_ends() -> None:
    # The lowest and the highest of 52 bits, with half a step.
    assert (0 + 0.5) * 2.0**-52 > 0
    assert (2**52 - 1 + 0.5) * 2.0**-52 < 1


@settings(max_examples=20)
@given(st.lists(st.one_of(st.text(), st.integers(0, 99).map(hashed)), min_size=1, max_size=6, unique=True), st.integers())
def test_a_number_belongs_to_its_id_whatever_the_other_rows(names: list[str], seed: int) -> None:
    whole = uniform(pl.Series(names, dtype=pl.String), seed)
    alone = [float(uniform(pl.Series([name]), seed)[0]) for name in names]
    assert whole.tolist() == alone


def mixed(bits: int) -> int:
    """The finaliser of SplitMix64, in whole numbers of Python."""
    full = 2**64 - 1
    bits = (bits + 0x9E3779B97F4A7C15) & full
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & full
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & full
    return bits ^ (bits >> 31)


@pytest.mark.parametrize("seed", [0, -3, 10**30])
def test_numbers_follow_from_the_id_alone_as_worked_out_one_by_one(seed: int) -> None:
    names = [hashed("a"), "f" * 32, "p1"]
    salt = int.from_bytes(blake2b(f"{seed}\ndraw".encode(), digest_size=8).digest(), "big")
    expected = []
    for name in [names[0], names[1], hashed("p1")]:
        bits = salt
        for start in range(0, 32, 8):
            bits = mixed(bits ^ int.from_bytes(name[start : start + 8].encode(), "little"))
        expected.append(((bits >> 12) + 0.5) / 2**52)
    assert uniform(pl.Series(names), seed, "draw").tolist() == expected
    assert mixed(0) == 0xE220A8397B1DCDAF  # the generator's first number from seed 0
