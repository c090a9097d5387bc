/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus-replay.c - plays a range of a stream's past: prints it, or publishes it in another topic, as fast as it
 * goes or at the distances at which it was recorded.
 *
 * The log's files are read here, by libbus (bus_log.h): busd is not on the path of a message. replay_range.c says
 * which messages, replay_into.c publishes them, tool_format.c prints them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bus_log.h>

#include "replay_into.h"
#include "replay_range.h"
#include "tool.h"
#include "tool_format.h"
#include "tool_output.h"
#include "tool_place.h"

#define FLUSH_BYTES (256u << 10)

enum {
	OPT_FROM = TOOL_LONG,
	OPT_TO,
	OPT_COUNT,
	OPT_SPEED,
	OPT_DIR,
	OPT_RAW,
	OPT_STDOUT,
	OPT_JSON,
	OPT_HEADERS,
	OPT_INTO,
	OPT_PLAIN,
	OPT_NAME,
	OPT_WAIT,
	OPT_STATS,
};

static const struct tool_option options[] = {
	{ OPT_FROM, "from", "WHERE", "where to begin: " TOOL_PLACE_HELP "\n(default: oldest)" },
	{ OPT_TO, "to", "WHERE",
	  "where to stop, likewise; what stands there is not replayed\n(default: end, as it is at the start)" },
	{ OPT_COUNT, "count", "N", "stop after N messages" },
	{ OPT_SPEED, "speed", "HOW",
	  "max: as fast as it goes (default); original: at the distances\nat which the messages were recorded; "
	  "Nx: N times as fast (0.5x, 10x)" },
	{ OPT_DIR, "dir", "DIR",
	  "read the log in directory DIR, without busd; TOPIC may be left out" },
	{ OPT_RAW, "raw", NULL, "payloads, each with a newline (default into a pipe)" },
	{ OPT_STDOUT, "stdout", "HOW",
	  "payloads as bus-pub --stdin reads them: lines (as --raw),\n"
	  "length (each after its length, 32 bits little-endian),\nwhole (nothing between)" },
	{ 'f', "format", "FORMAT",
	  "print each message so: %t topic %s seq %k key %T time\n"
	  "%h headers %p payload %l missing before it %% \\n \\t \\r \\0 \\\\" },
	{ OPT_JSON, "json", NULL, "a JSON object a line" },
	{ OPT_HEADERS, "headers", NULL, "headers and an empty line before each payload" },
	{ OPT_INTO, "into", "TOPIC", "publish the messages there instead of printing them" },
	{ OPT_PLAIN, "plain", NULL,
	  "--into: without the headers " REPLAY_SEQ_HEADER " and " REPLAY_TIME_HEADER
	  ",\nthe number and time that the message had" },
	{ OPT_NAME, "name", "PUBLISHER",
	  "--into a stream: who publishes, by which a replay that is\nrepeated goes on where it stopped" },
	{ OPT_WAIT, "wait", "LEVEL",
	  "--into: what all messages must have reached at the end: ring\n(default), stream, or durable (on disk)" },
	{ OPT_STATS, "stats", NULL, "at the end, what was done on stderr (on a terminal always)" },
	{ 0 },
};

static const struct tool tool = {
	"bus-replay",
	"[OPTION...] TOPIC\n[OPTION...] --dir=DIR [TOPIC]\n[OPTION...] TOPIC --into=TOPIC",
	"Plays what is on disk of a stream: prints its messages, or publishes them in another\n"
	"topic. What is missing is told, and ends in exit code 1; everything else is replayed.",
	options,
};

struct job {
	const char *topic, *dir;
	struct tool_place from, to;
	uint64_t count; /* 0: no limit */
	double speed;   /* 1: as recorded; 0: as fast as it goes */
	struct tool_format format;
	struct tool_output out;
	struct replay_into into;
	struct replay_range range;
	bool stats;
	bool closed;  /* nobody reads our output any more */
	bool stopped; /* by a signal */
	/* how far it is */
	int64_t start_ns;
	struct tool_progress progress;
	uint64_t messages, bytes;
	uint64_t next; /* number behind the last message that was given */
	/* the schedule: messages of first_time_ns are due at first_ns */
	int64_t first_ns;
	uint64_t first_time_ns;
	bool begun;
};

/* ---- command line ---- */

static void set_place(struct tool_place *place, const char *option, const char *text)
{
	if (!tool_place(option, text, place))
		tool_fail_usage("%s: \"%s\" is no place: oldest, end, seq:N, time:T, -1h, -N",
				option, text);
}

static void set_speed(struct job *job, const char *text)
{
	size_t len = strlen(text);
	char number[32];

	if (strcmp(text, "max") == 0) {
		job->speed = 0;
		return;
	}
	if (strcmp(text, "original") == 0) {
		job->speed = 1;
		return;
	}
	if (len < 2 || len >= sizeof(number) || text[len - 1] != 'x' ||
	    strspn(text, "0123456789.") != len - 1)
		tool_fail_usage("--speed: \"%s\" is not one of max|original|Nx (2x, 0.5x)", text);
	snprintf(number, sizeof(number), "%.*s", (int)(len - 1), text);
	job->speed = tool_rate("--speed", number);
}

