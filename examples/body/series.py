"""What each photo of the series shows: week, look, place, light and where she stands in it."""

from __future__ import annotations

from dataclasses import dataclass

from figure import Hair
from shots import Shot, hopper, subject


@dataclass(frozen=True)
class Moment:
    """One photo: ``week`` of the pregnancy, her hair, and the shot as in the quickstart.

    ``subject`` places the middle of her eyes, their distance and her tilt, clockwise.
    """

    week: int
    hair: Hair
    shot: Shot

    @property
    def belly(self) -> float:
        """Growth, 0 flat to 1 at term: slow at first."""
        return min(max((self.week - 8) / 31, 0.0), 1.0) ** 1.3


SERIES = (
    Moment(8, "short", Shot("IMG_0108.jpg", "2020-01-05T10:12:00", (720, 960), "living_room",
        (subject(330, 250, 66, 2),), light_from=165, white_balance=(1.03, 1.0, 0.94))),
    Moment(11, "up", Shot("IMG_0131.jpg", "2020-01-26T10:30:12", (720, 900), "kitchen",
        (subject(360, 250, 60, -5),), light_from=30, camera_tilt=-2)),
    Moment(14, "short", Shot("DSC00207.jpg", "2020-02-16T11:02:45", (960, 720), "brick_wall",
        (subject(430, 160, 50, 4),), defocus=0.004, light_from=150, shadow=0.6)),
    Moment(16, "down", Shot("IMG_0186.jpg", "2020-03-01T09:48:31", (720, 960), "library",
        (subject(300, 300, 74, -3),), light_from=40, white_balance=(1.08, 0.99, 0.82))),
    Moment(18, "up", Shot("IMG_0219.jpg", "2020-03-15T16:20:05", (768, 1024), "garden",
        (subject(350, 320, 64, 8),), defocus=0.024, light_from=60, camera_tilt=2)),
    Moment(20, "short", Shot("DSC00341.jpg", "2020-03-29T15:11:40", (960, 720), "terrace",
        (hopper(800, 500, 50, -3), subject(360, 160, 52, -6)), defocus=0.014, light_from=70)),
    Moment(22, "down", Shot("IMG_0262.jpg", "2020-04-12T10:05:22", (720, 900), "studio",
        (subject(320, 235, 63, 3),), light_from=110, light_slope=0.7)),
    Moment(24, "up", Shot("IMG_0290.jpg", "2020-04-26T13:45:10", (960, 720), "museum",
        (subject(470, 175, 52, 9),), defocus=0.007, light_from=100, person_gain=0.9)),
    Moment(25, "short", Shot("IMG_0301.jpg", "2020-05-03T10:40:00", (720, 960), "kitchen",
        (), light_from=30)),
    Moment(26, "down", Shot("IMG_0318.jpg", "2020-05-10T17:30:51", (720, 960), "beach",
        (subject(315, 300, 62, -8),), light_from=30, person_gain=1.1, camera_tilt=-3)),
    Moment(28, "up", Shot("IMG_0342.jpg", "2020-05-24T10:22:09", (720, 960), "living_room",
        (subject(380, 250, 66, 5),), light_from=165, white_balance=(1.05, 1.0, 0.9))),
    Moment(30, "short", Shot("DSC00412.jpg", "2020-06-07T20:41:03", (960, 720), "lake",
        (subject(400, 170, 49, -4),), light_from=10, light_slope=0.9, person_gain=0.85)),
    Moment(32, "down", Shot("IMG_0388.jpg", "2020-06-21T12:15:40", (720, 900), "mountains",
        (subject(225, 215, 64, 3),), defocus=0.009, light_from=80)),
    Moment(34, "up", Shot("IMG_0409.jpg", "2020-07-05T11:09:58", (1024, 768), "garden",
        (hopper(140, 626, 48, 0), subject(560, 170, 55, -3)), defocus=0.022, light_from=50)),
    Moment(36, "short", Shot("IMG_0431.jpg", "2020-07-19T09:58:27", (720, 960), "library",
        (subject(320, 235, 68, -7),), light_from=40, white_balance=(1.06, 0.99, 0.86))),
    Moment(39, "down", Shot("IMG_0460.jpg", "2020-08-09T10:01:13", (720, 960), "living_room",
        (subject(330, 245, 67, 4),), light_from=165, white_balance=(1.03, 1.0, 0.93))),
)  # fmt: skip
