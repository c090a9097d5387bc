/* SPDX-License-Identifier: Apache-2.0 */
/* stream_thread.c - see stream_thread.h */
#include "stream_thread.h"

#include "log.h"
#include "server.h"

#include "os/wake.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROUNDS  16              /* with the lock held */
#define IDLE_NS UINT64_C(20000) /* of looking before it sleeps */
#define SLICE_NS \
	1000000 /* of sleep while a publisher has no bell for us, doubled as nothing comes up to */
#define SLICE_MOST_NS \
	256000000 /* this: one that never asks for a bell is not waited on at others' cost */

#define DROPS_NS 100000000 /* of sleep while a stream is full that may come to drop */

struct thread_bell {
	uint64_t client_id;
	struct bell_page *page; /* NULL: not there yet */
	uint32_t word;
};

struct thread {
	pthread_mutex_t lock;
	_Atomic uint32_t wanted; /* the loop's thread waits for the lock */
	pthread_t id;
	bool runs;
	int event_fd;
	const _Atomic uint32_t *bell; /* busd's own, for this thread */
	struct list work;
	struct thread_bell *bells;
	size_t bell_count, bell_room;
	/* to be unmapped by the thread, which may sleep on them */
	struct bell_page **former;
	size_t former_count, former_room;
	/* its own */
	struct wake_word *words;
	size_t word_room;
	struct wake_crowd *crowd;
	int64_t slice_ns;
};

void thread_lock(struct busd *busd)
{
	struct thread *thread = busd->thread;

	bus_add_seq_cst(&thread->wanted, 1);
	pthread_mutex_lock(&thread->lock);
}

void thread_unlock(struct busd *busd)
{
	struct thread *thread = busd->thread;

	pthread_mutex_unlock(&thread->lock);
	bus_add_seq_cst(&thread->wanted, (uint32_t)-1);
}

/* ---- a round ---- */

static bool is_at_bound(const struct feed *feed)
{
	return feed->bounded &&
	       (feed->in.rd.cur >= feed->last_seq || feed->in.bytes >= feed->last_bytes);
}

void stream_work_bound(struct stream_work *work)
{
	struct feed *feed;

	for_each(feed, &work->feeds, link) {
		feed->bounded = true;
		feed->last_seq = feed->in.rd.cur + feed->in.rd.view.slot_count;
		feed->last_bytes = feed->in.bytes + feed->in.rd.view.bytes;
	}
}

bool stream_work_waits(const struct stream_work *work)
{
	const struct feed *feed;

	for_each(feed, &work->feeds, link)
		if (!feed->before && feed->look == SEQUENCER_FULL)
			return true;
	return false;
}

/* More of it is durable: who waits for that sleeps as one that waits for room does, but announced itself once. */
static void wake_waiting(struct stream_work *work)
{
	struct feed *feed;

	bus_store_relaxed(&work->seq.spill.moved, 0);
	bus_fence_seq_cst(); /* W2, with what the disk's thread has stored before it rang */
	for_each(feed, &work->feeds, link)
		if (feed->in.rd.view.page && bus_load_relaxed(&feed->in.rd.view.page->waiting) != 0)
			(void)feed->in.rd.wake(&feed->in.rd);
}

bool stream_work_round(struct stream_work *work, const _Atomic uint32_t *wanted, bool *over)
{
	struct feed *feed;
	bool moved = false;

	if (bus_load_acquire(&work->seq.spill.moved))
		wake_waiting(work);
	for_each(feed, &work->feeds, link) {
		if (feed->before || feed->look >= SEQUENCER_DRAINED || is_at_bound(feed))
			continue;
		feed->look = sequencer_take(&work->seq, &feed->in, bus_realtime_ns());
		moved = moved || feed->look == SEQUENCER_TOOK;
		*over = *over || feed->look >= SEQUENCER_DRAINED;
		/* a run of large messages takes its time, and there may be many rings */
		if (feed_next != &work->feeds && wanted && bus_load_relaxed(wanted) != 0) {
			list_begin_with(&work->feeds, feed_next);
			return true;
		}
	}
	return moved;
}

