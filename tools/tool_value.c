/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_value.c - numbers, sizes, durations and rates, as people write them in options.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tool_own.h"

struct unit {
	const char *name;
	double factor;
};

static const struct unit size_units[] = {
	{ "", 1 },          { "B", 1 },           { "K", 1024.0 },       { "KiB", 1024.0 },
	{ "M", 1048576.0 }, { "MiB", 1048576.0 }, { "G", 1073741824.0 }, { "GiB", 1073741824.0 },
	{ NULL, 0 },
};

static const struct unit duration_units[] = {
	{ "", 1e9 },   { "ns", 1 },     { "us", 1e3 },    { "ms", 1e6 }, { "s", 1e9 },
	{ "m", 60e9 }, { "h", 3600e9 }, { "d", 86400e9 }, { NULL, 0 },
};

static const struct unit rate_units[] = {
	{ "", 1 }, { "k", 1e3 }, { "K", 1e3 }, { "M", 1e6 }, { "G", 1e9 }, { NULL, 0 },
};

/* A decimal number, not negative, and one of the units. -EINVAL: it is not. */
static int parse_with_unit(const char *text, const struct unit *units, double *ret)
{
	char *end;
	double value;

	/* strtod() takes "inf", "0x10" and blanks too: not here. */
	if (strspn(text, "0123456789.") == 0)
		return -EINVAL;
	value = strtod(text, &end);
	if (end != text + strspn(text, "0123456789."))
		return -EINVAL;
	for (; units->name; units++) {
		if (strcmp(end, units->name) != 0)
			continue;
		*ret = value * units->factor;
		return 0;
	}
	return -EINVAL;
}

uint64_t tool_number(const char *option, const char *text, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno)
		tool_fail_usage("%s: \"%s\" is not a number", option, text);
	if (value < min || value > max)
		tool_fail_usage("%s: %s is not between %ju and %ju", option, text, (uintmax_t)min,
				(uintmax_t)max);
	return value;
}

uint64_t tool_size(const char *option, const char *text, uint64_t min, uint64_t max)
{
	double value;

	if (parse_with_unit(text, size_units, &value) || value != floor(value))
		tool_fail_usage("%s: \"%s\" is not a size (4096, 64K, 1M, 2G)", option, text);
	if (value < (double)min || value > (double)max)
		tool_fail_usage("%s: %s is not between %s and %s", option, text, tool_bytes(min).s,
				tool_bytes(max).s);
	return (uint64_t)value;
}

int64_t tool_duration(const char *option, const char *text)
{
	double value;

	if (parse_with_unit(text, duration_units, &value))
		tool_fail_usage("%s: \"%s\" is not a duration (500ms, 2s, 1.5h)", option, text);
	if (value > 9e18)
		tool_fail_usage("%s: %s is too long", option, text);
	return (int64_t)value;
}

double tool_rate(const char *option, const char *text)
{
	double value;

	if (parse_with_unit(text, rate_units, &value) || !(value > 0) || value > 1e12)
		tool_fail_usage("%s: \"%s\" is not a rate a second (1000, 2.5k, 10M)", option, text);
	return value;
}

int tool_choice(const char *option, const char *text, const char *choices)
{
	size_t len = strlen(text);
	int number = 0;

	for (const char *c = choices; c; number++) {
		if (len && strncmp(c, text, len) == 0 && (c[len] == '|' || !c[len]))
			return number;
		c = strchr(c, '|');
		if (c)
			c++;
	}
	tool_fail_usage("%s: \"%s\" is not one of %s", option, text, choices);
}
