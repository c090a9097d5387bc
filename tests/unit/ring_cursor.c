/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_cursor.c - a reader's side of joining, flushing, being lapped and finding the end; that what
 * was lost and what was delivered add up to what was published.
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

static void send(struct ring_rig *rig, unsigned n, uint32_t len)
{
	while (n-- > 0)
		assert_int_equal(rig_send(rig, len), RING_ROOM);
}

static void take(struct ring_reader *rd, unsigned n)
{
	while (n-- > 0)
		assert_int_equal(rig_take(rd), RING_MESSAGE);
}

static uint64_t flushed(const struct ring_reader *rd)
{
	return bus_load_acquire(&rd->entry->cursor);
}

static void set_head(struct ring_rig *rig, uint64_t head)
{
	bus_store_release(&rig->writer.view.page->head, head);
}

static void tag_makes_the_entry_this_rings(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	bus_store_release(&rd->entry->ring_id, 3);
	bus_store_release(&rd->entry->cursor, 3);
	rd->cur = 17;
	rd->lost = 4;
	rd->delivered = 9;
	ring_reader_tag(rd);
	assert_int_equal(bus_load_acquire(&rd->entry->ring_id), RIG_RING_ID);
	assert_int_equal(flushed(rd), 17);
	assert_int_equal(rd->flushed, 17);
	assert_int_equal(bus_load_relaxed(&rd->entry->lost), 4);
	assert_int_equal(bus_load_relaxed(&rd->entry->delivered), 9);
}

static void join_begins_at_head_where_that_is_later(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd;

	send(rig, 10, 8);
	rd = rig_join(rig, 0, true);
	assert_int_equal(rd->cur, 10);
	assert_int_equal(rd->ahead, 10);
	assert_int_equal(flushed(rd), 10);
	send(rig, 1, 8);
	take(rd, 1);
	assert_int_equal(rd->lost, 0);
}

static void join_begins_at_its_own_cursor_where_that_is_later(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	send(rig, 10, 8);
	rd->cur = 12; /* head lags behind the commit words */
	ring_reader_joined_now(rd);
	assert_int_equal(rd->cur, 12);
	assert_int_equal(rd->ahead, 12);
	assert_int_equal(flushed(rd), 12);
}

static void oldest_of_a_ring_not_yet_full_is_its_first(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);

	send(rig, SLOTS / 2, 8);
	ring_reader_begin_oldest(rd);
	assert_int_equal(rd->cur, 0);
	take(rd, SLOTS / 2);
	assert_int_equal(rd->lost, 0);
}

static void oldest_is_the_first_that_cannot_be_overwritten_any_more(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);
	uint64_t frontier;

	send(rig, 3 * SLOTS + 5, 8);
	frontier = bus_load_relaxed(&rig->reader.view.page->frontier_seq);
	ring_reader_begin_oldest(rd);
	assert_int_equal(rd->cur, frontier - SLOTS);
	assert_int_equal(rd->ahead, rd->cur);
	assert_int_equal(rd->lost, 0);
	/* It is the oldest: one before would be refused, this one and all after it are there. */
	rd->ahead--;
	assert_int_equal(rig_take(rd), RING_LAPPED);
	rd->ahead = rd->cur;
	while (rig_take(rd) == RING_MESSAGE)
		;
	assert_int_equal(rd->cur, 3 * SLOTS + 5);
	assert_int_equal(rd->lost, 0);
}

static void oldest_never_goes_back_nor_past_head(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);

	send(rig, 10, 8);
	rd->cur = rd->ahead = 8;
	ring_reader_begin_oldest(rd);
	assert_int_equal(rd->cur, 8);
	bus_store_relaxed(&rig->writer.view.page->frontier_seq, UINT64_MAX);
	ring_reader_begin_oldest(rd);
	assert_int_equal(rd->cur, 10);
}

static void oldest_works_far_from_zero(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd;

	rig_start_at(rig, UINT64_C(1) << 63, 0);
	rd = rig_join(rig, 0, false);
	send(rig, 10, 8);
	ring_reader_begin_oldest(rd);
	assert_true(rd->cur == UINT64_C(1) << 63);
	send(rig, 2 * SLOTS, 8);
	ring_reader_begin_oldest(rd);
	assert_true(rd->cur > (UINT64_C(1) << 63) + SLOTS);
	take(rd, 1);
}

