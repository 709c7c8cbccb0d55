"""What is carried away: for ArviZ and xarray, of one sequence and of many, with the numbers of `inspect --json`."""

from __future__ import annotations

import gc
import json
import resource
import sys
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from fits import untrained
from small import write_audio, write_like, write_small

import pyro_vrnn as pv
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.runs.posteriors import draws, inspection
from pyro_vrnn.runs.posteriors.contents import ABOUT, groups
from pyro_vrnn.system.errors import ConfigError, NumericsError, ResourceError

xarray = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")
with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    arviz = pytest.importorskip("arviz")

K = 30


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pv.Run:
    return untrained(write_small(tmp_path_factory.mktemp("export") / "small.h5"))


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a second each, and test_inspection.py looks at them."""
    monkeypatch.setattr(inspection, "_figures", lambda *_: [])


def opened(path: Path) -> Any:
    """The file in memory, as xarray reads it."""
    with xarray.open_datatree(path, engine="h5netcdf") as tree:
        return tree.load()


def loo(idata: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # k-hats of a guide that never learned are large
        return arviz.loo(idata, pointwise=True)


def test_one_sequence_has_the_numbers_of_the_report(run: pv.Run, tmp_path: Path) -> None:
    file = tmp_path / "one.nc"
    found = json.loads(json.dumps(run.inspect(sequence=1, particles=K, seed=5, out=tmp_path, export=file)))
    tree, steps = opened(file), found["steps"]
    assert list(tree.children) == list(ABOUT)
    posterior, stats = tree["posterior"], tree["sample_stats"]
    assert posterior["z"].dims == ("chain", "draw", "step", "unit")
    assert posterior["z"].shape == (1, K, steps, 3)
    kl = posterior["kl"].astype(float)
    np.testing.assert_allclose(kl.sum("unit").mean(("chain", "draw")), found["kl_by_step"], rtol=1e-5)
    np.testing.assert_allclose(kl.mean(("chain", "draw", "step")), found["kl_by_unit"], rtol=1e-5)
    observed = [site for site in found["sites"] if site["kind"] == "observed"]
    likelihood = tree["log_likelihood"]["x"]
    assert likelihood.dims == ("chain", "draw", "step")
    by_step = likelihood.mean(("chain", "draw"))
    np.testing.assert_allclose(by_step, [site["log_prob_p"] for site in observed], rtol=1e-5)
    for name in ("bound", "ess", "pareto_k"):
        assert stats[name].item() == found[name], name
    w = np.exp(stats["log_weight"].values.astype(float))
    assert w.sum() ** 2 / (w**2).sum() == pytest.approx(found["ess"], rel=1e-5)
    total = sum(site["log_prob_p"] - (site["log_prob_q"] or 0) for site in found["sites"])
    assert float(stats["log_weight"].mean()) == pytest.approx(total, rel=1e-5)
    np.testing.assert_array_equal(tree["observed_data"]["x"], run.data()[1])
    assert tree["observed_data"]["x"].dtype == np.int8
    assert tree["posterior_predictive"]["x"].shape == tree["prior_predictive"]["x"].shape == (1, K, steps, 11)
    assert set(np.unique(tree["prior_predictive"]["x"])) == {0, 1}
    assert tree["prior"]["z"].shape == posterior["z"].shape
    assert list(tree["observed_data"]["column"].values[:3]) == ["E2", "F2", "F#2"]
    np.testing.assert_array_equal(posterior["step"], range(1, steps + 1))
    np.testing.assert_array_equal(posterior["time"], np.arange(steps) / 2)
    assert tree.attrs["sequence"] == "test-1"
    assert tree.attrs["model"] == "vrnn"
    assert tree.attrs["checkpoint"] == "step-0"
    assert {"run", "objective", "inference_library_version"} <= set(tree.attrs)
    assert stats["seed"].item() == 5


def test_arviz_reads_one_sequence(run: pv.Run, tmp_path: Path) -> None:
    run.inspect(particles=K, out=tmp_path, export=tmp_path / "one.nc")
    idata = arviz.from_netcdf(str(tmp_path / "one.nc"), engine="h5netcdf")
    found = loo(idata)
    steps = idata.posterior.sizes["step"]
    assert (found.n_samples, found.n_data_points) == (K, steps)
    assert np.isfinite(found.elpd_loo)
    assert found.pareto_k.shape == (steps,)
    lppd = float(np.log(np.exp(idata.log_likelihood["x"].astype(float)).mean(("chain", "draw"))).sum())
    assert found.elpd_loo == pytest.approx(lppd - found.p_loo)
    table = arviz.summary(idata, var_names=["z"], kind="stats")
    assert table.index[0] == "z[1, 0]"
    assert len(table) == steps * 3
    assert table["mean"].iloc[0] == pytest.approx(float(idata.posterior["z"][0, :, 0, 0].mean()), abs=1e-3)


def test_several_sequences_have_the_numbers_of_each(run: pv.Run, tmp_path: Path) -> None:
    file, dataset = tmp_path / "all.nc", run.data()
    done: list[tuple[int, int]] = []
    found = run.inspect(sequence="2:5", particles=K, seed=4, export=file, progress=lambda *counts: done.append(counts))
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert found["files"] == [str(file)]
    assert [row["sequence"] for row in found["sequences"]] == ["test-2", "test-3", "test-4"]
    tree, longest = opened(file), int(dataset.lengths[2:5].max())
    assert tree["posterior"]["z"].dims == ("chain", "draw", "sequence", "step", "unit")
    assert tree["posterior"]["z"].shape == (1, K, 3, longest, 3)
    assert len(set(dataset.lengths[2:5])) > 1
    for i, row in enumerate(found["sequences"]):
        one = run.inspect(
            sequence=row["sequence"], particles=K, seed=row["seed"], out=tmp_path, export=tmp_path / "one.nc"
        )
        assert {key: row[key] for key in ("steps", "bound", "ess", "pareto_k", "active_units")} == {
            key: one[key] for key in ("steps", "bound", "ess", "pareto_k", "active_units")
        }
        assert row["kl"] == sum(one["kl_by_step"])
        alone = opened(tmp_path / "one.nc")
        for name in ABOUT:
            if name == "log_likelihood":
                continue
            part = tree[name].to_dataset().isel(sequence=i)
            assert part["length"] == row["steps"]
            for key, values in alone[name].data_vars.items():
                held = part[key]
                if "step" in held.dims:
                    padding = held.isel(step=slice(row["steps"], None))
                    assert bool(padding.isnull().all() if key != "scored" else (padding == 0).all())
                    held = held.isel(step=slice(0, row["steps"]))
                np.testing.assert_array_equal(held, values, err_msg=f"{name}/{key}")
        scored = tree["log_likelihood"].to_dataset()
        here = scored.isel(observation=scored["sequence"].values == row["sequence"])
        np.testing.assert_array_equal(here["step"], alone["log_likelihood"]["step"])
        np.testing.assert_array_equal(here["x"], alone["log_likelihood"]["x"])
    idata = arviz.from_netcdf(str(file), engine="h5netcdf")
    pointwise = loo(idata)
    assert pointwise.n_data_points == int(dataset.lengths[2:5].sum())
    assert np.isfinite(pointwise.elpd_loo)
    by_step = scored.set_index(observation=["sequence", "step"]).unstack("observation")["x"]
    assert by_step.shape == (1, K, 3, longest)
    short = idata.posterior.sel(sequence="test-3").dropna("step")
    assert len(arviz.summary(short, var_names=["z"], kind="stats")) == dataset.lengths[3] * 3


@pytest.mark.parametrize(
    ("words", "indices", "several"),
    [
        ("all", range(7), True),
        ("0:1", [0], True),
        (":2", [0, 1], True),
        ("5:", [5, 6], True),
        ("3,test-1,3", [3, 1], True),
        ("test-4", [4], False),
        ("6", [6], False),
    ],
)
def test_which_sequences(run: pv.Run, words: str, indices: list[int], several: bool) -> None:
    assert inspection.selected(run.data(), words) == (list(indices), several)


@pytest.mark.parametrize("words", ["3:3", "4:2", "5:8", "9:", "0,test-9", "7", ",", "1;2"])
def test_sequences_that_are_not_there(run: pv.Run, words: str) -> None:
    with pytest.raises(ConfigError, match="no sequence"):
        inspection.selected(run.data(), words)


def test_one_sequence_is_held_at_a_time(run: pv.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[draws.Posterior]] = []

    def watched(*args: Any, **options: Any) -> draws.Posterior:
        gc.collect()
        assert sum(ref() is not None for ref in alive) <= 1
        found = draws.posterior(*args, **options)
        alive.append(weakref.ref(found))
        return found

    monkeypatch.setattr(inspection, "posterior", watched)
    run.inspect(sequence=":3", particles=2, export=tmp_path / "all.nc")
    assert len(alive) == 3


def vectors(path: Path) -> Path:
    """Two named columns with holes, on large numbers that were taken off; steps of a tenth of a second."""
    random = np.random.default_rng(0)
    splits = {split: [random.normal(size=(n, 2)).astype(np.float32) for n in (6, 9)] for split in ("train", "test")}
    for x in splits["test"]:
        x[1, 0] = x[3, 0] = x[3, 1] = np.nan
    return write_sequences(
        path, splits, ids={split: ["a", "b"] for split in splits}, kind="vectors", support="real",
        steps_per_second=10.0, source="a test", licence="none", missing=True,
        extra={"columns": ["speed", "heat"], "offset": [1e7, 0.0]},
    ).path  # fmt: skip


def test_missing_values_names_and_offsets(tmp_path: Path) -> None:
    run = untrained(vectors(tmp_path / "v.h5"), "model.likelihood=gaussian")
    found = run.inspect(sequence="all", particles=3, export=tmp_path / "v.nc")
    tree = opened(tmp_path / "v.nc")
    x = tree["observed_data"]["x"].sel(sequence="b")
    assert list(x["column"].values) == ["speed", "heat"]
    expected = run.encoding.decode(run.data()[1])
    np.testing.assert_allclose(x, expected, rtol=1e-12)
    assert float(np.abs(x.sel(column="speed") - 1e7).max()) < 10
    assert np.isnan(x[3]).all()
    assert float(tree["posterior_predictive"]["x"].sel(sequence="b", column="speed").min()) > 1e7 - 100
    assert not tree["posterior_predictive"]["x"].sel(sequence="b").isnull().any()
    scored = tree["log_likelihood"].to_dataset().set_index(observation=["sequence", "step"])
    assert scored.sel(sequence="b")["step"].values.tolist() == [1, 2, 3, 5, 6, 7, 8, 9]
    assert tree["observed_data"]["scored"].sel(sequence="b").values.tolist() == [1, 1, 1, 0, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(tree["observed_data"]["time"], np.arange(9) / 10)
    assert np.isfinite(loo(arviz.from_netcdf(str(tmp_path / "v.nc"), engine="h5netcdf")).elpd_loo)
    total = float(scored["x"].sel(sequence="b").sum("step").mean())
    site = draws.posterior(run, run.data()[1], 3, seed=found["sequences"][1]["seed"]).log_likelihood().sum(1).mean()
    assert total == pytest.approx(float(site), rel=1e-5)


def test_a_step_that_is_scored_whole_or_not_at_all(tmp_path: Path) -> None:
    run = untrained(vectors(tmp_path / "v.h5"), "model.likelihood=frame-ar")
    found = groups(run, draws.posterior(run, run.data()[0], 2))["log_likelihood"]
    assert found.coords["step"].values.tolist() == [1, 3, 5, 6]
    assert (found.variables["x"].values != 0).all()


def test_steps_that_are_only_read_have_no_likelihood(run: pv.Run) -> None:
    x = run.data()[0]
    found = draws.posterior(run, x, 4, given=2)
    all_of_it = groups(run, found)
    assert all_of_it["log_likelihood"].coords["step"].values.tolist() == list(range(3, len(x) + 1))
    assert all_of_it["observed_data"].variables["scored"].values[:3].tolist() == [0, 0, 1]
    drawn = all_of_it["prior_predictive"].variables["x"].values[0]
    np.testing.assert_array_equal(drawn[:, :2], np.broadcast_to(x[:2], (4, 2, 11)))
    assert (drawn[:, 2:] != x[2:]).any()


def test_a_model_without_latent_variables(run: pv.Run, tmp_path: Path) -> None:
    rnn = untrained(Path(run.config.data.path), "model.name=rnn")
    found = rnn.inspect(particles=400, out=tmp_path, export=tmp_path / "rnn.nc")
    assert (found["ess"], found["pareto_k"]) == (pytest.approx(400), None)
    tree = opened(tmp_path / "rnn.nc")
    assert list(tree.children) == [name for name in ABOUT if name not in ("posterior", "prior")]
    assert rnn.posterior(rnn.data()[0]).to_inference_data().groups() == list(tree.children)
    idata = arviz.from_netcdf(str(tmp_path / "rnn.nc"), engine="h5netcdf")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no weight differs from another
        assert arviz.loo(idata, reff=1.0).elpd_loo == pytest.approx(found["bound"], rel=1e-5)
    # Without z the predictive distribution is known: p(x_t | x_1, ..., x_{t-1}).
    p = draws.posterior(rnn, rnn.data()[0]).mean_x().numpy()
    rate = tree["posterior_predictive"]["x"].mean(("chain", "draw")).values
    assert (np.abs(rate - p) < 5 * np.sqrt(p * (1 - p) / 400) + 1e-3).all()


def test_one_z_for_a_whole_sequence(run: pv.Run, tmp_path: Path) -> None:
    vrae = untrained(Path(run.config.data.path), "model.name=vrae")
    found = vrae.inspect(particles=400, out=tmp_path, export=tmp_path / "vrae.nc")
    tree = opened(tmp_path / "vrae.nc")
    assert tree["posterior"]["z"].dims == ("chain", "draw", "unit")
    kl = tree["posterior"]["kl"].astype(float)
    assert float(kl.mean(("chain", "draw")).sum()) == pytest.approx(sum(found["kl_by_step"]), rel=1e-5)
    prior = tree["prior"]["z"].values[0]
    assert (np.abs(prior.mean(0)) < 0.25).all()
    assert (np.abs(prior.std(0) - 1) < 0.2).all()
    assert np.abs(np.corrcoef(prior[:, 0], tree["posterior"]["z"].values[0, :, 0])[0, 1]) < 0.3  # streams of their own
    vrae.inspect(sequence="all", particles=2, export=tmp_path / "all.nc")
    assert opened(tmp_path / "all.nc")["posterior"]["z"].dims == ("chain", "draw", "sequence", "unit")


@pytest.mark.parametrize("likelihood", ["categorical", "bivariate-gmm-pen"])
def test_symbols_and_strokes(tmp_path: Path, likelihood: str) -> None:
    run = untrained(write_like(tmp_path / "d.h5", likelihood), f"model.likelihood={likelihood}")
    run.inspect(sequence="all", particles=5, export=tmp_path / "d.nc")
    tree = opened(tmp_path / "d.nc")
    observed, drawn = tree["observed_data"]["x"], tree["prior_predictive"]["x"]
    expected = run.encoding.decode(run.data()[1])
    np.testing.assert_allclose(observed[1, : len(expected)], expected, rtol=1e-5)
    assert bool(observed[1, len(expected) :].isnull().all())
    if likelihood == "categorical":
        assert tree["observed_data"]["symbol"].values.tolist() == list("abcd")
        assert set(np.unique(drawn[:, :, 0])) == {0, 1, 2, 3}
    else:
        assert observed["column"].values.tolist() == ["dx", "dy", "pen"]
        assert set(np.unique(drawn[:, :, 0, :, 2])) == {0, 1}


def test_audio_is_in_16_bit_steps_as_it_was_scored(tmp_path: Path) -> None:
    run = untrained(write_audio(tmp_path / "a.h5"), "model.likelihood=gaussian", "data.dither=true")
    run.inspect(particles=2, out=tmp_path, export=tmp_path / "a.nc")
    tree = opened(tmp_path / "a.nc")
    x = tree["observed_data"]["x"]
    np.testing.assert_allclose(x, run.encoding.decode(run.data()[0]), rtol=1e-5, atol=1e-2)
    assert 1000 < float(np.abs(x).max()) < 32768
    assert (x != np.round(x)).any()
    assert "16-bit" in x.attrs["long_name"]
    assert "noise" in x.attrs["long_name"]
    np.testing.assert_allclose(tree["observed_data"]["time"], np.arange(12) * 20 / 8000)
    assert tree["log_likelihood"]["x"].dtype == np.float64  # as az.loo needs it: densities of frames differ by far


def test_a_trace_becomes_inference_data(run: pv.Run, tmp_path: Path) -> None:
    trace = run.posterior(run.data()[0], particles=K, seed=2)
    assert isinstance(trace, pyro.poutine.Trace)
    assert torch.isfinite(trace.log_prob_sum())
    assert {"z_1", "x_1"} <= set(trace.stochastic_nodes + trace.observation_nodes)
    idata = trace.to_inference_data()
    assert isinstance(idata, arviz.InferenceData)
    np.testing.assert_array_equal(idata.posterior["z"][0, :, 1], trace.nodes["z_2"]["value"][:, 0])
    run.inspect(particles=K, seed=2, out=tmp_path, export=tmp_path / "p.nc")
    tree = opened(tmp_path / "p.nc")
    assert idata.groups() == list(tree.children)
    for name in ABOUT:
        xarray.testing.assert_equal(
            idata[name].reset_coords(drop=True), tree[name].to_dataset().reset_coords(drop=True)
        )
    assert loo(idata).elpd_loo == loo(arviz.from_netcdf(str(tmp_path / "p.nc"), engine="h5netcdf")).elpd_loo
    assert {**idata.attrs, "sequence": "test-0"} == tree.attrs


def test_a_full_disk_or_an_interrupt_leaves_what_was_there(run: pv.Run, tmp_path: Path) -> None:
    file = tmp_path / "all.nc"
    file.write_bytes(b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 20_000):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
            with pytest.raises(ResourceError, match="no room"):
                run.inspect(sequence=":3", particles=K, export=file)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.inspect(sequence=":3", export=file, progress=interrupt)
    assert [f.name for f in tmp_path.iterdir()] == ["all.nc"]
    assert file.read_bytes() == b"before"


def test_places_and_packages_that_are_not_there(run: pv.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        run.inspect(sequence="all", export=tmp_path)
    with pytest.raises(ConfigError, match="cannot be written"):
        run.inspect(sequence="all", export=tmp_path / "none" / "a.nc")
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(ConfigError, match="h5netcdf") as caught:
        run.inspect(sequence="all", export=tmp_path / "a.nc")
    assert "pyro-vrnn[netcdf]" in caught.value.hint
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ConfigError, match="ArviZ") as caught:
        run.posterior(run.data()[0]).to_inference_data()
    assert "pyro-vrnn[arviz]" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_none_are_refused(run: pv.Run, tmp_path: Path) -> None:
    broken = untrained(Path(run.config.data.path))
    with torch.no_grad():
        next(broken.net.likelihood.parameters()).fill_(float("nan"))
    with pytest.raises(NumericsError, match="not finite"):
        broken.inspect(sequence="all", export=tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []
