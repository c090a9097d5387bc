/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: what a full ring does. -EAGAIN at once; blocked until a deadline; blocked and woken as
 * soon as there is room; a subscriber that stands still is evicted, one that is merely slow is not;
 * the evicted one learns it by -ESTALE, its loss is counted to the message, and it gates again
 * afterwards; a lossy one is never waited for and its loss is exact too.
 */
#include <errno.h>
#include <string.h>

#include "lib/bus_rig.h"

#define MS 1000000

static uint64_t value_of(const struct bus_msg *m)
{
	uint64_t v;

	memcpy(&v, m->data, sizeof(v));
	return v;
}

static int send_value(struct bus_pub *pub, uint64_t v)
{
	return bus_pub_send(pub, &v, sizeof(v));
}

static void fails_and_deadlines(struct bus *bus)
{
	struct bus_pub *fail, *block;
	struct bus_sub *sub;
	struct bus_msg m;
	uint64_t began;
	unsigned n = 0;

	OK(bus_sub_open(&sub, bus, "full.*", NULL));
	OK(bus_pub_open(&fail, bus, "full.fail", BUS_OPTS(pub, .slots = 64, .full = BUS_FULL_FAIL)));
	while (send_value(fail, n) == 0)
		n++;
	EQUAL(n, 64);
	EQUAL(send_value(fail, n), -EAGAIN);
	rig_next(sub, &m);
	/* the next look at nothing, or an eighth of the ring, tells the publisher */
	OK(bus_sub_release(sub, 1));
	for (unsigned i = 1; i < 8; i++) {
		rig_next(sub, &m);
		EQUAL(value_of(&m), i);
		OK(bus_sub_release(sub, 1));
	}
	EQUAL(send_value(fail, n), 0);

	OK(bus_pub_open(&block, bus, "full.block",
			BUS_OPTS(pub, .slots = 64, .full = BUS_FULL_BLOCK, .full_ns = 50 * MS)));
	for (n = 0; n < 64; n++)
		OK(send_value(block, n));
	began = rig_now_ns();
	EQUAL(send_value(block, n), -ETIMEDOUT);
	CHECK(rig_now_ns() - began >= 50 * MS);
	CHECK(rig_now_ns() - began < 5000 * (uint64_t)MS);
	bus_pub_close(fail);
	bus_pub_close(block);
	bus_sub_close(sub);
}

/* The payload area gates as the slots do. */
static void bytes_gate(struct bus *bus)
{
	static uint8_t big[16384];
	struct bus_pub *pub;
	struct bus_sub *sub;
	unsigned n = 0;

	OK(bus_sub_open(&sub, bus, "full.bytes", NULL));
	OK(bus_pub_open(&pub, bus, "full.bytes",
			BUS_OPTS(pub, .bytes = 65536, .full = BUS_FULL_FAIL)));
	while (bus_pub_send(pub, big, sizeof(big)) == 0)
		n++;
	EQUAL(n, 4);
	EQUAL(bus_pub_send(pub, big, 1), 0); /* what travels in its slot needs no payload area */
	bus_pub_close(pub);
	bus_sub_close(sub);
}

static void blocked_is_woken(void)
{
	struct bus *bus = rig_connect("slow");
	struct bus_sub *sub;
	pid_t writer;

	OK(bus_sub_open(&sub, bus, "wake", NULL));
	writer = rig_fork();
	if (writer == 0) {
		struct bus *own = rig_connect("fast");
		struct bus_pub *pub;

		OK(bus_pub_open(&pub, own, "wake",
				BUS_OPTS(pub, .slots = 16, .full = BUS_FULL_BLOCK, .full_ns = -1,
					 .spin_ns = 1)));
		for (uint64_t i = 0; i < 3000; i++)
			OK(send_value(pub, i));
		bus_close(own);
		rig_exit(0);
	}
	for (uint64_t i = 0; i < 3000; i++) {
		struct bus_msg m;

		if (i % 300 == 0) { /* it must really sleep */
			bool asleep = i == 0;

			for (int k = 0; k < 2000 && !asleep; k++) {
				rig_sleep_ms(1);
				asleep = rig_asleep(writer); /* it looks now and then */
			}
			CHECK(asleep);
		}
		rig_next(sub, &m);
		EQUAL(value_of(&m), i);
		OK(bus_sub_release(sub, 1));
	}
	EQUAL(rig_wait(writer), 0);
	bus_close(bus);
}

static __attribute__((noreturn)) void slow_but_moving(void)
{
	struct bus *own = rig_connect("slow");
	struct bus_sub *s;
	struct bus_msg m;

	OK(bus_sub_open(&s, own, "evict", NULL));
	rig_post(2);
	for (uint64_t i = 0; i < 600; i++) {
		rig_next(s, &m);
		EQUAL(value_of(&m), i);
		EQUAL(m.lost, 0);
		rig_sleep_ms(2);
		OK(bus_sub_release(s, 1));
	}
	rig_exit(0);
}

