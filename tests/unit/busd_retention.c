/* SPDX-License-Identifier: Apache-2.0 */
/* busd_retention.c - what of a stream's log goes, by age, bytes and messages; and what is counted for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "lib/crash_disk.h"
#include "retention.h"

static char dir_path[64];

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir_path, sizeof(dir_path), "/dev/shm/bus-keep.XXXXXX");
	return mkdtemp(dir_path) == NULL;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir_path);
}

#define SECOND UINT64_C(1000000000)

static int add_segment(struct retention *r, uint64_t base_seq, uint64_t created_ns, uint64_t bytes)
{
	const struct log_made made = { .base_seq = base_seq,
				       .named = base_seq,
				       .prev_end = base_seq,
				       .created_ns = created_ns,
				       .bytes = bytes };

	return retention_add(r, &made, false);
}

static void ten_segments(struct retention *r)
{
	*r = (struct retention){ 0 };
	/* 100 messages and 1000 bytes each; created at second 0, 10, ... */
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(add_segment(r, i * 100, i * 10 * SECOND, 1000), 0);
}

static void retention_decides(void **state)
{
	struct retention r;
	int pin;

	(void)state;
	ten_segments(&r);
	assert_int_equal(retention_due(&r, 1000, 1000 * SECOND), 0); /* no limits */

	/* age: of the last message, which is no younger than the next segment */
	r.limits.age_ns = 50 * SECOND;
	assert_int_equal(retention_due(&r, 1000, 60 * SECOND), 0);
	assert_int_equal(retention_due(&r, 1000, 60 * SECOND + 1), 1);
	assert_int_equal(retention_due(&r, 1000, 80 * SECOND + 1), 3);
	/* never the one that is written */
	assert_int_equal(retention_due(&r, 1000, 1000000 * SECOND), 9);
	/* a clock that was set back */
	assert_int_equal(retention_due(&r, 1000, 1), 0);

	r.limits = (struct retention_limits){ .bytes = 7500 };
	assert_int_equal(retention_due(&r, 1000, 0), 3);
	r.limits = (struct retention_limits){ .bytes = 1 };
	assert_int_equal(retention_due(&r, 1000, 0), 9);

	/* so many messages are promised, so they stay */
	r.limits = (struct retention_limits){ .messages = 350 };
	assert_int_equal(retention_due(&r, 1000, 0), 6);
	assert_int_equal(retention_due(&r, 949, 0), 5);
	assert_int_equal(retention_due(&r, 950, 0), 6);

	/* pins: of the oldest that somebody needs */
	pin = retention_pin(&r, 250);
	assert_int_equal(retention_pin(&r, 800), 1);
	assert_int_equal(retention_due(&r, 1000, 0), 2);
	assert_int_equal(r.held, 4);
	retention_move(&r, pin, 300);
	assert_int_equal(retention_due(&r, 1000, 0), 3);
	retention_unpin(&r, pin);
	assert_int_equal(retention_due(&r, 1000, 0), 6);
	assert_int_equal(r.held, 0);
	assert_int_equal(retention_pin(&r, 0), 0);
	assert_int_equal(retention_due(&r, 1000, 0), 0);

	/* one without a message that was replaced is one */
	assert_int_equal(add_segment(&r, 900, 95 * SECOND, 500), 0);
	assert_int_equal(r.count, 10);
	retention_free(&r);
}

/* What was made while the clock was ahead does not keep older ones; those behind it tell how old they are at most. */
static void retention_clock_ahead(void **state)
{
	struct retention r = { .limits = { .age_ns = 50 * SECOND } };

	(void)state;
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(add_segment(&r, i * 100, i * 10 * SECOND, 1000), 0);
	assert_int_equal(add_segment(&r, 300, 1000000 * SECOND, 1000), 0);
	assert_int_equal(add_segment(&r, 400, 1000010 * SECOND, 1000), 0);
	assert_int_equal(retention_due(&r, 500, 100 * SECOND), 2);
	assert_int_equal(add_segment(&r, 500, 40 * SECOND, 1000), 0);
	assert_int_equal(r.segments[1].last_ns, 20 * SECOND);
	assert_int_equal(r.segments[2].last_ns, 40 * SECOND);
	assert_int_equal(retention_due(&r, 600, 90 * SECOND), 2);
	assert_int_equal(retention_due(&r, 600, 90 * SECOND + 1), 5);
	retention_free(&r);
}

