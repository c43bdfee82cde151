"""EDGE: questions to language models, and the answers that are kept for good."""
