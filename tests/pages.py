"""What a page must be to be opened anywhere by anybody: whole HTML, nothing from outside, images with words."""

from __future__ import annotations

import base64
import hashlib
import re
import warnings
from html.parser import HTMLParser

import html5lib

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
    assert not {"link", "iframe", "object", "a", "base", "form"} & tags.keys()
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = next(meta["content"] for meta in tags["meta"] if "http-equiv" in meta)
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in rules
    assert tags["script"] == [{}]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of html5lib itself
        html5lib.HTMLParser(strict=True).parse(text)
    for attributes in (found for all_of_tag in tags.values() for found in all_of_tag):
        assert "href" not in attributes
        assert "style" not in attributes
        assert attributes.get("src", "data:").startswith("data:")
        assert not [name for name in attributes if name.startswith("on")]
    assert all(image["alt"] for image in tags.get("img", []))
    assert all(sound["aria-label"] for sound in tags.get("audio", []))
    charts = [svg for svg in tags.get("svg", []) if "role" in svg]
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in charts)
    assert len(re.findall(r"<svg role=[^>]*><title>[^<]", text)) == len(charts)
    inner = [svg for svg in tags.get("svg", []) if "role" not in svg]  # a clipped part, or a mark beside its name
    assert all("x" in svg or svg["aria-hidden"] == "true" for svg in inner)
    assert all(re.match(r"<figure><svg role", figure) for figure in re.findall(r"<figure>.{9}", text, flags=re.S))
    assert "http:" not in text.replace('http-equiv="', "")
    assert "https:" not in text
    assert reader.headings[0] == 1
    assert all(now <= before + 1 for before, now in zip(reader.headings, reader.headings[1:], strict=False))
    assert reader.headings.count(1) == 1
    return tags
