"""Made videos with known shots, words and times: are the shots found, and a moment by what is shown, written or said there?

python benchmarks/video.py [--films N] [--scenedetect PYTHON]

Each film has 12 shots of .6 to 4 seconds, of Flickr8k photographs: still, panned slowly and fast, zoomed, shaken with light that
flickers, or with a thing that moves through; with noise, and some with a flash of two frames. Of the changes three in five are cuts; the others fade through
black or dissolve. Containers and codecs take turns; one in three has a variable frame rate, some have frames that depend on later
ones, a turned picture or a late start. A cut counts as found within one frame; a fade or dissolve within .6 seconds.
``--scenedetect`` is a Python with PySceneDetect, which judges the same files.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import commonplace
from common import ROOT, data, flickr8k, interval, keep, machine, table
from commonplace.readers import ReadOptions, read

sys.path.insert(0, str(ROOT))
from tests.readers.make_video import Pixels, video

SIZE = 256, 144
RATE = 25
KINDS = [  # ending, muxer, codec, options
    ("mp4", "mp4", "libx264", {"preset": "veryfast", "bf": "3"}),
    ("mkv", "matroska", "libx264", {"preset": "veryfast", "bf": "2"}),
    ("webm", "webm", "libvpx", {"deadline": "realtime", "cpu-used": "8"}),
    ("mpg", "mpeg", "mpeg2video", {"bf": "2", "b": "1500k"}),
    ("avi", "avi", "mpeg4", {"b": "1200k"}),
    ("mov", "mov", "libx264", {"preset": "veryfast"}),
]
SAID = [
    ("The harbour pump was repaired in March.", "When was the harbour pump repaired?"),
    ("Professor Lindqvist explains why glaciers are blue.", "Who explains the colour of glaciers?"),
    ("Boil the rice for eleven minutes and let it rest.", "How long must the rice boil?"),
    ("The night train to Lisbon leaves from platform nine.", "Which platform does the Lisbon train use?"),
    ("Our cat Marmalade is afraid of umbrellas.", "What is the cat afraid of?"),
    ("The treaty was signed on a ship off Gotland.", "Where was the treaty signed?"),
    ("Tighten the left screw before you close the lid.", "Which screw is tightened first?"),
    ("The museum keeps a violin made of ice.", "What is the museum's violin made of?"),
    ("Two thirds of the orchard were lost to frost.", "How much of the orchard did the frost destroy?"),
    ("The password of the old lighthouse was heron.", "What was the lighthouse's password?"),
    ("Sourdough needs a warm kitchen and patience.", "What does sourdough need?"),
    ("The committee postponed the vote until Thursday.", "Until when was the vote postponed?"),
]  # fmt: skip
WRITTEN = [
    ("BUDGET 2031\nHarbour dredging 4.2 million", "How much does harbour dredging cost?"),
    ("Lesson 7\nIrregular verbs in Icelandic", "Which lesson is about Icelandic verbs?"),
    ("DANGER\nHigh voltage behind this door", "high voltage warning"),
    ("Recipe\nSaffron buns with raisins", "saffron buns recipe"),
    ("Departures\nOslo 10:45 Gate C12", "At which gate does the Oslo flight leave?"),
    ("Thank you for listening\nquestions@northpump.example", "address for questions after the talk"),
    ("Dr. Amara Osei\nMarine biologist", "Who is the marine biologist?"),
    ("Step 3\nGlue the wing to the fuselage", "When is the wing glued?"),
    ("Quarterly sales\nBicycles 812, scooters 340", "How many scooters were sold?"),
    ("Chapter two\nThe lighthouse keeper's daughter", "lighthouse keeper's daughter"),
    ("Agenda\nElection of the treasurer", "When is the treasurer elected?"),
    ("Caution\nWet paint on the railing", "wet paint"),
    ("Museum of Clocks\nClosed on Mondays", "When is the clock museum closed?"),
    ("Kepler's third law\nPeriods and distances", "Kepler's law on periods and distances"),
    ("Ingredients\n300 g chestnut flour", "How much chestnut flour is needed?"),
    ("Captain Ingrid Solberg\nIcebreaker Fram II", "Who is the captain of the icebreaker?"),
    ("Winner of 2029\nTeam Blue Heron", "Which team won in 2029?"),
    ("Exercise 12\nStretch your left shoulder", "exercise for the shoulder"),
    ("Population of Tromso\n78,900 inhabitants", "How many people live in Tromso?"),
    ("Password policy\nAt least fourteen characters", "How long must a password be?"),
    ("Platform 5\nSleeper to Vienna", "From which platform does the sleeper to Vienna leave?"),
    ("Tide table\nHigh water at 6:12", "When is high water?"),
    ("Violin repair\nReplace the broken bridge", "What is replaced when a violin is repaired?"),
    ("Emergency\nMeet at the oak tree", "Where to meet in an emergency?"),
]  # the even seeds show the first half, the odd ones the second


class Film(NamedTuple):
    path: Path
    cuts: list[float]
    gradual: list[float]
    shots: list[tuple[str, float, float]]  # photograph, begin, finish
    frame: float  # the longest, in seconds


def shot(rng: random.Random, photo: Path, frames: int, size: tuple[int, int] = SIZE) -> Iterator[np.ndarray]:
    """Yield the frames of a shot as floats."""
    width, height = size
    kind = rng.choice(["still", "pan", "fast", "zoom", "shake", "thing"])
    picture = Image.open(photo).convert("RGB").resize((width * 3 // 2, height * 3 // 2))
    thing = Image.open(rng.choice(PHOTOS)).convert("RGB").resize((width // 4, height // 3))
    noise = np.random.default_rng(rng.randrange(2**32))
    x, y, speed = rng.uniform(0, width / 2), rng.uniform(0, height / 2), rng.choice((-1, 1)) * rng.uniform(0.5, 1.5)
    speed *= 4 if kind == "fast" else 1
    for n in range(frames):
        if kind in ("pan", "fast"):
            x += speed
            if not 0 <= x <= width / 2:
                speed, x = -speed, min(max(x, 0), width / 2)
        side = 1.5 - 0.5 * n / frames if kind == "zoom" else 1.0
        dx, dy = (rng.uniform(-3, 3), rng.uniform(-2, 2)) if kind == "shake" else (0, 0)
        left = min(max(x * (1.5 - side) * 2 + dx, 0), width * (1.5 - side))
        top = min(max(y * (1.5 - side) * 2 + dy, 0), height * (1.5 - side))
        image = picture.resize(size, Image.Resampling.BILINEAR, (left, top, left + width * side, top + height * side))
        if kind == "thing":
            image.paste(thing, (int(n * 4 % (width + 60)) - 60, height // 3))
        pixels = np.asarray(image, np.float32) + noise.standard_normal((height, width, 3), np.float32) * 3
        yield pixels * np.float32(rng.uniform(0.93, 1.07)) if kind == "shake" else pixels


def film(folder: Path, number: int) -> Film:
    rng = random.Random(number)
    frames: list[np.ndarray] = []
    cuts, gradual, bounds, names = [], [], [0], []
    for n in range(12):
        photo = rng.choice(PHOTOS)
        scene = list(shot(rng, photo, int(rng.choice((0.6, 1.2, 2, 3, 4)) * RATE)))
        change = rng.choice(("cut", "cut", "cut", "fade", "dissolve")) if n else "start"
        length = min(int(rng.choice((0.4, 0.8)) * RATE), len(scene) // 2, len(frames) - bounds[-1] - 1)
        if change == "cut":
            cuts.append(len(frames))
            bounds.append(len(frames))
        elif change == "fade":
            for k in range(length):
                frames[k - length] = frames[k - length] * (1 - (k + 1) / length)
                scene[k] = scene[k] * (k / length)
            gradual.append(len(frames))
            bounds.append(len(frames))
        elif change == "dissolve":
            for k in range(length):
                part = (k + 1) / (length + 1)
                frames[k - length] = frames[k - length] * (1 - part) + scene[k] * part
            scene = scene[length:]
            gradual.append(len(frames) - length // 2)
            bounds.append(len(frames) - length // 2)
        if rng.random() < 0.25 and len(scene) > 40:
            for k in (-20, -19):  # a flash
                scene[k] = scene[k] * 0.2 + 210
        frames += scene
        names.append(photo.name)
    ending, muxer, codec, options = KINDS[number % len(KINDS)]
    ticks: list[int] | None = None
    if number % 3 == 1 and ending in ("mkv", "webm", "mov"):
        ticks = [rng.choice((0, 700))]
        for _ in frames[1:]:
            ticks.append(ticks[-1] + rng.choice((20, 33, 40, 60)))
    turned = 90 if ending in ("mp4", "mov") and rng.random() < 0.5 else 0
    pixels: list[Pixels] = [np.clip(frame, 0, 255).astype(np.uint8) for frame in frames]
    pixels = [np.ascontiguousarray(np.rot90(frame, -1)) for frame in pixels] if turned else pixels
    path = folder / f"film{number:02}.{ending}"
    path.write_bytes(video(pixels, muxer, codec, ticks=ticks, rate=RATE, options=options, rotation=turned))
    times = (
        [n / RATE for n in range(len(frames) + 1)] if ticks is None else [*(t / 1000 for t in ticks), ticks[-1] / 1000]
    )
    ends = [*bounds[1:], len(frames)]
    shots = [(name, times[begin], times[end]) for name, begin, end in zip(names, bounds, ends, strict=True)]
    return Film(
        path, [times[n] for n in cuts], [times[n] for n in gradual], shots, 0.061 if ticks else 1 / RATE + 0.001
    )


def matched(found: Sequence[float], wanted: Sequence[float], near: float) -> list[tuple[float, float]]:
    left = list(found)
    pairs = []
    for moment in wanted:
        close = [other for other in left if abs(other - moment) <= near]
        if close:
            best = min(close, key=lambda other: abs(other - moment))
            left.remove(best)
            pairs.append((moment, best))
    return pairs


def judge(films: Sequence[Film], boundaries: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return recall, precision and F1 of the cuts; what is near a fade or dissolve is no false cut. And recall of these."""
    cuts = found = false = gradual = soft = exact = 0
    for made, moments in zip(films, boundaries, strict=True):
        pairs = matched(moments, made.cuts, made.frame)
        rest = [moment for moment in moments if moment not in {other for _, other in pairs}]
        faded = matched(rest, made.gradual, 0.6)
        cuts, found, gradual, soft = (
            cuts + len(made.cuts),
            found + len(pairs),
            gradual + len(made.gradual),
            soft + len(faded),
        )
        false += len(rest) - len(faded)
        exact += sum(abs(a - b) < 0.0015 for a, b in pairs)
    recall, precision = found / cuts, found / max(1, found + false)
    f1 = 2 * recall * precision / max(1e-9, recall + precision)
    return {
        "recall": recall,
        "precision": precision,
        "f1": f1,
        "exact": exact / max(1, found),
        "gradual": soft / max(1, gradual),
    }


