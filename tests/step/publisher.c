/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publisher.c - a publisher dies at each of its instructions. After each, on a copy of its rings:
 *
 *   reliable   a reader that stands where the slowest gates reads exactly the committed messages,
 *              plus at most what was under way, each whole, and finds the end
 *   late       one that comes now finds a run of whole messages that ends at the same number
 *   lossy      one that stands anywhere gets the right message or is told that it was lapped; also
 *              where its slot, or half of the payload, was read at an earlier state
 */
#include "step/step.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/sub_internal.h"

#define OLD_STATES 6 /* kept: each four times as old as the one before */
#define RINGS      3
#define CLOSED     2

/* A ring at one moment: its words, and the payload twice in a row. */
struct picture {
	struct ring_view view;
	struct ring_geometry geo;
	uint64_t ring_id;
	uint8_t *bytes;
	size_t room;
};

struct stepper {
	struct victim victim;
	struct bus *bus;
	struct bus_sub *sub; /* the reliable one that the victim's ring is gated by */
	struct picture now[RINGS], old[OLD_STATES];
	uint32_t rings;
	uint64_t states, intent, committed;
};

static struct cursor_entry nowhere;
static const _Atomic uint32_t closed_word = CLOSED;

static bool no_wake(struct ring_reader *rd)
{
	(void)rd;
	return true;
}

/* ---- what the victim does ---- */

static int send_one(struct bus_pub *pub, uint64_t n, uint32_t len)
{
	struct bus_claim claim;
	int err;

	if (n % 4 != 3) {
		err = bus_pub_send(pub, step_bytes(n), len);
		return err < 0 ? err : 1;
	}
	err = bus_pub_claim(pub, len, &claim);
	if (err < 0)
		return err;
	memset(claim.data, 0xdd, claim.len);
	if (n % 8 == 3 && step_notes->want != 2) { /* once: an aborted claim has been written to */
		bus_pub_abort(pub, &claim);
		step_notes->want = 2;
		return -EAGAIN;
	}
	memcpy(claim.data, step_bytes(n), len);
	err = bus_pub_commit(pub, &claim);
	return err < 0 ? err : 1;
}

static int send_batch(struct bus_pub *pub, uint64_t n, int count)
{
	struct bus_out out[8];

	memset(out, 0, sizeof(out));
	for (int i = 0; i < count; i++) {
		out[i].data = step_bytes(n + (uint64_t)i);
		out[i].len = step_len(n + (uint64_t)i);
	}
	return bus_pub_send_batch(pub, out, count);
}

/* The last one before the end is too large for its ring, which is replaced. */
static uint32_t len_of(uint64_t n, uint64_t count)
{
	return n + 4 == count ? STEP_LEN_MAX : step_len(n);
}

static void victim_publishes(void *arg)
{
	uint64_t count = *(const uint64_t *)arg;
	struct bus *bus = rig_connect("victim");
	struct bus_pub *pub;

	OK(bus_pub_open(&pub, bus, "step.p",
			BUS_OPTS(pub, .slots = STEP_SLOTS, .bytes = STEP_BYTES,
				 .full = BUS_FULL_FAIL)));
	step_begin();
	for (uint64_t n = 0; n < count;) {
		int batch = n % 16 == 5 && n + 12 < count ? 7 : 1, sent;

		step_notes->intent = n + (uint64_t)batch;
		sent = batch > 1 ? send_batch(pub, n, batch) : send_one(pub, n, len_of(n, count));
		if (sent == -EAGAIN) {
			if (step_notes->want == 2) /* aborted */
				continue;
			step_notes->want = 1;
			while (step_notes->want == 1)
				;
			continue;
		}
		OK(sent);
		step_notes->want = 0;
		n += (uint64_t)sent;
		step_notes->committed = n;
	}
	bus_pub_close(pub);
	step_end();
	bus_close(bus);
}

/* ---- pictures ---- */

static void make_picture(struct picture *p, const struct ring_geometry *geo, uint64_t ring_id)
{
	size_t size = geo->size + geo->bytes;

	if (p->room < size) {
		free(p->bytes);
		p->bytes = aligned_alloc(4096, BUS_ALIGN_UP(size, 4096));
		CHECK(p->bytes != NULL);
		p->room = size;
	}
	p->geo = *geo;
	p->ring_id = ring_id;
	ring_view_init(&p->view, p->bytes, geo);
}

static void copy_picture(struct picture *to, const struct picture *from)
{
	make_picture(to, &from->geo, from->ring_id);
	memcpy(to->bytes, from->bytes, from->geo.size + from->geo.bytes);
}

