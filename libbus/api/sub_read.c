/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sub_read.c - peek and release: the reading path.
 */
#include <errno.h>
#include <string.h>

#include "api/sub_internal.h"

/* ---- peek ---- */

BUS_INLINE void fill(struct sub_ring *r, const struct ring_peeked *p, struct sub_borrow *b,
		     struct bus_msg *m)
{
	const uint8_t *base = p->flags & RING_FLAG_INLINE ? (const uint8_t *)b->in
							  : ring_reader_at(&r->rd, p->pos);

	b->ring = r;
	b->pos = p->pos;
	b->lost = r->rd.lost_unsaid;
	r->rd.lost_unsaid = 0;
	m->data = base + p->head_len;
	m->len = p->len;
	m->flags = 0;
	m->seq = p->seq;
	m->lost = b->lost;
	m->topic = r->topic->name;
	m->from = &r->peer;
	m->key_len = (uint8_t)p->key_len;
	m->key_hash = p->key_hash;
	if (bus_unlikely(p->head_len != 0)) {
		m->key = p->key_len != 0 ? base : NULL;
		m->headers = p->flags & RING_FLAG_HEADERS ? base + p->key_len : NULL;
		m->headers_len = p->flags & RING_FLAG_HEADERS ? p->head_len - p->key_len : 0;
	} else {
		m->key = NULL;
		m->headers = NULL;
		m->headers_len = 0;
	}
}

static inline struct sub_borrow *next_borrow(struct bus_sub *sub)
{
	return &sub->borrow[(sub->borrow_first + sub->borrow_count) % BUS_BORROW_MAX];
}

/* The look that decides what the message at rd->ahead is; it is taken if it is one. */
static int take_one(struct bus_sub *sub, struct sub_ring *r, struct bus_msg *msg, enum ring_look *look)
{
	struct sub_borrow *b = next_borrow(sub);
	struct ring_peeked p;

	*look = ring_reader_peek(&r->rd, &p);
	if (*look != RING_MESSAGE)
		return 0;
	memcpy(b->in, p.in, sizeof(b->in));
	fill(r, &p, b, msg);
	msg->time_ns = bus_counter_to_ns(&r->topic->cal, p.time);
	r->rd.ahead++;
	sub->borrow_count++;
	r->borrowed++;
	return 1;
}

/*
 * Takes up to `room` messages of one ring, with one look at the frontier for all of them. Where that finds the oldest
 * overwritten, or the first slot is no message, one message is looked at by itself. *look: why there is none, if there is
 * none.
 */
static int take_run(struct bus_sub *sub, struct sub_ring *r, struct bus_msg *msgs, int room,
		    enum ring_look *look)
{
	struct ring_reader *rd = &r->rd;
	uint64_t first = rd->ahead, told = rd->lost_unsaid, first_pos = 0;
	uint64_t stamp = 0, stamp_ns = 0;
	struct ring_peeked p;
	int n = 0;

	while (n < room) {
		struct sub_borrow *b = next_borrow(sub);

		*look = ring_reader_slot(rd, &p, b->in);
		if (*look != RING_MESSAGE)
			break;
		if (n == 0)
			first_pos = p.pos;
		fill(r, &p, b, &msgs[n]);
		if (p.time != stamp || n == 0) { /* bursts share stamps */
			stamp = p.time;
			stamp_ns = bus_counter_to_ns(&r->topic->cal, stamp);
		}
		msgs[n++].time_ns = stamp_ns;
		rd->ahead++;
		sub->borrow_count++;
	}
	if (bus_likely(n > 0)) {
		if (bus_likely(ring_reader_whole(rd, first, first_pos))) {
			r->borrowed += (uint32_t)n;
			return n;
		}
		rd->ahead = first;
		rd->lost_unsaid = told;
		sub->borrow_count -= (uint32_t)n;
	}
	if (*look == RING_EMPTY && n == 0)
		return 0;
	return take_one(sub, r, msgs, look);
}

static void ignore_ring(struct sub_ring *r)
{
	r->ignored = true;
	ring_reader_park(&r->rd); /* it must not hold back its publisher either */
}

static void skip_one(struct sub_ring *r)
{
	r->rd.cur++;
	r->rd.ahead++;
	r->rd.lost++;
	r->rd.lost_unsaid++;
}

/*
 * No message came, and nothing of this ring is borrowed. 0: nothing there; 1: look again; an error
 * for the caller.
 */
