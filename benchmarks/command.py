"""How quickly the command answers: ``python benchmarks/command.py``."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

RECIPE = Path(__file__).parents[1] / "examples" / "quickstart" / "recipe.yaml"
COMMAND = Path(sys.executable).with_name("alignimation-run")
ROWS = {
    "--help": (["--help"], 0.25),
    "--check": ([str(RECIPE), "--check"], 0.8),
    "--list": (["--list"], None),
}
RUNS = 11


def main() -> None:
    """Print the table: median wall and processor seconds of whole processes."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'command':<12}{'wall s':>8}{'cpu s':>8}{'aim s':>8}")
    for name, (arguments, aim) in ROWS.items():
        wall, cpu = [], []
        for _ in range(RUNS):
            before, begun = os.times(), time.perf_counter()
            subprocess.run([COMMAND, *arguments], check=True, capture_output=True)
            wall.append(time.perf_counter() - begun)
            after = os.times()
            cpu.append(
                after.children_user
                + after.children_system
                - before.children_user
                - before.children_system
            )
        middle = statistics.median(wall), statistics.median(cpu)
        print(f"{name:<12}{middle[0]:8.2f}{middle[1]:8.2f}{aim if aim else '-':>8}")


if __name__ == "__main__":
    main()
