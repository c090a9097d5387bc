/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sub_wait.c - sleeping until there is something to read, and the descriptor for epoll. The order
 * of steps is the protocol's: bells are read, waiting is announced, a barrier, one more look, and
 * only then the kernel puts us to sleep.
 */
#include <errno.h>
#include <time.h>
#include <stdlib.h>

#include "api/sub_internal.h"

/* ---- which thread uses which subscription ---- */

__thread char bus__thread_mark;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct bus_sub *all_subs;

/*
 * A thread that slept with an unflushed cursor of another subscription could wait for the publisher
 * that waits for it.
 */
void bus__sub_adopt(struct bus_sub *sub)
{
	pthread_mutex_lock(&all_lock);
	sub->owner = bus__thread_token();
	pthread_mutex_unlock(&all_lock);
}

void bus__sub_register(struct bus_sub *sub)
{
	pthread_mutex_lock(&all_lock);
	sub->owner = bus__thread_token();
	sub->next_any = all_subs;
	sub->prev_any = &all_subs;
	if (all_subs != NULL)
		all_subs->prev_any = &sub->next_any;
	all_subs = sub;
	pthread_mutex_unlock(&all_lock);
}

void bus__sub_unregister(struct bus_sub *sub)
{
	pthread_mutex_lock(&all_lock);
	*sub->prev_any = sub->next_any;
	if (sub->next_any != NULL)
		sub->next_any->prev_any = sub->prev_any;
	pthread_mutex_unlock(&all_lock);
}

void bus__sub_flush(struct bus_sub *sub)
{
	for (uint32_t i = 0; i < sub->ring_count; i++) {
		struct ring_reader *rd = &sub->rings[i]->rd;

		if (rd->cur != rd->flushed && !sub->rings[i]->ignored)
			ring_reader_flush(rd);
	}
}

void bus__flush_thread(void)
{
	pthread_mutex_lock(&all_lock);
	for (struct bus_sub *sub = all_subs; sub != NULL; sub = sub->next_any)
		if (sub->owner == bus__thread_token())
			bus__sub_flush(sub);
	pthread_mutex_unlock(&all_lock);
}

/* ---- what we sleep on ---- */

static bool have_word(const struct bus_sub *sub, const _Atomic uint32_t *word)
{
	for (int i = 0; i < sub->word_count; i++)
		if (sub->words[i].word == word)
			return true;
	return false;
}

/* busd's word, and one of each process that publishes to us. */
static int build_words(struct bus_sub *sub)
{
	if (sub->word_room < (int)sub->ring_count + 1) {
		int room = (int)sub->ring_count + 16;
		struct wake_word *more = realloc(sub->words, (size_t)room * sizeof(*more));

		if (more == NULL)
			return -ENOMEM;
		sub->words = more;
		sub->word_room = room;
	}
	sub->slice = false;
	sub->word_count = 0;
	sub->words[sub->word_count++].word = sub->bell;
	for (uint32_t i = 0; i < sub->ring_count; i++) {
		const _Atomic uint32_t *word = sub->rings[i]->peer_bell;

		if (word == NULL)
			sub->slice = true;
		else if (!have_word(sub, word))
			sub->words[sub->word_count++].word = word;
	}
	sub->words_stale = false;
	return 0;
}

static int read_bells(struct bus_sub *sub)
{
	int err = sub->words_stale || sub->words == NULL ? build_words(sub) : 0;

	if (err < 0)
		return err;
	for (int i = 0; i < sub->word_count; i++)
		sub->words[i].seen = bus_load_acquire(sub->words[i].word);
	return 0;
}

/* To publishers that write on in rings of a former busd, too. */
static void say_waiting(struct bus_sub *sub, uint32_t waiting)
{
	bus_store_relaxed(&sub->cursors->waiting, waiting);
	for (struct sub_former *f = sub->formers; bus_unlikely(f != NULL); f = f->next)
		bus_store_relaxed(&f->cursors->waiting, waiting);
}

BUS_COLD void bus__sub_idle(struct bus_sub *sub, uint32_t idle)
{
	bus_store_relaxed(&sub->cursors->idle, idle);
	for (struct sub_former *f = sub->formers; f != NULL; f = f->next)
		bus_store_relaxed(&f->cursors->idle, idle);
}

static void announce(struct bus_sub *sub, bool briefly)
{
	if (++sub->wait_gen == 0)
		sub->wait_gen = 1;
	say_waiting(sub, sub->wait_gen);
	sub->announced = true;
	/*
	 * W3, pairs with W1: a publisher sees us waiting, or we see its commit in the look that
	 * follows. Briefly: only what it has not still in its store buffer.
	 */
	if (briefly)
		bus_fence_seq_cst();
	else
		wake_barrier();
}

