"""The page of a run as a file: whole HTML with nothing from outside, charts, sounds, and what is told as unusual."""

from __future__ import annotations

import io
import re
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import check_page

from pyro_vrnn import media
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.media.medium import Shown
from pyro_vrnn.media.pages import charts, drawn, figures, findings, report, svg
from pyro_vrnn.media.pages.findings import Finding
from pyro_vrnn.media.pages.report import Page, Piece
from pyro_vrnn.media.pages.svg import Line

HOSTILE = '<script>alert(1)</script>"\' onload="x" {{ 7 * 7 }} \x00\x1b'


def page(**changes: Any) -> Page:
    words: dict[str, Any] = {
        "title": HOSTILE,
        "facts": [(HOSTILE, HOSTILE)],
        "findings": [Finding(HOSTILE, HOSTILE)],
        "scores": [(HOSTILE, HOSTILE, HOSTILE)],
        "curves": figures.training_curves(ROWS, 5.0, latent=True),
        "samples": [Piece(HOSTILE, Shown(svg=drawn.columns(HOSTILE, [HOSTILE], np.eye(4)), png=b"p", wav=b"w"))],
        "samples_words": HOSTILE,
        "posterior": figures.posterior_curves(np.array([[0.1, 0.0], [0.3, 0.02]]), True, 0.01),
        "posterior_words": HOSTILE,
        "settings": [(HOSTILE, HOSTILE, HOSTILE)],
        "commands": [HOSTILE],
        "recipe": HOSTILE,
        "made": [(HOSTILE, HOSTILE)],
    }
    return Page(**words | changes)


ROWS: list[dict[str, Any]] = [
    {"step": n, "loss": 9 - n / 50, "nll": 7.0, "kl": 0.1, "beta": 1.0, "lr": 1e-3, "grad_norm": 1 + n % 3}
    for n in range(1, 101)
]


def validated(*values: float) -> list[dict[str, Any]]:
    return [{"step": 10 * n, "valid_nll_per_step": value} for n, value in enumerate(values, start=1)]


@pytest.mark.fault(55)
def test_nothing_of_a_run_is_markup() -> None:
    found = report.fill(page(samples=[*page().samples, Piece("text", Shown(text=HOSTILE, note=HOSTILE))]))
    tags = check_page(found)
    assert len(tags["script"]) == 1  # the page's own
    assert not any("onload" in names for attributes in tags.values() for names in attributes)
    assert "{{ 7 * 7 }}" in found
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", found)


def test_an_empty_page_is_whole() -> None:
    empty = dict.fromkeys(("facts", "findings", "scores", "curves", "samples", "posterior", "settings", "made"), ())
    found = report.fill(page(title="t", **empty))
    check_page(found)
    assert "Nothing that this page looks for" in found


def test_curves_are_those_that_there_are() -> None:
    assert len(figures.training_curves(ROWS, 5.0, latent=True)) == 6
    assert len(figures.training_curves(ROWS, 5.0, latent=False)) == 4
    assert figures.training_curves([], 5.0, latent=True) == []
    rising = ROWS + validated(8.0, 7.0)
    assert figures.training_curves(rising, 5.0, latent=False)[0].svg.count("<circle") == 2


@pytest.mark.parametrize(
    "values",
    [[3.0], [2.0, 2.0], [0.0, 0.0], [1e-9, 2e9], [float("nan"), 1.0], [-5.0, -4.0], list(np.sin(np.arange(5000)))],
    ids=len,
)
@pytest.mark.parametrize("log", [False, True])
def test_a_chart_stays_within_its_edges(values: list[float], log: bool) -> None:
    chart = charts.curves("t", [Line("a", range(len(values)), values, dots=True)], x_label="update", log=log)
    drawn_lines = re.findall(r'class="line c0" d="(.*?)"', chart)
    places = [float(v) for path in drawn_lines for v in re.findall(r"[\d.-]+", path)]
    assert all(0 <= v <= 360 for v in places)
    assert len(places) <= 2 * svg.MOST_POINTS
    assert "nan" not in chart
    assert 0 < chart.count("<text") < 20 or not chart


def test_a_peak_is_kept() -> None:
    values = np.ones(10_000)
    values[4321] = 50
    chart = charts.curves("t", [Line("", range(10_000), values.tolist())], x_label="update", log=True)
    tops = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", chart.split('class="line')[1].split("</svg>")[0])]
    assert min(tops) == pytest.approx(svg.TOP)


