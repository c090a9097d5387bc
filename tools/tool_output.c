/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_output.c - see tool_output.h
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"
#include "tool_output.h"

#define FIRST_SIZE       (512u << 10)
#define STOP_PATIENCE_NS 1000000000

void tool_output_open(struct tool_output *out, int fd)
{
	*out = (struct tool_output){ .fd = fd };
	tool_output_room(out, FIRST_SIZE);
}

void tool_output_close(struct tool_output *out)
{
	free(out->data);
	out->data = NULL;
}

static void grow(struct tool_output *out, size_t n)
{
	size_t size = out->size * 2 > out->end + n ? out->size * 2 : out->end + n;
	char *data = realloc(out->data, size);

	if (!data)
		tool_fail(TOOL_FAILED, "no memory for %s of output", tool_bytes(n).s);
	out->data = data;
	out->size = size;
}

char *tool_output_room(struct tool_output *out, size_t n)
{
	if (out->size - out->end < n)
		grow(out, n);
	return out->data + out->end;
}

void tool_output_add(struct tool_output *out, const void *data, size_t n)
{
	if (!n)
		return;
	memcpy(tool_output_room(out, n), data, n);
	out->end += n;
}

void tool_output_text(struct tool_output *out, const char *text)
{
	tool_output_add(out, text, strlen(text));
}

void tool_output_number(struct tool_output *out, uint64_t number)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	tool_output_add(out, digits + at, sizeof(digits) - at);
}

int tool_output_flush(struct tool_output *out)
{
	size_t done = 0;
	int64_t stop_ns = 0;
	int err = 0;

	while (done < out->confirmed) {
		ssize_t n = write(out->fd, out->data + done, out->confirmed - done);

		if (n >= 0) {
			done += (size_t)n;
			continue;
		}
		err = -errno;
		if (err != -EINTR)
			break;
		if (tool_stop_signal && !stop_ns)
			stop_ns = tool_clock_ns();
		if (stop_ns && tool_clock_ns() - stop_ns > STOP_PATIENCE_NS)
			break;
		err = 0;
	}
	out->confirmed = out->end = 0;
	return err;
}
