/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query.h - topics made and removed by name, and questions: what topics, clients, and what busd
 * there is.
 */
#ifndef BUSD_QUERY_H
#define BUSD_QUERY_H

#include "client.h"

int query_topic_create(struct client *client, const void *msg, struct why *why);
int query_topic_remove(struct client *client, const void *msg, struct why *why);
int query_topic_next(struct client *client, const void *msg, struct why *why);
int query_client_next(struct client *client, const void *msg, struct why *why);
int query_namespace_next(struct client *client, const void *msg, struct why *why);
int query_log_segment(struct client *client, const void *msg, struct why *why);
int query_info(struct client *client, const void *msg, struct why *why);

#endif