def test_notes_are_heard_and_seen() -> None:
    form = DataFormat(kind="pianoroll", support="binary", x_dim=12, steps_per_second=4.0, lowest_pitch=60)
    roll = np.zeros((60, 12), np.uint8)
    roll[4:8, 9] = 1  # A4, 440 Hz, from second 1 to 2
    roll[50:, 3] = 1
    shown = media.show(form, roll, "t", 10.0)
    with wave.open(io.BytesIO(shown.wav)) as file:
        rate = file.getframerate()
        heard = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
    assert (rate, file.getnchannels()) == (16_000, 1)
    assert len(heard) <= 10 * rate
    assert np.abs(heard[: int(0.9 * rate)]).max() == 0
    spectrum = np.abs(np.fft.rfft(heard[rate : 2 * rate]))
    assert abs(int(spectrum.argmax()) - 440) <= 2
    assert shown.note == "The first 10.0 of 15.0 seconds are heard."
    assert media.show(form, np.zeros((4, 12)), "t", 10.0).wav == b""
    assert media.show(form, np.full((4, 12), np.nan), "t", 10.0).note.startswith("48 of its values are not finite")


def test_sound_is_turned_down_and_cut() -> None:
    form = DataFormat(kind="audio", support="real", x_dim=10, steps_per_second=100.0, frame_length=10)
    shown = media.show(form, np.linspace(-99_999, 99_999, 2000).reshape(200, 10), "t", 1.5)
    with wave.open(io.BytesIO(shown.wav)) as file:
        heard = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert (len(heard), file.getframerate(), heard.min()) == (1500, 1000, -32767)
    assert shown.note == "The first 1.5 of 2.0 seconds."


@pytest.mark.parametrize(
    ("rows", "stopped", "says"),
    [
        (ROWS, "epochs", ["It has not been validated"]),
        (validated(9, 7, 7.5), "epochs", ["Validation rose by 0.500 nats per step after its best at update 20"]),
        (validated(9, 7, 7.05), "epochs", []),
        (validated(9, 8, 7), "epochs", ["Validation was still falling at the end, by 1.000"]),
        (validated(9, 8, 8.01), "max-time", ["The training was stopped by its time limit after update 30"]),
        (validated(9, 8, 8.01), "signal", ["by a signal"]),
        (validated(9, 8, 8.01), "", []),
        ([*ROWS, {"step": 101, "grad_norm": 99.0}, *validated(9)], "", ["The gradient's norm was 99 at update 101"]),
        ([{**row, "grad_norm": 7.0} for row in ROWS] + validated(9), "", ["was clipped to 5 in 100%"]),
    ],
)
def test_what_is_unusual_is_told(rows: list[dict[str, Any]], stopped: str, says: list[str]) -> None:
    found = findings.of_training(rows, 5.0, stopped, 30, "runs/x")
    assert len(found) == len(says)
    assert all(said in one.what and one.advice.endswith(".") for one, said in zip(found, says, strict=True))


@pytest.mark.parametrize(
    ("stopped", "says"),
    [
        ("epochs", "--resume runs/x --epochs N, with N above the epochs that are done."),
        ("max-steps", "--resume runs/x --max-steps N, with N above 1,234."),
        ("max-time", "--resume runs/x, with another --max-time or without one."),
    ],
)
def test_how_to_train_for_longer_is_told_by_what_ended_the_training(stopped: str, says: str) -> None:
    told = findings.of_training(validated(9, 8, 7), 5.0, stopped, 1234, "runs/x")[-1]
    assert "still falling" in told.what
    assert told.advice.endswith(says)


def test_idle_units_and_better_baselines_are_told() -> None:
    assert findings.of_units([0.5, 0.2], 2, 0.01) == []
    assert findings.of_units([], 0, 0.01) == []
    assert "1 of 2 latent units" in findings.of_units([0.5, 0.001], 1, 0.01)[0].what
    assert "No latent unit" in findings.of_units([0.001, 0.001], 0, 0.01)[0].what
    assert findings.of_baselines(2.0, {"a": 3.0, "b": 2.5}) == []
    assert "2.5000 nats per step (b)" in findings.of_baselines(4.0, {"a": 3.0, "b": 2.5})[0].what


@pytest.mark.fault(55)
def test_the_templates_name_no_address() -> None:
    templates = [file.read_text("utf-8") for file in Path(report.__file__).parent.glob("*.j2")]
    assert len(templates) == 6
    for text in templates:
        assert "//" not in text
        assert "url(" not in text


@pytest.mark.parametrize("samples", [1, 2, 400, 401, 9000])
def test_a_wave_is_drawn_at_any_length(samples: int) -> None:
    wave_form = 1000 * np.sin(np.arange(samples) / 9)
    chart = drawn.waveform("t", wave_form)
    assert ("<polygon" in chart) == (samples > svg.MOST_POINTS)
    assert len(chart) < 20_000
    assert "nan" not in chart
    assert "nan" not in drawn.waveform("t", np.zeros(samples))


