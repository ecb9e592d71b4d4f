// shim.c: an LD_PRELOAD library that records, and on demand fails, the calls
// by which a program changes the files of one folder.
//
//   GARDIEN_TRACE_DIR    the folder; only calls on files below it are touched
//   GARDIEN_TRACE_LOG    the log; appended to; must lie outside the folder
//   GARDIEN_FAULT_FILE   while this file exists, calls fail as its text says:
//                        "op:ERRNO:n[:once|:sticky]": the n-th call of that op
//                        since the text was new (and, sticky, which is the
//                        default, every later one) fails with ERRNO and is not
//                        performed.  op is open, write, truncate, fsync,
//                        unlink, rename, or any.  When a call has failed, the
//                        file's name with ".fired" exists.
//
// Every record is one write(2) with O_APPEND, made after the call succeeded
// and under the lock that the call itself was made under: the log's order is
// the true order, and it survives SIGKILL.  If anything goes wrong with the
// log, the program is aborted: a log with holes would prove nothing.
//
// Only libc's symbols are interposed: what the Go runtime does itself
// (os.File.Write ...) is not seen, nor are calls of a statically linked
// program.  Not interposed: writev, pwritev, fallocate, writable shared
// mappings, dup, truncate by path, link.  SQLite needs none of them for its
// durable files; the tests compare the replayed final state with the real
// folder, which would show it if it did.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define MAX_FD 4096

// The log's format; ../log.go has its like.
enum { OP_OPEN = 1, OP_CLOSE, OP_WRITE, OP_TRUNCATE, OP_SYNC, OP_UNLINK, OP_RENAME, OP_ACK, OP_FAULT };
enum { F_CREATED = 1, F_TRUNCATED = 2, F_DIRECTORY = 4 };
struct record {
	uint32_t magic, pid;
	int32_t fd;
	uint8_t op, flags;
	uint16_t path_len;
	int64_t off;       // open: size; write: offset; truncate: size; fault: errno | op << 32
	uint64_t data_len; // path and data follow
};
_Static_assert(sizeof(struct record) == 32 && sizeof(off_t) == 8, "layout");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char dir[PATH_MAX];  // canonical, no slash at its end; empty: trace nothing
static char *tracked[MAX_FD]; // relative path by descriptor; NULL: not ours
static int log_fd = -1;

static const char *fault_file;
static struct { char spec[64]; int op, err, sticky, fired; long n, seen; } fault;
static const char *const op_names[] = { [OP_OPEN] = "open", [OP_WRITE] = "write", [OP_TRUNCATE] = "truncate",
	[OP_SYNC] = "fsync", [OP_UNLINK] = "unlink", [OP_RENAME] = "rename", [OP_CLOSE] = "any" };
static const struct { const char *name; int err; } errnos[] = { { "EIO", EIO }, { "ENOSPC", ENOSPC },
	{ "EROFS", EROFS }, { "EDQUOT", EDQUOT }, { "EACCES", EACCES }, { "EMFILE", EMFILE }, { "EINTR", EINTR } };

static void die(const char *why) {
	if (write(2, "shim: ", 6) + write(2, why, strlen(why)) + write(2, "\n", 1) > 0) abort();
	abort();
}

static void emit(int op, int flags, int fd, const char *path, int64_t off, const void *data, size_t n) {
	struct record r = { 0x50574354, (uint32_t)getpid(), fd, op, flags, strlen(path), off, n };
	struct iovec v[] = { { &r, sizeof r }, { (void *)path, r.path_len }, { (void *)data, n } };
	int saved = errno;
	if (syscall(SYS_writev, log_fd, v, 3) != (long)(sizeof r + r.path_len + n)) die("cannot write the log");
	errno = saved;
}

// read_fault takes in what the fault file says now; a new text starts anew.
static void read_fault(void) {
	char spec[sizeof fault.spec] = "", op[16], err[16], how[16] = "sticky";
	int fd = syscall(SYS_openat, AT_FDCWD, fault_file, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (syscall(SYS_read, fd, spec, sizeof spec - 1) < 0) die("cannot read the fault file");
		syscall(SYS_close, fd);
	}
	if (!strcmp(spec, fault.spec)) return;
	memset(&fault, 0, sizeof fault);
	strcpy(fault.spec, spec);
	if (!*spec) return;
	if (sscanf(spec, "%15[^:]:%15[^:]:%ld:%15s", op, err, &fault.n, how) < 3 || fault.n < 1) die("what is in the fault file?");
	for (size_t i = 1; i < sizeof op_names / sizeof *op_names; i++)
		if (op_names[i] && !strcmp(op, op_names[i])) fault.op = i;
	for (size_t i = 0; i < sizeof errnos / sizeof *errnos; i++)
		if (!strcmp(err, errnos[i].name)) fault.err = errnos[i].err;
	fault.sticky = !strcmp(how, "sticky");
	if (!fault.op || !fault.err || (!fault.sticky && strcmp(how, "once"))) die("what is in the fault file?");
}

