"""Damage with structure: what a program, a disk or an attacker would do to a file of each format."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import h5py
import numpy as np

WHOLE = (0, 1, 2, 7, 127, 128, 255, 256, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1)
ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**30,
    0.5,
    -1e308,
    1e999,
    "",
    "x",
    "nan",
    "../../x",
    "/etc",
]
ODD += ["\0", "\ud800", "[bold]", "<script>", [], {}, [[]], [0], {"a": 1}, "9" * 400, [None] * 3, "é" * 300]
WORDS = [
    b"",
    b"nan",
    b"inf",
    b"-1",
    b"0",
    b"1e999",
    b"9" * 400,
    b"1e-400",
    b"0x10",
    b"None",
    b"true",
    b"\0",
    b"\xff\xfe",
]
WORDS += [
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"../../x",
    b"'",
    b'"',
    b",",
    b";",
    b"\t",
    b"<",
    b"&amp;",
    b"{}",
    b"[",
    b"]",
    b"%s",
]
WORDS += [
    b"1_000",
    b"1,5",
    b"-",
    b"--",
    b"#",
    b"//",
    b"\\",
    b"\r",
    b"\n\n",
    b"2026-01-01",
    b"\xef\xbb\xbf",
    b"999999999999",
]

Mutator = Callable[[Random, bytes], bytes]


def any_bytes(chance: Random, data: bytes) -> bytes:
    """A few bytes changed, cut, moved, repeated or overwritten by a telling number."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 9))):
        size = len(found)
        at = min(chance.randrange(size + 1), chance.randrange(size + 1)) if size else 0  # headers more often
        what = chance.randrange(9)
        if what == 0 and size:
            found[min(at, size - 1)] ^= 1 << chance.randrange(8)
        elif what == 1 and size:
            found[min(at, size - 1)] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
        elif what == 2:
            del found[at : at + chance.choice((1, 2, 4, 16, 200))]
        elif what == 3:
            found[at:at] = chance.randbytes(chance.choice((1, 2, 4, 40)))
        elif what == 4:
            found[at:at] = found[at : at + chance.choice((1, 4, 60, 600))]
        elif what == 5 and chance.random() < 0.4:
            del found[at:]
        elif what == 6:
            form = chance.choice("<>") + chance.choice("BHIQ")
            width = struct.calcsize(form)
            found[at : at + width] = struct.pack(form, chance.choice(WHOLE) % 2 ** (8 * width))
        elif what == 7:
            other = chance.randrange(size + 1)
            length = chance.choice((1, 4, 30))
            found[at : at + length], found[other : other + length] = (
                found[other : other + length],
                found[at : at + length],
            )
        elif what == 8:
            found[at:at] = chance.choice(WORDS)
    return bytes(found)


def text(chance: Random, data: bytes) -> bytes:
    """Lines and words dropped, repeated, swapped, replaced; another encoding; other line ends."""
    what = chance.randrange(8)
    if what == 0:
        coding = chance.choice(("utf-16", "utf-16-be", "utf-32", "utf-8-sig", "utf-7"))
        return data.decode("utf-8", "replace").encode(coding)
    if what == 1:
        return data.replace(b"\n", chance.choice((b"\r\n", b"\r", b"\n\n", b"", b"\n\0")))
    if what < 5:
        lines = data.splitlines(keepends=True)
        for _ in range(chance.randint(1, 3)):
            if lines:
                i, j = chance.randrange(len(lines)), chance.randrange(len(lines))
                deed = chance.randrange(4)
                if deed == 0:
                    del lines[i]
                elif deed == 1:
                    lines[i:i] = [lines[j]] * chance.choice((1, 1, 2, 50))
                elif deed == 2:
                    lines[i], lines[j] = lines[j], lines[i]
                else:
                    lines[i] = lines[i].rstrip() * chance.choice((2, 30)) + b"\n"
        return b"".join(lines)
    words = re.split(rb"([A-Za-z_]+|[-+.\d]+|\W)", data)
    for _ in range(chance.choice((1, 2, 5))):
        i = chance.randrange(len(words))
        words[i] = chance.choice(WORDS) if chance.random() < 0.7 else chance.choice(words)
    return b"".join(words)


