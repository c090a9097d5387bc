/* SPDX-License-Identifier: Apache-2.0 */
/* proto_rig.c - see proto_rig.h */
#include "lib/proto_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MS 20000

/* ---- busd */

static int write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");
	int rc;

	if (file == NULL)
		return -errno;
	fputs(text, file);
	rc = ferror(file) ? -EIO : 0;
	return fclose(file) == 0 ? rc : -errno;
}

static void run_busd(const struct proto_busd *busd, const char *config, unsigned files)
{
	const char *build = getenv("BUS_BUILD");
	char program[4096];
	int fd = open(busd->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (files) {
		struct rlimit limit = { files, files };

		setrlimit(RLIMIT_NOFILE, &limit);
	}
	dup2(fd, 2);
	snprintf(program, sizeof(program), "%s/busd", build ? build : "build");
	if (config)
		execl(program, "busd", "--foreground", "--socket", busd->path, "--config", config,
		      (char *)NULL);
	else
		execl(program, "busd", "--foreground", "--socket", busd->path, (char *)NULL);
	_exit(127);
}

int proto_busd_start(struct proto_busd *busd, const char *config, unsigned files)
{
	char config_path[128];

	memset(busd, 0, sizeof(*busd));
	snprintf(busd->dir, sizeof(busd->dir), "/tmp/busd-test.XXXXXX");
	if (mkdtemp(busd->dir) == NULL)
		return -errno;
	snprintf(busd->path, sizeof(busd->path), "%s/bus.sock", busd->dir);
	snprintf(busd->log, sizeof(busd->log), "%s/log", busd->dir);
	snprintf(config_path, sizeof(config_path), "%s/busd.yaml", busd->dir);
	if (config && write_file(config_path, config) < 0)
		return -EIO;
	busd->pid = fork();
	if (busd->pid == 0)
		run_busd(busd, config ? config_path : NULL, files);
	if (busd->pid < 0)
		return -errno;
	for (int i = 0; i < 2000; i++) {
		int fd = proto_dial(busd->path);

		if (fd >= 0) {
			close(fd);
			return 0;
		}
		if (waitpid(busd->pid, NULL, WNOHANG) == busd->pid)
			return -ECHILD;
		usleep(5000);
	}
	return -ETIMEDOUT;
}

int proto_busd_stop(struct proto_busd *busd)
{
	static const char *const names[] = { "bus.sock", "bus.sock.lock", "log", "busd.yaml" };
	char path[192];
	int status = -1;

	if (kill(busd->pid, SIGTERM) < 0)
		return -errno;
	while (waitpid(busd->pid, &status, 0) < 0 && errno == EINTR)
		;
	for (unsigned i = 0; i < BUS_ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", busd->dir, names[i]);
		unlink(path);
	}
	rmdir(busd->dir);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

pid_t proto_busd_worker(const struct proto_busd *busd)
{
	char path[64];
	int pid = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)busd->pid, (int)busd->pid);
	file = fopen(path, "re");
	if (file == NULL)
		return 0;
	if (fscanf(file, "%d", &pid) != 1)
		pid = 0;
	fclose(file);
	return pid;
}

bool proto_busd_logged(const struct proto_busd *busd, const char *text)
{
	char line[2048];
	bool found = false;
	FILE *file = fopen(busd->log, "re");

	while (file && !found && fgets(line, sizeof(line), file))
		found = strstr(line, text) != NULL;
	if (file)
		fclose(file);
	return found;
}

/* ---- packets */

int proto_dial(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		int error = errno;

		close(fd);
		return -error;
	}
	return fd;
}