static void note_fired(void) {
	char name[PATH_MAX];
	snprintf(name, sizeof name, "%s.fired", fault_file);
	int fd = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0) syscall(SYS_close, fd);
}

__attribute__((constructor)) static void init(void) {
	const char *d = getenv("GARDIEN_TRACE_DIR"), *l = getenv("GARDIEN_TRACE_LOG");
	if (!d || !*d) return;
	if (!realpath(d, dir) || !l) die("GARDIEN_TRACE_DIR or GARDIEN_TRACE_LOG?");
	int fd = syscall(SYS_openat, AT_FDCWD, l, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	// Out of the way of programs that count on low descriptors.
	if (fd < 0 || (log_fd = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 900)) < 0) die("cannot open the log");
	syscall(SYS_close, fd);
	fault_file = getenv("GARDIEN_FAULT_FILE");
	if (fault_file && !*fault_file) fault_file = NULL;
}

// ours writes the absolute path into abs and returns the path relative to the
// traced folder ("." for itself), or NULL if it lies outside.  Symbolic links
// below the folder are not resolved; SQLite resolves them before it opens.
static const char *ours(int at, const char *path, char abs[2 * PATH_MAX]) {
	if (!*dir || !path) return NULL;
	size_t n = 0;
	if (*path != '/') {
		char link[64];
		snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
		ssize_t got = syscall(SYS_readlinkat, AT_FDCWD, link, abs, PATH_MAX);
		if (got <= 0) return NULL;
		abs[n = got] = '/', n++;
	}
	snprintf(abs + n, PATH_MAX, "%s", path);
	n = strlen(dir);
	if (strncmp(abs, dir, n) || (abs[n] && abs[n] != '/')) return NULL;
	return abs[n] && abs[n + 1] ? abs + n + 1 : ".";
}

static const char *by_fd(int fd) { return *dir && fd >= 0 && fd < MAX_FD ? tracked[fd] : NULL; }

// fails says whether this call is to fail, and if so sets errno and logs it.
static int fails(int op, int fd, const char *path) {
	if (!fault.op || (fault.op != op && fault.op != OP_CLOSE /* any */) || !strcmp(path, "acks")) return 0;
	if (++fault.seen < fault.n || (fault.fired && !fault.sticky)) return 0;
	if (!fault.fired) note_fired();
	fault.fired = 1;
	emit(OP_FAULT, 0, fd, path, fault.err | (int64_t)op << 32, NULL, 0);
	errno = fault.err;
	return 1;
}

// plausible takes in the fault file and says whether a disk in that state
// fails this kind of call at all: a full disk opens and removes files, a read-only one reads.
static int plausible(int op, int flags, int exists) {
	if (fault_file) read_fault();
	if (fault.op != OP_CLOSE || op == OP_WRITE || op == OP_TRUNCATE || op == OP_SYNC) return 1;
	if (fault.err == ENOSPC || fault.err == EDQUOT) return op == OP_OPEN && (flags & O_CREAT) && !exists;
	if (fault.err == EROFS && op == OP_OPEN) return (flags & O_ACCMODE) != O_RDONLY || ((flags & O_CREAT) && !exists);
	return 1;
}

static int do_open(int at, const char *path, int flags, mode_t mode) {
	char abs[2 * PATH_MAX];
	struct stat st;
	const char *rel = ours(at, path, abs);
	if (!rel) return syscall(SYS_openat, at, path, flags, mode);
	pthread_mutex_lock(&lock);
	int exists = syscall(SYS_newfstatat, AT_FDCWD, abs, &st, 0) == 0, fd = -1;
	if (!plausible(OP_OPEN, flags, exists) || !fails(OP_OPEN, -1, rel)) fd = syscall(SYS_openat, at, path, flags, mode);
	if (fd >= MAX_FD) die("descriptor too high");
	if (fd >= 0) {
		free(tracked[fd]);
		if (!(tracked[fd] = strdup(rel))) die("out of memory");
		emit(OP_OPEN, (exists ? 0 : F_CREATED) | ((flags & O_TRUNC) ? F_TRUNCATED : 0)
			| ((exists && S_ISDIR(st.st_mode)) ? F_DIRECTORY : 0), fd, rel, exists ? st.st_size : 0, NULL, 0);
	}
	pthread_mutex_unlock(&lock);
	return fd;
}

