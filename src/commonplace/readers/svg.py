"""SVG drawings (SVG 1.1 and 2): their words are read, and resvg (the extra ``svg``) draws them.

A drawing is drawn from a copy without scripts, foreign content and references to other files or servers: resvg reads
any picture on the disk that a drawing names. Drawings that repeat their parts endlessly are refused.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, tostring

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.parts import File, ImageBlock, Part, TextBlock
from commonplace.readers.zipxml import attribute, first_child, local_name, parse_xml
from commonplace.types import Span

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["draw_svg", "read_svg"]

SIDE = 1600
"""Pixels of the longer side of a drawing, which has no size of its own."""
_MAX_BYTES = 20_000_000  # of a drawing that is drawn
_MAX_COST = 100_000  # elements that are drawn, parts that are repeated as often as they are
_LAYER_COST = 100  # elements that may be drawn in the time of a layer of pixels of its own
_MAX_DEPTH = 200
_MAX_EMBEDDED = 50_000_000  # pixels of the pictures inside a drawing
_FEW_WORDS = 12  # words that a picture has; more are a passage of their own
_USUAL_SIZE = 300.0, 150.0  # of a drawing that says nothing, as in browsers
_REMOVED = {"script", "foreignObject", "metadata", "iframe", "audio", "video", "canvas", "handler", "listener"}
_LAYERS = {"filter", "mask", "clip-path", "opacity", "mix-blend-mode"}
_URL = re.compile(r"url\(\s*['\"]?#([^'\")\s]+)")
_SHEET_LAYER = re.compile(r"(?:^|[\s;{])(?:filter|mask|clip-path|opacity|mix-blend-mode)\s*:")
_EMBEDDED = re.compile(r"\s*data:image/(?:png|jpe?g|gif|webp)(?:;[\w=.-]+)*;base64,", re.IGNORECASE)
_LENGTH = re.compile(r"\s*([\d.]+(?:e[+-]?\d+)?)\s*(px|pt|pc|mm|cm|in|em|rem|ex)?\s*$", re.IGNORECASE)
_SEPARATOR = re.compile(r"[\s,]+")
_UNITS = {"pt": 4 / 3, "pc": 16, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96, "em": 16, "rem": 16, "ex": 8}
_METADATA = {"creator": "author", "date": "created", "publisher": "publisher", "subject": "keyword"}


def read_svg(file: File) -> Iterator[Part]:
    """Yield a drawing with its title as caption, and its words."""
    from commonplace.readers.pictures import picture_in

    root = parse_xml(file.data, file.path.name)
    caption = _title(root, "title") or _title(root, "desc")
    file.title = _title(root, "title")
    _note_metadata(file, root)
    words = "\n".join(_words(root))
    box = Span(box=(0.0, 0.0, 1.0, 1.0))
    try:
        picture = picture_in(file, file.data)
    except ReadError as problem:
        if not words and not caption:
            raise
        file.problems.append(_("its picture was not drawn: {problem}").format(problem=problem))
        yield TextBlock("\n\n".join(filter(None, [caption, words])))
        return
    has_few = len(words.split()) <= _FEW_WORDS
    yield ImageBlock(picture, box, caption=caption, ocr_text=" ".join(words.split()) if has_few else None)
    if not has_few:
        yield TextBlock(words, title=caption)


def draw_svg(data: bytes, side: int = SIDE) -> Image:
    """Return a drawing as a picture, RGBA, with ``side`` pixels on the longer side.

    Raises:
        ReadError: it is damaged or too complex, or the extra ``svg`` is not installed.
    """
    from PIL.PngImagePlugin import PngImageFile

    try:
        resvg = importlib.import_module("resvg_py")
    except ImportError:
        raise ReadError(
            _("an SVG drawing, which needs the extra svg: run `pip install 'commonplace-rag[svg]'`, and add it again")
        ) from None
    if len(data) > _MAX_BYTES:
        raise ReadError(
            _("{size:.0f} MB, over the limit of {max_bytes:.0f} MB; split it").format(
                size=len(data) / 2**20, max_bytes=_MAX_BYTES / 2**20
            )
        )
    root = parse_xml(data, "SVG")
    _remove_references(root)
    _check_cost(root)
    width, height = _set_size(root, side)
    try:
        png = resvg.svg_to_bytes(svg_string=tostring(root, encoding="unicode"), width=width, height=height)
        image = PngImageFile(io.BytesIO(bytes(png)))
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # the parser's errors have no type of their own
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise ReadError(
            _("a damaged drawing ({detail}); save a new copy and add it again").format(detail=detail)
        ) from None
    return image


# --- words ----------------------------------------------------------------------------------------------------------


def _title(root: Element, name: str) -> str | None:
    element = first_child(root, name)
    return " ".join("".join(element.itertext()).split()) or None if element is not None else None


def _words(root: Element) -> Iterator[str]:
    """Yield the lines of a drawing, and the titles and descriptions of its parts, in the order of the file."""
    top = {id(first_child(root, "title"))}
    if first_child(root, "title") is None:
        top.add(id(first_child(root, "desc")))  # the caption
    stack = [root]
    while stack:
        element = stack.pop()
        name = local_name(element)
        if name in ("style", "script", "metadata") or id(element) in top:
            continue
        if name in ("text", "title", "desc", "foreignObject"):
            pieces = [""]
            for part in element.iter():
                if local_name(part) in ("style", "script"):
                    continue
                if local_name(part) == "tspan" and (attribute(part, "y") or attribute(part, "dy")):
                    pieces.append("")  # a line of its own
                pieces[-1] += part.text or ""
                if part is not element:
                    pieces[-1] += part.tail or ""
            yield from filter(None, (" ".join(piece.split()) for piece in pieces))
        else:
            stack.extend(reversed(element))


def _note_metadata(file: File, root: Element) -> None:
    """Note author, date, publisher and keywords of the drawing's RDF (Dublin Core)."""
    metadata = first_child(root, "metadata")
    for element in metadata.iter() if metadata is not None else ():
        key = _METADATA.get(local_name(element))
        if key and "purl.org/dc/" in element.tag:
            texts = [" ".join(text.split()) for text in element.itertext()]
            file.add_metadata(key, *filter(None, texts))


