/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instrument of autostart.sh: clients that connect with no configuration, at the same instant
 * or at the instant at which a private busd leaves.
 *
 *	autostart crowd N ROUNDS    N processes connect at once; all get the same busd, of this user, private
 *	autostart leaving N TIMES   N processes connect, use and leave TIMES times each; prints how many busd they met
 */
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bus_stat.h>

#include "lib/bus_rig.h"

#define MOST 64

struct meeting {
	_Atomic unsigned here, gone;
	_Atomic unsigned start;
	uint32_t busd[MOST];
};

static struct meeting *meeting;

/* Connects, and asks for something that only a busd that serves can answer. Its pid. */
static uint32_t meet(struct bus **ret)
{
	struct bus_stat_daemon daemon;

	OK(bus_connect(ret, BUS_OPTS(connect, .timeout_ns = 60000000000)));
	OK(bus_stat_daemon(*ret, &daemon));
	EQUAL(daemon.private_, 1);
	EQUAL(daemon.uid, getuid());
	return daemon.pid;
}

/* So that nobody is still on the way when the first one connects. */
static void start_together(unsigned n)
{
	atomic_fetch_add(&meeting->here, 1);
	while (atomic_load(&meeting->here) < n)
		sched_yield();
}

static void one_of_a_crowd(unsigned me, unsigned n)
{
	struct bus *bus;

	start_together(n);
	meeting->busd[me] = meet(&bus);
	atomic_fetch_add(&meeting->gone, 1);
	while (atomic_load(&meeting->gone) < n) /* it must not leave before all have come */
		rig_sleep_ms(1);
	bus_close(bus);
	rig_exit(0);
}

/* Not by kill(): init may take its time to bury it. */
static bool has_ended(uint32_t pid)
{
	char path[64], state = 'Z';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	f = fopen(path, "r");
	if (f == NULL)
		return true;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 'Z';
	fclose(f);
	return state == 'Z' || state == 'X';
}

static void crowd(unsigned n)
{
	pid_t pids[MOST];

	atomic_store(&meeting->here, 0);
	atomic_store(&meeting->gone, 0);
	for (unsigned i = 0; i < n; i++) {
		pids[i] = rig_fork();
		if (pids[i] == 0)
			one_of_a_crowd(i, n);
	}
	for (unsigned i = 0; i < n; i++)
		EQUAL(rig_wait(pids[i]), 0);
	for (unsigned i = 1; i < n; i++)
		EQUAL(meeting->busd[i], meeting->busd[0]);
	/* and it leaves: the next round is served by another one */
	for (unsigned i = 0; i < 6000 && !has_ended(meeting->busd[0]); i++)
		rig_sleep_ms(10);
	CHECK(has_ended(meeting->busd[0]));
}

static unsigned come_and_go(unsigned times)
{
	unsigned changes = 0;
	uint32_t last = 0;

	for (unsigned i = 0; i < times; i++) {
		struct bus *bus;
		uint32_t pid = meet(&bus);

		changes += pid != last;
		last = pid;
		bus_close(bus);
		/* a busd that stays for 1 ms is met before, while and after it leaves */
		usleep((i * 7919) % 3000);
	}
	return changes;
}

static void leaving(unsigned n, unsigned times)
{
	pid_t pids[MOST];
	unsigned changes = 0;

	for (unsigned i = 0; i < n; i++) {
		pids[i] = rig_fork();
		if (pids[i] == 0) {
			meeting->busd[i] = come_and_go(times);
			rig_exit(0);
		}
	}
	for (unsigned i = 0; i < n; i++) {
		EQUAL(rig_wait(pids[i]), 0);
		changes += meeting->busd[i];
	}
	printf("%u\n", changes);
}

int main(int argc, char **argv)
{
	unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
	unsigned times = argc > 3 ? (unsigned)atoi(argv[3]) : 0;

	CHECK(n > 0 && n <= MOST && times > 0);
	meeting = mmap(NULL, sizeof(*meeting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	CHECK(meeting != MAP_FAILED);
	if (strcmp(argv[1], "crowd") == 0)
		for (unsigned i = 0; i < times; i++)
			crowd(n);
	else
		leaving(n, times);
	return 0;
}
