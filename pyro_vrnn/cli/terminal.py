"""How commands talk: one JSON object or text on stdout, messages on stderr, errors in two lines and an exit code."""

from __future__ import annotations

import difflib
import errno
import functools
import inspect as signatures
import io
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from pyro_vrnn.system.errors import ConfigError, ResourceError, UserError, choose, one_line

UsageError: Any = typer.BadParameter.__bases__[0]


@dataclass
class Output:
    """How a command talks: one JSON object on stdout, or text; messages on stderr."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    exit_code: int = 0

    def print(self, *lines: object) -> None:
        """A result for people, on stdout. Names of files may be in it, so what is not printable is escaped."""
        if not self.json:
            for line in lines:
                print(one_line(str(line)))

    def table(self, rows: list[tuple[object, ...]], *, right: tuple[int, ...] = ()) -> None:
        """Columns lined up, on stdout; the columns numbered in `right` to the right."""
        cells = [[str(cell) for cell in row] for row in rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))] if cells else []
        for row in cells:
            texts = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
            self.print("  ".join(texts).rstrip())

    def console(self) -> Any:
        """stderr, through rich."""
        from pyro_vrnn.cli.console import stderr_console

        return stderr_console()

    def say(self, message: str) -> None:
        """A message, on stderr."""
        if not self.quiet:
            print(one_line(message), file=sys.stderr)


out: Output = Output()
"""Of the command that is running: one process runs one."""


def talking(function: Callable[..., dict[str, Any] | None]) -> Callable[..., None]:
    """A command that returns what `--json` prints, as a Typer command with the flags that all have."""
    common = {
        "json_": (bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")),
        "quiet": (bool, typer.Option("--quiet", "-q", help="No progress, no messages.")),
        "verbose": (bool, typer.Option("--verbose", "-v", help="Say more.")),
        "debug": (bool, typer.Option("--debug", help="Show tracebacks.")),
    }

    def wrapped(**given: Any) -> None:
        out.json, out.quiet, out.verbose = given.pop("json_"), given.pop("quiet"), given.pop("verbose")
        out.debug, out.exit_code = given.pop("debug"), 0
        try:
            try:
                result = function(**given)
            except KeyboardInterrupt as error:  # typer makes a bare exit code of it
                _interrupted(error)
                raise
            if out.json and result is not None:
                print(json.dumps(result, allow_nan=False))
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has gone (`| head`): no traceback, and nothing left to flush at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if out.exit_code:
            raise typer.Exit(out.exit_code)

    signature = signatures.signature(function, eval_str=True)
    extra = [
        signatures.Parameter(name, signatures.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[kind, option])
        for name, (kind, option) in common.items()
    ]
    parameters = [p.replace(kind=signatures.Parameter.KEYWORD_ONLY) for p in signature.parameters.values()]
    functools.update_wrapper(wrapped, function)
    wrapped.__signature__ = signature.replace(parameters=[*parameters, *extra])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in [*parameters, *extra]}
    return wrapped


def _usage(error: Any) -> ConfigError:
    """A wrong command line as our own error: an unknown option or sub-command says what there is."""
    if error.ctx is None:
        return ConfigError(error.format_message(), "see pyro-vrnn --help")
    path, command = error.ctx.command_path, error.ctx.command
    name = path.removeprefix("pyro-vrnn ")
    if type(error).__name__ == "NoSuchOption":
        own = [max(p.opts, key=len) for p in command.params if p.param_type_name == "option" and not p.hidden]
        if not own:
            hint = f"options come after KIND: {path} KIND --help lists them"
            return ConfigError(f"{error.option_name}: {name} has no options of its own", hint)
        close = difflib.get_close_matches(error.option_name, own, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        if "--set" in own and (key := _setting(error.option_name)):
            hint = f"did you mean --set {key}=VALUE? "
        return ConfigError(f"{error.option_name}: {name} has no such option", f"{hint}it has {', '.join(own)}")
    unknown = re.match(r"No such command '([^']*)'", error.format_message())
    if unknown and name == "prepare":
        return choose("kind of source", unknown[1], list(command.commands))
    return ConfigError(error.format_message(), f"see {path} --help")


def _setting(option: str) -> str:
    """The setting that an unknown option is called like, `objective.alpha` of `--alpha`; "" if there is none."""
    from pyro_vrnn.config.reference import called

    return called(option.lstrip("-").replace("-", "_"))


def _fail(error: UserError, argv: list[str]) -> int:
    """One error line and one hint line on stderr; with --json also an object on stdout. The exit code."""
    print(f"error: {error.message}", file=sys.stderr)
    command = f" {argv[0]}" if argv and argv[0].isalpha() else ""
    print(f"hint: {one_line(error.hint or f'see pyro-vrnn{command} --help')}", file=sys.stderr)
    if "--json" in argv:
        detail = {"code": error.exit_code, "kind": error.kind, "message": error.message, "path": error.path}
        print(json.dumps({"schema": 1, "error": detail}))
    return error.exit_code


def _interrupted(error: KeyboardInterrupt) -> None:
    """Say so, with what there is to know about continuing."""
    print(one_line(": ".join(["interrupted", *map(str, error.args)])), file=sys.stderr)


def run(app: typer.Typer, argv: list[str]) -> int:
    """Run a command line; the exit code."""
    debug = "--debug" in argv
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller (`2>&-`): nobody wants it, and nothing else may get it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal's encoding cannot say
    try:
        code = app(args=argv, standalone_mode=False, prog_name="pyro-vrnn")
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except UserError as error:
        if debug:
            raise
        return _fail(error, argv)
    except UsageError as error:
        if debug:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            return 2
        return _fail(_usage(error), argv)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone (`| head`): no traceback, and nothing more to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            name = f"{str(error.filename)[:60]}…" if error.filename else "a file"
            return _fail(ConfigError(f"{name}: {error.strerror}", "give another name"), argv)
        words = (str(error).strip().splitlines() or [""])[-1][:200]
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower() or "can't allocate" in str(error):
            smaller = "make it smaller: --batch-size, --particles, --steps"
            return _fail(ResourceError(f"out of memory: {words}", smaller), argv)
        text = f"this is a bug: {type(error).__name__}: {error}"
        return _fail(UserError(text, "please report it with the output of the same command and --debug"), argv)
