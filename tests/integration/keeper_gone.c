/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timeout: 150
 * Proves, where all of busd died and another one serves at its path: calls of a program that did
 * nothing work again; who died while there was no busd holds nobody up, before and after; a ring
 * whose publisher died is read to its last message and given up; a new subscription gets a
 * publisher's messages from when that has gone over; a new publisher's are had from its first one;
 * what the new configuration refuses is broken with the reason, and the others go on; a publisher
 * needs a larger ring across it; threads of one connection; a child is told that it is a child; a
 * topic's settings are what they were; an observer sees the new busd's topics; memory of the dead
 * one is let go.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bus_stat.h>

#include "lib/bus_rig.h"

static void send_numbers(struct bus_pub *pub, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		OK(bus_pub_send(pub, &i, sizeof(i)));
}

static void read_numbers(struct bus_sub *sub, uint64_t from, uint64_t to)
{
	struct bus_msg m;

	for (uint64_t i = from; i < to; i++) {
		uint64_t value;

		rig_next(sub, &m);
		memcpy(&value, m.data, sizeof(value));
		EQUAL(value, i);
		EQUAL(m.lost, 0);
		EQUAL(bus_sub_release(sub, 1), 0);
	}
}

static void nothing_there(struct bus_sub *sub)
{
	struct bus_msg m;

	OK(bus_sub_wait(sub, 200000000));
	EQUAL(bus_sub_peek(sub, &m, 1), 0);
}

/* Until a publisher that sends has gone over: `pub` is known to the busd that is there now. */
static uint64_t come_back(struct bus_pub *pub, struct bus_sub *sub, const char *topic, uint64_t n)
{
	struct bus_topic_info info = { .name = "" };
	struct bus *look = rig_connect("look");

	for (int i = 0; i < 1000; i++) {
		send_numbers(pub, n, n + 1);
		if (sub != NULL)
			read_numbers(sub, n, n + 1);
		n++;
		memset(&info, 0, sizeof(info));
		while (OK(bus_topic_next(look, NULL, &info)) == 1 && strcmp(info.name, topic) != 0)
			;
		if (strcmp(info.name, topic) == 0 && info.publishers == 1 && i > 100)
			break;
		rig_sleep_ms(2);
	}
	EQUAL(info.publishers, 1);
	bus_close(look);
	return n;
}

/* ---- calls, settings, sizes ---- */

static int shown(struct bus_stat *stat, const char *topic)
{
	const struct bus_stat_topic *topics;
	uint64_t now;
	int n = OK(bus_stat_refresh(stat, &topics, &now));

	for (int i = 0; i < n; i++)
		if (strcmp(topics[i].name, topic) == 0)
			return 1;
	return 0;
}

static void calls_work_again(void)
{
	struct bus_stat *stat;
	struct bus *bus = rig_connect("calls"), *look;
	struct bus_topic_info info = { .name = "" };
	struct bus_pub *pub, *late;
	struct bus_sub *sub;
	uint64_t n = 0, began;
	char *large = calloc(1, 200000);
	struct bus_msg m;

	OK(bus_topic_create(bus, "made",
			    BUS_OPTS(topic, .slots = 128, .bytes = 131072, .max_bytes = 4 << 20)));
	OK(bus_sub_open(&sub, bus, "made", NULL));
	OK(bus_pub_open(&pub, bus, "made", NULL));
	send_numbers(pub, 0, 10);
	OK(bus_stat_open(&stat, bus, NULL));
	EQUAL(shown(stat, "made"), 1);
	rig_busd_kill();
	EQUAL(shown(stat, "made"), 1);
	/* without one: what is mapped works, what needs it says so */
	read_numbers(sub, 0, 10);
	EQUAL(bus_pub_open(&late, bus, "made", NULL), -EPIPE);
	CHECK(strstr(bus_why(bus), "has gone") != NULL);
	EQUAL(bus_pub_send(pub, large, 200000), -EPIPE);
	rig_busd_again(NULL);
	OK(bus_pub_open(&late, bus, "other", NULL)); /* at once */
	n = come_back(pub, sub, "made", 10);
	while (shown(stat, "other") == 0) /* nobody made it at the dead one */
		rig_sleep_ms(10);
	EQUAL(shown(stat, "made"), 1);
	bus_stat_close(stat);
	look = rig_connect("look");
	OK(bus_topic_next(look, "made", &info));
	EQUAL(info.slots, 128);
	EQUAL(info.bytes, 131072);
	EQUAL(info.max_bytes, 4 << 20);
	EQUAL(info.subscribers, 1);
	bus_close(look);
	/* a larger ring, first thing after a death: it goes over, and then grows */
	rig_busd_kill();
	rig_busd_again(NULL);
	memcpy(large, &n, sizeof(n));
	began = rig_now_ns();
	OK(bus_pub_send(pub, large, 200000));
	/* this thread is the reader, too, and makes no call of that meanwhile: it is not waited for */
	CHECK(rig_now_ns() - began < 5000000000);
	rig_next(sub, &m);
	EQUAL(m.len, 200000);
	EQUAL(m.seq, n);
	EQUAL(bus_sub_release(sub, 1), 0);
	free(large);
	bus_close(bus);
}

