/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscriber.c - a reliable subscriber dies at each of its instructions. After each, on a copy of
 * its cursor: the cursor is an old or a new one and never beyond what was read; the code of
 * ring/gate lets a publisher go up to what it protects and no further; and once the dead one is
 * removed the publisher is free.
 */
#include "step/step.h"

#include <errno.h>
#include <string.h>

#include "api/pub_internal.h"

struct stepper {
	struct victim victim;
	struct bus *bus;
	struct bus_pub *pub;
	struct cursor_entry entry;
	uint32_t waiting;
	uint64_t finished, cursor, sent;
	unsigned wakes;
};

static unsigned wakes;

/* ---- what the victim does ---- */

static void check_message(const struct bus_msg *m)
{
	CHECK(m->len == step_len(m->seq) && m->lost == 0);
	CHECK(memcmp(m->data, step_bytes(m->seq), m->len) == 0);
}

static int read_some(struct bus_sub *sub, uint64_t turn)
{
	static uint8_t copy[STEP_LEN_MAX];
	struct bus_msg m[5];
	int n;

	if (turn % 5 == 4) {
		/* copies and releases in one call: how far it has read is between the two numbers */
		uint64_t now = step_notes->finished;

		step_notes->intent = now + 1;
		n = OK(bus_sub_recv(sub, copy, sizeof(copy), m));
		if (n == 1) {
			check_message(m);
			step_notes->finished = m->seq + 1;
		}
		step_notes->intent = 0;
		return n;
	}
	n = OK(bus_sub_peek(sub, m, 1 + (int)(turn % 5)));
	for (int i = 0; i < n; i++)
		check_message(&m[i]);
	if (n == 0)
		return 0;
	/* in two parts: what is borrowed still may not be given back with what is not */
	step_notes->finished = m[n / 2].seq + 1;
	OK(bus_sub_release(sub, n / 2 + 1));
	if (n / 2 + 1 < n) {
		step_notes->finished = m[n - 1].seq + 1;
		OK(bus_sub_release(sub, n - n / 2 - 1));
	}
	return n;
}

static void victim_reads(void *arg)
{
	uint64_t count = *(const uint64_t *)arg;
	struct bus *bus = rig_connect("victim");
	struct bus_sub *sub;

	OK(bus_sub_open(&sub, bus, "step.s", BUS_OPTS(sub, .spin_ns = 1)));
	step_begin();
	for (uint64_t turn = 0; step_notes->finished < count; turn++) {
		if (read_some(sub, turn) != 0)
			continue;
		/* nothing there: announces itself, looks, sleeps a little */
		if (OK(bus_sub_wait(sub, 30000000)) == 1)
			continue;
		step_notes->want = 1;
		while (step_notes->want == 1)
			;
	}
	step_notes->finished = UINT64_MAX; /* it reads no more: from here nobody waits for it */
	bus_sub_close(sub);
	step_end();
	bus_close(bus);
}

/* ---- everybody else's view ---- */

static bool count_wake(struct ring_pub *pub, struct ring_member *member)
{
	(void)pub;
	(void)member;
	wakes++;
	return true;
}

/* false: nothing has changed. */
static bool look(struct stepper *s)
{
	const struct ring_member *m = s->pub->ring.members;
	uint64_t finished = bus_max_u64(step_notes->finished, step_notes->intent);
	bool changed = finished != s->finished;

	s->finished = finished;
	if (s->pub->ring.member_count == 0)
		return changed;
	changed |= memcmp(&s->entry, (const void *)m->entry, sizeof(s->entry)) != 0 ||
		   s->waiting != bus_load_relaxed(m->waiting);
	memcpy((void *)&s->entry, (const void *)m->entry, sizeof(s->entry));
	s->waiting = bus_load_relaxed(m->waiting);
	return changed;
}

/* A publisher that has seen nothing but this moment, on a writer page of its own. */
static void copy_publisher(const struct stepper *s, struct ring_pub *pub, struct ring_member *m,
			   struct ring_writer_page *page, const _Atomic uint32_t *waiting)
{
	*pub = s->pub->ring;
	memcpy((void *)page, (const void *)pub->view.page, sizeof(*page));
	pub->view.page = page;
	pub->wake = count_wake;
	pub->seen = bus_load_acquire(pub->epoch);
	pub->members = m;
	if (pub->member_count == 0)
		return;
	*m = s->pub->ring.members[0];
	m->entry = &s->entry;
	m->waiting = waiting;
}

