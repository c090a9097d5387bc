/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sub_durable.c - a durable subscription: where it begins, and what it says of how far it has come. busd looks at the
 * word `acked` of its cursor segment; nothing is sent for a message. The cursor of the ring is not that word: it
 * passes over what was overwritten, and it is in another ring where another busd serves, before the former one is read
 * to its end.
 */
#include <errno.h>
#include <string.h>

#include "api/sub_internal.h"
#include "format/topic_name.h"

int bus__durable_opts(struct bus_sub *sub, const struct bus_sub_opts *o)
{
	const size_t len = strnlen(o->durable, sizeof(sub->like.durable));

	if (len == 0 || len == sizeof(sub->like.durable))
		return bus__fail(-EINVAL, "a durable subscription's name has 1 to %d bytes",
				 BUS_NAME_MAX);
	if (topic_is_wild(sub->like.pattern))
		return bus__fail(
			-EINVAL,
			"\"%s\" may match several topics, and a durable subscription is one stream's: name that",
			sub->like.pattern);
	memcpy(sub->like.durable, o->durable, len);
	sub->acks_apart = (o->flags & BUS_SUB_ACK) != 0;
	return 0;
}

int bus__durable_check(const struct bus_sub *sub)
{
	if (sub->like.durable[0] == 0 || bus_load_relaxed(&sub->bus->features) & CTL_FEATURE_POSITIONS)
		return 0;
	return bus__fail(-EOPNOTSUPP,
			 "busd at %s is older than this library and has no durable subscriptions; "
			 "replace it (busd --upgrade)",
			 sub->bus->socket);
}

void bus__durable_begin(struct bus_sub *sub, uint64_t position)
{
	sub->durable = sub->like.durable[0] != 0;
	if (!sub->durable || position == 0)
		return;
	if (sub->spare_former == NULL) { /* an heir goes on where the former busd's ring ends for it */
		sub->start = BUS_START_SEQ;
		sub->start_seq = position - 1;
		sub->start_time_ns = 0; /* nor is anything unread too old */
		for (uint32_t i = 0; i < sub->ring_count; i++)
			sub->rings[i]->after_ns = 0;
	}
	sub->released = position;
	bus__durable_ack(sub);
}

#define ASK_NS 250000000u /* for busd's answer, where the disk is not waited for */

/* busd answers within a second or so, and says how far the disk is: it is asked again. */
static int settle(struct bus_sub *sub, int64_t timeout_ns)
{
	struct ctl_sub_settle req = { .head = BUS__HEAD(CTL_SUB_SETTLE, ctl_sub_settle) };
	const uint64_t began = bus_monotonic_ns();
	uint64_t left = timeout_ns < 0 ? UINT64_MAX - 1 : (uint64_t)timeout_ns;
	struct ctl_ok ok;
	int err;

	for (;;) {
		req.sub_id = sub->id;
		req.within_ns = left + 1;
		err = bus__request_within(sub->bus, sub->gen,
					  bus_min_u64(sub->bus->timeout_ns, left > 0 ? left : ASK_NS),
					  &req, &ok, sizeof(ok));
		if (err < 0 && err != -ETIMEDOUT)
			return err;
		if (err == 0 && ok.value >= sub->acked)
			return 0;
		if (timeout_ns < 0)
			continue;
		left = bus_monotonic_ns() - began;
		if (left >= (uint64_t)timeout_ns)
			break;
		left = (uint64_t)timeout_ns - left;
	}
	if (err < 0)
		return err;
	return bus__fail(
		-ETIMEDOUT,
		"how far \"%s\" is on stream \"%s\" is not on disk within %.1f s; is the disk slow, or full (bus-topic info)?",
		sub->like.durable, sub->like.pattern, (double)timeout_ns / 1e9);
}

int bus_sub_ack(struct bus_sub *sub)
{
	if (sub->magic != BUS__SUB_MAGIC)
		return -ECHILD;
	if (!sub->durable)
		return -EINVAL;
	bus__durable_ack(sub);
	return 0;
}

int bus_sub_settle(struct bus_sub *sub, int64_t timeout_ns)
{
	bus__why_clear();
	if (sub == NULL)
		return bus__fail(-EINVAL, "bus_sub_settle: no subscription");
	if (sub->magic != BUS__SUB_MAGIC)
		return bus__fail(-ECHILD, "this subscription belongs to the parent process");
	if (!sub->durable)
		return bus__fail(-EINVAL, "subscription \"%s\" is not durable", sub->like.pattern);
	bus__sub_look(sub, true);
	return settle(sub, timeout_ns);
}

int bus__durable_joined(struct bus_sub *sub)
{
	if (!sub->durable || sub->acked != 0)
		return 0;
	for (uint32_t i = 0; i < sub->ring_count; i++)
		if (sub->rings[i]->stream != NULL)
			sub->released = sub->rings[i]->rd.cur + 1;
	bus__durable_ack(sub);
	if (sub->acked == 0)
		return bus__fail(-ESHUTDOWN, "the stream \"%s\" has ended", sub->like.pattern);
	/* or who dies before busd looks would begin anew, behind what came meanwhile */
	return settle(sub, (int64_t)sub->bus->timeout_ns);
}

void bus__durable_move(struct bus_sub *sub)
{
	if (sub->durable && sub->acked != 0)
		bus_store_release(&sub->cursors->acked, sub->acked);
}
