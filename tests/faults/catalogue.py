"""Where each line of the fault catalogue is held, and which are not.

The lines are those of issue 5's groups: N network, P protocol, S status, L limits, C cancellation and concurrency. L1
to L13 are the properties P1 to P13, L14 is P14 to P17. A line of `HELD` names the tests that hold it, of `NOT_HELD` why
there is none. `test_catalogue.py` sees to it that all are here.
"""

from __future__ import annotations

_COUNTS = {"N": 28, "P": 25, "S": 10, "L": 17, "C": 15}
LINES = [f"{group}{n}" for group, count in _COUNTS.items() for n in range(1, count + 1)]

_NET, _SAY, _STATUS, _CANCEL = (
    f"tests/faults/test_{name}.py::test_" for name in ("network", "protocol", "status", "cancellation")
)
_CHAT = "tests/adapters/openai/test_chat_completions.py::test_"
_STREAM = "tests/adapters/openai/test_stream.py::test_"
_MESSAGES = "tests/adapters/anthropic/test_messages_stream.py::test_"
_ANSWERS = "tests/adapters/anthropic/test_answers.py::test_"
_SSE = "tests/transport/test_sse.py::test_"
_BATCH = "tests/runnables/test_batch.py::test_"

_LIMITS = "tests/faults/test_limits.py::test_"
_GOVERNED = "tests/transport/governor/test_governed_calls.py::test_"
_JOBS = "tests/transport/governor/test_simulated_jobs.py::test_"
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
    "N6": (_AGAIN, "tests/transport/test_lines.py::test_a_stale_kept_alive_connection_is_replaced_unseen"),
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
    "N25": (f"{_NET}a_proxy_that_refuses_is_named_as_such",),
    "N26": (f"{_NET}http_that_is_legal_and_rare_is_read",),
    "N27": ("tests/transport/test_pools.py::test_a_full_pool_makes_the_next_call_wait_and_wakes_it",),
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
    "P10": (f"{_CHAT}usage_nobody_gave_is_none_and_not_zero", f"{_MESSAGES}no_usage_is_none_and_never_zero"),
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
    "P18": (f"{_STREAM}tool_calls_are_put_together", f"{_MESSAGES}gaps_and_unknown_events_and_deltas_are_tolerated"),
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
    "P23": (f"{_STREAM}what_comes_after_the_mark_is_ignored", f"{_MESSAGES}what_follows_the_end_is_ignored"),
    "P24": (
        f"{_SAY}odd_json_is_a_value_or_malformed",
        "tests/adapters/test_wire_json.py::test_any_bytes_are_a_value_or_a_malformed_response",
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
        f"{_JOBS}without_credit_one_at_a_time_is_one_request",
        f"{_JOBS}without_credit_the_waiting_rows_fail_without_a_request",
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
    "L16": (f"{_GOVERNED}another_key_organisation_address_or_model_has_its_own",),
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
}

NOT_HELD = {
    "N24": "Our connections speak HTTP/1.1 only: there is no GOAWAY and no RST_STREAM. A client of the user's own that "
    "speaks HTTP/2 raises `RemoteProtocolError`, which is tried again as N7 is.",
}

# Held but for a case, which is said here.
PARTLY = {
    "N28": "Async, a server that answers and then resets without reading on: asyncio drops what it has received "
    "when a write fails. A server that reads on (any that closes as RFC 9112 9.6 wants) is heard.",
    "S7": 'Over `engine="aiohttp"` and clients of the user\'s own, a 425 may be sent again on the same connection.',
    "C11": "With handlers or in a chain, a stream that is still held when its loop is wound up by hand is closed "
    "by asyncio and by the step around it at once, and asyncio may log that.",
}
