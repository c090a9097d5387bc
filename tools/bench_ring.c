/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_ring.c - the ideal ring of bench_limits.h: what one writer and one reader can move at best,
 * message by message, if nothing is asked of a ring but to keep their order.
 */
#include "bench_limits.h"

#include "bench_message.h"
#include "bench_pair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FLUSHES_PER_LAP   8
#define BYTES_UNTIL_CLOCK (64u << 10) /* between two looks at the clock */
#define ALWAYS_INLINE     inline __attribute__((always_inline))

struct ideal_slot {
	uint64_t commit; /* number + 1 */
	uint64_t pos;
	uint64_t in[BENCH_RING_IN_SLOT / 8];
};
_Static_assert(sizeof(struct ideal_slot) == BENCH_LINE, "a slot is one line");

/*
 * The words of each side on a pair of lines of their own. Behind the slots: the payload, from a
 * page of its own.
 */
struct ideal_ring {
	uint64_t cursor, cursor_pos, pad0[14]; /* reader */
	uint64_t last, pad1[15]; /* writer: how many it wrote, + 1, once it has stopped */
	uint64_t begin_ns, end_ns, count, sum, pad2[12];
	struct ideal_slot slots[];
};

struct ring_plan {
	struct bench_ring_shape shape;
	uint64_t ns;
	size_t payload_off;
	struct bench_source source;
};

static ALWAYS_INLINE uint64_t step_of(uint32_t size)
{
	return size <= BENCH_RING_IN_SLOT
		       ? 0
		       : (size + BENCH_LINE - 1) / BENCH_LINE * (uint64_t)BENCH_LINE;
}

/* Where a message of size bytes that should begin at pos begins: it does not wrap. */
static ALWAYS_INLINE uint64_t place(uint64_t pos, uint64_t bytes, uint32_t size)
{
	uint64_t to_end = bytes - (pos & (bytes - 1));

	return to_end < size ? pos + to_end : pos;
}

/* shape is a constant in its parts where the caller's is: one loop is compiled for each kind. */
static ALWAYS_INLINE void write_one(struct ideal_ring *r, const struct ring_plan *plan,
				    const struct bench_ring_shape shape, uint64_t n, uint64_t *pos)
{
	struct ideal_slot *slot = &r->slots[n & (shape.slots - 1)];
	char *payload = (char *)r + plan->payload_off;

	if (shape.size <= BENCH_RING_IN_SLOT) {
		memcpy(slot->in, bench_source_of(&plan->source, n), shape.size);
		return;
	}
	*pos = place(*pos, shape.bytes, shape.size);
	payload += *pos & (shape.bytes - 1);
	if (!shape.untouched && shape.in_place)
		bench_message_make(payload, shape.size, n);
	if (!shape.untouched && !shape.in_place)
		memcpy(payload, bench_source_of(&plan->source, n), shape.size);
	__atomic_store_n(&slot->pos, *pos, __ATOMIC_RELAXED);
	*pos += step_of(shape.size);
}

static ALWAYS_INLINE void write_all(struct ideal_ring *r, const struct ring_plan *plan,
				    const struct bench_ring_shape shape)
{
	struct bench_patience patience = { 0 };
	uint64_t batch = shape.batch, step = step_of(shape.size), n = 0, pos = 0, gate = 0,
		 gate_pos = 0;
	uint64_t need = step * batch + (step && shape.bytes % step ? step : 0), look = 0;

	r->begin_ns = bench_now_ns();
	for (;;) {
		if (n >= look) {
			if (bench_now_ns() - r->begin_ns >= plan->ns)
				break;
			look = n + BYTES_UNTIL_CLOCK / (BENCH_LINE + step) + 1;
		}
		while (n + batch - gate > shape.slots || pos + need - gate_pos > shape.bytes) {
			gate = bench_load_acquire(&r->cursor);
			gate_pos = __atomic_load_n(&r->cursor_pos, __ATOMIC_RELAXED);
			bench_patience_look(&patience);
		}
		for (uint64_t i = 0; i < batch; i++)
			write_one(r, plan, shape, n + i, &pos);
		for (uint64_t i = 0; i < batch; i++)
			bench_store_release(&r->slots[(n + i) & (shape.slots - 1)].commit, n + i + 1);
		n += batch;
	}
	bench_store_release(&r->last, n + 1);
}

struct reader_place {
	uint64_t n, pos, flushed, flushed_pos;
};

static ALWAYS_INLINE void flush(struct ideal_ring *r, struct reader_place *at)
{
	__atomic_store_n(&r->cursor_pos, at->pos, __ATOMIC_RELAXED);
	bench_store_release(&r->cursor, at->n);
	at->flushed = at->n;
	at->flushed_pos = at->pos;
}

