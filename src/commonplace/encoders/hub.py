"""Fetches a model from a hub, a mirror of it (``HF_ENDPOINT``) or a folder, and stores it as a bundle."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from commonplace.encoders.bundle import DEFAULT_BUNDLE, FORMAT, Bundle, sha256
from commonplace.encoders.convert import PRECISIONS, Choice, convert, wanted
from commonplace.encoders.default_calibration import write
from commonplace.encoders.packaged import packaged
from commonplace.encoders.presets import PRESETS, home, is_name, source
from commonplace.encoders.remote import RemoteText, checked
from commonplace.errors import ModelError
from commonplace.i18n import _, system_reason

__all__ = ["beside", "pull", "pull_remote", "remove"]

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_BLOB = re.compile(r"[0-9a-f]{40}")


def pull(
    what: str,
    *,
    name: str | None = None,
    revision: str | None = None,
    precision: str | None = None,
    pooling: str | None = None,
    query: str | None = None,
    document: str | None = None,
) -> Bundle:
    """Make a bundle from a preset, a hub repository (``owner/name``) or a folder, and store it under ``name``.

    Only graphs and settings are fetched, by a list of allowed names. Every file is compared with the checksum on the
    hub. After an interruption, only missing files are fetched. ``revision`` is a branch, tag or commit. ``precision``
    (``fp32``, ``fp16``, ``int8``), ``pooling``, and the prefixes of a ``query`` and a ``document`` override the preset
    and the repository. Raises ModelError with a message of one line.
    """
    preset = PRESETS.get(what)
    choice = Choice(
        precision or (preset.precision if preset else "fp32"),
        pooling or (preset.pooling if preset else None),
        query if query is not None else (preset.query if preset else None),
        document if document is not None else (preset.document if preset else None),
    )
    if choice.precision not in PRECISIONS:
        raise ModelError(
            _("the precision is {precision!r}: choose one of {precisions}").format(
                precision=choice.precision, precisions=", ".join(PRECISIONS)
            )
        )
    folder = Path(what).expanduser()
    local = bool(what) and folder.is_dir() and preset is None
    repo = preset.repo if preset else what
    name = name or (what if preset else (folder.resolve().name if local else what.rsplit("/", 1)[-1]))
    if preset and repo is None:
        if preset.package:
            raise ModelError(_("the model {what} comes as a package: {advice}").format(what=what, advice=preset.advice))
        raise ModelError(_("the model {what} is shipped with the package: use it without fetching").format(what=what))
    if _is_taken(name):
        raise ModelError(_("{name!r} is not a valid name for a model: give another one with --name").format(name=name))
    target = home() / name
    source: dict[str, str | None] = {"folder": str(folder.resolve())} if local else {"repo": repo}
    _not_anothers(target, name, source)
    if local:
        return _from_folder(folder, target, name, replace(choice, source=source))
    if repo is None or not _REPOSITORY.fullmatch(repo) or ".." in repo:
        raise ModelError(
            _(
                "there is no model {what!r}: see `commonplace models` for names, or give a repository as owner/name"
            ).format(what=what)
        )
    fetched, commit = _fetch(repo, revision, choice.precision)
    bundle = convert(fetched, target, name, replace(choice, source={"repo": repo, "revision": commit}))
    shutil.rmtree(fetched, ignore_errors=True)
    return bundle


def pull_remote(model: str, url: str, *, name: str | None = None, query: str = "", document: str = "") -> Bundle:
    """Make a bundle of a text model on a server with OpenAI's embeddings API, and store it under ``name``.

    A few neutral texts are sent, to determine the length of the vectors and the scores of unrelated texts. ``query``
    and ``document`` are prefixes. Raises ModelError with a message of one line.
    """
    name = name or model.rsplit("/", 1)[-1].replace(":", "-")
    if not model or _is_taken(name):
        raise ModelError(_("{name!r} is not a valid name for a model: give another one with --name").format(name=name))
    where = checked(url)
    source: dict[str, str | None] = {"url": where, "model": model}
    _not_anothers(home() / name, name, source)
    shipped = Bundle(DEFAULT_BUNDLE).spec["towers"]["text"]
    with beside(home() / name, name) as draft:
        shutil.copyfile(DEFAULT_BUNDLE / shipped["tokenizer"], draft / "tokenizer.json")
        text = {
            "remote": source,
            "tokenizer": "tokenizer.json",
            "max_tokens": shipped["max_tokens"],
            "prefix": {"query": query, "document": document},
        }
        spec = {
            "format": FORMAT,
            "name": name,
            "dim": 0,
            "description": f"{model} at {where}",
            "licence": "that of the server's model",
            "languages": [],
            "towers": {"text": text},
            "notes": [_("every indexed text and every query is sent to {where}").format(where=where)],
            "source": source,
            "checksums": {"tokenizer.json": sha256(draft / "tokenizer.json")},
        }
        probe = RemoteText(draft, text, 0).encode(["a probe"])
        (draft / "bundle.json").write_text(json.dumps({**spec, "dim": probe.shape[1]}), encoding="utf-8")
        write(Bundle(draft))
    return Bundle(home() / name)


@contextmanager
def beside(target: Path, name: str) -> Iterator[Path]:
    """Provide a temporary folder that replaces ``target`` if the ``with`` block ends without an error.

    Raises ModelError if ``target`` cannot be replaced (see ``replaceable``) or written.
    """
    replaceable(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".part", dir=target.parent))
    except OSError as problem:
        raise ModelError(
            _("the model cannot be written to {target} ({reason}): choose another folder").format(
                target=target, reason=system_reason(problem)
            )
        ) from (problem)
    old = draft.with_suffix(".old")
    try:
        yield draft
        if target.exists():
            target.rename(old)  # after a kill, the old model remains under this name
        draft.rename(target)
    except OSError as problem:
        raise ModelError(
            _("the model cannot be written to {target} ({reason}): free some space, then run it again").format(
                target=target, reason=system_reason(problem)
            )
        ) from (problem)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(old, ignore_errors=True)


def replaceable(target: Path) -> None:
    """Raise ModelError unless ``target`` is absent, empty, or holds only a model: its content will be deleted."""
    try:
        if target.is_symlink():
            raise ModelError(_("{target} is a symbolic link: give the folder itself").format(target=target))
        files = sorted(target.iterdir()) if target.exists() else []
    except OSError as problem:
        raise ModelError(
            _("{target} cannot hold a model ({reason}): choose another folder").format(
                target=target, reason=system_reason(problem)
            )
        ) from problem
    if not files:
        return
    try:
        spec = json.loads((target / "bundle.json").read_text(encoding="utf-8"))
        bundle_files = {"bundle.json", "README.md", *spec["checksums"]} if spec["towers"] else set()
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        bundle_files = set()
    if not bundle_files:
        raise ModelError(_("{target} exists and is not a model: choose another folder").format(target=target))
    if strange := [file.name for file in files if file.name not in bundle_files or not file.is_file()]:
        raise ModelError(
            _("{target} holds {names!r}, which is not part of a model: choose another folder, or move it").format(
                target=target, names=strange[0]
            )
        )


def remove(name: str) -> None:
    """Remove a pulled model. Raises ModelError if there is none of that name, or if it cannot be removed."""
    folder = home() / name
    if not is_name(name) or not (folder / "bundle.json").is_file():
        raise ModelError(_("there is no pulled model {name!r}: see `commonplace models`").format(name=name))
    try:
        shutil.rmtree(folder)
    except OSError as problem:
        raise ModelError(
            _("{folder} cannot be removed ({reason}): check its permissions").format(
                folder=folder, reason=system_reason(problem)
            )
        ) from problem


def _is_taken(name: str) -> bool:
    """Return whether no pulled model may have this name: it is not valid, or the name of a model of a package."""
    return not is_name(name) or name == DEFAULT_BUNDLE.name or name in packaged()


def _not_anothers(target: Path, name: str, expected_source: dict[str, str | None]) -> None:
    """Refuse to replace a model from another source: collections may use it."""
    if (target / "bundle.json").is_file():
        had = source(target)
        if any(had.get(key) != value for key, value in expected_source.items()):
            origin = had.get("repo") or had.get("folder") or "elsewhere"
            raise ModelError(
                _("the name {name} is used by the model from {origin}: choose another with --name").format(
                    name=name, origin=origin
                )
            )


def _from_folder(folder: Path, target: Path, name: str, choice: Choice) -> Bundle:
    if not (folder / "bundle.json").is_file():
        return convert(folder, target, name, choice)
    bundle = Bundle(folder)
    bundle.verify()
    with beside(target, name) as draft:
        for file in ("bundle.json", *bundle.spec["checksums"]):
            shutil.copyfile(folder / file, draft / file)
        Bundle(draft).verify()
    return Bundle(target)


# --- the hub -------------------------------------------------------------------------------------------------


def _fetch(repo: str, revision: str | None, precision: str) -> tuple[Path, str]:
    """Fetch the files of a repository that a conversion reads. Return their folder and the commit."""
    try:
        import huggingface_hub
        from huggingface_hub.errors import (
            EntryNotFoundError,
            GatedRepoError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
        from huggingface_hub.utils import disable_progress_bars
    except ImportError as problem:
        raise ModelError(
            _("fetching a model needs the library huggingface_hub: run `pip install 'commonplace-rag[models]'`")
        ) from problem
    if not sys.stderr.isatty():
        disable_progress_bars()
    api = huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, library_name="commonplace")
    try:
        commit = str(api.model_info(repo, revision=revision).sha)
        if not _BLOB.fullmatch(commit):
            raise ModelError(
                _("the hub gives no commit of {repo}: try again, or use another mirror (HF_ENDPOINT)").format(repo=repo)
            )
        files = {
            entry.path: entry for entry in api.list_repo_tree(repo, recursive=True, revision=commit) if _is_file(entry)
        }
        _check_names(repo, files)
        try:
            chosen = wanted(files, precision)
        except ModelError as problem:
            raise ModelError(_("{repo} cannot be used: {problem}").format(repo=repo, problem=problem)) from None
        folder = home() / ".fetched" / f"{repo.replace('/', '--')}-{commit[:12]}"
        for path in chosen:
            if not _same(folder / path, files[path]):
                api.hf_hub_download(repo, path, revision=commit, local_dir=folder)
                if not _same(folder / path, files[path]):
                    (folder / path).unlink(missing_ok=True)
                    raise ModelError(
                        _("{path} of {repo} differs from the hub's checksum: fetch it again").format(
                            path=path, repo=repo
                        )
                    )
    except GatedRepoError as problem:
        raise ModelError(
            _("{repo} requires that you accept its terms: do so on its page, and set HF_TOKEN").format(repo=repo)
        ) from (problem)
    except RevisionNotFoundError as problem:
        raise ModelError(
            _("{repo} has no revision {revision!r}: check its name").format(repo=repo, revision=revision)
        ) from problem
    except RepositoryNotFoundError as problem:
        raise ModelError(
            _("there is no repository {repo} on the hub, or it is private: check the name, or set HF_TOKEN").format(
                repo=repo
            )
        ) from problem
    except EntryNotFoundError as problem:
        raise ModelError(
            _("{repo} could not be fetched completely ({problem}): try again").format(
                repo=repo, problem=_first(problem)
            )
        ) from problem
    except ModelError:
        raise
    except Exception as problem:  # the library also raises errors of its HTTP client
        raise ModelError(
            _(
                "{repo} could not be fetched ({problem}): check the network, or set HF_ENDPOINT to a mirror; "
                "fetched files are kept"
            ).format(repo=repo, problem=_first(problem))
        ) from problem
    return folder, commit


def _is_file(entry: Any) -> bool:
    return hasattr(entry, "blob_id")


def _first(problem: BaseException) -> str:
    lines = str(problem).strip().splitlines()
    return (lines[0] if lines else type(problem).__name__)[:200]


def _check_names(repo: str, names: Iterable[str]) -> None:
    """Raise ModelError if the path of a file leads outside the repository."""
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not name.isprintable():
            raise ModelError(
                _("{repo} holds a file named {name!r}, which leads outside its folder: choose another model").format(
                    repo=repo, name=name
                )
            )


def _same(path: Path, stated: Any) -> bool:
    """Return whether a file matches its checksum on the hub: SHA-256 for large files, else git's SHA-1."""
    try:
        if not path.is_file() or path.is_symlink():
            return False
        if stated.lfs is not None:
            return sha256(path) == str(stated.lfs.sha256)
        content = path.read_bytes()
    except OSError:
        return False
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return git.hexdigest() == str(stated.blob_id)
