/* SPDX-License-Identifier: Apache-2.0 */
/*
 * harness.c - see harness.h.
 */
#include "harness.h"

#include "bench_busd.h"
#include "bench_message.h"
#include "bench_pair.h"

#include <bus.h>

#include <err.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PUBS_MAX 128
#define SUBS_MAX 64

struct harness {
	struct bus *bus;
	struct bus_pub *pub[PUBS_MAX];
	struct bus_sub *sub[SUBS_MAX];
	int pubs, subs;
	uint32_t size;
	struct bench_source source;
	struct bus_msg msgs[HARNESS_BURST];
	struct bus_out outs[HARNESS_BURST];
	uint64_t sum;
};

static struct bench_busd busd;

/*
 * Time that this thread had its processor: what ran between is not counted. Without what the clock
 * itself takes.
 */
static double clock_takes_ns;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static double since_ns(uint64_t begin)
{
	double took = (double)(now_ns() - begin) - clock_takes_ns;

	return took > 0 ? took : 0;
}

static void calibrate(void)
{
	double took[1001];

	for (int i = 0; i < 1001; i++) {
		uint64_t begin = now_ns();

		took[i] = (double)(now_ns() - begin);
	}
	clock_takes_ns = bench_median(took, 1001);
}

void harness_busd(const char *program)
{
	bench_busd_start(&busd, program);
	calibrate();
	if (bench_pin(sched_getcpu()) < 0)
		warnx("not bound to a processor");
}

void harness_end(void)
{
	bench_busd_stop(&busd);
}

static _Noreturn void failed(struct harness *h, const char *what, int ret)
{
	harness_end();
	errx(1, "%s: %s (%s)", what, strerror(-ret), bus_why(h->bus));
}

static struct harness *harness_new(uint32_t size)
{
	struct bus_connect_opts opts = { .size = sizeof(opts),
					 .socket = busd.socket,
					 .name = "gbench" };
	struct harness *h = calloc(1, sizeof(*h));
	int ret;

	if (!h || bench_source_open(&h->source, size) < 0)
		errx(1, "no memory");
	h->size = size;
	ret = bus_connect(&h->bus, &opts);
	if (ret)
		failed(h, "connect", ret);
	for (int i = 0; i < HARNESS_BURST; i++)
		h->outs[i] = (struct bus_out){ .data = bench_source_of(&h->source, (uint64_t)i),
					       .len = size };
	return h;
}

static void add_pub(struct harness *h, const char *topic)
{
	int ret = bus_pub_open(&h->pub[h->pubs++], h->bus, topic, NULL);

	if (ret)
		failed(h, "open a publisher", ret);
}

static void add_sub(struct harness *h, const char *pattern)
{
	int ret = bus_sub_open(&h->sub[h->subs++], h->bus, pattern, NULL);

	if (ret)
		failed(h, "open a subscription", ret);
}

struct harness *harness_open(uint32_t size, int subscribers)
{
	struct harness *h = harness_new(size);
	static int number;
	char topic[32];

	snprintf(topic, sizeof(topic), "gbench.%d", number++);
	for (int i = 0; i < subscribers && i < SUBS_MAX; i++)
		add_sub(h, topic);
	add_pub(h, topic);
	return h;
}

struct harness *harness_open_idle(int topics)
{
	struct harness *h = harness_new(64);
	char topic[32];

	add_sub(h, "idle.*");
	for (int i = 0; i < topics && i < PUBS_MAX; i++) {
		snprintf(topic, sizeof(topic), "idle.%d", i);
		add_pub(h, topic);
	}
	return h;
}

void harness_close(struct harness *h)
{
	for (int i = 0; i < h->subs; i++)
		bus_sub_close(h->sub[i]);
	for (int i = 0; i < h->pubs; i++)
		bus_pub_close(h->pub[i]);
	bus_close(h->bus);
	bench_source_close(&h->source);
	free(h);
}

/*
 * Takes a whole burst, `batch` messages at a time. Bytes are read only where that is asked for: it
 * is another cost.
 */
static void drain(struct harness *h, struct bus_sub *sub, int batch)
{
	for (int left = HARNESS_BURST; left > 0;) {
		int n = bus_sub_peek(sub, h->msgs, batch < left ? batch : left);
		int ret = n > 0 ? bus_sub_release(sub, n) : n;

		if (ret < 0)
			failed(h, "receive", ret);
		left -= n;
	}
}

static void drain_all(struct harness *h)
{
	for (int i = 0; i < h->subs; i++)
		drain(h, h->sub[i], HARNESS_BURST);
}

static void fill(struct harness *h)
{
	int done = bus_pub_send_batch(h->pub[0], h->outs, HARNESS_BURST);

	if (done != HARNESS_BURST)
		failed(h, "publish", done < 0 ? done : -1);
}

double harness_send(struct harness *h)
{
	uint64_t begin = now_ns();
	double took;

	for (int i = 0; i < HARNESS_BURST; i++) {
		int ret = bus_pub_send(h->pub[0], h->outs[i].data, h->size);

		if (__builtin_expect(ret, 0))
			failed(h, "publish", ret);
	}
	took = since_ns(begin);
	drain_all(h);
	return took;
}

double harness_claim(struct harness *h)
{
	uint64_t begin = now_ns();
	double took;

	for (int i = 0; i < HARNESS_BURST; i++) {
		struct bus_claim claim;
		int ret = bus_pub_claim(h->pub[0], h->size, &claim);

		if (!ret)
			ret = bus_pub_commit(h->pub[0], &claim);
		if (__builtin_expect(ret, 0))
			failed(h, "publish", ret);
	}
	took = since_ns(begin);
	drain_all(h);
	return took;
}

double harness_batch(struct harness *h, int batch)
{
	uint64_t begin = now_ns();
	double took;

	for (int i = 0; i < HARNESS_BURST; i += batch) {
		int done = bus_pub_send_batch(h->pub[0], h->outs + i, batch);

		if (__builtin_expect(done != batch, 0))
			failed(h, "publish", done < 0 ? done : -1);
	}
	took = since_ns(begin);
	drain_all(h);
	return took;
}

double harness_receive(struct harness *h, int batch)
{
	uint64_t begin;

	fill(h);
	begin = now_ns();
	drain(h, h->sub[0], batch);
	return since_ns(begin);
}

double harness_copy_out(struct harness *h)
{
	static char buf[65536];
	uint64_t begin;

	fill(h);
	begin = now_ns();
	for (int i = 0; i < HARNESS_BURST; i++) {
		int ret = bus_sub_recv(h->sub[0], buf, sizeof(buf), h->msgs);

		if (__builtin_expect(ret != 1, 0))
			failed(h, "receive", ret);
	}
	return since_ns(begin);
}

double harness_empty(struct harness *h)
{
	uint64_t begin = now_ns();

	for (int i = 0; i < HARNESS_BURST; i++) {
		int ret = bus_sub_peek(h->sub[0], h->msgs, 1);

		if (__builtin_expect(ret != 0, 0))
			failed(h, "look at idle rings", ret);
	}
	return since_ns(begin);
}

double harness_fence(void)
{
	uint64_t begin = now_ns();

	for (int i = 0; i < HARNESS_BURST; i++)
		bench_fence_seq_cst();
	return since_ns(begin);
}

double harness_counter(void)
{
	uint64_t begin = now_ns();

	for (int i = 0; i < HARNESS_BURST; i++)
		__asm__ __volatile__("" ::"r"(bench_ticks()));
	return since_ns(begin);
}
