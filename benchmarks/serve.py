"""The server under load, beside calls in the same process.

python benchmarks/serve.py [--pictures N] [--requests N] [--steady SECONDS]

A collection of photographs and 240 passages is served by `commonplace serve`, and asked with questions that were not
asked before. Closed loops of 1, 4, 16 and 64 clients, with one process and with two; then an open loop at half of the
throughput of 16 clients (a request comes whether the one before is answered or not); then answers as a stream; last the
memory over many requests. Times are as a client sees them; CPU is of the server's processes. Calls in one thread of
this process take turns with the loops. The bars are ratios of figures of the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import httpx

import commonplace
from common import data, flickr8k, keep, machine, table

CLIENTS = (1, 4, 16, 64)
COLLECTION = "/v1/collections/default"
TICKS = os.sysconf("SC_CLK_TCK")


def questions() -> Iterator[str]:
    """Yield captions of photographs and questions on passages in turn, each once, then again with a number."""
    captions = [text for texts in flickr8k("test").values() for text in texts]
    articles = json.loads((data("xquad") / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    asked = [qa["question"] for a in articles for p in a["paragraphs"] for qa in p["qas"]]
    random.Random(0).shuffle(captions)
    pairs = [text for pair in zip(captions, cycle(asked), strict=False) for text in pair]
    yield from dict.fromkeys(pairs)
    for round_ in range(1, 1000):
        yield from (f"{text} {round_}" for text in dict.fromkeys(pairs))


def build(place: Path, pictures: int) -> None:
    """Make the collection, or what is missing of it."""
    articles = json.loads((data("xquad") / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    passages = [p["context"] for a in articles for p in a["paragraphs"]]
    names = sorted(flickr8k("test"))[:pictures]
    with commonplace.open(place) as collection:
        collection.add([data("flickr8k") / "images" / name for name in names], progress=False)
        collection.add([commonplace.Record(text) for text in passages], progress=False)


class Served:
    """`commonplace serve` as processes of its own."""

    def __init__(self, place: Path, workers: int = 1) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        command = [sys.executable, "-m", "commonplace", "--collection", str(place), "serve", "--port", str(self.port)]
        self.process = subprocess.Popen([*command, "--workers", str(workers)])
        while True:
            if self.process.poll() is not None:
                raise SystemExit("the server did not start")
            try:
                httpx.get(f"{self.url}/health")
                return
            except httpx.TransportError:
                time.sleep(0.1)

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.port}"

    def pids(self) -> list[int]:
        """Return its process and the children of it."""
        parent = self.process.pid
        return [parent, *map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())]

    def cpu(self) -> float:
        """Return the processor seconds of its processes so far."""
        return sum(_cpu(pid) for pid in self.pids())

    def memory(self) -> float:
        """Return its resident memory in MB."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids())
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def busy() -> float:
    """Return the processor seconds of all programs of the machine so far."""
    user, nice, system, _idle, _wait, *interrupts = Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    return (int(user) + int(nice) + int(system) + sum(map(int, interrupts[:2]))) / TICKS


@dataclass
class Loop:
    """A closed loop: milliseconds, requests a second, and the share of the machine that others took."""

    workers: int
    clients: int
    rate: float
    p50: float
    p95: float
    slowest: float
    fewest: float
    """Requests of the client that got the fewest, as a share of what an even one gets."""
    cpu: float
    others: float
    """Processors that other programs used meanwhile."""
    alone: float
    """Searches a second in one thread of a process without a server, in the same minute."""
    cpu_alone: float


def closed_loop(served: Served, ask: Callable[[], float], clients: int, requests: int) -> dict[str, float]:
    """Let each client ask again as soon as it has an answer, until so many requests were sent."""
    left = iter(range(requests))
    lock = threading.Lock()
    times: list[float] = []
    counts = [0] * clients

    def client(number: int) -> None:
        while True:
            with lock:
                if next(left, None) is None:
                    return
            seconds = ask()
            with lock:
                times.append(seconds)
                counts[number] += 1

    cpu, machine_before, mine = served.cpu(), busy(), time.process_time()
    start = time.perf_counter()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    cpu = served.cpu() - cpu
    return {
        "clients": clients,
        "rate": requests / seconds,
        "p50": quantile(times, 0.5),
        "p95": quantile(times, 0.95),
        "slowest": quantile(times, 1),
        "fewest": min(counts) * clients / requests,
        "cpu": 1000 * cpu / requests,
        "others": (busy() - machine_before - cpu - (time.process_time() - mine)) / seconds,
    }


def open_loop(ask: Callable[[], float], rate: float, requests: int) -> list[float]:
    """Return the seconds of each request from the moment it was due, at ``rate`` requests a second."""
    times: list[float] = []
    lock = threading.Lock()
    draw = random.Random(1)
    start, due = time.perf_counter(), 0.0

    def at(moment: float) -> None:
        ask()
        with lock:
            times.append(time.perf_counter() - start - moment)

    threads = []
    for _request in range(requests):
        time.sleep(max(0.0, start + due - time.perf_counter()))
        threads.append(threading.Thread(target=at, args=(due,)))  # one each, so that none waits for another
        threads[-1].start()
        due += draw.expovariate(rate)
    for thread in threads:
        thread.join()
    return times


def streamed(client: httpx.Client, next_text: Callable[[], str], requests: int) -> dict[str, float]:
    """Return the median milliseconds of a search, and to the first byte and the end of a streamed answer, in turns."""
    searches, first, whole = [], [], []
    for _request in range(requests):
        start = time.perf_counter()
        client.post(f"{COLLECTION}/search", json={"query": next_text(), "k": 12}).raise_for_status()
        searches.append(time.perf_counter() - start)
        start = time.perf_counter()
        with client.stream("POST", f"{COLLECTION}/ask/stream", json={"query": next_text()}) as response:
            for number, _chunk in enumerate(response.iter_bytes()):
                if not number:
                    first.append(time.perf_counter() - start)
        whole.append(time.perf_counter() - start)
    named = {"search": searches, "first": first, "whole": whole}
    return {name: 1000 * statistics.median(times) for name, times in named.items()}


