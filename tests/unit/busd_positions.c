/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_positions.c - how far durable subscriptions are, on disk: kept, moved, removed, read again; records that are torn,
 * damaged, misplaced, another stream's. tests/disk/positions.c has the disk that crashes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "lib/own_dir.h"
#include "positions.h"

static int dir;
static struct io *io;
static struct positions p;
static struct why why;
static const uint8_t uuid[LOG_UUID_BYTES] = "one stream.....";

static int make_dir(void **state)
{
	(void)state;
	dir = own_dir_make("positions");
	assert_int_equal(io_open(&io, IO_THREAD, 1, &why), 0);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	io_free(io);
	return own_dir_remove(dir);
}

static void open_all(void)
{
	assert_int_equal(positions_open(&p, io, dir, uuid, &why), 0);
}

static void open_again(void)
{
	positions_close(&p);
	open_all();
}

static struct position *make(const char *name, uint32_t uid, uint64_t seq)
{
	struct position *pos = positions_add(&p, name, uid, 5);

	assert_non_null(pos);
	positions_move(pos, seq, 6);
	return pos;
}

static uint64_t at(const char *name)
{
	const struct position *pos = positions_find(&p, name);

	assert_non_null(pos);
	return pos->seq;
}

/* The record of a pair that counts last, as the file has it. */
static void spoil(off_t off, const void *bytes, size_t len)
{
	int fd = openat(dir, LOG_POSITIONS_NAME, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, len, off), len);
	close(fd);
}

static void read_pair(unsigned pair, struct log_position rec[2])
{
	int fd = openat(dir, LOG_POSITIONS_NAME, O_RDONLY);

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pread(fd, &rec[i], sizeof(rec[i]),
				       (off_t)(pair * 2 + i) * LOG_POSITION_BYTES),
				 sizeof(rec[i]));
	close(fd);
}

static void positions_stay(void **state)
{
	struct position *pos;

	(void)state;
	open_all();
	assert_null(positions_find(&p, "a"));
	pos = positions_add(&p, "nowhere", 1, 2);
	assert_false(pos->set);
	assert_false(positions_wait(&p, true)); /* nothing of it is written */
	make("b", 10, 100);
	make("a", 11, UINT64_MAX / 2);
	assert_int_equal(positions_flush(&p, 1), 0);
	assert_false(positions_wait(&p, true));
	open_again();
	assert_null(positions_find(&p, "nowhere"));
	assert_int_equal(at("a"), UINT64_MAX / 2);
	assert_int_equal(at("b"), 100);
	assert_int_equal(positions_find(&p, "b")->uid, 10);
	assert_int_equal(positions_find(&p, "b")->moved_ns, 6);
	assert_int_equal(positions_find(&p, "b")->created_ns, 5);
	assert_string_equal(positions_after(&p, "")->name, "a");
	assert_string_equal(positions_after(&p, "a")->name, "b");
	assert_null(positions_after(&p, "b"));

	/* back and forth, with and without a sync, more than one request has room for */
	for (uint64_t i = 1; i <= 40; i++) {
		char name[8];

		snprintf(name, sizeof(name), "n%llu", (unsigned long long)(i % 9));
		pos = positions_find(&p, name);
		if (!pos)
			pos = make(name, 1, 0);
		positions_move(pos, i % 2 ? 1000 + i : i, i);
		positions_write(&p, i % 3 == 0, i);
		io_poll(io, 10);
	}
	assert_int_equal(positions_flush(&p, 1), 0);
	for (size_t i = 0; i < LOG_POSITIONS_MAX; i++)
		assert_true(p.all[i].kept == p.all[i].gen && p.all[i].kept_seq == p.all[i].seq);
	open_again();
	assert_int_equal(at("n4"), 40);
	assert_int_equal(at("n3"), 1039);

	/* a log that ends earlier than a position: it is lowered, the others stay */
	assert_int_equal(positions_lower(&p, 1000, 7), 5);
	assert_int_equal(at("n3"), 1000);
	assert_int_equal(at("n4"), 40);
	positions_close(&p);
}

static void removed_is_free(void **state)
{
	struct position *pos;

	(void)state;
	open_all();
	make("gone", 1, 5);
	make("stays", 1, 6);
	assert_int_equal(positions_flush(&p, 1), 0);
	positions_remove(positions_find(&p, "gone"));
	assert_null(positions_find(&p, "gone"));
	/* before that is on disk: the same pair, or there would be two of a name */
	pos = positions_add(&p, "gone", 2, 3);
	assert_ptr_equal(pos, &p.all[0]);
	positions_remove(pos);
	assert_int_equal(positions_flush(&p, 1), 0);
	open_again();
	assert_null(positions_find(&p, "gone"));
	assert_int_equal(at("stays"), 6);
	assert_ptr_equal(make("next", 1, 1), &p.all[0]);
	for (unsigned i = 2; i < LOG_POSITIONS_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "m%u", i);
		make(name, 1, i);
	}
	assert_null(positions_add(&p, "one more", 1, 1));
	assert_int_equal(positions_flush(&p, 1), 0);
	open_again();
	assert_int_equal(at("m255"), 255);
	assert_int_equal(at("next"), 1);
	positions_close(&p);
}

