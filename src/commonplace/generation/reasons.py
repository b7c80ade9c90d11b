"""Why a sentence is not fully supported: the causes, and what the reader is told of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from commonplace.i18n import N_, _

__all__ = ["DIFFERENCES", "Cause", "Reason", "reason"]

Cause = Literal[
    "no citation",
    "unknown citation",
    "no words",
    "no text",
    "pixels",
    "picture",
    "unseen",
    "instructions",
    "contradicted",
    "absent",
    "date",
    "negated",
    "other word",
    "other fact",
    "opposite",
    "added",
    "apart",
    "something else",
    "other column",
    "other cell",
    "other script",
    "similar",
    "not said",
    "other code",
]
"""What a check found; each has a text of its own."""

DIFFERENCES: frozenset[Cause] = frozenset(
    (
        "absent",
        "date",
        "negated",
        "other fact",
        "opposite",
        "something else",
        "other column",
        "other cell",
        "contradicted",
    )
)
"""Causes for which the source says something else, not merely less."""

_TEXTS: Mapping[Cause, str] = {
    "no citation": N_("it cites no source"),
    "unknown citation": N_("it cites a source that does not exist"),
    "no words": N_("it has no words to check"),
    "no text": N_("its source has no text to check"),
    "pixels": N_("only the pixels of the picture support it"),
    "picture": N_("the picture that it cites does not show this"),
    "unseen": N_("its source is a picture, and pixels show no numbers, names or negations"),
    "instructions": N_("its source contains instructions to a language model"),
    "contradicted": N_("its source contradicts it"),
    "absent": N_("{fact} is not in its source"),
    "date": N_("its source has another date than {date}"),
    "negated": N_("its source negates what it affirms, or affirms what it negates"),
    **dict.fromkeys(("other word", "other fact", "opposite"), N_("it says {word} where its source says {opposite}")),
    "added": N_("its source does not say {word} there"),
    "apart": N_("its source says {fact}, but not together with the rest"),
    "something else": N_("its source says {fact} of something else"),
    "other column": N_("its source has {value} in the column {column}"),
    "other cell": N_("its source has {value} there"),
    "other script": N_("{names}: its source writes this in another script, so only the meaning was compared"),
    "similar": N_("its source says something similar, but not this"),
    "not said": N_("its source does not say this"),
    "other code": N_("its source does not have the line {line}"),
}


@dataclass(frozen=True, slots=True)
class Reason:
    """A cause, and its text in the language of the question."""

    cause: Cause
    text: str


def reason(cause: Cause, language: str | None = None, **values: str) -> Reason:
    """Return the reason for a cause, in ``language``; ``values`` fill the fields of its text."""
    return Reason(cause, _(_TEXTS[cause], language).format(**values))
