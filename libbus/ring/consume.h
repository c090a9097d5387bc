/* SPDX-License-Identifier: Apache-2.0 */
/*
 * consume.h - the reading path: peek, release. Inline. Everything read here was written by a peer:
 * each shared word is loaded once into a local and checked before it is used; an address is made
 * only of masked positions.
 */
#ifndef BUS_CONSUME_H
#define BUS_CONSUME_H

#include "ring/cursor.h"

enum ring_look {
	RING_EMPTY = 0,
	RING_MESSAGE = 1,
	RING_LAPPED = 2,      /* overwritten, or about to be: ring_reader_lapped() */
	RING_GARBAGE = 3,     /* not a message: the publisher is broken or hostile */
	RING_UNSUPPORTED = 4, /* needs a newer library; may be skipped */
};

/* The slot of a message, private: nobody can change it any more. */
struct ring_peeked {
	uint64_t seq, pos, time;
	uint32_t len, head_len, key_len;
	uint32_t flags, key_hash;
	uint64_t in[3];
};

/*
 * Whether the publisher may have begun to overwrite message seq, whose bytes start at pos. Call
 * after an acquire fence.
 */
static inline bool ring_overwritten(const struct ring_view *v, uint64_t seq, uint64_t pos)
{
	uint64_t fs = bus_load_relaxed(&v->page->frontier_seq);
	uint64_t fp = bus_load_relaxed(&v->page->frontier_pos);

	if (RING_MUTANT(no_seq_test))
		fs = seq;
	if (RING_MUTANT(no_byte_test))
		fp = pos;
	return bus_unlikely((int64_t)(fs - seq - v->slot_count) > RING_MUTANT(frontier_off_by_one) ||
			    (int64_t)(fp - pos - v->bytes) > 0);
}

/* Whether there is a message at rd->ahead, or a lap. One load. */
static inline bool ring_reader_came(const struct ring_reader *rd)
{
	return bus_load_relaxed(&ring_slot_of(&rd->view, rd->ahead)->commit) > rd->ahead;
}

/*
 * Nothing came: asks for the line in which the next message's bytes will probably lie, so that it
 * comes together with the slot's and not after it. A guess that a peer made wrong costs a line.
 * (64 bytes there and back: 1.65 to 1.56 of two cache lines.)
 */
static inline void ring_reader_expect(const struct ring_reader *rd)
{
	__builtin_prefetch(rd->view.payload + (rd->expect_pos & rd->view.byte_mask));
}

/* A committed slot's words as they were read; not checked yet. */
struct ring_words {
	uint64_t pos, time, lens, attrs;
};

/* Reads the slot of message seq. RING_MESSAGE, RING_EMPTY or RING_LAPPED. */
BUS_INLINE enum ring_look ring_reader_words(const struct ring_slot *slot, uint64_t seq,
					    struct ring_words *w)
{
	uint64_t c = RING_MUTANT(relaxed_a2)
			     ? bus_load_relaxed(&slot->commit)
			     : bus_load_acquire(&slot->commit); /* A2, pairs with R2 */

	if (c != seq + 1)
		return c > seq + 1 ? RING_LAPPED : RING_EMPTY;
	w->pos = bus_load_relaxed(&slot->pos);
	w->time = bus_load_relaxed(&slot->time);
	w->lens = bus_load_relaxed(&slot->lens);
	w->attrs = bus_load_relaxed(&slot->attrs);
	return RING_MESSAGE;
}

/* The head and payload of a message that travels in its slot. */
BUS_INLINE void ring_reader_inline(const struct ring_slot *slot, uint64_t *in)
{
	in[0] = bus_load_relaxed(&slot->in[0]);
	in[1] = bus_load_relaxed(&slot->in[1]);
	in[2] = bus_load_relaxed(&slot->in[2]);
}

/*
 * Whether it is a message of the most usual kind, and a good one: without key and headers, and
 * inline or not. What this says no to may be good all the same: ring_reader_parse().
 */
BUS_INLINE bool ring_words_plain(const struct ring_view *v, const struct ring_words *w)
{
	uint64_t most = w->attrs == RING_FLAG_INLINE ? RING_INLINE_MAX : v->bytes;

	return bus_likely(((w->lens >> 32 ^ RING_PLAIN) | (w->attrs & ~(uint64_t)RING_FLAG_INLINE) |
			   (w->pos & (RING_POS_ALIGN - 1))) == 0 &&
			  (uint32_t)w->lens <= most);
}

/* Takes the words of message seq apart and checks them. *in is written for inline messages. */
BUS_INLINE enum ring_look ring_reader_parse(const struct ring_view *v, const struct ring_slot *slot,
					    uint64_t seq, const struct ring_words *w,
					    struct ring_peeked *p, uint64_t *in)
{
	uint64_t total, most = v->bytes;

