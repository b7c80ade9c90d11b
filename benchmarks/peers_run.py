"""One system of peers.py: index a folder, answer questions with ranked passages. Run in that system's environment.

    PYTHON benchmarks/peers_run.py SYSTEM FOLDER QUESTIONS OUT

``QUESTIONS`` has a JSON object a line: ``id``, and ``question`` or ``image``. ``OUT`` gets for each its passages (file,
text), best first, and at last the seconds and the memory. All but Commonplace get the shipped encoders' vectors, by
whatever door they have for vectors of one's own; otherwise each is used as its documentation shows.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

START = time.monotonic()
K = 20  # passages; files are counted, and several passages may be of one
PICTURES = (".jpg", ".png")
Passages = list[tuple[str, str]]
Search = Callable[[dict[str, Any]], Passages]


def commonplace(folder: Path) -> Search:
    """Commonplace as it comes: `add` and `search`."""
    import commonplace as cp

    kb = cp.open(folder.parent / "commonplace-kb")
    kb.add(folder, ocr=False, progress=False)

    def search(question: dict[str, Any]) -> Passages:
        hits = kb.search(question.get("question"), image=question.get("image"), k=K)
        return [(hit.item.document.path, hit.item.text or "") for hit in hits]

    return search


def markdown_of(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every file that markitdown reads."""
    from markitdown import MarkItDown

    reader = MarkItDown(enable_plugins=False)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in PICTURES:
            try:
                yield str(path), reader.convert(str(path)).text_content
            except Exception as problem:  # it raises what its libraries raise; a file that it cannot read is left out
                print(f"markitdown: {path.name}: {type(problem).__name__}", file=sys.stderr)


def chunks(text: str, size: int = 1000) -> Iterator[str]:
    """Yield paragraphs joined to about ``size`` characters."""
    held = ""
    for paragraph in text.split("\n\n"):
        if held and len(held) + len(paragraph) > size:
            yield held
            held = ""
        held = f"{held}\n\n{paragraph}".strip()
    if held:
        yield held


class Vectors:
    """The shipped encoders: words and pictures in one space."""

    def __init__(self) -> None:
        from commonplace.encoders.bundle import Bundle

        bundle = Bundle()
        assert bundle.text is not None and bundle.image is not None
        self._text, self._image = bundle.text, bundle.image

    def words(self, texts: list[str], role: str = "document") -> Any:
        return self._text.encode(texts, role)

    def pictures(self, paths: list[str]) -> Any:
        import numpy as np
        from PIL import Image

        return self._image.encode([np.asarray(Image.open(path).convert("RGB")) for path in paths])

    def query(self, question: dict[str, Any]) -> Any:
        if "image" in question:
            return self.pictures([question["image"]])[0]
        return self.words([question["question"]], "query")[0]


def pictures_of(folder: Path) -> list[str]:
    return [str(path) for path in sorted(folder.rglob("*")) if path.suffix in PICTURES]


def lancedb(folder: Path) -> Search:
    """markitdown and LanceDB by hand: hybrid search (vectors and BM25, reciprocal ranks), pictures by their vectors."""
    import lancedb as lance
    from lancedb.rerankers import RRFReranker

    vectors = Vectors()
    rows = [(path, chunk) for path, text in markdown_of(folder) for chunk in chunks(text)]
    encoded = [*vectors.words([chunk for _, chunk in rows])]
    paths = pictures_of(folder)
    encoded += [*vectors.pictures(paths)]
    rows += [(path, "") for path in paths]
    table = lance.connect(folder.parent / "lance").create_table(
        "items",
        [{"path": path, "text": text, "vector": vector} for (path, text), vector in zip(rows, encoded, strict=True)],
    )
    table.create_fts_index("text", with_position=True)  # questions have quotation marks
    reranker = RRFReranker()

    def search(question: dict[str, Any]) -> Passages:
        vector = vectors.query(question)
        if "image" in question:
            found = table.search(vector).limit(K).to_list()
        else:
            hybrid = table.search(query_type="hybrid").vector(vector).text(question["question"])
            found = hybrid.rerank(reranker).limit(K).to_list()
        return [(row["path"], row["text"]) for row in found]

    return search


