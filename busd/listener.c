/* SPDX-License-Identifier: Apache-2.0 */
/* listener.c - see listener.h */
#include "listener.h"

#include "client.h"
#include "keep.h"
#include "log.h"
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPT_BATCH    32
#define ACCEPT_AGAIN_NS UINT64_C(50000000)
#define SAY_AGAIN_NS    UINT64_C(1000000000)
/*
 * The worker of a keeper that was killed dies with it, but a moment later: until then it listens,
 * and one that had not become busd yet holds the lock.
 */
#define DYING_NS      UINT64_C(1000000000)
#define DYING_LOOK_US 10000

char *listener_default_path(struct why *why)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char *path;

	if (geteuid() == 0)
		return strdup("/run/busd/bus.sock");
	if (!runtime || runtime[0] != '/') {
		because(why, ENOENT,
			"no place for the socket: XDG_RUNTIME_DIR is not set; set it, or name a path by --socket");
		return NULL;
	}
	if (asprintf(&path, "%s/busd/bus.sock", runtime) < 0)
		return NULL;
	return path;
}

/* The last directory of the path only: what is above it is not busd's to make. */
static int make_directory(const char *path, const struct config *config, struct why *why)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = 0;
	if (mkdir(dir, geteuid() == 0 ? 0755 : 0700) < 0)
		return errno == EEXIST ? 0
				       : because(why, errno, "cannot make directory %s: %s", dir,
						 strerror(errno));
	/* where busd is to remove its socket as another user */
	if (config->user && geteuid() == 0 && chown(dir, config->user_uid, (gid_t)-1) < 0)
		return because(why, errno, "cannot give %s to user %s: %s", dir, config->user,
			       strerror(errno));
	return 0;
}

static int lock_held(int fd, const char *path, struct why *why)
{
	char pid[32] = "";
	ssize_t len = pread(fd, pid, sizeof(pid) - 1, 0);

	if (len > 0)
		pid[strcspn(pid, "\n")] = 0;
	return because(why, EEXIST,
		       "already running (pid %s) at %s; stop it, or choose another path by --socket",
		       pid[0] ? pid : "unknown", path);
}

/* Does the busd live that wrote its pid there? One that has only just got the lock: not yet. */
static bool owner_lives(int fd)
{
	char text[32] = "";
	int pid;

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return false;
	pid = atoi(text);
	return pid > 0 && (kill(pid, 0) == 0 || errno != ESRCH);
}

/* The lock of a busd that was killed is waited for. */
static int take_lock(int fd)
{
	uint64_t until_ns = bus_monotonic_ns() + DYING_NS;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return -errno;
		if (owner_lives(fd) || bus_monotonic_ns() >= until_ns)
			return -EWOULDBLOCK;
		usleep(DYING_LOOK_US);
	}
	return 0;
}

