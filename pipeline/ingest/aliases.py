"""Names that fields, roles and verdicts go by in public data sets. Compared without case, with `-` and spaces as `_`."""

from typing import Final

# Slot of FieldsConfig -> names, best first.
SLOTS: Final[dict[str, tuple[str, ...]]] = {
    "prompt": (
        "orig_instruction", "prompt", "question", "instruction", "input.messages", "input", "query", "user_prompt", "messages",
        "conversation", "conversations", "context_messages", "post", "history", "trajectory", "question_body",
    ),
    "history": ("history",),
    "system": ("system", "system_prompt", "system_message"),
    "tools": ("tools", "functions", "input.tools"),
    "chosen": (
        "chosen", "chosen_response", "response_chosen", "answer_chosen", "chosen_messages", "chosen_answer", "preferred_response",
        "preferred_answer", "preferred_output", "chosen_story", "good_edited_response",
    ),
    "rejected": (
        "rejected", "rejected_response", "response_rejected", "answer_rejected", "rejected_messages", "rejected_answer",
        "dispreferred_response", "dispreferred_answer", "dispreferred_output", "unpreferred_response", "non_preferred_output",
        "rejected_story", "bad_edited_response",
    ),
    "winner": (
        "winner", "label", "preference", "preferred", "verdict", "choice", "vote", "better", "judgement", "judgment", "outcome",
        "chosen_side", "result", "winning_side", "better_response_id", "better_response", "preferred_response_id",
        "safer_response_id", "overall_preference", "preference_strength", "pref", "overall_pref", "orig_preference",
    ),
    "votes": (
        "votes", "annotations", "judgements", "judgments", "labels", "individual_preference", "individual_preferences",
        "all_preferences_unprocessed",
    ),
    "annotator": (
        "annotator", "annotator_id", "worker", "worker_id", "user_id", "rater", "rater_id", "judge", "judge_id", "labeler",
        "labeler_id", "labeller", "judge_model", "assessor", "assessor_id", "participant_id",
    ),
    "response": (
        "orig_response", "response", "completion", "answer", "output", "reply", "generation", "generated_text", "model_response",
        "model_output", "assistant_response", "summary",
    ),
    "prefix": ("prefix", "shared_prefix", "initial_reason_steps", "partial_answer", "partial_response", "previous_steps", "steps"),
    "order": ("order", "ranking", "preference_order", "ranked_indices", "best_to_worst"),
    "pair_verdicts": ("pair_verdicts", "preference", "preferences", "pairwise", "pairwise_preferences", "comparisons"),
    "model_chosen": ("model_chosen", "chosen_model", "chosen_generator"),
    "model_rejected": ("model_rejected", "rejected_model", "rejected_generator"),
    "strength": ("strength", "preference_strength"),
    "shown_first": ("shown_first", "first_shown"),
    "criterion": ("criterion", "criteria", "aspect", "dimension"),
    "context": ("orig_criteria", "context", "principle", "rubric"),
    "rationale": (
        "rationale", "reason", "reasoning", "explanation", "justification", "critique", "preference_statement", "gpt_reason",
        "raw_completion.concise_explanation", "orig_feedback", "judge_output", "judge_response", "raw_judgment", "raw_judgement",
    ),
    "split": ("split", "source_split"),
    "judged_at": ("judged_at", "timestamp", "submitted", "submitted_at", "created_at", "tstamp"),
}

# Fields that mean something only beside another slot's field: `input` is part of the prompt when `instruction` is there.
PROMPT_TAIL: Final = ("instruction", "input")
RATIONALE_TAIL: Final = ("preference_statement", "preference_elaboration")

_SIDE_WORDS: Final = (
    "response", "answer", "completion", "output", "candidate", "text", "conversation", "messages", "reply", "summary", "argument",
    "human_ref", "story", "orig_response",
)
_SIDE_MARKS: Final = (("a", "b"), ("1", "2"), ("0", "1"))

