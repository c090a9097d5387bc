/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: bus_log.h gives messages with key, headers and what is lost, tells each gap, checks and names what is
 * wrong, and renames only what it may.
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
#include <sys/file.h>
#include <unistd.h>

#include <bus_log.h>

#include "base/crc32c.h"
#include "lib/log_rig.h"

static char where[256];
static struct log_rig rig;

static int begin(void **state)
{
	(void)state;
	log_rig_temporary(where, sizeof(where));
	log_rig_begin(&rig, where, 64, 8192);
	return 0;
}

static int end(void **state)
{
	(void)state;
	log_rig_remove(where);
	return 0;
}

static const char *settings_path(void)
{
	static char path[300];

	snprintf(path, sizeof(path), "%s/" LOG_SETTINGS_NAME, where);
	return path;
}

static void put(unsigned count)
{
	char text[32];

	while (count-- > 0) {
		int len = snprintf(text, sizeof(text), "message %llu", (unsigned long long)rig.seq);

		log_rig_put(&rig, text, (uint32_t)len);
	}
}

static struct bus_log *open_log(uint32_t flags)
{
	struct bus_log *log;
	int err = bus_log_open(&log, where, BUS_OPTS(log, .flags = flags));

	if (err)
		fail_msg("%s", bus_why(NULL));
	return log;
}

/* "0-9 3:10-12 13-20": messages, and gaps with the number of their reason. What is lost must agree. */
static const char *story_of(struct bus_log *log, int max)
{
	static char text[4096];
	static struct bus_msg msgs[BUS_LOG_BATCH];
	uint64_t from = 0, to = 0;
	size_t at = 0;
	int n;

	text[0] = 0;
	do {
		uint64_t lost = 0;
		struct bus_log_gap gap;
		uint32_t i = 0;

		n = bus_log_next(log, msgs, max);
		assert_true(n >= 0);
		while (bus_log_gap_next(log, &i, &gap)) {
			if (from != to)
				at += (size_t)snprintf(text + at, sizeof(text) - at, "%d-%d ",
						       (int)from, (int)to - 1);
			from = to = 0;
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%d:%d-%d ",
					       (int)gap.why, (int)gap.from, (int)gap.to - 1);
			lost += gap.why != BUS_LOG_HOLE ? gap.to - gap.from : 0;
		}
		for (int k = 0; k < n; k++) {
			char want[32];
			int len = snprintf(want, sizeof(want), "message %llu",
					   (unsigned long long)msgs[k].seq);

			assert_int_equal(msgs[k].len, len);
			assert_memory_equal(msgs[k].data, want, (size_t)len);
			assert_string_equal(msgs[k].topic, "rig.log");
			assert_int_equal(msgs[k].from->id, 1);
			assert_int_equal(msgs[k].lost, k == 0 ? lost : 0);
			if (from == to)
				from = to = msgs[k].seq;
			assert_int_equal(msgs[k].seq, to++);
		}
	} while (n > 0);
	if (from != to)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%d-%d ", (int)from,
				       (int)to - 1);
	text[at ? at - 1 : 0] = 0;
	return text;
}

static void reading(void **state)
{
	struct bus_log_info info;
	struct bus_log *log;

	(void)state;
	put(30);
	log_rig_roll(&rig, 10);
	put(30);
	log_rig_mark(&rig);
	put(5);
	log = open_log(0);
	assert_string_equal(story_of(log, 512), "0-29 8:30-39 40-74");
	assert_int_equal(bus_log_info(log, &info), 0);
	assert_string_equal(info.topic, "rig.log");
	assert_memory_equal(info.uuid, rig.uuid, 16);
	assert_int_equal(info.first_seq, 0);
	assert_int_equal(info.end_seq, 75);
	assert_int_equal(info.synced_seq, 70);
	assert_int_equal(info.messages, 65);
	assert_int_equal(info.segments, 2);
	assert_int_equal(info.others, 0);
	assert_true(info.first_time_ns == LOG_RIG_TIME);
	assert_true(info.last_time_ns == LOG_RIG_TIME + 64 * 1000);
	/* it grows */
	put(3);
	assert_string_equal(story_of(log, 2), "75-77");
	assert_int_equal(bus_log_seek(log, BUS_LOG_BACK, 4), 0);
	assert_string_equal(story_of(log, 512), "74-77");
	assert_int_equal(bus_log_seek(log, BUS_LOG_SEQ, 35), 0);
	assert_string_equal(story_of(log, 512), "8:35-39 40-77");
	assert_int_equal(bus_log_seek(log, BUS_LOG_TIME, LOG_RIG_TIME + 31 * 1000), 0);
	assert_string_equal(story_of(log, 512), "41-77");
	assert_int_equal(bus_log_seek(log, BUS_LOG_OLDEST, 0), 0);
	log_rig_flip(log_rig_path(&rig, 0), log_rig_slot_off(&rig, 0, 7) * 8);
	assert_string_equal(story_of(log, 512), "0-6 5:7-7 8-29 8:30-39 40-77");
	/* several gaps in a row, and what is lost is their sum */
	log_rig_flip(log_rig_path(&rig, 0), (rig.header.payload_off + 8 * 64) * 8);
	log_rig_flip(log_rig_path(&rig, 0), log_rig_slot_off(&rig, 0, 9) * 8);
	assert_int_equal(bus_log_seek(log, BUS_LOG_OLDEST, 0), 0);
	assert_string_equal(story_of(log, 512), "0-6 5:7-7 6:8-8 5:9-9 10-29 8:30-39 40-77");
	assert_int_equal(bus_log_seek(log, 99, 0), -EINVAL);
	bus_log_close(log);
	bus_log_close(NULL);
}

