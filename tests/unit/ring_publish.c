/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_publish.c - the publishing path: what travels in the slot, what in the payload area and
 * where, that both wrap without a message in two pieces, and who is woken how often.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/ring_rig.h"

#define SLOTS 16
#define BYTES 4096

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

static void send(struct ring_rig *rig, uint32_t len)
{
	assert_int_equal(rig_send(rig, len), RING_ROOM);
}

static void take(struct ring_reader *rd)
{
	assert_int_equal(rig_take(rd), RING_MESSAGE);
}

static struct ring_peeked peek(struct ring_reader *rd)
{
	struct ring_peeked p;

	assert_int_equal(ring_reader_peek(rd, &p), RING_MESSAGE);
	return p;
}

static void first_publish_looks_at_the_gates(void **state)
{
	struct ring_rig *rig = *state;

	assert_false(ring_pub_room(&rig->pub, 0));
	assert_int_equal(ring_pub_refresh(&rig->pub, 0), RING_ROOM);
	assert_true(ring_pub_room(&rig->pub, 0));
}

static void length_24_travels_in_the_slot(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);
	struct ring_peeked p;

	memset(rig->writer.view.payload, 0xee, BYTES);
	send(rig, 24);
	assert_int_equal(rig->pub.pos, 0);
	p = peek(rd);
	assert_int_equal(p.len, 24);
	assert_true(p.flags & RING_FLAG_INLINE);
	assert_true(rig_filled(p.in, 0, 24));
	for (unsigned i = 0; i < BYTES; i++)
		assert_int_equal(rig->reader.view.payload[i], 0xee);
}

static void length_25_travels_in_the_payload_area(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);
	struct ring_peeked p;

	send(rig, 25);
	assert_int_equal(rig->pub.pos, 64);
	p = peek(rd);
	assert_int_equal(p.len, 25);
	assert_false(p.flags & RING_FLAG_INLINE);
	assert_int_equal(p.pos, 0);
	assert_true(rig_filled(rig->reader.view.payload, 0, 25));
}

static void head_and_payload_share_the_24_bytes(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);
	struct ring_message m = { .len = 12, .head_len = 12, .key_len = 12, .in = { 1, 2, 3 } };
	struct ring_peeked p;

	assert_int_equal(rig_room(rig, ring_need(12, 13)), RING_ROOM);
	ring_pub_commit(&rig->pub, &m);
	p = peek(rd);
	assert_true(p.flags & RING_FLAG_INLINE);
	assert_int_equal(p.in[0], 1);
	assert_int_equal(p.in[2], 3);
	rd->ahead++;
	m.len = 13;
	ring_pub_commit(&rig->pub, &m);
	p = peek(rd);
	assert_false(p.flags & RING_FLAG_INLINE);
	assert_int_equal(rig->pub.pos, 64);
}

static void length_zero_is_a_message(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);
	struct ring_peeked p;

	send(rig, 0);
	p = peek(rd);
	assert_int_equal(p.seq, 0);
	assert_int_equal(p.len, 0);
	take(rd);
	assert_int_equal(rig_take(rd), RING_EMPTY);
	assert_int_equal(rd->delivered, 1);
}

static void fields_arrive_as_they_were_sent(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);
	struct ring_message m = {
		.time = UINT64_MAX - 1,
		.len = 1000,
		.head_len = 48,
		.key_len = 33,
		.flags = RING_FLAG_HEADERS,
		.key_hash = 0x89abcdef,
	};
	struct ring_peeked p;

	assert_int_equal(rig_room(rig, ring_need(48, 1000)), RING_ROOM);
	ring_pub_commit(&rig->pub, &m);
	p = peek(rd);
	assert_true(p.time == UINT64_MAX - 1);
	assert_int_equal(p.len, 1000);
	assert_int_equal(p.head_len, 48);
	assert_int_equal(p.key_len, 33);
	assert_int_equal(p.flags, RING_FLAG_HEADERS);
	assert_int_equal(p.key_hash, 0x89abcdef);
	assert_int_equal(rig->pub.pos, 1088);
}

static void written_but_uncommitted_is_invisible(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	assert_int_equal(rig_room(rig, 64), RING_ROOM);
	rig_fill(ring_pub_at(&rig->pub), 0, 64);
	assert_int_equal(rig_take(rd), RING_EMPTY);
	/* Abort is: forget it. The next message takes the same place and number. */
	send(rig, 100);
	assert_int_equal(peek(rd).seq, 0);
	assert_int_equal(peek(rd).pos, 0);
	take(rd);
}

