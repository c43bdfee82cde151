"""CHES (Unintentional Unalignment, 2024): how much a pair is expected to push its own chosen answer down, from hidden states."""
