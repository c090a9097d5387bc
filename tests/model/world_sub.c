/* SPDX-License-Identifier: Apache-2.0 */
/* The subscriber's loops: libbus/api/sub_read.c, sub_wait.c, sub_rings.c. */
#include "world.h"

#include <string.h>

struct subscriber *subscriber_of(int me)
{
	return (struct subscriber *)(void *)explore_own[me];
}

static bool wake_publisher(struct ring_reader *rd)
{
	struct subscriber *s = rd->owner;

	/* Ring 1 belongs to the second publisher, or continues ring 0. */
	bell_ring(s->me, world_pub(plan.pubs > 1 ? (int)rd->ring_id - 1 : 0));
	return true;
}

void subscriber_begin(struct subscriber *s, int me)
{
	s->me = (uint8_t)me;
	s->index = (uint8_t)(me - world_sub(0));
	s->reliable = !plan.lossy[s->index];
}

static void attach(struct subscriber *s, int ring, uint64_t start)
{
	struct ring_reader *rd = &s->rd[ring];

	ring_reader_init(rd, &rings[ring].view, (uint64_t)ring + 1, &cursors[s->index]->entry[ring],
			 &board->state[ring], BOARD_RING_CLOSED, start);
	rd->wake = wake_publisher;
	rd->owner = s;
	if (plan.flush_every)
		rd->flush_every = plan.flush_every;
	s->attached[ring] = true;
	s->active[ring] = true;
}

void subscriber_knows(struct subscriber *s, int ring)
{
	attach(s, ring, 0);
}

/* ---- reading ---- */

static void check_slot(const struct subscriber *s, int ring, const struct ring_peeked *m)
{
	uint64_t tag = message_tag(ring, m->seq);
	uint32_t len = message_size(ring, m->seq);
	bool whole = m->time == tag && m->len == len && m->key_hash == (uint32_t)m->seq &&
		     m->pos == message_pos(ring, m->seq);

	if (m->flags & RING_FLAG_INLINE)
		whole = whole && m->in[0] == tag && m->in[1] == tag && m->in[2] == tag;
	EXPLORE_REQUIRE(whole, "sub%d: the slot of message %d of ring %d is torn", s->index,
			(int)m->seq, ring);
}

static bool payload_whole(const struct subscriber *s, int ring, const struct ring_peeked *m)
{
	bool whole = true;

	if (m->flags & RING_FLAG_INLINE)
		return true;
	for (uint64_t at = 0; at < ring_need(0, m->len); at += RING_POS_ALIGN) {
		const uint8_t *from = ring_reader_at(&s->rd[ring], m->pos) + at;

		whole &= bus_load_relaxed((const _Atomic uint64_t *)(const void *)from) ==
			 message_tag(ring, m->seq);
	}
	return whole;
}

static bool evicted(const struct subscriber *s)
{
	return plan.busd && bus_load_acquire(&board->evicted[s->index]) != s->evicted_seen;
}

/* Read to its end: its successor may be read now. The entry gates nobody until it is another ring's. */
static void finish_ring(struct subscriber *s, int ring)
{
	s->finished[ring] = true;
	for (int r = 0; r < WORLD_RINGS; r++)
		if (s->prev[r] == ring + 1)
			s->active[r] = true;
	bus_store_release(&s->rd[ring].entry->cursor, CURSOR_PARKED);
}

/*
 * A reliable reader may not, with one exception: of one that began at the oldest message the publisher may not have known at
 * the refresh before, whose limit is an eighth of the slots ahead.
 */
static bool may_lose(const struct subscriber *s, int ring, uint64_t seq)
{
	return !s->reliable || s->parked || seq < s->unsafe[ring];
}

