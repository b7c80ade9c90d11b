"""The inference runtime: OpenVINO runs ONNX files in the faster precision on this machine."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders.integers import GROUP, linear, with_integer_weights
from commonplace.errors import ModelError
from commonplace.i18n import _

__all__ = ["Graph", "cache_folder", "openvino", "threads"]

Value = TypeVar("Value")

_first = threading.RLock()  # held by the thread that loads OpenVINO; other threads wait for its result

Inputs = dict[str, NDArray[Any]]


def _once(make: Callable[[], Value]) -> Callable[[], Value]:
    """Return a function that computes its value once, also with several threads: ``cache`` alone may do it twice."""
    cached = cache(make)

    @wraps(make)
    def value() -> Value:
        with _first:
            return cached()

    return value


def cache_folder() -> Path | None:
    """Return the cache folder, in ``COMMONPLACE_CACHE`` or else the user's cache folder; None if it cannot be used.

    It holds compiled models and features. A folder that other users can write to is not used.
    """
    base = os.environ.get("COMMONPLACE_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "commonplace"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A compiled model is code: never load one from a folder that another user can write to.
        state = folder.stat()
        if hasattr(os, "getuid") and (state.st_uid != os.getuid() or state.st_mode & 0o022):
            return None
        str(folder).encode()  # OpenVINO accepts no other names
    except (OSError, RuntimeError, ValueError):
        return None
    return folder if os.access(folder, os.W_OK) else None


@_once
def openvino() -> Any:
    """Import OpenVINO without its telemetry.

    By default the import writes to the home folder and reports to a web service without asking. Where the telemetry
    package cannot be imported, OpenVINO uses a silent replacement of its own.
    """
    silenced = "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules
    if silenced:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # None makes the import system treat it as absent
    try:
        module = importlib.import_module("openvino")
        # OpenVINO makes its tables of types at their first use. Two threads that use them first at the same moment wait
        # for each other without end: one for Python's lock, the other for the lock of the table.
        module.Tensor(np.zeros(1, np.float32)).get_element_type().to_dtype()
        return module
    finally:
        if silenced:
            del sys.modules["openvino_telemetry"]


@_once
def _core() -> Any:
    return openvino().Core()


FULL, INTEGERS = "f32", "i8"
PRECISIONS = (FULL, "bf16", f"{FULL} {INTEGERS}", f"bf16 {INTEGERS}")


def _precision() -> str:
    """Return the precision to compute in: the fastest one, unless ``COMMONPLACE_PRECISION`` names one of PRECISIONS.

    With ``i8``, weights that a file stores in 4 bits are multiplied as 8-bit integers. The variable is read for each
    graph, so that a process may load one graph in full precision.
    """
    wanted = os.environ.get("COMMONPLACE_PRECISION")
    return wanted if wanted in PRECISIONS else _measured_precision()


@cache
def _measured_precision() -> str:
    """Return the fastest precision on this machine.

    Instructions for bfloat16 do not always help. With AMX they are faster. With AVX-512 alone they are faster on one
    machine and 50% slower on another. Integers help with VNNI. So the speed is measured once for each machine, in .3
    seconds.
    """
    core = _core()
    folder = cache_folder()
    machine = [core.get_property("CPU", "FULL_DEVICE_NAME"), openvino().__version__, str(threads()), PRECISIONS]
    file = None if folder is None else folder / f"precision-{hashlib.sha256(repr(machine).encode()).hexdigest()[:16]}"
    if file is not None and file.is_file() and (precision := file.read_text(errors="replace")) in PRECISIONS:
        return precision
    precision = _fastest(core)
    if file is not None:
        with suppress(OSError):  # the disk is full: the next process measures again
            shadow = file.with_suffix(f".{os.getpid()}.part")
            shadow.write_text(precision)
            shadow.replace(file)
    return precision


def _fastest(core: Any) -> str:
    """Return the fastest precision for linear maps of a tower's size; the next one must gain over 10%."""
    ops = importlib.import_module("openvino.opset13")
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(512, 384)).astype(np.float32)
    wide, narrow = (draw.normal(size=shape).astype(np.float32) for shape in ((1536, 384), (384, 1536)))
    capable = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    runs = {}
    for precision in PRECISIONS:
        if "bf16" in precision and not capable:
            continue
        start = ops.parameter(list(rows.shape), np.float32)
        product = linear if INTEGERS in precision else lambda x, weights: ops.matmul(x, weights, False, True)
        model = openvino().Model([product(ops.relu(product(start, wide)), narrow)], [start])
        with suppress(RuntimeError):  # OpenVINO may offer integers and have no code for this processor
            run = core.compile_model(model, "CPU", _settings(precision)).create_infer_request()
            run.infer([rows])
            runs[precision] = run
    best = dict.fromkeys(runs, float("inf"))
    for _round in range(6):  # alternate, and use the shortest time of each, to reduce the effect of other programs
        for precision, run in runs.items():
            start_time = time.perf_counter()
            run.infer([rows])
            best[precision] = min(best[precision], time.perf_counter() - start_time)
    chosen = "bf16" if best.get("bf16", float("inf")) < 0.9 * best[FULL] else FULL
    integers = f"{chosen} {INTEGERS}"
    return integers if best.get(integers, float("inf")) < 0.9 * best[chosen] else chosen


