"""Which formats there are, and whether one takes what is asked of it."""

from dataclasses import dataclass

from flows.export_parts import OTHER, SPLITS, TIES, Request
from pipeline.errors import ConfigError
from pipeline.export import FORMATS, Format, Options


@dataclass(frozen=True)
class Described:
    """A format, for people: its name, the first sentence about it, its kind of file, flags and what it can say beyond plain pairs."""

    name: str
    about: str
    file: str
    flags: list[str]
    represents: list[str]


def described() -> list[Described]:
    """Every format, in the order of FORMATS."""
    told = []
    for name, make in FORMATS.items():
        form = make(Options())
        also = make(Options(tools=True)).represents - form.represents if "tools" in form.takes else frozenset()
        about = str(make.__doc__).split(";")[0].rstrip(".")
        flags = sorted([_flag(one) for one in form.takes] + (["--kind"] if form.kinds else []))
        told.append(Described(name, about, form.file, flags, [*sorted(form.represents), *(f"{name} (--tools)" for name in sorted(also))]))
    return told


def _flag(option: str) -> str:
    return "--" + {"form": "as", "thresholds": "threshold", "kinds": "kind"}.get(option, option).replace("_", "-")


def format_of(request: Request) -> Format:
    """The format that is asked for.

    Raises:
        ConfigError: there is none, it does not take an option or a kind, or a split is none.
    """
    if request.form not in FORMATS:
        raise ConfigError(f"--format {request.form}: expected one of {', '.join(FORMATS)}.")
    wanted = FORMATS[request.form](request.options)
    for name in request.options.given():
        if name != "kinds" and name not in {*wanted.takes, TIES}:  # ties: a loss, see below
            takers = [form for form, made in FORMATS.items() if name in made(Options()).takes]
            raise ConfigError(f"--format {request.form} takes no {_flag(name)}; --format {_alternatives(takers)} does.")
    wrong = [kind for kind in request.options.kinds if kind not in wanted.kinds]
    if wrong:
        takes = f"expected {', '.join(wanted.kinds)}" if wanted.kinds else f"--format {request.form} takes none"
        raise ConfigError(f"--kind {wrong[0]}: {takes}.")
    strange = [split for split in request.splits if split not in (*SPLITS, OTHER)]
    if strange or not request.splits:
        raise ConfigError(f"--split {strange[0] if strange else ''}: expected some of {', '.join((*SPLITS, OTHER))}.")
    return wanted


def _alternatives(names: list[str]) -> str:
    return " or ".join([part for part in (", ".join(names[:-1]), *names[-1:]) if part]) or "none"
