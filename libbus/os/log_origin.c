/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_origin.c - a log whose segments are handed over one by one: of them only those around one number are
 * held, so that a log of any length costs its reader two descriptors. What is told of them is checked as
 * if it had been found in a directory.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/log_own.h"

/* Files in a row that are no segments, until what lies behind them is not looked for with this step. */
#define BAD_MAX 64

/* Entries under construction; those that are there already are moved. */
struct window {
	struct log_entry *entries;
	size_t count;
};

/* One that was got before and cannot have changed since: another one follows it. */
static bool take_known(struct log_dir *dir, uint64_t seq, struct log_entry *ret)
{
	for (size_t i = 0; i < dir->count; i++) {
		struct log_entry *e = &dir->entries[i];

		if (e->name == NULL || e->named > seq || seq >= e->next_seq)
			continue;
		*ret = *e;
		e->name = NULL;
		e->fd = -1;
		return true;
	}
	return false;
}

/* 1; 0: there is no segment at all; -errno. */
static int ask(struct log_dir *dir, uint64_t seq, struct log_entry *ret)
{
	struct log_place place = { .fd = -1 };
	struct log_entry e = { .fd = -1, .kind = LOG_KIND_SEGMENT };
	int err = dir->origin->get(dir->origin, seq, &place);

	if (err < 0)
		return err;
	if (dir->uuid_known && memcmp(dir->uuid, place.uuid, sizeof(dir->uuid)) != 0)
		err = -ESTALE;
	if (err == 0 && place.segments > 0 &&
	    asprintf(&e.name, LOG_SEGMENT_NAME, (unsigned long long)place.base_seq) < 0)
		err = -ENOMEM;
	if (err < 0 || place.segments == 0) {
		if (place.fd >= 0)
			close(place.fd);
		place.fd = -1;
	}
	if (err < 0)
		return err;
	memcpy(dir->uuid, place.uuid, sizeof(dir->uuid));
	dir->uuid_known = true;
	dir->known = place;
	dir->known.fd = -1;
	if (place.segments == 0)
		return 0;
	e.fd = place.fd;
	e.named = place.base_seq;
	e.next_seq = place.next_seq;
	log_entry_look(dir, &e);
	*ret = e;
	return 1;
}

/* For want of descriptors or memory: it says nothing of the file. */
static bool is_passing(const struct log_entry *e)
{
	return e->kind == LOG_KIND_UNREADABLE &&
	       (e->err == EMFILE || e->err == ENFILE || e->err == ENOMEM);
}

/* From the segment with seq on until a good one behind it. 0, -errno. */
static int gather(struct log_dir *dir, uint64_t seq, bool afresh, struct window *w)
{
	uint64_t want = seq;

	w->entries = calloc(BAD_MAX, sizeof(*w->entries));
	if (w->entries == NULL)
		return -ENOMEM;
	while (w->count < BAD_MAX) {
		struct log_entry *e = &w->entries[w->count];
		int err = 1;

		if ((afresh && w->count == 0) || !take_known(dir, want, e))
			err = ask(dir, want, e);
		if (err <= 0)
			return err;
		w->count++;
		if (is_passing(e))
			return -e->err;
		if (e->kind == LOG_KIND_TOO_NEW && !dir->any_version)
			return -EPROTONOSUPPORT;
		if (e->next_seq <= e->named || (e->kind == LOG_KIND_SEGMENT && e->named > seq))
			break;
		want = e->next_seq;
	}
	return 0;
}

static int fill(struct log_dir *dir, uint64_t seq, bool afresh)
{
	struct window w = { .count = 0 };
	int err = gather(dir, seq, afresh, &w);

	if (err < 0) {
		/* what was moved goes, too: the next step asks for it again */
		log_entries_free(w.entries, w.count);
		w = (struct window){ .count = 0 };
	}
	log_entries_free(dir->entries, dir->count);
	dir->entries = w.entries;
	dir->count = w.count;
	dir->segments = 0;
	dir->around = seq;
	dir->at_first = w.count > 0 && w.entries[0].named == dir->known.oldest_seq;
	dir->at_last = w.count > 0 && w.entries[w.count - 1].next_seq == 0;
	return err < 0 ? err : log_dir_arrange(dir);
}

static bool covers(const struct log_dir *dir, uint64_t seq)
{
	ssize_t at = log_dir_find(dir, seq);

	if (dir->count == 0)
		return false;
	if (at < 0)
		return dir->at_first && dir->segments > 0;
	return (size_t)at + 1 < dir->segments || dir->at_last;
}

int log_dir_aim(struct log_dir *dir, uint64_t seq)
{
	return dir->origin == NULL || covers(dir, seq) ? 0 : fill(dir, seq, false);
}

int log_dir_ask_again(struct log_dir *dir)
{
	return fill(dir, dir->around, true);
}

int log_dir_open_origin(struct log_dir *ret, struct log_origin *origin, uint64_t around,
			bool any_version)
{
	struct log_dir dir = { .fd = -1, .origin = origin, .any_version = any_version };
	int err = fill(&dir, around, true);

	if (err < 0) {
		log_dir_close(&dir);
		return err;
	}
	*ret = dir;
	return 0;
}
