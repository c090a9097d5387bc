/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_uring.c - io_uring where the kernel takes less than it was given: what follows on an operation never runs before
 * that has ended in full.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <liburing.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io.h"

/* ---- a kernel that takes a part ---- */

static unsigned takes; /* at most, of the next submission; 0: all */

/* In place of liburing's: what is behind the first `takes` entries stays in the queue. */
int io_uring_submit(struct io_uring *ring)
{
	static int (*real)(struct io_uring *);
	const unsigned tail = ring->sq.sqe_tail;
	int taken;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "io_uring_submit");
	assert_non_null(real);
	if (takes && takes < io_uring_sq_ready(ring))
		ring->sq.sqe_tail = *ring->sq.khead + takes;
	takes = 0;
	taken = real(ring);
	ring->sq.sqe_tail = tail;
	return taken;
}

/* ---- around ---- */

static struct io *io;
static int ends[2]; /* of a pipe that is full */

static void done(struct io_request *req)
{
	++*(int *)req->owner;
}

static int begin(void **state)
{
	static char full[1 << 20];
	struct why why = { "" };

	(void)state;
	takes = 0;
	if (pipe2(ends, O_NONBLOCK) < 0)
		return -1;
	while (write(ends[1], full, 4096) > 0)
		continue;
	(void)fcntl(ends[1], F_SETFL, 0);
	if (io_open(&io, IO_URING, 4, &why) < 0) {
		print_message("%s\n", why.text);
		io = NULL;
	}
	return 0;
}

static int end(void **state)
{
	(void)state;
	io_free(io);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static void empty_pipe(void)
{
	char buf[65536];

	while (read(ends[0], buf, sizeof(buf)) > 0)
		continue;
}

static void poll_until(const int *ended)
{
	for (int i = 0; i < 10000 && !*ended; i++)
		assert_true(io_poll(io, 10) >= 0);
	assert_int_equal(*ended, 1);
}

/* The chain is cut at each of its places. */
static void a_chain_that_is_cut_keeps_its_order(void **state)
{
	(void)state;
	if (!io)
		skip();
	for (unsigned cut = 1; cut <= 2; cut++) {
		const int fd = open("/dev/shm", O_TMPFILE | O_RDWR, 0600);
		struct io_request req;
		int ended = 0;

		assert_true(fd >= 0);
		io_begin(&req, done, &ended);
		if (cut == 2)
			io_add(&req, IO_WRITE, fd, "first", 100, 5);
		io_add(&req, IO_WRITE, ends[1], "x", 0, 1); /* as slow as we like */
		io_add(&req, IO_WRITE, fd, "after", 0, 5);
		io_add(&req, IO_DATASYNC, fd, NULL, 0, 0);
		takes = cut;
		io_submit(io, &req);
		for (int i = 0; i < 20; i++)
			assert_true(io_poll(io, 2) >= 0);
		assert_int_equal(ended, 0);
		char byte = 'n';

		assert_true(pread(fd, &byte, 1, 0) == 0 || byte == 0);
		empty_pipe();
		poll_until(&ended);
		assert_int_equal(req.error, 0);
		assert_int_equal(pread(fd, &byte, 1, 0), 1);
		assert_int_equal(byte, 'a');
		close(fd);
		(void)fcntl(ends[1], F_SETFL, O_NONBLOCK);
		while (write(ends[1], "full", 4) > 0)
			continue;
		(void)fcntl(ends[1], F_SETFL, 0);
	}
}

/* More than goes at once: what follows runs once, when all of it is written. */
static void what_follows_a_large_write_runs_once(void **state)
{
	const uint64_t len = (UINT64_C(1) << 30) + 4096;
	void *data = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	const int fd = open("/dev/null", O_WRONLY);
	struct io_request req;
	char buf[8];
	int ended = 0;

	(void)state;
	assert_true(data != MAP_FAILED && fd >= 0);
	if (!io)
		skip();
	empty_pipe();
	io_begin(&req, done, &ended);
	io_add(&req, IO_WRITE, fd, data, 0, len);
	io_add(&req, IO_WRITE, ends[1], "x", 0, 1);
	io_submit(io, &req);
	poll_until(&ended);
	assert_int_equal(req.error, 0);
	assert_int_equal(req.at, 2);
	assert_int_equal(read(ends[0], buf, sizeof(buf)), 1);
	close(fd);
	munmap(data, len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_chain_that_is_cut_keeps_its_order, begin, end),
		cmocka_unit_test_setup_teardown(what_follows_a_large_write_runs_once, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
