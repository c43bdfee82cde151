"""Languages of prompt and answers."""

import gzip
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from pipeline.schemas import CONTENT_SIGNALS
from pipeline.signals import language
from pipeline.signals.language import add_language

COLUMNS = pl.DataFrame(pa.schema(CONTENT_SIGNALS["language"]).empty_table()).schema

RAW = Path(__file__).resolve().parents[3] / "shared" / "data" / "raw"


def pairs_of(*rows: tuple[str, str, str]) -> pl.DataFrame:
    def said(role: str, texts: list[str]) -> list[list[dict[str, str]]]:
        return [[{"role": role, "content": text}] for text in texts]

    prompts, chosen, rejected = (list(column) for column in zip(*rows, strict=True))
    return pl.DataFrame({"prompt": said("user", prompts), "chosen": said("assistant", chosen), "rejected": said("assistant", rejected)})


def languages(*texts: str) -> list[str | None]:
    return add_language(pairs_of(*(("", text, "") for text in texts)))["chosen_language"].to_list()


def test_common_languages_are_told_from_one_sentence() -> None:
    told = {
        "en": "Thank you very much for the long letter.",
        "de": "Guten Morgen, wie geht es dir heute?",
        "es": "Hola, ¿cómo estás? Me alegro de verte.",
        "fr": "C'est la vie, mon ami, que veux-tu.",
        "ro": "Bună ziua, aș dori să știu cum ajung la gară.",
        "zh": "我不知道这个问题的答案",
        "ja": "こんにちは、元気ですか",
        "ko": "안녕하세요, 잘 지내세요?",
        "ru": "Я не знаю ответа на этот вопрос.",
    }
    assert languages(*told.values()) == list(told)


@pytest.mark.parametrize(
    "text", ["", "Yes.", "42", "ok", "12 + 30 = 42", "你好", "```\nfor i in range(10):\n    print(i)\n```", "`git commit`"]
)
def test_what_is_too_short_or_no_prose_has_no_language(text: str) -> None:
    assert languages(text) == [None]


def test_many_texts_at_once_get_what_the_package_says_of_each() -> None:
    """One step of the automaton in all texts together is what it does in each alone."""
    words = ["casa", "the", "e\u0301te\u0301", "дом", "ÉCOLE", "家", "42", "\U0001f600", "von", "<a>", "\n", "안녕"]
    texts = ["", *(" ".join(words[(n * k) % len(words)] for k in range(1, 1 + n % 23)) for n in range(1, 200)), "ABC", "\U0001f600" * 9]

    found = language._probabilities([language._bytes_of(text) for text in texts])

    for text, row in zip(texts, found, strict=True):
        label, confidence = language._identifier().classify(text)
        assert row[language._identifier().nb_classes.index(label)] == pytest.approx(confidence, abs=1e-5)
        assert row.max() == pytest.approx(confidence, abs=1e-5)
    alone = [language._probabilities([language._bytes_of(text)])[0] for text in texts]
    assert all((one == row).all() for one, row in zip(alone, found, strict=True))  # bit for bit


def test_code_and_addresses_inside_prose_do_not_count() -> None:
    code = "```python\nwhile the_list_is_not_empty: print('this is the next one of the list')\n```"
    text = f"Así se hace:\n{code}\nEso es todo, espero que te sirva."
    assert languages(text) == ["es"]


def test_traditional_and_regional_chinese_have_one_code() -> None:
    assert languages("繁體中文的句子也是中文", "我哋今日去邊度食飯好呢") == ["zh", "zh"]


def test_a_prompt_has_the_language_of_its_user_turns() -> None:
    system = {"role": "system", "content": "You are a helpful assistant that answers every question politely."}
    frame = pairs_of(("¿Cuál es la capital de Francia y por qué?", "", "")).with_columns(
        prompt=pl.Series([[system, {"role": "user", "content": "¿Cuál es la capital de Francia y por qué?"}]])
    )
    assert add_language(frame)["prompt_language"].to_list() == ["es"]


def test_answers_mismatch_only_when_both_languages_are_known() -> None:
    english, spanish = "It is the capital of the country.", "Es la capital del país y su ciudad más grande."
    frame = add_language(pairs_of(("", english, spanish), ("", english, english), ("", english, "42")))
    assert frame["language_mismatch"].to_list() == [True, False, False]


def test_rows_keep_their_order_and_their_columns() -> None:
    frame = pairs_of(("a", "b", "c"), ("d", "e", "f"))
    told = add_language(frame)
    assert told.columns == [*frame.columns, *COLUMNS]
    assert {name: told.schema[name] for name in COLUMNS} == COLUMNS
    assert told.select(frame.columns).equals(frame)
    assert add_language(frame.clear()).schema == told.schema


@pytest.mark.skipif(not RAW.is_dir(), reason="../shared/data is not there: the real files do not ship with the repository")
@pytest.mark.parametrize(("name", "language"), [("dpo_en_demo", "en"), ("dpo_zh_demo", "zh")])
def test_answers_of_real_data_are_told_right(name: str, language: str) -> None:
    rows = json.loads(gzip.decompress((RAW / "llama_factory" / f"{name}.json.gz").read_bytes()))
    told = pl.Series(languages(*(row["chosen"]["value"] for row in rows)))

    # The others answer in another language, as they were asked to, or are cut out of a table.
    assert (told == language).sum() >= 0.97 * told.count()
    assert told.count() >= 0.9 * len(rows)  # "Yes.", "B", a number: nothing to tell from
