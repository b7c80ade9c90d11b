"""The one inference runtime: OpenVINO on ONNX files, at the precision that is faster on this machine."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ModelError

__all__ = ["Graph", "cache_folder", "openvino", "threads"]

Inputs = dict[str, NDArray[Any]]


def cache_folder() -> Path | None:
    """Return the folder for compiled models (``COMMONPLACE_CACHE``, else the user's), or None if it cannot be."""
    base = os.environ.get("COMMONPLACE_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "commonplace"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A compiled model is code: never take one from a folder that somebody else can write to.
        state = folder.stat()
        if hasattr(os, "getuid") and (state.st_uid != os.getuid() or state.st_mode & 0o022):
            return None
        str(folder).encode()  # OpenVINO takes no other names
    except (OSError, RuntimeError, ValueError):
        return None
    return folder if os.access(folder, os.W_OK) else None


@cache
def openvino() -> Any:
    """Import OpenVINO without its telemetry.

    Left alone, the import writes to the home folder and reports to a web service without asking. Where the telemetry
    package cannot be imported, OpenVINO takes its own silent stand-in.
    """
    silenced = "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules
    if silenced:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # the import system's word for "absent"
    try:
        return importlib.import_module("openvino")
    finally:
        if silenced:
            del sys.modules["openvino_telemetry"]


@cache
def _core() -> Any:
    core = openvino().Core()
    folder = cache_folder()
    if folder is not None:
        core.set_property({"CACHE_DIR": str(folder / "compiled")})
    return core


def _precision() -> str:
    """Return the precision to compute in, ``bf16`` or ``f32``: the faster one here, but for ``COMMONPLACE_PRECISION``.

    The variable is read for each graph, so that a process may load one graph in full precision.
    """
    return "f32" if os.environ.get("COMMONPLACE_PRECISION") == "f32" else _measured_precision()


@cache
def _measured_precision() -> str:
    """Return the faster precision on this machine.

    Not every processor that has instructions for bfloat16 is faster with them: with AMX it is, with AVX-512 alone it
    is on one machine and half as slow again on another. So it is measured, once a machine: a fifth of a second.
    """
    core = _core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return "f32"
    folder = cache_folder()
    facts = [core.get_property("CPU", "FULL_DEVICE_NAME"), openvino().__version__, str(threads())]
    kept = None if folder is None else folder / f"precision-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}"
    if kept is not None and kept.is_file() and (found := kept.read_text(errors="replace")) in ("bf16", "f32"):
        return found
    found = _faster(core)
    if kept is not None:
        with suppress(OSError):  # a full disk: measured again next time
            beside = kept.with_suffix(f".{os.getpid()}.part")
            beside.write_text(found)
            beside.replace(kept)
    return found


def _faster(core: Any) -> str:
    """Return which precision is faster at products of a tower's size; float32 where they are even, as it is exact."""
    ops = importlib.import_module("openvino.opset13")
    draw = np.random.default_rng(0)
    given = draw.normal(size=(512, 384)).astype(np.float32)
    wide, narrow = (ops.constant(draw.normal(size=shape).astype(np.float32)) for shape in ((384, 1536), (1536, 384)))
    start = ops.parameter(list(given.shape), np.float32)
    end = ops.matmul(ops.relu(ops.matmul(start, wide, False, False)), narrow, False, False)
    model = openvino().Model([end], [start])
    runs = {
        kind: core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": kind}).create_infer_request()
        for kind in ("bf16", "f32")
    }
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(6):  # in turns, the shortest of each: another program's load counts for neither
        for kind, run in runs.items():
            begun = time.perf_counter()
            run.infer([given])
            best[kind] = min(best[kind], time.perf_counter() - begun)
    return "bf16" if best["bf16"] < 0.9 * best["f32"] else "f32"


def _branch(model: Any, output: str | int) -> Any:
    """Return the part of a model that makes one output, with the inputs that it needs."""
    port = model.output(output)
    needed, waiting = {}, [port.get_node()]
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() not in needed:
            needed[node.get_friendly_name()] = node
            waiting += [value.get_node() for value in node.input_values()]
    return openvino().Model(
        [port.get_node()], [one for one in model.get_parameters() if one.get_friendly_name() in needed]
    )


class Graph:
    """A compiled ONNX file: arrays by input name in, one float32 array out.

    ``output`` is a name or, from 0, a number. The precision is the faster one on this machine, bfloat16 or float32;
    ``COMMONPLACE_PRECISION=f32`` asks for full precision. With
    ``inputs`` (names) what those alone do not lead to ``output`` is left out: one file may hold both towers.
    ``prepare`` may edit the model before it is compiled.
    """

    def __init__(
        self,
        path: Path,
        output: str | int,
        *,
        inputs: Iterable[str] = (),
        prepare: Callable[[Any], Any] | None = None,
    ) -> None:
        core = _core()
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _precision()}
        try:
            model = core.read_model(str(path))
            names = {name for port in model.inputs for name in port.names}
            if not names <= set(inputs) and inputs:
                model = _branch(model, output)
            if prepare is not None:
                model = prepare(model)
            self._compiled = core.compile_model(model, "CPU", settings)
            self._port = self._compiled.output(output)
        except RuntimeError as problem:
            reason = str(problem).strip().splitlines()[-1]
            raise ModelError(f"the model file {path} cannot be run ({reason}): install the model again") from problem
        self.inputs = frozenset(name for port in self._compiled.inputs for name in port.names)
        self.precision = str(self._compiled.get_property("INFERENCE_PRECISION_HINT"))

    def map(
        self,
        batches: Sequence[Inputs],
        reduce: Callable[[NDArray[np.float32], Inputs], NDArray[np.float32]] = lambda output, _: output.copy(),
        *,
        output: str | None = None,
    ) -> list[NDArray[np.float32]]:
        """Return ``reduce(output, inputs)`` for each batch, in order; its first argument is valid only inside.

        ``output`` names another output of the graph than the one that it was made for.
        """
        port = self._port if output is None else self._compiled.output(output)
        request = self._compiled.create_infer_request()  # one each call: requests are not shared between threads
        results = []
        for inputs in batches:
            request.infer(inputs, share_inputs=True)
            results.append(reduce(request.get_tensor(port).data, inputs))
        return results

    def several(self, inputs: Inputs, outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return several outputs of one batch, by name."""
        request = self._compiled.create_infer_request()
        request.infer(inputs, share_inputs=True)
        return [request.get_tensor(self._compiled.output(name)).data.copy() for name in outputs]


def threads() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
