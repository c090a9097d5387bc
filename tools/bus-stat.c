/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus-stat.c - what is on the bus, who is slow and whom they hold back: the command line. Reads,
 * takes no part, starts no busd.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stat_check.h"
#include "stat_json.h"
#include "stat_latency.h"
#include "stat_screen.h"
#include "stat_segment.h"
#include "stat_source.h"
#include "stat_top.h"
#include "tool.h"
#include "topic_position.h"

#define BETWEEN_NS 500000000 /* the two snapshots that make a rate */
#define PEEK_MAX   100000

enum {
	OPT_JSON = TOOL_LONG,
	OPT_LIST,
	OPT_SORT,
	OPT_REVERSE,
	OPT_COUNT,
	OPT_BATCH,
	OPT_LAG_MESSAGES,
	OPT_LAG_SECONDS,
	OPT_VERIFY,
};

static const struct tool_option options[] = {
	{ OPT_JSON, "json", NULL, "as JSON" },
	{ 'n', "lines", "N", "peek: the newest N messages (10)" },
	{ 'd', "delay", "TIME", "top: between two screens (1s); latency: how long (5s)" },
	{ OPT_LIST, "list", "WHAT", "top: topics, publishers or subscribers" },
	{ OPT_SORT, "sort", "COLUMN", "top: by this column of the list" },
	{ OPT_REVERSE, "reverse", NULL, "top: sorted the other way round" },
	{ OPT_BATCH, "batch", NULL, "top: print instead of drawing" },
	{ OPT_COUNT, "count", "N", "top: end after N screens" },
	{ OPT_LAG_MESSAGES, "lag-messages", "W,C",
	  "check: a warning beyond W messages behind, critical beyond C;\none number is C" },
	{ OPT_LAG_SECONDS, "lag-seconds", "W,C", "check: the same for the oldest unread one's age" },
	{ OPT_VERIFY, "verify", NULL, "segment: check all of it" },
	{ 0 },
};

static const struct tool tool = {
	"bus-stat",
	"[--json]                      all topics\n"
	"topic TOPIC [--json]          its publishers and subscribers\n"
	"clients [--json]              connected processes\n"
	"namespaces [--json]           who owns them, what they use and may use\n"
	"peek TOPIC [-n N] [--json]    its newest messages\n"
	"numa [--json]                 where memory is\n"
	"top [PATTERN] [-d TIME] [--list=WHAT] [--sort=COLUMN] [--batch] [--count=N]\n"
	"latency TOPIC [-d TIME]       from publishing to arrival here\n"
	"check [PATTERN] [--lag-messages=W,C] [--lag-seconds=W,C]\n"
	"metrics                       OpenMetrics\n"
	"segment FILE [--verify] [--json]  a file of a stream's log\n"
	"groups | services",
	"Shows what is on the bus, who is slow and whom they hold back. It only looks: no\n"
	"publisher waits for it, and it never starts a busd.",
	options,
};

struct job {
	const char *argument; /* behind the command, NULL: none */
	bool json, batch, verify;
	int lines;
	int64_t delay_ns; /* -1: the command's default */
	uint64_t count;
	const char *list, *sort;
	bool reverse;
	struct stat_limits limits;
	unsigned given; /* options of particular commands: bit of enum takes */
};

enum takes {
	TAKES_JSON = 1,
	TAKES_LINES = 2,
	TAKES_DELAY = 4,
	TAKES_TOP = 8,
	TAKES_LIMITS = 16,
	TAKES_VERIFY = 32,
};

/* ---- the bus ---- */

static struct bus *connect_here(void)
{
	struct bus *bus;
	int err = bus_connect(&bus, BUS_OPTS(connect, .socket = tool_socket_path,
					     .name = "bus-stat", .flags = BUS_CONNECT_NO_AUTOSTART));

	if (!err)
		return bus;
	if (err == -ENOENT) /* nobody listens: for a script the same as nobody who answers */
		err = -ECONNREFUSED;
	tool_fail_bus(NULL, err, "connect to busd");
}

/* ---- commands ---- */

