/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus-topic.c - creates, removes, lists and describes topics.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"
#include "topic_position.h"

enum {
	OPT_SLOTS = TOOL_LONG,
	OPT_BYTES,
	OPT_MAX_BYTES,
	OPT_NUMA,
	OPT_HUGE,
	OPT_EXCLUSIVE,
	OPT_FORCE,
	OPT_JSON,
	OPT_STREAM,
	OPT_STREAM_SLOTS,
	OPT_STREAM_BYTES,
	OPT_MAX_AGE,
	OPT_MAX_MESSAGES,
	OPT_SYNC,
	OPT_ON_FULL,
	OPT_TO,
	OPT_SKIP,
	OPT_DELETE,
	OPT_EXECUTE,
};

static const struct tool_option options[] = {
	{ OPT_SLOTS, "slots", "N", "create: messages that each ring holds (4096)" },
	{ OPT_BYTES, "bytes", "B", "create: payload that each ring holds (256K)" },
	{ OPT_MAX_BYTES, "max-bytes", "B",
	  "create: how far a ring may grow for a large message;\ncreate --stream: what is kept on disk" },
	{ OPT_NUMA, "numa", "WHERE",
	  "create: memory on NUMA node N, auto (where the first\nsubscriber runs; default) or interleave" },
	{ OPT_HUGE, "huge", "[=or-not]",
	  "create: rings in huge pages; or-not: in ordinary ones where\nthe pool is short" },
	{ OPT_EXCLUSIVE, "exclusive", NULL, "create: fail where the topic exists" },
	{ OPT_FORCE, "force", NULL, "rm: also while the topic is in use; never ask" },
	{ OPT_JSON, "json", NULL, "ls, info, positions: as JSON" },
	{ OPT_STREAM, "stream", NULL,
	  "create: all publishers' messages in one order, numbered, on\ndisk (see busd(8), --data-dir)" },
	{ OPT_STREAM_SLOTS, "stream-slots", "N", "create --stream: messages that it holds (65536)" },
	{ OPT_STREAM_BYTES, "stream-bytes", "B", "create --stream: payload that it holds (16M)" },
	{ OPT_MAX_AGE, "max-age", "TIME", "create --stream: how long messages are kept" },
	{ OPT_MAX_MESSAGES, "max-messages", "N", "create --stream: how many are kept" },
	{ OPT_SYNC, "sync", "HOW",
	  "create --stream: none, interval:MS, batch (default): when\nmessages are durable; memory: they are not on disk" },
	{ OPT_ON_FULL, "on-full", "WHAT",
	  "create --stream: block (default) or drop: what becomes of\nmessages that the disk does not let it take" },
	{ OPT_TO, "to", "WHERE",
	  "position: move it to seq:N, oldest, now (behind the last\nmessage), time:T, -1h or -N; one that is not there is made" },
	{ OPT_SKIP, "skip", "N", "position: pass over N messages" },
	{ OPT_DELETE, "delete", NULL, "position: delete it" },
	{ OPT_EXECUTE, "execute", NULL, "position: do it; else it is only said what would happen" },
	{ 0 },
};

static const struct tool tool = {
	"bus-topic",
	"create [OPTION...] TOPIC\nrm [--force] TOPIC\nls [--json] [PATTERN]\ninfo [--json] TOPIC\n"
	"positions [--json] TOPIC\nposition [--to WHERE|--skip N|--delete] [--execute] TOPIC NAME",
	"Creates, removes, lists and describes topics. Publishing creates a topic too;\n"
	"such a one goes with its last user, one that was created stays. Shows and moves\n"
	"the positions of durable subscriptions.",
	options,
};

struct job {
	struct bus_topic_opts opts;
	bool force, json;
	bool settings_given;     /* options that only create knows */
	const char *stream_only; /* one that only a stream takes; NULL */
	const char *name;        /* of a durable subscription */
	struct position_change change;
	const char *change_given; /* an option of `position`; NULL */
};

/* ---- command line ---- */

static void set_numa(struct job *job, const char *text)
{
	if (strcmp(text, "auto") == 0)
		job->opts.numa = BUS_NUMA_AUTO;
	else if (strcmp(text, "interleave") == 0)
		job->opts.numa = BUS_NUMA_INTERLEAVE;
	else if (text[0] >= '0' && text[0] <= '9')
		job->opts.numa = BUS_NUMA_NODE((int32_t)tool_number("--numa", text, 0, 1023));
	else
		tool_fail_usage("--numa: \"%s\" is not a node's number, auto or interleave", text);
}