int proto_send(int fd, const void *bytes, size_t len)
{
	return send(fd, bytes, len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static ssize_t receive(int fd, struct proto_msg *msg)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(CTL_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = msg->bytes, .iov_len = sizeof(msg->bytes) };
	struct msghdr in = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control) };
	const struct cmsghdr *part;

	msg->fd_count = 0;
	msg->len = recvmsg(fd, &in, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (msg->len < 0)
		return -errno;
	part = CMSG_FIRSTHDR(&in);
	if (part && part->cmsg_type == SCM_RIGHTS) {
		msg->fd_count = (int)((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(msg->fds, CMSG_DATA(part), (size_t)msg->fd_count * sizeof(int));
	}
	return msg->len;
}

int proto_take(int fd, struct proto_msg *msg, int timeout_ms)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t len = receive(fd, msg);

		if (len > 0)
			return 1;
		if (len == -ECONNRESET) /* said first; what was sent before comes after it */
			continue;
		if (len != -EAGAIN)
			return -1;
		if (poll(&p, 1, timeout_ms) == 0)
			return 0;
	}
}

void proto_close_fds(struct proto_msg *msg)
{
	while (msg->fd_count > 0)
		close(msg->fds[--msg->fd_count]);
}

/* ---- requests */

int proto_ask(struct proto_client *client, void *request, struct proto_msg *answer)
{
	struct ctl_head *head = request;
	int rc;

	head->req = ++client->req;
	rc = proto_send(client->ctl, request, head->len);
	/* a refusal may be there, and the connection gone, before the first word */
	if (rc < 0 && rc != -EPIPE && rc != -ECONNRESET)
		return rc;
	rc = proto_take(client->ctl, answer, ANSWER_MS);
	if (rc <= 0)
		return rc < 0 ? -EPIPE : -ETIMEDOUT;
	if (answer->head.type == CTL_ERROR) {
		snprintf(client->why, sizeof(client->why), "%s", answer->error.why);
		return -answer->error.error;
	}
	if (answer->head.type != (CTL_REPLY | head->type) || answer->head.req != head->req ||
	    (size_t)answer->len != answer->head.len)
		return -EPROTO;
	return 0;
}

int proto_attach(struct proto_client *client)
{
	struct ctl_head attach = PROTO_HEAD(CTL_ATTACH, sizeof(attach));
	struct proto_msg answer;

	if (client->bell_fd >= 0)
		close(client->bell_fd);
	client->bell_fd = -1;
	return proto_ask(client, &attach, &answer);
}

int proto_greet(struct proto_client *client, const char *path, const char *name, bool attach)
{
	struct ctl_hello hello = { .head = PROTO_HEAD(CTL_HELLO, sizeof(hello)), .node = -1 };
	struct proto_msg answer;
	int rc;

	memset(client, 0, sizeof(*client));
	client->ev = client->bell_fd = -1;
	hello.head.magic = CTL_MAGIC;
	snprintf(hello.name, sizeof(hello.name), "%s", name);
	client->ctl = proto_dial(path);
	if (client->ctl < 0)
		return client->ctl;
	rc = proto_ask(client, &hello, &answer);
	if (rc < 0)
		return rc;
	if (answer.fd_count != 3)
		return -EPROTO;
	client->hello = answer.hello;
	client->ev = answer.fds[0];
	client->busd_bell =
		mmap(NULL, sizeof(struct bell_page), PROT_READ, MAP_SHARED, answer.fds[1], 0);
	close(answer.fds[1]);
	client->bell_fd = answer.fds[2];
	if (client->busd_bell == MAP_FAILED)
		return -ENOMEM;
	return attach ? proto_attach(client) : 0;
}

void proto_leave(struct proto_client *client)
{
	close(client->ctl);
	if (client->ev >= 0)
		close(client->ev);
	if (client->bell_fd >= 0)
		close(client->bell_fd);
	if (client->busd_bell && client->busd_bell != MAP_FAILED)
		munmap(client->busd_bell, sizeof(struct bell_page));
}

int proto_event(struct proto_client *client, uint16_t type, struct proto_msg *msg, int timeout_ms)
{
	for (;;) {
		int rc = proto_take(client->ev, msg, timeout_ms);

		if (rc <= 0 || msg->head.type == type)
			return rc;
		proto_close_fds(msg);
	}
}

/* ---- publishers */

