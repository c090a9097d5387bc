/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pub_succeed.c - a publisher comes to another busd. It opens an heir of itself there, with the next
 * number, and writes on in its old ring, whose gates work without any busd, until every living
 * reader of that is a member of the new one; then it ends the old ring and goes on in the new one,
 * under the same number. So nobody misses a message, and nobody gets one twice.
 *
 * A reader that does not come is waited for as long as a full ring waits for one that stands still.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/pub_internal.h"

#define GIVE_UP_LEAST_NS UINT64_C(2000000000)
#define GIVE_UP_MOST_NS  UINT64_C(10000000000)
#define LOSSY_NS         UINT64_C(1000000000) /* who gates nothing is waited for all the same */
#define NUDGE_NS         UINT64_C(20000000)
#define BURY_NS          UINT64_C(100000000)
#define AGAIN_NS         UINT64_C(500000000)
#define FAILURES_MAX     10
#define FORMER_NS        UINT64_C(30000000000)

/* ---- the dead ---- */

/* Of whom no board says so any more. 0: unknown, or it is not there any more. */
static uint32_t pid_of(const struct bus_pub *pub, uint64_t sub_id, bool *left)
{
	const struct board_sub *subs =
		(const struct board_sub *)(const void *)((const uint8_t *)pub->board + BOARD_SUBS_OFF);
	uint32_t used = bus_load_acquire(&pub->board->subs_used);

	*left = false;
	for (uint32_t i = 0; i < used && i < BOARD_SUBS; i++)
		if (bus_load_acquire(&subs[i].state) == BOARD_SUB_ACTIVE &&
		    bus_load_relaxed(&subs[i].sub_id) == sub_id)
			return subs[i].pid;
	*left = true;
	return 0;
}

void bus__pub_bury(struct bus_pub *pub)
{
	uint64_t now = bus_monotonic_ns();

	if (pub->source != NULL) {
		bus__pub_hold(pub); /* its one member is the dead busd's */
		return;
	}
	if (now - pub->buried_at < BURY_NS)
		return;
	pub->buried_at = now;
	for (uint32_t i = 0; i < pub->ring.member_count; i++) {
		struct ring_member *m = &pub->ring.members[i];
		struct pub_member *pm = m->owner;
		bool left;
		uint32_t pid;

		if (pm->dead)
			continue;
		pid = pid_of(pub, m->sub_id, &left);
		if (!left && (!pub->same_pids || pid == (uint32_t)getpid() || !bus__process_died(pid)))
			continue;
		pm->dead = true;
		m->gates = false;
	}
}

/* ---- who has come ---- */

/*
 * busd's word that it is a member is not enough: busd may die before the subscriber hears that it is, or hears of
 * this ring. What the subscriber writes itself says so.
 */
static bool has_ring(const struct bus_pub *heir, const struct ring_member *m)
{
	const struct pub_member *pm = m->owner;
	const struct cursor_segment *cursors = pm->cursors->base;

	return bus_load_acquire(&cursors->taken) != 0 &&
	       bus_load_acquire(&m->entry->ring_id) == heir->ring.ring_id;
}

static bool has_come(const struct bus_pub *heir, const struct pub_member *old)
{
	for (uint32_t i = 0; i < heir->ring.member_count; i++) {
		const struct ring_member *m = &heir->ring.members[i];
		const struct pub_member *pm = m->owner;

		/* the uid is the kernel's word, the line only the subscriber's */
		if (pm->line == old->line && pm->uid == old->uid && has_ring(heir, m))
			return true;
	}
	return false;
}

static bool is_missing(const struct bus_pub *pub, const struct ring_member *m, uint64_t waited_ns)
{
	const struct pub_member *pm = m->owner;
	uint64_t most = bus_max_u64(GIVE_UP_LEAST_NS, bus_min_u64(GIVE_UP_MOST_NS, pub->full_ns));

	if (m->lying || pm->dead || waited_ns > (m->gates ? most : LOSSY_NS))
		return false;
	if (bus_load_acquire(&m->entry->ring_id) == pub->ring.ring_id &&
	    bus_load_acquire(&m->entry->cursor) == CURSOR_PARKED)
		return false; /* it closed, or was refused */
	return !has_come(pub->heir, pm);
}

