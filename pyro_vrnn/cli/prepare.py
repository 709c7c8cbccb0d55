"""`prepare KIND`: raw files to one HDF5 data set; a sub-command for each kind, with the options of that kind alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from pyro_vrnn.cli.app import app
from pyro_vrnn.cli.data import print_description
from pyro_vrnn.cli.terminal import out, talking

kinds = typer.Typer(
    name="prepare",
    help="Turn raw files into one HDF5 data set. Each kind of source has its own options: prepare KIND --help.",
    epilog="For example:  pyro-vrnn prepare audio my_recordings/ --seconds 0.5 --resample",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(kinds)

Sources = Annotated[
    list[str] | None,
    typer.Argument(metavar="SOURCE", help="The file or folder of raw data.", show_default=False),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE.h5", help="The data set to write; default: a name in data/.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace FILE.h5 if it is there.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the split into train, valid and test.")]
Strict = Annotated[bool | None, typer.Option("--strict", help="Stop at the first thing that would be skipped.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes that decode audio; other kinds use one.")]
Splits = Annotated[
    str | None, typer.Option(metavar="A,B,C", help="Percentages of train, valid and test, such as 80,10,10.")
]
Frame = Annotated[int | None, typer.Option(min=1, help="Samples in a step; default 200.")]
Seconds = Annotated[float | None, typer.Option(help="Length of a sequence; 0 keeps whole recordings.")]
Clip = Annotated[float | None, typer.Option(help="The longest move that is kept, in standard deviations; default 10.")]


def kind(function: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """Register one kind of source."""
    return kinds.command()(talking(function))


@kind
def chorales(
    out_: Out = None,
    resolution: Annotated[
        str | None, typer.Option(help="Length of a step: quarter (default), eighth or sixteenth.")
    ] = None,
    seed: Seed = None,
    strict: Strict = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Bach's 371 chorales, from music21's own corpus: nothing is downloaded.

    Needs the extra `chorales`. The result is a piano-roll with a column for each key.
    """
    return _prepare("chorales", None, out_, overwrite, resolution=resolution, seed=seed, strict=strict, jobs=jobs)


