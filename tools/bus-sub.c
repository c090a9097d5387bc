/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus-sub.c - prints the messages of all topics that match a pattern.
 *
 * Messages are read in place, formatted into the output buffer and released; the buffer is written
 * only up to what release called good, in large pieces while messages keep coming, at once when
 * they do not.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"
#include "tool_format.h"
#include "tool_output.h"
#include "tool_pace.h"
#include "tool_place.h"

#define PEEK_MAX  256
#define PACED_MAX 16
#define RELEASE_BYTES \
	(128u << 10) /* of output that one release confirms, so that room is given back early */
#define FLUSH_BYTES (64u << 10)
#define COMPLAIN_NS 1000000000 /* between two lines about losses */
#define STUCK_NS    3000000000 /* that a log may take to be read, until it is said */
#define LOSERS_MAX  1024       /* publishers that are told apart in the sum */

enum {
	OPT_COUNT = TOOL_LONG,
	OPT_RAW,
	OPT_STDOUT,
	OPT_FROM,
	OPT_UNTIL_END,
	OPT_LOSSY,
	OPT_HEADERS,
	OPT_NAME,
	OPT_TIMEOUT,
	OPT_RATE,
	OPT_JSON,
	OPT_GROUP,
	OPT_ACK,
	OPT_DURABLE,
};

static const struct tool_option options[] = {
	{ OPT_COUNT, "count", "N", "stop after N messages" },
	{ OPT_RAW, "raw", NULL, "payloads, each with a newline (default into a pipe)" },
	{ OPT_STDOUT, "stdout", "HOW",
	  "payloads as bus-pub --stdin reads them: lines (as --raw),\n"
	  "length (each after its length, 32 bits little-endian),\nwhole (nothing between)" },
	{ 'f', "format", "FORMAT",
	  "print each message so: %t topic %s seq %k key %T time\n"
	  "%h headers %p payload %l lost before it %% \\n \\t \\r \\0 \\\\" },
	{ OPT_JSON, "json", NULL, "a JSON object a line" },
	{ OPT_HEADERS, "headers", NULL, "headers and an empty line before each payload" },
	{ OPT_FROM, "from", "WHERE",
	  "now (default), last: the last message of each topic, oldest:\n"
	  "what the rings still hold; a stream reaches to the disk: oldest,\n"
	  "seq:N (number N), time:T (T is 2026-11-28, 2026-11-28T10:00:00.5Z,\n"
	  "...+01:00 or @SECONDS; UTC), -1h (that long before now), -N (N\n"
	  "messages before the end)" },
	{ OPT_UNTIL_END, "until-end", NULL, "stop when nothing more is there" },
	{ OPT_TIMEOUT, "timeout", "TIME", "stop with exit code 3 when nothing came for so long" },
	{ OPT_LOSSY, "lossy", NULL, "never hold a publisher back; what is lost is counted" },
	{ OPT_RATE, "rate", "R", "take at most R messages a second" },
	{ OPT_NAME, "name", "SUBSCRIBER", "what bus-stat calls this subscriber" },
	{ OPT_GROUP, "group", "G", "share the messages of a stream with a group" },
	{ OPT_ACK, "ack", "HOW", "auto, none: in a group" },
	{ OPT_DURABLE, "durable", "NAME", "go on where NAME stopped: on a stream" },
	{ 0 },
};

static const struct tool tool = {
	"bus-sub",
	"[OPTION...] PATTERN",
	"Prints the messages of all topics that match PATTERN: in it, * is one token,\n"
	"> at the end one or more. Topics and publishers that appear later are included.",
	options,
};

struct loss {
	uint64_t lost, seq;
	uint32_t pid;
	char name[BUS_NAME_MAX + 1], topic[BUS_TOPIC_MAX + 1];
};

struct job {
	const char *pattern;
	struct bus *bus;
	struct bus_sub *sub;
	struct bus_sub_opts opts;
	struct tool_format format;
	struct tool_output out;
	struct tool_pace pace;
	uint64_t count;     /* 0: no end */
	int64_t timeout_ns; /* 0: none */
	double rate;
	bool until_end, closed; /* closed: nobody reads our output any more */
	/* how far it is */
	uint64_t messages;
	int64_t last_ns; /* when the last message came */
	int64_t complained_ns;
	int64_t stuck_ns; /* since when a log cannot be read; 0: it can */
	bool stuck_said;
	uint64_t losing;  /* lost and not complained about yet */
	struct loss loss; /* the last one printed and not released yet */
	int loser_count;
	uint64_t losers[LOSERS_MAX];
};

