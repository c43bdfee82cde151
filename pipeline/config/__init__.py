"""Every knob of a run: type, bounds, unit, default and where the default came from.

`load_config` reads a YAML file into one frozen `PipelineConfig`; each stage gets only its own part of it.
"""

import difflib
import re
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from pipeline.config.models import BudgetConfig, EndpointConfig, JudgeConfig, PriceConfig, RationalesConfig, RubricConfig
from pipeline.config.parts import Name, Part
from pipeline.config.selection import SelectionConfig, WeightsConfig
from pipeline.errors import ConfigError

__all__ = [
    "BudgetConfig", "EndpointConfig", "JudgeConfig", "PriceConfig", "RationalesConfig", "RubricConfig", "SelectionConfig", "WeightsConfig",
]  # fmt: skip

AnnotatorKind = Literal["human", "judge", "reward_model"]
LayoutName = Literal["chosen_rejected", "ab", "votes", "ratings", "candidates"]
Outcome = Literal["a", "b", "tie", "both_bad", "none"]
SensitiveKind = Literal["secret", "email", "iban", "card", "ip", "phone"]

FieldPath = str | list[str]


def _two_fields(path: list[str]) -> list[str]:
    if len(path) != 2:
        raise ValueError(f"name two fields, with the score of the first answer and of the second; found {len(path)}")
    return path


TwoFields = Annotated[list[str], AfterValidator(_two_fields)]


def paths(path: FieldPath) -> list[str]:
    """A slot's fields as a list."""
    return [path] if isinstance(path, str) else path


class FieldsConfig(Part):
    """Which field of the source holds what.

    A value is a field name, a dotted path (`argument_1.text`), or for `prompt` a list of them, joined by a blank line.
    What lies inside a candidate is named from there (`score`) or in full (`completions.*.score`).
    Every slot is optional: name only what detection gets wrong.
    """

    prompt: FieldPath | None = Field(default=None, description="Text or messages. A list of fields is joined by a blank line.")
    history: str | None = Field(default=None, description="Earlier turns, put before the prompt: a list of [asked, answered].")
    system: str | None = Field(default=None, description="System message put before the prompt.")
    tools: str | None = Field(default=None, description="Tool definitions, JSON.")
    chosen: str | None = Field(default=None, description="Preferred answer: text, messages or a whole transcript.")
    rejected: str | None = Field(default=None, description="The other answer, in the same form.")
    response_a: str | None = Field(default=None, description="First answer of an A/B comparison.")
    response_b: str | None = Field(default=None, description="Second answer of an A/B comparison.")
    prompt_a: str | None = Field(default=None, description="Prompt of the first answer alone, where the two prompts differ.")
    prompt_b: str | None = Field(default=None, description="Prompt of the second answer alone.")
    winner: FieldPath | None = Field(
        default=None,
        description="The verdict of an A/B row or of a row that is one vote; or two or three fields that say whether a won, b won, "
        "it is a tie; or two fields with a score of each answer.",
    )
    votes: FieldPath | None = Field(default=None, description="A list of votes, or several fields with one annotator's vote each.")
    vote_winner: str | None = Field(default=None, description="Inside a listed vote: its verdict.")
    vote_annotator: str | None = Field(default=None, description="Inside a listed vote: who voted.")
    vote_rationale: str | None = Field(default=None, description="Inside a listed vote: the written reason.")
    vote_strength: str | None = Field(default=None, description="Inside a listed vote: strength, 0 to 1.")
    vote_judged_at: str | None = Field(default=None, description="Inside a listed vote: when.")
    response: str | None = Field(default=None, description="The rated answer of a row: text, messages or a whole transcript.")
    scores: FieldPath | None = Field(
        default=None, description="Fields with a score each; a field's name is the criterion. Thumbs are scores of 0 and 1."
    )
    candidates: FieldPath | None = Field(
        default=None, description="A list (or object by model) of answers, or several fields with one each."
    )
    candidate_text: str | None = Field(default=None, description="Inside a candidate: the answer.")
    candidate_model: str | None = Field(
        default=None, description="Who wrote an answer: inside a candidate, a list beside them, or a field of a rated row."
    )
    candidate_scores: FieldPath | None = Field(default=None, description="Inside a candidate: its scores; or a list beside the candidates.")
    candidate_rank: str | None = Field(
        default=None, description="Inside a candidate: its rank, lowest is best; or a list beside the candidates."
    )
    candidate_rationale: str | None = Field(default=None, description="Why a candidate got its score: inside it, or a list beside them.")
    prefix: str | None = Field(
        default=None, description="The part of the answer that all answers of a row continue: text, or a list of steps, one a line."
    )
    order: str | None = Field(default=None, description="Candidates best first, by index, name or text; a nested list is a tie.")
    pair_verdicts: str | None = Field(default=None, description="A verdict for each two candidates, in the order (1,2) (1,3) ... (2,3) ...")
    annotator: str | None = Field(default=None, description="Who judged.")
    model_a: str | None = None
    model_b: str | None = None
    model_chosen: str | None = None
    model_rejected: str | None = None
    model_scores: dict[str, TwoFields] = Field(
        default_factory=dict,
        description="Scores of reward models: {model: [field for a or chosen, field for b or rejected]}. Lists of scores are an ensemble, "
        "whose members are called model-0, model-1 and so on. They are signals, not votes.",
    )
    strength: str | None = Field(default=None, description="Strength of the preference: 0 to 1, or words such as 'slightly better'.")
    shown_first: str | None = Field(default=None, description="Which side the annotator saw first.")
    criterion: str | None = None
    context: str | None = Field(default=None, description="Principle, rubric or user the verdict depends on.")
    rationale: FieldPath | None = Field(default=None, description="Why. A list of fields is joined by a blank line.")
    split: str | None = Field(default=None, description="The source's own split; test and validation never become train.")
    judged_at: str | None = None


