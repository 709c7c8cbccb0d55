"""What is seen of a fit: nothing unless asked for; bars on terminals and in notebooks; the table of its numbers."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from ragged import TINY, sequences
from rich.console import Console

import pyro_vrnn as pv
from pyro_vrnn.estimators.progress import FitProgress


def test_it_says_nothing_unless_asked(capfd: pytest.CaptureFixture[str]) -> None:
    pv.RNN(**TINY).fit(sequences())
    assert capfd.readouterr() == ("", "")
    pv.RNN(verbose=True, **TINY).fit(sequences())
    out, err = capfd.readouterr()
    assert out == ""
    assert "RNN: 2 updates" in err
    assert "validation NLL" in err


def shown(console: Console, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a short fit draws in a notebook, of which there is none here."""
    cells: list[str] = []
    cell = SimpleNamespace(update=lambda picture: cells.append(picture.data))
    display = SimpleNamespace(
        HTML=lambda text: SimpleNamespace(data=text),
        display=lambda picture, display_id: cells.append(picture.data) or cell,
    )
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    watch = FitProgress("VR<NN>", console)
    watch.begin(0, 3)
    watch.logged({"loss": 1.25})
    watch.spoke = -1e9
    watch.stepped(1)
    watch.logged({"valid_nll_per_step": 2.5})
    watch.ended()
    return cells


def test_a_bar_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = shown(Console(file=io.StringIO(), force_jupyter=True), monkeypatch)
    assert len(cells) == 3
    assert '<progress value="1" max="3">' in cells[-1]
    assert "VR&lt;NN&gt;" in cells[-1]
    assert "1/3  loss 1.250  validation NLL 2.500 nats per step" in cells[-1]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    assert shown(Console(file=file, force_terminal=True, force_jupyter=False, width=100), monkeypatch) == []
    assert "1/3" in file.getvalue()
    assert "VR<NN>: 1 updates  loss 1.250  validation NLL 2.500 nats per step" in file.getvalue()


def test_a_notebook_shows_its_numbers(vrnn: Any) -> None:
    assert "the fitted model" not in pv.VRNN()._repr_html_()
    page = vrnn._repr_html_()
    assert "sk-container-id" in page
    assert "vrnn, gaussian output" in page
    assert "of update 2, the best in validation" in page
    assert ">2 updates in " in page
    assert "stopped by max-steps" in page
    assert f"{-vrnn.run_.evaluate('valid').nll_per_step:.4f} nats per step (elbo, K=1)" in page
    assert vrnn._repr_mimebundle_()["text/plain"] == repr(vrnn)
