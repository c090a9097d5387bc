/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_round.c - one round of each role: the loops that are measured. They use the public API as a
 * program would.
 */
#include "bench_worker.h"

#include "bench_message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_UNTIL_CLOCK (64u << 10)
#define BATCH_MAX         1024
#define WAIT_SLICE_NS     INT64_C(20000000) /* asleep, until the end of the round is looked for */

/* ---- sending ---- */

static void send_failed(const struct bench_ends *e, int err)
{
	bench_worker_fail(e, err, "cannot publish a message of %u bytes: %s", e->worker->plan.size,
			  err == -EMSGSIZE || err == -EPIPE ? bus_why(e->bus) : strerror(-err));
}

static inline void send_copy(struct bench_ends *e, const void *data)
{
	int err;

	while ((err = bus_pub_send(e->pub, data, e->worker->plan.size)) == -EINTR)
		;
	if (err)
		send_failed(e, err);
	e->sent++;
}

static inline void send_in_place(struct bench_ends *e, uint64_t number)
{
	struct bus_claim claim;
	int err;

	while ((err = bus_pub_claim(e->pub, e->worker->plan.size, &claim)) == -EINTR)
		;
	if (!err && !e->worker->plan.untouched)
		bench_message_make(claim.data, e->worker->plan.size, number);
	if (!err)
		err = bus_pub_commit(e->pub, &claim);
	if (err)
		send_failed(e, err);
	e->sent++;
}

/* Message number e->sent, as the plan wants it. */
static inline void send_one(struct bench_ends *e, const struct bench_source *source)
{
	if (e->worker->plan.in_place || e->worker->plan.untouched)
		send_in_place(e, e->sent);
	else
		send_copy(e, bench_source_of(source, e->sent));
}

static void send_batch(struct bench_ends *e, const struct bench_source *source, struct bus_out *outs)
{
	int batch = e->worker->plan.batch, done = 0;

	for (int i = 0; i < batch; i++)
		outs[i].data = bench_source_of(source, e->sent + (uint64_t)i);
	while (done < batch) {
		int n = bus_pub_send_batch(e->pub, outs + done, batch - done);

		if (n < 0 && n != -EINTR)
			send_failed(e, n);
		if (n > 0)
			done += n;
	}
	e->sent += (uint64_t)batch;
}

/* ---- receiving ---- */

/* What stands first in message number `number`. */
static inline uint64_t expected_word(const struct bench_ends *e, const struct bench_source *source,
				     uint64_t number)
{
	if (!e->made)
		number &= source->mask;
	return e->size >= 8 ? number : number & ((UINT64_C(1) << 8 * e->size) - 1);
}

static void wrong_message(const struct bench_ends *e, const struct bus_msg *m)
{
	bench_worker_fail(e, -EBADMSG, "message %llu is not what was published there",
			  (unsigned long long)m->seq);
}

/* Reads message number `number` of all, borrowed; every byte of it, unless nobody is to. */
static inline void read_one(struct bench_ends *e, const struct bench_source *source,
			    const struct bus_msg *m, uint64_t number)
{
	if (__builtin_expect(m->lost != 0, 0))
		e->mine->lost += m->lost;
	if (!e->touch)
		return;
	if (__builtin_expect(m->len != e->size, 0))
		wrong_message(e, m);
	e->sum += bench_message_read(m->data, m->len);
	if (!e->check)
		return;
	if (__builtin_expect(
		    bench_message_number_of(m->data, m->len) != expected_word(e, source, number), 0))
		wrong_message(e, m);
}

static inline void release(struct bench_ends *e, int n)
{
	int err = bus_sub_release(e->sub, n);

	if (err == -ESTALE)
		bench_worker_fail(e, err,
				  "a message was overwritten while it was read: this subscriber "
				  "was evicted as too slow");
	if (err)
		bench_worker_fail(e, err, "cannot release messages: %s", strerror(-err));
	e->taken += (uint64_t)n;
	e->mine->received += (uint64_t)n;
}

/* How many were borrowed: 0 there is nothing. */
static inline int peek(struct bench_ends *e, int max)
{
	int n = bus_sub_peek(e->sub, e->msgs, max);

	if (n < 0)
		bench_worker_fail(e, n, "cannot read messages: %s", strerror(-n));
	return n;
}

