"""`prepare KIND`: raw files to one HDF5 data set; a sub-command for each kind, with the options of that kind alone."""

from __future__ import annotations

import copy
import functools
import inspect as signatures
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
Jobs = Annotated[int | None, typer.Option(min=1, hidden=True, help="Accepted for scripts: one process does it all.")]
Splits = Annotated[
    str | None, typer.Option(metavar="A,B,C", help="Percentages of train, valid and test, such as 80,10,10.")
]
Frame = Annotated[int | None, typer.Option(min=1, help="Samples in a step; default 200.")]
Seconds = Annotated[float | None, typer.Option(help="Length of a sequence; 0 keeps whole recordings.")]
Clip = Annotated[float | None, typer.Option(help="The longest move that is kept, in standard deviations; default 10.")]

WITHOUT_SOURCE = ("chorales",)
"""Kinds whose raw data comes with a package."""
WITHOUT = {"seed": ("chorales",), "strict": ("chorales", "pianoroll")}
"""Kinds that deal nothing out by a seed, or skip nothing: these options are accepted, and not in the help."""


def kind(options: Callable[..., None]) -> Callable[..., None]:
    """Register one kind of source by a function whose parameters are its own options; those that all have are added."""
    name = options.__name__

    def command(
        source: Sources = None,
        out_: Out = None,
        seed: Seed = None,
        strict: Strict = None,
        jobs: Jobs = None,
        overwrite: Overwrite = False,
        **own: Any,
    ) -> dict[str, Any]:
        return _prepare(name, source, out_, overwrite, **own, seed=seed, strict=strict, jobs=jobs)

    shared = signatures.signature(command, eval_str=True).parameters  # before the wrapper takes the other's annotations
    functools.update_wrapper(command, options)
    first, *last = [p for p in shared.values() if p.kind is not signatures.Parameter.VAR_KEYWORD]
    own = signatures.signature(options, eval_str=True).parameters.values()
    takes_source = [] if name in WITHOUT_SOURCE else [first]
    last = [p.replace(annotation=_unlisted(p.annotation)) if name in WITHOUT.get(p.name, ()) else p for p in last]
    command.__signature__ = signatures.Signature([*takes_source, *own, *last])  # type: ignore[attr-defined]
    return kinds.command(name)(talking(command))


def _unlisted(annotation: Any) -> Any:
    """The annotation of an option, which is then not in the help."""
    option = copy.copy(annotation.__metadata__[0])
    option.hidden = True
    return Annotated[annotation.__origin__, option]


@kind
def chorales(
    resolution: Annotated[
        str | None, typer.Option(help="Length of a step: quarter (default), eighth or sixteenth.")
    ] = None,
) -> None:
    """Bach's 371 chorales, from music21's own corpus: nothing is downloaded.

    Needs the extra `chorales`. The result is a piano-roll with a column for each key.
    For example: prepare chorales --resolution eighth
    """


@kind
def pianoroll() -> None:
    """Files that are already piano-rolls: pickle, .mat, npz, or JSON of note lists.

    SOURCE may also be jsb, nottingham, muse or piano: that set is downloaded and checked by its sha256.
    For example: prepare pianoroll JSB_Chorales.pickle --out data/jsb.h5
    """


@kind
def midi(
    grid: Annotated[
        str | None, typer.Option(help="Where steps lie: time (default), or beats of the score whatever the tempo.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Steps per second; default 20.")] = None,
    per_beat: Annotated[
        int | None, typer.Option(min=1, help="Steps per quarter note, with --grid beats; default 4.")
    ] = None,
    window: Annotated[int | None, typer.Option(min=1, help="Steps of a sequence; default: whole songs.")] = None,
    hop: Annotated[int | None, typer.Option(min=1, help="Steps from one window to the next; default: WINDOW.")] = None,
    pieces: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Keep the first N windows of each song; default: all.")
    ] = None,
    splits: Splits = None,
    split_by: Annotated[
        str | None, typer.Option(help="sequence (whole songs) or time (the end of each song is held out).")
    ] = None,
) -> None:
    """A folder of MIDI songs, sampled into piano-rolls at a fixed rate, or on the grid of the score.

    Drums, velocities and pedals are left out. For example: prepare midi my_songs/ --window 50 --hop 25
    or: prepare midi my_songs/ --grid beats --per-beat 4
    """


