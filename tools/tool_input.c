/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_input.c - one buffer, filled by large reads; messages are cut from it in place.
 *
 *	data        begin                      end        size
 *	 |  cut      |  read, not cut yet       |  free    |
 *
 * What is left of a message is moved to the front before the next read, and the buffer grows where
 * one message fills it, to the limit and no further.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"
#include "tool_input.h"

#define FIRST_SIZE   (1u << 20)
#define LENGTH_BYTES 4

void tool_input_open(struct tool_input *in, int fd, enum tool_framing framing, uint64_t limit,
		     size_t chunk)
{
	*in = (struct tool_input){
		.fd = fd, .framing = framing, .limit = limit, .chunk = chunk, .size = FIRST_SIZE
	};
	in->data = malloc(in->size);
	if (!in->data)
		tool_fail(TOOL_FAILED, "no memory for the input");
}

void tool_input_close(struct tool_input *in)
{
	free(in->data);
	in->data = NULL;
}

size_t tool_input_unfinished(const struct tool_input *in)
{
	return in->end - in->begin;
}

static int found(struct tool_input *in, struct bus_out *msg, size_t head, size_t len, size_t tail)
{
	if (len > in->limit)
		return -EMSGSIZE;
	msg->data = in->data + in->begin + head;
	msg->len = (uint32_t)len;
	in->begin += head + len + tail;
	in->seen = 0;
	in->number++;
	return 1;
}

static int cut_line(struct tool_input *in, struct bus_out *msg)
{
	const char *from = in->data + in->begin;
	size_t there = in->end - in->begin;
	const char *nl = memchr(from + in->seen, '\n', there - in->seen);

	if (nl)
		return found(in, msg, 0, (size_t)(nl - from), 1);
	if (in->ended && there)
		return found(in, msg, 0, there, 0);
	in->seen = there;
	return there > in->limit ? -EMSGSIZE : 0;
}

static int cut_chunk(struct tool_input *in, struct bus_out *msg)
{
	size_t there = in->end - in->begin;

	if (there >= in->chunk)
		return found(in, msg, 0, in->chunk, 0);
	return in->ended && there ? found(in, msg, 0, there, 0) : 0;
}

static int cut_whole(struct tool_input *in, struct bus_out *msg)
{
	size_t there = in->end - in->begin;

	if (there > in->limit)
		return -EMSGSIZE;
	/* Empty input is a message too: one was asked for. */
	return in->ended && in->number == 0 ? found(in, msg, 0, there, 0) : 0;
}

static int cut_length(struct tool_input *in, struct bus_out *msg)
{
	size_t there = in->end - in->begin;
	uint32_t len;

	if (there >= LENGTH_BYTES) {
		memcpy(&len, in->data + in->begin, LENGTH_BYTES);
		len = le32toh(len);
		if (len > in->limit)
			return -EMSGSIZE;
		if (there - LENGTH_BYTES >= len)
			return found(in, msg, LENGTH_BYTES, len, 0);
	}
	return in->ended && there ? -EBADMSG : 0;
}

/* 1: *msg is the next message; 0: it is not complete; or an error. */
static int cut(struct tool_input *in, struct bus_out *msg)
{
	switch (in->framing) {
	case TOOL_LINES:
		return cut_line(in, msg);
	case TOOL_WHOLE:
		return cut_whole(in, msg);
	case TOOL_LENGTH:
		return cut_length(in, msg);
	case TOOL_CHUNKS:
		return cut_chunk(in, msg);
	}
	return -EINVAL;
}

static int make_room(struct tool_input *in)
{
	char *data;

	if (in->begin) {
		memmove(in->data, in->data + in->begin, in->end - in->begin);
		in->end -= in->begin;
		in->begin = 0;
	}
	if (in->end < in->size)
		return 0;
	/* cut() has refused what is longer than the limit: the size stays below twice that. */
	data = realloc(in->data, in->size * 2);
	if (!data)
		return -ENOMEM;
	in->data = data;
	in->size *= 2;
	return 0;
}

static int fill(struct tool_input *in)
{
	int64_t start = tool_clock_ns();
	int err = make_room(in);
	ssize_t n;

	if (err)
		return err;
	n = read(in->fd, in->data + in->end, in->size - in->end);
	in->waited_ns += tool_clock_ns() - start;
	if (n < 0)
		return -errno;
	in->end += (size_t)n;
	in->ended = n == 0;
	return 0;
}

int tool_input_next(struct tool_input *in, struct bus_out *msgs, int max)
{
	int count = 0, err = 0;

	in->waited_ns = 0;
	for (;;) {
		while (count < max && (err = cut(in, &msgs[count])) > 0)
			count++;
		/* An error behind good messages is met again by the next call. */
		if (count || err < 0 || in->ended)
			return count ? count : err;
		/* Once the end was asked for, nothing more is read. */
		err = tool_stop_signal ? -EINTR : fill(in);
		if (err)
			return err;
	}
}
