/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attacks_flood.c - a user who asks busd for too much, or says what he is not: thousands of
 * connections, half messages, wrong versions, descriptors that nobody asked for and descriptors that
 * he does not read, ten thousand topics, names and numbers of others. Each line is refused or paid
 * for by himself; two innocents go on exchanging messages and lose none; afterwards busd has no
 * descriptor and no byte more than before.
 *
 * timeout: 100
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "lib/attack_rig.h"

#define MEMORY     (64u << 20) /* user_memory_limit */
#define HANDSHAKES 100
#define CLIENTS    300
#define TOPICS     10000

static unsigned files_before;
static uint64_t memory_before;

/* Can somebody else still get in, and how soon? */
static int others_get_in(void)
{
	struct ctl_info_reply info;
	uint64_t from_ns = bus_monotonic_ns();

	HOLDS(attack_info(&info) == 0);
	HOLDS(bus_monotonic_ns() - from_ns < UINT64_C(2000000000));
	return 0;
}

/* ---- connections */

static int dial_until_refused(int *fds, unsigned most)
{
	unsigned i;

	for (i = 0; i < most; i++) {
		fds[i] = proto_dial(attack_busd.path);
		HOLDS(fds[i] >= 0);
	}
	return 0;
}

/* How many of these were told that there are too many; the others hear nothing. */
static unsigned count_refused(const int *fds, unsigned count, const char *words)
{
	struct proto_msg msg;
	unsigned refused = 0;
	unsigned i;

	for (i = 0; i < count; i++)
		if (proto_take(fds[i], &msg, 0) == 1)
			refused += msg.head.type == CTL_ERROR && msg.error.error == EDQUOT &&
				   strstr(msg.error.why, words);
	return refused;
}

#define FLOOD 3000

/* At least FLOOD - HANDSHAKES of them are refused, as soon as busd has come so far. */
static int flood(unsigned *refused)
{
	static int fds[FLOOD];

	*refused = 0;
	HOLDS(dial_until_refused(fds, FLOOD) == 0);
	for (int i = 0; i < 50 && *refused < FLOOD - HANDSHAKES; i++) {
		usleep(200000);
		*refused += count_refused(fds, FLOOD, "user_handshakes");
	}
	usleep(100000);
	*refused += count_refused(fds, FLOOD, "user_handshakes");
	return 0;
}

static int silent_connections(void)
{
	unsigned refused = 0;

	HOLDS(flood(&refused) == 0);
	HOLDS(refused == FLOOD - HANDSHAKES);
	return 0;
}

/* They share what one user gets. */
static int silent_connections_of_many(void)
{
	int status, bad = 0;

	for (int i = 0; i < 4; i++) {
		unsigned refused = 0;

		if (fork() == 0)
			_exit(flood(&refused) || refused < FLOOD - HANDSHAKES);
	}
	while (wait(&status) > 0)
		bad += status != 0;
	HOLDS(bad == 0);
	return 0;
}

static int real_connections(void)
{
	static struct proto_client clients[CLIENTS + 20];
	unsigned count = 0;
	int rc = 0;

	while (count < BUS_ARRAY_LEN(clients) &&
	       (rc = proto_greet(&clients[count], attack_busd.path, "crowd", true)) == 0)
		count++;
	HOLDS(rc == -EDQUOT && strstr(clients[count].why, "user_connections"));
	HOLDS(count == CLIENTS);
	return 0;
}

static int coming_and_going(void)
{
	for (int i = 0; i < 5000; i++) {
		int fd = proto_dial(attack_busd.path);

		HOLDS(fd >= 0);
		close(fd);
	}
	return 0;
}

static int while_connections_stay(void)
{
	static int fds[1000];
	pid_t pid = fork();

	if (pid == 0) {
		if (setresuid(EVIL, EVIL, EVIL) == 0 &&
		    dial_until_refused(fds, BUS_ARRAY_LEN(fds)) == 0)
			pause();
		_exit(1);
	}
	usleep(200000);
	for (int i = 0; i < 20; i++)
		HOLDS(others_get_in() == 0);
	kill(pid, SIGKILL);
	HOLDS(waitpid(pid, NULL, 0) == pid);
	return 0;
}

/* ---- words */

