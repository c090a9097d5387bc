/* SPDX-License-Identifier: Apache-2.0 */
/* spill_disk.c - see spill_disk.h */
#include "spill_disk_internal.h"

#include "log.h"
#include "user.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOOK_NS UINT64_C(1000000000)  /* between two looks at what is to be removed */
#define SAY_NS  UINT64_C(10000000000) /* between two words on what is dropped */

/* ---- what the board says ---- */

void spill_set_text(struct spill_disk *d, char *to, size_t size, const char *text)
{
	struct board_log *log = &d->o.board->log;
	const uint32_t gen = bus_load_relaxed(&log->gen);

	if (strncmp(to, text, size) == 0)
		return;
	bus_store_relaxed(&log->gen, gen + 1);
	bus_fence_release();
	snprintf(to, size, "%s", text);
	bus_store_release(&log->gen, gen + 2);
}

void spill_set_state(struct spill_disk *d, enum board_log_state state, const char *why)
{
	struct board_log *log = &d->o.board->log;

	spill_set_text(d, log->why, sizeof(log->why), why);
	bus_store_relaxed(&log->state, state);
}

void spill_show_use(struct spill_disk *d)
{
	struct board_log *log = &d->o.board->log;
	uint64_t bytes = 0;

	for (size_t i = 0; i < d->retention.count; i++)
		bytes += d->retention.segments[i].bytes;
	bus_store_relaxed(&log->disk_bytes, bytes);
	bus_store_relaxed(&log->segments, d->retention.count);
	bus_store_relaxed(&log->oldest_seq,
			  d->retention.count ? d->retention.segments[0].base_seq : 0);
}

static uint64_t lag_bytes(const struct spill_disk *d)
{
	const struct log_view *view = &d->o.view;
	const struct log_slot *first, *last;

	if (d->head == d->gate)
		return 0;
	first = &view->slots[d->gate & (view->slot_count - 1)];
	last = &view->slots[(d->head - 1) & (view->slot_count - 1)];
	return last->pos - first->pos + (uint32_t)last->lens + (d->head - d->gate) * RING_SLOT_BYTES;
}

static_assert(BOARD_SYNC_PLACES == LOG_HISTOGRAM, "the board has the writer's buckets");

static void show_syncs(struct board_log *log, const struct log_counts *counts)
{
	if (bus_load_relaxed(&log->syncs) == counts->syncs)
		return;
	bus_store_relaxed(&log->sync_ns, counts->sync_ns);
	for (unsigned i = 0; i < LOG_HISTOGRAM; i++)
		bus_store_relaxed(&log->sync_us[i], counts->sync_us[i]);
	bus_store_relaxed(&log->syncs, counts->syncs);
}

/* At once, and then how it goes on every 10 s at most. */
static void say_dropped(struct spill_disk *d)
{
	const uint64_t dropped = bus_load_relaxed(&d->o.spill->dropped), now = bus_monotonic_ns();

	if (dropped == d->drops_said || (d->drops_said_at && now - d->drops_said_at < SAY_NS))
		return;
	log_warning(
		"stream \"%s\": its ring had no room for %llu messages, which were dropped (%llu in all): %s",
		d->topic, (unsigned long long)(dropped - d->drops_said), (unsigned long long)dropped,
		d->stuck ? log_file_why(d->log) : "the disk took nothing for a second");
	d->drops_said = dropped;
	d->drops_said_at = now;
}

