/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_uring.c - requests by io_uring: the operations of one are linked, so that writing and syncing a batch costs one
 * system call. Memory that is written often is registered where the limit of locked memory allows it. The only
 * user of liburing in busd.
 */
#include "io.h"

#include <liburing.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>

#define ENTRIES_MAX 1024
#define BUFFERS_MAX 64
#define PIECE_MAX   (UINT64_C(1) << 30) /* a registered buffer's limit, and a single write's */

struct piece {
	uint8_t *base;
	uint64_t len;
};

struct uring {
	struct io io;
	struct io_uring ring;
	struct piece pieces[BUFFERS_MAX]; /* registered memory, by its number; len 0: free */
	unsigned piece_count;             /* places in use, free ones between them included */
	bool has_places;
	struct io_request *waiting, **waiting_end; /* no room in the queue yet */
	bool poll_again;
};

static_assert(sizeof(void *) == 8 || sizeof(void *) == 4,
	      "a pointer has room for an operation's number");

/* A request is at least 8-aligned, an operation's number below 8: both travel in one word. */
static uint64_t tag_of(struct io_request *req, unsigned op)
{
	return (uint64_t)(uintptr_t)req | op;
}

static int piece_of(const struct uring *u, const struct io_op *op)
{
	const uint8_t *data = op->data;

	for (unsigned i = 0; i < u->piece_count; i++) {
		if (data >= u->pieces[i].base &&
		    op->len <= u->pieces[i].len - (uint64_t)(data - u->pieces[i].base) &&
		    data < u->pieces[i].base + u->pieces[i].len)
			return (int)i;
	}
	return -1;
}

static void prepare(const struct uring *u, struct io_uring_sqe *sqe, const struct io_op *op)
{
	const unsigned len = (unsigned)bus_min_u64(op->len, PIECE_MAX);
	int piece;

	switch (op->kind) {
	case IO_WRITE:
		piece = piece_of(u, op);
		if (piece >= 0)
			io_uring_prep_write_fixed(sqe, op->fd, op->data, len, op->off, piece);
		else
			io_uring_prep_write(sqe, op->fd, op->data, len, op->off);
		break;
	case IO_DATASYNC:
		io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
		break;
	case IO_SYNC:
		io_uring_prep_fsync(sqe, op->fd, 0);
		break;
	case IO_ALLOCATE:
		io_uring_prep_fallocate(sqe, op->fd, 0, (off_t)op->off, (off_t)op->len);
		break;
	case IO_PUNCH:
		io_uring_prep_fallocate(sqe, op->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)op->off, (off_t)op->len);
		break;
	}
}

/* Behind the last operation that may go now: a write that is cut is whole to the kernel, and would not hold up what follows. */
static unsigned end_of_chain(const struct io_request *req)
{
	unsigned end = req->at;

	while (end < req->count) {
		const struct io_op *op = &req->ops[end++];

		if (op->kind == IO_WRITE && op->len > PIECE_MAX)
			break;
	}
	return end;
}

/* Whether the request's remaining operations are in the queue. */
static bool enqueue(struct uring *u, struct io_request *req)
{
	const unsigned end = end_of_chain(req), n = end - req->at;

	/* Linked ones must go in one submission. */
	if (io_uring_sq_space_left(&u->ring) < n)
		return false;
	for (unsigned i = req->at; i < end; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

		prepare(u, sqe, &req->ops[i]);
		io_uring_sqe_set_data64(sqe, tag_of(req, i));
		if (i + 1 < end)
			sqe->flags |= IOSQE_IO_LINK;
	}
	for (unsigned i = req->at; i < req->count; i++)
		req->results[i] = -ECANCELED;
	req->waits_for = n;
	return true;
}

static void put_off(struct uring *u, struct io_request *req)
{
	req->next = NULL;
	*u->waiting_end = req;
	u->waiting_end = &req->next;
}

/*
 * EAGAIN, EBUSY: the kernel has no room now; what is in the queue goes with the next call. It may have taken a part: a chain
 * may be cut then, its rest be a chain of its own to the kernel, and a sync run before the write that it is for. So the rest
 * waits for all that was taken.
 */
static void flush(struct uring *u)
{
	const struct io_uring_sq *sq = &u->ring.sq;
	const int taken = io_uring_submit(&u->ring);

	u->poll_again = taken < 0;
	if (taken > 0 && io_uring_sq_ready(&u->ring)) {
		sq->sqes[*sq->khead & sq->ring_mask].flags |= IOSQE_IO_DRAIN;
		u->poll_again = true;
	}
}

static void uring_submit(struct io *io, struct io_request *req)
{
	struct uring *u = BUS_CONTAINER_OF(io, struct uring, io);

	if (u->waiting || !enqueue(u, req))
		put_off(u, req);
	flush(u);
}

static void begin_waiting(struct uring *u)
{
	while (u->waiting && enqueue(u, u->waiting)) {
		u->waiting = u->waiting->next;
		if (!u->waiting)
			u->waiting_end = &u->waiting;
	}
	if (u->poll_again || io_uring_sq_ready(&u->ring))
		flush(u);
}

