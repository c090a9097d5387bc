/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: calls that are under way when busd's worker dies, or begin while there is none, are done
 * once the next one is there, and once only; what is closed meanwhile by a process that lives on is
 * closed; an observer goes on looking; a grown ring, an eviction and rings that were read to their
 * end survive the restart; request after request across many deaths.
 */
#include <errno.h>
#include <string.h>

#include <bus_stat.h>

#include "lib/bus_rig.h"

static pid_t keeper;

static pid_t worker(void)
{
	char path[64];
	int pid = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)keeper, (int)keeper);
	for (int tries = 0; pid == 0; tries++) {
		FILE *file = fopen(path, "re");

		CHECK(tries < 2000 && file != NULL);
		if (fscanf(file, "%d", &pid) != 1)
			pid = 0;
		fclose(file);
		if (pid == 0)
			rig_sleep_ms(1);
	}
	return pid;
}

static bool is_dead(pid_t pid)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (file == NULL)
		return true;
	if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 'Z';
	fclose(file);
	return state == 'Z' || state == 'X';
}

/* From now on there is none; its keeper stands still. */
static void no_worker(void)
{
	pid_t pid;

	for (;;) {
		pid = worker();
		rig_kill(keeper, SIGSTOP);
		if (!is_dead(pid))
			break;
		rig_kill(keeper, SIGCONT); /* one that it has not reaped yet */
		rig_sleep_ms(1);
	}
	rig_kill(pid, SIGKILL);
	while (!is_dead(pid))
		rig_sleep_ms(1);
}

static void a_worker_again(void)
{
	rig_kill(keeper, SIGCONT);
}

static void kill_worker(void)
{
	no_worker();
	a_worker_again();
}

/* A child that lets a worker be again after so long. */
static pid_t later(unsigned ms)
{
	pid_t pid = rig_fork();

	if (pid == 0) {
		rig_sleep_ms(ms);
		a_worker_again();
		rig_exit(0);
	}
	return pid;
}

static void send_number(struct bus_pub *pub, uint64_t i)
{
	OK(bus_pub_send(pub, &i, sizeof(i)));
}

static void expect_number(struct bus_sub *sub, uint64_t i)
{
	struct bus_msg m;
	uint64_t value;

	rig_next(sub, &m);
	memcpy(&value, m.data, sizeof(value));
	EQUAL(value, i);
	EQUAL(m.lost, 0);
	OK(bus_sub_release(sub, 1));
}

static unsigned clients(struct bus *bus)
{
	struct bus_stat_client client = { .id = 0 };
	unsigned n = 0;

	while (OK(bus_stat_client_next(bus, &client)) == 1)
		n++;
	return n;
}

static void opens_without_a_worker(void)
{
	struct bus *bus = rig_connect("opens");
	struct bus_topic_info info = { .name = "" };
	struct bus_pub *pub;
	struct bus_sub *sub;
	pid_t child;

	no_worker();
	child = later(200);
	OK(bus_topic_create(bus, "opens", BUS_OPTS(topic, .flags = BUS_TOPIC_EXCLUSIVE)));
	EQUAL(rig_wait(child), 0);
	no_worker();
	child = later(200);
	OK(bus_sub_open(&sub, bus, "opens", NULL));
	EQUAL(rig_wait(child), 0);
	no_worker();
	child = later(200);
	OK(bus_pub_open(&pub, bus, "opens", NULL));
	EQUAL(rig_wait(child), 0);
	for (uint64_t i = 0; i < 10; i++) {
		send_number(pub, i);
		expect_number(sub, i);
	}
	EQUAL(OK(bus_topic_next(bus, "opens", &info)), 1);
	EQUAL(info.publishers, 1);
	EQUAL(info.subscribers, 1);
	/* a message larger than the ring takes */
	no_worker();
	child = later(200);
	{
		static char big[3 << 20];
		struct bus_msg m;

		OK(bus_pub_send(pub, big, sizeof(big)));
		EQUAL(rig_wait(child), 0);
		rig_next(sub, &m);
		EQUAL(m.len, sizeof(big));
		OK(bus_sub_release(sub, 1));
	}
	kill_worker();
	send_number(pub, 11);
	expect_number(sub, 11);
	bus_close(bus);
}

