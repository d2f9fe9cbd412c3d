//! States what every database must do, as one suite of tests over `dyn Store`. Owns the fixture and
//! the list of promises. Face: `conformance!`, `Fixture`, `Base`. Never knows a dialect: what
//! differs comes in through `Base`.

pub(crate) mod access;
pub(crate) mod alerts;
pub(crate) mod auditing;
pub(crate) mod enforcement;
pub(crate) mod findings;
pub(crate) mod jobs;
pub(crate) mod leases;
pub(crate) mod lifecycle;
pub(crate) mod opening;
pub(crate) mod projects;
pub(crate) mod queue;
pub(crate) mod registries;
pub(crate) mod routing;
pub(crate) mod runs;
pub(crate) mod scans;
pub(crate) mod schedules;
pub(crate) mod sealing;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::base::crash_points::NoCrashPoints;
use crate::base::entropy::SeededEntropy;
use crate::base::ids::{EventId, RunId};
use crate::base::time::TestClock;
use crate::base::{Ambient, CrashPoints, Timestamp};
use crate::domain::audit::{Actor, AuditEvent, AuditEvents, EventContext, EventType, Outcome};
use crate::domain::redaction::SafeText;
use crate::domain::runs::{
    Context, Details, End, Holder, Inputs, OperationRun, Priority, RestartProject, RunState,
    RunType, Source, SummaryCounts, Tenants, identity_hash,
};
use crate::store::{
    Claim, Claimant, CompleteRun, RunProgress, StartAttempt, Store, StoreError, Teller, Write,
};

