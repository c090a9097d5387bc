/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay_into.c - see replay_into.h
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "replay_into.h"
#include "tool.h"

#define PIECE 64 /* messages of one bus_pub_send_batch() */
#define OWN   2  /* headers */

/* What bus_out points to, for one message. */
struct envelope {
	struct bus_header headers[BUS_HEADERS_MAX];
	char seq[21];
	struct tool_text time;
};

void replay_into_begin(struct replay_into *into, struct bus *bus, const char *source,
		       const uint8_t *uuid)
{
	into->bus = bus;
	into->source = source;
	into->uuid = uuid;
}

/* ---- the publisher ---- */

static void write_name(const struct replay_into *into, uint64_t seq, char *buf, size_t size)
{
	char uuid[2 * BUS_LOG_UUID_BYTES + 1];

	if (into->name) {
		snprintf(buf, size, "%s.%" PRIu64, into->name, seq);
		return;
	}
	for (size_t i = 0; i < BUS_LOG_UUID_BYTES; i++)
		snprintf(uuid + 2 * i, 3, "%02x", into->uuid[i]);
	snprintf(buf, size, "replay.%s.%" PRIu64, uuid, seq);
}

/* What cannot be had is refused before anything is sent. */
static void check_level(const struct replay_into *into)
{
	static const char *const levels[] = { "ring", "stream", "durable" };
	uint64_t seq;

	if (bus_pub_reached(into->pub, into->level, &seq) < 0)
		tool_fail(TOOL_FAILED, "cannot replay into \"%s\" with --wait=%s: %s", into->topic,
			  levels[into->level], bus_why(into->bus));
}

uint64_t replay_into_open(struct replay_into *into, uint64_t seq)
{
	char name[BUS_NAME_MAX + 1];
	struct bus_pub_info info;
	uint64_t reached;
	int err;

	/* a stop signal shows again in the next send */
	if (into->pub)
		(void)replay_into_finish(into);
	write_name(into, seq, name, sizeof(name));
	err = bus_pub_open(&into->pub, into->bus, into->topic,
			   BUS_OPTS(pub, .name = name, .full = BUS_FULL_BLOCK, .full_ns = -1));
	if (err)
		tool_fail_bus(into->bus, err, "replay into \"%s\"", into->topic);
	check_level(into);
	into->stream = bus_pub_reached(into->pub, BUS_LEVEL_STREAM, &reached) == 0;
	into->next = seq;
	err = bus_pub_info(into->pub, &info);
	if (err)
		tool_fail_errno(err, "replay into \"%s\"", into->topic);
	if (into->stream && info.seq) {
		into->next = seq + info.seq;
		tool_warn("\"%s\" has %ju messages of this replay from number %" PRIu64
			  " on: it goes on at %" PRIu64,
			  into->topic, (uintmax_t)info.seq, seq, into->next);
	}
	return into->next;
}

/* ---- messages ---- */

static _Noreturn void fail_headers(const struct replay_into *into, const struct bus_msg *msg)
{
	tool_fail(TOOL_FAILED,
		  "cannot replay message %" PRIu64
		  " of \"%s\": its %s leave no room for two headers more; "
		  "--plain leaves them out",
		  msg->seq, into->source, "key and headers");
}

static bool is_own(const struct bus_header *h)
{
	return (h->name_len == sizeof(REPLAY_SEQ_HEADER) - 1 &&
		memcmp(h->name, REPLAY_SEQ_HEADER, h->name_len) == 0) ||
	       (h->name_len == sizeof(REPLAY_TIME_HEADER) - 1 &&
		memcmp(h->name, REPLAY_TIME_HEADER, h->name_len) == 0);
}

