"""The one inference runtime: OpenVINO on ONNX files, at the precision the processor is best at."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
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

    ``output`` is a name or, from 0, a number. The processor's best precision is used: bf16 where it multiplies
    that natively (AMX, AVX512-BF16), else float32; ``COMMONPLACE_PRECISION=f32`` asks for full precision. With
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
        settings = {"PERFORMANCE_HINT": "LATENCY"}
        if os.environ.get("COMMONPLACE_PRECISION") == "f32":
            settings["INFERENCE_PRECISION_HINT"] = "f32"
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
