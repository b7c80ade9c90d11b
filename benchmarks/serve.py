"""The server under load, beside calls in the same process.

python benchmarks/serve.py [--requests N]

A collection of 1,000 photographs and 240 passages is served by `commonplace serve` with one process, and asked with
questions that were not asked before. Closed loops of 1, 4, 16 and 64 clients; then an open loop at half of the best
throughput (a request comes whether the one before is answered or not); then answers as a stream. Times are as a client
sees them; CPU is of the server's process. The bars are ratios of figures of the same run.
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
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import httpx

import commonplace
from common import data, flickr8k, keep, machine, table

CLIENTS = (1, 4, 16, 64)
COLLECTION = "/v1/collections/default"


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


def build(place: Path) -> None:
    """Make the collection."""
    articles = json.loads((data("xquad") / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    passages = [p["context"] for a in articles for p in a["paragraphs"]]
    with commonplace.open(place) as collection:
        collection.add([data("flickr8k") / "images" / name for name in flickr8k("test")], progress=False)
        collection.add([commonplace.Record(text) for text in passages], progress=False)


class Served:
    """`commonplace serve` as a process of its own."""

    def __init__(self, place: Path) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        command = [sys.executable, "-m", "commonplace", "--collection", str(place), "serve", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while True:
            try:
                httpx.get(f"{self.url}/health")
                return
            except httpx.TransportError:
                time.sleep(0.1)

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.port}"

    def cpu(self) -> float:
        """Return the processor seconds of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Return its resident memory in MB."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


def closed_loop(ask: Callable[[], float], clients: int, requests: int) -> tuple[list[float], float]:
    """Return the seconds of each request, and requests a second, where each client asks again once it has an answer."""
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        times = list(pool.map(lambda _number: ask(), range(requests)))
    return times, requests / (time.perf_counter() - start)


def open_loop(ask: Callable[[], float], rate: float, requests: int) -> list[float]:
    """Return the seconds of each request from the moment it was due, at ``rate`` requests a second."""
    times: list[float] = []
    lock = threading.Lock()
    draw = random.Random(1)
    due = [0.0]
    for _request in range(requests - 1):
        due.append(due[-1] + draw.expovariate(rate))
    start = time.perf_counter()

    def at(moment: float) -> None:
        time.sleep(max(0.0, start + moment - time.perf_counter()))
        ask()
        with lock:
            times.append(time.perf_counter() - start - moment)

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(at, due))
    return times


def quantile(times: list[float], share: float) -> float:
    """Return a quantile in milliseconds."""
    return 1000 * sorted(times)[min(len(times) - 1, int(share * len(times)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=400, help="of each loop (default: 400)")
    parser.add_argument("--work", type=Path, help="keep the collection here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = (arguments.work or Path(folder)) / "serve"
        if not place.exists():
            build(place)
        texts = questions()
        lock = threading.Lock()

        def next_text() -> str:
            with lock:
                return next(texts)

        with commonplace.open(place) as collection:
            for text in islice(texts, 20):
                collection.search(text)
            start, cpu = time.perf_counter(), time.process_time()
            for _request in range(arguments.requests):
                collection.search(next_text())
            alone = arguments.requests / (time.perf_counter() - start)
            cpu_alone = (time.process_time() - cpu) / arguments.requests
        served = Served(place)
        try:
            text, values = measured(served, next_text, alone, cpu_alone, arguments.requests)
        finally:
            served.close()
    keep("serve", text, values)


def measured(
    served: Served, next_text: Callable[[], str], alone: float, cpu_alone: float, requests: int
) -> tuple[str, dict]:
    """Return the table and its figures."""
    client = httpx.Client(base_url=served.url, timeout=120, limits=httpx.Limits(max_connections=100))

    def ask() -> float:
        start = time.perf_counter()
        client.post(f"{COLLECTION}/search", json={"query": next_text()}).raise_for_status()
        return time.perf_counter() - start

    closed_loop(ask, 4, 40)
    before = served.memory()
    rows, rates, single = [], [], 0.0
    for clients in CLIENTS:
        cpu = served.cpu()
        times, rate = closed_loop(ask, clients, requests)
        single = single or quantile(times, 0.5)
        rates.append(rate)
        bound = 1.5 * clients / rate * 1000
        p95 = quantile(times, 0.95)
        rows.append([clients, rate, quantile(times, 0.5), p95, bound, (served.cpu() - cpu) / requests * 1000])
    text = f"Measured on {machine()}; 1,000 photographs and 240 passages, k = 10, {requests} requests a loop.\n\n"
    head = ["clients", "requests/s", "p50, ms", "p95, ms", "1.5 x clients / throughput, ms", "CPU a request, ms"]
    text += table(head, rows)
    half = max(rates) / 2
    times = open_loop(ask, half, requests)
    p95 = quantile(times, 0.95)
    text += f"\n\nOne thread in process: {alone:.3g} searches/s, {1000 * cpu_alone:.3g} ms of CPU each. "
    text += f"Best throughput of the server: {max(rates) / alone:.2f} times that.\n\n"
    text += f"Open loop at half of the best ({half:.3g}/s): p95 {p95:.3g} ms, {p95 / single:.2f} times the p50 of one client.\n\n"
    first, whole = streamed(client, next_text, min(40, requests))
    text += f"An answer as a stream: first byte after {first:.3g} ms ({first / single:.2f} times a search), all after {whole:.3g} ms.\n\n"
    text += f"Memory of the server: {before:.0f} MB after 40 requests, {served.memory():.0f} MB at the end."
    values = {"alone": alone, "rows": rows, "open_p95": p95, "first_byte": first, "whole": whole}
    return text, values


def streamed(client: httpx.Client, next_text: Callable[[], str], requests: int) -> tuple[float, float]:
    """Return the median milliseconds to the first byte and to the end of a streamed answer."""
    first, whole = [], []
    for _request in range(requests):
        start = time.perf_counter()
        with client.stream("POST", f"{COLLECTION}/ask/stream", json={"query": next_text()}) as response:
            for number, _chunk in enumerate(response.iter_bytes()):
                if not number:
                    first.append(time.perf_counter() - start)
        whole.append(time.perf_counter() - start)
    return 1000 * statistics.median(first), 1000 * statistics.median(whole)


if __name__ == "__main__":
    main()
