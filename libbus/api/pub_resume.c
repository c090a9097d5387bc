/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pub_resume.c - a publisher on a stream comes to another busd, which has found the stream on disk. What the log does
 * not have of it lies in its own ring, as long as that was not overwritten: it is put into the new ring under
 * the same numbers, and nothing is missing, nothing there twice. Where that cannot be so it is refused, with the reason.
 *
 * With a name busd says where it stood in the log. Without one nobody knows that; it goes on only where all that it had
 * published before busd was seen to be dead had been durable.
 *
 * Called by pub_succeed.c; docs/architecture.md tells the whole.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "api/pub_internal.h"

#define PATIENCE_NS 250000000u /* as a busd that does not answer may cost */

/* ---- while there is no busd ---- */

/*
 * The sequencer that frees our ring is dead. What was taken and not durable may have to be sent again, so from now on
 * the ring is freed up to where it was durable. (Policy none says of nothing that it is: what was taken is as good.)
 */
void bus__pub_hold(struct bus_pub *pub)
{
	const bool none = pub->board->log.sync == CTL_SYNC_NONE;

	if (pub->held)
		return;
	pub->held = true;
	pub->held_since = bus_monotonic_ns();
	pub->held_at = pub->hung_up ? pub->hung_up_at : pub->ring.n;
	for (uint32_t i = 0; i < pub->ring.member_count; i++) {
		struct ring_member *m = &pub->ring.members[i];
		struct pub_member *pm = m->owner;
		uint64_t at = m->start;

		if (bus_load_acquire(&m->entry->ring_id) == pub->ring.ring_id)
			at = bus_load_acquire(&m->entry->cursor);
		if (!none)
			at = bus_min_u64(at, bus_load_acquire(&pub->source->durable));
		at = bus_max_u64(at, pub->ring.begin);
		bus_store_relaxed(&pub->stay.cursor, at);
		bus_store_release(&pub->stay.ring_id, pub->ring.ring_id);
		m->entry = &pub->stay;
		m->last = at;
		pm->dead = true;
	}
}

static bool is_back(const struct bus_pub *pub)
{
	return bus_load_acquire(&pub->bus->lost) == 0 && pub->gen == bus__gen(pub->bus);
}

/* Steps until it is there. orphaned: though nobody listens, too. */
static void wait_for_busd(struct bus_pub *pub, uint64_t until, bool orphaned)
{
	const struct bus *bus = pub->bus;

	while (!is_back(pub) && pub->refusal == 0 && !pub->claimed &&
	       bus_load_acquire(&bus->gone) == 0 && bus_monotonic_ns() < until &&
	       (orphaned || bus_load_acquire(&bus->orphaned) == 0)) {
		usleep(1000);
		bus_store_relaxed(&pub->bus->look_at, 0);
		bus__pub_look(pub);
	}
}

/*
 * Nobody but busd reads a stream's publisher: it has the time to wait for one that is there, and what it sends
 * meanwhile would lie in its ring until it makes another call. Once for each time that the connection was lost.
 */
void bus__pub_look_at_stream(struct bus_pub *pub)
{
	if (is_back(pub)) {
		pub->hung_up = false;
		return;
	}
	if (pub->hung_up)
		return;
	pub->hung_up = true; /* which ends the recursion, too */
	pub->hung_up_at = pub->ring.n;
	wait_for_busd(pub, bus_monotonic_ns() + PATIENCE_NS, false);
}

void bus__pub_linger(struct bus_pub *pub)
{
	if (pub->source == NULL || pub->broken || pub->removed || is_back(pub))
		return;
	bus__pub_look(pub);
	if (pub->ring.n > bus_load_acquire(&pub->source->durable) && bus__pub_may_resume(pub) == 0)
		wait_for_busd(pub, bus_monotonic_ns() + pub->bus->timeout_ns, true);
}

/* ---- at the next busd ---- */

