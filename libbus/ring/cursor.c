/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/cursor.h"

void ring_reader_init(struct ring_reader *rd, const struct ring_view *view, uint64_t ring_id,
		      struct cursor_entry *entry, const _Atomic uint32_t *closed,
		      uint32_t closed_value, uint64_t start)
{
	*rd = (struct ring_reader){
		.view = *view,
		.ahead = start,
		.cur = start,
		.flushed = start,
		.first = start,
		.flush_every = bus_max_u64(1, view->slot_count / 8),
		.flush_bytes = bus_max_u64(1, view->bytes / 8),
		.entry = entry,
		.ring_id = ring_id,
		.closed = closed,
		.closed_value = closed_value,
	};
}

void ring_reader_tag(struct ring_reader *rd)
{
	rd->flushed = rd->cur;
	/* An entry that is used again never shows the old ring a new cursor. */
	bus_store_release(&rd->entry->ring_id, RING_MUTANT(tag_before_cursor) ? rd->ring_id : 0);
	bus_store_relaxed(&rd->entry->lost, rd->lost);
	bus_store_relaxed(&rd->entry->delivered, rd->delivered);
	bus_store_release(&rd->entry->cursor, rd->cur);
	bus_store_release(&rd->entry->ring_id, rd->ring_id);
}

void ring_reader_joined_now(struct ring_reader *rd)
{
	uint64_t head;

	if (!RING_MUTANT(no_f3))
		bus_fence_seq_cst(); /* F3 */
	head = RING_MUTANT(head_not_reread) ? rd->cur : bus_load_acquire(&rd->view.page->head);
	if (head > rd->cur || RING_MUTANT(joined_goes_back))
		rd->cur = head;
	rd->ahead = rd->cur;
	ring_reader_flush(rd);
}

/*
 * The publisher may be writing below the frontier at this moment, so frontier - slots is the first
 * message whose slot is safe from now on. Whether its payload is too shows when it is peeked; until
 * then nothing counts as lost.
 */
void ring_reader_begin_oldest(struct ring_reader *rd)
{
	uint64_t frontier, head, oldest;

	bus_fence_seq_cst(); /* F3 */
	frontier = bus_load_acquire(&rd->view.page->frontier_seq);
	head = bus_load_acquire(&rd->view.page->head);
	oldest = frontier > rd->view.slot_count ? frontier - rd->view.slot_count : 0;
	if (oldest > head)
		oldest = head;
	if (oldest > rd->cur)
		rd->cur = oldest;
	rd->ahead = rd->cur;
}

void ring_reader_flush(struct ring_reader *rd)
{
	uint32_t w;

	rd->flushed = rd->cur;
	bus_store_relaxed(&rd->entry->lost, rd->lost);
	bus_store_relaxed(&rd->entry->delivered, rd->delivered);
	bus_store_release(&rd->entry->cursor,
			  rd->cur); /* what lies below has been read: A-cursor in refresh */
	if (!RING_MUTANT(no_w2))
		bus_fence_seq_cst(); /* W2, pairs with the publisher's W3 */
	w = bus_load_acquire(&rd->view.page->waiting);
	if (w != 0 && w != rd->woken &&
	    (rd->cur >= bus_load_relaxed(&rd->view.page->wake_at) || RING_MUTANT(wake_at_unread)) &&
	    rd->wake(rd))
		rd->woken = w;
}

/*
 * The shared head proves progress, but lags: what was seen overwritten is gone even if head does
 * not say so yet. Going on right at head would lose more than it must; a quarter of a lap behind it
 * leaves time to read. Below the ring's first number nobody ever wrote.
 */
void ring_reader_lapped(struct ring_reader *rd)
{
	uint64_t head = bus_load_acquire(&rd->view.page->head);
	uint64_t to = head > rd->view.slot_count / 4 ? head - rd->view.slot_count / 4 : 0;

	to = bus_max_u64(to, rd->first);
	if (to <= rd->cur)
		to = head;
	if (to <= rd->cur)
		to = rd->cur + 1;
	rd->lost += to - rd->cur;
	rd->lost_unsaid += to - rd->cur;
	rd->cur = to;
	rd->ahead = to;
	ring_reader_flush(rd);
}

bool ring_reader_skip_hole(struct ring_reader *rd)
{
	uint64_t begin;

	if (!rd->late || rd->ahead != rd->cur)
		return false;
	begin = bus_load_acquire(&rd->view.page->begin_seq);
	if (begin == 0)
		return false;
	rd->late = false;
	if (begin - 1 <= rd->cur)
		return false;
	if (rd->follows) { /* a ring between the two that we were never told of */
		rd->lost += begin - 1 - rd->cur;
		rd->lost_unsaid += begin - 1 - rd->cur;
	}
	rd->cur = rd->ahead = begin - 1;
	ring_reader_flush(rd);
	return true;
}

bool ring_reader_ready(const struct ring_reader *rd)
{
	if (rd->drained)
		return false;
	if (bus_load_acquire(&ring_slot_of(&rd->view, rd->ahead)->commit) > rd->ahead)
		return true;
	if (RING_MUTANT(ready_ignores_end))
		return false;
	return bus_load_acquire(&rd->view.page->final_seq) == rd->ahead + 1 ||
	       bus_load_acquire(rd->closed) == rd->closed_value;
}

bool ring_reader_drained(struct ring_reader *rd)
{
	const _Atomic uint64_t *last = RING_MUTANT(drained_by_head)
					       ? &rd->view.page->head
					       : &ring_slot_of(&rd->view, rd->cur)->commit;

	if (bus_load_acquire(&rd->view.page->final_seq) != rd->cur + !RING_MUTANT(final_zero)) {
		if (bus_load_acquire(rd->closed) != rd->closed_value)
			return false;
		/*
		 * Closed: look once more, by the commit word. head lags, and the last message may
		 * have come just before.
		 */
		if (!RING_MUTANT(drained_no_second_look) && bus_load_acquire(last) > rd->cur)
			return false;
	}
	rd->drained = true;
	return true;
}

void ring_reader_park(struct ring_reader *rd)
{
	uint32_t w;

	bus_store_release(&rd->entry->cursor, CURSOR_PARKED);
	bus_fence_seq_cst(); /* W2 */
	w = bus_load_acquire(&rd->view.page->waiting);
	if (w != 0 && w != rd->woken && rd->wake(rd))
		rd->woken = w;
}
