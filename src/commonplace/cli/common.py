"""Code that several verbs share: common options, and opening the collection, model and generator."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any, TypedDict, cast

from commonplace.display import printable
from commonplace.i18n import _

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from commonplace.collection import Collection
    from commonplace.generation import Generator
    from commonplace.options import AskOptions, SearchOptions
    from commonplace.places import Place
    from commonplace.retrieval import Ranking


class ServerOptions(TypedDict):
    """The options of a collection in a server."""

    blobs: str | None
    token: str | None


def encoding_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how texts are encoded."""
    parser.add_argument(
        "--encoding",
        metavar="NAME",
        default="",
        help=_("the encoding of the text files and web pages, such as gbk (default: what they say, or is detected)"),
    )


def reading_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how files are read."""
    parser.add_argument(
        "--workers", type=int, metavar="N", help=_("number of reader processes (default: one per processor)")
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help=_("processor time that reading a file may take; what was read by then is kept (default: 300)"),
    )
    encoding_option(parser)
    parser.add_argument(
        "--ocr",
        action=argparse.BooleanOptionalAction,
        help=_("read the words in pictures (default: if the extra ocr is installed)"),
    )
    speech_option(parser)


def speech_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the model for speech."""
    parser.add_argument(
        "--speech-model",
        metavar="MODEL",
        help=_(
            "the Whisper model that reads speech: a folder, or its name on the hub; none ignores speech (default: "
            "COMMONPLACE_SPEECH_MODEL; without one, it is only noted where there is speech)"
        ),
    )


def filter_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that narrow a search."""
    parser.add_argument("--modality", metavar="NAME", help=_("only this modality: text, image, ..."))
    parser.add_argument(
        "--path", metavar="GLOB", help=_("only documents below this folder, or whose path matches this pattern")
    )
    parser.add_argument("--media-type", metavar="GLOB", help=_("only documents of this type, such as image/*"))
    parser.add_argument(
        "--after",
        metavar="DATE",
        help=_("only documents from this year, month or day (2024, 2024-05, 2024-05-31) or later"),
    )
    parser.add_argument("--before", metavar="DATE", help=_("only documents from before this year, month or day"))
    parser.add_argument(
        "--where",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help=_(
            'only documents with this metadata: author="*hopper*", "year>=2020"; repeat a key to allow either value'
        ),
    )


def query_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a query: its picture, its filters, what to rank down, and how to rank."""
    parser.add_argument("--image", metavar="FILE", help=_("a picture to search by, alone or together with the words"))
    filter_options(parser)
    parser.add_argument("--not", dest="negative", metavar="WORDS", help=_("rank down what is similar to these words"))
    parser.add_argument(
        "--not-image", dest="negative_image", metavar="FILE", help=_("rank down what is similar to this picture")
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=argparse.SUPPRESS,
        metavar="P",
        help=_("leave out hits whose confidence is below this, 0 to 1 (default: 0)"),
    )
    parser.add_argument(
        "--rerank",
        metavar="MODEL",
        help=_("rerank the best passages with a slower model: maxsim (the shipped model) or a cross-encoder's folder"),
    )
    parser.add_argument("--json", action="store_true", help=_("print one JSON object"))


def search_options(options: argparse.Namespace) -> SearchOptions:
    """Return the search options from the command line."""
    from commonplace.options import SearchOptions

    return cast("SearchOptions", _named(options, SearchOptions.__annotations__))


def ask_options(options: argparse.Namespace) -> AskOptions:
    """Return the answer options from the command line."""
    from commonplace.options import AskOptions

    return cast("AskOptions", _named(options, AskOptions.__annotations__))


