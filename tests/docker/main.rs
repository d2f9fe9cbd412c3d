//! Proofs on a real Docker Engine. `make test` finds or starts one; without it they fail.

mod support;
