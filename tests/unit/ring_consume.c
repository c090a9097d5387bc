/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_consume.c - the reading path: when a message is there, when it is gone, and that nothing a
 * publisher may write into its segment (lengths, positions, versions, flags, commit words,
 * frontier) leads out of the mapping.
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

static enum ring_look look(struct ring_reader *rd)
{
	struct ring_peeked p;

	return ring_reader_peek(rd, &p);
}

static void send(struct ring_rig *rig, unsigned n, uint32_t len)
{
	while (n-- > 0)
		assert_int_equal(rig_send(rig, len), RING_ROOM);
}

static struct ring_slot *slot_of(struct ring_rig *rig, uint64_t seq)
{
	return ring_slot_of(&rig->writer.view, seq);
}

/* Reads each byte that the reader was promised. Outside the mapping it would be SIGSEGV. */
static unsigned touch(const struct ring_reader *rd, const struct ring_peeked *p)
{
	const volatile uint8_t *at = ring_reader_at(rd, p->pos);
	unsigned sum = 0;

	if (p->flags & RING_FLAG_INLINE)
		at = (const volatile uint8_t *)p->in;
	for (uint64_t i = 0; i < (uint64_t)p->head_len + p->len; i++)
		sum += at[i];
	return sum;
}

static void empty_ring_says_empty(void **state)
{
	struct ring_reader *rd = rig_join(*state, 0, true);

	assert_int_equal(look(rd), RING_EMPTY);
	assert_int_equal(look(rd), RING_EMPTY);
	assert_int_equal(rd->cur, 0);
}

static void slot_of_the_previous_lap_says_empty(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	send(rig, SLOTS, 8);
	while (rig_take(rd) == RING_MESSAGE)
		;
	assert_int_equal(rd->cur, SLOTS);
	assert_int_equal(bus_load_relaxed(&slot_of(rig, SLOTS)->commit), 1);
	assert_int_equal(look(rd), RING_EMPTY);
}

static void one_load_tells_whether_anything_came(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);

	assert_false(ring_reader_came(rd));
	send(rig, 1, 8);
	assert_true(ring_reader_came(rd));
	assert_int_equal(rig_take(rd), RING_MESSAGE);
	assert_false(ring_reader_came(rd));
	send(rig, SLOTS + 1, 8);
	assert_true(ring_reader_came(rd)); /* a lap is something too */
	rd->cur = rd->ahead = SLOTS + 2;
	assert_false(ring_reader_came(rd)); /* the previous lap's is nothing */
}

static void several_are_borrowed_and_given_back_together(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);
	struct ring_peeked p[5];

	send(rig, 5, 100);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(ring_reader_peek(rd, &p[i]), RING_MESSAGE);
		assert_int_equal(p[i].seq, i);
		rd->ahead++;
	}
	assert_int_equal(look(rd), RING_EMPTY);
	assert_int_equal(rd->cur, 0);
	assert_true(ring_reader_release(rd, 3, p[0].pos));
	assert_int_equal(rd->cur, 3);
	assert_true(ring_reader_release(rd, 2, p[3].pos));
	assert_int_equal(rd->cur, 5);
	assert_int_equal(rd->delivered, 5);
	assert_int_equal(rd->lost, 0);
}

static void commit_of_a_later_lap_says_lapped(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);

	send(rig, SLOTS + 1, 8);
	assert_int_equal(look(rd), RING_LAPPED);
	bus_store_relaxed(&slot_of(rig, 0)->commit, UINT64_MAX);
	assert_int_equal(look(rd), RING_LAPPED);
}

/* The frontier says that the slot is being written over, its commit word is still the old one. */
static void frontier_past_the_slot_says_lapped_before_the_commit_changes(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);
	_Atomic uint64_t *frontier = &rig->writer.view.page->frontier_seq;

	send(rig, 5, 8);
	bus_store_relaxed(frontier, SLOTS);
	assert_int_equal(look(rd), RING_MESSAGE);
	bus_store_relaxed(frontier, SLOTS + 1);
	assert_int_equal(look(rd), RING_LAPPED);
	rd->ahead = rd->cur = 1;
	assert_int_equal(look(rd), RING_MESSAGE);
}

static void frontier_past_the_payload_says_lapped(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);
	_Atomic uint64_t *frontier = &rig->writer.view.page->frontier_pos;

	send(rig, 3, 100);
	bus_store_relaxed(frontier, BYTES);
	assert_int_equal(look(rd), RING_MESSAGE);
	bus_store_relaxed(frontier, BYTES + 1);
	assert_int_equal(look(rd), RING_LAPPED);
	rd->ahead = rd->cur = 1; /* starts at 128 */
	assert_int_equal(look(rd), RING_MESSAGE);
	bus_store_relaxed(frontier, BYTES + 128 + 64);
	assert_int_equal(look(rd), RING_LAPPED);
}

