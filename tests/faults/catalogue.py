"""Where each line of the fault catalogue is held, and which are not.

The lines are those of issue 5's groups: N network, P protocol, S status, L limits, C cancellation and concurrency, J
jobs, X secrets, H hostile input. L1 to L13 are the properties P1 to P13, L14 is P14 to P17; Q18 to Q26 are P18 to P26.
A line of `HELD` names the tests that hold it, of `NOT_HELD` why there is none. `test_catalogue.py` sees to it that all
are here.
"""

from __future__ import annotations

_COUNTS = {"N": 28, "P": 25, "S": 10, "L": 17, "C": 15, "J": 13, "X": 5, "H": 13}
LINES = [f"{group}{n}" for group, count in _COUNTS.items() for n in range(1, count + 1)]
LINES += [f"Q{n}" for n in range(18, 27)]

_NET, _SAY, _STATUS, _CANCEL = (
    f"tests/faults/test_{name}.py::test_"
    for name in ("network", "protocol", "status", "cancellation")
)
_CHAT = "tests/adapters/wires/openai_chat/test_codec.py::test_"
_STREAM = "tests/adapters/wires/openai_chat/test_stream.py::test_"
_MESSAGES = "tests/adapters/wires/anthropic/test_stream.py::test_"
_ANSWERS = "tests/adapters/wires/anthropic/test_response.py::test_"
_SSE = "tests/transport/test_sse.py::test_"
_BATCH = "tests/runnables/test_batch.py::test_"

_LIMITS = "tests/faults/test_limits.py::test_"
_GOVERNED = "tests/transport/ratelimit/test_limited_calls.py::test_"
_JOBS = "tests/transport/ratelimit/test_simulated_jobs.py::test_"
_GATE = "tests/transport/ratelimit/test_limiter.py::test_"
_WAITING = "tests/transport/ratelimit/test_waiting.py::test_"
_SECRETS = "tests/faults/test_secrets.py::test_"
_HOSTILE = "tests/faults/test_hostile.py::test_"
_CACHES = "tests/test_caches.py::test_"
_LAW = "tests/test_import_law.py::test_"
_ROWS, _RUN, _STORE, _SURVIVAL = (
    f"tests/jobs/test_{name}.py::test_" for name in ("rows", "run_job", "store", "survival")
)
_ODD = "tests/jobs/batch_api/test_odd_states.py::test_"
_JOB = f"{_JOBS}a_job_comes_near_the_ideal_and_loses_nothing"

_AGAIN = f"{_NET}a_broken_answer_is_asked_for_again"
_BEGUN_AGAIN = f"{_NET}a_stream_that_breaks_before_its_content_is_begun_again"
_UNREADABLE = (
    f"{_SAY}what_nobody_can_read_is_asked_for_once_more",
    f"{_SAY}what_stays_unreadable_is_shown_in_part",
)

