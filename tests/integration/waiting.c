/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: no wake-up is lost, by sleeping, by descriptor (io_uring and thread), with and without
 * membarrier: thousands of round trips in which both sides really sleep, with a reader of several
 * publishers, each with a time limit. Deadlines are kept, signals interrupt, the descriptor is
 * level-triggered.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/bus_rig.h"

#define TRIPS 1500

enum how { SLEEP, ADAPTIVE, BY_FD };

/* Waits in one of three ways; a lost wake-up shows as 10 s without anything. */
static void await(struct bus_sub *sub, enum how how)
{
	if (how == BY_FD) {
		struct pollfd p = { .fd = OK(bus_sub_fd(sub)), .events = POLLIN };

		CHECK(poll(&p, 1, 10000) == 1);
	} else {
		CHECK(OK(bus_sub_wait(sub, 10000000000)) == 1);
	}
}

static void next(struct bus_sub *sub, enum how how, uint64_t want)
{
	for (;;) {
		struct bus_msg m;
		uint64_t value;

		if (OK(bus_sub_peek(sub, &m, 1)) == 0) {
			await(sub, how);
			continue;
		}
		memcpy(&value, m.data, sizeof(value));
		EQUAL(value, want);
		OK(bus_sub_release(sub, 1));
		return;
	}
}

static unsigned runs; /* echoes started so far */

static void ping_pong(enum how how, const char *name)
{
	char there[64], back[64];
	struct bus_pub *pub;
	struct bus_sub *sub;
	struct bus *bus;
	pid_t echo;

	snprintf(there, sizeof(there), "%s.there", name);
	snprintf(back, sizeof(back), "%s.back", name);
	echo = rig_fork();
	bus = rig_connect(echo == 0 ? "echo" : "caller");
	OK(bus_sub_open(&sub, bus, echo == 0 ? there : back,
			BUS_OPTS(sub, .spin_ns = how == ADAPTIVE ? 30000 : 1)));
	OK(bus_pub_open(&pub, bus, echo == 0 ? back : there, BUS_OPTS(pub, .slots = 16)));
	if (echo == 0) {
		rig_post(0);
		for (uint64_t i = 0; i < TRIPS; i++) {
			next(sub, how, i);
			OK(bus_pub_send(pub, &i, sizeof(i)));
		}
		bus_close(bus);
		rig_exit(0);
	}
	for (uint64_t i = 0; i < TRIPS; i++) {
		if (i == 0)
			rig_await(0, runs);
		OK(bus_pub_send(pub, &i, sizeof(i)));
		next(sub, how, i);
	}
	EQUAL(rig_wait(echo), 0);
	bus_close(bus);
}

static void run(enum how how, const char *name)
{
	pid_t pid;

	runs++;
	pid = rig_fork();

	if (pid == 0) {
		ping_pong(how, name);
		rig_exit(0);
	}
	EQUAL(rig_wait(pid), 0);
}

/*
 * A ring of 16 and sleeping on both sides: the publisher blocks and is woken as often as the reader
 * sleeps and is woken.
 */
static void full_and_empty(enum how how)
{
	pid_t writers[3];
	struct bus *bus;
	struct bus_sub *sub;
	uint64_t got[3] = { 0 };

	bus = rig_connect("both");
	OK(bus_sub_open(&sub, bus, "both.*", BUS_OPTS(sub, .spin_ns = 1)));
	for (int w = 0; w < 3; w++) {
		writers[w] = rig_fork();
		if (writers[w] == 0) {
			struct bus *own = rig_connect("writer");
			char topic[32];
			struct bus_pub *pub;

			snprintf(topic, sizeof(topic), "both.%d", w);
			OK(bus_pub_open(&pub, own, topic,
					BUS_OPTS(pub, .slots = 16, .full = BUS_FULL_BLOCK,
						 .full_ns = 20000000000, .spin_ns = 1)));
			for (uint64_t i = 0; i < 3000; i++) {
				OK(bus_pub_send(pub, &i, sizeof(i)));
				if (i % 50 == 0)
					usleep((unsigned)(rand() % 300));
			}
			rig_exit(0);
		}
	}
	for (unsigned n = 0; n < 9000;) {
		struct bus_msg m[16];
		int k = OK(bus_sub_peek(sub, m, 1 + rand() % 16));

		if (k == 0) {
			await(sub, how);
			continue;
		}
		for (int i = 0; i < k; i++) {
			int w = m[i].topic[5] - '0';
			uint64_t value;

			memcpy(&value, m[i].data, sizeof(value));
			EQUAL(value, got[w]++);
			n++;
		}
		OK(bus_sub_release(sub, k));
		if (n % 97 == 0)
			usleep((unsigned)(rand() % 300));
	}
	for (int w = 0; w < 3; w++)
		EQUAL(rig_wait(writers[w]), 0);
	bus_close(bus);
}