/* Nothing of this ring is borrowed. true: look again. */
static bool ring_says(struct subscriber *s, int ring, enum ring_look l)
{
	struct ring_reader *rd = &s->rd[ring];

	if (l == RING_EMPTY) {
		if (rd->cur != rd->flushed && !SIM_MUTANT(no_flush_before_sleep))
			ring_reader_flush(rd);
		if (ring_reader_drained(rd)) {
			finish_ring(s, ring);
			return true;
		}
		return false;
	}
	EXPLORE_REQUIRE(l == RING_LAPPED, "sub%d: peek says %d", s->index, l);
	if (evicted(s)) {
		subscriber_news(s);
		return true;
	}
	EXPLORE_REQUIRE(may_lose(s, ring, rd->cur),
			"sub%d: a reliable reader was overtaken at %d of ring %d", s->index,
			(int)rd->cur, ring);
	ring_reader_lapped(rd);
	return true;
}

struct taken {
	int count;
	uint64_t pos; /* of the first */
	bool whole;   /* all payloads, as far as this party could see */
};

/* As take_run() and take_one() of sub_read.c: a run with one look at the frontier, else one message. */
static enum ring_look take_run(struct subscriber *s, int ring, struct taken *t)
{
	struct ring_reader *rd = &s->rd[ring];
	struct ring_peeked m[BATCH_MAX] = { 0 };
	int most = plan.batch ? plan.batch : 1, oldest = 0;
	enum ring_look l;

	t->count = 0;
	t->whole = true;
	do {
		l = ring_reader_slot(rd, rd->ahead + (uint64_t)t->count, &m[t->count],
				     m[t->count].in);
		if (l != RING_MESSAGE)
			break;
	} while (++t->count < most);
	if (t->count == 0 && l == RING_EMPTY)
		return l;
	if (SIM_MUTANT(whole_by_newest) && t->count > 0)
		oldest = t->count - 1;
	if (t->count == 0 || !ring_reader_whole(rd, m[oldest].seq, m[oldest].pos)) {
		l = ring_reader_peek(rd, &m[0]);
		t->count = l == RING_MESSAGE;
	}
	for (int i = 0; i < t->count; i++)
		check_slot(s, ring, &m[i]);
	t->pos = m[0].pos;
	rd->ahead += (uint64_t)t->count;
	for (int i = 0; i < t->count; i++)
		t->whole &= payload_whole(s, ring, &m[i]);
	return l;
}

/* Borrows up to plan.batch messages, looks at their payload, releases them. true: look again. */
static bool take_from(struct subscriber *s, int ring)
{
	struct ring_reader *rd = &s->rd[ring];
	struct taken t;
	enum ring_look l;
	bool stale;

	if (!ring_reader_came(rd) && rd->cur == rd->flushed)
		return false;
	l = take_run(s, ring, &t);
	if (t.count == 0)
		return ring_says(s, ring, l);
	stale = !ring_reader_release(rd, (uint64_t)t.count, t.pos);
	EXPLORE_REQUIRE(rd->cur - (uint64_t)t.count >= s->next[ring],
			"sub%d: a message of ring %d came twice", s->index, ring);
	s->next[ring] = (uint8_t)rd->cur;
	EXPLORE_REQUIRE(stale || t.whole, "sub%d: a torn payload of ring %d was released as good",
			s->index, ring);
	EXPLORE_REQUIRE(!stale || may_lose(s, ring, rd->cur - (uint64_t)t.count) || evicted(s),
			"sub%d: a reliable reader's message went stale", s->index);
	if (stale && SIM_MUTANT(count_at_stale))
		rd->lost += bus_load_acquire(&rd->view.page->head) - rd->cur;
	return true;
}

bool subscriber_take(struct subscriber *s)
{
	bool got = false;

	if (plan.busd && bus_load_acquire(&board->bell[world_busd()][s->me]) != s->bell_seen &&
	    subscriber_news(s))
		return true; /* the caller is told of the eviction */
	for (int r = 0; r < WORLD_RINGS; r++)
		if (s->attached[r] && s->active[r] && !s->finished[r])
			got |= take_from(s, r);
	return got;
}

/* ---- sleeping ---- */

void subscriber_flush(struct subscriber *s)
{
	for (int r = 0; r < WORLD_RINGS; r++) {
		if (!s->attached[r] || s->finished[r] || s->rd[r].cur == s->rd[r].flushed)
			continue;
		if (SIM_MUTANT(no_flush_before_sleep) ||
		    (SIM_MUTANT(flush_per_subscription) && !s->active[r]))
			continue;
		ring_reader_flush(&s->rd[r]);
	}
}

