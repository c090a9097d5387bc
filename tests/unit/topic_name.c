/* SPDX-License-Identifier: Apache-2.0 */
/* topic_name.c - what is a name, what is a pattern, what matches what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "format/topic_name.h"

static void names(void **state)
{
	static const char *const good[] = { "a", "a.b", "orders.eu.new", "A-_/+~!", "x.0" };
	static const char *const bad[] = { "",     ".",     ".a",        "a.",  "a..b", "a b",
					   "a\tb", "a\x7f", "a\xc3\xa4", "a.*", "a.>",  "*",
					   ">",    "a*",    "a>b",       " a",  "a ",   "a\n" };
	char name[300];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_null(topic_name_check(good[i]));
		assert_null(topic_pattern_check(good[i]));
		assert_false(topic_is_wild(good[i]));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (topic_name_check(bad[i]) == NULL)
			fail_msg("\"%s\" passes for a name", bad[i]);
	memset(name, 'x', sizeof(name));
	name[255] = 0;
	assert_null(topic_name_check(name));
	name[255] = 'x';
	name[256] = 0;
	assert_string_equal(topic_name_check(name), "is longer than 255 bytes");
	/* never looks beyond */
	memset(name, 'x', 256);
	name[256] = (char)0xff;
	assert_string_equal(topic_name_check(name), "is longer than 255 bytes");
}

static void patterns(void **state)
{
	static const char *const good[] = { "*", ">", "a.*", "*.a", "a.*.b.>", "*.*", "a.>" };
	static const char *const bad[] = { "a*", "*a",   "**", ">.a", "a.>.b", "a>",
					   ">>", "a.*b", "",   "*.",  ".*",    "a..>" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (topic_pattern_check(good[i]) != NULL)
			fail_msg("\"%s\" does not pass for a pattern", good[i]);
		assert_true(topic_is_wild(good[i]));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (topic_pattern_check(bad[i]) == NULL)
			fail_msg("\"%s\" passes for a pattern", bad[i]);
}

static void matching(void **state)
{
	static const struct {
		const char *pattern, *topic;
		bool match;
	} cases[] = {
		{ "a", "a", true },          { "a", "b", false },       { "a", "ab", false },
		{ "ab", "a", false },        { "a.b", "a", false },     { "a", "a.b", false },
		{ "*", "a", true },          { "*", "a.b", false },     { "*.b", "a.b", true },
		{ "*.b", "a.c", false },     { "a.*", "a.b", true },    { "a.*", "a", false },
		{ "a.*", "a.b.c", false },   { ">", "a", true },        { ">", "a.b.c", true },
		{ "a.>", "a", false },       { "a.>", "a.b", true },    { "a.>", "a.b.c", true },
		{ "a.>", "ab.c", false },    { "a.*.>", "a.b", false }, { "a.*.>", "a.b.c", true },
		{ "*.*", "a.b", true },      { "*.*", "a.b.c", false }, { "a.*.c", "a.bb.c", true },
		{ "a.*.c", "a.b.d", false }, { "a.*c", "a.b", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (topic_matches(cases[i].pattern, cases[i].topic) != cases[i].match)
			fail_msg("\"%s\" and \"%s\"", cases[i].pattern, cases[i].topic);
}

/* Against the plainest definition: token by token, for all short words over a small alphabet. */
static bool slowly(const char *pattern, const char *topic)
{
	size_t p = strcspn(pattern, "."), t = strcspn(topic, ".");

	if (strcmp(pattern, ">") == 0)
		return *topic != 0;
	if (!(p == 1 && *pattern == '*') && (p != t || strncmp(pattern, topic, p) != 0))
		return false;
	if (pattern[p] == 0 || topic[t] == 0)
		return pattern[p] == topic[t];
	return slowly(pattern + p + 1, topic + t + 1);
}

static void all_short_words(void **state)
{
	static const char letters[] = "ab.*>";
	static char words[4000][6];
	size_t count = 0;
	size_t matches = 0;

	(void)state;
	for (unsigned n = 0; n < 5 * 5 * 5 * 5 * 5; n++) {
		for (size_t len = 1; len <= 5; len++) {
			unsigned rest = n;

			for (size_t i = 0; i < len; i++, rest /= 5)
				words[count][i] = letters[rest % 5];
			words[count][len] = 0;
			if (rest == 0 && topic_pattern_check(words[count]) == NULL && count < 3999)
				count++;
		}
	}
	assert_true(count > 150 && count < 3999);
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < count; j++) {
			if (topic_is_wild(words[j]))
				continue;
			if (topic_matches(words[i], words[j]) != slowly(words[i], words[j]))
				fail_msg("\"%s\" and \"%s\"", words[i], words[j]);
			matches += topic_matches(words[i], words[j]);
		}
	}
	assert_true(matches > count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(patterns),
		cmocka_unit_test(matching),
		cmocka_unit_test(all_short_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
