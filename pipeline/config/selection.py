"""What is kept of the pairs that the rules leave, and at which weight. All of it is off by default."""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.config.parts import Part

Share = Annotated[float, Field(gt=0.0, le=1.0)]
Grouping = Literal["source", "language", "topic"]
REST = "rest"


def _add_up(shares: dict[str, float], what: str, exactly: bool) -> None:
    total = math.fsum(shares.values())
    if total > 1 + 1e-6 or (exactly and total < 1 - 1e-6):
        raise ValueError(f"{what} add up to {total:g}; expected {'1' if exactly else 'at most 1'}")


class CapsConfig(Part):
    """Most pairs that one prompt cluster, source or annotator may have. A pair of several counts in each, and needs room in all."""

    prompt_cluster: int | None = Field(default=None, gt=0, description="Pairs of one prompt cluster (near-duplicate prompts).")
    source: int | None = Field(default=None, gt=0, description="Pairs of one source.")
    annotator: int | None = Field(
        default=None, gt=0, description="Pairs that one annotator's votes decide; votes of a source that names nobody are not capped."
    )
    by: str = Field(
        default="p_soft",
        min_length=1,
        description="A number or SQL expression over columns: the pairs with the highest stay; equal ones by a hash of pair_id and seed.",
    )

    @model_validator(mode="after")
    def _something_is_capped(self) -> "CapsConfig":
        if all(cap is None for cap in (self.prompt_cluster, self.source, self.annotator)):
            raise ValueError("caps need at least one of prompt_cluster, source, annotator")
        return self


class AdvantageConfig(Part):
    """Only pairs whose score is above what is usual, drawn in proportion to how far above (A-LoL, 2023)."""

    score: str = Field(min_length=1, description="A number or SQL expression over columns.")
    over: str | None = Field(
        default=None,
        min_length=1,
        description="What is usual: a number or SQL expression; when left out, the mean score of the prompt's pairs, which no pair that is "
        "alone under its prompt exceeds.",
    )


class SampleConfig(Part):
    """Draw a part of the pairs without replacement; the same seed draws the same pairs."""

    rows: int | None = Field(default=None, gt=0, description="How many pairs.")
    share: Share | None = Field(default=None, description="Instead of rows: which share of them, rounded down.")
    tokens: int | None = Field(
        default=None, gt=0, description="Instead of rows: how many tokens, of prompt and both answers, the pairs drawn may have together."
    )
    by: str | None = Field(
        default=None,
        min_length=1,
        description="A number or SQL expression: a pair is drawn in proportion to exp(z / temperature), z its standardised value "
        "(QuRating, 2024). When left out, all are as likely.",
    )
    temperature: float = Field(default=2.0, ge=0.0, description="0 takes the highest. QuRating's recipe: 2; taking the top did worse.")
    per: Literal["source", "cluster"] | None = Field(
        default=None, description="Draw within each combination of sources, or prompt cluster, as many in proportion as it has."
    )
    spread: float = Field(
        default=0.0,
        ge=0.0,
        description="Diversity: a pair's chance is divided by (pairs of its prompt cluster) ** spread; at 1 no cluster is likelier to be "
        "drawn from for being larger.",
    )
    advantage: AdvantageConfig | None = Field(default=None, description="Instead of by.")

    @model_validator(mode="after")
    def _one_size_and_one_score(self) -> "SampleConfig":
        sizes = [name for name in ("rows", "share", "tokens") if getattr(self, name) is not None]
        if len(sizes) > 1:
            raise ValueError(f"sample takes one of rows, share and tokens; has {' and '.join(sizes)}")
        if self.advantage is not None and self.by is not None:
            raise ValueError("sample takes by or advantage, not both")
        return self

    @property
    def sized(self) -> bool:
        """Whether it says how much is drawn."""
        return not all(size is None for size in (self.rows, self.share, self.tokens))


class MixtureConfig(Part):
    """How many pairs come from each source, language or topic."""

    by: Grouping = Field(
        default="source",
        description="A pair of several sources is of the one that weights name first; topic: clusters of prompts by meaning.",
    )
    weights: dict[str, Share] | Literal["equal"] = Field(
        description="{name: share}, which add up to 1; `rest` stands for every group not named, and without it those leave. "
        "equal: as many from each group there is."
    )
    rows: int | None = Field(default=None, gt=0, description="How many pairs in all; when left out, the most that keep the shares.")

    @model_validator(mode="after")
    def _shares_add_up(self) -> "MixtureConfig":
        if isinstance(self.weights, dict):
            _add_up(self.weights, "mixture.weights", exactly=True)
        return self


