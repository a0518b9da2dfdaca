import dataclasses
import logging
import math
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alignimation_core import Choice, Detections, Embedder, Observation, Photo
from alignimation_subject import (
    Centre,
    FacingForward,
    Identity,
    Largest,
    MostConfident,
    Track,
    alignimation_subject_selectors,
)

NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
FORWARD = ((60.0, 40.0), (40.0, 40.0), (50.0, 50.0), (58.0, 62.0), (42.0, 62.0))
EYES_ASIDE = ((56.0, 40.0), (30.0, 40.0), (54.0, 50.0), (62.0, 62.0), (46.0, 62.0))


def see(
    vectors=None,
    *,
    boxes=None,
    points=None,
    names=NAMES,
    scores=None,
    name="0.jpg",
    content=None,
    same=0.5,
):
    """One photo of 1000 x 1000 pixels, with faces side by side unless `boxes` says otherwise."""
    count = len(vectors if vectors is not None else boxes)
    width = len(vectors[0]) if vectors else 8
    if boxes is None:
        boxes = [[i * 30.0, 0.0, i * 30.0 + 20, 20.0] for i in range(count)]
    return Observation(
        photo=Photo(
            path=Path("/photos") / name,
            name=f"photos/{name}",
            sha256=name if content is None else content,
            height=1000,
            width=1000,
            taken=datetime(2020, 1, 1) + timedelta(days=1),
            taken_from="exif",
        ),
        detections=Detections(
            boxes=torch.tensor(boxes).reshape(count, 4),
            scores=torch.ones(count) if scores is None else torch.tensor(scores),
            keypoints=torch.tensor(points or [FORWARD] * count).reshape(count, 5, 2)
            if names
            else None,
            keypoint_names=names,
        ),
        embeddings=None if vectors is None else torch.tensor(vectors).reshape(count, width),
        same_above=same,
    )


def series(*photos, **options):
    return [see(vectors, name=f"{i}.jpg", **options) for i, vectors in enumerate(photos)]


def axis(i, size=8):
    return [float(i == j) for j in range(size)]


def between(i, j, cosine, size=8):
    """A unit vector at a known cosine from axis i, towards axis j."""
    vector = [0.0] * size
    vector[i], vector[j] = cosine, math.sqrt(1 - cosine**2)
    return vector


SUBJECT, FRIEND, STRANGER = axis(0), axis(1), axis(2)


def indices(choices):
    return [choice.index for choice in choices]


def test_the_plugin_gives_its_selectors_under_their_names():
    assert {stage.name: stage for stage in alignimation_subject_selectors()} == {
        "largest": Largest,
        "centre": Centre,
        "most-confident": MostConfident,
        "track": Track,
        "identity": Identity,
    }


# largest


def test_largest_takes_the_largest_box():
    seen = see(boxes=[[0, 0, 10, 10], [0, 0, 30, 9], [0, 0, 12, 12]], scores=[0.9, 0.5, 0.8])
    assert Largest().select([seen]) == [Choice(1)]
    wide_and_thin = see(boxes=[[0, 0, 40, 4], [0, 0, 10, 10], [0, 0, 9, 30]])
    high_and_thin = see(boxes=[[0, 0, 4, 40], [0, 0, 10, 10], [0, 0, 30, 9]])
    assert Largest().select([wide_and_thin, high_and_thin]) == [Choice(2), Choice(2)]


def test_largest_prefers_the_higher_score_then_the_first_among_equal_boxes():
    boxes = [[0.0, 0.0, 10.0, 10.0]] * 3
    assert indices(Largest().select([see(boxes=boxes, scores=[0.5, 0.9, 0.9])])) == [1]


def test_largest_rejects_a_photo_without_detections():
    assert Largest().select([see(boxes=[])]) == [
        Choice(None, reason="nothing was found in this photo")
    ]


def test_largest_needs_no_keypoints_unless_gated():
    assert Largest().requires() == frozenset()
    assert Largest(facing_forward=True).requires() == {
        "keypoints.nose",
        "keypoints.left_eye",
        "keypoints.right_eye",
    }
    seen = see(boxes=[[0.0, 0.0, 1.0, 1.0]], names=())
    assert indices(Largest().select([seen])) == [0]


