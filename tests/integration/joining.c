/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: a wildcard subscription picks up topics and publishers that appear later, and the first
 * message of each is there; '*' is one token, '>' the rest; publishing starts in the instant after
 * bus_pub_open() while the subscriber sleeps, polls or is just joining; order holds per publisher.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/bus_rig.h"

#define ROUNDS 60
#define EACH   20

static void publish_round(struct bus *bus, const char *topic, unsigned count)
{
	struct bus_pub *pub;

	OK(bus_pub_open(&pub, bus, topic, NULL));
	for (unsigned i = 0; i < count; i++)
		OK(bus_pub_send(pub, &i, sizeof(i)));
	bus_pub_close(pub);
}

/* Reads until `want` messages have come; each publisher's are numbered from 0 without a gap. */
static void read_complete(struct bus_sub *sub, unsigned want, bool spin)
{
	struct {
		uint64_t id;
		unsigned next;
	} seen[ROUNDS * 4] = { 0 };
	struct bus_msg m;

	for (unsigned got = 0; got < want;) {
		unsigned value, k = 0;

		if (spin) {
			if (OK(bus_sub_peek(sub, &m, 1)) == 0)
				continue;
		} else {
			rig_next(sub, &m);
		}
		while (seen[k].id != 0 && seen[k].id != m.from->id)
			k++;
		seen[k].id = m.from->id;
		memcpy(&value, m.data, sizeof(value));
		EQUAL(value, seen[k].next);
		EQUAL(m.seq, value);
		EQUAL(m.lost, 0);
		seen[k].next++;
		got++;
		OK(bus_sub_release(sub, 1));
	}
	EQUAL(bus_sub_peek(sub, &m, 1), 0);
}

static void subscriber(const char *pattern, unsigned want, bool spin, bool lossy)
{
	struct bus *bus = rig_connect("reader");
	struct bus_sub *sub;

	OK(bus_sub_open(&sub, bus, pattern,
			BUS_OPTS(sub, .spin_ns = 1, .policy = lossy ? BUS_LOSSY : BUS_RELIABLE)));
	rig_post(0);
	read_complete(sub, want, spin);
	bus_close(bus);
	rig_exit(0);
}

/* New topics and new publishers, opened and used at once, while readers sleep or poll. */
static void later_topics(void)
{
	pid_t child[5];
	struct bus *bus;
	char topic[64];

	child[0] = rig_fork();
	if (child[0] == 0)
		subscriber("late.>", ROUNDS * EACH * 2, false, false);
	child[1] = rig_fork();
	if (child[1] == 0)
		subscriber("late.*.x", ROUNDS * EACH, false, false);
	child[2] = rig_fork();
	if (child[2] == 0)
		subscriber("late.>", ROUNDS * EACH * 2, true, false);
	child[3] = rig_fork();
	if (child[3] == 0)
		subscriber("*.7.x", EACH, false, false);
	child[4] = rig_fork();
	if (child[4] == 0)
		/* a ring's worth is not reached: nothing is lost */
		subscriber("late.>", ROUNDS * EACH * 2, false, true);
	rig_await(0, 5);
	bus = rig_connect("writer");
	for (unsigned r = 0; r < ROUNDS; r++) {
		snprintf(topic, sizeof(topic), "late.%u.x", r);
		publish_round(bus, topic, EACH);
		publish_round(bus, "late.deep.er.x", EACH);
		if (r % 8 == 0)
			rig_sleep_ms(3); /* let them fall asleep */
	}
	for (int i = 0; i < 5; i++)
		EQUAL(rig_wait(child[i]), 0);
	bus_close(bus);
}

/*
 * Joining while a publisher publishes at full speed: from the first message that the new subscriber
 * gets on there is no gap and nothing lost, as a reliable one.
 */
static void under_load(void)
{
	struct bus *bus = rig_connect("joiner");
	pid_t writer = rig_fork();

	if (writer == 0) {
		struct bus *own = rig_connect("loader");
		struct bus_pub *pub;

		OK(bus_pub_open(&pub, own, "load", BUS_OPTS(pub, .slots = 64)));
		rig_post(1);
		for (uint64_t i = 0;; i++)
			OK(bus_pub_send(pub, &i, sizeof(i)));
	}
	rig_await(1, 1);
	for (int r = 0; r < 200; r++) {
		struct bus_sub *sub;
		struct bus_msg m[16];
		uint64_t next = 0;
		unsigned got = 0;

		OK(bus_sub_open(&sub, bus, r % 2 ? "load" : "*",
				BUS_OPTS(sub, .start = r % 3 ? BUS_START_NOW : BUS_START_OLDEST)));
		while (got < 500) {
			int n;

			CHECK(OK(bus_sub_wait(sub, 10000000000)) == 1);
			n = OK(bus_sub_peek(sub, m, 16));
			for (int i = 0; i < n; i++) {
				uint64_t value;

				memcpy(&value, m[i].data, sizeof(value));
				EQUAL(value, m[i].seq);
				if (got > 0)
					EQUAL(value, next);
				EQUAL(m[i].lost, 0);
				next = value + 1;
				got++;
			}
			if (n > 0)
				OK(bus_sub_release(sub, n));
		}
		bus_sub_close(sub);
	}
	rig_kill(writer, SIGKILL);
	EQUAL(rig_wait(writer), -SIGKILL);
	bus_close(bus);
}

int main(void)
{
	rig_busd_start(NULL);
	later_topics();
	under_load();
	return rig_done();
}
