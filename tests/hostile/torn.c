/* SPDX-License-Identifier: Apache-2.0 */
/*
 * torn.c - a lossy reader in another process never gets a torn message: not one in 30 million.
 *
 * A publisher that nobody gates runs in a process of its own and laps the reader all the time. Each
 * byte of a message follows from its number. The reader reads in place, then asks release(): what
 * that calls good must be whole, what it calls stale is discarded and counted. Three things show
 * that the run proves something:
 *   - among the discarded are messages that were torn, so the reader was overtaken while it read;
 *   - good + discarded + skipped = all numbers that the reader passed;
 *   - a second reader, which looks at the commit word alone instead of the frontier, does accept
 *     torn messages.
 * Where the last does not show within its time the machine cannot show the danger: skipped, not
 * passed.
 *
 * torn [MILLIONS]
 *
 * serial: two processes race each other and need both processors
 * timeout: 150
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "lib/ring_rig.h"

#define SLOTS        128
#define BYTES        8192
#define PAUSES       4
#define GOOD_WANTED  30000000u
#define RUN_LIMIT_NS UINT64_C(100000000000)
#define WEAK_ENOUGH  1000u /* torn messages after which the weak reader has made its point */
#define WEAK_NS      UINT64_C(15000000000)
#define SKIP         77

struct account {
	uint64_t good, torn, discarded, discarded_torn, skipped;
};

static uint64_t hash(uint64_t x)
{
	x = (x ^ x >> 31) * UINT64_C(0x7fb5d329728ea185);
	return x ^ x >> 27;
}

/* In the slot, one line, a few lines, many: a quarter each. */
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
		return (uint32_t)(h >> 8) % 512;
	}
}

static pid_t start_publisher(struct ring_rig *rig)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	/*
	 * In bursts of up to six laps, pausing for about as long as its reader needs to come near.
	 */
	for (;;) {
		unsigned burst = 1 + hash(rig->pub.n) % (6 * SLOTS), pauses = burst * PAUSES;

		for (; burst > 0; burst--) {
			if (rig_send(rig, len_of(rig->pub.n)) != RING_ROOM)
				_exit(2); /* nobody gates it: it must never be refused */
		}
		for (; pauses > 0; pauses--)
			bus_cpu_relax();
		sched_yield();
	}
}

static int stop_publisher(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, WNOHANG) == pid) {
		fprintf(stderr, "torn: the publisher ended by itself, status %d\n", status);
		return 1;
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return 0;
}

/* Sometimes the reader is slow at the worst time: with half a message read. */
static void dawdle(uint64_t seq)
{
	unsigned pauses = (hash(seq) >> 40 & 127) == 0 ? 100 : 0;

	while (pauses-- > 0)
		bus_cpu_relax();
}

static bool whole(const struct ring_reader *rd, const struct ring_peeked *p)
{
	bool ok = p->len == len_of(p->seq) && p->time == p->seq;

	/* Only a length that belongs to the number is read: another one is torn already. */
	return ok && rig_filled(rig_payload(rd, p), p->seq, p->len);
}

static void read_one(struct ring_reader *rd, struct account *acc)
{
	struct ring_peeked p;
	enum ring_look look = ring_reader_peek(rd, &p);
	bool ok;

	if (look == RING_LAPPED) {
		ring_reader_lapped(rd);
		return;
	}
	if (look == RING_EMPTY) {
		sched_yield(); /* a publisher on the same processor has its turn */
		return;
	}
	dawdle(p.seq);
	ok = look == RING_MESSAGE && whole(rd, &p);
	/* What peek copied out of the slot is whole already, whatever release says. */
	if (look != RING_MESSAGE || p.len != len_of(p.seq) || p.time != p.seq ||
	    (!ok && (p.flags & RING_FLAG_INLINE)))
		acc->torn++;
	rd->ahead++;
	if (!ring_reader_release(rd, 1, p.pos)) {
		acc->discarded++;
		acc->discarded_torn += !ok;
	} else if (ok) {
		acc->good++;
	} else {
		acc->torn++;
	}
}

/*
 * What docs/memory-model.md warns of: a reader that believes a message whose commit word is the
 * same before and after.
 */
