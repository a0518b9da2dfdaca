"""``alignimation completion``: print what makes a shell complete these commands."""

from __future__ import annotations

import argparse
import os

from alignimation_core.cli.arguments import add_trace

SHELLS = ("bash", "zsh", "fish", "powershell")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``alignimation completion``."""
    parser.add_argument("shell", choices=SHELLS, help="the shell, which is to run what is printed")
    add_trace(parser)


def work(given: argparse.Namespace) -> int:
    """Print a script for the shell."""
    from argcomplete.shell_integration import shellcode

    commands = ["alignimation", "alignimation-run"]
    print(shellcode(commands, shell=given.shell))
    return 0


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks how a line can go on, and end the process; nothing without one."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
