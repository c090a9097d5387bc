/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: a log is read to the byte; what is damaged, missing, declared or not readable is told with its
 * bounds and its reason, and everything else is given; a number and a time are found; a log may grow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log_rig.h"
#include "os/log_read.h"

static char where[256];
static struct log_rig rig;

/* Message n is n % 90 + n / 7 % 3 x 100 bytes of its own, with a key where n % 5 is 0. */
static uint32_t make(uint64_t n, uint8_t *head, uint32_t *head_len, uint8_t *data)
{
	uint32_t len = (uint32_t)(n % 90 + n / 7 % 3 * 100);

	memset(head, 0, 16);
	*head_len = n % 5 == 0 ? 16 : 0;
	if (*head_len)
		memcpy(head, &n, 8);
	for (uint32_t i = 0; i < len; i++)
		data[i] = (uint8_t)(n * 31 + i);
	return len;
}

static void put(unsigned count)
{
	uint8_t head[16], data[400];
	struct log_rig_message msg = { .head = head, .data = data };

	while (count-- > 0) {
		msg.len = make(rig.seq, head, &msg.head_len, data);
		msg.key_len = msg.head_len ? 8 : 0;
		log_rig_put_with(&rig, &msg);
	}
}

static void check_message(const struct log_message *m, uint64_t seq)
{
	uint8_t head[16], data[400];
	uint32_t head_len, len = make(seq, head, &head_len, data);

	assert_int_equal(m->seq, seq);
	assert_int_equal(m->len, len);
	assert_int_equal(m->head_len, head_len);
	assert_int_equal(m->key_len, head_len ? 8 : 0);
	assert_memory_equal(m->head, head, head_len);
	if (len)
		assert_memory_equal(m->data, data, len);
}

static int begin(void **state)
{
	(void)state;
	log_rig_temporary(where, sizeof(where));
	log_rig_begin(&rig, where, 128, 32768);
	return 0;
}

static int end(void **state)
{
	(void)state;
	log_rig_remove(where);
	return 0;
}

static struct log_dir open_dir(log_pread_fn *read)
{
	int fd = open(where, O_RDONLY | O_DIRECTORY);
	struct log_dir dir;

	assert_true(fd >= 0);
	assert_int_equal(log_dir_open(&dir, fd, NULL, read), 0);
	close(fd);
	return dir;
}

/*
 * Reads on and writes down what came, as "0-99 BAD_SLOT:100-100 101-199 end": messages are checked. Returns a
 * static text.
 */
static const char *story_of(struct log_reader *rd, int max)
{
	static const char *const names[] = {
		[LOG_UNWRITTEN] = "UNWRITTEN",
		[LOG_UNREADABLE] = "UNREADABLE",
		[LOG_CUT] = "CUT",
		[LOG_BAD_SLOT] = "BAD_SLOT",
		[LOG_BAD_BODY] = "BAD_BODY",
		[LOG_UNSUPPORTED] = "UNSUPPORTED",
		[LOG_HOLE] = "HOLE",
		[LOG_MISSING] = "MISSING",
		[LOG_BROKEN] = "BROKEN",
		[LOG_GONE] = "GONE",
		[LOG_LIMIT] = "LIMIT",
	};
	static char text[4096];
	uint64_t from = 0, to = 0;
	size_t at = 0;
	int step;

	text[0] = 0;
	do {
		step = log_reader_step(rd, max);
		assert_true(step >= 0);
		for (int i = 0; step == LOG_STEP_MESSAGES && i < rd->count; i++) {
			check_message(&rd->msgs[i], rd->msgs[i].seq);
			if (from == to)
				from = to = rd->msgs[i].seq;
			assert_int_equal(rd->msgs[i].seq, to);
			to++;
		}
		if (step != LOG_STEP_MESSAGES && from != to) {
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%llu-%llu ",
					       (unsigned long long)from, (unsigned long long)to - 1);
			from = to;
		}
		if (step == LOG_STEP_GAP && rd->gap.to == LOG_OPEN_END)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s:%llu- ",
					       names[rd->gap.why], (unsigned long long)rd->gap.from);
		else if (step == LOG_STEP_GAP)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s:%llu-%llu ",
					       names[rd->gap.why], (unsigned long long)rd->gap.from,
					       (unsigned long long)rd->gap.to - 1);
		assert_true(at < sizeof(text) - 100);
	} while (step != LOG_STEP_END);
	snprintf(text + at, sizeof(text) - at, "%s", names[rd->tail]);
	return text;
}

