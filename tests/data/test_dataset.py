"""Batches: every sequence in its place, padded with zeros, whatever process reads it and in whatever order."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import write_audio, write_small
from torch.utils.data import DataLoader

from pyro_vrnn.data import dataset as dataset_module
from pyro_vrnn.data import reader, writer
from pyro_vrnn.data.baselines import baselines
from pyro_vrnn.data.batch import padded, standardised
from pyro_vrnn.data.batching import epoch_plan, in_order
from pyro_vrnn.data.dataset import SequenceDataset, collate
from pyro_vrnn.data.description import describe
from pyro_vrnn.data.encoding import Encoding
from pyro_vrnn.data.schema import Array, read_info
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.system.errors import ConfigError, DataError

LENGTHS = {"train": [5, 2, 7, 1, 11], "valid": [3], "test": [4, 6]}


def make(path: Path, support: str = "real") -> dict[str, list[Array]]:
    """A data file of these lengths, X = 3, and what is in it."""
    random = np.random.default_rng(3)

    def draw(n: int) -> Array:
        return random.integers(0, 2, (n, 3), np.uint8) if support == "binary" else random.normal(size=(n, 3))

    splits = {
        split: [draw(n).astype("u1" if support == "binary" else "f4") for n in ns] for split, ns in LENGTHS.items()
    }
    write_sequences(
        path,
        splits,
        ids={split: [f"{split} {'abcde'[i]}" for i in range(len(ns))] for split, ns in LENGTHS.items()},
        kind="vectors",
        support=support,
        steps_per_second=None,
        source="",
        licence="",
        options={},
        extra={"skipped": [{"id": "f", "why": "empty"}]},
    )
    return splits


@pytest.fixture(params=["in memory", "from the file"])
def path(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data file that is small enough to be kept in memory, or is taken not to be."""
    if request.param == "from the file":
        monkeypatch.setattr(dataset_module, "IN_MEMORY_BYTES", 10)
    return tmp_path / "x.h5"


RAW = Encoding()
"""Values as they are stored."""


# ----------------------------------------------------------------------------------------- the data set


def test_sequences_come_back_as_float32(path: Path) -> None:
    for support in ("real", "binary"):
        path.unlink(missing_ok=True)
        splits = make(path, support)
        for split, expected in splits.items():
            data = SequenceDataset(path, split, encoding=RAW)
            assert len(data) == len(expected)
            assert data.lengths.dtype == np.int64
            assert data.lengths.tolist() == LENGTHS[split]
            assert data.info.x_dim == 3
            for got, want in zip(data, expected, strict=True):
                assert got.dtype == np.float32
                np.testing.assert_array_equal(got, want)
            np.testing.assert_array_equal(data[-1], expected[-1])


def test_a_sequence_can_be_changed_without_changing_the_data(path: Path) -> None:
    make(path)
    data = SequenceDataset(path, "train", encoding=RAW)
    data[0][:] = 9
    assert not (data[0] == 9).any()


def test_windows_drop_nothing(path: Path) -> None:
    splits = make(path)
    data = SequenceDataset(path, "train", window=4, encoding=RAW)
    assert data.lengths.tolist() == [4, 1, 2, 4, 3, 1, 4, 4, 3]
    assert data.ids[:4] == ["train a#0", "train a#1", "train b#0", "train c#0"]
    np.testing.assert_array_equal(np.concatenate(list(data)), np.concatenate(splits["train"]))
    assert len(SequenceDataset(path, "train", window=100)) == 5
    assert SequenceDataset(path, "train", window=1).lengths.tolist() == [1] * 26


def test_an_empty_split_has_no_sequences(tmp_path: Path) -> None:
    one = [np.zeros((1, 1), "f4")]
    write_sequences(
        tmp_path / "x.h5",
        {"train": one},
        ids={"train": ["a"]},
        kind="vectors",
        support="real",
        steps_per_second=1.0,
        source="",
        licence="",
    )
    for window in (None, 3):
        data = SequenceDataset(tmp_path / "x.h5", "valid", window=window, encoding=RAW)
        assert list(data) == []
        assert list(data.ids) == []
        assert epoch_plan(data.lengths, 4, seed=0, epoch=0) == in_order(data.lengths, 4) == []