static void set_into_option(struct job *job, int opt)
{
	switch (opt) {
	case OPT_INTO:
		job->into.topic = optarg;
		break;
	case OPT_PLAIN:
		job->into.plain = true;
		break;
	case OPT_NAME:
		if (!*optarg || strlen(optarg) > REPLAY_NAME_MAX)
			tool_fail_usage("--name: 1 to %d bytes are allowed, not %zu",
					REPLAY_NAME_MAX, strlen(optarg));
		job->into.name = optarg;
		break;
	case OPT_WAIT:
		job->into.level = (uint32_t)tool_choice("--wait", optarg, "ring|stream|durable");
		break;
	}
}

static void set_option(struct job *job, int opt)
{
	switch (opt) {
	case OPT_FROM:
		set_place(&job->from, "--from", optarg);
		break;
	case OPT_TO:
		set_place(&job->to, "--to", optarg);
		break;
	case OPT_COUNT:
		job->count = tool_number("--count", optarg, 1, UINT64_MAX);
		break;
	case OPT_SPEED:
		set_speed(job, optarg);
		break;
	case OPT_DIR:
		job->dir = optarg;
		break;
	case OPT_RAW:
		tool_format_choose(&job->format, TOOL_STYLE_LINES);
		break;
	case OPT_STDOUT:
		tool_format_stdout(&job->format, optarg);
		break;
	case 'f':
		tool_format_spec(&job->format, optarg);
		break;
	case OPT_JSON:
		tool_format_choose(&job->format, TOOL_STYLE_JSON);
		break;
	case OPT_HEADERS:
		job->format.headers = true;
		break;
	case OPT_STATS:
		job->stats = true;
		break;
	default:
		set_into_option(job, opt);
	}
}

static _Noreturn void fail_same(const struct job *job)
{
	tool_fail_usage("--into: \"%s\" is the topic that is replayed; take another one",
			job->into.topic);
}

static void check(const struct job *job)
{
	const struct replay_into *into = &job->into;

	if (!job->topic && !job->dir)
		tool_fail_usage("no TOPIC given");
	if (job->topic)
		tool_check_topic(job->topic);
	if (!into->topic) {
		if (into->plain || into->name || into->level != BUS_LEVEL_RING)
			tool_fail_usage("--plain, --name and --wait are for --into");
		return;
	}
	tool_check_topic(into->topic);
	if (job->topic && strcmp(job->topic, into->topic) == 0)
		fail_same(job);
	if (job->format.chosen || job->format.headers)
		tool_fail_usage(
			"--into prints nothing: --raw, --stdout, --format, --json and --headers\n"
			"            have no meaning with it");
}

static void parse(struct job *job, int argc, char **argv)
{
	int opt;

	while ((opt = tool_next_option(argc, argv)) != -1)
		set_option(job, opt);
	if (optind < argc)
		job->topic = argv[optind++];
	if (optind < argc)
		tool_fail_usage("one TOPIC is allowed, \"%s\" is too much", argv[optind]);
	check(job);
	if (!job->into.topic)
		tool_format_complete(&job->format);
	if (job->from.kind == TOOL_PLACE_SEQ && job->to.kind == TOOL_PLACE_SEQ &&
	    job->from.value > job->to.value)
		tool_fail_usage("--from is behind --to");
}

/* ---- what is told ---- */

static void report(const struct job *job)
{
	const struct replay_range *range = &job->range;
	int64_t passed = tool_clock_ns() - job->start_ns;
	char gaps[80] = "";

	tool_progress_clear(&job->progress);
	if (job->stopped)
		tool_warn("stopped: number %" PRIu64 " is the next one",
			  job->into.pub ? job->into.next : job->next);
	if (!job->stats)
		return;
	if (range->gaps)
		snprintf(gaps, sizeof(gaps), "; %" PRIu64 " gap%s, %" PRIu64 " message%s missing",
			 range->gaps, range->gaps == 1 ? "" : "s", range->missing,
			 range->missing == 1 ? "" : "s");
	tool_warn("%" PRIu64 " message%s (%s) of \"%s\" in %s%s", job->messages,
		  job->messages == 1 ? "" : "s", tool_bytes(job->bytes).s, range->name,
		  tool_seconds((uint64_t)passed).s, gaps);
}

/* ---- messages out ---- */

static void flush(struct job *job)
{
	int err = tool_output_flush(&job->out);

	if (!err || err == -EINTR)
		return;
	if (err == -EPIPE) {
		job->closed = true;
		return;
	}
	tool_fail_errno(err, "write the output");
}

