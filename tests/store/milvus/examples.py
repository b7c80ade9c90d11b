"""Documents and filters that are hard to write as expressions: hostile texts, and what Hypothesis makes up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from commonplace.metadata import Metadata, MetadataType, comparable, padded, period
from commonplace.types import Comparison, Condition, Document, Filter

HOSTILE = (
    "plain",
    'quote"s',
    "back\\slash",
    '\\"',
    '"] or true or x["',
    '" or path >= "',
    "' or 1 == 1 or path == '",
    '"] == "" or path >= "" or filters["',
    "a][b",
    '"]["',
    "a/b~1c~0d",
    "*/?",
    "[a-c]",
    "per%cent",
    "under_score",
    "new\nline",
    "\n",
    "end\n",
    "return\r\n",
    "tab\tand\x01\x1f\x7f\x80\u2028",
    "nul\0inside",
    "\ufeff\u202eright to left \u05d0",
    "e\u0301 and \u00e9",
    "漢字",
    "𠮷\U0010ffff",
    "😀👨‍👩‍👧",
    "\\u0041\\x41\\101",
    "$meta",
    " -- /* // # ",
    "{template}",
    "x" * 3_000,
    "漢" * 1_300,
    '"' * 2_000,
)
UNDECODABLE = ("caf\udce9", "\udcff/\udc80")
"""File names that are not UTF-8, as Python holds them."""

KEYS: dict[str, MetadataType] = {
    "year": "number",
    "rating 1": "number",
    "author": "text",
    "dc:title": "text",
    "title": "text",
    "漢": "boolean",
    "date": "date",
    "created": "date",
}
"""Metadata keys with the type that they mostly have."""
fragments = st.sampled_from([*'ab0/.-_%\\"\n é漢😀:][', "/a/", "ab", ".b", "/"])
short_texts = st.lists(fragments, max_size=5).map("".join)
globs = st.lists(
    st.one_of(fragments, st.sampled_from(["*", "*", "*", "?", "[ab]", "[^a]", "[a-漢]", "[", "^"])),
    min_size=1,
    max_size=5,
).map("".join)
integers = st.one_of(
    st.integers(-3, 3), st.sampled_from([2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 1 - 2**53, -(2**53)])
)
numbers = st.one_of(
    integers,
    integers.map(float),
    st.sampled_from([0.5, -0.0, 5e-324, 1e-5, 1e300, -1.7976931348623157e308, 2.5, 9.3e18]),
)
dates = st.sampled_from(["2023", "2024", "2024-05", "2024-05-01", "2024-05-01T12:30", "2024-05-01T12:30:15"])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": short_texts,
    "number": numbers,
    "date": dates,
    "boolean": st.booleans(),
}


def document(path: str, *, media_type: str = "text/plain", title: str | None = None, **values: Any) -> Document:
    """Return a document with these metadata values: each key has a text, or a list of texts."""
    pairs = [(key, text) for key, texts in values.items() for text in ([texts] if isinstance(texts, str) else texts)]
    return Document(path, "file:" + path, path, media_type, title=title, metadata=Metadata.of_file(pairs))


@st.composite
def types_of(draw: st.DrawFn, key: str) -> MetadataType:
    """Return a type for the values of a metadata key, mostly its usual one."""
    return draw(st.sampled_from([*[KEYS[key]] * 6, "text", "number", "boolean"]))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    metadata: dict[str, Any] = {}
    for key in draw(st.sets(st.sampled_from(list(KEYS)), max_size=5)) - {"title"}:
        values = VALUES[draw(types_of(key))]
        metadata[key] = draw(st.one_of(values, values, st.lists(values, max_size=3)))
    path = draw(st.one_of(short_texts.map("/a/".__add__), short_texts.map("b:/".__add__), short_texts))
    media_type = draw(st.sampled_from(["text/plain", "text/html", "image/png", "Text/", "漢/a"]))
    return Document(path, "file:x", path, media_type, title=draw(short_texts), metadata=Metadata(metadata))


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    """Return a condition of the kinds that ``commonplace.filters`` makes, and others that it could make."""
    key = draw(st.sampled_from(list(KEYS)))
    type_ = draw(types_of(key))
    alternatives = st.lists(comparisons(type_, VALUES[type_]), min_size=1, max_size=3)
    return Condition(key, type_, tuple(map(tuple, draw(alternatives))))


def comparisons(type_: MetadataType, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Sequence[Comparison]]:
    made = values.map(lambda value: comparable(type_, value))
    lists: list[st.SearchStrategy[Any]] = [
        made.map(lambda value: [("=", value)]),
        st.lists(st.tuples(st.sampled_from(["<", "<=", ">", ">=", "="]), made), min_size=1, max_size=2),
    ]
    if type_ == "text":
        lists.append(globs.map(lambda pattern: [("glob", pattern.casefold())]))
    if type_ == "date":
        lists.append(dates.map(period).map(lambda times: [(">=", times[0]), ("<", times[1] or "9999")]))
    return st.one_of(*lists)


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "modality": st.sampled_from(["text", "image"]),
    "path": st.one_of(
        *(globs, globs.map("/a/".__add__), globs.map("*".__add__), short_texts.filter(bool)),
        *(short_texts.map("/a/".__add__), st.sampled_from(["/", "/a", "/a/", "*", "b:", "b:/*", "a", "b"])),
    ),
    "media_type": st.one_of(st.sampled_from(["text/*", "text/plain", "*/p*", "漢*", "[tT]ext/*", "*a*"]), globs),
    "after": dates,
    "before": dates,
    "metadata": st.lists(conditions(), min_size=1, max_size=2).map(tuple),
}


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    """Return a filter with one or two conditions, so that some document often meets it."""
    names = draw(st.sets(st.sampled_from([*FIELDS, "path", "metadata"]), min_size=1, max_size=2))
    return Filter(**{name: draw(FIELDS[name]) for name in sorted(names)})


def hostile_filters(text: str) -> list[Filter]:
    """Return filters that contain a text in every place that takes one."""
    key, value = text.casefold(), comparable("text", text)
    compared: list[tuple[Comparison, ...]] = [
        (("=", value),),
        (("glob", f"*{value}*"),),
        ((">=", value), ("<=", value)),
    ]
    paths = [text, f"/d/{text}/*", f"*{text}*", f"*d/{text}", f"b:/d{text}*"]
    return [
        *(Filter(path=path) for path in paths),
        *(Filter(media_type=kind) for kind in (text, f"?{text[1:]}*")),
        *(Filter(metadata=(Condition("author", "text", (alternative,)),)) for alternative in compared),
        Filter(metadata=(Condition(key, "text", ((("=", "v"),),)),)),
        Filter(after=padded("2024"), path=f"/d/{text}", metadata=(Condition("title", "text", ((("=", value),),)),)),
    ]


def hostile_documents(texts: Sequence[str]) -> list[Document]:
    """Return documents that have one of these texts in every place that takes one."""
    rows = []
    for text in texts:
        kind = text.encode("utf-8", "replace").decode()
        rows += [
            document(f"/d/{text}/a.txt", title=text, author=text, date="2024-05"),
            document(text, media_type=kind, author=[text, "b"], date=["2023", "2024"]),
            document(f"/e/d/{text}", media_type=f"x{kind[1:]}x", **{text: "v"}),
            document(f"b:/d{text}", **{text: ["v", "w"]}),
        ]
    return rows
