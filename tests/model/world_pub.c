/* SPDX-License-Identifier: Apache-2.0 */
/* The publisher's loops: libbus/api/pub.c, pub_members.c, pub_room.c. */
#include "world.h"

struct publisher *publisher_of(int me)
{
	return (struct publisher *)(void *)explore_own[me];
}

static bool wake_member(struct ring_pub *ring, struct ring_member *m)
{
	struct publisher *p = BUS_CONTAINER_OF(ring, struct publisher, ring);

	bell_ring(p->me, world_sub((int)m->sub_id - 1));
	return true;
}

void publisher_begin(struct publisher *p, int me, int ring)
{
	p->me = (uint8_t)me;
	p->index = (uint8_t)ring;
	ring_pub_init(&p->ring, &rings[ring].view, (uint64_t)ring + 1, 0, &board->epoch);
	p->ring.members = p->members;
	p->ring.fences = plan.fences;
	p->ring.wake = wake_member;
}

static void remove_member(struct publisher *p, int sub)
{
	for (uint32_t i = 0; i < p->ring.member_count; i++)
		if (p->members[i].sub_id == (uint64_t)sub + 1)
			p->members[i] = p->members[--p->ring.member_count];
}

void publisher_knows(struct publisher *p, int sub, uint64_t start)
{
	remove_member(p, sub);
	p->ring.fences |= plan.wants_fence;
	p->members[p->ring.member_count++] = (struct ring_member){
		.entry = &cursors[sub]->entry[p->index],
		.waiting = &cursors[sub]->waiting,
		.start = start,
		.last = SIM_MUTANT(last_from_start) ? start : 0,
		.gates = !plan.lossy[sub],
		.sub_id = (uint64_t)sub + 1,
	};
}

/* ---- memberships ---- */

static bool news(struct publisher *p)
{
	uint64_t epoch = bus_load_acquire(&board->epoch);

	for (;;) {
		struct note note = receive(events_of(p->me));

		if (note.kind == NOTE_NONE)
			break;
		if (note.op == MEMBER_ADD && note.ring == p->index)
			publisher_knows(p, note.sub, note.start);
		if (note.op == MEMBER_REMOVE)
			remove_member(p, note.sub);
		if (note.number > p->number)
			p->number = note.number;
	}
	if (bus_load_acquire(&board->state[p->index]) != BOARD_RING_OPEN)
		p->shut = true;
	if (p->number < epoch && !SIM_MUTANT(unknown_gate_ignored))
		return false;
	ring_pub_seen(&p->ring, epoch);
	return true;
}

static void wake_news(struct publisher *p)
{
	for (int i = 0; i < 100; i++) {
		if (!news(p)) {
			if (SIM_MUTANT(late_member_not_awaited) || p->shut)
				break;
			/* busd still has it: api waits a little */
			await_readable(events_of(p->me));
		} else if (ring_pub_wake(&p->ring) != RING_NEWS) {
			p->ring.wake_owed = false;
			return;
		}
	}
	p->ring.wake_owed = true;
}

static void wake_readers(struct publisher *p)
{
	if (ring_pub_wake(&p->ring) == RING_NEWS)
		wake_news(p);
}

/* ---- room ---- */

static void check_members(const struct publisher *p)
{
	for (uint32_t i = 0; i < p->ring.member_count; i++)
		if (p->members[i].lying)
			ghost->oracle.reported |= (uint8_t)(1u << (p->members[i].sub_id - 1));
}

static enum ring_room look(struct publisher *p, uint64_t need)
{
	enum ring_room room = ring_pub_refresh(&p->ring, need);

	for (int i = 0; room == RING_NEWS && i < 100; i++) {
		if (!news(p))
			return RING_NEWS;
		room = ring_pub_refresh(&p->ring, need);
	}
	check_members(p);
	return room;
}

static bool ring_is_closed(const struct publisher *p)
{
	return bus_load_acquire(&board->state[p->index]) != BOARD_RING_OPEN;
}

static unsigned read_bells(struct publisher *p, const volatile _Atomic uint32_t **words,
			   uint32_t *values)
{
	unsigned n = 0;

	if (plan.busd) {
		words[n] = &board->bell[world_busd()][p->me];
		values[n++] = bus_load_acquire(&board->bell[world_busd()][p->me]);
	}
	for (uint32_t i = 0; i < p->ring.member_count; i++) {
		int sub = world_sub((int)p->members[i].sub_id - 1);

		if (!p->members[i].gates || p->members[i].lying)
			continue;
		if (SIM_MUTANT(slowest_bell_only) && p->members[i].sub_id != p->ring.slowest)
			continue;
		words[n] = &board->bell[sub][p->me];
		values[n++] = bus_load_acquire(&board->bell[sub][p->me]);
	}
	return n;
}

/* true: room. false: look again. */
static bool sleep_once(struct publisher *p, uint64_t need)
{
	const volatile _Atomic uint32_t *words[EXPLORE_FUTEX_MAX];
	uint32_t values[EXPLORE_FUTEX_MAX];
	unsigned n = 0;
	enum ring_room room;

	if (!SIM_MUTANT(bells_read_late))
		n = read_bells(p, words, values);
	if (SIM_MUTANT(same_generation))
		p->ring.waiting_gen = 0;
	ring_pub_wait_begin(&p->ring, need);
	room = SIM_MUTANT(no_second_look) ? RING_BLOCKED : ring_pub_refresh(&p->ring, need);
	check_members(p);
	if (SIM_MUTANT(bells_read_late))
		n = read_bells(p, words, values);
	if (room == RING_BLOCKED)
		explore_futex_wait(words, values, n);
	ring_pub_wait_end(&p->ring);
	if (room == RING_NEWS &&
	    !news(p)) /* api sleeps for a slice, since nobody rings when the socket has it */
		await_readable(events_of(p->me));
	return room == RING_ROOM;
}

