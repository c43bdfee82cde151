"""Arrow schemas, one per grain, and `conform()`.

Each schema says what one row is. Field metadata (`unit`, `range`, `source`) documents the columns that are numbers.
"""

from typing import Any, Final

import polars as pl
import pyarrow as pa

from pipeline.errors import SchemaError

MESSAGE = pa.struct(
    [
        pa.field("role", pa.string()),  # system, user, assistant, tool
        pa.field("content", pa.string()),  # "" when the message is a tool call alone
        pa.field("name", pa.string()),
        pa.field("tool_calls", pa.string()),  # JSON, as the source wrote it
        pa.field("tool_call_id", pa.string()),
        pa.field("reasoning_content", pa.string()),
    ]
)
MESSAGES = pa.list_(MESSAGE)
MESSAGE_FIELDS = [field.name for field in MESSAGE]
MESSAGES_PL = pl.List(pl.Struct(dict.fromkeys(MESSAGE_FIELDS, pl.String)))
STRINGS = pa.list_(pa.string())
# What reward models gave both answers; null where one gave no number. Sorted by model; one may stand there twice where sources differ.
MODEL_SCORES = pa.list_(pa.struct([("model", pa.string()), ("a", pa.float64()), ("b", pa.float64())]))
MODEL_SCORES_PL = pl.List(pl.Struct({"model": pl.String, "a": pl.Float64, "b": pl.Float64}))

# Role as sources spell it -> the four roles of a message.
ROLES: Final[dict[str, str]] = (
    dict.fromkeys(("system", "developer"), "system")
    | dict.fromkeys(("user", "human", "prompter"), "user")
    | dict.fromkeys(("assistant", "gpt", "bot", "model", "ai", "chatbot"), "assistant")
    | dict.fromkeys(("tool", "function", "observation", "ipython", "tool_response"), "tool")
)


def _required(name: str, kind: pa.DataType, **about: str) -> "pa.Field[Any]":
    return pa.field(name, kind, nullable=False, metadata=about or None)


def _optional(name: str, kind: pa.DataType, **about: str) -> "pa.Field[Any]":
    return pa.field(name, kind, nullable=True, metadata=about or None)


# One row = one annotator's verdict on one unordered pair of responses, as one source row states it.
JUDGEMENT = pa.schema(
    [
        _required("judgement_id", pa.string()),  # hash of content, verdict and annotator; never of row or file
        _required("pair_id", pa.string()),  # does not change when the sides swap
        _required("prompt_id", pa.string()),
        _required("prompt", MESSAGES),
        _optional("tools", pa.string()),  # JSON
        _required("response_a_id", pa.string()),
        _required("response_a", MESSAGES),
        _required("response_b_id", pa.string()),
        _required("response_b", MESSAGES),
        _optional("model_a", pa.string()),
        _optional("model_b", pa.string()),
        _required("outcome", pa.string()),  # a, b or tie
        _required("both_bad", pa.bool_()),
        _optional("strength", pa.float32(), unit="share", range="0 to 1"),
        _optional("shown_first", pa.string()),  # a or b
        _optional("model_scores", MODEL_SCORES),  # no part of the judgement's id; null: none
        _required("annotator_id", pa.string()),
        _required("annotator_kind", pa.string()),  # human, judge or reward_model
        _required("criterion", pa.string()),
        _optional("context", pa.string()),
        _optional("rationale", pa.string()),
        _required("source", pa.string()),
        _required("source_uri", pa.string()),
        _required("source_row", pa.int64(), unit="rows", range="0 is the file's first row"),
        _optional("source_split", pa.string()),
        _optional("judged_at", pa.string()),
        _optional("extra", pa.string()),  # JSON of the fields that no adapter mapped
        _required("normalised", STRINGS),  # what normalisation changed, e.g. prompt.line_ends
        _required("is_copy", pa.bool_()),  # another row states the same judgement
        _required("derived_from", STRINGS),  # rating ids, sorted; empty: the source states the judgement itself
        _optional("merged_into", pa.string()),  # the pair that counts this vote, where its own pair was merged as a near duplicate
        _optional("merged_a", pa.string()),  # the answer of that pair (response id) for which response_a stands
    ]
)

