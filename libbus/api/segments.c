/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segments.c - what busd handed over, by id: mapped once per connection, shared by the objects that
 * use it. All functions are called with bus->lock held.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/bus_internal.h"
#include "ring/ring.h"

static struct bus__segment **bucket_of(struct bus *bus, uint64_t id)
{
	return &bus->segments[id % BUS__BUCKETS];
}

static struct bus__segment *find_in(struct bus__segment **segments, uint64_t id)
{
	struct bus__segment *seg = segments[id % BUS__BUCKETS];

	while (seg != NULL && seg->id != id)
		seg = seg->next;
	return seg;
}

static struct bus__segment *find(struct bus *bus, uint64_t id)
{
	return find_in(bus->segments, id);
}

static void unmap_and_free(struct bus__segment *seg)
{
	shm_unmap(&seg->map);
	free(seg);
}

static void unlink_and_free(struct bus *bus, struct bus__segment *seg)
{
	struct bus__segment **table = seg->past != NULL ? seg->past->segments : bus->segments;
	struct bus__segment **at = &table[seg->id % BUS__BUCKETS];

	while (*at != seg)
		at = &(*at)->next;
	*at = seg->next;
	unmap_and_free(seg);
}

struct bus__segment *bus__segment_find(struct bus *bus, uint32_t gen, uint64_t id)
{
	struct bus__segment **table = bus->segments;

	for (struct bus__past *past = bus->past; gen != bus__gen(bus); past = past->next) {
		if (past == NULL)
			return NULL;
		table = past->segments;
		if (past->gen == gen)
			break;
	}
	return find_in(table, id);
}

struct bus__segment *bus__segment_get(struct bus *bus, uint32_t gen, uint64_t id)
{
	struct bus__segment *seg = bus__segment_find(bus, gen, id);

	if (seg != NULL)
		seg->refs++;
	return seg;
}

void bus__segment_put(struct bus *bus, struct bus__segment *seg)
{
	if (seg == NULL)
		return;
	seg->refs--;
	if (seg->refs == 0 && seg->loose)
		unmap_and_free(seg);
	else if (seg->refs == 0 && seg->gone)
		unlink_and_free(bus, seg);
}

struct bus__segment *bus__segment_await(struct bus *bus, uint32_t gen, uint64_t id)
{
	uint64_t deadline = bus_monotonic_ns() + bus->timeout_ns;

	for (;;) {
		struct bus__segment *seg;

		bus__mend(bus);
		pthread_mutex_lock(&bus->lock);
		bus__pump_locked(bus);
		seg = bus__segment_get(bus, gen, id);
		pthread_mutex_unlock(&bus->lock);
		if (seg != NULL || bus__is_over(bus, gen) || bus_monotonic_ns() >= deadline)
			return seg;
		/* one that was lost is sent again */
		bus__await_event(bus, bus_monotonic_ns() + 10000000);
	}
}

void bus__segments_each(struct bus *bus, int (*fn)(struct bus__segment *seg, void *arg), void *arg)
{
	for (int i = 0; i < BUS__BUCKETS; i++)
		for (struct bus__segment *seg = bus->segments[i]; seg != NULL; seg = seg->next)
			if (fn(seg, arg) != 0)
				return;
}

static bool size_is_sane(const struct bus *bus, const struct ctl_ev_segment *ev)
{
	switch (ev->kind) {
	case CTL_SEG_BOARD:
		return ev->size >= BOARD_SIZE;
	case CTL_SEG_RING:
		return !ring_features_ok(&ev->geometry) ||
		       (ring_geometry_ok(&ev->geometry, bus->page_bytes) &&
			ev->size == ev->geometry.size);
	case CTL_SEG_CURSOR:
		return ev->entries <= CURSOR_MAX_ENTRIES &&
		       ev->size >= sizeof(struct cursor_segment) +
					   ev->entries * sizeof(struct cursor_entry);
	case CTL_SEG_BELL:
		return ev->size >= sizeof(struct bell_page);
	default:
		return false;
	}
}

struct bus__segment *bus__segment_add(struct bus *bus, const struct ctl_ev_segment *ev, int fd,
				      int *err)
{
	struct bus__segment *seg = find(bus, ev->segment_id);
	bool fresh = seg == NULL;

	if (!fresh)
		seg->stale = false;
	if (!fresh && !seg->gone) /* sent again after a RESEND that crossed it */
		return seg;
	*err = -EPROTO;
	if (!size_is_sane(bus, ev))
		return NULL;
	if (fresh) {
		seg = calloc(1, sizeof(*seg));
		*err = -ENOMEM;
		if (seg == NULL)
			return NULL;
	} else { /* it came back while an object still had it: the mapping is the same memory */
		seg->gone = false;
		return seg;
	}
	/* one with features that we do not know stays without a mapping: nobody may look into it */
	if (ev->kind == CTL_SEG_RING && !ring_features_ok(&ev->geometry))
		*err = 0;
	else if (ev->kind == CTL_SEG_RING)
		*err = shm_map_ring(&seg->map, fd, &ev->geometry, false);
	else
		*err = shm_map_segment(&seg->map, fd, ev->size, false);
	if (*err < 0) {
		free(seg);
		return NULL;
	}
	seg->id = ev->segment_id;
	seg->kind = ev->kind;
	seg->flags = ev->flags;
	seg->base = seg->map.base;
	seg->size = ev->size;
	seg->geometry = ev->geometry;
	seg->topic_id = ev->topic_id;
	seg->owner_id = ev->owner_id;
	seg->entries = ev->entries;
	seg->uid = ev->uid;
	seg->next = *bucket_of(bus, seg->id);
	*bucket_of(bus, seg->id) = seg;
	return seg;
}

