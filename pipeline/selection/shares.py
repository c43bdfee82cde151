"""How many rows each group gets: whole numbers that add up, as near to the shares asked for as can be."""

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, floor


def exact(share: float) -> Fraction:
    """A share as the decimal number that a config states: 0.1 is one tenth."""
    return Fraction(repr(share))


def largest_remainder(total: int, shares: Mapping[str, Fraction]) -> dict[str, int]:
    """Whole numbers in proportion to shares that add up to a total (Hamilton's method; CLIMB, 2025, for mixtures).

    Each group gets its share of the total rounded down; what is left goes, one each, to those that lost most, and of equal ones to
    those named first.

    Args:
        total: 0 and up.
        shares: by group; 0 and up, not all 0; they need not add up to 1.
    """
    whole = sum(shares.values())
    if not whole:
        return dict.fromkeys(shares, 0)
    wanted = {name: total * share / whole for name, share in shares.items()}
    given = {name: floor(number) for name, number in wanted.items()}
    by_loss = sorted(shares, key=lambda name: given[name] - wanted[name])  # stable: equal ones stay in their order
    for name in by_loss[: total - sum(given.values())]:
        given[name] += 1
    return given


def most_that_fit(sizes: Mapping[str, int], shares: Mapping[str, Fraction]) -> int:
    """The most rows of which every group has enough for its share, even rounded up.

    Args:
        sizes: rows there are, by group.
        shares: by group, above 0; they add up to any number.
    """
    whole = sum(shares.values())
    return min((floor(sizes[name] * whole / share) for name, share in shares.items()), default=0)


def most_with_least(sizes: Mapping[str, int], shares: Mapping[str, Fraction], rows: int) -> int:
    """The most of some rows in which the groups named make up at least their shares.

    Args:
        sizes: rows that the groups named have.
        shares: the least share of each, above 0 and at most 1 together.
        rows: all rows, of whatever group.
    """
    return min([rows, *(floor(sizes[name] / share) for name, share in shares.items())])


def quotas(total: int, shares: Mapping[str, Fraction]) -> dict[str, int]:
    """The least number of rows of each group among a total, rounded up."""
    return {name: ceil(total * share) for name, share in shares.items()}