/* Takes the rings as they are. false: nothing in them or in the notes has changed. */
static bool look(struct stepper *s)
{
	bool changed = s->intent != step_notes->intent || s->committed != step_notes->committed;

	if (bus__rung(s->bus) || s->sub->ring_count != s->rings)
		bus__sub_news(s->sub);
	CHECK(s->sub->ring_count <= RINGS);
	changed |= s->sub->ring_count != s->rings;
	s->rings = s->sub->ring_count;
	s->intent = step_notes->intent;
	s->committed = step_notes->committed;
	for (uint32_t i = 0; i < s->rings; i++) {
		const struct sub_ring *r = s->sub->rings[i];
		const struct ring_geometry *geo = &r->segment->geometry;
		struct picture *p = &s->now[i];

		if (p->ring_id != r->rd.ring_id)
			make_picture(p, geo, r->rd.ring_id);
		else if (memcmp(p->bytes, r->segment->base, geo->size) == 0)
			continue;
		memcpy(p->bytes, r->segment->base, geo->size);
		memcpy(p->bytes + geo->size, p->bytes + geo->payload_off, geo->bytes);
		changed = true;
	}
	return changed;
}

static void stand_at(struct ring_reader *rd, const struct picture *p, uint64_t at)
{
	ring_reader_init(rd, &p->view, p->ring_id, &nowhere, &closed_word, CLOSED, at);
	rd->wake = no_wake;
}

/* Whether a message is the one of its number; its payload is read from there. */
static bool is_right(const struct stepper *s, const struct ring_peeked *p, const uint8_t *payload)
{
	uint32_t len = step_len(p->seq);

	(void)s;
	if (p->len == STEP_LEN_MAX)
		len = STEP_LEN_MAX;
	return p->head_len == 0 && p->len == len && memcmp(payload, step_bytes(p->seq), len) == 0;
}

static const uint8_t *payload_of(const struct ring_reader *rd, const struct ring_peeked *p)
{
	return p->flags & RING_FLAG_INLINE ? (const uint8_t *)p->in : ring_reader_at(rd, p->pos);
}

/* ---- readers of one ring ---- */

/* Reads from rd on to the end of the ring; the number that would come next. */
static uint64_t read_to_end(const struct stepper *s, struct ring_reader *rd, const char *who)
{
	struct ring_peeked p;
	enum ring_look look;

	for (uint64_t i = 0; i <= 2 * rd->view.slot_count; i++) {
		look = ring_reader_peek(rd, &p);
		if (look == RING_EMPTY) {
			if (!ring_reader_drained(rd))
				step_wrong("%s reader does not see the end at %llu", who,
					   (unsigned long long)rd->cur);
			return rd->cur;
		}
		if (look != RING_MESSAGE || !is_right(s, &p, payload_of(rd, &p))) {
			step_wrong("%s reader at %llu (committed %llu, begun %llu): %s", who,
				   (unsigned long long)rd->cur, (unsigned long long)s->committed,
				   (unsigned long long)s->intent,
				   look == RING_MESSAGE  ? "another message, or torn"
				   : look == RING_LAPPED ? "lapped"
							 : "garbage");
			return rd->cur;
		}
		rd->ahead++;
		if (!ring_reader_release(rd, 1, p.pos))
			step_wrong("%s reader at %llu: void when released", who,
				   (unsigned long long)p.seq);
	}
	step_wrong("%s reader finds no end", who);
	return rd->cur;
}

/* Peek at one state, the payload's second half and the release at a later one. */
static void check_split(const struct stepper *s, const struct picture *before,
			const struct picture *now, uint64_t at, uint32_t split)
{
	uint8_t bytes[STEP_LEN_MAX];
	struct ring_peeked p;
	struct ring_reader rd;
	uint32_t half;

	stand_at(&rd, before, at);
	if (ring_reader_peek(&rd, &p) != RING_MESSAGE)
		return;
	rd.ahead++;
	half = p.flags & RING_FLAG_INLINE ? p.len : p.len * split / 2;
	if (p.len > sizeof(bytes)) {
		step_wrong("lossy reader at %llu: %u bytes", (unsigned long long)at, p.len);
		return;
	}
	memcpy(bytes, payload_of(&rd, &p), half);
	rd.view = now->view;
	memcpy(bytes + half, payload_of(&rd, &p) + half, p.len - half);
	if (ring_reader_release(&rd, 1, p.pos) && !is_right(s, &p, bytes))
		step_wrong("lossy reader at %llu was overtaken while it read, and release calls it good",
			   (unsigned long long)at);
}

/* The commit word read at one state, the rest of the slot and the frontier at a later one. */
static void check_slot_split(const struct stepper *s, const struct picture *before,
			     const struct picture *now, uint64_t at)
{
	struct ring_slot *slot = ring_slot_of(&now->view, at);
	uint64_t commit = bus_load_relaxed(&slot->commit),
		 was = bus_load_relaxed(&ring_slot_of(&before->view, at)->commit);
	struct ring_peeked p;
	struct ring_reader rd;

	if (commit == was)
		return;
	bus_store_relaxed(&slot->commit, was);
	stand_at(&rd, now, at);
	if (ring_reader_peek(&rd, &p) == RING_MESSAGE && !is_right(s, &p, payload_of(&rd, &p)))
		step_wrong("lossy reader at %llu read its slot while it was overwritten, and takes it",
			   (unsigned long long)at);
	bus_store_relaxed(&slot->commit, commit);
}

