/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an observer makes of a topic's memory: figures, who is behind and who holds whom back, and
 * that no bytes of anybody's lead it astray. The memory is the test's own (lib/stat_rig.h).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/stat_rig.h"

#define SECOND UINT64_C(1000000000)
/* The clock of the rig runs on while a test runs, a few ticks for each nanosecond. */
#define SLACK (20 * SECOND)

static int set_up(void **state)
{
	struct stat_rig *rig = malloc(sizeof(*rig));

	*state = rig;
	return rig ? stat_rig_make(rig) : -1;
}

static int tear_down(void **state)
{
	stat_rig_free(*state);
	free(*state);
	return 0;
}

static struct bus_stat_topic snapshot(struct stat_rig *rig)
{
	struct bus_stat_topic topic;

	stat_rig_look(rig);
	assert_int_equal(bus__stat_topic(&rig->view, &rig->view.boards[0], &topic), 0);
	return topic;
}

static void assert_age(uint64_t got_ns, uint64_t want_ns)
{
	assert_in_range(got_ns, want_ns, want_ns + SLACK);
}

static void send_many(struct stat_rig *rig, unsigned ring, int count, uint32_t len)
{
	for (int i = 0; i < count; i++)
		stat_rig_send(rig, ring, len, 0);
}

static void test_empty_topic(void **state)
{
	struct stat_rig *rig = *state;
	struct board_head *head = stat_rig_head(rig);
	struct bus_stat_topic t;

	head->slots = 1024;
	head->bytes = 1 << 18;
	head->max_bytes = 1 << 20;
	head->numa = -1;
	head->flags = BOARD_TOPIC_EXPLICIT;
	head->past_messages = 12;
	head->past_bytes = 340;
	t = snapshot(rig);
	assert_string_equal(t.name, "orders.eu");
	assert_int_equal(t.id, STAT_RIG_TOPIC);
	assert_int_equal(t.created_ns, head->created_ns);
	assert_int_equal(t.slots, 1024);
	assert_int_equal(t.ring_bytes, 1 << 18);
	assert_int_equal(t.max_bytes, 1 << 20);
	assert_int_equal(t.numa, -1);
	assert_int_equal(t.explicit_, 1);
	assert_int_equal(t.huge, 0);
	assert_int_equal(t.messages, 12);
	assert_int_equal(t.bytes, 340);
	assert_int_equal(t.publisher_count, 0);
	assert_int_equal(t.subscriber_count, 0);
	bus__stat_topic_free(&t);
}

static void test_board_of_another_version(void **state)
{
	struct stat_rig *rig = *state;
	struct bus_stat_topic t;

	stat_rig_look(rig);
	stat_rig_head(rig)->version++;
	assert_int_equal(bus__stat_topic(&rig->view, &rig->view.boards[0], &t), -EPROTO);
}

