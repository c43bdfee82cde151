"""Formats of trainers other than TRL, and of tools for people: one module a framework, each with the file its rules were read in."""

from collections.abc import Callable

from pipeline.export.form import Format, Options
from pipeline.export.frameworks.axolotl import axolotl
from pipeline.export.frameworks.llama_factory import llama_factory, llama_factory_kto
from pipeline.export.frameworks.nemo_rl import nemo_rl
from pipeline.export.frameworks.openrlhf import openrlhf
from pipeline.export.frameworks.people import argilla, label_studio
from pipeline.export.frameworks.verl import verl, verl_reward

FORMATS: dict[str, Callable[[Options], Format]] = {
    "openrlhf": openrlhf,
    "axolotl": axolotl,
    "llama-factory": llama_factory,
    "llama-factory-kto": llama_factory_kto,
    "nemo-rl": nemo_rl,
    "verl": verl,
    "verl-reward": verl_reward,
    "argilla": argilla,
    "label-studio": label_studio,
}
