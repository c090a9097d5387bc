/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: a topic is removed by force, some hundred times, under a publisher whose reader stands at
 * the end of its ring and looks whether that is closed: each message whose send returned 0 is read;
 * the send that returns -ESHUTDOWN is the last, and only its message, or batch, may come or not. So
 * too where the worker is killed meanwhile. Reader and publisher are one thread, so that busd runs
 * beside it on two processors; it has many more publishers to tell, which makes it slow.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/bus_rig.h"

#define ROUNDS 90
#define OTHERS 60
#define BATCH  5

enum { CROWD, READING };

static void name_of(char *name, int round)
{
	snprintf(name, 32, "removed.%d", round);
}

static pid_t worker(void)
{
	char path[64];
	FILE *file;
	int pid = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", rig_busd_pid(), rig_busd_pid());
	file = fopen(path, "r");
	if (file && fscanf(file, "%d", &pid) != 1)
		pid = 0;
	if (file)
		fclose(file);
	return pid;
}

/* Publishers that say nothing, and then a removal. */
static void crowd(int round)
{
	struct bus *bus = rig_connect("crowd");
	struct bus_pub *pub;
	char name[32];

	name_of(name, round);
	for (int i = 0; i < OTHERS; i++)
		OK(bus_pub_open(&pub, bus, name, BUS_OPTS(pub, .slots = 16, .bytes = 4096)));
	rig_post(CROWD);
	rig_await(READING, (unsigned)round + 1);
	usleep((unsigned)(round * 37 % 900));
	if (round % 5 == 4) {
		pid_t pid = worker();
		pid_t killer = rig_fork();

		if (killer == 0) {
			usleep((unsigned)(round * 53 % 600));
			if (pid > 0)
				rig_kill(pid, SIGKILL);
			rig_exit(0);
		}
		OK(bus_topic_remove(bus, name, BUS_TOPIC_FORCE));
		EQUAL(rig_wait(killer), 0);
	} else {
		OK(bus_topic_remove(bus, name, BUS_TOPIC_FORCE));
	}
	bus_close(bus);
	rig_exit(0);
}

static int send_some(struct bus_pub *pub, uint64_t n, int batch)
{
	struct bus_out out[BATCH] = { 0 };
	uint64_t numbers[BATCH];

	if (batch == 1)
		return bus_pub_send(pub, &n, sizeof(n)) ?: 1;
	for (int i = 0; i < batch; i++) {
		numbers[i] = n + (uint64_t)i;
		out[i].data = &numbers[i];
		out[i].len = sizeof(n);
	}
	return bus_pub_send_batch(pub, out, batch);
}

/* The number of the next message that is to come. The end of a ring is looked for now and then. */
static uint64_t read_some(struct bus_sub *sub, uint64_t n)
{
	for (int looks = 0; looks < 20; looks++) {
		struct bus_msg m[BATCH];
		int got = OK(bus_sub_peek(sub, m, BATCH));

		for (int i = 0; i < got; i++, n++) {
			uint64_t number;

			EQUAL(m[i].lost, 0);
			EQUAL(m[i].len, sizeof(number));
			memcpy(&number, m[i].data, sizeof(number));
			EQUAL(number, n);
		}
		OK(bus_sub_release(sub, got));
	}
	return n;
}

/* Returns how many messages were sent with 0. */
static uint64_t one_round(struct bus *bus, int round)
{
	int batch = round % 3 == 2 ? BATCH : 1, sent;
	uint64_t read = 0, returned = 0;
	struct bus_sub_info info;
	struct bus_pub *pub;
	struct bus_sub *sub;
	char name[32];

	name_of(name, round);
	OK(bus_sub_open(&sub, bus, name, NULL));
	OK(bus_pub_open(&pub, bus, name, BUS_OPTS(pub, .full = BUS_FULL_FAIL)));
	rig_post(READING);
	for (;;) {
		sent = send_some(pub, returned, batch);
		if (sent < 0)
			break;
		returned += (uint64_t)sent;
		read = read_some(sub, read);
		if (read != returned)
			fprintf(stderr, "round %d: %llu sends returned 0, %llu were read\n", round,
				(unsigned long long)returned, (unsigned long long)read);
		EQUAL(read, returned);
	}
	EQUAL(sent, -ESHUTDOWN);
	EQUAL(bus_pub_send(pub, "x", 1), -ESHUTDOWN);
	do {
		read = read_some(sub, read);
		OK(bus_sub_info(sub, &info));
	} while (info.rings > 0);
	CHECK(read <= returned + (uint64_t)batch);
	bus_pub_close(pub);
	bus_sub_close(sub);
	return returned;
}

int main(void)
{
	uint64_t sum = 0;
	struct bus *bus;

	rig_busd_start(NULL);
	bus = rig_connect("both");
	for (int round = 0; round < ROUNDS; round++) {
		pid_t child = rig_fork();

		if (child == 0)
			crowd(round);
		rig_await(CROWD, (unsigned)round + 1);
		sum += one_round(bus, round);
		EQUAL(rig_wait(child), 0);
	}
	printf("%d removals beside %llu sends\n", ROUNDS, (unsigned long long)sum);
	bus_close(bus);
	return rig_done();
}