/*
 * A start in the past: where payload is gone that the slots would still have, it begins later and
 * lost nothing.
 */
static void start_in_the_past_skips_what_was_gone_before_it_came(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);

	send(rig, 20, 1024); /* a lap of payload is 8, one more may be under way */
	ring_reader_begin_oldest(rd);
	assert_int_equal(rd->cur, 0);
	ring_reader_skip_gone(rd);
	assert_in_range(rd->cur, 12, 13);
	assert_int_equal(rd->ahead, rd->cur);
	assert_int_equal(rd->lost, 0);
	assert_int_equal(rd->lost_unsaid, 0);
	while (rig_take(rd) == RING_MESSAGE)
		;
	assert_int_equal(rd->cur, 20);
	assert_int_equal(rd->lost, 0);
}

static void start_in_the_past_looks_at_one_lap_at_most(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);

	for (uint64_t seq = 0; seq < SLOTS; seq++)
		bus_store_relaxed(&ring_slot_of(&rig->writer.view, seq)->commit, UINT64_MAX);
	ring_reader_skip_gone(rd);
	assert_int_equal(rd->cur, SLOTS);
}

static void hole_before_the_first_message_is_stepped_over(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd, *plain = rig_join(rig, 0, true);
	uint64_t began = rig->pub.n;

	rd = rig_join(rig, 1, true);
	rd->late = true;
	assert_false(ring_reader_skip_hole(rd)); /* not said yet */
	assert_true(rd->late);
	ring_pub_begin(&rig->pub, began + 100);
	plain->late = false;
	assert_false(ring_reader_skip_hole(plain));
	/* nobody holds it up below where it begins, nor is a hole a message or an end */
	send(rig, SLOTS, 0);
	assert_int_equal(rig_take(rd), RING_LAPPED); /* its slot has another message by now */
	assert_true(ring_reader_skip_hole(rd));
	assert_int_equal(rd->cur, began + 100);
	assert_int_equal(bus_load_relaxed(&rd->entry->cursor), began + 100);
	take(rd, SLOTS);
	assert_int_equal(rig_take(rd), RING_EMPTY);
	assert_int_equal(rd->lost, 0);
	assert_false(ring_reader_skip_hole(rd)); /* once */
}

/* It knows where the ring before ended: what lies between stood in a ring that it never had. */
static void hole_behind_another_ring_counts_as_lost(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	rd->late = rd->follows = true;
	rd->cur = rd->ahead = rig->pub.n + 30;
	ring_pub_begin(&rig->pub, rig->pub.n + 100);
	assert_true(ring_reader_skip_hole(rd));
	assert_int_equal(rd->lost, 70);
	assert_int_equal(rd->lost_unsaid, 70);
}

static void lapped_reader_goes_on_a_quarter_lap_behind_head(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);

	send(rig, 10 * SLOTS, 8);
	assert_int_equal(rig_take(rd), RING_LAPPED);
	ring_reader_lapped(rd);
	assert_int_equal(rd->cur, 10 * SLOTS - SLOTS / 4);
	assert_int_equal(rd->ahead, rd->cur);
	assert_int_equal(rd->lost, 10 * SLOTS - SLOTS / 4);
	assert_int_equal(rd->lost_unsaid, rd->lost);
	assert_int_equal(flushed(rd), rd->cur);
	assert_int_equal(bus_load_relaxed(&rd->entry->lost), rd->lost);
	take(rd, SLOTS / 4);
	assert_int_equal(rig_take(rd), RING_EMPTY);
}

/* It comes from a ring that this one continues, behind a hole: below its first number there is nothing to wait for. */
static void lapped_reader_goes_to_no_number_before_the_first(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd;

	rig_start_at(rig, 5 * SLOTS, 0);
	rd = rig_join(rig, 0, false);
	rd->cur = rd->ahead = 3 * SLOTS;
	send(rig, 3, 8);
	assert_int_equal(rig_take(rd), RING_LAPPED);
	ring_reader_lapped(rd);
	assert_int_equal(rd->cur, 5 * SLOTS);
	assert_int_equal(rd->lost, 2 * SLOTS);
	take(rd, 3);
	assert_int_equal(rig_take(rd), RING_EMPTY);
}

