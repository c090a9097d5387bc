/* SPDX-License-Identifier: Apache-2.0 */
/* request.c - see request.h */
#include "request.h"

#include "event.h"
#include "greet.h"
#include "log.h"
#include "observe.h"
#include "position.h"
#include "pub.h"
#include "query.h"
#include "record.h"
#include "resume.h"
#include "server.h"
#include "share.h"
#include "sub.h"

#include "format/control_size.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct text_field {
	uint16_t offset, size;
};
#define TEXT(type, field) \
	{ \
		offsetof(struct type, field), sizeof(((struct type *)0)->field) \
	}

/* How long it is says control_size.h. */
struct request_kind {
	enum client_state state; /* in which it may be sent */
	struct text_field texts[3];
	int (*serve)(struct client *client, const void *msg, struct why *why);
};

static const struct request_kind kinds[CTL_TYPE_COUNT] = {
	[CTL_HELLO] = { CLIENT_NEW, { TEXT(ctl_hello, name) }, greet_hello },
	[CTL_ATTACH] = { CLIENT_GREETED, { { 0 } }, greet_attach },
	[CTL_TOPIC_CREATE] = { CLIENT_ATTACHED, { TEXT(ctl_topic_create, topic) }, query_topic_create },
	[CTL_TOPIC_REMOVE] = { CLIENT_ATTACHED, { TEXT(ctl_topic_remove, topic) }, query_topic_remove },
	[CTL_TOPIC_NEXT] = { CLIENT_ATTACHED,
			     { TEXT(ctl_topic_next, pattern), TEXT(ctl_topic_next, after) },
			     query_topic_next },
	[CTL_PUB_OPEN] = { CLIENT_ATTACHED,
			   { TEXT(ctl_pub_open, topic), TEXT(ctl_pub_open, name) },
			   pub_open },
	[CTL_PUB_READY] = { CLIENT_ATTACHED, { { 0 } }, pub_ready },
	[CTL_PUB_GROW] = { CLIENT_ATTACHED, { { 0 } }, pub_grow },
	[CTL_PUB_CLOSE] = { CLIENT_ATTACHED, { { 0 } }, pub_close },
	[CTL_EVICT] = { CLIENT_ATTACHED, { { 0 } }, pub_evict },
	[CTL_SUB_OPEN] = { CLIENT_ATTACHED,
			   { TEXT(ctl_sub_open, pattern), TEXT(ctl_sub_open, name),
			     TEXT(ctl_sub_open, durable) },
			   sub_open },
	[CTL_SUB_JOIN] = { CLIENT_ATTACHED, { { 0 } }, sub_join },
	[CTL_SUB_REJOIN] = { CLIENT_ATTACHED, { { 0 } }, sub_rejoin },
	[CTL_SUB_CLOSE] = { CLIENT_ATTACHED, { { 0 } }, sub_close },
	[CTL_OBSERVE] = { CLIENT_ATTACHED, { TEXT(ctl_observe, pattern) }, observe_start },
	[CTL_UNOBSERVE] = { CLIENT_ATTACHED, { { 0 } }, observe_stop },
	[CTL_CLIENT_NEXT] = { CLIENT_ATTACHED, { { 0 } }, query_client_next },
	[CTL_INFO] = { CLIENT_ATTACHED, { { 0 } }, query_info },
	[CTL_NAMESPACE_NEXT] = { CLIENT_ATTACHED,
				 { TEXT(ctl_namespace_next, after) },
				 query_namespace_next },
	[CTL_LOG_SEGMENT] = { CLIENT_ATTACHED, { TEXT(ctl_log_segment, topic) }, query_log_segment },
	[CTL_SUB_SETTLE] = { CLIENT_ATTACHED, { { 0 } }, position_settle },
	[CTL_POSITION_NEXT] = { CLIENT_ATTACHED,
				{ TEXT(ctl_position_next, topic), TEXT(ctl_position_next, after) },
				position_next },
	[CTL_POSITION_SET] = { CLIENT_ATTACHED,
			       { TEXT(ctl_position_set, topic), TEXT(ctl_position_set, name) },
			       position_set },
	[CTL_LEAVE] = { CLIENT_ATTACHED, { { 0 } }, greet_leave },
};

