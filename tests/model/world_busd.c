/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd as far as a live topic needs it: busd/change.c, member.c, ring.c, pub.c, sub.c. One topic.
 */
#include "world.h"

struct busd *busd_of(int me)
{
	return (struct busd *)(void *)explore_own[me];
}

void busd_begin(struct busd *b, int me)
{
	b->me = (uint8_t)me;
	for (int r = 0; r < WORLD_RINGS; r++)
		b->owner[r] = NOBODY;
}

static bool alive(const struct busd *b, int party)
{
	return !(b->gone >> party & 1);
}

static void raise_epoch(struct busd *b)
{
	bus_store_release(&board->epoch, b->number);
	if (!SIM_MUTANT(no_f2) && !RING_MUTANT(no_f3))
		bus_fence_seq_cst(); /* F2 */
	if (plan.wants_fence && !SIM_MUTANT(busd_no_barrier))
		explore_barrier(); /* in place of the joiner, which cannot */
}

static void send_members(struct busd *b, int op, int sub, uint32_t ring_mask)
{
	for (int r = 0; r < WORLD_RINGS; r++) {
		struct note note = { .kind = NOTE_MEMBER,
				     .number = b->number,
				     .ring = (uint8_t)r,
				     .sub = (uint8_t)sub };

		if (b->owner[r] == NOBODY || !alive(b, b->owner[r]))
			continue;
		if (ring_mask >> r & 1) {
			note.op = (uint8_t)op;
			note.start = (uint8_t)bus_load_acquire(&rings[r].page->head);
		}
		post(events_of(b->owner[r]), note);
	}
}

/*
 * Each publisher of an open ring is sent the change with its number, then the epoch follows, then
 * the fence.
 */
static void change(struct busd *b, int op, int sub, uint32_t ring_mask)
{
	b->number++;
	if (SIM_MUTANT(epoch_before_members))
		raise_epoch(b);
	if (!plan.socket_full)
		send_members(b, op, sub, ring_mask);
	if (!SIM_MUTANT(epoch_before_members))
		raise_epoch(b);
}

/* All who sleep on this topic. */
static void ring_all(struct busd *b, uint32_t subs)
{
	/* A joiner's own fence is redundant as long as busd's or one of its system calls is there. */
	if (SIM_MUTANT(busd_does_not_ring) || RING_MUTANT(no_f3))
		return;
	for (int r = 0; r < WORLD_RINGS; r++)
		if (b->owner[r] != NOBODY && alive(b, b->owner[r]) &&
		    (r == 0 || b->owner[r] != b->owner[r - 1]))
			bell_ring(b->me, b->owner[r]);
	for (int s = 0; s < plan.subs; s++)
		if ((subs >> s & 1) && alive(b, world_sub(s)))
			bell_ring(b->me, world_sub(s));
}

static void answer(struct busd *b, int party)
{
	post(answers_of(party), (struct note){ .kind = NOTE_ANSWER, .number = b->number });
}

static void join(struct busd *b, struct note q)
{
	uint32_t mask = q.kind == NOTE_JOIN ? 1u << q.ring : 0;

	for (int r = 0; r < WORLD_RINGS; r++)
		if (b->reads[r] >> q.sub & 1)
			mask |= 1u << r;
	for (int r = 0; r < WORLD_RINGS; r++)
		if (mask >> r & 1)
			b->reads[r] |= (uint8_t)(1u << q.sub);
	if (SIM_MUTANT(answer_before_epoch))
		answer(b, q.from);
	change(b, MEMBER_ADD, q.sub, mask);
	ring_all(b, 0);
	if (!SIM_MUTANT(answer_before_epoch))
		answer(b, q.from);
	if (plan.socket_full) {
		send_members(b, MEMBER_ADD, q.sub, mask);
		ring_all(b, 0);
	}
}

/*
 * A publisher's ring is ready: every subscriber gets an entry and is told, then the publisher is
 * answered.
 */
