"""compare --html: one whole page of several runs, hostile names, other data, and the command's own output as before."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import check_page
from small import write_small

import pyro_vrnn as pv
from pyro_vrnn import cli
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.runs.pages import comparison_page

EVIL = "<script>alert(1)</script>"
SMALL: dict[str, Any] = {
    "model.hidden_dim": 8,
    "model.network_dims": [8],
    "training.log_every": 1,
    "training.validate_every": 1,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    data = write_small(folder / "small.h5")
    made = []
    for name, model, objective, seed in [
        ("a", "vrnn", "elbo", 0),
        ("b", "vrnn", "elbo", 1),
        ("c & <i>", "rnn", "elbo", 0),
    ]:
        run = pv.train(data=data, model=model, objective=objective, seed=seed, out=folder / name, epochs=2,
                       device="cpu", settings=SMALL)  # fmt: skip
        made.append(run.folder)
    return made


def page(runs: list[Path], file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, Any], Any]:
    """The page that the command writes, its tags, and what the command says."""
    argv = ["compare", *map(str, runs), "--out", str(file.parent), "--html", str(file), "--json", "--quiet"]
    capsys.readouterr()
    assert cli._run(argv) == 0
    said = json.loads(capsys.readouterr().out)
    text = file.read_text("utf-8")
    return text, check_page(text), said


def test_runs_side_by_side(trained: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, tags, said = page(trained, tmp_path / "page.html", capsys)
    assert "<h1>3 runs side by side</h1>" in text
    best = [f"{run['best']['valid_nll_per_step']:.4f}" for run in said["runs"]]
    assert all(f'<td class="number">{value}</td>' in text for value in best)
    run = pv.load(trained[1]).evaluate()
    assert f"{run.nll_per_step:.4f} ± {run.stderr:.4f}" in text
    assert '<th scope="row">model.name</th><td>vrnn</td><td>vrnn</td><td>rnn</td>' in text
    assert "best baseline on test" in text
    assert "over 2 runs of 2 seeds" in text
    assert "<i>" not in text
    assert "c &amp; &lt;i&gt;: Sample 1" in text
    assert len(re.findall(r"<h3>[^<]*From the data", text)) == 1  # it is the same for all
    assert len(tags["audio"]) == 7
    assert text.count("NLL on validation, nats per step, by ") == 3 * 3  # a figure's label, title and words
    for axis in ("updates", "sequences seen", "seconds of training"):
        assert f"nats per step, by {axis}</figcaption>" in text
    assert text.count('<path class="line c2"') == 1 + 4  # beside its name, and a model without z has no KL
    assert (tmp_path / "comparison.png").exists()


def test_what_the_command_says_is_as_it_was(
    trained: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, said = page(trained[:2], tmp_path / "page.html", capsys)
    assert said.pop("html") == str(tmp_path / "page.html")
    argv = ["compare", *map(str, trained[:2]), "--out", str(tmp_path)]
    assert cli._run([*argv, "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out) == said
    assert cli._run(argv) == 0
    before = capsys.readouterr().out
    assert cli._run([*argv, "--html", str(tmp_path / "again.html")]) == 0
    after = capsys.readouterr().out
    assert after.startswith(before)
    assert after[len(before) :].splitlines()[0].startswith(f"{tmp_path / 'again.html'}: ")
    first, again = ((tmp_path / name).read_text("utf-8") for name in ("page.html", "again.html"))
    assert again.replace("again.html", "page.html") == first


@pytest.mark.fault(55)
def test_other_data_with_hostile_names_and_data_that_is_gone(
    trained: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    values = {split: [random.normal(size=(9, 2)).astype(np.float32) for _ in range(4)] for split in
              ("train", "valid", "test")}  # fmt: skip
    ids = {split: [f"{EVIL}{split}{i}" for i in range(4)] for split in values}
    data = tmp_path / "evil.h5"
    write_sequences(data, values, ids=ids, kind="vectors", support="real", steps_per_second=None, source=EVIL,
                    licence=EVIL, extra={"columns": [f"{EVIL}{i}" for i in range(2)]})  # fmt: skip
    other = pv.train(data=data, out=tmp_path / "a", epochs=1, device="cpu", settings=SMALL)
    text, _, _ = page([trained[0], other.folder], tmp_path / "page.html", capsys)
    assert EVIL not in text
    assert "Not the same data" in text
    assert "<h3>evil</h3>" in text
    assert f"{other.folder}: Sample 0" in text  # both folders are called a
    data.unlink()
    text, _, _ = page([trained[0], other.folder], tmp_path / "page.html", capsys)
    assert "the test split was not measured" in text


def test_what_cannot_be_a_page(trained: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for html, says in [(tmp_path, "is a folder"), (tmp_path / "no" / "x.html", "cannot be written")]:
        capsys.readouterr()
        argv = ["compare", *map(str, trained[:2]), "--out", str(tmp_path), "--html", str(html), "--json", "--quiet"]
        assert cli._run(argv) == 2
        assert says in json.loads(capsys.readouterr().out)["error"]["message"]
    copies = [trained[0]]
    for n in range(comparison_page.MOST_RUNS):
        copies.append(tmp_path / f"copy{n}")
        shutil.copytree(trained[0], copies[-1])
    argv = ["compare", *map(str, copies), "--out", str(tmp_path), "--html", str(tmp_path / "x.html"), "--json"]
    assert cli._run([*argv, "--quiet"]) == 2
    assert "at most 15 on one page" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert not (tmp_path / "x.html").exists()
