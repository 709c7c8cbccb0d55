"""A supervised network started from a run, against its absence: exact where there is something to be equal to."""

from __future__ import annotations

import builtins
import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fits import untrained
from sklearn.linear_model import LogisticRegression
from small import make_batch, make_net, variants

from pyro_vrnn import cli, runs
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.experiments.transfer import classifiers, comparison, results, transfer
from pyro_vrnn.experiments.transfer.classifiers import PENALTIES, Fitted, Frozen, Parts, summary
from pyro_vrnn.experiments.transfer.comparison import ARMS, compare
from pyro_vrnn.runs.posteriors.labelled import few, labelled
from pyro_vrnn.runs.posteriors.latent_space import latents
from pyro_vrnn.system.errors import ConfigError, DataError, NumericsError

Rows = dict[str, list[np.ndarray]]
COUNTS = {"train": 60, "valid": 20, "test": 40}


def ordered(seed: int = 0) -> tuple[Rows, dict[str, list[str]]]:
    """Which of two bits is on first decides the class: sums over time say nothing of it."""
    generator, rows, labels = np.random.default_rng(seed), {}, {}
    for split, count in COUNTS.items():
        rows[split], labels[split] = [], []
        for i in range(count):
            x = np.zeros((int(generator.integers(6, 9)), 3), np.uint8)
            x[:, 2] = generator.random(len(x)) < 0.5
            x[1, i % 2] = x[4, 1 - i % 2] = 1
            rows[split].append(x)
            labels[split].append("ab"[i % 2])
    return rows, labels


def write(path: Path, rows: Rows, ids: dict[str, list[str]] | None = None, **extra: Any) -> Path:
    """A small data set of bits."""
    write_sequences(
        path,
        rows,
        ids=ids or {split: [f"{split}-{i}" for i in range(len(part))] for split, part in rows.items()},
        kind="pianoroll",
        support="binary",
        steps_per_second=2.0,
        source="made by a test",
        licence="none",
        extra={"lowest_pitch": 40, **extra},
        overwrite=True,
    )
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows, labels = ordered()
    return write(tmp_path_factory.mktemp("transfer") / "ordered.h5", rows, labels=labels)


def run_of(data: Path, *sets: str, seed: int | None = None) -> runs.Run:
    """An untrained run; with a seed as a training of that seed begins, else with other weights."""
    run = untrained(data, "model.name=vrae", "model.cell=gru", "model.hidden_dim=12", *sets)
    if seed is not None:
        run.net.load_state_dict(comparison._fresh(run, seed).state_dict())
    return run


def parts_of(run: runs.Run) -> Parts:
    train, valid, test = (labelled(run.data(split=split)) for split in COUNTS)
    return Parts(train, valid, test, ["a", "b"])


def by_arm(found: dict[str, Any], share: float, seed: int = 0) -> dict[str, dict[str, Any]]:
    return {s["arm"]: s for s in found["scores"] if (s["share"], s["seed"]) == (share, seed)}


def test_from_weights_of_its_own_seed_a_network_is_the_cold_one(data: Path) -> None:
    """To the last digit: the same sequences, layer on top, order and random numbers. Another seed's are not."""
    found = compare(run_of(data, seed=0), shares=[20], seeds=2, max_updates=30)
    first, second = by_arm(found, 20, 0), by_arm(found, 20, 1)
    for a, b in (("cold", "fine-tuned"), ("frozen", "untrained")):
        assert {**first[a], "arm": ""} == {**first[b], "arm": ""}
        assert second[a]["log_loss"] != second[b]["log_loss"]
    assert [update for update, _, _ in first["cold"]["curve"]] == [0, 10, 20, 30]
    assert found["shares"][0]["arms"][1]["difference"]["log_loss"]["seeds"] == 2


def test_an_encoder_that_knows_the_order_is_worth_labels(data: Path) -> None:
    """An encoder that was taught on all labels needs one of each class; without it they are not enough."""
    run = run_of(data, seed=3)
    taught = classifiers.train(run.net, parts_of(run), list(range(60)), 0, 250)
    assert taught.accuracy == 1
    found = compare(run, shares=[1], seeds=3, max_updates=40)
    (share,) = found["shares"]
    assert share["labelled"] == 2
    means = {arm["arm"]: arm["accuracy"]["mean"] for arm in share["arms"]}
    assert min(means["fine-tuned"], means["frozen"]) > 0.95
    assert max(means["cold"], means["untrained"]) < 0.85
    difference = share["arms"][1]["difference"]
    assert difference["accuracy"]["mean"] == pytest.approx(means["fine-tuned"] - means["cold"])
    assert difference["accuracy"]["low"] < difference["accuracy"]["mean"] < difference["accuracy"]["high"]
    assert (difference["accuracy"]["wins"], difference["log_loss"]["wins"]) == (3, 3)
    assert difference["log_loss"]["mean"] < 0


