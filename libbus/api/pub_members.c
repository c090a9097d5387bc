/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pub_members.c - who is attached to a publisher's ring. busd tells by numbered events; they are
 * applied here, by the publisher's own thread, when it sees that the board's epoch has moved.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/pub_internal.h"

static struct bus_pub *find_pub(struct bus *bus, uint64_t id)
{
	struct bus_pub *pub = bus->pubs;

	while (pub != NULL && pub->id != id)
		pub = pub->next;
	return pub;
}

bool bus__pub_take_event(struct bus *bus, struct bus__event *event)
{
	struct bus_pub *pub = find_pub(bus, event->member.pub_id);

	if (pub == NULL)
		return false;
	bus__inbox_push(&pub->inbox, event);
	return true;
}

void bus__pubs_take_resume(struct bus *bus, uint32_t end)
{
	for (struct bus_pub *pub = bus->pubs; pub != NULL; pub = pub->next) {
		struct bus__event *event;

		if (pub->gen != bus__gen(bus)) /* it is not told anything again */
			continue;
		event = calloc(1, sizeof(*event));
		if (end == 0)
			bus__inbox_free(&pub->inbox);
		if (event == NULL)
			continue; /* members that went stay: an unnecessary gate, no missing one */
		event->type = CTL_EV_RESUME;
		event->resume.end = end;
		bus__inbox_push(&pub->inbox, event);
	}
}

/* ---- applying, under bus->lock ---- */

static void free_owner(struct bus *bus, struct pub_member *pm)
{
	bus__segment_put(bus, pm->cursors);
	bus__segment_put(bus, pm->peer_segment);
	free(pm);
}

static void remove_member(struct bus_pub *pub, uint64_t sub_id)
{
	struct ring_pub *r = &pub->ring;

	for (uint32_t i = 0; i < r->member_count; i++) {
		if (r->members[i].sub_id != sub_id)
			continue;
		free_owner(pub->bus, r->members[i].owner);
		r->members[i] = r->members[--r->member_count];
		return;
	}
}

static struct ring_member *member_place(struct bus_pub *pub)
{
	struct ring_pub *r = &pub->ring;

	if (r->member_count == pub->member_room) {
		uint32_t room = pub->member_room == 0 ? 8 : pub->member_room * 2;
		struct ring_member *more = realloc(r->members, room * sizeof(*more));

		if (more == NULL)
			return NULL;
		r->members = more;
		pub->member_room = room;
	}
	return &r->members[r->member_count];
}

static void resolve_bells(struct bus_pub *pub, struct pub_member *pm)
{
	if (pub->gen != bus__gen(pub->bus)) /* what did not come from that busd never does */
		return;
	if (pm->bell == NULL) {
		struct bell_page *page = bus__own_bell(pub->bus, pm->uid);

		if (page != NULL)
			pm->bell = &page->word[pm->bell_word];
	}
	if (pm->peer_bell == NULL)
		pm->peer_bell = bus__peer_bell(pub->bus, pm->client_id, &pm->peer_segment);
}

/*
 * A new worker tells again who is there. Who is known stays as it is: what we noted of its cursor
 * and its last wake still holds.
 */
static bool is_known(struct bus_pub *pub, const struct ctl_ev_member *ev)
{
	struct ring_pub *r = &pub->ring;

	for (uint32_t i = 0; ev->number == 0 && i < r->member_count; i++) {
		struct pub_member *pm = r->members[i].owner;
		const struct cursor_segment *cursors = pm->cursors->base;

		if (r->members[i].sub_id != ev->sub_id || pm->cursors->id != ev->segment_id ||
		    r->members[i].entry != &cursors->entry[ev->entry])
			continue;
		r->members[i].gates = (ev->flags & CTL_MEMBER_GATES) != 0;
		pm->stale = false;
		return true;
	}
	return false;
}

static void mark_members(struct bus_pub *pub)
{
	for (uint32_t i = 0; i < pub->ring.member_count; i++)
		((struct pub_member *)pub->ring.members[i].owner)->stale = true;
}

static void remove_stale(struct bus_pub *pub)
{
	struct ring_pub *r = &pub->ring;
	uint32_t i = 0;

	while (i < r->member_count) {
		const struct pub_member *pm = r->members[i].owner;

		if (pm->stale)
			remove_member(pub, r->members[i].sub_id);
		else
			i++;
	}
}

