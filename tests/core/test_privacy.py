"""What photos tell beside their pixels stays out of what is made of them."""

from PIL import Image

from alignimation_core import run
from alignimation_imageio import APNG, GIF, Frames, Video, WebP

SECRET = "Miss Marple"
GPS, MAKER, ARTIST = 0x8825, 0x010F, 0x013B


def test_frames_and_films_carry_no_place_date_or_name(discs, discs_recipe, tmp_path):
    for name in discs.series(tmp_path / "photos", discs.WARPS[:3]):
        path = tmp_path / "photos" / name
        image = Image.open(path)
        exif = image.getexif()
        exif[MAKER] = exif[ARTIST] = SECRET
        exif[0x0132] = "2008:04:12 09:12:00"
        exif[GPS] = {1: "N", 2: (48.0, 8.0, 14.0), 3: "E", 4: (11.0, 34.0, 31.0)}
        image.save(path, exif=exif, xmp=f"<x>{SECRET}</x>".encode())
    renderers = [
        *(Video(path=f"a.{end}") for end in ("mp4", "mov", "mkv", "webm")),
        *(GIF(), WebP(), APNG(), Frames(), Frames(path="jpegs", format="jpeg")),
    ]
    record = run(discs_recipe(renderers=renderers))
    written = [record.folder / name for name in record.outputs]
    files = [file for path in written for file in ([path] if path.is_file() else path.iterdir())]
    assert len(files) == 7 + 2 * 3
    for file in files:
        data = file.read_bytes()
        assert SECRET.encode() not in data
        assert b"2008:04:12" not in data
        assert b"Exif" not in data
        if file.suffix in (".png", ".jpg", ".gif", ".webp"):
            with Image.open(file) as image:
                assert not image.getexif()
                assert "xmp" not in image.info
