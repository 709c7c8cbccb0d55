"""Drawing runs the trained model, and the files are what was drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pretty_midi
import pytest
import torch
from small import X, make_net, write_small

import pyro_vrnn as pv
from pyro_vrnn.data.sources.midifile import read_midi
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.runs.sampling import draw, log_joint
from pyro_vrnn.system.errors import ConfigError, DataError, UserError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pv.Run:
    folder = tmp_path_factory.mktemp("sampling")
    data = write_small(folder / "small.h5")
    settings = {"model.latent_dim": 3, "model.hidden_dim": 8, "model.network_dims": [8]}
    return pv.train(data=data, out=folder / "run", max_steps=10, device="cpu", settings=settings)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_draw_fed_back_has_the_log_probability_that_drawing_it_had(cell: str) -> None:
    net = make_net(f"model.cell={cell}").eval()
    drawn = draw(net, 5, 9)
    assert drawn.x.shape == (9, 5, X)
    torch.testing.assert_close(log_joint(net, drawn.x, drawn.z), drawn.log_prob, rtol=1e-12, atol=0)
    other = draw(net, 5, 9)
    assert not torch.equal(drawn.x, other.x)
    assert (log_joint(net, other.x, drawn.z) - drawn.log_prob).abs().min() > 1e-3


def test_a_continued_beginning_is_kept_and_its_future_is_drawn() -> None:
    net = make_net().eval()
    prime = draw(net, 1, 6).x[:, 0]
    drawn = draw(net, 4, 10, prime=prime)
    assert drawn.x.shape == (10, 4, X)
    for b in range(4):
        assert torch.equal(drawn.x[:6, b], prime)
    assert len({tuple(drawn.x[6:, b].flatten().tolist()) for b in range(4)}) > 1
    torch.testing.assert_close(log_joint(net, drawn.x, drawn.z), drawn.log_prob, rtol=1e-12, atol=0)


def test_the_beginning_matters_to_what_follows() -> None:
    """The continuation's z come from the guide on the beginning, not from the prior."""
    net = make_net().eval()
    ones, zeros = torch.ones(6, X).double(), torch.zeros(6, X).double()
    torch.manual_seed(0)
    a = draw(net, 2000, 7, prime=ones).x[-1].mean(0)
    torch.manual_seed(0)
    b = draw(net, 2000, 7, prime=zeros).x[-1].mean(0)
    assert float((a - b).abs().max()) > 0.1  # seven standard errors


def test_temperature_makes_draws_surer() -> None:
    net = make_net().eval()

    def certainty(temperature: float) -> float:
        torch.manual_seed(1)
        drawn = draw(net, 50, 20, temperature=temperature)
        return float(log_joint(net, drawn.x, drawn.z).mean())

    assert certainty(0.2) > certainty(1.0) > certainty(3.0)


def test_files_play_and_have_what_was_drawn(run: pv.Run, tmp_path: Path) -> None:
    files = run.sample(3, 21, seed=4, out=tmp_path)
    midis = [f for f in files if f.suffix == ".mid"]
    assert len(midis) == 3
    torch.manual_seed(4)
    drawn = draw(run.net, 3, 21).x.movedim(1, 0).numpy().astype(np.uint8)
    for i, midi in enumerate(midis):
        about = json.loads(midi.with_suffix(".json").read_text())
        assert (about["steps"], about["seed"], about["draw"], about["temperature"]) == (21, 4, i, 1.0)
        assert about["midi"]["tempo"] == pytest.approx(120.0)
        assert mido.MidiFile(midi).length == pytest.approx(21 / 2.0, abs=2e-3)
        music = pretty_midi.PrettyMIDI(str(midi))
        assert music.get_end_time() == pytest.approx(21 / 2.0, abs=2e-3)
        assert music.get_tempo_changes()[1][0] == pytest.approx(120.0)
        assert all(21 <= note.pitch <= 108 for part in music.instruments for note in part.notes)
        back = read_midi(midi, steps_per_second=2.0, lowest_pitch=40, columns=X)
        assert np.array_equal(back, drawn[i])
        assert midi.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert files[-1].name == "samples-4.png"