static int show_all(const struct job *job)
{
	struct stat_source source;
	struct stat_take *take;

	stat_source_open(&source, NULL);
	take = stat_take_twice(source.bus, source.stat, BETWEEN_NS);
	if (job->json) {
		stat_source_warn(&source, take);
		tool_json_print(stat_source_mark(&source, stat_json_topics(take)));
	} else {
		stat_show_all(&source, take);
	}
	stat_take_free(take);
	return stat_source_close(&source);
}

/*
 * Live topics and streams in memory have none, nor has an older busd; and who may not subscribe is shown none. Else it is
 * said, and the exit code says that something is missing.
 */
static int positions_end(const struct stat_source *source, int err, const char *topic)
{
	if (err >= 0 || err == -EOPNOTSUPP || err == -EACCES)
		return TOOL_DONE;
	tool_warn("cannot list the durable subscriptions of \"%s\": %s", topic, bus_why(source->bus));
	return TOOL_FAILED;
}

/* Held or not: who is not there has no row among the subscribers. */
static int show_positions(const struct stat_source *source, const char *topic)
{
	struct bus_position p = { .name = "" };
	int n = source->bus ? bus_position_next(source->bus, topic, &p) : 0;

	if (n <= 0)
		return positions_end(source, n, topic);
	printf("\ndurable subscriptions\n");
	return position_list(source->bus, topic, false);
}

/* null: not known */
static json_t *positions_json(const struct stat_source *source, const char *topic, int *code)
{
	struct bus_position p = { .name = "" };
	json_t *array = json_array();
	int n = 0;

	while (source->bus && (n = bus_position_next(source->bus, topic, &p)) > 0)
		json_array_append_new(array, position_json(&p));
	*code = positions_end(source, n, topic);
	if (*code == TOOL_DONE)
		return array;
	json_decref(array);
	return json_null();
}

static int show_topic(const struct job *job)
{
	const struct stat_topic *topic;
	struct stat_source source;
	struct stat_take *take;
	int code = TOOL_DONE, end;

	stat_source_open(&source, job->argument);
	take = stat_take_twice(source.bus, source.stat, BETWEEN_NS);
	topic = stat_take_topic(take, job->argument);
	if (!topic) {
		stat_source_warn(&source, take);
		tool_fail(TOOL_FAILED,
			  "cannot show topic \"%s\": there is no such topic, or no right to see it",
			  job->argument);
	}
	if (job->json) {
		json_t *o = stat_json_topic(topic);

		json_object_set_new(o, "positions", positions_json(&source, job->argument, &code));
		stat_source_warn(&source, take);
		tool_json_print(stat_source_mark(&source, o));
	} else {
		stat_show_topic(&source, topic, take);
		if (topic->now.log.state != BUS_LOG_NONE)
			code = show_positions(&source, job->argument);
	}
	stat_take_free(take);
	end = stat_source_close(&source);
	return end != TOOL_DONE ? end : code;
}

static int show_clients(const struct job *job)
{
	struct stat_source source;
	struct stat_take *take;

	stat_source_open(&source, NULL);
	take = stat_take(source.bus, source.stat, NULL);
	if (job->json) {
		stat_source_warn(&source, take);
		tool_json_print(stat_source_mark(&source, stat_json_clients(&source, take)));
	} else {
		stat_show_clients(&source, take);
	}
	stat_take_free(take);
	return stat_source_close(&source);
}

static int show_namespaces(const struct job *job)
{
	struct bus *bus = connect_here(); /* only busd knows them */
	int count;
	struct bus_stat_namespace *spaces = stat_namespaces(bus, &count);

	if (job->json)
		tool_json_print(stat_json_namespaces(spaces, count));
	else
		stat_show_namespaces(spaces, count);
	free(spaces);
	bus_close(bus);
	return TOOL_DONE;
}

static int show_numa(const struct job *job)
{
	struct stat_source source;
	struct stat_take *take;

	stat_source_open(&source, NULL);
	take = stat_take(source.bus, source.stat, NULL);
	stat_source_warn(&source, take);
	if (job->json)
		tool_json_print(stat_source_mark(&source, stat_json_numa(take)));
	else
		stat_show_numa(take);
	stat_take_free(take);
	return stat_source_close(&source);
}

