/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_topic.c - a stream's log by its topic's name: busd hands over a descriptor of each segment when its
 * reader comes to it. The files are busd's alone; the right to subscribe is what counts, and busd decides that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/log_internal.h"
#include "api/opts.h"

static int take_fd(int *fds, int nfds, struct log_place *ret)
{
	if (nfds > 1 || (nfds == 1 && ret->segments == 0)) {
		while (nfds > 0)
			close(fds[--nfds]);
		return bus__fail(-EPROTO, "busd handed over more than one segment of a log");
	}
	ret->fd = nfds == 1 ? fds[0] : -1;
	return 0;
}

static int get(struct log_origin *of, uint64_t seq, struct log_place *ret)
{
	struct bus__origin *origin = BUS_CONTAINER_OF(of, struct bus__origin, origin);
	struct ctl_log_segment req = { .head = BUS__HEAD(CTL_LOG_SEGMENT, ctl_log_segment),
				       .seq = seq };
	struct ctl_log_segment_reply reply;
	int fds[CTL_MAX_FDS], nfds = CTL_MAX_FDS, err;
	struct bus *bus = origin->bus;

	if (bus->magic != BUS__MAGIC)
		return bus__fail(-ECHILD, "this connection belongs to the parent process");
	bus__settle(bus);
	if (!(bus_load_relaxed(&bus->features) & CTL_FEATURE_LOGS))
		return bus__fail(
			-EOPNOTSUPP,
			"busd at %s is older than this library and hands no logs over; replace it (busd --upgrade)",
			bus->socket);
	memcpy(req.topic, origin->topic, sizeof(req.topic));
	err = bus__request(bus, &req, &reply, sizeof(reply), fds, &nfds);
	if (err < 0)
		return err;
	*ret = (struct log_place){ .segments = reply.segments,
				   .base_seq = reply.base_seq,
				   .next_seq = reply.next_seq,
				   .oldest_seq = reply.oldest_seq,
				   .written_seq = reply.written_seq,
				   .durable_seq = reply.durable_seq,
				   .head_seq = reply.head_seq,
				   .disk_bytes = reply.disk_bytes };
	static_assert(sizeof(ret->uuid) == sizeof(reply.uuid), "one uuid");
	memcpy(ret->uuid, reply.uuid, sizeof(ret->uuid));
	return take_fd(fds, nfds, ret);
}

void bus__origin_init(struct bus__origin *origin, struct bus *bus, const char *topic)
{
	*origin = (struct bus__origin){ .origin = { .get = get }, .bus = bus };
	strncpy(origin->topic, topic, sizeof(origin->topic) - 1);
}

static int open_topic(struct bus_log *log, struct bus *bus, const char *topic)
{
	int err;

	log->origin = calloc(1, sizeof(*log->origin));
	if (log->origin == NULL)
		return bus__fail(-ENOMEM, "bus_log_open_topic: no memory");
	bus__origin_init(log->origin, bus, topic);
	err = log_dir_open_origin(&log->dir, &log->origin->origin, 0,
				  (log->flags & BUS_LOG_ANY_VERSION) != 0);
	if (err < 0)
		return bus__log_failed(log, err, "open the log of");
	strncpy(log->dir.topic, topic, sizeof(log->dir.topic) - 1);
	err = log_reader_open(&log->reader, &log->dir);
	return err < 0 ? bus__fail(err, "bus_log_open_topic: no memory") : 0;
}

int bus_log_open_topic(struct bus_log **ret, struct bus *bus, const char *topic,
		       const struct bus_log_opts *opts)
{
	struct bus_log_opts o;
	struct bus_log *log;
	int err = bus__opts_copy(&o, sizeof(o), opts);

	bus__why_clear();
	if (err)
		return bus__fail(err, "bus_log_open_topic: bad options");
	if (ret == NULL || bus == NULL || topic == NULL || (o.flags & ~BUS_LOG_ANY_VERSION) != 0)
		return bus__fail(-EINVAL, "bus_log_open_topic: bad arguments");
	err = bus__check_topic(topic);
	if (err < 0)
		return err;
	log = bus__log_new(topic);
	if (log == NULL)
		return bus__fail(-ENOMEM, "bus_log_open_topic: no memory");
	log->flags = o.flags;
	err = open_topic(log, bus, topic);
	if (err < 0) {
		bus_log_close(log);
		return err;
	}
	*ret = log;
	return 0;
}

#define LAST_TRIES 1000

/* Of the last good message: those right before the end may be damaged. */
static void last_time(struct bus_log *log, struct bus_log_info *info)
{
	const struct log_dir *dir = &log->dir;
	struct log_segment seg;
	uint64_t seq;

	if (info->end_seq == 0 || log_dir_aim(&log->dir, info->end_seq - 1) < 0 ||
	    dir->segments == 0 || log_dir_segment(dir, dir->segments - 1, &seg) < 0)
		return;
	seq = bus_min_u64(info->end_seq, seg.limit);
	for (int i = 0; i < LAST_TRIES && seq > seg.header.base_seq; i++, seq--)
		if (log_segment_time(&seg, seq - 1, seq, &info->last_time_ns) < seq)
			break;
	log_segment_close(&seg);
}

int bus__log_topic_info(struct bus_log *log, struct bus_log_info *ret)
{
	struct bus_log_info info = { .segments = 0 };
	struct log_dir *dir = &log->dir;
	int err;

	dir->around = 0;
	err = log_dir_refresh(dir);
	if (err < 0)
		return bus__log_failed(log, err, "ask about");
	memcpy(info.topic, dir->topic, sizeof(info.topic));
	memcpy(info.uuid, dir->uuid, sizeof(info.uuid));
	info.segments = dir->known.segments;
	info.bytes = dir->known.disk_bytes;
	info.end_seq = dir->known.written_seq;
	info.first_seq = info.segments ? bus_min_u64(dir->known.oldest_seq, info.end_seq)
				       : info.end_seq;
	info.synced_seq = bus_min_u64(dir->known.durable_seq, info.end_seq);
	info.messages = info.end_seq - info.first_seq;
	if (info.messages > 0 && dir->segments > 0) {
		bus__log_first_time(log, &info);
		last_time(log, &info);
	}
	*ret = info;
	return 0;
}
