"""The collection's files: ``doctor``, ``backup``, ``restore``, ``vacuum``, ``compress``, ``migrate``."""

from __future__ import annotations

import argparse
import os
from typing import Any

from commonplace.cli.common import folder_of, model_of, open_
from commonplace.cli.printing import print_json, short, size
from commonplace.types import printable


def verbs(verb: Any) -> None:
    """Add the verbs of this group to the command."""
    doctor = verb("doctor", _doctor, "look for damage in the collection's files", "commonplace doctor --repair")
    doctor.add_argument("--repair", action="store_true", help="rebuild what is derived: index files, word index")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    save = verb("backup", _backup, "write the collection into one file, while it is used", "commonplace backup kb.bak")
    save.add_argument("file", metavar="FILE")
    back = verb("restore", _restore, "take the contents of a backup", "commonplace restore kb.bak")
    back.add_argument("file", metavar="FILE")
    back.add_argument("--replace", action="store_true", help="in place of the documents that the collection holds")
    compress = verb("compress", _compress, "search smaller rows, where that keeps the recall", "commonplace compress")
    compress.add_argument("--recall", type=float, default=0.99, metavar="R", help="to be kept, .5 to 1 (default: .99)")
    compress.add_argument("--off", action="store_true", help="search rows as they are again")
    compress.add_argument("--json", action="store_true", help="print one JSON object")
    verb("vacuum", _vacuum, "give back the room of what was removed, and leave no trace of it", "commonplace vacuum")
    change = verb(
        "migrate",
        _migrate,
        "embed everything again with another model (--model; default: the shipped one), then search with it",
        "commonplace migrate --model models/clip",
    )
    change.add_argument("--undo", action="store_true", help="go back to the earlier model, or drop what is unfinished")
    change.add_argument("--workers", type=int, metavar="N", help="reader processes (default: one a processor)")


def _doctor(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    with open_(options) as kb:
        findings = kb.doctor(repair=options.repair)
    if options.json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            state = "repaired" if finding.repaired else "damage"
            print(f"{state}: {finding.count}  {printable(finding.what)}: {finding.remedy}")
        left = sum(not finding.repaired for finding in findings)
        print("nothing is wrong" if not findings else f"{left} finding{'' if left == 1 else 's'} left")
    return 0 if all(finding.repaired for finding in findings) else 1


def _backup(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        written = kb.backup(options.file)
    print(f"wrote {short(options.file)}, {size(written)}")
    return 0


def _restore(options: argparse.Namespace) -> int:
    with open_(options, make=True, backup=options.file) as kb:
        kb.restore(options.file, replace=options.replace)
        count = sum(kb.status()["documents"].values())
    print(f"restored {count} document{'' if count == 1 else 's'}")
    return 0


def _compress(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        chosen = kb.compress(None if options.off else options.recall)
    if options.json:
        print_json({"compression": chosen})
        return 0
    for name, choice in chosen.items():
        recall = ", ".join(f"{value:.3f} ({kind} kind of question)" for kind, value in sorted(choice["recall"].items()))
        print(f"{name:10}  {choice['type']}, recall {recall}, measured on {choice['rows']} rows")
    if options.off:
        print("rows are searched as they are")
    elif not chosen:
        print("nothing to gain: no part of the collection has 50,000 vectors and questions to measure with")
    return 0


def _vacuum(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        print(f"{size(kb.vacuum())} gained")
    return 0


def _migrate(options: argparse.Namespace) -> int:
    from pathlib import Path

    from commonplace.migrate import migrate

    folder = Path(os.path.realpath(os.path.expanduser(folder_of(options))))
    print(migrate(folder, model_of(options), undo=options.undo, workers=options.workers))
    return 0