static int peek(const struct job *job)
{
	const struct bus_msg *msgs = NULL;
	struct stat_source source;
	int n;

	stat_source_open(&source, job->argument);
	n = bus_stat_peek(source.stat, job->argument, job->lines, &msgs);
	if (n < 0)
		tool_fail_bus(source.bus, n, "peek at topic \"%s\"", job->argument);
	stat_source_warn(&source, NULL);
	if (job->json)
		tool_json_print(stat_json_messages(msgs, n));
	else
		stat_show_messages(msgs, n);
	return stat_source_close(&source);
}

static void set_top(struct stat_top *top, const struct job *job)
{
	const char *lists = "topics|publishers|subscribers";

	*top = (struct stat_top){
		.list = job->list ? (enum stat_list)tool_choice("--list", job->list, lists)
				  : STAT_TOPICS,
		.sort = -1,
		.reversed = job->reverse,
		.interval_ns = job->delay_ns < 0 ? 1000000000 : job->delay_ns,
		.count = job->count,
		.json = job->json,
	};
	if (top->interval_ns < 10000000)
		tool_fail_usage("--delay: at least 10ms");
	if (!job->sort)
		return;
	top->sort = stat_table_column(stat_list_columns(top->list), job->sort);
	if (top->sort < 0) {
		const struct stat_column *c = stat_list_columns(top->list);
		char names[256] = "";

		for (; c->title; c++)
			snprintf(names + strlen(names), sizeof(names) - strlen(names), " %s", c->key);
		tool_fail_usage("--sort: \"%s\" is no column of that list; it has%s", job->sort,
				names);
	}
}

static int show_top(const struct job *job)
{
	struct stat_source source;
	struct stat_top top;
	int code, answered;

	set_top(&top, job);
	if (job->json && !job->batch)
		tool_fail_usage("top: --json needs --batch");
	if (!job->batch && (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO)))
		tool_fail_usage("top draws on a terminal, which this is not; --batch prints");
	tool_catch_stop();
	stat_source_open(&source, job->argument);
	if (job->json)
		stat_source_warn(&source, NULL);
	code = job->batch ? stat_top_batch(&source, &top) : stat_top_live(&source, &top);
	answered = stat_source_close(&source);
	return code == TOOL_DONE ? answered : code;
}

static int show_latency(const struct job *job)
{
	struct bus *bus;
	int code;

	tool_catch_stop();
	bus = connect_here();
	code = stat_latency(bus, job->argument, job->delay_ns < 0 ? 5000000000 : job->delay_ns,
			    job->json);
	bus_close(bus);
	return code;
}

/* For a monitoring system every reason not to know is UNKNOWN, told on stdout. */
static int check(const struct job *job)
{
	struct stat_source source;
	struct stat_take *take;
	char line[1024];
	int verdict;

	if (stat_source_try(&source, job->argument) < 0)
		return stat_check_unknown(source.why);
	take = stat_take(source.bus, source.stat, NULL);
	stat_source_line(&source, take, line, sizeof(line));
	if (job->argument && take->topic_count == 0)
		verdict = stat_check_unknown("no topic of that name, or no right to see it");
	else
		verdict = stat_check(take, &job->limits, source.bus ? NULL : line);
	stat_take_free(take);
	stat_source_close(&source);
	return verdict;
}

static int show_metrics(const struct job *job)
{
	struct stat_source source;
	const char *text;
	size_t len;
	int err;

	(void)job;
	stat_source_open(&source, NULL);
	err = bus_stat_metrics(source.stat, &text, &len);
	if (err)
		tool_fail_bus(source.bus, err, "take metrics");
	stat_source_warn(&source, NULL);
	fwrite(text, 1, len, stdout);
	return stat_source_close(&source);
}

static int no_groups(const struct job *job)
{
	(void)job;
	tool_fail(TOOL_USAGE, "groups: this build has none; each subscriber gets every message");
}

static int no_services(const struct job *job)
{
	(void)job;
	tool_fail(TOOL_USAGE, "services: this build has none; there are publishers and subscribers");
}

static int show_segment(const struct job *job)
{
	return stat_segment(job->argument, job->verify, job->json);
}

