"""Mistakes in what is asked of language models are told before anything is asked, and no secret is told with them."""

import math
from typing import Any

import pytest

from pipeline.config import PipelineConfig, parse_config
from pipeline.errors import ConfigError

ENDPOINT = {"name": "e", "base_url": "http://127.0.0.1:8000/v1", "model": "m"}
RUBRIC = {"criterion": "Kind?", "levels": ["1", "2", "3", "4", "5"]}
SECRET = "sk-planted-0123456789abcdef"


def parsed(**parts: Any) -> PipelineConfig:
    return parse_config({"dataset": "d", "sources": [{"name": "s", "uri": "x"}], "endpoints": [ENDPOINT], **parts}, "c")


def endpoint(**fields: Any) -> dict[str, Any]:
    return {"endpoints": [ENDPOINT | fields]}


def judge(**fields: Any) -> dict[str, Any]:
    return {"judges": [{"name": "j", "endpoint": "e", **fields}]}


def rationales(**fields: Any) -> dict[str, Any]:
    return {"rationales": fields}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"budget": {"max_cost": math.inf}}, "budget.max_cost: Input should be a finite number"),
        ({"budget": {"max_cost": math.nan}}, "budget.max_cost: Input should be"),
        (endpoint(price={"input": math.inf}), "endpoints.0.price.input: Input should be a finite number"),
        (endpoint(timeout_seconds=math.inf), "endpoints.0.timeout_seconds: Input should be a finite number"),
        (endpoint(model=" "), "endpoints.0.model: String should have at least 1 character"),
        (endpoint(base_url="127.0.0.1:8000"), "is no http or https address"),
        (endpoint(base_url="http://h:abc/v1"), "is no http or https address"),
        (endpoint(base_url="http://h:99999/v1"), "is no http or https address"),
        (endpoint(base_url="http://h/v1\x00"), "is no http or https address"),
        (endpoint(base_url=f"http://h/v1#{SECRET}"), "must hold no user, password, query or fragment"),
        (endpoint(base_url="http://h/v1/chat/completions"), "base_url must end before /chat/completions"),
        (endpoint(key_env=SECRET), "key_env must be the name of an environment variable"),
        (endpoint(key_env=""), "key_env must be the name of an environment variable"),
        (endpoint(extra={"best_of": 3}), "extra must not set best_of"),
        (endpoint(extra={"provider": [{"api_key": SECRET}]}), "extra must not hold 'api_key'"),
        (endpoint(extra={"top_p": math.nan}), "extra must hold what JSON can say"),
        (judge(criteria=["brief", " "]), "judges.0.criteria.1: String should have at least 1 character"),
        (judge(max_output_tokens=8192), "judges.j.max_output_tokens 8192 leaves no room for a question in the context_tokens 8192 of 'e'"),
        (rationales(endpoint="e", max_output_tokens=9000), "rationales.max_output_tokens 9000 leaves no room"),
        (rationales(units=True), "units needs an endpoint"),
        (rationales(verifier="e"), "verifier needs an endpoint"),
        (rationales(endpoint="e", kinds=["rubric"], rubrics=[RUBRIC, RUBRIC]), "rubrics must differ"),
    ],
)
def test_what_cannot_be_meant_is_refused_without_its_secret(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(**parts)

    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


def test_what_servers_take_besides_is_taken() -> None:
    extra = {"top_p": 0.9, "max_reasoning_tokens": 10, "chat_template_kwargs": {"enable_thinking": False}}
    assert parsed(**endpoint(key_env="OPENAI_API_KEY", extra=extra)).endpoints[0].extra == extra
