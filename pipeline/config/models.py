"""What is asked of language models: which servers, for how much money, which verdicts and which rationales."""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from pipeline.config.parts import Name, Part

# Fields of a request's body that this pipeline sets, or that would bring more, or in another form, than was reserved for and is read.
_BODY = {
    "model",
    "messages",
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "response_format",
    "stream",
    "stream_options",
    "n",
    "best_of",
}
_SECRET = re.compile(r"(?i)api.?key|authorization|password|secret|credential|bearer")
_Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class PriceConfig(Part):
    """What an endpoint asks for a million tokens, in any one money."""

    input: float = Field(default=0.0, ge=0.0, allow_inf_nan=False, description="Per million tokens of questions.")
    output: float = Field(default=0.0, ge=0.0, allow_inf_nan=False, description="Per million tokens of answers.")


class EndpointConfig(Part):
    """A language model behind an OpenAI-compatible server."""

    name: Name = Field(description="What `judges:` and `rationales:` call it.")
    base_url: str = Field(min_length=1, description="E.g. http://127.0.0.1:8000/v1; without a key in it.")
    model: _Words = Field(description="The model's name at that server.")
    key_env: str | None = Field(default=None, description="Environment variable with the key; none is sent when left out.")
    concurrency: int = Field(default=16, ge=1, le=4096, description="Requests in flight at most.")
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1, description="Of questions and, at their most, answers.")
    timeout_seconds: float = Field(default=120.0, gt=0.0, allow_inf_nan=False, description="Of one request.")
    retries: int = Field(
        default=6, ge=0, le=50, description="After failures that may pass: rate limits, server errors, timeouts, lost connections."
    )
    structured: Literal["auto", "json_schema", "json_object", "none"] = Field(
        default="auto",
        description="How an answer's form is asked for besides in words. auto: by JSON schema, and by less where the server refuses that.",
    )
    context_tokens: int = Field(default=8192, ge=256, description="Tokens of question and answer that the model takes.")
    price: PriceConfig = Field(default_factory=PriceConfig)
    extra: dict[str, Any] = Field(default_factory=dict, description="Further fields of the request's body, e.g. {reasoning_effort: low}.")
    batch: bool = Field(default=False, description="Send questions as batch files, answered within a day for less.")
    batch_price: float = Field(default=0.5, ge=0.0, le=1.0, description="Share of the price that batch files cost.")

    @model_validator(mode="after")
    def _url_without_secrets(self) -> "EndpointConfig":
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not _has_port(self.base_url) or not self.base_url.isprintable():
            raise ValueError(f"base_url {self.base_url.rsplit('@', 1)[-1]!r} is no http or https address, e.g. http://127.0.0.1:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("base_url must hold no user, password, query or fragment; name the key's environment variable with key_env")
        if parts.path.rstrip("/").endswith("/completions"):
            raise ValueError("base_url must end before /chat/completions, e.g. http://127.0.0.1:8000/v1")
        if self.key_env is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.key_env):
            # What stands there may be the key itself, so it is not said.
            raise ValueError("key_env must be the name of an environment variable, such as OPENAI_API_KEY; never the key itself")
        if ours := _BODY & set(self.extra):
            raise ValueError(f"extra must not set {', '.join(sorted(ours))}: that is set elsewhere")
        if secret := next((key for key in _keys(self.extra) if _SECRET.search(key)), None):
            raise ValueError(f"extra must not hold {secret!r}: configs are published; name the key's environment variable with key_env")
        try:
            json.dumps(self.extra, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError("extra must hold what JSON can say: texts, finite numbers, true, false, null, lists and mappings") from None
        return self


def _has_port(url: str) -> bool:
    """Whether a URL's port, if it has one, is a number that a port can be."""
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _keys(value: Any) -> Iterator[str]:
    """All keys in a value, at any depth."""
    if isinstance(value, dict):
        yield from map(str, value)
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from _keys(one)


class BudgetConfig(Part):
    """Caps on what the answers that a dataset asks for have cost, now and in earlier runs; failed requests count too.

    Every request reserves the most it can cost before it is sent. Where a cap leaves pairs without an answer, the run publishes
    without them and exits with code 3; a higher cap goes on from there.
    """

    max_requests: int | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=0, description="Of questions and answers.")
    max_cost: float | None = Field(default=None, ge=0.0, allow_inf_nan=False, description="In the money of the endpoints' prices.")


