"""The ``commonplace`` command: one verb for each method of a collection."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from commonplace.types import printable

if TYPE_CHECKING:  # --help must load no model and no index
    from collections.abc import Iterator
    from pathlib import Path

    from commonplace.collection import Collection, Report
    from commonplace.generation import Generator
    from commonplace.retrieval import Ranking
    from commonplace.types import Answer, Block, Document, Hit

__all__ = ["main"]

VERBS = (
    *("add", "search", "ask", "chat", "list", "remove", "status", "eval", "label", "tune"),
    *("doctor", "backup", "restore", "compact", "compress", "migrate", "models"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status: 0 done, 1 an error (one line on standard error), 2 a wrong call."""
    parser = _parser()
    options = parser.parse_args(_with_verb(list(sys.argv[1:] if arguments is None else arguments)))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # file names may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    import logging

    from commonplace.errors import CommonplaceError

    logging.getLogger("commonplace").addHandler(logging.NullHandler())  # the report says what a log would
    try:
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except CommonplaceError as problem:
        print(f"commonplace: {printable(str(problem))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("commonplace: interrupted; what was committed stays, run it again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _with_verb(arguments: list[str]) -> list[str]:
    """Put ``search`` before a bare question: ``commonplace "red seal"``."""
    at = 0
    while at < len(arguments) and arguments[at] in ("--collection", "--model"):
        at += 2
    if at >= len(arguments) or arguments[at] in (*VERBS, "-h", "--help", "--version"):
        return arguments
    if arguments[at].startswith(("--collection=", "--model=")):
        return [arguments[at], *_with_verb(arguments[at + 1 :])]
    return [*arguments[:at], "search", *arguments[at:]]


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    where = common.add_argument_group("collection")
    where.add_argument(
        "--collection",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="folder of the collection (default: COMMONPLACE_COLLECTION, else ./.commonplace)",
    )
    where.add_argument(
        "--model",
        metavar="MODEL",
        default=argparse.SUPPRESS,
        help="a model that was pulled, a bundle's folder, or text=MODEL,image=MODEL (default: COMMONPLACE_MODEL, else "
        "the collection's own, else the one that is shipped)",
    )
    parser = argparse.ArgumentParser(
        prog="commonplace",
        description="Make a folder of documents and pictures answer questions.",
        epilog='A bare question is searched: commonplace "red seal"',
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=f"commonplace {_version()}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, run: Any, what: str, example: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(
            name,
            help=what,
            description=what[0].upper() + what[1:] + ".",
            epilog=f"example:\n  {example}",
            parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.set_defaults(run=run)
        return one

    add = verb(
        "add",
        _add,
        "add files and folders; what is unchanged is left alone",
        "commonplace add papers/ photos/",
    )
    add.add_argument("paths", metavar="PATH", nargs="+")
    add.add_argument("--workers", type=int, metavar="N", help="reader processes (default: one a processor)")
    add.add_argument("--retry", action="store_true", help="read files again that failed before")
    add.add_argument(
        "--ocr",
        action=argparse.BooleanOptionalAction,
        help="read the words in pictures (default: where the extra ocr is installed)",
    )
    add.add_argument("--json", action="store_true", help="print one JSON object")

    find = verb(
        "search",
        _search,
        "find passages and pictures by words, by a picture, or by both",
        'commonplace search "the same, but in snow" --image dog.jpg -k 5',
    )
    find.add_argument("text", metavar="TEXT", nargs="*", help="what to look for; quotes are not needed")
    _question_options(find)
    find.add_argument("-k", type=int, default=10, metavar="N", help="number of hits (default: 10)")
    find.add_argument(
        "--heatmap", metavar="DIR", help="draw into this folder where in each picture that was found the words match"
    )
    find.add_argument("--explain", action="store_true", help="show how each score came about")
    find.add_argument(
        "--diversity",
        type=float,
        metavar="D",
        help="0 to 1: how much likeness to better hits costs a hit (default: 0, or what tune stored)",
    )
    _ranking_options(find)

    ask = verb(
        "ask",
        _ask,
        "answer a question with sentences and pictures, each with its source",
        'commonplace ask "Which pump needs the blue seal?"',
    )
    ask.add_argument("text", metavar="TEXT", nargs="+")
    _question_options(ask)
    _answer_options(ask)
    ask.add_argument("--html", metavar="FILE", help="write the answer as one HTML page that needs nothing else")

    talk = verb(
        "chat",
        _chat,
        "ask questions that build on each other; one a line, `/image FILE` before it for a picture, `/quit` to end",
        "commonplace chat",
    )
    _answer_options(talk)

    list_ = verb("list", _list, "list the documents", "commonplace list --failed")
    list_.add_argument("--failed", action="store_true", help="only those that could not be read, with the reason")
    list_.add_argument("--json", action="store_true", help="print one JSON object")

    remove = verb(
        "remove",
        _remove,
        "remove documents, by path, folder or id, and all that was theirs",
        "commonplace remove photos/2019",
    )
    remove.add_argument("names", metavar="NAME", nargs="*")
    remove.add_argument("--missing", action="store_true", help="remove the documents whose file is gone")

    judge = verb(
        "eval",
        _eval,
        "measure how well labelled questions are answered, and compare with an earlier run",
        "commonplace eval questions.jsonl --json run.json --plots plots",
    )
    judge.add_argument("questions", metavar="QUESTIONS", help="JSON Lines file, see docs/evaluation.md")
    judge.add_argument("-k", type=int, default=10, metavar="N", help="hits of each question that count (default: 10)")
    _ranking_options(judge)
    judge.add_argument("--json", metavar="FILE", help="keep the run in this file")
    judge.add_argument("--compare", metavar="FILE", help="compare with the run kept in this file")
    judge.add_argument("--plots", metavar="DIR", help="draw the run into this folder (needs matplotlib)")

    label = verb(
        "label",
        _label,
        "say whether a hit answers a question, for `commonplace tune` to learn from",
        'commonplace label "blue seal" 3f2a9c… --good',
    )
    label.add_argument("text", metavar="TEXT", help="the question")
    label.add_argument("item", metavar="ITEM", help="id of the hit: see `search --json`")
    label.add_argument("--image", metavar="FILE", help="the question's picture, where it had one")
    verdict = label.add_mutually_exclusive_group(required=True)
    verdict.add_argument("--good", action="store_true", help="it answers the question")
    verdict.add_argument("--bad", action="store_true", help="it does not")

    tune = verb(
        "tune",
        _tune,
        "choose the ranking that suits this collection from labelled questions, and keep it if it is better",
        "commonplace tune questions.jsonl",
    )
    tune.add_argument("questions", metavar="QUESTIONS", nargs="?", help="JSON Lines file (default: your labels)")
    tune.add_argument("-k", type=int, default=10, metavar="N", help="hits of each question that count (default: 10)")
    tune.add_argument("--reset", action="store_true", help="go back to the default ranking")
    _upkeep_verbs(verb)
    _models_verb(verb)

    status = verb("status", _status, "show what the collection holds", "commonplace status")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _upkeep_verbs(verb: Any) -> None:
    doctor = verb("doctor", _doctor, "look for damage in the collection's files", "commonplace doctor --repair")
    doctor.add_argument("--repair", action="store_true", help="mend what can be mended without embedding again")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    keep = verb("backup", _backup, "write the collection into one file, while it is used", "commonplace backup kb.bak")
    keep.add_argument("file", metavar="FILE")
    back = verb("restore", _restore, "take the contents of a backup", "commonplace restore kb.bak")
    back.add_argument("file", metavar="FILE")
    back.add_argument("--replace", action="store_true", help="in place of the documents that the collection holds")
    compress = verb("compress", _compress, "search smaller rows, where that loses nothing", "commonplace compress")
    compress.add_argument("--recall", type=float, default=0.99, metavar="R", help="to be kept, .5 to 1 (default: .99)")
    compress.add_argument("--off", action="store_true", help="search rows as they are again")
    compress.add_argument("--json", action="store_true", help="print one JSON object")
    verb("compact", _compact, "give back the room of what was removed, and leave no trace of it", "commonplace compact")
    change = verb(
        "migrate",
        _migrate,
        "embed everything again with another model (--model; default: the one that is shipped), then search with it",
        "commonplace migrate --model models/clip",
    )
    change.add_argument("--undo", action="store_true", help="go back to the earlier model, or drop what is unfinished")
    change.add_argument("--workers", type=int, metavar="N", help="reader processes (default: one a processor)")


def _models_verb(verb: Any) -> None:
    models = verb("models", _models, "list models, fetch one, measure one", "commonplace models pull siglip2-base")
    models.add_argument("--json", action="store_true", help="print one JSON object")
    what = models.add_subparsers(metavar="WHAT")
    pull = what.add_parser("pull", help="fetch a model once: a name of the list, a hub repository, or a folder")
    pull.set_defaults(run=_models_pull)
    pull.add_argument(
        "what", metavar="MODEL", help="a name of the list, owner/name on the hub, a folder, or openai:NAME on a server"
    )
    pull.add_argument(
        "--base-url", metavar="URL", help="address of the server of openai:NAME; every text is sent there"
    )
    pull.add_argument("--name", metavar="NAME", help="keep it under this name")
    pull.add_argument("--revision", metavar="REV", help="branch, tag or commit (default: the latest)")
    _bundle_options(pull)
    make = what.add_parser("export", help="make a bundle of a PyTorch model (needs the extra export)")
    make.set_defaults(run=_models_export)
    make.add_argument("what", metavar="MODEL", help="what transformers or sentence-transformers load")
    make.add_argument("folder", metavar="DIR", help="the bundle's folder, which is made")
    _bundle_options(make)
    gone = what.add_parser("remove", help="remove a model that was pulled")
    gone.set_defaults(run=_models_remove)
    gone.add_argument("name", metavar="NAME")
    speed = what.add_parser("bench", help="measure how fast a model is here")
    speed.set_defaults(run=_models_bench)
    speed.add_argument("names", metavar="MODEL", nargs="*", help="models or folders (default: the one shipped)")


def _bundle_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--precision", choices=("fp32", "fp16", "int8"), help="of the weights (default: fp32)")
    parser.add_argument(
        "--pooling", choices=("mean", "cls", "max", "last"), help="of a text's tokens, where the model does not say"
    )
    parser.add_argument("--query-prefix", metavar="TEXT", help="what stands before a question")
    parser.add_argument("--document-prefix", metavar="TEXT", help="what stands before a passage")


def _question_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", metavar="FILE", help="a picture that is the question, or a part of it")
    parser.add_argument("--modality", choices=("text", "image"), help="only passages, or only pictures")
    parser.add_argument("--path", metavar="GLOB", help="only documents below this folder, or whose path matches")
    parser.add_argument("--media-type", metavar="GLOB", help="only documents of this type, such as image/*")
    parser.add_argument("--not", dest="without", metavar="WORDS", help="push down what is like these words")
    parser.add_argument("--not-image", metavar="FILE", help="push down what is like this picture")
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="P",
        help="leave out what is less likely to be relevant than this, 0 to 1 (default: 0)",
    )
    parser.add_argument(
        "--rerank",
        metavar="MODEL",
        help="read the best passages again, more slowly: maxsim (with the shipped model) or a cross-encoder's folder",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _answer_options(parser: argparse.ArgumentParser) -> None:
    answer = parser.add_argument_group("language model (also COMMONPLACE_LLM..., or [llm] in commonplace.toml)")
    answer.add_argument(
        "--llm",
        dest="llm_model",
        metavar="MODEL",
        help="openai:NAME (any server that speaks OpenAI's chat API), transformers:FOLDER, or none (default: none)",
    )
    answer.add_argument("--base-url", metavar="URL", help="address of the server (default: OpenAI's)")
    answer.add_argument("--context", type=int, metavar="N", help="tokens that the model can read (default: 8192)")
    answer.add_argument("--max-tokens", type=int, metavar="N", help="tokens of an answer at most (default: 700)")
    answer.add_argument("--timeout", type=float, metavar="S", help="seconds the server may be silent (default: 60)")
    answer.add_argument(
        "--fallback",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="answer with sentences as they stand where the model fails (default: yes)",
    )
    answer.add_argument("--nli", metavar="DIR", help="a cross-encoder that judges entailment, to check sentences with")


def _ranking_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fusion",
        choices=("evidence", "rrf", "relative", "distribution"),
        help="how the arms are fused (default: what tune stored, else evidence)",
    )
    parser.add_argument(
        "--question",
        choices=("late", "sum", "slerp"),
        help="words and picture asked apart, or as one vector (default: late)",
    )
    parser.add_argument(
        "--views",
        choices=("separate", "fused", "concat"),
        help="an item's text and picture as separate vectors, or as one (default: separate)",
    )


def _ranking(kb: Collection, options: argparse.Namespace) -> Ranking:
    """Return the collection's own ranking with what the options change."""
    from dataclasses import replace

    given = {"method": options.fusion, "question": options.question, "views": options.views}
    given["diversity"] = getattr(options, "diversity", None)
    return replace(kb.ranking, **{name: value for name, value in given.items() if value is not None})


def _version() -> str:
    from importlib.metadata import version

    return version("commonplace")


def _collection(options: argparse.Namespace) -> str:
    return getattr(options, "collection", None) or os.environ.get("COMMONPLACE_COLLECTION") or ".commonplace"


def _model(options: argparse.Namespace) -> str | None:
    return getattr(options, "model", None) or os.environ.get("COMMONPLACE_MODEL") or None


def _open(options: argparse.Namespace, *, make: bool = False) -> Collection:
    from pathlib import Path

    from commonplace.collection import open_collection
    from commonplace.errors import CollectionError

    folder, model = _collection(options), _model(options)
    if not make and not Path(os.path.expanduser(folder), "collection.db").exists():
        raise CollectionError(f"there is no collection in {folder}: make one with `commonplace add PATH`")
    return open_collection(folder, model=model, generator=_generator(options, Path(os.path.expanduser(folder))))


def _generator(options: argparse.Namespace, folder: Path) -> Generator | None:
    """Return the language model that flags, environment or a file name, for a verb that answers."""
    if not hasattr(options, "llm_model"):
        return None
    from pathlib import Path

    from commonplace.generation import Settings

    names = ("base_url", "context", "max_tokens", "timeout", "fallback")
    flags = {"model": options.llm_model, **{name: getattr(options, name) for name in names}}
    generator = Settings.read(flags, os.environ, (folder, Path.cwd())).generator()
    if generator is not None:
        print(f"note: {printable(generator.name)} writes the answers", file=sys.stderr)
    return generator


# --- the verbs -----------------------------------------------------------------------------------------------


def _add(options: argparse.Namespace) -> int:
    with _open(options, make=True) as kb:
        report = kb.add(*options.paths, workers=options.workers, retry=options.retry, ocr=options.ocr)
    if options.json:
        _json(_report(report))
    else:
        print(report)
        for note in report.notes:
            print(f"  {note}", file=sys.stderr)
        for name, rows in (("partly read", report.partial), ("failed", report.failed)):
            for path, reason in rows:
                print(f"  {name}: {printable(path)}: {printable(reason)}", file=sys.stderr)
    done = report.added + report.changed + report.moved + report.unchanged
    return 0 if done or not report.failed else 1


def _report(report: Report) -> dict[str, Any]:
    from dataclasses import asdict

    values = asdict(report)
    for name in ("partial", "failed"):
        values[name] = [{"path": path, "reason": reason} for path, reason in values[name]]
    return values


def _search(options: argparse.Namespace) -> int:
    with _open(options) as kb:
        ranking = _ranking(kb, options)
        hits = kb.search(
            " ".join(options.text) or None,
            image=options.image,
            k=options.k,
            modality=options.modality,
            path=options.path,
            media_type=options.media_type,
            without=options.without,
            without_image=options.not_image,
            min_confidence=options.min_confidence,
            ranking=ranking,
            rerank=options.rerank,
        )
        if options.heatmap:
            _heatmaps(kb, hits, " ".join(options.text), options.heatmap)
        for note in hits.notes:
            print(f"note: {note}", file=sys.stderr)
    if options.json:
        _json({"hits": [hit.dict() for hit in hits]})
        return 0
    if not hits:
        print("nothing found")
    for number, hit in enumerate(hits, start=1):
        _print_hit(number, hit, options.explain, ranking.method)
    return 0


def _heatmaps(kb: Collection, hits: Sequence[Hit], text: str, folder: str) -> None:
    """Draw a heat-map of each picture hit into the folder; a picture that cannot be read is noted and left out."""
    from commonplace.errors import QuestionError, ReadError

    if not text:
        raise QuestionError("a heat-map shows where words match: ask with words")
    if os.path.exists(folder) and not os.path.isdir(folder):  # said before the work, not after
        raise QuestionError(f"heat-maps are drawn into a folder, and {folder} is a file: name another")
    for number, hit in enumerate(hits, start=1):
        if hit.image:
            try:
                heat = kb.heatmap(hit, text)
            except ReadError as problem:
                print(f"note: no heat-map: {printable(str(problem))}", file=sys.stderr)
            else:
                print(f"heat-map: {_short(str(heat.save_in(folder, number, hit.image)))}", file=sys.stderr)


def _print_hit(number: int, hit: Hit, explain: bool, method: str) -> None:
    item = hit.item
    print(f"{number:2}  {hit.score:.3f}  {item.modality:5}  {_short(item.document.path)}{_place(hit)}")
    if item.text:
        line = textwrap.shorten(printable(" ".join(item.text.split())), 220, placeholder=" …")
        print(_fill(line, " " * 18))
    if hit.image and hit.image != item.document.path:
        print(f"{'':18}picture: {_short(hit.image)}")
    if hit.copies:
        names = ", ".join(dict.fromkeys(_short(copy.document.path) for copy in hit.copies[:3]))
        more = f" and {len(hit.copies) - 3} more" if len(hit.copies) > 3 else ""
        print(f"{'':18}shown for {len(hit.copies)} near-cop{'y' if len(hit.copies) == 1 else 'ies'}: {names}{more}")
    if explain:
        _print_ledger(hit, method)


_LINES = {
    "lexical": "its words",
    "text->text": "what its text says",
    "text->image": "what its picture shows",
    "image->image": "how like your picture it is",
    "image->text": "what its text says of your picture",
    "text->item": "its text and picture as one",
    "image->item": "its text and picture as one, by your picture",
    "both->text": "what its text says (words and picture as one)",
    "both->image": "what its picture shows (words and picture as one)",
    "both->item": "its text and picture as one (words and picture as one)",
    "crowd": "how much else matches",
    "favour": "your preference for its kind",
    "prior": "the odds before looking",
    "rerank:maxsim": "its words, read again",
}


def _print_ledger(hit: Hit, method: str) -> None:
    """Print how a score came about: what each line found, and what it adds."""
    unit = "log-odds" if method == "evidence" else "adds"
    print(f"{'':18}{'what speaks for it':34}{'raw score':>10}{'place':>7}{'weight':>8}{unit:>10}")
    for line in hit.arms:
        name = _LINES.get(line.arm.removeprefix("not "), line.arm)
        name = f"not wanted: {name}" if line.arm.startswith("not ") else name
        whole = line.rank == 0 and line.arm in ("crowd", "favour", "prior")
        cells = f"{'':25}" if whole else f"{line.score:10.3f}{line.rank or '-':>7}{line.weight:8.2f}"
        print(f"{'':18}{name:34}{cells}{line.contribution:+10.2f}")
    total = sum(line.contribution for line in hit.arms)
    meaning = f"{total:+.2f}, a probability of {hit.score:.0%}" if method == "evidence" else f"{total:.3f}"
    print(f"{'':18}together {meaning}")


def _place(hit: Hit) -> str:
    span = hit.item.span
    parts = []
    if span.member is not None:
        parts.append(printable(span.member))
    if span.page is not None:
        parts.append(f"page {span.page}")
    if hit.item.title:
        parts.append(printable(hit.item.title))
    return f"  ({', '.join(parts)})" if parts else ""


def _ask(options: argparse.Namespace) -> int:
    with _open(options) as kb:
        parts = kb.stream(
            " ".join(options.text),
            image=options.image,
            modality=options.modality,
            path=options.path,
            media_type=options.media_type,
            without=options.without,
            without_image=options.not_image,
            min_confidence=options.min_confidence,
            rerank=options.rerank,
            nli=options.nli,
        )
        answer = _tell(parts, quiet=options.json)
    if options.json:
        for note in answer.notes:
            print(f"note: {printable(note)}", file=sys.stderr)
        _json(answer.dict())
    if options.html:
        from commonplace.errors import QuestionError

        try:
            with open(options.html, "w", encoding="utf-8") as file:
                file.write(answer.html())
        except OSError as problem:
            raise QuestionError(f"the page {options.html} cannot be written ({problem.strerror})") from problem
        print(f"page: {_short(options.html)}", file=sys.stderr)
    return 0


def _chat(options: argparse.Namespace) -> int:
    from commonplace.errors import CommonplaceError

    image: str | None = None
    prompt = sys.stdin.isatty()
    with _open(options) as kb:
        talk = kb.chat(nli=options.nli)
        while True:
            if prompt:
                print("> ", end="", flush=True)
            line = sys.stdin.readline()
            text = line.strip()
            if not line or text in ("/quit", "/exit"):
                return 0
            if text.startswith("/image "):
                image = text.removeprefix("/image ").strip()
                found = os.path.isfile(os.path.expanduser(image))
                said = "goes with the next question" if found else "is no file: check the name"
                print(f"note: {printable(image)} {said}", file=sys.stderr)
                image = image if found else None
                continue
            if text.startswith("/"):
                print("note: there are /image FILE (for the next question) and /quit", file=sys.stderr)
                continue
            if not text:
                continue
            try:
                _tell(talk.stream(text, image=image))
            except CommonplaceError as problem:  # one bad question ends no conversation
                print(f"commonplace: {printable(str(problem))}", file=sys.stderr)
            image = None
            print()


def _tell(parts: Iterator[Any], *, quiet: bool = False) -> Answer:
    """Print an answer while it is written, its sources below; return it."""
    from commonplace.types import Answer, Block, Note

    shown = False
    for part in parts:
        if isinstance(part, Answer):
            if not quiet:
                for note in part.notes:
                    print(f"note: {printable(note)}", file=sys.stderr)
                if part.searched:
                    print(f"note: searched for: {printable(part.searched)}", file=sys.stderr)
                print(part.reason or "" if part.abstained else "\n" + _sources(part), flush=True)
            return part
        if isinstance(part, Note) and part.restart and shown:
            print("(what stands above is taken back: see the note)", flush=True)
        elif isinstance(part, Block) and not quiet:
            shown = True
            print(_block(part), flush=True)
    raise AssertionError("a stream ends with its answer")


def render(answer: Answer) -> str:
    """Return an answer as plain text for a terminal: sentences and pictures with [n], sources below."""
    if answer.abstained:
        return answer.reason or ""
    return "\n".join([*map(_block, answer.blocks), "", _sources(answer)])


def _block(block: Block) -> str:
    marks = "".join(f" [{number}]" for number in block.citations)
    text = printable(block.shown) + marks + (f" {printable(block.doubt)}" if block.doubt else "")
    if block.kind == "image":
        return f"[picture] {text}\n          {_short(block.image or '')}"
    return _fill(text)


def _sources(answer: Answer) -> str:
    return "\n".join(
        f"[{one.number}] {one.place.replace(one.hit.item.document.path, _short(one.hit.item.document.path), 1)}"
        for one in answer.citations
    )


def _list(options: argparse.Namespace) -> int:
    with _open(options) as kb:
        documents = kb.documents(failed=options.failed)
    if options.json:
        _json({"documents": [_row(one) for one in documents]})
        return 0
    for one in documents:
        reason = f"  {printable(one.error)}" if one.error else ""
        print(f"{one.id}  {one.status:7}  {one.items:5}  {one.media_type:18}  {_short(one.path)}{reason}")
    return 0


def _row(one: Document) -> dict[str, Any]:
    return {
        "id": one.id,
        "path": one.path,
        "media_type": one.media_type,
        "status": one.status,
        "items": one.items,
        "error": one.error,
    }


def _remove(options: argparse.Namespace) -> int:
    from commonplace.errors import QuestionError

    if not options.names and not options.missing:
        raise QuestionError("say what to remove: paths, folders or ids, or --missing")
    with _open(options) as kb:
        count = kb.remove(*options.names, missing=options.missing)
    print(f"removed {count} document{'' if count == 1 else 's'}")
    return 0


def _status(options: argparse.Namespace) -> int:
    with _open(options) as kb:
        status = kb.status()
    if options.json:
        _json(status)
        return 0
    print(f"collection  {_short(status['collection'])}  {status['bytes'] / 1e6:.1f} MB")
    print(
        f"model       {status['model']['name']}  {status['model']['fingerprint']}  {status['model']['dim']} dimensions"
    )
    for name in ("documents", "items", "vectors"):
        print(f"{name:10}  " + (", ".join(f"{count} {kind}" for kind, count in sorted(status[name].items())) or "none"))
    if "beside" in status:
        one = status["beside"]
        why = "unfinished: run `commonplace migrate` again" if one["unfinished"] else "kept for `migrate --undo`"
        print(f"{'beside':10}  {one['vectors']} vectors of {one['model']}, {one['bytes'] / 1e6:.1f} MB, {why}")
    for name, one in status["indexes"].items():
        recall = ", ".join(f"{value:.3f} ({kind} kind of question)" for kind, value in sorted(one["recall"].items()))
        behind = one["not_in_snapshot"] + one["removed_since"]
        print(
            f"{'index':10}  {name}: {one['type']}, {one['rows']} rows, recall@10 {recall}, {one['bytes'] / 1e6:.1f} MB"
            + (f", rows of {one['compression']['type']}" if "compression" in one else "")
            + (f", {behind} changes since the snapshot" if one["snapshot_rows"] and behind else "")
            + (f"; {one['problem']}" if "problem" in one else "")
        )
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    with _open(options) as kb:
        faults = kb.doctor(repair=options.repair)
    if options.json:
        _json({"faults": [asdict(one) for one in faults]})
    else:
        for one in faults:
            print(f"{'repaired' if one.repaired else 'fault'}: {one.count}  {printable(one.what)}: {one.remedy}")
        print("nothing is wrong" if not faults else f"{sum(not one.repaired for one in faults)} faults left")
    return 0 if all(one.repaired for one in faults) else 1


def _backup(options: argparse.Namespace) -> int:
    with _open(options) as kb:
        size = kb.backup(options.file)
    print(f"wrote {_short(options.file)}, {size / 1e6:.1f} MB")
    return 0


def _restore(options: argparse.Namespace) -> int:
    with _open(options, make=True) as kb:
        kb.restore(options.file, replace=options.replace)
        count = sum(kb.status()["documents"].values())
    print(f"restored {count} document{'' if count == 1 else 's'}")
    return 0


def _compress(options: argparse.Namespace) -> int:
    with _open(options) as kb:
        made = kb.compress(None if options.off else options.recall)
        if options.json:
            _json({"compression": made})
            return 0
        for name, one in made.items():
            recall = ", ".join(
                f"{value:.3f} ({kind} kind of question)" for kind, value in sorted(one["recall"].items())
            )
            print(f"{name:10}  {one['type']}, recall {recall}, measured on {one['rows']} rows")
        if options.off:
            print("rows are searched as they are")
        elif not made:
            print("nothing to gain: no part of the collection has 50,000 vectors and questions to measure with")
    return 0


def _compact(options: argparse.Namespace) -> int:
    with _open(options) as kb:
        print(f"{kb.compact() / 1e6:.1f} MB gained")
    return 0


def _migrate(options: argparse.Namespace) -> int:
    from pathlib import Path

    from commonplace.migrate import migrate

    folder = Path(os.path.realpath(os.path.expanduser(_collection(options))))
    print(migrate(folder, _model(options), undo=options.undo, workers=options.workers))
    return 0


def _models(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from commonplace.encoders.catalogue import PRESETS, installed

    here = installed()
    if options.json:
        rows = [{"name": name, **asdict(one), "pulled": name in here} for name, one in PRESETS.items()]
        _json({"models": rows, "pulled": here})
        return 0
    for name, one in PRESETS.items():
        state = "shipped" if one.repo is None else "pulled" if name in here else f"{one.size} MB to fetch"
        print(f"{name:20} {one.what:18} {one.dim:5} dimensions  {state}")
        for line in (f"{one.languages}; {one.licence}. {one.figures}", one.good_for):
            print(_fill(line, " " * 21))
    for name in here:
        if name not in PRESETS:
            print(f"{name:20} pulled")
    return 0


def _models_pull(options: argparse.Namespace) -> int:
    from commonplace.encoders.hub import pull, pull_remote
    from commonplace.errors import ModelError

    prefixes = {"query": options.query_prefix, "document": options.document_prefix}
    if options.what.startswith("openai:"):
        if not options.base_url:
            raise ModelError("say with --base-url where the server is: every text is sent there")
        given = {role: prefix or "" for role, prefix in prefixes.items()}
        bundle = pull_remote(options.what.removeprefix("openai:"), options.base_url, name=options.name, **given)
    else:
        bundle = pull(
            options.what,
            name=options.name,
            revision=options.revision,
            precision=options.precision,
            pooling=options.pooling,
            **prefixes,
        )
    towers = " and ".join(kind for kind, tower in (("text", bundle.text), ("pictures", bundle.image)) if tower)
    for note in bundle.spec.get("notes", []):
        print(f"note: {note}", file=sys.stderr)
    print(f"{bundle.name}: {towers}, {bundle.dim} dimensions; use it with --model {bundle.name}")
    return 0


def _models_export(options: argparse.Namespace) -> int:
    from pathlib import Path

    from commonplace.encoders.convert import Choice
    from commonplace.export import export

    folder = Path(options.folder).absolute()
    choice = Choice(options.precision or "fp32", options.pooling, options.query_prefix, options.document_prefix)
    made = export(options.what, folder, folder.name, choice)
    for tower, cosine in made.parity.items():
        print(f"{tower:5}  cosine with the original at least {cosine:.5f}")
    print(f"wrote {_short(str(folder))}; use it with --model {_short(str(folder))}")
    return 0


def _models_remove(options: argparse.Namespace) -> int:
    from commonplace.encoders.hub import remove

    remove(options.name)
    print(f"removed {options.name}")
    return 0


def _models_bench(options: argparse.Namespace) -> int:
    from commonplace.encoders import find
    from commonplace.encoders.bench import speed

    for name in options.names or ["minilm-lite0"]:
        for line in speed(find(name)):
            print(line)
    return 0


def _eval(options: argparse.Namespace) -> int:
    from commonplace.evaluation import Run, compare, evaluate, plot

    before = Run.load(options.compare) if options.compare else None
    with _open(options) as kb:
        run = evaluate(kb, options.questions, k=options.k, ranking=_ranking(kb, options))
        if options.json:
            run.save(options.json)
        print(run.table())
        if before is not None:
            print(f"\n{compare(before, run).table()}")
        if options.plots:
            for path in plot(run, options.plots, collection=kb):
                print(path)
    return 0


def _label(options: argparse.Namespace) -> int:
    with _open(options) as kb:
        kb.label(options.text, options.item, options.good, image=options.image)
        count = len(kb.labels())
    print(f"{count} label{'' if count == 1 else 's'}")
    return 0


def _tune(options: argparse.Namespace) -> int:
    from commonplace.errors import QuestionError
    from commonplace.evaluation import thumbs, tune

    if options.reset and options.questions:
        raise QuestionError("either tune by questions or reset, not both")
    with _open(options) as kb:
        if options.reset:
            kb.ranking = None
            print("the ranking is the default again")
        else:
            print(tune(kb, options.questions or thumbs(kb), k=options.k))
    return 0


# --- printing ------------------------------------------------------------------------------------------------


def _json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=True))  # ASCII: safe on any terminal and for any file name


_WIDE = "\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef"
_PIECE = re.compile(rf"\s+|[{_WIDE}]|[^\s{_WIDE}]{{1,80}}")


def _fill(text: str, indent: str = "", width: int = 100) -> str:
    """Return ``text`` in lines of ``width`` columns at most; Chinese characters take two, and may end a line."""
    lines, line, room = [], "", width - len(indent)
    for piece in _PIECE.findall(text):
        if line.strip() and _columns(line) + _columns(piece.rstrip()) > room:
            lines.append(line.rstrip())
            line = ""
        line += piece if line or piece.strip() else ""
    return "\n".join(indent + one for one in [*lines, line.rstrip()] if one)


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _short(path: str) -> str:
    """Return ``path`` relative to the working folder where it lies below it."""
    try:
        here = os.getcwd() + os.sep
    except OSError:  # the working folder is gone
        here = ""
    return printable(path.removeprefix(here))


if __name__ == "__main__":
    sys.exit(main())
