/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_template.c - see tool_template.h
 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "tool.h"
#include "tool_template.h"

enum { NO_PLACEHOLDER, COUNT, TIME, RANDOM };

/* Which placeholder text begins with, its length in *len. */
static int placeholder(const char *text, size_t *len)
{
	static const char *const names[] = {
		[COUNT] = "{{Count}}", [TIME] = "{{Time}}", [RANDOM] = "{{Random}}"
	};

	for (int i = COUNT; i <= RANDOM; i++) {
		*len = strlen(names[i]);
		if (strncmp(text, names[i], *len) == 0)
			return i;
	}
	return NO_PLACEHOLDER;
}

static int count_placeholders(const char *text)
{
	int count = 0;
	size_t len;

	while ((text = strstr(text, "{{"))) {
		bool found = placeholder(text, &len) != NO_PLACEHOLDER;

		text += found ? len : 1;
		count += found;
	}
	return count;
}

bool tool_template_check(const char *text)
{
	return count_placeholders(text) > 0;
}

size_t tool_template_size(const char *text)
{
	return strlen(text) + 1 + (size_t)count_placeholders(text) * TOOL_TEMPLATE_GROWTH;
}

/*
 * splitmix64 over a seed of the kernel's: a system call per message would be the slowest part of
 * it.
 */
static uint64_t random_number(void)
{
	static uint64_t state;
	static bool seeded;
	uint64_t z;

	if (!seeded) {
		if (getrandom(&state, sizeof(state), 0) != sizeof(state))
			state = tool_unix_time_ns();
		seeded = true;
	}
	z = state += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static char *write_placeholder(char *to, int which, uint64_t count)
{
	int n = 0;

	switch (which) {
	case COUNT:
		n = sprintf(to, "%ju", (uintmax_t)count);
		break;
	case TIME:
		n = sprintf(to, "%s", tool_time(tool_unix_time_ns()).s);
		break;
	case RANDOM:
		n = sprintf(to, "%016jx", (uintmax_t)random_number());
		break;
	}
	return to + n;
}

size_t tool_template_write(const char *text, uint64_t count, char *buf)
{
	char *to = buf;
	size_t len;

	while (*text) {
		int which = placeholder(text, &len);

		if (which == NO_PLACEHOLDER) {
			*to++ = *text++;
			continue;
		}
		to = write_placeholder(to, which, count);
		text += len;
	}
	return (size_t)(to - buf);
}
