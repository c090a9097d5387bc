/* SPDX-License-Identifier: Apache-2.0 */
/* crc32c.c - known values, the instruction against the tables, one after another against all at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "base/crc32c.h"

/* RFC 3720, B.4, and the check value of the catalogues. */
static void known(void **state)
{
	static const uint8_t read_10[48] = { 0x01,        0xc0,        [16] = 0x14, [22] = 0x04,
					     [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02 };
	uint8_t b[32];

	(void)state;
	for (int k = 0; k < 2; k++) {
		uint32_t (*sum)(uint32_t, const void *, size_t) = k ? crc32c_table_extend
								    : crc32c_extend;

		memset(b, 0, sizeof(b));
		assert_int_equal(sum(0, b, 32), 0x8a9136aa);
		memset(b, 0xff, sizeof(b));
		assert_int_equal(sum(0, b, 32), 0x62a8ab43);
		for (int i = 0; i < 32; i++)
			b[i] = (uint8_t)i;
		assert_int_equal(sum(0, b, 32), 0x46dd794e);
		for (int i = 0; i < 32; i++)
			b[i] = (uint8_t)(31 - i);
		assert_int_equal(sum(0, b, 32), 0x113fdb5c);
		assert_int_equal(sum(0, read_10, 48), 0xd9963a56);
		assert_int_equal(sum(0, "123456789", 9), 0xe3069283);
		assert_int_equal(sum(0, "", 0), 0);
		assert_int_equal(sum(0x12345678, "", 0), 0x12345678);
	}
}

/* All lengths up to where the longest stretch is used twice, each at another alignment. */
static void instruction_is_table(void **state)
{
	enum { MOST = 9000 };
	static uint8_t data[MOST + 64];
	uint32_t seed = 0;

	(void)state;
	srandom(7);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)random();
	for (size_t len = 0; len <= MOST; len++) {
		const uint8_t *at = data + random() % 64;
		uint32_t a = crc32c_extend(seed, at, len), b = crc32c_table_extend(seed, at, len);

		if (a != b)
			fail_msg("%zu bytes from %08x: %08x (%s) and %08x", len, seed, a,
				 crc32c_means(), b);
		seed = a;
	}
}

static void in_pieces(void **state)
{
	static uint8_t data[20000];
	uint32_t all, crc;

	(void)state;
	srandom(8);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)random();
	all = crc32c(data, sizeof(data));
	for (int round = 0; round < 200; round++) {
		size_t at = 0;

		crc = 0;
		while (at < sizeof(data)) {
			size_t n = (size_t)random() % (round % 2 ? 6000 : 40);

			n = n < sizeof(data) - at ? n : sizeof(data) - at;
			crc = crc32c_extend(crc, data + at, n);
			at += n;
		}
		assert_int_equal(crc, all);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known),
		cmocka_unit_test(instruction_is_table),
		cmocka_unit_test(in_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
