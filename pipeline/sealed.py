"""EDGE: the files of a version as a filesystem that cannot write, has nothing else in it, and never serves an altered byte.

DuckDB reads a version through it: it skips row groups by statistics and Bloom filters and reads texts only where a row is wanted, and
its own switch for file access can name exactly these files. It does not check Parquet's page checksums, so the blocks are checked
here, before DuckDB sees them.
"""

import fnmatch
import hashlib
import io
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from pipeline import storage
from pipeline.errors import PrefineError
from pipeline.storage import BLOCK_BYTES

PROTOCOL = "prefine"
CACHED_BYTES = 16 << 20
_EPOCH = datetime.fromtimestamp(0, UTC)  # a version's files never change


@dataclass
class Sealed:
    """One file: where it is, and what is known of its content."""

    place: str
    path: str  # as its filesystem wants it
    size: int
    crcs: bytes | None  # CRC-32 of each block, 4 bytes each
    sha256: str | None  # checked once, as a whole, where there are no CRCs (versions of old)


class _ReadOnly(AbstractFileSystem):  # type: ignore[misc, unused-ignore]
    """What DuckDB and pyarrow ask of a filesystem, as far as a reader needs it."""

    protocol = PROTOCOL
    cachable = False

    def _found(self, name: str) -> "tuple[SealedFiles, str] | None":
        """The files that a name is one of, and its name there."""
        raise NotImplementedError

    def names(self) -> list[str]:
        """Every file."""
        raise NotImplementedError

    def refuse(self, path: str) -> None:
        """Take note of an attempt to write."""

    def _named(self, path: str) -> str:
        return str(path).removeprefix(f"{PROTOCOL}://").lstrip("/")

    def info(self, path: str, **_: object) -> dict[str, Any]:
        """Name, size and type of a file.

        Raises:
            FileNotFoundError: there is none of that name.
        """
        found = self._found(self._named(path))
        if found is None:
            raise FileNotFoundError(path)
        return {"name": self._named(path), "size": found[0].sizes[found[1]], "type": "file"}

    def exists(self, path: str, **_: object) -> bool:
        """Whether there is such a file."""
        return self._found(self._named(path)) is not None

    def isfile(self, path: str) -> bool:
        """Whether there is such a file."""
        return self.exists(path)

    def ls(self, path: str, detail: bool = True, **_: object) -> list[Any]:
        """The files below a folder."""
        names = [name for name in self.names() if name.startswith(self._named(path))]
        return [self.info(name) for name in names] if detail else names

    def glob(self, path: str, maxdepth: int | None = None, **_: object) -> list[str]:
        """The files that a pattern names."""
        return fnmatch.filter(self.names(), self._named(path))

    def modified(self, path: str) -> datetime:
        """When the file was changed: never."""
        return _EPOCH

    def open(self, path: str, mode: str = "rb", **_: object) -> "SealedFile":
        """A file for reading.

        Raises:
            PermissionError: any other mode.
            FileNotFoundError: there is none of that name.
        """
        if mode not in ("rb", "r"):
            self.refuse(path)
            raise PermissionError(f"{path}: the files of a version are read-only.")
        found = self._found(self._named(path))
        if found is None:
            raise FileNotFoundError(path)
        return SealedFile(*found)