static void set_huge(struct job *job, const char *text)
{
	if (text && strcmp(text, "or-not") != 0)
		tool_fail_usage("--huge: \"%s\" is unknown, there is --huge and --huge=or-not", text);
	job->opts.flags |= text ? BUS_TOPIC_HUGE_OR_NOT : BUS_TOPIC_HUGE;
}

static void set_sync(struct job *job, const char *text)
{
	if (strcmp(text, "none") == 0)
		job->opts.sync = BUS_SYNC_NONE;
	else if (strcmp(text, "batch") == 0)
		job->opts.sync = BUS_SYNC_BATCH;
	else if (strcmp(text, "memory") == 0)
		job->opts.sync = BUS_SYNC_MEMORY;
	else if (strncmp(text, "interval:", 9) == 0)
		job->opts.sync = BUS_SYNC_INTERVAL;
	else
		tool_fail_usage("--sync: \"%s\" is not none, interval:MS, batch or memory", text);
	job->opts.sync_interval_ns = 0;
	if (job->opts.sync == BUS_SYNC_INTERVAL)
		job->opts.sync_interval_ns =
			tool_number("--sync=interval", text + 9, 1, 3600000) * 1000000;
}

static void set_on_full(struct job *job, const char *text)
{
	if (strcmp(text, "drop") == 0)
		job->opts.on_full = BUS_ON_FULL_DROP;
	else if (strcmp(text, "block") == 0)
		job->opts.on_full = BUS_ON_FULL_BLOCK;
	else
		tool_fail_usage("--on-full: \"%s\" is not block or drop", text);
}

/* What one option means depends on another, which may come later. */
static void check_stream(struct job *job)
{
	if (job->opts.flags & BUS_TOPIC_STREAM) {
		job->opts.max_log_bytes = job->opts.max_bytes;
		job->opts.max_bytes = 0;
	} else if (job->stream_only) {
		tool_fail_usage("%s is for a stream: add --stream", job->stream_only);
	}
}

static void set_change(struct job *job, int opt)
{
	struct position_change *change = &job->change;

	switch (opt) {
	case OPT_TO:
		position_parse_to(optarg, &change->to);
		change->moves = true;
		job->change_given = "--to";
		break;
	case OPT_SKIP:
		change->skip = tool_number("--skip", optarg, 1, UINT64_MAX / 2);
		job->change_given = "--skip";
		break;
	case OPT_DELETE:
		change->remove = true;
		job->change_given = "--delete";
		break;
	case OPT_EXECUTE:
		change->execute = true;
		job->change_given = job->change_given ? job->change_given : "--execute";
		break;
	}
	if (change->moves + (change->skip != 0) + change->remove > 1)
		tool_fail_usage("--to, --skip and --delete exclude each other");
}

static void set_option(struct job *job, int opt)
{
	if (opt >= OPT_TO) {
		set_change(job, opt);
		return;
	}
	if (opt != OPT_FORCE && opt != OPT_JSON)
		job->settings_given = true;
	switch (opt) {
	case OPT_SLOTS:
		job->opts.slots = (uint32_t)tool_number("--slots", optarg, 16, 1u << 26);
		break;
	case OPT_BYTES:
		job->opts.bytes = tool_size("--bytes", optarg, 1, UINT64_MAX / 2);
		break;
	case OPT_MAX_BYTES:
		job->opts.max_bytes = tool_size("--max-bytes", optarg, 1, UINT64_MAX / 2);
		break;
	case OPT_NUMA:
		set_numa(job, optarg);
		break;
	case OPT_HUGE:
		set_huge(job, optarg);
		break;
	case OPT_EXCLUSIVE:
		job->opts.flags |= BUS_TOPIC_EXCLUSIVE;
		break;
	case OPT_FORCE:
		job->force = true;
		break;
	case OPT_JSON:
		job->json = true;
		break;
	case OPT_STREAM:
		job->opts.flags |= BUS_TOPIC_STREAM;
		break;
	case OPT_STREAM_SLOTS:
		job->opts.stream_slots =
			(uint32_t)tool_number("--stream-slots", optarg, 16, 1u << 26);
		break;
	case OPT_STREAM_BYTES:
		job->opts.stream_bytes = tool_size("--stream-bytes", optarg, 1, UINT64_MAX / 2);
		break;
	case OPT_MAX_AGE:
		job->opts.max_age_ns = (uint64_t)tool_duration("--max-age", optarg);
		job->stream_only = "--max-age";
		break;
	case OPT_MAX_MESSAGES:
		job->opts.max_messages = tool_number("--max-messages", optarg, 1, UINT64_MAX / 2);
		job->stream_only = "--max-messages";
		break;
	case OPT_SYNC:
		set_sync(job, optarg);
		job->stream_only = "--sync";
		break;
	case OPT_ON_FULL:
		set_on_full(job, optarg);
		job->stream_only = "--on-full";
		break;
	}
}