def test_largest_does_not_fall_back_to_somebody_else_when_the_largest_looks_away():
    seen = see(boxes=[[0.0, 0.0, 50.0, 50.0], [0.0, 0.0, 9.0, 9.0]], points=[EYES_ASIDE, FORWARD])
    assert indices(Largest().select([seen])) == [0]
    assert indices(Largest(facing_forward=True).select([seen])) == [None]


# facing forward


def facing(points, names=NAMES, scores=None, **options):
    detections = Detections(
        boxes=torch.zeros(1, 4),
        scores=torch.ones(1),
        keypoints=torch.tensor([points]),
        keypoint_names=names,
        keypoint_scores=None if scores is None else torch.tensor([scores]),
    )
    (reason,) = FacingForward(**options).reasons_against([detections.subject(0)])
    return reason


def test_a_symmetric_face_faces_forward_even_at_the_strictest_ratio():
    assert facing(FORWARD, min_ratio=1.0) is None


def test_a_face_turned_aside_is_refused_with_its_ratio():
    # the nose is (2, 10) from one eye and (24, 10) from the other: sqrt(104 / 676) = 0.39
    assert facing(EYES_ASIDE) == (
        "the subject looks away (nose to eye 0.39, needed 0.70); `facing_forward: false` keeps it"
    )
    assert facing(EYES_ASIDE, min_ratio=0.39) is None


def test_the_ratio_is_of_distances_so_the_original_threshold_is_its_square_root():
    # distances 8 and 10: ratio 0.8, of squares 0.64
    points = ((58.0, 50.0), (40.0, 50.0), (50.0, 50.0), (58.0, 62.0), (42.0, 62.0))
    assert facing(points, min_ratio=0.7) is None
    assert facing(points, min_ratio=math.sqrt(0.7)) == (
        "the subject looks away (nose to eye 0.80, needed 0.84); `facing_forward: false` keeps it"
    )


def test_the_mouth_alone_can_give_a_turned_face_away():
    points = (*FORWARD[:3], (56.0, 58.0), (34.0, 62.0))
    assert facing(points) == (
        "the subject looks away (nose to mouth 0.50, needed 0.70); `facing_forward: false` keeps it"
    )
    assert facing(points[:3], NAMES[:3]) is None
    assert facing(points, scores=[1.0, 1.0, 1.0, 0.0, 1.0]) is None


def test_an_eye_that_was_not_found_is_named():
    assert facing(FORWARD, scores=[1.0, 0.0, 1.0, 1.0, 1.0]) == (
        "the subject may look away (its right_eye was not found); `facing_forward: false` keeps it"
    )


def test_features_that_fall_together_do_not_face_forward():
    assert facing(((5.0, 5.0),) * 5) == (
        "the subject looks away (nose to eye 0.00, needed 0.70); `facing_forward: false` keeps it"
    )


def test_numbers_that_look_equal_get_more_decimals():
    points = ((60.0, 50.0), (43.0, 50.0), (50.0, 50.0), (58.0, 62.0), (42.0, 62.0))
    assert facing(points, min_ratio=0.702) == (
        "the subject looks away (nose to eye 0.700, needed 0.702); `facing_forward: false` keeps it"
    )


@pytest.mark.parametrize(
    ("given_as", "gate"),
    [
        (True, FacingForward(min_ratio=0.7)),
        (False, None),
        (None, None),
        ({"min_ratio": 0.5}, FacingForward(min_ratio=0.5)),
    ],
)
def test_the_gate_can_be_switched_or_set(given_as, gate):
    assert Identity(facing_forward=given_as).facing_forward == gate


def test_the_gate_is_on_for_identity_alone():
    assert Identity().facing_forward == FacingForward(min_ratio=0.7)
    assert Largest().facing_forward is None


def test_the_schema_allows_the_short_forms_of_the_gate():
    kinds = Identity.model_json_schema()["properties"]["facing_forward"]["anyOf"]
    assert {"type": "boolean"} in kinds


@pytest.mark.parametrize(
    "options", [{"facing_forward": {"min_ratoi": 1}}, {"facing_forward": {"min_ratio": 1.1}}]
)
def test_a_wrong_gate_is_refused(options):
    with pytest.raises(ValidationError, match="min_rat"):
        Identity(**options)


# identity


def test_identity_needs_embeddings_and_the_gate_its_keypoints():
    assert Identity(facing_forward=False).requires() == {"embeddings"}
    assert Identity().requires() == {
        "embeddings",
        "keypoints.nose",
        "keypoints.left_eye",
        "keypoints.right_eye",
    }


