"""A vision-language model in this process, loaded with transformers; no server is needed."""

from __future__ import annotations

import base64
import importlib.util
import io
import queue
import threading
import time
from collections.abc import Generator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from commonplace.errors import GeneratorError
from commonplace.generation.model import ContextTooSmall, ModelGenerator, NoPictures
from commonplace.i18n import N_, _
from commonplace.types import Note

__all__ = ["TransformersGenerator"]

NO_TRANSFORMERS = N_(
    "transformers is not installed: run `pip install 'commonplace-rag[transformers]'`, or ask without a language model"
)


class TransformersGenerator(ModelGenerator):
    """Writes answers with the vision-language or language model in ``folder``, on ``device`` (default: a GPU if any).

    The model is loaded at the first answer, from that folder only: nothing is downloaded, and no code of the model is
    run. An answer may take ``deadline`` seconds. The model writes one answer at a time. Further keywords: see
    ``ModelGenerator``. Raises GeneratorError if the folder holds no model, and if transformers is not installed (extra
    ``transformers``): before anything is searched.
    """

    def __init__(
        self, folder: str | Path, *, device: str | None = None, deadline: float = 600.0, **common: Any
    ) -> None:
        self.folder = Path(folder).expanduser()
        if not (self.folder / "config.json").is_file():
            raise GeneratorError(
                _("there is no model in {folder} (no config.json): check the name of the folder").format(
                    folder=self.folder
                )
            )
        if importlib.util.find_spec("transformers") is None:
            raise GeneratorError(_(NO_TRANSFORMERS))
        super().__init__(self.folder.name, **common)
        self.device = device
        self.deadline = deadline
        self._lock = threading.Lock()

    @cached_property
    def _model(self) -> tuple[Any, Any]:
        """The processor (a tokenizer, for a model without pictures) and the model."""
        try:
            import transformers
            from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer
        except ImportError as problem:
            raise GeneratorError(_(NO_TRANSFORMERS)) from problem
        options = {"local_files_only": True, "trust_remote_code": False}
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        try:
            try:
                model = AutoModelForImageTextToText.from_pretrained(self.folder, dtype="auto", **options)
                processor = AutoProcessor.from_pretrained(self.folder, **options)
            except ValueError:  # a model without vision
                model = AutoModelForCausalLM.from_pretrained(self.folder, dtype="auto", **options)
                processor = AutoTokenizer.from_pretrained(self.folder, **options)
                self.vision = False
        except Exception as problem:  # a damaged file raises any exception of the library for its format
            raise GeneratorError(
                _("the model in {folder} cannot be loaded ({problem}): download it again").format(
                    folder=self.folder, problem=problem
                )
            ) from problem
        return processor, model.to(self._device).eval()

    @property
    def _device(self) -> str:
        import torch

        return self.device or ("cuda" if torch.cuda.is_available() else "cpu")

    def write(self, messages: Sequence[dict[str, Any]], max_tokens: int) -> Generator[str | Note, None, None]:
        """Yield what the model writes; see ``ModelGenerator.write()``."""
        processor, model = self._model
        from transformers import StoppingCriteria, StoppingCriteriaList
        from transformers.generation.streamers import BaseStreamer

        has_pictures = any(not isinstance(message["content"], str) for message in messages)
        if has_pictures and self.vision is False:
            raise NoPictures(_("{name} accepts no pictures: set vision = false").format(name=self.name))
        try:
            inputs = processor.apply_chat_template(
                [_message(message) for message in messages] if self.vision is not False else list(messages),
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            ).to(self._device)
        except Exception as problem:  # a chat template raises any exception for messages that it does not accept
            kind = NoPictures if has_pictures else GeneratorError
            raise kind(
                _("{name} cannot read the prompt ({problem}): choose another model").format(
                    name=self.name, problem=problem
                )
            ) from problem
        length = int(inputs["input_ids"].shape[1])
        max_positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        if max_positions and length + max_tokens > max_positions:
            raise ContextTooSmall(
                _("the prompt is too long for {name}; it says: {length} tokens, at most {max_positions}").format(
                    name=self.name, length=length, max_positions=max_positions
                )
            )
        cancelled = threading.Event()
        deadline = time.monotonic() + self.deadline
        failure: list[BaseException] = []

        class Stop(StoppingCriteria):  # type: ignore[misc]
            def __call__(self, *_: Any, **__: Any) -> bool:
                return cancelled.is_set() or time.monotonic() > deadline

        tokenizer = getattr(processor, "tokenizer", processor)
        pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()

        class Streamer(BaseStreamer):  # type: ignore[misc]
            """Passes text on as its tokens come; the library's own streamer waits for a space, which may never come."""

            def __init__(self) -> None:
                self.ids: list[int] | None = None  # None until the prompt has passed
                self.before = self.after = 0  # tokens before the last two pieces of text

            def put(self, value: Any) -> None:
                if self.ids is None:
                    self.ids = []
                    return
                self.ids += value.flatten().tolist()
                shown, decoded = (
                    tokenizer.decode(self.ids[self.before : end], skip_special_tokens=True)
                    for end in (self.after, len(self.ids))
                )
                # A character may take several tokens.
                if decoded.endswith("\ufffd") and len(self.ids) - self.after < 8:
                    return
                pieces.put(decoded[len(shown) :])
                self.before, self.after = self.after, len(self.ids)

            def end(self) -> None:
                pieces.put(None)

        def run() -> None:
            try:
                model.generate(
                    **inputs,
                    max_new_tokens=max_tokens,
                    do_sample=False,
                    streamer=Streamer(),
                    stopping_criteria=StoppingCriteriaList([Stop()]),
                )
            except BaseException as problem:  # raised again in the thread that reads
                failure.append(problem)
                pieces.put(None)

        with self._lock:
            worker = threading.Thread(target=run, daemon=True)
            worker.start()
            try:
                yield from (piece for piece in iter(pieces.get, None) if piece)
            finally:
                cancelled.set()
                worker.join()
        if failure:
            raise GeneratorError(
                _("{name} failed ({failure}): try again, or choose another model").format(
                    name=self.name, failure=failure[0]
                )
            )
        if time.monotonic() > deadline:
            raise GeneratorError(
                _(
                    "{name} was not done after {deadline:g} seconds: allow more (deadline), or choose a faster model"
                ).format(name=self.name, deadline=self.deadline)
            )


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message in the form that processors take: a list of parts, with decoded pictures."""
    from PIL import Image

    content = message["content"]
    if isinstance(content, str):
        return {"role": message["role"], "content": [{"type": "text", "text": content}]}
    parts: list[dict[str, Any]] = []
    for part in content:
        if part["type"] == "text":
            parts.append(part)
        else:  # a JPEG as a data URL (see prompt.py)
            data = base64.b64decode(part["image_url"]["url"].split(",", 1)[1])
            parts.append({"type": "image", "image": Image.open(io.BytesIO(data)).convert("RGB")})
    return {"role": message["role"], "content": parts}
