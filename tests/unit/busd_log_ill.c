/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_log_ill.c - a log's writer on a disk that refuses one thing: what is shown of it, for how long, and what is left of the
 * segment. tests/disk has every operation fail; here it is the same files all the time.
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
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "lib/own_dir.h"
#include "lib/log_writer.h"
#include "os/log_read.h"

#define FIRST "00000000000000000000.log"
#define MS    UINT64_C(1000000)

static int dir;

/* ---- the disk ---- */

static struct io_table table;
static const struct io_table *sound;
static const char *refused; /* a file that cannot be created */
static int refused_errno, refused_times;
static int bad_syncs; /* so many fail */

static int create(struct io *io, int at, const char *name)
{
	if (refused_times > 0 && strcmp(name, refused) == 0) {
		refused_times--;
		return refused_errno;
	}
	return sound->create(io, at, name);
}

static void submit(struct io *io, struct io_request *req)
{
	struct io_op *last = &req->ops[req->count - 1];

	if (bad_syncs > 0 && last->kind == IO_DATASYNC) {
		bad_syncs--;
		last->fd = -1;
	}
	sound->submit(io, req);
}

static void make_ill(struct writer *w)
{
	sound = w->io->table;
	table = *sound;
	table.create = create;
	table.submit = submit;
	w->io->table = &table;
}

static void refuse(const char *name, int error, int times)
{
	refused = name;
	refused_errno = error;
	refused_times = times;
}

static int make_dir(void **state)
{
	(void)state;
	refused_times = bad_syncs = 0;
	dir = own_dir_make("ill");
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	return own_dir_remove(dir);
}

/* Runs it for so long: the states that it was in, a bit each. */
static unsigned run_for(struct writer *w, uint64_t ns)
{
	const uint64_t begun = bus_monotonic_ns();
	unsigned states = 0;

	while (bus_monotonic_ns() - begun < ns) {
		log_file_run(w->log, bus_monotonic_ns());
		states |= 1u << log_file_state(w->log);
		io_poll(w->io, 1);
	}
	return states;
}

static void run_until(struct writer *w, enum log_state state)
{
	const uint64_t begun = bus_monotonic_ns();

	while (!(run_for(w, MS) & 1u << state))
		assert_true(bus_monotonic_ns() - begun < 10000 * MS);
}

/* ---- what is shown ---- */

/* Policy none: no number may be given until the file that says so is there. */
static void no_numbers(int error, enum log_state state)
{
	struct writer w;

	open_writer(&w, dir);
	stop_writer(&w);
	make_ill(&w);
	w.opts.policy = LOG_SYNC_NONE;
	refuse("numbers.new", error, 1000000);
	start_writer(&w);
	run_until(&w, state);
	assert_non_null(strstr(log_file_why(w.log), "numbers"));
	assert_true(log_file_limit(w.log) <= w.start.seq);
	/* all the time, not only between two tries */
	assert_int_equal(run_for(&w, 250 * MS), 1u << state);
	refused_times = 0;
	run_until(&w, LOG_RUNNING);
	assert_int_equal(run_for(&w, 10 * MS), 1u << LOG_RUNNING);
	assert_true(log_file_limit(w.log) > w.start.seq);
	stop_writer(&w);
	close_writer(&w);
}

static void numbers_that_cannot_be_written(void **state)
{
	(void)state;
	no_numbers(-ENOSPC, LOG_FULL);
	no_numbers(-EIO, LOG_FAILING);
}

/* No room for the segment ahead, and then there is, long before it is needed: nobody waited. */
static void what_passed_is_not_shown(void **state)
{
	struct writer w;
	unsigned states = 0;

	(void)state;
	open_writer(&w, dir);
	make_ill(&w);
	refuse("00000000000000000001.new", -ENOSPC, 1);
	write_messages(&w, 50);
	assert_int_equal(log_file_counts(w.log)->full, 1);
	run_for(&w, 150 * MS);
	for (int i = 0; i < 60; i++) {
		rig_ring_put(&w.rig, 1, 0, 200);
		log_file_offer(w.log, w.rig.head);
		states |= run_for(&w, 2 * MS);
	}
	assert_int_equal(log_file_counts(w.log)->segments, 2);
	assert_int_equal(states & (1u << LOG_FULL | 1u << LOG_FAILING), 0);
	stop_writer(&w);
	close_writer(&w);
}

/* ---- what is left of it ---- */

static uint64_t disk_bytes(const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(dir, name, &st, 0), 0);
	return (uint64_t)st.st_blocks * 512;
}

static uint64_t count_messages(void)
{
	struct log_reader rd;
	struct log_dir ld;
	uint64_t count = 0;
	int step;

	assert_int_equal(log_dir_open(&ld, dir, NULL, NULL), 0);
	assert_int_equal(log_reader_open(&rd, &ld), 0);
	while ((step = log_reader_step(&rd, 64)) > 0) {
		assert_int_equal(step, LOG_STEP_MESSAGES);
		count += (uint64_t)rd.count;
	}
	log_reader_close(&rd);
	log_dir_close(&ld);
	return count;
}

/* A segment that is given up gives back what it does not hold, as one that is sealed does, and all in it stays. */
static void a_poisoned_segment_gives_back(void **state)
{
	struct writer w;

	(void)state;
	open_writer(&w, dir);
	stop_writer(&w);
	make_ill(&w);
	w.opts.slots = 4096;
	w.opts.bytes = 1 << 20;
	w.opts.punch = true;
	start_writer(&w);
	write_messages(&w, 50);
	assert_true(disk_bytes(FIRST) > 1 << 20);
	bad_syncs = 1;
	write_messages(&w, 10);
	assert_int_equal(log_file_counts(w.log)->poisoned, 1);
	run_for(&w, 20 * MS);
	assert_true(disk_bytes(FIRST) <= 12288 + 4096 + 50 * 256 + 4096);
	assert_int_equal(count_messages(), 60);
	/* and the next one is sealed in its turn */
	write_messages(&w, 10);
	stop_writer(&w);
	start_writer(&w);
	assert_int_equal(w.rec.end_seq, 70);
	assert_int_equal(w.retention.count, 2);
	stop_writer(&w);
	assert_int_equal(count_messages(), 70);
	close_writer(&w);
}

/* Nothing to mark and nothing to give back: the log does not wait for that. */
static void a_full_segment_is_sealed_at_once(void **state)
{
	struct writer w;

	(void)state;
	open_writer(&w, dir);
	stop_writer(&w);
	w.opts.punch = false;
	start_writer(&w);
	for (int i = 0; i < 3; i++) {
		write_messages(&w, 100);
		run_for(&w, 20 * MS); /* its end is marked */
	}
	write_messages(&w, 1);
	assert_int_equal(log_file_counts(w.log)->segments, 4);
	stop_writer(&w);
	assert_int_equal(count_messages(), 301);
	close_writer(&w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(numbers_that_cannot_be_written),
		TEST(what_passed_is_not_shown),
		TEST(a_poisoned_segment_gives_back),
		TEST(a_full_segment_is_sealed_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
