/* SPDX-License-Identifier: Apache-2.0 */
/*
 * death_latency.c - how soon a blocked publisher goes on when the reliable subscriber that holds it
 * is killed: from the return of kill() in a third process to the return of bus_pub_send().
 *
 *	death_latency [DEATHS]
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/bus_rig.h"

#define MOST 10000

struct shared {
	_Atomic uint64_t freed_ns; /* when the publisher's send returned */
	_Atomic uint32_t blocking; /* its ring is full: the next send blocks */
	_Atomic uint32_t go;
};

static struct shared *shared;

static void publisher(void)
{
	struct bus *bus = rig_connect("blocked");

	for (uint32_t round = 1;; round++) {
		uint64_t value = 0;
		struct bus_pub *pub;

		while (shared->go < round)
			rig_sleep_ms(1);
		OK(bus_pub_open(&pub, bus, "latency",
				BUS_OPTS(pub, .slots = 16, .full = BUS_FULL_BLOCK, .full_ns = -1)));
		for (int i = 0; i < 16; i++)
			OK(bus_pub_send(pub, &value, sizeof(value)));
		shared->freed_ns = 0;
		shared->blocking = round;
		OK(bus_pub_send(pub, &value, sizeof(value)));
		shared->freed_ns = rig_now_ns();
		bus_pub_close(pub);
	}
}

static void subscriber(uint32_t round)
{
	struct bus *bus = rig_connect("victim");
	struct bus_sub *sub;

	OK(bus_sub_open(&sub, bus, "latency", NULL));
	shared->go = round;
	pause(); /* reads nothing */
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int main(int argc, char **argv)
{
	int deaths = argc > 1 ? atoi(argv[1]) : 100;
	static uint64_t took[MOST];
	pid_t writer;

	if (deaths < 1 || deaths > MOST)
		return 2;
	rig_busd_start(NULL);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	writer = rig_fork();
	if (writer == 0)
		publisher();
	for (int i = 0; i < deaths; i++) {
		uint64_t killed, until = rig_now_ns() + 20000000000u;
		pid_t pid = rig_fork();

		if (pid == 0)
			subscriber((uint32_t)i + 1);
		while (shared->blocking < (uint32_t)i + 1) {
			CHECK(rig_now_ns() < until);
			rig_sleep_ms(1);
		}
		while (!rig_asleep(writer)) {
			CHECK(rig_now_ns() < until);
			rig_sleep_ms(1);
		}
		rig_sleep_ms(2);
		CHECK(shared->freed_ns == 0);
		killed = rig_now_ns();
		rig_kill(pid, SIGKILL);
		while (shared->freed_ns == 0) {
			CHECK(rig_now_ns() < until);
			rig_sleep_ms(1);
		}
		took[i] = shared->freed_ns - killed;
		EQUAL(rig_wait(pid), -SIGKILL);
	}
	rig_kill(writer, SIGKILL);
	EQUAL(rig_wait(writer), -SIGKILL);
	qsort(took, (size_t)deaths, sizeof(took[0]), by_value);
	printf("death of a reliable subscriber to its blocked publisher's next message, %d deaths: "
	       "p50 %.3f ms, p99 %.3f ms, max %.3f ms\n",
	       deaths, (double)took[deaths / 2] / 1e6, (double)took[(deaths * 99 - 1) / 100] / 1e6,
	       (double)took[deaths - 1] / 1e6);
	return rig_done();
}
