/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: a subscription on a stream reads what has left the ring from disk, and comes back, without gap or double:
 * one that begins late while a publisher goes on; one that is lapped again and again, with messages borrowed; from a
 * number, a time, so many before the end. A damaged message is lost and no other; retention takes a segment from
 * under no reader; a worker's death, and that of all of busd, are not noticed. A stream in memory counts what it
 * has not. Several streams at once; bus_sub_recv() and the descriptor too.
 * timeout: 180
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/bus_rig.h"

#define SEGMENT 16384 /* messages of a segment, with max_messages 2^17 or less */
#define MOST    1000  /* bytes of a message */

static struct bus *bus;

static void make(const char *name, uint32_t stream_slots, uint64_t max_messages, uint32_t sync)
{
	OK(bus_topic_create(bus, name,
			    BUS_OPTS(topic, .flags = BUS_TOPIC_STREAM, .stream_slots = stream_slots,
				     .max_messages = max_messages, .sync = sync)));
}

static uint32_t length_of(uint64_t number)
{
	return (uint32_t)(sizeof(number) + number * 37 % 100);
}

static struct bus_pub *publisher(const char *topic)
{
	struct bus_pub *pub;
	int err;

	do /* -EPIPE: it is another busd now */
		err = bus_pub_open(&pub, bus, topic,
				   BUS_OPTS(pub, .full = BUS_FULL_BLOCK, .full_ns = -1));
	while (err == -EPIPE);
	OK(err);
	return pub;
}

static void put(struct bus_pub *pub, uint64_t from, uint64_t to)
{
	uint8_t bytes[MOST];

	for (uint64_t i = from; i < to; i++) {
		memset(bytes, (int)i, sizeof(bytes));
		memcpy(bytes, &i, sizeof(i));
		OK(bus_pub_send(pub, bytes, length_of(i)));
	}
}

static void settle(struct bus_pub *pub, uint32_t level)
{
	struct bus_pub_info info;

	OK(bus_pub_info(pub, &info));
	OK(bus_pub_wait(pub, level, info.seq, 20000000000));
}

static void publish(const char *topic, uint64_t from, uint64_t to)
{
	struct bus_pub *pub = publisher(topic);

	put(pub, from, to);
	settle(pub, BUS_LEVEL_DURABLE);
	bus_pub_close(pub);
}

/* A process that publishes numbers from..to, slowed down to `every` messages a millisecond (0: as fast as it goes). */
static pid_t publisher_beside(const char *topic, uint64_t from, uint64_t to, uint64_t every)
{
	pid_t pid = rig_fork();

	if (pid == 0) {
		struct bus_pub *pub;

		bus = rig_connect("beside");
		pub = publisher(topic);
		while (from < to) {
			uint64_t n = every && to - from > every ? every : to - from;

			put(pub, from, from + n);
			from += n;
			if (every)
				rig_sleep_ms(1);
		}
		settle(pub, BUS_LEVEL_STREAM);
		bus_close(bus);
		rig_exit(0);
	}
	return pid;
}

static struct bus_sub *subscribe(const char *pattern, uint32_t start, uint64_t value)
{
	struct bus_sub *sub;

	OK(bus_sub_open(&sub, bus, pattern,
			BUS_OPTS(sub, .start = start, .start_seq = start == BUS_START_SEQ ? value : 0,
				 .start_time_ns = start == BUS_START_TIME ? value : 0,
				 .start_back = start == BUS_START_BACK ? value : 0)));
	return sub;
}

static void whole(const struct bus_msg *msg, uint64_t number)
{
	const uint8_t *bytes = msg->data;
	uint64_t said;

	EQUAL(msg->seq, number);
	EQUAL(msg->len, length_of(number));
	memcpy(&said, bytes, sizeof(said));
	EQUAL(said, number);
	for (uint32_t i = sizeof(said); i < msg->len; i++)
		CHECK(bytes[i] == (uint8_t)number);
}

/* The next one, alone. */
static void expect(struct bus_sub *sub, uint64_t number, uint64_t lost)
{
	struct bus_msg msg;

	rig_next(sub, &msg);
	EQUAL(msg.lost, lost);
	whole(&msg, number);
	OK(bus_sub_release(sub, 1));
}

static void nothing(struct bus_sub *sub)
{
	struct bus_msg msg;

	for (int i = 0; i < 100; i++)
		EQUAL(OK(bus_sub_peek(sub, &msg, 1)), 0);
	EQUAL(OK(bus_sub_wait(sub, 20000000)), 0);
}

