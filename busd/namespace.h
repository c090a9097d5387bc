/* SPDX-License-Identifier: Apache-2.0 */
/*
 * namespace.h - topics whose first token is the same, and what they may take in all, whoever made
 * them. Each first token in use has a namespace; only those that the configuration names have
 * limits. Beside the limits of users: what is charged to a user is charged here as well.
 *
 * A client counts while it has a publisher on such a topic, or a subscription whose pattern begins
 * with that token: a pattern that begins with a wildcard belongs to no namespace.
 */
#ifndef BUSD_NAMESPACE_H
#define BUSD_NAMESPACE_H

#include "format/control_proto.h"
#include "why.h"

struct busd;
struct client;
struct config;

/* 0: no limit. */
struct namespace_limits {
	uint64_t memory; /* bytes: boards, rings, cursors */
	uint32_t topics, clients, rings;
};

struct namespace
{
	uint64_t id; /* never reused */
	char name[CTL_TOPIC_MAX];
	struct namespace_limits limits;
	bool configured;
	uint64_t memory;
	uint32_t segments, topics, clients, rings;
};

/* Of a topic or a pattern. *ret NULL: it belongs to none. 0 or -ENOMEM. */
int namespace_find(struct busd *busd, const char *topic, struct namespace **ret, struct why *why);
/* Limits as the configuration says: at start and after each reading. 0 or -ENOMEM. */
int namespace_configure(struct busd *busd, const struct config *config);
/* The first that sorts after that name and that something is in, or the configuration names. NULL. */
const struct namespace *namespace_after(const struct busd *busd, const char *name);
/* Is this the first token of that topic or pattern? */
bool namespace_has(const char *name, const char *topic);

/* Each: 0 and it is counted, or -EDQUOT with a sentence that names limit and use. Pure. */
int namespace_charge(struct namespace *space, uint64_t bytes, struct why *why);
int namespace_take_topic(struct namespace *space, struct why *why);
int namespace_take_ring(struct namespace *space, struct why *why);
/* A former worker charged it: counted, not refused. */
void namespace_restore(struct namespace *space, uint64_t bytes);
void namespace_correct(struct namespace *space, int64_t bytes);
void namespace_refund(struct namespace *space, uint64_t bytes);
/* Would so many bytes more be within its limit? */
bool namespace_has_room(const struct namespace *space, uint64_t bytes);

/* The client has one more thing there; space may be NULL. */
int namespace_enter(struct client *client, struct namespace *space, struct why *why);
void namespace_leave(struct client *client, struct namespace *space);

#endif