# Names of the two answers of an A/B comparison.
SIDES: Final[tuple[tuple[str, str], ...]] = (
    *((f"{word}_{a}", f"{word}_{b}") for a, b in _SIDE_MARKS for word in _SIDE_WORDS),
    *((f"{word}{a}", f"{word}{b}") for a, b in (("1", "2"), ("0", "1")) for word in _SIDE_WORDS),
    *((f"{a}_{word}", f"{b}_{word}") for a, b in (("left", "right"), ("first", "second")) for word in _SIDE_WORDS),
    *((f"{word}_{a}", f"{word}_{b}") for a, b in (("left", "right"),) for word in _SIDE_WORDS),
    *((f"model_{a}_{word}", f"model_{b}_{word}") for a, b in _SIDE_MARKS for word in _SIDE_WORDS),
    *((word, f"baseline_{word}") for word in ("response", "answer", "completion", "output")),
    ("model_output", "baseline_output"), ("model_response", "baseline_response"), ("answer1_body", "answer2_body"),
)

_MODEL_WORDS: Final = ("model", "generator", "system", "model_name", "response_model")

# Names of the models that wrote them, by the mark their sides carry.
MODELS: Final[tuple[tuple[str, str], ...]] = (
    *((f"{word}_{a}", f"{word}_{b}") for a, b in (*_SIDE_MARKS, ("left", "right")) for word in _MODEL_WORDS),
    *((f"{word}{a}", f"{word}{b}") for a, b in (("1", "2"), ("0", "1")) for word in _MODEL_WORDS),
    ("response_0_source", "response_1_source"), ("answer1_model_id", "answer2_model_id"), ("model", "baseline"),
)

_PROMPT_WORDS: Final = ("prompt", "instruction", "question", "query", "input")

# Names of two prompts, one for each answer: of an A/B comparison, and of a chosen and a rejected answer.
SIDED_PROMPTS: Final[tuple[tuple[str, str], ...]] = (
    *((f"{word}_{a}", f"{word}_{b}") for a, b in (*_SIDE_MARKS, ("left", "right")) for word in _PROMPT_WORDS),
    *((f"{word}{a}", f"{word}{b}") for a, b in (("1", "2"), ("0", "1")) for word in _PROMPT_WORDS),
)
CHOSEN_PROMPTS: Final[tuple[tuple[str, str], ...]] = (
    *((f"{word}_chosen", f"{word}_rejected") for word in _PROMPT_WORDS),
    *((f"chosen_{word}", f"rejected_{word}") for word in _PROMPT_WORDS),
)

# Fields that say a won, b won, it is a tie: one of the three is set.
WINNER_FLAGS: Final[tuple[tuple[str, str, str], ...]] = tuple(
    (f"winner_{side}a", f"winner_{side}b", "winner_tie") for side in ("model_", "response_", "")
)

# Fields with a score for each answer; the higher one wins.
SIDE_SCORES: Final[tuple[tuple[str, str], ...]] = (
    *((f"{word}_{a}", f"{word}_{b}") for a, b in (*_SIDE_MARKS, ("left", "right")) for word in ("score", "reward")),
    *((f"{word}{a}", f"{word}{b}") for a, b in (("1", "2"), ("0", "1")) for word in ("score", "reward")),
)

# Fields of graded preferences, where signed integers up to 3 are grades: HelpSteer2 and 3.
GRADED_FIELDS: Final = (
    "preference_strength", "overall_preference", "preference", "individual_preference.score", "individual_preferences.score",
    "all_preferences_unprocessed.strength",
)

# Members of an object that hold its text, where the object is no message.
TEXT_MEMBERS: Final = ("full_text", "text")

# Fields that each hold one annotator's vote.
VOTE_COLUMN: Final = r"(?i)^(annotator|rater|worker|judge|labeler|labeller|vote)[_ -]?\d+$"

