"""What each trainer reads of a row and does to it: one profile a format, with the file its rules were read in.

TRL is 1.16 as installed; its rules are tested against its own code. The others were read in axolotl 0.19, LLaMA-Factory 0.9.5, OpenRLHF
0.11.2 and verl 0.9.1, whose loaders tests/export/frameworks runs where they are installed, and in NeMo RL's repository in 2026.
"""

from dataclasses import dataclass
from typing import Final, Literal

from pipeline.export.lint.windows import (
    Window,
    cuts_both,
    cuts_start,
    drops_either,
    drops_prompt,
    drops_prompt_and_marks_end,
    drops_prompt_of_each,
    prompts_only,
    unlimited,
)


@dataclass(frozen=True)
class Profile:
    """A trainer.

    Attributes:
        trainer: its name.
        source: repository and file of its rules.
        window: what it does to sequences longer than its window.
        max_length: its default for the window, tokens; None: it has none.
        limits: what the window limits: prompt and answer together, or the prompt alone.
        renders: `chat`: the tokenizer's chat template writes a conversation; `own`: the framework's own templates do, so that counts are
            estimates; `text`: prompt and answer end to end.
        reads: of weight, margin and soft (a probability instead of a verdict): what its loss uses.
        prompt_alone: it trains on what it samples itself, so that answers do not matter.
        finds_answer: it writes an answer after a made-up question and looks for its text there (axolotl).
        ends_with_eos: it appends the tokenizer's end token where the template wrote none (OpenRLHF).
        strips: it takes away white space at the end (axolotl).
        notes: what holds for every row.
    """

    trainer: str
    source: str
    window: Window
    max_length: int | None
    limits: Literal["sequence", "prompt"] = "sequence"
    renders: Literal["chat", "own", "text"] = "chat"
    reads: frozenset[str] = frozenset()
    prompt_alone: bool = False
    finds_answer: bool = False
    ends_with_eos: bool = False
    strips: bool = False
    notes: tuple[str, ...] = ()


_SMOOTHING: Final = (
    "label_smoothing_ignored: the losses robust, exo_pair and aot use it; the usual sigmoid loss of DPOTrainer ignores it without a word."
)
_TRL: Final = "huggingface/trl, trl/trainer"

PROFILES: Final[dict[str, Profile]] = {
    "trl": Profile("TRL DPOTrainer", f"{_TRL}/dpo_trainer.py", drops_prompt, 1024, notes=(_SMOOTHING,)),
    "reward": Profile("TRL RewardTrainer", f"{_TRL}/reward_trainer.py", drops_either, 1024, reads=frozenset({"margin"})),
    "unpaired": Profile("TRL KTOTrainer", f"{_TRL}/kto_trainer.py", drops_prompt_of_each, 1024),
    "prompts": Profile("TRL GRPOTrainer", f"{_TRL}/grpo_trainer.py", unlimited, None, limits="prompt", prompt_alone=True),
    "openrlhf": Profile(
        "OpenRLHF train_dpo", "OpenRLHF/OpenRLHF, openrlhf/datasets/reward_dataset.py", drops_prompt_and_marks_end, 512, ends_with_eos=True,
        notes=("margin is read by openrlhf.cli.train_rm with --model.margin_loss_enable, not by train_dpo.",),
    ),
    "axolotl": Profile(
        "axolotl", "axolotl-ai-cloud/axolotl, src/axolotl/utils/data/rl.py and prompt_strategies/dpo/chat_template.py", drops_either, 512,
        finds_answer=True, strips=True,
    ),
    "llama-factory": Profile(
        "LLaMA-Factory", "hiyouga/LLaMA-Factory, src/llamafactory/data/processor/pairwise.py and processor_utils.py", cuts_both, 2048,
        renders="own",
    ),
    "llama-factory-kto": Profile(
        "LLaMA-Factory (kto)", "hiyouga/LLaMA-Factory, src/llamafactory/data/processor/feedback.py", cuts_both, 2048, renders="own"
    ),
    "nemo-rl": Profile("NeMo RL", "NVIDIA-NeMo/RL, nemo_rl/data/processors.py (preference_preprocessor)", drops_either, 1024),
    "verl": Profile(
        "verl", "verl-project/verl, verl/utils/dataset/rl_dataset.py", prompts_only, 512, limits="prompt", prompt_alone=True,
        notes=("verl stops at such a prompt (truncation: error) unless data.filter_overlong_prompts is set, as in verl.yaml.",),
    ),
    "verl-reward": Profile("verl (reward model)", "volcengine/verl, verl/utils/dataset/rm_dataset.py", cuts_start, 1024, renders="text"),
}  # fmt: skip
