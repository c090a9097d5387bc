/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sub_disk_begin.c - where a subscription begins in a stream that is kept on disk: as its start has it, or where a former
 * busd's ring of the stream ended for it.
 */
#include <string.h>

#include "api/sub_disk.h"

static void stand_at(struct sub_ring *r, uint64_t seq)
{
	r->rd.cur = r->rd.ahead = seq;
	/* the first look says whether the ring has it */
	r->from_disk = seq < bus_load_acquire(&r->rd.view.page->head);
	r->disk->seek = SEEK_NUMBER;
}

static void begin_oldest(struct sub_ring *r)
{
	stand_at(r, bus_load_relaxed(&r->topic->board->log.oldest_seq));
	r->disk->starting = true;
}

/* So many before what is the end now. The ring has no holes; what lies before it may have some. */
static void begin_back(struct sub_ring *r, uint64_t n)
{
	uint64_t head = bus_load_acquire(&r->rd.view.page->head), oldest;

	ring_reader_begin_oldest(&r->rd);
	oldest = r->rd.cur;
	if (head < oldest || head - oldest >= n) {
		stand_at(r, bus_max_u64(head, n) - n);
		return;
	}
	stand_at(r, bus_load_relaxed(&r->topic->board->log.oldest_seq));
	r->from_disk = true;
	r->disk->starting = true;
	r->disk->seek = SEEK_BACK;
	r->disk->seek_end = oldest;
	r->disk->seek_value = n - (head - oldest);
}

static void begin_time(struct sub_ring *r, uint64_t time)
{
	struct ring_peeked p;

	ring_reader_begin_oldest(&r->rd);
	if (ring_reader_peek(&r->rd, &p) == RING_MESSAGE && p.time < time)
		return; /* from there on the ring has it, or will */
	begin_oldest(r);
	r->from_disk = true;
	r->disk->seek = SEEK_TIME;
	r->disk->seek_value = time;
}

static struct sub_end *find_end(const struct bus_sub *sub, const struct sub_ring *r)
{
	struct sub_end *end = sub->ends;

	while (end != NULL && strcmp(end->topic, r->topic->name) != 0)
		end = end->next;
	return end;
}

void bus__sub_disk_ended(struct sub_ring *r, uint64_t seq)
{
	struct bus_sub *sub = r->sub;
	struct sub_end *end;

	if (r->disk == NULL)
		return;
	end = find_end(sub, r);
	if (end == NULL) {
		end = r->disk->end;
		r->disk->end = NULL;
		memcpy(end->topic, r->topic->name, sizeof(end->topic));
		end->next = sub->ends;
		sub->ends = end;
	}
	end->seq = seq;
	end->gen = r->gen;
}

void bus__sub_disk_go_on(struct bus_sub *sub, struct sub_ring *r)
{
	const struct sub_end *end = r->disk != NULL && r->active ? find_end(sub, r) : NULL;

	if (end != NULL && end->gen < r->gen)
		bus__sub_disk_begin_at(r, end->seq);
}

bool bus__sub_disk_begin(struct sub_ring *r)
{
	const struct bus_sub *sub = r->sub;
	const struct sub_end *end = find_end(sub, r);

	if (end != NULL && end->gen < r->gen) {
		bus__sub_disk_begin_at(r, end->seq);
		return true;
	}
	switch (sub->start) {
	case BUS_START_OLDEST:
		begin_oldest(r);
		return true;
	case BUS_START_SEQ:
		stand_at(r, sub->start_seq);
		return true;
	case BUS_START_BACK:
		begin_back(r, sub->start_back);
		return true;
	case BUS_START_TIME:
		begin_time(r, sub->start_time_ns);
		return true;
	default:
		return false;
	}
}

void bus__sub_disk_begin_at(struct sub_ring *r, uint64_t seq)
{
	/* a number that it has not come to: another stream of that name */
	if (seq > bus_load_acquire(&r->rd.view.page->head))
		begin_oldest(r);
	else
		stand_at(r, seq);
	if (seq == r->rd.cur)
		r->disk->starting = false;
	ring_reader_flush(&r->rd);
}