static int half_messages(void)
{
	struct ctl_hello hello = { .head = PROTO_HEAD(CTL_HELLO, sizeof(hello)), .node = -1 };
	struct proto_client client;
	struct proto_msg msg;
	size_t len;

	hello.head.magic = CTL_MAGIC;
	for (len = 1; len < sizeof(hello); len++) {
		int fd = proto_dial(attack_busd.path);

		HOLDS(fd >= 0);
		/* before it could be answered it is sent again: what waits there is not served */
		HOLDS(proto_send(fd, &hello, len) == 0);
		proto_send(fd, &hello, len);
		HOLDS(proto_take(fd, &msg, 2000) == 1 && msg.head.type == CTL_ERROR);
		HOLDS(proto_take(fd, &msg, 2000) == -1);
		close(fd);
	}
	/* of each request, by one that is attached */
	for (uint16_t type = CTL_HELLO; type < CTL_TYPE_COUNT; type++) {
		struct ctl_head half = PROTO_HEAD(type, sizeof(half) - 1);

		HOLDS(proto_greet(&client, attack_busd.path, "half", true) == 0);
		HOLDS(proto_send(client.ctl, &half, sizeof(half) - 1) == 0);
		while (proto_take(client.ctl, &msg, 2000) == 1)
			HOLDS(msg.head.type == CTL_ERROR);
		proto_leave(&client);
	}
	return 0;
}

static int wrong_versions(void)
{
	for (unsigned version = 0; version < 200; version++) {
		struct ctl_hello hello = { .head = PROTO_HEAD(CTL_HELLO, sizeof(hello)) };
		struct proto_msg msg;
		int fd = proto_dial(attack_busd.path);

		hello.head.magic = CTL_MAGIC;
		hello.head.version = (uint16_t)(version < 100 ? version : 65535 - version);
		HOLDS(fd >= 0 && proto_send(fd, &hello, sizeof(hello)) == 0);
		HOLDS(proto_take(fd, &msg, 2000) == 1);
		if (hello.head.version == CTL_VERSION) {
			HOLDS(msg.head.type == (CTL_REPLY | CTL_HELLO));
			proto_close_fds(&msg);
		} else {
			HOLDS(msg.head.type == CTL_ERROR && msg.error.error == EPROTONOSUPPORT);
		}
		close(fd);
	}
	return 0;
}

/* One who does wrong all the time does not fill the disk. */
static int the_log_stays_small(void)
{
	struct stat st;

	HOLDS(stat(attack_busd.log, &st) == 0);
	HOLDS(st.st_size < 100000);
	HOLDS(proto_busd_logged(&attack_busd, "uid 64103"));
	return 0;
}

/* ---- descriptors */

static int send_fds(int sock, const void *bytes, size_t len, int fd, unsigned count)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(253 * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = CMSG_SPACE(count * sizeof(int)) };

	memset(&control, 0, sizeof(control));
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(count * sizeof(int));
	for (unsigned i = 0; i < count; i++)
		memcpy(CMSG_DATA(&control.align) + i * sizeof(int), &fd, sizeof(fd));
	return sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int stuffing(void)
{
	struct ctl_head info = PROTO_HEAD(CTL_INFO, sizeof(info));
	struct ctl_evc ack = { .head = PROTO_HEAD(CTL_EVC_ACK, sizeof(ack)) };
	struct proto_client client;
	struct proto_msg msg;
	int rc = 0;

	HOLDS(proto_greet(&client, attack_busd.path, "stuffer", true) == 0);
	for (int i = 0; i < 200; i++) {
		info.req = ++client.req;
		rc = send_fds(client.ctl, &info, sizeof(info), client.ctl, 253);
		HOLDS(rc == 0);
		HOLDS(proto_take(client.ctl, &msg, 2000) == 1);
		HOLDS(msg.head.type == (CTL_REPLY | CTL_INFO));
		/* on the other socket as many as go: until they were read the kernel refuses more */
		rc = send_fds(client.ev, &ack, sizeof(ack), client.ev, i % 250 + 1);
		HOLDS(rc == 0 || rc == -EAGAIN || rc == -ETOOMANYREFS);
	}
	/* connections that say nothing and hold descriptors in their queues, their own among them */
	for (int i = 0; i < HANDSHAKES / 2; i++) {
		int fd = proto_dial(attack_busd.path);

		HOLDS(fd >= 0);
		for (int n = 0; n < 5; n++)
			send_fds(fd, &info, sizeof(info), fd, 253);
	}
	return 0;
}