def test_the_subject_is_found_beside_larger_people_who_appear_often():
    large, small = [[0.0, 0.0, 500.0, 500.0], [500.0, 0.0, 510.0, 10.0]], None
    seen = [see([FRIEND, SUBJECT], boxes=large, name=f"{i}.jpg") for i in range(6)]
    seen += [see([SUBJECT], boxes=small, name=f"{i}.jpg") for i in range(6, 9)]
    assert indices(Identity().select(seen)) == [1] * 6 + [0] * 3


def test_a_photo_without_the_subject_is_rejected_with_its_best_similarity():
    seen = series([SUBJECT], [SUBJECT], [STRANGER, between(0, 3, 0.31)])
    assert Identity().select(seen) == [
        Choice(0, similarity=1.0),
        Choice(0, similarity=1.0),
        Choice(
            None,
            reason="no face here is like the subject's (0.31; at least 0.50 asked)",
            similarity=pytest.approx(0.31, abs=1e-6),
            candidate=1,
        ),
    ]


def test_the_threshold_of_the_recipe_goes_before_that_of_the_embedder():
    seen = series([SUBJECT], [SUBJECT], [between(0, 3, 0.31)])
    assert indices(Identity(min_similarity=0.3).select(seen)) == [0, 0, 0]
    assert indices(Identity(min_similarity=0.6).select(seen)) == [0, 0, None]


def test_an_almost_sufficient_similarity_is_told_with_enough_decimals():
    seen = series([SUBJECT], [SUBJECT], [SUBJECT], [between(0, 3, 0.4996)])
    assert Identity().select(seen)[3].reason == (
        "no face here is like the subject's (0.4996; at least 0.5000 asked)"
    )


def test_two_faces_that_are_too_alike_are_not_told_apart():
    # the twins are too far from the first axis to be of the subject's core
    twins = [between(0, 3, 0.71), between(0, 4, 0.70)]
    seen = [*series(*[[SUBJECT]] * 400), see(twins, name="twins.jpg")]
    assert Identity().select(seen)[-1] == Choice(
        None,
        reason="uncertain (two here are alike: 0.71 and 0.70)",
        similarity=pytest.approx(0.71, abs=1e-4),
        candidate=0,
    )
    assert Identity(min_margin=0.005).select(seen)[-1].index == 0


@pytest.mark.parametrize(("cosine", "index"), [(0.64, 0), (0.67, None)])
def test_the_margin_left_out_is_a_tenth_of_the_way_from_the_threshold_to_one(cosine, index):
    two = [between(0, 3, 0.71), between(0, 4, cosine)]  # needed 0.50, so a lead of 0.05
    seen = [*series(*[[SUBJECT]] * 400), see(two, name="two.jpg")]
    assert Identity().select(seen)[-1].index == index


def test_a_lead_that_is_just_the_least_one_suffices():
    apart = [[0.0, 0.0, 20.0, 20.0], [50.0, 0.0, 70.0, 20.0]]
    seen = [see([SUBJECT], name="0.jpg"), see([SUBJECT, SUBJECT], boxes=apart, name="1.jpg")]
    assert indices(Identity().select(seen)) == [0, None]
    assert indices(Identity(min_margin=0.0).select(seen)) == [0, 0]


def test_one_face_that_was_found_twice_is_no_runner_up():
    boxes = [[0.0, 0.0, 20.0, 20.0], [2.0, 2.0, 21.0, 21.0]]
    seen = [see([SUBJECT], name="0.jpg"), see([SUBJECT, SUBJECT], boxes=boxes, name="1.jpg")]
    assert indices(Identity().select(seen)) == [0, 0]


def test_a_subject_who_looks_away_is_rejected_and_nobody_else_taken_for_it():
    seen = series([SUBJECT], [SUBJECT])
    seen.append(see([SUBJECT, FRIEND], points=[EYES_ASIDE, FORWARD], name="aside.jpg"))
    assert Identity().select(seen)[2] == Choice(
        None,
        reason="the subject looks away (nose to eye 0.39, needed 0.70); "
        "`facing_forward: false` keeps it",
        similarity=1.0,
        candidate=0,
    )
    assert indices(Identity(facing_forward=False).select(seen)) == [0, 0, 0]