# One row = one annotator's score of one response on one criterion, as one source row states it.
RATING = pa.schema(
    [
        _required("rating_id", pa.string()),  # hash of content, score and annotator; never of row, file or scale
        _required("prompt_id", pa.string()),
        _required("prompt", MESSAGES),
        _optional("tools", pa.string()),
        _required("response_id", pa.string()),
        _required("response", MESSAGES),
        _optional("model", pa.string()),
        _required("score", pa.float64(), unit="points", range="score_min to score_max; higher is better"),
        _required("score_min", pa.float64(), unit="points", range="configured, stated, or the lowest of the source on this criterion"),
        _required("score_max", pa.float64(), unit="points", range="likewise, the highest"),
        _required("annotator_id", pa.string()),
        _required("annotator_kind", pa.string()),
        _required("criterion", pa.string()),
        _optional("context", pa.string()),
        _optional("rationale", pa.string()),
        _optional("list_id", pa.string()),  # the responses it was ranked among, with their ranks; null: the score stands by itself
        _required("flags", STRINGS),  # what is doubtful about the score, e.g. overall_score_misread; flagged ones are not compared
        _required("source", pa.string()),
        _required("source_uri", pa.string()),
        _required("source_row", pa.int64(), unit="rows", range="0 is the file's first row"),
        _optional("source_split", pa.string()),
        _optional("extra", pa.string()),  # JSON of the fields that no adapter mapped
        _required("normalised", STRINGS),  # what normalisation changed, e.g. response.line_ends
        _required("is_copy", pa.bool_()),  # another row states the same rating
    ]
)

# One row = one unreadable row, or one unreadable vote of a row.
QUARANTINE = pa.schema(
    [
        _required("record_id", pa.string()),
        _required("source", pa.string()),
        _required("source_uri", pa.string()),
        _required("source_row", pa.int64()),
        _required("reason", pa.string()),
        _optional("field", pa.string()),  # the field at fault, as the source names it
        _optional("detail", pa.string()),  # what was found and what was expected
        _optional("raw", pa.string()),  # the row as read, cut after 100,000 characters
    ]
)

# One row = what became of one input record.
LEDGER = pa.schema(
    [
        _required("record_id", pa.string()),
        _required("source", pa.string()),
        _required("source_uri", pa.string()),
        _required("source_row", pa.int64()),
        _required("fate", pa.string()),  # published, merged, dropped, quarantined
        _required("stage", pa.string()),
        _required("reason", pa.string()),
        _optional("score", pa.float64()),
        _optional("threshold", pa.float64()),
        _optional("detail", pa.string()),
        _optional("pair_id", pa.string()),
        _optional("witness_pair_id", pa.string()),
    ]
)

_SIDES = ("chosen", "rejected")


def _per_side(name: str, kind: pa.DataType, unit: str, range_: str, source: str) -> list["pa.Field[Any]"]:
    return [_required(f"{side}_{name}", kind, unit=unit, range=range_, source=source) for side in _SIDES]


# Signals that the config can switch off, by their key below `content:`; all null then.
CONTENT_SIGNALS: dict[str, list["pa.Field[Any]"]] = {
    "language": [
        *(_optional(f"{text}_language", pa.string(), unit="ISO 639-1", range="null: too short, or undecided", source="py3langid") for text in ("prompt", *_SIDES)),
        _optional("language_mismatch", pa.bool_(), unit="flag", range="both answers have a language, and not the same", source="py3langid"),
    ],
    "personal": [
        *(_optional(f"{text}_personal", pa.int64(), unit="findings", range="0 and up", source="pipeline.sensitive") for text in ("prompt", *_SIDES)),
        *(_optional(f"{text}_secrets", pa.int64(), unit="findings", range="0 and up", source="pipeline.sensitive") for text in ("prompt", *_SIDES)),
        _optional("sensitive_kinds", STRINGS, unit="kinds", range="secret, email, iban, card, ip, phone; in prompt or answers", source="pipeline.sensitive"),
    ],
}

