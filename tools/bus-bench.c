/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus-bench.c - how fast the bus is here and now, beside what this machine can do at best. The
 * measuring itself is in bench_*.c; this file is the command line.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_measure.h"
#include "bench_message.h"
#include "bench_pair.h"
#include "bench_replay.h"
#include "bench_report.h"
#include "bench_stream.h"
#include "tool.h"

/*
 * Shorter than a slice of the scheduler where processes spin: most rounds are undisturbed then,
 * whoever else runs.
 */
#define ROUND_NS       UINT64_C(2500000)
#define SLOW_ROUND_NS  UINT64_C(100000000) /* where processes sleep, or messages are few */
#define COUNT_ROUNDS   10
#define ROUNDS_MIN     5
#define BATCH_MOST     1024
#define SIZE_MOST      (UINT64_C(1) << 30)
#define SUB_WAIT_SLICE 50000000
#define SUB_LIMIT_NS   100000000

enum {
	OPT_SIZE = TOOL_LONG,
	OPT_COUNT,
	OPT_RATE,
	OPT_DURATION,
	OPT_ROUNDS,
	OPT_CLIENTS,
	OPT_PUBS,
	OPT_SUBS,
	OPT_NO_SUBS,
	OPT_BATCH,
	OPT_IN_PLACE,
	OPT_NO_TOUCH,
	OPT_WAIT,
	OPT_TOPIC,
	OPT_SLOTS,
	OPT_BYTES,
	OPT_DIR,
	OPT_NO_LIMIT,
	OPT_JSON,
	OPT_CSV,
	OPT_HGRM,
};

static const struct tool_option options[] = {
	{ OPT_SIZE, "size", "B", "bytes of a message (64)" },
	{ OPT_DURATION, "duration", "TIME", "how long in all, limits excepted (1s)" },
	{ OPT_COUNT, "count", "N", "N messages of each publisher in all, instead of a time" },
	{ OPT_ROUNDS, "rounds", "N", "rounds on the bus and of the limit in turn (at least 5)" },
	{ OPT_RATE, "rate", "R",
	  "R messages a second from each publisher, each at its time however late\nthe ones before were; "
	  "latencies count from that time" },
	{ OPT_CLIENTS, "clients", "N", "pair: N pairs at a time; pub: the same as --subs" },
	{ OPT_PUBS, "pubs", "N", "pub: publishing processes (1)" },
	{ OPT_SUBS, "subs", "N", "pub: subscribing processes (1)" },
	{ OPT_NO_SUBS, "no-subs", NULL, "pub: only publish; whoever else subscribes receives" },
	{ OPT_BATCH, "batch", "N", "pub: N messages in one call" },
	{ OPT_IN_PLACE, "inplace", NULL, "write messages in the ring, instead of copying them there" },
	{ OPT_NO_TOUCH, "no-touch", NULL,
	  "hand messages over without writing or reading their bytes" },
	{ OPT_WAIT, "wait", "HOW",
	  "who waits spins (default where each process has a processor\nof its own), sleeps, or is adaptive: "
	  "spins a little, then sleeps" },
	{ OPT_TOPIC, "topic", "T", "sub: the topic or pattern; else a name of its own" },
	{ OPT_SLOTS, "slots", "N", "messages that each ring holds" },
	{ OPT_BYTES, "bytes", "B", "payload that each ring holds" },
	{ OPT_DIR, "dir", "DIR",
	  "replay: read the log in this directory, without busd; else a\nstream is made to be read" },
	{ OPT_NO_LIMIT, "no-limit", NULL, "do not measure the limit" },
	{ OPT_JSON, "json", NULL, "the result as a JSON object" },
	{ OPT_CSV, "csv", NULL, "the result as a line of names and a line of values" },
	{ OPT_HGRM, "hgrm", "FILE",
	  "latencies as a percentile distribution in HdrHistogram's format (us)" },
	{ 0 },
};

static const struct tool tool = {
	"bus-bench",
	"pair [OPTION...]\npub [OPTION...]\nsub --topic=T [OPTION...]\nstream [OPTION...]\n"
	"replay [OPTION...]",
	"Measures the bus, in turn with the limit of this machine for the same work.\n"
	"pair: round trips between two processes. pub: messages a second from publishing to\n"
	"subscribing processes. sub: the receiving side alone, for a topic that others publish on.\n"
	"stream: messages a second into a stream, beside a live topic. replay: messages a second\n"
	"out of a stream's log, beside plain reads.",
	options,
};

