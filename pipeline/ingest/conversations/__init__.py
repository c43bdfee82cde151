"""Texts, transcripts and message lists -> a prompt and what each side says after it."""
