/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_log.c - the parts of a stream's log, one by one: the seam to the disk by io_uring and by threads, names of
 * publishers, what a start makes of files that are not as they should be. tests/disk has them together.
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
#include "base/crc32c.h"
#include "lib/own_dir.h"
#include "lib/crash_disk.h"
#include "lib/log_writer.h"
#include "os/log_read.h"

static int dir;

static int make_dir(void **state)
{
	(void)state;
	dir = own_dir_make("log");
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	return own_dir_remove(dir);
}

static int file_with(const char *name, const void *data, size_t len)
{
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	return fd;
}

static bool exists(const char *name)
{
	return faccessat(dir, name, F_OK, 0) == 0;
}

/* ---- io ---- */

struct outcome {
	int ended, error;
	unsigned at;
};

static void note(struct io_request *req)
{
	struct outcome *o = req->owner;

	o->ended++;
	o->error = req->error;
	o->at = req->at;
}

static void way(enum io_choice choice)
{
	static uint8_t data[3 << 20], back[sizeof(data)];
	struct io_request many[100], chain;
	struct outcome o = { 0 }, chained = { 0 };
	struct why why = { "" };
	struct io *io;
	int fd, bad;

	assert_int_equal(io_open(&io, choice, 4, &why), 0);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 255);
	fd = io->table->create(io, dir, "a");
	assert_true(fd >= 0);
	assert_int_equal(io->table->create(io, dir, "a"), -EEXIST);
	/* registered or not, what is written is the same */
	const int used = io->table->use_memory(io, data, sizeof(data) / 2);

	/* as often as it is left */
	for (int i = 0; i < 200 && used == 0; i++) {
		io->table->leave_memory(io, data, sizeof(data) / 2);
		assert_int_equal(io->table->use_memory(io, data, sizeof(data) / 2), 0);
	}

	/* more than expected at a time; each of several operations, over both halves of the memory */
	for (unsigned i = 0; i < 100; i++) {
		const uint64_t part = sizeof(data) / 100, off = i * part;

		io_begin(&many[i], note, &o);
		io_add(&many[i], IO_WRITE, fd, data + off, off, part / 2);
		io_add(&many[i], IO_WRITE, fd, data + off + part / 2, off + part / 2,
		       part - part / 2);
		io_add(&many[i], IO_DATASYNC, fd, NULL, 0, 0);
		io_submit(io, &many[i]);
	}
	while (o.ended < 100)
		assert_true(io_poll(io, 1000) >= 0);
	assert_int_equal(o.error, 0);
	assert_int_equal(o.at, 3);
	assert_int_equal(io->in_flight, 0);
	assert_int_equal(io_read(io, fd, back, sizeof(back), 0), sizeof(data) / 100 * 100);
	assert_memory_equal(back, data, sizeof(data) / 100 * 100);

	/* what follows a failure is not begun */
	bad = io->table->open(io, dir, "a", O_RDONLY);
	io_begin(&chain, note, &chained);
	io_add(&chain, IO_WRITE, fd, "one", 0, 3);
	io_add(&chain, IO_WRITE, bad, "two", 10, 3);
	io_add(&chain, IO_WRITE, fd, "three", 20, 5);
	io_submit(io, &chain);
	while (!chained.ended)
		assert_true(io_poll(io, 1000) >= 0);
	assert_int_equal(chained.error, -EBADF);
	assert_int_equal(chained.at, 1);
	assert_int_equal(io_read(io, fd, back, 32, 0), 32);
	assert_memory_equal(back, "one", 3);
	assert_memory_equal(back + 10, data + 10, 20);

	/* names */
	assert_int_equal(io->table->rename(io, dir, "a", "b", false), 0);
	close(io->table->create(io, dir, "a"));
	assert_int_equal(io->table->rename(io, dir, "a", "b", false), -EEXIST);
	assert_int_equal(io->table->rename(io, dir, "a", "b", true), 0);
	assert_int_equal(io->table->remove(io, dir, "a"), -ENOENT);
	assert_int_equal(io->table->remove(io, dir, "b"), 0);

	/* room */
	io_begin(&chain, NULL, NULL);
	io_add(&chain, IO_ALLOCATE, fd, NULL, 0, 8 << 20);
	io_add(&chain, IO_PUNCH, fd, NULL, 0, 4096);
	io_add(&chain, IO_SYNC, fd, NULL, 0, 0);
	io_add(&chain, IO_SYNC, dir, NULL, 0, 0);
	assert_int_equal(io_run(io, &chain), 0);
	assert_int_equal(io_read(io, fd, back, 8, 0), 8);
	assert_memory_equal(back, "\0\0\0\0\0\0\0\0", 8);
	assert_int_equal(lseek(fd, 0, SEEK_END), 8 << 20);
	io->table->close(io, bad);
	io->table->close(io, fd);
	io_free(io);
}

