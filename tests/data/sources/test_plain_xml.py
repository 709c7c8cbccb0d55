"""XML without a DOCTYPE: what is told of it, and what is refused."""

from __future__ import annotations

import pytest

from pyro_vrnn.data.sources.plain_xml import DoctypeError, parse


def told(data: bytes, **options: bool) -> list[str]:
    seen: list[str] = []
    parse(
        data,
        lambda name, attributes: seen.append(f"<{name} {attributes}>"),
        lambda name: seen.append(f"</{name}>"),
        seen.append,
        **options,
    )
    return seen


def test_elements_and_text() -> None:
    data = b"<a xmlns='n'><b x='1'>so &lt; &#65;</b></a>"
    assert told(data) == ["<a {'xmlns': 'n'}>", "<b {'x': '1'}>", "so < A", "</b>", "</a>"]
    assert told(data, namespaces=True) == ["<n a {}>", "<n b {'x': '1'}>", "so < A", "</n b>", "</n a>"]


@pytest.mark.fault(39)
def test_a_doctype_is_refused_before_anything_else() -> None:
    for data in (b"<!DOCTYPE a><a/>", b"<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>"):
        with pytest.raises(DoctypeError):
            told(data)


def test_damage_names_the_line() -> None:
    with pytest.raises(ValueError, match=r"^line 2: not strokes of points: mismatched tag"):
        told(b"<a>\n</b>")

    def start(name: str, attributes: dict[str, str]) -> None:
        float(attributes["x"])

    for data, words in ((b"\n<a/>", "line 2: not ink: 'x'"), (b"<a x='b'/>", "line 1: not ink: could not convert")):
        with pytest.raises(ValueError, match=words):
            parse(data, start, wanted="ink")