static __attribute__((noreturn)) void evicting_writer(void)
{
	struct bus *own = rig_connect("writer");
	struct bus_pub *pub;

	OK(bus_pub_open(&pub, own, "evict", BUS_OPTS(pub, .slots = 32, .full_ns = 200 * MS)));
	for (uint64_t i = 0; i < 600; i++)
		OK(send_value(pub, i));
	rig_post(3);
	rig_await(4, 1); /* the other has joined again */
	for (uint64_t i = 600; i < 1000; i++)
		OK(send_value(pub, i));
	rig_post(5); /* it stood still once more, and was evicted once more */
	rig_await(6, 1);
	OK(send_value(pub, 1000));
	rig_exit(0);
}

/*
 * One stands still, one is slow but moves: the first is evicted, the second gets everything. Who has
 * joined again is waited for like before, and evicted like before if it stands still again.
 */
static void eviction(void)
{
	pid_t writer, slow;
	struct bus *bus = rig_connect("still");
	struct bus_sub_info info;
	struct bus_sub *sub;
	struct bus_msg m;
	uint64_t next = 0, lost = 0;
	bool joined = false; /* nothing came since it joined again */
	int stale = 0;

	OK(bus_sub_open(&sub, bus, "evict", NULL));
	slow = rig_fork();
	if (slow == 0)
		slow_but_moving();
	rig_await(2, 1);
	writer = rig_fork();
	if (writer == 0)
		evicting_writer();
	/*
	 * Reads a little, then stands still with a message borrowed until it has been overwritten.
	 */
	for (; next < 5; next++) {
		rig_next(sub, &m);
		EQUAL(value_of(&m), next);
		OK(bus_sub_release(sub, 1));
	}
	rig_next(sub, &m);
	EQUAL(value_of(&m), 5);
	rig_await(3, 1);
	EQUAL(bus_sub_release(sub, 1), -ESTALE);
	rig_post(4);
	while (next < 1001) {
		int n;

		CHECK(OK(bus_sub_wait(sub, 10000000000)) == 1);
		n = bus_sub_peek(sub, &m, 1);
		if (n == -ESTALE) {
			joined = true;
			if (++stale == 2)
				rig_post(6);
			continue;
		}
		if (OK(n) == 0)
			continue;
		EQUAL(value_of(&m), next + m.lost);
		if (!joined)
			EQUAL(m.lost, 0);
		joined = false;
		lost += m.lost;
		next = value_of(&m) + 1;
		if (next > 610 && next < 800)
			/* slower than its publisher: gating again, or this would lose */
			rig_sleep_ms(1);
		OK(bus_sub_release(sub, 1));
		if (next == 800)
			rig_await(5, 1);
	}
	EQUAL(stale, 2);
	EQUAL(rig_wait(writer), 0);
	EQUAL(rig_wait(slow), 0);
	OK(bus_sub_info(sub, &info));
	EQUAL(info.evictions, 2);
	EQUAL(info.lost, lost);
	EQUAL(info.delivered + info.lost, 1001);
	CHECK(info.lost >= 595 + 100 && info.lost < 990);
	bus_close(bus);
}

static void lossy(void)
{
	struct bus *bus = rig_connect("lossy");
	struct bus_sub_info info;
	struct bus_sub *sub;
	uint64_t next = 0, good = 0, lost = 0;
	pid_t writer;

	OK(bus_sub_open(&sub, bus, "lossy", BUS_OPTS(sub, .policy = BUS_LOSSY)));
	writer = rig_fork();
	if (writer == 0) {
		struct bus *own = rig_connect("torrent");
		struct bus_pub_info pi;
		struct bus_pub *pub;

		OK(bus_pub_open(&pub, own, "lossy",
				BUS_OPTS(pub, .slots = 64, .full = BUS_FULL_FAIL)));
		for (uint64_t i = 0; i < 2000000; i++)
			OK(send_value(pub, i)); /* never -EAGAIN */
		OK(bus_pub_info(pub, &pi));
		EQUAL(pi.subscribers, 1);
		EQUAL(pi.gating, 0);
		bus_close(own);
		rig_exit(0);
	}
	while (next < 2000000) {
		struct bus_msg m[32];
		uint64_t values[32];
		int n;

		if (OK(bus_sub_wait(sub, 3000000000)) == 0)
			break;
		n = OK(bus_sub_peek(sub, m, 32));
		for (int i = 0; i < n; i++) {
			EQUAL(m[i].seq, next + m[i].lost);
			next = m[i].seq + 1;
			lost += m[i].lost;
			values[i] = value_of(&m[i]); /* inline: copied by the peek */
			EQUAL(values[i], m[i].seq);
		}
		if (n == 0)
			continue;
		/* void: told again as lost with the next one */
		if (bus_sub_release(sub, n) == -ESTALE) {
			for (int i = 0; i < n; i++)
				lost -= m[i].lost;
			next = m[0].seq - m[0].lost;
			continue;
		}
		good += (uint64_t)n;
	}
	EQUAL(rig_wait(writer), 0);
	OK(bus_sub_info(sub, &info));
	EQUAL(info.delivered, good);
	EQUAL(info.delivered + info.lost, 2000000);
	bus_close(bus);
}

int main(void)
{
	struct bus *bus;

	rig_busd_start(NULL);
	bus = rig_connect("full");
	fails_and_deadlines(bus);
	bytes_gate(bus);
	bus_close(bus);
	blocked_is_woken();
	eviction();
	lossy();
	return rig_done();
}
