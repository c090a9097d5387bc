/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_source.c - see stat_source.h
 */
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stat_source.h"
#include "stat_take.h"
#include "tool.h"

/* Who can look without busd does not wait as long for one that stands still. */
#define IMPATIENT_NS 2000000000

static bool may_be_dead(int err)
{
	return err == -ENOENT || err == -ECONNREFUSED || err == -ENOTDIR || err == -ETIMEDOUT;
}

/* busd did not answer for that reason: what is mapped of it. err again where that is nothing. */
static int look_at_maps(struct stat_source *source, const char *pattern, int err)
{
	size_t len = strlen(source->why);
	int without = bus_stat_open_mapped(&source->stat, tool_socket_path, pattern);

	source->silent = err == -ETIMEDOUT;
	if (without == 0)
		return 0;
	snprintf(source->why + len, sizeof(source->why) - len, "; %s", bus_why(NULL));
	return err;
}

int stat_source_try(struct stat_source *source, const char *pattern)
{
	int err;

	*source = (struct stat_source){ 0 };
	err = bus_connect(&source->bus,
			  BUS_OPTS(connect, .socket = tool_socket_path, .name = "bus-stat",
				   .timeout_ns = geteuid() == 0 ? IMPATIENT_NS : 0,
				   .flags = BUS_CONNECT_NO_AUTOSTART));
	if (err == 0) {
		err = bus_stat_open(&source->stat, source->bus, pattern);
		if (err == 0)
			return 0;
		snprintf(source->why, sizeof(source->why), "%s", bus_why(source->bus));
		if (err == -ETIMEDOUT)
			bus_close(source->bus);
		if (err == -ETIMEDOUT)
			source->bus = NULL;
		return err == -ETIMEDOUT ? look_at_maps(source, pattern, err) : err;
	}
	source->bus = NULL;
	snprintf(source->why, sizeof(source->why), "%s", bus_why(NULL));
	return may_be_dead(err) ? look_at_maps(source, pattern, err) : err;
}

void stat_source_open(struct stat_source *source, const char *pattern)
{
	int err = stat_source_try(source, pattern);

	if (err == 0)
		return;
	if (source->bus)
		tool_fail_bus(source->bus, err, "look at the bus");
	/* nobody who listens is for a script the same as nobody who answers */
	tool_fail(may_be_dead(err) ? TOOL_NOBODY : tool_exit_code(err),
		  "cannot connect to busd: %s", source->why);
}

int stat_source_close(struct stat_source *source)
{
	bool answers = source->bus != NULL;

	bus_stat_close(source->stat);
	bus_close(source->bus);
	*source = (struct stat_source){ 0 };
	return answers ? TOOL_DONE : TOOL_NOBODY;
}

static void living_line(const struct stat_source *source, const struct stat_take *take, char *line,
			size_t size)
{
	struct bus_stat_daemon d;

	if (bus_stat_daemon(source->bus, &d) < 0) {
		snprintf(line, size, "busd does not answer: %s", bus_why(source->bus));
		return;
	}
	snprintf(line, size,
		 "busd %s%s pid %u %s  up %s  %" PRIu64 " client%s  %d topic%s  %s of %s  %s",
		 d.version, d.private_ ? " (private)" : "", d.pid, tool_user(d.uid).s,
		 tool_seconds(take->now_ns > d.started_ns ? take->now_ns - d.started_ns : 0).s,
		 d.clients, d.clients == 1 ? "" : "s", take->topic_count,
		 take->topic_count == 1 ? "" : "s", tool_bytes(d.memory_bytes).s,
		 tool_bytes(d.memory_limit).s, d.socket);
}

static void mapped_line(const struct stat_source *source, const struct stat_take *take, char *line,
			size_t size)
{
	uint64_t now_ns = take ? take->now_ns : tool_unix_time_ns();
	struct bus_stat_mapped m;
	char whose[160] = "", several[80] = "", topics[40] = "";

	if (bus_stat_mapped(source->stat, &m) < 0) {
		snprintf(line, size, "busd is dead");
		return;
	}
	if (m.pid)
		snprintf(whose, sizeof(whose), " (pid %u %s, started %s ago%s)", m.pid,
			 tool_user(m.uid).s,
			 tool_seconds(now_ns > m.started_ns ? now_ns - m.started_ns : 0).s,
			 m.alive ? ", its worker lives" : "");
	if (take)
		snprintf(topics, sizeof(topics), "  %d topic%s", take->topic_count,
			 take->topic_count == 1 ? "" : "s");
	if (m.busds > 1)
		snprintf(several, sizeof(several), ", of %u busds that listened there", m.busds);
	snprintf(line, size, "busd at %s %s%s: this is what %u living process%s still map%s%s%s",
		 m.socket, source->silent ? "does not answer" : "is dead", whose, m.processes,
		 m.processes == 1 ? "" : "es", m.processes == 1 ? "s" : "", several, topics);
}