class MinShareConfig(Part):
    """The least share of what is kept that some groups have (Subset Selection Based On Multiple Rankings, 2023)."""

    by: Grouping = Field(default="source", description="As in mixture.")
    shares: dict[str, Share] = Field(min_length=1, description="{name: share}, at most 1 together.")

    @model_validator(mode="after")
    def _shares_fit(self) -> "MinShareConfig":
        _add_up(self.shares, "min_share.shares", exactly=False)
        return self


class SelectionConfig(Part):
    """What is kept of the pairs that the rules leave: first caps, then one draw of sample, mixture and min_share together."""

    seed: int = Field(default=0, description="Other seeds draw other pairs; nothing else does.")
    caps: CapsConfig | None = None
    sample: SampleConfig | None = None
    mixture: MixtureConfig | None = None
    min_share: MinShareConfig | None = None
    topics: int = Field(default=20, gt=1, le=1000, description="Clusters of prompts that `by: topic` makes, by k-means of embeddings.")
    vendi_sample: int | None = Field(
        default=None,
        ge=0,
        le=20_000,
        description="Prompts and answers whose Vendi scores are published, before and after; 0: none. When left out, 2000 where something "
        "is selected, else 0.",
    )

    @property
    def draws(self) -> bool:
        """Whether pairs are drawn."""
        return not all(part is None for part in (self.sample, self.mixture, self.min_share))

    @property
    def selects(self) -> bool:
        """Whether any pair may leave."""
        return self.caps is not None or self.draws

    @property
    def measured(self) -> int:
        """How many prompts and answers Vendi scores are of."""
        return self.vendi_sample if self.vendi_sample is not None else 2000 if self.selects else 0

    @property
    def groups(self) -> MixtureConfig | MinShareConfig | None:
        """What says how many pairs are of which group."""
        return self.mixture if self.mixture is not None else self.min_share

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "SelectionConfig":
        sample, mixture = self.sample, self.mixture
        if mixture is not None and self.min_share is not None:
            raise ValueError("mixture says every share, so min_share has nothing to add; leave one of them out")
        if sample is None:
            return self
        if self.groups is not None:
            for name, value in (("per", sample.per), ("tokens", sample.tokens)):
                if value is not None:
                    raise ValueError(f"sample.{name} does not go with {'mixture' if mixture is not None else 'min_share'}; leave it out")
        if mixture is not None and mixture.rows is not None and sample.sized:
            raise ValueError("sample and mixture both say how many pairs to keep; leave mixture.rows out")
        if not sample.sized and self.groups is None and sample.advantage is None:
            raise ValueError("sample needs one of rows, share and tokens")
        return self


class CurriculumConfig(Part):
    """Easy pairs first: weight d + (1 - d) min(1, progress), d the easiness (Training Curricula for Answer Re-Ranking, 2020)."""

    easiness: str = Field(min_length=1, description="A number or SQL expression, taken as 0 (hard) to 1 (easy); unknown counts as 0.")
    progress: float = Field(ge=0.0, description="Step over the step from which all weigh 1: publish a version for each stage.")


class WeightsConfig(Part):
    """The column `weight`: a product of these, 1 on average over the published pairs. A label never changes."""

    noise: bool = Field(
        default=False, description="By how likely the label is right: max(0, 1 - 3 (1 - p_soft)), or 2 p_soft - 1 without a noise_score."
    )
    strength: bool = Field(default=False, description="By the strength of the votes (HelpSteer2-Preference 2024: as weight it helps).")
    balance: str | None = Field(
        default=None, description="A signal, chosen less rejected (chars_gap ...): weights under which it does not tell who won."
    )
    per_prompt: bool = Field(default=False, description="1 over the number of the prompt's pairs, so that prompts count alike.")
    semantic: float | None = Field(
        default=None,
        gt=0.0,
        description="alpha in exp(-alpha (1 - cosine of prompt and chosen)) (Sem-DPO, 2025; 5 there). How far the answer is on topic.",
    )
    rewards: list[str] = Field(
        default_factory=list,
        description="Numbers or SQL expressions, each a reward of chosen less a reference (rm_mean ...): the product of their sigmoids, "
        "P(good by all) (Transforming and Combining Rewards, 2024). Unknown ones count as 1/2.",
    )
    curriculum: CurriculumConfig | None = None

    @property
    def factors(self) -> bool:
        """Whether weights have factors that look at one prompt's pairs at a time."""
        return self.per_prompt or self.semantic is not None or bool(self.rewards) or self.curriculum is not None

    @property
    def any(self) -> bool:
        """Whether pairs weigh anything but 1."""
        return self.noise or self.strength or self.balance is not None or self.factors