# Inside one listed vote.
VOTE_SLOTS: Final[dict[str, tuple[str, ...]]] = {
    "vote_winner": (
        "value", "vote", "winner", "label", "preference", "verdict", "choice", "preferred", "judgement", "judgment", "outcome",
        "score", "strength", "overall_pref", "pref",
    ),
    "vote_annotator": (
        "worker", "worker_id", "annotator", "annotator_id", "rater", "rater_id", "judge", "judge_id", "user_id", "labeler", "name",
        "assessor", "participant_id", "evaluator",
    ),
    "vote_rationale": ("reason", "rationale", "reasoning", "justification", "explanation", "critique", "feedback"),
    "vote_strength": ("strength", "preference_strength"),
    "vote_judged_at": ("submitted", "judged_at", "timestamp", "submitted_at", "created_at"),
}

# Names of scores that say on what; the criterion's name is the field's.
CRITERIA: Final = frozenset(
    (
        "helpfulness", "correctness", "coherence", "complexity", "verbosity", "honesty", "truthfulness", "instruction_following",
        "safety", "harmlessness", "quality", "overall", "overall_quality", "accuracy", "relevance", "fluency", "factuality",
        "consistency", "completeness", "clarity", "usefulness", "creativity", "depth", "conciseness", "readability",
        "informativeness", "faithfulness", "groundedness", "engagement", "empathy", "coverage", "reasoning",
    )
)  # fmt: skip

# Names of scores that do not say on what.
PLAIN_SCORES: Final = (
    "score", "rating", "grade", "stars", "reward", "rm_score", "reward_score", "likert", "points", "human_score", "pm_score", "upvotes",
    "orig_score",
)

# Names of scores of the nodes of a search tree, inside a candidate.
NODE_VALUES: Final = ("value", "q_value", "q")

# Names of thumbs, whose 0, 1 and -1 are no grades.
THUMBS: Final = (
    "label", "thumb", "thumbs", "thumbs_up", "feedback", "liked", "like", "upvoted", "vote", "is_good", "desirable", "user_feedback",
    "kto_tag",
)

# Who wrote the one answer of a row.
WRITERS: Final = ("model", "model_name", "generator", "response_model", "policy", "source_model")

# Names of what holds several answers to one prompt, and of a number of fields with one answer each (`prediction 1` ...).
CANDIDATES: Final = (
    "completions", "candidates", "responses", "answers", "generations", "outputs", "summaries", "replies", "predictions", "samples",
    "model_responses", "model_outputs",
)
NUMBERED: Final = r"(?i)^(response|answer|completion|output|candidate|prediction|generation|reply|summary|text|sample)[_ -]?(\d+)$"
NUMBERED_SCORE: Final = r"(?i)^(score|rating|reward)[_ -]?(\d+)$"

# Inside one candidate.
CANDIDATE_SLOTS: Final[dict[str, tuple[str, ...]]] = {
    "candidate_text": (
        "response", "answer", "completion", "text", "output", "generation", "summary", "reply", "candidate", "content", "message",
        "messages", "conversation",
    ),
    "candidate_model": ("model", "model_name", "model_id", "generator", "policy", "name"),
    "candidate_rank": ("rank", "overall_rank", "ranking", "place"),
    "candidate_rationale": ("rationale", "critique", "reason", "justification", "explanation", "comment"),
}

# Beside the candidates: a list with one value for each.
BESIDE_SLOTS: Final[dict[str, tuple[str, ...]]] = {
    "candidate_scores": ("scores", "ratings", "rewards", "score", "rating", "overall_scores", "score_list"),
    "candidate_model": ("models", "model_names", "generation_models", "generators", "policies"),
    "candidate_rank": ("ranks", "rank"),
    "candidate_rationale": ("rationales", "critiques", "reasons", "justifications", "explanations"),
}

# The index (or name) of the best candidate.
BEST: Final = (
    "choice", "best", "best_index", "best_response", "best_answer", "best_completion", "chosen_index", "selected", "selected_index",
    "preferred", "preference", "winner", "label",
)


def plain(name: str) -> str:
    """A field name as aliases are compared."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")
