/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mutants.h - lines of this directory that the interleaving explorer (tests/model) weakens, one at
 * a time, to see that it notices. In every other build RING_MUTANT() is 0 and leaves no trace.
 */
#ifndef BUS_RING_MUTANTS_H
#define BUS_RING_MUTANTS_H

/* clang-format off */
#define RING_MUTANTS(X) \
	X(no_f1) X(no_r1) X(no_frontier) X(no_byte_gate) X(no_slot_gate) X(lying_untagged) \
	X(no_lying_test) X(no_parked_test) X(relaxed_r2) X(relaxed_a2) X(no_a1_peek) \
	X(no_a1_release) X(no_test_peek) X(no_test_release) X(frontier_off_by_one) \
	X(no_byte_test) X(no_seq_test) X(no_w1) X(epoch_before_w1) X(woken_is_a_flag) \
	X(hostile_off_by_one) X(no_w2) X(no_w3_pub) X(no_f3) X(head_not_reread) \
	X(joined_goes_back) X(tag_before_cursor) X(final_zero) X(drained_by_head) \
	X(drained_no_second_look) X(ready_ignores_end) X(wake_at_beyond) X(wake_at_after) \
	X(wake_at_unread)
/* clang-format on */

#if defined(BUS_EXPLORE)
enum ring_mutant {
	RING_MUTANT_none,
#define X(name) RING_MUTANT_##name,
	RING_MUTANTS(X)
#undef X
};
extern int ring_mutant;
#define RING_MUTANT(name) (ring_mutant == RING_MUTANT_##name)
#else
#define RING_MUTANT(name) 0
#endif

#endif