static void heads(void **state)
{
	/* key "k1", header n: "value" */
	static const char head[16] = "k1\1\0\5\0nvalue";
	const struct log_rig_message msg = {
		.head = head, .head_len = 16, .key_len = 2, .data = "x", .len = 1
	};
	const void *value;
	uint32_t value_len;
	struct bus_log *log;
	struct bus_msg m;

	(void)state;
	rig.flags = RING_FLAG_HEADERS;
	log_rig_put_with(&rig, &msg);
	log = open_log(0);
	assert_int_equal(bus_log_next(log, &m, 1), 1);
	assert_int_equal(m.key_len, 2);
	assert_memory_equal(m.key, "k1", 2);
	assert_int_equal(m.key_hash, 0x1234);
	assert_int_equal(bus_msg_header(&m, "n", &value, &value_len), 1);
	assert_int_equal(value_len, 5);
	assert_memory_equal(value, "value", 5);
	assert_int_equal(bus_log_next(log, &m, 1), 0);
	/* one that must be understood and is not, in the midst of others */
	rig.flags = 1u << 30;
	log_rig_put(&rig, "new", 3);
	rig.flags = 0;
	log_rig_put(&rig, "old", 3);
	assert_int_equal(bus_log_next(log, &m, 1), 1);
	assert_int_equal(m.seq, 2);
	assert_int_equal(m.lost, 1);
	bus_log_close(log);
}

static void refusals(void **state)
{
	struct {
		struct bus_log_opts opts;
		uint64_t more;
	} late = { .opts = { .size = sizeof(late) }, .more = 1 };
	struct bus_log *log = NULL;
	struct log_header h;

	(void)state;
	assert_int_equal(bus_log_open(&log, "/no/such/place", NULL), -ENOENT);
	assert_non_null(strstr(bus_why(NULL), "/no/such/place"));
	assert_int_equal(bus_log_open(&log, log_rig_path(&rig, 0), NULL), -ENOTDIR);
	assert_int_equal(bus_log_open(&log, where, &late.opts), -E2BIG);
	assert_int_equal(bus_log_open(&log, where, BUS_OPTS(log, .flags = 1u << 30)), -EINVAL);
	h = rig.header;
	h.version = 99;
	log_rig_seal_header(&h);
	log_rig_write(log_rig_path(&rig, 0), 0, &h, sizeof(h));
	assert_int_equal(bus_log_open(&log, where, NULL), -EPROTONOSUPPORT);
	assert_non_null(strstr(bus_why(NULL), "newer"));
	assert_null(log);
	log = open_log(BUS_LOG_ANY_VERSION);
	assert_string_equal(story_of(log, 1), "10:0--2");
	bus_log_close(log);
}

/* What verify says, one line a finding: kind fault from-to file's last 8 letters. */
static const char *findings_of(struct bus_log *log)
{
	static char text[8192];
	struct bus_log_finding f;
	size_t at = 0;
	int n;

	text[0] = 0;
	while ((n = bus_log_verify(log, &f)) == 1) {
		size_t len = strlen(f.file);

		assert_true(f.what[0] != 0);
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%u %u %d-%d %s%s\n", f.kind,
				       f.fault, (int)f.from, (int)f.to - 1,
				       f.file + (len > 8 ? len - 8 : 0),
				       f.remedy == 1   ? " Q"
				       : f.remedy == 2 ? " R"
						       : "");
	}
	assert_int_equal(n, 0);
	return text;
}

