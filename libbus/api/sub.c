/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sub.c - opening and closing a subscription.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/opts.h"
#include "api/sub_internal.h"
#include "format/topic_name.h"

static_assert((int)BUS_START_NOW == (int)CTL_START_NOW &&
		      (int)BUS_START_OLDEST == (int)CTL_START_OLDEST &&
		      (int)BUS_START_LAST == (int)CTL_START_LAST &&
		      (int)BUS_START_SEQ == (int)CTL_START_SEQ,
	      "starts travel as they are");

static int set_opts(struct bus_sub *sub, const struct bus_sub_opts *o)
{
	const char *name = o->name != NULL      ? o->name
			   : o->durable != NULL ? o->durable
						: sub->bus->name;

	if (o->start > BUS_START_BACK || o->policy > BUS_LOSSY ||
	    (o->flags & ~(BUS_SUB_FD_THREAD | BUS_SUB_ACK)) != 0 || o->spin_ns < -1 ||
	    o->max_rings > CURSOR_MAX_ENTRIES)
		return bus__fail(-EINVAL, "bus_sub_open: bad options");
	if (o->start == BUS_START_SEQ && topic_is_wild(sub->like.pattern))
		return bus__fail(
			-EINVAL,
			"\"%s\" may match several topics, and a number is one stream's: name that",
			sub->like.pattern);
	if (o->start_seq > UINT64_MAX / 2)
		return bus__fail(-EINVAL, "bus_sub_open: no message has number %llu",
				 (unsigned long long)o->start_seq);
	if (o->start_seq != 0 && o->start != BUS_START_SEQ)
		return bus__fail(-EINVAL, "bus_sub_open: start_seq without BUS_START_SEQ");
	if (o->start_time_ns != 0 && o->start != BUS_START_TIME)
		return bus__fail(-EINVAL, "bus_sub_open: start_time_ns without BUS_START_TIME");
	if (o->start_back != 0 && o->start != BUS_START_BACK)
		return bus__fail(-EINVAL, "bus_sub_open: start_back without BUS_START_BACK");
	if (o->durable != NULL) {
		int err = bus__durable_opts(sub, o);

		if (err < 0)
			return err;
	} else if (o->flags & BUS_SUB_ACK) {
		return bus__fail(-EINVAL, "bus_sub_open: BUS_SUB_ACK is for a durable subscription");
	}
	sub->start = o->start;
	sub->start_seq = o->start_seq;
	sub->start_back = o->start_back;
	sub->start_time_ns = o->start_time_ns;
	sub->policy = o->policy;
	sub->fd_thread = (o->flags & BUS_SUB_FD_THREAD) != 0;
	sub->like.policy = o->policy;
	sub->like.max_rings = o->max_rings;
	memcpy(sub->like.name, name, strnlen(name, sizeof(sub->like.name) - 1));
	sub->polling = polling_of(o->spin_ns);
	return 0;
}

static int map_cursors(struct bus_sub *sub, const struct ctl_sub_reply *r, int fd)
{
	int err;

	if (r->entries == 0 || r->entries > CURSOR_MAX_ENTRIES ||
	    r->size < sizeof(struct cursor_segment) + r->entries * sizeof(struct cursor_entry))
		err = bus__fail(-EPROTO, "busd sent a cursor segment that makes no sense");
	else
		err = shm_map_segment(&sub->map, fd, r->size, true);
	close(fd); /* before JOIN: busd seals what nobody holds writable */
	if (err < 0)
		return err;
	sub->cursors = sub->map.base;
	sub->entries = r->entries;
	bus_store_release(&sub->cursors->wants_fence, wake_barrier_usable() ? 0 : 1);
	return 0;
}

/* All rings that existed when busd answered: their events are there, or come as we take them. */
static int await_rings(struct bus_sub *sub, uint64_t rings)
{
	struct bus *bus = sub->bus;
	uint64_t deadline = bus_monotonic_ns() + bus->timeout_ns;

	for (;;) {
		bus__sub_news(sub);
		if (sub->rings_told >= rings)
			return 0;
		if (bus__is_over(bus, sub->gen))
			return bus__fail(-EPIPE, "busd at %s went away during the subscription",
					 bus->socket);
		if (sub->inbox_stuck) {
			usleep(1000);
			if (bus_monotonic_ns() >= deadline)
				return bus__fail(
					-EMFILE,
					"the rings of a subscription did not arrive: is this process out of "
					"file descriptors or memory (ulimit -n, ulimit -v)?");
			continue;
		}
		if (control_wait(bus->ev, -1, deadline) == -ETIMEDOUT)
			return bus__fail(-ETIMEDOUT, "busd at %s did not hand over all rings in time",
					 bus->socket);
	}
}

