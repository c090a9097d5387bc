/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/ring.h"

#if defined(__SANITIZE_THREAD__)
_Atomic uint32_t bus__tsan_fence_word; /* see base/atomic.h */
#endif

void ring_view_init(struct ring_view *view, void *base, const struct ring_geometry *geo)
{
	uint8_t *bytes = base;

	view->page = base;
	view->slots = (struct ring_slot *)(void *)(bytes + geo->slots_off);
	view->payload = bytes + geo->payload_off;
	view->slot_mask = geo->slots - 1;
	view->byte_mask = geo->bytes - 1;
	view->slot_count = geo->slots;
	view->bytes = geo->bytes;
}

bool ring_geometry_ok(const struct ring_geometry *geo, uint64_t page_bytes)
{
	if (!ring_features_ok(geo))
		return false;
	if (!bus_is_pow2(geo->slots) || geo->slots < RING_MIN_SLOTS || geo->slots > RING_MAX_SLOTS)
		return false;
	if (!bus_is_pow2(geo->bytes) || geo->bytes < RING_MIN_BYTES || geo->bytes > RING_MAX_BYTES)
		return false;
	if (geo->bytes % page_bytes != 0 || geo->payload_off % page_bytes != 0)
		return false;
	if (geo->slots_off < sizeof(struct ring_writer_page) || geo->slots_off % BUS_LINE_PAIR != 0)
		return false;
	if (geo->payload_off > RING_MAX_BYTES || geo->slots_off > geo->payload_off ||
	    geo->payload_off - geo->slots_off < (uint64_t)geo->slots * RING_SLOT_BYTES)
		return false;
	return geo->size == geo->payload_off + geo->bytes;
}

void ring_writer_init(struct ring_writer_page *page, uint64_t first_seq)
{
	bus_store_relaxed(&page->frontier_seq, first_seq);
	bus_store_release(&page->head, first_seq);
}