int listener_lock(struct busd *busd, struct why *why)
{
	char lock[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
	int fd, rc;

	if (strlen(busd->socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return because(why, ENAMETOOLONG, "the socket's path is longer than %zu bytes: %s",
			       sizeof(((struct sockaddr_un *)0)->sun_path) - 1, busd->socket_path);
	rc = make_directory(busd->socket_path, busd->config, why);
	if (rc < 0)
		return rc;
	snprintf(lock, sizeof(lock), "%s.lock", busd->socket_path);
	fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return because(why, errno, "cannot open %s: %s", lock, strerror(errno));
	rc = take_lock(fd);
	if (rc < 0) {
		rc = rc == -EWOULDBLOCK
			     ? lock_held(fd, busd->socket_path, why)
			     : because(why, -rc, "cannot lock %s: %s", lock, strerror(-rc));
		close(fd);
		return rc;
	}
	if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)
		log_warning("cannot write %s: %s", lock, strerror(errno));
	busd->lock_fd = fd;
	return 0;
}

int listener_owner(const struct busd *busd)
{
	char lock[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
	int pid = 0;
	FILE *file;

	snprintf(lock, sizeof(lock), "%s.lock", busd->socket_path);
	file = fopen(lock, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%d", &pid) != 1)
		pid = 0;
	fclose(file);
	return pid;
}

static void open_reserve(struct busd *busd)
{
	int i;

	for (i = 0; i < BUSD_RESERVE_FDS; i++)
		if (busd->reserve_fds[i] < 0)
			busd->reserve_fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void close_reserve(struct busd *busd)
{
	int i;

	for (i = 0; i < BUSD_RESERVE_FDS; i++) {
		if (busd->reserve_fds[i] >= 0)
			close(busd->reserve_fds[i]);
		busd->reserve_fds[i] = -1;
	}
}

/* Not for each of thousands. */
static void say_refused(void)
{
	static uint64_t said_ns;
	uint64_t now_ns = bus_monotonic_ns();

	if (said_ns && now_ns - said_ns < SAY_AGAIN_NS)
		return;
	said_ns = now_ns;
	log_error("connections are refused: no descriptor left (raise LimitNOFILE)");
}

/*
 * No descriptor left: takes one connection by means of the reserve, tells it so, and lets it go.
 * Where even that fails the machine is short of them, or the limit was lowered: nobody is called
 * before a moment has passed.
 */
static bool turn_away(struct busd *busd)
{
	struct ctl_error msg = {
		.head = { .magic = CTL_MAGIC,
			  .type = CTL_ERROR,
			  .version = CTL_VERSION,
			  .len = sizeof(msg) },
		.error = EDQUOT, /* ours, see client.c */
		.why = "busd has no descriptor left for one more connection; close some, or raise its LimitNOFILE"
	};
	int fd;

	close_reserve(busd);
	fd = accept4(busd->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0) {
		if (send(fd, &msg, sizeof(msg), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			log_debug("a refusal could not be sent: %s", strerror(errno));
		close(fd);
		say_refused();
	} else if (errno == EMFILE || errno == ENFILE) {
		say_refused();
		server_watch_events(busd, &busd->listener, 0);
		server_set_deadline(busd, TIMER_ACCEPT, bus_monotonic_ns() + ACCEPT_AGAIN_NS);
	}
	open_reserve(busd);
	return fd >= 0;
}

/* How many were taken. */
static int accept_some(struct busd *busd)
{
	int count = 0;

	while (count < ACCEPT_BATCH) {
		int fd = accept4(busd->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
			if (!turn_away(busd))
				break;
		} else if (fd < 0) {
			break;
		} else {
			client_accept(busd, fd);
		}
		count++;
	}
	return count;
}

static void connections_wait(struct busd *busd, struct watch *watch, uint32_t events)
{
	(void)watch;
	(void)events;
	open_reserve(busd); /* where it could not be had the last time */
	accept_some(busd);
}

void listener_resume(struct busd *busd)
{
	server_watch_events(busd, &busd->listener, EPOLLIN);
}

/* Whether somebody, of whatever kind, listens there. */
static bool is_listening(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool there;

	there = fd >= 0 && (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
			    errno == EAGAIN || errno == EPROTOTYPE);
	if (fd >= 0)
		close(fd);
	return there;
}

static bool goes_on_listening(const struct sockaddr_un *addr)
{
	uint64_t until_ns = bus_monotonic_ns() + DYING_NS;

	while (is_listening(addr)) {
		if (bus_monotonic_ns() >= until_ns)
			return true;
		usleep(DYING_LOOK_US);
	}
	return false;
}

/*
 * What a busd that died left there, and nothing else: a path may be mistyped. A busd that listens
 * though we got its lock has lost the file, to something that clears directories of old files.
 */
static int remove_old_socket(const struct sockaddr_un *addr, struct why *why)
{
	const char *path = addr->sun_path;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT
			       ? 0
			       : because(why, errno, "cannot look at %s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return because(why, ENOTSOCK,
			       "%s is there and no socket; choose another path by --socket", path);
	if (goes_on_listening(addr))
		return because(why, EEXIST,
			       "somebody listens at %s already; choose another path by --socket",
			       path);
	if (unlink(path) < 0 && errno != ENOENT)
		return because(why, errno, "cannot remove the old socket %s: %s", path,
			       strerror(errno));
	return 0;
}

static int bind_and_listen(const struct busd *busd, int fd, struct why *why)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *path = busd->socket_path;
	mode_t mask;
	int rc;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	rc = remove_old_socket(&addr, why);
	if (rc < 0)
		return rc;
	mask = umask(0777); /* nobody gets in before the mode is right */
	rc = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	umask(mask);
	if (rc < 0)
		return because(why, errno, "cannot make the socket %s: %s", path, strerror(errno));
	if (listen(fd, SOMAXCONN) < 0)
		return because(why, errno, "cannot listen at %s: %s", path, strerror(errno));
	if (busd->config->socket_group != (gid_t)-1 &&
	    chown(path, (uid_t)-1, busd->config->socket_group) < 0)
		return because(why, errno, "cannot give %s to group %u: %s", path,
			       busd->config->socket_group, strerror(errno));
	if (chmod(path, busd->config->socket_mode) < 0)
		return because(why, errno, "cannot set the mode of %s: %s", path, strerror(errno));
	return 0;
}

int listener_make(const struct busd *busd, struct why *why)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc;

	if (fd < 0)
		return because(why, errno, "cannot make a socket: %s", strerror(errno));
	rc = bind_and_listen(busd, fd, why);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

int listener_serve(struct busd *busd, int fd, struct why *why)
{
	int rc, i;

	for (i = 0; i < BUSD_RESERVE_FDS; i++)
		busd->reserve_fds[i] = -1;
	open_reserve(busd);
	busd->listener.ready = connections_wait;
	rc = server_watch(busd, &busd->listener, fd, EPOLLIN);
	if (rc < 0)
		return because(why, -rc, "cannot watch the socket: %s", strerror(-rc));
	return 0;
}

void listener_close(struct busd *busd)
{
	if (busd->listener.fd >= 0 && unlink(busd->socket_path) < 0 && errno != ENOENT)
		log_warning("cannot remove %s: %s", busd->socket_path, strerror(errno));
	server_unwatch(busd, &busd->listener);
}

bool listener_try_leave(struct busd *busd)
{
	struct why why;
	int taken, fd;

	if (unlink(busd->socket_path) < 0 && errno != ENOENT)
		return false;
	/* who found the path a moment ago is refused from here on, or is in the queue already */
	shutdown(busd->listener.fd, SHUT_RDWR);
	taken = accept_some(busd);
	server_unwatch(busd, &busd->listener);
	if (taken == 0)
		return true;
	close_reserve(busd);
	fd = listener_make(busd, &why);
	if (fd >= 0)
		keep_hold(KEEP_LISTENER, fd);
	if (fd < 0 || listener_serve(busd, fd, &why) < 0) {
		log_error("%s", why.text);
		return busd->client_count == 0;
	}
	return false;
}