def steady(served: Served, ask: Callable[[], float], seconds: float, most: int) -> list[tuple[int, float]]:
    """Return pairs of requests sent and MB of the server, while four clients ask for so long."""
    start, count, points = time.perf_counter(), 0, [(0, served.memory())]
    while time.perf_counter() - start < seconds and count < most:
        closed_loop(served, ask, 4, 100)
        count += 100
        points.append((count, served.memory()))
    return points


def quantile(times: list[float], share: float) -> float:
    """Return a quantile in milliseconds."""
    return 1000 * sorted(times)[min(len(times) - 1, int(share * len(times)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000, help="in the collection (default: 1,000)")
    parser.add_argument("--requests", type=int, default=400, help="of each loop (default: 400)")
    parser.add_argument("--steady", type=float, default=600, help="seconds of the loop for memory (default: 600)")
    parser.add_argument("--work", type=Path, help="keep the collection here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = (arguments.work or Path(folder)) / "serve"
        build(place, arguments.pictures)
        texts = questions()
        lock = threading.Lock()

        def next_text() -> str:
            with lock:
                return next(texts)

        with commonplace.open(place) as collection:
            keep("serve", *measured(place, collection, next_text, arguments))


def measured(
    place: Path, collection: commonplace.Collection, next_text: Callable[[], str], arguments: argparse.Namespace
) -> tuple[str, dict]:
    """Return the table and its figures."""
    requests = arguments.requests
    values: dict = {"pictures": arguments.pictures, "requests": requests, "cores": len(os.sched_getaffinity(0))}

    def alone(count: int) -> dict[str, float]:
        start, cpu = time.perf_counter(), time.process_time()
        for _request in range(count):
            collection.search(next_text())
        rate = count / (time.perf_counter() - start)
        return {"alone": rate, "cpu_alone": 1000 * (time.process_time() - cpu) / count}

    loops: list[Loop] = []
    alone(20)
    for workers in (1, 2):
        served = Served(place, workers)
        try:
            with httpx.Client(base_url=served.url, timeout=600, limits=httpx.Limits(max_connections=None)) as client:

                def ask(client: httpx.Client = client) -> float:
                    start = time.perf_counter()
                    client.post(f"{COLLECTION}/search", json={"query": next_text()}).raise_for_status()
                    return time.perf_counter() - start

                closed_loop(served, ask, 8, 40)
                for clients in CLIENTS:
                    loops.append(
                        Loop(workers, **closed_loop(served, ask, clients, requests), **alone(max(20, requests // 4)))  # type: ignore[arg-type]
                    )
                    print(loops[-1], file=sys.stderr, flush=True)
                if workers > 1:
                    continue
                half = next(loop.rate for loop in loops if loop.clients == 16) / 2
                single = closed_loop(served, ask, 1, max(20, requests // 4))["p50"]
                values["open"] = {"rate": half, "p95": quantile(open_loop(ask, half, requests), 0.95), "single": single}
                values["stream"] = streamed(client, next_text, min(40, requests))
                print(values, file=sys.stderr, flush=True)
                values["memory"] = steady(served, ask, arguments.steady, 50_000)
        finally:
            served.close()
    values["loops"] = [asdict(loop) for loop in loops]
    return described(values, loops), values


def described(values: dict, loops: list[Loop]) -> str:
    """Return the figures as a text."""
    head = ["processes", "clients", "requests/s", "x one thread", "CPU a request, ms", "p50, ms", "p95, ms"]
    head += ["1.5 x clients / throughput", "slowest", "fewest of a client", "others' load"]
    rows = [
        [
            *(loop.workers, loop.clients, loop.rate, loop.rate / loop.alone, loop.cpu, loop.p50, loop.p95),
            *(1500 * loop.clients / loop.rate, loop.slowest, loop.fewest, loop.others),
        ]
        for loop in loops
    ]
    cpu_alone = statistics.median(loop.cpu_alone for loop in loops)
    others = statistics.median(loop.others for loop in loops)
    rate, stream, memory = values["open"], values["stream"], values["memory"]
    return "\n\n".join(
        [
            f"Measured on {machine()}; {values['pictures']:,} photographs and 240 passages, k = 10, "
            f"{values['requests']} requests a loop. Other programs used {others:.2g} of the {values['cores']} cores "
            "meanwhile (median), so only ratios within a row, and CPU, say something.",
            table(head, rows),
            f"One thread in process: {statistics.median(loop.alone for loop in loops):.3g} searches/s, {cpu_alone:.3g} ms "
            "of CPU each (medians of turns between the loops).",
            f"Open loop at half of the throughput of 16 clients ({rate['rate']:.3g}/s): p95 {rate['p95']:.3g} ms, "
            f"{rate['p95'] / rate['single']:.2f} times the p50 of one client ({rate['single']:.3g}).",
            f"An answer as a stream: first byte after {stream['first']:.3g} ms ({stream['first'] / stream['search']:.2f} "
            f"times a search, {stream['search']:.3g}), all after {stream['whole']:.3g} ms.",
            f"Memory of the server over {memory[-1][0]:,} requests of four clients: {memory[0][1]:.0f} MB at the start, "
            f"{memory[len(memory) // 2][1]:.0f} in the middle, {memory[-1][1]:.0f} at the end.",
        ]
    )


if __name__ == "__main__":
    main()