@kind
def pianoroll(
    source: Sources = None,
    out_: Out = None,
    seed: Seed = None,
    strict: Strict = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Files that are already piano-rolls: pickle, .mat, npz, or JSON of note lists.

    SOURCE may also be jsb, nottingham, muse or piano: that set is downloaded and checked by its sha256.
    """
    return _prepare("pianoroll", source, out_, overwrite, seed=seed, strict=strict, jobs=jobs)


@kind
def midi(
    source: Sources = None,
    out_: Out = None,
    rate: Annotated[float | None, typer.Option(help="Steps per second; default 20.")] = None,
    window: Annotated[int | None, typer.Option(min=1, help="Steps of a sequence; default: whole songs.")] = None,
    hop: Annotated[int | None, typer.Option(min=1, help="Steps from one window to the next; default: WINDOW.")] = None,
    splits: Splits = None,
    seed: Seed = None,
    strict: Strict = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """A folder of MIDI songs, sampled at a fixed rate into piano-rolls.

    Drums, velocities and pedals are left out. For example: prepare midi my_songs/ --window 50 --hop 25
    """
    options = {"rate": rate, "window": window, "hop": hop, "splits": splits}
    return _prepare("midi", source, out_, overwrite, **options, seed=seed, strict=strict, jobs=jobs)


@kind
def audio(
    source: Sources = None,
    out_: Out = None,
    sample_rate: Annotated[int | None, typer.Option(min=1, help="Samples per second; default 16000.")] = None,
    frame: Frame = None,
    seconds: Seconds = None,
    resample: Annotated[bool | None, typer.Option("--resample", help="Convert recordings of other rates.")] = None,
    splits: Splits = None,
    split_by: Annotated[
        str | None, typer.Option(help="file, folder (one speaker each), or time (the end of each is held out).")
    ] = None,
    index: Annotated[
        str | None, typer.Option(metavar="INDEX.csv", help="Table of one FLAC per split; its folder is the source.")
    ] = None,
    normalise: Annotated[str | None, typer.Option(help="standard (deviation) or range (max - min).")] = None,
    seed: Seed = None,
    strict: Strict = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Recordings: wav, flac, ogg, mp3, and npy or npz of samples, in folders of any depth.

    They are cut into sequences of SECONDS, each step a frame of samples. Ctrl-C stops; the same command continues.
    For example: prepare audio my_recordings/ --seconds 0.5 --resample
    """
    if index is not None and not source:
        source = [str(Path(index).parent)]
    options: dict[str, Any] = {"sample_rate": sample_rate, "frame": frame, "seconds": seconds, "resample": resample}
    options |= {"splits": splits, "split_by": split_by, "index": index, "normalise": normalise}
    return _prepare("audio", source, out_, overwrite, **options, seed=seed, strict=strict, jobs=jobs)


@kind
def timit(
    source: Sources = None,
    out_: Out = None,
    frame: Frame = None,
    seconds: Seconds = None,
    seed: Seed = None,
    strict: Strict = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """The TIMIT corpus: TRAIN and TEST folders of NIST SPHERE files.

    The test set is kept; 5% of the TRAIN recordings become the validation split.
    """
    options = {"frame": frame, "seconds": seconds}
    return _prepare("timit", source, out_, overwrite, **options, seed=seed, strict=strict, jobs=jobs)


@kind
def iamondb(
    source: Sources = None,
    out_: Out = None,
    clip: Clip = None,
    seed: Seed = None,
    strict: Strict = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """The IAM-OnDB handwriting corpus: a folder of lineStrokes XML files."""
    return _prepare("iamondb", source, out_, overwrite, clip=clip, seed=seed, strict=strict, jobs=jobs)


@kind
def strokes(
    source: Sources = None,
    out_: Out = None,
    clip: Clip = None,
    seed: Seed = None,
    strict: Strict = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Pen strokes: npz, JSON, or the MNIST stroke text files. A step is (dx, dy, pen lifted)."""
    return _prepare("strokes", source, out_, overwrite, clip=clip, seed=seed, strict=strict, jobs=jobs)


@kind
def text(
    source: Sources = None,
    out_: Out = None,
    level: Annotated[str | None, typer.Option(help="What a symbol is: char (default) or word.")] = None,
    window: Annotated[int | None, typer.Option(min=1, help="Symbols of a sequence; default 200.")] = None,
    seed: Seed = None,
    strict: Strict = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """A text file in UTF-8, by characters or words, cut into windows."""
    options = {"level": level, "window": window}
    return _prepare("text", source, out_, overwrite, **options, seed=seed, strict=strict, jobs=jobs)


@kind
def symbols(
    source: Sources = None,
    out_: Out = None,
    splits: Splits = None,
    seed: Seed = None,
    strict: Strict = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """One sequence of tokens per line, with spaces between; or a table of openings."""
    return _prepare("symbols", source, out_, overwrite, splits=splits, seed=seed, strict=strict, jobs=jobs)


@kind
def vectors(
    source: Sources = None,
    out_: Out = None,
    binary: Annotated[bool | None, typer.Option("--binary", help="Turn pixels of images into bits.")] = None,
    seed: Seed = None,
    strict: Strict = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Sequences of numbers: a CSV with a `sequence` column, a folder of CSVs, npy [N, T, X], or npz."""
    return _prepare("vectors", source, out_, overwrite, binary=binary, seed=seed, strict=strict, jobs=jobs)


@kind
def convert(
    source: Sources = None,
    out_: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="The folder to write to.")] = None,
    to: Annotated[str | None, typer.Option(help="wav (default) or npy.")] = None,
    sample_rate: Annotated[int | None, typer.Option(min=1, help="Samples per second; default 16000.")] = None,
    resample: Annotated[bool | None, typer.Option("--resample", help="Convert recordings of other rates.")] = None,
    seed: Seed = None,
    strict: Strict = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Recordings to wav or npy files, without a data set.

    For example: prepare convert mp3s/ --out wavs/
    """
    from pyro_vrnn.cli.console import counting
    from pyro_vrnn.data.sources.preparing import convert as convert_files

    options = _given(to=to, sample_rate=sample_rate, resample=resample, strict=strict)
    with counting(out.console(), "converting", quiet=out.quiet) as progress:
        files = convert_files(source or [], out_, options, overwrite=overwrite, progress=progress, say=out.say)
    out.print(*files)
    return {"schema": 1, "files": [str(f) for f in files]}


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given; the others are left to the source's own defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _prepare(kind: str, source: list[str] | None, out_: Path | None, overwrite: bool, **options: Any) -> dict[str, Any]:
    """Plan, run and describe the preparation of one data set."""
    from pyro_vrnn.cli.console import counting
    from pyro_vrnn.data.description import describe
    from pyro_vrnn.data.sources.preparing import plan

    job = plan(kind, source or [], out_, _given(**options))
    if job.done and not overwrite:
        out.say(f"{job.path}: already prepared (--overwrite makes it again)")
    else:
        with counting(out.console(), f"preparing {kind}", quiet=out.quiet) as progress:
            job.run(overwrite=overwrite, progress=progress)
    found = describe(job.path)
    print_description(job.path, found)
    return {"schema": 1, "file": str(job.path), **found}
