"""What an estimator saves, and loads again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ragged import TINY, sequences
from sklearn.exceptions import NotFittedError

import pyro_vrnn as pv
from pyro_vrnn.system.errors import CheckpointError, ConfigError


@pytest.mark.fault(58)
def test_what_was_saved_is_loaded_and_holds_no_pickle(vrnn: Any, tmp_path: Path) -> None:
    X, folder = sequences(), tmp_path / "saved"
    assert vrnn.save(folder) == folder
    suffixes = {file.suffix for file in folder.rglob("*") if file.is_file()}
    assert suffixes == {".json", ".jsonl", ".safetensors", ".toml", ".txt", ""}
    assert {file.name for file in folder.rglob("*") if file.suffix == ""} >= {"BEST", "LATEST"}
    again = pv.VRNN.load(folder)
    assert again.get_params() == vrnn.get_params()
    assert again.score(X) == vrnn.score(X)
    assert again.n_features_in_ == 3
    assert pv.load(folder).config.model.latent_dim == 2
    with pytest.raises(ValueError, match="expecting 3 features"):
        again.transform([x[:, :2] for x in X])
    with pytest.raises(ConfigError, match="holds a saved estimator"):
        vrnn.save(folder)
    again.save(folder, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    with pytest.raises(CheckpointError, match="holds a VRNN"):
        pv.VRAE.load(folder)
    (folder / "estimator.json").write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        pv.VRNN.load(folder)
    with pytest.raises(CheckpointError, match="no saved estimator"):
        pv.VRNN.load(tmp_path)
    with pytest.raises(ConfigError, match="is no saved estimator"):
        vrnn.save(tmp_path)


@pytest.mark.fault(58)
def test_what_cannot_be_saved_is_refused(tmp_path: Path) -> None:
    estimator = pv.VRNN(2, random_state=np.random.RandomState(0), **TINY)
    with pytest.raises(NotFittedError):
        estimator.save(tmp_path / "a")
    with pytest.raises(ConfigError, match="random_state"):
        estimator.fit(sequences()).save(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    with pytest.raises(ConfigError, match="random_state"):
        estimator.set_params(out="run").fit(sequences())
    assert not Path("run").exists()  # told before the training
    estimator.set_params(random_state=np.int64(4)).save(tmp_path / "a")
    assert json.loads((tmp_path / "a" / "estimator.json").read_text())["params"]["random_state"] == 4


def test_the_run_can_be_kept(tmp_path: Path) -> None:
    X, out = sequences(), tmp_path / "run"
    estimator = pv.VRNN(2, out=out, **TINY).fit(X)
    assert pv.VRNN.load(out).score(X) == estimator.score(X)
    assert pv.load(out).evaluate("valid").sequences == 5  # all of them: a tenth of five is none
    estimator.fit(X)  # its own run is replaced
    (out / "estimator.json").unlink()
    with pytest.raises(ConfigError, match="no estimator wrote"):
        estimator.fit(X)