def test_photos_without_detections_are_rejected():
    nothing = Choice(None, reason="nothing was found in this photo")
    empty = Observation(see([SUBJECT]).photo, Detections.empty(NAMES), torch.zeros(0, 8), 0.5)
    bare = Observation(see([SUBJECT]).photo, Detections.empty(NAMES))
    assert Identity().select([]) == []
    assert Identity().select([empty, bare]) == [nothing, nothing]
    assert Identity().select([empty, see([SUBJECT]), bare, see([SUBJECT])]) == [
        nothing,
        Choice(0, similarity=1.0),
        nothing,
        Choice(0, similarity=1.0),
    ]


def test_the_mean_weighs_each_face_by_the_faces_in_its_photo():
    crowd = [between(0, 3, 0.95), *([axis(i, 8) for i in (4, 5, 6, 7)] * 8)[:30]]
    seen = series([SUBJECT], [SUBJECT], crowd)
    mean = torch.tensor(SUBJECT) * 2 + torch.tensor(crowd[0]) / 31
    mean /= mean.norm()
    for choice, vector in zip(Identity().select(seen), (SUBJECT, SUBJECT, crowd[0]), strict=True):
        assert choice.index == 0
        assert choice.similarity == pytest.approx(float(mean @ torch.tensor(vector)), abs=1e-6)


def test_faces_in_portraits_count_more_than_faces_in_crowds():
    subject, friend = axis(0, 20), axis(1, 20)
    crowd = [friend, *(axis(i, 20) for i in range(3, 12))]
    seen = series([subject], [subject], *[crowd] * 5, [subject])
    assert indices(Identity().select(seen)) == [0, 0, None, None, None, None, None, 0]


def test_a_minority_of_forty_percent_does_not_pull_the_mean():
    generator = torch.Generator().manual_seed(0)

    def portrait(i):
        vector = torch.tensor(axis(i, 128)) + torch.randn(128, generator=generator) * 0.05
        return [(vector / vector.norm()).tolist()]

    seen = series(*[portrait(0) for _ in range(60)], *[portrait(1) for _ in range(40)])
    choices = Identity().select(seen)
    assert indices(choices) == [0] * 60 + [None] * 40
    # the plain mean of all would lie at cos(atan(2 / 3)) = 0.83 from the subject
    assert min(choice.similarity for choice in choices[:60]) < 0.95  # the noise of one photo
    assert max(abs(choice.similarity) for choice in choices[60:]) < 0.3


def test_faces_that_look_away_do_not_shape_the_mean_when_three_others_do():
    aside = between(0, 3, 0.8)
    seen = series(*[[SUBJECT]] * 3)
    seen += [see([aside], points=[EYES_ASIDE], name=f"aside{i}.jpg") for i in range(3)]
    choices = Identity().select(seen)
    assert [choice.similarity for choice in choices[:3]] == [1.0] * 3
    assert choices[5].similarity == pytest.approx(0.8, abs=1e-6)
    without_gate = Identity(facing_forward=False).select(seen)
    assert without_gate[0].similarity == pytest.approx(math.sqrt(0.9), abs=1e-6)
    too_few = Identity().select(seen[1:])
    assert too_few[0].similarity < 0.95


# who is the subject, where counting does not tell


def couple(count=5):
    """The friend is first, and smaller."""
    boxes = [[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 50.0, 30.0]]
    return [see([FRIEND, SUBJECT], boxes=boxes, name=f"{i}.jpg") for i in range(count)]


def test_of_a_couple_the_larger_is_taken_with_a_warning(caplog):
    assert indices(Identity().select(couple())) == [1] * 5
    assert caplog.messages == [
        (
            "identity: 2 persons appear about equally often: one in 5 photos, such as "
            "photos/0.jpg; one in 5 photos, such as photos/0.jpg; the first is taken, who is the "
            "larger in them: to choose another, name a photo in which that one is the largest as "
            "`like`"
        )
    ]


def test_a_few_portraits_settle_who_of_a_couple_is_the_subject(caplog):
    portraits = [see([FRIEND], name=f"portrait{i}.jpg") for i in range(2)]
    assert indices(Identity().select(couple() + portraits)) == [0] * 7
    assert caplog.messages == []


