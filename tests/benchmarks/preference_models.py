"""Two kinds of preference model that learn from labels of a benchmark's choosing; what each answers is > 0 where first is better.

Both take the set, its table of features (N, F), the rows to train on, and for each of these a target (P(first is better)) and a weight
of about 1; and give log-odds for all N pairs.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression

from tests.benchmarks.noise_data import Comparisons

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


def logistic(data: Comparisons, table: Singles, train: Rows, target: Doubles, weight: Doubles) -> Doubles:
    """scikit-learn's logistic regression with its default penalty; a soft target is both labels, each with its share of the weight."""
    rows = np.concatenate([train, train])
    labels = np.repeat([True, False], len(train))
    shares = np.concatenate([weight * target, weight * (1 - target)])
    some = shares > 0
    model = LogisticRegression(fit_intercept=False, max_iter=300).fit(table[rows[some]], labels[some], sample_weight=shares[some])
    return np.asarray(model.decision_function(table), dtype=np.float64)


def reward_head(data: Comparisons, table: Singles, train: Rows, target: Doubles, weight: Doubles) -> Doubles:
    """A reward of (prompt, answer), one hidden layer of 64, trained on differences by Adam: 8 passes, batches of 128, no penalty."""
    torch.manual_seed(0)
    size = data.prompt.shape[1] ** 0.5  # brings the columns of unit vectors to about 1
    first, second = (
        torch.from_numpy(np.concatenate([data.prompt * size, side * size, data.prompt * side * size**2], axis=1, dtype=np.float32))
        for side in (data.first, data.second)
    )
    network = torch.nn.Sequential(torch.nn.Linear(first.shape[1], 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    steps = torch.optim.Adam(network.parameters(), lr=1e-3)
    wanted, counts = (torch.tensor(values, dtype=torch.float32) for values in (target, weight))
    rows = torch.from_numpy(train)
    for _ in range(8):
        for batch in torch.randperm(len(rows)).split(128):
            margin = (network(first[rows[batch]]) - network(second[rows[batch]]))[:, 0]
            losses = torch.nn.functional.binary_cross_entropy_with_logits(margin, wanted[batch], weight=counts[batch])
            steps.zero_grad()
            losses.backward()
            steps.step()
    with torch.no_grad():
        return np.asarray((network(first) - network(second))[:, 0].numpy(), dtype=np.float64)


Model = Callable[[Comparisons, Singles, Rows, Doubles, Doubles], Doubles]
MODELS: dict[str, Model] = {"logistic": logistic, "reward_head": reward_head}
