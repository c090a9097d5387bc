/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_stat.h against a real busd: what publishers and subscribers do shows, the right one is
 * blamed, and looking goes on without busd.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <bus_stat.h>

static char socket_path[200];
static pid_t busd;

struct side {
	struct bus *bus; /* of publishers and subscribers */
	struct bus *eye; /* of the observer */
	struct bus_stat *stat;
};

static void pause_ms(int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

static struct bus *connect_as(const char *name)
{
	struct bus *bus;

	if (bus_connect(&bus, BUS_OPTS(connect, .socket = socket_path, .name = name)) < 0)
		fail_msg("%s", bus_why(NULL));
	return bus;
}

static int start_busd(void **state)
{
	char program[300];
	const char *build = getenv("BUS_BUILD"), *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(program, sizeof(program), "%s/busd", build ? build : "build");
	snprintf(socket_path, sizeof(socket_path), "%s/stat_api.%d.sock", tmp ? tmp : "/tmp",
		 (int)getpid());
	busd = fork();
	if (busd == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* however the test ends */
		execl(program, "busd", "--foreground", "--socket", socket_path, (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 500; i++) {
		struct bus *bus;

		if (bus_connect(&bus, BUS_OPTS(connect, .socket = socket_path)) == 0) {
			bus_close(bus);
			return 0;
		}
		pause_ms(10);
	}
	printf("no busd: %s\n", bus_why(NULL));
	return -1;
}

static int stop_busd(void **state)
{
	int status;

	(void)state;
	kill(busd, SIGCONT);
	kill(busd, SIGTERM);
	return waitpid(busd, &status, 0) == busd ? 0 : -1;
}

static int open_side(void **state)
{
	struct side *s = calloc(1, sizeof(*s));

	s->bus = connect_as("worker");
	s->eye = connect_as("eye");
	*state = s;
	return bus_stat_open(&s->stat, s->eye, NULL);
}

static int close_side(void **state)
{
	struct side *s = *state;

	bus_stat_close(s->stat);
	bus_close(s->eye);
	bus_close(s->bus);
	free(s);
	return 0;
}

/* NULL: no such topic */
static const struct bus_stat_topic *find(const struct side *s, const char *name)
{
	const struct bus_stat_topic *topics;
	uint64_t now_ns;
	int n = bus_stat_refresh(s->stat, &topics, &now_ns);

	if (n < 0)
		fail_msg("refresh: %s", bus_why(s->eye));
	for (int i = 0; i < n; i++)
		if (strcmp(topics[i].name, name) == 0)
			return &topics[i];
	return NULL;
}

static const struct bus_stat_topic *must_find(const struct side *s, const char *name)
{
	const struct bus_stat_topic *t = find(s, name);

	assert_non_null(t);
	return t;
}

#define OK(call) \
	do { \
		int ok_err = (call); \
		if (ok_err < 0) \
			fail_msg(#call ": %s (%s)", strerror(-ok_err), bus_why(s->bus)); \
	} while (0)

static void test_flow(void **state)
{
	struct side *s = *state;
	const struct bus_stat_topic *t;
	struct bus_pub *pub;
	struct bus_sub *sub;
	struct bus_msg msgs[3];

	OK(bus_sub_open(&sub, s->bus, "flow.*", BUS_OPTS(sub, .name = "reader")));
	assert_null(find(s, "flow.a"));
	OK(bus_pub_open(&pub, s->bus, "flow.a", BUS_OPTS(pub, .name = "writer")));
	for (int i = 0; i < 10; i++)
		OK(bus_pub_send(pub, "0123456789", 10));
	pause_ms(50);
	t = must_find(s, "flow.a");
	assert_int_equal(t->messages, 10);
	assert_int_equal(t->bytes, 100);
	assert_int_equal(t->publisher_count, 1);
	assert_int_equal(t->subscriber_count, 1);
	assert_string_equal(t->publishers[0].name, "writer");
	assert_int_equal(t->publishers[0].pid, getpid());
	assert_int_equal(t->publishers[0].uid, getuid());
	assert_int_equal(t->publishers[0].messages, 10);
	assert_true(t->publishers[0].used_ratio > 0 && t->publishers[0].used_ratio < 0.1);
	assert_true(t->publishers[0].node_pages[0] > 0);
	assert_string_equal(t->subscribers[0].name, "reader");
	assert_string_equal(t->subscribers[0].pattern, "flow.*");
	assert_int_equal(t->subscribers[0].lag_messages, 10);
	assert_in_range(t->subscribers[0].lag_ns, 50000000, 10000000000);
	assert_in_range(llabs(t->clock_ahead_ns), 0, 50000000);
	assert_int_equal(bus_sub_peek(sub, msgs, 3), 3);
	OK(bus_sub_release(sub, 3));
	assert_true(bus_sub_wait(sub, 0) >= 0); /* waiting tells how far one has read */
	while (bus_sub_peek(sub, msgs, 1) > 0)
		OK(bus_sub_release(sub, 1));
	t = must_find(s, "flow.a");
	assert_int_equal(t->subscribers[0].lag_messages, 0);
	assert_int_equal(t->subscribers[0].lag_ns, 0);
	assert_int_equal(t->subscribers[0].delivered, 10);
	assert_int_equal(t->lost, 0);
	bus_pub_close(pub);
	bus_sub_close(sub);
}

static void test_peek(void **state)
{
	struct side *s = *state;
	const struct bus_header header = { .name = "kind", .value = "test", .value_len = 4 };
	const struct bus_out out = { .data = "with all",
				     .len = 8,
				     .key = "k",
				     .key_len = 1,
				     .headers = &header,
				     .header_count = 1 };
	const struct bus_msg *msgs;
	struct bus_pub *pub;
	char big[5000];
	const void *value;
	uint32_t value_len;

	memset(big, 'b', sizeof(big));
	OK(bus_pub_open(&pub, s->bus, "peek", BUS_OPTS(pub, .name = "p")));
	OK(bus_pub_send(pub, "one", 3));
	OK(bus_pub_send(pub, big, sizeof(big)));
	assert_int_equal(bus_pub_send_batch(pub, &out, 1), 1);
	assert_int_equal(bus_stat_peek(s->stat, "peek", 2, &msgs), 2);
	assert_int_equal(msgs[0].seq, 1);
	assert_int_equal(msgs[0].len, sizeof(big));
	assert_memory_equal(msgs[0].data, big, sizeof(big));
	assert_int_equal(msgs[1].len, 8);
	assert_memory_equal(msgs[1].data, "with all", 8);
	assert_memory_equal(msgs[1].key, "k", 1);
	assert_int_equal(bus_msg_header(&msgs[1], "kind", &value, &value_len), 1);
	assert_int_equal(value_len, 4);
	assert_memory_equal(value, "test", 4);
	assert_string_equal(msgs[1].from->name, "p");
	assert_int_equal(msgs[1].from->pid, getpid());
	assert_in_range(msgs[1].time_ns, (uint64_t)(time(NULL) - 10) * 1000000000,
			(uint64_t)(time(NULL) + 10) * 1000000000);
	assert_int_equal(bus_stat_peek(s->stat, "nowhere", 2, &msgs), -ENOENT);
	assert_int_equal(bus_stat_peek(s->stat, "peek", 0, &msgs), -EINVAL);
	bus_pub_close(pub);
}

static void *publish_until_full(void *arg)
{
	struct bus_pub *pub = arg;
	int err;

	while ((err = bus_pub_send(pub, "x", 1)) == 0)
		;
	return (void *)(intptr_t)err;
}

static void test_who_blocks_whom(void **state)
{
	struct side *s = *state;
	const struct bus_stat_topic *t;
	struct bus_sub *idle, *lossy;
	struct bus_pub *pub;
	pthread_t thread;
	void *err;

	OK(bus_sub_open(&lossy, s->bus, "block", BUS_OPTS(sub, .name = "lossy", .policy = BUS_LOSSY)));
	OK(bus_sub_open(&idle, s->bus, "block", BUS_OPTS(sub, .name = "idle")));
	OK(bus_pub_open(&pub, s->bus, "block",
			BUS_OPTS(pub, .slots = 64, .full = BUS_FULL_BLOCK, .full_ns = 1500000000)));
	assert_int_equal(pthread_create(&thread, NULL, publish_until_full, pub), 0);
	pause_ms(500);
	t = must_find(s, "block");
	assert_int_equal(t->publishers[0].blocked_now, 1);
	assert_int_equal(t->publishers[0].waiting_asleep, 1);
	assert_true(t->publishers[0].used_ratio == 1);
	assert_int_equal(t->publishers[0].messages, 64);
	assert_in_range(t->publishers[0].blocked_ns, 200000000, 1500000000);
	for (int i = 0; i < 2; i++) {
		bool is_idle = strcmp(t->subscribers[i].name, "idle") == 0;

		assert_int_equal(t->subscribers[i].lossy, !is_idle);
		assert_int_equal(t->subscribers[i].holds, is_idle);
		if (is_idle)
			assert_int_equal(t->publishers[0].blocked_by, t->subscribers[i].id);
	}
	assert_int_equal(t->lag_messages, 64);
	pthread_join(thread, &err);
	assert_int_equal((intptr_t)err, -ETIMEDOUT);
	t = must_find(s, "block");
	assert_int_equal(t->publishers[0].blocked_now, 0);
	assert_int_equal(t->publishers[0].refused, 1);
	assert_in_range(t->publishers[0].blocked_ns, 1400000000, 3000000000);
	for (int i = 0; i < 2; i++)
		assert_int_equal(t->subscribers[i].holds, 0);
	bus_pub_close(pub);
	bus_sub_close(idle);
	bus_sub_close(lossy);
}

static void test_many_topics(void **state)
{
	struct side *s = *state;
	const struct bus_stat_topic *topics;
	struct bus_pub *pubs[60];
	struct bus_stat *late;
	uint64_t now_ns;
	int n, seen = 0;

	for (int i = 0; i < 60; i++) {
		char name[32];

		snprintf(name, sizeof(name), "many.%02d", i);
		OK(bus_pub_open(&pubs[i], s->bus, name, BUS_OPTS(pub, .slots = 64, .bytes = 4096)));
		OK(bus_pub_send(pubs[i], name, 7));
	}
	/*
	 * one that looks from now on, beside one that has looked all the time: both see all rings
	 */
	OK(bus_stat_open(&late, s->eye, "many.>"));
	for (int k = 0; k < 2; k++) {
		n = bus_stat_refresh(k ? s->stat : late, &topics, &now_ns);
		seen = 0;
		for (int i = 0; i < n; i++) {
			assert_true(i == 0 || strcmp(topics[i - 1].name, topics[i].name) < 0);
			if (strncmp(topics[i].name, "many.", 5) != 0)
				continue;
			seen++;
			assert_int_equal(topics[i].messages, 1);
			assert_int_equal(topics[i].publisher_count, 1);
		}
		assert_int_equal(seen, 60);
		assert_true(k == 1 || n == 60);
	}
	bus_stat_close(late);
	/* the first observer's view is still fed */
	bus_pub_close(pubs[0]);
	OK(bus_pub_open(&pubs[0], s->bus, "many.after", NULL));
	OK(bus_pub_send(pubs[0], "x", 1));
	assert_int_equal(must_find(s, "many.after")->messages, 1);
	for (int i = 0; i < 60; i++)
		bus_pub_close(pubs[i]);
}

static void test_ring_replaced(void **state)
{
	struct side *s = *state;
	const struct bus_stat_topic *t;
	struct bus_pub *pub;
	struct bus_sub *sub;
	char *big = calloc(1, 300000);

	OK(bus_sub_open(&sub, s->bus, "grow", NULL));
	OK(bus_pub_open(&pub, s->bus, "grow", BUS_OPTS(pub, .bytes = 65536)));
	for (int i = 0; i < 5; i++)
		OK(bus_pub_send(pub, "small", 5));
	OK(bus_pub_send(pub, big, 300000));
	t = must_find(s, "grow");
	assert_int_equal(t->publisher_count, 1);
	assert_int_equal(t->publishers[0].messages, 6);
	assert_int_equal(t->publishers[0].bytes, 300025);
	assert_true(t->publishers[0].ring_bytes >= 4 * 300000);
	assert_int_equal(t->messages, 6);
	assert_int_equal(t->subscribers[0].lag_messages, 6);
	bus_sub_close(sub);
	bus_pub_close(pub);
	free(big);
}

static void test_clients_and_daemon(void **state)
{
	struct side *s = *state;
	struct bus_stat_client c = { .id = 0 };
	struct bus_stat_daemon d;
	struct bus_pub *pub;
	int workers = 0, eyes = 0, n;

	OK(bus_pub_open(&pub, s->bus, "clients", NULL));
	while ((n = bus_stat_client_next(s->eye, &c)) > 0) {
		assert_int_equal(c.pid, getpid());
		assert_int_equal(c.uid, getuid());
		assert_int_equal(c.gid, getgid());
		if (strcmp(c.name, "worker") == 0) {
			workers++;
			assert_int_equal(c.publishers, 1);
			assert_true(c.memory_bytes > 65536);
		}
		eyes += strcmp(c.name, "eye") == 0;
	}
	assert_int_equal(n, 0);
	assert_int_equal(workers, 1);
	assert_int_equal(eyes, 1);
	OK(bus_stat_daemon(s->eye, &d));
	assert_int_equal(d.pid, busd);
	assert_int_equal(d.clients, 2);
	assert_string_equal(d.socket, socket_path);
	assert_true(d.memory_bytes > 65536);
	assert_true(d.nodes >= 1);
	bus_pub_close(pub);
}

static void test_metrics(void **state)
{
	struct side *s = *state;
	struct bus_pub *pub;
	const char *text;
	size_t len;

	OK(bus_pub_open(&pub, s->bus, "metrics.t", BUS_OPTS(pub, .name = "m")));
	OK(bus_pub_send(pub, "abc", 3));
	OK(bus_stat_metrics(s->stat, &text, &len));
	assert_int_equal(strlen(text), len);
	assert_non_null(
		strstr(text, "\nbus_topic_bytes_total{topic=\"metrics.t\",direction=\"in\"} 3\n"));
	assert_non_null(strstr(text, "\nbus_clients 2\n"));
	assert_string_equal(text + len - 6, "# EOF\n");
	bus_pub_close(pub);
}

static void test_bad_calls(void **state)
{
	struct side *s = *state;
	struct bus_stat *stat = NULL;
	pid_t child;
	int status;

	assert_int_equal(bus_stat_open(&stat, s->eye, "a..b"), -EINVAL);
	assert_int_equal(bus_stat_open(&stat, s->eye, ""), -EINVAL);
	assert_null(stat);
	bus_stat_close(NULL);
	child = fork();
	if (child == 0) {
		const struct bus_stat_topic *topics;
		const struct bus_msg *msgs;
		struct bus_stat_daemon d;
		uint64_t now_ns;
		bool good = bus_stat_refresh(s->stat, &topics, &now_ns) == -ECHILD &&
			    bus_stat_peek(s->stat, "t", 1, &msgs) == -ECHILD &&
			    bus_stat_open(&stat, s->eye, NULL) == -ECHILD &&
			    bus_stat_daemon(s->eye, &d) == -ECHILD;

		bus_stat_close(s->stat);
		_exit(good ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_true(find(s, "nothing") == NULL); /* the parent's observer is unharmed */
}

/* Last of all: it takes busd away. */
static void test_without_busd(void **state)
{
	struct side *s = *state;
	const struct bus_stat_topic *t;
	const struct bus_msg *msgs;
	struct bus_stat_daemon d;
	struct bus_pub *pub;
	int status;

	OK(bus_pub_open(&pub, s->bus, "alone", NULL));
	OK(bus_pub_send(pub, "1", 1));
	assert_int_equal(must_find(s, "alone")->messages, 1);
	kill(busd, SIGKILL);
	assert_int_equal(waitpid(busd, &status, 0), busd);
	OK(bus_pub_send(pub, "2", 1));
	t = must_find(s, "alone");
	assert_int_equal(t->messages, 2);
	assert_int_equal(bus_stat_peek(s->stat, "alone", 5, &msgs), 2);
	assert_int_equal(bus_stat_daemon(s->eye, &d), -EPIPE);
	bus_pub_close(pub);
	start_busd(NULL); /* for stop_busd() */
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, open_side, close_side)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(flow),        TEST(peek),          TEST(who_blocks_whom),
		TEST(many_topics), TEST(ring_replaced), TEST(clients_and_daemon),
		TEST(metrics),     TEST(bad_calls),     TEST(without_busd),
	};

	return cmocka_run_group_tests(tests, start_busd, stop_busd);
}
