/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change.h - who gates a topic's rings, and who must be woken: numbered changes.
 *
 * The order is the protocol (models of it were checked): each publisher of the topic is sent its
 * message with the number, or it is queued; then the epoch is raised to that number; then the
 * fence F2; then the bells; only then is anybody answered. A publisher that sees the epoch and
 * not the message blocks itself.
 *
 *	change_begin(topic);
 *	change_add(reader, gates) / change_remove(pub, sub) for whom it concerns
 *	change_commit(topic);             the others are told that nothing changes for them
 */
#ifndef BUSD_CHANGE_H
#define BUSD_CHANGE_H

#include "registry.h"

/* The number of the change that is begun; stands until the commit. */
uint64_t change_begin(struct topic *topic);
/* Tells the publisher of the reader's ring to count the reader from reader->start on. */
void change_add(struct reader *reader, bool gates);
void change_remove(struct reader *reader);
/* What its publisher is told of a reader; without head, publisher and number. */
struct ctl_ev_member change_describe(const struct reader *reader, bool gates);
void change_commit(struct topic *topic);
/* The board's epoch follows. By change_commit(), or once the publishers of a former worker are back. */
void change_raise(struct topic *topic);

#endif
