/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_sources.c - publishers of a stream in numbers: many names, many without one, many users, many streams at once.
 * busd_log.c has what a few of them need.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "lib/own_dir.h"
#include "lib/log_ring.h"
#include "recover.h"

#define SECOND UINT64_C(1000000000)

static const uint8_t uuid[LOG_UUID_BYTES] = { 1, 2, 3 };
static uint64_t all_free[BOARD_SOURCES / 64];
static int dir;
static struct io *io;
static struct why why;

static int begin(void **state)
{
	(void)state;
	dir = own_dir_make("names");
	memset(all_free, 0xff, sizeof(all_free));
	return io_open(&io, IO_THREAD, 1, &why) < 0;
}

static int end(void **state)
{
	(void)state;
	io_free(io);
	return own_dir_remove(dir);
}

/* A file of so many names of one user, src from 1 on, as their records would have been appended. */
static void names_of_user(unsigned uid, uint32_t count)
{
	uint8_t *all = calloc(count, LOG_SOURCE_BYTES);
	int fd = openat(dir, LOG_SOURCES_NAME, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(all && fd >= 0);
	for (uint32_t i = 0; i < count; i++) {
		struct log_source rec = { .magic = LOG_SOURCE_MAGIC, .src = i + 1 };

		memcpy(rec.uuid, uuid, sizeof(uuid));
		rec.name_len =
			(uint32_t)snprintf(rec.name, sizeof(rec.name), "%u:publisher %u", uid, i);
		rec.crc = crc32c(&rec, offsetof(struct log_source, crc));
		memcpy(all + (size_t)i * LOG_SOURCE_BYTES, &rec, sizeof(rec));
	}
	assert_int_equal(write(fd, all, (size_t)count * LOG_SOURCE_BYTES),
			 (ssize_t)count * LOG_SOURCE_BYTES);
	close(fd);
	free(all);
}

static off_t file_bytes(void)
{
	struct stat st;

	assert_int_equal(fstatat(dir, LOG_SOURCES_NAME, &st, 0), 0);
	return st.st_size;
}

/* Looked up one by one they take a minute and more. */
static void many_names_are_read_fast(void **state)
{
	const uint64_t begun = bus_monotonic_ns();
	struct sources s;

	(void)state;
	names_of_user(7, SOURCES_MAX);
	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	assert_true(bus_monotonic_ns() - begun < 10 * SECOND);
	assert_int_equal(s.count, SOURCES_MAX);
	assert_int_equal(s.bad, 0);
	for (uint32_t i = 0; i < SOURCES_MAX; i += 1001) {
		char name[64];
		const int len = snprintf(name, sizeof(name), "7:publisher %u", i);

		assert_int_equal(sources_find(&s, name, (size_t)len)->src, i + 1);
	}
	assert_null(sources_find(&s, "7:publisher", 11));
	sources_close(&s);
}

/* One user cannot use up all names: what is left is for the others. */
static void each_user_has_a_share(void **state)
{
	struct sources s;
	struct source *source;

	(void)state;
	names_of_user(7, SOURCES_MAX / 2 - 1);
	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	assert_int_equal(sources_add(&s, "7:x", 3, &source, &why), 0);
	assert_int_equal(sources_add(&s, "7:y", 3, &source, &why), -EDQUOT);
	assert_non_null(strstr(why.text, "user 7 has 32768 names"));
	/* who is there stays */
	assert_int_equal(sources_add(&s, "7:x", 3, &source, &why), 0);
	assert_int_equal(sources_add(&s, "8:y", 3, &source, &why), 0);
	sources_close(&s);

	names_of_user(8, SOURCES_MAX);
	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	assert_int_equal(sources_add(&s, "9:y", 3, &source, &why), -EDQUOT);
	assert_non_null(strstr(why.text, "65536 names"));
	sources_close(&s);
}

/* Where one entry only is free each of them costs a record. */
static void nameless_leave_no_trace(void **state)
{
	const uint64_t one_free[BOARD_SOURCES / 64] = { 1u << 5 };
	uint8_t bad[LOG_SOURCE_BYTES], back[LOG_SOURCE_BYTES];
	struct sources s;
	struct source *source;
	uint32_t src = 0, last = 0;
	off_t most = 0;
	int fd;

	(void)state;
	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	assert_int_equal(sources_add(&s, "7:a", 3, &source, &why), 0);
	sources_close(&s);
	/* what cannot be read stays: it is evidence */
	memset(bad, 'b', sizeof(bad));
	fd = openat(dir, LOG_SOURCES_NAME, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, bad, sizeof(bad)), sizeof(bad));
	close(fd);

	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	for (int i = 0; i < 1000; i++) {
		sources_pick(&s, one_free, false);
		assert_int_equal(sources_nameless(&s, &src, &why), 0);
		assert_int_equal(src % BOARD_SOURCES, 5);
		assert_true(src > last);
		last = src;
		if (file_bytes() > most)
			most = file_bytes();
	}
	assert_true(most <= 100 * LOG_SOURCE_BYTES);
	sources_close(&s);

	/* the newest record says what all did */
	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	assert_int_equal(s.bad, 1);
	assert_true(s.next_src > last);
	assert_int_equal(sources_add(&s, "7:b", 3, &source, &why), 0);
	assert_true(source->src > last);
	assert_int_equal(file_bytes(), 4 * LOG_SOURCE_BYTES);
	last = source->src;
	sources_close(&s);
	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	assert_true(s.next_src > last);
	assert_non_null(sources_find(&s, "7:a", 3));
	assert_non_null(sources_find(&s, "7:b", 3));
	sources_close(&s);
	fd = openat(dir, LOG_SOURCES_NAME, O_RDONLY);
	assert_int_equal(pread(fd, back, sizeof(back), LOG_SOURCE_BYTES), sizeof(back));
	assert_memory_equal(back, bad, sizeof(bad));
	close(fd);
}

