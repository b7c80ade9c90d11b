"""Towers and heads from a user's own pictures and captions.

The only room that imports torch at its head (extra ``train``), save ``pairs`` and ``judge``, which need none; only the
verb ``train`` imports it.
"""
