/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publish and read: refresh, commit, wake, peek, release, flush, both sides asleep. Reliable subscribers that lose nothing,
 * lossy ones that are never given a torn message.
 */
#include "scenarios.h"
#include "world.h"

#define PLAN(...) (&(const struct world_plan){ __VA_ARGS__ })

static void one(void)
{
	begin_known(PLAN(.pubs = 1, .subs = 1, .slots = 2, .bytes = 256, .messages = 4,
			 .fences = true),
		    false, false);
}

static void one_barrier(void)
{
	begin_known(PLAN(.pubs = 1, .subs = 1, .slots = 2, .bytes = 256, .messages = 4), false,
		    false);
}

static void one_brief(void)
{
	begin_known(PLAN(.pubs = 1, .subs = 1, .slots = 2, .bytes = 256, .messages = 4, .brief = true),
		    false, false);
}

/* The byte gate bites before the slots do. */
static void one_bytes(void)
{
	begin_known(PLAN(.pubs = 1, .subs = 1, .slots = 4, .bytes = 128, .messages = 4,
			 .sizes = { 64, 128, 64 }),
		    false, false);
}

/* A flush is due after three messages of four slots; two are borrowed at a time. */
static void one_batch(void)
{
	begin_known(PLAN(.pubs = 1, .subs = 1, .whole_slots = true, .slots = 4, .bytes = 256,
			 .messages = 5, .flush_every = 3, .batch = 2),
		    false, false);
}

/* Batches of three that do not fit: the publisher waits in the middle of one. */
static void one_in_batches(void)
{
	begin_known(PLAN(.pubs = 1, .subs = 1, .whole_slots = true, .slots = 2, .bytes = 256,
			 .messages = 3, .send_batch = 3),
		    false, false);
}

static void two_publishers(void)
{
	begin_known(PLAN(.pubs = 2, .subs = 1, .whole_slots = true, .slots = 1, .bytes = 256,
			 .messages = 2),
		    false, false);
}

static void two_subscribers(void)
{
	begin_known(PLAN(.pubs = 1, .subs = 2, .whole_slots = true, .slots = 1, .bytes = 256,
			 .messages = 2),
		    false, false);
}

static void subscriber_killed(void)
{
	begin_known(PLAN(.pubs = 1, .subs = 1, .busd = true, .ends = true, .whole_slots = true,
			 .slots = 2, .bytes = 256, .messages = 3),
		    false, true);
}

static void lossy(void)
{
	begin_known(PLAN(.pubs = 1, .subs = 1, .slots = 2, .bytes = 256, .messages = 4,
			 .lossy = { true }),
		    false, false);
}

/* Two slots are read before the frontier is looked at once. */
static void lossy_run(void)
{
	begin_known(PLAN(.pubs = 1, .subs = 1, .slots = 2, .bytes = 256, .messages = 4, .batch = 2,
			 .lossy = { true }),
		    false, false);
}

static void lossy_bytes(void)
{
	begin_known(PLAN(.pubs = 1, .subs = 1, .whole_slots = true, .slots = 2, .bytes = 128,
			 .messages = 3, .any_size = true, .lossy = { true }),
		    false, false);
}

static void lossy_beside(void)
{
	begin_known(PLAN(.pubs = 1, .subs = 2, .whole_slots = true, .slots = 1, .bytes = 256,
			 .messages = 2, .lossy = { false, true }),
		    false, false);
}

/* ---- one thread, two subscriptions: A fills up while the thread waits for B ---- */

static void publish_a_then_b(int me)
{
	struct publisher *p = publisher_of(me);

	publisher_begin(p, me, me);
	publisher_knows(p, 0, 0);
	/* One process, two rings: B's only message is sent once A has taken all of its own. */
	publisher_send_all(p);
	publisher_begin(p, me, 1);
	publisher_knows(p, 0, 0);
	publisher_send(p);
	publisher_point(p, 2);
}

static void subscribe_a_wait_b(int me)
{
	struct subscriber *s = subscriber_of(me);

	subscriber_begin(s, me);
	subscriber_knows(s, 0);
	subscriber_knows(s, 1);
	s->active[1] = false;
	while (s->rd[0].cur == 0) {
		subscriber_point(s, 1);
		if (!subscriber_take(s))
			subscriber_wait(s);
	}
	s->active[0] = false;
	s->active[1] = true;
	while (s->rd[1].cur == 0) {
		subscriber_point(s, 2);
		if (!subscriber_take(s))
			subscriber_wait(s);
	}
	subscriber_point(s, 3);
}

