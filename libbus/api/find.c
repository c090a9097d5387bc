/* SPDX-License-Identifier: Apache-2.0 */
/*
 * find.c - where busd listens, and starting a private one where nobody set one up.
 *
 * Who wins when several clients start one at once is decided by busd itself (a lock file beside the
 * socket): here everybody who lost simply connects. A private busd that leaves at the very moment
 * when a client connects closes that connection unanswered; bus_connect() then comes here again.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/bus_internal.h"

#define SYSTEM_DIR  "/run/busd"
#define SOCKET_NAME "bus.sock"

extern char **environ;

static bool exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

static bool executable(const char *path)
{
	return access(path, X_OK) == 0;
}

/* The directory of the library or, linked statically, of the program. */
static bool own_dir(char *ret, size_t size)
{
	Dl_info info;
	char path[PATH_MAX];
	char *slash;

	if (dladdr((void *)(uintptr_t)&own_dir, &info) == 0 || info.dli_fname == NULL ||
	    realpath(info.dli_fname, path) == NULL)
		if (realpath("/proc/self/exe", path) == NULL)
			return false;
	slash = strrchr(path, '/');
	if (slash == NULL)
		return false;
	*slash = '\0';
	return snprintf(ret, size, "%s", path) < (int)size;
}

/*
 * busd: $BUS_BUSD, beside the library or program, in the sbin or bin next to its lib, else on the
 * PATH.
 */
static void find_busd(char *ret, size_t size)
{
	static const char *const places[] = { "%s/busd", "%s/../sbin/busd", "%s/../bin/busd",
					      "%s/../../sbin/busd", "%s/../../bin/busd" };
	const char *env = getenv("BUS_BUSD");
	char dir[PATH_MAX];

	if (env != NULL && env[0] != '\0') {
		snprintf(ret, size, "%s", env);
		return;
	}
	if (own_dir(dir, sizeof(dir))) {
		for (size_t i = 0; i < BUS_ARRAY_LEN(places); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			int n = snprintf(ret, size, places[i], dir);
#pragma GCC diagnostic pop
			if (n > 0 && (size_t)n < size && executable(ret))
				return;
		}
	}
	snprintf(ret, size, "busd");
}

/*
 * Runs `busd --private --socket PATH` and waits for its parent half, which leaves once it listens
 * or has lost the race.
 */