/* He subscribes to hundreds of rings and reads none of the descriptors. */
static int not_reading(void)
{
	static struct proto_client clients[40];
	struct proto_client writer;
	struct proto_pub pub;
	struct proto_sub sub;
	struct proto_msg msg;
	unsigned i;

	HOLDS(proto_greet(&writer, attack_busd.path, "writer", true) == 0);
	for (i = 0; i < 100; i++) {
		HOLDS(proto_pub_open(&writer, "own.ring", 4096, false, &pub) == 0);
		while (proto_take(writer.ev, &msg, 0) == 1)
			proto_close_fds(&msg);
	}
	for (i = 0; i < BUS_ARRAY_LEN(clients); i++) {
		HOLDS(proto_greet(&clients[i], attack_busd.path, "deaf", true) == 0);
		HOLDS(proto_sub_open(&clients[i], "own.>", BOARD_SUB_LOSSY, CTL_START_NOW, true,
				     &sub) == 0);
	}
	sleep(1);
	return 0;
}

static int while_he_does_not_read(void)
{
	struct proto_client client;
	struct attack_loot loot;
	struct proto_sub sub;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (setresuid(EVIL, EVIL, EVIL) < 0)
			_exit(1);
		_exit(not_reading() != 0);
	}
	for (int i = 0; i < 10; i++) {
		usleep(100000);
		HOLDS(proto_greet(&client, attack_busd.path, "root", true) == 0);
		HOLDS(attack_subscribe(&client, &sub, &loot) == 0);
		attack_drop_loot(&loot);
		proto_leave(&client);
		munmap(sub.cursors, sub.reply.size);
		if (sub.fd >= 0)
			close(sub.fd);
	}
	HOLDS(waitpid(pid, &status, 0) == pid && status == 0);
	return 0;
}

/* ---- topics */

static int ten_thousand_topics(void)
{
	struct ctl_topic_create create = { .head = PROTO_HEAD(CTL_TOPIC_CREATE, sizeof(create)) };
	struct proto_client client;
	struct proto_msg msg;
	int made = 0, rc = 0;

	HOLDS(proto_greet(&client, attack_busd.path, "maker", true) == 0);
	while (made <= TOPICS) {
		snprintf(create.topic, sizeof(create.topic), "own.t%d", made);
		rc = proto_ask(&client, &create, &msg);
		if (rc < 0)
			break;
		made++;
	}
	/* memory, descriptors or topics: what ends first, and said */
	HOLDS(rc == -EDQUOT);
	HOLDS(made > 1000);
	HOLDS(strstr(client.why, "raise"));
	/* others' limits are not his: nobody else is refused a topic (below); his own are given back */
	while (made-- > 0) {
		struct ctl_topic_remove remove = { .head = PROTO_HEAD(CTL_TOPIC_REMOVE,
								      sizeof(remove)) };

		snprintf(remove.topic, sizeof(remove.topic), "own.t%d", made);
		HOLDS(proto_ask(&client, &remove, &msg) == 0);
	}
	return 0;
}

/* On topics that the good subscriber reads too: it is given each of those rings. */
static int many_rings_for_the_innocent(void)
{
	struct proto_client client;
	struct proto_msg msg;
	struct proto_pub pub;
	char topic[32];
	int rc = 0;
	unsigned i;

	HOLDS(proto_greet(&client, attack_busd.path, "maker", true) == 0);
	for (i = 0; i < 1500 && rc == 0; i++) {
		snprintf(topic, sizeof(topic), "pit.x%u", i % 500);
		rc = proto_pub_open(&client, topic, 4096, false, &pub);
		if (rc == 0)
			munmap(pub.page, pub.reply.geometry.slots_off);
		while (proto_take(client.ev, &msg, 0) == 1)
			proto_close_fds(&msg);
	}
	HOLDS(rc == -EDQUOT);
	HOLDS(strstr(client.why, "of your user"));
	return 0;
}

/* ---- who he is */

static int find_client(struct proto_client *client, uint64_t id, struct ctl_client_next_reply *ret)
{
	struct ctl_client_next next = { .head = PROTO_HEAD(CTL_CLIENT_NEXT, sizeof(next)),
					.after = id - 1 };
	struct proto_msg msg;
	int rc = proto_ask(client, &next, &msg);

	*ret = msg.client;
	return rc;
}

