"""Which published methods prefine has, where their numbers come out, and which it leaves out and why: `prefine methods`.

Data, no code: what a method does stands with its function, what a column means in `pipeline.schemas`.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["signal", "vote", "flag", "statistic", "rule", "weight", "rationale", "export"]


@dataclass(frozen=True)
class Method:
    """A method that yields something from data we hold.

    Attributes:
        name: what it is called.
        kind: of what it yields: a signal (number of a pair), vote (what votes make of a pair or an answer), flag (yes or no of a pair),
            statistic (number of a data set, source, annotator or model), rule (drops), weight, rationale (words about a pair), export
            (rows for a trainer).
        inputs: what it reads.
        range: unit and range of what it yields.
        source: paper or book, year; several are parted by semicolons.
        function: dotted path; it does the part that the source describes.
        columns: of PAIR, ANNOTATOR or RATIONALE.
        statistics: names in STATISTIC; `*` stands for one part of a name.
        checks: tests of numbers that the source or a hand gives, `file::test`.
        in_run: a run publishes what it yields. Otherwise it is a function to call, with inputs that no run has.
    """

    name: str
    kind: Kind
    inputs: str
    range: str
    source: str
    function: str
    columns: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    in_run: bool = True


@dataclass(frozen=True)
class LeftOut:
    """A method that there is no code for.

    Attributes:
        name: what it is called.
        source: paper or book, year; several are parted by semicolons.
        reason: why, and what of it there is.
    """

    name: str
    source: str
    reason: str


_SIDES = ("chosen", "rejected")
_FACTORS = ("length", "markdown", "citations", "hedges", "confidence", "language")
_VOTES = ("p_chosen", "p_tie", "tie", "posterior_entropy")
_VOTE_NOISE = ("vote_noise_repeated", "label_noise_repeated")
_COUNTED = ("votes_chosen", "votes_rejected", "votes_tie")
_DISPLACEMENT = "Unintentional Unalignment: Likelihood Displacement in Direct Preference Optimization (2024)"
_WITH_RATIONALES = "Data-Centric Human Preference Optimization with Rationales (2024)"
_TICK = "TICKing All the Boxes (2024)"
_REWARDS = ("best_of_credit", "best_of_accuracy", "best_of_reciprocal_rank")


def _both(name: str) -> tuple[str, ...]:
    return tuple(f"{side}_{name}" for side in _SIDES)


def _interval(name: str) -> tuple[str, ...]:
    return (name, f"{name}_low", f"{name}_high")


# fmt: off
METHODS: tuple[Method, ...] = (
    # Votes of several annotators on one pair, and how reliable the annotators are.
    Method(
        "Dawid-Skene", "vote", "votes, who cast them, the order shown", "probabilities, 0 to 1; entropy in bits",
        "Maximum Likelihood Estimation of Observer Error-Rates (1979)", "pipeline.consensus.dawid_skene.DawidSkene",
        columns=_VOTES, statistics=("vote_model_gain",),
        checks=("tests/consensus/test_em.py::test_two_who_agree_and_a_majority_of_three",
                "tests/consensus/test_dawid_skene.py::test_how_often_two_agree_says_how_often_they_are_right"),
    ),
    Method(
        "graded response", "vote", "votes with strength, who cast them, the order shown", "probabilities, 0 to 1",
        "Estimation of Latent Ability Using a Response Pattern of Graded Scores (1969)", "pipeline.consensus.graded.Graded",
        columns=_VOTES, statistics=("vote_model_gain",),
        checks=("tests/consensus/test_graded.py::test_tables_are_the_curves_of_the_model",),
    ),
    Method(
        "majority with a Beta prior", "vote", "votes", "probabilities, 0 to 1", "Laplace's rule of succession (1774)",
        "pipeline.consensus.majority.majority", columns=("p_chosen", "p_tie", "tie"),
        checks=("tests/consensus/test_majority.py::test_the_likelier_side_is_chosen_with_the_posterior_mean",),
    ),
    Method(
        "closest three", "vote", "votes with strength", "probabilities, 0 to 1", "HelpSteer2 (2024)",
        "pipeline.consensus.closest_three.closest_three", columns=("p_chosen", "p_tie", "tie"),
        checks=("tests/consensus/test_closest_three.py::test_the_three_closest_annotations_settle_the_value",
                "tests/consensus/test_closest_three.py::test_three_that_differ_by_more_than_two_points_need_more_votes"),
    ),
    Method(
        "Bradley-Terry", "vote", "votes on prompts with three answers or more, annotators' accuracy and pull to the first", "probabilities",
        "Rank Analysis of Incomplete Block Designs (1952); Long-Span QA (2024); Language Models Prefer What They Know (2025); CGCoT (2023)",
        "pipeline.consensus.bradley_terry.bradley_terry", columns=("p_chosen", "p_tie"),
        checks=("tests/consensus/test_bradley_terry.py::test_three_wins_to_one_are_log_odds_of_three_which_are_191_elo_points",
                "tests/consensus/test_bradley_terry.py::test_a_tie_is_half_a_win_for_each_side",
                "tests/consensus/test_bradley_terry.py::test_a_cycle_makes_all_scores_equal",
                "tests/consensus/test_bradley_terry.py::test_scores_do_not_depend_on_the_order_of_votes_as_elo_ratings_do"),
    ),
    Method(
        "strength of the votes", "signal", "votes with strength", "share, 0 to 1", "HelpSteer2-Preference (2024)",
        "pipeline.consensus.majority.majority", columns=("margin",),
        checks=("tests/consensus/test_majority.py::test_margin_is_the_mean_strength_towards_chosen_and_never_negative",),
    ),
    Method(
        "raw agreement of a pair's votes", "signal", "votes", "share, 0 to 1; bits; flag", "A Mathematical Theory of Communication (1948)",
        "pipeline.signals.votes.add_votes", columns=("agreement", "vote_entropy", "conflict"),
        checks=("tests/signals/test_votes.py::test_agreement_entropy_and_conflict_match_values_worked_by_hand",),
    ),
    Method(
        "win rates of models", "statistic", "votes on pairs whose answers come from one model each", "share of votes",
        "Mémoire sur les élections au scrutin (1781); Rank Analysis of Incomplete Block Designs (1952)",
        "pipeline.consensus.model_ranks.model_statistics", statistics=("win_rate", "win_rate_borda", "win_rate_bradley_terry"),
        checks=("tests/consensus/test_model_ranks.py::test_shares_count_ties_half_and_borda_counts_each_opponent_once",
                "tests/consensus/test_model_ranks.py::test_bradley_terry_allows_for_who_the_opponents_were"),
    ),
    Method(
        "Borda over ballots", "vote", "answers scored or ranked by several annotators or tasks", "points in halves, 0 and up; rank",
        "What are the best systems? New perspectives on NLP Benchmarking (2022)", "pipeline.consensus.borda.borda", in_run=False,
        checks=("tests/consensus/test_borda.py::test_ranks_do_not_let_one_outlying_score_win_as_means_do",),
    ),
    Method(
        "cyclic triads", "signal", "pairs' consensus under one prompt", "share, 0 to 1; why no single ranking",
        "On the Method of Paired Comparisons (1940); General Preference Modeling (2024)", "pipeline.consensus.cycles.count_triads",
        columns=("cyclic_share", "no_ranking"), statistics=("cyclic_share", "no_ranking_share"),
        checks=("tests/consensus/test_cycles.py::test_a_win_matrix_that_goes_round_is_one_cyclic_triad_and_an_ordered_one_is_none",
                "tests/consensus/test_cycles.py::test_a_score_of_two_dimensions_can_go_round"),
    ),
    Method(
        "annotators' reliability", "statistic", "votes, the vote model", "probability and shares, 0 to 1, with 95 % intervals",
        "Maximum Likelihood Estimation of Observer Error-Rates (1979)", "pipeline.consensus.annotators.annotator_table",
        columns=("votes", "pairs", "shared_pairs", *_interval("accuracy"), *_interval("tie_share"), *_interval("first_share")),
        statistics=("identifiability",),
        checks=("tests/consensus/test_annotators.py::test_what_is_counted_is_counted_and_has_a_jeffreys_interval",
                "tests/consensus/test_annotators.py::test_an_accuracy_interval_holds_the_truth_as_often_as_it_says"),
    ),
    Method(
        "one camp or several", "statistic", "named annotators' votes on pairs that others judged too", "groups, 1 to 3; nats a vote",
        "MaxMin-RLHF (2024)", "pipeline.consensus.camps.find_camps", columns=("group",), statistics=("camps", "camp_gain"),
        checks=("tests/consensus/test_camps.py::test_two_planted_camps_are_found_with_their_members",
                "tests/consensus/test_camps.py::test_unequal_skill_and_a_lone_contrarian_are_no_camps"),
    ),
    Method(
        "held-out votes", "statistic", "votes, a vote model's posteriors", "nats a vote, at most 0; guessing is -1.0986",
        "Cross-Validatory Choice and Assessment of Statistical Predictions (1974)", "pipeline.consensus.held_out.held_out",
        statistics=("held_out_log_likelihood_*", "held_out_gain_*"),
        checks=("tests/consensus/test_held_out.py::test_scores_are_those_of_loops_over_votes",),
    ),
    # Judges and reward models.
    Method(
        "gates for judges' votes", "rule", "judges' votes, human votes on the same pairs, answers without content",
        "admitted or not, with the reason", "ACORN (2024); One Token to Fool LLM-as-a-Judge (2025)", "pipeline.consensus.judges.admit",
        columns=("admitted", "reason", "gold_votes", *_interval("gold_agreement"), "votes_admitted", "unaudited_votes"),
        statistics=("votes_left_out",),
        checks=("tests/consensus/test_judges.py::TestAdmission::test_a_judge_counts_beside_two_humans_but_not_three",
                "tests/consensus/test_judges.py::TestAudit::test_the_gold_gate"),
    ),
    Method(
        "order swap", "vote", "a judge's verdicts on a pair in both orders", "one vote where both name one answer; pairs",
        "DMoERM (2024); Self-Assessment Tests are Unreliable (2023)", "pipeline.consensus.judges.audit",
        columns=("both_orders", "consistent"),
        checks=("tests/consensus/test_judges.py::TestOrders::"
                "test_a_judge_that_names_one_answer_in_both_orders_has_one_vote_and_else_none",),
    ),
    Method(
        "sum over both orders", "vote", "P(answer) of a judge in both orders", "probability, 0 to 1",
        "Dissecting Human and LLM Preferences (2024)", "pipeline.consensus.fusing.summed_orders", in_run=False,
        checks=("tests/consensus/test_fusing.py::test_the_two_orders_of_one_judge_add_up",),
    ),
    Method(
        "strength from several reward models", "signal", "scores of K reward models (fields.model_scores)",
        "the models' points; shares, 0 to 1", "Secrets of RLHF in Large Language Models Part II (2024)",
        "pipeline.signals.model_scores.add_model_scores",
        columns=("rm_models", "rm_mean", "rm_std", "rm_agreement", "rm_percentile"), statistics=("rm_label_agreement", "rm_mean_negative"),
        checks=("tests/signals/test_model_scores.py::test_the_first_published_row_of_secrets_ii",),
    ),
    Method(
        "agreement of two rankers", "signal", "two scores of each answer", "Kendall's tau, -1 to 1; consistency, 0 to 1",
        "CREAM (2024); BOSE (2025)", "pipeline.consensus.fusing.ranking_consistency", in_run=False,
        checks=("tests/consensus/test_fusing.py::test_two_rankers_agree_as_far_as_kendall_says_and_undefined_stays_null",
                "tests/consensus/test_fusing.py::test_the_loss_of_cream_at_this_consistency"),
    ),
    Method(
        "two judges point one way", "flag", "two probabilities of one answer, or a ranking and scores of one judge", "flag",
        "Self-Consistency of the Internal Reward Models (2025); UnifiedReward (2025)", "pipeline.consensus.fusing.both_point_one_way",
        in_run=False, checks=("tests/consensus/test_fusing.py::test_two_internal_judges_must_point_one_way",),
    ),
    Method(
        "fused probabilities", "vote", "independent probabilities of one answer", "probability, 0 to 1", "Bayesian aggregation (2025)",
        "pipeline.consensus.fusing.fused", in_run=False,
        checks=("tests/consensus/test_fusing.py::test_independent_probabilities_fuse",),
    ),
    Method(
        "votes by count and by probability", "vote", "several verdicts of one model and their probability", "verdict; support, 0 to 1",
        "Ask One More Time (2023); RPC (2025)", "pipeline.consensus.fusing.self_agreement", in_run=False,
        checks=("tests/consensus/test_fusing.py::test_the_most_frequent_verdict_wins_with_its_support_and_a_draw_has_none",
                "tests/consensus/test_fusing.py::test_counts_and_probability_mass_may_differ_and_both_are_told"),
    ),
    Method(
        "accuracy of a criterion", "statistic", "verdicts by criterion, known outcomes", "share, 0 to 1, with a 95 % interval",
        "CritiQ (2025)", "pipeline.consensus.fusing.criterion_accuracy", in_run=False,
        checks=("tests/consensus/test_fusing.py::test_a_criterion_is_judged_by_what_it_says_alone",),
    ),
    # Judges that a run asks (judges:), what their verdicts come to, and what they are worth.
    Method(
        "whom judges are asked about", "rule", "human votes of each pair", "asked or not, with the reason", "ACORN (2024)",
        "pipeline.judging.who.select", columns=("gold_votes", *_interval("gold_agreement")),
        checks=("tests/judging/test_who.py::test_pairs_with_three_human_votes_are_not_asked_about",
                "tests/judging/test_who.py::test_gold_is_asked_about_although_people_decided"),
    ),
    Method(
        "judge asked in both orders", "vote", "a model's verdicts with either answer first", "one vote where both name one answer, or none",
        "DMoERM (2024); Self-Assessment Tests are Unreliable (2023)", "pipeline.judging.verdicts.combine", columns=_COUNTED,
        statistics=("judge_first_share", "judge_consistent_share", "judge_no_vote:*"),
        checks=("tests/judging/test_verdicts.py::TestOrders::test_a_label_needs_the_same_answer_in_both_orders",
                "tests/judging/test_verdicts.py::TestOrders::test_a_failure_in_either_order_is_no_label",
                "tests/judging/test_judgements.py::"
                "test_a_judge_that_names_a_place_has_no_vote_in_consensus_and_one_that_names_an_answer_has_one"),
    ),
    Method(
        "sum over a judge's orders", "statistic", "shares of samples or criteria in both orders", "share that it decides, 0 to 1",
        "Dissecting Human and LLM Preferences (2024)", "pipeline.judging.verdicts.over_orders", statistics=("judge_summed_share",),
        checks=("tests/judging/test_verdicts.py::TestOrders::test_sums_over_both_orders_decide_where_the_verdicts_differ",
                "tests/judging/test_report.py::test_sums_over_samples_decide_pairs_on_which_the_orders_differ"),
    ),
    Method(
        "self-agreement", "vote", "several samples of a judge's verdict (judges: samples)", "verdict; support, 0 to 1",
        "Ask One More Time (2023)", "pipeline.judging.verdicts.combine", columns=_COUNTED, statistics=("judge_self_consistency",),
        checks=("tests/judging/test_verdicts.py::TestSamples::test_the_most_frequent_of_five_verdicts_counts_with_its_support",
                "tests/judging/test_verdicts.py::TestSamples::test_two_two_one_is_no_consensus",
                "tests/judging/test_verdicts.py::test_the_rules_are_those_for_opinions_of_any_kind"),
    ),
    Method(
        "summed scores with a meta judge", "vote", "several critiques with scores of both answers (judges: vote, meta)", "sums; verdict",
        "Inference-Time Scaling for Generalist Reward Modeling (2025)", "pipeline.judging.verdicts.combine", columns=_COUNTED,
        statistics=("judge_meta_rejected",),
        checks=("tests/judging/test_verdicts.py::TestScores::test_sums_of_scores_decide_sixteen_to_nineteen",
                "tests/judging/test_verdicts.py::TestScores::test_what_the_meta_judge_rejects_is_left_out_thirteen_to_eleven",
                "tests/consensus/test_fusing.py::test_scores_of_the_critiques_that_a_meta_judge_left_add_up"),
    ),
    Method(
        "majority over criteria", "vote", "verdicts by several criteria (judges: criteria)", "verdict; criteria", "CritiQ (2025)",
        "pipeline.judging.verdicts.combine", columns=_COUNTED,
        checks=("tests/judging/test_verdicts.py::TestCriteria::test_the_answer_that_more_criteria_name",
                "tests/consensus/test_fusing.py::test_the_side_that_more_criteria_favour_wins_and_a_draw_has_none"),
    ),
    Method(
        "mined criteria", "statistic", "labelled pairs (`prefine mine criteria`)", "criteria; shares, 0 to 1, with 95 % intervals",
        "CritiQ (2025)", "pipeline.judging.criteria.mine_criteria", in_run=False,
        checks=("tests/judging/test_criteria.py::test_accuracy_leaves_out_where_a_criterion_cannot_say",
                "tests/judging/test_criteria.py::test_the_majority_of_criteria_decides_with_one_margin_for_both_sides",
                "tests/judging/test_criteria.py::test_criteria_are_kept_refined_or_replaced_by_their_accuracy"),
    ),
    Method(
        "self-reference feedback", "vote", "a judge's own answer to the prompt, then both answers (judges: method)", "verdict",
        "Self-Reference AI feedback (2024)", "pipeline.judging.asking.ask", columns=_COUNTED,
        checks=("tests/judging/test_reading.py::test_a_judge_that_answers_itself_first_is_read_alike",
                "tests/judging/test_asking.py::test_the_answers_stand_where_the_order_says"),
    ),
    Method(
        "verdict by checklist", "vote", "a judge's yes or no to questions about both answers (judges: method)",
        "verdict; shares of yes, 0 to 1", _TICK, "pipeline.judging.reading.read", columns=_COUNTED,
        checks=("tests/judging/test_reading.py::TestChecklist::test_the_share_of_yes_decides_four_of_five",
                "tests/judging/test_verdicts.py::TestScores::test_checklists_of_different_length_weigh_the_same"),
    ),
    Method(
        "verdict against the judge's own scores", "statistic", "verdict and scores of one answer of a judge", "share, 0 to 1",
        "UnifiedReward (2025)", "pipeline.judging.reading.read", statistics=("judge_agrees_with_scores",),
        checks=("tests/judging/test_reading.py::test_a_verdict_agrees_with_the_scores_or_not",
                "tests/judging/test_report.py::test_what_is_counted"),
    ),
    Method(
        "probes without content", "statistic", "a real answer against one of the ten keys (judges: probes)", "shares, 0 to 1",
        "One Token to Fool LLM-as-a-Judge (2025)", "pipeline.judging.probes.planted", statistics=("judge_key_wins", "judge_key_ties"),
        checks=("tests/judging/test_probes.py::test_the_ten_keys_are_answers_without_content",
                "tests/judging/test_report.py::test_how_often_an_answer_without_content_wins"),
    ),
    Method(
        "judges' answers and their cost", "statistic", "every question to a judge", "shares, 0 to 1; questions; tokens; money",
        "Probable Inference, the Law of Succession (1927)", "pipeline.judging.report.reduce",
        statistics=("judge_answered", "judge_failed:*", "judge_tie_share", "judge_input_tokens", "judge_output_tokens", "judge_cost"),
        checks=("tests/judging/test_report.py::test_what_is_counted", "tests/judging/test_report.py::test_shares_have_wilsons_interval"),
    ),
    # Rationales: why the chosen answer is better, in words; and what they tell of the label.
    Method(
        "measured differences", "rationale", "the pair's signals, how far all pairs differ in each", "sentences; standardised, -1 to 1",
        "Uncovering Factor Level Preferences (2024)", "pipeline.rationale.factors.factors", columns=("rationale", "items"),
        checks=("tests/rationale/test_factors.py::test_a_difference_is_stated_with_its_numbers_and_no_cause",
                "tests/rationale/test_factors.py::test_the_difference_that_fewest_pairs_reach_comes_first"),
    ),
    Method(
        "stated rationales", "rationale", "reasons, critiques and feedback beside votes and ratings", "text, sides named",
        "HelpSteer2-Preference (2024)", "pipeline.rationale.stated.stated", columns=("rationale",),
        checks=("tests/rationale/test_stated.py::test_names_of_the_sides_are_undone_by_the_order_of_the_judgement",
                "tests/rationale/test_stated.py::test_reasons_of_votes_against_the_label_stay_as_a_sign_of_noise"),
    ),
    Method(
        "general and detailed rationales", "rationale", "prompt, both answers, perhaps the label (rationales: kinds, labels)",
        "text, sides named; shares, 0 to 1; tokens and money for one", _WITH_RATIONALES, "pipeline.rationale.asking.ask",
        columns=("rationale", "rationale_missing", "label_shown", "own_verdict"),
        statistics=("rationale_coverage", "rationale_own_verdict_agrees", "rationale_cost", "rationale_*_tokens"),
        checks=("tests/rationale/test_asking.py::test_either_side_is_shown_first_about_half_of_the_time",
                "tests/rationale/test_reading.py::test_a_rationale_kept_names_neither_a_letter_nor_an_index",
                "tests/rationale/test_figures.py::test_coverage_counts_pairs_and_cost_is_that_of_all_attempts_for_one_accepted"),
    ),
    Method(
        "rubric rationales", "rationale", "a criterion with five levels, perhaps a reference (rationales: rubrics)",
        "feedback; scores, 1 to 5", "Prometheus (2023)", "pipeline.rationale.reading.read", columns=("rationale", "items"),
        statistics=("rationale_score_*",),
        checks=("tests/rationale/test_reading.py::test_a_score_that_is_no_integer_from_1_to_5_is_a_failure_and_never_0",
                "tests/rationale/test_asking.py::test_each_rubric_is_a_question_of_its_own_with_criterion_levels_and_reference"),
    ),
    Method(
        "checklist rationales", "rationale", "yes or no questions about both answers (rationales: kinds)", "list; shares of yes, 0 to 1",
        f"{_TICK}; WildBench (2024)", "pipeline.rationale.reading.read", columns=("rationale", "items"), statistics=("rationale_score_*",),
        checks=("tests/rationale/test_reading.py::test_a_checklists_score_is_its_share_of_yes",
                "tests/rationale/test_figures.py::test_a_checklists_score_is_the_mean_of_rates_and_not_the_rate_of_all_questions"),
    ),
    Method(
        "checks of a rationale", "rule", "its text, the pair", "accepted or not, with the reason; share of each, 0 to 1", _WITH_RATIONALES,
        "pipeline.rationale.checks.check", columns=("accepted", "reason"), statistics=("rationale_refused_*",),
        checks=("tests/rationale/test_checks.py::test_each_text_is_accepted_or_has_its_reason",
                "tests/rationale/test_checks.py::test_a_copy_is_told_with_its_share_and_a_missing_quote_with_its_words"),
    ),
    Method(
        "rationales said of other prompts", "flag", "embeddings of all rationales", "prompts, 0 and up; refused from three on",
        "Cheating Automatic LLM Benchmarks (2024)", "pipeline.rationale.repeats.count_repeats",
        columns=("rationale_near_copies", "near_copies"),
        checks=("tests/rationale/test_checks.py::test_what_is_said_of_three_other_prompts_is_refused",),
    ),
    Method(
        "label recovered from the rationale", "signal", "verdicts of readers that are not told the label, in both orders",
        "share, 0 to 1; flags", "GPT Self-Supervision (2023); DMoERM (2024)", "pipeline.rationale.recovery.settle",
        columns=("rationale_verdict", "rationale_against", "rationale_steady", "recovered_first", "recovered_second"),
        statistics=("rationale_recovered", "rationale_steady"),
        checks=("tests/rationale/test_recovery.py::test_the_label_must_come_back_in_both_orders",
                "tests/rationale/test_recovery.py::test_a_reader_that_names_one_place_tells_nothing",
                "tests/rationale/test_figures.py::test_recovery_and_leakage_are_shares_with_wilsons_interval"),
    ),
    Method(
        "label leakage", "flag", "the words of a rationale", "flag; share, 0 to 1", "GPT Self-Supervision (2023)",
        "pipeline.rationale.label.names_label", columns=("rationale_leaks", "leaks_label"), statistics=("rationale_leaks_label",),
        checks=("tests/rationale/test_label.py::test_a_sentence_that_names_the_label_is_left_out_and_nothing_stays",
                "tests/rationale/test_label.py::test_a_reason_stays_whole"),
    ),
    Method(
        "noise score with rationales", "signal", "noise_score, what rationales argue for", "P(label wrong), 0 to 1",
        f"{_WITH_RATIONALES}; Bayesian aggregation (2025)", "pipeline.rationale.doubt.add_rationale_noise",
        columns=("rationale_noise_score",),
        checks=("tests/rationale/test_doubt.py::TestScore::test_two_doubts_of_seven_tenths_are_the_fusing_check",
                "tests/rationale/test_doubt.py::TestAccuracy::test_agreement_and_noise_say_how_often_the_verdict_is_right",
                "tests/rationale/test_doubt.py::test_verdicts_of_known_accuracy_make_a_calibrated_score_that_finds_more"),
    ),
    Method(
        "atomic statements (MetaCritique)", "statistic", "what a rationale states, what a stated one states (rationales: units)",
        "shares and their harmonic mean, 0 to 1", "The Critique of Critique (2024)", "pipeline.rationale.units.add_units",
        columns=("precision", "recall"), statistics=("rationale_precision", "rationale_recall", "rationale_f1"),
        checks=("tests/rationale/test_units.py::test_three_of_four_true_and_two_of_five_found_are_an_f1_of_0_521739",
                "tests/rationale/test_units.py::test_the_mean_of_f1_is_not_the_f1_of_the_means",
                "tests/rationale/test_units.py::test_a_rationale_without_statements_has_no_shares"),
    ),
    Method(
        "mined rules", "statistic", "rationales, pairs (`prefine mine rules`)", "rules; shares, 0 to 1, with 95 % intervals",
        "AutoRule (2025)", "pipeline.rationale.mined.mine_rules", in_run=False,
        checks=("tests/rationale/test_mined.py::TestMeasures::test_the_rules_of_the_check",
                "tests/rationale/test_mined.py::TestMeasures::test_coverage_and_agreement_have_intervals"),
    ),
    Method(
        "does the critique help?", "statistic", "answers right or wrong before and after each critique", "shares, 0 to 1; gain, -1 to 1",
        "RealCritic (2025); Confidence vs Critique (2024)", "pipeline.rationale.closed_loop.closed_loop", in_run=False,
        checks=("tests/rationale/test_closed_loop.py::test_keeping_repairing_and_gain_of_the_published_transitions",),
    ),
    Method(
        "pairs with a rationale", "export", "published pairs and rationales (`prefine export --format rationale`)",
        "a pair, and a dialogue that explains it", _WITH_RATIONALES, "pipeline.export.rationale.to_rationale", in_run=False,
        checks=("tests/export/test_rationale.py::test_the_rationale_names_the_answers_by_the_labels_they_stand_under",
                "tests/export/test_rationale.py::test_the_chosen_answer_stands_first_in_about_half_of_the_pairs"),
    ),
    Method(
        "two forms of the rationale loss", "export", "a rationale's summed log-probability, gamma", "nats, 0 and up", _WITH_RATIONALES,
        "pipeline.export.rationale.rationale_loss_released", in_run=False,
        checks=("tests/export/test_rationale.py::test_the_papers_loss_and_the_released_one_are_not_the_same",
                "tests/export/test_rationale.py::test_the_released_loss_weighs_a_rationale_by_half_of_gamma_to_gamma"),
    ),
    Method(
        "critiques to learn from", "export", "published pairs and rationales (`prefine export --format critique`)",
        "a judge's question and what it should say, in both orders", "Prometheus (2023); JudgeLM (2023)",
        "pipeline.export.critique.to_critique", in_run=False,
        checks=("tests/export/test_critique.py::test_a_critique_ends_in_the_verdict_and_is_there_in_both_orders",
                "tests/export/test_critique.py::test_a_rubrics_row_has_criterion_levels_reference_feedback_and_scores"),
    ),
    Method(
        "pairs of judgements", "export", "judgements with reasons, the label (`prefine export --format self-rationalization`)",
        "a judgement that gives the label against one that does not", "Self-rationalization (2024)",
        "pipeline.export.self_rationalization.to_self_rationalization", in_run=False,
        checks=("tests/export/test_self_rationalization.py::"
                "test_a_judgement_that_gives_the_label_beats_one_that_does_not_and_both_speak_of_one_order",
                "tests/export/test_self_rationalization.py::test_a_tie_is_not_the_label"),
    ),
    # Rows for trainers.
    Method(
        "single answers", "export", "published pairs, or ratings and thresholds (`prefine export --format unpaired`)",
        "good or bad; bounds of the two classes' weights", "KTO (2024); Binary Classifier Optimization (2024)",
        "pipeline.export.unpaired.weight_bounds", in_run=False,
        checks=("tests/export/test_unpaired.py::test_the_bounds_of_the_check",
                "tests/export/test_unpaired.py::test_two_pairs_are_four_rows_as_trl_makes_them"),
    ),
    Method(
        "weight, margin and soft label", "export", "published pairs (`prefine export --format soft`, `--format reward`)",
        "probabilities, 0 to 1; margin, any; weight, 0 and up",
        "HelpSteer2-Preference (2024); Secrets of RLHF in Large Language Models Part II (2024)",
        "pipeline.export.soft.soft_loss", in_run=False,
        checks=("tests/export/test_margins.py::test_the_three_losses_of_the_check_at_a_gap_of_1",
                "tests/export/test_training.py::test_a_reward_model_reads_the_margin"),
    ),
    Method(
        "reward-conditioned pairs", "export", "published pairs and ratings (`prefine export --format reward-conditioned`)",
        "goals, 1 to 10; two rows a pair", "Reward-Augmented Data Enhances Direct Preference Alignment of LLMs (2024)",
        "pipeline.export.goals.to_goals", in_run=False,
        checks=("tests/export/test_goals.py::test_a_pair_with_scores_8_and_3_has_a_row_for_each_goal_with_the_answers_exchanged",
                "tests/export/test_goals.py::test_a_system_message_keeps_what_it_says_and_all_turns_stay"),
    ),
    Method(
        "lists of answers", "export", "ratings and judgements (`prefine export --format listwise`)", "win probability, 0 to 1, best first",
        "LiPO (2024)", "pipeline.export.listwise.lipo_loss", in_run=False,
        checks=("tests/export/test_listwise.py::test_the_lambda_weights_and_loss_of_the_check",
                "tests/export/test_listwise.py::test_raters_who_disagree_make_scores_that_an_order_alone_does_not_tell"),
    ),
    Method(
        "rewards of a list", "export", "ratings (`prefine export --format listwise`)", "share of the scale, 0 to 1, best first",
        "Preference Ranking Optimization for Human Alignment (2023)", "pipeline.export.listwise.pro_loss", in_run=False,
        checks=("tests/export/test_listwise.py::test_the_loss_of_the_check_for_rewards",),
    ),
    Method(
        "pairs from lists", "export", "ratings and judgements (`prefine export --format list-pairs`)", "pairs; weight, 0 to 1, 1 a prompt",
        "LiPO (2024); SimPO (2024)", "pipeline.export.listwise.to_list_pairs", in_run=False,
        checks=("tests/export/test_listwise.py::test_pairs_of_different_scores_weigh_one_prompt_together",),
    ),
    # Checks of a scorer.
    Method(
        "contrast instructions", "statistic", "scores of the items that `prefine contrast` writes", "share, 0 to 1; chance is 0.5",
        "The Trickle-down Impact of Reward (In-)consistency on RLHF (2023)", "pipeline.contrast.contrast_consistency", in_run=False,
        statistics=("response_consistency", "instruction_consistency"),
        checks=("tests/test_contrast.py::test_the_rewards_of_the_check",
                "tests/flows/test_contrasting.py::TestReport::test_the_rewards_of_the_check_in_any_order_of_lines"),
    ),
    Method(
        "best of several", "statistic", "a scorer's numbers for prompts with one right answer among several", "shares, 0 to 1",
        "RewardBench 2 (2025); RewardMATH (2024)", "pipeline.statistics.best_of.best_of", in_run=False, statistics=_REWARDS,
        checks=("tests/statistics/test_best_of.py::test_credit_is_shared_among_those_on_top",
                "tests/statistics/test_best_of.py::"
                "test_a_scorer_that_guesses_among_ten_has_a_tenth_and_a_mean_reciprocal_rank_of_0_29"),
    ),
    # Labels that may be wrong, and what follows from it.
    Method(
        "peer review", "signal", "embeddings of prompt and answers, the labels of other prompts", "probabilities, 0 to 1; verdict",
        "Two Minds Better Than One (2025)", "pipeline.noise.score.verdicts",
        columns=("peer_probability", "peer_disagreement", "peer_verdict"),
        checks=("tests/noise/test_noise.py::test_verdicts_of_the_published_example",),
    ),
    Method(
        "agreement of sibling labels", "signal", "embeddings and labels of the other pairs of a prompt", "share, 0 to 1",
        "Asymptotic Properties of Nearest Neighbor Rules Using Edited Data (1972)", "pipeline.noise.neighbours.siblings",
        columns=("neighbour_agreement",),
        checks=("tests/noise/test_noise.py::test_siblings_against_a_loop_over_pairs",),
    ),
    Method(
        "noise score", "signal", "what peers and siblings say of the label", "P(label wrong), 0 to 1",
        "Two Minds Better Than One (2025); Noise Tolerance under Risk Minimization (2013)", "pipeline.noise.score.noise_columns",
        columns=("noise_score",),
        checks=("tests/noise/test_noise.py::test_where_the_evidence_is_strong_the_score_is_calibrated_and_finds_the_rate",),
    ),
    Method(
        "noise rate from repeated votes", "statistic", "pairs with two votes or more for a side", "share, 0 to 0.5",
        "Provably Robust DPO (2024)", "pipeline.noise_rates.noise_rates", statistics=(*_VOTE_NOISE, "label_noise_votes"),
        checks=("tests/test_noise_rates.py::test_planted_flips_are_inside_the_intervals_of_repeated_votes",),
    ),
    Method(
        "noise rate from peers", "statistic", "peers' log-odds, the labels", "share, 0 to 0.5",
        "Two Minds Better Than One (2025)", "pipeline.noise_rates.lapse_rate", statistics=("label_noise_peers", "label_noise_scores"),
        checks=("tests/test_noise_rates.py::test_the_lapse_rate_of_exact_counts_is_the_rate_they_were_made_with",),
    ),
    Method(
        "epsilon for robust DPO", "statistic", "the noise rates of a source", "share, 0 to 0.5; null near one half",
        "Provably Robust DPO (2024)", "pipeline.noise_rates.noise_rates", statistics=("epsilon",),
        checks=("tests/test_noise_rates.py::test_epsilon_makes_rdpo_unbiased",),
    ),
    Method(
        "soft label", "signal", "p_chosen, noise_score, how sure the source's votes usually are", "P(label right), 0 to 1",
        "Bayesian aggregation (2025); CREAM (2024)", "pipeline.weights.add_p_soft", columns=("p_soft",),
        checks=("tests/test_weights.py::test_two_independent_opinions_multiply_their_odds",),
    ),
    Method(
        "weights by doubt and strength", "weight", "p_soft, margin", "0 and up, 1 on average",
        "HelpSteer2-Preference (2024); CREAM (2024)", "pipeline.weights.add_weights", columns=("weight",),
        checks=("tests/test_weights.py::test_noise_weighs_over_all_sources_and_strength_within_them",),
    ),
    Method(
        "whom to ask", "rule", "posterior of each pair, noise_score, annotators' accuracy", "bits a vote (`prefine queue`)",
        "Hybrid Preferences (2024); On a Measure of the Information Provided by an Experiment (1956)", "pipeline.routing.queue",
        in_run=False, checks=("tests/test_routing.py::test_the_gain_is_that_of_a_channel_that_errs_in_one_of_five",),
    ),
    # Length and style.
    Method(
        "length tie", "flag", "margin, characters of both answers", "flag", "WildBench (2024)",
        "pipeline.bias.length_control.is_length_tie", columns=("length_tie",),
        checks=("tests/bias/test_length_control.py::test_a_slight_win_by_a_much_longer_answer_is_a_tie",),
    ),
    Method(
        "length-controlled votes", "signal", "votes, characters and models of both answers", "probability; log-odds; share at equal length",
        "Length-Controlled AlpacaEval (2024)", "pipeline.bias.length_control.fit_length_control",
        columns=("p_chosen_length_controlled",), statistics=("length_coefficient", "share_at_equal_length"),
        checks=("tests/bias/test_length_control.py::test_the_share_at_equal_length_is_that_of_the_methods_reference",
                "tests/bias/test_length_control.py::test_a_model_against_itself_wins_half",
                "tests/bias/test_logistic.py::test_tanh_at_one_deviation_is_that_of_the_methods_reference"),
    ),
    Method(
        "style panel", "statistic", "votes, what both answers have of each factor", "tau, -1 to 1; log-odds; share",
        "Uncovering Factor Level Preferences (2024); Dissecting Human and LLM Preferences (2024); AdParaphrase (2025); "
        "Search Arena (2025); Preference Fine-Tuning for Factuality in Chest X-Ray Interpretation (2024); "
        "Taming Overconfidence in LLMs (2024); M-RewardBench (2024)", "pipeline.bias.panel.reduce_panel",
        columns=("markdown_gap", "citations_gap", "hedges_gap", "confidence_gap"),
        statistics=(*(f"{number}_{factor}" for factor in _FACTORS for number in ("tau", "coefficient")), "longer_wins"),
        checks=("tests/bias/test_panel.py::test_tau_is_that_of_the_methods_reference",
                "tests/bias/test_panel.py::test_where_nothing_differs_tau_and_coefficient_are_null_and_say_so"),
    ),
    Method(
        "balance of a signal", "rule", "a signal that is chosen less rejected", "pairs dropped, or weights; log-odds before and after",
        "Length-Controlled AlpacaEval (2024); WildBench (2024)", "pipeline.bias.balance.reduce_balance",
        statistics=("balance_*",),
        checks=("tests/bias/test_balance.py::test_the_length_coefficient_is_gone_after_matching_and_weighing",),
    ),
    Method(
        "length among a prompt's answers", "signal", "all answers to the prompt", "percentile, 0 to 1; null: the only one",
        "When More is Less (2025)", "pipeline.signals.style.add_length_percentiles", columns=_both("length_percentile"),
        checks=("tests/signals/test_style.py::test_two_answers_are_the_shortest_and_the_longest",
                "tests/signals/test_style.py::test_a_single_answer_has_no_percentile"),
    ),
    Method(
        "lengths", "signal", "both answers", "characters; tokens; ratios, 0 to 1",
        "Length Desensitization (2024); Hitchhiker's Guide (2024); SimPO (2024)", "pipeline.signals.lengths.add_lengths",
        columns=(*_both("chars"), *_both("tokens"), "chars_gap", "tokens_gap", "chars_ratio", "tokens_ratio"),
        checks=("tests/signals/test_lengths.py::test_gap_is_chosen_less_rejected_and_ratio_shorter_by_longer",),
    ),
    # Answers that are no answers.
    Method(
        "master keys", "flag", "prompt and answers", "flags", "One Token to Fool LLM-as-a-Judge (2025)",
        "pipeline.signals.degenerate.add_degenerate", columns=(*_both("empty"), *_both("degenerate")),
        checks=("tests/signals/test_degenerate.py::test_answers_without_content_are_degenerate",
                "tests/signals/test_degenerate.py::test_short_answers_with_content_are_not_degenerate"),
    ),
    Method(
        "judge-template injection", "flag", "answers", "flags", "Cheating Automatic LLM Benchmarks (2024)",
        "pipeline.signals.degenerate.add_degenerate", columns=(*_both("injected"), *_both("garbled_start")),
        checks=("tests/signals/test_degenerate.py::test_judge_template_text_is_flagged_as_injected",
                "tests/signals/test_degenerate.py::test_a_start_of_symbols_run_into_words_is_garbled"),
    ),
    Method(
        "null responses", "signal", "all answers of a source and its models", "prompts, 0 and up; share, 0 to 1",
        "Cheating Automatic LLM Benchmarks (2024)", "pipeline.signals.repeats.add_distinct_shares",
        columns=(*_both("repeated_prompts"), *_both("near_repeated_prompts"), *_both("distinct_share")),
        checks=("tests/signals/test_repeats.py::test_one_answer_for_805_prompts_is_a_constant_source",
                "tests/signals/test_repeats.py::test_a_source_of_questions_asked_before_is_not_constant"),
    ),
    Method(
        "repetition", "signal", "answers", "share of distinct trigrams, 0 to 1; flag",
        "Preference-free Alignment Learning with Regularized Relevance Reward (2024)", "pipeline.signals.degenerate.add_degenerate",
        columns=(*_both("trigram_uniqueness"), *_both("repetitive")),
        checks=("tests/signals/test_degenerate.py::test_trigram_uniqueness_matches_the_published_check",
                "tests/signals/test_degenerate.py::test_trigram_uniqueness_is_distinct_by_all"),
    ),
    Method(
        "relevance to the prompt", "signal", "embeddings of prompt and answers", "cosine, -1 to 1",
        "Preference-free Alignment Learning with Regularized Relevance Reward (2024)", "pipeline.signals.similarity.add_cosines",
        columns=tuple(f"cosine_prompt_{side}" for side in _SIDES),
        checks=("tests/signals/test_similarity.py::test_cosines_look_vectors_up_by_text_id",),
    ),
    Method(
        "mechanical degeneracy", "flag", "prompt and answers", "flags; share, 0 to 1", "A-LoL (2023)",
        "pipeline.signals.degenerate.add_degenerate",
        columns=("identical_answers", *_both("copies_prompt"), *_both("truncated_tail"), *_both("role_marker"), *_both("unreadable_share")),
        checks=("tests/signals/test_degenerate.py::test_an_answer_copies_the_prompt_when_it_holds_most_of_its_trigrams",
                "tests/signals/test_degenerate.py::test_a_tail_is_cut_when_it_ends_in_a_colon"),
    ),
    Method(
        "identical once cut", "signal", "prompt and answers in a trainer's tokens", "tokens; lengths at which both are one text",
        "TRL's max_length (2026)", "pipeline.signals.truncation.add_truncation",
        columns=("prompt_tokens", "common_prefix_tokens", "identical_at_lengths"),
        checks=("tests/signals/test_truncation.py::test_a_pair_is_one_text_twice_once_prompt_and_shared_start_fill_the_length",),
    ),
    # Hidden states and likelihoods under a causal model (signals.ches): is a pair likely to lower what it should raise?
    Method(
        "centered hidden embedding similarity (CHES)", "signal", "a causal model's last hidden states over both answers",
        "squared length of states, any; higher: more displacement expected", _DISPLACEMENT, "pipeline.ches.score.ches",
        columns=("ches", "ches_ln", "ches_missing", "ches_cut", *_both("lm_tokens")),
        checks=("tests/ches/test_score.py::test_the_worked_numbers_of_the_paper_s_formula",
                "tests/ches/test_score.py::test_ches_is_minus_the_product_of_the_chosen_sum_with_the_difference",
                "tests/ches/test_score.py::test_equal_answers_give_exactly_zero",
                "tests/ches/test_model.py::test_padding_on_either_side_is_left_out_of_the_sums",
                "tests/ches/test_model.py::test_scores_are_those_of_two_plain_passes_a_pair"),
    ),
    Method(
        "CHES over encoder states", "signal", "the sentence encoder's token states of both answers, without the prompt: a proxy",
        "squared length of states, any", _DISPLACEMENT, "pipeline.ches.encoder.add_ches_encoder",
        columns=("ches_encoder", "ches_encoder_ln", "ches_encoder_missing"),
        checks=("tests/ches/test_encoder.py::test_the_worked_example_of_the_method",
                "tests/ches/test_encoder.py::test_scores_of_a_real_encoder_are_those_of_its_token_states"),
    ),
    Method(
        "inner product of last hidden states", "signal", "a causal model's state at the last token of both answers",
        "squared length of a state, any; a baseline that does not tell displacement", _DISPLACEMENT,
        "pipeline.ches.score.last_hidden_inner", columns=("last_hidden_inner",),
        checks=("tests/ches/test_score.py::test_the_last_states_inner_product",),
    ),
    Method(
        "difficulty for the reference model", "signal", "a causal model's log-probabilities of both answers",
        "nats, any; flag; share of the pairs it ranks wrongly", "Preference Learning Algorithms Do Not Learn Preference Rankings (2024)",
        "pipeline.ches.difficulty.add_difficulty",
        columns=("difficulty", "reference_ranks_right", *_both("logp"), *_both("logp_mean")),
        statistics=("reference_misranks", "reference_misranks_per_token"),
        checks=("tests/ches/test_difficulty.py::test_the_loss_a_pair_must_reach",
                "tests/ches/test_difficulty.py::test_four_raters_of_five_can_turn_pairs_up_to_this",
                "tests/ches/test_difficulty.py::test_how_often_the_reference_prefers_the_rejected_answer"),
    ),
    Method(
        "density ratio", "signal", "log-probabilities of both answers under a strong and a weak causal model", "nats, any", "CDR (2024)",
        "pipeline.ches.score.density_ratio", columns=_both("density_ratio"),
        checks=("tests/ches/test_score.py::test_a_strong_model_s_preference_is_relative_to_the_weak_one_s",),
    ),
    Method(
        "follow-up likelihood", "signal", "a causal model's log-probabilities of good and bad reactions to each answer",
        "nats a token, any", "Aligning Language Models Using Follow-up Likelihood as Reward Signal (2024)",
        "pipeline.ches.follow_up.follow_up_scores", columns=_both("follow_up"),
        checks=("tests/ches/test_follow_up.py::test_good_reactions_less_bad_ones",
                "tests/ches/test_follow_up.py::test_a_follow_up_that_stands_there_twice_counts_once"),
    ),
    # Statistics.
    Method(
        "agreement", "statistic", "pairs with two votes or more", "shares, 0 to 1; alpha, at most 1",
        "Computing Krippendorff's alpha-reliability (2011)", "pipeline.statistics.agreement.vote_statistics",
        statistics=("agreement", "agreement_decided", "alpha", "alpha_ordinal", "tie_share", "repeated_share"),
        checks=("tests/statistics/test_agreement.py::test_alpha_of_krippendorffs_data",),
    ),
    Method(
        "accuracy from agreement", "statistic", "how often two annotators agree", "probability, 0.5 to 1",
        "DMoERM (2024); Secrets of RLHF in Large Language Models Part II (2024)", "pipeline.statistics.agreement.accuracy_from_agreement",
        statistics=("accuracy_from_agreement",),
        checks=("tests/statistics/test_agreement.py::test_accuracy_from_agreement",
                "tests/statistics/test_agreement.py::test_majorities_and_margins"),
    ),
    Method(
        "Cohen's kappa", "statistic", "votes of two annotators on the same pairs", "at most 1",
        "A Coefficient of Agreement for Nominal Scales (1960)", "pipeline.statistics.agreement.kappas", in_run=False,
        statistics=("kappa",), checks=("tests/statistics/test_agreement.py::test_kappa_of_balanced_labels",),
    ),
    Method(
        "bootstrap intervals", "statistic", "any sums over pairs", "95 %, of 500 resamplings seeded by pair id",
        "Deep Reinforcement Learning at the Edge of the Statistical Precipice (2021)", "pipeline.statistics.bootstrap.replicate_sums",
        statistics=("agreement", "label_noise_votes", "epsilon"),
        checks=("tests/statistics/test_bootstrap.py::test_the_interval_of_a_mean_has_the_width_theory_gives",),
    ),
    Method(
        "Wilson interval", "statistic", "hits and trials", "95 %, 0 to 1", "Probable Inference, the Law of Succession (1927)",
        "pipeline.statistics.intervals.wilson", statistics=("longer_wins", "rm_label_agreement"),
        checks=("tests/statistics/test_intervals.py::test_wilson_of_60_in_100",),
    ),
    Method(
        "interquartile mean", "statistic", "scores of several runs", "the scores' own",
        "Deep Reinforcement Learning at the Edge of the Statistical Precipice (2021)", "pipeline.statistics.intervals.interquartile_mean",
        in_run=False, checks=("tests/statistics/test_intervals.py::test_interquartile_mean_ignores_the_outer_quarters",),
    ),
    Method(
        "probability of improvement", "statistic", "scores of two sets of runs", "probability, 0 to 1",
        "Deep Reinforcement Learning at the Edge of the Statistical Precipice (2021)",
        "pipeline.statistics.intervals.probability_of_improvement", in_run=False,
        checks=("tests/statistics/test_intervals.py::test_probability_of_improvement_counts_ties_half",),
    ),
    Method(
        "optimality gap", "statistic", "scores of several runs and a target", "the scores' own",
        "Deep Reinforcement Learning at the Edge of the Statistical Precipice (2021)", "pipeline.statistics.intervals.optimality_gap",
        in_run=False, checks=("tests/statistics/test_intervals.py::test_optimality_gap_counts_no_surplus",),
    ),
    Method(
        "calibration", "statistic", "probabilities and what happened", "errors, 0 to 1; balance, -1 to 0.5",
        "Language Models (Mostly) Know What They Know (2022); On Diversified Preferences (2023); RLCR (2025); "
        "Rethinking Evaluation Metric for Probability Estimation Models Using Esports Data (2023)",
        "pipeline.statistics.calibration.calibration_statistics", in_run=False,
        statistics=("ece_5", "ece_10", "ece_20", "ace_10", "mce_10", "brier", "balance"),
        checks=("tests/statistics/test_calibration.py::test_the_worked_example",
                "tests/statistics/test_calibration.py::test_errors_that_cancel_in_balance_show_in_the_bins"),
    ),
    Method(
        "true rate behind a judge", "statistic", "a judge's rate and its true and false positive rates", "share; refused below chance",
        "Judging LLMs on a Simplex (2025)", "pipeline.statistics.intervals.binary_inversion", in_run=False,
        checks=("tests/statistics/test_intervals.py::test_a_judges_rate_is_inverted",
                "tests/statistics/test_intervals.py::test_a_judge_no_better_than_chance_is_refused",
                "tests/statistics/test_intervals.py::test_three_levels_do_not_say_who_leads_unless_the_judge_is_known"),
    ),
    # What is kept of the pairs that the rules leave, and how much each counts.
    Method(
        "caps", "rule", "prompt clusters, sources, annotators and a score", "drops cap_prompt_cluster, cap_source, cap_annotator",
        "LiPO-lambda (2024)", "pipeline.selection.caps.admit", columns=("p_soft",),
        checks=("tests/selection/test_caps.py::test_rows_are_admitted_as_if_one_by_one",),
    ),
    Method(
        "sampling by quality", "rule", "a score, a temperature and a seed", "drops not_sampled: rows, a share or a budget of tokens",
        "QuRating (2024)", "pipeline.selection.gumbel.chances", columns=("p_soft",),
        checks=("tests/selection/test_gumbel.py::test_chances_of_the_reference",
                "tests/selection/test_gumbel.py::test_a_temperature_of_0_takes_the_highest",
                "tests/selection/test_gumbel.py::test_keys_draw_in_proportion_to_the_chances"),
    ),
    Method(
        "positive advantage", "rule", "a score and what is usual", "drops no_advantage; draws in proportion to the advantage",
        "Improving Language Models with Advantage-based Offline Policy Gradients (2023)", "pipeline.selection.gumbel.advantages",
        columns=("rm_mean",),
        checks=("tests/selection/test_gumbel.py::test_advantages_of_the_reference",),
    ),
    Method(
        "mixture", "rule", "sources, languages or topics of prompts, and weights", "drops not_sampled, not_in_mixture; shares, 0 to 1",
        "CLIMB (2025); Klear-Reasoner (2025)", "pipeline.selection.shares.largest_remainder",
        statistics=("mixture_before", "mixture_after", "mixture_requested"),
        checks=("tests/selection/test_shares.py::test_the_mixture_of_the_reference",),
    ),
    Method(
        "least shares of groups", "rule", "sources, languages or topics of prompts", "drops not_sampled",
        "Subset Selection Based On Multiple Rankings in the Presence of Bias (2023)", "pipeline.selection.gumbel.take_with_least",
        columns=("sources",), checks=("tests/selection/test_gumbel.py::test_a_quota_of_a_fifth_of_ten_is_the_best_two_of_the_group",),
    ),
    Method(
        "Vendi score", "statistic", "embeddings of prompts and chosen answers, a sample", "effective number of different texts, 1 to n",
        "Cousins of the Vendi Score (2023)", "pipeline.selection.vendi.vendi", statistics=("vendi_prompts_q*", "vendi_chosen_q*"),
        checks=("tests/selection/test_vendi.py::test_scores_of_the_reference",
                "tests/selection/test_vendi.py::test_equal_texts_count_as_one_and_orthogonal_ones_as_many",
                "tests/selection/test_vendi.py::test_both_products_have_the_same_spectrum"),
    ),
    Method(
        "ranks that train", "export", "scores of a prompt's candidates", "chances, 0 to 1, that add up to 1 in each prompt",
        "Policy Filtration in RLHF (2024)", "pipeline.selection.ranks.add_policy", in_run=False,
        checks=("tests/selection/test_ranks.py::test_policies_of_the_reference",
                "tests/selection/test_ranks.py::test_prompts_with_more_candidates_do_not_dominate"),
    ),
    Method(
        "best against worst", "export", "scores of a prompt's candidates", "a pair, or none where all scores tie",
        "SimPO (2024); Unpacking DPO and PPO (2024)", "pipeline.selection.ranks.best_and_worst", in_run=False,
        checks=("tests/selection/test_ranks.py::test_equal_scores_make_no_pair_of_an_answer_with_itself",),
    ),
    Method(
        "surprise", "statistic", "two scores of a prompt's candidates", "0 (the same order) to 2 (the opposite one)",
        "What are the Desired Characteristics of Calibration Sets? (2023)", "pipeline.selection.ranks.surprise", in_run=False,
        checks=("tests/selection/test_ranks.py::test_surprise_is_1_less_kendalls_tau",),
    ),
    Method(
        "weights by repetition", "weight", "weights", "times that a row is written, 0 and up",
        "HelpSteer2-Preference (2024)", "pipeline.selection.repeat.repetitions", in_run=False,
        checks=("tests/selection/test_repeat.py::test_a_weight_of_3_is_written_exactly_3_times",
                "tests/selection/test_repeat.py::test_copies_add_up_and_are_a_weight_rounded_down_or_up"),
    ),
    Method(
        "weight by topic", "weight", "cosine of prompt and chosen", "above 0 to 1, times a factor that makes the mean 1",
        "Sem-DPO (2025)", "pipeline.weights.semantic", columns=("weight",),
        checks=("tests/test_weights.py::test_semantic_weights_of_the_reference",),
    ),
    Method(
        "several rewards as one weight", "weight", "rewards of chosen less a reference", "0 to 1, times a factor that makes the mean 1",
        "Transforming and Combining Rewards (2024)", "pipeline.weights.rewarded", columns=("weight",),
        checks=("tests/test_weights.py::test_combined_rewards_of_the_reference",),
    ),
    Method(
        "curriculum", "weight", "easiness and progress", "0 to 1, times a factor that makes the mean 1",
        "Training Curricula for Answer Re-Ranking (2020)", "pipeline.weights.curriculum", columns=("weight",),
        checks=("tests/test_weights.py::test_curriculum_weights_of_the_reference",),
    ),
    Method(
        "prompts that count alike", "weight", "how many pairs a prompt has", "0 to 1, times a factor that makes the mean 1",
        "LiPO-lambda (2024)", "pipeline.weights.add_factors", columns=("weight",),
        checks=("tests/test_weights.py::test_prompts_count_alike_whatever_the_number_of_their_pairs",),
    ),
)

_LOSS = "a training loss"
_GIVEN = "prompts and answers are given here"
_SCORED = "its scores can be ingested as a reward model's (fields.model_scores)"
LEFT_OUT: tuple[LeftOut, ...] = (
    LeftOut("Elo ratings", "WildBench (2024)", "depend on the order of the votes; Bradley-Terry does not, and is on the same scale"),
    LeftOut("tournaments", "Varco Arena (2024)", "choose which comparisons to make of live models; our votes are given"),
    LeftOut("Kemeny's consensus", "What are the best systems? New perspectives on NLP Benchmarking (2022)",
            "NP-hard; it differs most from Borda in cycles, where a single ranking is refused anyway"),
    LeftOut("preference embeddings", "General Preference Modeling (2024)", "a model to train; cycles are counted, and refuse a ranking"),
    LeftOut("losses for cyclic preferences",
            "DNO (2024); INPO (2024); SPPO (2024); A Minimaximalist Approach (2024); Nash Learning from Human Feedback (2023)",
            f"{_LOSS}; the win proportion that one takes as reward is `beaten_share` of pipeline.consensus.borda"),
    LeftOut("ideal points of users", "Pluralistic Alignment Framework (2024)",
            "a model of texts to train for each user; annotator ids and votes are published for it, and camps are reported"),
    LeftOut("fair policies over groups", "MaxMin-RLHF (2024)", f"{_LOSS}; the groups it needs are `group` of the annotators"),
    LeftOut("min-norm gradients", "On Diversified Preferences (2023)", f"{_LOSS}; `sources` and `criterion` tell the tasks apart"),
    LeftOut("LLMs that grade each other", "AI Predicts AGI (2024)",
            "tells consistency, not correctness; several judges can be asked, and agreement is published by kind of annotator"),
    LeftOut("margin and label-smoothing losses", "Secrets of RLHF in Large Language Models Part II (2024)",
            f"{_LOSS}; rm_mean is the margin, 1 - p_soft the smoothing; its flipping of labels is no default: labels never turn in place"),
    LeftOut("co-teaching during training", "Two Minds Better Than One (2025)", f"{_LOSS}; its verdicts come offline, from peers"),
    LeftOut("robust and conservative DPO", "Provably Robust DPO (2024)", f"{_LOSS}; epsilon and p_soft are what it takes"),
    LeftOut("negatives by flip probability", "Sampler Design for Implicit Feedback Data by Noisy-label Robust Learning (2020)",
            "for clicks without comparisons; noise_score is that probability"),
    LeftOut("internal consistency loss", "Self-Consistency of the Internal Reward Models (2025)", _LOSS),
    LeftOut("first wrong step", "The Lessons of Developing Process Reward Models (2025)",
            "needs labels of reasoning steps and sampled completions; of whole answers, peer_verdict keeps what two peers agree on"),
    LeftOut("learnt routing", "Hybrid Preferences (2024)",
            "needs hundreds of reward models trained on mixes of labels; `prefine queue` ranks by expected information instead"),
    LeftOut("deferral by token uncertainty", "Language Model Cascades (2024)",
            "chooses which live model answers; of given answers, chosen_logp and chosen_logp_mean are published"),
    LeftOut("BLEU against references", "BLEUBERI (2025)", f"needs references by strong models, which our records do not have; {_SCORED}"),
    LeftOut("voting or verifying", "When To Solve, When To Verify (2025)", "about spending compute on samples, not about data"),
    LeftOut("length incentive and reference relevance", "Preference-free Alignment Learning with Regularized Relevance Reward (2024)",
            "rewards length, which is a nuisance here; references are not in our records"),
    LeftOut("strength by semantic perplexity", "Self-Reference AI feedback (2024)",
            "needs log-probabilities of the judge, which many servers do not give; it states the strength in words"),
    LeftOut("votes weighed by sequence probability", "RPC (2025)",
            "no log-probabilities of judges' answers are held, for the same reason; of given ones `self_agreement` tells both outcomes"),
    LeftOut("one more question for the majority", "Ask One More Time (2023)",
            "for answers in free form; verdicts have a schema and are counted"),
    LeftOut("agreement of a judge's rankings with an earlier model's", "CREAM (2024)",
            "judges give verdicts on pairs, not a ranking of a prompt's answers; `ranking_consistency` takes two given scores"),
    LeftOut("judging without the question", "One Token to Fool LLM-as-a-Judge (2025)",
            "helps on mathematics with a reference; open tasks need the question. Probes tell how far a judge falls for empty answers"),
    LeftOut("training against master keys", "One Token to Fool LLM-as-a-Judge (2025)",
            "a judge to train; answers without content are flagged"),
    LeftOut("judges with tools", "Anyprefer (2025)",
            "calls tools and rewrites prompts and answers; ours are given, and the client runs no tools"),
    LeftOut("questions derived from texts", "PUGC (2025)", f"writes prompts and samples answers; {_GIVEN}"),
    LeftOut("judges from gold references", "Self-J (2024); FLAMe (2024)",
            "judges to train; the votes of one are ingested like any other's"),
    LeftOut("implicit rewards", "DPO-implicit rewards vs explicit RM (2024)",
            "beta times the density ratio, which is published, of a model trained by DPO over the one it started from (`weak_model`)"),
    LeftOut("Pareto self-supervision", "Automatic Calibration and Error Correction via Pareto Optimal Self-Supervision (2023)",
            "a risk model to train on weak labellers; the vote model and the peers are combined in p_soft"),
    LeftOut("relevance-weighted uncertainty", "SAR (2023)",
            "needs what each token adds to the meaning by a second model; in chosen_logp_mean all tokens weigh the same"),
    LeftOut("an SFT term against displacement", "Provably Mitigating Overoptimization (2024)",
            f"{_LOSS}; for refusals it helped less than choosing pairs by ches_ln, which is published"),
    LeftOut("image-text scorers", "Compress & Align (2023)", "of images, which our records do not have"),
    LeftOut("length-aware losses", "Length Desensitization (2024); Hitchhiker's Guide (2024); SimPO (2024)",
            f"{_LOSS}; tokens of both answers are published"),
    LeftOut("shortest right answer", "Kimi k1.5 long2short (2025)",
            "makes pairs from answers checked for correctness; no record says which are"),
    LeftOut("29 annotated properties", "Dissecting Human and LLM Preferences (2024)",
            "a judge's `criteria` may name any of them; the regression runs on the factors that texts alone show"),
    LeftOut("expert-named properties", "Leveraging Domain Knowledge for Efficient Reward Modelling (2024)",
            "a reward model to train on them; `criteria` of a judge and `rubrics` of rationales take properties that experts name"),
    LeftOut("cautions without a formula",
            "Surrogate Signals from Format and Length (2025); Correlated Proxies (2024); "
            "What Are Step-Level Reward Models Rewarding (2024)",
            "nothing to compute: scores are columns, no label follows from them, and scorers are checked by contrasts"),
    LeftOut("performance profiles", "Deep Reinforcement Learning at the Edge of the Statistical Precipice (2021)",
            "plots of trained policies; prefine trains none"),
    LeftOut("confusion of graded judges", "Judging LLMs on a Simplex (2025)",
            "levels are not identifiable without gold; labels are decided on the side alone, and gold votes audit each judge"),
    LeftOut("tied answers of RewardBench 2", "RewardBench 2 (2025)", "needs its sets of prompts with several right answers"),
    LeftOut("fixed reward-model benchmarks", "RM-Bench (2024); RAG-RewardBench (2024); M-RewardBench (2024); LongRM (2025)",
            "means over sets that do not ship with prefine; scorers are checked on the user's own prompts"),
    LeftOut("distance of reward functions", "STARC (2023)", "of rewards over all transitions of an environment; ours are of given answers"),
    LeftOut("losses with rationales", _WITH_RATIONALES,
            f"{_LOSS}; `prefine export --format rationale` writes the rows, and says which of the two published forms is which"),
    LeftOut("answers improved by their checklist", _TICK, f"writes new answers; {_GIVEN}"),
    LeftOut("checklists merged from two models", "WildBench (2024)", "one model writes each list here, which its share of yes is about"),
    LeftOut("reports by query type", "From Rankings to Insights (2025)",
            "about models, not about pairs; criteria are mined, and judged one by one"),
    LeftOut("rules as a reward", "AutoRule (2025)",
            f"{_LOSS}, on answers that are sampled; each rule's coverage and agreement are reported"),
    LeftOut("rounds of self-rationalization", "Self-rationalization (2024)",
            f"{_LOSS} that samples again in each round; pairs by majority or by margin need its many samples of one question"),
    LeftOut("training a rubric judge", "Prometheus (2023)",
            "a judge to train, on rubrics and instructions that a model makes up; its rows are exported from rubric rationales"),
    LeftOut("benchmark of critiques", "RealCritic (2025)",
            "needs problems with known answers and a model that corrects; what became of corrections goes to `closed_loop`"),
    LeftOut("summaries scored by recovery", "GPT Self-Supervision (2023)",
            "of summaries, which our records do not have; the round trip is made with rationales and labels"),
    LeftOut("search for a mixture", "CLIMB (2025)",
            "trains proxy models on each candidate; a mixture's weights are given, over sources, languages or topics"),
    LeftOut("influence of examples", "Influence Scores at Scale for Efficient Language Data Sampling (2023)",
            "needs gradients at several checkpoints of a training run; a score from outside can be sampled by"),
    LeftOut("difficulty from training", "DR-IRL (2025); Dynamic loss-based reweighting (2025); B-STaR (2024)",
            f"{_LOSS}, or counts of it while training; `difficulty` and cosines are columns that a curriculum weight can take"),
    LeftOut("where answers come from",
            "Preference Fine-Tuning of LLMs Should Leverage Suboptimal, On-Policy Data (2024); SPaR (2024); MAPL (2025)",
            f"about sampling or rewriting answers; {_GIVEN}, and the models that wrote them are columns"),
    LeftOut("weights of undesirable prompts", "Binary Classifier Optimization (2024)",
            "UDM: a classifier of prompts inside the trainer, whose ratio form no source states; labels and class bounds are exported"),
    LeftOut("preference trees", "TPO (2024); MCTS-DPO (2024); Tree-PLV (2024); ReST-MCTS* (2024)",
            "needs answers that share a prefix, with a reward for each step; no record states them. Lists are exported as `listwise`"),
    LeftOut("in-context rankings", "In-context Ranking Preference Optimization (2025)",
            "feedback on a few items of a list that was shown, by position; records state whole answers"),
    LeftOut("preference degree", "Self-supervised Preference Optimization (2024); Online Self-Preferring (2024); MM-RLHF (2025)",
            f"{_LOSS}; strength is in margin and weight, and no trainer of TRL reads a weight: --weights repeat"),
    LeftOut("attribute vectors", "Directional Preference Alignment (2024)",
            "one rating a criterion stands in ratings/; a pair is of one criterion, and its trainer writes prompts of its own"),
    LeftOut("labels of steps made from answers", "The Lessons of Developing Process Reward Models (2025)",
            "a verdict on an answer says nothing of a step; `--format stepwise` exports labels that a source states, and no others"),
)
# fmt: on
