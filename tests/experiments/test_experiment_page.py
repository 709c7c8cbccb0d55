"""report EXPERIMENT: one page of an experiment's folder, wherever it lies, finished or not."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import grids
import pytest
from pages import check_page

from pyro_vrnn import cli
from pyro_vrnn.experiments import costs, figures, page
from pyro_vrnn.experiments.costs import Cost
from pyro_vrnn.experiments.parsing import read
from pyro_vrnn.experiments.runner import Runner
from pyro_vrnn.media.pages.spreads import Row, spreads
from pyro_vrnn.system.errors import ConfigError

EVIL = "<script>alert(1)</script>&"
TEXT = grids.TEXT.replace("= 12", "= 10").replace('"Small"', f'"{EVIL}"')
WILD = '\n[[arm]]\nname = "wild"\nsettings.training.learning_rate = 1e38\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "draw", lambda *given: [])
        patch.setattr(costs, "measure", lambda arms, *given: [Cost(0.01, 1e-6) for _ in arms])
        Runner(read(str(grids.write(folder, TEXT + WILD)), out=folder / "out"), device="cpu").run()
    (folder / "small.h5").unlink()  # its data is not needed
    return folder / "out"


def changed(made: Path, out: Path, change: Any) -> Path:
    """The same experiment with other results."""
    shutil.copytree(made, out)
    found = json.loads((made / "results.json").read_text())
    change(found)
    (out / "results.json").write_text(json.dumps(found))
    return out


def test_the_page(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(made, tmp_path / "moved")
    assert cli._run(["report", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["file"] == str(folder / "report.html")
    text = (folder / "report.html").read_text()
    assert said["bytes"] == len(text.encode())
    tags = check_page(text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in text
    # The scores and the differences are those of the table, digit by digit.
    results = json.loads((made / "results.json").read_text())
    for section in results["sections"]:
        for arm in section["arms"]:
            for quantity in section["quantities"]:
                if arm["spread"][quantity] is not None:
                    assert f"{arm['spread'][quantity]['mean']:.3f} ± {arm['spread'][quantity]['deviation']:.3f}" in text
    pair = results["sections"][0]["arms"][1]["difference"]["test iwae K=4"]
    assert f"{pair['mean']:+.3f} [{pair['low']:+.3f}, {pair['high']:+.3f}], {pair['wins']}/2" in text
    assert "<h2>small</h2>" in text
    assert "<h2>small, continued from elbo</h2>" in text
    kind = "no difference shown, as their intervals hold 0" if pair["low"] < 0 < pair["high"] else "95% interval"
    assert kind in text
    assert "of twenty arms that are no different, one is told apart by chance" in text
    assert "without a number, as told under what failed: wild" in text
    # What failed, what differs, which runs, and how to make it again.
    wild = next(run for run in results["runs"] if run["arm"] == "wild")
    assert f"<strong>wild, seed 0, after update {wild['steps']}:</strong> {wild['message']}" in text
    assert re.search(r'<th scope="row">objective.particles</th><td>1</td><td>3</td><td>1</td><td>1</td>', text)
    assert '<th scope="row">init_from</th><td>-</td><td>-</td>' in text
    assert "training.seed</th>" not in text
    for arm in ("elbo", "iwae", "then", "wild"):
        assert f'<th scope="row">runs/{arm}/seed-1</th>' in text
    assert f"pyro-vrnn experiment {folder}/experiment.toml --out {folder}-again" in text
    labels = [svg["aria-label"] for svg in tags["svg"] if "role" in svg]
    assert sum("difference from elbo, paired by seed" in label for label in labels) == 2
    for axis in ("updates", "sequences seen", "seconds of training"):
        assert sum(label.endswith(f"mean over seeds where all are, by {axis}") for label in labels) == 2
    assert page.write(made, tmp_path / "again.html").read_text() == text.replace(str(folder), str(made))


def test_one_seed_and_unfinished(made: Path, tmp_path: Path) -> None:
    def one(found: dict[str, Any]) -> None:
        found["seeds"], found["runs"][2]["status"] = [0], "waiting"
        found["runs"][0]["unscored"] = {"test elbo": "the bound is nan"}
        for section in found["sections"]:
            for arm in section["arms"]:
                for pair in (arm["difference"] or {}).values():
                    if pair is not None:
                        pair.update(low=None, high=None, seeds=1)

    text = page.write(changed(made, tmp_path / "one", one)).read_text()
    check_page(text)
    assert "nothing can be concluded, as one seed has no spread: iwae" in text
    assert "One seed (0): there is no spread, and a difference may be chance." in text
    assert "of twenty arms" not in text
    assert "5 of 8 done, 2 failed" in text
    assert "<strong>elbo, seed 0, test elbo:</strong> the bound is nan. The run stands." in text


def test_nothing_there_yet(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "begun"
    folder.mkdir()
    shutil.copy(made / "experiment.toml", folder)
    assert cli._run(["report", str(folder)]) == 2
    said = capsys.readouterr().err
    assert f"{folder}: no results yet" in said
    assert f"hint: `pyro-vrnn experiment {folder}` trains its runs" in said
    assert cli._run(["report", str(made), "--out", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert not (folder / "report.html").exists()


def test_a_folder_named_like_a_shipped_experiment(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page is of the folder, and its commands name it wherever they are typed."""
    folder = shutil.copytree(made, tmp_path / "speech-small")
    monkeypatch.chdir(tmp_path)
    for given in ("speech-small", "./speech-small/"):
        assert cli._run(["report", given]) == 0
        text = (folder / "report.html").read_text()
        assert "<title>&lt;script&gt;" in text
        assert f"pyro-vrnn experiment {folder}/experiment.toml --out {folder}-again" in text
    monkeypatch.chdir(folder)
    assert cli._run(["report", "."]) == 0
    assert (folder / "report.html").read_text() == text
    (folder / "results.json").unlink()
    capsys.readouterr()
    assert cli._run(["report", "."]) == 2
    assert f"`pyro-vrnn experiment {folder}` trains its runs" in capsys.readouterr().err


