/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io.c - what all ways to the disk share: which one is taken, and how a request goes on after a short write.
 */
#include "io.h"

#include <string.h>

/* A disk that moves nothing for so many times in a row is broken, not interrupted. */
#define IDLE_MAX 1000

int io_open(struct io **ret, enum io_choice choice, unsigned depth, struct why *why)
{
	int error = 0;

	if (choice != IO_THREAD) {
		error = io_uring_open(ret, depth);
		if (error == 0)
			return 0;
		if (choice == IO_URING)
			return because(why, -error, "io_uring is not to be had: %s",
				       strerror(-error));
	}
	const int uring = error;

	error = io_thread_open(ret);
	if (error < 0)
		return because(why, -error, "threads that write cannot be started: %s",
			       strerror(-error));
	if (uring)
		snprintf((*ret)->why, sizeof((*ret)->why), "io_uring is not to be had: %s",
			 strerror(-uring));
	return 0;
}

void io_free(struct io *io)
{
	if (!io)
		return;
	assert(io->in_flight == 0);
	io->table->free(io);
}

void io_begin(struct io_request *req, void (*done)(struct io_request *), void *owner)
{
	req->count = 0;
	req->done = done;
	req->owner = owner;
	req->error = 0;
	req->at = 0;
	req->idle = 0;
	req->waits_for = 0;
	req->next = NULL;
}

void io_add(struct io_request *req, enum io_kind kind, int fd, const void *data, uint64_t off,
	    uint64_t len)
{
	assert(req->count < IO_OPS_MAX);
	if (len == 0 && kind != IO_DATASYNC && kind != IO_SYNC)
		return;
	req->ops[req->count++] =
		(struct io_op){ .kind = kind, .fd = fd, .data = data, .off = off, .len = len };
}

/*
 * What is begun again includes syncs, and one of them may have run, though it should not have: if it failed, that is the
 * only time that anybody says so.
 */
static bool failed_sync_behind(struct io_request *req)
{
	for (unsigned i = req->at + 1; i < req->count; i++) {
		const struct io_op *op = &req->ops[i];
		const int result = req->results[i];

		if ((op->kind == IO_DATASYNC || op->kind == IO_SYNC) && result < 0 &&
		    result != -ECANCELED && result != -EINTR && result != -EAGAIN) {
			req->error = result;
			req->at = i;
			return true;
		}
	}
	return false;
}

bool io_settle(struct io_request *req)
{
	while (req->at < req->count) {
		struct io_op *op = &req->ops[req->at];
		int result = req->results[req->at];

		if (result == -EINTR || result == -EAGAIN ||
		    (op->kind == IO_WRITE && result >= 0 && (uint64_t)result < op->len)) {
			/* A write of nothing says nothing; an end must come all the same. */
			req->idle = result > 0 ? 0 : req->idle + 1;
			if (req->idle > IDLE_MAX) {
				req->error = result < 0 ? result : -EIO;
				return true;
			}
			if (result > 0) {
				op->data = (const char *)op->data + result;
				op->off += (uint64_t)result;
				op->len -= (uint64_t)result;
			}
			return failed_sync_behind(req);
		}
		if (result < 0) {
			req->error = result;
			return true;
		}
		req->idle = 0;
		req->at++;
	}
	return true;
}

void io_finish(struct io *io, struct io_request *req)
{
	assert(io->in_flight > 0);
	io->in_flight--;
	req->done(req);
}

static void run_done(struct io_request *req)
{
	req->owner = NULL;
}

int io_run(struct io *io, struct io_request *req)
{
	int n;

	req->done = run_done;
	req->owner = req; /* until it is done */
	io_submit(io, req);
	/* Its memory is in use until it has ended: there is no giving up. */
	while (req->owner) {
		n = io_poll(io, 1000);
		assert(n >= 0);
	}
	return req->error;
}
