/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - requests and events. A request waits for busd; events are taken without ever
 * blocking, from the publishing and reading path too, and end in the inbox of the object that they
 * are for.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/bus_internal.h"

/* ---- requests ---- */

static int busd_is_gone(struct bus *bus)
{
	if (bus_load_acquire(&bus->apart))
		return bus__fail(
			-EPIPE,
			"busd at %s and this library (" BUS_VERSION
			", protocol version %u) do not understand each "
			"other any more: %s; messages still flow between attached peers, but this needs it",
			bus->socket, CTL_VERSION, bus->apart_why);
	return bus__fail(
		-EPIPE,
		"busd at %s has gone; messages still flow between attached peers, but this needs it",
		bus->socket);
}

void bus__part(struct bus *bus, const char *format, ...)
{
	va_list args;

	if (!bus_load_relaxed(&bus->apart)) {
		va_start(args, format);
		vsnprintf(bus->apart_why, sizeof(bus->apart_why), format, args);
		va_end(args);
		bus_store_release(&bus->apart, 1);
	}
	bus_store_release(&bus->gone, 1);
}

static int send_request(struct bus *bus, const void *req, uint64_t deadline)
{
	int err = control_send(bus->ctl, req, NULL, 0);

	while (err == -EAGAIN) {
		struct pollfd p = { .fd = bus->ctl, .events = POLLOUT };

		if (bus_monotonic_ns() >= deadline)
			return bus__fail(-ETIMEDOUT, "busd at %s does not read requests",
					 bus->socket);
		poll(&p, 1, 50);
		err = control_send(bus->ctl, req, NULL, 0);
	}
	if (err == -EPIPE) /* what it said before it hung up comes first, then the end */
		return 0;
	return err < 0 ? bus__fail(err, "cannot send to busd at %s: %s", bus->socket, strerror(-err))
		       : 0;
}

static int take_answer(struct bus *bus, struct control_packet *p, const struct ctl_head *req,
		       void *reply, size_t reply_size, int *fds, int *nfds)
{
	int room = nfds != NULL ? *nfds : 0;
	int fits = ctl_fit(p->bytes, p->len);

	if (p->head.type == CTL_ERROR && fits == 0) {
		struct ctl_error e;

		control_close_fds(p);
		memcpy(&e, p->bytes, sizeof(e));
		e.why[sizeof(e.why) - 1] = '\0';
		if (e.error <= 0 || e.error > 4095)
			e.error = EPROTO;
		return bus__fail(-e.error, "%s", e.why);
	}
	if (req->type == CTL_HELLO && p->head.magic == CTL_MAGIC && !bus__speaks(p->head.version)) {
		char ours[CONTROL_VERSIONS_TEXT];

		control_close_fds(p);
		return bus__fail(-EPROTONOSUPPORT,
				 "busd at %s speaks protocol version %u, this library (" BUS_VERSION
				 ") version %s; use a library and a busd of the same release",
				 bus->socket, p->head.version,
				 control_versions(CTL_VERSION_MIN, CTL_VERSION, ours));
	}
	if (fits == -E2BIG && p->head.type == (CTL_REPLY | req->type)) {
		control_close_fds(p);
		return bus__fail(-EPROTO,
				 "busd at %s answered request %u with more than this library (" BUS_VERSION
				 ", protocol version %u) knows; use a library of busd's release",
				 bus->socket, req->type, CTL_VERSION);
	}
	if (fits < 0 || p->head.type != (CTL_REPLY | req->type) ||
	    ctl_size_of(p->head.type).known != reply_size || p->fd_count > room) {
		control_close_fds(p);
		return bus__fail(-EPROTO,
				 "busd at %s sent an answer of type %u and %zu bytes to request %u",
				 bus->socket, p->head.type, p->len, req->type);
	}
	if (p->fds_lost) {
		control_close_fds(p);
		return bus__fail(
			-EMFILE,
			"this process is out of file descriptors; raise its limit (ulimit -n)");
	}
	memcpy(reply, p->bytes, reply_size);
	for (int i = 0; i < p->fd_count; i++)
		fds[i] = p->fds[i];
	if (nfds != NULL)
		*nfds = p->fd_count;
	return 0;
}

