/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: a subscription on a stream reads what has left the ring from disk, and comes back, without gap or double:
 * one that begins late while a publisher goes on; one that is lapped again and again, with messages borrowed; from a
 * number, a time, so many before the end. A stream in memory counts what it has not. Several streams at once;
 * bus_sub_recv() and the descriptor too.
 * timeout: 180
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lib/stream_rig.h"

/* ---- late, and on ---- */

static void late(void)
{
	struct bus_sub *sub;
	pid_t pid;

	stream_make("d.late", 4096, UINT64_C(1) << 20, 0);
	stream_publish("d.late", 0, 200000);
	pid = stream_beside("d.late", 200000, 260000, 100);
	sub = stream_subscribe("d.late", BUS_START_OLDEST, 0);
	stream_read_all(sub, 0, 260000, 300);
	stream_nothing(sub);
	EQUAL(rig_wait(pid), 0);
	stream_publish("d.late", 260000, 260010);
	stream_read_all(sub, 260000, 260010, 1);
	bus_sub_close(sub);
}

/* What was lent of one batch stays while the next ones are read, until it is given back; to the byte. */
static void borrowed(void)
{
	static struct bus_msg msgs[BUS_BORROW_MAX];
	struct bus_sub *sub = stream_subscribe("d.late", BUS_START_SEQ, 5);
	uint64_t next = 5;

	for (int round = 0; round < 20; round++) {
		int n = 0, k;

		while (n < 1000) {
			k = OK(bus_sub_peek(sub, msgs + n, 1000 - n));
			CHECK(k > 0);
			n += k;
		}
		for (int i = 0; i < n; i++)
			stream_whole(&msgs[i], next + (uint64_t)i);
		for (k = 0; n > 0; n -= k) {
			k = n < 333 ? n : 333;
			OK(bus_sub_release(sub, k));
		}
		next += 1000;
	}
	stream_read_all(sub, next, 30000, 1000);
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

	stream_make("d.lapped", 1024, UINT64_C(1) << 20, 0);
	sub = stream_subscribe("d.lapped", BUS_START_NOW, 0);
	pid = stream_beside("d.lapped", 0, 150000, 40);
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
	struct bus_sub *sub = stream_subscribe("d.starts", BUS_START_SEQ, number);
	struct bus_msg msg;
	uint64_t time;

	rig_next(sub, &msg);
	stream_whole(&msg, number);
	time = msg.time_ns;
	bus_sub_close(sub);
	return time;
}

static void begins(uint32_t start, uint64_t value, uint64_t number)
{
	struct bus_sub *sub = stream_subscribe("d.starts", start, value);

	stream_expect(sub, number, 0);
	stream_expect(sub, number + 1, 0);
	bus_sub_close(sub);
}

static void starts(void)
{
	const uint64_t marks[] = { 0, 5, STREAM_SEGMENT - 1, STREAM_SEGMENT, 40001, 59990 };
	struct bus_sub *sub;
	struct bus_pub *pub;
	uint64_t ahead;

	stream_make("d.starts", 1024, UINT64_C(1) << 17, 0);
	pub = stream_publisher("d.starts");
	for (unsigned i = 0; i + 1 < sizeof(marks) / sizeof(marks[0]); i++) {
		stream_put(pub, marks[i], marks[i + 1]);
		stream_settle(pub, BUS_LEVEL_STREAM);
		rig_sleep_ms(3); /* so that times differ */
	}
	stream_put(pub, 59990, 60000);
	stream_settle(pub, BUS_LEVEL_DURABLE);
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
	sub = stream_subscribe("d.starts", BUS_START_BACK, 0);
	stream_nothing(sub);
	stream_put(pub, 60000, 60001);
	stream_expect(sub, 60000, 0);
	bus_sub_close(sub);
	/* what has yet to come */
	ahead = time_of(60000) + 3000000000;
	sub = stream_subscribe("d.starts", BUS_START_TIME, ahead);
	stream_put(pub, 60001, 62500); /* passed over, in the ring and beyond */
	stream_settle(pub, BUS_LEVEL_STREAM);
	stream_nothing(sub);
	rig_sleep_ms(3100);
	stream_put(pub, 62500, 62502);
	stream_expect(sub, 62500, 0);
	stream_expect(sub, 62501, 0);
	bus_sub_close(sub);
	sub = stream_subscribe("d.starts", BUS_START_SEQ, 62510);
	stream_put(pub, 62502, 62512);
	stream_expect(sub, 62510, 0);
	bus_sub_close(sub);
	bus_pub_close(pub);
}

