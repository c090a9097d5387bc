/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: a message too large for its ring has the ring replaced under load; readers awake, asleep
 * and by descriptor go on without a gap, in order; the numbers go on; beyond the limit it is
 * -EMSGSIZE with a text that names it, and the publisher works on; the old rings are given back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bus_rig.h"

#define COUNT 3000

static uint32_t size_of(uint64_t i)
{
	return i % 500 == 499 ? (uint32_t)(20000u << (i / 500)) : (uint32_t)(i * 37 % 2000) + 8;
}

static void reader(int spin)
{
	struct bus *bus = rig_connect("reader");
	struct bus_sub_info info;
	struct bus_sub *sub;

	OK(bus_sub_open(&sub, bus, "grow", BUS_OPTS(sub, .spin_ns = spin ? -1 : 1)));
	rig_post(0);
	for (uint64_t i = 0; i < COUNT; i++) {
		const uint8_t *p;
		struct bus_msg m;

		rig_next(sub, &m);
		EQUAL(m.seq, i);
		EQUAL(m.lost, 0);
		EQUAL(m.len, size_of(i));
		p = m.data;
		for (uint32_t k = 0; k < m.len; k += 61)
			EQUAL(p[k], (uint8_t)(i + k));
		OK(bus_sub_release(sub, 1));
	}
	OK(bus_sub_info(sub, &info));
	EQUAL(info.delivered, COUNT);
	EQUAL(info.lost, 0);
	EQUAL(info.evictions, 0);
	bus_close(bus);
	rig_exit(0);
}

int main(void)
{
	struct bus_topic_info topic = { .name = "" };
	static uint8_t big[2 << 20];
	struct bus_pub_info info;
	struct bus_pub *pub;
	pid_t child[3];
	struct bus *bus;

	rig_busd_start("max_ring_bytes: 4M\n");
	for (int i = 0; i < 3; i++) {
		child[i] = rig_fork();
		if (child[i] == 0)
			reader(i);
	}
	rig_await(0, 3);
	bus = rig_connect("writer");
	OK(bus_pub_open(&pub, bus, "grow", BUS_OPTS(pub, .slots = 32, .bytes = 16384)));
	OK(bus_pub_info(pub, &info));
	EQUAL(info.max_message, 4096);
	EQUAL(info.limit_message, 1 << 20);
	for (uint64_t i = 0; i < COUNT; i++) {
		struct bus_claim c;

		OK(bus_pub_claim(pub, size_of(i), &c));
		EQUAL(c.seq, i);
		for (uint32_t k = 0; k < c.len; k++)
			((uint8_t *)c.data)[k] = (uint8_t)(i + k);
		OK(bus_pub_commit(pub, &c));
		if (i == 700) { /* not to be had: nothing of it is published, nothing is broken */
			EQUAL(bus_pub_send(pub, big, sizeof(big)), -EMSGSIZE);
			CHECK(strstr(bus_why(bus), "limit") != NULL &&
			      strstr(bus_why(bus), "grow") != NULL);
		}
	}
	OK(bus_pub_info(pub, &info));
	EQUAL(info.seq, COUNT);
	CHECK(info.ring_bytes >= 4 * (20000u << 5));
	for (int i = 0; i < 3; i++)
		EQUAL(rig_wait(child[i]), 0);
	/* with the readers gone, at most the present ring and one kept for late readers are left */
	for (int i = 0; i < 200; i++) {
		topic.name[0] = '\0';
		CHECK(OK(bus_topic_next(bus, "grow", &topic)) == 1);
		if (topic.rings <= 2)
			break;
		rig_sleep_ms(10);
	}
	CHECK(topic.rings <= 2);
	bus_close(bus);
	return rig_done();
}
