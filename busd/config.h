/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h - what busd was told by its configuration file; everything has a default, and no file
 * is needed.
 */
#ifndef BUSD_CONFIG_H
#define BUSD_CONFIG_H

#include "acl.h"
#include "format/control_proto.h"
#include "namespace.h"
#include "why.h"

#include <sys/types.h>

/*
 * Settings for topics whose name matches. Zero: not said here, unless the flag beside it says
 * that it was.
 */
struct config_topic {
	char pattern[CTL_TOPIC_MAX];
	struct ctl_topic_settings settings;
	bool numa_said, huge_said;
};

struct config_namespace {
	char name[CTL_TOPIC_MAX];
	struct namespace_limits limits;
	bool owned;
	struct acl_grant owner; /* its right is not used: all of them */
};

struct config {
	char *socket; /* NULL: by default */
	uint32_t socket_mode;
	gid_t socket_group; /* (gid_t)-1: as it comes */
	char *data_dir;
	char *log; /* NULL: stderr in the foreground, else syslog */
	int log_level;
	uint64_t memory_limit;      /* 0: half of what the machine or the control group has */
	uint64_t user_memory_limit; /* 0: half of memory_limit */
	uint64_t max_ring_bytes;
	uint32_t keep_rings;   /* closed and read rings kept per explicit topic */
	uint64_t keep_time_ns; /* how long the last ring of a topic made on demand is kept */
	uint64_t idle_exit_ns; /* of a private busd */
	uint64_t evict_floor_ns;
	struct config_topic defaults; /* pattern is not used */
	struct config_topic *topics;
	size_t topic_count;
	/* 0: by default */
	uint32_t user_connections, user_handshakes, user_descriptors, user_topics;
	char *user; /* whom busd becomes where root starts it; NULL: it stays who it is */
	uid_t user_uid;
	gid_t user_gid;
	bool sandbox; /* system calls that busd does not need are refused */
	struct config_namespace *namespaces;
	size_t namespace_count;
	struct acl acl; /* rules, and what owners of namespaces may do */
};

/* All defaults. NULL: no memory. */
struct config *config_new(void);
/* Reads a file over the defaults. 0, or -errno with a sentence "PATH:LINE: ...". */
int config_read(struct config *config, const char *path, struct why *why);
void config_free(struct config *config);

/*
 * The settings of a ring on this topic: what was asked, filled up by the first matching pattern,
 * the defaults of the file, those of busd, in this order; sizes are made powers of two and
 * checked. 0, or -EINVAL with a sentence.
 */
int config_settle(const struct config *config, const char *topic,
		  const struct ctl_topic_settings *asked, struct ctl_topic_settings *ret,
		  struct why *why);

#endif
