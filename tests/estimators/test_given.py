"""X in all its forms, and what is refused as none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ragged import LENGTHS, TINY, sequences

import pyro_vrnn as pv
from pyro_vrnn.system.errors import ConfigError, DataError


def test_all_forms_of_the_same_sequences_are_the_same(vrnn: Any) -> None:
    pandas = pytest.importorskip("pandas")
    X = sequences()
    whole = np.concatenate(X)
    frame = pandas.DataFrame(whole, columns=list("abc"))
    frame["patient"], frame["hour"] = np.repeat(list("vwxyz"), LENGTHS), np.concatenate([np.arange(n) for n in LENGTHS])
    shuffled = frame.sample(frac=1, random_state=0)
    order = list(dict.fromkeys(shuffled["patient"]))
    by_end_to_end = pv.VRNN(2, **TINY).fit(whole, lengths=LENGTHS)
    by_frame = pv.VRNN(2, sequence="patient", time="hour", **TINY).fit(frame)
    expected = vrnn.score(X)
    assert by_end_to_end.score(whole, lengths=LENGTHS) == by_end_to_end.score(tuple(X)) == expected
    assert by_frame.score(frame) == expected
    assert by_frame.feature_names_in_.tolist() == list("abc")
    others = shuffled[["c", "hour", "b", "patient", "a"]].assign(more=1)
    np.testing.assert_allclose(
        by_frame.transform(others), vrnn.transform([X["vwxyz".index(name)] for name in order]), atol=1e-6
    )
    assert np.array_equal(vrnn.transform(np.array(X, dtype=object)), vrnn.transform(X))
    assert np.array_equal(vrnn.transform([torch.tensor(x) for x in X]), vrnn.transform(X))
    assert np.array_equal(vrnn.transform(iter(X)), vrnn.transform(X))


@pytest.mark.parametrize("X", [sequences()[1], sequences()[1:2], sequences()[1][None]], ids=["2-D", "list", "3-D"])
def test_one_sequence_and_a_batch_that_is_larger(X: Any) -> None:
    estimator = pv.SRNN(2, batch_size=64, **TINY).fit(X)
    assert estimator.run_.config.data.batch_size == 64
    assert estimator.score_samples(X).shape == (1,)
    assert estimator.score(X) == pytest.approx(estimator.score_samples(X)[0] / 9)


def test_bits_and_missing_values() -> None:
    X = [x > 0 for x in sequences()]
    bits = pv.VRNN(2, **TINY).fit(X)
    assert bits.run_.config.model.likelihood == "bernoulli"
    assert set(np.unique(bits.sample(3, 4))) <= {0.0, 1.0}
    floats = [x.astype(float) for x in X]
    assert pv.VRNN(2, likelihood="bernoulli", **TINY).fit(floats).score(floats) == bits.score(X)
    means = bits.inverse_transform(bits.transform_steps(X))[0]
    assert ((means > 0) & (means < 1)).all()
    holes = sequences()
    holes[0][2, 1] = np.nan
    holes[3][:, 0] = np.nan
    estimator = pv.VRNN(2, **TINY).fit(holes)
    assert np.isfinite(estimator.score(holes[3:4]))  # a column without any value
    assert estimator.score(holes) > estimator.score(sequences())  # fewer values are scored
    with pytest.raises(DataError, match="without any"):
        pv.VRNN(2, **TINY).fit(sequences()).score(holes)


@pytest.mark.parametrize(
    ("X", "options", "words"),
    [
        ([], {}, "0 sequences"),
        (np.zeros(4), {}, "Expected 2D array"),
        ([1.0, 2.0], {}, "sequence 0 has shape"),
        (["text"], {}, "sequence 0 has shape"),
        ([np.zeros((2, 3)), np.zeros((2, 2))], {}, "sequence 1 has 2 columns"),
        ([np.zeros((0, 3))], {}, "sequence 0 has shape"),
        (np.zeros((2, 0, 3)), {}, "X has shape"),
        (np.zeros((2, 2, 2, 2)), {}, "X has shape"),
        ([np.full((2, 3), np.inf)], {}, "infinity"),
        ([np.zeros((2, 3))], {"lengths": [2]}, "two-dimensional"),
        (np.zeros((5, 3)), {"lengths": [2, 2]}, "add up to 4, and X has 5 rows"),
        (np.zeros((5, 3)), {"y": [2, 3]}, "lengths= \\(by its name\\)|2 entries"),
    ],
)
def test_what_is_no_data_is_refused(X: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pv.VRNN(2, **TINY).fit(X, **options)


def test_columns_of_a_frame_that_are_not_there() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(8, 2)), columns=["a", "b"])
    estimator = pv.RNN(**TINY).fit(frame)
    with pytest.raises(DataError, match="no column 'b'"):
        estimator.score(frame[["a"]])


def test_times_order_the_rows_of_sequences_and_do_not_move_those_of_one() -> None:
    """What comes back for the rows of X is in the order of X."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(8, 2)), columns=["a", "b"])
    frame["hour"] = np.arange(8)
    estimator = pv.VRNN(2, time="hour", **TINY).fit(frame)
    assert estimator.transform(frame).shape == (8, 2)
    with pytest.raises(ConfigError, match="not in the order of its column 'hour'"):
        estimator.transform(frame.iloc[::-1])
    with pytest.raises(ConfigError, match="time= would order all rows"):
        estimator.fit(frame, lengths=[4, 4])


def test_a_column_of_dates_is_told_to_be_the_time() -> None:
    """Of pandas, of Python, and as text; other text is told how it is left out."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.arange(4.0)})
    days = pandas.date_range("2024-01-01", periods=4)
    of_time = "time='when' puts the rows in their order"
    for column, what, hint in [
        (days, "holds dates", of_time),
        (days.tz_localize("Europe/Paris"), "holds dates", of_time),
        ([day.to_pydatetime().date() for day in days], "holds dates", of_time),
        ([str(day) for day in days], "holds texts of dates", f"pandas.to_datetime makes dates of them, and {of_time}"),
        (list("abcd"), "is no column of numbers: 'a'", "data.drop(columns='when') leaves it out"),
    ]:
        with pytest.raises(DataError, match=f"column 'when' {what}") as error:
            pv.RNN(**TINY).fit(frame.assign(when=column))
        assert error.value.hint.startswith(hint)
    pv.RNN(time="when", **TINY).fit(frame.assign(when=days))