/* From the oldest to the end, in batches of several sizes, which must not matter. */
static const char *story_through(log_pread_fn *read)
{
	static char first[4096];
	const int sizes[] = { LOG_BATCH, 1, 7 };

	for (size_t i = 0; i < BUS_ARRAY_LEN(sizes); i++) {
		struct log_dir dir = open_dir(read);
		struct log_reader rd;
		const char *text;

		assert_int_equal(log_reader_open(&rd, &dir), 0);
		text = story_of(&rd, sizes[i]);
		if (i == 0)
			strcpy(first, text);
		assert_string_equal(text, first);
		log_reader_close(&rd);
		log_dir_close(&dir);
	}
	return first;
}

static void whole(void **state)
{
	(void)state;
	assert_string_equal(story_through(NULL), "UNWRITTEN");
	put(1);
	assert_string_equal(story_through(NULL), "0-0 UNWRITTEN");
	put(499);
	log_rig_end(&rig);
	assert_string_equal(story_through(NULL), "0-499 UNWRITTEN");
}

/* A message larger than what is read at once, in a segment that it fills; and none in an empty log. */
static void large(void **state)
{
	static uint8_t big[3 << 20];
	struct log_dir dir;
	struct log_reader rd;
	struct log_rig other;
	char path[300];

	(void)state;
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * i >> 5);
	snprintf(path, sizeof(path), "%s/large", where);
	log_rig_begin(&other, path, 16, 3 << 20);
	log_rig_put(&other, big, sizeof(big));
	log_rig_put(&other, "", 0);
	log_rig_put(&other, big, 5);
	log_rig_put(&other, big, 1 << 20);
	log_rig_end(&other);
	snprintf(where + strlen(where), sizeof(where) - strlen(where), "/large");
	dir = open_dir(NULL);
	*strrchr(where, '/') = 0;
	assert_int_equal(log_reader_open(&rd, &dir), 0);
	for (uint64_t seq = 0; seq < 4;) {
		static const uint32_t lens[] = { sizeof(big), 0, 5, 1 << 20 };

		assert_int_equal(log_reader_step(&rd, 100), LOG_STEP_MESSAGES);
		for (int i = 0; i < rd.count; i++, seq++) {
			assert_int_equal(rd.msgs[i].seq, seq);
			assert_int_equal(rd.msgs[i].len, lens[seq]);
			assert_memory_equal(rd.msgs[i].data, big, lens[seq]);
		}
	}
	assert_int_equal(log_reader_step(&rd, 100), LOG_STEP_END);
	log_reader_close(&rd);
	log_dir_close(&dir);
}

