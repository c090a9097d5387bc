/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metric_table.h - every metric once: what it is called, what it means. The exposition
 * (api/stat_metrics.c), the JSON of the tools and the table in the manual are made from it or
 * checked against it.
 *
 *	X(ID, family, type, unit, key, labels, help)
 *
 * family  without "bus_"; a counter's sample adds "_total", an info's "_info"
 * type    of OpenMetrics
 * unit    base unit, the last part of the family where there is one
 * key     in JSON: the family without the thing that it is about; "" where JSON has it otherwise
 * labels  publisher and subscriber carry the name that the process gave itself and its pid
 *
 * What a name means never changes; names may be added.
 */
#ifndef BUS_METRIC_TABLE_H
#define BUS_METRIC_TABLE_H

/* clang-format off */
#define METRIC_TABLE(X) \
	X(UP, "up", "gauge", "", "", "", \
	  "1: busd answers; 0: it does not, and the rest is what living processes still map") \
	X(BUILD, "build", "info", "", "", "version", \
	  "Version of the running busd") \
	X(START_TIME, "start_time_seconds", "gauge", "seconds", "", "", \
	  "When busd started, in seconds since 1970") \
	X(CLIENTS, "clients", "gauge", "", "", "", \
	  "Connected processes") \
	X(TOPICS, "topics", "gauge", "", "", "", \
	  "Topics") \
	X(RINGS, "rings", "gauge", "", "", "", \
	  "Rings, those included that are kept for readers after their publisher has gone") \
	X(SUBSCRIPTIONS, "subscriptions", "gauge", "", "", "", \
	  "Subscriptions") \
	X(EVICTIONS, "evictions", "counter", "", "", "", \
	  "Subscribers taken off a topic because they held publishers back for too long") \
	X(MEMORY, "memory_bytes", "gauge", "bytes", "", "", \
	  "Shared memory that busd has made and not yet freed") \
	X(MEMORY_LIMIT, "memory_limit_bytes", "gauge", "bytes", "", "", \
	  "Shared memory that busd may make") \
	X(NAMESPACE_MEMORY, "namespace_memory_bytes", "gauge", "bytes", "memory_bytes", "namespace", \
	  "Shared memory of a namespace, which is all topics with the same first token") \
	X(NAMESPACE_MEMORY_LIMIT, "namespace_memory_limit_bytes", "gauge", "bytes", \
	  "memory_limit_bytes", "namespace", \
	  "Shared memory that a namespace may take; absent where it has no limit, as those below") \
	X(NAMESPACE_TOPICS, "namespace_topics", "gauge", "", "topics", "namespace", \
	  "Topics of a namespace") \
	X(NAMESPACE_TOPICS_LIMIT, "namespace_topics_limit", "gauge", "", "topics_limit", "namespace", \
	  "Topics that a namespace may have") \
	X(NAMESPACE_RINGS, "namespace_rings", "gauge", "", "rings", "namespace", \
	  "Rings of a namespace, those included that are kept for readers") \
	X(NAMESPACE_RINGS_LIMIT, "namespace_rings_limit", "gauge", "", "rings_limit", "namespace", \
	  "Rings that a namespace may have") \
	X(NAMESPACE_CLIENTS, "namespace_clients", "gauge", "", "clients", "namespace", \
	  "Processes that publish or subscribe in a namespace") \
	X(NAMESPACE_CLIENTS_LIMIT, "namespace_clients_limit", "gauge", "", "clients_limit", \
	  "namespace", \
	  "Processes that may publish or subscribe in a namespace") \
	X(NUMA_MEMORY, "numa_memory_bytes", "gauge", "bytes", "memory_bytes", "node", \
	  "Memory of the rings seen here by the NUMA node on which its pages are") \
	X(TOPIC_MESSAGES, "topic_messages", "counter", "", "messages", "topic,direction", \
	  "Messages published (direction in) and released as good by present subscribers (out)") \
	X(TOPIC_BYTES, "topic_bytes", "counter", "", "bytes", "topic,direction", \
	  "Payload bytes published (direction in)") \
	X(TOPIC_LAST_SEQ, "topic_last_seq", "gauge", "", "last_seq", "topic,publisher,pid", \
	  "Number of the newest message of a publisher; absent before its first") \
	X(TOPIC_PUBLISHERS, "topic_publishers", "gauge", "", "", "topic", \
	  "Publishers attached") \
	X(TOPIC_SUBSCRIBERS, "topic_subscribers", "gauge", "", "", "topic", \
	  "Subscribers attached") \
	X(TOPIC_MEMORY, "topic_memory_bytes", "gauge", "bytes", "memory_bytes", "topic", \
	  "Memory of the topic's rings") \
	X(STREAM_DURABLE, "stream_durable_seq", "gauge", "", "durable_seq", "topic", \
	  "Messages of a stream with lower numbers are on disk; absent, as those below, where it is not kept there") \
	X(STREAM_DISK, "stream_disk_bytes", "gauge", "bytes", "disk_bytes", "topic", \
	  "Size of a stream's segment files") \
	X(SPILL_LAG, "spill_lag_bytes", "gauge", "bytes", "spill_lag_bytes", "topic", \
	  "What of a stream is in its ring and not in its log yet") \
	X(SPILL_ERRORS, "spill_errors", "counter", "", "spill_errors", "topic", \
	  "Errors that the disk reported to the writer of a stream") \
	X(SPILL_FULL, "spill_full", "counter", "", "spill_full", "topic", \
	  "Times that the disk had no room for a stream, whose publishers wait then, or what they send is dropped") \
	X(SPILL_DROPPED, "spill_dropped", "counter", "", "spill_dropped", "topic", \
	  "Messages that a stream made with --on-full=drop had no room for, because the disk did not take what was there") \
	X(SPILL_FSYNC, "spill_fsync_seconds", "histogram", "seconds", "spill_fsync_seconds", "topic", \
	  "How long syncs of a stream's log took, what was written with them included") \
	X(RING_USED, "ring_used_ratio", "gauge", "ratio", "used_ratio", "topic,publisher,pid", \
	  "How full a publisher's ring is by the slowest subscriber it waits for, by messages or bytes") \
	X(PUBLISH_BLOCKED_SECONDS, "publish_blocked_seconds", "counter", "seconds", "blocked_seconds", \
	  "topic,publisher,pid", \
	  "Time that a publisher has waited for room in its ring, the present wait included") \
	X(PUBLISH_BLOCKED, "publish_blocked", "gauge", "", "blocked", "topic,publisher,pid", \
	  "1 while a publisher waits for room in its ring") \
	X(PUBLISH_REFUSED, "publish_refused", "counter", "", "refused", "topic,publisher,pid", \
	  "Sends that ended without publishing because the ring was full") \
	X(PUBLISH_WAKES, "publish_wakes", "counter", "", "wakes", "topic,publisher,pid", \
	  "Times that a publisher woke a sleeping subscriber") \
	X(PUBLISH_EVICTIONS, "publish_evictions", "counter", "", "evictions", "topic,publisher,pid", \
	  "Subscribers evicted because this publisher waited for them too long") \
	X(LOST, "messages_lost", "counter", "", "lost", "topic,subscriber,pid,reason", \
	  "Messages that a present subscriber missed: overwritten (it is lossy) or evicted (too slow)") \
	X(LAG_MESSAGES, "subscriber_lag_messages", "gauge", "messages", "lag_messages", \
	  "topic,subscriber,pid", \
	  "Messages published and not yet released by a subscriber") \
	X(LAG_SECONDS, "subscriber_lag_seconds", "gauge", "seconds", "lag_seconds", \
	  "topic,subscriber,pid", \
	  "Age of the oldest unread message") \
	X(DELIVERED, "subscriber_delivered", "counter", "", "delivered", "topic,subscriber,pid", \
	  "Messages released as good") \
	X(SUB_EVICTIONS, "subscriber_evictions", "counter", "", "evictions", "topic,subscriber,pid", \
	  "Times that this subscriber was evicted from the topic") \
	X(HOLDS, "subscriber_holds", "gauge", "", "holds", "topic,subscriber,pid", \
	  "Publishers that wait for this subscriber now") \
	X(ASLEEP, "subscriber_asleep", "gauge", "", "asleep", "topic,subscriber,pid", \
	  "1 while a subscriber sleeps until something is published")
/* clang-format on */

#define METRIC_ID(id, family, type, unit, key, labels, help) METRIC_##id,
enum metric_id { METRIC_TABLE(METRIC_ID) METRIC_COUNT };
#undef METRIC_ID

#endif
