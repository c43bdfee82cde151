"""The report's sections on the data: rows of views to HTML, in the order a reader asks."""

from collections import defaultdict
from itertools import groupby

from pipeline.report import samples
from pipeline.report.markup import Markup, details, joined, number, percent, table, tag
from pipeline.report.material import Material
from pipeline.report.pictures import FATES, rows_of_parts

_FATE_KEYS = tuple((fate, fate) for fate in FATES)


def overview(of: Material) -> Markup:
    """Numbers at a glance, and what stands out."""
    parts = rows_of_parts(of.manifest)
    tiles = {
        "rows read": sum(int(row["rows"]) for row in of.manifest["inputs"] if row.get("role") != "joined"),
        "pairs to train on": parts.get("train", 0),
        "pairs held out": parts.get("validation", 0) + parts.get("test", 0),
        "other pairs": parts.get("other", 0),
        "pairs dropped": parts.get("dropped", 0),
        "records quarantined": parts.get("quarantine", 0),
    }
    shown = tag("dl", *(tag("div", tag("dt", name), tag("dd", number(n))) for name, n in tiles.items()), class_="tiles")
    found = _found(of)
    return joined([shown, tag("ul", *(tag("li", line) for line in found), class_="found")]) if found else shown


def _found(of: Material) -> list[str]:
    """Sentences on what stands out; none is said of a share whose interval holds the value without effect."""
    said = []
    fates = of.rows("fates_by_source")
    records, published = (sum(row[name] for row in fates) for name in ("records", "published"))
    if records:
        said.append(f"{number(published)} of {number(records)} records ({percent(published / records)}) speak in published pairs.")
    drops = [row for row in of.rows("drop_reasons") if row["reason"] != "near_duplicate"]
    if drops:
        most = max(drops, key=lambda row: (row["pair_count"], row["reason"]))
        said.append(f"Near duplicates aside, most pairs left for {number(most['reason'])}: {number(most['pair_count'])}.")
    longer = [row for row in of.rows("length_bias") if row["longer_chosen_low"] is not None and row["longer_chosen_low"] > 0.5]
    if longer:
        worst = max(longer, key=lambda row: (row["longer_chosen_low"], row["source"]))
        said.append(
            f"In {number(len(longer))} of {number(len(of.rows('length_bias')))} sources the longer answer wins more often than not; "
            f"most in {number(worst['source'])}: {percent(worst['longer_chosen_share'])} "
            f"({percent(worst['longer_chosen_low'])} to {percent(worst['longer_chosen_high'])})."
        )
    noisy = [row for row in of.rows("noise_by_source") if row["source"] != "all" and (row["epsilon_low"] or 0) > 0]
    if noisy:
        worst = max(noisy, key=lambda row: (row["epsilon"], row["source"]))
        interval = f"{percent(worst['epsilon_low'])} to {percent(worst['epsilon_high'])}"
        said.append(f"The noisiest labels are those of {number(worst['source'])}: {percent(worst['epsilon'])} ({interval}) are wrong.")
    bad = sum(row["worse_than_chance"] for row in of.rows("annotators_by_source"))
    if bad:
        said.append(f"Annotators who are right less often than a coin, counted in each of their sources: {number(bad)}.")
    return said


def flow(of: Material) -> Markup:
    """Where every record and pair went."""
    funnel = [
        {
            "stage": entry["stage"],
            "rows in": entry["rows_in"],
            "kept": entry["kept"],
            "dropped": entry["dropped"],
            "kept share": percent(entry["kept"] / entry["rows_in"]) if entry["rows_in"] else "-",
            "reasons": ", ".join(f"{reason} {number(n)}" for reason, n in by_count(entry["reasons"])),
        }
        for entry in of.manifest["counts"]
    ]
    keys = (("published", "published"), ("merged", "merged with another"), ("dropped", "dropped"), ("quarantined", "could not be read"))
    return joined(
        [
            of.figure("flow", "Left: what became of the records of each source. Right: what became of the pairs that they state.", keys),
            table(funnel, "One row is one stage of the run, in order", "funnel"),
            tag("h3", "What became of the records of each source") if of.rows("fates_by_source") else "",
            of.figure("fates", "Shares of each source's records; the number of records stands on the right.", _FATE_KEYS),
            of.folded("fates_by_source", "Fates by source, in numbers"),
            of.titled("Splits", "split_shares", "One row is one source and split"),
            of.titled("Prompts that left their earlier split", "split_moves", "One row is one kind of move, because clusters joined"),
            of.folded("quarantine_reasons", "What could not be read: one row is one reason and field of one source"),
        ]
    )


