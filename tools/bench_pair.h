/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_pair.h - two processes, each on a processor of its own, over one shared mapping: the frame
 * in which limits are measured. Used by bench_limits.c and by bench/; knows nothing of the bus.
 *
 * The words that both touch go through the functions below, named by their order. The limits use
 * the compiler's builtins and not the library's atomic.h on purpose: a tool sees public headers
 * only, and a limit that shared code with what it judges would move with it.
 */
#ifndef BENCH_PAIR_H
#define BENCH_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define BENCH_LINE 64

static inline uint64_t bench_load_acquire(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void bench_store_release(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static inline void bench_fence_seq_cst(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void bench_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#else
	__asm__ __volatile__("" ::: "memory");
#endif
}

static inline uint64_t bench_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The cheap clock for stamps within a loop; bench_ticks_to_ns() converts differences. */
static inline uint64_t bench_ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t v;

	__asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(v));
	return v;
#else
	return bench_now_ns();
#endif
}
double bench_ns_per_tick(void); /* measured once (10 ms) per process and inherited by children */

/*
 * Two processors that this process may use: *a and *b differ where there are two. Returns how many
 * there are.
 */
int bench_two_cpus(int *a, int *b);

/* Binds the calling thread to a processor. 0 or -errno. */
int bench_pin(int cpu);

/* Anonymous shared memory, zeroed, every page touched. NULL: out of memory. */
void *bench_shared(size_t bytes);
void bench_shared_free(void *mem, size_t bytes);

/*
 * Runs near() here and far() in a child, on two processors, over mem: both begin when both have
 * touched every page. Returns 0 when both came back, -errno or -ECHILD where the child did not.
 * This process keeps its processor binding as it was before.
 */
struct bench_two {
	void (*near)(void *arg, void *mem);
	void (*far)(void *arg, void *mem);
	void *arg;
	void *mem;
	size_t bytes;
	bool one_cpu; /* both on the same processor */
};
int bench_two_run(const struct bench_two *two);

/*
 * Which part of the time a spinning process had its processor, 0 to 1: what else ran there was
 * measured too. Of the last bench_two_run(), the lesser of its two; and of a thread since
 * bench_share_begin(). A round below BENCH_CALM_SHARE is not used where there are enough others.
 */
#define BENCH_CALM_SHARE 0.93
struct bench_share {
	uint64_t wall_ns, cpu_ns;
};
void bench_share_begin(struct bench_share *s);
double bench_share_end(const struct bench_share *s);
double bench_two_share(void);

/*
 * A wait loop that ends: call once per failed look. Without it a peer that died would leave the
 * other spinning for ever. Exits the process with a message after 20 s.
 */
struct bench_patience {
	uint32_t looks;
	uint64_t until_ns;
};
void bench_patience_tick(struct bench_patience *p);

static inline void bench_patience_look(struct bench_patience *p)
{
	if (__builtin_expect(++p->looks >= 1u << 20, 0))
		bench_patience_tick(p);
}

/* For medians: sorts in place, returns the middle (mean of the two for an even n). n >= 1. */
double bench_median(double *values, int n);

#endif