def _first(found: dict[str, Any]) -> dict[str, Any]:
    return found["sections"][0]["arms"][0]


def _second(found: dict[str, Any]) -> dict[str, Any]:
    return found["sections"][0]["arms"][1]


OUT = "../../../../outside"
DAMAGES = {
    "a seed that leads out": lambda d: _first(d)["values"]["valid"].update({f"0/{OUT}/seed-0": 1.0}),
    "seeds that lead out": lambda d: d.update(seeds=[f"0/{OUT}/seed-0"]),
    "an arm that leads out": lambda d: _first(d).update(arm=OUT),
    "a run of an arm that leads out": lambda d: d["runs"][0].update(arm=OUT),
    "another seed": lambda d: d["runs"][0].update(seed=7),
    "true for a seed": lambda d: d.update(seeds=[True]),
    "no seeds": lambda d: d.update(seeds=[]),
    "no run": lambda d: d.update(runs=[{}]),
    "a run twice": lambda d: d["runs"].append(d["runs"][0]),
    "sections": lambda d: d.update(sections=3),
    "an unknown arm": lambda d: _first(d).update(arm="x"),
    "an arm twice": lambda d: d["sections"][0]["arms"].append(_first(d)),
    "no arms": lambda d: d["sections"][0].update(arms=[]),
    "another reference": lambda d: d["sections"][0].update(reference="then"),
    "a text for a count": lambda d: d["runs"][0].update(steps="9"),
    "an unknown status": lambda d: d["runs"][0].update(status="x"),
    "best": lambda d: d["runs"][0].update(best={}),
    "unscored": lambda d: d["runs"][0].update(unscored=[1]),
    "infinity": lambda d: _first(d)["values"]["valid"].update({"0": float("inf")}),
    "a great number": lambda d: _first(d)["values"]["valid"].update({"0": 1e308}),
    "a great count": lambda d: d["runs"][0].update(steps=10**400),
    "NaN": lambda d: _second(d)["difference"]["valid"].update(mean=float("nan")),
    "NaN where nothing is read": lambda d: d.update(later=float("nan")),
    "half an interval": lambda d: _second(d)["difference"]["valid"].update(low=None),
    "a quantity without values": lambda d: d["sections"][0]["quantities"].update(other="x"),
    "null": lambda d: _first(d).update(spread=None),
    "the unit": lambda d: d.update(equal="x"),
    "timing": lambda d: d.update(timing=3),
    "a part that is missing": lambda d: d.pop("equal"),
}