static void test_publisher_and_reader(void **state)
{
	struct stat_rig *rig = *state;
	struct bus_stat_topic t;
	const struct bus_stat_pub *p;
	const struct bus_stat_sub *s;

	stat_rig_add_ring(rig, 0, 100);
	stat_rig_add_sub(rig, 0);
	for (uint64_t i = 0; i < 10; i++)
		stat_rig_send(rig, 0, 20, (50 - i) * SECOND);
	stat_rig_stand(rig, 0, 2, 0, 104);
	rig->cursors[0]->entry[2].delivered = 4;
	rig->cursors[0]->entry[2].lost = 3;
	rig->cursors[0]->waiting = 5;
	stat_rig_sub_entry(rig, 0)->evicted = 2;
	rig->rings[0].writer.view.page->wakes = 8;
	rig->rings[0].writer.view.page->refused = 6;
	rig->rings[0].writer.view.page->evictions = 1;
	t = snapshot(rig);
	assert_int_equal(t.messages, 10);
	assert_int_equal(t.bytes, 200);
	assert_int_equal(t.memory_bytes, rig->rings[0].geo.size);
	assert_int_equal(t.publisher_count, 1);
	p = &t.publishers[0];
	assert_int_equal(p->id, stat_rig_pub_id(0));
	assert_int_equal(p->ring_id, stat_rig_ring_id(0));
	assert_int_equal(p->pid, 1000);
	assert_int_equal(p->uid, 10);
	assert_string_equal(p->name, "pub0");
	assert_int_equal(p->messages, 110);
	assert_int_equal(p->bytes, 200);
	assert_int_equal(p->wakes, 8);
	assert_int_equal(p->refused, 6);
	assert_int_equal(p->evictions, 1);
	assert_int_equal(p->closed, 0);
	assert_int_equal(p->node_pages[0], 7);
	assert_true(p->used_ratio == 6.0 / STAT_RIG_SLOTS);
	assert_int_equal(p->last_time_ns, stat_rig_head(rig)->cal_base_ns - 41 * SECOND);
	assert_int_equal(t.subscriber_count, 1);
	s = &t.subscribers[0];
	assert_int_equal(s->id, stat_rig_sub_id(0));
	assert_string_equal(s->name, "sub0");
	assert_string_equal(s->pattern, "orders.>");
	assert_int_equal(s->pid, 2000);
	assert_int_equal(s->lag_messages, 6);
	assert_age(s->lag_ns, 46 * SECOND);
	assert_int_equal(s->delivered, 4);
	assert_int_equal(s->lost, 3);
	assert_int_equal(s->asleep, 1);
	assert_int_equal(s->evictions, 2);
	assert_int_equal(s->lossy, 0);
	assert_int_equal(t.lag_messages, 6);
	assert_age(t.lag_ns, 46 * SECOND);
	assert_int_equal(t.lost, 3);
	bus__stat_topic_free(&t);
}

static void test_reader_that_keeps_up(void **state)
{
	struct stat_rig *rig = *state;
	struct bus_stat_topic t;

	stat_rig_add_ring(rig, 0, 0);
	stat_rig_add_sub(rig, 0);
	send_many(rig, 0, 5, 30);
	/* up to date; ahead (it lies, or it read after we did); parked */
	for (uint64_t cursor = 5; cursor != 8; cursor++) {
		stat_rig_stand(rig, 0, 0, 0, cursor == 7 ? CURSOR_PARKED : cursor);
		t = snapshot(rig);
		assert_int_equal(t.subscribers[0].lag_messages, 0);
		assert_int_equal(t.subscribers[0].lag_ns, 0);
		assert_true(t.publishers[0].used_ratio == 0);
		bus__stat_topic_free(&t);
	}
}

static void test_lapped_lossy_reader(void **state)
{
	struct stat_rig *rig = *state;
	struct bus_stat_topic t;

	stat_rig_add_ring(rig, 0, 0);
	stat_rig_add_sub(rig, 0);
	stat_rig_sub_entry(rig, 0)->flags = BOARD_SUB_LOSSY;
	stat_rig_stand(rig, 0, 0, 0, 10);
	for (uint64_t i = 0; i < 300; i++)
		stat_rig_send(rig, 0, 8, (1000 - i) * SECOND);
	t = snapshot(rig);
	assert_int_equal(t.subscribers[0].lossy, 1);
	assert_int_equal(t.subscribers[0].lag_messages, 290);
	/* The oldest that cannot be overwritten yet: one lap below the frontier. */
	assert_age(t.subscribers[0].lag_ns,
		   (1000 - (rig->rings[0].pub.limit_seq - STAT_RIG_SLOTS)) * SECOND);
	assert_true(t.publishers[0].used_ratio == 0); /* nobody waits for it */
	bus__stat_topic_free(&t);
}