static void check_gate(struct stepper *s)
{
	_Atomic uint32_t waiting = s->waiting;
	struct ring_writer_page page;
	struct ring_member member;
	struct ring_pub pub;
	uint64_t unread, pos;

	copy_publisher(s, &pub, &member, &page, &waiting);
	if (pub.member_count == 0)
		return;
	unread = bus_min_u64(s->finished, pub.n);
	pos = unread < pub.n ? bus_load_relaxed(&ring_slot_of(&pub.view, unread)->pos) : pub.pos;
	ring_pub_refresh(&pub, 64);
	if (member.lying)
		step_wrong("the cursor %lld of an honest subscriber is taken for a lie (was %llu)",
			   (long long)s->entry.cursor, (unsigned long long)s->cursor);
	if (s->finished != UINT64_MAX &&
	    (pub.limit_seq > unread + pub.view.slot_count || pub.limit_pos > pos + pub.view.bytes))
		step_wrong("a publisher may go to %llu, position %llu, and message %llu at %llu is unread",
			   (unsigned long long)pub.limit_seq, (unsigned long long)pub.limit_pos,
			   (unsigned long long)unread, (unsigned long long)pos);
	ring_pub_wake(&pub);
}

static void check_dead(struct stepper *s)
{
	uint64_t c = s->entry.cursor;
	struct ring_writer_page page;
	struct ring_member member;
	struct ring_pub pub;

	step_counts.states++;
	if (s->pub->ring.member_count > 0 && s->entry.ring_id == s->pub->ring.ring_id) {
		if (c == CURSOR_PARKED ? s->finished != UINT64_MAX : c < s->cursor || c > s->finished)
			step_wrong("the cursor is %llu, was %llu, read is %llu",
				   (unsigned long long)c, (unsigned long long)s->cursor,
				   (unsigned long long)s->finished);
		s->cursor = c;
	}
	check_gate(s);
	copy_publisher(s, &pub, &member, &page, NULL);
	pub.member_count = 0; /* busd has removed it */
	pub.limit_seq = pub.n;
	if (ring_pub_refresh(&pub, ring_message_max(pub.view.bytes)) != RING_ROOM)
		step_wrong("a publisher is not free after its dead subscriber was removed");
}

/* The victim has read everything, or so it says: up to a full ring more. */
static void publish_some(struct stepper *s, uint64_t turn)
{
	uint64_t count = 1 + turn * 5 % STEP_SLOTS;

	for (uint64_t i = 0; i < count; i++) {
		int err = bus_pub_send(s->pub, step_bytes(s->sent), step_len(s->sent));

		if (err == -EAGAIN)
			break;
		OK(err);
		s->sent++;
	}
	/* as a blocked publisher: the next flush wakes it */
	if (turn % 2 == 0)
		ring_pub_wait_begin(&s->pub->ring, 0);
	else
		ring_pub_wait_end(&s->pub->ring);
}

void step_subscriber(bool full)
{
	uint64_t count = full ? 300 : 60, turn = 0;
	struct stepper s = { .cursor = 0 };

	s.bus = rig_connect("writer");
	OK(bus_pub_open(&s.pub, s.bus, "step.s",
			BUS_OPTS(pub, .slots = STEP_SLOTS, .bytes = STEP_BYTES,
				 .full = BUS_FULL_FAIL)));
	victim_start(&s.victim, victim_reads, &count);
	wakes = 0;
	do {
		if (bus_load_acquire(s.pub->ring.epoch) != s.pub->ring.seen)
			bus__pub_news(s.pub);
		if (look(&s))
			check_dead(&s);
		if (step_notes->want == 1) {
			publish_some(&s, ++turn);
			step_notes->want = 0;
		}
	} while (victim_step(&s.victim));
	if (s.sent < count || turn == 0 || wakes == 0)
		step_wrong("the subscriber was sent %llu of %llu, in %llu turns, and would be woken %u times",
			   (unsigned long long)s.sent, (unsigned long long)count,
			   (unsigned long long)turn, wakes);
	victim_finish(&s.victim);
	bus_pub_close(s.pub);
	bus_close(s.bus);
}
