/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_limits.c - see bench_limits.h. Round trips, sleep and memcpy; the ideal ring is in
 * bench_ring.c.
 */
#include "bench_limits.h"

#include "bench_pair.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WORDS_PER_LINE (BENCH_LINE / 8)
#define STOP           UINT64_MAX

struct round_trip_plan {
	int lines;
	int pauses;
	uint64_t ns;
	size_t there_off, back_off; /* of the two messages' lines, written again and again */
};

struct round_trip {
	struct bench_histogram h;
	uint64_t sum;
};

/* The last word of the last line is the message's number and says that it is whole. */
static inline void put_lines(uint64_t *to, int lines, uint64_t number)
{
	int last = lines * WORDS_PER_LINE - 1;

	for (int i = 0; i < last; i++)
		__atomic_store_n(&to[i], number, __ATOMIC_RELAXED);
	bench_store_release(&to[last], number);
}

/* Returns the number, or STOP. */
static inline uint64_t take_lines(const uint64_t *from, const struct round_trip_plan *plan,
				  uint64_t number, uint64_t *sum)
{
	struct bench_patience patience = { 0 };
	int last = plan->lines * WORDS_PER_LINE - 1;
	uint64_t got;

	while ((got = bench_load_acquire(&from[last])) != number && got != STOP) {
		if (plan->pauses)
			bench_cpu_relax();
		bench_patience_look(&patience);
	}
	for (int i = 0; i < last; i++)
		*sum += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	return got;
}

static void round_trip_near(void *arg, void *mem)
{
	const struct round_trip_plan *plan = arg;
	struct round_trip *r = mem;
	uint64_t *there = (uint64_t *)((char *)mem + plan->there_off);
	uint64_t *back = (uint64_t *)((char *)mem + plan->back_off);
	double ns_per_tick = bench_ns_per_tick();
	uint64_t all = (uint64_t)((double)plan->ns / ns_per_tick), start = bench_ticks(),
		 before = start;
	uint64_t sum = 0;

	for (uint64_t i = 1; before - start < all; i++) {
		uint64_t after;

		put_lines(there, plan->lines, i);
		take_lines(back, plan, i, &sum);
		after = bench_ticks();
		bench_histogram_record(&r->h,
				       (uint64_t)((double)(after - before) * ns_per_tick + 0.5));
		before = bench_ticks();
	}
	put_lines(there, plan->lines, STOP);
	r->sum = sum;
}

static void round_trip_far(void *arg, void *mem)
{
	const struct round_trip_plan *plan = arg;
	uint64_t *there = (uint64_t *)((char *)mem + plan->there_off);
	uint64_t *back = (uint64_t *)((char *)mem + plan->back_off);
	uint64_t sum = 0;

	for (uint64_t i = 1;; i++) {
		if (take_lines(there, plan, i, &sum) == STOP)
			return;
		put_lines(back, plan->lines, i);
		__asm__ __volatile__("" ::"r"(sum)); /* the lines are to be read */
	}
}

int bench_limit_round_trip(int lines, uint64_t ns, struct bench_histogram *h)
{
	struct round_trip_plan plan = { .lines = lines, .ns = ns / 2 };
	struct bench_two two = { .near = round_trip_near, .far = round_trip_far, .arg = &plan };
	struct round_trip *r;
	size_t area;
	int err = 0;

	if (lines < 1 || lines > BENCH_LIMIT_MAX_LINES)
		return -EINVAL;
	area = ((size_t)lines * BENCH_LINE + 4095) / 4096 * 4096;
	plan.there_off = (sizeof(*r) + 4095) / 4096 * 4096;
	plan.back_off = plan.there_off + area;
	two.bytes = plan.back_off + area;
	two.mem = r = bench_shared(two.bytes);
	if (!r)
		return -ENOMEM;
	bench_histogram_reset(h);
	for (plan.pauses = 0; plan.pauses < 2 && !err; plan.pauses++) {
		memset(r, 0, two.bytes);
		bench_histogram_reset(&r->h);
		err = bench_two_run(&two);
		if (!err &&
		    (h->total == 0 || bench_histogram_at(&r->h, 50) < bench_histogram_at(h, 50)))
			*h = r->h;
	}
	bench_shared_free(r, two.bytes);
	return err;
}

/* ---- asleep ---- */

struct sleepers {
	uint32_t there[32], back[32];
	struct bench_histogram h;
};

static void wake_with(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Sleeps until *word is no longer `old`. */
static uint32_t sleep_while(uint32_t *word, uint32_t old)
{
	uint32_t now;

	while ((now = __atomic_load_n(word, __ATOMIC_ACQUIRE)) == old)
		syscall(SYS_futex, word, FUTEX_WAIT, old, NULL, NULL, 0);
	return now;
}

static void asleep_near(void *arg, void *mem)
{
	const uint64_t *ns = arg;
	struct sleepers *s = mem;
	uint64_t start = bench_now_ns(), before = start, after;

	for (uint32_t i = 1; before - start < *ns; i++) {
		wake_with(&s->there[0], i);
		sleep_while(&s->back[0], i - 1);
		after = bench_now_ns();
		bench_histogram_record(&s->h, after - before);
		before = after;
	}
	wake_with(&s->there[0], UINT32_MAX);
}

static void asleep_far(void *arg, void *mem)
{
	struct sleepers *s = mem;

	(void)arg;
	for (uint32_t i = 1; sleep_while(&s->there[0], i - 1) != UINT32_MAX; i++)
		wake_with(&s->back[0], i);
}

int bench_limit_asleep(uint64_t ns, struct bench_histogram *h)
{
	struct sleepers *s = bench_shared(sizeof(*s));
	struct bench_two two = {
		.near = asleep_near, .far = asleep_far, .arg = &ns, .mem = s, .bytes = sizeof(*s)
	};
	int err;

	if (!s)
		return -ENOMEM;
	bench_histogram_reset(&s->h);
	err = bench_two_run(&two);
	*h = s->h;
	bench_shared_free(s, sizeof(*s));
	return err;
}

/* ---- memcpy ---- */

static double copy_rate(char *to, const char *from, size_t bytes, uint64_t ns)
{
	uint64_t start = bench_now_ns(), passed, copies = 0;

	do {
		memcpy(to, from, bytes);
		__asm__ __volatile__("" ::"r"(to) : "memory"); /* it is wanted */
		copies++;
		passed = bench_now_ns() - start;
	} while (passed < ns);
	return (double)copies * (double)bytes * 1e9 / (double)passed;
}

int bench_limit_memcpy(uint64_t ns, struct bench_copy_rate *ret)
{
	enum { SMALL = 16 << 10, LARGE = 64 << 20 };
	char *from = malloc(LARGE), *to = malloc(LARGE);
	int err = -ENOMEM;

	if (from && to) {
		memset(from, 1, LARGE);
		memset(to, 2, LARGE);
		ret->in_cache = copy_rate(to, from, SMALL, ns / 2);
		ret->to_memory = copy_rate(to, from, LARGE, ns / 2);
		err = 0;
	}
	free(from);
	free(to);
	return err;
}