/* ---- who dies while there is no busd ---- */

static void dead_subscriber(void)
{
	struct bus *bus = rig_connect("writer");
	struct bus_pub *pub;
	struct bus_sub *sub;
	uint64_t began;
	pid_t child;

	OK(bus_pub_open(&pub, bus, "dead.sub",
			BUS_OPTS(pub, .slots = 16, .full = BUS_FULL_BLOCK, .full_ns = -1)));
	child = rig_fork();
	if (child == 0) {
		struct bus *own = rig_connect("reader");

		OK(bus_sub_open(&sub, own, "dead.sub", NULL));
		rig_post(0);
		rig_sleep_ms(60000); /* reads nothing */
		rig_exit(1);
	}
	rig_await(0, 1);
	send_numbers(pub, 0, 16);
	rig_busd_kill();
	rig_kill(child, SIGKILL); /* not even waited for */
	began = rig_now_ns();
	send_numbers(pub, 16, 100); /* would block for ever */
	CHECK(rig_now_ns() - began < 2000000000);
	rig_busd_again(NULL);
	/* it is not waited for at the next busd either */
	began = rig_now_ns();
	come_back(pub, NULL, "dead.sub", 100);
	CHECK(rig_now_ns() - began < 2000000000);
	EQUAL(rig_wait(child), -SIGKILL);
	bus_close(bus);
}

static void blocked_across(void)
{
	struct bus *bus = rig_connect("writer");
	struct bus_pub *pub;
	pid_t child;

	OK(bus_pub_open(&pub, bus, "blocked",
			BUS_OPTS(pub, .slots = 16, .full = BUS_FULL_BLOCK, .full_ns = 15000000000)));
	child = rig_fork();
	if (child == 0) {
		struct bus *own = rig_connect("reader");
		struct bus_sub *sub;

		OK(bus_sub_open(&sub, own, "blocked", NULL));
		rig_post(1);
		rig_await(2, 1);
		read_numbers(sub, 0, 200); /* none is missing */
		rig_exit(0);
	}
	rig_await(1, 1);
	rig_busd_kill();
	if (fork() == 0) { /* reads on once another busd has served for a while */
		rig_sleep_ms(1300);
		rig_post(2);
		_exit(0);
	}
	rig_busd_again(NULL);
	send_numbers(pub, 0, 200); /* blocked by a reader that stands still, and lives */
	EQUAL(rig_wait(child), 0);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	bus_close(bus);
}

static void dead_publisher(void)
{
	struct bus *bus = rig_connect("reader");
	struct bus_sub_info info;
	struct bus_sub *sub;
	pid_t child;

	OK(bus_sub_open(&sub, bus, "dead.pub", NULL));
	child = rig_fork();
	if (child == 0) {
		struct bus *own = rig_connect("writer");
		struct bus_pub *pub;

		OK(bus_pub_open(&pub, own, "dead.pub", NULL));
		send_numbers(pub, 0, 50);
		rig_post(3);
		rig_sleep_ms(60000);
		rig_exit(1);
	}
	rig_await(3, 1);
	rig_busd_kill();
	rig_kill(child, SIGKILL);
	EQUAL(rig_wait(child), -SIGKILL);
	rig_busd_again(NULL);
	read_numbers(sub, 0, 50);
	for (int i = 0; i < 50; i++) {
		nothing_there(sub);
		OK(bus_sub_info(sub, &info));
		if (info.rings == 0)
			break;
	}
	EQUAL(info.rings, 0); /* nobody told that it is over */
	EQUAL(info.delivered, 50);
	EQUAL(info.lost, 0);
	bus_close(bus);
}

