/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_template.h - message texts with {{Count}}, {{Time}} and {{Random}} in them.
 */
#ifndef TOOL_TEMPLATE_H
#define TOOL_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOOL_TEMPLATE_GROWTH 40 /* bytes that one placeholder becomes, at most */

/*
 * Whether text has a placeholder. Other words in braces are text: a message may be JSON or a
 * template itself.
 */
bool tool_template_check(const char *text);

/* Bytes that text may become. */
size_t tool_template_size(const char *text);

/*
 * Writes text into buf (of tool_template_size() bytes): {{Count}} becomes count, {{Time}} the time
 * now in RFC 3339, {{Random}} 16 random hexadecimal digits. Returns the length.
 */
size_t tool_template_write(const char *text, uint64_t count, char *buf);

#endif
