/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sub_rings.c - which rings a subscription reads: attached and detached as busd tells, joined again
 * after an eviction.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/sub_internal.h"

static struct bus_sub *find_sub(struct bus *bus, uint64_t id)
{
	struct bus_sub *sub = bus->subs;

	while (sub != NULL && sub->id != id)
		sub = sub->next;
	return sub;
}

/*
 * A publisher that comes from another busd goes on in a ring once it sees that we have that one: all that is needed
 * to read it has come, although its owner may look at it much later, and busd may be dead by then. An entry that was
 * used before may still be written by its owner: that one is tagged when the ring is attached.
 */
static void tag_early(struct bus_sub *sub, const struct ctl_ev_ring *ev)
{
	struct cursor_entry *entry;

	if ((ev->flags & CTL_RING_FRESH) == 0 || sub->cursors == NULL || ev->entry >= sub->entries ||
	    bus__segment_find(sub->bus, sub->gen, ev->segment_id) == NULL ||
	    bus__segment_find(sub->bus, sub->gen, ev->board_id) == NULL)
		return;
	entry = &sub->cursors->entry[ev->entry];
	if (bus_load_relaxed(&entry->ring_id) != 0)
		return;
	bus_store_release(&entry->cursor, ev->start);
	bus_store_release(&entry->ring_id, ev->ring_id);
}

bool bus__sub_take_event(struct bus *bus, struct bus__event *event)
{
	uint64_t id = event->type == CTL_EV_RING ? event->ring.sub_id : event->ring_gone.sub_id;
	struct bus_sub *sub = find_sub(bus, id);

	if (sub == NULL)
		return false;
	bus__inbox_push(&sub->inbox, event);
	if (event->type == CTL_EV_RING)
		tag_early(sub, &event->ring);
	return true;
}

void bus__subs_take_resume(struct bus *bus, uint32_t end)
{
	for (struct bus_sub *sub = bus->subs; sub != NULL; sub = sub->next) {
		struct bus__event *event;

		if (sub->gen != bus__gen(bus)) /* it is not told anything again */
			continue;
		event = calloc(1, sizeof(*event));
		if (end == 0)
			bus__inbox_free(&sub->inbox);
		if (event == NULL)
			continue; /* a ring that was taken away meanwhile reads as closed later on */
		event->type = CTL_EV_RESUME;
		event->resume.end = end;
		bus__inbox_push(&sub->inbox, event);
	}
}

/* ---- waking a blocked publisher ---- */

void bus__sub_resolve_bells(struct bus_sub *sub, struct sub_ring *r)
{
	if (r->gen != bus__gen(sub->bus)) /* what did not come from that busd never does */
		return;
	if (r->bell == NULL && r->stream == NULL) { /* a stream's writer waits for none of us */
		struct bell_page *page = bus__own_bell(sub->bus, r->peer.uid);

		if (page != NULL)
			r->bell = &page->word[r->bell_word];
	}
	if (r->peer_bell == NULL) {
		r->peer_bell = bus__peer_bell(sub->bus, r->client_id, &r->peer_segment);
		sub->words_stale = true;
	}
}

static bool wake_publisher(struct ring_reader *rd)
{
	struct sub_ring *r = BUS_CONTAINER_OF(rd, struct sub_ring, rd);
	struct bus *bus = r->sub->bus;

	r->sub->look_owed = true; /* perhaps what it waits for is that we come to another busd */
	if (r->bell == NULL) {
		pthread_mutex_lock(&bus->lock);
		bus__pump_locked(bus);
		bus__sub_resolve_bells(r->sub, r);
		pthread_mutex_unlock(&bus->lock);
		if (r->bell == NULL)
			return false;
	}
	wake_ring(r->bell);
	return true;
}

/* ---- topics, under bus->lock ---- */

static void missing(struct bus_sub *sub, uint64_t segment_id)
{
	if (sub->gen == bus__gen(sub->bus))
		bus__segment_missing(sub->bus, segment_id);
}

static struct sub_topic *topic_for(struct bus_sub *sub, const struct ctl_ev_ring *ev)
{
	struct sub_topic *t = sub->topics;
	struct bus__segment *seg;

