"""Why one answer is better: written by a model, stated in the data, or told from measured factors."""