/* They are due. -EINTR: a stop signal came. */
static int give(struct job *job, const struct bus_msg *msgs, int n)
{
	if (job->into.topic) {
		int err = replay_into_send(&job->into, msgs, n);

		if (err)
			return err;
	} else {
		for (int i = 0; i < n; i++)
			tool_format_add(&job->format, &msgs[i], &job->out);
		tool_output_confirm(&job->out);
		if (job->out.confirmed >= FLUSH_BYTES)
			flush(job);
	}
	for (int i = 0; i < n; i++)
		job->bytes += msgs[i].len;
	job->messages += (uint64_t)n;
	job->next = msgs[n - 1].seq + 1;
	tool_progress_show(&job->progress, job->messages, job->bytes);
	return 0;
}

/* ---- when ---- */

/* From the first message on, and not from the one before: what comes late makes nothing else late. */
static int64_t due_ns(const struct job *job, const struct bus_msg *msg)
{
	double after = (double)(msg->time_ns - job->first_time_ns) / job->speed;

	if (msg->time_ns <= job->first_time_ns)
		return job->first_ns;
	return after < 9e18 - (double)job->first_ns ? job->first_ns + (int64_t)after : INT64_MAX;
}

/* How many of n are due now; 0: none, the first one is in *wake_ns. */
static int due(struct job *job, const struct bus_msg *msgs, int n, int64_t *wake_ns)
{
	int64_t now;
	int count = 0;

	if (job->speed == 0)
		return n;
	now = tool_clock_ns();
	if (!job->begun) {
		job->begun = true;
		job->first_ns = now;
		job->first_time_ns = msgs[0].time_ns;
	}
	while (count < n && (*wake_ns = due_ns(job, &msgs[count])) <= now)
		count++;
	return count;
}

/* Each at its time. -EINTR: a stop signal came. */
static int give_timed(struct job *job, const struct bus_msg *msgs, int n)
{
	int err = 0;

	for (int done = 0, count; done < n && !err && !job->closed; done += count) {
		int64_t wake_ns = 0;

		count = due(job, msgs + done, n - done, &wake_ns);
		if (count > 0) {
			err = give(job, msgs + done, count);
			continue;
		}
		if (!job->into.topic)
			flush(job);
		err = tool_sleep_until(wake_ns);
	}
	return err;
}

/* ---- the whole ---- */

/* Where the topic has some of it already, behind those. False: the n messages from seq on are not what comes next. */
static bool place_into(struct job *job, uint64_t seq, int n)
{
	uint64_t next;

	if (!job->into.topic || replay_into_follows(&job->into, seq))
		return true;
	next = replay_into_open(&job->into, seq);
	if (next == seq)
		return true;
	replay_range_skip(&job->range, next, next - seq, n);
	return false;
}

static void run(struct job *job)
{
	static struct bus_msg msgs[BUS_LOG_BATCH];
	int n, err = 0;

	/* the first publisher is that of the range, even if its first messages are missing by now */
	if (job->into.topic && !job->range.ended)
		(void)place_into(job, job->range.from, 0);
	while (!err && !tool_stop_signal && !job->closed &&
	       (n = replay_range_next(&job->range, msgs, BUS_LOG_BATCH)) > 0)
		if (place_into(job, msgs[0].seq, n))
			err = give_timed(job, msgs, n);
	if (!job->into.topic)
		flush(job);
	else if (!err && !tool_stop_signal)
		err = replay_into_finish(&job->into);
	job->stopped = err == -EINTR || tool_stop_signal;
}

static void open_all(struct job *job)
{
	struct bus *bus = NULL;

	if (!job->dir || job->into.topic) {
		bus = tool_connect();
		tool_close_at_exit(bus);
	}
	replay_range_open(&job->range, bus, job->topic, job->dir);
	if (job->into.topic && strcmp(job->into.topic, job->range.at_start.topic) == 0)
		fail_same(job);
	replay_range_set(&job->range, &job->from, &job->to, job->count);
	job->next = job->range.from;
	if (!job->into.topic) {
		tool_output_open(&job->out, STDOUT_FILENO);
		return;
	}
	replay_into_begin(&job->into, bus, job->range.name, job->range.at_start.uuid);
	if (job->from.kind != TOOL_PLACE_SEQ && !job->range.ended)
		tool_warn("begins at number %" PRIu64 "; the same again is --from=seq:%" PRIu64,
			  job->range.from, job->range.from);
}

int main(int argc, char **argv)
{
	struct job job = { .to = { .kind = TOOL_PLACE_END } };

	tool_begin(&tool);
	parse(&job, argc, argv);
	signal(SIGPIPE, SIG_IGN);
	open_all(&job);
	tool_catch_stop();
	job.stats |= isatty(STDERR_FILENO);
	job.start_ns = tool_clock_ns();
	tool_progress_start(&job.progress, job.into.topic || !isatty(STDOUT_FILENO));
	run(&job);
	report(&job);
	replay_range_close(&job.range);
	if (!job.into.topic)
		tool_output_close(&job.out);
	if (job.closed)
		tool_die_of_signal(SIGPIPE);
	if (job.stopped && tool_stop_signal)
		tool_die_of_signal(tool_stop_signal);
	return tool_end(job.range.gaps ? TOOL_FAILED : TOOL_DONE);
}