const char *request_check(void *bytes, size_t len, bool *more)
{
	const struct ctl_head *head = bytes;
	const struct request_kind *kind;
	size_t i;
	int rc;

	*more = false;
	if (len < sizeof(*head))
		return "a message shorter than its head";
	if (head->type == 0 || head->type >= CTL_TYPE_COUNT || !kinds[head->type].serve)
		return "a message of unknown type";
	kind = &kinds[head->type];
	rc = ctl_fit(bytes, len);
	if (rc == -EPROTO)
		return "a message of the wrong length";
	*more = rc == -E2BIG;
	for (i = 0; i < BUS_ARRAY_LEN(kind->texts); i++)
		if (kind->texts[i].size &&
		    !memchr((const char *)bytes + kind->texts[i].offset, 0, kind->texts[i].size))
			return "a text without an end";
	return NULL;
}

/* Ends the connection, with an answer if that still gets through. */
static void refuse(struct client *client, const struct ctl_head *head, const char *why)
{
	char text[160];

	snprintf(text, sizeof(text), "what this process sent is not the protocol of busd %s: %s",
		 BUSD_VERSION, why);
	client_reply_error(client, CTL_VERSION, head ? head->req : 0, EPROTO, text);
	client_doom(client, "it sent %s", why);
}

/* What of it was done is noted with it: who repeats it gets the same. */
static int begin(struct client *client, const struct ctl_head *head, const void *bytes,
		 struct why *why)
{
	int rc;

	client->retrying = client->resumed && client->begun_req == head->req;
	client->resumed = false;
	client->begun_req = head->req;
	if (client->state == CLIENT_ATTACHED)
		record_client(client);
	rc = kinds[head->type].serve(client, bytes, why);
	client->retrying = false;
	return rc;
}

/* It asks for something by what came after this version: refused, and nothing else has happened. */
static int says_more(const struct client *client, struct why *why)
{
	return because(
		why, E2BIG,
		"this request says something that busd %s (protocol version %u) does not know, and the client's "
		"library (version %u) does; do without it, or put a busd of that release in place (busd --upgrade)",
		BUSD_VERSION, CTL_VERSION, client->versions.max);
}

/* false: it was answered, and ends here. */
static bool is_greeting(struct client *client, const void *bytes, size_t len)
{
	const struct ctl_head *head = bytes;
	struct why why;
	/* who speaks another version may speak it in other lengths */
	int rc = greet_check(bytes, len, &client->versions, &why);

	if (rc == 0)
		return true;
	client_reply_error(client, CTL_VERSION, len >= sizeof(*head) ? head->req : 0, -rc, why.text);
	client_doom(client, "%s", why.text);
	return false;
}

/* bytes has room for CTL_MAX */
static void serve(struct client *client, void *bytes, size_t len)
{
	const struct ctl_head *head = bytes;
	struct why why = { "" };
	const char *wrong;
	bool more;
	int rc;

	if (client->state == CLIENT_NEW && !is_greeting(client, bytes, len))
		return;
	wrong = request_check(bytes, len, &more);
	if (!wrong && kinds[head->type].state != client->state)
		wrong = "a message out of turn";
	if (wrong) {
		refuse(client, len >= sizeof(*head) ? head : NULL, wrong);
		return;
	}
	rc = more ? says_more(client, &why) : journal_reserve(&client->busd->journal);
	if (rc == 0)
		rc = begin(client, head, bytes, &why);
	else if (!more)
		because(&why, -rc, "busd has no memory to note what it does");
	if (rc < 0)
		client_reply_error(client, CTL_VERSION, head->req, -rc, why.text);
}

/* Until those who were here before are back, what is asked might be answered too early. */
static bool waits(const struct client *client)
{
	return client->busd->recovering && client->state == CLIENT_ATTACHED;
}

/*
 * Nothing more is read from it while an answer is owed or unread: one request at a time is what
 * bounds it.
 */
static bool may_ask(struct client *client)
{
	int unread = 0;

	if (client->job || client->held || waits(client))
		return false;
	return ioctl(client->ctl.fd, SIOCOUTQ, &unread) < 0 || unread == 0;
}

/* blocked: it asks before it has read the last answer. The edge comes when it does. */
static void watch_ctl(struct client *client, bool blocked)
{
	uint32_t events = EPOLLRDHUP;

	if (client->doomed)
		return;
	if (client->job || client->held || waits(client))
		blocked = false;
	else if (!blocked)
		events |= EPOLLIN;
	if (blocked)
		events |= EPOLLOUT | EPOLLET;
	server_watch_events(client->busd, &client->ctl, events);
}

void request_resume(struct client *client)
{
	watch_ctl(client, false);
}

union packet {
	struct ctl_head head;
	struct ctl_hello hello;
	struct ctl_evc evc;
	uint8_t bytes[CTL_MAX];
} BUS_ALIGNED(8);

