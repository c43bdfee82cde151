"""Where the scored part of a text begins and ends, in tokens."""

from typing import Any

import numpy as np
import pytest

from pipeline.ches.boundaries import BoundaryTokenizer, Bounded, Continued
from pipeline.ches.sequences import SHARE_FROM
from tests.ches.tokenizers import KINDS, tokenizer

LONG = "The quick brown fox jumps over the lazy dog. " * 6


def bound(kind: str, rows: list[tuple[str, str]], longest: int = 500, **frame: Any) -> Bounded:
    """Each (prompt, response) by itself."""
    prompts = [prompt for prompt, _ in rows]
    begins = np.array([len(prompt) for prompt in prompts], np.int64)
    told = Continued(prompts, [prompt + response for prompt, response in rows], np.arange(len(rows)), begins)
    return BoundaryTokenizer(tokenizer(kind), longest, **frame).bound(told)


def spans(kind: str, found: Bounded) -> list[list[str]]:
    """The scored tokens."""
    of, told = tokenizer(kind), found.sequences
    scored = [told.whole(row)[told.start[row] : told.stop[row]] for row in range(told.prefix.size)]
    return [of.convert_ids_to_tokens(ids.tolist()) for ids in scored]


def test_the_response_begins_after_the_prompts_own_tokens() -> None:
    found = bound("bytes", [("<|im_start|>user\n", "The fox<|im_end|>\n")])

    assert spans("bytes", found) == [["The", "Ġfox", "<|im_end|>", "Ċ"]]


def test_a_token_across_the_boundary_is_the_responses() -> None:
    found = bound("bytes", [("The f", "ox")])

    assert spans("bytes", found) == [["Ġfox"]]
    assert found.sequences.prefix.tolist() == [-1]


def test_white_space_before_the_response_is_the_prompts_although_the_tokenizers_offsets_leave_it_out() -> None:
    # Two spaces: the second one goes with the next word, so the prompt's own tokens are no beginning.
    found = bound("bytes", [("sky  ", " fox")])

    assert tokenizer("bytes").backend_tokenizer.encode("sky   fox").offsets[-2:] == [(5, 5), (6, 9)]
    assert spans("bytes", found) == [["Ġfox"]]


@pytest.mark.parametrize("kind", ["bytes", "pieces", "old_pieces"])
def test_all_bytes_of_a_character_are_on_one_side(kind: str) -> None:
    (scored,) = spans(kind, bound(kind, [("x<|im_start|>", "🙂")]))

    # The first Llama's tokenizers put a space before every piece of text; that one comes with the response.
    assert len(scored) == 4 + (kind == "old_pieces")


def test_an_unknown_token_that_reaches_into_the_response_is_the_responses() -> None:
    # Unknown characters in a row make one token, so the prompt's own tokens do begin the whole text.
    found = bound("words", [("a ☃", "☃ b"), ("a ☃ ", "☃ b")])

    assert spans("words", found) == [["<unk>", "b"], ["<unk>", "b"]]
    assert found.sequences.start.tolist() == [1, 2]


def test_a_prompt_is_shared_from_some_tokens_on() -> None:
    words = " ".join(["a"] * (SHARE_FROM - 1))
    found = bound("words", [(words, " b"), (words + " a", " b")])

    assert found.sequences.prefix.tolist() == [-1, 0]
    assert found.sequences.prefix_offsets.tolist() == [0, SHARE_FROM]
    assert np.diff(found.sequences.suffix_offsets).tolist() == [SHARE_FROM, 1]
    assert found.sequences.start.tolist() == [SHARE_FROM - 1, SHARE_FROM]


def test_a_long_prompt_whose_last_token_merges_is_not_shared() -> None:
    found = bound("bytes", [(LONG + "f", "ox"), (LONG + "fox", " jumps")])

    assert found.sequences.prefix.tolist() == [-1, 0]
    assert spans("bytes", found) == [["Ġfox"], ["Ġjumps"]]


def test_one_prompt_serves_several_responses_and_prompts_nobody_shares_are_left_out() -> None:
    told = Continued(
        ["The fox", LONG, LONG + "f"],
        [LONG + " dog", "The fox dog", LONG + " I", LONG + "fox"],
        np.array([1, 0, 1, 2]),
        np.array([len(LONG), 7, len(LONG), len(LONG) + 1]),
    )
    found = BoundaryTokenizer(tokenizer(), 500).bound(told)

    assert found.sequences.prefix.tolist() == [0, -1, 0, -1]
    assert found.sequences.prefix_offsets.size == 2
    assert [tokenizer().decode(found.sequences.whole(row)) for row in range(4)] == told.texts


