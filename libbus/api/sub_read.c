/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sub_read.c - peek and release: the reading path.
 */
#include <errno.h>
#include <string.h>

#include "api/sub_internal.h"

/* ---- peek ---- */

BUS_INLINE void fill(const struct sub_ring *r, const struct ring_peeked *p, const uint64_t *in,
		     struct bus_msg *m)
{
	const uint8_t *base = p->flags & RING_FLAG_INLINE ? (const uint8_t *)in
							  : ring_reader_at(&r->rd, p->pos);

	m->data = base + p->head_len;
	m->len = p->len;
	m->flags = 0;
	m->seq = p->seq;
	m->lost = 0;
	m->topic = r->topic->name;
	m->from = &r->peer;
	m->key_len = (uint8_t)p->key_len;
	m->key_hash = p->key_hash;
	m->key = NULL;
	m->headers = NULL;
	m->headers_len = 0;
	if (bus_unlikely(p->head_len != 0)) {
		if (p->key_len != 0)
			m->key = base;
		if (p->flags & RING_FLAG_HEADERS) {
			m->headers = base + p->key_len;
			m->headers_len = p->head_len - p->key_len;
		}
	}
}

static inline uint32_t borrow_index(const struct bus_sub *sub, uint32_t n)
{
	return (sub->borrow_first + n) % BUS_BORROW_MAX;
}

/* n messages that are at the end of the borrowed ones already become a run, or part of the last. */
static inline void lend(struct bus_sub *sub, struct sub_ring *r, struct bus_msg *first, int n)
{
	struct sub_run *last = &sub->runs[(sub->run_first + sub->run_count - 1) % BUS_BORROW_MAX];
	uint64_t lost = r->rd.lost_unsaid;

	r->rd.ahead += (uint64_t)n;
	r->borrowed += (uint32_t)n;
	sub->borrow_count += (uint32_t)n;
	r->rd.expect_pos = sub->borrow_pos[borrow_index(sub, sub->borrow_count - 1)] +
			   ring_need(0, first[n - 1].len);
	if (sub->run_count != 0 && last->ring == r && last->disk == r->from_disk && lost == 0) {
		last->count += (uint32_t)n;
		return;
	}
	first->lost = lost;
	r->rd.lost_unsaid = 0;
	sub->runs[(sub->run_first + sub->run_count++) % BUS_BORROW_MAX] = (struct sub_run){
		.ring = r, .count = (uint32_t)n, .disk = r->from_disk, .lost = lost
	};
}

/* The look that decides what the message at rd->ahead is; it is taken if it is one. */
static int take_one(struct bus_sub *sub, struct sub_ring *r, struct bus_msg *msg, enum ring_look *look)
{
	uint32_t at = borrow_index(sub, sub->borrow_count);
	struct ring_peeked p;

	*look = ring_reader_peek(&r->rd, &p);
	if (*look != RING_MESSAGE)
		return 0;
	sub->borrow_pos[at] = p.pos;
	if (p.flags & RING_FLAG_INLINE)
		memcpy(sub->borrow_in[at], p.in, sizeof(p.in));
	fill(r, &p, sub->borrow_in[at], msg);
	if (r->stream != NULL)
		bus__sub_stream_mark(r, &p, msg);
	else
		msg->time_ns = bus_counter_to_ns(&r->topic->cal, p.time);
	lend(sub, r, msg, 1);
	return 1;
}

/*
 * The usual messages (ring_words_plain()) from number `first` on: fills msgs, positions and the bytes
 * of inline ones, at most `room`. Returns how many; what comes behind them may be a message too. The
 * inner loop of a subscriber: a function of its own, so that all that it needs stays in registers.
 */