static void write_number(char *buf, uint64_t number)
{
	char digits[20];
	int n = 0;

	do {
		digits[n++] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	while (n > 0)
		*buf++ = digits[--n];
	*buf = '\0';
}

static void add_own(struct envelope *e, uint32_t count, const struct bus_msg *msg)
{
	write_number(e->seq, msg->seq);
	e->time = tool_time(msg->time_ns);
	e->headers[count] = (struct bus_header){ .name = REPLAY_SEQ_HEADER,
						 .value = e->seq,
						 .value_len = (uint32_t)strlen(e->seq) };
	e->headers[count + 1] = (struct bus_header){ .name = REPLAY_TIME_HEADER,
						     .value = e->time.s,
						     .value_len = (uint32_t)strlen(e->time.s) };
}

/* A message that was replayed once before: what it says of that gives way. */
static void pack(const struct replay_into *into, const struct bus_msg *msg, struct envelope *e,
		 struct bus_out *out)
{
	const uint32_t most = into->plain ? BUS_HEADERS_MAX : BUS_HEADERS_MAX - OWN;
	uint32_t at = 0, count = 0;
	struct bus_header header;

	while (bus_msg_header_next(msg, &at, &header) > 0) {
		if (!into->plain && is_own(&header))
			continue;
		if (count == most)
			fail_headers(into, msg);
		e->headers[count++] = header;
	}
	if (!into->plain) {
		/* lengths as bus.h has them: four bytes more for each */
		if (msg->key_len + msg->headers_len + sizeof(REPLAY_SEQ_HEADER) +
			    sizeof(REPLAY_TIME_HEADER) + sizeof(e->seq) + sizeof(e->time.s) + 8 >
		    BUS_HEAD_MAX)
			fail_headers(into, msg);
		add_own(e, count, msg);
		count += OWN;
	}
	*out = (struct bus_out){ .data = msg->data,
				 .len = msg->len,
				 .key = msg->key,
				 .key_len = msg->key_len,
				 .headers = count ? e->headers : NULL,
				 .header_count = count };
}

static _Noreturn void fail_send(const struct replay_into *into, int err, uint64_t seq, uint32_t len)
{
	struct bus_pub_info info;

	if (err == -EMSGSIZE && bus_pub_info(into->pub, &info) == 0)
		tool_fail(TOOL_FAILED,
			  "cannot replay message %" PRIu64 " of \"%s\" into \"%s\": it has %" PRIu32
			  " bytes, its ring may grow to %s a message; bus-topic create --max-bytes sets that",
			  seq, into->source, into->topic, len, tool_bytes(info.limit_message).s);
	if (err == -EDQUOT || err == -ENOMEM || err == -EMFILE || err == -EINVAL)
		tool_fail_bus(into->bus, err, "replay message %" PRIu64 " into \"%s\"", seq,
			      into->topic);
	tool_fail_errno(err, "replay message %" PRIu64 " of \"%s\" into \"%s\"", seq, into->source,
			into->topic);
}

static int send_piece(struct replay_into *into, const struct bus_msg *msgs, int count)
{
	static struct envelope envelopes[PIECE];
	struct bus_out outs[PIECE];
	int sent = 0;

	for (int i = 0; i < count; i++)
		pack(into, &msgs[i], &envelopes[i], &outs[i]);
	while (sent < count) {
		int n = bus_pub_send_batch(into->pub, outs + sent, count - sent);

		if (n == -EINTR) {
			if (tool_stop_signal)
				return n;
			continue;
		}
		if (n < 0)
			fail_send(into, n, msgs[sent].seq, msgs[sent].len);
		sent += n;
		into->next = msgs[sent - 1].seq + 1;
	}
	return 0;
}

int replay_into_send(struct replay_into *into, const struct bus_msg *msgs, int count)
{
	int err = 0;

	for (int i = 0; i < count && !err; i += PIECE)
		err = send_piece(into, msgs + i, count - i < PIECE ? count - i : PIECE);
	return err;
}

int replay_into_finish(struct replay_into *into)
{
	struct bus_pub_info info;
	int err = into->pub ? bus_pub_info(into->pub, &info) : 0;

	while (into->pub && err == 0 && into->level != BUS_LEVEL_RING) {
		err = bus_pub_wait(into->pub, into->level, info.seq, -1);
		if (err == 0)
			break;
		if (err == -EINTR)
			err = tool_stop_signal ? err : 0;
	}
	if (err && err != -EINTR)
		tool_fail_bus(into->bus, err, "know that all is in \"%s\"", into->topic);
	bus_pub_close(into->pub);
	into->pub = NULL;
	return err;
}
