/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_gate.c - how far a publisher may go: whose cursor holds it back, by slots and by bytes,
 * which cursor words are not believed, what refresh() publishes, and how rarely it is needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/ring_rig.h"

#define SLOTS 64
#define BYTES 8192

static int setup(void **state)
{
	struct ring_rig *rig = calloc(1, sizeof(*rig));

	*state = rig;
	return rig == NULL ? -1 : rig_make(rig, SLOTS, BYTES, RIG_TWO_MAPPINGS);
}

static int teardown(void **state)
{
	rig_free(*state);
	free(*state);
	return 0;
}

/* Sends until blocked or `max`; how many went. */
static unsigned send_up_to(struct ring_rig *rig, unsigned max, uint32_t len)
{
	unsigned n = 0;

	while (n < max && rig_send(rig, len) == RING_ROOM)
		n++;
	return n;
}

static void read_and_flush(struct ring_reader *rd, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(rig_take(rd), RING_MESSAGE);
	ring_reader_flush(rd);
}

static struct cursor_entry *entry_of(struct ring_rig *rig, unsigned i)
{
	return &rig->readers[i].cursors->entry[0];
}

static void nobody_gates_nobody_blocks(void **state)
{
	struct ring_rig *rig = *state;

	assert_int_equal(send_up_to(rig, 10 * SLOTS, 100), 10 * SLOTS);
	assert_int_equal(rig->pub.slowest, 0);
}

static void slots_gate_at_exactly_one_lap(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	assert_int_equal(send_up_to(rig, 10 * SLOTS, 8), SLOTS);
	assert_int_equal(rig->pub.slowest, 100);
	read_and_flush(rd, 1);
	assert_int_equal(send_up_to(rig, 10 * SLOTS, 8), 1);
	read_and_flush(rd, 30);
	assert_int_equal(send_up_to(rig, 10 * SLOTS, 8), 30);
	read_and_flush(rd, SLOTS);
	assert_int_equal(rig_take(rd), RING_EMPTY);
}

static void bytes_gate_at_exactly_the_payload_area(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	assert_int_equal(send_up_to(rig, 10 * SLOTS, 512), BYTES / 512);
	assert_int_equal(rig->pub.slowest, 100);
	read_and_flush(rd, 1); /* its 512 bytes are 8 of 64 */
	assert_int_equal(send_up_to(rig, 10 * SLOTS, 33), 8);
	read_and_flush(rd, 15);
	assert_int_equal(send_up_to(rig, 10 * SLOTS, 512), 15);
}

static void message_in_the_slot_passes_a_full_payload_area(void **state)
{
	struct ring_rig *rig = *state;

	(void)rig_join(rig, 0, true);
	assert_int_equal(send_up_to(rig, SLOTS, 512), BYTES / 512);
	assert_int_equal(rig_send(rig, 24), RING_ROOM);
	assert_int_equal(rig_send(rig, 25), RING_BLOCKED);
}

static void byte_gate_is_where_the_oldest_unread_message_starts(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	assert_int_equal(send_up_to(rig, 1, 1024), 1);
	assert_int_equal(send_up_to(rig, 1, 20), 1); /* starts at 1024, needs nothing */
	assert_int_equal(send_up_to(rig, 7, 1024), 7);
	assert_int_equal(rig_send(rig, 64), RING_BLOCKED);
	read_and_flush(rd, 1);
	assert_int_equal(send_up_to(rig, 99, 64), 16);
	read_and_flush(rd, 1); /* the one in the slot: frees no byte */
	assert_int_equal(rig_send(rig, 64), RING_BLOCKED);
}

static void refresh_is_needed_about_8_times_a_lap_of_slots(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	for (unsigned i = 0; i < 10 * SLOTS; i++) {
		assert_int_equal(rig_send(rig, 8), RING_ROOM);
		read_and_flush(rd, 1);
	}
	assert_in_range(rig->refreshes, 10 * 8, 10 * 8 + 8);
}

static void refresh_is_needed_about_8_times_a_lap_of_bytes(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	for (unsigned i = 0; i < 10 * BYTES / 256; i++) {
		assert_int_equal(rig_send(rig, 256), RING_ROOM);
		read_and_flush(rd, 1);
	}
	assert_in_range(rig->refreshes, 10 * 8, 10 * 8 + 8);
}

/*
 * What lies below the limit minus a lap counts as gone for lossy readers: in a large ring an eighth
 * would be much.
 */