int bus__pub_may_resume(struct bus_pub *pub)
{
	static const uint8_t none[sizeof(pub->board->stream_uuid)];

	bus__pub_hold(pub);
	if ((pub->board->flags & BOARD_TOPIC_DISK) == 0 ||
	    memcmp(pub->board->stream_uuid, none, sizeof(none)) == 0)
		return bus__fail(-ENOENT, "stream \"%s\" lay in the memory of a busd that has gone",
				 pub->topic);
	/* all that it had sent when busd hung up is durable, and nothing that came later was taken by a worker of the same busd */
	if (!pub->named && (bus_load_acquire(&pub->source->durable) != pub->held_at ||
			    bus_load_acquire(&pub->source->taken) != pub->held_at))
		return bus__fail(
			-ENOENT,
			"which messages of a publisher without a name stream \"%s\" has on disk is not known: those from %llu on "
			"were not durable when busd died; one with a name goes on where it stood",
			pub->topic, (unsigned long long)bus_load_acquire(&pub->source->durable));
	return 0;
}

/* Is [seq, n) in our ring still? */
static bool is_whole(const struct bus_pub *pub, uint64_t seq)
{
	const struct ring_pub *ring = &pub->ring;
	const struct ring_slot *slot;

	if (seq == ring->n)
		return true;
	if (seq < bus_max_u64(pub->geometry.first_seq, ring->begin) || seq > ring->n ||
	    ring->n - seq > ring->view.slot_count)
		return false;
	slot = ring_slot_of(&ring->view, seq);
	return bus_max_u64(ring->written_pos, ring->pos) - bus_load_relaxed(&slot->pos) <=
	       ring->view.bytes;
}

int bus__pub_check_heir(struct bus_pub *pub, const struct bus_pub *heir)
{
	const uint64_t from = heir->ring.n;

	if (heir->source == NULL || memcmp(heir->board->stream_uuid, pub->board->stream_uuid,
					   sizeof(pub->board->stream_uuid)) != 0)
		return bus__fail(-ENOENT, "there is another stream \"%s\" now", pub->topic);
	if (!pub->named && from != pub->held_at)
		return bus__fail(-ENOENT,
				 "busd does not let a publisher without a name go on on \"%s\"",
				 pub->topic);
	if (is_whole(pub, from))
		return 0;
	return bus__fail(
		-ENOENT,
		"of this publisher stream \"%s\" has on disk what lies below %llu, and the next is %llu: those between are not all "
		"in its ring any more; opened again by its name, it is told where it stands",
		pub->topic, (unsigned long long)from, (unsigned long long)pub->ring.n);
}

static bool has_room(struct bus_pub *heir, uint64_t need)
{
	enum ring_room room = RING_ROOM;

	while (!ring_pub_room(&heir->ring, need)) {
		room = ring_pub_refresh(&heir->ring, need);
		if (room == RING_BLOCKED || (room == RING_NEWS && !bus__pub_news(heir)))
			return false;
	}
	return true;
}

/* Message seq of our ring is the heir's next. false: no room now. */
static bool bring_one(const struct bus_pub *pub, struct bus_pub *heir, uint64_t seq)
{
	const struct ring_slot *slot = ring_slot_of(&pub->ring.view, seq);
	const uint64_t lens = bus_load_relaxed(&slot->lens), attrs = bus_load_relaxed(&slot->attrs);
	const uint64_t pos = bus_load_relaxed(&slot->pos);
	const uint32_t len = (uint32_t)lens, head_len = (uint16_t)(lens >> 32);
	const uint64_t need = attrs & RING_FLAG_INLINE ? 0 : ring_need(head_len, len);

	if (!has_room(heir, need))
		return false;
	if (need > 0) {
		memcpy(ring_pub_at(&heir->ring),
		       pub->ring.view.payload + (pos & pub->ring.view.byte_mask),
		       (size_t)head_len + len);
		ring_pub_written(&heir->ring, need);
	} else {
		const uint64_t in[3] = { bus_load_relaxed(&slot->in[0]),
					 bus_load_relaxed(&slot->in[1]),
					 bus_load_relaxed(&slot->in[2]) };

		ring_pub_inline(&heir->ring, in);
	}
	ring_pub_commit_words(&heir->ring, bus_load_relaxed(&slot->time), lens, attrs, need, len);
	return true;
}

bool bus__pub_bring(struct bus_pub *pub, struct bus_pub *heir)
{
	uint64_t seq = heir->ring.n;

	while (seq < pub->ring.n && bring_one(pub, heir, seq))
		seq++;
	ring_pub_tell(&heir->ring);
	bus__pub_wake_news(heir);
	return seq == pub->ring.n;
}