class SealedFiles(_ReadOnly):
    """A read-only filesystem of the files of a version, each read checked against the manifest.

    Attributes:
        bytes_read: of the stored files, so far.
        reads: requests to their store, so far.
        failure: the first error met while reading; what reads through it (DuckDB, pyarrow) only tells of it in its own words.
        sizes: bytes of each file.
    """

    def __init__(self, folder: str, files: Sequence[dict[str, Any]]) -> None:
        """Name the files.

        Args:
            folder: the version's folder or URL.
            files: of its manifest: path, and bytes, block_crc32 and sha256 where they are known. Without them nothing is checked.
        """
        super().__init__()
        self.folder = folder
        self._store, root = url_to_fs(folder)
        self._is_local = isinstance(self._store, LocalFileSystem)
        self._lock = threading.Lock()
        self._files = {str(f["path"]): self._sealed(str(root), f) for f in files}
        self.sizes = {name: file.size for name, file in self._files.items()}
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._cached = 0
        self._whole: set[str] = set()
        self.bytes_read = self.reads = 0
        self.failure: PrefineError | None = None

    def _sealed(self, root: str, file: dict[str, Any]) -> Sealed:
        name, crcs = str(file["path"]), file.get("block_crc32")
        place, path = storage.join(self.folder, name), storage.join(root, name)
        size = int(file["bytes"]) if "bytes" in file else int(self._store.size(path))
        known = bytes.fromhex(crcs) if isinstance(crcs, str) else None
        if known is not None and len(known) != 4 * -(-size // BLOCK_BYTES):
            raise PrefineError(f"{self.folder}/manifest.json: block_crc32 of {name} does not fit its {size} bytes. Get the version again.")
        return Sealed(place, path, size, known, file.get("sha256"))

    def _found(self, name: str) -> "tuple[SealedFiles, str] | None":
        return (self, name) if name in self._files else None

    def names(self) -> list[str]:
        """Every file."""
        return list(self._files)

    def read(self, name: str, start: int, length: int) -> bytes:
        """Bytes of a file, checked. Any number of threads may read.

        Raises:
            PrefineError: the file is missing, or is not what was published.
        """
        file = self._files[name]
        length = max(0, min(length, file.size - start))
        if length == 0:
            return b""
        try:
            if file.crcs is None:
                self._check_whole(name, file)
                return self._fetch(file, start, length)
            return self._checked(name, file, start, length)
        except (OSError, PrefineError) as error:
            unread = f"{file.place}: cannot be read: {error}. Get the file again."
            known = error if isinstance(error, PrefineError) else PrefineError(unread)
            # A copy: the error itself would hold, by its frames, the session that holds these files, in a circle that nobody sees whole.
            self.failure = self.failure or PrefineError(str(known))
            raise known from error

    def _checked(self, name: str, file: Sealed, start: int, length: int) -> bytes:
        first, last = start // BLOCK_BYTES, (start + length - 1) // BLOCK_BYTES
        pieces: list[bytes | memoryview] = []
        lowest, highest = first, last
        before = after = None
        with self._lock:
            if (before := self._blocks.get((name, first))) is not None:
                lowest += 1
            if last > first and (after := self._blocks.get((name, last))) is not None:
                highest -= 1
        if before is not None:
            pieces.append(before)
        if lowest <= highest:
            begin, end = lowest * BLOCK_BYTES, min((highest + 1) * BLOCK_BYTES, file.size)
            fetched = memoryview(self._fetch(file, begin, end - begin))
            for block in range(lowest, highest + 1):
                piece = fetched[block * BLOCK_BYTES - begin : (block + 1) * BLOCK_BYTES - begin]
                assert file.crcs is not None
                if zlib.crc32(piece) != int.from_bytes(file.crcs[4 * block : 4 * block + 4], "big"):
                    raise self._altered(file, f"bytes {block * BLOCK_BYTES:,} and on have another checksum")
                if block in (first, last) or highest - lowest < 4:
                    self._keep(name, block, bytes(piece))
            pieces.append(fetched)
        if after is not None:
            pieces.append(after)
        whole = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        offset = start - first * BLOCK_BYTES
        return bytes(whole[offset : offset + length])

    def _keep(self, name: str, block: int, content: bytes) -> None:
        """Neighbouring reads (footer and Bloom filters, columns side by side) share blocks; the least used make room."""
        with self._lock:
            if (name, block) not in self._blocks:
                self._blocks[name, block] = content
                self._cached += len(content)
            self._blocks.move_to_end((name, block))
            while self._cached > CACHED_BYTES:
                self._cached -= len(self._blocks.popitem(last=False)[1])

    def _fetch(self, file: Sealed, start: int, length: int) -> bytes:
        if self._is_local:
            descriptor = os.open(file.path, os.O_RDONLY)
            try:
                content = os.pread(descriptor, length, start)
                while 0 < len(content) < length and (more := os.pread(descriptor, length - len(content), start + len(content))):
                    content += more
            finally:
                os.close(descriptor)
        else:
            content = bytes(self._store.cat_file(file.path, start=start, end=start + length))
        with self._lock:
            self.reads += 1
            self.bytes_read += len(content)
        if len(content) != length:
            raise self._altered(file, f"it ends before byte {start + length:,}")
        return content

    def _check_whole(self, name: str, file: Sealed) -> None:
        """Hash a file whose manifest has no CRCs, once."""
        if file.sha256 is None or name in self._whole:
            return
        digest = hashlib.sha256()
        for start in range(0, file.size, 16 * BLOCK_BYTES):
            digest.update(self._fetch(file, start, min(16 * BLOCK_BYTES, file.size - start)))
        if digest.hexdigest() != file.sha256:
            raise self._altered(file, "its hash is another")
        with self._lock:
            self._whole.add(name)

    def _altered(self, file: Sealed, why: str) -> PrefineError:
        return PrefineError(
            f"{file.place}: not the file that was published: {why}. Nothing of it is shown. Restore it from a copy, or publish again; "
            "`prefine verify` checks every file."
        )


class SealedFile(io.RawIOBase):
    """An open file. Each thread has a position of its own: DuckDB seeks and reads in two steps, in several threads at once."""

    def __init__(self, files: SealedFiles, name: str) -> None:
        """Open a file by its name in the manifest."""
        super().__init__()
        self._files, self._name, self.size = files, name, files.sizes[name]
        self._at = threading.local()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, and say where to."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self.size}[whence]
        self._at.place = start + offset
        return start + offset

    def tell(self) -> int:
        """The place in the file."""
        return int(getattr(self._at, "place", 0))

    def read(self, size: int = -1) -> bytes:
        """Bytes from here on, checked."""
        at = self.tell()
        content = self._files.read(self._name, at, self.size - at if size is None or size < 0 else size)
        self._at.place = at + len(content)
        return content

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        """Fill a buffer from here on; returns the bytes put in."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True


class Mounts(_ReadOnly):
    """The files of several versions side by side, as `<number>/<path>`.

    Attributes:
        refused: the paths that something tried to write.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        super().__init__()
        self._mounted: list[SealedFiles] = []
        self.refused: list[str] = []

    def urls(self, files: SealedFiles, names: Sequence[str]) -> list[str]:
        """URLs of some files of a version, which is mounted if it was not."""
        number = next((number for number, one in enumerate(self._mounted) if one is files), None)  # == would compare the folders
        if number is None:
            number = len(self._mounted)
            self._mounted.append(files)
            files.failure = None  # what an earlier session met, it has told
        return [f"{PROTOCOL}://{number}/{name}" for name in names]

    def refuse(self, path: str) -> None:
        """Take note of an attempt to write."""
        self.refused.append(path)

    def failure(self) -> PrefineError | None:
        """The first error that reading met, in the words of the one who met it."""
        return next((PrefineError(str(files.failure)) for files in self._mounted if files.failure is not None), None)

    def names(self) -> list[str]:
        """Every file."""
        return [f"{number}/{name}" for number, files in enumerate(self._mounted) for name in files.names()]

    def _found(self, name: str) -> tuple[SealedFiles, str] | None:
        number, _, rest = name.partition("/")
        known = number.isascii() and number.isdigit() and int(number) < len(self._mounted) and rest in self._mounted[int(number)].sizes
        return (self._mounted[int(number)], rest) if known else None