static bool add_member(struct bus_pub *pub, const struct ctl_ev_member *ev)
{
	struct bus__segment *seg;
	const struct cursor_segment *cursors;
	struct pub_member *pm;
	struct ring_member *m;

	if (ev->ring_id != pub->ring.ring_id)
		return true; /* for a ring that has been replaced meanwhile */
	if (is_known(pub, ev))
		return true;
	seg = bus__segment_get(pub->bus, pub->gen, ev->segment_id);
	if (seg == NULL) {
		if (pub->gen == bus__gen(pub->bus))
			bus__segment_missing(pub->bus, ev->segment_id);
		return false;
	}
	m = member_place(pub);
	pm = calloc(1, sizeof(*pm));
	if (m == NULL || pm == NULL || seg->kind != CTL_SEG_CURSOR || ev->entry >= seg->entries ||
	    ev->bell_word >= BELL_WORDS) {
		bus__segment_put(pub->bus, seg);
		free(pm);
		return false;
	}
	remove_member(pub, ev->sub_id);
	m = &pub->ring.members[pub->ring.member_count++];
	cursors = seg->base;
	*pm = (struct pub_member){ .cursors = seg,
				   .client_id = ev->client_id,
				   .uid = ev->uid,
				   .bell_word = ev->bell_word,
				   .line = ev->line != 0 ? ev->line : ev->sub_id };
	resolve_bells(pub, pm);
	*m = (struct ring_member){ .entry = &cursors->entry[ev->entry],
				   .waiting = &cursors->waiting,
				   .idle = &cursors->idle,
				   .start = ev->start,
				   .gates = (ev->flags & CTL_MEMBER_GATES) != 0,
				   .owner = pm,
				   .sub_id = ev->sub_id };
	if (bus_load_acquire(&cursors->wants_fence) != 0)
		pub->ring.fences = true;
	return true;
}

/* The subscription left meanwhile, and its segment with it: it is not missing, it is over. */
static bool leaves_later(const struct bus__event *event)
{
	uint64_t sub_id = event->member.sub_id;

	while ((event = event->next) != NULL)
		if (event->type == CTL_EV_MEMBER && event->member.op == CTL_MEMBER_REMOVE &&
		    event->member.sub_id == sub_id)
			return true;
	return false;
}

/*
 * Applies what has come. Stops at an event whose segment is missing: later ones may depend on it.
 * Unless busd is over: then it never comes, and its subscriber reads on as one that nobody waits
 * for.
 */
static void apply_inbox(struct bus_pub *pub, bool over)
{
	while (pub->inbox.first != NULL) {
		struct bus__event *event = pub->inbox.first;
		const struct ctl_ev_member *ev = &event->member;

		if (event->type == CTL_EV_RESUME) {
			if (event->resume.end == 0)
				mark_members(pub);
			free(bus__inbox_take(&pub->inbox));
			continue;
		}
		if (ev->op == CTL_MEMBER_ADD && !add_member(pub, ev) && !leaves_later(event) && !over)
			return;
		if (ev->op == CTL_MEMBER_REMOVE)
			remove_member(pub, ev->sub_id);
		if (ev->op == CTL_MEMBER_ALL)
			remove_stale(pub);
		if (ev->number > pub->number)
			pub->number = ev->number;
		free(bus__inbox_take(&pub->inbox));
	}
}

/*
 * Receives and applies. *stuck: an event waits for its segment. true: busd has gone and left
 * nothing unread, so nobody will ever tell us more.
 */
static bool receive(struct bus_pub *pub, bool *stuck)
{
	struct bus *bus = pub->bus;
	bool over;

	for (int i = 0; i < 2; i++) {
		bus__mend(bus);
		pthread_mutex_lock(&bus->lock);
		bus__pump_locked(bus);
		over = bus__is_over(bus, pub->gen);
		apply_inbox(pub, over);
		*stuck = pub->inbox.first != NULL;
		pthread_mutex_unlock(&bus->lock);
		if (bus_load_relaxed(&bus->lost) == 0)
			break;
	}
	return over;
}

/*
 * busd died between raising the epoch and telling us whom it is about: they are taken for readers
 * that nobody waits for (the frontier tells them what they missed). We do not know whom to wake, so
 * all who might sleep on a bell of ours are woken; on their way back to sleep they find out that
 * busd has gone, and sleep in slices from then on.
 */
static void go_on_without(struct bus_pub *pub, uint64_t epoch)
{
	struct bus *bus = pub->bus;

	pub->number = epoch;
	pthread_mutex_lock(&bus->lock);
	for (struct bus__bell *bell = bus__bells_of(bus, pub->gen); bell != NULL; bell = bell->next)
		for (uint32_t i = 0; bell->page != NULL && i < BELL_WORDS; i++)
			wake_ring(&bell->page->word[i]);
	pthread_mutex_unlock(&bus->lock);
}

bool bus__pub_news(struct bus_pub *pub)
{
	uint64_t epoch = bus_load_acquire(pub->ring.epoch);
	/* numbers beyond it changed nothing: a new worker calls its clients by them */
	uint64_t changed = bus_load_acquire(&pub->board->changed);
	bool stuck, over = receive(pub, &stuck);

	if (bus__pub_ring_closed(pub)) {
		pub->removed = true;
		bus__pub_set_go(pub);
	}
	if (pub->number < changed && over)
		go_on_without(pub, epoch);
	if (pub->number < changed)
		return false;
	ring_pub_seen(&pub->ring, epoch);
	return true;
}

