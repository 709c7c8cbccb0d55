"""scikit-learn's own checks of an estimator, and its tools around ours: Pipeline, GridSearchCV, clone, pickle."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from ragged import TINY
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import pyro_vrnn as pv

STEPS = "the rows of a two-dimensional X are the steps of one sequence, which depend on each other and on their order"
VRAE_ROWS = "a two-dimensional X is one sequence, and a VRAE has one z for it"
STEPWISE = {"check_methods_sample_order_invariance": STEPS, "check_methods_subset_invariance": STEPS}
SEQUENCEWISE = {
    "check_methods_sample_order_invariance": VRAE_ROWS,
    "check_methods_subset_invariance": VRAE_ROWS,
    "check_transformer_general": VRAE_ROWS,
    "check_transformer_data_not_an_array": VRAE_ROWS,
}
SOME = ("n_features_in", "general", "unfitted", "no_attributes", "mixin_order")


def inapplicable(estimator: Any) -> dict[str, str]:
    """The checks that cannot hold, and why."""
    if isinstance(estimator, pv.VRAE):
        return SEQUENCEWISE
    return STEPWISE if isinstance(estimator, pv.VRNN | pv.SRNN | pv.DMM | pv.STORN) else {}


@parametrize_with_checks([pv.VRNN(2, **TINY)], expected_failed_checks=inapplicable, xfail_strict=True)
def test_all_of_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def some_of(estimators: Any) -> Any:
    """The checks of what these classes do by themselves; the VRNN shares the rest, and is put to all of them."""
    given = {"expected_failed_checks": inapplicable, "xfail_strict": True}
    mark = parametrize_with_checks(estimators, **given).mark
    names, cases = mark.args
    chosen = [case for case in cases if any(word in str(getattr(case, "values", case)[1]) for word in SOME)]
    return pytest.mark.parametrize(names, chosen, **mark.kwargs)


@some_of([pv.VRAE(2, **TINY), pv.RNN(**TINY)])
def test_some_of_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def groups(count: int, seed: int = 0) -> tuple[list[Any], Any]:
    """Ragged sequences of two kinds that a mean tells apart, and which is which."""
    random = np.random.default_rng(seed)
    y = np.arange(count) % 2
    return [random.normal(size=(int(random.integers(2, 8)), 3)) + 4 * kind for kind in y], y


def test_features_for_a_classifier_in_a_pipeline() -> None:
    X, y = groups(24)
    pipe = make_pipeline(pv.VRAE(2, **TINY | {"max_steps": 40}), StandardScaler(), LogisticRegression())
    assert pipe.fit(X, y).score(*groups(20, seed=1)) > 0.9
    assert pipe[:-1].get_feature_names_out().tolist() == ["vrae0", "vrae1"]


def test_scaled_columns_of_one_sequence() -> None:
    x = np.random.default_rng(0).normal(size=(30, 3)) * [1, 10, 100] + 50
    pipe = make_pipeline(StandardScaler(), pv.VRNN(2, **TINY)).fit(x)
    assert pipe.transform(x).shape == (30, 2)
    assert np.isfinite(pipe.score(x))


@pytest.mark.parametrize("ragged", [list, lambda X: np.array(X, dtype=object)], ids=["list", "objects"])
def test_a_grid_search_over_ragged_sequences(ragged: Any) -> None:
    X, _ = groups(10)
    search = GridSearchCV(pv.VRNN(**TINY), {"latent_dim": np.array([1, 3])}, cv=2).fit(ragged(X))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.transform(X).shape == (10, search.best_params_["latent_dim"])


def test_folds_are_scored_by_the_bound() -> None:
    X, _ = groups(6)
    found = cross_val_score(pv.RNN(**TINY), X, cv=2)
    assert found[0] == pv.RNN(**TINY).fit(X[3:]).score(X[:3])


def test_clone_has_the_parameters_and_no_fit() -> None:
    X, _ = groups(4)
    estimator = pv.DMM(2, objective="iwae", particles=3, **TINY).fit(X)
    again = clone(estimator)
    assert again.get_params() == estimator.get_params()
    assert "run_" not in vars(again)
    assert estimator.run_.config.objective.particles == 3
    assert again.set_params(latent_dim=5).fit(X).transform(X).shape == (4, 5)


def test_pickled_and_copied_estimators_are_fitted() -> None:
    X, _ = groups(4)
    estimator = pv.VRNN(2, **TINY).fit(X)
    for again in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        assert again.run_.folder != estimator.run_.folder
        assert again.score(X) == estimator.score(X)
        assert np.array_equal(again.transform(X), estimator.transform(X))


def test_features_as_a_data_frame() -> None:
    pytest.importorskip("pandas")
    X, _ = groups(4)
    found = pv.STORN(2, **TINY).set_output(transform="pandas").fit_transform(X)
    assert found.columns.tolist() == ["storn0", "storn1"]
    assert len(found) == 4