/* A file that a former version let grow is taken up, and is small from the first change on. */
static void a_large_file_is_taken_up(void **state)
{
	const uint32_t count = 140000;
	uint8_t *all = calloc(count, LOG_SOURCE_BYTES);
	struct sources s;
	uint32_t src;
	int fd = openat(dir, LOG_SOURCES_NAME, O_RDWR | O_CREAT | O_TRUNC, 0600);

	(void)state;
	assert_true(all && fd >= 0);
	for (uint32_t i = 0; i < count; i++) {
		struct log_source rec = { .magic = LOG_SOURCE_MAGIC, .src = (i + 1) * 1024 };

		memcpy(rec.uuid, uuid, sizeof(uuid));
		rec.crc = crc32c(&rec, offsetof(struct log_source, crc));
		memcpy(all + (size_t)i * LOG_SOURCE_BYTES, &rec, sizeof(rec));
	}
	assert_int_equal(write(fd, all, (size_t)count * LOG_SOURCE_BYTES),
			 (ssize_t)count * LOG_SOURCE_BYTES);
	close(fd);
	free(all);
	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	assert_int_equal(sources_nameless(&s, &src, &why), 0);
	assert_int_equal(src, count * 1024);
	assert_int_equal(file_bytes(), 2 * LOG_SOURCE_BYTES);
	sources_close(&s);
}

/* Two that share an entry of the board cannot be there at once. */
static void names_have_entries_of_their_own(void **state)
{
	uint32_t named[BOARD_SOURCES] = { 0 }, src;
	struct sources s;
	struct source *source;
	char name[32];

	(void)state;
	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	for (int i = 0; i < 500; i++) {
		const int len = snprintf(name, sizeof(name), "7:%d", i);

		sources_pick(&s, all_free, true);
		assert_int_equal(sources_add(&s, name, (size_t)len, &source, &why), 0);
		named[source->src % BOARD_SOURCES]++;
	}
	sources_close(&s);
	/* after a start the board knows nobody: the names are kept free all the same */
	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	for (int i = 0; i < 2000; i++) {
		sources_pick(&s, all_free, false);
		assert_int_equal(sources_nameless(&s, &src, &why), 0);
		assert_int_equal(named[src % BOARD_SOURCES], 0);
	}
	for (int i = 500; i < BOARD_SOURCES; i++) {
		const int len = snprintf(name, sizeof(name), "7:%d", i);

		sources_pick(&s, all_free, true);
		assert_int_equal(sources_add(&s, name, (size_t)len, &source, &why), 0);
		assert_int_equal(named[source->src % BOARD_SOURCES]++, 0);
	}
	/* there is none left: one that is another's, but is not in use */
	sources_pick(&s, all_free, true);
	assert_int_equal(sources_add(&s, "7:more", 6, &source, &why), 0);
	sources_pick(&s, all_free, false);
	assert_int_equal(sources_nameless(&s, &src, &why), 0);
	sources_close(&s);
}

static void numbers_end(void **state)
{
	struct sources s;
	struct source *source;
	uint32_t src;

	(void)state;
	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	sources_raise(&s, UINT64_C(1) << 32);
	sources_pick(&s, all_free, false);
	assert_int_equal(sources_nameless(&s, &src, &why), -EDQUOT);
	assert_int_equal(sources_add(&s, "7:a", 3, &source, &why), -EDQUOT);
	sources_close(&s);
}

