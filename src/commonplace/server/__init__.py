"""The HTTP server: ``commonplace serve``, or ``create_app()`` for a server of your own. Needs the extra ``serve``."""

from __future__ import annotations

from commonplace.server.app import create_app
from commonplace.server.keys import Key, KeyFile
from commonplace.server.library import Library
from commonplace.server.settings import ServerSettings

__all__ = ["Key", "KeyFile", "Library", "ServerSettings", "create_app"]
