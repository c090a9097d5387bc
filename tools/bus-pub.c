/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus-pub.c - publishes what the command line or stdin says on one topic.
 *
 * Messages come from one of three places (MESSAGE, --size, stdin), are gathered into batches of
 * what is there without waiting, paced, and sent. A message that arrived alone is never held back
 * for a batch.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"
#include "tool_input.h"
#include "tool_pace.h"
#include "tool_template.h"

#define BATCH_MAX        64
#define BATCH_BYTES      (1u << 20) /* of generated messages, prepared at a time */
#define STOP_PATIENCE_NS 1000000000 /* how long a full ring is tried after a stop signal */

enum {
	OPT_COUNT = TOOL_LONG,
	OPT_RATE,
	OPT_SIZE,
	OPT_KEY,
	OPT_STDIN,
	OPT_WAIT,
	OPT_NAME,
	OPT_RESUME,
	OPT_FULL,
	OPT_FULL_TIME,
	OPT_SLOTS,
	OPT_BYTES,
	OPT_JSON,
};

static const struct tool_option options[] = {
	{ OPT_COUNT, "count", "N",
	  "MESSAGE or --size: publish it N times (1);\nstdin: publish the first N messages of it" },
	{ OPT_RATE, "rate", "R", "at most R messages a second (1000, 2.5k)" },
	{ OPT_SIZE, "size", "B", "publish messages of B bytes: a number, then a pattern" },
	{ OPT_KEY, "key", "K", "give each message this key" },
	{ 'H', "header", "NAME:VALUE", "give each message this header; may be repeated" },
	{ OPT_STDIN, "stdin", "HOW",
	  "how stdin is cut into messages: lines (default),\nwhole, length (each after its length, 32 bits\n"
	  "little-endian) or chunks:SIZE" },
	{ OPT_WAIT, "wait", "LEVEL",
	  "what all messages must have reached at the end: ring (default),\nstream, or durable (on disk)" },
	{ OPT_NAME, "name", "PUBLISHER",
	  "what bus-stat calls this publisher; on a stream, who it is" },
	{ OPT_RESUME, "resume", NULL,
	  "with --name: messages come from the first one again; those that\nthe stream has are left out" },
	{ OPT_FULL, "full", "HOW",
	  "when the slowest reliable subscriber leaves no room:\nevict it once it stands still (default), "
	  "block, fail" },
	{ OPT_FULL_TIME, "full-time", "TIME",
	  "how long evict and block wait (10s); block also forever" },
	{ OPT_SLOTS, "slots", "N", "messages that the ring holds" },
	{ OPT_BYTES, "bytes", "B", "payload that the ring holds" },
	{ OPT_JSON, "json", NULL, "at the end, what was done as a JSON object" },
	{ 0 },
};

static const struct tool tool = {
	"bus-pub",
	"[OPTION...] TOPIC MESSAGE\n[OPTION...] TOPIC --size=B\n[OPTION...] TOPIC < INPUT",
	"Publishes messages on a topic: MESSAGE, made-up ones, or stdin, a line each.\n"
	"In MESSAGE, {{Count}} becomes the message's number, {{Time}} the time in UTC,\n"
	"{{Random}} 16 random hexadecimal digits.",
	options,
};

struct job {
	const char *topic, *message, *name;
	struct bus *bus;
	struct bus_pub *pub;
	struct bus_header headers[BUS_HEADERS_MAX];
	struct bus_out attr; /* key and headers of every message */
	struct bus_pub_opts opts;
	enum tool_framing framing;
	size_t chunk;
	uint64_t count; /* 0: not given */
	uint64_t size;  /* 0: not given */
	uint64_t limit; /* of one message */
	double rate;
	uint32_t level; /* enum bus_level */
	bool resume;
	bool framing_given, size_given, full_time_given, json;
	/* how far it is */
	struct tool_pace pace;
	uint64_t messages, bytes;
	int64_t start_ns, stop_ns;
	struct tool_progress progress;
	bool unsent;
};

/* ---- command line ---- */