	p->seq = seq;
	p->pos = w->pos;
	p->time = w->time;
	p->len = (uint32_t)w->lens;
	p->flags = (uint32_t)w->attrs;
	p->key_hash = (uint32_t)(w->attrs >> 32);
	if (p->flags & RING_FLAG_INLINE) {
		ring_reader_inline(slot, in);
		most = RING_INLINE_MAX;
	}
	if (bus_likely(w->lens >> 32 == RING_PLAIN)) {
		p->head_len = 0;
		p->key_len = 0;
		total = p->len;
	} else {
		p->head_len = (uint16_t)(w->lens >> 32);
		p->key_len = (uint8_t)(w->lens >> 48);
		total = (uint64_t)p->head_len + p->len;
		if (p->key_len > p->head_len || w->lens >> 56 != RING_LAYOUT_VERSION)
			return RING_GARBAGE;
	}
	if (bus_unlikely(total > most || (p->pos & (RING_POS_ALIGN - 1)) != 0))
		return RING_GARBAGE;
	if (bus_unlikely(p->flags & RING_FLAG_MUST_MASK & ~RING_FLAG_KNOWN))
		return RING_UNSUPPORTED;
	return RING_MESSAGE;
}

/*
 * Reads the slot of message seq without asking whether it is being overwritten: what it says
 * holds only once ring_reader_whole() said so of this message or of an older one. *in is written
 * for inline messages.
 */
BUS_INLINE enum ring_look ring_reader_slot(const struct ring_reader *rd, uint64_t seq,
					   struct ring_peeked *p, uint64_t *in)
{
	const struct ring_slot *slot = ring_slot_of(&rd->view, seq);
	struct ring_words w;
	enum ring_look look = ring_reader_words(slot, seq, &w);

	return look == RING_MESSAGE ? ring_reader_parse(&rd->view, slot, seq, &w, p, in) : look;
}

/*
 * Whether a message whose slot was read is whole. One look serves a run of messages: the publisher
 * overwrites the oldest first, so if that one is whole, those read after it are.
 */
BUS_INLINE bool ring_reader_whole(const struct ring_reader *rd, uint64_t oldest_seq,
				  uint64_t oldest_pos)
{
	if (!RING_MUTANT(no_a1_peek))
		bus_fence_acquire(); /* A1, pairs with R1 */
	return RING_MUTANT(no_test_peek) || !ring_overwritten(&rd->view, oldest_seq, oldest_pos);
}

/*
 * Reads the message at rd->ahead. On RING_MESSAGE *p is filled; the caller moves rd->ahead by one
 * to borrow it.
 */
static inline enum ring_look ring_reader_peek(const struct ring_reader *rd, struct ring_peeked *p)
{
	enum ring_look look = ring_reader_slot(rd, rd->ahead, p, p->in);

	if (look == RING_EMPTY || look == RING_LAPPED)
		return look;
	return ring_reader_whole(rd, p->seq, p->pos) ? look
						     : RING_LAPPED; /* torn slots look like garbage */
}

/*
 * At a start in the past: moves to the first message that is still there. What was gone before the
 * reader came was never its own, so it does not count as lost. At most one lap.
 */
static inline void ring_reader_skip_gone(struct ring_reader *rd)
{
	struct ring_peeked p;

	for (uint64_t i = 0; i < rd->view.slot_count; i++) {
		if (ring_reader_peek(rd, &p) != RING_LAPPED)
			return;
		rd->cur++;
		rd->ahead++;
	}
}

/* Where the head and payload of a peeked message lie, unless it is inline. */
static inline const uint8_t *ring_reader_at(const struct ring_reader *rd, uint64_t pos)
{
	return rd->view.payload + (pos & rd->view.byte_mask);
}

/*
 * Gives back the k oldest borrowed messages; the oldest starts at oldest_pos. false: at least one
 * was overwritten while it was borrowed: all k count as lost. The cursor is published now where
 * that is due.
 */
static inline bool ring_reader_release(struct ring_reader *rd, uint64_t k, uint64_t oldest_pos)
{
	bool stale;

	if (!RING_MUTANT(no_a1_release))
		/* A1 again: what was read in place was read before this look at the frontier */
		bus_fence_acquire();
	stale = ring_overwritten(&rd->view, rd->cur, oldest_pos) && !RING_MUTANT(no_test_release);
	rd->cur += k;
	if (bus_unlikely(stale)) {
		rd->lost += k;
		rd->lost_unsaid += k;
	} else {
		rd->delivered += k;
	}
	if (rd->cur - rd->flushed >= rd->flush_every ||
	    oldest_pos - rd->flushed_pos >= rd->flush_bytes ||
	    bus_load_relaxed(&rd->view.page->waiting) != 0) {
		rd->flushed_pos = oldest_pos;
		ring_reader_flush(rd);
	}
	return !stale;
}

#endif
