/* SPDX-License-Identifier: Apache-2.0 */
/* Evictions, and how rings end: closed, left by a dead publisher, replaced by a larger one. */
#include "scenarios.h"
#include "world.h"

#define PLAN(...) (&(const struct world_plan){ __VA_ARGS__ })

/* ---- eviction ---- */

static void publish_and_evict(int me)
{
	struct publisher *p = publisher_of(me);

	publisher_begin(p, me, me);
	publisher_knows(p, 0, 0);
	p->ask_evict = true;
	publisher_send_all(p);
}

static void begin_evicted(uint8_t messages)
{
	world_setup(PLAN(.pubs = 1, .subs = 1, .busd = true, .whole_slots = true, .slots = 2,
			 .bytes = 128, .messages = messages, .sizes = { 64 }));
	explore_party("pub0", publish_and_evict, false);
	explore_party("sub0", body_subscribe, false);
	explore_party("busd", body_busd, false);
	world_reads(0, 0);
}

static void evicted(void)
{
	begin_evicted(3);
}

static void evicted_four(void)
{
	begin_evicted(4);
}

/* Loss is right only for one who was evicted, and counted. */
static const char *accounted(void)
{
	const struct subscriber *s = subscriber_of(world_sub(0));
	const char *why = all_returned();

	if (!why && s->rd[0].delivered + s->rd[0].lost != s->rd[0].cur)
		why = "delivered and lost do not add up";
	if (!why && s->rd[0].lost && explore_memory_of(&board->evicted[0], 8) == 0)
		why = "a subscriber that was never evicted lost a message";
	if (!why && ghost->oracle.reported)
		why = "an honest reader was taken for a liar";
	return why;
}

/* ---- ends ---- */

static void publish_and_close(int me)
{
	struct publisher *p = publisher_of(me);

	publisher_begin(p, me, me);
	publisher_knows(p, 0, 0);
	publisher_send_all(p);
	publisher_close(p);
	publisher_point(p, 2);
}

/* Writes a payload that it then does not publish. */
static void publish_abort_close(int me)
{
	struct publisher *p = publisher_of(me);

	publisher_begin(p, me, me);
	publisher_knows(p, 0, 0);
	publisher_send_all(p);
	publisher_abort(p, 64);
	publisher_close(p);
	publisher_point(p, 2);
}

static void publish_and_grow(int me)
{
	struct publisher *p = publisher_of(me);

	publisher_begin(p, me, 0);
	publisher_knows(p, 0, 0);
	publisher_send_all(p);
	if (!publisher_grow(p))
		return;
	publisher_point(p, 2);
	publisher_send(p);
	publisher_close(p);
	publisher_point(p, 3);
}

/*
 * Whoever has read a ring to its end was told of the next one before: that is the order of things
 * in busd.
 */
static bool all_finished(struct subscriber *s)
{
	if (s->finished[0] && !s->attached[1])
		subscriber_news(s);
	return s->finished[0] && (s->finished[1] || !s->attached[1]);
}

/* Reads until each ring that there is has ended. */
static void drain(int me)
{
	struct subscriber *s = subscriber_of(me);

	subscriber_begin(s, me);
	subscriber_knows(s, 0);
	s->done = all_finished;
	while (!all_finished(s)) {
		subscriber_point(s, 1);
		if (!subscriber_take(s))
			subscriber_wait(s);
	}
	subscriber_point(s, 2);
}

static void begin(const struct world_plan *p, void (*pub)(int))
{
	world_setup(p);
	explore_party("pub0", pub, true);
	explore_party("sub0", drain, false);
	explore_party("busd", body_busd, false);
	world_reads(0, 0);
}

static void closed(void)
{
	begin(PLAN(.pubs = 1, .subs = 1, .busd = true, .ends = true, .slots = 2, .bytes = 256,
		   .messages = 3),
	      publish_and_close);
}

static void borrowed(void)
{
	begin(PLAN(.pubs = 1, .subs = 1, .busd = true, .ends = true, .slots = 4, .bytes = 256,
		   .messages = 3, .sizes = { 64 }, .batch = 2),
	      publish_and_close);
}

static void aborted(void)
{
	begin(PLAN(.pubs = 1, .subs = 1, .busd = true, .ends = true, .slots = 4, .bytes = 128,
		   .messages = 2, .sizes = { 64 }, .lossy = { true }),
	      publish_abort_close);
}

/* Comes at any time, begins at the oldest message, gates nobody. */
static void read_late(int me)
{
	struct subscriber *s = subscriber_of(me);
	bool all_is_over;

	subscriber_begin(s, me);
	s->done = all_finished;
	all_is_over = bus_load_acquire(&rings[0].page->final_seq) != 0;
	subscriber_peruse(s, 0);
	while (!s->finished[0]) {
		subscriber_point(s, 1);
		if (!subscriber_take(s))
			subscriber_wait(s);
	}
	EXPLORE_REQUIRE(!all_is_over || s->rd[0].delivered > 0,
			"who came after the end found nothing in a ring that holds two messages");
	subscriber_point(s, 2);
}