def table(chance: Random, data: bytes) -> bytes:
    """Cells and columns of a CSV."""
    delimiter = chance.choice((b",", b",", b";", b"\t", b"|", b" "))
    rows = [line.split(b",") for line in data.splitlines()]
    for _ in range(chance.choice((1, 2, 6))):
        row = chance.choice(rows) if rows else []
        what = chance.randrange(6)
        if what == 0 and row:
            row[chance.randrange(len(row))] = chance.choice(WORDS)
        elif what == 1 and row:
            del row[chance.randrange(len(row))]
        elif what == 2:
            row += [chance.choice(WORDS)] * chance.choice((1, 3, 2000))
        elif what == 3:
            at = chance.randrange(4)
            for one in rows:
                one[at : at + 1] = chance.choice(([], [b"x"], [b"1", b"2"]))
        elif what == 4 and row:
            row[0] = b'"' + row[0]
        elif rows:
            chance.shuffle(rows)
    return chance.choice((b"\n", b"\n", b"\r\n")).join(delimiter.join(row) for row in rows)


def tree(chance: Random, value: Any, depth: int = 0) -> Any:
    """One place of a tree of JSON replaced, dropped, renamed, repeated or nested."""
    if depth < 6 and chance.random() < 0.8:
        if isinstance(value, dict) and value:
            key = chance.choice(list(value))
            what = chance.randrange(8)
            rest = {k: v for k, v in value.items() if k != key}
            if what == 0:
                return rest
            if what == 1:
                return rest | {chance.choice(("", key + "x", key.upper(), "__proto__", "a\0b")): value[key]}
            return value | {key: tree(chance, value[key], depth + 1)}
        if isinstance(value, list) and value:
            i = chance.randrange(len(value))
            what = chance.randrange(6)
            if what == 0:
                return value[:i] + value[i + 1 :]
            if what == 1:
                return value[:i] + [value[i]] * chance.choice((2, 2, 300)) + value[i + 1 :]
            return [*value[:i], tree(chance, value[i], depth + 1), *value[i + 1 :]]
    if isinstance(value, int | float) and not isinstance(value, bool) and chance.random() < 0.5:
        return chance.choice((-value, value + 1, value * 1000, float(value), str(value), [value], *WHOLE))
    if chance.random() < 0.02:
        return json.loads("[" * 400 + "]" * 400)
    return chance.choice(ODD)


def as_json(chance: Random, data: bytes) -> bytes:
    """One or two places of a JSON value."""
    if chance.random() < 0.03:
        return b"[" * 60_000
    value = json.loads(data)
    for _ in range(chance.choice((1, 1, 2))):
        value = tree(chance, value)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def as_jsonl(chance: Random, data: bytes) -> bytes:
    """A line of JSON, or the lines."""
    if chance.random() < 0.3:
        return text(chance, data)
    lines = data.splitlines()
    i = chance.randrange(len(lines))
    lines[i] = as_json(chance, lines[i])
    return b"\n".join(lines) + b"\n"


def as_toml(chance: Random, data: bytes) -> bytes:
    """A value or key of TOML, or the lines."""
    if chance.random() < 0.3:
        return text(chance, data)
    lines = data.splitlines()
    odd = [
        b"nan",
        b"-inf",
        b"0",
        b"-1",
        b"1e400",
        b"9" * 30,
        b"true",
        b'""',
        b'"x"',
        b"[]",
        b"[[]]",
        b"{}",
        b"1979-05-27",
    ]
    odd += [
        b'"../../x"',
        b'"\\u0000"',
        b'"/etc/passwd"',
        b"[1, 'a']",
        b"[" * 500,
        b"'''",
        b"0x7fffffffffffffff",
        b"1000000",
    ]
    for _ in range(chance.choice((1, 1, 3))):
        places = [i for i, line in enumerate(lines) if b"=" in line]
        i = chance.choice(places)
        key, _, value = lines[i].partition(b"=")
        what = chance.randrange(5)
        lines[i] = {
            0: key.strip() + b"x =" + value,
            1: key + b"=" + value.strip() * 2,
            2: b"[" + key.strip() + b"]",
        }.get(what, key + b"= " + chance.choice(odd))
    return b"\n".join(lines) + b"\n"


