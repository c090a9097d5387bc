/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_layout.c - a geometry that came over the control socket is used unchecked afterwards, so
 * ring_geometry_ok() must refuse each that would reach outside its segment; and the bytes of a slot
 * are where every process expects them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/ring_rig.h"

#define PAGE 4096

static struct ring_geometry good(void)
{
	return (struct ring_geometry){
		.slots = RING_DEFAULT_SLOTS,
		.bytes = RING_DEFAULT_BYTES,
		.slots_off = PAGE,
		.payload_off = PAGE + RING_DEFAULT_SLOTS * RING_SLOT_BYTES,
		.size = PAGE + RING_DEFAULT_SLOTS * RING_SLOT_BYTES + RING_DEFAULT_BYTES,
	};
}

/* Checks a geometry whose size is made to fit, so that no other check refuses it. */
static bool ok(struct ring_geometry geo)
{
	geo.size = geo.payload_off + geo.bytes;
	return ring_geometry_ok(&geo, PAGE);
}

static void geometry_of_the_default_ring_is_accepted(void **state)
{
	struct ring_geometry geo = good();

	(void)state;
	assert_true(ring_geometry_ok(&geo, PAGE));
}

static void geometry_smallest_and_largest_are_accepted(void **state)
{
	struct ring_geometry geo = good();

	(void)state;
	geo.slots = RING_MIN_SLOTS;
	geo.bytes = RING_MIN_BYTES;
	assert_true(ok(geo));
	geo.slots = RING_MAX_SLOTS;
	geo.bytes = RING_MAX_BYTES;
	geo.payload_off = PAGE + (uint64_t)RING_MAX_SLOTS * RING_SLOT_BYTES;
	assert_true(ok(geo));
	geo = good();
	geo.first_seq = UINT64_C(1) << 63;
	assert_true(ok(geo));
}

static void geometry_with_an_unknown_feature_is_refused(void **state)
{
	(void)state;
	for (int bit = 0; bit < 32; bit++) {
		struct ring_geometry geo = good();

		geo.features = UINT32_C(1) << bit;
		assert_int_equal(ok(geo), (geo.features & RING_FEATURES_KNOWN) != 0);
	}
}

static void geometry_slots_are_a_power_of_two_in_bounds(void **state)
{
	static const uint32_t bad[] = {
		0, 1, 8, 15, 17, 1000, 1023, 1025, RING_MAX_SLOTS * 2, UINT32_MAX
	};

	(void)state;
	for (size_t i = 0; i < BUS_ARRAY_LEN(bad); i++) {
		struct ring_geometry geo = good();

		geo.slots = bad[i];
		/* Room enough, so that only the number itself can be at fault. */
		geo.payload_off = PAGE + BUS_ALIGN_UP((uint64_t)bad[i] * RING_SLOT_BYTES, PAGE);
		assert_false(ok(geo));
	}
}

static void geometry_bytes_are_a_power_of_two_in_bounds(void **state)
{
	static const uint64_t bad[] = { 0,
					1,
					2048,
					4095,
					3 * PAGE,
					RING_MAX_BYTES * 2,
					UINT64_C(1) << 63,
					UINT64_MAX & ~UINT64_C(4095) };

	(void)state;
	for (size_t i = 0; i < BUS_ARRAY_LEN(bad); i++) {
		struct ring_geometry geo = good();

		geo.bytes = bad[i];
		assert_false(ok(geo));
		geo.size = geo.payload_off + geo.bytes;
		assert_false(ring_geometry_ok(&geo, 64)); /* not for the page size alone */
	}
}

static void geometry_parts_start_on_the_page_size_in_use(void **state)
{
	struct ring_geometry geo = good();

	(void)state;
	geo.payload_off += 64;
	assert_false(ok(geo));
	geo = good();
	geo.slots = 1024;
	geo.bytes = 32768;
	geo.payload_off = 131072;
	geo.size = geo.payload_off + geo.bytes;
	assert_true(ring_geometry_ok(&geo, 4096));
	assert_false(ring_geometry_ok(&geo, 65536)); /* the payload is half a page there */
	geo.bytes = 65536;
	geo.size = geo.payload_off + geo.bytes;
	assert_true(ring_geometry_ok(&geo, 65536));
	geo.payload_off += 4096;
	geo.size = geo.payload_off + geo.bytes;
	assert_false(ring_geometry_ok(&geo, 65536));
}