static void limit_runs_ahead_4096_slots_and_a_mebibyte_at_most(void **state)
{
	struct ring_rig rig;

	(void)state;
	assert_int_equal(rig_make(&rig, 1 << 17, 1 << 25, RIG_TWO_MAPPINGS), 0);
	assert_int_equal(rig_send(&rig, 8), RING_ROOM);
	assert_int_equal(rig.pub.limit_seq, 4096);
	assert_int_equal(rig.pub.limit_pos, 1 << 20);
	/* four messages where they are large, and no more than a quarter of the ring */
	rig.pub.limit_pos = rig.pub.pos;
	assert_int_equal(rig_send(&rig, 1 << 19), RING_ROOM);
	assert_int_equal(rig.pub.limit_pos, 1 << 21);
	rig.pub.limit_pos = rig.pub.pos;
	assert_int_equal(rig_send(&rig, 1 << 22), RING_ROOM);
	assert_int_equal(rig.pub.limit_pos, (1 << 19) + (1 << 23));
	rig_free(&rig);
}

static void lossy_reader_does_not_gate(void **state)
{
	struct ring_rig *rig = *state;

	(void)rig_join(rig, 0, false);
	assert_int_equal(send_up_to(rig, 10 * SLOTS, 8), 10 * SLOTS);
}

static void slowest_of_several_gates_and_is_named(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd[3];

	for (unsigned i = 0; i < 3; i++)
		rd[i] = rig_join(rig, i, true);
	assert_int_equal(send_up_to(rig, 40, 8), 40);
	read_and_flush(rd[0], 30);
	read_and_flush(rd[1], 10);
	read_and_flush(rd[2], 20);
	assert_int_equal(send_up_to(rig, 10 * SLOTS, 8), 34);
	assert_int_equal(rig->pub.slowest, 101);
	read_and_flush(rd[1], 64);
	assert_int_equal(send_up_to(rig, 10 * SLOTS, 8), 10);
	assert_int_equal(rig->pub.slowest, 102);
}

/* A member that busd has announced and that has not tagged its entry yet. */
static void untagged_entry_gates_at_the_start_that_busd_gave(void **state)
{
	struct ring_rig *rig = *state;

	assert_int_equal(send_up_to(rig, 100, 8), 100);
	(void)rig_join(rig, 0, true);
	bus_store_release(&entry_of(rig, 0)->ring_id, 0);
	bus_store_release(&entry_of(rig, 0)->cursor, 0);
	assert_int_equal(rig->members[0].start, 100);
	assert_int_equal(send_up_to(rig, 10 * SLOTS, 8), SLOTS);
	/* What stands in an entry that is another ring's says nothing about this one. */
	bus_store_release(&entry_of(rig, 0)->ring_id, RIG_RING_ID + 1);
	bus_store_release(&entry_of(rig, 0)->cursor, 164);
	assert_int_equal(rig_send(rig, 8), RING_BLOCKED);
	assert_false(rig->members[0].lying);
	bus_store_release(&entry_of(rig, 0)->cursor, CURSOR_PARKED);
	assert_int_equal(rig_send(rig, 8), RING_BLOCKED);
}

/*
 * A reader writes its cursor before busd chooses the start, so the cursor may be the lower one:
 * honest, and it gates.
 */
static void cursor_below_the_start_is_no_lie(void **state)
{
	struct ring_rig *rig = *state;

	assert_int_equal(send_up_to(rig, 50, 8), 50);
	(void)rig_join(rig, 0, true);
	bus_store_release(&entry_of(rig, 0)->cursor, 40);
	rig->members[0].start = 50;
	assert_int_equal(send_up_to(rig, 10 * SLOTS, 8), 40 + SLOTS - 50);
	assert_false(rig->members[0].lying);
	bus_store_release(&entry_of(rig, 0)->cursor, 50); /* step 3 of its join */
	assert_int_equal(send_up_to(rig, 10 * SLOTS, 8), 10);
}

static void cursor_more_than_a_lap_behind_blocks_and_is_no_lie(void **state)
{
	struct ring_rig *rig = *state;

	assert_int_equal(send_up_to(rig, 1000, 100), 1000);
	(void)rig_join(rig, 0, true);
	bus_store_release(&entry_of(rig, 0)->cursor, 3);
	assert_true(send_up_to(rig, 10 * SLOTS, 100) <= SLOTS / 8);
	assert_int_equal(rig->pub.slowest, 100);
	assert_false(rig->members[0].lying);
}

