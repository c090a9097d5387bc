/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_output.h - output gathered in memory, of which only what was confirmed is ever written.
 *
 * A message read in place is good only once it was released. So it is formatted into the part
 * behind `confirmed`, then released, and only then confirmed, or dropped:
 *
 *	data           confirmed            end         size
 *	 |  to be written  |  may be dropped  |   free    |
 */
#ifndef TOOL_OUTPUT_H
#define TOOL_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

struct tool_output {
	int fd;
	char *data;
	size_t confirmed, end, size;
};

void tool_output_open(struct tool_output *out, int fd);
void tool_output_close(struct tool_output *out);

/*
 * At least n free bytes behind end. The caller adds to end what it used. Ends the program where
 * there is no memory.
 */
char *tool_output_room(struct tool_output *out, size_t n);

void tool_output_add(struct tool_output *out, const void *data, size_t n);
void tool_output_text(struct tool_output *out, const char *text);
void tool_output_number(struct tool_output *out, uint64_t number);

static inline size_t tool_output_open_bytes(const struct tool_output *out)
{
	return out->end - out->confirmed;
}

static inline void tool_output_confirm(struct tool_output *out)
{
	out->confirmed = out->end;
}

static inline void tool_output_drop(struct tool_output *out)
{
	out->end = out->confirmed;
}

/*
 * Writes all that is confirmed; nothing else may be there. 0, or the error of write(2); -EINTR: a
 * stop signal came and the reader of this output took nothing for a second.
 */
int tool_output_flush(struct tool_output *out);

#endif
