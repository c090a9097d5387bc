/* SPDX-License-Identifier: Apache-2.0 */
/*
 * words.c - the words of shared memory, numbered as they are first touched, and who reads and
 * writes each.
 *
 * Only words that one party writes and another reads can make an order of events matter. Which ones
 * these are is not declared but found: a word that turns out to be shared after accesses to it were
 * treated as private restarts the search with that knowledge, until nothing new appears.
 */
#include "engine.h"

#include <sys/mman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint8_t word_readers[MAX_WORDS], word_writers[MAX_WORDS], word_bytes[MAX_WORDS];
bool word_coarse[MAX_WORDS], all_fine;
int word_count;

static uint8_t *arena;
static size_t arena_used;
static uint8_t number[ARENA_BYTES / 4]; /* word number + 1 */
static uint32_t offset_of[MAX_WORDS];
static struct {
	uint32_t alias, base, bytes;
} aliases[4];
static unsigned alias_count;

void *explore_shared(size_t bytes)
{
	void *at;

	if (!arena) {
		arena = mmap(NULL, ARENA_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (arena == MAP_FAILED) {
			perror("explore: mmap");
			exit(2);
		}
	}
	at = arena + arena_used;
	arena_used += (bytes + 127) & ~(size_t)127;
	if (arena_used > ARENA_BYTES) {
		fprintf(stderr, "explore: shared memory of a scenario is limited to %d bytes\n",
			ARENA_BYTES);
		exit(2);
	}
	return at;
}

void explore_alias(const void *alias, const void *base, size_t bytes)
{
	if (alias_count == sizeof(aliases) / sizeof(aliases[0])) {
		fprintf(stderr, "explore: too many aliases\n");
		exit(2);
	}
	aliases[alias_count].alias = (uint32_t)((const uint8_t *)alias - arena);
	aliases[alias_count].base = (uint32_t)((const uint8_t *)base - arena);
	aliases[alias_count++].bytes = (uint32_t)bytes;
}

/* Before setup runs again: it asks for the same memory again, and words keep their numbers. */
void words_reset(void)
{
	arena_used = 0;
	alias_count = 0;
}

int word_of(const volatile void *address, unsigned size)
{
	size_t at = (size_t)((const volatile uint8_t *)address - arena);

	if (at >= arena_used || at % size != 0)
		explore_fail("an atomic operation outside of shared memory");
	for (unsigned i = 0; i < alias_count; i++)
		if (at - aliases[i].alias < aliases[i].bytes)
			at = at - aliases[i].alias + aliases[i].base;
	if (number[at / 4] == 0) {
		if (word_count == MAX_WORDS)
			explore_fail("more than %d words of shared memory", MAX_WORDS);
		offset_of[word_count] = (uint32_t)at;
		word_bytes[word_count] = (uint8_t)size;
		number[at / 4] = (uint8_t)++word_count;
	}
	return number[at / 4] - 1;
}

void explore_coarse(const volatile void *word)
{
	word_coarse[word_of(word, 8)] = !all_fine;
}

const volatile void *word_address(int w)
{
	return arena + offset_of[w];
}

uint32_t word_offset(int w)
{
	return offset_of[w];
}

const volatile void *word_at_offset(uint32_t offset)
{
	return arena + offset;
}
