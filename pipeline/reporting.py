"""EDGE: reads a version, and the one before it, for the report. What the page looks like is `pipeline.report`'s."""

from typing import Any

from pipeline import diff
from pipeline.errors import PrefineError
from pipeline.queries import Tables, open_version, run_views
from pipeline.report import Comparison, render_report, reported_views
from pipeline.report.pictures import rows_of_parts
from pipeline.versions import complete_versions, read_manifest

# Views over a part without rows are not asked: they would cost their time and say nothing.
_READ_ALONE = {
    "rationales": ("rationale_coverage", "rationale_reasons", "rationale_recovery", "rationale_examples"),
    "annotators": ("annotator_extremes", "judge_audit", "position_bias"),
    "statistics": (
        "agreement_by_source",
        "vote_limits",
        "noise_by_source",
        "style_by_source",
        "balance_cost",
        "judge_behaviour",
        "selection_diversity",
        "selection_mixture",
    ),
    "quarantine": ("quarantine_reasons",),
    "dropped": ("drop_reasons", "near_duplicate_examples"),
}


def ask(manifest: dict[str, Any], tables: Tables, also: tuple[str, ...] = ()) -> dict[str, list[dict[str, Any]]]:
    """Rows of the views that the report shows, and of others, in one session.

    Args:
        manifest: of the version.
        tables: of the version.
        also: further files of sql/views.
    """
    rows = rows_of_parts(manifest)
    empty = {view for part, views in _READ_ALONE.items() if not rows.get(part) for view in views}
    views = list(dict.fromkeys((*reported_views(), *also)))
    return {**{view: [] for view in views}, **run_views(tables, [view for view in views if view not in empty])}


def report(
    dataset_root: str,
    manifest: dict[str, Any],
    tables: Tables,
    previous: str | None = None,
    facts: dict[str, list[dict[str, Any]]] | None = None,
) -> str:
    """The report of one version as HTML.

    Args:
        dataset_root: the dataset's folder or URL.
        manifest: of the version; it need not be written yet.
        tables: of the version, from `queries.version_tables`.
        previous: the version to compare with; none: it stands alone.
        facts: what `ask` found, if it was asked already.
    """
    before = compare(dataset_root, previous, tables) if previous else None
    return render_report(manifest, ask(manifest, tables) if facts is None else facts, before)


def report_of(dataset_root: str, version: str | None = None, against: str | None = None) -> tuple[str, str]:
    """The report of a published version, made again.

    Args:
        dataset_root: the dataset's folder or URL.
        version: the current one when None.
        against: the version to compare with; the one before when None.

    Returns:
        the version's name and the HTML.

    Raises:
        NotFoundError: no such version.
        PrefineError: a file of the version is missing or was altered.
    """
    opened = open_version(dataset_root, version)
    manifest = read_manifest(dataset_root, opened.version)
    if against is not None:
        read_manifest(dataset_root, against)
    page = report(dataset_root, manifest, opened.tables, against or previous_version(dataset_root, opened.version))
    return opened.version, page


def previous_version(dataset_root: str, version: str) -> str | None:
    """The complete version before another, by number."""
    earlier = [name for name in complete_versions(dataset_root) if int(name[1:]) < int(version[1:])]
    return max(earlier, key=lambda name: int(name[1:]), default=None)


def compare(dataset_root: str, previous: str, tables: Tables) -> Comparison:
    """What became of the pairs of an earlier version.

    A version that cannot be read any more hinders no report: the report says so.
    """
    manifest = None
    try:
        manifest = read_manifest(dataset_root, previous)
        totals = diff.totals(open_version(dataset_root, previous).tables, tables)
    except (PrefineError, OSError) as error:
        return Comparison(manifest, problem=str(error))
    return Comparison(manifest, totals)