static void new_ring(struct busd *b, struct note q)
{
	bool follows = q.ring > 0 && b->owner[q.ring - 1] == q.from;

	if (follows)
		bus_store_release(&board->next_ring[q.ring - 1], (uint64_t)q.ring + 1);
	b->owner[q.ring] = q.from;
	for (int s = 0; s < plan.subs; s++) {
		if (!alive(b, world_sub(s)))
			continue;
		b->reads[q.ring] |= (uint8_t)(1u << s);
		post(events_of(world_sub(s)), (struct note){ .kind = NOTE_RING,
							     .ring = q.ring,
							     .op = (uint8_t)(follows ? q.ring : 0) });
	}
	b->number++;
	for (int s = 0; s < plan.subs; s++)
		if (b->reads[q.ring] >> s & 1)
			post(events_of(q.from), (struct note){ .kind = NOTE_MEMBER,
							       .op = MEMBER_ADD,
							       .number = b->number,
							       .ring = q.ring,
							       .sub = (uint8_t)s });
	for (int r = 0; r < WORLD_RINGS; r++)
		if (r != q.ring && b->owner[r] != NOBODY && b->owner[r] != q.from &&
		    alive(b, b->owner[r]))
			post(events_of(b->owner[r]),
			     (struct note){ .kind = NOTE_MEMBER, .number = b->number });
	raise_epoch(b);
	if (SIM_MUTANT(answer_before_bell))
		answer(b, q.from);
	ring_all(b, ~0u);
	if (!SIM_MUTANT(answer_before_bell))
		answer(b, q.from);
}

static void raise_evicted(int sub)
{
	bus_store_release(&board->evicted[sub], bus_load_relaxed(&board->evicted[sub]) + 1);
}

/*
 * Looks itself: a reader whose cursor stands where it stood and that holds the ring full is
 * evicted.
 */
static void evict(struct busd *b, struct note q)
{
	const struct cursor_entry *entry = &cursors[q.sub]->entry[q.ring];
	uint64_t at = bus_load_acquire(&entry->cursor);

	if ((b->reads[q.ring] >> q.sub & 1) && bus_load_acquire(&entry->cursor) == at) {
		raise_evicted(q.sub);
		change(b, MEMBER_REMOVE, q.sub, 1u << q.ring);
		ring_all(b, 1u << q.sub);
	}
	answer(b, q.from);
}

static void close_ring(struct busd *b, int r)
{
	bus_store_release(&board->state[r], BOARD_RING_CLOSED);
	b->owner[r] = NOBODY;
}

static void end_open(uint8_t state)
{
	for (int r = 0; r < plan.pubs; r++)
		bus_store_release(&board->state[r], state);
}

/* ring_end_open(), topic_remove() */
void busd_remove(struct busd *b)
{
	uint32_t readers = 0;

	if (SIM_MUTANT(closed_before_epoch))
		end_open(BOARD_RING_CLOSED);
	else if (!SIM_MUTANT(ending_after_epoch))
		end_open(BOARD_RING_ENDING);
	change(b, MEMBER_NONE, 0, 0);
	if (SIM_MUTANT(ending_after_epoch))
		end_open(BOARD_RING_ENDING);
	if (!plan.fences && !SIM_MUTANT(ending_no_barrier))
		explore_barrier();
	for (int r = 0; r < plan.pubs; r++) {
		readers |= b->reads[r];
		bus_store_release(&board->state[r], BOARD_RING_CLOSED);
	}
	ring_all(b, readers);
	for (int r = 0; r < plan.pubs; r++)
		b->owner[r] = NOBODY;
}

static void party_gone(struct busd *b, int party)
{
	b->gone |= (uint8_t)(1u << party);
	if (party < plan.pubs) {
		uint32_t readers = 0;

		for (int r = 0; r < WORLD_RINGS; r++) {
			if (b->owner[r] != party)
				continue;
			close_ring(b, r);
			readers |= b->reads[r];
		}
		ring_all(b, readers);
	} else {
		uint32_t mask = 0;

		for (int r = 0; r < WORLD_RINGS; r++)
			if (b->reads[r] >> (party - world_sub(0)) & 1)
				mask |= 1u << r;
		change(b, MEMBER_REMOVE, party - world_sub(0), mask);
		ring_all(b, 0);
	}
}

void busd_serve(struct busd *b)
{
	uint32_t all = (1u << (plan.pubs + plan.subs)) - 1;

	while ((b->gone & all) != all) {
		struct note q;

		explore_point(3000);
		explore_fold(b, sizeof(*b));
		q = await(REQUESTS, plan.ends ? all & ~(uint32_t)b->gone : 0);
		switch (q.kind) {
		case NOTE_JOIN:
		case NOTE_REJOIN:
			join(b, q);
			break;
		case NOTE_NEW_RING:
			new_ring(b, q);
			break;
		case NOTE_EVICT:
			evict(b, q);
			break;
		case NOTE_GONE:
			party_gone(b, q.from);
			break;
		default:
			explore_fail("busd was sent note %d", q.kind);
		}
	}
}