static const struct command {
	const char *name;
	int (*run)(const struct job *job);
	enum { NO_ARGUMENT, TOPIC_NEEDED, PATTERN_ALLOWED, FILE_NEEDED } argument;
	unsigned takes;
} commands[] = {
	{ "topic", show_topic, TOPIC_NEEDED, TAKES_JSON },
	{ "clients", show_clients, NO_ARGUMENT, TAKES_JSON },
	{ "namespaces", show_namespaces, NO_ARGUMENT, TAKES_JSON },
	{ "peek", peek, TOPIC_NEEDED, TAKES_JSON | TAKES_LINES },
	{ "numa", show_numa, NO_ARGUMENT, TAKES_JSON },
	{ "top", show_top, PATTERN_ALLOWED, TAKES_JSON | TAKES_DELAY | TAKES_TOP },
	{ "latency", show_latency, TOPIC_NEEDED, TAKES_JSON | TAKES_DELAY },
	{ "check", check, PATTERN_ALLOWED, TAKES_LIMITS },
	{ "metrics", show_metrics, NO_ARGUMENT, 0 },
	{ "groups", no_groups, NO_ARGUMENT, TAKES_JSON },
	{ "services", no_services, NO_ARGUMENT, TAKES_JSON },
	{ "segment", show_segment, FILE_NEEDED, TAKES_JSON | TAKES_VERIFY },
};
static const struct command all_topics = { "", show_all, NO_ARGUMENT, TAKES_JSON };

/* ---- command line ---- */

static void set_option(struct job *job, int opt)
{
	switch (opt) {
	case OPT_JSON:
		job->json = true;
		job->given |= TAKES_JSON;
		return;
	case 'n':
		job->lines = (int)tool_number("--lines", optarg, 1, PEEK_MAX);
		job->given |= TAKES_LINES;
		return;
	case 'd':
		job->delay_ns = tool_duration("--delay", optarg);
		job->given |= TAKES_DELAY;
		return;
	case OPT_LAG_MESSAGES:
		stat_limit_messages(&job->limits, optarg);
		job->given |= TAKES_LIMITS;
		return;
	case OPT_LAG_SECONDS:
		stat_limit_seconds(&job->limits, optarg);
		job->given |= TAKES_LIMITS;
		return;
	case OPT_VERIFY:
		job->verify = true;
		job->given |= TAKES_VERIFY;
		return;
	case OPT_LIST:
		job->list = optarg;
		break;
	case OPT_SORT:
		job->sort = optarg;
		break;
	case OPT_REVERSE:
		job->reverse = true;
		break;
	case OPT_BATCH:
		job->batch = true;
		break;
	case OPT_COUNT:
		job->count = tool_number("--count", optarg, 1, UINT64_MAX);
		break;
	}
	job->given |= TAKES_TOP;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	tool_fail_usage("\"%s\" is no command; without one all topics are shown", name);
}

static void check_options(const struct command *command, unsigned given)
{
	static const struct {
		unsigned bit;
		const char *names;
	} all[] = {
		{ TAKES_JSON, "--json" },
		{ TAKES_LINES, "-n" },
		{ TAKES_DELAY, "-d" },
		{ TAKES_TOP, "--list, --sort, --reverse, --batch, --count" },
		{ TAKES_LIMITS, "--lag-messages, --lag-seconds" },
		{ TAKES_VERIFY, "--verify" },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (given & ~command->takes & all[i].bit)
			tool_fail_usage("%s does not take %s",
					*command->name ? command->name : "the screen of all topics",
					all[i].names);
}

int main(int argc, char **argv)
{
	const struct command *command = &all_topics;
	struct job job = {
		.lines = 10,
		.delay_ns = -1,
		.limits = { STAT_NO_LIMIT, STAT_NO_LIMIT, STAT_NO_LIMIT, STAT_NO_LIMIT },
	};
	int opt;

	tool_begin(&tool);
	while ((opt = tool_next_option(argc, argv)) != -1)
		set_option(&job, opt);
	if (optind < argc)
		command = find_command(argv[optind++]);
	if (optind < argc && command->argument != NO_ARGUMENT)
		job.argument = argv[optind++];
	if (optind < argc)
		tool_fail_usage("\"%s\" is too much", argv[optind]);
	if (!job.argument && command->argument != NO_ARGUMENT && command->argument != PATTERN_ALLOWED)
		tool_fail_usage("%s: no %s given", command->name,
				command->argument == FILE_NEEDED ? "FILE" : "TOPIC");
	if (command->argument == TOPIC_NEEDED)
		tool_check_topic(job.argument);
	check_options(command, job.given);
	return tool_end(command->run(&job));
}
