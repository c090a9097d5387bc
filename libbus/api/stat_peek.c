/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_peek.c - copies of the newest messages that a topic's rings hold. Called by stat.c and by
 * unit tests. Nobody waits for an observer, so it reads as a lossy reader does: slot, bytes, then
 * the frontier; what may have been overwritten meanwhile is thrown away.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/stat_internal.h"

#define PEEK_TRIES \
	8 /* a busy ring moves on while it is looked at; each try begins at its new head */

struct found {
	const struct stat_ring *ring;
	uint32_t line; /* of the board */
	struct ring_peeked slot;
	uint32_t src; /* of a stream's message: whose */
};

/*
 * By time stamp, which publishers write as they like: a total order all the same, or qsort() has
 * none. Within a ring, equal stamps are told apart by number.
 */
static int newest_first(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->slot.time != y->slot.time)
		return x->slot.time > y->slot.time ? -1 : 1;
	if (x->ring->ring_id != y->ring->ring_id)
		return x->ring->ring_id > y->ring->ring_id ? -1 : 1;
	return x->slot.seq > y->slot.seq ? -1 : x->slot.seq < y->slot.seq;
}

/* The newest slots of one ring, at most n; returns how many. */
static int find_newest(const struct stat_ring *ring, uint32_t line, int n, struct found *ret)
{
	uint64_t head = bus_load_acquire(&ring->view.page->head);
	int count = 0;

	for (uint64_t back = 1; back <= ring->view.slot_count && count < n; back++) {
		enum ring_look look;

		if (head < ring->first_seq + back)
			break;
		look = bus__stat_slot(ring, head - back, &ret[count].slot);
		if (look == RING_LAPPED)
			break; /* and so is everything older */
		if (look != RING_MESSAGE)
			continue;
		ret[count].ring = ring;
		ret[count].line = line;
		if (ring->stream)
			ret[count].src = (uint32_t)bus_load_relaxed(
				&ring_slot_of(&ring->view, head - back)->in[1]);
		count++;
	}
	return count;
}

/* A copy of head and payload. false: it was overwritten meanwhile. NULL in *ret: no memory. */
static bool copy_message(const struct found *f, void **ret)
{
	const struct ring_peeked *p = &f->slot;
	size_t total = (size_t)p->head_len + p->len;
	const struct ring_view *v = &f->ring->view;

	*ret = malloc(total + 1);
	if (!*ret)
		return true;
	if (p->flags & RING_FLAG_INLINE) {
		memcpy(*ret, p->in, total); /* private since the slot was read */
		return true;
	}
	memcpy(*ret, v->payload + (p->pos & v->byte_mask), total);
	bus_fence_acquire(); /* A1: the bytes were read before this look at the frontier */
	if (!ring_overwritten(v, p->seq, p->pos))
		return true;
	free(*ret);
	return false;
}

static void fill_message(const struct found *f, const struct bus_calibration *clock, void *copy,
			 const struct bus_peer *from, const char *topic, struct bus_msg *ret)
{
	const struct ring_peeked *p = &f->slot;
	const char *bytes = copy;

	*ret = (struct bus_msg){
		.data = bytes + p->head_len,
		.len = p->len,
		.flags = p->flags,
		.seq = p->seq,
		.time_ns = f->ring->stream ? p->time
			   : clock         ? bus_counter_to_ns(clock, p->time)
					   : 0,
		.key = p->key_len ? bytes : NULL,
		.key_len = (uint8_t)p->key_len,
		.key_hash = p->key_hash,
		.topic = topic,
		.from = from,
	};
	if (p->flags & RING_FLAG_HEADERS) {
		ret->headers = bytes + p->key_len;
		ret->headers_len = p->head_len - p->key_len;
	}
}

/*
 * Copies what was found, oldest first, leaving out what was overwritten. Returns how many, or
 * -ENOMEM.
 */
static int copy_found(const struct stat_board *board, struct found *found, int count,
		      struct stat_peeked *ret)
{
	struct bus_calibration clock;
	bool has_clock = bus__stat_board_clock(board, &clock);

