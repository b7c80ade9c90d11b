"""What the readers of markup languages share: pictures beside the page, and the numbers of lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import EncodedPicture
from commonplace.readers.formats import read_whole
from commonplace.readers.markdown import local_picture
from commonplace.readers.parts import File

__all__ = ["Counters", "picture_blocks"]


def picture_blocks(file: File, targets: Sequence[str], description: str = "") -> Iterator[EncodedPicture]:
    """Yield the first picture of ``targets`` that exists inside the folder that was added."""
    for target in targets:
        path = local_picture(file, target)
        if path is not None:
            try:
                yield EncodedPicture(read_whole(path, file.options.max_bytes), description, target)
            except ReadError as error:
                file.problems.append(_("picture {target}: {error}").format(target=target, error=error))
            return


class Counters:
    """Numbers the items of nested lists by their depth."""

    def __init__(self) -> None:
        self._numbers: list[int] = []

    def next(self, depth: int, start: int | None = None) -> int:
        """Return the number of the next item at ``depth`` (from 1); ``start`` sets it."""
        self._numbers = self._numbers[:depth] + [0] * (depth - len(self._numbers))
        self._numbers[depth - 1] = start if start is not None else self._numbers[depth - 1] + 1
        return self._numbers[depth - 1]

    def reset(self) -> None:
        """Begin new lists."""
        self._numbers = []
