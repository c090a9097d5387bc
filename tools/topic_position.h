/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_position.h - bus-topic positions and bus-topic position: where durable subscriptions stand, and moving them.
 */
#ifndef TOPIC_POSITION_H
#define TOPIC_POSITION_H

#include "tool.h"
#include "tool_place.h"

/* What `position` is to do; all zero: only to show it. */
struct position_change {
	bool moves;           /* to: */
	struct tool_place to; /* or */
	uint64_t skip;        /* messages */
	bool remove;
	bool execute; /* else it is only said what would happen */
};

/* Ends the program where that is no place (TOOL_USAGE). */
void position_parse_to(const char *to, struct tool_place *ret);
int position_list(struct bus *bus, const char *topic, bool json);
json_t *position_json(const struct bus_position *position);
int position_change(struct bus *bus, const char *topic, const char *name,
		    const struct position_change *change, bool json);

#endif
