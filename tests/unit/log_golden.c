/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: the segments of tests/golden, written when their format version was new, are read to the byte, and
 * what is written by the present headers is still the same bytes. A change of the format needs another version,
 * and golden segments of its own beside these: `log_golden --write DIR` makes them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <bus_log.h>

#include "lib/log_rig.h"

#define GOLDEN "tests/golden/log-1"
#define HOLE   100

static const char head[32] = "golden-key\6\0\6\0colouryellow";

/* Two segments with a hole between them: plain, empty, keyed, with headers, larger than a page, unsynced. */
static void write_log(struct log_rig *rig, const char *dir)
{
	static uint8_t large[5000];
	const struct log_rig_message keyed = { head, "keyed", 16, 10, 5 };
	const struct log_rig_message headed = { head, "headed", 32, 10, 6 };

	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (uint8_t)(i * 7);
	log_rig_begin_at(rig, dir, 16, 8192, 1000, 1 << 20);
	log_rig_put(rig, "plain", 5);
	log_rig_put(rig, "", 0);
	log_rig_put_with(rig, &keyed);
	rig->flags = RING_FLAG_HEADERS;
	log_rig_put_with(rig, &headed);
	rig->flags = 0;
	log_rig_mark(rig);
	log_rig_put(rig, large, sizeof(large));
	log_rig_roll(rig, HOLE);
	rig->src = 2;
	rig->src_seq = 77;
	log_rig_put(rig, "behind the hole", 15);
	log_rig_mark(rig);
	log_rig_put(rig, "not synced", 10);
}

static void same_bytes(void **state)
{
	static uint8_t a[1 << 16], b[1 << 16];
	const uint64_t bases[] = { 1000, 1005 + HOLE };
	struct log_rig rig, golden = { .dir = GOLDEN };
	char dir[256];

	(void)state;
	log_rig_temporary(dir, sizeof(dir));
	write_log(&rig, dir);
	assert_true(rig.header.size <= sizeof(a));
	for (int i = 0; i < 2; i++) {
		log_rig_read(log_rig_path(&rig, bases[i]), 0, a, rig.header.size);
		log_rig_read(log_rig_path(&golden, bases[i]), 0, b, rig.header.size);
		for (size_t at = 0; at < rig.header.size; at++)
			if (a[at] != b[at])
				fail_msg("byte %zu of segment %d", at, i);
	}
	log_rig_remove(dir);
}

static void check(const struct bus_msg *m, uint64_t seq, const char *data)
{
	assert_int_equal(m->seq, seq);
	assert_int_equal(m->len, strlen(data));
	assert_memory_equal(m->data, data, m->len);
	assert_true(m->time_ns == LOG_RIG_TIME + 1000 * (seq - 1000 - (seq > 1005 ? HOLE : 0)));
	assert_int_equal(m->from->id, seq > 1005 ? 2 : 1);
}

static void read_again(void **state)
{
	struct bus_log_gap gap;
	struct bus_log *log;
	struct bus_msg m[8];
	const void *value;
	uint32_t len, at = 0;

	(void)state;
	if (bus_log_open(&log, GOLDEN, NULL) < 0)
		fail_msg("%s", bus_why(NULL));
	assert_int_equal(bus_log_next(log, m, 8), 5);
	check(&m[0], 1000, "plain");
	check(&m[1], 1001, "");
	check(&m[2], 1002, "keyed");
	assert_int_equal(m[2].key_len, 10);
	assert_memory_equal(m[2].key, "golden-key", 10);
	assert_int_equal(m[2].key_hash, 0x1234);
	assert_null(m[2].headers);
	check(&m[3], 1003, "headed");
	assert_int_equal(bus_msg_header(&m[3], "colour", &value, &len), 1);
	assert_int_equal(len, 6);
	assert_memory_equal(value, "yellow", 6);
	assert_int_equal(m[4].len, 5000);
	for (size_t i = 0; i < 5000; i++)
		assert_int_equal(((const uint8_t *)m[4].data)[i], (uint8_t)(i * 7));
	assert_int_equal(bus_log_next(log, m, 8), 2);
	check(&m[0], 1005 + HOLE, "behind the hole");
	check(&m[1], 1006 + HOLE, "not synced");
	assert_int_equal(m[0].lost, 0);
	assert_int_equal(bus_log_gap_next(log, &at, &gap), 1);
	assert_int_equal(gap.why, BUS_LOG_HOLE);
	assert_int_equal(gap.from, 1005);
	assert_int_equal(gap.to, 1005 + HOLE);
	assert_int_equal(bus_log_next(log, m, 8), 0);
	bus_log_close(log);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_bytes),
		cmocka_unit_test(read_again),
	};
	struct log_rig rig;

	if (argc == 3 && strcmp(argv[1], "--write") == 0) {
		write_log(&rig, argv[2]);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