def test_a_sample_can_be_made_again_from_its_json(run: pv.Run, tmp_path: Path) -> None:
    first = run.sample(2, 15, seed=9, temperature=0.8, out=tmp_path / "a")
    about = json.loads(first[0].with_suffix(".json").read_text())
    again = pv.load(about["run"]).sample(
        about["num"], about["steps"], seed=about["seed"], temperature=about["temperature"], out=tmp_path / "b"
    )
    for a, b in zip(first, again, strict=True):
        if a.suffix == ".mid":
            assert a.read_bytes() == b.read_bytes()


def test_as_long_as_the_data_where_all_of_it_is_as_long(tmp_path: Path) -> None:
    rolls = {split: [np.eye(X, dtype=np.uint8)[:9]] * 4 for split in ("train", "valid", "test")}
    data = tmp_path / "x.h5"
    write_sequences(
        data,
        rolls,
        ids={split: list("abcd") for split in rolls},
        kind="pianoroll",
        support="binary",
        steps_per_second=2.0,
        source="",
        licence="",
    )
    settings = {"model.latent_dim": 3, "model.hidden_dim": 8, "model.network_dims": [8]}
    made = pv.train(data=data, out=tmp_path / "run", max_steps=2, device="cpu", settings=settings)

    def steps(**options: Any) -> int:
        files = made.sample(1, out=tmp_path / "out", **options)
        return int(json.loads(files[0].with_suffix(".json").read_text())["steps"])

    assert steps() == steps(prime_index="0", prime_steps=8) == 9
    assert steps(prime_index="0", prime_steps=9) == 9 + 64
    assert steps(steps=5) == 5
    config = (tmp_path / "run" / "config.toml").read_text()
    assert "sequence_steps = 9" in config
    (tmp_path / "run" / "config.toml").write_text(config.replace("sequence_steps = 9\n", ""))  # as it was before
    pv.train(data=data, out=tmp_path / "run", max_steps=3, device="cpu", settings=settings)
    assert "sequence_steps = 9" in (tmp_path / "run" / "config.toml").read_text()


def test_priming_from_the_test_split_and_from_a_file(run: pv.Run, tmp_path: Path) -> None:
    dataset = run.data()
    files = run.sample(2, prime_index="test-2", prime_steps=3, out=tmp_path)
    rolls = [read_midi(f, steps_per_second=2.0, lowest_pitch=40, columns=X) for f in files[:2]]
    for roll in rolls:
        assert len(roll) == 3 + 64
        assert np.array_equal(roll[:3], dataset[2][:3])
    again = run.sample(1, 30, prime=files[0], prime_steps=20, out=tmp_path / "b")
    roll = read_midi(again[0], steps_per_second=2.0, lowest_pitch=40, columns=X)
    assert np.array_equal(roll[:20], rolls[0][:20])
    assert len(roll) == 30


def test_seconds_are_steps(run: pv.Run, tmp_path: Path) -> None:
    files = run.sample(1, seconds=6.0, out=tmp_path)
    assert mido.MidiFile(files[0]).length == pytest.approx(6.0, abs=2e-3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num": 0}, "--num"),
        ({"temperature": 0.0}, "--temperature"),
        ({"temperature": float("nan")}, "--temperature"),
        ({"steps": 4, "seconds": 2.0}, "one of them"),
        ({"prime_steps": 4}, "without a prime"),
        ({"prime_index": "0", "prime": "x.mid"}, "one of them"),
        ({"prime_index": "no such tune"}, "no sequence"),
        ({"prime_index": "0", "prime_steps": 500}, "has"),
        ({"prime_index": "0", "prime_steps": 4, "steps": 2}, "at least 4"),
    ],
)
def test_impossible_requests(run: pv.Run, tmp_path: Path, options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        run.sample(out=tmp_path / "none", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "none").exists()


def test_a_prime_that_is_no_midi(run: pv.Run, tmp_path: Path) -> None:
    (tmp_path / "x.mid").write_text("not midi")
    with pytest.raises(DataError):
        run.sample(prime=tmp_path / "x.mid", out=tmp_path / "none")
    with pytest.raises(UserError):
        run.sample(prime=tmp_path / "absent.mid", out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_draws_do_not_disturb_the_random_state(run: pv.Run, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    run.sample(1, 5, out=tmp_path)
    assert torch.equal(before, torch.get_rng_state())
