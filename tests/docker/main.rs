//! Proofs on a real Docker Engine. `make test` finds or starts one; without it they fail.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "a proof prints how much it tried")]
#![expect(unreachable_pub, reason = "the modules of a test program have no outside")]

mod bad_input;
mod crash;
mod desired_state;
mod enforcement;
mod engine;
#[path = "../engine_suite/mod.rs"]
mod engine_suite;
mod exec;
mod hooks;
mod in_place;
mod openapi;
mod policies;
#[path = "../support/references.rs"]
mod references;
mod registries;
mod replacing;
mod round_trip;
mod same_verdict;
mod samples;
mod scanning;
mod secrets;
mod support;
mod unhealthy;
mod wanted;
mod zero_writes;
