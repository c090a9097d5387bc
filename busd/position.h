/* SPDX-License-Identifier: Apache-2.0 */
/*
 * position.h - durable subscriptions, as the loop has them: who holds which name, at most one at a time; what is asked
 * about them. Where they stand is the business of the stream's writer (spill_position.h), which is asked and answers later:
 * the request's job is parked meanwhile.
 *
 * A hold belongs to a request, and then to the subscription that it opened; it goes with either, and with the client. One
 * that is taken from a request (its client has died, and another one wants the name) leaves it without.
 */
#ifndef BUSD_POSITION_H
#define BUSD_POSITION_H

#include "registry.h"

struct hold;
struct job;

/*
 * The job opens a durable subscription of job->pattern: it is built (alloc_build) once the writer has said where that
 * name stands. 0: the job is under way; -errno with a sentence: it is the caller's still.
 */
int position_begin(struct job *job, const char *name, struct why *why);
/* Where the subscription begins, + 1; 0: the name is new. */
uint64_t position_of(const struct sub *sub);
/* A durable subscription's stream is this one. */
bool position_is_of(const struct sub *sub, const struct topic *topic);
/* The job is done with the stream. */
void position_let_go(struct job *job);
/* The job's hold is the subscription's from now on. */
void position_give(struct job *job, struct sub *sub);
/* The subscription's cursors are there: what it acknowledges is looked at from now on. */
void position_joined(struct sub *sub);
/* NULL is allowed. */
void position_drop(struct hold *hold);

/* After a former worker: subscriptions of the stream hold what they held. */
int position_restore(struct topic *topic, struct why *why);
void position_take_answers(struct topic *topic);

/* Requests. */
int position_next(struct client *client, const void *msg, struct why *why);
int position_set(struct client *client, const void *msg, struct why *why);
int position_settle(struct client *client, const void *msg, struct why *why);

#endif