/* A connection that busd does not take is refused before it has read any request: number 0. */
static bool answers(const struct ctl_head *answer, const struct ctl_head *req)
{
	return answer->req == req->req || (answer->type == CTL_ERROR && answer->req == 0);
}

/*
 * These come from the path of messages, which goes on without busd: a busd that stands still must
 * not hold it up for long. An answer that comes later is known by its number and dropped.
 */
#define LIVE_PATH_NS 250000000u
#define RESUME_NS    500000000u /* a new worker is there, and takes requests */

static uint64_t patience(const struct bus *bus, const struct ctl_head *req)
{
	return req->type == CTL_EVICT || req->type == CTL_SUB_REJOIN || req->type == CTL_LEAVE
		       ? bus_min_u64(bus->timeout_ns, LIVE_PATH_NS)
		       : bus->timeout_ns;
}

/* The answer to this request. Another one comes late, for who has given it up: dropped. */
static int await_answer(struct bus *bus, const struct ctl_head *req, struct control_packet *p,
			uint64_t deadline)
{
	for (;;) {
		int err = control_recv(bus->ctl, p);

		if (err == 1) {
			if (answers(&p->head, req))
				return 0;
			control_close_fds(p);
			continue;
		}
		/* -EPIPE without a sentence: it hung up before it answered */
		if (err == -EPIPE)
			return bus__hung_up(bus);
		if (err < 0)
			return bus__fail(err, "what listens at %s does not speak busd's protocol",
					 bus->socket);
		/* Some answers come only after events that we must read first. */
		if (bus->ev >= 0 && !bus_load_acquire(&bus->gone)) {
			pthread_mutex_lock(&bus->lock);
			bus__pump_locked(bus);
			pthread_mutex_unlock(&bus->lock);
		}
		if (control_wait(bus->ctl,
				 bus_load_acquire(&bus->gone) || bus_load_acquire(&bus->lost)
					 ? -1
					 : bus->ev,
				 deadline) == -ETIMEDOUT)
			return -ETIMEDOUT;
	}
}

/* What this answer says to be open is closed. 0; -EPIPE: that is not known; -ETIMEDOUT. */
static int close_opened(struct bus *bus, struct control_packet *p, uint64_t deadline)
{
	union {
		struct ctl_head head;
		struct ctl_pub_close pub;
		struct ctl_sub_close sub;
	} req;
	struct ctl_pub_reply pub;
	struct ctl_sub_reply sub;
	struct control_packet answer;
	int err;

	control_close_fds(p);
	if (ctl_fit(p->bytes, p->len) != 0)
		return 0;
	if (p->head.type == (CTL_REPLY | CTL_PUB_OPEN)) {
		memcpy(&pub, p->bytes, sizeof(pub));
		req.pub = (struct ctl_pub_close){ .head = BUS__HEAD(CTL_PUB_CLOSE, ctl_pub_close),
						  .pub_id = pub.pub_id };
	} else if (p->head.type == (CTL_REPLY | CTL_SUB_OPEN)) {
		memcpy(&sub, p->bytes, sizeof(sub));
		req.sub = (struct ctl_sub_close){ .head = BUS__HEAD(CTL_SUB_CLOSE, ctl_sub_close),
						  .sub_id = sub.sub_id };
	} else {
		return 0;
	}
	req.head.req = ++bus->request_number;
	err = send_request(bus, &req, deadline);
	if (err == 0)
		err = await_answer(bus, &req.head, &answer, deadline);
	if (err == 0)
		control_close_fds(&answer);
	return err;
}

/*
 * What a request that we gave up has opened is nobody's, and would be counted, waited for, and in the way of the next
 * attempt for as long as the connection is there. So nothing else is asked until its answer is there, and that is closed:
 * that costs nothing, as busd answers in order. A next worker is asked the same again, which finds what of it was done.
 */
static void give_up_request(struct bus *bus, const struct ctl_head *head)
{
	if (head->type == CTL_PUB_OPEN || head->type == CTL_SUB_OPEN)
		memcpy(&bus->late, head, head->len);
}