/* ---- command line ---- */

static void set_from(struct job *job, const char *text)
{
	static const uint32_t starts[] = { [TOOL_PLACE_OLDEST] = BUS_START_OLDEST,
					   [TOOL_PLACE_END] = BUS_START_NOW,
					   [TOOL_PLACE_SEQ] = BUS_START_SEQ,
					   [TOOL_PLACE_TIME] = BUS_START_TIME,
					   [TOOL_PLACE_BACK] = BUS_START_BACK };
	struct bus_sub_opts *opts = &job->opts;
	struct tool_place place;

	opts->start_seq = opts->start_time_ns = opts->start_back = 0;
	if (strcmp(text, "now") == 0) {
		opts->start = BUS_START_NOW;
	} else if (strcmp(text, "last") == 0) {
		opts->start = BUS_START_LAST;
	} else if (tool_place("--from", text, &place)) {
		opts->start = starts[place.kind];
		if (place.kind == TOOL_PLACE_SEQ)
			opts->start_seq = place.value;
		else if (place.kind == TOOL_PLACE_TIME)
			opts->start_time_ns = place.value;
		else if (place.kind == TOOL_PLACE_BACK)
			opts->start_back = place.value;
	} else {
		tool_fail_usage("--from: \"%s\" is no place: now, last, oldest, seq:N, time:T, -1h, -N",
				text);
	}
}

static _Noreturn void refuse_stream_option(const char *option)
{
	tool_fail_usage("%s: each subscriber gets every message, and nothing is remembered of who has\n"
			"         read what",
			option);
}

static void set_option(struct job *job, int opt)
{
	switch (opt) {
	case OPT_COUNT:
		job->count = tool_number("--count", optarg, 1, UINT64_MAX);
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
	case OPT_FROM:
		set_from(job, optarg);
		break;
	case OPT_UNTIL_END:
		job->until_end = true;
		break;
	case OPT_TIMEOUT:
		job->timeout_ns = tool_duration("--timeout", optarg);
		if (job->timeout_ns == 0)
			tool_fail_usage(
				"--timeout: more than 0, please (--until-end does not wait at all)");
		break;
	case OPT_LOSSY:
		job->opts.policy = BUS_LOSSY;
		break;
	case OPT_RATE:
		job->rate = tool_rate("--rate", optarg);
		break;
	case OPT_NAME:
		if (!*optarg || strlen(optarg) > BUS_NAME_MAX)
			tool_fail_usage("--name: 1 to %d bytes are allowed, not %zu", BUS_NAME_MAX,
					strlen(optarg));
		job->opts.name = optarg;
		break;
	case OPT_GROUP:
		refuse_stream_option("--group");
	case OPT_ACK:
		refuse_stream_option("--ack");
	case OPT_DURABLE:
		if (!*optarg || strlen(optarg) > BUS_NAME_MAX)
			tool_fail_usage("--durable: 1 to %d bytes are allowed, not %zu",
					BUS_NAME_MAX, strlen(optarg));
		job->opts.durable = optarg;
		job->opts.flags |= BUS_SUB_ACK;
		break;
	}
}

static void parse(struct job *job, int argc, char **argv)
{
	int opt;

	while ((opt = tool_next_option(argc, argv)) != -1)
		set_option(job, opt);
	if (optind == argc)
		tool_fail_usage("no PATTERN given (\">\" is all topics)");
	job->pattern = argv[optind++];
	if (optind < argc)
		tool_fail_usage("one PATTERN is allowed, \"%s\" is too much (quote * and >)",
				argv[optind]);
	if (job->until_end && job->opts.start == BUS_START_NOW)
		tool_fail_usage(
			"--until-end: nothing is there to be read from now on; --from=oldest, last, -1h?");
	tool_format_complete(&job->format);
}

/* ---- losses ---- */

