/* SPDX-License-Identifier: Apache-2.0 */
/* journal.c - see journal.h */
#include "journal.h"

#include "keep.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEP     (UINT64_C(1) << 20)
#define HEADROOM (UINT64_C(256) << 10)

static uint64_t *word_at(const struct journal *journal, uint64_t at)
{
	return (uint64_t *)((char *)journal->head + at);
}

static struct journal_record *record_at(const struct journal *journal, uint64_t at)
{
	return (struct journal_record *)word_at(journal, at);
}

static struct journal_undo *undo_at(const struct journal *journal, uint64_t i)
{
	return (struct journal_undo *)word_at(journal, JOURNAL_UNDO_OFF) + i;
}

static uint64_t word_of(struct journal_record record)
{
	uint64_t word;

	memcpy(&word, &record, sizeof(word));
	return word;
}

/* A store that is not moved before what stands above it. */
static void store_word(const struct journal *journal, uint64_t at, uint64_t value)
{
	bus_store_release((_Atomic uint64_t *)word_at(journal, at), value);
}

static void push(struct journal_places *places, uint64_t at)
{
	if (places->count == places->room) {
		size_t room = places->room ? places->room * 2 : 64;
		uint64_t *larger = realloc(places->at, room * sizeof(*larger));

		if (!larger)
			return; /* the place is not used again by this worker */
		places->at = larger;
		places->room = room;
	}
	places->at[places->count++] = at;
}

static int grow(struct journal *journal, size_t size)
{
	void *map;

	if (ftruncate(journal->fd, (off_t)size) < 0)
		return -errno;
	if (fallocate(journal->fd, 0, (off_t)journal->size, (off_t)(size - journal->size)) < 0)
		return -errno;
	map = journal->head ? mremap(journal->head, journal->size, size, MREMAP_MAYMOVE)
			    : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, journal->fd, 0);
	if (map == MAP_FAILED)
		return -ENOMEM;
	journal->head = map;
	journal->size = size;
	return 0;
}

static void roll_back(struct journal *journal)
{
	uint64_t count = bus_load_acquire(&journal->head->undo_count);

	while (count > 0) {
		const struct journal_undo *undo = undo_at(journal, --count);

		store_word(journal, undo->at, undo->was);
	}
	bus_store_release(&journal->head->undo_count, 0);
}

static int check(const struct journal *journal)
{
	uint64_t used = bus_load_relaxed(&journal->head->used);
	uint64_t at = JOURNAL_ARENA_OFF;

	if (journal->head->magic != JOURNAL_MAGIC || journal->head->version != JOURNAL_VERSION ||
	    used > journal->size)
		return -EPROTO;
	while (at < used) {
		uint32_t units = record_at(journal, at)->units;

		if (units == 0 || units > JOURNAL_UNITS)
			return -EPROTO;
		at += (uint64_t)units * JOURNAL_UNIT;
	}
	return at == used ? 0 : -EPROTO;
}

static void find_free(struct journal *journal)
{
	uint64_t at = JOURNAL_ARENA_OFF;

	while (at < bus_load_relaxed(&journal->head->used)) {
		const struct journal_record *record = record_at(journal, at);

		if (record->kind == 0)
			push(&journal->free[record->units], at);
		at += (uint64_t)record->units * JOURNAL_UNIT;
	}
}

int journal_open(struct journal *journal, int fd)
{
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return -errno;
	journal->fd = fd;
	/* one that died before the magic was there left nothing behind */
	rc = grow(journal, bus_max_u64((uint64_t)st.st_size, JOURNAL_ARENA_OFF + STEP));
	if (rc < 0)
		return rc;
	journal->fresh = journal->head->magic == 0;
	if (journal->fresh) {
		journal->head->version = JOURNAL_VERSION;
		bus_store_relaxed(&journal->head->used, JOURNAL_ARENA_OFF);
		bus_store_relaxed(&journal->head->ids, 1);
		store_word(journal, offsetof(struct journal_head, magic), JOURNAL_MAGIC);
	}
	if (journal->head->magic == JOURNAL_MAGIC && journal->head->version == JOURNAL_VERSION)
		roll_back(journal);
	rc = check(journal);
	if (rc == 0)
		find_free(journal);
	return rc;
}

int journal_reserve(struct journal *journal)
{
	if (!journal->head || bus_load_relaxed(&journal->head->used) + HEADROOM <= journal->size)
		return 0;
	return grow(journal, journal->size + STEP) < 0 ? -ENOMEM : 0;
}

/* Saves a word before it changes. What does not fit is committed: see client_free() and others,
 * whose halves are finished by whoever looks again. */