/* Whether there is a reason not to sleep. An end of a ring is dealt with here. */
bool subscriber_something(struct subscriber *s)
{
	if (plan.busd && !SIM_MUTANT(no_bell_look) &&
	    bus_load_acquire(&board->bell[world_busd()][s->me]) != s->bell_seen && subscriber_news(s))
		return true; /* the caller is told of the eviction */
	for (int r = 0; r < WORLD_RINGS; r++) {
		if (!s->attached[r] || !s->active[r] || s->finished[r])
			continue;
		if (!ring_reader_ready(&s->rd[r])) {
			if (SIM_MUTANT(next_means_end) && bus_load_acquire(&board->next_ring[r]) != 0)
				finish_ring(s, r);
			continue;
		}
		if (!ring_reader_drained(&s->rd[r]))
			return true;
		finish_ring(s, r);
		r = -1; /* its successor may be active now */
	}
	return s->done && s->done(s);
}

static unsigned read_bells(const struct subscriber *s, const volatile _Atomic uint32_t **words,
			   uint32_t *values)
{
	unsigned n = 0;

	if (plan.busd) {
		words[n] = &board->bell[world_busd()][s->me];
		values[n++] = bus_load_acquire(&board->bell[world_busd()][s->me]);
	}
	for (int p = 0; p < plan.pubs; p++) {
		if (!s->attached[p])
			continue;
		words[n] = &board->bell[world_pub(p)][s->me];
		values[n++] = bus_load_acquire(&board->bell[world_pub(p)][s->me]);
	}
	return n;
}

/*
 * The sleep without a barrier that comes first where sleeps are many. Its end is the others' moves
 * before the next one of ours; a bell that rings meanwhile is found by the look that follows.
 */
static bool sleep_briefly(struct subscriber *s)
{
	bool found;

	if (!SIM_MUTANT(brief_same_generation))
		s->gen++;
	bus_store_relaxed(&cursors[s->index]->waiting, s->gen + SIM_MUTANT(brief_same_generation));
	bus_fence_seq_cst();
	found = subscriber_something(s);
	bus_store_relaxed(&cursors[s->index]->waiting, 0);
	return found;
}

/* Nothing is borrowed, subscriber_take() found nothing. */
void subscriber_wait(struct subscriber *s)
{
	const volatile _Atomic uint32_t *words[EXPLORE_FUTEX_MAX];
	uint32_t values[EXPLORE_FUTEX_MAX];
	unsigned n = 0;
	uint8_t known = 0, knows = 0;

	subscriber_flush(s);
	for (int r = 0; r < WORLD_RINGS; r++)
		known += s->attached[r];
	if (plan.brief && sleep_briefly(s))
		return;
	if (!SIM_MUTANT(bells_read_late))
		n = read_bells(s, words, values);
	s->gen = SIM_MUTANT(same_generation) ? 1 : s->gen + 1;
	bus_store_relaxed(&cursors[s->index]->waiting, s->gen);
	if ((plan.fences || plan.wants_fence) && !SIM_MUTANT(no_w3))
		bus_fence_seq_cst();
	if (!plan.fences && !plan.wants_fence && !SIM_MUTANT(no_barrier))
		explore_barrier(); /* W3 */
	if (SIM_MUTANT(no_second_look) || !subscriber_something(s)) {
		for (int r = 0; r < WORLD_RINGS; r++)
			knows += s->attached[r];
		if (SIM_MUTANT(bells_read_late))
			n = read_bells(s, words, values);
		if (knows == known) /* else a ring came, whose bell is not among the words */
			explore_futex_wait(words, values, n);
	}
	bus_store_relaxed(&cursors[s->index]->waiting, 0);
}

void subscriber_point(const struct subscriber *s, uint64_t id)
{
	explore_point(id);
	explore_fold(s, sizeof(*s));
}

