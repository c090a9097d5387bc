/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/gate.h"

void ring_pub_init(struct ring_pub *pub, const struct ring_view *view, uint64_t ring_id,
		   uint64_t first_seq, const _Atomic uint64_t *epoch)
{
	*pub = (struct ring_pub){
		.n = first_seq,
		.limit_seq = first_seq, /* the first publish refreshes */
		.epoch = epoch,
		.view = *view,
		.ring_id = ring_id,
	};
}

/*
 * How far one member has read. UINT64_MAX where it does not gate. Each shared word is read once.
 * `last` begins at 0, not at start: a reader tags its entry with a cursor that it took before busd
 * chose start.
 */
static uint64_t member_cursor(struct ring_member *m, uint64_t ring_id, uint64_t n)
{
	uint64_t c;

	if (bus_load_acquire(&m->entry->ring_id) != ring_id) {
		if (RING_MUTANT(lying_untagged))
			m->last = m->start;
		return m->start;
	}
	c = bus_load_acquire(&m->entry->cursor); /* A-cursor: what lies below has been read */
	if (c == CURSOR_PARKED && !RING_MUTANT(no_parked_test))
		return UINT64_MAX;
	if ((c < m->last || c > n) && !RING_MUTANT(no_lying_test)) {
		m->lying = true;
		return UINT64_MAX;
	}
	m->last = c;
	return c;
}

/*
 * How far beyond n the limit may run: an eighth of the ring, so that refresh runs 8 times per lap;
 * in large rings less, because what lies below the frontier minus a lap counts as gone for lossy
 * and late readers.
 */
#define LAZY_SLOTS 4096
#define LAZY_BYTES (1u << 20)

static uint64_t lazy(uint64_t whole, uint64_t most)
{
	return bus_max_u64(1, bus_min_u64(whole / 8, most));
}

/*
 * The same for the payload area, where a message is large: four of them, if that is no more than a
 * quarter of the ring. Else each would pay for a refresh, which costs more than its hand-over.
 */
static uint64_t lazy_bytes(uint64_t whole, uint64_t need)
{
	uint64_t some = bus_min_u64(4 * need, whole / 4);

	return bus_max_u64(bus_max_u64(lazy(whole, LAZY_BYTES), some), need);
}

enum ring_room ring_pub_refresh(struct ring_pub *pub, uint64_t need)
{
	const struct ring_view *v = &pub->view;
	uint64_t gs = pub->n, gp, ls, lp;

	if (!RING_MUTANT(no_f1))
		bus_fence_seq_cst(); /* F1, pairs with F2 in busd */
	if (bus_load_acquire(pub->epoch) != pub->seen) {
		pub->slowest = 0;
		return RING_NEWS;
	}
	pub->slowest = 0;
	for (uint32_t i = 0; i < pub->member_count; i++) {
		struct ring_member *m = &pub->members[i];
		uint64_t c;

		if (!m->gates || m->lying)
			continue;
		c = bus_max_u64(member_cursor(m, pub->ring_id, pub->n), pub->begin);
		if (c < gs) {
			gs = c;
			pub->slowest = m->sub_id;
		}
	}
	if (RING_MUTANT(no_slot_gate))
		gs = pub->n;
	if (pub->n - gs >= v->slot_count)
		return RING_BLOCKED;
	/*
	 * Byte gate: where the oldest unread message starts. Our own slot, which nobody else can
	 * write.
	 */
	gp = gs < pub->n && !RING_MUTANT(no_byte_gate) ? bus_load_relaxed(&ring_slot_of(v, gs)->pos)
						       : pub->pos;
	ls = bus_min_u64(gs + v->slot_count, pub->n + lazy(v->slot_count, LAZY_SLOTS));
	lp = bus_min_u64(gp + v->bytes, pub->pos + lazy_bytes(v->bytes, need));
	if (lp < pub->pos + need)
		return RING_BLOCKED;
	pub->limit_seq = bus_max_u64(pub->limit_seq, ls);
	pub->limit_pos = bus_max_u64(pub->limit_pos, lp);
	if (RING_MUTANT(no_frontier))
		return RING_ROOM;
	bus_store_relaxed(&v->page->frontier_seq, pub->limit_seq);
	bus_store_relaxed(&v->page->frontier_pos, pub->limit_pos);
	if (!RING_MUTANT(no_r1))
		/*
		 * R1: nobody sees a byte below the new limit change before it can see the frontier
		 */
		bus_fence_seq_cst();
	return RING_ROOM;
}