	while (t != NULL && t->topic_id != ev->topic_id)
		t = t->next;
	if (t != NULL)
		return t;
	seg = bus__segment_get(sub->bus, sub->gen, ev->board_id);
	if (seg == NULL) {
		missing(sub, ev->board_id);
		return NULL;
	}
	t = calloc(1, sizeof(*t));
	if (t == NULL || seg->kind != CTL_SEG_BOARD || ev->sub_index >= BOARD_SUBS) {
		bus__segment_put(sub->bus, seg);
		free(t);
		return NULL;
	}
	t->topic_id = ev->topic_id;
	t->gen = sub->gen;
	t->segment = seg;
	t->board = seg->base;
	t->entry = (const struct board_sub *)(const void *)((const uint8_t *)seg->base +
							    BOARD_SUBS_OFF) +
		   ev->sub_index;
	/*
	 * busd counts from 0 for each subscription. What stands there now may be an eviction of
	 * ours already, or, before we have joined, of the one that had this entry before.
	 */
	t->evicted_seen = 0;
	t->cal_gen = bus_load_acquire(&t->board->cal_gen);
	bus__calibration(t->board, &t->cal);
	memcpy(t->name, ev->topic, sizeof(t->name) - 1);
	t->next = sub->topics;
	sub->topics = t;
	return t;
}

/*
 * Topics that busd has taken away, once their last ring has been read. One that is merely without
 * publishers stays: how often we were evicted from it is counted on its board, and here.
 */
static void drop_topics(struct bus_sub *sub)
{
	struct sub_topic **at = &sub->topics;

	while (*at != NULL) {
		struct sub_topic *topic = *at;

		if (topic->rings != 0 || !topic->segment->gone) {
			at = &topic->next;
			continue;
		}
		*at = topic->next;
		bus__segment_put(sub->bus, topic->segment);
		free(topic);
	}
}

/* ---- rings ---- */

static struct sub_ring *find_ring(struct bus_sub *sub, uint64_t ring_id)
{
	for (uint32_t i = 0; i < sub->ring_count; i++)
		if (sub->rings[i]->rd.ring_id == ring_id)
			return sub->rings[i];
	return NULL;
}

bool bus__sub_ring_place(struct bus_sub *sub, uint32_t count)
{
	uint32_t room = sub->ring_room == 0 ? 16 : sub->ring_room * 2;
	struct sub_ring **more;

	if (sub->ring_count + count <= sub->ring_room)
		return true;
	while (room < sub->ring_count + count)
		room *= 2;
	more = realloc(sub->rings, room * sizeof(*more));
	if (more == NULL)
		return false;
	sub->rings = more;
	sub->ring_room = room;
	return true;
}

/*
 * Told again: nothing new to a ring that we have. One that we read to its end and parked is over,
 * and the worker that was to hear of it is dead.
 */
static bool told_before(struct bus_sub *sub, const struct ctl_ev_ring *ev)
{
	struct sub_ring *r = find_ring(sub, ev->ring_id);
	const struct cursor_entry *entry = &sub->cursors->entry[ev->entry];

	if (r != NULL) {
		r->stale = false;
		return true;
	}
	if (!sub->resuming || bus_load_relaxed(&entry->ring_id) != ev->ring_id ||
	    bus_load_relaxed(&entry->cursor) != CURSOR_PARKED)
		return false;
	bus__acknowledge(sub->bus, CTL_EVC_RING_DONE, ev->ring_id, sub->id);
	return true;
}

/*
 * A ring, or a topic's board, of features that came after this library: not read at all, and its
 * publisher is not to wait for that. Said once for each ring, with the next peek.
 */
static bool is_beyond_us(struct bus_sub *sub, const struct ctl_ev_ring *ev)
{
	/* not got and put: the last to put one of a dead busd's frees it, and it is to be read */
	const struct bus__segment *ring = bus__segment_find(sub->bus, sub->gen, ev->segment_id);
	const struct bus__segment *board = bus__segment_find(sub->bus, sub->gen, ev->board_id);
	const struct board_head *head = board != NULL && board->kind == CTL_SEG_BOARD ? board->base
										      : NULL;
	bool beyond = (ring != NULL && ring->base == NULL) ||
		      (head != NULL && !board_known(head->magic, head->version, head->features));

	if (beyond) {
		sub->pending = bus__fail(
			-EPROTONOSUPPORT,
			"publisher \"%.63s\" on \"%.255s\" has a ring (features %#x) that this library (" BUS_VERSION
			") cannot read: its messages are left out; use a newer libbus",
			ev->name, ev->topic, ring != NULL ? ring->geometry.features : 0);
		if (sub->gen == bus__gen(sub->bus))
			bus__acknowledge(sub->bus, CTL_EVC_RING_DONE, ev->ring_id, sub->id);
	}
	return beyond;
}