static int close_late(struct bus *bus, uint64_t deadline)
{
	struct control_packet p;
	int err = 0;

	if (bus->late.head.type == 0)
		return 0;
	if (bus->late_unasked)
		err = send_request(bus, &bus->late, deadline);
	if (err < 0)
		return err;
	bus->late_unasked = false;
	err = await_answer(bus, &bus->late.head, &p, deadline);
	if (err == 0)
		err = close_opened(bus, &p, deadline);
	if (err != -EPIPE && err != -ETIMEDOUT)
		bus->late.head.type = 0;
	return err;
}

static int ask(struct bus *bus, struct ctl_head *head, void *reply, size_t reply_size, int *fds,
	       int *nfds, uint64_t deadline)
{
	struct control_packet p;
	int err = close_late(bus, deadline);

	if (err == 0)
		err = send_request(bus, head, deadline);
	if (err < 0)
		return err;
	err = await_answer(bus, head, &p, deadline);
	if (err == -ETIMEDOUT)
		give_up_request(bus, head);
	if (err < 0)
		return err;
	err = take_answer(bus, &p, head, reply, reply_size, fds, nfds);
	if (err == -EMFILE && close_opened(bus, &p, deadline) == -ETIMEDOUT)
		give_up_request(bus, head);
	return err;
}

/*
 * Across the death of busd's worker: the same request, under the same number, is sent to the next
 * one, which knows what of it was done.
 */
static int request(struct bus *bus, uint32_t gen, uint64_t most, void *req, void *reply,
		   size_t reply_size, int *fds, int *nfds)
{
	struct ctl_head *head = req;
	uint64_t began = bus_monotonic_ns();
	uint64_t deadline = began + most;
	int room = nfds != NULL ? *nfds : 0;
	int err;

	head->req = ++bus->request_number;
	for (;;) {
		if (bus_load_acquire(&bus->gone))
			return busd_is_gone(bus);
		err = bus__mend_until(bus, deadline);
		if (err == -EPIPE)
			return busd_is_gone(bus);
		if (err == 0 && gen == 0)
			gen = bus__gen(bus);
		if (err == 0 && gen != bus__gen(bus))
			return bus__fail(-EPIPE, "busd at %s died, and is another one now; try again",
					 bus->socket);
		if (err == 0) {
			if (nfds != NULL)
				*nfds = room;
			err = ask(bus, head, reply, reply_size, fds, nfds, deadline);
			if (err == -EPIPE && bus_load_acquire(&bus->lost)) {
				/* what was lost on the way is time that busd did not have */
				deadline = bus_min_u64(bus_monotonic_ns() + most + RESUME_NS,
						       began + 2 * bus->timeout_ns);
				continue;
			}
			if (err == -EPIPE && bus_load_acquire(&bus->gone))
				return busd_is_gone(bus);
		}
		if (err == -ETIMEDOUT)
			return bus__fail(-ETIMEDOUT, "busd at %s did not answer within %.1f s",
					 bus->socket, (double)most / 1e9);
		return err;
	}
}

int bus__request_locked(struct bus *bus, void *req, void *reply, size_t reply_size, int *fds,
			int *nfds)
{
	return request(bus, 0, patience(bus, req), req, reply, reply_size, fds, nfds);
}

int bus__request_within(struct bus *bus, uint32_t gen, uint64_t most_ns, void *req, void *reply,
			size_t reply_size)
{
	int err;

	if (bus->magic != BUS__MAGIC)
		return -ECHILD;
	pthread_mutex_lock(&bus->request_lock);
	err = request(bus, gen, most_ns, req, reply, reply_size, NULL, NULL);
	pthread_mutex_unlock(&bus->request_lock);
	return err;
}

/* gen 0: whichever busd is there. */
int bus__request_of(struct bus *bus, uint32_t gen, void *req, void *reply, size_t reply_size,
		    int *fds, int *nfds)
{
	int err;

	if (bus->magic != BUS__MAGIC)
		return -ECHILD;
	pthread_mutex_lock(&bus->request_lock);
	err = request(bus, gen, patience(bus, req), req, reply, reply_size, fds, nfds);
	pthread_mutex_unlock(&bus->request_lock);
	return err;
}

int bus__request(struct bus *bus, void *req, void *reply, size_t reply_size, int *fds, int *nfds)
{
	return bus__request_of(bus, 0, req, reply, reply_size, fds, nfds);
}

