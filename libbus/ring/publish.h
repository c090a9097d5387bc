/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish.h - the publishing path: room, commit, wake. Inline: this is what is measured in
 * nanoseconds.
 *
 *	need = ring_need(head_len, len);
 *	while (!ring_pub_room(pub, need))
 *		ring_pub_refresh(), or block
 *	write the message at ring_pub_at(pub), or pass it as inline words
 *	ring_pub_commit(pub, &message);           as often as wanted
 *	ring_pub_wake(pub)                        once per batch
 */
#ifndef BUS_PUBLISH_H
#define BUS_PUBLISH_H

#include "ring/gate.h"

struct ring_message {
	uint64_t time; /* raw counter */
	uint32_t len, head_len, key_len;
	uint32_t flags; /* RING_FLAG_HEADERS; INLINE is added by the commit */
	uint32_t key_hash;
	uint64_t in[3]; /* head and payload, where ring_need() is 0 */
};

static inline bool ring_pub_room(const struct ring_pub *pub, uint64_t need)
{
	return bus_likely(pub->n < pub->limit_seq && pub->pos + need <= pub->limit_pos);
}

/* Where the next message's head and payload go: `need` contiguous bytes. */
static inline uint8_t *ring_pub_at(const struct ring_pub *pub)
{
	return pub->view.payload + (pub->pos & pub->view.byte_mask);
}

/* The caller is about to write `need` bytes at ring_pub_at(), to be published or not. */
static inline void ring_pub_written(struct ring_pub *pub, uint64_t need)
{
	if (pub->pos + need > pub->written_pos)
		pub->written_pos = pub->pos + need;
}

/*
 * Writes head and payload of a message that needs no payload area; before ring_pub_commit_words().
 */
BUS_INLINE void ring_pub_inline(const struct ring_pub *pub, const uint64_t in[3])
{
	struct ring_slot *slot = ring_slot_of(&pub->view, pub->n);

	bus_store_relaxed(&slot->in[0], in[0]);
	bus_store_relaxed(&slot->in[1], in[1]);
	bus_store_relaxed(&slot->in[2], in[2]);
}

/*
 * Asks for the slot of a later message, to be written: its line comes from a reader, and the stores of
 * this message need not wait for it then. Inline messages only: a quarter to a third more of them a
 * second; beside payload lines it makes a publisher slower, for reasons unknown.
 */
#define RING_ASK_AHEAD 8

BUS_INLINE void ring_pub_ask_ahead(const struct ring_pub *pub)
{
	bus_prefetch_to_write(ring_slot_of(&pub->view, pub->n + RING_ASK_AHEAD));
}

/*
 * Publishes what lies at ring_pub_at() or was written by ring_pub_inline(). len: of the payload,
 * for the account.
 */
BUS_INLINE void ring_pub_commit_words(struct ring_pub *pub, uint64_t time, uint64_t lens,
				      uint64_t attrs, uint64_t need, uint32_t len)
{
	struct ring_slot *slot = ring_slot_of(&pub->view, pub->n);
	uint64_t n = pub->n + 1;

	if (need == 0)
		ring_pub_ask_ahead(pub);
	bus_store_relaxed(&slot->pos, pub->pos);
	bus_store_pair_release(&slot->time, time, lens);
	bus_store_relaxed(&slot->attrs, attrs);
	if (RING_MUTANT(relaxed_r2))
		bus_store_relaxed(&slot->commit, n);
	else
		bus_store_release(&slot->commit, n); /* R2, pairs with A2 */
	pub->n = n;
	pub->pos += need;
	pub->bytes += len;
}

/*
 * Stores what joiners and tools look at; after one or more commits, at the latest after
 * RING_TELL_EVERY.
 */
BUS_INLINE void ring_pub_tell(const struct ring_pub *pub)
{
	bus_store_pair_release(&pub->view.page->head, pub->n, pub->bytes);
}
#define RING_TELL_EVERY 16

