/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timeout: 180
 * Proves: one subscriber reads a hundred topics; a hundred publishers of one process on one topic;
 * and more publishing processes than one futex_waitv() can wait for (140), asleep between messages,
 * by waiting and by descriptor; every message once, in order per publisher. What they leave behind
 * is given back.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/bus_rig.h"

#define MANY      100
#define EACH      50
#define PROCESSES 140

struct account {
	uint64_t id;
	unsigned next;
};

static void count(struct account *accounts, unsigned room, const struct bus_msg *m)
{
	unsigned k = 0, value;

	while (k < room && accounts[k].id != 0 && accounts[k].id != m->from->id)
		k++;
	CHECK(k < room);
	accounts[k].id = m->from->id;
	memcpy(&value, m->data, sizeof(value));
	EQUAL(value, accounts[k].next);
	EQUAL(m->lost, 0);
	accounts[k].next++;
}

static void read_all(struct bus_sub *sub, unsigned publishers, unsigned each, bool by_fd)
{
	struct account *accounts = calloc(publishers, sizeof(*accounts));
	struct bus_msg m[64];

	CHECK(accounts != NULL);
	for (unsigned got = 0; got < publishers * each;) {
		int n = OK(bus_sub_peek(sub, m, 64));

		if (n == 0 && by_fd) {
			struct pollfd p = { .fd = OK(bus_sub_fd(sub)), .events = POLLIN };

			CHECK(poll(&p, 1, 30000) == 1);
		} else if (n == 0) {
			CHECK(OK(bus_sub_wait(sub, 30000000000)) == 1);
		}
		for (int i = 0; i < n; i++)
			count(accounts, publishers, &m[i]);
		if (n > 0)
			OK(bus_sub_release(sub, n));
		got += (unsigned)n;
	}
	EQUAL(bus_sub_peek(sub, m, 1), 0);
	free(accounts);
}

static void many_of_one_process(bool topics)
{
	struct bus *bus = rig_connect("many"), *other = rig_connect("many too");
	struct bus_pub *pub[MANY];
	struct bus_sub *before, *after;
	char name[32];

	OK(bus_sub_open(&before, bus, "many.>", NULL));
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "many.%u", topics ? i : 0);
		OK(bus_pub_open(&pub[i], other, name, NULL));
	}
	OK(bus_sub_open(&after, bus, "many.*", NULL));
	for (unsigned k = 0; k < EACH; k++)
		for (unsigned i = 0; i < MANY; i++)
			OK(bus_pub_send(pub[i], &k, sizeof(k)));
	read_all(before, MANY, EACH, false);
	read_all(after, MANY, EACH, true);
	bus_close(other);
	bus_close(bus);
}

static void publisher(unsigned i)
{
	struct bus *bus = rig_connect("one of many");
	struct bus_pub *pub;

	OK(bus_pub_open(&pub, bus, "crowd", BUS_OPTS(pub, .slots = 16)));
	rig_post(0);
	rig_await(1, 1);
	for (unsigned k = 0; k < EACH; k++) {
		OK(bus_pub_send(pub, &k, sizeof(k)));
		if ((k + i) % 10 == 0)
			usleep((i * 37 + k * 11) % 20000);
	}
	bus_close(bus);
	rig_exit(0);
}

static void many_processes(void)
{
	struct bus *bus = rig_connect("crowd");
	struct bus_sub *waits, *polls;
	pid_t pid[PROCESSES], reader;

	for (unsigned i = 0; i < PROCESSES; i++) {
		pid[i] = rig_fork();
		if (pid[i] == 0)
			publisher(i);
	}
	OK(bus_sub_open(&waits, bus, "crowd", BUS_OPTS(sub, .spin_ns = 1)));
	rig_await(0, PROCESSES);
	reader = rig_fork();
	if (reader == 0) {
		struct bus *own = rig_connect("crowd by descriptor");

		OK(bus_sub_open(&polls, own, "crowd", NULL));
		rig_post(2);
		read_all(polls, PROCESSES, EACH, true);
		rig_exit(0);
	}
	rig_await(2, 1);
	rig_post(1);
	read_all(waits, PROCESSES, EACH, false);
	EQUAL(rig_wait(reader), 0);
	for (unsigned i = 0; i < PROCESSES; i++)
		EQUAL(rig_wait(pid[i]), 0);
	bus_close(bus);
}

int main(void)
{
	struct bus_topic_info info;
	struct bus *bus;

	rig_busd_start(NULL);
	many_of_one_process(true);
	many_of_one_process(false);
	many_processes();
	bus = rig_connect("after");
	for (int i = 0; i < 300; i++) {
		unsigned rings = 0;

		info.name[0] = '\0';
		while (OK(bus_topic_next(bus, NULL, &info)) == 1) {
			EQUAL(info.publishers, 0);
			EQUAL(info.subscribers, 0);
			rings += info.rings;
		}
		if (rings <= MANY + 2) /* one a topic is kept for late readers */
			return bus_close(bus), rig_done();
		rig_sleep_ms(10);
	}
	CHECK(!"rings of those who have gone are given back");
}
