"""What it costs to keep versions: opening one, verifying one, and copying one for a hub; each beside the bare work.

    python -m tests.benchmarks.big_version --help   # makes the dataset
    python -m tests.benchmarks.bench_versions DATASET_ROOT

Peers: `hashlib.sha256` over the same files, in blocks of 1 MiB; `shutil.copy` of the same files. Best of three, files in the page cache.
"""

import argparse
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flows import pushing
from pipeline import storage, verify, versions


def best(work: Callable[[], object], times: int = 3) -> float:
    """Seconds of the fastest of several runs."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


def hashed(paths: list[Path]) -> None:
    for path in paths:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="A dataset's folder.")
    root = parser.parse_args().root
    name = str(versions.current_version(root))
    folder, manifest = storage.join(root, name), versions.read_manifest(root, name)
    paths = [Path(folder) / file["path"] for file in manifest["files"]]
    pairs = [path for path in paths if path.parent.name == "data"]
    checked = best(lambda: versions.check_files(folder, manifest))
    bare = best(lambda: hashed(paths))
    whole = best(lambda: [verify._check_bytes(folder, f, versions.stored_files(folder), verify.Verified(name)) for f in manifest["files"]])
    with tempfile.TemporaryDirectory() as to:
        plain = best(lambda: [shutil.copy(path, to) for path in pairs])
        sums = {Path(folder) / file["path"]: file["sha256"] for file in manifest["files"]}
        copied = best(lambda: [pushing._copy(str(p), f"{to}/copy/{p.name}", sums[p]) for p in pairs])
    told = {
        "benchmark": "versions",
        "version": name,
        "files": len(paths),
        "mb": round(sum(path.stat().st_size for path in paths) / 1e6, 1),
        "check_files_ms": round(1000 * checked, 2),
        "check_files_of_hashing": round(checked / bare, 5),
        "verify_hashes_of_bare_sha256": round(bare / whole, 3),
        "push_copy_of_shutil_copy": round(plain / copied, 3),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
