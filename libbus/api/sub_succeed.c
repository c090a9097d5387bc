/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sub_succeed.c - a subscription comes to another busd. Any thread that finds the connection anew
 * opens an heir of each subscription there, as bus_sub_open() would; the subscription's own thread
 * takes it over at its next call: the heir's rings and cursors beside the old ones.
 *
 * A publisher stays in its old ring until its readers are members of the new one, so the order is:
 * the old ring to its end, then the new one from the number where that ended. Which ring follows
 * which is told by the publisher's line.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/sub_internal.h"

#define OPENING_NS   5000000u   /* of one call's time for heirs; one is opened at least */
#define AGAIN_NS     500000000u /* after a failure that may be overcome */
#define FAILURES_MAX 10
#define BURY_NS      300000000u

/* ---- opening heirs: any thread ---- */

static bool is_due(const struct bus_sub *sub, uint32_t gen)
{
	uint32_t newest = sub->gen;

	for (const struct bus_sub *heir = sub->heirs; heir != NULL; heir = heir->later)
		newest = heir->gen;
	return sub->serial != 0 && sub->refusal == 0 && newest != gen;
}

static struct bus_sub *find_due(struct bus *bus, bool now)
{
	uint32_t gen = bus__gen(bus);
	uint64_t t = bus_monotonic_ns();
	struct bus_sub *sub = bus->subs;

	while (sub != NULL && !(is_due(sub, gen) && (!now || sub->heir_after <= t)))
		sub = sub->next;
	return sub;
}

static struct bus_sub *find_serial(struct bus *bus, uint64_t serial)
{
	struct bus_sub *sub = bus->subs;

	while (sub != NULL && sub->serial != serial)
		sub = sub->next;
	return sub;
}

static void append(struct bus_sub *sub, struct bus_sub *heir)
{
	struct bus_sub **at = &sub->heirs;

	while (*at != NULL)
		at = &(*at)->later;
	*at = heir;
	sub->failures = 0;
	bus_store_release(&heir->cursors->taken, 1);
	bus_store_release(&sub->heir_there, 1);
	wake_sleepers(sub->bell);
}

/* What may be otherwise in a moment is tried again for a while. */
static void note_failure(struct bus_sub *sub, int err)
{
	switch (err) {
	case -EPIPE: /* it died again, or is another one already */
		return;
	case -EAGAIN: /* a stream that it has yet to take up: it tries for as long as it takes */
		sub->heir_after = bus_monotonic_ns() + AGAIN_NS;
		return;
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE:
	case -EDQUOT:
	case -ETIMEDOUT:
		sub->heir_after = bus_monotonic_ns() + AGAIN_NS;
		if (++sub->failures < FAILURES_MAX)
			return;
		break;
	default:
		break;
	}
	sub->refusal = err;
	bus__why_save(sub->refusal_why);
	bus_store_release(&sub->heir_there, 1);
	wake_sleepers(sub->bell);
}

/* false: there is none that could be opened now. */
static bool open_one(struct bus *bus)
{
	struct bus_sub *sub, *heir;
	struct sub_like like;
	uint64_t serial;
	int err;

	pthread_mutex_lock(&bus->lock);
	sub = find_due(bus, true);
	if (sub == NULL) {
		pthread_mutex_unlock(&bus->lock);
		return false;
	}
	like = sub->like;
	serial = sub->serial;
	pthread_mutex_unlock(&bus->lock);
	heir = bus__sub_open_heir(bus, &like, &err);
	pthread_mutex_lock(&bus->lock);
	sub = find_serial(bus, serial); /* it may have been closed meanwhile */
	if (sub != NULL && heir != NULL)
		append(sub, heir);
	else if (sub != NULL)
		note_failure(sub, err);
	pthread_mutex_unlock(&bus->lock);
	if (sub == NULL && heir != NULL)
		bus__sub_discard(heir);
	return err != -EPIPE;
}

void bus__open_heirs(struct bus *bus)
{
	uint64_t until = bus_monotonic_ns() + OPENING_NS;
	bool mine;

	pthread_mutex_lock(&bus->lock);
	mine = !bus->opening_heirs;
	bus->opening_heirs = true;
	pthread_mutex_unlock(&bus->lock);
	if (!mine)
		return;
	while (open_one(bus) && bus_monotonic_ns() < until)
		;
	pthread_mutex_lock(&bus->lock);
	bus->opening_heirs = false;
	if (find_due(bus, false) == NULL)
		bus_store_release(&bus->heirs_due, 0);
	pthread_mutex_unlock(&bus->lock);
}