def markup(chance: Random, data: bytes) -> bytes:
    """Elements, attributes, text and declarations of XML."""
    found = data
    for _ in range(chance.choice((1, 1, 3))):
        parts = re.split(rb"(<[^>]*>)", found)
        i = chance.randrange(len(parts))
        what = chance.randrange(7)
        if what == 0:
            del parts[i]
        elif what == 1:
            parts[i:i] = [parts[i]] * chance.choice((1, 2, 300))
        elif what == 2:
            values = re.split(rb'("[^"]*"|[-.\d]+)', parts[i])
            values[chance.randrange(len(values))] = chance.choice(WORDS)
            parts[i] = b"".join(values)
        elif what == 3:
            end = min(len(parts), i + chance.randint(1, 9))
            parts[i:i] = parts[i:end]
        elif what == 4:
            dtd = b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>%s]>"
            parts.insert(min(1, len(parts)), dtd % chance.choice((b"", b"<!ENTITY c SYSTEM 'file:///etc/passwd'>")))
        elif what == 5:
            parts[i] = re.sub(rb"\d+", lambda _: chance.choice(WORDS), parts[i])
        else:
            parts[0] = b"<?xml version='1.0' encoding='%s'?>" % chance.choice(
                (b"utf-16", b"latin-1", b"x", b"rot13", b"")
            )
        found = b"".join(parts)
    return found


def chunks(data: bytes, order: str) -> list[tuple[bytes, bytes]]:
    """Name and body of each chunk, as far as they go."""
    found, at = [], 0
    while at + 8 <= len(data):
        name, size = struct.unpack(f"{order}4sI", data[at : at + 8])
        found.append((name, data[at + 8 : at + 8 + size]))
        at += 8 + size + (size % 2 if order == "<" else 0)
    return found


def joined(chance: Random, parts: list[tuple[bytes, bytes]], order: str, even: bool) -> bytes:
    """Chunks one after another; now and then one lies about its size."""
    found = b""
    for name, body in parts:
        lies = chance.random() < 0.15
        size = chance.choice((*WHOLE, len(body) - 1, len(body) + 1)) % 2**32 if lies else len(body)
        found += struct.pack(f"{order}4sI", name, size) + body + b"\0" * (len(body) % 2 if even else 0)
    return found


def shuffled(chance: Random, parts: list[tuple[bytes, bytes]], body: Mutator) -> list[tuple[bytes, bytes]]:
    """Chunks dropped, repeated, renamed, swapped or changed within."""
    parts = list(parts)
    for _ in range(chance.choice((1, 1, 2))):
        if not parts:
            break
        i, j = chance.randrange(len(parts)), chance.randrange(len(parts))
        what = chance.randrange(8)
        if what == 0:
            del parts[i]
        elif what == 1:
            parts[i:i] = [parts[j]] * chance.choice((1, 1, 40))
        elif what == 2:
            parts[i] = chance.choice((b"LIST", b"fmt ", b"data", b"MTrk", b"XXXX", b"\0\0\0\0")), parts[i][1]
        elif what == 3:
            parts[i], parts[j] = parts[j], parts[i]
        else:
            parts[i] = parts[i][0], body(chance, parts[i][1])
    return parts


def riff(chance: Random, data: bytes) -> bytes:
    """The chunks of a wav."""
    inner = joined(chance, shuffled(chance, chunks(data[12:], "<"), any_bytes), "<", True)
    size = chance.choice((len(inner) + 4, len(inner) + 4, 0, 2**32 - 1, 2**31))
    return data[:4] + struct.pack("<I", size) + data[8:12] + inner


def varied(number: int) -> bytes:
    """A variable-length quantity of MIDI."""
    digits = [number & 127]
    while number := number >> 7:
        digits.append(128 | number & 127)
    return bytes(reversed(digits))


def events(chance: Random, data: bytes) -> bytes:
    """Events of MIDI put in at some place of a track."""
    at = chance.randrange(len(data) + 1)
    when = varied(chance.choice((0, 1, 96, 10_000, 2**20, 2**28 - 1)))
    note = bytes((chance.choice((0x90, 0x80, 0x99, 0xC0, 0xB0, 0xE0)), chance.randrange(256), chance.randrange(128)))
    meta = b"\xff" + chance.choice((b"\x51", b"\x58", b"\x2f", b"\x01", b"\x7f", b"\x54"))
    body = chance.randbytes(chance.choice((0, 1, 3, 4, 40)))
    length = varied(len(body) if chance.random() < 0.7 else chance.choice(WHOLE) % 2**28)
    new = chance.choice((note, note, meta + length + body, b"\xf0" + length + body, b"\xf4", b"\x51\x03\0\0\0"))
    many = chance.choice((1, 1, 1, 3, 400))
    return data[:at] + (when + new) * many + data[at:]


