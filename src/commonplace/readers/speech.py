"""Speech (the extra ``speech``): Silero VAD finds where it is, Whisper reads its words.

Both come with faster-whisper: the weights of Silero VAD are in its wheel; a Whisper model in CTranslate2's format is a
folder that the user names. Sound is decoded piece by piece, so memory does not grow with its length.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from time import process_time, thread_time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ModelError
from commonplace.i18n import _
from commonplace.metadata import UNREAD_SPEECH
from commonplace.readers.media import MAX_SECONDS, clock, first_second, opened
from commonplace.readers.parts import File
from commonplace.readers.subtitles import Cue
from commonplace.types import printable

__all__ = ["Samples", "is_speech_readable", "sound_of", "speech_folder", "speech_of"]

_RATE = 16_000  # samples a second, as both models take them
_WINDOW = 512  # samples that Silero VAD judges at once
_CONTEXT = 64  # samples before a window that it sees, too
_BATCH = 312  # windows, ten seconds
_SPEECH, _SILENCE = 0.5, 0.35  # probabilities at which speech begins, and below which it may end (Silero's own)
_CLEAR = 0.85  # probability that speech reaches somewhere; music stays below it
_PAUSE = 2.0  # seconds without speech that end a stretch (as in faster-whisper)
_MARGIN = 0.4  # seconds that are kept before and after speech
_SHORTEST = 0.25  # seconds of speech in a stretch; less is a noise
_SLICE = 30.0  # seconds of sound that count as a page
_LONGEST = 28.0  # seconds of a stretch: Whisper reads 30 at once
_GAP = 0.1  # seconds between two frames from which on something is missing between them
_SURE = 0.8  # probability of a language that is then that of the recording
_LOOP = 2.4  # compression ratio of words that repeat themselves because they were not understood (Whisper's own)
_COVERED = 0.5  # share of a stretch that subtitles cover, from which on it is not read again
_MAX_MARKS = 20  # values of a metadata key
_MAX_DAMAGED = 100  # packets in a row that cannot be decoded
_FILES = ("model.bin", "config.json", "tokenizer.json")
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’»」』)]*$")
_MAX_WORDS = 40  # of a sentence without an end

Samples = NDArray[np.float32]


def is_speech_readable() -> bool:
    """Return whether the extra ``speech`` is installed."""
    return importlib.util.find_spec("faster_whisper") is not None


def speech_folder(name: str | os.PathLike[str]) -> str:
    """Return the folder of a Whisper model in CTranslate2's format; a name on the hub is fetched, or in the cache.

    Raises ModelError where the extra ``speech`` is not installed, or there is no such model.
    """
    if not is_speech_readable():
        raise ModelError(_("reading speech needs the extra speech: run `pip install 'commonplace-rag[speech]'`"))
    folder = os.path.abspath(os.path.expanduser(name))
    if not os.path.isdir(folder):
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(name)) or str(name).startswith("."):
            raise ModelError(
                _("there is no folder {name}: give the folder of a speech model").format(name=printable(str(name)))
            )
        try:
            folder = importlib.import_module("faster_whisper.utils").download_model(str(name))
        except Exception as problem:  # the client of the hub raises errors of many libraries
            reason = " ".join(f"{type(problem).__name__}: {problem}".split())[:200]
            raise ModelError(
                _(
                    "the speech model {name} is no folder, and could not be fetched ({reason}): give the folder of a "
                    "Whisper model in CTranslate2's format"
                ).format(name=printable(str(name)), reason=printable(reason))
            ) from problem
    for file in _FILES:
        if not os.path.isfile(os.path.join(folder, file)):
            raise ModelError(
                _(
                    "the speech model {folder} has no {file}: give the folder of a Whisper model in CTranslate2's "
                    "format"
                ).format(folder=printable(folder), file=file)
            )
    return folder


def speech_of(file: File, subtitles: Sequence[Cue] = ()) -> list[Cue]:
    """Return what is said in a recording or video, as sentences with their seconds.

    Speech that ``subtitles`` cover is not read again. Without a model, or where time runs out, ``file`` notes where
    there is speech whose words were not read. Empty where ``file.options`` switch speech off.
    """
    options, quota = file.options, file.quota
    if options.speech_seconds <= 0:
        return []
    start, own_start = process_time(), thread_time()  # of all threads, and of this one
    try:
        model = _model(options.speech_model) if options.speech_model else None
        with opened(file, missing="", damaged="{detail}") as (av, container):
            sound = sound_of(file, av, container) if container.streams.audio else iter(())
            return _Speech(file, model, subtitles, start).cues(sound)
    except ModelError as problem:
        file.problems.append(str(problem))
        return []
    finally:
        quota.speech_seconds -= process_time() - start
        quota.deadline += thread_time() - own_start


class _Stretch(NamedTuple):
    """Sound with speech in it: its second in the recording, and its samples."""

    begin: float
    samples: Samples

    @property
    def finish(self) -> float:
        return self.begin + len(self.samples) / _RATE


class _Speech:
    """The speech of one recording."""

    def __init__(self, file: File, model: Any, subtitles: Sequence[Cue], start: float) -> None:
        self._file, self._model, self._subtitles = file, model, subtitles
        self._start = start  # of process_time()
        self._language: str | None = None
        self._languages: dict[str, float] = {}
        self._misheard: list[tuple[float, float]] = []
        self._unread: list[tuple[float, float]] = []
        self._is_over = False

    def cues(self, sound: Iterator[tuple[float, Samples]]) -> list[Cue]:
        cues: list[Cue] = []
        for stretch in _stretches(self._within_quota(sound)):
            if self._is_in_subtitles(stretch) or not self._may_go_on(stretch.begin):
                continue
            if self._model is None:
                self._unread.append((stretch.begin, stretch.finish))
            else:
                cues += self._read(stretch)
        self._note()
        return cues

    def _within_quota(self, sound: Iterator[tuple[float, Samples]]) -> Iterator[tuple[float, Samples]]:
        following = 0.0
        for second, samples in sound:
            if second >= following:
                following = second + _SLICE
                if not self._may_go_on(second):
                    return
            yield second, samples

    def _may_go_on(self, second: float) -> bool:
        """Count a step, and note where reading must stop."""
        quota = self._file.quota
        quota.look()
        is_late = process_time() - self._start > quota.speech_seconds
        if not self._is_over and (is_late or (quota.last_page is not None and quota.looked_at >= quota.last_page)):
            self._is_over = True
            reason = _("time ran out; use a smaller model") if is_late else quota.failure
            self._file.problems.append(
                _("its speech was read up to {time} only: {reason}").format(time=clock(second), reason=reason)
            )
        return not self._is_over

    def _is_in_subtitles(self, stretch: _Stretch) -> bool:
        covered = sum(
            max(0.0, min(cue.finish, stretch.finish) - max(cue.begin, stretch.begin))
            for cue in self._subtitles
            if cue.finish > stretch.begin and cue.begin < stretch.finish
        )
        return covered >= _COVERED * (stretch.finish - stretch.begin)

    def _read(self, stretch: _Stretch) -> Iterator[Cue]:
        """Yield the sentences of a stretch. Words that repeat themselves were not understood."""
        segments, info = self._model.transcribe(
            stretch.samples,
            language=self._language,
            temperature=0.0,  # higher ones would choose words by chance
            condition_on_previous_text=False,
            word_timestamps=True,
        )
        if info.language_probability >= _SURE:
            self._language = info.language
        self._languages[info.language] = self._languages.get(info.language, 0.0) + info.duration
        for segment in segments:
            if segment.compression_ratio > _LOOP:
                self._misheard.append((stretch.begin + segment.start, stretch.begin + segment.end))
                continue
            for sentence in _sentences(segment.words or ()):
                words = "".join(word.word for word in sentence).strip()
                finish = min(stretch.begin + float(sentence[-1].end), stretch.finish)
                begin = min(stretch.begin + float(sentence[0].start), finish)
                if words:
                    yield Cue(round(begin, 2), round(finish, 2), words, is_whole=True)

    def _note(self) -> None:
        file = self._file
        if self._languages:
            file.add_metadata("language", max(self._languages, key=self._languages.__getitem__))
        if self._misheard:
            file.problems.append(_("speech was not understood at {times}").format(times=_times(self._misheard)))
        if self._unread:
            marks = _joined(self._unread, _MAX_MARKS)
            file.add_metadata(UNREAD_SPEECH, *(f"{clock(begin)}-{clock(finish)}" for begin, finish in marks))
            awaits = _("the words of its speech ({times}) await a model: add it again with --speech-model")
            file.problems.append(awaits.format(times=_times(self._unread)))


def _sentences(words: Sequence[Any]) -> Iterator[list[Any]]:
    sentence: list[Any] = []
    for word in words:
        sentence.append(word)
        if _SENTENCE_END.search(word.word) or len(sentence) >= _MAX_WORDS:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _joined(times: Sequence[tuple[float, float]], count: int) -> list[tuple[float, float]]:
    """Return at most ``count`` stretches: those with the shortest pauses between them are joined."""
    pauses = [later[0] - earlier[1] for earlier, later in pairwise(times)]
    longest = sorted((pause for pause in pauses if pause > _GAP), reverse=True)[: count - 1]
    joined = [times[0]]
    for pause, (begin, finish) in zip(pauses, times[1:], strict=True):
        if longest and pause >= longest[-1] and len(joined) < count:
            joined.append((begin, finish))
        else:
            joined[-1] = joined[-1][0], finish
    return joined


def _times(times: Sequence[tuple[float, float]]) -> str:
    """Return the first times for a message."""
    shown = [
        _("{begin} to {finish}").format(begin=clock(begin), finish=clock(finish)) for begin, finish in _joined(times, 3)
    ]
    return _(", ").join(shown)


@lru_cache(maxsize=1)
def _model(folder: str) -> Any:
    """Return the Whisper model in a folder. Raises ModelError where it cannot be loaded."""
    logging.getLogger("faster_whisper").setLevel(logging.ERROR)
    try:
        # One thread: there is one worker for each processor.
        return importlib.import_module("faster_whisper").WhisperModel(
            folder, device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
        )
    except Exception as problem:  # the loaders raise errors of many types
        reason = " ".join(str(problem).split())[:200]
        raise ModelError(
            _("the speech model {folder} cannot be loaded ({reason}): give another one").format(
                folder=Path(folder).name, reason=printable(reason)
            )
        ) from problem


# --- where there is speech ------------------------------------------------------------------------------------------


def _stretches(sound: Iterator[tuple[float, Samples]]) -> Iterator[_Stretch]:
    """Yield the stretches of sound with speech in them, each as soon as it ends."""
    listener: _Listener | None = None
    for second, samples in sound:
        if listener is None or abs(second - listener.second) > _GAP:
            if listener is not None:
                yield from listener.end()
            listener = _Listener(second)
        yield from listener.add(samples)
    if listener is not None:
        yield from listener.end()


class _Listener:
    """Finds speech in sound without gaps, that begins at ``second``; it keeps one stretch at most."""

    def __init__(self, second: float) -> None:
        self.second = second  # at which the next samples begin
        self._waiting: list[Samples] = []
        self._count = 0
        self._state = [np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32)]
        self._context = np.zeros(_CONTEXT, np.float32)
        self._windows: list[Samples] = []  # of the stretch, or the last ones before one may begin
        self._probabilities: list[float] = []  # of these windows
        self._begin = second  # of the first of these windows
        self._is_speech = False
        self._silence = 0  # windows since the last one with speech

    def add(self, samples: Samples) -> Iterator[_Stretch]:
        self.second += len(samples) / _RATE
        self._waiting.append(samples)
        self._count += len(samples)
        if self._count >= _BATCH * _WINDOW:
            sound = np.concatenate(self._waiting)
            end = len(sound) // _WINDOW * _WINDOW
            self._waiting, self._count = [sound[end:]], len(sound) - end
            yield from self._judge(sound[:end].reshape(-1, _WINDOW))

    def end(self) -> Iterator[_Stretch]:
        """Yield what is left, and forget it."""
        rest = np.concatenate([*self._waiting, np.zeros(-self._count % _WINDOW, np.float32)])
        self._waiting, self._count = [], 0
        if len(rest):
            yield from self._judge(rest.reshape(-1, _WINDOW))
        yield from self._stretch(len(self._windows))

    def _judge(self, windows: Samples) -> Iterator[_Stretch]:
        before = np.vstack([self._context, windows[:-1, -_CONTEXT:]])
        self._context = windows[-1, -_CONTEXT:]
        session = importlib.import_module("faster_whisper.vad").get_vad_model().session
        names = {"input": np.hstack([before, windows]), "h": self._state[0], "c": self._state[1]}
        probabilities, *self._state = session.run(None, names)
        margin, pause = round(_MARGIN * _RATE / _WINDOW), round(_PAUSE * _RATE / _WINDOW)
        for window, probability in zip(windows, np.ravel(probabilities), strict=True):
            self._windows.append(window)
            self._probabilities.append(float(probability))
            if probability >= _SPEECH:
                self._is_speech, self._silence = True, 0
            elif self._silence or probability < _SILENCE:
                self._silence += 1
            if not self._is_speech:
                self._drop(len(self._windows) - margin)
            elif self._silence >= pause:
                yield from self._stretch(len(self._windows) - self._silence + margin)
                self._drop(len(self._windows) - margin)
                self._is_speech, self._silence = False, 0
            elif len(self._windows) * _WINDOW >= _LONGEST * _RATE:
                half = len(self._windows) // 2  # cut where speech is least likely
                yield from self._stretch(half + int(np.argmin(self._probabilities[half:])))

    def _stretch(self, end: int) -> Iterator[_Stretch]:
        """Yield the first windows, where there is speech in them, and drop them."""
        voiced = [probability for probability in self._probabilities[:end] if probability >= _SPEECH]
        if len(voiced) * _WINDOW >= _SHORTEST * _RATE and max(voiced) >= _CLEAR:
            yield _Stretch(self._begin, np.concatenate(self._windows[:end]))
        self._drop(end)

    def _drop(self, count: int) -> None:
        if count > 0:
            del self._windows[:count], self._probabilities[:count]
            self._begin += count * _WINDOW / _RATE


def sound_of(file: File, av: Any, container: Any, rate: int = _RATE) -> Iterator[tuple[float, Samples]]:
    """Yield the sound in pieces, each with its second: one channel, ``rate`` samples a second, in [-1, 1]."""
    stream = container.streams.best("audio") or container.streams.audio[0]
    if stream.codec_context is None:
        file.problems.append(_("its sound is in a format that cannot be decoded; convert it"))
        return
    zero, second, damaged = first_second(av, container), 0.0, 0
    resampler = av.AudioResampler("flt", "mono", rate)
    packets = container.demux(stream)
    while damaged <= _MAX_DAMAGED:
        try:
            packet = next(packets, None)
            frames = [] if packet is None else packet.decode()
        except (av.FFmpegError, ValueError, OSError):
            damaged += 1
            continue
        if packet is None:
            return
        for frame in frames:
            damaged = 0
            at = float(frame.pts * frame.time_base - zero) if frame.pts is not None and frame.time_base else second
            if not 0 <= at < MAX_SECONDS or abs(at - second) <= _GAP:
                at = second  # rounded times, as they are in some containers, make no gap
            try:
                pieces = resampler.resample(frame)
            except (av.FFmpegError, ValueError):  # the rate or the channels have changed
                resampler = av.AudioResampler("flt", "mono", rate)
                pieces = resampler.resample(frame)
            for piece in pieces:
                samples = np.nan_to_num(piece.to_ndarray().reshape(-1).astype(np.float32))
                yield at, samples
                at += len(samples) / rate
            second = at