static void head_and_bytes_follow_the_commits(void **state)
{
	struct ring_rig *rig = *state;
	const struct ring_writer_page *page = rig->reader.view.page;
	struct ring_message m = { .len = 100, .head_len = 16, .key_len = 3 };

	send(rig, 10);
	send(rig, 200);
	assert_int_equal(bus_load_acquire(&page->head), 2);
	assert_int_equal(bus_load_relaxed(&page->bytes), 210);
	assert_int_equal(rig_room(rig, ring_need(16, 100)), RING_ROOM);
	ring_pub_commit(&rig->pub, &m);
	assert_int_equal(bus_load_acquire(&page->head), 3);
	assert_int_equal(bus_load_relaxed(&page->bytes), 310); /* heads are not payload */
}

/* A batch stores head once for several: readers go by the commit words, which head follows. */
static void head_lags_until_it_is_told(void **state)
{
	struct ring_rig *rig = *state;
	const struct ring_writer_page *page = rig->reader.view.page;
	struct ring_reader *rd = rig_join(rig, 0, true);

	assert_int_equal(rig_room(rig, 0), RING_ROOM);
	for (int i = 0; i < 2; i++)
		ring_pub_commit_words(&rig->pub, 0, ring_pack_lens(0, 0, 0),
				      ring_pack_attrs(RING_FLAG_INLINE, 0), 0, 0);
	assert_int_equal(bus_load_acquire(&page->head), 0);
	take(rd);
	take(rd);
	ring_pub_tell(&rig->pub);
	assert_int_equal(bus_load_acquire(&page->head), 2);
	assert_int_equal(rig->pub.n, 2);
}

static void slots_are_used_again_lap_after_lap(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	for (uint64_t i = 0; i < 5 * SLOTS + 3; i++) {
		send(rig, (uint32_t)i % 25);
		assert_int_equal(peek(rd).seq, i);
		take(rd);
		ring_reader_flush(rd);
	}
	assert_int_equal(rd->lost, 0);
	assert_int_equal(rd->delivered, 5 * SLOTS + 3);
}

static void message_across_the_end_of_the_payload_is_in_one_piece(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);
	uint8_t whole[640];
	struct ring_peeked p;

	for (int i = 0; i < 4; i++) {
		send(rig, 960);
		take(rd);
	}
	ring_reader_flush(rd);
	assert_int_equal(rig->pub.pos, 3840);
	send(rig, 640); /* 256 bytes before the end, 384 at the start */
	p = peek(rd);
	assert_true(rig_filled(ring_reader_at(rd, p.pos), 4, 640));
	rig_fill(whole, 4, 640);
	assert_memory_equal(rig->reader.view.payload + 3840, whole, 256);
	assert_memory_equal(rig->reader.view.payload, whole + 256, 384);
	take(rd);
}

static void message_ending_exactly_at_the_end_leaves_the_next_at_the_start(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	for (int i = 0; i < 4; i++) {
		send(rig, 1024);
		take(rd);
	}
	ring_reader_flush(rd);
	assert_int_equal(rig->pub.pos, BYTES);
	send(rig, 100);
	assert_int_equal(peek(rd).pos, BYTES);
	assert_ptr_equal(ring_reader_at(rd, BYTES), rig->reader.view.payload);
	take(rd);
}

static void largest_messages_fill_the_ring_and_keep_coming(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);
	uint32_t max = (uint32_t)ring_message_max(BYTES);

	send(rig, 40); /* so that the large ones are not aligned to their size */
	take(rd);
	ring_reader_flush(rd);
	for (int lap = 0; lap < 20; lap++) {
		for (int i = 0; i < 4; i++)
			send(rig, max);
		assert_int_equal(rig_send(rig, max), RING_BLOCKED);
		for (int i = 0; i < 4; i++)
			take(rd);
		ring_reader_flush(rd);
	}
	assert_int_equal(rd->lost, 0);
}

/* Three laps of slots and payload from seq and pos on, with sizes of all kinds. */
static void laps_from(struct ring_rig *rig, uint64_t seq, uint64_t pos)
{
	static const uint32_t lens[] = { 0, 24, 25, 64, 65, 300, 1024 };
	struct ring_reader *rd;
	unsigned n = 0;

	rig_start_at(rig, seq, pos);
	rd = rig_join(rig, 0, true);
	assert_true(rd->cur == seq);
	while (n < 6 * SLOTS || rig->pub.pos - pos < 3 * BYTES) {
		if (rig_send(rig, lens[n % BUS_ARRAY_LEN(lens)]) == RING_ROOM) {
			n++;
			continue;
		}
		while (rig_take(rd) == RING_MESSAGE)
			;
		ring_reader_flush(rd);
	}
	while (rig_take(rd) == RING_MESSAGE)
		;
	assert_true(rd->cur == seq + n);
	assert_int_equal(rd->delivered, n);
	assert_int_equal(rd->lost, 0);
	assert_false(rig->members[0].lying);
}

