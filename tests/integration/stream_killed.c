/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: busd's worker killed by -9 again and again under load, and publishers at any moment, who come again
 * under their names and send all from the start: a stream has every message once, in each publisher's
 * order, under numbers without a gap; what was said to be in the stream before a kill is there after it; its time
 * stamps never go back; two readers see the same.
 * timeout: 120
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bus_rig.h"

#define PUBS      3
#define COUNT     600000u
#define BURST     5000u
#define KILLS     25
#define READERS   2
#define BYTES_MAX 160

enum { READY, STARTED, SUM };

struct message {
	uint32_t pub, number;
	uint64_t sum;
	uint8_t rest[];
};

static uint64_t sum_of(const void *data, size_t len, uint64_t sum)
{
	const uint8_t *byte = data;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ byte[i]) * UINT64_C(0x100000001b3);
	return sum;
}

/* As long as its number says, from inline to a few lines. */
static uint32_t length_of(uint32_t pub, uint32_t number)
{
	uint32_t x = (number * 2654435761u) ^ pub;

	return (uint32_t)sizeof(struct message) +
	       (x % 4 == 0 ? 0 : x % (BYTES_MAX - sizeof(struct message)));
}

static uint32_t fill(uint8_t *to, uint32_t pub, uint32_t number)
{
	struct message *m = (struct message *)(void *)to;
	uint32_t len = length_of(pub, number);

	m->pub = pub;
	m->number = number;
	for (uint32_t i = 0; i < len - sizeof(*m); i++)
		m->rest[i] = (uint8_t)(number + i);
	m->sum = sum_of(m->rest, len - sizeof(*m), pub * UINT64_C(1000003) + number);
	return len;
}

/* ---- who publishes ---- */

static void publish_all(uint32_t id)
{
	char name[16];
	uint8_t buf[BYTES_MAX] __attribute__((aligned(8)));
	struct bus *bus = rig_connect("publisher");
	struct bus_pub *pub;
	struct bus_pub_info info;
	uint64_t said = 0, now;
	int err;

	snprintf(name, sizeof(name), "p%u", id);
	/* who has just been killed may not be gone yet */
	for (int i = 0; (err = bus_pub_open(&pub, bus, "s", BUS_OPTS(pub, .name = name))) == -EBUSY;
	     i++) {
		CHECK(i < 1000);
		rig_sleep_ms(10);
	}
	OK(err);
	OK(bus_pub_info(pub, &info));
	OK(bus_pub_rewind(pub, 0));
	for (uint32_t n = 0; n < COUNT; n++) {
		OK(bus_pub_send(pub, buf, fill(buf, id, n)));
		if (n % BURST != 0 || n < info.seq)
			continue;
		OK(bus_pub_reached(pub, BUS_LEVEL_STREAM, &now));
		CHECK(now >= said && now <= n + 1);
		said = now;
		if (n % 20000 == 0) {
			OK(bus_pub_wait(pub, BUS_LEVEL_STREAM, n + 1, 10000000000));
			OK(bus_pub_reached(pub, BUS_LEVEL_STREAM, &now));
			EQUAL(now, n + 1);
		}
		rig_sleep_ms(30); /* a reader must not fall a whole stream behind */
	}
	OK(bus_pub_wait(pub, BUS_LEVEL_STREAM, COUNT, 10000000000));
	bus_close(bus);
	rig_exit(0);
}

static pid_t start_publisher(uint32_t id)
{
	pid_t pid = rig_fork();

	if (pid == 0)
		publish_all(id);
	return pid;
}

/* ---- who reads ---- */

static void check(const struct bus_msg *msg, uint32_t next[PUBS], uint64_t *seq, uint64_t *time)
{
	const struct message *m = msg->data;

	CHECK(msg->len >= sizeof(*m) && m->pub < PUBS);
	EQUAL(m->number, next[m->pub]);
	EQUAL(msg->len, length_of(m->pub, m->number));
	CHECK(m->sum ==
	      sum_of(m->rest, msg->len - sizeof(*m), m->pub * UINT64_C(1000003) + m->number));
	EQUAL(msg->seq, *seq);
	EQUAL(msg->lost, 0);
	CHECK(msg->time_ns >= *time);
	CHECK(msg->from->name[0] == 'p' && msg->from->name[1] == (char)('0' + m->pub));
	*time = msg->time_ns;
	next[m->pub]++;
	++*seq;
}

static void read_all(void)
{
	struct bus *bus = rig_connect("reader");
	struct bus_sub *sub;
	struct bus_msg msgs[64];
	uint32_t next[PUBS] = { 0 };
	uint64_t seq = 0, time = 0;

	OK(bus_sub_open(&sub, bus, "s", BUS_OPTS(sub, .start = BUS_START_OLDEST)));
	rig_post(READY);
	while (seq < (uint64_t)PUBS * COUNT) {
		int n = OK(bus_sub_peek(sub, msgs, 64));

		if (n == 0)
			CHECK(bus_sub_wait(sub, 20000000000) == 1);
		for (int i = 0; i < n; i++)
			check(&msgs[i], next, &seq, &time);
		OK(bus_sub_release(sub, n));
	}
	rig_sleep_ms(100);
	EQUAL(OK(bus_sub_peek(sub, msgs, 64)), 0); /* nothing twice */
	bus_close(bus);
	rig_exit(0);
}

int main(void)
{
	pid_t pubs[PUBS], readers[READERS];
	unsigned seed = getenv("BUS_TEST_SEED") ? (unsigned)atoi(getenv("BUS_TEST_SEED"))
						: (unsigned)rig_now_ns();
	struct bus *bus;
	int done = 0;

	printf("seed %u\n", seed);
	srand(seed);
	rig_busd_start(NULL);
	bus = rig_connect("maker");
	OK(bus_topic_create(bus, "s",
			    BUS_OPTS(topic, .flags = BUS_TOPIC_STREAM, .stream_slots = 1 << 18,
				     .stream_bytes = 64 << 20)));
	for (int i = 0; i < READERS; i++) {
		readers[i] = rig_fork();
		if (readers[i] == 0)
			read_all();
	}
	rig_await(READY, READERS);
	for (uint32_t i = 0; i < PUBS; i++)
		pubs[i] = start_publisher(i);
	for (int i = 0; i < KILLS; i++) {
		rig_sleep_ms((unsigned)rand() %
			     300); /* one that lives for a moment is followed at once */
		if (rand() % 3 != 0) {
			rig_kill_worker();
		} else {
			uint32_t which = (uint32_t)rand() % PUBS;

			rig_kill(pubs[which], SIGKILL);
			CHECK(rig_wait(pubs[which]) <= 0);
			pubs[which] = start_publisher(which);
		}
	}
	for (uint32_t i = 0; i < PUBS; i++)
		done += rig_wait(pubs[i]) == 0;
	EQUAL(done, PUBS);
	for (int i = 0; i < READERS; i++)
		EQUAL(rig_wait(readers[i]), 0);
	bus_close(bus);
	return rig_done();
}
