/* SPDX-License-Identifier: Apache-2.0 */
/* spill_position.c - see spill_position.h */
#include "spill_position.h"

#include "log.h"
#include "segment.h"
#include "spill_disk_internal.h"

#include "base/clock.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_NS UINT64_C(200000000) /* between two looks at what is acknowledged */
#define SETTLE_NS \
	UINT64_C(1000000000) /* at most; the answer says how far it has come: who asked asks again */
#define SET_NS   UINT64_C(4000000000) /* within a client's time for an answer */
#define AGAIN_NS UINT64_C(1000000000)
#define BUSY_NS  UINT64_C(50000000) /* while something is under way */

/* ---- what is acknowledged ---- */

static uint64_t head_now(const struct spill_disk *d)
{
	return bus_load_acquire(&d->o.spill->offered);
}

/* The subscriber's word: at most what there is, and never lower than it was. */
static void take(struct spill_disk *d, struct position *pos, const struct position_ask *hold)
{
	const uint64_t acked = bus_load_acquire(&hold->cursors->acked);
	uint64_t seq;

	if (acked == 0)
		return; /* it has not begun */
	seq = bus_min_u64(acked - 1, head_now(d));
	if (!pos->set || seq > pos->seq)
		positions_move(pos, seq, bus_realtime_ns());
}

static struct position_ask **hold_of(struct position_desk *desk, const struct position *pos)
{
	return &desk->holds[pos - desk->positions.all];
}

/* How many are held. */
static unsigned take_all(struct spill_disk *d)
{
	struct position_desk *desk = &d->desk;
	unsigned count = 0;

	for (size_t i = 0; i < LOG_POSITIONS_MAX; i++) {
		if (!desk->holds[i])
			continue;
		take(d, &desk->positions.all[i], desk->holds[i]);
		count++;
	}
	return count;
}

/* ---- when the oldest unread message came ---- */

static bool slot_is(const struct log_slot *slot, uint64_t seq)
{
	return slot->commit == seq + 1;
}

/* 0: it is not in the ring any more. */
static uint64_t time_in_ring(const struct spill_disk *d, uint64_t seq)
{
	const struct log_slot *slot = &d->o.view.slots[seq & (d->o.view.slot_count - 1)];
	const _Atomic uint64_t *commit = (const _Atomic uint64_t *)(const void *)&slot->commit;
	uint64_t time;

	if (bus_load_acquire(commit) != seq + 1)
		return 0;
	time = slot->time;
	bus_fence_acquire();
	return bus_load_relaxed(commit) == seq + 1 ? time : 0;
}

static uint64_t time_on_disk(const struct spill_disk *d, uint64_t seq)
{
	const struct retention *r = &d->retention;
	struct log_slot slot;
	uint64_t base = 0;
	char name[64];
	ssize_t got;
	int fd;

	for (size_t i = 0; i < r->count && r->segments[i].base_seq <= seq; i++)
		base = r->segments[i].base_seq;
	snprintf(name, sizeof(name), LOG_SEGMENT_NAME, (unsigned long long)base);
	fd = d->io->table->open(d->io, d->o.dir, name, O_RDONLY);
	if (fd < 0)
		return 0;
	got = io_read(d->io, fd, &slot, sizeof(slot), LOG_SLOTS_OFF + (seq - base) * sizeof(slot));
	d->io->table->close(d->io, fd);
	return got == sizeof(slot) && slot_is(&slot, seq) ? slot.time : 0;
}

static void describe(const struct spill_disk *d, const struct position *pos, struct position_ask *ask)
{
	const uint64_t head = head_now(d);
	const uint64_t oldest = d->retention.count ? d->retention.segments[0].base_seq : 0;
	const uint64_t unread = bus_max_u64(pos->seq, oldest);

	memcpy(ask->name, pos->name, sizeof(ask->name));
	ask->known = pos->set;
	ask->owner = pos->uid;
	ask->seq = pos->seq;
	ask->kept_seq = pos->kept_seq;
	ask->head_seq = head;
	ask->oldest_seq = oldest;
	ask->moved_ns = pos->moved_ns;
	ask->created_ns = pos->created_ns;
	ask->unread_ns = 0;
	if (pos->set && unread < head)
		ask->unread_ns = time_in_ring(d, unread);
	if (pos->set && unread < head && !ask->unread_ns)
		ask->unread_ns = time_on_disk(d, unread);
}

/* ---- what the loop asks; true: it is answered ---- */

static int refuse_owner(const struct position_ask *ask, const struct position *pos, struct why *why)
{
	return because(
		why, EACCES,
		"durable subscription \"%s\" belongs to another user (uid %u; this is uid %u); take another name, or ask root or an administrator of the topic",
		ask->name, pos->uid, ask->uid);
}