static void numbers_cross_2_to_the_32(void **state)
{
	laps_from(*state, (UINT64_C(1) << 32) - 20, (UINT64_C(1) << 32) - 2 * BYTES - 64);
}

static void numbers_cross_2_to_the_63(void **state)
{
	laps_from(*state, (UINT64_C(1) << 63) - 20, (UINT64_C(1) << 63) - 2 * BYTES - 64);
}

static void sleeper_is_woken_once_per_generation(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);
	struct cursor_segment *cursors = rig->readers[0].cursors;

	send(rig, 8);
	assert_int_equal(ring_pub_wake(&rig->pub), RING_ROOM);
	assert_int_equal(rig->readers[0].wakes, 0); /* awake */
	take(rd);
	ring_reader_flush(rd);
	bus_store_release(&cursors->waiting, 1);
	for (int i = 0; i < 5; i++) {
		send(rig, 8);
		assert_int_equal(ring_pub_wake(&rig->pub), RING_ROOM);
		assert_int_equal(rig->readers[0].wakes, 1);
	}
	while (rig_take(rd) == RING_MESSAGE)
		;
	ring_reader_flush(rd);
	send(rig, 8); /* it has read all, and not yet cleared its word */
	assert_int_equal(ring_pub_wake(&rig->pub), RING_ROOM);
	assert_int_equal(rig->readers[0].wakes, 1);
	take(rd);
	ring_reader_flush(rd);
	bus_store_release(&cursors->waiting, 2);
	send(rig, 8);
	assert_int_equal(ring_pub_wake(&rig->pub), RING_ROOM);
	assert_int_equal(rig->readers[0].wakes, 2);
}

static void lossy_sleeper_is_woken_too(void **state)
{
	struct ring_rig *rig = *state;

	(void)rig_join(rig, 0, false);
	(void)rig_join(rig, 1, true);
	bus_store_release(&rig->readers[0].cursors->waiting, 9);
	bus_store_release(&rig->readers[1].cursors->waiting, 3);
	send(rig, 8);
	assert_int_equal(ring_pub_wake(&rig->pub), RING_ROOM);
	assert_int_equal(rig->readers[0].wakes, 1);
	assert_int_equal(rig->readers[1].wakes, 1);
}

/* One that sleeps on, and one that is awake again, while a third has to be woken. */
static void others_are_left_alone_when_one_is_woken(void **state)
{
	struct ring_rig *rig = *state;

	for (unsigned i = 0; i < 3; i++)
		rig_join(rig, i, true);
	send(rig, 8);
	bus_store_relaxed(&rig->readers[0].cursors->waiting, 1);
	bus_store_relaxed(&rig->readers[1].cursors->waiting, 1);
	assert_int_equal(ring_pub_wake(&rig->pub), RING_ROOM);
	bus_store_relaxed(&rig->readers[1].cursors->waiting, 0);
	take(&rig->readers[0].rd);
	take(&rig->readers[1].rd);
	ring_reader_flush(&rig->readers[0].rd);
	ring_reader_flush(&rig->readers[1].rd);
	send(rig, 8);
	bus_store_relaxed(&rig->readers[2].cursors->waiting, 1);
	assert_int_equal(ring_pub_wake(&rig->pub), RING_ROOM);
	assert_int_equal(rig->readers[0].wakes, 1);
	assert_int_equal(rig->readers[1].wakes, 1);
	assert_int_equal(rig->readers[2].wakes, 1);
}

static void wake_without_a_bell_is_tried_again(void **state)
{
	struct ring_rig *rig = *state;

	(void)rig_join(rig, 0, true);
	bus_store_release(&rig->readers[0].cursors->waiting, 1);
	rig->no_bell = true;
	send(rig, 8);
	assert_int_equal(ring_pub_wake(&rig->pub), RING_ROOM);
	assert_int_equal(rig->readers[0].wakes, 0);
	rig->no_bell = false;
	assert_int_equal(ring_pub_wake(&rig->pub), RING_ROOM);
	assert_int_equal(rig->readers[0].wakes, 1);
}

