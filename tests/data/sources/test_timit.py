"""The layout of TIMIT."""

from __future__ import annotations

from pathlib import Path

import pytest
from soundfiles import encoded, ids, noise, sphere, why_skipped

from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources import timit
from pyro_vrnn.system.errors import ConfigError, DataError


def timit_corpus(folder: Path, train: int = 20, upper: bool = True) -> Path:
    """Speakers of one SA sentence and one other, and their transcripts."""
    for half, count in (("TRAIN", train), ("TEST", 3)):
        for i in range(count):
            place = f"{half}/DR{1 + i % 2}/{half[1]}SP{i}"
            speaker = folder / (place if upper else place.lower())
            speaker.mkdir(parents=True)
            for name in ("SA1", f"SX{i}"):
                (speaker / f"{name}.WAV").write_bytes(sphere(noise(1000, seed=i)))
                (speaker / f"{name}.WAV.wav").write_bytes(encoded(noise(1000, seed=i)))  # in some copies
                (speaker / f"{name}.PHN").write_text("0 1000 h#\n")
    return folder


@pytest.mark.parametrize("upper", [True, False])
def test_timit(tmp_path: Path, upper: bool) -> None:
    """Its own test set; one in twenty training speakers for validation; whole utterances."""
    timit_corpus(tmp_path / "root" / "timit", upper=upper)
    told: list[tuple[int, int]] = []
    info = timit.prepare(tmp_path / "x.h5", source=tmp_path / "root", progress=lambda *n: told.append(n))
    assert told == [(n, 92) for n in range(1, 93)]
    assert [info.splits[split].sequences for split in SPLITS] == [38, 2, 6]
    assert {i.split("/")[1][0].upper() for i in ids(info, "test")} == {"E"}
    spoken = {split: {i.split("/")[1] for i in ids(info, split)} for split in ("train", "valid")}
    assert not spoken["train"] & spoken["valid"]
    assert {i.split("/")[2][:2] for i in ids(info)} == {"SA", "SX"}
    assert (info.splits["train"].shortest, info.options["seconds"], info.extra["skipped_count"]) == (5, None, 0)
    assert "LDC93S1" in info.source
    content = info.path.read_bytes()
    again = timit.prepare(tmp_path / "x.h5", source=tmp_path / "root", overwrite=True)
    assert again.path.read_bytes() == content
    drawn = {timit.prepare(tmp_path / "y.h5", source=tmp_path / "root", seed=s, overwrite=True) for s in range(3)}
    assert len(drawn) == 3
    windows = timit.prepare(tmp_path / "y.h5", source=tmp_path / "root", seconds=0.025, overwrite=True)
    assert windows.splits["train"].sequences == 3 * 38


def test_timit_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folders TRAIN and TEST"):
        timit.prepare(tmp_path / "x.h5", source=tmp_path)
    with pytest.raises(DataError, match="No such file"):
        timit.prepare(tmp_path / "x.h5", source=tmp_path / "nothing")
    timit_corpus(tmp_path / "one", train=1)
    with pytest.raises(DataError, match="1 speakers, too few for a validation split"):
        timit.prepare(tmp_path / "x.h5", source=tmp_path / "one")
    packed = timit_corpus(tmp_path / "packed")
    path = next(packed.glob("TEST/*/*/SA1.WAV"))
    path.write_bytes(sphere(noise(1000), coding="pcm,embedded-shorten-v2.00"))
    info = timit.prepare(tmp_path / "x.h5", source=packed)
    [(name, reason)] = why_skipped(info).items()
    assert name.startswith("TEST/DR")
    assert "compressed with shorten" in reason
    with pytest.raises(DataError, match="shorten"):
        timit.prepare(tmp_path / "y.h5", source=packed, strict=True)


def test_test_sentences_stay_whole_and_validation_is_a_share_of_the_sentences(tmp_path: Path) -> None:
    """As Fraccaro et al. 2016 have it: windows of two seconds to train on, 5% of all that is not for test."""
    timit_corpus(tmp_path / "timit")
    info = timit.prepare(tmp_path / "x.h5", source=tmp_path / "timit", seconds=0.025, split_by="file")
    assert [info.splits[split].sequences for split in SPLITS] == [3 * 38, 3 * 2, 6]
    assert (info.splits["train"].longest, info.splits["test"].longest) == (2, 5)
    assert {i.rpartition("#")[1] for i in ids(info, "test")} == {""}
    kept = {split: {i.rpartition("#")[0] for i in ids(info, split)} for split in ("train", "valid")}
    assert (len(kept["valid"]), len(kept["train"] & kept["valid"])) == (2, 0)
    assert info.options["split_by"] == "file"
    drawn = {frozenset(i.split("/")[1] for i in kept["valid"])}
    for seed in range(1, 5):
        other = timit.prepare(tmp_path / "y.h5", source=tmp_path / "timit", split_by="file", seed=seed, overwrite=True)
        drawn.add(frozenset(i.split("/")[1] for i in ids(other, "valid")))
    assert len(drawn) > 1
    with pytest.raises(ConfigError, match="choose from file, folder"):
        timit.prepare(tmp_path / "z.h5", source=tmp_path / "timit", split_by="speaker")