static void io_by_threads(void **state)
{
	(void)state;
	way(IO_THREAD);
}

static void io_by_uring(void **state)
{
	struct why why = { "" };
	struct io *io;

	(void)state;
	if (io_open(&io, IO_URING, 4, &why) < 0) {
		print_message("%s\n", why.text);
		skip();
	}
	io_free(io);
	way(IO_URING);
}

static void short_writes_go_on(void **state)
{
	struct io_request req;
	char data[100];

	(void)state;
	io_begin(&req, note, NULL);
	io_add(&req, IO_WRITE, 1, data, 1000, 100);
	io_add(&req, IO_WRITE, 1, data, 5000, 100);
	io_add(&req, IO_SYNC, 1, NULL, 0, 0);
	req.results[0] = 30;
	req.results[1] = req.results[2] = -ECANCELED;
	assert_false(io_settle(&req));
	assert_int_equal(req.at, 0);
	assert_ptr_equal(req.ops[0].data, data + 30);
	assert_int_equal(req.ops[0].off, 1030);
	assert_int_equal(req.ops[0].len, 70);
	req.results[0] = 70;
	req.results[1] = -EINTR;
	assert_false(io_settle(&req));
	assert_int_equal(req.at, 1);
	/* a failed sync ends it: whatever a second one said would be no news of the first */
	req.results[1] = 100;
	req.results[2] = -EIO;
	assert_true(io_settle(&req));
	assert_int_equal(req.error, -EIO);
	assert_int_equal(req.at, 2);
	/* one that ran though what was before it was short: that it failed is said once */
	io_begin(&req, note, NULL);
	io_add(&req, IO_WRITE, 1, data, 0, 100);
	io_add(&req, IO_SYNC, 1, NULL, 0, 0);
	req.results[0] = 30;
	req.results[1] = -EIO;
	assert_true(io_settle(&req));
	assert_int_equal(req.error, -EIO);
	assert_int_equal(req.at, 1);
	/* writes of nothing end, too */
	io_begin(&req, note, NULL);
	io_add(&req, IO_WRITE, 1, data, 0, 100);
	req.results[0] = 0;
	for (int i = 0; !io_settle(&req); i++)
		assert_true(i < 10000);
	assert_int_equal(req.error, -EIO);
}

/* ---- sources ---- */

static const uint8_t uuid[LOG_UUID_BYTES] = { 1, 2, 3 };

static void names_stay(void **state)
{
	struct sources s, t;
	struct source *source;
	struct why why = { "" };
	struct io *io;
	uint32_t first, nameless, src;
	char bad[LOG_SOURCE_BYTES];
	int fd;

	(void)state;
	assert_int_equal(io_open(&io, IO_THREAD, 1, &why), 0);
	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	assert_true(s.absent);
	assert_int_equal(sources_add(&s, "orders", 6, &source, &why), 0);
	first = source->src;
	assert_int_equal(sources_add(&s, "orders", 6, &source, &why), 0);
	assert_int_equal(source->src, first);
	assert_int_equal(sources_nameless(&s, &nameless, &why), 0);
	assert_int_equal(sources_add(&s, "prices", 6, &source, &why), 0);
	assert_true(source->src != first && source->src != nameless);
	assert_int_equal(sources_add(&s, "", 0, &source, &why), -EINVAL);
	assert_int_equal(sources_add(&s, bad, LOG_NAME_MAX + 1, &source, &why), -EINVAL);
	src = s.next_src;
	sources_close(&s);

	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	assert_int_equal(s.count, 2);
	assert_int_equal(sources_find(&s, "orders", 6)->src, first);
	assert_null(sources_find(&s, "order", 5));
	/* what was reserved for nobody is passed over */
	assert_true(s.next_src >= src);
	assert_int_equal(sources_nameless(&s, &src, &why), 0);
	assert_true(src > nameless);
	sources_close(&s);

	/* another stream's are not ours */
	assert_int_equal(sources_open(&t, io, dir, (const uint8_t *)"another stream..", &why), 0);
	assert_int_equal(t.count, 0);
	assert_true(t.bad > 0);
	sources_close(&t);

	/* a record that is damaged, and a torn one: the others stay, and their bytes too, for ever */
	fd = openat(dir, LOG_SOURCES_NAME, O_RDWR);
	memset(bad, 'b', sizeof(bad));
	assert_int_equal(pwrite(fd, bad, 10, 8), 10); /* "orders" */
	assert_true(lseek(fd, 0, SEEK_END) > 0);
	assert_int_equal(write(fd, bad, 100), 100);
	close(fd);
	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	assert_int_equal(s.bad, 2);
	assert_null(sources_find(&s, "orders", 6));
	assert_non_null(sources_find(&s, "prices", 6));
	src = s.next_src;
	assert_int_equal(sources_add(&s, "more", 4, &source, &why), 0);
	assert_true(source->src >= src && source->src > 1024);
	sources_close(&s);
	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	assert_int_equal(s.bad, 2);
	assert_non_null(sources_find(&s, "more", 4));
	sources_close(&s);
	io_free(io);
}

