/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscribers that join while messages flow, publishers that attach while subscribers sleep, with
 * busd between them.
 */
#include "scenarios.h"
#include "world.h"

#define PLAN(...) (&(const struct world_plan){ __VA_ARGS__ })

/* ---- bodies ---- */

/* Nobody is attached at first. */
static void publish_alone(int me)
{
	struct publisher *p = publisher_of(me);

	publisher_begin(p, me, me);
	publisher_send_all(p);
}

/* Opens its ring through busd before the first message. */
static void attach_and_publish(int me)
{
	struct publisher *p = publisher_of(me);

	publisher_begin(p, me, me);
	if (!publisher_attach(p)) {
		ghost->oracle.stopped[me] = 1;
		return;
	}
	publisher_send_all(p);
}

static void read_to_the_end(struct subscriber *s)
{
	while (s->rd[0].cur < plan.messages && !s->parked) {
		subscriber_point(s, 1);
		if (!subscriber_take(s))
			subscriber_wait(s);
	}
	if (!s->parked)
		subscriber_flush(s);
	subscriber_point(s, 2);
}

static void join_tagged(int me)
{
	struct subscriber *s = subscriber_of(me);

	subscriber_begin(s, me);
	subscriber_join(s, 0, true);
	read_to_the_end(s);
}

static void join_untagged(int me)
{
	struct subscriber *s = subscriber_of(me);

	subscriber_begin(s, me);
	subscriber_join(s, 0, false);
	read_to_the_end(s);
}

/* Begins at the oldest message that the ring still holds; moved up once more when it is active. */
static void join_oldest(int me)
{
	struct subscriber *s = subscriber_of(me);

	subscriber_begin(s, me);
	subscriber_join_oldest(s, 0);
	read_to_the_end(s);
}

/* Has a subscription and no ring yet. */
static void read_what_comes(int me)
{
	struct subscriber *s = subscriber_of(me);

	subscriber_begin(s, me);
	while (!s->attached[0] || s->rd[0].cur < plan.messages) {
		subscriber_point(s, 1);
		if (!subscriber_take(s))
			subscriber_wait(s);
	}
	subscriber_flush(s);
	subscriber_point(s, 2);
}

static void busd_with_publisher(int me)
{
	struct busd *b = busd_of(me);

	busd_begin(b, me);
	b->owner[0] = (uint8_t)world_pub(0);
	busd_serve(b);
}

/* The first subscriber reads the first publisher's ring already. */
static void busd_with_reader(int me)
{
	struct busd *b = busd_of(me);

	busd_begin(b, me);
	b->owner[0] = (uint8_t)world_pub(0);
	b->reads[0] = 1;
	busd_serve(b);
}

static void publish_to_the_first(int me)
{
	struct publisher *p = publisher_of(me);

	publisher_begin(p, me, me);
	publisher_knows(p, 0, 0);
	publisher_send_all(p);
}

static bool read_all_of_both(struct subscriber *s)
{
	return s->attached[1] && s->rd[0].cur >= plan.messages && s->rd[1].cur >= plan.messages;
}

static void read_both(int me)
{
	struct subscriber *s = subscriber_of(me);

	subscriber_begin(s, me);
	subscriber_knows(s, 0);
	while (!read_all_of_both(s)) {
		subscriber_point(s, 1);
		if (!subscriber_take(s))
			subscriber_wait(s);
	}
	subscriber_flush(s);
	subscriber_point(s, 2);
}

static void busd_alone(int me)
{
	struct busd *b = busd_of(me);

	busd_begin(b, me);
	busd_serve(b);
}

static void begin(const struct world_plan *p, void (*pub)(int), void (*sub)(int), void (*busd)(int),
		  bool mortal_busd)
{
	world_setup(p);
	explore_party("pub0", pub, false);
	explore_party("sub0", sub, false);
	explore_party("busd", busd, mortal_busd);
}

/* ---- joining ---- */

static void tagged(void)
{
	begin(PLAN(.pubs = 1, .subs = 1, .busd = true, .whole_slots = true, .slots = 2,
		   .bytes = 256, .messages = 3),
	      publish_alone, join_tagged, busd_with_publisher, false);
}

static void untagged(void)
{
	begin(PLAN(.pubs = 1, .subs = 1, .busd = true, .whole_slots = true, .slots = 2,
		   .bytes = 256, .messages = 3),
	      publish_alone, join_untagged, busd_with_publisher, false);
	/* as whoever used it before has left it */
	bus_store_relaxed(&cursors[0]->entry[0].cursor, CURSOR_PARKED);
}

/* One slot, so that a limit that runs one message too far is seen at once. */
static void tight(void)
{
	begin(PLAN(.pubs = 1, .subs = 1, .busd = true, .whole_slots = true, .slots = 1,
		   .bytes = 256, .messages = 3),
	      publish_alone, join_tagged, busd_with_publisher, false);
}

static void oldest(void)
{
	begin(PLAN(.pubs = 1, .subs = 1, .busd = true, .whole_slots = true, .slots = 2,
		   .bytes = 256, .messages = 3),
	      publish_alone, join_oldest, busd_with_publisher, false);
}

static void busd_killed(void)
{
	begin(PLAN(.pubs = 1, .subs = 1, .busd = true, .whole_slots = true, .slots = 2,
		   .bytes = 256, .messages = 3),
	      publish_alone, join_tagged, busd_with_publisher, true);
}

/*
 * The publisher runs within its cached limit (4 of 32 slots), so only the look after W1 tells it of
 * the sleeper.
 */
