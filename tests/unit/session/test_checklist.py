"""What a scheme for signed URLs should have, item by item, and the tests that show it here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]

CORE, LAWS = "unit/session/core/", "properties/test_signed_url_laws.py"
OLD, KNOWN = "unit/session/attacks/test_ancestor_attacks.py", "unit/session/attacks/test_known_attacks.py"
ORACLES, VECTORS = "unit/session/oracles/test_canonical_oracles.py", "house/test_vectors.py"

CHECKLIST: dict[str, list[str]] = {
    "the method is bound; GET may imply HEAD and nothing implies POST": [
        f"{OLD}::test_a_link_to_look_at_is_no_leave_to_change",
        f"{LAWS}::test_any_other_method_is_refused",
    ],
    "scheme, host and port are bound": [
        f"{OLD}::test_a_url_is_no_good_elsewhere",
        f"{LAWS}::test_any_other_scheme_host_port_path_or_query_is_refused",
    ],
    "an exact path, or a prefix that ends with a slash": [
        f"{OLD}::test_segments_of_a_playlist_come_with_it_and_their_neighbours_do_not",
        f"{LAWS}::test_a_prefix_covers_what_is_below_it_and_nothing_else",
    ],
    "a key id": [
        f"{LAWS}::test_any_other_key_is_refused",
        f"{KNOWN}::test_a_key_id_leads_nowhere_but_into_the_keys",
    ],
    "a beginning and an end, with a small leeway that can be configured": [
        f"{LAWS}::test_time_is_a_half_open_interval",
        f"{OLD}::test_at_its_very_end_a_grant_is_over",
    ],
    "a greatest lifetime; an end of 0, or none, is refused": [
        f"{OLD}::test_lifetimes_are_bounded",
        f"{OLD}::test_a_lifetime_beyond_the_bound_is_refused_also_when_somebody_signed_it",
        f"{OLD}::test_no_expiry_is_no_eternity",
    ],
    "an address, IPv4 /32 or IPv6 /64, where wanted": [
        f"{LAWS}::test_any_other_network_is_refused",
        f"{VECTORS}::test_the_vectors_are_up_to_date",
    ],
    "session and generation, so that ending and resuming revoke": [
        f"{LAWS}::test_any_other_generation_is_refused",
        f"{KNOWN}::test_keys_of_one_purpose_open_nothing_else",
    ],
    "the query is a multi-map: encoded once, unreserved characters bare, capital digits, a space is %20": [
        f"{ORACLES}::test_a_signer_writes_the_query_that_botocore_writes",
        f"{LAWS}::test_whatever_people_write_into_a_query_arrives",
        f"{KNOWN}::test_a_plus_is_not_quietly_a_space",
    ],
    "parameters are sorted after encoding, duplicates stay": [
        f"{KNOWN}::test_sorting_before_encoding_is_not_sorting_after_it",
        f"{LAWS}::test_order_matters_among_parameters_of_one_name_only",
        f"{OLD}::test_two_values_of_one_name_survive_signing",
    ],
    "an empty value and none are different": [
        f"{KNOWN}::test_a_parameter_without_a_sign_is_not_one_with_an_empty_value",
        f"{ORACLES}::test_where_we_differ_about_queries",
    ],
    "a reserved parameter that is there already is an error of the signer": [
        f"{OLD}::test_a_reserved_parameter_cannot_be_put_into_what_is_signed",
        f"{OLD}::test_signing_again_does_not_give_a_url_that_never_verifies",
    ],
    "a reserved parameter that is there twice is refused": [
        f"{OLD}::test_two_grants_are_refused_whichever_is_good",
        f"{LAWS}::test_the_reserved_parameter_is_found_or_refused_however_it_stands",
        f"{CORE}test_canonical.py::test_the_reserved_parameter_is_refused",
    ],
    "dots, empty segments, encoded slashes and dots, NUL, what is not UTF-8, backslashes, fragments: refused first": [
        f"{KNOWN}::test_no_spelling_leads_out_of_a_folder",
        f"{KNOWN}::test_decoding_twice_gives_nothing_new",
        f"{LAWS}::test_a_canonical_path_is_its_own",
        f"{CORE}test_canonical.py::test_characters_that_no_url_holds",
        f"{OLD}::test_a_fragment_is_not_carried_along",
    ],
    "fields with their lengths, and a tag for version and purpose": [
        f"{KNOWN}::test_fields_cannot_flow_into_each_other",
        f"{LAWS}::test_different_fields_give_different_frames",
        f"{LAWS}::test_the_message_is_a_frame",
        f"{KNOWN}::test_a_grant_of_one_form_is_none_of_the_other",
        f"{KNOWN}::test_a_url_key_is_no_token_and_a_token_no_url_key",
    ],
    "the signature is compared first, in constant time; then the time": [
        f"{OLD}::test_who_does_not_hold_the_key_learns_nothing_about_time",
        f"{KNOWN}::test_comparing_looks_at_all_of_a_signature",
    ],
    "two keys or more with overlap, retired after the longest lifetime": [
        f"{LAWS}::test_what_an_old_key_signed_verifies_until_it_retires",
        "properties/test_token_laws.py::test_rotation_adds_one_key_and_keeps_what_lives",
    ],
    "nothing of a grant in messages": [
        f"{CORE}test_nothing_leaks.py::test_the_detail_for_the_log_holds_nothing_of_the_request",
        f"{CORE}test_nothing_leaks.py::test_what_a_grant_shows_is_no_credential",
        f"{OLD}::test_the_caller_is_told_the_same_whatever_the_cause",
    ],
    "use once, for URLs that change something": [
        f"{KNOWN}::test_the_same_link_again_is_refused_where_once_was_meant",
        f"{LAWS}::test_the_memory_is_asked_once_for_each_good_request_and_until_when",
    ],
    "one algorithm, which nobody chooses": [
        f"{KNOWN}::test_nobody_chooses_the_algorithm",
        f"{KNOWN}::test_each_field_of_the_grant_is_signed",
        f"{KNOWN}::test_appending_to_a_message_needs_the_key",
    ],
    "no input raises anything but a refusal, and its work is bounded": [
        f"{LAWS}::test_no_request_raises_anything_but_a_refusal",
        f"{OLD}::test_a_broken_escape_is_a_refusal_and_no_exception",
        f"{CORE}test_canonical.py::test_no_pattern_can_go_back_far",
        f"{CORE}test_canonical.py::test_twice_as_long_costs_about_twice_as_many_steps",
    ],
}


@pytest.mark.parametrize("item", CHECKLIST)
def test_each_item_has_its_tests(item: str) -> None:
    assert CHECKLIST[item]
    for place in CHECKLIST[item]:
        file, _, name = place.partition("::")
        functions = ast.walk(ast.parse((TESTS / file).read_text(encoding="utf-8")))
        assert name in {node.name for node in functions if isinstance(node, ast.FunctionDef)}, place
