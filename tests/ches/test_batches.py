"""Plans: every row once, shapes by a row's own lengths, nothing read before it is written, no more held than there is room for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ches.batches import Round, Shapes, plan_shared, plan_whole

LENGTHS = st.lists(st.integers(1, 700), min_size=1, max_size=60)
SHAPES = st.builds(Shapes, batch_tokens=st.sampled_from([32, 256, 2048]), longest=st.sampled_from([700, 1024, 5000]), one_row=st.booleans())


def test_widths_are_eight_apart_then_four_to_a_doubling_and_end_at_the_longest() -> None:
    shapes = Shapes(4096, 300)

    assert shapes.widths.tolist() == [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 300]
    assert shapes.padded(np.array([1, 8, 9, 64, 65, 257, 300])).tolist() == [8, 8, 16, 64, 80, 300, 300]
    assert shapes.held(np.array([1, 32, 33, 64, 65, 300])).tolist() == [32, 32, 64, 64, 128, 512]
    assert Shapes(4096, 5).widths.tolist() == [5]


def test_small_batches_have_finer_widths() -> None:
    assert Shapes(256, 300).widths.tolist() == [*range(8, 128, 8), *range(128, 256, 16), 256, 288, 300]


def test_rows_of_a_batch_fill_its_tokens_and_long_prefixes_take_fewer() -> None:
    shapes = Shapes(1024, 65_536)

    assert shapes.rows(16) == 64
    assert shapes.rows(4096) == 1
    assert shapes.rows(16, held=256) == 60  # 16 keys a token: 16,384 / 272
    assert shapes.rows(16, held=16_384) == 1
    assert shapes.rows(128, held=16_384) == 1
    assert Shapes(65_536, 65_536).rows(1024, held=16_384) == 30  # beyond 8,192 keys the mask grows: 65,536 x 8192 / 17,408 / 1024
    assert Shapes(1024, 4096, one_row=True).rows(16) == 1


@given(LENGTHS, SHAPES)
def test_whole_sequences_are_each_in_one_batch_of_their_own_width(lengths: list[int], shapes: Shapes) -> None:
    plan = plan_whole(np.array(lengths), shapes)

    assert sorted(np.concatenate([step.members for step in plan.steps]).tolist()) == list(range(len(lengths)))
    for step in plan.steps:
        assert step.width == shapes.padded(np.array(lengths))[step.members].min() == shapes.padded(np.array(lengths))[step.members].max()
        assert 0 < step.members.size <= step.rows == shapes.rows(step.width)
    assert [step.width for step in plan.steps] == sorted((step.width for step in plan.steps), reverse=True)


@st.composite
def shared(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    prefixes = draw(st.lists(st.integers(1, 700), min_size=1, max_size=20))
    owners = draw(st.lists(st.integers(0, len(prefixes) - 1), max_size=60))
    lengths = draw(st.lists(st.integers(1, 300), min_size=len(owners), max_size=len(owners)))
    return np.array(prefixes), np.array(owners, dtype=np.int64), np.array(lengths, dtype=np.int64)


def check_round(plan: Round, prefix_lengths: np.ndarray, owners: np.ndarray, lengths: np.ndarray, shapes: Shapes) -> None:
    """Walk through the steps, as if each ran alone and as late as `after` allows."""
    in_slot, left = dict[int, int](), {int(owner): int((owners == owner).sum()) for owner in owners}
    last_read: dict[int, set[int]] = {slot: set() for slot in range(plan.slots)}
    written: dict[int, int] = {}
    for number, step in enumerate(plan.steps):
        assert all(earlier < number for earlier in step.after)
        assert step.members.size == step.slots.size <= step.rows
        assert len(set(step.slots.tolist())) == step.slots.size or step.kind == "rests"
        for member, slot in zip(step.members.tolist(), step.slots.tolist(), strict=True):
            assert 0 <= slot < plan.slots
            if step.kind == "prefixes":
                assert shapes.padded(prefix_lengths[member : member + 1]) == step.width <= plan.held
                assert left.get(in_slot.get(slot, -1), 0) == 0, "a prefix is overwritten before all that follows it is in a step"
                assert last_read[slot] <= set(step.after), "a prefix is overwritten while a step may still read it"
                in_slot[slot], written[slot], last_read[slot] = member, number, set()
            else:
                owner = int(owners[member])
                assert in_slot[slot] == owner
                assert written[slot] in step.after
                assert shapes.padded(lengths[member : member + 1]) == step.width
                assert step.rows == shapes.rows(step.width, plan.held)
                last_read[slot].add(number)
                left[owner] -= 1


@given(shared(), SHAPES, st.sampled_from([0, 500, 100_000]))
def test_what_follows_a_prefix_reads_it_after_it_is_written_and_before_it_is_overwritten(
    sequences: tuple[np.ndarray, np.ndarray, np.ndarray], shapes: Shapes, slot_tokens: int
) -> None:
    prefix_lengths, owners, lengths = sequences

    rounds = plan_shared(prefix_lengths, owners, lengths, shapes, slot_tokens)

    steps = [step for plan in rounds for step in plan.steps]
    rests = [row for step in steps if step.kind == "rests" for row in step.members.tolist()]
    assert sorted(rests) == list(range(owners.size))
    assert sorted(p for step in steps if step.kind == "prefixes" for p in step.members.tolist()) == sorted(set(owners.tolist()))
    for plan in rounds:
        check_round(plan, prefix_lengths, owners, lengths, shapes)
        batch = max(step.members.size for step in plan.steps if step.kind == "prefixes")
        assert plan.slots <= max(slot_tokens // plan.held, batch)


def test_what_waits_for_a_full_batch_is_carried_over_until_there_is_no_slot_left() -> None:
    shapes = Shapes(64, 64)  # four rows of 16 tokens
    prefixes, owners = np.full(12, 16), np.repeat(np.arange(12), 2)

    (plan,) = plan_shared(prefixes, owners, np.full(24, 16), shapes, slot_tokens=12 * 32)
    assert [(step.kind, step.members.size) for step in plan.steps] == [("prefixes", 4), ("rests", 4), ("rests", 4)] * 3

    (tight,) = plan_shared(prefixes, owners, np.arange(24) % 3 * 16 + 1, shapes, slot_tokens=0)
    assert tight.slots == 4
    assert sum(step.members.size for step in tight.steps if step.kind == "rests") == 24


def test_an_empty_plan_has_no_steps() -> None:
    none = np.empty(0, np.int64)

    assert plan_whole(none, Shapes(512, 64)).steps == []
    assert plan_shared(none, none, none, Shapes(512, 64), 100) == []


@pytest.mark.parametrize("tokens", [64, 512])
def test_padding_and_dummies_cost_little_on_lengths_as_they_are(tokens: int) -> None:
    rng = np.random.default_rng(0)
    lengths = np.minimum(np.exp(rng.normal(4.5, 0.8, 2048)).astype(np.int64) + 1, 2048)
    shapes = Shapes(tokens, 2048)
    owners = np.repeat(np.arange(1024), 2)

    computed = sum(step.rows * step.width for step in plan_whole(lengths, shapes).steps)
    rounds = plan_shared(lengths[:1024], owners, lengths, shapes, 16 * tokens)
    shared_tokens = sum(step.rows * step.width for plan in rounds for step in plan.steps if step.kind == "rests")

    assert computed < 1.25 * lengths.sum()
    assert shared_tokens < 1.4 * lengths.sum()
