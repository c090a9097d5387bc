/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_limits.h - what this machine can do at best, measured between two processes on two
 * processors over one shared mapping, without the bus: the other half of every ratio.
 *
 * Each call takes about `ns` and forks a child for it. They are to be called in turn with what is
 * judged by them, many short rounds each: the speed of a machine, of a virtual one above all,
 * changes from second to second.
 *
 * All return 0 or a negative errno.
 */
#ifndef BENCH_LIMITS_H
#define BENCH_LIMITS_H

#include "bench_histogram.h"

#include <stdint.h>

/*
 * Hand-over of a message of `lines` cache lines and back again, both processes awake: all lines are
 * written, the last word of the last line is the signal, the other reads all lines and answers
 * likewise. With and without a pause in the wait loop: which is faster depends on whether the
 * processors share a core. *h gets the one with the lower median.
 */
int bench_limit_round_trip(int lines, uint64_t ns, struct bench_histogram *h);
#define BENCH_LIMIT_MAX_LINES (1 << 20)

/* The same of one word, each process asleep in FUTEX_WAIT until the other wakes it. */
int bench_limit_asleep(uint64_t ns, struct bench_histogram *h);

/*
 * The ideal ring: one writer, one reader, slots of one line that carry their own sequence number,
 * no fence, no time stamp, no waiting; the reader's position is stored 8 times per lap and read by
 * the writer when it needs room.
 */
struct bench_ring_shape {
	uint32_t slots; /* power of two */
	uint64_t bytes; /* payload area, power of two; messages up to half of it */
	uint32_t size;  /* of a message; up to BENCH_RING_IN_SLOT it travels in the slot itself */
	/* messages written before the first of them is committed; 0 and 1: each alone */
	uint32_t batch;
	int in_place;  /* the writer makes the bytes in the ring, else copies them there */
	int untouched; /* nobody writes or reads the payload: the hand-over alone */
};
#define BENCH_RING_IN_SLOT 48

struct bench_rate {
	double messages_per_second;
	double bytes_per_second;
};
int bench_limit_ring(const struct bench_ring_shape *shape, uint64_t ns, struct bench_rate *ret);

/* memcpy of 16 KiB in cache and of 64 MiB to memory, bytes per second of what is copied. */
struct bench_copy_rate {
	double in_cache, to_memory;
};
int bench_limit_memcpy(uint64_t ns, struct bench_copy_rate *ret);

#endif
