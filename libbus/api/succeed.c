/* SPDX-License-Identifier: Apache-2.0 */
/*
 * succeed.c - all of busd died, and another one serves at its path: the connection becomes one to
 * the new busd, while what the dead one had given stays mapped for as long as somebody here reads
 * or writes it. How publishers and subscriptions follow is told in pub_succeed.c and sub_succeed.c.
 *
 * Nobody rings when busd dies, so whoever publishes, reads or waits looks at the connection now and
 * then (bus__look), and takes the steps.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/pub_internal.h"
#include "api/sub_internal.h"

#define ATTACH_NS 250000000u /* what a busd that stands still may cost: as LIVE_PATH_NS */
/* Who looks rarely may wait for an answer; it has no other time to come back. */
#define RARE_NS     500000000u
#define PATIENCE_NS 20000000u

/* ---- looking ---- */

bool bus__is_well(const struct bus *bus)
{
	return (bus_load_acquire(&bus->lost) | bus_load_acquire(&bus->heirs_due)) == 0 ||
	       bus_load_acquire(&bus->gone) != 0;
}

static void mend(struct bus *bus, uint64_t patience_ns)
{
	if (patience_ns == 0) {
		bus__mend(bus);
	} else if (pthread_mutex_trylock(&bus->request_lock) == 0) {
		bus__mend_until(bus, bus_monotonic_ns() + patience_ns);
		pthread_mutex_unlock(&bus->request_lock);
	}
}

void bus__look(struct bus *bus, bool now)
{
	uint64_t due = bus_load_relaxed(&bus->look_at), t = bus_monotonic_ns();
	char why[CTL_WHY_MAX];

	if (bus_load_acquire(&bus->gone) || (!now && t < due))
		return;
	bus_store_relaxed(&bus->look_at, t + BUS__SOON_NS);
	if (bus_load_acquire(&bus->lost) == 0) {
		pthread_mutex_lock(&bus->lock);
		bus__pump_locked(bus); /* finds a hang-up */
		pthread_mutex_unlock(&bus->lock);
	}
	if (!bus__is_well(bus)) {
		bus__why_save(why);
		if (bus_load_acquire(&bus->lost))
			mend(bus, t > due + RARE_NS ? PATIENCE_NS : 0);
		if (bus_load_acquire(&bus->heirs_due) && bus_load_acquire(&bus->lost) == 0)
			bus__open_heirs(bus);
		bus__why_restore(why);
	}
	if (bus__is_well(bus))
		bus_store_relaxed(&bus->look_at, t + BUS__LOOK_NS);
}

/* ---- the new connection ---- */

static int attach(struct bus *bus)
{
	struct ctl_head req = BUS__HEAD(CTL_ATTACH, ctl_head);
	uint64_t deadline = bus_monotonic_ns() + ATTACH_NS;
	struct control_packet p;
	int err;

	req.req = ++bus->request_number;
	err = control_send(bus->hello, &req, NULL, 0);
	while (err == 0) {
		err = control_recv(bus->hello, &p);
		if (err == 1) {
			control_close_fds(&p);
			return p.head.type == (CTL_REPLY | CTL_ATTACH) ? 0 : -EPROTO;
		}
		if (err == 0)
			err = control_wait(bus->hello, -1, deadline);
	}
	return err;
}