static void show(struct spill_disk *d)
{
	static const enum board_log_state states[] = {
		[LOG_STARTING] = BOARD_LOG_OPENING, [LOG_RUNNING] = BOARD_LOG_RUNNING,
		[LOG_ROLLING] = BOARD_LOG_RUNNING,  [LOG_FAILING] = BOARD_LOG_FAILING,
		[LOG_FULL] = BOARD_LOG_FULL,
	};
	const struct log_counts *counts = log_file_counts(d->log);
	const enum log_state state = log_file_state(d->log);
	struct board_log *log = &d->o.board->log;
	const bool stuck = state == LOG_FAILING || state == LOG_FULL;

	bus_store_relaxed(&log->lag_bytes, lag_bytes(d));
	bus_store_relaxed(&log->errors, counts->errors);
	bus_store_relaxed(&log->full, counts->full);
	bus_store_relaxed(&log->lost, counts->lost);
	bus_store_relaxed(&log->dropped, bus_load_relaxed(&d->o.spill->dropped));
	bus_store_relaxed(&log->poisoned, counts->poisoned);
	bus_store_relaxed(&log->commits, counts->commits);
	show_syncs(log, counts);
	spill_set_state(d, states[state], log_file_why(d->log));
	if (stuck && !d->stuck)
		log_error("stream \"%s\": %s; %s until that is over", d->topic, log_file_why(d->log),
			  d->o.spill->drops ? "what its ring has no room for is dropped"
					    : "its publishers wait");
	else if (!stuck && d->stuck)
		log_info("stream \"%s\" is written again", d->topic);
	d->stuck = stuck;
	bus_store_relaxed(&d->o.spill->stuck, stuck);
	say_dropped(d);
}

/* ---- what is in the log now ---- */

/*
 * Messages [d->gate, gate) are in the log: each source's, before anything below gate may leave the ring. What
 * is durable is said of a source only where the gate is durable_seq.
 */
static void note(struct spill_disk *d, uint64_t gate, bool durable)
{
	const struct log_view *view = &d->o.view;
	uint32_t src = 0;
	uint64_t next = 0;

	for (uint64_t seq = d->gate; seq <= gate; seq++) {
		const struct log_slot *slot = &view->slots[seq & (view->slot_count - 1)];

		if (next && (seq == gate || slot->src != src)) {
			struct board_source *source = &d->o.sources[src % BOARD_SOURCES];

			if (source->src == src) {
				if (durable)
					bus_store_release(&source->durable, next);
				bus_store_release(&d->kept[src % BOARD_SOURCES], next);
			}
		}
		if (seq == gate)
			break;
		src = slot->src;
		next = slot->src_seq + 1;
	}
}

/* The newest run of a source that the sequencer dropped: [from, to). */
static bool dropped_run(const struct board_source *source, uint64_t *from, uint64_t *to)
{
	const uint32_t gen = bus_load_acquire(&source->drop_gen);

	*from = bus_load_relaxed(&source->drop_from);
	*to = bus_load_relaxed(&source->drop_to);
	bus_fence_acquire();
	return gen % 2 == 0 && bus_load_relaxed(&source->drop_gen) == gen && *from < *to;
}

/*
 * What was dropped is not waited for. Behind it lies what comes into the ring later, before it what is to be written
 * first: where there is anything of that, its turn comes. An older run than the newest needs no look: what came between is passed
 * with what is written.
 */
static void pass_dropped(struct spill_disk *d)
{
	const uint64_t dropped = bus_load_acquire(&d->o.spill->dropped);
	bool waits = false;

	if (dropped == d->dropped && !d->drops_wait)
		return;
	d->dropped = dropped;
	pthread_mutex_lock(&d->lock);
	for (uint32_t i = 0; !d->mute && i < BOARD_SOURCES; i++) {
		struct board_source *source = &d->o.sources[i];
		uint64_t from, to, kept = bus_load_relaxed(&d->kept[i]);

		if (!dropped_run(source, &from, &to))
			continue;
		waits |= kept < from;
		if (kept < from)
			continue;
		bus_store_release(&d->kept[i], bus_max_u64(kept, to));
		if (d->settings.log.sync != CTL_SYNC_NONE && bus_load_relaxed(&source->durable) < to)
			bus_store_release(&source->durable, to);
	}
	pthread_mutex_unlock(&d->lock);
	d->drops_wait = waits;
	bus_store_release(&d->o.spill->moved, 1);
	user_ring_bell(d->o.user, d->o.slot);
}

