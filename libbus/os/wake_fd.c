/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wake_fd.c - a futex wait behind a descriptor. First choice: an io_uring of two entries per 128
 * words whose own descriptor is readable while a completion is there; a FUTEX_WAITV completes when
 * a word moves. Kernels before 6.7 and processes that may not use io_uring get a thread that waits
 * and writes an eventfd. liburing of Debian 12 does not know the opcode yet, so the request is
 * filled in by hand.
 */
#include <errno.h>
#include <linux/futex.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "os/wake.h"

#define OP_FUTEX_WAITV 53 /* IORING_OP_FUTEX_WAITV, Linux 6.7 */
#define URING_GROUPS   16 /* x 128 words; more sleep in the thread */
#define DATA_SIGNAL    1
#define DATA_CANCEL    2
#define DATA_HANGUP    3
#define DATA_TIMER     4
#define LOOK_NS        1000000000 /* the thread looks for a hang-up so often */
#define DATA_WAIT      16         /* + generation * URING_GROUPS + group */

struct wake_fd {
	bool uring;
	/* what is armed now */
	struct wake_word *words;
	int count, room;
	bool armed;
	/* io_uring */
	struct io_uring ring;
	uint64_t generation;
	int outstanding;      /* waits submitted in this generation and not completed */
	bool polling, timing; /* a hang-up, the time is waited for: whatever the generation */
	struct __kernel_timespec timer;
	struct futex_waitv *vec; /* must stay while a wait is outstanding */
	/* thread */
	int efd;
	pthread_t thread;
	/* odd: wait for the words; even: idle; also the word that calls the thread back */
	_Atomic uint32_t job;
	_Atomic uint32_t back; /* last even job that the thread has come back to */
	_Atomic uint32_t stop;
	_Atomic uint32_t fired; /* efd was written since the last clear */
	int hangup_fd;          /* the caller's, while the job is odd; -1 */
	int64_t timeout_ns;
	struct wake_crowd *crowd;
};

/* ---- thread ---- */

static bool hung_up(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return fd >= 0 && poll(&p, 1, 0) == 1;
}

/* true: something is to be looked at; false: called back. */
static bool waiter_wait(struct wake_fd *w, uint32_t job)
{
	while (bus_load_acquire(&w->job) == job) {
		int err = wake_wait(w->words, w->count + 1,
				    w->timeout_ns >= 0 ? w->timeout_ns : LOOK_NS, &w->crowd);

		if (err == 0 || (err == -ETIMEDOUT && (w->timeout_ns >= 0 || hung_up(w->hangup_fd))))
			break;
	}
	return bus_load_acquire(&w->job) == job;
}

static void *waiter_main(void *arg)
{
	struct wake_fd *w = arg;

	for (;;) {
		uint32_t job = bus_load_acquire(&w->job);
		struct wake_word call = { &w->job, job };

		if (bus_load_acquire(&w->stop))
			break;
		if (job % 2 == 1) {
			w->words[w->count] = call;
			if (waiter_wait(w, job)) {
				uint64_t one = 1;

				bus_store_release(&w->fired, 1);
				if (write(w->efd, &one, sizeof(one)) < 0) {
					/* the counter is full: it is readable anyway */
				}
			}
		} else {
			bus_store_release(&w->back, job);
			wake_ring(&w->back); /* now job + 1 */
		}
		if (bus_load_acquire(&w->job) == job)
			wake_wait(&call, 1, -1, NULL);
	}
	return NULL;
}

/* Brings the thread back, so that its words may be changed. */
static void waiter_recall(struct wake_fd *w)
{
	uint32_t even, back;

	if (bus_load_relaxed(&w->job) % 2 == 1)
		wake_ring(&w->job);
	even = bus_load_relaxed(&w->job);
	while ((back = bus_load_acquire(&w->back)) != even + 1) {
		struct wake_word word = { &w->back, back };

		if (wake_wait(&word, 1, -1, NULL) < 0)
			continue; /* a signal handler ran */
	}
}

static int waiter_open(struct wake_fd *w)
{
	sigset_t all, old;
	int err;

	w->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->efd < 0)
		return -errno;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&w->thread, NULL, waiter_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err != 0) {
		close(w->efd);
		return -err;
	}
	return 0;
}

/* ---- io_uring ---- */

static bool uring_has_waitv(struct io_uring *ring)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	bool has = false;

	if (probe != NULL) {
		has = probe->last_op >= OP_FUTEX_WAITV &&
		      (probe->ops[OP_FUTEX_WAITV].flags & IO_URING_OP_SUPPORTED);
		io_uring_free_probe(probe);
	}
	return has;
}