static int forged_identity(void)
{
	struct ucred cred = { .pid = (pid_t)bus_load_acquire(&attack_view->publisher),
			      .uid = GOOD_PUBLISHER,
			      .gid = GOOD_PUBLISHER };
	struct ctl_hello hello = { .head = PROTO_HEAD(CTL_HELLO, sizeof(hello)), .node = -1 };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(cred))];
	} control;
	struct iovec iov = { .iov_base = &hello, .iov_len = sizeof(hello) };
	struct msghdr out = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct ctl_client_next_reply himself;
	struct proto_client client;
	struct proto_msg msg;

	memset(&client, 0, sizeof(client));
	memset(&control, 0, sizeof(control));
	hello.head.magic = CTL_MAGIC;
	snprintf(hello.name, sizeof(hello.name), "good publisher");
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_CREDENTIALS;
	control.align.cmsg_len = CMSG_LEN(sizeof(cred));
	memcpy(CMSG_DATA(&control.align), &cred, sizeof(cred));
	client.ctl = proto_dial(attack_busd.path);
	/* the kernel does not let him say that he is somebody else */
	HOLDS(sendmsg(client.ctl, &out, 0) < 0 && errno == EPERM);
	/* what he may say is not listened to */
	cred = (struct ucred){ .pid = getpid(), .uid = EVIL, .gid = EVIL };
	memcpy(CMSG_DATA(&control.align), &cred, sizeof(cred));
	HOLDS(sendmsg(client.ctl, &out, 0) == sizeof(hello));
	HOLDS(proto_take(client.ctl, &msg, 2000) == 1 && msg.fd_count == 3);
	client.hello = msg.hello;
	client.ev = msg.fds[0];
	client.bell_fd = msg.fds[2];
	HOLDS(msg.hello.uid == EVIL);
	HOLDS(proto_attach(&client) == 0);
	HOLDS(find_client(&client, client.hello.client_id, &himself) == 0);
	HOLDS(himself.uid == EVIL && himself.pid == (uint32_t)getpid());
	/* no others are shown to him */
	HOLDS(find_client(&client, 1, &himself) == 0 && himself.uid == EVIL);
	return 0;
}

/* What belongs to others, by numbers that are no secret. */
static int things_of_others(void)
{
	struct ctl_pub_close close_pub = { .head = PROTO_HEAD(CTL_PUB_CLOSE, sizeof(close_pub)) };
	struct ctl_pub_ready ready = { .head = PROTO_HEAD(CTL_PUB_READY, sizeof(ready)) };
	struct ctl_pub_grow grow = { .head = PROTO_HEAD(CTL_PUB_GROW, sizeof(grow)) };
	struct ctl_evict evict = { .head = PROTO_HEAD(CTL_EVICT, sizeof(evict)) };
	struct ctl_sub_close close_sub = { .head = PROTO_HEAD(CTL_SUB_CLOSE, sizeof(close_sub)) };
	struct ctl_sub_join join = { .head = PROTO_HEAD(CTL_SUB_REJOIN, sizeof(join)) };
	struct ctl_evc done = { .head = PROTO_HEAD(CTL_EVC_RING_DONE, sizeof(done)) };
	struct ctl_evc resend = { .head = PROTO_HEAD(CTL_EVC_RESEND, sizeof(resend)) };
	struct proto_client client;
	struct attack_loot loot;
	struct proto_sub sub;
	struct proto_msg msg;
	uint64_t id;

	HOLDS(proto_greet(&client, attack_busd.path, "thief", true) == 0);
	HOLDS(attack_subscribe(&client, &sub, &loot) == 0);
	close_pub.pub_id = ready.pub_id = grow.pub_id = evict.pub_id = loot.ring.pub_id;
	ready.ring_id = evict.ring_id = loot.ring.ring_id;
	HOLDS(proto_ask(&client, &close_pub, &msg) == -ENOENT);
	HOLDS(proto_ask(&client, &ready, &msg) == -ENOENT);
	HOLDS(proto_ask(&client, &grow, &msg) == -ENOENT);
	HOLDS(proto_ask(&client, &evict, &msg) == -ENOENT);
	for (id = 1; id < 200; id++) {
		if (id == sub.reply.sub_id)
			continue;
		close_sub.sub_id = join.sub_id = done.value = resend.id = id;
		done.id = loot.ring.ring_id;
		HOLDS(proto_ask(&client, &close_sub, &msg) == -ENOENT);
		HOLDS(proto_ask(&client, &join, &msg) == -ENOENT);
		HOLDS(proto_send(client.ev, &done, sizeof(done)) == 0);
		HOLDS(proto_send(client.ev, &resend, sizeof(resend)) == 0);
	}
	/* segments of others are not sent to him, however he asks */
	while (proto_event(&client, CTL_EV_SEGMENT, &msg, 100) == 1) {
		bool known = false;

		for (unsigned i = 0; i < loot.segment_count; i++)
			known = known ||
				loot.segments[i].segment.segment_id == msg.segment.segment_id;
		HOLDS(known);
		proto_close_fds(&msg);
	}
	attack_drop_loot(&loot);
	return 0;
}

