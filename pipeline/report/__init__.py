"""A version for people: one HTML file that needs nothing beside it. No script, no font, no request; text from data is always escaped.

Pure: rows of files of sql/views in, text out. `pipeline.reporting` reads them.
"""

from collections.abc import Callable
from typing import Any

from pipeline.report import background, sections
from pipeline.report.charts import draw
from pipeline.report.markup import Markup, joined, tag
from pipeline.report.material import Comparison, Material
from pipeline.report.pictures import pictures
from pipeline.report.style import STYLE

__all__ = ["SECTIONS", "Comparison", "render_report", "reported_views"]

# (anchor, heading, what makes it, the views it shows); a section without anything to show is left out.
SECTIONS: tuple[tuple[str, str, Callable[[Material], Markup], tuple[str, ...]], ...] = (
    ("overview", "At a glance", sections.overview, ()),
    (
        "flow",
        "Where everything went",
        sections.flow,
        ("record_exits", "fates_by_source", "quarantine_reasons", "split_shares", "split_moves"),
    ),
    ("rules", "Why pairs were dropped", sections.rules, ("drop_reasons", "rule_effects", "rule_examples")),
    ("selection", "What selection kept", sections.selection, ("selection_diversity", "selection_mixture")),
    (
        "votes",
        "Votes and annotators",
        sections.votes,
        (
            "agreement_by_source", "conflicts_by_source", "vote_limits", "annotators_by_source", "annotator_extremes", "judge_audit",
            "judge_behaviour", "position_bias", "noise_by_source",
        ),
    ),
    (
        "signals",
        "Signals before and after",
        sections.signals,
        ("signal_histograms", "signal_quantiles", "length_bias", "length_cost", "balance_cost", "style_by_source", "flags", "languages"),
    ),
    (
        "likeness",
        "Duplicates and clusters",
        sections.likeness,
        ("duplicates", "near_duplicates_by_source", "near_duplicate_examples", "cluster_size_bands", "contamination_by_benchmark"),
    ),
    (
        "ches",
        "Likelihood displacement: CHES",
        sections.displacement,
        ("ches_distribution", "ches_extremes", "ches_length", "ches_backends", "difficulty_by_length", "ches_missing"),
    ),
    (
        "rationales",
        "Rationales",
        sections.rationales,
        ("rationale_coverage", "rationale_reasons", "rationale_recovery", "rationale_examples"),
    ),
    ("cost", "Time and cost", background.cost, ("llm_cost",)),
    ("comparison", "Compared with the version before", background.comparison, ()),
    ("provenance", "Inputs, rules, settings", background.provenance, ()),
)  # fmt: skip
_OPTIONAL = ("selection", "ches", "rationales", "cost", "comparison")  # not where a run has nothing of the kind
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def reported_views() -> list[str]:
    """Files of sql/views that the report shows, each once."""
    return list(dict.fromkeys(view for _, _, _, views in SECTIONS for view in views))


def render_report(manifest: dict[str, Any], summaries: dict[str, list[dict[str, Any]]], before: Comparison | None = None) -> str:
    """One self-contained HTML file.

    Args:
        manifest: as published.
        summaries: rows of files of sql/views by name (`reported_views`); small, one question each.
        before: the version before, if there is one.
    """
    title = f"{manifest['dataset']} {manifest['version']}"
    of = Material(manifest, summaries, draw(pictures(manifest, summaries)), before)
    bodies = []
    for anchor, heading, made, _views in SECTIONS:
        body = made(of)
        if body or anchor not in _OPTIONAL:
            bodies.append((anchor, heading, body or tag("p", "None.", class_="none")))
    contents = tag("ul", *(tag("li", tag("a", heading, href=f"#{anchor}")) for anchor, heading, _ in bodies))
    page = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", **{"http-equiv": "Content-Security-Policy", "content": POLICY}),
            tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
            tag("title", title),
            tag("style", Markup(STYLE)),
        ),
        tag(
            "body",
            tag("a", "Skip to the report", href="#report", class_="skip"),
            tag(
                "header",
                tag("h1", title),
                tag("p", "Preference data: what came in, what is published, and why the rest left.", class_="sub"),
                tag("nav", contents, aria_label="Contents"),
            ),
            tag("main", *(_section(*part) for part in bodies), id="report"),
            tag("footer", "Made by prefine. Every table here is a question in sql/views: prefine query NAME answers it in full."),
        ),
        lang="en",
    )
    return f"<!doctype html>\n{page}\n"


def _section(anchor: str, heading: str, body: Markup) -> Markup:
    return tag("section", tag("h2", heading, id=f"h-{anchor}"), joined([body]), Markup("\n"), id=anchor, aria_labelledby=f"h-{anchor}")