void bus__sub_disarm(struct bus_sub *sub)
{
	say_waiting(sub, 0);
	sub->announced = false;
}

/* Whether it is looked at at all: what has no turn, or is no ring, wakes nobody. */
static bool is_read(const struct sub_ring *r)
{
	return r->active && !r->ignored;
}

/* Whether a ring has a message or a lap; an end of a ring is dealt with here. */
static bool rings_ready(struct bus_sub *sub)
{
	for (uint32_t i = 0; i < sub->ring_count; i++) {
		struct sub_ring *r = sub->rings[i];

		if (!is_read(r))
			continue;
		if (bus_unlikely(r->from_disk)) {
			if (!bus__sub_disk_ready(r))
				continue;
			sub->at = i;
			return true;
		}
		ring_reader_skip_hole(&r->rd);
		if (!ring_reader_ready(&r->rd))
			continue;
		if (r->borrowed == 0 && ring_reader_drained(&r->rd)) {
			bus__sub_finish_ring(sub, r);
			/* the list has changed, a successor may be active now: from the start */
			i = UINT32_MAX;
			continue;
		}
		sub->at = i;
		return true;
	}
	return false;
}

/* Everything that a sleeper must look at. */
static bool something(struct bus_sub *sub)
{
	if (bus_load_acquire(sub->bell) != sub->bell_seen || sub->inbox_stuck || sub->rejoin_owed)
		bus__sub_news(sub);
	return sub->pending != 0 || rings_ready(sub);
}

/* ---- waiting ---- */

static bool spin(struct bus_sub *sub, uint64_t until)
{
	for (int i = 1;; i++) {
		if (something(sub))
			return true;
		if (++sub->looks == SUB_IDLE_LOOKS)
			bus__sub_idle(sub, 1);
		bus_cpu_relax();
		if (i % 32 == 0 && bus_monotonic_ns() >= until)
			return false;
		if (i % 1024 == 0)
			bus__sub_look(sub, false);
	}
}

/*
 * Nobody rings when busd dies, so nobody sleeps for longer than this without a look at the
 * connection. Where it has died: a publisher that it did not come to tell about us does not wake us,
 * and another busd may be there soon. Looking costs little beside the barrier of a sleep.
 */
#define WELL_SLICE_NS   1000000000u
#define LONELY_SLICE_NS 10000000u
#define FD_SLICE_NS     50000000

/*
 * The barrier interrupts publishers and costs more than a short sleep is worth. So who has read few
 * messages since it slept last, as clients and servers do in turn, sleeps this long without it at first:
 * at worst, and rarely, a message that was in its publisher's store buffer just then waits for as long.
 * (64 bytes there and back, both asleep: 93 to 43 us.)
 */
#define BRIEF_NS  200000u
#define BRIEF_FEW 64

static bool read_few(struct bus_sub *sub)
{
	uint64_t before = sub->read_at_sleep;

	sub->read_at_sleep = 0;
	for (uint32_t i = 0; i < sub->ring_count; i++)
		sub->read_at_sleep += sub->rings[i]->rd.cur;
	return sub->read_at_sleep - before <= BRIEF_FEW;
}

/* When the first of the rings that wait for their log is to be looked at again. */
static uint64_t disk_due(const struct bus_sub *sub)
{
	uint64_t due = UINT64_MAX;

	for (uint32_t i = 0; i < sub->ring_count; i++)
		if (bus_unlikely(sub->rings[i]->from_disk) && is_read(sub->rings[i]))
			due = bus_min_u64(due, bus__sub_disk_due(sub->rings[i]));
	return due;
}

static uint64_t slice_end(struct bus_sub *sub, uint64_t now, bool briefly)
{
	if (briefly)
		return now + BRIEF_NS;
	if (sub->slice || sub->inbox_stuck)
		return now + BUS__SLICE_NS;
	if (bus_load_acquire(&sub->bus->gone) || !bus__is_well(sub->bus))
		return now + LONELY_SLICE_NS;
	return now + WELL_SLICE_NS;
}

/* One sleep. 1: something is there; 0: woken or out of time, look again; -EINTR. */
static int sleep_once(struct bus_sub *sub, uint64_t deadline, bool briefly)
{
	uint64_t now, until;
	int err;

	bus__sub_look(sub, true);
	err = read_bells(sub);
	if (err < 0)
		return err;
	announce(sub, briefly);
	if (something(sub)) {
		bus__sub_disarm(sub);
		return 1;
	}
	if (sub->words_stale) { /* a ring came or went: its bell is not among the words yet */
		bus__sub_disarm(sub);
		return 0;
	}
	now = bus_monotonic_ns();
	until = bus_min_u64(bus_min_u64(deadline, slice_end(sub, now, briefly)), disk_due(sub));
	bus_store_relaxed(&sub->cursors->sleeps, bus_load_relaxed(&sub->cursors->sleeps) + 1);
	if (until > now)
		err = wake_wait(sub->words, sub->word_count, (int64_t)(until - now), &sub->crowd);
	bus__sub_disarm(sub);
	if (sub->slice)
		bus__sub_news(sub); /* a bell may have come */
	return err == -EINTR ? -EINTR : 0;
}

