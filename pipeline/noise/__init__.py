"""Peer review without any LLM: what the answers' contents say of a label, by models that never saw the pair's prompt."""