HELD: dict[str, tuple[str, ...]] = {
    "N1": (f"{_NET}n1_a_refused_connection_is_tried_five_times_and_names_host_and_port",),
    "N2": (f"{_NET}a_name_that_is_not_found_is_tried_again_only_where_that_may_help",),
    "N3": (f"{_NET}n3_an_attempt_to_connect_into_nothing_ends",),
    "N4": (f"{_NET}n4_a_certificate_nobody_vouches_for_ends_the_call",),
    "N5": (f"{_NET}n5_a_reset_in_the_handshake_is_tried_again",),
    "N6": (
        _AGAIN,
        "tests/transport/connections/test_pooled.py::test_a_stale_kept_alive_connection_is_replaced_unseen",
    ),
    "N7": (_AGAIN,),
    "N8": (_AGAIN, _BEGUN_AGAIN),
    "N9": (_AGAIN,),
    "N10": (_BEGUN_AGAIN,),
    "N11": (f"{_NET}n11_a_reset_after_content_hands_over_exactly_what_came",),
    "N12": (f"{_NET}n12_silence_before_the_answer_ends_the_attempt",),
    "N13": (f"{_NET}n13_silence_in_a_stream_ends_it", f"{_NET}n13_pings_keep_a_stream_alive"),
    "N14": (f"{_NET}n14_the_total_time_holds_against_single_bytes",),
    "N15": (f"{_NET}n15_an_answer_that_ends_with_the_connection_is_read_to_its_end",),
    "N16": (_AGAIN,),
    "N17": (
        f"{_NET}n17_what_comes_after_the_announced_length_is_dropped_with_the_connection",
        f"{_NET}n17_a_body_cut_at_its_announced_length_is_no_answer",
    ),
    "N18": (_AGAIN, _BEGUN_AGAIN),
    "N19": (
        f"{_NET}an_answer_without_measure_is_given_up",
        f"{_NET}n19_a_chunk_size_without_end_is_given_up",
        f"{_NET}an_answer_without_measure_takes_no_memory",
    ),
    "N20": (_AGAIN, _BEGUN_AGAIN),
    "N21": (
        f"{_NET}an_answer_without_measure_is_given_up",
        f"{_NET}an_answer_without_measure_takes_no_memory",
        f"{_NET}n21_max_response_bytes_is_the_limit_of_any_answer",
    ),
    "N22": (f"{_NET}http_that_is_legal_and_rare_is_read",),
    "N23": (f"{_NET}n23_a_redirect_is_not_followed",),
    "N24": (f"{_NET}n24_what_http_2_takes_back_is_asked_for_again",),
    "N25": (f"{_NET}a_proxy_that_refuses_is_named_as_such",),
    "N26": (f"{_NET}http_that_is_legal_and_rare_is_read",),
    "N27": (
        "tests/transport/connections/test_pools.py::test_a_full_pool_makes_the_next_call_wait_and_wakes_it",
    ),
    "N28": (f"{_NET}an_answer_that_comes_while_we_still_send_wins",),
    "P1": (*_UNREADABLE, f"{_SAY}p1_a_key_in_what_nobody_can_read_is_masked"),
    "P2": _UNREADABLE,
    "P3": _UNREADABLE,
    "P4": (f"{_SAY}an_error_under_a_200_is_of_the_class_of_its_code",),
    "P5": (
        f"{_SAY}a_body_without_an_answer_is_malformed",
        f"{_SAY}p5_a_body_without_an_answer_is_malformed_on_the_other_wires",
    ),
    "P6": (f"{_CHAT}tool_calls_are_parsed_and_those_that_cannot_be_are_invalid",),
    "P7": (f"{_CHAT}what_else_a_message_says_is_kept_and_hollow_structs_are_not",),
    "P8": (
        f"{_STREAM}an_unknown_named_event_is_ignored_and_a_named_chunk_read",
        f"{_MESSAGES}gaps_and_unknown_events_and_deltas_are_tolerated",
    ),
    "P9": (
        f"{_CHAT}an_empty_finish_reason_is_none_and_an_unknown_one_stays",
        f"{_ANSWERS}any_stop_reason_passes_with_its_details",
    ),
    "P10": (
        f"{_CHAT}usage_nobody_gave_is_none_and_not_zero",
        f"{_MESSAGES}no_usage_is_none_and_never_zero",
    ),
    "P11": (
        f"{_CHAT}what_can_be_read_of_a_garbled_usage_counts",
        f"{_ANSWERS}usage_that_says_nothing_is_none",
    ),
    "P12": (
        f"{_SAY}p12_a_stream_without_its_terminal_mark_is_incomplete",
        f"{_SAY}p12_an_answer_over_a_stream_without_its_mark_is_asked_for_again",
    ),
    "P13": (f"{_SSE}framing_follows_the_specification", f"{_SSE}any_split_gives_the_same_events"),
    "P14": (
        f"{_STREAM}bad_utf_8_in_an_event_is_one_replacement_character",
        f"{_MESSAGES}bad_utf8_in_an_event_is_one_replacement_character",
    ),
    "P15": (
        f"{_SSE}one_long_line_in_single_bytes_is_held_in_linear_space",
        f"{_SSE}an_event_without_end_is_given_up",
        f"{_SAY}p15_an_event_without_end_is_given_up",
    ),
    "P16": (f"{_STREAM}tool_calls_are_put_together",),
    "P17": (f"{_STREAM}tool_calls_are_put_together",),
    "P18": (
        f"{_STREAM}tool_calls_are_put_together",
        f"{_MESSAGES}gaps_and_unknown_events_and_deltas_are_tolerated",
    ),
    "P19": (
        f"{_STREAM}arguments_cut_short_are_no_crash",
        f"{_MESSAGES}arguments_cut_off_by_the_token_limit_are_an_invalid_call",
        f"{_MESSAGES}the_sum_equals_the_unstreamed_message_however_the_bytes_are_cut",
    ),
    "P20": (
        f"{_CHAT}a_tool_call_without_an_id_gets_one_that_stays_the_same",
        f"{_STREAM}a_tool_call_without_an_id_gets_the_same_as_when_it_is_not_streamed",
    ),
    "P21": (f"{_SAY}an_error_event_before_content_is_as_its_status",),
    "P22": (f"{_SAY}p22_an_error_event_after_content_interrupts_the_stream",),
    "P23": (
        f"{_STREAM}what_comes_after_the_mark_is_ignored",
        f"{_MESSAGES}what_follows_the_end_is_ignored",
    ),
    "P24": (
        f"{_SAY}odd_json_is_a_value_or_malformed",
        "tests/adapters/wires/test_json.py::test_any_bytes_are_a_value_or_a_malformed_response",
    ),
    "P25": (f"{_SAY}p25_a_good_answer_under_a_wrong_content_type_is_taken",),
    "S1": (
        f"{_STATUS}every_status_is_of_the_class_it_stands_for",
        f"{_STATUS}s1_a_redirect_of_any_kind_is_an_error",
        "tests/transport/test_classify.py::test_every_status_has_its_class",
    ),
    "S2": (
        f"{_NET}s2_a_key_that_a_function_gives_is_asked_for_again_once",
        f"{_NET}s2_a_key_that_stays_the_same_is_refused_once",
        f"{_NET}s2_a_new_key_is_refused_once_too",
    ),
    "S3": (f"{_STATUS}what_will_fail_again_is_sent_once",),
    "S4": (f"{_STATUS}the_provider_may_say_whether_to_send_again",),
    "S5": (f"{_STATUS}a_failure_without_words_is_a_failure_of_the_server",),
    "S6": (f"{_STATUS}an_overload_is_waited_out",),
    "S7": (f"{_STATUS}s7_too_early_is_sent_again_on_another_connection",),
    "S8": (
        f"{_STATUS}s8_want_of_money_is_one_request",
        f"{_STATUS}s8_a_ramp_that_is_too_steep_is_not_want_of_money",
    ),
    "S9": (
        f"{_STATUS}every_form_of_retry_after_is_read_or_ignored",
        f"{_STATUS}s9_longer_than_we_wait_is_said_at_once",
        f"{_STATUS}s9_how_long_we_wait_may_be_said",
        "tests/transport/test_retry.py::test_retry_after_is_read_in_every_form_and_garbage_is_ignored",
    ),
    "S10": (f"{_STATUS}headers_about_limits_never_spoil_an_answer",),
    "L1": (_JOB, f"{_LIMITS}a_limit_nobody_speaks_of_is_found_over_a_socket"),
    "L2": (_JOB,),
    "L3": (_JOB, f"{_LIMITS}l3_headers_keep_a_job_from_being_refused"),
    "L4": (_JOB,),
    "L5": (_JOB, f"{_LIMITS}a_limit_nobody_speaks_of_is_found_over_a_socket"),
    "L6": (_JOB,),
    "L7": (_JOB,),
    "L8": (
        f"{_JOBS}an_outage_of_a_minute_is_met_with_few_requests_and_soon_over",
        f"{_LIMITS}l8_an_outage_is_met_with_few_requests_and_loses_nothing",
    ),
    "L9": (_JOB,),
    "L10": (_JOB,),
    "L11": (_JOB,),
    "L12": (
        f"{_JOBS}without_credit_one_request_speaks_for_all",
        f"{_GOVERNED}without_credit_the_rows_of_a_batch_are_one_request",
        f"{_STATUS}s8_want_of_money_is_one_request",
    ),
    "L13": (f"{_STATUS}s9_longer_than_we_wait_is_said_at_once",),
    "L14": (
        f"{_STATUS}every_form_of_retry_after_is_read_or_ignored",
        f"{_LIMITS}l14_what_cannot_be_waited_for_is_said_at_once",
        f"{_LIMITS}l14_nobody_sends_while_the_key_is_paused",
        _JOB,
    ),
    "L15": (f"{_JOBS}a_thousand_waiters_do_not_resume_as_a_herd",),
    "L16": (
        f"{_GOVERNED}another_key_organisation_address_or_model_has_its_own",
        f"{_LIMITS}l16_a_pause_is_that_of_its_key_and_model_only",
    ),
    "L17": (f"{_LIMITS}l17_a_slow_handler_holds_nobody_else",),
    "C1": (
        f"{_CANCEL}c1_a_call_cancelled_at_any_await_leaves_nothing",
        f"{_CANCEL}c1_a_batch_cancelled_at_any_time_leaves_nothing",
        f"{_CANCEL}c1_a_call_cancelled_twice_ends_at_once",
    ),
    "C2": (f"{_CANCEL}c2_a_timeout_of_asyncio_around_a_call_is_its_own",),
    "C3": (f"{_CANCEL}c3_a_stream_that_is_left_gives_all_back",),
    "C4": (
        f"{_BATCH}first_failure_cancels_its_siblings_and_awaits_them",
        f"{_BATCH}return_exceptions_puts_errors_in_their_place",
    ),
    "C5": (
        f"{_CANCEL}c5_ctrl_c_in_a_batch_ends_it_and_keeps_what_is_finished",
        f"{_BATCH}ctrl_c_cancels_the_calls_and_awaits_them",
    ),
    "C6": (f"{_CANCEL}c6_loops_in_two_threads_share_a_model",),
    "C7": (f"{_CANCEL}c7_fifty_event_loops_in_turn_use_one_model",),
    "C8": (f"{_CANCEL}c8_a_sync_call_inside_a_running_loop_works",),
    "C9": (f"{_CANCEL}c9_a_forked_child_has_connections_of_its_own",),
    "C10": (f"{_CANCEL}c10_sixty_four_threads_share_a_model",),
    "C11": (f"{_CANCEL}a_program_that_ends_in_mid_stream_ends_at_once_and_says_nothing",),
    "C12": (f"{_CANCEL}a_program_that_ends_in_mid_stream_ends_at_once_and_says_nothing",),
    "C13": (f"{_CANCEL}handlers_hear_of_each_retry_once",),
    "C14": (f"{_CANCEL}c14_an_event_loop_that_is_not_asyncios_is_refused",),
    "C15": (f"{_CANCEL}c15_a_handler_that_raises_changes_nothing_and_is_logged_once",),
    "J1": (
        f"{_SURVIVAL}a_job_killed_at_any_moment_completes_without_a_row_missing_or_twice",
        f"{_SURVIVAL}fifty_kills_of_a_job_of_two_thousand_rows",
    ),
    "J2": (
        f"{_SURVIVAL}a_torn_store_costs_its_last_row_only",
        f"{_STORE}a_store_cut_at_any_byte_is_read_as_it_was_or_said_to_be_damaged",
        f"{_STORE}a_flipped_bit_costs_its_record_only",
    ),
    "J3": (
        f"{_RUN}a_full_disk_stops_the_job_and_room_lets_it_go_on",
        f"{_STORE}a_full_disk_names_the_file_and_leaves_what_was_synced",
        f"{_STORE}a_failing_disk_is_a_disk_error",
        f"{_ROWS}a_disk_that_fails_while_rows_are_read_is_a_disk_error",
    ),
    "J4": (f"{_RUN}a_changed_prompt_model_or_input_is_refused_with_the_difference",),
    "J5": (
        f"{_RUN}a_job_that_runs_is_refused_to_others",
        f"{_SURVIVAL}a_second_process_is_refused_and_a_dead_one_is_no_hindrance",
    ),
    "J6": (f"{_LIMITS}a_clock_that_jumps_changes_nothing",),
    "J7": (
        f"{_SURVIVAL}a_million_rows_fit_into_300_mb",
        f"{_SURVIVAL}memory_does_not_grow_with_the_file",
    ),
    "J8": (
        f"{_ROWS}a_bad_csv_row_fails_alone_with_its_line",
        f"{_ROWS}a_huge_cell_fails_alone",
        f"{_ROWS}a_bad_json_line_fails_alone_with_its_line",
        f"{_ROWS}bytes_of_another_encoding_name_the_option",
        f"{_RUN}bad_rows_fail_alone_with_their_line",
    ),
    "J9": (
        f"{_STORE}a_small_file_is_replaced_whole_or_not_at_all",
        f"{_SURVIVAL}a_signal_drains_the_job_and_it_goes_on",
    ),
    "J10": (
        f"{_SURVIVAL}a_signal_drains_the_job_and_it_goes_on",
        f"{_SURVIVAL}calls_that_do_not_end_are_not_waited_for_for_ever",
    ),
    "J11": (
        f"{_RUN}equal_questions_are_asked_once_and_the_saving_is_told",
        f"{_RUN}without_dedupe_each_row_is_asked",
    ),
    "J12": (
        f"{_CACHES}a_file_that_cannot_be_used_is_a_miss_and_says_so_once",
        f"{_CACHES}a_locked_file_is_a_miss",
        f"{_CACHES}an_answer_that_cannot_be_read_is_a_miss",
    ),
    "J13": (
        "tests/jobs/batch_api/test_kill_points.py::test_a_killed_batch_job_makes_as_many_batches_as_it_has_parts",
        f"{_ODD}each_input_has_one_result_whatever_the_provider_leaves_out_or_says_twice",
        f"{_ODD}what_an_expired_batch_has_answered_is_kept",
        f"{_ODD}what_is_answered_when_it_is_cancelled_is_kept",
        f"{_ODD}a_full_queue_is_waited_for_and_fewer_batches_are_made_at_a_time",
        f"{_ODD}a_download_that_breaks_is_gone_on_with",
        f"{_ODD}no_key_is_sent_to_another_host",
    ),
    "X1": (
        f"{_SECRETS}no_failure_shows_a_secret",
        f"{_SECRETS}a_call_that_goes_well_shows_no_secret",
        f"{_SECRETS}events_show_no_secret",
        f"{_SECRETS}no_refused_argument_shows_a_secret",
        f"{_SECRETS}no_refused_call_shows_a_secret",
        f"{_SECRETS}no_dump_shows_a_secret",
        f"{_SECRETS}no_pickle_carries_a_secret_and_each_says_what_it_left",
        f"{_SECRETS}a_dump_of_all_stacks_shows_no_secret",
        f"{_SECRETS}files_of_a_cache_hold_no_secret_and_are_the_owners",
        f"{_SECRETS}no_file_of_a_job_holds_a_secret_killed_or_finished",
        f"{_SECRETS}no_file_of_a_batch_holds_a_secret_killed_or_finished",
        f"{_SECRETS}no_secret_of_a_command_line_is_kept",
        f"{_RUN}no_secret_is_in_a_jobs_folder",
    ),
    "X2": (f"{_SECRETS}no_failure_shows_a_secret", f"{_SECRETS}no_dump_shows_a_secret"),
    "X3": (
        f"{_SECRETS}no_failure_shows_a_secret",
        f"{_SECRETS}a_masked_error_still_says_what_happened",
        f"{_SECRETS}a_proxy_that_says_its_password_again_is_masked",
        f"{_SECRETS}no_file_of_a_batch_holds_a_secret_killed_or_finished",
    ),
    "X4": (
        f"{_GOVERNED}a_limiter_shows_no_credential",
        f"{_GOVERNED}a_limit_that_is_learned_is_told",
    ),
    "X5": (
        f"{_CACHES}the_file_and_those_beside_it_are_for_their_owner_only",
        f"{_SECRETS}no_file_of_a_job_holds_a_secret_killed_or_finished",
        f"{_SECRETS}no_file_of_a_batch_holds_a_secret_killed_or_finished",
    ),
    "H1": (
        f"{_HOSTILE}a_template_may_name_variables_and_nothing_else",
        f"{_HOSTILE}a_template_does_not_fill_the_memory_with_blanks",
        f"{_HOSTILE}a_value_is_never_read_as_a_template",
    ),
    "H2": (f"{_HOSTILE}jinja_is_sandboxed", f"{_HOSTILE}mustache_looks_into_mappings_only"),
    "H3": (
        f"{_LAW}nothing_is_ever_unpickled_or_evaluated",
        f"{_CACHES}an_answer_that_cannot_be_read_is_a_miss",
    ),
    "H4": (
        f"{_HOSTILE}what_no_header_can_hold_is_refused_without_showing_it",
        f"{_HOSTILE}a_model_is_a_printable_name",
    ),
    "H5": (
        f"{_HOSTILE}a_deployment_is_one_segment_of_the_path",
        f"{_HOSTILE}a_deployment_is_no_step_up_the_path",
        f"{_HOSTILE}an_id_leads_nowhere_else",
    ),
    "H6": (f"{_HOSTILE}an_id_leads_nowhere_else",),
    "H7": (f"{_HOSTILE}an_image_is_never_fetched_by_us",),
    "H8": (
        f"{_HOSTILE}results_that_lie_elsewhere_get_no_key",
        f"{_HOSTILE}a_redirect_is_an_error_and_takes_nothing_along",
        f"{_ODD}no_key_is_sent_to_another_host",
        f"{_ODD}redirects_are_not_followed",
    ),
    "H9": (f"{_HOSTILE}arguments_of_a_tool_are_data",),
    "H10": (f"{_HOSTILE}a_spreadsheet_runs_nothing_of_an_answer_where_it_is_guarded",),
    "H11": (
        f"{_HOSTILE}a_megabyte_of_anything_is_read_at_once",
        f"{_HOSTILE}a_partial_document_of_a_megabyte_is_read_in_a_memory_of_its_size",
    ),
    "H12": (
        f"{_HOSTILE}netrc_and_other_services_keys_stay_where_they_are",
        f"{_HOSTILE}a_proxy_of_the_environment_is_told_its_own_password_only",
    ),
    "H13": (f"{_HOSTILE}a_terminal_obeys_nothing_a_provider_says",),
    "Q18": (f"{_CANCEL}handlers_hear_of_each_retry_once",),
    "Q19": (f"{_GATE}a_burst_of_a_hundred_refusals_is_one_cut",),
    "Q20": (
        f"{_GATE}a_call_given_up_in_the_queue_sends_nothing_and_leaves_nothing",
        f"{_GOVERNED}a_task_cancelled_in_the_queue_sends_nothing",
    ),
    "Q21": (
        f"{_CANCEL}c1_a_thousand_calls_cancelled_at_random_leave_nothing",
        f"{_WAITING}cancelled_waiters_leave_nothing_and_the_next_go_on",
    ),
    "Q22": (_BEGUN_AGAIN, f"{_NET}n11_a_reset_after_content_hands_over_exactly_what_came"),
    "Q23": (f"{_LIMITS}l16_a_pause_is_that_of_its_key_and_model_only",),
    "Q25": (
        f"{_GOVERNED}what_is_idle_for_ten_minutes_is_forgotten",
        f"{_WAITING}cancelled_waiters_leave_nothing_and_the_next_go_on",
    ),
    "Q26": (f"{_JOBS}retried_rows_go_first",),
}