#define MODE_ARG(flags) ({ mode_t m = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { \
	va_list ap; va_start(ap, flags); m = va_arg(ap, mode_t); va_end(ap); } m; })
EXPORT int open(const char *path, int flags, ...) { return do_open(AT_FDCWD, path, flags, MODE_ARG(flags)); }
EXPORT int open64(const char *path, int flags, ...) { return do_open(AT_FDCWD, path, flags, MODE_ARG(flags)); }
EXPORT int openat(int at, const char *path, int flags, ...) { return do_open(at, path, flags, MODE_ARG(flags)); }
EXPORT int openat64(int at, const char *path, int flags, ...) { return do_open(at, path, flags, MODE_ARG(flags)); }

// TRACED makes CALL, which sets rc; for a file of ours, under the lock, unless
// it is to fail, and followed by LOG if it succeeded.
#define TRACED(type, op, fd, path, possible, CALL, LOG) \
	const char *rel_ = (path); \
	type rc = -1; \
	if (!rel_) { CALL; return rc; } \
	pthread_mutex_lock(&lock); \
	if (!(possible) || !fails(op, fd, rel_)) { CALL; if (rc >= 0) { LOG; } } \
	pthread_mutex_unlock(&lock); \
	return rc

EXPORT int close(int fd) {
	const char *rel = by_fd(fd);
	if (!rel) return syscall(SYS_close, fd);
	pthread_mutex_lock(&lock);
	emit(OP_CLOSE, 0, fd, rel, 0, NULL, 0); // never fails, and frees the descriptor in any case
	free(tracked[fd]);
	tracked[fd] = NULL;
	int rc = syscall(SYS_close, fd);
	pthread_mutex_unlock(&lock);
	return rc;
}

EXPORT ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t off) {
	TRACED(ssize_t, OP_WRITE, fd, by_fd(fd), plausible(OP_WRITE, 0, 1), rc = syscall(SYS_pwrite64, fd, buf, n, off),
		emit(OP_WRITE, 0, fd, rel_, off, buf, rc));
}
EXPORT ssize_t pwrite(int fd, const void *buf, size_t n, off_t off) { return pwrite64(fd, buf, n, off); }

EXPORT ssize_t write(int fd, const void *buf, size_t n) {
	// The offset is read back afterwards, which is right for O_APPEND too.
	TRACED(ssize_t, OP_WRITE, fd, by_fd(fd), plausible(OP_WRITE, 0, 1), rc = syscall(SYS_write, fd, buf, n),
		emit(strcmp(rel_, "acks") ? OP_WRITE : OP_ACK, 0, fd, rel_, syscall(SYS_lseek, fd, 0, SEEK_CUR) - rc, buf, rc));
}

EXPORT int ftruncate64(int fd, off64_t size) {
	TRACED(int, OP_TRUNCATE, fd, by_fd(fd), plausible(OP_TRUNCATE, 0, 1), rc = syscall(SYS_ftruncate, fd, size),
		emit(OP_TRUNCATE, 0, fd, rel_, size, NULL, 0));
}
EXPORT int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

EXPORT int fsync(int fd) {
	TRACED(int, OP_SYNC, fd, by_fd(fd), plausible(OP_SYNC, 0, 1), rc = syscall(SYS_fsync, fd), emit(OP_SYNC, 0, fd, rel_, 0, NULL, 0));
}
EXPORT int fdatasync(int fd) {
	TRACED(int, OP_SYNC, fd, by_fd(fd), plausible(OP_SYNC, 0, 1), rc = syscall(SYS_fdatasync, fd), emit(OP_SYNC, 0, fd, rel_, 0, NULL, 0));
}

EXPORT int unlinkat(int at, const char *path, int flags) {
	char abs[2 * PATH_MAX];
	TRACED(int, OP_UNLINK, -1, flags ? NULL : ours(at, path, abs), plausible(OP_UNLINK, 0, 1),
		rc = syscall(SYS_unlinkat, at, path, flags), emit(OP_UNLINK, 0, -1, rel_, 0, NULL, 0));
}
EXPORT int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

EXPORT int renameat(int at, const char *from, int to_at, const char *to) {
	char abs[2 * PATH_MAX], to_abs[2 * PATH_MAX];
	const char *to_rel = ours(to_at, to, to_abs), *from_rel = ours(at, from, abs);
	if (*dir && !to_rel != !from_rel) die("rename across the edge of the traced folder");
	TRACED(int, OP_RENAME, -1, from_rel, plausible(OP_RENAME, 0, 1), rc = syscall(SYS_renameat, at, from, to_at, to),
		emit(OP_RENAME, 0, -1, rel_, 0, to_rel, strlen(to_rel)));
}
EXPORT int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }
