"""`prefine methods`, and the statistics of a real run against the registry."""

import fnmatch
import json
from collections.abc import Callable

import pytest

from flows.curate import Outcome
from pipeline import queries
from pipeline.methods import LEFT_OUT, METHODS

Prefine = Callable[..., tuple[int, str, str]]

# Of reward models, rules that balance and language models: the demo has none of them; tests/test_methods.py makes theirs.
# The demo selects nothing.
NOT_SELECTED = {"mixture_before", "mixture_after", "mixture_requested", "vendi_prompts_q*", "vendi_chosen_q*"}
NOT_SCORED = {"rm_label_agreement", "rm_mean_negative", "reference_misranks", "reference_misranks_per_token"}
NOT_IN_THE_DEMO = NOT_SELECTED | NOT_SCORED | {"balance_*"}
# Without an endpoint, rationales are measured or stated: their coverage, and why stated ones were refused.
WITHOUT_A_MODEL = {"rationale_coverage", "rationale_refused_*"}


def test_a_run_has_the_statistics_of_the_registry_and_no_others(demo: Outcome) -> None:
    table = queries.open_version(demo.dataset_root, demo.version).query("select distinct statistic from statistics")
    published = set(table.column(0).to_pylist())
    told = {name for method in METHODS if method.in_run for name in method.statistics}

    assert published - {name for name in published if any(fnmatch.fnmatch(name, known) for known in told)} == set()
    asked = {name for name in told if name.startswith(("judge_", "rationale_"))} - WITHOUT_A_MODEL
    assert {known for known in told if not fnmatch.filter(published, known)} == NOT_IN_THE_DEMO | asked


def test_methods_are_listed_with_what_they_yield(prefine: Prefine) -> None:
    code, out, _ = prefine("methods")
    assert code == 0
    shown = "".join(out.split())
    assert all("".join(method.name.split()) in shown for method in METHODS)
    assert "length_tie" in shown
    assert "pipeline.consensus.borda.borda" in shown


def test_what_is_left_out_is_listed_with_the_reason(prefine: Prefine) -> None:
    code, out, _ = prefine("methods", "--left-out")
    assert code == 0
    shown = "".join(out.split())
    assert all("".join(entry.name.split()) in shown for entry in LEFT_OUT)
    assert "Bradley-Terry" in shown


@pytest.mark.parametrize(("flags", "entries"), [([], METHODS), (["--left-out"], LEFT_OUT)])
def test_json_has_every_field(flags: list[str], entries: tuple[object, ...], prefine: Prefine) -> None:
    code, out, _ = prefine("methods", *flags, "--format", "json")
    assert code == 0
    assert [one["name"] for one in json.loads(out)] == [getattr(entry, "name") for entry in entries]  # noqa: B009


def test_an_unknown_format_is_wrong_usage(prefine: Prefine) -> None:
    assert prefine("methods", "--format", "xml")[0] == 2
