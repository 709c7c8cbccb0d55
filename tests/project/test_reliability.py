"""docs/reliability.md lists every fault with the tests that show it, and is made of them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def reliability(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import reliability

    return reliability


def test_every_fault_has_a_test(reliability: ModuleType) -> None:
    assert reliability.faulty() == []
    numbers = [fault["number"] for fault in reliability.faults()]
    assert numbers == [*range(1, len(numbers) + 1)]
    assert len(numbers) >= 60


def test_the_page_is_made_of_them(reliability: ModuleType) -> None:
    assert reliability.PAGE.read_text("utf-8") == reliability.page(), "make reliability"


def test_marks_are_those_that_pytest_finds(reliability: ModuleType, request: pytest.FixtureRequest) -> None:
    """Where pytest collected everything, it is the same as what the syntax trees say."""
    items = [item for item in request.session.items if item.get_closest_marker("fault")]
    read = {(number, name) for number, names in reliability.marked().items() for name in names}
    found = {(n, i.nodeid.partition("[")[0]) for i in items for mark in i.iter_markers("fault") for n in mark.args}
    assert found <= read
    files = {item.path for item in request.session.items}
    assert {(n, name) for n, name in read if ROOT / name.partition("::")[0] in files} == found or len(files) == 1


def test_what_is_wrong_is_told(reliability: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row: dict[str, Any] = {"group": "g", "case": "c", "expected": "e"}
    monkeypatch.setattr(reliability, "faults", lambda: [row | {"number": n} for n in (1, 2, 2)])
    monkeypatch.setattr(reliability, "ROOT", tmp_path)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(
        "@pytest.mark.fault(2, 9)\nclass TestA:\n    @pytest.mark.fault(3)\n    def test_b(self): ...\n"
    )
    test = "tests/test_a.py::TestA::test_b: docs/faults.toml has no fault"
    assert reliability.faulty() == [
        "fault 1 of docs/faults.toml has no test: mark one with @pytest.mark.fault(1)",
        f"{test} 3",
        f"{test} 9",
        "fault 2 is there twice",
    ]
    assert reliability.marked()[9] == ["tests/test_a.py::TestA::test_b"]
    monkeypatch.delitem(sys.modules, "reliability")


@pytest.mark.fault(45)
def test_a_power_cut_at_any_moment(reliability: ModuleType, tmp_path: Path) -> None:
    """A short form of `make power-cut`: the last changes that were not synced are lost, at a third of the moments."""
    import power_cut
    from small import write_small

    (tmp_path / "root").mkdir()
    data = write_small(tmp_path / "d.h5")
    moments, folders, wrong = power_cut.trial(tmp_path / "root", data, subsets=0, updates=3, every=3)
    assert wrong == []
    assert moments > 100
    assert folders > moments


@pytest.mark.fault(45)
def test_a_writer_that_does_not_sync_is_found(
    reliability: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the sync of its folder a checkpoint that was said to be saved can be lost."""
    import power_cut

    from pyro_vrnn.system import files
    from pyro_vrnn.training import checkpoint

    def wrong(root: Path) -> list[str]:
        root.mkdir()
        with power_cut.recording(root) as recorder:
            (root / "a").mkdir()
            files.sync_folder(root)
            files.write_bytes(root / "a" / "config.toml", b"")
            for step in (1, 2):
                made = checkpoint.Checkpoint({}, {}, {"step": step, "metrics_bytes": 0})
                checkpoint.save(root / "a" / "checkpoints", made, best=True)
        return power_cut.replay(recorder, root / "a", subsets=1)[1]

    assert wrong(tmp_path / "synced") == []
    monkeypatch.setattr(checkpoint, "sync_folder", lambda folder: None)
    monkeypatch.setattr(files, "sync_folder", lambda folder: None)
    assert any("no whole checkpoint" in word or "the run is gone" in word for word in wrong(tmp_path / "careless"))
