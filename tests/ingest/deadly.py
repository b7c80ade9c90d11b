"""Encoders that end their process, never end, or stay in it; a module of its own, which the actors of Ray import."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.encoders.toys import Words


class Deadly(Words):
    """Ends its process at a text that contains POISON."""

    fingerprint = "deadly"

    def __init__(self) -> None:
        pass

    def encode(self, texts: Sequence[str], role: str = "document") -> np.ndarray:
        if any("POISON" in text for text in texts):
            os._exit(9)
        return super().encode(texts, role)


@dataclass
class Stuck(Words):
    """Names in ``folder`` each node of Ray that encodes a document. On the node ``stuck`` it never comes to an end."""

    folder: Path
    stuck: str
    fingerprint = "stuck"

    def encode(self, texts: Sequence[str], role: str = "document") -> np.ndarray:
        import ray

        if ray.is_initialized() and role == "document":
            node = ray.get_runtime_context().get_node_id()
            (self.folder / node).touch()
            if node == self.stuck:
                threading.Event().wait()
        return super().encode(texts, role)


class Local(Words):
    """Cannot be sent to another process."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
