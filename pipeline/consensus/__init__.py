"""Votes to `chosen`, `p_chosen` and `p_tie`: one module a method."""