static void test_fill_by_bytes(void **state)
{
	struct stat_rig *rig = *state;
	struct bus_stat_topic t;

	stat_rig_add_ring(rig, 0, 0);
	stat_rig_add_sub(rig, 0);
	send_many(rig, 0, 4, 512);
	stat_rig_stand(rig, 0, 0, 0, 1);
	t = snapshot(rig);
	assert_true(t.publishers[0].used_ratio == 3.0 * 512 / STAT_RIG_BYTES);
	bus__stat_topic_free(&t);
	stat_rig_stand(rig, 0, 0, 0, 3);
	send_many(rig, 0, 20, 24);
	t = snapshot(rig);
	assert_true(t.publishers[0].used_ratio == 21.0 / STAT_RIG_SLOTS);
	bus__stat_topic_free(&t);
}

/*
 * A subscriber that was stopped before the ring appeared has not tagged its entry. It gates all the
 * same.
 */
static void test_reader_that_has_not_looked(void **state)
{
	struct stat_rig *rig = *state;
	struct bus_stat_topic t;

	stat_rig_add_ring(rig, 0, 40);
	stat_rig_add_sub(rig, 0);
	send_many(rig, 0, 7, 30);
	t = snapshot(rig);
	assert_int_equal(t.subscribers[0].lag_messages,
			 0); /* the ring is older: not attached, for all we know */
	bus__stat_topic_free(&t);
	stat_rig_ring_entry(rig, 0)->opened_ns = stat_rig_sub_entry(rig, 0)->opened_ns + SECOND;
	t = snapshot(rig);
	assert_int_equal(t.subscribers[0].lag_messages, 7);
	assert_true(t.publishers[0].used_ratio > 0);
	bus__stat_topic_free(&t);
	stat_rig_ring_entry(rig, 0)->state = BOARD_RING_CLOSED;
	t = snapshot(rig);
	assert_int_equal(t.subscribers[0].lag_messages, 7);
	assert_int_equal(t.publishers[0].closed, 1);
	bus__stat_topic_free(&t);
	/* it has looked: an entry is a later ring's */
	stat_rig_stand(rig, 0, 0, 1, 0);
	t = snapshot(rig);
	assert_int_equal(t.subscribers[0].lag_messages, 0);
	bus__stat_topic_free(&t);
}

/* What was read to its end stays accounted for, once. */
static void test_past_account(void **state)
{
	struct stat_rig *rig = *state;
	struct bus_stat_topic t;

	stat_rig_add_ring(rig, 0, 0);
	stat_rig_add_ring(rig, 1, 0);
	stat_rig_add_sub(rig, 0);
	send_many(rig, 0, 9, 8);
	send_many(rig, 1, 9, 8);
	stat_rig_stand(rig, 0, 0, 0, CURSOR_PARKED);
	stat_rig_stand(rig, 0, 1, 1, 9);
	for (int i = 0; i < 2; i++) {
		rig->cursors[0]->entry[i].lost = 3;
		rig->cursors[0]->entry[i].delivered = 6;
	}
	rig->cursors[0]->past_lost = 103;
	rig->cursors[0]->past_delivered = 206;
	t = snapshot(rig);
	/* of a pattern: the past may be another topic's */
	assert_int_equal(t.subscribers[0].lost, 3);
	assert_int_equal(t.subscribers[0].delivered, 6);
	bus__stat_topic_free(&t);
	strcpy(stat_rig_sub_entry(rig, 0)->pattern, "orders.eu");
	t = snapshot(rig);
	assert_int_equal(t.subscribers[0].lost, 106);
	assert_int_equal(t.subscribers[0].delivered, 212);
	bus__stat_topic_free(&t);
}