/* ---- taking over: the owner, under bus->lock ---- */

static void unlink_sub(struct bus *bus, struct bus_sub *sub)
{
	struct bus_sub **at = &bus->subs;

	while (*at != sub)
		at = &(*at)->next;
	*at = sub->next;
}

static void take_topics(struct bus_sub *sub, struct bus_sub *heir)
{
	struct sub_topic **at = &sub->topics;

	while (*at != NULL)
		at = &(*at)->next;
	*at = heir->topics;
	heir->topics = NULL;
}

static void take_rings(struct bus_sub *sub, struct bus_sub *heir)
{
	for (uint32_t i = 0; i < heir->ring_count; i++) {
		struct sub_ring *r = heir->rings[i];

		r->sub = sub;
		bus__sub_follow(sub, r);
		bus__sub_disk_go_on(sub, r);
		sub->rings[sub->ring_count++] = r;
	}
	free(heir->rings);
}

/* There is room for all its rings: nothing here can fail. */
static void take(struct bus_sub *sub, struct bus_sub *heir)
{
	struct sub_former *former = heir->spare_former;
	struct bus__event *event;

	*former = (struct sub_former){
		.gen = sub->gen, .map = sub->map, .cursors = sub->cursors, .next = sub->formers
	};
	sub->formers = former;
	sub->map = heir->map;
	sub->cursors = heir->cursors;
	sub->entries = heir->entries;
	sub->id = heir->id;
	sub->gen = heir->gen;
	sub->bell = heir->bell;
	sub->bell_seen = heir->bell_seen;
	sub->start = heir->start;
	sub->rings_told = heir->rings_told;
	sub->pending = sub->pending != 0 ? sub->pending : heir->pending;
	sub->ungated = sub->resuming = sub->inbox_stuck = false;
	bus__durable_move(sub);
	take_topics(sub, heir);
	take_rings(sub, heir);
	while ((event = bus__inbox_take(&heir->inbox)) != NULL)
		bus__inbox_push(&sub->inbox, event);
	bus_store_relaxed(&sub->cursors->past_delivered, sub->past_delivered);
	bus_store_relaxed(&sub->cursors->past_lost, sub->past_lost);
	sub->words_stale = true;
	unlink_sub(sub->bus, heir);
	bus__sub_drop_formers(sub);
	bus__past_sweep(sub->bus);
}

static bool take_next(struct bus_sub *sub)
{
	struct bus *bus = sub->bus;
	struct bus_sub *heir;

	pthread_mutex_lock(&bus->lock);
	heir = sub->heirs;
	if (heir != NULL && !bus__sub_ring_place(sub, heir->ring_count)) {
		pthread_mutex_unlock(&bus->lock); /* no memory: with the next look */
		return false;
	}
	if (heir != NULL) {
		sub->heirs = heir->later;
		take(sub, heir);
	} else {
		bus_store_release(&sub->heir_there, 0);
	}
	pthread_mutex_unlock(&bus->lock);
	if (heir != NULL)
		shm_private_free(heir, sizeof(*heir));
	return heir != NULL;
}

/* A right was taken away, or there is no room for it: it ends, and holds nobody up. */
static void be_refused(struct bus_sub *sub)
{
	sub->refused = true;
	sub->pending = sub->refusal;
	for (uint32_t i = 0; i < sub->ring_count; i++)
		ring_reader_park(&sub->rings[i]->rd);
}

static void take_over(struct bus_sub *sub)
{
	if (sub->announced)
		bus__sub_disarm(sub);
	do {
		bus__sub_news(sub); /* what the former busd had sent comes first */
	} while (take_next(sub));
	if (sub->refusal != 0 && !sub->refused)
		be_refused(sub);
}

/* ---- one ring after the other ---- */

static struct sub_ring *find_follower(const struct bus_sub *sub, const struct sub_ring *r)
{
	for (uint32_t i = 0; i < sub->ring_count; i++)
		if (sub->rings[i]->prev_ring == r->rd.ring_id && !sub->rings[i]->active)
			return sub->rings[i];
	return NULL;
}

/*
 * Its publisher opened the ring at a busd that died too, and never went on in it: it has opened
 * another one since.
 */