def ours(made: Film, options: ReadOptions) -> list[float]:
    parsed = read(made.path, options)
    begins = sorted({item.span.begin or 0.0 for item in parsed.items if item.modality == "image"})
    zero = begins[0] if made.path.suffix == ".mpg" else 0.0  # its clock begins with the first packet
    return [begin - zero for begin in begins[1:]]


SCENEDETECT = """
import json, sys
from scenedetect import detect, AdaptiveDetector, ContentDetector
out = {}
for name in sys.argv[1:]:
    out[name] = [[start.get_seconds() for start, end in detect(name, kind(min_scene_len=5))][1:] for kind in (AdaptiveDetector, ContentDetector)]
print(json.dumps(out))
"""


def peers(python: str, films: Sequence[Film]) -> dict[str, list[list[float]]]:
    names = [str(made.path) for made in films]
    done = subprocess.run([python, "-c", SCENEDETECT, *names], capture_output=True, text=True, check=True)
    output = json.loads(done.stdout.splitlines()[-1])
    return {kind: [output[name][n] for name in names] for n, kind in enumerate(("Adaptive", "Content"))}


def contains(hit: Any, name: str, begin: float, finish: float) -> bool:
    """Return whether a hit leads to the moment: its middle lies in it, or it is what the moment is a part of."""
    span = hit.item.span
    if Path(hit.item.document.path).name != name or span.begin is None:
        return False
    middle = (span.begin + span.finish) / 2
    return bool(
        begin - 0.05 <= middle <= finish + 0.05 or (span.begin <= begin + 0.05 and finish - 0.05 <= span.finish)
    )