static void check_lossy(struct stepper *s, const struct picture *p, uint64_t next)
{
	uint64_t first = next > STEP_SLOTS + 2 ? next - STEP_SLOTS - 2 : 0;
	struct ring_reader rd;
	struct ring_peeked m;

	for (uint64_t at = bus_max_u64(first, p->geo.first_seq); at <= next; at++) {
		enum ring_look look;

		stand_at(&rd, p, at);
		look = ring_reader_peek(&rd, &m);
		if (look == RING_MESSAGE ? !is_right(s, &m, payload_of(&rd, &m))
					 : look != RING_LAPPED && (look != RING_EMPTY || at < next))
			step_wrong("lossy reader at %llu of %llu: look %d", (unsigned long long)at,
				   (unsigned long long)next, (int)look);
		for (int i = 0; i < OLD_STATES; i++) {
			if (s->old[i].ring_id != p->ring_id)
				continue;
			check_split(s, &s->old[i], p, at, 1);
			check_split(s, &s->old[i], p, at, 0);
			check_slot_split(s, &s->old[i], p, at);
		}
	}
	for (int i = 0; i < OLD_STATES; i++)
		if (s->states % (UINT64_C(1) << 2 * i) == 0)
			copy_picture(&s->old[i], p);
}

/* ---- everybody else's view ---- */

static void check_dead(struct stepper *s)
{
	uint64_t next = 0;
	bool any = false;

	s->states++;
	step_counts.states++;
	for (uint32_t i = 0; i < s->rings; i++) {
		const struct sub_ring *r = s->sub->rings[i];
		const struct picture *p = &s->now[i];
		struct ring_reader rd;
		uint64_t late;

		if (any && next != p->geo.first_seq &&
		    bus_load_relaxed(&p->view.page->head) != p->geo.first_seq) {
			step_wrong("ring %u begins at %llu, the one before it ends at %llu", i,
				   (unsigned long long)p->geo.first_seq, (unsigned long long)next);
			return;
		}
		stand_at(&rd, p, bus_max_u64(r->rd.flushed, p->geo.first_seq));
		next = read_to_end(s, &rd, "reliable");
		stand_at(&rd, p, p->geo.first_seq);
		ring_reader_begin_oldest(&rd);
		ring_reader_skip_gone(&rd);
		late = read_to_end(s, &rd, "late");
		if (late != next)
			step_wrong("the late reader ends at %llu, the reliable one at %llu",
				   (unsigned long long)late, (unsigned long long)next);
		check_lossy(s, p, next);
		any = true;
	}
	if (any && (next < s->committed || next > s->intent))
		step_wrong("%llu messages are there; committed %llu, begun %llu",
			   (unsigned long long)next, (unsigned long long)s->committed,
			   (unsigned long long)s->intent);
}

/* The victim waits for room: reads a few messages as any subscriber does. */
static void make_room(struct stepper *s, uint64_t turn)
{
	struct bus_msg m[STEP_SLOTS];
	int n = OK(bus_sub_peek(s->sub, m, 1 + (int)(turn * 7 % STEP_SLOTS)));

	for (int i = 0; i < n; i++)
		if (m[i].len > STEP_LEN_MAX || memcmp(m[i].data, step_bytes(m[i].seq), m[i].len) != 0)
			step_wrong("message %llu is torn", (unsigned long long)m[i].seq);
	if (n > 0)
		OK(bus_sub_release(s->sub, n));
	if (turn % 3 == 0)
		OK(bus_sub_peek(s->sub, m, 0));
	bus__sub_flush(s->sub);
	/* the next publish finds a sleeper and wakes it */
	bus_store_relaxed(&s->sub->cursors->waiting, (uint32_t)turn);
}

void step_publisher(bool full)
{
	uint64_t count = full ? 400 : 60, turn = 0;
	struct stepper s = { .intent = UINT64_MAX };

	s.bus = rig_connect("reader");
	OK(bus_sub_open(&s.sub, s.bus, "step.p", NULL));
	victim_start(&s.victim, victim_publishes, &count);
	do {
		if (look(&s))
			check_dead(&s);
		if (step_notes->want == 1) {
			make_room(&s, ++turn);
			step_notes->want = 0;
		}
	} while (victim_step(&s.victim));
	if (step_notes->committed != count || turn == 0)
		step_wrong("the publisher came to %llu of %llu",
			   (unsigned long long)step_notes->committed, (unsigned long long)count);
	victim_finish(&s.victim);
	bus_sub_close(s.sub);
	bus_close(s.bus);
	for (int i = 0; i < RINGS; i++)
		free(s.now[i].bytes);
	for (int i = 0; i < OLD_STATES; i++)
		free(s.old[i].bytes);
}