static inline void ring_pub_commit(struct ring_pub *pub, const struct ring_message *m)
{
	uint64_t need = ring_need(m->head_len, m->len);

	if (need == 0)
		ring_pub_inline(pub, m->in);
	ring_pub_commit_words(pub, m->time, ring_pack_lens(m->len, m->head_len, m->key_len),
			      ring_pack_attrs(need == 0 ? m->flags | RING_FLAG_INLINE : m->flags,
					      m->key_hash),
			      need, m->len);
	ring_pub_tell(pub);
}

/*
 * A member that waits is woken once per generation. A waiting word is taken for hostile only if
 * since its last wake the cursor has not reached what was published then: an honest reader reads
 * all of it before it sleeps again.
 */
static inline __attribute__((cold)) void ring_pub_wake_member(struct ring_pub *pub,
							      struct ring_member *m, uint32_t w)
{
	if (m->atwake != 0 && bus_load_acquire(&m->entry->ring_id) == pub->ring_id &&
	    bus_load_acquire(&m->entry->cursor) < m->atwake + RING_MUTANT(hostile_off_by_one))
		return;
	if (!pub->wake(pub, m))
		return; /* no bell yet: it sleeps in slices until there is one */
	m->woken = w;
	m->atwake = pub->n;
}

/*
 * W1 is asymmetric. A fence in each publish cost a third of the single-message rate
 * (bench/ring_variants.c), and the reader that it is for sleeps rarely. So the publisher only keeps
 * the compiler in order, and a subscriber that is about to sleep has the kernel run a full fence on
 * every publisher that is running (W3, wake_barrier()). Where either side lacks that system call,
 * pub->fences makes W1 a fence.
 */
static inline void ring_pub_w1(const struct ring_pub *pub)
{
	if (bus_unlikely(pub->fences) && !RING_MUTANT(no_w1))
		bus_fence_seq_cst();
	else
		bus_fence_light();
}

/* Whether nobody sleeps whom we did not wake, and nobody joined. */
BUS_INLINE bool ring_pub_quiet(const struct ring_pub *pub)
{
	uint64_t epoch = 0;

	if (RING_MUTANT(epoch_before_w1))
		epoch = bus_load_acquire(pub->epoch);
	ring_pub_w1(pub); /* W1, pairs with W3 */
	if (!RING_MUTANT(epoch_before_w1))
		epoch = bus_load_acquire(pub->epoch); /* after W1, not before */
	if (bus_unlikely(epoch != pub->seen))
		return false;
	for (const struct ring_member *m = pub->members, *end = m + pub->member_count; m != end; m++) {
		uint32_t w = bus_load_acquire(m->waiting);

		if (bus_unlikely(w != 0 && (w != m->woken || RING_MUTANT(woken_is_a_flag))))
			return false;
	}
	return true;
}

/* After ring_pub_quiet() said no. */
BUS_COLD static enum ring_room ring_pub_wake_all(struct ring_pub *pub)
{
	bool news = bus_load_acquire(pub->epoch) != pub->seen;

	for (uint32_t i = 0; i < pub->member_count; i++) {
		struct ring_member *m = &pub->members[i];
		uint32_t w = bus_load_acquire(m->waiting);

		if (RING_MUTANT(woken_is_a_flag))
			m->woken = w != 0 && m->woken != 0 ? w : 0;
		if (w != 0 && w != m->woken)
			ring_pub_wake_member(pub, m, w);
	}
	return news ? RING_NEWS : RING_ROOM;
}

/*
 * Wakes who sleeps, after one or more commits. RING_NEWS: somebody joined meanwhile and may sleep
 * already: receive the memberships, ring_pub_seen(), call again; where they are not there set
 * pub->wake_owed and treat the next publish as an unknown gate.
 */
BUS_INLINE enum ring_room ring_pub_wake(struct ring_pub *pub)
{
	return bus_likely(ring_pub_quiet(pub)) ? RING_ROOM : ring_pub_wake_all(pub);
}

#endif
