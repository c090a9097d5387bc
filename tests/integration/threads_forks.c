/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: several threads of one connection publish, subscribe, wait, open and close at once; an
 * object handed from one thread to another; a forked child gets -ECHILD from every call on what it
 * inherited and disturbs nothing, and can connect on its own.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bus_rig.h"

#define THREADS 6
#define COUNT   20000

static struct bus *shared;

static void *publisher(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	struct bus_pub *pub;
	char topic[32];

	snprintf(topic, sizeof(topic), "threads.%u", (unsigned)me);
	OK(bus_pub_open(&pub, shared, topic, BUS_OPTS(pub, .slots = 64)));
	for (uint64_t i = 0; i < COUNT; i++) {
		uint64_t v = (uint64_t)me << 32 | i;

		OK(bus_pub_send(pub, &v, sizeof(v)));
	}
	bus_pub_close(pub);
	return NULL;
}

static void *subscriber(void *arg)
{
	struct bus_sub *sub = arg;
	uint64_t next[THREADS] = { 0 };
	struct bus_msg m[32];

	for (unsigned got = 0; got < THREADS * COUNT;) {
		int n;

		CHECK(OK(bus_sub_wait(sub, 20000000000)) == 1);
		n = OK(bus_sub_peek(sub, m, 32));
		for (int i = 0; i < n; i++) {
			uint64_t v;

			memcpy(&v, m[i].data, sizeof(v));
			EQUAL(v & 0xffffffff, next[v >> 32]++);
		}
		if (n > 0)
			OK(bus_sub_release(sub, n));
		got += (unsigned)n;
	}
	return NULL;
}

static void *opener(void *arg)
{
	(void)arg;
	for (int i = 0; i < 150; i++) {
		struct bus_pub *pub;
		struct bus_sub *sub;

		OK(bus_sub_open(&sub, shared, i % 2 ? "threads.>" : "other.>",
				BUS_OPTS(sub, .policy = BUS_LOSSY)));
		OK(bus_pub_open(&pub, shared, "other.x", NULL));
		OK(bus_pub_send(pub, "x", 1));
		bus_pub_close(pub);
		bus_sub_close(sub);
	}
	return NULL;
}

static void at_once(void)
{
	pthread_t thread[THREADS + 3];
	struct bus_sub *a, *b;

	OK(bus_sub_open(&a, shared, "threads.*", BUS_OPTS(sub, .spin_ns = 1)));
	OK(bus_sub_open(&b, shared, "threads.>", NULL));
	CHECK(pthread_create(&thread[0], NULL, subscriber, a) == 0);
	CHECK(pthread_create(&thread[1], NULL, subscriber, b) == 0);
	CHECK(pthread_create(&thread[2], NULL, opener, NULL) == 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&thread[3 + i], NULL, publisher, (void *)i) == 0);
	for (int i = 0; i < THREADS + 3; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
	bus_sub_close(a);
	bus_sub_close(b);
}

struct hand {
	struct bus_sub *sub;
	unsigned from, to;
};

static void *take_some(void *arg)
{
	struct hand *h = arg;
	struct bus_msg m;

	for (unsigned i = h->from; i < h->to; i++) {
		unsigned v;

		rig_next(h->sub, &m);
		memcpy(&v, m.data, sizeof(v));
		EQUAL(v, i);
		OK(bus_sub_release(h->sub, 1));
	}
	return NULL;
}

/* One subscription in the hands of ten threads, one after the other. */
static void handed_over(void)
{
	struct bus_pub *pub;
	struct hand h = { 0 };

	OK(bus_sub_open(&h.sub, shared, "hand", NULL));
	OK(bus_pub_open(&pub, shared, "hand", BUS_OPTS(pub, .slots = 64)));
	for (unsigned round = 0; round < 10; round++) {
		pthread_t t;

		for (unsigned i = 0; i < 60; i++) {
			unsigned v = round * 60 + i;

			OK(bus_pub_send(pub, &v, sizeof(v)));
		}
		h.from = round * 60;
		h.to = h.from + 60;
		CHECK(pthread_create(&t, NULL, take_some, &h) == 0);
		CHECK(pthread_join(t, NULL) == 0);
	}
	bus_pub_close(pub);
	bus_sub_close(h.sub);
}

static void forked(void)
{
	struct bus_pub *pub;
	struct bus_sub *sub;
	struct bus_msg m;
	pid_t pid;

	OK(bus_sub_open(&sub, shared, "fork", NULL));
	OK(bus_pub_open(&pub, shared, "fork", NULL));
	OK(bus_pub_send(pub, "parent", 6));
	pid = rig_fork();
	if (pid == 0) {
		struct bus_topic_info topic = { .name = "" };
		struct bus_claim claim = { 0 };
		struct bus_out out = { .data = "x", .len = 1 };
		struct bus_pub_info pi;
		struct bus_sub_info si;
		struct bus_pub *p;
		struct bus_sub *s;
		struct bus *own;
		char buf[8];

		EQUAL(bus_pub_send(pub, "x", 1), -ECHILD);
		EQUAL(bus_pub_send_batch(pub, &out, 1), -ECHILD);
		EQUAL(bus_pub_claim(pub, 1, &claim), -ECHILD);
		EQUAL(bus_pub_commit(pub, &claim), -ECHILD);
		EQUAL(bus_pub_info(pub, &pi), -ECHILD);
		EQUAL(bus_sub_peek(sub, &m, 1), -ECHILD);
		EQUAL(bus_sub_release(sub, 1), -ECHILD);
		EQUAL(bus_sub_recv(sub, buf, sizeof(buf), &m), -ECHILD);
		EQUAL(bus_sub_wait(sub, 0), -ECHILD);
		EQUAL(bus_sub_fd(sub), -ECHILD);
		EQUAL(bus_sub_info(sub, &si), -ECHILD);
		EQUAL(bus_pub_open(&p, shared, "fork", NULL), -ECHILD);
		EQUAL(bus_sub_open(&s, shared, "fork", NULL), -ECHILD);
		EQUAL(bus_topic_create(shared, "fork2", NULL), -ECHILD);
		EQUAL(bus_topic_next(shared, NULL, &topic), -ECHILD);
		bus_pub_abort(pub, &claim);
		bus_pub_close(pub);
		bus_sub_close(sub);
		bus_close(shared);
		own = rig_connect("child");
		OK(bus_pub_open(&p, own, "fork", NULL));
		OK(bus_pub_send(p, "child", 5));
		bus_close(own);
		rig_exit(0);
	}
	EQUAL(rig_wait(pid), 0);
	rig_next(sub, &m);
	CHECK(m.len == 6 && memcmp(m.data, "parent", 6) == 0);
	OK(bus_sub_release(sub, 1));
	rig_next(sub, &m);
	CHECK(m.len == 5 && memcmp(m.data, "child", 5) == 0);
	OK(bus_sub_release(sub, 1));
	OK(bus_pub_send(pub, "again", 5)); /* the parent's are untouched */
	rig_next(sub, &m);
	OK(bus_sub_release(sub, 1));
	bus_pub_close(pub);
	bus_sub_close(sub);
}

int main(void)
{
	rig_busd_start(NULL);
	shared = rig_connect("threads");
	at_once();
	handed_over();
	forked();
	bus_close(shared);
	return rig_done();
}