static void live_starts(void)
{
	struct bus_sub *sub = NULL;
	struct bus_pub *pub = stream_publisher("d.live");
	struct bus_msg msg;
	uint64_t time;

	stream_put(pub, 0, 5);
	rig_sleep_ms(2);
	stream_put(pub, 5, 10);
	EQUAL(bus_sub_open(&sub, stream_bus, "d.live",
			   BUS_OPTS(sub, .start = BUS_START_BACK, .start_back = 3)),
	      -EINVAL);
	CHECK(strstr(bus_why(stream_bus), "no stream") != NULL);
	EQUAL(bus_sub_open(&sub, stream_bus, "d.live", BUS_OPTS(sub, .start_time_ns = 3)), -EINVAL);
	EQUAL(bus_sub_open(&sub, stream_bus, "d.live", BUS_OPTS(sub, .start_back = 3)), -EINVAL);
	sub = stream_subscribe("d.live", BUS_START_OLDEST, 0);
	for (int i = 0; i < 5; i++)
		stream_expect(sub, (uint64_t)i, 0);
	rig_next(sub, &msg);
	time = msg.time_ns;
	OK(bus_sub_release(sub, 1));
	bus_sub_close(sub);
	sub = stream_subscribe("d.live", BUS_START_TIME, time);
	stream_expect(sub, 5, 0);
	stream_expect(sub, 6, 0);
	bus_sub_close(sub);
	bus_pub_close(pub);
}

/* ---- the rest ---- */

static void in_memory(void)
{
	struct bus_sub *sub, *seq;
	struct bus_pub *pub;
	struct bus_msg msg;

	stream_make("d.memory", 1024, 0, BUS_SYNC_MEMORY);
	sub = stream_subscribe("d.memory", BUS_START_NOW, 0);
	pub = stream_publisher("d.memory");
	stream_put(pub, 0, 5000);
	stream_settle(pub, BUS_LEVEL_STREAM);
	rig_next(sub, &msg);
	CHECK(msg.seq > 3000 && msg.lost == msg.seq);
	seq = stream_subscribe("d.memory", BUS_START_BACK, 10);
	stream_expect(seq, 4990, 0);
	bus_sub_close(seq);
	seq = stream_subscribe("d.memory", BUS_START_BACK, 5000);
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

	stream_make("e.a", 1024, UINT64_C(1) << 17, 0);
	stream_make("e.b", 2048, UINT64_C(1) << 17, 0);
	stream_publish("e.a", 0, 30000);
	stream_publish("e.b", 0, 20000);
	live = stream_publisher("e.c");
	sub = stream_subscribe("e.*", BUS_START_OLDEST, 0);
	stream_put(live, 0, 100);
	while (next[0] < 30000 || next[1] < 20000 || next[2] < 100) {
		int n = OK(bus_sub_peek(sub, msgs, 200)), err;

		if (n == 0) {
			EQUAL(OK(bus_sub_wait(sub, 20000000000)), 1);
			continue;
		}
		for (int i = 0; i < n; i++) {
			uint64_t *at = &next[msgs[i].topic[2] - 'a'];

			EQUAL(msgs[i].lost, 0);
			stream_whole(&msgs[i], (*at)++);
		}
		err = bus_sub_release(sub, n);
		EQUAL(err, 0);
	}
	bus_sub_close(sub);
	bus_pub_close(live);
	sub = stream_subscribe("e.*", BUS_START_BACK, 3000);
	next[0] = 27000;
	next[1] = 17000;
	for (int i = 0; i < 6000; i++) {
		rig_next(sub, &msgs[0]);
		stream_whole(&msgs[0], next[msgs[0].topic[2] - 'a']++);
		OK(bus_sub_release(sub, 1));
	}
	stream_nothing(sub);
	bus_sub_close(sub);
}

static void copies_and_descriptor(void)
{
	struct bus_sub *sub = stream_subscribe("e.a", BUS_START_OLDEST, 0);
	struct pollfd poll_fd = { .fd = OK(bus_sub_fd(sub)), .events = POLLIN };
	uint8_t buf[STREAM_MOST];
	struct bus_msg msg;

	for (uint64_t i = 0; i < 30000;) {
		int n = bus_sub_recv(sub, buf, i % 5 == 0 ? 4 : sizeof(buf), &msg);

		if (n == -EMSGSIZE) {
			EQUAL(msg.len, stream_length_of(i));
			n = bus_sub_recv(sub, buf, sizeof(buf), &msg);
		}
		if (OK(n) == 0) {
			EQUAL(poll(&poll_fd, 1, 10000), 1);
			continue;
		}
		stream_whole(&msg, i++);
		if (i == 10 ||
		    i == 20000) /* there is more: level-triggered once peek has found nothing, or before */
			EQUAL(OK(bus_sub_wait(sub, 0)), 1);
	}
	while (OK(bus_sub_recv(sub, buf, sizeof(buf), &msg)) == 0 && poll(&poll_fd, 1, 50) != 0)
		continue;
	stream_publish("e.a", 30000, 30001);
	EQUAL(poll(&poll_fd, 1, 10000), 1);
	while (OK(bus_sub_recv(sub, buf, sizeof(buf), &msg)) == 0)
		EQUAL(poll(&poll_fd, 1, 10000), 1);
	stream_whole(&msg, 30000);
	bus_sub_close(sub);
}

int main(int argc, char **argv)
{
	static const struct stream_part parts[] = { { "late", late },
						    { "borrowed", borrowed },
						    { "lapped", lapped },
						    { "starts", starts },
						    { "live_starts", live_starts },
						    { "in_memory", in_memory },
						    { "several", several },
						    { "copies_and_descriptor", copies_and_descriptor },
						    { NULL, NULL } };

	return stream_run(parts, argc, argv);
}
