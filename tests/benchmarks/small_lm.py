"""A small language model of real dialogues, trained from nothing: the policy of `bench_displacement`, and the pairs it is tuned on.

Reads the raw sets by itself, needs nothing of the package, and gives the same bits for the same seed, threads and machine. Prompts are
parted by a hash of their first user turn: what the model was trained on never shares a first turn with a preference pair.
"""

import gzip
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

LONGEST = 512  # tokens of a training dialogue, and of a prompt with an answer
SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TRAINING_PERCENT = 40  # of the prompts of preference sets that are the model's own training data

Message = dict[str, str]
Dialogue = list[Message]


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt, the first preferred by people."""

    source: str
    prompt: Dialogue
    chosen: str
    rejected: str

    @property
    def first_turn(self) -> str:
        """What the split goes by."""
        return next((one["content"] for one in self.prompt if one["role"] == "user"), "")


@dataclass(frozen=True)
class Corpus:
    """`dialogues` train the model; `pairs` are for tuning it."""

    dialogues: list[Dialogue]
    pairs: list[Pair]


def read_corpus(data: Path) -> Corpus:
    """All sets, parted; pairs without repeats, in an order that depends on their content alone."""
    pairs = [*_hh(data), *_pandalm(data), *_llmbar(data)]
    own = [pair for pair in pairs if _draw(pair.first_turn) < TRAINING_PERCENT]
    kept = {_key(pair): pair for pair in pairs if _draw(pair.first_turn) >= TRAINING_PERCENT}
    taken = {_plain(pair.first_turn) for pair in kept.values()}
    texts = [[*pair.prompt, _said(answer)] for pair in own for answer in (pair.chosen, pair.rejected)]
    texts += [one for one in _answers(data) if _plain(one[0]["content"]) not in taken]
    dialogues = {json.dumps(one): one for one in texts}
    return Corpus([dialogues[key] for key in sorted(dialogues, key=_digest)], [kept[key] for key in sorted(kept)])


def _hh(data: Path) -> Iterator[Pair]:
    for row in _lines(_file(data / "hh_rlhf", "*.jsonl*")):
        chosen, rejected = _turns(row["chosen"]), _turns(row["rejected"])
        alternates = all(one["role"] == ("user", "assistant")[i % 2] for i, one in enumerate(chosen))
        if chosen[:-1] == rejected[:-1] and len(chosen) % 2 == 0 and alternates:
            yield from _pair("hh_rlhf", chosen[:-1], chosen[-1]["content"], rejected[-1]["content"])


def _turns(transcript: str) -> Dialogue:
    parts = re.split(r"\n\n(Human|Assistant):", transcript)
    names = {"Human": "user", "Assistant": "assistant"}
    return [{"role": names[who], "content": said.strip()} for who, said in zip(parts[1::2], parts[2::2], strict=True)]


def _pandalm(data: Path) -> Iterator[Pair]:
    for row in _whole(_file(data / "pandalm", "testset-v1.json*")):
        votes = [row[f"annotator{k}"] for k in (1, 2, 3)]
        lead = votes.count(1) - votes.count(2)
        answers = [row["response1"], row["response2"]]
        if lead and all(isinstance(one, str) for one in answers):  # six answers are not text
            text = row["instruction"] + ("\n\n" + row["input"] if row["input"] else "")
            yield from _pair("pandalm", [{"role": "user", "content": text}], *(answers if lead > 0 else answers[::-1]))


def _llmbar(data: Path) -> Iterator[Pair]:
    for folder in ("Natural", "Adversarial"):
        for file in sorted((data / "llmbar").rglob("dataset.json*")):
            if folder in file.parts:
                for row in _whole(file):
                    answers = [row["output_1"], row["output_2"]]
                    prompt = [{"role": "user", "content": row["input"]}]
                    yield from _pair("llmbar", prompt, *(answers if row["label"] == 1 else answers[::-1]))


def _pair(source: str, prompt: Dialogue, chosen: str, rejected: str) -> Iterator[Pair]:
    if chosen.strip() and rejected.strip() and chosen != rejected:
        yield Pair(source, prompt, chosen, rejected)


def _answers(data: Path) -> Iterator[Dialogue]:
    """Instructions with answers, whoever was preferred."""
    for file in sorted((data / "alpaca_eval").rglob("annotations.json*")):
        for row in _whole(file):
            for answer in (row["output_1"], row["output_2"]):
                yield [{"role": "user", "content": row["instruction"]}, _said(answer)]
    for row in _whole(_file(data / "fine_grained_rlhf", "*.json*")):
        for answer in (row["gold"], *(row[f"prediction {k}"] for k in (1, 2, 3, 4))):
            yield [{"role": "user", "content": row["question"]}, _said(answer)]
    names = {"human": "user", "gpt": "assistant"}
    for row in _whole(_file(data / "llama_factory", "dpo_en_demo.json*")):
        turns = [{"role": names[one["from"]], "content": one["value"]} for one in row["conversations"] if one["from"] in names]
        for answer in (row["chosen"]["value"], row["rejected"]["value"]):
            yield [*turns, _said(answer)]


def _said(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _file(folder: Path, pattern: str) -> Path:
    found = sorted(folder.rglob(pattern))
    if not found:
        raise SystemExit(f"{folder} has no {pattern}: expected the layout of shared/data/raw; name that folder with --data.")
    return found[0]


def _whole(file: Path) -> Any:
    return json.loads(_text(file))


def _lines(file: Path) -> Iterator[Any]:
    return (json.loads(line) for line in _text(file).split("\n") if line)


def _text(file: Path) -> str:
    raw = file.read_bytes()
    return (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("utf-8")


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _draw(text: str) -> int:
    """0 to 99, from the text alone."""
    return int(_digest(_plain(text)), 16) % 100


def _key(pair: Pair) -> str:
    return _digest(json.dumps([pair.prompt, pair.chosen, pair.rejected]))


# ------------------------------------------------------------------------------------------------------------- the model


def train_tokenizer(dialogues: list[Dialogue], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE (every text can be written) with the chat form of `TEMPLATE`."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator((one["content"] for dialogue in dialogues for one in dialogue), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=SPECIAL[0], eos_token=SPECIAL[1], additional_special_tokens=SPECIAL[2:], model_max_length=LONGEST
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def token_ids(tokenizer: PreTrainedTokenizerFast, dialogue: Dialogue, generation: bool = False) -> list[int]:
    """Tokens of a dialogue in the chat form; special ones only where the form puts them."""
    text = tokenizer.apply_chat_template(dialogue, tokenize=False, add_generation_prompt=generation)
    return list(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)


def new_model(vocabulary: int, width: int, layers: int, seed: int) -> LlamaForCausalLM:
    """A Llama with an unembedding of its own, so that the theory's gradient through the unembedding is one parameter's."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=width * 8 // 3 // 32 * 32,
            num_hidden_layers=layers,
            num_attention_heads=width // 32,
            num_key_value_heads=width // 32,
            max_position_embeddings=2 * LONGEST,
            tie_word_embeddings=False,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=1,
        )
    )


