"""Reading and embedding on a Ray cluster: each file once, whatever dies, and one line for what cannot work.

The cluster is real: two nodes on this machine. Tests with ``COMMONPLACE_LONG=1`` take minutes (``make test-ray``).
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import commonplace as cp
from commonplace.cli import main
from commonplace.distributed import ActorPool, ActorSpec, connection, model_to_send
from commonplace.distributed.actor import IngestActor, Started
from commonplace.ingest import Batch, Source, name_of
from commonplace.readers import formats
from commonplace.space import Space
from tests.conftest import ROOT
from tests.encoders.toys import Colours, Words
from tests.ingest.deadly import Deadly, Local, Stuck
from tests.ingest.test_workers import EVIL

# A file system of fsspec that is not of one process, as memory:// is.
SHELF = """
from fsspec.implementations.local import LocalFileSystem

class Shelf(LocalFileSystem):
    protocol = "shelf"

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("shelf://"))
"""

# Keeps all ports on 127.0.0.1; read when Ray is imported, and by each of its processes.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
try:
    import ray
    from ray.cluster_utils import Cluster
except ImportError:
    ray = None

needs_ray = pytest.mark.skipif(ray is None, reason="Ray is not installed (extra ray)")
takes_long = pytest.mark.skipif(os.environ.get("COMMONPLACE_LONG") != "1", reason="takes minutes: COMMONPLACE_LONG=1")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes with one processor each, on which a plug-in reader for .dvi does what bad files do to parsers.

    A package there adds the file system ``shelf://``.
    """
    import fsspec

    site = tmp_path_factory.mktemp("site")
    info = site / "evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    entries = "[commonplace.readers]\napplication/x-dvi = evil:read_dvi\n[fsspec.specs]\nshelf = shelf:Shelf\n"
    (info / "entry_points.txt").write_text(entries)
    (site / "evil.py").write_text(EVIL)
    (site / "shelf.py").write_text(SHELF)
    fsspec.register_implementation("shelf", "shelf.Shelf", clobber=True)  # it was imported before this site existed
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        formats._plugins.cache_clear()
        path = [str(site), str(Path(cp.__file__).parent.parent), str(ROOT)]
        patch.setenv("PYTHONPATH", os.pathsep.join(path))
        patch.setenv("COMMONPLACE_OCR", "0")
        settings = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 1024**2}
        nodes = Cluster(initialize_head=True, head_node_args=settings)
        try:
            nodes.add_node(**settings)
            yield nodes
        finally:
            nodes.shutdown()
    formats._plugins.cache_clear()


def notes(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:03}.md").write_text(f"# Note {number}\n\nThe pump {number} needs the seal {number}.")
    return folder


def contents(kb: cp.Collection) -> dict[str, Any]:
    """Return what a collection holds, without what depends on the order of adding."""
    documents = {document.id: document for document in kb.documents()}
    items = {item.id: item for id_ in documents for item in kb.items(documents[id_])}
    ids = sorted(items)
    vectors = {name: kb.store.vectors(name, ids).tolist() for name in kb.space.partitions}
    return {"documents": documents, "items": items, "views": kb.store.views(ids), "vectors": vectors}


def ray_processes() -> set[int]:
    """Return the processes of Ray on this machine."""
    found_in = "raylet", "gcs_server", "ray::"
    lines = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True).stdout.splitlines()
    return {int(line.split()[0]) for line in lines if any(name in line for name in found_in)}


@needs_ray
def test_the_result_is_that_of_a_plain_add(cluster: Any, tmp_path: Path) -> None:
    folder = notes(tmp_path / "docs", 20)
    for number, colour in enumerate(("red", "green", "blue")):
        Image.new("RGB", (80, 60), colour).save(folder / f"{number}.png")
    (folder / "bad.pdf").write_bytes(b"%PDF-1.7 nothing")
    (folder / "crash.dvi").write_text("segv")
    shelf = notes(tmp_path / "shelf", 5)
    sources = [
        str(folder),
        f"shelf://{shelf}",
        cp.Record("A record of the red pump.", id="r", metadata={"plant": "north"}),
    ]
    model = cp.Model(text=Words(), image=Colours(), name="toy")
    with cp.open(tmp_path / "plain", model=model) as plain, cp.open(tmp_path / "ray", model=model) as other:
        expected = plain.add(*sources)
        report = other.add(*sources, ray=cluster.address)
        assert (report.added, sorted(report.failed)) == (29, sorted(expected.failed)) and len(report.failed) == 2
        assert contents(other) == contents(plain)
        (picture,) = (item for item in other.items(other.find(folder / "0.png")))
        assert other.store.thumbnail(picture.picture) == plain.store.thumbnail(picture.picture)
        (remote,) = (document for document in other.documents() if document.path == f"shelf://{shelf}/000.md")
        assert remote.is_remote and other.store.original(remote.id) is None
        assert other.store.original("r") == b"A record of the red pump."
        assert other.search("red pump", k=1)[0].item.id == plain.search("red pump", k=1)[0].item.id
        assert str(other.add(*sources, ray=cluster.address)) == "31 unchanged"  # without a connection to Ray
        assert other.maintenance.doctor() == [] and not ray.is_initialized()


