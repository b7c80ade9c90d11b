"""The page at ``/``: static files that talk to the API. Nothing is built, and nothing comes from elsewhere.

It is plain JavaScript modules and not htmx: the API is JSON, and answers come as events. Fragments of HTML would need a
second rendering of everything on the server, and text of documents must never become HTML.
"""

from __future__ import annotations

import hashlib
import secrets
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Response

from commonplace.i18n import _
from commonplace.server.problems import NotFound

__all__ = ["router"]

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
KEPT = "public, max-age=31536000, immutable"  # an address holds the digest of the files, so a new version has others
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; font-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


@cache
def _files() -> dict[str, bytes]:
    """Return the static files by name: a few, small, and the same until the server ends."""
    paths = [path for path in FOLDER.rglob("*") if path.suffix in {*TYPES, ".html"}]
    return {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in sorted(paths)}


@cache
def _digest() -> str:
    digest = hashlib.sha256()
    for name, content in _files().items():
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()[:12]


@router.get("/")
def page() -> Response:
    """Return the page. It needs no key: what it shows comes from the API, which may ask for one."""
    nonce = secrets.token_urlsafe(16)
    text = _files()["index.html"].decode().replace("{nonce}", nonce).replace("{base}", f"/page/{_digest()}")
    headers = {"Content-Security-Policy": POLICY.format(nonce=nonce), "Cache-Control": "no-store"}
    return Response(text, media_type="text/html; charset=utf-8", headers=headers)


@router.get("/favicon.ico")
def icon() -> Response:
    """Return the icon, for browsers that ask for it here."""
    return Response(_files()["icon.svg"], media_type=TYPES[".svg"], headers={"Cache-Control": "max-age=86400"})


@router.get("/page/{digest}/{name:path}")
def static(digest: str, name: str) -> Response:
    """Return a static file. One of another version is not given out under this version's address."""
    content = _files().get(name)
    if content is None or digest != _digest() or name.endswith(".html"):
        raise NotFound(_("there is no page {name!r:.80}").format(name=name))
    return Response(content, media_type=TYPES[Path(name).suffix], headers={"Cache-Control": KEPT})
