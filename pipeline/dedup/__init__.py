"""Near duplicates: pairs that say the same in almost the same words, found, verified and merged into one."""