int proto_pub_ready(struct proto_client *client, struct proto_pub *pub)
{
	struct ctl_pub_ready ready = { .head = PROTO_HEAD(CTL_PUB_READY, sizeof(ready)),
				       .pub_id = pub->reply.pub_id,
				       .ring_id = pub->reply.ring_id };
	struct proto_msg answer;
	int rc;

	if (pub->fd >= 0)
		close(pub->fd);
	pub->fd = -1;
	rc = proto_ask(client, &ready, &answer);
	pub->number = rc < 0 ? 0 : answer.ready.number;
	return rc;
}

int proto_pub_open(struct proto_client *client, const char *topic, uint64_t bytes, bool only_open,
		   struct proto_pub *ret)
{
	struct ctl_pub_open open = { .head = PROTO_HEAD(CTL_PUB_OPEN, sizeof(open)), .node = -1 };
	struct proto_msg answer;
	int rc;

	open.settings.bytes = bytes;
	snprintf(open.topic, sizeof(open.topic), "%s", topic);
	snprintf(open.name, sizeof(open.name), "pub");
	memset(ret, 0, sizeof(*ret));
	ret->fd = -1;
	rc = proto_ask(client, &open, &answer);
	if (rc < 0)
		return rc;
	if (answer.fd_count != 1)
		return -EPROTO;
	ret->reply = answer.pub;
	ret->fd = answer.fds[0];
	ret->page = mmap(NULL, ret->reply.geometry.slots_off, PROT_READ | PROT_WRITE, MAP_SHARED,
			 ret->fd, 0);
	if (ret->page == MAP_FAILED)
		return -ENOMEM;
	return only_open ? 0 : proto_pub_ready(client, ret);
}

int proto_pub_close(struct proto_client *client, struct proto_pub *pub)
{
	struct ctl_pub_close close = { .head = PROTO_HEAD(CTL_PUB_CLOSE, sizeof(close)),
				       .pub_id = pub->reply.pub_id };
	struct proto_msg answer;

	munmap(pub->page, pub->reply.geometry.slots_off);
	return proto_ask(client, &close, &answer);
}

void proto_pub_publish(struct proto_pub *pub, uint64_t count)
{
	bus_store_release(&pub->page->head, bus_load_relaxed(&pub->page->head) + count);
}

/* ---- subscriptions */

int proto_sub_join(struct proto_client *client, struct proto_sub *sub)
{
	struct ctl_sub_join join = { .head = PROTO_HEAD(CTL_SUB_JOIN, sizeof(join)),
				     .sub_id = sub->reply.sub_id };
	struct proto_msg answer;

	if (sub->fd >= 0)
		close(sub->fd);
	sub->fd = -1;
	return proto_ask(client, &join, &answer);
}

int proto_sub_open(struct proto_client *client, const char *pattern, uint32_t flags, uint32_t start,
		   bool only_open, struct proto_sub *ret)
{
	struct ctl_sub_open open = { .head = PROTO_HEAD(CTL_SUB_OPEN, sizeof(open)),
				     .flags = flags,
				     .start = start,
				     .node = -1 };
	struct proto_msg answer;
	int rc;

	snprintf(open.pattern, sizeof(open.pattern), "%s", pattern);
	snprintf(open.name, sizeof(open.name), "sub");
	memset(ret, 0, sizeof(*ret));
	ret->fd = -1;
	rc = proto_ask(client, &open, &answer);
	if (rc < 0)
		return rc;
	if (answer.fd_count != 1)
		return -EPROTO;
	ret->reply = answer.sub;
	ret->fd = answer.fds[0];
	ret->cursors = mmap(NULL, ret->reply.size, PROT_READ | PROT_WRITE, MAP_SHARED, ret->fd, 0);
	if (ret->cursors == MAP_FAILED)
		return -ENOMEM;
	return only_open ? 0 : proto_sub_join(client, ret);
}

int proto_sub_close(struct proto_client *client, struct proto_sub *sub)
{
	struct ctl_sub_close close = { .head = PROTO_HEAD(CTL_SUB_CLOSE, sizeof(close)),
				       .sub_id = sub->reply.sub_id };
	struct proto_msg answer;

	munmap(sub->cursors, sub->reply.size);
	return proto_ask(client, &close, &answer);
}