static int reap(struct uring *u)
{
	struct io_uring_cqe *cqe;
	int ended = 0;

	while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
		const uint64_t tag = io_uring_cqe_get_data64(cqe);
		struct io_request *req = (struct io_request *)(uintptr_t)(tag & ~UINT64_C(7));

		req->results[tag & 7] = cqe->res;
		io_uring_cqe_seen(&u->ring, cqe);
		if (--req->waits_for)
			continue;
		if (io_settle(req)) {
			io_finish(&u->io, req);
			ended++;
		} else {
			put_off(u, req);
		}
	}
	begin_waiting(u);
	return ended;
}

static int uring_poll(struct io *io, int timeout_ms)
{
	struct uring *u = BUS_CONTAINER_OF(io, struct uring, io);
	struct pollfd pfd = { .fd = u->ring.ring_fd, .events = POLLIN };
	int ended = reap(u);

	if (ended || timeout_ms == 0)
		return ended;
	/* What the kernel did not take is offered again soon. */
	if (u->poll_again || u->waiting)
		timeout_ms = timeout_ms < 0 || timeout_ms > 1 ? 1 : timeout_ms;
	if (poll(&pfd, 1, timeout_ms) < 0 && errno != EINTR)
		return -errno;
	return reap(u);
}

static int change_piece(struct uring *u, unsigned i, void *base, uint64_t len)
{
	const struct iovec iov = { base, len };
	const int n = io_uring_register_buffers_update_tag(&u->ring, i, &iov, NULL, 1);

	if (n < 0)
		return n;
	u->pieces[i] = (struct piece){ base, len };
	if (len && i >= u->piece_count)
		u->piece_count = i + 1;
	return 0;
}

static void uring_leave_memory(struct io *io, void *base, uint64_t len)
{
	struct uring *u = BUS_CONTAINER_OF(io, struct uring, io);

	for (unsigned i = 0; i < u->piece_count; i++) {
		struct piece *piece = &u->pieces[i];

		if (piece->len && piece->base >= (uint8_t *)base &&
		    piece->base < (uint8_t *)base + len)
			(void)change_piece(u, i, NULL, 0);
	}
	while (u->piece_count && u->pieces[u->piece_count - 1].len == 0)
		u->piece_count--;
}

static int uring_use_memory(struct io *io, void *base, uint64_t len)
{
	struct uring *u = BUS_CONTAINER_OF(io, struct uring, io);
	int error = u->has_places ? 0 : -EOPNOTSUPP;

	for (uint64_t at = 0; error == 0 && at < len; at += PIECE_MAX) {
		unsigned i = 0;

		while (i < BUFFERS_MAX && u->pieces[i].len)
			i++;
		if (i == BUFFERS_MAX)
			error = -ENOSPC;
		else
			error = change_piece(u, i, (uint8_t *)base + at,
					     bus_min_u64(len - at, PIECE_MAX));
	}
	/* all of it or nothing: a write is in one piece */
	if (error < 0)
		uring_leave_memory(io, base, len);
	return error;
}

static void uring_free(struct io *io)
{
	struct uring *u = BUS_CONTAINER_OF(io, struct uring, io);

	io_uring_queue_exit(&u->ring);
	free(u);
}

static const struct io_table uring_table = {
	.name = "io_uring",
	.submit = uring_submit,
	.poll = uring_poll,
	.use_memory = uring_use_memory,
	.leave_memory = uring_leave_memory,
	.create = io_file_create,
	.open = io_file_open,
	.rename = io_file_rename,
	.remove = io_file_remove,
	.forget = io_file_forget,
	.close = io_file_close,
	.free = uring_free,
};

/* Old kernels have io_uring without what is needed. */
static bool knows_all(struct io_uring *ring)
{
	static const int needed[] = { IORING_OP_WRITE, IORING_OP_WRITE_FIXED, IORING_OP_FSYNC,
				      IORING_OP_FALLOCATE };
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	bool all = probe != NULL;

	for (unsigned i = 0; all && i < BUS_ARRAY_LEN(needed); i++)
		all = io_uring_opcode_supported(probe, needed[i]);
	io_uring_free_probe(probe);
	return all;
}

int io_uring_open(struct io **ret, unsigned depth)
{
	struct uring *u = calloc(1, sizeof(*u));
	unsigned entries =
		(unsigned)bus_min_u64(bus_ceil_pow2((uint64_t)depth * IO_OPS_MAX + 1), ENTRIES_MAX);
	int error;

	if (!u)
		return -ENOMEM;
	error = io_uring_queue_init(entries, &u->ring, IORING_SETUP_CLAMP);
	if (error < 0) {
		free(u);
		return error;
	}
	if (!knows_all(&u->ring)) {
		io_uring_queue_exit(&u->ring);
		free(u);
		return -ENOSYS;
	}
	u->io.table = &uring_table;
	u->io.event_fd = u->ring.ring_fd;
	u->has_places = io_uring_register_buffers_sparse(&u->ring, BUFFERS_MAX) == 0;
	u->waiting_end = &u->waiting;
	*ret = &u->io;
	return 0;
}
