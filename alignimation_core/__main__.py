"""``python -m alignimation_core``: the command ``alignimation``, of this very Python."""

from alignimation_core.cli.verbs import command

if __name__ == "__main__":  # a process that a plugin spawns imports this, too
    command()
