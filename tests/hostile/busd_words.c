/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_words.c - what is said to busd and is not its protocol: refused in words where that is
 * possible, disconnected, and nobody else notices.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/proto_rig.h"

static struct proto_busd busd;
static struct proto_client bystander;

static int setup(void **state)
{
	(void)state;
	if (proto_busd_start(&busd, NULL, 0) < 0)
		return -1;
	return proto_greet(&bystander, busd.path, "bystander", true);
}

static int teardown(void **state)
{
	(void)state;
	proto_leave(&bystander);
	return proto_busd_stop(&busd);
}

static void bystander_is_served(void)
{
	struct ctl_head info = PROTO_HEAD(CTL_INFO, sizeof(info));
	struct proto_msg answer;

	assert_int_equal(proto_ask(&bystander, &info, &answer), 0);
	assert_int_equal(answer.info.pid, busd.pid);
}

/* Sends bytes as the first message; the error answer and then the end are expected. */
static void refused_at_once(const void *bytes, size_t len, int error, const char *words)
{
	struct proto_msg msg;
	int fd = proto_dial(busd.path);

	assert_true(fd >= 0);
	assert_int_equal(proto_send(fd, bytes, len), 0);
	assert_int_equal(proto_take(fd, &msg, 5000), 1);
	assert_int_equal(msg.head.type, CTL_ERROR);
	assert_int_equal(msg.head.magic, CTL_MAGIC);
	assert_int_equal(msg.len, sizeof(struct ctl_error));
	assert_int_equal(msg.error.error, error);
	if (strstr(msg.error.why, words) == NULL)
		fail_msg("\"%s\" is not in: %s", words, msg.error.why);
	assert_int_equal(proto_take(fd, &msg, 5000), -1);
	close(fd);
	bystander_is_served();
}

static struct ctl_hello good_hello(void)
{
	struct ctl_hello hello = { .head = PROTO_HEAD(CTL_HELLO, sizeof(hello)), .node = -1 };

	hello.head.magic = CTL_MAGIC;
	strcpy(hello.name, "test");
	return hello;
}

static void first_words(void **state)
{
	struct ctl_hello hello = good_hello();
	uint8_t garbage[300];

	(void)state;
	memset(garbage, 0xa5, sizeof(garbage));
	refused_at_once(garbage, sizeof(garbage), EPROTO, "not the protocol");
	refused_at_once("x", 1, EPROTO, "not the protocol");
	hello.head.magic ^= 1;
	refused_at_once(&hello, sizeof(hello), EPROTO, "not the protocol");
	hello = good_hello();
	hello.head.version = CTL_VERSION + 1;
	refused_at_once(&hello, sizeof(hello), EPROTONOSUPPORT, "version 3, the client version 4");
	hello.head.version = CTL_VERSION + 2;
	hello.min_version = CTL_VERSION + 1;
	refused_at_once(&hello, sizeof(hello), EPROTONOSUPPORT,
			"version 3, the client version 4 to 5");
	/* of another version, lengths may be others too */
	hello.head.len = sizeof(hello.head);
	refused_at_once(&hello, sizeof(hello.head), EPROTONOSUPPORT, "version 5");
	hello = good_hello();
	hello.head.version = CTL_VERSION_MIN - 1;
	refused_at_once(&hello, sizeof(hello), EPROTONOSUPPORT, "the library is the older one");
	hello = good_hello();
	refused_at_once(&hello, sizeof(hello) - 8, EPROTO, "wrong length");
	hello.head.len = 7;
	refused_at_once(&hello, sizeof(hello), EPROTO, "wrong length");
	hello = good_hello();
	memset(hello.name, 'x', sizeof(hello.name));
	refused_at_once(&hello, sizeof(hello), EPROTO, "without an end");
}

