/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alloc.h - memory that takes long to be touched (1 GB/s) is allocated beside the loop, so that
 * other clients never wait. Small segments are made at once: a thread would cost more.
 *
 * A job belongs to the client whose request waits for it. done() runs in the loop's thread;
 * client is NULL where it has gone meanwhile, and then done() only releases what the job holds.
 */
#ifndef BUSD_ALLOC_H
#define BUSD_ALLOC_H

#include "client.h"

#include "format/log_format.h"

#define ALLOC_AT_ONCE (UINT64_C(4) << 20)
#define ALLOC_THREADS 4

struct topic;

struct job {
	struct list link;
	struct busd *busd;
	struct client *client; /* NULL: gone */
	uint32_t req;
	bool refill;              /* only allocate again what may have been punched out */
	struct segment_plan plan; /* else: build this */
	struct segment *seg;      /* the job's reference */
	int rc;
	struct why why;
	void (*done)(struct client *client, struct job *job);
	/* what the request needs to go on */
	struct topic *topic;     /* pinned, or NULL */
	struct namespace *space; /* pays for the plan as well; NULL */
	uint64_t id, line;
	struct ctl_topic_settings settings;
	char name[CTL_NAME_MAX];
	char pattern[CTL_TOPIC_MAX];
	uint32_t entries, flags, start; /* of a subscription */
	/* of a stream: its ring; or the source of a publisher, + 1, which the job may wait for */
	uint32_t stream_slots, source;
	uint64_t stream_bytes;
	struct ctl_log_settings log;
	uint8_t uuid[LOG_UUID_BYTES];
	struct list making;             /* busd.creating */
	struct ctl_topic_create *asked; /* it waits there, and is asked again; NULL: it makes it */
	bool on_disk;                   /* its directory is made first, in */
	bool put_aside;                 /* only that: its directory is */
	const char *data_dir;
	int stream_dir;                /* -1: not there; the job's */
	struct spill_ask *ask;         /* parked: what the stream's writer was asked, */
	struct position_ask *position; /* or this */
	struct hold *hold;             /* of a durable subscription */
	bool parked;
	int32_t node;
	BUS_NEXT(uint64_t label;)
};

/* NULL: no memory. */
struct job *job_new(struct client *client, const void *request);
void job_free(struct job *job);

/*
 * The client pays for the plan (kept rings are freed where that helps); then done() is called,
 * now or later.
 */
void alloc_build(struct job *job);
/* For job->seg. */
void alloc_refill(struct job *job);
/* What takes the disk's time only. */
void alloc_put_aside(struct job *job);
/* The client goes. */
void alloc_orphan(struct job *job);

int alloc_open(struct busd *busd);

#endif
