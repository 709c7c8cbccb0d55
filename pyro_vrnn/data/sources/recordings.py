"""Which recordings a folder, a file or an index holds, what is left out and why, and what each is called."""

from __future__ import annotations

import csv
import hashlib
import os
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources.decoding import NotSound, Recording, Unusable, open_regular, read_header, why
from pyro_vrnn.data.sources.labels import label_in
from pyro_vrnn.system.errors import ConfigError, DataError, choose
from pyro_vrnn.system.files import reason

SUFFIXES = {
    *(".wav", ".wave", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".snd"),
    *(".caf", ".sph", ".npy", ".npz"),
}
UNREAD = {".m4a", ".m4b", ".aac", ".wma", ".amr", ".ape", ".wv", ".ac3", ".mka", ".dsf", ".tta"}
"""Sound by their names, of types that decoding.py does not read."""
MOST_PARTS = 200_000  # of an array
NAMES_KEPT = 100
NAME_BYTES = 960  # of the 1024 of an id: the number of a window and of a namesake come after it


@dataclass
class Left:
    """What is left out.

    Args:
        source: what was given, for messages.
        strict: DataError instead.
    """

    source: str
    strict: bool = False
    first: list[dict[str, str]] = field(default_factory=list)
    count: int = 0
    others: int = 0
    """Files that neither look like sound nor are: texts, pictures."""
    unread: Counter[str] = field(default_factory=Counter)
    """Files of each ending of `UNREAD`, which are among those that are left out."""

    def skip(self, name: str, because: str) -> None:
        """Leave out a file or recording."""
        if self.strict:
            raise DataError(f"{name}: {because}", "take it away, or let it be skipped: without --strict")
        self.count += 1
        if len(self.first) < NAMES_KEPT:
            self.first.append({"file": name, "reason": because})

    def refuse(self, recording: Recording, error: Unusable) -> None:
        """Leave out a recording that cannot be read, unless it never was one."""
        ending = recording.path.suffix.lower()
        if isinstance(error, NotSound) and ending in UNREAD:
            self.unread[ending] += 1
            self.skip(recording.name, f"{ending} is not read; convert it to wav or flac")
        elif isinstance(error, NotSound) and not recording.expected:
            self.others += 1
        else:
            self.skip(recording.name, str(error))

    def extra(self) -> dict[str, Any]:
        """For the data file."""
        return {
            "skipped": self.first,
            "skipped_count": self.count,
            "other_files": self.others,
            "unread_types": dict(self.unread),
        }


def find(source: str | Path | Sequence[str | Path], index: str | Path | None, left: Left) -> list[Recording]:
    """The recordings of files and folders, in the order given, and by name within a folder. None is decoded yet.

    Args:
        source: one or several. A folder with an index.csv beside a train.flac is read by it.
        index: another name for that index.
        left: is told what is left out.

    Raises:
        ConfigError: no source, or an index with more than one folder.
        DataError: a source that is missing, or an index that is wrong.
    """
    sources = [Path(s) for s in ([source] if isinstance(source, str | Path) else source)]
    if not sources:
        raise ConfigError("no source", "give a folder of recordings, or files")
    if index is not None and (len(sources) != 1 or not os.path.isdir(sources[0])):
        raise ConfigError(f"an index, and {len(sources)} sources", "give the folder of train.flac, and nothing else")
    found: list[Recording] = []
    seen: dict[tuple[int, int], str] = {}
    for given in sources:
        try:
            given.lstat()
        except (OSError, ValueError) as error:
            raise DataError(f"{given}: {reason(error)}", "give a folder of recordings, or files", given) from error
        if index is not None:
            found += read_index(given, given / index if os.path.isfile(given / index) else Path(index))
        elif os.path.isfile(given / "index.csv") and os.path.isfile(given / "train.flac"):
            found += read_index(given, given / "index.csv")
        else:
            for path, name in walk(given, left):
                top = path.relative_to(given).parts[:-1][:1]
                folder = "" if len(sources) == 1 else str(given if path != given else given.parent)
                where = ("/".join([folder, *top]), clean("".join(top)))
                found += _recordings(path, name, *where, path == given, seen, left)
    return found


def walk(folder: Path, left: Left) -> Iterator[tuple[Path, str]]:
    """The files of a folder of any depth and their names below it, sorted; a file is its own only one."""
    if not os.path.isdir(folder):
        yield folder, clean(folder.name)
        return

    def unreadable(error: OSError) -> None:
        left.skip(clean(os.path.relpath(error.filename, folder)), reason(error))

    for here, folders, files in os.walk(folder, onerror=unreadable):
        folders.sort(key=os.fsencode)
        for name in list(folders):
            path = Path(here, name)
            link = os.path.islink(path)
            if link or path.suffix.lower() in SUFFIXES:
                what = "a link to a folder, which is not followed" if link else "a folder"
                left.skip(clean(str(path.relative_to(folder))), what)
                folders.remove(name)
        for name in sorted(files, key=os.fsencode):
            yield Path(here, name), clean(str(Path(here, name).relative_to(folder)))


def _recordings(
    path: Path, name: str, folder: str, label: str, given: bool, seen: dict[tuple[int, int], str], left: Left
) -> Iterator[Recording]:
    """The recordings of one file: many in an npz, else one; none of a file that was `seen` before."""
    expected = given or path.suffix.lower() in SUFFIXES
    whole = Recording(path, name, clean(path.stem), folder, expected=expected, label=label)
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            packed = file.read(4) == b"PK\x03\x04"
        file_id = (status.st_dev, status.st_ino)
        if file_id in seen:  # a link: it must not be in the training and the test split
            raise Unusable(f"the same file as {seen[file_id]}")
        seen[file_id] = name
        if not packed:
            yield whole
            return
        arrays = read_archive(path)
    except Unusable as error:
        left.refuse(whole, error)
        return
    split_up = any(member == "train" for member, *_ in arrays)
    for member, stem, start, length in arrays:
        split = member if split_up and member in SPLITS else None
        stem = clean(stem)
        yield Recording(path, f"{name}/{stem}", stem, folder, split, True, member, start, length, label)