static void damage(void **state)
{
	struct log_slot slot;
	uint64_t base = 0;
	const char *path;

	(void)state;
	put(100);
	log_rig_mark(&rig);
	put(10);
	path = log_rig_path(&rig, base);
	assert_string_equal(story_through(NULL), "0-109 UNWRITTEN");
	/* a slot */
	log_rig_flip(path, log_rig_slot_off(&rig, base, 20) * 8 + 17);
	assert_string_equal(story_through(NULL), "0-19 BAD_SLOT:20-20 21-109 UNWRITTEN");
	/* a neighbour in the same way: one gap; then another, for another reason */
	log_rig_flip(path, log_rig_slot_off(&rig, base, 21) * 8 + 9 * 8);
	log_rig_read(path, log_rig_slot_off(&rig, base, 22), &slot, sizeof(slot));
	log_rig_flip(path, (rig.header.payload_off + slot.pos) * 8);
	assert_string_equal(story_through(NULL),
			    "0-19 BAD_SLOT:20-21 BAD_BODY:22-22 23-109 UNWRITTEN");
	/* the head of one with a key counts to the slot */
	log_rig_read(path, log_rig_slot_off(&rig, base, 30), &slot, sizeof(slot));
	log_rig_flip(path, (rig.header.payload_off + slot.pos + 15) * 8);
	/* beyond the mark it is the end */
	log_rig_flip(path, log_rig_slot_off(&rig, base, 105) * 8 + 17);
	assert_string_equal(story_through(NULL),
			    "0-19 BAD_SLOT:20-21 BAD_BODY:22-22 23-29 BAD_SLOT:30-30 31-104 BAD_SLOT");
	/* a slot that was never written, below the mark */
	memset(&slot, 0, sizeof(slot));
	log_rig_write(path, log_rig_slot_off(&rig, base, 50), &slot, sizeof(slot));
	log_rig_write(path, log_rig_slot_off(&rig, base, 51), &slot, sizeof(slot));
	assert_string_equal(story_through(NULL),
			    "0-19 BAD_SLOT:20-21 BAD_BODY:22-22 23-29 BAD_SLOT:30-30 31-49 "
			    "UNWRITTEN:50-51 52-104 BAD_SLOT");
	/* with a next segment, all of it should have been there */
	log_rig_roll(&rig, 0);
	put(3);
	assert_string_equal(story_through(NULL),
			    "0-19 BAD_SLOT:20-21 BAD_BODY:22-22 23-29 BAD_SLOT:30-30 31-49 "
			    "UNWRITTEN:50-51 52-104 BAD_SLOT:105-105 106-112 UNWRITTEN");
	/* even where its own marks do not say so */
	for (uint64_t i = 0; i < LOG_MARKS * LOG_MARK_BYTES; i += sizeof(slot)) {
		memset(&slot, 0, sizeof(slot));
		log_rig_write(log_rig_path(&rig, 0), LOG_MARKS_OFF + i, &slot, sizeof(slot));
	}
	assert_string_equal(story_through(NULL),
			    "0-19 BAD_SLOT:20-21 BAD_BODY:22-22 23-29 BAD_SLOT:30-30 31-49 "
			    "UNWRITTEN:50-51 52-104 BAD_SLOT:105-105 106-112 UNWRITTEN");
}

/* What a writer never writes, with right checksums: numbers that lead out of the file, or nowhere. */
static void slots(void **state)
{
	struct log_slot good, s;
	uint8_t bytes[512];
	uint64_t off;

	(void)state;
	put(40);
	log_rig_mark(&rig);
	off = log_rig_slot_off(&rig, 0, 21); /* without a head */
	log_rig_read(log_rig_path(&rig, 0), off, &good, sizeof(good));
	log_rig_read(log_rig_path(&rig, 0), rig.header.payload_off + good.pos, bytes, sizeof(bytes));
#define TRY(field, value) \
	do { \
		s = good; \
		s.field = (value); \
		if ((uint32_t)s.lens <= sizeof(bytes) && (uint16_t)(s.lens >> 32) == 0) \
			log_rig_seal_slot(rig.uuid, &s, bytes); \
		log_rig_write(log_rig_path(&rig, 0), off, &s, sizeof(s)); \
		assert_string_equal(story_through(NULL), "0-20 BAD_SLOT:21-21 22-39 UNWRITTEN"); \
	} while (0)
	TRY(commit, 0);
	TRY(commit, 21);
	TRY(commit, UINT64_MAX);
	TRY(pos, good.pos + 16);
	TRY(pos, rig.header.bytes);
	TRY(lens, ring_pack_lens((uint32_t)rig.header.bytes, 0, 0));
	TRY(pos, UINT64_MAX - 63);
	TRY(lens, ring_pack_lens(UINT32_MAX, 0, 0));
	TRY(lens, ring_pack_lens((uint32_t)good.lens, 0, 1));
	TRY(lens, ring_pack_lens((uint32_t)good.lens, 0, 0) ^ UINT64_C(3) << 56);
	TRY(lens, ring_pack_lens(8, 24, 0));
	TRY(attrs, RING_FLAG_INLINE);
	TRY(zero, 1);
#undef TRY
	/* below the segment's own positions */
	log_rig_roll(&rig, 0);
	put(10);
	log_rig_mark(&rig);
	log_rig_read(log_rig_path(&rig, 40), LOG_SLOTS_OFF, &s, sizeof(s));
	s.pos = 0;
	log_rig_seal_slot(rig.uuid, &s, bytes);
	log_rig_write(log_rig_path(&rig, 40), LOG_SLOTS_OFF, &s, sizeof(s));
	assert_string_equal(story_through(NULL),
			    "0-20 BAD_SLOT:21-21 22-39 BAD_SLOT:40-40 41-49 UNWRITTEN");
}

