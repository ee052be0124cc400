// A program for WASI that does what the lines of its standard input say, and prints what came of each: tests
// run it on every engine, and compare what it prints with what it prints elsewhere.
//
//     args | env NAME | out TEXT | err TEXT | entropy | clock | sleep MICROSECONDS | exit STATUS | abort
//     cat PATH | put PATH TEXT | excl PATH TEXT | append PATH TEXT | pread PATH OFFSET SIZE
//     pwrite PATH OFFSET TEXT | truncate PATH SIZE | ls PATH | stat PATH | lstat PATH | touch PATH SECONDS
//     mkdir PATH | rmdir PATH | rm PATH | mv OLD NEW | ln OLD NEW | symlink TARGET PATH | readlink PATH |
//     many PATH

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char text[1 << 16];

static int failed(const char *what)
{
    printf("%s: errno %d\n", what, errno);
    return -1;
}

static void show(const char *what, int result)
{
    if (result < 0) {
        failed(what);
    } else {
        printf("%s: ok\n", what);
    }
}

static void put(const char *path, int flags, const char *data)
{
    int fd = open(path, flags, 0666);
    if (fd < 0) {
        failed("open");
        return;
    }
    ssize_t written = write(fd, data, strlen(data));
    if (written < 0) {
        failed("write");
    } else {
        printf("written: %zd\n", written);
    }
    show("close", close(fd));
}

static void cat(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        failed("open");
        return;
    }
    for (;;) {
        ssize_t size = read(fd, text, sizeof text);
        if (size < 0) {
            failed("read");
        }
        if (size <= 0) {
            break;
        }
        printf("read %zd: %.*s\n", size, (int)(size < 60 ? size : 60), text);
    }
    close(fd);
}

static void list(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory) {
        failed("opendir");
        return;
    }
    struct dirent *names[100];
    int count = 0;
    errno = 0;
    for (struct dirent *entry; (entry = readdir(directory)) && count < 100;) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) {
            continue;
        }
        names[count] = malloc(sizeof *entry + strlen(entry->d_name) + 1);
        names[count]->d_type = entry->d_type;
        strcpy(names[count++]->d_name, entry->d_name);
    }
    if (errno) {
        failed("readdir");
    }
    closedir(directory);
    for (int i = 0; i < count; i++) { // hosts differ in their order
        for (int k = i + 1; k < count; k++) {
            if (strcmp(names[i]->d_name, names[k]->d_name) > 0) {
                struct dirent *other = names[i];
                names[i] = names[k];
                names[k] = other;
            }
        }
    }
    for (int i = 0; i < count; i++) {
        printf("entry %s of type %d\n", names[i]->d_name, names[i]->d_type);
    }
}

static void status(const char *path, int follow)
{
    struct stat found;
    if ((follow ? stat(path, &found) : lstat(path, &found)) < 0) {
        failed("stat");
        return;
    }
    int directory = S_ISDIR(found.st_mode);
    printf("stat: mode %o, size %lld, modified %lld\n", (unsigned)(found.st_mode & S_IFMT),
           directory ? 0 : (long long)found.st_size,
           found.st_mtime < 1000000 ? (long long)found.st_mtime : -1);
}

static void touch(const char *path, long seconds)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds}};
    show("utimensat", utimensat(AT_FDCWD, path, times, 0));
}

static void many(const char *path)
{
    int count = 0;
    while (count < 1000 && open(path, O_RDONLY) >= 0) {
        count++;
    }
    printf("opened %d, errno %d\n", count, errno);
}

int main(int argc, char **argv)
{
    static char line[1 << 16];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        printf("> %s\n", line);
        char *command = strtok(line, " "), *a = strtok(NULL, " "), *b = strtok(NULL, " "),
             *c = strtok(NULL, "");
        if (!command) {
            continue;
        }
        a = a ? a : "";
        b = b ? b : "";
        c = c ? c : "";
#define IS(name) (!strcmp(command, name))
        if (IS("args")) {
            for (int i = 0; i < argc; i++) {
                printf("%d: %s\n", i, argv[i]);
            }
        } else if (IS("env")) {
            printf("%s\n", getenv(a) ? getenv(a) : "(none)");
        } else if (IS("out")) {
            printf("%s\n", a);
        } else if (IS("err")) {
            fprintf(stderr, "%s\n", a);
        } else if (IS("fill")) {
            for (long left = atol(a); left > 0; left--) {
                putchar('x');
            }
        } else if (IS("entropy")) {
            unsigned long long number = 0;
            show("getentropy", getentropy(&number, sizeof number));
            printf("%llx\n", number);
        } else if (IS("clock")) {
            struct timespec wall, monotonic;
            clock_gettime(CLOCK_REALTIME, &wall);
            clock_gettime(CLOCK_MONOTONIC, &monotonic);
            printf("%lld %ld, %lld %ld\n", (long long)wall.tv_sec, wall.tv_nsec, (long long)monotonic.tv_sec,
                   monotonic.tv_nsec);
        } else if (IS("sleep")) {
            show("nanosleep", nanosleep(&(struct timespec){.tv_sec = atol(a) / 1000000,
                                                           .tv_nsec = atol(a) % 1000000 * 1000},
                                        NULL));
        } else if (IS("exit")) {
            exit(atoi(a));
        } else if (IS("abort")) {
            abort();
        } else if (IS("cat")) {
            cat(a);
        } else if (IS("put")) {
            put(a, O_WRONLY | O_CREAT | O_TRUNC, b);
        } else if (IS("excl")) {
            put(a, O_WRONLY | O_CREAT | O_EXCL, b);
        } else if (IS("append")) {
            put(a, O_WRONLY | O_APPEND, b);
        } else if (IS("pread") || IS("pwrite")) {
            int reads = IS("pread"), fd = open(a, reads ? O_RDONLY : O_RDWR);
            if (fd < 0) {
                failed("open");
                continue;
            }
            long offset = atol(b), size = reads ? atol(c) : (long)strlen(c);
            ssize_t done = reads ? pread(fd, text, size, offset) : pwrite(fd, c, size, offset);
            if (done < 0) {
                failed(command);
            } else {
                printf("%s %zd: %.*s\n", command, done, reads ? (int)done : 0, text);
            }
            close(fd);
        } else if (IS("truncate")) {
            int fd = open(a, O_RDWR);
            show("ftruncate", fd < 0 ? fd : ftruncate(fd, atoll(b)));
            if (fd >= 0) {
                close(fd);
            }
        } else if (IS("ls")) {
            list(a);
        } else if (IS("stat") || IS("lstat")) {
            status(a, IS("stat"));
        } else if (IS("touch")) {
            touch(a, atol(b));
        } else if (IS("mkdir")) {
            show("mkdir", mkdir(a, 0777));
        } else if (IS("rmdir")) {
            show("rmdir", rmdir(a));
        } else if (IS("rm")) {
            show("unlink", unlink(a));
        } else if (IS("mv")) {
            show("rename", rename(a, b));
        } else if (IS("ln")) {
            show("link", link(a, b));
        } else if (IS("symlink")) {
            show("symlink", symlink(a, b));
        } else if (IS("readlink")) {
            ssize_t size = readlink(a, text, sizeof text);
            if (size < 0) {
                failed("readlink");
            } else {
                printf("readlink: %.*s\n", (int)size, text);
            }
        } else if (IS("many")) {
            many(a);
        } else {
            printf("unknown\n");
        }
        fflush(stdout);
    }
    return 0;
}
