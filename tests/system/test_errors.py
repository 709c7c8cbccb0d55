"""Errors of users: the hint is seen where there is no command line, in tracebacks and in notebooks."""

from __future__ import annotations

import pickle
import traceback

import pytest

from pyro_vrnn.system.errors import LONGEST, ConfigError, DataError, UserError


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


@pytest.mark.fault(63)
@pytest.mark.parametrize("kind", [UserError, ConfigError, DataError])
def test_words_of_a_hostile_file_stay_one_short_line(kind: type[UserError]) -> None:
    error = kind("a name: \x1b[31m\nerror: all is well\x00" + "x" * 10_000 + ": not a number")
    assert str(error) == error.message
    assert error.message.isprintable()
    assert error.message.startswith(r"a name: \x1b[31m\nerror: all is well\x00xxx")
    assert error.message.endswith("xxx: not a number")
    assert len(error.message) == LONGEST
    assert kind("é " * 1000).message == "é " * 1000