static void last_numbers_stay(void **state)
{
	struct sources s, t;
	struct source *a, *b;
	struct why why = { "" };
	struct io *io;
	uint8_t buf[4096];

	(void)state;
	assert_int_equal(io_open(&io, IO_THREAD, 1, &why), 0);
	assert_int_equal(sources_open(&s, io, dir, uuid, &why), 0);
	assert_int_equal(sources_add(&s, "a", 1, &a, &why), 0);
	assert_int_equal(sources_add(&s, "b", 1, &b, &why), 0);
	sources_note(&s, a->src, 0);
	sources_note(&s, 77777, 5);
	sources_note(&s, a->src, 9);
	sources_note(&s, 77777, 6);
	sources_note(&s, a->src, 8); /* never back */
	assert_int_equal(a->next, 10);
	assert_int_equal(b->next, 0);
	assert_true(sources_snapshot_bytes(&s) < sizeof(buf));
	sources_snapshot(&s, 1234, buf);

	assert_int_equal(sources_open(&t, io, dir, uuid, &why), 0);
	assert_int_equal(sources_restore(&t, buf, sources_snapshot_bytes(&s), 1235), -EBADMSG);
	assert_int_equal(sources_restore(&t, buf, sources_snapshot_bytes(&s) - 1, 1234), -EBADMSG);
	buf[60] ^= 1;
	assert_int_equal(sources_restore(&t, buf, sources_snapshot_bytes(&s), 1234), -EBADMSG);
	buf[60] ^= 1;
	assert_int_equal(sources_find(&t, "a", 1)->next, 0);
	assert_int_equal(sources_restore(&t, buf, sources_snapshot_bytes(&s), 1234), 0);
	assert_int_equal(sources_find(&t, "a", 1)->next, 10);
	sources_close(&s);
	sources_close(&t);
	io_free(io);
}

/* ---- start ---- */

static void numbers_are_passed_over(void **state)
{
	struct writer w;
	uint64_t end;

	(void)state;
	open_writer(&w, dir);
	assert_true(w.rec.fresh);
	assert_int_equal(w.start.seq, 0);
	assert_int_equal(w.start.prev_end, 0);
	assert_int_equal(log_file_limit(w.log), 0); /* not before the header is on disk */
	write_messages(&w, 250);
	end = w.rig.head;
	assert_int_equal(log_file_counts(w.log)->segments, 3);
	assert_true(log_file_counts(w.log)->commits > 0);
	stop_writer(&w);

	start_writer(&w);
	assert_int_equal(w.rec.end_seq, end);
	assert_int_equal(w.retention.count, 3);
	assert_int_equal(w.start.seq, end + 64);
	assert_int_equal(w.start.prev_end, end);
	assert_int_equal(w.start.index, 3);
	assert_int_equal(w.start.pos % LOG_AREA_ALIGN, 0);
	write_messages(&w, 1);
	assert_true(exists("00000000000000000314.log"));
	stop_writer(&w);
	close_writer(&w);
}

/* Policy interval: a full ring does not wait for the interval, and there is no sync for each message either. */
static void a_full_ring_is_synced(void **state)
{
	const uint64_t begun = bus_monotonic_ns();
	struct writer w;
	uint64_t syncs;

	(void)state;
	open_writer(&w, dir);
	w.opts.policy = LOG_SYNC_INTERVAL;
	w.opts.interval_ns = UINT64_C(3600000000000);
	stop_writer(&w);
	for (uint32_t len = 10; len <= 1000; len += 990) {
		start_writer(&w);
		syncs = log_file_counts(w.log)->syncs;
		for (int i = 0; i < 90;) {
			if (w.rig.head < log_file_limit(w.log) &&
			    rig_ring_room(&w.rig, log_file_gate(w.log), 0, len)) {
				rig_ring_put(&w.rig, 1, 0, len);
				log_file_offer(w.log, w.rig.head);
				i++;
			}
			/* of the first hour, so that no interval ends */
			log_file_run(w.log, UINT64_C(1000000000));
			io_poll(w.io, 1);
			assert_true(bus_monotonic_ns() - begun < UINT64_C(20000000000));
		}
		/* a quarter is 16 messages, or four of 1000 bytes */
		syncs = log_file_counts(w.log)->syncs - syncs;
		assert_true(syncs > 0 && syncs <= (len == 10 ? 90 / 16 : 90 / 4) + 2u);
		stop_writer(&w);
	}
	close_writer(&w);
}

