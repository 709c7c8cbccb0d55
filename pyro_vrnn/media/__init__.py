"""What a model draws as files that a person can hear, play, look at or read; and such a file back to values.

| kind      | file                | picture                        |
|-----------|---------------------|--------------------------------|
| pianoroll | .mid                | the notes                      |
| audio     | .wav, 16 bit, mono  | waveform and spectrogram       |
| strokes   | .svg                | the drawing                    |
| symbols   | .txt                | none                           |
| vectors   | .csv                | the columns, or the image      |

Values here are as they are stored in a data file ("stored": samples, points, numbers of symbols), [T, columns].
"""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.data import midi
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.media import figures, pictures
from pyro_vrnn.media.pictures import Caption
from pyro_vrnn.system.errors import DataError, NumericsError
from pyro_vrnn.system.files import cannot_write, write_bytes

Array = NDArray[Any]
MOST_BYTES = 1 << 26
"""Of a text or table that is read as a beginning."""
FASTEST = 240
"""Quarter notes a minute of a file: with more, a quarter note has more steps."""
LONGEST_SECONDS = 600
"""Of a sound that is read as a beginning; the rest is not decoded."""


def write(
    form: DataFormat,
    stored: Array,
    stem: Path,
    *,
    title: str = "",
    given: int = 0,
    hidden: tuple[int, int] | None = None,
) -> tuple[Path, Path | None, dict[str, Any]]:
    """Write one sequence.

    Args:
        form: of the data that the model was trained on.
        stored: [T, columns].
        stem: the files' path without its ending.
        title: of the picture.
        given: so many first steps were not drawn; the picture marks them.
        hidden: from one step to another the model was given nothing; the picture marks it.

    Returns:
        The media file, its picture if there is one, and facts about it for the JSON beside it.

    Raises:
        NumericsError: values that are not finite.
        ResourceError, ConfigError: it cannot be written.
    """
    if not np.isfinite(stored).all():
        raise NumericsError(
            f"{stem.name}: {int((~np.isfinite(stored)).sum())} drawn values are not finite",
            "the model has diverged: train with a smaller training.learning_rate, or draw at a lower --temperature",
        )
    picture, caption = stem.with_name(stem.name + ".png"), Caption(title, given, hidden)
    if form.kind == "pianoroll":
        return _pianoroll(form, stored, stem, picture, caption)
    if form.kind == "audio":
        return _audio(form, stored, stem, picture, caption)
    if form.kind == "strokes":
        path = stem.with_name(stem.name + ".svg")
        lines = polylines(stored)
        write_bytes(path, svg(lines, title).encode())
        pictures.drawings([lines], picture, [title])
        return path, picture, {"strokes": len(lines)}
    if form.kind == "symbols":
        path = stem.with_name(stem.name + ".txt")
        text = spell(form, stored)
        write_bytes(path, text.encode("utf-8", "backslashreplace"))
        return path, None, {"symbols": len(stored)}
    path = stem.with_name(stem.name + ".csv")
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(form.columns or [f"x{j + 1}" for j in range(stored.shape[1])])
    writer.writerows([[repr(float(v)) for v in row] for row in stored])
    write_bytes(path, table.getvalue().encode())
    if form.image:
        pictures.images([stored], picture, [title], marks=hidden or ([given] if given else []))
    else:
        draw = pictures.lines if form.x_dim <= pictures.MOST_LINES else pictures.columns
        draw(stored, picture, caption, names=form.columns)
    return path, picture, {"rows": len(stored)}


def overview(form: DataFormat, sequences: list[Array], path: Path, titles: list[str], given: int) -> Path | None:
    """One picture of several sequences, for the kinds that are looked at."""
    if form.kind == "pianoroll":
        rolls, lowest = zip(*(spread(form, stored) for stored in sequences), strict=True)
        figures.pianorolls(list(rolls), path, titles, lowest_pitch=lowest[0], prime_steps=given)
    elif form.kind == "audio":
        waves = [stored.reshape(-1) / 32768 for stored in sequences]
        pictures.waves(waves, path, titles, sample_rate(form), given * form.frame_length)
    elif form.kind == "strokes":
        pictures.drawings([polylines(stored) for stored in sequences], path, titles)
    elif form.image:
        pictures.images(sequences, path, titles, marks=[given] if given else [])
    else:
        return None
    return path


