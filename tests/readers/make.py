"""Makes small real files: PDFs written object by object, and pictures by Pillow."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image


@dataclass
class Page:
    """A page of ``size`` points: ``lines`` are (x, y from below, size, words), ``pictures`` (x, y, w, h, image).

    ``framed`` draws the pictures inside of a form that doubles them and moves them 50 points to the right.
    """

    lines: list[tuple[float, float, float, str]] = field(default_factory=list)
    pictures: list[tuple[float, float, float, float, Image.Image]] = field(default_factory=list)
    drawing: str = ""
    rotate: int = 0
    broken: bool = False
    framed: bool = False
    size: tuple[float, float] = (600, 800)


def pdf(*pages: Page, title: str | None = None, locked: bool = False, info: str = "", catalog: str = "") -> bytes:
    """Return the bytes of a PDF with these pages; ``locked`` asks for a password that nobody knows.

    ``info`` and ``catalog`` are further entries of those dictionaries.
    """
    objects: list[bytes] = [b"", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]

    def add(body: bytes) -> int:
        objects.append(body)
        return len(objects)

    kids = []
    for page in pages:
        content, names = page.drawing, []
        for x, y, size, words in page.lines:
            escaped = words.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
            content += f"\nBT /F {size} Tf {x} {y} Td ({escaped}) Tj ET"
        for number, (x, y, width, height, image) in enumerate(page.pictures):
            data = io.BytesIO()
            image.convert("RGB").save(data, "JPEG", quality=95)
            head = (
                f"<< /Type /XObject /Subtype /Image /Width {image.width} /Height {image.height} /ColorSpace /DeviceRGB"
                f" /BitsPerComponent 8 /Filter /DCTDecode /Length {len(data.getvalue())} >>\nstream\n"
            )
            name = add(head.encode() + data.getvalue() + b"\nendstream")
            names.append(f"/I{number} {name} 0 R")
            draw = f"q {width} 0 0 {height} {x} {y} cm /I{number} Do Q"
            if page.framed:
                inner = f"/Resources << /XObject << {names[-1]} >> >> /BBox [0 0 600 800] /Length {len(draw)}"
                form = add(f"<< /Type /XObject /Subtype /Form {inner} >>\nstream\n{draw}\nendstream".encode())
                names[-1] = f"/X{number} {form} 0 R"
                draw = f"q 2 0 0 2 50 0 cm /X{number} Do Q"
            content += f"\n{draw}"
        raw = content.encode("cp1252", "replace")
        stream = add(f"<< /Length {len(raw)} >>\nstream\n".encode() + raw + b"\nendstream")
        resources = f"<< /Font << /F 3 0 R >> /XObject << {' '.join(names)} >> >>"
        width, height = page.size
        body = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Rotate {page.rotate}"
        body += f" /Resources {resources}"
        kids.append(add(f"{body} /Contents {stream} 0 R >>".encode()) if not page.broken else add(b"null"))
    objects[0] = f"<< /Type /Catalog /Pages 2 0 R {catalog} >>".encode()
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] >>".encode()
    trailer = "/Root 1 0 R"
    if title is not None or info:
        info = f"/Title ({title}) {info}" if title is not None else info
        trailer += f" /Info {add(f'<< {info} >>'.encode())} 0 R"
    if locked:
        secret = "<" + "41" * 32 + ">"
        lock = add(f"<< /Filter /Standard /V 1 /R 2 /O {secret} /U {secret} /P -4 >>".encode())
        trailer += f" /ID [{secret} {secret}] /Encrypt {lock} 0 R"
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010} 00000 n \n".encode() for place in places)
    return bytes(out) + f"trailer\n<< /Size {len(objects) + 1} {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode()


def photo(width: int = 120, height: int = 90, seed: int = 0) -> Image.Image:
    """Return a smooth, coloured picture that differs by seed and in each of its corners."""
    random = np.random.default_rng(seed)
    corners = random.integers(0, 256, (2, 2, 3)).astype(np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR)


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """Return the bytes of a picture file."""
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()