/* ---- showing ---- */

static const char *numa_text(int32_t numa, char *buf, size_t size)
{
	if (numa == BUS_NUMA_AUTO)
		return "auto";
	if (numa == BUS_NUMA_INTERLEAVE)
		return "interleave";
	snprintf(buf, size, "%d", numa - 1);
	return buf;
}

static const char *huge_text(uint32_t flags)
{
	return flags & BUS_TOPIC_HUGE ? "yes" : flags & BUS_TOPIC_HUGE_OR_NOT ? "or-not" : "no";
}

static json_t *log_to_json(const struct bus_topic_info *info)
{
	return json_pack(
		"{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s}",
		"sync", tool_sync(info->sync, info->sync_interval_ns).s, "state",
		tool_log_state(info->log_state), "on_full",
		info->on_full == BUS_ON_FULL_DROP ? "drop" : "block", "head_seq",
		(json_int_t)info->head_seq, "durable_seq", (json_int_t)info->durable_seq,
		"oldest_seq", (json_int_t)info->oldest_seq, "spill_lag_bytes",
		(json_int_t)info->lag_bytes, "disk_bytes", (json_int_t)info->disk_bytes, "segments",
		(json_int_t)info->segments, "spill_errors", (json_int_t)info->disk_errors,
		"spill_full", (json_int_t)info->disk_full, "spill_lost",
		(json_int_t)info->disk_lost, "spill_dropped", (json_int_t)info->dropped,
		"max_age_ns", (json_int_t)info->max_age_ns, "max_bytes",
		(json_int_t)info->max_log_bytes, "max_messages", (json_int_t)info->max_messages,
		"io", info->io, "io_why", info->io_why, "why", info->log_why);
}

static json_t *topic_to_json(const struct bus_topic_info *info)
{
	char numa[16];

	return json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:I, s:o, s:b, s:I}",
			 "topic", info->name, "explicit", info->explicit_ != 0, "publishers",
			 (json_int_t)info->publishers, "subscribers", (json_int_t)info->subscribers,
			 "rings", (json_int_t)info->rings, "slots", (json_int_t)info->slots,
			 "bytes", (json_int_t)info->bytes, "max_bytes", (json_int_t)info->max_bytes,
			 "numa", numa_text(info->numa, numa, sizeof(numa)), "huge",
			 huge_text(info->flags), "memory_bytes", (json_int_t)info->memory_bytes,
			 "created", tool_json_time(info->created_ns), "stream",
			 (info->flags & BUS_TOPIC_STREAM) != 0, "stream_slots",
			 (json_int_t)info->stream_slots);
}

static json_t *to_json(const struct bus_topic_info *info)
{
	json_t *o = topic_to_json(info);

	if (o && info->log_state != BUS_LOG_NONE)
		json_object_set_new(o, "log", log_to_json(info));
	return o;
}

static void show_row(const struct bus_topic_info *info)
{
	printf("%-32s %5u %5u %5u %8u %8s %9s  %s\n", info->name, info->publishers,
	       info->subscribers, info->rings, info->slots, tool_bytes(info->bytes).s,
	       tool_bytes(info->memory_bytes).s, info->explicit_ ? "created" : "on demand");
}

/* "for 1 d, 1 GiB, 1000 messages"; what there is of it. */
static void show_limits(const struct bus_topic_info *info)
{
	const char *between = "at most ";

	printf("kept         ");
	if (info->max_age_ns) {
		printf("%s%s", between, tool_seconds(info->max_age_ns).s);
		between = ", ";
	}
	if (info->max_log_bytes) {
		printf("%s%s of files", between, tool_bytes(info->max_log_bytes).s);
		between = ", ";
	}
	if (info->max_messages) {
		printf("%s%ju messages", between, (uintmax_t)info->max_messages);
		between = ", ";
	}
	printf("%s\n", between[0] == ',' ? ", by whole files" : "for ever: no limit is set");
}