/* ---- who is new ---- */

static void newcomers(void)
{
	struct bus *bus = rig_connect("old"), *other;
	struct bus_pub *pub, *fresh;
	struct bus_sub *sub, *late;
	struct bus_msg m;
	uint64_t n, value;

	OK(bus_sub_open(&sub, bus, "new.*", NULL));
	OK(bus_pub_open(&pub, bus, "new.a", NULL));
	send_numbers(pub, 0, 20);
	rig_busd_kill();
	rig_busd_again(NULL);
	/* a publisher that comes before the subscription is back */
	other = rig_connect("new");
	OK(bus_pub_open(&fresh, other, "new.b", NULL));
	send_numbers(fresh, 0, 30);
	OK(bus_sub_open(&late, other, "new.a", NULL));
	read_numbers(sub, 0, 20); /* its first look at the new busd is on the way */
	for (uint64_t i = 0; i < 30; i++) {
		rig_next(sub, &m);
		CHECK(strcmp(m.topic, "new.b") == 0);
		EQUAL(m.seq, i);
		EQUAL(bus_sub_release(sub, 1), 0);
	}
	n = come_back(pub, sub, "new.a", 20);
	send_numbers(pub, n, n + 5);
	read_numbers(sub, n, n + 5);
	/* the new subscription: from when the publisher went over, and then without a hole */
	rig_next(late, &m);
	memcpy(&value, m.data, sizeof(value));
	CHECK(value >= 20 && value <= n);
	EQUAL(m.lost, 0);
	EQUAL(bus_sub_release(late, 1), 0);
	read_numbers(late, value + 1, n + 5);
	bus_close(other);
	bus_close(bus);
}

/* ---- refusals ---- */

static void refused(void)
{
	struct bus *bus;
	struct bus_pub *pub, *good;
	struct bus_sub *sub, *good_sub;
	struct bus_msg m;
	uint64_t n = 0;
	int err = 0;
	pid_t child;

	rig_busd_kill();
	rig_busd_again(
		"log: stderr\nlog_level: error\nsocket_mode: \"0666\"\nrules:\n"
		"  - {topics: \"ref.>\", allow: {publish: [\"4711\"], subscribe: [\"4711\"]}}\n"
		"  - {topics: \"good\", allow: {publish: [\"4711\"], subscribe: [\"4711\"]}}\n");
	rig_let_others_in();
	child = rig_fork();
	if (child != 0) {
		rig_await(10, 1);
		rig_busd_kill();
		rig_busd_again(
			"log: stderr\nlog_level: error\nsocket_mode: \"0666\"\nrules:\n"
			"  - {topics: \"good\", allow: {publish: [\"4711\"], subscribe: [\"4711\"]}}\n");
		rig_post(11);
		EQUAL(rig_wait(child), 0);
		return;
	}
	CHECK(setgid(4711) == 0 && setuid(4711) == 0);
	bus = rig_connect("without rights");
	OK(bus_sub_open(&sub, bus, "ref.a", NULL));
	OK(bus_pub_open(&pub, bus, "ref.a", NULL));
	OK(bus_sub_open(&good_sub, bus, "good", NULL));
	OK(bus_pub_open(&good, bus, "good", NULL));
	rig_post(10);
	rig_await(11, 1);
	for (int i = 0; i < 2000 && err == 0; i++) {
		err = bus_pub_send(pub, &n, sizeof(n));
		rig_sleep_ms(1);
	}
	EQUAL(err, -EACCES);
	CHECK(strstr(bus_why(bus), "no right to publish") != NULL);
	EQUAL(bus_pub_send(pub, &n, sizeof(n)), -EACCES);
	for (int i = 0; i < 2000 && err >= 0; i++)
		err = bus_sub_peek(sub, &m, 1);
	for (int i = 0; i < 100 && (err = bus_sub_peek(sub, &m, 1)) >= 0; i++) {
		if (err > 0)
			EQUAL(bus_sub_release(sub, 1), 0);
		OK(bus_sub_wait(sub, 20000000));
	}
	EQUAL(err, -EACCES);
	EQUAL(bus_sub_peek(sub, &m, 1), -EACCES);
	CHECK(strstr(bus_why(bus), "no right to subscribe") != NULL);
	send_numbers(good, 0, 300);
	read_numbers(good_sub, 0, 300);
	bus_close(bus);
	rig_exit(0);
}