/// Makes every promise of the suite a test of the database that `$base` makes: an async function
/// without arguments whose result is an `Arc<dyn Base>`.
macro_rules! conformance {
    ($base:path) => {
        $crate::store::suite::tests_of! { $base,
            runs {
                a_run_goes_from_the_queue_to_its_end_and_reads_back_the_same
                asking_again_finds_the_active_run_and_a_completed_one_does_not_count
                two_runs_of_one_subject_never_execute_at_once
                an_expired_lock_is_taken_over_and_its_late_holder_is_fenced
                a_sign_of_life_keeps_the_lock
                an_interrupted_attempt_leaves_its_steps_unknown_and_is_fenced_by_the_next
                a_waiting_run_keeps_its_lock_and_wakes_when_it_is_due
                what_was_decided_of_a_wait_counts_once_and_for_that_wait
                a_refused_change_leaves_neither_record_nor_event
                pages_meet_without_gap_or_overlap_while_runs_are_added
                a_cursor_that_no_list_made_is_refused
                filters_restrict
                a_subject_never_gets_stuck
                the_backlog_counts_what_is_not_completed
                what_is_done_for_an_active_run_is_refused_once_it_has_ended
            }
            queue {
                work_is_taken_by_priority_then_age_and_never_twice
                a_later_run_waits_for_its_time
                a_paused_or_full_part_of_the_queue_gives_no_work
                a_run_goes_to_the_agent_of_its_host
                a_run_is_accepted_and_begun_in_one_transaction
                a_failed_attempt_is_tried_again_after_its_pause_until_the_run_is_a_dead_letter
                a_dead_letter_is_tried_again_or_dismissed_once
                a_newer_run_takes_the_place_of_older_ones
                a_hosted_type_is_registered_and_bounds_its_runs
                a_hosted_type_that_is_used_is_not_forgotten
                the_depth_of_the_queue_is_told_by_type
            }
            leases {
                a_worker_that_lost_its_attempt_cannot_write
                a_worker_that_spoke_up_is_not_taken_for_lost
                a_lost_worker_is_known_by_host_boot_and_lease
            }
            routing {
                every_beginning_is_recorded_in_its_transaction
                an_agent_takes_the_work_of_the_tenants_it_serves
            }
            jobs {
                a_bulk_run_counts_each_job_once_and_ends_with_the_last
                a_bulk_run_waits_with_its_lock_and_without_a_worker
                only_the_failed_jobs_are_tried_again
                a_cancelled_bulk_run_ends_with_the_jobs_that_were_at_work
                a_bulk_run_that_never_began_leaves_no_open_jobs
                a_run_that_waits_keeps_its_lock_however_long
                a_bulk_run_is_accepted_with_its_jobs
                a_final_failure_of_a_job_is_not_tried_again
                a_job_given_back_in_order_is_not_interrupted_however_often
            }
            findings {
                findings_read_back_and_what_lacks_is_counted
                a_finding_changes_only_from_the_version_that_was_read
                a_job_locks_its_tenant_beside_its_run
                an_interrupted_job_goes_on_where_it_was_and_counts_once
                a_job_whose_lock_was_taken_over_cannot_write
            }
            lifecycle {
                a_finding_that_is_there_is_not_added_again
                findings_are_listed_by_severity_and_by_what_is_asked
                an_exception_changes_only_from_the_status_that_was_read
                what_is_overdue_or_long_over_is_found
                standings_are_put_dropped_and_counted
            }
            auditing {
                the_log_refuses_every_way_to_change_it
                damage_behind_the_triggers_is_found
                records_are_found_by_what_the_filters_say
                the_options_of_the_filters_are_what_a_viewer_can_see
            }
            sealing {
                a_log_is_sealed_up_to_its_end_once
                a_log_that_was_hashed_anew_is_found
                a_changed_seal_is_found
                a_tombstone_that_is_taken_away_is_found
                a_log_signed_with_another_key_is_not_believed
                persons_beside_a_record_cannot_be_changed
                old_segments_are_purged_and_the_rest_verifies
                an_erasure_that_was_interrupted_goes_on
                an_export_proves_itself_and_every_damage_to_it_is_found
                no_random_edit_of_an_export_stays_unnoticed
            }
            opening {
                the_first_start_creates_a_database_and_says_so_once
                a_database_that_is_not_for_this_program_is_refused_with_the_reason
                a_database_that_was_sealed_with_another_key_is_refused
                what_was_answered_outlives_the_process
                one_failing_caller_takes_nobody_with_him
                a_crash_beside_a_commit_leaves_all_of_it_or_nothing
                a_check_answers_without_writing
            }
            projects {
                stored_files_come_back_and_their_content_never_lies_open
                old_files_go_except_those_that_something_needs
                equal_files_are_stored_once
                who_changes_one_thing_of_a_project_loses_nothing_else
                what_was_decided_by_an_older_look_is_not_written
                a_removed_project_is_forgotten_unless_it_was_applied_again
                exits_of_one_container_add_up_and_a_new_container_starts_over
            }
            schedules {
                a_schedule_reads_back_until_it_is_dropped
                a_firing_and_its_run_are_recorded_together_and_once
                changing_a_schedule_never_brings_a_firing_back
            }
            alerts {
                rules_and_receivers_read_back_and_secrets_never_lie_open
                names_of_rules_and_receivers_are_unique_and_what_is_named_stays
                a_failed_run_leaves_its_deliveries_in_the_same_transaction
                only_the_end_raises_an_alert_and_a_dead_letter_raises_two
                a_delivery_is_taken_by_one_and_due_again_until_it_arrives
                deliveries_are_found_by_what_the_filters_say
                what_ended_long_ago_is_forgotten
            }
            registries {
                logins_read_back_and_passwords_never_lie_open
                a_registry_has_one_login_which_can_be_changed_and_forgotten
            }
            enforcement {
                what_was_done_to_a_container_is_kept_until_it_is_forgotten
                the_switch_and_what_is_worked_on_are_kept
            }
            scans {
                a_scan_reads_back_until_another_one_or_none_is_there
            }
            access {
                the_first_start_makes_an_owner_and_a_platform_user
                records_of_access_read_back_as_they_were_written
                names_are_unique_and_what_is_referred_to_exists
                a_workspace_keeps_an_owner_who_reaches_everything
                a_revoked_token_stays_revoked
                that_the_time_of_broken_glass_is_over_is_recorded_once
            }
        }
    };
}