uint32_t bus__settle(struct bus *bus)
{
	if (bus_load_acquire(&bus->lost)) {
		pthread_mutex_lock(&bus->request_lock);
		bus__mend_until(bus, bus_monotonic_ns() + bus->timeout_ns);
		pthread_mutex_unlock(&bus->request_lock);
	}
	return bus__gen(bus);
}

/* ---- inboxes ---- */

void bus__inbox_init(struct bus__inbox *inbox)
{
	inbox->first = NULL;
	inbox->last = &inbox->first;
}

void bus__inbox_push(struct bus__inbox *inbox, struct bus__event *event)
{
	event->next = NULL;
	*inbox->last = event;
	inbox->last = &event->next;
}

struct bus__event *bus__inbox_take(struct bus__inbox *inbox)
{
	struct bus__event *event = inbox->first;

	if (event != NULL) {
		inbox->first = event->next;
		if (inbox->first == NULL)
			inbox->last = &inbox->first;
	}
	return event;
}

void bus__inbox_free(struct bus__inbox *inbox)
{
	struct bus__event *event;

	while ((event = bus__inbox_take(inbox)) != NULL)
		free(event);
}

/* ---- events ---- */

int bus__acknowledge(struct bus *bus, uint16_t type, uint64_t id, uint64_t value)
{
	struct ctl_evc msg = { .head = BUS__HEAD(type, ctl_evc), .id = id, .value = value };

	int err = control_send(bus->ev, &msg, NULL, 0);

	return err == -EPIPE ? bus__hung_up(bus) : err;
}

static void segment_event(struct bus *bus, struct control_packet *p)
{
	struct ctl_ev_segment ev;
	int err = 0;

	memcpy(&ev, p->bytes, sizeof(ev));
	if (p->fd_count != 1 || p->fds_lost) {
		bus__segment_missing(bus, ev.segment_id);
		return;
	}
	if (ev.flags & CTL_SEG_OWN) {
		if (ev.kind == CTL_SEG_BELL && bus__own_bell_add(bus, ev.uid, p->fds[0]) == 0) {
			/* before READY: busd seals what nobody holds writable */
			control_close_fds(p);
			bus__acknowledge(bus, CTL_EVC_SEGMENT_READY, ev.segment_id, 0);
		}
		return;
	}
	if (bus__segment_add(bus, &ev, p->fds[0], &err) == NULL && err == -ENOMEM)
		bus__segment_missing(bus, ev.segment_id);
}

static bool deliver(struct bus *bus, struct bus__event *event)
{
	return event->type == CTL_EV_MEMBER ? bus__pub_take_event(bus, event)
					    : bus__sub_take_event(bus, event);
}

static void object_event(struct bus *bus, const struct control_packet *p, size_t size)
{
	struct bus__event *event = bus->spare;

	bus->spare = NULL;
	event->type = p->head.type;
	memcpy(&event->member, p->bytes, size);
	if (deliver(bus, event))
		return;
	if (bus->opening > 0)
		bus__inbox_push(&bus->orphans, event);
	else
		free(event);
}

/* What waits in an inbox is told again. */
static void resume_event(struct bus *bus, uint32_t end)
{
	if (end == 0) {
		bus__inbox_free(&bus->orphans);
		bus__segments_stale(bus);
	} else {
		bus__segments_settled(bus);
	}
	bus__pubs_take_resume(bus, end);
	bus__subs_take_resume(bus, end);
}

/* Flags and operations that are in the message of a later version only. */
static bool is_strange(const struct control_packet *p)
{
	union {
		struct ctl_ev_segment segment;
		struct ctl_ev_member member;
		struct ctl_ev_ring ring;
	} ev;

	switch (p->head.type) {
	case CTL_EV_SEGMENT:
		memcpy(&ev.segment, p->bytes, sizeof(ev.segment));
		return ev.segment.flags & ~CTL_SEG_OWN;
	case CTL_EV_MEMBER:
		memcpy(&ev.member, p->bytes, sizeof(ev.member));
		return ev.member.op > CTL_MEMBER_ALL || ev.member.flags & ~CTL_MEMBER_GATES;
	case CTL_EV_RING:
		memcpy(&ev.ring, p->bytes, sizeof(ev.ring));
		return ev.ring.flags & ~CTL_RING_KNOWN;
	default:
		return false;
	}
}

