"""Models by name: the presets, the folder of pulled models, and the search for a model."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commonplace.encoders.bundle import DEFAULT_BUNDLE
from commonplace.encoders.packaged import packaged
from commonplace.errors import ModelError
from commonplace.i18n import N_, _
from commonplace.paths import expanded_path

__all__ = ["PRESETS", "Preset", "find", "home", "installed", "is_name"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True, slots=True)
class Preset:
    """A recommended model with a short name.

    ``repo`` is its hub repository; None for the shipped model and for a Python package. ``package`` is
    the name of that package. ``size`` is the approximate download in MB, ``dim`` the length of its vectors. ``figures``
    are published results of the original model. The repository's files do not give the other settings: ``pooling``, and
    the prefixes of a ``query`` and a ``document``.
    """

    repo: str | None
    what: str  # "text and pictures", "text and sound" or "text"
    size: int
    dim: int
    languages: str
    licence: str
    figures: str
    good_for: str
    pooling: str | None = None
    query: str | None = None
    document: str | None = None
    precision: str = "fp32"
    package: str | None = None

    @property
    def advice(self) -> str:
        """How to install the package of a model that comes as one."""
        return _("run `pip install {package}`").format(package=self.package)


PRESETS: dict[str, Preset] = {
    "minilm-lite0": Preset(
        None, N_("text and pictures"), 58, 384, N_("English"), "Apache-2.0",
        N_("Flickr8k test, text->image R@1/5/10 32.1/63.3/74.8 (measured here)."),
        N_("Everyday photographs and English text on a laptop: the one that is shipped."),
    ),
    "multilingual": Preset(
        None, N_("text and pictures"), 72, 384, N_("about 100, Chinese among them"), "MIT, Apache-2.0",
        N_("See its card."),
        N_("Chinese and other languages, and questions in another language than the documents; without a hub."),
        package="commonplace-rag-multilingual",
    ),
    "clip-b32": Preset(
        "Xenova/clip-vit-base-patch32", N_("text and pictures"), 606, 512, N_("English"),
        N_("MIT (code of the original)"),
        N_("Flickr30k text->image R@1 58.8, COCO 30.4, Flickr8k R@5 80.5."),
        N_("The well-known baseline; texts of 77 tokens at most, so chunks are short."),
    ),
    "clip-b16": Preset(
        "Xenova/clip-vit-base-patch16", N_("text and pictures"), 599, 512, N_("English"),
        N_("MIT (code of the original)"),
        N_("See its card."), N_("As clip-b32 with four times as many patches: smaller things are seen, slower."),
    ),
    "clip-l14": Preset(
        "Xenova/clip-vit-large-patch14", N_("text and pictures"), 1710, 768, N_("English"),
        N_("MIT (code of the original)"),
        N_("See its card."), N_("The largest of the first CLIP models; wants a server."),
    ),
    "siglip-b16": Preset(
        "Xenova/siglip-base-patch16-224", N_("text and pictures"), 813, 768, N_("English"), "Apache-2.0",
        N_("Flickr30k text->image R@1/5/10 74.7/92.3/95.6, COCO 47.8."),
        N_("Much better pictures than CLIP at the same cost; texts of 64 tokens."),
    ),
    "siglip2-base": Preset(
        "onnx-community/siglip2-base-patch16-224-ONNX", N_("text and pictures"), 1500, 768,
        N_("many, Chinese among them"), "Apache-2.0", N_("COCO text->image R@1 52.1, image->text 68.9."),
        N_("The best general choice for photographs in any language, where a gigabyte and a half is no matter."),
    ),
    "jina-clip-v2": Preset(
        "jinaai/jina-clip-v2", N_("text and pictures"), 3500, 1024, N_("89, Chinese among them"),
        N_("CC-BY-NC-4.0: not for commercial use"), N_("See its card."),
        N_("Long texts and pictures of 512 pixels in one space; large and slow without a GPU."),
    ),
    "clap": Preset(
        "Xenova/clap-htsat-unfused", N_("text and sound"), 615, 512, N_("English"), "Apache-2.0",
        N_("See its card; not tried here with its weights."),
        N_("Recordings and films by their sound, asked for in words: rain, a siren, applause. No pictures."),
    ),
    "chinese-clip-b16": Preset(
        "Xenova/chinese-clip-vit-base-patch16", N_("text and pictures"), 755, 512, N_("Chinese"), "Apache-2.0",
        N_("See its card; its largest sister reaches R@1 71.2 on Flickr30K-CN."),
        N_("Photographs asked for in Chinese."),
    ),
    "bge-small-zh": Preset(
        "Xenova/bge-small-zh-v1.5", N_("text"), 96, 512, N_("Chinese"), "MIT", N_("See its card."),
        N_("Chinese text on a laptop; with pictures: --model text=bge-small-zh,image=chinese-clip-b16."),
        pooling="cls", query="为这个句子生成表示以用于检索相关文章：",
    ),
    "bge-small-en": Preset(
        "BAAI/bge-small-en-v1.5", N_("text"), 134, 384, N_("English"), "MIT", N_("See its card."),
        N_("English passages, better than the shipped text tower at twice its size."),
        pooling="cls", query="Represent this sentence for searching relevant passages: ",
    ),
    "e5-small": Preset(
        "intfloat/multilingual-e5-small", N_("text"), 471, 384, N_("about 100, Chinese among them"), "MIT",
        N_("See its card."),
        N_("Text in many languages on a laptop."), pooling="mean", query="query: ", document="passage: ",
    ),
    "bge-m3": Preset(
        "BAAI/bge-m3", N_("text"), 2270, 1024, N_("more than 100, Chinese among them"), "MIT", N_("See its card."),
        N_("The strongest texts in many languages; wants a server."), pooling="cls",
    ),
    "minilm-multilingual": Preset(
        "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", N_("text"), 471, 384,
        N_("about 50, Chinese among them"), "Apache-2.0", N_("See its card."),
        N_("Sentences that say the same in many languages; less for questions."),
    ),
}  # fmt: skip
"""The presets by name. Figures come from the papers or model cards of the original models; only those of the shipped
model were measured here. Sizes are approximate."""


def home() -> Path:
    """Return the folder of pulled models: in ``COMMONPLACE_HOME`` if it is set, else in the user's cache folder."""
    base = os.environ.get("COMMONPLACE_HOME")
    if base:
        return Path(base).expanduser() / "models"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "commonplace" / "models"