def test_find_takes_an_id_or_a_number(path: Path) -> None:
    make(path)
    data = SequenceDataset(path, "train", encoding=RAW)
    assert data.find("train c") == data.find("2") == 2
    for wrong in ("5", "-1", "1.0", "", "tran c", "²"):
        with pytest.raises(ConfigError) as error:
            data.find(wrong)
        assert "0 to 4" in error.value.hint
    assert "train c" in error.value.hint or "train a" in error.value.hint


def test_wrong_settings(path: Path) -> None:
    make(path)
    with pytest.raises(ConfigError, match="split 'dev': choose from test, train, valid"):
        SequenceDataset(path, "dev")
    with pytest.raises(ConfigError, match="window 0"):
        SequenceDataset(path, "train", window=0)
    with pytest.raises(IndexError):
        SequenceDataset(path, "train", encoding=RAW)[5]
    with pytest.raises(DataError):
        SequenceDataset(path.with_name("missing.h5"), "train")


@pytest.mark.fault(2)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of Python 3.12, where torch has threads
def test_each_process_opens_the_file_for_itself(path: Path) -> None:
    """A fork, a pickle and the workers of a DataLoader read the same, also after the parent has read."""
    splits = make(path)
    data = SequenceDataset(path, "train", encoding=RAW)
    _ = data[0]
    copy = pickle.loads(pickle.dumps(data))
    assert copy._opened is None
    np.testing.assert_array_equal(copy[4], splits["train"][4])
    child = os.fork()
    if child == 0:  # no assert here: the child must not run the rest of pytest
        right = all(np.array_equal(data[i], splits["train"][i]) for i in range(5))
        os._exit(0 if right and data._opened is not None and data._opened[0] == os.getpid() else 1)
    assert os.waitpid(child, 0)[1] == 0
    loader = DataLoader(data, batch_size=None, num_workers=2, shuffle=False)  # type: ignore[arg-type]
    for got, want in zip(loader, splits["train"], strict=True):
        np.testing.assert_array_equal(np.asarray(got), want)


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit only what is asked for is read."""
    monkeypatch.setattr(dataset_module, "IN_MEMORY_BYTES", 10)
    monkeypatch.setattr(writer, "CHUNK_VALUES", 9)
    make(tmp_path / "x.h5")
    data = SequenceDataset(tmp_path / "x.h5", "train", encoding=RAW)
    _ = data[2]
    rows = data._rows()
    assert isinstance(rows, reader.RandomRows)
    assert np.flatnonzero(rows.checked).tolist() == [2, 3, 4]  # whole chunks of three rows, for their checksums


def test_chunks_are_checked_when_first_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage, and a file that becomes shorter, are told; a map would end the process."""
    monkeypatch.setattr(dataset_module, "IN_MEMORY_BYTES", 10)
    monkeypatch.setattr(writer, "CHUNK_VALUES", 9)
    splits = make(tmp_path / "x.h5")
    data = SequenceDataset(tmp_path / "x.h5", "train", encoding=RAW)
    for _ in range(2):
        for i, x in enumerate(splits["train"]):
            np.testing.assert_array_equal(data[i], x)
    fresh = SequenceDataset(tmp_path / "x.h5", "train", encoding=RAW)
    np.testing.assert_array_equal(fresh[0], splits["train"][0])
    os.truncate(tmp_path / "x.h5", 100)
    for held in (data, fresh):  # of chunks that were checked, and of those that were not: HDF5 would read zeros
        with pytest.raises(DataError, match="has become shorter"):
            _ = held[4]


def stored_sums(path: Path) -> list[tuple[Array, int]]:
    """Bytes and checksum of each chunk of the training split."""
    with h5py.File(path) as file:
        x = file["train/x"]
        raw = [x.id.read_direct_chunk((k, 0))[1] for k in range(0, len(x), x.chunks[0])]
    return [(np.frombuffer(chunk[:-4], np.uint8), int.from_bytes(chunk[-4:], "little")) for chunk in raw]


