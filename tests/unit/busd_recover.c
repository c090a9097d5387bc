/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_recover.c - what a start makes of segments that it cannot read, now or ever, that are not where their names put
 * them, or that somebody moved away: no message is lost by that which is there, and no number is given twice.
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
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "lib/own_dir.h"
#include "lib/log_rig.h"
#include "lib/log_writer.h"
#include "os/log_read.h"

#define FIRST    "00000000000000000000.log"
#define SECOND   "00000000000000000114.log" /* 50 messages, and what a ring holds */
#define MESSAGES 50

static int dir;

/* ---- a disk that cannot open one file ---- */

static const char *ill;
static int ill_errno;
static int ill_times; /* negative: for good */
static int ill_after; /* so many openings of it */

int openat(int at, const char *name, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (ill && ill_times && strcmp(name, ill) == 0 && ill_after-- <= 0) {
		ill_times -= ill_times > 0;
		errno = ill_errno;
		return -1;
	}
	return (int)syscall(SYS_openat, at, name, flags, mode);
}

static void fall_ill(const char *name, int error, int times)
{
	ill = name;
	ill_errno = error;
	ill_times = times;
	ill_after = 0;
}

/* ---- around ---- */

static int make_dir(void **state)
{
	(void)state;
	fall_ill(NULL, 0, 0);
	dir = own_dir_make("recover");
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	return own_dir_remove(dir);
}

static bool exists(const char *name)
{
	return faccessat(dir, name, F_OK, 0) == 0;
}

struct content {
	uint64_t messages, missing, damaged;
};

/* All that a reader gets, and what it is told of. */
static struct content content(void)
{
	struct content c = { 0 };
	struct log_reader rd;
	struct log_dir ld;
	int step;

	assert_int_equal(log_dir_open(&ld, dir, NULL, NULL), 0);
	assert_int_equal(log_reader_open(&rd, &ld), 0);
	while ((step = log_reader_step(&rd, 64)) > 0) {
		if (step == LOG_STEP_MESSAGES)
			c.messages += (uint64_t)rd.count;
		else if (rd.gap.why == LOG_MISSING || rd.gap.why == LOG_BROKEN)
			c.missing += rd.gap.to - rd.gap.from;
		else if (rd.gap.why != LOG_HOLE)
			c.damaged += rd.gap.to - rd.gap.from;
	}
	assert_int_equal(step, 0);
	log_reader_close(&rd);
	log_dir_close(&ld);
	return c;
}

/* All of them can be read now, and none is damaged. */
static void assert_whole(uint64_t messages)
{
	struct content c;

	fall_ill(NULL, 0, 0);
	c = content();
	assert_int_equal(c.messages, messages);
	assert_int_equal(c.damaged, 0);
}

static int try_start(struct writer *w, struct why *why)
{
	const int error =
		recover_open(&w->rec, w->io, dir, RECOVER_NO_RING, &w->sources, &w->retention, why);

	if (error == 0) {
		sources_close(&w->sources);
		retention_free(&w->retention);
	}
	return error;
}

/* Two segments with messages. */
static void two_segments(struct writer *w)
{
	open_writer(w, dir);
	write_messages(w, MESSAGES);
	stop_writer(w);
	start_writer(w);
	write_messages(w, MESSAGES);
	stop_writer(w);
	assert_true(exists(FIRST) && exists(SECOND));
}

/* Its header is there, and no message. */
static void begin_segment(struct writer *w, const char *name)
{
	while (!exists(name)) {
		log_file_run(w->log, bus_monotonic_ns());
		io_poll(w->io, 1);
	}
}