@needs_ray
def test_what_ends_an_actor_fails_alone(cluster: Any, tmp_path: Path) -> None:
    folder = notes(tmp_path / "docs", 15)
    (folder / "007x.md").write_text("The POISON of this text ends the encoder.")
    with cp.open(tmp_path / "kb", model=cp.Model(text=Deadly(), name="deadly")) as kb:
        report = kb.add(folder, ray=cluster.address)  # in batches of two
        ((name, reason),) = report.failed
        assert name == str(folder / "007x.md") and reason.startswith("reading or embedding it ended 2 workers")
        assert report.added == 15
        (failed,) = kb.documents(failed=True)
        assert failed.path == name and failed.error == reason
        assert str(kb.add(folder, ray=cluster.address)) == "16 unchanged"


@needs_ray
def test_many_machines_write_a_shared_store(cluster: Any, tmp_path: Path) -> None:
    """Two processes of one machine may write a local store at once, which takes the place of a server here."""
    folder = notes(tmp_path / "docs", 12)
    (folder / "bad.pdf").write_bytes(b"%PDF-1.7 nothing")
    model = cp.Model(text=Words(), image=Colours(), name="toy")
    with cp.open(tmp_path / "plain", model=model) as plain, cp.open(tmp_path / "kb", model=model) as kb:
        expected = plain.add(folder)
        store: Any = kb.store
        store.capabilities, store.address = replace(store.capabilities, shared=True), tmp_path / "kb"
        written = []
        add = store.add
        store.add = lambda *args, **options: written.append(args) or add(*args, **options)
        report = kb.add(folder, ray=cluster.address)
        assert written == []  # not by this process
        assert (report.added, report.failed) == (12, expected.failed)
        assert contents(kb) == contents(plain) and kb.search("pump 7", k=1)


@needs_ray
def test_a_model_that_cannot_be_sent_is_named(cluster: Any, tmp_path: Path) -> None:
    folder = notes(tmp_path / "docs", 1)
    with cp.open(tmp_path / "kb", model=cp.Model(text=Local(), name="local")) as kb:
        with pytest.raises(cp.ModelError, match="local cannot be sent to another machine") as caught:
            kb.add(folder, ray=cluster.address)
        assert "\n" not in str(caught.value) and kb.add(folder).added == 1


@needs_ray
def test_a_machine_with_another_model_is_refused(cluster: Any) -> None:
    own, other = (Space(cp.Model(text=Words(version), name="toy")) for version in "12")
    with (
        pytest.raises(cp.ModelMismatch, match=f"{socket.gethostname()} has another model than toy"),
        ActorPool(cluster.address, ActorSpec(model_to_send(other)), own) as pool,
    ):
        list(pool.run([[]]))
    assert not ray.is_initialized()


@needs_ray
def test_every_file_is_added_once_when_a_machine_is_lost(cluster: Any, tmp_path: Path) -> None:
    """The last test of the cluster, which has one node afterwards."""
    folder = notes(tmp_path / "docs", 30)
    (lost,) = cluster.worker_nodes
    marks = tmp_path / "marks"
    marks.mkdir()
    reports = []
    with cp.open(tmp_path / "kb", model=cp.Model(text=Stuck(marks, lost.node_id), name="stuck")) as kb:
        adding = threading.Thread(target=lambda: reports.append(kb.add(folder, ray=cluster.address)))
        adding.start()
        while not (marks / lost.node_id).exists() and adding.is_alive():
            time.sleep(0.05)
        cluster.remove_node(lost, allow_graceful=False)
        adding.join()
        assert str(reports[0]) == "30 added" and len(kb.documents()) == 30
        assert len(list(marks.iterdir())) == 2  # both nodes had worked
        assert sorted(hit.item.document.path for hit in kb.search("pump seal", k=30)) == sorted(
            str(path) for path in folder.iterdir()
        )
        assert kb.maintenance.doctor() == []


