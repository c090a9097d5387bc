/* SPDX-License-Identifier: Apache-2.0 */
/* spill_dir.c - see spill_dir.h */
#include "spill_dir.h"

#include "base/clock.h"
#include "base/crc32c.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW_PREFIX ".new."
/* no topic's directory has such names */
#define REMOVED      ".removed."
#define PUT_ASIDE    "@removed-" /* by a former version: for people to delete */
#define LOCK_TRIES   40
#define LOCK_WAIT_US 50000

/* ---- where ---- */

char *spill_default_dir(bool *users)
{
	const char *service = getenv("STATE_DIRECTORY"); /* systemd's StateDirectory= */
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *path = NULL;
	int len = -1;

	*users = false;
	if (service && service[0] == '/')
		return strndup(service, strcspn(service, ":"));

	if (geteuid() == 0)
		return strdup("/var/lib/busd");
	*users = true;
	if (state && state[0] == '/')
		len = asprintf(&path, "%s/busd", state);
	else if (home && home[0] == '/')
		len = asprintf(&path, "%s/.local/state/busd", home);
	return len < 0 ? NULL : path;
}

/* That the name is there, whoever made it and died: where we may look into its directory. */
static int sync_parent(const char *path)
{
	char *copy = strdup(path);
	int fd, rc = 0;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(copy);
	if (fd < 0)
		return 0;
	if (fsync(fd) < 0 && errno != EINVAL && errno != EROFS)
		rc = -errno;
	close(fd);
	return rc;
}

int spill_make_dirs(const char *path, struct why *why)
{
	char *copy = strdup(path), *at = copy;
	int rc = copy ? 0 : -ENOMEM;

	while (rc == 0 && at) {
		at = strchr(at + 1, '/');
		if (at)
			*at = 0;
		if (mkdir(copy, at ? 0755 : 0700) < 0 && errno != EEXIST)
			rc = -errno;
		else
			rc = sync_parent(copy);
		if (at)
			*at = '/';
	}
	free(copy);
	if (rc < 0)
		return because(why, -rc, "cannot make the directory %s: %s", path, strerror(-rc));
	return 0;
}

void spill_dir_name(const char *topic, char *buf)
{
	static const char digits[] = "0123456789ABCDEF";
	const size_t whole = 180; /* longer ones end in a checksum: the settings have the name */
	const char *p;
	size_t n = 0;

	for (p = topic; *p && n < whole; p++) {
		const unsigned char c = (unsigned char)*p;
		const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
				   (c >= '0' && c <= '9') || c == '-' || c == '_' ||
				   (c == '.' && n > 0);

		if (plain) {
			buf[n++] = (char)c;
		} else {
			buf[n++] = '%';
			buf[n++] = digits[c >> 4];
			buf[n++] = digits[c & 15];
		}
	}
	buf[n] = 0;
	if (*p)
		snprintf(buf + n, SPILL_NAME_MAX - n, "~%08x", crc32c(topic, strlen(topic)));
}