/* Whoever is known is woken also when others joined whose membership may not be there for long. */
static void wake_says_that_somebody_joined_and_wakes_the_known(void **state)
{
	struct ring_rig *rig = *state;

	(void)rig_join(rig, 0, true);
	bus_store_release(&rig->readers[0].cursors->waiting, 1);
	send(rig, 8);
	bus_store_release(&rig->epoch, 5);
	assert_int_equal(ring_pub_wake(&rig->pub), RING_NEWS);
	assert_int_equal(rig->readers[0].wakes, 1);
	ring_pub_seen(&rig->pub, 5);
	assert_int_equal(ring_pub_wake(&rig->pub), RING_ROOM);
	assert_int_equal(rig->readers[0].wakes, 1);
}

/*
 * Wakes reader 0 once with 3 messages published, of which it has then read `read`, and asks for
 * another wake.
 */
static void ask_again(struct ring_rig *rig, unsigned read)
{
	struct ring_reader *rd = rig_join(rig, 0, true);

	bus_store_release(&rig->readers[0].cursors->waiting, 1);
	for (int i = 0; i < 3; i++)
		send(rig, 8);
	assert_int_equal(ring_pub_wake(&rig->pub), RING_ROOM);
	assert_int_equal(rig->readers[0].wakes, 1);
	for (unsigned i = 0; i < read; i++)
		take(rd);
	ring_reader_flush(rd);
	bus_store_release(&rig->readers[0].cursors->waiting, 2);
	send(rig, 8);
}

static void waiting_word_that_counts_up_unread_is_not_obeyed(void **state)
{
	struct ring_rig *rig = *state;

	ask_again(rig, 2);
	for (uint32_t w = 2; w < 100; w++) {
		bus_store_release(&rig->readers[0].cursors->waiting, w);
		assert_int_equal(ring_pub_wake(&rig->pub), RING_ROOM);
	}
	assert_int_equal(rig->readers[0].wakes, 1);
}

static void sleeper_that_read_what_it_was_woken_for_is_woken(void **state)
{
	struct ring_rig *rig = *state;

	ask_again(rig, 3);
	assert_int_equal(ring_pub_wake(&rig->pub), RING_ROOM);
	assert_int_equal(rig->readers[0].wakes, 2);
}

static void sleeper_whose_entry_is_another_rings_is_woken(void **state)
{
	struct ring_rig *rig = *state;

	ask_again(rig, 0);
	bus_store_release(&rig->readers[0].cursors->entry[0].ring_id, RIG_RING_ID + 1);
	assert_int_equal(ring_pub_wake(&rig->pub), RING_ROOM);
	assert_int_equal(rig->readers[0].wakes, 2);
}

static void parked_sleeper_is_woken(void **state)
{
	struct ring_rig *rig = *state;

	ask_again(rig, 0);
	ring_reader_park(&rig->readers[0].rd);
	assert_int_equal(ring_pub_wake(&rig->pub), RING_ROOM);
	assert_int_equal(rig->readers[0].wakes, 2);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(first_publish_looks_at_the_gates),
		RIG_TEST(length_24_travels_in_the_slot),
		RIG_TEST(length_25_travels_in_the_payload_area),
		RIG_TEST(head_and_payload_share_the_24_bytes),
		RIG_TEST(length_zero_is_a_message),
		RIG_TEST(fields_arrive_as_they_were_sent),
		RIG_TEST(written_but_uncommitted_is_invisible),
		RIG_TEST(head_and_bytes_follow_the_commits),
		RIG_TEST(head_lags_until_it_is_told),
		RIG_TEST(slots_are_used_again_lap_after_lap),
		RIG_TEST(message_across_the_end_of_the_payload_is_in_one_piece),
		RIG_TEST(message_ending_exactly_at_the_end_leaves_the_next_at_the_start),
		RIG_TEST(largest_messages_fill_the_ring_and_keep_coming),
		RIG_TEST(numbers_cross_2_to_the_32),
		RIG_TEST(numbers_cross_2_to_the_63),
		RIG_TEST(sleeper_is_woken_once_per_generation),
		RIG_TEST(lossy_sleeper_is_woken_too),
		RIG_TEST(others_are_left_alone_when_one_is_woken),
		RIG_TEST(wake_without_a_bell_is_tried_again),
		RIG_TEST(wake_says_that_somebody_joined_and_wakes_the_known),
		RIG_TEST(waiting_word_that_counts_up_unread_is_not_obeyed),
		RIG_TEST(sleeper_that_read_what_it_was_woken_for_is_woken),
		RIG_TEST(sleeper_whose_entry_is_another_rings_is_woken),
		RIG_TEST(parked_sleeper_is_woken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