static void add_header(struct job *job, const char *text)
{
	struct bus_header *h = &job->headers[job->attr.header_count];
	size_t name_len = strcspn(text, ":");
	const char *value = text + name_len;

	if (!name_len || !*value)
		tool_fail_usage("-H: \"%s\" is not NAME:VALUE", text);
	if (name_len > 255)
		tool_fail_usage("-H: the name has %zu bytes, 255 are allowed", name_len);
	if (job->attr.header_count == BUS_HEADERS_MAX)
		tool_fail_usage("-H: a message has at most %d headers", BUS_HEADERS_MAX);
	value += 1 + strspn(value + 1, " ");
	if (strlen(value) > 65535)
		tool_fail_usage("-H: the value of %.*s has %zu bytes, 65535 are allowed",
				(int)name_len, text, strlen(value));
	*h = (struct bus_header){ .name = text,
				  .name_len = (uint32_t)name_len,
				  .value = value,
				  .value_len = (uint32_t)strlen(value) };
	job->attr.headers = job->headers;
	job->attr.header_count++;
}

static void set_framing(struct job *job, const char *text)
{
	job->framing_given = true;
	if (strncmp(text, "chunks:", 7) == 0) {
		job->framing = TOOL_CHUNKS;
		job->chunk = tool_size("--stdin=chunks", text + 7, 1, UINT32_MAX);
		return;
	}
	job->framing =
		(enum tool_framing)tool_choice("--stdin", text, "lines|whole|length|chunks:SIZE");
	if (job->framing == TOOL_CHUNKS)
		tool_fail_usage("--stdin: chunks need a size (chunks:64K)");
}

static void set_key(struct job *job, const char *text)
{
	if (!*text || strlen(text) > BUS_KEY_MAX)
		tool_fail_usage("--key: 1 to %d bytes are allowed, not %zu", BUS_KEY_MAX,
				strlen(text));
	job->attr.key = text;
	job->attr.key_len = (uint32_t)strlen(text);
}

static void set_option(struct job *job, int opt)
{
	switch (opt) {
	case OPT_COUNT:
		job->count = tool_number("--count", optarg, 1, UINT64_MAX);
		break;
	case OPT_RATE:
		job->rate = tool_rate("--rate", optarg);
		break;
	case OPT_SIZE:
		job->size = tool_size("--size", optarg, 0, UINT32_MAX);
		job->size_given = true;
		break;
	case OPT_KEY:
		set_key(job, optarg);
		break;
	case 'H':
		add_header(job, optarg);
		break;
	case OPT_STDIN:
		set_framing(job, optarg);
		break;
	case OPT_WAIT:
		job->level = (uint32_t)tool_choice("--wait", optarg, "ring|stream|durable");
		break;
	case OPT_NAME:
		if (!*optarg || strlen(optarg) > BUS_NAME_MAX)
			tool_fail_usage("--name: 1 to %d bytes are allowed, not %zu", BUS_NAME_MAX,
					strlen(optarg));
		job->opts.name = optarg;
		break;
	case OPT_RESUME:
		job->resume = true;
		break;
	case OPT_FULL:
		job->opts.full = (uint32_t)tool_choice("--full", optarg, "evict|block|fail");
		break;
	case OPT_FULL_TIME:
		job->opts.full_ns = strcmp(optarg, "forever") ? tool_duration("--full-time", optarg)
							      : -1;
		if (job->opts.full_ns == 0)
			tool_fail_usage("--full-time: not to wait at all is --full=fail");
		job->full_time_given = true;
		break;
	case OPT_SLOTS:
		job->opts.slots = (uint32_t)tool_number("--slots", optarg, 16, 1u << 26);
		break;
	case OPT_BYTES:
		job->opts.bytes = tool_size("--bytes", optarg, 1, UINT64_MAX / 2);
		break;
	case OPT_JSON:
		job->json = true;
		break;
	}
}