enum form { FORM_TEXT, FORM_JSON, FORM_CSV };

struct job {
	struct bench_plan plan;
	struct bench_effort effort;
	uint64_t count; /* in all */
	int64_t duration_ns;
	int clients, rounds, subs;
	bool no_subs, wait_given, duration_given;
	enum form form;
	const char *hgrm, *dir;
};

/* ---- command line ---- */

static void parse_number_of(struct job *job, int opt)
{
	switch (opt) {
	case OPT_ROUNDS:
		job->rounds = (int)tool_number("--rounds", optarg, 1, BENCH_ROUNDS_MAX);
		break;
	case OPT_CLIENTS:
		job->clients = (int)tool_number("--clients", optarg, 1, BENCH_TEAM_MAX);
		break;
	case OPT_PUBS:
		job->plan.pubs = (int)tool_number("--pubs", optarg, 1, BENCH_TEAM_MAX);
		break;
	case OPT_SUBS:
		job->subs = (int)tool_number("--subs", optarg, 1, BENCH_TEAM_MAX);
		break;
	case OPT_BATCH:
		job->plan.batch = (int)tool_number("--batch", optarg, 1, BATCH_MOST);
		break;
	case OPT_SIZE:
		job->plan.size = (uint32_t)tool_size("--size", optarg, 0, SIZE_MOST);
		break;
	case OPT_SLOTS:
		job->plan.slots = (uint32_t)tool_size("--slots", optarg, 16, 1u << 26);
		break;
	case OPT_BYTES:
		job->plan.bytes = tool_size("--bytes", optarg, 4096, UINT64_C(1) << 36);
		break;
	case OPT_COUNT:
		job->count = tool_number("--count", optarg, 1, UINT64_MAX / 2);
		break;
	case OPT_RATE:
		job->plan.rate = tool_rate("--rate", optarg);
		break;
	case OPT_DURATION:
		job->duration_ns = tool_duration("--duration", optarg);
		job->duration_given = true;
		break;
	}
}

static void parse_option(struct job *job, int opt)
{
	switch (opt) {
	case OPT_NO_SUBS:
		job->no_subs = true;
		break;
	case OPT_IN_PLACE:
		job->plan.in_place = true;
		break;
	case OPT_NO_TOUCH:
		job->plan.untouched = true;
		break;
	case OPT_WAIT:
		job->plan.wait =
			(enum bench_wait)tool_choice("--wait", optarg, "spin|sleep|adaptive");
		job->wait_given = true;
		break;
	case OPT_TOPIC:
		job->plan.topic = optarg;
		break;
	case OPT_DIR:
		job->dir = optarg;
		break;
	case OPT_NO_LIMIT:
		job->effort.no_limit = true;
		break;
	case OPT_JSON:
		job->form = FORM_JSON;
		break;
	case OPT_CSV:
		job->form = FORM_CSV;
		break;
	case OPT_HGRM:
		job->hgrm = optarg;
		break;
	default:
		parse_number_of(job, opt);
	}
}

