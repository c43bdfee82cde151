"""The registry of methods says nothing that is not so, and forgets no method of the literature it was written from."""

import ast
import fnmatch
import importlib
import re
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.bias import balance
from pipeline.ches import difficulty
from pipeline.config.selection import MixtureConfig
from pipeline.consensus.held_out import held_out_statistics
from pipeline.contrast import contrast_consistency
from pipeline.judging import report
from pipeline.judging.verdicts import combine
from pipeline.methods import LEFT_OUT, METHODS, LeftOut, Method
from pipeline.rationale import figures, units
from pipeline.schemas import ANNOTATOR, PAIR, RATIONALE, SIGNALS
from pipeline.selection import mix, vendi
from pipeline.signals import model_scores
from pipeline.statistics import agreement, calibration
from pipeline.statistics.best_of import best_of, best_of_statistics
from tests.judging.rows import combined, config, verdict, verdicts
from tests.rationale.written import draft, drafts

CHECKOUT = Path(__file__).parent.parent

# By topic, the papers of the methods reference that the registry must speak of: as a method, or as left out.
PAPERS = {
    "closest three": ["HelpSteer2 (2024)"],
    "rank aggregation": ["What are the best systems? New perspectives on NLP Benchmarking (2022)"],
    "ratings from comparisons": [
        "Long-Span QA (2024)", "Language Models Prefer What They Know (2025)", "CGCoT (2023)", "Varco Arena (2024)", "WildBench (2024)",
    ],
    "intransitivity": [
        "General Preference Modeling (2024)", "DNO (2024)", "INPO (2024)", "SPPO (2024)", "A Minimaximalist Approach (2024)",
        "Nash Learning from Human Feedback (2023)",
    ],
    "camps": ["Pluralistic Alignment Framework (2024)", "MaxMin-RLHF (2024)", "On Diversified Preferences (2023)"],
    "language models as annotators": ["ACORN (2024)", "AI Predicts AGI (2024)"],
    "reward models": ["Secrets of RLHF in Large Language Models Part II (2024)", "Two Minds Better Than One (2025)"],
    "known noise": [
        "Provably Robust DPO (2024)", "Sampler Design for Implicit Feedback Data by Noisy-label Robust Learning (2020)", "CREAM (2024)",
    ],
    "two judges": [
        "Self-Consistency of the Internal Reward Models (2025)", "The Lessons of Developing Process Reward Models (2025)",
        "DMoERM (2024)", "Dissecting Human and LLM Preferences (2024)", "Self-Assessment Tests are Unreliable (2023)", "CritiQ (2025)",
    ],
    "whom to ask": ["Hybrid Preferences (2024)", "Language Model Cascades (2024)"],
    "scores by language models": [
        "CDR (2024)", "Aligning Language Models Using Follow-up Likelihood as Reward Signal (2024)", "BLEUBERI (2025)",
        "Ask One More Time (2023)", "When To Solve, When To Verify (2025)", "Inference-Time Scaling for Generalist Reward Modeling (2025)",
        "The Trickle-down Impact of Reward (In-)consistency on RLHF (2023)",
        "Preference-free Alignment Learning with Regularized Relevance Reward (2024)",
    ],
    "other annotators": [
        "Self-Reference AI feedback (2024)", "Anyprefer (2025)", "PUGC (2025)", "Self-J (2024)", "FLAMe (2024)",
        "DPO-implicit rewards vs explicit RM (2024)", "SAR (2023)", "RPC (2025)", "UnifiedReward (2025)", "Compress & Align (2023)",
        "Automatic Calibration and Error Correction via Pareto Optimal Self-Supervision (2023)", "Bayesian aggregation (2025)",
    ],
    "length": [
        "Length-Controlled AlpacaEval (2024)", "Length Desensitization (2024)", "Hitchhiker's Guide (2024)", "SimPO (2024)",
        "Kimi k1.5 long2short (2025)", "When More is Less (2025)",
    ],
    "style": [
        "Uncovering Factor Level Preferences (2024)", "AdParaphrase (2025)", "Search Arena (2025)",
        "Preference Fine-Tuning for Factuality in Chest X-Ray Interpretation (2024)", "Taming Overconfidence in LLMs (2024)",
        "M-RewardBench (2024)", "Leveraging Domain Knowledge for Efficient Reward Modelling (2024)",
    ],
    "degenerate answers": [
        "One Token to Fool LLM-as-a-Judge (2025)", "Cheating Automatic LLM Benchmarks (2024)",
        "Surrogate Signals from Format and Length (2025)", "Correlated Proxies (2024)",
        "What Are Step-Level Reward Models Rewarding (2024)",
    ],
    "likelihood displacement": [
        "Unintentional Unalignment: Likelihood Displacement in Direct Preference Optimization (2024)",
        "Preference Learning Algorithms Do Not Learn Preference Rankings (2024)", "Provably Mitigating Overoptimization (2024)",
    ],
    "statistics": [
        "Deep Reinforcement Learning at the Edge of the Statistical Precipice (2021)",
        "Language Models (Mostly) Know What They Know (2022)", "RLCR (2025)",
        "Rethinking Evaluation Metric for Probability Estimation Models Using Esports Data (2023)", "Judging LLMs on a Simplex (2025)",
    ],
    "judges that are asked": [
        "Self-Reference AI feedback (2024)", "UnifiedReward (2025)", "One Token to Fool LLM-as-a-Judge (2025)", "CritiQ (2025)",
        "Ask One More Time (2023)", "Inference-Time Scaling for Generalist Reward Modeling (2025)", "ACORN (2024)",
    ],
    "rationales": [
        "Data-Centric Human Preference Optimization with Rationales (2024)", "The Critique of Critique (2024)",
        "TICKing All the Boxes (2024)", "From Rankings to Insights (2025)", "AutoRule (2025)", "Self-rationalization (2024)",
        "Prometheus (2023)", "RealCritic (2025)", "Confidence vs Critique (2024)", "GPT Self-Supervision (2023)",
    ],
    "selection": [
        "Cousins of the Vendi Score (2023)", "QuRating (2024)", "CLIMB (2025)", "Policy Filtration in RLHF (2024)",
        "Improving Language Models with Advantage-based Offline Policy Gradients (2023)",
        "What are the Desired Characteristics of Calibration Sets? (2023)",
        "Influence Scores at Scale for Efficient Language Data Sampling (2023)", "Training Curricula for Answer Re-Ranking (2020)",
        "DR-IRL (2025)", "Dynamic loss-based reweighting (2025)", "Klear-Reasoner (2025)", "B-STaR (2024)", "SimPO (2024)",
        "Preference Fine-Tuning of LLMs Should Leverage Suboptimal, On-Policy Data (2024)", "Unpacking DPO and PPO (2024)", "SPaR (2024)",
        "MAPL (2025)", "Subset Selection Based On Multiple Rankings in the Presence of Bias (2023)",
    ],
    "weights": [
        "HelpSteer2-Preference (2024)", "LiPO-lambda (2024)", "Sem-DPO (2025)", "Transforming and Combining Rewards (2024)",
    ],
    "trainer formats": [
        "Binary Classifier Optimization (2024)", "Reward-Augmented Data Enhances Direct Preference Alignment of LLMs (2024)", "LiPO (2024)",
        "Preference Ranking Optimization for Human Alignment (2023)", "TPO (2024)", "In-context Ranking Preference Optimization (2025)",
        "Self-supervised Preference Optimization (2024)", "Online Self-Preferring (2024)", "MM-RLHF (2025)",
    ],
    "tests of reward models": [
        "RewardBench 2 (2025)", "RewardMATH (2024)", "RM-Bench (2024)", "RAG-RewardBench (2024)", "LongRM (2025)", "BOSE (2025)",
        "STARC (2023)",
    ],
}  # fmt: skip