def midi(chance: Random, data: bytes) -> bytes:
    """The chunks and events of a MIDI file, and its head."""
    parts = chunks(data, ">")
    body = events if chance.random() < 0.7 else any_bytes
    if parts and chance.random() < 0.25:
        head = bytearray(parts[0][1].ljust(6, b"\0"))
        at = chance.choice((0, 2, 4))
        head[at : at + 2] = struct.pack(">H", chance.choice((0, 1, 2, 3, 96, 0x7FFF, 0xE728, 0xE250, 0xFFFF)))
        parts[0] = parts[0][0], bytes(head)
    return joined(chance, shuffled(chance, parts, body), ">", False)


def npy(chance: Random, data: bytes) -> bytes:
    """The header of a NumPy array, or its bytes."""
    size = struct.unpack("<H", data[8:10])[0]
    head, body = data[10 : 10 + size], data[10 + size :]
    if chance.random() < 0.25:
        return data[: 10 + size] + any_bytes(chance, body)
    kinds = (
        b"'<f4'",
        b"'|O'",
        b"'<U9'",
        b"'>i8'",
        b"'<c16'",
        b"'|V8'",
        b"[('a', '<f4')]",
        b"'<M8[s]'",
        b"'|b1'",
        b"'<f2'",
        b"'x'",
    )
    what = chance.randrange(4)
    if what == 0:
        head = re.sub(rb"'descr': '[^']*'", lambda _: b"'descr': " + chance.choice(kinds), head)
    elif what == 1:
        shapes = (
            b"()",
            b"(0,)",
            b"(-1,)",
            b"(1,)",
            b"(2, 0)",
            b"(99999999999,)",
            b"(2, 3, 4)",
            b"(1e3,)",
            b"(True,)",
            b"[3]",
        )
        head = re.sub(rb"\([^)]*\)", lambda _: chance.choice((*shapes, b"(%d, 9)" % chance.choice(WHOLE))), head)
    elif what == 2:
        head = head.replace(b"False", chance.choice((b"True", b"None", b"0", b"__import__('os')")))
    else:
        head = text(chance, head)
    size = len(head) if chance.random() < 0.9 else chance.choice(WHOLE) % 2**16
    return data[:8] + struct.pack("<H", size % 2**16) + head + body


def archive(chance: Random, data: bytes) -> bytes:
    """The members of a zip: changed within, dropped, renamed, repeated, stored in another way; then its directory."""
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        members = [(info.filename, old.read(info)) for info in old.infolist()]
    for _ in range(chance.choice((1, 1, 2))):
        i = chance.randrange(len(members)) if members else 0
        what = chance.randrange(8)
        if not members:
            break
        if what == 0:
            del members[i]
        elif what == 1:
            other = chance.choice(("../x.npy", "/x.npy", "x" * 300, "train.npy", "train_len.npy", "x", "x.npy"))
            members[i] = other, members[i][1]
        elif what == 2:
            members.append((members[i][0] + "x" * (chance.random() < 0.5), members[i][1]))
        elif members[i][1][:6] == b"\x93NUMPY" and what < 7:
            members[i] = members[i][0], npy(chance, members[i][1])
        else:
            members[i] = members[i][0], any_bytes(chance, members[i][1])
    file = io.BytesIO()
    method = chance.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    with zipfile.ZipFile(file, "w", method) as new:
        names: set[str] = set()
        for name, content in members:
            if name not in names:
                names.add(name)
                new.writestr(name, content)
    found = file.getvalue()
    if chance.random() < 0.3:
        at = found.rfind(b"PK\x01\x02")
        found = found[:at] + any_bytes(chance, found[at:]) if at >= 0 else found
    return found