static void parse(struct job *job, int argc, char **argv)
{
	int opt;

	while ((opt = tool_next_option(argc, argv)) != -1)
		set_option(job, opt);
	if (optind == argc)
		tool_fail_usage("no TOPIC given");
	job->topic = argv[optind++];
	if (optind < argc)
		job->message = argv[optind++];
	if (optind < argc)
		tool_fail_usage("one MESSAGE is allowed, \"%s\" is too much (quote it?)",
				argv[optind]);
	if (job->message && job->size_given)
		tool_fail_usage("MESSAGE and --size exclude each other");
	if (job->framing_given && (job->message || job->size_given))
		tool_fail_usage("--stdin, MESSAGE and --size exclude each other");
	if (job->resume && !job->opts.name)
		tool_fail_usage("--resume needs a --name: by that a stream knows what it has");
	if (job->opts.full_ns < 0 && job->opts.full != BUS_FULL_BLOCK)
		tool_fail_usage("--full-time=forever needs --full=block");
	if (job->full_time_given && job->opts.full == BUS_FULL_FAIL)
		tool_fail_usage("--full=fail does not wait: --full-time has no meaning with it");
	tool_check_topic(job->topic);
}

/* ---- sending ---- */

/* Also before a failure: what was published stays published. */
static void report(struct job *job)
{
	int64_t passed = tool_clock_ns() - job->start_ns;

	tool_progress_clear(&job->progress);
	if (!job->json)
		return;
	tool_json_print(json_pack("{s:s, s:I, s:I, s:f}", "topic", job->topic, "messages",
				  (json_int_t)job->messages, "bytes", (json_int_t)job->bytes,
				  "seconds", (double)passed / 1e9));
}

/* Where stdin is the source, an error names the line as an editor counts. */
static void name_message(const struct job *job, char *buf, size_t size)
{
	static const char *const words[] = { "line", "the input", "message", "chunk" };
	bool from_stdin = !job->message && !job->size_given;

	if (from_stdin && job->framing == TOOL_WHOLE)
		snprintf(buf, size, "the input");
	else
		snprintf(buf, size, "%s %ju", from_stdin ? words[job->framing] : "message",
			 (uintmax_t)job->messages + 1);
}

static _Noreturn void fail_too_long(struct job *job, uint64_t len)
{
	char what[40], longer[40] = "";

	name_message(job, what, sizeof(what));
	if (len)
		snprintf(longer, sizeof(longer), " of %ju bytes", (uintmax_t)len);
	tool_fail(TOOL_FAILED,
		  "cannot publish to \"%s\": %s%s is longer than the ring may grow to (%s a message); "
		  "bus-topic create --max-bytes and busd's configuration set the limit",
		  job->topic, what, longer, tool_bytes(job->limit).s);
}

static _Noreturn void fail_send(struct job *job, int err, const struct bus_out *msg)
{
	char what[40];

	report(job);
	if (err == -EMSGSIZE)
		fail_too_long(job, msg->len);
	name_message(job, what, sizeof(what));
	if (err == -ETIMEDOUT)
		tool_fail(TOOL_NOBODY,
			  "cannot publish to \"%s\" (%s): no room for %s, a subscriber does not read; "
			  "bus-stat topic %s shows which",
			  job->topic, what,
			  tool_seconds((uint64_t)(job->opts.full_ns ? job->opts.full_ns : 10000000000))
				  .s,
			  job->topic);
	/* the ring had to grow, and busd said why not; or another busd does not let it go on */
	if (err == -EDQUOT || err == -ENOMEM || err == -EMFILE || err == -ENOENT || err == -EBUSY ||
	    err == -EACCES)
		tool_fail_bus(job->bus, err, "publish to \"%s\" (%s)", job->topic, what);
	tool_fail_errno(err, "publish to \"%s\" (%s)", job->topic, what);
}