_CHES = "Unintentional Unalignment: Likelihood Displacement in Direct Preference Optimization (2024)"
_DIFFICULTY = "Preference Learning Algorithms Do Not Learn Preference Rankings (2024)"

# Signals of hidden states and likelihoods, by the key below `signals.ches` that asks for them; null without it.
CHES_SIGNALS: dict[str, list["pa.Field[Any]"]] = {
    "backend: causal_lm": [
        _optional("ches", pa.float64(), unit="squared length of states", range="any; higher: more displacement expected", source=_CHES),
        _optional("ches_ln", pa.float64(), unit="squared length of a state", range="any; per token, comparable within one model only", source=_CHES),
        _optional("ches_missing", pa.string(), unit="reason", range="why there is no ches; null: there is, or none was asked for", source="pipeline.ches"),
        *(_optional(f"{side}_lm_tokens", pa.int64(), unit="tokens of the causal model", range="end of turn included, after any cut; 1 and up", source="pipeline.ches") for side in _SIDES),
        _optional("ches_cut", pa.bool_(), unit="flag", range="an answer goes on beyond max_length; the score is of its beginning", source="pipeline.ches"),
    ],
    "last_hidden: true": [_optional("last_hidden_inner", pa.float64(), unit="squared length of a state", range="any; a baseline, it does not tell displacement", source=_CHES)],
    "logps: true": [
        *(_optional(f"{side}_logp", pa.float64(), unit="nats", range="log-probability of the answer given the prompt, 0 and below", source="pipeline.ches") for side in _SIDES),
        *(_optional(f"{side}_logp_mean", pa.float64(), unit="nats a token", range="0 and below", source="pipeline.ches") for side in _SIDES),
        _optional("difficulty", pa.float64(), unit="nats", range="logp(rejected) - logp(chosen); high: hard to turn", source=_DIFFICULTY),
        _optional("reference_ranks_right", pa.bool_(), unit="flag", range="difficulty is below 0; null where it is 0", source=_DIFFICULTY),
    ],
    "weak_model": [*(_optional(f"{side}_density_ratio", pa.float64(), unit="nats", range="logp under model - logp under weak_model", source="CDR (2024)") for side in _SIDES)],
    "follow_ups": [*(_optional(f"{side}_follow_up", pa.float64(), unit="nats a token", range="mean of positive less mean of negative follow-ups", source="Aligning Language Models Using Follow-up Likelihood as Reward Signal (2024)") for side in _SIDES)],
    # The same formula over the sentence encoder's token states, which do not see the prompt: a proxy.
    "backend: encoder": [
        _optional("ches_encoder", pa.float64(), unit="squared length of states", range="any", source=f"pipeline.ches.encoder, after {_CHES}"),
        _optional("ches_encoder_ln", pa.float64(), unit="squared length of a state", range="any; per token", source=f"pipeline.ches.encoder, after {_CHES}"),
        _optional("ches_encoder_missing", pa.string(), unit="reason", range="why there is no ches_encoder; null: there is, or none was asked for", source="pipeline.ches.encoder"),
    ],
}

_RATIONALES = "Data-Centric Human Preference Optimization with Rationales (2024)"

# What rationales say of a pair; null where it has none.
RATIONALE_SIGNALS: list["pa.Field[Any]"] = [
    _optional("rationale_missing", pa.string(), unit="reason", range="why it has none, stated or written; null: it has one, or none was wanted", source="pipeline.rationale"),
    _optional("rationale_verdict", pa.float64(), unit="share", range="0 to 1, ties half; of the verdicts that a reader of the rationale gave, those for chosen", source="GPT Self-Supervision (2023)"),
    _optional("rationale_against", pa.bool_(), unit="flag", range="the rationale argues for the rejected answer: by its readers' verdicts, or its writer's", source="pipeline.rationale"),
    _optional("rationale_steady", pa.bool_(), unit="flag", range="readers give the same verdict whichever answer stands first", source="DMoERM (2024)"),
    _optional("rationale_leaks", pa.bool_(), unit="flag", range="the rationale names the better answer outright", source="pipeline.rationale"),
    _optional("rationale_near_copies", pa.int64(), unit="prompts", range="others whose rationale says the same; 0 and up", source="pipeline.rationale"),
    _optional("rationale_noise_score", pa.float64(), unit="probability", range="P(label wrong) from noise_score and what the rationale argues for", source=f"pipeline.rationale, after {_RATIONALES}"),
]  # fmt: skip