static int open_dir(int at, const char *name)
{
	const int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* The directory of all streams. */
static int open_streams(const char *data_dir, bool make, struct why *why)
{
	char *path = NULL;
	int fd = -ENOMEM, rc = 0;

	if (asprintf(&path, "%s/" SPILL_STREAMS_NAME, data_dir) < 0)
		return because(why, ENOMEM, "busd is out of memory");
	if (make)
		rc = spill_make_dirs(path, why);
	if (rc == 0) {
		fd = open_dir(AT_FDCWD, path);
		rc = fd < 0 ? fd : 0;
		if (rc < 0 && (make || rc != -ENOENT))
			because(why, -rc, "cannot open the data directory %s: %s", path,
				strerror(-rc));
	}
	free(path);
	return rc < 0 ? rc : fd;
}

/* The next one; NULL: there is none, or *error. */
static const struct dirent *next_entry(DIR *list, int *error)
{
	const struct dirent *entry;

	errno = 0;
	entry = readdir(list);
	if (!entry && errno)
		*error = -errno;
	return entry;
}

/* ---- a stream's directory ---- */

static int lock(int dir, const char *topic, struct why *why)
{
	int i;

	/* one that was killed has the lock until the kernel has ended what it had under way */
	for (i = 0; i < LOCK_TRIES; i++) {
		if (flock(dir, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK)
			return because(why, errno,
				       "the directory of stream \"%s\" cannot be locked: %s", topic,
				       strerror(errno));
		usleep(LOCK_WAIT_US);
	}
	return because(
		why, EBUSY,
		"another busd writes to the directory of stream \"%s\"; stop it, or give this one another --data-dir",
		topic);
}

/* Its name is not on disk: it is no stream then, now or later. */
static int take_out(int streams, const char *from, const char *to, int error, struct why *why)
{
	const bool out = renameat(streams, to, streams, from) == 0;

	(void)fsync(streams);
	return because(why, error, "cannot sync the data directory: %s%s%s%s", strerror(error),
		       out ? "" : "; the stream's directory ", out ? "" : to,
		       out ? "" : " cannot be taken away, and is a stream when busd starts again");
}

static int put_in_place(int streams, const char *from, const char *to, struct why *why)
{
	int i;

	/* one that is being removed at this moment is about to lose its name */
	for (i = 0; i < LOCK_TRIES; i++) {
		if (renameat(streams, from, streams, to) == 0)
			return fsync(streams) == 0 ? 0 : take_out(streams, from, to, errno, why);
		if (errno != ENOTEMPTY && errno != EEXIST)
			return because(why, errno, "cannot name the stream's directory: %s",
				       strerror(errno));
		usleep(LOCK_WAIT_US);
	}
	return because(
		why, EEXIST,
		"there is a directory %s of a stream already, which is no topic here; see busd's log, or move it away",
		to);
}

/* With its lock, or not at all: it may be somebody else's who makes the same stream. */
static int make_in(int streams, int dir, const char *from, const char *to,
		   const struct spill_settings *settings, struct why *why)
{
	int rc = lock(dir, settings->topic, why);

	if (rc < 0)
		return rc;
	rc = spill_settings_write(dir, settings, why);
	if (rc == 0)
		rc = put_in_place(streams, from, to, why);
	/* by the name: it may have the other one after all */
	if (rc < 0 && unlinkat(streams, from, AT_REMOVEDIR) < 0 && errno == ENOTEMPTY) {
		unlinkat(dir, SPILL_SETTINGS_NAME, 0);
		unlinkat(streams, from, AT_REMOVEDIR);
	}
	return rc;
}

int spill_dir_create(const char *data_dir, const struct spill_settings *settings, struct why *why)
{
	char to[SPILL_NAME_MAX], from[SPILL_NAME_MAX + sizeof(NEW_PREFIX)];
	int streams, dir, rc;

	streams = open_streams(data_dir, true, why);
	if (streams < 0)
		return streams;
	spill_dir_name(settings->topic, to);
	snprintf(from, sizeof(from), NEW_PREFIX "%s", to);
	if (mkdirat(streams, from, 0700) < 0 && errno != EEXIST)
		dir = -errno;
	else
		dir = open_dir(streams, from);
	if (dir < 0) {
		rc = because(why, -dir, "cannot make a directory in %s: %s", data_dir,
			     strerror(-dir));
	} else {
		rc = make_in(streams, dir, from, to, settings, why);
		if (rc < 0)
			close(dir);
	}
	close(streams);
	return rc < 0 ? rc : dir;
}

int spill_dir_open(const char *data_dir, const char *topic, const uint8_t *uuid, struct why *why)
{
	struct spill_settings there;
	char name[SPILL_NAME_MAX];
	int streams = open_streams(data_dir, false, why);
	int dir, rc;

	if (streams < 0)
		return because(why, -streams, "the data directory %s cannot be opened: %s",
			       data_dir, strerror(-streams));
	spill_dir_name(topic, name);
	dir = open_dir(streams, name);
	close(streams);
	if (dir < 0)
		return because(why, -dir, "the directory of stream \"%s\" cannot be opened: %s",
			       topic, strerror(-dir));
	rc = spill_dir_read(dir, &there, why);
	if (rc == 0 && memcmp(there.uuid, uuid, sizeof(there.uuid)) != 0)
		rc = because(why, ESTALE,
			     "the directory of stream \"%s\" is that of another stream", topic);
	if (rc < 0)
		close(dir);
	return rc < 0 ? rc : dir;
}

static int rename_aside(int streams, const char *name, char *to, size_t size)
{
	const unsigned long long now = bus_realtime_ns() / 1000000000;
	int rc = -EEXIST;
	unsigned i;

	for (i = 0; i < 1000 && (rc == -EEXIST || rc == -ENOTEMPTY); i++) {
		if (i == 0)
			snprintf(to, size, REMOVED "%s-%llu", name, now);
		else
			snprintf(to, size, REMOVED "%s-%llu-%u", name, now, i);
		rc = renameat(streams, name, streams, to) < 0 ? -errno : 0;
	}
	return rc;
}

/*
 * It is renamed, and that is not on disk, by this error. Whoever writes to it must not do so under a name that is deleted
 * at the next start: it gets its own back, or is removed.
 */
static int take_back(int streams, const char *name, const char *to, int error, struct why *why)
{
	if (renameat(streams, to, streams, name) == 0) {
		if (fsync(streams) == 0)
			return because(why, error,
				       "cannot sync the data directory: %s; the stream is as it was",
				       strerror(error));
		if (renameat(streams, name, streams, to) < 0)
			return because(
				why, error,
				"cannot sync the data directory: %s; the stream is there, and may be gone after a loss of power: remove it again",
				strerror(error));
	}
	because(why, error,
		"the stream is removed, but the data directory cannot be synced: %s; after a loss of power it may be there again",
		strerror(error));
	return SPILL_DIR_UNSYNCED;
}

int spill_dir_retire(int dir, const char *topic, struct why *why)
{
	char name[SPILL_NAME_MAX], to[SPILL_NAME_MAX + 48];
	int streams = open_dir(dir, ".."), rc;

	if (streams < 0)
		return because(why, -streams, "cannot open the data directory: %s",
			       strerror(-streams));
	spill_dir_name(topic, name);
	rc = rename_aside(streams, name, to, sizeof(to));
	if (rc < 0)
		because(why, -rc, "cannot rename the directory of stream \"%s\": %s", topic,
			strerror(-rc));
	else if (fsync(streams) < 0)
		rc = take_back(streams, name, to, errno, why);
	close(streams);
	return rc;
}

/* Is this directory that stream's? -errno: that cannot be told. */
static int is_of(int dir, const uint8_t *uuid, struct why *why)
{
	struct spill_settings there;
	int rc = spill_dir_read(dir, &there, why);

	close(dir);
	return rc < 0 ? rc : memcmp(there.uuid, uuid, sizeof(there.uuid)) == 0;
}

/* Is it one of those that are to be deleted? */
static bool is_aside(DIR *list, const char *name, const uint8_t *uuid, int *error)
{
	const size_t prefix = strlen(REMOVED);
	const struct dirent *entry;
	struct why unused;

	while ((entry = next_entry(list, error))) {
		int dir;

		if (strncmp(entry->d_name, REMOVED, prefix) != 0 ||
		    strncmp(entry->d_name + prefix, name, strlen(name)) != 0)
			continue;
		dir = open_dir(dirfd(list), entry->d_name);
		if (dir >= 0 && is_of(dir, uuid, &unused) == 1)
			return true;
	}
	return false;
}

static int look_aside(int streams, const char *name, const uint8_t *uuid, struct why *why)
{
	DIR *list = fdopendir(streams);
	int rc = SPILL_DIR_GONE, error = 0;

	if (!list) {
		close(streams);
		return because(why, ENOMEM, "busd is out of memory");
	}
	if (is_aside(list, name, uuid, &error))
		rc = SPILL_DIR_ASIDE;
	else if (error < 0)
		rc = because(why, -error, "cannot list the data directory: %s", strerror(-error));
	/* who renamed it may have died before that was on disk */
	if (rc == SPILL_DIR_ASIDE && fsync(streams) < 0)
		rc = because(why, errno, "cannot sync the data directory: %s", strerror(errno));
	closedir(list);
	return rc;
}

int spill_dir_where(const char *data_dir, const char *topic, const uint8_t *uuid, struct why *why)
{
	char name[SPILL_NAME_MAX];
	int streams = open_streams(data_dir, false, why), dir, rc = 0;

	if (streams < 0)
		return streams == -ENOENT ? SPILL_DIR_GONE : streams;
	spill_dir_name(topic, name);
	dir = open_dir(streams, name);
	if (dir >= 0)
		rc = is_of(dir, uuid, why);
	else if (dir != -ENOENT)
		rc = because(why, -dir, "its directory cannot be opened: %s", strerror(-dir));
	if (rc == 0)
		return look_aside(streams, name, uuid, why);
	close(streams);
	return rc < 0 ? rc : SPILL_DIR_PLACE;
}

int spill_dir_put_aside(const char *data_dir, const char *topic, const uint8_t *uuid, struct why *why)
{
	struct spill_settings there;
	char name[SPILL_NAME_MAX];
	int streams = open_streams(data_dir, false, why), dir, rc;
	bool there_is = false;

	if (streams < 0)
		return streams == -ENOENT ? 0 : streams;
	spill_dir_name(topic, name);
	dir = open_dir(streams, name);
	rc = dir == -ENOENT ? 0 : dir;
	if (dir >= 0) {
		rc = spill_dir_read(dir, &there, why);
		there_is = rc == 0 && memcmp(there.uuid, uuid, sizeof(there.uuid)) == 0;
		if (there_is)
			rc = spill_dir_retire(dir, topic, why);
		close(dir);
	} else if (rc < 0) {
		because(why, -rc, "the directory of stream \"%s\" cannot be opened: %s", topic,
			strerror(-rc));
	}
	/* somebody else has renamed it, and may not have come to sync that */
	if (rc == 0 && !there_is && fsync(streams) < 0)
		rc = because(why, errno, "cannot sync the data directory: %s", strerror(errno));
	close(streams);
	return rc;
}

/* Whatever lies there, readable or not: who removed the stream has said so. */
static int delete_files(int dir)
{
	const struct dirent *entry;
	DIR *list = fdopendir(dup(dir));
	int rc = list ? 0 : -ENOMEM;

	while (list && (entry = next_entry(list, &rc))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(dir, entry->d_name, 0) < 0 && errno != ENOENT)
			rc = -errno;
	}
	if (list)
		closedir(list);
	return rc;
}

/* 0 also where its writer has not ended: who ends does it. */
static int delete_dir(int streams, const char *name, int tries)
{
	int dir = open_dir(streams, name), rc;

	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	while ((rc = flock(dir, LOCK_EX | LOCK_NB)) < 0 && --tries > 0)
		usleep(LOCK_WAIT_US);
	if (rc == 0) {
		rc = delete_files(dir);
		if (rc == 0 && unlinkat(streams, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			rc = -errno;
	} else {
		rc = errno == EWOULDBLOCK ? 0 : -errno;
	}
	close(dir);
	return rc;
}

int spill_dir_sweep(const char *data_dir, int tries, struct why *why)
{
	const struct dirent *entry;
	int streams = open_streams(data_dir, false, why), rc = 0, error = 0, one;
	DIR *list;

	if (streams < 0)
		return streams == -ENOENT ? 0 : streams;
	list = fdopendir(streams);
	if (!list) {
		close(streams);
		return because(why, ENOMEM, "busd is out of memory");
	}
	/* that they are nobody's may not be on disk yet, and has to be before their files go */
	if (fsync(streams) < 0)
		error = -errno;
	while (error == 0 && (entry = next_entry(list, &error))) {
		if (strncmp(entry->d_name, REMOVED, strlen(REMOVED)) != 0)
			continue;
		one = delete_dir(dirfd(list), entry->d_name, tries);
		if (one < 0)
			rc = because(why, -one, "%s/" SPILL_STREAMS_NAME "/%s cannot be deleted: %s",
				     data_dir, entry->d_name, strerror(-one));
	}
	closedir(list);
	if (error < 0)
		rc = because(why, -error, "cannot sync or list the data directory %s: %s", data_dir,
			     strerror(-error));
	return rc;
}

/* ---- all of them ---- */

bool spill_dir_is_closed(const char *data_dir)
{
	struct why unused = { "" };
	int streams = open_streams(data_dir, false, &unused);

	if (streams >= 0)
		close(streams);
	return streams == -EACCES || streams == -EPERM;
}

int spill_dir_of(const char *data_dir, const char *name)
{
	struct why why;
	int streams = open_streams(data_dir, false, &why), dir;

	if (streams < 0)
		return streams;
	dir = open_dir(streams, name);
	close(streams);
	return dir;
}

int spill_dir_each(const char *data_dir, void (*found)(void *owner, const char *name, int dir),
		   void *owner, struct why *why)
{
	const struct dirent *entry;
	int streams = open_streams(data_dir, false, why), fd, error = 0;
	DIR *list;

	if (streams == -ENOENT || streams == -ENOTDIR) /* where a file stands there are no streams */
		return 0;
	if (streams < 0)
		return streams;
	/* one that died may have named a directory, and not come to sync that: its messages would be durable nowhere */
	if (fsync(streams) < 0) {
		because(why, errno, "cannot sync the data directory: %s", strerror(errno));
		close(streams);
		return -EIO;
	}
	list = fdopendir(streams);
	if (!list) {
		close(streams);
		return because(why, ENOMEM, "busd is out of memory");
	}
	while ((entry = next_entry(list, &error))) {
		if (entry->d_name[0] == '.' || strstr(entry->d_name, PUT_ASIDE))
			continue;
		fd = open_dir(dirfd(list), entry->d_name);
		if (fd != -ENOTDIR)
			found(owner, entry->d_name, fd);
	}
	closedir(list);
	if (error < 0)
		return because(why, -error, "cannot list the data directory %s: %s", data_dir,
			       strerror(-error));
	return 0;
}
