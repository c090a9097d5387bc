/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_rights.c - several users on one busd (needs root): what a stranger may not do and does not
 * learn, what a rule allows, and how processes of two users wake each other by pages that only one
 * of them writes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/proto_rig.h"

#define ALICE 64101
#define BOB   64102
#define EVE   64103
#define CLUB  64200 /* a group */

static struct proto_busd busd;

static int setup(void **state)
{
	(void)state;
	if (proto_busd_start(
		    &busd,
		    "socket_mode: 0666\n"
		    "memory_limit: 8M\nuser_memory_limit: 1M\n"
		    "rules:\n"
		    "- topics: team.>\n"
		    "  allow: {publish: [64101], subscribe: [64102, \"group:64200\"], admin: [64101]}\n",
		    0) < 0)
		return -1;
	return chmod(busd.dir, 0755);
}

static int teardown(void **state)
{
	(void)state;
	return proto_busd_stop(&busd);
}

/* Runs the work as another user, in a process of its own; 0 or the line on which it failed. */
static int as_user(uid_t uid, gid_t group, int (*work)(struct proto_client *))
{
	struct proto_client client;
	int status, rc;
	pid_t pid = fork();

	if (pid == 0) {
		if (setgroups(group ? 1 : 0, &group) < 0 || setgid(uid) < 0 || setuid(uid) < 0)
			_exit(250);
		rc = proto_greet(&client, busd.path, "user", true);
		_exit(rc < 0 ? 251 : work(&client));
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 252;
}

/* In a child no assertion is counted: the first one that does not hold is the exit code. */
#define EXPECT(n, cond) \
	do { \
		if (!(cond)) \
			return (n); \
	} while (0)

static int next_topic(struct proto_client *client, const char *pattern)
{
	struct ctl_topic_next next = { .head = PROTO_HEAD(CTL_TOPIC_NEXT, sizeof(next)) };
	struct proto_msg answer;

	strcpy(next.pattern, pattern);
	return proto_ask(client, &next, &answer);
}

static int change_topic(struct proto_client *client, uint16_t type, const char *name)
{
	union {
		struct ctl_head head;
		struct ctl_topic_create create;
		struct ctl_topic_remove remove;
	} in;
	struct proto_msg answer;

	memset(&in, 0, sizeof(in));
	if (type == CTL_TOPIC_CREATE) {
		in.head = (struct ctl_head)PROTO_HEAD(type, sizeof(in.create));
		strcpy(in.create.topic, name);
	} else {
		in.head = (struct ctl_head)PROTO_HEAD(type, sizeof(in.remove));
		strcpy(in.remove.topic, name);
	}
	return proto_ask(client, &in, &answer);
}

static int eve_works(struct proto_client *client)
{
	struct ctl_client_next next = { .head = PROTO_HEAD(CTL_CLIENT_NEXT, sizeof(next)) };
	struct ctl_observe observe = { .head = PROTO_HEAD(CTL_OBSERVE, sizeof(observe)),
				       .pattern = ">" };
	struct proto_msg msg;
	struct proto_pub pub;
	struct proto_sub sub;

	EXPECT(1, proto_pub_open(client, "team.x", 0, true, &pub) == -EACCES);
	EXPECT(2, strstr(client->why, "uid 64103"));
	EXPECT(3, proto_pub_open(client, "no.such", 0, true, &pub) == -EACCES);
	EXPECT(4, proto_sub_open(client, "team.secret", 0, CTL_START_NOW, true, &sub) == -EACCES);
	EXPECT(5, proto_sub_open(client, ">", 0, CTL_START_NOW, true, &sub) == -EACCES);
	EXPECT(6, next_topic(client, ">") == -ENOENT);
	EXPECT(7, change_topic(client, CTL_TOPIC_CREATE, "mine") == -EACCES);
	/* the same words for what is there and what is not */
	EXPECT(8, change_topic(client, CTL_TOPIC_REMOVE, "team.secret") == -ENOENT);
	EXPECT(9, change_topic(client, CTL_TOPIC_REMOVE, "team.absent") == -ENOENT);
	EXPECT(10, proto_ask(client, &observe, &msg) == 0 && msg.ok.value == 0);
	EXPECT(11, proto_event(client, CTL_EV_SEGMENT, &msg, 100) == 0);
	/* of clients, only its own */
	EXPECT(12, proto_ask(client, &next, &msg) == 0 &&
			   msg.client.client_id == client->hello.client_id);
	next.after = msg.client.client_id;
	EXPECT(13, proto_ask(client, &next, &msg) == -ENOENT);
	return 0;
}

static void a_stranger_learns_nothing(void **state)
{
	struct proto_client root;
	struct proto_pub pub;

	(void)state;
	assert_int_equal(proto_greet(&root, busd.path, "root", true), 0);
	assert_int_equal(proto_pub_open(&root, "team.secret", 0, false, &pub), 0);
	assert_int_equal(as_user(EVE, 0, eve_works), 0);
	proto_leave(&root);
}

static int alice_works(struct proto_client *client)
{
	struct proto_pub pub;
	struct proto_sub sub;

	EXPECT(1, proto_pub_open(client, "team.x", 0, false, &pub) == 0);
	EXPECT(2, proto_pub_open(client, "teams.x", 0, false, &pub) == -EACCES);
	EXPECT(3, proto_sub_open(client, "team.x", 0, CTL_START_NOW, false, &sub) == -EACCES);
	EXPECT(4, change_topic(client, CTL_TOPIC_CREATE, "team.made") == 0);
	EXPECT(5, next_topic(client, "team.*") == 0);
	EXPECT(6, change_topic(client, CTL_TOPIC_REMOVE, "team.made") == 0);
	/* her quota is her own */
	EXPECT(7, proto_pub_open(client, "team.x", 1 << 20, false, &pub) == -EDQUOT);
	EXPECT(8, strstr(client->why, "user_memory_limit"));
	return 0;
}

static int club_works(struct proto_client *client)
{
	struct proto_pub pub;
	struct proto_sub sub;

	EXPECT(1, proto_sub_open(client, "team.x", 0, CTL_START_NOW, false, &sub) == 0);
	EXPECT(2, proto_sub_open(client, ">", 0, CTL_START_NOW, false, &sub) == 0);
	EXPECT(3, proto_pub_open(client, "team.x", 0, false, &pub) == -EACCES);
	return 0;
}

static void a_rule_allows_what_it_says(void **state)
{
	(void)state;
	assert_int_equal(as_user(ALICE, 0, alice_works), 0);
	assert_int_equal(as_user(EVE, CLUB, club_works), 0);
	assert_int_equal(as_user(EVE, 0, eve_works), 0);
}

/*
 * Bob subscribes to all he may see: root's topics outside the rule stay out of sight, also those
 * that come later.
 */
static int bob_sees_the_team(struct proto_client *client)
{
	struct proto_msg msg;
	struct proto_sub sub;
	unsigned rings = 0;

	EXPECT(1, proto_sub_open(client, ">", 0, CTL_START_NOW, false, &sub) == 0);
	EXPECT(2, next_topic(client, "go") == -ENOENT);
	while (proto_event(client, CTL_EV_RING, &msg, 500) == 1) {
		EXPECT(3, strncmp(msg.ring.topic, "team.", 5) == 0);
		rings++;
	}
	return rings == 2 ? 0 : 4;
}

static void a_pattern_sees_what_may_be_seen(void **state)
{
	struct ctl_info_reply info = { .subscriptions = 0 };
	struct ctl_head ask = PROTO_HEAD(CTL_INFO, sizeof(ask));
	struct proto_client root;
	struct proto_pub pub;
	struct proto_msg msg;
	pid_t pid;
	int status;

	(void)state;
	assert_int_equal(proto_greet(&root, busd.path, "root", true), 0);
	assert_int_equal(proto_pub_open(&root, "team.a", 0, false, &pub), 0);
	assert_int_equal(proto_pub_open(&root, "hidden.a", 0, false, &pub), 0);
	pid = fork();
	if (pid == 0)
		_exit(as_user(BOB, 0, bob_sees_the_team));
	for (int i = 0; i < 400 && info.subscriptions == 0; i++) {
		usleep(5000);
		assert_int_equal(proto_ask(&root, &ask, &msg), 0);
		info = msg.info;
	}
	assert_int_equal(proto_pub_open(&root, "team.b", 0, false, &pub), 0);
	assert_int_equal(proto_pub_open(&root, "hidden.b", 0, false, &pub), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 0);
	proto_leave(&root);
}

/*
 * Two users: each side asks for a page for the other's sleepers; who sleeps gets it read-only, and
 * nobody else.
 */
static int bob_and_the_bells(struct proto_client *client)
{
	struct ctl_evc want = { .head = PROTO_HEAD(CTL_EVC_WANT_BELL, sizeof(want)), .id = 0 };
	struct ctl_evc ready = { .head = PROTO_HEAD(CTL_EVC_SEGMENT_READY, sizeof(ready)) };
	struct proto_msg msg;
	struct proto_sub sub;
	void *map;
	bool own = false;

	/* nobody of root's is a peer yet: nothing is made */
	EXPECT(1, proto_send(client->ev, &want, sizeof(want)) == 0);
	EXPECT(2, proto_take(client->ev, &msg, 200) == 0);
	EXPECT(3, proto_sub_open(client, "team.bell", 0, CTL_START_NOW, false, &sub) == 0);
	EXPECT(4, proto_send(client->ev, &want, sizeof(want)) == 0);
	while (!own && proto_event(client, CTL_EV_SEGMENT, &msg, 2000) == 1) {
		own = msg.segment.kind == CTL_SEG_BELL && (msg.segment.flags & CTL_SEG_OWN);
		if (!own)
			proto_close_fds(&msg);
	}
	EXPECT(5, own && msg.segment.uid == 0 && msg.segment.owner_id == client->hello.client_id);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, msg.fds[0], 0);
	EXPECT(6, map != MAP_FAILED);
	ready.id = msg.segment.segment_id;
	proto_close_fds(&msg);
	EXPECT(7, proto_send(client->ev, &ready, sizeof(ready)) == 0);
	((struct bell_page *)map)->word[0] = 42;
	sleep(1);
	return 0;
}