@pytest.mark.parametrize("like", ["friend.jpg", "photos/friend.jpg"])
def test_like_settles_who_of_a_couple_is_the_subject(like, caplog):
    boxes = [[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 50.0, 30.0]]
    friend = see([SUBJECT, FRIEND], boxes=boxes, name="friend.jpg")
    assert indices(Identity(like=like).select([*couple(), friend])) == [0] * 5 + [1]
    assert caplog.messages == []


def test_like_finds_a_person_whom_counting_would_not():
    seen = series([SUBJECT], [SUBJECT], [SUBJECT], [FRIEND])
    assert indices(Identity(like="3.jpg").select(seen)) == [None, None, None, 0]


@pytest.mark.parametrize(
    ("friends", "taken"),
    [([0, 0, 9, 30], FRIEND), ([0, 0, 40, 4], SUBJECT), ([0, 0, 15, 15], SUBJECT)],
    ids=["larger", "wider", "as large"],
)
def test_like_means_the_largest_in_its_photo_and_of_equals_the_first(friends, taken):
    two = see([SUBJECT, FRIEND], boxes=[[50, 0, 65, 15], friends], name="two.jpg")
    seen = [two, *series([SUBJECT], [FRIEND])]
    wanted = [0, 0, None] if taken is SUBJECT else [1, None, 0]
    assert indices(Identity(like="two.jpg").select(seen)) == wanted


def test_like_prefers_the_photo_that_is_called_so():
    seen = [see([SUBJECT], name="2019/a.jpg"), see([FRIEND], name="a.jpg")]
    assert indices(Identity(like="photos/a.jpg").select(seen)) == [None, 0]


def test_like_must_name_one_photo_with_something_in_it():
    seen = series([SUBJECT], [SUBJECT])
    empty = Observation(see([SUBJECT], name="empty.jpg").photo, Detections.empty(NAMES))
    with pytest.raises(ValueError, match=r"^like: 'x.jpg' is not among the photos that "):
        Identity(like="x.jpg").select(seen)
    with pytest.raises(ValueError, match=r"^like: 2 photos are named '0.jpg'; write 'photos/0"):
        Identity(like="0.jpg").select([*seen, see([SUBJECT], name="2019/0.jpg")])
    with pytest.raises(ValueError, match=r"like: nothing to compare was found in 'empty.jpg'"):
        Identity(like="empty.jpg").select([*seen, empty])


def test_a_warning_says_when_nobody_is_found_twice(caplog):
    seen = series([SUBJECT], [FRIEND], [STRANGER])
    choices = Identity().select(seen)
    assert sum(choice.index is not None for choice in choices) == 1
    assert caplog.messages == [
        (
            "identity: nobody is found in two photos at a similarity of 0.50; the subject is taken "
            "to be in photos/0.jpg alone: lower `min_similarity`, or name another photo as `like`"
        )
    ]


def test_one_photo_of_one_face_is_the_subject_without_ado(caplog):
    assert Identity().select(series([SUBJECT])) == [Choice(0, similarity=1.0)]
    assert caplog.messages == []


def test_the_largest_is_the_subject_of_a_single_photo(caplog):
    caplog.set_level(logging.ERROR)
    assert indices(Identity().select(couple(1))) == [1]


# odd embeddings


def test_vectors_without_a_direction_are_never_the_subject():
    nan, zero = [math.nan] * 8, [0.0] * 8
    seen = series([nan, SUBJECT], [SUBJECT, zero], [nan, zero], [[math.inf] * 8])
    choices = Identity().select(seen)
    assert indices(choices) == [1, 0, None, None]
    assert {choice.reason for choice in choices[2:]} == {"the embedder gave no vector to compare"}
    assert indices(Identity().select(seen[2:])) == [None, None]


def test_vectors_of_any_length_are_compared_by_direction():
    seen = series([[3.0, 0.0, 0.0]], [[0.01, 0.0, 0.0]], [[0.0, 5.0, 0.0]])
    choices = Identity().select(seen)
    assert [choice.similarity for choice in choices] == [1.0, 1.0, 0.0]


def test_an_identical_vector_everywhere_is_the_subject_even_at_the_strictest_threshold():
    vector = [[0.3, 0.1, 0.7]]
    seen = series(*[vector] * 5)
    assert Identity(min_similarity=1.0).select(seen) == [Choice(0, similarity=1.0)] * 5


