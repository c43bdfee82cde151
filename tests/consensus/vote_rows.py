"""Votes as literal rows, and random ones of three annotators on four pairs."""

from collections.abc import Iterable

import polars as pl
from hypothesis import strategies as st

from pipeline.consensus.patterns import number_annotators

SCHEMA = {"pair_id": pl.String, "annotator": pl.String, "kind": pl.String, "vote": pl.Int8, "strength": pl.Float32, "low_first": pl.Boolean}
Vote = tuple[str, str, str, int, float | None, bool | None]


def votes(rows: Iterable[Vote]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA, orient="row")


def exchanged(rows: list[Vote], pairs: set[str]) -> list[Vote]:
    return [
        (p, a, k, -v, s, None if f is None else not f) if p in pairs else (p, a, k, v, s, f) for p, a, k, v, s, f in rows
    ]  # fmt: skip


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["p1", "p2", "p3", "p4"]),
        st.sampled_from(["ann", "bob", "unnamed web"]),
        st.just("human"),
        st.sampled_from([-1, 0, 1]),
        st.sampled_from([None, 0.0, 0.49, 0.5, 1.0]),
        st.sampled_from([None, True, False]),
    ),
    max_size=14,
)
NUMBERS = number_annotators([votes([("p", name, "human", 0, None, None)]) for name in ("ann", "bob", "unnamed web")])


def cell(number: int, vote: int, strength: float | None, low_first: bool | None) -> int:
    shown = {None: 0, True: 1, False: 2}[low_first]
    steps = 1 if strength is None else 2 if strength < 0.5 else 3
    return (number * 3 + shown) * 7 + 3 + vote * steps