def _named(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    values = {name: getattr(options, name) for name in names if hasattr(options, name)}
    from commonplace.filters import parse_where

    return {**values, "where": parse_where(options.where)}


def refuse_own_file(kb: Collection, path: str | None) -> None:
    """Raise QueryError if writing to ``path`` would overwrite a document, or a file of the collection itself."""
    from commonplace.errors import QueryError

    if path is None:
        return
    upkeep = kb.store.maintenance
    try:
        target = os.path.realpath(path)
        kept = [os.path.realpath(place) for place in (kb.folder, *(upkeep.paths() if upkeep else ()))]
        inside = any(os.path.commonpath([target, place]) == place for place in kept)
    except ValueError:
        return  # not a valid file name: writing will fail with the reason
    if inside:
        raise QueryError(_("{path} belongs to the collection itself: choose another folder").format(path=path))
    if target in kb:
        raise QueryError(_("{path} is a document of the collection: choose another file").format(path=path))


def answer_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the language model and of checking an answer."""
    answer = parser.add_argument_group(_("language model (also COMMONPLACE_LLM..., or [llm] in commonplace.toml)"))
    answer.add_argument(
        "--llm",
        dest="llm_model",
        metavar="MODEL",
        help=_(
            "openai:NAME (any server that speaks OpenAI's chat API), ollama:NAME, transformers:FOLDER, or none "
            "(default: none)"
        ),
    )
    answer.add_argument("--base-url", metavar="URL", help=_("address of the server (default: OpenAI's)"))
    answer.add_argument(
        "--context", type=int, metavar="N", help=_("size of the model's context in tokens (default: 8192)")
    )
    answer.add_argument(
        "--max-tokens", type=int, metavar="N", help=_("maximum number of tokens of an answer (default: 700)")
    )
    answer.add_argument(
        "--timeout", type=float, metavar="S", help=_("seconds to wait for output of the server (default: 60)")
    )
    answer.add_argument(
        "--fallback",
        action=argparse.BooleanOptionalAction,
        default=None,
        help=_("quote sentences of the documents if the model fails (default: yes)"),
    )
    answer.add_argument(
        "--nli", metavar="DIR", help=_("a cross-encoder for natural language inference, for checking each sentence")
    )


def ranking_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that change the ranking for one call."""
    parser.add_argument(
        "--fusion",
        choices=("calibrated", "rrf"),
        help=_("fusion of the channels (default: stored by tune, else calibrated)"),
    )
    parser.add_argument(
        "--question",
        choices=("late", "sum", "slerp"),
        help=_("search words and picture separately (late), or as one vector (default: late)"),
    )
    parser.add_argument(
        "--views",
        choices=("separate", "fused", "concat"),
        help=_("search an item's text and picture as separate vectors, or as one vector (default: separate)"),
    )


def ranking_of(kb: Collection, options: argparse.Namespace) -> Ranking:
    """Return the collection's ranking, changed by the options of the command line."""
    from dataclasses import replace

    settings = {"method": options.fusion, "question": options.question, "views": options.views}
    settings["diversity"] = getattr(options, "diversity", None)
    return replace(kb.ranking, **{name: value for name, value in settings.items() if value is not None})


def collection_of(options: argparse.Namespace) -> str:
    """Return the folder or URL of the collection, as the user gave it."""
    return getattr(options, "collection", None) or os.environ.get("COMMONPLACE_COLLECTION") or ".commonplace"


def place_of(options: argparse.Namespace) -> Place[Any]:
    """Return the place of the collection."""
    from commonplace.places import place_of

    return place_of(collection_of(options), **server_options(options))


def server_options(options: argparse.Namespace) -> ServerOptions:
    """Return the options of a collection in a server; None for those that were not given."""
    return {"blobs": getattr(options, "blobs", None), "token": getattr(options, "token", None)}


def model_of(options: argparse.Namespace) -> str | None:
    return getattr(options, "model", None) or os.environ.get("COMMONPLACE_MODEL") or None


def open_(options: argparse.Namespace, *, make: bool = False, backup: str | None = None) -> Collection:
    """Open the collection. With ``make`` create it if absent, with the model of the ``backup`` if one is given."""
    from pathlib import Path

    from commonplace.errors import CollectionError
    from commonplace.opening import open_collection
    from commonplace.places import FolderPlace, model_for

    place, model = place_of(options), model_of(options)
    if not place.exists():
        if not make:
            name = collection_of(options) if isinstance(place, FolderPlace) else place.name
            raise CollectionError(
                _("there is no collection in {name}: create one with `commonplace add PATH`").format(name=name)
            )
        if backup is not None and model is None:
            model = str(model_for(FolderPlace(Path(os.path.expanduser(backup))), None))
    folders = (place.folder, Path.cwd()) if isinstance(place, FolderPlace) else (Path.cwd(),)
    generator = generator_of(options, folders)
    return open_collection(collection_of(options), model=model, generator=generator, **server_options(options))


def generator_of(options: argparse.Namespace, folders: Sequence[Path]) -> Generator | None:
    """Return the language model from flags, environment or configuration file, for a verb that answers."""
    if not hasattr(options, "llm_model"):
        return None
    from commonplace.generation import GeneratorSettings

    names = ("base_url", "context", "max_tokens", "timeout", "fallback")
    flags = {"model": options.llm_model, **{name: getattr(options, name) for name in names}}
    generator = GeneratorSettings.read(flags, os.environ, folders).generator()
    if generator is not None:
        print(_("note: {name} writes the answers").format(name=printable(generator.name)), file=sys.stderr)
    return generator
