/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_crowd.c - clients that do anything that the protocol has words for, in any order, with right
 * and wrong ids, reading their events or not, killed at any moment. busd lives, serves a bystander
 * meanwhile, and in the end nothing is left of them. SEED=N repeats a run, SECONDS=N makes it
 * longer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/proto_rig.h"

#define CROWD  8
#define THINGS 12
#define TOPICS 5

static struct proto_busd busd;

struct actor {
	struct proto_client client;
	uint64_t random;
	struct proto_pub pubs[THINGS];
	struct proto_sub subs[THINGS];
	uint64_t rings[THINGS], ring_subs[THINGS], topics[THINGS], segments[THINGS];
	unsigned pub_count, sub_count, ring_count, segment_count;
	bool deaf; /* reads no events for a while */
};

static uint64_t pick(struct actor *a, uint64_t below)
{
	a->random ^= a->random << 13;
	a->random ^= a->random >> 7;
	a->random ^= a->random << 17;
	return a->random % below;
}

static const char *topic_of(struct actor *a)
{
	static const char *const names[] = { "c.a", "c.b", "c.a.x", "d", "c.e" };

	return names[pick(a, TOPICS)];
}

static const char *pattern_of(struct actor *a)
{
	static const char *const names[] = { "c.a", "c.*", ">", "d", "c.>", "*" };

	return names[pick(a, 6)];
}

/* An id that it knows, or one that it does not. */
static uint64_t some(struct actor *a, uint64_t known)
{
	return pick(a, 10) ? known : pick(a, 1000);
}

static void hear(struct actor *a)
{
	struct proto_msg msg;

	while (proto_take(a->client.ev, &msg, 0) == 1) {
		if (msg.head.type == CTL_EV_RING) {
			unsigned i = a->ring_count++ % THINGS;

			a->rings[i] = msg.ring.ring_id;
			a->ring_subs[i] = msg.ring.sub_id;
			a->topics[i] = msg.ring.topic_id;
		}
		if (msg.head.type == CTL_EV_SEGMENT)
			a->segments[a->segment_count++ % THINGS] = msg.segment.segment_id;
		proto_close_fds(&msg);
	}
}

/* Asks and waits, reading events unless deaf; the answer's descriptors are closed unless wanted. */
static int ask(struct actor *a, void *request, struct proto_msg *answer)
{
	struct ctl_head *head = request;

	head->req = ++a->client.req;
	if (proto_send(a->client.ctl, request, head->len) < 0)
		return -ENOTCONN;
	for (int i = 0; i < 4000; i++) {
		int rc = proto_take(a->client.ctl, answer, 5);

		if (rc < 0)
			return -ENOTCONN;
		if (rc == 1)
			return answer->head.type == CTL_ERROR ? -answer->error.error : 0;
		/* deaf or not: some answers come only to those who hear */
		hear(a);
	}
	return -ETIMEDOUT;
}

static int do_pub(struct actor *a)
{
	struct ctl_pub_open open = { .head = PROTO_HEAD(CTL_PUB_OPEN, sizeof(open)), .node = -1 };
	struct ctl_pub_ready ready = { .head = PROTO_HEAD(CTL_PUB_READY, sizeof(ready)) };
	struct proto_pub *pub = &a->pubs[a->pub_count % THINGS];
	struct proto_msg msg;
	int rc;

	open.settings.bytes = 4096 << pick(a, 4);
	if (pick(a, 30) == 0)
		open.settings.bytes = 6 << 20;
	strcpy(open.topic, topic_of(a));
	rc = ask(a, &open, &msg);
	if (rc < 0)
		return rc;
	a->pub_count++;
	if (pub->page)
		munmap(pub->page, 4096);
	pub->reply = msg.pub;
	pub->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, msg.fds[0], 0);
	proto_close_fds(&msg);
	if (pub->page == MAP_FAILED)
		return -ENOMEM;
	if (pick(a, 8) == 0)
		return 0;
	ready.pub_id = msg.pub.pub_id;
	ready.ring_id = msg.pub.ring_id;
	rc = ask(a, &ready, &msg);
	bus_store_release(&pub->page->head, pub->reply.geometry.first_seq + pick(a, 100));
	return rc;
}

static int do_grow(struct actor *a)
{
	struct proto_pub *pub = &a->pubs[pick(a, THINGS)];
	struct ctl_pub_grow grow = { .head = PROTO_HEAD(CTL_PUB_GROW, sizeof(grow)),
				     .pub_id = some(a, pub->reply.pub_id),
				     .next_seq = some(a, pub->reply.geometry.first_seq + 5),
				     .need_bytes = pick(a, 20000),
				     .node = -1 };
	struct ctl_pub_ready ready = { .head = PROTO_HEAD(CTL_PUB_READY, sizeof(ready)) };
	struct proto_msg msg;
	int rc = ask(a, &grow, &msg);

	if (rc < 0)
		return rc;
	proto_close_fds(&msg);
	ready.pub_id = msg.pub.pub_id;
	ready.ring_id = msg.pub.ring_id;
	if (pick(a, 4))
		rc = ask(a, &ready, &msg);
	return rc;
}

