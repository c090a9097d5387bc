/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_input.h - a file or pipe cut into messages, without delaying one that is there for the sake
 * of one that is not.
 */
#ifndef TOOL_INPUT_H
#define TOOL_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bus.h>

enum tool_framing {
	TOOL_LINES,  /* a message ends with '\n', which is not part of it; or with the input */
	TOOL_WHOLE,  /* the input is one message */
	TOOL_LENGTH, /* before each message its length, 32 bits, little-endian */
	TOOL_CHUNKS, /* so many bytes each, the last one fewer */
};

struct tool_input {
	int fd;
	enum tool_framing framing;
	uint64_t limit; /* of one message */
	/* of messages cut so far: where an error is, it is in message number + 1 */
	uint64_t number;
	int64_t waited_ns; /* spent in read(2) by the last call */
	/* what follows is tool_input.c's */
	size_t chunk;
	char *data;
	size_t size, begin, end; /* data[begin, end) is read and not cut */
	size_t seen;             /* bytes behind begin known to have no '\n' */
	bool ended;
};

/*
 * Ends the program where there is no memory. limit: no message may be longer. chunk: for
 * TOOL_CHUNKS.
 */
void tool_input_open(struct tool_input *in, int fd, enum tool_framing framing, uint64_t limit,
		     size_t chunk);

/*
 * Cuts at most max messages: those that are complete in what was read already; only where there is
 * none it reads. Their bytes are valid until the next call. Returns how many, 0 at the end, or
 *  -EINTR     a signal came; what was read is kept
 *  -EMSGSIZE  the next message is longer than limit
 *  -EBADMSG   the input ends within a message (TOOL_LENGTH)
 *  or the error of read(2)
 */
int tool_input_next(struct tool_input *in, struct bus_out *msgs, int max);

/* Bytes read that are no complete message yet. */
size_t tool_input_unfinished(const struct tool_input *in);

void tool_input_close(struct tool_input *in);

#endif
