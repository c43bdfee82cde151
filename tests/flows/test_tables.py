"""What a query prints: a table where it fits, blocks where it does not, nothing that steers a terminal."""

import polars as pl

from flows.tables import ROWS, render

FRAME = pl.DataFrame({"source": ["arena", "b"], "n": [12, None], "share": [0.123456, 20000.0], "sure": [True, None], "ids": [["x"], []]})


def test_what_fits_is_a_table_with_numbers_to_the_right() -> None:
    assert render(FRAME, 80).splitlines() == [
        "source   n     share  sure  ids",
        "------  --  --------  ----  -----",
        'arena   12    0.1235  true  ["x"]',
        "b        -  20,000.0  -     []",
        "2 row(s)",
    ]


def test_what_does_not_fit_is_one_block_a_row() -> None:
    assert render(FRAME.select("source", "share"), 14).splitlines() == [
        "-- row 1 -----",
        "source  arena",
        "share   0.1235",
        "-- row 2 -----",
        "source  b",
        "share   20,000.0",
        "2 row(s)",
    ]


def test_the_widest_table_that_fits_has_the_width_of_the_screen() -> None:
    assert render(FRAME, 33).startswith("source ")
    assert render(FRAME, 32).startswith("-- row 1 ")


def test_long_text_is_cut_in_a_table_and_less_so_in_a_block() -> None:
    long = pl.DataFrame({"text": ["x" * 600]})

    assert max(len(line) for line in render(long, 200).splitlines()) == 100
    assert f"{'x' * 497}...\n" in render(long, 50)


def test_control_characters_become_spaces() -> None:
    assert "a b  [31m" in render(pl.DataFrame({"text": ["a\nb \x1b[31m"]}), 80)


def test_only_the_first_rows_are_shown_and_all_are_counted() -> None:
    many = render(pl.DataFrame({"n": range(ROWS + 1000)}), 80).splitlines()

    assert len(many) == ROWS + 3
    assert many[-1] == "1,100 row(s); the first 100 are shown, --output FILE.csv has all"


def test_no_rows_still_name_the_columns() -> None:
    assert render(FRAME.clear(), 80).splitlines()[0].split() == FRAME.columns
    assert render(FRAME.clear(), 10).splitlines() == ["0 row(s)"]