static void one_writes(void **state)
{
	struct writer w;
	struct recovered rec;
	struct sources s;
	struct retention r;
	struct why why = { "" };
	int other = open(own_dir_path, O_RDONLY | O_DIRECTORY);

	(void)state;
	open_writer(&w, dir);
	assert_int_equal(recover_open(&rec, w.io, other, RECOVER_NO_RING, &s, &r, &why), -EBUSY);
	close(other);
	stop_writer(&w);
	close_writer(&w);
}

static void nothing_is_deleted(void **state)
{
	static const char garbage[5000] = "no segment";
	struct writer w;
	struct stat st;
	char name[64];
	int fd;

	(void)state;
	open_writer(&w, dir);
	write_messages(&w, 150);
	stop_writer(&w);
	/* its last segment's header, and its copy, are lost */
	fd = openat(dir, "00000000000000000100.log", O_RDWR);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	assert_int_equal(pwrite(fd, garbage, 4096, 0), 4096);
	assert_int_equal(pwrite(fd, garbage, 4096, LOG_COPY_OFF), 4096);
	close(fd);
	close(file_with("readme", "mine", 4));
	close(file_with("00000000000000000200.new", "x", 1));
	close(file_with("00000000000000000050.log", garbage, sizeof(garbage)));

	start_writer(&w);
	assert_int_equal(w.rec.strangers, 2);
	assert_int_equal(w.rec.temporaries, 1);
	assert_true(strlen(w.rec.remark) > 0);
	/* what it may have held is not numbered again */
	assert_true(w.start.seq >= 100 + (uint64_t)st.st_size / RING_SLOT_BYTES);
	/* each of the two may have been one, and none is known to be the last before ours */
	assert_int_equal(w.start.index, 4);
	write_messages(&w, 10);
	assert_true(exists("readme"));
	assert_true(exists("00000000000000000050.log"));
	assert_true(exists("00000000000000000100.log"));
	assert_false(exists("00000000000000000200.new"));
	stop_writer(&w);

	/* a name that is taken is never taken over */
	snprintf(name, sizeof(name), LOG_SEGMENT_NAME, (unsigned long long)w.rig.head + 64);
	close(file_with(name, garbage, sizeof(garbage)));
	start_writer(&w);
	assert_true(w.start.seq > w.rig.seen + 64);
	write_messages(&w, 1);
	stop_writer(&w);
	assert_true(exists(name));
	close_writer(&w);
}