@pytest.mark.parametrize("fill", ["random", "zeros", "all bits", "one bit"])
@pytest.mark.parametrize("dtype", ["u1", "<i2", "<f4"])
def test_fletcher32_is_the_checksum_of_hdf5(tmp_path: Path, dtype: str, fill: str) -> None:
    random = np.random.default_rng(0)
    data = random.integers(0, 256, 3 * 131_072, np.uint8) if fill == "random" else np.zeros(3 * 131_072, np.uint8)
    if fill == "all bits":
        data[:] = 255
    if fill == "one bit":
        data[131_071] = 1
    with h5py.File(tmp_path / "x.h5", "w") as file:
        values = data.view(dtype).reshape(-1, 8)
        file.create_dataset("train/x", data=values, chunks=(len(values) // 3, 8), fletcher32=True)
    found = stored_sums(tmp_path / "x.h5")
    assert len(found) == 3
    assert [reader.fletcher32(chunk) for chunk, _ in found] == [checksum for _, checksum in found]


@pytest.mark.parametrize("where", [0, 5, -5, -1])
def test_a_flipped_bit_is_an_error_in_any_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: int) -> None:
    """In a chunk's values or in its checksum, though none of the rows that are asked for has it."""
    monkeypatch.setattr(dataset_module, "IN_MEMORY_BYTES", 10)
    path = write_audio(tmp_path / "audio.h5")
    whole = SequenceDataset(path, "train", 5)
    _ = whole[0]
    rows = whole._rows()
    assert isinstance(rows, reader.RandomRows)
    assert rows.plain.all()
    size = rows.rows * rows.row_bytes + 4
    with path.open("r+b") as file:
        place = int(rows.places[0]) + where % size
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(DataError, match=r"/train/x cannot be read"):
        SequenceDataset(path, "train", 5)[1]


def test_a_chunk_that_only_hdf5_finds_stays_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the bytes at its address are others: never read past HDF5, which has the last word."""
    monkeypatch.setattr(dataset_module, "IN_MEMORY_BYTES", 10)
    data = SequenceDataset(write_audio(tmp_path / "audio.h5"), "train", 5)
    expected = SequenceDataset(tmp_path / "audio.h5", "train", 5)[1]
    _ = data[0]
    rows = data._rows()
    assert isinstance(rows, reader.RandomRows)
    rows.checked[:] = False
    rows.places += 1
    for _ in range(2):
        np.testing.assert_array_equal(data[1], expected)
    assert not rows.checked.any()


def test_what_the_system_cannot_read_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "IN_MEMORY_BYTES", 10)
    data = SequenceDataset(write_audio(tmp_path / "audio.h5"), "train", 5)

    def broken(descriptor: int, values: Array, place: int) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(reader, "read_into", broken)
    with pytest.raises(DataError, match=r"/train/x \(train sequence .*\) cannot be read: .*Input/output error"):
        _ = data[0]


@pytest.mark.parametrize("system", ["whole", "in parts", "without preadv"])
def test_bytes_of_a_file_into_an_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    (tmp_path / "x").write_bytes(bytes(range(100)))
    real = os.preadv
    if system == "in parts":
        monkeypatch.setattr(os, "preadv", lambda file, views, place: real(file, [views[0][:7]], place))
    elif system == "without preadv":
        monkeypatch.delattr(os, "preadv")
    values = np.zeros((5, 6), "<i2")
    with (tmp_path / "x").open("rb") as file:
        assert reader.read_into(file.fileno(), values, 10) == 60
        assert values.tobytes() == bytes(range(10, 70))
        assert reader.read_into(file.fileno(), values, 90) == 10
        assert reader.read_into(file.fileno(), values, 200) == 0


@pytest.mark.parametrize("name", ["x", "offsets", "ids"])
@pytest.mark.parametrize("size", ["short", "long"])
def test_chunks_of_another_size_are_refused(tmp_path: Path, name: str, size: str) -> None:
    """Before any is read: HDF5 reads past the end of a short one, into what is not its own."""
    path = write_audio(tmp_path / "audio.h5")
    with h5py.File(path, "r+") as file:
        x = file["train"][name].id
        place = (0,) * x.rank
        _, chunk = x.read_direct_chunk(place)
        x.write_direct_chunk(place, chunk[:9] if size == "short" else chunk * 2)
    with pytest.raises(DataError, match=f"/train/{name}: a chunk of|/train/{name}: claims"):
        read_info(path)


def test_a_chunk_without_a_checksum_is_left_to_hdf5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "IN_MEMORY_BYTES", 10)
    path = write_audio(tmp_path / "audio.h5")
    expected = SequenceDataset(path, "train", 5)[1]
    with h5py.File(path, "r+") as file:
        x = file["train/x"].id
        _, chunk = x.read_direct_chunk((0, 0))
        x.write_direct_chunk((0, 0), chunk[:-4], filter_mask=1)
    data = SequenceDataset(path, "train", 5)
    np.testing.assert_array_equal(data[1], expected)
    rows = data._rows()
    assert isinstance(rows, reader.RandomRows)
    assert not rows.plain[0]


# -------------------------------------------------------------------------------------------- batches


def test_collate_pads_with_zeros_time_first(path: Path) -> None:
    splits = make(path)
    batch = collate(SequenceDataset(path, "train", encoding=RAW), [4, 1, 0])
    assert batch.x is not None
    assert (batch.x.dtype, tuple(batch.x.shape)) == (torch.float32, (11, 3, 3))
    assert batch.lengths.dtype == torch.int64
    assert batch.lengths.tolist() == [11, 2, 5]
    assert (batch.size, batch.steps) == (3, 11)
    for b, i in enumerate([4, 1, 0]):
        length = LENGTHS["train"][i]
        np.testing.assert_array_equal(batch.x[:length, b].numpy(), splits["train"][i])
        assert not batch.x[length:, b].any()
    assert batch.alive.sum(0).tolist() == [11, 2, 5]
    assert not batch.x[~batch.alive].any()


LONG = st.lists(st.integers(1, 1000), max_size=200)


@given(lengths=LONG, size=st.integers(1, 30), seed=st.integers(0, 2**40), epoch=st.integers(0, 10_000))
@settings(deadline=None)
def test_an_epoch_has_every_sequence_once(lengths: list[int], size: int, seed: int, epoch: int) -> None:
    plan = epoch_plan(lengths, size, seed=seed, epoch=epoch)
    assert sorted(i for batch in plan for i in batch) == list(range(len(lengths)))
    assert sum(len(batch) < size for batch in plan) <= 1
    assert all(1 <= len(batch) <= size for batch in plan)
    assert plan == epoch_plan(np.array(lengths, np.int64), size, seed=seed, epoch=epoch)


@given(lengths=LONG, size=st.integers(1, 30))
@settings(deadline=None)
def test_evaluation_has_every_sequence_once_longest_first(lengths: list[int], size: int) -> None:
    plan = in_order(lengths, size)
    order = [i for batch in plan for i in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[i] for i in order] == sorted(lengths, reverse=True)
    assert all(len(batch) == size for batch in plan[:-1])


def test_seed_and_epoch_change_the_order() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, 300)
    plans = [epoch_plan(lengths, 8, seed=s, epoch=e) for s, e in [(0, 0), (0, 1), (1, 0), (1, 1)]]
    assert len({json.dumps(plan) for plan in plans}) == 4
    members = [{frozenset(batch) for batch in plan} for plan in plans]
    assert len(members[0] & members[1]) < 3  # other company, not only another order of the same batches


def test_the_order_of_today_is_the_order_of_tomorrow() -> None:
    """An exact resume rests on it."""
    assert epoch_plan([5, 3, 9, 1, 7], 2, seed=7, epoch=3) == [[3], [0, 1], [2, 4]]


def test_sorting_saves_padding_and_keeps_long_and_short_batches_mixed() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, 640)

    def padded(plan: list[list[int]]) -> float:
        return float(sum(lengths[b].max() * len(b) for b in plan) / lengths.sum())

    plan = epoch_plan(lengths, 16, seed=0, epoch=0)
    unsorted = [list(range(i, i + 16)) for i in range(0, 640, 16)]
    assert padded(plan) < 1.2 < 1.7 < padded(unsorted)
    means = [lengths[batch].mean() for batch in plan]
    assert abs(np.corrcoef(np.arange(len(plan)), means)[0, 1]) < 0.5


@pytest.mark.parametrize("size", [0, -3])
def test_a_batch_has_a_sequence(size: int) -> None:
    with pytest.raises(ConfigError, match="batch size"):
        epoch_plan([1, 2], size, seed=0, epoch=0)
    with pytest.raises(ConfigError, match="batch size"):
        in_order([1, 2], size)


# ------------------------------------------------------------------------------------------- summaries


def test_describe_counts(tmp_path: Path) -> None:
    rolls = [np.array(x, "u1") for x in ([[1, 0, 0], [1, 0, 0], [0, 0, 0]], [[1, 1, 0]])]
    write_sequences(
        tmp_path / "x.h5",
        {"train": rolls, "test": [np.array([[0, 1, 0]] * 5, "u1")]},
        ids={"train": ["a", "b"], "test": ["c"]},
        kind="pianoroll",
        support="binary",
        steps_per_second=2.5,
        source="me",
        licence="mine",
        options={"n": 1},
        extra={"skipped": ["d"], "recognised": None},
    )
    about = describe(tmp_path / "x.h5")
    json.dumps(about, allow_nan=False)
    train = {"sequences": 2, "steps": 4, "shortest": 1, "median": 2.0, "longest": 3}
    assert about["splits"]["train"] == {**train, "ones_per_step": 1.0, "repeated_steps": 0.5}
    assert about["splits"]["valid"] == {"sequences": 0, "steps": 0, "shortest": 0, "median": 0.0, "longest": 0}
    assert about["splits"]["test"]["repeated_steps"] == 1.0
    assert about["columns_used"] == 2
    assert set(about["floors"]) == {"independent", "last"}
    expected = {"kind": "pianoroll", "x_dim": 3, "steps_per_second": 2.5, "licence": "mine", "skipped": ["d"]}
    assert about | expected == about


def test_describe_of_real_data(tmp_path: Path) -> None:
    make(tmp_path / "x.h5")
    about = describe(tmp_path / "x.h5")
    json.dumps(about, allow_nan=False)
    assert about["splits"]["train"] == {"sequences": 5, "steps": 26, "shortest": 1, "median": 5.0, "longest": 11}
    assert about["floors"] == baselines(tmp_path / "x.h5")
    assert about["skipped"] == [{"id": "f", "why": "empty"}]
    assert read_info(tmp_path / "x.h5").steps_per_second is None


def test_standardising_on_the_device_is_standardising(tmp_path: Path) -> None:
    """Whole numbers copied as they are stored, then centred and scaled: the same batch, padding and all."""
    dataset = SequenceDataset(write_audio(tmp_path / "audio.h5"), "train", 5)
    assert dataset.raw
    assert not SequenceDataset(tmp_path / "audio.h5", "train", dither=True).raw
    assert not SequenceDataset(write_small(tmp_path / "bits.h5"), "train").raw
    units = [torch.as_tensor(v) for v in dataset.encoding.constants]
    for indices in ([0, 2, 3], [1, 4]):
        raw, whole = collate(dataset, indices, raw=True), collate(dataset, indices)
        assert raw.x is not None
        assert raw.x.dtype == torch.int16
        many = standardised(padded(raw, 4), *units)
        found = standardised(raw, *units)
        assert torch.equal(found.x, whole.x)
        assert (found.steps, found.scored_steps) == (whole.steps, whole.scored_steps)
        assert torch.equal(many.x[: whole.steps, : len(indices)], whole.x)
        assert not many.x[:, len(indices) :].any()