/* After a peek that found nothing. */
static inline void wait_for_more(struct bench_ends *e, struct bench_patience *patience)
{
	int n;

	if (e->worker->plan.wait == BENCH_SPIN && e->worker->cpu >= 0) {
		bench_patience_look(patience);
		return;
	}
	n = bus_sub_wait(e->sub, WAIT_SLICE_NS);
	bench_patience_tick(patience);
	if (n < 0 && n != -EINTR)
		bench_worker_fail(e, n, "cannot wait for messages: %s", strerror(-n));
}

/* All publishers have stopped, and everything they sent in this round was received. */
static bool round_is_over(const struct bench_ends *e)
{
	const struct bench_stage *stage = e->worker->stage;
	uint64_t sent = 0;

	for (int i = 0; i < stage->pubs; i++) {
		uint64_t published = bench_load_acquire(&stage->report[i].published);

		if (published == 0)
			return false;
		sent += published - 1;
	}
	return e->mine->received + e->mine->lost >= sent;
}

/* ---- one way ---- */

/* When message i of the round is due. */
static inline uint64_t due_ns(const struct bench_ends *e, uint64_t i)
{
	return e->mine->begin_ns + (uint64_t)((double)i * 1e9 / e->worker->plan.rate);
}

/*
 * At fixed times, however late the ones before were: a message's time is when it should have gone,
 * not when it could.
 */
static void publish_paced(struct bench_ends *e, unsigned char *buffer)
{
	const struct bench_stage *stage = e->worker->stage;
	uint64_t now = e->mine->begin_ns, due;

	for (uint64_t i = 0;; i++) {
		due = due_ns(e, i);
		if (stage->count ? i == stage->count : due - e->mine->begin_ns >= stage->ns)
			return;
		while ((now = bench_now_ns()) < due)
			bench_cpu_relax();
		if (now - due > e->mine->late_ns)
			e->mine->late_ns = now - due;
		bench_message_number(buffer, e->worker->plan.size, due);
		send_copy(e, buffer);
	}
}

static void publish_fast(struct bench_ends *e, const struct bench_source *source)
{
	const struct bench_plan *plan = &e->worker->plan;
	const struct bench_stage *stage = e->worker->stage;
	uint64_t until_clock = BYTES_UNTIL_CLOCK / (plan->size + 64) + 1, look = e->sent,
		 first = e->sent;
	struct bus_out outs[BATCH_MAX];

	memset(outs, 0, sizeof(outs[0]) * (size_t)plan->batch);
	for (int i = 0; i < plan->batch; i++)
		outs[i].len = plan->size;
	for (;;) {
		if (stage->count && e->sent - first >= stage->count)
			return;
		if (!stage->count && e->sent >= look) {
			if (bench_now_ns() - e->mine->begin_ns >= stage->ns)
				return;
			look = e->sent + until_clock;
		}
		if (plan->batch > 1)
			send_batch(e, source, outs);
		else
			send_one(e, source);
	}
}

void bench_round_publish(struct bench_ends *e, const struct bench_source *source)
{
	uint64_t first = e->sent;

	e->mine->begin_ns = bench_now_ns();
	if (e->worker->plan.rate > 0)
		publish_paced(e, source->buffers);
	else
		publish_fast(e, source);
	e->mine->end_ns = bench_now_ns();
	bench_store_release(&e->mine->published, e->sent - first + 1);
}

void bench_round_subscribe(struct bench_ends *e, const struct bench_source *source)
{
	struct bench_patience patience = { 0 };
	bool timed = e->worker->plan.rate > 0, fresh = true;

	e->mine->begin_ns = bench_now_ns();
	for (;;) {
		int n = peek(e, BENCH_PEEK_MAX);
		uint64_t now;

		if (n == 0) {
			bool over = round_is_over(e);

			if (over ? fresh || e->worker->plan.wait == BENCH_SPIN
				 : fresh && e->worker->plan.wait != BENCH_SPIN)
				e->mine->end_ns = bench_now_ns();
			if (over)
				break;
			fresh = false;
			wait_for_more(e, &patience);
			continue;
		}
		fresh = true;
		patience.looks = 0;
		patience.until_ns = 0;
		now = timed ? bench_now_ns() : 0;
		for (int i = 0; i < n; i++) {
			read_one(e, source, &e->msgs[i], e->taken + (uint64_t)i);
			if (timed)
				bench_histogram_record(
					&e->mine->h,
					now - bench_message_number_of(e->msgs[i].data, 8));
		}
		release(e, n);
	}
}

