/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wake.h - sleeping on words that other processes write, and waking by a word of our own.
 *
 * A sleeper reads the words first (wake_word.seen), then announces that it waits, fences, looks
 * once more, and only then calls wake_wait(): the kernel compares each word with `seen` and sleeps
 * only if none has moved. All futexes are shared ones: the waiter's mapping is read-only and in
 * another process.
 */
#ifndef BUS_WAKE_H
#define BUS_WAKE_H

#include "base/atomic.h"
#include "base/base.h"

struct wake_word {
	const _Atomic uint32_t *word;
	uint32_t seen;
};

#define WAKE_WAITV_MAX 128 /* words that one futex_waitv() takes */

/* Increments a bell word of our own and wakes everybody who sleeps on it. One system call. */
void wake_ring(_Atomic uint32_t *word);

/* Wakes everybody who sleeps on a word that others write, and that has not moved. */
void wake_sleepers(const _Atomic uint32_t *word);

/*
 * Sleeps until a word differs from what was seen, at most timeout_ns (-1: no limit). 0: woken, or a
 * word had moved already;
 * -ETIMEDOUT; -EINTR after a signal handler. Beyond 128 words `crowd` provides a thread per 127
 * (see below).
 */
struct wake_crowd;
int wake_wait(const struct wake_word *words, int count, int64_t timeout_ns,
	      struct wake_crowd **crowd);

/* Ends the threads of a crowd. NULL is allowed. */
void wake_crowd_free(struct wake_crowd *crowd);

/*
 * The heavy half of fence W3: when it returns, every thread of a registered process that was
 * running has executed a full fence (others had one when they stopped running), and so has the
 * caller. membarrier(2), GLOBAL_EXPEDITED; measured 0.2 us where no publisher runs, 11 us in a VM
 * where one does, before a sleep whose wake costs 43 us there.
 *
 * wake_barrier_register(): by each publishing process, once, before its first message: 0, or -errno
 * where the kernel or a seccomp filter refuses; then its publishers fence themselves.
 * wake_barrier_usable(): whether a sleeper may rely on wake_barrier(); where not, it asks
 * publishers to fence (cursor_segment.wants_fence). BUS_MEMBARRIER=0 refuses both.
 */
int wake_barrier_register(void);
bool wake_barrier_usable(void);
void wake_barrier(void);

/*
 * wake_fd: the same wait behind a descriptor for epoll. Readable once signalled; arm it to have it
 * signalled by the kernel when a word moves. With io_uring's FUTEX_WAITV (Linux 6.7) the descriptor
 * is the ring's own; elsewhere a thread waits and writes an eventfd. BUS_WAKE_FD=thread in the
 * environment chooses the thread.
 */
struct wake_fd;
int wake_fd_open(struct wake_fd **ret, bool thread); /* thread: never io_uring */
int wake_fd_number(const struct wake_fd *wfd);
void wake_fd_signal(struct wake_fd *wfd); /* readable now */
/* no longer readable (unless a word moves at this moment) */
void wake_fd_clear(struct wake_fd *wfd);
/*
 * Signalled when a word moves, when the peer of the socket hangs up (-1: none), or after timeout_ns
 * (-1: no limit; else about that, from whenever one was asked for last).
 */
int wake_fd_arm(struct wake_fd *wfd, const struct wake_word *words, int count, int hangup_fd,
		int64_t timeout_ns);
bool wake_fd_fired(const struct wake_fd *wfd); /* readable already; no system call */
bool wake_fd_uses_uring(const struct wake_fd *wfd);
void wake_fd_close(struct wake_fd *wfd);

#endif
