"""The commands: arguments and exit codes, nothing else."""

from alignimation_core.cli.run import command, main

__all__ = ["command", "main"]