/* Reads numbers [from, to) in peeks of up to `most`, and nothing is missing, twice or lost. */
static void read_all(struct bus_sub *sub, uint64_t from, uint64_t to, int most)
{
	static struct bus_msg msgs[BUS_BORROW_MAX];
	struct bus_sub_info before, after;

	OK(bus_sub_info(sub, &before));
	for (uint64_t next = from; next < to;) {
		int n = OK(bus_sub_peek(sub, msgs,
					next + (uint64_t)most > to ? (int)(to - next) : most));

		if (n == 0) {
			EQUAL(OK(bus_sub_wait(sub, 20000000000)), 1);
			continue;
		}
		for (int i = 0; i < n; i++) {
			EQUAL(msgs[i].lost, 0);
			whole(&msgs[i], next + (uint64_t)i);
		}
		n = bus_sub_release(sub, n) == 0 ? n : 0; /* else it comes again */
		next += (uint64_t)n;
	}
	OK(bus_sub_info(sub, &after));
	EQUAL(after.delivered - before.delivered, to - from);
	EQUAL(after.lost, before.lost);
}

/* ---- late, and on ---- */

static void late(void)
{
	struct bus_sub *sub;
	pid_t pid;

	make("d.late", 4096, UINT64_C(1) << 20, 0);
	publish("d.late", 0, 200000);
	pid = publisher_beside("d.late", 200000, 260000, 100);
	sub = subscribe("d.late", BUS_START_OLDEST, 0);
	read_all(sub, 0, 260000, 300);
	nothing(sub);
	EQUAL(rig_wait(pid), 0);
	publish("d.late", 260000, 260010);
	read_all(sub, 260000, 260010, 1);
	bus_sub_close(sub);
}

/* What was lent of one batch stays while the next ones are read, until it is given back; to the byte. */
static void borrowed(void)
{
	static struct bus_msg msgs[BUS_BORROW_MAX];
	struct bus_sub *sub = subscribe("d.late", BUS_START_SEQ, 5);
	uint64_t next = 5;

	for (int round = 0; round < 20; round++) {
		int n = 0, k;

		while (n < 1000) {
			k = OK(bus_sub_peek(sub, msgs + n, 1000 - n));
			CHECK(k > 0);
			n += k;
		}
		for (int i = 0; i < n; i++)
			whole(&msgs[i], next + (uint64_t)i);
		for (k = 0; n > 0; n -= k) {
			k = n < 333 ? n : 333;
			OK(bus_sub_release(sub, k));
		}
		next += 1000;
	}
	read_all(sub, next, 30000, 1000);
	bus_sub_close(sub);
}

/*
 * It holds messages while the publisher goes round the ring: they are void and come again, from disk. In pieces of odd
 * sizes, some peeked behind others.
 */
static void lapped(void)
{
	static struct bus_msg msgs[BUS_BORROW_MAX];
	struct bus_sub *sub;
	struct bus_sub_info info;
	unsigned stale = 0;
	uint64_t next = 0;
	pid_t pid;

	make("d.lapped", 1024, UINT64_C(1) << 20, 0);
	sub = subscribe("d.lapped", BUS_START_NOW, 0);
	pid = publisher_beside("d.lapped", 0, 150000, 40);
	srand(1);
	while (next < 150000) {
		int n = OK(bus_sub_peek(sub, msgs, 1 + rand() % 400)), more;

		if (n == 0) {
			EQUAL(OK(bus_sub_wait(sub, 20000000000)), 1);
			continue;
		}
		if (rand() % 64 == 0)
			rig_sleep_ms(40);
		more = OK(bus_sub_peek(sub, msgs + n, 1 + rand() % 400));
		for (int i = 0; i < n + more; i++)
			EQUAL(msgs[i].seq, next + (uint64_t)i);
		for (int at = 0, err = 0; at < n + more;) {
			int k = 1 + rand() % (n + more - at), e;

			e = bus_sub_release(sub, k);
			CHECK(e == 0 || e == -ESTALE);
			/* what is borrowed behind what is void is void */
			CHECK(err == 0 || e == -ESTALE);
			stale += e != 0;
			next += e == 0 ? (uint64_t)k : 0;
			err = e;
			at += k;
		}
	}
	OK(bus_sub_info(sub, &info));
	EQUAL(info.delivered, 150000);
	EQUAL(info.lost, 0);
	CHECK(stale > 0);
	EQUAL(rig_wait(pid), 0);
	bus_sub_close(sub);
}