static void test_who_holds_whom(void **state)
{
	struct stat_rig *rig = *state;
	struct bus_stat_topic t;

	for (unsigned i = 0; i < 2; i++) {
		stat_rig_add_ring(rig, i, 0);
		stat_rig_add_sub(rig, i);
		send_many(rig, i, 3, 30);
	}
	rig->rings[0].writer.view.page->blocked_ns = 2 * SECOND;
	rig->rings[0].writer.view.page->blocked_since = rig->now - 3 * SECOND;
	rig->rings[0].writer.view.page->blocked_by = stat_rig_sub_id(1);
	rig->rings[0].writer.view.page->waiting = 1;
	rig->rings[1].writer.view.page->blocked_ns = 4 * SECOND;
	/* of a block that is over */
	rig->rings[1].writer.view.page->blocked_by = stat_rig_sub_id(1);
	t = snapshot(rig);
	assert_int_equal(t.publishers[0].blocked_now, 1);
	assert_int_equal(t.publishers[0].blocked_by, stat_rig_sub_id(1));
	assert_int_equal(t.publishers[0].waiting_asleep, 1);
	assert_age(t.publishers[0].blocked_ns, 5 * SECOND);
	assert_int_equal(t.publishers[0].blocked_ns - t.publishers[0].block_ns, 2 * SECOND);
	assert_int_equal(t.publishers[1].blocked_now, 0);
	assert_int_equal(t.publishers[1].blocked_by, 0);
	assert_int_equal(t.publishers[1].blocked_ns, 4 * SECOND);
	assert_int_equal(t.subscribers[0].holds, 0);
	assert_int_equal(t.subscribers[1].holds, 1);
	bus__stat_topic_free(&t);
}

/* A publisher whose ring was replaced is one publisher, shown with the ring that it writes now. */
static void test_replaced_ring(void **state)
{
	struct stat_rig *rig = *state;
	struct bus_stat_topic t;

	stat_rig_add_sub(rig, 0);
	stat_rig_add_ring(rig, 0, 0);
	send_many(rig, 0, 5, 30);
	stat_rig_add_ring(rig, 1, 5);
	send_many(rig, 1, 2, 8);
	stat_rig_ring_entry(rig, 1)->pub_id = stat_rig_pub_id(0);
	stat_rig_ring_entry(rig, 1)->opened_ns += SECOND;
	stat_rig_ring_entry(rig, 0)->state = BOARD_RING_CLOSED;
	stat_rig_ring_entry(rig, 0)->next_ring = stat_rig_ring_id(1);
	stat_rig_head(rig)->past_messages = 1000;
	stat_rig_stand(rig, 0, 0, 0, 4);
	stat_rig_stand(rig, 0, 1, 1, 5);
	t = snapshot(rig);
	assert_int_equal(t.publisher_count, 1);
	assert_int_equal(t.publishers[0].ring_id, stat_rig_ring_id(1));
	assert_int_equal(t.publishers[0].closed, 0);
	assert_int_equal(t.publishers[0].messages, 7);
	assert_int_equal(t.publishers[0].bytes, 166);
	assert_int_equal(t.publishers[0].opened_ns, stat_rig_ring_entry(rig, 0)->opened_ns);
	assert_int_equal(t.messages, 1007);
	assert_int_equal(t.bytes, 166);
	assert_int_equal(t.subscribers[0].lag_messages, 3);
	assert_true(t.publishers[0].used_ratio == 2.0 / STAT_RIG_SLOTS);
	bus__stat_topic_free(&t);
}

