/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timeout: 200
 * Proves: all of busd is killed again and again under traffic, and another one is started at its
 * path: every reliable subscriber gets each message whose send returned 0, once and in order,
 * whatever it waits by; a lossy one gets what it is not told to have lost; nobody does anything for
 * it. Publishers and subscribers that come meanwhile are served, and at the end all are known to
 * the last busd.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "lib/bus_rig.h"

#define TOPICS  3
#define PUBS    5
#define SUBS    9
#define KILLS   25
#define SIZEMAX 3000

struct message {
	uint32_t pub, size;
	uint64_t number, sum;
	uint8_t bytes[SIZEMAX];
};
#define HEAD offsetof(struct message, bytes)

static struct {
	_Atomic uint64_t sent[PUBS];
	_Atomic uint32_t over, done;
	uint64_t seed;
} * shared;

static const char *const topics[TOPICS] = { "keeper.a", "keeper.b", "other.c" };
static uint64_t state;

static uint32_t below(uint32_t n)
{
	state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)((state >> 33) % n);
}

static uint64_t sum_of(const struct message *m)
{
	uint64_t sum = m->pub * 31 + m->number * UINT64_C(0x9e3779b97f4a7c15) + m->size;

	for (uint32_t i = 0; i < m->size; i++)
		sum = sum * 131 + m->bytes[i];
	return sum;
}

/* ---- publishers ---- */

static void fill(struct message *m, uint32_t pub, uint64_t number)
{
	m->pub = pub;
	m->number = number;
	m->size = below(4) == 0 ? below(SIZEMAX) : below(40);
	for (uint32_t i = 0; i < m->size; i++)
		m->bytes[i] = (uint8_t)(number + i * 7);
	m->sum = sum_of(m);
}

static int publish(struct bus_pub *pub, const struct message *m)
{
	uint32_t len = (uint32_t)HEAD + m->size;
	struct bus_claim claim;
	struct bus_out out = { .data = m, .len = len };
	int err;

	switch (below(3)) {
	case 0:
		return bus_pub_send(pub, m, len);
	case 1:
		err = bus_pub_send_batch(pub, &out, 1);
		return err == 1 ? 0 : err;
	default:
		err = bus_pub_claim(pub, len, &claim);
		if (err < 0)
			return err;
		memcpy(claim.data, m, len);
		return bus_pub_commit(pub, &claim);
	}
}

static void publisher(uint32_t n)
{
	static struct message m;
	struct bus *bus = rig_connect("publisher");
	struct bus_pub *pub;

	state = shared->seed + n;
	OK(bus_pub_open(&pub, bus, topics[n % TOPICS],
			BUS_OPTS(pub, .slots = 64u << below(3), .bytes = 65536,
				 .full = BUS_FULL_BLOCK, .full_ns = 20000000000)));
	rig_post(1);
	for (uint64_t i = 0; !shared->over; i++) {
		fill(&m, n, i);
		OK(publish(pub, &m));
		atomic_store(&shared->sent[n], i + 1);
		if (n == 0 ? below(2000) == 0 : below(20) == 0)
			rig_sleep_ms(n == 4 ? 20 + below(30) : below(3));
	}
	shared->done++;
	rig_await(2, 1);
	bus_close(bus);
	rig_exit(0);
}

/* ---- subscribers ---- */

enum how { SLEEPS, SPINS, POLLS, RING_FD, THREAD_FD, SLOW };

struct reader {
	uint32_t n;
	enum how how;
	bool lossy;
	uint64_t next[PUBS], lost[PUBS], got;
};