static void cursor_that_runs_backwards_is_reported_and_ignored(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);
	struct ring_reader *honest = rig_join(rig, 1, true);

	assert_int_equal(send_up_to(rig, SLOTS, 8), SLOTS);
	read_and_flush(rd, 20);
	read_and_flush(honest, 20);
	assert_int_equal(send_up_to(rig, SLOTS, 8), 20);
	read_and_flush(honest, 10);
	bus_store_release(&entry_of(rig, 0)->cursor, 19);
	assert_int_equal(send_up_to(rig, SLOTS, 8), 10); /* as the honest one lets it */
	assert_true(rig->members[0].lying);
	assert_false(rig->members[1].lying);
	assert_int_equal(rig->pub.slowest, 101);
	/* It stays ignored: what it says later is not to be believed either. */
	bus_store_release(&entry_of(rig, 0)->cursor, 30);
	read_and_flush(honest, 25);
	assert_int_equal(send_up_to(rig, SLOTS, 8), 25);
}

static void cursor_ahead_of_what_was_published_is_reported_and_ignored(void **state)
{
	static const uint64_t ahead[] = { 1, SLOTS, UINT64_C(1) << 63, UINT64_MAX - 1 - SLOTS / 2 };

	for (size_t i = 0; i < BUS_ARRAY_LEN(ahead); i++) {
		struct ring_rig *rig = *state;

		rig_start_at(rig, 0, 0);
		(void)rig_join(rig, 0, true);
		assert_int_equal(send_up_to(rig, SLOTS / 2, 8), SLOTS / 2);
		bus_store_release(&entry_of(rig, 0)->cursor, SLOTS / 2 + ahead[i]);
		assert_int_equal(send_up_to(rig, 3 * SLOTS, 8), 3 * SLOTS);
		assert_true(rig->members[0].lying);
	}
}

static void cursor_at_what_was_published_is_no_lie(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	assert_int_equal(send_up_to(rig, SLOTS, 8), SLOTS);
	read_and_flush(rd, SLOTS);
	assert_int_equal(send_up_to(rig, 10 * SLOTS, 8), SLOTS);
	assert_false(rig->members[0].lying);
}

static void parked_reader_does_not_gate_until_it_is_back(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	assert_int_equal(send_up_to(rig, 10 * SLOTS, 8), SLOTS);
	ring_reader_park(rd);
	assert_int_equal(send_up_to(rig, 2 * SLOTS, 8), 2 * SLOTS);
	assert_false(rig->members[0].lying);
	ring_reader_joined_now(rd);
	assert_int_equal(send_up_to(rig, 10 * SLOTS, 8), SLOTS);
	assert_false(rig->members[0].lying);
}

static void news_come_before_room(void **state)
{
	struct ring_rig *rig = *state;
	const struct ring_writer_page *page = rig->reader.view.page;
	uint64_t limit_seq, limit_pos;

	assert_int_equal(send_up_to(rig, 10, 200), 10);
	limit_seq = rig->pub.limit_seq;
	limit_pos = rig->pub.limit_pos;
	rig->pub.slowest = 99;
	bus_store_release(&rig->epoch, 7);
	assert_int_equal(ring_pub_refresh(&rig->pub, 64), RING_NEWS);
	assert_int_equal(rig->pub.slowest, 0);
	assert_int_equal(rig->pub.limit_seq, limit_seq);
	assert_int_equal(rig->pub.limit_pos, limit_pos);
	assert_int_equal(bus_load_relaxed(&page->frontier_seq), limit_seq);
	ring_pub_seen(&rig->pub, 7);
	assert_int_equal(ring_pub_refresh(&rig->pub, 64), RING_ROOM);
}

static void frontier_is_the_limit(void **state)
{
	struct ring_rig *rig = *state;
	const struct ring_writer_page *page = rig->reader.view.page;

	for (unsigned i = 0; i < 500; i++) {
		assert_int_equal(rig_send(rig, i * 7 % 1500), RING_ROOM);
		assert_int_equal(bus_load_relaxed(&page->frontier_seq), rig->pub.limit_seq);
		assert_int_equal(bus_load_relaxed(&page->frontier_pos), rig->pub.limit_pos);
		assert_true(rig->pub.n <= rig->pub.limit_seq);
		assert_true(rig->pub.pos <= rig->pub.limit_pos);
	}
}

