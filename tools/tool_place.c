/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_place.c - see tool_place.h
 */
#include <string.h>
#include <time.h>

#include "tool.h"
#include "tool_place.h"

#define NS_PER_S 1000000000

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Exactly n digits at *s, which moves behind them. False: there are not so many, or the value is not in bounds. */
static bool take_digits(const char **s, int n, int min, int max, int *ret)
{
	int value = 0;

	for (int i = 0; i < n; i++) {
		if (!is_digit((*s)[i]))
			return false;
		value = value * 10 + ((*s)[i] - '0');
	}
	*s += n;
	*ret = value;
	return value >= min && value <= max;
}

/* ".123" at *s, if there is a point: in ns. Digits behind the ninth do not count. */
static bool take_fraction(const char **s, uint64_t *ns)
{
	uint64_t unit = NS_PER_S / 10;

	*ns = 0;
	if (**s != '.')
		return true;
	(*s)++;
	if (!is_digit(**s))
		return false;
	for (; is_digit(**s); (*s)++, unit /= 10)
		*ns += unit * (uint64_t)(**s - '0');
	return true;
}

/* Z, +01:00, -0530, or nothing at all. */
static bool take_zone(const char **s, int *seconds_east)
{
	int sign, hours, minutes;

	*seconds_east = 0;
	if (**s == 'Z' || **s == 'z') {
		(*s)++;
		return true;
	}
	if (**s != '+' && **s != '-')
		return true;
	sign = **s == '+' ? 1 : -1;
	(*s)++;
	if (!take_digits(s, 2, 0, 23, &hours))
		return false;
	if (**s == ':')
		(*s)++;
	if (!take_digits(s, 2, 0, 59, &minutes))
		return false;
	*seconds_east = sign * (hours * 3600 + minutes * 60);
	return true;
}

static bool parse_seconds(const char *s, uint64_t *ret)
{
	uint64_t seconds = 0, ns;

	if (!is_digit(*s))
		return false;
	for (; is_digit(*s); s++) {
		seconds = seconds * 10 + (uint64_t)(*s - '0');
		if (seconds > INT64_MAX / NS_PER_S)
			return false;
	}
	if (!take_fraction(&s, &ns) || *s)
		return false;
	*ret = seconds * NS_PER_S + ns;
	return true;
}

/* seconds: beside tm, since the 60th of them may belong to the next day. */
static bool parse_clock(const char **s, struct tm *tm, int *seconds, uint64_t *ns, int *seconds_east)
{
	if (!take_digits(s, 2, 0, 23, &tm->tm_hour) || *(*s)++ != ':' ||
	    !take_digits(s, 2, 0, 59, &tm->tm_min))
		return false;
	if (**s == ':') {
		(*s)++;
		if (!take_digits(s, 2, 0, 60, seconds) || !take_fraction(s, ns))
			return false;
	}
	return take_zone(s, seconds_east);
}

static bool parse_date(const char *s, uint64_t *ret)
{
	struct tm tm = { .tm_isdst = 0 };
	int year, month, day, seconds = 0, seconds_east = 0;
	uint64_t ns = 0;
	time_t at;

	if (!take_digits(&s, 4, 1970, 2261, &year) || *s++ != '-' ||
	    !take_digits(&s, 2, 1, 12, &month) || *s++ != '-' || !take_digits(&s, 2, 1, 31, &day))
		return false;
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	tm.tm_mday = day;
	if (*s == 'T' || *s == 't' || *s == ' ') {
		s++;
		if (!parse_clock(&s, &tm, &seconds, &ns, &seconds_east))
			return false;
	}
	if (*s)
		return false;
	at = timegm(&tm) + seconds;
	/* what it had to put right was no date: 30 February */
	if (tm.tm_mday != day || at < seconds_east)
		return false;
	*ret = (uint64_t)(at - seconds_east) * NS_PER_S + ns;
	return true;
}

uint64_t tool_time_value(const char *option, const char *text)
{
	uint64_t ns;

	if (text[0] == '@' ? parse_seconds(text + 1, &ns) : parse_date(text, &ns))
		return ns;
	tool_fail_usage("%s: \"%s\" is not a time (2026-11-28, 2026-11-28T10:00:00.5Z, @1764324000.5)",
			option, text);
}

/* -1h: before now. -100: messages before the end. */
static void parse_back(const char *option, const char *text, struct tool_place *ret)
{
	uint64_t now, before;

	if (text[strspn(text, "0123456789")] == '\0') {
		ret->kind = TOOL_PLACE_BACK;
		ret->value = tool_number(option, text, 0, INT64_MAX);
		return;
	}
	/* elsewhere a plain number is seconds; here it is messages, and there is no half of one */
	if (text[strspn(text, "0123456789.")] == '\0')
		tool_fail_usage("%s: \"-%s\" has no unit (-%ss: so many seconds before now)",
				option, text, text);
	before = (uint64_t)tool_duration(option, text);
	now = tool_unix_time_ns();
	ret->kind = TOOL_PLACE_TIME;
	ret->value = now > before ? now - before : 0;
}

bool tool_place(const char *option, const char *text, struct tool_place *ret)
{
	if (strcmp(text, "oldest") == 0) {
		*ret = (struct tool_place){ .kind = TOOL_PLACE_OLDEST };
	} else if (strcmp(text, "end") == 0) {
		*ret = (struct tool_place){ .kind = TOOL_PLACE_END };
	} else if (strncmp(text, "seq:", 4) == 0) {
		ret->kind = TOOL_PLACE_SEQ;
		ret->value = tool_number(option, text + 4, 0, UINT64_MAX / 2);
	} else if (strncmp(text, "time:", 5) == 0) {
		ret->kind = TOOL_PLACE_TIME;
		ret->value = tool_time_value(option, text + 5);
	} else if (text[0] == '-' && is_digit(text[1])) {
		parse_back(option, text + 1, ret);
	} else {
		return false;
	}
	return true;
}
