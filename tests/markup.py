"""The elements of an HTML text, for tests of what is in it."""

import dataclasses
import html.parser

_VOID = ("meta", "br")


@dataclasses.dataclass
class Element:
    """An element: its tag, attributes, text and what it stands in."""

    tag: str
    attributes: dict[str, str]
    parent: "Element | None"
    text: str = ""

    @property
    def styles(self):
        return self.attributes.get("class", "").split()

    def is_in(self, tag, style=None):
        """Whether it stands in such an element."""
        above = self.parent
        while above is not None:
            if above.tag == tag and (style is None or style in above.styles):
                return True
            above = above.parent
        return False


class _Parser(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.elements = []
        self._open = []

    def handle_starttag(self, tag, attrs):
        parent = self._open[-1] if self._open else None
        self.elements.append(Element(tag, dict(attrs), parent))
        if tag not in _VOID:
            self._open.append(self.elements[-1])

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag):
        assert self._open and self._open.pop().tag == tag, f"stray </{tag}>"

    def handle_data(self, data):
        for element in self._open:
            element.text += data

    def close(self):
        super().close()
        assert not self._open, f"{self._open[-1].tag} is not closed"


def elements(text):
    """All elements in their order; an error where tags do not match."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    return parser.elements


def tables(text):
    """Of each table its rows, and of these the texts of the cells."""
    found = []
    for element in elements(text):
        if element.tag == "table":
            found.append([])
        elif element.tag == "tr":
            found[-1].append([])
        elif element.tag in ("td", "th"):
            found[-1][-1].append(element)
    return [[[cell.text for cell in row] for row in table] for table in found]