def test_what_cannot_be_compared_is_named():
    with pytest.raises(ValueError, match=r"photos/0\.jpg: no embeddings to compare; set an embedd"):
        Identity().select([see(boxes=[[0.0, 0.0, 1.0, 1.0]])])
    with pytest.raises(ValueError, match=r"1\.jpg: expected .* shape \(1, 8\), got \(1, 3\)"):
        Identity().select(series([SUBJECT], [[1.0, 0.0, 0.0]]))
    with pytest.raises(ValueError, match=r"no similarity is known .*: set min_similarity"):
        Identity().select([see([SUBJECT], same=None)])


# properties


@st.composite
def albums(draw):
    """Photos of persons well apart: person 0 in clearly more of them than anybody else."""
    seed, count = draw(st.integers(0, 2**31)), draw(st.integers(4, 12))
    generator = torch.Generator().manual_seed(seed)
    photos = []
    for i in range(count):
        others = torch.randperm(5, generator=generator)[: int(draw(st.integers(0, 2)))] + 1
        persons = others.tolist()
        if i % 4:  # three photos of four show the subject
            persons = [0, *others[:1].tolist()]
        faces = torch.eye(16)[persons] + torch.randn(len(persons), 16, generator=generator) * 0.03
        photos.append((persons, torch.nn.functional.normalize(faces, dim=1).tolist()))
    support = [
        sum(1 / len(persons) for persons, _ in photos if person in persons) for person in range(6)
    ]
    assume(max(support[1:]) < 0.9 * (support[0] - 0.5))  # a stranger can take half of one photo
    return photos