/*
 * One thread waits on B while what it has read of A, unflushed, is what the common publisher waits
 * for.
 */
static void two_subscriptions(void)
{
	struct bus *bus = rig_connect("two");
	struct bus_sub *a, *b;
	struct bus_msg m;
	pid_t writer;

	OK(bus_sub_open(&a, bus, "two.a", NULL));
	OK(bus_sub_open(&b, bus, "two.b", NULL));
	writer = rig_fork();
	if (writer == 0) {
		struct bus *own = rig_connect("writer");
		struct bus_pub *pa, *pb;

		OK(bus_pub_open(&pa, own, "two.a",
				BUS_OPTS(pub, .slots = 16, .full = BUS_FULL_BLOCK, .full_ns = -1)));
		OK(bus_pub_open(&pb, own, "two.b", NULL));
		for (int i = 0; i < 17; i++) /* the last one waits for the first to be read */
			OK(bus_pub_send(pa, &i, sizeof(i)));
		OK(bus_pub_send(pb, "go", 2));
		rig_exit(0);
	}
	for (int i = 0; i < 200; i++)
		rig_sleep_ms(1);
	rig_next(a, &m);
	OK(bus_sub_release(a, 1));
	rig_next(b, &m); /* hangs unless a's cursor was told before this thread slept */
	EQUAL(rig_wait(writer), 0);
	bus_close(bus);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void deadlines_and_signals(void)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval timer = { .it_value = { .tv_usec = 50000 } };
	struct bus *bus = rig_connect("deadlines");
	struct bus_pub *pub;
	struct bus_sub *sub;
	struct bus_msg m;
	uint64_t began = rig_now_ns();
	struct epoll_event ev = { .events = EPOLLIN };
	int ep;

	OK(bus_sub_open(&sub, bus, "deadline", BUS_OPTS(sub, .spin_ns = 1)));
	EQUAL(bus_sub_wait(sub, 0), 0);
	EQUAL(bus_sub_wait(sub, 30000000), 0);
	CHECK(rig_now_ns() - began >= 30000000 && rig_now_ns() - began < 5000000000);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	EQUAL(bus_sub_wait(sub, 10000000000), -EINTR);

	/*
	 * level-triggered: readable as long as there is something, not after a peek found nothing
	 */
	ep = epoll_create1(0);
	CHECK(ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, OK(bus_sub_fd(sub)), &ev) == 0);
	EQUAL(bus_sub_peek(sub, &m, 1), 0);
	EQUAL(epoll_wait(ep, &ev, 1, 20), 0);
	OK(bus_pub_open(&pub, bus, "deadline", NULL));
	OK(bus_pub_send(pub, "x", 1));
	for (int i = 0; i < 3; i++)
		EQUAL(epoll_wait(ep, &ev, 1, 10000), 1);
	while (OK(bus_sub_peek(sub, &m, 1)) == 0) /* the first may only have told of the new publisher */
		EQUAL(epoll_wait(ep, &ev, 1, 10000), 1);
	EQUAL(bus_sub_wait(sub, 0), 1); /* borrowed: does not sleep */
	OK(bus_sub_release(sub, 1));
	EQUAL(bus_sub_peek(sub, &m, 1), 0);
	EQUAL(epoll_wait(ep, &ev, 1, 20), 0);
	close(ep);
	bus_close(bus);
}

int main(void)
{
	rig_busd_start(NULL);
	run(SLEEP, "sleep");
	run(ADAPTIVE, "adaptive");
	run(BY_FD, "fd");
	full_and_empty(SLEEP);
	full_and_empty(BY_FD);
	two_subscriptions();
	deadlines_and_signals();
	setenv("BUS_WAKE_FD", "thread", 1);
	run(BY_FD, "thread");
	full_and_empty(BY_FD);
	deadlines_and_signals();
	setenv("BUS_MEMBARRIER", "0", 1); /* asked once a process, so in children only */
	run(SLEEP, "fence");
	run(BY_FD, "fencefd");
	return rig_done();
}