static void geometry_slots_lie_behind_the_writer_page(void **state)
{
	struct ring_geometry geo = good();

	(void)state;
	geo.slots_off = sizeof(struct ring_writer_page);
	assert_true(ok(geo));
	geo.slots_off = sizeof(struct ring_writer_page) - BUS_LINE_PAIR;
	assert_false(ok(geo));
	geo.slots_off = 0;
	assert_false(ok(geo));
	geo.slots_off = sizeof(struct ring_writer_page) + 64;
	assert_false(ok(geo));
}

static void geometry_slots_lie_before_the_payload(void **state)
{
	struct ring_geometry geo = good();

	(void)state;
	geo.payload_off -= PAGE;
	assert_false(ok(geo));
	geo = good();
	geo.slots_off += BUS_LINE_PAIR;
	assert_false(ok(geo));
	geo.slots_off = geo.payload_off + BUS_LINE_PAIR;
	assert_false(ok(geo));
	/* wraps round to just before the writer page */
	geo.slots_off = UINT64_MAX - BUS_LINE_PAIR + 1;
	assert_false(ok(geo));
}

/* 2^26 slots of 64 bytes are 2^32 bytes: 0, where somebody counts in 32 bits. */
static void geometry_most_slots_do_not_fit_into_a_page(void **state)
{
	struct ring_geometry geo = good();

	(void)state;
	geo.slots = RING_MAX_SLOTS;
	assert_false(ok(geo));
	geo.payload_off = (uint64_t)RING_MAX_SLOTS * RING_SLOT_BYTES;
	assert_false(ok(geo));
}

static void geometry_far_away_payload_is_refused(void **state)
{
	static const uint64_t far_off[] = { RING_MAX_BYTES + PAGE, UINT64_C(1) << 63,
					    UINT64_MAX - PAGE + 1 };

	(void)state;
	for (size_t i = 0; i < BUS_ARRAY_LEN(far_off); i++) {
		struct ring_geometry geo = good();

		geo.payload_off = far_off[i];
		assert_false(ok(geo));
	}
}

static void geometry_size_is_that_of_the_segment(void **state)
{
	struct ring_geometry geo = good();

	(void)state;
	geo.size--;
	assert_false(ring_geometry_ok(&geo, PAGE));
	geo.size += 2;
	assert_false(ring_geometry_ok(&geo, PAGE));
	geo.size = 0;
	assert_false(ring_geometry_ok(&geo, PAGE));
}

static void need_is_nothing_up_to_24_bytes_and_whole_lines_above(void **state)
{
	(void)state;
	assert_int_equal(ring_need(0, 0), 0);
	assert_int_equal(ring_need(0, 24), 0);
	assert_int_equal(ring_need(24, 0), 0);
	assert_int_equal(ring_need(16, 8), 0);
	assert_int_equal(ring_need(0, 25), 64);
	assert_int_equal(ring_need(16, 9), 64);
	assert_int_equal(ring_need(25, 0), 64);
	assert_int_equal(ring_need(0, 64), 64);
	assert_int_equal(ring_need(0, 65), 128);
	assert_int_equal(ring_need(16, 49), 128);
}

static void need_of_the_longest_length_does_not_wrap(void **state)
{
	(void)state;
	assert_true(ring_need(RING_HEAD_MAX, UINT32_MAX) >= (uint64_t)UINT32_MAX + RING_HEAD_MAX);
	assert_true(ring_need(UINT32_MAX, UINT32_MAX) > UINT64_C(0x1fffffff0));
}

static void message_max_is_a_quarter_of_the_payload_area(void **state)
{
	(void)state;
	assert_int_equal(ring_message_max(RING_DEFAULT_BYTES), RING_DEFAULT_BYTES / 4);
	assert_int_equal(ring_message_max(RING_MAX_BYTES), RING_MAX_BYTES / 4);
	assert_int_equal(ring_message_max(0), RING_INLINE_MAX);
}

static void slot_address_depends_on_the_low_bits_alone(void **state)
{
	struct ring_rig rig;

	(void)state;
	assert_int_equal(rig_make(&rig, 16, 4096, RIG_TWO_MAPPINGS), 0);
	for (uint64_t seq = 0; seq < 40; seq++) {
		const struct ring_view *v = &rig.reader.view;
		uint64_t far_seq = (UINT64_C(1) << 63) + seq;

		assert_ptr_equal(ring_slot_of(v, seq), (uint8_t *)v->page + rig.geo.slots_off +
							       (seq % 16) * RING_SLOT_BYTES);
		assert_ptr_equal(ring_slot_of(v, far_seq), ring_slot_of(v, seq));
	}
	assert_ptr_equal(ring_slot_of(&rig.reader.view, UINT64_MAX),
			 ring_slot_of(&rig.reader.view, 15));
	rig_free(&rig);
}