class JudgeConfig(Part):
    """A language model that says which answer is better. Its verdicts are votes, through the gates of `consensus.judges`."""

    name: Name
    endpoint: Name
    method: Literal["direct", "self_reference", "checklist"] = Field(
        default="direct",
        description="self_reference: it answers the prompt itself first and holds both against that (2024). checklist: yes or no "
        "questions about each answer (TICK 2024).",
    )
    criteria: list[_Words] = Field(default_factory=list, description="Judged one by one; the verdict is their majority (CritiQ 2025).")
    samples: int = Field(default=1, ge=1, le=64, description="Verdicts asked for in each order; the majority counts.")
    orders: Literal["both", "one"] = Field(
        default="both", description="both: each pair is asked with its answers in either order, and a judge that names a place has no vote."
    )
    vote: Literal["majority", "scores"] = Field(
        default="majority", description="scores: samples vote by the sum of the scores they give (2025)."
    )
    meta: Name | None = Field(default=None, description="Endpoint of a model that throws out samples whose reasoning does not hold (2025).")
    gold_pairs: int = Field(
        default=200, ge=0, description="Pairs that three people or more decided, asked all the same: what the judge is audited by."
    )
    probes: int = Field(default=0, ge=0, description="Pairs on which an answer without content is tried against a real one; no votes.")
    only_if: str | None = Field(default=None, description="SQL condition: n_votes, n_annotators, votes_low, votes_high, votes_tie.")
    temperature: float | None = Field(default=None, ge=0.0, le=2.0, description="0 for one sample, 1 for several when left out.")
    max_output_tokens: int = Field(default=512, ge=16)


class RubricConfig(Part):
    """A criterion with five levels, as Prometheus (2023) has it."""

    criterion: _Words
    levels: list[_Words] = Field(min_length=5, max_length=5, description="What deserves 1, 2, 3, 4 and 5.")
    reference: str | None = Field(default=None, description="An answer that deserves a 5, where one fits all prompts.")


class RationalesConfig(Part):
    """Why the chosen answer is better, in words."""

    endpoint: Name | None = Field(default=None, description="Who writes them. None: `factors` alone, which needs no model.")
    kinds: list[Literal["factors", "general", "detailed", "rubric", "checklist"]] | None = Field(
        default=None,
        description="factors: measured differences in sentences. general: overall reasons. detailed: points to parts of the answers. "
        "rubric: scores by `rubrics`. checklist: yes or no questions. The first accepted is the pair's. When left out: detailed with an "
        "endpoint, else factors; []: none.",
    )
    stated: bool = Field(default=True, description="Rationales that the data brings are checked, and preferred to new ones.")
    labels: Literal["shown", "hidden"] = Field(
        default="shown", description="Whether the writer is told which answer was preferred; hidden: it says so itself."
    )
    verify: bool = Field(default=True, description="A second call must tell the label from the rationale, in both orders.")
    verifier: Name | None = Field(default=None, description="Endpoint of the second call; the writer's when left out.")
    units: bool = Field(
        default=False,
        description="Also precision and recall over atomic statements (MetaCritique 2024); pairs with a stated rationale are asked too.",
    )
    repairs: int = Field(default=1, ge=0, le=5, description="How often an answer that cannot be read, or was cut off, is asked for again.")
    only_if: str | None = Field(default=None, description="SQL condition over signals: which pairs get one from the endpoint.")
    rubrics: list[RubricConfig] = Field(default_factory=list, description="For the kind `rubric`.")
    min_chars: int = Field(default=40, ge=1)
    max_chars: int = Field(default=4000, ge=1)
    too_long: Literal["shorten", "refuse"] = Field(
        default="shorten",
        description="What goes beyond context_tokens: both answers are cut to one length, or it is left out.",
    )
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    max_output_tokens: int = Field(default=700, ge=16)

    @property
    def asked(self) -> list[str]:
        """The kinds, those left out filled in."""
        return (["factors"] if self.endpoint is None else ["detailed"]) if self.kinds is None else list(self.kinds)

    @model_validator(mode="after")
    def _kinds_can_be_written(self) -> "RationalesConfig":
        written = [kind for kind in self.asked if kind != "factors"]
        if written and self.endpoint is None:
            raise ValueError(f"kinds {', '.join(written)} need an endpoint, the name of one of `endpoints:`")
        if len(set(self.asked)) != len(self.asked):
            raise ValueError("kinds must differ")
        if ("rubric" in written) != bool(self.rubrics):
            raise ValueError("the kind rubric needs rubrics, and rubrics need the kind")
        if self.endpoint is None and (self.units or self.verifier is not None):
            raise ValueError(f"{'units' if self.units else 'verifier'} needs an endpoint, the name of one of `endpoints:`")
        if any(one in self.rubrics[:i] for i, one in enumerate(self.rubrics)):
            raise ValueError("rubrics must differ")
        if self.min_chars > self.max_chars:
            raise ValueError(f"min_chars {self.min_chars} is above max_chars {self.max_chars}")
        return self
