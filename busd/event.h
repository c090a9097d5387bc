/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event.h - the queue of what a client is told on its ev socket: in order, never blocking, few
 * descriptors at a time.
 *
 * Unread descriptors count against busd's user in the kernel (400 of them stop everybody), so at
 * most CTL_EV_IN_FLIGHT are under way to one client. What the client acknowledges is a hint;
 * SIOCOUTQ of the socket is the truth.
 */
#ifndef BUSD_EVENT_H
#define BUSD_EVENT_H

#include "client.h"

struct event {
	struct list link;
	struct client *client;
	struct segment *seg; /* its descriptor goes along; NULL: none */
	bool writable;       /* rw_fd instead of ro_fd */
	bool introduces;     /* MEMBER: the publisher has not heard of this subscription before */
	union {
		struct ctl_head head;
		struct ctl_ev_segment segment;
		struct ctl_ev_member member;
		struct ctl_ev_ring ring;
		struct ctl_ev_ring_gone ring_gone;
		struct ctl_ev_segment_gone segment_gone;
		struct ctl_ev_resume resume;
	} msg;
};

/*
 * Queues a copy of msg and has the client's bell rung: both happen in client_ring_bells(), or
 * earlier by event_flush() for the message. NULL where the client is doomed (or becomes so by
 * this: too many events, no memory).
 */
struct event *event_push(struct client *client, const void *msg, struct segment *seg, bool writable);
/* Takes back what was not sent yet. */
void event_cancel(struct event *event);
/*
 * Takes back all about this subscription (EV_RING, EV_RING_GONE) or publisher (EV_MEMBER), which
 * goes.
 */
void event_cancel_about(struct client *client, uint64_t id);
/* Takes back the EV_RING of a ring that this subscription has not heard of. false: it has. */
bool event_cancel_ring(struct client *client, uint64_t sub_id, uint64_t ring_id);
/* Sends what may be sent now. */
void event_flush(struct client *client);
/* The retry timer: tries those again that the kernel refused. */
void event_retry_stalled(struct busd *busd);
/* The kernel took room from the ev socket's queue. */
void event_writable(struct client *client);

#endif