static bool all_came(struct bus_pub *pub, uint64_t now)
{
	for (uint32_t i = 0; i < pub->ring.member_count; i++)
		if (is_missing(pub, &pub->ring.members[i], now - pub->heir_since))
			return false;
	return true;
}

/*
 * Who has not noticed is made to look: the sleeper by a wake-up, the one that reads by the word
 * which it looks at with each message that it gives back.
 */
static void nudge(struct bus_pub *pub, uint64_t now)
{
	if (now - pub->nudged_at < NUDGE_NS)
		return;
	pub->nudged_at = now;
	pub->ring.wake_at = UINT64_MAX; /* a generation of its own */
	ring_pub_wait_begin(&pub->ring, 0);
	for (uint32_t i = 0; i < pub->ring.member_count; i++) {
		struct ring_member *m = &pub->ring.members[i];

		if (bus_load_acquire(&m->waiting[0]) != 0 && is_missing(pub, m, now - pub->heir_since))
			bus__pub_wake(&pub->ring, m);
	}
}

/* ---- the heir ---- */

static void refuse(struct bus_pub *pub, int err)
{
	pub->refusal = err;
	bus__why_save(pub->refusal_why);
	ring_pub_final(&pub->ring); /* whoever reads it is not to wait for more */
	bus__pub_wake_news(pub);
	bus__pub_set_go(pub);
}

/* What the topic's board says, but for the ring's own size where that is another. */
static struct ctl_topic_settings settings_of(const struct bus_pub *pub)
{
	const struct board_head *board = pub->board;

	return (struct ctl_topic_settings){
		.slots = pub->geometry.slots,
		.numa = pub->numa != 0 ? pub->numa : board->numa,
		.bytes = pub->geometry.bytes,
		.max_bytes = board->max_bytes,
		.flags = (board->flags & BOARD_TOPIC_HUGE ? CTL_TOPIC_HUGE_OR_NOT : 0) |
			 (board->flags & BOARD_TOPIC_STREAM ? CTL_TOPIC_STREAM : 0),
	};
}

static struct bus_pub *new_heir(struct bus_pub *pub, int *err)
{
	struct ctl_topic_settings settings = settings_of(pub);
	struct bus_pub *heir = NULL;

	/* what the new busd's configuration does not allow gives way to what it says */
	for (int i = 0; i < 2 && heir == NULL; i++) {
		heir = shm_private_alloc(sizeof(*heir));
		*err = -ENOMEM;
		if (heir == NULL)
			return NULL;
		heir->bus = pub->bus;
		bus__inbox_init(&heir->inbox);
		/* who reads a stream knows its publishers by their sources */
		heir->line = pub->source == NULL ? pub->line : 0;
		heir->named = pub->named;
		memcpy(heir->topic, pub->topic, sizeof(heir->topic));
		memcpy(heir->name, pub->name, sizeof(heir->name));
		*err = bus__pub_open_ring(heir, &settings,
					  pub->source == NULL ? pub->ring.n : pub->held_at);
		if (*err == 0)
			return heir;
		bus__pub_discard(heir);
		heir = NULL;
		if (*err != -EINVAL)
			return NULL;
		settings = (struct ctl_topic_settings){ .slots = 0 };
	}
	return NULL;
}

static bool open_heir(struct bus_pub *pub, uint64_t now)
{
	int err = 0;

	if (now < pub->heir_after)
		return false;
	if (pub->source != NULL)
		err = bus__pub_may_resume(pub);
	if (err == 0)
		pub->heir = new_heir(pub, &err);
	if (pub->heir != NULL && pub->source != NULL) {
		err = bus__pub_check_heir(pub, pub->heir);
		if (err < 0) {
			bus__pub_discard(pub->heir);
			pub->heir = NULL;
		}
	}
	if (pub->heir != NULL) {
		pub->heir_since = bus_monotonic_ns();
		pub->failures = 0;
		return true;
	}
	switch (err) {
	case -EPIPE: /* it died again, or is another one already */
		return false;
	case -EAGAIN: /* a stream that it has yet to take up: it tries for as long as it takes */
		pub->heir_after = now + AGAIN_NS;
		return false;
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE:
	case -EDQUOT:
	case -ETIMEDOUT:
		pub->heir_after = now + AGAIN_NS;
		if (++pub->failures < FAILURES_MAX)
			return false;
		break;
	default:
		break;
	}
	refuse(pub, err);
	return false;
}