def read(form: DataFormat, path: Path) -> Array:
    """A file of the kind that the model draws, as stored values [T, columns].

    Raises:
        DataError: it is not of this kind, rate or width.
    """
    if form.kind == "pianoroll":
        assert form.steps_per_second is not None
        columns = _columns(form)
        low, high = int(columns.min()), int(columns.max())
        roll = midi.read_midi(path, steps_per_second=form.steps_per_second, lowest_pitch=low, columns=high - low + 1)
        found = np.asarray(roll[:, columns - low])
        if not form.pitches:
            return found
        sounding = np.flatnonzero(found.any(axis=1))  # without silent ends, as `prepare midi` reads songs
        if not len(sounding):
            raise DataError(f"{path}: no note that the model knows", "its notes are those of its training songs", path)
        return found[sounding[0] : sounding[-1] + 1]
    if form.kind == "audio":
        return _read_audio(form, path)
    if form.kind == "symbols":
        return _read_symbols(form, path)
    if form.kind == "vectors":
        return _read_table(form, path)
    raise DataError(f"{path}: drawings cannot be read back", "give --prime-index, a sequence of the test split", path)


def sample_rate(form: DataFormat) -> int:
    """Samples a second, of audio."""
    assert form.steps_per_second is not None
    return round(form.steps_per_second * form.frame_length)


def spread(form: DataFormat, stored: Array) -> tuple[Array, int]:
    """A roll with a column for every note from its lowest to its highest, and the lowest note."""
    columns = _columns(form)
    low = int(columns.min())
    roll = np.zeros((len(stored), int(columns.max()) - low + 1), np.uint8)
    roll[:, columns - low] = stored
    return roll, low


def _columns(form: DataFormat) -> Array:
    return np.asarray(form.pitches) if form.pitches else form.lowest_pitch + np.arange(form.x_dim)


def _pianoroll(
    form: DataFormat, stored: Array, stem: Path, picture: Path, caption: Caption
) -> tuple[Path, Path, dict[str, Any]]:
    assert form.steps_per_second is not None
    roll, low = spread(form, stored)
    path = stem.with_name(stem.name + ".mid")
    quarter = form.steps_per_quarter
    while 60 * form.steps_per_second / quarter > FASTEST and quarter < 64:
        quarter *= 2
    facts = midi.write_midi(
        roll,
        path,
        lowest_pitch=low,
        steps_per_second=form.steps_per_second,
        steps_per_quarter=quarter,
    )
    figures.pianoroll(
        roll,
        picture,
        lowest_pitch=low,
        steps_per_second=form.steps_per_second,
        title=caption.title,
        prime_steps=caption.given,
        hidden=caption.hidden,
    )
    return path, picture, {"midi": facts}


def _audio(
    form: DataFormat, stored: Array, stem: Path, picture: Path, caption: Caption
) -> tuple[Path, Path, dict[str, Any]]:
    """The samples as they are, unless one is beyond 16 bits: then all are turned down, and by how much is told."""
    import soundfile

    wave = stored.reshape(-1)
    peak = float(np.abs(wave).max())
    gain = min(1.0, 32767 / peak) if peak > 0 else 1.0
    samples = np.rint(wave * gain).astype(np.int16)
    path = stem.with_name(stem.name + ".wav")
    held = io.BytesIO()
    soundfile.write(held, samples, sample_rate(form), format="WAV", subtype="PCM_16")
    with cannot_write(path, len(samples) * 2):
        write_bytes(path, held.getvalue())
    size = form.frame_length
    hidden = None if caption.hidden is None else (caption.hidden[0] * size, caption.hidden[1] * size)
    pictures.sound(samples / 32768, sample_rate(form), picture, Caption(caption.title, caption.given * size, hidden))
    facts = {"sample_rate": sample_rate(form), "samples": len(samples), "peak": peak / 32768, "gain": gain}
    return path, picture, facts


def polylines(stored: Array) -> list[Array]:
    """(dx, dy, pen) to the strokes of a drawing: lists of points [N, 2], y upwards. The pen is lifted after a 1."""
    points = np.concatenate([np.zeros((1, 2)), np.cumsum(np.asarray(stored[:, :2], np.float64), axis=0)])
    lifted = np.flatnonzero(stored[:, 2] > 0.5) + 1
    return [line for line in np.split(points, lifted + 1) if len(line) > 1]