static void lapped_reader_drops_what_it_had_borrowed(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);

	send(rig, 10, 8);
	rd->ahead = 6;
	send(rig, 10 * SLOTS, 8);
	ring_reader_lapped(rd);
	assert_int_equal(rd->ahead, rd->cur);
	assert_int_equal(rd->lost, rd->cur);
}

/*
 * By bytes a lap is shorter: where even a quarter of the slots is too far back, it goes to head,
 * not round in circles.
 */
static void lapped_by_bytes_goes_to_head(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);
	unsigned laps = 0;

	send(rig, 40, 2048);
	while (rig_take(rd) == RING_LAPPED) {
		ring_reader_lapped(rd);
		assert_true(++laps <= 2);
	}
	assert_int_equal(laps, 2);
	assert_int_equal(rd->cur, 40);
	assert_int_equal(rd->lost, 40);
}

/* The publisher owns head: whatever it says, the reader moves forward. */
static void lapped_reader_moves_on_whatever_head_says(void **state)
{
	static const uint64_t heads[] = { 0, 99, 100, 101, UINT64_C(1) << 63, UINT64_MAX };
	struct ring_rig *rig = *state;

	for (size_t i = 0; i < BUS_ARRAY_LEN(heads); i++) {
		struct ring_reader *rd = rig_join(rig, 0, false);

		rd->cur = rd->ahead = 100;
		set_head(rig, heads[i]);
		ring_reader_lapped(rd);
		assert_true(rd->cur > 100);
		assert_true(rd->lost == rd->cur - 100);
		assert_true(rd->cur <= bus_max_u64(heads[i], 101));
		set_head(rig, 0);
	}
}

static void flush_is_due_at_an_eighth_of_the_slots(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	send(rig, SLOTS / 8, 8);
	take(rd, SLOTS / 8 - 1);
	assert_int_equal(flushed(rd), 0);
	take(rd, 1);
	assert_int_equal(flushed(rd), SLOTS / 8);
	assert_int_equal(bus_load_relaxed(&rd->entry->delivered), SLOTS / 8);
}

static void flush_is_due_at_about_an_eighth_of_the_bytes(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);
	unsigned flushes = 0, n = 4 * BYTES / 256;
	uint64_t last = 0;

	for (unsigned i = 0; i < n; i++) { /* 4 messages are an eighth; by slots 8 would be */
		send(rig, 1, 256);
		take(rd, 1);
		flushes += flushed(rd) != last;
		last = flushed(rd);
		assert_true(i + 1 - last <= 4);
	}
	assert_in_range(flushes, 7 * 4, 8 * 4 + 1);
}

static void flush_is_due_when_the_publisher_waits(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	send(rig, 3, 8);
	take(rd, 1);
	assert_int_equal(flushed(rd), 0);
	ring_pub_wait_begin(&rig->pub, 0);
	take(rd, 1);
	assert_int_equal(flushed(rd), 2);
	assert_int_equal(rig->pub_wakes, 1);
}

static void flush_wakes_a_waiting_publisher_once_per_generation(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	ring_reader_flush(rd);
	assert_int_equal(rig->pub_wakes, 0);
	send(rig, SLOTS, 8);
	ring_pub_wait_begin(&rig->pub, 0);
	take(rd, SLOTS / 8);
	assert_int_equal(rig->pub_wakes, 1);
	take(rd, 1);
	ring_reader_flush(rd);
	assert_int_equal(rig->pub_wakes, 1);
	ring_pub_wait_end(&rig->pub);
	ring_reader_flush(rd);
	assert_int_equal(rig->pub_wakes, 1);
	send(rig, SLOTS / 8, 8);
	ring_pub_wait_begin(&rig->pub, 0);
	take(rd, SLOTS / 8);
	assert_int_equal(rig->pub_wakes, 2);
}

/* Its cursor is told at once all the same: a publisher that looks by itself finds the room. */
static void flush_wakes_nobody_for_less_room_than_is_wanted(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *fast = rig_join(rig, 0, true), *slow = rig_join(rig, 1, true);

	send(rig, SLOTS, 8);
	ring_pub_wait_begin(&rig->pub, 0);
	take(slow, SLOTS / 8 - 1);
	assert_int_equal(flushed(slow), SLOTS / 8 - 1);
	assert_int_equal(rig->pub_wakes, 0);
	take(fast, SLOTS); /* once, though it flushes often */
	assert_int_equal(rig->pub_wakes, 1);
	take(slow, 1);
	assert_int_equal(rig->pub_wakes, 2);
}