static void read_one_weakly(struct ring_reader *rd, struct account *acc)
{
	const struct ring_slot *slot = ring_slot_of(&rd->view, rd->ahead);
	uint64_t c = bus_load_acquire(&slot->commit), lens;
	struct ring_peeked p = { .seq = rd->ahead };
	bool ok;

	if (c != rd->ahead + 1) {
		if (c > rd->ahead + 1)
			ring_reader_lapped(rd);
		return;
	}
	p.pos = bus_load_relaxed(&slot->pos);
	p.time = bus_load_relaxed(&slot->time);
	lens = bus_load_relaxed(&slot->lens);
	p.len = (uint32_t)lens;
	p.flags = (uint32_t)bus_load_relaxed(&slot->attrs);
	for (int i = 0; i < 3; i++)
		p.in[i] = bus_load_relaxed(&slot->in[i]);
	dawdle(p.seq);
	ok = whole(rd, &p);
	bus_fence_acquire();
	if (bus_load_relaxed(&slot->commit) != c)
		acc->discarded++;
	else if (ok)
		acc->good++;
	else
		acc->torn++;
	rd->ahead++;
	rd->cur++;
}

static int run_weak(struct account *acc)
{
	static struct ring_rig rig;
	struct ring_reader *rd;
	uint64_t deadline = bus_monotonic_ns() + WEAK_NS;
	pid_t pid;

	if (rig_make(&rig, SLOTS, BYTES, RIG_TWO_MAPPINGS) < 0)
		return 1;
	rd = rig_join(&rig, 0, false);
	rig.pub.member_count = 0;
	pid = start_publisher(&rig);
	if (pid < 0)
		return 1;
	while (acc->torn < WEAK_ENOUGH && bus_monotonic_ns() < deadline) {
		for (int i = 0; i < 10000; i++)
			read_one_weakly(rd, acc);
	}
	return stop_publisher(pid);
}

static int run_good(struct account *acc, uint64_t wanted)
{
	static struct ring_rig rig;
	struct ring_reader *rd;
	uint64_t deadline = bus_monotonic_ns() + RUN_LIMIT_NS;
	pid_t pid;

	if (rig_make(&rig, SLOTS, BYTES, RIG_TWO_MAPPINGS) < 0)
		return 1;
	rd = rig_join(&rig, 0, false);
	rig.pub.member_count = 0;
	pid = start_publisher(&rig);
	if (pid < 0)
		return 1;
	while (acc->good < wanted && acc->torn == 0 && bus_monotonic_ns() < deadline) {
		for (int i = 0; i < 10000; i++)
			read_one(rd, acc);
	}
	acc->skipped = rd->lost - acc->discarded;
	if (rd->delivered + rd->lost != rd->cur || acc->good + acc->torn != rd->delivered) {
		fprintf(stderr, "torn: of %lu numbers %lu were delivered and %lu lost\n",
			(unsigned long)rd->cur, (unsigned long)rd->delivered,
			(unsigned long)rd->lost);
		acc->torn++;
	}
	return stop_publisher(pid);
}

static void show(const char *who, const struct account *acc)
{
	printf("%s: %lu good, %lu torn, %lu discarded of which %lu were torn, %lu skipped\n", who,
	       (unsigned long)acc->good, (unsigned long)acc->torn, (unsigned long)acc->discarded,
	       (unsigned long)acc->discarded_torn, (unsigned long)acc->skipped);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	uint64_t wanted = argc > 1 ? strtoull(argv[1], NULL, 10) * 1000000 : GOOD_WANTED;
	struct account good = { 0 }, weak = { 0 };

	if (run_weak(&weak) != 0)
		return 1;
	show("commit word alone", &weak);
	if (run_good(&good, wanted) != 0)
		return 1;
	show("frontier", &good);
	if (good.torn != 0)
		return 1;
	if (weak.torn < WEAK_ENOUGH) {
		printf("the reader that must be fooled was fooled %lu times only\n",
		       (unsigned long)weak.torn);
		return SKIP;
	}
	if (good.good < wanted || good.discarded_torn == 0) {
		printf("only %lu messages in the time, %lu of the discarded were torn\n",
		       (unsigned long)good.good, (unsigned long)good.discarded_torn);
		return SKIP;
	}
	return 0;
}
