"""What a page must be to be opened anywhere by anybody: whole HTML, nothing from outside, images with words."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr", "link", "input"}
SHAPES = {"path", "rect", "circle", "polygon"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: dict[str, list[dict[str, str]]] = {}
        self.headings: list[int] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.setdefault(tag, []).append({name: value or "" for name, value in attrs})
        if tag in ("h1", "h2", "h3"):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SHAPES, f"<{tag}/>"
        self.tags.setdefault(tag, []).append({name: value or "" for name, value in attrs})

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without its beginning"
        assert self.open.pop() == tag


def check_page(text: str) -> dict[str, list[dict[str, str]]]:
    """Assert all of that; the attributes of each tag by its name."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    tags = reader.tags
    assert not reader.open
    assert len(text.encode()) < 5_000_000
    assert tags["html"][0]["lang"] == "en"
    assert len(tags["title"]) >= 1
    assert not {"script", "link", "iframe", "object", "a"} & tags.keys()
    for attributes in (found for all_of_tag in tags.values() for found in all_of_tag):
        assert "href" not in attributes
        assert "style" not in attributes
        assert attributes.get("src", "data:").startswith("data:")
        assert not [name for name in attributes if name.startswith("on")]
    assert all(image["alt"] for image in tags.get("img", []))
    assert all(sound["aria-label"] for sound in tags.get("audio", []))
    charts = [svg for svg in tags.get("svg", []) if "role" in svg]
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in charts)
    assert "http:" not in text.replace('http-equiv="', "")
    assert "https:" not in text
    assert reader.headings[0] == 1
    assert all(now <= before + 1 for before, now in zip(reader.headings, reader.headings[1:], strict=False))
    assert reader.headings.count(1) == 1
    return tags
