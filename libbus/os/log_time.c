/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_time.c - finding messages by their time in one segment: a binary search over slots of which any may be
 * damaged. Of a message only slot and head are read, since the checksum over them covers the time.
 */
#include <stdlib.h>

#include "os/log_own.h"

#define PAGE_SLOTS (4096 / RING_SLOT_BYTES)

struct probe {
	const struct log_segment *seg;
	uint64_t from, to; /* slots held */
	uint8_t *head;     /* room for the largest, once one was needed */
	struct log_slot slots[PAGE_SLOTS];
};

/* Holds the page that slot seq lies in, as far as it can be read. */
static bool probe_load(struct probe *p, uint64_t seq)
{
	uint64_t first = seq - (seq - p->seg->header.base_seq) % PAGE_SLOTS;
	ssize_t got;

	if (seq >= p->from && seq < p->to)
		return true;
	got = log_pread_whole(p->seg->pread, p->seg->fd, p->slots, sizeof(p->slots),
			      log_slot_off(p->seg, first));
	if (got < 0)
		got = 0;
	p->from = first;
	p->to = first + (uint64_t)got / RING_SLOT_BYTES;
	return seq < p->to;
}

/* The head of a message, which the checksum over its slot covers; NULL: it cannot be read. */
static const uint8_t *probe_head(struct probe *p, const struct log_message *msg)
{
	const struct log_segment *seg = p->seg;
	uint64_t off = seg->header.payload_off + (msg->pos - seg->header.base_pos);

	if (p->head == NULL)
		p->head = malloc(UINT16_MAX);
	if (p->head == NULL ||
	    log_pread_whole(seg->pread, seg->fd, p->head, msg->head_len, off) != msg->head_len)
		return NULL;
	return p->head;
}

static bool probe_time(struct probe *p, uint64_t seq, uint64_t *time)
{
	const struct log_slot *slot;
	const uint8_t *head = NULL;
	struct log_message msg;

	if (!probe_load(p, seq))
		return false;
	slot = &p->slots[seq - p->from];
	if (log_slot_parse(p->seg, seq, slot, &msg) != LOG_SOUND)
		return false;
	if (msg.head_len != 0) {
		head = probe_head(p, &msg);
		if (head == NULL)
			return false;
	}
	if (!log_head_whole(p->seg, slot, &msg, head))
		return false;
	*time = msg.time;
	return true;
}

static uint64_t probe_first(struct probe *p, uint64_t seq, uint64_t end, uint64_t *time)
{
	for (; seq < end; seq++)
		if (probe_time(p, seq, time))
			break;
	return seq;
}

uint64_t log_segment_time(const struct log_segment *seg, uint64_t seq, uint64_t end, uint64_t *time)
{
	struct probe p = { .seg = seg };

	seq = probe_first(&p, seq, end, time);
	free(p.head);
	return seq;
}

uint64_t log_segment_find_time(const struct log_segment *seg, uint64_t time, uint64_t end)
{
	struct probe p = { .seg = seg };
	uint64_t low = seg->header.base_seq, high = bus_min_u64(end, seg->limit);

	/* all good ones below low are older, all good ones from high on are not */
	while (low < high) {
		uint64_t middle = low + (high - low) / 2, when;
		uint64_t at = probe_first(&p, middle, high, &when);

		if (at == high || when >= time)
			high = middle;
		else
			low = at + 1;
	}
	free(p.head);
	return low;
}
