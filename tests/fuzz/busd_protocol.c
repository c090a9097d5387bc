/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_protocol.c - libFuzzer target: two clients say to a busd in this very process what the
 * input says, in its order, with ids that they were told or with others, reading their events or
 * not. After it both hang up, and nothing may be left: no memory charged, no topic, no ring, no
 * client.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "log.h"
#include "registry.h"
#include "server.h"

#define KNOWN 8

struct speaker {
	int ctl, ev;
	unsigned known;
	/* of publishers, subscriptions, rings, segments, topics, as they came */
	uint64_t ids[KNOWN];
};

struct input {
	const uint8_t *at;
	size_t left;
};

static struct busd busd;

static uint8_t take(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

static void learn(struct speaker *speaker, uint64_t id)
{
	speaker->ids[speaker->known++ % KNOWN] = id;
}

static uint64_t some_id(struct speaker *speaker, struct input *in)
{
	uint8_t which = take(in);

	return which < 240 ? speaker->ids[which % KNOWN] : which;
}

static void step(void)
{
	while (server_step(&busd, 0) > 0)
		;
}

/* Takes one packet; descriptors are closed, ids noted. false: there is none. */
static bool hear(struct speaker *speaker, int fd, int *ev)
{
	union {
		struct ctl_head head;
		struct ctl_pub_reply pub;
		struct ctl_sub_reply sub;
		struct ctl_ev_ring ring;
		struct ctl_ev_segment segment;
		uint8_t bytes[CTL_MAX];
	} msg;
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(CTL_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = &msg, .iov_len = sizeof(msg) };
	struct msghdr in = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control) };
	const struct cmsghdr *part;
	int fds[CTL_MAX_FDS];
	size_t count = 0;

	if (recvmsg(fd, &in, MSG_DONTWAIT) <= 0)
		return false;
	part = CMSG_FIRSTHDR(&in);
	if (part) {
		count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(part), count * sizeof(int));
	}
	if (msg.head.type == (CTL_REPLY | CTL_HELLO) && ev)
		*ev = dup(fds[0]);
	while (count > 0)
		close(fds[--count]);
	if (msg.head.type == (CTL_REPLY | CTL_PUB_OPEN) ||
	    msg.head.type == (CTL_REPLY | CTL_PUB_GROW)) {
		learn(speaker, msg.pub.pub_id);
		learn(speaker, msg.pub.ring_id);
	} else if (msg.head.type == (CTL_REPLY | CTL_SUB_OPEN)) {
		learn(speaker, msg.sub.sub_id);
	} else if (msg.head.type == CTL_EV_RING) {
		learn(speaker, msg.ring.ring_id);
		learn(speaker, msg.ring.topic_id);
	} else if (msg.head.type == CTL_EV_SEGMENT) {
		learn(speaker, msg.segment.segment_id);
	}
	return true;
}

