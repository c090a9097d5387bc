/* SPDX-License-Identifier: Apache-2.0 */
/* cases.c - which scenario must catch which mutant. `explore --matrix` says which ones do. */
#include "scenarios.h"
#include "world.h"

static const struct {
	const struct explore_scenario *first;
	const int *count;
} groups[] = {
	{ live_scenarios, &live_scenario_count },
	{ join_scenarios, &join_scenario_count },
	{ end_scenarios, &end_scenario_count },
};

int scenario_count(void)
{
	int n = 0;

	for (size_t i = 0; i < BUS_ARRAY_LEN(groups); i++)
		n += *groups[i].count;
	return n;
}

const struct explore_scenario *scenario_at(int i)
{
	size_t g = 0;

	while (i >= *groups[g].count)
		i -= *groups[g++].count;
	return &groups[g].first[i];
}

const struct mutant_case mutant_cases[] = {
	{ "no_f1", "join.tight/tso", "refresh reads the epoch without a fence before it", false },
	{ "no_f1", "join.tight/c11", "the same", false },
	{ "no_r1", "lossy.slots/c11", "data may be seen before the frontier", false },
	{ "no_frontier", "lossy.slots/tso", "no frontier at all", false },
	{ "no_byte_gate", "live.1x1.bytes/tso", "the publisher looks at slots only", false },
	{ "no_slot_gate", "live.1x1/tso", "the publisher does not wait for readers", false },
	{ "lying_untagged", "join.untagged/tso",
	  "the start that busd assigned counts as a cursor seen", false },
	{ "no_lying_test", "live.liar/tso", "a cursor that runs backwards is believed", false },
	{ "no_parked_test", "join.killed/tso", "a parked cursor is taken for a lie", false },
	{ "relaxed_r2", "live.1x1/c11", "the commit is no release store", false },
	{ "relaxed_a2", "live.1x1/c11", "the commit is not loaded with acquire", false },
	{ "no_a1_peek", "lossy.slots/c11", "no acquire fence between slot and frontier", false },
	{ "no_a1_release", "lossy.bytes/c11", "no acquire fence between payload and frontier", false },
	{ "no_test_peek", "lossy.slots/tso", "peek does not look at the frontier", false },
	{ "no_test_release", "lossy.bytes/tso", "release does not look at the frontier", false },
	{ "frontier_off_by_one", "lossy.slots/tso", "one message too late", false },
	{ "no_byte_test", "lossy.bytes/tso", "the frontier of slots only", false },
	{ "no_seq_test", "lossy.slots/tso", "the frontier of bytes only", false },
	{ "whole_by_newest", "lossy.run/tso",
	  "of a run the newest message is asked about, not the oldest", false },
	{ "no_w1", "live.1x1/tso", "publish looks who sleeps without a fence before it", false },
	{ "no_w3", "live.1x1/tso", "the subscriber sleeps without a fence", false },
	{ "wake_at_beyond", "live.2x1/c11", "a publisher waits for a cursor that nobody can reach",
	  false },
	{ "wake_at_unread", "live.1x1.bytes/tso",
	  "a reader wakes for too little room, and then no more", false },
	{ "wake_at_after", "live.1x1/tso",
	  "a reader believes that it came far enough for the generation before", false },
	{ "no_w2", "live.1x1/tso",
	  "flush looks whether the publisher sleeps without a fence before it", false },
	{ "no_w2", "live.1x1/c11", "the same", false },
	{ "no_barrier", "live.1x1.barrier/tso", "the subscriber sleeps without a membarrier", false },
	{ "no_barrier", "live.1x1.barrier/c11", "the same", false },
	{ "brief_same_generation", "live.1x1.brief/tso",
	  "a sleep after a short one has the generation of that", false },
	{ "epoch_before_w1", "join.sleeper.fences/tso",
	  "publish looks at the epoch before its fence", false },
	{ "woken_is_a_flag", "live.1x1/tso", "a sleeper is woken once, not once per generation",
	  false },
	{ "same_generation", "live.1x1/tso", "a sleeper uses one generation for ever", false },
	{ "hostile_off_by_one", "live.1x1/tso", "an honest sleeper is taken for a hostile one",
	  false },
	{ "no_second_look", "live.1x1/tso", "sleeps without looking once more", false },
	{ "bells_read_late", "live.1x1/tso", "bells are read after the second look", false },
	{ "wake_before_bell", "live.1x1/tso", "FUTEX_WAKE before the bell's word moves", false },
	{ "slowest_bell_only", "live.1x2/c11",
	  "a blocked publisher sleeps on the slowest reader's bell only", false },
	{ "no_flush_before_sleep", "live.1x1.batch/tso",
	  "a subscriber sleeps with a cursor that nobody knows", false },
	{ "flush_per_subscription", "live.flush/tso", "only of the subscription that is waited for",
	  false },
	{ "batch_waits_untold", "live.1x1.batches/tso",
	  "a batch that waits for room has not told its readers", false },
	{ "no_f3", "join.tight/c11", "a joiner reads head without fences at either end", false },
	{ "head_not_reread", "join.tagged/tso",
	  "a joiner begins where head was before it was active", false },
	{ "tag_before_cursor", "newpub/tso",
	  "the entry carries the ring's id before the new cursor", false },
	{ "last_from_start", "join.tagged/tso", "the newest cursor seen begins at start", false },
	{ "answer_before_epoch", "join.tagged/tso",
	  "a joiner is answered before the epoch is raised", false },
	{ "epoch_before_members", "join.killed/tso",
	  "the epoch is raised before the members are told", false },
	{ "unknown_gate_ignored", "join.late/tso", "an epoch without its membership does not block",
	  false },
	{ "late_member_not_awaited", "join.late.sleeper/tso",
	  "the last publish does not wait for a membership under way", false },
	{ "busd_no_barrier", "join.sleeper.mixed/tso",
	  "a joiner without membarrier, and busd runs none in its place", false },
	{ "no_park", "join.killed/tso", "a join that was not answered goes on gating", false },
	{ "no_bell_look", "newpub/tso",
	  "the subscriber does not look at busd's bell before it sleeps", false },
	{ "busd_does_not_ring", "newpub/tso", "busd rings nobody", false },
	{ "answer_before_bell", "newpub.killed/tso",
	  "a publisher is answered before its subscribers are rung", false },
	{ "joined_goes_back", "evict.4/tso", "a rejoin goes back to a head that lags", false },
	{ "rejoin_goes_back", "evict/tso", "the same in the caller: what it had is counted as lost",
	  false },
	{ "count_at_stale", "evict/tso",
	  "what was missed is counted at -ESTALE and again at the rejoin", false },
	{ "final_zero", "end.close/tso", "final_seq without the one added", false },
	{ "final_early", "end.grow/tso", "a ring ends before busd knows its successor", false },
	{ "next_means_end", "end.grow/tso", "a successor is taken for the end", false },
	{ "drained_by_head", "end.killed/tso", "the end is found by head, which lags", false },
	{ "drained_no_second_look", "end.killed/tso", "closed, and no look for a last message",
	  false },
	{ "ready_ignores_end", "end.close/tso",
	  "a sleeper does not look whether its ring has ended", false },
	{ "abort_unnoted", "end.abort/tso",
	  "the frontier comes down over what a given-up claim wrote", false },
	{ "closed_before_epoch", "end.forced/tso",
	  "a ring is closed before its publisher can know that it ends", false },
	{ "ending_after_epoch", "end.forced/tso",
	  "the epoch is raised before the board says that the ring ends", false },
	{ "ending_no_barrier", "end.forced/tso",
	  "a ring is closed without a membarrier after the epoch", false },
	{ "ending_no_barrier", "end.forced/c11", "the same", false },
	/* Redundant: what makes up for each is said. */
	{ "no_f2", "join.tagged/c11", "F3, and the system calls that ring the bells, fence as well",
	  true },
	{ "no_w3_pub", "live.1x1/c11", "the refresh that follows begins with F1", true },
	{ "no_f1", "join.tagged/c11",
	  "the R1 of the refresh before suffices where the limit runs at most half a ring ahead",
	  true },
};
const int mutant_case_count = (int)BUS_ARRAY_LEN(mutant_cases);