class GradesConfig(Part):
    """A scale of graded verdicts, e.g. -3 (first much better) to 3 (second much better)."""

    first: float = Field(description="The value that says most strongly that the first answer is better.")
    second: float = Field(description="The value that says most strongly that the second answer is better.")
    tie: float | None = Field(default=None, description="The value of a tie; half way between the two when left out.")

    @property
    def middle(self) -> float:
        """The value of a tie."""
        return (self.first + self.second) / 2 if self.tie is None else self.tie

    @model_validator(mode="after")
    def _in_order(self) -> "GradesConfig":
        low, high = sorted((self.first, self.second))
        if not low < self.middle < high:
            raise ValueError(f"tie ({self.middle:g}) must lie between first ({self.first:g}) and second ({self.second:g})")
        return self


class RatingsConfig(Part):
    """How scores become comparisons: which responses of one prompt are compared, by which score."""

    on: str = Field(
        default="mean",
        min_length=1,
        description="mean: the mean of the criteria (an overall score beside them left out); each: every criterion by itself; "
        "or one criterion's name.",
    )
    pairs: Literal["best_vs_worst", "best_vs_random", "best_vs_rest", "adjacent", "all"] = Field(
        default="best_vs_worst",
        description="Which responses that one annotator scored under one prompt are compared; best_vs_random: the best with one of the "
        "others, whichever has the least id, which is a hash (UltraFeedback binarised so; PF-PPO, 2024, on why).",
    )
    min_gap: float = Field(
        default=0.0, ge=0.0, le=1.0, description="Smallest gap, as a share of the scale, that is a preference; a gap of 0 is a tie."
    )
    scale: tuple[float, float] | None = Field(
        default=None, description="Worst and best possible score; the extremes found in the source, per criterion, when left out."
    )

    @model_validator(mode="after")
    def _worst_then_best(self) -> "RatingsConfig":
        if self.scale is not None and not self.scale[0] < self.scale[1]:
            raise ValueError(f"scale {list(self.scale)} must be [lowest, highest]")
        return self