def read_archive(path: Path) -> list[tuple[str, str, int, int | None]]:
    """The arrays of an npz that may be sound: (array, name, start, samples) of each recording.

    An array NAME with an integer array NAME_len beside it (or length, if NAME is the only one) is cut by it.

    Raises:
        Unusable: damaged, or lengths that do not fit.
        NotSound: a zip without arrays.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            shapes = {}
            lengths = {}
            for item in archive.infolist():
                name = item.filename.removesuffix(".npy")
                if name == item.filename:
                    continue
                if item.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise Unusable("a zip packed in a way that NumPy does not write")
                with archive.open(item) as content:
                    shapes[name], dtype = read_header(content)
                    is_lengths = name.endswith("_len") or name in ("len", "length", "lengths")
                    if is_lengths and dtype.kind in "iu" and len(shapes[name]) == 1:
                        if shapes[name][0] > MOST_PARTS:
                            raise Unusable(f"{name} has {shapes[name][0]} lengths, more than {MOST_PARTS}")
                        lengths[name] = np.frombuffer(content.read(shapes[name][0] * dtype.itemsize), dtype).tolist()
    except Unusable:
        raise
    except Exception as error:
        raise Unusable(f"an npz that cannot be read: {why(error)}") from error
    if not shapes:
        raise NotSound("a zip without arrays")
    sounds = [name for name in shapes if name not in lengths]
    found: list[tuple[str, str, int, int | None]] = []
    for name in sounds:
        alone = [lengths[n] for n in ("len", "length", "lengths") if n in lengths and len(sounds) == 1]
        parts = lengths.get(f"{name}_len", alone[0] if alone else None)
        if parts is None:
            found.append((name, name or "array", 0, None))
            continue
        if min(parts, default=0) < 0 or [sum(parts)] != list(shapes[name]):
            raise Unusable(f"{name} has shape {list(shapes[name])}, its lengths add up to {sum(parts)}")
        start = 0
        for i, part in enumerate(parts):
            found.append((name, f"{name}-{i}", start, part))
            start += part
    return found


def read_index(folder: Path, path: Path) -> list[Recording]:
    """The recordings of a table with the columns split, start, n, name (samples), in train.flac and so on.

    A column label, digit, speaker or the like (labels.NAMES) is their label.

    Raises:
        DataError: it cannot be read, or a row is wrong, or names a split of which there is no file.
    """
    columns = ("split", "start", "n", "name")
    hint = f"the columns are {','.join(columns)} and more if you like; start and n count samples of SPLIT.flac"
    line = 1
    found = []
    try:
        with open_regular(path) as raw, open(raw.fileno(), encoding="utf-8-sig", newline="", closefd=False) as file:
            rows = csv.DictReader(file, strict=True)
            if missing := set(columns) - set(rows.fieldnames or ()):
                raise ValueError(f"no column {min(missing)!r}")
            for row in rows:
                line = rows.line_num
                split, name = row["split"], clean(row["name"] or "")
                if split not in SPLITS:
                    raise choose("split", str(split), SPLITS)
                start, length = int(row["start"]), int(row["n"])
                if start < 0 or length < 0 or not name:
                    raise ValueError("start and n are 0 or more, and each recording has a name")
                source = folder / f"{split}.flac"
                where, label = str(folder), clean(label_in(row))
                found.append(Recording(source, name, name, where, split, start=start, length=length, label=label))
    except (OSError, ValueError, TypeError, csv.Error, Unusable) as error:
        raise DataError(f"{path}, line {line}: {error}", hint, path) from error
    for split in {recording.split for recording in found}:
        if not (folder / f"{split}.flac").is_file():
            raise DataError(f"{path}: there is no {split}.flac beside it", hint, path)
    return found


def names(recordings: Sequence[Recording]) -> list[str]:
    """A name for each that no other has: the short one if it can be, else the longer one, else a number at its end."""
    stems = Counter(recording.stem for recording in recordings)
    taken: Counter[str] = Counter()
    chosen = []
    for recording in recordings:
        name = base = recording.stem if stems[recording.stem] == 1 else recording.name
        while name in taken:
            taken[base] += 1
            name = f"{base}~{taken[base]}"
        taken[name] = 1
        chosen.append(name)
    return chosen


def clean(name: str) -> str:
    """A file's name as text that UTF-8 can say (other bytes backslashed), of at most `NAME_BYTES`."""
    data = name.encode("utf-8", "backslashreplace").replace(b"\0", b"\\x00")
    if len(data) > NAME_BYTES:
        digest = hashlib.sha256(data).hexdigest()[:8].encode()
        data = data[: NAME_BYTES - 9] + b"-" + digest
    return data.decode(errors="ignore")


def named(source: str | Path | Sequence[str | Path]) -> str:
    """What was given, for messages: three names at most."""
    names = describe_sources(source)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def describe_sources(source: str | Path | Sequence[str | Path]) -> list[str]:
    """The last parts of the paths that were given: what a data file may say of where it comes from."""
    paths = [Path(s) for s in ([source] if isinstance(source, str | Path) else source)]
    return [clean(path.name or path.resolve().name) for path in paths]
