"""KERNEL: unit vectors -> cosines and index pairs. torch and numpy; numba and triton where there are any, loaded when first used."""

from pipeline.similarity.bound import Hits
from pipeline.similarity.join import cross_join, nearest, self_join
from pipeline.similarity.rowwise import cosine_rows, renormalise, round_vectors

__all__ = ["Hits", "cosine_rows", "cross_join", "nearest", "renormalise", "round_vectors", "self_join"]