def train_model(
    model: LlamaForCausalLM, texts: list[list[int]], *, tokens: int, seed: int, told: Callable[[int, int, float], None]
) -> None:
    """Next-token loss on every token; stops after `tokens` tokens, whole epochs or not."""
    rate = 1.5e-3
    device = model.device
    draw = np.random.default_rng([seed, 7])
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.1)
    seen = step = 0
    losses: list[float] = []
    model.train()
    while seen < tokens:
        for rows in _batches(texts, draw):
            if seen >= tokens:
                break
            inputs = torch.zeros((len(rows), max(len(texts[i]) for i in rows)), dtype=torch.int64)
            for place, i in enumerate(rows):
                inputs[place, : len(texts[i])] = torch.tensor(texts[i])
            inputs = inputs.to(device)
            done = seen / tokens
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / 50) * (0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2)
            with torch.autocast(device.type, torch.bfloat16):
                loss = model(input_ids=inputs, labels=inputs.masked_fill(inputs == 0, -100)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            seen, step = seen + sum(len(texts[i]) for i in rows), step + 1
            losses.append(float(loss.detach()))
            if step % 100 == 0:
                told(step, seen, float(np.mean(losses[-100:])))
    told(step, seen, float(np.mean(losses[-100:])))
    model.eval()


def _batches(texts: list[list[int]], draw: np.random.Generator, budget: int = 1536) -> Iterator[list[int]]:
    """One epoch: about `budget` tokens a batch, texts of like length together; right padding with token 0, which no text holds."""
    order = draw.permutation(len(texts))
    batches: list[list[int]] = []
    for start in range(0, len(order), 512):
        rows: list[int] = []
        for i in sorted(order[start : start + 512].tolist(), key=lambda i: len(texts[i])):
            if rows and len(texts[i]) * (len(rows) + 1) > budget:
                batches.append(rows)
                rows = []
            rows.append(i)
        batches.append(rows)
    return (batches[i] for i in draw.permutation(len(batches)))
