"""Whether the tests of a module can fail: mutmut makes one small fault after another in it.

``python tests/mutants.py geometry`` prints the share of faults that the module's tests see, and
those that they do not. Not run by CI.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "mutants"
CORE = "alignimation_core"
SECTION = "[tool.mutmut]\n"
UNSEEN = (0, 5, 33)  # exit codes: the tests pass, none was collected, none reaches the function

# What is mutated, without .py, and the test files that must see it, below tests/.
MODULES = {
    f"{CORE}/api/geometry": [
        "core/api/test_geometry.py",
        "core/api/test_geometry_crop.py",
        "core/api/test_geometry_grid.py",
        "core/api/test_geometry_photo.py",
    ],
    f"{CORE}/api/images": ["core/api/test_images.py"],
    f"{CORE}/api/registration/procrustes": [
        "core/api/test_procrustes.py",
        "core/api/test_geometry.py",
    ],
    f"{CORE}/api/registration/__init__": ["core/api/test_registration.py"],
    "plugins/alignimation_kornia/_registration": [
        "plugins/test_kornia_failures.py",
        "plugins/test_kornia_models.py",
    ],
    "plugins/alignimation_targets": ["plugins/test_targets.py", "plugins/test_targets_numbers.py"],
    f"{CORE}/photos/metadata": ["core/photos/test_photo_facts.py", "core/photos/test_photos.py"],
    f"{CORE}/photos/dates/embedded": ["core/photos/dates/test_embedded.py"],
    f"{CORE}/photos/dates/names": ["core/photos/dates/test_names.py"],
    f"{CORE}/photos/dates/taken": ["core/photos/dates"],
    f"{CORE}/photos/order": ["core/photos/test_order.py"],
    f"{CORE}/photos/decoder": ["core/photos/test_photo_facts.py", "core/photos/test_photos.py"],
    f"{CORE}/photos/decoding/colour": ["core/photos/test_colours.py"],
    f"{CORE}/photos/decoding/jpeg": [
        "core/photos/test_damaged.py",
        "core/photos/test_photos.py",
        "core/photos/test_reduced.py",
    ],
    f"{CORE}/photos/decoding/orientation": [
        "core/photos/test_photos.py",
        "core/photos/test_reduced.py",
    ],
    f"{CORE}/detection/selection": ["core/detection/test_selection.py"],
    "plugins/alignimation_subject": ["plugins/test_subject.py"],
    f"{CORE}/rendering/framing": [
        "core/rendering/test_framing.py",
        "core/rendering/test_framing_shown.py",
    ],
    f"{CORE}/rendering/frames": [
        "core/rendering/test_background.py",
        "core/rendering/test_frame_pixels.py",
        "core/rendering/test_frames.py",
    ],
    f"{CORE}/output/folder": ["core/output/test_folder.py", "core/output/test_ownership.py"],
    f"{CORE}/api/weights": ["core/api/test_weights.py"],
    f"{CORE}/store/codec": ["promises/test_store.py", "core/store/test_store.py"],
    f"{CORE}/store/database": ["promises/test_store.py", "core/store/test_store.py"],
    f"{CORE}/store/detections": ["promises/test_store.py", "core/store/test_store.py"],
    f"{CORE}/store/fits": ["core/alignment/test_fits.py", "promises/test_store.py"],
    f"{CORE}/store/store": ["core/photos/test_reader.py", "core/store/test_store.py"],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="names, or parts of names, of modules; all")
    parser.add_argument("--digits", default="0-9", help="mutants of which last digits: a sample")
    chosen = parser.parse_args()
    wanted = [each for each in MODULES if any(part in each for part in chosen.modules or [""])]
    for module in wanted:
        place = BUILD / module.replace("/", ".")
        prepare(place, module, MODULES[module])
        run(place, f"*[{chosen.digits}]")
        report(place, module)


def prepare(place, module, tests):
    """Copy the project, its plugins beside the core: mutmut names modules by their paths."""
    shutil.rmtree(place, ignore_errors=True)
    listed = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    for name in subprocess.check_output(listed, cwd=ROOT, text=True).split("\0"):
        if not (ROOT / name).is_file():
            continue
        copy = place / name.removeprefix("plugins/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy)
    packages = sorted(path.name for path in place.glob("alignimation_*"))
    mutated = module.removeprefix("plugins/")
    own = {
        "source_paths": packages,
        "only_mutate": [f"{mutated}.py", f"{mutated}/*.py"],
        "pytest_add_cli_args_test_selection": [f"tests/{each}" for each in tests],
    }
    settings = "".join(f"{key} = {json.dumps(value)}\n" for key, value in own.items())
    project = place / "pyproject.toml"
    project.write_text(project.read_text().replace(SECTION, SECTION + settings))


def run(place, mutants):
    mutmut = Path(sys.executable).with_name("mutmut")
    subprocess.run(
        [mutmut, "run", "--max-children", "1", mutants],
        cwd=place,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
    )


def report(place, module):
    codes = {}
    for path in (place / "mutants").rglob("*.meta"):
        codes |= json.loads(path.read_text())["exit_code_by_key"]
    tried = {name: code for name, code in codes.items() if code is not None}
    unseen = [name for name, code in tried.items() if code in UNSEEN]
    seen = len(tried) - len(unseen)
    print(f"{module}: {seen} of {len(tried)} faults seen, {seen / len(tried):.0%}")
    if unseen:
        print(f"unseen; to look at them: cd {place}; mutmut show NAME", *unseen, sep="\n  ")


if __name__ == "__main__":
    main()