static int uring_open(struct wake_fd *w)
{
	int err = io_uring_queue_init(2 * URING_GROUPS, &w->ring, 0);

	if (err < 0)
		return err;
	if (!uring_has_waitv(&w->ring)) {
		io_uring_queue_exit(&w->ring);
		return -ENOSYS;
	}
	fcntl(w->ring.ring_fd, F_SETFD, FD_CLOEXEC);
	io_uring_ring_dontfork(&w->ring);
	w->uring = true;
	return 0;
}

static bool words_moved(const struct wake_fd *w)
{
	for (int i = 0; i < w->count; i++)
		if (bus_load_acquire(w->words[i].word) != w->words[i].seen)
			return true;
	return false;
}

/* Takes completions out. true: a wait of this generation was among them. */
static bool uring_reap(struct wake_fd *w)
{
	struct io_uring_cqe *cqe;
	bool fired = false;

	while (io_uring_peek_cqe(&w->ring, &cqe) == 0) {
		if (cqe->user_data >= DATA_WAIT &&
		    (cqe->user_data - DATA_WAIT) / URING_GROUPS == w->generation) {
			w->outstanding--;
			fired = true;
		}
		w->polling = w->polling && cqe->user_data != DATA_HANGUP;
		w->timing = w->timing && cqe->user_data != DATA_TIMER;
		io_uring_cqe_seen(&w->ring, cqe);
	}
	return fired;
}

static void uring_cancel(struct wake_fd *w)
{
	int groups = (w->count + WAKE_WAITV_MAX - 1) / WAKE_WAITV_MAX;

	if (w->outstanding > 0) {
		for (int g = 0; g < groups; g++) {
			struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);

			io_uring_prep_cancel64(
				sqe, DATA_WAIT + w->generation * URING_GROUPS + (uint64_t)g, 0);
			sqe->user_data = DATA_CANCEL;
		}
		io_uring_submit(&w->ring);
		/* A cancelled futex wait completes at once; vec may be used again only then. */
		while (w->outstanding > 0) {
			struct io_uring_cqe *cqe;

			if (io_uring_wait_cqe(&w->ring, &cqe) == 0)
				uring_reap(w);
		}
	}
	w->armed = false;
}

/* How many requests that are to be submitted. They stay when the words change. */
static int uring_watch(struct wake_fd *w, int hangup_fd, int64_t timeout_ns)
{
	struct io_uring_sqe *sqe;
	int n = 0;

	if (hangup_fd >= 0 && !w->polling) {
		sqe = io_uring_get_sqe(&w->ring);
		io_uring_prep_poll_add(sqe, hangup_fd, POLLRDHUP);
		sqe->user_data = DATA_HANGUP;
		w->polling = true;
		n++;
	}
	if (timeout_ns >= 0 && !w->timing) {
		w->timer = (struct __kernel_timespec){ .tv_sec = timeout_ns / 1000000000,
						       .tv_nsec = timeout_ns % 1000000000 };
		sqe = io_uring_get_sqe(&w->ring);
		io_uring_prep_timeout(sqe, &w->timer, 0, 0);
		sqe->user_data = DATA_TIMER;
		w->timing = true;
		n++;
	}
	return n;
}

static int uring_arm(struct wake_fd *w)
{
	int done = 0, group = 0;

	w->generation++;
	while (done < w->count) {
		int n = w->count - done < WAKE_WAITV_MAX ? w->count - done : WAKE_WAITV_MAX;
		struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);

		for (int i = 0; i < n; i++)
			w->vec[done + i] = (struct futex_waitv){
				.val = w->words[done + i].seen,
				.uaddr = (uint64_t)(uintptr_t)w->words[done + i].word,
				.flags = FUTEX_32
			};
		memset(sqe, 0, sizeof(*sqe));
		sqe->opcode = OP_FUTEX_WAITV;
		sqe->fd = 0; /* anything else is EINVAL */
		sqe->addr = (uint64_t)(uintptr_t)(w->vec + done);
		sqe->len = (uint32_t)n;
		sqe->user_data = DATA_WAIT + w->generation * URING_GROUPS + (uint64_t)group++;
		done += n;
	}
	done = io_uring_submit(&w->ring);
	if (done < 0)
		return done;
	w->outstanding = group;
	w->armed = true;
	return 0;
}

/* ---- both ---- */

