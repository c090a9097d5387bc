/* SPDX-License-Identifier: Apache-2.0 */
/* bench_replay.c - see bench_replay.h */
#include "bench_replay.h"

#include "bench_message.h"
#include "tool.h"

#include <bus_log.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOT_BYTES    64 /* docs/log-format.md */
#define DEFAULT_BYTES (UINT64_C(128) << 20)
#define READ_BYTES    (256u << 10)
#define BATCH         64
#define PATIENCE_NS   30000000000
#define PAUSE_NS      10000000

struct bench_log {
	struct bus *bus;
	struct bus_log *log;
	char topic[BUS_TOPIC_MAX + 1]; /* that was made for it, or "" */
	int plain;                     /* the file for the limit */
	uint64_t messages, bytes, disk_bytes;
};

/* ---- a stream to be read ---- */

static int publish(struct bus_pub *pub, uint32_t size, uint64_t count)
{
	struct bus_out outs[BATCH];
	char *message = calloc(1, (size_t)size + 1);
	int n = message ? 0 : -ENOMEM;

	for (int i = 0; i < BATCH; i++)
		outs[i] = (struct bus_out){ .data = message, .len = size };
	while (n >= 0 && count > 0) {
		n = bus_pub_send_batch(pub, outs, count < BATCH ? (int)count : BATCH);
		count -= n > 0 ? (uint64_t)n : 0;
		if (n == -EINTR && !tool_stop_signal)
			n = 0;
	}
	free(message);
	return n < 0 ? n : 0;
}

/* Until busd has written them all. */
static int await_written(struct bench_log *at, uint64_t count, const char **why)
{
	int64_t end = tool_clock_ns() + PATIENCE_NS;
	struct bus_log_info info;
	int err;

	do {
		err = bus_log_info(at->log, &info);
		if (err < 0)
			*why = bus_why(NULL);
		if (err < 0 || info.end_seq >= count)
			return err;
	} while (tool_clock_ns() < end && tool_sleep_until(tool_clock_ns() + PAUSE_NS) == 0);
	*why = "the stream was not written to disk in time";
	return -ETIMEDOUT;
}

static int make_log(struct bench_log *at, const struct bench_plan *plan, uint64_t count,
		    const char **why)
{
	const struct bus_connect_opts connect = { .size = sizeof(connect),
						  .socket = plan->socket,
						  .name = "bus-bench" };
	const struct bus_topic_opts stream = { .size = sizeof(stream),
					       .flags = BUS_TOPIC_STREAM,
					       .sync = BUS_SYNC_NONE };
	struct bus_pub *pub = NULL;
	int err = bus_connect(&at->bus, &connect);

	if (count == 0)
		count = DEFAULT_BYTES / (SLOT_BYTES + (plan->size + 63u) / 64 * 64);
	snprintf(at->topic, sizeof(at->topic), "%.200s.replay", plan->topic);
	if (err == 0)
		err = bus_topic_create(at->bus, at->topic, &stream);
	if (err == 0)
		err = bus_pub_open(&pub, at->bus, at->topic, NULL);
	if (err < 0) {
		*why = bus_why(at->bus);
		return err;
	}
	err = publish(pub, plan->size, count);
	bus_pub_close(pub);
	if (err < 0) {
		*why = "publishing into the stream failed";
		return err;
	}
	err = bus_log_open_topic(&at->log, at->bus, at->topic, NULL);
	if (err < 0)
		*why = bus_why(NULL);
	return err < 0 ? err : await_written(at, count, why);
}

static void close_log(struct bench_log *at)
{
	bus_log_close(at->log);
	if (at->bus && at->topic[0])
		(void)!bus_topic_remove(at->bus, at->topic, BUS_TOPIC_FORCE);
	bus_close(at->bus);
	if (at->plain >= 0)
		close(at->plain);
}

/* ---- rounds ---- */

