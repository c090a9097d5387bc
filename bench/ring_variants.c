/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_variants.c - why the ring is as it is: what each part of the protocol costs on this machine.
 *
 * An ideal single-producer single-consumer ring of slots that carry their own sequence number,
 * between two processes on two processors, with one thing added at a time (a fence after each
 * commit, a counter stamp, prefetching, ...). The variants are measured in turn, many short rounds,
 * and the medians printed: a machine whose speed changes from one second to the next slows all of
 * them alike.
 *
 *	build/bench/ring_variants [rounds]
 */
#include "bench_pair.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS  1024u
#define COUNT  1000000u
#define ROUNDS 25

/*
 * Rounds are sorted by the round trip of one line right before each measurement. A virtual
 * machine's processors may be two threads of one core at one moment (they share the first two
 * caches) and two cores at the next.
 */
#define PING_COUNT    20000u
#define NEAR_BELOW_NS 110

enum commit_by { COMMIT_STORE, COMMIT_STORE_FENCE, COMMIT_XCHG };

struct variant {
	const char *name;
	int lines; /* 1: all in the slot; 2: slot and a payload line */
	enum commit_by commit;
	int prefetch;        /* lines this many messages ahead are asked for writing; 0: none */
	int stamp;           /* the counter is read for each of so many messages; 0: never */
	int fence_every;     /* a fence after each of so many messages; 0: never */
	int reader_prefetch; /* the reader asks for lines this many messages ahead */
	int reader_pauses;   /* pauses after a look that found nothing */
	int batch;           /* messages written before any of them is committed */
	int backwards;       /* the last of a batch is committed first */
	int fence_per_batch;
};

struct slot {
	uint64_t commit, pos, time, lens, attrs, in[3];
};

struct ring {
	uint64_t cursor, pad0[15];
	uint64_t begin_ns, end_ns, sum, pad1[13];
	uint64_t ping[16], pong[16];
	struct slot slots[SLOTS];
	uint64_t payload[SLOTS][8];
};