def is_name(text: str) -> bool:
    """Return whether ``text`` is a valid name of a pulled model: letters, digits, dots, hyphens and underscores."""
    return bool(_NAME.fullmatch(text))


def find(model: str | os.PathLike[str]) -> Path:
    """Return the folder of the bundle that ``model`` names.

    ``model`` is a folder, the name of the shipped bundle, of an installed package's model or of a pulled model, or the
    hub repository that one was pulled from. Raises ModelError, with advice, if there is no such bundle.
    """
    name = os.fspath(model)
    if not name:
        raise ModelError(_("the model's name is empty: see `commonplace models`"))
    folder = Path(expanded_path(name, ModelError))
    if os.path.isfile(folder / "bundle.json"):  # also False for a name that is too long for a file
        return folder
    if name == DEFAULT_BUNDLE.name:
        return DEFAULT_BUNDLE
    if name in packaged():
        return packaged()[name]
    last = name.rsplit("/", 1)[-1]
    for candidate in dict.fromkeys([*(preset for preset, preset_ in PRESETS.items() if preset_.repo == name), last]):
        is_installed = is_name(candidate) and (home() / candidate / "bundle.json").is_file()
        if is_installed and ("/" not in name or source(home() / candidate).get("repo") == name):
            return home() / candidate
    if name in PRESETS and PRESETS[name].package:
        raise ModelError(
            _("the model {name} is not installed: {advice}").format(name=name, advice=PRESETS[name].advice)
        )
    if name in PRESETS or any(preset.repo == name for preset in PRESETS.values()):
        raise ModelError(
            _("the model {name} is not installed: fetch it with `commonplace models pull {name}`").format(name=name)
        )
    if os.path.isdir(folder) and list(folder.rglob("*.onnx")):
        raise ModelError(
            _(
                "there is no model bundle at {folder} (no bundle.json): make one with `commonplace models pull {name}`"
            ).format(folder=folder, name=name)
        )
    if folder.is_absolute() or name.startswith("."):
        raise ModelError(
            _("there is no model bundle at {folder} (no bundle.json): check the name").format(folder=folder)
        )
    raise ModelError(
        _("there is no model {name!r}: see `commonplace models` for names; pull a repository or folder first").format(
            name=name
        )
    )


def source(folder: Path) -> dict[str, Any]:
    """Return the entry ``source`` of a bundle: where it was pulled from. Empty if it cannot be read."""
    try:
        spec = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    origin = spec.get("source") if isinstance(spec, dict) else None
    return origin if isinstance(origin, dict) else {}


def installed() -> list[str]:
    """Return the names of the pulled models in alphabetical order."""
    try:
        return sorted(
            folder.name for folder in home().iterdir() if is_name(folder.name) and (folder / "bundle.json").is_file()
        )
    except OSError:
        return []
