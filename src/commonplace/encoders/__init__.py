"""Towers: items of one kind in, float32 rows of unit length out; and a cross-encoder, which reads pairs."""

from commonplace.encoders.bundle import DEFAULT_BUNDLE, Bundle, ImageTower, TextTower, Tokens
from commonplace.encoders.cross import CrossEncoder
from commonplace.encoders.presets import find

__all__ = ["DEFAULT_BUNDLE", "Bundle", "CrossEncoder", "ImageTower", "TextTower", "Tokens", "find"]
