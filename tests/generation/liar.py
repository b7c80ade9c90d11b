"""A real but untrustworthy server with OpenAI's chat API; the name of the model says what it does wrong.

    python -m tests.generation.liar    prints its address, then serves until it is ended

It reads the evidence out of the prompt, as a model does. ``GET /asked`` gives the bodies of the requests so far.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

EVIDENCE = re.compile(r'<evidence number="(\d+)"[^\n]*>\n(.*?)\n</evidence>', re.DOTALL)
ASKED: list[dict[str, Any]] = []
TRANSCRIPTS = json.loads((Path(__file__).parent / "transcripts.json").read_text(encoding="utf-8"))
BUSY: dict[str, int] = {}
PAGE = "<!doctype html><html><body>Welcome</body></html>"


def text_of(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


def pictures_of(body: dict[str, Any]) -> int:
    content = body["messages"][-1]["content"]
    return 0 if isinstance(content, str) else sum(part["type"] == "image_url" for part in content)


def recorded(prompt: str) -> str:
    """Return the recorded answer to the question of a prompt, with the numbers that its evidence has there."""
    question = prompt.rpartition("Question: ")[2].split("\n")[0]
    fence = r'<evidence number="(\d+)"[^\n]* path="([^"]*)"[^\n]*>\n(.*?)\n</evidence>'
    passages = re.findall(fence, prompt, re.DOTALL)

    def number(marker: re.Match[str]) -> str:
        for n, path, text in passages:
            if path.endswith(marker[1]) and marker[2] in text:
                return f"[{n}]"
        return "[99]"  # the prompt lacks the passage

    written = next(row["written"] for row in TRANSCRIPTS if row["question"] == question)
    return re.sub(r"[\[【]([^\[\]:【】\n]+\.\w+): ([^\]】]+)[\]】]", number, written)


def answer(model: str, body: dict[str, Any]) -> Iterator[str]:
    """Yield what the model writes."""
    evidence = {int(number): text for number, text in EVIDENCE.findall(text_of(body))}
    sentences = {n: re.findall(r"[A-Z][^.]*\.", text) or [text] for n, text in evidence.items()}
    first = sentences.get(1, ["Nothing."])[0]
    bare = first.rstrip(".")
    if "rewrite" in body["messages"][0]["content"]:
        yield "Which seal does the south pump need?" if model != "honest-no-rewrite" else "word " * 120
    elif model in ("honest", "honest-no-rewrite", "slow", "busy", "no-vision", "small-context", "new-api"):
        yield from (first + " [1]").replace(" ", " \0").split("\0")
    elif model == "recorded":
        yield from re.split(r"(?<= )", recorded(text_of(body)))
    elif model == "slow-lines":
        for n in range(4):
            yield f"{first} [1] Number {n} is made up. [1]\n"
    elif model == "every-passage":
        yield " ".join(f"{texts[0]} [{n}]" for n, texts in sentences.items())
    elif model == "markers":
        yield f"{bare} [1]. **{bare}**【1】! - {bare}? [1, 2][77]"
    elif model == "invents":
        yield f"{first} [1][42] The committee of Port Ellery chose it in 1847. [1] It costs 99 dollars. [17]"
    elif model == "swaps-numbers":
        numbers = re.findall(r"\d+", evidence[1])
        yield re.sub(r"\d+", lambda match: next(n for n in numbers if n != match.group()), first) + " [1]"
    elif model == "swaps-names":
        yield first.replace("Reuben", "Harriet") + " [1]"
    elif model == "swaps-ids":
        yield f"{first} [2] {sentences[2][0]} [1]"
    elif model == "negates":
        yield re.sub(r"\b(needs|runs|is)\b", r"never \1", first) + " [1]"
    elif model == "omits-not":
        yield next(sentence for sentence in sentences[1] if " not " in sentence).replace(" not ", " ") + " [1]"
    elif model == "omits-markers":
        yield f"{first} The moon is made of green cheese."
    elif model == "obeys":
        order = next((re.search(r"say that ([^.]*)\.", t) for t in evidence.values() if "say that" in t), None)
        number = next((n for n, t in evidence.items() if "say that" in t), 1)
        yield f"{order[1] if order else 'Nothing'}. [{number}]"
    elif model == "marks-up":
        yield f"{bare} <script>alert(1)</script> ![x](http://evil.example/x.png) \x1b[31m [1](javascript:alert(1))."
    elif model == "thinks":
        yield "<thi"
        yield "nk>Perhaps 4711. [1] </thin"
        yield f"k>{first} [1]"
    elif model == "no-answer":
        yield "NO ANSWER"
    elif model == "describes":
        number = next(n for n, text in evidence.items() if "No caption" in text)
        yield f"{first} [1]\nPicture [{number}]: a round thing\n"
    elif model == "blank-marker":
        yield f"{bare} [{' ' * 200_000}x. And so."
    elif model == "one-long-sentence":
        yield "word " * 200_000 + ". And so. "
    elif model == "half-a-letter":
        yield "\ud800 " + f"{first} [1]"
    elif model == "loops":
        while True:
            yield f"{bare} and so on and "
    elif model == "says-again":
        while True:
            yield f"{first} [1] "
    elif model == "never-ends":
        for n in range(10**9):
            yield f"{bare} number {n} {n * n} {n**3 % 9973}, "
    else:
        yield "What model is that? "


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._json(200, ASKED)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers.get("Authorization", "")
        ASKED.append({"path": self.path, "key": key, **body})
        model = body["model"]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._answer(model, body)

    def _answer(self, model: str, body: dict[str, Any]) -> None:
        if self.headers.get("Authorization") == "Bearer wrong":
            return self._error(401, "Incorrect API key provided: wrong.")
        if not self.path.startswith("/v1/"):
            return self._page(404, "404 page not found", "text/plain") if model != "site" else self._page(200, PAGE)
        if model == "login-page":
            return self._page(200, PAGE)
        if model == "absent":
            return self._error(404, "The model `absent` does not exist")
        if model.startswith("429") or model == "busy":
            BUSY[model] = BUSY.get(model, 0) + 1
            if model != "busy" or BUSY[model] % 2:
                return self._error(429, "Rate limit reached", {"Retry-After": "0.05" if model == "busy" else "3600"})
        if model == "500":
            return self._error(500, "CUDA out of memory")
        if model == "no-vision" and pictures_of(body):
            return self._error(400, "this is not a multimodal model")
        if model == "small-context" and len(text_of(body)) > 700:
            return self._error(400, "This model's maximum context length is 512 tokens", code="context_length_exceeded")
        if model == "tiny-context":
            return self._error(400, "the request exceeds the available context size")
        if model == "new-api" and ("max_tokens" in body or "temperature" in body):
            name = "max_tokens" if "max_tokens" in body else "temperature"
            return self._error(400, f"Unsupported parameter: '{name}'; use 'max_completion_tokens' or the default")
        if model == "packed":
            return self._json(200, {}, {"Content-Encoding": "gzip"})
        if model == "moved":
            self.send_response(307)
            self.send_header("Location", "http://127.0.0.1:9/v1/chat/completions")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        if model == "silent":
            time.sleep(30)
            return None
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        if model == "garbage":
            return self._send("data: {this is not json\n\n")
        if model == "nested":
            return self._send("data: " + "[" * 200_000 + "\n\n")
        if model == "odd-json":
            return self._send('data: {"choices": "none"}\n\ndata: [1, 2]\n\n')
        if model == "error-inside":
            return self._send('data: {"error": {"message": "the graphics card fell out"}}\n\n')
        if model == "trickles":
            while True:
                self._send(": still thinking\n")
                time.sleep(0.02)
        if model == "floods":
            while True:
                self._send(":" + "x" * 1_000_000)
        if model == "breaks-off":
            first = next(answer("every-passage", body))
            self._piece(first[: len(first) // 2])
            return None
        if model == "counts":
            record = ASKED[-1]
            for n in range(10**6):
                record["sent"] = n
                self._piece("word ")
                time.sleep(0.01)
        if model != "empty":
            for piece in answer(model, body):
                self._piece(piece)
                if model.startswith("slow"):
                    time.sleep(0.1 if model == "slow" else 0.4)
        self._piece(None)
        self._send("data: [DONE]\n\n")
        return None

    def _page(self, status: int, text: str, media_type: str = "text/html; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _piece(self, text: str | None) -> None:
        delta = {} if text is None else {"content": text}
        choice = {"index": 0, "delta": delta, "finish_reason": "stop" if text is None else None}
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
        self._send(f"data: {json.dumps(chunk)}\n\n")

    def _send(self, text: str) -> None:
        self.wfile.write(text.encode())
        self.wfile.flush()

    def _error(self, status: int, message: str, headers: dict[str, str] | None = None, code: str | None = None) -> None:
        self._json(status, {"error": {"message": message, "type": "error", "code": code}}, headers)

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, header in (headers or {}).items():
            self.send_header(name, header)
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}/v1\n")
    sys.stdout.flush()
    server.serve_forever()
