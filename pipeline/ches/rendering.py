"""Conversations -> text, as the model meets it in training -> tokens, or a reason why not."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.ches.boundaries import BoundaryTokenizer, Continued
from pipeline.ches.plain import PlainForm
from pipeline.ches.sequences import Sequences
from pipeline.ches.templates import ChatForm, NotRenderedError, shows
from pipeline.errors import ConfigError
from pipeline.texts import is_blank

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[dict[str, Any]]
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Rendered:
    """N conversations as R sequences of tokens.

    Attributes:
        sequences: of what can be scored.
        rows: int64 (R,), which conversation each is of; sorted.
        follow_ups: int64 (R,), which follow-up it ends with; 0 where it ends with the response.
        reasons: why a conversation has no sequence, (N,): `empty_answer`, `template_refused` (it raises), `template_breaks_prompt`
            (it writes turns of the prompt otherwise once there is a response, opens this one otherwise than others, or the response does
            not begin with the assistant's turn),
            `turn_lost` (it leaves out what a turn says), `no_prompt_token` (nothing predicts the first token) or
            `prompt_fills_window`. None: it has one.
        cut: bool (N,), whether tokens of the response lie beyond `max_length`.
    """

    sequences: Sequences
    rows: npt.NDArray[np.int64]
    follow_ups: npt.NDArray[np.int64]
    reasons: list[str | None]
    cut: npt.NDArray[np.bool_]


class Renderer:
    """One tokenizer and one way to write conversations.

    In mode `chat` the prompt is what the chat template makes of it, generation prompt included, and the response all that the
    template adds when it renders both: end-of-turn tokens, and what it puts behind them, belong to the response. These are the tokens
    that TRL's `DPOTrainer` (1.16) trains on, so log-probabilities are those of training, with three exceptions. Where the tokens of the
    prompt alone are not the beginning of the whole conversation's, because one token holds the prompt's end and the response's
    beginning, TRL's response begins where those of either response diverge; here it begins with that token, whatever the other
    response is. Where the template opens an answer otherwise than it writes one (`<think>` that an answer without reasoning lacks, or
    another header), TRL does the same; here it begins where it does for an answer of a few words, so that an answer with reasoning may
    begin with tokens that TRL counts to the prompt when the pair's other one reasons too. And templates that write today's date write
    26 July 2024. Text that reads like a special token is one, there and here.

    In mode `plain` it is the form of `pipeline.ches.plain`, between the token that the tokenizer begins every text with (if that is its
    `bos_token`) and its `eos_token`.

    Args:
        tokenizer: a fast one of transformers.
        template: `chat`, `plain`, or `auto`: chat where the tokenizer has a template.
        max_length: tokens of the longest sequence; what lies beyond is cut off on the right.
        name: the model's, for messages.

    Attributes:
        mode: `chat` or `plain`.
        max_length: as given.
        template_hash: 32 hex digits, of all that tokens depend on besides the conversation.

    Raises:
        ConfigError: the tokenizer is not fast; `chat`, and it has no template; or the template fails on a single user turn, or
            leaves out what it says.
    """

    mode: Literal["chat", "plain"]

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        template: Literal["auto", "chat", "plain"] = "auto",
        max_length: int = 2048,
        name: str = "the model",
    ) -> None:
        own: Any = tokenizer
        if not getattr(own, "is_fast", False):
            raise ConfigError(
                f"signals.ches.model: {name!r} has no fast tokenizer, and no other tells where a response begins. "
                "Expected tokenizer.json beside the weights: save it with transformers, or name another model."
            )
        if template == "chat" and not own.chat_template:
            raise ConfigError(
                f"signals.ches.template: 'chat', but the tokenizer of {name!r} has no chat template. "
                "Set `template: plain` for a base model, or save the tokenizer with its template."
            )
        self.max_length = max_length
        self._form: ChatForm | PlainForm
        if own.chat_template and template != "plain":
            self.mode = "chat"
            self._form = ChatForm(tokenizer, name)
            self._tokenizer = BoundaryTokenizer(tokenizer, max_length)
        else:
            self.mode = "plain"
            self._form = PlainForm()
            self._tokenizer = BoundaryTokenizer(tokenizer, max_length, *_frame(own))
        said = "\n".join([self.mode, self._form.definition, self._tokenizer.definition()])
        self.template_hash = hashlib.blake2b(said.encode(), digest_size=16).hexdigest()

    def responses(
        self, prompts: Sequence[Messages], tools: Sequence[str | None], responses: Sequence[Messages], groups: Sequence[int]
    ) -> Rendered:
        """Render N responses, each after its prompt.

        Args:
            prompts: messages: role, content, name, tool_calls (JSON), tool_call_id, reasoning_content; None is as good as absent.
            tools: definitions as JSON, or None.
            responses: the messages that follow.
            groups: rows with one number have the same prompt and tools.

        Raises:
            ValueError: the arguments differ in length.
        """
        if not len(prompts) == len(tools) == len(responses) == len(groups):
            raise ValueError(f"responses: {len(prompts)} prompts, {len(tools)} tools, {len(responses)} responses, {len(groups)} groups")
        _, firsts, numbers = np.unique(np.asarray(groups, np.int64), return_index=True, return_inverse=True)
        group_of, first_of = numbers.tolist(), firsts.tolist()
        lost, known, told = _each([False] * len(first_of), lambda group: self._prompt(prompts[first_of[group]], tools[first_of[group]]))
        heads = dict(zip(known.tolist(), told, strict=True))

        def whole(row: int) -> str:
            group = group_of[row]
            if group not in heads:
                raise NotRenderedError(str(lost[group]))
            head = heads[group]
            text = self._form.whole([*prompts[row], *responses[row]], tools[row])
            if not text.startswith(head):
                raise NotRenderedError("template_breaks_prompt")
            return self._shown(text, responses[row], None if prompts[row] else tools[row], len(head))

        reasons, rows, texts = _each(_empty(responses), whole)
        prefix = np.searchsorted(known, numbers[rows])
        begins = np.fromiter(map(len, told), np.int64, len(told))[prefix]
        bounded = self._tokenizer.bound(Continued(told, texts, prefix, begins))
        for row, reason in zip(rows.tolist(), bounded.reasons, strict=True):
            reasons[row] = reason
        cut = np.zeros(len(reasons), np.bool_)
        cut[rows] = bounded.cut
        kept = rows[bounded.kept]
        return Rendered(bounded.sequences, kept, np.zeros_like(kept), reasons, cut)

    def follow_ups(
        self, prompts: Sequence[Messages], tools: Sequence[str | None], responses: Sequence[Messages], follow_ups: Sequence[str]
    ) -> Rendered:
        """Render what a user may say after each of N responses.

        Only tokens with characters of the follow-up are scored, not those that the template puts around it. (The release of Aligning
        Language Models Using Follow-up Likelihood as Reward Signal, 2024, scores end tokens.) The prefix is the conversation up to and
        with the response. `cut` is false throughout.

        Args:
            prompts: as for `responses`.
            tools: likewise.
            responses: likewise.
            follow_ups: texts; white space around them does not count, and one that is there twice counts at its first place alone.

        Returns:
            All follow-ups of a response; or none, where one of them cannot be scored whole, and that one's reason.

        Raises:
            ConfigError: a follow-up is blank.
        """
        places: dict[str, int] = {}
        for place, text in enumerate(follow_ups):
            places.setdefault(text.strip(), place)
        if "" in places or not places:
            raise ConfigError(
                "signals.ches.follow_ups: a follow-up is blank, or there is none. Expected what a user may say after an answer."
            )

        def all_texts(row: int) -> tuple[str, list[str]]:
            before = [*prompts[row], *responses[row]]
            head = self._shown(self._form.whole(before, tools[row]), before, tools[row], 0)
            texts = [self._form.whole([*before, {"role": "user", "content": said}], tools[row]) for said in places]
            if any(text.count(said) <= head.count(said) for text, said in zip(texts, places, strict=True)):
                raise NotRenderedError("turn_lost")
            return head, texts

        reasons, rows, told = _each(_empty(responses), all_texts)
        many = len(places)
        texts = [text for _, each in told for text in each]
        sizes = np.tile(np.fromiter(map(len, places), np.int64, many), len(told))
        found = (text.rfind(said) for _, each in told for text, said in zip(each, places, strict=True))
        begins = np.fromiter(found, np.int64, len(texts))
        prefix = np.repeat(np.arange(len(told)), many)
        bounded = self._tokenizer.bound(Continued([head for head, _ in told], texts, prefix, begins, begins + sizes))
        for row, reason in zip(rows.tolist(), bounded.reasons[::many], strict=True):
            reasons[row] = reason
        which = np.tile(np.fromiter(places.values(), np.int64, many), len(told))
        return Rendered(bounded.sequences, rows[prefix[bounded.kept]], which[bounded.kept], reasons, np.zeros(len(reasons), np.bool_))

    def _prompt(self, messages: Messages, tools: str | None) -> str:
        return self._shown(self._form.prompt(messages, tools), messages, tools if messages else None, 0)

    def _shown(self, text: str, messages: Messages, tools: str | None, since: int) -> str:
        """The text, if it has what the messages say from a character on."""
        if self.mode == "chat" and not shows(text, messages, tools, since):
            raise NotRenderedError("turn_lost")
        return text


def _each(empty: list[bool], made: Callable[[int], _Made]) -> tuple[list[str | None], npt.NDArray[np.int64], list[_Made]]:
    """What is made of each row: why nothing is, or None; the rows of which something is, and that.

    A loop over rows: a chat template renders one conversation at a time.
    """
    reasons: list[str | None] = []
    rows: list[int] = []
    values: list[_Made] = []
    for row, nothing in enumerate(empty):
        try:
            if nothing:
                raise NotRenderedError("empty_answer")
            values.append(made(row))
            rows.append(row)
            reasons.append(None)
        except NotRenderedError as error:
            reasons.append(error.reason)
    return reasons, np.asarray(rows, np.int64), values


def _empty(responses: Sequence[Messages]) -> list[bool]:
    """Whether nothing visible is said in any turn of a response, and nothing called."""
    said = pl.Series(["\n".join(one.get("content") or "" for one in response) for response in responses], dtype=pl.String)
    calls = pl.Series([any(_calls(one) for one in response) for response in responses], dtype=pl.Boolean)
    return pl.DataFrame({"said": said, "calls": calls}).select(is_blank(pl.col("said")) & ~pl.col("calls")).to_series().to_list()


def _calls(message: dict[str, Any]) -> bool:
    return (message.get("tool_calls") or "").strip() not in {"", "[]", "{}", "null"}


def _frame(tokenizer: Any) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:  # noqa: ANN401 (transformers' base class lacks what the fast ones have)
    """Tokens before a plain text and after it."""
    first, last = tokenizer.bos_token_id, tokenizer.eos_token_id
    begins = first is not None and tokenizer("a b")["input_ids"][:1] == [first]
    return np.array([first] if begins else [], np.int32), np.array([] if last is None else [last], np.int32)
