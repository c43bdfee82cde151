"""What every part of the config is made of."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Part(BaseModel):
    """A mapping of the config: unknown keys are errors, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid")  # a misspelt key is an error, not a default


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError("use letters, digits, '.', '_' and '-' only, starting with a letter or digit")
    return name


Name = Annotated[str, AfterValidator(_plain_name)]