# --- a safe copy ----------------------------------------------------------------------------------------------------


def _remove_references(root: Element) -> None:
    """Remove from a tree what is no drawing, and references to anything but its own parts and pictures inside it."""
    pixels = 0
    stack = [(root, 0)]
    while stack:
        element, depth = stack.pop()
        if depth > _MAX_DEPTH:
            raise ReadError(_("its parts are nested too deeply; save a simpler copy and add it again"))
        for child in list(element):
            name = local_name(child) if isinstance(child.tag, str) else ""
            if not name or name in _REMOVED:
                element.remove(child)
                continue
            links = {key: child.attrib[key] for key in child.attrib if key.rpartition("}")[2] == "href"}
            for key, link in links.items():
                if link.lstrip().startswith("#"):
                    continue
                size = _embedded_size(link) if name in ("image", "feImage") else 0
                if size and pixels + size <= _MAX_EMBEDDED:
                    pixels += size
                else:
                    del child.attrib[key]
            stack.append((child, depth + 1))


def _embedded_size(link: str) -> int:
    """Return the number of pixels of a picture inside a drawing; 0 where it is none."""
    from commonplace.readers.pictures import size_of_picture

    match = _EMBEDDED.match(link)
    if match is None:
        return 0
    try:
        width, height = size_of_picture(base64.b64decode(link[match.end() :]))
    except (ReadError, binascii.Error, ValueError):
        return 0
    return width * height


def _check_cost(root: Element) -> None:
    """Raise ReadError where a drawing has too many elements, with those of the parts that it refers to.

    A few parts that refer to each other ten times each are millions of elements.
    """
    by_id = {identifier: element for element in root.iter() if (identifier := element.get("id"))}
    sheet = " ".join(element.text or "" for element in root.iter() if local_name(element) == "style")
    by_sheet = set(_URL.findall(sheet))
    layer_by_sheet = _LAYER_COST if _SHEET_LAYER.search(sheet) else 0
    costs: dict[int, float] = {}  # of elements by their identity; infinite while they are counted

    def cost(element: Element) -> float:
        key = id(element)
        if key in costs:
            return 0.0 if costs[key] == float("inf") else costs[key]  # a circle is not drawn
        costs[key] = float("inf")
        style = element.get("style", "")
        values = [value for name, value in element.attrib.items() if name.rpartition("}")[2] != "href"]
        targets = {target for value in values for target in _URL.findall(value)}
        targets |= {
            value.strip()[1:]
            for name, value in element.attrib.items()
            if name.rpartition("}")[2] == "href" and value.strip().startswith("#")
        }
        total = 1.0
        if element.get("class"):
            targets |= by_sheet
            total += layer_by_sheet
        if _LAYERS & element.attrib.keys() or _SHEET_LAYER.search(style):
            total += _LAYER_COST
        total += sum(cost(child) for child in element)
        total += sum(cost(by_id[target]) for target in targets if target in by_id)
        costs[key] = total
        return total

    try:
        is_costly = cost(root) > _MAX_COST
    except RecursionError:  # a chain of parts
        is_costly = True
    if is_costly:
        raise ReadError(_("a drawing of too many parts; save a simpler copy, or a PNG, and add it again"))


def _set_size(root: Element, side: int) -> tuple[int, int]:
    """Set the size of a drawing in pixels, so that the longer side has ``side``; return width and height."""
    box = [float(number) for number in _SEPARATOR.split(root.get("viewBox", "").strip()) if _is_number(number)]
    width, height = _length(root.get("width")), _length(root.get("height"))
    if len(box) == 4 and box[2] > 0 and box[3] > 0:
        ratio = box[2] / box[3]
        width, height = (width or (height or 0) * ratio or box[2]), (height or (width or 0) / ratio or box[3])
    else:
        width, height = width or _USUAL_SIZE[0], height or _USUAL_SIZE[1]
        root.set("viewBox", f"0 0 {width:g} {height:g}")
    scale = side / max(width, height)
    pixels = max(1, round(width * scale)), max(1, round(height * scale))
    root.set("width", str(pixels[0]))
    root.set("height", str(pixels[1]))
    return pixels


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) < 1e12
    except ValueError:
        return False


def _length(text: str | None) -> float | None:
    """Return a length in pixels; None where it is missing, a percentage, or no positive number."""
    match = _LENGTH.match(text or "")
    if match is None or not _is_number(match[1]):
        return None
    return float(match[1]) * _UNITS.get((match[2] or "").lower(), 1.0) or None
