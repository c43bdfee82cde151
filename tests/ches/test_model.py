"""The pass against plain double-precision passes, and its promise: an answer's bits depend on its prompt and itself alone."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BloomConfig,
    BloomForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from pipeline.ches.model import CausalModel
from pipeline.ches.sequences import Sequences, offsets
from pipeline.ches.sums import response_sums
from pipeline.ches.work import Scored, Wanted
from pipeline.errors import ConfigError, PrefineError
from tests.ches.oracle import Answer, Oracle, ches

VOCABULARY = 300
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
GROUPED: dict[str, Any] = {**SHAPE, "num_key_value_heads": 2}
FAMILIES: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_embd=48, n_layer=3, n_head=4, vocab_size=VOCABULARY, n_positions=512)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**GROUPED)),
    # What is special: soft caps, eager attention; scaled logits; positions from the mask; a window; states instead of keys; experts.
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**GROUPED, head_dim=12, sliding_window=96)),
    "cohere": lambda: CohereForCausalLM(CohereConfig(**GROUPED, logit_scale=0.25)),
    "granite": lambda: GraniteForCausalLM(GraniteConfig(**GROUPED, logits_scaling=8.0)),
    "bloom": lambda: BloomForCausalLM(BloomConfig(hidden_size=48, n_layer=3, n_head=4, vocab_size=VOCABULARY)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**GROUPED, sliding_window=20)),
    "mamba": lambda: MambaForCausalLM(MambaConfig(hidden_size=48, num_hidden_layers=2, vocab_size=VOCABULARY)),
    "mixtral": lambda: MixtralForCausalLM(MixtralConfig(**GROUPED, num_local_experts=4)),
}
MAIN = ("llama", "gpt2", "qwen2")


def network(family: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = FAMILIES[family]()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(3)  # so that attention prefers some tokens to others, and every position matters
    return model.to(dtype).eval()


@functools.cache
def loaded(family: str, batch_tokens: int = 128) -> CausalModel:
    return CausalModel(network(family), family, batch_tokens, threads=2)


def pairs(count: int, seed: int = 0, longest: int = 90) -> Sequences:
    """`count` prompts with two answers each, of mixed lengths; every third prompt is not shared."""
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(0, VOCABULARY, size) for size in rng.integers(2, longest, count)]
    answers = [[rng.integers(0, VOCABULARY, size) for size in rng.integers(1, 60, 2)] for _ in prompts]
    return packed([(prompt, answer, number % 3 > 0) for number, prompt in enumerate(prompts) for answer in answers[number]])


def packed(rows: list[tuple[np.ndarray, np.ndarray, bool]]) -> Sequences:
    """(prompt, answer, whether the prompt is a prefix) of each continuation; equal prompts, one prefix."""
    prefixes: dict[bytes, int] = {}
    held, prefix, suffixes = [], [], []
    for prompt, answer, is_shared in rows:
        key = prompt.tobytes()
        if is_shared and key not in prefixes:
            prefixes[key] = len(held)
            held.append(prompt)
        prefix.append(prefixes[key] if is_shared else -1)
        suffixes.append(answer if is_shared else np.concatenate([prompt, answer]))
    start = np.array([prompt.size for prompt, _, _ in rows], dtype=np.int64)
    return Sequences(
        np.concatenate([np.empty(0, np.int32), *held]).astype(np.int32),
        offsets(np.array([one.size for one in held], dtype=np.int64)),
        np.array(prefix, dtype=np.int64),
        np.concatenate([np.empty(0, np.int32), *suffixes]).astype(np.int32),
        offsets(np.array([one.size for one in suffixes], dtype=np.int64)),
        start,
        start + np.array([answer.size for _, answer, _ in rows], dtype=np.int64),
    )


def taken(sequences: Sequences, rows: np.ndarray) -> Sequences:
    """Some continuations, in another order; prefixes that none goes on from stay."""
    parts = [sequences.suffix_ids[sequences.suffix_offsets[row] : sequences.suffix_offsets[row + 1]] for row in rows]
    return Sequences(
        sequences.prefix_ids,
        sequences.prefix_offsets,
        sequences.prefix[rows],
        np.concatenate([np.empty(0, np.int32), *parts]),
        offsets(np.array([part.size for part in parts], dtype=np.int64)),
        sequences.start[rows],
        sequences.stop[rows],
    )


def answers_of(family: str, sequences: Sequences) -> list[Answer]:
    oracle = Oracle(network(family))
    spans = zip(sequences.start.tolist(), sequences.stop.tolist(), strict=True)
    return [oracle.read(sequences.whole(row), start, stop) for row, (start, stop) in enumerate(spans)]


def scores(sums: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """CHES and its length-normalised form of rows 2 i (chosen) and 2 i + 1, (P, 2)."""
    means = sums.astype(np.float64) / tokens[:, np.newaxis]
    return np.stack([((one[0::2] * one[1::2]).sum(1) - (one[0::2] ** 2).sum(1)) for one in (sums.astype(np.float64), means)], axis=1)


@pytest.mark.parametrize("family", MAIN)
def test_scores_are_those_of_two_plain_passes_a_pair(family: str) -> None:
    sequences, model = pairs(16), loaded(family)

    found = model.score(sequences, Wanted(logps=True, last=True))

    expected = answers_of(family, sequences)
    assert model.shares_prefix
    assert found.tokens.tolist() == [len(one.states) for one in expected]
    assert found.logps is not None
    assert found.last is not None
    assert found.logps == pytest.approx([one.logp for one in expected], abs=1e-4)
    assert np.abs(found.last - [one.last for one in expected]).max() < 1e-4
    chosen = expected[0::2]
    plain = np.array([ches(one.states, other.states) for one, other in zip(chosen, expected[1::2], strict=True)])
    allowed = 1e-5 * np.array([[(one.total**2).sum(), (one.total**2).sum() / len(one.states) ** 2] for one in chosen])
    error = np.abs(scores(found.sums, found.tokens) - plain)
    assert (error <= allowed).all()
    for which in range(2):
        order = np.argsort(plain[:, which])
        apart = np.diff(plain[order, which]) > 2 * allowed[:, which].max()
        assert (np.diff(scores(found.sums, found.tokens)[order, which])[apart] > 0).all()


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - set(MAIN)))
def test_other_families_are_read_as_they_read_themselves(family: str) -> None:
    sequences, model = pairs(4, seed=1), loaded(family)

    found = model.score(sequences, Wanted(logps=True))

    # Experts do not run in double precision.
    oracle = Oracle(network(family), torch.float32 if family == "mixtral" else torch.float64)
    assert found.logps is not None
    for row in range(sequences.start.size):
        expected = oracle.read(sequences.whole(row), int(sequences.start[row]), int(sequences.stop[row]))
        assert np.linalg.norm(found.sums[row] - expected.total) < 1e-5 * np.linalg.norm(expected.total)
        assert found.logps[row] == pytest.approx(expected.logp, abs=1e-3)
    assert model.shares_prefix == (family not in {"mistral", "mamba"})  # a window shorter than the probe; no keys and values


def test_prompts_are_not_shared_where_a_window_is_shorter_than_what_is_read() -> None:
    sequences, model = pairs(12, seed=2), loaded("gemma2")
    widths = model._shapes.held(sequences.before) + model._shapes.padded(np.diff(sequences.suffix_offsets))

    found = model.score(sequences)

    assert (widths[sequences.prefix >= 0] > 96).any()
    assert (widths[sequences.prefix >= 0] <= 96).any()
    for row, expected in enumerate(answers_of("gemma2", sequences)):
        assert np.linalg.norm(found.sums[row] - expected.total) < 1e-5 * np.linalg.norm(expected.total)


def same_bits(one: Scored, other: Scored) -> bool:
    parts = ((one.sums, other.sums), (one.tokens, other.tokens), (one.logps, other.logps), (one.last, other.last))
    return all(a is not None and b is not None and a.tobytes() == b.tobytes() for a, b in parts)


def some(scored: Scored, rows: np.ndarray) -> Scored:
    assert scored.logps is not None
    assert scored.last is not None
    return Scored(scored.sums[rows], scored.tokens[rows], scored.logps[rows], scored.last[rows])


EVERYTHING = Wanted(logps=True, last=True)


@pytest.mark.parametrize(
    ("family", "dtype"),
    [("llama", torch.float32), ("llama", torch.bfloat16), ("gpt2", torch.float32), ("mistral", torch.float32)],
)
def test_an_answer_has_the_same_bits_whatever_else_is_read(family: str, dtype: torch.dtype) -> None:
    sequences = pairs(7, seed=3)
    rows = np.arange(sequences.start.size)
    model = CausalModel(network(family, dtype), family, 256, threads=2)
    whole = model.score(sequences, EVERYTHING)

    shuffled = np.random.default_rng(0).permutation(rows)
    assert same_bits(model.score(taken(sequences, shuffled), EVERYTHING), some(whole, shuffled))
    for kept in (rows[::2], rows[7:8]):  # without siblings, half of the prompts too, one alone
        assert same_bits(model.score(taken(sequences, kept), EVERYTHING), some(whole, kept))
    again = np.concatenate([rows, rows[::3], rows[::3]])  # with more siblings
    assert same_bits(model.score(taken(sequences, again), EVERYTHING), some(whole, again))


def shapes_seen(model: CausalModel, sequences: Sequences) -> set[tuple[int, ...]]:
    """Of the batches and masks that the network is given."""
    seen = set()

    def note(module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        mask = kwargs.get("attention_mask")
        seen.add((*kwargs["input_ids"].shape, *(() if mask is None else mask.shape)))

    handle = model.network.base.register_forward_pre_hook(note, with_kwargs=True)
    model.score(sequences)
    handle.remove()
    return seen


def test_a_batch_has_one_shape_however_many_rows_it_lacks() -> None:
    # Where rounding follows shapes, and on this machine it may not, equal bits follow from this.
    sequences, model = pairs(60, seed=3), CausalModel(network("llama"), "llama", 256, threads=2)
    every = shapes_seen(model, sequences)

    assert {shape[:2] for shape in every if len(shape) == 2} <= {(256 // width, width) for width in range(8, 256, 8)}
    for row in range(0, 120, 23):
        alone = shapes_seen(model, taken(sequences, np.array([row])))
        assert alone <= every
        assert len(alone) == (2 if sequences.prefix[row] >= 0 else 1)


def test_a_model_with_experts_reads_one_row_at_a_time() -> None:
    # An expert works on the tokens that come to it from all rows: their number, and the rounding with it, depends on the neighbours.
    assert {shape[0] for shape in shapes_seen(loaded("mixtral"), pairs(6))} == {1}


def test_one_thread_and_little_room_for_prefixes_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = pairs(10, seed=3)
    whole = loaded("llama", 256).score(sequences, EVERYTHING)
    monkeypatch.setattr("pipeline.ches.work._HELD_BATCHES", (0, 0))
    alone = CausalModel(network("llama"), "llama", 256, threads=1)

    assert alone.fingerprint == loaded("llama", 256).fingerprint
    assert same_bits(alone.score(sequences, EVERYTHING), whole)


def test_sums_do_not_depend_on_what_else_is_wanted() -> None:
    sequences, model = pairs(6), loaded("llama")

    bare = model.score(sequences)

    assert (bare.logps, bare.last) == (None, None)
    assert bare.sums.tobytes() == model.score(sequences, EVERYTHING).sums.tobytes()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_order_of_scores(dtype: torch.dtype) -> None:
    sequences = pairs(40, seed=4)
    full, half = loaded("llama").score(sequences), CausalModel(network("llama", dtype), "half", 128).score(sequences)

    assert np.isfinite(half.sums).all()
    for which in range(2):
        assert spearmanr(scores(full.sums, full.tokens)[:, which], scores(half.sums, half.tokens)[:, which]).statistic > 0.98


def test_settings_of_the_process_are_put_back() -> None:
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        loaded("llama").score(pairs(2))
        with pytest.raises(PrefineError):
            loaded("llama").score(packed([(np.ones(500, np.int32), np.ones(13, np.int32), True)]))
        assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (threads, "medium")
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_float32_matmul_precision(precision)


def test_nothing_to_read_gives_empty_results() -> None:
    found = loaded("llama").score(packed([]), EVERYTHING)

    assert found.sums.shape == (0, 48)
    assert found.logps is not None
    assert (found.tokens.size, found.logps.size) == (0, 0)


def test_a_span_in_the_middle_is_scored_alone() -> None:
    whole = packed([(np.arange(1, 60), np.arange(5, 45), True), (np.arange(1, 60), np.arange(5, 45), False)])
    start, stop = np.array([63, 63]), np.array([80, 80])
    sequences = Sequences(whole.prefix_ids, whole.prefix_offsets, whole.prefix, whole.suffix_ids, whole.suffix_offsets, start, stop)

    found = loaded("llama").score(sequences, EVERYTHING)

    for row, expected in enumerate(answers_of("llama", sequences)):
        assert found.tokens[row] == 17
        assert np.abs(found.sums[row] - expected.total).max() < 1e-4
        assert found.last is not None
        assert np.abs(found.last[row] - expected.last).max() < 1e-4
        assert found.logps is not None
        assert found.logps[row] == pytest.approx(expected.logp, abs=1e-4)


def test_a_sequence_as_long_as_the_model_reads_fits() -> None:
    rng = np.random.default_rng(5)
    sequences = packed([(rng.integers(0, VOCABULARY, size), rng.integers(0, VOCABULARY, 512 - size), True) for size in (400, 2, 480)])

    for family in ("llama", "gpt2"):
        found = loaded(family).score(sequences)
        for row, expected in enumerate(answers_of(family, sequences)):
            assert np.linalg.norm(found.sums[row] - expected.total) < 1e-5 * np.linalg.norm(expected.total)


def test_progress_counts_every_answer_once() -> None:
    seen: list[int] = []

    loaded("llama").score(pairs(10), on_progress=seen.append)

    assert sum(seen) == 20
    assert len(seen) > 2


def limited(model: CausalModel, tokens: int, error: Exception) -> None:
    """Let a model fail as if its memory held no larger batch."""

    def check(module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        if kwargs["input_ids"].numel() > tokens:
            raise error

    model.network.base.register_forward_pre_hook(check, with_kwargs=True)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_where_memory_runs_out_batches_are_made_smaller_and_the_call_is_of_one_shape(error: Exception) -> None:
    sequences, seen = pairs(12, seed=6), list[int]()
    model = CausalModel(network("llama"), "llama", 1024, threads=2)
    before = model.fingerprint
    limited(model, 300, error)

    found = model.score(sequences, EVERYTHING, seen.append)

    assert (model.batch_tokens, model.stepped_down_from) == (256, 1024)
    assert model.fingerprint != before
    small = CausalModel(network("llama"), "llama", 256)
    assert model.fingerprint == small.fingerprint
    assert same_bits(found, small.score(sequences, EVERYTHING))
    assert sum(seen) == 24


def test_a_sequence_that_does_not_fit_alone_is_named_with_what_to_do() -> None:
    model = CausalModel(network("llama"), "tiny", 1024)
    limited(model, 100, torch.OutOfMemoryError("CUDA out of memory"))

    with pytest.raises(
        PrefineError, match=r"'tiny': one sequence of 2\d\d tokens does not fit into the memory of cpu.*max_length below 2\d\d"
    ):
        model.score(packed([(np.arange(1, 201), np.arange(1, 50), False)]))
    assert model.batch_tokens < 1024


def test_another_failure_is_not_taken_for_a_lack_of_memory() -> None:
    model = CausalModel(network("llama"), "tiny", 1024)
    limited(model, 0, RuntimeError("some other failure"))

    with pytest.raises(RuntimeError, match="some other failure"):
        model.score(pairs(2))
    assert model.stepped_down_from is None


def test_what_is_not_finite_stops_the_call_and_names_the_arithmetic() -> None:
    large = network("llama", torch.float16)
    model = CausalModel(large, "large", 128)
    with torch.no_grad():
        large.model.norm.weight.mul_(30_000)

    with pytest.raises(PrefineError, match=r"'large' gave \d+ of 8 answers a result that is not a finite number, in float16.*bfloat16"):
        model.score(pairs(4))
    with pytest.raises(ConfigError, match="states that are not finite numbers, in float16"):
        CausalModel(large, "large", 128)


def test_broken_weights_are_found_before_anything_is_read() -> None:
    broken = network("llama")
    with torch.no_grad():
        broken.model.layers[1].mlp.up_proj.weight[0, 0] = torch.nan

    with pytest.raises(ConfigError, match=r"not finite numbers, in float32\. The weights are broken"):
        CausalModel(broken, "broken", 128)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_looks_ahead_is_refused(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=VOCABULARY, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96)

    with pytest.raises(ConfigError, match="depends on the tokens after it: it is no causal language model"):
        CausalModel(BertLMHeadModel(config).eval().to(dtype), "bert", 128)


def test_log_probabilities_that_cannot_be_had_are_refused_when_they_are_asked_for() -> None:
    odd = network("llama")
    forward = odd.forward
    odd.forward = lambda **given: _shifted(forward(**given))  # type: ignore[method-assign]
    model = CausalModel(odd, "odd", 128)

    assert model.score(pairs(2)).sums.shape == (4, 48)
    with pytest.raises(ConfigError, match="the logits of 'odd' are not a projection of its last states"):
        model.score(pairs(2), Wanted(logps=True))


def _shifted(given: Any) -> Any:
    given.logits = given.logits**3
    return given


def test_a_model_whose_held_prompts_come_out_wrong_reads_them_with_each_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.ches.network import Network

    go_on = Network.go_on
    monkeypatch.setattr(Network, "go_on", lambda self, ids, before, slots, held: go_on(self, ids, before - 1, slots, held))
    model = CausalModel(network("llama"), "llama", 128)
    sequences = pairs(4)

    found = model.score(sequences)

    assert not model.shares_prefix
    assert model.fingerprint != loaded("llama").fingerprint
    for row, expected in enumerate(answers_of("llama", sequences)):
        assert np.linalg.norm(found.sums[row] - expected.total) < 1e-5 * np.linalg.norm(expected.total)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"start": np.array([0, 3])}, ValueError, "expected 1 <= start"),
        ({"start": np.array([2, 3])}, ValueError, "at or after the prefix's end"),
        ({"stop": np.array([6, 9])}, ValueError, "stop <= length"),
        ({"suffix_ids": np.array([1, 2, 3, 1, 2, 300], np.int32)}, PrefineError, "gives token 300, its model knows 300"),
    ],
)
def test_sequences_that_do_not_fit_are_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    parts: dict[str, Any] = {
        "prefix_ids": np.array([4, 5, 6], np.int32),
        "prefix_offsets": np.array([0, 3]),
        "prefix": np.array([0, 0]),
        "suffix_ids": np.array([1, 2, 3, 1, 2, 3], np.int32),
        "suffix_offsets": np.array([0, 3, 6]),
        "start": np.array([3, 3]),
        "stop": np.array([6, 6]),
    }
    assert loaded("llama").score(Sequences(**parts)).tokens.tolist() == [3, 3]

    with pytest.raises(error, match=message):
        loaded("llama").score(Sequences(**{**parts, **change}))


def test_a_sequence_longer_than_the_model_reads_is_refused() -> None:
    with pytest.raises(PrefineError, match=r"a sequence has 513 tokens, 'llama' reads 512 at most. Set signals.ches.max_length to 512"):
        loaded("llama").score(packed([(np.ones(500, np.int32), np.ones(13, np.int32), True)]))


def test_lengths_end_where_a_scaled_model_begins_to_scale() -> None:
    rope = {"rope_type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 128, "rope_theta": 10_000.0}
    stretched = LlamaForCausalLM(LlamaConfig(**GROUPED, rope_parameters=rope)).eval()

    assert CausalModel(stretched, "stretched", 128).longest == 128


def test_the_fingerprint_tells_weights_arithmetic_and_shapes() -> None:
    same = CausalModel(network("llama"), "another name", 128)
    changed = network("llama")
    with torch.no_grad():
        changed.model.layers[2].mlp.up_proj.weight[0, 0] += 1e-3

    assert same.fingerprint == loaded("llama").fingerprint
    half = CausalModel(network("llama", torch.bfloat16), "half", 128)
    others = [loaded("llama", 256), loaded("qwen2"), CausalModel(changed, "changed", 128), half]

    assert len({one.fingerprint for one in (same, *others)}) == 5
    assert all(len(one.fingerprint) == 32 for one in others)
    assert (half.dtype, half.device, half.dimensions, half.vocabulary) == ("bfloat16", "cpu", 48, VOCABULARY)


# methods.md 3.1: rows [pad, prompt, states, end] with pad (5, 5), prompt (9, 9) and end (7, 7). The two states before the
# chosen answer's tokens are (1, 0) and (1, 1), those before the rejected one's (0, 1), (2, 0) and (1, 1).
PAD, PROMPT, END = [5.0, 5.0], [9.0, 9.0], [7.0, 7.0]
CHOSEN, REJECTED = [[1.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_is_left_out_of_the_sums(side: str) -> None:
    hidden, attention, response = [], [], []
    for states in (CHOSEN, REJECTED):
        row, scored = [PROMPT, *states, END], [0, 0, *([1] * len(states))]
        padding = 7 - len(row)
        before, after = (padding, 0) if side == "left" else (0, padding)
        hidden.append([PAD] * before + row + [PAD] * after)
        attention.append([0] * before + [1] * len(row) + [0] * after)
        response.append([0] * before + scored + [0] * after)

    sums, tokens = response_sums(torch.tensor(hidden), torch.tensor(attention), torch.tensor(response))

    assert sums.tolist() == [[2.0, 1.0], [3.0, 2.0]]
    assert tokens.tolist() == [2, 3]
    found = scores(sums.numpy(), tokens.numpy())[0]
    assert found == pytest.approx([3.0, 0.0833333], abs=1e-6)
    assert not np.isclose(found, [-102.0, -11.3333], atol=1e-3).any()


def test_padding_that_is_no_number_does_not_reach_the_sums() -> None:
    hidden = torch.tensor([[[1.0], [2.0], [torch.nan]]])

    sums, _ = response_sums(hidden, torch.tensor([[1, 1, 0]]), torch.tensor([[0, 1, 0]]))

    assert sums.tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("attention", "response"),
    [([1, 1, 1], [1, 1, 0]), ([0, 1, 1], [0, 1, 1]), ([1, 1, 0], [0, 1, 1])],
)
def test_a_response_without_a_token_before_it_or_in_the_padding_is_refused(attention: list[int], response: list[int]) -> None:
    with pytest.raises(ValueError, match="is padding or has no token before it"):
        response_sums(torch.zeros((1, 3, 2)), torch.tensor([attention]), torch.tensor([response]))


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_that_someone_else_padded_has_the_sums_of_the_pass(side: str) -> None:
    sequences, model = pairs(5, seed=8), network("llama")
    rows = [sequences.whole(row) for row in range(sequences.start.size)]
    width = max(row.size for row in rows) + 3
    ids, attention, response = (torch.zeros((len(rows), width), dtype=torch.int64) for _ in range(3))
    for number, row in enumerate(rows):
        first = width - row.size if side == "left" else 0
        ids[number, first : first + row.size] = torch.from_numpy(row.astype(np.int64))
        attention[number, first : first + row.size] = 1
        response[number, first + int(sequences.start[number]) : first + int(sequences.stop[number])] = 1
    places = (attention.cumsum(dim=1) - 1).clamp(min=0)

    with torch.inference_mode():
        hidden = model.base_model(input_ids=ids, attention_mask=attention, position_ids=places, use_cache=False).last_hidden_state
    sums, tokens = response_sums(hidden, attention, response)

    found = loaded("llama").score(sequences)
    assert tokens.tolist() == found.tokens.tolist()
    assert (np.linalg.norm(sums.numpy() - found.sums, axis=1) < 1e-5 * np.linalg.norm(found.sums, axis=1)).all()