/* ---- several streams at once ---- */

#define STREAMS  3
#define NAMES    8
#define MESSAGES 4000
#define ROUNDS   60

struct stream {
	char path[96];
	uint64_t next[NAMES];
	unsigned wrong;
};

static void name_of(char *name, int i)
{
	snprintf(name, 32, "7:%d", i);
}

/* All know the same names; in each another one publishes. */
static void write_stream(struct stream *stream, unsigned seed)
{
	static struct log_ring rig;
	struct recovered rec;
	struct sources sources;
	struct retention retention;
	struct log_start start;
	struct log_file *log;
	struct log_file_opts opts = { .topic = "t", .policy = LOG_SYNC_BATCH, .sources = &sources };
	uint32_t src[NAMES];
	char name[32];

	assert_int_equal(mkdir(stream->path, 0700), 0);
	opts.dir = open(stream->path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(
		recover_open(&rec, io, opts.dir, RECOVER_NO_RING, &sources, &retention, &why), 0);
	for (int i = 0; i < NAMES; i++) {
		struct source *source;

		name_of(name, i);
		assert_int_equal(sources_add(&sources, name, strlen(name), &source, &why), 0);
		src[i] = source->src;
	}
	recover_start(&rec, 1024, &start);
	rig_ring_open(&rig, 1024, 65536);
	memcpy(rig.uuid, rec.uuid, LOG_UUID_BYTES);
	memcpy(opts.uuid, rec.uuid, LOG_UUID_BYTES);
	rig_ring_begin(&rig, start.seq, start.pos);
	opts.view = rig.view;
	opts.slots = MESSAGES * 2;
	opts.bytes = 1 << 20;
	assert_int_equal(log_file_open(&log, io, &opts, &start, &why), 0);
	while (log_file_durable(log) < MESSAGES) {
		while (rig.head < MESSAGES && rig.head < log_file_limit(log) &&
		       rig_ring_room(&rig, log_file_gate(log), 0, 20)) {
			rig_ring_put(&rig, src[seed], 0, 20);
			stream->next[seed] = rig.src_next[src[seed]];
		}
		log_file_offer(log, rig.head);
		log_file_run(log, bus_monotonic_ns());
		io_poll(io, 1);
	}
	log_file_close(log);
	sources_close(&sources);
	retention_free(&retention);
	rig_ring_close(&rig);
	close(opts.dir);
}

static void *recover_often(void *arg)
{
	struct stream *stream = arg;
	struct why text = { "" };
	struct io *own;

	if (io_open(&own, IO_THREAD, 1, &text) < 0)
		return NULL;
	for (int round = 0; round < ROUNDS; round++) {
		const int fd = open(stream->path, O_RDONLY | O_DIRECTORY);
		struct recovered rec;
		struct sources sources;
		struct retention retention;
		char name[32];

		if (recover_open(&rec, own, fd, RECOVER_NO_RING, &sources, &retention, &text) < 0) {
			stream->wrong += 1000;
			break;
		}
		for (int i = 0; i < NAMES; i++) {
			const struct source *source;

			name_of(name, i);
			source = sources_find(&sources, name, strlen(name));
			stream->wrong += !source || source->next != stream->next[i];
		}
		sources_close(&sources);
		retention_free(&retention);
		close(fd);
	}
	io_free(own);
	return stream;
}

static void streams_are_recovered_at_once(void **state)
{
	struct stream streams[STREAMS] = { 0 };
	pthread_t threads[STREAMS];

	(void)state;
	for (unsigned i = 0; i < STREAMS; i++) {
		snprintf(streams[i].path, sizeof(streams[i].path), "%s/%u", own_dir_path, i);
		write_stream(&streams[i], i);
	}
	for (unsigned i = 0; i < STREAMS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, recover_often, &streams[i]), 0);
	for (unsigned i = 0; i < STREAMS; i++) {
		void *ended = NULL;

		assert_int_equal(pthread_join(threads[i], &ended), 0);
		assert_ptr_equal(ended, &streams[i]);
		assert_int_equal(streams[i].wrong, 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(many_names_are_read_fast),        TEST(each_user_has_a_share),
		TEST(nameless_leave_no_trace),         TEST(a_large_file_is_taken_up),
		TEST(names_have_entries_of_their_own), TEST(numbers_end),
		TEST(streams_are_recovered_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