static void release_is_void_once_the_frontier_passed_the_slot(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);
	struct ring_peeked p;

	send(rig, 4, 8);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(ring_reader_peek(rd, &p), RING_MESSAGE);
		rd->ahead++;
	}
	bus_store_relaxed(&rig->writer.view.page->frontier_seq, SLOTS);
	assert_true(ring_reader_release(rd, 1, 0));
	bus_store_relaxed(&rig->writer.view.page->frontier_seq, SLOTS + 2);
	assert_false(ring_reader_release(rd, 2, 0));
	assert_int_equal(rd->cur, 3);
	assert_int_equal(rd->delivered, 1);
	assert_int_equal(rd->lost, 2);
	assert_int_equal(rd->lost_unsaid, 2);
	assert_true(ring_reader_release(rd, 1, 0));
}

static void release_is_void_once_the_frontier_passed_the_payload(void **state)
{
	struct ring_rig *rig = *state;
	/* for every reader, the reliable one too */
	struct ring_reader *rd = rig_join(rig, 0, true);
	struct ring_peeked p;

	send(rig, 2, 100);
	assert_int_equal(ring_reader_peek(rd, &p), RING_MESSAGE);
	rd->ahead += 2;
	bus_store_relaxed(&rig->writer.view.page->frontier_pos, BYTES);
	assert_true(ring_reader_release(rd, 1, p.pos));
	bus_store_relaxed(&rig->writer.view.page->frontier_pos, BYTES + 129);
	assert_false(ring_reader_release(rd, 1, 128));
	assert_int_equal(rd->lost, 1);
}

/* A slot as a hostile publisher would leave it, its commit word right. */
struct bad_slot {
	const char *what;
	uint64_t pos, lens, attrs;
	enum ring_look want;
};

#define LENS(len, head, key) \
	((uint64_t)(len) | (uint64_t)(head) << 32 | (uint64_t)(key) << 48 | UINT64_C(1) << 56)

static const struct bad_slot bad_slots[] = {
	{ "all of the area", 0, LENS(BYTES, 0, 0), 0, RING_MESSAGE },
	{ "all of it from its last line", BYTES - 64, LENS(BYTES, 0, 0), 0, RING_MESSAGE },
	{ "head and payload are all of it", 64, LENS(BYTES - 512, 512, 0), 0, RING_MESSAGE },
	{ "longer by one", 0, LENS(BYTES + 1, 0, 0), 0, RING_GARBAGE },
	{ "longer by its head", 0, LENS(BYTES, 16, 0), 0, RING_GARBAGE },
	{ "longest length", 0, LENS(UINT32_MAX, 0, 0), 0, RING_GARBAGE },
	{ "lengths whose sum is 0 in 32 bits", 0, LENS(UINT32_MAX - 15, 16, 0), 0, RING_GARBAGE },
	{ "longest head", 0, LENS(0, 65535, 0), 0, RING_GARBAGE },
	{ "24 in the slot", 0, LENS(24, 0, 0), RING_FLAG_INLINE, RING_MESSAGE },
	{ "25 in the slot", 0, LENS(25, 0, 0), RING_FLAG_INLINE, RING_GARBAGE },
	{ "head and payload 25 in the slot", 0, LENS(9, 16, 0), RING_FLAG_INLINE, RING_GARBAGE },
	{ "payload longest in the slot", 0, LENS(UINT32_MAX, 1, 0), RING_FLAG_INLINE, RING_GARBAGE },
	{ "short, yet not in the slot", 128, LENS(8, 0, 0), 0, RING_MESSAGE },
	{ "key is the head", 0, LENS(8, 16, 16), 0, RING_MESSAGE },
	{ "key longer than the head", 0, LENS(100, 16, 17), 0, RING_GARBAGE },
	{ "key without a head", 0, LENS(100, 0, 1), 0, RING_GARBAGE },
	{ "position between lines", 1, LENS(100, 0, 0), 0, RING_GARBAGE },
	{ "position between lines, at the end", BYTES - 1, LENS(BYTES, 0, 0), 0, RING_GARBAGE },
	{ "position far ahead", UINT64_C(1) << 62, LENS(BYTES, 0, 0), 0, RING_MESSAGE },
	{ "position at half of all numbers", UINT64_C(1) << 63, LENS(1, 0, 0), 0, RING_LAPPED },
	{ "position before 0", UINT64_MAX - 63, LENS(BYTES, 0, 0), 0, RING_MESSAGE },
	{ "version 0", 0, LENS(8, 0, 0) & ~(UINT64_C(255) << 56), 0, RING_GARBAGE },
	{ "version 2", 0, LENS(8, 0, 0) + (UINT64_C(1) << 56), 0, RING_GARBAGE },
	{ "version 255", 0, LENS(8, 0, 0) | UINT64_C(255) << 56, 0, RING_GARBAGE },
	{ "a flag to ignore", 0, LENS(8, 0, 0), 1u << 15, RING_MESSAGE },
	{ "all flags to ignore", 0, LENS(8, 0, 0), 0xffff, RING_MESSAGE },
	{ "first flag to understand", 0, LENS(8, 0, 0), 1u << 16, RING_UNSUPPORTED },
	{ "last flag to understand", 0, LENS(8, 0, 0), 1u << 31, RING_UNSUPPORTED },
	{ "flag to understand, and garbage", 0, LENS(BYTES + 1, 0, 0), 1u << 31, RING_GARBAGE },
	{ "key hash is no flag", 0, LENS(8, 0, 0), UINT64_C(0xffffffff) << 32, RING_MESSAGE },
};