int bus__start_private(const char *path)
{
	char busd[PATH_MAX];
	/* path may lie in memory that a child sees as zeros, where spawning forks */
	char socket[108];
	char *argv[] = { busd, "--private", "--socket", socket, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, defaults;
	pid_t pid;
	int err, status;

	snprintf(socket, sizeof(socket), "%s", path);
	find_busd(busd, sizeof(busd));
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	sigfillset(&defaults);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	err = posix_spawnp(&pid, busd, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	if (err != 0)
		return bus__fail(
			-err,
			"no busd runs and %s cannot be started: %s; start busd, or name it by BUS_BUSD",
			busd, strerror(err));
	while (waitpid(pid, &status, 0) < 0) {
		if (errno == ECHILD)
			/*
			 * the application ignores SIGCHLD: it is reaped, connecting tells the rest
			 */
			return 0;
		if (errno != EINTR)
			return bus__fail(-errno, "cannot wait for %s: %s", busd, strerror(errno));
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return bus__fail(
			-ENOENT,
			"no busd runs and %s --private --socket %s failed (its message is above)",
			busd, path);
	return 0;
}

static void private_place(char *dir, size_t size)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (runtime != NULL && runtime[0] == '/')
		snprintf(dir, size, "%s/busd", runtime);
	else
		snprintf(dir, size, "/tmp/busd-%u", (unsigned)getuid());
}

/* The directory of a private socket: ours, and closed to others. */
static int private_dir(char *path, size_t size)
{
	struct stat st;
	char dir[PATH_MAX];

	private_place(dir, sizeof(dir));
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return bus__fail(-errno, "cannot make %s for a private busd: %s", dir,
				 strerror(errno));
	if (lstat(dir, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != getuid() ||
	    (st.st_mode & 022) != 0)
		return bus__fail(
			-EACCES,
			"%s is not a directory that only this user can write; a private busd is not put there",
			dir);
	if (snprintf(path, size, "%s/" SOCKET_NAME, dir) >= (int)size)
		return bus__fail(-ENAMETOOLONG,
				 "the path %s/" SOCKET_NAME " is too long for a socket", dir);
	return 0;
}

static int connect_failed(int err, const char *path)
{
	if (err == -ENOENT || err == -ECONNREFUSED || err == -ENOTDIR)
		return bus__fail(err, "no busd listens at %s; start one: busd --socket %s", path,
				 path);
	if (err == -EPROTOTYPE || err == -ENOTSOCK)
		return bus__fail(-EPROTO, "%s is not busd's socket", path);
	return bus__fail(err, "cannot connect to %s: %s", path, strerror(-err));
}

static int connect_to(const char *path, char *ret, size_t size)
{
	int fd;

	if (snprintf(ret, size, "%s", path) >= (int)size)
		return bus__fail(-ENAMETOOLONG, "the path %s is too long for a socket", path);
	fd = control_connect(path);
	return fd >= 0 ? fd : connect_failed(fd, path);
}

/* Starts a private busd unless one is there; connects. */
static int connect_private(const struct bus_connect_opts *opts, uint64_t deadline_ns, char *path,
			   size_t size, bool *may_start)
{
	const char *autostart = getenv("BUS_AUTOSTART");
	bool allowed = !(opts->flags & BUS_CONNECT_NO_AUTOSTART) &&
		       (autostart == NULL || strcmp(autostart, "0") != 0);
	int err = private_dir(path, size);

	if (err < 0)
		return err;
	*may_start = allowed;
	for (;;) {
		int fd = control_connect(path);

		if (fd >= 0)
			return fd;
		if (fd != -ENOENT && fd != -ECONNREFUSED)
			return connect_failed(fd, path);
		if (!allowed)
			return bus__fail(fd,
					 "no busd runs (looked at $BUS_SOCKET, " SYSTEM_DIR
					 "/" SOCKET_NAME " and %s) and "
					 "none may be started here; start one: busd --socket %s",
					 path, path);
		if (bus_monotonic_ns() >= deadline_ns)
			return bus__fail(-ETIMEDOUT,
					 "a private busd for %s did not come up in time", path);
		err = bus__start_private(path);
		if (err < 0)
			return err;
	}
}

int bus__find_and_connect(const struct bus_connect_opts *opts, uint64_t deadline_ns, char *path,
			  size_t path_size, bool *may_start)
{
	const char *env = getenv("BUS_SOCKET");

	*may_start = false;

	if (opts->socket != NULL)
		return connect_to(opts->socket, path, path_size);
	if (env != NULL && env[0] != '\0')
		return connect_to(env, path, path_size);
	if (exists(SYSTEM_DIR "/" SOCKET_NAME))
		return connect_to(SYSTEM_DIR "/" SOCKET_NAME, path, path_size);
	return connect_private(opts, deadline_ns, path, path_size, may_start);
}

int bus__find_socket(const char *asked, char *path, size_t path_size)
{
	const char *env = getenv("BUS_SOCKET");
	char dir[PATH_MAX - 16], place[PATH_MAX];

	private_place(dir, sizeof(dir));
	snprintf(place, sizeof(place), "%s/" SOCKET_NAME, dir);
	if (asked == NULL)
		asked = env != NULL && env[0] != '\0'        ? env
			: exists(SYSTEM_DIR "/" SOCKET_NAME) ? SYSTEM_DIR "/" SOCKET_NAME
							     : place;
	if (snprintf(path, path_size, "%s", asked) >= (int)path_size)
		return bus__fail(-ENAMETOOLONG, "the path %s is too long for a socket", asked);
	return 0;
}
