"""Every failure a caller may want to handle, as one visible tree.

PrefineError                 a run cannot go on; exit code 1
├── ConfigError              the config or the command is wrong; exit code 2, before any work
│   └── LayoutError          a file's layout is unknown or ambiguous; names the config that settles it
├── SchemaError              a table does not have its declared columns
├── UnreadableFileError      a file is truncated, wrongly compressed or not what its content claims
├── TooManyQuarantinedError  more bad rows (or files) than `max_quarantine_share` allows
├── LeaseHeldError           another run holds the dataset
├── LeaseLostError           this run's lease was taken over; nothing may be published
├── CheckFailedError         a file of sql/checks found rows that break an invariant
├── EndpointError            a language model's server cannot be used: wrong URL, key or model, or it is down
├── QueryError               a user's SQL is wrong, or asks for what the locked-down session refuses
└── NotFoundError            no such dataset, version, record, pair or view
"""


class PrefineError(Exception):
    """A failure with a message for people: where, what, what was expected, what to do."""

    exit_code = 1


class ConfigError(PrefineError):
    """The config file or the command line is wrong."""

    exit_code = 2


class LayoutError(ConfigError):
    """No layout, or more than one, fits a file."""


class SchemaError(PrefineError):
    """A table lacks a declared column, or has it in another type."""


class UnreadableFileError(PrefineError):
    """A whole file cannot be read."""


class TooManyQuarantinedError(PrefineError):
    """A source has more unreadable rows than the config allows."""


class LeaseHeldError(PrefineError):
    """Another run is working on the dataset."""


class LeaseLostError(PrefineError):
    """The lease was taken over while this run was working."""


class CheckFailedError(PrefineError):
    """An invariant of the published tables does not hold."""


class EndpointError(PrefineError):
    """The server of a language model cannot be used; what it has answered is kept."""


class QueryError(PrefineError):
    """SQL that cannot run, or that the read-only session refuses."""


class NotFoundError(PrefineError):
    """Something was asked for by a name or id that does not exist."""