static void show_log(const struct bus_topic_info *info)
{
	printf("on disk      messages %ju to %ju, %s in %ju file%s\n", (uintmax_t)info->oldest_seq,
	       (uintmax_t)(info->durable_seq ? info->durable_seq - 1 : 0),
	       tool_bytes(info->disk_bytes).s, (uintmax_t)info->segments,
	       info->segments == 1 ? "" : "s");
	show_limits(info);
	printf("sync         %s; %ju of %ju messages durable, %s not written yet\n",
	       tool_sync(info->sync, info->sync_interval_ns).s, (uintmax_t)info->durable_seq,
	       (uintmax_t)info->head_seq, tool_bytes(info->lag_bytes).s);
	printf("log          %s by %s%s%s; the disk reported %ju errors, %ju times no room\n",
	       tool_log_state(info->log_state), info->io[0] ? info->io : "-",
	       info->io_why[0] ? ": " : "", info->io_why, (uintmax_t)info->disk_errors,
	       (uintmax_t)info->disk_full);
	if (info->on_full == BUS_ON_FULL_DROP)
		printf("when full    drops what comes: %ju messages so far\n",
		       (uintmax_t)info->dropped);
	if (info->disk_lost)
		printf("             %ju messages were lost on their way to disk\n",
		       (uintmax_t)info->disk_lost);
	if (info->log_why[0])
		printf("             %s: %s\n",
		       info->log_state == BUS_LOG_RUNNING ? "last trouble" : "now", info->log_why);
}

static void show_one(const struct bus_topic_info *info)
{
	char numa[16];

	printf("topic        %s\n", info->name);
	printf("made         %s, %s\n", info->created_ns ? tool_time(info->created_ns).s : "-",
	       info->explicit_ ? "created: stays until it is removed"
			       : "on demand: goes with its last user");
	if (info->flags & BUS_TOPIC_STREAM)
		printf("stream       the last %u messages in memory, in one order%s\n",
		       info->stream_slots,
		       info->log_state == BUS_LOG_NONE ? "; nothing of it is on disk" : "");
	if (info->log_state != BUS_LOG_NONE)
		show_log(info);
	printf("publishers   %u\n", info->publishers);
	printf("subscribers  %u\n", info->subscribers);
	printf("memory       %s in %u ring%s\n", tool_bytes(info->memory_bytes).s, info->rings,
	       info->rings == 1 ? "" : "s");
	printf("a new ring   %u slots, %s of payload, may grow to %s\n", info->slots,
	       tool_bytes(info->bytes).s,
	       info->max_bytes ? tool_bytes(info->max_bytes).s : "busd's limit");
	printf("numa         %s\n", numa_text(info->numa, numa, sizeof(numa)));
	printf("huge pages   %s\n", huge_text(info->flags));
}

/* ---- the commands ---- */

static int create(struct bus *bus, const struct job *job, const char *topic)
{
	int err = bus_topic_create(bus, topic, &job->opts);

	if (err)
		tool_fail_bus(bus, err, "create topic \"%s\"", topic);
	return TOOL_DONE;
}

/* A person is asked before messages on disk go for ever; a script means what it says. */
static bool is_meant(struct bus *bus, const char *topic)
{
	struct bus_topic_info info = { .name = "" };
	char answer[16];

	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO) ||
	    bus_topic_next(bus, topic, &info) != 1 || strcmp(info.name, topic) != 0 ||
	    info.log_state == BUS_LOG_NONE || info.oldest_seq >= info.head_seq)
		return true;
	fprintf(stderr, "stream \"%s\" has messages up to number %llu on disk: delete them? [y/N] ",
		topic, (unsigned long long)info.head_seq - 1);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int rm(struct bus *bus, const struct job *job, const char *topic)
{
	int err;

	if (!job->force && !is_meant(bus, topic)) {
		fprintf(stderr, "bus-topic: \"%s\" is not removed\n", topic);
		return TOOL_FAILED;
	}
	err = bus_topic_remove(bus, topic, job->force ? BUS_TOPIC_FORCE : 0);
	if (err)
		tool_fail_bus(bus, err, "remove topic \"%s\"", topic);
	return TOOL_DONE;
}