/// One test for each function of the suite's modules.
macro_rules! tests_of {
    ($base:path, $($module:ident { $($promise:ident)* })*) => {
        $(mod $module {
            $(#[tokio::test]
            async fn $promise() {
                let fixture = $crate::store::suite::Fixture::on($base().await).await;
                $crate::store::suite::$module::$promise(fixture).await;
            })*
        })*
    };
}

pub(crate) use {conformance, tests_of};

/// A database of one test's own, and the state directory beside it.
pub(crate) trait Base: Send + Sync {
    /// Opens the store, as a process that starts does.
    fn open<'a>(
        &'a self,
        ambient: &'a Ambient,
    ) -> BoxFuture<'a, Result<Arc<dyn Store>, StoreError>>;

    /// Another one, empty.
    fn another(&self) -> BoxFuture<'_, Arc<dyn Base>>;

    /// Statements that no agent would run; the answer is what the database said against them.
    fn tamper<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<(), String>>;

    /// Statements that take the protection of the audit log away.
    fn unlock_audit(&self) -> &'static str;

    /// The same for its checkpoints.
    fn unlock_seals(&self) -> &'static str;

    /// A statement that adds a record to the audit log, but not the next one.
    fn leave_gap(&self) -> &'static str;

    /// Statements that leave a mark of a program that knows form 99.
    fn pretend_newer(&self) -> &'static str;

    /// How errors call the database.
    fn name(&self) -> String;

    /// Puts another key in the place of the one that the database was sealed with.
    fn change_key(&self);

    /// Whether these bytes lie anywhere in the database.
    fn holds<'a>(&'a self, bytes: &'a [u8]) -> BoxFuture<'a, bool>;
}

/// A store on a database of its own, with a clock that a test moves.
pub(crate) struct Fixture {
    pub(crate) base: Arc<dyn Base>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) ambient: Ambient,
    pub(crate) store: Arc<dyn Store>,
}

/// What a process with this clock is given. Of equal seeds come equal ids.
pub(crate) fn ambient(
    clock: &Arc<TestClock>,
    seed: u64,
    crash_points: Arc<dyn CrashPoints>,
) -> Ambient {
    let entropy = Arc::new(SeededEntropy::new(seed));
    Ambient { clock: Arc::clone(clock) as _, entropy, crash_points }
}

impl Fixture {
    /// Opens the store on an empty database.
    pub(crate) async fn on(base: Arc<dyn Base>) -> Self {
        Self::on_with(base, 1).await
    }

    /// The same with other ids: for one of several processes on a database.
    pub(crate) async fn on_with(base: Arc<dyn Base>, seed: u64) -> Self {
        let clock = Arc::new(TestClock::at("2026-01-01T00:00:00Z".parse().unwrap()));
        let ambient = ambient(&clock, seed, Arc::new(NoCrashPoints));
        let store = base.open(&ambient).await.unwrap();
        Self { base, clock, ambient, store }
    }

    /// A further store, on a further database.
    pub(crate) async fn another(&self) -> Self {
        Self::on(self.base.another().await).await
    }

    /// What a new process finds after this one was killed.
    pub(crate) async fn reopened(self) -> Self {
        self.reopened_with(Arc::new(NoCrashPoints)).await
    }

    /// The same for a process that is told where to die.
    pub(crate) async fn reopened_with(self, crash_points: Arc<dyn CrashPoints>) -> Self {
        let Self { base, clock, store, .. } = self;
        drop(store);
        let ambient = ambient(&clock, 2, crash_points);
        let store = base.open(&ambient).await.unwrap();
        Self { base, clock, ambient, store }
    }

    /// Why a new process refuses the database after the damage was done to it.
    pub(crate) async fn refused_after(self, damage: &str) -> StoreError {
        let Self { base, ambient, store, .. } = self;
        store.close().await.unwrap();
        drop(store);
        base.tamper(damage).await.unwrap();
        base.open(&ambient).await.err().expect("it must be refused")
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.ambient.now()
    }