static void note_loser(struct job *job, const struct bus_peer *from)
{
	for (int i = 0; i < job->loser_count; i++)
		if (job->losers[i] == from->id)
			return;
	if (job->loser_count < LOSERS_MAX)
		job->losers[job->loser_count++] = from->id;
}

/*
 * Before the release, since the names are borrowed like the payload. What was printed may turn out
 * to be void: then the loss is noted again with the next message.
 */
static void note_loss(struct job *job, const struct bus_msg *msg)
{
	struct loss *l = &job->loss;

	note_loser(job, msg->from);
	l->lost += msg->lost;
	l->seq = msg->seq;
	l->pid = msg->from->pid;
	snprintf(l->name, sizeof(l->name), "%s", msg->from->name);
	snprintf(l->topic, sizeof(l->topic), "%s", msg->topic);
}

/* At most one line a second; what came in between is in the next one, or in the sum at the end. */
static bool may_complain(struct job *job)
{
	int64_t now = tool_clock_ns();

	if (job->complained_ns && now - job->complained_ns < COMPLAIN_NS)
		return false;
	job->complained_ns = now;
	return true;
}

static void complain(struct job *job)
{
	struct loss *l = &job->loss;

	job->losing += l->lost;
	l->lost = 0;
	if (!may_complain(job))
		return;
	tool_warn("lost %ju messages, the last before number %ju of publisher %s (pid %u) on \"%s\"",
		  (uintmax_t)job->losing, (uintmax_t)l->seq, l->name, l->pid, l->topic);
	job->losing = 0;
}

static void report_losses(struct job *job)
{
	struct bus_sub_info info;

	if (bus_sub_info(job->sub, &info) < 0 || !info.lost)
		return;
	if (job->loser_count)
		tool_warn("lost %ju messages of %d%s publisher%s", (uintmax_t)info.lost,
			  job->loser_count, job->loser_count == LOSERS_MAX ? " or more" : "",
			  job->loser_count == 1 ? "" : "s");
	else
		tool_warn("lost %ju messages", (uintmax_t)info.lost);
}

/* ---- reading ---- */

static void flush(struct job *job)
{
	int err = tool_output_flush(&job->out);

	/* what is not written yet comes again if we die here */
	if (!err && job->opts.durable)
		err = bus_sub_ack(job->sub);
	if (!err || err == -EINTR)
		return;
	if (err == -EPIPE) {
		job->closed = true;
		return;
	}
	tool_fail_errno(err, "write the output");
}

/*
 * How many of the n messages at hand are to be printed next: as the rate allows, and as one release
 * should confirm.
 */
static int print_some(struct job *job, const struct bus_msg *msgs, int n)
{
	int i = 0;

	if (job->rate > 0) {
		flush(job);
		n = tool_pace_next(&job->pace, n);
	}
	/* What the pace has counted is done now. */
	for (; i < n && (job->rate > 0 || tool_output_open_bytes(&job->out) < RELEASE_BYTES); i++) {
		tool_format_add(&job->format, &msgs[i], &job->out);
		if (msgs[i].lost)
			note_loss(job, &msgs[i]);
	}
	return n < 0 ? n : i;
}

static void take(struct job *job, const struct bus_msg *msgs, int count)
{
	for (int done = 0, n; done < count && !job->closed; done += n) {
		int err;

		n = print_some(job, msgs + done, count - done);
		if (n < 0)
			return;
		err = bus_sub_release(job->sub, n);
		if (err == -ESTALE) {
			/* Overwritten while it was printed: void, and counted by the library. */
			tool_output_drop(&job->out);
			job->loss.lost = 0;
			continue;
		}
		if (err)
			tool_fail_bus(NULL, err, "read \"%s\"", job->pattern);
		tool_output_confirm(&job->out);
		job->messages += (uint64_t)n;
		if (job->loss.lost)
			complain(job);
		if (job->out.confirmed >= FLUSH_BYTES)
			flush(job);
	}
}