def llamaindex(folder: Path) -> Search:
    """LlamaIndex: SimpleDirectoryReader, its default splitter, VectorStoreIndex; pictures as nodes with vectors."""
    from llama_index.core import Settings, SimpleDirectoryReader, VectorStoreIndex
    from llama_index.core.embeddings import BaseEmbedding
    from llama_index.core.schema import ImageNode, QueryBundle

    vectors = Vectors()

    class Shipped(BaseEmbedding):
        def _get_text_embedding(self, text: str) -> list[float]:
            return list(map(float, vectors.words([text])[0]))

        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return [list(map(float, row)) for row in vectors.words(texts)]

        def _get_query_embedding(self, query: str) -> list[float]:
            return list(map(float, vectors.words([query], "query")[0]))

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return self._get_query_embedding(query)

    Settings.embed_model, Settings.llm = Shipped(), None
    reader = SimpleDirectoryReader(str(folder), recursive=True, exclude=[f"*{ending}" for ending in PICTURES])
    index = VectorStoreIndex.from_documents(reader.load_data())
    paths = pictures_of(folder)
    index.insert_nodes(
        [
            ImageNode(image_path=path, embedding=list(map(float, vector)), metadata={"file_path": path})
            for path, vector in zip(paths, vectors.pictures(paths), strict=True)
        ]
    )
    retriever = index.as_retriever(similarity_top_k=K)

    def search(question: dict[str, Any]) -> Passages:
        vector = list(map(float, vectors.query(question)))
        found = retriever.retrieve(QueryBundle(question.get("question", ""), embedding=vector))
        return [(node.metadata["file_path"], getattr(node.node, "text", "") or "") for node in found]

    return search


def txtai(folder: Path) -> Search:
    """txtai: hybrid embeddings with content, files read by markitdown, pictures by their vectors."""
    import numpy as np
    from txtai import Embeddings

    vectors = Vectors()

    def transform(inputs: list[Any]) -> Any:
        rows = []
        for value in inputs:
            if isinstance(value, str) and value.startswith("picture:"):
                rows.append(vectors.pictures([value.removeprefix("picture:")])[0])
            else:
                rows.append(vectors.words([str(value)])[0])
        return np.stack(rows)

    embeddings = Embeddings(method="external", transform=transform, content=True, hybrid=True)
    rows = [(path, chunk) for path, text in markdown_of(folder) for chunk in chunks(text)]
    rows += [(path, f"picture:{path}") for path in pictures_of(folder)]
    embeddings.index([(number, text, None) for number, (_, text) in enumerate(rows)])

    def search(question: dict[str, Any]) -> Passages:
        words = question.get("question") or f"picture:{question['image']}"
        return [rows[int(row["id"])] for row in embeddings.search(words, K)]

    return search


SYSTEMS: dict[str, Callable[[Path], Search]] = {
    "commonplace": commonplace,
    "lancedb": lancedb,
    "llamaindex": llamaindex,
    "txtai": txtai,
}


def main() -> None:
    """Index, answer, write."""
    system, folder, questions, out = sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3]), Path(sys.argv[4])
    search = SYSTEMS[system](folder)
    indexed = time.monotonic() - START
    first = 0.0
    answered = []
    for line in questions.read_text(encoding="utf-8").splitlines():
        question = json.loads(line)
        began = time.monotonic()
        passages = search(question)
        first = first or time.monotonic() - START
        answered.append({"id": question["id"], "seconds": time.monotonic() - began, "passages": passages})
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    used = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    result = {
        "indexed": indexed,
        "first": first,
        "cpu": used,
        "memory": own / 1024,
        "worker_memory": children / 1024,
        "answered": answered,
    }
    out.write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
