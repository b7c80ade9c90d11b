"""What the tests share: the development data (skipped with a reason where absent) and small real files."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from commonplace.encoders import Bundle
from commonplace.space import Space
from tests import network
from tests.milvus_server import _session_server, milvus_server, milvus_uri

__all__ = ["_session_server", "data", "liar", "milvus_server", "milvus_uri", "space"]

ROOT = Path(__file__).parent.parent

# The same examples on every machine, so that a change is judged by what it does. COMMONPLACE_EXAMPLES=new draws others.
settings.register_profile("same", derandomize=True, database=None)
if os.environ.get("COMMONPLACE_EXAMPLES") != "new":
    settings.load_profile("same")


SLOW = {
    *(
        "encoders/test_convert",
        "encoders/test_hub",
        "evaluation/test_plots",
        "ingest/test_ray",
        "ingest/test_workers",
        "kills/test_kills",
    ),
    *("readers/test_chunks", "readers/test_hostile", "readers/test_ocr", "retrieval/test_heatmap", "store/test_lists"),
    *(
        "store/test_index_files",
        "store/test_together",
        "store/test_upkeep",
        "test_cli",
        "test_cli_upkeep",
        *(
            f"collection/test_{name}"
            for name in ("add", "ask", "delete", "filters", "open", "remove", "search", "watch")
        ),
    ),
    *("encoders/test_encoder", "encoders/test_remote", "evaluation/test_runs", "generation/test_adversary"),
    *("generation/test_conversation", "retrieval/test_background", "retrieval/test_diversify", "test_schemas"),
    *("milvus/test_server", "milvus/test_contract", "milvus/test_together", "milvus/test_trouble"),
    *("milvus/test_migration", "store/milvus/test_migration"),
    *("test_copying", "store/milvus/test_opening", "store/milvus/test_contract"),
    *("server/test_mcp", "server/test_openai", "server/test_watch"),
    "server/test_page",
    *("test_docs", "test_metadata", "test_migrate", "test_pages", "test_records", "test_start", "test_threads"),
}
"""The files whose tests take more than some seconds; `make test-fast` leaves them out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if str(item.path.relative_to(ROOT / "tests").with_suffix("")) in SLOW:
            item.add_marker("slow")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Replace lone surrogates in what a test printed: a report with one cannot be sent to the main process."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


def data(name: str) -> Path:
    """Return a folder of the development data, or skip the test that asks for it."""
    base = Path(os.environ.get("COMMONPLACE_DATA") or ROOT.parent / "shared" / "data")
    folder = base / name
    if not folder.exists():
        pytest.skip(f"the development data {name} is not here (COMMONPLACE_DATA)")
    return folder


def pytest_configure(config: pytest.Config) -> None:
    """Let messages be English, and keep compiled models of the tests apart from the user's.

    A bad compiled model would outlive the run that made it.
    """
    os.environ["COMMONPLACE_LANG"] = "en"
    network.watch()
    if not hasattr(config, "workerinput") and "COMMONPLACE_CACHE" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="commonplace-cache-")
        os.environ["COMMONPLACE_CACHE"] = folder.name
        config.add_cleanup(folder.cleanup)


@pytest.fixture(scope="session")
def space() -> Space:
    """The bundled model, loaded once."""
    return Space(Bundle())


@pytest.fixture(scope="session")
def liar() -> Iterator[str]:
    """The address of a real server that speaks OpenAI's chat API and lies (see generation/liar.py)."""
    command = [sys.executable, "-m", "tests.generation.liar"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.kill()


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the user's own settings out of the tests."""
    own = ("COMMONPLACE_COLLECTION", "COMMONPLACE_MODEL", "COMMONPLACE_LLM", "OPENAI_")
    own += ("COMMONPLACE_MILVUS_TOKEN", "COMMONPLACE_MILVUS_TLS", "COMMONPLACE_MILVUS_CA", "COMMONPLACE_MILVUS_TIMEOUT")
    own += ("COMMONPLACE_BLOBS",)
    for name in [name for name in os.environ if name.startswith(own)]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COMMONPLACE_OCR", "0")  # a second and more a worker; the tests that need it ask for it
    yield


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    """Fail a test in which this process reached out to another machine (SECURITY.md promises that it does not)."""
    network.REACHED.clear()
    yield
    reached, network.REACHED[:] = list(network.REACHED), []
    assert not reached, f"the test reached out of this machine: {reached}"