/*
 * What busd tells and we do not know might be whom to wait for, or what not to read: there is nobody
 * to tell so, and no going on as if it had not been said. busd sees that we hang up.
 */
static bool is_understood(struct bus *bus, struct control_packet *p)
{
	int err = ctl_fit(p->bytes, p->len);

	if (err == 0 && !is_strange(p))
		return true;
	if (err == -E2BIG || err == 0) {
		bus__part(bus,
			  "it told more than is known here (message %#x, %zu bytes); use a library of its release",
			  p->head.type, p->len);
		shutdown(bus->ctl, SHUT_RDWR);
		shutdown(bus->ev, SHUT_RDWR);
	}
	return false; /* an event of a later version: none is sent where that is not spoken */
}

static void one_event(struct bus *bus, struct control_packet *p)
{
	struct ctl_ev_segment_gone gone;

	if (!is_understood(bus, p)) {
		control_close_fds(p);
		return;
	}
	switch (p->head.type) {
	case CTL_EV_SEGMENT:
		segment_event(bus, p);
		break;
	case CTL_EV_SEGMENT_GONE:
		memcpy(&gone, p->bytes, sizeof(gone));
		bus__segment_gone(bus, gone.segment_id);
		break;
	case CTL_EV_MEMBER:
		object_event(bus, p, sizeof(struct ctl_ev_member));
		break;
	case CTL_EV_RING:
		object_event(bus, p, sizeof(struct ctl_ev_ring));
		break;
	case CTL_EV_RING_GONE:
		object_event(bus, p, sizeof(struct ctl_ev_ring_gone));
		break;
	case CTL_EV_RESUME: {
		struct ctl_ev_resume resume;

		memcpy(&resume, p->bytes, sizeof(resume));
		resume_event(bus, resume.end);
		break;
	}
	case CTL_EV_BYE:
		bus_store_release(&bus->gone, 1);
		break;
	}
	control_close_fds(p);
}

static void adopt_orphans(struct bus *bus)
{
	struct bus__inbox left;
	struct bus__event *event;

	bus__inbox_init(&left);
	while ((event = bus__inbox_take(&bus->orphans)) != NULL) {
		if (deliver(bus, event))
			continue;
		if (bus->opening > 0)
			bus__inbox_push(&left, event);
		else
			free(event);
	}
	bus__inbox_init(&bus->orphans);
	while ((event = bus__inbox_take(&left)) != NULL)
		bus__inbox_push(&bus->orphans, event);
}

/* Before a message is taken there is room for it: a lost membership would block its publisher. */
static bool has_spare(struct bus *bus)
{
	if (bus->spare == NULL)
		bus->spare = calloc(1, sizeof(*bus->spare));
	return bus->spare != NULL;
}

/*
 * The bell is read before the socket: an event that comes after the last look rings it again, and
 * bus__rung() says so.
 */
int bus__pump_locked(struct bus *bus)
{
	uint32_t bell = bus_load_acquire(bus__bell(bus));
	struct control_packet p;
	int err;

	if (bus->orphans.first != NULL) /* before what came after them */
		adopt_orphans(bus);
	while ((err = has_spare(bus) ? control_recv(bus->ev, &p) : -ENOMEM) == 1) {
		if (p.head.type == CTL_EV_SEGMENT)
			bus->unacked++;
		one_event(bus, &p);
	}
	if (bus->unacked > 0 && bus__acknowledge(bus, CTL_EVC_ACK, 0, bus->unacked) == 0)
		bus->unacked = 0; /* busd counts: what a full socket refused goes with the next */
	/* where memory is short the rest waits in the socket, and whoever looks next tries again */
	bus_store_release(&bus->pumped, err == -ENOMEM ? bell - 1 : bell);
	return err < 0 && err != -ENOMEM ? bus__hung_up(bus) : 0;
}

int bus__pump(struct bus *bus)
{
	int err;

	if (bus->magic != BUS__MAGIC)
		return -ECHILD;
	for (int i = 0; i < 2; i++) {
		bus__mend(bus);
		pthread_mutex_lock(&bus->lock);
		err = bus__pump_locked(bus);
		pthread_mutex_unlock(&bus->lock);
		if (err == 0)
			break;
	}
	return err;
}
