/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timeout: 180
 * Proves: kill -9 of a publisher or subscriber at any moment. All that it committed is read, in
 * order, nothing torn, nothing of an open claim; a dead reliable subscriber holds nobody back; what
 * the dead had is given back; a child that outlives its parent with the parent's socket changes
 * none of that.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/bus_rig.h"

#define ROUNDS 60

static volatile uint64_t *committed; /* by the publisher, after each send: outside the bus */

static void torrent(void)
{
	struct bus *bus = rig_connect("victim");
	struct bus_pub *pub;
	uint8_t buf[600];

	OK(bus_pub_open(&pub, bus, "death", BUS_OPTS(pub, .slots = 64)));
	for (uint64_t i = 0;; i++) {
		uint32_t len = 8 + (uint32_t)(i * 13 % 590);
		struct bus_claim c;

		memset(buf, (int)(i & 0xff), len);
		memcpy(buf, &i, sizeof(i));
		if (i % 3 == 0) {
			OK(bus_pub_claim(pub, len, &c));
			memset(c.data, 0xdd, len); /* what must never be seen */
			memcpy(c.data, buf, len);
			OK(bus_pub_commit(pub, &c));
		} else {
			OK(bus_pub_send(pub, buf, len));
		}
		*committed = i + 1;
	}
}

static void check(const struct bus_msg *m, uint64_t want)
{
	const uint8_t *p = m->data;
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	EQUAL(value, want);
	EQUAL(m->len, 8 + want * 13 % 590);
	for (uint32_t k = 8; k < m->len; k++)
		EQUAL(p[k], want & 0xff);
}

static void publisher_dies(struct bus *bus, unsigned round)
{
	struct bus_sub *sub;
	struct bus_msg m;
	uint64_t got = 0;
	pid_t pid;

	*committed = 0;
	OK(bus_sub_open(&sub, bus, "death", NULL));
	pid = rig_fork();
	if (pid == 0)
		torrent();
	/* Read for a while, then kill, then read to the end. */
	while (got < round * 50) {
		rig_next(sub, &m);
		check(&m, got++);
		OK(bus_sub_release(sub, 1));
	}
	if (round % 4 == 0)
		rig_sleep_ms(2); /* it is blocked on a full ring */
	rig_kill(pid, SIGKILL);
	EQUAL(rig_wait(pid), -SIGKILL);
	while (OK(bus_sub_wait(sub, got >= *committed ? 100000000 : 10000000000)) == 1) {
		if (OK(bus_sub_peek(sub, &m, 1)) == 0)
			continue;
		check(&m, got++);
		OK(bus_sub_release(sub, 1));
	}
	/* killed between the commit and the note of it: one more than noted, whole */
	CHECK(got == *committed || got == *committed + 1);
	bus_sub_close(sub);
}

static void reader_dies(struct bus *bus, unsigned round)
{
	struct bus_pub *pub;
	uint64_t began;
	pid_t pid = rig_fork();

	if (pid == 0) {
		struct bus *own = rig_connect("victim");
		struct bus_sub *sub;
		struct bus_msg m[8];

		OK(bus_sub_open(&sub, own, "reader", NULL));
		rig_post(0);
		for (;;) {
			int n;

			OK(bus_sub_wait(sub, -1));
			n = OK(bus_sub_peek(sub, m, 8));
			if (n > 0 && round % 2)
				/* else it stops with messages borrowed */
				OK(bus_sub_release(sub, n));
		}
	}
	rig_await(0, round + 1);
	OK(bus_pub_open(&pub, bus, "reader",
			BUS_OPTS(pub, .slots = 16, .full = BUS_FULL_BLOCK, .full_ns = 10000000000)));
	for (uint64_t i = 0; i < 10; i++)
		OK(bus_pub_send(pub, &i, sizeof(i)));
	rig_kill(pid, SIGKILL);
	began = rig_now_ns();
	for (uint64_t i = 0; i < 100; i++) /* six laps: nobody gates any more */
		OK(bus_pub_send(pub, &i, sizeof(i)));
	CHECK(rig_now_ns() - began < 5000000000u);
	EQUAL(rig_wait(pid), -SIGKILL);
	bus_pub_close(pub);
}

/* A child of the dead one holds its sockets open: the process decides, not the socket. */
static void orphaned_socket(struct bus *bus)
{
	struct bus_sub *sub;
	struct bus_msg m;
	pid_t pid;

	OK(bus_sub_open(&sub, bus, "orphan", NULL));
	pid = rig_fork();
	if (pid == 0) {
		struct bus *own = rig_connect("parent");
		struct bus_pub *pub;

		OK(bus_pub_open(&pub, own, "orphan", NULL));
		OK(bus_pub_send(pub, "x", 1));
		if (fork() == 0) { /* keeps every descriptor, and may use nothing of it */
			struct bus_claim c;

			EQUAL(bus_pub_send(pub, "y", 1), -10 /* ECHILD */);
			EQUAL(bus_pub_claim(pub, 1, &c), -10);
			bus_pub_close(pub);
			bus_close(own);
			rig_post(1);
			sleep(10);
			_exit(0);
		}
		rig_await(1, 1);
		raise(SIGKILL);
	}
	EQUAL(rig_wait(pid), -SIGKILL);
	rig_next(sub, &m);
	OK(bus_sub_release(sub, 1));
	for (int i = 0;; i++) { /* drained and closed: the ring leaves the subscription */
		struct bus_sub_info info;

		CHECK(i < 300);
		EQUAL(bus_sub_peek(sub, &m, 1), 0);
		OK(bus_sub_info(sub, &info));
		if (info.rings == 0)
			break;
		rig_sleep_ms(10);
	}
	bus_sub_close(sub);
}

int main(void)
{
	struct bus_topic_info info = { .name = "" };
	struct bus *bus;

	rig_busd_start(NULL);
	committed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(committed != MAP_FAILED);
	bus = rig_connect("survivor");
	for (unsigned round = 0; round < ROUNDS; round++) {
		publisher_dies(bus, round);
		reader_dies(bus, round);
	}
	orphaned_socket(bus);
	while (OK(bus_topic_next(bus, NULL, &info)) == 1) {
		EQUAL(info.publishers, 0);
		EQUAL(info.subscribers, 0);
		CHECK(info.rings <= 1);
	}
	bus_close(bus);
	return rig_done();
}
