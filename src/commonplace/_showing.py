"""What a hit or a citation looks like: its page with the box drawn, and the heat-map of words over its picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commonplace._documents import find
from commonplace._searching import Searcher, query_of
from commonplace._session import Parts
from commonplace.errors import CollectionError, QueryError
from commonplace.i18n import _
from commonplace.images import rgb_pixels
from commonplace.options import SearchRequest
from commonplace.types import Citation, Hit, Item

if TYPE_CHECKING:  # a search needs no readers
    from commonplace.pages import PageView
    from commonplace.retrieval import HeatMap

__all__ = ["heatmap_of", "page_of"]


def heatmap_of(parts: Parts, searcher: Searcher, hit: Hit, text: str) -> HeatMap:
    """Return the heat-map of words over a hit's picture; see ``commonplace.Collection.heatmap()``."""
    (query,) = searcher.encode(parts, [query_of(text)], SearchRequest())
    if hit.image is None:
        raise QueryError(
            _("{path} is shown by no picture: choose a hit that has an image").format(path=hit.item.document.path)
        )
    if parts.space.image is None:
        raise QueryError(_("no heat-map: the model {name} has no image tower").format(name=parts.space.name))
    vector = query.vectors.crossmodal_text
    if vector is None:
        raise QueryError(_("no heat-map: {notes}").format(notes=_("; ").join(query.vectors.notes)))
    from commonplace.retrieval import HeatMap

    words = query.words or ""
    return HeatMap.of(rgb_pixels(hit.image), words, vector[: parts.space.bundle.dim], parts.space.image.encode)


def page_of(parts: Parts, cited: Hit | Citation | Item | str, side: int) -> PageView:
    """Return the page or picture that an item stands on; see ``commonplace.Collection.page()``."""
    if not 100 <= side <= 5000:
        raise QueryError(_("side is {side}: choose 100 to 5000 pixels").format(side=side))
    target = find(parts, cited) if isinstance(cited, str) else cited
    target = target.hit if isinstance(target, Citation) else target
    item = target.item if isinstance(target, Hit) else target
    if not isinstance(item, Item):
        raise CollectionError(
            _("no item of this collection is {cited}: see `commonplace show DOCUMENT`").format(cited=cited)
        )
    from commonplace.pages import page_view
    from commonplace.readers import ReadOptions

    return page_view(item, parts.store, ReadOptions(*parts.space.measure), side)