# Signals: one column each, computed by pipeline/signals from texts, votes and vectors. They never change a label.
SIGNALS = [
    # similarity: cosines of sentence embeddings; null when a text is empty
    _optional("cosine_chosen_rejected", pa.float64(), unit="cosine", range="-1 to 1", source="pipeline.signals.similarity"),
    _optional("cosine_prompt_chosen", pa.float64(), unit="cosine", range="-1 to 1", source="pipeline.signals.similarity"),
    _optional("cosine_prompt_rejected", pa.float64(), unit="cosine", range="-1 to 1", source="pipeline.signals.similarity"),
    # how much both answers say the same
    _required("edit_distance", pa.float64(), unit="share", range="edits of words and marks / the longer answer's, 0 to 1", source="pipeline.signals.equivalence"),
    _required("answers_jaccard", pa.float64(), unit="share", range="shared / all distinct word 5-grams, 0 to 1", source="pipeline.signals.equivalence"),
    _optional("bmas", pa.float64(), unit="cosine", range="-1 to 1; null: an answer has no tokens, or the encoder shows none", source="Mixed-R1 (2025)"),
    _required("answers_equivalent", pa.bool_(), unit="flag", range="cosine at least 0.95 or Jaccard at least 0.8, and no number, name or negation differs", source="Tomayto, Tomahto (2022)"),
    # decontamination
    _optional("contamination", pa.float64(), unit="share or cosine", range="highest hit with a benchmark prompt, at least its threshold; null: none", source="pipeline.decontaminate"),
    _optional("contaminated_by", pa.string(), unit="benchmark:row", range="null: none", source="pipeline.decontaminate"),
    # lengths
    *_per_side("chars", pa.int64(), "characters", "0 and up", "pipeline.signals.lengths"),
    *_per_side("tokens", pa.int64(), "tokens of the embedding model, uncut", "0 and up", "pipeline.signals.lengths"),
    _required("chars_gap", pa.int64(), unit="characters", range="chosen - rejected", source="pipeline.signals.lengths"),
    _required("tokens_gap", pa.int64(), unit="tokens", range="chosen - rejected", source="pipeline.signals.lengths"),
    _required("chars_ratio", pa.float64(), unit="ratio", range="shorter / longer, 0 to 1; 1 when both are empty", source="pipeline.signals.lengths"),
    _required("tokens_ratio", pa.float64(), unit="ratio", range="shorter / longer, 0 to 1; 1 when both are empty", source="pipeline.signals.lengths"),
    *(_optional(f"{side}_length_percentile", pa.float64(), unit="share", range="0: the shortest answer to the prompt, 1: the longest; null: the only one", source="When More is Less (2025)") for side in _SIDES),
    _required("prompt_tokens", pa.int64(), unit="tokens of content.truncation.tokenizer", range="0 and up", source="pipeline.signals.truncation"),
    _required("common_prefix_tokens", pa.int64(), unit="tokens of content.truncation.tokenizer", range="leading tokens that both answers share; 0 and up", source="pipeline.signals.truncation"),
    _required("identical_at_lengths", pa.list_(pa.int64()), unit="tokens", range="those of content.truncation.lengths at which both are one text", source="pipeline.signals.truncation"),
    # style: counts in the chosen answer less those in the rejected one
    *(_required(f"{name}_gap", pa.int64(), unit="marks", range="chosen - rejected", source=f"pipeline.signals.style: {about}") for name, about in (
        ("markdown", "headings, list items, bold, code blocks, tables"), ("citations", "[1], (Author, 2020), web addresses"),
        ("hedges", "English: perhaps, I think ..."), ("confidence", "English: certainly, clearly ..."),
    )),
    # what length does to votes
    _required("length_tie", pa.bool_(), unit="flag", range="slightly better, and longer by more than 500 characters", source="WildBench (2024)"),
    _required("p_chosen_length_controlled", pa.float64(), unit="probability", range="0.5 to 1; p_chosen without what length explains", source="after Length-Controlled AlpacaEval (2024)"),
    # votes
    _required("agreement", pa.float64(), unit="share", range="votes for the most frequent verdict / votes, 0 to 1", source="pipeline.signals.votes"),
    _required("vote_entropy", pa.float64(), unit="bits", range="0 to 1.585", source="pipeline.signals.votes"),
    _required("conflict", pa.bool_(), unit="flag", range="votes for both sides", source="pipeline.signals.votes"),
    _required("votes_admitted", pa.int64(), unit="votes", range="those that enter consensus; 0 and up", source="pipeline.consensus.judges"),
    _required("unaudited_votes", pa.int64(), unit="votes", range="of these: by judges who did not pass, where nobody else voted", source="pipeline.consensus.judges"),
    _required("posterior_entropy", pa.float64(), unit="bits", range="0 to 1.585; of chosen, rejected and tie, given the votes", source="pipeline.consensus"),
    _optional("cyclic_share", pa.float64(), unit="share", range="cyclic / decided triads of the prompt's answers, 0 to 1; null: no triad", source="Kendall & Babington Smith (1940)"),
    _optional("no_ranking", pa.string(), unit="sentence", range="why the prompt's answers have no single ranking; null: they may", source="pipeline.consensus.cycles"),
    # reward models: signals, no votes; null where no model scored both answers
    _required("rm_models", pa.int64(), unit="models", range="that scored both answers, constant ones left out; 0 and up", source="pipeline.signals.model_scores"),
    _optional("rm_mean", pa.float64(), unit="the models' points", range="mean of score(chosen) - score(rejected)", source="Secrets of RLHF II (2024)"),
    _optional("rm_std", pa.float64(), unit="the models' points", range="population standard deviation of these, 0 and up", source="Secrets of RLHF II (2024)"),
    _optional("rm_agreement", pa.float64(), unit="share", range="of the models that score chosen higher, equal ones half; 0 to 1", source="Secrets of RLHF II (2024)"),
    _optional("rm_percentile", pa.float64(), unit="share", range="of the data set's pairs with a lower rm_mean, 0 to 1", source="Secrets of RLHF II (2024)"),
    # peer review: models that learn from the other pairs' labels and never see the pair's prompt; null: too few pairs
    _optional("peer_probability", pa.float64(), unit="probability", range="P(chosen is better) by content alone, 0 to 1", source="pipeline.noise, after Two Minds Better Than One (2025)"),
    _optional("peer_disagreement", pa.float64(), unit="probability", range="between two peers that learned from disjoint pairs, 0 to 1", source="pipeline.noise"),
    _optional("neighbour_agreement", pa.float64(), unit="share", range="how far labels under the same prompt point the same way, 0 to 1; null: none", source="pipeline.noise"),
    _optional("peer_verdict", pa.string(), unit="verdict", range="keep, ambiguous (one of two peers objects), suspect (both do)", source="Two Minds Better Than One (2025)"),
    *(field for fields in CHES_SIGNALS.values() for field in fields),
    # near duplicates of the whole comparison
    _required("near_duplicates", pa.int64(), unit="pairs", range="near duplicates whose votes this pair counts; 0 and up", source="pipeline.dedup"),
    _required("near_duplicate_conflict", pa.bool_(), unit="flag", range="a near duplicate of it says something else, or was judged the other way", source="pipeline.dedup"),
    _optional("near_duplicate_of", pa.string(), unit="pair id", range="the nearest of those it conflicts with; null: none", source="pipeline.dedup"),
    # degenerate answers (methods: master keys, null and injected responses, mechanical degeneracy)
    _required("identical_answers", pa.bool_(), unit="flag", range="chosen and rejected have equal text", source="pipeline.signals.degenerate"),
    *_per_side("empty", pa.bool_(), "flag", "no visible character and no tool call", "pipeline.signals.degenerate"),
    *_per_side("degenerate", pa.bool_(), "flag", "no content: only punctuation, an opener, or next to nothing", "One Token to Fool LLM-as-a-Judge (2025)"),
    *_per_side("injected", pa.bool_(), "flag", "judge-template text inside the answer", "Cheating Automatic LLM Benchmarks (2024)"),
    *_per_side("repeated_prompts", pa.int64(), "prompts", "unrelated prompts of one source with exactly this answer; 0 below 3", "Cheating Automatic LLM Benchmarks (2024)"),
    *_per_side("near_repeated_prompts", pa.int64(), "prompts", "unrelated prompts of one source with this answer or a near copy; 0 below 3", "pipeline.signals.repeats"),
    *(_optional(f"{side}_distinct_share", pa.float64(), unit="share", range="distinct / all answers of at least 6 words of its model in one source; null below 20", source="pipeline.signals.repeats") for side in _SIDES),
    *(_optional(f"{side}_trigram_uniqueness", pa.float64(), unit="share", range="distinct word trigrams / word trigrams; null: there are none", source="pipeline.signals.degenerate") for side in _SIDES),
    *_per_side("garbled_start", pa.bool_(), "flag", "more than 30 tokens at the start, most of them no words", "Cheating Automatic LLM Benchmarks (2024)"),
    *_per_side("repetitive", pa.bool_(), "flag", "trigram uniqueness below 0.3 over at least 50 trigrams", "pipeline.signals.degenerate"),
    *_per_side("copies_prompt", pa.bool_(), "flag", "holds at least 80 % of the last user turn's word trigrams", "pipeline.signals.degenerate"),
    *_per_side("truncated_tail", pa.bool_(), "flag", "ends in a colon", "A-LoL (2023)"),
    *_per_side("role_marker", pa.bool_(), "flag", "a speaker marker inside the text", "pipeline.signals.degenerate"),
    *_per_side("unreadable_share", pa.float64(), "share", "replacement, control and private-use characters, 0 to 1", "pipeline.signals.degenerate"),
    *CONTENT_SIGNALS["language"],
    *CONTENT_SIGNALS["personal"],
    *RATIONALE_SIGNALS,
]