@kind
def audio(
    sample_rate: Annotated[int | None, typer.Option(min=1, help="Samples per second; default 16000.")] = None,
    frame: Frame = None,
    seconds: Seconds = None,
    join: Annotated[
        bool | None, typer.Option("--join", help="Put the recordings of a split end to end before they are cut.")
    ] = None,
    resample: Annotated[bool | None, typer.Option("--resample", help="Convert recordings of other rates.")] = None,
    splits: Splits = None,
    split_by: Annotated[
        str | None, typer.Option(help="file, folder (one speaker each), or time (the end of each is held out).")
    ] = None,
    index: Annotated[
        str | None, typer.Option(metavar="INDEX.csv", help="Table of one FLAC per split; its folder is the source.")
    ] = None,
    normalise: Annotated[str | None, typer.Option(help="standard (deviation) or range (max - min).")] = None,
    gain: Annotated[
        str | None, typer.Option(help="Floats beyond full scale: auto turns all down alike (default), none refuses.")
    ] = None,
    clip: Annotated[bool | None, typer.Option("--clip", help="With --gain none: clip what is beyond it.")] = None,
) -> None:
    """Recordings: wav, flac, ogg, mp3, and npy or npz of samples, in folders of any depth.

    They are cut into sequences of SECONDS, each step a frame of samples. Ctrl-C stops; the same command continues.
    For example: prepare audio my_recordings/ --seconds 0.5 --resample
    """


@kind
def timit(
    frame: Frame = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of a sequence of train and valid; default: whole sentences.")
    ] = None,
    split_by: Annotated[
        str | None, typer.Option(help="What is drawn for valid: folder (speakers, the default) or file (sentences).")
    ] = None,
) -> None:
    """The TIMIT corpus: TRAIN and TEST folders of NIST SPHERE files.

    The corpus's own test set is kept, its sentences whole; 5% of the rest, chosen by --seed, become validation.
    For example: prepare timit /corpora/TIMIT --seconds 2
    """


@kind
def iamondb(
    clip: Clip = None,
) -> None:
    """The IAM-OnDB handwriting corpus: a folder of lineStrokes XML files.

    For example: prepare iamondb /corpora/iamondb --out data/iamondb.h5
    """


@kind
def strokes(
    clip: Clip = None,
) -> None:
    """Pen strokes: Quick, Draw! .ndjson, sketch-rnn .npz, InkML, UNIPEN, JSON, npz, or the MNIST stroke text files.

    A step is (dx, dy, pen lifted). SOURCE is a file, or a folder of .ndjson, .inkml, .dat or MNIST stroke files.
    For example: prepare strokes cat.ndjson
    """


@kind
def text(
    level: Annotated[str | None, typer.Option(help="What a symbol is: char (default) or word.")] = None,
    window: Annotated[int | None, typer.Option(min=1, help="Symbols of a sequence; default 200.")] = None,
) -> None:
    """A text file in UTF-8, by characters or words, cut into windows.

    For example: prepare text shakespeare.txt --level word --window 50
    """


@kind
def symbols(
    splits: Splits = None,
    moves: Annotated[str | None, typer.Option(help="Moves of games in PGN: san (default, Nf3) or uci (g1f3).")] = None,
) -> None:
    """One sequence of tokens per line, with spaces between; games of chess in PGN; or a table of openings.

    PGN needs the extra `chess`. For example: prepare symbols sentences.txt --splits 90,5,5
    or: prepare symbols games.pgn --moves uci
    """


@kind
def vectors(
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="Keep these columns of a table; default: all of numbers.")
    ] = None,
    drop: Annotated[str | None, typer.Option(metavar="A,B", help="Leave out these columns.")] = None,
    one_hot: Annotated[
        str | None, typer.Option(metavar="A,B", help="Columns of text: one of 0 and 1 for each of their values.")
    ] = None,
    sequence: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column that says whose row it is; default: sequence.")
    ] = None,
    missing: Annotated[
        str | None, typer.Option(metavar="A,B", help="Cells of no value, beside empty ones, NA, NaN and null; -999.")
    ] = None,
    window: Annotated[int | None, typer.Option(min=1, help="Steps of a sequence; default: whole ones.")] = None,
    hop: Annotated[int | None, typer.Option(min=1, help="Steps from one window to the next; default: WINDOW.")] = None,
    split_by: Annotated[
        str | None, typer.Option(help="sequence (default), or time: the end of each is held out.")
    ] = None,
    splits: Splits = None,
    drop_outliers: Annotated[
        bool | None, typer.Option("--drop-outliers", help="Make what is far out of its column a missing value.")
    ] = None,
    binary: Annotated[bool | None, typer.Option("--binary", help="Turn pixels of images into bits.")] = None,
) -> None:
    """Sequences of numbers: tables (CSV, TSV, Excel), UEA and UCR collections, npy, npz.

    A table has a column `sequence`, or is one of a folder with a sequence each, or is a long one that is cut by time.
    For example: prepare vectors my_sensors/ --out data/sensors.h5
    or: prepare vectors prices.csv --split-by time --window 50
    """


@kinds.command()
@talking
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
