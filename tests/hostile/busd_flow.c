/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_flow.c - clients that do not read, crowds, and busd out of descriptors or memory: each
 * hurts itself alone, and is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/proto_rig.h"

static struct proto_busd busd;

static int setup(void **state)
{
	(void)state;
	return proto_busd_start(&busd, NULL, 0);
}

static int setup_few_files(void **state)
{
	(void)state;
	return proto_busd_start(&busd, NULL, 60);
}

static int setup_few_files_and_one(void **state)
{
	(void)state;
	return proto_busd_start(&busd, NULL, 61);
}

static int setup_little_memory(void **state)
{
	(void)state;
	return proto_busd_start(&busd, "memory_limit: 2M\n", 0);
}

static int teardown(void **state)
{
	(void)state;
	return proto_busd_stop(&busd);
}

/*
 * Takes what lies on ev now, without letting anybody go on meanwhile longer than a moment;
 * descriptors seen.
 */
static unsigned drain(struct proto_client *client, unsigned *messages, unsigned *rings)
{
	struct proto_msg msg;
	unsigned fds = 0;

	while (proto_take(client->ev, &msg, 0) == 1) {
		fds += (unsigned)msg.fd_count;
		(*messages)++;
		*rings += msg.head.type == CTL_EV_RING;
		proto_close_fds(&msg);
	}
	return fds;
}

/* Descriptors that lie unread in a socket, without taking them. */
static unsigned unread_fds(int fd)
{
	unsigned count = 0;
	int off = 0;

	/* a peek at an offset goes from message to message */
	setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off));
	for (;;) {
		char buf[2048];
		union {
			struct cmsghdr align;
			char buf[CMSG_SPACE(sizeof(int))];
		} control;
		struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
		struct msghdr in = { .msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = &control,
				     .msg_controllen = sizeof(control) };
		const struct cmsghdr *part;
		int stray;

		if (recvmsg(fd, &in, MSG_DONTWAIT | MSG_PEEK | MSG_CMSG_CLOEXEC) <= 0)
			break;
		part = CMSG_FIRSTHDR(&in);
		if (part == NULL)
			continue;
		memcpy(&stray, CMSG_DATA(part), sizeof(stray));
		close(stray);
		count++;
	}
	off = -1;
	setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off));
	return count;
}

#define MANY 100

static void few_descriptors_under_way(void **state)
{
	struct ctl_evc ack = { .head = PROTO_HEAD(CTL_EVC_ACK, sizeof(ack)), .value = 1000000 };
	struct proto_client publisher, reader;
	struct proto_pub pub;
	struct proto_sub sub;
	unsigned messages = 0, rings = 0, fds = 0, before;

	(void)state;
	assert_int_equal(proto_greet(&publisher, busd.path, "p", true), 0);
	assert_int_equal(proto_greet(&reader, busd.path, "r", true), 0);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(proto_pub_open(&publisher, "f", 4096, false, &pub), 0);
		drain(&publisher, &messages, &rings);
	}
	assert_int_equal(proto_sub_open(&reader, "f", 0, CTL_START_NOW, true, &sub), 0);
	assert_int_equal(sub.reply.rings, MANY);
	assert_int_equal(unread_fds(reader.ev), CTL_EV_IN_FLIGHT);
	/* saying that all was read, when it was not, changes nothing */
	for (int i = 0; i < 5; i++)
		assert_int_equal(proto_send(reader.ev, &ack, sizeof(ack)), 0);
	usleep(50000);
	assert_int_equal(unread_fds(reader.ev), CTL_EV_IN_FLIGHT);
	messages = rings = 0;
	/*
	 * reading is enough, an acknowledgement is not even needed; and each round rings the bell
	 */
	before = bus_load_acquire(&reader.busd_bell->word[reader.hello.slot]);
	for (int i = 0; i < 400 && rings < MANY; i++) {
		unsigned now = drain(&reader, &messages, &rings);

		fds += now;
		if (now == 0)
			usleep(5000);
	}
	assert_int_equal(rings, MANY);
	assert_int_equal(fds, MANY + 2); /* rings, the board, one bell page */
	assert_true(bus_load_acquire(&reader.busd_bell->word[reader.hello.slot]) - before >= 5);
	proto_leave(&publisher);
	proto_leave(&reader);
}

