/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mend.c - busd's worker died: its keeper starts another one, to which this connection comes back by
 * itself. Whatever looks at the connection takes the next step here, and none of them blocks:
 * connect (the keeper's socket queues us while there is no worker), HELLO with our token, the
 * answer. What was mapped stays mapped, numbers and bells stay what they were.
 *
 * A busd whose keeper has gone does not listen any more: then the connection is an orphan until
 * another busd serves at the same path, which does not know our token (succeed.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "api/bus_internal.h"

#define AGAIN_NS 1000000u  /* after a hang-up */
#define SHORT_NS 20000000u /* busd is short of descriptors or memory */
/* nobody listens: that doubles, from the first time on */
#define PACE_NS       50000000u
#define PACE_MOST_NS  500000000u
#define START_PACE_NS 2000000000u /* between two tries to start a private busd */

int bus__hung_up(struct bus *bus)
{
	if (bus->attached)
		bus_store_release(&bus->lost, 1);
	else
		bus_store_release(&bus->gone, 1);
	return -EPIPE;
}

static int give_up(struct bus *bus)
{
	if (bus->hello >= 0)
		close(bus->hello);
	bus->hello = -1;
	bus_store_release(&bus->gone, 1);
	return -EPIPE;
}

static int try_later(struct bus *bus, uint64_t after_ns)
{
	if (bus->hello >= 0)
		close(bus->hello);
	bus->hello = -1;
	bus->hello_after = bus_monotonic_ns() + after_ns;
	return 0;
}

/*
 * Nobody listens: all of busd is dead. One that serves this user only is started again by whoever
 * comes first; another one is waited for, while attached peers go on.
 */
static int orphaned(struct bus *bus)
{
	uint64_t now = bus_monotonic_ns();
	char why[CTL_WHY_MAX];

	bus->pace_ns = bus_load_relaxed(&bus->orphaned) == 0
			       ? PACE_NS
			       : bus_min_u64(2 * bus->pace_ns, PACE_MOST_NS);
	bus_store_release(&bus->orphaned, 1);
	bus->hello_after = now + bus->pace_ns;
	if (!bus->autostart || now < bus->start_after)
		return -EPIPE;
	bus->start_after = now + START_PACE_NS;
	bus__why_save(why);
	if (bus__start_private(bus->socket) == 0)
		bus->hello_after = 0;
	bus__why_restore(why);
	return bus->hello_after == 0 ? 0 : -EPIPE;
}

static int dial(struct bus *bus)
{
	struct ctl_hello hello = bus__hello(bus, bus->afresh ? 0 : CTL_HELLO_RESUME);
	int fd;

	if (bus_monotonic_ns() < bus->hello_after)
		return bus_load_relaxed(&bus->orphaned) ? -EPIPE : 0;
	fd = control_connect(bus->socket);
	if (fd == -ECONNREFUSED || fd == -ENOENT)
		return orphaned(bus);
	if (fd < 0) /* the queue is full, or we are out of descriptors */
		return try_later(bus, AGAIN_NS);
	bus->hello = fd;
	return control_send(fd, &hello, NULL, 0) < 0 ? try_later(bus, AGAIN_NS) : 0;
}

/* The descriptor of ev keeps its number: other threads may be waiting on it. */
static int install(struct bus *bus, const int *fds)
{
	int err;

	pthread_mutex_lock(&bus->lock);
	err = dup3(fds[0], bus->ev, O_CLOEXEC) < 0 ? -errno : 0;
	if (err == 0) {
		bus->unacked = 0;
		memset(bus->resend, 0, sizeof(bus->resend));
	}
	pthread_mutex_unlock(&bus->lock);
	if (err < 0)
		return try_later(bus, SHORT_NS);
	close(bus->ctl);
	bus->ctl = bus->hello;
	bus->hello = -1;
	bus->late_unasked = true;
	bus_store_release(&bus->orphaned, 0);
	bus_store_release(&bus->lost, 0);
	return 1;
}

/* Another busd than the one that died may be one that does not serve us any more: it has said why. */
static int refused(struct bus *bus, struct control_packet *p)
{
	struct ctl_error e;

	if (ctl_fit(p->bytes, p->len) < 0)
		return give_up(bus);
	memcpy(&e, p->bytes, sizeof(e));
	e.why[sizeof(e.why) - 1] = '\0';
	if (e.error == EDQUOT || e.error == ENOMEM)
		return try_later(bus, SHORT_NS);
	bus__part(bus, "%s", e.why);
	return give_up(bus);
}

/* The answer to HELLO is one that takes us back, as who we were. */
static bool takes_back(const struct bus *bus, const struct control_packet *p,
		       const struct ctl_hello_reply *r)
{
	return r->resumed == 1 && r->client_id == bus->client_id && r->slot == bus->slot &&
	       p->fd_count == 2 && !p->fds_lost;
}

static int take_answer(struct bus *bus)
{
	struct ctl_hello_reply r;
	struct control_packet p;
	int err = control_recv(bus->hello, &p);

	if (err == 0)
		return 0;
	if (err < 0)
		return err == -EPIPE ? try_later(bus, AGAIN_NS) : give_up(bus);
	if (p.head.type == CTL_ERROR) {
		control_close_fds(&p);
		return refused(bus, &p);
	}
	if (p.head.type != (CTL_REPLY | CTL_HELLO) || ctl_fit(p.bytes, p.len) < 0) {
		control_close_fds(&p);
		return give_up(bus);
	}
	memcpy(&r, p.bytes, sizeof(r));
	if (!bus__speaks(r.head.version)) {
		err = give_up(bus);
	} else if (r.resumed == 1 && r.instance != bus->instance) {
		/* its worker died while we attached there, and left a place that we cannot use */
		bus->afresh = true;
		err = try_later(bus, 0);
	} else if (r.resumed == 0 && r.instance != bus->instance) {
		err = p.fds_lost ? -EMFILE : bus__begin_anew(bus, &r, &p);
		bus->afresh = false;
		err = err < 0 ? try_later(bus, SHORT_NS) : err;
	} else if (takes_back(bus, &p, &r)) {
		bus->version = r.head.version; /* another worker, perhaps another version of it */
		bus_store_relaxed(&bus->features, r.features);
		err = install(bus, p.fds);
	} else {
		/*
		 * it lives and hung up on us; or we have no descriptor left, and it counts us as
		 * absent no more
		 */
		err = give_up(bus);
	}
	control_close_fds(&p);
	return err;
}

/* 1: back; 0: not yet; -EPIPE: gone for good. Under request_lock. */
static int step(struct bus *bus)
{
	int err = 0;

	if (bus_load_acquire(&bus->gone))
		return -EPIPE;
	if (bus->hello < 0) {
		/* what the dead one sent comes first */
		pthread_mutex_lock(&bus->lock);
		bus__pump_locked(bus);
		pthread_mutex_unlock(&bus->lock);
		if (bus_load_acquire(&bus->gone)) /* it said goodbye */
			return -EPIPE;
		err = dial(bus);
	}
	return err < 0 || bus->hello < 0 ? err : take_answer(bus);
}

void bus__mend_lost(struct bus *bus)
{
	/* whoever has the lock asks busd something, and mends it */
	if (pthread_mutex_trylock(&bus->request_lock) != 0)
		return;
	if (bus_load_acquire(&bus->lost))
		step(bus);
	pthread_mutex_unlock(&bus->request_lock);
}

int bus__mend_until(struct bus *bus, uint64_t deadline_ns)
{
	if (bus_load_acquire(&bus->orphaned)) /* who asks is told what is so now */
		bus->hello_after = 0;
	while (bus_load_acquire(&bus->lost)) {
		int err = step(bus);

		if (err != 0)
			return err < 0 ? err : 0;
		if (bus_monotonic_ns() >= deadline_ns)
			return -ETIMEDOUT;
		if (bus->hello >= 0)
			control_wait(bus->hello, -1, deadline_ns);
		else
			usleep(AGAIN_NS / 1000);
	}
	return 0;
}

void bus__await_event(struct bus *bus, uint64_t deadline_ns)
{
	if (bus_load_acquire(&bus->lost) == 0)
		control_wait(bus->ev, -1, deadline_ns);
	else
		usleep(AGAIN_NS / 1000); /* ev is readable for ever: its end */
}
