"""Prefect flows and the command line. Settings that keep Prefect sober are set before it is imported; yours win."""

import os
from pathlib import Path

_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
for _name, _value in {
    "DO_NOT_TRACK": "1",
    "PYTHONSAFEPATH": "1",  # Prefect's server process must not import a file that lies where the user stands
    "PREFECT_HOME": str(_cache / "prefine" / "prefect"),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # a failure is one readable message; --debug shows the rest
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
}.items():
    os.environ.setdefault(_name, _value)