/* A reader that believed a higher frontier may have skipped messages for it already. */
static void frontier_never_goes_back(void **state)
{
	struct ring_rig *rig = *state;
	const struct ring_writer_page *page = rig->reader.view.page;
	uint64_t frontier_seq, frontier_pos;

	assert_int_equal(send_up_to(rig, SLOTS + 1, 100), SLOTS + 1);
	frontier_seq = bus_load_relaxed(&page->frontier_seq);
	frontier_pos = bus_load_relaxed(&page->frontier_pos);
	(void)rig_join(rig, 0, true);
	bus_store_release(&entry_of(rig, 0)->cursor, 2);
	assert_true(frontier_seq > 2 + SLOTS);
	assert_true(frontier_pos > 2 * 128 + BYTES);
	assert_int_equal(ring_pub_refresh(&rig->pub, 0), RING_ROOM);
	assert_int_equal(bus_load_relaxed(&page->frontier_seq), frontier_seq);
	assert_int_equal(bus_load_relaxed(&page->frontier_pos), frontier_pos);
	assert_int_equal(rig->pub.limit_seq, frontier_seq);
	assert_int_equal(rig->pub.limit_pos, frontier_pos);
}

static void frontier_leaves_a_gating_reader_its_messages(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	for (unsigned i = 0; i < 1000; i++) {
		struct ring_peeked p;

		while (rig_send(rig, i * 13 % 2048) == RING_ROOM)
			i++;
		/* Blocked: each unread message is still good. */
		for (uint64_t seq = rd->cur; seq < rig->pub.n; seq++) {
			rd->ahead = seq;
			assert_int_equal(ring_reader_peek(rd, &p), RING_MESSAGE);
		}
		rd->ahead = rd->cur;
		read_and_flush(rd, 1);
	}
	assert_int_equal(rd->lost, 0);
}

static void blocked_refresh_moves_nothing(void **state)
{
	struct ring_rig *rig = *state;
	const struct ring_writer_page *page = rig->reader.view.page;

	(void)rig_join(rig, 0, true);
	assert_int_equal(send_up_to(rig, SLOTS, 1024), BYTES / 1024);
	assert_int_equal(ring_pub_refresh(&rig->pub, 64), RING_BLOCKED);
	assert_int_equal(rig->pub.limit_pos, BYTES);
	assert_int_equal(bus_load_relaxed(&page->frontier_pos), BYTES);
	assert_false(ring_pub_room(&rig->pub, 64));
}

static uint64_t wake_at(const struct ring_rig *rig)
{
	return bus_load_relaxed(&rig->reader.view.page->wake_at);
}

/* Fills the ring, of which nothing is released, and has its publisher wait. */
static void fill_and_wait(struct ring_rig *rig, uint32_t len)
{
	rig_join(rig, 0, true);
	send_up_to(rig, SLOTS, len);
	assert_int_equal(ring_pub_refresh(&rig->pub, len), RING_BLOCKED);
	ring_pub_wait_begin(&rig->pub, ring_need(0, len));
}

static void waiting_generation_is_new_and_never_zero(void **state)
{
	struct ring_rig *rig = *state;
	const struct ring_writer_page *page = rig->reader.view.page;
	uint32_t before;

	fill_and_wait(rig, 64);
	before = bus_load_relaxed(&page->waiting);
	assert_int_not_equal(before, 0);
	ring_pub_wait_end(&rig->pub);
	assert_int_equal(bus_load_relaxed(&page->waiting), 0);
	read_and_flush(&rig->readers[0].rd, 1);
	assert_int_equal(rig_send(rig, 64), RING_ROOM);
	rig->pub.waiting_gen = UINT32_MAX;
	ring_pub_wait_begin(&rig->pub, 64);
	assert_int_not_equal(bus_load_relaxed(&page->waiting), 0);
	assert_int_not_equal(bus_load_relaxed(&page->waiting), before + 1);
}

/* Woken too early, it sleeps again in the same generation: who has come far enough wakes it once. */
static void waiting_generation_stays_while_the_same_room_is_waited_for(void **state)
{
	struct ring_rig *rig = *state;
	const struct ring_writer_page *page = rig->reader.view.page;
	uint32_t before;

	fill_and_wait(rig, 64);
	before = bus_load_relaxed(&page->waiting);
	ring_pub_wait_end(&rig->pub);
	ring_pub_wait_begin(&rig->pub, 64);
	assert_int_equal(bus_load_relaxed(&page->waiting), before);
	ring_pub_wait_end(&rig->pub);
	read_and_flush(&rig->readers[0].rd, 1);
	assert_int_equal(rig_send(rig, 64), RING_ROOM);
	ring_pub_wait_begin(&rig->pub, 64);
	assert_int_equal(bus_load_relaxed(&page->waiting), before + 1);
}

static void wakes_are_wanted_for_an_eighth_of_the_slots(void **state)
{
	struct ring_rig *rig = *state;

	fill_and_wait(rig, 8);
	assert_int_equal(wake_at(rig), SLOTS / 8);
}

