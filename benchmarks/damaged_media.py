"""Videos and recordings with random damage: is each read or refused, without a crash, a hang or growth?

    python benchmarks/damaged_media.py [--seconds 300] [--seed 0]

Small films and recordings of many formats are made, and bytes of them are changed, removed, repeated or exchanged. A
process reads one after the other, each with a limit of its processor time; where it ends, the seed of the file is kept.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from common import ROOT, keep, machine, table

sys.path.insert(0, str(ROOT))

LIMIT = 60  # seconds of the processor for one file

READ = """
import json, resource, signal, sys, time
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/benchmarks"]
from damaged_media import LIMIT, TOKENIZER, damaged, originals
from commonplace.errors import ReadError
from commonplace.readers import ReadOptions, read
folder, first, until = Path(sys.argv[2]), int(sys.argv[3]), time.monotonic() + float(sys.argv[4])
options, files = ReadOptions(TOKENIZER, 256), originals()
seed = first
while time.monotonic() < until or seed == first:
    name, content = damaged(files, seed)
    path = folder / name
    path.write_bytes(content)
    used = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    try:
        outcome = read(path, options).document.status
    except ReadError:
        outcome = "refused"
    signal.setitimer(signal.ITIMER_PROF, 0)
    path.unlink()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([seed, name, outcome, time.process_time() - used, memory]), flush=True)
    seed += 1
"""


def _tokenizer() -> str:
    import commonplace

    return str(Path(commonplace.__file__).parent / "bundles" / "minilm-lite0" / "tokenizer.json")


TOKENIZER = _tokenizer()


def originals() -> list[tuple[str, bytes]]:
    """Return files by name: films of many containers and codecs, and recordings."""
    from tests.readers.make_sound import note, sound
    from tests.readers.make_video import scene, video

    film = [*scene(1, 8, (64, 48)), *scene(2, 8, (64, 48))]
    marks = {"chapters": [(0, 1, "A")], "subtitles": [(0.1, 0.4, "Hello.")]}
    kinds = [
        ("mp4", "mp4", "mpeg4", marks), ("mkv", "matroska", "mpeg4", marks), ("mkv", "mkv", "mpeg4", {"subtitles": [(0.1, 0.4, "Hi.")], "are_pictures": True}),
        ("mp4", "mp4", "libx264", {"options": {"preset": "ultrafast"}, "sound": True}), ("mov", "mov", "mpeg4", {"rotation": 90}),
        ("webm", "webm", "libvpx", {"options": {"deadline": "realtime", "cpu-used": "8"}}), ("avi", "avi", "mpeg4", {}),
        ("mpg", "mpeg", "mpeg2video", {}), ("mts", "mpegts", "mpeg2video", {"sound": True}),
    ]  # fmt: skip
    files = [
        (f"film{n}.{ending}", video(film, muxer, codec, **more)) for n, (ending, muxer, codec, more) in enumerate(kinds)
    ]
    tone = note(440, 1)
    return files + [(f"sound.{kind}", sound(tone, kind)) for kind in ("wav", "mp3", "flac", "ogg", "m4a")]


def damaged(files: list[tuple[str, bytes]], seed: int) -> tuple[str, bytes]:
    """Return the name and the bytes of a file with random damage."""
    rng = random.Random(seed)
    name, original = rng.choice(files)
    content = bytearray(original)
    for _ in range(rng.choice((1, 1, 3, 30))):
        place, length = rng.randrange(len(content)), rng.choice((1, 1, 4, 40, 400))
        kind = rng.choice(("change", "change", "change", "remove", "repeat", "exchange", "ones", "end"))
        if kind == "change":
            content[place] = rng.randrange(256)
        elif kind == "remove" and len(content) > length + 100:
            del content[place : place + length]
        elif kind == "repeat":
            content[place:place] = content[place : place + length]
        elif kind == "exchange":
            other = rng.choice(files)[1]
            content[place : place + length] = other[place % len(other) :][:length]
        elif kind == "ones":
            content[place : place + 4] = b"\xff\xff\xff\xff"
        elif kind == "end" and place > 100:
            del content[place:]
    return name, bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    outcomes: Counter[str] = Counter()
    crashes: list[str] = []
    longest, first_memory, memory, seed, left = 0.0, 0.0, 0.0, options.seed, options.seconds
    import time

    with tempfile.TemporaryDirectory() as folder:
        while left > 0:
            began = time.monotonic()
            command = [sys.executable, "-c", READ, str(ROOT), folder, str(seed), str(left)]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for done, line in enumerate(child.stdout or (), 1):
                seed, _name, outcome, seconds, memory = json.loads(line)
                seed += 1
                outcomes[outcome] += 1
                longest = max(longest, seconds)
                if done == 100 and not first_memory:
                    first_memory = memory
            if child.wait() != 0:
                crashes.append(
                    f"seed {seed}: exit {child.returncode}, {(child.stderr.read() if child.stderr else '')[-300:]}"
                )
                outcomes["crash"] += 1
                seed += 1
                if len(crashes) > 20:
                    break
            left -= time.monotonic() - began
    head = [
        "files",
        "ok",
        "partial",
        "refused",
        "crashed or hung",
        "longest, CPU s",
        "memory after 100, MB",
        "at the end, MB",
    ]
    row = [
        sum(outcomes.values()),
        *(outcomes[name] for name in ("ok", "partial", "refused", "crash")),
        longest,
        first_memory,
        memory,
    ]
    text = [
        f"{machine()}. Films (nine kinds) and recordings (five) with random damage, read in one process for {options.seconds:.0f} s.",
        "",
        table(head, [row]),
        *crashes,
    ]
    keep(
        "damaged_media",
        "\n".join(text),
        {"outcomes": dict(outcomes), "longest": longest, "crashes": crashes, "seed": options.seed},
    )


if __name__ == "__main__":
    main()