int wake_fd_open(struct wake_fd **ret, bool thread)
{
	const char *env = getenv("BUS_WAKE_FD");
	struct wake_fd *w = calloc(1, sizeof(*w));
	int err = -ENOSYS;

	if (w == NULL)
		return -ENOMEM;
	w->efd = -1;
	if (!thread && (env == NULL || strcmp(env, "thread") != 0))
		err = uring_open(w);
	if (err < 0)
		err = waiter_open(w);
	if (err < 0) {
		free(w);
		return err;
	}
	wake_fd_signal(w);
	*ret = w;
	return 0;
}

int wake_fd_number(const struct wake_fd *w)
{
	return w->uring ? w->ring.ring_fd : w->efd;
}

bool wake_fd_uses_uring(const struct wake_fd *w)
{
	return w->uring;
}

void wake_fd_signal(struct wake_fd *w)
{
	if (w->uring) {
		struct io_uring_sqe *sqe;

		if (io_uring_cq_ready(&w->ring) > 0)
			return;
		sqe = io_uring_get_sqe(&w->ring);
		io_uring_prep_nop(sqe);
		sqe->user_data = DATA_SIGNAL;
		io_uring_submit(&w->ring);
	} else {
		uint64_t one = 1;

		bus_store_release(&w->fired, 1);
		if (write(w->efd, &one, sizeof(one)) < 0) {
			/* full: readable already */
		}
	}
}

/* The thread is called back first: then no write of it is under way. */
static void waiter_drain(struct wake_fd *w)
{
	uint64_t count;

	waiter_recall(w);
	w->armed = false;
	bus_store_release(&w->fired, 0);
	if (read(w->efd, &count, sizeof(count)) < 0) {
		/* nothing was there */
	}
}

bool wake_fd_fired(const struct wake_fd *w)
{
	return w->uring ? io_uring_cq_ready(&w->ring) > 0 : bus_load_acquire(&w->fired) != 0;
}

void wake_fd_clear(struct wake_fd *w)
{
	if (!wake_fd_fired(w))
		return;
	if (!w->uring)
		waiter_drain(w);
	else if (uring_reap(w))
		uring_cancel(w); /* the other groups of a set that fired */
}

static bool same_words(const struct wake_fd *w, const struct wake_word *words, int count)
{
	if (w->count != count)
		return false;
	for (int i = 0; i < count; i++)
		if (w->words[i].word != words[i].word || w->words[i].seen != words[i].seen)
			return false;
	return true;
}

static int keep_words(struct wake_fd *w, const struct wake_word *words, int count)
{
	if (count > w->room) {
		struct wake_word *more = realloc(w->words, (size_t)(count + 1) * sizeof(*more));
		struct futex_waitv *vec;

		if (more == NULL)
			return -ENOMEM;
		w->words = more;
		vec = realloc(w->vec, (size_t)count * sizeof(*vec));
		if (vec == NULL)
			return -ENOMEM;
		w->vec = vec;
		w->room = count;
	}
	memcpy(w->words, words, (size_t)count * sizeof(*words));
	w->count = count;
	return 0;
}

int wake_fd_arm(struct wake_fd *w, const struct wake_word *words, int count, int hangup_fd,
		int64_t timeout_ns)
{
	int err, watch = 0;

	if (w->uring && count > URING_GROUPS * WAKE_WAITV_MAX)
		return -E2BIG;
	if (w->uring)
		watch = uring_watch(w, hangup_fd, timeout_ns);
	if (w->armed && !wake_fd_fired(w) && same_words(w, words, count) && !words_moved(w) &&
	    (w->uring || (w->hangup_fd == hangup_fd && w->timeout_ns == timeout_ns))) {
		/* the kernel still watches just these */
		err = watch > 0 ? io_uring_submit(&w->ring) : 0;
		return err < 0 ? err : 0;
	}
	if (w->uring)
		uring_cancel(w);
	else
		waiter_drain(w);
	err = keep_words(w, words, count);
	if (err < 0)
		return err;
	if (w->uring)
		return uring_arm(w);
	w->hangup_fd = hangup_fd;
	w->timeout_ns = timeout_ns;
	w->armed = true;
	wake_ring(&w->job); /* odd: the thread waits */
	return 0;
}

void wake_fd_close(struct wake_fd *w)
{
	if (w == NULL)
		return;
	if (w->uring) {
		uring_cancel(w);
		io_uring_queue_exit(&w->ring);
	} else {
		bus_store_release(&w->stop, 1);
		wake_ring(&w->job);
		pthread_join(w->thread, NULL);
		wake_crowd_free(w->crowd);
		close(w->efd);
	}
	free(w->words);
	free(w->vec);
	free(w);
}