/* Of the next version, with everything longer: served, as long as it asks for nothing that is new. */
static void words_of_the_next_version(void **state)
{
	struct {
		struct ctl_hello hello;
		uint64_t more[8];
	} hello = { .hello = good_hello(), .more = { 1, 2, 3 } };
	struct {
		struct ctl_topic_create create;
		uint64_t more[4];
	} create = { .create = { .head = PROTO_HEAD(CTL_TOPIC_CREATE, sizeof(create)) } };
	struct {
		struct ctl_evc evc;
		uint64_t more;
	} evc = { .evc = { .head = PROTO_HEAD(CTL_EVC_ACK, sizeof(evc)) } };
	struct proto_client client = { .bell_fd = -1 };
	struct proto_msg msg;

	(void)state;
	hello.hello.head.len = sizeof(hello);
	hello.hello.head.version = CTL_VERSION + 1;
	hello.hello.min_version = CTL_VERSION;
	client.ctl = proto_dial(busd.path);
	assert_int_equal(proto_ask(&client, &hello, &msg), 0);
	assert_int_equal(msg.head.version, CTL_VERSION);
	assert_int_equal(msg.fd_count, 3);
	client.ev = msg.fds[0];
	close(msg.fds[1]);
	close(msg.fds[2]);
	assert_int_equal(proto_attach(&client), 0);
	strcpy(create.create.topic, "longer");
	create.more[3] = 1;
	assert_int_equal(proto_ask(&client, &create, &msg), -E2BIG);
	assert_non_null(strstr(client.why, "(protocol version 3) does not know"));
	assert_non_null(strstr(client.why, "(version 4) does"));
	create.more[3] = 0;
	assert_int_equal(proto_ask(&client, &create, &msg), 0);
	assert_int_equal(msg.ok.value, 1);
	assert_int_equal(proto_send(client.ev, &evc, sizeof(evc)), 0);
	assert_int_equal(proto_take(client.ctl, &msg, 100), 0);
	evc.more = 1; /* nothing on ev is answered: it ends */
	assert_int_equal(proto_send(client.ev, &evc, sizeof(evc)), 0);
	assert_int_equal(proto_take(client.ctl, &msg, 5000), -1);
	proto_leave(&client);
	bystander_is_served();
}

/* Attached, then this: an error answer, then the end. */
static void refused_later(const void *bytes, size_t len)
{
	struct proto_client client;
	struct proto_msg msg;

	assert_int_equal(proto_greet(&client, busd.path, "rude", true), 0);
	assert_int_equal(proto_send(client.ctl, bytes, len), 0);
	assert_int_equal(proto_take(client.ctl, &msg, 5000), 1);
	assert_int_equal(msg.head.type, CTL_ERROR);
	assert_int_equal(msg.error.error, EPROTO);
	assert_int_equal(proto_take(client.ctl, &msg, 5000), -1);
	proto_leave(&client);
	bystander_is_served();
}

static void later_words(void **state)
{
	static uint8_t huge[CTL_MAX + 1];
	struct ctl_head head = PROTO_HEAD(CTL_INFO, sizeof(head));
	struct ctl_hello hello = good_hello();
	struct ctl_pub_open open = { .head = PROTO_HEAD(CTL_PUB_OPEN, sizeof(open)) };

	(void)state;
	refused_later(&hello, sizeof(hello)); /* out of turn */
	refused_later(&head, 4);
	refused_later(huge, sizeof(huge));
	head.type = 0;
	refused_later(&head, sizeof(head));
	head.type = CTL_TYPE_COUNT;
	refused_later(&head, sizeof(head));
	head.type = CTL_EV_SEGMENT;
	refused_later(&head, sizeof(head));
	head.type = CTL_REPLY | CTL_INFO;
	refused_later(&head, sizeof(head));
	memset(open.topic, 'a', sizeof(open.topic));
	refused_later(&open, sizeof(open));
	memset(open.topic, 0, sizeof(open.topic));
	memset(open.name, 'a', sizeof(open.name));
	refused_later(&open, sizeof(open));
}

static void before_attach_nothing_else(void **state)
{
	struct ctl_head info = PROTO_HEAD(CTL_INFO, sizeof(info));
	struct proto_client client;
	struct proto_msg msg;

	(void)state;
	assert_int_equal(proto_greet(&client, busd.path, "early", false), 0);
	assert_int_equal(proto_ask(&client, &info, &msg), -EPROTO);
	assert_int_equal(proto_take(client.ctl, &msg, 5000), -1);
	proto_leave(&client);
}

static void every_length_of_every_type(void **state)
{
	uint8_t bytes[CTL_MAX];
	struct ctl_head *head = (struct ctl_head *)(void *)bytes;

	(void)state;
	/*
	 * zeros in place of ids and names: refused in content or in form, but the next one is
	 * served
	 */
	for (unsigned type = 0; type < 64; type++) {
		for (size_t len = sizeof(*head); len <= sizeof(bytes); len += 8) {
			struct proto_client client;
			struct proto_msg msg;

			if (len % 64 != 0 && type != CTL_PUB_OPEN)
				continue;
			assert_int_equal(proto_greet(&client, busd.path, "fuzz", true), 0);
			memset(bytes, 0, sizeof(bytes));
			*head = (struct ctl_head)PROTO_HEAD(type, len);
			assert_int_equal(proto_send(client.ctl, bytes, len), 0);
			assert_int_equal(proto_take(client.ctl, &msg, 5000), 1);
			proto_close_fds(&msg);
			proto_leave(&client);
		}
	}
	bystander_is_served();
}