/* ---- where it begins ---- */

static uint64_t time_of(uint64_t number)
{
	struct bus_sub *sub = subscribe("d.starts", BUS_START_SEQ, number);
	struct bus_msg msg;
	uint64_t time;

	rig_next(sub, &msg);
	whole(&msg, number);
	time = msg.time_ns;
	bus_sub_close(sub);
	return time;
}

static void begins(uint32_t start, uint64_t value, uint64_t number)
{
	struct bus_sub *sub = subscribe("d.starts", start, value);

	expect(sub, number, 0);
	expect(sub, number + 1, 0);
	bus_sub_close(sub);
}

static void starts(void)
{
	const uint64_t marks[] = { 0, 5, SEGMENT - 1, SEGMENT, 40001, 59990 };
	struct bus_sub *sub;
	struct bus_pub *pub;
	uint64_t ahead;

	make("d.starts", 1024, UINT64_C(1) << 17, 0);
	pub = publisher("d.starts");
	for (unsigned i = 0; i + 1 < sizeof(marks) / sizeof(marks[0]); i++) {
		put(pub, marks[i], marks[i + 1]);
		settle(pub, BUS_LEVEL_STREAM);
		rig_sleep_ms(3); /* so that times differ */
	}
	put(pub, 59990, 60000);
	settle(pub, BUS_LEVEL_DURABLE);
	begins(BUS_START_OLDEST, 0, 0);
	for (unsigned i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		begins(BUS_START_SEQ, marks[i], marks[i]);
		begins(BUS_START_TIME, time_of(marks[i]), marks[i]);
		begins(BUS_START_TIME, time_of(marks[i]) - 1, marks[i]);
		begins(BUS_START_BACK, 60000 - marks[i], marks[i]);
	}
	begins(BUS_START_TIME, 0, 0);
	begins(BUS_START_BACK, 1000000, 0);
	begins(BUS_START_BACK, 1025, 60000 - 1025);
	sub = subscribe("d.starts", BUS_START_BACK, 0);
	nothing(sub);
	put(pub, 60000, 60001);
	expect(sub, 60000, 0);
	bus_sub_close(sub);
	/* what has yet to come */
	ahead = time_of(60000) + 3000000000;
	sub = subscribe("d.starts", BUS_START_TIME, ahead);
	put(pub, 60001, 62500); /* passed over, in the ring and beyond */
	settle(pub, BUS_LEVEL_STREAM);
	nothing(sub);
	rig_sleep_ms(3100);
	put(pub, 62500, 62502);
	expect(sub, 62500, 0);
	expect(sub, 62501, 0);
	bus_sub_close(sub);
	sub = subscribe("d.starts", BUS_START_SEQ, 62510);
	put(pub, 62502, 62512);
	expect(sub, 62510, 0);
	bus_sub_close(sub);
	bus_pub_close(pub);
}

static void live_starts(void)
{
	struct bus_sub *sub = NULL;
	struct bus_pub *pub = publisher("d.live");
	struct bus_msg msg;
	uint64_t time;

	put(pub, 0, 5);
	rig_sleep_ms(2);
	put(pub, 5, 10);
	EQUAL(bus_sub_open(&sub, bus, "d.live",
			   BUS_OPTS(sub, .start = BUS_START_BACK, .start_back = 3)),
	      -EINVAL);
	CHECK(strstr(bus_why(bus), "no stream") != NULL);
	EQUAL(bus_sub_open(&sub, bus, "d.live", BUS_OPTS(sub, .start_time_ns = 3)), -EINVAL);
	EQUAL(bus_sub_open(&sub, bus, "d.live", BUS_OPTS(sub, .start_back = 3)), -EINVAL);
	sub = subscribe("d.live", BUS_START_OLDEST, 0);
	for (int i = 0; i < 5; i++)
		expect(sub, (uint64_t)i, 0);
	rig_next(sub, &msg);
	time = msg.time_ns;
	OK(bus_sub_release(sub, 1));
	bus_sub_close(sub);
	sub = subscribe("d.live", BUS_START_TIME, time);
	expect(sub, 5, 0);
	expect(sub, 6, 0);
	bus_sub_close(sub);
	bus_pub_close(pub);
}

/* ---- damage, retention ---- */

