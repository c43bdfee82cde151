"""Which layout a file has, from its field names and the types in its first records; never from its name."""

from collections.abc import Callable
from typing import Final, Protocol

from pipeline.config import LayoutName
from pipeline.errors import LayoutError
from pipeline.ingest.layouts import ab, candidates, chosen_rejected, ratings, votes
from pipeline.ingest.layouts.ratings import UNRATED
from pipeline.ingest.layouts.sample import Proposal, Sample
from pipeline.ingest.layouts.slots import Task
from pipeline.ingest.records import Batch, Layout

SAMPLE_ROWS: Final = 200


class _Adapter(Protocol):
    """A module of one layout."""

    @property
    def propose(self) -> Callable[[Sample], Proposal]: ...

    @property
    def adapt(self) -> Callable[[Task], Batch]: ...


ADAPTERS: Final[dict[LayoutName, _Adapter]] = {
    "chosen_rejected": chosen_rejected, "ab": ab, "votes": votes, "ratings": ratings, "candidates": candidates,
}  # fmt: skip

# Where two layouts fit, the one that says more: votes is ab plus who voted; several candidates hold two; and a chosen and a
# rejected answer say what their authors made of the candidates beside them.
_SAYS_MORE: Final = (("votes", "ab"), ("candidates", "ab"), ("candidates", "votes"), ("chosen_rejected", "candidates"))

# What the config must name at least, per layout.
_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "chosen_rejected": ("prompt", "chosen", "rejected"),
    "ab": ("prompt", "response_a", "response_b", "winner"),
    "votes": ("prompt", "response_a", "response_b", "votes"),
    "ratings": ("prompt", "response", "scores"),
    "candidates": ("prompt", "candidates", "candidate_scores"),
}


def detect_layout(sample: Sample) -> Layout:
    """The one layout that fits.

    Args:
        sample: the first records (at most SAMPLE_ROWS, at least one) and the config, whose `layout`, `fields` and `outcomes`
            settle what the records leave open.

    Raises:
        LayoutError: no layout fits, or several do, or a configured field is not there; shows the columns found, what
            each candidate lacks, and the config to write.
    """
    return settle(sample, [adapter.propose(sample) for layout, adapter in ADAPTERS.items() if sample.source.layout in (None, layout)])


def settle(sample: Sample, proposals: list[Proposal]) -> Layout:
    """The one layout that fits, of those that the config allows; raises as `detect_layout` does."""
    proposals = [one for one in proposals if sample.source.layout in (None, one.name)]
    fits = [one for one in proposals if not one.lacks]
    for more, less in _SAYS_MORE:
        if {more, less} <= {one.name for one in fits}:
            fits = [one for one in fits if one.name != less]
    refusal = next((one.refusal for one in proposals if one.refusal is not None), None)
    if not fits and refusal is not None:
        raise LayoutError(refusal)
    if len(fits) != 1:
        raise LayoutError(_unsettled(sample, proposals, fits))
    chosen = fits[0]
    idle = [slot for slot in sample.configured if slot not in chosen.slots and not slot.startswith("vote_") and slot not in UNRATED]
    if idle:
        raise LayoutError(
            f"{sample.name}: layout {chosen.name} has no place for `fields: {idle[0]}: {sample.configured[idle[0]]}`; expected some of "
            f"{', '.join(chosen.slots)}. Leave it out, or name the layout it belongs to (`layout:`)."
        )
    return Layout(chosen.name, chosen.slots, chosen.why, sample.unmapped(chosen), chosen.encoding())


def _unsettled(sample: Sample, proposals: list[Proposal], fits: list[Proposal]) -> str:
    columns = "\n".join(
        f"    {field}: {' or '.join(sorted(kinds)) or 'always null'}" for field, kinds in list(sample.types.items())[:60]
    )
    if fits:
        head = f"{sample.name}: more than one layout fits: {' and '.join(f'{one.name} ({one.why})' for one in fits)}."
    else:
        head = f"{sample.name}: no known layout fits these records."
    lacks = "\n".join(f"    {one.name}: {'fits' if not one.lacks else 'lacks ' + '; '.join(one.lacks)}" for one in proposals)
    return (
        f"{head}\n  Columns found:\n{columns}\n  Candidates:\n{lacks}\n"
        f"  Say it in the config, under the source:\n{_snippet(fits or proposals)}"
    )


def _snippet(proposals: list[Proposal]) -> str:
    nearest = min(proposals, key=lambda one: len(one.lacks))
    lines = [f"      {slot}: {nearest.slots.get(slot, '<field>')}" for slot in _NEEDED[nearest.name]]
    return "\n".join([f"    layout: {nearest.name}", "    fields:", *lines])