static void bad_acknowledgements(void **state)
{
	static const uint16_t types[] = { 0, CTL_INFO, CTL_EVC_ACK - 1, CTL_EVC_LYING + 1, 0xffff };
	struct ctl_evc evc = { .head = PROTO_HEAD(CTL_EVC_ACK, sizeof(evc)) };
	struct proto_client client;
	struct proto_msg msg;

	(void)state;
	for (size_t i = 0; i < BUS_ARRAY_LEN(types); i++) {
		assert_int_equal(proto_greet(&client, busd.path, "evc", true), 0);
		evc.head.type = types[i];
		assert_int_equal(proto_send(client.ev, &evc, sizeof(evc)), 0);
		assert_int_equal(proto_take(client.ctl, &msg, 5000), -1);
		proto_leave(&client);
	}
	evc.head.type = CTL_EVC_ACK;
	assert_int_equal(proto_greet(&client, busd.path, "evc", true), 0);
	assert_int_equal(proto_send(client.ev, &evc, sizeof(evc) - 1), 0);
	assert_int_equal(proto_take(client.ctl, &msg, 5000), -1);
	proto_leave(&client);
	/* ids of nothing, and of others, are no offence */
	assert_int_equal(proto_greet(&client, busd.path, "evc", true), 0);
	for (uint16_t type = CTL_EVC_ACK; type <= CTL_EVC_LYING; type++) {
		for (uint64_t id = 0; id < 20; id++) {
			evc.head.type = type;
			evc.id = evc.value = id;
			assert_int_equal(proto_send(client.ev, &evc, sizeof(evc)), 0);
		}
	}
	assert_int_equal(proto_take(client.ctl, &msg, 200), 0);
	proto_leave(&client);
	bystander_is_served();
}

/* Messages that lie unread in a socket, without taking them. */
static unsigned unread(int fd)
{
	unsigned count = 0;
	char buf[2048];
	int off = 0;

	setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off));
	while (recv(fd, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT) > 0)
		count++;
	off = -1;
	setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off));
	return count;
}

/*
 * Requests without reading the answers: one answer waits, busd takes no more; then all come, in
 * order.
 */
static void asking_without_listening(void **state)
{
	struct ctl_head info = PROTO_HEAD(CTL_INFO, sizeof(info));
	struct proto_client client;
	struct proto_msg msg;
	uint32_t sent = 0;

	(void)state;
	assert_int_equal(proto_greet(&client, busd.path, "deaf", true), 0);
	for (; sent < 50; sent++) {
		info.req = 1000 + sent;
		assert_int_equal(proto_send(client.ctl, &info, sizeof(info)), 0);
	}
	bystander_is_served();
	usleep(50000);
	assert_int_equal(unread(client.ctl), 1);
	for (uint32_t i = 0; i < sent; i++) {
		assert_int_equal(proto_take(client.ctl, &msg, 5000), 1);
		assert_int_equal(msg.head.req, 1000 + i);
	}
	proto_leave(&client);
}

/* What a client calls itself reaches other people's terminals. */
static void names_have_no_control_characters(void **state)
{
	struct ctl_client_next next = { .head = PROTO_HEAD(CTL_CLIENT_NEXT, sizeof(next)) };
	struct proto_client client;
	struct proto_msg msg;

	(void)state;
	assert_int_equal(proto_greet(&client, busd.path, "red \x1b[31m\n\x7f", true), 0);
	next.after = client.hello.client_id - 1;
	assert_int_equal(proto_ask(&client, &next, &msg), 0);
	assert_string_equal(msg.client.name, "red ?[31m??");
	proto_leave(&client);
}

static void who_says_nothing_is_dropped(void **state)
{
	struct proto_client client;
	struct timespec begin, end;
	struct proto_msg msg;
	double seconds;
	int fd;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	fd = proto_dial(busd.path);
	assert_int_equal(proto_greet(&client, busd.path, "half", false), 0);
	assert_int_equal(proto_take(fd, &msg, 8000), -1);
	assert_int_equal(proto_take(client.ctl, &msg, 1000), -1);
	clock_gettime(CLOCK_MONOTONIC, &end);
	seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
	assert_true(seconds > 4.5 && seconds < 7.5);
	close(fd);
	proto_leave(&client);
	bystander_is_served();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_words),
		cmocka_unit_test(words_of_the_next_version),
		cmocka_unit_test(later_words),
		cmocka_unit_test(before_attach_nothing_else),
		cmocka_unit_test(every_length_of_every_type),
		cmocka_unit_test(bad_acknowledgements),
		cmocka_unit_test(asking_without_listening),
		cmocka_unit_test(names_have_no_control_characters),
		cmocka_unit_test(who_says_nothing_is_dropped),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
