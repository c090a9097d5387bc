/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spill_dir.h - where streams lie on disk: a directory for each below the data directory, named after its topic, with
 * the log (log_format.h) and a file that says what the stream is (SPILL_SETTINGS_NAME). All of it is the owner's
 * alone: 0700 and 0600.
 *
 *   DATA/streams/orders.eu/settings         text, with a checksum; written once
 *   DATA/streams/orders.eu/00000000000000000000.log ...
 *   DATA/streams/.removed.orders.eu-1764288000   removed by bus-topic rm: being deleted, at the next start if busd died
 *   DATA/streams/.new.orders.eu             one that is being made, or was when busd died
 *   DATA/streams/orders.eu@removed-1764288000   put aside by a former version, which left that to people
 */
#ifndef BUSD_SPILL_DIR_H
#define BUSD_SPILL_DIR_H

#include "format/control_proto.h"
#include "format/log_format.h"
#include "why.h"

#define SPILL_SETTINGS_NAME "settings"
#define SPILL_STREAMS_NAME  "streams"

struct spill_settings {
	char topic[CTL_TOPIC_MAX];
	uint8_t uuid[LOG_UUID_BYTES];
	struct ctl_topic_settings rings; /* of its publishers */
	uint32_t stream_slots;
	uint64_t stream_bytes;
	uint64_t created_ns;
	struct ctl_log_settings log;
};

/* "none", "interval", "batch", "memory". */
const char *spill_sync_text(uint32_t sync);
/*
 * Where busd was not told: by its service, for root, or by a user's environment (*users), which may be another user's that
 * was inherited. NULL: there is no such place. To be freed.
 */
char *spill_default_dir(bool *users);
/* All of a path that is not there. 0, -errno with a sentence. */
int spill_make_dirs(const char *path, struct why *why);

/* What a topic's directory is called; buf of SPILL_NAME_MAX. */
#define SPILL_NAME_MAX 256
void spill_dir_name(const char *topic, char *buf);

/*
 * A new stream's directory, on disk with its settings when this returns: a descriptor, locked; or -errno with a
 * sentence. Takes the disk's time.
 */
int spill_dir_create(const char *data_dir, const struct spill_settings *settings, struct why *why);
/* That of a stream that is there. A descriptor, or -errno with a sentence. */
int spill_dir_open(const char *data_dir, const char *topic, const uint8_t *uuid, struct why *why);
/* By a descriptor: what the stream is. 0, -ENOENT: nothing says so; -errno with a sentence. */
int spill_dir_read(int dir, struct spill_settings *ret, struct why *why);
/* Into a directory that is no stream's yet; on disk when this returns. 0, -errno with a sentence. */
int spill_settings_write(int dir, const struct spill_settings *settings, struct why *why);
/*
 * Where that of a stream is, after a worker that may have been about to rename it: SPILL_DIR_PLACE..., or -errno with a
 * sentence. Of one that is put aside the name is on disk when this returns. Takes the disk's time, but little.
 */
enum spill_dir_where {
	SPILL_DIR_PLACE, /* as it was */
	SPILL_DIR_ASIDE, /* removed: it is to be deleted */
	SPILL_DIR_GONE,  /* neither: deleted, moved away, or another stream has its name */
};
int spill_dir_where(const char *data_dir, const char *topic, const uint8_t *uuid, struct why *why);
/*
 * It becomes nobody's, and is to be deleted: renamed, on disk when this returns. 0; -errno with a sentence: it is as it
 * was; SPILL_DIR_UNSYNCED with a sentence: renamed, but not on disk, nor to be had back.
 */
#define SPILL_DIR_UNSYNCED 1
int spill_dir_retire(int dir, const char *topic, struct why *why);
/* Likewise that of a stream: 0 also where there is none, or it is another stream's. Takes the disk's time. */
int spill_dir_put_aside(const char *data_dir, const char *topic, const uint8_t *uuid,
			struct why *why);
/*
 * Deletes the directories that are nobody's, with all that is in them, but for those in which a writer has not ended
 * (tries: how often to look at that, 50 ms apart). Takes the disk's time. 0, or -errno with a sentence: of one that
 * stays until the next time.
 */
int spill_dir_sweep(const char *data_dir, int tries, struct why *why);

/* Is it there, and closed to this user? Then it is another one's. */
bool spill_dir_is_closed(const char *data_dir);
/* One of them: a descriptor, or -errno. */
int spill_dir_of(const char *data_dir, const char *name);
/*
 * Calls found() for each directory of a stream: with its descriptor, which becomes the callee's, or -errno. 0 (also
 * where there is no data directory), or -errno with a sentence.
 */
int spill_dir_each(const char *data_dir, void (*found)(void *owner, const char *name, int dir),
		   void *owner, struct why *why);

#endif