static void tell(int fd, const void *msg, size_t len)
{
	if (send(fd, msg, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return; /* busd hung up, or has not read the last ones: both are fine */
}

static void arrive(struct speaker *speaker)
{
	struct ctl_hello hello = { .head = { .magic = CTL_MAGIC,
					     .type = CTL_HELLO,
					     .version = CTL_VERSION,
					     .len = sizeof(hello) } };
	struct ctl_head attach = { .type = CTL_ATTACH, .version = CTL_VERSION, .len = sizeof(attach) };
	int pair[2];

	memset(speaker, 0, sizeof(*speaker));
	speaker->ev = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		abort();
	speaker->ctl = pair[0];
	client_accept(&busd, pair[1]);
	tell(speaker->ctl, &hello, sizeof(hello));
	step();
	hear(speaker, speaker->ctl, &speaker->ev);
	tell(speaker->ctl, &attach, sizeof(attach));
	step();
	hear(speaker, speaker->ctl, NULL);
	assert(speaker->ev >= 0);
}

static void put_topic(char *to, struct input *in)
{
	static const char *const names[] = { "a", "a.b", "a.*", ">", "*", "b", "", "a..b" };

	strcpy(to, names[take(in) % BUS_ARRAY_LEN(names)]);
}

static const uint16_t sizes[CTL_TYPE_COUNT] = {
	[CTL_TOPIC_CREATE] = sizeof(struct ctl_topic_create),
	[CTL_TOPIC_REMOVE] = sizeof(struct ctl_topic_remove),
	[CTL_TOPIC_NEXT] = sizeof(struct ctl_topic_next),
	[CTL_PUB_OPEN] = sizeof(struct ctl_pub_open),
	[CTL_PUB_READY] = sizeof(struct ctl_pub_ready),
	[CTL_PUB_GROW] = sizeof(struct ctl_pub_grow),
	[CTL_PUB_CLOSE] = sizeof(struct ctl_pub_close),
	[CTL_EVICT] = sizeof(struct ctl_evict),
	[CTL_SUB_OPEN] = sizeof(struct ctl_sub_open),
	[CTL_SUB_JOIN] = sizeof(struct ctl_sub_join),
	[CTL_SUB_REJOIN] = sizeof(struct ctl_sub_join),
	[CTL_SUB_CLOSE] = sizeof(struct ctl_sub_close),
	[CTL_OBSERVE] = sizeof(struct ctl_observe),
	[CTL_UNOBSERVE] = sizeof(struct ctl_head),
	[CTL_CLIENT_NEXT] = sizeof(struct ctl_client_next),
	[CTL_INFO] = sizeof(struct ctl_head),
	[CTL_NAMESPACE_NEXT] = sizeof(struct ctl_namespace_next),
	[CTL_LOG_SEGMENT] = sizeof(struct ctl_log_segment),
	[CTL_SUB_SETTLE] = sizeof(struct ctl_sub_close),
	[CTL_POSITION_NEXT] = sizeof(struct ctl_position_next),
	[CTL_POSITION_SET] = sizeof(struct ctl_position_set),
};

/*
 * A request of the right form; what is in it comes from the input. by: as another version has it, so much
 * longer, with or without something there.
 */
static void ask(struct speaker *speaker, struct input *in, uint8_t by)
{
	union {
		struct ctl_head head;
		struct ctl_topic_create create;
		struct ctl_topic_remove remove;
		struct ctl_pub_open pub;
		struct ctl_pub_grow grow;
		struct ctl_sub_open sub;
		struct ctl_observe observe;
		struct ctl_topic_next next;
		struct ctl_log_segment segment;
		struct ctl_position_next position;
		struct ctl_position_set set;
		struct {
			struct ctl_head head;
			uint64_t ids[3];
		} plain;
		uint8_t bytes[CTL_MAX];
	} msg;
	uint16_t type = take(in) % CTL_TYPE_COUNT;

	memset(&msg, 0, sizeof(msg));
	msg.head = (struct ctl_head){ .type = type,
				      .version = CTL_VERSION,
				      .len = sizes[type] ? sizes[type] : 16 };
	switch (type) {
	case CTL_TOPIC_CREATE:
	case CTL_TOPIC_REMOVE:
		put_topic(type == CTL_TOPIC_CREATE ? msg.create.topic : msg.remove.topic, in);
		msg.create.settings.flags = msg.remove.flags = take(in) & 15;
		break;
	case CTL_PUB_OPEN:
		put_topic(msg.pub.topic, in);
		msg.pub.settings.slots = (uint32_t)take(in) * 4;
		msg.pub.settings.bytes = (uint64_t)take(in) << 12; /* at most 1 MiB: made at once */
		break;
	case CTL_PUB_GROW:
		msg.grow.pub_id = some_id(speaker, in);
		msg.grow.next_seq = take(in);
		msg.grow.need_bytes = (uint64_t)take(in) << 8;
		break;
	case CTL_SUB_OPEN:
		put_topic(msg.sub.pattern, in);
		msg.sub.flags = take(in) & 3;
		msg.sub.start = take(in) & 3;
		msg.sub.entries = take(in) & 7;
		break;
	case CTL_POSITION_NEXT:
		put_topic(msg.position.topic, in);
		break;
	case CTL_POSITION_SET:
		put_topic(msg.set.topic, in);
		msg.set.name[0] = (char)take(in);
		msg.set.flags = take(in) & 3;
		break;
	case CTL_OBSERVE: /* its pattern lies in the same place */
	case CTL_TOPIC_NEXT:
		put_topic(msg.next.pattern, in);
		break;
	case CTL_LOG_SEGMENT:
		put_topic(msg.segment.topic, in);
		msg.segment.seq = take(in);
		break;
	default:
		for (unsigned i = 0; i < 3; i++)
			msg.plain.ids[i] = some_id(speaker, in);
	}
	msg.head.len += by & 63;
	if (by & 64)
		msg.bytes[msg.head.len - 1] = by;
	tell(speaker->ctl, &msg, msg.head.len);
}

static void acknowledge(struct speaker *speaker, struct input *in)
{
	struct ctl_evc evc = { .head = { .type = (uint16_t)(CTL_EVC_ACK + take(in) % 6),
					 .version = CTL_VERSION,
					 .len = sizeof(evc) } };

	evc.id = some_id(speaker, in);
	evc.value = some_id(speaker, in);
	tell(speaker->ev, &evc, sizeof(evc));
}

static void act(struct speaker *speaker, struct input *in)
{
	uint8_t raw[64];
	uint8_t what = take(in);

	switch (what % 8) {
	default:
		ask(speaker, in, 0);
		step();
		hear(speaker, speaker->ctl, NULL);
		break;
	case 3:
		ask(speaker, in, take(in));
		step();
		hear(speaker, speaker->ctl, NULL);
		break;
	case 4:
		ask(speaker, in, 0); /* and does not wait */
		break;
	case 5:
		acknowledge(speaker, in);
		break;
	case 6:
		for (int i = 0; i < what / 8 && hear(speaker, speaker->ev, NULL); i++)
			;
		hear(speaker, speaker->ctl, NULL);
		step();
		break;
	case 7:
		for (size_t i = 0; i < sizeof(raw); i++)
			raw[i] = take(in);
		tell(what & 8 ? speaker->ctl : speaker->ev, raw,
		     what & 16 ? sizeof(raw) : raw[0] % sizeof(raw));
		step();
		break;
	}
}

static void leave(struct speaker *speaker)
{
	close(speaker->ctl);
	if (speaker->ev >= 0)
		close(speaker->ev);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct why why;

	(void)argc;
	(void)argv;
	server_init(&busd);
	busd.config = config_new();
	busd.config->evict_floor_ns = 1;
	busd.quota.limits = (struct quota_limits){ .memory = 16 << 20,
						   .user_memory = 16 << 20,
						   .files = 500,
						   .user_files = 500,
						   .user_handshakes = 10,
						   .user_in_flight = 100,
						   .user_clients = 10,
						   .user_topics = 100 };
	log_open("/dev/null");
	return server_open(&busd, &why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct speaker speakers[2];

	for (unsigned i = 0; i < 2; i++)
		arrive(&speakers[i]);
	while (in.left > 0)
		act(&speakers[take(&in) & 1], &in);
	for (unsigned i = 0; i < 2; i++)
		leave(&speakers[i]);
	step();
	while (busd.topic_count)
		topic_remove(busd.topics[0]);
	step();
	assert(busd.client_count == 0 && busd.ring_count == 0 && busd.sub_count == 0);
	assert(busd.quota.memory == 0 && busd.quota.files == 0 && busd.observer_count == 0);
	assert(busd.clients_by_id.count == 0 && busd.rings_by_id.count == 0);
	assert(busd.subs_by_id.count == 0 && busd.pubs_by_id.count == 0);
	return 0;
}