@pytest.mark.parametrize("arm", ["frozen", "latent"])
def test_frozen_arms_are_scikit_learns_regressions(data: Path, arm: str) -> None:
    run = run_of(data)
    found = by_arm(compare(run, shares=[30], seeds=2, max_updates=1), 30, 1)[arm]
    sets = []
    for split in COUNTS:
        dataset = run.data(split=split)
        rows = []
        for i in range(len(dataset)):
            with torch.no_grad():
                h = run.net.f_enc.path(run.net.phi_x(torch.from_numpy(dataset[i])[:, None]))[-1, 0]  # type: ignore[operator]
            rows.append([*h.tolist(), 1.0])
        x = np.array(rows) if arm == "frozen" else latents(run, dataset).z.astype(float)
        sets.append((x, np.array([i % 2 for i in range(len(dataset))])))
    (x, y), valid, test = sets
    scale = np.where(x.std(0) > 0, x.std(0), 1.0)
    chosen = few(labelled(run.data(split="train")), 30, 1)

    def loss(model: Any, part: tuple[np.ndarray, np.ndarray]) -> float:
        chances = model.predict_proba((part[0] - x.mean(0)) / scale)
        return -float(np.log(chances[np.arange(len(part[1])), part[1]]).mean())

    standard = (x[chosen] - x.mean(0)) / scale
    models = [LogisticRegression(C=c, max_iter=300).fit(standard, y[chosen]) for c in PENALTIES]
    best = min(models, key=lambda model: loss(model, valid))
    assert found["log_loss"] == pytest.approx(loss(best, test), rel=1e-5)
    assert found["accuracy"] == best.score((test[0] - x.mean(0)) / scale, test[1])
    assert (found["labelled"], len(chosen)) == (18, 18)


@torch.no_grad()
@pytest.mark.parametrize("sets", [v for v in variants() if v[0] != "model.name=rnn"], ids="-".join)
def test_a_summary_is_of_a_sequence_alone(sets: tuple[str, ...]) -> None:
    """What others are in the batch, and how long they are, plays no part; the sequence does."""
    net, batch = make_net(*sets), make_batch()
    both = summary(net, batch)
    for i in range(batch.size):
        torch.testing.assert_close(summary(net, batch.rows(slice(i, i + 1)))[0], both[i])
    assert not torch.allclose(both[0], both[1])


def test_the_same_labels_for_all_and_more_of_the_same(data: Path) -> None:
    part = labelled(SequenceDataset(data, "train"))
    drawn = [few(part, share, seed=4) for share in (0.1, 10, 50, 100)]
    assert [len(rows) for rows in drawn] == [2, 6, 30, 60]
    assert all(set(a) < set(b) for a, b in itertools.pairwise(drawn))
    assert all({part.labels[i] for i in rows} == {"a", "b"} for rows in drawn)
    assert few(part, 10, seed=4) == drawn[1] != few(part, 10, seed=5)


def test_it_can_be_repeated_and_leaves_random_numbers_and_the_run_alone(data: Path) -> None:
    run = run_of(data)
    before = {name: value.clone() for name, value in run.net.state_dict().items()}
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first, second = (compare(run, shares=[100, 5], seeds=1, max_updates=12) for _ in range(2))
    assert first == second
    assert [share["share"] for share in first["shares"]] == [5, 100]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in run.net.state_dict().items())
    assert not run.net.training
    (only,) = {arm["log_loss"]["deviation"] for share in first["shares"] for arm in share["arms"]}
    assert only is None


def test_classes_that_a_split_lacks(tmp_path: Path) -> None:
    """Of validation and test what train has no label for is left out and counted; what they lack is no trouble."""
    rows, labels = ordered()
    labels["train"][:12], labels["train"][20] = ["c"] * 12, ""
    labels["test"][:4] = ["d", "d", "", "c"]
    run = run_of(write(tmp_path / "a.h5", rows, labels=labels))
    found = compare(run, shares=[10], seeds=1, max_updates=2)
    assert found["classes"] == ["a", "b", "c"]
    assert found["sequences"] == {"train": 59, "valid": 20, "test": 37}
    assert found["left_out"] == {"train": 1, "valid": 0, "test": 3}
    counts, tests = {"a": 23, "b": 24, "c": 12}, {"a": 18, "b": 18, "c": 1}
    expected = -sum(n * np.log(counts[label] / 59) for label, n in tests.items()) / 37
    assert found["frequencies"] == {"accuracy": 18 / 37, "log_loss": pytest.approx(expected), "updates": 0, "curve": []}
    assert all(np.isfinite(score["log_loss"]) for score in found["scores"])
    assert "Left out, for want of a label that train has: 1 of train, 3 of test." in "".join(comparison_table(found))