# One row = all judgements, on one criterion, of the same two responses to the same prompt.
PAIR = pa.schema(
    [
        _required("pair_id", pa.string()),
        _required("prompt_id", pa.string()),
        _required("criterion", pa.string()),
        _optional("context", pa.string()),
        _required("prompt", MESSAGES),
        _optional("tools", pa.string()),
        _required("chosen", MESSAGES),
        _required("rejected", MESSAGES),
        _required("chosen_id", pa.string()),
        _required("rejected_id", pa.string()),
        _required("chosen_models", STRINGS),
        _required("rejected_models", STRINGS),
        _required("n_votes", pa.int64(), unit="votes", range="1 and up"),
        _required("n_annotators", pa.int64(), unit="annotators", range="1 and up; each unnamed vote counts as one"),
        _required("votes_chosen", pa.int64(), unit="votes"),
        _required("votes_rejected", pa.int64(), unit="votes"),
        _required("votes_tie", pa.int64(), unit="votes"),
        _required("p_chosen", pa.float64(), unit="probability", range="0.5 to 1", source="pipeline.consensus"),
        _required("p_tie", pa.float64(), unit="probability", range="0 to 1", source="pipeline.consensus"),
        _required("tie", pa.bool_(), unit="flag", range="p_tie is the largest of the three, or both sides are equally likely", source="pipeline.consensus"),
        _required("margin", pa.float32(), unit="share", range="0 to 1; strength of the votes for chosen less that of the votes against, per vote that enters consensus", source="pipeline.consensus"),
        _required("weight", pa.float32(), unit="weight", range="0 and up; 1 without `weights:`", source="pipeline.weights"),
        *SIGNALS,
        _optional("noise_score", pa.float64(), unit="probability", range="P(label wrong) from content alone, out of fold; null: too little to learn from", source="pipeline.noise"),
        _required("p_soft", pa.float64(), unit="probability", range="P(label right), 0 to 1: p_chosen and 1 - noise_score as independent evidence", source="pipeline.weights"),
        _optional("rationale", pa.struct([("text", pa.string()), ("kind", pa.string()), ("generator", pa.string())])),
        _required("prompt_cluster_id", pa.string()),
        _required("split", pa.string()),  # train, validation or test
        _required("sources", STRINGS),
        _required("records", STRINGS),  # ids of stated judgements, and of the ratings that others were derived from; sorted
    ]
)

