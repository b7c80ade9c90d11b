"""The server under load: a bounded queue, metrics, and every operation with inputs that a machine makes up."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from commonplace.server import Library, ServerSettings, create_app
from commonplace.server.guards import Gate, Metrics
from commonplace.server.problems import Busy
from tests.server.conftest import Client, serving

PLANT = "/v1/collections/plant"


def test_the_gate_lets_some_run_some_wait_and_refuses_the_rest() -> None:
    gate, inside, leave = Gate(2, 1, Metrics()), threading.Semaphore(0), threading.Event()

    def enter() -> str:
        try:
            with gate.turn():
                inside.release()
                leave.wait()
        except Busy:
            return "refused"
        return "served"

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(enter) for _number in range(2)]
        inside.acquire()
        inside.acquire()
        later = [pool.submit(enter) for _number in range(4)]
        while sum(future.done() for future in later) < 3:
            pass
        refused = [future.result() for future in later if future.done()]
        leave.set()
        results = [future.result() for future in [*running, *later]]
    assert refused == ["refused"] * 3
    assert sorted(results) == ["refused"] * 3 + ["served"] * 3


def test_a_turn_goes_to_whoever_waits_longest() -> None:
    metrics, entered = Metrics(), []
    gate = Gate(1, 9, metrics)

    def enter(name: int) -> None:
        with gate.turn():
            entered.append(name)

    for _round in range(20):
        with ThreadPoolExecutor(1) as pool:
            with gate.turn():
                waiting = pool.submit(enter, 1)
                while not metrics.registry.get_sample_value("commonplace_waiting"):
                    time.sleep(0.001)
            enter(2)  # comes back at once, and does not push in
            waiting.result()
    assert entered == [1, 2] * 20


def test_a_busy_server_says_when_to_come_again(place: Path) -> None:
    app = create_app(Library({"plant": str(place)}), settings=ServerSettings(concurrency=1, waiting=0))
    with serving(app) as address, Client(base_url=address, timeout=60) as client:
        gate = app.state.server.gate
        with gate.turn():
            response = client.post(f"{PLANT}/search", json={"query": "seal"})
            assert client.get("/health").status_code == 200
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert client.post(f"{PLANT}/search", json={"query": "seal"}).status_code == 200


def test_many_searches_at_once_are_all_answered(client: Client) -> None:
    def ask(number: int) -> str:
        hits = client.post(f"{PLANT}/search", json={"query": "Which seal does the north pump need?"}).json()["hits"]
        return str(hits[0]["document"])

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(48))) == {"pump"}


def test_metrics_count_requests_by_route(client: Client) -> None:
    client.get(f"{PLANT}/documents/pump")
    route = "/v1/collections/{collection}/documents/{document}"
    line = f'commonplace_requests_total{{method="GET",route="{route}",status="200"}}'
    # A request is counted after its last byte, so the client may ask for the metrics before that.
    until = time.monotonic() + 30
    while line not in (text := client.get("/metrics").text) and time.monotonic() < until:
        time.sleep(0.01)
    assert line in text
    assert "pump" not in text  # no ids


def test_every_operation_keeps_to_its_schema(place: Path, tmp_path: Path) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    import commonplace

    with commonplace.open(tmp_path / "plant") as collection:
        collection.add(commonplace.Record("The north pump needs the seal 4711.", id="pump"), progress=False, workers=1)
    with serving(create_app(Library(folder=tmp_path))) as address:
        schema = schemathesis.openapi.from_url(f"{address}/v1/openapi.json", timeout=120)  # on a busy machine
        # A removed collection would leave the rest with nothing; a watched job ends when it is done.
        schema = schema.exclude(path="/v1/collections/{collection}", method="DELETE")
        count = 0
        for result in schema.get_all_operations():
            operation = result.ok()
            count += 1

            @settings(
                max_examples=4,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy())
            def check(case) -> None:  # type: ignore[no-untyped-def]
                response = case.call(timeout=120)
                assert response.status_code < 500, f"{case.method} {case.path}: {response.text}"
                # A query may fit its schema and make no sense, such as a filter on a date by a word.
                case.validate_response(response, excluded_checks=[positive_data_acceptance])

            check()
        assert count > 20
