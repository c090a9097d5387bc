/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic.c - creating, removing and listing topics: plain control requests.
 */
#include <errno.h>
#include <string.h>

#include "api/bus_internal.h"
#include "api/opts.h"
#include "format/topic_name.h"

static_assert((int)BUS_TOPIC_HUGE == (int)CTL_TOPIC_HUGE &&
		      (int)BUS_TOPIC_HUGE_OR_NOT == (int)CTL_TOPIC_HUGE_OR_NOT &&
		      (int)BUS_TOPIC_EXCLUSIVE == (int)CTL_TOPIC_EXCLUSIVE &&
		      (int)BUS_TOPIC_FORCE == (int)CTL_TOPIC_FORCE &&
		      (int)BUS_TOPIC_STREAM == (int)CTL_TOPIC_STREAM,
	      "flags travel as they are");
static_assert((int)BUS_SYNC_NONE == (int)CTL_SYNC_NONE &&
		      (int)BUS_SYNC_INTERVAL == (int)CTL_SYNC_INTERVAL &&
		      (int)BUS_SYNC_BATCH == (int)CTL_SYNC_BATCH &&
		      (int)BUS_SYNC_MEMORY == (int)CTL_SYNC_MEMORY,
	      "policies travel as they are");
static_assert((int)BUS_ON_FULL_BLOCK == (int)CTL_ON_FULL_BLOCK &&
		      (int)BUS_ON_FULL_DROP == (int)CTL_ON_FULL_DROP,
	      "so do these");
static_assert(BUS_TOPIC_MAX + 1 == CTL_TOPIC_MAX && BUS_NAME_MAX + 1 == CTL_NAME_MAX, "limits agree");

int bus_topic_create(struct bus *bus, const char *topic, const struct bus_topic_opts *opts)
{
	struct ctl_topic_create req = { .head = BUS__HEAD(CTL_TOPIC_CREATE, ctl_topic_create) };
	struct bus_topic_opts o;
	struct ctl_ok ok;
	int err;

	if (bus == NULL)
		return bus__fail(-EINVAL, "bus_topic_create: no connection");
	err = bus__opts_copy(&o, sizeof(o), opts);
	if (err < 0)
		return bus__fail(err, "bus_topic_create: bad options");
	err = bus__check_topic(topic);
	if (err < 0)
		return err;
	if (o.flags &
	    ~(BUS_TOPIC_HUGE | BUS_TOPIC_HUGE_OR_NOT | BUS_TOPIC_EXCLUSIVE | BUS_TOPIC_STREAM))
		return bus__fail(-EINVAL, "bus_topic_create: unknown flags %#x", o.flags);
	req.settings = (struct ctl_topic_settings){ .slots = o.slots,
						    .numa = o.numa,
						    .bytes = o.bytes,
						    .max_bytes = o.max_bytes,
						    .flags = o.flags };
	req.stream_slots = o.stream_slots;
	req.stream_bytes = o.stream_bytes;
	req.log = (struct ctl_log_settings){ .sync = o.sync,
					     .on_full = o.on_full,
					     .interval_ns = o.sync_interval_ns,
					     .max_age_ns = o.max_age_ns,
					     .max_bytes = o.max_log_bytes,
					     .max_messages = o.max_messages };
	strcpy(req.topic, topic);
	return bus__request(bus, &req, &ok, sizeof(ok), NULL, NULL);
}

int bus_topic_remove(struct bus *bus, const char *topic, uint32_t flags)
{
	struct ctl_topic_remove req = { .head = BUS__HEAD(CTL_TOPIC_REMOVE, ctl_topic_remove),
					.flags = flags };
	struct ctl_ok ok;
	int err;

	if (bus == NULL || (flags & ~BUS_TOPIC_FORCE))
		return bus__fail(-EINVAL, "bus_topic_remove: bad arguments");
	err = bus__check_topic(topic);
	if (err < 0)
		return err;
	strcpy(req.topic, topic);
	return bus__request(bus, &req, &ok, sizeof(ok), NULL, NULL);
}

static void fill_info(struct bus_topic_info *info, const struct ctl_topic_next_reply *r)
{
	memset(info, 0, sizeof(*info));
	memcpy(info->name, r->topic, sizeof(info->name) - 1);
	info->slots = r->settings.slots;
	info->numa = r->settings.numa;
	info->bytes = r->settings.bytes;
	info->max_bytes = r->settings.max_bytes;
	info->flags = r->settings.flags;
	info->stream_slots = r->stream_slots;
	info->explicit_ = r->explicit_;
	info->publishers = r->publishers;
	info->subscribers = r->subscribers;
	info->rings = r->rings;
	info->memory_bytes = r->memory_bytes;
	info->created_ns = r->created_ns;
	info->sync = r->log.sync;
	info->on_full = r->log.on_full;
	info->sync_interval_ns = r->log.interval_ns;
	info->max_age_ns = r->log.max_age_ns;
	info->max_log_bytes = r->log.max_bytes;
	info->max_messages = r->log.max_messages;
	info->log_state = r->disk.state;
	info->head_seq = r->disk.head_seq;
	info->durable_seq = r->disk.durable_seq;
	info->oldest_seq = r->disk.oldest_seq;
	info->lag_bytes = r->disk.lag_bytes;
	info->disk_bytes = r->disk.disk_bytes;
	info->segments = r->disk.segments;
	info->disk_errors = r->disk.errors;
	info->disk_full = r->disk.full;
	info->disk_lost = r->disk.lost;
	info->dropped = r->disk.dropped;
	memcpy(info->io, r->disk.io, sizeof(info->io) - 1);
	memcpy(info->io_why, r->disk.io_why, sizeof(info->io_why) - 1);
	memcpy(info->log_why, r->disk.why, sizeof(info->log_why) - 1);
}

int bus_topic_next(struct bus *bus, const char *pattern, struct bus_topic_info *info)
{
	struct ctl_topic_next req = { .head = BUS__HEAD(CTL_TOPIC_NEXT, ctl_topic_next) };
	struct ctl_topic_next_reply reply;
	const char *why;
	int err;

	if (bus == NULL || info == NULL ||
	    strnlen(info->name, sizeof(info->name)) == sizeof(info->name))
		return bus__fail(-EINVAL, "bus_topic_next: bad arguments");
	if (pattern == NULL)
		pattern = ">";
	why = topic_pattern_check(pattern);
	if (why != NULL)
		return bus__fail(-EINVAL, "\"%.255s\" is not a pattern: %s", pattern, why);
	strcpy(req.pattern, pattern);
	strcpy(req.after, info->name);
	err = bus__request(bus, &req, &reply, sizeof(reply), NULL, NULL);
	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	fill_info(info, &reply);
	return 1;
}
