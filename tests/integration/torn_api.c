/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: through the public API too, a lossy subscriber in another process never gets a torn
 * message, not one in 30 million, and its losses are exact: each message says how many of its
 * publisher's are missing right before it.
 *
 * The publisher is never gated and laps its subscriber all the time. Each byte of a message follows
 * from its number. The subscriber reads in place, then releases: what bus_sub_release() calls good
 * must be whole; what it voids is read to its end all the same, and some of it must be torn, or the
 * run has not shown anything (skipped). Each eighth message comes by bus_sub_recv(), whose copies
 * must be whole always.
 *
 * torn_api [MILLIONS]
 *
 * serial: two processes race each other and need both processors
 * timeout: 180
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bus_rig.h"

#define SLOTS       128
#define BYTES       16384
#define LEN_MAX     512
#define BATCH       16
#define GOOD_WANTED 30000000u
#define LIMIT_NS    UINT64_C(120000000000)
#define REST_NS     UINT64_C(40) /* a message */
#define SKIP        77

struct account {
	uint64_t next; /* number expected next, without loss */
	uint64_t good, lost, discarded, discarded_torn;
};

static uint64_t hash(uint64_t x)
{
	x = (x ^ x >> 31) * UINT64_C(0x7fb5d329728ea185);
	return x ^ x >> 27;
}

static uint32_t len_of(uint64_t seq)
{
	uint64_t h = hash(seq);

	switch (h & 3) {
	case 0:
		return (uint32_t)(h >> 8) % 25;
	case 1:
		return 64;
	case 2:
		return 65 + (uint32_t)(h >> 8) % 192;
	default:
		return (uint32_t)(h >> 8) % LEN_MAX;
	}
}

static uint64_t word_of(uint64_t seq, uint32_t i)
{
	return (seq + 1) * UINT64_C(0x9e3779b97f4a7c15) + i;
}

static uint32_t fill(uint8_t *at, uint64_t seq)
{
	uint32_t len = len_of(seq);

	for (uint32_t i = 0; i < len; i += 8) { /* at has room for whole words */
		uint64_t w = word_of(seq, i);

		memcpy(at + i, &w, 8);
	}
	return len;
}

static bool whole(const struct bus_msg *m)
{
	const uint8_t *at = m->data;
	uint32_t i = 0;
	uint64_t w;

	if (m->len != len_of(m->seq))
		return false;
	for (; m->len - i >= 8; i += 8) {
		memcpy(&w, at + i, 8);
		if (w != word_of(m->seq, i))
			return false;
	}
	w = word_of(m->seq, i);
	return memcmp(at + i, &w, m->len - i) == 0;
}

/* In bursts of up to six laps, resting for about as long as the subscriber needs to come near. */
static void publish_for_ever(void)
{
	struct bus *bus = rig_connect("publisher");
	struct bus_pub *pub;
	uint8_t bytes[LEN_MAX + 8];
	uint64_t seq = 0;

	OK(bus_pub_open(&pub, bus, "torn",
			BUS_OPTS(pub, .slots = SLOTS, .bytes = BYTES, .full = BUS_FULL_FAIL)));
	for (;;) {
		unsigned burst = 1 + (unsigned)(hash(seq) % (6 * SLOTS));
		uint64_t rest = burst * REST_NS;

		for (; burst > 0; burst--, seq++) {
			uint32_t len = fill(bytes, seq);

			OK(bus_pub_send(pub, bytes, len)); /* nobody gates it: never -EAGAIN */
		}
		rest += rig_now_ns();
		while (rig_now_ns() < rest)
			sched_yield();
	}
}

static void expect(struct account *acc, uint64_t *next, const struct bus_msg *m)
{
	if (m->seq != *next + m->lost) {
		fprintf(stderr, "torn_api: message %lu after %lu says %lu lost\n",
			(unsigned long)m->seq, (unsigned long)*next, (unsigned long)m->lost);
		rig_exit(1);
	}
	acc->lost += m->lost;
	*next = m->seq + 1;
}

static void torn(const char *how, const struct bus_msg *m)
{
	fprintf(stderr, "torn_api: message %lu came torn by %s\n", (unsigned long)m->seq, how);
	rig_exit(1);
}

static void take_batch(struct bus_sub *sub, struct account *acc)
{
	struct bus_msg msgs[BATCH];
	uint64_t next = acc->next, lost = acc->lost;
	bool ok[BATCH];
	int n = bus_sub_peek(sub, msgs, BATCH), rc;

	if (OK(n) == 0) {
		sched_yield(); /* a publisher on the same processor has its turn */
		return;
	}
	for (int i = 0; i < n; i++) {
		expect(acc, &next, &msgs[i]);
		ok[i] = whole(&msgs[i]);
		/*
		 * What peek copied is good at once: lengths, and small messages with their bytes.
		 */
		if (msgs[i].len != len_of(msgs[i].seq) || (!ok[i] && msgs[i].len <= 24))
			torn("peek", &msgs[i]);
	}
	rc = bus_sub_release(sub, n);
	if (rc == -ESTALE) { /* void: counted as lost before the next message */
		acc->lost = lost;
		acc->discarded += (unsigned)n;
		for (int i = 0; i < n; i++)
			acc->discarded_torn += !ok[i];
		return;
	}
	OK(rc);
	for (int i = 0; i < n; i++) {
		if (!ok[i])
			torn("peek and release", &msgs[i]);
	}
	acc->good += (unsigned)n;
	acc->next = next;
}

static void take_copy(struct bus_sub *sub, struct account *acc)
{
	uint8_t bytes[LEN_MAX];
	struct bus_msg m;
	int rc = bus_sub_recv(sub, bytes, sizeof(bytes), &m);

	if (OK(rc) == 0)
		return;
	expect(acc, &acc->next, &m);
	if (!whole(&m))
		torn("copy", &m);
	acc->good++;
}

int main(int argc, char **argv)
{
	uint64_t wanted = argc > 1 ? strtoull(argv[1], NULL, 10) * 1000000 : GOOD_WANTED;
	uint64_t deadline = rig_now_ns() + LIMIT_NS;
	struct account acc = { 0 };
	struct bus *bus;
	struct bus_sub *sub;
	pid_t publisher;

	rig_busd_start(NULL);
	bus = rig_connect("subscriber");
	OK(bus_sub_open(&sub, bus, "torn", BUS_OPTS(sub, .policy = BUS_LOSSY)));
	publisher = rig_fork();
	if (publisher == 0)
		publish_for_ever();
	while (acc.good < wanted && rig_now_ns() < deadline) {
		for (int i = 0; i < 1000; i++) {
			if (i % 8 != 0)
				take_batch(sub, &acc);
			else
				take_copy(sub, &acc);
		}
	}
	rig_kill(publisher, SIGKILL);
	(void)rig_wait(publisher);
	printf("%lu good, %lu lost, %lu discarded of which %lu were torn\n",
	       (unsigned long)acc.good, (unsigned long)acc.lost, (unsigned long)acc.discarded,
	       (unsigned long)acc.discarded_torn);
	bus_close(bus);
	if (rig_done() != 0)
		return 1;
	if (acc.good < wanted || acc.discarded_torn == 0) {
		printf("only %lu messages in the time, %lu of the discarded were torn\n",
		       (unsigned long)acc.good, (unsigned long)acc.discarded_torn);
		return SKIP;
	}
	return 0;
}
