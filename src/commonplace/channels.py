"""Channels as data: what is embedded of an item, by which encoder, and which part of a query asks for it.

Another package adds a modality (sounds, video frames) with a reader, encoders and a few specs, and no change here:

- a reader (entry point group ``commonplace.readers``) yields ``commonplace.readers.ContentBlock``;
- ``commonplace.encoders``: the entry point's name is the encoder's, its object is called without arguments and returns
  an ``commonplace.encoders.Encoder``;
- ``commonplace.channels``: each object is a ``ViewSpec``, a ``ChannelSpec``, or a sequence of these.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ModelError
from commonplace.types import IMAGE, MODALITIES, TEXT

__all__ = [
    "BOTH",
    "CROSSMODAL",
    "IMAGE_TO_SEMANTIC",
    "ITEM",
    "JOINT",
    "TEXT_TO_TEXT",
    "ChannelSpec",
    "QueryVectors",
    "ViewSpec",
    "channels_of",
    "forget_plugins",
    "known_modalities",
    "modality_of",
    "registered_encoders",
    "registered_specs",
    "views_of",
]

Vector = NDArray[np.float32]

VISUAL = "visual"
CROSSMODAL = "text_crossmodal"
BOTH = "both"
"""The part of a query that is words and a picture composed into one vector."""
ITEM = "item"
"""The view that is the text and the picture of an item fused into one vector."""
IMAGE_TO_SEMANTIC = "image->semantic"
TEXT_TO_TEXT = "text->text"
JOINT = (TEXT, IMAGE)
"""The modalities whose vectors early fusion may put together, in queries and in items."""


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """What is embedded of an item: the partition ``name`` holds one vector for each item with content of ``modality``.

    ``encoder`` is the name of the encoder that makes the vector.
    """

    name: str
    modality: str
    encoder: str


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """One way in which a part of a query asks for a view of items.

    - ``name``: its name in score breakdowns, ``asked_by->...``; weights and measured curves go by it.
    - ``view``: the partition that is searched.
    - ``encoder``: the name of the encoder that turns the part of the query into a vector of that partition's space.
    - ``asked_by``: the part of the query: ``text``, ``image``, or the modality of a plug-in.
    - ``cross_modal``: whether the partition's hubness corrections are subtracted.
    - ``beside``: asked only where the query has this part as well; empty: always.
    """

    name: str
    view: str
    encoder: str
    asked_by: str
    cross_modal: bool = False
    beside: str = ""

    def __post_init__(self) -> None:
        part, arrow, view = self.name.partition("->")
        if part != self.asked_by or not arrow or not view or view == ITEM or not part or part == BOTH:
            raise ModelError(f"the channel {self.name!r} asked by {self.asked_by!r} is misnamed: call it PART->VIEW")

    @property
    def joint(self) -> bool:
        """Whether early fusion may take its place: it is built in, between the words and pictures of one space."""
        return self.asked_by in JOINT and any(view.name == self.view for view in _VIEWS)


@dataclass(frozen=True, slots=True)
class QueryVectors:
    """A query as vectors.

    - ``by_encoder``: a unit vector (dim,) by the name of the encoder that made it. A part that the query lacks, or that
      no encoder can read, has none.
    - ``channels``: what the query asks, each channel with its vector; see ``commonplace.space.Space.channels()``.
    - ``notes``: why a part of the query has no vector, in words.
    - ``query_shortness``: how short a query in words alone reads, in [0, 1]; it was subtracted from the vector.
    - ``separate_text``: words find texts in a space of their own, which holds no pictures.
    """

    by_encoder: Mapping[str, Vector] = field(default_factory=dict)
    channels: tuple[tuple[ChannelSpec, Vector], ...] = ()
    notes: tuple[str, ...] = ()
    query_shortness: float = 0.0
    separate_text: bool = False

    @property
    def text(self) -> Vector | None:
        """The words, as texts are compared with them; None without."""
        return self.by_encoder.get(TEXT)

    @property
    def image(self) -> Vector | None:
        """The picture, as texts are compared with it; None without."""
        return self.by_encoder.get(IMAGE)

    @property
    def crossmodal_text(self) -> Vector | None:
        """The words, as pictures are compared with them; None without."""
        return self.by_encoder.get(CROSSMODAL if self.separate_text else TEXT)


_VIEWS = (
    ViewSpec(TEXT, TEXT, TEXT),
    ViewSpec(IMAGE, IMAGE, IMAGE),
    ViewSpec(CROSSMODAL, TEXT, CROSSMODAL),
    ViewSpec(VISUAL, IMAGE, VISUAL),
)
"""The views of the built-in modalities; a space has those whose encoder it has."""


def views_of(encoders: Container[str]) -> tuple[ViewSpec, ...]:
    """Return the built-in views that these encoders (names) can make."""
    return tuple(view for view in _VIEWS if view.encoder in encoders)


def channels_of(encoders: Container[str], *, separate_text: bool) -> tuple[ChannelSpec, ...]:
    """Return the built-in channels between the views that these encoders (names) make.

    Pictures are compared by how they look where an encoder tells; then a picture beside words is also compared by what
    it shows. ``separate_text``: words and texts have a space of their own, and meet pictures by ``text_crossmodal``.
    """
    crossmodal = CROSSMODAL if separate_text else TEXT
    looks = VISUAL if VISUAL in encoders else IMAGE
    specs = [
        ChannelSpec(TEXT_TO_TEXT, TEXT, TEXT, TEXT),
        ChannelSpec("text->image", IMAGE, crossmodal, TEXT, cross_modal=True),
        ChannelSpec("image->text", crossmodal, IMAGE, IMAGE, cross_modal=True),
        ChannelSpec("image->image", looks, looks, IMAGE),
    ]
    if looks == VISUAL:
        specs.append(ChannelSpec(IMAGE_TO_SEMANTIC, IMAGE, IMAGE, IMAGE, beside=TEXT))
    views = {view.name for view in views_of(encoders)}
    return tuple(spec for spec in specs if spec.encoder in encoders and spec.view in views)


def registered_specs() -> tuple[tuple[ViewSpec, ...], tuple[ChannelSpec, ...]]:
    """Return the views and channels that installed packages add. Raises ModelError for an object of another type."""
    views: list[ViewSpec] = []
    channels: list[ChannelSpec] = []
    for name, plugin in _plugins("commonplace.channels").items():
        for spec in plugin if isinstance(plugin, Sequence) else (plugin,):
            if isinstance(spec, ViewSpec):
                views.append(spec)
            elif isinstance(spec, ChannelSpec):
                channels.append(spec)
            else:
                raise ModelError(f"the plug-in {name} of commonplace.channels gives no spec ({spec!r:.60}): remove it")
    return tuple(views), tuple(channels)


@cache
def registered_encoders() -> Mapping[str, Any]:
    """Return the encoders that installed packages add, by name, each made once. Raises ModelError where one fails."""
    encoders = {}
    for name, make in _plugins("commonplace.encoders").items():
        try:
            encoders[name] = make()
        except Exception as problem:  # it is another package's code
            raise ModelError(f"the plug-in encoder {name} cannot be made ({_reason(problem)}): remove it") from problem
    return encoders


@cache
def _plugins(group: str) -> dict[str, Any]:
    objects = {}
    for entry in entry_points(group=group):
        try:
            objects[entry.name] = entry.load()
        except Exception as problem:  # it is another package's code
            reason = _reason(problem)
            raise ModelError(f"the plug-in {entry.name} of {group} cannot be loaded ({reason}): remove it") from problem
    return objects


def _reason(problem: Exception) -> str:
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0][:200]}" if lines else type(problem).__name__


def forget_plugins() -> None:
    """Look for installed plug-ins again at the next use."""
    registered_encoders.cache_clear()
    _plugins.cache_clear()


def known_modalities() -> tuple[str, ...]:
    """Return the modalities that items can have: the built-in ones and those of plug-ins."""
    views, channels = registered_specs()
    added = [view.modality for view in views] + [channel.asked_by for channel in channels]
    return tuple(dict.fromkeys([*MODALITIES, *added]))


def modality_of(channel: str) -> str:
    """Return the modality of the view that a channel asks for, by the channel's name."""
    if channel == IMAGE_TO_SEMANTIC:
        return IMAGE
    views, channels = registered_specs()
    modalities = {view.name: view.modality for view in (*_VIEWS, *views)}
    view = next((spec.view for spec in channels if spec.name == channel), channel.partition("->")[2])
    return modalities.get(view, view)