# Signals of other stages: near duplicates and contamination, equal answers, language, personal data.
ELSEWHERE = {
    "cosine_chosen_rejected", "edit_distance", "answers_jaccard", "bmas", "answers_equivalent", "contamination", "contaminated_by",
    "near_duplicates", "near_duplicate_conflict", "near_duplicate_of", "language_mismatch", "sensitive_kinds",
    *(f"{text}_{kind}" for text in ("prompt", "chosen", "rejected") for kind in ("language", "personal", "secrets")),
}  # fmt: skip

NAMES = [method.name for method in METHODS]


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_the_function_of_a_method_is_there(method: Method) -> None:
    module, name = method.function.rsplit(".", 1)
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_what_a_method_publishes_are_columns_of_the_tables(method: Method) -> None:
    assert set(method.columns) <= {*PAIR.names, *ANNOTATOR.names, *RATIONALE.names}
    assert bool(method.columns or method.statistics) or not method.in_run
    assert not (method.columns and not method.in_run)


@cache
def listed_in(file: str) -> set[str]:
    """The tests of a file, those of a class as Class::test."""
    body = ast.parse((CHECKOUT / file).read_text(encoding="utf-8")).body
    alone = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    return alone | {f"{one.name}::{node.name}" for one in classes for node in one.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_a_method_has_checks_that_are_tests(method: Method) -> None:
    named = [check.split("::", 1) for check in method.checks]
    assert named
    assert [(file, name) for file, name in named if not name.rsplit("::", 1)[-1].startswith("test_") or name not in listed_in(file)] == []


@pytest.mark.parametrize("entry", [*METHODS, *LEFT_OUT], ids=lambda entry: entry.name)
def test_an_entry_is_filled_in(entry: Method | LeftOut) -> None:
    about = (entry.inputs, entry.range) if isinstance(entry, Method) else (entry.reason,)
    assert all(about)
    assert entry.name
    assert all(re.fullmatch(r".+ \((17|19|20)\d\d\)", one) for one in entry.source.split("; "))


def test_names_are_used_once() -> None:
    every = [entry.name for entry in (*METHODS, *LEFT_OUT)]
    assert len(every) == len(set(every))


@pytest.mark.parametrize("topic", PAPERS)
def test_every_paper_of_the_methods_reference_has_an_entry(topic: str) -> None:
    told = {one for entry in (*METHODS, *LEFT_OUT) for one in entry.source.split("; ")}
    assert [paper for paper in PAPERS[topic] if paper not in told] == []


def test_every_signal_and_every_number_of_an_annotator_has_a_method() -> None:
    told = {column for method in METHODS for column in method.columns}
    assert {field.name for field in SIGNALS} - told == ELSEWHERE
    assert set(ANNOTATOR.names) - told == {"annotator_id", "annotator_kind", "note"}


def small_tables() -> dict[str, pl.DataFrame]:
    """Statistics that no plain run has, from a few rows each, by the function that makes them."""
    said = {"annotator": ["a", "b"], "kind": ["human"] * 2, "source": ["s"] * 2, "vote": pl.Series([1, -1], dtype=pl.Int8)}
    crowd = pl.DataFrame({"pair_id": ["00"] * 2, "judgement_id": ["01", "02"], **said})
    found = pl.DataFrame({"first": ["p"], "second": ["q"], "cosine": [0.9]})
    scores = pl.DataFrame({"prompt_id": ["p"], "answer_of": ["q"], "score": [1.0]})
    guesses = pl.DataFrame({"id": ["00", "01"], "subject_kind": ["model"] * 2, "subject": ["m"] * 2, "p": [0.7, 0.4], "y": [1, 0]})
    hidden = pl.DataFrame({"pair_id": ["00"], "source": ["s"], "votes": [1], "majority": [-5], "mine": [-4]})
    answers = pl.DataFrame({"item": ["p"] * 2, "score": [1.0, 2.0], "right": [True, False]})
    rule = balance.Balance("even", "chars_gap")
    pairs = pl.DataFrame({"pair_id": ["00", "01"], "chars_gap": [5, -5]})
    sides = {"pair_id": ["00", "01"], "chosen_id": ["a"] * 2, "rejected_id": ["b"] * 2, "tie": [False] * 2}
    likelihoods = pl.DataFrame({"sources": [["s"]], "difficulty": [1.0], "chosen_logp_mean": [-2.0], "rejected_logp_mean": [-1.0]})
    rewarded = pl.DataFrame({**sides, "model_scores": [[{"model": "rm", "low": 1.0, "high": high}] for high in (0.0, 3.0)]})
    texts, grouped = pl.DataFrame({"prompt_text": ["t"], "chosen_text": ["t"]}), pl.DataFrame({"group": ["s"]})
    models, ranks = model_scores.reduce_model_scores([model_scores.summarise_models(rewarded)], [model_scores.summarise_sums(rewarded)])
    return {
        "kappas": agreement.kappas([agreement.summarise_kappas(crowd, ["a", "b"])]),
        "contrast_consistency": contrast_consistency(found, scores, "rm"),
        "calibration_statistics": calibration.calibration_statistics([calibration.summarise_calibration(guesses)]),
        "held_out": held_out_statistics(hidden),
        "best_of": best_of_statistics(best_of(answers), "rm"),
        "reduce_balance": balance.reduce_balance([balance.summarise_balance(pairs, rule)], rule).statistics,
        "add_difficulty": difficulty.reduce_difficulty([difficulty.summarise_difficulty(likelihoods)], "d"),
        "add_model_scores": model_scores.model_statistics(models, ranks, "d"),
        "vendi": vendi.statistics({"s": texts}, pl.DataFrame({"text_id": ["t"], "index": [0]}), np.ones((1, 2), dtype=np.float16)),
        "largest_remainder": mix.statistics(grouped, grouped, MixtureConfig(weights={"s": 1.0}), {"s": Fraction(1)}),
    }


def test_statistics_that_a_plain_run_lacks_come_from_their_functions() -> None:
    """Those of a plain run are compared with a real one in tests/flows/test_methods_command.py."""
    made = small_tables()
    told = {method.function.rsplit(".", 1)[1]: method for method in METHODS if method.statistics}
    for function, table in made.items():
        names = set(table["statistic"])
        assert {name for name in names if not any(fnmatch.fnmatch(name, known) for known in told[function].statistics)} == set()
        assert {known for known in told[function].statistics if not fnmatch.filter(names, known)} == set()
    assert {function for function, method in told.items() if not method.in_run} <= set(made)


def language_models() -> dict[str, set[str]]:
    """The statistics of judges and of rationales, from a few rows that bring all of them about, by what their names begin with."""
    said = [
        verdict(vote, "p", first, sample, stands=sample == 0, agrees_with_scores=True)
        for first in (True, False)
        for sample, vote in enumerate((-1, -1, 1))
    ]
    heard = verdicts(*said, verdict(None, "q", reason="cut_off"))
    probes = pl.DataFrame({"pair_id": ["p"], "key": [","], "key_is_low": [True]})
    keys = combined({"pair_id": "p", "low_first": True, "verdict": -1}, {"pair_id": "p", "low_first": False, "verdict": 0})
    judged = report.reduce([report.summarise(heard, combine(heard, config()), "j"), report.summarise_probes(probes, keys, "j")])
    told = drafts(
        draft(recovered_first="chosen", recovered_second="chosen", leaks_label=False, own_verdict="chosen"),
        draft(number=1, kind="rubric", items='{"chosen": 4, "rejected": 2}'),
        draft(None, number=2, reason="not_json"),
    )
    shares = told.with_columns(precision=pl.lit(1.0), recall=pl.lit(1.0), f1=pl.lit(1.0))
    written = [figures.reduce([figures.summarise(told)]), units.reduce_units([units.summarise_units(shares)])]
    return {"judge_": set(judged["statistic"]), "rationale_": {name for table in written for name in table["statistic"]}}


def test_statistics_of_language_models_are_those_of_the_registry() -> None:
    told = {name for method in METHODS for name in method.statistics}
    for prefix, made in language_models().items():
        known = {name for name in told if name.startswith(prefix)}
        assert {name for name in made if not any(fnmatch.fnmatch(name, one) for one in known)} == set()
        assert {one for one in known if not fnmatch.filter(made, one)} == set()