def _settings(precision: str) -> dict[str, str]:
    """Return OpenVINO's settings for a precision."""
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision.split()[0]}
    if INTEGERS in precision:
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = str(GROUP)
    return settings


def _branch(model: Any, output: str | int) -> Any:
    """Return the part of a model that computes one output, with the inputs that it needs."""
    port = model.output(output)
    needed, to_visit = {}, [port.get_node()]
    while to_visit:
        node = to_visit.pop()
        if node.get_friendly_name() not in needed:
            needed[node.get_friendly_name()] = node
            to_visit += [value.get_node() for value in node.input_values()]
    inputs = [parameter for parameter in model.get_parameters() if parameter.get_friendly_name() in needed]
    return openvino().Model([port.get_node()], inputs)


def _compiled(core: Any, model: Any, settings: dict[str, str]) -> Any:
    """Return the compiled model; without the cache if that fails: several processes may fill it at once, or a disk."""
    try:
        return core.compile_model(model, "CPU", settings)
    except RuntimeError:
        if "CACHE_DIR" not in settings:
            raise
        return core.compile_model(model, "CPU", {name: settings[name] for name in settings if name != "CACHE_DIR"})


class Graph:
    """A compiled ONNX file: maps arrays by input name to one float32 array.

    ``output`` is the name or the index (from 0) of the output. With ``inputs`` (names), only the part of the graph from
    these to the output is compiled, since one file may hold both towers. ``prepare`` may change the model before it is
    compiled. The precision is the fastest one on this machine: bfloat16 or float32, and 8-bit integers for linear maps
    whose weights the file stores in 4 bits. ``COMMONPLACE_PRECISION=f32`` selects float32. Raises ModelError if the
    file cannot be run.
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
        precision = _precision()
        settings = _settings(precision)
        folder = cache_folder()
        if folder is not None:
            # OpenVINO's key of a compiled model does not include the precision. A model that was compiled for float32
            # and is loaded for bfloat16 fails or gives NaN (2026.0 to 2026.4), so each precision has its own folder.
            settings["CACHE_DIR"] = str(folder / "compiled" / precision.replace(" ", "-"))
        try:
            model = core.read_model(str(path))
            names = {name for port in model.inputs for name in port.names}
            if not names <= set(inputs) and inputs:
                model = _branch(model, output)
            if prepare is not None:
                model = prepare(model)
            if INTEGERS in precision:
                model = with_integer_weights(model)
            self._compiled = _compiled(core, model, settings)
            self._port = self._compiled.output(output)
        except RuntimeError as problem:
            reason = str(problem).strip().splitlines()[-1]
            raise ModelError(
                _("the model file {path} cannot be run ({reason}): install the model again").format(
                    path=path, reason=reason
                )
            ) from problem
        self.inputs = frozenset(name for port in self._compiled.inputs for name in port.names)
        self.precision = precision

    def map(
        self,
        batches: Sequence[Inputs],
        reduce: Callable[[NDArray[np.float32], Inputs], NDArray[np.float32]] = lambda output, _: output.copy(),
        *,
        output: str | None = None,
    ) -> list[NDArray[np.float32]]:
        """Return ``reduce(output, inputs)`` for each batch, in order. The output array is valid only during that call.

        ``output`` is the name of another output of the graph (default: the one of the constructor).
        """
        port = self._port if output is None else self._compiled.output(output)
        request = self._compiled.create_infer_request()  # one for each call: threads cannot share a request
        results = []
        for inputs in batches:
            request.infer(inputs, share_inputs=True)
            results.append(reduce(request.get_tensor(port).data, inputs))
        return results

    def several(self, inputs: Inputs, outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return the outputs named in ``outputs`` for one batch, in that order."""
        request = self._compiled.create_infer_request()
        request.infer(inputs, share_inputs=True)
        return [request.get_tensor(self._compiled.output(name)).data.copy() for name in outputs]


def threads() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