/* What does not go together. */
static void check(const struct job *job, const char *kind)
{
	const struct bench_plan *plan = &job->plan;
	bool pair = strcmp(kind, "pair") == 0, pub = strcmp(kind, "pub") == 0;
	bool replay = strcmp(kind, "replay") == 0;

	if (job->dir && !replay)
		tool_fail_usage("--dir is for replay");
	if (replay && (plan->slots || plan->bytes || job->duration_given || job->wait_given))
		tool_fail_usage(
			"replay: all of a log is read in each round: only --size, --count, --rounds,\n"
			"           --dir and --no-limit");
	if (replay || strcmp(kind, "stream") == 0) {
		if (plan->batch > 1 || plan->pubs > 1 || job->subs > 0 || job->no_subs ||
		    job->clients > 0 || plan->rate > 0 || plan->in_place || plan->untouched ||
		    job->hgrm)
			tool_fail_usage("%s: one publisher or reader, as fast as it goes: only "
					"--size, --count, --duration, --rounds, --slots and --bytes",
					kind);
		return;
	}
	if (pair && (plan->batch > 1 || plan->pubs > 1 || job->subs > 0 || job->no_subs))
		tool_fail_usage(
			"--batch, --pubs, --subs and --no-subs are not for pair; --clients is");
	if (!pub && !pair &&
	    (plan->batch > 1 || plan->pubs > 1 || job->subs > 0 || job->no_subs || plan->rate > 0))
		tool_fail_usage("sub only receives: publish with bus-bench pub or bus-pub");
	if (plan->rate > 0 && (plan->size < 8 || plan->batch > 1 || plan->in_place || plan->untouched))
		tool_fail_usage(
			"--rate writes a time into each message: at least 8 bytes, one at a time, copied");
	if (plan->batch > 1 && (plan->in_place || plan->untouched))
		tool_fail_usage("--batch copies messages: not with --inplace or --no-touch");
	if (job->hgrm && !pair && plan->rate == 0)
		tool_fail_usage("--hgrm needs latencies: pair, or pub with --rate");
	if (job->no_subs && (job->subs > 0 || job->clients > 0))
		tool_fail_usage("--no-subs and --subs contradict each other");
	if (plan->topic)
		tool_check_topic(plan->topic);
}

static void complete(struct job *job, const char *kind)
{
	struct bench_plan *plan = &job->plan;
	static char name[64];
	int a, b, processes;

	plan->pair = strcmp(kind, "pair") == 0;
	plan->socket = tool_socket_path;
	if (!plan->topic) {
		snprintf(name, sizeof(name), "bus-bench.%d", (int)getpid());
		plan->topic = name;
	}
	if (plan->pair)
		plan->pubs = job->clients ? job->clients : 1;
	else if (strcmp(kind, "stream") == 0 || strcmp(kind, "replay") == 0)
		plan->subs = 1;
	else
		plan->subs = job->no_subs   ? 0
			     : job->subs    ? job->subs
			     : job->clients ? job->clients
					    : 1;
	processes = plan->pair ? 2 * plan->pubs : plan->pubs + plan->subs;
	if (processes > BENCH_TEAM_MAX)
		tool_fail_usage("these are %d processes, %d is the most", processes, BENCH_TEAM_MAX);
	if (!job->wait_given)
		plan->wait = processes <= 2 && bench_two_cpus(&a, &b) >= 2 ? BENCH_SPIN
									   : BENCH_ADAPTIVE;
	if (plan->untouched)
		plan->in_place = true;

	job->effort.rounds = job->rounds;
	if (!job->rounds && job->count)
		job->effort.rounds = COUNT_ROUNDS;
	else if (!job->rounds)
		job->effort.rounds =
			(int)((uint64_t)job->duration_ns /
			      (plan->wait == BENCH_SPIN && plan->rate == 0 && strcmp(kind, "stream")
				       ? ROUND_NS
				       : SLOW_ROUND_NS));
	if (!job->rounds && job->effort.rounds < ROUNDS_MIN)
		job->effort.rounds = ROUNDS_MIN;
	if (job->effort.rounds > BENCH_ROUNDS_MAX)
		job->effort.rounds = BENCH_ROUNDS_MAX;
	job->effort.round_ns = (uint64_t)job->duration_ns / (uint64_t)job->effort.rounds;
	if (job->count)
		job->effort.count = (job->count + (uint64_t)job->effort.rounds - 1) /
				    (uint64_t)job->effort.rounds;
}

/* ---- results ---- */

static void write_hgrm(const char *path, const struct bench_histogram *h)
{
	FILE *f = fopen(path, "w");
	int err = f ? bench_histogram_print(h, f, 1000) : -errno;

	if (f && fclose(f) != 0 && !err)
		err = -errno;
	if (err)
		tool_fail(TOOL_FAILED, "cannot write \"%s\": %s", path, strerror(-err));
}

static void show_json(const struct job *job, json_t *object)
{
	if (!object)
		tool_fail(TOOL_FAILED, "no memory for the result");
	if (job->form == FORM_CSV)
		bench_print_csv(stdout, object);
	else if (bench_print_json(stdout, object) < 0)
		tool_fail(TOOL_FAILED, "cannot write JSON: out of memory, or the output failed");
	json_decref(object);
}

