"""What each quickstart photo shows, when it was taken and in which light."""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Placement:
    """Where a person is.

    ``x``, ``y``: the middle between her eyes, and ``eye_distance``, in pixels of the upright
    photo. ``tilt``: degrees, clockwise.
    """

    x: float
    y: float
    eye_distance: float
    tilt: float = 0.0


@dataclass(frozen=True)
class Ledge:
    """A low wall across the photo from ``top`` (pixels) down, of colour ``tint`` (linear RGB)."""

    top: float
    tint: Colour


@dataclass(frozen=True)
class Shot:
    """One photo.

    ``size``: (w, h), upright. ``layers``: the people and ledges in the scene, back to front.
    ``offset``: the camera's UTC offset. ``in_exif``: False where only the file name has the date.
    ``light_from``: degrees, 0 from the right of the photo, 90 from above; ``light_slope`` its
    strength and ``shadow`` that of the shadow it casts on the background. ``defocus``: radius of
    the background's blur disc as a fraction of the height. ``softness``: sigma of the blur of the
    whole photo in pixels. ``noise``: amplitude, white being 1.
    """

    file: str
    taken: str
    size: tuple[int, int]
    scene: str
    layers: tuple[tuple[str, Placement] | Ledge, ...]
    offset: str | None = None
    in_exif: bool = True
    orientation: int = 1
    camera_tilt: float = 0.0
    defocus: float = 0.016
    light_from: float = 60.0
    light_slope: float = 0.5
    shadow: float = 0.0
    person_gain: float = 1.0
    place_gain: float = 1.0
    white_balance: Colour = (1.0, 1.0, 1.0)
    exposure: float = 1.0
    saturation: float = 1.0
    softness: float = 0.5
    noise: float = 0.008


def subject(x: float, y: float, eye_distance: float, tilt: float = 0.0) -> tuple[str, Placement]:
    """The subject as a layer."""
    return "subject", Placement(x, y, eye_distance, tilt)


def hopper(x: float, y: float, eye_distance: float, tilt: float = 0.0) -> tuple[str, Placement]:
    """The second person as a layer."""
    return "hopper", Placement(x, y, eye_distance, tilt)


