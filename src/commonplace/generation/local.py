"""A vision-language model in this process, by transformers: for those who want no server."""

from __future__ import annotations

import base64
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
from commonplace.types import Note

__all__ = ["TransformersGenerator"]


class TransformersGenerator(ModelGenerator):
    """Writes answers with the vision-language or language model in ``folder``, on ``device`` (default: a GPU if any).

    Loaded at the first answer, from that folder only: no hub is asked and no code of the model's is run. An answer may
    take ``deadline`` seconds. One answer at a time. Further keywords: see :class:`ModelGenerator`. Raises
    GeneratorError where transformers is not installed (extra ``transformers``) or the folder holds no such model.
    """

    def __init__(
        self, folder: str | Path, *, device: str | None = None, deadline: float = 600.0, **common: Any
    ) -> None:
        self.folder = Path(folder).expanduser()
        if not (self.folder / "config.json").is_file():
            raise GeneratorError(f"there is no model in {self.folder} (no config.json): check the name")
        super().__init__(self.folder.name, **common)
        self.device = device
        self.deadline = deadline
        self._one = threading.Lock()

    @cached_property
    def _model(self) -> tuple[Any, Any]:
        """The processor (a tokenizer, for a model without pictures) and the model."""
        try:
            import transformers
            from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer
        except ImportError as problem:
            raise GeneratorError(
                "transformers is not installed: install commonplace with the extra transformers, "
                "or ask without a language model"
            ) from problem
        own = {"local_files_only": True, "trust_remote_code": False}
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        try:
            try:
                model = AutoModelForImageTextToText.from_pretrained(self.folder, dtype="auto", **own)
                reader = AutoProcessor.from_pretrained(self.folder, **own)
            except ValueError:  # a configuration of no such kind: words only
                model = AutoModelForCausalLM.from_pretrained(self.folder, dtype="auto", **own)
                reader = AutoTokenizer.from_pretrained(self.folder, **own)
                self.vision = False
        except Exception as problem:  # a damaged file raises what its format's library likes
            raise GeneratorError(f"the model in {self.folder} cannot be loaded ({problem}): get it again") from problem
        return reader, model.to(self._device).eval()

    @property
    def _device(self) -> str:
        import torch

        return self.device or ("cuda" if torch.cuda.is_available() else "cpu")

    def write(self, messages: Sequence[dict[str, Any]], max_tokens: int) -> Generator[str | Note, None, None]:
        """Yield what the model writes; see :meth:`ModelGenerator.write`."""
        reader, model = self._model
        from transformers import StoppingCriteria, StoppingCriteriaList
        from transformers.generation.streamers import BaseStreamer

        pictured = any(not isinstance(one["content"], str) for one in messages)
        if pictured and self.vision is False:
            raise NoPictures(f"{self.name} takes no pictures: say so (vision = false)")
        try:
            inputs = reader.apply_chat_template(
                [_message(one) for one in messages] if self.vision is not False else list(messages),
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            ).to(self._device)
        except Exception as problem:  # templates raise what they like for what they do not take
            kind = NoPictures if pictured else GeneratorError
            raise kind(f"{self.name} cannot read the prompt ({problem}): choose another model") from problem
        length = int(inputs["input_ids"].shape[1])
        most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        if most and length + max_tokens > most:
            raise ContextTooSmall(f"the prompt is too long for {self.name}; it says: {length} tokens, at most {most}")
        stopped = threading.Event()
        until = time.monotonic() + self.deadline
        failure: list[BaseException] = []

        class Stop(StoppingCriteria):  # type: ignore[misc]
            def __call__(self, *_: Any, **__: Any) -> bool:
                return stopped.is_set() or time.monotonic() > until

        tokenizer = getattr(reader, "tokenizer", reader)
        pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()

        class Pieces(BaseStreamer):  # type: ignore[misc]
            """Text as its tokens come: the library's own waits for a space, which may never come."""

            def __init__(self) -> None:
                self.ids: list[int] | None = None  # until the prompt has gone by
                self.before = self.after = 0  # tokens whose text is known, and those of which it was told

            def put(self, value: Any) -> None:
                if self.ids is None:
                    self.ids = []
                    return
                self.ids += value.flatten().tolist()
                told, now = (
                    tokenizer.decode(self.ids[self.before : end], skip_special_tokens=True)
                    for end in (self.after, len(self.ids))
                )
                # A character may take several tokens.
                if now.endswith("\ufffd") and len(self.ids) - self.after < 8:
                    return
                pieces.put(now[len(told) :])
                self.before, self.after = self.after, len(self.ids)

            def end(self) -> None:
                pieces.put(None)

        def run() -> None:
            try:
                model.generate(
                    **inputs,
                    max_new_tokens=max_tokens,
                    do_sample=False,
                    streamer=Pieces(),
                    stopping_criteria=StoppingCriteriaList([Stop()]),
                )
            except BaseException as problem:  # handed to the thread that reads
                failure.append(problem)
                pieces.put(None)

        with self._one:
            worker = threading.Thread(target=run, daemon=True)
            worker.start()
            try:
                yield from (piece for piece in iter(pieces.get, None) if piece)
            finally:
                stopped.set()
                worker.join()
        if failure:
            raise GeneratorError(f"{self.name} failed ({failure[0]}): try again, or choose another model")
        if time.monotonic() > until:
            raise GeneratorError(
                f"{self.name} was not done after {self.deadline:g} seconds: allow it more (deadline), "
                "or choose a faster model"
            )


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message as processors take it: a list of parts, pictures decoded."""
    from PIL import Image

    content = message["content"]
    if isinstance(content, str):
        return {"role": message["role"], "content": [{"type": "text", "text": content}]}
    parts: list[dict[str, Any]] = []
    for part in content:
        if part["type"] == "text":
            parts.append(part)
        else:  # our own JPEG (see prompt.py)
            data = base64.b64decode(part["image_url"]["url"].split(",", 1)[1])
            parts.append({"type": "image", "image": Image.open(io.BytesIO(data)).convert("RGB")})
    return {"role": message["role"], "content": parts}
