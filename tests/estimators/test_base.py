"""What all estimators promise: the score is that of `evaluate`; samples, parameters, and the run they keep."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ragged import LENGTHS, TINY, sequences

import pyro_vrnn as pv
from pyro_vrnn.system.errors import ConfigError, DataError
from pyro_vrnn.training.observer import FitResult

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("bound", [("elbo", None), ("iwae", 4)])
@pytest.mark.parametrize("name", ["VRNN", "VRAE", "RNN"])
def test_the_score_is_what_evaluate_says(name: str, bound: Any, tmp_path: Path) -> None:
    if (name, bound[0]) == ("RNN", "iwae"):
        pytest.skip("an RNN's score is exact")
    estimator = getattr(pv, name)(**TINY, out=str(tmp_path / "run")).fit(sequences(), lengths=None)
    if name != "RNN":
        estimator.set_params(score_objective=bound[0], score_particles=bound[1])
    X = sequences(1)
    file = pv.dataset({"train": X, "test": X}, path=tmp_path / "same.h5")
    told = pv.load(tmp_path / "run").evaluate("test", bound[0], bound[1], data=file)
    assert estimator.score(X) == pytest.approx(-told.nll_per_step, abs=1e-6)
    each = estimator.score_samples(X)
    assert each.shape == (len(X),)
    assert each.sum() / sum(LENGTHS) == pytest.approx(-told.nll_per_step, abs=1e-6)
    assert each.mean() == pytest.approx(-told.nll_per_sequence, abs=1e-5)


def test_a_share_is_held_out_where_it_is_a_sequence() -> None:
    X = [np.full((3, 1), float(i)) for i in range(20)]
    counts = {}
    for share in (0.1, 0.25, 0.0):
        info = pv.RNN(validation_fraction=share, out=f"run-{share}", **TINY).fit(X).run_.data(split="valid").info
        counts[share] = {split: info.splits[split].sequences for split in ("train", "valid")}
    assert counts[0.1] == {"train": 18, "valid": 2}
    assert counts[0.25] == {"train": 15, "valid": 5}
    assert counts[0.0] == {"train": 20, "valid": 20}


def test_samples(vrnn: Any) -> None:
    assert vrnn.sample().shape == (1, 64, 3)
    assert pv.VRNN(2, **TINY).fit(np.zeros((4, 6, 3)) + np.arange(3)).sample(2).shape == (2, 6, 3)
    assert np.array_equal(vrnn.sample(2, 5), vrnn.sample(2, 5))
    assert not np.array_equal(vrnn.sample(2, 5), vrnn.sample(2, 5, random_state=1))
    with pytest.raises(ConfigError, match="above 0"):
        vrnn.sample(0)


def test_a_seed_is_that_of_the_command_line(vrnn: Any) -> None:
    X = sequences()
    assert vrnn.run_.config.training.seed == 0
    assert pv.VRNN(2, random_state=0, **TINY).fit(X).score(X) == vrnn.score(X)
    other = pv.VRNN(2, random_state=np.random.RandomState(3), **TINY).fit(X)
    assert other.run_.config.training.seed > 0
    assert other.score(X) != vrnn.score(X)


def test_a_private_folder_goes_with_its_run() -> None:
    estimator = pv.RNN(**TINY).fit(sequences())
    run = estimator.run_
    folder = run.folder
    estimator.fit(sequences())
    assert folder.exists()
    assert run.evaluate("valid").sequences == 5
    del run
    assert not folder.parent.exists()
    with pytest.raises(DataError, match="no training sequence"):
        estimator.fit([np.full((3, 3), np.nan)])
    assert estimator.score(sequences()) < 0  # the fit before stands


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"objective": "nope"}, "objective 'nope'"),
        ({"likelihood": "nope"}, "likelihood 'nope'"),
        ({"likelihood": "bernoulli"}, "not 0 or 1"),
        ({"latent_dim": 0}, "latent_dim=0"),
        ({"validation_fraction": 1.0}, "validation_fraction=1.0"),
        ({"max_time": "30m"}, "max_time='30m'"),
        ({"settings": {"model.name": "rnn"}}, "'model.name' follows"),
        ({"settings": {"model.nope": 1}}, "model.nope"),
        ({"random_state": -1}, "seed -1"),
        ({"sequence": "a"}, "data frame"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_parameters_are_checked_when_it_is_fitted(parameters: dict[str, Any], words: str) -> None:
    estimator = pv.VRNN(**TINY | parameters)
    with pytest.raises((ConfigError, DataError), match=words):
        estimator.fit(sequences())


def test_a_signal_ends_the_caller_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyro_vrnn.estimators import base

    whole = base.train

    def interrupted(**options: Any) -> Any:
        run = whole(**options)
        assert run.result is not None
        run.result = FitResult(**vars(run.result) | {"stopped": "signal", "signal": number})
        return run

    monkeypatch.setattr(base, "train", interrupted)
    estimator = pv.RNN(**TINY)
    for signal, error in ((2, KeyboardInterrupt), (15, SystemExit)):
        number = signal
        with pytest.raises(error):
            estimator.fit(sequences())
        assert estimator.score(sequences()) < 0


def test_without_scikit_learn_there_is_a_hint() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'sklearn' else find(name, *more)\n"
        "import pyro_vrnn as pv; assert 'VRNN' in dir(pv)\n"
        "from pyro_vrnn.system.errors import ConfigError\n"
        "try: pv.VRNN\n"
        "except ConfigError as error: print(error.message, '|', error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "need scikit-learn" in done.stdout, done.stderr
    assert "| pip install 'pyro-vrnn[estimators]'" in done.stdout


def test_the_page_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "estimators.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 7
    vowels = ROOT.parent / "shared" / "data" / "japanese_vowels" / "japanese_vowels.npz"
    names: dict[str, Any] = {}
    for block in blocks:
        if "japanese_vowels" in block:
            if not vowels.is_file():
                continue  # data that not every checkout has beside it
            block = block.replace("japanese_vowels.npz", str(vowels))
        block = re.sub(r"(max_steps|epochs)=\d+", r"\1=1", block)
        exec(compile(block, "estimators.md", "exec"), names)
    assert names["z"].shape == (40, 2)
    assert names["back"].shape == (40, 30, 2)
    assert names["new"].shape == (4, 30, 2)
    assert (tmp_path / "vowels-vrnn" / "estimator.json").is_file()
    assert len(capsys.readouterr().out.splitlines()) == 3 + vowels.is_file()
