"""The verbs ``serve`` and ``keys``: the HTTP server, and who may use it."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from commonplace.cli.common import answer_options, collection_of, generator_of, model_of
from commonplace.cli.printing import print_json
from commonplace.display import printable
from commonplace.i18n import _

if TYPE_CHECKING:
    import socket

    import uvicorn

    from commonplace.server import Library

MB = 1024**2


def verbs(verb: Any) -> None:
    """Add the verbs of this group to the command."""
    verb(
        "serve",
        _serve,
        _("serve collections over HTTP (needs the extra serve)"),
        "commonplace serve --port 8421",
        _serve_options,
    )
    verb(
        "keys",
        _keys_list,
        _("make, list and remove keys of the server"),
        "commonplace keys add team --allow read",
        _keys_options,
    )


def _serve_options(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help=_("address to listen on; others than loopback need a key (default: 127.0.0.1)"),
    )
    serve.add_argument("--port", type=int, default=8421, help=_("port to listen on (default: 8421)"))
    serve.add_argument(
        "--collections",
        metavar="DIR",
        help=_("serve every collection in this folder; they can be created and removed over HTTP"),
    )
    serve.add_argument(
        "--serve",
        dest="places",
        metavar="NAME=PLACE",
        action="append",
        default=[],
        help=_("serve this collection under a name: a folder or a milvus:// address; may be repeated"),
    )
    serve.add_argument(
        "--watch",
        metavar="DIR",
        action="append",
        default=[],
        help=_(
            "keep this folder in step with the collection (NAME=DIR: with the collection of that name); may be repeated"
        ),
    )
    serve.add_argument(
        "--host-name", metavar="NAME", action="append", default=[], help=_("name under which clients reach the server")
    )
    serve.add_argument(
        "--origin", metavar="URL", action="append", default=[], help=_("web origin whose pages may call the server")
    )
    serve.add_argument("--max-upload", type=int, metavar="MB", default=200, help=_("largest upload (default: 200)"))
    serve.add_argument(
        "--concurrency", type=int, metavar="N", default=4, help=_("searches that run at once (default: 4)")
    )
    serve.add_argument(
        "--rate", type=int, metavar="N", default=0, help=_("requests a minute for each key (default: no limit)")
    )
    serve.add_argument(
        "--workers",
        type=int,
        metavar="N",
        default=1,
        help=_("processes that serve the same collections; --concurrency and --rate are for each (default: 1)"),
    )
    serve.add_argument("--mcp-add", action="store_true", help=_("let agents add documents over /mcp"))
    serve.add_argument("--open", action="store_true", help=_("open the server in the browser"))
    answer_options(serve)


def _keys_options(keys: argparse.ArgumentParser) -> None:
    keys.add_argument("--json", action="store_true", help=_("print one JSON object"))
    what = keys.add_subparsers(metavar="WHAT")
    add = what.add_parser("add", help=_("make a key; it is shown once"))
    add.set_defaults(run=_keys_add)
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "--allow",
        metavar="VERB",
        action="append",
        choices=("read", "write", "admin"),
        help=_("what it allows: read, write or admin; may be repeated (default: read)"),
    )
    add.add_argument(
        "--in", dest="collections", metavar="NAME", action="append", help=_("only in this collection; may be repeated")
    )
    add.add_argument(
        "--where",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help=_("only documents with this metadata, whatever a query asks for"),
    )
    list_ = what.add_parser("list", help=_("list the keys, without their secrets"))
    list_.set_defaults(run=_keys_list)
    list_.add_argument("--json", action="store_true", help=_("print one JSON object"))
    remove = what.add_parser("remove", help=_("remove a key: it stops working at once"))
    remove.set_defaults(run=_keys_remove)
    remove.add_argument("name", metavar="NAME")


def _serve(options: argparse.Namespace) -> int:
    from commonplace.errors import CommonplaceError, QueryError

    try:
        import fastapi  # noqa: F401  # the first of what the extra brings
        import uvicorn  # noqa: F401
    except ImportError:
        raise CommonplaceError(_("serve needs the extra serve: run `pip install 'commonplace-rag[serve]'`")) from None
    import secrets
    from functools import partial

    from commonplace.server import KeyFile
    from commonplace.server.keys import default_key_file

    if options.workers < 1:
        raise QueryError(_("--workers is {workers}: give a number of processes from 1").format(workers=options.workers))
    # Each process gets the same: a key that is removed later opens nothing, and a link works at all of them.
    needs_key = bool(KeyFile(default_key_file()).keys())
    make_server = partial(_server, options, secrets.token_bytes(32), needs_key)
    server = make_server()
    if options.workers > 1:
        _open_once(server.config.app.state.server.library)  # type: ignore[union-attr]
    listener = _listening(options.host, options.port)
    address = _address(options.host, listener.getsockname()[1])
    print(_("serving at {address} (stop with Ctrl+C)").format(address=address), file=sys.stderr, flush=True)
    if options.open:
        import webbrowser

        webbrowser.open(address)
    if options.workers > 1:
        from commonplace.server.workers import run_workers

        return run_workers(make_server, listener, options.workers)
    server.run(sockets=[listener])
    return 0


def _server(options: argparse.Namespace, secret: bytes, needs_key: bool) -> uvicorn.Server:
    """Return the server that the options describe."""
    import logging

    import uvicorn

    from commonplace.server import KeyFile, ServerSettings, create_app
    from commonplace.server.keys import default_key_file

    logging.getLogger("commonplace").addHandler(logging.NullHandler())  # a worker process has none yet
    library = _library(options)
    settings = ServerSettings(
        host=options.host,
        port=options.port,
        hosts=tuple(options.host_name),
        origins=tuple(options.origin),
        max_upload=options.max_upload * MB,
        concurrency=options.concurrency,
        rate=options.rate,
        mcp_add=options.mcp_add,
        watched=tuple(_watched(text, library) for text in options.watch),
    )
    app = create_app(library, keys=KeyFile(default_key_file()), settings=settings, secret=secret, needs_key=needs_key)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=20,
        limit_concurrency=None,
        h11_max_incomplete_event_size=64 * 1024,
    )
    return uvicorn.Server(config)


def _open_once(library: Library) -> None:
    """Open each collection and close it: what is wrong with one is said once, and the processes find it there."""
    for name in library.names():
        library.get(name)
    library.close()


def _library(options: argparse.Namespace) -> Library:
    from pathlib import Path

    from commonplace.errors import QueryError
    from commonplace.server import Library

    places: dict[str, str] = {}
    for text in options.places:
        name, equals, place = text.partition("=")
        if not equals or not place:
            raise QueryError(_("--serve {text} has no place: write NAME=FOLDER").format(text=text))
        places[name] = place
    if not places and options.collections is None:
        places["default"] = collection_of(options)
    folders = [Path(place) for place in places.values() if "://" not in place]
    return Library(
        places,
        options.collections,
        model=model_of(options),
        generator=generator_of(options, [*folders, Path.cwd()]),
        token=getattr(options, "token", None),
    )


def _watched(text: str, library: Library) -> tuple[str, str]:
    """Return the name of a collection and the folder that is kept in step with it."""
    from commonplace.errors import QueryError

    names = library.names()
    name, equals, folder = text.partition("=")
    if not equals or name not in names:
        if len(names) != 1:
            raise QueryError(_("--watch {text} names no collection: write NAME=DIR").format(text=text))
        name, folder = names[0], text
    library.get(name).watch(folder).close()  # says what is wrong with it
    return name, folder


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that the address which is printed can be opened at once."""
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as problem:
        from commonplace.errors import CommonplaceError

        reason = os.strerror(problem.errno) if problem.errno else str(problem)
        raise CommonplaceError(
            _("{host}:{port} cannot be opened ({reason}): choose another --port or --host").format(
                host=host, port=port, reason=reason
            )
        ) from None


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _keys_add(options: argparse.Namespace) -> int:
    from commonplace.filters import parse_where
    from commonplace.server.keys import KeyFile, default_key_file

    parse_where(options.where)  # says what is wrong with a condition
    file = KeyFile(default_key_file())
    secret = file.add(options.name, options.allow or ["read"], options.collections, options.where)
    print(secret)
    print(_("the key is shown only now: keep it; its hash is in {path}").format(path=file.path), file=sys.stderr)
    return 0


def _keys_list(options: argparse.Namespace) -> int:
    from commonplace.server.keys import KeyFile, default_key_file

    keys = KeyFile(default_key_file()).keys()
    if options.json:
        print_json({"keys": [{name: value for name, value in key.dict().items() if name != "digest"} for key in keys]})
        return 0
    for key in keys:
        collections = _("all collections") if key.collections is None else ", ".join(sorted(key.collections))
        limits = "  ".join([collections, *key.where])
        print(f"{key.name:20} {', '.join(sorted(key.verbs)):18} {printable(limits)}")
    return 0


def _keys_remove(options: argparse.Namespace) -> int:
    from commonplace.server.keys import KeyFile, default_key_file

    KeyFile(default_key_file()).remove(options.name)
    print(_("removed the key {name}").format(name=printable(options.name)))
    return 0
