"""report on the command line: a page of every kind of data and model, hostile names, runs without their data."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import check_page
from small import write_audio, write_like, write_small

import pyro_vrnn as pv
from pyro_vrnn import cli
from pyro_vrnn.data.writer import write_sequences

EVIL = "<script>alert(1)</script>"
SMALL: dict[str, Any] = {"model.hidden_dim": 8, "model.network_dims": [8]}


def page(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, Any]]:
    """The page that the command writes, and its tags."""
    capsys.readouterr()
    assert cli._run(["report", *argv, "--json", "--quiet"]) == 0
    said = json.loads(capsys.readouterr().out)
    file = Path(said["file"])
    assert said.keys() == {"schema", "file", "bytes"}
    assert (said["schema"], said["bytes"]) == (1, file.stat().st_size)
    text = file.read_text("utf-8")
    return text, check_page(text)


def vectors(path: Path, width: int, support: str = "real", **extra: Any) -> Path:
    """Tables whose every name is hostile."""
    random = np.random.default_rng(0)
    splits: dict[str, Any] = {}
    for split, count in (("train", 8), ("valid", 2), ("test", 2)):
        values = [random.normal(size=(9, width)).astype(np.float32) for _ in range(count)]
        splits[split] = [(x > 0).astype(np.uint8) for x in values] if support == "binary" else values
    ids = {split: [f"{EVIL}&\"'{split}{i}" for i in range(len(found))] for split, found in splits.items()}
    write_sequences(path, splits, ids=ids, kind="vectors", support=support, steps_per_second=None, source=EVIL,
                    licence=EVIL, extra=extra)  # fmt: skip
    return path


def test_a_piano_roll(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = pv.train(data=write_small(tmp_path / "d.h5"), out=tmp_path / "a & b", max_steps=40, device="cpu", lr=1e-2,
                   settings=SMALL | {"model.latent_dim": 3})  # fmt: skip
    text, tags = page([str(run.folder), "--num", "2"], capsys)
    assert "<h1>a &amp; b: vrnn on d</h1>" in text
    assert len(tags["audio"]) == 3
    assert all(len(sound["src"]) < 450_000 for sound in tags["audio"])
    assert "baseline on test" in text
    assert "of 3 latent units are active" in text
    assert "KL of each unit at each step, nats" in text
    assert "Map of the test split (all 7 sequences), a point for each: the mean of z over its steps" in text
    assert all(f"<title>test-{n}</title></circle>" in text for n in range(7))
    assert "mutual information; of 7 sequences at most 1.946" in text
    assert "What z tells of the sequence at each step, nats" in text
    assert f"--out &#39;{tmp_path}/a &amp; b-again&#39;" in text
    assert '<th scope="row">training.learning_rate</th><td>0.01</td><td>0.001</td>' in text
    first = (run.folder / "report.html").read_bytes()
    assert run.report(tmp_path / "again.html", num=2).read_bytes() == first
    assert run.report(tmp_path / "again.html", num=2, seed=1).read_bytes() != first
    assert not (run.folder / "samples").exists()


def test_updates_are_those_that_were_made_and_not_those_that_were_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped by a signal after the 7th; each fifth is logged, and there is no validation after it."""

    class Stops(pv.Observer):
        def stepped(self, step: int) -> None:
            if step == 7:
                signal.raise_signal(signal.SIGTERM)

    run = pv.train(data=write_small(tmp_path / "d.h5"), out=tmp_path / "r", device="cpu", observer=Stops(),
                   settings=SMALL | {"training.log_every": 5})  # fmt: skip
    assert run.result is not None
    assert run.result.steps == 7
    text, _ = page([str(run.folder)], capsys)
    assert "7 updates, stopped by signal" in text
    assert "stopped by a signal after update 7." in text
    assert "-again --max-steps 7</pre>" in text


def test_its_command_makes_the_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = pv.train(data=write_small(tmp_path / "d.h5"), out=tmp_path / "r", max_steps=4, device="cpu", settings=SMALL)
    page([str(run.folder)], capsys)
    log = (run.folder / "log.txt").read_text("utf-8")
    (run.folder / "log.txt").write_text(
        log + "2026-01-01T00:00:00+00:00 stopped by max-time at step 4; best 1\n", "utf-8"
    )
    text, _ = page([str(run.folder)], capsys)
    assert "-again --max-steps 4</pre>" in text
    assert "stopped by its time limit after update 4" in text
    argv = ["train", str(run.folder / "config.toml"), "--out", str(tmp_path / "r-again"), "--quiet", "--device", "cpu"]
    assert cli._run(argv) == 0
    again = pv.load(tmp_path / "r-again")
    assert again.config == run.config
    assert again.evaluate().nll_per_step == run.evaluate().nll_per_step


