/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_size.h - how long each message of control_proto.h is: one table for busd and libbus, and
 * how a message of another version becomes one of this.
 *
 * `known` is what this version has, `least` what CTL_VERSION_MIN had: up to the end of the field that
 * is named here. A new field goes to the end of its struct and changes nothing here; the name moves
 * on only when CTL_VERSION_MIN does.
 */
#ifndef BUS_CONTROL_SIZE_H
#define BUS_CONTROL_SIZE_H

#include <errno.h>
#include <string.h>

#include "format/control_proto.h"

struct ctl_size {
	uint16_t least, known; /* known 0: there is no such message */
};

/* sizes in eights: or a new field could lie in what an older version left to chance */
#define CTL_SIZE(message, kind, last) \
	case message:; \
		static_assert(sizeof(struct kind) % 8 == 0 && sizeof(struct kind) <= CTL_MAX, \
			      #kind); \
		return (struct ctl_size) \
		{ \
			offsetof(struct kind, last) + sizeof(((struct kind *)0)->last), \
				sizeof(struct kind) \
		}

static inline struct ctl_size ctl_size_of_request(uint32_t type)
{
	switch (type) {
		CTL_SIZE(CTL_HELLO, ctl_hello, name);
		CTL_SIZE(CTL_ATTACH, ctl_head, req);
		CTL_SIZE(CTL_TOPIC_CREATE, ctl_topic_create, topic);
		CTL_SIZE(CTL_TOPIC_REMOVE, ctl_topic_remove, topic);
		CTL_SIZE(CTL_TOPIC_NEXT, ctl_topic_next, after);
		CTL_SIZE(CTL_PUB_OPEN, ctl_pub_open, name);
		CTL_SIZE(CTL_PUB_READY, ctl_pub_ready, ring_id);
		CTL_SIZE(CTL_PUB_GROW, ctl_pub_grow, pad);
		CTL_SIZE(CTL_PUB_CLOSE, ctl_pub_close, pub_id);
		CTL_SIZE(CTL_EVICT, ctl_evict, grace_ns);
		CTL_SIZE(CTL_SUB_OPEN, ctl_sub_open, name);
		CTL_SIZE(CTL_SUB_JOIN, ctl_sub_join, topic_id);
		CTL_SIZE(CTL_SUB_REJOIN, ctl_sub_join, topic_id);
		CTL_SIZE(CTL_SUB_CLOSE, ctl_sub_close, sub_id);
		CTL_SIZE(CTL_OBSERVE, ctl_observe, pattern);
		CTL_SIZE(CTL_UNOBSERVE, ctl_head, req);
		CTL_SIZE(CTL_CLIENT_NEXT, ctl_client_next, after);
		CTL_SIZE(CTL_INFO, ctl_head, req);
		CTL_SIZE(CTL_LEAVE, ctl_head, req);
		CTL_SIZE(CTL_NAMESPACE_NEXT, ctl_namespace_next, after);
		CTL_SIZE(CTL_LOG_SEGMENT, ctl_log_segment, topic);
		CTL_SIZE(CTL_SUB_SETTLE, ctl_sub_settle, sub_id);
		CTL_SIZE(CTL_POSITION_NEXT, ctl_position_next, after);
		CTL_SIZE(CTL_POSITION_SET, ctl_position_set, pad);
	}
	return (struct ctl_size){ 0, 0 };
}

/* By type, without CTL_REPLY. */
static inline struct ctl_size ctl_size_of_reply(uint32_t type)
{
	switch (type) {
		CTL_SIZE(CTL_HELLO, ctl_hello_reply, version);
		CTL_SIZE(CTL_TOPIC_NEXT, ctl_topic_next_reply, topic);
		CTL_SIZE(CTL_PUB_OPEN, ctl_pub_reply, geometry);
		CTL_SIZE(CTL_PUB_GROW, ctl_pub_reply, geometry);
		CTL_SIZE(CTL_PUB_READY, ctl_pub_ready_reply, number);
		CTL_SIZE(CTL_EVICT, ctl_evict_reply, again_ns);
		CTL_SIZE(CTL_SUB_OPEN, ctl_sub_reply, rings);
		CTL_SIZE(CTL_CLIENT_NEXT, ctl_client_next_reply, command);
		CTL_SIZE(CTL_INFO, ctl_info_reply, pad);
		CTL_SIZE(CTL_NAMESPACE_NEXT, ctl_namespace_next_reply, name);
		CTL_SIZE(CTL_LOG_SEGMENT, ctl_log_segment_reply, pad);
		CTL_SIZE(CTL_SUB_SETTLE, ctl_ok, value);
		CTL_SIZE(CTL_POSITION_NEXT, ctl_position_next_reply, holder);
		CTL_SIZE(CTL_POSITION_SET, ctl_ok, value);
		CTL_SIZE(CTL_ATTACH, ctl_ok, value);
		CTL_SIZE(CTL_TOPIC_CREATE, ctl_ok, value);
		CTL_SIZE(CTL_TOPIC_REMOVE, ctl_ok, value);
		CTL_SIZE(CTL_PUB_CLOSE, ctl_ok, value);
		CTL_SIZE(CTL_SUB_JOIN, ctl_ok, value);
		CTL_SIZE(CTL_SUB_REJOIN, ctl_ok, value);
		CTL_SIZE(CTL_SUB_CLOSE, ctl_ok, value);
		CTL_SIZE(CTL_OBSERVE, ctl_ok, value);
		CTL_SIZE(CTL_UNOBSERVE, ctl_ok, value);
		CTL_SIZE(CTL_LEAVE, ctl_ok, value);
	}
	return (struct ctl_size){ 0, 0 };
}

/* On ev, both ways. */
static inline struct ctl_size ctl_size_of_event(uint32_t type)
{
	switch (type) {
		CTL_SIZE(CTL_EV_SEGMENT, ctl_ev_segment, geometry);
		CTL_SIZE(CTL_EV_SEGMENT_GONE, ctl_ev_segment_gone, segment_id);
		CTL_SIZE(CTL_EV_MEMBER, ctl_ev_member, pad);
		CTL_SIZE(CTL_EV_RING, ctl_ev_ring, name);
		CTL_SIZE(CTL_EV_RING_GONE, ctl_ev_ring_gone, ring_id);
		CTL_SIZE(CTL_EV_BYE, ctl_ev_bye, head);
		CTL_SIZE(CTL_EV_RESUME, ctl_ev_resume, pad);
		CTL_SIZE(CTL_EVC_ACK, ctl_evc, value);
		CTL_SIZE(CTL_EVC_SEGMENT_READY, ctl_evc, value);
		CTL_SIZE(CTL_EVC_WANT_BELL, ctl_evc, value);
		CTL_SIZE(CTL_EVC_RESEND, ctl_evc, value);
		CTL_SIZE(CTL_EVC_RING_DONE, ctl_evc, value);
		CTL_SIZE(CTL_EVC_LYING, ctl_evc, value);
	}
	return (struct ctl_size){ 0, 0 };
}
#undef CTL_SIZE

static inline struct ctl_size ctl_size_of(uint32_t type)
{
	if (type == CTL_ERROR)
		return (struct ctl_size){ offsetof(struct ctl_error, why) + CTL_WHY_MAX,
					  sizeof(struct ctl_error) };
	return type & CTL_REPLY                  ? ctl_size_of_reply(type & ~(uint32_t)CTL_REPLY)
	       : type < (uint32_t)CTL_TYPE_COUNT ? ctl_size_of_request(type)
						 : ctl_size_of_event(type);
}

/*
 * Makes a message that was received one of this version: what its sender does not have is zero. bytes
 * has room for CTL_MAX. 0; -EPROTO: there is no such message, or it is too short; -E2BIG: it says
 * something that this version does not know.
 */
static inline int ctl_fit(void *bytes, size_t len)
{
	const struct ctl_head *head = bytes;
	uint8_t *byte = bytes;
	struct ctl_size size;

	if (len < sizeof(*head) || len > CTL_MAX || head->len != len)
		return -EPROTO;
	size = ctl_size_of(head->type);
	if (size.known == 0 || len < size.least)
		return -EPROTO;
	if (len < size.known)
		memset(byte + len, 0, size.known - len);
	for (size_t i = size.known; i < len; i++)
		if (byte[i] != 0)
			return head->type == CTL_HELLO || head->type == CTL_ERROR ? 0 : -E2BIG;
	return 0;
}

/* The version that both speak, the highest; 0: there is none. max and min: what the other said. */
static inline uint16_t ctl_spoken(uint16_t max, uint16_t min)
{
	uint16_t most = max < CTL_VERSION ? max : CTL_VERSION;

	if (min == 0)
		min = max;
	return min <= most && most >= CTL_VERSION_MIN ? most : 0;
}

#endif