# One row = one dropped pair: PAIR plus why it left.
DROPPED = pa.schema(
    [
        *PAIR,
        _required("stage", pa.string()),
        _required("reason", pa.string()),
        _optional("score", pa.float64()),
        _optional("threshold", pa.float64()),
        _optional("detail", pa.string()),
        _optional("witness_pair_id", pa.string()),
    ]
)

# One row = one rationale of a pair, accepted or not: written by a model, stated in the data, or measured.
RATIONALE = pa.schema(
    [
        _required("rationale_id", pa.string()),  # hash of pair, kind, generator and what was asked or stated
        _required("pair_id", pa.string()),
        _required("prompt_id", pa.string()),
        _required("kind", pa.string()),  # general, detailed, rubric, checklist, factors or stated
        _required("generator", pa.string()),  # a model; who stated it; prefine for factors
        _optional("text", pa.string()),  # calls the answers `the chosen response` and `the rejected response`
        _optional("items", pa.string()),  # JSON: scores of a rubric, a checklist's questions and answers, measured factors
        _required("accepted", pa.bool_()),
        _optional("reason", pa.string()),  # why not
        _optional("detail", pa.string()),
        _optional("shown_first", pa.string()),  # to the writer: chosen or rejected
        _optional("label_shown", pa.bool_()),
        _optional("own_verdict", pa.string()),  # of a writer that was not told the label: chosen, rejected or tie
        _optional("recovered_first", pa.string()),  # by a reader of the rationale that was not told it, chosen shown first
        _optional("recovered_second", pa.string()),  # the same, rejected shown first
        _optional("leaks_label", pa.bool_(), unit="flag", range="names the better answer outright"),
        _required("near_copies", pa.int64(), unit="prompts", range="others whose rationale says the same"),
        _optional("precision", pa.float64(), unit="share", range="of its statements that hold, 0 to 1", source="The Critique of Critique (2024)"),
        _optional("recall", pa.float64(), unit="share", range="of a stated rationale's statements that it makes, 0 to 1", source="The Critique of Critique (2024)"),
        _optional("template", pa.string()),
        _required("input_tokens", pa.int64(), unit="tokens", range="of all requests for it"),
        _required("output_tokens", pa.int64(), unit="tokens"),
        _required("cost", pa.float64(), unit="money of the endpoint's price"),
    ]
)