static __attribute__((noinline)) int take_plain(const struct sub_ring *r, uint64_t seq,
						struct bus_msg *m, uint64_t *pos, uint64_t (*in)[3],
						int room)
{
	const struct ring_view *v = &r->rd.view;
	const char *topic = r->topic->name;
	const struct bus_calibration *cal = &r->topic->cal;
	int n;

	for (n = 0; n < room; n++, m++, seq++) {
		const struct ring_slot *slot = ring_slot_of(v, seq);
		struct ring_words w;

		if (ring_reader_words(slot, seq, &w) != RING_MESSAGE || !ring_words_plain(v, &w))
			break;
		m->data = v->payload + (w.pos & v->byte_mask);
		if (w.attrs != 0) {
			ring_reader_inline(slot, in[n]);
			m->data = in[n];
		}
		pos[n] = w.pos;
		m->len = (uint32_t)w.lens;
		m->flags = 0;
		m->seq = seq;
		m->time_ns = bus_counter_to_ns(cal, w.time);
		m->lost = 0;
		m->key = NULL;
		m->headers = NULL;
		m->headers_len = 0;
		m->key_len = 0;
		m->key_hash = 0;
		m->topic = topic;
		m->from = &r->peer;
	}
	return n;
}

/* The same of a stream's ring, with what its slots say more. Nothing of it travels inline. */
static __attribute__((noinline)) int take_stream(struct sub_ring *r, uint64_t seq,
						 struct bus_msg *m, uint64_t *pos, int room)
{
	struct ring_peeked p;
	int n;

	bus__sub_stream_batch(r);
	for (n = 0; n < room; n++, m++, seq++) {
		if (ring_reader_slot(&r->rd, seq, &p, p.in) != RING_MESSAGE ||
		    p.flags & RING_FLAG_INLINE)
			break;
		pos[n] = p.pos;
		fill(r, &p, NULL, m);
		bus__sub_stream_mark(r, &p, m);
	}
	return n;
}

/*
 * Takes up to `room` messages of one ring, with one look at the frontier for all of them. Where
 * that finds the oldest overwritten, or the first slot is no usual message, one message is looked
 * at by itself. *look: why there is none, if there is none.
 */
static inline int take_run(struct bus_sub *sub, struct sub_ring *r, struct bus_msg *msgs, int room,
			   enum ring_look *look)
{
	const struct ring_reader *rd = &r->rd;
	const uint32_t at = borrow_index(sub, sub->borrow_count);
	int n;