static uint64_t disk_bytes(const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(dir, name, &st, 0), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* A writer died: the next one gives back what its segment did not use, and all messages stay. */
static void what_is_unused_is_given_back(void **state)
{
	struct writer w;
	struct log_message msgs[8];
	struct log_buffer buf = { 0 };
	struct log_segment seg;
	enum log_fault stop;
	uint64_t before;
	int fd;

	(void)state;
	open_writer(&w, dir);
	w.opts.slots = 4096;
	w.opts.bytes = 1 << 20;
	stop_writer(&w);
	start_writer(&w);
	write_messages(&w, 5);
	before = disk_bytes("00000000000000000000.log");
	assert_true(before > 1 << 20);
	stop_writer(&w);

	/* not yet: who says that what stands there does not count is the next segment */
	start_writer(&w);
	assert_int_equal(disk_bytes("00000000000000000000.log"), before);
	write_messages(&w, 1);
	/* behind the end there is something that cannot be read: it stays */
	w.rec.torn = true;
	assert_int_equal(recover_give_back(&w.rec, w.io, dir, RECOVER_NO_RING), 0);
	/* what was promised is not there */
	assert_int_equal(recover_give_back(&w.rec, w.io, dir, w.rec.end_seq + 1), 0);
	/* the name is another file's */
	assert_int_equal(recover_give_back(&w.rec, w.io, dir, w.rec.base_seq), 0);
	assert_int_equal(disk_bytes("00000000000000000000.log"), before);
	w.rec.torn = false;
	assert_int_equal(recover_give_back(&w.rec, w.io, dir, RECOVER_NO_RING), 12288 + 4096 + 4096);
	assert_true(disk_bytes("00000000000000000000.log") <= 12288 + 3 * 4096);
	fd = openat(dir, "00000000000000000000.log", O_RDONLY);
	assert_int_equal(log_segment_open(&seg, fd, NULL, NULL), 0);
	assert_int_equal(log_segment_read(&seg, &buf, 0, msgs, 8, &stop), 5);
	assert_int_equal(msgs[4].len, 200);
	log_buffer_free(&buf);
	log_segment_close(&seg);
	stop_writer(&w);

	/* and a start counts what it takes of the disk */
	start_writer(&w);
	assert_true(w.retention.segments[0].bytes <= 12288 + 3 * 4096);
	stop_writer(&w);
	close_writer(&w);
}

static void newer_is_refused(void **state)
{
	struct writer w;
	struct log_header header;
	struct why why = { "" };
	int fd;

	(void)state;
	open_writer(&w, dir);
	write_messages(&w, 10);
	stop_writer(&w);
	fd = openat(dir, "00000000000000000000.log", O_RDWR);
	assert_int_equal(pread(fd, &header, sizeof(header), 0), sizeof(header));
	header.version = LOG_VERSION + 1;
	header.crc = crc32c(&header, offsetof(struct log_header, crc));
	assert_int_equal(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	assert_int_equal(pwrite(fd, &header, sizeof(header), LOG_COPY_OFF), sizeof(header));
	close(fd);
	assert_int_equal(recover_open(&w.rec, w.io, dir, RECOVER_NO_RING, &w.sources, &w.retention,
				      &why),
			 -EPROTONOSUPPORT);
	assert_non_null(strstr(why.text, "newer"));
	close_writer(&w);
}

static void a_ring_that_stays(void **state)
{
	struct recovered rec = { .base_seq = 100, .base_prev_end = 70, .index = 4, .end_seq = 130 };
	struct log_start start;
	struct why why;

	(void)state;
	assert_int_equal(recover_start_at(&rec, 120, 5000, &start, &why), 0);
	assert_int_equal(start.index, 5);
	assert_int_equal(start.prev_end, 120);
	assert_false(start.replace);
	/* a segment without a message of its own is replaced, and declares what it declared */
	assert_int_equal(recover_start_at(&rec, 100, 5000, &start, &why), 0);
	assert_int_equal(start.index, 4);
	assert_int_equal(start.prev_end, 70);
	assert_true(start.replace);
	/* what is missing is declared */
	assert_int_equal(recover_start_at(&rec, 140, 5000, &start, &why), 0);
	assert_int_equal(start.prev_end, 130);
	assert_int_equal(recover_start_at(&rec, 99, 5000, &start, &why), -ESTALE);
}

static void options_are_checked(void **state)
{
	static struct log_slot slots[16];
	static uint8_t payload[32768];
	struct log_file_opts opts = { .view = { slots, payload, 16, 16384 },
				      .topic = "t",
				      .bytes = 8192 };
	const struct log_start start = { 0 };
	struct why why = { "" };
	struct log_file *log;
	struct io *io;

	(void)state;
	assert_int_equal(io_open(&io, IO_THREAD, 1, &why), 0);
	opts.dir = dir;
	assert_int_equal(log_file_open(&log, io, &opts, &start, &why), 0);
	log_file_close(log);
	opts.bytes = 4096; /* the largest message does not fit wherever it begins */
	assert_int_equal(log_file_open(&log, io, &opts, &start, &why), -EINVAL);
	opts.bytes = 8200;
	assert_int_equal(log_file_open(&log, io, &opts, &start, &why), -EINVAL);
	opts.bytes = 8192;
	opts.view.slot_count = 15;
	assert_int_equal(log_file_open(&log, io, &opts, &start, &why), -EINVAL);
	opts.view.slot_count = 16;
	opts.slots = LOG_MAX_SLOTS + 1;
	assert_int_equal(log_file_open(&log, io, &opts, &start, &why), -EINVAL);
	io_free(io);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(io_by_threads),
		TEST(io_by_uring),
		TEST(short_writes_go_on),
		TEST(names_stay),
		TEST(what_is_unused_is_given_back),
		TEST(last_numbers_stay),
		TEST(numbers_are_passed_over),
		TEST(one_writes),
		TEST(a_full_ring_is_synced),
		TEST(nothing_is_deleted),
		TEST(newer_is_refused),
		TEST(a_ring_that_stays),
		TEST(options_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
