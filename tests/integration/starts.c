/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: where a subscription starts. Now, the oldest that the rings hold (also of publishers that
 * have gone, also after the ring went round), the last value of each topic among several
 * publishers.
 */
#include <string.h>

#include "lib/bus_rig.h"

static void send_numbers(struct bus_pub *pub, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		OK(bus_pub_send(pub, &i, sizeof(i)));
}

static unsigned number(struct bus_sub *sub)
{
	struct bus_msg m;
	unsigned value;

	rig_next(sub, &m);
	memcpy(&value, m.data, sizeof(value));
	OK(bus_sub_release(sub, 1));
	return value;
}

static void expect_range(struct bus *bus, const char *pattern, unsigned start, unsigned from,
			 unsigned to)
{
	struct bus_sub *sub;
	struct bus_msg m;

	OK(bus_sub_open(&sub, bus, pattern, BUS_OPTS(sub, .start = start)));
	for (unsigned i = from; i < to; i++)
		EQUAL(number(sub), i);
	EQUAL(bus_sub_peek(sub, &m, 1), 0);
	bus_sub_close(sub);
}

int main(void)
{
	struct bus_sub *sub;
	struct bus_pub *a, *b;
	struct bus_msg m;
	struct bus *bus;

	rig_busd_start(NULL);
	bus = rig_connect("starts");
	OK(bus_topic_create(bus, "kept", BUS_OPTS(topic, .slots = 256)));

	/* now: nothing of the past */
	OK(bus_pub_open(&a, bus, "kept", NULL));
	send_numbers(a, 0, 100);
	OK(bus_sub_open(&sub, bus, "kept", NULL));
	EQUAL(bus_sub_wait(sub, 0), 0);
	EQUAL(bus_sub_peek(sub, &m, 1), 0);
	send_numbers(a, 100, 110);
	EQUAL(number(sub), 100);
	bus_sub_close(sub);

	/* oldest: everything while the ring has not gone round; the publisher attached or not */
	expect_range(bus, "kept", BUS_START_OLDEST, 0, 110);
	bus_pub_close(a);
	expect_range(bus, "kept", BUS_START_OLDEST, 0, 110);
	expect_range(bus, "kept", BUS_START_NOW, 0, 0);

	/* last: of several publishers the one that published last; also one that has gone */
	expect_range(bus, "kept", BUS_START_LAST, 109, 110);
	OK(bus_pub_open(&a, bus, "many", NULL));
	OK(bus_pub_open(&b, bus, "many", NULL));
	send_numbers(a, 7, 8);
	send_numbers(b, 8, 9);
	expect_range(bus, "many", BUS_START_LAST, 8, 9);
	send_numbers(a, 9, 10);
	expect_range(bus, "many", BUS_START_LAST, 9, 10);
	OK(bus_sub_open(&sub, bus, ">", BUS_OPTS(sub, .start = BUS_START_LAST)));
	{
		unsigned x = number(sub), y = number(sub);

		CHECK((x == 109 && y == 9) || (x == 9 && y == 109));
	}
	send_numbers(b, 50, 51);
	EQUAL(number(sub), 50); /* and what follows */
	EQUAL(bus_sub_peek(sub, &m, 1), 0);
	bus_sub_close(sub);

	/*
	 * oldest after the ring went round: what it still holds, at least seven eighths of it, up
	 * to the end; none twice
	 */
	OK(bus_pub_open(&a, bus, "round", BUS_OPTS(pub, .slots = 1024)));
	send_numbers(a, 0, 10000);
	OK(bus_sub_open(&sub, bus, "round", BUS_OPTS(sub, .start = BUS_START_OLDEST)));
	rig_next(sub, &m);
	CHECK(m.seq >= 10000 - 1024 && m.seq <= 10000 - 896);
	EQUAL(m.lost, 0);
	for (unsigned i = (unsigned)m.seq; i < 10000; i++) {
		if (i != m.seq)
			EQUAL(number(sub), i);
		else
			OK(bus_sub_release(sub, 1));
	}
	bus_sub_close(sub);
	/* the whole last lap, once its publisher has closed */
	bus_pub_close(a);
	expect_range(bus, "round", BUS_START_OLDEST, 10000 - 1024, 10000);

	/* the same where the payload area is what goes round: 64 messages of 4 KiB in 256 KiB */
	{
		static unsigned big[1024];

		OK(bus_pub_open(&a, bus, "wide", NULL));
		for (unsigned i = 0; i < 500; i++) {
			big[0] = i;
			OK(bus_pub_send(a, big, sizeof(big)));
		}
		bus_pub_close(a);
		expect_range(bus, "wide", BUS_START_OLDEST, 500 - 64, 500);
	}
	bus_close(bus);
	return rig_done();
}