/* ---- going over ---- */

/* Under bus->lock. */
static void become(struct bus_pub *pub, struct bus_pub *heir)
{
	struct bus_pub **at = &pub->bus->pubs;
	struct bus__event *event;

	while (*at != heir)
		at = &(*at)->next;
	*at = heir->next;
	bus__inbox_free(&pub->inbox); /* what misses a segment that the dead busd never sent */
	while ((event = bus__inbox_take(&heir->inbox)) != NULL)
		bus__inbox_push(&pub->inbox, event);
	pub->ring = heir->ring;
	pub->id = heir->id;
	pub->gen = heir->gen;
	pub->same_pids = heir->same_pids;
	pub->topic_id = heir->topic_id;
	pub->board_segment = heir->board_segment;
	pub->board = heir->board;
	pub->board_ring = heir->board_ring;
	pub->map = heir->map;
	pub->geometry = heir->geometry;
	pub->max_bytes = heir->max_bytes;
	bus__pub_move_dropped(pub, heir);
	pub->source = heir->source;
	pub->member_room = heir->member_room;
	pub->number = heir->number;
	pub->news_waited = 0;
	pub->removed = heir->removed;
	pub->held = false;
}

/*
 * In this order: where the new ring begins is known before the old one ends, and the old one has
 * ended before the new one has a message.
 */
static void go_over(struct bus_pub *pub, uint64_t now)
{
	struct pub_former *former = calloc(1, sizeof(*former));
	struct bus_pub *heir = pub->heir;

	if (former == NULL)
		return;
	ring_pub_wait_end(&pub->ring);
	if (pub->source == NULL)
		ring_pub_begin(&heir->ring, pub->ring.n);
	ring_pub_final(&pub->ring);
	bus__pub_wake_news(pub);
	pthread_mutex_lock(&pub->bus->lock);
	*former = (struct pub_former){ .ring = pub->ring,
				       .map = pub->map,
				       .board_segment = pub->board_segment,
				       .gen = pub->gen,
				       .since = now,
				       .next = pub->formers };
	pub->formers = former;
	become(pub, heir);
	pthread_mutex_unlock(&pub->bus->lock);
	pub->heir = NULL;
	shm_private_free(heir, sizeof(*heir));
	pub->ring.wake_owed = false;
	bus__pub_set_go(pub);
	bus__pub_wake_news(pub); /* who sleeps before the new one's first message is to move there */
}

static void follow(struct bus_pub *pub)
{
	struct bus *bus = pub->bus;
	uint64_t now = bus_monotonic_ns();

	if (pub->heir != NULL && pub->heir->gen != bus__gen(bus)) {
		const bool in_doubt = pub->source != NULL && !pub->named &&
				      pub->heir->ring.n != pub->held_at;

		bus__pub_discard(pub->heir); /* that busd died, too */
		pub->heir = NULL;
		if (in_doubt) {
			refuse(pub, bus__fail(-ENOENT,
					      "two busds died before stream \"%s\" had taken what a publisher without a name "
					      "sent it",
					      pub->topic));
			return;
		}
	}
	if (bus_load_acquire(&bus->lost) || (pub->heir == NULL && !open_heir(pub, now)))
		return;
	if (bus_load_acquire(pub->heir->ring.epoch) != pub->heir->ring.seen &&
	    !bus__pub_news(pub->heir))
		return;
	if (pub->source != NULL) { /* its ring had one reader, and that is dead */
		if (bus__pub_bring(pub, pub->heir))
			go_over(pub, now);
		return;
	}
	/* who joined at the dead busd, and is not known yet, is waited for as well */
	bus__pub_receive(pub);
	now = bus_monotonic_ns();
	if (all_came(pub, now))
		go_over(pub, now);
	else
		nudge(pub, now);
}