/* Sends all of them. -EINTR: a stop signal came and there was no room for a while. */
static int send_all(struct job *job, const struct bus_out *msgs, int count)
{
	int sent = 0;

	while (sent < count) {
		int n = bus_pub_send_batch(job->pub, msgs + sent, count - sent);

		if (n == -EINTR) {
			if (!tool_stop_signal)
				continue;
			if (!job->stop_ns)
				job->stop_ns = tool_clock_ns();
			if (tool_clock_ns() - job->stop_ns > STOP_PATIENCE_NS) {
				job->unsent = true;
				return -EINTR;
			}
			continue;
		}
		if (n < 0)
			fail_send(job, n, &msgs[sent]);
		for (int i = sent; i < sent + n; i++)
			job->bytes += msgs[i].len;
		job->messages += (uint64_t)n;
		sent += n;
	}
	tool_progress_show(&job->progress, job->messages, job->bytes);
	return 0;
}

/* Sends a batch as the rate allows. */
static int send_paced(struct job *job, const struct bus_out *msgs, int count)
{
	for (int sent = 0; sent < count;) {
		int n = tool_pace_next(&job->pace, count - sent);
		int err = n < 0 ? n : send_all(job, msgs + sent, n);

		if (err)
			return err;
		sent += n;
	}
	return 0;
}

/* ---- where messages come from ---- */

/* Decimal, right-aligned with zeros in at most 20 bytes, then a pattern; cut off at size. */
static void write_pattern(char *buf, size_t size, uint64_t number)
{
	char digits[24];
	size_t len = (size_t)snprintf(digits, sizeof(digits), "%020ju", (uintmax_t)number);

	/* The last digits are those that differ. */
	memcpy(buf, digits + (size < len ? len - size : 0), size < len ? size : len);
}

static size_t prepare(const struct job *job, char *buf, uint64_t number)
{
	if (job->message)
		return tool_template_write(job->message, number, buf);
	write_pattern(buf, job->size, number);
	return job->size;
}

static char *make_buffers(const struct job *job, size_t each, int count)
{
	char *buffers = malloc(each * (size_t)count + 1);

	if (!buffers)
		tool_fail(TOOL_FAILED, "no memory for messages of %s", tool_bytes(job->size).s);
	for (size_t i = 0; !job->message && i < each * (size_t)count; i++)
		buffers[i] = i % each < 20 ? ' ' : (char)('a' + (i % each - 20) % 26);
	return buffers;
}

/* MESSAGE or --size, count times. */
static void publish_made(struct job *job)
{
	size_t each = job->message ? tool_template_size(job->message) : job->size;
	/* What stands in MESSAGE may be the time: then it is made when it is due. */
	bool timed = job->rate > 0 && job->message && tool_template_check(job->message);
	int most = each >= BATCH_BYTES || timed ? 1 : each ? (int)(BATCH_BYTES / each) : BATCH_MAX;
	uint64_t count = job->count ? job->count : 1;
	struct bus_out batch[BATCH_MAX];
	char *buffers;
	int err = 0;

	if (most > BATCH_MAX)
		most = BATCH_MAX;
	buffers = make_buffers(job, each, most);
	while (job->messages < count && !err && !tool_stop_signal) {
		uint64_t left = count - job->messages;
		int n = tool_pace_next(&job->pace, left < (uint64_t)most ? (int)left : most);

		for (int i = 0; i < n; i++) {
			char *buf = buffers + (size_t)i * each;

			batch[i] = job->attr;
			batch[i].data = buf;
			batch[i].len = (uint32_t)prepare(job, buf, job->messages + (uint64_t)i + 1);
		}
		err = n < 0 ? n : send_all(job, batch, n);
	}
	free(buffers);
}

static _Noreturn void fail_input(struct job *job, struct tool_input *in, int err)
{
	report(job);
	if (err == -EMSGSIZE)
		fail_too_long(job, 0);
	if (err == -EBADMSG)
		tool_fail(TOOL_FAILED, "stdin ends within message %ju: %zu bytes are left over",
			  (uintmax_t)in->number + 1, tool_input_unfinished(in));
	tool_fail_errno(err, "read stdin");
}