/*
 * Those who were known are woken already. Who joined meanwhile may sleep too, and there may be no
 * next publish that would notice: so this waits a little for a membership that busd still has in
 * its queue (a client is sent a few descriptors at a time). Where it does not come, the wake is
 * owed and the next publish finds an unknown gate. Where it did not come a moment ago busd stands
 * still, and there is no waiting again with each publish.
 */
#define NEWS_TRIES    50
#define NEWS_TRY_NS   2000000
#define NEWS_AGAIN_NS 1000000000u

void bus__pub_wake_news(struct bus_pub *pub)
{
	bool patient = pub->news_waited == 0 ||
		       bus_monotonic_ns() - pub->news_waited >= NEWS_AGAIN_NS;

	for (int i = 0; i < NEWS_TRIES; i++) {
		if (bus__pub_news(pub)) {
			if (ring_pub_wake(&pub->ring) != RING_NEWS) {
				pub->ring.wake_owed = false;
				pub->news_waited = 0;
				bus__pub_set_go(pub);
				return;
			}
		} else if (!patient || pub->removed) {
			break;
		} else {
			bus__await_event(pub->bus, bus_monotonic_ns() + NEWS_TRY_NS);
		}
	}
	if (patient)
		pub->news_waited = bus_monotonic_ns();
	pub->ring.wake_owed = true;
	bus__pub_set_go(pub);
}

/* ---- bells ---- */

bool bus__pub_wake(struct ring_pub *ring, struct ring_member *member)
{
	struct bus_pub *pub = BUS_CONTAINER_OF(ring, struct bus_pub, ring);
	struct pub_member *pm = member->owner;
	struct ring_writer_page *page = ring->view.page;

	if (pm->bell == NULL) {
		pthread_mutex_lock(&pub->bus->lock);
		bus__pump_locked(pub->bus);
		resolve_bells(pub, pm);
		pthread_mutex_unlock(&pub->bus->lock);
		if (pm->bell == NULL)
			return false;
	}
	wake_ring(pm->bell);
	bus_store_relaxed(&page->wakes, bus_load_relaxed(&page->wakes) + 1);
	return true;
}

int bus__pub_bells(struct bus_pub *pub, struct wake_word **words, int *count, bool *slice)
{
	struct ring_pub *r = &pub->ring;
	struct wake_word *w = malloc((r->member_count + 1) * sizeof(*w));
	int n = 0;

	if (w == NULL)
		return -ENOMEM;
	*slice = false;
	w[n].word = bus__bell(pub->bus);
	w[n].seen = bus_load_acquire(w[n].word);
	n++;
	for (uint32_t i = 0; i < r->member_count; i++) {
		struct pub_member *pm = r->members[i].owner;
		int j = 0;

		if (!r->members[i].gates || r->members[i].lying)
			continue;
		if (pm->peer_bell == NULL) {
			pthread_mutex_lock(&pub->bus->lock);
			resolve_bells(pub, pm);
			pthread_mutex_unlock(&pub->bus->lock);
		}
		if (pm->peer_bell == NULL) {
			*slice = true;
			continue;
		}
		while (j < n && w[j].word != pm->peer_bell)
			j++;
		if (j == n)
			w[n++] = (struct wake_word){ pm->peer_bell, bus_load_acquire(pm->peer_bell) };
	}
	*words = w;
	*count = n;
	return 0;
}

/*
 * busd answers PUB_READY only when all its members were sent, so they are in the inbox; only a
 * descriptor that this process had no room for may be missing.
 */
int bus__pub_await_members(struct bus_pub *pub, uint64_t number)
{
	uint64_t deadline = bus_monotonic_ns() + pub->bus->timeout_ns;

	for (;;) {
		bool stuck;

		receive(pub, &stuck);
		if (!stuck) {
			if (number > pub->number)
				pub->number = number;
			return 0;
		}
		if (bus_monotonic_ns() >= deadline)
			return bus__fail(
				-EMFILE,
				"the subscribers of \"%s\" did not arrive: is this process out of file "
				"descriptors?",
				pub->topic);
		bus__await_event(pub->bus, bus_monotonic_ns() + 10000000);
		if (bus__is_over(pub->bus, pub->gen))
			return bus__fail(-EPIPE, "busd at %s went away while \"%s\" was opened",
					 pub->bus->socket, pub->topic);
	}
}

void bus__pub_drop_members(struct bus_pub *pub)
{
	pthread_mutex_lock(&pub->bus->lock);
	bus__pub_free_members(pub->bus, &pub->ring);
	pthread_mutex_unlock(&pub->bus->lock);
}

void bus__pub_free_members(struct bus *bus, struct ring_pub *ring)
{
	for (uint32_t i = 0; i < ring->member_count; i++)
		free_owner(bus, ring->members[i].owner);
	ring->member_count = 0;
}

void bus__pub_receive(struct bus_pub *pub)
{
	bool stuck;

	receive(pub, &stuck);
}
