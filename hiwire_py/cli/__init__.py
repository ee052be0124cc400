"""The command `hiwire`: see ``hiwire --help``.

Each command is a file of this package: what it does, its options, and how its result looks. What they share
is in `options` (options, exit codes) and `display` (the terminal). A command returns its exit code; what goes
wrong comes to `main` as an exception and leaves it as one line on the standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from .. import __version__
from ..compare.variants import RequestError
from ..errors import HiwireError
from .build import build_command
from .cache import cache_command
from .compare import compare_command
from .compile import compile_command
from .cycles import cycles_command
from .demo import demo_command
from .display import complain
from .doctor import doctor_command
from .fuse import fuse_command
from .inspect import inspect_command
from .lower import lower_command
from .options import FAILED, INTERRUPTED, OK, USAGE
from .run import run_command
from .stub import stub_command

__all__ = ["command", "main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: its words; None: those of this process.

    Returns:
        The exit code: 0 when all went well, 1 when what was asked could not be done, 2 when it was asked
        wrongly, 130 after Ctrl-C.
    """
    try:
        code = command.main(args, prog_name="hiwire", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else OK
    except click.UsageError as error:
        place = error.ctx.command_path if error.ctx is not None else "hiwire"
        return complain(f"{error.format_message()} (see {place} --help)", USAGE)
    except click.ClickException as error:
        return complain(error.format_message(), error.exit_code)
    except RequestError as error:
        return complain(str(error), USAGE)
    except BrokenPipeError:
        # Whoever read the output has seen enough. Python must not try to flush the rest when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return complain(f"{where}{error.strerror or error}", USAGE)
    except (HiwireError, MemoryError) as error:
        return complain(str(error) or type(error).__name__, FAILED)
    except (click.Abort, KeyboardInterrupt):
        return complain("interrupted", INTERRUPTED)


class _Commands(click.Group):
    """Takes ``demo cycles`` as one name, beside ``demo [FILE]...``; a file called cycles is ./cycles."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if " ".join(args[:2]) in self.commands:
            args = [" ".join(args[:2]), *args[2:]]
        return super().resolve_command(context, args)


@click.group(
    cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, message="hiwire_py %(version)s")
@click.pass_context
def command(context: click.Context) -> None:
    """C code, compiled to WebAssembly, holds Python objects.

    \b
    Examples:
        hiwire doctor                what works on this machine
        hiwire demo                  count the words of real text in C
        hiwire demo cycles           collect cycles through a guest's memory
        hiwire COMMAND --help        examples for each command

    \b
    Exit codes:
        0    all went well
        1    what was asked could not be done, or came out wrong
        2    wrong usage: an unknown option, a bad argument, an unreadable file
        130  interrupted
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _one in (
    build_command,
    cache_command,
    compare_command,
    compile_command,
    cycles_command,
    demo_command,
    doctor_command,
    fuse_command,
    inspect_command,
    lower_command,
    run_command,
    stub_command,
):
    command.add_command(_one)