def test_active_units_are_seen_step_by_step() -> None:
    kl = np.zeros((6, 3))
    kl[:, 2], kl[2:4, 0] = 0.5, 0.02
    found = figures.posterior_curves(kl, True, 0.01)
    assert len(found) == 4
    assert len(figures.posterior_curves(kl, False, 0.01)) == 1
    heat = found[3].svg
    assert [int(unit) for unit in re.findall(r'x="48" y="[\d.]+">(\d)<', heat)] == [3, 1, 2]  # the greatest on top
    drawn_cells = {shade: path.count("M") for shade, path in re.findall(r'c0 (shade\d)" d="(.*?)"', heat)}
    assert drawn_cells == {"shade1": 1, "shade4": 1}  # one bar of two steps, and one of all six
    wide = charts.heat("t", np.random.default_rng(0).random((200, 100)), [0.01, 0.1, 0.3, 0.6, 0.9], unit="nats")
    assert len(wide) < 300_000
    assert len(re.findall(r'x="48" y="[\d.]+">\d+<', wide)) <= charts.MOST_ROWS


def test_no_peak_of_the_posterior_leaves_the_page() -> None:
    kl = np.full((40, 1), 0.1)
    kl[17] = 30
    by_step, _, active, _ = (figure.svg for figure in figures.posterior_curves(kl, True, 0.01))
    tops = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", by_step.split('class="line')[1].split("</svg>")[0])]
    assert min(tops) == pytest.approx(svg.TOP)
    assert ">30<" in by_step
    idle = figures.posterior_curves(kl * 0, True, 0.01)[2].svg
    assert ">-" not in idle  # there are no fewer than 0 active units
    assert ">1<" in active


@pytest.mark.parametrize("count", [1, 2, 500])
def test_a_map_names_its_points_and_groups(count: int) -> None:
    places = np.random.default_rng(0).normal(size=(count, 2))
    groups = [f"{HOSTILE}{n % 12}" for n in range(count)]
    found = charts.points("t", places, [HOSTILE] * count, groups)
    assert found.count("<title>") == 1 + count
    assert "<script" not in found
    assert len(found) < 150_000
    assert "nan" not in found
    assert found.count("<text") == min(count, 10)
    at = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.-]+)" cy="([\d.-]+)" r="3"', found)]
    assert len(at) == count
    assert all(0 <= x <= 360 and 0 <= y <= 300 for x, y in at)
    alone = charts.points("t", places, ["a"] * count, [""] * count)
    assert "<text" not in alone
    assert alone.count("fill c0") == count


def test_a_cursor_goes_with_the_sound() -> None:
    form = DataFormat(kind="pianoroll", support="binary", x_dim=12, steps_per_second=4.0, lowest_pitch=60)
    roll = np.zeros((200, 12), np.uint8)
    roll[4:8, 9] = 1
    shown = media.show(form, roll, "t", 10.0)
    (start, speed), *_ = re.findall(r'class="cursor" data-start="(.*?)" data-speed="(.*?)"', shown.svg)
    x = float(re.findall(r'class="fill c0" d="M([\d.]+)', shown.svg)[0])
    assert float(start) + 1.0 * float(speed) == pytest.approx(x, abs=0.1)  # step 4 is heard after a second
    assert shown.scrolls
    assert 'class="wide" width="758"' in shown.svg
    short = media.show(form, roll[:40], "t", 10.0)
    assert not short.scrolls
    assert 'viewBox="0 0 360 150"' in short.svg
    assert "cursor" not in media.show(form, np.zeros((40, 12)), "t", 10.0).svg  # no note, no sound
    form = DataFormat(kind="audio", support="real", x_dim=10, steps_per_second=100.0, frame_length=10)
    sound = media.show(form, np.ones((200, 10)), "t", 9.0).svg
    (start, speed), *_ = re.findall(r'class="cursor" data-start="(.*?)" data-speed="(.*?)"', sound)
    assert float(start) + 2.0 * float(speed) == pytest.approx(svg.WIDTH - 1)


def test_many_curves_are_told_apart() -> None:
    lines = [Line(f"<{n}>", [0, 1], [n, n + 1]) for n in range(15)]
    chart = charts.curves("t", lines, x_label="updates", legend=False)
    kinds = re.findall(r'class="line (.*?)" d=', chart)
    assert len(set(kinds)) == len(kinds) == 15
    assert [figures.mark(n).count(f'"line {kind}"') for n, kind in enumerate(kinds)] == [1] * 15
    assert chart.count("<title>&lt;") == 15