static void test_several_of_each(void **state)
{
	struct stat_rig *rig = *state;
	struct bus_stat_topic t;

	for (unsigned i = 0; i < 3; i++) {
		stat_rig_add_ring(rig, i, 0);
		stat_rig_add_sub(rig, i);
		send_many(rig, i, 20, 8);
	}
	stat_rig_ring_entry(rig, 0)->state = BOARD_RING_CLOSED;
	stat_rig_stand(rig, 0, 0, 0, 20);
	stat_rig_stand(rig, 0, 1, 1, 15);
	stat_rig_stand(rig, 0, 2, 2, 18);
	stat_rig_stand(rig, 1, 3, 2, 10);
	stat_rig_stand(rig, 2, 0, 1, 0);
	stat_rig_sub_entry(rig, 2)->flags = BOARD_SUB_LOSSY;
	stat_rig_sub_entry(rig, 1)->state = BOARD_SUB_FREE;
	t = snapshot(rig);
	assert_int_equal(t.publisher_count, 3);
	assert_string_equal(t.publishers[0].name, "pub1");
	assert_string_equal(t.publishers[1].name, "pub2");
	assert_string_equal(t.publishers[2].name, "pub0"); /* has gone: last */
	assert_int_equal(t.subscriber_count, 2);
	assert_int_equal(t.subscribers[0].lag_messages, 7);
	assert_int_equal(t.subscribers[1].lag_messages, 20);
	assert_int_equal(t.lag_messages, 7); /* the worst reliable one */
	bus__stat_topic_free(&t);
	stat_rig_sub_entry(rig, 0)->state = BOARD_SUB_FREE;
	t = snapshot(rig);
	assert_int_equal(t.lag_messages, 20);
	bus__stat_topic_free(&t);
}

/* busd died in the middle of a change, or changes without end. */
static void test_entry_that_changes(void **state)
{
	struct stat_rig *rig = *state;
	struct bus_stat_topic t;

	stat_rig_add_ring(rig, 0, 0);
	stat_rig_add_ring(rig, 1, 0);
	stat_rig_add_sub(rig, 0);
	send_many(rig, 0, 3, 8);
	stat_rig_ring_entry(rig, 0)->gen = 7;
	stat_rig_sub_entry(rig, 0)->gen = 7;
	t = snapshot(rig);
	assert_int_equal(t.publisher_count, 2);
	assert_string_equal(t.publishers[0].name, "(changing)");
	assert_int_equal(t.publishers[0].ring_id, stat_rig_ring_id(0));
	assert_int_equal(t.publishers[0].messages, 3);
	assert_int_equal(t.subscriber_count, 1);
	assert_string_equal(t.subscribers[0].name, "(changing)");
	assert_int_equal(t.subscribers[0].id, stat_rig_sub_id(0));
	bus__stat_topic_free(&t);
}

static void test_without_clock(void **state)
{
	struct stat_rig *rig = *state;
	struct bus_stat_topic t;

	stat_rig_add_ring(rig, 0, 0);
	stat_rig_add_sub(rig, 0);
	send_many(rig, 0, 3, 8);
	stat_rig_stand(rig, 0, 0, 0, 1);
	stat_rig_head(rig)->cal_gen = 1;
	t = snapshot(rig);
	assert_int_equal(t.subscribers[0].lag_messages, 2);
	assert_int_equal(t.subscribers[0].lag_ns, 0);
	assert_int_equal(t.publishers[0].last_time_ns, 0);
	bus__stat_topic_free(&t);
}

/*
 * The rig's clock runs at the counter's pace, so it is only near: set it off by far more than it
 * moves.
 */
static void test_clock_set_apart(void **state)
{
	struct stat_rig *rig = *state;
	struct bus_stat_topic t;

	stat_rig_head(rig)->cal_base_ns += 1000 * SECOND;
	t = snapshot(rig);
	assert_age((uint64_t)t.clock_ahead_ns, 1000 * SECOND);
	bus__stat_topic_free(&t);
	stat_rig_head(rig)->cal_base_ns -= 3000 * SECOND;
	t = snapshot(rig);
	assert_in_range(-t.clock_ahead_ns, 2000 * SECOND - SLACK, 2000 * SECOND);
	bus__stat_topic_free(&t);
}

