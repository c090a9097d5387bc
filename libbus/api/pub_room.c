/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pub_room.c - what a publisher does when it may not go on: looks at the gates, spins, sleeps, asks
 * for an eviction, gives up; and replaces its ring by a larger one for a message that does not fit.
 * Off the fast path.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/pub_internal.h"

#define MOVED           1 /* to a ring of another busd's: all is to be looked at again */
#define GROW_TRIES      5
#define EVICT_RETRY_NS  1000000000u
#define EVICT_NOBODY_NS 20000000u

struct block {
	uint64_t began;      /* CLOCK_MONOTONIC */
	uint64_t still;      /* since when the slowest has not moved */
	uint64_t slowest;    /* sub_id */
	uint64_t slowest_at; /* its cursor when we looked last */
	bool looked;         /* busd has noted the slowest's cursor */
	uint64_t ask_after;  /* when busd may be asked (again) */
	uint64_t nap_ns; /* until we look for less room than readers wake us for; 0: did not sleep yet */
};

#define NAP_FIRST_NS 1000000u
#define NAP_MOST_NS  8000000u

/* Who writes what no cursor can be is not waited for any more; busd takes it away, and names it. */
static void report_liars(struct bus_pub *pub)
{
	for (uint32_t i = 0; i < pub->ring.member_count; i++) {
		const struct ring_member *m = &pub->ring.members[i];
		struct pub_member *pm = m->owner;

		if (!m->lying || pm->reported)
			continue;
		pthread_mutex_lock(&pub->bus->lock);
		pm->reported =
			bus__acknowledge(pub->bus, CTL_EVC_LYING, pub->ring.ring_id, m->sub_id) == 0;
		pthread_mutex_unlock(&pub->bus->lock);
	}
}

/*
 * refresh, with memberships received where the epoch moved. RING_NEWS: they are not there: an
 * unknown gate.
 */
static enum ring_room look(struct bus_pub *pub, uint64_t need)
{
	enum ring_room room = ring_pub_refresh(&pub->ring, need);

	for (int i = 0; room == RING_NEWS && i < 100; i++) {
		if (!bus__pub_news(pub))
			return RING_NEWS;
		room = ring_pub_refresh(&pub->ring, need);
	}
	report_liars(pub);
	return room;
}

/* ---- counters for people ---- */

static void block_shown(struct bus_pub *pub, uint64_t counter)
{
	struct ring_writer_page *page = pub->ring.view.page;

	bus_store_relaxed(&page->blocked_by, pub->ring.slowest);
	bus_store_relaxed(&page->blocked_since, counter);
}

static void block_ended(struct bus_pub *pub, const struct block *b, bool refused)
{
	struct ring_writer_page *page = pub->ring.view.page;
	uint64_t ns = bus_load_relaxed(&page->blocked_ns) + (bus_monotonic_ns() - b->began);

	bus_store_relaxed(&page->blocked_since, 0);
	bus_store_relaxed(&page->blocked_ns, ns);
	if (refused)
		bus_store_relaxed(&page->refused, bus_load_relaxed(&page->refused) + 1);
}

/* ---- eviction ---- */

static uint64_t slowest_cursor(const struct bus_pub *pub)
{
	for (uint32_t i = 0; i < pub->ring.member_count; i++)
		if (pub->ring.members[i].sub_id == pub->ring.slowest)
			return pub->ring.members[i].last;
	return 0;
}

static void note_progress(struct bus_pub *pub, struct block *b, uint64_t now)
{
	uint64_t at = slowest_cursor(pub);

	if (bus_unlikely(pub->formers != NULL)) /* who reads on there cannot move here */
		at += bus__pub_former_progress(pub);
	if (pub->ring.slowest == b->slowest && at == b->slowest_at)
		return;
	b->slowest = pub->ring.slowest;
	b->slowest_at = at;
	b->still = now;
	b->looked = false;
	b->ask_after = 0;
}

/*
 * busd believes only its own eyes: it looks once when half of the time has passed and again at its
 * end, and evicts who has not moved between its looks. 0; or -EPIPE where it is not there and the
 * time is over: nobody can be evicted then.
 */
static int evict_if_due(struct bus_pub *pub, struct block *b, uint64_t now)
{
	uint64_t half = pub->full_ns / 2;
	struct ctl_evict req = { .head = BUS__HEAD(CTL_EVICT, ctl_evict),
				 .pub_id = pub->id,
				 .ring_id = pub->ring.ring_id,
				 .grace_ns = half };
	struct ctl_evict_reply reply;
	int err;

	if (now - b->still < (b->looked ? pub->full_ns : half) || now < b->ask_after)
		return 0;
	err = bus__request_of(pub->bus, pub->gen, &req, &reply, sizeof(reply), NULL, NULL);
	if (err < 0) {
		b->ask_after = now + EVICT_RETRY_NS;
		return now - b->still >= pub->full_ns ? -ETIMEDOUT : 0;
	}
	b->looked = true;
	if (reply.evicted_sub != 0) {
		struct ring_writer_page *page = pub->ring.view.page;

		bus_store_relaxed(&page->evictions, bus_load_relaxed(&page->evictions) + 1);
		b->looked = false;
		b->still = now;
	} else if (now - b->still >= pub->full_ns) {
		/*
		 * again_ns 0: nobody gates by what busd sees; we shall see it too. Not asked in a
		 * busy loop.
		 */
		b->ask_after = now + (reply.again_ns == 0
					      ? EVICT_NOBODY_NS
					      : bus_min_u64(reply.again_ns, EVICT_RETRY_NS));
	}
	return 0;
}

