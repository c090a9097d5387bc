/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_json.h - what bus-stat shows, as JSON. Keys are the names of the metrics without the thing
 * they are about; what a key means does not change.
 */
#ifndef STAT_JSON_H
#define STAT_JSON_H

#include <jansson.h>

#include "stat_source.h"
#include "stat_take.h"

json_t *stat_json_topic(const struct stat_topic *topic);
json_t *stat_json_topics(const struct stat_take *take);
json_t *stat_json_publishers(const struct stat_take *take);
json_t *stat_json_subscribers(const struct stat_take *take);
json_t *stat_json_numa(const struct stat_take *take);
json_t *stat_json_clients(const struct stat_source *source, const struct stat_take *take);
json_t *stat_json_namespaces(const struct bus_stat_namespace *spaces, int count);
json_t *stat_json_messages(const struct bus_msg *msgs, int n);

#endif
