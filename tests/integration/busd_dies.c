/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: busd is killed while it still has memberships for an idle publisher that it could not
 * send (a client is sent a few descriptors at a time): the publisher does not wait for what nobody
 * can tell it any more, and the subscribers that it never heard of are woken and read on.
 */
#include <string.h>

#include "lib/bus_rig.h"

#define SUBSCRIBERS 20 /* each brings two descriptors, more than are sent before the client reads */
#define MESSAGES    5

static void subscriber(void)
{
	struct bus *bus = rig_connect("reader");
	struct bus_sub *sub;
	struct bus_msg m;

	OK(bus_sub_open(&sub, bus, "dies", BUS_OPTS(sub, .spin_ns = 1)));
	rig_post(0);
	for (unsigned i = 0; i < MESSAGES; i++) {
		uint64_t began = rig_now_ns(), value;

		do
			CHECK(rig_now_ns() - began < 5000000000u);
		while (OK(bus_sub_peek(sub, &m, 1)) == 0 && (OK(bus_sub_wait(sub, -1)), true));
		memcpy(&value, m.data, sizeof(value));
		EQUAL(value, i);
		EQUAL(m.lost, 0);
		OK(bus_sub_release(sub, 1));
		rig_post(1);
	}
	rig_exit(0);
}

int main(void)
{
	pid_t child[SUBSCRIBERS];
	struct bus *bus;
	struct bus_pub *pub;
	pid_t busd;

	rig_busd_start(NULL);
	busd = rig_busd_pid();
	bus = rig_connect("writer");
	OK(bus_pub_open(&pub, bus, "dies",
			BUS_OPTS(pub, .full = BUS_FULL_BLOCK, .full_ns = 2000000000)));
	for (int i = 0; i < SUBSCRIBERS; i++) {
		child[i] = rig_fork();
		if (child[i] == 0)
			subscriber();
	}
	rig_await(0, SUBSCRIBERS);
	for (int i = 0; i < SUBSCRIBERS; i++)
		for (int tries = 0; !rig_asleep(child[i]) && tries < 1000; tries++)
			rig_sleep_ms(1);
	rig_kill(busd, SIGKILL);
	EQUAL(rig_wait(busd), -SIGKILL);
	for (uint64_t i = 0; i < MESSAGES; i++) {
		uint64_t began = rig_now_ns();

		OK(bus_pub_send(pub, &i, sizeof(i)));
		CHECK(rig_now_ns() - began < 1000000000);
		rig_await(1, SUBSCRIBERS * (unsigned)(i + 1));
	}
	for (int i = 0; i < SUBSCRIBERS; i++)
		EQUAL(rig_wait(child[i]), 0);
	bus_close(bus);
	return 0; /* no rig_done(): there is no busd to stop */
}
