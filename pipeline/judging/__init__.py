"""Verdicts of language models: whom to ask about, how to ask and read, what becomes a vote, and what a judge is worth."""