static void flush_without_a_bell_tries_again(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	ring_pub_wait_begin(&rig->pub, 0);
	rig->no_bell = true;
	ring_reader_flush(rd);
	rig->no_bell = false;
	ring_reader_flush(rd);
	assert_int_equal(rig->pub_wakes, 1);
}

static void park_stops_gating_and_wakes_a_waiting_publisher(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	send(rig, SLOTS, 8);
	assert_int_equal(rig_send(rig, 8), RING_BLOCKED);
	ring_pub_wait_begin(&rig->pub, 0);
	ring_reader_park(rd);
	assert_true(flushed(rd) == CURSOR_PARKED);
	assert_int_equal(rig->pub_wakes, 1);
	ring_reader_park(rd);
	assert_int_equal(rig->pub_wakes, 1);
	assert_int_equal(rig_send(rig, 8), RING_ROOM);
}

static void ready_for_a_message_a_lap_and_an_end_only(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);

	assert_false(ring_reader_ready(rd));
	send(rig, 1, 8);
	assert_true(ring_reader_ready(rd));
	take(rd, 1);
	assert_false(ring_reader_ready(rd));
	send(rig, 2 * SLOTS, 8);
	assert_true(ring_reader_ready(rd));
	while (rig_take(rd) == RING_LAPPED || rd->cur < rig->pub.n) {
		if (rd->cur < SLOTS)
			ring_reader_lapped(rd);
	}
	assert_false(ring_reader_ready(rd));
	bus_store_release(&rig->closed, RIG_CLOSED + 1);
	assert_false(ring_reader_ready(rd));
	bus_store_release(&rig->closed, RIG_CLOSED);
	assert_true(ring_reader_ready(rd));
	bus_store_release(&rig->closed, 0);
	ring_pub_final(&rig->pub);
	assert_true(ring_reader_ready(rd));
	assert_true(ring_reader_drained(rd));
	assert_false(ring_reader_ready(rd)); /* said once */
}

static void open_ring_is_never_drained(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	assert_false(ring_reader_drained(rd));
	send(rig, 3, 8);
	take(rd, 3);
	assert_false(ring_reader_drained(rd));
	bus_store_release(&rig->closed, RIG_CLOSED - 1);
	assert_false(ring_reader_drained(rd));
	assert_false(rd->drained);
}

static void ended_ring_is_drained_after_its_last_message(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	send(rig, 3, 8);
	ring_pub_final(&rig->pub);
	for (int i = 0; i < 3; i++) {
		assert_false(ring_reader_drained(rd));
		take(rd, 1);
	}
	assert_true(ring_reader_drained(rd));
	assert_true(rd->drained);
}

/* final_seq is next seq + 1, so that an end before the first message differs from none. */
static void ended_before_its_first_message_is_drained(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	assert_false(ring_reader_drained(rd));
	ring_pub_final(&rig->pub);
	assert_true(ring_reader_drained(rd));
}

static void ended_ring_gives_a_late_reader_its_whole_last_lap(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);

	send(rig, 3 * SLOTS + 5, 8);
	ring_pub_final(&rig->pub);
	ring_reader_begin_oldest(rd);
	assert_int_equal(rd->cur, 2 * SLOTS + 5);
	take(rd, SLOTS);
	assert_int_equal(rd->lost, 0);
	assert_true(ring_reader_drained(rd));
}

/* A claim that was written and given up lies over the oldest payload all the same. */
static void ended_ring_does_not_show_what_an_aborted_claim_overwrote(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);

	send(rig, 8, 1024);
	assert_int_equal(rig_room(rig, 1024), RING_ROOM);
	ring_pub_written(&rig->pub, 1024);
	rig_fill(ring_pub_at(&rig->pub), 8, 1024);
	ring_pub_final(&rig->pub);
	assert_int_equal(rig_take(rd), RING_LAPPED);
	rd->cur = rd->ahead = 1;
	take(rd, 7);
	assert_true(ring_reader_drained(rd));
}

/*
 * peek said empty, then the last message was committed, then the publisher died: the second look
 * finds it.
 */
static void closed_ring_is_drained_only_after_a_second_look(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	assert_int_equal(rig_take(rd), RING_EMPTY);
	send(rig, 1, 8);
	set_head(rig, 0); /* died between its commit and its head */
	bus_store_release(&rig->closed, RIG_CLOSED);
	assert_false(ring_reader_drained(rd));
	take(rd, 1);
	assert_true(ring_reader_drained(rd));
}

