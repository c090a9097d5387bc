/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sub_begin.c - where reading begins in each ring: joining, steps 1 and 3, as the subscription's start has it. What
 * a stream has on disk sub_disk_begin.c knows.
 */
#include "api/sub_internal.h"

/* The time stamp of a ring's newest message; 0: it has none. */
static uint64_t newest_time(const struct sub_ring *r, uint64_t *seq)
{
	uint64_t head = bus_load_acquire(&r->rd.view.page->head);
	const struct ring_slot *slot;

	if (head <= r->rd.cur)
		return 0;
	*seq = head - 1;
	slot = ring_slot_of(&r->rd.view, head - 1);
	return bus_load_acquire(&slot->commit) >= head ? bus_load_relaxed(&slot->time) : 0;
}

/* BUS_START_LAST: of each topic's rings the one whose newest message is the newest begins there. */
static void choose_last(struct bus_sub *sub, struct sub_topic *topic)
{
	struct sub_ring *best = NULL;
	uint64_t best_time = 0, best_seq = 0;

	for (uint32_t i = 0; i < sub->ring_count; i++) {
		uint64_t seq = 0, time;

		if (sub->rings[i]->topic != topic)
			continue;
		time = newest_time(sub->rings[i], &seq);
		if (time > best_time) {
			best = sub->rings[i];
			best_time = time;
			best_seq = seq;
		}
	}
	if (best != NULL) {
		best->chosen = true;
		best->rd.cur = best->rd.ahead = best_seq;
	}
}

/* A ring that follows one which we read: what lies between is not a start, it is a loss. */
static void count_hole(struct sub_ring *r, uint64_t was)
{
	if (r->active)
		return;
	r->rd.lost += r->rd.cur - was;
	r->rd.lost_unsaid += r->rd.cur - was;
}

/* A stream in memory: so many before the end, or all that the ring holds. */
static void begin_back(struct sub_ring *r, uint64_t n)
{
	uint64_t head = bus_load_acquire(&r->rd.view.page->head);

	ring_reader_begin_oldest(&r->rd);
	if (head > n && head - n > r->rd.cur)
		r->rd.cur = r->rd.ahead = head - n;
}

/* Step 1 for one ring: writes its cursor and tags it. */
static void begin(struct bus_sub *sub, struct sub_ring *r)
{
	uint64_t was = r->rd.cur;

	if (r->disk != NULL && bus__sub_disk_begin(r)) {
		ring_reader_tag(&r->rd);
		return;
	}
	if (sub->start == BUS_START_SEQ) {
		bus__sub_stream_begin(r, sub->start_seq);
	} else if (sub->start == BUS_START_OLDEST || sub->start == BUS_START_TIME) {
		ring_reader_begin_oldest(&r->rd);
		count_hole(r, was);
	} else if (sub->start == BUS_START_BACK && r->stream != NULL) {
		begin_back(r, sub->start_back);
	} else if (!r->chosen) {
		r->rd.cur = r->rd.ahead =
			bus_max_u64(r->rd.cur, bus_load_acquire(&r->rd.view.page->head));
	}
	ring_reader_tag(&r->rd);
}

/*
 * Step 3 for one ring. What was overwritten before the publisher heard of us was never ours; after
 * a start in the past all that came since step 1 is.
 */
static void joined(struct bus_sub *sub, struct sub_ring *r)
{
	if (sub->start == BUS_START_NOW || (sub->start == BUS_START_BACK && r->stream == NULL)) {
		ring_reader_joined_now(&r->rd);
	} else if (sub->start == BUS_START_SEQ || (r->disk != NULL && sub->start != BUS_START_LAST)) {
		ring_reader_flush(&r->rd);
	} else {
		uint64_t was = r->rd.cur;

		ring_reader_begin_oldest(&r->rd);
		ring_reader_skip_gone(&r->rd);
		count_hole(r, was);
		ring_reader_flush(&r->rd);
	}
	r->unbegun = false;
}

void bus__sub_begin(struct bus_sub *sub)
{
	if (sub->start == BUS_START_LAST)
		for (struct sub_topic *t = sub->topics; t != NULL; t = t->next)
			choose_last(sub, t);
	for (uint32_t i = 0; i < sub->ring_count; i++)
		if (sub->rings[i]->unbegun)
			begin(sub, sub->rings[i]);
}

void bus__sub_joined(struct bus_sub *sub)
{
	for (uint32_t i = 0; i < sub->ring_count; i++)
		if (sub->rings[i]->unbegun)
			joined(sub, sub->rings[i]);
	sub->joined = true;
}

void bus__sub_begin_late(struct bus_sub *sub)
{
	for (uint32_t i = 0; i < sub->ring_count; i++) {
		if (!sub->rings[i]->unbegun)
			continue;
		/*
		 * BUS_START_LAST: it came after us, so its first message is newer than our last
		 * one.
		 */
		if (sub->start == BUS_START_LAST)
			ring_reader_tag(&sub->rings[i]->rd);
		else
			begin(sub, sub->rings[i]);
		joined(sub, sub->rings[i]);
	}
}
