"""Towers: items of one kind in, float32 rows of unit length out."""

from commonplace.encoders.bundle import DEFAULT_BUNDLE, Bundle, ImageTower, TextTower

__all__ = ["DEFAULT_BUNDLE", "Bundle", "ImageTower", "TextTower"]