/* A publisher may stamp what it likes: nothing is older than its ring, or from the future. */
static void test_impossible_stamps(void **state)
{
	struct stat_rig *rig = *state;
	struct bus_stat_topic t;

	stat_rig_add_ring(rig, 0, 0);
	stat_rig_add_sub(rig, 0);
	stat_rig_stand(rig, 0, 0, 0, 0);
	stat_rig_send(rig, 0, 8, 900 * 3600 * SECOND);
	t = snapshot(rig);
	assert_age(t.subscribers[0].lag_ns, 3600 * SECOND);
	bus__stat_topic_free(&t);
	stat_rig_stand(rig, 0, 0, 0, 1);
	stat_rig_send(rig, 0, 8, -(900 * 3600 * SECOND));
	t = snapshot(rig);
	assert_int_equal(t.subscribers[0].lag_messages, 1);
	assert_int_equal(t.subscribers[0].lag_ns, 0);
	bus__stat_topic_free(&t);
}

static void scribble(uint8_t *at, size_t size, int words)
{
	for (int i = 0; i < words; i++) {
		uint64_t w = (uint64_t)random() << 33 ^ (uint64_t)random() << 11 ^ (uint64_t)random();

		/*
		 * mostly small numbers and neighbours of the limits: the rest is caught by the
		 * first test
		 */
		if (random() % 2)
			w = random() % 2 ? (uint64_t)(random() % 300)
					 : UINT64_MAX - (uint64_t)(random() % 300);
		memcpy(at + (size_t)random() % (size / 8) * 8, &w, 8);
	}
}

/* Nobody's bytes may lead the observer outside its memory: guard pages lie around each ring. */
static void test_scribbled_memory(void **state)
{
	struct stat_rig *rig = *state;
	size_t cursors =
		sizeof(struct cursor_segment) + STAT_RIG_ENTRIES * sizeof(struct cursor_entry);

	srandom(20240501);
	for (int round = 0; round < 400; round++) {
		struct bus_stat_topic t;

		for (unsigned i = 0; i < STAT_RIG_RINGS; i++) {
			stat_rig_add_ring(rig, i, 0);
			stat_rig_add_sub(rig, i);
			send_many(rig, i, 100, 40);
			stat_rig_stand(rig, i, i, i, 90);
			scribble((uint8_t *)rig->rings[i].writer.view.page, 512, 4);
			scribble((uint8_t *)rig->rings[i].writer.view.slots, STAT_RIG_SLOTS * 64,
				 200);
			scribble((uint8_t *)rig->cursors[i], cursors, 6);
		}
		scribble(rig->board + BOARD_RINGS_OFF, 3 * sizeof(struct board_ring), 4);
		scribble(rig->board + BOARD_SUBS_OFF, 3 * sizeof(struct board_sub), 4);
		stat_rig_head(rig)->rings_used = round % 2 ? UINT32_MAX : 3;
		stat_rig_head(rig)->subs_used = round % 2 ? UINT32_MAX : 3;
		t = snapshot(rig);
		assert_in_range(t.publisher_count, 0, 3);
		assert_in_range(t.subscriber_count, 0, 3);
		for (int i = 0; i < t.publisher_count; i++) {
			assert_true(t.publishers[i].used_ratio >= 0 &&
				    t.publishers[i].used_ratio <= 1);
			assert_true(memchr(t.publishers[i].name, 0, BUS_NAME_MAX + 1) != NULL);
		}
		for (int i = 0; i < t.subscriber_count; i++)
			assert_true(memchr(t.subscribers[i].name, 0, BUS_NAME_MAX + 1) != NULL);
		bus__stat_topic_free(&t);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(empty_topic),
		TEST(board_of_another_version),
		TEST(publisher_and_reader),
		TEST(reader_that_keeps_up),
		TEST(lapped_lossy_reader),
		TEST(fill_by_bytes),
		TEST(reader_that_has_not_looked),
		TEST(past_account),
		TEST(who_holds_whom),
		TEST(replaced_ring),
		TEST(several_of_each),
		TEST(entry_that_changes),
		TEST(without_clock),
		TEST(clock_set_apart),
		TEST(impossible_stamps),
		TEST(scribbled_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