/* A name that is not known here may be one that could not be read: to begin it as a new one would pass messages over. */
static int add(struct spill_disk *d, const struct position_ask *ask, struct position **ret,
	       struct why *why)
{
	struct positions *p = &d->desk.positions;

	if (p->bad && ask->want == POSITION_OPEN)
		return because(
			why, EIO,
			"%u positions of stream \"%s\" cannot be read (file " LOG_POSITIONS_NAME
			"), and \"%s\" may be one of them: say where it begins (bus-topic position %s %s --to WHERE --execute)",
			p->bad, d->topic, ask->name, d->topic, ask->name);
	if (!ask->anybodys && positions_count(p, ask->uid) >= POSITIONS_USER_MAX)
		return because(
			why, EDQUOT,
			"your user (uid %u) has %d durable subscriptions on stream \"%s\", the most that one may who does not administer it; delete one that is not needed (bus-topic position %s NAME --delete --execute)",
			ask->uid, POSITIONS_USER_MAX, d->topic, d->topic);
	*ret = positions_add(p, ask->name, ask->uid, bus_realtime_ns());
	if (!*ret)
		return because(
			why, EDQUOT,
			"stream \"%s\" has %d durable subscriptions, the most that it may; delete one that nobody needs (bus-topic position %s NAME --delete --execute)",
			d->topic, LOG_POSITIONS_MAX, d->topic);
	return 0;
}

static void serve_open(struct spill_disk *d, struct position_ask *ask)
{
	struct position *pos = positions_find(&d->desk.positions, ask->name);

	if (pos && pos->uid != ask->uid && !ask->anybodys)
		ask->rc = refuse_owner(ask, pos, &ask->why);
	else if (!pos)
		ask->rc = add(d, ask, &pos, &ask->why);
	if (ask->rc == 0)
		describe(d, pos, ask);
}

static bool serve_hold(struct spill_disk *d, struct position_ask *ask)
{
	struct position *pos = positions_find(&d->desk.positions, ask->name);

	/* what a former worker had not written yet */
	if (!pos)
		pos = positions_add(&d->desk.positions, ask->name, ask->uid, bus_realtime_ns());
	if (!pos || *hold_of(&d->desk, pos)) {
		log_error(
			"stream \"%s\": what durable subscription \"%s\" acknowledges is not kept: %s",
			d->topic, ask->name,
			pos ? "its name is held already" : "the stream has as many names as it may");
		return true;
	}
	*hold_of(&d->desk, pos) = ask;
	list_remove(&ask->link);
	take(d, pos, ask);
	return false;
}

static void answer(struct position_desk *desk, struct position_ask *ask)
{
	list_remove(&ask->link);
	pthread_mutex_lock(&desk->lock);
	list_append(&desk->answers, &ask->link);
	pthread_mutex_unlock(&desk->lock);
}

static void serve_leave(struct spill_disk *d, const struct position_ask *ask)
{
	struct position_desk *desk = &d->desk;
	struct position *pos = positions_find(&desk->positions, ask->name);
	struct position_ask *hold = pos ? *hold_of(desk, pos) : NULL;

	if (hold) {
		take(d, pos, hold);
		*hold_of(desk, pos) = NULL;
		answer(desk, hold);
	}
	if (pos && !pos->set)
		positions_remove(pos); /* it never began */
	desk->hurry = true;
}

static bool serve_settle(struct spill_disk *d, struct position_ask *ask, uint64_t now)
{
	struct position_desk *desk = &d->desk;
	struct position *pos = positions_find(&desk->positions, ask->name);
	const struct position_ask *hold = pos ? *hold_of(desk, pos) : NULL;

	if (!hold) {
		ask->rc = because(&ask->why, ENOENT, "durable subscription \"%s\" is not held",
				  ask->name);
		return true;
	}
	if (!ask->begun) {
		take(d, pos, hold);
		ask->begun = true;
		ask->gen = pos->gen;
		ask->until = now + bus_min_u64(ask->within_ns, SETTLE_NS);
		desk->hurry = desk->hurry_sync = true;
	}
	if (pos->kept < ask->gen && now < ask->until)
		return false;
	describe(d, pos, ask);
	ask->kept = pos->kept >= ask->gen;
	return true;
}

/* Whether it stands where who asks believes. */
static int check_from(const struct position_ask *ask, const struct position *pos, struct why *why)
{
	const bool is_new = ask->flags & CTL_POSITION_NEW;

	if (is_new && pos && pos->set)
		return because(why, EEXIST, "durable subscription \"%s\" is there already",
			       ask->name);
	if (!is_new && (!pos || !pos->set))
		return because(why, ENOENT, "there is no durable subscription \"%s\"", ask->name);
	if (!is_new && pos->seq != ask->from)
		return because(
			why, ESTALE,
			"durable subscription \"%s\" stands at %llu by now, not at %llu; look again",
			ask->name, (unsigned long long)pos->seq, (unsigned long long)ask->from);
	return 0;
}