static void publish(struct spill_disk *d)
{
	const uint64_t gate = log_file_gate(d->log), durable = log_file_durable(d->log);
	const uint64_t limit = log_file_limit(d->log);
	const bool sync = d->settings.log.sync != CTL_SYNC_NONE;
	struct spill *spill = d->o.spill;

	if (gate == d->gate && durable == d->durable && limit == d->limit)
		return;
	pthread_mutex_lock(&d->lock);
	if (!d->mute) {
		note(d, gate, sync);
		bus_store_release(&d->o.board->durable_seq, durable);
		bus_store_release(&d->o.board->spilled_seq, gate);
		/* behind what the next worker begins at: from here on slots are overwritten */
		bus_store_release(&spill->gate.cursor, gate);
		bus_store_release(&spill->limit, limit);
		bus_store_release(&spill->moved, 1);
	}
	pthread_mutex_unlock(&d->lock);
	d->gate = gate;
	d->durable = durable;
	d->limit = limit;
	user_ring_bell(d->o.user, d->o.slot);
}

/* ---- keeping ---- */

void spill_made(void *owner, const struct log_made *made)
{
	struct spill_disk *d = owner;
	struct log_made kept = *made;

	/* numbers that a file may have which is not read are no messages of the segment before it */
	if (!d->counts)
		kept.prev_end = bus_min_u64(kept.prev_end, d->rec.end_seq);
	if (retention_add(&d->retention, &kept, true) < 0)
		log_warning("stream \"%s\": no memory to note a segment: it is not removed in its time",
			    d->topic);
	d->look_at = 0;
	d->counts = true;
	spill_show_use(d);
}

/* Of the last one of the former life. */
static void give_back(struct spill_disk *d)
{
	int64_t bytes;

	if (d->gave_back || !d->counts)
		return;
	d->gave_back = true;
	bytes = recover_give_back(&d->rec, d->io, d->o.dir, d->ring_from);
	if (bytes > 0)
		retention_set_bytes(&d->retention, d->rec.base_seq, (uint64_t)bytes);
	else if (bytes < 0 && bytes != -EOPNOTSUPP)
		log_warning("stream \"%s\": unused room of an old segment is not given back: %s",
			    d->topic, strerror((int)-bytes));
	spill_show_use(d);
}

static void keep_limits(struct spill_disk *d, uint64_t now_ns)
{
	size_t due;
	int rc;

	if (now_ns < d->look_at)
		return;
	d->look_at = now_ns + LOOK_NS;
	/* until a segment of this life declares it, what was passed over looks like messages of the last one */
	due = retention_due(&d->retention, d->counts ? log_file_gate(d->log) : d->rec.end_seq,
			    bus_realtime_ns());
	if (due == 0)
		return;
	rc = retention_apply(&d->retention, d->io, d->o.dir, due);
	if (rc < 0 && rc != d->keeps)
		log_warning("stream \"%s\": an old segment cannot be removed: %s; tried again each second",
			    d->topic, strerror(-rc));
	else if (rc == 0 && d->keeps < 0)
		log_info("stream \"%s\": old segments can be removed again", d->topic);
	d->keeps = rc;
	spill_show_use(d);
}

/* ---- publishers ---- */