/* false: a segment is missing; the event stays. */
static bool attach_ring(struct bus_sub *sub, const struct ctl_ev_ring *ev)
{
	struct bus *bus = sub->bus;
	const struct board_ring *board_ring;
	struct bus__segment *seg;
	struct sub_topic *topic;
	struct ring_view view;
	struct sub_ring *r;

	if (ev->entry >= sub->entries || ev->board_index >= BOARD_RINGS ||
	    ev->bell_word >= BELL_WORDS || told_before(sub, ev) || is_beyond_us(sub, ev))
		return true; /* nonsense, or told twice, or of a later version */
	topic = topic_for(sub, ev);
	if (topic == NULL)
		return false;
	seg = bus__segment_get(bus, sub->gen, ev->segment_id);
	if (seg == NULL) {
		missing(sub, ev->segment_id);
		return false;
	}
	r = seg->kind == CTL_SEG_RING && bus__sub_ring_place(sub, 1) ? calloc(1, sizeof(*r)) : NULL;
	if (r == NULL || !bus__sub_stream_attach(r, seg, topic->segment)) {
		free(r);
		bus__segment_put(bus, seg);
		return false;
	}
	board_ring = (const struct board_ring *)(const void *)((const uint8_t *)topic->board +
							       BOARD_RINGS_OFF) +
		     ev->board_index;
	ring_view_init(&view, seg->base, &seg->geometry);
	ring_reader_init(&r->rd, &view, ev->ring_id, &sub->cursors->entry[ev->entry],
			 &board_ring->state, BOARD_RING_CLOSED, seg->geometry.first_seq);
	r->rd.wake = wake_publisher;
	r->topic = topic;
	r->sub = sub;
	r->segment = seg;
	r->prev_ring = ev->prev_ring;
	r->active = ev->prev_ring == 0 || find_ring(sub, ev->prev_ring) == NULL;
	r->client_id = ev->client_id;
	r->bell_word = ev->bell_word;
	r->gen = sub->gen;
	r->same_pids = bus->same_pids;
	r->line = ev->line != 0 ? ev->line : ev->pub_id;
	r->rd.late = ev->line != 0;
	r->after_ns = sub->start_time_ns;
	memcpy(r->name, ev->name, sizeof(r->name) - 1);
	BUS_NEXT(if (ev->label != 0) snprintf(r->name, sizeof(r->name), "%.40s#%llu", ev->name,
					      (unsigned long long)ev->label));
	r->peer =
		(struct bus_peer){ .id = ev->pub_id, .pid = ev->pid, .uid = ev->uid, .name = r->name };
	bus__sub_resolve_bells(sub, r);
	bus__sub_follow(sub, r);
	topic->rings++;
	sub->rings[sub->ring_count++] = r;
	sub->words_stale = true;
	r->unbegun = (ev->flags & CTL_RING_FRESH) == 0;
	if (!r->unbegun) {
		r->rd.cur = r->rd.ahead = ev->start;
		ring_reader_tag(&r->rd);
	}
	return true;
}

/*
 * busd took the ring away: its entry may be another ring's soon. What is there can still be read.
 */
static void orphan_ring(struct bus_sub *sub, uint64_t ring_id)
{
	struct sub_ring *r = find_ring(sub, ring_id);

	if (r == NULL)
		return;
	r->rd.entry = &r->dummy;
	bus__sub_ring_ends(r);
}

static void remove_ring(struct bus_sub *sub, struct sub_ring *r)
{
	for (uint32_t i = 0; i < sub->ring_count; i++) {
		if (sub->rings[i] != r)
			continue;
		memmove(&sub->rings[i], &sub->rings[i + 1],
			(sub->ring_count - i - 1) * sizeof(sub->rings[0]));
		sub->ring_count--;
		if (sub->at > i)
			sub->at--;
		break;
	}
	if (sub->at >= sub->ring_count)
		sub->at = 0;
	sub->words_stale = true;
	sub->past_delivered += r->rd.delivered;
	sub->past_lost += r->rd.lost;
	bus_store_relaxed(&sub->cursors->past_delivered, sub->past_delivered);
	bus_store_relaxed(&sub->cursors->past_lost, sub->past_lost);
	r->topic->rings--;
	bus__segment_put(sub->bus, r->segment);
	bus__segment_put(sub->bus, r->peer_segment);
	bus__sub_disk_free(r->disk);
	bus__sub_stream_free(r->stream);
	free(r);
}

/*
 * Its last message has been read and nothing of it is borrowed: the next one in its line may be
 * read.
 */