static int a_stranger(void)
{
	struct ctl_topic_next next = { .head = PROTO_HEAD(CTL_TOPIC_NEXT, sizeof(next)),
				       .pattern = ">" };
	struct ctl_observe observe = { .head = PROTO_HEAD(CTL_OBSERVE, sizeof(observe)),
				       .pattern = ">" };
	struct ctl_head info = PROTO_HEAD(CTL_INFO, sizeof(info));
	struct proto_client client;
	struct proto_pub pub;
	struct proto_sub sub;
	struct proto_msg msg;
	char there[CTL_WHY_MAX];

	HOLDS(proto_greet(&client, attack_busd.path, "stranger", true) == 0);
	HOLDS(proto_pub_open(&client, PIT, 0, true, &pub) == -EACCES);
	HOLDS(strstr(client.why, "right to publish") && strstr(client.why, "uid 64104"));
	memcpy(there, client.why, sizeof(there));
	/* the same words for what is there and what is not */
	HOLDS(proto_pub_open(&client, "pit.absent", 0, true, &pub) == -EACCES);
	HOLDS(strcmp(there, client.why) == 0);
	HOLDS(proto_sub_open(&client, PIT, 0, CTL_START_NOW, true, &sub) == -EACCES);
	HOLDS(strstr(client.why, "right to subscribe"));
	HOLDS(proto_sub_open(&client, ">", 0, CTL_START_NOW, true, &sub) == -EACCES);
	HOLDS(proto_ask(&client, &next, &msg) == -ENOENT);
	HOLDS(proto_ask(&client, &observe, &msg) == 0 && msg.ok.value == 0);
	HOLDS(proto_ask(&client, &info, &msg) == 0);
	HOLDS(msg.info.topics == 0 && msg.info.rings == 0 && msg.info.clients == 1 &&
	      msg.info.subscriptions == 0 && msg.info.evictions == 0);
	HOLDS(proto_take(client.ev, &msg, 100) == 0);
	return 0;
}

/* ---- and afterwards */

static int nothing_stays(void)
{
	struct ctl_info_reply info;

	/* what was connected is noticed as gone, what is kept for readers is his and bounded */
	for (int i = 0; i < 100; i++) {
		HOLDS(attack_info(&info) == 0);
		if (info.clients == 3 && attack_busd_files() <= files_before + 64)
			break;
		usleep(50000);
	}
	HOLDS(info.clients == 3);
	HOLDS(info.memory_bytes < memory_before + MEMORY);
	return 0;
}

int main(void)
{
	struct rlimit files = { 20000, 20000 };
	struct ctl_info_reply info;
	char config[256];
	int rc;

	setrlimit(RLIMIT_NOFILE, &files);
	snprintf(config, sizeof(config),
		 "user_memory_limit: %u\nuser_handshakes: %d\nuser_connections: %d\n"
		 "user_topics: %d\n",
		 MEMORY, HANDSHAKES, CLIENTS, TOPICS);
	rc = attack_open(config);
	if (rc)
		return rc;
	if (attack_info(&info) < 0)
		return 1;
	files_before = attack_busd_files();
	memory_before = info.memory_bytes;
	attack("3000 connections that say nothing", silent_connections);
	attack("12000 connections by four processes at once", silent_connections_of_many);
	attack_check("root gets in while 1000 of them hang there", while_connections_stay);
	attack("as many real connections as he gets", real_connections);
	attack("5000 times coming and going", coming_and_going);
	attack("half messages", half_messages);
	attack("wrong versions", wrong_versions);
	attack_check("  ... the log names him and stays small", the_log_stays_small);
	attack("descriptors that nobody asked for, 253 at a time", stuffing);
	attack_check("descriptors that he does not read", while_he_does_not_read);
	attack("10,000 topics", ten_thousand_topics);
	attack("rings on rings that the innocent reads too", many_rings_for_the_innocent);
	attack("the identity of somebody else", forged_identity);
	attack("publishers, subscriptions, segments of others", things_of_others);
	attack_as(STRANGER, "a stranger learns nothing", a_stranger);
	attack_check("afterwards busd has no more than before", nothing_stays);
	return attack_close();
}