SHOTS = (
    Shot("DSC01377.jpg", "2016-03-12T14:21:07", (1024, 768), "living_room",
         (subject(600, 250, 62, 3),), camera_tilt=1.5, light_from=165, light_slope=0.9,
         white_balance=(1.04, 1.0, 0.92)),
    Shot("IMG_2041.jpg", "2016-05-21T11:02:45", (960, 720), "garden",
         (subject(380, 262, 60, -8),), camera_tilt=-2, defocus=0.024, light_from=60,
         offset="+02:00", white_balance=(0.97, 1.02, 0.95), exposure=1.05),
    Shot("DSC01502.jpg", "2016-08-06T17:48:12", (1024, 768), "beach",
         (subject(320, 290, 78, 6),), camera_tilt=2.5, light_from=30, light_slope=1.0,
         person_gain=1.12, exposure=1.06, white_balance=(1.05, 1.0, 0.93)),
    Shot("IMG_1987.jpg", "2016-10-15T15:33:50", (768, 1024), "autumn",
         (subject(350, 560, 70, 12),), camera_tilt=2, defocus=0.018, light_from=120,
         white_balance=(1.08, 1.0, 0.86)),
    Shot("P1000213.jpg", "2016-12-24T19:10:31", (900, 600), "party",
         (subject(330, 215, 52, -5),), camera_tilt=-1, defocus=0.024, light_from=20,
         person_gain=0.72, white_balance=(1.14, 0.97, 0.72), softness=0.8, noise=0.02,
         exposure=1.1),
    Shot("DSC00988.jpg", "2017-02-11T13:05:00", (1024, 768), "snow",
         (subject(690, 350, 54, -12),), camera_tilt=-1.5, light_slope=0.2, place_gain=0.9,
         white_balance=(0.94, 1.0, 1.1), saturation=0.9),
    Shot("IMG_0412.jpg", "2017-04-29T16:40:19", (960, 720), "brick_wall",
         (subject(520, 245, 68, 9),), camera_tilt=-1, defocus=0.004, light_from=150,
         light_slope=0.9, shadow=0.72, person_gain=0.9, saturation=1.05,
         white_balance=(1.05, 1.0, 0.9)),
    Shot("100_0764.jpg", "2017-06-17T10:05:22", (1024, 768), "terrace",
         (subject(330, 268, 55, 4), hopper(760, 430, 82, -4)), defocus=0.014, light_from=70,
         person_gain=1.05, white_balance=(1.02, 1.0, 0.95)),
    Shot("IMG_0587.jpg", "2017-06-17T20:41:03", (960, 720), "street",
         (subject(540, 318, 57, 15),), camera_tilt=3, defocus=0.03, light_from=200,
         person_gain=0.5, light_slope=0.9, white_balance=(0.82, 0.96, 1.3), exposure=1.15,
         noise=0.022, softness=0.7, saturation=0.92),
    Shot("DSC02210.jpg", "2017-09-02T12:15:40", (1024, 768), "mountains",
         (subject(740, 390, 46, -4),), camera_tilt=-1, defocus=0.009, light_from=80,
         exposure=1.05, offset="+02:00"),
    Shot("IMG_3345.jpg", "2017-11-18T18:22:09", (1024, 768), "library",
         (hopper(886, 348, 52, 3), Ledge(585, (0.13, 0.065, 0.03)), subject(400, 250, 70, -6)),
         light_from=40, person_gain=0.8, white_balance=(1.1, 0.98, 0.78), exposure=1.05,
         noise=0.014, softness=0.6),
    Shot("DSC00731.jpg", "2018-01-20T17:52:51", (1024, 683), "launch_pad",
         (subject(290, 262, 50, -2),), defocus=0.007, light_from=10, person_gain=0.55,
         place_gain=0.9, white_balance=(0.95, 0.98, 1.12), exposure=1.25, noise=0.016),
    Shot("IMG_20180407_153012.jpg", "2018-04-07T15:30:12", (768, 1024), "kitchen",
         (subject(400, 420, 84, -14),), camera_tilt=-2, orientation=6, light_from=30,
         light_slope=0.8, offset="+02:00"),
    Shot("IMG-20180704-WA0003.jpg", "2018-07-04", (800, 600), "lake",
         (subject(300, 225, 45, 7),), in_exif=False, camera_tilt=2, light_from=10,
         light_slope=1.2, person_gain=0.8, white_balance=(1.08, 0.98, 0.86), softness=0.8),
    Shot("DSC03109.jpg", "2018-09-22T10:30:00", (900, 600), "studio",
         (subject(430, 200, 75, 2),), light_from=110, light_slope=0.7, exposure=1.05),
    Shot("IMG_0099.jpg", "2018-12-08T14:07:36", (960, 720), "museum",
         (subject(290, 300, 50, -7), hopper(690, 400, 94, -3)), defocus=0.007,
         light_from=100, person_gain=0.85,
         white_balance=(1.0, 1.0, 1.02), noise=0.014),
    Shot("IMG_4410.jpg", "2019-02-23T11:45:10", (960, 640), "living_room",
         (hopper(430, 362, 102, -3),), light_from=170, light_slope=0.9, offset="+01:00",
         white_balance=(0.98, 1.0, 1.04)),
    Shot("PXL_20190612_143501123.jpg", "2019-06-12T14:35:01", (1024, 768), "beach",
         (subject(606, 462, 47, -16),), in_exif=False, camera_tilt=-4, light_from=120,
         light_slope=0.8, exposure=1.12, white_balance=(1.0, 1.0, 1.0)),
    Shot("DSC00017.jpg", "2019-08-31T16:20:44", (1024, 768), "garden",
         (hopper(270, 510, 57, -6), subject(660, 215, 64, 5)), defocus=0.022, light_from=50,
         white_balance=(1.08, 1.0, 0.84), exposure=0.98),
    Shot("IMG_5127.jpg", "2019-11-16T09:58:27", (1024, 768), "kitchen",
         (subject(450, 300, 86, 10),), camera_tilt=1, light_from=20, light_slope=1.0,
         white_balance=(0.95, 1.0, 1.08), exposure=1.05),
)  # fmt: skip