void bus__pub_look(struct bus_pub *pub)
{
	struct bus *bus = pub->bus;
	bool well;

	bus__look(bus, false);
	if (pub->source != NULL && !pub->hung_up)
		bus__pub_look_at_stream(pub);
	if (bus__is_over(bus, pub->gen))
		bus__pub_bury(pub);
	if (pub->gen != bus__gen(bus) && !pub->claimed && !pub->broken && !pub->removed &&
	    pub->refusal == 0 && bus_load_acquire(&bus->gone) == 0)
		follow(pub);
	if (pub->source != NULL)
		bus__pub_look_at_stream(pub);
	if (pub->formers != NULL) {
		pthread_mutex_lock(&bus->lock);
		bus__pub_drop_formers(pub, false);
		bus__past_sweep(bus);
		pthread_mutex_unlock(&bus->lock);
	}
	well = bus__is_well(bus) && pub->gen == bus__gen(bus);
	pub->look_at = bus_counter() + bus__pub_ticks(pub, well ? BUS__LOOK_NS : BUS__SOON_NS);
}

bool bus__pub_hurry(struct bus_pub *pub)
{
	struct bus *bus = pub->bus;
	uint64_t deadline = bus_monotonic_ns() + bus->timeout_ns;

	if (!bus__is_over(bus, pub->gen))
		return false;
	for (;;) {
		bus_store_relaxed(&bus->look_at, 0);
		bus__pub_look(pub);
		if (!bus__is_over(bus, pub->gen))
			return true;
		if (bus_load_acquire(&bus->orphaned) || bus_load_acquire(&bus->gone) ||
		    pub->refusal != 0 || bus_monotonic_ns() >= deadline)
			return false;
		bus__flush_thread(); /* this thread may be the reader that is waited for */
		usleep(1000);
	}
}

/* ---- former rings ---- */

static uint64_t position(const struct pub_former *former, const struct ring_member *m)
{
	uint64_t c;

	if (!m->gates || m->lying)
		return former->ring.n;
	if (bus_load_acquire(&m->entry->ring_id) != former->ring.ring_id)
		return m->start;
	c = bus_load_acquire(&m->entry->cursor);
	return bus_min_u64(c, former->ring.n);
}

uint64_t bus__pub_former_progress(const struct bus_pub *pub)
{
	uint64_t sum = 0;

	for (const struct pub_former *f = pub->formers; f != NULL; f = f->next)
		for (uint32_t i = 0; i < f->ring.member_count; i++)
			sum += position(f, &f->ring.members[i]);
	return sum;
}

static bool is_read(const struct pub_former *former)
{
	for (uint32_t i = 0; i < former->ring.member_count; i++)
		if (position(former, &former->ring.members[i]) < former->ring.n)
			return false;
	return true;
}

void bus__pub_drop_formers(struct bus_pub *pub, bool all)
{
	uint64_t now = bus_monotonic_ns();
	struct pub_former **at = &pub->formers;

	while (*at != NULL) {
		struct pub_former *former = *at;

		if (!all && !is_read(former) && now - former->since < FORMER_NS) {
			at = &former->next;
			continue;
		}
		*at = former->next;
		bus__pub_free_members(pub->bus, &former->ring);
		free(former->ring.members);
		bus__segment_put(pub->bus, former->board_segment);
		shm_unmap(&former->map);
		free(former);
	}
}

uint32_t bus__pub_oldest(const struct bus_pub *pub)
{
	uint32_t oldest = pub->gen;

	for (const struct pub_former *f = pub->formers; f != NULL; f = f->next)
		oldest = bus__older(oldest, f->gen);
	return oldest;
}

struct bus_pub *bus__pub_first(const struct bus *bus)
{
	struct bus_pub *pub = bus->pubs;

	while (pub != NULL && pub->magic != BUS__PUB_MAGIC)
		pub = pub->next;
	return pub;
}
