/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_deaths.c - who has gone, and what busd does then: death, removal, leaving; what is kept of a ring whose publisher
 * has gone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/proto_board.h"

/*
 * A process of its own that does `work` and then waits to be killed; its pid. *out: what it wrote.
 */
static pid_t start_peer(int (*work)(struct proto_client *), bool grandchild)
{
	int pipe_fds[2];
	pid_t pid;
	char byte = 1;

	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct proto_client client;
		int rc = setpgid(0, 0) < 0 ? -1 : proto_greet(&client, busd.path, "peer", true);

		byte = rc < 0 || work(&client) < 0;
		/* its sockets live on in another process: only the kernel knows that it has died */
		if (grandchild && fork() == 0) {
			close(pipe_fds[1]);
			sleep(3);
			_exit(0);
		}
		if (write(pipe_fds[1], &byte, 1) < 0)
			_exit(1);
		pause();
		_exit(0);
	}
	close(pipe_fds[1]);
	assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
	close(pipe_fds[0]);
	assert_int_equal(byte, 0);
	return pid;
}

static int peer_publishes(struct proto_client *client)
{
	struct proto_pub pub;
	int rc = proto_pub_open(client, "d", 0, false, &pub);

	if (rc == 0)
		proto_pub_publish(&pub, 3);
	return rc;
}

static int peer_subscribes(struct proto_client *client)
{
	struct proto_sub sub;

	return proto_sub_open(client, "d", 0, CTL_START_NOW, false, &sub);
}