def comparison_table(found: dict[str, Any]) -> list[str]:
    from pyro_vrnn.experiments.transfer.results import markdown

    return markdown(found)


def test_a_run_of_windows_is_asked_about_windows(data: Path) -> None:
    """With a z for each window of 3 steps; a model with a z for every step reads whole sequences."""
    found = compare(run_of(data, "data.window=3"), shares=[100], seeds=1, max_updates=1)
    lengths = SequenceDataset(data, "train").lengths
    assert (found["window"], found["sequences"]["train"]) == (3, int((-(-lengths // 3)).sum()))
    run = untrained(data, "model.name=vrnn", "data.window=3")
    found = compare(run, shares=[100], seeds=1, max_updates=1)
    assert (found["window"], found["sequences"]["train"], found["shares"][0]["labelled"]) == (None, 60, 60)


def test_labels(tmp_path: Path) -> None:
    rows = {split: [np.eye(3, dtype=np.uint8)] * 4 for split in COUNTS}
    ids = {split: [f"{song}#{k}" for song in ("x1", "y2") for k in range(2)] for split in COUNTS}
    path = write(tmp_path / "a.h5", rows, ids)
    train = SequenceDataset(path, "train")
    found = labelled(train)
    assert (found.labels, found.origin) == (["x1", "x1", "y2", "y2"], "what is before '#' in an id")
    assert labelled(train, r"^([xz])").rows == [0, 1]
    assert labelled(train, r"#\d").labels == ["#0", "#1", "#0", "#1"]
    own = write(tmp_path / "b.h5", rows, ids, labels={split: ["p", "q", "", "p"] for split in COUNTS})
    found = labelled(SequenceDataset(own, "train"))
    assert (found.rows, found.labels) == ([0, 1, 3], ["p", "q", "p"])
    cut = labelled(SequenceDataset(own, "train", 2))
    assert (cut.rows, cut.labels) == ([0, 1, 2, 3, 6, 7], ["p", "p", "q", "q", "p", "p"])


@pytest.mark.parametrize(
    ("ids", "labels", "pattern", "words"),
    [
        ({s: [f"{s}#{i}" for i in range(4)] for s in COUNTS}, None, None, "the only label of train is 'train'"),
        (
            {s: [f"{s}-{i % 2}#{i}" for i in range(4)] for s in COUNTS},
            None,
            None,
            "no label of valid is one of train's: valid has 'valid-0' and the like, train has 'train-0'",
        ),
        (None, None, None, "no sequence of train has a label; an id there is 'train-0'"),
        (None, {"train": ["a"]}, None, "its labels of train are not one for each sequence"),
        (None, None, "^x", "no sequence of train has a label"),
        (None, None, "(", "--labels '(': missing )"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, ids: Any, labels: Any, pattern: str | None, words: str) -> None:
    rows = {split: [np.eye(3, dtype=np.uint8)] * 4 for split in COUNTS}
    run = run_of(write(tmp_path / "a.h5", rows, ids, **({} if labels is None else {"labels": labels})))
    with pytest.raises(ConfigError if pattern == "(" else DataError) as error:
        compare(run, labels=pattern)
    assert words in error.value.message
    assert "'^([0-9])_'" in error.value.hint or "a label must be in all splits" in error.value.hint


def test_memory_is_bounded_by_steps(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers in chunks of at most so many steps, padding among them; a sequence is never cut."""
    run = run_of(data)
    parts = parts_of(run)
    whole = Frozen.of(run.net, parts)
    monkeypatch.setattr(classifiers, "MOST_STEPS", 20)
    sizes = [
        (len(rows), max(parts.train.dataset.lengths[i] for i in rows)) for rows in classifiers._chunks(parts.train)
    ]
    assert sum(count for count, _ in sizes) == 60
    assert max(count * longest for count, longest in sizes) <= 20
    np.testing.assert_allclose(Frozen.of(run.net, parts).train, whole.train, atol=1e-5)
    monkeypatch.setattr(classifiers, "MOST_STEPS", 1)
    assert len(classifiers._chunks(parts.test)) == 40


def test_training_stops_without_progress_and_keeps_the_best(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "PATIENCE", 20)
    losses = iter([1.0, 0.5, 0.7, 0.9, 0.0])
    judged: list[float] = []

    def judge(model: torch.nn.Module, *_: object) -> tuple[float, float]:
        judged.append(sum(p.sum().item() for p in model.parameters()))
        return 0.5, next(losses)

    monkeypatch.setattr(classifiers, "_judge", judge)
    run = run_of(data)
    found = classifiers.train(run.net, parts_of(run), [0, 1, 2], 0, 500)
    assert found == Fitted(0.5, 0.0, 10, [(0, 0.5, 1.0), (10, 0.5, 0.5), (20, 0.5, 0.7), (30, 0.5, 0.9)])
    assert judged[4] == judged[1]  # test is scored with what was best on validation


def test_on_the_command_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli._run(["train", "--data", str(data), "--model", "vrae", "--max-steps", "1", "--out", str(tmp_path / "r"),
                     "--set", "model.hidden_dim=8", "--set", "model.network_dims=8", "--quiet"]) == 0  # fmt: skip
    capsys.readouterr()
    asked = ["transfer", str(tmp_path / "r"), "--seeds", "2", "--max-updates", "20", "--device", "cpu"]
    assert cli._run([*asked, "--shares", "10,100", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    files = [Path(file) for file in found["files"]]
    assert [file.name for file in files] == ["results.json", "table.md", "results.csv", "transfer.png"]
    assert {file.parent for file in files} == {tmp_path / "r" / "transfer"}
    assert found == json.loads(files[0].read_text())
    assert [share["labelled"] for share in found["shares"]] == [6, 60]
    with files[2].open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found["scores"]) == 2 * 2 * len(ARMS)
    assert [float(row["log_loss"]) for row in rows] == [score["log_loss"] for score in found["scores"]]
    assert cli._run([*asked, "--labels", r"([0-4])$", "--out", str(tmp_path / "o"), "--shares", "50"]) == 0
    said = capsys.readouterr().out
    assert (tmp_path / "o" / "table.md").read_text() == said.partition("\n\n" + str(tmp_path))[0] + "\n"
    assert "5 classes (([0-4])$ in the ids); 30 sequences for training, 10 for validation" in said
    for wrong, words in (
        (["--shares", "a"], "--shares 'a': expected percentages such as 1,10,100"),
        (["--shares", "0,10"], "--shares: 0% of the labels"),
    ):
        assert cli._run([*asked, *wrong]) == 2
        assert words in capsys.readouterr().err

    real: Callable[..., Any] = builtins.__import__

    def absent(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    assert cli._run([*asked, "--out", str(tmp_path / "n")]) == 2
    assert "pip install 'pyro-vrnn[estimators]'" in capsys.readouterr().err
    assert not (tmp_path / "n").exists()


def test_a_model_without_latents_has_no_encoder(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'rnn' has no encoder to start from"):
        transfer(untrained(data, "model.name=rnn"), out=tmp_path / "o")
    with pytest.raises(ConfigError, match="--seeds=0"):
        compare(run_of(data), seeds=0)
    assert not (tmp_path / "o").exists()


def test_probabilities_of_nothing_and_units_that_are_constant(data: Path) -> None:
    """A probability that has become 0 costs what the least one does; rounding is no variation."""
    parts = parts_of(run_of(data))
    chances = np.zeros((40, 2))
    chances[:, 1] = -np.inf
    accuracy, loss = classifiers._score(chances, parts, parts.test)
    assert (accuracy, loss) == (0.5, -classifiers.LEAST / 2)
    net = run_of(data).net
    said = iter([np.array([[1.0, 0.0], [1.0 + 1e-8, 1.0]]), np.ones((2, 2)), np.full((2, 2), 3.0)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "_said", lambda *_: next(said))
        found = Frozen.of(net, parts)
        np.testing.assert_allclose(found.test, [[2.0, 5.0]] * 2)
        patch.setattr(classifiers, "_said", lambda *_: np.full((2, 2), np.nan))
        with pytest.raises(NumericsError, match="what the encoder says of a sequence is not finite"):
            Frozen.of(net, parts)


def test_a_network_that_diverges_keeps_its_best_or_is_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(data)
    losses = iter([1.0, 0.5, float("nan"), 0.7])
    monkeypatch.setattr(classifiers, "_judge", lambda *_: (0.5, next(losses)))
    found = classifiers.train(run.net, parts_of(run), [0, 1, 2], 0, 500)
    assert found == Fitted(0.5, 0.7, 10, [(0, 0.5, 1.0), (10, 0.5, 0.5)])
    losses = iter([float("inf")])
    with pytest.raises(NumericsError, match="not finite before its first update"):
        classifiers.train(run.net, parts_of(run), [0, 1, 2], 0, 500)
    losses = iter([1.0, 0.5, float("nan"), float("nan")])
    with pytest.raises(NumericsError, match="log-loss on test is not finite"):
        classifiers.train(run.net, parts_of(run), [0, 1, 2], 0, 500)


def test_the_numbers_are_written_first(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compare(run_of(data), shares=[10], seeds=1, max_updates=1)

    def broken(*_: object) -> None:
        raise RuntimeError("no figure")

    monkeypatch.setattr(results, "draw", broken)
    with pytest.raises(RuntimeError, match="no figure"):
        results.write(found, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["scores"][0]["arm"] == "cold"
    assert (tmp_path / "table.md").exists()