static void check(struct reader *r, const struct bus_msg *msg)
{
	static struct message m;
	uint64_t gap;

	if (strncmp(msg->topic, "pair.", 5) == 0) /* of those who come and go */
		return;
	CHECK(msg->len >= HEAD && msg->len <= sizeof(m));
	memcpy(&m, msg->data, msg->len);
	CHECK(m.pub < PUBS && msg->len == HEAD + m.size && m.sum == sum_of(&m));
	if (m.number < r->next[m.pub])
		fprintf(stderr, "subscriber %u: %llu of publisher %u came again, expected %llu\n",
			r->n, (unsigned long long)m.number, m.pub,
			(unsigned long long)r->next[m.pub]);
	CHECK(m.number >= r->next[m.pub]);
	gap = m.number - r->next[m.pub];
	if (gap != msg->lost || (gap != 0 && !r->lossy))
		fprintf(stderr, "subscriber %u: %llu of publisher %u instead of %llu (lost: %llu)\n",
			r->n, (unsigned long long)m.number, m.pub,
			(unsigned long long)r->next[m.pub], (unsigned long long)msg->lost);
	EQUAL(gap, msg->lost);
	CHECK(gap == 0 || r->lossy);
	r->lost[m.pub] += gap;
	r->next[m.pub] = m.number + 1;
	r->got++;
}

static bool reads(const char *pattern, uint32_t pub)
{
	return strcmp(pattern, ">") == 0 || strcmp(pattern, topics[pub % TOPICS]) == 0 ||
	       (strcmp(pattern, "keeper.*") == 0 && pub % TOPICS < 2);
}

static bool has_all(const struct reader *r, struct bus_sub *sub, const char *pattern)
{
	struct bus_sub_info info;
	uint64_t all = 0, known = 0;

	OK(bus_sub_info(sub, &info));
	for (uint32_t i = 0; i < PUBS; i++) {
		if (!reads(pattern, i))
			continue;
		all += atomic_load(&shared->sent[i]);
		known += r->next[i];
	}
	return r->lossy ? info.delivered + info.lost >= all : known == all;
}

static void wait_for_some(struct bus_sub *sub, enum how how, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	switch (how) {
	case SLEEPS:
	case SPINS:
		OK(bus_sub_wait(sub, 50000000));
		break;
	case RING_FD:
	case THREAD_FD:
		CHECK(poll(&p, 1, 5000) == 1 || shared->over);
		break;
	case SLOW:
		rig_sleep_ms(10);
		break;
	default:
		break;
	}
}

static void subscriber(uint32_t n)
{
	static uint8_t copy[sizeof(struct message)];
	static const char *const patterns[] = { ">", "keeper.*", "keeper.a", "other.c" };
	const char *pattern = patterns[n % 4];
	struct reader r = { .n = n, .how = (enum how)(n % 6), .lossy = n >= 6 && n % 2 == 1 };
	struct bus *bus = rig_connect("subscriber");
	struct bus_sub *sub;
	uint64_t until = 0;
	int fd = -1;

	state = shared->seed * 3 + n;
	OK(bus_sub_open(&sub, bus, pattern,
			BUS_OPTS(sub, .policy = r.lossy ? BUS_LOSSY : BUS_RELIABLE,
				 .spin_ns = r.how == SLEEPS ? 1 : 0,
				 .flags = r.how == THREAD_FD ? BUS_SUB_FD_THREAD : 0)));
	if (r.how == RING_FD || r.how == THREAD_FD)
		fd = OK(bus_sub_fd(sub));
	rig_post(0);
	for (;;) {
		struct bus_msg msg[8];
		int got = r.lossy ? bus_sub_recv(sub, copy, sizeof(copy), msg)
				  : bus_sub_peek(sub, msg, 1 + (int)below(8));

		OK(got);
		for (int i = 0; i < got; i++)
			check(&r, &msg[i]);
		if (got > 0 && !r.lossy)
			EQUAL(bus_sub_release(sub, got), 0);
		if (got > 0 && r.how == SLOW && below(10) == 0)
			rig_sleep_ms(below(20));
		if (got == 0)
			wait_for_some(sub, r.how, fd);
		if (shared->done < PUBS)
			continue;
		if (until == 0)
			until = rig_now_ns() + 10000000000u;
		if (got == 0 && has_all(&r, sub, pattern))
			break;
		if (rig_now_ns() > until) {
			for (uint32_t i = 0; i < PUBS; i++)
				fprintf(stderr, "subscriber %u (%s): publisher %u: %llu of %llu\n",
					n, pattern, i, (unsigned long long)r.next[i],
					(unsigned long long)shared->sent[i]);
			CHECK(!"all messages came");
		}
	}
	rig_post(3);
	rig_await(2, 1);
	bus_close(bus);
	rig_exit(0);
}