static uint64_t queued(struct proto_client *asker, uint64_t client_id)
{
	struct ctl_client_next next = { .head = PROTO_HEAD(CTL_CLIENT_NEXT, sizeof(next)),
					.after = client_id - 1 };
	struct proto_msg answer;

	assert_int_equal(proto_ask(asker, &next, &answer), 0);
	assert_int_equal(answer.client.client_id, client_id);
	return answer.client.queued;
}

static void a_sleeping_publisher_is_owed_little(void **state)
{
	struct proto_client sleeper, other;
	struct proto_pub pub;
	struct proto_sub sub;
	struct proto_msg msg;
	const struct board_head *board = NULL;
	uint64_t most = 0, last = 0;
	bool known[3] = { false };
	unsigned messages = 0, rings = 0;

	(void)state;
	assert_int_equal(proto_greet(&sleeper, busd.path, "sleeper", true), 0);
	assert_int_equal(proto_greet(&other, busd.path, "other", true), 0);
	assert_int_equal(proto_pub_open(&sleeper, "z", 0, false, &pub), 0);
	while (board == NULL && proto_event(&sleeper, CTL_EV_SEGMENT, &msg, 2000) == 1) {
		if (msg.segment.kind == CTL_SEG_BOARD)
			board = mmap(NULL, msg.segment.size, PROT_READ, MAP_SHARED, msg.fds[0], 0);
		proto_close_fds(&msg);
	}
	/* it reads nothing from here on, as a process in a long computation would not */
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(proto_sub_open(&other, "z", 0, CTL_START_NOW, false, &sub), 0);
		assert_int_equal(proto_sub_close(&other, &sub), 0);
		drain(&other, &messages, &rings);
		if (i % 100 == 0)
			most = bus_max_u64(most, queued(&other, sleeper.hello.client_id));
	}
	assert_true(most < 100);
	assert_int_equal(proto_sub_open(&other, "z", 0, CTL_START_NOW, false, &sub), 0);
	/* what it is owed ends with what is so now: one member, and the number of the epoch */
	while (proto_take(sleeper.ev, &msg, 300) == 1) {
		if (msg.head.type == CTL_EV_MEMBER) {
			assert_true(msg.member.number > last);
			last = msg.member.number;
			if (msg.member.sub_id == sub.reply.sub_id)
				known[msg.member.op] = true;
		}
		proto_close_fds(&msg);
	}
	assert_int_equal(last, bus_load_acquire(&board->epoch));
	assert_true(known[CTL_MEMBER_ADD] && !known[CTL_MEMBER_REMOVE]);
	proto_leave(&sleeper);
	proto_leave(&other);
}

/* Opens a publisher as libbus does: events are read while the answer is waited for. */
static int open_while_reading(struct proto_client *client, const char *topic)
{
	struct ctl_pub_ready ready = { .head = PROTO_HEAD(CTL_PUB_READY, sizeof(ready)) };
	unsigned messages = 0, rings = 0;
	struct proto_pub pub;
	struct proto_msg msg;
	int rc = proto_pub_open(client, topic, 4096, true, &pub);

	if (rc < 0)
		return rc;
	munmap(pub.page, pub.reply.geometry.slots_off);
	close(pub.fd);
	ready.pub_id = pub.reply.pub_id;
	ready.ring_id = pub.reply.ring_id;
	rc = proto_send(client->ctl, &ready, sizeof(ready));
	for (int i = 0; rc == 0 && i < 5000; i++) {
		drain(client, &messages, &rings);
		if (proto_take(client->ctl, &msg, 1) == 1)
			return msg.head.type == (CTL_REPLY | CTL_PUB_READY) ? 0 : -EPROTO;
	}
	return -ETIMEDOUT;
}

static void more_publishers_than_a_board_holds(void **state)
{
	struct proto_client publisher, reader;
	struct proto_pub pub;
	struct proto_sub sub;
	struct proto_msg msg;
	unsigned messages = 0, rings = 0;

	(void)state;
	assert_int_equal(proto_greet(&publisher, busd.path, "p", true), 0);
	assert_int_equal(proto_greet(&reader, busd.path, "r", true), 0);
	assert_int_equal(proto_sub_open(&reader, "b", 0, CTL_START_NOW, false, &sub), 0);
	/* each leaves a message that the reader never takes: rings pile up */
	for (int i = 0; i < BOARD_RINGS + 20; i++) {
		assert_int_equal(proto_pub_open(&publisher, "b", 4096, false, &pub), 0);
		proto_pub_publish(&pub, 1);
		assert_int_equal(proto_pub_close(&publisher, &pub), 0);
		drain(&publisher, &messages, &rings);
	}
	assert_true(proto_busd_logged(&busd, "loses what it has not read"));
	assert_int_equal(proto_take(reader.ctl, &msg, 100), 0);
	/* as many open ones at a time, and one more */
	for (int i = 0; i < BOARD_RINGS; i++)
		assert_int_equal(open_while_reading(&publisher, "b"), 0);
	assert_int_equal(open_while_reading(&publisher, "b"), -EDQUOT);
	assert_non_null(strstr(publisher.why, "1024 rings"));
	proto_leave(&publisher);
	proto_leave(&reader);
}