static bool was_never_used(const struct bus_sub *sub, const struct sub_ring *r)
{
	return r->rd.late && r->gen != sub->gen && find_follower(sub, r) != NULL &&
	       bus_load_acquire(&r->rd.view.page->begin_seq) == 0;
}

/* The uid is the kernel's word, the line only the publisher's. A stream on disk is the next busd's, too. */
static bool is_continued(const struct sub_ring *before, const struct sub_ring *r)
{
	if (r->disk != NULL)
		return before->disk != NULL && strcmp(before->topic->name, r->topic->name) == 0;
	return before->line == r->line && before->peer.uid == r->peer.uid;
}

void bus__sub_follow(struct bus_sub *sub, struct sub_ring *r)
{
	if (!r->active) /* it follows one of the same busd */
		return;
	for (uint32_t i = sub->ring_count; i > 0; i--) {
		const struct sub_ring *before = sub->rings[i - 1];

		if (before->gen >= r->gen || !is_continued(before, r))
			continue;
		r->prev_ring = before->rd.ring_id;
		r->active = false;
		return;
	}
}

void bus__sub_begin_follower(struct bus_sub *sub, struct sub_ring *r, uint64_t end)
{
	struct ring_reader *rd = &r->rd;

	if (r->ignored)
		return;
	if (r->disk != NULL) {
		bus__sub_disk_begin_at(r, end);
		return;
	}
	if (was_never_used(sub, r))
		bus__sub_ring_ends(r);
	if (end >= rd->cur) {
		rd->cur = rd->ahead = end;
		rd->follows = true;
		ring_reader_flush(rd);
		return;
	}
	/* its publisher did not wait for us: as an eviction */
	rd->lost += rd->cur - end;
	rd->lost_unsaid += rd->cur - end;
	if (sub->policy != BUS_LOSSY) {
		sub->evictions++;
		sub->pending = -ESTALE;
	}
}

/* ---- what nobody tells ---- */

/*
 * The publishers of a dead busd's rings that are dead: a ring ends where its last message was
 * committed. Where the kernel does not say (another pid namespace) a ring stays, idle.
 */
static void bury(struct bus_sub *sub, uint64_t now)
{
	if (now - sub->buried_at < BURY_NS)
		return;
	sub->buried_at = now;
	for (uint32_t i = 0; i < sub->ring_count; i++) {
		struct sub_ring *r = sub->rings[i];

		if (!bus__is_over(sub->bus, r->gen) || !r->active || ring_reader_came(&r->rd))
			continue;
		/* a stream that another busd has is written by no former one */
		if (was_never_used(sub, r) || (r->disk != NULL && find_follower(sub, r) != NULL) ||
		    (r->same_pids && r->peer.pid != (uint32_t)getpid() &&
		     bus__process_died(r->peer.pid)))
			bus__sub_ring_ends(r);
	}
}

void bus__sub_look(struct bus_sub *sub, bool now)
{
	sub->look_owed = false;
	bus__look(sub->bus, now);
	if (bus_load_acquire(&sub->heir_there) && !sub->refused)
		take_over(sub);
	if (sub->formers != NULL || bus__is_over(sub->bus, sub->gen))
		bury(sub, bus_monotonic_ns());
}

void bus__sub_drop_formers(struct bus_sub *sub)
{
	struct sub_former **at = &sub->formers;

	while (*at != NULL) {
		struct sub_former *former = *at;
		uint32_t i = 0;

		while (i < sub->ring_count && sub->rings[i]->gen != former->gen)
			i++;
		if (i < sub->ring_count) {
			at = &former->next;
			continue;
		}
		*at = former->next;
		shm_unmap(&former->map);
		free(former);
	}
}

uint32_t bus__sub_oldest(const struct bus_sub *sub)
{
	uint32_t oldest = sub->gen;

	for (uint32_t i = 0; i < sub->ring_count; i++)
		oldest = bus__older(oldest, sub->rings[i]->gen);
	return oldest;
}

void bus__sub_ring_ends(struct sub_ring *r)
{
	static const _Atomic uint32_t closed = BOARD_RING_CLOSED;

	r->rd.closed = &closed;
}

struct bus_sub *bus__sub_first(const struct bus *bus)
{
	struct bus_sub *sub = bus->subs;

	while (sub != NULL && sub->magic != BUS__SUB_MAGIC)
		sub = sub->next;
	return sub;
}