static void bells_between_users(void **state)
{
	struct proto_client root;
	struct proto_pub pub;
	struct proto_msg msg;
	uint64_t bob = 0;
	pid_t pid;
	int status;

	(void)state;
	assert_int_equal(proto_greet(&root, busd.path, "root", true), 0);
	assert_int_equal(proto_pub_open(&root, "team.bell", 0, false, &pub), 0);
	pid = fork();
	if (pid == 0)
		_exit(as_user(BOB, 0, bob_and_the_bells));
	for (;;) {
		assert_int_equal(proto_take(root.ev, &msg, 3000), 1);
		if (msg.head.type == CTL_EV_MEMBER && msg.member.op == CTL_MEMBER_ADD)
			bob = msg.member.client_id;
		if (msg.head.type == CTL_EV_SEGMENT && msg.segment.kind == CTL_SEG_BELL)
			break;
		proto_close_fds(&msg);
	}
	assert_int_equal(msg.segment.owner_id, bob);
	assert_int_equal(msg.segment.uid, 0);
	assert_int_equal(msg.segment.flags, 0);
	assert_int_equal(fcntl(msg.fds[0], F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(msg.fds[0], F_GET_SEALS) & 0x1f, 0x1f & ~F_SEAL_WRITE);
	proto_close_fds(&msg);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 0);
	proto_leave(&root);
}

