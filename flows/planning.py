"""`prefine plan`: what a run would ask of language models and what that can cost; and what the funnel says of it afterwards."""

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from flows import asking, steps
from flows.steps import Run
from pipeline import storage

PURPOSES = ("judges", "rationales")
_FAILED = "judge_failed:"
_BYTES_PER_TOKEN = 4  # of English, about; other languages take more tokens
_ANSWERED = 0.5  # of the allowed length, about


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        dataset: its name.
        pairs: that rules leave, as far as that is known before judges vote.
        lines: one a purpose and endpoint: purpose, endpoint, model, pairs, requests, tokens and cost (about), most_tokens and most_cost
            (their upper bounds).
        caps: what the budget has left, by what it caps; nothing where it caps nothing.
        admitted: by purpose, of how many pairs the budget lets all questions be asked from the start.
    """

    dataset: str
    pairs: int
    lines: list[dict[str, Any]]
    caps: dict[str, float]
    admitted: dict[str, int]


def plan(run: Run, root: str, partitions: list[int]) -> Plan:
    """What the counted demand comes to."""
    pairs = sum(storage.read_table(run.place("argued", p), ["pair_id"]).height for p in partitions)
    lines, admitted = [], {}
    for purpose in PURPOSES:
        if not (partitions and storage.exists(run.place(f"demand-{purpose}", partitions[0]))):
            continue
        demand = pl.concat([asking.DEMAND.to_frame(), *steps.read_each(run, f"demand-{purpose}", partitions)])
        lines += [_line(run, purpose, *of) for of in demand.partition_by("endpoint", as_dict=True, maintain_order=True).items()]
        asking.admit(run, purpose, partitions)
        admitted[purpose] = asking.admitted_now(run, purpose)
    return Plan(root.rsplit("/", 1)[-1], pairs, lines, asking.room(run), admitted)


def _line(run: Run, purpose: str, of: tuple[object, ...], demand: pl.DataFrame) -> dict[str, Any]:
    endpoint = run.config.endpoint(str(of[0]))
    said, answered = int(demand.get_column("bytes").sum()) / _BYTES_PER_TOKEN, int(demand.get_column("output").sum()) * _ANSWERED
    price, share = endpoint.price, endpoint.batch_price if endpoint.batch else 1.0
    return {
        "purpose": purpose,
        "endpoint": endpoint.name,
        "model": endpoint.model,
        "pairs": demand.get_column("pair_id").n_unique(),
        "requests": int(demand.get_column("requests").sum()),
        "tokens": round(said + answered),
        "cost": (said * price.input + answered * price.output) / 1e6 * share,
        "most_tokens": int(demand.get_column("tokens").sum()),
        "most_cost": float(demand.get_column("cost").sum()),
    }


COLUMNS = ("for", "endpoint", "model", "pairs", "requests", "tokens, about", "at most", "cost, about", "at most")


def cells(told: Plan) -> list[list[str]]:
    """A plan's lines as text, in the order of `COLUMNS`."""
    return [
        [line["purpose"], line["endpoint"], line["model"], *(f"{line[name]:,}" for name in ("pairs", "requests", "tokens", "most_tokens"))]
        + [f"{line[name]:,.2f}" for name in ("cost", "most_cost")]
        for line in told.lines
    ]


def sentences(told: Plan) -> list[str]:
    """What a plan says besides its lines."""
    said = [f"{told.dataset}: {told.pairs:,} pairs are left by the rules."]
    if not told.lines:
        return [*said, "Nothing is to be asked: no judge and no endpoint for rationales, or every answer is there."]
    said.append("Answers that are stored already cost nothing and are not counted; failed requests that are sent again are not foreseen.")
    capped = {name: left for name, left in told.caps.items() if left != float("inf")}
    if capped:
        rooms = ", ".join(f"{left:,g} {name}" for name, left in capped.items())
        said.append(f"The budget has room for {rooms}.")
    for line in told.lines:
        admitted = told.admitted[line["purpose"]]
        if admitted < line["pairs"]:
            of = f"{admitted:,} of {line['pairs']:,} pairs"
            said.append(f"{line['purpose']}: room for {of} at the most that they can cost; a run goes on while there is room.")
    return said


def document(told: Plan) -> dict[str, Any]:
    """A plan as JSON."""
    return asdict(told) | {"caps": {name: left for name, left in told.caps.items() if left != float("inf")}}


def funnel_lines(statistics: pl.DataFrame, rationales: dict[str, int]) -> dict[str, list[tuple[str, int, int, dict[str, int]]]]:
    """Lines of the funnel: stage, rows in, those without an answer (as `dropped`), and why.

    Args:
        statistics: STATISTIC rows of judges and rationales.
        rationales: of the pairs that were to have a rationale: how many (`pairs`), and how many have none, by reason.

    Returns:
        By purpose: a line a judge, of its questions; a line for rationales, of pairs, with the share of labels that readers recover and
        what all of them cost.
    """
    known = {(name, subject): (value, n) for name, subject, value, n in statistics.select("statistic", "subject", "value", "n").iter_rows()}
    judges = []
    for (name, judge), (answered, asked) in known.items():
        if name == "judge_answered" and asked:
            of = [(what, count) for (what, who), (count, _) in known.items() if who == judge and what.startswith(_FAILED)]
            failed = {what.removeprefix(_FAILED): int(count) for what, count in of}
            judges.append((f"ask judge {judge}{_cost(known, judge)} (questions)", asked, asked - round(answered * asked), failed))
    lines = []
    if rationales["pairs"]:
        why = {reason: count for reason, count in rationales.items() if reason != "pairs"}
        recovered = [(value, n) for (name, _), (value, n) in known.items() if name == "rationale_recovered" and n]
        pairs = sum(n for _, n in recovered)
        told = f", label recovered {sum(value * n for value, n in recovered) / pairs:.0%} of {pairs:,}" if pairs else ""
        cost = sum(value * n for (name, _), (value, n) in known.items() if name == "rationale_cost")
        lines.append((f"explain{told}{f', cost {cost:,.4f}' if cost else ''} (pairs)", rationales["pairs"], sum(why.values()), why))
    return {"judges": judges, "rationales": lines}


def _cost(known: dict[tuple[str, str], tuple[float, int]], judge: str) -> str:
    cost = known.get(("judge_cost", judge), (0.0, 0))[0]
    return f", cost {cost:,.4f}" if cost else ""