/* A sealed segment counts with what it holds, not with what was allocated for it. */
static void retention_counts_what_is_held(void **state)
{
	struct retention r = { 0 };
	/* 40 messages of 1000 bytes in all, then a hole of 60 numbers */
	const struct log_made first = { .base_pos = 8192, .bytes = 1 << 20 };
	const struct log_made second = {
		.base_seq = 100, .prev_end = 40, .base_pos = 8192 + 4096, .bytes = 1 << 20
	};
	const struct log_made third = {
		.base_seq = 200, .prev_end = 200, .base_pos = 5 * 4096, .bytes = 1 << 20
	};

	(void)state;
	assert_int_equal(retention_add(&r, &first, true), 0);
	assert_int_equal(r.segments[0].bytes, 1 << 20);
	assert_int_equal(retention_add(&r, &second, false), 0);
	assert_int_equal(r.segments[0].bytes, LOG_SLOTS_OFF + 4096 + 4096 + 4096);
	/* never more than the file; and one whose writer died counts in full until it has given back the rest */
	assert_int_equal(retention_add(&r, &third, true), 0);
	assert_int_equal(r.segments[1].bytes, 1 << 20);
	retention_set_bytes(&r, 100, 20480);
	assert_int_equal(r.segments[1].bytes, 20480);
	r.limits.bytes = (1 << 20) + 50000;
	assert_int_equal(retention_due(&r, 300, 0), 0);
	/* so do messages: 40 and 100 there are, and 50 in the newest; numbers in holes are none */
	r.limits = (struct retention_limits){ .messages = 150 };
	assert_int_equal(retention_due(&r, 250, 0), 1);
	r.limits.messages = 151;
	assert_int_equal(retention_due(&r, 250, 0), 0);
	retention_free(&r);
}

static void retention_removes(void **state)
{
	struct crash_disk *disk = malloc(sizeof(*disk));
	struct retention r;
	char name[64], sub[80];

	(void)state;
	snprintf(sub, sizeof(sub), "%s/sub", dir_path);
	disk_open(disk, sub, 1);
	ten_segments(&r);
	for (unsigned i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), LOG_SEGMENT_NAME, i * 100ull);
		close(disk->io.table->create(&disk->io, disk->dir, name));
		snprintf(name, sizeof(name), LOG_SNAPSHOT_NAME, i * 100ull);
		close(disk->io.table->create(&disk->io, disk->dir, name));
	}
	assert_int_equal(retention_apply(&r, &disk->io, disk->dir, 3), 0);
	assert_int_equal(r.count, 7);
	assert_int_equal(r.segments[0].base_seq, 300);
	assert_int_equal(r.removed, 3);
	for (unsigned i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), LOG_SEGMENT_NAME, i * 100ull);
		assert_int_equal(faccessat(disk->dir, name, F_OK, 0) == 0, i >= 3);
		snprintf(name, sizeof(name), LOG_SNAPSHOT_NAME, i * 100ull);
		assert_int_equal(faccessat(disk->dir, name, F_OK, 0) == 0, i >= 3);
	}
	/* one that cannot be removed stays in the list, and so do those behind it */
	disk->fault = DISK_EIO;
	/* three operations for each: looked at, removed, its snapshot too */
	disk->fault_at = disk->ops + 5;
	assert_int_equal(retention_apply(&r, &disk->io, disk->dir, 3), -EIO);
	assert_int_equal(r.count, 6);
	assert_int_equal(r.segments[0].base_seq, 400);
	retention_free(&r);
	disk_close(disk);
	free(disk);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(retention_decides),
		TEST(retention_clock_ahead),
		TEST(retention_removes),
		TEST(retention_counts_what_is_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
