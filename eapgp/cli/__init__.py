"""The command line. `eapgp --help` lists the commands; each module registers its own.

Exit codes: 0 done; 2 what was asked for cannot be done as asked; 1 it failed; 130 interrupted.
Standard output holds the reply and nothing else; with --json exactly one JSON object, also for
errors: {"error": {"type": …, "message": …}}, and what of it a program may want beside these.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

import typer

from eapgp import __version__
from eapgp.cli.options import with_bare_bos
from eapgp.cli.output import DEBUG_VARIABLE, launched, print_json
from eapgp.errors import DISK_FULL, Cancelled, EapgpError, InputError, OptionError, is_panic, legible

MODULES: Mapping[str, tuple[str, ...]] = {
    "attribute": ("attribute", "exact"),
    "evaluate": ("evaluate",),
    "roles": ("roles",),
    "attention": ("attention",),
    "positions": ("positions",),
    "mechanisms": ("mechanisms",),
    "reference": ("reference",),
    "agree": ("compare", "ground-truth"),
    "convert": ("import", "export"),
    "library": ("runs",),
    "catalogue": ("models", "tasks", "methods"),
    "prompts": ("prompts",),
    "dashboard": ("app",),
    "visitors": ("visitors",),
    "study": ("sweep", "reproduce"),
    "bench": ("bench",),
}
"""Each has register(app), which adds these commands; a new group of commands is a module and its row here."""
TOGETHER = ("attribute", "exact")
"""Commands that torchrun may start in several processes."""
PROGRAM = "eapgp"
PLACES = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, FileExistsError)
OF_A_PLACE = (errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS)
OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


def build(asked: str = "") -> typer.Typer:
    """The application with every command, or with those of one module where it is known which one is asked for.

    Imports no torch.
    """
    app = typer.Typer(
        name=PROGRAM,
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Find and see circuits in transformer language models: EAP, EAP-IG, EAP-GP and their relatives.",
    )

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        pass

    for name in [name for name, commands in MODULES.items() if asked in commands] or MODULES:
        importlib.import_module(f"eapgp.cli.{name}").register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code."""
    words = with_bare_bos(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold bytes that are no text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        _check_launch(words)
        code = typer.main.get_command(build(*words[:1])).main(words, prog_name=PROGRAM, standalone_mode=False)
    except (Cancelled, KeyboardInterrupt, typer.Abort) as error:
        return _fail(INTERRUPTED, "Cancelled", str(error) or "interrupted.", as_json)
    except InputError as error:
        return _fail(BAD_INPUT, type(error).__name__, str(error), as_json, error.details)
    except EapgpError as error:
        return _fail(FAILED, type(error).__name__, str(error), as_json, error.details)
    except PLACES as error:
        return _place(error, as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        return _place(error, as_json) if error.errno in (*OF_A_PLACE, *DISK_FULL) else _unexpected(error, as_json)
    except Exception as error:
        return _unexpected(error, as_json)
    except BaseException as error:
        if not is_panic(error):
            raise
        return _unexpected(error, as_json)
    return code if isinstance(code, int) else OK


def _check_launch(words: Sequence[str]) -> None:
    """Errors: OptionError where torchrun would only do the same work several times."""
    if launched() and not {*words[:1]} & {*TOGETHER}:
        name = words[0] if words else "no command"
        raise OptionError(f"torchrun: expected one of {', '.join(TOGETHER)}, got {name}; run it without torchrun.")


def _place(error: OSError, as_json: bool) -> int:
    """A path that is not what it should be; its name is what the user can mend."""
    if error.filename is None:
        return _unexpected(error, as_json)
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()
    if error.errno in DISK_FULL:
        place = error.filename2 or error.filename  # of a copy, where it goes
        text = f"{place}: expected room for this file, got {error.strerror}; free space and run it again."
        return _fail(FAILED, "ComputationError", text, as_json)
    text = f"{error.filename}: expected a place that can be read and written, got {error.strerror}; check the path."
    return _fail(BAD_INPUT, type(error).__name__, text, as_json)


def _unexpected(error: BaseException, as_json: bool) -> int:
    if _is_usage_error(error):
        text = " ".join(error.format_message().split()).rstrip(".")  # type: ignore[attr-defined]
        if not text and not as_json:  # a group called without a command has printed its help
            return BAD_INPUT
        context = getattr(error, "ctx", None)
        where = f" See '{context.command_path} --help'." if context is not None else ""
        return _fail(BAD_INPUT, "UsageError", f"{text or 'no command given'}.{where}", as_json)
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()
    detail = " ".join(str(error).split())[:400]
    message = f"{type(error).__name__}: {detail} (set {DEBUG_VARIABLE}=1 to see where)."
    return _fail(FAILED, type(error).__name__, message, as_json)


def _is_usage_error(error: BaseException) -> bool:
    usage_error: Any = typer.BadParameter.__mro__[1]
    return isinstance(error, usage_error)


def _fail(code: int, kind: str, message: str, as_json: bool, details: Mapping[str, Any] = MappingProxyType({})) -> int:
    line = legible(" ".join(message.split()))
    if as_json:
        print_json({"error": {"type": kind, "message": line, **details}})
    print(f"{PROGRAM}: {line}", file=sys.stderr)
    return code