static int join(struct bus_sub *sub)
{
	struct ctl_sub_join req = { .head = BUS__HEAD(CTL_SUB_JOIN, ctl_sub_join), .sub_id = sub->id };
	struct ctl_ok ok;
	int err;

	bus__sub_begin(sub);                                                          /* step 1 */
	err = bus__request_of(sub->bus, sub->gen, &req, &ok, sizeof(ok), NULL, NULL); /* step 2 */
	if (err < 0)
		return err;
	bus__sub_joined(sub); /* step 3 */
	bus__sub_news(sub);
	return 0;
}

/*
 * As busd has to know it: which rings that have ended are wanted, and that a number, or a distance from the end, is a
 * stream's. A pattern with wildcards may match live topics too, which have none.
 */
static uint32_t start_told(const struct bus_sub *sub)
{
	switch (sub->start) {
	case BUS_START_TIME:
		return CTL_START_OLDEST;
	case BUS_START_BACK:
		return topic_is_wild(sub->like.pattern) ? CTL_START_OLDEST : CTL_START_SEQ;
	default:
		return sub->start;
	}
}

static int subscribe(struct bus_sub *sub)
{
	struct ctl_sub_open req = { .head = BUS__HEAD(CTL_SUB_OPEN, ctl_sub_open),
				    .flags = sub->policy == BUS_LOSSY ? BOARD_SUB_LOSSY : 0,
				    .start = start_told(sub),
				    .entries = sub->like.max_rings,
				    .node = bus__node(),
				    .line = sub->like.line };
	struct bus *bus = sub->bus;
	struct ctl_sub_reply reply;
	int fds[CTL_MAX_FDS], nfds = CTL_MAX_FDS, err;

	sub->gen = bus__settle(bus);
	err = bus__durable_check(sub);
	if (err < 0)
		return err;
	memcpy(req.durable, sub->like.durable, sizeof(req.durable));
	memcpy(req.pattern, sub->like.pattern, sizeof(req.pattern));
	memcpy(req.name, sub->like.name, sizeof(req.name));
	err = bus__request_of(bus, sub->gen, &req, &reply, sizeof(reply), fds, &nfds);
	if (err < 0)
		return err;
	if (nfds != 1) {
		while (nfds > 0)
			close(fds[--nfds]);
		return bus__fail(-EPROTO, "busd handed over no cursor segment");
	}
	pthread_mutex_lock(&bus->lock);
	sub->id = reply.sub_id;
	sub->like.line = sub->like.line != 0 ? sub->like.line : sub->id;
	sub->bell = bus__bell(bus);
	sub->bell_seen = bus_load_acquire(sub->bell) - 1;
	sub->next = bus->subs;
	bus->subs = sub;
	pthread_mutex_unlock(&bus->lock);
	err = map_cursors(sub, &reply, fds[0]);
	if (err == 0)
		err = await_rings(sub, reply.rings);
	if (err == 0)
		bus__durable_begin(sub, reply.position);
	return err < 0 ? err : join(sub);
}

static void tell_closed(struct bus_sub *sub)
{
	struct ctl_sub_close req = { .head = BUS__HEAD(CTL_SUB_CLOSE, ctl_sub_close),
				     .sub_id = sub->id };
	char why[CTL_WHY_MAX];
	struct ctl_ok ok;

	if (sub->id == 0)
		return;
	/* Nobody waits for us any more, busd there or not. */
	for (uint32_t i = 0; i < sub->ring_count; i++)
		ring_reader_park(&sub->rings[i]->rd);
	if (bus__is_over(sub->bus, sub->gen))
		return;
	bus__why_save(why);
	if (bus__request_of(sub->bus, sub->gen, &req, &ok, sizeof(ok), NULL, NULL) < 0)
		bus__why_restore(why); /* busd hears of it when the connection ends */
}

static void free_sub(struct bus_sub *sub)
{
	struct bus *bus = sub->bus;

	pthread_mutex_lock(&bus->lock);
	for (struct bus_sub **at = &bus->subs; *at != NULL; at = &(*at)->next) {
		if (*at == sub) {
			*at = sub->next;
			break;
		}
	}
	bus__inbox_free(&sub->inbox);
	bus__sub_drop_rings(sub);
	while (sub->topics != NULL) { /* topics without rings */
		struct sub_topic *t = sub->topics;

		sub->topics = t->next;
		bus__segment_put(bus, t->segment);
		free(t);
	}
	bus__sub_drop_formers(sub);
	bus__past_sweep(bus);
	pthread_mutex_unlock(&bus->lock);
	while (sub->ends != NULL) {
		struct sub_end *end = sub->ends;

		sub->ends = end->next;
		free(end);
	}
	free(sub->spare_former);
	wake_fd_close(sub->fd);
	wake_crowd_free(sub->crowd);
	free(sub->words);
	shm_unmap(&sub->map);
	shm_private_free(sub, sizeof(*sub));
}