@settings(max_examples=40, deadline=None)
@given(albums(), st.randoms(use_true_random=False))
def test_permuting_photos_and_faces_permutes_the_choices(album, random):
    orders = [random.sample(range(len(persons)), len(persons)) for persons, _ in album]
    photos = random.sample(range(len(album)), len(album))
    plain = Identity(facing_forward=False).select(series(*[faces for _, faces in album]))
    shuffled = Identity(facing_forward=False).select(
        series(*[[album[p][1][face] for face in orders[p]] for p in photos])
    )
    for p, choice in zip(photos, shuffled, strict=True):
        index = None if choice.index is None else orders[p][choice.index]
        assert index == plain[p].index
        assert choice.similarity == pytest.approx(plain[p].similarity, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(albums(), st.data())
def test_a_stranger_far_away_changes_no_choice(album, data):
    photos = [faces for _, faces in album]
    place = data.draw(st.integers(0, len(photos) - 1))
    with_stranger = list(photos)
    with_stranger[place] = [*photos[place], axis(15, 16)]
    plain = Identity(facing_forward=False).select(series(*photos))
    assert indices(Identity(facing_forward=False).select(series(*with_stranger))) == indices(plain)
    shown = [0 in persons for persons, _ in album]
    assert [choice.index is not None for choice in plain] == shown


def strangers(count):
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(count, 64, generator=generator)
    return torch.nn.functional.normalize(vectors, dim=1).tolist()


def test_more_faces_than_are_compared_with_each_other_still_give_the_subject():
    seen = [
        see([axis(0, 64), stranger], name=f"{i}.jpg") for i, stranger in enumerate(strangers(2600))
    ]
    assert indices(Identity(min_similarity=0.7).select(seen)) == [0] * 2600


@pytest.mark.parametrize("count", [255, 256, 510, 511, 512, 765])
@pytest.mark.parametrize("place", [0, 1])
def test_the_subject_may_have_the_same_place_in_every_photo(count, place):
    photos = [[axis(0, 64), stranger] for stranger in strangers(count)]
    photos = [faces if place == 0 else faces[::-1] for faces in photos]
    photos[0] = photos[-1] = strangers(count + 2)[-2:]
    seen = [see(faces, name=f"{i}.jpg") for i, faces in enumerate(photos)]
    chosen = [None, *[place] * (count - 2), None]
    assert indices(Identity(min_similarity=0.7).select(seen)) == chosen


def alike(centre, count, generator):
    """Faces of one person, at cosines of about 0.8 from a centre."""
    noise = torch.randn(count, len(centre), generator=generator)
    noise = torch.nn.functional.normalize(noise - (noise @ centre)[:, None] * centre, dim=1)
    cosines = (0.8 + 0.08 * torch.randn(count, 1, generator=generator)).clamp(0.3, 0.97)
    return (cosines * centre + (1 - cosines**2).sqrt() * noise).tolist()


def sisters(first, second, seed):
    """Photos of two who look alike: their centres are as similar as is needed for the same."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.nn.functional.normalize(torch.randn(512, generator=generator), dim=0)
    other = torch.randn(512, generator=generator)
    other = torch.nn.functional.normalize(other - (other @ a) * a, dim=0)
    b = 0.4 * a + math.sqrt(0.84) * other
    faces = alike(a, first, generator) + alike(b, second, generator)
    return [see([face], name=f"{i}.jpg", same=0.4) for i, face in enumerate(faces)]


@pytest.mark.parametrize("seed", range(3))
def test_two_who_look_alike_are_not_taken_for_one(seed):
    chosen = indices(Identity(facing_forward=False).select(sisters(300, 240, seed)))
    assert chosen[:300] == [0] * 300
    assert sum(index is not None for index in chosen[300:]) <= 5


@pytest.mark.parametrize("seed", range(3))
def test_like_keeps_to_the_person_named_beside_many_photos_of_one_who_looks_alike(seed):
    identity = Identity(facing_forward=False, like="0.jpg")
    chosen = indices(identity.select(sisters(40, 600, seed)))
    assert chosen[:40] == [0] * 40
    assert sum(index is not None for index in chosen[40:]) <= 12


def test_a_photo_that_is_there_ten_times_counts_once():
    friend = [see([FRIEND], name=f"copy-{i}.jpg", content="friend") for i in range(10)]
    chosen = indices(Identity().select([*series(*[[SUBJECT]] * 3), *friend]))
    assert chosen == [0] * 3 + [None] * 10


@pytest.mark.parametrize("seed", range(3))
def test_copies_of_photos_do_not_narrow_the_person(seed):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(41, 512, generator=generator)
    unit = torch.nn.functional.normalize(noise, dim=1)
    faces = (0.35**0.5 * unit[0] + 0.65**0.5 * unit[1:]).tolist()
    single = [see([face], name=f"{i}.jpg", same=0.4) for i, face in enumerate(faces)]
    copied = [
        see([face], name=f"{i}-{k}.jpg", same=0.4, content=f"{i}")
        for i, face in enumerate(faces)
        for k in range(3)
    ]
    identity = Identity(facing_forward=False)
    assert indices(identity.select(single)) == [0] * 40
    assert indices(identity.select(copied)) == [0] * 120


def test_like_is_the_photo_that_the_selector_names():
    assert Identity(like="0.jpg").photos_named() == {"like": "0.jpg"}
    assert Identity().photos_named() == {}
    assert Largest().photos_named() == {}


# other selectors


def test_centre_takes_what_is_nearest_to_the_middle_of_the_photo():
    boxes = [[0.0, 0.0, 20.0, 20.0], [480.0, 500.0, 500.0, 520.0], [900.0, 0.0, 999.0, 999.0]]
    assert indices(Centre().select([see(boxes=boxes), see(boxes=boxes[::-1])])) == [1, 1]
    assert indices(Centre().select([see(boxes=boxes[:1] * 2)])) == [0]


def test_most_confident_takes_the_highest_score_of_equals_the_first():
    boxes = [[0.0, 0.0, 9.0, 9.0]] * 3
    assert indices(MostConfident().select([see(boxes=boxes, scores=[0.5, 0.9, 0.9])])) == [1]


@pytest.mark.parametrize("selector", [Centre, MostConfident, Track])
def test_every_selector_says_what_was_not_found_and_can_ask_for_a_face_that_faces_forward(selector):
    nothing = "nothing was found in this photo"
    aside = see(boxes=[[0.0, 0.0, 50.0, 50.0]], points=[EYES_ASIDE])
    choices = selector(facing_forward=True).select([see(boxes=[]), aside])
    assert [choice.index for choice in choices] == [None, None]
    assert choices[0].reason == nothing
    assert choices[1].reason.startswith("the subject looks away")
    assert choices[1].candidate == 0


def walking(count, jump=None):
    """Someone walks to the right, before a larger one who is elsewhere in every photo."""
    generator = torch.Generator().manual_seed(0)
    photos = []
    for number in range(count):
        x = 20.0 * number
        walker = [x, 400.0, x + 100, 600.0]
        left, top = (600 * torch.rand(2, generator=generator)).tolist()
        boxes = [[left, top, left + 350, top + 350], walker]
        photos.append(see(boxes=boxes[: 1 if number == jump else 2], name=f"{number}.jpg"))
    return photos


def test_track_follows_what_overlaps_from_photo_to_photo():
    assert indices(Track().select(walking(30))) == [1] * 30


def test_track_skips_a_photo_in_which_nothing_is_where_the_subject_was():
    photos = walking(30, jump=12)
    lonely = see(boxes=[[900.0, 0.0, 999.0, 99.0]], name="12.jpg")
    photos[12] = lonely
    choices = Track().select(photos)
    assert indices(choices) == [1] * 12 + [None] + [1] * 17
    assert choices[12].reason == (
        "nothing is where the subject is in the photos before and after (0.00; at least 0.10 asked)"
    )


def test_track_tells_two_who_change_places_by_their_embeddings():
    left, right = [100.0, 100.0, 300.0, 300.0], [600.0, 100.0, 790.0, 290.0]
    photos = [
        see(
            [SUBJECT, FRIEND],
            boxes=[left, right] if number < 5 else [right, left],
            name=f"{number}",
        )
        for number in range(10)
    ]
    assert indices(Track().select(photos)) == [0] * 10


def test_track_of_a_single_photo_takes_the_largest():
    assert indices(Track().select([see(boxes=[[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 99.0, 99.0]])])) == [
        1
    ]


# a threshold of its own


def spread_out(cosines, same=0.91):
    """Photos of one person, each at its own similarity to the direction of them all."""
    generator = torch.Generator().manual_seed(1)
    photos = []
    for number, cosine in enumerate(cosines):
        aside = torch.randn(64, generator=generator)
        aside[0] = 0.0
        aside = torch.nn.functional.normalize(aside, dim=0) * math.sqrt(1 - cosine**2)
        aside[0] = cosine
        photos.append(see([aside.tolist()], name=f"{number}.jpg", same=same))
    return photos


def test_a_face_far_outside_the_subjects_own_spread_is_uncertain():
    photos = spread_out([*torch.linspace(0.97, 0.99, 20).tolist(), 0.917])
    choice = Identity(facing_forward=False).select(photos)[-1]
    assert (choice.index, choice.candidate) == (None, 0)
    assert choice.reason == "uncertain (0.91; this person's other photos lie between 0.97 and 0.99)"


def test_a_subject_whose_photos_differ_keeps_them_all():
    cosines = torch.linspace(0.92, 0.98, 21).tolist()
    assert indices(Identity(facing_forward=False).select(spread_out(cosines))) == [0] * 21


def test_a_stated_similarity_wins_over_the_spread():
    photos = spread_out([0.985] * 20 + [0.915])
    identity = Identity(facing_forward=False, min_similarity=0.9)
    assert indices(identity.select(photos)) == [0] * 21


def test_photos_without_a_reliable_date_are_compared_with_all_times():
    cosines = [0.985] * 20
    photos = spread_out(cosines)
    dated = [
        dataclasses.replace(
            each,
            photo=dataclasses.replace(
                each.photo,
                taken=datetime(2000 + number, 1, 1),
                taken_from="file" if number % 3 else "exif",
            ),
        )
        for number, each in enumerate(photos)
    ]
    assert indices(Identity(facing_forward=False).select(dated)) == [0] * 20


# thresholds of another embedder


class Embeddings(Embedder):
    name = "embeddings"
    same_above = 0.91

    def embed(self, images, detections):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (0.5, ["far below", "strangers may be taken for the subject"]),
        (0.99, ["far above", "many photos of the subject may be left out"]),
        (0.85, None),
        (0.95, None),
        (None, None),
    ],
)
def test_a_threshold_made_for_another_embedder_is_told_of(asked, words, caplog):
    identity = Identity(facing_forward=False, min_similarity=asked)
    expected = []
    if words:
        where, effect = words
        expected = [
            f"min_similarity: {asked:g} is {where} the embedder's own 0.91: {effect}; leave it out"
        ]
    assert identity.remarks(Embeddings()) == expected
    assert identity.remarks(None) == []
    identity.select(series([SUBJECT], [SUBJECT], same=0.91))
    assert caplog.messages == [f"identity: {line}" for line in expected]