class JoinConfig(Part):
    """Where a source's rows get further fields from: another file, by key or row by row, or their own file's path."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    uri: str | None = Field(default=None, min_length=1, description="The joined file: path, glob, folder or fsspec URL.")
    on: str | list[str] | dict[str, str] | None = Field(
        default=None,
        description="The key: a field of both files, several of them, or {field of ours: field of theirs}. Values compare as text.",
    )
    by: Literal["row"] | None = Field(default=None, description="row: the first row goes with the first row, and so on; one file each.")
    path: str | None = Field(
        default=None,
        description="Instead of uri: a regular expression searched in the file's path; its named groups become fields.",
    )
    prefix: str | None = Field(
        default=None, alias="as", min_length=1, description="The fields are called `<as>.<name>`; without it by their own names."
    )
    optional: bool = Field(
        default=False, description="true: a row without a partner stays, without the joined fields, and is counted; not quarantined."
    )

    @property
    def key_fields(self) -> tuple[list[str], list[str]]:
        """The key's fields in the source's rows, and in the joined file; none when rows go by their position."""
        if isinstance(self.on, dict):
            return list(self.on), list(self.on.values())
        both = [self.on] if isinstance(self.on, str) else list(self.on or [])
        return both, both

    @model_validator(mode="after")
    def _one_way(self) -> "JoinConfig":
        ways = [name for name in ("on", "by", "path") if getattr(self, name) is not None]
        if len(ways) != 1 or (self.uri is None) != (ways == ["path"]):
            given = [name for name in ("uri", *ways) if getattr(self, name) is not None]
            raise ValueError(f"a join needs uri and on, uri and by, or path alone; has {' and '.join(given) or 'none of them'}")
        if self.on is not None and not all(self.key_fields[0] + self.key_fields[1] or [""]):
            raise ValueError("on needs at least one field name")
        if self.optional and self.path is not None:
            raise ValueError("optional is for joined files; every path must match its pattern")
        return self

    @model_validator(mode="after")
    def _pattern_names_fields(self) -> "JoinConfig":
        if self.path is not None:
            try:
                groups = re.compile(self.path).groupindex
            except re.error as error:
                raise ValueError(f"path {self.path!r} is not a regular expression: {error}") from None
            if not groups:
                raise ValueError(f"path {self.path!r} has no named group; write (?P<field>...) around what becomes a field")
        return self


class SourceConfig(Part):
    """One source: a file, folder, glob or fsspec URL and what detection cannot know about it, or a published version."""

    name: Name
    uri: str | None = Field(
        default=None, min_length=1, description="Path, glob, folder or fsspec URL; relative paths start at the config file."
    )
    version: str | None = Field(
        default=None, min_length=1, description="Instead of uri: a published version's folder, or a dataset's for its current one."
    )
    licence: str | None = Field(default=None, description="SPDX name or a sentence; goes into the manifest and the card.")
    layout: LayoutName | None = Field(default=None, description="Detected from schema and first records when left out.")
    fields: FieldsConfig = Field(default_factory=FieldsConfig)
    outcomes: dict[str, Outcome] = Field(
        default_factory=dict,
        description="What the source's verdict values mean, e.g. {'0': a, '1': b, '-100': none}; compared as text, without case. "
        "none: no preference was stated, the row is quarantined as `no_verdict`.",
    )
    grades: GradesConfig | None = Field(default=None, description="The scale of graded verdicts, where detection cannot know it.")
    ratings: RatingsConfig = Field(default_factory=RatingsConfig)
    join: list[JoinConfig] = Field(
        default_factory=list, description="Files whose fields its rows get, in this order; a later one may use what an earlier one brought."
    )
    annotator_kind: AnnotatorKind = "human"
    max_quarantine_share: float = Field(
        default=0.05,
        ge=0.0,
        le=1.0,
        description="Share of rows (and of files) that may be unreadable before the run stops; a stated `no_verdict` does not count.",
    )

    @model_validator(mode="after")
    def _one_place(self) -> "SourceConfig":
        if (self.uri is None) == (self.version is None):
            raise ValueError(f"source {self.name!r} needs exactly one of uri and version")
        if self.version is not None:
            of_raw_files = {"layout", "fields", "outcomes", "grades", "ratings", "join", "annotator_kind"}
            known = {name: field for name, field in type(self).model_fields.items() if name in of_raw_files}
            said = [name for name, field in known.items() if getattr(self, name) != field.get_default(call_default_factory=True)]
            if said:
                raise ValueError(f"source {self.name!r}: a published version is read as it is; leave `{'`, `'.join(said)}` out")
        return self

    @model_validator(mode="before")
    @classmethod
    def _verdict_values_are_text(cls, data: Any) -> Any:  # YAML reads 0 and true as numbers and booleans
        if isinstance(data, dict) and isinstance(data.get("outcomes"), dict):
            spelled = {str(k).lower() if isinstance(k, bool) else str(k): v for k, v in data["outcomes"].items()}
            return {**data, "outcomes": spelled}
        return data


class AnnotatorsConfig(Part):
    """How annotator names appear in what is published."""

    ids: Literal["hashed", "plain"] = Field(default="hashed", description="hashed: keyed BLAKE2b of source and name.")
    key_env: str = Field(
        default="PREFINE_ANNOTATOR_KEY",
        description="Environment variable with the key. Unset: the dataset's name is the key, which hides names from "
        "readers but not from someone who guesses them.",
    )


class EmbedConfig(Part):
    """Sentence embeddings of prompts and responses."""

    model: str = Field(default="bundled-minilm", description="bundled-minilm, a hub id, or a path.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Weights and arithmetic, part of the model fingerprint. auto: bfloat16 on a GPU or processor that has instructions "
        "for it, float32 elsewhere; name one where machines of both kinds share a workspace.",
    )
    threads: int | None = Field(default=None, ge=1, description="Encoder threads; the machine's cores when left out.")


class TruncationConfig(Part):
    """What a trainer that cuts texts would still see."""

    tokenizer: str | None = Field(default=None, description="Hub id or path of the trained model's; the embedding model's when left out.")
    lengths: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=list,
        description="Tokens of prompt and answer at which to say whether both are one text (`identical_at_lengths`).",
    )


class ContentConfig(Part):
    """Light checks of what the texts hold."""

    language: bool = Field(default=True, description="Language of prompt and answers.")
    personal: bool = Field(default=True, description="Counts of personal data (addresses, numbers) and of secrets (keys, passwords).")
    truncation: TruncationConfig = Field(default_factory=TruncationConfig)
    length_tie_chars: int = Field(
        default=500,
        ge=-1,
        description="`length_tie`: a slight preference for an answer longer by more than so many characters (WildBench 2024); -1: never.",
    )
    mask: list[SensitiveKind] = Field(
        default_factory=list,
        description="Kinds that are replaced by a placeholder such as <EMAIL> as files are read, before anything is stored: ids, signals "
        "and all that is published then speak of the masked text, and texts that differ in nothing else become one. "
        "Names of fields, models, files and (with `ids: plain`) annotators are not masked.",
    )


class FollowUpsConfig(Part):
    """What a user might say next; equal entries of a list count once."""

    positive: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1, description="Said after a good answer.")
    negative: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1, description="Said after a bad one.")


class ChesConfig(Part):
    """CHES: how alike the hidden states of both answers are, and what else the same pass through a model tells.

    Scores are signals; no rule uses them unless the config says so.
    """

    backend: Literal["encoder", "causal_lm", "none"] = Field(
        default="encoder",
        description="causal_lm: the paper's definition (2024), with `model`: `ches`, `ches_ln`. encoder: a proxy over the token states "
        "that the sentence encoder has anyway: `ches_encoder`, `ches_encoder_ln`; it comes with causal_lm too.",
    )
    model: str | None = Field(
        default=None, description="causal_lm: hub id or folder of the policy about to be trained, with weights in safetensors."
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of a hub id.")
    template: Literal["auto", "chat", "plain"] = Field(
        default="auto",
        description="chat: the tokenizer's chat template. plain: turns named User and Assistant. auto: chat where there is one.",
    )
    max_length: int = Field(
        default=2048,
        ge=8,
        description="Tokens of prompt and answer, cut at the end, as the trainer will; at most what the model takes.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Weights and arithmetic; sums are float32 always. auto: bfloat16 on a GPU, float32 on a processor."
    )
    batch_tokens: int | None = Field(
        default=None, ge=64, description="Tokens a forward pass works on: bounds memory. Halved, and said so, where memory runs out."
    )
    last_hidden: bool = Field(default=False, description="Also `last_hidden_inner`, the baseline that does not tell displacement.")
    logps: bool = Field(default=False, description="Also log-probabilities of both answers, and how hard the pair is for the model.")
    weak_model: str | None = Field(
        default=None, description="Hub id or folder of a weaker model with the same tokenizer: also density ratios (CDR 2024)."
    )
    follow_ups: FollowUpsConfig | None = Field(
        default=None, description="Also how much likelier good reactions of the user are than bad ones (FLR 2024)."
    )

    @property
    def causal(self) -> bool:
        """Whether a causal model is to read the answers."""
        return self.backend == "causal_lm"

    @model_validator(mode="after")
    def _model_where_it_is_used(self) -> "ChesConfig":
        of_a_model = ("model", "revision", "last_hidden", "logps", "weak_model", "follow_ups")
        said = [name for name in of_a_model if getattr(self, name)]
        if self.causal and self.model is None:
            raise ValueError("backend causal_lm needs model: the policy about to be trained, a hub id or a folder")
        if not self.causal and said:
            raise ValueError(f"backend {self.backend} has no use for {' and '.join(said)}; set backend: causal_lm")
        return self


class SignalsConfig(Part):
    """Signals that have settings of their own."""

    ches: ChesConfig = Field(default_factory=ChesConfig)


class DeduplicateConfig(Part):
    """Pairs that say the same in almost the same words become one pair, whose votes add up."""

    min_cosine: float = Field(
        default=0.95, ge=0.5, le=1.0, description="Embeddings at least this close are near duplicates; of a pair, prompt and both answers."
    )
    min_jaccard: float = Field(
        default=0.8, gt=0.0, le=1.0, description="Texts that share at least this part of their 5-grams are near duplicates too."
    )
    shingles: Literal["characters", "words"] = Field(
        default="characters",
        description="What the 5-grams are of. words, as datatrove has it, misses nearly every text with a slip in a word.",
    )
    floor: float = Field(
        default=0.9, ge=0.5, le=1.0, description="Hits are stored down to this cosine: min_cosine may move above it without a new search."
    )
    merge: bool = Field(default=True, description="false: all stay; those that say something else are flagged all the same.")


class BenchmarkConfig(Part):
    """The prompts of one benchmark, as a list in files."""

    name: Name
    uri: str = Field(min_length=1, description="Path, glob, folder or fsspec URL; relative paths start at the config file.")
    field: FieldPath | None = Field(
        default=None,
        description="Text, messages or a list of turns; a list of fields is joined by a blank line. Detected when left out.",
    )


class DecontaminateConfig(Part):
    """Benchmark prompts that must not come back in what is trained on, neither as a prompt nor inside an answer."""

    benchmarks: list[BenchmarkConfig] = Field(default_factory=list, description="None: nothing is looked for.")
    # Tülu 3 (2024): runs of 8 words, and half of a test prompt's words covered by them. GPT-3 (2020) took single runs of 13, the GPT-4
    # report (2023) of 50 characters: one shared quotation or template is then a hit, and one changed word in 20 hides a whole prompt.
    ngram: int = Field(
        default=8,
        ge=3,
        le=50,
        description="Length in words of the runs that a text must share with a benchmark prompt. A prompt of fewer words is found only "
        "as a whole prompt with the same words: 'Write a poem' condemns 'write a poem!' and nothing else.",
    )
    min_overlap: float = Field(
        default=0.5, gt=0.0, le=1.0, description="Share of a benchmark prompt's words that lie in such runs of one text."
    )
    min_cosine: float = Field(
        default=0.9, ge=0.5, le=1.0, description="Cosine of a benchmark prompt (of at least `ngram` words) and a text of the pair."
    )
    action: Literal["drop", "flag"] = Field(
        default="drop", description="flag: the pairs stay, and the signals `contamination` and `contaminated_by` tell them."
    )

    @model_validator(mode="after")
    def _names_differ(self) -> "DecontaminateConfig":
        names = [one.name for one in self.benchmarks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two benchmarks are called {twice[0]!r}; names must differ")
        return self


class ConsensusConfig(Part):
    """Votes to p_chosen and p_tie."""

    method: Literal["dawid-skene", "graded-response", "bradley-terry", "closest-three", "majority"] = Field(
        default="dawid-skene",
        description="dawid-skene (1979): what each annotator says of better, worse and equal pairs, and of the answer shown first. "
        "graded-response (Samejima 1969): the same on a scale of preference; better where judges vote beside people or many follow the "
        "order, some 20 times slower. bradley-terry: graded-response, and one scale for all answers to a prompt that has three or more. "
        "closest-three: the three votes nearest each other, then majority (HelpSteer2, 2024). majority: shares under a Dirichlet prior.",
    )
    prior: float = Field(
        default=1.0, gt=0.0, description="majority, closest-three: prior votes for each of a, b and tie; 1 is Laplace's rule."
    )
    judges: Literal["audited", "all", "none"] = Field(
        default="audited",
        description="Whose votes count among judges and reward models. audited: of those who agree with humans and, when the order is "
        "swapped, with themselves, where fewer than three humans voted; and all where nobody else did, which `unaudited_votes` tells.",
    )
    several_camps: Literal["refuse", "ignore"] = Field(
        default="refuse",
        description="Where groups of annotators explain the votes better than one: refuse: rules on consensus drop nothing, and say so.",
    )
    max_cyclic_share: float = Field(
        default=0.05,
        ge=0.0,
        le=1.0,
        description="bradley-terry: share of a prompt's triads that may be cycles before it gets no single scale.",
    )


class ShareConfig(Part):
    """A share of the pairs, ranked by one signal."""

    signal: str
    share: float = Field(ge=0.0, le=1.0, description="0 to 1; the count is rounded down.")


class BalanceConfig(Part):
    """Pairs left after those are dropped that let one signal tell who won."""

    signal: str = Field(description="chosen less rejected: chars_gap, tokens_gap, markdown_gap ...")
    drop_first: str | None = Field(default=None, description="The column whose highest values go first, e.g. noise_score; else by pair_id.")


class RuleConfig(Part):
    """One rule: exactly one of drop_if, drop_top_share, keep_lowest_share, balance."""

    name: Name
    drop_if: str | None = Field(default=None, description="SQL boolean over signal columns; null means 'does not apply'.")
    drop_top_share: ShareConfig | None = Field(default=None, description="Drop the pairs with the highest values.")
    keep_lowest_share: ShareConfig | None = Field(default=None, description="Keep only the pairs with the lowest values.")
    balance: BalanceConfig | None = Field(
        default=None, description="Drop the fewest pairs after which a signal, at every size, is above 0 as often as below."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> "RuleConfig":
        possible = ("drop_if", "drop_top_share", "keep_lowest_share", "balance")
        kinds = [k for k in possible if getattr(self, k) is not None]
        if len(kinds) != 1:
            raise ValueError(f"rule {self.name!r} needs exactly one of {', '.join(possible)}; has {kinds or 'none'}")
        return self


class RulesConfig(Part):
    """Which pairs leave, and why."""

    preset: Literal["safe", "strict", "none", "safety-dpo"] = Field(
        default="safe",
        description="safe: ties, empty or identical answers, unreadable text. strict: also answers that loop, run on, are cut or say the "
        "same, contested and suspect labels. none: only ties and identical answers, which no trainer can use. safety-dpo: safe, then "
        "the 5 % of the pairs with the lowest ches_ln (2024), for refusals trained by DPO; needs signals.ches.backend causal_lm.",
    )
    add: list[RuleConfig] = Field(default_factory=list, description="Applied after the preset, in order.")


class PublishConfig(Part):
    """What the published version looks like."""

    validation_share: float = Field(default=0.05, ge=0.0, lt=1.0, description="Share of new prompt clusters held out as validation.")
    test_share: float = Field(default=0.0, ge=0.0, lt=1.0, description="Share of new prompt clusters held out as test.")
    stratify_by: Literal["source"] | None = Field(
        default=None,
        description="source: the shares hold within every source. Another row may then change which new prompts are held out, never the "
        "split of one that has one.",
    )
    split_by: Literal["near_prompts", "equal_prompts"] = Field(
        default="near_prompts",
        description="What never crosses the split: prompts that near duplicates link, over any number of steps; or equal ones only.",
    )
    rows_per_shard: int = Field(default=50_000, gt=0, description="Pairs in one Parquet file.")

    @model_validator(mode="after")
    def _some_train(self) -> "PublishConfig":
        if Fraction(repr(self.validation_share)) + Fraction(repr(self.test_share)) >= 1:
            raise ValueError(
                f"validation_share {self.validation_share:g} and test_share {self.test_share:g} leave nothing to train on; "
                "expected a sum below 1"
            )
        return self


class PipelineConfig(Part):
    """One dataset: where it comes from, what happens to it, where it goes."""

    dataset: Name
    workspace: str = Field(default="./workspace", description="Folder or fsspec URL; relative paths start at the config file.")
    sources: list[SourceConfig] = Field(min_length=1)
    criterion: str = Field(default="overall", min_length=1, description="For sources that do not name one.")
    annotators: AnnotatorsConfig = Field(default_factory=AnnotatorsConfig)
    content: ContentConfig = Field(default_factory=ContentConfig)
    embed: EmbedConfig = Field(default_factory=EmbedConfig)
    deduplicate: DeduplicateConfig = Field(default_factory=DeduplicateConfig)
    decontaminate: DecontaminateConfig = Field(default_factory=DecontaminateConfig)
    consensus: ConsensusConfig = Field(default_factory=ConsensusConfig)
    signals: SignalsConfig = Field(default_factory=SignalsConfig)
    rules: RulesConfig = Field(default_factory=RulesConfig)
    endpoints: list[EndpointConfig] = Field(default_factory=list, description="Language models that may be asked.")
    budget: BudgetConfig = Field(default_factory=BudgetConfig)
    judges: list[JudgeConfig] = Field(default_factory=list)
    rationales: RationalesConfig = Field(default_factory=RationalesConfig)
    selection: SelectionConfig = Field(default_factory=SelectionConfig)
    weights: WeightsConfig = Field(default_factory=WeightsConfig)
    publish: PublishConfig = Field(default_factory=PublishConfig)
    partitions: int | None = Field(
        default=None, ge=1, le=256, description="Runs of buckets worked on at once; by input size when left out."
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> "PipelineConfig":
        named = {
            "source": [one.name for one in self.sources],
            "rule": [one.name for one in self.rules.add],
            "endpoint": [one.name for one in self.endpoints],
            "judge": [one.name for one in self.judges],
        }
        for what, names in named.items():
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"two {what}s are called {twice[0]!r}; names must differ")
        return self

    @model_validator(mode="after")
    def _endpoints_are_known(self) -> "PipelineConfig":
        known = {one.name: one for one in self.endpoints}
        asked = {f"judges.{judge.name}.{key}": getattr(judge, key) for judge in self.judges for key in ("endpoint", "meta")}
        asked |= {f"rationales.{key}": getattr(self.rationales, key) for key in ("endpoint", "verifier")}
        used = {where: name for where, name in asked.items() if name is not None}
        for where, name in used.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"`endpoints:` has {', '.join(known) or 'none'}."
                raise ValueError(f"{where} names the endpoint {name!r}, which is not there; {hint}")
        free = [name for name in used.values() if not (known[name].price.input or known[name].price.output)]
        longest = [(f"judges.{one.name}.max_output_tokens", one.endpoint, one.max_output_tokens) for one in self.judges]
        if self.rationales.endpoint is not None:
            longest.append(("rationales.max_output_tokens", self.rationales.endpoint, self.rationales.max_output_tokens))
        for where, name, tokens in longest:
            if tokens >= known[name].context_tokens:
                raise ValueError(
                    f"{where} {tokens} leaves no room for a question in the context_tokens {known[name].context_tokens} of {name!r}"
                )
        if self.budget.max_cost is not None and free:
            raise ValueError(f"budget.max_cost needs the price of endpoint {free[0]!r}; say `price: {{input: ..., output: ...}}`")
        return self

    def endpoint(self, name: str) -> EndpointConfig:
        """One of the endpoints."""
        return next(one for one in self.endpoints if one.name == name)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's booleans, true and false alone: `on:` is a key here, and the verdict `no` is text."""


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def load_config(path: str | Path) -> PipelineConfig:
    """Read a YAML config.

    Raises:
        ConfigError: no such file, not YAML, or a key or value that does not fit; names the key, what was expected and
            the nearest valid key.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file. `prefine init URI` writes a config for your data.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    try:
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not valid YAML: {error}") from error
    return parse_config(data, str(file))


def parse_config(data: object, where: str) -> PipelineConfig:
    """Check a loaded mapping against the schema; `where` names it in errors."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected a mapping with `dataset:` and `sources:`, found {type(data).__name__}.")
    try:
        return PipelineConfig.model_validate(data)
    except ValidationError as error:
        lines = [_explain(dict(problem)) for problem in error.errors(include_url=False)]
        raise ConfigError("\n".join(f"{where}: {line}" for line in lines)) from None


def _explain(problem: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "config"
    if problem["type"] == "extra_forbidden":
        valid = _valid_keys(problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), valid, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(valid)}."
        return f"unknown key {key!r}; {hint}"
    if problem["type"] == "missing":
        return f"{key!r} is required."
    found = f" (found {problem['input']!r})" if not isinstance(problem["input"], dict | list) else ""
    return f"{key}: {problem['msg'].removeprefix('Value error, ')}{found}."


def _valid_keys(location: tuple[str | int, ...]) -> list[str]:
    schema = PipelineConfig.model_json_schema()
    node: dict[str, Any] = schema
    for part in location:
        node = node.get("items", node) if isinstance(part, int) else node.get("properties", {}).get(part, {})
        options = [node, *node.get("anyOf", []), *node.get("allOf", [])]
        reference = next((o["$ref"] for o in options if "$ref" in o), None)
        if reference:
            node = schema["$defs"][reference.rsplit("/", 1)[-1]]
    return sorted(node.get("properties", {}))
