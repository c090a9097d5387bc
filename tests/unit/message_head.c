/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_head.c - key and headers as bytes: written as format/ring_layout.h says, refused beyond
 * their limits, and read so that no bytes of a hostile publisher lead beyond their end.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/message_head.h"
#include "base/base.h"

static void length_counts_key_and_headers(void **state)
{
	struct bus_header h[] = { { "type", "quote", 5, 0 }, { "xyz", NULL, 0, 2 } };
	struct bus_out out = { .data = NULL };
	uint32_t len = 99;

	(void)state;
	assert_int_equal(message_head_length(&out, &len), 0);
	assert_int_equal(len, 0);
	out.key = "abc";
	out.key_len = 3;
	assert_int_equal(message_head_length(&out, &len), 0);
	assert_int_equal(len, 3);
	out.headers = h;
	out.header_count = 2;
	assert_int_equal(message_head_length(&out, &len), 0);
	assert_int_equal(len, 3 + (4 + 4 + 5) + (4 + 2));
}

static void length_of_what_is_too_long_is_refused(void **state)
{
	static const char name[300] = "";
	static const uint8_t value[65536];
	struct bus_header h[65];
	struct bus_out out = { .key = value, .headers = h, .header_count = 1 };
	uint32_t len = 99;

	(void)state;
	for (size_t i = 0; i < BUS_ARRAY_LEN(h); i++)
		h[i] = (struct bus_header){ name, value, 10, 5 };
	h[0].name_len = 255;
	assert_int_equal(message_head_length(&out, &len), 0);
	h[0].name_len = 256;
	assert_int_equal(message_head_length(&out, &len), -EINVAL);
	h[0].name_len = 0; /* "": strlen is 0 */
	assert_int_equal(message_head_length(&out, &len), -EINVAL);
	h[0].name_len = 5;
	out.key_len = 255;
	assert_int_equal(message_head_length(&out, &len), 0);
	out.key_len = 256;
	assert_int_equal(message_head_length(&out, &len), -EINVAL);
	out.key_len = 0;
	out.header_count = 64;
	assert_int_equal(message_head_length(&out, &len), 0);
	out.header_count = 65;
	assert_int_equal(message_head_length(&out, &len), -EINVAL);
	out.header_count = 1;
	h[0].value_len = 65535;
	assert_int_equal(message_head_length(&out, &len), -EINVAL); /* with its name over 65520 */
	h[0].value_len = BUS_HEAD_MAX - 4 - 5;
	assert_int_equal(message_head_length(&out, &len), 0);
	assert_int_equal(len, BUS_HEAD_MAX);
	h[0].value_len++;
	assert_int_equal(message_head_length(&out, &len), -EINVAL);
	h[0].value_len = UINT32_MAX;
	out.header_count = 64; /* sums that wrap are no way round */
	assert_int_equal(message_head_length(&out, &len), -EINVAL);
}

static void length_of_what_is_missing_is_refused_and_ret_untouched(void **state)
{
	struct bus_header h = { "n", NULL, 1, 0 };
	struct bus_out out = { .key_len = 1 };
	uint32_t len = 99;

	(void)state;
	assert_int_equal(message_head_length(&out, &len), -EINVAL);
	out = (struct bus_out){ .header_count = 1 };
	assert_int_equal(message_head_length(&out, &len), -EINVAL);
	out.headers = &h;
	assert_int_equal(message_head_length(&out, &len), -EINVAL);
	h = (struct bus_header){ NULL, "v", 1, 0 };
	assert_int_equal(message_head_length(&out, &len), -EINVAL);
	out = (struct bus_out){ .flags = 1 };
	assert_int_equal(message_head_length(&out, &len), -EINVAL);
	assert_int_equal(len, 99);
}

static void bytes_are_key_then_headers_then_zeros(void **state)
{
	static const uint8_t want[32] = {
		'k', 'e', 'y', 2, 0, 3, 0, 'i', 'd', 'x', 'y', 'z', 1, 0, 0, 0, 'n',
	};
	struct bus_header h[] = { { "id...", "xyz", 3, 2 }, { "n", NULL, 0, 0 } };
	struct bus_out out = { .key = "key", .key_len = 3, .headers = h, .header_count = 2 };
	uint8_t got[33];
	uint32_t len;

	(void)state;
	memset(got, 0xee, sizeof(got));
	assert_int_equal(message_head_length(&out, &len), 0);
	assert_int_equal(len, 17);
	message_head_write(got, 32, &out);
	assert_memory_equal(got, want, 32);
	assert_int_equal(got[32], 0xee);
}

static void value_length_is_little_endian(void **state)
{
	static uint8_t value[0x1234], got[0x1234 + 5];
	struct bus_header h = { "v", value, 0x1234, 0 };
	struct bus_out out = { .headers = &h, .header_count = 1 };

	(void)state;
	message_head_write(got, sizeof(got), &out);
	assert_int_equal(got[2], 0x34);
	assert_int_equal(got[3], 0x12);
}