static void put_bad_slot(struct ring_rig *rig, uint64_t seq, const struct bad_slot *bad)
{
	struct ring_slot *slot = slot_of(rig, seq);

	bus_store_relaxed(&slot->pos, bad->pos);
	bus_store_relaxed(&slot->lens, bad->lens);
	bus_store_relaxed(&slot->attrs, bad->attrs);
	bus_store_release(&slot->commit, seq + 1);
}

static void hostile_slot_is_refused_or_stays_inside_the_mapping(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	for (size_t i = 0; i < BUS_ARRAY_LEN(bad_slots); i++) {
		const struct bad_slot *bad = &bad_slots[i];
		struct ring_peeked p;
		enum ring_look got;

		put_bad_slot(rig, 0, bad);
		got = ring_reader_peek(rd, &p);
		if (got != bad->want)
			fail_msg("%s: %d instead of %d", bad->what, got, bad->want);
		if (got == RING_MESSAGE)
			(void)touch(rd, &p);
	}
}

/*
 * A slot that is being written over while it is read may look like anything: that is no garbage, it
 * is gone.
 */
static void torn_slot_says_lapped_whatever_it_looks_like(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);

	bus_store_relaxed(&rig->writer.view.page->frontier_seq, SLOTS + 1);
	for (size_t i = 0; i < BUS_ARRAY_LEN(bad_slots); i++) {
		put_bad_slot(rig, 0, &bad_slots[i]);
		assert_int_equal(look(rd), RING_LAPPED);
	}
}

static void one_look_at_the_frontier_serves_a_run_by_its_oldest(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, false);
	struct ring_peeked p[3];

	send(rig, 3, 100);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ring_reader_slot(rd, rd->ahead, &p[i], p[i].in), RING_MESSAGE);
		rd->ahead++;
	}
	assert_true(ring_reader_whole(rd, p[0].seq, p[0].pos));
	bus_store_relaxed(&rig->writer.view.page->frontier_seq, SLOTS + 1);
	assert_false(ring_reader_whole(rd, p[0].seq, p[0].pos));
	assert_true(ring_reader_whole(rd, p[1].seq, p[1].pos));
	bus_store_relaxed(&rig->writer.view.page->frontier_pos, BYTES + 256);
	assert_false(ring_reader_whole(rd, p[1].seq, p[1].pos));
	assert_true(ring_reader_whole(rd, p[2].seq, p[2].pos));
}

static void hostile_frontier_can_only_void_messages(void **state)
{
	static const uint64_t frontiers[] = { 0,
					      1,
					      SLOTS,
					      BYTES,
					      UINT64_C(1) << 32,
					      (UINT64_C(1) << 63) - 1,
					      UINT64_C(1) << 63,
					      (UINT64_C(1) << 63) + BYTES,
					      UINT64_MAX - BYTES,
					      UINT64_MAX };
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	send(rig, 8, 100);
	for (size_t i = 0; i < BUS_ARRAY_LEN(frontiers) * BUS_ARRAY_LEN(frontiers); i++) {
		struct ring_peeked p;
		enum ring_look got;

		bus_store_relaxed(&rig->writer.view.page->frontier_seq,
				  frontiers[i % BUS_ARRAY_LEN(frontiers)]);
		bus_store_relaxed(&rig->writer.view.page->frontier_pos,
				  frontiers[i / BUS_ARRAY_LEN(frontiers)]);
		got = ring_reader_peek(rd, &p);
		assert_true(got == RING_MESSAGE || got == RING_LAPPED);
		if (got == RING_MESSAGE)
			assert_true(rig_filled(rig_payload(rd, &p), 0, 100));
	}
}

