"""Names that fields, roles and verdicts go by in public data sets. Compared without case, with `-` and spaces as `_`."""

from typing import Final

# Slot of FieldsConfig -> names, best first.
SLOTS: Final[dict[str, tuple[str, ...]]] = {
    "prompt": (
        "prompt", "question", "instruction", "input", "query", "user_prompt", "messages", "conversation", "conversations",
        "context_messages", "post", "history",
    ),
    "system": ("system", "system_prompt", "system_message"),
    "tools": ("tools", "functions"),
    "chosen": (
        "chosen", "chosen_response", "response_chosen", "answer_chosen", "chosen_messages", "chosen_answer", "preferred_response",
        "preferred_answer", "preferred_output",
    ),
    "rejected": (
        "rejected", "rejected_response", "response_rejected", "answer_rejected", "rejected_messages", "rejected_answer",
        "dispreferred_response", "dispreferred_answer", "dispreferred_output", "unpreferred_response",
    ),
    "winner": (
        "winner", "label", "preference", "preferred", "verdict", "choice", "vote", "better", "judgement", "judgment", "outcome",
        "chosen_side", "result", "winning_side", "better_response_id", "better_response", "preferred_response_id",
        "safer_response_id",
    ),
    "votes": ("votes", "annotations", "judgements", "judgments", "labels"),
    "annotator": (
        "annotator", "annotator_id", "worker", "worker_id", "user_id", "rater", "rater_id", "judge", "judge_id", "labeler",
        "labeler_id", "labeller", "judge_model",
    ),
    "model_chosen": ("model_chosen", "chosen_model", "chosen_generator"),
    "model_rejected": ("model_rejected", "rejected_model", "rejected_generator"),
    "strength": ("strength", "preference_strength"),
    "shown_first": ("shown_first", "first_shown"),
    "criterion": ("criterion", "criteria", "aspect", "dimension"),
    "context": ("context", "principle", "rubric"),
    "rationale": ("rationale", "reason", "explanation", "justification"),
    "split": ("split", "source_split"),
    "judged_at": ("judged_at", "timestamp", "submitted", "submitted_at", "created_at", "tstamp"),
}

# Fields that mean something only beside another slot's field: `input` is part of the prompt when `instruction` is there.
PROMPT_TAIL: Final = ("instruction", "input")

_SIDE_WORDS: Final = ("response", "answer", "completion", "output", "candidate", "text", "conversation", "reply", "summary")
_SIDE_MARKS: Final = (("a", "b"), ("1", "2"), ("0", "1"))

# Names of the two answers of an A/B comparison.
SIDES: Final[tuple[tuple[str, str], ...]] = (
    *((f"{word}_{a}", f"{word}_{b}") for a, b in _SIDE_MARKS for word in _SIDE_WORDS),
    *((f"{word}{a}", f"{word}{b}") for a, b in (("1", "2"), ("0", "1")) for word in _SIDE_WORDS),
    *((f"{a}_{word}", f"{b}_{word}") for a, b in (("left", "right"), ("first", "second")) for word in _SIDE_WORDS),
    *((f"{word}_{a}", f"{word}_{b}") for a, b in (("left", "right"),) for word in _SIDE_WORDS),
)

_MODEL_WORDS: Final = ("model", "generator", "system", "model_name", "response_model")

# Names of the models that wrote them, by the mark their sides carry.
MODELS: Final[tuple[tuple[str, str], ...]] = (
    *((f"{word}_{a}", f"{word}_{b}") for a, b in (*_SIDE_MARKS, ("left", "right")) for word in _MODEL_WORDS),
    *((f"{word}{a}", f"{word}{b}") for a, b in (("1", "2"), ("0", "1")) for word in _MODEL_WORDS),
)

# Fields that each hold one annotator's vote.
VOTE_COLUMN: Final = r"(?i)^(annotator|rater|worker|judge|labeler|labeller|vote)[_ -]?\d+$"

# Inside one listed vote.
VOTE_SLOTS: Final[dict[str, tuple[str, ...]]] = {
    "vote_winner": (
        "value", "vote", "winner", "label", "preference", "verdict", "choice", "preferred", "judgement", "judgment", "outcome",
    ),
    "vote_annotator": (
        "worker", "worker_id", "annotator", "annotator_id", "rater", "rater_id", "judge", "judge_id", "user_id", "labeler", "name",
    ),
    "vote_rationale": ("reason", "rationale", "justification", "explanation"),
    "vote_strength": ("strength", "preference_strength"),
    "vote_judged_at": ("submitted", "judged_at", "timestamp", "submitted_at", "created_at"),
}

# Role as sources spell it -> the four roles of a message.
ROLES: Final[dict[str, str]] = (
    dict.fromkeys(("system", "developer"), "system")
    | dict.fromkeys(("user", "human", "prompter"), "user")
    | dict.fromkeys(("assistant", "gpt", "bot", "model", "ai", "chatbot"), "assistant")
    | dict.fromkeys(("tool", "function", "observation", "ipython"), "tool")
)


def plain(name: str) -> str:
    """A field name as aliases are compared."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")