static int do_sub(struct actor *a)
{
	struct ctl_sub_open open = { .head = PROTO_HEAD(CTL_SUB_OPEN, sizeof(open)),
				     .flags = (uint32_t)pick(a, 2),
				     .start = (uint32_t)pick(a, 3),
				     .entries = (uint32_t)pick(a, 6),
				     .node = -1 };
	struct ctl_sub_join join = { .head = PROTO_HEAD(CTL_SUB_JOIN, sizeof(join)) };
	struct proto_msg msg;
	int rc;

	strcpy(open.pattern, pattern_of(a));
	rc = ask(a, &open, &msg);
	if (rc < 0)
		return rc;
	proto_close_fds(&msg);
	a->subs[a->sub_count++ % THINGS].reply = msg.sub;
	join.sub_id = msg.sub.sub_id;
	return pick(a, 8) ? ask(a, &join, &msg) : 0;
}

static int do_simple(struct actor *a)
{
	union {
		struct ctl_head head;
		struct ctl_pub_close pub_close;
		struct ctl_sub_close sub_close;
		struct ctl_sub_join join;
		struct ctl_evict evict;
		struct ctl_topic_create create;
		struct ctl_topic_remove remove;
		struct ctl_observe observe;
		struct ctl_topic_next next;
	} in;
	static const struct {
		uint16_t type;
		size_t size;
	} kinds[] = {
		{ CTL_PUB_CLOSE, sizeof(in.pub_close) }, { CTL_SUB_CLOSE, sizeof(in.sub_close) },
		{ CTL_PUB_CLOSE, sizeof(in.pub_close) }, { CTL_SUB_CLOSE, sizeof(in.sub_close) },
		{ CTL_SUB_REJOIN, sizeof(in.join) },     { CTL_EVICT, sizeof(in.evict) },
		{ CTL_EVICT, sizeof(in.evict) },         { CTL_TOPIC_CREATE, sizeof(in.create) },
		{ CTL_TOPIC_REMOVE, sizeof(in.remove) }, { CTL_OBSERVE, sizeof(in.observe) },
		{ CTL_UNOBSERVE, sizeof(in.head) },      { CTL_TOPIC_NEXT, sizeof(in.next) },
		{ CTL_INFO, sizeof(in.head) },
	};
	unsigned kind = (unsigned)pick(a, BUS_ARRAY_LEN(kinds));
	const struct proto_pub *pub = &a->pubs[pick(a, THINGS)];
	const struct proto_sub *sub = &a->subs[pick(a, THINGS)];
	struct proto_msg msg;

	memset(&in, 0, sizeof(in));
	in.head = (struct ctl_head)PROTO_HEAD(kinds[kind].type, kinds[kind].size);
	switch (kinds[kind].type) {
	case CTL_PUB_CLOSE:
		in.pub_close.pub_id = some(a, pub->reply.pub_id);
		break;
	case CTL_SUB_CLOSE:
		in.sub_close.sub_id = some(a, sub->reply.sub_id);
		break;
	case CTL_SUB_REJOIN:
		in.join.sub_id = some(a, sub->reply.sub_id);
		in.join.topic_id = some(a, a->topics[pick(a, THINGS)]);
		break;
	case CTL_EVICT:
		in.evict.pub_id = some(a, pub->reply.pub_id);
		in.evict.ring_id = some(a, pub->reply.ring_id);
		in.evict.grace_ns = 1;
		break;
	case CTL_TOPIC_CREATE:
		strcpy(in.create.topic, topic_of(a));
		in.create.settings.flags = pick(a, 2) ? CTL_TOPIC_EXCLUSIVE : 0;
		break;
	case CTL_TOPIC_REMOVE:
		strcpy(in.remove.topic, topic_of(a));
		in.remove.flags = pick(a, 2) ? CTL_TOPIC_FORCE : 0;
		break;
	case CTL_OBSERVE:
		strcpy(in.observe.pattern, pattern_of(a));
		break;
	case CTL_TOPIC_NEXT:
		strcpy(in.next.pattern, ">");
		break;
	default:
		break;
	}
	return ask(a, &in, &msg);
}