void bus__segment_gone(struct bus *bus, uint64_t id)
{
	struct bus__segment *seg = find(bus, id);

	if (seg == NULL)
		return;
	seg->gone = true;
	if (seg->refs == 0)
		unlink_and_free(bus, seg);
}

void bus__segments_stale(struct bus *bus)
{
	for (int i = 0; i < BUS__BUCKETS; i++)
		for (struct bus__segment *seg = bus->segments[i]; seg != NULL; seg = seg->next)
			seg->stale = true;
	for (struct bus__bell *bell = bus->bells; bell != NULL; bell = bell->next)
		bell->wanted = bell->page != NULL; /* who was asked is dead */
}

void bus__segments_settled(struct bus *bus)
{
	for (int i = 0; i < BUS__BUCKETS; i++) {
		struct bus__segment *seg = bus->segments[i];

		while (seg != NULL) {
			struct bus__segment *next = seg->next;

			if (seg->stale)
				bus__segment_gone(bus, seg->id);
			seg = next;
		}
	}
}

/* What waits in an inbox may still be about one that nobody uses yet: it goes with the past. */
void bus__segments_former(struct bus *bus, struct bus__past *past)
{
	for (int i = 0; i < BUS__BUCKETS; i++) {
		past->segments[i] = bus->segments[i];
		bus->segments[i] = NULL;
		for (struct bus__segment *seg = past->segments[i]; seg != NULL; seg = seg->next) {
			seg->gone = true;
			seg->past = past;
		}
	}
}

void bus__past_segments_free(struct bus__past *past)
{
	for (int i = 0; i < BUS__BUCKETS; i++) {
		while (past->segments[i] != NULL) {
			struct bus__segment *seg = past->segments[i];

			past->segments[i] = seg->next;
			seg->loose = true;
			if (seg->refs == 0)
				unmap_and_free(seg);
		}
	}
}

/* Each at most once in 10 ms: the reason is a lack of descriptors that somebody must free first. */
void bus__segment_missing(struct bus *bus, uint64_t id)
{
	uint64_t now = bus_monotonic_ns();
	uint32_t at = (uint32_t)(id % BUS__RESENDS);

	if (bus->resend[at].id == id && now < bus->resend[at].after)
		return;
	bus->resend[at].id = id;
	bus->resend[at].after = now + 10000000;
	bus__acknowledge(bus, CTL_EVC_RESEND, id, 0);
}

void bus__segments_free(struct bus *bus)
{
	for (int i = 0; i < BUS__BUCKETS; i++) {
		while (bus->segments[i] != NULL) {
			struct bus__segment *seg = bus->segments[i];

			bus->segments[i] = seg->next;
			unmap_and_free(seg);
		}
	}
	while (bus->bells != NULL) {
		struct bus__bell *bell = bus->bells;

		bus->bells = bell->next;
		shm_unmap(&bell->map);
		free(bell);
	}
}

static struct bus__bell *bell_for(struct bus *bus, uint32_t uid)
{
	struct bus__bell *bell = bus->bells;

	while (bell != NULL && bell->uid != uid)
		bell = bell->next;
	if (bell == NULL) {
		bell = calloc(1, sizeof(*bell));
		if (bell == NULL)
			return NULL;
		bell->uid = uid;
		bell->next = bus->bells;
		bus->bells = bell;
	}
	return bell;
}

struct bell_page *bus__own_bell(struct bus *bus, uint32_t uid)
{
	struct bus__bell *bell = bell_for(bus, uid);

	if (bell == NULL)
		return NULL;
	if (bell->page == NULL && !bell->wanted) {
		bell->wanted = true;
		bus__acknowledge(bus, CTL_EVC_WANT_BELL, uid, 0);
	}
	return bell->page;
}

int bus__own_bell_add(struct bus *bus, uint32_t uid, int fd)
{
	struct bus__bell *bell = bell_for(bus, uid);
	int err;

	if (bell == NULL)
		return -ENOMEM;
	if (bell->page != NULL)
		return 0;
	err = shm_map_segment(&bell->map, fd, sizeof(struct bell_page), true);
	if (err < 0) {
		bell->wanted = false;
		return err;
	}
	bell->page = bell->map.base;
	return 0;
}

struct bus__bell *bus__bell_map(uint32_t uid, int fd, int *err)
{
	struct bus__bell *bell = calloc(1, sizeof(*bell));

	*err = bell == NULL ? -ENOMEM
			    : shm_map_segment(&bell->map, fd, sizeof(struct bell_page), true);
	if (*err < 0) {
		free(bell);
		return NULL;
	}
	bell->uid = uid;
	bell->page = bell->map.base;
	return bell;
}

struct find_bell {
	uint64_t client_id;
	struct bus__segment *found;
};

static int match_bell(struct bus__segment *seg, void *arg)
{
	struct find_bell *f = arg;

	if (seg->kind == CTL_SEG_BELL && seg->owner_id == f->client_id && !seg->gone) {
		f->found = seg;
		return 1;
	}
	return 0;
}

const _Atomic uint32_t *bus__peer_bell(struct bus *bus, uint64_t client_id, struct bus__segment **seg)
{
	struct find_bell f = { .client_id = client_id };
	const struct bell_page *page;

	*seg = NULL;
	if (client_id == CTL_CLIENT_BUSD)
		return bus__bell(bus);
	if (client_id == bus->client_id) { /* both sides in this process */
		page = bus__own_bell(bus, bus->uid);
		return page != NULL ? &page->word[bus->slot] : NULL;
	}
	bus__segments_each(bus, match_bell, &f);
	if (f.found == NULL)
		return NULL;
	f.found->refs++;
	*seg = f.found;
	page = f.found->base;
	return &page->word[bus->slot];
}