static _Noreturn void fail_measurement(int err, const char *why)
{
	/* Nobody listens: as tool_connect() has it. */
	tool_fail(tool_exit_code(err == -ENOENT ? -ECONNREFUSED : err), "cannot measure: %s", why);
}

static void run_pair(const struct job *job)
{
	static struct bench_trips trips;
	const char *why = NULL;
	int err = bench_measure_trips(&job->plan, &job->effort, &trips, &why);

	if (err)
		fail_measurement(err, why);
	if (job->hgrm)
		write_hgrm(job->hgrm, &trips.bus);
	if (job->form == FORM_TEXT)
		bench_print_trips(stdout, &job->plan, &job->effort, &trips);
	else
		show_json(job, bench_json_trips(&job->plan, &job->effort, &trips));
}

static void run_pub(const struct job *job)
{
	static struct bench_flow flow;
	const char *why = NULL;
	int err = bench_measure_flow(&job->plan, &job->effort, &flow, &why);

	if (err)
		fail_measurement(err, why);
	if (job->hgrm)
		write_hgrm(job->hgrm, &flow.latency);
	if (job->form == FORM_TEXT)
		bench_print_flow(stdout, "published", &job->plan, &job->effort, &flow);
	else
		show_json(job, bench_json_flow("pub", &job->plan, &job->effort, &flow));
}

static void run_stream(const struct job *job)
{
	static struct bench_flow flow;
	const char *why = NULL;
	int err = bench_measure_stream(&job->plan, &job->effort, &flow, &why);

	if (err)
		fail_measurement(err, why);
	if (job->form == FORM_TEXT)
		bench_print_flow(stdout, "streamed", &job->plan, &job->effort, &flow);
	else
		show_json(job, bench_json_flow("stream", &job->plan, &job->effort, &flow));
}

static void run_replay(struct job *job)
{
	static struct bench_flow flow;
	const char *why = NULL;
	int err;

	/* not of a publisher, and not divided into rounds: so many there are to be read in each */
	job->effort.rounds = job->rounds ? job->rounds : COUNT_ROUNDS;
	job->effort.count = job->count;
	tool_catch_stop();
	err = bench_measure_replay(&job->plan, &job->effort, job->dir, &flow, &why);
	if (tool_stop_signal)
		tool_die_of_signal(tool_stop_signal);
	if (err && job->dir)
		tool_fail(tool_exit_code(err), "cannot measure \"%s\": %s", job->dir, why);
	if (err)
		fail_measurement(err, why);
	if (job->form == FORM_TEXT)
		bench_print_flow(stdout, "replayed", &job->plan, &job->effort, &flow);
	else
		show_json(job, bench_json_flow("replay", &job->plan, &job->effort, &flow));
}

/* ---- sub ---- */

struct received {
	uint64_t messages, bytes, lost, sum;
	int64_t first_ns, last_ns;
};

/* Takes what is there. Returns how many. */
static int receive_some(struct bus_sub *sub, struct received *got)
{
	struct bus_msg msgs[64];
	int n = bus_sub_peek(sub, msgs, 64), err;

	if (n == -ESTALE) /* said once after an eviction; what was missed is in the next message's lost */
		return 0;
	if (n < 0)
		tool_fail_errno(n, "read messages");
	for (int i = 0; i < n; i++) {
		got->lost += msgs[i].lost;
		got->bytes += msgs[i].len;
		got->sum += bench_message_read(msgs[i].data, msgs[i].len);
	}
	if (n == 0)
		return 0;
	err = bus_sub_release(sub, n);
	if (err && err != -ESTALE)
		tool_fail_errno(err, "release messages");
	got->last_ns = tool_clock_ns();
	if (got->messages == 0)
		got->first_ns = got->last_ns;
	got->messages += (uint64_t)n;
	return n;
}

/*
 * Until so many have come, or the time is over. That begins with the first message; without one it
 * is waited as long.
 */