static void publish_stdin(struct job *job)
{
	struct bus_out batch[BATCH_MAX];
	struct tool_input in;
	int n, err = 0;

	tool_input_open(&in, STDIN_FILENO, job->framing, job->limit, job->chunk);
	while (!err && (!job->count || job->messages < job->count)) {
		uint64_t left = job->count ? job->count - job->messages : BATCH_MAX;

		n = tool_input_next(&in, batch, left < BATCH_MAX ? (int)left : BATCH_MAX);
		if (n == -EINTR && !tool_stop_signal)
			continue;
		if (n < 0 && n != -EINTR)
			fail_input(job, &in, n);
		if (n <= 0)
			break;
		tool_pace_forgive(&job->pace, in.waited_ns);
		for (int i = 0; i < n; i++) {
			struct bus_out out = job->attr;

			out.data = batch[i].data;
			out.len = batch[i].len;
			batch[i] = out;
		}
		err = send_paced(job, batch, n);
	}
	if (tool_stop_signal && !job->unsent && tool_input_unfinished(&in))
		tool_warn("stopped within %s %ju, which was not published",
			  job->framing == TOOL_LINES ? "line" : "message", (uintmax_t)in.number + 1);
	tool_input_close(&in);
}

/* ---- how far messages have come ---- */

/* What cannot be had is refused before anything is sent. */
static void check_level(struct job *job)
{
	static const char *const levels[] = { "ring", "stream", "durable" };
	uint64_t seq;
	int err = bus_pub_reached(job->pub, job->level, &seq);

	if (err)
		tool_fail(TOOL_FAILED, "cannot publish to \"%s\" with --wait=%s: %s", job->topic,
			  levels[job->level], bus_why(job->bus));
}

static void resume(struct job *job, const struct bus_pub_info *info)
{
	int err = bus_pub_rewind(job->pub, 0);

	if (err)
		tool_fail_bus(job->bus, err, "resume on \"%s\"", job->topic);
	if (info->seq)
		tool_warn("the stream has the first %ju messages of \"%s\"", (uintmax_t)info->seq,
			  job->opts.name);
}

/* All that was sent. A stop signal ends it: they are under way, and come all the same. */
static void await_level(struct job *job)
{
	struct bus_pub_info info;
	int err = bus_pub_info(job->pub, &info);

	while (err == 0 && job->level != BUS_LEVEL_RING) {
		err = bus_pub_wait(job->pub, job->level, info.seq, -1);
		if (err == 0)
			return;
		if (err == -EINTR)
			err = tool_stop_signal ? err : 0;
	}
	if (err == -EINTR)
		tool_die_of_signal(tool_stop_signal);
	if (err)
		tool_fail_bus(job->bus, err, "know that all is in \"%s\"", job->topic);
}

/* ---- the whole ---- */

static void open_publisher(struct job *job)
{
	struct bus_pub_info info;
	int err;

	job->bus = tool_connect();
	tool_close_at_exit(job->bus);
	err = bus_pub_open(&job->pub, job->bus, job->topic, &job->opts);
	if (err)
		tool_fail_bus(job->bus, err, "publish to \"%s\"", job->topic);
	err = bus_pub_info(job->pub, &info);
	if (err)
		tool_fail_errno(err, "publish to \"%s\"", job->topic);
	check_level(job);
	if (job->resume)
		resume(job, &info);
	job->limit = info.limit_message;
	/* What cannot be sent is not made or gathered first. */
	if (job->size > job->limit || job->chunk > job->limit)
		fail_too_long(job, job->size > job->limit ? job->size : job->chunk);
}

int main(int argc, char **argv)
{
	struct job job = { .opts = { .size = sizeof(job.opts) } };

	tool_begin(&tool);
	parse(&job, argc, argv);
	open_publisher(&job);
	tool_catch_stop();
	job.start_ns = tool_clock_ns();
	tool_progress_start(&job.progress, job.message || job.size_given || !isatty(STDIN_FILENO));
	tool_pace_start(&job.pace, job.rate);
	if (job.message || job.size_given)
		publish_made(&job);
	else
		publish_stdin(&job);
	await_level(&job);
	report(&job);
	if (job.unsent)
		tool_warn("stopped: \"%s\" has no room, not all that was read was published",
			  job.topic);
	if (tool_stop_signal)
		tool_die_of_signal(tool_stop_signal);
	return tool_end(TOOL_DONE);
}
