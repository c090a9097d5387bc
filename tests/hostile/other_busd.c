/* SPDX-License-Identifier: Apache-2.0 */
/*
 * other_busd.c - what listens is not the busd that this library knows: another protocol version, one
 * that takes no more connections, one that says nonsense or nothing. bus_connect() says which, in
 * time, and leaves no descriptor behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bus.h>

#include "format/control_proto.h"
#include "os/control_sock.h"

#define REPEAT 30

struct other {
	const void *msg;
	int fds;          /* handed over with it */
	bool before;      /* says it before anything was asked, and hangs up */
	int want;         /* what bus_connect() is to return */
	const char *text; /* and bus_why() to say */
};

static char path[100];

static int listen_here(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *tmp = getenv("TMPDIR");
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(path, sizeof(path), "%s/other.%d", tmp != NULL ? tmp : "/tmp", (int)getpid());
	unlink(path);
	strcpy(addr.sun_path, path);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 50), 0);
	return fd;
}

static void say(int fd, const struct other *other)
{
	struct ctl_head asked = { 0 };
	int fds[CTL_MAX_FDS];
	union {
		struct ctl_head head;
		uint8_t bytes[CTL_MAX];
	} msg;

	memcpy(&msg, other->msg, ((const struct ctl_head *)other->msg)->len);
	if (!other->before && recv(fd, &asked, sizeof(asked), 0) > 0)
		msg.head.req = asked.req;
	for (int i = 0; i < other->fds; i++) {
		fds[i] = memfd_create("other", MFD_CLOEXEC);
		if (fds[i] < 0 || ftruncate(fds[i], 65536) < 0)
			_exit(1);
	}
	control_send(fd, &msg, fds, other->fds);
	for (int i = 0; i < other->fds; i++)
		close(fds[i]);
}

/* Serves one connection after the other. */
static pid_t serve(int listener, const struct other *other)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			_exit(1);
		if (other->msg != NULL)
			say(fd, other);
		while (!other->before && recv(fd, &(char){ 0 }, 1, 0) > 0)
			; /* until the client goes */
		close(fd);
	}
}

static int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static void meet(const struct other *other, int64_t timeout_ns)
{
	int listener = listen_here();
	pid_t pid = serve(listener, other);
	struct bus *bus = NULL;
	int files, err;

	close(listener);
	files = open_files();
	for (int i = 0; i < REPEAT; i++) {
		err = bus_connect(&bus, BUS_OPTS(connect, .socket = path, .timeout_ns = timeout_ns));
		if (err != other->want || strstr(bus_why(NULL), other->text) == NULL)
			fail_msg("%d instead of %d, time %d: %s", err, other->want, i, bus_why(NULL));
		assert_null(bus);
		assert_int_equal(open_files(), files);
		if (timeout_ns < 1000000000)
			break;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unlink(path);
}

#define LONG INT64_C(20000000000)
#define HEAD(type_, version_, kind) \
	{ \
		.magic = CTL_MAGIC, .type = (type_), .version = (version_), .len = sizeof(kind) \
	}

static void another_version_refuses(void **state)
{
	const struct ctl_error error = {
		.head = HEAD(CTL_ERROR, CTL_VERSION + 1, error),
		.error = EPROTONOSUPPORT,
		.why = "busd 9 speaks protocol version 4, the client version 3"
	};
	struct {
		struct ctl_error error;
		char more[32];
	} longer = { .error = error, .more = "x" };

	(void)state;
	meet(&(struct other){ &error, 0, false, -EPROTONOSUPPORT, "busd 9 speaks protocol version 4" },
	     LONG);
	longer.error.head.len = sizeof(longer); /* what an error is stays so for ever */
	meet(&(struct other){ &longer, 0, false, -EPROTONOSUPPORT,
			      "busd 9 speaks protocol version 4" },
	     LONG);
}

static void another_version_agrees(void **state)
{
	/* it looks as ours would, and means something else */
	const struct ctl_hello_reply reply = { .head = HEAD(CTL_REPLY | CTL_HELLO, CTL_VERSION + 1,
							    reply),
					       .client_id = 1,
					       .page_bytes = 4096 };
	struct {
		struct ctl_hello_reply reply;
		char more[64];
	} longer = { .reply = reply };

	(void)state;
	meet(&(struct other){ &reply, 3, false, -EPROTONOSUPPORT,
			      "protocol version 4, this library (" },
	     LONG);
	longer.reply.head.len = sizeof(longer);
	meet(&(struct other){ &longer, 4, false, -EPROTONOSUPPORT, ") version 3; use" }, LONG);
	longer.reply.head.version = CTL_VERSION_MIN - 1;
	meet(&(struct other){ &longer, 4, false, -EPROTONOSUPPORT, "protocol version 2" }, LONG);
	/* the version is ours, and yet it says what we do not know; zeros are nothing said */
	longer.reply.head.version = CTL_VERSION;
	longer.more[63] = 1;
	meet(&(struct other){ &longer, 3, false, -EPROTO, "with more than this library (" }, LONG);
	longer.more[63] = 0;
	longer.reply.page_bytes = 4095;
	meet(&(struct other){ &longer, 3, false, -EPROTO, "makes no sense" }, LONG);
}

/* The refusal may be there, and the connection gone, before HELLO was sent. */
static void takes_no_more(void **state)
{
	const struct ctl_error error = {
		.head = HEAD(CTL_ERROR, CTL_VERSION, error),
		.error = EDQUOT,
		.why = "uid 7 has 1024 connections, the most that one user may have"
	};

	(void)state;
	meet(&(struct other){ &error, 0, true, -EDQUOT, "uid 7 has 1024 connections" }, LONG);
}

static void no_busd_at_all(void **state)
{
	struct ctl_hello_reply reply = { .head = HEAD(CTL_REPLY | CTL_HELLO, CTL_VERSION, reply),
					 .page_bytes = 4096 };
	struct ctl_error error = { .head = HEAD(CTL_ERROR, CTL_VERSION, error), .error = -5 };

	(void)state;
	/* hangs up at once, every time */
	meet(&(struct other){ NULL, 0, true, -EPROTO, "not busd" }, LONG);
	/* no descriptors, too many, pages of no size, a slot that is none */
	meet(&(struct other){ &reply, 0, false, -EPROTO, "makes no sense" }, LONG);
	meet(&(struct other){ &reply, 4, false, -EPROTO, "makes no sense" }, LONG);
	reply.page_bytes = 4095;
	meet(&(struct other){ &reply, 3, false, -EPROTO, "makes no sense" }, LONG);
	reply.page_bytes = 4096;
	reply.slot = BELL_WORDS;
	meet(&(struct other){ &reply, 3, false, -EPROTO, "makes no sense" }, LONG);
	reply.head.magic = 0;
	meet(&(struct other){ &reply, 3, false, -EPROTO, "is not busd" }, LONG);
	/* an answer to something else; an error that is none */
	reply.head = (struct ctl_head)HEAD(CTL_REPLY | CTL_PUB_OPEN, CTL_VERSION, reply);
	meet(&(struct other){ &reply, 3, false, -EPROTO, "sent an answer of type" }, LONG);
	meet(&(struct other){ &error, 0, false, -EPROTO, "" }, LONG);
	/* says nothing */
	meet(&(struct other){ NULL, 0, false, -ETIMEDOUT, "did not answer within 0.2 s" }, 200000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_version_refuses),
		cmocka_unit_test(another_version_agrees),
		cmocka_unit_test(takes_no_more),
		cmocka_unit_test(no_busd_at_all),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
