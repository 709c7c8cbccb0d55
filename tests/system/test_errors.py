"""Errors of users: the hint is seen where there is no command line, in tracebacks and in notebooks."""

from __future__ import annotations

import pickle
import traceback

from pyro_vrnn.system.errors import ConfigError, DataError


def test_the_hint_is_in_the_traceback() -> None:
    error = DataError("there is no such file", "give another one", "x.h5")
    shown = traceback.format_exception(error)
    assert shown[-2:] == ["pyro_vrnn.system.errors.DataError: there is no such file\n", "hint: give another one\n"]
    assert str(error) == "there is no such file"
    assert "__notes__" not in vars(ConfigError("without one"))


def test_the_hint_comes_along_from_another_process() -> None:
    again = pickle.loads(pickle.dumps(ConfigError("no", "yes", "x")))
    assert (again.message, again.hint, again.path, again.__notes__) == ("no", "yes", "x", ["hint: yes"])


def test_more_to_say_is_behind_the_hint() -> None:
    for first, hint in (("", "saved"), ("look there", "look there; saved")):
        error = ConfigError("no", first)
        error.also("")
        error.also("saved")
        assert (error.hint, error.__notes__[-1]) == (hint, "hint: saved")