static void flip(const char *topic, uint64_t base, off_t at)
{
	char path[512];
	uint8_t byte;
	int fd;

	snprintf(path, sizeof(path), "%s/data/streams/%s/%020llu.log", rig_dir(), topic,
		 (unsigned long long)base);
	fd = open(path, O_RDWR);
	if (fd < 0) {
		snprintf(path, sizeof(path), "%s/streams/%s/%020llu.log", getenv("STATE_DIRECTORY"),
			 topic, (unsigned long long)base);
		fd = open(path, O_RDWR);
	}
	CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
	byte ^= 1;
	CHECK(pwrite(fd, &byte, 1, at) == 1);
	close(fd);
}

static void damage(void)
{
	struct bus_sub_info info;
	struct bus_sub *sub;

	make("d.hurt", 1024, UINT64_C(1) << 17, 0);
	publish("d.hurt", 0, 40000);
	flip("d.hurt", 0, 12288 + 64 * 100 + 16);    /* the time of message 100 */
	flip("d.hurt", SEGMENT, 12288 + 64 * 0 + 8); /* where the first of the second segment lies */
	sub = subscribe("d.hurt", BUS_START_OLDEST, 0);
	read_all(sub, 0, 100, 64);
	expect(sub, 101, 1);
	read_all(sub, 102, SEGMENT, 700);
	expect(sub, SEGMENT + 1, 1);
	read_all(sub, SEGMENT + 2, 40000, 1000);
	OK(bus_sub_info(sub, &info));
	EQUAL(info.lost, 2);
	bus_sub_close(sub);
}

static uint64_t oldest_of(const char *topic)
{
	struct bus_topic_info info = { .name = "" };

	while (OK(bus_topic_next(bus, topic, &info)) == 1)
		if (strcmp(info.name, topic) == 0)
			return info.oldest_seq;
	return 0;
}

static void retention(void)
{
	struct bus_sub *sub, *old;
	struct bus_msg msg;
	uint64_t oldest;

	make("d.kept", 1024, 60000, 0);
	publish("d.kept", 0, 60000);
	sub = subscribe("d.kept", BUS_START_OLDEST, 0);
	old = subscribe("d.kept", BUS_START_SEQ, 10);
	expect(sub, 0, 0); /* it has the first segment, and the second one */
	publish("d.kept", 60000, 160000);
	for (int i = 0; i < 500 && oldest_of("d.kept") < 6 * SEGMENT; i++) /* all that goes */
		rig_sleep_ms(10);
	oldest = oldest_of("d.kept");
	EQUAL(oldest, 6 * SEGMENT);
	read_all(sub, 1, 2 * SEGMENT, 100);
	rig_next(sub, &msg);
	EQUAL(msg.seq, oldest);
	EQUAL(msg.lost, oldest - 2 * SEGMENT);
	OK(bus_sub_release(sub, 1));
	read_all(sub, oldest + 1, 160000, 1000);
	rig_next(old, &msg);
	EQUAL(msg.seq, oldest);
	EQUAL(msg.lost, oldest - 10);
	bus_sub_close(old);
	/* what is older than all there is was never its own */
	old = subscribe("d.kept", BUS_START_OLDEST, 0);
	expect(old, oldest, 0);
	bus_sub_close(old);
	bus_sub_close(sub);
}

/* ---- busd dies ---- */

static void worker_dies(void)
{
	struct bus_sub *sub;
	pid_t pid;

	make("d.killed", 1024, UINT64_C(1) << 17, 0);
	publish("d.killed", 0, 100000);
	pid = publisher_beside("d.killed", 100000, 130000, 100);
	sub = subscribe("d.killed", BUS_START_OLDEST, 0);
	for (uint64_t i = 0; i < 100000; i += 20000) {
		read_all(sub, i, i + 20000, 77);
		rig_kill_worker();
	}
	read_all(sub, 100000, 130000, 100);
	EQUAL(rig_wait(pid), 0);
	bus_sub_close(sub);
}

/* There is nobody who would hand the next file over: what it has is read, and then it waits. How far it came. */
static uint64_t without_busd(struct bus_sub *sub, uint64_t next)
{
	static struct bus_msg msgs[100];
	struct bus_sub_info info;

	for (int idle = 0; idle < 3;) {
		int n = OK(bus_sub_peek(sub, msgs, 100));

		for (int i = 0; i < n; i++)
			whole(&msgs[i], next++);
		if (n > 0)
			OK(bus_sub_release(sub, n));
		else
			idle += OK(bus_sub_wait(sub, 50000000)) == 0;
	}
	OK(bus_sub_info(sub, &info));
	EQUAL(info.from_disk, 1);
	return next;
}

