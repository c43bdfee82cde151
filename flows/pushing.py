"""`prefine push`: a version as a folder that a hub takes as it is, and the upload of it where a token is there."""

import hashlib
import re
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline import hub, publish, queries, reporting, storage, versions
from pipeline.card import CARD_VIEWS, render_card
from pipeline.errors import ConfigError, PrefineError

BLOCK_BYTES = 1 << 20
REPOSITORY = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
_SHOWN_BY_REPORT = ("dropped", "quarantine", "judgements", "ratings", "ledger", "rationales")  # parts that hold texts or places


@dataclass
class Pushed:
    """What a folder for a hub holds, and what it does not.

    Attributes:
        version: the version it was made of.
        files: data files.
        rows: pairs of each part of data/.
        bytes: of the data files.
        taken_out: what everyone else does not get, in words.
        warnings: what to look at before it is public.
    """

    version: str
    files: int
    rows: dict[str, int]
    bytes: int
    taken_out: list[str]
    warnings: list[str] = field(default_factory=list)


def prepare(
    dataset_root: str, version: str | None, folder: str, everything: bool = False, done: Callable[[int], None] = lambda _bytes: None
) -> Pushed:
    """Write a folder with the card, the manifest, the report and the shards of data/.

    Args:
        dataset_root: the dataset's folder or URL.
        version: e.g. v000001; the current one when None.
        folder: where to, a folder or URL that is empty or not there.
        everything: with judgements, ratings, ledger, quarantine and all other parts, as they were published.
        done: gets the number of bytes done since its last call.

    Raises:
        ConfigError: the folder holds something.
        NotFoundError: no such version.
        PrefineError: a file of the version is missing or was altered; nothing is left in the folder.
    """
    if storage.children(folder):
        raise ConfigError(f"{folder}: is not empty; what else it holds would be pushed too. Give an empty or new folder.")
    name = versions.full_name(dataset_root, version)
    try:
        return _write(dataset_root, name, folder, everything, done)
    except BaseException:
        for left in storage.children(folder):  # a part of a version must not look like one, nor keep the next push out
            storage.delete(storage.join(folder, left))
        raise


def _write(dataset_root: str, name: str, folder: str, everything: bool, done: Callable[[int], None]) -> Pushed:
    """Copy a version's files and write its documents anew, into an empty folder."""
    manifest = versions.read_manifest(dataset_root, name)
    home = storage.join(dataset_root, name)
    versions.check_files(home, manifest)
    public = hub.public_manifest(manifest, tuple(queries.PARTS) if everything else hub.PUBLIC_PARTS)
    files = public.manifest["files"]
    for file in files:
        _copy(storage.join(home, file["path"]), storage.join(folder, file["path"]), file["sha256"])
        done(int(file["bytes"]))
    told = Pushed(name, len(files), _rows(files), sum(int(f["bytes"]) for f in files), public.taken_out)
    documents = _documents(dataset_root, home, manifest, public, everything, told)
    public.manifest["documents"] = [publish.described(path, content) for path, content in documents.items()]
    public.manifest["content_sha256"] = versions.content_sha256(files)
    documents["manifest.json"] = storage.json_bytes(public.manifest)
    for path, content in documents.items():
        storage.write_bytes(storage.join(folder, path), content)
    if manifest["config"].get("annotators", {}).get("ids") == "plain":
        told.warnings.append("`annotators.ids` is plain: `rationale.generator` may name people who stated why; see who before it is public")
    if everything:
        told.warnings.append("--everything: `source_uri` columns name your input files, and quarantine/ holds rows as they were read")
    return told


def _rows(files: list[dict[str, Any]]) -> dict[str, int]:
    paths = queries.part_paths([str(file["path"]) for file in files])
    return {part: sum(int(f["rows"]) for f in files if f["path"] in paths[part]) for part in hub.PUBLIC_PARTS if paths[part]}


def _copy(place: str, to: str, sha256: str) -> None:
    """Copy a file; the copy appears only if its bytes are those that were published."""
    digest = hashlib.sha256()
    with fsspec.open(place, "rb") as file, storage.atomic_output(to) as sink:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            sink.write(block)
        if digest.hexdigest() != sha256:
            raise PrefineError(
                f"{place}: was altered; its SHA-256 is not the published one. Nothing is pushed. `prefine verify` says more."
            )


