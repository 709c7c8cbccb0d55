"""z as features, and back from z to x."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ragged import LENGTHS, TINY, sequences

import pyro_vrnn as pv
from pyro_vrnn.system.errors import DataError


def test_rows_of_what_transform_gives(vrnn: Any, vrae: Any) -> None:
    X, whole = sequences(), np.concatenate(sequences())
    steps = vrnn.transform_steps(X)
    assert [z.shape for z in steps] == [(n, 2) for n in LENGTHS]
    np.testing.assert_allclose(vrnn.transform(X), [z.mean(0) for z in steps], atol=1e-6)
    np.testing.assert_allclose(vrnn.transform(whole, lengths=LENGTHS), np.concatenate(steps), atol=1e-6)
    np.testing.assert_allclose(vrnn.transform(X[1]), steps[1], atol=1e-6)
    assert vrae.transform(X).shape == (5, 2)
    assert vrae.transform(whole, lengths=LENGTHS).shape == (5, 2)
    assert vrae.transform(X[1]).shape == (1, 2)
    assert vrnn.transform(np.zeros((4, 6, 3))).shape == vrae.transform(np.zeros((4, 6, 3))).shape == (4, 2)


def test_there_and_back_in_the_units_of_the_data(vrnn: Any) -> None:
    X = sequences(center=1000.0)
    steps, whole = pv.VRNN(2, **TINY).fit(X), pv.VRAE(2, **TINY).fit(X)
    back = steps.inverse_transform(steps.transform_steps(X))
    assert [x.shape for x in back] == [x.shape for x in X]
    assert steps.inverse_transform(np.zeros((4, 6, 2))).shape == (4, 6, 3)
    assert whole.inverse_transform(whole.transform(X), steps=6).shape == (5, 6, 3)
    assert whole.inverse_transform(whole.transform(X)).shape == (5, 64, 3)
    for found in (np.concatenate(back), whole.inverse_transform(whole.transform(X)), steps.sample(2, 5)):
        assert 990 < found.min() < found.max() < 1010
    with pytest.raises(DataError, match="list of \\[steps, 2\\]"):
        steps.inverse_transform(steps.transform(X))
    with pytest.raises(DataError, match="expected \\[sequences, 2\\]"):
        whole.inverse_transform(np.zeros((2, 3)))
    assert np.array_equal(steps.inverse_transform([np.ones((3, 2))])[0], steps.inverse_transform(np.ones((1, 3, 2)))[0])


def test_means_are_those_of_a_model_that_reads_them(vrae: Any) -> None:
    """The first step's mean is that of p(x_1 | z), and a shorter sequence is the beginning of a longer one."""
    z = np.array([[0.5, -1.0], [2.0, 0.0]])
    net, run = vrae.run_.net, vrae.run_
    with torch.no_grad():
        first = net.p_x(net.start(2), torch.tensor(z, dtype=torch.float32)).mean
    long, short = vrae.inverse_transform(z, steps=8), vrae.inverse_transform(z, steps=3)
    np.testing.assert_allclose(long[:, 0], run.encoding.decode(first.double().numpy()), rtol=1e-5)
    np.testing.assert_allclose(long[:, :3], short, rtol=1e-5)
