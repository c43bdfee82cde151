"""Tiny tokenizers, made on the fly, each of a kind that models have."""

import functools
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]

CORPUS = [
    "The quick brown fox jumps over the lazy dog. Why is the sky blue? Rayleigh scattering, I think.",
    "User: Please write a short story about the sea.\n\nAssistant: Once there was a small boat, and then the storm came.",
    "system user assistant tool\nNaïve Größe, 你好 and so on: f(x) = 2; because 12345.",
    "thank you, that is what I wanted to know!  That is   wrong.",
] * 3

TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
OPENED = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
CALLED = TURNS.replace("m.content }}", "m.content }}{% for c in m.tool_calls or [] %}CALL{% endfor %}")
TEMPLATES = {
    "chatml": TURNS + OPENED,
    # Nothing stands between the prompt's end and the response: tokens merge across.
    "bare": "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token if m.role == 'assistant' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}",
    "ignores_system": TURNS.replace("in messages", "in messages if m.role != 'system'").replace("m.content", "m.content | trim") + OPENED,
    "refuses_system": "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system turns') }}{% endif %}"
    + TURNS
    + OPENED,
    "thinks": TURNS + OPENED.replace("assistant\n", "assistant\n<think>\n"),
    "thinks_then_drops": TURNS.replace("m.content", "m.content.split('</think>')[-1]")
    + OPENED.replace("assistant\n", "assistant\n<think>\n"),
    "thinks_always": TURNS.replace("m.content", "(m.role == 'assistant' and '<think>' not in m.content) * '<think>\n' + m.content")
    + OPENED.replace("assistant\n", "assistant\n<think>\n"),
    "last_turn_differs": TURNS.replace("m.role }}", "m.role }}{{ ' at last' if loop.last and m.role == 'assistant' }}") + OPENED,
    "last_question_differs": TURNS.replace("m.role }}", "m.role }}{{ ' at last' if loop.last and m.role == 'user' }}") + OPENED,
    "calls": "{% if tools %}{{ tools | tojson }}\n{% endif %}"
    + CALLED.replace("CALL", "{{ c.function.name }}({{ c.function.arguments.items() | list }})")
    + OPENED,
    "text_calls": CALLED.replace("CALL", "{{ c.function.name + c.function.arguments }}") + OPENED,
    "dated": "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}\n{% endif %}" + TURNS + OPENED,
}

KINDS = ("bytes", "pieces", "old_pieces", "words")


@functools.cache
def _backend(kind: str) -> str:
    """A tokenizer as JSON.

    bytes: byte-level BPE like GPT-2's, whose own offsets leave out white space. pieces: SentencePiece-like BPE that falls back to
    bytes. old_pieces: the same with its leading space put on by the normaliser, as the first Llama's. words: whole words or `<unk>`.
    """
    if kind == "words":
        made = Tokenizer(models.WordLevel({token: at for at, token in enumerate([*SPECIAL, "a", "b", "user", "assistant", ":"])}, "<unk>"))
        made.pre_tokenizer = pre_tokenizers.Whitespace()
        made.add_special_tokens(SPECIAL)
        return str(made.to_str())
    alphabet = pre_tokenizers.ByteLevel.alphabet() if kind == "bytes" else []
    made = Tokenizer(models.BPE(unk_token=None if kind == "bytes" else "<unk>", byte_fallback=kind != "bytes", fuse_unk=True))
    if kind == "bytes":
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
    else:
        if kind == "pieces":
            made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        else:
            made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    spare = [] if kind == "bytes" else [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=len(SPECIAL) + 500, special_tokens=[*SPECIAL, *spare], initial_alphabet=alphabet, max_token_length=8, show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    if kind == "bytes":
        made.post_processor = processors.ByteLevel(trim_offsets=True)
    else:
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return str(made.to_str())


def tokenizer(kind: str = "bytes", template: str | None = None) -> Any:
    """A fast tokenizer of transformers.

    Args:
        kind: one of `KINDS`.
        template: a name in `TEMPLATES`, or a template itself.
    """
    made: Any = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_backend(kind)), unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    made.chat_template = TEMPLATES.get(template, template) if template else None
    return made


def user(content: str) -> dict[str, Any]:
    """A user's turn as stored: absent fields are None."""
    return message("user", content)


def answer(content: str) -> list[dict[str, Any]]:
    """A response of one turn."""
    return [message("assistant", content)]


def message(role: str, content: str, tool_calls: str | None = None) -> dict[str, Any]:
    """A turn as stored."""
    return {"role": role, "content": content, "name": None, "tool_calls": tool_calls, "tool_call_id": None, "reasoning_content": None}