def _documents(
    dataset_root: str, home: str, manifest: dict[str, Any], public: hub.PublicManifest, everything: bool, told: Pushed
) -> dict[str, bytes]:
    """Card and report, written anew: those of the version name its input files, and show rows that were dropped."""
    paths = versions.manifest_paths(home, manifest)
    tables = queries.version_tables(home, paths, public.manifest["inputs"], manifest["counts"])
    scratch: AbstractContextManager[str] = nullcontext("") if everything else tempfile.TemporaryDirectory(prefix="prefine-push-")
    with scratch as below:
        if not everything:
            for part in _SHOWN_BY_REPORT:
                tables[part] = _without_texts(tables[part], public.files, Path(below) / part)
        counted = {**public.manifest, "files": manifest["files"]}  # the report counts what left, too
        facts = reporting.ask(counted, tables, CARD_VIEWS)
        card = render_card(public.manifest, tables, facts)
        page = reporting.report(dataset_root, counted, tables, facts=facts)
    if found := hub.found_in(card + storage.json_bytes(public.manifest).decode(), public.hidden):
        raise PrefineError(f"{found[0]}: this place is still in the card or the manifest; nothing is pushed. Rename what repeats it.")
    if found := hub.found_in(page, public.hidden):
        told.taken_out.append(f"report.html: it names {found[0]}")
        return {"README.md": card.encode()}
    return {"README.md": card.encode(), "report.html": page.encode()}


def _without_texts(table: queries.Table, files: dict[str, str], folder: Path) -> queries.Table:
    """A part with its texts and places withheld, batch by batch."""
    if not isinstance(table, ds.Dataset):
        return hub.without_texts(table, files)
    folder.mkdir()
    with pq.ParquetWriter(folder / "rows.parquet", table.schema) as writer:
        for batch in table.to_batches():
            writer.write_table(hub.without_texts(pa.Table.from_batches([batch]), files))
    return ds.dataset(str(folder / "rows.parquet"), schema=table.schema, format="parquet")


def destination(to: str, repository: str | None, dataset_root: str) -> tuple[str, str | None]:
    """The folder to write and the repository to upload it to, from what a user typed.

    Raises:
        ConfigError: the repository's name is none, or a URL has no place for a folder.
    """
    if to.startswith("hf://"):
        if repository is not None:
            raise ConfigError(f"{to}: names a repository already; leave out --repo {repository}.")
        repository = to.removeprefix("hf://").removeprefix("datasets/").strip("/")
        to = f"{dataset_root.rstrip('/').rsplit('/', 1)[-1]}-hub"
    if repository is not None and not REPOSITORY.fullmatch(repository):
        raise ConfigError(f"{repository}: expected a dataset repository such as ORGANISATION/NAME (or hf://datasets/ORGANISATION/NAME).")
    place = storage.resolve(to, ".")
    if repository is not None and not storage.is_local(place):
        raise ConfigError(f"{to}: the upload reads a local folder. Give one, or leave out --repo.")
    return place, repository


def token() -> str:
    """The hub's token, from HF_TOKEN or from `hf auth login`.

    Raises:
        ConfigError: there is none.
    """
    from huggingface_hub import get_token

    found = get_token()
    if not found:
        raise ConfigError("no token for the upload: set HF_TOKEN to one that may write, or log in with `hf auth login`.")
    return found


def upload(folder: str, repository: str, version: str, private: bool = True) -> str:
    """Upload a folder of `prepare` as one commit; returns the commit's URL.

    Raises:
        ConfigError: there is no token.
        PrefineError: the hub refused it, or cannot be reached; the folder stays.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token())
    try:
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        # A shard of an earlier push that this version does not have would be read as a part of it.
        done = api.upload_folder(
            repo_id=repository, repo_type="dataset", folder_path=folder, commit_message=f"prefine {version}", delete_patterns=["*.parquet"]
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise PrefineError(
            f"{repository}: not uploaded: {error}. {folder} is ready: `hf upload --repo-type dataset {repository} {folder}` uploads it."
        ) from error
    return str(done.commit_url)