static void out_of_descriptors(void **state)
{
	struct proto_client first, more[60];
	struct ctl_head info = PROTO_HEAD(CTL_INFO, sizeof(info));
	struct proto_msg msg;
	struct proto_pub pub;
	unsigned count = 0;
	int rc;

	(void)state;
	assert_int_equal(proto_greet(&first, busd.path, "first", true), 0);
	assert_int_equal(proto_pub_open(&first, "x", 0, false, &pub), 0);
	while (count < BUS_ARRAY_LEN(more)) {
		rc = proto_greet(&more[count], busd.path, "more", true);
		if (rc < 0)
			break;
		count++;
	}
	assert_true(count > 3 && count < 30);
	if (rc != -EDQUOT)
		fail_msg("refused by %d: %s", rc, more[count].why);
	proto_leave(&more[count]);
	/* the next one as well, in words, and at once */
	rc = proto_greet(&more[count], busd.path, "more", true);
	assert_int_equal(rc, -EDQUOT);
	assert_true(strlen(more[count].why) > 20);
	proto_leave(&more[count]);
	assert_int_equal(proto_ask(&first, &info, &msg), 0);
	while (count > 0)
		proto_leave(&more[--count]);
	for (int i = 0; i < 100; i++) {
		rc = proto_greet(&more[0], busd.path, "again", true);
		if (rc == 0)
			break;
		proto_leave(&more[0]);
		usleep(10000);
	}
	assert_int_equal(rc, 0);
	proto_leave(&more[0]);
	proto_leave(&first);
}

/*
 * Connections that say nothing: the last ones are told that there is no room, at once, whatever
 * remains.
 */
static void crowd_at_the_door(void **state)
{
	struct ctl_head info = PROTO_HEAD(CTL_INFO, sizeof(info));
	struct proto_client first;
	struct proto_msg msg;
	unsigned refused = 0;
	int fds[100];

	(void)state;
	assert_int_equal(proto_greet(&first, busd.path, "first", true), 0);
	for (unsigned i = 0; i < BUS_ARRAY_LEN(fds); i++) {
		fds[i] = proto_dial(busd.path);
		assert_true(fds[i] >= 0);
	}
	assert_int_equal(proto_ask(&first, &info, &msg), 0);
	for (unsigned i = 0; i < BUS_ARRAY_LEN(fds); i++) {
		if (proto_take(fds[i], &msg, 20) == 1) {
			assert_int_equal(msg.head.type, CTL_ERROR);
			assert_int_equal(msg.head.magic, CTL_MAGIC);
			if (msg.error.error != EDQUOT)
				fail_msg("%s", msg.error.why);
			assert_int_equal(proto_take(fds[i], &msg, 1000), -1);
			refused++;
		}
	}
	if (refused < 60 || refused > 90)
		fail_msg("%u of 100 refused", refused);
	for (unsigned i = 0; i < BUS_ARRAY_LEN(fds); i++)
		close(fds[i]);
	assert_int_equal(proto_ask(&first, &info, &msg), 0);
	proto_leave(&first);
}