static void hostile_final_seq_ends_nothing_but_itself(void **state)
{
	static const uint64_t finals[] = { 1, 3, 5, UINT64_MAX };
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	send(rig, 4, 8);
	take(rd, 3);
	for (size_t i = 0; i < BUS_ARRAY_LEN(finals); i++) {
		bus_store_release(&rig->writer.view.page->final_seq, finals[i]);
		assert_false(ring_reader_drained(rd));
	}
}

/* A reader that gets to read a random share of the time. */
static void delivered_and_lost_add_up_to_what_was_published(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);
	uint64_t x = 88172645463325252, last = 0;

	for (int round = 0; round < 20000; round++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		send(rig, x % 100, (uint32_t)(x >> 20) % (x % 3 ? 2048 : 30));
		for (unsigned n = (unsigned)(x >> 40) % 100; n > 0; n--) {
			enum ring_look look = rig_take(rd);

			assert_int_not_equal(look, RING_GARBAGE);
			if (look == RING_LAPPED)
				ring_reader_lapped(rd);
			assert_true(rd->cur >= last);
			last = rd->cur;
			assert_int_equal(rd->delivered + rd->lost, rd->cur);
		}
	}
	assert_true(rd->delivered > 10000);
	assert_true(rd->lost > 10000);
	while (rd->cur < rig->pub.n) {
		if (rig_take(rd) == RING_LAPPED)
			ring_reader_lapped(rd);
	}
	assert_int_equal(rd->delivered + rd->lost, rig->pub.n);
	ring_reader_flush(rd);
	assert_int_equal(bus_load_relaxed(&rd->entry->lost), rd->lost);
	assert_int_equal(bus_load_relaxed(&rd->entry->delivered), rd->delivered);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(tag_makes_the_entry_this_rings),
		RIG_TEST(join_begins_at_head_where_that_is_later),
		RIG_TEST(join_begins_at_its_own_cursor_where_that_is_later),
		RIG_TEST(oldest_of_a_ring_not_yet_full_is_its_first),
		RIG_TEST(oldest_is_the_first_that_cannot_be_overwritten_any_more),
		RIG_TEST(oldest_never_goes_back_nor_past_head),
		RIG_TEST(oldest_works_far_from_zero),
		RIG_TEST(start_in_the_past_skips_what_was_gone_before_it_came),
		RIG_TEST(start_in_the_past_looks_at_one_lap_at_most),
		RIG_TEST(hole_before_the_first_message_is_stepped_over),
		RIG_TEST(hole_behind_another_ring_counts_as_lost),
		RIG_TEST(lapped_reader_goes_on_a_quarter_lap_behind_head),
		RIG_TEST(lapped_reader_goes_to_no_number_before_the_first),
		RIG_TEST(lapped_reader_drops_what_it_had_borrowed),
		RIG_TEST(lapped_by_bytes_goes_to_head),
		RIG_TEST(lapped_reader_moves_on_whatever_head_says),
		RIG_TEST(flush_is_due_at_an_eighth_of_the_slots),
		RIG_TEST(flush_is_due_at_about_an_eighth_of_the_bytes),
		RIG_TEST(flush_is_due_when_the_publisher_waits),
		RIG_TEST(flush_wakes_a_waiting_publisher_once_per_generation),
		RIG_TEST(flush_wakes_nobody_for_less_room_than_is_wanted),
		RIG_TEST(flush_without_a_bell_tries_again),
		RIG_TEST(park_stops_gating_and_wakes_a_waiting_publisher),
		RIG_TEST(ready_for_a_message_a_lap_and_an_end_only),
		RIG_TEST(open_ring_is_never_drained),
		RIG_TEST(ended_ring_is_drained_after_its_last_message),
		RIG_TEST(ended_before_its_first_message_is_drained),
		RIG_TEST(ended_ring_gives_a_late_reader_its_whole_last_lap),
		RIG_TEST(ended_ring_does_not_show_what_an_aborted_claim_overwrote),
		RIG_TEST(closed_ring_is_drained_only_after_a_second_look),
		RIG_TEST(hostile_final_seq_ends_nothing_but_itself),
		RIG_TEST(delivered_and_lost_add_up_to_what_was_published),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
