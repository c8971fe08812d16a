"""The 40 cases of bad input and faults, and the tests that show each of them."""

import ast
from pathlib import Path

CASES: dict[int, tuple[str, tuple[str, ...]]] = {
    1: ("empty", ("test_audio_that_cannot_be_heard_is_refused",)),
    2: ("zero samples", ("test_audio_that_cannot_be_heard_is_refused",)),
    3: ("under 100 ms", ("test_audio_that_cannot_be_heard_is_refused", "test_a_tenth_of_a_second_is_enough")),
    4: ("random bytes", ("test_audio_that_cannot_be_heard_is_refused",)),
    5: ("truncated", ("test_audio_that_cannot_be_heard_is_refused",)),
    6: ("video only", ("test_audio_that_cannot_be_heard_is_refused",)),
    7: ("ffconcat and m3u8 by name and by content", ("test_nothing_that_a_playlist_names_is_opened",)),
    8: (
        "SDP, DASH, IAMF",
        ("test_nothing_that_a_playlist_names_is_opened", "test_audio_that_cannot_be_heard_is_refused"),
    ),
    9: ("an hour of Opus in 1 MB", ("test_an_hour_in_a_megabyte_is_beyond_ten_minutes",)),
    10: ("a WAV of 1 Hz", ("test_audio_that_cannot_be_heard_is_refused",)),
    11: ("655,350 Hz of 8 channels", ("test_audio_that_cannot_be_heard_is_refused",)),
    12: ("1024 channels", ("test_audio_that_cannot_be_heard_is_refused",)),
    13: ("a RIFF that lies about its size", ("test_audio_that_cannot_be_heard_is_refused",)),
    14: ("NaN", ("test_audio_that_cannot_be_heard_is_refused",)),
    15: ("a chunked body over the limit", ("test_a_chunked_body_is_refused_while_it_is_read",)),
    16: (
        "a negative or huge Content-Length",
        ("test_a_length_that_cannot_be_is_refused_unread", "test_two_lengths_are_refused"),
    ),
    17: (
        "10,000 form parts",
        (
            "test_ten_thousand_parts_are_refused",
            "test_ten_thousand_files_in_one_form",
            "test_thirty_large_forms_at_once",
        ),
    ),
    18: ("a slow body", ("test_a_body_that_does_not_come_is_given_up",)),
    19: (
        "missing and unknown parameters",
        (
            "test_harkens_own_path_names_the_parameter",
            "test_openais_path_names_the_parameter",
            "test_a_body_that_is_no_form",
        ),
    ),
    20: (
        "an unknown model or language",
        (
            "test_an_unknown_model_is_not_found",
            "test_harkens_own_path_names_the_parameter",
            "test_openais_path_names_the_parameter",
        ),
    ),
    21: (
        "missing, malformed, expired, unsigned and foreign tokens",
        (
            "test_bad_credentials_are_refused",
            "test_sockets_are_refused_before_they_are_accepted",
            "test_a_good_token_gets_in_and_a_narrow_one_not_everywhere",
        ),
    ),
    22: ("over the rate", ("test_over_the_rate", "test_more_audio_than_a_day_has")),
    23: ("a full queue", ("test_a_full_queue_refuses_at_once",)),
    24: (
        "a client gone mid-inference",
        ("test_a_client_who_leaves_gives_its_work_up_within_a_second", "test_a_client_that_vanishes_leaves_nothing"),
    ),
    25: (
        "bad JSON on a socket",
        ("test_bad_json_is_an_event_and_three_of_it_the_end", "test_a_start_that_cannot_be"),
    ),
    26: ("odd byte counts on a socket", ("test_odd_byte_counts_are_put_together",)),
    27: ("an oversized frame", ("test_an_oversized_frame", "test_an_oversized_message_in_small_frames")),
    28: (
        "a flood of ten times real time",
        (
            "test_a_flood_is_held_back_and_ended",
            "test_ten_times_real_time_is_heard_and_waits",
            "test_silence_of_the_client_ends_the_stream",
        ),
    ),
    29: ("one connection too many", ("test_one_connection_too_many",)),
    30: ("SIGTERM under load", ("test_sigterm_under_load", "test_a_second_sigterm_ends_it_now")),
    31: (
        "a model missing or out of memory at load",
        (
            "test_a_model_that_is_missing",
            "test_a_model_that_does_not_fit_into_memory",
            "test_a_model_that_is_gone_is_not_told_by_its_path",
        ),
    ),
    32: (
        "an exception inside the engine",
        ("test_an_exception_inside_the_engine", "test_an_exception_inside_a_stream"),
    ),
    33: (
        "a killed decode worker",
        (
            "test_a_file_whose_decoder_is_killed_is_decoded_by_the_next",
            "test_decoders_that_are_killed_again_and_again",
        ),
    ),
    34: ("a killed batch worker", ("test_a_batch_whose_worker_is_killed_goes_on",)),
    35: (
        "traversal, CRLF and NUL in names of files",
        (
            "test_a_name_of_a_file_is_only_a_name",
            "test_a_line_break_in_a_name_makes_no_line_of_the_log",
            "test_names_are_shown_as_one_line_in_the_results_of_a_batch",
        ),
    ),
    36: (
        "a CORS preflight from a stranger",
        ("test_a_preflight_of_a_stranger_gets_no_leave", "test_a_socket_of_a_strangers_page_is_refused"),
    ),
    37: ("/metrics under 10,000 strings of users", ("test_ten_thousand_strings_of_users_become_no_label",)),
    38: (
        "Redis, PostgreSQL or S3 stopped",
        (
            "test_a_service_that_is_stopped_holds_up_no_file",
            "test_a_database_that_hangs_holds_up_no_known_key",
            "test_a_database_that_hangs_does_not_hold_up_the_end",
            "test_a_redis_that_hangs_holds_up_nobody",
            "test_a_bucket_that_hangs_holds_up_jobs_alone",
            "test_a_store_that_is_gone_is_not_told_by_its_path",
            "test_jobs_outlive_a_store_that_is_away_for_longer_than_their_attempts",
        ),
    ),
    39: ("--> in the text of subtitles", ("test_an_arrow_in_the_text_breaks_no_subtitles",)),
    40: (
        "a webhook to a private address, by redirect and by DNS rebinding",
        ("test_webhooks_never_reach_inside", "test_webhooks_without_a_secret_are_refused"),
    ),
}


def test_every_case_has_its_tests() -> None:
    there = {
        node.name
        for path in Path(__file__).parent.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert list(CASES) == list(range(1, 41))
    named = {test for _, tests in CASES.values() for test in tests}
    assert named <= there, named - there
    assert all(tests for _, tests in CASES.values())
    # No test of this folder is without its case.
    assert {name for name in there if name.startswith("test_")} - named == {"test_every_case_has_its_tests"}
