/* SPDX-License-Identifier: Apache-2.0 */
/* event.c - see event.h */
#include "event.h"

#include "log.h"
#include "record.h"
#include "server.h"
#include "share.h"
#include "stream.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define RETRY_NS UINT64_C(10000000)

struct event *event_push(struct client *client, const void *msg, struct segment *seg, bool writable)
{
	const struct ctl_head *head = msg;
	struct event *event;

	if (client->doomed || client->absent || client_is_self(client))
		return NULL;
	if (client->event_count >= CLIENT_EVENTS_MAX) {
		client_doom(client, "it has not read %u events", client->event_count);
		return NULL;
	}
	event = malloc(sizeof(*event));
	if (!event) {
		client_doom(client, "busd is out of memory");
		return NULL;
	}
	assert(head->len <= sizeof(event->msg));
	event->client = client;
	event->seg = seg ? segment_ref(seg) : NULL;
	event->writable = writable;
	event->introduces = false;
	memcpy(&event->msg, msg, head->len);
	list_append(&client->events, &event->link);
	client->event_count++;
	client_bell_due(client);
	return event;
}

void event_cancel(struct event *event)
{
	list_remove(&event->link);
	event->client->event_count--;
	segment_unref(event->seg);
	free(event);
}

void event_cancel_about(struct client *client, uint64_t id)
{
	struct event *event;

	for_each(event, &client->events, link) {
		uint16_t type = event->msg.head.type;

		if ((type == CTL_EV_RING && event->msg.ring.sub_id == id) ||
		    (type == CTL_EV_RING_GONE && event->msg.ring_gone.sub_id == id) ||
		    (type == CTL_EV_MEMBER && event->msg.member.pub_id == id))
			event_cancel(event);
	}
}

bool event_cancel_ring(struct client *client, uint64_t sub_id, uint64_t ring_id)
{
	struct event *event;

	for_each(event, &client->events, link) {
		const struct ctl_ev_ring *ring = &event->msg.ring;

		/* those of SUB_OPEN are counted in its answer: the client waits for them */
		if (ring->head.type != CTL_EV_RING || ring->sub_id != sub_id ||
		    ring->ring_id != ring_id || !(ring->flags & CTL_RING_FRESH))
			continue;
		event_cancel(event);
		return true;
	}
	return false;
}

static bool socket_is_empty(const struct client *client)
{
	int unread;

	return ioctl(client->ev.fd, SIOCOUTQ, &unread) == 0 && unread == 0;
}

/* All that was under way has been read. */
static void landed(struct client *client)
{
	client->user->account.in_flight -= client->fds_in_flight;
	client->fds_in_flight = 0;
}

/*
 * 1 sent; 0 not now: the client has to read first; -EAGAIN not now, for the kernel's reasons; or
 * doomed
 */
static int send_one(struct client *client, struct event *event)
{
	int fd = event->seg ? (event->writable ? event->seg->rw_fd : event->seg->ro_fd) : -1;
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = &event->msg, .iov_len = event->msg.head.len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		if (client->fds_in_flight > 0 && socket_is_empty(client))
			landed(client);
		if (client->fds_in_flight >= CTL_EV_IN_FLIGHT)
			return 0;
		if (!quota_may_fly(&client->user->account))
			return -EAGAIN;
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.buf);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	if (sendmsg(client->ev.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
		client->fds_in_flight += fd >= 0;
		client->user->account.in_flight += fd >= 0;
		return 1;
	}
	if (errno == EAGAIN)
		return 0;
	if (errno == ETOOMANYREFS || errno == ENOBUFS || errno == ENOMEM || errno == EINTR)
		return -EAGAIN;
	if (errno == EPIPE || errno == ECONNRESET)
		client_doom(client, NULL);
	else
		client_doom(client, "an event could not be sent: %s", strerror(errno));
	return -EPIPE;
}

/*
 * A publisher that has published its last message may have been told of a sleeper too late to wake
 * it: whoever is told of late is woken by busd, looks, and finds what lies there.
 */
static void wake_who_is_told_of(const struct client *publisher, const struct ctl_ev_member *msg)
{
	struct client *subscriber;

	if (msg->op != CTL_MEMBER_ADD)
		return;
	subscriber = idmap_get(&publisher->busd->clients_by_id, msg->client_id);
	if (subscriber && !subscriber->doomed)
		client_bell_due(subscriber);
}

static void sent(struct client *client, struct event *event)
{
	if (event->msg.head.type == CTL_EV_MEMBER)
		wake_who_is_told_of(client, &event->msg.member);
	if (event->msg.head.type == CTL_EV_SEGMENT) {
		struct shared *shared = idmap_get(&client->segments, event->msg.segment.segment_id);

		if (shared && shared->queued == event)
			shared->queued = NULL;
	}
	event_cancel(event);
}

void event_flush(struct client *client)
{
	bool any = false;

	if (!client->doomed && client->fds_in_flight > 0 && socket_is_empty(client))
		landed(client);
	if (!list_empty(&client->events))
		record_commit(client->busd);
	while (!client->doomed && !list_empty(&client->events)) {
		struct event *event = list_entry(client->events.next, struct event, link);
		int rc = send_one(client, event);

		if (rc == -EAGAIN) {
			if (list_empty(&client->stalled_link))
				list_append(&client->busd->stalled, &client->stalled_link);
			server_set_deadline(client->busd, TIMER_RETRY, bus_monotonic_ns() + RETRY_NS);
		}
		if (rc <= 0)
			break;
		sent(client, event);
		any = true;
	}
	if (client->doomed)
		return;
	if (any && client->ring_when_sent)
		client_bell_due(client);
	client->ring_when_sent = !list_empty(&client->events);
	/* edge-triggered: each message that the client reads says so */
	server_watch_events(client->busd, &client->ev,
			    client->ring_when_sent ? EPOLLIN | EPOLLOUT | EPOLLET : EPOLLIN);
	if (!client->ring_when_sent && client->held)
		client_send_held(client);
}

void event_writable(struct client *client)
{
	if (!list_empty(&client->events))
		event_flush(client);
}

void event_retry_stalled(struct busd *busd)
{
	struct list again;
	struct client *client;

	list_init(&again);
	while (!list_empty(&busd->stalled)) {
		struct list *link = busd->stalled.next;

		list_remove(link);
		list_append(&again, link);
	}
	for_each(client, &again, stalled_link) {
		list_remove(&client->stalled_link);
		event_flush(client);
	}
}