/*
 * A packet without descriptors; those that a client sends are closed. Its length, 0 at the end,
 * -errno.
 */
static ssize_t receive(int fd, void *buf, size_t size)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(16 * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	const struct cmsghdr *part;
	ssize_t len;

	do
		len = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return -errno;
	for (part = CMSG_FIRSTHDR(&msg); part;
	     part = CMSG_NXTHDR(&msg, (struct cmsghdr *)(uintptr_t)part)) {
		size_t i, count;

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < count; i++) {
			int stray;

			memcpy(&stray, CMSG_DATA(part) + i * sizeof(int), sizeof(stray));
			close(stray);
		}
	}
	return msg.msg_flags & MSG_TRUNC ? -EMSGSIZE : len;
}

/*
 * One that closed while no worker lived came back just to leave: its HELLO lies in the socket, and
 * what it left with the former worker goes with this connection.
 */
static void take_leave(struct client *client)
{
	union packet in;
	ssize_t len = -EAGAIN;
	struct why why;
	bool more;

	if (client->state == CLIENT_NEW && client->busd->absent_count)
		len = receive(client->ctl.fd, &in, sizeof(in));
	if (len <= 0 || greet_check(&in, (size_t)len, &client->versions, &why) < 0 ||
	    request_check(&in, (size_t)len, &more) || !(in.hello.flags & CTL_HELLO_RESUME) ||
	    !resume_client(client, &in.hello))
		client_doom(client, NULL);
}

void request_ready(struct busd *busd, struct watch *watch, uint32_t events)
{
	struct client *client = BUS_CONTAINER_OF(watch, struct client, ctl);
	union packet in;
	ssize_t len;

	(void)busd;
	/* hung up: what it asked before it left concerns nobody any more */
	if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
		take_leave(client);
		return;
	}
	if (!may_ask(client)) {
		watch_ctl(client, true);
		return;
	}
	len = receive(client->ctl.fd, &in, sizeof(in));
	if (len == -EAGAIN) {
		watch_ctl(client, false);
		return;
	}
	if (len == 0 || len == -ECONNRESET || len == -EPIPE)
		client_doom(client, NULL);
	else if (len == -EMSGSIZE)
		refuse(client, NULL, "a message longer than any");
	else if (len < 0)
		client_doom(client, "receiving from it failed: %s", strerror((int)-len));
	else
		serve(client, &in, (size_t)len);
	watch_ctl(client, false);
}

static void serve_ev(struct client *client, union packet *in, size_t len)
{
	const struct ctl_evc *evc = &in->evc;
	int rc = ctl_fit(in, len);

	if (len >= sizeof(evc->head) &&
	    (evc->head.type < CTL_EVC_ACK || evc->head.type > CTL_EVC_LYING)) {
		client_doom(client, "it sent an acknowledgement of unknown type %u", evc->head.type);
		return;
	}
	if (rc < 0) { /* nothing on ev is answered */
		client_doom(client, rc == -E2BIG ? "it acknowledges by what busd does not know"
						 : "it sent an acknowledgement of the wrong length");
		return;
	}
	switch (evc->head.type) {
	case CTL_EVC_ACK:
		event_flush(client);
		break;
	case CTL_EVC_SEGMENT_READY:
		share_bell_ready(client, evc->id);
		break;
	case CTL_EVC_WANT_BELL:
		share_make_bell(client, evc->id);
		break;
	case CTL_EVC_RESEND:
		share_again(client, evc->id);
		break;
	case CTL_EVC_LYING:
		pub_reader_lies(client, evc->id, evc->value);
		break;
	case CTL_EVC_RING_DONE:
		sub_ring_done(client, evc->value, evc->id);
		break;
	}
}

#define EV_BATCH 64

void request_ev_ready(struct busd *busd, struct watch *watch, uint32_t events)
{
	struct client *client = BUS_CONTAINER_OF(watch, struct client, ev);
	union packet in;
	int budget = EV_BATCH;

	(void)busd;
	if (events & (EPOLLHUP | EPOLLERR)) {
		client_doom(client, NULL);
		return;
	}
	if (events & EPOLLOUT)
		event_flush(client);
	while (!client->doomed && budget-- > 0) {
		ssize_t len = receive(client->ev.fd, &in, sizeof(in));

		if (len == -EAGAIN)
			return;
		if (len <= 0 && len != -EMSGSIZE) {
			client_doom(client, NULL);
			return;
		}
		serve_ev(client, &in, len < 0 ? 0 : (size_t)len);
	}
	/* more may lie there: with edges, nobody would say so again */
	server_poke(client->busd, &client->ev);
}