static void say(struct thread *thread)
{
	const uint64_t one = 1;

	if (write(thread->event_fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: it is readable already */
}

/* false: there was nothing. */
static bool rounds(struct thread *thread)
{
	struct stream_work *work;
	bool over = false, moved = true;
	int i;

	for (i = 0; moved && i < ROUNDS && bus_load_relaxed(&thread->wanted) == 0; i++) {
		moved = false;
		for_each(work, &thread->work, link) {
			moved |= stream_work_round(work, &thread->wanted, &over);
			if (bus_load_relaxed(&thread->wanted) != 0 && work_next != &thread->work) {
				list_begin_with(&thread->work, work_next);
				moved = true;
				break;
			}
		}
	}
	if (over)
		say(thread);
	return moved || i == 0;
}

static void take_lock(struct thread *thread)
{
	/* a mutex is not fair, and who waits for it serves everybody */
	while (bus_load_relaxed(&thread->wanted) != 0)
		sched_yield();
	pthread_mutex_lock(&thread->lock);
}

/* ---- sleeping ---- */

/* Whether a look would find something. What had no room is told of by the bell. */
static bool is_ready(const struct thread *thread)
{
	const struct stream_work *work;
	const struct feed *feed;

	for_each(work, &thread->work, link) {
		if (bus_load_relaxed(&work->seq.spill.moved))
			return true;
		for_each(feed, &work->feeds, link)
			if (!feed->before && feed->look <= SEQUENCER_TOOK &&
			    ring_reader_ready(&feed->in.rd))
				return true;
	}
	return false;
}

static void say_waiting(struct thread *thread, bool waits)
{
	struct stream_work *work;

	for_each(work, &thread->work, link) {
		if (waits && ++work->waiting_gen == 0)
			work->waiting_gen = 1;
		bus_store_relaxed(&work->cursors->waiting, waits ? work->waiting_gen : 0);
		if (waits)
			bus_store_relaxed(&work->cursors->sleeps,
					  bus_load_relaxed(&work->cursors->sleeps) + 1);
	}
}

static void read_word(struct wake_word *to, const _Atomic uint32_t *word)
{
	*to = (struct wake_word){ .word = word, .seen = bus_load_acquire(word) };
}

/* Our own bell and those of the publishers; *slice: one is missing. How many. */
static int read_bells(struct thread *thread, bool *slice)
{
	size_t i;
	int count = 0;

	*slice = false;
	if (thread->word_room < thread->bell_count + 1) {
		size_t room = thread->bell_count + 16;
		struct wake_word *more = realloc(thread->words, room * sizeof(*more));

		*slice = !more;
		if (more) {
			thread->words = more;
			thread->word_room = room;
		}
	}
	if (thread->word_room == 0)
		return 0;
	read_word(&thread->words[count++], thread->bell);
	for (i = 0; i < thread->bell_count && (size_t)count < thread->word_room; i++) {
		const struct thread_bell *bell = &thread->bells[i];

		if (bell->page)
			read_word(&thread->words[count++], &bell->page->word[bell->word]);
		else
			*slice = true;
	}
	return count;
}

static void unmap_former(struct thread *thread)
{
	while (thread->former_count)
		munmap(thread->former[--thread->former_count], sizeof(struct bell_page));
}

/* Does one wait for room that will drop what comes if there is none in time? That nobody rings for. */
static bool drops_soon(const struct thread *thread)
{
	const struct stream_work *work;

	for_each(work, &thread->work, link)
		if (work->seq.spill.drops && stream_work_waits(work))
			return true;
	return false;
}

/* With the lock, which it gives back meanwhile. */
static void sleep_once(struct thread *thread)
{
	bool slice;
	int count = read_bells(thread, &slice);

	say_waiting(thread, true);
	wake_barrier(); /* W3, pairs with the publishers' W1 */
	if (!is_ready(thread) && count > 0) {
		int64_t most = slice ? thread->slice_ns : -1;

		if (drops_soon(thread) && (most < 0 || most > DROPS_NS))
			most = DROPS_NS;
		pthread_mutex_unlock(&thread->lock);
		(void)!wake_wait(thread->words, count, most, &thread->crowd);
		thread->slice_ns = 2 * thread->slice_ns < SLICE_MOST_NS ? 2 * thread->slice_ns
									: SLICE_MOST_NS;
		take_lock(thread);
	}
	say_waiting(thread, false);
	unmap_former(thread);
}

static void *thread_main(void *arg)
{
	struct thread *thread = arg;
	uint64_t idle_since = 0;

	for (;;) {
		bool moved;

		take_lock(thread);
		moved = rounds(thread);
		if (moved) {
			idle_since = 0;
			thread->slice_ns = SLICE_NS;
		} else if (idle_since == 0) {
			idle_since = bus_monotonic_ns();
		} else if (bus_monotonic_ns() - idle_since > IDLE_NS) {
			sleep_once(thread);
			idle_since = 0;
		}
		pthread_mutex_unlock(&thread->lock);
		if (!moved)
			bus_cpu_relax();
	}
	return NULL;
}

/* ---- by the loop's thread ---- */

int thread_event(const struct busd *busd)
{
	return busd->thread->event_fd;
}

int thread_open(struct busd *busd, const _Atomic uint32_t *bell)
{
	struct thread *thread = calloc(1, sizeof(*thread));
	int rc;

	if (!thread)
		return -ENOMEM;
	thread->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (thread->event_fd < 0) {
		rc = -errno;
		free(thread);
		return rc;
	}
	pthread_mutex_init(&thread->lock, NULL);
	thread->bell = bell;
	thread->slice_ns = SLICE_NS;
	list_init(&thread->work);
	rc = server_watch(busd, &busd->settled, thread->event_fd, EPOLLIN);
	if (rc < 0) {
		close(thread->event_fd);
		free(thread);
		return rc;
	}
	busd->thread = thread;
	return 0;
}

int thread_start(struct busd *busd)
{
	struct thread *thread = busd->thread;
	pthread_attr_t attr;
	int rc;

	if (!thread || thread->runs)
		return 0;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread->id, &attr, thread_main, thread);
	pthread_attr_destroy(&attr);
	thread->runs = rc == 0;
	return -rc;
}

void thread_add(struct busd *busd, struct stream_work *work)
{
	list_append(&busd->thread->work, &work->link);
}

void thread_remove(struct stream_work *work)
{
	list_remove(&work->link);
}

static struct thread_bell *find_bell(struct thread *thread, uint64_t client_id)
{
	size_t i;

	for (i = 0; i < thread->bell_count; i++)
		if (thread->bells[i].client_id == client_id)
			return &thread->bells[i];
	return NULL;
}

static struct thread_bell *new_bell(struct thread *thread, uint64_t client_id)
{
	if (thread->bell_count == thread->bell_room) {
		size_t room = thread->bell_room * 2 + 16;
		struct thread_bell *more = realloc(thread->bells, room * sizeof(*more));

		if (!more)
			return NULL;
		thread->bells = more;
		thread->bell_room = room;
	}
	thread->slice_ns = SLICE_NS;
	thread->bells[thread->bell_count] = (struct thread_bell){ .client_id = client_id };
	return &thread->bells[thread->bell_count++];
}

int thread_hear(struct busd *busd, uint64_t client_id, int fd, uint32_t word)
{
	struct thread *thread = busd->thread;
	struct bell_page *page = NULL;
	struct thread_bell *bell;

	if (fd >= 0) {
		page = mmap(NULL, sizeof(*page), PROT_READ, MAP_SHARED, fd, 0);
		if (page == MAP_FAILED)
			page = NULL; /* it sleeps in slices then */
	}
	thread_lock(busd);
	bell = find_bell(thread, client_id);
	if (!bell)
		bell = new_bell(thread, client_id);
	if (bell && !bell->page) {
		bell->page = page;
		bell->word = word;
		page = NULL;
	}
	thread_unlock(busd);
	if (page)
		munmap(page, sizeof(*page));
	return bell ? 0 : -ENOMEM;
}

static void leave_to_thread(struct thread *thread, struct bell_page *page)
{
	if (thread->former_count == thread->former_room) {
		size_t room = thread->former_room * 2 + 16;
		struct bell_page **more = realloc(thread->former, room * sizeof(*more));

		if (!more)
			return; /* it stays mapped: a page */
		thread->former = more;
		thread->former_room = room;
	}
	thread->former[thread->former_count++] = page;
}

void thread_unhear(struct busd *busd, uint64_t client_id)
{
	struct thread *thread = busd->thread;
	struct thread_bell *bell;

	thread_lock(busd);
	bell = find_bell(thread, client_id);
	if (bell) {
		if (bell->page)
			leave_to_thread(thread, bell->page);
		*bell = thread->bells[--thread->bell_count];
	}
	thread_unlock(busd);
}