static void out_of_memory_quota(void **state)
{
	struct ctl_head info = PROTO_HEAD(CTL_INFO, sizeof(info));
	struct proto_client client;
	struct proto_pub pubs[16];
	struct proto_msg msg;
	unsigned messages = 0, rings = 0;
	int count = 0, rc = 0;

	(void)state;
	assert_int_equal(proto_greet(&client, busd.path, "q", true), 0);
	/* rings that are only kept make room */
	for (int i = 0; i < 20; i++) {
		assert_int_equal(proto_pub_open(&client, "kept", 0, false, &pubs[0]), 0);
		proto_pub_publish(&pubs[0], 1);
		assert_int_equal(proto_pub_close(&client, &pubs[0]), 0);
		drain(&client, &messages, &rings);
	}
	while (count < 16 && (rc = proto_pub_open(&client, "q", 0, false, &pubs[count])) == 0)
		count++;
	assert_int_equal(rc, -EDQUOT);
	assert_int_equal(count, 3); /* of 516 KiB each, in 2 MiB */
	assert_non_null(strstr(client.why, "memory_limit"));
	assert_non_null(strstr(client.why, "limit 2.0 MiB"));
	assert_int_equal(proto_ask(&client, &info, &msg), 0);
	assert_true(msg.info.memory_bytes <= msg.info.memory_limit);
	assert_int_equal(msg.info.memory_limit, 2 << 20);
	assert_int_equal(proto_pub_close(&client, &pubs[0]), 0);
	assert_int_equal(proto_pub_open(&client, "q", 0, false, &pubs[0]), 0);
	proto_leave(&client);
}

static long open_files(pid_t pid)
{
	char path[64];
	struct dirent *entry;
	long count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* Connects and leaves, opens and closes: nothing stays behind, with keeper or worker. */
static void nothing_leaks(void **state)
{
	struct ctl_head info = PROTO_HEAD(CTL_INFO, sizeof(info));
	struct proto_client watcher;
	struct proto_msg before, after;
	long fds[2] = { 0 };

	(void)state;
	assert_int_equal(proto_greet(&watcher, busd.path, "w", true), 0);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 50; i++) {
			struct proto_client a, b;
			struct proto_pub pub;
			struct proto_sub sub, wild;

			assert_int_equal(proto_greet(&a, busd.path, "a", true), 0);
			assert_int_equal(proto_greet(&b, busd.path, "b", true), 0);
			assert_int_equal(proto_sub_open(&a, "l.x", 0, CTL_START_NOW, false, &sub), 0);
			assert_int_equal(proto_pub_open(&b, "l.x", 0, false, &pub), 0);
			assert_int_equal(proto_sub_open(&b, "l.>", BOARD_SUB_LOSSY,
							CTL_START_OLDEST, i % 2, &wild),
					 0);
			munmap(pub.page, pub.reply.geometry.slots_off);
			munmap(sub.cursors, sub.reply.size);
			munmap(wild.cursors, wild.reply.size);
			proto_leave(i % 3 ? &a : &b);
			proto_leave(i % 3 ? &b : &a);
			if (wild.fd >= 0)
				close(wild.fd);
		}
		usleep(200000);
		fds[round] = open_files(busd.pid) + open_files(proto_busd_worker(&busd));
		assert_int_equal(proto_ask(&watcher, &info, round ? &after : &before), 0);
	}
	assert_int_equal(fds[0], fds[1]);
	assert_int_equal(before.info.memory_bytes, after.info.memory_bytes);
	assert_int_equal(after.info.clients, 1);
	assert_int_equal(after.info.topics, 0);
	assert_int_equal(after.info.rings, 0);
	assert_int_equal(after.info.subscriptions, 0);
	proto_leave(&watcher);
}

static unsigned long switches(pid_t pid)
{
	char path[64], line[256];
	unsigned long sum = 0, n;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1)
			sum = n;
	fclose(file);
	return sum;
}

static void idle_means_asleep(void **state)
{
	struct proto_client client;
	struct proto_pub pub;
	struct proto_sub sub;
	unsigned long before;
	pid_t worker;

	(void)state;
	assert_int_equal(proto_greet(&client, busd.path, "i", true), 0);
	assert_int_equal(proto_pub_open(&client, "i", 0, false, &pub), 0);
	assert_int_equal(proto_sub_open(&client, "i", 0, CTL_START_NOW, false, &sub), 0);
	usleep(300000);
	worker = proto_busd_worker(&busd);
	before = switches(busd.pid) + switches(worker);
	sleep(2);
	assert_int_equal(switches(busd.pid) + switches(worker), before);
	proto_leave(&client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(few_descriptors_under_way),
		TEST(a_sleeping_publisher_is_owed_little),
		TEST(more_publishers_than_a_board_holds),
		cmocka_unit_test_setup_teardown(out_of_descriptors, setup_few_files, teardown),
		cmocka_unit_test_setup_teardown(crowd_at_the_door, setup_few_files, teardown),
		cmocka_unit_test_setup_teardown(crowd_at_the_door, setup_few_files_and_one, teardown),
		cmocka_unit_test_setup_teardown(out_of_memory_quota, setup_little_memory, teardown),
		TEST(nothing_leaks),
		TEST(idle_means_asleep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