/* 1: something is there; 0: not; -EINTR. */
static int nap(struct bus_sub *sub, uint64_t deadline)
{
	uint64_t now = bus_monotonic_ns();
	struct timespec most;

	if (now >= deadline)
		return 0;
	most = (struct timespec){ .tv_nsec = (long)bus_min_u64(sub->polling.nap_ns, deadline - now) };
	if (nanosleep(&most, NULL) < 0)
		return -EINTR;
	return something(sub);
}

/* A wait that slept is over, with something there or not. */
static void learn(struct bus_sub *sub, uint64_t began, bool found)
{
	uint64_t now = bus_monotonic_ns(), came = 0, slots = 0;

	if (found && sub->at < sub->ring_count) {
		const struct ring_reader *rd = &sub->rings[sub->at]->rd;

		slots = rd->view.slot_count;
		came = bus_load_acquire(&rd->view.page->head) - rd->ahead;
	}
	polling_learn(&sub->polling, began, now);
	polling_learn_nap(&sub->polling, now - began, came, slots);
}

int bus_sub_wait(struct bus_sub *sub, int64_t timeout_ns)
{
	uint64_t began, deadline, until;
	bool briefly;
	int err;

	if (bus_unlikely(sub->magic != BUS__SUB_MAGIC))
		return -ECHILD;
	if (bus_unlikely(sub->owner != bus__thread_token()))
		bus__sub_adopt(sub);
	if (sub->borrow_count > 0 || something(sub))
		return 1;
	if (timeout_ns == 0)
		return 0;
	began = bus_monotonic_ns();
	deadline = timeout_ns < 0 ? UINT64_MAX : began + (uint64_t)timeout_ns;
	bus__flush_thread();
	until = polling_until(&sub->polling, began, deadline);
	if (until > began && spin(sub, until)) {
		polling_learn(&sub->polling, began, 0);
		return 1;
	}
	briefly = read_few(sub);
	err = sub->polling.nap_ns != 0 ? nap(sub, deadline) : 0;
	while (err == 0) {
		if (bus_monotonic_ns() >= deadline)
			break;
		err = sleep_once(sub, deadline, briefly);
		briefly = false;
		if (err == 0 && something(sub))
			err = 1;
	}
	learn(sub, began, err == 1);
	return err;
}

/* ---- the descriptor ---- */

/*
 * Whether the kernel still watches for just what it should: then an empty peek costs no system
 * call.
 */
static bool still_armed(const struct bus_sub *sub)
{
	if (!sub->armed || !sub->announced || sub->words_stale || wake_fd_fired(sub->fd))
		return false;
	for (int i = 0; i < sub->word_count; i++)
		if (bus_load_acquire(sub->words[i].word) != sub->words[i].seen)
			return false;
	return true;
}

void bus__sub_arm(struct bus_sub *sub)
{
	bool well, gone, waits;

	if (still_armed(sub))
		return;
	bus__flush_thread();
	bus__sub_look(sub, true);
	well = bus__is_well(sub->bus);
	gone = bus_load_acquire(&sub->bus->gone) != 0;
	waits = disk_due(sub) != UINT64_MAX;
	wake_fd_clear(sub->fd);
	sub->armed = false;
	if (read_bells(sub) == 0) {
		announce(sub, false);
		/* A peer without a bell for us cannot wake us: readable until it has one. */
		if (!something(sub) && !sub->words_stale && !sub->slice && !sub->inbox_stuck &&
		    wake_fd_arm(sub->fd, sub->words, sub->word_count,
				well && !gone ? sub->bus->ev : -1,
				well && !waits ? -1 : FD_SLICE_NS) == 0) {
			sub->armed = true;
			return;
		}
		bus__sub_disarm(sub);
	}
	wake_fd_signal(sub->fd);
}

int bus_sub_fd(struct bus_sub *sub)
{
	int err;

	if (sub->magic != BUS__SUB_MAGIC)
		return -ECHILD;
	if (sub->fd == NULL) {
		err = wake_fd_open(&sub->fd, sub->fd_thread);
		if (err < 0)
			return err;
	}
	return wake_fd_number(sub->fd);
}