static int begin_set(struct spill_disk *d, struct position_ask *ask, struct position **ret)
{
	struct positions *p = &d->desk.positions;
	struct position *pos = positions_find(p, ask->name);
	int rc;

	if (pos && pos->uid != ask->uid && !ask->anybodys)
		return refuse_owner(ask, pos, &ask->why);
	if (ask->again && (ask->flags & CTL_POSITION_REMOVE ? !pos : pos && pos->seq == ask->to)) {
		*ret = pos;
		return 0;
	}
	rc = check_from(ask, pos, &ask->why);
	if (rc == 0 && ask->to > head_now(d))
		rc = because(&ask->why, EINVAL,
			     "stream \"%s\" has messages below %llu only: a position is at most there",
			     d->topic, (unsigned long long)head_now(d));
	if (rc == 0 && !pos)
		rc = add(d, ask, &pos, &ask->why);
	if (rc < 0)
		return rc;
	if (ask->flags & CTL_POSITION_REMOVE)
		positions_remove(pos);
	else
		positions_move(pos, ask->to, bus_realtime_ns());
	*ret = pos;
	return 0;
}

static bool serve_set(struct spill_disk *d, struct position_ask *ask, uint64_t now)
{
	struct position_desk *desk = &d->desk;
	struct position *pos = NULL;

	if (!ask->begun) {
		ask->rc = begin_set(d, ask, &pos);
		if (ask->rc < 0 || !pos)
			return true;
		ask->begun = true;
		ask->gen = pos->gen;
		ask->until = now + SET_NS;
		ask->pos = pos;
		desk->hurry = desk->hurry_sync = true;
	}
	pos = ask->pos;
	if (pos->kept >= ask->gen)
		return true;
	if (now < ask->until)
		return false;
	ask->rc = because(
		&ask->why, ETIMEDOUT,
		"durable subscription \"%s\" is changed, but not on disk yet (%s); it will be as soon as the disk allows",
		ask->name, log_file_why(d->log)[0] ? log_file_why(d->log) : "the disk is slow");
	return true;
}

static bool serve_next(struct spill_disk *d, struct position_ask *ask)
{
	struct position_desk *desk = &d->desk;
	struct position *pos = positions_after(&desk->positions, ask->name);

	/* one that is opened at this moment stands nowhere yet */
	while (pos && !pos->set)
		pos = positions_after(&desk->positions, pos->name);
	if (!pos) {
		ask->name[0] = 0; /* no more */
		return true;
	}
	if (*hold_of(desk, pos))
		take(d, pos, *hold_of(desk, pos));
	describe(d, pos, ask);
	return true;
}

static bool serve(struct spill_disk *d, struct position_ask *ask, uint64_t now)
{
	switch (ask->want) {
	case POSITION_OPEN:
		serve_open(d, ask);
		return true;
	case POSITION_HOLD:
		return serve_hold(d, ask);
	case POSITION_LEAVE:
		serve_leave(d, ask);
		return true;
	case POSITION_SETTLE:
		return serve_settle(d, ask, now);
	case POSITION_NEXT:
		return serve_next(d, ask);
	case POSITION_SET:
		return serve_set(d, ask, now);
	}
	return true;
}

/* ---- the thread ---- */