static void hostile_commit_words_move_nothing(void **state)
{
	static const uint64_t commits[] = { 0, 2, SLOTS + 1, UINT64_C(1) << 63, UINT64_MAX };
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);

	for (size_t i = 0; i < BUS_ARRAY_LEN(commits); i++) {
		bus_store_relaxed(&slot_of(rig, 0)->commit, commits[i]);
		assert_int_equal(look(rd), commits[i] == 0 ? RING_EMPTY : RING_LAPPED);
		assert_int_equal(rd->cur, 0);
		assert_int_equal(rd->ahead, 0);
	}
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Mostly small or near a bound, sometimes anything. */
static uint64_t odd_value(uint64_t *x, uint64_t near_to)
{
	uint64_t r = next_random(x);

	switch (r % 4) {
	case 0:
		return next_random(x);
	case 1:
		return near_to + (r >> 32) % 5 - 2;
	case 2:
		return (near_to + (r >> 32) % (4 * BYTES)) & ~UINT64_C(63);
	default:
		return (r >> 32) % 64;
	}
}

static void scribble(struct ring_rig *rig, uint64_t *x, uint64_t cur)
{
	struct ring_slot *slot = slot_of(rig, cur);
	struct ring_writer_page *page = rig->writer.view.page;
	uint64_t r = next_random(x);
	uint64_t pos = odd_value(x, BYTES);

	bus_store_relaxed(&slot->pos, r & 0x700 ? pos & ~UINT64_C(63) : pos);
	bus_store_relaxed(&slot->lens, LENS((uint32_t)odd_value(x, BYTES), r % 3 ? 0 : r >> 48 & 63,
					    r % 5 ? 0 : r >> 56 & 15));
	bus_store_relaxed(&slot->attrs, r % 7 ? r % 4 : next_random(x));
	bus_store_relaxed(&slot->commit, r % 8 ? cur + 1 : odd_value(x, cur));
	bus_store_relaxed(&page->frontier_seq, r % 11 ? cur : odd_value(x, cur));
	bus_store_relaxed(&page->frontier_pos, r % 13 ? 0 : odd_value(x, BYTES));
	bus_store_relaxed(&page->head, r % 3 ? cur + 3 : odd_value(x, cur));
	bus_store_relaxed(&page->final_seq, r % 17 ? 0 : odd_value(x, cur));
	bus_store_relaxed(&page->waiting, (uint32_t)(r >> 40) % 3);
}

static void hostile_publisher_at_random_leaves_every_result_defined(void **state)
{
	struct ring_rig *rig = *state;
	struct ring_reader *rd = rig_join(rig, 0, true);
	uint64_t x = 0x2545f4914f6cdd1d, messages = 0;
	unsigned seen[RING_UNSUPPORTED + 1] = { 0 };

	for (int i = 0; i < 200000; i++) {
		struct ring_peeked p;
		enum ring_look got;

		scribble(rig, &x, rd->cur);
		got = ring_reader_peek(rd, &p);
		assert_in_range(got, RING_EMPTY, RING_UNSUPPORTED);
		seen[got]++;
		(void)ring_reader_ready(rd);
		if (got == RING_MESSAGE) {
			(void)touch(rd, &p);
			rd->ahead++;
			(void)ring_reader_release(rd, 1, p.pos);
			messages++;
		} else if (got == RING_EMPTY) {
			(void)ring_reader_drained(rd);
			rd->drained = false;
		} else {
			uint64_t before = rd->cur;

			ring_reader_lapped(rd);
			assert_true(rd->cur != before);
		}
	}
	for (unsigned i = 0; i < BUS_ARRAY_LEN(seen); i++)
		assert_true(seen[i] > 1000);
	assert_true(messages > 10000);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(empty_ring_says_empty),
		RIG_TEST(slot_of_the_previous_lap_says_empty),
		RIG_TEST(one_load_tells_whether_anything_came),
		RIG_TEST(several_are_borrowed_and_given_back_together),
		RIG_TEST(commit_of_a_later_lap_says_lapped),
		RIG_TEST(frontier_past_the_slot_says_lapped_before_the_commit_changes),
		RIG_TEST(frontier_past_the_payload_says_lapped),
		RIG_TEST(release_is_void_once_the_frontier_passed_the_slot),
		RIG_TEST(release_is_void_once_the_frontier_passed_the_payload),
		RIG_TEST(hostile_slot_is_refused_or_stays_inside_the_mapping),
		RIG_TEST(torn_slot_says_lapped_whatever_it_looks_like),
		RIG_TEST(one_look_at_the_frontier_serves_a_run_by_its_oldest),
		RIG_TEST(hostile_frontier_can_only_void_messages),
		RIG_TEST(hostile_commit_words_move_nothing),
		RIG_TEST(hostile_publisher_at_random_leaves_every_result_defined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