/* Not the end of anything: said, and reading goes on. */
static void note_trouble(struct job *job, int err)
{
	static const struct timespec pause = { 0, 10000000 };

	switch (err) {
	case -ESTALE:
		if (may_complain(job))
			tool_warn("was too slow and was evicted, has joined again; what was lost is counted");
		return;
	case -EBADMSG:
		tool_warn("a publisher on \"%s\" wrote something that is no message; it is ignored from now on",
			  job->pattern);
		return;
	case -EPROTONOSUPPORT:
		if (may_complain(job))
			tool_warn("cannot read all of \"%s\": %s", job->pattern, bus_why(NULL));
		return;
	case -ENOBUFS:
		if (may_complain(job))
			tool_warn("more publishers on \"%s\" than a subscriber can read at once; one waits to be read",
				  job->pattern);
		nanosleep(&pause, NULL);
		return;
	case -EINTR:
		return;
	}
	tool_fail_errno(err, "read \"%s\"", job->pattern);
}

/* Until something is there. 0; TOOL_NOBODY: nothing came in time. */
static int await(struct job *job)
{
	int64_t start = tool_clock_ns();
	int64_t left = -1;
	int n;

	if (job->timeout_ns) {
		/*
		 * Writing may have taken that long: what came meanwhile is looked for all the same.
		 */
		left = job->last_ns + job->timeout_ns - start;
		if (left < 0)
			left = 0;
	}
	n = bus_sub_wait(job->sub, left);
	if (n < 0)
		note_trouble(job, n);
	tool_pace_forgive(&job->pace, tool_clock_ns() - start);
	return n == 0 && left >= 0 ? TOOL_NOBODY : 0;
}

/* There is more, and it cannot be had now: said once, and waited for, as long as --timeout allows. */
static void note_stuck(struct job *job, const struct bus_sub_info *info)
{
	int64_t now = tool_clock_ns();

	if (info->disk_error == 0)
		job->stuck_ns = 0;
	else if (job->stuck_ns == 0)
		job->stuck_ns = now;
	if (job->stuck_ns == 0 || job->stuck_said || now - job->stuck_ns < STUCK_NS)
		return;
	job->stuck_said = true;
	tool_warn("cannot read \"%s\" from disk: %s; tried again until it can", job->pattern,
		  bus_why(NULL));
}

/* What is on disk may not be there at once: the disk, or busd, takes its time. */
static bool is_end(struct job *job)
{
	struct bus_sub_info info;

	if (bus_sub_info(job->sub, &info) < 0)
		return true;
	note_stuck(job, &info);
	return info.from_disk == 0;
}

static int run(struct job *job)
{
	struct bus_msg msgs[PEEK_MAX];
	uint64_t most = job->rate > 0 ? PACED_MAX : PEEK_MAX;
	int code = TOOL_DONE;

	job->last_ns = tool_clock_ns();
	while (!tool_stop_signal && !job->closed && code == TOOL_DONE &&
	       (!job->count || job->messages < job->count)) {
		uint64_t left = job->count ? job->count - job->messages : PEEK_MAX;
		int n = bus_sub_peek(job->sub, msgs, left < most ? (int)left : (int)most);

		if (n < 0) {
			note_trouble(job, n);
			continue;
		}
		if (n > 0) {
			job->stuck_ns = 0;
			job->stuck_said = false;
			take(job, msgs, n);
			if (job->timeout_ns)
				job->last_ns = tool_clock_ns();
			continue;
		}
		flush(job);
		if (is_end(job) && job->until_end)
			break;
		code = await(job);
	}
	flush(job);
	return code;
}

int main(int argc, char **argv)
{
	struct job job = { .opts = { .size = sizeof(job.opts) } };
	int err, code;

	tool_begin(&tool);
	parse(&job, argc, argv);
	signal(SIGPIPE, SIG_IGN);
	job.bus = tool_connect();
	tool_close_at_exit(job.bus);
	err = bus_sub_open(&job.sub, job.bus, job.pattern, &job.opts);
	if (err)
		tool_fail_bus(job.bus, err, "subscribe to \"%s\"", job.pattern);
	tool_catch_stop();
	tool_output_open(&job.out, STDOUT_FILENO);
	tool_pace_start(&job.pace, job.rate);
	code = run(&job);
	report_losses(&job);
	tool_output_close(&job.out);
	if (job.closed)
		tool_die_of_signal(SIGPIPE);
	if (tool_stop_signal)
		tool_die_of_signal(tool_stop_signal);
	if (code == TOOL_NOBODY)
		tool_warn("nothing came on \"%s\" for %s", job.pattern,
			  tool_seconds((uint64_t)job.timeout_ns).s);
	return code;
}
