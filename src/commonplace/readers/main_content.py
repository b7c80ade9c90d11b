"""The main content of a web page: the element that holds most of its prose, without what stands around and in between.

Navigation, advertisements, lists of links to other pages, share bars and readers' comments are taken out of the tree.
Three kinds of evidence decide: tags and roles, names that authors give to parts of a page, and how much of a part is
prose and how much is links. Inside an element that is marked as main content, a name alone is never enough.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from commonplace.readers.html_elements import BLOCK_TAGS, children, is_layout_table

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

__all__ = ["MainContent", "find_main_content"]

_NOISE_TAGS = {"nav", "footer", "aside", "menu", "form", "header", "dialog"}
_NOISE_ROLES = frozenset(
    [
        "navigation",
        "banner",
        "contentinfo",
        "search",
        "complementary",
        "menu",
        "menubar",
        "dialog",
        "alertdialog",
        "toolbar",
    ]
)
_NAMES = re.compile(  # of parts that are not the content, in their class or id
    r"(?:^|[\s_-])(?:nav|navbar|navigation|menu|breadcrumbs?|sidebar|side-?bar|footer|cookies?|consent|gdpr|adverts?|"
    r"advertisement|ads?|adsense|sponsor(?:ed)?|promo(?:tions?)?|outbrain|taboola|share|sharing|sharedaddy|addthis|"
    r"social|related|recommend(?:ed|ations?)?|more-?(?:stories|news|articles|from)|read-?(?:more|next)|most-?(?:read|"
    r"popular|viewed)|popular|trending|teasers?|newsletter|subscribe|subscription|signup|skip-?links?|toc|vector-toc|"
    r"mw-editsection|noprint|pagination|pager|prev-?next|tags?|tag-?list|post-?tags|byline|author-?(?:bio|box|info)|"
    r"widget|login|modal|popup|overlay|lightbox|onetrust|toolbar|print|copyright|masthead|rail)(?:$|[\s_-])",
    re.IGNORECASE,
)
_NOTICES = re.compile(  # of boxes that lie over a page, however much they hold
    r"(?:^|[\s_-])(?:cookies?|consent|gdpr|modal|popup|lightbox|onetrust)(?:$|[\s_-])", re.IGNORECASE
)
_COMMENTS = re.compile(
    r"(?:^|[\s_-])(?:comments?|commentlist|comment-?(?:list|section|area|thread|form)s?|disqus(?:_thread)?|respond|"
    r"discussion|livefyre|fb-comments)(?:$|[\s_-])",
    re.IGNORECASE,
)
_CONTENT_NAMES = re.compile(  # names that programs for web sites and schema.org give to the text of an article
    r"(?:^|[\s_-])(?:article-?(?:body|content|text|copy)|articlebody|entry-?content|post-?(?:body|content|text|entry)|"
    r"story-?(?:body|content|text)|storytext|body-?(?:copy|text|content)|page-?content|main-?content|content-?body|"
    r"text-?content|hentry|mw-parser-output)(?:$|[\s_-])",
    re.IGNORECASE,
)
_CONTAINERS = frozenset(
    [
        "div",
        "section",
        "ul",
        "ol",
        "dl",
        "span",
        "table",
        "p",
        "td",
        "li",
        "figure",
        "center",
        "details",
        "aside",
        "article",
    ]
)
_DESCENDED = frozenset(
    ["div", "section", "main", "article", "center", "form", "table", "tbody", "tr", "td", "span", "body"]
)
_CONTROLS = frozenset(("button", "input", "textarea"))
_RELATED = re.compile(
    r"(?:related(?: (?:stories|articles|news|content|posts|links|coverage))?|(?:you (?:may|might) )?also (?:like|read)|"
    r"you (?:may|might) also (?:like|be interested in)|read (?:more|also|next)|"
    r"more (?:stories|news|from|on|like this).*|"
    r"recommended(?: (?:for you|reading))?|trending(?: now)?|most (?:read|popular)|don['’]t miss|"
    r"lesen sie auch|mehr zum thema|lire aussi|à lire aussi|lee también|leia (?:também|mais)|leggi anche|"
    r"читайте также|相关(?:阅读|文章|新闻)|推荐阅读|延伸閱讀|相關(?:閱讀|文章|新聞)|関連記事|관련 ?기사)[\s:：.…]*",
    re.IGNORECASE,
)
_PLACEMENT = re.compile(
    r"(?:advertise?ments?|adverts?|anzeige|publicité|publicidad|iklan|реклама|广告|廣告|広告|광고|sponsored|"
    r"(?:article |story )?continues? (?:reading )?below(?: advertisement)?|skip to (?:main )?content|"
    r"back to (?:top|gallery)|"
    r"(?:image|photo|slide) \d+ of [\d /]+|enlarge image|view comments|leave a (?:comment|reply)|"
    r"share this(?: (?:on|via|with) \w+)?)[\s:：.…]*",
    re.IGNORECASE,
)
_SIGN_UP = "input[type=email], input[type=password], input[type=search]"
_GALLERY = re.compile(r"caption|gallery|slide|carousel|credit", re.IGNORECASE)
_ALL_LINKED = 0.9
_MAX_LABEL, _MIN_CAPTION, _MAX_CAPTION = 60, 25, 500  # letters
_RECENT = 12  # parts between a caption and its repetition
_LINE_END = re.compile(r"[.!?…:;。！？؟।][\"'”’»)\]]*\s*$")
_PROSE = 80  # letters, outside links, from which a paragraph is prose; with the end of a sentence, half of them
_WORD = 6  # letters of a word with its space
_ARTICLE = 400  # letters of prose from which a page is about something, and not only a place for comments
_MAJOR_SHARE = 0.4  # of the content: a part with more is no noise, and main content that is marked with less is not it
_NEARLY_ALL, _MOST = 0.85, 0.6
_MAX_LINKED = 0.5  # share of the letters of a part: one with more of them in links leads elsewhere


@dataclass(frozen=True, slots=True)
class MainContent:
    """The element with the main content, its letters in sentences, and how many words of sentences were left out: of
    readers' comments, and of other parts."""

    element: LexborNode
    prose: int
    comment_words: int
    other_words: int


