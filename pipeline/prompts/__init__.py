"""What a model is asked, and how its answers are read: templates, data put into them as data, strict JSON back."""

from pipeline.prompts.answers import fields, read_json
from pipeline.prompts.asking import form_of, requests
from pipeline.prompts.data import answer_text, conversation_text, shown
from pipeline.prompts.orders import chosen_first, order_first
from pipeline.prompts.rendering import render
from pipeline.prompts.shortening import shorten
from pipeline.prompts.template import Template, load_template

__all__ = [
    "Template",
    "answer_text",
    "chosen_first",
    "conversation_text",
    "fields",
    "form_of",
    "load_template",
    "order_first",
    "read_json",
    "render",
    "requests",
    "shorten",
    "shown",
]