static int ls(struct bus *bus, const struct job *job, const char *pattern)
{
	struct bus_topic_info info = { .name = "" };
	json_t *array = job->json ? json_array() : NULL;
	int n, rows = 0;

	while ((n = bus_topic_next(bus, pattern, &info)) > 0) {
		if (array) {
			json_array_append_new(array, to_json(&info));
			continue;
		}
		if (rows++ == 0)
			printf("%-32s %5s %5s %5s %8s %8s %9s  %s\n", "TOPIC", "PUBS", "SUBS",
			       "RINGS", "SLOTS", "BYTES", "MEMORY", "MADE");
		show_row(&info);
	}
	if (n < 0)
		tool_fail_bus(bus, n, "list the topics");
	if (array)
		tool_json_print(array);
	return TOOL_DONE;
}

static int info_of(struct bus *bus, const struct job *job, const char *topic)
{
	struct bus_topic_info info = { .name = "" };
	int n = bus_topic_next(bus, topic, &info);

	if (n < 0)
		tool_fail_bus(bus, n, "describe topic \"%s\"", topic);
	if (n == 0)
		tool_fail(TOOL_FAILED,
			  "cannot describe topic \"%s\": there is no such topic, or no right to see it",
			  topic);
	if (job->json)
		tool_json_print(to_json(&info));
	else
		show_one(&info);
	return TOOL_DONE;
}

static int positions(struct bus *bus, const struct job *job, const char *topic)
{
	return position_list(bus, topic, job->json);
}

static int position(struct bus *bus, const struct job *job, const char *topic)
{
	return position_change(bus, topic, job->name, &job->change, job->json);
}

static const struct command {
	const char *name;
	int (*run)(struct bus *bus, const struct job *job, const char *topic);
	bool topic_needed, takes_settings, takes_force, takes_json, takes_name;
} commands[] = {
	{ "create", create, true, true, false, false, false },
	{ "rm", rm, true, false, true, false, false },
	{ "ls", ls, false, false, false, true, false },
	{ "info", info_of, true, false, false, true, false },
	{ "positions", positions, true, false, false, true, false },
	{ "position", position, true, false, false, true, true },
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	tool_fail_usage("\"%s\" is not one of create, rm, ls, info, positions, position", name);
}

/* The topic, NULL: none given. */
static const char *check_arguments(const struct command *command, struct job *job, int argc,
				   char **argv)
{
	const char *topic = optind < argc ? argv[optind++] : NULL;

	if (command->takes_name && optind < argc)
		job->name = argv[optind++];
	if (command->takes_name && !job->name)
		tool_fail_usage("%s: TOPIC and NAME are needed", command->name);
	if (job->change_given && !command->takes_name)
		tool_fail_usage("%s does not take %s", command->name, job->change_given);
	if (job->change.execute && !job->change.moves && !job->change.skip && !job->change.remove)
		tool_fail_usage("--execute: what? --to, --skip or --delete");
	if (optind < argc)
		tool_fail_usage("%s takes one topic, \"%s\" is too much", command->name,
				argv[optind]);
	if (command->topic_needed && !topic)
		tool_fail_usage("%s: no TOPIC given", command->name);
	if (job->settings_given && !command->takes_settings)
		tool_fail_usage("%s does not take options that say how a topic is to be made",
				command->name);
	if (job->force && !command->takes_force)
		tool_fail_usage("%s does not take --force", command->name);
	if (job->json && !command->takes_json)
		tool_fail_usage("%s does not take --json", command->name);
	if (command->topic_needed)
		tool_check_topic(topic);
	return topic;
}

int main(int argc, char **argv)
{
	struct job job = { .opts = { .size = sizeof(job.opts) } };
	const struct command *command;
	const char *topic;
	struct bus *bus;
	int opt;

	tool_begin(&tool);
	while ((opt = tool_next_option(argc, argv)) != -1)
		set_option(&job, opt);
	if (optind == argc)
		tool_fail_usage("no command given: create, rm, ls, info, positions or position");
	command = find_command(argv[optind++]);
	check_stream(&job);
	topic = check_arguments(command, &job, argc, argv);
	bus = tool_connect();
	tool_close_at_exit(bus);
	return tool_end(command->run(bus, &job, topic));
}
