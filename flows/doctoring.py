"""`prefine doctor`: is everything here that a run needs?"""

import importlib.metadata
import os
import platform
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from flows import asking
from pipeline import queries, rules, storage
from pipeline.config import EmbedConfig, PipelineConfig, SourceConfig, load_config
from pipeline.errors import PrefineError
from pipeline.llm.reaching import reach

_PACKAGES = ("polars", "pyarrow", "duckdb", "prefect", "torch", "transformers", "sentence-transformers")


def examine(config: Path | None) -> Iterator[tuple[str, bool, str]]:
    """Name, outcome and detail of every check; with a config, also of what it names."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    yield "versions", True, f"Python {platform.python_version()}, {versions}"
    yield "memory and cores", True, f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 30} GB, {os.cpu_count()} cores"
    yield "GPU", True, _gpu()
    yield "near-duplicate search", True, _search()
    embed = EmbedConfig()
    if config is not None:
        try:
            loaded = load_config(config)
            rules.check(loaded)
        except PrefineError as error:
            yield "config", False, str(error)
            return
        yield "config", True, f"{config}: dataset {loaded.dataset}, {len(loaded.sources)} source(s)"
        base = config.resolve().parent
        for source in loaded.sources:
            yield (f"source {source.name}", *_source(source, base))
        yield ("workspace", *_workspace(storage.resolve(loaded.workspace, base)))
        named = os.environ.get(loaded.annotators.key_env) is not None
        how = f"key from {loaded.annotators.key_env}" if named else f"{loaded.annotators.key_env} is not set: the dataset's name is the key"
        yield "annotator ids", True, f"{loaded.annotators.ids}; {how}"
        embed = loaded.embed
        if loaded.signals.ches.causal:
            yield ("causal model", *_causal(loaded))
        for name in asking.used(loaded):
            yield (f"endpoint {name}", *reach(loaded.endpoint(name)))
    yield "embedding precision", True, _precision(embed)
    yield ("embedding model", *_model(embed))
    yield ("Prefect", *_prefect())


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return "no CUDA device: embedding and search run on the CPU"
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"CUDA {torch.version.cuda}: {', '.join(names)}"


def _search() -> str:
    import torch

    from pipeline.similarity.join import compiles

    if torch.cuda.is_available():
        return "on the CUDA device"
    slower = "plain products: numba or the instructions for it (AVX-512 VNNI) are missing; slower, with the same hits"
    return "compiled for this processor (AVX-512 VNNI)" if compiles() else slower


def _precision(config: EmbedConfig) -> str:
    from pipeline.embed import precision

    taken = precision(config)
    if config.dtype != "auto":
        return f"{taken}, as the config says"
    return f"{taken}: this machine {'multiplies' if taken == 'bfloat16' else 'has no instructions for'} bfloat16 numbers"


def _source(source: SourceConfig, base: Path) -> tuple[bool, str]:
    try:
        uri = source.uri if source.version is None else queries.judgements_of(storage.resolve(source.version, base))
        files = storage.list_files(str(uri), base)
    except (PrefineError, OSError, ImportError) as error:
        return False, str(error)
    return True, f"{len(files)} file(s), {sum(size for _, _, size in files):,} bytes"


def _workspace(place: str) -> tuple[bool, str]:
    probe = storage.join(place, f".probe-{uuid.uuid4().hex}")
    try:
        storage.write_bytes(probe, b"prefine")
        storage.delete(probe)
    except (OSError, ImportError) as error:
        return False, f"{place}: cannot be written: {error}"
    free = f", {shutil.disk_usage(place).free >> 30} GB free" if storage.is_local(place) else ""
    return True, f"{place} can be written{free}"


def _model(config: EmbedConfig) -> tuple[bool, str]:
    from pipeline.embed import load_encoder

    try:
        model = load_encoder(config)
        model.encode(["Is the model here?"])
    except PrefineError as error:
        return False, str(error)
    return True, f"{config.model} ({model.dimensions} dimensions) encodes; fingerprint {model.fingerprint}"


def _causal(config: PipelineConfig) -> tuple[bool, str]:
    from flows import hidden

    try:
        found = hidden.scorers(config)
    except PrefineError as error:
        return False, str(error)
    told = (f"{one.name} ({one.model.dimensions} dimensions, {one.model.dtype}, {one.renderer.mode} form)" for one in found[0])
    return True, f"{' and '.join(told)} on {len(found)} device(s)"


def _prefect() -> tuple[bool, str]:
    import prefect
    from prefect.settings import PREFECT_API_URL

    where = PREFECT_API_URL.value()
    return True, f"{prefect.__version__}, " + (f"API at {where}" if where else "temporary server (runs only, no schedules)")
