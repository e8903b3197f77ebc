"""The wheel and the sdist, as a stranger gets them: built, installed clean, imported, started."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    find_spec("hatchling") is None, reason="builds without an index: pip install hatchling"
)

REPOSITORY = "https://example.org/team/rpcguard"
WITHOUT_EXTRAS = """
import sys
extras = {"argcomplete", "uvicorn", "rich", "click", "httpx2", "httpcore2", "h2", "dns", "kazoo"}

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in extras or name.startswith("opentelemetry.sdk"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import rpcguard, rpcguard.provider, rpcguard.testing, rpcguard.cli
from rpcguard import *
assert rpcguard.__version__
rpcguard.Transport("static://127.0.0.1:1").close()
try:
    import rpcguard.httpx2
except ImportError as error:
    assert "pip install 'rpcguard[httpx2]'" in str(error)
else:
    raise AssertionError("httpx2 is there")
"""


pytestmark = pytest.mark.timeout(300)  # what is built and installed takes a busy machine minutes


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """Build the sdist from the tree and the wheel from the sdist, as `python -m build` does."""
    place = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", place)
    (sdist,) = place.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        # An attribute, since `extractall` takes no filter before Python 3.11.4.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(place)
    source = place / sdist.name.removesuffix(".tar.gz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RPCGUARD_REPOSITORY", REPOSITORY)  # as the workflow of a release does
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", place, cwd=source)
    (wheel,) = place.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


@pytest.fixture(scope="module")
def python(built, tmp_path_factory) -> Path:
    """Install the wheel into a virtual environment that lends its dependencies from this one."""
    place = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin/python"
    (packages,) = place.glob("lib/python*/site-packages")
    lent = Path(pytest.__file__).parents[1]
    with zipfile.ZipFile(built["wheel"]) as wheel:
        wheel.extractall(packages)
    # Behind the wheel's own files, so that an editable install there is not what is imported.
    (packages / "zz_lent.pth").write_text(f"import sys; sys.path.append({str(lent)!r})\n")
    return python


def names(built) -> list[str]:
    return zipfile.ZipFile(built["wheel"]).namelist()


PARTS = ("rpcguard/", "rpcguard-", "pytest_rpcguard.py")


def test_the_wheel_has_the_package_and_nothing_else(built):
    """Types are marked, the demo is in, tests and docs are not."""
    found = names(built)
    wanted = {"rpcguard/py.typed", "rpcguard/_commands/demo/run.py", "rpcguard/__main__.py"}
    assert wanted <= set(found)
    odd = [name for name in found if not name.startswith(PARTS)]
    assert odd == []
    assert not [name for name in found if name.endswith(".pyc")]
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "rpcguard").rglob("*.py")}
    assert sources <= set(found)


def test_the_sdist_has_what_its_tests_need(built):
    """Tests, docs, the site's settings and the licence come with the source."""
    with tarfile.open(built["sdist"]) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "tests/docs/test_blocks.py",
        "docs/index.md",
    } <= found


def test_the_metadata_is_complete(built):
    """Name, licence, Python and extras are told to the index; the README is the description."""
    (path,) = [name for name in names(built) if name.endswith("METADATA")]
    metadata = Parser().parsestr(zipfile.ZipFile(built["wheel"]).read(path).decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert {"demo", "http2", "httpx2", "dns", "zookeeper", "rules", "completion", "all"} <= set(
        metadata.get_all("Provides-Extra")
    )
    assert str(metadata.get_payload()).startswith("# rpcguard")


def test_the_metadata_leads_to_the_repository(built):
    """To where it was built, and nowhere if nobody has said where that is."""
    (path,) = [name for name in names(built) if name.endswith("METADATA")]
    told = Parser().parsestr(zipfile.ZipFile(built["wheel"]).read(path).decode())
    urls = dict(url.split(", ") for url in told.get_all("Project-URL"))
    assert urls["Repository"] == REPOSITORY
    assert urls["Changelog"] == f"{REPOSITORY}/blob/main/CHANGELOG.md"
    assert {"Documentation", "Issues"} < urls.keys()
    with tarfile.open(built["sdist"]) as archive:
        (info,) = [name for name in archive.getnames() if name.endswith("/PKG-INFO")]
        assert b"Project-URL" not in archive.extractfile(info).read()


def test_it_imports_without_extras(python):
    """The package, its provider half, its testing half and its command need no extra."""
    where = run(python, "-c", "import rpcguard; print(rpcguard.__file__)", cwd=python.parent)
    assert str(python.parents[1]) in where
    run(python, "-W", "error", "-c", WITHOUT_EXTRAS, cwd=python.parent)


def test_the_commands_start(python):
    """`python -m rpcguard` tells its commands, and each command its options."""
    told = run(python, "-m", "rpcguard", "--help", cwd=python.parent)
    assert "demo" in told
    assert "nodes" in told
    assert "--watch" in run(python, "-m", "rpcguard", "nodes", "--help", cwd=python.parent)


def test_the_entry_points_lead_somewhere(python):
    """Every registry scheme and the command that the wheel declares can be loaded."""
    code = """
from importlib.metadata import distribution
import os
declared = distribution("rpcguard").entry_points
for entry in declared:
    try:
        entry.load()
    except ImportError as error:
        assert "pip install" in str(error), error
print(len(declared.select(group="rpcguard.registries")))
print([entry.value for entry in declared.select(group="console_scripts")])
"""
    schemes, scripts = run(python, "-c", code, cwd=python.parent).splitlines()
    assert int(schemes) >= 4
    assert scripts == "['rpcguard.cli:main']"