static void receive(const struct job *job, struct bus_sub *sub, struct received *got)
{
	int64_t start = tool_clock_ns(),
		most = job->count && !job->duration_given ? INT64_MAX : job->duration_ns;

	while (!tool_stop_signal && !(job->count && got->messages >= job->count)) {
		int err;

		if (tool_clock_ns() - (got->messages ? got->first_ns : start) >= most)
			break;
		if (receive_some(sub, got) > 0)
			continue;
		err = bus_sub_wait(sub, SUB_WAIT_SLICE);
		if (err < 0 && err != -EINTR)
			tool_fail_errno(err, "wait for messages");
	}
}

static void conclude_sub(struct job *job, const struct received *got, struct bench_flow *flow)
{
	double seconds = (double)(got->last_ns - got->first_ns) / 1e9;
	struct bench_ring_shape shape = { .slots = job->plan.slots ? job->plan.slots : 4096,
					  .bytes = job->plan.bytes ? job->plan.bytes : 256 << 10,
					  .size = (uint32_t)(got->bytes / got->messages) };

	flow->delivered = got->messages;
	flow->lost = got->lost;
	if (seconds > 0) {
		flow->bus.messages_per_second = (double)got->messages / seconds;
		flow->bus.bytes_per_second = (double)got->bytes / seconds;
		flow->deliveries_per_second = flow->bus.messages_per_second;
	}
	while (shape.bytes < 4 * (uint64_t)shape.size)
		shape.bytes *= 2;
	if (job->effort.no_limit || bench_limit_ring(&shape, SUB_LIMIT_NS, &flow->limit) < 0)
		return;
	job->plan.size = shape.size;
	flow->ratio.median = flow->bus.messages_per_second / flow->limit.messages_per_second;
	flow->ratio.min = flow->ratio.max = flow->ratio.median;
	flow->ratio.count = 1;
}

static void run_sub(struct job *job)
{
	static struct bench_flow flow;
	struct received got = { 0 };
	struct bus *bus = tool_connect();
	struct bus_sub *sub;
	int err = bus_sub_open(&sub, bus, job->plan.topic, NULL);

	if (err)
		tool_fail_bus(bus, err, "subscribe to \"%s\"", job->plan.topic);
	tool_catch_stop();
	receive(job, sub, &got);
	bus_close(bus);
	if (tool_stop_signal && got.messages == 0)
		tool_die_of_signal(tool_stop_signal);
	if (got.messages == 0)
		tool_fail(TOOL_NOBODY, "nothing was published on \"%s\" within %s", job->plan.topic,
			  tool_seconds((uint64_t)job->duration_ns).s);
	bench_histogram_reset(&flow.latency);
	conclude_sub(job, &got, &flow);
	if (job->form == FORM_TEXT)
		bench_print_flow(stdout, "received", &job->plan, &job->effort, &flow);
	else
		show_json(job, bench_json_flow("sub", &job->plan, &job->effort, &flow));
}

int main(int argc, char **argv)
{
	struct job job = { .plan = { .size = 64, .pubs = 1, .batch = 1 }, .duration_ns = 1000000000 };
	const char *kind;
	int opt;

	tool_begin(&tool);
	while ((opt = tool_next_option(argc, argv)) != -1)
		parse_option(&job, opt);
	if (optind >= argc)
		tool_fail_usage("what is to be measured? pair, pub, sub, stream or replay");
	kind = argv[optind];
	if (strcmp(kind, "pair") != 0 && strcmp(kind, "pub") != 0 && strcmp(kind, "sub") != 0 &&
	    strcmp(kind, "stream") != 0 && strcmp(kind, "replay") != 0)
		tool_fail_usage("\"%s\" cannot be measured: pair, pub, sub, stream or replay", kind);
	if (optind + 1 < argc)
		tool_fail_usage("one measurement at a time: \"%s\" is too much", argv[optind + 1]);
	check(&job, kind);
	if (strcmp(kind, "sub") == 0 && !job.plan.topic)
		tool_fail_usage("sub: which topic? --topic=T");
	complete(&job, kind);
	if (strcmp(kind, "pair") == 0)
		run_pair(&job);
	else if (strcmp(kind, "pub") == 0)
		run_pub(&job);
	else if (strcmp(kind, "stream") == 0)
		run_stream(&job);
	else if (strcmp(kind, "replay") == 0)
		run_replay(&job);
	else
		run_sub(&job);
	return tool_end(TOOL_DONE);
}