/* ---- who comes meanwhile: a pair of its own ---- */

static void a_pair(struct bus *bus, unsigned round)
{
	struct bus_pub *pub;
	struct bus_sub *sub;
	struct bus_msg m;
	char topic[40];

	snprintf(topic, sizeof(topic), "pair.%u", round);
	OK(bus_sub_open(&sub, bus, topic, NULL));
	OK(bus_pub_open(&pub, bus, topic, NULL));
	for (uint32_t i = 0; i < 100; i++) {
		OK(bus_pub_send(pub, &i, sizeof(i)));
		rig_next(sub, &m);
		EQUAL(memcmp(m.data, &i, sizeof(i)), 0);
		EQUAL(bus_sub_release(sub, 1), 0);
	}
	bus_sub_close(sub);
	bus_pub_close(pub);
}

/* One that crashed would only be missed at the end. */
static void all_live(const pid_t *child, int count)
{
	for (int i = 0; i < count; i++) {
		int status, got = waitpid(child[i], &status, WNOHANG);

		if (got == child[i])
			fprintf(stderr, "%s %d ended with status %#x\n",
				i < PUBS ? "publisher" : "subscriber", i < PUBS ? i : i - PUBS,
				(unsigned)status);
		EQUAL(got, 0);
	}
}

int main(void)
{
	const char *seed = getenv("BUS_TEST_SEED");
	pid_t child[PUBS + SUBS];
	struct bus *bus;
	struct bus_topic_info info = { .name = "" };
	uint32_t pubs = 0, subs = 0;
	int rounds = getenv("BUS_SAN") != NULL && *getenv("BUS_SAN") ? KILLS / 3 : KILLS;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(shared != MAP_FAILED);
	shared->seed = seed != NULL ? strtoull(seed, NULL, 0) : rig_now_ns() % 100000;
	fprintf(stderr, "seed %llu\n", (unsigned long long)shared->seed);
	state = shared->seed;
	rig_busd_start("log: stderr\nlog_level: error\n");
	for (uint32_t i = 0; i < SUBS; i++) {
		child[PUBS + i] = rig_fork();
		if (child[PUBS + i] == 0)
			subscriber(i);
	}
	rig_await(0, SUBS);
	for (uint32_t i = 0; i < PUBS; i++) {
		child[i] = rig_fork();
		if (child[i] == 0)
			publisher(i);
	}
	rig_await(1, PUBS);
	for (int i = 0; i < rounds; i++) {
		rig_sleep_ms(below(3) == 0 ? below(20) : below(600));
		rig_busd_kill();
		rig_sleep_ms(below(3) == 0 ? below(900) : below(30));
		rig_busd_again(NULL);
		all_live(child, PUBS + SUBS);
		if (i % 5 == 4) {
			bus = rig_connect("pair");
			a_pair(bus, (unsigned)i);
			bus_close(bus);
		}
	}
	rig_sleep_ms(1500);
	shared->over = 1;
	rig_await(3, SUBS);
	bus = rig_connect("counts");
	while (OK(bus_topic_next(bus, NULL, &info)) == 1) {
		if (strncmp(info.name, "pair.", 5) == 0)
			continue;
		pubs += info.publishers;
		subs += info.subscribers;
	}
	EQUAL(pubs, PUBS);
	EQUAL(subs, 3 * 3 + 2 * 2 + 2 + 2); /* by topic */
	bus_close(bus);
	rig_post(2);
	for (uint32_t i = 0; i < PUBS + SUBS; i++)
		EQUAL(rig_wait(child[i]), 0);
	return rig_done();
}