/* ---- joining ---- */

/* Join, step 2. false: busd has gone, the cursor is parked. */
static bool ask_to_join(struct subscriber *s, int ring)
{
	struct note answer;

	post(REQUESTS,
	     (struct note){ .kind = NOTE_JOIN, .from = s->me, .sub = s->index, .ring = (uint8_t)ring });
	answer = await(answers_of(s->me), 1u << world_busd());
	if (answer.kind == NOTE_GONE) {
		if (!SIM_MUTANT(no_park))
			ring_reader_park(&s->rd[ring]);
		s->parked = true;
	}
	return !s->parked;
}

void subscriber_join(struct subscriber *s, int ring, bool tag_first)
{
	struct ring_reader *rd = &s->rd[ring];

	attach(s, ring, bus_load_acquire(&rings[ring].page->head));
	if (tag_first)
		ring_reader_tag(rd);
	if (!ask_to_join(s, ring))
		return;
	if (!tag_first)
		ring_reader_tag(rd);
	ring_reader_joined_now(rd);
	s->first[ring] = (uint8_t)rd->cur;
}

/* Reads from the oldest message on without telling anybody. */
void subscriber_peruse(struct subscriber *s, int ring)
{
	attach(s, ring, 0);
	ring_reader_begin_oldest(&s->rd[ring]);
	ring_reader_skip_gone(&s->rd[ring]);
	s->first[ring] = (uint8_t)s->rd[ring].cur;
}

void subscriber_join_oldest(struct subscriber *s, int ring)
{
	struct ring_reader *rd = &s->rd[ring];
	uint64_t edge;

	attach(s, ring, 0);
	ring_reader_begin_oldest(rd);
	ring_reader_tag(rd);
	if (!ask_to_join(s, ring))
		return;
	ring_reader_begin_oldest(rd);
	ring_reader_skip_gone(rd);
	ring_reader_flush(rd);
	s->first[ring] = (uint8_t)rd->cur;
	edge = explore_memory_of(&rd->view.page->head, 8) + bus_max_u64(1, plan.slots / 8);
	s->unsafe[ring] = (uint8_t)(edge > plan.slots ? edge - plan.slots : 0);
}

static void rejoin(struct subscriber *s)
{
	s->evicted_seen = (uint8_t)bus_load_acquire(&board->evicted[s->index]);
	for (int r = 0; r < WORLD_RINGS; r++) {
		struct ring_reader *rd = &s->rd[r];
		uint64_t head, was = rd->cur;

		if (!s->attached[r] || s->finished[r])
			continue;
		head = bus_load_acquire(&rd->view.page->head);
		if (head > rd->cur || SIM_MUTANT(rejoin_goes_back))
			rd->cur = rd->ahead = head;
		ring_reader_tag(rd);
		if (!SIM_MUTANT(rejoin_goes_back))
			rd->cur = rd->ahead = was;
	}
	post(REQUESTS, (struct note){ .kind = NOTE_REJOIN, .from = s->me, .sub = s->index });
	if (await(answers_of(s->me), 1u << world_busd()).kind == NOTE_GONE)
		s->parked = true;
	for (int r = 0; r < WORLD_RINGS; r++) {
		struct ring_reader *rd = &s->rd[r];
		uint64_t was = rd->cur;

		if (!s->attached[r] || s->finished[r])
			continue;
		ring_reader_joined_now(rd);
		rd->lost += rd->cur - was;
	}
}

bool subscriber_news(struct subscriber *s)
{
	s->bell_seen = bus_load_acquire(&board->bell[world_busd()][s->me]);
	for (;;) {
		struct note note = receive(events_of(s->me));

		if (note.kind == NOTE_NONE)
			break;
		attach(s, note.ring, note.start);
		s->prev[note.ring] = note.op;
		s->active[note.ring] = note.op == 0 || s->finished[note.op - 1] ||
				       !s->attached[note.op - 1];
		ring_reader_tag(&s->rd[note.ring]);
	}
	if (!evicted(s))
		return false;
	rejoin(s);
	return true;
}