static int do_acknowledge(struct actor *a)
{
	static const uint16_t types[] = { CTL_EVC_ACK,    CTL_EVC_SEGMENT_READY, CTL_EVC_WANT_BELL,
					  CTL_EVC_RESEND, CTL_EVC_RING_DONE,     CTL_EVC_RING_DONE };
	struct ctl_evc evc = { .head = PROTO_HEAD(types[pick(a, 6)], sizeof(evc)) };
	unsigned i = (unsigned)pick(a, THINGS);

	evc.id = pick(a, 300);
	evc.value = pick(a, 300);
	if (evc.head.type == CTL_EVC_RESEND)
		evc.id = some(a, a->segments[i]);
	if (evc.head.type == CTL_EVC_RING_DONE) {
		evc.id = some(a, a->rings[i]);
		evc.value = some(a, a->ring_subs[i]);
	}
	return send(a->client.ev, &evc, sizeof(evc), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN
		       ? -ENOTCONN
		       : 0;
}

static void act(uint64_t seed)
{
	static struct actor a;
	int rc;

	memset(&a, 0, sizeof(a));
	a.random = seed;
	rc = proto_greet(&a.client, busd.path, "actor", true);
	if (rc == -EDQUOT) /* memory is short on purpose */
		_exit(0);
	while (rc != -ENOTCONN && rc != -ETIMEDOUT) {
		unsigned what = (unsigned)pick(&a, 100);

		if (what < 20)
			rc = do_pub(&a);
		else if (what < 25)
			rc = do_grow(&a);
		else if (what < 40)
			rc = do_sub(&a);
		else if (what < 80)
			rc = do_simple(&a);
		else if (what < 95)
			rc = do_acknowledge(&a);
		else
			a.deaf = pick(&a, 3) == 0;
		if (!a.deaf)
			hear(&a);
		if (pick(&a, 200) == 0)
			break;
	}
	/* busd never owes an answer for ever, and never hangs up on words of its protocol */
	_exit(rc == -ETIMEDOUT ? 3 : rc == -ENOTCONN ? 4 : 0);
}

static pid_t start(uint64_t seed)
{
	pid_t pid = fork();

	if (pid == 0)
		act(seed);
	assert_true(pid > 0);
	return pid;
}

static unsigned long number_from(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

static void anything_goes(void **state)
{
	struct ctl_head info = PROTO_HEAD(CTL_INFO, sizeof(info));
	uint64_t seed = number_from("SEED", (unsigned long)time(NULL) * 2654435761u + 1);
	time_t end = time(NULL) + (time_t)number_from("SECONDS", 6);
	struct proto_client watcher;
	struct proto_msg msg;
	pid_t crowd[CROWD];
	unsigned lives = 0, looks = 0;
	int rc = 0;

	(void)state;
	printf("SEED=%llu\n", (unsigned long long)seed);
	assert_int_equal(proto_greet(&watcher, busd.path, "watcher", true), 0);
	for (unsigned i = 0; i < CROWD; i++)
		crowd[i] = start(seed + lives++ * 7919);
	while (time(NULL) < end) {
		unsigned i = (unsigned)(rand() % CROWD);
		int status;

		usleep(3000);
		if (rand() % 8 == 0)
			kill(crowd[i], SIGKILL);
		if (waitpid(crowd[i], &status, WNOHANG) == crowd[i]) {
			if (WIFEXITED(status) && WEXITSTATUS(status))
				fail_msg("an actor ended with %d", WEXITSTATUS(status));
			crowd[i] = start(seed + lives++ * 7919);
		}
		assert_int_equal(proto_ask(&watcher, &info, &msg), 0);
		looks++;
	}
	for (unsigned i = 0; i < CROWD; i++) {
		kill(crowd[i], SIGKILL);
		waitpid(crowd[i], NULL, 0);
	}
	/* topics made on purpose stay; all else goes with its clients */
	for (unsigned i = 0; i < 5; i++) {
		struct ctl_topic_remove remove = { .head = PROTO_HEAD(CTL_TOPIC_REMOVE,
								      sizeof(remove)),
						   .flags = CTL_TOPIC_FORCE };
		static const char *const names[] = { "c.a", "c.b", "c.a.x", "d", "c.e" };

		usleep(100000);
		strcpy(remove.topic, names[i]);
		rc = proto_ask(&watcher, &remove, &msg);
		assert_true(rc == 0 || rc == -ENOENT);
	}
	for (int i = 0; i < 100; i++) {
		assert_int_equal(proto_ask(&watcher, &info, &msg), 0);
		if (msg.info.clients == 1 && msg.info.memory_bytes == 4096)
			break;
		usleep(20000);
	}
	assert_int_equal(msg.info.clients, 1);
	assert_int_equal(msg.info.topics, 0);
	assert_int_equal(msg.info.rings, 0);
	assert_int_equal(msg.info.subscriptions, 0);
	assert_int_equal(msg.info.memory_bytes, 4096); /* the watcher's bell page */
	printf("%u lives, %u looks, %llu evictions\n", lives, looks,
	       (unsigned long long)msg.info.evictions);
	assert_true(lives > 20);
	proto_leave(&watcher);
	assert_int_equal(proto_busd_stop(&busd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(anything_goes) };

	if (proto_busd_start(&busd, "keep_time: 100ms\nmemory_limit: 100M\n", 0) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
