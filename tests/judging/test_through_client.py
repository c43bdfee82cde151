"""Judges asked over HTTP, through the client, at a server that misbehaves."""

from pathlib import Path

import polars as pl

from pipeline.config import BudgetConfig, EndpointConfig
from pipeline.judging.asking import ask, form, rounds
from pipeline.judging.reading import read
from pipeline.judging.verdicts import combine
from pipeline.llm.budget import Budget
from pipeline.llm.client import LanguageModel
from pipeline.store import Store
from tests.judging.rows import config, tally
from tests.llm.scripted import Script, scripted_server

PAIRS = tally(*((f"question {i}", "a short one", f"a much longer answer, number {i}") for i in range(20)))


def test_every_pair_has_a_verdict_or_a_reason_and_a_second_run_asks_nothing(tmp_path: Path) -> None:
    judge = config(samples=2)
    with scripted_server(Script(answer="tests.judging.scripted_judges:longer", mixed=["500", "prose", "cut_json"], share=0.3)) as server:
        endpoint = EndpointConfig(name="local", base_url=server.url, model="scripted")
        asked = pl.concat(ask(PAIRS, judge, endpoint, order, sample).kept for order, sample in rounds(judge))
        model = LanguageModel(endpoint, Store(str(tmp_path)), "d", Budget(BudgetConfig()))
        try:
            done = model.ask(form(judge), asked, lambda _: None)
            verdicts = read(asked, model.answers(form(judge), asked), done.failures, judge)
            again = model.ask(form(judge), asked, lambda _: None)
        finally:
            model.close()
    found = combine(verdicts, judge)
    right = found.filter(pl.col("verdict").is_not_null()).join(PAIRS, on="pair_id")
    low_is_longer = right.select(
        pl.col("low").list.first().struct.field("content").str.len_chars()
        > pl.col("high").list.first().struct.field("content").str.len_chars()
    ).to_series()

    assert again.sent == 0
    assert found.height == 2 * PAIRS.height
    assert found.filter(pl.col("verdict").is_null() & pl.col("reason").is_null()).is_empty()
    assert set(verdicts["reason"].drop_nulls()) == {"not_json"}  # of the faults, only prose is an answer
    assert right["verdict"].to_list() == low_is_longer.replace_strict({True: -1, False: 1}, return_dtype=pl.Int8).to_list()