NOT_HELD = {
    "Q24": "A time, which no test gates on: `python -m benchmarks` prints what the limiter costs a call.",
}

# Held but for a case, which is said here.
PARTLY = {
    "N24": "Our own connections speak HTTP/1.1 only; it is held for a client of the user's own that speaks HTTP/2.",
    "N17": 'Over `engine="aiohttp"` bytes after an answer in its packet make an error of it, and it is asked again.',
    "N28": "Async, a server that answers and then resets without reading on: asyncio drops what it has received "
    "when a write fails. A server that reads on (any that closes as RFC 9112 9.6 wants) is heard.",
    "S7": 'Over `engine="aiohttp"` a 425 may be sent again on the same connection.',
    "C11": "With handlers or in a chain, a stream that is still held when its loop is wound up by hand is closed "
    "by asyncio and by the step around it at once, and asyncio may log that.",
    "X1": "OpenTelemetry: nothing of ours writes spans. The Batch APIs go through the SDKs, whose own debug logs show "
    "addresses and headers, and what a provider writes into the results of a batch is kept on the disk as it came.",
    "X2": "`vars(model)` has `default_headers` and `base_url` as they were given; its key is masked there too.",
    "H2": "A Jinja template may still ask for much memory (`{{ a * 10**9 }}`): take templates from people you know.",
    "H6": "Nothing of ours makes a path of a name: caches, prompts, jobs and configuration are given by their paths.",
}
