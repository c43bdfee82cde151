import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent


def run(*command: str, cwd: Path, timeout_s: float, **variables: str) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(folder), str(CHECKOUT), cwd=folder, timeout_s=120)
    (built,) = folder.glob("prefine-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content in a folder of its own, outside the checkout."""
    target = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "-q", "--no-deps", "--no-index", "--target", str(target), str(wheel), cwd=target, timeout_s=120)
    return target


def test_the_wheel_holds_the_code_the_queries_and_the_sample_data_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())

    def shipped(folder: str, pattern: str) -> set[str]:
        return {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / folder).rglob(pattern)}

    assert shipped("pipeline", "*.py") | shipped("flows", "*.py") <= names
    assert {f"pipeline/_{name}" for name in shipped("sql", "*.sql")} <= names
    assert {"pipeline/_data/prefine.yaml", "pipeline/_data/truth.jsonl", "pipeline/_data/raw/votes.csv"} <= names
    assert {name.split("/")[0] for name in names} == {"flows", "pipeline", "prefine-0.1.0.dist-info"}
    assert not [name for name in names if "__pycache__" in name or "workspace" in name]


def test_the_installed_wheel_curates_the_sample_data_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    python = (sys.executable, "-P")  # -P: neither the working folder nor the checkout comes before the installed package
    where = run(*python, "-c", "import pipeline, flows; print(pipeline.__file__); print(flows.__path__[0])",
                cwd=tmp_path, timeout_s=60, PYTHONPATH=str(installed))
    assert [Path(line).is_relative_to(installed) for line in where.splitlines()] == [True, True]

    code = "import shutil, sys; from pipeline import storage; shutil.copytree(storage.package_folder('data'), sys.argv[1])"
    run(*python, "-c", code, str(tmp_path / "sample"), cwd=tmp_path, timeout_s=60, PYTHONPATH=str(installed))
    home = str(tmp_path / "prefect")
    run(*python, "-m", "flows", "run", str(tmp_path / "sample" / "prefine.yaml"), "--limit", "12", cwd=tmp_path, timeout_s=600,
        PYTHONPATH=str(installed), PREFECT_HOME=home)

    (current,) = (tmp_path / "sample").rglob("datasets/*/CURRENT")
    version = current.parent / current.read_text().strip()
    assert (version / "manifest.json").is_file()
    assert (version / "report.html").is_file()  # with the queries of the wheel
    assert list((version / "data").glob("train-*.parquet"))