void bus__sub_finish_ring(struct bus_sub *sub, struct sub_ring *r)
{
	uint64_t id = r->rd.ring_id, unsaid = r->rd.lost_unsaid, end = r->rd.cur;
	bool former = r->gen != sub->gen;
	struct bus *bus = sub->bus;

	for (uint32_t i = 0; i < sub->ring_count; i++) {
		if (sub->rings[i]->prev_ring == id && !sub->rings[i]->active) {
			sub->rings[i]->active = true;
			sub->rings[i]->rd.lost_unsaid += unsaid;
			if (sub->rings[i]->gen != r->gen)
				bus__sub_begin_follower(sub, sub->rings[i], end);
		}
	}
	/*
	 * The id stays until busd gives the entry to another ring: so tools tell who has read a
	 * kept ring from who has not looked yet.
	 */
	bus_store_release(&r->rd.entry->cursor, CURSOR_PARKED);
	pthread_mutex_lock(&bus->lock);
	bus__sub_disk_ended(r, end);
	remove_ring(sub, r);
	if (former) {
		drop_topics(sub);
		bus__sub_drop_formers(sub);
		bus__past_sweep(bus);
	} else if (sub->gen == bus__gen(bus)) {
		bus__acknowledge(bus, CTL_EVC_RING_DONE, id, sub->id);
	}
	pthread_mutex_unlock(&bus->lock);
}

void bus__sub_drop_rings(struct bus_sub *sub)
{
	while (sub->ring_count > 0)
		remove_ring(sub, sub->rings[sub->ring_count - 1]);
	free(sub->rings);
	sub->rings = NULL;
}

/* ---- evictions ---- */

bool bus__sub_evicted(const struct sub_topic *topic)
{
	return bus_load_acquire(&topic->entry->evicted) != topic->evicted_seen;
}

static bool borrows_from(const struct bus_sub *sub, const struct sub_topic *topic)
{
	for (uint32_t i = 0; i < sub->ring_count; i++)
		if (sub->rings[i]->topic == topic && sub->rings[i]->borrowed > 0)
			return true;
	return false;
}

static bool rejoins(const struct sub_ring *r, const struct sub_topic *topic)
{
	return r->topic == topic && !r->rd.drained && !r->ignored;
}

/* Has the publisher begun to overwrite what this reader has yet to read? */
static bool was_lapped(const struct ring_reader *rd)
{
	struct ring_peeked p;

	return ring_reader_peek(rd, &p) == RING_LAPPED;
}

/*
 * Joins a topic again, in the same three steps. At a ring in which nothing was missed yet reading
 * goes on where it stands: its publisher may be one that never ceased to wait, for it is from single
 * rings that one is evicted; and if not, it waits from now on, and until it knows that the frontier
 * tells, as for any reader. At the others what was missed is counted only when it is known where
 * reading goes on, and the cursor never goes back: the shared head lags the commit words. Without
 * busd reading goes on all the same, as a reader that nobody waits for.
 */
static void rejoin(struct bus_sub *sub, struct sub_topic *topic)
{
	struct ctl_sub_join req = { .head = BUS__HEAD(CTL_SUB_REJOIN, ctl_sub_join),
				    .sub_id = sub->id,
				    .topic_id = topic->topic_id };
	struct ctl_ok ok;

	topic->evicted_seen = bus_load_acquire(&topic->entry->evicted);
	for (uint32_t i = 0; i < sub->ring_count; i++) {
		struct ring_reader *rd = &sub->rings[i]->rd;
		uint64_t head, was;

		sub->rings[i]->skips = false;
		if (!rejoins(sub->rings[i], topic))
			continue;
		ring_reader_skip_hole(rd);
		was = rd->cur;
		sub->rings[i]->skips = was_lapped(rd);
		head = bus_load_acquire(&rd->view.page->head);
		if (sub->rings[i]->skips && head > rd->cur)
			rd->cur = rd->ahead = head;
		ring_reader_tag(rd);
		rd->cur = rd->ahead = was; /* counted below */
	}
	if (bus__request_of(sub->bus, topic->gen, &req, &ok, sizeof(ok), NULL, NULL) < 0 &&
	    topic->gen == sub->gen)
		sub->ungated = true; /* shown by bus-stat as evicted; loss stays counted */
	for (uint32_t i = 0; i < sub->ring_count; i++) {
		struct ring_reader *rd = &sub->rings[i]->rd;
		uint64_t was = rd->cur;

		if (!sub->rings[i]->skips)
			continue;
		ring_reader_joined_now(rd);
		rd->lost += rd->cur - was;
		rd->lost_unsaid += rd->cur - was;
	}
	sub->evictions++;
	sub->pending = -ESTALE;
}