def by_count(reasons: dict[str, int]) -> list[tuple[str, int]]:
    """Reasons, the most frequent first."""
    return sorted(reasons.items(), key=lambda item: (-item[1], item[0]))


def rules(of: Material) -> Markup:
    """Why pairs left, what kind of pairs they are, and some to read."""
    shown: list[Markup] = []
    for (stage, reason), group in groupby(of.rows("rule_examples"), lambda row: (row["stage"], row["reason"])):
        rows = list(group)
        count = rows[0]["of_count"]
        heading = f"{'Published pairs' if stage is None else reason}: {len(rows)} of {number(count)}"
        shown.append(details(heading, *map(samples.example, rows), is_open=stage is not None and len(shown) <= 1))
    hint = "Words that the other answer lacks are marked: underlined in the chosen answer, dotted in the rejected one."
    return joined(
        [
            of.table("drop_reasons", "One row is one reason in one stage"),
            of.folded("rule_effects", "What kind of pairs each rule took: length, source, CHES, noise, against the published ones"),
            *((tag("h3", "Pairs to read, for every reason"), tag("p", hint, class_="note")) if shown else ()),
            *shown,
        ]
    )


def selection(of: Material) -> Markup:
    """How varied and how mixed the kept pairs are; nothing where nothing was selected."""
    about = "One row is a sample of one stage's texts: how many of them are effectively different (Vendi score), by order"
    return joined(
        [
            of.table("selection_diversity", about),
            of.titled("Mixture", "selection_mixture", "One row is one source, language or topic: shares before, after, and asked for"),
        ]
    )


def votes(of: Material) -> Markup:
    """Who judged, how far they agree, and how wrong labels may be."""
    total = next((row["annotator_count"] for row in of.rows("annotator_extremes")), 0)
    kinds = (("merged", "annotator"), ("dropped", "right less often than a coin: the whole interval lies below one half"))
    caption = f"Accuracy with 95 % intervals: those with most votes, then those who look worst, of {number(total)}; votes in brackets."
    return joined(
        [
            of.table("agreement_by_source", "One row is one source, kind of annotator, or all: how far annotators agree"),
            of.titled("Conflicts and ties", "conflicts_by_source", "One row is one source; near duplicates that were merged are left out"),
            of.titled("What the votes cannot tell", "vote_limits", "One row is one sentence"),
            tag("h3", "How reliable annotators are") if of.rows("annotators_by_source") else "",
            of.figure("annotators", caption, kinds),
            of.table("annotators_by_source", "One row is one kind of annotator in one source"),
            of.folded("annotator_extremes", "These annotators, in numbers"),
            of.titled("Whose votes count among judges and reward models", "judge_audit", "One row is one judge or reward model"),
            of.titled("Do they prefer the answer shown first?", "position_bias", "One row is one kind of annotator"),
            of.titled("How judges that were asked behave", "judge_behaviour", "One row is one judge"),
            tag("h3", "How noisy labels are") if of.rows("noise_by_source") else "",
            of.figure("noise", "The epsilon for rDPO: the share of wrong labels by source, with 95 % intervals."),
            of.table("noise_by_source", "One row is one source, or all"),
        ]
    )