/* Another message's slot, another position's payload, with checksums that are right there. */
static void recycled(void **state)
{
	struct log_slot slot, next;
	const char *path = log_rig_path(&rig, 0);
	uint8_t bytes[64];

	(void)state;
	put(100);
	log_rig_mark(&rig);
	log_rig_read(path, log_rig_slot_off(&rig, 0, 40), &slot, sizeof(slot));
	log_rig_write(path, log_rig_slot_off(&rig, 0, 41), &slot, sizeof(slot));
	/* 61 and 62 have no head; let 62 have the bytes of 61, with the checksum it would have there */
	log_rig_read(path, log_rig_slot_off(&rig, 0, 61), &slot, sizeof(slot));
	log_rig_read(path, log_rig_slot_off(&rig, 0, 62), &next, sizeof(next));
	log_rig_read(path, rig.header.payload_off + slot.pos, bytes, sizeof(bytes));
	log_rig_write(path, rig.header.payload_off + next.pos, bytes, sizeof(bytes));
	assert_string_equal(story_through(NULL),
			    "0-40 BAD_SLOT:41-41 42-61 BAD_BODY:62-62 63-99 UNWRITTEN");
}

static void hole(void **state)
{
	(void)state;
	put(50);
	log_rig_roll(&rig, 1000);
	assert_string_equal(story_through(NULL), "0-49 HOLE:50-1049 UNWRITTEN");
	put(10);
	assert_string_equal(story_through(NULL), "0-49 HOLE:50-1049 1050-1059 UNWRITTEN");
}

/* What a former writer wrote late, beyond the next segment's beginning, does not count. */
static void late_write(void **state)
{
	struct log_rig zombie;

	(void)state;
	put(50);
	zombie = rig;
	zombie.fd = open(log_rig_path(&rig, 0), O_RDWR);
	log_rig_roll(&rig, 20);
	put(5);
	zombie.src = 99;
	rig.src = 1;
	for (int i = 0; i < 30; i++)
		log_rig_put(&zombie, "late", 4);
	close(zombie.fd);
	assert_string_equal(story_through(NULL), "0-49 HOLE:50-69 70-74 UNWRITTEN");
}

static void files(void **state)
{
	struct log_dir dir;
	char a[320], b[320];

	(void)state;
	for (int i = 0; i < 5; i++) {
		put(20);
		log_rig_roll(&rig, 0);
	}
	put(20);
	log_rig_end(&rig);
	assert_string_equal(story_through(NULL), "0-119 UNWRITTEN");
	/* two whose names were swapped are still where they belong */
	snprintf(a, sizeof(a), "%s", log_rig_path(&rig, 20));
	snprintf(b, sizeof(b), "%s", log_rig_path(&rig, 40));
	rename(a, log_rig_path(&rig, 7));
	rename(b, a);
	rename(log_rig_path(&rig, 7), b);
	assert_string_equal(story_through(NULL), "0-119 UNWRITTEN");
	/* a copy under another number */
	assert_int_equal(link(log_rig_path(&rig, 60), log_rig_path(&rig, 61)), 0);
	assert_string_equal(story_through(NULL), "0-119 UNWRITTEN");
	dir = open_dir(NULL);
	assert_int_equal(dir.segments, 6);
	assert_int_equal(dir.count, 7);
	assert_int_equal(dir.entries[6].kind, LOG_KIND_DOUBLE);
	assert_string_equal(dir.entries[6].name, "00000000000000000061.log");
	log_dir_close(&dir);
	/* one away */
	rename(b, log_rig_path(&rig, 7));
	assert_string_equal(story_through(NULL), "0-119 UNWRITTEN");
	unlink(log_rig_path(&rig, 7)); /* that with 20 to 39 */
	assert_string_equal(story_through(NULL), "0-19 MISSING:20-39 40-119 UNWRITTEN");
	/* one that is none any more */
	log_rig_write(log_rig_path(&rig, 80), 0, a, 300);
	assert_string_equal(story_through(NULL), "0-19 MISSING:20-39 40-119 UNWRITTEN");
	log_rig_write(log_rig_path(&rig, 80), LOG_COPY_OFF, a, 300);
	assert_string_equal(story_through(NULL),
			    "0-19 MISSING:20-39 40-79 BROKEN:80-99 100-119 UNWRITTEN");
	/* the last one */
	log_rig_write(log_rig_path(&rig, 100), 0, a, 300);
	log_rig_write(log_rig_path(&rig, 100), LOG_COPY_OFF, a, 300);
	assert_string_equal(story_through(NULL), "0-19 MISSING:20-39 40-79 BROKEN:80- BROKEN");
	/* the first one: retention, or what is broken */
	log_rig_write(log_rig_path(&rig, 0), 0, a, 300);
	log_rig_write(log_rig_path(&rig, 0), LOG_COPY_OFF, a, 300);
	assert_string_equal(story_through(NULL), "BROKEN:0-39 40-79 BROKEN:80- BROKEN");
	unlink(log_rig_path(&rig, 0));
	assert_string_equal(story_through(NULL), "40-79 BROKEN:80- BROKEN");
}

