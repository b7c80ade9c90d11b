"""Channels as data: which views of an item are embedded, by which encoder, and which part of a query searches them.

Another package can add a modality (sound, video frames) without a change here. It needs these entry points:

- ``commonplace.readers``: a reader that yields ``commonplace.readers.ContentBlock``;
- ``commonplace.encoders``: the entry point's name is the name of the encoder. Its object is called without arguments
  and returns a ``commonplace.encoders.Encoder``;
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
from commonplace.i18n import _
from commonplace.types import AUDIO, IMAGE, MODALITIES, TEXT

__all__ = [
    "BOTH",
    "CHANGED",
    "CHANGED_TO_IMAGE",
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
"""The query part that combines words and a picture into one vector."""
CHANGED = "changed"
"""The query part that is a picture as words change it: *the same, but in the snow*."""
CHANGED_TO_IMAGE = "changed->image"
ITEM = "item"
"""The view that combines the text and the picture of an item into one vector."""
IMAGE_TO_SEMANTIC = "image->semantic"
TEXT_TO_TEXT = "text->text"
JOINT = (TEXT, IMAGE)
"""The modalities that early fusion may combine, in queries and in items."""


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """A view of items. The partition ``name`` has one vector for each item with content of ``modality``.

    ``encoder`` is the name of the encoder of these vectors.
    """

    name: str
    modality: str
    encoder: str


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A channel: one part of a query searches one view of items.

    - ``name``: the name in score breakdowns, ``asked_by->...``. Weights and measured curves use it as a key.
    - ``view``: the partition that is searched.
    - ``encoder``: the name of the encoder that maps the part of the query into that partition's space.
    - ``asked_by``: the part of the query: ``text``, ``image``, or the modality of a plug-in.
    - ``cross_modal``: whether the partition's hubness corrections are subtracted.
    - ``beside``: the channel is used only if the query also has this part; empty means always.

    Raises ModelError if the name is not of the form ``asked_by->view``.
    """

    name: str
    view: str
    encoder: str
    asked_by: str
    cross_modal: bool = False
    beside: str = ""

    def __post_init__(self) -> None:
        part, arrow, view = self.name.partition("->")
        if part != self.asked_by or not arrow or not view or view == ITEM or not part or part in (BOTH, CHANGED):
            raise ModelError(
                _("the channel {name!r} of the part {asked_by!r} is misnamed: call it PART->VIEW").format(
                    name=self.name, asked_by=self.asked_by
                )
            )

    @property
    def joint(self) -> bool:
        """Whether early fusion may replace this channel. Only built-in channels between words and pictures allow it."""
        return self.asked_by in JOINT and any(view.name == self.view and view.modality in JOINT for view in _VIEWS)


@dataclass(frozen=True, slots=True)
class QueryVectors:
    """The vectors of a query.

    - ``by_encoder``: unit vectors (dim,) by the name of their encoder. Missing and unreadable parts have no vector.
    - ``channels``: the channels of the query, each with its vector; see ``commonplace.space.Space.channels()``.
    - ``notes``: for each part without a vector, the reason.
    - ``query_shortness``: the shortness, in [0, 1], of a query that has only words. It was subtracted from the vector.
    - ``separate_text``: whether words and texts are compared in a separate space without pictures.
    - ``unfamiliar``: whether the words are in a language that the model was not made for.
    - ``change``: two unit vectors (dim,) in the space of pictures, of the words and of the picture. Their weighted sum
      is the picture as the words change it. None if a part is missing.
    """

    by_encoder: Mapping[str, Vector] = field(default_factory=dict)
    channels: tuple[tuple[ChannelSpec, Vector], ...] = ()
    notes: tuple[str, ...] = ()
    query_shortness: float = 0.0
    separate_text: bool = False
    change: tuple[Vector, Vector] | None = None
    unfamiliar: bool = False

    @property
    def text(self) -> Vector | None:
        """The vector of the words for comparison with texts; None without words."""
        return self.by_encoder.get(TEXT)

    @property
    def image(self) -> Vector | None:
        """The vector of the picture in the space of texts; None without a picture."""
        return self.by_encoder.get(IMAGE)

    @property
    def crossmodal_text(self) -> Vector | None:
        """The vector of the words for comparison with pictures; None without words."""
        return self.by_encoder.get(CROSSMODAL if self.separate_text else TEXT)


_VIEWS = (
    ViewSpec(TEXT, TEXT, TEXT),
    ViewSpec(IMAGE, IMAGE, IMAGE),
    ViewSpec(CROSSMODAL, TEXT, CROSSMODAL),
    ViewSpec(VISUAL, IMAGE, VISUAL),
    ViewSpec(AUDIO, AUDIO, AUDIO),
)
"""The views of the built-in modalities. A space has those views whose encoder it has."""


