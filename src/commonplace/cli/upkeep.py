"""Maintenance of a collection: ``doctor``, ``backup``, ``restore``, ``copy``, ``vacuum``, ``compress``, ``migrate``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from commonplace.cli.common import model_of, open_, place_of, server_options
from commonplace.cli.printing import index_type, print_json, query_kind, short, size
from commonplace.display import printable
from commonplace.i18n import _, ngettext


def verbs(verb: Any) -> None:
    """Add the verbs of this group to the command."""
    verb(
        "doctor", _doctor, _("check the collection's files for damage"), "commonplace doctor --repair", _doctor_options
    )
    verb(
        "backup",
        _backup,
        _("write the collection to one file, even while it is in use"),
        "commonplace backup kb.bak",
        _backup_options,
    )
    verb("restore", _restore, _("restore the contents of a backup"), "commonplace restore kb.bak", _restore_options)
    verb(
        "copy",
        _copy,
        _("copy a collection to another folder or server without embedding again; run it again to continue"),
        "commonplace copy .commonplace milvus://localhost:19530/papers --blobs s3://bucket/blobs",
        _copy_options,
    )
    verb(
        "compress",
        _compress,
        _("search smaller vectors if the recall stays high"),
        "commonplace compress",
        _compress_options,
    )
    verb(
        "vacuum", _vacuum, _("free the disk space of removed documents and erase all their data"), "commonplace vacuum"
    )
    verb(
        "migrate",
        _migrate,
        _("change to another model (--model; default: the shipped one): embed everything again, then search with it"),
        "commonplace migrate --model models/clip",
        _migrate_options,
    )


def _doctor_options(doctor: argparse.ArgumentParser) -> None:
    doctor.add_argument("--repair", action="store_true", help=_("rebuild derived data: index files, word index"))
    doctor.add_argument("--json", action="store_true", help=_("print one JSON object"))
    doctor.add_argument(
        "--report",
        action="store_true",
        help=_("print what a report of a problem needs: versions, sizes, settings; no content, no path"),
    )


def _backup_options(backup: argparse.ArgumentParser) -> None:
    backup.add_argument("file", metavar="FILE")


def _restore_options(restore: argparse.ArgumentParser) -> None:
    restore.add_argument("file", metavar="FILE")
    restore.add_argument("--replace", action="store_true", help=_("replace the documents of the collection"))


def _copy_options(copy: argparse.ArgumentParser) -> None:
    copy.add_argument("source", metavar="SOURCE", help=_("folder or URL of the collection"))
    copy.add_argument("target", metavar="TARGET", help=_("folder or URL, which is created if it does not exist"))


def _compress_options(compress: argparse.ArgumentParser) -> None:
    compress.add_argument(
        "--recall", type=float, default=0.99, metavar="R", help=_("recall to keep, .5 to 1 (default: .99)")
    )
    compress.add_argument("--off", action="store_true", help=_("undo: search the stored vectors again"))
    compress.add_argument("--json", action="store_true", help=_("print one JSON object"))


def _migrate_options(migrate: argparse.ArgumentParser) -> None:
    migrate.add_argument(
        "--undo", action="store_true", help=_("go back to the earlier model, or discard an unfinished migration")
    )
    migrate.add_argument(
        "--workers", type=int, metavar="N", help=_("number of reader processes (default: one per processor)")
    )


def _doctor(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    if options.report:
        return _report(options)
    with open_(options) as kb:
        findings = kb.maintenance.doctor(repair=options.repair)
    if options.json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            state = _("repaired") if finding.repaired else _("damage")
            line = _("{state}: {count}  {what}: {remedy}")
            values = {"count": finding.count, "what": printable(finding.what), "remedy": finding.remedy}
            print(line.format(state=state, **values))
        left = sum(not finding.repaired for finding in findings)
        print(
            _("no problems found")
            if not findings
            else ngettext("{left} finding left", "{left} findings left", left).format(left=left)
        )
    return 0 if all(finding.repaired for finding in findings) else 1


def _report(options: argparse.Namespace) -> int:
    from commonplace.cli.report import about_collection, about_machine
    from commonplace.errors import CommonplaceError, QueryError

    if options.repair:
        raise QueryError(_("--report repairs nothing: run `commonplace doctor --repair` before it"))
    report = about_machine()
    try:
        with open_(options) as kb:
            report["collection"] = about_collection(kb)
    except CommonplaceError as problem:
        report["collection"] = {"error": type(problem).__name__}  # its message may hold a path
    print_json(report)
    return 0


def _backup(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        written = kb.maintenance.backup(options.file)
    print(_("wrote {file}, {size}").format(file=short(options.file), size=size(written)))
    return 0


def _restore(options: argparse.Namespace) -> int:
    with open_(options, make=True, backup=options.file) as kb:
        kb.maintenance.restore(options.file, replace=options.replace)
        count = sum(kb.status()["documents"].values())
    print(ngettext("restored {count} document", "restored {count} documents", count).format(count=count))
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
    for name, rows in ((_("incomplete"), copied.incomplete), (_("failed"), copied.failed)):
        for path, reason in rows:
            line = _("{name}: {path}: {reason}").format(name=name, path=printable(path), reason=printable(reason))
            print(f"  {line}", file=sys.stderr)
    return 1 if copied.failed else 0


def _compress(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        choices = kb.maintenance.compress(None if options.off else options.recall)
    if options.json:
        print_json({"compression": choices})
        return 0
    for name, choice in choices.items():
        kinds = (query_kind(value, kind) for kind, value in sorted(choice["recall"].items()))
        print(
            _("{name:10}  {type}, recall {kinds}, measured on {rows} rows").format(
                name=name, type=index_type(choice["type"]), kinds=_(", ").join(kinds), rows=choice["rows"]
            )
        )
    if options.off:
        print(_("the stored vectors are searched"))
    elif not choices:
        print(_("nothing to compress: no vector index has both 50,000 rows and queries for measuring recall"))
    return 0


def _vacuum(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        print(_("{size} gained").format(size=size(kb.maintenance.vacuum())))
    return 0


def _migrate(options: argparse.Namespace) -> int:
    from commonplace.migrate import migrate

    print(migrate(place_of(options), model_of(options), undo=options.undo, workers=options.workers))
    return 0
