/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: whatever single bit of a log flips, wherever a file is cut, whichever sector is replaced by zeros, by
 * another one of this log or of another stream's, whichever file goes or changes its name: exactly the messages
 * that are touched are missing, they are told as a gap, every other one is given to the byte, and
 * bus_log_verify() finds that something is wrong.
 *
 * Without argument: a bit of each byte that means something in a sealed and in the last segment. `log_bitrot full`
 * (make bitrot): each such bit of every file, each length, each sector.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bus_log.h>

#include "lib/log_rig.h"

#define SLOTS    16
#define BYTES    4096
#define SEGMENTS 4
#define EACH     9 /* messages of a segment */
#define COUNT    (SEGMENTS * EACH)
#define SYNCED   (COUNT - 3) /* the last three are not attested */
#define SECTOR   512

static char where[256], others[300];
static struct log_rig rig, other;
static bool full;

static struct place {
	uint64_t base;              /* of its file */
	uint64_t slot, bytes, size; /* offsets in it */
} places[COUNT];

static uint64_t file_size;
static uint8_t *files[SEGMENTS]; /* as they were */

/* ---- the log ---- */

static uint32_t make(uint64_t n, uint8_t *head, uint32_t *head_len, uint8_t *data, uint8_t salt)
{
	uint32_t len = (uint32_t)(n % 4 == 3 ? 0 : 20 + n * 7 % 150);

	*head_len = n % 3 == 0 ? 16 : 0;
	memset(head, 0, 16);
	memcpy(head, &n, sizeof(n));
	for (uint32_t i = 0; i < len; i++)
		data[i] = (uint8_t)(n * 31 + i + salt);
	return len;
}

static void put(struct log_rig *to, uint8_t salt)
{
	uint8_t head[16], data[256];
	struct log_rig_message msg = { .head = head, .data = data, .key_len = 0 };

	msg.len = make(to->seq, head, &msg.head_len, data, salt);
	msg.key_len = msg.head_len ? 8 : 0;
	log_rig_put_with(to, &msg);
}

/* The other stream has the same numbers, positions and sizes, another uuid, and other bytes. */
static void make_other(void)
{
	snprintf(others, sizeof(others), "%s.other", where);
	log_rig_stream = 0x30;
	log_rig_begin(&other, others, SLOTS, BYTES);
	for (size_t i = 0; i < COUNT; i++) {
		if (i > 0 && i % EACH == 0)
			log_rig_roll(&other, 0);
		put(&other, 100);
	}
	log_rig_end(&other);
}

static int begin(void **state)
{
	(void)state;
	log_rig_temporary(where, sizeof(where));
	log_rig_begin(&rig, where, SLOTS, BYTES);
	file_size = rig.header.size;
	for (size_t i = 0; i < COUNT; i++) {
		uint64_t pos;

		if (i > 0 && i % EACH == 0)
			log_rig_roll(&rig, 0);
		if (i == SYNCED)
			log_rig_mark(&rig);
		pos = rig.pos;
		put(&rig, 0);
		places[i].base = rig.header.base_seq;
		places[i].slot = log_rig_slot_off(&rig, rig.header.base_seq, i);
		places[i].bytes = rig.header.payload_off + (pos - rig.header.base_pos);
		places[i].size = (i % 4 == 3 ? 0 : 20 + i * 7 % 150) + (i % 3 == 0 ? 16 : 0);
	}
	close(rig.fd);
	for (size_t f = 0; f < SEGMENTS; f++) {
		files[f] = malloc(file_size);
		log_rig_read(log_rig_path(&rig, f * EACH), 0, files[f], file_size);
	}
	make_other();
	return 0;
}

static int end(void **state)
{
	(void)state;
	log_rig_remove(where);
	log_rig_remove(others);
	for (size_t f = 0; f < SEGMENTS; f++)
		free(files[f]);
	return 0;
}

static void mend(size_t f)
{
	log_rig_write(log_rig_path(&rig, f * EACH), 0, files[f], file_size);
}

static int mend_all(void **state)
{
	(void)state;
	for (size_t f = 0; f < SEGMENTS; f++)
		mend(f);
	return 0;
}

/* ---- what a reader makes of it ---- */

static struct seen {
	bool given[COUNT], told[COUNT];
	uint64_t end; /* behind the last number given or told */
	unsigned findings, notes;
} seen;

static void see_message(const struct bus_msg *m)
{
	uint8_t head[16], data[256];
	uint32_t head_len, len;

	assert_true(m->seq < COUNT);
	assert_true(m->seq >= seen.end);
	len = make(m->seq, head, &head_len, data, 0);
	assert_int_equal(m->len, len);
	assert_memory_equal(m->data, data, len);
	assert_int_equal(m->key_len, head_len ? 8 : 0);
	if (head_len)
		assert_memory_equal(m->key, head, 8);
	seen.given[m->seq] = true;
	seen.end = m->seq + 1;
}