@pytest.mark.fault(55)
@pytest.mark.parametrize("model", ["vrnn", "rnn", "vrae"])
def test_tables_with_hostile_names(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = [f"{EVIL}{i}" for i in range(3)]
    data = vectors(tmp_path / "d.h5", 3, columns=columns)
    run = pv.train(data=data, model=model, out=tmp_path / "r", max_steps=6, device="cpu", settings=SMALL)
    text, _ = page([str(run.folder)], capsys)
    assert EVIL not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;0</text>" in text
    assert ("no latent variables" in text) == (model == "rnn")
    assert ("One z is about the whole sequence" in text) == (model == "vrae")
    assert ("KL on test" in text) == (model != "rnn")
    assert ("What z tells" in text) == (model != "rnn")
    assert ("information in z_1" in text) == (model == "vrnn")
    assert ('<th scope="row">information in z</th>' in text) == (model == "vrae")
    assert ("Active units at each step" in text) == (model == "vrnn")
    assert ("KL of each latent unit, nats; the largest first" in text) == (model == "vrae")


@pytest.mark.parametrize("support", ["real", "binary"])
def test_images_and_wide_tables(support: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = vectors(tmp_path / "d.h5", 12, support, **({"image": True} if support == "binary" else {}))
    run = pv.train(data=data, out=tmp_path / "r", max_steps=4, device="cpu", settings=SMALL)
    _, tags = page([str(run.folder), "--num", "1"], capsys)
    assert len(tags["img"]) == 2
    assert all(image["src"].startswith("data:image/png;base64,iVBOR") for image in tags["img"])


@pytest.mark.fault(55)
def test_symbols_with_hostile_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    splits = {
        split: [random.integers(0, 3, (9, 1)).astype(np.uint8) for _ in range(4)]
        for split in ("train", "valid", "test")
    }
    ids = {split: [f"{split}{i}" for i in range(4)] for split in splits}
    names = [EVIL, "</pre>", "\x07"]
    write_sequences(tmp_path / "d.h5", splits, ids=ids, kind="symbols", support="categorical", steps_per_second=None,
                    source="a test", licence="none", extra={"symbols": names, "level": "word"})  # fmt: skip
    run = pv.train(data=tmp_path / "d.h5", out=tmp_path / "r", max_steps=4, device="cpu", settings=SMALL)
    text, tags = page([str(run.folder)], capsys)
    assert EVIL not in text
    assert len([one for one in tags["pre"] if "as text" in one["aria-label"]]) == 5
    assert "\x07" not in text


def test_sound_and_strokes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = pv.train(data=write_audio(tmp_path / "d.h5"), out=tmp_path / "r", max_steps=4, device="cpu", settings=SMALL)
    text, tags = page([str(run.folder)], capsys)
    assert len(tags["audio"]) == 5
    assert "NLL per sample on test" in text
    data = write_like(tmp_path / "s.h5", "bivariate-gmm-pen")
    run = pv.train(data=data, out=tmp_path / "s", max_steps=4, device="cpu", settings=SMALL)
    text, _ = page([str(run.folder)], capsys)
    assert text.count('class="pen"') == 5


def test_a_run_whose_data_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_small(tmp_path / "d.h5")
    run = pv.train(data=data, out=tmp_path / "r", max_steps=1, device="cpu", settings=SMALL)
    data.unlink()
    (run.folder / "log.txt").unlink()
    (run.folder / "metrics.jsonl").write_text("")
    text, tags = page([str(run.folder)], capsys)
    assert "The test split was not measured" in text
    assert "It has not been validated" in text
    assert "No update was logged" in text
    assert "It was not looked into: the test split was not found." in text
    assert len(tags["audio"]) == 4


def test_rows_that_a_kill_or_someone_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A last row that is cut off is no row; another that is none is told."""
    run = pv.train(data=write_small(tmp_path / "d.h5"), out=tmp_path / "r", max_steps=1, device="cpu", settings=SMALL)
    whole = page([str(run.folder)], capsys)[0]
    rows = (run.folder / "metrics.jsonl").read_text()
    (run.folder / "metrics.jsonl").write_text(rows + '{"step": 2, "lo')
    assert page([str(run.folder)], capsys)[0] == whole
    (run.folder / "metrics.jsonl").write_text('["no", "row"]\n' + rows)
    assert cli._run(["report", str(run.folder)]) == 4
    assert "metrics.jsonl, line 1: not a row of finite numbers" in capsys.readouterr().err


def test_bad_input_gives_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = pv.train(data=write_small(tmp_path / "d.h5"), out=tmp_path / "r", max_steps=1, device="cpu", settings=SMALL)
    capsys.readouterr()
    for argv, code, says in [
        (["nowhere"], 4, "nowhere"),
        ([str(run.folder), "--num", "17"], 2, "at most 16"),
        ([str(run.folder), "--num", "0"], 2, "--num"),
        ([str(run.folder), "--seed", "-1"], 2, "seed"),
        ([str(run.folder), "--out", str(tmp_path)], 2, "is a folder"),
        ([str(run.folder), "--out", str(tmp_path / "no" / "x.html")], 2, "cannot be written"),
    ]:
        assert cli._run(["report", *argv, "--json", "--quiet"]) == code
        assert says in json.loads(capsys.readouterr().out)["error"]["message"]