static uint64_t get(const uint8_t *bytes, unsigned at, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = size; i-- > 0;)
		v = v << 8 | bytes[at + i];
	return v;
}

/* Byte by byte as ring_layout.h draws it: another library, another version reads exactly this. */
static void slot_bytes_are_where_the_drawing_says(void **state)
{
	struct ring_rig rig;
	struct ring_message m = {
		.time = 0x1122334455667788,
		.len = 10,
		.head_len = 7,
		.key_len = 5,
		.flags = RING_FLAG_HEADERS,
		.key_hash = 0xcafef00d,
		.in = { 0x0706050403020100, 0x0f0e0d0c0b0a0908, 0x10 },
	};
	const uint8_t *slot;

	(void)state;
	assert_int_equal(rig_make(&rig, 16, 4096, RIG_TWO_MAPPINGS), 0);
	rig_start_at(&rig, 0x0102030405060718, 0x4000000000000040);
	assert_int_equal(rig_room(&rig, 0), RING_ROOM);
	ring_pub_commit(&rig.pub, &m);
	slot = (const uint8_t *)rig.reader.view.page + rig.geo.slots_off + 8 * 64;
	assert_true(get(slot, 0, 8) == 0x0102030405060719); /* seq + 1 */
	assert_true(get(slot, 8, 8) == 0x4000000000000040);
	assert_true(get(slot, 16, 8) == 0x1122334455667788);
	assert_int_equal(get(slot, 24, 4), 10);
	assert_int_equal(get(slot, 28, 2), 7);
	assert_int_equal(get(slot, 30, 1), 5);
	assert_int_equal(get(slot, 31, 1), 1);
	assert_int_equal(get(slot, 32, 4), RING_FLAG_HEADERS | RING_FLAG_INLINE);
	assert_int_equal(get(slot, 36, 4), 0xcafef00d);
	for (unsigned i = 0; i < 17; i++)
		assert_int_equal(slot[40 + i], i);
	rig_free(&rig);
}

static void writer_page_starts_at_the_first_number(void **state)
{
	struct ring_writer_page page;
	const uint8_t *bytes = (const uint8_t *)&page;

	(void)state;
	memset(&page, 0, sizeof(page));
	ring_writer_init(&page, 0x0807060504030201);
	assert_true(get(bytes, 0, 8) == 0x0807060504030201);   /* frontier_seq */
	assert_true(get(bytes, 128, 8) == 0x0807060504030201); /* head */
	for (unsigned at = 8; at < sizeof(page); at += 8) {
		if (at != 128)
			assert_int_equal(get(bytes, at, 8), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(geometry_of_the_default_ring_is_accepted),
		cmocka_unit_test(geometry_smallest_and_largest_are_accepted),
		cmocka_unit_test(geometry_with_an_unknown_feature_is_refused),
		cmocka_unit_test(geometry_slots_are_a_power_of_two_in_bounds),
		cmocka_unit_test(geometry_bytes_are_a_power_of_two_in_bounds),
		cmocka_unit_test(geometry_parts_start_on_the_page_size_in_use),
		cmocka_unit_test(geometry_slots_lie_behind_the_writer_page),
		cmocka_unit_test(geometry_slots_lie_before_the_payload),
		cmocka_unit_test(geometry_most_slots_do_not_fit_into_a_page),
		cmocka_unit_test(geometry_far_away_payload_is_refused),
		cmocka_unit_test(geometry_size_is_that_of_the_segment),
		cmocka_unit_test(need_is_nothing_up_to_24_bytes_and_whole_lines_above),
		cmocka_unit_test(need_of_the_longest_length_does_not_wrap),
		cmocka_unit_test(message_max_is_a_quarter_of_the_payload_area),
		cmocka_unit_test(slot_address_depends_on_the_low_bits_alone),
		cmocka_unit_test(slot_bytes_are_where_the_drawing_says),
		cmocka_unit_test(writer_page_starts_at_the_first_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