	if (room > (int)(BUS_BORROW_MAX - at)) /* the arrays go round: the rest with the next peek */
		room = (int)(BUS_BORROW_MAX - at);
	n = bus_likely(r->stream == NULL)
		    ? take_plain(r, rd->ahead, msgs, &sub->borrow_pos[at], &sub->borrow_in[at], room)
		    : take_stream(r, rd->ahead, msgs, &sub->borrow_pos[at], room);
	if (bus_likely(n > 0 && ring_reader_whole(rd, rd->ahead, sub->borrow_pos[at]))) {
		lend(sub, r, msgs, n);
		return n;
	}
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
	if (ring_reader_skip_hole(&r->rd))
		return 1;
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
		if (bus__sub_disk_enter(r)) /* what has left the ring is on disk */
			return 1;
		ring_reader_lapped(&r->rd);
		return 1;
	case RING_UNSUPPORTED:
		skip_one(r);
		return bus__fail(-EPROTONOSUPPORT,
				 "a message of \"%s\" on \"%s\" needs a newer libbus than " BUS_VERSION
				 ": it was left out",
				 r->name, r->topic->name);
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

/* BUS_START_TIME: passes over what is older, until the first that is not. Nothing was delivered yet. */
static BUS_COLD void pass_early(struct sub_ring *r)
{
	struct ring_peeked p;

	while (ring_reader_peek(&r->rd, &p) == RING_MESSAGE) {
		uint64_t time = r->stream != NULL ? p.time
						  : bus_counter_to_ns(&r->topic->cal, p.time);

		if (time >= r->after_ns) {
			r->after_ns = 0;
			return;
		}
		r->rd.cur++;
		r->rd.ahead++;
		if (r->rd.cur - r->rd.flushed >= r->rd.flush_every)
			ring_reader_flush(&r->rd);
	}
}

static int look_at_disk(struct bus_sub *sub, struct sub_ring *r, struct bus_msg *msgs, int room,
			bool *again)
{
	const uint32_t at = borrow_index(sub, sub->borrow_count);
	int n;

	if (room > (int)(BUS_BORROW_MAX - at))
		room = (int)(BUS_BORROW_MAX - at);
	bus__sub_stream_batch(r);
	n = bus__sub_disk_take(r, msgs, &sub->borrow_pos[at], room, again);
	if (n > 0)
		lend(sub, r, msgs, n);
	return n;
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
	if (bus_unlikely(!r->active || r->ignored || r->voided))
		return 0;
	if (bus_unlikely(r->from_disk))
		return look_at_disk(sub, r, msgs, max < room ? max : room, again);
	/* Most looks find nothing: the end of the ring and the like are looked for in one of 16. */
	if (!ring_reader_came(&r->rd)) {
		ring_reader_expect(&r->rd);
		if (r->rd.cur == r->rd.flushed && sub->looks % 16 != 15)
			return 0;
	}
	freshen(r->topic);
	if (bus_unlikely(r->after_ns != 0))
		pass_early(r);
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

	if (sub->refused) /* for good */
		return bus__fail(err, "%s", sub->refusal_why);
	sub->pending = 0;
	return err;
}

static inline void took(struct bus_sub *sub, int n)
{
	if (bus_unlikely(sub->looks >= SUB_IDLE_LOOKS))
		bus__sub_idle(sub, 0);
	sub->looks = 0;
	if (bus_unlikely(sub->announced))
		bus__sub_disarm(sub);
	sub->run += (uint32_t)n;
	if (sub->run >= SUB_BUDGET) {
		sub->look_owed = true;
		sub->run = 0;
		sub->at = sub->at + 1 < sub->ring_count ? sub->at + 1 : 0;
	}
}

static int found_nothing(struct bus_sub *sub)
{
	if (++sub->looks == SUB_IDLE_LOOKS)
		bus__sub_idle(sub, 1);
	sub->look_owed |= sub->looks % SUB_LOOKS == 0;
	if (sub->fd != NULL && sub->borrow_count == 0)
		bus__sub_arm(sub);
	else if (sub->fd != NULL)
		wake_fd_signal(sub->fd); /* like bus_sub_wait(): no sleep with messages borrowed */
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
	if (bus_unlikely(bus_load_acquire(sub->bell) != sub->bell_seen || sub->inbox_stuck ||
			 sub->rejoin_owed))
		bus__sub_news(sub);
	if (bus_unlikely(sub->look_owed))
		bus__sub_look(sub, false);
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

static inline uint64_t oldest_pos(const struct bus_sub *sub)
{
	return sub->borrow_pos[sub->borrow_first];
}

/* Takes k messages off the oldest run; what was lost before its first is told by now. */
static inline void end_borrow(struct bus_sub *sub, struct sub_run *run, uint32_t k)
{
	run->ring->borrowed -= k;
	run->count -= k;
	run->lost = 0;
	if (run->count == 0) {
		sub->run_first = (sub->run_first + 1) % BUS_BORROW_MAX;
		sub->run_count--;
	}
	sub->borrow_first = borrow_index(sub, k);
	sub->borrow_count -= k;
}

/* A void part: what was told as lost with it is told again, with the next message. */
static BUS_COLD void tell_again(struct ring_reader *rd, uint64_t k, uint64_t told, bool was_good)
{
	if (was_good) {
		rd->delivered -= k;
		rd->lost += k;
		rd->lost_unsaid += k;
	}
	rd->lost_unsaid += told;
	ring_reader_flush(rd);
}

/*
 * Of a stream on disk: what is not good is not lost, it is read again from there, and with it all that was borrowed
 * behind it.
 */
static int release_kept(struct bus_sub *sub, struct sub_run *run, uint32_t n)
{
	struct sub_ring *r = run->ring;
	uint64_t told = run->lost, pos = oldest_pos(sub);
	bool disk = run->disk, good = bus__sub_disk_whole(r, disk, pos);

	end_borrow(sub, run, n);
	if (bus_likely(good)) {
		bus__sub_disk_pass(r, n, disk, pos);
		if (bus_unlikely(sub->durable))
			bus__durable_released(sub, r->rd.cur);
		return 0;
	}
	bus__sub_disk_void(r, n, disk, told);
	return -ESTALE;
}

struct part {
	struct sub_ring *ring;
	uint64_t k, told, pos;
	bool good, disk;
};

static BUS_COLD void settle_part(const struct part *part, bool stale)
{
	struct sub_ring *r = part->ring;

	if (r->disk == NULL && stale)
		tell_again(&r->rd, part->k, part->told, part->good);
	else if (r->disk != NULL && stale)
		bus__sub_disk_void(r, (uint32_t)part->k, part->disk, part->told);
	else if (r->disk != NULL)
		bus__sub_disk_pass(r, (uint32_t)part->k, part->disk, part->pos);
}

/* Messages of several runs: all are void if one is. */
static BUS_COLD int release_runs(struct bus_sub *sub, uint32_t n)
{
	struct part parts[BUS_BORROW_MAX];
	int count = 0;
	bool stale = false;

	while (n > 0) {
		struct sub_run *run = &sub->runs[sub->run_first];
		struct part *part = &parts[count++];
		uint32_t k = run->count < n ? run->count : n;

		*part = (struct part){ .ring = run->ring,
				       .k = k,
				       .told = run->lost,
				       .pos = oldest_pos(sub),
				       .disk = run->disk };
		part->good = run->ring->disk != NULL
				     ? bus__sub_disk_whole(run->ring, run->disk, part->pos)
				     : ring_reader_release(&run->ring->rd, k, part->pos);
		stale |= !part->good;
		end_borrow(sub, run, k);
		n -= k;
	}
	for (int i = 0; i < count; i++)
		settle_part(&parts[i], stale);
	if (!stale && sub->durable)
		bus__durable_released(sub, parts[count - 1].ring->rd.cur);
	return stale ? -ESTALE : 0;
}

int bus_sub_release(struct bus_sub *sub, int n)
{
	struct ring_reader *rd;
	struct sub_run *run;
	uint64_t told;
	bool good;

	if (bus_unlikely(sub->magic != BUS__SUB_MAGIC))
		return -ECHILD;
	if (bus_unlikely(sub->owner != bus__thread_token()))
		bus__sub_adopt(sub);
	if (bus_unlikely(n <= 0 || (uint32_t)n > sub->borrow_count))
		return n == 0 ? 0 : -EINVAL;
	run = &sub->runs[sub->run_first];
	if (bus_unlikely(run->count < (uint32_t)n))
		return release_runs(sub, (uint32_t)n);
	if (bus_unlikely(run->ring->disk != NULL))
		return release_kept(sub, run, (uint32_t)n);
	told = run->lost;
	rd = &run->ring->rd;
	good = ring_reader_release(rd, (uint64_t)n, oldest_pos(sub));
	end_borrow(sub, run, (uint32_t)n);
	if (bus_likely(good)) {
		if (bus_unlikely(sub->durable))
			bus__durable_released(sub, rd->cur);
		return 0;
	}
	tell_again(rd, (uint64_t)n, told, false);
	return -ESTALE;
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
	struct sub_run *run;
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
		head = msg->key != NULL
			       ? (size_t)((const uint8_t *)msg->data - (const uint8_t *)msg->key)
		       : msg->headers != NULL
			       ? (size_t)((const uint8_t *)msg->data - (const uint8_t *)msg->headers)
			       : 0;
		if (head + msg->len > size) {
			/* Not released: the same message again next time. */
			run = &sub->runs[sub->run_first];
			run->ring->rd.ahead--;
			if (run->disk)
				bus__sub_disk_untake(run->ring);
			run->ring->rd.lost_unsaid += run->lost;
			end_borrow(sub, run, 1);
			msg->len += (uint32_t)head;
			return -EMSGSIZE;
		}
		copy_out(msg, buf, head);
		if (bus_sub_release(sub, 1) == 0)
			return 1;
	}
	/*
	 * overwritten a thousand times in a row: somebody publishes faster than this can copy; lost
	 * says how much
	 */
	return 0;
}