/* ---- sleeping ---- */

static uint64_t next_deadline(const struct bus_pub *pub, const struct block *b)
{
	uint64_t at;

	if (pub->full_ns == UINT64_MAX)
		return UINT64_MAX;
	if (pub->full == BUS_FULL_BLOCK)
		return b->began + pub->full_ns;
	at = b->still + (b->looked ? pub->full_ns : pub->full_ns / 2);
	return at > b->ask_after ? at : b->ask_after;
}

/* One sleep. 1: room, 0: something moved or the time is over, look again, -EINTR, -ENOMEM. */
static int sleep_once(struct bus_pub *pub, struct block *b, uint64_t need)
{
	struct wake_word *words;
	int count, err = 0;
	bool slice;
	enum ring_room room;
	uint64_t now, until;

	bus__flush_thread(); /* what this thread has read may be what somebody waits for */
	err = bus__pub_bells(pub, &words, &count, &slice); /* bells first */
	if (err < 0)
		return err;
	ring_pub_wait_begin(&pub->ring, need);     /* then waiting, fence W3 */
	room = ring_pub_refresh(&pub->ring, need); /* then look once more */
	if (room == RING_BLOCKED || room == RING_NEWS) {
		now = bus_monotonic_ns();
		b->nap_ns = b->nap_ns == 0 ? NAP_FIRST_NS : bus_min_u64(2 * b->nap_ns, NAP_MOST_NS);
		until = bus_min_u64(next_deadline(pub, b), now + b->nap_ns);
		if (slice || room == RING_NEWS) /* news not here: nobody rings when the socket has it */
			until = bus_min_u64(until, now + BUS__SLICE_NS);
		if (until > now)
			err = wake_wait(words, count, (int64_t)(until - now), &pub->crowd);
	}
	ring_pub_wait_end(&pub->ring);
	free(words);
	if (room == RING_ROOM)
		return 1;
	return err == -EINTR ? -EINTR : 0;
}

static enum ring_room spin(struct bus_pub *pub, uint64_t need)
{
	const uint64_t began = bus_monotonic_ns();
	const uint64_t until = polling_until(&pub->polling, began, UINT64_MAX);
	enum ring_room room;

	for (int i = 0;; i++) {
		room = look(pub, need);
		if (room == RING_ROOM || until == began)
			return room;
		for (int k = 0; k < 16; k++)
			bus_cpu_relax();
		if (i % 16 == 15 && bus_monotonic_ns() >= until)
			return room;
		if (i == 100000)
			/* also a publisher that never sleeps looks at its deadline now and then */
			return room;
	}
}

static int wait_for_room(struct bus_pub *pub, uint64_t need)
{
	struct block b = { .began = bus_monotonic_ns() };
	enum ring_room room = RING_BLOCKED;
	uint32_t gen = pub->gen;
	int err = 0;

	b.still = b.began;
	block_shown(pub, bus_counter());
	bus__flush_thread(); /* this thread may be the reader that it waits for */
	if (pub->polling.ns == POLLING_FOR_EVER)
		/* it never sleeps, but readers tell their cursors to who waits */
		ring_pub_wait_begin(&pub->ring, need);
	while (err == 0) {
		uint64_t now;

		if (bus__pub_ring_closed(pub)) {
			err = -ESHUTDOWN;
			break;
		}
		bus__pub_look(pub);
		if (pub->gen != gen || pub->refusal != 0) {
			err = MOVED;
			break;
		}
		room = b.nap_ns == 0 ? spin(pub, need) : look(pub, need);
		if (room == RING_ROOM)
			break;
		now = bus_monotonic_ns();
		note_progress(pub, &b, now);
		bus_store_relaxed(&pub->ring.view.page->blocked_by, pub->ring.slowest);
		if (pub->full == BUS_FULL_BLOCK && pub->full_ns != UINT64_MAX &&
		    now - b.began >= pub->full_ns)
			err = -ETIMEDOUT;
		else if (pub->full == BUS_FULL_EVICT)
			err = evict_if_due(pub, &b, now);
		if (err == 0 && pub->polling.ns != POLLING_FOR_EVER) {
			err = sleep_once(pub, &b, need);
			if (err == 1) {
				err = 0;
				break;
			}
		}
	}
	if (pub->polling.ns == POLLING_FOR_EVER)
		ring_pub_wait_end(&pub->ring);
	polling_learn(&pub->polling, b.began, b.nap_ns == 0 ? 0 : bus_monotonic_ns());
	block_ended(pub, &b, err < 0);
	return err;
}