/* A segment of another stream under a name of this one. */
static void stranger(void **state)
{
	struct log_rig other;
	char path[300], from[320];

	(void)state;
	for (int i = 0; i < 3; i++) {
		put(20);
		log_rig_roll(&rig, 0);
	}
	log_rig_end(&rig);
	snprintf(path, sizeof(path), "%s/other", where);
	log_rig_begin_at(&other, path, 128, 32768, 20, 4096);
	snprintf(from, sizeof(from), "%s", log_rig_path(&other, 20));
	other.uuid[3] ^= 1;
	other.header.uuid[3] ^= 1;
	log_rig_seal_header(&other.header);
	log_rig_write(from, 0, &other.header, sizeof(other.header));
	log_rig_write(from, LOG_COPY_OFF, &other.header, sizeof(other.header));
	for (int i = 0; i < 20; i++)
		log_rig_put(&other, "stranger", 8);
	log_rig_end(&other);
	rename(from, log_rig_path(&rig, 20));
	assert_string_equal(story_through(NULL), "0-19 BROKEN:20-39 40-59 UNWRITTEN");
}

static void cut(void **state)
{
	struct log_slot slot;
	uint64_t off;

	(void)state;
	put(40);
	log_rig_roll(&rig, 0);
	put(40);
	log_rig_end(&rig);
	log_rig_read(log_rig_path(&rig, 0), log_rig_slot_off(&rig, 0, 30), &slot, sizeof(slot));
	off = rig.header.payload_off + slot.pos;
	assert_int_equal(truncate(log_rig_path(&rig, 0), (off_t)off + 1), 0);
	assert_string_equal(story_through(NULL), "0-29 CUT:30-39 40-79 UNWRITTEN");
	assert_int_equal(truncate(log_rig_path(&rig, 0), LOG_SLOTS_OFF + 64 * 10 + 5), 0);
	/* payload is gone with what lies before it */
	assert_string_equal(story_through(NULL), "CUT:0-39 40-79 UNWRITTEN");
	assert_int_equal(truncate(log_rig_path(&rig, 0), LOG_COPY_OFF), 0);
	assert_string_equal(story_through(NULL), "CUT:0-39 40-79 UNWRITTEN");
	assert_int_equal(truncate(log_rig_path(&rig, 0), 100), 0);
	assert_string_equal(story_through(NULL), "BROKEN:0-39 40-79 UNWRITTEN");
	assert_int_equal(truncate(log_rig_path(&rig, 0), 0), 0);
	assert_string_equal(story_through(NULL), "BROKEN:0-39 40-79 UNWRITTEN");
}

/* ---- a disk that cannot read some of it ---- */

static uint64_t bad_from, bad_to;

static ssize_t bad_disk(int fd, void *buf, size_t size, off_t at)
{
	static unsigned calls;

	if ((uint64_t)at < bad_to && (uint64_t)at + size > bad_from) {
		errno = EIO;
		return -1;
	}
	if (++calls % 3 == 0) {
		errno = EINTR;
		return -1;
	}
	/* and gives little at a time */
	return pread(fd, buf, size > 3000 ? 3000 : size, at);
}