/*
 * The cursor from which on a reader leaves room that is worth waking for: an eighth of the slots
 * and of the bytes, and `need`. With room for one message only, each message would cost a wake-up
 * and a sleep (4 subscribers on 2 processors: a third of the rate). Never above n, so who reads all
 * there is wakes.
 */
static uint64_t wake_cursor(const struct ring_pub *pub, uint64_t need)
{
	const struct ring_view *v = &pub->view;
	uint64_t slots = bus_max_u64(1, v->slot_count / RING_WAKE_PART);
	uint64_t bytes = bus_max_u64(need, v->bytes / RING_WAKE_PART);
	uint64_t low = pub->n > v->slot_count ? pub->n - v->slot_count : 0, high = pub->n;

	/* The first slot of the lap at or behind which there are so many bytes: positions never go down. */
	while (low < high) {
		uint64_t mid = low + (high - low) / 2;

		if (bus_load_relaxed(&ring_slot_of(v, mid)->pos) + v->bytes >= pub->pos + bytes)
			high = mid;
		else
			low = mid + 1;
	}
	if (pub->n + slots > v->slot_count)
		low = bus_max_u64(low, pub->n + slots - v->slot_count);
	return low + RING_MUTANT(wake_at_beyond);
}

static void wait_begin(struct ring_pub *pub, uint64_t at)
{
	struct ring_writer_page *page = pub->view.page;

	/*
	 * Who has woken us in this generation has come that far, and has nothing more to give; the
	 * others wake when they do. So one that reads on while another stands still wakes us once.
	 */
	if (at != pub->wake_at || pub->waiting_gen == 0) {
		pub->wake_at = at;
		if (++pub->waiting_gen == 0)
			pub->waiting_gen = 1;
		if (!RING_MUTANT(wake_at_after))
			bus_store_relaxed(&page->wake_at, at);
	}
	bus_store_release(&page->waiting, pub->waiting_gen);
	if (RING_MUTANT(wake_at_after))
		bus_store_release(&page->wake_at, at);
	if (!RING_MUTANT(no_w3_pub))
		/*
		 * W3, pairs with W2: either we see the flushed cursor or its reader sees us waiting
		 */
		bus_fence_seq_cst();
}

void ring_pub_wait_begin(struct ring_pub *pub, uint64_t need)
{
	wait_begin(pub, wake_cursor(pub, need));
}

void ring_pub_wait_until(struct ring_pub *pub, uint64_t seq)
{
	wait_begin(pub, seq);
}

void ring_pub_wait_end(struct ring_pub *pub)
{
	bus_store_relaxed(&pub->view.page->waiting, 0);
}

void ring_pub_begin(struct ring_pub *pub, uint64_t n)
{
	struct ring_writer_page *page = pub->view.page;

	pub->n = n;
	pub->begin = n;
	pub->limit_seq = n; /* the first publish refreshes */
	bus_store_relaxed(&page->frontier_seq, n);
	bus_store_release(&page->head, n);
	bus_store_release(&page->begin_seq, n + 1);
}

/*
 * Nothing will be written any more, so the frontier comes down to what was: a late reader finds the
 * whole last lap. Readers that look meanwhile take a message for good that is: nobody overwrites it
 * now. What was written and not published (an aborted claim, one that ended in its slot) lies over
 * the oldest payload all the same.
 */
void ring_pub_final(struct ring_pub *pub)
{
	bus_store_release(&pub->view.page->frontier_seq, pub->n);
	bus_store_release(&pub->view.page->frontier_pos, bus_max_u64(pub->pos, pub->written_pos));
	bus_store_release(&pub->view.page->final_seq, RING_MUTANT(final_zero) ? pub->n : pub->n + 1);
}
