/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_ask.c - what only busd knows: itself, its clients, namespaces. Questions over a connection; what
 * the memory says is stat.c's matter.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/bus_internal.h"
#include "api/stat_internal.h"

static bool is_childs(const struct bus *bus)
{
	return bus->magic != BUS__MAGIC;
}

/* A string of busd's: it may be newer than we are, and it may not be busd. */
static void copy_text(char *to, size_t size, const char *from, size_t from_size)
{
	size_t len = strnlen(from, from_size);

	if (len >= size)
		len = size - 1;
	memcpy(to, from, len);
	to[len] = 0;
}

int bus_stat_client_next(struct bus *bus, struct bus_stat_client *client)
{
	struct ctl_client_next req = { .head = BUS__HEAD(CTL_CLIENT_NEXT, ctl_client_next) };
	struct ctl_client_next_reply reply;
	int err;

	if (is_childs(bus))
		return bus__fail(-ECHILD, "the connection belongs to the parent process");
	req.after = client->id;
	err = bus__request(bus, &req, &reply, sizeof(reply), NULL, NULL);
	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	if (reply.client_id <= client->id) /* or the walk would not end */
		return bus__fail(-EPROTO, "busd lists its clients in no order");
	*client = (struct bus_stat_client){
		.id = reply.client_id,
		.pid = reply.pid,
		.uid = reply.uid,
		.gid = reply.gid,
		.publishers = reply.publishers,
		.subscriptions = reply.subscriptions,
		.node = reply.node,
		.connected_ns = reply.connected_ns,
		.memory_bytes = reply.memory_bytes,
		.queued = reply.queued,
	};
	copy_text(client->name, sizeof(client->name), reply.name, sizeof(reply.name));
	copy_text(client->command, sizeof(client->command), reply.command, sizeof(reply.command));
	return 1;
}

int bus_stat_daemon(struct bus *bus, struct bus_stat_daemon *ret)
{
	struct ctl_head req = { .type = CTL_INFO, .version = CTL_VERSION, .len = sizeof(req) };
	struct ctl_info_reply reply;
	int err;

	if (is_childs(bus))
		return bus__fail(-ECHILD, "the connection belongs to the parent process");
	err = bus__request(bus, &req, &reply, sizeof(reply), NULL, NULL);
	if (err < 0)
		return err;
	*ret = (struct bus_stat_daemon){
		.pid = reply.pid,
		.uid = reply.uid,
		.nodes = reply.nodes,
		.private_ = reply.private_,
		.started_ns = reply.started_ns,
		.memory_bytes = reply.memory_bytes,
		.memory_limit = reply.memory_limit,
		.topics = reply.topics,
		.clients = reply.clients,
		.rings = reply.rings,
		.subscriptions = reply.subscriptions,
		.evictions = reply.evictions,
		.max_message_bytes = reply.max_message_bytes,
	};
	copy_text(ret->version, sizeof(ret->version), reply.version, sizeof(reply.version));
	copy_text(ret->socket, sizeof(ret->socket), reply.socket, sizeof(reply.socket));
	return 0;
}

int bus_stat_namespace_next(struct bus *bus, struct bus_stat_namespace *space)
{
	struct ctl_namespace_next req = { .head = BUS__HEAD(CTL_NAMESPACE_NEXT, ctl_namespace_next) };
	struct ctl_namespace_next_reply reply;
	int err;

	if (is_childs(bus))
		return bus__fail(-ECHILD, "the connection belongs to the parent process");
	if (!(bus_load_relaxed(&bus->features) & CTL_FEATURE_NAMESPACES))
		return bus__fail(
			-EOPNOTSUPP,
			"busd at %s is older than this library and does not say what namespaces use; "
			"replace it (busd --upgrade)",
			bus->socket);
	copy_text(req.after, sizeof(req.after), space->name, sizeof(space->name));
	err = bus__request(bus, &req, &reply, sizeof(reply), NULL, NULL);
	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	reply.name[sizeof(reply.name) - 1] = 0;
	if (strcmp(reply.name, req.after) <= 0) /* or the walk would not end */
		return bus__fail(-EPROTO, "busd lists its namespaces in no order");
	*space = (struct bus_stat_namespace){
		.owner = reply.owner,
		.owner_id = reply.owner_id,
		.memory_bytes = reply.memory,
		.memory_limit = reply.memory_limit,
		.topics = reply.topics,
		.topics_limit = reply.topics_limit,
		.rings = reply.rings,
		.rings_limit = reply.rings_limit,
		.clients = reply.clients,
		.clients_limit = reply.clients_limit,
		.configured = reply.configured,
	};
	copy_text(space->name, sizeof(space->name), reply.name, sizeof(reply.name));
	return 1;
}

int bus__stat_namespaces(struct bus *bus, struct bus_stat_namespace **ret)
{
	struct bus_stat_namespace one = { .name = "" }, *all = NULL, *larger;
	int count = 0, room = 0, err;

	while ((err = bus_stat_namespace_next(bus, &one)) > 0) {
		if (count == room) {
			room = room ? 2 * room : 16;
			larger = realloc(all, (size_t)room * sizeof(*all));
			if (!larger) {
				free(all);
				return bus__fail(-ENOMEM,
						 "cannot list the namespaces: out of memory");
			}
			all = larger;
		}
		all[count++] = one;
	}
	if (err < 0 && err != -EOPNOTSUPP) {
		free(all);
		return err;
	}
	*ret = all;
	return count;
}

static int add_absent(struct stat_absent **all, int *count, const struct stat_absent *one)
{
	struct stat_absent *larger;

	if (*count % 16 == 0) {
		larger = realloc(*all, (size_t)(*count + 16) * sizeof(*larger));
		if (!larger)
			return -ENOMEM;
		*all = larger;
	}
	(*all)[(*count)++] = *one;
	return 0;
}

int bus__stat_absent(struct bus *bus, const struct bus_stat_topic *topics, int topic_count,
		     struct stat_absent **ret)
{
	struct stat_absent *all = NULL;
	int count = 0, err;

	if (!(bus_load_relaxed(&bus->features) & CTL_FEATURE_POSITIONS))
		return 0;
	for (int i = 0; i < topic_count; i++) {
		struct stat_absent one = { .topic = i };

		/* whoever may not subscribe sees the topic, and not who reads it */
		while (topics[i].log.state != BUS_LOG_NONE &&
		       (err = bus_position_next(bus, topics[i].name, &one.position)) > 0) {
			if (one.position.held || add_absent(&all, &count, &one) == 0)
				continue;
			free(all);
			return bus__fail(-ENOMEM, "cannot list positions: out of memory");
		}
	}
	*ret = all;
	return count;
}