static int ring_says(struct bus_sub *sub, struct sub_ring *r, enum ring_look look)
{
	switch (look) {
	case RING_EMPTY:
		if (r->rd.cur != r->rd.flushed)
			ring_reader_flush(&r->rd);
		if (ring_reader_drained(&r->rd)) {
			bus__sub_finish_ring(sub, r);
			return 1;
		}
		return 0;
	case RING_LAPPED:
		if (bus__sub_evicted(r->topic)) {
			bus__sub_news(sub);
			return sub->rejoin_owed ? 0 : 1;
		}
		ring_reader_lapped(&r->rd);
		return 1;
	case RING_UNSUPPORTED:
		skip_one(r);
		return -EPROTONOSUPPORT;
	default:
		ignore_ring(r);
		return -EBADMSG;
	}
}

static inline void freshen(struct sub_topic *t)
{
	uint32_t gen = bus_load_relaxed(&t->board->cal_gen);

	if (bus_unlikely(gen != t->cal_gen)) {
		bus__calibration(t->board, &t->cal);
		t->cal_gen = gen;
	}
}

/*
 * One look at one ring. > 0: messages; 0: nothing; 1 with *again: the ring list or its state
 * changed, look again; < 0.
 */
static inline int look_at(struct bus_sub *sub, struct sub_ring *r, struct bus_msg *msgs, int max,
			  bool *again)
{
	int room = BUS_BORROW_MAX - (int)sub->borrow_count, n, err;
	enum ring_look look;

	*again = false;
	if (bus_unlikely(!r->active || r->ignored))
		return 0;
	freshen(r->topic);
	n = take_run(sub, r, msgs, max < room ? max : room, &look);
	if (bus_likely(n > 0))
		return n;
	if (r->borrowed > 0) /* what comes next is decided when they are given back */
		return 0;
	err = ring_says(sub, r, look);
	*again = err == 1;
	return err == 1 ? 0 : err;
}

static BUS_COLD int pending_error(struct bus_sub *sub)
{
	int err = sub->pending;

	sub->pending = 0;
	return err;
}

static inline void took(struct bus_sub *sub, int n)
{
	if (bus_unlikely(sub->looks >= SUB_IDLE_LOOKS))
		bus_store_relaxed(&sub->cursors->idle, 0);
	sub->looks = 0;
	if (bus_unlikely(sub->announced))
		bus__sub_disarm(sub);
	sub->run += (uint32_t)n;
	if (sub->run >= SUB_BUDGET) {
		sub->run = 0;
		sub->at = sub->at + 1 < sub->ring_count ? sub->at + 1 : 0;
	}
}

static int found_nothing(struct bus_sub *sub)
{
	if (++sub->looks == SUB_IDLE_LOOKS)
		bus_store_relaxed(&sub->cursors->idle, 1);
	if (sub->fd != NULL && sub->borrow_count == 0)
		bus__sub_arm(sub);
	return 0;
}

int bus_sub_peek(struct bus_sub *sub, struct bus_msg *msgs, int max)
{
	uint32_t left, agains = 0;
	bool again;

	if (bus_unlikely(sub->magic != BUS__SUB_MAGIC))
		return -ECHILD;
	if (bus_unlikely(sub->owner != bus__thread_token()))
		bus__sub_adopt(sub);
	if (bus_unlikely(bus_load_acquire(sub->bus->bell) != sub->bell_seen || sub->inbox_stuck ||
			 sub->rejoin_owed))
		bus__sub_news(sub);
	if (bus_unlikely(sub->pending != 0))
		return pending_error(sub);
	if (bus_unlikely(max <= 0))
		return max < 0 ? -EINVAL : 0;
	if (bus_unlikely(sub->borrow_count == BUS_BORROW_MAX))
		return -ENOBUFS;
	for (left = sub->ring_count; left > 0;) {
		int n = look_at(sub, sub->rings[sub->at], msgs, max, &again);

		if (bus_likely(n > 0)) {
			took(sub, n);
			return n;
		}
		if (n < 0)
			return n;
		if (again && ++agains > SUB_AGAINS + sub->ring_count)
			break; /* a writer that laps us as fast as we look, or says so */
		if (again) {
			if (sub->pending != 0)
				return pending_error(sub);
			if (left > sub->ring_count)
				left = sub->ring_count;
			if (sub->ring_count > 0 && sub->at < sub->ring_count)
				continue;
			break;
		}
		sub->run = 0;
		sub->at = sub->at + 1 < sub->ring_count ? sub->at + 1 : 0;
		left--;
	}
	return found_nothing(sub);
}

