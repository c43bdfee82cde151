"""Two plain passes a pair, one sequence at a time, in double precision: what the engine is held against."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Answer:
    """What one sequence gives; `logp` in nats."""

    states: np.ndarray  # (|y|, d)
    last: np.ndarray
    logp: float

    @property
    def total(self) -> np.ndarray:
        return self.states.sum(axis=0)


class Oracle:
    """A copy of a model, in float64 where the model can be computed in it."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype = torch.float64) -> None:
        self._model = copy.deepcopy(model).to(dtype).eval()

    def read(self, tokens: np.ndarray, start: int, stop: int) -> Answer:
        """The states before tokens start to stop - 1, taken from one pass over the whole sequence."""
        ids = torch.from_numpy(np.asarray(tokens, dtype=np.int64))[None]
        with torch.inference_mode():
            hidden = self._model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
            logits = self._model(input_ids=ids, use_cache=False).logits[0].double()
        logps = logits.log_softmax(dim=-1)
        logp = sum(float(logps[place - 1, int(tokens[place])]) for place in range(start, stop))
        return Answer(hidden[start - 1 : stop - 1].double().numpy(), hidden[stop - 1].double().numpy(), logp)


def ches(chosen: np.ndarray, rejected: np.ndarray) -> tuple[float, float]:
    """CHES and its length-normalised form, from the states of both answers, (T, d) each: by the formula, term by term."""
    cross = float(sum(one @ other for one in chosen for other in rejected))
    own = float(sum(one @ other for one in chosen for other in chosen))
    return cross - own, cross / (len(chosen) * len(rejected)) - own / len(chosen) ** 2