/* Both its headers say that it is of another stream. */
static void change_uuid(const char *name)
{
	struct log_header header;
	const int fd = openat(dir, name, O_RDWR);

	assert_int_equal(pread(fd, &header, sizeof(header), 0), sizeof(header));
	header.uuid[0] ^= 1;
	header.crc = crc32c(&header, offsetof(struct log_header, crc));
	assert_int_equal(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	assert_int_equal(pwrite(fd, &header, sizeof(header), LOG_COPY_OFF), sizeof(header));
	close(fd);
}

/* ---- unreadable ---- */

/* Too many descriptors, no memory: nothing is said by that of the file, and the start is no start. */
static void a_passing_want_is_no_damage(void **state)
{
	static const int errors[] = { EMFILE, ENFILE, ENOMEM };
	struct why why = { "" };
	struct writer w;

	(void)state;
	two_segments(&w);
	for (size_t i = 0; i < BUS_ARRAY_LEN(errors); i++) {
		fall_ill(SECOND, errors[i], 1);
		assert_int_equal(try_start(&w, &why), -errors[i]);
		assert_non_null(strstr(why.text, SECOND));
		fall_ill(FIRST, errors[i], 1);
		assert_int_equal(try_start(&w, &why), -errors[i]);
	}
	/* a disk is asked again */
	fall_ill(SECOND, EIO, 2);
	start_writer(&w);
	assert_int_equal(w.rec.end_seq, 114 + MESSAGES);
	assert_int_equal(w.rec.strangers, 0);
	write_messages(&w, 1);
	stop_writer(&w);
	assert_int_equal(content().messages, 2 * MESSAGES + 1);
	close_writer(&w);
}

/* Whichever opening it is that fails: no start, or one that found all. */
static void each_opening_counts(void **state)
{
	struct source *source;
	struct why why = { "" };
	struct writer w;
	int failed = 0, error;

	(void)state;
	two_segments(&w);
	start_writer(&w);
	assert_int_equal(sources_add(&w.sources, "a", 1, &source, &why), 0);
	stop_writer(&w);
	for (int n = 0;; n++) {
		fall_ill(SECOND, EMFILE, 1);
		ill_after = n;
		error = try_start(&w, &why);
		if (ill_times)
			break;
		assert_true(error == 0 || error == -EMFILE);
		assert_true(error < 0 ||
			    (w.rec.end_seq == 114 + MESSAGES && !w.rec.sources_incomplete));
		failed += error < 0;
	}
	assert_int_equal(error, 0);
	/* listed, its end looked for; and once more for who published what, listed and read */
	assert_true(failed >= 4);
	close_writer(&w);
}

static uint64_t bad_until;

static ssize_t read_badly(int fd, void *data, size_t len, off_t at)
{
	if (at >= LOG_SLOTS_OFF && bus_monotonic_ns() < bad_until) {
		errno = EIO;
		return -1;
	}
	return pread(fd, data, len, at);
}

/* Messages that no mark attests yet are as good as those before: the disk is asked again for them, too. */
static void an_end_is_read_again(void **state)
{
	static struct io_table table;
	struct why why = { "" };
	struct writer w;

	(void)state;
	two_segments(&w);
	table = *w.io->table;
	table.pread = read_badly;
	w.io->table = &table;
	bad_until = bus_monotonic_ns() + 25000000;
	assert_int_equal(try_start(&w, &why), 0);
	assert_int_equal(w.rec.end_seq, 114 + MESSAGES);
	assert_true(w.rec.found > 0);
	close_writer(&w);
}

/* It is passed over, and once it can be read its messages are there: its own marks say which. */
static void what_is_readable_again_is_there(void **state)
{
	struct content c;
	struct writer w;

	(void)state;
	two_segments(&w);
	fall_ill(SECOND, EIO, -1);
	start_writer(&w);
	assert_int_equal(w.rec.end_seq, MESSAGES);
	assert_int_equal(w.rec.strangers, 1);
	assert_true(w.start.seq >= 114 + 100 + WRITER_SLOTS);
	assert_true(w.start.prev_end >= 114 + 100);
	write_messages(&w, 10);
	stop_writer(&w);
	c = content();
	assert_int_equal(c.messages, MESSAGES + 10);
	assert_true(c.missing >= MESSAGES);
	/* a start in between, for which nothing comes behind */
	start_writer(&w);
	assert_int_equal(w.start.index, 4);
	/* what the former may hold is not counted as kept */
	assert_int_equal(w.retention.segments[0].messages, 0);
	write_messages(&w, 10);
	stop_writer(&w);

	assert_whole(2 * MESSAGES + 20);
	start_writer(&w);
	assert_int_equal(w.rec.strangers, 0);
	stop_writer(&w);
	close_writer(&w);
}

/* It was the only one. */
static void the_first_is_readable_again(void **state)
{
	struct writer w;

	(void)state;
	open_writer(&w, dir);
	/* so that the stream's uuid is known without it */
	struct source *source;
	struct why why;
	assert_int_equal(sources_add(&w.sources, "a", 1, &source, &why), 0);
	write_messages(&w, MESSAGES);
	stop_writer(&w);
	fall_ill(FIRST, EIO, -1);
	start_writer(&w);
	assert_true(w.rec.fresh);
	assert_true(w.start.seq >= MESSAGES && w.start.prev_end >= MESSAGES);
	write_messages(&w, 10);
	stop_writer(&w);
	assert_whole(MESSAGES + 10);
	close_writer(&w);
}

/* The ring stayed, and its first message to be written has the number that an unreadable file is named by. */
static void a_taken_name_holds_nobody_up(void **state)
{
	struct writer w;

	(void)state;
	open_writer(&w, dir);
	write_messages(&w, MESSAGES);
	stop_writer(&w);
	start_writer(&w);
	begin_segment(&w, SECOND);
	stop_writer(&w);
	fall_ill(SECOND, EIO, -1);
	start_writer_at_ring(&w);
	assert_int_equal(w.start.seq, 114);
	write_messages(&w, 10);
	stop_writer(&w);
	fall_ill(NULL, 0, 0);
	assert_true(exists(SECOND ".bad"));
	assert_whole(MESSAGES + 10);
	close_writer(&w);
}

/* A segment of this log is not moved away: somebody writes there. */
static void a_name_that_counts_is_left(void **state)
{
	const uint64_t begun = bus_monotonic_ns();
	struct writer w;

	(void)state;
	open_writer(&w, dir);
	write_messages(&w, 100);
	assert_int_equal(linkat(dir, FIRST, dir, "00000000000000000100.log", 0), 0);
	rig_ring_put(&w.rig, 1, 0, 200);
	log_file_offer(w.log, w.rig.head);
	while (!strstr(log_file_why(w.log), "File exists")) {
		log_file_run(w.log, bus_monotonic_ns());
		io_poll(w.io, 1);
		assert_true(bus_monotonic_ns() - begun < UINT64_C(20000000000));
	}
	assert_true(exists("00000000000000000100.log"));
	assert_false(exists("00000000000000000100.log.bad"));
	assert_int_equal(unlinkat(dir, "00000000000000000100.log", 0), 0);
	write_messages(&w, 1);
	stop_writer(&w);
	assert_int_equal(content().messages, 102);
	close_writer(&w);
}

/* Put aside by people: its numbers are its own for ever, and should it come back it is there. */
static void what_was_put_aside_keeps_its_numbers(void **state)
{
	struct writer w;

	(void)state;
	two_segments(&w);
	assert_int_equal(renameat(dir, SECOND, dir, SECOND ".bad.1"), 0);
	start_writer(&w);
	assert_int_equal(w.rec.end_seq, MESSAGES);
	assert_int_equal(w.rec.strangers, 0);
	assert_true(w.start.seq >= 114 + 100 + WRITER_SLOTS);
	write_messages(&w, 10);
	stop_writer(&w);
	assert_true(content().missing >= MESSAGES);
	assert_int_equal(renameat(dir, SECOND ".bad.1", dir, SECOND), 0);
	assert_whole(2 * MESSAGES + 10);
	close_writer(&w);
}

/* One that says itself that it is of another stream: no number of it is missing. */
static void what_is_of_others_is_not_missed(void **state)
{
	uint8_t uuid[LOG_UUID_BYTES];
	struct writer w;

	(void)state;
	two_segments(&w);
	assert_int_equal(renameat(dir, SECOND, dir, SECOND ".bad"), 0);
	memcpy(uuid, w.rec.uuid, sizeof(uuid));
	change_uuid(SECOND ".bad");
	start_writer(&w);
	assert_memory_equal(uuid, w.rec.uuid, sizeof(uuid));
	assert_true(w.start.seq >= 114 + 100 + WRITER_SLOTS);
	assert_int_equal(w.start.prev_end, MESSAGES);
	write_messages(&w, 10);
	stop_writer(&w);
	assert_int_equal(content().missing, 0);
	close_writer(&w);
}

/* As busd's, but for what is not of interest. */
static void write_settings(const uint8_t *uuid)
{
	const int fd = openat(dir, LOG_SETTINGS_NAME, O_RDWR | O_CREAT | O_TRUNC, 0600);
	char text[256];
	int len = snprintf(text, sizeof(text), "busd-stream 1\ntopic t\nuuid ");

	for (int i = 0; i < LOG_UUID_BYTES; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%02x", uuid[i]);
	len += snprintf(text + len, sizeof(text) - (size_t)len, "\nsync batch\n");
	len += snprintf(text + len, sizeof(text) - (size_t)len, "crc32c %08x\n",
			crc32c(text, (size_t)len));
	assert_int_equal(write(fd, text, (size_t)len), len);
	close(fd);
}

/* Whose log it is says the stream, and not most of the files in its directory. */
static void strangers_may_be_many(void **state)
{
	struct why why = { "" };
	struct writer w;

	(void)state;
	two_segments(&w);
	start_writer(&w);
	write_messages(&w, 10);
	stop_writer(&w);
	write_settings(w.rec.uuid);
	change_uuid(SECOND);
	change_uuid("00000000000000000228.log");
	/* want of a descriptor makes nobody ask the files instead */
	fall_ill(LOG_SETTINGS_NAME, EMFILE, 1);
	assert_int_equal(try_start(&w, &why), -EMFILE);
	assert_non_null(strstr(why.text, LOG_SETTINGS_NAME));
	start_writer(&w);
	assert_int_equal(w.rec.oldest_seq, 0);
	assert_int_equal(w.rec.end_seq, MESSAGES);
	assert_int_equal(w.rec.strangers, 2);
	write_messages(&w, 10);
	stop_writer(&w);
	/* all of them: nothing is written there */
	for (uint64_t base = 0; base < RIG_SEQ_MAX; base++) {
		char name[64];

		snprintf(name, sizeof(name), LOG_SEGMENT_NAME, (unsigned long long)base);
		if (exists(name) && base != 114 && base != 228)
			change_uuid(name);
	}
	assert_int_equal(try_start(&w, &why), -ESTALE);
	close_writer(&w);
}

/* ---- who published what ---- */

/* Messages of one publisher; the slot of the last is marked as on disk. Its number. */
static uint32_t by_name(struct writer *w)
{
	struct source *source;
	struct why why = { "" };

	open_writer(w, dir);
	assert_int_equal(sources_add(&w->sources, "a", 1, &source, &why), 0);
	w->src = source->src;
	write_messages(w, MESSAGES);
	for (int i = 0; i < 20; i++) {
		log_file_run(w->log, bus_monotonic_ns());
		io_poll(w->io, 1);
	}
	stop_writer(w);
	return w->src;
}

/* The publisher's last number + 1, by a start; its remark in w->rec. */
static uint64_t last_number(struct writer *w)
{
	struct why why = { "" };
	uint64_t next;

	assert_int_equal(recover_open(&w->rec, w->io, dir, RECOVER_NO_RING, &w->sources,
				      &w->retention, &why),
			 0);
	next = sources_find(&w->sources, "a", 1)->next;
	sources_close(&w->sources);
	retention_free(&w->retention);
	return next;
}

static void change_slot(uint64_t seq, bool sealed)
{
	const int fd = openat(dir, FIRST, O_RDWR);
	const off_t at = LOG_SLOTS_OFF + (off_t)seq * RING_SLOT_BYTES;
	struct log_header header;
	struct log_slot slot;
	uint8_t bytes[200];

	assert_int_equal(pread(fd, &header, sizeof(header), 0), sizeof(header));
	assert_int_equal(pread(fd, &slot, sizeof(slot), at), sizeof(slot));
	assert_int_equal(pread(fd, bytes, sizeof(bytes),
			       (off_t)(header.payload_off + slot.pos - header.base_pos)),
			 sizeof(bytes));
	slot.attrs ^= UINT64_C(1) << 31; /* something that is still to come, and must be understood */
	if (sealed)
		log_rig_seal_slot(header.uuid, &slot, bytes);
	assert_int_equal(pwrite(fd, &slot, sizeof(slot), at), sizeof(slot));
	close(fd);
}

static void last_numbers_are_said_to_be_unsure(void **state)
{
	struct writer w;

	(void)state;
	by_name(&w);
	assert_int_equal(last_number(&w), MESSAGES);
	assert_false(w.rec.sources_incomplete);
	assert_string_equal(w.rec.remark, "");
	/* one that is not for this version is in the log all the same */
	change_slot(MESSAGES - 1, true);
	assert_int_equal(last_number(&w), MESSAGES);
	assert_string_equal(w.rec.remark, "");
	/* a damaged one is not known any more, and that is said */
	change_slot(MESSAGES - 2, false);
	assert_int_equal(last_number(&w), MESSAGES);
	assert_non_null(strstr(w.rec.remark, "taken again"));
	change_slot(MESSAGES - 1, false);
	assert_int_equal(last_number(&w), MESSAGES - 2);
	assert_non_null(strstr(w.rec.remark, "taken again"));
	close_writer(&w);
}

static int open_no_snapshot(struct io *io, int at, const char *name, int flags)
{
	return strstr(name, ".src") ? -EMFILE : io_file_open(io, at, name, flags);
}

/* So are those of a file that is not read. */
static void unread_files_make_them_unsure(void **state)
{
	static struct io_table table;
	struct why why = { "" };
	struct writer w;

	(void)state;
	by_name(&w);
	start_writer(&w);
	w.rig.src_next[w.src] = MESSAGES;
	write_messages(&w, MESSAGES);
	stop_writer(&w);
	assert_int_equal(last_number(&w), 2 * MESSAGES);
	fall_ill(SECOND, EIO, -1);
	assert_int_equal(last_number(&w), MESSAGES);
	assert_non_null(strstr(w.rec.remark, "taken again"));
	fall_ill(NULL, 0, 0);
	/* nor does want of a descriptor make a snapshot one that is not there */
	table = *w.io->table;
	table.open = open_no_snapshot;
	w.io->table = &table;
	assert_int_equal(try_start(&w, &why), -EMFILE);
	close_writer(&w);
}

/* ---- under other names ---- */

static void exchange(const char *a, const char *b)
{
	assert_int_equal(renameat2(dir, a, dir, b, RENAME_EXCHANGE), 0);
}

static uint64_t base_of(const char *name)
{
	struct log_segment seg;
	const int fd = openat(dir, name, O_RDONLY);
	uint64_t base;

	assert_int_equal(log_segment_open(&seg, fd, NULL, NULL), 0);
	base = seg.header.base_seq;
	log_segment_close(&seg);
	return base;
}

/* What the last one does not hold goes from its file, and not from the one that has its name. */
static void exchanged_names_cost_nothing(void **state)
{
	struct writer w;

	(void)state;
	two_segments(&w);
	exchange(FIRST, SECOND);
	start_writer(&w);
	assert_int_equal(w.rec.misnamed, 2);
	assert_non_null(strstr(w.rec.remark, "bus-fsck"));
	write_messages(&w, 1);
	assert_true(recover_give_back(&w.rec, w.io, dir, RECOVER_NO_RING) > 0);
	assert_int_equal(content().messages, 2 * MESSAGES + 1);
	/* exchanged again, since */
	exchange(FIRST, SECOND);
	assert_int_equal(recover_give_back(&w.rec, w.io, dir, RECOVER_NO_RING), -ESTALE);
	assert_int_equal(content().messages, 2 * MESSAGES + 1);
	/* the oldest goes by the name that it was found under, and only if that is still its own */
	assert_int_equal(w.retention.segments[0].named, 114);
	assert_int_equal(retention_apply(&w.retention, w.io, dir, 1), 0);
	assert_true(exists(FIRST) && exists(SECOND));
	assert_int_equal(w.retention.count, 1);
	stop_writer(&w);
	exchange(FIRST, SECOND);
	start_writer(&w);
	assert_int_equal(retention_apply(&w.retention, w.io, dir, 1), 0);
	assert_int_equal(base_of(FIRST), 114);
	assert_false(exists(SECOND));
	stop_writer(&w);
	close_writer(&w);
}

/* One without a message is replaced by name: not where that is another one's. */
static void exchanged_names_are_not_replaced(void **state)
{
	const uint64_t begun = bus_monotonic_ns();
	struct writer w;

	(void)state;
	open_writer(&w, dir);
	write_messages(&w, MESSAGES);
	stop_writer(&w);
	start_writer(&w);
	begin_segment(&w, SECOND);
	stop_writer(&w);
	exchange(FIRST, SECOND);
	start_writer_at_ring(&w);
	while (!strstr(log_file_why(w.log), "File exists")) {
		log_file_run(w.log, bus_monotonic_ns());
		io_poll(w.io, 1);
		assert_true(bus_monotonic_ns() - begun < UINT64_C(20000000000));
	}
	stop_writer(&w);
	assert_int_equal(content().messages, MESSAGES);
	close_writer(&w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_passing_want_is_no_damage),
		TEST(each_opening_counts),
		TEST(an_end_is_read_again),
		TEST(what_is_readable_again_is_there),
		TEST(the_first_is_readable_again),
		TEST(a_taken_name_holds_nobody_up),
		TEST(a_name_that_counts_is_left),
		TEST(what_was_put_aside_keeps_its_numbers),
		TEST(what_is_of_others_is_not_missed),
		TEST(strangers_may_be_many),
		TEST(last_numbers_are_said_to_be_unsure),
		TEST(unread_files_make_them_unsure),
		TEST(exchanged_names_cost_nothing),
		TEST(exchanged_names_are_not_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