static int topic_removed(struct bus_pub *pub)
{
	if (pub->ring.wake_owed)
		bus__pub_wake_news(pub);
	return bus__fail(-ESHUTDOWN, "topic \"%s\" was removed", pub->topic);
}

/* ---- growing ---- */

static int grow(struct bus_pub *pub, uint64_t need)
{
	struct ctl_pub_grow req = { .head = BUS__HEAD(CTL_PUB_GROW, ctl_pub_grow),
				    .pub_id = pub->id,
				    .next_seq = pub->ring.n,
				    .need_bytes = need,
				    .node = bus__node() };
	struct ring_pub old = pub->ring;
	struct shm_map old_map = pub->map, map;
	struct ring_geometry old_geometry;
	const struct board_ring *old_board_ring;
	struct ctl_pub_reply reply;
	uint32_t old_room;
	int fds[CTL_MAX_FDS], nfds = CTL_MAX_FDS, err;

	err = bus__request_of(pub->bus, pub->gen, &req, &reply, sizeof(reply), fds, &nfds);
	if (err < 0)
		return err;
	if (nfds != 1 || reply.geometry.first_seq != pub->ring.n) {
		while (nfds > 0)
			close(fds[--nfds]);
		return bus__fail(-EPROTO,
				 "busd at %s handed over a successor ring that does not follow",
				 pub->bus->socket);
	}
	old_room = pub->member_room;
	old_board_ring = pub->board_ring;
	old_geometry = pub->geometry;
	pub->ring.members = NULL; /* those of the new ring are told anew */
	pub->ring.member_count = pub->member_room = 0;
	err = bus__pub_take_ring(pub, &reply, fds[0], &map);
	if (err < 0) {
		bus__pub_drop_members(pub);
		free(pub->ring.members);
		pub->ring = old;
		pub->member_room = old_room;
		pub->board_ring = old_board_ring;
		pub->geometry = old_geometry;
		/*
		 * out of step with a busd that lives: this publisher can only be closed. Its old
		 * ring stays readable. A dead one does not matter any more.
		 */
		pub->broken = !bus__is_over(pub->bus, pub->gen);
		bus__pub_set_go(pub);
		return err;
	}
	pthread_mutex_lock(&pub->bus->lock);
	bus__pub_free_members(pub->bus, &old);
	pthread_mutex_unlock(&pub->bus->lock);
	free(old.members);
	pub->map = map;
	/* The new ring is on the board and every reader has been told: now the old one may end. */
	ring_pub_final(&old);
	bus__pub_wake_news(pub); /* who sleeps on the old ring */
	shm_unmap(&old_map);
	return 0;
}

int bus__pub_make_room(struct bus_pub *pub, uint64_t need)
{
	enum ring_room room;
	int err;

	pub->stamp_left = 0; /* whoever comes here may have paused */
	bus__mend(pub->bus); /* a publisher that never waits comes by here 8 times a lap */
	if (pub->source != NULL && pub->named && !pub->held)
		bus__look(pub->bus,
			  true); /* before it writes over what a busd that died had not on disk */
	if (bus_unlikely(bus__is_over(pub->bus, pub->gen)))
		bus__pub_look(pub);
	if (pub->refusal != 0)
		return bus__fail(pub->refusal, "%s", pub->refusal_why);
	if (bus__pub_ring_closed(pub))
		return topic_removed(pub);
	if (pub->broken)
		return bus__fail(
			-EPIPE,
			"an earlier growth of this publisher's ring failed; close it and open it again");
	if (need > ring_message_max(pub->geometry.bytes)) {
		err = grow(pub, need);
		/* what knows this ring is dead: at the next busd, if there is one */
		for (int i = 0; i < GROW_TRIES && err == -EPIPE && bus__pub_hurry(pub); i++)
			err = need > ring_message_max(pub->geometry.bytes) ? grow(pub, need) : 0;
		if (err < 0) /* busd refuses for the topic's sake, and has said so on the board before */
			return bus__pub_ring_closed(pub) ? topic_removed(pub) : err;
	}
	if (pub->ring.wake_owed)
		bus__pub_wake_news(pub);
	if (bus__pub_ring_closed(pub))
		return topic_removed(pub);
	room = look(pub, need);
	if (room == RING_ROOM)
		return 0;
	if (pub->full == BUS_FULL_FAIL) {
		struct ring_writer_page *page = pub->ring.view.page;

		bus__flush_thread(); /* this thread may be the reader that leaves no room */
		if (look(pub, need) == RING_ROOM)
			return 0;
		if (bus__pub_ring_closed(pub)) /* meanwhile: that was the news */
			return topic_removed(pub);
		bus_store_relaxed(&page->refused, bus_load_relaxed(&page->refused) + 1);
		return -EAGAIN;
	}
	err = wait_for_room(pub, need);
	if (err == MOVED)
		return bus__pub_make_room(pub, need);
	if (err == 0 && pub->ring.wake_owed)
		bus__pub_wake_news(pub);
	return err;
}