static void closes_without_a_worker(void)
{
	struct bus *watcher = rig_connect("watcher"), *lives = rig_connect("lives"), *bus;
	struct bus_topic_info info = { .name = "" };
	unsigned before = clients(watcher);
	struct bus_pub *pub;
	struct bus_sub *sub;

	OK(bus_topic_create(watcher, "closes", NULL));
	OK(bus_pub_open(&pub, lives, "closes", NULL));
	OK(bus_sub_open(&sub, lives, "closes", NULL));
	OK(bus_connect(&bus, BUS_OPTS(connect, .name = "closes", .timeout_ns = 100000000)));
	OK(bus_pub_open(&pub, bus, "closes", NULL));
	EQUAL(clients(watcher), before + 1);
	no_worker();
	bus_close(bus); /* in vain: nobody answers */
	a_worker_again();
	for (int i = 0; clients(watcher) != before; i++) {
		CHECK(i < 500);
		rig_sleep_ms(10);
	}
	EQUAL(OK(bus_topic_next(watcher, "closes", &info)), 1);
	EQUAL(info.publishers, 1);
	bus_close(lives);
	bus_close(watcher);
}

/* What was read to its end before the restart does not come again after it. */
static void rings_that_are_over(void)
{
	struct bus *a = rig_connect("writer"), *b = rig_connect("reader");
	struct bus_pub *pub, *other;
	struct bus_sub *sub;
	struct bus_sub_info info;

	OK(bus_topic_create(a, "over", NULL));
	OK(bus_sub_open(&sub, b, "over", NULL));
	OK(bus_pub_open(&pub, a, "over", NULL));
	OK(bus_pub_open(&other, a, "over", NULL));
	for (uint64_t i = 0; i < 5; i++)
		send_number(pub, i);
	for (uint64_t i = 0; i < 5; i++)
		expect_number(sub, i);
	bus_pub_close(pub);
	no_worker();
	/* finds the end of the ring while there is nobody to tell */
	OK(bus_sub_wait(sub, 50000000));
	a_worker_again();
	send_number(other, 5);
	expect_number(sub, 5);
	kill_worker();
	send_number(other, 6);
	expect_number(sub, 6);
	EQUAL(OK(bus_sub_wait(sub, 300000000)), 0);
	OK(bus_sub_info(sub, &info));
	EQUAL(info.delivered, 7);
	EQUAL(info.lost, 0);
	EQUAL(info.rings, 1);
	bus_close(a);
	bus_close(b);
}

static void observers_look_on(void)
{
	struct bus *bus = rig_connect("observer"), *other = rig_connect("other");
	const struct bus_stat_topic *topics;
	struct bus_stat *stat;
	struct bus_pub *pub;
	uint64_t now;
	pid_t child;

	OK(bus_pub_open(&pub, other, "seen", NULL));
	OK(bus_stat_open(&stat, bus, "seen.>"));
	bus_stat_close(stat);
	OK(bus_stat_open(&stat, bus, "seen"));
	no_worker();
	send_number(pub, 1);
	EQUAL(OK(bus_stat_refresh(stat, &topics, &now)), 1);
	EQUAL(topics[0].publishers[0].messages, 1);
	child = later(100);
	/* a topic of a new name is made once there is a worker, and seen by who looks at the old */
	EQUAL(rig_wait(child), 0);
	send_number(pub, 2);
	for (int i = 0; i < 50; i++) {
		EQUAL(OK(bus_stat_refresh(stat, &topics, &now)), 1);
		rig_sleep_ms(10);
	}
	EQUAL(topics[0].publishers[0].messages, 2);
	bus_stat_close(stat);
	bus_close(bus);
	bus_close(other);
}

/* A subscription that stands still is evicted once there is a worker, and comes back after the next. */
static void evictions(void)
{
	struct bus *a = rig_connect("fast"), *b = rig_connect("slow");
	struct bus_pub *pub;
	struct bus_sub *sub;
	struct bus_sub_info info;
	struct bus_msg m;
	uint64_t i;
	int rc;

	OK(bus_sub_open(&sub, b, "evicts", NULL));
	OK(bus_pub_open(&pub, a, "evicts", BUS_OPTS(pub, .slots = 64, .full_ns = 600000000)));
	for (i = 0; i < 64; i++)
		send_number(pub, i);
	kill_worker();
	for (; i < 100; i++)
		send_number(pub, i); /* the first of them is held up until the reader is evicted */
	kill_worker();
	for (rc = 0; rc == 0;) { /* told, after the restart */
		rc = bus_sub_peek(sub, &m, 1);
		if (rc > 0) {
			rc = bus_sub_release(sub, 1);
			rc = rc < 0 ? rc : 0;
		}
		CHECK(rc == 0 || rc == -ESTALE);
	}
	OK(bus_sub_info(sub, &info));
	EQUAL(info.evictions, 1);
	while (bus_sub_peek(sub, &m, 1) > 0)
		(void)!bus_sub_release(sub, 1);
	send_number(pub, 1000);
	for (;;) {
		uint64_t value;

		rig_next(sub, &m);
		memcpy(&value, m.data, sizeof(value));
		(void)!bus_sub_release(sub, 1);
		if (value == 1000)
			break;
	}
	bus_close(a);
	bus_close(b);
}

