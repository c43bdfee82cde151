"""How large a report is, how long it takes to make, and how long Chromium takes to show it. One JSON line.

    .venv/bin/python tests/benchmarks/bench_report.py [ROOT]

ROOT is a dataset folder; without it a version of 100,000 pairs is made in a temporary one (tests/benchmarks/big_version.py). The peers:
reading every column of the published pairs with pyarrow for the time to make it, an empty page for the time to show it.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline import queries, reporting
from pipeline.report import render_report, reported_views
from tests.benchmarks import big_version
from tests.report.browser import CHROMIUM, Browser, browse

EMPTY = "<!doctype html><html lang='en'><title>empty</title><body><p>empty</p></body></html>"
REPEATS = 5


def load_seconds(html: str, folder: Path) -> float | None:
    """Median time from the start of the navigation to the end of the load event."""
    if CHROMIUM is None:
        return None
    file = folder / "page.html"
    file.write_text(html, encoding="utf-8")
    took: list[float] = []

    async def visit(browser: Browser) -> None:
        for _ in range(REPEATS):
            await browser.open(file)
            took.append(await browser.tell("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000)

    browse(visit)
    return sorted(took)[len(took) // 2]


def measure(root: str, folder: Path) -> dict[str, object]:
    opened = queries.open_version(root)
    manifest = queries.read_manifest(root, opened.version)
    pairs = int(opened.query("select count(*) as n from pairs")["n"][0].as_py())
    start = time.perf_counter()
    summaries = queries.run_views(opened.tables, reported_views())
    asked = time.perf_counter() - start
    seconds = []
    for _ in range(3):  # the first one starts the renderer
        start = time.perf_counter()
        page = render_report(manifest, summaries)
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    _, page = reporting.report_of(root)
    whole = time.perf_counter() - start
    start = time.perf_counter()
    for batch in opened.tables["pairs"].to_batches():
        del batch
    scan = time.perf_counter() - start
    shown, empty = load_seconds(page, folder), load_seconds(EMPTY, folder)
    return {
        "pairs": pairs,
        "bytes": len(page.encode()),
        "views": len(summaries),
        "view_seconds": round(asked, 2),
        "render_first_seconds": round(seconds[0], 2),
        "render_warm_seconds": round(min(seconds[1:]), 3),
        "report_seconds": round(whole, 2),
        "report_ratio_to_scan": round(whole / scan, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "load_seconds": shown and round(shown, 3),
        "load_ratio_to_empty_page": shown and empty and round(shown / empty, 1),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = sys.argv[1] if len(sys.argv) > 1 else str(Path(scratch) / "big")
        if len(sys.argv) == 1:
            big_version.make(root, 100_000)
        print(json.dumps({"benchmark": "report", **measure(root, Path(scratch))}))


if __name__ == "__main__":
    main()