/* Asks busd once to evict whoever holds this publisher back. */
static void ask_to_evict(struct publisher *p)
{
	if (!p->ask_evict || p->evict_asked || p->ring.slowest == 0)
		return;
	p->evict_asked = true;
	post(REQUESTS, (struct note){ .kind = NOTE_EVICT,
				      .from = p->me,
				      .ring = p->index,
				      .sub = (uint8_t)(p->ring.slowest - 1) });
	await(answers_of(p->me), 1u << world_busd());
}

static bool wait_for_room(struct publisher *p, uint64_t need)
{
	for (;;) {
		publisher_point(p, 2000 + need);
		if (ring_is_closed(p))
			return false;
		if (look(p, need) == RING_ROOM)
			return true;
		ask_to_evict(p);
		if (sleep_once(p, need))
			return true;
	}
}

static bool make_room(struct publisher *p, uint64_t need)
{
	if (p->ring.wake_owed)
		wake_news(p);
	if (ring_is_closed(p))
		return false;
	if (look(p, need) == RING_ROOM)
		return true;
	if (!wait_for_room(p, need))
		return false;
	if (p->ring.wake_owed)
		wake_news(p);
	return true;
}

/* ---- sending ---- */

static void write_payload(struct publisher *p, uint64_t need, uint64_t tag)
{
	for (uint64_t at = 0; at < need; at += RING_POS_ALIGN)
		bus_store_relaxed((_Atomic uint64_t *)(void *)(ring_pub_at(&p->ring) + at), tag);
}

/* Copies and commits one message; does not tell its readers yet. */
static bool put_one(struct publisher *p, bool in_batch)
{
	uint64_t seq = p->ring.n, tag = message_tag(p->index, seq), need;
	struct ring_message m = { .time = tag, .key_hash = (uint32_t)seq };

	if (plan.any_size)
		ghost->oracle.units[p->index][seq] = (uint8_t)explore_choose(3);
	m.len = message_size(p->index, seq);
	need = ring_need(0, m.len);
	if (!ring_pub_room(&p->ring, need) || p->ring.wake_owed) {
		if (in_batch &&
		    !SIM_MUTANT(batch_waits_untold)) { /* what is committed must be seen first */
			ring_pub_tell(&p->ring);
			wake_readers(p);
		}
		if (!make_room(p, need)) {
			ghost->oracle.stopped[p->index] = 1;
			p->shut = true;
			return false;
		}
	}
	m.in[0] = m.in[1] = m.in[2] = tag;
	write_payload(p, need, tag);
	ghost->oracle.begun[p->index]++;
	if (need == 0)
		ring_pub_inline(&p->ring, m.in);
	ring_pub_commit_words(&p->ring, m.time, ring_pack_lens(m.len, 0, 0),
			      ring_pack_attrs(need == 0 ? RING_FLAG_INLINE : 0, m.key_hash), need,
			      m.len);
	ghost->oracle.committed[p->index]++;
	return true;
}

void publisher_abort(struct publisher *p, uint32_t len)
{
	if (!ring_pub_room(&p->ring, len) && !make_room(p, len))
		return;
	if (!SIM_MUTANT(abort_unnoted))
		ring_pub_written(&p->ring, len);
	write_payload(p, len, 0xdead);
}

void publisher_send(struct publisher *p)
{
	if (!put_one(p, false))
		return;
	ring_pub_tell(&p->ring);
	wake_readers(p);
	if (!p->shut) /* else -ESHUTDOWN: whether that one is read is open */
		ghost->oracle.returned[p->index]++;
}

void publisher_send_batch(struct publisher *p, int count)
{
	int done = 0;

	while (done < count && put_one(p, done > 0))
		done++;
	if (done == 0)
		return;
	ring_pub_tell(&p->ring);
	wake_readers(p);
}

void publisher_point(const struct publisher *p, uint64_t id)
{
	explore_point(id);
	explore_fold(p, sizeof(*p));
}

/* ---- opening, growing, closing ---- */

/* A ring of this publisher's is ready: busd is told, and answers once every subscriber knows. */
bool publisher_attach(struct publisher *p)
{
	struct note answer;

	post(REQUESTS, (struct note){ .kind = NOTE_NEW_RING, .from = p->me, .ring = p->index });
	answer = await(answers_of(p->me), 1u << world_busd());
	if (answer.kind == NOTE_GONE)
		return false;
	news(p);
	if (answer.number > p->number)
		p->number = answer.number;
	return true;
}

/* The second ring continues the first. */
bool publisher_grow(struct publisher *p)
{
	struct ring_pub old = p->ring;

	p->ring.member_count = 0;
	p->index++;
	ring_pub_init(&p->ring, &rings[p->index].view, (uint64_t)p->index + 1, 0, &board->epoch);
	p->ring.members = p->members;
	p->ring.fences = plan.fences;
	p->ring.wake = wake_member;
	if (SIM_MUTANT(final_early))
		ring_pub_final(&old);
	if (!publisher_attach(p)) {
		p->ring = old;
		p->index--;
		return false;
	}
	if (!SIM_MUTANT(final_early))
		ring_pub_final(&old);
	wake_news(p);
	return true;
}

void publisher_close(struct publisher *p)
{
	ring_pub_final(&p->ring);
	wake_news(p);
}
