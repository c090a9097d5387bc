/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay_into.h - a replay's messages published in another topic. Used by bus-replay.
 *
 * Where that is a stream, nothing is published twice when the replay is interrupted, by kill -9 too, and run again:
 * its publisher has a name that follows from the source and the first number, and message k of that publisher is
 * number first + k of the source. So the stream knows where to go on. Behind a gap that no longer holds: there
 * another publisher goes on, named after the number behind the gap.
 */
#ifndef REPLAY_INTO_H
#define REPLAY_INTO_H

#include <stdbool.h>
#include <stdint.h>

#include <bus.h>
#include <bus_log.h>

#define REPLAY_NAME_MAX (BUS_NAME_MAX - 21) /* of --name: a point and a number follow */

#define REPLAY_SEQ_HEADER  "replay-seq"  /* the number that the message had */
#define REPLAY_TIME_HEADER "replay-time" /* the time that it had, as the tools print times */

struct replay_into {
	const char *topic; /* NULL: nothing is published */
	const char *name;  /* of --name; NULL: follows from the source */
	uint32_t level;    /* enum bus_level that is waited for */
	bool plain;        /* without the two headers */
	/* the rest is replay_into.c's */
	struct bus *bus;
	const char *source;
	const uint8_t *uuid; /* of the source */
	struct bus_pub *pub;
	uint64_t next; /* the source's number that the publisher's next message stands for */
	bool stream;
};

/* Connects to nothing yet. source: its name; uuid stays. */
void replay_into_begin(struct replay_into *into, struct bus *bus, const char *source,
		       const uint8_t *uuid);

/*
 * Message number seq of the source is the next one: whether the publisher at hand can send it. False: seq is behind
 * a gap (or the first), and replay_into_open() must say where to go on.
 */
static inline bool replay_into_follows(const struct replay_into *into, uint64_t seq)
{
	return into->pub != NULL && (!into->stream || into->next == seq);
}

/*
 * Opens the publisher for messages from number seq on. Returns the number to go on at: higher than seq where the
 * topic has those below it already. Ends the program where it cannot be opened.
 */
uint64_t replay_into_open(struct replay_into *into, uint64_t seq);

/* Publishes them, waiting for room as long as it takes. -EINTR: a stop signal came, some may not be. */
int replay_into_send(struct replay_into *into, const struct bus_msg *msgs, int count);

/* Waits for the level. -EINTR: a stop signal came. */
int replay_into_finish(struct replay_into *into);

#endif
