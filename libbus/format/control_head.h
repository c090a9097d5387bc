/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_head.h - what each message between libbus and busd opens with, which types there are, and how an error is
 * told. What they say to each other, and how versions meet: control_proto.h.
 */
#ifndef BUS_CONTROL_HEAD_H
#define BUS_CONTROL_HEAD_H

#include "base/base.h"
#include "format/board_layout.h"

#define CTL_MAGIC 0x42535542u /* "BUSB" */
/*
 * The newest version that is spoken and the oldest. Defined as macros may be (mk/next.mk) they are
 * those of a next version, made of these sources for tests.
 */
#ifdef BUS_NEXT_VERSION
#define CTL_VERSION 4u
#else
#define CTL_VERSION 3u
#endif
#ifdef BUS_NEXT_ONLY
#define CTL_VERSION_MIN 4u
#else
#define CTL_VERSION_MIN 3u
#endif
/*
 * As a client_id: busd itself, which reads the rings of a stream's publishers and writes the stream's.
 * It rings by its own bell page, the one of HELLO.
 */
#define CTL_CLIENT_BUSD  (UINT64_MAX - 15)
#define CTL_MAX          1024 /* bytes of a message */
#define CTL_MAX_FDS      4
#define CTL_EV_IN_FLIGHT 16
#define CTL_TOPIC_MAX    BOARD_TOPIC_MAX /* with the final 0 */
#define CTL_NAME_MAX     BOARD_NAME_MAX
#define CTL_WHY_MAX      512

enum ctl_type {
	CTL_HELLO = 1,
	CTL_ATTACH,
	CTL_TOPIC_CREATE,
	CTL_TOPIC_REMOVE,
	CTL_TOPIC_NEXT,
	CTL_PUB_OPEN,
	CTL_PUB_READY,
	CTL_PUB_GROW,
	CTL_PUB_CLOSE,
	CTL_EVICT,
	CTL_SUB_OPEN,
	CTL_SUB_JOIN,
	CTL_SUB_REJOIN,
	CTL_SUB_CLOSE,
	CTL_OBSERVE,
	CTL_UNOBSERVE,
	CTL_CLIENT_NEXT,
	CTL_INFO,
	CTL_LEAVE,
	CTL_NAMESPACE_NEXT,
	CTL_LOG_SEGMENT,
	CTL_SUB_SETTLE,
	CTL_POSITION_NEXT,
	CTL_POSITION_SET,
	CTL_TYPE_COUNT,

	CTL_EV_SEGMENT = 0x100,
	CTL_EV_SEGMENT_GONE,
	CTL_EV_MEMBER,
	CTL_EV_RING,
	CTL_EV_RING_GONE,
	CTL_EV_BYE,
	CTL_EV_RESUME,

	CTL_EVC_ACK = 0x200,
	CTL_EVC_SEGMENT_READY,
	CTL_EVC_WANT_BELL,
	CTL_EVC_RESEND,
	CTL_EVC_RING_DONE,
	CTL_EVC_LYING,

	CTL_REPLY = 0x4000, /* or-ed with the request's type */
	CTL_ERROR = 0x7fff,
};

/* Each message opens with this. */
struct ctl_head {
	uint32_t magic; /* CTL_MAGIC in HELLO and its answer, 0 elsewhere */
	uint16_t type;  /* enum ctl_type */
	/* HELLO: the highest that is spoken; its answer: the one that is; else of who sent it, for show */
	uint16_t version;
	uint32_t len; /* of the whole message */
	uint32_t req; /* the client's number of the request, repeated in the answer; 0 in events */
};

struct ctl_error {
	struct ctl_head head;
	int32_t error; /* a positive errno */
	uint32_t pad;
	char why[CTL_WHY_MAX]; /* a sentence: what failed, why, what to do */
};

static_assert(sizeof(struct ctl_head) == 16, "head");
static_assert(offsetof(struct ctl_head, type) == 4 && offsetof(struct ctl_head, version) == 6 &&
		      offsetof(struct ctl_head, len) == 8 && offsetof(struct ctl_head, req) == 12 &&
		      offsetof(struct ctl_error, error) == 16 &&
		      offsetof(struct ctl_error, why) == 24 && CTL_WHY_MAX == 512,
	      "these bytes stay for ever");

#endif