@dataclass(slots=True)
class _Statistics:
    """What an element holds: letters, letters in links, letters of prose, links, and controls such as buttons.

    ``line``, ``line_linked`` and ``line_ends`` are of the paragraph that is still open at the element's start.
    """

    text: int = 0
    linked: int = 0
    prose: int = 0
    links: int = 0
    controls: int = 0
    line: int = 0
    line_linked: int = 0
    line_ends: bool = False

    @property
    def mass(self) -> float:
        """How much content it is likely to hold: prose, and some of what else is no link, for tables and lists."""
        return self.prose + max(0, self.text - self.linked - self.prose) / 4

    @property
    def linked_share(self) -> float:
        return self.linked / self.text if self.text else 0.0

    def add(self, part: _Statistics, sign: int = 1) -> None:
        self.text += sign * part.text
        self.linked += sign * part.linked
        self.prose += sign * part.prose
        self.links += sign * part.links
        self.controls += sign * part.controls

    def close_line(self) -> None:
        unlinked = self.line - self.line_linked
        if unlinked >= (_PROSE / 2 if self.line_ends else _PROSE):
            self.prose += self.line
        self.line = self.line_linked = 0
        self.line_ends = False


def find_main_content(body: LexborNode) -> MainContent:
    """Take out of ``body`` what is not its main content, and return the element that holds this."""
    return _Page(body).main_content()


