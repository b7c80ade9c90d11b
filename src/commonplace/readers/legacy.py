"""Files of older Office programs (DOC, PPT), converted by LibreOffice where it is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.docx import read_docx
from commonplace.readers.formats import read_whole
from commonplace.readers.parts import File, Part
from commonplace.readers.pptx import read_pptx

__all__ = ["read_doc", "read_ppt"]

_PROGRAMS = ("soffice", "libreoffice")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_SHARE = 0.8  # of the time that a page or part may take


def read_doc(file: File) -> Iterator[Part]:
    """Yield what the reader of DOCX files reads of a converted copy."""
    _convert(file, "doc", "docx")
    yield from read_docx(file)


def read_ppt(file: File) -> Iterator[Part]:
    """Yield what the reader of PPTX files reads of a converted copy."""
    _convert(file, "ppt", "pptx")
    yield from read_pptx(file)


def _convert(file: File, old: str, new: str) -> None:
    """Replace the bytes of ``file`` by those of a converted copy.

    LibreOffice runs with a profile of its own, in which macros are off, and is ended with all its processes when its
    time is over.

    Raises:
        ReadError: LibreOffice is not installed, takes too long, or cannot read the file.
    """
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        raise ReadError(
            _("an older {old} file, which LibreOffice reads: install it, or save the file as {new}").format(
                old=old.upper(), new=new.upper()
            )
        )
    if not file.data.startswith((_OLE, b"\xdb\xa5", b"PO^Q`", b"{\\rtf")):
        raise ReadError(_("damaged: it is no {old} file; save a new copy and add it again").format(old=old.upper()))
    with tempfile.TemporaryDirectory(prefix="commonplace-") as folder:
        source = Path(folder, f"source.{old}")
        source.write_bytes(file.data)
        command = [
            *(program, "--headless", "--norestore", "--nolockcheck", "--nodefault", "--nofirststartwizard"),
            *(f"-env:UserInstallation={Path(folder, 'profile').as_uri()}", "--convert-to", new),
            *("--outdir", folder, str(source)),
        ]
        # A session of its own, so that the processes that it starts can be ended with it.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_lift_limits,
        )
        seconds = _SHARE * file.options.step_seconds
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ReadError(
                _("LibreOffice took over {seconds:.0f} s; save the file as {new}").format(
                    seconds=seconds, new=new.upper()
                )
            ) from None
        finally:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        target = Path(folder, f"source.{new}")
        if not target.is_file():
            raise ReadError(_("LibreOffice cannot read it; save it as {new} and add it again").format(new=new.upper()))
        file.data = read_whole(target, file.options.max_bytes)


def _lift_limits() -> None:
    """Give LibreOffice the memory that this process was given before it limited itself."""
    import resource

    with suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