static void look_for_evictions(struct bus_sub *sub)
{
	sub->rejoin_owed = false;
	for (struct sub_topic *t = sub->topics; t != NULL; t = t->next) {
		if (!bus__sub_evicted(t))
			continue;
		if (borrows_from(sub, t)) /* whether they are good is said when they are released */
			sub->rejoin_owed = true;
		else
			rejoin(sub, t);
	}
}

/* ---- rings that are ignored ---- */

/*
 * What follows a ring that is ignored is of the same publisher, and ignored too: nobody would read
 * it, and a cursor in it that stands still would have us evicted. Once such a ring is closed there
 * is nothing to wait for.
 */
static void settle_ignored(struct bus_sub *sub)
{
	for (uint32_t i = 0; i < sub->ring_count; i++) {
		struct sub_ring *r = sub->rings[i], *prev = NULL;

		if (!r->ignored && !r->active)
			prev = find_ring(sub, r->prev_ring);
		if (prev != NULL && prev->ignored) {
			r->ignored = true;
			ring_reader_park(&r->rd);
		}
	}
	for (uint32_t i = 0; i < sub->ring_count; i++) {
		struct sub_ring *r = sub->rings[i];

		if (!r->ignored || r->borrowed > 0 ||
		    (bus_load_acquire(r->rd.closed) != r->rd.closed_value && r->gen == sub->gen))
			continue;
		bus__sub_finish_ring(sub, r);
		i--;
	}
}

/* ---- news ---- */

/* busd took the ring away before we looked: its segment is not missing, it is over. */
static bool goes_later(const struct bus__event *event)
{
	uint64_t ring_id = event->ring.ring_id;

	while ((event = event->next) != NULL)
		if (event->type == CTL_EV_RING_GONE && event->ring_gone.ring_id == ring_id)
			return true;
	return false;
}

/* What was not told again has been taken away while nobody told us. */
static void resume(struct bus_sub *sub, bool end)
{
	sub->resuming = !end;
	sub->rings_told = end ? UINT64_MAX / 2 : 0;
	for (uint32_t i = 0; i < sub->ring_count; i++) {
		if (sub->rings[i]->gen != sub->gen)
			continue;
		if (!end)
			sub->rings[i]->stale = true;
		else if (sub->rings[i]->stale)
			orphan_ring(sub, sub->rings[i]->rd.ring_id);
	}
}

static void apply_inbox(struct bus_sub *sub)
{
	sub->inbox_stuck = false;
	while (sub->inbox.first != NULL) {
		struct bus__event *event = sub->inbox.first;

		if (event->type == CTL_EV_RESUME) {
			resume(sub, event->resume.end != 0);
			free(bus__inbox_take(&sub->inbox));
			continue;
		}
		if (event->type == CTL_EV_RING && (event->ring.flags & CTL_RING_STARVED)) {
			sub->pending = -ENOBUFS;
			free(bus__inbox_take(&sub->inbox));
			continue;
		}
		/* what a dead busd did not send in time never comes */
		if (event->type == CTL_EV_RING && !attach_ring(sub, &event->ring) &&
		    !goes_later(event) && sub->gen == bus__gen(sub->bus)) {
			sub->inbox_stuck = true;
			return;
		}
		if (event->type == CTL_EV_RING)
			sub->rings_told++;
		else
			orphan_ring(sub, event->ring_gone.ring_id);
		free(bus__inbox_take(&sub->inbox));
	}
}

void bus__sub_news(struct bus_sub *sub)
{
	struct bus *bus = sub->bus;

	bus__mend(bus);
	pthread_mutex_lock(&bus->lock);
	sub->bell_seen =
		bus_load_acquire(sub->bell); /* before the socket: what comes later rings again */
	if (bus__pump_locked(bus) < 0 && bus_load_relaxed(&bus->lost) != 0) {
		pthread_mutex_unlock(&bus->lock);
		bus__mend(bus);
		pthread_mutex_lock(&bus->lock);
		bus__pump_locked(bus);
	}
	apply_inbox(sub);
	drop_topics(sub);
	if (sub->slice) {
		for (uint32_t i = 0; i < sub->ring_count; i++)
			bus__sub_resolve_bells(sub, sub->rings[i]);
	}
	pthread_mutex_unlock(&bus->lock);
	if (sub->joined) {
		bus__sub_begin_late(sub);
		settle_ignored(sub);
		look_for_evictions(sub);
	}
}