class _Page:
    """The tree of a page with statistics of each element, kept up to date while parts are taken out."""

    def __init__(self, body: LexborNode) -> None:
        self._body = body
        self._statistics: dict[int, _Statistics] = {}
        for node in reversed(list(body.traverse(include_text=True))):  # children go before their parents
            self._measure(node)
        self._total = self._of(body)
        self._left_out = 0  # letters of prose

    def main_content(self) -> MainContent:
        comments = self._remove_noise()
        comment_words = 0
        if self._total.prose - sum(self._of(node).prose for node in comments) >= _ARTICLE:
            for node in comments:  # else the page is a discussion
                comment_words += self._of(node).prose // _WORD
                self._remove(node)
        element = self._smallest_with_most()
        self._remove_asides(element)
        self._left_out += self._total.prose - self._of(element).prose
        return MainContent(element, self._of(element).prose, comment_words, self._left_out // _WORD)

    def _of(self, node: LexborNode) -> _Statistics:
        statistics = self._statistics.get(node.mem_id)
        if statistics is None:
            statistics = self._statistics[node.mem_id] = _Statistics()
        return statistics

    def _measure(self, node: LexborNode) -> None:
        tag, measured = node.tag or "", self._of(node)
        if tag == "-text":
            text = " ".join((node.text_content or "").split())
            measured.text = measured.line = len(text) if text.isascii() else len(text) + sum(map("\u2e7f".__lt__, text))
            measured.line_ends = bool(_LINE_END.search(text))
        elif tag == "a" and "href" in node.attributes:
            measured.linked, measured.line_linked, measured.prose = (
                measured.text,
                measured.line,
                0,
            )  # a card around a teaser is a link, too
            measured.links += 1
        elif tag in _CONTROLS:
            measured.controls += 1
        if tag in BLOCK_TAGS:
            measured.close_line()
        parent = node.parent
        if parent is not None and node.mem_id != self._body.mem_id:
            above = self._of(parent)
            above.add(measured)
            if measured.line:
                above.line_ends = (
                    above.line_ends if above.line else measured.line_ends
                )  # the last text is measured first
                above.line += measured.line
                above.line_linked += measured.line_linked

    def _remove(self, node: LexborNode) -> None:
        measured, above = self._of(node), node.parent
        while above is not None:
            self._of(above).add(measured, -1)
            above = above.parent if above.mem_id != self._body.mem_id else None
        node.decompose()

    def _remove_noise(self) -> list[LexborNode]:
        """Take out what is not content; return the parts with readers' comments, which are still in the tree."""
        comments = []
        waiting = [(self._body, False)]
        while waiting:
            parent, is_inside = waiting.pop()  # of marked main content
            for child in children(parent):
                tag = child.tag or "-"
                if tag.startswith("-"):
                    pass
                elif self._is_comments(child, tag):
                    comments.append(child)
                elif self._is_noise(child, tag, is_inside):
                    self._left_out += self._of(child).prose
                    self._remove(child)
                else:
                    is_marked = _is_content(child, tag) and self._of(child).mass >= _MAJOR_SHARE * self._total.mass
                    waiting.append((child, is_inside or is_marked))
        return comments

    def _is_comments(self, node: LexborNode, tag: str) -> bool:
        if tag not in _CONTAINERS or not self._of(node).text:
            return False
        name = _name(node)
        return bool(_COMMENTS.search(name)) and not _CONTENT_NAMES.search(name)

    def _is_noise(self, node: LexborNode, tag: str, is_inside: bool) -> bool:
        measured, attributes = self._of(node), node.attributes
        if measured.mass > _MAJOR_SHARE * self._total.mass:
            is_notice = attributes.get("aria-modal") == "true" or _NOTICES.search(_name(node)) is not None
            return is_notice and not is_inside and measured.mass < _MOST * self._total.mass
        leads_elsewhere = measured.linked_share > _MAX_LINKED
        if tag in _NOISE_TAGS or (attributes.get("role") or "") in _NOISE_ROLES:
            if tag == "header" and node.css_first("h1") is not None:
                return False
            if tag in ("nav", "menu"):
                return True
            if tag == "form" and measured.prose < _ARTICLE and node.css_first(_SIGN_UP) is not None:
                return True
            if is_inside:
                return leads_elsewhere or (tag == "footer" and not measured.prose and measured.links > 0)
            return tag not in ("header", "form") or leads_elsewhere or not measured.prose
        if tag in _CONTAINERS and _NAMES.search(_name(node)):
            # A box in the content may be called "related" or "tags"; only what links or asks for something is none.
            if not is_inside:
                return True
            quotes = node.css_first("blockquote") is not None
            return (
                not quotes
                and measured.links + measured.controls > 0
                and (measured.linked_share > 0.2 or measured.prose < 200)
            )
        if tag in _CONTAINERS and measured.links >= 4 and measured.linked_share > 0.7 and not is_inside:
            return measured.linked < 40 * measured.links * (1 if is_inside else 2)
        return False

    def _remove_asides(self, element: LexborNode) -> None:
        """Take out lists of links under "Read more" and the like, and captions that a gallery shows twice."""
        captions: deque[str] = deque(maxlen=_RECENT)
        waiting = [element]
        while waiting:
            node = waiting.pop()
            if self._of(node).text <= _MAX_LABEL and _RELATED.fullmatch(_text(node)):
                self._remove_links_after(node)
                continue
            if self._of(node).text <= _MAX_LABEL and _PLACEMENT.fullmatch(_text(node)):
                self._remove(node)
                continue
            if _MIN_CAPTION <= self._of(node).text <= _MAX_CAPTION and _is_caption(node):
                text = _text(node)
                if text in captions:
                    self._remove(node)
                    continue
                captions.append(text)
            waiting += [child for child in reversed(list(children(node))) if not (child.tag or "-").startswith("-")]

    def _remove_links_after(self, label: LexborNode) -> None:
        """Take out a label and the parts after it that are links, if there are any."""
        count = 0
        while True:
            following = label.next
            while following is not None and (following.tag or "-").startswith("-") and not _text(following):
                following = following.next
            measured = self._of(following) if following is not None else _Statistics()
            if following is None or not measured.links or measured.linked_share < _ALL_LINKED:
                break
            self._remove(following)
            count += 1
        if count:
            self._remove(label)

    def _smallest_with_most(self) -> LexborNode:
        """Return the smallest element that holds nearly all content, or is marked as content and holds most of it."""
        node = element = self._body
        while True:
            elements = [child for child in children(node) if not (child.tag or "-").startswith("-")]
            node = max(elements, key=lambda child: self._of(child).mass, default=self._body)
            tag, mass = node.tag or "", self._of(node).mass
            if not elements or tag not in _DESCENDED or mass < _MOST * self._total.mass:
                return element
            if tag == "table" and not is_layout_table(node):
                return element
            if mass >= _NEARLY_ALL * self._total.mass or _is_content(node, tag):
                element = node if tag not in ("table", "tbody", "tr") else element


def _is_caption(node: LexborNode) -> bool:
    return node.tag == "figcaption" or (node.tag in ("div", "span") and _GALLERY.search(_name(node)) is not None)


def _text(node: LexborNode) -> str:
    text = node.text_content if node.tag == "-text" else node.text()
    return " ".join((text or "").split())


def _is_content(node: LexborNode, tag: str) -> bool:
    """Return whether the author of a page marked an element as its content, by tag, role or name."""
    attributes = node.attributes
    if tag in ("main", "article") or attributes.get("role") == "main" or attributes.get("itemprop") == "articleBody":
        return True
    return tag in _CONTAINERS and _CONTENT_NAMES.search(_name(node)) is not None


def _name(node: LexborNode) -> str:
    attributes = node.attributes
    return f"{(attributes.get('id') or '')[:100]} {(attributes.get('class') or '')[:200]}"