def moments(folder: Path, films: Sequence[Film], seed: int) -> dict[str, list[float]]:
    """Return, by kind of question, whether the first hit is the right moment."""
    rng = random.Random(5)
    captions = flickr8k("dev")
    right: dict[str, list[float]] = {"shown": [], "said": [], "written": []}
    said = []
    for number, made in enumerate(films[: len(SAID) // 3]):
        lines = SAID[3 * number : 3 * number + 3]
        cues = [(4 + 9 * n, 6.5 + 9 * n, text) for n, (text, _question) in enumerate(lines)]
        clock = "{:02}:{:02}:{:02},{:03}".format
        text = "\n".join(
            f"{n}\n{clock(0, 0, int(a), int(a % 1 * 1000))} --> {clock(0, 0, int(b), int(b % 1 * 1000))}\n{words}\n"
            for n, (a, b, words) in enumerate(cues, 1)
        )
        made.path.with_suffix(".srt").write_text(text, encoding="utf-8")
        said += [(question, made.path.name, a, b) for (a, b, _), (_text, question) in zip(cues, lines, strict=True)]
    questions = written(folder, seed)
    with commonplace.open(folder.parent / "kb") as kb:
        kb.add(folder, workers=1, progress=False, ocr=True)
        for made in films:
            for name, begin, finish in made.shots:
                if finish - begin < 0.5 or sum(other[0] == name for one in films for other in one.shots) > 1:
                    continue
                (hit, *_rest) = kb.search(rng.choice(captions[name]), k=1)
                right["shown"].append(float(contains(hit, made.path.name, begin, finish)))
        for question, name, begin, finish in said:
            answer = kb.search(question, k=1)[0]
            right["said"].append(float(contains(answer, name, begin, finish)))
        for question, name, begin, finish in questions:
            span, path = (hit := kb.search(question, k=1)[0]).item.span, hit.item.document.path
            is_right = Path(path).name == name and begin - 0.5 <= (span.begin or 0.0) < finish
            right["written"].append(float(is_right))
            print(f"{is_right!s:5} {question} {begin:.2f} to {finish:.2f}: {span.begin}, {hit.item.text!r}", flush=True)
    return right


def written(folder: Path, seed: int) -> list[tuple[str, str, float, float]]:
    """Make films in which something is written; return question, name of the file, and from when to when it is shown.

    Six cards on one ground follow each other. Four texts appear in the middle of a shot that moves, on a bar or on the
    picture itself. Two are lines that are added to a card.
    """
    rng = random.Random(100 + seed)
    texts = WRITTEN[:12] if seed % 2 == 0 else WRITTEN[12:]
    rng.shuffle(texts)
    font = ImageFont.load_default(rng.choice((20, 22, 24)))
    dark, light = (rng.randrange(60), rng.randrange(60), rng.randrange(60)), (240, 240, rng.randrange(180, 250))
    ink, ground = (light, dark) if rng.random() < 0.5 else (dark, light)
    questions, frames = [], []

    def card(*lines: str) -> np.ndarray:
        image = Image.new("RGB", (480, 270), ground)
        place = 30, 60
        for line in lines:
            ImageDraw.Draw(image).multiline_text(place, line, ink, font, spacing=14)
            place = place[0], place[1] + 80
        return np.asarray(image)

    def show(question: str, name: str, pixels: Sequence[np.ndarray]) -> None:
        questions.append((question, name, len(frames) / RATE, (len(frames) + len(pixels)) / RATE))
        frames.extend(pixels)

    for text, question in texts[:6]:
        show(question, "cards.mp4", [card(text)] * rng.randrange(40, 70))
    (first, question), (second, other) = texts[6:8]
    show(question, "cards.mp4", [card(first)] * 50)
    show(other, "cards.mp4", [card(first, second)] * 50)
    (folder / "cards.mp4").write_bytes(video(frames, "mp4", "libx264", options={"preset": "veryfast"}))
    frames = []
    for n, (text, question) in enumerate(texts[8:]):
        scene = [np.clip(frame, 0, 255).astype(np.uint8) for frame in shot(rng, rng.choice(PHOTOS), 100, (480, 270))]
        titled = []
        for pixels in scene[30:80]:
            image = Image.fromarray(pixels)
            draw = ImageDraw.Draw(image)
            if n % 2:
                draw.rectangle((0, 190, 480, 262), ground)
            style = {} if n % 2 else {"stroke_width": 2, "stroke_fill": ground}
            draw.multiline_text((24, 196), text, ink, font, spacing=8, **style)
            titled.append(np.asarray(image))
        frames += scene[:30]
        show(question, "titles.mp4", titled)
        frames += scene[80:]
    (folder / "titles.mp4").write_bytes(video(frames, "mp4", "libx264", options={"preset": "veryfast"}))
    return questions


SPEED = """
import json, resource, sys, time
from commonplace.readers import ReadOptions, read
began, used = time.monotonic(), time.process_time()
parsed = read(sys.argv[1], ReadOptions(sys.argv[2], 256, seconds=float(sys.argv[3])))
print(json.dumps([time.monotonic() - began, time.process_time() - used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, len(parsed.items), parsed.document.error or parsed.document.status]))
"""


def repeated(short: Path, long: Path, repeat: int) -> Path:
    """Write a film that shows another some times over, without encoding it again; return its path."""
    import av

    with av.open(str(long), "w") as target:
        offset, stream = 0, None
        for _ in range(repeat):
            with av.open(str(short)) as source:
                stream = stream or target.add_stream_from_template(source.streams.video[0])
                end = 0
                for packet in source.demux(video=0):
                    if packet.dts is None:
                        continue
                    end = max(end, packet.pts + packet.duration)
                    packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, stream
                    target.mux(packet)
                offset += end
    return long


def reading(path: Path, tokenizer: str, seconds: float, limit: float = 300.0) -> dict[str, Any]:
    """Return what a process needs to read a film of some seconds: wall and processor seconds, peak memory."""
    command = [sys.executable, "-c", SPEED, str(path), tokenizer, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wall, cpu, memory, items, status = json.loads(done.stdout.splitlines()[-1])
    rate = path.stat().st_size * 8e-6 / seconds
    return {
        "seconds": seconds, "wall": wall, "cpu": cpu, "peak_mb": memory, "items": items, "status": status, "mbit": rate,
    }  # fmt: skip


def hour(folder: Path, tokenizer: str) -> None:
    """Print what an hour needs, and six minutes of it: shots of 2 to 6 seconds at 320 x 180, ten frames a second."""
    rng = random.Random(4)
    frames = (
        np.clip(frame, 0, 255).astype(np.uint8)
        for _ in range(15)
        for frame in shot(rng, rng.choice(PHOTOS), rng.choice((2, 4, 6)) * 10, (320, 180))
    )
    minute = folder / "minute.mp4"
    minute.write_bytes(video(frames, "mp4", "libx264", rate=10, options={"preset": "veryfast", "crf": "30"}))
    import av

    with av.open(str(minute)) as film:
        seconds = film.duration / av.time_base
    for repeat in (round(360 / seconds), round(3600 / seconds)):
        path = repeated(minute, folder / f"film{repeat}.mp4", repeat)
        print(reading(path, tokenizer, seconds * repeat, 3000.0), flush=True)


def speed(folder: Path, tokenizer: str, repeat: int) -> dict[str, Any]:
    """Return wall and processor seconds and peak memory of a film of 20 seconds at 720p, and of one ``repeat`` times as long."""
    rng = random.Random(3)
    seconds = 20
    frames = (
        np.clip(frame, 0, 255).astype(np.uint8)
        for _ in range(seconds // 2)
        for frame in shot(rng, rng.choice(PHOTOS), 2 * RATE, (1280, 720))
    )
    short = folder / "hd.mp4"
    short.write_bytes(video(frames, "mp4", "libx264", options={"preset": "veryfast", "crf": "26"}))
    long = repeated(short, folder / "long.mp4", repeat)
    values = {
        name: reading(path, tokenizer, length)
        for name, path, length in (("short", short, seconds), ("long", long, seconds * repeat))
    }
    with commonplace.open(folder / "kb") as kb:
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        used = time.process_time()
        kb.add(short, workers=1, progress=False, ocr=False)
        wall, used = time.monotonic() - began, time.process_time() - used
    after = resource.getrusage(resource.RUSAGE_CHILDREN)  # the worker has ended
    cpu = used + after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    values["index"] = {"seconds": seconds, "wall": wall, "cpu": cpu}
    return values


def main() -> None:
    global PHOTOS
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--films", type=int, default=12)
    parser.add_argument("--repeat", type=int, default=8, help="how much longer the long film is")
    parser.add_argument("--scenedetect", help="a Python that has PySceneDetect")
    parser.add_argument(
        "--seed", type=int, default=1, help="what is written in films, and how: even ones to develop with"
    )
    parser.add_argument("--hour", action="store_true", help="only an hour-long film; no report")
    parser.add_argument("--written", action="store_true", help="only what is written; no report")
    options = parser.parse_args()
    tokenizer = str(Path(commonplace.__file__).parent / "bundles" / "minilm-lite0" / "tokenizer.json")
    PHOTOS = [
        next(data("flickr8k").rglob(name)) for name in sorted(flickr8k("dev"))[:: 1000 // (12 * options.films + 30)]
    ]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "films"
        folder.mkdir()
        if options.hour:
            hour(Path(temporary), tokenizer)
            return
        if options.written:
            print(interval(moments(folder, [], options.seed)["written"]))
            return
        films = [film(folder, number) for number in range(options.films)]
        found = [ours(made, ReadOptions(tokenizer, 256)) for made in films]
        detectors = {"Commonplace": judge(films, found)}
        for name, boundaries in (peers(options.scenedetect, films) if options.scenedetect else {}).items():
            detectors[f"PySceneDetect, {name}"] = judge(films, boundaries)
        report(films, detectors, {}, {})
        pace = speed(Path(temporary), tokenizer, options.repeat)
        report(films, detectors, {}, pace)
        report(films, detectors, moments(folder, films, options.seed), pace)


def report(
    films: Sequence[Film], detectors: dict[str, Any], right: dict[str, list[float]], pace: dict[str, Any]
) -> None:
    """Write what is known so far."""
    cuts, gradual = sum(len(made.cuts) for made in films), sum(len(made.gradual) for made in films)
    text = [f"{machine()}. {len(films)} films of 12 shots, {cuts} cuts, {gradual} fades and dissolves.", ""]
    head = ["detector", "recall of cuts", "precision", "F1", "times exact", "fades and dissolves found"]
    keys = ("recall", "precision", "f1", "exact", "gradual")
    text += [table(head, [[name, *(row[key] for key in keys)] for name, row in detectors.items()]), ""]
    text += ["A time is exact within 1.5 ms of the frame's.", ""]
    spans = {kind: interval(values) for kind, values in right.items()}
    if right:
        rows = [[kind, len(right[kind]), mean, f"{low:.2f} to {high:.2f}"] for kind, (mean, low, high) in spans.items()]
        text += [table(["question about something", "questions", "R@1", "95%"], rows), ""]
    if pace:
        rates = [
            [
                name,
                v["seconds"],
                v["wall"],
                v["cpu"],
                v["seconds"] / v["wall"],
                v["seconds"] / v["cpu"],
                f"{v['peak_mb']:.0f} MB" if "peak_mb" in v else "",
            ]
            for name, v in (("read", pace["short"]), ("read", pace["long"]), ("read and index", pace["index"]))
        ]
        text += [
            table(
                ["720p, H.264", "seconds", "wall s", "CPU s", "x real time", "x real time on one core", "peak memory"],
                rates,
            ),
            "",
        ]
        text += [
            f"The film has {pace['short']['mbit']:.1f} Mbit/s. Words in frames are off. Other work ran on the same cores: processor time is what counts."
        ]
    keep(
        "video", "\n".join(text).rstrip(), {"films": len(films), "detectors": detectors, "r_at_1": spans, "speed": pace}
    )


PHOTOS: list[Path] = []

if __name__ == "__main__":
    main()