static void look(void)
{
	struct bus_log_finding f;
	struct bus_log_gap gap;
	struct bus_msg m[7];
	struct bus_log *log;
	int n;

	memset(&seen, 0, sizeof(seen));
	if (bus_log_open(&log, where, NULL) < 0)
		fail_msg("%s", bus_why(NULL));
	do {
		uint32_t at = 0;

		n = bus_log_next(log, m, 7);
		assert_true(n >= 0);
		while (bus_log_gap_next(log, &at, &gap)) {
			assert_true(gap.from >= seen.end && gap.from < gap.to);
			for (uint64_t i = gap.from; i < gap.to && i < COUNT; i++)
				seen.told[i] = true;
			seen.end = gap.to;
		}
		for (int i = 0; i < n; i++)
			see_message(&m[i]);
	} while (n > 0);
	while ((n = bus_log_verify(log, &f)) == 1) {
		seen.findings += f.kind < BUS_LOG_NOTE;
		seen.notes += f.kind == BUS_LOG_NOTE;
	}
	assert_int_equal(n, 0);
	bus_log_close(log);
}

/*
 * touched[]: what may be missing, and must be. Each missing one is told, unless the log ends before it. `how`
 * and where are for who reads the failure.
 */
static void expect(const bool *touched, const char *how, size_t f, uint64_t at)
{
	for (uint64_t i = 0; i < COUNT; i++) {
		bool is_end = i >= seen.end;

		if (seen.given[i] == touched[i])
			fail_msg("%s of file %zu at %llu: message %llu is %s", how, f,
				 (unsigned long long)at, (unsigned long long)i,
				 touched[i] ? "given" : "missing");
		if (!seen.given[i] && !seen.told[i] && !(is_end && i / EACH == SEGMENTS - 1))
			fail_msg("%s of file %zu at %llu: message %llu is not told to be missing",
				 how, f, (unsigned long long)at, (unsigned long long)i);
	}
}

static void expect_found(bool wanted, const char *how, size_t f, uint64_t at)
{
	if (wanted && seen.findings + seen.notes == 0)
		fail_msg("%s of file %zu at %llu: not found", how, f, (unsigned long long)at);
}

/* The messages that have a byte in [from, to) of file f; what follows in an unsynced tail goes with them. */
static bool touch(bool *touched, size_t f, uint64_t from, uint64_t to)
{
	bool any = false;

	for (uint64_t i = f * EACH; i < (f + 1) * EACH; i++) {
		const struct place *p = &places[i];

		if ((p->slot < to && p->slot + 64 > from) ||
		    (p->size > 0 && p->bytes < to && p->bytes + p->size > from))
			touched[i] = any = true;
		else if (i > SYNCED && touched[i - 1])
			touched[i] = true;
	}
	return any;
}

/* Whether byte `at` of a file is within something that a checksum covers, or that must be zeros. */
static bool covered(size_t f, uint64_t at)
{
	bool touched[COUNT] = { false };

	if (at < sizeof(struct log_header))
		return true;
	if (at >= LOG_MARKS_OFF && at < LOG_COPY_OFF + sizeof(struct log_header))
		return true;
	return touch(touched, f, at, at + 1);
}

/* ---- suites ---- */

static void untouched(void **state)
{
	bool none[COUNT] = { false };

	(void)state;
	look();
	expect(none, "nothing", 0, 0);
	assert_int_equal(seen.findings, 0);
	assert_int_equal(seen.notes, 0);
}

static void each_bit(void **state)
{
	uint64_t flips = 0;

	(void)state;
	for (size_t f = full ? 0 : SEGMENTS - 2; f < SEGMENTS; f++) {
		const char *path = log_rig_path(&rig, f * EACH);

		for (uint64_t bit = 0; bit < file_size * 8; bit++) {
			bool touched[COUNT] = { false };
			bool means = covered(f, bit / 8);

			/* else one bit of each byte that means something; of the rest some */
			if (full ? !means && bit % 11 != 0
				 : (!means && bit % 1009 != 0) || bit % 8 != bit / 8 % 8)
				continue;
			log_rig_flip(path, bit);
			look();
			touch(touched, f, bit / 8, bit / 8 + 1);
			expect(touched, "bit", f, bit);
			expect_found(means, "bit", f, bit);
			log_rig_flip(path, bit);
			flips++;
		}
	}
	print_message("%llu bits\n", (unsigned long long)flips);
	untouched(state);
}