static void headers_are_read_as_they_were_written(void **state)
{
	struct bus_header h[] = { { "a", "1", 1, 0 }, { "bb", "", 0, 0 }, { "a", "2", 1, 0 } };
	struct bus_out out = { .headers = h, .header_count = 3 };
	struct bus_msg msg = { .lost = 0 };
	struct bus_header got;
	uint8_t bytes[48];
	uint32_t at = 0, len;
	const void *value;

	(void)state;
	message_head_write(bytes, sizeof(bytes), &out);
	msg.headers = bytes;
	msg.headers_len = sizeof(bytes);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(bus_msg_header_next(&msg, &at, &got), 1);
		assert_int_equal(got.name_len, strlen(h[i].name));
		assert_memory_equal(got.name, h[i].name, got.name_len);
		assert_int_equal(got.value_len, h[i].value_len);
		assert_memory_equal(got.value, h[i].value, got.value_len);
	}
	assert_int_equal(bus_msg_header_next(&msg, &at, &got), 0);
	assert_int_equal(bus_msg_header(&msg, "a", &value, &len), 1);
	assert_memory_equal(value, "1", 1); /* the first of a name */
	assert_int_equal(len, 1);
	assert_int_equal(bus_msg_header(&msg, "bb", NULL, NULL), 1);
	assert_int_equal(bus_msg_header(&msg, "b", &value, &len), 0);
	assert_int_equal(bus_msg_header(&msg, "bbb", &value, &len), 0);
	msg.headers = NULL;
	assert_int_equal(bus_msg_header(&msg, "a", &value, &len), 0);
}

/* Bytes that end where nothing is mapped any more. */
static uint8_t *at_the_edge(uint32_t len)
{
	long page = sysconf(_SC_PAGESIZE);
	uint8_t *area = mmap(NULL, 3 * (size_t)page, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(area, MAP_FAILED);
	assert_int_equal(mprotect(area + 2 * page, (size_t)page, PROT_NONE), 0);
	return area + 2 * page - len;
}

static void hostile_headers_end_the_list_within_their_bytes(void **state)
{
	static const struct {
		uint8_t bytes[8];
		uint32_t len;
		int want;
	} cases[] = {
		{ { 1, 0, 0, 0, 'n' }, 5, 1 },
		{ { 1, 0, 0, 0 }, 4, 0 }, /* no room for the name */
		{ { 1, 0, 0 }, 3, 0 },
		{ { 0 }, 1, 0 },
		{ { 0, 0, 0, 0, 'n' }, 5, 0 },
		{ { 1, 0, 1, 0, 'n' }, 5, 0 },
		{ { 1, 0, 2, 0, 'n', 'v' }, 6, 0 },
		{ { 1, 0, 0xff, 0xff, 'n', 'v' }, 6, 0 },
		{ { 255, 0, 0xff, 0xff }, 8, 0 },
		{ { 2, 0, 2, 0, 'n', 'n', 'v', 'v' }, 8, 1 },
	};
	uint8_t *edge = at_the_edge(8);

	(void)state;
	for (size_t i = 0; i < BUS_ARRAY_LEN(cases); i++) {
		uint8_t *bytes = edge + 8 - cases[i].len;
		struct bus_msg msg = { .headers = bytes, .headers_len = cases[i].len };
		struct bus_header got;
		uint32_t at = 0;

		memcpy(bytes, cases[i].bytes, cases[i].len);
		assert_int_equal(bus_msg_header_next(&msg, &at, &got), cases[i].want);
		assert_true(at <= cases[i].len);
		at = cases[i].len + 1;
		assert_int_equal(bus_msg_header_next(&msg, &at, &got), 0);
	}
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void hostile_headers_at_random_stay_within_their_bytes(void **state)
{
	uint8_t *edge = at_the_edge(128);
	uint64_t x = 88172645463325252;
	unsigned found = 0;

	(void)state;
	for (int i = 0; i < 50000; i++) {
		uint32_t len = (uint32_t)(i % 128) + 1, at = 0;
		uint8_t *bytes = edge + 128 - len;
		struct bus_msg msg = { .headers = bytes, .headers_len = len };
		struct bus_header h;

		for (uint32_t k = 0; k < len; k++)
			bytes[k] = (uint8_t)next_random(&x);
		/* Up to some point it is a list; then lengths are what they are. */
		for (uint32_t k = 0; k + 4 <= len && next_random(&x) % 8 != 0;) {
			bytes[k] = bytes[k] % 10;
			bytes[k + 2] = bytes[k + 2] % 16;
			bytes[k + 3] = 0;
			k += 4u + bytes[k] + bytes[k + 2];
		}
		while (bus_msg_header_next(&msg, &at, &h)) {
			const uint8_t *name = (const uint8_t *)h.name, *value = h.value;

			assert_true(name > bytes && value == name + h.name_len);
			assert_true(value + h.value_len <= bytes + len);
			found++;
		}
		(void)bus_msg_header(&msg, "\1\2", NULL, NULL);
	}
	assert_true(found > 10000);
}

static void key_hash_is_fnv_1a(void **state)
{
	(void)state;
	assert_int_equal(bus_key_hash("", 0), 0x811c9dc5);
	assert_int_equal(bus_key_hash("a", 1), 0xe40c292c);
	assert_int_equal(bus_key_hash("foobar", 6), 0xbf9cf968);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(length_counts_key_and_headers),
		cmocka_unit_test(length_of_what_is_too_long_is_refused),
		cmocka_unit_test(length_of_what_is_missing_is_refused_and_ret_untouched),
		cmocka_unit_test(bytes_are_key_then_headers_then_zeros),
		cmocka_unit_test(value_length_is_little_endian),
		cmocka_unit_test(headers_are_read_as_they_were_written),
		cmocka_unit_test(hostile_headers_end_the_list_within_their_bytes),
		cmocka_unit_test(hostile_headers_at_random_stay_within_their_bytes),
		cmocka_unit_test(key_hash_is_fnv_1a),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