# One row = one annotator: how reliable, as the vote model sees it. Intervals hold 95 %.
ANNOTATOR = pa.schema(
    [
        _required("annotator_id", pa.string()),  # "unnamed <source>": all whom a source does not name, as one
        _required("annotator_kind", pa.string()),
        _required("votes", pa.int64(), unit="votes"),
        _required("pairs", pa.int64(), unit="pairs"),
        _required("shared_pairs", pa.int64(), unit="pairs", range="those on which others voted too"),
        _optional("accuracy", pa.float64(), unit="probability", range="0 to 1; picks the better side where neither vote nor pair is a tie"),
        _optional("accuracy_low", pa.float64(), unit="probability"),
        _optional("accuracy_high", pa.float64(), unit="probability"),
        _optional("tie_share", pa.float64(), unit="share", range="0 to 1, of the votes"),
        _optional("tie_share_low", pa.float64(), unit="share"),
        _optional("tie_share_high", pa.float64(), unit="share"),
        _optional("first_share", pa.float64(), unit="share", range="votes for the answer shown first, of those that are no tie; null: order unknown"),
        _optional("first_share_low", pa.float64(), unit="share"),
        _optional("first_share_high", pa.float64(), unit="share"),
        _optional("group", pa.int64(), range="camp, from 0; null: one camp, or too few votes to tell"),
        _required("admitted", pa.bool_(), unit="flag", range="the votes enter consensus"),
        _optional("reason", pa.string()),  # why the votes do not, or only where there are no others
        _optional("both_orders", pa.int64(), unit="pairs", range="judged in both orders; null: a human"),
        _optional("consistent", pa.int64(), unit="pairs", range="of those: the same verdict in both"),
        _optional("gold_votes", pa.int64(), unit="votes", range="on pairs that at least three humans decided; null: a human"),
        _optional("gold_agreement", pa.float64(), unit="share", range="of those: as the humans"),
        _optional("gold_agreement_low", pa.float64(), unit="share"),
        _optional("gold_agreement_high", pa.float64(), unit="share"),
        _optional("note", pa.string()),  # what the numbers cannot say
    ]
)