	for (int i = count - 1; i >= 0; i--) {
		struct bus_peer *peer = &ret->peers[ret->count];
		struct board_ring *line = &ret->rings[ret->count];
		void *copy;

		if (!copy_message(&found[i], &copy))
			continue;
		if (!copy)
			return -ENOMEM;
		ret->copies[ret->count] = copy;
		if (bus__stat_board_ring(board, found[i].line, line) != 0 ||
		    line->ring_id != found[i].ring->ring_id)
			/* freed just now: the name went with it */
			*line = (struct board_ring){ 0 };
		*peer = (struct bus_peer){
			.id = line->pub_id, .pid = line->pid, .uid = line->uid, .name = line->name
		};
		if (found[i].ring->stream)
			*peer = bus__stat_board_source(board, found[i].src, line->name);
		fill_message(&found[i], has_clock ? &clock : NULL, copy, peer, ret->topic,
			     &ret->msgs[ret->count]);
		ret->count++;
	}
	return ret->count;
}

/* As many messages as a topic's rings can hold at most. */
static uint64_t slots_of(const struct stat_view *view, uint64_t topic_id)
{
	uint64_t slots = 0;

	for (size_t i = 0; i < view->ring_count; i++)
		if (view->rings[i].topic_id == topic_id)
			slots += view->rings[i].view.slot_count;
	return slots;
}

/*
 * All rings of the board. Returns how many messages were found, newest first, at most n; -ENOMEM.
 */
static int find_all(const struct stat_view *view, const struct stat_board *board, int n,
		    struct found **ret)
{
	uint32_t used = bus__stat_board_rings(board);
	struct found *found;
	int count = 0;

	n = (int)bus_min_u64((uint64_t)n, slots_of(view, board->topic_id));
	found = malloc((2 * (size_t)n + 1) * sizeof(*found));
	if (!found)
		return -ENOMEM;
	for (uint32_t i = 0; i < used; i++) {
		const struct stat_ring *ring;
		struct board_ring line;

		if (bus__stat_board_ring(board, i, &line) == -ENOENT)
			continue;
		ring = bus__stat_view_ring(view, line.ring_id);
		/* of a stream only where the board has its sources, which are read with it */
		if (!ring || ring->topic_id != board->topic_id ||
		    (bus__stat_board_stream(board) != 0) != (ring->stream != 0))
			continue;
		count += find_newest(ring, i, n, found + count);
		/* keep the newest n, so that two n are always enough */
		qsort(found, (size_t)count, sizeof(*found), newest_first);
		if (count > n)
			count = n;
	}
	*ret = found;
	return count;
}

static int peek_once(const struct stat_view *view, const struct stat_board *board, int n,
		     struct stat_peeked *ret, int *found_count)
{
	struct found *found = NULL;
	int count = find_all(view, board, n, &found);
	int err = count;

	*found_count = count;
	if (count > 0) {
		ret->msgs = calloc((size_t)count, sizeof(*ret->msgs));
		ret->peers = calloc((size_t)count, sizeof(*ret->peers));
		ret->rings = calloc((size_t)count, sizeof(*ret->rings));
		ret->copies = calloc((size_t)count, sizeof(*ret->copies));
		if (ret->msgs && ret->peers && ret->rings && ret->copies)
			err = copy_found(board, found, count, ret);
		else
			err = -ENOMEM;
	}
	free(found);
	return err;
}

int bus__stat_peek(const struct stat_view *view, const struct stat_board *board, int n,
		   struct stat_peeked *ret)
{
	int err = 0, found = 0;

	*ret = (struct stat_peeked){ 0 };
	if (n <= 0)
		return -EINVAL;
	for (int i = 0; i < PEEK_TRIES; i++) {
		bus__stat_peeked_free(ret);
		err = bus__stat_board_name(board, ret->topic);
		if (err < 0)
			return err;
		err = peek_once(view, board, n, ret, &found);
		if (err < 0) {
			bus__stat_peeked_free(ret);
			return err;
		}
		if (err == found)
			break;
	}
	return err;
}

void bus__stat_peeked_free(struct stat_peeked *peeked)
{
	for (int i = 0; i < peeked->count; i++)
		free(peeked->copies[i]);
	free(peeked->msgs);
	free(peeked->peers);
	free(peeked->rings);
	free(peeked->copies);
	*peeked = (struct stat_peeked){ 0 };
}