/* ---- threads, children, memory ---- */

static _Atomic bool enough;
static _Atomic int ended;

static void *publish_for_ever(void *arg)
{
	struct bus_pub *pub = arg;
	uint64_t *n = calloc(1, sizeof(*n));

	for (; !enough; (*n)++) {
		OK(bus_pub_send(pub, n, sizeof(*n)));
		if (*n % 64 == 0)
			rig_sleep_ms(1);
	}
	ended++;
	return n;
}

static size_t mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[600];
	size_t n = 0;

	CHECK(f != NULL);
	while (fgets(line, sizeof(line), f) != NULL)
		n += strstr(line, "memfd") != NULL;
	fclose(f);
	return n;
}

static void threads(void)
{
	struct bus *bus = rig_connect("threads");
	pthread_t thread[3];
	struct bus_pub *pub[3];
	struct bus_sub *sub;
	struct bus_msg m;
	uint64_t next[3] = { 0 }, *sent[3];
	size_t before;
	pid_t child;

	OK(bus_sub_open(&sub, bus, "thread.*", NULL));
	for (int i = 0; i < 3; i++) {
		char topic[20];

		snprintf(topic, sizeof(topic), "thread.%d", i);
		OK(bus_pub_open(&pub[i], bus, topic, BUS_OPTS(pub, .full = BUS_FULL_BLOCK)));
		EQUAL(pthread_create(&thread[i], NULL, publish_for_ever, pub[i]), 0);
	}
	before = mappings();
	for (uint64_t until = rig_now_ns() + 3000000000u, at = 0, round = 0;;) {
		int which;

		if (rig_now_ns() > at && round < 4) {
			rig_busd_kill();
			if (round % 2 == 0)
				rig_sleep_ms(100);
			rig_busd_again(NULL);
			at = rig_now_ns() + 500000000u;
			round++;
		}
		if (rig_now_ns() > until)
			enough = true;
		if (OK(bus_sub_peek(sub, &m, 1)) == 0) {
			if (ended == 3 && OK(bus_sub_wait(sub, 100000000)) == 0)
				break;
			OK(bus_sub_wait(sub, 1000000));
			continue;
		}
		which = m.topic[7] - '0';
		EQUAL(*(const uint64_t *)m.data, next[which]);
		EQUAL(m.lost, 0);
		next[which]++;
		EQUAL(bus_sub_release(sub, 1), 0);
	}
	child = rig_fork();
	if (child == 0) {
		EQUAL(bus_sub_peek(sub, &m, 1), -ECHILD);
		EQUAL(bus_pub_send(pub[0], "", 0), -ECHILD);
		rig_exit(0);
	}
	EQUAL(rig_wait(child), 0);
	for (int i = 0; i < 3; i++) {
		EQUAL(pthread_join(thread[i], (void **)&sent[i]), 0);
		EQUAL(next[i], *sent[i]);
		/* what its former rings had is dropped with its next look */
		rig_sleep_ms(120);
		OK(bus_pub_send(pub[i], sent[i], sizeof(*sent[i])));
		free(sent[i]);
	}
	EQUAL(mappings(), before);
	bus_close(bus);
}

int main(void)
{
	rig_busd_start("log: stderr\nlog_level: error\n");
	calls_work_again();
	dead_subscriber();
	blocked_across();
	dead_publisher();
	newcomers();
	threads();
	if (geteuid() == 0)
		refused();
	return rig_done();
}