/* The second half of what there is in the ring, and what it has borrowed of the first, is read over its death. */
static void all_dies(void)
{
	struct bus_sub *on_disk, *live, *borrows;
	static struct bus_msg msgs[BUS_BORROW_MAX];
	struct bus_msg msg;
	uint64_t first, next;

	make("d.again", 4096, UINT64_C(1) << 17, 0);
	publish("d.again", 0, 50000);
	on_disk = subscribe("d.again", BUS_START_OLDEST, 0);
	live = subscribe("d.again", BUS_START_BACK, 100);
	borrows = subscribe("d.again", BUS_START_SEQ, 1000);
	read_all(on_disk, 0, 20000, 100);
	read_all(live, 49900, 49950, 10);
	EQUAL(OK(bus_sub_peek(borrows, msgs, 500)), 500);
	rig_busd_kill();
	next = without_busd(on_disk, 20000);
	CHECK(next > 20000 && next < 50000 - 4096);
	rig_busd_again(NULL);
	for (int i = 0; i < 500; i++)
		whole(&msgs[i], 1000 + (uint64_t)i);
	OK(bus_sub_release(borrows, 500));
	publish("d.again", 50000, 50001); /* says its own number; the stream's is behind a hole */
	read_all(live, 49950, 50000, 10);
	rig_next(live, &msg);
	first = msg.seq;
	EQUAL(first, 50000 + 4096);
	EQUAL(msg.lost, 0);
	OK(bus_sub_release(live, 1));
	nothing(live);
	read_all(on_disk, next, 50000, 1000);
	rig_next(on_disk, &msg);
	EQUAL(msg.seq, first);
	EQUAL(msg.lost, 0);
	OK(bus_sub_release(on_disk, 1));
	read_all(borrows, 1500, 50000, 1000);
	rig_next(borrows, &msg);
	EQUAL(msg.seq, first);
	bus_sub_close(on_disk);
	bus_sub_close(live);
	bus_sub_close(borrows);
}

/* ---- the rest ---- */

static void in_memory(void)
{
	struct bus_sub *sub, *seq;
	struct bus_pub *pub;
	struct bus_msg msg;

	make("d.memory", 1024, 0, BUS_SYNC_MEMORY);
	sub = subscribe("d.memory", BUS_START_NOW, 0);
	pub = publisher("d.memory");
	put(pub, 0, 5000);
	settle(pub, BUS_LEVEL_STREAM);
	rig_next(sub, &msg);
	CHECK(msg.seq > 3000 && msg.lost == msg.seq);
	seq = subscribe("d.memory", BUS_START_BACK, 10);
	expect(seq, 4990, 0);
	bus_sub_close(seq);
	seq = subscribe("d.memory", BUS_START_BACK, 5000);
	rig_next(seq, &msg);
	CHECK(msg.seq >= 5000 - 1024 && msg.seq < 4990 && msg.lost == 0);
	bus_sub_close(seq);
	bus_sub_close(sub);
	bus_pub_close(pub);
}

/* Both streams from their beginnings, and a live topic. */
static void several(void)
{
	uint64_t next[3] = { 0, 0, 0 };
	static struct bus_msg msgs[200];
	struct bus_pub *live;
	struct bus_sub *sub;

	make("e.a", 1024, UINT64_C(1) << 17, 0);
	make("e.b", 2048, UINT64_C(1) << 17, 0);
	publish("e.a", 0, 30000);
	publish("e.b", 0, 20000);
	live = publisher("e.c");
	sub = subscribe("e.*", BUS_START_OLDEST, 0);
	put(live, 0, 100);
	while (next[0] < 30000 || next[1] < 20000 || next[2] < 100) {
		int n = OK(bus_sub_peek(sub, msgs, 200)), err;

		if (n == 0) {
			EQUAL(OK(bus_sub_wait(sub, 20000000000)), 1);
			continue;
		}
		for (int i = 0; i < n; i++) {
			uint64_t *at = &next[msgs[i].topic[2] - 'a'];

			EQUAL(msgs[i].lost, 0);
			whole(&msgs[i], (*at)++);
		}
		err = bus_sub_release(sub, n);
		EQUAL(err, 0);
	}
	bus_sub_close(sub);
	bus_pub_close(live);
	sub = subscribe("e.*", BUS_START_BACK, 3000);
	next[0] = 27000;
	next[1] = 17000;
	for (int i = 0; i < 6000; i++) {
		rig_next(sub, &msgs[0]);
		whole(&msgs[0], next[msgs[0].topic[2] - 'a']++);
		OK(bus_sub_release(sub, 1));
	}
	nothing(sub);
	bus_sub_close(sub);
}