/* A publisher that slept through the restart learns of who came after it, when it sends again. */
static void an_idle_publisher(void)
{
	struct bus *a = rig_connect("idle"), *b = rig_connect("late");
	struct bus_pub *pub;
	struct bus_sub *sub;

	OK(bus_pub_open(&pub, a, "idle", NULL));
	for (uint64_t i = 0; i < 10; i++) {
		if (i % 2 == 0)
			kill_worker();
		OK(bus_sub_open(&sub, b, "idle", NULL));
		if (i % 4 == 1)
			kill_worker(); /* before the publisher has heard of it */
		send_number(pub, i);
		expect_number(sub, i);
		bus_sub_close(sub);
	}
	bus_close(a);
	bus_close(b);
}

/* The epoch moved with a worker that is dead again: nothing changed, so nobody waits for the next. */
static void nobody_waits_for_a_worker(void)
{
	struct bus *a = rig_connect("sends"), *b = rig_connect("reads");
	struct bus_pub *pub;
	struct bus_sub *sub;

	OK(bus_sub_open(&sub, b, "goes.on", NULL));
	OK(bus_pub_open(&pub, a, "goes.on",
			BUS_OPTS(pub, .slots = 16, .full = BUS_FULL_BLOCK, .full_ns = 1000000000)));
	kill_worker();
	rig_sleep_ms(100); /* it serves, and the publisher has not looked */
	no_worker();
	for (uint64_t i = 0; i < 100; i++) {
		send_number(pub, i);
		expect_number(sub, i);
	}
	a_worker_again();
	send_number(pub, 100);
	expect_number(sub, 100);
	bus_close(a);
	bus_close(b);
}

/* Who sleeps through the restart is called: a publisher that it has never heard of wakes it. */
static void sleepers_come_back(void)
{
	struct bus *bus = rig_connect("new");
	struct bus_pub *pub;
	pid_t child = rig_fork();

	if (child == 0) {
		struct bus *own = rig_connect("sleeper");
		struct bus_sub *sub;
		struct bus_msg m;

		OK(bus_sub_open(&sub, own, "sleeps", BUS_OPTS(sub, .spin_ns = 1)));
		rig_post(1);
		while (OK(bus_sub_peek(sub, &m, 1)) == 0)
			OK(bus_sub_wait(sub, -1));
		rig_exit(0);
	}
	rig_await(1, 1);
	while (!rig_asleep(child))
		rig_sleep_ms(1);
	kill_worker();
	rig_sleep_ms(300);
	OK(bus_pub_open(&pub, bus, "sleeps", NULL));
	send_number(pub, 1);
	for (int i = 0; kill(child, 0) == 0 && !is_dead(child); i++) {
		CHECK(i < 500);
		rig_sleep_ms(10);
	}
	EQUAL(rig_wait(child), 0);
	bus_close(bus);
}

/* Opens and closes without a pause while workers die: each is done, and nothing stays. */
static void request_after_request(void)
{
	struct bus *bus = rig_connect("restless");
	struct bus_topic_info info = { .name = "" };
	uint64_t end = rig_now_ns() + 3000000000u;
	pid_t killer = rig_fork();
	uint64_t rounds = 0;

	if (killer == 0) {
		struct bus *own = rig_connect("killer");
		struct bus_stat_daemon daemon;

		for (unsigned i = 0; rig_now_ns() < end; i++) {
			OK(bus_stat_daemon(own, &daemon)); /* it serves */
			rig_sleep_ms(i * 7 % 60);
			rig_kill(worker(), SIGKILL);
		}
		rig_exit(0);
	}
	for (; rig_now_ns() < end; rounds++) {
		struct bus_pub *pub;
		struct bus_sub *sub;

		OK(bus_sub_open(&sub, bus, "restless.*", NULL));
		OK(bus_pub_open(&pub, bus, "restless.a", NULL));
		send_number(pub, rounds);
		expect_number(sub, rounds);
		bus_pub_close(pub);
		bus_sub_close(sub);
	}
	EQUAL(rig_wait(killer), 0);
	CHECK(rounds > 0);
	while (OK(bus_topic_next(bus, "restless.>", &info)) == 1) {
		EQUAL(info.publishers, 0);
		EQUAL(info.subscribers, 0);
	}
	bus_close(bus);
}

int main(void)
{
	rig_busd_start(NULL);
	keeper = rig_busd_pid();
	opens_without_a_worker();
	closes_without_a_worker();
	rings_that_are_over();
	observers_look_on();
	evictions();
	an_idle_publisher();
	nobody_waits_for_a_worker();
	sleepers_come_back();
	request_after_request();
	return rig_done();
}