static inline void ask_for_writing(void *p)
{
#if defined(__x86_64__)
	/* __builtin_prefetch(p, 1) makes a prefetch for reading where -mprfchw is not given. */
	__asm__ __volatile__("prefetchw %0" : : "m"(*(char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

static inline __attribute__((always_inline)) void write_message(struct ring *r, uint64_t n,
								const struct variant v)
{
	struct slot *s = &r->slots[n % SLOTS];

	if (v.prefetch) {
		ask_for_writing(&r->slots[(n + (uint64_t)v.prefetch) % SLOTS]);
		if (v.lines == 2)
			ask_for_writing(r->payload[(n + (uint64_t)v.prefetch) % SLOTS]);
	}
	__atomic_store_n(&s->pos, n * 64, __ATOMIC_RELAXED);
	__atomic_store_n(&s->time, v.stamp && n % (uint64_t)v.stamp == 0 ? bench_ticks() : n,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&s->lens, 64, __ATOMIC_RELAXED);
	__atomic_store_n(&s->attrs, 0, __ATOMIC_RELAXED);
	if (v.lines == 1) {
		for (int i = 0; i < 3; i++)
			__atomic_store_n(&s->in[i], n, __ATOMIC_RELAXED);
	} else {
		for (int i = 0; i < 8; i++)
			__atomic_store_n(&r->payload[n % SLOTS][i], n, __ATOMIC_RELAXED);
	}
}

static inline __attribute__((always_inline)) void commit_message(struct ring *r, uint64_t n,
								 const struct variant v)
{
	struct slot *s = &r->slots[n % SLOTS];

	if (v.commit == COMMIT_XCHG)
		__atomic_exchange_n(&s->commit, n + 1, __ATOMIC_SEQ_CST);
	else
		bench_store_release(&s->commit, n + 1);
	if (v.commit == COMMIT_STORE_FENCE)
		bench_fence_seq_cst();
}

static inline __attribute__((always_inline)) void produce(struct ring *r, const struct variant v)
{
	struct bench_patience patience = { 0 };
	uint64_t gate = 0, batch = (uint64_t)v.batch;

	r->begin_ns = bench_now_ns();
	for (uint64_t n = 0; n < COUNT; n += batch) {
		while (n + batch - gate > SLOTS) {
			gate = bench_load_acquire(&r->cursor);
			bench_cpu_relax();
			bench_patience_look(&patience);
		}
		for (uint64_t i = 0; i < batch; i++)
			write_message(r, n + i, v);
		for (uint64_t i = 0; i < batch; i++)
			commit_message(r, v.backwards ? n + batch - 1 - i : n + i, v);
		if (v.fence_per_batch || (v.fence_every && n % (uint64_t)v.fence_every == 0))
			bench_fence_seq_cst();
	}
}

static inline __attribute__((always_inline)) void consume(struct ring *r, const struct variant v)
{
	struct bench_patience patience = { 0 };
	uint64_t sum = 0, copy[4], last = COUNT - COUNT % (uint64_t)v.batch;

	if (COUNT % (uint64_t)v.batch)
		last += (uint64_t)v.batch;
	for (uint64_t n = 0; n < last; n++) {
		struct slot *s = &r->slots[n % SLOTS];

		if (v.reader_prefetch) {
			uint64_t ahead = n + (uint64_t)v.reader_prefetch;

			__builtin_prefetch(&r->slots[ahead % SLOTS]);
			if (v.lines == 2)
				__builtin_prefetch(r->payload[ahead % SLOTS]);
		}
		while (bench_load_acquire(&s->commit) != n + 1) {
			for (int i = 0; i < v.reader_pauses; i++)
				bench_cpu_relax();
			bench_patience_look(&patience);
		}
		copy[0] = __atomic_load_n(&s->pos, __ATOMIC_RELAXED);
		copy[1] = __atomic_load_n(&s->time, __ATOMIC_RELAXED);
		copy[2] = __atomic_load_n(&s->lens, __ATOMIC_RELAXED);
		copy[3] = __atomic_load_n(&s->attrs, __ATOMIC_RELAXED);
		sum += copy[0] + copy[1] + copy[2] + copy[3];
		if (v.lines == 1) {
			for (int i = 0; i < 3; i++)
				sum += __atomic_load_n(&s->in[i], __ATOMIC_RELAXED);
		} else {
			for (int i = 0; i < 8; i++)
				sum += __atomic_load_n(&r->payload[copy[0] / 64 % SLOTS][i],
						       __ATOMIC_RELAXED);
		}
		if (n % (SLOTS / 8) == SLOTS / 8 - 1)
			bench_store_release(&r->cursor, n + 1);
	}
	r->sum = sum;
	r->end_ns = bench_now_ns();
}

static void near_ping(void *arg, void *mem)
{
	struct bench_patience patience = { 0 };
	struct ring *r = mem;

	(void)arg;
	r->begin_ns = bench_now_ns();
	for (uint64_t i = 1; i <= PING_COUNT; i++) {
		bench_store_release(&r->ping[0], i);
		while (bench_load_acquire(&r->pong[0]) != i)
			bench_patience_look(&patience);
	}
	r->end_ns = bench_now_ns();
}

static void far_ping(void *arg, void *mem)
{
	struct bench_patience patience = { 0 };
	struct ring *r = mem;

	(void)arg;
	for (uint64_t i = 1; i <= PING_COUNT; i++) {
		while (bench_load_acquire(&r->ping[0]) != i)
			bench_patience_look(&patience);
		bench_store_release(&r->pong[0], i);
	}
}

/*
 * Each variant is compiled for itself: a test per message of what is constant would be measured
 * too.
 */
/* clang-format off */
#define VARIANTS(X) \
	X(one_line,		"one line", .lines = 1) \
	X(one_nopause,		"one line, reader never pauses", .lines = 1, .reader_pauses = 0) \
	X(one_fence,		"one line, fence", .lines = 1, .commit = COMMIT_STORE_FENCE) \
	X(one_xchg,		"one line, commit by xchg", .lines = 1, .commit = COMMIT_XCHG) \
	X(one_fence_pf8,	"one line, fence, prefetchw 8", .lines = 1, .commit = COMMIT_STORE_FENCE, .prefetch = 8) \
	X(one_stamp,		"one line, stamp", .lines = 1, .stamp = 1) \
	X(two_line,		"two lines", .lines = 2) \
	X(two_nopause,		"two lines, reader never pauses", .lines = 2, .reader_pauses = 0) \
	X(two_pause16,		"two lines, reader pauses 16", .lines = 2, .reader_pauses = 16) \
	X(two_pause4,		"two lines, reader pauses 4", .lines = 2, .reader_pauses = 4) \
	X(two_pf8,		"two lines, prefetchw 8", .lines = 2, .prefetch = 8) \
	X(two_stamp,		"two lines, stamp", .lines = 2, .stamp = 1) \
	X(two_rpf2,		"two lines, reader prefetch 2", .lines = 2, .reader_prefetch = 2) \
	X(two_rpf8,		"two lines, reader prefetch 8", .lines = 2, .reader_prefetch = 8) \
	X(two_fence,		"two lines, fence", .lines = 2, .commit = COMMIT_STORE_FENCE) \
	X(two_xchg,		"two lines, commit by xchg", .lines = 2, .commit = COMMIT_XCHG) \
	X(two_fence_pf2,	"two lines, fence, prefetchw 2", .lines = 2, .commit = COMMIT_STORE_FENCE, .prefetch = 2) \
	X(two_fence_pf4,	"two lines, fence, prefetchw 4", .lines = 2, .commit = COMMIT_STORE_FENCE, .prefetch = 4) \
	X(two_fence_pf8,	"two lines, fence, prefetchw 8", .lines = 2, .commit = COMMIT_STORE_FENCE, .prefetch = 8) \
	X(two_fence_pf16,	"two lines, fence, prefetchw 16", .lines = 2, .commit = COMMIT_STORE_FENCE, .prefetch = 16) \
	X(two_fence_pf32,	"two lines, fence, prefetchw 32", .lines = 2, .commit = COMMIT_STORE_FENCE, .prefetch = 32) \
	X(two_xchg_pf16,	"two lines, xchg, prefetchw 16", .lines = 2, .commit = COMMIT_XCHG, .prefetch = 16) \
	X(two_fence_pf8_stamp,	"two lines, fence, prefetchw 8, stamp", .lines = 2, .commit = COMMIT_STORE_FENCE, .prefetch = 8, .stamp = 1) \
	X(two_fence_pf8_rpf4,	"two lines, fence, prefetchw 8, reader prefetch 4", .lines = 2, .commit = COMMIT_STORE_FENCE, .prefetch = 8, .reader_prefetch = 4) \
	X(two_fence_pf8_stamp_p4, "two lines, fence, prefetchw 8, stamp, reader pauses 4", .lines = 2, .commit = COMMIT_STORE_FENCE, .prefetch = 8, .stamp = 1, .reader_pauses = 4) \
	X(two_fence_pf8_stamp_p16, "two lines, fence, prefetchw 8, stamp, reader pauses 16", .lines = 2, .commit = COMMIT_STORE_FENCE, .prefetch = 8, .stamp = 1, .reader_pauses = 16) \
	X(two_fence_stamp_p4, "two lines, fence, stamp, reader pauses 4", .lines = 2, .commit = COMMIT_STORE_FENCE, .stamp = 1, .reader_pauses = 4) \
	X(two_fence_stamp_p16, "two lines, fence, stamp, reader pauses 16", .lines = 2, .commit = COMMIT_STORE_FENCE, .stamp = 1, .reader_pauses = 16) \
	X(two_stamp_p16, "two lines, stamp, reader pauses 16", .lines = 2, .stamp = 1, .reader_pauses = 16) \
	X(two_stamp_pf8_p16, "two lines, stamp, prefetchw 8, reader pauses 16", .lines = 2, .stamp = 1, .prefetch = 8, .reader_pauses = 16) \
	X(two_fence_stamp,	"two lines, fence, stamp", .lines = 2, .commit = COMMIT_STORE_FENCE, .stamp = 1) \
	X(two_stamp4,		"two lines, stamp each 4th", .lines = 2, .stamp = 4) \
	X(two_stamp16,		"two lines, stamp each 16th", .lines = 2, .stamp = 16) \
	X(two_fence4,		"two lines, fence each 4th", .lines = 2, .fence_every = 4) \
	X(two_fence16,		"two lines, fence each 16th", .lines = 2, .fence_every = 16) \
	X(two_both4,		"two lines, fence and stamp each 4th", .lines = 2, .fence_every = 4, .stamp = 4) \
	X(two_both16,		"two lines, fence and stamp each 16th", .lines = 2, .fence_every = 16, .stamp = 16) \
	X(two_fence_stamp16,	"two lines, fence, stamp each 16th", .lines = 2, .commit = COMMIT_STORE_FENCE, .stamp = 16) \
	X(two_fence_stamp16_pf8,	"two lines, fence, stamp each 16th, prefetchw 8", .lines = 2, .commit = COMMIT_STORE_FENCE, .stamp = 16, .prefetch = 8) \
	X(batch16_both,		"two lines, batch 16, fence and stamp per batch", .lines = 2, .batch = 16, .fence_per_batch = 1, .stamp = 16) \
	X(batch16,		"two lines, batch 16, committed forwards", .lines = 2, .batch = 16) \
	X(batch16_back,		"two lines, batch 16, committed backwards", .lines = 2, .batch = 16, .backwards = 1) \
	X(batch16_fence,	"two lines, batch 16, forwards, fence per batch", .lines = 2, .batch = 16, .fence_per_batch = 1) \
	X(batch16_fence_pf,	"two lines, batch 16, forwards, fence per batch, prefetchw 16", .lines = 2, .batch = 16, .fence_per_batch = 1, .prefetch = 16) \
	X(batch64,		"two lines, batch 64, committed forwards", .lines = 2, .batch = 64) \
	X(batch16_one,		"one line, batch 16, committed forwards", .lines = 1, .batch = 16) \
	X(batch64_one,		"one line, batch 64, committed forwards", .lines = 1, .batch = 64)
/* clang-format on */

#define DEFAULTS .batch = 1, .reader_pauses = 1
#define DEFINE(id, text, ...) \
	static void near_##id(void *arg, void *mem) \
	{ \
		(void)arg; \
		produce(mem, (struct variant){ DEFAULTS, __VA_ARGS__ }); \
	} \
	static void far_##id(void *arg, void *mem) \
	{ \
		(void)arg; \
		consume(mem, (struct variant){ DEFAULTS, __VA_ARGS__ }); \
	}
#pragma GCC diagnostic ignored "-Woverride-init"
VARIANTS(DEFINE)

#define LIST(id, text, ...) { text, near_##id, far_##id },
static const struct {
	const char *name;
	void (*near)(void *arg, void *mem);
	void (*far)(void *arg, void *mem);
} variants[] = { VARIANTS(LIST) };
#define NVARIANTS (int)(sizeof(variants) / sizeof(variants[0]))

/* Both processes once over a clean ring; how long near() said it took. */
static double run_ns(struct ring *ring, void (*near)(void *, void *), void (*far)(void *, void *))
{
	struct bench_two two = { .near = near, .far = far, .mem = ring, .bytes = sizeof(*ring) };

	memset(ring, 0, sizeof(*ring));
	if (bench_two_run(&two) < 0)
		errx(1, "the second process failed");
	return (double)(ring->end_ns - ring->begin_ns);
}

struct sample {
	double rate, ping_ns;
};

static void print_table(const char *title, const struct sample *samples, int rounds, double from_ns,
			double below_ns)
{
	double base = 0, *rates = calloc((size_t)rounds, sizeof(*rates));

	if (!rates)
		errx(1, "no memory");
	printf("%s\n%-62s %7s %7s %7s %6s %3s\n", title, "million messages per second", "median",
	       "min", "max", "ratio", "n");
	for (int i = 0; i < NVARIANTS; i++) {
		int n = 0;

		for (int round = 0; round < rounds; round++) {
			const struct sample *s = &samples[i * rounds + round];

			if (s->ping_ns >= from_ns && s->ping_ns < below_ns)
				rates[n++] = s->rate;
		}
		if (n == 0)
			continue;
		if (base == 0)
			base = bench_median(rates, n);
		printf("%-62s %7.1f %7.1f %7.1f %6.2f %3d\n", variants[i].name,
		       bench_median(rates, n), rates[0], rates[n - 1],
		       bench_median(rates, n) / base, n);
	}
	printf("\n");
	free(rates);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS;
	struct ring *ring = bench_shared(sizeof(*ring));
	struct sample *samples;

	if (rounds < 1 || rounds > 1000)
		errx(2, "usage: ring_variants [rounds]");
	samples = calloc((size_t)NVARIANTS * (size_t)rounds, sizeof(*samples));
	if (!ring || !samples)
		errx(1, "no memory");
	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < NVARIANTS; i++) {
			struct sample *s = &samples[i * rounds + round];

			s->ping_ns = run_ns(ring, near_ping, far_ping) / PING_COUNT;
			s->rate = COUNT * 1e3 / run_ns(ring, variants[i].near, variants[i].far);
		}
	}
	print_table("line round trip below 110 ns (threads of one core)", samples, rounds, 0,
		    NEAR_BELOW_NS);
	print_table("line round trip from 110 ns (two cores)", samples, rounds, NEAR_BELOW_NS, 1e9);
	free(samples);
	bench_shared_free(ring, sizeof(*ring));
	return 0;
}