def signals(of: Material) -> Markup:
    """Signals before and after, length and style."""
    raised = [row for row in of.rows("flags") if row["published_count"] or row["dropped_count"]]
    histograms = [name for name in of.drawn if name.startswith("signal ")]
    small = [tag("figure", tag("h3", name.removeprefix("signal ").replace("_", " ")), of.drawn[name]) for name in histograms]
    keys = (("published", "published pairs"), ("dropped", "dropped pairs (outline)"))
    legend = tag("ul", *(tag("li", text, style=f"--key:var(--{key})") for key, text in keys), class_="keys")
    note = (
        "Shares of the pairs that stayed and of those that left, each of its own kind. The ends hold what lies beyond the 1st and the 99th "
        "percentile; merged near duplicates are left out."
    )
    return joined(
        [
            *((tag("p", note, class_="note"), legend, tag("div", *small, class_="small")) if small else ()),
            of.folded("signal_quantiles", "Signals of the published pairs, in numbers"),
            tag("h3", "Is the longer answer the chosen one?") if of.rows("length_bias") else "",
            of.figure(
                "length",
                "With 95 % intervals; one half, the dashed line, is no bias.",
                (("merged", "source"), ("dropped", "the interval leaves one half out")),
            ),
            of.table("length_bias", "One row is one source"),
            of.titled("What the length bias cost", "length_cost", "One row is one source"),
            of.titled("What balancing cost", "balance_cost", "One row is one rule"),
            of.titled("What votes follow besides quality", "style_by_source", "One row is one trait of style in one source"),
            joined([tag("h3", "Flags"), table(raised, "One row is one flag that some pair has")]) if raised else "",
            of.titled("Languages of the prompts", "languages", "One row is one language"),
        ]
    )


def likeness(of: Material) -> Markup:
    """Copies, near duplicates, clusters, benchmark prompts."""
    near = of.rows("near_duplicate_examples")
    read = (
        details(f"Near duplicates to read: {len(near)} of {number(near[0]['merged_count'])}", *map(samples.near_duplicate, near))
        if near
        else ""
    )
    return joined(
        [
            of.titled("Copies merged", "duplicates", "One row is one pair of sources: records of the first that repeat one of the second"),
            of.titled("Near duplicates, by source", "near_duplicates_by_source", "One row is one source"),
            read,
            tag("h3", "Prompt clusters") if of.rows("cluster_size_bands") else "",
            of.figure(
                "clusters", "Published pairs by the size of their prompt cluster. A cluster is all prompts that say nearly the same."
            ),
            of.folded("cluster_size_bands", "Cluster sizes, in numbers"),
            of.titled("Benchmark prompts found", "contamination_by_benchmark", "One row is one benchmark"),
        ]
    )


def displacement(of: Material) -> Markup:
    """CHES and difficulty; nothing where none was asked for."""
    ends = of.rows("ches_extremes")
    about = "{extreme}, {rank} of {pair_count}: {score_name} {score}, pair {pair_id}"
    pairs = [samples.pair(row, about.format(**{key: number(value) for key, value in row.items()})) for row in ends]
    return joined(
        [
            of.table("ches_distribution", "One row is one score: CHES, and how hard pairs are for the model"),
            details("Pairs with the highest and the lowest CHES", *pairs) if pairs else "",
            of.titled("Does CHES follow length or likeness?", "ches_length", "One row is one score and one measure"),
            of.titled("Does the encoder rank pairs as the causal model does?", "ches_backends", "One row is both scores"),
            of.titled(
                "Pairs that the model ranks wrongly",
                "difficulty_by_length",
                "One row is one band of length gaps (tokens, chosen less rejected)",
            ),
            of.titled("Why pairs have no CHES", "ches_missing", "One row is one reason"),
        ]
    )


def rationales(of: Material) -> Markup:
    """Rationales: how many, why not, and some to read."""
    shown: dict[bool, list[Markup]] = defaultdict(list)
    for row in of.rows("rationale_examples"):
        shown[row["accepted"]].append(samples.rationale(row))
    return joined(
        [
            of.table("rationale_coverage", "One row is one kind of rationale"),
            details(f"Accepted rationales to read: {len(shown[True])}", *shown[True]) if shown[True] else "",
            of.titled("Why rationales were not accepted", "rationale_reasons", "One row is one reason of one kind and writer"),
            details(f"Refused rationales to read: {len(shown[False])}", *shown[False]) if shown[False] else "",
            of.titled("Can a reader tell the label from the rationale?", "rationale_recovery", "One row is one kind of one writer"),
        ]
    )