static ALWAYS_INLINE uint64_t read_one(struct ideal_ring *r, const struct ring_plan *plan,
				       const struct bench_ring_shape shape, struct ideal_slot *slot,
				       uint64_t *pos)
{
	const char *payload = (char *)r + plan->payload_off;
	uint64_t sum = 0;

	if (shape.size <= BENCH_RING_IN_SLOT)
		return bench_message_read(slot->in, shape.size);
	*pos = __atomic_load_n(&slot->pos, __ATOMIC_RELAXED);
	if (!shape.untouched)
		sum = bench_message_read(payload + (*pos & (shape.bytes - 1)), shape.size);
	*pos += step_of(shape.size);
	return sum;
}

static ALWAYS_INLINE void read_all(struct ideal_ring *r, const struct ring_plan *plan,
				   const struct bench_ring_shape shape)
{
	struct bench_patience patience = { 0 };
	struct reader_place at = { 0 };
	uint64_t sum = 0;

	for (;;) {
		struct ideal_slot *slot = &r->slots[at.n & (shape.slots - 1)];

		while (bench_load_acquire(&slot->commit) != at.n + 1) {
			if (at.flushed != at.n)
				flush(r, &at);
			if (bench_load_acquire(&r->last) == at.n + 1)
				goto end;
			bench_cpu_relax();
			bench_patience_look(&patience);
		}
		sum += read_one(r, plan, shape, slot, &at.pos);
		at.n++;
		if (at.n - at.flushed >= shape.slots / FLUSHES_PER_LAP ||
		    at.pos - at.flushed_pos >= shape.bytes / FLUSHES_PER_LAP)
			flush(r, &at);
	}
end:
	r->end_ns = bench_now_ns();
	r->sum = sum;
	r->count = at.n;
}

/* ---- one loop for each kind of shape: else a test per message of it would be measured too ---- */

#define KIND(name, ...) \
	static void name##_near(void *arg, void *mem) \
	{ \
		const struct ring_plan *plan = (const struct ring_plan *)arg; \
		struct bench_ring_shape shape = plan->shape; \
\
		__VA_ARGS__; \
		write_all(mem, plan, shape); \
	} \
	static void name##_far(void *arg, void *mem) \
	{ \
		const struct ring_plan *plan = (const struct ring_plan *)arg; \
		struct bench_ring_shape shape = plan->shape; \
\
		__VA_ARGS__; \
		read_all(mem, plan, shape); \
	}

KIND(slot_single, shape.size = BENCH_RING_IN_SLOT; shape.batch = 1)
KIND(slot_batch, shape.size = BENCH_RING_IN_SLOT)
KIND(line_single, shape.size = BENCH_LINE; shape.batch = 1; shape.in_place = shape.untouched = 0)
KIND(line_batch, shape.size = BENCH_LINE; shape.in_place = shape.untouched = 0)
KIND(copied, shape.in_place = shape.untouched = 0)
KIND(made, shape.in_place = 1; shape.untouched = 0)
KIND(untouched, shape.untouched = 1)

static void choose_kind(const struct bench_ring_shape *shape, struct bench_two *two)
{
	bool single = shape->batch == 1;

	if (shape->size <= BENCH_RING_IN_SLOT) {
		two->near = single ? slot_single_near : slot_batch_near;
		two->far = single ? slot_single_far : slot_batch_far;
	} else if (shape->size == BENCH_LINE && !shape->in_place && !shape->untouched) {
		two->near = single ? line_single_near : line_batch_near;
		two->far = single ? line_single_far : line_batch_far;
	} else if (shape->untouched) {
		two->near = untouched_near;
		two->far = untouched_far;
	} else {
		two->near = shape->in_place ? made_near : copied_near;
		two->far = shape->in_place ? made_far : copied_far;
	}
}

static bool is_pow2(uint64_t x)
{
	return x && !(x & (x - 1));
}

int bench_limit_ring(const struct bench_ring_shape *shape, uint64_t ns, struct bench_rate *ret)
{
	struct ring_plan plan = { .shape = *shape, .ns = ns };
	struct bench_two two = { .arg = &plan };
	struct ideal_ring *r;
	int err;

	if (plan.shape.batch == 0)
		plan.shape.batch = 1;
	if (!is_pow2(shape->slots) || !is_pow2(shape->bytes) || plan.shape.batch > shape->slots ||
	    (step_of(shape->size) + BENCH_LINE) * plan.shape.batch >
		    shape->bytes + BENCH_LINE * plan.shape.batch)
		return -EINVAL;
	plan.payload_off = (sizeof(*r) + shape->slots * sizeof(r->slots[0]) + 4095) / 4096 * 4096;
	two.bytes = plan.payload_off + shape->bytes;
	if (bench_source_open(&plan.source, shape->size) < 0)
		return -ENOMEM;
	two.mem = r = bench_shared(two.bytes);
	if (!r) {
		bench_source_close(&plan.source);
		return -ENOMEM;
	}
	choose_kind(&plan.shape, &two);
	err = bench_two_run(&two);
	if (!err) {
		ret->messages_per_second = (double)r->count * 1e9 / (double)(r->end_ns - r->begin_ns);
		ret->bytes_per_second = ret->messages_per_second * shape->size;
	}
	bench_shared_free(r, two.bytes);
	bench_source_close(&plan.source);
	return err;
}