static void lossy_sleeper(void)
{
	begin(PLAN(.pubs = 1, .subs = 1, .busd = true, .whole_slots = true, .slots = 32,
		   .bytes = 256, .messages = 3, .lossy = { true }),
	      publish_alone, join_tagged, busd_with_publisher, false);
}

static void lossy_sleeper_fences(void)
{
	begin(PLAN(.pubs = 1, .subs = 1, .busd = true, .whole_slots = true, .slots = 32,
		   .bytes = 256, .messages = 3, .lossy = { true }, .fences = true),
	      publish_alone, join_tagged, busd_with_publisher, false);
}

/* The joiner has no membarrier, and the publisher does not fence before it knows that. */
static void lossy_sleeper_mixed(void)
{
	begin(PLAN(.pubs = 1, .subs = 1, .busd = true, .whole_slots = true, .slots = 32,
		   .bytes = 256, .messages = 3, .lossy = { true }, .wants_fence = true),
	      publish_alone, join_tagged, busd_with_publisher, false);
}

static void late_member(void)
{
	begin(PLAN(.pubs = 1, .subs = 1, .busd = true, .whole_slots = true, .slots = 2,
		   .bytes = 256, .messages = 3, .socket_full = true),
	      publish_alone, join_tagged, busd_with_publisher, false);
}

static void late_member_sleeper(void)
{
	begin(PLAN(.pubs = 1, .subs = 1, .busd = true, .whole_slots = true, .slots = 32,
		   .bytes = 256, .messages = 2, .socket_full = true, .lossy = { true }),
	      publish_alone, join_tagged, busd_with_publisher, false);
}

/* What a reader from the oldest message on lost was told. */
static const char *joined_oldest(void)
{
	const struct subscriber *s = subscriber_of(world_sub(0));
	const char *why = all_returned();

	if (!why && s->rd[0].delivered + s->rd[0].lost + s->first[0] != s->rd[0].cur)
		why = "delivered and lost do not add up";
	return why;
}

/* ---- somebody else is there already ---- */

static void joiner_beside(void)
{
	world_setup(PLAN(.pubs = 1, .subs = 2, .busd = true, .whole_slots = true, .slots = 2,
			 .bytes = 256, .messages = 3));
	explore_party("pub0", publish_to_the_first, false);
	explore_party("sub0", body_subscribe, false);
	explore_party("sub1", join_tagged, false);
	explore_party("busd", busd_with_reader, false);
	world_reads(0, 0);
}

static void publisher_beside(void)
{
	world_setup(PLAN(.pubs = 2, .subs = 1, .busd = true, .whole_slots = true, .slots = 1,
			 .bytes = 256, .messages = 2));
	explore_party("pub0", body_publish, false);
	explore_party("pub1", attach_and_publish, false);
	explore_party("sub0", read_both, false);
	explore_party("busd", busd_with_reader, false);
	world_reads(0, 0);
}

/* ---- a new publisher ---- */

static void begin_new(bool mortal_busd)
{
	begin(PLAN(.pubs = 1, .subs = 1, .busd = true, .whole_slots = true, .slots = 1,
		   .bytes = 256, .messages = 3),
	      attach_and_publish, read_what_comes, busd_alone, mortal_busd);
	/* the entry, as whoever used it before has left it */
	bus_store_relaxed(&cursors[0]->entry[0].cursor, CURSOR_PARKED);
}

static void new_publisher(void)
{
	begin_new(false);
}

static void new_publisher_busd_killed(void)
{
	begin_new(true);
}

/* Without an answer there is nothing to read. */
static const char *unless_unanswered(void)
{
	return ghost->oracle.stopped[0] ? NULL : nothing_lost();
}

const struct explore_scenario join_scenarios[] = {
	SCENARIO("join.tagged", tagged, nothing_lost, 0, "a reliable subscriber joins under load"),
	SCENARIO("join.untagged", untagged, nothing_lost, 0,
		 "the same, its entry tagged only after busd's answer"),
	SCENARIO("join.tight", tight, nothing_lost, 0, "the same in a ring of one slot"),
	SCENARIO("join.oldest", oldest, joined_oldest, 0,
		 "joins at the oldest message that the ring holds"),
	SCENARIO("join.killed", busd_killed, nothing_lost, 1,
		 "busd is killed anywhere in it; the cursor is parked"),
	SCENARIO("join.sleeper", lossy_sleeper, nothing_lost, 0,
		 "a joiner sleeps while the publisher does not refresh"),
	SCENARIO("join.sleeper.fences", lossy_sleeper_fences, nothing_lost, 0,
		 "the same, W1 and W3 are fences"),
	SCENARIO("join.sleeper.mixed", lossy_sleeper_mixed, nothing_lost, 0,
		 "the same, a joiner without membarrier and a publisher that relies on it"),
	SCENARIO("join.late", late_member, nothing_lost, 0,
		 "the epoch is raised before the membership can be sent"),
	SCENARIO("join.late.sleeper", late_member_sleeper, nothing_lost, 0,
		 "the same, and the joiner sleeps"),
	SCENARIO("join.beside", joiner_beside, nothing_lost, 0,
		 "a subscriber joins while another one reads", .preemptions = 2, .c11_only = true),
	SCENARIO("newpub.beside", publisher_beside, nothing_lost, 0,
		 "a publisher attaches while the subscriber reads another one", .preemptions = 2,
		 .c11_only = true),
	SCENARIO("newpub", new_publisher, nothing_lost, 0,
		 "a publisher attaches while the subscriber goes to sleep"),
	SCENARIO("newpub.killed", new_publisher_busd_killed, unless_unanswered, 1,
		 "the same, busd is killed anywhere"),
};
const int join_scenario_count = (int)BUS_ARRAY_LEN(join_scenarios);