static void late(void)
{
	world_setup(PLAN(.pubs = 1, .subs = 1, .busd = true, .ends = true, .whole_slots = true,
			 .slots = 2, .bytes = 128, .messages = 3, .sizes = { 64 }, .lossy = { true }));
	explore_party("pub0", publish_abort_close, false);
	explore_party("sub0", read_late, false);
	explore_party("busd", body_busd, false);
	world_reads(0, 0);
}

static const char *read_late_well(void)
{
	const struct subscriber *s = subscriber_of(world_sub(0));
	const struct ring_reader *rd = &s->rd[0];
	const char *why = all_returned();

	if (!why && s->first[0] + rd->lost + rd->delivered != plan.messages)
		why = "first, lost and delivered do not add up";
	return why;
}

static void grown(void)
{
	begin(PLAN(.pubs = 1, .subs = 1, .busd = true, .ends = true, .rings = 2, .slots = 2,
		   .bytes = 256, .messages = 2),
	      publish_and_grow);
}

/* ---- a topic removed by force ---- */

static void publish_until_shut(int me)
{
	struct publisher *p = publisher_of(me);

	publisher_begin(p, me, me);
	publisher_knows(p, 0, 0);
	publisher_send_all(p);
	publisher_point(p, 2);
}

static void remove_by_force(int me)
{
	struct busd *b = busd_of(me);

	busd_begin(b, me);
	b->owner[0] = 0;
	b->reads[0] = 1;
	busd_remove(b);
	busd_serve(b);
}

static void begin_forced(bool fences, uint8_t messages)
{
	world_setup(PLAN(.pubs = 1, .subs = 1, .busd = true, .ends = true, .whole_slots = true,
			 .fences = fences, .slots = 4, .bytes = 256, .messages = messages));
	explore_party("pub0", publish_until_shut, false);
	explore_party("sub0", drain, false);
	explore_party("busd", remove_by_force, false);
	world_reads(0, 0);
}

static void forced(void)
{
	begin_forced(false, 2);
}

static void forced_fences(void)
{
	begin_forced(true, 1);
}

/* Whose send returned 0 is read, and nothing twice. */
static const char *returned_is_read(void)
{
	const struct ring_reader *rd = &subscriber_of(world_sub(0))->rd[0];
	const char *why = all_returned();

	if (!why && rd->delivered < ghost->oracle.returned[0])
		why = "a message whose send returned 0 was not read before the end of its ring";
	else if (!why && rd->delivered > ghost->oracle.begun[0])
		why = "more was delivered than was published";
	return why;
}

/*
 * What was committed was delivered, once; of a message under way when the publisher died, all or
 * nothing.
 */
static const char *drained(void)
{
	const struct subscriber *s = subscriber_of(world_sub(0));
	const char *why = all_returned();

	for (int r = 0; r < WORLD_RINGS && !why; r++) {
		uint64_t got = s->rd[r].delivered + s->rd[r].lost;

		if (got < ghost->oracle.committed[r])
			why = "a committed message was not delivered before the end of its ring";
		else if (got > ghost->oracle.begun[r])
			why = "more was delivered than was published";
		else if (s->rd[r].lost && s->reliable)
			why = "a reliable subscriber lost a message";
	}
	return why;
}

const struct explore_scenario end_scenarios[] = {
	SCENARIO("evict", evicted, accounted, 0,
		 "a slow subscriber is evicted anywhere in its reading, and joins again"),
	SCENARIO("evict.4", evicted_four, accounted, 0, "the same with four messages",
		 .long_only = true),
	SCENARIO("end.close", closed, drained, 0, "the publisher closes its ring"),
	SCENARIO("end.killed", closed, drained, 1, "the publisher is killed anywhere"),
	SCENARIO("end.borrowed", borrowed, drained, 1,
		 "the same, with two messages borrowed at a time"),
	SCENARIO("end.abort", aborted, drained, 0,
		 "a payload is written, given up, and the ring closed under a lossy reader"),
	SCENARIO("end.late", late, read_late_well, 0,
		 "a reader that comes at any time, also after the end"),
	SCENARIO("end.forced", forced, returned_is_read, 0,
		 "busd ends the ring of a publisher that goes on: the topic is removed by force"),
	SCENARIO("end.forced.fences", forced_fences, returned_is_read, 0,
		 "the same; the publisher fences after each message, and busd runs no membarrier"),
	SCENARIO("end.grow", grown, drained, 0, "a ring is replaced by the next one"),
	SCENARIO("end.grow.killed", grown, drained, 1, "the same, the publisher is killed anywhere"),
};
const int end_scenario_count = (int)BUS_ARRAY_LEN(end_scenarios);