static void disk(void **state)
{
	struct log_slot slot;

	(void)state;
	put(120);
	log_rig_mark(&rig);
	bad_from = bad_to = 0;
	assert_string_equal(story_through(bad_disk), "0-119 UNWRITTEN");
	/* the second page of slots */
	bad_from = LOG_SLOTS_OFF + 4096;
	bad_to = LOG_SLOTS_OFF + 8192;
	assert_string_equal(story_through(bad_disk), "0-63 UNREADABLE:64-119 UNREADABLE");
	/* a page of payload */
	log_rig_read(log_rig_path(&rig, 0), log_rig_slot_off(&rig, 0, 50), &slot, sizeof(slot));
	bad_from = rig.header.payload_off + slot.pos;
	bad_to = bad_from + 1;
	assert_string_equal(story_through(bad_disk), "0-49 UNREADABLE:50-50 51-119 UNWRITTEN");
	/* header, marks, the copy: another does */
	bad_from = 0;
	bad_to = 1;
	assert_string_equal(story_through(bad_disk), "0-119 UNWRITTEN");
	bad_from = LOG_MARKS_OFF;
	bad_to = LOG_MARKS_OFF + LOG_MARK_BYTES;
	assert_string_equal(story_through(bad_disk), "0-119 UNWRITTEN");
	bad_from = 0;
	bad_to = LOG_SLOTS_OFF;
	assert_string_equal(story_through(bad_disk), "BROKEN:0- BROKEN");
}

/* ---- finding ---- */

static void seeks(void **state)
{
	struct log_dir dir;
	struct log_reader rd;

	(void)state;
	put(50);
	log_rig_roll(&rig, 30); /* 50 to 79 do not exist */
	put(300);               /* to 379, over several */
	assert_true(rig.header.index > 2);
	log_rig_end(&rig);
	dir = open_dir(NULL);
	assert_int_equal(log_reader_open(&rd, &dir), 0);
	log_reader_seek(&rd, 370);
	assert_string_equal(story_of(&rd, 100), "370-379 UNWRITTEN");
	log_reader_seek(&rd, 60);
	assert_string_equal(story_of(&rd, 100), "HOLE:60-79 80-379 UNWRITTEN");
	log_reader_seek(&rd, 49);
	assert_string_equal(story_of(&rd, 100), "49-49 HOLE:50-79 80-379 UNWRITTEN");
	assert_int_equal(log_reader_seek_end(&rd), 0);
	assert_int_equal(rd.seq, 380);
	for (uint64_t n = 0; n < 360; n++) {
		assert_int_equal(log_reader_seek_back(&rd, n), 0);
		assert_int_equal(rd.seq, n <= 300 ? 380 - n : n <= 350 ? 350 - n : 0);
	}
	/* message i of those that exist has time LOG_RIG_TIME + 1000 i */
	for (uint64_t i = 0; i <= 351; i++) {
		uint64_t want = i < 50 ? i : i <= 350 ? i + 30 : 380;

		for (int back = 0; back < 2; back++) {
			assert_int_equal(log_reader_seek_time(&rd, LOG_RIG_TIME + 1000 * i -
									   (back ? 500 : 0)),
					 0);
			if (rd.seq != want)
				fail_msg("time of message %d, %s: %d instead of %d", (int)i,
					 back ? "a little before" : "exactly", (int)rd.seq,
					 (int)want);
		}
	}
	log_reader_close(&rd);
	/* the oldest is taken away: who asks for it is told */
	unlink(log_rig_path(&rig, 0));
	log_dir_close(&dir);
	dir = open_dir(NULL);
	assert_int_equal(log_reader_open(&rd, &dir), 0);
	log_reader_seek(&rd, 0);
	assert_string_equal(story_of(&rd, 100), "GONE:0-79 80-379 UNWRITTEN");
	log_reader_close(&rd);
	log_dir_close(&dir);
}

/* A search by time passes over bad slots, and gives what may be meant by them. */
static void time_in_damage(void **state)
{
	struct log_dir dir;
	struct log_reader rd;

	(void)state;
	put(128);
	log_rig_end(&rig);
	for (uint64_t seq = 40; seq < 90; seq++)
		log_rig_flip(log_rig_path(&rig, 0), log_rig_slot_off(&rig, 0, seq) * 8 + 130);
	dir = open_dir(NULL);
	assert_int_equal(log_reader_open(&rd, &dir), 0);
	for (uint64_t i = 0; i <= 128; i++) {
		assert_int_equal(log_reader_seek_time(&rd, LOG_RIG_TIME + 1000 * i), 0);
		assert_int_equal(rd.seq, i < 40 || i > 90 ? i : 40);
	}
	log_reader_close(&rd);
	log_dir_close(&dir);
}

/* ---- a log that is being written ---- */