/* A descriptor that root's busd gave to another user is of no use to get a writable one. */
static int bob_reopens(struct proto_client *client)
{
	struct proto_msg msg;
	struct proto_sub sub;
	unsigned seen = 0;

	EXPECT(1, proto_sub_open(client, "team.seal", 0, CTL_START_NOW, false, &sub) == 0);
	while (proto_event(client, CTL_EV_SEGMENT, &msg, 300) == 1) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", msg.fds[0]);
		EXPECT(2, open(path, O_RDWR | O_CLOEXEC) < 0 && errno == EACCES);
		EXPECT(3, fchmod(msg.fds[0], 0666) < 0);
		proto_close_fds(&msg);
		seen++;
	}
	return seen >= 2 ? 0 : 4;
}

static void no_way_to_a_writable_descriptor(void **state)
{
	struct proto_client root;
	struct proto_pub pub;

	(void)state;
	assert_int_equal(proto_greet(&root, busd.path, "root", true), 0);
	assert_int_equal(proto_pub_open(&root, "team.seal", 0, false, &pub), 0);
	assert_int_equal(as_user(BOB, 0, bob_reopens), 0);
	proto_leave(&root);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_stranger_learns_nothing),       TEST(a_rule_allows_what_it_says),
		TEST(a_pattern_sees_what_may_be_seen), TEST(bells_between_users),
		TEST(no_way_to_a_writable_descriptor),
	};

	if (geteuid() != 0) {
		puts("needs root: it runs as several users");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
