"""KERNEL: unit vectors -> cosines. torch and numpy, nothing else, so that it runs alone on a GPU box."""

from pipeline.similarity.rowwise import cosine_rows, renormalise, round_vectors

__all__ = ["cosine_rows", "renormalise", "round_vectors"]
