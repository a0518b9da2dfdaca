"""Every sentence of what the README promises names the tests that hold it."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

RELY_ON = {
    "No photo is lost in silence.": [
        "test_a_link_that_leads_nowhere_is_not_lost_in_silence",
        "test_a_folder_that_cannot_be_read_is_not_lost_in_silence",
        "test_a_photo_that_disappears_on_the_way_costs_only_itself",
        "test_a_photo_that_is_still_being_copied_is_not_read",
    ],
    "Every photo found is in `run.json`: used, rejected or failed, with a reason.": [
        "test_broken_photos_are_in_the_record_and_the_run_goes_on",
        "test_a_photo_without_the_subject_is_rejected_with_the_selectors_reason",
        "test_the_record_has_exactly_the_keys_that_others_read",
        "test_every_photo_with_her_is_used_and_the_empty_one_says_why",
    ],
    "One broken file never costs the others.": [
        "test_broken_photos_are_in_the_record_and_the_run_goes_on",
        "test_what_cannot_be_read_says_why_and_what_to_do",
    ],
    "Nothing of yours is overwritten.": [
        "test_a_file_of_the_users_is_refused_before_any_photo_is_opened",
        "test_a_folder_of_the_users_numbered_pictures_is_refused",
        "test_outputs_are_not_written_through_links",
        "test_what_appears_under_an_outputs_name_during_the_run_stays",
        "test_nothing_of_the_users_is_replaced",
    ],
    "Photos are only read.": [
        "test_photos_are_only_read",
    ],
    "An output replaces what an earlier run wrote, nothing else, and only when it is finished.": [
        "test_what_an_earlier_run_wrote_is_replaced",
        "test_a_file_of_the_users_is_refused_before_any_photo_is_opened",
        "test_old_outputs_stay_until_new_ones_are_finished",
        "test_killed_runs_are_gone_on_with_and_give_the_same",
        "test_result_appears_only_when_closed_and_replaces_the_old",
    ],
    "Nothing is computed twice.": [
        "test_a_second_run_asks_no_network_and_gives_the_same",
        "test_copies_of_a_photo_are_looked_at_once",
        "test_a_second_run_draws_and_fits_nothing",
        "test_photos_that_come_and_go_cost_only_themselves",
    ],
    "What was computed is stored: another threshold, canvas or renderer needs no network (unless "
    "`refine` has `passes`), and a run that was killed goes on where it was, to the same bytes.": [
        "test_what_comes_after_the_networks_may_change_without_them_and_without_pixels",
        "test_refining_asks_the_detector_again",
        "test_killed_runs_are_gone_on_with_and_give_the_same",
        "test_a_killed_run_goes_on_to_the_same_bits",
    ],
    "Thousands of photos.": [
        "test_of_many_photos_few_are_drawn_to_choose_the_reference",
        "test_more_faces_than_are_compared_with_each_other_still_give_the_subject",
    ],
    "They are streamed, a few a core at a time: memory does not grow with their number.": [
        "test_only_a_few_batches_are_taken_ahead_of_the_answers",
        "test_every_worker_is_used_and_none_computes_with_more_than_one_core",
        "test_memory_does_not_grow_with_the_number_of_photos",
        "test_memory_does_not_grow_with_the_number_of_frames",
    ],
    "`--limit 50` says what the whole will cost.": [
        "test_a_trial_run_says_what_the_whole_will_cost",
        "test_every_step_is_taken_as_often_as_the_whole_needs_it",
    ],
    "Photos and output may lie in the cloud, and the work be spread over a cluster.": [
        "test_a_run_goes_from_bucket_to_bucket_and_on_from_another_machine",
        "test_a_whole_run_while_nodes_die_gives_the_same_frames",
    ],
    "Nothing is stretched.": [
        "test_photos_of_other_shapes_are_not_stretched",
        "test_nothing_is_stretched",
    ],
    "A similarity shifts, turns and scales; that is all.": [
        "test_the_smallest_recipe_has_sensible_defaults",
        "test_the_six_families_and_their_parameters",
        "test_members_are_true_to_pixels_at_any_aspect_ratio",
    ],
    "It stands still.": [
        "test_known_warps_are_recovered_and_the_frames_stand_still",
        "test_scale_and_turn_are_those_of_the_known_warps",
    ],
    "The photos correct each other: on those above, which are one portrait, the eyes scatter by "
    "0.05 % of their distance, where the keypoints of the usual face detector leave 1.6 % and "
    "kornia's registrator 10 %.": [
        "test_the_subject_of_the_quickstart_is_chosen_in_every_photo_that_shows_her",
        "test_the_usual_detector_and_kornias_registrator_leave_what_the_readme_says",
    ],
    "On ten real persons, with glasses on and off and eyes open and closed, they scatter by 1.2 %, "
    "where the detector alone leaves 2.0 % (measured).": [
        "test_noise_of_the_detector_goes",
        "test_spoilt_photos_harm_none",
    ],
    "Nothing leaves your machine.": [
        "test_a_run_speaks_to_no_other_machine",
    ],
    "No telemetry, no upload.": [
        "test_a_run_speaks_to_no_other_machine",
        "test_fetch_uses_what_is_there_and_asks_nobody",
    ],
    "Weights are fetched once, over TLS, and checked against a known SHA-256.": [
        "test_fetch_uses_what_is_there_and_asks_nobody",
        "test_two_processes_fetch_once",
        "test_only_https_and_this_machine_are_sources",
        "test_redirects_to_an_open_connection_are_refused",
        "test_wrong_content_never_gets_the_name",
        "test_load_verifies_the_cached_file",
        "test_it_says_which_weights_it_needs",
    ],
}

HOW_IT_WORKS = {
    "Each stage is a plugin chosen in the recipe.": [
        "test_every_kind_of_stage_is_in_the_readme",
        "test_the_stages_that_come_along_are_found_through_their_entry_points",
        "test_a_full_recipe_is_bound_to_the_stages_own_types",
    ],
    "Photos are read in the order in which they were taken (EXIF, then a date in the file name, "
    "then the file's time).": [
        "test_photos_come_by_exif_then_by_name_then_by_the_files_time",
        "test_exif_dates_come_in_order_of_trust",
        "test_a_burst_is_ordered_by_its_subseconds",
    ],
    "Keypoints are found on a reduced photo and kept in full-size coordinates; targets are "
    "Gaussians around them; a similarity is fitted in closed form and then by registration; the "
    "full-size photo is sampled once, onto the canvas.": [
        "test_keypoints_of_a_reduced_photo_are_full_size_and_the_full_photo_is_sampled_once",
        "test_each_keypoint_gets_a_channel_with_a_gaussian_of_the_spread_times_sigma",
        "test_closed_form_uses_the_points_that_both_have",
        "test_random_similarities_from_the_closed_form_keep_their_precision",
    ],
    "From Python:": [
        "test_the_readmes_python_examples_run",
    ],
    "Every stage also works alone:": [
        "test_the_readmes_python_examples_run",
    ],
}


def sentences(title):
    """Return the sentences of a section of the README, without code blocks, links and bold."""
    (section,) = re.findall(rf"^#+ {title}\n(.*?)^#+ ", README, re.MULTILINE | re.DOTALL)
    text = re.sub(r"^```.*?^```", "", section, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text.replace("**", ""))
    parts = re.split(r"\n\s*\n|^- ", text, flags=re.MULTILINE)
    whole = [" ".join(part.split()) for part in parts if part.strip()]
    return [each for part in whole for each in re.split(r"(?<=[.!?]) (?=[A-Z`])", part)]


@pytest.mark.parametrize(
    ("title", "held"), [("What you can rely on", RELY_ON), ("How it works", HOW_IT_WORKS)]
)
def test_every_sentence_has_tests(title, held):
    assert sentences(title) == list(held)
    assert all(held.values())


def test_each_of_the_tests_is_there_once():
    named = {name for held in (RELY_ON, HOW_IT_WORKS) for names in held.values() for name in names}
    there = Counter(
        node.name
        for path in Path(__file__).parent.rglob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    )
    assert {name: there[name] for name in named} == dict.fromkeys(named, 1)