static void tell_loop(const struct spill_disk *d)
{
	const uint64_t one = 1;

	if (write(d->o.loop_fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: it is readable already */
}

/* Whose number would share an entry of the board with somebody who is there is passed over. */
static void answer(struct spill_disk *d, struct spill_ask *ask)
{
	const size_t len = strlen(ask->name);
	struct source *source = len ? sources_find(&d->sources, ask->name, len) : NULL;

	ask->rc = 0;
	ask->known = source != NULL;
	if (!source)
		sources_pick(&d->sources, ask->free, len > 0);
	if (!source && len)
		ask->rc = sources_add(&d->sources, ask->name, len, &source, &ask->why);
	else if (!source)
		ask->rc = sources_nameless(&d->sources, &ask->src, &ask->why);
	if (source) {
		ask->src = source->src;
		ask->next = source->next;
	}
}

/* refusal: why none gets what it wants; NULL */
void spill_answer_all(struct spill_disk *d, const char *refusal)
{
	struct spill_ask *ask = NULL;
	bool any = false;

	do {
		pthread_mutex_lock(&d->lock);
		if (ask)
			list_append(&d->answers, &ask->link);
		ask = NULL;
		if (!list_empty(&d->asks)) {
			ask = list_entry(d->asks.next, struct spill_ask, link);
			list_remove(&ask->link);
		}
		pthread_mutex_unlock(&d->lock);
		any = any || ask;
		if (ask && ask->kind == SPILL_ASK_SEGMENT)
			spill_answer_segment(d, ask);
		else if (ask && refusal)
			ask->rc = because(&ask->why, EIO, "the stream's log cannot be written: %s",
					  refusal);
		else if (ask)
			answer(d, ask);
	} while (ask);
	if (any)
		tell_loop(d);
}

/* ---- the thread ---- */

static void sleep_until(struct spill_disk *d, uint64_t wait_ns)
{
	struct pollfd fds[] = { { .fd = d->event_fd, .events = POLLIN },
				{ .fd = d->io->event_fd, .events = POLLIN } };
	struct spill *spill = d->o.spill;
	struct timespec wait;
	uint64_t count;

	wait_ns = bus_min_u64(wait_ns, LOOK_NS);
	wait = (struct timespec){ .tv_sec = (time_t)(wait_ns / 1000000000),
				  .tv_nsec = (long)(wait_ns % 1000000000) };
	bus_store_relaxed(&spill->sleeps, 1);
	bus_fence_seq_cst(); /* pairs with spill_committed() */
	if (bus_load_acquire(&spill->offered) == d->head && ppoll(fds, 2, &wait, NULL) > 0 &&
	    fds[0].revents)
		(void)!read(d->event_fd, &count, sizeof(count));
	bus_store_relaxed(&spill->sleeps, 0);
}

static void run(struct spill_disk *d)
{
	bool flushed = false;

	while (bus_load_acquire(&d->stop) == 0) {
		const uint64_t now = bus_monotonic_ns();
		uint64_t wait;

		spill_answer_all(d, NULL);
		d->head = bus_load_acquire(&d->o.spill->offered);
		log_file_offer(d->log, d->head);
		if (bus_load_acquire(&d->flush) && (!flushed || d->durable < d->head))
			log_file_flush(d->log);
		flushed = bus_load_relaxed(&d->flush);
		wait = log_file_run(d->log, now);
		publish(d);
		pass_dropped(d);
		show(d);
		give_back(d);
		keep_limits(d, now);
		wait = bus_min_u64(wait, spill_positions_run(d, now));
		if (wait)
			sleep_until(d, wait);
		io_poll(d->io, 0);
	}
}

static void *disk_main(void *arg)
{
	struct spill_disk *d = arg;

	if (spill_open_log(d)) {
		d->durable = UINT64_MAX; /* said once more at least */
		d->drops_said = bus_load_relaxed(&d->o.spill->dropped);
		d->drops_wait = true;
		run(d);
		spill_positions_finish(d);
		log_file_close(d->log);
		d->log = NULL;
	}
	bus_store_release(&d->ended, 1);
	tell_loop(d);
	return NULL;
}

/* ---- by the loop ---- */

int spill_disk_new(struct spill_disk **ret, const struct spill_disk_opts *opts, struct why *why)
{
	struct spill_disk *d = calloc(1, sizeof(*d));
	struct board_log *log = &opts->board->log;

	if (d)
		d->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!d || d->event_fd < 0) {
		free(d);
		return because(why, ENOMEM, "no memory, or no descriptor, for a stream's writer");
	}
	d->o = *opts;
	d->settings = *opts->settings;
	snprintf(d->topic, sizeof(d->topic), "%s", opts->topic);
	d->sources.fd = -1;
	pthread_mutex_init(&d->lock, NULL);
	list_init(&d->asks);
	list_init(&d->answers);
	position_desk_init(&d->desk);
	log->sync = d->settings.log.sync;
	log->on_full = d->settings.log.on_full;
	log->interval_ns = d->settings.log.interval_ns;
	log->max_age_ns = d->settings.log.max_age_ns;
	log->max_bytes = d->settings.log.max_bytes;
	log->max_messages = d->settings.log.max_messages;
	if (bus_load_relaxed(&log->gen) % 2) /* a former worker died in it */
		bus_store_release(&log->gen, bus_load_relaxed(&log->gen) + 1);
	bus_store_relaxed(&log->state, BOARD_LOG_OPENING);
	*ret = d;
	return 0;
}

void spill_disk_adopt(struct spill_disk *disk, struct spill_found *found)
{
	disk->rec = found->rec;
	disk->retention = found->retention;
	disk->start = found->start;
	disk->ring_from = RECOVER_NO_RING;
	disk->found = true;
	spill_disk_begin_at(disk, found->start.seq, found->start.pos);
	bus_store_release(&disk->o.board->durable_seq, found->rec.end_seq);
	spill_show_use(disk);
}

void spill_disk_begin_at(struct spill_disk *disk, uint64_t gate_seq, uint64_t pos)
{
	disk->from = disk->gate = disk->head = gate_seq;
	disk->from_pos = pos;
	bus_store_release(&disk->o.board->spilled_seq, gate_seq);
}

int spill_disk_event(const struct spill_disk *disk)
{
	return disk->event_fd;
}

int spill_disk_start(struct spill_disk *disk)
{
	int rc;

	if (disk->runs)
		return 0;
	rc = pthread_create(&disk->thread, NULL, disk_main, disk);
	disk->runs = rc == 0;
	return -rc;
}

static void poke(const struct spill_disk *disk)
{
	const uint64_t one = 1;

	if (write(disk->event_fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: it is readable already */
}

void spill_disk_ask(struct spill_disk *disk, struct spill_ask *ask)
{
	pthread_mutex_lock(&disk->lock);
	list_append(&disk->asks, &ask->link);
	pthread_mutex_unlock(&disk->lock);
	poke(disk);
}

struct spill_ask *spill_disk_answer(struct spill_disk *disk)
{
	struct spill_ask *ask = NULL;

	pthread_mutex_lock(&disk->lock);
	if (!list_empty(&disk->answers)) {
		ask = list_entry(disk->answers.next, struct spill_ask, link);
		list_remove(&ask->link);
	}
	pthread_mutex_unlock(&disk->lock);
	return ask;
}

bool spill_disk_kept(const struct spill_disk *disk, uint32_t index)
{
	return bus_load_acquire(&disk->kept[index]) >=
	       bus_load_relaxed(&disk->o.sources[index].taken);
}

void spill_disk_keep(struct spill_disk *disk, uint32_t index, uint64_t next)
{
	bus_store_release(&disk->kept[index], next);
}

void spill_disk_flush(struct spill_disk *disk)
{
	bus_store_release(&disk->flush, 1);
	poke(disk);
}

bool spill_disk_is_flushed(const struct spill_disk *disk)
{
	return bus_load_acquire(&disk->o.board->durable_seq) >=
	       bus_load_acquire(&disk->o.spill->offered);
}

void spill_disk_stop(struct spill_disk *disk, bool retire)
{
	pthread_mutex_lock(&disk->lock);
	disk->mute = true;
	pthread_mutex_unlock(&disk->lock);
	disk->retire = retire;
	bus_store_release(&disk->stop, 1);
	if (!disk->runs)
		bus_store_release(&disk->ended, 1);
	poke(disk);
}

bool spill_disk_has_ended(const struct spill_disk *disk)
{
	return bus_load_acquire(&disk->ended);
}

void spill_disk_free(struct spill_disk *disk)
{
	struct spill_ask *ask;

	if (!disk)
		return;
	if (disk->runs)
		pthread_join(disk->thread, NULL);
	for_each(ask, &disk->asks, link)
		list_append(&disk->answers, (list_remove(&ask->link), &ask->link));
	while ((ask = spill_disk_answer(disk)))
		spill_ask_free(ask);
	sources_close(&disk->sources);
	retention_free(&disk->retention);
	position_desk_free(&disk->desk);
	io_free(disk->io);
	if (disk->o.dir >= 0)
		close(disk->o.dir);
	close(disk->event_fd);
	pthread_mutex_destroy(&disk->lock);
	free(disk);
}