def test_what_lies_beyond_the_longest_input_is_cut_off_on_the_right() -> None:
    found = bound("words", [("a a a", " b b"), ("a a a", " b"), ("a a a a", " b"), ("a a a a a", " b")], longest=4)

    assert found.reasons == [None, None, "prompt_fills_window", "prompt_fills_window"]
    assert found.cut.tolist() == [True, False, True, True]
    assert found.kept.tolist() == [0, 1]
    assert spans("words", found) == [["b"], ["b"]]
    assert found.sequences.lengths.tolist() == [4, 4]


def test_the_first_token_needs_one_before_it() -> None:
    found = bound("words", [("", "b"), ("", "<s> b b"), ("", "<s>"), ("", "")])

    assert found.reasons == ["no_prompt_token", None, "empty_answer", "empty_answer"]
    assert spans("words", found) == [["b", "b"]]


def test_a_response_that_the_tokenizer_knows_nothing_of_is_empty() -> None:
    assert bound("words", [("a", "  ")]).reasons == ["empty_answer"]


def test_tokens_around_a_text_count() -> None:
    frame = {"before": np.array([1], np.int32), "after": np.array([2], np.int32)}
    found = bound("words", [("", "b"), ("a", " b"), ("a", " ")], **frame)

    assert spans("words", found) == [["b", "</s>"], ["b", "</s>"], ["</s>"]]
    assert found.sequences.start.tolist() == [1, 2, 2]
    assert [found.sequences.whole(row)[0] for row in range(3)] == [1, 1, 1]


def test_a_span_has_the_tokens_with_its_characters_and_nothing_behind_them() -> None:
    prompt, text = "The fox", "The fox think, I think.<|im_end|>\n"
    begin = text.index("I think.")
    told = Continued([prompt], [text], np.array([0]), np.array([begin]), np.array([begin + 8]))
    found = BoundaryTokenizer(tokenizer(), 500).bound(told)

    assert spans("bytes", found) == [["ĠI", "Ġthink", "."]]
    assert tokenizer().decode(found.sequences.whole(0)) == text[: begin + 8]


def test_spans_that_go_on_from_one_prefix_are_scored_together_or_not_at_all() -> None:
    texts = ["a b b", "a b b b", "b b b"]
    told = Continued(["a", "b"], texts, np.array([0, 0, 1]), np.array([2, 2, 2]), np.array([5, 7, 5]))
    found = BoundaryTokenizer(tokenizer("words"), 3).bound(told)

    assert found.reasons == ["prompt_fills_window", "prompt_fills_window", None]
    assert found.kept.tolist() == [2]


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_those_of_transformers(kind: str, split: bool) -> None:
    text = "<s>  The naïve fox<|im_end|>\n\nGröße  🙂 你好 "
    of = tokenizer(kind)
    of.split_special_tokens = split  # "<s>" is three characters like any others
    frame = np.array([7], np.int32)
    found = BoundaryTokenizer(of, 500, frame).bound(Continued([""], [text], np.array([0]), np.array([0])))

    assert found.sequences.whole(0).tolist() == [7, *of(text, add_special_tokens=False)["input_ids"]]


def test_nothing_in_nothing_out() -> None:
    found = bound("bytes", [])

    assert found.reasons == []
    assert found.sequences.prefix.size == 0


def test_the_definition_tells_settings_apart() -> None:
    bytes_, other = tokenizer("bytes"), tokenizer("bytes")
    other.split_special_tokens = True
    frame = np.array([1], np.int32)
    made = [
        BoundaryTokenizer(bytes_, 10),
        BoundaryTokenizer(bytes_, 11),
        BoundaryTokenizer(bytes_, 10, frame),
        BoundaryTokenizer(bytes_, 10, frame[:0], frame),
        BoundaryTokenizer(other, 10),
        BoundaryTokenizer(tokenizer("words"), 10),
    ]

    assert len({one.definition() for one in made}) == len(made)
    assert BoundaryTokenizer(tokenizer("bytes"), 10).definition() == made[0].definition()
