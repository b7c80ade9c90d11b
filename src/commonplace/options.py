"""The options of a search or an answer, as a caller writes them and, checked, as the library passes them on.

``SearchOptions`` and ``AskOptions`` describe the keywords of ``commonplace.Collection.search()``,
``ask()``, ``stream()`` and ``chat()``::

    options: cp.SearchOptions = {"modality": "image", "after": "2024", "k": 5}
    hits = kb.search("a dog in the snow", **options)

Inside the library one frozen ``SearchRequest`` carries them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from commonplace.encoders import CrossEncoder
from commonplace.errors import QueryError
from commonplace.filters import Types, Where, filter_of
from commonplace.i18n import _
from commonplace.retrieval import Ranking, Reranker
from commonplace.types import Filter, Modality

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["MAX_HITS", "AddOptions", "AskOptions", "AskRequest", "SearchOptions", "SearchRequest"]

MAX_HITS = 10_000
_FILTERS = ("modality", "path", "media_type", "after", "before", "where")


class AddOptions(TypedDict, total=False):
    """Keywords of ``commonplace.Collection.add()`` and ``watch()`` that say how files are read."""

    workers: int | None
    """How many processes read files, 1 to 256 (default: one a processor)."""
    ocr: bool | None
    """Read the words in pictures (default: with the extra ``ocr``, unless ``COMMONPLACE_OCR`` is 0)."""
    ray: str | None
    """The address of a Ray cluster, whose machines read and embed."""
    time_limit: float | None
    """Seconds of processor time for one file (default: 300); what was read by then is added."""
    encoding: str
    """The encoding of text files, web pages and tables, whatever they say of themselves (default: it is detected)."""
    delete: bool
    """Remove the documents below the given folders whose file is gone. A folder that cannot be reached loses none."""
    delete_many: bool
    """Also where most documents of a folder are gone, which may mean that a disk is missing (default: refused)."""
    speech_model: str | os.PathLike[str] | None
    """A Whisper model for speech: a folder, its name on the hub, or ``none`` to ignore speech (default: the one in
    ``COMMONPLACE_SPEECH_MODEL``; without one, it is noted where there is speech)."""


class SearchOptions(TypedDict, total=False):
    """The keywords of a search; each may be left out.

    Filters narrow the search itself, so that ``k`` hits are returned where that many items are allowed.
    """

    k: int
    """How many hits to return, 1 to 10,000 (default: 10; for an answer: 12 hits to write it from)."""
    modality: Modality | None
    """Only items of this modality: ``text``, ``image``, or one that an installed package adds."""
    path: str | None
    """Only documents with this path, below this folder, or whose path matches this glob (``*`` crosses folders)."""
    media_type: str | None
    """Only documents whose media type matches this glob, such as ``image/*``."""
    after: str | date | None
    """Only documents dated on or after the first day of this year, month or day (a date, or ISO 8601: ``2024-05``)."""
    before: str | date | None
    """Only documents dated before the first day of this year, month or day."""
    where: Where | None
    """Only documents with this metadata: each key with a value, several (any one of which must match) or a range. In
    text ``*`` stands for any characters and case does not matter: ``{"author": "*hopper*", "language": ["en", "en-*"],
    "year": {">=": 2020, "<": 2025}}``. Of a list of such mappings, documents must meet each."""
    min_confidence: float
    """Leave out hits whose confidence is lower, in [0, 1] (default: 0)."""
    ranking: Ranking | None
    """How to query the channels and fuse their scores (default: ``commonplace.Collection.ranking``)."""
    rerank: str | os.PathLike[str] | Reranker | None
    """Read the best passages again and reorder them: ``"maxsim"`` (with the bundled model), the folder of a
    cross-encoder, or any ``commonplace.Reranker``. Pictures keep their ranks."""
    negative: str | None
    """Rank down what is similar to these words."""
    negative_image: Any
    """Rank down what is similar to this picture: a path, bytes, a PIL image or an RGB array."""


class AskOptions(SearchOptions, total=False):
    """The keywords of an answer: those of a search, and three more."""

    nli: str | os.PathLike[str] | CrossEncoder | None
    """A cross-encoder for natural language inference, or its folder. It helps to check each sentence."""
    searched_as: str | None
    """The words to search for in place of the question, such as a follow-up question written out in full."""
    history: Sequence[tuple[str, str]]
    """Earlier questions of a conversation with their answers, oldest first. A language model reads the last ones."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """The options of one search, checked; ``where`` holds all filters."""

    k: int = 10
    where: Filter = field(default_factory=Filter)
    min_confidence: float = 0.0
    ranking: Ranking | None = None
    rerank: str | os.PathLike[str] | Reranker | None = None
    negative: str | None = None
    negative_image: Any = None

    allowed: ClassVar[tuple[str, ...]] = tuple(SearchOptions.__annotations__)

    @classmethod
    def of(cls, options: Mapping[str, Any], types: Types | None = None) -> Self:
        """Return the request for these keywords; ``types`` tells which type a metadata key has in the collection.

        Raises QueryError for an unknown option or an unusable value.
        """
        for name in options:
            if name not in cls.allowed:
                raise QueryError(_unknown(name, cls.allowed))
        filters = {name: options.get(name) for name in _FILTERS}
        values = {name: value for name, value in options.items() if name not in _FILTERS}
        return cls(where=filter_of(**filters, types=types), **values)

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, int) or not 1 <= self.k <= MAX_HITS:
            raise QueryError(_("k is {k!r:.100}: ask for 1 to {max_hits:,} hits").format(k=self.k, max_hits=MAX_HITS))
        least = self.min_confidence
        if isinstance(least, bool) or not isinstance(least, (int, float)) or not 0 <= least <= 1:
            raise QueryError(_("min_confidence is {least!r:.100}: it must be a number from 0 to 1").format(least=least))
        if self.ranking is not None and not isinstance(self.ranking, Ranking):
            raise QueryError(_("ranking is {ranking!r:.100}: give a commonplace.Ranking").format(ranking=self.ranking))
        if not (self.rerank is None or isinstance(self.rerank, (str, os.PathLike)) or hasattr(self.rerank, "scores")):
            raise QueryError(
                _("rerank is {rerank!r:.100}: give a name, a folder or a commonplace.Reranker").format(
                    rerank=self.rerank
                )
            )
        _check_words("negative", self.negative)


@dataclass(frozen=True, slots=True)
class AskRequest(SearchRequest):
    """The options of one answer, checked."""

    k: int = 12
    nli: str | os.PathLike[str] | CrossEncoder | None = None
    searched_as: str | None = None
    history: Sequence[tuple[str, str]] = ()

    allowed: ClassVar[tuple[str, ...]] = tuple(AskOptions.__annotations__)

    def __post_init__(self) -> None:
        SearchRequest.__post_init__(self)
        if not (self.nli is None or isinstance(self.nli, (str, os.PathLike)) or hasattr(self.nli, "scores")):
            raise QueryError(_("nli is {nli!r:.100}: give a cross-encoder or its folder").format(nli=self.nli))
        _check_words("searched_as", self.searched_as)
        pairs = isinstance(self.history, (list, tuple)) and all(map(_is_turn, self.history))
        if not pairs:
            raise QueryError(_("history must hold pairs of a question and its answer, both as strings"))


def _is_turn(turn: object) -> bool:
    return isinstance(turn, (list, tuple)) and len(turn) == 2 and all(isinstance(text, str) for text in turn)


def _check_words(name: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise QueryError(_("{name} is {value!r:.100}: give words, as a string").format(name=name, value=value))


def _unknown(name: str, allowed: Sequence[str]) -> str:
    """Return what to say of an option that does not exist."""
    from difflib import get_close_matches

    nearest = get_close_matches(name, allowed, n=1, cutoff=0.5)
    remedy = (
        _("did you mean {name}?").format(name=nearest[0])
        if nearest
        else _("choose from {allowed}").format(allowed=", ".join(allowed))
    )
    return _("there is no option {name!r:.100}: {remedy}").format(name=name, remedy=remedy)