static void tell_loop(const struct spill_disk *d)
{
	const uint64_t one = 1;

	if (write(d->o.loop_fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: it is readable already */
}

static void fetch(struct position_desk *desk)
{
	struct position_ask *ask;

	pthread_mutex_lock(&desk->lock);
	for_each(ask, &desk->asks, link) {
		list_remove(&ask->link);
		list_append(&desk->pending, &ask->link);
	}
	pthread_mutex_unlock(&desk->lock);
}

/* What was found above all that there is was given by another log: it is lowered, or messages would be passed over. */
static void open_positions(struct spill_disk *d, uint64_t now)
{
	struct position_desk *desk = &d->desk;
	unsigned lowered;
	int rc;

	if (desk->positions.opened || now < desk->open_at)
		return;
	desk->open_at = now + AGAIN_NS;
	rc = positions_open(&desk->positions, d->io, d->o.dir, d->settings.uuid, &desk->why);
	if (rc < 0) {
		if (!desk->complained)
			log_error("stream \"%s\": %s", d->topic, desk->why.text);
		desk->complained = true;
		return;
	}
	if (desk->positions.bad)
		log_error("stream \"%s\": %u positions of durable subscriptions cannot be read, and stay as they are",
			  d->topic, desk->positions.bad);
	lowered = positions_lower(&desk->positions, head_now(d), bus_realtime_ns());
	if (lowered)
		log_warning("stream \"%s\": %u durable subscriptions stood behind the end of the log, and go on at message %llu",
			    d->topic, lowered, (unsigned long long)head_now(d));
}

/* Who has something to tell is not refused: that waits until it can be done. */
void spill_positions_refuse(struct spill_disk *d, const char *why)
{
	struct position_desk *desk = &d->desk;
	struct position_ask *ask;
	bool any = false;

	fetch(desk);
	for_each(ask, &desk->pending, link) {
		if (ask->want == POSITION_HOLD || ask->want == POSITION_LEAVE)
			continue;
		ask->rc = because(&ask->why, EIO,
				  "the positions of stream \"%s\" are not to be had: %s", d->topic,
				  why);
		answer(desk, ask);
		any = true;
	}
	if (any)
		tell_loop(d);
}

static void complain(struct spill_disk *d)
{
	struct position_desk *desk = &d->desk;
	const int error = desk->positions.error;

	if (error < 0 && !desk->complained)
		log_error("stream \"%s\": how far durable subscriptions are cannot be written: %s; tried again",
			  d->topic, strerror(-error));
	desk->complained = error < 0;
}

static void write_some(struct spill_disk *d, uint64_t now)
{
	struct position_desk *desk = &d->desk;
	const bool sync = d->settings.log.sync != CTL_SYNC_NONE || desk->hurry_sync;

	if (desk->positions.busy)
		return;
	positions_write(&desk->positions, sync, now);
	if (!desk->positions.busy)
		complain(d);
	if (!positions_wait(&desk->positions, sync))
		desk->hurry = desk->hurry_sync = false;
}

uint64_t spill_positions_run(struct spill_disk *d, uint64_t now)
{
	struct position_desk *desk = &d->desk;
	const uint64_t every = bus_max_u64(LOOK_NS, d->settings.log.interval_ns);
	struct position_ask *ask;
	bool any = false;

	open_positions(d, now);
	if (!desk->positions.opened) {
		spill_positions_refuse(d, desk->why.text);
		return AGAIN_NS;
	}
	fetch(desk);
	for_each(ask, &desk->pending, link) {
		if (!serve(d, ask, now))
			continue;
		answer(desk, ask);
		any = true;
	}
	if (any)
		tell_loop(d);
	if (now >= desk->look_at) {
		/* what is taken more often is synced more often: not for a settle of one of them */
		desk->held = take_all(d);
		desk->look_at = now + every;
		desk->hurry = true;
	}
	if (desk->hurry)
		write_some(d, now);
	if (desk->hurry || !list_empty(&desk->pending))
		return BUSY_NS;
	return desk->held ? desk->look_at - now : UINT64_MAX;
}

void spill_positions_finish(struct spill_disk *d)
{
	struct position_desk *desk = &d->desk;
	struct position_ask *ask;
	int rc = 0;

	if (!desk->positions.opened)
		return;
	fetch(desk);
	for_each(ask, &desk->pending, link)
		if ((ask->want == POSITION_HOLD || ask->want == POSITION_LEAVE) &&
		    serve(d, ask, bus_monotonic_ns()))
			answer(desk, ask);
	take_all(d);
	if (!d->retire)
		rc = positions_flush(&desk->positions, bus_monotonic_ns());
	if (rc < 0)
		log_error("stream \"%s\": how far durable subscriptions are is not on disk: %s",
			  d->topic, strerror(-rc));
	positions_close(&desk->positions);
}

/* ---- by the loop ---- */

void position_desk_init(struct position_desk *desk)
{
	list_init(&desk->pending);
	list_init(&desk->asks);
	list_init(&desk->answers);
	pthread_mutex_init(&desk->lock, NULL);
}

void position_ask_free(struct position_ask *ask)
{
	if (!ask)
		return;
	segment_unref(ask->seg);
	free(ask);
}

void position_desk_free(struct position_desk *desk)
{
	struct position_ask *ask;

	for (size_t i = 0; i < LOG_POSITIONS_MAX; i++)
		position_ask_free(desk->holds[i]);
	fetch(desk);
	for_each(ask, &desk->pending, link)
		position_ask_free(ask);
	for_each(ask, &desk->answers, link)
		position_ask_free(ask);
	pthread_mutex_destroy(&desk->lock);
}

void spill_position_ask(struct spill_disk *disk, struct position_ask *ask)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&disk->desk.lock);
	list_append(&disk->desk.asks, &ask->link);
	pthread_mutex_unlock(&disk->desk.lock);
	if (write(disk->event_fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: it is readable already */
}

struct position_ask *spill_position_answer(struct spill_disk *disk)
{
	struct position_desk *desk = &disk->desk;
	struct position_ask *ask = NULL;

	pthread_mutex_lock(&desk->lock);
	if (!list_empty(&desk->answers)) {
		ask = list_entry(desk->answers.next, struct position_ask, link);
		list_remove(&ask->link);
	}
	pthread_mutex_unlock(&desk->lock);
	return ask;
}