/* Who sleeps on what the dead busd rang is told to look: in this process nobody else rings it. */
static int install(struct bus *bus, const struct bus__greeting *g, struct bus__past *past, int ev_fd)
{
	const _Atomic uint32_t *bell = bus__bell(bus);

	pthread_mutex_lock(&bus->lock);
	/* it keeps its number: other threads may be waiting on it */
	if (dup3(ev_fd, bus->ev, O_CLOEXEC) < 0) {
		pthread_mutex_unlock(&bus->lock);
		return -errno;
	}
	past->gen = bus__gen(bus);
	past->bells = bus->bells;
	past->busd_bell = bus->busd_bell;
	past->next = bus->past;
	bus->past = past;
	bus__segments_former(bus, past);
	bus__greeting_take(bus, g);
	bus__inbox_free(&bus->orphans);
	bus->unacked = 0;
	memset(bus->resend, 0, sizeof(bus->resend));
	bus_store_release(&bus->pumped, bus_load_acquire(bus__bell(bus)) - 1);
	bus_store_release(&bus->heirs_due, 1);
	bus_store_release(&bus->gen, past->gen + 1);
	pthread_mutex_unlock(&bus->lock);
	close(bus->ctl);
	bus->ctl = bus->hello;
	bus->hello = -1;
	bus->late.head.type = 0; /* what it opened went with the dead one */
	bus_store_release(&bus->orphaned, 0);
	bus_store_release(&bus->lost, 0);
	wake_sleepers(bell);
	return 1;
}

int bus__begin_anew(struct bus *bus, const struct ctl_hello_reply *r, struct control_packet *p)
{
	struct bus__past *past = calloc(1, sizeof(*past));
	struct bus__greeting g;
	int err = past == NULL ? -ENOMEM
			       : bus__greeting_map(&g, bus, bus->hello, r, p->fds, p->fd_count);

	if (err < 0) {
		free(past);
		return err;
	}
	while (p->fd_count > 1) /* before ATTACH: busd seals what nobody holds writable */
		close(p->fds[--p->fd_count]);
	err = attach(bus);
	if (err == 0)
		err = install(bus, &g, past, p->fds[0]);
	if (err == 1)
		return 1;
	shm_unmap(&g.busd_bell);
	shm_unmap(&g.own->map);
	free(g.own);
	free(past);
	return err;
}

/* ---- what the dead one gave ---- */

struct bus__bell *bus__bells_of(struct bus *bus, uint32_t gen)
{
	struct bus__past *past = bus->past;

	if (gen == bus__gen(bus))
		return bus->bells;
	while (past != NULL && past->gen != gen)
		past = past->next;
	return past != NULL ? past->bells : NULL;
}

static void free_past(struct bus__past *past)
{
	bus__past_segments_free(past);
	while (past->bells != NULL) {
		struct bus__bell *bell = past->bells;

		past->bells = bell->next;
		shm_unmap(&bell->map);
		free(bell);
	}
	shm_unmap(&past->busd_bell);
	free(past);
}

void bus__past_sweep(struct bus *bus)
{
	uint32_t oldest = bus__gen(bus);
	struct bus__past **at = &bus->past;

	for (struct bus_pub *pub = bus->pubs; pub != NULL; pub = pub->next)
		oldest = bus__older(oldest, bus__pub_oldest(pub));
	for (struct bus_sub *sub = bus->subs; sub != NULL; sub = sub->next)
		oldest = bus__older(oldest, bus__sub_oldest(sub));
	while (*at != NULL) {
		struct bus__past *past = *at;

		if (past->gen >= oldest) {
			at = &past->next;
			continue;
		}
		*at = past->next;
		free_past(past);
	}
}

void bus__past_free(struct bus *bus)
{
	while (bus->past != NULL) {
		struct bus__past *past = bus->past;

		bus->past = past->next;
		free_past(past);
	}
}

/* ---- deaths that no busd tells ---- */

/* A process that has ended and was not waited for yet is dead: that is what a pidfd says. */
bool bus__process_died(uint32_t pid)
{
	struct pollfd p = { .events = POLLIN };
	bool died;

	if (pid == 0 || pid > INT32_MAX)
		return false;
	p.fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (p.fd < 0 && errno == ESRCH)
		return true;
	if (p.fd < 0) /* no descriptor left, or a filter of system calls */
		return kill((pid_t)pid, 0) < 0 && errno == ESRCH;
	died = poll(&p, 1, 0) == 1;
	close(p.fd);
	return died;
}