void stat_source_line(const struct stat_source *source, const struct stat_take *take, char *line,
		      size_t size)
{
	if (source->bus)
		living_line(source, take, line, size);
	else
		mapped_line(source, take, line, size);
	for (char *p = line; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
}

void stat_source_warn(const struct stat_source *source, const struct stat_take *take)
{
	char line[1024];

	if (source->bus)
		return;
	stat_source_line(source, take, line, sizeof(line));
	tool_warn("%s", line);
}

static void mark(json_t *object, const char *state)
{
	if (json_object_set_new(object, "busd", json_string(state)) < 0)
		tool_fail(TOOL_FAILED, "cannot write JSON: out of memory");
}

json_t *stat_source_mark(const struct stat_source *source, json_t *json)
{
	const char *state = source->bus ? "serving" : source->silent ? "silent" : "dead";
	json_t *each;
	size_t i;

	if (json_is_object(json))
		mark(json, state);
	json_array_foreach(json, i, each) mark(each, state);
	return json;
}

/* ---- clients ---- */

static struct stat_client *one_more(struct stat_client **clients, int *count)
{
	struct stat_client *larger = realloc(*clients, ((size_t)*count + 1) * sizeof(*larger));

	if (!larger)
		tool_fail(TOOL_FAILED, "out of memory");
	*clients = larger;
	larger[*count] = (struct stat_client){ 0 };
	return &larger[(*count)++];
}

/* What the process calls itself now. */
static void read_command(struct stat_client *client)
{
	char path[40];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%u/comm", client->now.pid);
	file = fopen(path, "re");
	if (file && fgets(client->now.command, sizeof(client->now.command), file))
		client->now.command[strcspn(client->now.command, "\n")] = 0;
	if (file)
		fclose(file);
}

static struct stat_client *client_of(struct stat_client **clients, int *count, uint64_t id,
				     uint32_t pid, uint32_t uid, const char *name)
{
	struct stat_client *client;

	/* ids of two busds may be the same: the pid tells them apart */
	for (int i = 0; i < *count; i++)
		if ((*clients)[i].now.id == id && (*clients)[i].now.pid == pid)
			return &(*clients)[i];
	client = one_more(clients, count);
	client->now.id = id;
	client->now.pid = pid;
	client->now.uid = uid;
	client->now.gid = UINT32_MAX;
	client->now.node = -1;
	client->gone = true;
	client->by_maps = true;
	snprintf(client->now.name, sizeof(client->now.name), "%s", name);
	return client;
}

static void add_times(struct stat_client *client, uint64_t opened_ns, bool gone)
{
	if (client->now.connected_ns == 0 || opened_ns < client->now.connected_ns)
		client->now.connected_ns = opened_ns;
	client->gone = client->gone && gone;
}

/* A subscription to several topics is one. */
static bool was_counted(const struct stat_take *take, int topic, uint64_t id, uint32_t busd_pid)
{
	for (int i = 0; i < topic; i++)
		for (int k = 0; k < take->topics[i].sub_count; k++)
			if (take->topics[i].subs[k].now.id == id &&
			    take->topics[i].now.busd_pid == busd_pid)
				return true;
	return false;
}

static struct stat_client *clients_of_boards(const struct stat_take *take, int *count)
{
	struct stat_client *clients = NULL, *client;

	for (int i = 0; i < take->topic_count; i++) {
		const struct stat_topic *t = &take->topics[i];

		for (int k = 0; k < t->pub_count; k++) {
			const struct bus_stat_pub *p = &t->pubs[k].now;

			if (p->closed)
				continue;
			client = client_of(&clients, count, p->client_id, p->pid, p->uid, p->name);
			client->now.publishers++;
			add_times(client, p->opened_ns, p->gone);
		}
		for (int k = 0; k < t->sub_count; k++) {
			const struct bus_stat_sub *s = &t->subs[k].now;

			client = client_of(&clients, count, s->client_id, s->pid, s->uid, s->name);
			if (!was_counted(take, i, s->id, t->now.busd_pid))
				client->now.subscriptions++;
			add_times(client, s->opened_ns, s->gone);
		}
	}
	for (int i = 0; i < *count; i++)
		if (!clients[i].gone)
			read_command(&clients[i]);
	return clients;
}

struct stat_client *stat_source_clients(const struct stat_source *source,
					const struct stat_take *take, int *count)
{
	struct bus_stat_client c = { .id = 0 };
	struct stat_client *clients = NULL;
	int n;

	*count = 0;
	if (!source->bus)
		return clients_of_boards(take, count);
	while ((n = bus_stat_client_next(source->bus, &c)) > 0)
		one_more(&clients, count)->now = c;
	if (n < 0)
		tool_fail_bus(source->bus, n, "list the clients");
	return clients;
}

/* ---- namespaces ---- */

struct bus_stat_namespace *stat_namespaces(struct bus *bus, int *count)
{
	struct bus_stat_namespace one = { .name = "" }, *all = NULL, *larger;
	int n;

	*count = 0;
	while ((n = bus_stat_namespace_next(bus, &one)) > 0) {
		larger = realloc(all, ((size_t)*count + 1) * sizeof(*all));
		if (!larger)
			tool_fail(TOOL_FAILED, "out of memory");
		all = larger;
		all[(*count)++] = one;
	}
	if (n < 0)
		tool_fail_bus(bus, n, "list the namespaces");
	return all;
}

struct tool_text stat_owner(const struct bus_stat_namespace *space)
{
	struct tool_text text;
	const struct group *group;

	switch (space->owner) {
	case BUS_STAT_OWNER_USER:
		return tool_user(space->owner_id);
	case BUS_STAT_OWNER_GROUP:
		group = getgrgid(space->owner_id);
		if (group)
			snprintf(text.s, sizeof(text.s), "group:%.40s", group->gr_name);
		else
			snprintf(text.s, sizeof(text.s), "group:%u", space->owner_id);
		return text;
	default:
		return (struct tool_text){ "-" };
	}
}
