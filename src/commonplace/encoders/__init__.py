"""Encoders map views of one kind to float32 rows of unit length. A cross-encoder scores pairs of texts."""

from commonplace.encoders.base import BaseModel, Encoder, Role, TextEncoder, Tokens
from commonplace.encoders.bundle import DEFAULT_BUNDLE, Bundle, ImageTower, TextTower
from commonplace.encoders.cross import CrossEncoder
from commonplace.encoders.presets import find
from commonplace.encoders.python import PLACE, Model, PythonEncoder

__all__ = [
    "DEFAULT_BUNDLE",
    "PLACE",
    "BaseModel",
    "Bundle",
    "CrossEncoder",
    "Encoder",
    "ImageTower",
    "Model",
    "PythonEncoder",
    "Role",
    "TextEncoder",
    "TextTower",
    "Tokens",
    "find",
]
