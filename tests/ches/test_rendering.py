"""Conversations as the tokens that a model is trained on."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ches.rendering import Rendered, Renderer
from pipeline.errors import ConfigError
from tests.ches.tokenizers import KINDS, TEMPLATES, answer, message, tokenizer, user

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what these libraries say about each other while they are imported
    import trl
    from trl.data_utils import _tokenize, common_prefix_length

Messages = list[dict[str, Any]]

TOOLS = json.dumps([{"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": {"type": "object"}}}])
CALL = json.dumps([{"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}])


def render(renderer: Renderer, *rows: tuple[Messages, Messages], tools: str | None = None) -> Rendered:
    """Each row with a prompt of its own."""
    prompts, responses = [prompt for prompt, _ in rows], [response for _, response in rows]
    return renderer.responses(prompts, [tools] * len(rows), responses, list(range(len(rows))))


def parts(of: Any, told: Rendered, row: int = 0) -> tuple[str, str]:
    """The text before the scored tokens, and theirs."""
    ids, start, stop = told.sequences.whole(row).tolist(), told.sequences.start[row], told.sequences.stop[row]
    return of.decode(ids[:start]), of.decode(ids[start:stop])


def reasons(template: str, *rows: tuple[Messages, Messages], tools: str | None = None) -> list[str | None]:
    return render(Renderer(tokenizer("bytes", template)), *rows, tools=tools).reasons


# Texts


def test_a_chat_response_is_all_that_the_template_adds() -> None:
    of = tokenizer("bytes", "chatml")
    prompt = [message("system", "Be brief."), user("Why?"), *answer("No idea."), user("And now?")]

    told = render(Renderer(of), (prompt, answer("Rayleigh.")))

    assert parts(of, told) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nNo idea.<|im_end|>\n"
        "<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n",
        "Rayleigh.<|im_end|>\n",
    )


@pytest.mark.parametrize(("kind", "first"), [("bytes", ""), ("pieces", "<s>"), ("words", "")])
def test_a_plain_response_ends_with_the_end_of_text(kind: str, first: str) -> None:
    of = tokenizer(kind)
    renderer = Renderer(of)
    told = render(renderer, ([user("a b")], answer("b a")))
    bare = of("User: a b\n\nAssistant: b a", add_special_tokens=False)["input_ids"]

    assert renderer.mode == "plain"
    assert told.sequences.whole(0).tolist() == [*([1] if first else []), *bare, of.eos_token_id]
    assert parts(of, told)[1].replace(" </s>", "</s>").endswith("b a</s>")


def test_a_plain_transcript_has_all_turns() -> None:
    of = tokenizer("bytes")
    prompt = [message("system", "Be brief."), user("Weather?"), message("assistant", "", CALL), message("tool", "20")]

    told = render(Renderer(of), (prompt, answer("Warm.")), tools=TOOLS)

    assert parts(of, told) == (
        f"Tools: {TOOLS}\n\nSystem: Be brief.\n\nUser: Weather?\n\nAssistant: {CALL}\n\nTool: 20\n\nAssistant:",
        " Warm.</s>",
    )


def test_plain_ignores_the_tokenizers_template() -> None:
    of = tokenizer("bytes", "chatml")

    assert parts(of, render(Renderer(of, "plain"), ([user("Why?")], answer("So.")))) == ("User: Why?\n\nAssistant:", " So.</s>")


def test_a_response_may_have_several_turns() -> None:
    of = tokenizer("bytes", "chatml")
    response = [*answer("What?"), user("Why?"), *answer("So.")]

    chat, plain = (parts(of, render(Renderer(of, form), ([user("Hi")], response)))[1] for form in ("chat", "plain"))

    assert chat == "What?<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nSo.<|im_end|>\n"
    assert plain == " What?\n\nUser: Why?\n\nAssistant: So.</s>"


def test_one_prompt_of_several_responses_is_rendered_once_and_stored_once() -> None:
    of = tokenizer("bytes", "chatml")
    asked: list[bool] = []
    rendered = of.apply_chat_template
    of.apply_chat_template = lambda *given, **settings: (asked.append(settings["add_generation_prompt"]), rendered(*given, **settings))[1]
    renderer = Renderer(of)
    asked.clear()
    long = [user("Why is the sky blue? " * 20)]

    told = renderer.responses([long] * 3 + [[user("Hi")]], [None] * 4, [answer(one) for one in "abcd"], [7, 7, 7, 2])

    assert asked.count(True) == 2
    assert told.sequences.prefix.tolist() == [0, 0, 0, -1]
    assert told.sequences.prefix_offsets.size == 2
    assert told.rows.tolist() == [0, 1, 2, 3]


def test_dates_stand_still() -> None:
    of = tokenizer("bytes", "dated")

    assert parts(of, render(Renderer(of), ([user("Why?")], answer("So."))))[0].startswith("26 Jul 2024\n<|im_start|>user")


def test_a_template_for_tools_is_used_where_there_are_tools() -> None:
    of = tokenizer("bytes")
    of.chat_template = {"default": TEMPLATES["chatml"], "tool_use": TEMPLATES["calls"]}
    row = ([user("Weather?")], answer("Warm."))

    assert parts(of, render(Renderer(of), row))[0].startswith("<|im_start|>")
    assert parts(of, render(Renderer(of), row, tools=TOOLS))[0].startswith("[{")


@pytest.mark.parametrize(
    ("template", "expected"),
    [("calls", "get_weather([('city', 'Rome')])<|im_end|>\n"), ("text_calls", 'get_weather{"city": "Rome"}<|im_end|>\n')],
)
def test_arguments_of_calls_are_objects_or_text_as_the_template_takes_them(template: str, expected: str) -> None:
    of = tokenizer("bytes", template)

    assert parts(of, render(Renderer(of), ([user("Weather?")], [message("assistant", "", CALL)])))[1] == expected


def test_a_call_may_stand_alone_with_its_arguments_as_an_object() -> None:
    of = tokenizer("bytes", "calls")
    call = json.dumps({"function": {"name": "get_weather", "arguments": {"city": "Rome"}}})

    told = render(Renderer(of), ([user("Weather?")], [message("assistant", "", call)]))

    assert parts(of, told)[1] == "get_weather([('city', 'Rome')])<|im_end|>\n"


@pytest.mark.parametrize("arguments", ["Rome", "[1]"])
def test_arguments_that_are_no_object_stay_text(arguments: str) -> None:
    of = tokenizer("bytes", "text_calls")
    call = json.dumps([{"function": {"name": "get_weather", "arguments": arguments}}])

    told = render(Renderer(of), ([user("Weather?")], [message("assistant", "", call)]))

    assert parts(of, told)[1] == f"get_weather{arguments}<|im_end|>\n"


@pytest.mark.parametrize("response", [" Yes\n", "\n\nYes", "Yes", "<|im_end|>"])
@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@pytest.mark.parametrize("template", ["chatml", "refuses_system", "dated", "thinks", "thinks_then_drops", "last_turn_differs"])
def test_chat_tokens_are_those_that_trl_trains_on(template: str, kind: str, response: str) -> None:
    of = tokenizer(kind, template)
    prompt = [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "Who knows"},
        {"role": "user", "content": "you, I think"},
    ]
    of.chat_template = of.chat_template.replace("strftime_now('%d %b %Y')", "'26 Jul 2024'")  # TRL writes today's
    prompt_ids = _tokenize(of, prompt, add_generation_prompt=True)["input_ids"]
    whole = _tokenize(of, [*prompt, {"role": "assistant", "content": response}])["input_ids"]

    told = render(Renderer(tokenizer(kind, template)), (prompt, answer(response)))

    assert told.sequences.whole(0).tolist() == whole
    assert told.sequences.start.tolist() == [common_prefix_length(prompt_ids, whole)]
    assert told.sequences.stop.tolist() == [len(whole)]


def test_the_response_begins_with_the_token_that_holds_its_first_character_where_trl_goes_by_both() -> None:
    of = tokenizer("bytes", "bare")  # the prompt ends with a space, which goes with the response's first word
    prompt = [user("fox. ")]
    told = render(Renderer(of), (prompt, answer("think")), (prompt, answer("\n")), (prompt, answer("🙂")))
    prompt_ids = _tokenize(of, prompt, add_generation_prompt=True)["input_ids"]

    assert [parts(of, told, row)[1] for row in range(2)] == [" think</s>", "🙂</s>"]
    assert told.reasons == [None, "empty_answer", None]
    for row in range(2):
        assert told.sequences.start[row] >= common_prefix_length(prompt_ids, told.sequences.whole(row).tolist())


def known(name: str) -> str:
    """A template of a model, as TRL keeps it."""
    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


THINKING = ("deepseek_r1_distill", "deepseekv3", "nemotron_3_nano")


@pytest.mark.parametrize("name", THINKING)
def test_a_response_begins_where_trl_begins_it_where_the_template_drops_what_it_opens(name: str) -> None:
    of = tokenizer("bytes", known(name))
    prompt = [{"role": "user", "content": "Why is the sky blue? " * 20}]
    prompt_ids = _tokenize(of, prompt, add_generation_prompt=True)["input_ids"]

    told = render(Renderer(of), (prompt, answer("So.")), (prompt, answer("Rayleigh.")))

    for row, said in enumerate(["So.", "Rayleigh."]):
        whole = _tokenize(of, [*prompt, {"role": "assistant", "content": said}])["input_ids"]
        assert told.sequences.whole(row).tolist() == whole
        assert told.sequences.start[row] == common_prefix_length(prompt_ids, whole) < len(prompt_ids)


def test_where_a_response_begins_is_not_a_matter_of_its_own_reasoning() -> None:
    rows = [([user("Why?")], answer(said)) for said in ("So.", "<think>\nhm\n</think>\nSo.")]
    of = tokenizer("bytes", "thinks")
    before = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"

    told = render(Renderer(of), *rows)

    assert parts(of, told) == (before, "So.<|im_end|>\n")
    assert parts(of, told, 1) == (before, "<think>\nhm\n</think>\nSo.<|im_end|>\n")
    assert reasons("thinks_then_drops", *rows) == [None, "turn_lost"]


def test_a_response_has_the_header_that_only_a_last_turn_has() -> None:
    of = tokenizer("bytes", "last_turn_differs")

    told = render(Renderer(of), ([user("Hi"), *answer("Hello"), user("Why?")], answer("So.")))

    before, scored = parts(of, told)
    assert before.endswith("assistant\nHello<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant")
    assert scored == " at last\nSo.<|im_end|>\n"


KNOWN = ("gemma", "llama3", "llama3_1", "llama3_2", "qwen2_5", "qwen3", "qwen3_instruct_2507", "glm4moe", "gptoss", "phi3_5", *THINKING)


@pytest.mark.parametrize("name", KNOWN)
def test_templates_that_models_come_with_are_rendered(name: str) -> None:
    renderer = Renderer(tokenizer("bytes", known(name)))
    rows = [([user("Why is it?")], answer("So.")), ([user("Why?"), *answer("So."), user("Sure?")], answer(" Yes, \n\nsure. "))]

    told = render(renderer, *rows)
    before, scored = parts(tokenizer(), told, 1)
    after = renderer.follow_ups([rows[1][0]], [None], [rows[1][1]], ["Thank you!"])

    assert told.reasons == [None, None]
    assert "Sure?" in before
    assert "Yes, \n\nsure." in scored
    assert "Sure?" not in scored
    assert parts(tokenizer(), after)[1].strip() == "Thank you!"


# Reasons


def test_an_answer_without_a_visible_character_is_empty_unless_it_calls_a_tool() -> None:
    rows = [([user("Weather?")], [message("assistant", *said)]) for said in (("",), (" \u200b",), ("", "[]"), ("", CALL))]

    assert reasons("calls", *rows) == ["empty_answer", "empty_answer", "empty_answer", None]
    assert reasons("calls", ([user("Weather?")], [])) == ["empty_answer"]


def test_a_refusal_of_the_template_is_a_reason() -> None:
    with_system = ([message("system", "Be brief."), user("Why?")], answer("So."))

    assert reasons("refuses_system", with_system, ([user("Why?")], answer("So."))) == ["template_refused", None]


def test_a_lack_of_memory_is_no_refusal() -> None:
    of = tokenizer("bytes", "chatml")
    renderer = Renderer(of)

    def full(*_: object, **__: object) -> str:
        raise MemoryError

    of.apply_chat_template = full
    with pytest.raises(MemoryError):
        render(renderer, ([user("Why?")], answer("So.")))


@pytest.mark.parametrize("tools", ["{", "3", '["a"]', '{"a": 1}'])
def test_tools_that_are_no_list_of_definitions_are_refused(tools: str) -> None:
    assert reasons("calls", ([user("Weather?")], answer("Warm.")), tools=tools) == ["template_refused"]


@pytest.mark.parametrize("calls", ["{", "3", '["a"]', '[{"function": {"arguments": "{}"}}]'])
def test_calls_that_the_template_cannot_write_are_refused(calls: str) -> None:
    assert reasons("text_calls", ([user("Weather?")], [message("assistant", "", calls)])) == ["template_refused"]


def test_a_prompt_that_is_written_otherwise_before_a_response_is_a_reason() -> None:
    row = ([user("Why?")], answer("So."))

    assert reasons("last_question_differs", row) == ["template_breaks_prompt"]


@pytest.mark.parametrize("form", ["chat", "plain"])
def test_a_response_that_begins_with_another_turn_does_not_go_on_from_the_prompt(form: Any) -> None:
    told = render(Renderer(tokenizer("bytes", "chatml"), form), ([user("Hi")], [user("Why?"), *answer("So.")]))

    assert told.reasons == ["template_breaks_prompt"]


def test_a_turn_that_the_template_leaves_out_is_lost() -> None:
    system = message("system", "Be brief.")
    rows = [
        ([system, user("Why?")], answer("So.")),
        ([user("Why?")], answer("So.")),
        ([message("system", " "), user("Why?")], answer("So.")),  # nothing to lose
        ([user("Why?")], [*answer("So."), system, *answer("Be brief.")]),
    ]

    assert reasons("ignores_system", *rows) == ["turn_lost", None, None, "turn_lost"]


def test_a_lost_turn_is_not_found_inside_another() -> None:
    rows = [
        ([message("system", "Why"), user("Why not?")], answer("So.")),
        ([message("system", "Why not?"), user("Why not?")], answer("So.")),
        ([message("system", "So."), user("Why not?")], answer("So.")),
    ]

    assert reasons("ignores_system", *rows) == ["turn_lost"] * 3


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages[:2] | reverse %}{{ m.content }}\n{% endfor %}{% for m in messages[2:] %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{{ m.content.split() | join('\n') }}|{% endfor %}",
        "{% for m in messages %}{{ m.content | tojson }}{% endfor %}",
    ],
    ids=["another order", "other white space", "as JSON"],
)
def test_a_turn_that_is_written_in_another_way_is_not_lost(template: str) -> None:
    rows = [([message("system", "Be brief. "), user('  Say "why"\nnot  that')], answer("So\nit is."))]

    assert reasons(template, *rows) == [None]


def test_a_response_that_the_template_leaves_out_is_lost_even_where_the_prompt_says_the_same() -> None:
    template = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}|"

    assert reasons(template, ([user("So.")], answer("So."))) == ["turn_lost"]


def test_a_response_whose_beginning_the_prompt_has_already_is_not_lost() -> None:
    of = tokenizer("bytes", "thinks_always")

    told = render(Renderer(of), ([user("Why?")], answer("<think>\nhm</think>\nSo.")))

    assert told.reasons == [None]
    assert parts(of, told) == ("<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n<think>\n", "hm</think>\nSo.<|im_end|>\n")


def test_calls_and_tools_that_the_template_leaves_out_are_lost() -> None:
    rows = [
        ([user("Weather?")], [message("assistant", "So.", CALL)]),
        ([user("Weather?"), message("assistant", "", CALL)], answer("Warm.")),
    ]

    assert reasons("chatml", *rows) == ["turn_lost", "turn_lost"]
    assert reasons("chatml", ([user("Weather?")], answer("Warm.")), tools=TOOLS) == ["turn_lost"]
    assert reasons("chatml", ([], [user("Weather?"), *answer("Warm.")]), tools=TOOLS) == ["turn_lost"]
    assert reasons("calls", ([user("Weather?")], answer("Warm.")), tools=TOOLS) == [None]


def test_without_a_prompt_something_has_to_stand_before_the_response() -> None:
    row: tuple[Messages, Messages] = ([], answer("So."))

    assert reasons("chatml", row) == ["no_prompt_token"]
    assert render(Renderer(tokenizer("bytes")), row).reasons == ["no_prompt_token"]
    plain = tokenizer("pieces")
    assert parts(plain, render(Renderer(plain), row)) == ("<s>", " Assistant: So.</s>")
    chat = tokenizer("bytes", "refuses_system")
    assert parts(chat, render(Renderer(chat), row)) == ("<s>", "<|im_start|>assistant\nSo.<|im_end|>\n")
    tools = tokenizer("bytes", "{{ bos_token }}" + TEMPLATES["calls"])
    calls = render(Renderer(tools), ([], [user("Weather?"), *answer("Warm.")]), tools=TOOLS)
    assert calls.reasons == [None]


def test_a_long_conversation_is_cut_on_the_right() -> None:
    of = tokenizer("bytes", "chatml")
    rows = [([user("Why?")], answer("think " * 40)), ([user("think " * 40)], answer("So.")), ([user("Why?")], answer("So."))]

    told = render(Renderer(of, max_length=30), *rows)

    assert told.reasons == [None, "prompt_fills_window", None]
    assert told.cut.tolist() == [True, True, False]
    assert told.rows.tolist() == [0, 2]
    assert told.sequences.lengths[0] == 30
    assert told.sequences.stop[0] == 30
    assert told.follow_ups.tolist() == [0, 0]


def test_rows_of_one_prompt_share_its_reason() -> None:
    prompt = [message("system", "Be brief."), user("Why?")]
    renderer = Renderer(tokenizer("bytes", "refuses_system"))

    told = renderer.responses([prompt, prompt, [user("Hi")]], [None] * 3, [answer("So."), answer(""), answer("Hi")], [1, 1, 0])

    assert told.reasons == ["template_refused", "empty_answer", None]
    assert told.rows.tolist() == [2]


def test_nothing_in_nothing_out() -> None:
    told = render(Renderer(tokenizer("bytes", "chatml")))

    assert told.reasons == []
    assert told.sequences.lengths.size == 0


def test_arguments_of_different_lengths_are_an_error() -> None:
    with pytest.raises(ValueError, match="2 prompts, 1 tools, 1 responses, 1 groups"):
        Renderer(tokenizer("bytes")).responses([[], []], [None], [[]], [0])


# What is asked of the tokenizer


def test_chat_without_a_template_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"signals\.ches\.template: 'chat', but the tokenizer of 'tiny' has no chat template"):
        Renderer(tokenizer("bytes"), "chat", name="tiny")


def test_a_tokenizer_that_is_not_fast_is_a_mistake() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(ConfigError, match=r"signals\.ches\.model: 'tiny' has no fast tokenizer"):
        Renderer(Slow(), name="tiny")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{% for m in messages %}", "fails on a single user turn: Unexpected end of template"),
        ("{{ raise_exception('not today') }}", "fails on a single user turn: not today"),
        ("{% for m in messages %}{{ m.content[0].text }}{% endfor %}", "leaves out what the user says: it makes '' of 'How is it"),
    ],
)
def test_a_template_that_cannot_render_one_user_turn_is_a_mistake(template: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"signals\.ches\.template: the chat template of 'tiny' {problem}"):
        Renderer(tokenizer("bytes", template), name="tiny")


def test_the_hash_covers_what_tokens_depend_on() -> None:
    renderers = [
        Renderer(tokenizer("bytes", "chatml")),
        Renderer(tokenizer("bytes", "chatml"), max_length=100),
        Renderer(tokenizer("bytes", "chatml"), "plain"),
        Renderer(tokenizer("pieces", "chatml")),
        Renderer(tokenizer("bytes", "dated")),
    ]
    ends = tokenizer("bytes", "chatml")
    ends.eos_token = "<|im_end|>"
    renderers += [Renderer(ends), Renderer(ends, "plain")]

    assert len({one.template_hash for one in renderers}) == len(renderers)
    assert {len(one.template_hash) for one in renderers} == {32}
    assert Renderer(tokenizer("bytes", "chatml"), "chat", name="x").template_hash == renderers[0].template_hash
    assert Renderer(tokenizer("bytes"), "plain").template_hash == renderers[2].template_hash


# Follow-ups


@pytest.mark.parametrize("form", ["chat", "plain"])
@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_only_the_follow_ups_own_tokens_are_scored(kind: str, form: Any) -> None:
    of = tokenizer(kind, "chatml")
    renderer = Renderer(of, form)
    long = [user("Why is the sky blue? " * 20)]
    prompts, responses = [long, [user("Hi")], long], [answer("So. Thank you!"), answer(" "), answer("That is wrong.")]

    told = renderer.follow_ups(prompts, [None] * 3, responses, ["Thank you!", "Thank you! ", "That is wrong."])

    assert told.reasons == [None, "empty_answer", None]
    assert told.rows.tolist() == [0, 0, 2, 2]
    assert told.follow_ups.tolist() == [0, 2, 0, 2]
    assert told.sequences.prefix.tolist() == [0, 0, 1, 1]
    assert [parts(of, told, row)[1].strip() for row in range(4)] == ["Thank you!", "That is wrong."] * 2
    end = {"chat": "Thank you!<|im_end|>\n", "plain": "Thank you!"}[form]
    shared = told.sequences.prefix_ids[: told.sequences.prefix_offsets[1]]
    assert of.decode(shared.tolist()).endswith(end)


def test_a_response_lacks_all_follow_ups_where_one_does_not_fit() -> None:
    of = tokenizer("bytes", "chatml")
    follow_ups = ["Thank you!", "That is wrong. " * 20]

    told = Renderer(of, max_length=60).follow_ups([[user("Hi")]], [None], [answer("So.")], follow_ups)

    assert told.reasons == ["prompt_fills_window"]
    assert told.rows.size == 0
    assert told.cut.tolist() == [False]


def test_follow_ups_have_the_templates_reasons() -> None:
    system, turn = message("system", "Be brief."), user("Why?")
    once = "{% if messages | length > 2 %}{{ raise_exception('enough') }}{% endif %}" + TEMPLATES["chatml"]
    two_turns = "{% for m in messages[:2] %}{{ m.role }}: {{ m.content }}\n{% endfor %}"

    def why(template: str, prompt: Messages) -> list[str | None]:
        return Renderer(tokenizer("bytes", template)).follow_ups([prompt], [None], [answer("Thank you!")], ["Thank you!"]).reasons

    assert why("refuses_system", [system, turn]) == ["template_refused"]
    assert why("ignores_system", [system, turn]) == ["turn_lost"]
    assert why(once, [turn]) == ["template_refused"]
    assert why(two_turns, [turn]) == ["turn_lost"]
    assert why("thinks", [turn]) == [None]


@pytest.mark.parametrize("follow_ups", [["Thanks!", " "], []])
def test_a_blank_follow_up_is_a_mistake(follow_ups: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"signals\.ches\.follow_ups: a follow-up is blank, or there is none"):
        Renderer(tokenizer("bytes")).follow_ups([], [], [], follow_ups)


# For any text

LEADS = ("", "The quick brown fox jumps over the lazy dog. " * 3)  # too short for sharing, and long enough
SAID = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(" \n\te🙂é\u0301你"))).map(lambda text: text + "x")
ROWS = st.lists(st.tuples(st.sampled_from(LEADS), SAID, SAID, SAID), min_size=1, max_size=3)
RENDERERS = {(kind, form): Renderer(tokenizer(kind, form)) for kind in KINDS for form in ("chatml", "bare", None)}


@settings(max_examples=10, deadline=None)
@pytest.mark.parametrize(("kind", "form"), RENDERERS)
@given(rows=ROWS)
def test_any_text_is_tokenised_as_a_whole_and_scored_from_the_response_on(
    kind: str, form: str | None, rows: list[tuple[str, str, str, str]]
) -> None:
    renderer, of = RENDERERS[kind, form], tokenizer(kind, form)
    prompts = [[user(lead + said)] for lead, said, *_ in rows for _ in range(2)]
    responses = [answer(said) for _, _, *both in rows for said in both]
    groups = [row // 2 for row in range(len(prompts))]

    told = renderer.responses(prompts, [None] * len(prompts), responses, groups)

    assert told.reasons == [None] * len(prompts)
    sequences = told.sequences
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        if form is None:
            text = f"User: {prompt[0]['content']}\n\nAssistant: {response[0]['content']}"
            first = [of.bos_token_id] if of("a")["input_ids"][0] == of.bos_token_id else []
            expected = [*first, *of(text, add_special_tokens=False)["input_ids"], of.eos_token_id]
        else:
            text = of.apply_chat_template([*prompt, *response], tokenize=False)
            expected = of(text, add_special_tokens=False)["input_ids"]
        whole = sequences.whole(row)
        assert whole.tolist() == expected
        assert max(1, sequences.before[row]) <= sequences.start[row] < sequences.stop[row] == sequences.lengths[row] == whole.size
        if kind != "words":  # which knows few
            scored = of.decode(whole[sequences.start[row] :].tolist())
            end = response[0]["content"] + {None: "</s>", "bare": "</s>", "chatml": "<|im_end|>\n"}[form]
            # The first Llama's tokenizers put a space behind every special token.
            assert "".join(scored.split()).endswith("".join(end.split()))
            assert len(scored) <= len(end) + 16  # one token of the prompt at most, unless its characters have several bytes

        alone = renderer.responses([prompt], [None], [response], [0]).sequences
        assert (alone.start[0], alone.stop[0], alone.before[0]) == (sequences.start[row], sequences.stop[row], sequences.before[row])
        assert np.array_equal(alone.whole(0), whole)
