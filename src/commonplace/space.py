"""The vector space of a collection: its encoders map the views of items and the parts of queries to vectors."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from commonplace.channels import (
    CROSSMODAL,
    ChannelSpec,
    QueryVectors,
    ViewSpec,
    channels_of,
    registered_encoders,
    registered_specs,
    views_of,
)
from commonplace.encoders import DEFAULT_BUNDLE, BaseModel, Bundle, Encoder, PythonEncoder, Role, TextEncoder, find
from commonplace.encoders.audio import AudioTower
from commonplace.errors import ModelError
from commonplace.i18n import _
from commonplace.paths import checked_path
from commonplace.text.language import language_of, normalised_tag, primary_tag
from commonplace.types import AUDIO, IMAGE, TEXT, Content, Item, ParsedDocument, Query, ViewVectors, stable_id

__all__ = ["QueryVectors", "Space", "name_of_model", "open_space", "query_shortness_of"]

MOST_SHORT_TOKENS = 6
"""Maximum number of tokens of a short query. Random letters look like a short query, but have many tokens."""

Known = Callable[[str, Sequence[str]], Mapping[str, NDArray[np.float32]]]
Rows = dict[str, NDArray[np.float32]]


class SoundOptions(TypedDict, total=False):
    """Options of ``commonplace.readers.ReadOptions``."""

    sound_rate: int
    sound_seconds: float


class Space:
    """The vector space of one model, or of two. With a second model ``words``, its space compares words with texts.

    ``views`` are the partitions: ``text``, ``image`` (content of pictures) and, if the model has such an encoder,
    ``visual`` (appearance of pictures). With ``words`` there is also ``text_crossmodal``: texts in the space of
    pictures. Installed packages may add views, encoders and channels (``commonplace.channels``). Vectors with fewer
    than ``dim`` dimensions are padded with zeros, which does not change their cosines.

    Raises ModelError if a model lacks a needed encoder, or if an installed package does not fit the model.
    """

    def __init__(self, bundle: BaseModel, words: BaseModel | None = None) -> None:
        self.bundle = bundle
        self.words = words
        self.text = bundle.text if words is None else words.text
        self.image = bundle.image
        encoders = bundle.encoders
        if words is None:
            self.name, self.dim, self.fingerprint = bundle.name, bundle.dim, bundle.fingerprint
        else:
            if self.text is None or self.image is None:
                model, kind = (words, TEXT) if self.text is None else (bundle, IMAGE)
                raise ModelError(
                    _("the model {name} has no {kind} tower: choose another for {kind}=").format(
                        name=model.name, kind=kind
                    )
                )
            encoders[TEXT] = self.text
            if bundle.text is not None:
                encoders[CROSSMODAL] = bundle.text
            self.name = f"text={words.name},image={bundle.name}"
            self.dim = max(words.dim, bundle.dim)
            self.fingerprint = stable_id("text", words.fingerprint, "image", bundle.fingerprint)
        added_views, added_channels = registered_specs()
        self.views: tuple[ViewSpec, ...] = (*views_of(encoders), *added_views)
        self.specs: tuple[ChannelSpec, ...] = (*channels_of(encoders, separate_text=words is not None), *added_channels)
        added = {
            name: PythonEncoder(plugin, _("plug-in encoder {name}").format(name=name))
            for name, plugin in registered_encoders().items()
        }
        self.encoders: Mapping[str, Encoder] = {**added, **encoders}
        _check_plugins(self, added_views, added_channels)
        self._runner = _Runner(self.encoders, self.dim)

    @property
    def partitions(self) -> tuple[str, ...]:
        """The names of the stored views."""
        return tuple(view.name for view in self.views)

    @property
    def pictures(self) -> tuple[str, ...]:
        """The partitions with views of pictures."""
        return tuple(view.name for view in self.views if view.modality == IMAGE)

    @property
    def plugin_fingerprints(self) -> dict[str, str]:
        """The fingerprints of the encoders of installed packages, by view.

        They are not part of ``fingerprint``: installing a package later does not change the stored views.
        """
        added = {view.name for view in registered_specs()[0]}
        return {view.name: self.encoders[view.encoder].fingerprint for view in self.views if view.name in added}

    @property
    def spec(self) -> dict[str, Any]:
        """The ``score_stats`` and the ``calibration`` of all channels, each from the model whose space it uses."""
        if self.words is None:
            return self.bundle.spec
        of_pictures, of_texts = self.bundle.spec, self.words.spec
        channel = "text->text"
        calibration = dict(of_pictures.get("calibration") or {})
        for name in ("background", "curves"):
            by_channel = (of_texts.get("calibration") or {}).get(name, {})
            calibration[name] = {k: v for k, v in calibration.get(name, {}).items() if k != channel}
            calibration[name] |= {channel: by_channel[channel]} if channel in by_channel else {}
        score_stats = {k: v for k, v in of_pictures.get("score_stats", {}).items() if k != channel}
        score_stats |= {k: v for k, v in of_texts.get("score_stats", {}).items() if k == channel}
        return {"name": self.name, "score_stats": score_stats, "calibration": calibration}

    @property
    def state(self) -> str:
        """Hash of everything that ``offset()`` depends on. A change makes the indexes with its values invalid."""
        return self.bundle.state if self.words is None else stable_id(self.words.state, self.bundle.state)

    @property
    def place(self) -> str:
        """The location of the models, as an argument for ``open_space()``; empty for the shipped model."""
        if self.words is None:
            return self.bundle.place
        return f"text={self.words.place or self.words.name},image={self.bundle.place or self.bundle.name}"

    @property
    def measure(self) -> tuple[str, int]:
        """The path of the ``tokenizer.json`` for chunking, and the maximum number of tokens of a chunk.

        The maximum is the window of the text encoder. Without a text encoder, the shipped model's values are used.
        """
        tower = self.text or Bundle(DEFAULT_BUNDLE).text
        assert tower is not None  # the shipped model has one
        return str(tower.tokenizer_path), tower.room

    @property
    def sound(self) -> SoundOptions:
        """How sound is read for the audio encoder of the model of pictures; empty without one."""
        tower = self.encoders.get(AUDIO)
        if not isinstance(tower, AudioTower):
            return {}
        return {"sound_rate": tower.rate, "sound_seconds": tower.seconds}

    def verify(self) -> None:
        """Compare the models' files with their checksums. Raises ModelError that names the damaged file."""
        for bundle in (self.bundle, self.words):
            if bundle is not None:
                bundle.verify()

    def check(self, *, wait: bool = False) -> None:
        """Run ``verify()`` in a thread, once for each state of a file; see ``commonplace.encoders.Bundle.check()``."""
        for bundle in (self.bundle, self.words):
            if bundle is not None:
                bundle.check(wait=wait)

    def reads(self, text: str) -> bool:
        """Return whether the text encoder knows enough words of ``text`` to encode it."""
        return self.text is not None and self.text.can_encode(text)

    def unknown_language(self, text: str) -> str | None:
        """Return the language of ``text`` if it is none of those that the text model names; None where it is unsure."""
        tags = [normalised_tag(str(tag)) for tag in (self.words or self.bundle).spec.get("languages") or ()]
        languages = {primary_tag(tag) for tag in tags if tag}
        if not tags or None in tags:
            return None
        language = language_of(text)
        return None if language in languages else language

    # --- documents -------------------------------------------------------------------------------------------

    def encode(self, parsed: Sequence[ParsedDocument], known_vectors: Known) -> list[ViewVectors]:
        """Return the vectors of all views of all items: one ``ViewVectors`` for each partition that has rows.

        ``known_vectors(partition, view hashes)`` returns stored vectors, which are not computed again. The pictures of
        these vectors may be missing from the parsed documents.
        """
        vectors: list[ViewVectors] = []
        for views in self._runner.groups(self.views):
            rows: list[tuple[str, str]] = []  # item id, hash of its content
            contents: dict[str, Content] = {}
            encoder = self.encoders[views[0].encoder]
            for document in parsed:
                for item in document.items:
                    content_hash, content = document.content(item, views[0].modality) or ("", None)
                    if not content_hash or (isinstance(content, str) and not _can_encode(encoder, content)):
                        continue
                    rows.append((item.id, content_hash))
                    if content is not None:
                        contents[content_hash] = content
            if rows:
                vectors += self._view_vectors(views, rows, contents, known_vectors)
        return vectors

    def _view_vectors(
        self,
        views: Sequence[ViewSpec],
        rows: Sequence[tuple[str, str]],
        contents: Mapping[str, Content],
        known_vectors: Known,
    ) -> list[ViewVectors]:
        """Return the vectors of views that are encoded together.

        ``rows`` are item ids with the hash of their content. Contents with vectors in all of the partitions are not
        encoded again.
        """
        hashes = list(dict.fromkeys(content_hash for _, content_hash in rows))
        held = {view.name: dict(known_vectors(view.name, hashes)) for view in views}
        missing = [name for name in hashes if any(name not in vectors for vectors in held.values())]
        missing = [name for name in missing if name in contents]
        if missing:
            encoded = self._runner.run(
                [view.encoder for view in views], [contents[name] for name in missing], "document"
            )
            for view in views:
                held[view.name].update(zip(missing, encoded[view.encoder], strict=True))
        view_vectors = []
        for partition, vectors in held.items():
            kept = [(item, name) for item, name in rows if name in vectors]  # without contents not read again
            if kept:
                items, names = (tuple(column) for column in zip(*kept, strict=True))
                row_array = np.array([vectors[name] for name in names], np.float32)
                view_vectors.append(ViewVectors(partition, items, names, row_array))
        return view_vectors

    def partitions_of(self, item: Item) -> frozenset[str]:
        """Return the partitions in which ``encode()`` makes a view of an item, if its content can be read."""
        names = set()
        for view in self.views:
            if view.modality == TEXT:
                text = item.text_view
                has_view = text is not None and _can_encode(self.encoders[view.encoder], text)
            else:
                has_view = item.picture is not None if view.modality == IMAGE else item.modality == view.modality
            if has_view:
                names.add(view.name)
        return frozenset(names)

    def embed(
        self, texts: Sequence[str], compared_with: Literal["text", "image"] = "text", role: Role = "document"
    ) -> NDArray[np.float32] | None:
        """Return a unit vector (n, dim) for each text; None if no encoder can encode text.

        ``compared_with`` is the modality whose space is used. ``role`` tells whether the texts are documents or
        queries.
        """
        bundle = self.words if self.words is not None and compared_with == TEXT else self.bundle
        if bundle.text is None:
            return None
        rows = bundle.text.encode(texts, role)
        return self._runner.wide(bundle.without_shortness(rows)[0] if role == "query" else rows)

    # --- corrections -----------------------------------------------------------------------------------------

    def offset(self, partition: str, vectors: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return the hubness correction (n,) of vectors (n, dim) of a partition, or None.

        It applies to queries of another modality; see ``commonplace.encoders.BaseModel.hubness()``. The correction is
        part of the ranking, not of the vectors.
        """
        view = partition
        if self.words is not None:  # only the partition text_crossmodal compares texts with pictures
            view = {CROSSMODAL: TEXT, TEXT: ""}.get(partition, partition)
        return self.bundle.hubness(view, vectors[:, : self.bundle.dim])

    def text_hubness(self, texts: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return the hubness correction (n,) of texts (n, dim) for queries in words, or None.

        See ``commonplace.encoders.BaseModel.text_hubness()``. It is subtracted at query time and not stored in indexes.
        """
        bundle = self.words or self.bundle
        return bundle.text_hubness(texts[:, : bundle.dim])

    def means(self, role: Role) -> dict[str, NDArray[np.float32]]:
        """Return the mean vectors (dim,) of queries or of documents, by modality: ``text`` and ``image``.

        Empty if the model has none, and for two models, because they do not share a space.
        """
        means = self.bundle.spec.get("means", {}).get(role, {}) if self.words is None else {}
        return {modality: np.asarray(mean, np.float32) for modality, mean in means.items()}

    def questions(self, partition: str, cross_modal: bool) -> NDArray[np.float32] | None:
        """Return query vectors (n, dim) of training data, for measuring the recall of a partition's index.

        With ``cross_modal`` they are queries of another modality than the partition. None if the model has none.
        """
        bundle = self.words if self.words is not None and partition == TEXT else self.bundle
        rows = bundle.questions(TEXT if partition == CROSSMODAL else partition, cross_modal)
        return None if rows is None else self._runner.wide(rows)

    # --- queries ---------------------------------------------------------------------------------------------

    def encode_query(self, query: Query) -> QueryVectors:
        """Return the vectors of one query; see ``encode_queries()``."""
        return self.encode_queries([query])[0]

    def encode_queries(self, queries: Sequence[Query], *, full_text: bool = True) -> list[QueryVectors]:
        """Return the vectors of each query. A part that no encoder can read is left out, with a note.

        ``full_text``: whether words without a vector are searched by full text; the notes say it.
        Each encoder encodes all queries in one batch. Raises ModelError if a vector contains a value that is not a
        finite number.
        """
        parts = [query.parts for query in queries]
        vectors: list[Rows] = [{} for _query in queries]
        shortness = [0.0] * len(queries)
        for part in dict.fromkeys(name for named in parts for name in named):
            numbers = [n for n, named in enumerate(parts) if part in named]
            contents = [parts[n][part] for n in numbers]
            names = list(dict.fromkeys(spec.encoder for spec in self.specs if spec.asked_by == part))
            if part == TEXT:
                self._encode_words(names, dict(zip(numbers, map(str, contents), strict=True)), vectors, shortness)
            else:
                for name, rows in self._runner.run(names, contents, "query").items():
                    for n, row in zip(numbers, rows, strict=True):
                        vectors[n][name] = row
        if not all(np.isfinite(vector).all() for named in vectors for vector in named.values()):
            raise ModelError(
                _(
                    "the model {name} returned a vector with values that are not numbers for this query: try another "
                    "model"
                ).format(name=self.name)
            )
        encoded: list[QueryVectors] = []
        for named, by_encoder, short in zip(parts, vectors, shortness, strict=True):
            # Together with another part, words modify that part, so they are not a generic short query.
            alone = not any(spec.asked_by in named for spec in self.specs if spec.asked_by != TEXT)
            notes = _notes(self, named, by_encoder, full_text)
            unfamiliar = TEXT in named and self.unknown_language(str(named[TEXT])) is not None
            shortness_of_query = short if alone else 0.0
            encoded.append(
                self.query_vectors(by_encoder, notes=notes, query_shortness=shortness_of_query, unfamiliar=unfamiliar)
            )
        return encoded

    def query_vectors(
        self,
        vectors: Mapping[str, NDArray[np.float32]],
        *,
        notes: tuple[str, ...] = (),
        query_shortness: float = 0.0,
        unfamiliar: bool = False,
    ) -> QueryVectors:
        """Return an encoded query from unit vectors (dim,) by the name of their encoder."""
        channels = self.channels(vectors)
        words, picture = vectors.get(TEXT if self.words is None else CROSSMODAL), vectors.get(IMAGE)
        change = None
        if words is not None and picture is not None:
            directions = self.bundle.change(words[: self.bundle.dim], picture[: self.bundle.dim])
            words, picture = self._runner.wide(np.stack(directions))
            change = words, picture
        return QueryVectors(dict(vectors), channels, notes, query_shortness, self.words is not None, change, unfamiliar)

    def channels(
        self, vectors: Mapping[str, NDArray[np.float32]]
    ) -> tuple[tuple[ChannelSpec, NDArray[np.float32]], ...]:
        """Return the channels of a query with these vectors (by encoder), each with its query vector."""
        parts = {spec.asked_by for spec in self.specs if spec.encoder in vectors}
        return tuple(
            (spec, vectors[spec.encoder])
            for spec in self.specs
            if spec.encoder in vectors and (not spec.beside or spec.beside in parts)
        )

    def _encode_words(
        self, names: Sequence[str], words: Mapping[int, str], vectors: Sequence[Rows], shortness: list[float]
    ) -> None:
        """Add the vectors of the queries' words to ``vectors`` by encoder, and set the queries' ``shortness``.

        ``words`` are by the number of the query. Encoders that cannot read the words are skipped.
        """
        for name in names:
            encoder = self.encoders[name]
            readable = {n: text for n, text in words.items() if _can_encode(encoder, text)}
            if not readable:
                continue
            rows = encoder.encode(list(readable.values()), "query")
            if name in (TEXT, CROSSMODAL):
                bundle = self.words if self.words is not None and name == TEXT else self.bundle
                rows, components = bundle.without_shortness(rows)
                if name == TEXT and self.text is not None:
                    for (n, text), component in zip(readable.items(), components, strict=True):
                        shortness[n] = query_shortness_of(self.text, text, float(component))
            for n, row in zip(readable, self._runner.wide(rows), strict=True):
                vectors[n][name] = row


def query_shortness_of(tower: TextEncoder, words: str, component: float) -> float:
    """Return the shortness of a query, in [0, 1]: the shortness ``component`` of its vector; 0 if it has too many
    tokens."""
    return component if component and tower.length(words) <= MOST_SHORT_TOKENS else 0.0


def name_of_model(model: object) -> str:
    """Return the name or folder of a model as a text. Raises ModelError for an object that is neither."""
    if not isinstance(model, str | os.PathLike):
        raise ModelError(
            _(
                "model is of type {type}: give a name, a folder, or encoders as commonplace.Model(text=..., image=...)"
            ).format(type=type(model).__name__)
        )
    return checked_path(model, ModelError)


def open_space(model: str | os.PathLike[str] | BaseModel) -> Space:
    """Return the space of a model.

    ``model`` is a bundle's folder or name, ``text=MODEL,image=MODEL``, or Python encoders (``commonplace.Model``).
    Empty means the shipped model. Raises ModelError if there is no such model.
    """
    if isinstance(model, BaseModel):
        return Space(model)
    name = name_of_model(model) or DEFAULT_BUNDLE.name
    if not name.startswith(("text=", "image=")):
        return Space(Bundle(find(name)))
    match = re.fullmatch(r"text=(?P<text>.+),image=(?P<image>.+)|image=(?P<first>.+),text=(?P<second>.+)", name)
    if match is None:
        raise ModelError(
            _("the model {name!r} is not of the form text=MODEL,image=MODEL: name one model for each").format(name=name)
        )
    texts, pictures = match["text"] or match["second"], match["image"] or match["first"]
    return Space(Bundle(find(pictures)), Bundle(find(texts)))


def _tower_of(encoder: Encoder) -> Any:
    """Return the tower that an encoder is an output of; otherwise the encoder itself."""
    return getattr(encoder, "tower", encoder)


def _can_encode(encoder: Encoder, text: str) -> bool:
    """Return whether an encoder can read a text; True if it has no ``can_encode`` method."""
    can_encode = getattr(encoder, "can_encode", None)
    return can_encode is None or bool(can_encode(text))


def _check_plugins(space: Space, views: Sequence[ViewSpec], channels: Sequence[ChannelSpec]) -> None:
    """Raise ModelError if the specs of installed packages do not fit this space."""
    names = [view.name for view in space.views]
    for name in registered_encoders().keys() & {*space.bundle.encoders, CROSSMODAL}:
        raise ModelError(
            _("the plug-in encoder {name} has the name of an encoder of the model: rename or remove it").format(
                name=name
            )
        )
    specs: list[ViewSpec | ChannelSpec] = [*views, *channels]
    for view in views:
        if names.count(view.name) > 1:
            raise ModelError(
                _("two views have the name {name}: remove one of the packages that add them").format(name=view.name)
            )
    for spec in specs:
        encoder = space.encoders.get(spec.encoder)
        if encoder is None:
            raise ModelError(
                _(
                    "the plug-in {name} needs the encoder {encoder}, which is not installed: install it, or "
                    "remove the plug-in"
                ).format(name=spec.name, encoder=spec.encoder)
            )
        if encoder.dim > space.dim:
            raise ModelError(
                _(
                    "the encoder {encoder} returns {dim} dimensions, but vectors of {name} have "
                    "{space_dim}: choose a model with more dimensions, or remove the plug-in"
                ).format(encoder=spec.encoder, dim=encoder.dim, name=space.name, space_dim=space.dim)
            )
    parts: dict[str, str] = {}  # the query part of each encoder
    for channel in space.specs:
        if parts.setdefault(channel.encoder, channel.asked_by) != channel.asked_by:
            raise ModelError(
                _(
                    "the encoder {encoder} reads the parts {parts} and {asked_by} of "
                    "queries: register it under two names"
                ).format(encoder=channel.encoder, parts=parts[channel.encoder], asked_by=channel.asked_by)
            )
        if channel.view not in names:
            raise ModelError(
                _("the channel {name} needs the view {view}, which does not exist: remove the plug-in").format(
                    name=channel.name, view=channel.view
                )
            )


def _notes(
    space: Space, parts: Mapping[str, Any], vectors: Mapping[str, NDArray[np.float32]], full_text: bool
) -> tuple[str, ...]:
    """Return a note for each part of a query that has no vector, with the reason."""
    notes = []
    searched = _("they were searched by full text only") if full_text else _("they were not searched")
    if TEXT in parts:
        if space.text is None:
            notes.append(
                _("the model {name} cannot encode words: {searched}").format(name=space.name, searched=searched)
            )
        elif TEXT not in vectors:
            notes.append(
                _(
                    "the model {name} does not know most of these words: {searched} "
                    "(for models for other languages, see `commonplace models`)"
                ).format(name=space.name, searched=searched)
            )
        elif language := space.unknown_language(str(parts[TEXT])):
            notes.append(
                _(
                    "the model {name} was not made for this language ({language}): what is found by meaning is "
                    "uncertain"
                ).format(name=(space.words or space.bundle).name, language=language)
            )
        elif space.text.unknown_share(str(parts[TEXT])):
            model = (space.words or space.bundle).name
            notes.append(
                _("the model {name} does not know some of these words: {searched}").format(
                    name=model, searched=searched
                )
            )
        if space.words is not None and CROSSMODAL not in vectors:
            notes.append(_("the model {name} cannot compare these words with pictures").format(name=space.bundle.name))
    for part in parts:
        if part != TEXT and not any(spec.asked_by == part for spec in space.specs):
            what = _("picture") if part == IMAGE else part
            notes.append(
                _("the model {name} has no {part} tower: the {what} was ignored").format(
                    name=space.name, part=part, what=what
                )
            )
    return tuple(notes)


class _Runner:
    """Runs encoders by name. A tower with several outputs runs once. ``dim`` is the length of the resulting vectors."""

    def __init__(self, encoders: Mapping[str, Encoder], dim: int) -> None:
        self._encoders = encoders
        self._dim = dim

    def groups(self, views: Sequence[ViewSpec]) -> list[list[ViewSpec]]:
        """Return the views in groups. The views of a group are outputs of the same tower."""
        groups: dict[int, list[ViewSpec]] = {}
        for view in views:
            groups.setdefault(id(_tower_of(self._encoders[view.encoder])), []).append(view)
        return list(groups.values())

    def run(self, names: Sequence[str], contents: Sequence[Any], role: Role) -> Rows:
        """Return the vectors (n, dim) of the same contents by several encoders (names), by encoder."""
        rows: Rows = {}
        for name in names:
            if name in rows:
                continue
            tower = _tower_of(self._encoders[name])
            outputs = [other for other in names if _tower_of(self._encoders[other]) is tower]
            if len(outputs) > 1:
                by_view = tower.views(contents)
                rows |= {output: self.wide(by_view[output]) for output in outputs}
            else:
                rows[name] = self.wide(self._encoders[name].encode(contents, role))
        return rows

    def wide(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return vectors (n, any length) padded with zeros to ``dim``."""
        return rows if rows.shape[1] == self._dim else np.pad(rows, ((0, 0), (0, self._dim - rows.shape[1])))
