/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.h - one mapped ring, as its publisher or a reader holds it: addresses and masks, all from
 * busd's geometry.
 *
 * The algorithms are beside it: publish.h (claim, commit, wake), gate.h (who holds the publisher
 * back), consume.h (peek, release), cursor.h (flush, lap, end). None of them makes a system call or
 * allocates; what must be woken is told to the caller by a function that it provides. The protocol
 * is docs/memory-model.md; labels F1, R1, ... are its.
 */
#ifndef BUS_RING_H
#define BUS_RING_H

#include "base/atomic.h"
#include "base/base.h"
#include "format/ring_layout.h"
#include "ring/mutants.h"

struct ring_view {
	struct ring_writer_page *page;
	struct ring_slot *slots;
	uint8_t *payload; /* 2 x bytes of address space: no message wraps */
	uint64_t slot_mask;
	uint64_t byte_mask;
	uint64_t slot_count;
	uint64_t bytes;
};

/*
 * Fills a view from a geometry and the address at which the segment is mapped (payload twice). The
 * geometry must have passed ring_geometry_ok().
 */
void ring_view_init(struct ring_view *view, void *base, const struct ring_geometry *geo);

/*
 * Whether a geometry that came over the control socket can be mapped and used without further
 * checks.
 */
static inline bool ring_features_ok(const struct ring_geometry *geo)
{
	return (geo->features & ~RING_FEATURES_KNOWN) == 0;
}
bool ring_geometry_ok(const struct ring_geometry *geo, uint64_t page_bytes);

/*
 * Prepares a zeroed writer page for a ring whose first message is number first_seq. By the
 * publisher, before READY.
 */
void ring_writer_init(struct ring_writer_page *page, uint64_t first_seq);

static inline struct ring_slot *ring_slot_of(const struct ring_view *view, uint64_t seq)
{
	return &view->slots[seq & view->slot_mask];
}

/* Payload area that a message needs: nothing if it travels in the slot. */
static inline uint64_t ring_need(uint32_t head_len, uint32_t len)
{
	uint64_t total = (uint64_t)head_len + len;

	return total <= RING_INLINE_MAX ? 0 : BUS_ALIGN_UP(total, (uint64_t)RING_POS_ALIGN);
}

/* The largest message, head included, that a ring of this payload area takes: a quarter of it. */
static inline uint64_t ring_message_max(uint64_t bytes)
{
	return bus_max_u64(bytes / 4, RING_INLINE_MAX);
}

#endif