static void change_word(struct journal *journal, uint64_t at, uint64_t value)
{
	uint64_t count = bus_load_relaxed(&journal->head->undo_count);

	if (count == JOURNAL_UNDO) {
		journal_commit(journal);
		count = 0;
	}
	*undo_at(journal, count) = (struct journal_undo){ .at = at, .was = *word_at(journal, at) };
	bus_store_release(&journal->head->undo_count, count + 1);
	store_word(journal, at, value);
}

static uint64_t take_place(struct journal *journal, uint32_t units)
{
	struct journal_places *places = &journal->free[units];
	uint64_t used = bus_load_relaxed(&journal->head->used);
	uint64_t end = used + (uint64_t)units * JOURNAL_UNIT;

	if (places->count)
		return places->at[--places->count];
	if (end > journal->size && grow(journal, journal->size + STEP) < 0) {
		log_error("no memory for the journal: this worker cannot go on");
		abort();
	}
	*record_at(journal, used) = (struct journal_record){ .units = units };
	bus_store_release(&journal->head->used, end);
	return used;
}

void journal_put(struct journal *journal, uint64_t *place, uint32_t kind, const void *body,
		 size_t size)
{
	uint32_t units =
		(uint32_t)(BUS_ALIGN_UP(size + sizeof(struct journal_record), (size_t)JOURNAL_UNIT) /
			   JOURNAL_UNIT);
	struct journal_record record = { .units = units, .kind = kind };
	const uint64_t *words = body;
	uint64_t at;
	size_t i;

	if (!journal->head)
		return;
	assert(units <= JOURNAL_UNITS && size % 8 == 0);
	if (*place != 0 && record_at(journal, *place)->units < units)
		journal_drop(journal, place);
	if (*place == 0) {
		*place = take_place(journal, units);
		memcpy(word_at(journal, *place + sizeof(record)), body, size);
		memset((char *)word_at(journal, *place + sizeof(record)) + size, 0,
		       journal_room(journal, *place) - size);
		change_word(journal, *place, word_of(record));
		return;
	}
	at = *place + sizeof(record);
	for (i = 0; i < size / 8; i++)
		if (*word_at(journal, at + i * 8) != words[i])
			change_word(journal, at + i * 8, words[i]);
}

void journal_drop(struct journal *journal, uint64_t *place)
{
	struct journal_record record;

	if (!journal->head || *place == 0)
		return;
	record = *record_at(journal, *place);
	record.kind = 0;
	change_word(journal, *place, word_of(record));
	push(&journal->limbo, *place);
	*place = 0;
}

void journal_commit(struct journal *journal)
{
	size_t i;

	if (!journal->head)
		return;
	if (bus_load_relaxed(&journal->head->undo_count) != 0)
		bus_store_release(&journal->head->undo_count, 0);
	for (i = 0; i < journal->limbo.count; i++)
		push(&journal->free[record_at(journal, journal->limbo.at[i])->units],
		     journal->limbo.at[i]);
	journal->limbo.count = 0;
	keep_flush();
}

const void *journal_next(const struct journal *journal, uint32_t kind, uint64_t *at)
{
	uint64_t used = journal->head ? bus_load_relaxed(&journal->head->used) : 0;

	*at = *at ? *at + (uint64_t)record_at(journal, *at)->units * JOURNAL_UNIT : JOURNAL_ARENA_OFF;
	while (*at < used) {
		const struct journal_record *record = record_at(journal, *at);

		if (kind ? record->kind == kind : record->kind != 0)
			return record + 1;
		*at += (uint64_t)record->units * JOURNAL_UNIT;
	}
	return NULL;
}

uint32_t journal_kind(const struct journal *journal, uint64_t at)
{
	return record_at(journal, at)->kind;
}

size_t journal_room(const struct journal *journal, uint64_t at)
{
	return (size_t)record_at(journal, at)->units * JOURNAL_UNIT - sizeof(struct journal_record);
}

void journal_read(const struct journal *journal, uint64_t at, void *body, size_t size)
{
	size_t there = bus_min_u64(size, journal_room(journal, at));

	memcpy(body, record_at(journal, at) + 1, there);
	memset((char *)body + there, 0, size - there);
}

void journal_note_id(struct journal *journal, uint64_t next)
{
	if (journal->head && next >= bus_load_relaxed(&journal->head->ids))
		bus_store_release(&journal->head->ids, next + JOURNAL_IDS);
}

uint64_t journal_first_id(const struct journal *journal)
{
	return journal->head ? bus_load_relaxed(&journal->head->ids) : 1;
}
