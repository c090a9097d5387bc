/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_name.h - what is a topic name, what is a pattern, and which names a pattern matches.
 *
 * Called by libbus (before it asks busd anything) and by busd (which believes nobody). Pure
 * functions over NUL-terminated strings; bounded by TOPIC_NAME_MAX, no allocation, nothing written.
 *
 *   name     tokens of printable ASCII without space, '*' and '>', separated by single dots; 1 to
 *            255 bytes
 *   pattern  a name in which a whole token may be '*' (exactly one token) and the last one '>' (one
 *            or more)
 */
#ifndef BUS_TOPIC_NAME_H
#define BUS_TOPIC_NAME_H

#include <stdbool.h>
#include <stddef.h>

#define TOPIC_NAME_MAX 255 /* bytes, without the final 0 */

/* Why name is not valid, as the end of a sentence ("topic name ..."), or NULL where it is. */
static inline const char *topic__check(const char *name, bool wild)
{
	const char *token = name; /* where the present one begins */
	const char *p;

	for (p = name; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (p - name == TOPIC_NAME_MAX)
			return "is longer than 255 bytes";
		if (c == '.' && p == token)
			return "has an empty token (a dot at its begin or end, or two in a row)";
		if (c == '.')
			token = p + 1;
		if (c <= ' ' || c == 0x7f)
			return "has a space or a control character";
		if (c > 0x7f)
			return "has a character that is not ASCII";
		if (c != '*' && c != '>')
			continue;
		if (!wild)
			return "has a wildcard ('*' or '>'), which only a pattern may have";
		if (p != token || (p[1] && p[1] != '.'))
			return "has a '*' or '>' that is not a token of its own";
		if (c == '>' && p[1])
			return "has a '>' that is not at its end";
	}
	if (p == name)
		return "is empty";
	if (p == token)
		return "has an empty token (a dot at its begin or end, or two in a row)";
	return NULL;
}

static inline const char *topic_name_check(const char *name)
{
	return topic__check(name, false);
}

static inline const char *topic_pattern_check(const char *pattern)
{
	return topic__check(pattern, true);
}

/* Does a valid pattern have wildcards, that is: may it match more than one name? */
static inline bool topic_is_wild(const char *pattern)
{
	for (; *pattern; pattern++)
		if (*pattern == '*' || *pattern == '>')
			return true;
	return false;
}

/*
 * Both must have passed their check. One pass, since a '*' stands for exactly one token: nothing is
 * tried twice.
 */
static inline bool topic_matches(const char *pattern, const char *topic)
{
	for (;;) {
		if (*pattern == '>')
			return *topic != 0;
		if (*pattern == '*') {
			if (*topic == 0)
				return false;
			while (*topic && *topic != '.')
				topic++;
			pattern++;
		} else {
			while (*pattern && *pattern != '.' && *pattern == *topic) {
				pattern++;
				topic++;
			}
		}
		/* the end of a token on both sides, or no match */
		if (*pattern != *topic || (*pattern && *pattern != '.'))
			return false;
		if (*pattern == 0)
			return true;
		pattern++;
		topic++;
	}
}

#endif
