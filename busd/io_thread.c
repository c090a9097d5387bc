/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_thread.c - requests by two threads that call pwrite, fdatasync and so on, where io_uring is refused. Two, so that
 * the next batch is written while one is being synced. Which of two requests is done first is not said.
 */
#include "io.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define THREADS 2

struct queue {
	struct io_request *first, **end;
};

struct threads {
	struct io io;
	pthread_mutex_t lock; /* over the queues and stop */
	pthread_cond_t more;
	struct queue todo, ended;
	bool stop;
	pthread_t thread[THREADS];
	unsigned started;
};

static void put(struct queue *q, struct io_request *req)
{
	req->next = NULL;
	*q->end = req;
	q->end = &req->next;
}

static struct io_request *take(struct queue *q)
{
	struct io_request *req = q->first;

	if (!req)
		return NULL;
	q->first = req->next;
	if (!q->first)
		q->end = &q->first;
	return req;
}

static void do_request(struct io_request *req)
{
	do {
		bool going = true;

		for (unsigned i = req->at; i < req->count; i++) {
			const struct io_op *op = &req->ops[i];

			req->results[i] = going ? io_do(op) : -ECANCELED;
			going = going && req->results[i] >= 0 &&
				(op->kind != IO_WRITE || (uint64_t)req->results[i] == op->len);
		}
	} while (!io_settle(req));
}

static void *serve(void *arg)
{
	struct threads *t = arg;
	const uint64_t one = 1;

	pthread_mutex_lock(&t->lock);
	for (;;) {
		struct io_request *req = take(&t->todo);

		if (!req) {
			if (t->stop)
				break;
			pthread_cond_wait(&t->more, &t->lock);
			continue;
		}
		pthread_mutex_unlock(&t->lock);
		do_request(req);
		pthread_mutex_lock(&t->lock);
		put(&t->ended, req);
		/* A counter at its end is readable all the same. */
		if (write(t->io.event_fd, &one, sizeof(one)) < 0)
			assert(errno == EAGAIN);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static void thread_submit(struct io *io, struct io_request *req)
{
	struct threads *t = BUS_CONTAINER_OF(io, struct threads, io);

	pthread_mutex_lock(&t->lock);
	put(&t->todo, req);
	pthread_cond_signal(&t->more);
	pthread_mutex_unlock(&t->lock);
}

static int reap(struct threads *t)
{
	struct io_request *req;
	uint64_t count;
	int ended = 0;

	/* Emptied first: what ends from here on makes it readable again. */
	if (read(t->io.event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	for (;;) {
		pthread_mutex_lock(&t->lock);
		req = take(&t->ended);
		pthread_mutex_unlock(&t->lock);
		if (!req)
			return ended;
		io_finish(&t->io, req);
		ended++;
	}
}

static int thread_poll(struct io *io, int timeout_ms)
{
	struct threads *t = BUS_CONTAINER_OF(io, struct threads, io);
	struct pollfd pfd = { .fd = io->event_fd, .events = POLLIN };
	int ended = reap(t);

	if (ended || timeout_ms == 0)
		return ended;
	if (poll(&pfd, 1, timeout_ms) < 0 && errno != EINTR)
		return -errno;
	return reap(t);
}

static int thread_use_memory(struct io *io, void *base, uint64_t len)
{
	(void)io;
	(void)base;
	(void)len;
	return -EOPNOTSUPP;
}

static void thread_leave_memory(struct io *io, void *base, uint64_t len)
{
	(void)io;
	(void)base;
	(void)len;
}

static void thread_free(struct io *io)
{
	struct threads *t = BUS_CONTAINER_OF(io, struct threads, io);

	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_broadcast(&t->more);
	pthread_mutex_unlock(&t->lock);
	for (unsigned i = 0; i < t->started; i++)
		pthread_join(t->thread[i], NULL);
	pthread_cond_destroy(&t->more);
	pthread_mutex_destroy(&t->lock);
	close(io->event_fd);
	free(t);
}

static const struct io_table thread_table = {
	.name = "threads",
	.submit = thread_submit,
	.poll = thread_poll,
	.use_memory = thread_use_memory,
	.leave_memory = thread_leave_memory,
	.create = io_file_create,
	.open = io_file_open,
	.rename = io_file_rename,
	.remove = io_file_remove,
	.forget = io_file_forget,
	.close = io_file_close,
	.free = thread_free,
};

int io_thread_open(struct io **ret)
{
	struct threads *t = calloc(1, sizeof(*t));
	sigset_t all, old;
	int error = 0;

	if (!t)
		return -ENOMEM;
	t->io.table = &thread_table;
	t->io.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->io.event_fd < 0) {
		error = -errno;
		free(t);
		return error;
	}
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->more, NULL);
	t->todo.end = &t->todo.first;
	t->ended.end = &t->ended.first;
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (error == 0 && t->started < THREADS) {
		error = -pthread_create(&t->thread[t->started], NULL, serve, t);
		if (error == 0)
			t->started++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (t->started == 0) {
		thread_free(&t->io);
		return error;
	}
	*ret = &t->io;
	return 0;
}