def test_an_actor_returns_what_a_store_needs(tmp_path: Path) -> None:
    """Of many pictures, which are embedded in two parts, it returns the thumbnails."""
    for number in range(70):
        Image.new("RGB", (40 + number, 40), "red").save(tmp_path / f"{number}.png")
    actor = IngestActor()
    assert isinstance(actor.start(ActorSpec(cp.Model(image=Colours(), name="toy")), 1), Started)
    sources = [Source(path, tmp_path) for path in sorted(tmp_path.iterdir())]
    batch = actor.ingest([*sources, Source(tmp_path / "absent.md", tmp_path)])
    actor._pool.close()
    assert isinstance(batch, Batch) and len(batch.parsed) == 70
    pictures = [picture for parsed in batch.parsed for picture in parsed.pictures.values()]
    assert not any(picture.pixels.size for picture in pictures) and all(picture.thumbnail for picture in pictures)
    (rows,) = batch.vectors or ()
    assert sorted(rows.item_ids) == sorted(parsed.items[0].id for parsed in batch.parsed)
    assert rows.vectors.shape == (70, 64) and set(rows.views) == {name for p in batch.parsed for name in p.pictures}
    ((source, problem),) = batch.failures
    assert name_of(source) == str(tmp_path / "absent.md")
    assert str(problem).startswith(f"is not on the machine {socket.gethostname()}: keep it where")


@pytest.fixture
def kb(tmp_path: Path) -> Iterator[cp.Collection]:
    notes(tmp_path / "docs", 1)
    with cp.open(tmp_path / "kb", model=cp.Model(text=Words(), name="toy")) as opened:
        yield opened


@pytest.mark.parametrize(
    "address", [6379, "", "10.0.0.1", "ray://10.0.0.1:10001", "10.0.0.1:99999", "a b:1", "http://a:1"]
)
def test_what_is_no_address_is_refused(kb: cp.Collection, address: Any) -> None:
    with pytest.raises(cp.QueryError, match="give HOST:PORT, auto or local"):
        kb.add(ray=address)  # even with nothing to add


def test_a_missing_extra_is_named(kb: cp.Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(cp.QueryError, match=r"run `pip install 'commonplace-rag\[ray\]'`"):
        kb.add(tmp_path / "docs", ray="local")


def answer(listener: socket.socket, count: int) -> None:
    """Answer as a web server does."""
    for _ in range(count):
        with listener.accept()[0] as stream:
            stream.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@needs_ray
@pytest.mark.parametrize("server", ["absent", "silent", "other"])
def test_a_cluster_that_does_not_answer_costs_one_line(
    kb: cp.Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    monkeypatch.setattr(connection, "SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        if server == "absent":
            listener.close()
        if server == "other":
            threading.Thread(target=answer, args=(listener, 2), daemon=True).start()
        with pytest.raises(cp.ClusterError, match=address) as caught:
            kb.add(tmp_path / "docs", ray=address)
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(cp.ClusterError, match=address):
            kb.add(tmp_path / "docs", ray="auto")
        assert {"absent": "refused", "silent": "no answer", "other": "is no Ray"}[server] in str(caught.value)
    assert "\n" not in str(caught.value) and kb.add(tmp_path / "docs").added == 1


@needs_ray
@takes_long
def test_other_versions_are_named(kb: cp.Collection, tmp_path: Path) -> None:

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        client = ray._raylet.GcsClient(address=nodes.address)
        known = client.internal_kv_get(b"CLUSTER_METADATA", b"cluster")
        version = ray.__version__.encode()
        assert version in known
        client.internal_kv_put(b"CLUSTER_METADATA", known.replace(version, b"1.0.0"), True, b"cluster")
        with pytest.raises(cp.ClusterError, match=r"runs other versions.*1\.0\.0") as caught:
            kb.add(tmp_path / "docs", ray=nodes.address)
        assert "\n" not in str(caught.value)
    finally:
        nodes.shutdown()


@needs_ray
@takes_long
def test_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A cluster that is started for one call leaves nothing behind, and prints nothing of its own."""
    before = ray_processes()
    monkeypatch.chdir(tmp_path)
    notes(tmp_path / "papers", 10)
    page = (ROOT / "docs" / "how-to" / "ray.md").read_text(encoding="utf-8")
    commands = re.findall(r"^commonplace .*--ray local.*$", page, re.MULTILINE)
    assert commands
    for command in commands:
        assert main(shlex.split(command, comments=True)[1:]) == 0
    printed = capfd.readouterr()
    assert printed.out == "10 added\n" and "ray" not in printed.err.lower()
    assert ray_processes() <= before


@needs_ray
@takes_long
def test_a_bad_file_is_found_in_a_large_batch(tmp_path: Path) -> None:
    """Ray says on standard output that a worker has died; that would break ``--json``."""
    folder = notes(tmp_path / "docs", 256)
    (folder / "077.md").write_text("The POISON of this text ends the encoder.")
    code = (
        "import sys, commonplace as cp\nfrom tests.ingest.deadly import Deadly\n"
        "with cp.open(sys.argv[1], model=cp.Model(text=Deadly(), name='deadly')) as kb:\n"
        "    report = kb.add(sys.argv[2], ray='local', workers=1)\n"
        "    print(report, len(kb.documents(failed=True)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "kb"), str(folder)]
    path = os.pathsep.join([str(Path(cp.__file__).parent.parent), str(ROOT)])
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.stdout == "255 added, 1 failed 1\n", done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "files" not in line)
    assert "077.md: reading or embedding it ended 2 workers" in line
