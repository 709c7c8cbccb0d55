"""Through the posterior and back, latents as arrays, and lines through latent space."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import torch
from small import T, make_batch, make_net, write_small

import pyro_vrnn as pv
from pyro_vrnn import cli, media
from pyro_vrnn.runs import reconstruction
from pyro_vrnn.runs.posteriors import latent_space
from pyro_vrnn.runs.reconstruction import Hole, reconstruct
from pyro_vrnn.system.errors import ConfigError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("data") / "small.h5", train=40)


@pytest.fixture(scope="module")
def run(data: Path) -> pv.Run:
    settings = {"model.hidden_dim": 16, "model.network_dims": [16], "model.latent_dim": 8, "objective.kl_steps": 400}
    settings |= {"training.weight_decay": 0.0}
    return pv.train(
        "jsb-vrnn", data=data, out=data.parent / "vrnn", max_steps=400, lr=1e-2, settings=settings, device="cpu"
    )


@pytest.fixture(scope="module")
def vrae(data: Path) -> pv.Run:
    settings = {"model.hidden_dim": 16, "model.latent_dim": 2, "training.weight_decay": 0.0}
    return pv.train(
        "jsb-vrnn", data=data, out=data.parent / "vrae", max_steps=60, model="vrae", settings=settings, device="cpu"
    )


def test_a_reconstruction_is_nearer_than_another_sequence(run: pv.Run, tmp_path: Path) -> None:
    files = reconstruction.write(run, sequence="1", out=tmp_path)
    about = json.loads(files[-1].read_text())
    x = run.data()[1]
    rate = float(run.data(split="train").info.mean.mean())
    assert about["bits_changed"] < 0.5 * 2 * rate * (1 - rate)  # of what a coin of that rate would miss
    assert about["steps"] == len(x)
    assert [f.suffix for f in files] == [".mid", ".png", ".mid", ".png", ".json"]
    assert len(pretty_midi.PrettyMIDI(str(files[2])).instruments) == 1


def test_the_same_seed_gives_the_same(run: pv.Run, tmp_path: Path) -> None:
    a = reconstruction.write(run, draw=True, noise=0.1, seed=3, out=tmp_path / "a")
    b = reconstruction.write(run, draw=True, noise=0.1, seed=3, out=tmp_path / "b")
    assert [f.read_bytes() for f in a if f.suffix == ".mid"] == [f.read_bytes() for f in b if f.suffix == ".mid"]
    ways = [{}, {"draw": True}, {"draw": True, "seed": 1}, {"noise": 0.1}, {"noise": 0.1, "seed": 1}, {"hide": (1, 3)}]
    names = [f.name for way in ways for f in reconstruction.write(run, out=tmp_path / "c", **way)]  # type: ignore[arg-type]
    assert len(set(names)) == len(names)  # none in another's place


@pytest.mark.parametrize("hole", [Hole(2, 5), Hole(0, 3), Hole(4, T), Hole(0, T)])
def test_only_the_hole_is_filled(hole: Hole) -> None:
    net, batch = make_net(), make_batch([T])
    x = batch.x[:, 0]
    torch.manual_seed(0)
    found = reconstruct(net, x, hole=hole, rounds=3, draw=True)
    outside = [t for t in range(T) if not hole.begin <= t < hole.end]
    assert torch.equal(found[outside], x[outside])
    other = x.clone()
    other[hole.begin : hole.end] = 1 - other[hole.begin : hole.end]
    torch.manual_seed(0)
    assert torch.equal(reconstruct(net, other, hole=hole, rounds=3, draw=True), found)  # nothing of it is seen


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"hide": (3, 99)}, "not a part"),
        ({"hide": (3, 3)}, "not a part"),
        ({"steps": 99}, "has"),
        ({"noise": -1.0}, "0"),
        ({"noise": 1.5}, "at most 1"),
    ],
)
def test_impossible_requests(options: dict[str, object], says: str, run: pv.Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        reconstruction.write(run, out=tmp_path / "a", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()


def test_latents_of_every_model_are_arrays(run: pv.Run, vrae: pv.Run, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    arrays, picture = latent_space.encode(run, split="train", out=tmp_path / "a")
    with np.load(arrays) as found:
        assert found["z"].shape == (run.data(split="train").lengths.sum(), 8)
        assert found["lengths"].sum() == len(found["z"])
        assert len(found["ids"]) == 40
    assert picture.read_bytes()[:4] == b"\x89PNG"
    arrays, _ = latent_space.encode(vrae, split="train", out=tmp_path / "b")
    with np.load(arrays) as found:
        assert found["z"].shape == (40, 2)
        expected = latent_space._code(vrae, torch.from_numpy(vrae.data(split="train")[7]))
        np.testing.assert_allclose(found["z"][7], expected[0].detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_line_goes_from_one_end_to_the_other(vrae: pv.Run, tmp_path: Path) -> None:
    files = latent_space.interpolate(vrae, "0", "1", points=3, steps=20, out=tmp_path)
    about = json.loads(files[-1].read_text())
    assert about["points"] == 3
    assert [f.name for f in files if f.suffix == ".mid"] == [f"0-to-1-{k}.mid" for k in (0, 1, 2, "medley")]
    again = latent_space.interpolate(vrae, "0", "1", points=3, steps=20, out=tmp_path / "again")
    assert [f.read_bytes() for f in again if f.suffix == ".mid"] == [
        f.read_bytes() for f in files if f.suffix == ".mid"
    ]


def test_a_song_longer_than_a_window_is_read_as_far_as_one(vrae: pv.Run, tmp_path: Path) -> None:
    form = dataclasses.replace(vrae.format, sequence_steps=6)
    settings = dataclasses.replace(vrae.config, format=form)
    said: list[str] = []
    of_windows = pv.Run(vrae.folder, vrae.step_folder, settings, vrae.net, vrae.state, said.append)
    stored = (np.arange(40 * form.x_dim).reshape(40, form.x_dim) % 5 == 0).astype(np.uint8)
    for name in ("a", "b"):
        media.write(form, stored, tmp_path / name)
    files = latent_space.interpolate(of_windows, *(str(tmp_path / f"{name}.mid") for name in ("a", "b")), out=tmp_path)
    about = json.loads(files[-1].read_text())
    assert (about["steps"], about["steps_read"]) == (6, [6, 6])
    assert f"note: {tmp_path}/a.mid: its first 6 of 40 steps are read, as many as a window of the data has" in said


def test_a_way_through_several_meets_each_in_its_turn(vrae: pv.Run, tmp_path: Path) -> None:
    files = latent_space.interpolate(vrae, "0", "3", "1", points=5, steps=20, seed=4, out=tmp_path / "way")
    about = json.loads(files[-1].read_text())
    assert (about["more"], about["points"]) == (["1"], 5)
    by_name = {f.name: f.read_bytes() for f in files if f.suffix == ".mid"}
    assert list(by_name) == [f"0-to-3-to-1-{k}.mid" for k in (0, 1, 2, 3, 4, "medley")]
    z = torch.cat([latent_space._code(vrae, torch.from_numpy(vrae.data()[i])) for i in (0, 3, 1)])
    way = torch.stack([z[0], (z[0] + z[1]) / 2, z[1], (z[1] + z[2]) / 2, z[2]])
    torch.manual_seed(4)
    x = latent_space._drawn(vrae, way, 20)  # [20, 5, X]
    medley, _, _ = media.write(vrae.format, x.movedim(1, 0).reshape(100, -1).numpy(), tmp_path / "x")
    assert by_name["0-to-3-to-1-medley.mid"] == medley.read_bytes()
    with pytest.raises(ConfigError, match="at least 3, one for each sequence"):
        latent_space.interpolate(vrae, "0", "3", "1", points=2, out=tmp_path)


def test_a_z_for_every_step_has_no_line(run: pv.Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no line between"):
        latent_space.interpolate(run, "0", "1", out=tmp_path)


def test_on_the_command_line(run: pv.Run, vrae: pv.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (
        ["reconstruct", run.folder, "--hide", "1:3", "--out", tmp_path / "a", "--json"],
        ["interpolate", vrae.folder, "0", "test-2", "--points", "2", "--steps", "8", "--out", tmp_path / "b", "--json"],
        ["encode", vrae.folder, "--out", tmp_path / "c", "--json"],
    ):
        assert cli._run([str(a) for a in argv]) == 0
        assert all(Path(f).exists() for f in json.loads(capsys.readouterr().out)["files"])
    assert cli._run(["reconstruct", str(run.folder), "--hide", "1-3"]) == 2
    assert "expected A:B" in capsys.readouterr().err


def test_one_latent_unit_has_a_map_and_the_same_twice(data: Path, tmp_path: Path) -> None:
    settings = {"model.hidden_dim": 8, "model.network_dims": [8], "model.latent_dim": 1, "model.stochastic_layers": 1}
    run = pv.train("jsb-vrnn", data=data, out=tmp_path / "one", max_steps=2, settings=settings, device="cpu")
    assert latent_space.encode(run, out=tmp_path / "map")[1].exists()
    settings |= {"model.stochastic_layers": 2}
    run = pv.train("jsb-vrnn", data=data, out=tmp_path / "two", max_steps=2, settings=settings, device="cpu")
    state = torch.get_rng_state()
    first, second = (latent_space.latents(run, run.data()).z for _ in range(2))
    assert np.array_equal(first, second)
    assert torch.equal(state, torch.get_rng_state())
