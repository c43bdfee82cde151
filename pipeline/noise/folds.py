"""Which fold of the cross-fit a prompt cluster belongs to."""

from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import polars as pl


def fold_of(prompt_cluster_id: pl.Series, folds: int) -> npt.NDArray[np.int64]:
    """The fold whose models never train on a cluster: a hash of its id, the same in every run and partition.

    Args:
        prompt_cluster_id: ids of any form.
        folds: at least 2.

    Returns:
        (N,) numbers from 0 to folds - 1.

    Raises:
        ValueError: folds is below 2, or an id is null.
    """
    if folds < 2:
        raise ValueError(f"folds is {folds}; expected at least 2")
    if prompt_cluster_id.null_count():
        raise ValueError("a prompt cluster id is null")
    names = prompt_cluster_id.unique()
    numbers = [int.from_bytes(blake2b(b"fold\n" + name.encode(), digest_size=8).digest(), "little") % folds for name in names]
    return prompt_cluster_id.replace_strict(names, pl.Series(numbers, dtype=pl.Int64), return_dtype=pl.Int64).to_numpy()