/* All of it; how long that took. */
static int log_round(struct bench_log *at, double *rate, const char **why)
{
	static struct bus_msg msgs[BUS_LOG_BATCH];
	int64_t begin = tool_clock_ns();
	uint64_t messages = 0, bytes = 0, disk = 0;
	int n, err = bus_log_seek(at->log, BUS_LOG_OLDEST, 0);

	while (err == 0 && (n = bus_log_next(at->log, msgs, BUS_LOG_BATCH)) != 0) {
		if (n < 0)
			err = n;
		for (int i = 0; i < n; i++) {
			uint64_t len = msgs[i].len + msgs[i].headers_len + msgs[i].key_len;

			bytes += msgs[i].len;
			disk += SLOT_BYTES + (len + 63) / 64 * 64;
		}
		messages += n > 0 ? (uint64_t)n : 0;
	}
	if (err == 0 && messages == 0) {
		err = -ENODATA;
		*why = "the log is empty";
		return err;
	}
	if (err < 0) {
		*why = bus_why(NULL);
		return err;
	}
	at->messages = messages;
	at->bytes = bytes;
	at->disk_bytes = disk;
	*rate = (double)messages / (double)(tool_clock_ns() - begin) * 1e9;
	return 0;
}

/* A file of as many bytes, in the page cache since it has just been written. It has no name. */
static int make_plain(struct bench_log *at, const char **why)
{
	const char *dir = getenv("TMPDIR");
	char *block = calloc(1, READ_BYTES);
	int err = block ? 0 : -ENOMEM;

	at->plain = open(dir && *dir ? dir : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (err == 0 && at->plain < 0)
		err = -errno;
	for (uint64_t done = 0; err == 0 && done < at->disk_bytes;) {
		uint64_t left = at->disk_bytes - done;
		ssize_t n = write(at->plain, block, left < READ_BYTES ? left : READ_BYTES);

		if (n < 0)
			err = -errno;
		else
			done += (uint64_t)n;
	}
	free(block);
	if (err < 0)
		*why = "the file to be read plainly cannot be written below $TMPDIR";
	return err;
}

static int plain_round(const struct bench_log *at, double *rate, const char **why)
{
	static char block[READ_BYTES];
	int64_t begin = tool_clock_ns();

	for (uint64_t done = 0; done < at->disk_bytes;) {
		ssize_t n = pread(at->plain, block, sizeof(block), (off_t)done);

		if (n <= 0) {
			*why = "the file cannot be read plainly";
			return n < 0 ? -errno : -EIO;
		}
		done += (uint64_t)n;
	}
	*rate = (double)at->messages / (double)(tool_clock_ns() - begin) * 1e9;
	return 0;
}

/* ---- result ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof(*values), by_value);
	return values[n / 2];
}

static int measure(struct bench_log *at, const struct bench_effort *effort, struct bench_flow *ret,
		   const char **why)
{
	static double log[BENCH_ROUNDS_MAX], plain[BENCH_ROUNDS_MAX], ratios[BENCH_ROUNDS_MAX];
	/* the first ones find everything cold */
	int n = effort->rounds, err = log_round(at, &log[0], why);
	double each;

	if (err == 0 && !effort->no_limit)
		err = make_plain(at, why);
	for (int i = 0; i < n && err == 0; i++) {
		err = tool_stop_signal ? -EINTR : log_round(at, &log[i], why);
		if (err < 0 || effort->no_limit)
			continue;
		err = plain_round(at, &plain[i], why);
		ratios[i] = log[i] / plain[i];
	}
	if (err < 0)
		return err;
	each = (double)at->bytes / (double)at->messages;
	ret->published = ret->delivered = at->messages;
	ret->bus.messages_per_second = median(log, n);
	ret->bus.bytes_per_second = ret->bus.messages_per_second * each;
	ret->deliveries_per_second = ret->bus.messages_per_second;
	ret->calm = n;
	if (effort->no_limit)
		return 0;
	ret->limit.messages_per_second = median(plain, n);
	ret->limit.bytes_per_second = ret->limit.messages_per_second * each;
	ret->ratio.median = median(ratios, n);
	ret->ratio.min = ratios[0];
	ret->ratio.max = ratios[n - 1];
	ret->ratio.count = n;
	return 0;
}

int bench_measure_replay(struct bench_plan *plan, const struct bench_effort *effort,
			 const char *dir, struct bench_flow *ret, const char **why)
{
	struct bench_log at = { .plain = -1 };
	int err;

	memset(ret, 0, sizeof(*ret));
	bench_histogram_reset(&ret->latency);
	if (dir) {
		err = bus_log_open(&at.log, dir, NULL);
		if (err < 0)
			*why = bus_why(NULL);
	} else {
		err = make_log(&at, plan, effort->count, why);
	}
	if (err == 0)
		err = measure(&at, effort, ret, why);
	if (err == 0)
		plan->size = (uint32_t)(at.bytes / at.messages);
	close_log(&at);
	return err;
}
