"""Maintenance of a collection: ``doctor``, ``backup``, ``restore``, ``copy``, ``vacuum``, ``compress``, ``migrate``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from commonplace.cli.common import model_of, open_, place_of, server_options
from commonplace.cli.printing import print_json, short, size
from commonplace.types import printable


def verbs(verb: Any) -> None:
    """Add the verbs of this group to the command."""
    doctor = verb("doctor", _doctor, "check the collection's files for damage", "commonplace doctor --repair")
    doctor.add_argument("--repair", action="store_true", help="rebuild derived data: index files, word index")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    backup = verb(
        "backup", _backup, "write the collection to one file, even while it is in use", "commonplace backup kb.bak"
    )
    backup.add_argument("file", metavar="FILE")
    restore = verb("restore", _restore, "restore the contents of a backup", "commonplace restore kb.bak")
    restore.add_argument("file", metavar="FILE")
    restore.add_argument("--replace", action="store_true", help="replace the documents of the collection")
    copy = verb(
        "copy",
        _copy,
        "copy a collection to another folder or server without embedding again; run it again to continue",
        "commonplace copy .commonplace milvus://localhost:19530/papers --blobs s3://bucket/blobs",
    )
    copy.add_argument("source", metavar="SOURCE", help="folder or URL of the collection")
    copy.add_argument("target", metavar="TARGET", help="folder or URL, which is created if it does not exist")
    compress = verb("compress", _compress, "search smaller vectors if the recall stays high", "commonplace compress")
    compress.add_argument(
        "--recall", type=float, default=0.99, metavar="R", help="recall to keep, .5 to 1 (default: .99)"
    )
    compress.add_argument("--off", action="store_true", help="undo: search the stored vectors again")
    compress.add_argument("--json", action="store_true", help="print one JSON object")
    verb("vacuum", _vacuum, "free the disk space of removed documents and erase all their data", "commonplace vacuum")
    migrate = verb(
        "migrate",
        _migrate,
        "change to another model (--model; default: the shipped one): embed everything again, then search with it",
        "commonplace migrate --model models/clip",
    )
    migrate.add_argument(
        "--undo", action="store_true", help="go back to the earlier model, or discard an unfinished migration"
    )
    migrate.add_argument(
        "--workers", type=int, metavar="N", help="number of reader processes (default: one per processor)"
    )


def _doctor(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    with open_(options) as kb:
        findings = kb.maintenance.doctor(repair=options.repair)
    if options.json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            state = "repaired" if finding.repaired else "damage"
            print(f"{state}: {finding.count}  {printable(finding.what)}: {finding.remedy}")
        left = sum(not finding.repaired for finding in findings)
        print("no problems found" if not findings else f"{left} finding{'' if left == 1 else 's'} left")
    return 0 if all(finding.repaired for finding in findings) else 1


def _backup(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        written = kb.maintenance.backup(options.file)
    print(f"wrote {short(options.file)}, {size(written)}")
    return 0


def _restore(options: argparse.Namespace) -> int:
    with open_(options, make=True, backup=options.file) as kb:
        kb.maintenance.restore(options.file, replace=options.replace)
        count = sum(kb.status()["documents"].values())
    print(f"restored {count} document{'' if count == 1 else 's'}")
    return 0


def _copy(options: argparse.Namespace) -> int:
    from commonplace.places import is_address

    server, to_server = server_options(options), is_address(options.target)
    options.collection = options.source
    options.blobs = None if to_server else server["blobs"]
    options.token = None if to_server and not is_address(options.source) else server["token"]
    with open_(options) as kb:
        copied = (
            kb.maintenance.copy_to(options.target, **server) if to_server else kb.maintenance.copy_to(options.target)
        )
    print(copied)
    for name, rows in (("incomplete", copied.incomplete), ("failed", copied.failed)):
        for path, reason in rows:
            print(f"  {name}: {printable(path)}: {printable(reason)}", file=sys.stderr)
    return 1 if copied.failed else 0


def _compress(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        choices = kb.maintenance.compress(None if options.off else options.recall)
    if options.json:
        print_json({"compression": choices})
        return 0
    for name, choice in choices.items():
        kinds = (f"{value:.3f} ({kind} kind of query)" for kind, value in sorted(choice["recall"].items()))
        print(f"{name:10}  {choice['type']}, recall {', '.join(kinds)}, measured on {choice['rows']} rows")
    if options.off:
        print("the stored vectors are searched")
    elif not choices:
        print("nothing to compress: no vector index has both 50,000 rows and queries for measuring recall")
    return 0


def _vacuum(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        print(f"{size(kb.maintenance.vacuum())} gained")
    return 0


def _migrate(options: argparse.Namespace) -> int:
    from commonplace.migrate import migrate

    print(migrate(place_of(options), model_of(options), undo=options.undo, workers=options.workers))
    return 0