/* Of two records that of a removal is the only good one: the other one may have been of a name that came later. */
static void removed_may_be_lost(void **state)
{
	uint8_t junk[30];

	(void)state;
	memset(junk, 0xa5, sizeof(junk));
	open_all();
	make("stays", 1, 6);
	make("old", 1, 5);
	assert_int_equal(positions_flush(&p, 1), 0);
	positions_remove(positions_find(&p, "old"));
	assert_int_equal(positions_flush(&p, 1), 0);
	assert_ptr_equal(make("new", 1, 7), &p.all[1]);
	assert_int_equal(positions_flush(&p, 1), 0);
	open_again();
	assert_int_equal(at("new"), 7);
	positions_close(&p);
	spoil(2 * LOG_POSITION_BYTES + 20, junk, sizeof(junk));
	open_all();
	assert_int_equal(p.bad, 1);
	assert_null(positions_find(&p, "new"));
	assert_int_equal(at("stays"), 6);
	assert_ptr_equal(make("more", 1, 1), &p.all[2]);
	positions_close(&p);
}

static void a_users_names(void **state)
{
	(void)state;
	open_all();
	make("a", 1, 5);
	make("b", 2, 5);
	make("c", 1, 5);
	assert_int_equal(positions_count(&p, 1), 2);
	assert_int_equal(positions_count(&p, 3), 0);
	assert_int_equal(positions_flush(&p, 1), 0);
	positions_remove(positions_find(&p, "a"));
	assert_int_equal(positions_count(&p, 1), 1);
	positions_close(&p);
}

static void torn_is_the_former(void **state)
{
	struct log_position rec[2];
	uint8_t junk[LOG_POSITION_BYTES];
	unsigned newer;

	(void)state;
	open_all();
	make("a", 1, 9);
	make("b", 1, 19);
	assert_int_equal(positions_flush(&p, 1), 0);
	for (uint64_t i = 10; i <= 11; i++) { /* in turn: the newer one is the first of the pair */
		positions_move(positions_find(&p, "a"), i, 1);
		positions_move(positions_find(&p, "b"), 10 + i, 1);
		assert_int_equal(positions_flush(&p, 1), 0);
	}
	open_again();
	assert_int_equal(at("a"), 11);
	positions_close(&p);
	read_pair(0, rec);
	newer = rec[1].gen > rec[0].gen;
	assert_int_equal(newer, 0);
	assert_int_equal(rec[newer].seq, 11);
	assert_int_equal(rec[!newer].seq, 10);

	/* torn: what stood there is there; and it goes on from it */
	memset(junk, 0xa5, sizeof(junk));
	spoil((off_t)(newer * LOG_POSITION_BYTES + 20), junk, 30);
	open_all();
	assert_int_equal(p.bad, 0);
	assert_int_equal(at("a"), 10);
	assert_int_equal(at("b"), 21);
	positions_move(positions_find(&p, "a"), 12, 1);
	assert_int_equal(positions_flush(&p, 1), 0);
	open_again();
	assert_int_equal(at("a"), 12);
	positions_close(&p);

	/* a record in another's place, with a good checksum, is none */
	read_pair(1, rec);
	rec[0].gen = UINT64_MAX / 2; /* newer than any that is there: they begin at the time of day */
	rec[0].crc = crc32c(&rec[0], offsetof(struct log_position, crc));
	spoil(LOG_POSITION_BYTES, &rec[0], sizeof(rec[0]));
	open_all();
	assert_int_equal(at("a"), 12);
	assert_int_equal(at("b"), 21);
	positions_close(&p);

	/* both: lost, known to be, and the bytes stay whatever is written */
	spoil(2 * LOG_POSITION_BYTES, junk, sizeof(junk));
	spoil(3 * LOG_POSITION_BYTES, junk, sizeof(junk));
	open_all();
	assert_int_equal(p.bad, 1);
	assert_null(positions_find(&p, "b"));
	assert_ptr_equal(make("c", 1, 1), &p.all[2]);
	assert_int_equal(positions_flush(&p, 1), 0);
	open_again();
	assert_int_equal(p.bad, 1);
	assert_int_equal(at("a"), 12);
	assert_int_equal(at("c"), 1);
	read_pair(1, rec);
	assert_memory_equal(&rec[0], junk, sizeof(rec[0]));
	positions_close(&p);

	/* another stream's */
	assert_int_equal(positions_open(&p, io, dir, (const uint8_t *)"another stream.", &why), 0);
	assert_null(positions_find(&p, "a"));
	assert_int_equal(p.bad, 3);
	positions_close(&p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(positions_stay), TEST(removed_is_free),    TEST(removed_may_be_lost),
		TEST(a_users_names),  TEST(torn_is_the_former),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