/* Retention takes files while they are checked; somebody takes one from the midst. */
static void verifying_what_goes(void **state)
{
	struct bus_log_finding f;
	struct bus_log *log;

	(void)state;
	for (int i = 0; i < 4; i++) {
		put(30);
		log_rig_roll(&rig, 0);
	}
	put(30);
	log = open_log(0);
	assert_int_equal(bus_log_verify(log, &f), 1);
	assert_int_equal(f.kind, BUS_LOG_CHECKED);
	for (uint64_t base = 0; base <= 60; base += 30)
		assert_int_equal(unlink(log_rig_path(&rig, base)), 0);
	assert_string_equal(findings_of(log), "6 0 90-119 0090.log\n"
					      "6 0 120-149 0120.log\n");
	bus_log_close(log);

	log = open_log(0);
	put(20);
	log_rig_roll(&rig, 0);
	put(1);
	assert_int_equal(bus_log_verify(log, &f), 1);
	assert_int_equal(f.from, 90);
	assert_int_equal(unlink(log_rig_path(&rig, 120)), 0);
	assert_string_equal(findings_of(log), "2 9 120-169 0120.log\n"
					      "6 0 170-170 0170.log\n");
	bus_log_close(log);
}

/* Two segments of another stream beside one: the stream's settings say whose directory it is. */
static void strangers_may_be_many(void **state)
{
	static const char damaged[] =
		"busd-stream 1\nuuid 00000000000000000000000000000000\ncrc32c 0\n";
	uint8_t uuid[LOG_UUID_BYTES];
	struct log_rig other;
	struct bus_log *log;
	char text[128];
	int len, fd;

	(void)state;
	memcpy(uuid, rig.uuid, sizeof(uuid));
	put(30);
	log_rig_stream++;
	log_rig_begin_at(&other, where, 64, 8192, 100, 8192);
	log_rig_put(&other, "other", 5);
	log_rig_roll(&other, 0);
	log_rig_end(&other);
	log_rig_stream--;
	fd = open(settings_path(), O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
	log_rig_write(settings_path(), 0, damaged, sizeof(damaged) - 1);
	log = open_log(0);
	assert_string_equal(findings_of(log), "3 0 0--1 0000.log Q\n"
					      "2 10 0-99 0000.log\n"
					      "6 0 100-100 0100.log\n"
					      "6 0 101-100 0101.log\n");
	bus_log_close(log);
	len = snprintf(text, sizeof(text), "busd-stream 1\nuuid ");
	for (int i = 0; i < LOG_UUID_BYTES; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%02x", uuid[i]);
	text[len++] = '\n';
	len += snprintf(text + len, sizeof(text) - (size_t)len, "crc32c %08x\n",
			crc32c(text, (size_t)len));
	log_rig_write(settings_path(), 0, text, (size_t)len);
	assert_int_equal(truncate(settings_path(), len), 0);
	log = open_log(0);
	assert_string_equal(findings_of(log), "3 0 0--1 0100.log Q\n"
					      "3 0 0--1 0101.log Q\n"
					      "6 0 0-29 0000.log\n");
	bus_log_close(log);
}

static void verifying(void **state)
{
	struct bus_log *log;

	(void)state;
	put(30);
	log_rig_roll(&rig, 10);
	put(30);
	log_rig_roll(&rig, 0);
	put(30);
	log_rig_mark(&rig);
	put(5);
	log = open_log(0);
	assert_string_equal(findings_of(log), "6 0 0-29 0000.log\n"
					      "5 8 30-39 0040.log\n"
					      "6 0 40-69 0040.log\n"
					      "6 0 70-104 0070.log\n");
	/* again, from the beginning */
	log_rig_flip(log_rig_path(&rig, 0), 17);
	log_rig_flip(log_rig_path(&rig, 40), log_rig_slot_off(&rig, 40, 50) * 8);
	log_rig_flip(log_rig_path(&rig, 40), log_rig_slot_off(&rig, 40, 51) * 8);
	log_rig_flip(log_rig_path(&rig, 70), log_rig_slot_off(&rig, 70, 102) * 8);
	bus_log_close(log);
	log = open_log(0);
	assert_string_equal(findings_of(log), "4 0 0--1 0000.log\n"
					      "6 0 0-29 0000.log\n"
					      "5 8 30-39 0040.log\n"
					      "1 5 50-51 0040.log\n"
					      "6 0 40-69 0040.log\n"
					      "5 5 102-104 0070.log\n"
					      "6 0 70-101 0070.log\n");
	unlink(log_rig_path(&rig, 40));
	assert_string_equal(findings_of(log), "4 0 0--1 0000.log\n"
					      "6 0 0-29 0000.log\n"
					      "2 9 30-69 0030.log\n"
					      "5 5 102-104 0070.log\n"
					      "6 0 70-101 0070.log\n");
	bus_log_close(log);
}

/* A writer's error that no checksum shows: whole messages out of order. */
static void disorder(void **state)
{
	struct bus_log *log;
	uint64_t pos;

	(void)state;
	put(3);
	pos = rig.pos;
	rig.pos -= 64;
	rig.time -= 5000;
	put(1);
	rig.pos = pos;
	put(1);
	log_rig_end(&rig);
	log = open_log(0);
	assert_string_equal(findings_of(log), "1 6 2-2 0000.log\n"
					      "4 0 3-3 0000.log\n"
					      "6 0 0-4 0000.log\n");
	bus_log_close(log);
}

static void repairing(void **state)
{
	struct bus_log_finding f, q = { .kind = 0 }, r = { .kind = 0 };
	char a[320], b[320], to[64];
	struct bus_log *log, *other;
	int fd;

	(void)state;
	for (int i = 0; i < 4; i++) {
		put(10);
		log_rig_roll(&rig, 0);
	}
	log_rig_end(&rig);
	snprintf(a, sizeof(a), "%s", log_rig_path(&rig, 10));
	snprintf(b, sizeof(b), "%s", log_rig_path(&rig, 30));
	rename(a, log_rig_path(&rig, 11));
	log_rig_write(b, 0, to, 8);
	log_rig_write(b, LOG_COPY_OFF, to, 8);
	log = open_log(0);
	while (bus_log_verify(log, &f) == 1) {
		if (f.remedy == BUS_LOG_REMEDY_QUARANTINE) {
			assert_int_equal(q.kind, 0);
			q = f;
			q.file = "00000000000000000030.log";
			assert_string_equal(f.file, q.file);
		} else if (f.remedy == BUS_LOG_REMEDY_RENAME) {
			assert_int_equal(r.kind, 0);
			r = f;
			r.file = "00000000000000000011.log";
			assert_string_equal(f.file, r.file);
		}
	}
	assert_int_equal(q.kind, BUS_LOG_FILE);
	assert_int_equal(r.kind, BUS_LOG_FLAW);
	assert_int_equal(bus_log_remedy(log, &q, to, sizeof(to)), -EPERM);
	bus_log_close(log);
	/* who writes there has the directory */
	fd = open(where, O_RDONLY | O_DIRECTORY);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(bus_log_open(&log, where, BUS_OPTS(log, .flags = BUS_LOG_REPAIR)), -EBUSY);
	close(fd);
	log = open_log(BUS_LOG_REPAIR);
	assert_int_equal(bus_log_open(&other, where, BUS_OPTS(log, .flags = BUS_LOG_REPAIR)), -EBUSY);
	assert_int_equal(bus_log_remedy(log, &q, to, sizeof(to)), 0);
	assert_string_equal(to, "00000000000000000030.log.bad");
	assert_int_equal(bus_log_remedy(log, &r, to, sizeof(to)), 0);
	assert_string_equal(to, "00000000000000000010.log");
	assert_int_equal(access(a, F_OK), 0);
	assert_int_equal(bus_log_remedy(log, &r, to, sizeof(to)), -ESTALE);
	q.file = "../x";
	assert_int_equal(bus_log_remedy(log, &q, to, sizeof(to)), -EINVAL);
	q.file = "x";
	q.remedy = 0;
	assert_int_equal(bus_log_remedy(log, &q, to, sizeof(to)), -EINVAL);
	assert_string_equal(findings_of(log), "5 0 0--1 .log.bad\n"
					      "6 0 0-9 0000.log\n"
					      "6 0 10-19 0010.log\n"
					      "6 0 20-29 0020.log\n"
					      "2 9 30-39 0030.log\n"
					      "6 0 40-39 0040.log\n");
	bus_log_close(log);
}

/* A segment without a message has its name taken by another one, under a reader who stands there. */
static void replaced(void **state)
{
	char name[300], kept[300], spare[300];
	struct bus_log *log;
	uint8_t byte[4096];
	int from, to;
	ssize_t n;

	(void)state;
	snprintf(name, sizeof(name), "%s/%020d.log", where, 0);
	snprintf(kept, sizeof(kept), "%s/kept", where);
	snprintf(spare, sizeof(spare), "%s/spare", where);
	from = open(name, O_RDONLY);
	to = open(spare, O_WRONLY | O_CREAT, 0600);
	while ((n = read(from, byte, sizeof(byte))) > 0)
		assert_int_equal(write(to, byte, (size_t)n), n);
	close(from);
	close(to);
	assert_true(rename(name, kept) == 0 && rename(spare, name) == 0);
	log = open_log(0);
	assert_string_equal(story_of(log, 100), "");
	assert_int_equal(rename(kept, name), 0);
	put(5);
	assert_string_equal(story_of(log, 100), "0-4");
	bus_log_close(log);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(reading),
		TEST(heads),
		TEST(refusals),
		TEST(verifying),
		TEST(strangers_may_be_many),
		TEST(verifying_what_goes),
		TEST(disorder),
		TEST(repairing),
		TEST(replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