static void each_length(void **state)
{
	uint64_t step = full ? 1 : 37;

	(void)state;
	for (size_t f = 0; f < SEGMENTS; f++) {
		char path[320];

		snprintf(path, sizeof(path), "%s", log_rig_path(&rig, f * EACH));
		for (uint64_t size = 0; size < file_size; size += step) {
			bool touched[COUNT] = { false };

			assert_int_equal(truncate(path, (off_t)size), 0);
			look();
			touch(touched, f, size, file_size);
			/* without the mark nothing says that what is missing was ever there */
			if (f == SEGMENTS - 1 && size < LOG_MARKS_OFF + sizeof(struct log_mark))
				for (size_t i = f * EACH; i < COUNT; i++)
					touched[i] = true;
			expect(touched, "length", f, size);
			expect_found(true, "length", f, size);
			mend(f);
		}
	}
	untouched(state);
}

static void replace(size_t f, uint64_t sector, const uint8_t *with, const char *how)
{
	uint64_t at = sector * SECTOR;
	bool touched[COUNT] = { false };

	if (memcmp(files[f] + at, with, SECTOR) == 0)
		return;
	log_rig_write(log_rig_path(&rig, f * EACH), at, with, SECTOR);
	look();
	touch(touched, f, at, at + SECTOR);
	/* of several messages in the sector some may be the same in both: those that are given are whole */
	for (size_t i = 0; i < COUNT; i++)
		touched[i] = touched[i] && !seen.given[i];
	for (size_t i = SYNCED; i < COUNT; i++)
		if (f == SEGMENTS - 1 && !seen.given[i])
			touched[i] = true;
	expect(touched, how, f, at);
	log_rig_write(log_rig_path(&rig, f * EACH), at, files[f] + at, SECTOR);
}

static void each_sector(void **state)
{
	static const uint8_t zeros[SECTOR];
	uint8_t *strange = malloc(file_size);

	(void)state;
	for (size_t f = 0; f < SEGMENTS; f++) {
		log_rig_read(log_rig_path(&other, f * EACH), 0, strange, file_size);
		for (uint64_t s = 0; s < file_size / SECTOR; s++) {
			replace(f, s, zeros, "zeros in a sector");
			replace(f, s, strange + s * SECTOR, "a sector of another stream");
			for (size_t g = 0; g < SEGMENTS; g++)
				replace(f, s, files[g] + s * SECTOR, "a sector of another segment");
			for (uint64_t t = full ? 0 : s; t < file_size / SECTOR; t += full ? 1 : 5)
				replace(f, s, files[f] + t * SECTOR, "another sector");
		}
	}
	free(strange);
	untouched(state);
}

static void whole_files(void **state)
{
	char away[320], path[320];

	(void)state;
	snprintf(away, sizeof(away), "%s.away", where);
	for (size_t f = 0; f < SEGMENTS; f++) {
		bool touched[COUNT] = { false };

		snprintf(path, sizeof(path), "%s", log_rig_path(&rig, f * EACH));
		for (size_t i = f * EACH; i < (f + 1) * EACH; i++)
			touched[i] = true;
		/* deleted: what goes at the beginning is as retention takes it, at the end as if never written */
		assert_int_equal(rename(path, away), 0);
		look();
		if (f == 0)
			for (size_t i = 0; i < EACH; i++)
				seen.told[i] = true;
		expect(touched, "deletion", f, 0);
		expect_found(f > 0 && f < SEGMENTS - 1, "deletion", f, 0);
		assert_int_equal(rename(away, path), 0);
		/* another stream's file in its place */
		{
			uint8_t *strange = malloc(file_size);

			log_rig_read(log_rig_path(&other, f * EACH), 0, strange, file_size);
			log_rig_write(path, 0, strange, file_size);
			free(strange);
		}
		look();
		expect(touched, "a file of another stream", f, 0);
		expect_found(true, "a file of another stream", f, 0);
		mend(f);
		/* swapped with each other one, by name and by content: nothing is lost */
		for (size_t g = 0; g < SEGMENTS; g++) {
			bool none[COUNT] = { false };

			if (g == f)
				continue;
			log_rig_write(path, 0, files[g], file_size);
			log_rig_write(log_rig_path(&rig, g * EACH), 0, files[f], file_size);
			look();
			expect(none, "exchange", f, g);
			expect_found(true, "exchange", f, g);
			mend(g);
			/* only one of them there, twice */
			log_rig_write(path, 0, files[g], file_size);
			look();
			if (f == 0)
				for (size_t i = 0; i < EACH; i++)
					seen.told[i] = true;
			expect(touched, "another segment's copy", f, g);
			expect_found(true, "another segment's copy", f, g);
			mend(f);
		}
	}
	untouched(state);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup(f, mend_all)
	const struct CMUnitTest tests[] = {
		TEST(untouched),   TEST(each_bit),    TEST(each_length),
		TEST(each_sector), TEST(whole_files),
	};

	/* large buffers come from the heap: the kernel need not zero them each time */
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	full = argc > 1 && strcmp(argv[1], "full") == 0;
	return cmocka_run_group_tests(tests, begin, end);
}