    pub(crate) fn event(&self, event_type: EventType, summary: &str) -> AuditEvent {
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: self.store.scope().workspace_id,
            tenant_id: Some(self.store.scope().tenant_id),
            event_type,
            summary: SafeText::new(summary),
            outcome: Outcome::Info,
            actor: Actor::agent(),
            target: None,
            operation_run_id: None,
            context: EventContext::default(),
            occurred_at: self.now(),
        }
    }

    pub(crate) fn events(&self) -> AuditEvents {
        self.event(EventType::RunQueued, "something happened").into()
    }

    /// A queued restart of `project`; `service` tells equal requests from others.
    pub(crate) fn run(&self, project: &str, service: &str) -> OperationRun {
        self.run_of(Inputs::RestartProject(RestartProject {
            project: project.to_owned(),
            services: vec![service.to_owned()],
        }))
    }

    pub(crate) fn run_of(&self, inputs: Inputs) -> OperationRun {
        self.clock.advance(Duration::from_millis(1));
        let scope = self.store.scope();
        OperationRun {
            id: RunId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: scope.workspace_id,
            tenant_id: Some(scope.tenant_id),
            user_id: Some(scope.owner_id),
            initiator_name: scope.owner_name,
            source: Source::Cli,
            subject: inputs.subject(),
            priority: Priority::default(),
            run_at: None,
            host_id: Some(scope.host_id),
            retried_from: None,
            state: RunState::Queued,
            attempt: 0,
            failures: 0,
            is_dead_letter: false,
            jobs: None,
            run_identity_hash: identity_hash(scope.workspace_id, Some(scope.tenant_id), &inputs)
                .unwrap(),
            summary_counts: SummaryCounts::default(),
            failure_summary: Vec::new(),
            context: Context { inputs, details: Details::default() },
            cancel_requested_at: None,
            created_at: self.now(),
            started_at: None,
            completed_at: None,
        }
    }

    pub(crate) async fn commit(&self, write: Write) -> Result<(), StoreError> {
        self.store.commit(vec![write], self.events()).await
    }

    pub(crate) async fn queue(&self, project: &str, service: &str) -> OperationRun {
        let run = self.run(project, service);
        self.commit(Write::InsertRun(Box::new(run.clone()))).await.unwrap();
        run
    }

    /// An agent's process on this host.
    pub(crate) fn holder(&self, instance: &str) -> Holder {
        Holder {
            instance: instance.to_owned(),
            host_id: Some(self.store.scope().host_id),
            boot_id: Some("boot".to_owned()),
            is_hosted: false,
        }
    }

    pub(crate) async fn start(&self, run: &OperationRun, attempt: u32) -> Result<(), StoreError> {
        let start = StartAttempt {
            run_id: run.id,
            attempt,
            holder: self.holder("boot-1"),
            at: self.now(),
            lease_until: crate::base::time::after(self.now(), Duration::from_secs(900)),
        };
        self.commit(Write::StartAttempt(start)).await
    }

    /// Takes work as an agent of this host does, and names the runs.
    pub(crate) async fn claim(&self, limit: usize) -> Vec<RunId> {
        let claim = Claim {
            claimant: Claimant {
                holder: self.holder("boot-1"),
                tenants: Tenants::All,
                at: self.now(),
            },
            workspace_id: None,
            run_types: RunType::ALL.to_vec(),
            limit,
            teller: Teller::new(|_| None),
        };
        let claimed = self.store.claim(claim).await.unwrap();
        claimed.into_iter().map(|claimed| claimed.run.id).collect()
    }

    pub(crate) async fn complete(
        &self,
        run: &OperationRun,
        attempt: u32,
    ) -> Result<(), StoreError> {
        let complete = CompleteRun {
            run_id: run.id,
            attempt,
            end: End::Succeeded,
            at: self.now(),
            progress: RunProgress::default(),
        };
        self.commit(Write::CompleteRun(complete)).await
    }

    /// How many records the audit log has; it must be whole.
    pub(crate) async fn records(&self) -> u64 {
        let verdict = self.store.verify_audit().await.unwrap();
        assert_eq!(verdict.breaks, []);
        verdict.records
    }
}
