"""The inputs of ../shared/cases, made after public bug reports: each gives what its README says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pyro_vrnn import cli
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.description import warnings
from pyro_vrnn.data.format import format_of
from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources import source
from pyro_vrnn.system.errors import DataError


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    """The folder that the script makes."""
    script = shared / "cases" / "make_cases.py"
    if not script.exists():
        pytest.skip("../shared/cases is not here")
    folder = tmp_path_factory.mktemp("cases")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return folder


def prepared(tmp_path: Path, kind: str, path: Path, **options: Any) -> DataInfo:
    return source(kind)(tmp_path / "x.h5", source=path, overwrite=True, **options)


def lengths(info: DataInfo) -> list[int]:
    """Of all sequences."""
    with h5py.File(info.path) as file:
        return [int(n) for split in SPLITS for n in np.diff(file[split]["offsets"][()])]


def by_id(info: DataInfo) -> dict[str, Array]:
    """Values as models would give them back: through the encoding."""
    found = {}
    for split in SPLITS:
        data = SequenceDataset(info.path, split)
        found |= {name: data.encoding.decode(data[i]) for i, name in enumerate(data.ids)}
    return found


@pytest.mark.parametrize(
    ("name", "steps", "mended"),
    [
        ("midi_tempo_in_track_1", 800, {}),
        ("midi_bad_key", 400, {}),
        ("midi_unknown_meta", 400, {}),
        ("midi_rmid", 400, {"wrapped in RIFF": 12}),
        ("midi_track_size_too_large", 400, {"size of a track": 12}),
        ("midi_more_tracks_said", 400, {"number of tracks": 12}),
        ("midi_with_mac_files", 400, {}),
    ],
)
def test_midi(tmp_path: Path, cases: Path, name: str, steps: int, mended: dict[str, int]) -> None:
    info = prepared(tmp_path, "midi", cases / name, strict=True)
    assert lengths(info) == [steps] * 12
    assert info.extra["mended"] == mended
    assert info.extra.get("hidden_files", 0) == (12 if name == "midi_with_mac_files" else 0)


@pytest.mark.parametrize("name", ["csv_missing", "csv_na"])
def test_missing_cells(tmp_path: Path, cases: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    info = prepared(tmp_path, "vectors", cases / name)
    assert (lengths(info), info.x_dim, info.missing) == ([50] * 12, 3, True)
    assert 0.03 < info.extra["missing_values"] / 1800 < 0.08
    assert sum(int(np.isnan(x).sum()) for x in by_id(info).values()) == info.extra["missing_values"]
    assert cli._run(["data", str(info.path)]) == 0
    assert f"missing values: {info.extra['missing_values']} of 1800" in capsys.readouterr().out


def test_time_columns(tmp_path: Path, cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info = prepared(tmp_path, "vectors", cases / "csv_time")
    assert (info.extra["columns"], info.extra["time"]["column"]) == (["a", "b"], "time")
    assert (info.extra["time"]["spacing_seconds"], info.steps_per_second) == (60, 1 / 60)
    assert cli._run(["data", str(info.path)]) == 0
    assert "time column: time, 60 s a step" in capsys.readouterr().out
    info = prepared(tmp_path, "vectors", cases / "one_long_table.csv", split_by="time", window=50)
    assert (info.extra["columns"], info.extra["time"]["column"]) == (["open", "close"], "date")
    assert [info.splits[s].sequences for s in SPLITS] == [32, 4, 4]
    assert set(lengths(info)) == {50}


def test_how_tables_are_written(tmp_path: Path, cases: Path) -> None:
    info = prepared(tmp_path, "vectors", cases / "csv_semicolon")
    assert (lengths(info), info.extra["columns"]) == ([50] * 12, ["a", "b", "c"])
    rows = (cases / "csv_semicolon" / "v00.csv").read_text().replace(",", ".").splitlines()[1:]
    want = [[float(cell) for cell in row.split(";")] for row in rows]
    np.testing.assert_allclose(by_id(info)["v00"], want, atol=1e-5)
    info = prepared(tmp_path, "vectors", cases / "csv_no_header_one_column")
    assert (lengths(info), info.x_dim) == ([50] * 12, 1)
    info = prepared(tmp_path, "vectors", cases / "csv_unnamed_index")
    assert (info.extra["columns"], list(info.extra["dropped_columns"].values())) == (["a", "b"], ["a row's number"])


def test_columns_that_are_worth_a_word(tmp_path: Path, cases: Path) -> None:
    info = prepared(tmp_path, "vectors", cases / "csv_constant")
    assert any("column c never changes" in line for line in warnings(info))
    with pytest.raises(DataError, match=r"'state' holds text: 'on'") as error:
        prepared(tmp_path, "vectors", cases / "csv_text_column")
    assert "--drop state" in error.value.hint
    assert "--one-hot state" in error.value.hint
    for options in ({"drop": ["state"]}, {"one_hot": ["state"]}):
        info = prepared(tmp_path, "vectors", cases / "csv_text_column", **options)
        assert info.extra["columns"] == ["a", "b", *(["state=on", "state=off"] if "one_hot" in options else [])]


def test_outliers_are_told_or_dropped(tmp_path: Path, cases: Path) -> None:
    info = prepared(tmp_path, "vectors", cases / "csv_outlier")
    assert any("v03.csv, step 8, column a (3e+30)" in line for line in warnings(info))
    assert not info.missing
    info = prepared(tmp_path, "vectors", cases / "csv_outlier", drop_outliers=True)
    assert np.argwhere(np.isnan(by_id(info)["v03"])).tolist() == [[7, 0]]
    assert info.std.max() < 100


def test_a_small_signal_on_a_large_number_is_kept(tmp_path: Path, cases: Path) -> None:
    info = prepared(tmp_path, "vectors", cases / "csv_large_offset")
    for name, found in by_id(info).items():
        rows = (cases / "csv_large_offset" / f"{name}.csv").read_text().splitlines()[1:]
        want = np.array([[float(cell) for cell in row.split(",")] for row in rows])
        assert np.corrcoef(found[:, 1], want[:, 1])[0, 1] > 0.99999
        np.testing.assert_allclose(found, want, atol=1e-3)


def test_a_collection_of_the_uea_archive(tmp_path: Path, cases: Path) -> None:
    for path in (cases / "uea", cases / "uea" / "Toy_TRAIN.ts"):
        info = prepared(tmp_path, "vectors", path)
        assert [info.splits[s].sequences for s in SPLITS] == [19, 1, 10]
        assert (info.x_dim, info.extra["carved"]) == (2, "5% of train")
        assert set(info.extra["labels"]["test"]) == {"a", "b"}
        assert {min(lengths(info)), max(lengths(info))} <= set(range(20, 30))


def test_sound(tmp_path: Path, cases: Path) -> None:
    info = prepared(tmp_path, "audio", cases / "wav_piped", strict=True, seconds=None)
    assert lengths(info) == [160] * 12  # two seconds in frames of 200 samples at 16 kHz
    info = prepared(tmp_path, "audio", cases / "wav_loud_floats", strict=True)
    assert 0.1 < info.extra["gain"] < 0.5
    assert info.extra["clipped_samples"] == 0
    assert format_of(info).gain == info.extra["gain"]


def test_drawings_and_games(tmp_path: Path, cases: Path) -> None:
    info = prepared(tmp_path, "strokes", cases / "quickdraw.ndjson")
    assert len(lengths(info)) == 30
    first = json.loads((cases / "quickdraw.ndjson").read_text().splitlines()[0])
    found = {str(name): x for split in SPLITS for name, x in zip_split(info, split)}["0"]
    assert found[:, 2].sum() == 3  # the pen is lifted after each stroke
    (xs, ys), *_ = first["drawing"]
    assert found[0, :2].tolist() == [xs[1] - xs[0], ys[0] - ys[1]]
    pytest.importorskip("chess", reason="games need the extra chess")
    info = prepared(tmp_path, "symbols", cases / "games.pgn")
    assert sorted(lengths(info)) == [4] * 10 + [6] * 20
    assert {"e4", "Nf3", "Bb5", "c5"} & set(info.extra["symbols"]) == {"e4", "Nf3", "Bb5"}


def test_text(tmp_path: Path, cases: Path) -> None:
    with pytest.raises(DataError) as error:
        prepared(tmp_path, "text", cases / "cp1252.txt")
    assert "iconv -f cp1252" in error.value.hint
    info = prepared(tmp_path, "text", cases / "cr_only.txt", level="word")
    end = info.extra["symbols"].index("<eos>")
    assert sum(int((x == end).sum()) for split in SPLITS for _, x in zip_split(info, split)) == 400


def zip_split(info: DataInfo, split: str) -> list[tuple[str, Array]]:
    """Ids and stored values of a split."""
    data = SequenceDataset(info.path, split)
    return [(name, data.stored(i, 0, int(data.lengths[i]))) for i, name in enumerate(data.ids)]
