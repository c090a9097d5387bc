/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_take.h - snapshots that outlive the next one, and what differs between two: rates.
 */
#ifndef STAT_TAKE_H
#define STAT_TAKE_H

#include <stdbool.h>

#include <bus_stat.h>

#define STAT_UNKNOWN (-1.0) /* a rate: there was nothing to compare with */

struct stat_pub {
	struct bus_stat_pub now;
	double messages_rate, bytes_rate;   /* per second */
	double blocked_share;               /* of the time between the two takes */
	const struct bus_stat_sub *held_by; /* of the same take; NULL: nobody, or it has gone */
};

struct stat_sub {
	struct bus_stat_sub now;
	double messages_rate;
	const char *topic;
};

struct stat_topic {
	struct bus_stat_topic now; /* its arrays are NULL */
	/* its name; and the busd's pid, where two that listened one after another left one each */
	char label[BUS_TOPIC_MAX + 24];
	struct stat_pub *pubs;
	struct stat_sub *subs;
	int pub_count, sub_count;
	int open_pubs, blocked_pubs;
	double messages_rate, bytes_rate;
	double used_ratio; /* of the fullest ring */
	/* with the largest lag, the largest age where that is equal; NULL: none lags */
	const struct stat_sub *worst;
};

struct stat_take {
	struct stat_topic *topics;
	int topic_count;
	uint64_t now_ns;
};

/*
 * Takes a snapshot. before: an earlier one, or NULL. What fails ends the program with a message. To
 * be freed by stat_take_free(); it does not point into `before`.
 */
struct stat_take *stat_take(struct bus *bus, struct bus_stat *stat, const struct stat_take *before);
void stat_take_free(struct stat_take *take);

/* Two takes `ns` apart; the second one. */
struct stat_take *stat_take_twice(struct bus *bus, struct bus_stat *stat, int64_t ns);

/* NULL: no such topic. */
const struct stat_topic *stat_take_topic(const struct stat_take *take, const char *name);

#endif