/* 1 KiB each, 8 of them in the ring: an eighth of the bytes is one. */
static void wakes_are_wanted_for_an_eighth_of_the_bytes(void **state)
{
	struct ring_rig *rig = *state;

	fill_and_wait(rig, 1024);
	assert_int_equal(rig->pub.n, BYTES / 1024);
	assert_int_equal(wake_at(rig), 1);
}

static void wakes_are_wanted_for_as_many_bytes_as_are_needed(void **state)
{
	struct ring_rig *rig = *state;

	fill_and_wait(rig, 512);
	assert_int_equal(wake_at(rig), 2);
	ring_pub_wait_begin(&rig->pub, 2048);
	assert_int_equal(wake_at(rig), 4);
	ring_pub_wait_begin(&rig->pub, BYTES);
	assert_int_equal(wake_at(rig), rig->pub.n); /* who has read all leaves that much */
}

/* Whoever comes as far as the publisher wants leaves it room: else it would sleep for ever. */
static void there_is_room_at_the_cursor_that_wakes(void **state)
{
	static const uint32_t lens[] = { 0, 24, 64, 100, 1000, 2048 };
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	for (unsigned i = 0, k = 0; i < 3000; i++, k = (k * 5 + 7) % 97) {
		uint32_t len = lens[(i / 7 + k) % BUS_ARRAY_LEN(lens)];

		if (rig_send(rig, len) == RING_ROOM)
			continue;
		ring_pub_wait_begin(&rig->pub, ring_need(0, len));
		assert_true(wake_at(rig) > rd->cur);
		assert_true(wake_at(rig) <= rig->pub.n);
		read_and_flush(rd, (unsigned)(wake_at(rig) - rd->cur));
		ring_pub_wait_end(&rig->pub);
		assert_int_equal(rig_send(rig, len), RING_ROOM);
	}
	assert_true(rig->pub.n > 2000);
}

static void final_seq_is_the_next_number_plus_one(void **state)
{
	struct ring_rig *rig = *state;

	ring_pub_final(&rig->pub);
	assert_int_equal(bus_load_relaxed(&rig->reader.view.page->final_seq), 1);
	assert_int_equal(send_up_to(rig, 10, 8), 10);
	ring_pub_final(&rig->pub);
	assert_int_equal(bus_load_relaxed(&rig->reader.view.page->final_seq), 11);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(nobody_gates_nobody_blocks),
		RIG_TEST(slots_gate_at_exactly_one_lap),
		RIG_TEST(bytes_gate_at_exactly_the_payload_area),
		RIG_TEST(message_in_the_slot_passes_a_full_payload_area),
		RIG_TEST(byte_gate_is_where_the_oldest_unread_message_starts),
		RIG_TEST(refresh_is_needed_about_8_times_a_lap_of_slots),
		RIG_TEST(refresh_is_needed_about_8_times_a_lap_of_bytes),
		RIG_TEST(limit_runs_ahead_4096_slots_and_a_mebibyte_at_most),
		RIG_TEST(lossy_reader_does_not_gate),
		RIG_TEST(slowest_of_several_gates_and_is_named),
		RIG_TEST(untagged_entry_gates_at_the_start_that_busd_gave),
		RIG_TEST(cursor_below_the_start_is_no_lie),
		RIG_TEST(cursor_more_than_a_lap_behind_blocks_and_is_no_lie),
		RIG_TEST(cursor_that_runs_backwards_is_reported_and_ignored),
		RIG_TEST(cursor_ahead_of_what_was_published_is_reported_and_ignored),
		RIG_TEST(cursor_at_what_was_published_is_no_lie),
		RIG_TEST(parked_reader_does_not_gate_until_it_is_back),
		RIG_TEST(news_come_before_room),
		RIG_TEST(frontier_is_the_limit),
		RIG_TEST(frontier_never_goes_back),
		RIG_TEST(frontier_leaves_a_gating_reader_its_messages),
		RIG_TEST(blocked_refresh_moves_nothing),
		RIG_TEST(waiting_generation_is_new_and_never_zero),
		RIG_TEST(waiting_generation_stays_while_the_same_room_is_waited_for),
		RIG_TEST(wakes_are_wanted_for_an_eighth_of_the_slots),
		RIG_TEST(wakes_are_wanted_for_an_eighth_of_the_bytes),
		RIG_TEST(wakes_are_wanted_for_as_many_bytes_as_are_needed),
		RIG_TEST(there_is_room_at_the_cursor_that_wakes),
		RIG_TEST(final_seq_is_the_next_number_plus_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