def test_results_that_no_experiment_wrote(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is one error that says where, and what makes the file anew, before any run's files are opened."""
    folder = shutil.copytree(made, tmp_path / "sent")
    whole = (made / "results.json").read_text()
    texts = {"half": "{", "a list": "[]", "deep": "[" * 100_000, "no text": "\udcff", "long": "9" * 5000}
    for name, change in DAMAGES.items():
        found = json.loads(whole)
        change(found)
        texts[name] = json.dumps(found)
    opened: list[str] = []
    monkeypatch.setattr(page, "read_metrics", lambda run: opened.append(str(run)))
    monkeypatch.setattr(page, "read_config", lambda run: opened.append(str(run)))
    for name, text in texts.items():
        (folder / "results.json").write_text(text, errors="surrogateescape")
        with pytest.raises(ConfigError) as caught:
            page.write(folder)
        assert "results.json: is damaged" in caught.value.message, name
        assert caught.value.hint == f"`pyro-vrnn experiment {folder}` makes it anew", name
    assert cli._run(["report", str(folder)]) == 2
    assert not opened
    assert not (folder / "report.html").exists()


def test_results_of_before_and_of_later(made: Path, tmp_path: Path) -> None:
    """Without what was added since, and with what is not known yet."""

    def change(found: dict[str, Any]) -> None:
        found.pop("timing")
        found["later"] = found["runs"][0]["later"] = {"x": [None, True]}
        for run in found["runs"]:
            run.pop("unscored", None)

    check_page(page.write(changed(made, tmp_path / "before", change)).read_text())


def test_great_numbers_are_drawn(made: Path, tmp_path: Path) -> None:
    def change(found: dict[str, Any]) -> None:
        _first(found)["values"]["valid"].update({"0": 9e299, "1": -9e299})
        _second(found)["difference"]["valid"].update(low=-9e299, high=9e299)

    text = page.write(changed(made, tmp_path / "great", change)).read_text()
    check_page(text)
    assert not re.search(r' (d|x|cx|cy|y)="[^"]*(nan|inf)', text)


@pytest.mark.skipif(os.name == "nt", reason="has no FIFOs")
def test_fifos(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither is waited for."""
    for path, code in {"runs/elbo/seed-0/metrics.jsonl": 4, "results.json": 2}.items():
        folder = shutil.copytree(made, tmp_path / str(code))
        (folder / path).unlink()
        os.mkfifo(folder / path)
        assert cli._run(["report", str(folder)]) == code
        assert f"{folder / path}: not a plain file" in capsys.readouterr().err


def test_names_of_a_grid_stay_in_the_folder(made: Path, tmp_path: Path) -> None:
    """A setting's name is a part of the arm's, and with it of a path."""
    head, _, _ = TEXT.partition("[[arm]]")
    for key in ("a.b/../../../outside", "a/../../outside.name"):
        arm = f'[[arm]]\nname = "a"\ngrid."{key}" = [1]\n'
        (name,) = [one.name for one in read(str(grids.write(tmp_path, head + arm))).arms]
        assert "/" not in name


def test_spreads() -> None:
    """Values stand where they are, left of one another as they are less; an arm without a value has an empty row."""
    rows = [
        Row(name="a", order=0, points=[1.0, 3.0], mean=2.0),
        Row(name="b" * 40, order=6, mean=-1.0, ends=(-2.0, 0.5)),
        Row(name=EVIL, order=2),
    ]
    drawn = spreads("words", rows, zero=True, x_label="nats")
    points = [float(x) for x in re.findall(r'<circle class="fill c0" cx="([\d.]+)"', drawn)]
    assert points == sorted(points)
    (rule,) = (float(x) for x in re.findall(r'<path class="rule" d="M([\d.]+) ', drawn))
    a, b = (float(x) for x in re.search(r'<path class="line c1" d="M([\d.]+) [\d.]+H([\d.]+)', drawn).groups())
    assert a < rule < b < points[0]
    assert (rule - a) / (points[1] - points[0]) == pytest.approx(1, abs=0.01)
    assert f">{'b' * 23}…<title>{'b' * 40}</title>" in drawn
    assert "<script" not in drawn
    assert spreads("words", [Row(name="a", order=0)], x_label="nats") == ""
