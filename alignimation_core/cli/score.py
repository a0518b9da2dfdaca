"""``alignimation score``: tell how still the subject stands in a folder of frames, of any tool."""

from __future__ import annotations

import argparse
from pathlib import Path

from alignimation_core.cli.arguments import add_trace
from alignimation_core.cli.process import interrupts_held, prints_to_stderr


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``alignimation score``."""
    parser.add_argument("frames", type=Path, help="a folder of frames, all of one size")
    parser.add_argument(
        "--detector",
        metavar="NAME",
        help="who looks for the subject; if absent, the installed detector of faces that costs "
        "least",
    )
    add_trace(parser)


def work(given: argparse.Namespace) -> int:
    """Print the score of the frames."""
    with interrupts_held():
        from alignimation_core.progress import progress_for_terminal
        from alignimation_core.scoring.folder import frames_in, judge_named, score_frames
        from alignimation_core.scoring.score import MOST, line

    judge = judge_named(given.detector)
    frames = frames_in(given.frames)
    progress = progress_for_terminal()
    with prints_to_stderr(), progress.stage("scoring", min(MOST, len(frames))) as step:
        score = score_frames(frames, judge, step)
    print(line(score))
    return 0 if "note" not in score else 1