static void growth(void **state)
{
	struct log_dir dir = open_dir(NULL);
	struct log_reader rd;
	uint8_t zero[64] = { 0 }, kept[64];
	uint64_t off;

	(void)state;
	assert_int_equal(log_reader_open(&rd, &dir), 0);
	assert_string_equal(story_of(&rd, 100), "UNWRITTEN");
	put(10);
	assert_string_equal(story_of(&rd, 100), "0-9 UNWRITTEN");
	/* a slot that is there before its bytes are, then both */
	put(1);
	off = rig.header.payload_off + (rig.pos - 64);
	log_rig_read(log_rig_path(&rig, 0), off, kept, sizeof(kept));
	log_rig_write(log_rig_path(&rig, 0), off, zero, sizeof(zero));
	assert_string_equal(story_of(&rd, 100), "BAD_BODY");
	log_rig_write(log_rig_path(&rig, 0), off, kept, sizeof(kept));
	assert_string_equal(story_of(&rd, 100), "10-10 UNWRITTEN");
	/* the mark says that it is damage after all */
	put(1);
	off = rig.header.payload_off + (rig.pos - 64);
	log_rig_write(log_rig_path(&rig, 0), off, zero, sizeof(zero));
	assert_string_equal(story_of(&rd, 100), "BAD_BODY");
	log_rig_mark(&rig);
	assert_string_equal(story_of(&rd, 100), "BAD_BODY:11-11 UNWRITTEN");
	put(3);
	log_rig_roll(&rig, 0);
	assert_string_equal(story_of(&rd, 100), "12-14 UNWRITTEN");
	put(3);
	assert_string_equal(story_of(&rd, 100), "15-17 UNWRITTEN");
	log_rig_roll(&rig, 100);
	put(300);
	assert_string_equal(story_of(&rd, 100), "HOLE:18-117 118-417 UNWRITTEN");
	/* retention takes the file under the reader, and the next one */
	put(1);
	assert_int_equal(log_reader_step(&rd, 1), LOG_STEP_MESSAGES);
	off = rig.header.base_seq;
	put(2);
	log_rig_roll(&rig, 0);
	put(5);
	log_rig_roll(&rig, 0);
	put(5);
	for (uint64_t base = 0; base < rig.header.base_seq; base++)
		unlink(log_rig_path(&rig, base));
	assert_string_equal(story_of(&rd, 100), "419-420 GONE:421-425 426-430 UNWRITTEN");
	log_reader_close(&rd);
	log_dir_close(&dir);
}

static void tails(void **state)
{
	struct log_buffer buf = { .fd = -1 };
	struct log_tail tail;
	struct log_segment seg;
	struct log_dir dir;

	(void)state;
	put(30);
	log_rig_mark(&rig);
	put(30);
	dir = open_dir(NULL);
	assert_int_equal(log_dir_segment(&dir, 0, &seg), 0);
	assert_int_equal(seg.attested, 30);
	assert_int_equal(log_segment_tail(&seg, &buf, &tail), 0);
	assert_int_equal(tail.seq, 60);
	assert_int_equal(tail.found, 30);
	assert_int_equal(tail.pos, rig.pos);
	assert_int_equal(tail.time, rig.time - 1000);
	assert_int_equal(tail.stop, LOG_UNWRITTEN);
	log_rig_flip(log_rig_path(&rig, 0), log_rig_slot_off(&rig, 0, 45) * 8 + 100);
	assert_int_equal(log_segment_tail(&seg, &buf, &tail), 0);
	assert_int_equal(tail.seq, 45);
	assert_int_equal(tail.stop, LOG_BAD_SLOT);
	log_rig_mark(&rig);
	assert_int_equal(log_segment_refresh(&seg), 1);
	assert_int_equal(log_segment_refresh(&seg), 0);
	assert_int_equal(log_segment_tail(&seg, &buf, &tail), 0);
	assert_int_equal(tail.seq, 60);
	assert_int_equal(tail.found, 0);
	assert_int_equal(tail.time, rig.time - 1000);
	log_segment_close(&seg);
	log_dir_close(&dir);
	log_buffer_free(&buf);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(whole), TEST(large),      TEST(damage),         TEST(slots),    TEST(recycled),
		TEST(hole),  TEST(late_write), TEST(files),          TEST(stranger), TEST(cut),
		TEST(disk),  TEST(seeks),      TEST(time_in_damage), TEST(growth),   TEST(tails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
