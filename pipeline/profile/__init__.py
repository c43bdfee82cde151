"""What is worth knowing about records before they are curated: examples, copies, swaps, contradictions, ties, empty texts, biases."""

from pipeline.profile.facts import JUDGEMENT_FACTS, QUARANTINE_FACTS, RATING_FACTS, judgement_facts, quarantine_facts, rating_facts
from pipeline.profile.findings import FINDING, findings, repeats, shared_records

__all__ = [
    "FINDING", "JUDGEMENT_FACTS", "QUARANTINE_FACTS", "RATING_FACTS",
    "findings", "judgement_facts", "quarantine_facts", "rating_facts", "repeats", "shared_records",
]  # fmt: skip