static void opening(struct bus *bus, int change)
{
	pthread_mutex_lock(&bus->lock);
	bus->opening += change;
	pthread_mutex_unlock(&bus->lock);
}

void bus__sub_discard(struct bus_sub *sub)
{
	tell_closed(sub);
	free_sub(sub);
}

struct bus_sub *bus__sub_open_heir(struct bus *bus, const struct sub_like *like, int *err)
{
	struct bus_sub *sub = shm_private_alloc(sizeof(*sub));

	*err = -ENOMEM;
	if (sub == NULL)
		return NULL;
	sub->bus = bus;
	bus__inbox_init(&sub->inbox);
	sub->spare_former = calloc(1, sizeof(*sub->spare_former));
	sub->start = BUS_START_OLDEST; /* of publishers that came while we were away */
	sub->policy = like->policy;
	sub->like = *like;
	opening(bus, 1);
	if (sub->spare_former != NULL)
		*err = subscribe(sub);
	opening(bus, -1);
	if (*err == 0)
		return sub;
	bus__sub_discard(sub);
	return NULL;
}

int bus_sub_open(struct bus_sub **ret, struct bus *bus, const char *pattern,
		 const struct bus_sub_opts *opts)
{
	struct bus_sub_opts o;
	struct bus_sub *sub;
	const char *why;
	int err;

	bus__why_clear();
	if (ret == NULL || bus == NULL || pattern == NULL)
		return bus__fail(-EINVAL, "bus_sub_open: no connection or no pattern");
	if (bus->magic != BUS__MAGIC)
		return bus__fail(-ECHILD,
				 "this connection belongs to the parent process; connect anew");
	err = bus__opts_copy(&o, sizeof(o), opts);
	if (err < 0)
		return bus__fail(err, "bus_sub_open: bad options");
	why = topic_pattern_check(pattern);
	if (why != NULL)
		return bus__fail(-EINVAL, "\"%.255s\" is not a topic name or pattern: %s", pattern,
				 why);
	sub = shm_private_alloc(sizeof(*sub));
	if (sub == NULL)
		return bus__fail(-ENOMEM, "out of memory");
	sub->bus = bus;
	bus__inbox_init(&sub->inbox);
	strcpy(sub->like.pattern, pattern);
	err = set_opts(sub, &o);
	if (err < 0) {
		shm_private_free(sub, sizeof(*sub));
		return err;
	}
	opening(bus, 1);
	err = subscribe(sub);
	opening(bus, -1);
	if (err == 0)
		err = bus__durable_joined(sub);
	if (err < 0) {
		bus__sub_discard(sub);
		return err;
	}
	bus__sub_register(sub);
	bus_store_release(&sub->cursors->taken, 1);
	pthread_mutex_lock(&bus->lock);
	sub->serial = ++bus->serial;
	pthread_mutex_unlock(&bus->lock);
	sub->magic = BUS__SUB_MAGIC;
	*ret = sub;
	return 0;
}

void bus_sub_close(struct bus_sub *sub)
{
	struct bus_sub *heirs;

	if (sub == NULL || sub->magic != BUS__SUB_MAGIC)
		return;
	sub->magic = 0;
	bus__sub_unregister(sub);
	pthread_mutex_lock(&sub->bus->lock);
	sub->serial = 0; /* no heir comes any more */
	heirs = sub->heirs;
	sub->heirs = NULL;
	pthread_mutex_unlock(&sub->bus->lock);
	while (heirs != NULL) {
		struct bus_sub *heir = heirs;

		heirs = heir->later;
		bus__sub_discard(heir);
	}
	bus__sub_discard(sub);
}

int bus_sub_info(struct bus_sub *sub, struct bus_sub_info *ret)
{
	const char *why;
	int err;

	if (sub->magic != BUS__SUB_MAGIC)
		return -ECHILD;
	*ret = (struct bus_sub_info){ .delivered = sub->past_delivered,
				      .lost = sub->past_lost,
				      .evictions = sub->evictions,
				      .rings = sub->ring_count,
				      .borrowed = sub->borrow_count };
	for (uint32_t i = 0; i < sub->ring_count; i++) {
		ret->delivered += sub->rings[i]->rd.delivered;
		ret->lost += sub->rings[i]->rd.lost;
		if (!sub->rings[i]->from_disk)
			continue;
		ret->from_disk++;
		err = bus__sub_disk_error(sub->rings[i], &why);
		if (err < 0 && ret->disk_error == 0)
			ret->disk_error = bus__fail(err, "%s", why);
	}
	return 0;
}
