/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wake.c - futexes. Up to 128 words wait in one system call; beyond, each further 127 words have a
 * thread that waits for them and passes a wake on through one private word that the sleeper
 * includes in its own set.
 */
#include "os/wake.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

void wake_ring(_Atomic uint32_t *word)
{
	bus_add_seq_cst(word, 1);
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void wake_sleepers(const _Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/*
 * 0 not asked yet, 1 refused, 2 usable. A race of two threads asks twice and gets the same answer.
 */
static _Atomic uint32_t barrier_state;

static bool barrier_allowed(void)
{
	const char *env = getenv("BUS_MEMBARRIER");

	return env == NULL || strcmp(env, "0") != 0;
}

int wake_barrier_register(void)
{
	if (!barrier_allowed())
		return -ENOSYS;
	return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0 ? 0
											    : -errno;
}

bool wake_barrier_usable(void)
{
	uint32_t state = bus_load_relaxed(&barrier_state);

	if (state == 0) {
		long cmds = barrier_allowed() ? syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0)
					      : 0;

		state = cmds > 0 && (cmds & MEMBARRIER_CMD_GLOBAL_EXPEDITED) ? 2 : 1;
		bus_store_relaxed(&barrier_state, state);
	}
	return state == 2;
}

void wake_barrier(void)
{
	bus_fence_seq_cst();
	if (wake_barrier_usable())
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
}

static int waitv(const struct wake_word *words, int count, const struct timespec *deadline)
{
	struct futex_waitv v[WAKE_WAITV_MAX];

	for (int i = 0; i < count; i++)
		v[i] = (struct futex_waitv){ .val = words[i].seen,
					     .uaddr = (uint64_t)(uintptr_t)words[i].word,
					     .flags = FUTEX_32 };
	if (syscall(SYS_futex_waitv, v, count, 0, deadline, CLOCK_MONOTONIC) >= 0 || errno == EAGAIN)
		return 0;
	return -errno;
}

struct crowd_thread {
	pthread_t thread;
	struct wake_crowd *crowd;
	/* odd: words are to be waited for; even: idle. Also the word that calls it back. */
	_Atomic uint32_t job;
	_Atomic uint32_t idle; /* job number up to which it has come back */
	int count;
	struct wake_word words[WAKE_WAITV_MAX - 1];
};

struct wake_crowd {
	_Atomic uint32_t bell; /* a thread saw one of its words move */
	_Atomic uint32_t stop;
	int thread_count;
	struct crowd_thread **threads;
};

/* Woken by wake_ring(), so a shared futex as everything here. */
static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
	syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void *crowd_main(void *arg)
{
	struct crowd_thread *t = arg;
	struct wake_word set[WAKE_WAITV_MAX];

	for (;;) {
		uint32_t job = bus_load_acquire(&t->job);

		if (bus_load_acquire(&t->crowd->stop))
			return NULL;
		if (job % 2 == 0) {
			bus_store_release(&t->idle, job);
			/* moves it past job: whoever waits for the hand-back sees that it came */
			wake_ring(&t->idle);
			struct wake_word w = { &t->job, job };
			waitv(&w, 1, NULL);
			continue;
		}
		memcpy(set, t->words, (size_t)t->count * sizeof(set[0]));
		set[t->count] = (struct wake_word){ &t->job, job };
		waitv(set, t->count + 1, NULL);
		if (bus_load_acquire(&t->job) == job) {
			struct wake_word w = { &t->job, job };

			wake_ring(&t->crowd->bell);
			waitv(&w, 1, NULL); /* one wake per job */
		}
	}
}

static int crowd_grow(struct wake_crowd *crowd, int want)
{
	while (crowd->thread_count < want) {
		struct crowd_thread **more = realloc(crowd->threads, (size_t)want * sizeof(*more));
		struct crowd_thread *t;
		sigset_t all, old;
		int err;

		if (more == NULL)
			return -ENOMEM;
		crowd->threads = more;
		t = calloc(1, sizeof(*t));
		if (t == NULL)
			return -ENOMEM;
		t->crowd = crowd;
		sigfillset(&all); /* the application's handlers run on the application's threads */
		pthread_sigmask(SIG_SETMASK, &all, &old);
		err = pthread_create(&t->thread, NULL, crowd_main, t);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		if (err != 0) {
			free(t);
			return -err;
		}
		crowd->threads[crowd->thread_count++] = t;
	}
	return 0;
}

static void crowd_begin(struct wake_crowd *crowd, const struct wake_word *words, int count)
{
	for (int i = 0; i < crowd->thread_count && count > 0; i++) {
		struct crowd_thread *t = crowd->threads[i];
		int n = count < WAKE_WAITV_MAX - 1 ? count : WAKE_WAITV_MAX - 1;
		uint32_t idle;

		/* It must have come back from its last job before its words may change. */
		while ((idle = bus_load_acquire(&t->idle)) != bus_load_relaxed(&t->job) + 1)
			futex_wait(&t->idle, idle);
		memcpy(t->words, words, (size_t)n * sizeof(*words));
		t->count = n;
		wake_ring(&t->job); /* odd now */
		words += n;
		count -= n;
	}
}

static void crowd_end(struct wake_crowd *crowd)
{
	for (int i = 0; i < crowd->thread_count; i++)
		if (bus_load_relaxed(&crowd->threads[i]->job) % 2 == 1)
			wake_ring(&crowd->threads[i]->job);
}

/*
 * There is no thread for the words beyond the first: sleeps a moment on those, and the caller looks
 * at everything, as after a wake.
 */
#define SLICE_NS 1000000

static int slice(const struct wake_word *words, int64_t timeout_ns)
{
	int64_t ns = timeout_ns >= 0 && timeout_ns < SLICE_NS ? timeout_ns : SLICE_NS;
	int err = wake_wait(words, WAKE_WAITV_MAX, ns, NULL);

	return err == -EINTR ? err : 0;
}

int wake_wait(const struct wake_word *words, int count, int64_t timeout_ns, struct wake_crowd **crowd)
{
	struct wake_word set[WAKE_WAITV_MAX];
	struct timespec at, *deadline = NULL;
	int err;

	if (timeout_ns >= 0) {
		uint64_t ns = bus_monotonic_ns() + (uint64_t)timeout_ns;

		at = (struct timespec){ .tv_sec = (time_t)(ns / 1000000000u),
					.tv_nsec = (long)(ns % 1000000000u) };
		deadline = &at;
	}
	if (count <= WAKE_WAITV_MAX)
		return waitv(words, count, deadline);
	if (*crowd == NULL) {
		*crowd = calloc(1, sizeof(**crowd));
		if (*crowd == NULL)
			return slice(words, timeout_ns);
	}
	err = crowd_grow(*crowd,
			 (count - (WAKE_WAITV_MAX - 1) + WAKE_WAITV_MAX - 2) / (WAKE_WAITV_MAX - 1));
	if (err < 0)
		return slice(words, timeout_ns);
	memcpy(set, words, (WAKE_WAITV_MAX - 1) * sizeof(set[0]));
	set[WAKE_WAITV_MAX - 1] =
		(struct wake_word){ &(*crowd)->bell, bus_load_acquire(&(*crowd)->bell) };
	crowd_begin(*crowd, words + WAKE_WAITV_MAX - 1, count - (WAKE_WAITV_MAX - 1));
	err = waitv(set, WAKE_WAITV_MAX, deadline);
	crowd_end(*crowd);
	return err;
}

void wake_crowd_free(struct wake_crowd *crowd)
{
	if (crowd == NULL)
		return;
	bus_store_release(&crowd->stop, 1);
	for (int i = 0; i < crowd->thread_count; i++) {
		wake_ring(&crowd->threads[i]->job);
		pthread_join(crowd->threads[i]->thread, NULL);
		free(crowd->threads[i]);
	}
	free(crowd->threads);
	free(crowd);
}