static void two_subscriptions(void)
{
	world_setup(PLAN(.pubs = 1, .subs = 1, .rings = 2, .slots = 2, .bytes = 256, .messages = 3,
			 .flush_every = 3));
	world_reads(0, 0);
	world_reads(0, 1);
	explore_party("pub0", publish_a_then_b, false);
	explore_party("sub0", subscribe_a_wait_b, false);
}

/* ---- a reader that lies about its cursor ---- */

static void lie(int me)
{
	struct subscriber *s = subscriber_of(me);

	subscriber_begin(s, me);
	subscriber_knows(s, 0);
	while (s->rd[0].cur < 2) {
		subscriber_point(s, 1);
		if (!subscriber_take(s))
			subscriber_wait(s);
	}
	subscriber_flush(s);
	s->rd[0].cur = 0;
	ring_reader_flush(&s->rd[0]);
	s->rd[0].wake(&s->rd[0]); /* for the end of the publisher's nap: there is no clock here */
	subscriber_point(s, 2);
}

/* Stuck is right only for a publisher that has seen no progress: it takes the reader for slow. */
static const char *liar_is_ignored(void)
{
	if (explore_asleep(world_pub(0)) && ghost->oracle.committed[0] > plan.slots)
		return "a cursor that ran backwards holds the publisher up";
	return explore_ended(world_sub(0)) ? NULL : "the subscriber waits for ever";
}

static void liar(void)
{
	world_setup(PLAN(.pubs = 1, .subs = 1, .slots = 2, .bytes = 256, .messages = 5));
	world_reads(0, 0);
	explore_party("pub0", body_publish, false);
	explore_party("sub0", lie, false);
}

const struct explore_scenario live_scenarios[] = {
	SCENARIO("live.1x1", one, nothing_lost, 0, "publish, read, both sleep; W1 and W3 are fences"),
	SCENARIO("live.1x1.barrier", one_barrier, nothing_lost, 0,
		 "the same; W3 is a membarrier and W1 nothing, as everywhere below"),
	SCENARIO("live.1x1.brief", one_brief, nothing_lost, 0,
		 "a short sleep without the membarrier comes first"),
	SCENARIO("live.1x1.bytes", one_bytes, nothing_lost, 0,
		 "messages of one and two payload units fill the ring before its slots"),
	SCENARIO("live.1x1.batch", one_batch, nothing_lost, 0,
		 "two borrowed at a time, flushed after three"),
	SCENARIO("live.1x1.batches", one_in_batches, nothing_lost, 0,
		 "published in batches of three, into two slots"),
	SCENARIO("live.2x1", two_publishers, nothing_lost, 0, "two publishers, one subscriber",
		 .preemptions = 2, .c11_only = true),
	SCENARIO("live.1x2", two_subscribers, nothing_lost, 0,
		 "one publisher, two gating subscribers", .preemptions = 3, .c11_only = true),
	SCENARIO("live.killed", subscriber_killed, nothing_lost, 1,
		 "the subscriber is killed anywhere; the publisher goes on"),
	SCENARIO("live.flush", two_subscriptions, nothing_lost, 0,
		 "a thread waits on one subscription with another one unflushed"),
	SCENARIO("live.liar", liar, liar_is_ignored, 0,
		 "a cursor that runs backwards does not hold the publisher up"),
	SCENARIO("lossy.slots", lossy, nothing_lost, 0, "overwritten while it reads: slots"),
	SCENARIO("lossy.run", lossy_run, nothing_lost, 0,
		 "the same, two slots with one look at the frontier"),
	SCENARIO("lossy.bytes", lossy_bytes, nothing_lost, 0,
		 "overwritten while it reads: payloads of 0 to 2 units, all combinations"),
	SCENARIO("lossy.beside", lossy_beside, nothing_lost, 0, "a reliable and a lossy subscriber",
		 .preemptions = 2, .c11_only = true),
};
const int live_scenario_count = (int)BUS_ARRAY_LEN(live_scenarios);