def views_of(encoders: Container[str]) -> tuple[ViewSpec, ...]:
    """Return the built-in views of these encoders (names)."""
    return tuple(view for view in _VIEWS if view.encoder in encoders)


def channels_of(encoders: Container[str], *, separate_text: bool) -> tuple[ChannelSpec, ...]:
    """Return the built-in channels between the views of these encoders (names).

    Pictures are compared by appearance if there is an encoder for it. In a query of words and a picture, the picture is
    then also compared by content. ``separate_text`` tells that words and texts have a separate space, and are compared
    with pictures through ``text_crossmodal``.
    """
    crossmodal = CROSSMODAL if separate_text else TEXT
    appearance = VISUAL if VISUAL in encoders else IMAGE
    specs = [
        ChannelSpec(TEXT_TO_TEXT, TEXT, TEXT, TEXT),
        ChannelSpec("text->image", IMAGE, crossmodal, TEXT, cross_modal=True),
        ChannelSpec("image->text", crossmodal, IMAGE, IMAGE, cross_modal=True),
        ChannelSpec("image->image", appearance, appearance, IMAGE),
        ChannelSpec("text->audio", AUDIO, crossmodal, TEXT),
        ChannelSpec("audio->audio", AUDIO, AUDIO, AUDIO),
    ]
    if appearance == VISUAL:
        specs.append(ChannelSpec(IMAGE_TO_SEMANTIC, IMAGE, IMAGE, IMAGE, beside=TEXT))
    views = {view.name for view in views_of(encoders)}
    return tuple(spec for spec in specs if spec.encoder in encoders and spec.view in views)


def registered_specs() -> tuple[tuple[ViewSpec, ...], tuple[ChannelSpec, ...]]:
    """Return the views and channels of installed packages. Raises ModelError for an object of another type."""
    views: list[ViewSpec] = []
    channels: list[ChannelSpec] = []
    for name, plugin in _plugins("commonplace.channels").items():
        for spec in plugin if isinstance(plugin, Sequence) else (plugin,):
            if isinstance(spec, ViewSpec):
                views.append(spec)
            elif isinstance(spec, ChannelSpec):
                channels.append(spec)
            else:
                raise ModelError(
                    _(
                        "the plug-in {name} of commonplace.channels is not a ViewSpec or ChannelSpec ({spec!r:.60}): "
                        "remove it"
                    ).format(name=name, spec=spec)
                )
    return tuple(views), tuple(channels)


@cache
def registered_encoders() -> Mapping[str, Any]:
    """Return the encoders of installed packages by name; each is created once. Raises ModelError if one fails."""
    encoders = {}
    for name, make in _plugins("commonplace.encoders").items():
        try:
            encoders[name] = make()
        except Exception as problem:  # the code of another package may raise anything
            reason = _reason(problem)
            raise ModelError(
                _("the plug-in encoder {name} cannot be created ({reason}): remove it").format(name=name, reason=reason)
            ) from problem
    return encoders


@cache
def _entry_points() -> Any:
    """Return the entry points of all installed packages, whose files are read once for all groups."""
    return entry_points()


@cache
def _plugins(group: str) -> dict[str, Any]:
    objects = {}
    for entry in _entry_points().select(group=group):
        try:
            objects[entry.name] = entry.load()
        except Exception as problem:  # the code of another package may raise anything
            reason = _reason(problem)
            raise ModelError(
                _("the plug-in {name} of {group} cannot be loaded ({reason}): remove it").format(
                    name=entry.name, group=group, reason=reason
                )
            ) from problem
    return objects


def _reason(problem: Exception) -> str:
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0][:200]}" if lines else type(problem).__name__


def forget_plugins() -> None:
    """Clear the cache of plug-ins, so that the next use looks for installed plug-ins again."""
    registered_encoders.cache_clear()
    _plugins.cache_clear()
    _entry_points.cache_clear()


def known_modalities() -> tuple[str, ...]:
    """Return all modalities of items: the built-in ones and those of plug-ins."""
    views, channels = registered_specs()
    added = [view.modality for view in views] + [channel.asked_by for channel in channels]
    return tuple(dict.fromkeys([*MODALITIES, *added]))


def modality_of(channel: str) -> str:
    """Return the modality of the view that a channel searches, given the channel's name."""
    if channel == IMAGE_TO_SEMANTIC:
        return IMAGE
    views, channels = registered_specs()
    modalities = {view.name: view.modality for view in (*_VIEWS, *views)}
    view = next((spec.view for spec in channels if spec.name == channel), channel.partition("->")[2])
    return modalities.get(view, view)