static void copies_and_descriptor(void)
{
	struct bus_sub *sub = subscribe("e.a", BUS_START_OLDEST, 0);
	struct pollfd poll_fd = { .fd = OK(bus_sub_fd(sub)), .events = POLLIN };
	uint8_t buf[MOST];
	struct bus_msg msg;

	for (uint64_t i = 0; i < 30000;) {
		int n = bus_sub_recv(sub, buf, i % 5 == 0 ? 4 : sizeof(buf), &msg);

		if (n == -EMSGSIZE) {
			EQUAL(msg.len, length_of(i));
			n = bus_sub_recv(sub, buf, sizeof(buf), &msg);
		}
		if (OK(n) == 0) {
			EQUAL(poll(&poll_fd, 1, 10000), 1);
			continue;
		}
		whole(&msg, i++);
		if (i == 10 ||
		    i == 20000) /* there is more: level-triggered once peek has found nothing, or before */
			EQUAL(OK(bus_sub_wait(sub, 0)), 1);
	}
	while (OK(bus_sub_recv(sub, buf, sizeof(buf), &msg)) == 0 && poll(&poll_fd, 1, 50) != 0)
		continue;
	publish("e.a", 30000, 30001);
	EQUAL(poll(&poll_fd, 1, 10000), 1);
	while (OK(bus_sub_recv(sub, buf, sizeof(buf), &msg)) == 0)
		EQUAL(poll(&poll_fd, 1, 10000), 1);
	whole(&msg, 30000);
	bus_sub_close(sub);
}

/* By force, under one that reads from disk: the segment that it has is read, the rest counted, and the ring to its end. */
static void removed(void)
{
	struct bus_sub_info info;
	struct bus_sub *sub, *late;
	struct bus_pub *pub;
	struct bus_msg msg;
	uint64_t seen = 0;
	int news = 0;

	make("d.removed", 1024, UINT64_C(1) << 17, 0);
	publish("d.removed", 0, 80000);
	sub = subscribe("d.removed", BUS_START_OLDEST, 0);
	late = subscribe("d.removed", BUS_START_SEQ, 10);
	expect(sub, 0, 0);
	OK(bus_topic_remove(bus, "d.removed", BUS_TOPIC_FORCE));
	make("d.removed", 1024, UINT64_C(1) << 17, 0); /* another one, whose log is not read for it */
	read_all(sub, 1, SEGMENT, 100);
	do {
		rig_next(sub, &msg);
		CHECK(seen == 0 ? msg.lost > 0 : msg.lost == 0);
		seen = msg.seq;
		whole(&msg, seen);
		OK(bus_sub_release(sub, 1));
	} while (seen < 79999);
	OK(bus_sub_info(sub, &info));
	EQUAL(info.delivered + info.lost, 80000);
	bus_sub_close(sub);
	/* it comes to the old one's disk only now: the new one's messages are those of its ring, and no more */
	pub = publisher("d.removed");
	put(pub, 1000001, 1000021);
	settle(pub, BUS_LEVEL_DURABLE);
	for (seen = 0; seen < 79999 || news < 20;) {
		rig_next(late, &msg);
		if (msg.len == length_of(1000001 + msg.seq))
			news++;
		else
			seen = msg.seq;
		OK(bus_sub_release(late, 1));
	}
	EQUAL(news, 20);
	nothing(late);
	bus_sub_close(late);
	bus_pub_close(pub);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = { { "late", late },
		      { "borrowed", borrowed },
		      { "lapped", lapped },
		      { "starts", starts },
		      { "live_starts", live_starts },
		      { "damage", damage },
		      { "retention", retention },
		      { "worker_dies", worker_dies },
		      { "all_dies", all_dies },
		      { "in_memory", in_memory },
		      { "several", several },
		      { "copies_and_descriptor", copies_and_descriptor },
		      { "removed", removed } };

	rig_busd_start(NULL);
	bus = rig_connect("disk");
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (argc > 1 && strcmp(argv[1], parts[i].name) != 0)
			continue;
		fprintf(stderr, "-- %s %.3f\n", parts[i].name, (double)rig_now_ns() / 1e9);
		parts[i].run();
	}
	bus_close(bus);
	return rig_done();
}