/* ---- there and back ---- */

static void take_reply(struct bench_ends *e, const struct bench_source *source)
{
	struct bench_patience patience = { 0 };

	while (peek(e, 1) == 0)
		wait_for_more(e, &patience);
	read_one(e, source, e->msgs, e->taken);
}

/* One after another: the next goes when the answer has come. */
static void near_closed(struct bench_ends *e, const struct bench_source *source)
{
	const struct bench_stage *stage = e->worker->stage;
	double ns_per_tick = bench_ns_per_tick();
	uint64_t start = bench_ticks(), before = start, after;
	uint64_t all = (uint64_t)((double)stage->ns / ns_per_tick);

	for (uint64_t i = 0; stage->count ? i < stage->count : before - start < all; i++) {
		before = bench_ticks();
		send_one(e, source);
		take_reply(e, source);
		after = bench_ticks();
		bench_histogram_record(&e->mine->h,
				       (uint64_t)((double)(after - before) * ns_per_tick + 0.5));
		release(e, 1);
	}
}

/*
 * At fixed times, answers taken as they come. The time counts from when a message should have gone.
 */
static void near_paced(struct bench_ends *e, unsigned char *buffer)
{
	const struct bench_stage *stage = e->worker->stage;
	struct bench_patience patience = { 0 };
	uint64_t sent = 0, back = 0, due = e->mine->begin_ns;
	bool more = true;

	while (more || back < sent) {
		uint64_t now = bench_now_ns();
		int n;

		if (more && now >= due) {
			if (now - due > e->mine->late_ns)
				e->mine->late_ns = now - due;
			bench_message_number(buffer, e->worker->plan.size, due);
			send_copy(e, buffer);
			due = due_ns(e, ++sent);
			more = stage->count ? sent < stage->count
					    : due - e->mine->begin_ns < stage->ns;
		}
		n = peek(e, BENCH_PEEK_MAX);
		now = n ? bench_now_ns() : now;
		for (int i = 0; i < n; i++) {
			e->sum += bench_message_read(e->msgs[i].data, e->msgs[i].len);
			bench_histogram_record(&e->mine->h,
					       now - bench_message_number_of(e->msgs[i].data, 8));
		}
		if (n)
			release(e, n);
		else
			bench_patience_look(&patience);
		back += (uint64_t)n;
	}
}

void bench_round_near(struct bench_ends *e, const struct bench_source *source)
{
	uint64_t first = e->sent;

	e->mine->begin_ns = bench_now_ns();
	if (e->worker->plan.rate > 0)
		near_paced(e, source->buffers);
	else
		near_closed(e, source);
	e->mine->end_ns = bench_now_ns();
	bench_store_release(&e->mine->published, e->sent - first + 1);
}

void bench_round_far(struct bench_ends *e, const struct bench_source *source)
{
	const struct bench_report *near =
		&e->worker->stage->report[e->worker->index - e->worker->stage->pubs];
	const struct bench_plan *plan = &e->worker->plan;
	struct bench_patience patience = { 0 };

	e->mine->begin_ns = bench_now_ns();
	for (;;) {
		uint64_t published;

		if (peek(e, 1) == 0) {
			published = bench_load_acquire(&near->published);
			if (published && e->mine->received == published - 1)
				break;
			wait_for_more(e, &patience);
			continue;
		}
		patience.looks = 0;
		patience.until_ns = 0;
		read_one(e, source, e->msgs, e->taken);
		if (plan->rate > 0)
			send_copy(e, e->msgs->data);
		else
			send_one(e, source);
		release(e, 1);
	}
	e->mine->end_ns = bench_now_ns();
}