def svg(lines: list[Array], title: str = "") -> str:
    """A drawing of strokes [N, 2], y upwards."""
    points = np.concatenate(lines) if lines else np.zeros((1, 2))
    low, high = points.min(0), points.max(0)
    unit = 1000 / max(float((high - low).max()), 1e-9)
    width, height = (high - low) * unit
    moved = [(line - [low[0], high[1]]) * [unit, -unit] for line in lines]
    paths = "\n".join('<polyline points="' + " ".join(f"{x:.2f},{y:.2f}" for x, y in line) + '"/>' for line in moved)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-50 -50 {width + 100:.2f} {height + 100:.2f}">\n'
        f"<title>{escape(title)}</title>\n"
        f'<g fill="none" stroke="black" stroke-width="12" stroke-linecap="round" stroke-linejoin="round">\n'
        f"{paths}\n</g>\n</svg>\n"
    )


def spell(form: DataFormat, stored: Array) -> str:
    """Numbers of symbols to text: characters side by side, words and other tokens with a space between."""
    between = "" if form.level == "char" else " "
    return between.join(form.symbols[int(n)] for n in stored[:, 0])


def _read_audio(form: DataFormat, path: Path) -> Array:
    """The beginning of a sound file, int16 [T, frame], as `prepare audio` reads it: what that would skip is refused."""
    from pyro_vrnn.data.sources.decoding import Decoder, Recording, Tally, Unusable

    rate, samples = sample_rate(form), 0
    blocks = []
    try:
        with Decoder(rate, resample=False) as decoder:
            for block in decoder.read(Recording(path, path.name, path.stem, ""), Tally()):
                blocks.append(block[: LONGEST_SECONDS * rate - samples])
                samples += len(blocks[-1])
                if len(blocks[-1]) < len(block):
                    break
    except Unusable as error:
        raise DataError(f"{path}: {error}", "give a wav, flac, ogg or mp3 file", path) from error
    except DataError as error:
        hint = f"pyro-vrnn prepare convert FILE --sample-rate {rate} --resample --out DIR"
        words = error.message.removeprefix(f"{path.name}: ")
        raise DataError(f"{path}: {words}, as the model was trained on", hint, path) from error
    frames = samples // form.frame_length
    if frames == 0:
        raise DataError(f"{path}: shorter than a frame of {form.frame_length} samples", "give a longer one", path)
    return np.concatenate(blocks)[: frames * form.frame_length].reshape(frames, form.frame_length)


def _text(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path}: not a regular file of at most {MOST_BYTES} bytes", "give a text file", path)
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}", "give a text file in UTF-8", path) from None


def _read_symbols(form: DataFormat, path: Path) -> Array:
    text = _text(path)
    if "\n" not in form.symbols:
        text = text.rstrip("\n")  # what editors put at the end
    parts = list(text) if form.level == "char" else text.split()
    numbers = {symbol: n for n, symbol in enumerate(form.symbols)}
    unknown = [part for part in parts if part not in numbers and "<unk>" not in numbers]
    if parts and not unknown and not any(part in numbers for part in parts):
        unknown = parts  # nothing but <unk>
    if unknown or not parts:
        what = f"{unknown[0]!r} is no symbol that the model knows" if unknown else "no symbols"
        raise DataError(f"{path}: {what}", f"it knows {' '.join(form.symbols[:20])} …", path)
    return np.array([[numbers.get(part, numbers.get("<unk>", 0))] for part in parts])


def _numbers(cells: list[str]) -> bool:
    try:
        return bool(cells) and all(math.isfinite(float(cell)) for cell in cells)
    except ValueError:
        return False


def _read_table(form: DataFormat, path: Path) -> Array:
    try:
        names, *rows = [*csv.reader(io.StringIO(_text(path).removeprefix("\ufeff")))] or [[]]
        names, rows = [name.strip() for name in names], [row for row in rows if row]
        if _numbers(names):
            raise ValueError("its first line is numbers, not the names of columns")
        if "sequence" in names:  # as `prepare vectors` reads it: of several the first
            key = names.index("sequence")
            rows = [row for row in rows if row[key] == rows[0][key]]
        if form.columns and set(form.columns) <= set(names):  # in any order, among others
            rows = [[row[names.index(name)] for name in form.columns] for row in rows]
        values = np.array([[float(cell) for cell in row] for row in rows], np.float64)
    except (ValueError, IndexError, csv.Error) as error:
        raise DataError(f"{path}: {error}", f"give a CSV of {form.x_dim} columns with a header", path) from None
    if values.ndim != 2 or values.shape[1] != form.x_dim or not np.isfinite(values).all():
        raise DataError(f"{path}: not {form.x_dim} columns of finite numbers under a header", "", path)
    return values