/* ---- release ---- */

/* The oldest borrowed messages that are of one ring, at most n. */
static inline int run_length(const struct bus_sub *sub, uint32_t first, int n)
{
	const struct sub_ring *r = sub->borrow[first].ring;
	int k = 1;

	while (k < n && sub->borrow[(first + (uint32_t)k) % BUS_BORROW_MAX].ring == r)
		k++;
	return k;
}

/*
 * The batch is void: what of it was counted as delivered is counted as lost, and told again with
 * the next message.
 */
static BUS_COLD void void_batch(struct bus_sub *sub, uint32_t first, int n, const bool *good)
{
	for (int i = 0, run = 0; i < n; run++) {
		uint32_t at = (first + (uint32_t)i) % BUS_BORROW_MAX;
		int k = run_length(sub, at, n - i);
		struct ring_reader *rd = &sub->borrow[at].ring->rd;

		if (good[run]) {
			rd->delivered -= (uint64_t)k;
			rd->lost += (uint64_t)k;
			rd->lost_unsaid += (uint64_t)k;
		}
		for (int j = 0; j < k; j++)
			rd->lost_unsaid += sub->borrow[(at + (uint32_t)j) % BUS_BORROW_MAX].lost;
		ring_reader_flush(rd);
		i += k;
	}
}

static int release_runs(struct bus_sub *sub, int n)
{
	uint32_t first = sub->borrow_first;
	bool good[BUS_BORROW_MAX];
	bool stale = false;
	int run = 0;

	for (int i = 0; i < n; run++) {
		uint32_t at = (first + (uint32_t)i) % BUS_BORROW_MAX;
		struct sub_borrow *b = &sub->borrow[at];
		int k = run_length(sub, at, n - i);

		good[run] = ring_reader_release(&b->ring->rd, (uint64_t)k, b->pos);
		b->ring->borrowed -= (uint32_t)k;
		stale |= !good[run];
		i += k;
	}
	if (bus_unlikely(stale))
		void_batch(sub, first, n, good);
	sub->borrow_first = (first + (uint32_t)n) % BUS_BORROW_MAX;
	sub->borrow_count -= (uint32_t)n;
	return stale ? -ESTALE : 0;
}

int bus_sub_release(struct bus_sub *sub, int n)
{
	if (bus_unlikely(sub->magic != BUS__SUB_MAGIC))
		return -ECHILD;
	if (bus_unlikely(sub->owner != bus__thread_token()))
		bus__sub_adopt(sub);
	if (bus_unlikely(n <= 0 || (uint32_t)n > sub->borrow_count))
		return n == 0 ? 0 : -EINVAL;
	return release_runs(sub, n);
}

/* ---- the copying peek ---- */

static void copy_out(struct bus_msg *msg, uint8_t *buf, size_t head)
{
	const uint8_t *data = msg->data;

	memcpy(buf, data - head, head + msg->len);
	if (msg->key != NULL)
		msg->key = buf;
	if (msg->headers != NULL)
		msg->headers = buf + msg->key_len;
	msg->data = buf + head;
}

int bus_sub_recv(struct bus_sub *sub, void *buf, size_t size, struct bus_msg *msg)
{
	struct sub_borrow *b;
	size_t head;
	int n;

	if (bus_unlikely(sub->magic != BUS__SUB_MAGIC))
		return -ECHILD;
	if (bus_unlikely(sub->borrow_count != 0))
		return -EBUSY; /* it would release somebody's borrowed message */
	for (int tries = 0; tries < 1000; tries++) {
		n = bus_sub_peek(sub, msg, 1);
		if (n <= 0)
			return n;
		b = &sub->borrow[sub->borrow_first];
		head = msg->key != NULL
			       ? (size_t)((const uint8_t *)msg->data - (const uint8_t *)msg->key)
		       : msg->headers != NULL
			       ? (size_t)((const uint8_t *)msg->data - (const uint8_t *)msg->headers)
			       : 0;
		if (head + msg->len > size) {
			/* Not released: the same message again next time. */
			b->ring->rd.ahead--;
			b->ring->rd.lost_unsaid += b->lost;
			b->ring->borrowed--;
			sub->borrow_count--;
			msg->len += (uint32_t)head;
			return -EMSGSIZE;
		}
		copy_out(msg, buf, head);
		if (bus_sub_release(sub, 1) == 0)
			return 1;
	}
	return 0; /* overwritten a thousand times in a row: somebody publishes faster than this can copy; lost says how much */
}
