/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_json.c - what all JSON of the tools has in common.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tool_own.h"

void tool_json_print(json_t *json)
{
	if (!json || json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15)) < 0)
		tool_fail(TOOL_FAILED, "cannot write JSON: out of memory, or the output failed");
	putchar('\n');
	json_decref(json);
}

/* NULL: out of memory */
static char *to_base64(const unsigned char *from, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = malloc((len + 2) / 3 * 4 + 1), *to = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < len; i += 3) {
		uint32_t bits = (uint32_t)from[i] << 16;

		bits |= i + 1 < len ? (uint32_t)from[i + 1] << 8 : 0;
		bits |= i + 2 < len ? (uint32_t)from[i + 2] : 0;
		*to++ = digits[bits >> 18];
		*to++ = digits[bits >> 12 & 63];
		*to++ = i + 1 < len ? digits[bits >> 6 & 63] : '=';
		*to++ = i + 2 < len ? digits[bits & 63] : '=';
	}
	*to = '\0';
	return text;
}

void tool_json_set_bytes(json_t *object, const char *key, const void *data, size_t len)
{
	/* jansson makes a string of UTF-8 only; that is the test for it. */
	json_t *value = json_stringn(len ? data : "", len);
	char *name, *text;
	int err;

	if (value) {
		json_object_set_new(object, key, value);
		return;
	}
	text = to_base64(data, len);
	if (!text || asprintf(&name, "%s_base64", key) < 0)
		tool_fail(TOOL_FAILED, "cannot write JSON: out of memory");
	err = json_object_set_new(object, name, json_string(text));
	free(name);
	free(text);
	if (err)
		tool_fail(TOOL_FAILED, "cannot write JSON: out of memory");
}

json_t *tool_json_time(uint64_t unix_ns)
{
	return unix_ns ? json_string(tool_time(unix_ns).s) : json_null();
}