def safetensors(chance: Random, data: bytes) -> bytes:
    """The header of safetensors, as JSON or bytes, and the numbers."""
    size = struct.unpack("<Q", data[:8])[0]
    head, body = data[8 : 8 + size], data[8 + size :]
    if chance.random() < 0.6:
        head = as_json(chance, head)
    if chance.random() < 0.4:
        values = np.frombuffer(body[: len(body) // 4 * 4], "<f4").copy()
        if len(values):
            values[chance.randrange(len(values))] = chance.choice((np.nan, np.inf, -1e38, 0.0, 1e-45))
            body = values.tobytes() + body[len(values) * 4 :]
    if chance.random() < 0.2:
        body = any_bytes(chance, body)
    size = len(head) if chance.random() < 0.9 else chance.choice(WHOLE)
    return struct.pack("<Q", size % 2**64) + head + body


def packed(chance: Random, data: bytes) -> bytes:
    """What zlib has packed in a MATLAB file, unpacked, changed and packed again; or its bytes."""
    at = 128
    if chance.random() < 0.4 or len(data) < 136:
        return any_bytes(chance, data)
    found = data[:at]
    while at + 8 <= len(data):
        kind, size = struct.unpack("<II", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        if kind == 15 and chance.random() < 0.6:
            body = zlib.compress(any_bytes(chance, zlib.decompress(body)))
        found += struct.pack("<II", kind, len(body)) + body
        at += 8 + size
    return found


DTYPES: tuple[Any, ...] = (
    "u1",
    "i8",
    "f2",
    "f4",
    "f8",
    "S3",
    "V4",
    "c8",
    "?",
    h5py.string_dtype(),
    h5py.vlen_dtype("f4"),
)


def hdf5(chance: Random, data: bytes) -> bytes:
    """Attributes and data sets of HDF5: other values, types, shapes, filters, links; or its bytes."""
    if chance.random() < 0.5:
        return any_bytes(chance, data)
    file = io.BytesIO(data)
    with h5py.File(file, "r+") as root:
        for _ in range(chance.choice((1, 1, 2))):
            try:
                _change(chance, root)
            except (ValueError, TypeError, OSError, LookupError, RuntimeError, OverflowError, AttributeError):
                continue  # what HDF5 itself does not make
    return file.getvalue()


def _change(chance: Random, root: h5py.File) -> None:
    names: list[str] = []
    root.visit(names.append)
    name = chance.choice(names)
    if chance.random() < 0.45:
        target = root if chance.random() < 0.8 else root[name]
        key = chance.choice([*root.attrs, "more"])
        old = target.attrs.get(key)
        told = bytes(old) if isinstance(old, bytes | np.bytes_) else b"x"
        new = [
            np.bytes_(text(chance, told)),
            np.float64(chance.choice((np.nan, np.inf, -1.0, 0.0, 1e300))),
            np.int64(-1),
        ]
        new += [np.zeros(chance.choice((0, 1, 2, 500))), "text of variable length", np.bytes_(b"")]
        if told[:1] in (b"{", b"["):
            new += [np.bytes_(as_json(chance, told)[:60_000])] * 6
        if key in target.attrs:
            del target.attrs[key]
        if chance.random() < 0.9:
            target.attrs[key] = chance.choice(new)
        return
    what, old = chance.randrange(7), root[name]
    if what == 0:
        del root[name]
    elif what == 1:
        root.move(name, chance.choice(("x", name + "x", "train/y", "valid/x")))
    elif what == 2:
        del root[name]
        root[name] = chance.choice((h5py.SoftLink("/"), h5py.SoftLink(name), h5py.ExternalLink("/etc/passwd", "/x")))
    elif isinstance(old, h5py.Dataset):
        if what == 3 and old.size and old.dtype.kind in "iuf":
            values = old[()]
            values.flat[chance.randrange(values.size)] = (
                chance.choice((0, 1, 2, 99, 255)) if old.dtype.kind != "f" else np.nan
            )
            old[...] = values
            return
        shape = chance.choice((old.shape, (), (0,), (3,), (2**40, 2), (*old.shape, 2), (max(0, *old.shape, 0) + 1,)))
        kind = chance.choice((old.dtype, *DTYPES))
        del root[name]
        chunked = {"chunks": tuple(min(max(1, n), 1000) for n in shape)} if shape and chance.random() < 0.7 else {}
        more = chance.choice(({}, {"fletcher32": True}, {"compression": "gzip"}, {"fillvalue": 0})) if chunked else {}
        root.create_dataset(name, shape=shape, dtype=kind, **chunked, **more)


FORMATS: dict[str, Mutator] = {
    "bytes": any_bytes,
    "text": text,
    "csv": table,
    "json": as_json,
    "jsonl": as_jsonl,
    "toml": as_toml,
    "xml": markup,
    "riff": riff,
    "midi": midi,
    "npy": npy,
    "zip": archive,
    "safetensors": safetensors,
    "mat": packed,
    "hdf5": hdf5,
}


def mutant(chance: Random, data: bytes, kind: str) -> bytes:
    """One damaged file: by its structure, by bytes alone, or both."""
    which = chance.random()
    if which < 0.75:
        try:
            data = FORMATS[kind](chance, data)
        except (ValueError, LookupError, RecursionError, struct.error, zipfile.BadZipFile, zlib.error):
            which = 1.0  # it had no such structure left to change
    if which >= 0.65 and kind != "hdf5":
        data = (text if kind in ("text", "csv", "toml") and chance.random() < 0.5 else any_bytes)(chance, data)
    return data
