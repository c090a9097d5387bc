/* SPDX-License-Identifier: Apache-2.0 */
/* config_value.c - see config_value.h */
#include "config_value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct unit {
	const char *text;
	uint64_t factor;
};

static int parse_with_unit(const char *text, const struct unit *units, size_t unit_count,
			   uint64_t *ret)
{
	unsigned long long number;
	char *end;
	size_t i;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;
	while (*end == ' ')
		end++;
	for (i = 0; i < unit_count; i++) {
		if (strcmp(end, units[i].text) != 0)
			continue;
		if (number > UINT64_MAX / units[i].factor)
			return -ERANGE;
		*ret = number * units[i].factor;
		return 0;
	}
	return -EINVAL;
}

int config_parse_size(const char *text, uint64_t *ret)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "K", UINT64_C(1) << 10 },
		{ "KiB", UINT64_C(1) << 10 },
		{ "M", UINT64_C(1) << 20 },
		{ "MiB", UINT64_C(1) << 20 },
		{ "G", UINT64_C(1) << 30 },
		{ "GiB", UINT64_C(1) << 30 },
		{ "T", UINT64_C(1) << 40 },
		{ "TiB", UINT64_C(1) << 40 },
	};

	return parse_with_unit(text, units, BUS_ARRAY_LEN(units), ret);
}

int config_parse_duration(const char *text, uint64_t *ret_ns)
{
	static const struct unit units[] = {
		{ "ns", 1 },
		{ "us", 1000 },
		{ "ms", 1000000 },
		{ "s", 1000000000 },
		{ "m", UINT64_C(60) * 1000000000 },
		{ "h", UINT64_C(3600) * 1000000000 },
		{ "d", UINT64_C(86400) * 1000000000 },
	};

	if (strcmp(text, "0") == 0) {
		*ret_ns = 0;
		return 0;
	}
	return parse_with_unit(text, units, BUS_ARRAY_LEN(units), ret_ns);
}

int config_parse_count(const char *text, uint64_t *ret)
{
	static const struct unit units[] = { { "", 1 } };

	return parse_with_unit(text, units, BUS_ARRAY_LEN(units), ret);
}

int config_parse_octal(const char *text, uint32_t *ret)
{
	unsigned long value;
	char *end;

	if (*text < '0' || *text > '7')
		return -EINVAL;
	errno = 0;
	value = strtoul(text, &end, 8);
	if (errno || *end || value > 0777)
		return -EINVAL;
	*ret = (uint32_t)value;
	return 0;
}

int config_parse_bool(const char *text, bool *ret)
{
	static const char *const yes[] = { "true", "yes", "on" };
	static const char *const no[] = { "false", "no", "off" };
	size_t i;

	for (i = 0; i < BUS_ARRAY_LEN(yes); i++) {
		if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
			*ret = strcmp(text, yes[i]) == 0;
			return 0;
		}
	}
	return -EINVAL;
}

#define WORD_MAX 31

/*
 * Letters to change, insert, drop or swap with their neighbour to get from one word to the other.
 */
static unsigned distance(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);
	unsigned row[WORD_MAX + 2][WORD_MAX + 2];
	size_t i, j;

	for (i = 0; i <= a_len; i++)
		row[i][0] = (unsigned)i;
	for (j = 0; j <= b_len; j++)
		row[0][j] = (unsigned)j;
	for (i = 1; i <= a_len; i++) {
		for (j = 1; j <= b_len; j++) {
			unsigned best = row[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			if (row[i - 1][j] + 1 < best)
				best = row[i - 1][j] + 1;
			if (row[i][j - 1] + 1 < best)
				best = row[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    row[i - 2][j - 2] + 1 < best)
				best = row[i - 2][j - 2] + 1;
			row[i][j] = best;
		}
	}
	return row[a_len][b_len];
}

const char *config_nearest(const char *text, const char *const *known)
{
	unsigned least = 3; /* farther is no typing mistake */
	const char *found = NULL;

	if (strlen(text) > WORD_MAX)
		return NULL;
	for (; *known; known++) {
		unsigned d = strlen(*known) <= WORD_MAX ? distance(text, *known) : least;

		if (d < least && d < strlen(*known)) {
			least = d;
			found = *known;
		}
	}
	return found;
}
