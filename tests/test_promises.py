"""Every sentence of what the README and docs/store.md promise names the tests that hold it."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
STORE_PAGE = (REPOSITORY / "docs" / "store.md").read_text(encoding="utf-8")

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
        "test_nothing_of_ours_is_written_through_a_link",
        "test_corrections_are_written_through_no_link",
        "test_a_run_killed_over_an_earlier_one_leaves_old_or_new_outputs_and_all_of_yours",
        "test_a_trial_run_writes_beside_the_whole_and_never_touches_it",
    ],
    "Photos are only read.": [
        "test_photos_are_only_read",
    ],
    "An output replaces what an earlier run wrote, nothing else, and only when it is finished: a "
    "file counts by its content, not by its name.": [
        "test_what_an_earlier_run_wrote_is_replaced",
        "test_a_photo_put_into_a_finished_folder_of_frames_is_refused_and_named",
        "test_a_film_in_the_place_of_ours_is_refused",
        "test_a_run_killed_at_any_step_is_gone_on_with_and_gives_the_same",
        "test_a_file_of_the_users_is_refused_before_any_photo_is_opened",
        "test_old_outputs_stay_until_new_ones_are_finished",
        "test_killed_runs_are_gone_on_with_and_give_the_same",
        "test_result_appears_only_when_closed_and_replaces_the_old",
    ],
    "Outputs of one run appear together or not at all.": [
        "test_outputs_appear_together_or_not_at_all_and_the_record_says_which",
        "test_where_a_renderer_does_wrong_no_output_of_the_run_appears",
        "test_a_full_disk_leaves_a_record_that_says_why",
    ],
    "One run at a time has an output folder.": [
        "test_a_second_run_waits_and_says_for_whom",
        "test_a_run_that_does_not_wait_is_refused_at_once",
        "test_pairs_of_runs_at_once_give_the_outputs_of_one_of_them",
    ],
    "Nothing is computed twice.": [
        "test_a_second_run_asks_no_network_and_gives_the_same",
        "test_copies_of_a_photo_are_looked_at_once",
        "test_a_second_run_draws_and_fits_nothing",
        "test_photos_that_come_and_go_cost_only_themselves",
    ],
    "What was computed is stored: another threshold, canvas or renderer needs no network (unless "
    "`refine` has `passes`, and but for the `score`), and a run that was killed goes on where it "
    "was, to the same bytes.": [
        "test_without_it_no_frame_is_looked_at",
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
    "0.05 % of their distance, where the keypoints of the usual face detector leave 1.8 % and "
    "kornia's registrator 10.5 %.": [
        "test_the_subject_of_the_quickstart_is_chosen_in_every_photo_that_shows_her",
        "test_the_usual_detector_and_kornias_registrator_leave_what_the_readme_says",
    ],
    "On ten real persons, with glasses on and off and eyes open and closed, they scatter by 1.2 %, "
    "where the detector alone leaves 1.7 % (measured).": [
        "test_noise_of_the_detector_goes",
        "test_spoilt_photos_harm_none",
    ],
    "Every run ends with a score of its own frames, and `alignimation score` gives one to those of "
    "any tool.": [
        "test_a_run_has_the_score_that_its_frames_have",
        "test_a_subject_that_is_moved_by_a_known_amount_has_that_score",
        "test_the_command_scores_a_folder",
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
        "test_all_weights_have_a_known_sum_and_licence",
    ],
    "MediaPipe, which reports to Google how it is used, cannot from within its plugin.": [
        "test_reports_of_use_go_nowhere",
    ],
    "What each of these means, and what was done to break it: docs/promises.md.": [
        "test_every_promise_is_explained",
    ],
}

HOW_IT_WORKS = {
    "Each stage is a plugin chosen in the recipe.": [
        "test_every_kind_of_stage_is_in_the_readme",
        "test_the_stages_that_come_along_are_found_through_their_entry_points",
        "test_a_full_recipe_is_bound_to_the_stages_own_types",
    ],
    "Photos are read in the order in which they were taken (EXIF, GPS, XMP and what their source "
    "knows, then a date in the name of the file or of a folder, then the file's time: all of "
    "it).": [
        "test_photos_come_by_exif_then_by_name_then_by_the_files_time",
        "test_exif_dates_come_in_order_of_trust",
        "test_gps_gives_the_instant_where_no_clock_was_read",
        "test_a_date_in_xmp_is_read",
        "test_a_date_in_the_name_of_a_folder_is_read",
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
    "One photo goes onto another in a call, and every stage works alone:": [
        "test_photos_are_aligned_as_they_were_made",
        "test_the_readmes_python_examples_run",
    ],
    "docs/api.md has the rest, the article in fifteen lines, and `geometry.crop`, which can be "
    "differentiated.": [
        "test_the_python_of_the_api_page_runs",
        "test_the_first_article_takes_the_lines_that_its_heading_says",
        "test_gradients_in_image_and_box",
    ],
    "A notebook tells the article's story with plots.": [
        "test_the_notebook_tells_the_story_again",
    ],
}


STORE = {
    "What was computed is kept in `<output>/.alignimation/store.sqlite3`: what detectors and "
    "embedders answered, the fitted transforms, and the facts of files.": [
        "test_a_second_run_asks_no_network_and_gives_the_same",
        "test_a_second_run_draws_and_fits_nothing",
        "test_facts_are_read_once",
    ],
    "So no network looks at the same photo twice and no file is read twice for its hash: a second "
    "run with another threshold, canvas or renderer goes straight to the numbers, and a run that "
    "was killed goes on with what is left.": [
        "test_what_comes_after_the_networks_may_change_without_them_and_without_pixels",
        "test_killed_runs_are_gone_on_with_and_give_the_same",
    ],
    "Deleting the folder `.alignimation` when nothing runs is always safe: it costs time, nothing "
    "else.": [
        "test_a_file_that_is_deleted_meanwhile_is_made_anew",
        "test_deleting_the_hidden_folder_costs_time_and_nothing_else",
    ],
    "So does `alignimation-run recipe.yaml --fresh` (in Python `run(recipe, fresh=True)`), which "
    "empties it.": [
        "test_fresh_forgets_everything",
        "test_emptying_gives_the_room_back",
    ],
    "What is known again.": [
        "test_answers_come_back_bit_by_bit",
    ],
    "An answer belongs to what it is about and to everything else it depends on: the stage's name "
    "and options, the version and the code of its plugin and of alignimation, the contents of its "
    "weights and of other files that its options name, and all of that of the stage that it stands "
    "on.": [
        "test_options_and_versions_count_and_the_device_does_not",
        "test_code_that_is_edited_counts_though_its_version_stays",
        "test_new_content_of_a_file_under_the_same_name_counts",
        "test_embeddings_are_not_put_beside_detections_of_another_run",
    ],
    "The device is left out: answers of a GPU are used on a CPU.": [
        "test_options_and_versions_count_and_the_device_does_not",
    ],
    "So is `seed`: where a plugin draws at random, take `--fresh` with another seed.": [
        "test_a_run_that_finds_all_in_its_store_gives_the_same",
    ],
    "Only stages that an installed plugin registers are stored, and no annotations: they change "
    "with their file.": [
        "test_stages_that_no_plugin_registers_are_not_stored",
    ],
    "*Detections and embeddings* belong to the bytes of the photo: a renamed, copied or touched "
    'photo is known, an edited one is not. "Nothing found" is an answer; a failure is not: the '
    "photo is tried again.": [
        "test_renamed_copied_and_touched_photos_are_known_and_edited_ones_are_not",
        "test_nothing_found_is_stored_and_failures_are_not",
    ],
    "*Summaries* (the points of a target and a thumbnail, by which the reference is chosen) belong "
    "to the subject as the target builder sees it: its numbers and mask in the frame in which it "
    "is drawn, and the photo's bytes where the builder looks at pixels.": [
        "test_the_key_is_all_that_a_builder_sees",
    ],
    "*Fits* belong to two such subjects, the photo's and the reference's.": [
        "test_photos_that_come_and_go_cost_only_themselves",
    ],
    "Another threshold fits only photos that were not chosen before, unless another photo becomes "
    "the reference; of more than a thousand, that is looked for among a thousand, the same ones as "
    "long as they are chosen.": [
        "test_photos_that_come_and_go_cost_only_themselves",
        "test_of_many_photos_the_reference_remains_when_others_come_and_go",
    ],
    "A fit that a model refuses, with its reason, is an answer; where a model raised an error, it "
    "is asked again.": [
        "test_an_error_is_tried_again_and_a_refusal_is_an_answer",
    ],
    "What `refine: {passes: 1}` finds on aligned photos is not kept.": [
        "test_refining_asks_the_detector_again",
    ],
    "The *agreement* of the photos on their keypoints (`refine: {photos: eyes}`) belongs to all "
    "photos of the series: their bytes, masks and keypoints, and what these count.": [
        "test_a_second_run_reads_no_photo_to_correct_and_gives_the_same",
    ],
    "With one photo more they are compared again.": [
        "test_a_second_run_reads_no_photo_to_correct_and_gives_the_same",
    ],
    "Where the photos lie by the *rigid parts* of a body (`refine: {rigid_parts: true}`) belongs "
    "to their masks, keypoints and fits.": [
        "test_what_is_in_the_store_is_not_learned_again",
        "test_what_is_learned_anew_is_the_same_to_the_bit",
    ],
    "*Facts* (hash, size, date) belong to a file's path and its size, times and inode, or to what "
    "a server says of an address.": [
        "test_facts_come_back_for_the_same_stamp_alone",
        "test_a_stamp_changes_with_the_file_and_only_then",
    ],
    "A file that changed less than two seconds before it was read, or whose time lies ahead of the "
    "clock, is read again by the next run, as it may change once more within the same tick of the "
    "clock.": [
        "test_a_file_that_has_only_just_changed_is_not_trusted",
        "test_an_edit_that_sets_the_times_back_is_seen",
        "test_a_clock_that_jumps_changes_nothing",
    ],
    "When it is written.": [
        "test_killed_runs_are_gone_on_with_and_give_the_same",
    ],
    "Every batch in one transaction: a killed run loses at most the batches that were under way "
    "(of four photos for detectors, of 32 for fits), a power cut the last ones written, and "
    "nothing else; outputs and `run.json` are on the disk before they take their names.": [
        "test_killed_runs_are_gone_on_with_and_give_the_same",
        "test_a_killed_run_goes_on_to_the_same_bits",
    ],
    "The same run gives the same transforms to the last bit, however often it is killed and gone "
    "on with.": [
        "test_a_killed_run_goes_on_to_the_same_bits",
        "test_killed_runs_are_gone_on_with_and_give_the_same",
    ],
    "A photo that is changed while a run goes on fails in that run.": [
        "test_photos_that_change_on_the_way_fail_alone_and_leave_nothing_wrong_behind",
        "test_a_photo_at_an_address_that_changes_is_refused",
    ],
    "A trial run (`--limit`) shares the store of the whole, also at the same time.": [
        "test_a_trial_run_does_not_wait_for_the_whole",
        "test_a_trial_run_is_gone_on_with",
        "test_two_runs_at_once_share_one_store",
        "test_two_runs_that_meet_the_same_damage_go_on_with_one_new_store",
    ],
    "What none of the last ten finished runs has used is removed; trial runs do not count.": [
        "test_what_ten_whole_runs_have_not_used_goes",
        "test_facts_summaries_and_fits_that_ten_runs_have_not_used_go",
    ],
    "What cannot be read as it was written, or was written by an earlier version, is set aside as "
    "`store.sqlite3.damaged-1`, which you may delete, and made anew; a store of a newer version is "
    "left alone.": [
        "test_no_damage_fails_a_run_or_changes_what_it_gets",
        "test_a_store_may_end_anywhere",
        "test_one_changed_byte_of_the_header_is_no_newer_version",
        "test_a_damaged_store_is_set_aside_and_made_anew",
        "test_every_damaged_file_is_kept_under_a_name_of_its_own",
        "test_a_store_of_an_earlier_version_is_set_aside",
        "test_a_store_of_a_newer_version_is_left_alone",
    ],
    "Nothing is written through a link in the place of the folder or of its files, or into "
    "anything else that stands there: it is named, and the run ends at its beginning.": [
        "test_what_is_not_the_stores_is_named_and_stays",
        "test_a_store_that_cannot_be_written_is_said_at_the_start",
    ],
    "Whose the outputs are.": [
        "test_a_film_in_the_place_of_ours_is_refused",
    ],
    "Beside the store, `outputs.json` says what runs wrote into the output folder: size and "
    "BLAKE3 digest of every file, and what tells without reading it that a file is the same (its "
    "times and inode, unless the disk counts whole seconds).": [
        "test_the_check_asks_no_hash_where_nothing_was_changed",
        "test_an_edit_is_seen_though_size_and_time_are_set_back",
        "test_whatever_a_clock_says_an_output_is_known_and_an_edit_is_seen",
        "test_a_copy_a_touch_or_another_disk_changes_nothing",
    ],
    "Where it is gone, the digests in `run.json` do.": [
        "test_deleting_the_hidden_folder_costs_time_and_nothing_else",
        "test_a_damaged_table_is_as_none",
        "test_the_digests_in_the_record_are_those_of_b3sum",
    ],
    "A file is replaced only while it holds just what a run wrote into it; a name says nothing, "
    "nor does a plan.": [
        "test_a_film_in_the_place_of_ours_is_refused",
        "test_a_run_killed_at_any_step_is_gone_on_with_and_gives_the_same",
    ],
    "A folder of frames is replaced only if every file in it is one of those that a run wrote "
    "(what is missing is not missed, and what file managers leave there, such as `.DS_Store`, "
    "stays).": [
        "test_a_photo_put_into_a_finished_folder_of_frames_is_refused_and_named",
        "test_a_copy_a_touch_or_another_disk_changes_nothing",
        "test_what_file_managers_leave_in_a_folder_of_frames_stays_there",
    ],
    "Anything else is named, and refused before a photo is opened.": [
        "test_more_strangers_are_counted_and_so_are_folders_and_links",
        "test_a_file_of_the_users_is_refused_before_any_photo_is_opened",
    ],
    "So are outputs of versions before there were digests: move them away, or delete them.": [
        "test_outputs_of_an_earlier_version_are_refused_and_named",
    ],
    "Outputs are written into a hidden folder in `.alignimation`; when all are finished and "
    "`outputs.json` knows them, they take their names in a row, and `run.json` last.": [
        "test_a_run_killed_over_an_earlier_one_leaves_old_or_new_outputs_and_all_of_yours",
        "test_what_killed_runs_left_is_removed_by_the_next",
        "test_an_interrupt_while_a_writers_thread_starts_leaves_no_half_written_file",
    ],
    "If one cannot, or Ctrl-C comes between, what was there before is brought back.": [
        "test_outputs_appear_together_or_not_at_all_and_the_record_says_which",
    ],
    "A file is replaced in one step, a folder in two: of a run that is killed just between them, "
    "or whose disk fails there, the next brings the old folder back.": [
        "test_a_run_killed_over_an_earlier_one_leaves_old_or_new_outputs_and_all_of_yours",
        "test_old_outputs_that_cannot_be_brought_back_are_by_the_next_run",
        "test_where_what_was_replaced_cannot_be_removed_old_frames_do_not_come_back",
    ],
    "Nothing is written through a link, but that the output folder itself may be one.": [
        "test_nothing_of_ours_is_written_through_a_link",
        "test_outputs_are_not_written_through_links",
        "test_a_hidden_part_that_is_a_link_is_removed_not_followed",
        "test_the_folder_of_trial_runs_is_no_link",
        "test_sheets_are_written_through_no_link",
        "test_corrections_are_written_through_no_link",
    ],
    "As long as a run goes on, room for the record is kept on the disk (64 kB and 2 kB a photo), "
    "so that one that ends for a full disk says so in `run.json`.": [
        "test_a_full_disk_leaves_a_record_that_says_why",
    ],
    "One run at a time.": [
        "test_pairs_of_runs_at_once_give_the_outputs_of_one_of_them",
    ],
    "A run holds the lock `run.lock` until its process ends, however it ends; the file may stay.": [
        "test_a_lock_ends_with_its_process_and_its_file_may_go",
        "test_a_lock_file_that_was_removed_and_made_again_is_not_held_twice",
    ],
    "A second run waits, and says for whom; with `--no-wait` (in Python `wait=False`) it ends at "
    "once with status 1.": [
        "test_a_second_run_waits_and_says_for_whom",
        "test_a_run_that_does_not_wait_is_refused_at_once",
        "test_what_the_other_run_left_is_looked_at_again",
        "test_ctrl_c_ends_the_waiting_at_once",
    ],
    "`alignimation check`, `explain`, `people` and `correct` go on, and a trial run has a lock of "
    "its own, in `trial/`.": [
        "test_people_correct_explain_and_check_go_on_while_a_run_has_the_folder",
        "test_a_trial_run_does_not_wait_for_the_whole",
    ],
    "The lock is the operating system's (`flock`; a locked byte on Windows): where a file system "
    "knows none, a line says so, and the run goes on without.": [
        "test_where_there_are_no_locks_the_run_goes_on_and_says_so",
    ],
    "With an output at an address, runs on one machine wait for each other; of those on other "
    "machines nothing is known: what they have uploaded meanwhile is refused, or replaced as a "
    "whole, and outputs do not appear there in the same moment, but `run.json` comes last.": [
        "test_what_came_there_during_the_run_is_not_replaced_either",
        "test_what_an_upload_that_was_killed_has_left_is_known_by_its_content",
    ],
}


def readme(title):
    """Return the text of a section of the README."""
    (section,) = re.findall(rf"^#+ {title}\n(.*?)^#+ ", README, re.MULTILINE | re.DOTALL)
    return section


def sentences(text):
    """Return the sentences of a text, without code blocks, links and bold."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text.replace("**", ""))
    parts = re.split(r"\n\s*\n|^- ", text, flags=re.MULTILINE)
    whole = [" ".join(part.split()) for part in parts if part.strip()]
    return [each for part in whole for each in re.split(r"(?<=[.!?]) (?=[A-Z`*])", part)]


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (readme("What you can rely on"), RELY_ON),
        (readme("How it works"), HOW_IT_WORKS),
        (STORE_PAGE.partition("\n")[2].partition("**Looking inside.**")[0], STORE),
    ],
    ids=["README: what you can rely on", "README: how it works", "docs/store.md"],
)
def test_every_sentence_has_tests(text, held):
    assert sentences(text) == list(held)
    assert all(held.values())


def test_every_promise_is_explained():
    page = (REPOSITORY / "docs" / "promises.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| ([^|]+?) \|", page, re.MULTILINE)
    titles = re.findall(r"^- \*\*(.+?)\.\*\*", readme("What you can rely on"), re.MULTILINE)
    assert titles
    assert [title for title in titles if title not in explained] == []


def test_each_of_the_tests_is_there_once():
    named = {
        name for held in (RELY_ON, HOW_IT_WORKS, STORE) for names in held.values() for name in names
    }
    there = Counter(
        node.name
        for path in Path(__file__).parent.rglob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    )
    assert {name: there[name] for name in named} == dict.fromkeys(named, 1)