static void reap(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void wait_for_state(const struct board_head *board, uint32_t index, uint32_t state)
{
	for (int i = 0; i < 400 && ring_state(board, index) != state; i++)
		usleep(5000);
	assert_int_equal(ring_state(board, index), state);
}

static void a_dead_publishers_ring_is_closed(bool grandchild)
{
	struct ctl_evc done = { .head = PROTO_HEAD(CTL_EVC_RING_DONE, sizeof(done)) };
	const struct board_head *board;
	struct proto_sub sub;
	struct proto_msg msg;
	uint32_t index, bell_before;
	pid_t pid;

	assert_int_equal(proto_sub_open(&s, "d", 0, CTL_START_NOW, false, &sub), 0);
	pid = start_peer(peer_publishes, grandchild);
	board = take_board(&s);
	next_event(&s, CTL_EV_RING, &msg);
	index = msg.ring.board_index;
	assert_int_equal(msg.ring.pid, pid);
	assert_int_equal(ring_state(board, index), BOARD_RING_OPEN);
	bell_before = bell(&s);
	reap(pid);
	wait_for_state(board, index, BOARD_RING_CLOSED);
	for (int i = 0; i < 100 && bell(&s) == bell_before; i++)
		usleep(1000);
	assert_true(bell(&s) != bell_before);
	/* kept while it is read, and a while longer */
	usleep(1000000);
	assert_int_equal(ring_state(board, index), BOARD_RING_CLOSED);
	done.id = msg.ring.ring_id;
	done.value = sub.reply.sub_id;
	assert_int_equal(proto_send(s.ev, &done, sizeof(done)), 0);
	wait_for_state(board, index, BOARD_RING_FREE);
	assert_int_equal(bus_load_acquire(&board->past_messages), 3);
	assert_int_equal(proto_sub_close(&s, &sub), 0);
	kill(-pid, SIGKILL); /* who held the socket */
}

static void death_of_a_publisher(void **state)
{
	(void)state;
	a_dead_publishers_ring_is_closed(false);
}

static void death_behind_a_living_socket(void **state)
{
	(void)state;
	a_dead_publishers_ring_is_closed(true);
}

static void death_of_a_subscriber(void **state)
{
	const struct board_head *board;
	struct proto_pub pub;
	struct proto_msg msg;
	uint64_t number;
	pid_t pid;

	(void)state;
	assert_int_equal(proto_pub_open(&p, "d", 0, false, &pub), 0);
	board = take_board(&p);
	pid = start_peer(peer_subscribes, true);
	next_member(&p, &msg);
	assert_int_equal(sub_on(board, 0)->pid, pid);
	number = msg.member.number;
	reap(pid);
	next_member(&p, &msg);
	assert_int_equal(msg.member.op, CTL_MEMBER_REMOVE);
	assert_int_equal(msg.member.number, number + 1);
	for (int i = 0; i < 400 && bus_load_acquire(&sub_on(board, 0)->state) != BOARD_SUB_FREE; i++)
		usleep(5000);
	assert_int_equal(sub_on(board, 0)->state, BOARD_SUB_FREE);
	kill(-pid, SIGKILL);
}

/* One of the two sockets is enough of a hang-up. */
static void hang_up_of_the_event_socket(void **state)
{
	struct proto_client client;
	struct proto_msg msg;
	struct proto_sub sub;
	struct proto_pub pub;

	(void)state;
	assert_int_equal(proto_pub_open(&p, "h", 0, false, &pub), 0);
	assert_int_equal(proto_greet(&client, busd.path, "h", true), 0);
	assert_int_equal(proto_sub_open(&client, "h", 0, CTL_START_NOW, false, &sub), 0);
	next_member(&p, &msg);
	close(client.ev);
	client.ev = -1;
	next_member(&p, &msg);
	assert_int_equal(msg.member.op, CTL_MEMBER_REMOVE);
	assert_int_equal(proto_take(client.ctl, &msg, 2000), -1);
	proto_leave(&client);
}

static uint32_t rings_of(const char *name)
{
	struct ctl_topic_next next = { .head = PROTO_HEAD(CTL_TOPIC_NEXT, sizeof(next)) };
	struct proto_msg answer;

	strcpy(next.pattern, name);
	return proto_ask(&p, &next, &answer) < 0 ? UINT32_MAX : answer.topic.rings;
}

static void create(const char *name)
{
	struct ctl_topic_create ask = { .head = PROTO_HEAD(CTL_TOPIC_CREATE, sizeof(ask)) };
	struct proto_msg answer;

	strcpy(ask.topic, name);
	assert_int_equal(proto_ask(&p, &ask, &answer), 0);
}

static void what_is_kept(void **state)
{
	struct proto_pub pub;

	(void)state;
	create("kept");
	for (int i = 0; i < 6; i++) {
		assert_int_equal(proto_pub_open(&p, "kept", 0, false, &pub), 0);
		proto_pub_publish(&pub, 1);
		assert_int_equal(proto_pub_close(&p, &pub), 0);
		assert_int_equal(proto_pub_open(&p, "demand", 0, false, &pub), 0);
		proto_pub_publish(&pub, 1);
		assert_int_equal(proto_pub_close(&p, &pub), 0);
	}
	/* an empty one is not worth keeping */
	assert_int_equal(proto_pub_open(&p, "kept", 0, false, &pub), 0);
	assert_int_equal(proto_pub_close(&p, &pub), 0);
	assert_int_equal(rings_of("kept"), 3);
	assert_int_equal(rings_of("demand"), 1);
	usleep(1200000);
	assert_int_equal(rings_of("kept"), 3);
	assert_int_equal(rings_of("demand"), UINT32_MAX); /* gone, and the topic with it */
}

static int remove_topic(const char *name, uint32_t flags)
{
	struct ctl_topic_remove ask = { .head = PROTO_HEAD(CTL_TOPIC_REMOVE, sizeof(ask)),
					.flags = flags };
	struct proto_msg answer;

	strcpy(ask.topic, name);
	return proto_ask(&s, &ask, &answer);
}

static void removal(void **state)
{
	struct ctl_evc done = { .head = PROTO_HEAD(CTL_EVC_RING_DONE, sizeof(done)) };
	const struct board_head *board;
	struct proto_pub pub, again;
	struct proto_sub sub;
	struct proto_msg msg;

	(void)state;
	assert_int_equal(remove_topic("rm", 0), -ENOENT);
	create("rm");
	assert_int_equal(proto_sub_open(&s, "rm", 0, CTL_START_NOW, false, &sub), 0);
	assert_int_equal(remove_topic("rm", 0), -EBUSY);
	assert_non_null(strstr(s.why, "1 subscribers (\"s\""));
	assert_int_equal(proto_pub_open(&p, "rm", 0, false, &pub), 0);
	board = take_board(&p);
	assert_int_equal(remove_topic("rm", 0), -EBUSY);
	assert_non_null(strstr(s.why, "1 publishers (\"p\""));
	proto_pub_publish(&pub, 2);
	assert_int_equal(remove_topic("rm", CTL_TOPIC_FORCE), 0);
	assert_int_equal(ring_state(board, pub.reply.board_index), BOARD_RING_CLOSED);
	/* once to say that it ends, once more when it is closed */
	assert_int_equal(epoch(board), pub.number + 2);
	next_event(&p, CTL_EV_MEMBER, &msg);
	while (msg.member.number != pub.number + 1)
		next_event(&p, CTL_EV_MEMBER, &msg);
	assert_int_equal(grow(&p, pub.reply.pub_id, 2, 1000, &again), -EPIPE);
	/* its reader reads to the end; the name is free meanwhile */
	next_event(&s, CTL_EV_RING, &msg);
	create("rm");
	assert_int_equal(rings_of("rm"), 0);
	assert_int_equal(ring_state(board, pub.reply.board_index), BOARD_RING_CLOSED);
	done.id = msg.ring.ring_id;
	done.value = sub.reply.sub_id;
	assert_int_equal(proto_send(s.ev, &done, sizeof(done)), 0);
	wait_for_state(board, pub.reply.board_index, BOARD_RING_FREE);
	assert_int_equal(proto_pub_close(&p, &pub), 0);
	assert_int_equal(remove_topic("rm", CTL_TOPIC_FORCE), 0);
	assert_int_equal(remove_topic("rm", 0), -ENOENT);
}

static void leaving_in_order(void **state)
{
	const struct board_head *board;
	struct proto_pub pub;
	struct proto_sub sub;
	struct proto_msg msg;
	char path[96];
	int status;

	(void)state;
	assert_int_equal(proto_pub_open(&p, "bye", 0, false, &pub), 0);
	board = take_board(&p);
	assert_int_equal(proto_sub_open(&s, "bye", 0, CTL_START_NOW, false, &sub), 0);
	proto_pub_publish(&pub, 1);
	strcpy(path, busd.path);
	assert_int_equal(kill(busd.pid, SIGTERM), 0);
	next_event(&s, CTL_EV_BYE, &msg);
	next_event(&p, CTL_EV_BYE, &msg);
	assert_int_equal(proto_take(p.ctl, &msg, 2000), -1);
	assert_int_equal(ring_state(board, pub.reply.board_index), BOARD_RING_CLOSED);
	assert_int_equal(waitpid(busd.pid, &status, 0), busd.pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(access(path, F_OK), -1);
	/* for the teardown */
	proto_leave(&p);
	proto_leave(&s);
	assert_int_equal(setup(NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(death_of_a_publisher),  TEST(death_behind_a_living_socket),
		TEST(death_of_a_subscriber), TEST(hang_up_of_the_event_socket),
		TEST(what_is_kept),          TEST(removal),
		TEST(leaving_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
