/* SPDX-License-Identifier: Apache-2.0 */
/*
 * position.c - where durable subscriptions stand, shown and moved: plain control requests.
 */
#include <errno.h>
#include <string.h>

#include "api/bus_internal.h"

static_assert((int)BUS_POSITION_REMOVE == (int)CTL_POSITION_REMOVE &&
		      (int)BUS_POSITION_NEW == (int)CTL_POSITION_NEW,
	      "flags travel as they are");

static int check(struct bus *bus, const char *topic)
{
	if (bus == NULL || topic == NULL)
		return bus__fail(-EINVAL, "no connection, or no topic");
	if (bus->magic != BUS__MAGIC)
		return bus__fail(-ECHILD,
				 "this connection belongs to the parent process; connect anew");
	if (!(bus_load_relaxed(&bus->features) & CTL_FEATURE_POSITIONS))
		return bus__fail(-EOPNOTSUPP,
				 "busd at %s is older than this library and has no durable subscriptions; "
				 "replace it (busd --upgrade)",
				 bus->socket);
	return bus__check_topic(topic);
}

int bus_position_next(struct bus *bus, const char *topic, struct bus_position *info)
{
	struct ctl_position_next req = { .head = BUS__HEAD(CTL_POSITION_NEXT, ctl_position_next) };
	struct ctl_position_next_reply r;
	int err;

	bus__why_clear();
	if (info == NULL || strnlen(info->name, sizeof(info->name)) == sizeof(info->name))
		return bus__fail(-EINVAL, "bus_position_next: bad arguments");
	err = check(bus, topic);
	if (err < 0)
		return err;
	strcpy(req.topic, topic);
	strcpy(req.after, info->name);
	err = bus__request(bus, &req, &r, sizeof(r), NULL, NULL);
	if (err < 0)
		return err;
	r.name[sizeof(r.name) - 1] = r.holder[sizeof(r.holder) - 1] = 0;
	if (r.name[0] == 0)
		return 0;
	if (strcmp(r.name, req.after) <= 0) /* or the walk would not end */
		return bus__fail(-EPROTO, "busd lists positions in no order");
	*info = (struct bus_position){
		.uid = r.uid,
		.held = r.sub_id != 0,
		.holder_pid = r.holder_pid,
		.holder_uid = r.holder_uid,
		.seq = r.seq,
		.kept_seq = r.kept_seq,
		.head_seq = r.head_seq,
		.oldest_seq = r.oldest_seq,
		.unread_ns = r.unread_ns,
		.moved_ns = r.moved_ns,
		.created_ns = r.created_ns,
	};
	memcpy(info->name, r.name, sizeof(info->name));
	memcpy(info->holder, r.holder, sizeof(info->holder));
	return 1;
}

int bus_position_set(struct bus *bus, const char *topic, const char *name, uint64_t from,
		     uint64_t to, uint32_t flags)
{
	struct ctl_position_set req = { .head = BUS__HEAD(CTL_POSITION_SET, ctl_position_set),
					.from = from,
					.to = to,
					.flags = flags };
	struct ctl_ok ok;
	int err;

	bus__why_clear();
	err = check(bus, topic);
	if (err < 0)
		return err;
	if (name == NULL || name[0] == 0 || strlen(name) > BUS_NAME_MAX)
		return bus__fail(-EINVAL, "a durable subscription's name has 1 to %d bytes",
				 BUS_NAME_MAX);
	if ((flags & ~(BUS_POSITION_REMOVE | BUS_POSITION_NEW)) != 0 ||
	    flags == (BUS_POSITION_REMOVE | BUS_POSITION_NEW))
		return bus__fail(-EINVAL, "bus_position_set: bad flags %#x", flags);
	strcpy(req.topic, topic);
	strcpy(req.name, name);
	return bus__request(bus, &req, &ok, sizeof(ok), NULL, NULL);
}
