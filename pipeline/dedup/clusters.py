"""Prompts that must not be on both sides of a split: here chains of near duplicates are wanted, so clusters are connected components."""

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.identity import content_hash

Ints = npt.NDArray[np.int64]


def connected_components(left: Ints, right: Ints, n: int) -> Ints:
    """The connected components of a graph.

    Every root hooks itself to the least root next to it, then paths are halved until they end at a root; about log n rounds.

    Args:
        left: one end of each edge, 0 to n - 1.
        right: the other end.
        n: how many nodes.

    Returns:
        For each node the least node of its component.
    """
    root = np.arange(n, dtype=np.int64)
    while True:
        one, other = root[left], root[right]
        apart = one != other
        if not apart.any():
            return root
        left, right = one[apart], other[apart]
        np.minimum.at(root, np.maximum(left, right), np.minimum(left, right))
        while not np.array_equal(above := root[root], root):
            root = above


def prompt_clusters(prompts: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    """Join the clusters of prompts that are near duplicates, over as many steps as it takes.

    Args:
        prompts: prompt_cluster_id (of `split.add_cluster`: equal up to case and white space), prompt_text (text id; null where the
            pair has no prompt), over all partitions, in any order.
        edges: left, right: text ids of prompts that are near duplicates; others than those in `prompts` join nothing.

    Returns:
        prompt_cluster_id and joined_cluster_id, one row for each cluster that is no longer alone, sorted. The id of a joined
        cluster is a hash of its least id, not that id: the least of many hashes is small, and places in the split go by size.
    """
    named = prompts.drop_nulls().unique()
    ids, texts = named["prompt_cluster_id"].unique().sort(), named["prompt_text"].unique()
    cluster = pl.DataFrame({"id": ids, "node": np.arange(len(ids))})
    text = pl.DataFrame({"id": texts, "node": np.arange(len(ids), len(ids) + len(texts))})
    of = named.join(cluster.rename({"id": "prompt_cluster_id", "node": "left"}), on="prompt_cluster_id")
    of = of.join(text.rename({"id": "prompt_text", "node": "right"}), on="prompt_text").select("left", "right")
    near = edges.select(a="left", b="right").join(text.rename({"id": "a", "node": "left"}), on="a")
    near = near.join(text.rename({"id": "b", "node": "right"}), on="b").select("left", "right")
    both = pl.concat([of, near])
    root = connected_components(both["left"].to_numpy(), both["right"].to_numpy(), len(ids) + len(texts))[: len(ids)]
    # Clusters are the first nodes, in the order of their ids: the least node of a component is its least id.
    least, index, size = np.unique(root, return_inverse=True, return_counts=True)
    joined = content_hash(ids[least], "cluster")
    every = pl.DataFrame({"prompt_cluster_id": ids, "joined_cluster_id": joined[index]})
    return every.filter(pl.Series(size[index] > 1)) if len(ids) else every
