"""A run folder: who owns it, what it resumes, what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fits import fit, losses
from small import write_small

from pyro_vrnn.system.errors import CheckpointError, ConfigError
from pyro_vrnn.training import checkpoint
from pyro_vrnn.training.observer import Observer


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_small(tmp_path / "small.h5")


@pytest.mark.fault(20)
def test_other_model_settings_are_refused_with_a_diff_harmless_ones_are_said(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "a", max_steps=3)
    with pytest.raises(CheckpointError, match=r"model.hidden_dim: 8 -> 9") as error:
        fit(data, tmp_path / "a", max_steps=5, settings={"model.hidden_dim": 9})
    assert "--overwrite" in error.value.hint
    with pytest.raises(CheckpointError, match=r"objective.kl_start"):
        fit(data, tmp_path / "a", max_steps=5, settings={"objective.kl_start": 0.9})

    class Hears(Observer):
        heard: list[str] = []  # noqa: RUF012

        def said(self, message: str) -> None:
            self.heard.append(message)

    fit(data, tmp_path / "a", max_steps=5, lr=1e-4, observer=Hears())
    assert any("training.learning_rate: 0.002 -> 0.0001" in m for m in Hears.heard)


@pytest.mark.fault(13)
def test_resume_never_and_overwrite(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "a", max_steps=3)
    with pytest.raises(ConfigError, match="already holds a run") as error:
        fit(data, tmp_path / "a", max_steps=3, resume="never")
    assert "--overwrite" in error.value.hint
    run = fit(data, tmp_path / "a", max_steps=2, overwrite=True)
    assert run.result.steps == 2
    log = (tmp_path / "a" / "log.txt").read_text()
    assert "parameters" in log
    assert "stopped by max-steps at step 2" in log
    assert len([r for r in losses(tmp_path / "a") if "loss" in r]) == 2


@pytest.mark.fault(20)
def test_settings_that_cannot_be_are_found_before_a_run_is_removed(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "a", max_steps=2)
    before = sorted(tmp_path.rglob("*"))
    bad = {"training.valid_objective": "iwae", "training.valid_particles": 1}
    with pytest.raises(ConfigError, match="with one particle"):
        fit(data, tmp_path / "a", max_steps=2, overwrite=True, settings=bad)
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(CheckpointError, match="valid_objective"):
        fit(data, tmp_path / "a", max_steps=4, settings={"training.valid_objective": "elbo-mc"})


@pytest.mark.fault(13)
def test_folders_that_are_no_place_for_a_run(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is a file"):
        fit(data, tmp_path / "file", max_steps=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="no run"):
        fit(data, tmp_path / "full", max_steps=1, overwrite=True)
    assert (tmp_path / "full" / "thesis.tex").exists()


@pytest.mark.fault(14)
def test_a_second_process_is_kept_out(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "a", max_steps=1)
    import filelock

    with filelock.FileLock(tmp_path / "a" / ".lock"), pytest.raises(ConfigError, match="another process"):
        fit(data, tmp_path / "a", max_steps=2)


@pytest.mark.fault(13)
def test_only_our_own_files_are_ever_removed(data: Path, tmp_path: Path) -> None:
    """A folder with somebody else's config.toml is no run; of a run's folder, --overwrite removes what is ours."""
    foreign = tmp_path / "site"
    (foreign / "content").mkdir(parents=True)
    (foreign / "config.toml").write_text('baseURL = "x"\n')
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="no run"):
            fit(data, foreign, max_steps=1, overwrite=overwrite)
    assert sorted(f.name for f in foreign.iterdir()) == ["config.toml", "content"]
    fit(data, tmp_path / "a", max_steps=1)
    (tmp_path / "a" / "notes.txt").write_text("mine")
    fit(data, tmp_path / "a", max_steps=1, overwrite=True)
    assert (tmp_path / "a" / "notes.txt").read_text() == "mine"


def test_flags_that_contradict_each_other(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "a", max_steps=2)
    with pytest.raises(ConfigError, match="--overwrite make no sense"):
        fit(data, None, max_steps=3, resume=str(tmp_path / "a"), overwrite=True)
    with pytest.raises(ConfigError, match="--overwrite make no sense"):
        fit(data, tmp_path / "b", max_steps=3, resume=str(tmp_path / "a"))
    with pytest.raises(ConfigError, match="--init-from"):
        fit(data, tmp_path / "a", max_steps=3, init_from=tmp_path / "a")
    assert fit(data, None, max_steps=3, resume=str(tmp_path / "a")).result.steps == 3


def test_resuming_an_older_checkpoint_makes_it_the_newest(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "a", max_steps=10)
    fit(data, tmp_path / "whole", max_steps=12)
    folder = tmp_path / "a" / "checkpoints"
    assert (folder / "step-00000005").is_dir()
    fit(data, None, max_steps=7, resume=str(folder / "step-00000005"))
    assert checkpoint.read_pointer(folder, "LATEST") == "step-00000007"
    assert not (folder / "step-00000010").exists()
    fit(data, tmp_path / "a", max_steps=12)
    assert losses(tmp_path / "a") == losses(tmp_path / "whole")


def test_an_early_stop_stays_stopped(data: Path, tmp_path: Path) -> None:
    settings = {"training.learning_rate": 1e-12, "training.weight_decay": 0.0, "training.patience": 2}
    first = fit(data, tmp_path / "a", epochs=100, settings=settings)
    again = fit(data, tmp_path / "a", epochs=100, settings=settings)
    assert first.result.stopped == again.result.stopped == "early-stopping"
    assert first.result.steps == again.result.steps


def test_rows_of_a_start_that_left_no_checkpoint_go(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "a", max_steps=2)
    import shutil

    shutil.rmtree(tmp_path / "a" / "checkpoints")
    fit(data, tmp_path / "a", max_steps=3)
    assert [r["step"] for r in losses(tmp_path / "a") if "loss" in r] == [1, 2, 3]


@pytest.mark.fault(4)
def test_the_callers_random_numbers_stay_the_callers(data: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    fit(data, tmp_path / "a", max_steps=2)
    assert torch.equal(before, torch.get_rng_state())


def test_init_from_takes_weights_only(data: Path, tmp_path: Path) -> None:
    first = fit(data, tmp_path / "a", max_steps=3)
    second = fit(data, tmp_path / "b", max_steps=1, init_from=tmp_path / "a", objective="iwae", lr=1e-12)
    assert second.state["step"] == 1
    for a, b in zip(first.net.parameters(), second.net.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
