//! The list of cases. One that is missing here is a warning: nothing uses its function.

/// Names every case once for a back-end: `sqlite::accounts::registers`.
macro_rules! conformance {
    ($backend:ident, $harness:ty $(, $needs:literal)?) => {
        mod $backend {
            $crate::suite::cases! { $harness, [$($needs)?]
                accounts {
                    registers_with_an_event,
                    an_authority_must_still_be_one_when_the_row_is_written,
                    a_name_is_taken_once_whatever_its_case,
                    an_address_is_taken_once,
                    one_of_32_registrations_wins,
                    finds_by_id_and_by_name,
                    lists_in_pages,
                    roles_change_claims_and_end_no_session,
                    the_same_roles_change_nothing,
                    disabling_ends_everything_and_enabling_revives_nothing,
                    nobody_is_not_an_error,
                }
                passwords {
                    are_found_by_name_and_by_address,
                    a_change_ends_the_other_sessions,
                    a_change_that_keeps_nothing_moves_the_epochs,
                    a_change_needs_the_password_that_was_compared,
                    a_session_that_ended_meanwhile_changes_nothing,
                    the_operator_needs_none,
                    a_change_ends_only_what_lives,
                    a_change_tells_of_tokens_that_a_verifier_s_leeway_lets_pass,
                    a_change_ends_thousands_at_once,
                    a_refused_sign_in_is_an_event,
                }
                sessions {
                    begins_with_an_event,
                    begins_only_under_the_password_that_was_compared,
                    does_not_begin_for_the_disabled,
                    a_stronger_hash_is_stored,
                    sign_ins_that_overtake_a_rehash_are_right,
                    is_told_alive_until_it_ends,
                    idleness_does_not_kill_access_tokens,
                    the_list_is_newest_first_and_bounded,
                    the_list_tells_why_each_is_dead,
                    ends_once_and_only_for_its_owner,
                    a_further_device_leaves_the_first_alone,
                    one_too_many_ends_the_least_recently_used,
                    what_is_dead_takes_no_room,
                    a_limit_that_was_lowered_ends_as_many_as_are_too_many,
                    racing_sign_ins_do_not_exceed_the_limit,
                    refreshes_beside_a_sign_in_too_many_are_right,
                }
                rotation {
                    rotates_and_adds_no_row,
                    a_retry_gets_the_same_successor,
                    a_session_belongs_to_its_client,
                    the_window_of_a_retry_ends_by_use_and_by_time,
                    a_retry_key_outlasts_the_overlap,
                    another_retry_key_is_a_replay,
                    an_ancestor_is_late_and_then_a_replay,
                    a_duplicate_is_late_across_two_stretches,
                    a_replay_ends_the_session_and_tells_the_feed,
                    another_secret_of_the_right_generation_is_a_replay,
                    a_generation_never_reached_is_a_rollback,
                    refusals_change_nothing,
                    roles_are_read_afresh,
                    idleness_ends_it_and_rotation_extends_it,
                    nothing_outlives_the_session,
                    recurring_retries_are_an_event,
                    fifty_presentations_give_one_successor,
                    survives_a_restart,
                }
                revocations {
                    an_account_s_sessions_end_at_once,
                    everyone_s_sessions_end_at_once,
                    a_sign_in_in_the_same_millisecond_works,
                    epochs_grow_though_the_clock_goes_back,
                    the_receipt_counts_what_was_alive,
                    the_feed_is_kept_for_as_long_as_tokens_live,
                    whoever_begins_to_read_the_feed_begins_after_what_has_expired,
                    the_feed_is_read_in_pages,
                    the_signal_wakes_whoever_waits,
                    other_processes_move_the_feed,
                    racing_rotations_and_sign_ins_do_not_survive,
                    a_restore_that_is_accepted_begins_another_history,
                }
                readers {
                    are_admitted_found_and_dismissed,
                }
                keys {
                    are_kept_in_order_with_their_ends,
                    are_added_only_after_the_newest,
                    are_added_together_or_not_at_all,
                    one_of_16_rotations_wins,
                    are_removed_when_nothing_verifies_with_them,
                }
                events {
                    tell_who_and_from_where,
                    are_queried_by_account_kind_and_position,
                }
                throttles {
                    charges_of_two_stores_add_up,
                    racing_charges_are_all_counted,
                    a_batch_counts_a_bucket_as_often_as_it_names_it,
                    an_empty_batch_is_nothing,
                    usage_is_bounded_however_often_it_is_charged,
                    survive_a_restart,
                    are_pruned_when_they_have_grown_back,
                    are_pruned_in_steps_and_where_a_clock_was_ahead,
                    a_charge_beside_pruning_is_counted,
                }
                upkeep {
                    prunes_what_has_been_dead_for_long,
                    prunes_in_steps,
                    prunes_old_events_and_no_feed_entry_that_matters,
                    is_ready,
                    lives_through_a_restart,
                }
            }
            #[test]
            $(#[ignore = $needs])?
            fn random_commands_agree_with_the_core() {
                $crate::cases::random::agrees_with_the_core::<$harness>();
            }
        }
    };
}

macro_rules! cases {
    ($harness:ty, $needs:tt $($slice:ident { $($case:ident,)* })*) => {
        $(mod $slice {
            #[allow(unused_imports, reason = "not every path of a harness begins at the root")]
            use super::super::*;
            $($crate::suite::case! { $harness, $needs, $slice, $case })*
        })*
        use super::*;
    };
}

macro_rules! case {
    ($harness:ty, [$($needs:literal)?], $slice:ident, $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        $(#[ignore = $needs])?
        async fn $case() {
            let world = $crate::world::World::<$harness>::new().await;
            $crate::cases::$slice::$case(world).await;
        }
    };
}

pub(crate) use {case, cases, conformance};