# One row = one number about the data set, a source or another part of it, with its 95 % interval.
STATISTIC = pa.schema(
    [
        _required("statistic", pa.string()),
        _required("subject_kind", pa.string()),  # dataset, source ...
        _required("subject", pa.string()),
        _optional("value", pa.float64()),  # null: cannot be told, see note
        _optional("low", pa.float64()),
        _optional("high", pa.float64()),
        _required("n", pa.int64(), range="what it rests on: pairs, votes or triads"),
        _optional("unit", pa.string()),
        _optional("note", pa.string()),
    ]
)

# One row = one input file of a run.
INPUT = pa.schema(
    [
        _required("source", pa.string()),
        _required("source_uri", pa.string()),
        _optional("role", pa.string()),  # records; joined: its rows only complete other files'; judges: verdicts that the run asked for; null in old versions
        _optional("layout", pa.string()),
        _required("bytes", pa.int64(), unit="bytes"),
        _optional("sha256", pa.string()),
        _optional("rows_counted", pa.int64(), unit="rows", range="as a second, independent reader counts them"),
        _required("rows", pa.int64(), unit="rows", range="as ingested"),
        _required("records", pa.int64(), unit="records"),
        _optional("ratings", pa.int64(), unit="records", range="how many of the records are ratings"),
        _required("quarantined_rows", pa.int64(), unit="rows"),
        _optional("unused_rows", pa.int64(), unit="rows", range="of a joined file: those that no row of the source asked for"),
        _optional("unmatched_rows", pa.int64(), unit="rows", range="without a partner in a joined file that is optional"),
        _optional("unreadable", pa.string()),  # why the file could not be read to its end
    ]
)


def conform(table: pa.Table | pl.DataFrame, schema: pa.Schema, where: str) -> pa.Table:
    """Return the table with exactly the schema's columns, order and types.

    Raises:
        SchemaError: a column is missing, surplus, of another type, or null where it must not be.
    """
    arrow = table.to_arrow() if isinstance(table, pl.DataFrame) else table
    wanted, there = schema.names, arrow.column_names  # Arrow makes these lists anew at every look
    missing = [name for name in wanted if name not in there]
    surplus = [name for name in there if name not in wanted]
    if missing or surplus:
        raise SchemaError(f"{where}: missing columns {missing}, unexpected columns {surplus}; expected {wanted}.")
    try:
        cast = arrow.select(wanted).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise SchemaError(f"{where}: {error}") from error
    empty_required = [f.name for f in schema if not f.nullable and cast.column(f.name).null_count]
    if empty_required:
        raise SchemaError(f"{where}: null values in required columns {empty_required}.")
    return cast.replace_schema_metadata(None)
