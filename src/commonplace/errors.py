"""What can go wrong, as one tree; every message says what happened, then what to do.

::

    CommonplaceError
    ├── CollectionError      the collection cannot be opened or written
    │   ├── VersionError     made by a newer version of Commonplace
    │   └── ModelMismatch    made with another model
    ├── ModelError           a model bundle is missing, damaged or of an unknown format
    ├── ReadError            a file or record cannot be read (in the report of an ``add``, which goes on)
    ├── SourceError          an iterable that was being added raised an error
    ├── ClusterError         a Ray cluster cannot be reached, or has no machine that can work
    ├── QueryError           a question, filter or option makes no sense
    ├── GeneratorError       a language model or its server gave no answer that can be used
    └── TrainingError        a training run has nothing to learn from, broke off, or led to nothing better
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ClusterError",
    "CollectionError",
    "CommonplaceError",
    "GeneratorError",
    "ModelError",
    "ModelMismatch",
    "QueryError",
    "ReadError",
    "SourceError",
    "TrainingError",
    "VersionError",
]


class CommonplaceError(Exception):
    """Base of every error that Commonplace raises on purpose."""


class CollectionError(CommonplaceError):
    """The collection cannot be opened or written."""


class VersionError(CollectionError):
    """The collection was made by a newer version."""


class ModelMismatch(CollectionError):
    """The collection was made with another model."""


class ModelError(CommonplaceError):
    """A model bundle is missing, damaged or of an unknown format."""


class ReadError(CommonplaceError):
    """A file or record cannot be read; the message is one line."""


class SourceError(CommonplaceError):
    """An iterable that was being added raised an error, which is the cause of this one.

    What came before it was added: ``report`` is the ``commonplace.Report`` of that.
    """

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class ClusterError(CommonplaceError):
    """A Ray cluster cannot be reached, or has no machine that can work."""


class QueryError(CommonplaceError):
    """A question, filter or option makes no sense."""


class GeneratorError(CommonplaceError):
    """A language model or its server gave no answer that can be used."""


class TrainingError(CommonplaceError):
    """A training run has nothing to learn from, broke off, or led to nothing better."""
